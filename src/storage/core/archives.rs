//! Which archives there are. A row is written when the files are durable and were read back, and never goes: only what it covers may leave the store, and
//! `verify` knows by it which files must be there.

use std::ops::ControlFlow;

use super::tables::ARCHIVES;
use super::{alerts, audit};
use crate::crypto::hex;
use crate::domain::alert::Severity;
use crate::domain::archive::{Kind, Manifest};
use crate::domain::audit::Act;
use crate::domain::time::{Now, Timestamp};
use crate::storage::core::alerts::About;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// What should be archived is not, and so stays in the store; the topic is the kind.
pub const ALERT: &str = "archive_failed";

/// The hash stands in the audit log too, which the heads of epochs vouch for.
pub fn add(tx: &mut WriteTx<'_>, manifest: &Manifest, now: Now) -> Result<(), TxError> {
    let (name, what) = (manifest.name(), format!("{} lines, SHA-256 {}", manifest.lines, hex(&manifest.sha256.0)));
    tx.put(ARCHIVES, &name, manifest)?;
    audit::append(tx, Act::system(now).draft("archive.make", name).because(what))
}

/// By kind and period.
pub fn all(read: &impl Read) -> Result<Vec<Manifest>, Fault> {
    Ok(read.scan(ARCHIVES, .., usize::MAX)?.into_iter().map(|(_, manifest)| manifest).collect())
}

pub fn by_name(read: &impl Read, name: &str) -> Result<Option<Manifest>, Fault> {
    read.get(ARCHIVES, &name.to_owned())
}

/// The last one of a kind.
pub fn newest(read: &impl Read, kind: Kind) -> Result<Option<Manifest>, Fault> {
    let mut newest = None;
    // `.` comes right after `-`.
    read.for_each_back(ARCHIVES, format!("{kind}-")..format!("{kind}."), |_, manifest| {
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
