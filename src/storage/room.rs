//! Room on the disk for those writes that must go on when it is full. A file of the store's folder, `reserve`, takes blocks that nobody else can have; it is let go when the
//! core comes to the end of the disk, and made again when there is room for it and more. Measurements stop before: agents keep what is not written.
//!
//! Files of the store also tell here which I/O errors they survived.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::device::Device;
use crate::domain::space::{floor_bytes, release_bytes, remake_bytes, reserve_bytes};
use crate::domain::time::Timestamp;

/// Within the folder of the store.
pub const RESERVE: &str = "reserve";

/// Whose writes end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Measurements and evidence: `hot.redb`, weeks and months. They end while there is room for others.
    Kept,
    /// Money, people and the audit log: `core.redb`. They take the reserve.
    Now,
}

/// I/O errors of one file since the store was opened, a full disk apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survived {
    pub times: u64,
    /// The last one.
    pub error: String,
    /// When the last one was noticed.
    pub noticed_at: Option<Timestamp>,
    noticed: u64,
}

/// What the files of one store share.
#[derive(Debug)]
pub struct Room {
    device: Arc<dyn Device>,
    dir: PathBuf,
    reserve: PathBuf,
    bytes: u64,
    /// Whoever makes or removes the reserve.
    turn: Mutex<()>,
    is_reserved: AtomicBool,
    survived: Mutex<BTreeMap<String, Survived>>,
}

impl Room {
    /// Of the store in `dir`, with the reserve that is there. Makes none.
    pub(super) fn of(device: &Arc<dyn Device>, dir: &Path) -> Room {
        let reserve = dir.join(RESERVE);
        let bytes = reserve_bytes(device.usage(dir).map_or(0, |usage| usage.total));
        // What a crash left half made is made anew.
        let is_reserved = AtomicBool::new(device.taken(&reserve).is_ok_and(|taken| taken >= bytes));
        let (device, dir) = (Arc::clone(device), dir.to_owned());
        Room { device, dir, reserve, bytes, turn: Mutex::default(), is_reserved, survived: Mutex::default() }
    }

    /// Bytes that are set aside at present.
    pub fn reserved_bytes(&self) -> u64 {
        if self.is_reserved.load(Ordering::Acquire) { self.bytes } else { 0 }
    }

    /// Sets the reserve aside where it is missing and there is room for it and more. True when it was made.
    pub fn make(&self) -> io::Result<bool> {
        let _turn = lock(&self.turn);
        if self.is_reserved.load(Ordering::Acquire) || self.device.free_bytes(&self.dir)? < remake_bytes(self.bytes) {
            return Ok(false);
        }
        self.device.remove(&self.reserve)?;
        let made = self.device.create(&self.reserve).and_then(|file| file.allocate(self.bytes));
        if let Err(error) = made {
            let _ = self.device.remove(&self.reserve);
            return Err(error);
        }
        self.is_reserved.store(true, Ordering::Release);
        Ok(true)
    }

    /// Gives the reserve to whoever writes next. False when it was given already.
    pub(super) fn let_go(&self) -> bool {
        let _turn = lock(&self.turn);
        if !self.is_reserved.load(Ordering::Acquire) || self.device.remove(&self.reserve).is_err() {
            return false;
        }
        self.is_reserved.store(false, Ordering::Release);
        tracing::warn!(bytes = self.bytes, "the disk is full: the reserve is let go, so that money and the audit log go on");
        true
    }

    /// Where the disk is full: the same, for who could not open the store.
    pub(super) fn let_go_to_open(&self) -> bool {
        self.device.free_bytes(&self.dir).is_ok_and(|free| free < floor_bytes(self.bytes)) && self.let_go()
    }

    /// Before a commit: whether it is not to be tried. Lets the reserve go for who needs it.
    pub(super) fn refuses(&self, need: Need) -> bool {
        // A disk that does not answer this may still be written.
        let Ok(free) = self.device.free_bytes(&self.dir) else { return false };
        match need {
            Need::Kept => free < floor_bytes(self.bytes),
            Need::Now => {
                if free < release_bytes(self.bytes) {
                    self.let_go();
                }
                false
            }
        }
    }

    /// The file was opened again after this error.
    pub(super) fn survived(&self, path: &Path, error: String) {
        let name = path.strip_prefix(&self.dir).unwrap_or(path).display().to_string();
        let mut all = lock(&self.survived);
        let of_file = all.entry(name).or_default();
        (of_file.times, of_file.error) = (of_file.times + 1, error);
    }

    /// By file; those that came since the last call are of `now`.
    pub fn notice(&self, now: Timestamp) -> BTreeMap<String, Survived> {
        let mut all = lock(&self.survived);
        for of_file in all.values_mut().filter(|of_file| of_file.times > of_file.noticed) {
            (of_file.noticed, of_file.noticed_at) = (of_file.times, Some(now));
        }
        all.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
