//! Where the bytes of a database file lie: folders with files that are read, written and synced. One that holds files of the kernel serves the manager; tests bring
//! one that loses power, and one that fails.
//!
//! It knows nothing of redb: `Link` is what stands between the two.

mod link;
mod metered;
mod real;

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) use link::Link;
pub(super) use metered::Metered;

/// How full a file system is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub total: u64,
    /// By whomever.
    pub used: u64,
    /// What this process may still write: without what is kept for root.
    pub free: u64,
}

/// Files by name. What changed names (`create`, `remove`, `rename`) is durable after `sync_folder`.
pub trait Device: fmt::Debug + Send + Sync {
    /// To read and write; an error of kind `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>>;
    /// A new file that only its owner may read; an error when there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Names of the files of a folder; none where there is no folder.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// What is not there is gone already.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Takes the place of what has the other name. Who has that open keeps it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes durable what was written to a file by other means than `open` and `create`: backups and archives are plain files of the kernel wherever databases lie.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Of the file system under a folder.
    fn usage(&self, folder: &Path) -> io::Result<Usage>;
    /// Bytes that may still be written in the folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        Ok(self.usage(folder)?.free)
    }
    /// Bytes that a file takes on the medium; of what is no file, or not there, none.
    fn taken(&self, path: &Path) -> io::Result<u64>;
    /// Bytes that this process had written to any disk since it began, where that is counted.
    fn written_by_process(&self) -> Option<u64> {
        None
    }
    /// How long to wait before each try to open a file again that failed. After the last one the file is given up.
    fn retry_delays(&self) -> &[Duration];
}

/// An open file. Written bytes are durable after `sync`.
pub trait DeviceFile: fmt::Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Bytes that it takes on the medium: of a file with holes less than its length.
    fn allocated(&self) -> io::Result<u64>;
    /// Takes so many bytes of the medium, from its beginning on; an error of kind `StorageFull` when they are not there.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Fills `out`; an error when the file ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// What is added reads as zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    /// For this handle alone, until it is unlocked or dropped. False when another one holds it.
    fn lock(&self) -> io::Result<bool>;
    fn unlock(&self) -> io::Result<()>;
    /// Reads what the medium has from now on. After a sync that failed, memory may show bytes that never arrived, and that no later sync would write.
    fn settle(&self) -> io::Result<()>;
}

/// Makes a folder that only its owner may enter, with those above it that are missing; all their names are durable.
pub(super) fn make_folder(device: &dyn Device, folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for parent in missing.iter().rev().filter_map(|new| new.parent()) {
        device.sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// The file system of this machine.
pub fn real() -> Arc<dyn Device> {
    Arc::new(real::Real)
}
