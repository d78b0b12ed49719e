//! Which archives there are. A row is written when the files are durable and were read back, and never goes: only what it covers may leave the store, and
//! `verify` knows by it which files must be there. Archives that were kept long enough have a row that says so beside it, and no files; and so have those, in
//! another table, that did not come back with a restore from the cluster.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use super::tables::{ARCHIVES, GONE_ARCHIVES, LACKING_ARCHIVES};
use super::{alerts, audit};
use crate::crypto::hex;
use crate::domain::alert::Severity;
use crate::domain::archive::{Kind, Manifest};
use crate::domain::audit::Act;
use crate::domain::time::{Now, Timestamp};
use crate::storage::core::alerts::About;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// What should be archived is not, and so stays in the store; the topic is the kind.
pub const ALERT: &str = "archive_failed";

/// An archive whose files are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneArchive {
    pub at: Timestamp,
}

fn told(manifest: &Manifest) -> String {
    format!("{} lines, SHA-256 {}", manifest.lines, hex(&manifest.sha256.0))
}

/// The hash stands in the audit log too, which the heads of epochs vouch for.
pub fn add(tx: &mut WriteTx<'_>, manifest: &Manifest, now: Now) -> Result<(), TxError> {
    let name = manifest.name();
    tx.put(ARCHIVES, &name, manifest)?;
    audit::append(tx, Act::system(now).draft("archive.make", name).because(told(manifest)))
}

/// From now on its files may go: the row and the audit log keep what they were.
pub fn expire(tx: &mut WriteTx<'_>, manifest: &Manifest, now: Now) -> Result<(), TxError> {
    let name = manifest.name();
    tx.put(GONE_ARCHIVES, &name, &GoneArchive { at: now.wall })?;
    tx.delete(LACKING_ARCHIVES, &name)?;
    audit::append(tx, Act::system(now).draft("archive.expire", name).because(told(manifest)))
}

/// The cluster did not have it whole when the store came back from there.
pub(in crate::storage) fn did_not_come(tx: &mut WriteTx<'_>, manifest: &Manifest, at: Timestamp) -> Result<(), TxError> {
    tx.put(LACKING_ARCHIVES, &manifest.name(), &GoneArchive { at })
}

/// Its files were put in their place, and are what they should be.
pub fn found(tx: &mut WriteTx<'_>, manifest: &Manifest, now: Now) -> Result<(), TxError> {
    let name = manifest.name();
    tx.delete(LACKING_ARCHIVES, &name)?;
    audit::append(tx, Act::system(now).draft("archive.find", name).because(told(manifest)))
}

/// Those whose files must be there, by kind and period: they were not kept long enough yet.
pub fn all(read: &impl Read) -> Result<Vec<Manifest>, Fault> {
    let without: HashSet<String> = &names(read, GONE_ARCHIVES)? | &names(read, LACKING_ARCHIVES)?;
    those(read, |name| !without.contains(name))
}

/// Those whose files should be there, and did not come back from the cluster.
pub fn lacking(read: &impl Read) -> Result<Vec<Manifest>, Fault> {
    let lacking = names(read, LACKING_ARCHIVES)?;
    those(read, |name| lacking.contains(name))
}

/// Those that were kept long enough: nobody misses their files.
pub fn gone(read: &impl Read) -> Result<Vec<Manifest>, Fault> {
    let gone = names(read, GONE_ARCHIVES)?;
    those(read, |name| gone.contains(name))
}

/// Whether nobody misses its files.
pub fn is_gone(read: &impl Read, manifest: &Manifest) -> Result<bool, Fault> {
    Ok(read.get(GONE_ARCHIVES, &manifest.name())?.is_some())
}

/// Backups of earlier releases have fewer tables.
fn names(read: &impl Read, table: Table<String, GoneArchive>) -> Result<HashSet<String>, Fault> {
    if !read.has(table.name)? {
        return Ok(HashSet::new());
    }
    Ok(read.scan(table, .., usize::MAX)?.into_iter().map(|(name, _)| name).collect())
}

fn those(read: &impl Read, is_one: impl Fn(&String) -> bool) -> Result<Vec<Manifest>, Fault> {
    Ok(read.scan(ARCHIVES, .., usize::MAX)?.into_iter().filter(|(name, _)| is_one(name)).map(|(_, manifest)| manifest).collect())
}

/// All of a kind, also those that went, oldest first.
pub fn of_kind(read: &impl Read, kind: Kind) -> Result<Vec<Manifest>, Fault> {
    Ok(read.scan(ARCHIVES, range(kind), usize::MAX)?.into_iter().map(|(_, manifest)| manifest).collect())
}

fn range(kind: Kind) -> Range<String> {
    // `.` comes right after `-`.
    format!("{kind}-")..format!("{kind}.")
}

/// The last one of a kind, also when it went.
pub fn newest(read: &impl Read, kind: Kind) -> Result<Option<Manifest>, Fault> {
    let mut newest = None;
    read.for_each_back(ARCHIVES, range(kind), |_, manifest| {
        newest = Some(manifest);
        ControlFlow::Break(())
    })?;
    Ok(newest)
}

fn about(kind: Kind) -> About<'static> {
    About { kind: ALERT, subject: "", topic: Some(kind.as_str()) }
}

/// Whether it is open that archiving this failed.
pub fn is_failing(read: &impl Read, kind: Kind) -> Result<bool, Fault> {
    Ok(alerts::open_of_kind(read, ALERT)?.iter().any(|alert| alert.topic.as_deref() == Some(kind.as_str())))
}

/// Raises or resolves the alert.
pub fn settle(tx: &mut WriteTx<'_>, kind: Kind, failed: Option<&str>, now: Timestamp) -> Result<(), TxError> {
    match failed {
        Some(why) => alerts::raise_about(tx, about(kind), Severity::Warning, why, now).map(drop),
        None => alerts::resolve_about(tx, about(kind), now).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DbFile;

    #[test]
    fn a_backup_of_an_earlier_release_has_fewer_tables() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = DbFile::open(&dir.path().join("core.redb"), 1 << 20, |tx| tx.create(ARCHIVES.name)).unwrap();
        let read = file.read().unwrap();
        assert_eq!((all(&read).unwrap(), lacking(&read).unwrap(), gone(&read).unwrap()), (vec![], vec![], vec![]));
    }
}
