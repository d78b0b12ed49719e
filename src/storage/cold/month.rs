//! One month of hours, rolled up. An hour that is over is a row for each group of neighbouring nodes, at the end of the file. When its day is over, the hours of each node become one chunk
//! (`hot::hour_columns`) and the rows go: a chart of a node reads a page for a day, and not one for each hour. What comes late is a row again, until it is put into its chunk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::week::ChunkRow;
use crate::domain::calendar::{HOURS_PER_DAY, Month};
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::storage::DbFile;
use crate::storage::bytes::Bytes;
use crate::storage::cold::origin::{self, Identity};
use crate::storage::device::Device;
use crate::storage::fault::{Fault, OpenError, TxError};
use crate::storage::hot::hour_columns::{self, Hours};
use crate::storage::hot::hours::{self, HourRow};
use crate::storage::hot::{Block, Entry, group};
use crate::storage::table::{Key, Read, Snapshot, Table, WriteTx};

/// (hour since 1970, group of neighbouring nodes) -> their summaries.
const HOURS: Table<(u32, u32), Block> = Table::new("hours");
/// (day since 1970, node) -> its hours. Days ascend, so the file grows at its end.
const DAYS: Table<(u32, u32), ChunkRow> = Table::new("days");
/// Groups whose rows of a day become chunks in one transaction: a megabyte or so.
const GROUPS_AT_ONCE: usize = 8;

pub fn open(at: (&Arc<dyn Device>, &Path), cache_bytes: usize, store: (&str, Identity), month: Month) -> Result<DbFile, OpenError> {
    origin::open(at, cache_bytes, store, &month.file(), &[HOURS.name, DAYS.name])
}

/// Writes roll-ups; doing it again writes the same. A node's hour never loses samples: where its week has gone and something came late, what is here is of more of them.
pub fn put(tx: &mut WriteTx<'_>, rows: &[HourRow]) -> Result<(), TxError> {
    origin::touch(tx)?;
    rows.iter().try_for_each(|row| {
        let block = match tx.get(HOURS, &(row.hour, row.group))? {
            Some(before) => fuller(&before, &row.block),
            None => row.block.clone(),
        };
        tx.put(HOURS, &(row.hour, row.group), &block)
    })
}

/// Of each node the summary of more samples; of as many the newer one.
fn fuller(before: &Block, new: &Block) -> Block {
    fn count(entry: Entry<'_>) -> u16 {
        hours::entry_of(entry).map_or(0, |hour| hour.count)
    }
    let stays = |entry: &Entry<'_>| new.find(entry.node).is_none_or(|newer| count(*entry) > count(newer));
    let none = Block::default();
    none.merged(before.entries().filter(stays).chain(new.entries()))
}

/// No day before `day` has rows.
pub fn is_settled(read: &impl Read, day: u32) -> Result<bool, Fault> {
    Ok(next_in_rows(read, 0, day.saturating_mul(HOURS_PER_DAY))?.is_none())
}

/// Makes chunks of the rows of the oldest day before `before` that has some. A large fleet takes several calls.
pub fn settle(tx: &mut WriteTx<'_>, before: u32) -> Result<(), TxError> {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    tx.for_each_stored(HOURS, ..(before.saturating_mul(HOURS_PER_DAY), 0), |key: (u32, u32), _, _| {
        let of_day = rows.first().is_none_or(|first| first.0 / HOURS_PER_DAY == key.0 / HOURS_PER_DAY);
        if of_day {
            rows.push(key);
        }
        Ok(if of_day { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let Some(day) = rows.first().map(|first| first.0 / HOURS_PER_DAY) else { return Ok(()) };
    origin::touch(tx)?;
    let groups: BTreeSet<u32> = rows.iter().map(|key| key.1).collect();
    for group in groups.into_iter().take(GROUPS_AT_ONCE) {
        let of_group: Vec<(u32, u32)> = rows.iter().filter(|key| key.1 == group).copied().collect();
        let mut nodes: BTreeMap<NodeIndex, Hours> = BTreeMap::new();
        for key in &of_group {
            gather(tx, *key, &mut nodes, |_| true)?;
            tx.delete(HOURS, key)?;
        }
        for (node, newer) in nodes {
            let known = tx.get(DAYS, &(day, node.0))?.and_then(|row| chunk(&row, (day, node.0), |_| true));
            let all = hour_columns::fuller(known.map(|known| hour_columns::hours(&known)).unwrap_or_default(), newer);
            tx.put(DAYS, &(day, node.0), &ChunkRow(Bytes(hour_columns::columns(&all).encode())))?;
        }
    }
    Ok(())
}

/// Adds what one row says of the wanted nodes.
fn gather(
    read: &impl Read,
    (hour, group): (u32, u32),
    nodes: &mut BTreeMap<NodeIndex, Hours>,
    is_wanted: impl Fn(NodeIndex) -> bool,
) -> Result<(), Fault> {
    let Some(block) = read.get(HOURS, &(hour, group))? else { return Ok(()) };
    for entry in block.entries().filter(|entry| is_wanted(entry.node)) {
        match hours::entry_of(entry) {
            Some(of_hour) => drop(nodes.entry(entry.node).or_default().insert(hour, (entry.late, of_hour))),
            None => tracing::error!(hour, node = entry.node.0, "an hour of measurements is lost"),
        }
    }
    Ok(())
}

fn chunk(row: &ChunkRow, (day, node): (u32, u32), is_wanted: impl Fn(u16) -> bool) -> Option<Series> {
    let decoded = Series::decode_columns(&row.0.0, is_wanted);
    decoded.inspect_err(|damaged| tracing::error!(day, node, %damaged, "a day of measurements is lost")).ok()
}

/// The first hour of `[from, until)` that has rows.
fn next_in_rows(read: &impl Read, from: u32, until: u32) -> Result<Option<u32>, Fault> {
    let mut next = None;
    read.for_each_stored(HOURS, (from, 0)..(until, 0), |(hour, _), _, _| {
        next = Some(hour);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(next)
}

fn hours_in_rows(read: &impl Read, mut from: u32, until: u32) -> Result<Vec<u32>, Fault> {
    let mut found = Vec::new();
    while let Some(hour) = next_in_rows(read, from, until)? {
        found.push(hour);
        from = hour + 1;
    }
    Ok(found)
}

/// Shows hours in `[from, until)` of some nodes, which ascend: day after day, and each day node after node, with the columns that are wanted. What is wrong with the first day that is
/// damaged, which is left out.
pub fn read(
    read: &Snapshot,
    nodes: &[NodeIndex],
    (from, until): (u32, u32),
    is_wanted: &impl Fn(u16) -> bool,
    visit: &mut impl FnMut(NodeIndex, Series),
) -> Result<Option<String>, Fault> {
    if from >= until {
        return Ok(None);
    }
    let mut lost = None;
    let (in_rows, has_days) = (hours_in_rows(read, from, until)?, read.has(DAYS.name)?);
    for day in from / HOURS_PER_DAY..=(until - 1) / HOURS_PER_DAY {
        let mut newer: BTreeMap<NodeIndex, Hours> = BTreeMap::new();
        for hour in in_rows.iter().filter(|hour| **hour / HOURS_PER_DAY == day) {
            for of_group in nodes.chunk_by(|a, b| group(*a) == group(*b)) {
                gather(read, (*hour, group(of_group[0])), &mut newer, |node| of_group.binary_search(&node).is_ok())?;
            }
        }
        let mut found: BTreeMap<NodeIndex, Series> = BTreeMap::new();
        // The file of an earlier release has no such table before its first day is settled.
        if has_days {
            read.get_each_with(DAYS, nodes.iter().map(|node| (day, node.0)), &mut |key, bytes, decode| {
                let Some(key) = <(u32, u32)>::decode(key) else { return Ok(()) };
                let node = NodeIndex(key.1);
                let stored = decode(bytes)?;
                let newer = newer.remove(&node);
                let decoded = match newer {
                    None => Series::decode_columns(&stored.0.0, |column| hour_columns::is_behind(is_wanted, column)),
                    Some(_) => Series::decode_columns(&stored.0.0, |_| true),
                };
                if let (Err(damaged), None) = (&decoded, &lost) {
                    lost = Some(format!("day {day}, node {}: {damaged}", node.0));
                }
                match newer {
                    None => found.extend(decoded.ok().map(|one| (node, one))),
                    Some(newer) => {
                        let known = decoded.ok().map(|known| hour_columns::hours(&known));
                        found.insert(node, hour_columns::columns(&hour_columns::fuller(known.unwrap_or_default(), newer)));
                    }
                }
                Ok(())
            })?;
        }
        found.extend(newer.iter().map(|(node, hours)| (*node, hour_columns::columns(hours))));
        for (node, series) in found {
            visit(node, series.within(hours::first_slot(from), hours::first_slot(until)));
        }
    }
    Ok(lost)
}

/// Decodes every hour; how many there are of nodes.
pub fn verify(read: &Snapshot, month: Month) -> Result<Result<u64, String>, Fault> {
    let (mut hours, mut wrong) = (0, None);
    read.for_each(HOURS, .., |(hour, group), block| {
        for entry in block.entries() {
            hours += 1;
            if hours::entry_of(entry).is_none() {
                wrong = wrong.take().or_else(|| Some(format!("hour {hour} of node {} does not decode", entry.node.0)));
            }
        }
        if Month::of_hour(hour) != month {
            wrong = wrong.take().or_else(|| Some(format!("hour {hour} of group {group} is of another month")));
        }
        ControlFlow::Continue(())
    })?;
    if !read.has(DAYS.name)? {
        return Ok(wrong.map_or(Ok(hours), Err));
    }
    read.for_each(DAYS, .., |(day, node), row| {
        let place = |why: &dyn std::fmt::Display| format!("day {day} of node {node}: {why}");
        match Series::decode(&row.0.0) {
            Err(damaged) => wrong = wrong.take().or_else(|| Some(place(&damaged))),
            Ok(series) => {
                let of_day = series.slots.iter().map(|slot| hours::hour_of(*slot) / HOURS_PER_DAY).all(|of| of == day);
                if !of_day || Month::of_hour(day.saturating_mul(HOURS_PER_DAY)) != month {
                    wrong = wrong.take().or_else(|| Some(place(&"is of another day")));
                }
                hours += series.slots.len() as u64;
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(wrong.map_or(Ok(hours), Err))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::metrics::Sample;
    use crate::storage::device;
    use crate::storage::hot::{Point, series};

    const DAY: u32 = 20_710;
    const HOUR: u32 = DAY * HOURS_PER_DAY;

    fn new(dir: &Path) -> DbFile {
        let month = Month::of_hour(HOUR);
        open((&device::real(), &dir.join(month.file())), 1 << 20, ("store", Identity(1)), month).unwrap()
    }

    /// Of each node so many samples, which say what was measured by `usage`.
    fn row(hour: u32, group: u32, samples: &[(u32, u32)], usage: f64) -> HourRow {
        let point = |n: u32| {
            let mut sample = Sample::default();
            sample.cpu.usage_percent = Some(usage + f64::from(n % 7));
            sample.memory.used_bytes = Some(u64::from(n) * 4_096);
            sample.network.total_bytes_in = Some(u64::from(n) << 40);
            Point { slot: hours::first_slot(hour).plus(n), late: n % 5 == 3, sample }
        };
        let of = |(node, count): &(u32, u32)| (NodeIndex(*node), vec![series(&(0..*count).map(point).collect::<Vec<_>>())]);
        hours::roll(hour, group, samples.iter().map(of).collect()).unwrap().unwrap()
    }

    fn counts(file: &DbFile, nodes: &[u32], range: (u32, u32)) -> Vec<(u32, u32, u32)> {
        let nodes: Vec<NodeIndex> = nodes.iter().copied().map(NodeIndex).collect();
        let mut found = Vec::new();
        let mut visit = |node: NodeIndex, series: Series| {
            found.extend(hour_columns::summaries(&series).map(|(hour, summary)| (node.0, hour, summary.count)));
        };
        read(&file.read().unwrap(), &nodes, range, &|_| true, &mut visit).unwrap();
        found
    }

    fn settle_all(file: &DbFile, before: u32) {
        while !is_settled(&file.read().unwrap(), before).unwrap() {
            file.write_now(move |tx| settle(tx, before)).unwrap();
        }
    }

    #[test]
    fn an_hour_that_is_rolled_up_again_loses_no_samples_of_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let file = new(dir.path());
        let write = |samples: &[(u32, u32)], is_over: bool| {
            let rows = [row(HOUR, 0, samples, 10.0)];
            file.write_now(move |tx| put(tx, &rows)).unwrap();
            if is_over {
                settle_all(&file, DAY + 1);
            }
            let found = counts(&file, &[0, 1, 2, 3, 4, 5, 6, 7, 8], (HOUR, HOUR + 1));
            found.into_iter().map(|(node, _, count)| (node, count)).collect::<Vec<_>>()
        };
        assert_eq!(write(&[(1, 5), (3, 2)], false), [(1, 5), (3, 2)]);
        // The week of node 1 has gone; of node 3 more came, of node 2 and 4 something for the first time.
        assert_eq!(write(&[(1, 1), (2, 1), (3, 4), (4, 7)], false), [(1, 5), (2, 1), (3, 4), (4, 7)]);
        assert_eq!(write(&[(8, 1)], true), [(1, 5), (2, 1), (3, 4), (4, 7), (8, 1)]);
        // The same once the day is in chunks: as a row beside them, and in them.
        assert_eq!(write(&[(1, 4), (3, 6), (7, 1)], false), [(1, 5), (2, 1), (3, 6), (4, 7), (7, 1), (8, 1)]);
        assert_eq!(write(&[(1, 6)], true), [(1, 6), (2, 1), (3, 6), (4, 7), (7, 1), (8, 1)]);
        assert_eq!(verify(&file.read().unwrap(), Month::of_hour(HOUR)).unwrap(), Ok(6));
    }

    #[test]
    fn a_file_of_an_earlier_release_is_read_before_and_after_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let month = Month::of_hour(HOUR);
        let at = dir.path().join(month.file());
        drop(origin::open((&device::real(), &at), 1 << 20, ("store", Identity(1)), &month.file(), &[HOURS.name]).unwrap());
        let file = new(dir.path());
        let rows = [row(HOUR, 0, &[(1, 5)], 10.0)];
        file.write_now(move |tx| put(tx, &rows)).unwrap();
        let all = || (counts(&file, &[1, 2], (HOUR, HOUR + 48)), verify(&file.read().unwrap(), month).unwrap());
        assert_eq!(all(), (vec![(1, HOUR, 5)], Ok(1)));
        settle_all(&file, DAY + 1);
        assert_eq!(all(), (vec![(1, HOUR, 5)], Ok(1)));
    }

    #[test]
    fn a_damaged_day_is_found_and_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = new(dir.path());
        for day in DAY..DAY + 3 {
            let rows = [row(day * HOURS_PER_DAY + 5, 0, &[(1, 5), (2, 5)], 10.0)];
            file.write_now(move |tx| put(tx, &rows)).unwrap();
        }
        settle_all(&file, DAY + 3);
        let damage = |tx: &mut WriteTx<'_>| {
            let mut row = tx.get(DAYS, &(DAY + 1, 1))?.unwrap_or_default();
            row.0.0[20] ^= 4;
            tx.put(DAYS, &(DAY + 1, 1), &row)
        };
        file.write_now(damage).unwrap();
        let wrong = verify(&file.read().unwrap(), Month::of_hour(HOUR)).unwrap().unwrap_err();
        assert!(wrong.contains("day 20711 of node 1"), "{wrong}");
        let left: Vec<_> = counts(&file, &[1, 2], (HOUR, HOUR + 72)).into_iter().map(|(node, hour, _)| (node, hour - HOUR)).collect();
        assert_eq!(left, [(1, 5), (2, 5), (2, 29), (1, 53), (2, 53)]);
        // What comes for it again is put in its place.
        let rows = [row(HOUR + 29, 0, &[(1, 3)], 10.0)];
        file.write_now(move |tx| put(tx, &rows)).unwrap();
        settle_all(&file, DAY + 3);
        assert_eq!(verify(&file.read().unwrap(), Month::of_hour(HOUR)).unwrap(), Ok(6));
    }

    /// What happens to a month: an hour is written for a group, or days are over.
    #[derive(Debug, Clone)]
    enum Step {
        Put { hour: u32, group: u32, samples: Vec<(u32, u32)>, usage: u32 },
        Settle(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let put =
            (0u32..96, 0u32..2, prop::collection::btree_map(0u32..5, 1u32..30, 1..4), 0u32..90).prop_map(|(hour, group, of, usage)| {
                let samples = of.into_iter().map(|(node, count)| (group * 96 + node, count)).collect();
                Step::Put { hour: HOUR + hour, group, samples, usage }
            });
        prop::collection::vec(prop_oneof![3 => put, 1 => (DAY..DAY + 5).prop_map(Step::Settle)], 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn hours_are_what_a_map_of_them_says(steps in steps(), from in 0u32..96, length in 0u32..96) {
            let dir = tempfile::tempdir().unwrap();
            let file = new(dir.path());
            let mut model = HashMap::new();
            let nodes: Vec<NodeIndex> = (0..5).chain(96..101).map(NodeIndex).collect();
            for step in steps {
                match step {
                    Step::Settle(day) => settle_all(&file, day),
                    Step::Put { hour, group, samples, usage } => {
                        let rows = [row(hour, group, &samples, f64::from(usage))];
                        for entry in rows[0].block.entries() {
                            let of_hour = hours::entry_of(entry).unwrap();
                            let fuller = |known: &(bool, hours::HourEntry)| known.1.count > of_hour.count;
                            if !model.get(&(entry.node, hour)).is_some_and(fuller) {
                                model.insert((entry.node, hour), (entry.late, of_hour));
                            }
                        }
                        file.write_now(move |tx| put(tx, &rows)).unwrap();
                    }
                }
                let mut found = HashMap::new();
                let mut last = HashMap::new();
                let range = (HOUR + from, HOUR + from + length);
                read(&file.read().unwrap(), &nodes, range, &|_| true, &mut |node, series| {
                    for (hour, of_hour) in hour_columns::hours(&series) {
                        assert!(last.insert(node, hour).is_none_or(|before| before < hour), "in order of time");
                        assert!(found.insert((node, hour), of_hour).is_none(), "once");
                    }
                }).unwrap();
                let wanted: HashMap<_, _> = model.iter().filter(|((_, hour), _)| (range.0..range.1).contains(hour)).map(|(k, v)| (*k, v.clone())).collect();
                prop_assert_eq!(found, wanted);
            }
            let all = verify(&file.read().unwrap(), Month::of_hour(HOUR)).unwrap().unwrap();
            prop_assert!(all >= model.len() as u64);
        }
    }
}
