//! Checks a store from end to end: every part decodes, chains are unbroken, books balance.

use std::path::Path;

use serde::Serialize;

use super::archive;
use super::core::ledger_check::{self, Depth, Replayed};
use super::core::{
    audit, backups, batches, chain, commands, epochs, final_payouts, maintenance, node_events, outbox, payouts, schedules, suspensions,
    tables, votes,
};
use super::fault::{Fault, guarded};
use super::hot;
use super::store::Store;
use super::table::{Read, Snapshot};
use crate::crypto::PublicKey;

/// What was found in one part of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub part: &'static str,
    /// Records that were checked; up to the first wrong one.
    pub records: u64,
    /// `None` when the part is good.
    pub wrong: Option<String>,
    /// What was not looked at, and how it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// What is checked: snapshots of one moment, or copies of them.
pub(super) struct Parts<'a> {
    pub core: &'a Snapshot,
    pub hot: &'a Snapshot,
    pub manager_key: PublicKey,
    /// Folder of archives.
    pub archives: &'a Path,
    /// Archives that were moved away are no damage: a backup has those that there were.
    pub archives_may_lack: bool,
}

/// All parts, in the order in which they build on each other. Good when none has a `wrong`.
pub fn verify(store: &Store) -> Vec<Finding> {
    verify_to(store, Depth::Full)
}

/// The same; with less depth the ledger is replayed from the last checkpoint, and the newest epochs alone are computed anew.
pub fn verify_to(store: &Store, depth: Depth) -> Vec<Finding> {
    match guarded(|| Ok((store.read()?, store.hot.read()?))) {
        Ok((core, hot)) => {
            let archives = archive::folder(store);
            let parts = Parts { core: &core, hot: &hot, manager_key: store.manager_key(), archives: &archives, archives_may_lack: false };
            let mut findings = verify_parts(&parts, depth);
            findings.push(leaves_and_evidence(store, &core, &hot, depth));
            findings.push(finding("sealed weeks and months", || store.cold.verify()));
            findings
        }
        Err(fault) => vec![finding("files", || Err(fault))],
    }
}

pub(super) fn verify_parts(parts: &Parts<'_>, depth: Depth) -> Vec<Finding> {
    let Parts { core, hot, manager_key, archives, archives_may_lack } = *parts;
    vec![
        finding("audit log", || audit_log(core)),
        finding("epochs", || epoch_heads(core)),
        finding("history of epochs", || chain::verify(core, &manager_key)),
        ledger(core, depth, archives),
        finding("events of nodes", || node_events::verify(core)),
        finding("commands", || commands::verify(core)),
        finding("maintenance", || maintenance::verify(core)),
        finding("payouts", || payouts::verify(core)),
        finding("final payouts", || final_payouts::verify(core)),
        finding("batches of payouts", || batches::verify(core)),
        finding("schedules of payouts", || schedules::verify(core)),
        finding("outbox", || outbox::verify(core)),
        finding("suspensions", || suspensions::verify(core)),
        finding("votes", || votes::verify(core)),
        finding("backups", || backups::verify(core)),
        finding("measurements and evidence", || hot::verify(hot).map(Ok)),
        finding("archives", || archive::verify(core, archives, &manager_key, archives_may_lack)),
    ]
}

/// A fault while reading is a finding too: the other parts are still checked.
pub(super) fn finding(part: &'static str, check: impl FnOnce() -> Result<Result<u64, String>, Fault>) -> Finding {
    match guarded(check) {
        Ok(Ok(records)) => Finding { part, records, wrong: None, left_out: None },
        Ok(Err(wrong)) => Finding { part, records: 0, wrong: Some(wrong), left_out: None },
        Err(fault) => Finding { part, records: 0, wrong: Some(fault.to_string()), left_out: None },
    }
}

fn ledger(core: &Snapshot, depth: Depth, archives: &Path) -> Finding {
    let (checked, through) = match guarded(|| ledger_check::verify_with(core, depth, Some(archives))) {
        Ok(Replayed { postings, wrong, left_out_through }) => (Ok(wrong.map_or(Ok(postings), Err)), left_out_through),
        Err(fault) => (Err(fault), 0),
    };
    let told = (through > 0).then(|| format!("postings through {through}, whose archives are not here"));
    Finding { left_out: told, ..finding("ledger", || checked) }
}

fn leaves_and_evidence(store: &Store, core: &Snapshot, hot: &Snapshot, depth: Depth) -> Finding {
    let most = if depth == Depth::Full { usize::MAX } else { leaves::EPOCHS };
    let (checked, left_out) = match guarded(|| leaves::verify(store, core, hot, most)) {
        Ok(leaves::Checked { leaves, wrong, left_out }) => (Ok(wrong.map_or(Ok(leaves), Err)), left_out),
        Err(fault) => (Err(fault), 0),
    };
    let told = (left_out > 0).then(|| format!("{left_out} older epochs, which --full looks at"));
    Finding { left_out: told, ..finding("leaves and evidence", || checked) }
}

fn audit_log(core: &Snapshot) -> Result<Result<u64, String>, Fault> {
    let entries = core.count(tables::AUDIT)?;
    Ok(audit::verify(core)?.map(|_| entries).map_err(|seq| format!("entry {seq} does not follow the one before")))
}

fn epoch_heads(core: &Snapshot) -> Result<Result<u64, String>, Fault> {
    Ok(epochs::verify(core)?.map_err(|epoch| format!("epoch {} does not follow the one before", epoch.0)))
}

mod leaves;

#[cfg(test)]
mod tests;
