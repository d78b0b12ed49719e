//! Which files of measurements there are: each has a row from soon after it was made, and a file may go only when its row says so. What is missing without that, somebody else
//! deleted: `verify` tells of it, and a manager that finds it so writes it down.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::tables::COLD_FILES;
use super::{alerts, audit};
use crate::domain::alert::Severity;
use crate::domain::audit::{Act, Draft};
use crate::domain::time::{Now, Timestamp};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// A file is gone, and nothing says that it should; the subject is its name.
pub const LOST: &str = "storage_lost";

/// What is known of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColdFile {
    There,
    /// It was to go, since then: it may be gone.
    Expired(Timestamp),
    /// It was found to be missing.
    Lost(Timestamp),
}

/// What differs between the rows and the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Files without a row that says that they are there.
    pub new: Vec<String>,
    /// Rows without their file.
    pub missing: Vec<String>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.missing.is_empty()
    }
}

/// Compares the rows with the files that there are.
pub fn difference(read: &impl Read, present: &BTreeSet<String>) -> Result<Difference, Fault> {
    let rows = read.scan(COLD_FILES, .., usize::MAX)?;
    let there: BTreeSet<String> = rows.into_iter().filter(|(_, file)| *file == ColdFile::There).map(|(name, _)| name).collect();
    let but = |some: &BTreeSet<String>, others: &BTreeSet<String>| some.difference(others).cloned().collect();
    Ok(Difference { new: but(present, &there), missing: but(&there, present) })
}

/// Writes down what differs. What is missing is told in the audit log, and stays an alert until the file is back.
pub fn note(tx: &mut WriteTx<'_>, found: &Difference, now: Now) -> Result<(), TxError> {
    for name in &found.new {
        tx.put(COLD_FILES, name, &ColdFile::There)?;
        alerts::resolve(tx, LOST, name, now.wall)?;
    }
    for name in &found.missing {
        tx.put(COLD_FILES, name, &ColdFile::Lost(now.wall))?;
        audit::append(tx, Act::system(now).draft("storage.lost", name.clone()))?;
        let message = format!(
            "cold/{name} is gone, and this manager did not delete it: what it had is missing from charts. With the manager stopped, a backup's copy can take its place."
        );
        alerts::raise(tx, LOST, name, Severity::Warning, &message, now.wall)?;
    }
    Ok(())
}

/// From now on the file may go that is the subject of `draft`. Whoever looked for it looks no more.
pub fn expire(tx: &mut WriteTx<'_>, draft: Draft) -> Result<(), TxError> {
    tx.put(COLD_FILES, &draft.subject, &ColdFile::Expired(draft.at))?;
    alerts::resolve(tx, LOST, &draft.subject, draft.at)?;
    audit::append(tx, draft)
}

/// What was lost would be too old by now.
pub fn forget(tx: &mut WriteTx<'_>, name: &str, at: Timestamp) -> Result<(), TxError> {
    tx.put(COLD_FILES, &name.to_owned(), &ColdFile::Expired(at))?;
    alerts::resolve(tx, LOST, name, at).map(drop)
}

/// It is written down that this file goes.
pub fn is_expired(read: &impl Read, name: &str) -> Result<bool, Fault> {
    Ok(matches!(read.get(COLD_FILES, &name.to_owned())?, Some(ColdFile::Expired(_))))
}

/// Files that went without leave, and were missed by a manager, with the time of that.
pub fn lost(read: &impl Read) -> Result<Vec<(String, Timestamp)>, Fault> {
    let rows = read.scan(COLD_FILES, .., usize::MAX)?;
    Ok(rows.into_iter().filter_map(|(name, file)| if let ColdFile::Lost(at) = file { Some((name, at)) } else { None }).collect())
}
