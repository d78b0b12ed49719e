//! What is known of backups when the process starts anew: the newest good one, and the last that failed. One row.

use serde::{Deserialize, Serialize};

use super::tables::BACKUPS;
use super::{alerts, audit, meta};
use crate::crypto::hex;
use crate::domain::alert::Severity;
use crate::domain::audit::Draft;
use crate::domain::time::Timestamp;
use crate::storage::backup::Made;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// The last backup that was tried was not made.
pub const FAILED: &str = "backup_failed";
/// The newest good backup is too old.
pub const OVERDUE: &str = "backup_overdue";
const ROW: &str = "row";

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupState {
    /// Into the folder of the settings, read back and verified.
    pub good: Option<GoodBackup>,
    /// Since the good one.
    pub failed: Option<FailedBackup>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodBackup {
    pub name: String,
    pub folder: String,
    pub at: Timestamp,
    pub files: u32,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBackup {
    pub at: Timestamp,
    pub why: String,
}

pub fn state(read: &impl Read) -> Result<BackupState, Fault> {
    Ok(read.get(BACKUPS, &ROW.to_owned())?.unwrap_or_default())
}

/// Since when there is no newer good backup: its time, or that of the making of the store.
pub fn since(read: &impl Read) -> Result<Timestamp, Fault> {
    match state(read)?.good {
        Some(good) => Ok(good.at),
        None => Ok(meta::store(read)?.created_at),
    }
}

/// The hash of the copy of the core goes into the audit log, which the heads of epochs vouch for. A backup into another folder than that of the settings is recorded
/// there alone: it does not stand for the daily one.
pub fn made(tx: &mut WriteTx<'_>, made: &Made, is_daily: bool, at: Timestamp, draft: Draft) -> Result<(), TxError> {
    let core = made.manifest.file("core.redb").map(|file| hex(&file.sha256.0)).unwrap_or_default();
    let files = made.manifest.files.len();
    let what = format!("{files} files, {} bytes, {core} the SHA-256 of core.redb, in {}", made.manifest.bytes(), made.folder.display());
    if is_daily {
        let good = GoodBackup {
            name: made.name.clone(),
            folder: made.folder.display().to_string(),
            at,
            files: u32::try_from(files).unwrap_or(u32::MAX),
            bytes: made.manifest.bytes(),
        };
        tx.put(BACKUPS, &ROW.to_owned(), &BackupState { good: Some(good), failed: None })?;
        alerts::resolve(tx, FAILED, "", at)?;
        alerts::resolve(tx, OVERDUE, "", at)?;
    }
    audit::append(tx, Draft { subject: made.name.clone(), ..draft }.because(what))
}

pub fn failed(tx: &mut WriteTx<'_>, why: &str, at: Timestamp) -> Result<(), TxError> {
    let state = BackupState { failed: Some(FailedBackup { at, why: why.to_owned() }), ..state(tx)? };
    tx.put(BACKUPS, &ROW.to_owned(), &state)?;
    alerts::raise(tx, FAILED, "", Severity::Warning, &format!("The backup was not made: {why}."), at).map(drop)
}

pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    state(read)?;
    Ok(Ok(read.count(BACKUPS)?))
}
