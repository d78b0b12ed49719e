//! Checks a store from end to end: every part decodes, chains are unbroken, books balance.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::archive;
use super::backup::check;
use super::cold::{self, Present};
use super::core::ledger_check::{self, Depth, Replayed};
use super::core::{
    archives, audit, backups, batches, chain, cold_files, commands, epochs, final_payouts, maintenance, meta, node_events, outbox, payouts,
    references, schedules, suspensions, tables, votes,
};
use super::fault::{Fault, OpenError, guarded};
use super::hot;
use super::secrets::Secrets;
use super::store::{Store, StoreOptions, open_seed};
use super::table::{Read, Snapshot};
use crate::crypto::{Entropy, PublicKey};
use crate::domain::archive::Manifest;
use crate::domain::time::Now;

/// What was found in one part of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub part: String,
    /// Records that were checked; up to the first wrong one.
    pub records: u64,
    /// `None` when the part is good.
    pub wrong: Option<String>,
    /// What was not looked at, and how it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// What is checked: snapshots of one moment, or copies of them.
pub(super) struct Parts<'a> {
    pub core: &'a Snapshot,
    pub hot: &'a Snapshot,
    /// None: not known, and what it signed is left out.
    pub manager_key: Option<PublicKey>,
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
    verify_while(store, depth, &|| true)
}

/// The same for as long as it is wanted: what takes long is given up where `go_on` says no more, and told as such.
pub fn verify_while(store: &Store, depth: Depth, go_on: &dyn Fn() -> bool) -> Vec<Finding> {
    match guarded(|| Ok((store.read()?, store.hot.read()?))) {
        Ok((core, hot)) => {
            let archives = archive::folder(store);
            let parts =
                Parts { core: &core, hot: &hot, manager_key: Some(store.manager_key()), archives: &archives, archives_may_lack: false };
            let mut findings = verify_parts(&parts, depth);
            findings.extend(of_references(&core));
            findings.push(leaves_and_evidence(store, &core, &hot, depth, go_on));
            findings.push(finding(check::MEASUREMENTS, || store.cold.verify_while(go_on)));
            findings.push(inventory(&core, || {
                let mut present = store.cold.present()?;
                // These went, and it could not be written down yet.
                present.extend(store.space.untold().into_iter().map(|draft| (draft.subject, Present { identity: None, is_beside: true })));
                Ok((present, Some(store.read()?)))
            }));
            findings
        }
        Err(fault) => vec![finding("files", || Err(fault))],
    }
}

/// A store that nobody has open. Where it does not open, its files are looked at one by one, and what can be checked of them is.
///
/// # Errors
/// Why it was not looked at at all: another process has it, or it needs another release.
pub fn verify_folder(options: &StoreOptions, entropy: Entropy, now: Now, depth: Depth) -> Result<Vec<Finding>, OpenError> {
    let fault = match guarded(|| Ok(Store::open(options, entropy, now))) {
        Ok(Ok(store)) => {
            let findings = verify_to(&store, depth);
            store.close();
            return Ok(findings);
        }
        Ok(Err(OpenError::Fault(fault))) | Err(fault) => fault,
        Ok(Err(lacking @ (OpenError::MissingFile(_) | OpenError::SecretKey(_) | OpenError::Mixed { .. } | OpenError::Foreign { .. }))) => {
            Fault::Damaged(lacking.to_string())
        }
        Ok(Err(refused)) => return Err(refused),
    };
    let dir = &options.dir;
    let mut findings = vec![finding("opening", || Err(fault))];
    let mut opened = |name: &'static str| {
        let opened = guarded(|| check::open_or_repair(&dir.join(name)));
        opened.map_err(|fault| findings.push(finding(name, || Err(fault)))).ok()
    };
    let (core, hot) = (opened("core.redb"), opened("hot.redb"));
    if let Some(core) = &core {
        let core = &core.snapshot;
        let key = guarded(|| key_of(dir, core)).map_err(|fault| findings.push(finding("manager's key", || Err(fault)))).ok();
        findings.extend(of_core(core, key, &dir.join("archive"), false, depth));
        findings.extend(of_references(core));
        findings.push(inventory(core, || Ok((cold::present_in(options.device.as_ref(), dir)?, None))));
    }
    if let Some(hot) = &hot {
        findings.push(finding("measurements and evidence", || hot::verify(&hot.snapshot).map(Ok)));
    }
    findings.push(finding(check::MEASUREMENTS, || cold::verify_folder(options.device.as_ref(), dir)));
    findings.push(Finding {
        left_out: Some("all of it, because the store does not open".into()),
        ..finding("leaves and evidence", || Ok(Ok(0)))
    });
    Ok(findings)
}

fn key_of(dir: &Path, core: &Snapshot) -> Result<PublicKey, Fault> {
    let failed = |error: OpenError| Fault::Invariant(error.to_string());
    let secrets = Secrets::load(dir).map_err(failed)?.ok_or_else(|| Fault::Invariant("secret.key is missing".into()))?;
    Ok(open_seed(&secrets, &meta::store(core)?.sealed_seed).map_err(failed)?.public())
}

pub(super) fn verify_parts(parts: &Parts<'_>, depth: Depth) -> Vec<Finding> {
    let Parts { core, hot, manager_key, archives, archives_may_lack } = *parts;
    let mut findings = of_core(core, manager_key, archives, archives_may_lack, depth);
    findings.push(finding("measurements and evidence", || hot::verify(hot).map(Ok)));
    findings
}

fn of_core(core: &Snapshot, manager_key: Option<PublicKey>, archives: &Path, archives_may_lack: bool, depth: Depth) -> Vec<Finding> {
    let signed = |part: &'static str, check: &dyn Fn(&PublicKey) -> Result<Result<u64, String>, Fault>| match &manager_key {
        Some(key) => finding(part, || check(key)),
        None => Finding { left_out: Some("all of it, because the manager's key is not known".into()), ..finding(part, || Ok(Ok(0))) },
    };
    let archived = signed("archives", &|key| archive::verify(core, archives, key, archives_may_lack));
    let archived = Finding { left_out: archived.left_out.clone().or_else(|| lacking_archives(core)), ..archived };
    vec![
        finding("audit log", || audit_log(core)),
        finding("epochs", || epoch_heads(core)),
        signed("history of epochs", &|key| chain::verify(core, key)),
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
        archived,
    ]
}

fn lacking_archives(core: &Snapshot) -> Option<String> {
    let lacking = guarded(|| archives::lacking(core)).unwrap_or_default();
    let names: Vec<String> = lacking.iter().map(Manifest::name).collect();
    (!names.is_empty()).then(|| format!("{}, which did not come back from the cluster", names.join(", ")))
}

/// Every record, and tables that name each other's rows. No matter of backups: what is wrong here alone hides neither money nor history, and a copy of it is better than none.
fn of_references(core: &Snapshot) -> [Finding; 4] {
    [
        finding("records", || tables::decode_all(core).map(Ok)),
        finding("nodes and pools", || references::verify_fleet(core)),
        finding("people", || references::verify_people(core)),
        finding("alerts", || references::verify_alerts(core)),
    ]
}

/// Files that should be there are. `now` looks at the disk, and then at the rows again: a manager that runs may have deleted one since `core` was read.
fn inventory(core: &Snapshot, now: impl FnOnce() -> Result<(BTreeMap<String, Present>, Option<Snapshot>), Fault>) -> Finding {
    const PART: &str = "files of measurements";
    let look = || {
        let (present, again) = now()?;
        let again = again.as_ref().unwrap_or(core);
        let mut missing = cold_files::difference(core, &present)?.missing;
        let still = cold_files::difference(again, &present)?.missing;
        missing.retain(|of| still.contains(of));
        let lost = cold_files::lost(again)?.into_iter().map(|(name, _, at)| format!("{name}, missed since {}", at.rfc3339()));
        Ok((present.len() as u64, missing, lost.collect::<Vec<_>>()))
    };
    match guarded(look) {
        Ok((count, missing, lost)) => {
            let left_out = (!lost.is_empty()).then(|| lost.join("; "));
            let names: Vec<String> = missing.into_iter().map(|(name, _)| name).collect();
            let checked = if names.is_empty() { Ok(count) } else { Err(format!("nothing says that {} should be gone", names.join(", "))) };
            Finding { left_out, ..finding(PART, || Ok(checked)) }
        }
        Err(fault) => finding(PART, || Err(fault)),
    }
}

/// Nobody waits for it any more.
fn stopped() -> Fault {
    Fault::Invariant("it was stopped".into())
}

/// A fault while reading is a finding too: the other parts are still checked.
pub(super) fn finding(part: &str, check: impl FnOnce() -> Result<Result<u64, String>, Fault>) -> Finding {
    match guarded(check) {
        Ok(Ok(records)) => Finding { part: part.to_owned(), records, wrong: None, left_out: None },
        Ok(Err(wrong)) => Finding { part: part.to_owned(), records: 0, wrong: Some(wrong), left_out: None },
        Err(fault) => Finding { part: part.to_owned(), records: 0, wrong: Some(fault.to_string()), left_out: None },
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

fn leaves_and_evidence(store: &Store, core: &Snapshot, hot: &Snapshot, depth: Depth, go_on: &dyn Fn() -> bool) -> Finding {
    let most = if depth == Depth::Full { usize::MAX } else { leaves::EPOCHS };
    let (checked, left_out) = match guarded(|| leaves::verify((store, core, hot), most, go_on)) {
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

pub(super) mod leaves;

#[cfg(test)]
mod tests;
