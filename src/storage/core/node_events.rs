//! What happened to each node: written in the transaction of its cause, the newest `MAX_EVENTS` of a node are kept, and of these what is in no archive. Whether a
//! row that an archive covers is deleted already makes no difference to who reads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::tables::{ARCHIVED_EVENTS, Index64, NODE_EVENTS, SILENT};
use super::{archives, pools};
use crate::domain::archive;
use crate::domain::audit::Act;
use crate::domain::bits::Bitmap;
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::node::Node;
use crate::domain::node_event::{Category, Kind, MAX_EVENTS, NodeEvent, changes};
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Nodes whose silence is recorded, until they are heard or are no longer wanted running.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Silent(pub Bitmap);

/// The last event of a node that is in an archive; 0: none.
pub fn archived(read: &impl Read, node: NodeIndex) -> Result<u64, Fault> {
    Ok(read.get(ARCHIVED_EVENTS, &node.0)?.map_or(0, |Index64(seq)| seq))
}

/// Numbers go on behind what was archived, also where nothing is left.
fn newest(read: &impl Read, node: NodeIndex) -> Result<u64, Fault> {
    let mut newest = archived(read, node)?;
    read.for_each_back(NODE_EVENTS, (node.0, newest)..=(node.0, u64::MAX), |(_, seq), _| {
        newest = seq;
        ControlFlow::Break(())
    })?;
    Ok(newest)
}

pub fn append(tx: &mut WriteTx<'_>, node: NodeIndex, event: NodeEvent) -> Result<(), TxError> {
    let seq = newest(tx, node)? + 1;
    tx.put(NODE_EVENTS, &(node.0, seq), &event)?;
    // Sequence numbers are dense, so one more in is one out.
    if let Some(oldest) = seq.checked_sub(MAX_EVENTS).filter(|seq| *seq > 0) {
        tx.delete(NODE_EVENTS, &(node.0, oldest))?;
    }
    Ok(())
}

/// Writes what a change of the node's record tells.
pub(super) fn record_changes(tx: &mut WriteTx<'_>, act: &Act, before: &Node, after: &Node) -> Result<(), TxError> {
    for (kind, detail) in changes(before, after) {
        append(tx, after.index, NodeEvent::by(act, kind, detail))?;
    }
    if before.pool_now() != after.pool_now() {
        let detail = format!("{} to {}", pool_name(tx, before.pool_now())?, pool_name(tx, after.pool_now())?);
        append(tx, after.index, NodeEvent::by(act, Kind::MovedPool, Some(detail)))?;
    }
    Ok(())
}

fn pool_name(read: &impl Read, pool: Option<PoolIndex>) -> Result<String, Fault> {
    let found = match pool {
        Some(index) => pools::ever(read, index)?,
        None => None,
    };
    Ok(found.map_or_else(|| "no pool".to_owned(), |pool| pool.name))
}

/// Newest first, with their sequence numbers, and how many there are.
pub fn page(read: &impl Read, node: NodeIndex, offset: usize, limit: usize) -> Result<(Vec<(u64, NodeEvent)>, u64), Fault> {
    let (newest, archived) = (newest(read, node)?, archived(read, node)?);
    let end = newest.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
    let mut events = Vec::new();
    read.for_each_back(NODE_EVENTS, (node.0, archived + 1)..=(node.0, end), |(_, seq), event| {
        events.push((seq, event));
        if events.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((events, (newest - archived).min(MAX_EVENTS)))
}

/// Which events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub category: Option<Category>,
    pub kind: Option<Kind>,
    /// In `[from, to)`.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Filter {
    fn fits(&self, event: &NodeEvent) -> bool {
        self.category.is_none_or(|category| category == event.kind.category())
            && self.kind.is_none_or(|kind| kind == event.kind)
            && self.from.is_none_or(|from| event.at >= from)
            && self.to.is_none_or(|to| event.at < to)
    }
}

/// Those that fit, and how many there are. Reads all of a node, which are `MAX_EVENTS` at most.
pub fn filtered(
    read: &impl Read,
    node: NodeIndex,
    filter: &Filter,
    descending: bool,
    offset: usize,
    limit: usize,
) -> Result<(Vec<(u64, NodeEvent)>, u64), Fault> {
    if *filter == Filter::default() && descending {
        return page(read, node, offset, limit);
    }
    let mut events = Vec::new();
    read.for_each(NODE_EVENTS, (node.0, archived(read, node)? + 1)..=(node.0, u64::MAX), |(_, seq), event| {
        if filter.fits(&event) {
            events.push((seq, event));
        }
        ControlFlow::Continue(())
    })?;
    let total = u64::try_from(events.len()).unwrap_or(u64::MAX);
    if descending {
        events.reverse();
    }
    Ok((events.into_iter().skip(offset).take(limit).collect(), total))
}

/// The first event at or behind a place, whosever it is.
fn first_from(read: &impl Read, place: (u32, u64)) -> Result<Option<((u32, u64), NodeEvent)>, Fault> {
    Ok(read.scan(NODE_EVENTS, place.., 1)?.pop())
}

/// When the oldest event happened that is in no archive: the first one of some node.
pub fn oldest(read: &impl Read) -> Result<Option<Timestamp>, Fault> {
    let (mut oldest, mut place) = (None, (0, 0));
    while let Some(((node, seq), event)) = first_from(read, place)? {
        let first = archived(read, NodeIndex(node))? + 1;
        if seq < first {
            place = (node, first);
            continue;
        }
        oldest = Some(oldest.map_or(event.at, |oldest: Timestamp| oldest.min(event.at)));
        let Some(next) = node.checked_add(1) else { break };
        place = (next, 0);
    }
    Ok(oldest)
}

/// What is to be archived, and where to go on; None: that was all.
#[derive(Debug, Default)]
pub struct Unarchived {
    pub events: Vec<(NodeIndex, u64, NodeEvent)>,
    pub next: Option<(NodeIndex, u64)>,
}

/// Of each node, from the place `from` on, what is in no archive and comes before its first event that is not before `end`; some `limit` of them.
pub fn unarchived(read: &impl Read, from: (NodeIndex, u64), end: Timestamp, limit: usize) -> Result<Unarchived, Fault> {
    let (mut page, mut place) = (Unarchived::default(), (from.0.0, from.1));
    while let Some(((node, seq), _)) = first_from(read, place)? {
        if page.events.len() >= limit {
            page.next = Some((NodeIndex(node), seq));
            break;
        }
        let (start, mut cut) = (seq.max(archived(read, NodeIndex(node))? + 1), None);
        read.for_each(NODE_EVENTS, (node, start)..=(node, u64::MAX), |(_, seq), event| {
            if event.at >= end {
                return ControlFlow::Break(());
            }
            if page.events.len() >= limit {
                cut = Some((NodeIndex(node), seq));
                return ControlFlow::Break(());
            }
            page.events.push((NodeIndex(node), seq, event));
            ControlFlow::Continue(())
        })?;
        if cut.is_some() {
            page.next = cut;
            break;
        }
        let Some(next) = node.checked_add(1) else { break };
        place = (next, 0);
    }
    Ok(page)
}

/// Everything of the node up to this event is in archives; in the transaction of the newest one.
pub fn put_archived(tx: &mut WriteTx<'_>, node: NodeIndex, seq: u64) -> Result<(), TxError> {
    tx.put(ARCHIVED_EVENTS, &node.0, &Index64(seq))
}

/// Places of rows that archives cover, at most `limit`.
pub fn archived_rows(read: &impl Read, limit: usize) -> Result<Vec<(u32, u64)>, Fault> {
    let mut found = Vec::new();
    for (node, Index64(seq)) in read.scan(ARCHIVED_EVENTS, .., usize::MAX)? {
        let room = limit - found.len();
        found.extend(read.scan(NODE_EVENTS, (node, 0)..=(node, seq), room)?.into_iter().map(|(place, _)| place));
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Deletes at most `limit` rows that archives cover; true when there may be more.
pub fn forget_archived(tx: &mut WriteTx<'_>, limit: usize) -> Result<bool, TxError> {
    let rows = archived_rows(tx, limit)?;
    for place in &rows {
        tx.delete(NODE_EVENTS, place)?;
    }
    Ok(rows.len() == limit)
}

const ROW: &str = "row";

pub fn silent(read: &impl Read) -> Result<Bitmap, Fault> {
    Ok(read.get(SILENT, &ROW.to_owned())?.unwrap_or_default().0)
}

pub fn put_silent(tx: &mut WriteTx<'_>, silent: &Bitmap) -> Result<(), TxError> {
    tx.put(SILENT, &ROW.to_owned(), &Silent(silent.clone()))
}

/// Decodes every event, and finds those that are missing: between two, or behind what is archived or was the oldest to be kept. The number of them.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let archived: BTreeMap<u32, u64> =
        read.scan(ARCHIVED_EVENTS, .., usize::MAX)?.into_iter().map(|(node, Index64(seq))| (node, seq)).collect();
    if !archived.is_empty() && archives::newest(read, archive::Kind::NodeHistory)?.is_none() {
        return Ok(Err("events are said to be in archives, and there is none".into()));
    }
    // Of each node its first event, its last one, and how many there are.
    let mut nodes: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
    read.for_each(NODE_EVENTS, .., |(node, seq), _| {
        let (_, last, count) = nodes.entry(node).or_insert((seq, seq, 0));
        (*last, *count) = (seq, *count + 1);
        ControlFlow::Continue(())
    })?;
    for (node, (first, last, count)) in &nodes {
        let covered = archived.get(node).copied().unwrap_or_default();
        if last - first + 1 != *count || (*first > covered + 1 && *count < MAX_EVENTS) {
            return Ok(Err(format!("an event of node {node} is missing")));
        }
    }
    silent(read)?;
    Ok(Ok(nodes.values().map(|(_, _, count)| count).sum()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, new_node, new_pool, node_id, pool_id};
    use super::super::{nodes, pools};
    use super::*;
    use crate::domain::node::MAX_NODES;
    use crate::domain::registration::{NodeChange, StatusChange};

    fn told(f: &Fixture, node: NodeIndex) -> Vec<(Kind, Option<String>)> {
        let (events, _) = page(&f.store.read().unwrap(), node, 0, 100).unwrap();
        events.into_iter().rev().map(|(_, event)| (event.kind, event.detail)).collect()
    }

    #[test]
    fn changes_of_a_node_are_told_in_order_and_a_refused_one_is_not() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 9))).unwrap();
        let node = f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("first", None), MAX_NODES)).unwrap();
        let change = |change: NodeChange| f.write(move |tx, d| nodes::update(tx, d, &act(), &node_id(1), &change));
        change(NodeChange { name: Some("second".into()), ..NodeChange::default() }).unwrap();
        change(NodeChange { pool: Some(pool_id(1)), status: Some(StatusChange::Inactive), ..NodeChange::default() }).unwrap();
        change(NodeChange { status: Some(StatusChange::Active), ..NodeChange::default() }).unwrap();
        change(NodeChange::default()).unwrap();
        assert!(change(NodeChange { pool: Some(pool_id(9)), name: Some("third".into()), ..NodeChange::default() }).is_err());
        f.write(|tx, d| nodes::delete(tx, d, &act(), &node_id(1), false)).unwrap();
        let expected = [
            (Kind::Created, None),
            (Kind::Renamed, Some("first to second".to_owned())),
            (Kind::Stopped, None),
            (Kind::MovedPool, Some("no pool to one".to_owned())),
            (Kind::Started, None),
            (Kind::CommandExpired, Some("stop: a newer command took its place: 2".to_owned())),
            (Kind::Deleted, None),
        ];
        assert_eq!(told(&f, node.index), expected);
    }

    #[test]
    fn the_newest_thousand_stay_and_other_nodes_are_not_touched() {
        let f = Fixture::new();
        let count = u32::try_from(MAX_EVENTS).unwrap() + 5;
        f.write(move |tx, _| {
            append(tx, NodeIndex(6), NodeEvent::by(&act(), Kind::Back, None))?;
            append(tx, NodeIndex(8), NodeEvent::by(&act(), Kind::Back, None))?;
            (0..count).try_for_each(|n| append(tx, NodeIndex(7), NodeEvent::by(&act(), Kind::Unreachable, Some(n.to_string()))))
        })
        .unwrap();
        let read = f.store.read().unwrap();
        let seqs = |node, offset, limit| {
            let (events, total) = page(&read, NodeIndex(node), offset, limit).unwrap();
            (events.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>(), total)
        };
        assert_eq!(seqs(7, 0, 2), (vec![1_005, 1_004], MAX_EVENTS));
        assert_eq!(seqs(7, 998, 100), (vec![7, 6], MAX_EVENTS), "the five oldest are gone");
        assert_eq!(seqs(7, 5_000, 100).0, [] as [u64; 0]);
        assert_eq!((seqs(6, 0, 9), seqs(8, 0, 9), seqs(9, 0, 9)), ((vec![1], 1), (vec![1], 1), (vec![], 0)));
        assert_eq!(verify(&read).unwrap(), Ok(MAX_EVENTS + 2));
    }
}
