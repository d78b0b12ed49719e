//! Closes epochs: evidence of 72 h in, one leaf per node and one head out.
//!
//! Leaves are written before the head. A crash in between writes the same leaves again: they follow from closed evidence
//! and from records in force at the epoch's first slot.

use std::collections::BTreeMap;

use super::silence::FLEET_ALERT;
use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::bits::{Bitmap, Columns};
use crate::domain::credits::{Epoch, EpochSlots, Epochs, Leaf, Multiplier, Payer};
use crate::domain::epoch::{self, Counts, Head};
use crate::domain::evidence::{SLOTS_PER_DAY, SlotRow};
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::money::Overflow;
use crate::domain::node::Node;
use crate::domain::pool::Pool;
use crate::domain::poot::{self, Inputs, Params};
use crate::domain::silence::FLEET;
use crate::domain::time::{Now, Slot};
use crate::live::Event;
use crate::storage::core::{alerts, epochs, nodes, pools};
use crate::storage::fault::{Fault, TxError};
use crate::storage::hot::outputs::ChallengeRow;
use crate::storage::table::{Read, WriteTx};
use crate::storage::{Lane, hot};

/// Epochs closed in one run; the rest follows in the next, which is nudged.
const PER_RUN: usize = 64;
/// Where a window does not suffice, evidence is read on in steps of this part of one.
const STEPS_PER_WINDOW: u32 = 4;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    for _ in 0..PER_RUN {
        let now = context.clock.now();
        let Some(closed) = context.store.intake.closed_through(now) else { return Ok(()) };
        if due(context, closed)?.is_none() {
            return Ok(());
        }
        // The flush may bring evidence of its own: reports that waited for the clock get their slots in it.
        super::flush::run(context).await?;
        let Some(range) = due(context, closed)? else { return Ok(()) };
        let (head, leaves) = if range.is_gap { (gap(context, range, now)?, Vec::new()) } else { close(context, range, now).await? };
        let epoch = head.epoch;
        let silence = Silence::of(&leaves);
        context
            .store
            .write(move |tx| {
                epochs::put(tx, &head)?;
                silence.record(tx, now)
            })
            .await?;
        context.events.publish(&Event::Epoch { epoch: u64::from(epoch.0) });
    }
    context.nudges.nudge(crate::live::Job::Epochs);
    Ok(())
}

/// The next range of slots to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    epoch: Epoch,
    last_slot: Slot,
    slots_per_epoch: u32,
    is_gap: bool,
}

fn due(context: &Context, closed: Slot) -> Result<Option<Range>, Fault> {
    let last = epochs::last(&context.store.read()?)?;
    let evidence = |from: Slot| -> Result<Option<Slot>, Fault> {
        let stored = hot::first_evidence(&context.store.hot.read()?, from)?;
        let open = context.store.intake.open_rows(from, Slot(u32::MAX)).first().map(|(slot, _)| *slot);
        Ok(stored.into_iter().chain(open).min())
    };
    let next = last.as_ref().map(Head::next_slot);
    let first_seen = evidence(next.unwrap_or_default())?;
    Ok(next_range(next, last.map(|head| head.slots_per_epoch), context.settings.get().epochs, first_seen, closed))
}

/// `next` is the first slot no head covers, `first_seen` the first slot at or after it with an evidence row. A new epoch length takes effect at the
/// start of a UTC day. Epochs without any row become one gap.
fn next_range(next: Option<Slot>, length: Option<u32>, configured: Epochs, first_seen: Option<Slot>, closed: Slot) -> Option<Range> {
    let start = match next {
        Some(slot) => slot,
        None => configured.of(first_seen?).first_slot(),
    };
    let at_day_start = start.0.is_multiple_of(SLOTS_PER_DAY);
    let length = length.filter(|_| !at_day_start).unwrap_or(configured.slots_per_epoch());
    let epochs = Epochs::of_seconds(length * 30)?;
    let epoch = Epoch(start.0);
    let range = Range { epoch, last_slot: epochs.last_slot(epoch), slots_per_epoch: length, is_gap: false };
    if range.last_slot > closed {
        return None;
    }
    if first_seen.is_some_and(|seen| seen <= range.last_slot) {
        return Some(range);
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

fn gap(context: &Context, range: Range, now: Now) -> Result<Head, Stopped> {
    let last = epochs::last(&context.store.read()?)?;
    head(context.settings.get().params, range, &[], last.as_ref(), now)
}

async fn close(context: &Context, range: Range, now: Now) -> Result<(Head, Vec<Leaf>), Stopped> {
    let core = context.store.read()?;
    let last = epochs::last(&core)?;
    let nodes = nodes::all(&core)?;
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
        Some(epoch) => hot::leaves::of_epoch(&hot_read, epoch)?.into_iter().map(|leaf| (leaf.node, leaf)).collect(),
        None => BTreeMap::new(),
    };
    let enrolled = nodes.iter().filter(|node| node.enrolled_from.is_some()).map(|node| node.index).collect();
    // Taken once: the head says by what its leaves were computed.
    let params = context.settings.get().params;
    let rows = evidence(&hot_read, &enrolled, range, &params)?;
    let strained = match rows.first() {
        Some((from, _)) => hot::strained::rows(&hot_read, *from, range.last_slot.plus(1))?,
        None => Vec::new(),
    };
    let challenged = match rows.first() {
        Some((from, _)) => hot::outputs::challenged(&hot_read, *from, range.last_slot.plus(1))?,
        None => Vec::new(),
    };
    let (strained, challenged) = (&strained, &challenged);
    let inputs = LeafInputs { nodes: &nodes, pools: &pools, before: &before, rows: &rows, strained, challenged, params: &params };
    let leaves = leaves(&inputs, range).map_err(|e| Fault::Invariant(e.to_string()))?;
    drop(hot_read);
    let head = head(params, range, &leaves, last.as_ref(), now)?;
    let (epoch, stored) = (range.epoch, leaves.clone());
    context.store.hot.write(Lane::Ordinary, move |tx| hot::leaves::put(tx, epoch, &stored)).await?;
    Ok((head, leaves))
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
    fn of(leaves: &[Leaf]) -> Silence {
        let observed = leaves.iter().filter(|leaf| leaf.slots.observed > 0).count();
        match leaves.iter().any(|leaf| leaf.slots.proven > 0) {
            true => Silence::No,
            false if observed >= FLEET => Silence::Whole,
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

fn head(params: Params, range: Range, leaves: &[Leaf], last: Option<&Head>, now: Now) -> Result<Head, Stopped> {
    let broken = |e: postcard::Error| Fault::Invariant(e.to_string());
    Ok(Head {
        epoch: range.epoch,
        last_slot: range.last_slot,
        slots_per_epoch: range.slots_per_epoch,
        closed_at: now.wall,
        is_gap: range.is_gap,
        params,
        counts: Counts::of(leaves),
        leaves_at: if range.is_gap { last.and_then(|head| head.leaves_at) } else { Some(range.epoch) },
        leaves_hash: epoch::leaves_hash(leaves).map_err(broken)?,
        previous: last.map_or(Ok(epoch::GENESIS), Head::hash).map_err(broken)?,
    })
}

/// Evidence as far back as any score looks: until all of `enrolled` were observed together in a whole window of slots, at most
/// `params.max_age_slots`. A fleet that was there all day needs a third of the 72 h.
fn evidence(read: &impl Read, enrolled: &Bitmap, range: Range, params: &Params) -> Result<Vec<(Slot, SlotRow)>, Fault> {
    let end = range.last_slot.plus(1);
    let horizon = end.minus(u32::from(params.max_age_slots));
    let window = usize::from(params.window_slots);
    let step = u32::from(params.window_slots).div_ceil(STEPS_PER_WINDOW);
    let mut from = end.minus(u32::from(params.window_slots)).min(range.epoch.first_slot()).max(horizon);
    let mut rows = hot::evidence(read, from, end)?;
    while from > horizon && rows.iter().filter(|(_, row)| enrolled.is_within(&row.observed)).count() < window {
        let older = from.minus(step).max(horizon);
        let newer = std::mem::replace(&mut rows, hot::evidence(read, older, from)?);
        rows.extend(newer);
        from = older;
    }
    Ok(rows)
}

struct LeafInputs<'a> {
    nodes: &'a [Node],
    pools: &'a BTreeMap<PoolIndex, Pool>,
    /// Leaves of the epoch before, for the multiplier.
    before: &'a BTreeMap<NodeIndex, Leaf>,
    /// Up to 72 h of evidence, ending with the epoch's last slot; slots without a row are missing.
    rows: &'a [(Slot, SlotRow)],
    /// Who was beyond a threshold, in the same slots; slots in which nobody was are missing.
    strained: &'a [(Slot, Bitmap)],
    /// Who was challenged for an output and who answered, in the same slots.
    challenged: &'a [(Slot, ChallengeRow)],
    params: &'a Params,
}

/// One leaf per node that has an agent, in node order.
fn leaves(inputs: &LeafInputs<'_>, range: Range) -> Result<Vec<Leaf>, Overflow> {
    let end = range.last_slot.plus(1);
    let start = inputs.rows.first().map_or(range.epoch.first_slot(), |(slot, _)| *slot).min(range.epoch.first_slot());
    let (proven, observed) = dense(inputs.rows, start, end);
    let count = inputs.nodes.iter().map(|node| node.index.position() + 1).max().unwrap_or(0);
    let columns = (Columns::of(&proven, count), Columns::of(&observed, count));
    // A fleet within its thresholds has nothing to be transposed.
    let strained = (!inputs.strained.is_empty()).then(|| Columns::of(&dense_of(inputs.strained, start, end, |row| row), count));
    let asked = challenges(inputs.challenged, start, end, count);
    let in_epoch = inputs.rows.iter().filter(|(slot, _)| *slot >= range.epoch.first_slot());
    let in_epoch: Vec<&SlotRow> = in_epoch.map(|(_, row)| row).collect();
    let mut leaves = Vec::with_capacity(inputs.nodes.len());
    for node in inputs.nodes.iter().filter(|node| node.enrolled_from.is_some()) {
        let window = poot::window(columns.0.column(node.index), columns.1.column(node.index), proven.len(), inputs.params);
        let in_slots = |bits: fn(&SlotRow) -> &Bitmap| in_epoch.iter().filter(|row| bits(row).get(node.index)).count();
        let beyond = strained.as_ref().map_or(0, |strained| {
            let (proven_of, observed_of) = (columns.0.column(node.index), columns.1.column(node.index));
            poot::strained(strained.column(node.index), proven_of, observed_of, proven.len(), inputs.params)
        });
        // Every proven slot has the sample of the report that proved it.
        let (samples, samples_within) = (window.proven, window.proven.saturating_sub(beyond));
        let slots = EpochSlots { proven: small(in_slots(|row| &row.proven)), observed: small(in_slots(|row| &row.observed)) };
        let multiplier =
            inputs.before.get(&node.index).map_or(Multiplier::default(), |leaf| leaf.multiplier.after(leaf.slots, &leaf.inputs));
        let at = range.epoch.first_slot();
        let pool = node.pool.at(at).and_then(|index| inputs.pools.get(&index));
        let payer = pool.map(|pool| Payer { pool: pool.index, pricing: *pool.pricing.at(at) });
        let outputs_expected = pool.is_some_and(|pool| *pool.outputs_expected.at(at));
        let [challenged, answered] = asked.as_ref().map_or([0, 0], |asked_of| {
            asked_of
                .each_ref()
                .map(|marked| poot::marked(marked.column(node.index), columns.1.column(node.index), proven.len(), inputs.params))
        });
        let (leaf, _) = Leaf::close(
            node.index,
            slots,
            Inputs { window, samples, samples_within, challenged, answered, outputs_expected },
            multiplier,
            payer,
            inputs.params,
        )?;
        leaves.push(leaf);
    }
    Ok(leaves)
}

/// Rows of every slot in `[start, end)`, empty where there is none.
fn dense(rows: &[(Slot, SlotRow)], start: Slot, end: Slot) -> (Vec<&Bitmap>, Vec<&Bitmap>) {
    static NOBODY: Bitmap = Bitmap::EMPTY;
    let mut rest = rows.iter().peekable();
    start
        .until(end)
        .map(|slot| match rest.next_if(|(at, _)| *at == slot) {
            Some((_, row)) => (&row.proven, &row.observed),
            None => (&NOBODY, &NOBODY),
        })
        .unzip()
}

/// Who was challenged and who answered, by node; none where nobody was.
fn challenges(rows: &[(Slot, ChallengeRow)], start: Slot, end: Slot, nodes: usize) -> Option<[Columns; 2]> {
    let columns = |bits: fn(&ChallengeRow) -> &Bitmap| Columns::of(&dense_of(rows, start, end, bits), nodes);
    (!rows.is_empty()).then(|| [columns(|row| &row.challenged), columns(|row| &row.answered)])
}

/// The same of rows that are one bitmap, or have it.
fn dense_of<T>(rows: &[(Slot, T)], start: Slot, end: Slot, bits: impl Fn(&T) -> &Bitmap) -> Vec<&Bitmap> {
    static NOBODY: Bitmap = Bitmap::EMPTY;
    let mut rest = rows.iter().peekable();
    start.until(end).map(|slot| rest.next_if(|(at, _)| *at == slot).map_or(&NOBODY, |(_, row)| bits(row))).collect()
}

/// An epoch has at most a day of slots.
fn small(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
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
            next_range(next.map(Slot), Some(10), e, seen.map(Slot), Slot(closed)).map(|r| (r.epoch.0, r.last_slot.0, r.is_gap))
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
    fn the_evidence_read_is_all_that_a_window_sees() {
        let (_dir, store) = crate::storage::testing::store();
        let params = Params { window_slots: 128, max_age_slots: 700, ..Params::default() };
        let start = Slot(1_000_000);
        let nodes: Vec<NodeIndex> = (0..5).map(NodeIndex).collect();
        // Node 4 is away for the middle third, node 3 has just come; the manager misses rows, a run of them too.
        let mut evidence_rows = Vec::new();
        for n in (0..1_000u32).filter(|n| !n.is_multiple_of(17) && !(850..900).contains(n)) {
            let mut row = SlotRow::default();
            row.observe(&nodes.iter().filter(|node| node.0 < 3 || (node.0 == 4 && n / 333 != 1)).copied().collect());
            nodes.iter().filter(|node| node.0 < 4 && (n * 7 + node.0) % 11 != 0 && (node.0 < 3 || n > 990)).for_each(|node| {
                row.prove(*node);
            });
            evidence_rows.push((start.plus(n), row));
        }
        let batch = hot::Batch { evidence: evidence_rows, ..hot::Batch::default() };
        store.hot.write_now(move |tx| hot::flush(tx, &batch)).unwrap();
        let read = store.hot.read().unwrap();
        let window = |rows: &[(Slot, SlotRow)], end: Slot, node: NodeIndex| {
            let (proven, observed) = dense(rows, rows[0].0, end);
            let columns = (Columns::of(&proven, 5), Columns::of(&observed, 5));
            poot::window(columns.0.column(node), columns.1.column(node), proven.len(), &params)
        };
        let mut depths = std::collections::BTreeSet::new();
        for last in [99, 349, 640, 899, 909, 999] {
            let end = start.plus(last + 1);
            let range = Range { epoch: Epoch(end.0 - 10), last_slot: start.plus(last), slots_per_epoch: 10, is_gap: false };
            let all = hot::evidence(&read, end.minus(700), end).unwrap();
            for everybody in [vec![0, 1, 2], vec![0, 1, 2, 4], vec![0, 1, 2, 3, 4]] {
                let enrolled: Vec<NodeIndex> = everybody.into_iter().map(NodeIndex).collect();
                let some = evidence(&read, &enrolled.iter().copied().collect(), range, &params).unwrap();
                depths.insert(some.len());
                for node in enrolled {
                    assert_eq!(window(&some, end, node), window(&all, end, node), "node {} at {last}", node.0);
                }
            }
        }
        assert!(depths.len() > 3, "rows are read as needed: {depths:?}");
    }

    #[test]
    fn a_new_length_starts_with_a_day() {
        let day = 2_880 * 347;
        let range = |next: u32| {
            next_range(Some(Slot(next)), Some(10), Epochs::of_seconds(600).unwrap(), Some(Slot(next)), Slot(u32::MAX - 1)).unwrap()
        };
        assert_eq!((range(day - 10).slots_per_epoch, range(day).slots_per_epoch), (10, 20));
    }
}
