//! Epochs rolled up: what each node proved, scored and earned in an hour and on a UTC day, one row for each of these and group of neighbouring nodes. Written once,
//! when the last epoch that begins in it is closed; kept longer than the leaves it is made of. Beside days, sums of all of them, so that rankings over all time
//! cost no more than those over a day.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::block::group;
use super::leaves;
use crate::domain::epoch::Head;
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Overflow, Pico};
use crate::domain::poot::{Params, Score};
use crate::domain::span::{Share, Span};
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// (day since 1970, group of neighbouring nodes) -> their days.
pub(in crate::storage) const DAYS: Table<(u32, u32), DayGroup> = Table::new("days");
/// (hour since 1970, group of neighbouring nodes) -> their hours.
pub(in crate::storage) const SCORE_HOURS: Table<(u32, u32), DayGroup> = Table::new("score_hours");
/// Group of neighbouring nodes -> the sums of their days.
pub(in crate::storage) const TOTALS: Table<u32, TotalGroup> = Table::new("score_totals");

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayGroup(pub(super) Vec<Span>);

/// All days of a node that were rolled up with what a sum takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    pub first_day: u32,
    pub span: Span,
}

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TotalGroup(pub(super) Vec<Total>);

record! { DayGroup = 2 from earlier, TotalGroup = 1 }

/// A day as version 1 had it: without states, mean, multiplier, pools and credits.
#[derive(Deserialize)]
struct DayV1 {
    node: NodeIndex,
    proven: u16,
    observed: u16,
    currency: Option<Currency>,
    accrued: Pico,
    score: Score,
}

fn earlier(version: u8, bytes: &[u8]) -> Option<DayGroup> {
    if version != 1 {
        return None;
    }
    let days: Vec<DayV1> = postcard::from_bytes(bytes).ok()?;
    let span = |DayV1 { node, proven, observed, currency, accrued, score }| {
        let share = |currency| Share { pool: None, currency, proven: u32::from(proven), accrued, credits: Pico::ZERO };
        Span {
            node,
            proven: u32::from(proven),
            observed: u32::from(observed),
            valid: 0,
            pending: 0,
            invalid: 0,
            score_sum: 0,
            last: score,
            multiplier: None,
            shares: currency.map(share).into_iter().collect(),
        }
    };
    Some(DayGroup(days.into_iter().map(span).collect()))
}

fn broken(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}

/// Adds spans in order of time, each to its node's.
pub fn gather(sums: &mut BTreeMap<NodeIndex, Span>, spans: impl IntoIterator<Item = Span>) -> Result<(), Fault> {
    for span in spans {
        match sums.entry(span.node) {
            Entry::Vacant(first) => {
                first.insert(span);
            }
            Entry::Occupied(mut before) => before.get_mut().then(&span).map_err(broken)?,
        }
    }
    Ok(())
}

/// The leaves of one epoch as spans.
pub fn of_epoch(read: &impl Read, head: &Head) -> Result<Vec<Span>, Fault> {
    spans(leaves::of_epoch(read, head.epoch)?.iter(), &head.params)
}

/// The leaf of one node as a span.
pub fn of_leaf(read: &impl Read, head: &Head, node: NodeIndex) -> Result<Option<Span>, Fault> {
    Ok(spans(leaves::of_node(read, head.epoch, node)?.iter(), &head.params)?.pop())
}

fn spans<'a>(leaves: impl Iterator<Item = &'a crate::domain::credits::Leaf>, params: &Params) -> Result<Vec<Span>, Fault> {
    leaves.map(|leaf| Span::of(leaf, params).map_err(broken)).collect()
}

/// The sums of every node over these epochs, oldest first; in node order.
pub fn roll(read: &impl Read, heads: &[Head]) -> Result<Vec<Span>, Fault> {
    let mut sums = BTreeMap::new();
    for head in heads {
        gather(&mut sums, of_epoch(read, head)?)?;
    }
    Ok(sums.into_values().collect())
}

/// Writes the days of all nodes, in node order; doing it again writes the same.
pub fn put(tx: &mut WriteTx<'_>, day: u32, days: &[Span]) -> Result<(), TxError> {
    put_in(tx, DAYS, day, days)
}

/// The same of an hour.
pub fn put_hour(tx: &mut WriteTx<'_>, hour: u32, hours: &[Span]) -> Result<(), TxError> {
    put_in(tx, SCORE_HOURS, hour, hours)
}

fn put_in(tx: &mut WriteTx<'_>, table: Table<(u32, u32), DayGroup>, at: u32, spans: &[Span]) -> Result<(), TxError> {
    for of_group in spans.chunk_by(|a, b| group(a.node) == group(b.node)) {
        tx.put(table, &(at, group(of_group[0].node)), &DayGroup(of_group.to_vec()))?;
    }
    Ok(())
}

/// Adds a day to the sums of all days; to be done once for each day, in order.
pub fn add_to_totals(tx: &mut WriteTx<'_>, day: u32, days: &[Span]) -> Result<(), TxError> {
    for of_group in days.chunk_by(|a, b| group(a.node) == group(b.node)) {
        let key = group(of_group[0].node);
        let mut totals = tx.get(TOTALS, &key)?.unwrap_or_default().0;
        for span in of_group {
            match totals.binary_search_by_key(&span.node, |total| total.span.node) {
                Ok(at) => totals[at].span.then(span)?,
                Err(at) => totals.insert(at, Total { first_day: day, span: span.clone() }),
            }
        }
        tx.put(TOTALS, &key, &TotalGroup(totals))?;
    }
    Ok(())
}

/// The sums of all days, in node order.
pub fn totals(read: &impl Read) -> Result<Vec<Total>, Fault> {
    let mut all = Vec::new();
    read.for_each(TOTALS, .., |_, totals| {
        all.extend(totals.0);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Everybody's day, in node order.
pub fn of_day(read: &impl Read, day: u32) -> Result<Vec<Span>, Fault> {
    all_in(read, DAYS, day)
}

/// Everybody's hour, in node order.
pub fn of_hour(read: &impl Read, hour: u32) -> Result<Vec<Span>, Fault> {
    all_in(read, SCORE_HOURS, hour)
}

fn all_in(read: &impl Read, table: Table<(u32, u32), DayGroup>, at: u32) -> Result<Vec<Span>, Fault> {
    let mut all = Vec::new();
    read.for_each(table, (at, 0)..=(at, u32::MAX), |_, row| {
        all.extend(row.0);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// A node's day.
pub fn day_of_node(read: &impl Read, day: u32, node: NodeIndex) -> Result<Option<Span>, Fault> {
    one_in(read, DAYS, day, node)
}

/// A node's hour.
pub fn hour_of_node(read: &impl Read, hour: u32, node: NodeIndex) -> Result<Option<Span>, Fault> {
    one_in(read, SCORE_HOURS, hour, node)
}

fn one_in(read: &impl Read, table: Table<(u32, u32), DayGroup>, at: u32, node: NodeIndex) -> Result<Option<Span>, Fault> {
    let row = read.get(table, &(at, group(node)))?;
    Ok(row.and_then(|row| row.0.into_iter().find(|span| span.node == node)))
}

/// Days `[from, until)` of a node that have a row, with their numbers.
pub fn of_node(read: &impl Read, node: NodeIndex, from: u32, until: u32) -> Result<Vec<(u32, Span)>, Fault> {
    let mut found = Vec::new();
    for day in from..until {
        found.extend(day_of_node(read, day, node)?.map(|of_day| (day, of_day)));
    }
    Ok(found)
}

/// Forgets hours before `hour`, at most `limit` rows; returns how many. Days stay.
pub fn prune_hours(tx: &mut WriteTx<'_>, hour: u32, limit: usize) -> Result<usize, TxError> {
    tx.delete_before(SCORE_HOURS, &(hour, 0), limit)
}

/// Decodes every record; the number of them.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    let mut records = 0;
    for table in [DAYS, SCORE_HOURS] {
        read.for_each(table, .., |_, _| {
            records += 1;
            ControlFlow::Continue(())
        })?;
    }
    read.for_each(TOTALS, .., |_, _| {
        records += 1;
        ControlFlow::Continue(())
    })?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_an_earlier_release_say_what_they_said() {
        // (node, proven, observed, currency, accrued, score) as version 1 wrote them.
        let score = Score { state: crate::domain::poot::ScoreState::Valid, score_hundredths: 9_875, confidence_hundredths: 85 };
        let old = (NodeIndex(5), 2_000u16, 2_880u16, Some(Currency::Usdt), Pico(77), score);
        let mut bytes = vec![1];
        bytes.extend(postcard::to_stdvec(&vec![old]).unwrap());
        let day = crate::storage::table::decode::<DayGroup>(&bytes).unwrap().0.remove(0);
        assert_eq!((day.node, day.proven, day.observed, day.currency()), (NodeIndex(5), 2_000, 2_880, Some(Currency::Usdt)));
        assert_eq!((day.accrued(Currency::Usdt).unwrap(), day.credits().unwrap(), day.multiplier), (Pico(77), Pico::ZERO, None));
        assert_eq!(day.mean_score().map(|mean| mean.to_string()).as_deref(), Some("98.75"));
    }
}
