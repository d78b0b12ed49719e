//! One month of hours, rolled up: a row per hour and group of neighbouring nodes, so that each hour is written once, at the end of the file.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::domain::calendar::Month;
use crate::domain::ids::NodeIndex;
use crate::domain::series::Summary;
use crate::storage::DbFile;
use crate::storage::cold::origin;
use crate::storage::device::Device;
use crate::storage::fault::{Fault, OpenError, TxError};
use crate::storage::hot::hours::{self, HourRow};
use crate::storage::hot::{Block, Entry, group};
use crate::storage::table::{Read, Table, WriteTx};

/// (hour since 1970, group of neighbouring nodes) -> their summaries.
const HOURS: Table<(u32, u32), Block> = Table::new("hours");

pub fn open(at: (&Arc<dyn Device>, &Path), cache_bytes: usize, store_id: &str, month: Month) -> Result<DbFile, OpenError> {
    origin::open(at, cache_bytes, store_id, &month.file(), &[HOURS.name])
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
    fn count(entry: Entry<'_>) -> u32 {
        hours::summary(entry).map_or(0, |summary| summary.count)
    }
    let stays = |entry: &Entry<'_>| new.find(entry.node).is_none_or(|newer| count(*entry) > count(newer));
    let none = Block::default();
    none.merged(before.entries().filter(stays).chain(new.entries()))
}

/// The summary of one node's hour.
pub fn of_node(read: &impl Read, hour: u32, node: NodeIndex) -> Result<Option<Summary>, Fault> {
    let found = read.get(HOURS, &(hour, group(node)))?;
    Ok(found.and_then(|block| block.find(node).and_then(hours::summary)))
}

/// Summaries of some nodes of one hour; `nodes` ascending. Each group is read once.
pub fn of_nodes(read: &impl Read, hour: u32, nodes: &[NodeIndex]) -> Result<Vec<(NodeIndex, Summary)>, Fault> {
    let mut found = Vec::new();
    for wanted in nodes.chunk_by(|a, b| group(*a) == group(*b)) {
        if let Some(block) = read.get(HOURS, &(hour, group(wanted[0])))? {
            let of_group = block.entries().filter(|entry| wanted.binary_search(&entry.node).is_ok());
            found.extend(of_group.filter_map(|entry| Some((entry.node, hours::summary(entry)?))));
        }
    }
    Ok(found)
}

/// Decodes every hour; how many there are of nodes.
pub fn verify(read: &impl Read, month: Month) -> Result<Result<u64, String>, Fault> {
    let (mut hours, mut wrong) = (0, None);
    read.for_each(HOURS, .., |(hour, group), block| {
        for entry in block.entries() {
            hours += 1;
            if hours::summary(entry).is_none() {
                wrong = wrong.take().or_else(|| Some(format!("hour {hour} of node {} does not decode", entry.node.0)));
            }
        }
        if Month::of_hour(hour) != month {
            wrong = wrong.take().or_else(|| Some(format!("hour {hour} of group {group} is of another month")));
        }
        ControlFlow::Continue(())
    })?;
    Ok(wrong.map_or(Ok(hours), Err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metrics::Sample;
    use crate::storage::device;
    use crate::storage::hot::{Point, series};

    const HOUR: u32 = 497_000;

    /// Of each node so many samples.
    fn row(samples: &[(u32, u32)]) -> HourRow {
        let point = |n| Point { slot: hours::first_slot(HOUR).plus(n), late: false, sample: Sample::default() };
        let of = |(node, count): &(u32, u32)| (NodeIndex(*node), vec![series(&(0..*count).map(point).collect::<Vec<_>>())]);
        hours::roll(HOUR, 0, samples.iter().map(of).collect()).unwrap().unwrap()
    }

    #[test]
    fn an_hour_that_is_rolled_up_again_loses_no_samples_of_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let month = Month::of_hour(HOUR);
        let file = open((&device::real(), &dir.path().join(month.file())), 1 << 20, "store", month).unwrap();
        let write = |samples: &[(u32, u32)]| {
            let rows = [row(samples)];
            file.write_now(move |tx| put(tx, &rows)).unwrap();
            let nodes: Vec<NodeIndex> = (0..9).map(NodeIndex).collect();
            let found = of_nodes(&file.read().unwrap(), HOUR, &nodes).unwrap();
            found.into_iter().map(|(node, summary)| (node.0, summary.count)).collect::<Vec<_>>()
        };
        assert_eq!(write(&[(1, 5), (3, 2)]), [(1, 5), (3, 2)]);
        // The week of node 1 has gone; of node 3 more came, of node 2 and 4 something for the first time.
        assert_eq!(write(&[(1, 1), (2, 1), (3, 4), (4, 7)]), [(1, 5), (2, 1), (3, 4), (4, 7)]);
        assert_eq!(write(&[(8, 1)]), [(1, 5), (2, 1), (3, 4), (4, 7), (8, 1)]);
    }
}
