//! What each month moved for each node, kept beside the postings: written in the transaction of the posting, so that a statement is read and not added up.
//! Balances at the end of a month are those of today without what the months since have moved.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::tables::{BALANCES, MONTHLY};
use super::{ledger, payouts};
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Book, Cause, Posting};
use crate::domain::money::{Overflow, Units};
use crate::domain::payout::Payout;
use crate::domain::statement::{Month, Statement, Totals, movements};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// What a payout has cost the operator in network fees.
pub fn fees_sun(payout: &Payout) -> u64 {
    payout.fees_sun()
}

/// The fees of the payout that this posting ends.
pub(super) fn fees_of(read: &impl Read, posting: &Posting) -> Result<u64, Fault> {
    match &posting.entry.cause {
        Cause::Paid { payout } | Cause::Release { payout } => Ok(payouts::by_id(read, payout)?.as_ref().map_or(0, fees_sun)),
        _ => Ok(0),
    }
}

pub(super) fn key(book: Book, month: Month, node: NodeIndex) -> [u8; 10] {
    let ([a, b], [c, d, e, f], [g, h, i, j]) = (book.key(), month.0.to_be_bytes(), node.0.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j]
}

pub(super) fn split(key: [u8; 10]) -> Option<(Book, Month, NodeIndex)> {
    let [a, b, c, d, e, f, g, h, i, j] = key;
    Some((Book::from_key([a, b])?, Month(u32::from_be_bytes([c, d, e, f])), NodeIndex(u32::from_be_bytes([g, h, i, j]))))
}

fn overflow(why: Overflow) -> Fault {
    Fault::Invariant(why.to_string())
}

/// Counts a posting; in its transaction. The payout that it ends must be stored as it ended, for its fees.
pub(super) fn add(tx: &mut WriteTx<'_>, posting: &Posting) -> Result<(), TxError> {
    let fees = fees_of(tx, posting)?;
    let (month, of_nodes) = movements(posting, fees)?;
    of_nodes.into_iter().try_for_each(|(node, totals)| add_totals(tx, posting.entry.book, month, node, &totals))
}

/// Notes what the pool kept of its price; see `Totals::withheld`.
pub fn withhold(tx: &mut WriteTx<'_>, book: Book, month: Month, node: NodeIndex, withheld: i128) -> Result<(), TxError> {
    add_totals(tx, book, month, node, &Totals { withheld, ..Totals::default() })
}

fn add_totals(tx: &mut WriteTx<'_>, book: Book, month: Month, node: NodeIndex, more: &Totals) -> Result<(), TxError> {
    let key = key(book, month, node);
    let mut totals = tx.get(MONTHLY, &key)?.unwrap_or_default();
    totals.add(more)?;
    tx.put(MONTHLY, &key, &totals)
}

/// The statements of one month of every node that has one, by node: those that were owed something or moved something.
pub fn of_month(read: &impl Read, book: Book, month: Month) -> Result<Vec<Statement>, Fault> {
    let mut ends = balances(read, book)?;
    let mut totals: BTreeMap<NodeIndex, Totals> = BTreeMap::new();
    let mut failed = None;
    read.for_each(MONTHLY, key(book, month, NodeIndex(0))..=key(book, Month(u32::MAX), NodeIndex(u32::MAX)), |row, of_row| {
        let Some((_, of, node)) = split(row) else { return ControlFlow::Continue(()) };
        if of == month {
            ends.entry(node).or_default();
            totals.insert(node, of_row);
        } else if let Err(why) = undo(ends.entry(node).or_default(), &of_row) {
            failed = Some(why);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if let Some(why) = failed {
        return Err(overflow(why));
    }
    let statement = |(node, end)| Statement::ending(node, book, month, end, totals.remove(&node).unwrap_or_default());
    let statements = ends.into_iter().map(statement).collect::<Result<Vec<_>, _>>().map_err(overflow)?;
    Ok(statements.into_iter().filter(|statement| !statement.is_empty()).collect())
}

/// The statements of one node for the months from `newest` back to `oldest`, newest first, one for each month.
pub fn of_node(read: &impl Read, book: Book, node: NodeIndex, oldest: Month, newest: Month) -> Result<Vec<Statement>, Fault> {
    let account = |account| ledger::balance(read, book, account);
    let mut end = (account(Account::NodePayable(node))?, account(Account::NodeReserved(node))?);
    let mut statements = Vec::new();
    for month in (oldest.0..=newest.0).rev().map(Month) {
        let totals = read.get(MONTHLY, &key(book, month, node))?.unwrap_or_default();
        let before = {
            let mut before = end;
            undo(&mut before, &totals).map_err(overflow)?;
            before
        };
        statements.push(Statement::ending(node, book, month, end, totals).map_err(overflow)?);
        end = before;
    }
    Ok(statements)
}

/// What every node ever earned by its work, by book.
pub fn earned(read: &impl Read) -> Result<BTreeMap<(Book, NodeIndex), Units>, Fault> {
    let (mut all, mut wrong): (BTreeMap<(Book, NodeIndex), Units>, _) = (BTreeMap::new(), None);
    read.for_each(MONTHLY, .., |row, totals| {
        let Some((book, _, node)) = split(row) else { return ControlFlow::Continue(()) };
        let sum = all.entry((book, node)).or_default();
        match sum.plus(totals.earned) {
            Ok(more) => *sum = more,
            Err(why) => wrong = Some(why),
        }
        ControlFlow::Continue(())
    })?;
    wrong.map_or(Ok(all), |why| Err(overflow(why)))
}

/// Payable and reserved as they were before what `totals` say happened.
fn undo((payable, reserved): &mut (Units, Units), totals: &Totals) -> Result<(), Overflow> {
    *payable = payable.minus(totals.payable_change()?)?;
    *reserved = reserved.minus(totals.reserved_change()?)?;
    Ok(())
}

fn balances(read: &impl Read, book: Book) -> Result<BTreeMap<NodeIndex, (Units, Units)>, Fault> {
    let mut found: BTreeMap<NodeIndex, (Units, Units)> = BTreeMap::new();
    let node = |index| ledger::key(book, Account::NodePayable(index));
    let reserved = |index| ledger::key(book, Account::NodeReserved(index));
    for (first, last) in [(node(NodeIndex(0)), node(NodeIndex(u32::MAX))), (reserved(NodeIndex(0)), reserved(NodeIndex(u32::MAX)))] {
        read.for_each(BALANCES, first..=last, |row, balance| {
            match ledger::split(row) {
                Some((_, Account::NodePayable(node))) => found.entry(node).or_default().0 = balance.units,
                Some((_, Account::NodeReserved(node))) => found.entry(node).or_default().1 = balance.units,
                _ => (),
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(found)
}

/// What all months together moved for each node must be its balances: cheap to see, wherever a check of the postings begins.
pub(super) fn differ_from_balances(read: &impl Read) -> Result<Option<String>, Fault> {
    let mut sums: BTreeMap<(Book, NodeIndex), Totals> = BTreeMap::new();
    let mut wrong = None;
    read.for_each(MONTHLY, .., |row, totals| {
        let added = split(row).ok_or(Overflow).and_then(|(book, _, node)| sums.entry((book, node)).or_default().add(&totals));
        if added.is_err() {
            wrong = Some("a monthly total is out of range".to_owned());
        }
        if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if wrong.is_some() {
        return Ok(wrong);
    }
    let mut stored = BTreeMap::new();
    let mut nodes: BTreeSet<(Book, NodeIndex)> = sums.keys().copied().collect();
    for (book, account, units) in ledger::balances(read)? {
        if let Some(node) = account.node() {
            nodes.insert((book, node));
            stored.insert((book, account), units);
        }
    }
    for (book, node) in nodes {
        let totals = sums.remove(&(book, node)).unwrap_or_default();
        let of = |account| stored.get(&(book, account)).copied().unwrap_or_default();
        let same = totals.payable_change() == Ok(of(Account::NodePayable(node)))
            && totals.reserved_change() == Ok(of(Account::NodeReserved(node)))
            && totals.paid_change() == Ok(of(Account::NodePaid(node)))
            && totals.forfeited == of(Account::Forfeited(node));
        if !same {
            return Ok(Some(format!("the months of node {} in the {book} book are not its balances", node.0)));
        }
    }
    Ok(None)
}

/// The month of the last posting: not later than today, but for a clock that was set back.
pub fn newest(read: &impl Read) -> Result<Option<Month>, Fault> {
    Ok(read.last(super::tables::POSTINGS)?.map(|(_, posting)| Month::of(posting.at)))
}
