//! Days of proof rolled up: what each node proved and earned on a UTC day, one row per day and group of neighbouring nodes. Written once, when the last
//! epoch of the day is closed; kept longer than the leaves it is made of.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::block::group;
use super::leaves;
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Pico};
use crate::domain::poot::Score;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// (day since 1970, group of neighbouring nodes) -> their days.
pub(super) const DAYS: Table<(u32, u32), DayGroup> = Table::new("days");

/// One node's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    pub node: NodeIndex,
    pub proven: u16,
    pub observed: u16,
    /// What its pool paid in at the end of the day; None when it was in no pool all day.
    pub currency: Option<Currency>,
    /// Earned in that currency, held amounts of pending epochs included.
    pub accrued: Pico,
    /// Of its last epoch.
    pub score: Score,
}

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayGroup(pub(super) Vec<Day>);

record! { DayGroup = 1 }

/// The day of one node, from its leaves in order of time; None without any.
pub fn sum(leaves: &[Leaf]) -> Result<Option<Day>, Fault> {
    let Some(last) = leaves.last() else { return Ok(None) };
    let currency_of = |leaf: &Leaf| leaf.payer.map(|payer| payer.pricing.currency);
    let currency = leaves.iter().rev().find_map(currency_of);
    let mut day = Day { node: last.node, proven: 0, observed: 0, currency, accrued: Pico::ZERO, score: last.score };
    for leaf in leaves {
        day.proven = day.proven.saturating_add(leaf.slots.proven);
        day.observed = day.observed.saturating_add(leaf.slots.observed);
        if currency_of(leaf).is_some() && currency_of(leaf) == currency {
            day.accrued = day.accrued.plus(leaf.accrual).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
        }
    }
    Ok(Some(day))
}

/// The day of every node, from the leaves of these epochs.
pub fn roll(read: &impl Read, epochs: &[Epoch]) -> Result<Vec<Day>, Fault> {
    let mut of_node: BTreeMap<NodeIndex, Vec<Leaf>> = BTreeMap::new();
    for epoch in epochs {
        for leaf in leaves::of_epoch(read, *epoch)? {
            of_node.entry(leaf.node).or_default().push(leaf);
        }
    }
    of_node.into_values().filter_map(|leaves| sum(&leaves).transpose()).collect()
}

/// Writes the days of all nodes, in node order; doing it again writes the same.
pub fn put(tx: &mut WriteTx<'_>, day: u32, days: &[Day]) -> Result<(), TxError> {
    for of_group in days.chunk_by(|a, b| group(a.node) == group(b.node)) {
        tx.put(DAYS, &(day, group(of_group[0].node)), &DayGroup(of_group.to_vec()))?;
    }
    Ok(())
}

/// Days `[from, until)` of a node that have a row, with their numbers.
pub fn of_node(read: &impl Read, node: NodeIndex, from: u32, until: u32) -> Result<Vec<(u32, Day)>, Fault> {
    let mut found = Vec::new();
    for day in from..until {
        let row = read.get(DAYS, &(day, group(node)))?;
        found.extend(row.and_then(|row| row.0.into_iter().find(|day| day.node == node)).map(|of_day| (day, of_day)));
    }
    Ok(found)
}

/// Forgets days before `day`, at most `limit` rows; returns how many.
pub fn prune(tx: &mut WriteTx<'_>, day: u32, limit: usize) -> Result<usize, TxError> {
    tx.delete_before(DAYS, &(day, 0), limit)
}

/// Decodes every record; the number of them.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    let mut records = 0;
    read.for_each(DAYS, .., |_, _| {
        records += 1;
        ControlFlow::Continue(())
    })?;
    Ok(records)
}
