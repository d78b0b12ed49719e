//! `hot.redb`: what one flush makes durable together (blocks of samples, evidence, acknowledgements), and the leaves
//! of epochs.

mod block;
pub mod day_reports;
pub mod days;
mod fold;
pub(in crate::storage) mod hour_columns;
pub mod hours;
pub mod kept_outputs;
pub mod leaves;
pub mod log;
pub mod outputs;
mod sample;
pub mod strained;
pub mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, TxError};
use super::table::{Read, Table, WriteTx, decode, encode};
use crate::domain::chunk::{Row, Series, Sheet};
use crate::domain::evidence::{DayReports, Reopening, SlotRow, is_closed, is_secret};
use crate::domain::ids::{Incarnation, NodeIndex};
use crate::domain::metrics::Sample;
use crate::domain::space::is_kept_of_thinned;
use crate::domain::time::{BootMs, Slot, Timestamp};
use crate::domain::wear::{Tally, Written};
use crate::record;
use crate::storage::core::tables::REPLICA_MARKS;
use crate::storage::migrate;
use crate::storage::tails::{Tails, sheet};

pub(in crate::storage) use block::{Block, Entry, group};
pub(in crate::storage) use fold::{Fold, hourly_values, is_for, values};
pub use sample::Parts;
pub(in crate::storage) use sample::{Quantised, ends_before_network, renamed};

/// One row.
pub(in crate::storage) const META: Table<String, Meta> = Table::new("meta");
/// (slot, group of neighbouring nodes) -> their samples: of an earlier release, until they are sealed.
pub(in crate::storage) const BLOCKS: Table<(u32, u32), Block> = Table::new("blocks");
/// Slot -> who proved it, who was observed, who attested it.
pub(in crate::storage) const EVIDENCE: Table<u32, SlotRow> = Table::new("evidence");
/// Group of neighbouring nodes -> what each node may forget.
pub(in crate::storage) const ACKS: Table<u32, AckGroup> = Table::new("acks");
/// Arrival number -> reports accepted before the clock was trusted.
pub(in crate::storage) const UNTIMED: Table<u64, Untimed> = Table::new("untimed");

pub(super) const TABLES: &[&str] = &[
    META.name,
    BLOCKS.name,
    log::LOG.name,
    log::SEALED.name,
    log::SWEEP.name,
    EVIDENCE.name,
    ACKS.name,
    UNTIMED.name,
    leaves::LEAVES.name,
    hours::HOURS.name,
    hours::STALE.name,
    days::DAYS.name,
    days::SCORE_HOURS.name,
    days::TOTALS.name,
    hours::ROLLED.name,
    strained::STRAINED.name,
    day_reports::DAY_REPORTS.name,
    outputs::CHALLENGED.name,
    outputs::PROOFS.name,
    outputs::PROOF_MONTHS.name,
    kept_outputs::KEPT.name,
    kept_outputs::KEPT_SUM.name,
    written::DAYS.name,
    REPLICA_MARKS.name,
];

/// What `storage::replica` has to know of the tables: their names, and which bytes are theirs.
pub(in crate::storage) mod replicated {
    pub(in crate::storage) use super::day_reports::DAY_REPORTS;
    pub(in crate::storage) use super::days::{DAYS, SCORE_HOURS, TOTALS};
    pub(in crate::storage) use super::hours::{HOURS, ROLLED, STALE};
    pub(in crate::storage) use super::kept_outputs::{KEPT, KEPT_SUM};
    pub(in crate::storage) use super::leaves::LEAVES;
    pub(in crate::storage) use super::log::{LOG, SEALED, SWEEP};
    pub(in crate::storage) use super::outputs::{CHALLENGED, PROOF_MONTHS, PROOFS};
    pub(in crate::storage) use super::strained::STRAINED;
    pub(in crate::storage) use super::written::DAYS as WEAR;
    pub(in crate::storage) use super::{ACKS, BLOCKS, EVIDENCE, META, UNTIMED};
    pub(in crate::storage) use crate::storage::core::tables::REPLICA_MARKS as MARKS;
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    pub store_id: String,
    pub generation: u32,
    /// Trusted wall time of the last flush: the clock must not fall behind it.
    pub flushed_at: Timestamp,
    /// What the last trusted flush knew of the clock: trust is earned once per boot, not once per process.
    pub trust: Option<Anchor>,
    /// Bytes written to the card: in this row, because each flush writes it anyway.
    pub written: Tally,
}

/// Up to which seq of which incarnation a node's reports are durable, and their running hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub incarnation: Incarnation,
    pub seq: u64,
    /// Of the last day in which the node reported.
    pub reports: DayReports,
}

/// Ordered by node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AckGroup(pub(in crate::storage) Vec<(u32, Ack)>);

/// Reports of one boot of the manager whose wall time is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untimed {
    pub boot_id: String,
    pub items: Vec<UntimedItem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntimedItem {
    pub node: NodeIndex,
    /// When it was accepted (proving) or measured (attesting), by the manager's boot clock.
    pub at: BootMs,
    /// Accepted live: proves the slot it turns out to be in.
    pub proves: bool,
    /// The slot whose beacon came with it, and when it came: proves that slot if it was still open then.
    pub witness: Option<(Slot, BootMs)>,
    pub sample: EncodedSample,
}

record! { Meta = 2 from migrate::hot_meta, SlotRow = 1, AckGroup = 2 from migrate::ack_group, Untimed = 1 }

/// A sample in its stored form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedSample(Vec<u8>);

impl EncodedSample {
    pub fn new(sample: &Sample) -> EncodedSample {
        // Postcard has no failure for these types; an empty sample is the honest fallback.
        EncodedSample(encode(&Quantised::from(sample)).unwrap_or_default())
    }

    pub fn decode(&self) -> Option<Sample> {
        decode_sample(&self.0)
    }

    pub(in crate::storage) fn quantised(&self) -> Option<Quantised> {
        decode(&self.0).ok()
    }

    /// The same without network and GPU.
    pub(in crate::storage) fn quantised_before_network(&self) -> Option<Quantised> {
        Quantised::before_network(&self.0).or_else(|| self.quantised())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decode_sample(bytes: &[u8]) -> Option<Sample> {
    decode::<Quantised>(bytes).ok().map(Sample::from)
}

/// A sample with its slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub slot: Slot,
    /// Came after its slot had closed.
    pub late: bool,
    pub sample: Sample,
}

/// A sample out of the numbers of its columns.
pub(in crate::storage) fn point(slot: Slot, late: bool, row: &Row, names: &[String]) -> Point {
    Point { slot, late, sample: Sample::from(Quantised::from_row(row, names)) }
}

/// Samples in slot order as columns.
pub fn series(points: &[Point]) -> Series {
    let mut series = Series::default();
    for (at, point) in points.iter().enumerate() {
        let row = Quantised::from(&point.sample).row(|name| series.columns.name(name));
        series.columns.push(at, &row);
        series.slots.push(point.slot);
        series.late.push(point.late);
    }
    series.columns.finish(points.len());
    series
}

/// Samples of one flush, by slot.
pub type Samples = BTreeMap<Slot, BTreeMap<NodeIndex, PendingSample>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSample {
    pub late: bool,
    pub encoded: EncodedSample,
}

/// Everything one flush makes durable, in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub samples: Samples,
    pub evidence: Vec<(Slot, SlotRow)>,
    pub acks: Vec<(NodeIndex, Ack)>,
    /// Of days that ended for their nodes since the last flush.
    pub day_reports: Vec<(NodeIndex, DayReports)>,
    /// Accepted without trust since the last flush.
    pub untimed: Option<Untimed>,
    /// Untimed reports of this boot are to get their slots, with what the start of this process reopened.
    pub places_untimed: bool,
    /// Nodes that were out of service, and when: from each slot to before the other. What they sent untimed proves nothing of that time.
    pub resting: Vec<(NodeIndex, Vec<(Slot, Slot)>)>,
    pub reopening: Option<Reopening>,
    /// Present while the clock is trusted.
    pub trust: Option<Anchor>,
    pub flushed_at: Option<Timestamp>,
    /// To the card, since the last flush that could be dated.
    pub written: Written,
    /// Of each node one sample in ten is kept; evidence is complete all the same.
    pub is_thinned: bool,
}

/// What turns boot time of one boot into wall time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub boot_id: String,
    pub wall_minus_boot_ms: i64,
}

impl Anchor {
    fn wall(&self, at: BootMs) -> Timestamp {
        Timestamp(at.0.saturating_add(self.wall_minus_boot_ms))
    }

    /// The slot of a report that was accepted before the clock was trusted, and whether it proves it.
    fn place(&self, item: &UntimedItem, reopening: Option<Reopening>) -> (Slot, bool) {
        match item.witness {
            Some((slot, received)) => {
                let received = self.wall(received);
                (slot, slot <= received.slot() && !is_closed(slot, reopening, received) && is_secret(slot, received))
            }
            None => (self.wall(item.at).slot(), item.proves),
        }
    }
}

const ROW: &str = "row";

pub fn initialise(tx: &mut WriteTx<'_>, meta: &Meta) -> Result<(), TxError> {
    for name in TABLES {
        tx.create(name)?;
    }
    tx.put(META, &ROW.to_owned(), meta)
}

pub fn meta(read: &impl Read) -> Result<Meta, Fault> {
    read.get(META, &ROW.to_owned())?.ok_or_else(|| Fault::Invariant("hot.redb has no description of itself".into()))
}

/// After a restore: files of two lives of a store do not go together.
pub(in crate::storage) fn set_generation(tx: &mut WriteTx<'_>, generation: u32) -> Result<(), TxError> {
    let before = meta(tx)?;
    tx.put(META, &ROW.to_owned(), &Meta { generation, ..before })
}

/// An admin vouches for a clock: the high-water mark of time becomes `at`, lower or not, and trust is carried from `trust`.
pub fn accept_clock(tx: &mut WriteTx<'_>, at: Timestamp, trust: Option<Anchor>) -> Result<(), TxError> {
    let row = Meta { flushed_at: at, trust, ..meta(tx)? };
    tx.put(META, &ROW.to_owned(), &row)
}

/// Writes a batch; the first sample of a (node, slot) wins, also over those that are sealed: a bit of its evidence says that there is one. Gives back the samples that the batch
/// brought to a slot, those that had waited for the clock among them: without those of slots that their nodes had proven before. They are in `tails` after the commit.
pub fn flush(tx: &mut WriteTx<'_>, batch: &Batch, tails: &Arc<Tails>) -> Result<Samples, TxError> {
    let mut samples = batch.samples.clone();
    let mut rows: BTreeMap<Slot, SlotRow> = batch.evidence.iter().cloned().collect();
    if let Some(untimed) = &batch.untimed {
        let next = tx.last(UNTIMED)?.map_or(1, |(n, _)| n + 1);
        tx.put(UNTIMED, &next, untimed)?;
    }
    if let Some(anchor) = batch.trust.as_ref().filter(|_| batch.places_untimed) {
        place_untimed(tx, anchor, batch, &mut samples, &mut rows)?;
    }
    let mut before = BTreeMap::new();
    for (slot, row) in rows {
        before.insert(slot, merge_row(tx, slot, &row)?);
    }
    let rolled = hours::rolled(tx)?;
    let mut new: Vec<(NodeIndex, Slot, &PendingSample)> = Vec::new();
    for (slot, of_slot) in &samples {
        let known = match before.get(slot) {
            Some(known) => known.clone(),
            None => tx.get(EVIDENCE, &slot.0)?.unwrap_or_default(),
        };
        new.extend(of_slot.iter().filter(|(node, _)| !known.heard(**node)).map(|(node, pending)| (*node, *slot, pending)));
    }
    new.retain(|(node, slot, _)| !batch.is_thinned || is_kept_of_thinned(node.0, slot.0));
    new.sort_unstable_by_key(|(node, slot, _)| (*node, *slot));
    let hours: BTreeSet<(u32, u32)> = new.iter().map(|(node, slot, _)| (hours::hour_of(*slot), group(*node))).collect();
    hours.into_iter().try_for_each(|key| hours::touched(tx, &rolled, key))?;
    let sheet = sheet(new.into_iter().map(|(node, slot, pending)| (node, slot, pending.late, &pending.encoded)));
    log::append(tx, &sheet, tails, batch.flushed_at.map(Timestamp::slot))?;
    put_acks(tx, &batch.acks)?;
    day_reports::put(tx, &batch.day_reports)?;
    if let Some(at) = batch.flushed_at {
        let before = meta(tx)?;
        let written = written::book(tx, &before.written, &batch.written, at)?;
        let row = Meta { flushed_at: at, trust: batch.trust.clone(), written, ..before };
        tx.put(META, &ROW.to_owned(), &row)?;
    }
    for (slot, known) in before {
        if let Some(of_slot) = samples.get_mut(&slot) {
            of_slot.retain(|node, _| !known.proven.get(*node));
        }
    }
    Ok(samples)
}

/// Gives the untimed reports of this boot their slots. Those of other boots can never be placed and go; their agents still hold them, because what is
/// not placed is not acknowledged.
fn place_untimed(
    tx: &mut WriteTx<'_>,
    anchor: &Anchor,
    batch: &Batch,
    samples: &mut Samples,
    rows: &mut BTreeMap<Slot, SlotRow>,
) -> Result<(), TxError> {
    let rests = |node: NodeIndex, slot: Slot| {
        let spans = batch.resting.iter().filter(|(of, _)| *of == node).flat_map(|(_, spans)| spans);
        spans.into_iter().any(|(from, until)| (*from..*until).contains(&slot))
    };
    // A clock that was set back leads into slots that were closed while it was still believed: these never change.
    let known_until = meta(tx)?.flushed_at;
    for (number, untimed) in tx.scan(UNTIMED, .., usize::MAX)? {
        if untimed.boot_id == anchor.boot_id {
            for item in untimed.items {
                let (slot, proves) = anchor.place(&item, batch.reopening);
                let proves = proves && !is_closed(slot, None, known_until);
                let row = rows.entry(slot).or_default();
                if proves && !rests(item.node, slot) {
                    row.prove(item.node);
                } else {
                    row.attest(item.node);
                }
                let pending = PendingSample { late: !proves, encoded: item.sample };
                let of_slot = samples.entry(slot).or_default();
                // The report that proves a slot says what it is worth, whatever was told of it before.
                if of_slot.get(&item.node).is_none_or(|told| told.late && proves) {
                    of_slot.insert(item.node, pending);
                }
            }
        }
        tx.delete(UNTIMED, &number)?;
    }
    Ok(())
}

/// What was known of the slot before.
fn merge_row(tx: &mut WriteTx<'_>, slot: Slot, row: &SlotRow) -> Result<SlotRow, TxError> {
    let before = tx.get(EVIDENCE, &slot.0)?.unwrap_or_default();
    let mut merged = before.clone();
    merged.merge(row);
    tx.put(EVIDENCE, &slot.0, &merged)?;
    Ok(before)
}

fn put_acks(tx: &mut WriteTx<'_>, acks: &[(NodeIndex, Ack)]) -> Result<(), TxError> {
    let mut groups: BTreeMap<u32, Vec<(u32, Ack)>> = BTreeMap::new();
    for (node, ack) in acks {
        groups.entry(group(*node)).or_default().push((node.0, *ack));
    }
    for (group, changed) in groups {
        let present = tx.get(ACKS, &group)?.unwrap_or_default();
        let mut all: BTreeMap<u32, Ack> = present.0.into_iter().collect();
        all.extend(changed);
        tx.put(ACKS, &group, &AckGroup(all.into_iter().collect()))?;
    }
    Ok(())
}

/// Counts of a late batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LateOutcome {
    pub stored: u32,
    pub duplicate: u32,
}

/// Stores late samples of one node: attested, never proven. Repeating it changes nothing. They are in `tails` after the commit.
pub fn store_late(
    tx: &mut WriteTx<'_>,
    node: NodeIndex,
    items: &[(Slot, EncodedSample)],
    tails: &Arc<Tails>,
    present: Slot,
    is_thinned: bool,
) -> Result<LateOutcome, TxError> {
    let mut outcome = LateOutcome::default();
    let rolled = hours::rolled(tx)?;
    let mut new = BTreeMap::new();
    for (slot, encoded) in items {
        let mut row = tx.get(EVIDENCE, &slot.0)?.unwrap_or_default();
        if row.proven.get(node) || !row.attest(node) {
            outcome.duplicate += 1;
            continue;
        }
        tx.put(EVIDENCE, &slot.0, &row)?;
        if !is_thinned || is_kept_of_thinned(node.0, slot.0) {
            new.insert(*slot, encoded);
        }
        outcome.stored += 1;
    }
    let hours: BTreeSet<u32> = new.keys().map(|slot| hours::hour_of(*slot)).collect();
    hours.into_iter().try_for_each(|hour| hours::touched(tx, &rolled, (hour, group(node))))?;
    log::append(tx, &sheet(new.into_iter().map(|(slot, encoded)| (node, slot, true, encoded))), tails, Some(present))?;
    Ok(outcome)
}

/// What every node may forget.
pub fn acks(read: &impl Read) -> Result<Vec<(NodeIndex, Ack)>, Fault> {
    let groups = read.scan(ACKS, .., usize::MAX)?;
    Ok(groups.into_iter().flat_map(|(_, g)| g.0).map(|(node, ack)| (NodeIndex(node), ack)).collect())
}

/// Bytes of the reports that wait for the clock to be trusted.
pub fn untimed_bytes(read: &impl Read) -> Result<usize, Fault> {
    let mut bytes = 0;
    read.for_each(UNTIMED, .., |_, untimed| {
        bytes += untimed.items.iter().map(|item| item.sample.len()).sum::<usize>();
        ControlFlow::Continue(())
    })?;
    Ok(bytes)
}

/// Evidence rows of `[from, until)` in slot order; slots without a row were not observed.
pub fn evidence(read: &impl Read, from: Slot, until: Slot) -> Result<Vec<(Slot, SlotRow)>, Fault> {
    Ok(read.scan(EVIDENCE, from.0..until.0, usize::MAX)?.into_iter().map(|(slot, row)| (Slot(slot), row)).collect())
}

/// The first slot at or after `from` that has an evidence row.
pub fn first_evidence(read: &impl Read, from: Slot) -> Result<Option<Slot>, Fault> {
    Ok(read.scan(EVIDENCE, from.0.., 1)?.first().map(|(slot, _)| Slot(*slot)))
}

/// Newest proven slot of each node, looking back no further than `since`.
pub fn last_proven(read: &impl Read, since: Slot) -> Result<BTreeMap<NodeIndex, Slot>, Fault> {
    let mut last = BTreeMap::new();
    read.for_each(EVIDENCE, since.0.., |slot, row| {
        last.extend(row.proven.iter().map(|node| (node, Slot(slot))));
        ControlFlow::Continue(())
    })?;
    Ok(last)
}

/// The first slot that has blocks of an earlier release.
pub(super) fn first_block(read: &impl Read) -> Result<Option<Slot>, Fault> {
    Ok(read.scan(BLOCKS, .., 1)?.first().map(|((slot, _), _)| Slot(*slot)))
}

/// Groups of nodes that have some of them in `[from, until)`.
pub(super) fn block_groups(read: &impl Read, from: Slot, until: Slot) -> Result<BTreeSet<u32>, Fault> {
    let mut groups = BTreeSet::new();
    read.for_each(BLOCKS, (from.0, 0)..(until.0, 0), |(_, group), _| {
        groups.insert(group);
        ControlFlow::Continue(())
    })?;
    Ok(groups)
}

/// Samples of such a block.
pub(super) fn block(read: &impl Read, slot: Slot, group: u32) -> Result<Sheet, Fault> {
    let block = read.get(BLOCKS, &(slot.0, group))?.unwrap_or_default();
    let samples: Vec<_> = block.entries().map(|entry| (entry.node, entry.late, EncodedSample(entry.sample.to_vec()))).collect();
    Ok(sheet(samples.iter().map(|(node, late, sample)| (*node, slot, *late, sample))))
}

/// As an earlier release wrote them; of node 1 late.
#[cfg(test)]
pub(super) fn put_blocks(tx: &mut WriteTx<'_>, samples: impl Iterator<Item = (NodeIndex, Slot, EncodedSample)>) -> Result<(), TxError> {
    for (node, slot, sample) in samples {
        let present = tx.get(BLOCKS, &(slot.0, group(node)))?.unwrap_or_default();
        let entry = block::Entry { node, late: node.0 == 1, sample: &sample.0 };
        tx.put(BLOCKS, &(slot.0, group(node)), &present.merged([entry]))?;
    }
    Ok(())
}

/// They are sealed up to `slot`.
pub(super) fn drop_blocks(tx: &mut WriteTx<'_>, before: Slot) -> Result<(), TxError> {
    tx.delete_before(BLOCKS, &(before.0, 0), usize::MAX).map(drop)
}

/// Rows that one pruning transaction deletes, at most.
const PRUNE_LIMIT: usize = 2_000;

/// Forgets evidence before `evidence_before`; true when there is more to do.
pub fn prune(tx: &mut WriteTx<'_>, evidence_before: Slot) -> Result<bool, TxError> {
    let evidence = tx.delete_before(EVIDENCE, &evidence_before.0, PRUNE_LIMIT)?;
    let strained = tx.delete_before(strained::STRAINED, &evidence_before.0, PRUNE_LIMIT)?;
    day_reports::prune(tx, evidence_before)?;
    Ok([evidence, strained].contains(&PRUNE_LIMIT))
}

/// Decodes every record; the number of them, for `verify`.
pub fn verify(read: &impl Read) -> Result<u64, Fault> {
    let mut records = 1 + u64::from(meta(read).is_ok());
    let unsound =
        |table: &'static str, slot: u32| Fault::Record { table, key: slot.to_string(), why: "proven is not within observed".into() };
    let mut bad = None;
    read.for_each(EVIDENCE, .., |slot, row| {
        records += 1;
        if row.is_sound() {
            return ControlFlow::Continue(());
        }
        bad = Some(slot);
        ControlFlow::Break(())
    })?;
    if let Some(slot) = bad {
        return Err(unsound(EVIDENCE.name, slot));
    }
    read.for_each(BLOCKS, .., |key, block| {
        records += 1;
        if block.entries().all(|e| decode_sample(e.sample).is_some()) {
            return ControlFlow::Continue(());
        }
        bad = Some(key.0);
        ControlFlow::Break(())
    })?;
    if let Some(slot) = bad {
        return Err(Fault::Record { table: BLOCKS.name, key: slot.to_string(), why: "a sample does not decode".into() });
    }
    for (_, group) in read.scan(ACKS, .., usize::MAX)? {
        records += group.0.len() as u64;
    }
    let strained = strained::rows(read, Slot(0), Slot(u32::MAX))?.len() as u64;
    Ok(records
        + strained
        + log::verify(read)?
        + read.count(UNTIMED)?
        + hours::verify(read)?
        + days::verify(read)?
        + outputs::verify(read)?
        + kept_outputs::verify(read)?
        + written::verify(read)?)
}

#[cfg(test)]
pub(in crate::storage) mod golden;
