//! Samples from wherever they are: what waits for the next flush, what is flushed and not sealed, what is sealed. They only ever move in this order, and are read in it: what moves
//! meanwhile is found twice, and never missed.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::hours::{self, HourRow};
use super::hot::{Parts, Point};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// Samples of a node in `[from, until)`, in slot order, as far as `parts` are wanted.
pub fn points(store: &Store, node: NodeIndex, from: Slot, until: Slot, parts: Parts) -> Result<Vec<Point>, Fault> {
    Ok(points_of(store, &[node], from, until, parts)?.pop().map(|(_, points)| points).unwrap_or_default())
}

/// The same of several, which ascend; nodes without any are left out. What sweeps have is looked up once for all.
pub fn points_of(store: &Store, nodes: &[NodeIndex], from: Slot, until: Slot, parts: Parts) -> Result<Vec<(NodeIndex, Vec<Point>)>, Fault> {
    let waiting = nodes.iter().map(|node| (*node, store.intake.pending_points(*node, from, until)));
    let mut found: BTreeMap<NodeIndex, Vec<Point>> = waiting.filter(|(_, points)| !points.is_empty()).collect();
    for node in nodes {
        let tail = store.tails.points(*node, from, until, parts);
        if !tail.is_empty() {
            found.entry(*node).or_default().splice(0..0, tail);
        }
    }
    let mut sealed: BTreeMap<NodeIndex, Vec<Point>> = BTreeMap::new();
    store.cold.read(nodes, (from, until), parts, |node, chunk| sealed.entry(node).or_default().extend(chunk.points(from, until)))?;
    for (node, points) in sealed {
        found.entry(node).or_default().splice(0..0, points);
    }
    for points in found.values_mut() {
        // The first sample of a slot stays, and that is the one that was stored first.
        points.sort_by_key(|point| point.slot);
        points.dedup_by_key(|point| point.slot);
    }
    Ok(found.into_iter().collect())
}

/// One group's hour rolled up out of its samples; None where it has none.
pub fn roll(store: &Store, hour: u32, group: u32) -> Result<Option<HourRow>, Fault> {
    let (from, until) = (hours::first_slot(hour), hours::first_slot(hour + 1));
    hours::roll(hour, group, points_of(store, &hours::nodes_of(group), from, until, Parts::ALL)?)
}
