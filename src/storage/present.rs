//! The present as queries see it: what is in the store together with what waits for the next flush. Memory is read first: what a flush moves
//! meanwhile is then found twice, and never missed. Where samples are is the business of `tiers`.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::core::{epochs, node_events};
use super::fault::Fault;
use super::hot::{self, Fold, Parts, Point, hour_columns, hours, leaves};
use super::intake::Workload;
use super::table::Read;
use super::tiers;
use crate::domain::bits::Bitmap;
use crate::domain::chunk::Series;
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::evidence::{SlotRow, SlotState};
use crate::domain::ids::NodeIndex;
use crate::domain::node::{Eligible, Node, Observed, Status, Wanted, observe};
use crate::domain::poot::{Params, Score, ScoreState};
use crate::domain::series::{Bucket, Granularity, Summary};
use crate::domain::threshold::Reading;
use crate::domain::time::{Now, Slot, Timestamp};
use crate::domain::workload::{WorkloadReport, observed_at_work};

/// Evidence rows of `[from, until)`, open slots included.
pub fn evidence(store: &Store, from: Slot, until: Slot) -> Result<BTreeMap<Slot, SlotRow>, Fault> {
    let waiting = store.intake.open_rows(from, until);
    let mut rows: BTreeMap<Slot, SlotRow> = hot::evidence(&store.hot.read()?, from, until)?.into_iter().collect();
    for (slot, row) in waiting {
        rows.entry(slot).or_default().merge(&row);
    }
    Ok(rows)
}

/// What each slot of `[from, until)` was for a node, oldest first.
pub fn slot_states(store: &Store, node: NodeIndex, from: Slot, until: Slot, now: Now) -> Result<Vec<(Slot, SlotState)>, Fault> {
    let rows = evidence(store, from, until)?;
    // A flush records the silence of every slot that is over by then.
    let recorded_before = hot::meta(&store.hot.read()?)?.flushed_at.slot();
    let is_decided = |slot| slot < recorded_before && !store.intake.is_open(slot, now);
    Ok(from.until(until).map(|slot| (slot, SlotState::of(rows.get(&slot), node, is_decided(slot)))).collect())
}

/// Evidence rows of `[from, until)` that do not change any more: of slots that are closed, with their silence recorded.
pub fn decided(store: &Store, from: Slot, until: Slot, now: Now) -> Result<BTreeMap<Slot, SlotRow>, Fault> {
    // Read before the rows: a flush in between then leaves a slot out, and never shows one without its silence.
    let recorded = hot::meta(&store.hot.read()?)?.flushed_at.slot();
    let newest = from.until(until.min(recorded)).rev().find(|slot| !store.intake.is_open(*slot, now));
    newest.map_or_else(|| Ok(BTreeMap::new()), |slot| evidence(store, from, slot.plus(1)))
}

/// Slots whose samples are in memory at one time while a series is made: 24 h.
const SLOTS_AT_ONCE: u32 = 2_880;
/// Parts of a sample that have thresholds.
const WITH_THRESHOLDS: Parts = Parts { cpu: true, memory: true, disk: true, ..Parts::NONE };

/// Shows samples of a node in `[from, until)`, gathered, with `parts` of them, in order of time; from an hour on out of the hourly roll-ups. Takes a millisecond per day of samples, or
/// per month of roll-ups.
pub fn series(
    store: &Store,
    node: NodeIndex,
    (from, until): (Slot, Slot),
    granularity: Granularity,
    parts: Parts,
    visit: impl FnMut(Bucket),
) -> Result<(), Fault> {
    let mut fold = Fold::new(granularity, parts, visit);
    if granularity < Granularity::Hour {
        add_samples(store, &mut fold, node, (from, until), parts)?;
    } else {
        add_hours(store, &mut fold, node, (from, until), parts)?;
    }
    fold.finish();
    Ok(())
}

/// The granularity that a series of a node over `[from, until)` is to have where nobody asked for one: `finest`, but at least an hour where samples that it begins with have gone and hours
/// of them are there.
pub fn from_fitting_tier(store: &Store, node: NodeIndex, (from, until): (Slot, Slot), finest: Granularity) -> Result<Granularity, Fault> {
    if finest >= Granularity::Hour {
        return Ok(finest);
    }
    let since = tiers::since(store, node, (from, until));
    let mut has_hours = false;
    if from < since {
        store.cold.read_hours(
            &[node],
            (hours::hour_of(from), hours::hour_of(since)),
            |_| false,
            |_, day| has_hours |= !day.slots.is_empty(),
        )?;
    }
    Ok(if has_hours { Granularity::Hour } else { finest })
}

/// Slots before the last one that a node has proven in which its newest sample is: thinned, one in ten is stored.
const NEWEST_WITHIN: u32 = 120;

/// The newest durable sample of a node that was heard lately.
pub fn newest(store: &Store, node: NodeIndex) -> Result<Option<Point>, Fault> {
    let Some(heard) = store.intake.last_report(node).map(Timestamp::slot) else { return Ok(None) };
    Ok(tiers::points(store, node, heard.minus(NEWEST_WITHIN), heard.plus(1), Parts::ALL)?.pop())
}

/// What some nodes measured in `[from, until)` of the metrics that have thresholds, in order of time; `nodes` ascending.
pub fn readings(store: &Store, nodes: &[NodeIndex], from: Slot, until: Slot) -> Result<BTreeMap<NodeIndex, Vec<(Slot, Reading)>>, Fault> {
    let found = tiers::points_of(store, nodes, from, until, WITH_THRESHOLDS)?;
    let readings = |points: Vec<Point>| points.into_iter().map(|point| (point.slot, Reading::of(&point.sample))).collect();
    Ok(found.into_iter().map(|(node, points)| (node, readings(points))).collect())
}

fn add_samples(
    store: &Store,
    fold: &mut Fold<impl FnMut(Bucket)>,
    node: NodeIndex,
    (mut start, until): (Slot, Slot),
    parts: Parts,
) -> Result<(), Fault> {
    while start < until {
        let end = start.plus(SLOTS_AT_ONCE).min(until);
        for (_, pieces) in tiers::pieces_of(store, &[node], (start, end), |column| parts.has(column))? {
            pieces.iter().for_each(|piece| fold.add(piece));
        }
        start = end;
    }
    Ok(())
}

/// Hours that are rolled up come whole, as one summary each; those not rolled yet and those that got more since come from samples.
fn add_hours(
    store: &Store,
    fold: &mut Fold<impl FnMut(Bucket)>,
    node: NodeIndex,
    (from, until): (Slot, Slot),
    parts: Parts,
) -> Result<(), Fault> {
    if from >= until {
        return Ok(());
    }
    let waiting = store.intake.pending(node, from, until, |_| false).slots;
    let read = &store.hot.read()?;
    let (first, last) = (hours::hour_of(from), hours::hour_of(until.minus(1)));
    let rolled = hours::rolled(read)?.hours_before.clamp(first, last + 1);
    let mut behind: BTreeSet<u32> = hours::stale_of(read, node, first, last)?;
    behind.extend(waiting.into_iter().map(hours::hour_of));
    let mut days = Vec::new();
    store.cold.read_hours(&[node], (first, rolled), |column| parts.has(column), |_, day| days.push(day))?;
    let mut next = first;
    for hour in behind.range(first..rolled) {
        days.iter().for_each(|day| fold.add_hours(day, (next, *hour)));
        add_samples(store, fold, node, (from.max(hours::first_slot(*hour)), until.min(hours::first_slot(hour + 1))), parts)?;
        next = hour + 1;
    }
    days.iter().for_each(|day| fold.add_hours(day, (next, rolled)));
    add_samples(store, fold, node, (from.max(hours::first_slot(rolled)), until), parts)
}

/// Hours of `[from, until)` of some nodes, which ascend, as they are rolled up: of each node in order of time.
pub fn hours(store: &Store, nodes: &[NodeIndex], range: (u32, u32), mut visit: impl FnMut(NodeIndex, u32, Summary)) -> Result<(), Fault> {
    let all = |node, day: Series| hour_columns::summaries(&day).for_each(|(hour, summary)| visit(node, hour, summary));
    store.cold.read_hours(nodes, range, |_| true, all)
}

/// What nodes are outwardly: by who was heard, what was wanted, and what counts.
pub struct Statuses<'a> {
    store: &'a Store,
    now: Now,
    /// The manager has listened long enough to take silence for an answer.
    silence_known: bool,
    /// Nodes whose silence was noticed and is not over: a restart of the manager does not make them heard.
    silent: Bitmap,
}

impl<'a> Statuses<'a> {
    pub fn new(store: &'a Store, core: &impl Read, now: Now) -> Result<Statuses<'a>, Fault> {
        Ok(Statuses { store, now, silence_known: store.intake.silence_known(now), silent: node_events::silent(core)? })
    }

    /// What is known of the node itself, by what its workload does when that is known. A stopped one that is not heard has stopped, whoever was
    /// listening.
    pub fn observed(&self, node: &Node, last_heartbeat: Option<Timestamp>) -> Observed {
        self.observed_with(node, last_heartbeat, self.store.intake.workload(node.index).as_deref())
    }

    pub fn observed_with(&self, node: &Node, last_heartbeat: Option<Timestamp>, workload: Option<&Workload>) -> Observed {
        let is_known = self.silence_known || self.silent.get(node.index) || node.wanted == Wanted::Stopped;
        match (observe(last_heartbeat, self.now.wall, is_known), workload) {
            (Observed::Active, Some(known)) => observed_at_work(&known.report, node.wanted, self.is_told(node, &known.report)),
            (observed, _) => observed,
        }
    }

    /// The node has taken over the newest order.
    fn is_told(&self, node: &Node, report: &WorkloadReport) -> bool {
        self.store.directory.revision(node.index).is_none_or(|revision| report.follows(self.store.generation, revision))
    }

    /// With the eligibility that is in force from the next slot: what a client just set shows at once.
    pub fn of(&self, node: &Node, observed: Observed) -> Status {
        Status::derive(observed, node.wanted, self.eligible(node))
    }

    pub fn eligible(&self, node: &Node) -> Eligible {
        node.eligible_in(self.now.wall.slot().plus(1))
    }
}

/// Where one node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of the newest epoch with leaves.
    pub leaf: Option<Leaf>,
    /// Slots of the window that the next score will see so far, slots that are still open included.
    pub proven_slots: u32,
    pub observed_slots: u32,
}

impl Standing {
    /// The score, unless it is pending.
    pub fn known_score(&self) -> Option<Score> {
        self.leaf.map(|leaf| leaf.score).filter(|score| score.state != ScoreState::Pending)
    }
}

/// Where some nodes stand; read once for all of them.
#[derive(Debug)]
pub struct Standings {
    /// The newest epoch with leaves.
    pub epoch: Option<Epoch>,
    /// When the scores were calculated.
    pub scored_at: Option<Timestamp>,
    /// Of the last epoch; those in force when there was none.
    pub params: Params,
    /// By node.
    leaves: Vec<Leaf>,
    /// Evidence after the last epoch.
    since: Vec<SlotRow>,
}

impl Standings {
    pub fn load(store: &Store, nodes: &[NodeIndex], params: Params, now: Now) -> Result<Standings, Fault> {
        let core = store.read()?;
        let head = epochs::last(&core)?;
        let params = head.as_ref().map_or(params, |head| head.params);
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        let (mut scored_at, mut found) = (None, Vec::new());
        let epoch = head.as_ref().and_then(|head| head.leaves_at);
        if let Some(epoch) = epoch {
            scored_at = epochs::by_epoch(&core, epoch)?.map(|head| head.closed_at);
            found = leaves::of_nodes(&store.hot.read()?, epoch, &nodes)?;
        }
        let present = now.wall.slot();
        let oldest = present.minus(u32::from(params.max_age_slots));
        let from = head.as_ref().map_or(oldest, |head| head.next_slot().max(oldest));
        let since = evidence(store, from, present.plus(1))?.into_values().collect();
        Ok(Standings { epoch, scored_at, params, leaves: found, since })
    }

    pub fn of(&self, node: NodeIndex) -> Standing {
        let leaf = self.leaves.binary_search_by_key(&node, |leaf| leaf.node).ok().and_then(|at| self.leaves.get(at)).copied();
        let before = leaf.map_or((0, 0), |leaf| (u32::from(leaf.inputs.window.proven), u32::from(leaf.inputs.window.observed)));
        let (mut proven, mut observed) = before;
        for row in &self.since {
            proven += u32::from(row.proven.get(node));
            observed += u32::from(row.observed.get(node));
        }
        let window = u32::from(self.params.window_slots);
        Standing { leaf, proven_slots: proven.min(window), observed_slots: observed.min(window) }
    }
}
