//! Hours rolled up: one row per hour and group of neighbouring nodes, written once when the hour is over and again when samples of it come late. A month
//! of one node is then some hundreds of rows instead of eighty thousand. The rows are in the file of their month (`storage::cold`); how far it is done, and what is to be done
//! again, is here.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::block::{Block, Entry, NODES_PER_BLOCK, group};
use super::fold::Fold;
use super::hour_columns;
use super::sample::{Parts, Quantised};
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::domain::metrics::Sample;
use crate::domain::series::{Bucket, Gauge, Granularity, SLOTS_PER_HOUR, Summary};
use crate::domain::time::Slot;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::replica::marks;
use crate::storage::table::{Read, Table, WriteTx, decode, encode};

/// (hour since 1970, group of neighbouring nodes) -> their summaries: of an earlier release, until they are in the files of their months.
pub(in crate::storage) const HOURS: Table<(u32, u32), Block> = Table::new("hours");
/// Hours that got samples after they were rolled up.
pub(in crate::storage) const STALE: Table<(u32, u32), Stale> = Table::new("stale_hours");
/// One row: how far hours and days are rolled up.
pub(in crate::storage) const ROLLED: Table<String, Rolled> = Table::new("rolled");

/// Every hour before `hours_before`, and every day before `days_before`, is rolled up or had nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rolled {
    pub hours_before: u32,
    pub days_before: u32,
    /// The same of hours of epochs.
    pub score_hours_before: u32,
    /// Days before it were rolled up by an earlier release, without states, pools and credits.
    pub whole_days_from: u32,
}

/// Version 1 knew no hours of epochs.
fn earlier(version: u8, bytes: &[u8]) -> Option<Rolled> {
    let (hours_before, days_before) = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
    Some(Rolled { hours_before, days_before, score_hours_before: 0, whole_days_from: days_before })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stale {
    /// Counts what came late, so that what comes while the hour is rolled up again is not forgotten.
    touches: u32,
}

/// Version 1 did not count.
fn stale_v1(version: u8, _: &[u8]) -> Option<Stale> {
    (version == 1).then(Stale::default)
}

/// The summary of one node's hour. Interfaces are left out: charts show totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourEntry {
    pub(in crate::storage) count: u16,
    pub(super) sample: Quantised,
    /// Place of a gauge (`hour_columns::BOUNDED`), how far its lowest is below the mean and its highest above it, in its own steps.
    pub(super) bounds: Vec<(u8, i64, i64)>,
}

/// Version 1 had the lowest and the highest of two: per mille of the processor, KiB of memory.
fn hour_v1(version: u8, bytes: &[u8]) -> Option<HourEntry> {
    type Bounds<N> = Option<(N, N)>;
    let read = || postcard::from_bytes::<(u16, Quantised, Bounds<u16>, Bounds<u64>)>(bytes).ok();
    let (count, sample, cpu, memory) = (version == 1).then(read).flatten()?;
    let of = [
        cpu.map(|(low, high)| (Gauge::CpuUsagePercent, (i64::from(low), i64::from(high)))),
        memory.map(|(low, high)| (Gauge::MemoryUsedBytes, (low.cast_signed(), high.cast_signed()))),
    ];
    let bounds = hour_columns::kept(&sample, of.into_iter().flatten());
    Some(HourEntry { count, sample, bounds })
}

record! { Rolled = 2 from earlier, Stale = 2 from stale_v1, HourEntry = 2 from hour_v1 }

const ROW: &str = "row";

pub fn hour_of(slot: Slot) -> u32 {
    slot.0 / SLOTS_PER_HOUR
}

pub fn first_slot(hour: u32) -> Slot {
    Slot(hour.saturating_mul(SLOTS_PER_HOUR))
}

pub fn rolled(read: &impl Read) -> Result<Rolled, Fault> {
    Ok(read.get(ROLLED, &ROW.to_owned())?.unwrap_or_default())
}

pub fn put_rolled(tx: &mut WriteTx<'_>, rolled: &Rolled) -> Result<(), TxError> {
    tx.put(ROLLED, &ROW.to_owned(), rolled)
}

/// Samples of an hour and group are written: it has to be rolled again if it was already.
pub(super) fn touched(tx: &mut WriteTx<'_>, rolled: &Rolled, key: (u32, u32)) -> Result<(), TxError> {
    if key.0 < rolled.hours_before {
        let touches = tx.get(STALE, &key)?.map_or(0, |stale| stale.touches.wrapping_add(1));
        tx.put(STALE, &key, &Stale { touches })?;
    }
    Ok(())
}

/// At most `limit` of the hours that have to be rolled again.
pub fn stale(read: &impl Read, limit: usize) -> Result<Vec<((u32, u32), Stale)>, Fault> {
    read.scan(STALE, .., limit)
}

/// Hours of `from..=until` whose roll-up of a node lags behind its samples.
pub fn stale_of(read: &impl Read, node: NodeIndex, from: u32, until: u32) -> Result<BTreeSet<u32>, Fault> {
    let mut hours = BTreeSet::new();
    read.for_each(STALE, (from, 0)..=(until, u32::MAX), |(hour, of_group), _| {
        if of_group == group(node) {
            hours.insert(hour);
        }
        ControlFlow::Continue(())
    })?;
    Ok(hours)
}

/// A row of roll-ups, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourRow {
    pub hour: u32,
    pub group: u32,
    pub(in crate::storage) block: Block,
}

/// What the samples of one group's nodes in an hour come to; None where they have none. Pieces are in order of time.
pub fn roll(hour: u32, group: u32, samples: Vec<(NodeIndex, Vec<Series>)>) -> Result<Option<HourRow>, Fault> {
    let mut encoded = Vec::with_capacity(samples.len());
    for (node, pieces) in samples {
        let mut whole = Vec::new();
        let mut fold = Fold::new(Granularity::Hour, Parts::ALL, |bucket| whole.push(bucket));
        pieces.iter().for_each(|piece| fold.add(piece));
        fold.finish();
        for Bucket { summary, .. } in whole {
            encoded.push((node, summary.late, encode(&HourEntry::of(summary))?));
        }
    }
    let entries = encoded.iter().map(|(node, late, bytes)| Entry { node: *node, late: *late, sample: bytes });
    let none = Block::default();
    let block = none.merged(entries);
    Ok((!encoded.is_empty()).then_some(HourRow { hour, group, block }))
}

pub fn group_of(node: NodeIndex) -> u32 {
    group(node)
}

/// Nodes of a group, in it or not yet.
pub fn nodes_of(group: u32) -> Vec<NodeIndex> {
    (0..NODES_PER_BLOCK).map(|at| NodeIndex(group.saturating_mul(NODES_PER_BLOCK).saturating_add(at))).collect()
}

/// The hour is rolled up as it was when `stale` was read, or its samples are gone: it is not stale any more, unless something came since.
pub fn is_rolled(tx: &mut WriteTx<'_>, key: (u32, u32), stale: Stale) -> Result<(), TxError> {
    if tx.get(STALE, &key)? == Some(stale) {
        tx.delete(STALE, &key)?;
    }
    // Who has a copy of the hour gets it once more.
    marks::is_late(tx, key)
}

/// Roll-ups that an earlier release kept here, at most `limit`.
pub(in crate::storage) fn kept_here(read: &impl Read, limit: usize) -> Result<Vec<HourRow>, Fault> {
    Ok(read.scan(HOURS, .., limit)?.into_iter().map(|((hour, group), block)| HourRow { hour, group, block }).collect())
}

/// They are in the files of their months.
pub(in crate::storage) fn leave_here(tx: &mut WriteTx<'_>, rows: &[HourRow]) -> Result<(), TxError> {
    rows.iter().try_for_each(|row| tx.delete(HOURS, &(row.hour, row.group)).map(drop))
}

/// As an earlier release wrote it.
#[cfg(test)]
pub(in crate::storage) fn keep_here(tx: &mut WriteTx<'_>, row: &HourRow) -> Result<(), TxError> {
    tx.put(HOURS, &(row.hour, row.group), &row.block)
}

/// A summary as blocks have it.
pub(in crate::storage) fn stored(summary: Summary) -> Result<Vec<u8>, Fault> {
    encode(&HourEntry::of(summary))
}

/// None where it is damaged.
pub(in crate::storage) fn entry_of(entry: Entry<'_>) -> Option<HourEntry> {
    decode(entry.sample).ok()
}

impl HourEntry {
    pub(super) fn of(summary: Summary) -> HourEntry {
        let Summary { count, mut sample, extremes, .. } = summary;
        sample.network.interfaces.clear();
        let sample = Quantised::from(&sample);
        let bounds = hour_columns::kept(&sample, hour_columns::in_steps(&extremes));
        HourEntry { count: u16::try_from(count).unwrap_or(u16::MAX), sample, bounds }
    }

    pub(super) fn summary(self, late: bool) -> Summary {
        let extremes = hour_columns::extremes(&self.sample, &self.bounds);
        Summary { count: u32::from(self.count), late, sample: Sample::from(self.sample), extremes }
    }
}

/// Decodes every record; the number of them.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    rolled(read)?;
    Ok(read.scan(STALE, .., usize::MAX)?.len() as u64 + read.count(ROLLED)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::domain::metrics::{Cpu, Interface};
    use crate::storage::Store;
    use crate::storage::hot::{Batch, EncodedSample, PendingSample, flush, store_late};
    use crate::storage::testing::store;
    use crate::storage::tiers;

    const HOUR: u32 = 500_000;

    fn sample(usage: f64) -> EncodedSample {
        let mut sample = Sample { cpu: Cpu { usage_percent: Some(usage), ..Cpu::default() }, ..Sample::default() };
        sample.network.interfaces.push(Interface { name: "eth0".into(), ..Interface::default() });
        EncodedSample::new(&sample)
    }

    fn put_samples(store: &Store, at: u32, samples: &[(u32, f64)]) {
        let of_slot = samples.iter().map(|(n, usage)| (NodeIndex(*n), PendingSample { late: false, encoded: sample(*usage) })).collect();
        let batch = Batch { samples: BTreeMap::from([(first_slot(HOUR).plus(at), of_slot)]), ..Batch::default() };
        let tails = Arc::clone(&store.tails);
        store.hot.write_now(move |tx| flush(tx, &batch, &tails)).unwrap();
    }

    fn roll_all(store: &Store) {
        let rows: Vec<HourRow> = (0..4).filter_map(|group| tiers::roll(store, HOUR, group).unwrap()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.cold.put_hours(rows)).unwrap();
        let stale = stale(&store.hot.read().unwrap(), 9).unwrap();
        store
            .hot
            .write_now(move |tx| {
                stale.iter().try_for_each(|(key, stale)| is_rolled(tx, *key, *stale))?;
                put_rolled(tx, &Rolled { hours_before: HOUR + 1, ..Rolled::default() })
            })
            .unwrap();
    }

    #[test]
    fn an_hour_is_its_samples_and_late_ones_make_it_stale() {
        let (_dir, store) = store();
        put_samples(&store, 0, &[(1, 10.0), (200, 50.0)]);
        put_samples(&store, 119, &[(1, 30.0)]);
        put_samples(&store, 120, &[(1, 99.0)]);
        roll_all(&store);
        let read = store.hot.read().unwrap();
        let all = |nodes: &[u32]| {
            let nodes: Vec<NodeIndex> = nodes.iter().copied().map(NodeIndex).collect();
            let mut found = Vec::new();
            crate::storage::present::hours(&store, &nodes, (HOUR, HOUR + 1), |_, _, summary| found.push(summary)).unwrap();
            found
        };
        let of = |n: u32| all(&[n]).pop();
        let one = of(1).unwrap();
        assert_eq!((one.count, one.late, one.sample.cpu.usage_percent), (2, false, Some(20.0)), "the next hour is another");
        assert_eq!((one.extremes.get(Gauge::CpuUsagePercent), one.sample.network.interfaces.len()), (Some((10.0, 30.0)), 0));
        assert_eq!(of(2), None);
        assert_eq!(all(&[1, 2, 200]).len(), 2);
        assert_eq!(stale(&read, 9).unwrap(), []);

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.begin_marks()).unwrap();
        let late = vec![(first_slot(HOUR).plus(60), sample(80.0))];
        let tails = Arc::clone(&store.tails);
        store.hot.write_now(move |tx| store_late(tx, NodeIndex(1), &late, &tails, first_slot(HOUR + 2), false)).unwrap();
        let read = store.hot.read().unwrap();
        let before = stale(&read, 9).unwrap();
        assert_eq!(before, [((HOUR, 0), Stale { touches: 0 })]);
        let lags = |node| stale_of(&read, NodeIndex(node), HOUR - 1, HOUR + 1).unwrap();
        assert_eq!((lags(95), lags(200)), ([HOUR].into(), BTreeSet::new()));
        assert_eq!(store.late_hours(9).unwrap(), []);
        roll_all(&store);
        let again = store.late_hours(9).unwrap();
        assert_eq!(again.iter().map(|late| (late.hour, late.group)).collect::<Vec<_>>(), [(HOUR, 0)], "a copy of the hour is of before");
        runtime.block_on(store.arrived(crate::storage::compaction::Which::Hot, vec![again[0].mark.clone()])).unwrap();
        assert_eq!(store.late_hours(9).unwrap(), []);
        let read = store.hot.read().unwrap();
        let one = of(1).unwrap();
        assert_eq!((one.count, one.late, one.sample.cpu.usage_percent), (3, true, Some(40.0)));
        assert_eq!(stale(&read, 9).unwrap(), []);
        assert_eq!((verify(&read).unwrap(), store.cold.verify().unwrap()), (1, Ok(2)));

        // What comes while the hour is rolled up again makes it stale once more.
        let more = |at, usage| {
            let (late, tails) = (vec![(first_slot(HOUR).plus(at), sample(usage))], Arc::clone(&store.tails));
            store.hot.write_now(move |tx| store_late(tx, NodeIndex(1), &late, &tails, first_slot(HOUR + 2), false)).unwrap();
        };
        more(61, 80.0);
        let seen = stale(&store.hot.read().unwrap(), 9).unwrap();
        more(62, 80.0);
        store.hot.write_now(move |tx| is_rolled(tx, seen[0].0, seen[0].1)).unwrap();
        assert_eq!(stale(&store.hot.read().unwrap(), 9).unwrap(), [((HOUR, 0), Stale { touches: 1 })]);
    }

    #[test]
    fn an_hour_of_an_earlier_release_has_its_two_bounds() {
        let lines = include_str!("../../../data/golden/HourEntry.v1.hex").lines();
        let read: Vec<HourEntry> = lines.map(|line| decode(&crate::crypto::unhex(line).unwrap()).unwrap()).collect();
        let expected = [Summary::of(Sample::default(), false), crate::storage::hot::golden::hour()];
        assert_eq!(read, expected.map(HourEntry::of));
        let extremes = read[1].clone().summary(false).extremes;
        assert_eq!(extremes.get(Gauge::CpuUsagePercent), Some((0.5, 99.9)));
        assert_eq!(extremes.get(Gauge::MemoryUsedBytes), Some((536_870_912.0, 2_147_483_648.0)));
    }

    #[test]
    fn hours_of_an_earlier_release_move_to_their_months() {
        let (dir, store) = store();
        put_samples(&store, 0, &[(1, 10.0), (200, 50.0)]);
        let row = tiers::roll(&store, HOUR, 0).unwrap().unwrap();
        for hour in [HOUR - 24 * 40, HOUR] {
            let row = HourRow { hour, ..row.clone() };
            store.hot.write_now(move |tx| keep_here(tx, &row)).unwrap();
        }
        drop(store);
        let options = crate::storage::testing::options(dir.path());
        let store = Store::open(&options, crate::crypto::Entropy::new(), crate::storage::testing::NOW).unwrap();
        for hour in [HOUR - 24 * 40, HOUR] {
            let mut found = Vec::new();
            crate::storage::present::hours(&store, &[NodeIndex(1)], (hour, hour + 1), |_, _, summary| found.push(summary)).unwrap();
            assert_eq!((found.len(), found[0].count, found[0].sample.cpu.usage_percent), (1, 1, Some(10.0)));
        }
        assert_eq!((kept_here(&store.hot.read().unwrap(), 9).unwrap(), store.cold.verify().unwrap()), (Vec::new(), Ok(2)));
    }
}
