//! What does not fit into memory while the manager is away: a sled database in the state folder. Disposable: opened only
//! then, bounded in bytes, removed when drained. It survives a restart of the agent; a power cut may cost the last minutes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::domain::metrics::Sample;
use crate::domain::time::Slot;
use crate::wire::LateItem;

/// Size on disk that the spool keeps to: a week of samples of a machine with half a dozen interfaces.
pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;
/// A smaller bound could hardly be kept, because sled needs a few segments of half a megabyte for itself.
pub const MIN_MAX_BYTES: u64 = 16 << 20;
/// sled's page cache.
const CACHE_BYTES: u64 = 1 << 20;
/// What one row costs beside its value.
const ROW_OVERHEAD_BYTES: u64 = 64;
/// Measured over 4 to 64 MB of rows that come and go: sled's files are 1.8 times as large as what is in them, and 4 MB more.
const FILE_FACTOR: u64 = 2;
const FILE_EXTRA_BYTES: u64 = 6 << 20;
/// Rows between two flushes: five minutes of samples, so that an outage of days does not wear out the card.
const FLUSH_EVERY: u32 = 10;

/// Why the spool could not do its work. It is disposable, so callers log this and go on.
#[derive(Debug)]
pub struct SpoolError(String);

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<sled::Error> for SpoolError {
    fn from(error: sled::Error) -> SpoolError {
        SpoolError(error.to_string())
    }
}

impl From<std::io::Error> for SpoolError {
    fn from(error: std::io::Error) -> SpoolError {
        SpoolError(error.to_string())
    }
}

pub struct Spool {
    db: sled::Db,
    folder: PathBuf,
    max_payload_bytes: u64,
    payload_bytes: u64,
    unflushed: u32,
}

impl Spool {
    pub fn exists(folder: &Path) -> bool {
        folder.is_dir()
    }

    /// Opens or makes the spool. A damaged one is given up: its rows are the price of not syncing every one of them.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Spool, SpoolError> {
        let db = match open_db(folder) {
            Ok(db) => db,
            Err(error) => {
                tracing::warn!(%error, "the spool is damaged and starts anew");
                std::fs::remove_dir_all(folder)?;
                open_db(folder)?
            }
        };
        let mut payload_bytes = 0;
        for row in db.iter() {
            let (key, value) = row?;
            payload_bytes += row_bytes(&key, &value);
        }
        let max_payload_bytes = (max_bytes.max(MIN_MAX_BYTES) - FILE_EXTRA_BYTES) / FILE_FACTOR;
        Ok(Spool { db, folder: folder.to_owned(), max_payload_bytes, payload_bytes, unflushed: 0 })
    }

    /// Keeps `sample` unless its slot has one. Returns how many of the oldest rows had to go for it.
    pub fn push(&mut self, slot: Slot, sample: &Sample) -> Result<u64, SpoolError> {
        let key = slot.0.to_be_bytes();
        let value = serde_json::to_vec(sample).map_err(|e| SpoolError(e.to_string()))?;
        let size = row_bytes(&key, &value);
        if self.db.compare_and_swap(key, None::<&[u8]>, Some(value))?.is_err() {
            return Ok(0);
        }
        self.payload_bytes += size;
        let mut dropped = 0;
        while self.payload_bytes > self.max_payload_bytes {
            let Some((key, value)) = self.db.pop_min()? else { break };
            self.payload_bytes = self.payload_bytes.saturating_sub(row_bytes(&key, &value));
            dropped += 1;
        }
        self.unflushed += 1;
        if self.unflushed >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(dropped)
    }

    pub fn flush(&mut self) -> Result<(), SpoolError> {
        self.unflushed = 0;
        self.db.flush()?;
        Ok(())
    }

    /// The oldest rows, at most `max_items` and at most `max_bytes` of samples, but one if there is any. Rows that do not
    /// read are removed on the way.
    pub fn oldest(&mut self, max_items: usize, max_bytes: usize) -> Result<Vec<LateItem>, SpoolError> {
        let (mut items, mut bytes, mut unreadable) = (Vec::new(), 0, Vec::<sled::IVec>::new());
        for row in self.db.iter() {
            let (key, value) = row?;
            match decode(&key, &value) {
                Some(item) => {
                    bytes += value.len();
                    if items.len() >= max_items || (bytes > max_bytes && !items.is_empty()) {
                        break;
                    }
                    items.push(item);
                }
                None => unreadable.push(key),
            }
        }
        for key in unreadable {
            self.forget(&key)?;
        }
        Ok(items)
    }

    /// Forgets rows that were answered.
    pub fn remove(&mut self, items: &[LateItem]) -> Result<(), SpoolError> {
        for item in items {
            self.forget(&item.slot.0.to_be_bytes())?;
        }
        Ok(())
    }

    fn forget(&mut self, key: &[u8]) -> Result<(), SpoolError> {
        if let Some(value) = self.db.remove(key)? {
            self.payload_bytes = self.payload_bytes.saturating_sub(row_bytes(key, &value));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.db.is_empty()
    }

    /// Closes the drained spool and removes its files.
    pub fn delete(self) -> Result<(), SpoolError> {
        let Spool { db, folder, .. } = self;
        drop(db);
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}

/// sled answers some damage with a panic instead of an error.
fn open_db(folder: &Path) -> Result<sled::Db, SpoolError> {
    let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace).flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(SpoolError("the files are damaged".into())),
    }
}

fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX).saturating_add(ROW_OVERHEAD_BYTES)
}

fn decode(key: &[u8], value: &[u8]) -> Option<LateItem> {
    let slot = Slot(u32::from_be_bytes(key.try_into().ok()?));
    Some(LateItem { slot, sample: serde_json::from_slice(value).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::state::tests::Folder;
    use crate::domain::metrics::Interface;

    fn sample(n: u32) -> Sample {
        let mut sample = Sample::default();
        sample.cpu.cores = Some(n);
        sample
    }

    fn slots(items: &[LateItem]) -> Vec<u32> {
        items.iter().map(|i| i.slot.0).collect()
    }

    fn folder_bytes(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
        entries.map(|e| if e.path().is_dir() { folder_bytes(&e.path()) } else { e.metadata().unwrap().len() }).sum()
    }

    #[test]
    fn rows_come_back_oldest_first_after_reopening_and_the_first_of_a_slot_wins() {
        let folder = Folder::new();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path, DEFAULT_MAX_BYTES).unwrap();
        for slot in [300, 2, 70_000, 256] {
            assert_eq!(spool.push(Slot(slot), &sample(slot)).unwrap(), 0);
        }
        spool.push(Slot(2), &sample(99)).unwrap();
        spool.flush().unwrap();
        drop(spool);
        let mut spool = Spool::open(&path, DEFAULT_MAX_BYTES).unwrap();
        let items = spool.oldest(512, usize::MAX).unwrap();
        assert_eq!(slots(&items), [2, 256, 300, 70_000]);
        assert_eq!(items[0].sample, sample(2));
        let first_two = spool.oldest(2, usize::MAX).unwrap();
        assert_eq!(slots(&first_two), [2, 256]);
        assert_eq!(slots(&spool.oldest(512, 1).unwrap()), [2], "a tight bound still gives one");
        spool.remove(&first_two).unwrap();
        assert!(!spool.is_empty());
        let rest = spool.oldest(512, usize::MAX).unwrap();
        assert_eq!(slots(&rest), [300, 70_000]);
        spool.remove(&rest).unwrap();
        assert!(spool.is_empty());
        assert_eq!(spool.payload_bytes, 0);
        spool.delete().unwrap();
        assert!(!Spool::exists(&path));
    }

    #[test]
    fn a_full_spool_drops_its_oldest_rows_counts_them_and_keeps_to_its_size() {
        let folder = Folder::new();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path, 0).unwrap();
        let interface = Interface { name: "a".repeat(64), ..Interface::default() };
        let mut dropped = 0;
        let mut big = sample(1);
        big.network.interfaces = vec![interface; 32];
        const ROWS: u32 = 3_000;
        for slot in 0..ROWS {
            dropped += spool.push(Slot(slot), &big).unwrap();
        }
        let left = spool.oldest(usize::MAX, usize::MAX).unwrap();
        assert!(dropped > 0);
        assert_eq!(dropped + u64::try_from(left.len()).unwrap(), u64::from(ROWS));
        assert_eq!(u64::from(left[0].slot.0), dropped, "the oldest went first");
        assert!(spool.payload_bytes <= spool.max_payload_bytes);
        spool.flush().unwrap();
        let on_disk = folder_bytes(&path);
        assert!(on_disk <= MIN_MAX_BYTES, "{on_disk} bytes on disk");
        let counted = spool.payload_bytes;
        drop(spool);
        assert_eq!(Spool::open(&path, 0).unwrap().payload_bytes, counted, "counted again on opening");
    }

    #[test]
    fn unreadable_rows_and_files_do_not_stand_in_the_way() {
        let folder = Folder::new();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path, 0).unwrap();
        spool.push(Slot(7), &sample(7)).unwrap();
        spool.db.insert([0u8, 0, 0, 1], b"{").unwrap();
        spool.db.insert([9u8], b"x").unwrap();
        assert_eq!(slots(&spool.oldest(9, usize::MAX).unwrap()), [7]);
        assert_eq!(spool.db.len(), 1);
        spool.flush().unwrap();
        drop(spool);
        for name in ["conf", "db"] {
            std::fs::write(path.join(name), b"garbage").unwrap();
            let mut spool = Spool::open(&path, 0).unwrap();
            spool.push(Slot(8), &sample(8)).unwrap();
            assert_eq!(slots(&spool.oldest(9, usize::MAX).unwrap()).last(), Some(&8), "{name}");
        }
    }
}
