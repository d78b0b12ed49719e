//! The database of a file, which another one may take the place of: after an I/O error the same file opened again, after a compaction the new one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use redb::Database;

use super::super::device::{Device, DeviceFile, Link};
use super::super::fault::{Fault, OpenError};
use super::lock;

/// How long who wants to read waits for a file that is being opened again.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open database with its link to the file. Snapshots hold it, so it is closed when the last of them is gone.
pub struct Opened {
    pub database: Database,
    pub link: Arc<Link>,
}

/// Where a file is, and how it is opened.
#[derive(Debug, Clone)]
pub struct Place {
    pub device: Arc<dyn Device>,
    pub path: PathBuf,
    pub cache_bytes: usize,
}

impl Place {
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The name of a file that is being made, and is nobody's until it is renamed.
    pub fn temporary(&self, kind: &str) -> PathBuf {
        self.path.with_extension(format!("redb.{kind}"))
    }

    pub fn failed(&self, error: io::Error) -> OpenError {
        OpenError::Folder(self.path.clone(), error)
    }

    /// Opens what is there; redb repairs a file that was not closed.
    pub fn open(&self) -> Result<Opened, OpenError> {
        self.opened(self.device.open(&self.path).map_err(|e| self.failed(e))?)
    }

    /// The same after an error: as the medium has it.
    pub fn open_again(&self) -> Result<Opened, OpenError> {
        let file = self.device.open(&self.path).map_err(|e| self.failed(e))?;
        file.settle().map_err(|e| self.failed(e))?;
        self.opened(file)
    }

    fn opened(&self, file: Box<dyn DeviceFile>) -> Result<Opened, OpenError> {
        // redb would make a new database of it.
        if file.is_empty().map_err(|e| self.failed(e))? {
            return Err(OpenError::Fault(Fault::Damaged(format!("{} is empty", self.path.display()))));
        }
        self.database(file)
    }

    /// A new database in a new file at `path`, which is not that of this place yet.
    pub fn create(&self, path: &Path) -> Result<Opened, OpenError> {
        self.database(self.device.create(path).map_err(|e| OpenError::Folder(path.to_owned(), e))?)
    }

    fn database(&self, file: Box<dyn DeviceFile>) -> Result<Opened, OpenError> {
        let link = Link::new(file);
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes);
        match builder.create_with_backend(link.backend()) {
            Ok(database) => Ok(Opened { database, link }),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse(self.path.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

enum State {
    Open(Arc<Opened>),
    /// Another database takes its place within moments.
    Changing,
    /// It does not open; this is why.
    Down(String),
}

/// What readers and the writer find the database by.
pub struct Handle {
    state: Mutex<State>,
    changed: Condvar,
}

impl Handle {
    pub fn new(opened: Opened) -> Handle {
        Handle { state: Mutex::new(State::Open(Arc::new(opened))), changed: Condvar::new() }
    }

    /// The database; while it is opened again, this waits, for a second at most.
    pub fn current(&self) -> Result<Arc<Opened>, Fault> {
        let (state, _) = self
            .changed
            .wait_timeout_while(lock(&self.state), PATIENCE, |state| matches!(state, State::Changing))
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(opened) => Ok(Arc::clone(opened)),
            State::Changing => Err(Fault::Database("it is being opened again after an I/O error".into())),
            State::Down(why) => Err(Fault::Database(why.clone())),
        }
    }

    /// Snapshots that are held of it, and whoever is at work on it.
    pub fn held(&self) -> usize {
        match &*lock(&self.state) {
            State::Open(opened) => Arc::strong_count(opened) - 1,
            State::Changing | State::Down(_) => 0,
        }
    }

    fn set(&self, state: State) -> Option<Arc<Opened>> {
        let before = std::mem::replace(&mut *lock(&self.state), state);
        self.changed.notify_all();
        match before {
            State::Open(opened) => Some(opened),
            State::Changing | State::Down(_) => None,
        }
    }

    /// Takes the database away. What was read of it in snapshots fails from now on where it is not in memory.
    pub fn take_away(&self) {
        if let Some(opened) = self.set(State::Changing) {
            opened.link.cut();
        }
    }

    /// `opened` is what is read and written from now on. What was before is handed back: to close it takes a while.
    pub fn put(&self, opened: Opened) -> Option<Arc<Opened>> {
        self.set(State::Open(Arc::new(opened)))
    }

    pub fn is_down(&self) -> bool {
        !matches!(*lock(&self.state), State::Open(_))
    }

    pub fn down(&self, why: String) {
        drop(self.set(State::Down(why)));
    }
}
