//! Between redb and a file of a device: it hears of every error, counts what is written, and can be cut, so that a handle that redb gave up lets go of the file while
//! snapshots of it are still held.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redb::{BackendError, StorageBackend};

use super::DeviceFile;

/// Rung at the first error, from whichever thread met it.
type Bell = Box<dyn Fn() + Send + Sync>;

pub struct Link {
    file: Box<dyn DeviceFile>,
    broken: AtomicBool,
    first_error: Mutex<Option<(io::ErrorKind, String)>>,
    is_cut: AtomicBool,
    written: AtomicU64,
    bell: OnceLock<Bell>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("file", &self.file).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Link {
    pub fn new(file: Box<dyn DeviceFile>) -> Arc<Link> {
        Arc::new(Link {
            file,
            broken: AtomicBool::new(false),
            first_error: Mutex::default(),
            is_cut: AtomicBool::new(false),
            written: AtomicU64::new(0),
            bell: OnceLock::new(),
        })
    }

    /// What redb takes.
    pub fn backend(self: &Arc<Link>) -> impl StorageBackend + use<> {
        Backend(Arc::clone(self))
    }

    pub fn ring(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    /// An operation failed: redb answers nothing good any more.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// The first error, with its kind.
    pub fn first_error(&self) -> Option<(io::ErrorKind, String)> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on nothing goes through, and the file is nobody's.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        let _ = self.file.unlock();
    }

    /// Handed to the file so far.
    pub fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub fn file(&self) -> &dyn DeviceFile {
        &*self.file
    }

    fn through<R>(&self, operation: impl FnOnce(&dyn DeviceFile) -> io::Result<R>) -> io::Result<R> {
        if self.is_cut.load(Ordering::Acquire) {
            return Err(io::Error::other("the file was opened again after an error"));
        }
        operation(&*self.file).inspect_err(|error| {
            self.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((error.kind(), error.to_string()));
            if !self.broken.swap(true, Ordering::AcqRel)
                && let Some(bell) = self.bell.get()
            {
                bell();
            }
        })
    }
}

#[derive(Debug)]
struct Backend(Arc<Link>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.through(|file| file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.through(|file| file.read(offset, out))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.through(|file| file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.through(|file| file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.0.through(|file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.unlock()
    }

    /// The whole file or nothing: one process writes.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match (start, end) {
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(self.0.file.lock()?),
            _ => Err(BackendError::Unsupported),
        }
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(self.0.file.unlock()?)
    }
}
