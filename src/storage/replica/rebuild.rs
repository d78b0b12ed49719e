//! Puts the rows that the cluster has together to what a backup is: two files and a signed manifest. What comes after that is the restore of a backup.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::catalog::{Listed, Way, by_number};
use super::documents::archives::opened_part as opened_archive;
use super::documents::measured::{StoredHour, StoredSample, opened_hour, opened_sample};
use super::documents::opened;
use super::rows::opened_part;
use crate::crypto::Entropy;
use crate::domain::archive::{self, lines_file};
use crate::domain::backup::{BackedUp, FOLDERS, Manifest};
use crate::domain::credits::Epoch;
use crate::domain::evidence::{KEPT_DAYS, SLOTS_PER_DAY};
use crate::domain::poot::MAX_AGE_SLOTS;
use crate::domain::proof::text::Hex;
use crate::domain::replica::cluster::Round;
use crate::storage::archive as stored_archive;
use crate::storage::backup::{check, put_manifest, signed};
use crate::storage::cold::Cold;
use crate::storage::compaction::Which;
use crate::storage::core::meta::{self, StoreMeta};
use crate::storage::core::{archives, epochs, tables};
use crate::storage::device;
use crate::storage::hot::hours::HourRow;
use crate::storage::hot::{self, Block, Entry, group};
use crate::storage::recovery::Contents;
use crate::storage::room::Room;
use crate::storage::sealing::Gathered;
use crate::storage::store::open_seed;
use crate::storage::table::WriteTx;
use crate::storage::tails::sheet;
use crate::storage::verify::leaves;
use crate::storage::{DbFile, Secrets};

const CACHE: usize = 8 << 20;

/// A store of which rows come one after the other, in any order of tables.
pub struct Rebuild {
    folder: PathBuf,
    core: DbFile,
    hot: DbFile,
    secrets: Secrets,
    round: Round,
    /// Once the description of the store is there.
    cold: OnceLock<Cold>,
    gathered: Mutex<Gathered>,
}

/// A row as the cluster has it: what it is called, and what is sealed.
pub type Sealed = (Vec<u8>, Vec<u8>);

/// Key and bytes; None: there is no such row.
type Stored = (Vec<u8>, Option<Vec<u8>>);

/// Why there is no store.
#[derive(Debug)]
pub struct NotRebuilt(pub String);

impl<E: std::fmt::Display> From<E> for NotRebuilt {
    fn from(error: E) -> NotRebuilt {
        NotRebuilt(error.to_string())
    }
}

impl Rebuild {
    /// In a folder that is not there yet. What of the cluster is not of this round is left out.
    pub fn begin(folder: &Path, kit: &Contents, round: Round) -> Result<Rebuild, NotRebuilt> {
        DirBuilder::new().mode(0o700).create(folder)?;
        for name in FOLDERS {
            DirBuilder::new().mode(0o700).create(folder.join(name))?;
        }
        let made = |name: &str, tables: &'static [&'static str]| {
            let create = move |tx: &mut WriteTx<'_>| tables.iter().try_for_each(|table| tx.create(table));
            DbFile::open(&folder.join(name), CACHE, create)
        };
        let (core, hot) = (made("core.redb", tables::ALL)?, made("hot.redb", hot::TABLES)?);
        Ok(Rebuild {
            folder: folder.to_owned(),
            core,
            hot,
            secrets: Secrets::new(kit.data_key.clone()),
            round,
            cold: OnceLock::new(),
            gathered: Mutex::default(),
        })
    }

    fn file(&self, which: Which) -> &DbFile {
        match which {
            Which::Core => &self.core,
            Which::Hot => &self.hot,
        }
    }

    /// Rows of one table.
    pub fn put(&self, listed: &'static Listed, rows: &[Sealed]) -> Result<(), NotRebuilt> {
        let end = self.round.through.iter().find(|through| through.table == listed.table).map(|through| &through.key);
        let mut stored = Vec::new();
        for (name, record) in rows {
            let (key, bytes) = opened(&self.secrets, listed.table, name, record)?;
            // What a log has beyond the round is of a state that the other tables are not of.
            if listed.way != Way::Log || end.is_some_and(|end| key <= *end) {
                stored.push((key, Some(bytes)));
            }
        }
        self.write(listed, stored)
    }

    /// What the round has of rows that changed: whatever became of their documents, they were this.
    pub fn put_part(&self, sealed: &[u8]) -> Result<(), NotRebuilt> {
        let rows =
            opened_part(&self.secrets, self.round.rev, sealed).ok_or_else(|| NotRebuilt("a part of the round does not open".into()))?;
        let mut tables: BTreeMap<u8, (&'static Listed, Vec<Stored>)> = BTreeMap::new();
        for row in rows {
            let listed = by_number(row.table).ok_or_else(|| NotRebuilt(format!("this release knows no table {}", row.table)))?;
            let stored = match row.record {
                Some(record) => {
                    let (key, bytes) = opened(&self.secrets, listed.table, &row.name, &record)?;
                    (key, Some(bytes))
                }
                None => (row.key, None),
            };
            tables.entry(listed.number).or_insert((listed, Vec::new())).1.push(stored);
        }
        tables.into_values().try_for_each(|(listed, rows)| self.write(listed, rows))
    }

    /// Those whose files should be there; after everything that rounds have.
    pub fn archives(&self) -> Result<Vec<archive::Manifest>, NotRebuilt> {
        Ok(archives::all(&self.core.read()?)?)
    }

    /// A part of the lines of an archive of which so many bytes are here; how many are here then. What does not open, or stands beyond a part that is missing, adds nothing.
    pub fn put_archive(&self, manifest: &archive::Manifest, here: u64, (name, record): &Sealed) -> Result<u64, NotRebuilt> {
        let Ok((from, bytes)) = opened_archive(&self.secrets, name, record) else { return Ok(here) };
        // One that went again was cut elsewhere.
        let known = here.checked_sub(from).and_then(|known| usize::try_from(known).ok());
        let Some(new) = known.and_then(|known| bytes.get(known..)) else { return Ok(here) };
        let mut file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(self.archive_folder().join(lines_file(&manifest.name())))?;
        file.write_all(new)?;
        Ok(here + new.len() as u64)
    }

    /// True: all of it came. Otherwise it is known to be lacking, and what it covers and came back as rows is not deleted for it.
    pub fn end_archive(&self, manifest: &archive::Manifest) -> Result<bool, NotRebuilt> {
        let folder = self.archive_folder();
        stored_archive::put_manifest_in(device::real().as_ref(), &folder, manifest)?;
        if stored_archive::is_there(&folder, manifest).is_ok() {
            return Ok(true);
        }
        for name in stored_archive::names(manifest) {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => (),
            }
        }
        let (manifest, at) = (manifest.clone(), self.round.at);
        self.core.write_now(move |tx| archives::did_not_come(tx, &manifest, at))?;
        Ok(false)
    }

    fn archive_folder(&self) -> PathBuf {
        self.folder.join("archive")
    }

    /// What hours of measurements come to; after everything else.
    pub fn put_hours(&self, rows: &[Sealed]) -> Result<(), NotRebuilt> {
        let mut groups: BTreeMap<(u32, u32), Vec<StoredHour>> = BTreeMap::new();
        for (name, record) in rows {
            let hour = opened_hour(&self.secrets, name, record)?;
            groups.entry((hour.hour, group(hour.node))).or_default().push(hour);
        }
        let row = |((hour, group), hours): ((u32, u32), Vec<StoredHour>)| {
            let entries = hours.iter().map(|of| Entry { node: of.node, late: of.late, sample: &of.bytes });
            HourRow { hour, group, block: Block::default().merged(entries) }
        };
        Ok(self.cold()?.put_hours_at_open(groups.into_iter().map(row).collect())?)
    }

    /// Samples in the order of their names; after everything else.
    pub fn put_samples(&self, rows: &[Sealed]) -> Result<(), NotRebuilt> {
        let opened = |(name, record): &Sealed| opened_sample(&self.secrets, name, record);
        let mut samples: Vec<StoredSample> = rows.iter().map(opened).collect::<Result<_, _>>()?;
        samples.sort_by_key(|of| (of.node, of.slot));
        let sheet = sheet(samples.iter().map(|of| (of.node, of.slot, of.late, &of.encoded)));
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(gathered.put(self.cold()?, &sheet)?)
    }

    fn cold(&self) -> Result<&Cold, NotRebuilt> {
        if let Some(cold) = self.cold.get() {
            return Ok(cold);
        }
        let (device, store_id) = (device::real(), self.description()?.store_id);
        let room = Arc::new(Room::of(&device, &self.folder));
        let cold = Cold::open(&self.folder, (&store_id, &Entropy::new()), CACHE, &device, &room)?;
        Ok(self.cold.get_or_init(|| cold))
    }

    fn description(&self) -> Result<StoreMeta, NotRebuilt> {
        meta::store(&self.core.read()?).map_err(|_| NotRebuilt("the cluster has no description of the store".into()))
    }

    fn write(&self, listed: &'static Listed, rows: Vec<Stored>) -> Result<(), NotRebuilt> {
        let write = move |tx: &mut WriteTx<'_>| {
            rows.iter().try_for_each(|(key, bytes)| match bytes {
                Some(bytes) => tx.put_stored(listed.table, key, bytes),
                None => tx.delete_stored(listed.table, key),
            })
        };
        Ok(self.file(listed.file).write_now(write)?)
    }

    /// What the store had let go of by its age, and all leaves of before the newest that are missing: of that the cluster has what there was time to send, which is no whole.
    fn let_go(&self) -> Result<(), NotRebuilt> {
        let core = self.core.read()?;
        let Some(last) = epochs::last(&core)? else { return Ok(()) };
        let kept_from = last.last_slot.minus(KEPT_DAYS * SLOTS_PER_DAY);
        let evidence = kept_from.minus(u32::from(MAX_AGE_SLOTS));
        let leaves_from = leaves::whole_from(&core, &self.hot.read()?, Epoch(kept_from.0))?;
        Ok(self.hot.write_now(move |tx| {
            hot::leaves::prune(tx, leaves_from, usize::MAX)?;
            hot::outputs::prune_challenged(tx, evidence, usize::MAX)?;
            while hot::prune(tx, evidence)? {}
            Ok(())
        })?)
    }

    /// Closes the files, and says what they are.
    pub fn finish(self) -> Result<Manifest, NotRebuilt> {
        let described = self.description()?;
        let key = open_seed(&self.secrets, &described.sealed_seed)?;
        let of_hot = hot::Meta {
            store_id: described.store_id.clone(),
            generation: described.generation,
            flushed_at: self.round.at,
            ..hot::Meta::default()
        };
        self.hot.write_now(move |tx| hot::initialise(tx, &of_hot))?;
        self.let_go()?;
        let Rebuild { folder, core, hot, round, cold, gathered, .. } = self;
        let mut sealed = Vec::new();
        if let Some(cold) = cold.get() {
            gathered.into_inner().unwrap_or_else(PoisonError::into_inner).finish(cold, &hot)?;
            for name in cold.names() {
                // As backups have it: never that of a file without one.
                let revision = cold.snapshot(&name)?.map_or(0, |(revision, _)| revision + 1);
                sealed.push((format!("cold/{name}"), revision));
            }
            cold.close();
        }
        // The library writes to a file once more when nobody has it any longer.
        for file in [core, hot] {
            file.close();
            drop(file);
        }
        let file = |(name, revision): (String, u64)| {
            let (bytes, sha256) = check::hash(&folder.join(&name), &mut |_| true)?;
            Ok::<BackedUp, std::io::Error>(BackedUp { name, bytes, sha256: Hex(sha256), revision })
        };
        let archived = std::fs::read_dir(folder.join("archive"))?.map(|entry| Ok((format!("archive/{}", entry?.file_name().display()), 0)));
        let archived = archived.collect::<Result<Vec<_>, std::io::Error>>()?;
        let names = [("core.redb".to_owned(), 0), ("hot.redb".to_owned(), 0)].into_iter().chain(archived).chain(sealed);
        let files = names.map(file).collect::<Result<_, _>>()?;
        let manifest = signed(&described, &key, round.at, files);
        put_manifest(device::real().as_ref(), &folder, &manifest).map_err(|_| NotRebuilt("the manifest cannot be written".into()))?;
        Ok(manifest)
    }
}
