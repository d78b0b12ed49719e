//! Sealed measurements: a file for each week, which goes as a whole when it is too old. A week that is over is written only by what comes late.

mod week;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use week::{Chunk, Found, Week};

use super::DbFile;
use super::fault::{Fault, OpenError, WriteError};
use super::hot::Parts;
use super::tails::Sealed;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// Files that stay open while nobody reads them.
const OPEN_FILES: usize = 3;

/// The files of a store below its folder `cold`.
pub struct Cold {
    dir: PathBuf,
    store_id: String,
    cache_bytes: usize,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    weeks: BTreeSet<Week>,
    open: BTreeMap<Week, Arc<DbFile>>,
}

impl Cold {
    /// Opens the folder, and no file yet.
    pub fn open(dir: &Path, store_id: &str, cache_bytes: usize) -> Result<Cold, OpenError> {
        let dir = dir.join("cold");
        let io = |e| OpenError::Folder(dir.clone(), e);
        if !dir.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io)?;
        }
        let mut weeks = BTreeSet::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            weeks.extend(name.to_str().and_then(Week::of_file));
        }
        let files = Mutex::new(Files { weeks, open: BTreeMap::new() });
        Ok(Cold { dir, store_id: store_id.to_owned(), cache_bytes, files })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Weeks that have a file, oldest first.
    pub fn weeks(&self) -> Vec<Week> {
        self.files().weeks.iter().copied().collect()
    }

    pub fn path(&self, week: Week) -> PathBuf {
        self.dir.join(week.file())
    }

    /// The file of a week, which is made where there is none.
    fn file(&self, week: Week) -> Result<Arc<DbFile>, OpenError> {
        let mut files = self.files();
        if let Some(file) = files.open.get(&week) {
            return Ok(Arc::clone(file));
        }
        // What somebody still reads must stay: a file that is open twice does not open.
        while files.open.len() >= OPEN_FILES {
            let idle = files.open.iter().find(|(_, file)| Arc::strong_count(file) == 1).map(|(week, _)| *week);
            let Some(idle) = idle else { break };
            files.open.remove(&idle);
        }
        let file = Arc::new(week::open(&self.path(week), self.cache_bytes, &self.store_id, week)?);
        files.weeks.insert(week);
        files.open.insert(week, Arc::clone(&file));
        Ok(file)
    }

    fn existing(&self, week: Week) -> Result<Option<Arc<DbFile>>, Fault> {
        if !self.files().weeks.contains(&week) {
            return Ok(None);
        }
        self.file(week).map(Some).map_err(|error| Fault::Database(error.to_string()))
    }

    /// Writes the chunks of one sweep that belong to a week; the same sweep again writes the same places. `log_row` is the newest row of the log that they are from.
    pub async fn put(&self, week: Week, sweep: u32, log_row: u64, chunks: Vec<Chunk>) -> Result<(), WriteError> {
        let file = self.file(week).map_err(|error| WriteError::Fault(Fault::Database(error.to_string())))?;
        let chunks = Arc::new(chunks);
        file.write(super::Lane::Ordinary, move |tx| week::put(tx, sweep, log_row, &chunks)).await
    }

    /// The same for who opens a store.
    pub(super) fn put_at_open(&self, week: Week, sweep: u32, log_row: u64, chunks: &[Chunk]) -> Result<(), OpenError> {
        self.file(week)?.write_at_open(|tx| week::put(tx, sweep, log_row, chunks))
    }

    /// Shows what is sealed of `nodes`, which ascend, in `[from, until)`, as far as `parts` are wanted: oldest sweep first. A chunk may reach beyond. One that is damaged is left out.
    pub fn read(
        &self,
        nodes: &[NodeIndex],
        (from, until): (Slot, Slot),
        parts: Parts,
        mut visit: impl FnMut(NodeIndex, Found),
    ) -> Result<(), Fault> {
        for week in self.weeks() {
            if week.end() <= from || week.start() >= until {
                continue;
            }
            if let Some(file) = self.existing(week)? {
                week::read(&file.read()?, nodes, (from, until), parts, &mut visit)?;
            }
        }
        Ok(())
    }

    /// What sweeps from `sweep` on have sealed, with the newest of them.
    pub fn sealed_since(&self, sweep: u32) -> Result<Option<(u32, BTreeMap<NodeIndex, Sealed>)>, Fault> {
        let (mut newest, mut all) = (None, BTreeMap::<NodeIndex, Sealed>::new());
        for week in self.weeks() {
            let Some(file) = self.existing(week)? else { continue };
            for (of, sealed) in week::sealed_since(&file.read()?, sweep)? {
                newest = newest.max(Some(of));
                for (node, sealed) in sealed {
                    let known = all.entry(node).or_default();
                    *known = Sealed { row: known.row.max(sealed.row), slot: known.slot.max(sealed.slot) };
                }
            }
        }
        Ok(newest.map(|newest| (newest, all)))
    }

    /// Deletes the files of weeks that end before `slot`; their names.
    pub fn expire(&self, slot: Slot) -> Result<Vec<String>, Fault> {
        let mut files = self.files();
        let old: Vec<Week> = files.weeks.iter().copied().take_while(|week| week.end() <= slot).collect();
        let mut gone = Vec::new();
        for week in old {
            files.open.remove(&week);
            match fs::remove_file(self.path(week)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Fault::Database(format!("{}: {error}", self.path(week).display())));
                }
                _ => (),
            }
            files.weeks.remove(&week);
            gone.push(week.file());
        }
        Ok(gone)
    }

    /// Opens every file and decodes every chunk; the number of samples. The first that is wrong ends it.
    pub fn verify(&self) -> Result<Result<u64, String>, Fault> {
        let mut samples = 0;
        for week in self.weeks() {
            let Some(file) = self.existing(week)? else { continue };
            match week::verify(&file.read()?, week)? {
                Ok(of_week) => samples += of_week,
                Err(wrong) => return Ok(Err(format!("{}: {wrong}", week.file()))),
            }
        }
        Ok(Ok(samples))
    }

    /// Ends the writers of all files.
    pub fn close(&self) {
        self.files().open.clear();
    }
}
