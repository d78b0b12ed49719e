//! Looks for what is unlike itself, unlike its pool, or cannot be, and tells people. No finding changes a score: whoever looks decides, and may suspend. What was
//! raised is in the store, so a restart says nothing twice; what is over is resolved.

use std::collections::BTreeMap;

use super::settle::{PER_RUN, Wanted, settle};
use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::anomaly::{
    CLONED_KEY, IMPOSSIBLE, MIN_HISTORY, MIN_MEMBERS, Measure, NO_JITTER, OUTLIER, UNUSUAL, beyond_link, cloned, impossible,
    memory_percent, motionless, outliers, traffic, unusual,
};
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::metrics::Sample;
use crate::domain::node::Node;
use crate::domain::poot::ScoreState;
use crate::domain::series::Summary;
use crate::domain::time::{Now, Slot};
use crate::storage::core::{epochs, nodes};
use crate::storage::fault::Fault;
use crate::storage::hot::{hours, leaves};
use crate::storage::table::Snapshot;
use crate::storage::{Store, present};

/// The last day is judged, and so no part of the history: what goes on for hours must not become usual by that.
const GAP_HOURS: u32 = 24;
const HISTORY_HOURS: u32 = 7 * 24;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    // Hours and ages mean nothing yet.
    if !now.trusted {
        return Ok(());
    }
    let this = context.clone();
    let looking = tokio::task::spawn_blocking(move || look(&this, now));
    let (kinds, judged) = looking.await.map_err(|error| Stopped(error.to_string()))??;
    for (kind, wanted) in kinds {
        settle(context, kind, wanted, now).await?;
    }
    if let Some(hour) = judged {
        context.judged_hour.store(hour, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

type Kinds = Vec<(&'static str, Wanted)>;

/// What is to be alerted about, and the hour that was judged when that is a new one.
fn look(context: &Context, now: Now) -> Result<(Kinds, Option<u32>), Fault> {
    let store = &*context.store;
    let (core, hot) = (store.read()?, store.hot.read()?);
    let fleet: BTreeMap<NodeIndex, Node> = nodes::all(&core)?.into_iter().map(|node| (node.index, node)).collect();
    let mut kinds = vec![(OUTLIER, of_pools(&core, &hot, &fleet)?), (CLONED_KEY, clones(context, &fleet, now))];
    let before = hours::rolled(&hot)?.hours_before;
    let is_new = before > 0 && context.judged_hour.load(std::sync::atomic::Ordering::Relaxed) != before;
    let mut cannot_be = present(context, &fleet);
    if !is_new {
        // What an hour said holds until the next one: only what is new is raised.
        let open = crate::storage::core::alerts::open_of_kind(&core, IMPOSSIBLE)?;
        for alert in open {
            cannot_be.entry(alert.subject).or_insert((alert.severity, alert.message));
        }
        kinds.push((IMPOSSIBLE, cannot_be));
        return Ok((kinds, None));
    }
    let hour = before - 1;
    let all: Vec<NodeIndex> = fleet.keys().copied().collect();
    let of_hour = |hour: u32| -> Result<BTreeMap<NodeIndex, Summary>, Fault> {
        let mut found = BTreeMap::new();
        present::hours(store, &all, (hour, hour + 1), |node, _, summary| drop(found.insert(node, summary)))?;
        Ok(found)
    };
    let (last, previous) = (of_hour(hour)?, of_hour(hour.saturating_sub(1))?);
    let mut still = Wanted::new();
    for (index, summary) in &last {
        let (Some(node), Some(then)) = (fleet.get(index), previous.get(index)) else { continue };
        if let Some(text) = motionless(summary, then) {
            still.insert(node.id.to_string(), (Severity::Warning, format!("{}: {text}", node.name)));
        }
        let sent = traffic(&summary.sample, &then.sample).and_then(|bytes| beyond_link(bytes, node.hardware.as_ref()));
        if let Some(text) = sent {
            cannot_be.entry(node.id.to_string()).or_insert((Severity::Warning, format!("{}: {text}", node.name)));
        }
    }
    kinds.push((IMPOSSIBLE, cannot_be));
    kinds.push((NO_JITTER, still));
    kinds.push((UNUSUAL, unlike_history(store, (&core, &hot), &fleet, hour)?));
    Ok((kinds, Some(before)))
}

/// Scores of the newest epoch, pool by pool; nodes without a pool are one too.
fn of_pools(core: &Snapshot, hot: &Snapshot, fleet: &BTreeMap<NodeIndex, Node>) -> Result<Wanted, Fault> {
    let mut wanted = Wanted::new();
    let Some(head) = epochs::last(core)?.filter(|head| !head.is_gap) else { return Ok(wanted) };
    let mut pools: BTreeMap<Option<PoolIndex>, Vec<(NodeIndex, f64)>> = BTreeMap::new();
    for leaf in leaves::of_epoch(hot, head.epoch)? {
        if let Some(node) = fleet.get(&leaf.node).filter(|_| leaf.score.state != ScoreState::Pending) {
            pools.entry(node.pool_now()).or_default().push((leaf.node, f64::from(leaf.score.score_hundredths) / 100.0));
        }
    }
    for (index, text) in pools.values().flat_map(|members| outliers(members)) {
        let Some(node) = fleet.get(&index) else { continue };
        wanted.insert(node.id.to_string(), (Severity::Warning, format!("{}: {text}", node.name)));
    }
    Ok(wanted)
}

fn clones(context: &Context, fleet: &BTreeMap<NodeIndex, Node>, now: Now) -> Wanted {
    let mut wanted = Wanted::new();
    for (index, returns) in context.store.intake.returns() {
        if let Some((node, text)) = fleet.get(&index).zip(cloned(&returns, now.wall)) {
            let message = format!("the key of {} is used by two machines at once: {text}", node.name);
            wanted.insert(node.id.to_string(), (Severity::Critical, message));
        }
    }
    wanted
}

/// What newest samples say that cannot be.
fn present(context: &Context, fleet: &BTreeMap<NodeIndex, Node>) -> Wanted {
    let mut wanted = Wanted::new();
    for node in fleet.values() {
        let found = context.store.intake.latest_with(node.index, |latest| impossible(&latest.sample, node.hardware.as_ref())).flatten();
        if let Some(text) = found {
            wanted.insert(node.id.to_string(), (Severity::Warning, format!("{}: {text}", node.name)));
        }
    }
    wanted
}

/// The values of one node: of the hours before, oldest first, and of the hour that is judged.
type Values = (Vec<f64>, Option<f64>);

fn unlike_history(
    store: &Store,
    (core, hot): (&Snapshot, &Snapshot),
    fleet: &BTreeMap<NodeIndex, Node>,
    hour: u32,
) -> Result<Wanted, Fault> {
    let mut values: BTreeMap<(NodeIndex, Measure), Values> = BTreeMap::new();
    let (until, from) = (hour.saturating_sub(GAP_HOURS), hour.saturating_sub(GAP_HOURS + HISTORY_HOURS));
    let mut add = |node: NodeIndex, measure: Measure, value: Option<f64>, is_judged: bool| {
        let Some(value) = value else { return };
        let (history, judged) = values.entry((node, measure)).or_default();
        if is_judged { *judged = Some(value) } else { history.push(value) }
    };
    measured(store, fleet, (from, until, hour), &mut add)?;
    scored(core, hot, (from, until, hour), &mut add)?;
    let mut found: BTreeMap<NodeIndex, Vec<String>> = BTreeMap::new();
    let mut judged = std::collections::BTreeSet::new();
    for ((node, measure), (history, value)) in &values {
        if let Some(value) = value.filter(|_| history.len() >= MIN_HISTORY) {
            judged.insert(*node);
            if let Some(text) = unusual(*measure, value, history) {
                found.entry(*node).or_default().push(text);
            }
        }
    }
    let mut wanted = Wanted::new();
    // What happens to most of a fleet at once is one thing.
    if judged.len() >= MIN_MEMBERS && found.len() * 2 > judged.len() {
        let example = found.iter().next().and_then(|(node, texts)| Some((fleet.get(node)?, texts.first()?)));
        let example = example.map(|(node, text)| format!(", such as {}: {text}", node.name)).unwrap_or_default();
        wanted.insert(
            String::new(),
            (Severity::Info, format!("{} of {} nodes are unlike their history at once{example}", found.len(), judged.len())),
        );
        return Ok(wanted);
    }
    for (index, texts) in found.into_iter().take(PER_RUN) {
        let Some(node) = fleet.get(&index) else { continue };
        wanted.insert(node.id.to_string(), (Severity::Info, format!("{}: {}", node.name, texts.join("; "))));
    }
    Ok(wanted)
}

/// Processor, memory and network, from the hourly roll-ups of `[from, until)` and of `hour`.
fn measured(
    store: &Store,
    fleet: &BTreeMap<NodeIndex, Node>,
    (from, until, hour): (u32, u32, u32),
    add: &mut impl FnMut(NodeIndex, Measure, Option<f64>, bool),
) -> Result<(), Fault> {
    let all: Vec<NodeIndex> = fleet.keys().copied().collect();
    // The hour before the judged one is only what its traffic is counted from.
    let mut before: BTreeMap<NodeIndex, (u32, Sample)> = BTreeMap::new();
    let mut look = |node: NodeIndex, at: u32, summary: Summary, is_told: bool| {
        let is_judged = at == hour;
        if is_told {
            let then = before.get(&node).filter(|(then, _)| then + 1 == at);
            let sent = then.and_then(|(_, then)| traffic(&summary.sample, then));
            add(node, Measure::Cpu, summary.sample.cpu.usage_percent, is_judged);
            add(node, Measure::Memory, memory_percent(&summary.sample), is_judged);
            add(node, Measure::Network, sent.map(|bytes| bytes / 1_000_000.0), is_judged);
        }
        before.insert(node, (at, summary.sample));
    };
    present::hours(store, &all, (from, until), |node, at, summary| look(node, at, summary, true))?;
    present::hours(store, &all, (hour.saturating_sub(1), hour + 1), |node, at, summary| look(node, at, summary, at == hour))
}

/// Score and uptime, from the last epoch that began in each hour.
fn scored(
    core: &Snapshot,
    hot: &Snapshot,
    (from, until, hour): (u32, u32, u32),
    add: &mut impl FnMut(NodeIndex, Measure, Option<f64>, bool),
) -> Result<(), Fault> {
    let mut of_hours = BTreeMap::new();
    for head in epochs::reaching(core, hours::first_slot(from))?.into_iter().filter(|head| !head.is_gap) {
        let at = hours::hour_of(Slot(head.epoch.0));
        if (from..until).contains(&at) || at == hour {
            of_hours.insert(at, head.epoch);
        }
    }
    for (at, epoch) in of_hours {
        for leaf in leaves::of_epoch(hot, epoch)?.into_iter().filter(|leaf| leaf.score.state != ScoreState::Pending) {
            let window = leaf.inputs.window;
            let uptime = (window.observed > 0).then(|| f64::from(window.proven) / f64::from(window.observed) * 100.0);
            add(leaf.node, Measure::Score, Some(f64::from(leaf.score.score_hundredths) / 100.0), at == hour);
            add(leaf.node, Measure::Uptime, uptime, at == hour);
        }
    }
    Ok(())
}
