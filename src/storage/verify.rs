//! Checks a store from end to end: every part decodes, chains are unbroken, books balance.

use serde::Serialize;

use super::archive;
use super::core::ledger_check::{self, Depth};
use super::core::{
    audit, batches, chain, commands, epochs, final_payouts, maintenance, node_events, outbox, payouts, schedules, suspensions, tables,
    votes,
};
use super::fault::Fault;
use super::hot;
use super::store::Store;
use super::table::Read;

/// What was found in one part of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub part: &'static str,
    /// Records that were checked; up to the first wrong one.
    pub records: u64,
    /// `None` when the part is good.
    pub wrong: Option<String>,
}

/// All parts, in the order in which they build on each other. Good when none has a `wrong`.
pub fn verify(store: &Store) -> Vec<Finding> {
    verify_to(store, Depth::Full)
}

/// The same, with the ledger replayed from the first posting or from the last checkpoint.
pub fn verify_to(store: &Store, depth: Depth) -> Vec<Finding> {
    vec![
        finding("audit log", audit_log(store)),
        finding("epochs", epoch_heads(store)),
        finding("history of epochs", store.read().and_then(|core| chain::verify(&core, &store.manager_key()))),
        finding("ledger", store.read().and_then(|core| ledger_check::verify(&core, depth))),
        finding("events of nodes", store.read().and_then(|core| node_events::verify(&core))),
        finding("commands", store.read().and_then(|core| commands::verify(&core))),
        finding("maintenance", store.read().and_then(|core| maintenance::verify(&core))),
        finding("payouts", store.read().and_then(|core| payouts::verify(&core))),
        finding("final payouts", store.read().and_then(|core| final_payouts::verify(&core))),
        finding("batches of payouts", store.read().and_then(|core| batches::verify(&core))),
        finding("schedules of payouts", store.read().and_then(|core| schedules::verify(&core))),
        finding("outbox", store.read().and_then(|core| outbox::verify(&core))),
        finding("suspensions", store.read().and_then(|core| suspensions::verify(&core))),
        finding("votes", store.read().and_then(|core| votes::verify(&core))),
        finding("measurements and evidence", store.hot.read().and_then(|hot| hot::verify(&hot)).map(Ok)),
        finding("sealed weeks", store.cold.verify()),
        finding("archives", archive::verify(store)),
    ]
}

/// A fault while reading is a finding too: the other parts are still checked.
fn finding(part: &'static str, checked: Result<Result<u64, String>, Fault>) -> Finding {
    match checked {
        Ok(Ok(records)) => Finding { part, records, wrong: None },
        Ok(Err(wrong)) => Finding { part, records: 0, wrong: Some(wrong) },
        Err(fault) => Finding { part, records: 0, wrong: Some(fault.to_string()) },
    }
}

fn audit_log(store: &Store) -> Result<Result<u64, String>, Fault> {
    let core = store.read()?;
    let entries = core.count(tables::AUDIT)?;
    Ok(audit::verify(&core)?.map(|_| entries).map_err(|seq| format!("entry {seq} does not follow the one before")))
}

fn epoch_heads(store: &Store) -> Result<Result<u64, String>, Fault> {
    Ok(epochs::verify(&store.read()?)?.map_err(|epoch| format!("epoch {} does not follow the one before", epoch.0)))
}

#[cfg(test)]
mod tests;
