//! Judges the measurements of the fleet by their thresholds, once per slot. What was judged before is in the open alerts, and how long a value holds is in the
//! stored samples, so a restart says nothing twice; a run in which nothing changed writes nothing. Only nodes whose newest sample may raise a level have
//! their history read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::alert::{Alert, RESOURCE_THRESHOLD, Severity};
use crate::domain::bits::Bitmap;
use crate::domain::ids::NodeIndex;
use crate::domain::threshold::{Level, METRICS, Metric, Reading, Rule, Tenths, Thresholds, UNKNOWN_AFTER_SLOTS, message};
use crate::domain::time::{Now, Slot};
use crate::storage::core::alerts::{self, About};
use crate::storage::core::node_events;
use crate::storage::core::thresholds::AllThresholds;
use crate::storage::fault::{Fault, TxError};
use crate::storage::intake::LatestReading;
use crate::storage::present;
use crate::storage::table::{Snapshot, WriteTx};
use crate::storage::{NodeEntry, Store};

/// Alerts that one run changes; the others follow in the next slot.
const PER_RUN: usize = 1_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    // Without trust samples have no slots yet.
    if !now.trusted {
        return Ok(());
    }
    let store = Arc::clone(&context.store);
    let judging = tokio::task::spawn_blocking(move || judge(&store, now)).await;
    let changes = judging.map_err(|error| Stopped(error.to_string()))??;
    if changes.is_empty() {
        return Ok(());
    }
    let record = move |tx: &mut WriteTx<'_>| changes.iter().try_for_each(|change| change.record(tx, now));
    Ok(context.store.write(record).await?)
}

/// What becomes of one alert.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    subject: String,
    metric: Metric,
    verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    Raise(Severity, String),
    /// It was `unknown` before.
    Known,
    Unknown,
    Severity(Severity, String),
    Resolve,
}

impl Change {
    fn record(&self, tx: &mut WriteTx<'_>, now: Now) -> Result<(), TxError> {
        let about = About { kind: RESOURCE_THRESHOLD, subject: &self.subject, topic: Some(self.metric.name()) };
        let at = now.wall;
        match &self.verdict {
            Verdict::Raise(severity, message) => alerts::raise_about(tx, about, *severity, message, at),
            Verdict::Known => alerts::set_unknown(tx, about, false, at),
            Verdict::Unknown => alerts::set_unknown(tx, about, true, at),
            Verdict::Severity(severity, message) => alerts::set_severity(tx, about, *severity, message, at),
            Verdict::Resolve => alerts::resolve_about(tx, about, at),
        }
        .map(drop)
    }
}

fn severity(level: Level) -> Option<Severity> {
    match level {
        Level::Ok => None,
        Level::Warning => Some(Severity::Warning),
        Level::Critical => Some(Severity::Critical),
    }
}

fn level(alert: Option<&Alert>) -> Level {
    match alert.map(|alert| alert.severity) {
        None => Level::Ok,
        Some(Severity::Critical) => Level::Critical,
        Some(Severity::Info | Severity::Warning) => Level::Warning,
    }
}

/// Everything that is to be recorded, in node order.
fn judge(store: &Store, now: Now) -> Result<Vec<Change>, Fault> {
    let core = store.read()?;
    let mut open: HashMap<(String, Option<String>), Alert> = HashMap::new();
    for alert in alerts::open_of_kind(&core, RESOURCE_THRESHOLD)? {
        open.insert((alert.subject.clone(), alert.topic.clone()), alert);
    }
    let fleet = Fleet::load(store, &core, now)?;
    let mut seats = Vec::new();
    for entry in &fleet.entries {
        for metric in METRICS {
            let alert = open.remove(&(entry.id.to_string(), Some(metric.name().to_owned())));
            seats.push(Seat { entry, metric, alert });
        }
    }
    let histories = fleet.histories(store, &seats)?;
    let mut changes: Vec<Change> = Vec::new();
    for seat in &seats {
        fleet.judge(seat, histories.get(&seat.entry.index), &mut changes);
    }
    // What is left is about nodes that are no more.
    for (subject, topic) in open.into_keys() {
        let metric = METRICS.into_iter().find(|metric| Some(metric.name()) == topic.as_deref());
        changes.extend(metric.map(|metric| Change { subject, metric, verdict: Verdict::Resolve }));
    }
    changes.truncate(PER_RUN);
    Ok(changes)
}

/// One metric of one node, with its open alert.
struct Seat<'a> {
    entry: &'a NodeEntry,
    metric: Metric,
    alert: Option<Alert>,
}

type History = Vec<(Slot, Reading)>;

struct Fleet {
    entries: Vec<Arc<NodeEntry>>,
    /// By node position.
    latest: Vec<Option<LatestReading>>,
    thresholds: AllThresholds,
    /// Nodes whose silence is recorded.
    silent: Bitmap,
    silence_known: bool,
    slot: Slot,
    /// Stored samples are further apart than they were sent.
    is_thinned: bool,
}

impl Fleet {
    fn load(store: &Store, core: &Snapshot, now: Now) -> Result<Fleet, Fault> {
        Ok(Fleet {
            entries: store.directory.all(),
            latest: store.intake.latest_readings(),
            thresholds: AllThresholds::load(core)?,
            silent: node_events::silent(core)?,
            silence_known: store.intake.silence_known(now),
            slot: now.wall.slot(),
            is_thinned: store.space.is_thinned(),
        })
    }

    /// The newest sample of the node, unless it is too old to say anything about the present.
    fn fresh(&self, node: NodeIndex) -> Option<Reading> {
        let latest = self.latest.get(node.position()).copied().flatten()?;
        (self.slot.0.saturating_sub(latest.at.slot().0) <= UNKNOWN_AFTER_SLOTS).then_some(latest.reading)
    }

    fn of(&self, entry: &NodeEntry) -> Thresholds {
        self.thresholds.of(entry.index, *entry.pool.at(self.slot))
    }

    fn rule(&self, seat: &Seat<'_>) -> Rule {
        let rule = self.of(seat.entry).rule(seat.metric);
        if self.is_thinned { rule.of_thinned() } else { rule }
    }

    /// Stored samples of the nodes of which some metric cannot be judged by its newest value alone.
    fn histories(&self, store: &Store, seats: &[Seat<'_>]) -> Result<BTreeMap<NodeIndex, History>, Fault> {
        let mut wanted: BTreeMap<NodeIndex, u32> = BTreeMap::new();
        for seat in seats {
            let Some(reading) = self.fresh(seat.entry.index) else { continue };
            let slots = match reading.get(seat.metric) {
                Some(value) => {
                    let rule = self.rule(seat);
                    if rule.needs_history(level(seat.alert.as_ref()), value) { rule.history_slots() } else { 0 }
                }
                // A sensor that is missing once is not gone.
                None if seat.alert.is_some() => UNKNOWN_AFTER_SLOTS,
                None => 0,
            };
            if slots > 0 {
                let longest = wanted.entry(seat.entry.index).or_default();
                *longest = slots.max(*longest);
            }
        }
        let Some(longest) = wanted.values().copied().max() else { return Ok(BTreeMap::new()) };
        let nodes: Vec<NodeIndex> = wanted.into_keys().collect();
        present::readings(store, &nodes, self.slot.plus(1).minus(longest + 1), self.slot.plus(1))
    }

    fn judge(&self, seat: &Seat<'_>, history: Option<&History>, changes: &mut Vec<Change>) {
        let mut change = |verdict| changes.push(Change { subject: seat.entry.id.to_string(), metric: seat.metric, verdict });
        let previous = level(seat.alert.as_ref());
        let was_unknown = seat.alert.as_ref().is_some_and(|alert| alert.unknown_since.is_some());
        let values: Vec<(Slot, Tenths)> = history.map_or_else(Vec::new, |history| {
            history.iter().filter_map(|(slot, reading)| Some((*slot, reading.get(seat.metric)?))).collect()
        });
        let fresh = self.fresh(seat.entry.index);
        let Some(newest) = fresh.and_then(|reading| reading.get(seat.metric)) else {
            // Silence means something only while the manager can hear, or has recorded it.
            let is_gone = match fresh {
                Some(_) => values.is_empty(),
                None => self.silence_known || self.silent.get(seat.entry.index),
            };
            if seat.alert.is_some() && !was_unknown && is_gone {
                change(Verdict::Unknown);
            }
            return;
        };
        if was_unknown {
            change(Verdict::Known);
        }
        let rule = self.rule(seat);
        let next = if values.is_empty() { rule.judge(previous, &[(self.slot, newest)]) } else { rule.judge(previous, &values) };
        let told = || message(&seat.entry.name, seat.metric, newest, next, &rule);
        match (severity(previous), severity(next)) {
            (before, after) if before == after => (),
            (None, Some(severity)) => change(Verdict::Raise(severity, told())),
            (Some(_), Some(severity)) => change(Verdict::Severity(severity, told())),
            (_, None) => change(Verdict::Resolve),
        }
    }
}

#[cfg(test)]
mod cost {
    use super::*;
    use crate::clock::Stopwatch;
    use crate::domain::ids::{Incarnation, NodeId};
    use crate::domain::metrics::Sample;
    use crate::domain::node::MAX_NODES;
    use crate::storage::core::nodes;
    use crate::storage::core::testing::{act, new_node};
    use crate::storage::testing::{NOW, store};
    use crate::wire::{Item, PROTOCOL, Report};

    const NODES: u32 = 1_000;

    fn id(n: u32) -> NodeId {
        NodeId::parse(&format!("node_{n:06}")).unwrap()
    }

    /// What one run over a thousand nodes costs. `cargo test --lib cost_of_a_run -- --ignored --nocapture` prints it.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_a_run() {
        let (_dir, store) = store();
        let directory = Arc::clone(&store.directory);
        let make = move |tx: &mut WriteTx<'_>| {
            (0..NODES)
                .try_for_each(|n| nodes::create(tx, &directory, &act(), &id(n), &new_node(&format!("node-{n}"), None), MAX_NODES).map(drop))
        };
        store.core.write_now(make).unwrap();
        let at = |slot: u32| Now { wall: NOW.wall.plus_seconds(30 * i64::from(slot)), ..NOW };
        for slot in 0..20u32 {
            store.intake.tick(at(slot), true);
            for n in 0..NODES {
                let mut sample = Sample::default();
                // Fine for ten slots, then all of them far beyond.
                sample.cpu.usage_percent = Some(if slot < 10 { 10.0 } else { 99.0 });
                let items = vec![Item { seq: u64::from(slot) + 1, age_ms: 0, witness: None, running: None, sample }];
                let report = Report {
                    workload: None,
                    head: None,
                    contradicts: None,
                    capabilities: Vec::new(),
                    protocol: PROTOCOL,
                    incarnation: Incarnation(u64::from(n)),
                    seq: u64::from(slot) + 1,
                    run: Some(store.intake.run),
                    items,
                    fingerprint: Default::default(),
                    agent_version: String::new(),
                    dropped: 0,
                };
                store.intake.accept(NodeIndex(n), &id(n), &report, &[0; 32], &|_| true, at(slot)).unwrap();
            }
            let begin = Stopwatch::start();
            let changes = judge(&store, at(slot)).unwrap();
            println!("slot {slot}: {} changes in {:?}", changes.len(), begin.elapsed());
        }
    }
}
