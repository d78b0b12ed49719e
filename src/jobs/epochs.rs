//! Closes epochs: evidence of 72 h in, one leaf per node and one head out.
//!
//! Leaves are written before the head. A crash in between writes the same leaves again: they follow from closed evidence
//! and from records in force at the epoch's first slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::silence::FLEET_ALERT;
use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::audit::Draft;
use crate::domain::credits::{Epoch, Epochs, Leaf, Multiplier, Payer, Seen};
use crate::domain::epoch::{self, Counts, Head, Span};
use crate::domain::evidence::{DayReports, SLOTS_PER_DAY, day_of};
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::money::Overflow;
use crate::domain::pool::Pool;
use crate::domain::poot::Params;
use crate::domain::proof::leaf::CommittedLeaf;
use crate::domain::proof::{Hash, merkle};
use crate::domain::refusal::Refusal;
use crate::domain::silence::FLEET;
use crate::domain::time::{Now, Slot};
use crate::live::Event;
use crate::storage::core::{alerts, audit, chain, epochs, pools};
use crate::storage::evidence::Evidence;
use crate::storage::fault::{Fault, TxError, WriteError};
use crate::storage::proofs::{self, Tree};
use crate::storage::table::WriteTx;
use crate::storage::{Lane, NodeEntry, hot};

/// Epochs closed in one run; the rest follows in the next, which is nudged.
const PER_RUN: usize = 64;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let _turn = context.closing.lock().await;
    if !all_over(context).await? {
        context.nudges.nudge(crate::live::Job::Epochs);
    }
    Ok(())
}

/// Closes the running epoch at the newest closed slot, recorded by `draft` in the transaction of its head. The next epoch begins right behind, and ends where
/// this one would have: boundaries stay where they are. Epochs that are over are closed first.
pub async fn close_now(context: &Context, draft: Draft) -> Result<Head, WriteError> {
    let unknown = |Stopped(why)| WriteError::Unknown(why);
    let _turn = context.closing.lock().await;
    if !context.clock.now().trusted {
        return Err(WriteError::Refused(Refusal::ClockUntrusted));
    }
    if !all_over(context).await.map_err(unknown)? {
        context.nudges.nudge(crate::live::Job::Epochs);
        return Err(WriteError::Refused(Refusal::EpochsBehind));
    }
    super::flush::run(context).await.map_err(unknown)?;
    let now = context.clock.now();
    let closed = context.store.intake.closed_through(now);
    let range = closed.map(|closed| due(context, closed, End::Now)).transpose()?.flatten();
    let Some(range) = range.filter(|range| !range.is_gap) else { return Err(WriteError::Refused(Refusal::EpochTooYoung)) };
    finish(context, range, now, Some(draft)).await.map_err(unknown)
}

/// Closes epochs that are over; false when there are more of them than one run closes.
async fn all_over(context: &Context) -> Result<bool, Stopped> {
    for _ in 0..PER_RUN {
        let now = context.clock.now();
        let Some(closed) = context.store.intake.closed_through(now) else { return Ok(true) };
        if due(context, closed, End::Regular)?.is_none() {
            return Ok(true);
        }
        // The flush may bring evidence of its own: reports that waited for the clock get their slots in it.
        super::flush::run(context).await?;
        let Some(range) = due(context, closed, End::Regular)? else { return Ok(true) };
        finish(context, range, now, None).await?;
    }
    Ok(false)
}

/// One range: leaves, then the head.
async fn finish(context: &Context, range: Range, now: Now, draft: Option<Draft>) -> Result<Head, Stopped> {
    let closed = if range.is_gap { gap(context, range, now)? } else { close(context, range, now).await? };
    let (head, silence) = (closed.head, Silence::of(&closed.leaves, range));
    let about = format!("epoch {}, through slot {}", head.epoch.0, head.last_slot.0);
    let store = Arc::clone(&context.store);
    let head = context
        .store
        .write(move |tx| {
            if let Some(draft) = &draft {
                audit::append(tx, draft.clone().because(about.as_str()))?;
            }
            silence.record(tx, now)?;
            chain::append(tx, &head, &store.signing_key)
        })
        .await?;
    context.store.recent.keep_head(head.signed());
    if let Some(tree) = closed.tree {
        context.store.recent.keep_tree(tree);
    }
    context.events.publish(&Event::Epoch { epoch: u64::from(head.epoch.0) });
    context.nudges.nudge(crate::live::Job::Votes);
    Ok(head)
}

/// When the running epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the next boundary.
    Regular,
    /// At the newest closed slot, if that comes before the boundary.
    Now,
}

/// The next range of slots to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    epoch: Epoch,
    last_slot: Slot,
    slots_per_epoch: u32,
    is_gap: bool,
}

fn due(context: &Context, closed: Slot, end: End) -> Result<Option<Range>, Fault> {
    let last = epochs::last(&context.store.read()?)?;
    let evidence = |from: Slot| -> Result<Option<Slot>, Fault> {
        let stored = hot::first_evidence(&context.store.hot.read()?, from)?;
        let open = context.store.intake.open_rows(from, Slot(u32::MAX)).first().map(|(slot, _)| *slot);
        Ok(stored.into_iter().chain(open).min())
    };
    let next = last.as_ref().map(Head::next_slot);
    let first_seen = evidence(next.unwrap_or_default())?;
    Ok(next_range(next, last.map(|head| head.slots_per_epoch), context.settings.get().epochs, first_seen, closed, end))
}

/// `next` is the first slot no head covers, `first_seen` the first slot at or after it with an evidence row. A new epoch length takes effect at the
/// start of a UTC day. Epochs without any row become one gap.
fn next_range(
    next: Option<Slot>,
    length: Option<u32>,
    configured: Epochs,
    first_seen: Option<Slot>,
    closed: Slot,
    end: End,
) -> Option<Range> {
    let start = match next {
        Some(slot) => slot,
        None => configured.of(first_seen?).first_slot(),
    };
    let at_day_start = start.0.is_multiple_of(SLOTS_PER_DAY);
    let length = length.filter(|_| !at_day_start).unwrap_or(configured.slots_per_epoch());
    let epochs = Epochs::of_seconds(length * 30)?;
    let epoch = Epoch(start.0);
    let boundary = epochs.last_slot(epoch);
    let last_slot = match end {
        End::Regular => boundary,
        End::Now => boundary.min(closed),
    };
    let range = Range { epoch, last_slot, slots_per_epoch: length, is_gap: false };
    if last_slot > closed || last_slot < start {
        return None;
    }
    if first_seen.is_some_and(|seen| seen <= range.last_slot) {
        return Some(range);
    }
    if last_slot < boundary {
        // Nothing was seen in it so far: that is a gap once the epoch is over.
        return None;
    }
    // Nothing was seen in it: extend to just before the first epoch with evidence, or to the last whole closed epoch, but not beyond the day
    // when the length may change.
    let day_end = Slot((start.0 / SLOTS_PER_DAY + 1) * SLOTS_PER_DAY - 1);
    let before_seen = first_seen.map(|seen| epochs.of(seen).first_slot().minus(1));
    let whole = epochs.of(closed.plus(1)).first_slot().minus(1);
    let mut last_slot = before_seen.unwrap_or(whole).min(whole);
    if length != configured.slots_per_epoch() {
        last_slot = last_slot.min(day_end);
    }
    Some(Range { last_slot: last_slot.max(range.last_slot), is_gap: true, ..range })
}

/// What is to be committed of an epoch.
struct Closed {
    /// Without its seal.
    head: Head,
    leaves: Vec<Leaf>,
    tree: Option<Tree>,
}

fn gap(context: &Context, range: Range, now: Now) -> Result<Closed, Stopped> {
    let last = epochs::last(&context.store.read()?)?;
    let head = head(context.settings.get().params, range, &[], merkle::root(&[]), last.as_ref(), now);
    Ok(Closed { head, leaves: Vec::new(), tree: None })
}

async fn close(context: &Context, range: Range, now: Now) -> Result<Closed, Stopped> {
    let core = context.store.read()?;
    let last = epochs::last(&core)?;
    // What epochs need of nodes, in memory: it follows their records after each commit, and none changes what was in force in a slot that is closed.
    let nodes = context.store.directory.select(|node| node.enrolled_from.is_some());
    // A pool that was deleted since pays for the slots in which it was there.
    let mut pools = BTreeMap::new();
    for index in nodes.iter().filter_map(|node| *node.pool.at(range.epoch.first_slot())) {
        if !pools.contains_key(&index)
            && let Some(pool) = pools::ever(&core, index)?
        {
            pools.insert(index, pool);
        }
    }
    let hot_read = context.store.hot.read()?;
    let before = match last.as_ref().and_then(|head| head.leaves_at) {
        Some(epoch) => hot::leaves::of_epoch(&hot_read, epoch)?,
        None => Vec::new(),
    };
    let enrolled = nodes.iter().map(|node| node.index).collect();
    // Taken once: the head says by what its leaves were computed.
    let params = context.settings.get().params;
    let span = Span { epoch: range.epoch, last_slot: range.last_slot };
    let count = nodes.last().map_or(0, |node| node.index.position() + 1);
    // Not there if this one fails: the next attempt reads all of it.
    let evidence = Evidence::of_epoch(context.store.recent.take_evidence(), &hot_read, &enrolled, span, &params, count)?;
    let days = (before_day(last.as_ref()), day_of(range.epoch.first_slot()));
    let reports = hot::day_reports::last_before(&hot_read, days.0, days.1)?;
    let inputs = LeafInputs { nodes: &nodes, pools: &pools, before: &before, evidence: &evidence, reports: &reports, params: &params };
    let leaves = leaves(&inputs, range).map_err(|e| Fault::Invariant(e.to_string()))?;
    drop(hot_read);
    let windows = proofs::windows(&evidence, &leaves);
    context.store.recent.keep_evidence(evidence);
    let blinds = context.store.blinds.of(range.epoch);
    let committed = nodes.iter().zip(&leaves).zip(windows).map(|((node, leaf), window)| {
        let pool = leaf.payer.and_then(|payer| pools.get(&payer.pool)).map(|pool| &pool.id);
        CommittedLeaf::new(leaf, span, &node.id, pool, window, blinds.of(&node.id)).hash()
    });
    let tree =
        Tree { epoch: range.epoch, hashes: merkle::Tree::over(committed.collect()), nodes: leaves.iter().map(|leaf| leaf.node).collect() };
    let head = head(params, range, &leaves, tree.hashes.root(), last.as_ref(), now);
    let (epoch, stored) = (range.epoch, leaves.clone());
    context.store.hot.write(Lane::Ordinary, move |tx| hot::leaves::put(tx, epoch, &stored)).await?;
    Ok(Closed { head, leaves, tree: Some(tree) })
}

/// The day of the newest epoch with leaves: what was accepted in days before it is committed already.
fn before_day(last: Option<&Head>) -> u32 {
    last.and_then(|head| head.leaves_at).map_or(0, |epoch| day_of(epoch.first_slot()))
}

/// Whether a whole fleet went silent in an epoch. It is more likely the network than every node at once, but the manager's own link was good, so the
/// silence counts; a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Unknown,
    Whole,
    No,
}

impl Silence {
    fn of(leaves: &[Leaf], range: Range) -> Silence {
        // One that was closed early is too short to tell.
        let whole = range.epoch.first_slot().plus(range.slots_per_epoch - 1) <= range.last_slot;
        let observed = leaves.iter().filter(|leaf| leaf.slots.observed > 0).count();
        match leaves.iter().any(|leaf| leaf.slots.proven > 0) {
            true => Silence::No,
            false if whole && observed >= FLEET => Silence::Whole,
            false => Silence::Unknown,
        }
    }

    fn record(self, tx: &mut WriteTx<'_>, now: Now) -> Result<(), TxError> {
        let message = "no node of the fleet was heard for a whole epoch, although the manager's own link was up";
        match self {
            Silence::Whole => alerts::raise(tx, FLEET_ALERT, "", Severity::Critical, message, now.wall).map(drop),
            Silence::No => alerts::resolve(tx, FLEET_ALERT, "", now.wall).map(drop),
            Silence::Unknown => Ok(()),
        }
    }
}

/// Without its seal and its predecessor.
fn head(params: Params, range: Range, leaves: &[Leaf], root: Hash, last: Option<&Head>, now: Now) -> Head {
    Head {
        epoch: range.epoch,
        last_slot: range.last_slot,
        slots_per_epoch: range.slots_per_epoch,
        closed_at: now.wall,
        is_gap: range.is_gap,
        params,
        counts: Counts::of(leaves),
        leaves_at: if range.is_gap { last.and_then(|head| head.leaves_at) } else { Some(range.epoch) },
        root,
        previous: epoch::GENESIS,
        seal: None,
    }
}

struct LeafInputs<'a> {
    /// Those that have an agent, in their order.
    nodes: &'a [Arc<NodeEntry>],
    pools: &'a BTreeMap<PoolIndex, Pool>,
    /// Leaves of the epoch before, for the multiplier; in node order.
    before: &'a [Leaf],
    evidence: &'a Evidence,
    /// What was accepted in days that are over and in no leaf yet.
    reports: &'a BTreeMap<NodeIndex, DayReports>,
    params: &'a Params,
}

/// One leaf for each node, in node order.
fn leaves(inputs: &LeafInputs<'_>, range: Range) -> Result<Vec<Leaf>, Overflow> {
    let slots = range.last_slot.0 + 1 - range.epoch.0;
    let mut before = inputs.before.iter().peekable();
    let mut leaves = Vec::with_capacity(inputs.nodes.len());
    for node in inputs.nodes {
        let bits = inputs.evidence.bits(node.index);
        while before.next_if(|leaf| leaf.node < node.index).is_some() {}
        let before = before.next_if(|leaf| leaf.node == node.index);
        let multiplier = before.map_or(Multiplier::default(), |leaf| leaf.multiplier.after(leaf.slots, &leaf.inputs));
        let at = range.epoch.first_slot();
        let pool = node.pool.at(at).and_then(|index| inputs.pools.get(&index));
        let payer = pool.map(|pool| Payer { pool: pool.index, pricing: *pool.pricing.at(at) });
        let outputs_expected = pool.is_some_and(|pool| *pool.outputs_expected.at(at));
        let seen = Seen::of(&bits, slots, outputs_expected, inputs.params);
        let (leaf, _) = Leaf::close(node.index, seen.slots, seen.inputs, multiplier, payer, inputs.params)?;
        leaves.push(Leaf { window_slots: seen.window_slots, reports: inputs.reports.get(&node.index).copied(), ..leaf });
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five_minutes() -> Epochs {
        Epochs::of_seconds(300).unwrap()
    }

    #[test]
    fn epochs_follow_each_other_and_downtime_is_one_gap() {
        let e = five_minutes();
        let range = |next: Option<u32>, seen: Option<u32>, closed: u32| {
            next_range(next.map(Slot), Some(10), e, seen.map(Slot), Slot(closed), End::Regular)
                .map(|r| (r.epoch.0, r.last_slot.0, r.is_gap))
        };
        assert_eq!(range(None, None, 1_000_000), None, "nothing was ever seen");
        assert_eq!(range(None, Some(1_000_007), 1_000_009), Some((1_000_000, 1_000_009, false)));
        assert_eq!(range(None, Some(1_000_007), 1_000_008), None, "not closed yet");
        assert_eq!(range(Some(1_000_010), Some(1_000_012), 1_000_050), Some((1_000_010, 1_000_019, false)));
        assert_eq!(range(Some(1_000_010), Some(1_000_500), 1_000_600), Some((1_000_010, 1_000_499, true)), "weeks are one record");
        assert_eq!(range(Some(1_000_010), None, 1_000_045), Some((1_000_010, 1_000_039, true)));
        assert_eq!(range(Some(1_000_010), None, 1_000_018), None);
    }

    #[test]
    fn an_epoch_that_is_closed_early_leaves_the_boundaries_where_they_are() {
        let range = |next: u32, seen: u32, closed: u32, end: End| {
            next_range(Some(Slot(next)), Some(10), five_minutes(), Some(Slot(seen)), Slot(closed), end)
                .map(|r| (r.epoch.0, r.last_slot.0, r.slots_per_epoch, r.is_gap))
        };
        assert_eq!(range(1_000_010, 1_000_010, 1_000_013, End::Now), Some((1_000_010, 1_000_013, 10, false)));
        assert_eq!(range(1_000_014, 1_000_014, 1_000_013, End::Now), None, "the slot after is not closed yet");
        assert_eq!(range(1_000_014, 1_000_014, 1_000_018, End::Regular), None);
        assert_eq!(range(1_000_014, 1_000_014, 1_000_019, End::Regular), Some((1_000_014, 1_000_019, 10, false)), "the rest of it");
        assert_eq!(range(1_000_010, 1_000_012, 1_000_040, End::Now), Some((1_000_010, 1_000_019, 10, false)), "never beyond its end");
        assert_eq!(range(1_000_014, 1_000_017, 1_000_016, End::Now), None, "nobody was heard in it yet");
        assert_eq!(
            range(1_000_014, 1_000_045, 1_000_060, End::Regular),
            Some((1_000_014, 1_000_039, 10, true)),
            "a gap ends at a boundary"
        );
    }

    #[test]
    fn a_new_length_starts_with_a_day() {
        let day = 2_880 * 347;
        let range = |next: u32| {
            next_range(Some(Slot(next)), Some(10), Epochs::of_seconds(600).unwrap(), Some(Slot(next)), Slot(u32::MAX - 1), End::Regular)
                .unwrap()
        };
        assert_eq!((range(day - 10).slots_per_epoch, range(day).slots_per_epoch), (10, 20));
    }
}
