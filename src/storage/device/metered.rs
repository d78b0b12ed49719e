//! A device that counts what is written to each file, by its path: also to files that are closed since, and to those that were being made and came to nothing.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Device, DeviceFile, Usage};

/// Which counter the bytes of a file belong to.
pub type CounterOf = Arc<dyn Fn(&Path) -> Arc<AtomicU64> + Send + Sync>;

/// Counts what goes to `inner`.
pub struct Metered {
    pub inner: Arc<dyn Device>,
    pub counter_of: CounterOf,
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Metered {
    fn count(&self, path: &Path, inner: Box<dyn DeviceFile>) -> Box<dyn DeviceFile> {
        Box::new(MeteredFile { inner, written: (self.counter_of)(path) })
    }
}

impl Device for Metered {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        Ok(self.count(path, self.inner.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DeviceFile>> {
        Ok(self.count(path, self.inner.create(path)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.inner.names(folder)
    }

    fn taken(&self, path: &Path) -> io::Result<u64> {
        self.inner.taken(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.inner.sync_folder(folder)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_file(path)
    }

    fn usage(&self, folder: &Path) -> io::Result<Usage> {
        self.inner.usage(folder)
    }

    fn written_by_process(&self) -> Option<u64> {
        self.inner.written_by_process()
    }

    fn retry_delays(&self) -> &[Duration] {
        self.inner.retry_delays()
    }
}

struct MeteredFile {
    inner: Box<dyn DeviceFile>,
    written: Arc<AtomicU64>,
}

impl fmt::Debug for MeteredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl DeviceFile for MeteredFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.inner.allocate(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.inner.write(offset, data)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn lock(&self) -> io::Result<bool> {
        self.inner.lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn settle(&self) -> io::Result<()> {
        self.inner.settle()
    }
}
