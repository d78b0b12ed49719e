//! Nodes that leave, and what becomes of money that is owed to them: paid by the payout cycle, or given up with an audit entry. A node is deleted in the
//! transaction in which its last balance goes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::FINAL_PAYOUTS;
use super::{alerts, audit, ledger, maintenance, node_events, nodes, payouts};
use crate::domain::alert::Severity;
use crate::domain::audit::Act;
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::final_payout::{ALERT, FinalPayout, Hold, Stage};
use crate::domain::ids::{NodeId, NodeIndex, UserId};
use crate::domain::ledger::{Account, Book, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node::{Eligible, Node};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::payout::Source;
use crate::domain::refusal::Refusal;
use crate::domain::registration::change_from_next_slot;
use crate::domain::time::Timestamp;
use crate::storage::accruals;
use crate::storage::directory::Directory;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Every book that a node can have a balance in.
pub fn books() -> impl Iterator<Item = Book> {
    let currencies = [Currency::Usdt, Currency::Lucid];
    let of = move |settlement| currencies.map(move |currency| Book { settlement, currency });
    [Settlement::Live, Settlement::Simulated].into_iter().flat_map(of)
}

pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Option<FinalPayout>, Fault> {
    read.get(FINAL_PAYOUTS, &node.0)
}

/// Every node that leaves.
pub fn all(read: &impl Read) -> Result<Vec<(NodeIndex, FinalPayout)>, Fault> {
    let mut rows = Vec::new();
    read.for_each(FINAL_PAYOUTS, .., |node, row| {
        rows.push((NodeIndex(node), row));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// Takes the node out of service with the present slot; the payout cycle does the rest. Asked for again, it tries again what had failed.
pub fn request(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, by: &UserId) -> Result<Node, TxError> {
    let before = nodes::require(tx, id)?;
    if let Some(row) = of_node(tx, before.index)? {
        if row.stage == Stage::Held(Hold::Failed) {
            put(tx, &before, &FinalPayout { stage: Stage::Paying, payout: None, ..row }, act)?;
            audit::append(tx, act.draft("node.final_payout.request", id.as_str()).because("again"))?;
        }
        return Ok(before);
    }
    if !act.now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let mut node = before.clone();
    let next = act.now.wall.slot().plus(1);
    maintenance::call_off_all(tx, act, &mut node)?;
    if node.eligible_in(next) != Eligible::Suspended {
        change_from_next_slot(&mut node.eligible, Eligible::Draining, node.enrolled_from.is_some(), act.now)?;
    }
    nodes::replace(tx, directory, act, &before, &mut node)?;
    let row = FinalPayout { requested_at: act.now.wall, by: by.clone(), from: next, stage: Stage::Closing, payout: None };
    tx.put(FINAL_PAYOUTS, &node.index.0, &row)?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::FinalPayout, Some("requested".into())))?;
    audit::append(tx, act.draft("node.final_payout.request", id.as_str()))?;
    Ok(node)
}

/// The node stays, and is in service again. A payout that is under way goes on.
pub fn cancel(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId) -> Result<Node, TxError> {
    let before = nodes::require(tx, id)?;
    of_node(tx, before.index)?.ok_or(Refusal::FinalPayoutNotFound)?;
    let mut node = before.clone();
    if node.eligible_in(act.now.wall.slot().plus(1)) == Eligible::Draining {
        change_from_next_slot(&mut node.eligible, Eligible::InService, node.enrolled_from.is_some(), act.now)?;
    }
    nodes::replace(tx, directory, act, &before, &mut node)?;
    forget(tx, &node, act.now.wall)?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::FinalPayout, Some("cancelled".into())))?;
    audit::append(tx, act.draft("node.final_payout.cancel", id.as_str()))?;
    Ok(node)
}

/// Writes how far the request `of` has come; people are told what holds it. It may have been cancelled meanwhile: then there is nothing to write. Asked for
/// again since, it is another one, with another last epoch.
pub fn advance(tx: &mut WriteTx<'_>, act: &Act, node: NodeIndex, of: &FinalPayout, stage: Stage) -> Result<(), TxError> {
    let (Some(row), Some(node)) = (of_node(tx, node)?, nodes::by_index(tx, node)?) else { return Ok(()) };
    if (row.from, row.stage) != (of.from, of.stage) {
        return Ok(());
    }
    put(tx, &node, &FinalPayout { stage, ..row }, act)
}

/// A payout is planned for it, in this transaction.
pub fn planned(tx: &mut WriteTx<'_>, act: &Act, node: &Node, payout: u64) -> Result<(), TxError> {
    let Some(row) = of_node(tx, node.index)? else { return Ok(()) };
    put(tx, node, &FinalPayout { stage: Stage::Paying, payout: Some(payout), ..row }, act)
}

fn put(tx: &mut WriteTx<'_>, node: &Node, row: &FinalPayout, act: &Act) -> Result<(), TxError> {
    let before = tx.get(FINAL_PAYOUTS, &node.index.0)?;
    tx.put(FINAL_PAYOUTS, &node.index.0, row)?;
    if before.is_some_and(|before| before.stage == row.stage) {
        return Ok(());
    }
    alerts::resolve(tx, ALERT, node.id.as_str(), act.now.wall)?;
    if let Stage::Held(hold) = row.stage {
        let message = format!("{} leaves, and its final payout is held: {hold}", node.name);
        alerts::raise(tx, ALERT, node.id.as_str(), Severity::Warning, &message, act.now.wall)?;
        node_events::append(tx, node.index, NodeEvent::by(act, Kind::FinalPayout, Some(format!("held: {hold}"))))?;
        audit::append(tx, act.draft("node.final_payout.hold", node.id.as_str()).because(hold.name()))?;
    }
    Ok(())
}

pub(super) fn forget(tx: &mut WriteTx<'_>, node: &Node, at: Timestamp) -> Result<(), TxError> {
    tx.delete(FINAL_PAYOUTS, &node.index.0)?;
    alerts::resolve(tx, ALERT, node.id.as_str(), at).map(drop)
}

/// Each is of a node that is there and out of service, its payout of that node, and no other node drains; the number of requests, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let rows = all(read)?;
    for (index, row) in &rows {
        let Some(node) = nodes::by_index(read, *index)? else {
            return Ok(Err(format!("node {} leaves and is not there", index.0)));
        };
        if !matches!(node.eligible.latest(), Eligible::Draining | Eligible::Suspended) {
            return Ok(Err(format!("{} leaves and is in service", node.id)));
        }
        let payout = row.payout.map(|seq| payouts::by_seq(read, seq)).transpose()?;
        let fits =
            payout.is_none_or(|payout| payout.is_some_and(|payout| payout.node == *index && matches!(payout.source, Source::Final { .. })));
        if !fits {
            return Ok(Err(format!("{} leaves with a payout that is not its last one", node.id)));
        }
    }
    let leave: BTreeSet<u32> = rows.iter().map(|(index, _)| index.0).collect();
    let lost = nodes::all(read)?.into_iter().find(|node| *node.eligible.latest() == Eligible::Draining && !leave.contains(&node.index.0));
    Ok(lost.map_or(Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX)), |node| Err(format!("{} leaves, and nobody asked for that", node.id))))
}

/// What a node gives up: why, by whose word, and what of it was not posted when that was asked.
#[derive(Debug, Clone)]
pub struct Forfeit {
    pub reason: String,
    pub by: UserId,
    /// Leaves of the node after its last posting and through `through`, which must be the newest epoch.
    pub leaves: Vec<(Epoch, Leaf)>,
    pub through: Epoch,
    /// Slots proven in epochs that are not closed.
    pub open_slots: u32,
}

/// Deletes a node and gives up what is owed to it, in both books. A payout that has not ended must end first.
pub fn forfeit(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, forfeit: &Forfeit) -> Result<Node, TxError> {
    let node = nodes::require(tx, id)?;
    for book in books() {
        if payouts::unresolved(tx, node.index, book)?.is_some() {
            return Err(Refusal::PayoutUnresolved.into());
        }
    }
    accruals::post(tx, node.index, forfeit.through, &forfeit.leaves, act.now)?;
    let mut given_up = give_up(tx, act, &node, books(), &forfeit.reason, &forfeit.by)?;
    let held = forfeit.leaves.iter().filter(|(epoch, _)| ledger::accrued(tx, node.index).is_ok_and(|accrued| *epoch > accrued.through));
    let (held, open_slots) = (held.count(), forfeit.open_slots);
    if held > 0 {
        given_up.push(format!("what {held} undecided epochs hold"));
    }
    if open_slots > 0 {
        given_up.push(format!("{open_slots} proven slots of epochs that are not closed"));
    }
    audit::append(tx, act.draft("node.forfeit", id.as_str()).because(given_up.join(", ")).detailed(forfeit.reason.clone()))?;
    nodes::delete(tx, directory, act, id, false)
}

/// Deletes a node that leaves, once nothing is owed to it in `paying`'s books or in the live ones. What a dry run's book still says is given up: it is no
/// money. False when it stays.
pub fn finish(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, index: NodeIndex) -> Result<bool, TxError> {
    let (Some(row), Some(node)) = (of_node(tx, index)?, nodes::by_index(tx, index)?) else { return Ok(false) };
    // Cancelled and asked for again since somebody looked: what it earned last is not posted.
    if row.stage == Stage::Closing {
        return Ok(false);
    }
    for book in books() {
        let is_open = payouts::unresolved(tx, index, book)?.is_some();
        if is_open || (book.settlement == Settlement::Live && payable(tx, book, index)? != Units::ZERO) {
            return Ok(false);
        }
    }
    let simulated = books().filter(|book| book.settlement == Settlement::Simulated);
    let given_up = give_up(tx, act, &node, simulated, "the dry run's book of a node that left", &row.by)?;
    let draft = act.draft("node.final_payout.done", node.id.as_str());
    let draft = if given_up.is_empty() { draft } else { draft.because(format!("given up: {}", given_up.join(", "))) };
    audit::append(tx, draft)?;
    nodes::delete(tx, directory, act, &node.id, false)?;
    Ok(true)
}

pub fn payable(read: &impl Read, book: Book, node: NodeIndex) -> Result<Units, Fault> {
    ledger::balance(read, book, Account::NodePayable(node))
}

fn give_up(
    tx: &mut WriteTx<'_>,
    act: &Act,
    node: &Node,
    books: impl Iterator<Item = Book>,
    reason: &str,
    by: &UserId,
) -> Result<Vec<String>, TxError> {
    let mut given_up = Vec::new();
    for book in books {
        let owed = payable(tx, book, node.index)?;
        if owed != Units::ZERO {
            // Below zero it was paid in advance, and will never pay that back.
            let entry = if owed > Units::ZERO {
                Entry::forfeiture(book, node.index, owed, reason.to_owned(), by.clone())
            } else {
                owed.negated().map_err(Into::into).and_then(|lost| Entry::adjustment(book, node.index, lost, reason.to_owned(), by.clone()))
            };
            ledger::post(tx, entry.map_err(|why| Fault::Invariant(why.to_string()))?, act.now)?;
            given_up.push(format!("{} {book}", owed.to_decimal(book.currency)));
        }
    }
    Ok(given_up)
}

/// Fractions of a unit can never be posted: what a node that is deleted loses by that, for the audit log.
pub(super) fn below_a_unit(read: &impl Read, node: NodeIndex) -> Result<Option<String>, Fault> {
    let mut lost = Vec::new();
    for (currency, rest) in ledger::accrued(read, node)?.remainders {
        let rest = rest.to_decimal(currency).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
        lost.push(format!("{rest} {currency}"));
    }
    Ok((!lost.is_empty()).then(|| format!("below one unit, given up: {}", lost.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, new_node, node_id};
    use super::*;

    #[test]
    fn a_request_that_took_the_place_of_another_is_not_carried_on_with_the_steps_of_that() {
        let f = Fixture::new();
        let by = UserId::parse("user_00000001").unwrap();
        f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("one", None), 10)).unwrap();
        let row = || of_node(&f.store.read().unwrap(), NodeIndex(0)).unwrap();
        let ask = |later: i64| {
            let by = by.clone();
            let act = Act::system(super::super::testing::at(later));
            f.write(move |tx, d| request(tx, d, &act, &node_id(1), &by)).unwrap();
            row().unwrap()
        };
        let first = ask(0);
        f.write(|tx, d| cancel(tx, d, &act(), &node_id(1))).unwrap();
        let second = ask(60);
        assert_eq!((second.stage, second.from), (Stage::Closing, first.from.plus(2)));
        // What the cycle saw before is not what is there.
        let seen = first.clone();
        f.write(move |tx, _| advance(tx, &act(), NodeIndex(0), &seen, Stage::Paying)).unwrap();
        assert_eq!(row().as_ref(), Some(&second));
        assert!(!f.write(|tx, d| finish(tx, d, &act(), NodeIndex(0))).unwrap(), "its last epoch is not posted");
        let seen = second.clone();
        f.write(move |tx, _| advance(tx, &act(), NodeIndex(0), &seen, Stage::Paying)).unwrap();
        assert!(f.write(|tx, d| finish(tx, d, &act(), NodeIndex(0))).unwrap());
    }
}
