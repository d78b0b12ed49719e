//! Hours rolled up: one row per hour and group of neighbouring nodes, written once when the hour is over and again when samples of it come late. A month
//! of one node is then some hundreds of rows instead of eighty thousand.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::Point;
use super::block::{Block, Entry, NODES_PER_BLOCK, group};
use super::sample::Quantised;
use crate::domain::ids::NodeIndex;
use crate::domain::metrics::Sample;
use crate::domain::series::{Extremes, SLOTS_PER_HOUR, Summary};
use crate::domain::time::Slot;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx, decode, encode};

/// (hour since 1970, group of neighbouring nodes) -> their summaries.
pub(super) const HOURS: Table<(u32, u32), Block> = Table::new("hours");
/// Hours that got samples after they were rolled up.
pub(super) const STALE: Table<(u32, u32), Stale> = Table::new("stale_hours");
/// One row: how far hours and days are rolled up.
pub(super) const ROLLED: Table<String, Rolled> = Table::new("rolled");

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale;

/// The summary of one node's hour. Interfaces are left out: charts show totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourEntry {
    pub(super) count: u16,
    pub(super) sample: Quantised,
    /// Lowest and highest, per mille.
    pub(super) cpu: Option<(u16, u16)>,
    /// Lowest and highest, KiB.
    pub(super) memory: Option<(u64, u64)>,
}

record! { Rolled = 2 from earlier, Stale = 1, HourEntry = 1 }

const ROW: &str = "row";
const KIB: u64 = 1024;

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

/// A sample of `slot` is written: the hour has to be rolled again if it was already.
pub(super) fn touched(tx: &mut WriteTx<'_>, rolled: &Rolled, slot: Slot, group: u32) -> Result<(), TxError> {
    let key = (hour_of(slot), group);
    if key.0 < rolled.hours_before && tx.get(STALE, &key)?.is_none() {
        tx.put(STALE, &key, &Stale)?;
    }
    Ok(())
}

/// At most `limit` of the hours that have to be rolled again.
pub fn stale(read: &impl Read, limit: usize) -> Result<Vec<(u32, u32)>, Fault> {
    Ok(read.scan(STALE, .., limit)?.into_iter().map(|(key, _)| key).collect())
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
    block: Block,
}

/// What the samples of one group's nodes in an hour come to; None where they have none. Samples ascend by slot.
pub fn roll(hour: u32, group: u32, samples: Vec<(NodeIndex, Vec<Point>)>) -> Result<Option<HourRow>, Fault> {
    let mut encoded = Vec::with_capacity(samples.len());
    for (node, points) in samples {
        let parts: Vec<Summary> = points.into_iter().map(|point| Summary::of(point.sample, point.late)).collect();
        if let Some(summary) = Summary::merge(&parts) {
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

/// Writes roll-ups; doing it again writes the same.
pub fn put(tx: &mut WriteTx<'_>, rows: &[HourRow]) -> Result<(), TxError> {
    for row in rows {
        let key = (row.hour, row.group);
        tx.put(HOURS, &key, &row.block)?;
        if tx.get(STALE, &key)?.is_some() {
            tx.delete(STALE, &key)?;
        }
    }
    Ok(())
}

/// Its samples are gone, so the roll-up stays as it is.
pub fn leave_stale(tx: &mut WriteTx<'_>, key: (u32, u32)) -> Result<(), TxError> {
    tx.delete(STALE, &key).map(drop)
}

/// The summary of one node's hour.
pub fn of_node(read: &impl Read, hour: u32, node: NodeIndex) -> Result<Option<Summary>, Fault> {
    let found = read.get(HOURS, &(hour, group(node)))?;
    Ok(found.and_then(|block| block.find(node).and_then(summary)))
}

/// Summaries of some nodes of one hour; `nodes` ascending. Each group is read once.
pub fn of_nodes(read: &impl Read, hour: u32, nodes: &[NodeIndex]) -> Result<Vec<(NodeIndex, Summary)>, Fault> {
    let mut found = Vec::new();
    for wanted in nodes.chunk_by(|a, b| group(*a) == group(*b)) {
        if let Some(block) = read.get(HOURS, &(hour, group(wanted[0])))? {
            let of_group = block.entries().filter(|entry| wanted.binary_search(&entry.node).is_ok());
            found.extend(of_group.filter_map(|entry| Some((entry.node, summary(entry)?))));
        }
    }
    Ok(found)
}

fn summary(entry: Entry<'_>) -> Option<Summary> {
    decode::<HourEntry>(entry.sample).ok().map(|hour| hour.summary(entry.late))
}

impl HourEntry {
    pub(super) fn of(summary: Summary) -> HourEntry {
        let Summary { count, mut sample, extremes, .. } = summary;
        sample.network.interfaces.clear();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1000 first")]
        let per_mille = |percent: f64| (percent * 10.0).round().clamp(0.0, 1_000.0) as u16;
        HourEntry {
            count: u16::try_from(count).unwrap_or(u16::MAX),
            sample: Quantised::from(&sample),
            cpu: extremes.cpu_usage_percent.map(|(low, high)| (per_mille(low), per_mille(high))),
            memory: extremes.memory_used_bytes.map(|(low, high)| (low / KIB, high / KIB)),
        }
    }

    pub(super) fn summary(self, late: bool) -> Summary {
        let percent = |v: u16| f64::from(v) / 10.0;
        Summary {
            count: u32::from(self.count),
            late,
            sample: Sample::from(self.sample),
            extremes: Extremes {
                cpu_usage_percent: self.cpu.map(|(low, high)| (percent(low), percent(high))),
                memory_used_bytes: self.memory.map(|(low, high)| (low.saturating_mul(KIB), high.saturating_mul(KIB))),
            },
        }
    }
}

/// Forgets hours before `hour`, at most `limit` rows; returns how many.
pub fn prune(tx: &mut WriteTx<'_>, hour: u32, limit: usize) -> Result<usize, TxError> {
    tx.delete_before(HOURS, &(hour, 0), limit)
}

/// Decodes every record; the number of them.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    let (mut records, mut bad) = (read.count(STALE)? + read.count(ROLLED)?, None);
    rolled(read)?;
    read.for_each(HOURS, .., |(hour, _), block| {
        records += 1;
        if block.entries().all(|entry| summary(entry).is_some()) {
            return ControlFlow::Continue(());
        }
        bad = Some(hour);
        ControlFlow::Break(())
    })?;
    match bad {
        None => Ok(records),
        Some(hour) => Err(Fault::Record { table: HOURS.name, key: hour.to_string(), why: "an hour does not decode".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metrics::{Cpu, Interface};
    use crate::storage::Store;
    use crate::storage::hot::{Batch, EncodedSample, PendingSample, flush, store_late};
    use crate::storage::testing::store;

    const HOUR: u32 = 500_000;

    fn sample(usage: f64) -> EncodedSample {
        let mut sample = Sample { cpu: Cpu { usage_percent: Some(usage), ..Cpu::default() }, ..Sample::default() };
        sample.network.interfaces.push(Interface { name: "eth0".into(), ..Interface::default() });
        EncodedSample::new(&sample)
    }

    fn put_samples(store: &Store, at: u32, samples: &[(u32, f64)]) {
        let of_slot = samples.iter().map(|(n, usage)| (NodeIndex(*n), PendingSample { late: false, encoded: sample(*usage) })).collect();
        let batch = Batch { samples: BTreeMap::from([(first_slot(HOUR).plus(at), of_slot)]), ..Batch::default() };
        store.hot.write_now(move |tx| flush(tx, &batch)).unwrap();
    }

    fn roll_all(store: &Store) {
        let read = store.hot.read().unwrap();
        let rows: Vec<HourRow> = groups(&read, HOUR).unwrap().into_iter().map(|group| roll(&read, HOUR, group).unwrap()).collect();
        store
            .hot
            .write_now(move |tx| {
                put(tx, &rows)?;
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
        let of = |read: &crate::storage::table::Snapshot, n: u32| of_node(read, HOUR, NodeIndex(n)).unwrap();
        let one = of(&read, 1).unwrap();
        assert_eq!((one.count, one.late, one.sample.cpu.usage_percent), (2, false, Some(20.0)), "the next hour is another");
        assert_eq!((one.extremes.cpu_usage_percent, one.sample.network.interfaces.len()), (Some((10.0, 30.0)), 0));
        assert_eq!(of(&read, 2), None);
        assert_eq!(of_nodes(&read, HOUR, &[1, 2, 200].map(NodeIndex)).unwrap().len(), 2);
        assert_eq!(stale(&read, 9).unwrap(), []);

        let late = vec![(first_slot(HOUR).plus(60), sample(80.0))];
        store.hot.write_now(move |tx| store_late(tx, NodeIndex(1), &late)).unwrap();
        let read = store.hot.read().unwrap();
        assert_eq!(stale(&read, 9).unwrap(), [(HOUR, 0)]);
        let lags = |node| stale_of(&read, NodeIndex(node), HOUR - 1, HOUR + 1).unwrap();
        assert_eq!((lags(95), lags(200)), ([HOUR].into(), BTreeSet::new()));
        roll_all(&store);
        let read = store.hot.read().unwrap();
        let one = of(&read, 1).unwrap();
        assert_eq!((one.count, one.late, one.sample.cpu.usage_percent), (3, true, Some(40.0)));
        assert_eq!(stale(&read, 9).unwrap(), []);
        assert_eq!(verify(&read).unwrap(), 3);
        assert_eq!((first_with_samples(&read, HOUR).unwrap(), first_with_samples(&read, HOUR + 2).unwrap()), (Some(HOUR), None));
    }
}

#[cfg(test)]
mod cost {
    use super::*;
    use crate::clock::Stopwatch;
    use crate::domain::metrics::{Cpu, Disk, Interface, Memory, Network};
    use crate::domain::series::Granularity;
    use crate::storage::hot::{Batch, EncodedSample, PendingSample, flush};
    use crate::storage::{present, testing::store};

    const FIRST: u32 = 500_000;
    const HOURS_OF_90_DAYS: u32 = 90 * 24;

    fn sample(n: u32) -> Sample {
        let n = u64::from(n);
        let interface =
            |name: &str| Interface { name: name.into(), bytes_in: n * 91_234_567, bytes_out: n * 7_654_321, ..Interface::default() };
        Sample {
            cpu: Cpu {
                usage_percent: Some(33.3),
                cores: Some(4),
                frequency_mhz: Some(1_800.0),
                load_average: Some([0.51, 0.62, 0.73]),
                temperature_celsius: Some(51.2),
            },
            memory: Memory {
                total_bytes: Some(8 << 30),
                used_bytes: Some((3 << 30) + (n << 12)),
                free_bytes: Some(2 << 30),
                cached_bytes: Some(3 << 30),
                swap_total_bytes: Some(1 << 30),
                swap_used_bytes: Some(0),
            },
            disk: Disk {
                total_bytes: Some(64 << 30),
                used_bytes: Some(21 << 30),
                free_bytes: Some(40 << 30),
                read_iops: Some(12),
                write_iops: Some(34),
                read_throughput_mbps: Some(1.2),
                write_throughput_mbps: Some(3.4),
            },
            network: Network {
                interfaces: vec![interface("eth0"), interface("wlan0")],
                total_bytes_in: Some(n * 98_765_432),
                total_bytes_out: Some(n * 12_345_678),
                packets_in: Some(n * 98_765),
                packets_out: Some(n * 54_321),
                errors_in: Some(0),
                errors_out: Some(0),
            },
            gpu: None,
        }
    }

    /// What 90 days of 96 nodes cost. `cargo test --release cost -- --ignored --nocapture` prints it.
    #[test]
    #[ignore = "a measurement"]
    fn ninety_days_of_a_group() {
        let (dir, store) = store();
        let size = |what: &str| {
            let bytes: u64 = walk(dir.path()).iter().map(|path| std::fs::metadata(path).map_or(0, |m| m.len())).sum();
            let written = std::fs::read_to_string("/proc/self/io").unwrap();
            let written = written.lines().find_map(|line| line.strip_prefix("write_bytes: ")).map(str::to_owned).unwrap_or_default();
            println!("{what}: files {bytes}, written {written}");
        };
        let nodes: Vec<NodeIndex> = (0..96).map(NodeIndex).collect();
        for slot in 0..120u32 {
            let of_slot =
                nodes.iter().map(|n| (*n, PendingSample { late: false, encoded: EncodedSample::new(&sample(slot + n.0)) })).collect();
            let batch = Batch { samples: BTreeMap::from([(first_slot(FIRST).plus(slot), of_slot)]), ..Batch::default() };
            store.hot.write_now(move |tx| flush(tx, &batch)).unwrap();
        }
        size("an hour of samples");
        let begin = Stopwatch::start();
        let row = roll(&store.hot.read().unwrap(), FIRST, 0).unwrap();
        println!("rolling an hour: {:?}, {} bytes a row", begin.elapsed(), encode(&row.block).unwrap().len());
        for day in 0..90u32 {
            for hour in 0..24 {
                let row = HourRow { hour: FIRST + day * 24 + hour, ..row.clone() };
                let hours_before = row.hour + 1;
                store
                    .hot
                    .write_now(move |tx| {
                        put(tx, std::slice::from_ref(&row))?;
                        put_rolled(tx, &Rolled { hours_before, ..Rolled::default() })
                    })
                    .unwrap();
            }
            if day == 59 || day == 89 {
                size(&format!("after day {}", day + 1));
            }
        }
        for (days, granularity) in [(30, Granularity::Hour), (90, Granularity::ThreeHours), (90, Granularity::SixHours)] {
            let end = first_slot(FIRST + HOURS_OF_90_DAYS);
            let begin = Stopwatch::start();
            let buckets = present::series(&store, NodeIndex(50), end.minus(days * 2_880), end, granularity).unwrap();
            println!("{days} days at {}: {} points in {:?}", granularity.as_str(), buckets.len(), begin.elapsed());
        }
        let steps = crate::domain::overlay::Steps::ending(first_slot(FIRST + HOURS_OF_90_DAYS).minus(1), 30 * 2_880, 360);
        let begin = Stopwatch::start();
        let lines = crate::storage::overlay::lines(&store, &nodes, crate::domain::overlay::Metric::Cpu, steps).unwrap();
        println!("30 days of {} members: {} points in {:?}", lines.len(), lines[0].len(), begin.elapsed());
    }

    fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
}
