//! Workloads that fail: alerted about when the supervisor gives up, or when it has started one again and again for minutes; over when it runs in peace, or is
//! no longer wanted. A run in which nothing changed writes nothing.

use std::collections::HashMap;

use super::{Context, Stopped};
use crate::domain::alert::{Alert, Severity};
use crate::domain::node::{Eligible, OFFLINE_AFTER_SECONDS, Wanted};
use crate::domain::time::Now;
use crate::domain::workload::{TROUBLE_AFTER_SECONDS, WorkloadState};
use crate::storage::NodeEntry;
use crate::storage::core::alerts::{self, About};
use crate::storage::core::node_events;
use crate::storage::fault::TxError;
use crate::storage::intake::Workload;
use crate::storage::table::WriteTx;

pub const ALERT: &str = "workload_failed";
/// Alerts that one run changes; the others follow in the next slot.
const PER_RUN: usize = 1_000;

/// What becomes of the alert about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Raise(String),
    /// The node went silent, or is heard again.
    Unknown(bool),
    Resolve,
}

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    // How long something lasts is a difference of times, and these mean nothing yet.
    if !now.trusted {
        return Ok(());
    }
    let changes = judge(context, now)?;
    if changes.is_empty() {
        return Ok(());
    }
    let record = move |tx: &mut WriteTx<'_>| changes.iter().try_for_each(|(subject, verdict)| verdict.record(tx, subject, now));
    Ok(context.store.write(record).await?)
}

fn judge(context: &Context, now: Now) -> Result<Vec<(String, Verdict)>, Stopped> {
    let store = &context.store;
    let core = store.read()?;
    let open = alerts::open_of_kind(&core, ALERT)?.into_iter();
    let mut open: HashMap<String, Alert> = open.map(|alert| (alert.subject.clone(), alert)).collect();
    let (silent, workloads) = (node_events::silent(&core)?, store.intake.workloads());
    let mut changes = Vec::new();
    for entry in store.directory.all() {
        let (alert, known) = (open.remove(entry.id.as_str()), workloads.get(entry.index.position()).and_then(Option::as_deref));
        let verdict = of_node(&entry, alert.as_ref(), known, silent.get(entry.index), now);
        changes.extend(verdict.map(|verdict| (entry.id.to_string(), verdict)));
    }
    // What is left is about nodes that are no more.
    changes.extend(open.into_keys().map(|subject| (subject, Verdict::Resolve)));
    changes.truncate(PER_RUN);
    Ok(changes)
}

fn of_node(entry: &NodeEntry, alert: Option<&Alert>, known: Option<&Workload>, is_silent: bool, now: Now) -> Option<Verdict> {
    if let Some(alert) = alert {
        let is_over = entry.wanted == Wanted::Stopped || known.is_some_and(|known| !is_silent && known.report.is_calm());
        let was_unknown = alert.unknown_since.is_some();
        return match (is_over, was_unknown == is_silent) {
            (true, _) => Some(Verdict::Resolve),
            (false, false) => Some(Verdict::Unknown(is_silent)),
            (false, true) => None,
        };
    }
    let known = known.filter(|known| now.wall.since(known.at) <= OFFLINE_AFTER_SECONDS * 1_000)?;
    let since = known.troubled_since?;
    let gave_up = known.report.state == WorkloadState::Failed;
    let is_long = gave_up || now.wall.since(since) >= TROUBLE_AFTER_SECONDS * 1_000;
    let matters = entry.wanted == Wanted::Running
        && !matches!(entry.eligible.at(now.wall.slot().plus(1)), Eligible::Maintenance | Eligible::Draining);
    (is_long && matters).then(|| Verdict::Raise(message(&entry.name, gave_up, known.report.reason.as_deref())))
}

fn message(name: &str, gave_up: bool, reason: Option<&str>) -> String {
    let what = if gave_up { "its workload failed and is not tried again by itself" } else { "its workload ends again and again" };
    reason.map_or_else(|| format!("{name}: {what}"), |reason| format!("{name}: {what}: {reason}"))
}

impl Verdict {
    fn record(&self, tx: &mut WriteTx<'_>, subject: &str, now: Now) -> Result<(), TxError> {
        let about = About { kind: ALERT, subject, topic: None };
        match self {
            Verdict::Raise(message) => alerts::raise_about(tx, about, Severity::Warning, message, now.wall),
            Verdict::Unknown(is_silent) => alerts::set_unknown(tx, about, *is_silent, now.wall),
            Verdict::Resolve => alerts::resolve_about(tx, about, now.wall),
        }
        .map(drop)
    }
}
