//! What admins enter into the ledger: corrections of one node's balance, and amounts that a pool's members are given.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::tables::POSTINGS;
use super::{audit, ledger, node_events, nodes, pools};
use crate::domain::audit::Act;
use crate::domain::ids::{NodeId, NodeIndex, PoolId, PoolIndex, UserId};
use crate::domain::ledger::{Account, Book, Broken, Cause, Entry, Posting, Settlement, Split};
use crate::domain::money::{Amount, Currency, Units};
use crate::domain::node::Eligible;
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::Refusal;
use crate::domain::reward;
use crate::domain::time::{Slot, Timestamp};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Most that one entry may say, in whole coins: a slip of the hand is no fortune, and no balance leaves its range.
pub const MAX_COINS: i64 = 1_000_000;

fn built(entry: Result<Entry, Broken>) -> Result<Entry, TxError> {
    Ok(entry.map_err(|why| Fault::Invariant(why.to_string()))?)
}

/// Why an admin enters something, and who.
#[derive(Debug, Clone)]
pub struct Order {
    pub by: UserId,
    pub reason: String,
}

/// Corrects what a node is owed, in one book. Refused where that would leave less than nothing.
pub fn adjust(tx: &mut WriteTx<'_>, act: &Act, order: &Order, node: &NodeId, book: Book, amount: Units) -> Result<Posting, TxError> {
    let node = nodes::require(tx, node)?;
    let free = ledger::balance(tx, book, Account::NodePayable(node.index))?;
    if amount < Units::ZERO && free.plus(amount)? < Units::ZERO {
        let free = Amount { currency: book.currency, units: free };
        return Err(Refusal::Rule("AdjustmentTooLarge", format!("takes more than the free balance of {free}")).into());
    }
    let entry = built(Entry::adjustment(book, node.index, amount, order.reason.clone(), order.by.clone()))?;
    ledger::post(tx, entry, act.now)?;
    let told = format!("{} ({})", Amount { currency: book.currency, units: amount }, book.settlement);
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::Adjusted, Some(told.clone())))?;
    audit::append(tx, act.draft("ledger.adjust", node.id.as_str()).because(told).detailed(order.reason.clone()))?;
    Ok(tx.last(POSTINGS)?.map(|(_, posting)| posting).ok_or_else(|| Fault::Invariant("what was posted is not there".into()))?)
}

/// What a pool paid for the work of each node that was posted of [from, to), in units. By the end of each posting's range, so by the day.
pub fn credits(
    read: &impl Read,
    pool: PoolIndex,
    currency: Currency,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<NodeIndex, u64>, TxError> {
    let kept_since = ledger::kept_since(read)?;
    if kept_since.is_some_and(|since| from < since) {
        return Err(archived_postings(kept_since));
    }
    let mut weights: BTreeMap<NodeIndex, u64> = BTreeMap::new();
    read.for_each_back(POSTINGS, ledger::archived(read)? + 1.., |_, posting| {
        // Work is posted after it was done.
        if posting.at < from {
            return ControlFlow::Break(());
        }
        // Both settlements have the same.
        let is_of_book = posting.entry.book == Book { settlement: Settlement::Simulated, currency };
        if let Cause::Accrual { node, through, .. } = posting.entry.cause
            && is_of_book
            && (from..to).contains(&through.first_slot().start())
        {
            let paid = posting
                .entry
                .lines
                .iter()
                .filter(|line| line.account == Account::PoolExpense(pool))
                .map(|line| line.amount.0.unsigned_abs());
            let weight = weights.entry(node).or_default();
            *weight = weight.saturating_add(paid.sum());
        }
        ControlFlow::Continue(())
    })?;
    Ok(weights)
}

/// What is asked for reaches back to postings that are in archives.
pub(super) fn archived_postings(kept_since: Option<Timestamp>) -> TxError {
    let since = kept_since.map_or_else(String::new, Timestamp::rfc3339);
    Refusal::Rule("LedgerArchived", format!("postings of before {since} are in archives: no earlier time can be asked for")).into()
}

/// A reward as an admin asked for it.
#[derive(Debug, Clone)]
pub struct Reward {
    pub pool: PoolId,
    pub currency: Currency,
    /// > 0.
    pub amount: Units,
    pub split: Split,
    /// By node; where it is split by credits.
    pub credits: BTreeMap<NodeIndex, u64>,
}

/// Who would get how much: those members that are in service in `slot`.
pub fn parts(read: &impl Read, reward: &Reward, slot: Slot) -> Result<(PoolIndex, Vec<(NodeIndex, Units)>), TxError> {
    let pool = pools::by_id(read, &reward.pool)?.ok_or(Refusal::PoolNotFound)?.index;
    let mut weights = Vec::new();
    for node in nodes::all(read)? {
        if node.pool_now() == Some(pool) && node.eligible_in(slot) == Eligible::InService {
            let weight = match reward.split {
                Split::Equal => 1,
                Split::Credits { .. } => reward.credits.get(&node.index).copied().unwrap_or_default(),
            };
            weights.push((node.index, weight));
        }
    }
    if weights.is_empty() {
        return Err(Refusal::Rule("NoMembers", "the pool has no member in service".into()).into());
    }
    let parts = reward::split(reward.amount, &weights);
    if parts.is_empty() {
        return Err(Refusal::Rule("NoCredits", "no member has credits of the pool in that time".into()).into());
    }
    Ok((pool, parts))
}

/// Gives an amount to a pool's members, in the live book and in the simulated one: the dry run shows what is owed when payouts go live, and a reward is owed as work is.
pub fn give(tx: &mut WriteTx<'_>, act: &Act, order: &Order, reward: &Reward) -> Result<Vec<(NodeIndex, Units)>, TxError> {
    let (pool, parts) = parts(tx, reward, act.now.wall.slot())?;
    for settlement in [Settlement::Live, Settlement::Simulated] {
        let book = Book { settlement, currency: reward.currency };
        let entry = Entry::reward(book, pool, &parts, reward.split, order.reason.clone(), order.by.clone());
        ledger::post(tx, built(entry)?, act.now)?;
    }
    for (node, units) in &parts {
        let told = Amount { currency: reward.currency, units: *units }.to_string();
        node_events::append(tx, *node, NodeEvent::by(act, Kind::Rewarded, Some(told)))?;
    }
    let told = format!("{} to {} members", Amount { currency: reward.currency, units: reward.amount }, parts.len());
    audit::append(tx, act.draft("ledger.reward", reward.pool.as_str()).because(told).detailed(order.reason.clone()))?;
    Ok(parts)
}
