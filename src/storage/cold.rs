//! Sealed measurements: a file for each week, and one for the hours of each month, which go as a whole when they are too old. One that is over is written only by what comes late.

mod month;
mod origin;
mod week;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use origin::Identity;
pub use week::Chunk;
#[cfg(test)]
pub(super) use week::goldens;

use super::DbFile;
use super::backup::check;
use super::device::Device;
use super::fault::{Fault, OpenError, TxError, WriteError, guarded};
use super::hot::hours::{self, HourRow};
use super::room::{Need, Room};
use super::table::{Snapshot, WriteTx};
use super::tails::Sealed;
use crate::crypto::Entropy;
use crate::domain::calendar::{HOURS_PER_DAY, Month, Week};
use crate::domain::chunk::Series;
use crate::domain::evidence::SLOTS_PER_DAY;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// Files that stay open while nobody reads them: a chart of ninety days reads four months, and to open a file takes longer than to read it.
const OPEN_FILES: usize = 6;
/// In slots.
const QUARTER: u32 = 92 * SLOTS_PER_DAY;
const LONGEST_MONTH: u32 = 31 * SLOTS_PER_DAY;
/// What the name of a file ends with that is not whole yet.
const UNFINISHED: &str = ".tmp";
/// What the name of a damaged file ends with that is out of the way.
const ASIDE: &str = ".damaged";

/// The files of a store below its folder `cold`.
pub struct Cold {
    dir: PathBuf,
    store_id: String,
    cache_bytes: usize,
    device: Arc<dyn Device>,
    room: Arc<Room>,
    entropy: Entropy,
    /// Files that were deleted since it was opened.
    deletions: AtomicU64,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    known: BTreeSet<Part>,
    /// What was used last is the last one.
    open: Vec<(Part, Arc<DbFile>)>,
    /// Found to be damaged since the store was opened, with what was found: read no more.
    damaged: BTreeMap<Part, Fault>,
    /// Of files that can be read, what is wrong with the first page that cannot.
    torn: BTreeMap<Part, String>,
    /// Of files that were opened.
    identities: BTreeMap<Part, Identity>,
    /// Set aside because writing to them panicked, and for nothing else that was found.
    panicked: BTreeSet<Part>,
    /// Damaged ones are out of the way.
    has_aside: bool,
    /// Months without rows of hours before a day.
    settled: BTreeMap<Month, u32>,
}

impl Files {
    /// It has no file any more.
    fn forget(&mut self, part: Part) {
        self.open.retain(|(of, _)| *of != part);
        self.known.remove(&part);
        self.damaged.remove(&part);
        self.torn.remove(&part);
        self.identities.remove(&part);
        if let Part::Month(month) = part {
            self.settled.remove(&month);
        }
    }
}

/// What the disk has under the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// None: it was not opened since the start, or is a damaged one alone that is out of the way.
    pub identity: Option<u64>,
    /// A damaged one is out of the way.
    pub is_beside: bool,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Week(Week),
    Month(Month),
}

impl Part {
    pub(super) fn file(self) -> String {
        match self {
            Part::Week(week) => week.file(),
            Part::Month(month) => month.file(),
        }
    }

    fn of_file(name: &str) -> Option<Part> {
        Week::of_file(name).map(Part::Week).or_else(|| Month::of_file(name).map(Part::Month))
    }

    /// Nothing of it is of `slot` or later.
    fn ends_by(self, weeks: Slot, months: Slot) -> bool {
        match self {
            Part::Week(week) => week.end() <= weeks,
            Part::Month(month) => hours::first_slot(month.end_hour()) <= months,
        }
    }
}

impl Cold {
    /// Opens the folder, and no file yet.
    pub fn open(
        dir: &Path,
        (store_id, entropy): (&str, &Entropy),
        cache_bytes: usize,
        device: &Arc<dyn Device>,
        room: &Arc<Room>,
    ) -> Result<Cold, OpenError> {
        let dir = folder(dir);
        let io = |e| OpenError::Folder(dir.clone(), e);
        if !dir.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io)?;
        }
        let names = device.names(&dir).map_err(io)?;
        // A file that was being made when the power went. Its week may never be written to again.
        for unfinished in names.iter().filter(|name| name.strip_suffix(UNFINISHED).and_then(Part::of_file).is_some()) {
            device.remove(&dir.join(unfinished)).map_err(io)?;
        }
        let known = names.iter().filter_map(|name| Part::of_file(name)).collect();
        let files = Mutex::new(Files { known, has_aside: !aside(&names).is_empty(), ..Files::default() });
        let (device, room) = (Arc::clone(device), Arc::clone(room));
        Ok(Cold {
            dir,
            store_id: store_id.to_owned(),
            cache_bytes,
            device,
            room,
            entropy: entropy.clone(),
            deletions: AtomicU64::default(),
            files,
        })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Weeks that have a file, which nobody found damaged, oldest first.
    pub fn weeks(&self) -> Vec<Week> {
        let files = self.files();
        let sound = files.known.iter().filter(|part| !files.damaged.contains_key(part));
        sound.filter_map(|part| if let Part::Week(week) = part { Some(*week) } else { None }).collect()
    }

    /// The same of months, oldest first.
    pub fn months(&self) -> Vec<Month> {
        let files = self.files();
        let sound = files.known.iter().filter(|part| !files.damaged.contains_key(part));
        sound.filter_map(|part| if let Part::Month(month) = part { Some(*month) } else { None }).collect()
    }

    /// Names of all files, weeks before months, each oldest first.
    pub fn names(&self) -> Vec<String> {
        self.files().known.iter().map(|part| part.file()).collect()
    }

    /// Names of files that the disk has, also of those that are damaged and out of the way. One that somebody deleted meanwhile is known no more, so that no reader makes it anew.
    pub fn present(&self) -> Result<BTreeMap<String, Present>, Fault> {
        let mut files = self.files();
        let names = names_in(self.device.as_ref(), &self.dir)?;
        let gone: Vec<Part> = files.known.iter().copied().filter(|part| !names.contains(&part.file())).collect();
        gone.into_iter().for_each(|part| files.forget(part));
        let aside: BTreeSet<String> = moved_aside(&names).collect();
        let present = |part: &Part| {
            let (name, identity) = (part.file(), files.identities.get(part).map(|identity| identity.0));
            let is_beside = aside.contains(&name);
            (name, Present { identity, is_beside })
        };
        let mut found: BTreeMap<String, Present> = files.known.iter().map(present).collect();
        for name in aside {
            found.entry(name).or_insert(Present { identity: None, is_beside: true });
        }
        Ok(found)
    }

    /// By which a file is told from another of its name; None where it cannot be read.
    pub fn identity(&self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(part) = Part::of_file(name) else { return Ok(None) };
        self.of(part, |_| Ok(()))?;
        Ok(self.files().identities.get(&part).map(|identity| identity.0))
    }

    /// The file of a name, as it is now, with a number that every change raises; none where it has gone since.
    pub(super) fn snapshot(&self, name: &str) -> Result<Option<(u64, Snapshot)>, Fault> {
        let Some(part) = Part::of_file(name) else { return Ok(None) };
        self.of(part, |file| {
            let snapshot = file.read()?;
            Ok((origin::revision(&snapshot)?, snapshot))
        })
    }

    /// A file that somebody deleted is open no more: what is written to it would be nowhere.
    fn look_for(&self, files: &mut Files, part: Part) -> Result<(), OpenError> {
        if files.known.contains(&part) && !self.device.exists(&self.dir.join(part.file())).map_err(|error| failed(&self.dir, &error))? {
            files.forget(part);
            self.deletions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The file of a part for who reads it; None where there is none.
    fn existing(&self, part: Part) -> Result<Option<Arc<DbFile>>, Fault> {
        self.look_for(&mut self.files(), part).map_err(unopened)?;
        if self.files().known.contains(&part) { self.file(part).map(Some).map_err(unopened) } else { Ok(None) }
    }

    /// The file of a part, which is made where there is none.
    fn file(&self, part: Part) -> Result<Arc<DbFile>, OpenError> {
        let mut files = self.files();
        self.look_for(&mut files, part)?;
        // One that was given up after an I/O error is opened again: it may be another card by now.
        let open = files.open.iter().position(|(of, _)| *of == part).map(|at| files.open.remove(at));
        if let Some((_, file)) = open.filter(|(_, file)| !file.failed()) {
            files.open.push((part, Arc::clone(&file)));
            return Ok(file);
        }
        // What somebody still reads must stay: a file that is open twice does not open. Who has neither the file nor a snapshot of it has to come through here.
        while files.open.len() >= OPEN_FILES {
            let Some(idle) = files.open.iter().position(|(_, file)| Arc::strong_count(file) == 1 && file.is_idle()) else { break };
            files.open.remove(idle);
        }
        if !files.known.contains(&part) && self.room.refuses(Need::Kept) {
            return Err(OpenError::Fault(Fault::Full));
        }
        let path = self.dir.join(part.file());
        // Never 0, which is what files of earlier releases have.
        let store = (self.store_id.as_str(), Identity(self.entropy.u64().max(1)));
        let file = Arc::new(match part {
            Part::Week(week) => week::open((&self.device, &path), self.cache_bytes, store, week)?,
            Part::Month(month) => month::open((&self.device, &path), self.cache_bytes, store, month)?,
        });
        file.keep_to(&self.room, Need::Kept);
        files.identities.insert(part, origin::identity(&file.read()?)?);
        files.known.insert(part);
        files.open.push((part, Arc::clone(&file)));
        Ok(file)
    }

    fn has(&self, part: Part) -> bool {
        let files = self.files();
        files.known.contains(&part) && !files.damaged.contains_key(&part)
    }

    /// What is read of a part; None where it has no file, or a damaged one, which takes no other with it.
    fn of<T>(&self, part: Part, read: impl FnOnce(&DbFile) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        if !self.has(part) {
            return Ok(None);
        }
        match guarded(|| self.existing(part)?.map(|file| read(&file)).transpose()) {
            Ok(found) => Ok(found),
            Err(fault) if fault.is_damage() => {
                self.note_damage(part, fault);
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// A page of it cannot be read; the others can, and it is written as before.
    fn note_torn(&self, part: Part, lost: Option<String>) {
        let Some(lost) = lost else { return };
        if let Entry::Vacant(place) = self.files().torn.entry(part) {
            tracing::error!(file = part.file(), lost, "a page of measurements is damaged");
            place.insert(lost);
        }
    }

    /// Somebody who read it met a fault; one that is no damage (an I/O error, a full disk) may be over the next time.
    pub(super) fn note_damage_of(&self, name: &str, fault: Fault) {
        if let Some(part) = Part::of_file(name).filter(|_| fault.is_damage()) {
            self.note_damage(part, fault);
        }
    }

    fn note_damage(&self, part: Part, fault: Fault) {
        let file = part.file();
        tracing::error!(file, %fault, "a file of measurements is damaged");
        self.files().damaged.insert(part, fault);
        // Charts keep nothing of it either.
        self.deletions.fetch_add(1, Ordering::Relaxed);
    }

    /// Commits to the file of a part. One that is damaged keeps its bytes under another name, and a new one takes its place: what is measured now does not wait for a person.
    async fn write<R: Send + 'static>(
        &self,
        part: Part,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Clone + Send + 'static,
    ) -> Result<R, WriteError> {
        let mut last = WriteError::Fault(Fault::Panic);
        for attempt in 0..3 {
            if !matches!(self.files().damaged.get(&part), Some(Fault::Damaged(_))) {
                let written = match guarded(|| self.file(part).map_err(unopened)) {
                    Ok(file) => file.write(super::Lane::Ordinary, verb.clone()).await,
                    Err(fault) => Err(fault.into()),
                };
                match written {
                    Err(error @ WriteError::Fault(Fault::Damaged(_) | Fault::Panic)) => last = error,
                    other => return other,
                }
            }
            match self.check(part).await {
                Ok(Err(found)) | Err(Fault::Damaged(found)) => self.set_aside(part, &found)?,
                // All of it can be read. What panics all the same may be a fault of this program, which would set aside one file after the other: once is enough.
                Ok(Ok(_)) if attempt > 0 && self.files().panicked.insert(part) => self.set_aside(part, "writing to it panics")?,
                Ok(Ok(_)) => drop(self.files().damaged.remove(&part)),
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(last)
    }

    /// Reads all of a file, beside the requests.
    async fn check(&self, part: Part) -> Result<Result<u64, String>, Fault> {
        let Some(file) = guarded(|| self.existing(part))? else { return Ok(Ok(0)) };
        let reading = tokio::task::spawn_blocking(move || guarded(|| verify_file(&part.file(), &file.read()?)));
        reading.await.unwrap_or(Err(Fault::Panic))
    }

    fn set_aside(&self, part: Part, found: &str) -> Result<(), Fault> {
        let failed = |error: std::io::Error| Fault::Database(format!("{}: {error}", self.dir.display()));
        let mut files = self.files();
        files.open.retain(|(of, _)| *of != part);
        let name = part.file();
        let mut aside = format!("{name}{ASIDE}");
        for number in 2.. {
            if !self.device.exists(&self.dir.join(&aside)).map_err(failed)? {
                break;
            }
            aside = format!("{name}{ASIDE}-{number}");
        }
        self.device.rename(&self.dir.join(&name), &self.dir.join(&aside)).map_err(failed)?;
        self.device.sync_folder(&self.dir).map_err(failed)?;
        files.forget(part);
        files.has_aside = true;
        self.deletions.fetch_add(1, Ordering::Relaxed);
        tracing::error!(file = name, aside, found, "a damaged file of measurements is set aside, and a new one made");
        Ok(())
    }

    /// Files that are damaged, by name, with what was found: those that are read no more, and those that were set aside and are still there.
    pub fn damaged(&self) -> BTreeMap<String, String> {
        let aside: Vec<String> = aside(&self.device.names(&self.dir).unwrap_or_default());
        let mut files = self.files();
        files.has_aside = !aside.is_empty();
        let torn = files.torn.iter().map(|(part, why)| (part.file(), format!("some pages alone: {why}")));
        let found = torn.chain(files.damaged.iter().map(|(part, fault)| (part.file(), fault.to_string())));
        aside.into_iter().map(|name| (name, "it was set aside, and a new file made".to_owned())).chain(found).collect()
    }

    /// Whether there are any, as it was known last.
    pub fn has_damaged(&self) -> bool {
        let files = self.files();
        files.has_aside || !files.damaged.is_empty() || !files.torn.is_empty()
    }

    /// Writes the chunks of one sweep that belong to a week; the same sweep again writes the same places. `log_row` is the newest row of the log that they are from.
    pub async fn put(&self, week: Week, sweep: u32, log_row: u64, chunks: Vec<Chunk>) -> Result<(), WriteError> {
        let chunks = Arc::new(chunks);
        self.write(Part::Week(week), move |tx| week::put(tx, sweep, log_row, &chunks)).await
    }

    /// The same for who opens a store.
    pub(super) fn put_at_open(&self, week: Week, sweep: u32, log_row: u64, chunks: &[Chunk]) -> Result<(), OpenError> {
        self.file(Part::Week(week))?.write_at_open(|tx| week::put(tx, sweep, log_row, chunks))
    }

    /// Shows what is sealed of `nodes`, which ascend, in `[from, until)`, with the columns that are wanted: oldest sweep first. A chunk that is damaged is left out.
    pub fn read(
        &self,
        nodes: &[NodeIndex],
        (from, until): (Slot, Slot),
        is_wanted: impl Fn(u16) -> bool,
        mut visit: impl FnMut(NodeIndex, Series),
    ) -> Result<(), Fault> {
        for week in self.weeks() {
            if week.end() <= from || week.start() >= until {
                continue;
            }
            let part = Part::Week(week);
            let lost = self.of(part, |file| week::read(&file.read()?, nodes, (from, until), &is_wanted, &mut visit))?;
            self.note_torn(part, lost.flatten());
        }
        Ok(())
    }

    /// What sweeps from `sweep` on have sealed in the two newest weeks, with the newest of them. Earlier weeks come before these in a sweep: what a crash left there alone is sealed
    /// again, to the same place.
    pub fn sealed_since(&self, sweep: u32) -> Result<Option<(u32, BTreeMap<NodeIndex, Sealed>)>, Fault> {
        let (mut newest, mut all) = (None, BTreeMap::<NodeIndex, Sealed>::new());
        for week in self.weeks().into_iter().rev().take(2) {
            for (of, sealed) in self.of(Part::Week(week), |file| week::sealed_since(&file.read()?, sweep))?.unwrap_or_default() {
                newest = newest.max(Some(of));
                for (node, sealed) in sealed {
                    let known = all.entry(node).or_default();
                    *known = Sealed { row: known.row.max(sealed.row), slot: known.slot.max(sealed.slot) };
                }
            }
        }
        Ok(newest.map(|newest| (newest, all)))
    }

    /// Writes hours that are rolled up, and hours that are rolled up again.
    pub async fn put_hours(&self, rows: Vec<HourRow>) -> Result<(), WriteError> {
        for (month, rows) in by_month(rows) {
            let rows = Arc::new(rows);
            self.write(Part::Month(month), move |tx| month::put(tx, &rows)).await?;
            self.files().settled.remove(&month);
        }
        Ok(())
    }

    /// The same for who opens a store.
    pub(super) fn put_hours_at_open(&self, rows: Vec<HourRow>) -> Result<(), OpenError> {
        by_month(rows).into_iter().try_for_each(|(month, rows)| self.file(Part::Month(month))?.write_at_open(|tx| month::put(tx, &rows)))
    }

    /// Makes chunks of one day's hours, of days before `day`, where there are rows of one; whether there were.
    pub async fn settle_hours(&self, day: u32) -> Result<bool, WriteError> {
        let months: Vec<Month> = {
            let files = self.files();
            let of = |part: &Part| if let Part::Month(month) = part { Some(*month) } else { None };
            files.known.iter().filter_map(of).filter(|month| files.settled.get(month).is_none_or(|until| *until < day)).collect()
        };
        for month in months {
            let is_over = month.end_hour() <= day.saturating_mul(HOURS_PER_DAY);
            let settled = async {
                if self.of(Part::Month(month), |file| month::is_settled(&file.read()?, day))?.unwrap_or(true) {
                    return Ok(false);
                }
                // Nothing new waits for it: a file that turns out to be damaged here stays where it is.
                self.file(Part::Month(month)).map_err(unopened)?.write(super::Lane::Ordinary, move |tx| month::settle(tx, day)).await?;
                Ok(true)
            };
            let until = match settled.await {
                Ok(true) => return Ok(true),
                Ok(false) if is_over => u32::MAX,
                Ok(false) => day,
                Err(WriteError::Fault(Fault::Full)) => return Err(WriteError::Fault(Fault::Full)),
                // One file that cannot be read keeps no other waiting; it is tried again the next day.
                Err(error) => {
                    tracing::error!(file = month.file(), ?error, "hours of days that are over stay as they are");
                    day
                }
            };
            self.files().settled.insert(month, until);
        }
        Ok(false)
    }

    /// Shows the hours of `[from, until)` of `nodes`, which ascend, with the columns that are wanted: of each node in order of time.
    pub fn read_hours(
        &self,
        nodes: &[NodeIndex],
        (from, until): (u32, u32),
        is_wanted: impl Fn(u16) -> bool,
        mut visit: impl FnMut(NodeIndex, Series),
    ) -> Result<(), Fault> {
        let mut start = from;
        while start < until {
            let month = Month::of_hour(start);
            let end = month.end_hour().min(until);
            let part = Part::Month(month);
            let lost = self.of(part, |file| month::read(&file.read()?, nodes, (start, end), &is_wanted, &mut visit))?;
            self.note_torn(part, lost.flatten());
            start = end;
        }
        Ok(())
    }

    /// Weeks that end by one slot, and months that end by another.
    pub(super) fn that_end_by(&self, weeks: Slot, months: Slot) -> Vec<Part> {
        self.files().known.iter().copied().filter(|part| part.ends_by(weeks, months)).collect()
    }

    /// Whether a file of this name would be one of them.
    pub fn would_end_by(name: &str, weeks: Slot, months: Slot) -> bool {
        Part::of_file(name).is_some_and(|part| part.ends_by(weeks, months))
    }

    /// Deletes a file; its name.
    pub(super) fn remove(&self, part: Part) -> Result<String, Fault> {
        let failed = |path: &Path, error| Fault::Database(format!("{}: {error}", path.display()));
        let mut files = self.files();
        files.open.retain(|(of, _)| *of != part);
        let path = self.dir.join(part.file());
        match self.device.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&path, error)),
            _ => files.forget(part),
        }
        // Whoever has seen the file keeps nothing of it from here on.
        self.deletions.fetch_add(1, Ordering::Relaxed);
        self.device.sync_folder(&self.dir).map_err(|error| failed(&self.dir, error))?;
        Ok(part.file())
    }

    /// How many files were deleted since the store was opened.
    pub(super) fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Relaxed)
    }

    /// Parts with the bytes that they take on the medium, oldest first.
    fn sizes(&self, wanted: impl Fn(Part) -> bool) -> Result<Vec<(Part, u64)>, Fault> {
        let parts: Vec<Part> = self.files().known.iter().copied().filter(|part| wanted(*part)).collect();
        let taken = |part: Part| self.device.taken(&self.dir.join(part.file()));
        let failed = |error| Fault::Database(format!("{}: {error}", self.dir.display()));
        parts.into_iter().map(|part| Ok((part, taken(part).map_err(failed)?))).collect()
    }

    /// Weeks that may go early: all but the present and the previous one.
    pub(super) fn spare_weeks(&self, present: Slot) -> Result<Vec<(Part, u64)>, Fault> {
        let previous = Week::of(Week::of(present).start().minus(1)).start();
        self.sizes(|part| matches!(part, Part::Week(_)) && part.ends_by(previous, Slot(0)))
    }

    /// Months that may go early: what lies further back than a quarter of a year.
    pub(super) fn spare_months(&self, present: Slot) -> Result<Vec<(Part, u64)>, Fault> {
        self.sizes(|part| matches!(part, Part::Month(_)) && part.ends_by(Slot(0), present.minus(QUARTER)))
    }

    /// Months before the previous one.
    pub(super) fn past_months(&self, present: Slot) -> Result<Vec<(Part, u64)>, Fault> {
        self.sizes(|part| matches!(part, Part::Month(_)) && part.ends_by(Slot(0), present.minus(LONGEST_MONTH)))
    }

    pub(super) fn bytes_of_weeks(&self) -> Result<u64, Fault> {
        Ok(self.sizes(|part| matches!(part, Part::Week(_)))?.iter().map(|(_, bytes)| bytes).sum())
    }

    pub(super) fn bytes_of_months(&self) -> Result<u64, Fault> {
        Ok(self.sizes(|part| matches!(part, Part::Month(_)))?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Opens every file and decodes everything; the number of samples and of hours. Of each file that is damaged, what is wrong first is named.
    pub fn verify(&self) -> Result<Result<u64, String>, Fault> {
        self.verify_while(&|| true)
    }

    /// The same for as long as `go_on` says so; what was found is missing from charts, and told as such from then on.
    pub fn verify_while(&self, go_on: &dyn Fn() -> bool) -> Result<Result<u64, String>, Fault> {
        verify_each(self.names(), |name| {
            if !go_on() {
                return Err(Fault::Invariant("it was stopped".into()));
            }
            let Some(part) = Part::of_file(name) else { return Ok(Ok(0)) };
            // One that went meanwhile is no matter of this.
            let Some(file) = guarded(|| self.existing(part)).inspect_err(|fault| self.note_damage_of(name, fault.clone()))? else {
                return Ok(Ok(0));
            };
            let checked = guarded(|| verify_file(name, &file.read()?));
            match &checked {
                Ok(Ok(_)) => (),
                Ok(Err(lost)) => self.note_torn(part, Some(lost.clone())),
                Err(fault) => self.note_damage_of(name, fault.clone()),
            }
            checked
        })
    }

    /// Flips a bit in the oldest chunk of a node; its week.
    #[cfg(test)]
    pub(super) fn damage_a_chunk(&self, node: NodeIndex) -> Option<Week> {
        self.weeks()
            .into_iter()
            .find(|week| self.file(Part::Week(*week)).unwrap().write_now(move |tx| week::damage_a_chunk(tx, node)).unwrap())
    }

    /// Ends the writers of all files.
    pub fn close(&self) {
        self.files().open.clear();
    }
}

fn folder(dir: &Path) -> PathBuf {
    dir.join("cold")
}

/// Names of the files of a store that is not open, as `Cold::present` has them.
pub(super) fn present_in(device: &dyn Device, dir: &Path) -> Result<BTreeMap<String, Present>, Fault> {
    let names = names_in(device, &folder(dir))?;
    let all = names.iter().filter(|name| Part::of_file(name).is_some()).cloned().chain(moved_aside(&names));
    // Nobody opens them for this.
    Ok(all.map(|name| (name, Present { identity: None, is_beside: false })).collect())
}

/// What `Cold::verify` does, for files of a store that is not open.
pub(super) fn verify_folder(device: &dyn Device, dir: &Path) -> Result<Result<u64, String>, Fault> {
    let folder = folder(dir);
    let names = names_in(device, &folder)?.into_iter().filter(|name| Part::of_file(name).is_some());
    verify_each(names.collect(), |name| verify_file(name, &check::open_or_repair(&folder.join(name))?.snapshot))
}

fn names_in(device: &dyn Device, folder: &Path) -> Result<Vec<String>, Fault> {
    device.names(folder).map_err(|error| failed(folder, &error))
}

/// What files are called that lie there under the name of a damaged one.
fn moved_aside(names: &[String]) -> impl Iterator<Item = String> {
    names.iter().filter_map(|name| name.split_once(ASIDE)).map(|(name, _)| name.to_owned())
}

fn verify_each(names: Vec<String>, check: impl Fn(&str) -> Result<Result<u64, String>, Fault>) -> Result<Result<u64, String>, Fault> {
    let (mut records, mut wrong) = (0, Vec::new());
    for name in names {
        match guarded(|| check(&name)).unwrap_or_else(|fault| Err(format!("{name}: {fault}"))) {
            Ok(of_file) => records += of_file,
            Err(of_file) => wrong.push(of_file),
        }
    }
    Ok(if wrong.is_empty() { Ok(records) } else { Err(wrong.join("; ")) })
}

/// Decodes everything in a file of this name; the number of samples, or of hours.
pub(super) fn verify_file(name: &str, read: &Snapshot) -> Result<Result<u64, String>, Fault> {
    let checked = match Part::of_file(name) {
        Some(Part::Week(week)) => week::verify(read, week)?,
        Some(Part::Month(month)) => month::verify(read, month)?,
        None => Err("is no file of a week or a month".to_owned()),
    };
    Ok(checked.map_err(|wrong| format!("{name}: {wrong}")))
}

fn aside(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| name.contains(ASIDE)).cloned().collect()
}

fn failed(dir: &Path, error: &std::io::Error) -> Fault {
    Fault::Database(format!("{}: {error}", dir.display()))
}

/// Why a part of the cold store cannot be had.
fn unopened(error: OpenError) -> Fault {
    match error {
        OpenError::Fault(fault) => fault,
        error => Fault::Database(error.to_string()),
    }
}

fn by_month(rows: Vec<HourRow>) -> BTreeMap<Month, Vec<HourRow>> {
    let mut months: BTreeMap<Month, Vec<HourRow>> = BTreeMap::new();
    for row in rows {
        months.entry(Month::of_hour(row.hour)).or_default().push(row);
    }
    months
}
