//! What can go wrong between a verb and the disk.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::money::Overflow;
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;

/// The store itself failed; nothing the caller sent was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The database refused an operation; the text is its own.
    Database(String),
    /// What is in the file cannot be what was written there; the text says what was found.
    Damaged(String),
    /// The disk is full: nothing was changed, and it is right to try again once there is room.
    Full,
    /// A stored record does not decode, or was written by a newer release.
    Record { table: &'static str, key: String, why: String },
    /// A verb broke an invariant (an unbalanced posting, an overflow): its transaction was dropped.
    Invariant(String),
    /// A posting found or made books that do not add up: its transaction was dropped, and `Store` latches payouts off.
    Books { why: String, now: Now },
    /// A verb panicked; its transaction was dropped.
    Panic,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Database(why) => write!(f, "the store failed: {why}"),
            Fault::Damaged(why) => write!(f, "a file of the store is damaged: {why}"),
            Fault::Full => write!(f, "the disk is full; nothing was changed"),
            Fault::Record { table, key, why } => write!(f, "record {key} of table {table}: {why}"),
            Fault::Invariant(what) => write!(f, "a broken invariant stopped the transaction: {what}"),
            Fault::Books { why, .. } => write!(f, "the books do not add up, which stopped the transaction: {why}"),
            Fault::Panic => write!(f, "a write panicked and was dropped"),
        }
    }
}

impl Fault {
    /// Whoever reads it again finds the same.
    pub fn is_damage(&self) -> bool {
        matches!(self, Fault::Damaged(_) | Fault::Record { .. })
    }
}

/// Runs what reads a file that may be damaged: the database library panics where pages of its trees are not what it wrote.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".to_owned())))
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Fault {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match &error {
            redb::Error::Corrupted(_) => Fault::Damaged(error.to_string()),
            // What redb itself says of a file that is none of its own, or too short.
            redb::Error::Io(io) if [InvalidData, UnexpectedEof].contains(&io.kind()) => Fault::Damaged(error.to_string()),
            _ => Fault::Database(error.to_string()),
        }
    }
}

macro_rules! database_fault {
    ($($error:ty),+) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                redb::Error::from(error).into()
            }
        }

        impl From<$error> for TxError {
            fn from(error: $error) -> TxError {
                TxError::Fault(error.into())
            }
        })+
    };
}

database_fault!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);

/// How a verb inside a transaction ends when it does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxError {
    Refused(Refusal),
    Fault(Fault),
}

impl From<Refusal> for TxError {
    fn from(refusal: Refusal) -> TxError {
        TxError::Refused(refusal)
    }
}

impl From<Fault> for TxError {
    fn from(fault: Fault) -> TxError {
        TxError::Fault(fault)
    }
}

impl From<Overflow> for TxError {
    fn from(overflow: Overflow) -> TxError {
        TxError::Fault(Fault::Invariant(overflow.to_string()))
    }
}

/// How a write ends for its caller when it does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// Nothing was changed.
    Refused(Refusal),
    /// The queue is full: try again later. Nothing was changed.
    Busy,
    /// The store failed before the commit. Nothing was changed.
    Fault(Fault),
    /// The commit failed or the process is stopping: it may or may not have happened.
    Unknown(String),
}

impl From<TxError> for WriteError {
    fn from(error: TxError) -> WriteError {
        match error {
            TxError::Refused(refusal) => WriteError::Refused(refusal),
            TxError::Fault(fault) => WriteError::Fault(fault),
        }
    }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> WriteError {
        WriteError::Fault(fault)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Refused(refusal) => refusal.fmt(f),
            WriteError::Busy => write!(f, "the write queue is full"),
            WriteError::Fault(fault) => fault.fmt(f),
            WriteError::Unknown(why) => write!(f, "the outcome of the write is unknown: {why}"),
        }
    }
}

/// Why a store does not open. Each tells the operator what to do.
#[derive(Debug)]
pub enum OpenError {
    InUse(std::path::PathBuf),
    Folder(std::path::PathBuf, std::io::Error),
    NewerStore {
        found: u32,
        known: u32,
    },
    OlderStore {
        found: u32,
        known: u32,
    },
    /// A file of another store, or under another name.
    Foreign {
        path: std::path::PathBuf,
        found: String,
    },
    /// Files of two stores, or of two generations, in one folder.
    Mixed {
        core: String,
        hot: String,
    },
    MissingFile(std::path::PathBuf),
    /// Nothing but what a restore from the cluster left here.
    RestoreCut(std::path::PathBuf),
    SecretKey(String),
    Fault(Fault),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::RestoreCut(left) => write!(
                f,
                "a restore from the cluster was cut: give its command again, or delete {} to begin with a new manager",
                left.display()
            ),
            OpenError::InUse(dir) => write!(f, "{} is in use by another process; one manager per data folder", dir.display()),
            OpenError::Folder(dir, why) => write!(f, "{}: {why}", dir.display()),
            OpenError::NewerStore { found, known } => {
                write!(
                    f,
                    "the store has schema {found}, this release knows {known}: install a newer release, or restore a backup made by this one"
                )
            }
            OpenError::OlderStore { found, known } => {
                write!(f, "the store has schema {found}, this release reads {known} and has no migration from it")
            }
            OpenError::Mixed { core, hot } => {
                write!(f, "core.redb belongs to store {core} and hot.redb to {hot}: put the files of one backup together")
            }
            OpenError::Foreign { path, found } => {
                write!(f, "{} is {found}, and belongs elsewhere: put the files of one backup together", path.display())
            }
            OpenError::MissingFile(path) => write!(f, "{} is missing: restore it from a backup of the same store", path.display()),
            OpenError::SecretKey(why) => write!(f, "secret.key: {why}"),
            OpenError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl<E: Into<Fault>> From<E> for OpenError {
    fn from(error: E) -> OpenError {
        OpenError::Fault(error.into())
    }
}
