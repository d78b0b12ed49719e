//! Samples from wherever they are: what waits for the next flush, what is flushed and not sealed, what is sealed. They only ever move in this order, and are read in it: what moves
//! meanwhile is found twice, and never missed.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::hours::{self, HourRow};
use super::hot::{Parts, Point, point, renamed};
use crate::domain::chunk::{Row, Series};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// Samples of a node in `[from, until)`, in slot order, as far as `parts` are wanted.
pub fn points(store: &Store, node: NodeIndex, from: Slot, until: Slot, parts: Parts) -> Result<Vec<Point>, Fault> {
    Ok(points_of(store, &[node], from, until, parts)?.pop().map(|(_, points)| points).unwrap_or_default())
}

/// The same of several, which ascend; nodes without any are left out. What sweeps have is looked up once for all.
pub fn points_of(store: &Store, nodes: &[NodeIndex], from: Slot, until: Slot, parts: Parts) -> Result<Vec<(NodeIndex, Vec<Point>)>, Fault> {
    let all = pieces_of(store, nodes, (from, until), |column| parts.has(column))?;
    let points = |pieces: &[Series]| rows(pieces).map(|(slot, late, row, names)| point(slot, late, &row, names)).collect();
    Ok(all.iter().map(|(node, pieces)| (*node, points(pieces))).collect())
}

/// From which slot of `[from, until)` on samples of a node are kept: what the node measured before it, if anything, is in hours alone. `until` where none are.
pub fn since(store: &Store, node: NodeIndex, (from, until): (Slot, Slot)) -> Slot {
    let first = |series: Series| series.slots.first().copied();
    let waiting = first(store.intake.pending(node, from, until, |_| false));
    let unsealed = first(store.tails.within(node, from, until, |_| false));
    // Weeks go oldest first, each as a whole.
    let sealed = store.cold.weeks().first().map(|week| week.start().max(from));
    [waiting, unsealed, sealed].into_iter().flatten().min().unwrap_or(until).min(until)
}

/// The same as columns, of which only the wanted ones are there: pieces in order of time that share no slot.
pub fn pieces_of(
    store: &Store,
    nodes: &[NodeIndex],
    (from, until): (Slot, Slot),
    is_wanted: impl Fn(u16) -> bool,
) -> Result<Vec<(NodeIndex, Vec<Series>)>, Fault> {
    let waiting = nodes.iter().map(|node| (*node, store.intake.pending(*node, from, until, &is_wanted))).collect();
    with_waiting(store, waiting, (from, until), is_wanted)
}

/// The same for who has read already what of each node waits for the next flush; nodes ascending.
pub(super) fn with_waiting(
    store: &Store,
    waiting: Vec<(NodeIndex, Series)>,
    (from, until): (Slot, Slot),
    is_wanted: impl Fn(u16) -> bool,
) -> Result<Vec<(NodeIndex, Vec<Series>)>, Fault> {
    let nodes: Vec<NodeIndex> = waiting.iter().map(|(node, _)| *node).collect();
    let with_tail = |(node, waiting)| (node, vec![store.tails.within(node, from, until, &is_wanted), waiting]);
    let unsealed: Vec<(NodeIndex, Vec<Series>)> = waiting.into_iter().map(with_tail).collect();
    let mut sealed: BTreeMap<NodeIndex, Vec<Series>> = BTreeMap::new();
    store.cold.read(&nodes, (from, until), &is_wanted, |node, piece| sealed.entry(node).or_default().push(piece))?;
    let with_sealed = |(node, unsealed): (NodeIndex, Vec<Series>)| {
        let mut all = sealed.remove(&node).unwrap_or_default();
        all.extend(unsealed);
        (node, apart(all))
    };
    Ok(unsealed.into_iter().map(with_sealed).filter(|(_, pieces)| !pieces.is_empty()).collect())
}

/// All samples of pieces, with the names that their rows refer to.
fn rows(pieces: &[Series]) -> impl Iterator<Item = (Slot, bool, Row, &[String])> {
    pieces.iter().flat_map(|piece| {
        let late = |at: usize| piece.late.get(at).copied().unwrap_or_default();
        piece.slots.iter().enumerate().map(move |(at, slot)| (*slot, late(at), piece.columns.row(at), piece.columns.names.as_slice()))
    })
}

/// What was stored first comes first, and of a slot it is what stays. Pieces follow each other, unless something came late.
fn apart(mut pieces: Vec<Series>) -> Vec<Series> {
    pieces.retain(|piece| !piece.slots.is_empty());
    if pieces.is_sorted_by(|a, b| a.slots.last() < b.slots.first()) {
        return pieces;
    }
    let mut all: Vec<(Slot, bool, Row, &[String])> = rows(&pieces).collect();
    all.sort_by_key(|(slot, ..)| *slot);
    all.dedup_by_key(|(slot, ..)| *slot);
    let mut one = Series::default();
    for (at, (slot, late, row, names)) in all.into_iter().enumerate() {
        let row = renamed(&row, names, |name| one.columns.name(name));
        one.columns.push(at, &row);
        one.slots.push(slot);
        one.late.push(late);
    }
    one.columns.finish(one.slots.len());
    vec![one]
}

/// One group's hour rolled up out of its samples; None where it has none.
pub fn roll(store: &Store, hour: u32, group: u32) -> Result<Option<HourRow>, Fault> {
    let (from, until) = (hours::first_slot(hour), hours::first_slot(hour + 1));
    hours::roll(hour, group, pieces_of(store, &hours::nodes_of(group), (from, until), |_| true)?)
}
