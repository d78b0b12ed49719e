//! What holds for all payouts: the state of the manager's money, its wallets, what left them unknown, approvals, and whom the cycle leaves out.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::payouts::book_number;
use super::tables::{ABSENCES, APPROVALS, Index64, MONEY, SIGNED, SKIPPED, UNKNOWN_TRANSFERS, WALLETS};
use super::{audit, ledger, nodes, payouts};
use crate::domain::audit::Draft;
use crate::domain::guard::{DAY_MS, Spending, Spent};
use crate::domain::ids::{NodeIndex, UserId};
use crate::domain::ledger::{Account, Book};
use crate::domain::money::Units;
use crate::domain::money_state::MoneyState;
use crate::domain::node::{Node, NodeType};
use crate::domain::paying::Payer;
use crate::domain::payout::{Attempt, Payout, Pin, Skip};
use crate::domain::time::Timestamp;
use crate::domain::wallet::{Absence, UnknownTransfer, WalletRow};
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

const ROW: &str = "money";
/// Rows of what was signed that are forgotten with one signature.
const MAX_FORGOTTEN: usize = 100;
/// Approvals that are kept; the oldest go first.
const MAX_APPROVALS: usize = 1_000;

/// Somebody agreed to exactly these payouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Sequences, ascending.
    pub payouts: Vec<u64>,
    pub by: UserId,
    pub at: Timestamp,
}

/// Why the automatic cycle leaves a node out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub why: Skip,
    pub since: Timestamp,
}

pub fn state(read: &impl Read) -> Result<MoneyState, Fault> {
    Ok(read.get(MONEY, &ROW.to_owned())?.unwrap_or_default())
}

/// Changes the state with an entry in the audit log; nothing is written where nothing changes.
pub fn change(
    tx: &mut WriteTx<'_>,
    draft: Draft,
    to: impl FnOnce(&MoneyState) -> Result<MoneyState, TxError>,
) -> Result<MoneyState, TxError> {
    let before = state(tx)?;
    let after = to(&before)?;
    if after != before {
        tx.put(MONEY, &ROW.to_owned(), &after)?;
        audit::append(tx, draft)?;
    }
    Ok(after)
}

fn wallet_key(pin: &Pin) -> String {
    format!("{}/{}/{}", pin.network, pin.contract, pin.wallet)
}

/// None: nothing was ever reconciled or signed for this wallet here.
pub fn wallet(read: &impl Read, pin: &Pin) -> Result<Option<WalletRow>, Fault> {
    read.get(WALLETS, &wallet_key(pin))
}

/// Every wallet that was ever compared or signed for here. Their pins name no gateway.
pub fn wallets(read: &impl Read) -> Result<Vec<(Pin, WalletRow)>, Fault> {
    let mut rows = Vec::new();
    read.for_each(WALLETS, .., |key, row| {
        let mut parts = key.split('/').map(str::to_owned);
        if let (Some(network), Some(contract), Some(wallet)) = (parts.next(), parts.next(), parts.next()) {
            rows.push((Pin { gateway: String::new(), network, wallet, contract }, row));
        }
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

pub fn put_wallet(tx: &mut WriteTx<'_>, pin: &Pin, row: &WalletRow) -> Result<(), TxError> {
    tx.put(WALLETS, &wallet_key(pin), row)
}

/// Raises the timestamp through which every transfer of this wallet is known.
pub fn note_timestamp(tx: &mut WriteTx<'_>, attempt: &Attempt) -> Result<(), TxError> {
    if attempt.prepared.timestamp_ms == 0 {
        return Ok(());
    }
    let pin = &attempt.prepared.pin;
    let row = wallet(tx, pin)?.unwrap_or_default();
    let last_timestamp_ms = row.last_timestamp_ms.max(attempt.prepared.timestamp_ms);
    put_wallet(tx, pin, &WalletRow { last_timestamp_ms, ..row })
}

/// While this store may be an older copy.
pub fn absence(read: &impl Read) -> Result<Option<Absence>, Fault> {
    read.get(ABSENCES, &ROW.to_owned())
}

/// The store was not written for a while after `written_until`, or nobody knows: where there is a wallet, it may be an older copy. One that is noted stays the older one,
/// and is looked at anew.
pub fn note_absence(tx: &mut WriteTx<'_>, written_until: Timestamp) -> Result<(), TxError> {
    if wallets(tx)?.is_empty() {
        return Ok(());
    }
    let noted = absence(tx)?.map_or(written_until, |noted| noted.written_until.min(written_until));
    put_absence(tx, Absence { written_until: noted, looked_at: None })
}

pub fn put_absence(tx: &mut WriteTx<'_>, absence: Absence) -> Result<(), TxError> {
    tx.put(ABSENCES, &ROW.to_owned(), &absence)
}

pub fn end_absence(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    tx.delete(ABSENCES, &ROW.to_owned()).map(drop)
}

pub fn unknown(read: &impl Read, txid: &str) -> Result<Option<UnknownTransfer>, Fault> {
    read.get(UNKNOWN_TRANSFERS, &txid.to_owned())
}

pub fn put_unknown(tx: &mut WriteTx<'_>, transfer: &UnknownTransfer) -> Result<(), TxError> {
    tx.put(UNKNOWN_TRANSFERS, &transfer.transfer.txid, transfer)
}

/// Whether somebody has booked it as one that nothing here planned: it has its entry in the ledger.
pub fn is_booked(read: &impl Read, txid: &str) -> Result<bool, Fault> {
    Ok(unknown(read, txid)?.is_some_and(|row| row.booked_at.is_some()))
}

/// Forgets one that was a mistake, or is explained now, and that nobody has booked.
pub fn withdraw_unknown(tx: &mut WriteTx<'_>, txid: &str) -> Result<(), TxError> {
    if !is_booked(tx, txid)? {
        tx.delete(UNKNOWN_TRANSFERS, &txid.to_owned())?;
    }
    Ok(())
}

/// Oldest first, at most `limit`; those that wait to be booked alone, or all.
pub fn unknown_transfers(read: &impl Read, waiting_only: bool, limit: usize) -> Result<Vec<UnknownTransfer>, Fault> {
    let mut rows = Vec::new();
    read.for_each(UNKNOWN_TRANSFERS, .., |_, row| {
        if !waiting_only || row.booked_at.is_none() {
            rows.push(row);
        }
        ControlFlow::Continue(())
    })?;
    rows.sort_by_key(|row| (row.transfer.block, row.transfer.txid.clone()));
    rows.truncate(limit);
    Ok(rows)
}

/// What nobody has booked of the networks that `payer` pays over: it may be what is to be paid next. Oldest first.
pub fn unbooked(read: &impl Read, payer: &Payer) -> Result<Vec<UnknownTransfer>, Fault> {
    let mut rows = unknown_transfers(read, true, usize::MAX)?;
    rows.retain(|row| payer.pays_over(&row.pin.network));
    Ok(rows)
}

/// What is promised to payouts that have not ended.
pub fn reserved(read: &impl Read, book: Book) -> Result<Units, Fault> {
    let mut sum = Units::ZERO;
    for (_, account, units) in ledger::balances(read)?.into_iter().filter(|(of, ..)| *of == book) {
        if matches!(account, Account::NodeReserved(_)) {
            sum = sum.plus(units).map_err(|e| Fault::Invariant(e.to_string()))?;
        }
    }
    Ok(sum)
}

/// The nodes whose payout address this is, first those that have it now, then those whose payouts went there: several may share one.
pub fn nodes_of_address(read: &impl Read, secrets: &Secrets, text: &str) -> Result<Vec<Node>, Fault> {
    let (mut found, mut paid) = (Vec::new(), BTreeSet::new());
    payouts::for_each(read, |payout| {
        if payout.address.as_str() == text {
            paid.insert(payout.node);
        }
    })?;
    for node in nodes::all(read)? {
        if payouts::address(read, secrets, node.index)?.is_some_and(|record| record.address.as_str() == text) {
            paid.remove(&node.index);
            found.push(node);
        }
    }
    for index in paid {
        found.extend(nodes::by_index(read, index)?);
    }
    Ok(found)
}

pub fn approval(read: &impl Read, digest: &[u8; 32]) -> Result<Option<Approval>, Fault> {
    read.get(APPROVALS, digest)
}

/// Every approval with its digest.
pub fn approvals(read: &impl Read) -> Result<Vec<([u8; 32], Approval)>, Fault> {
    read.scan(APPROVALS, .., MAX_APPROVALS)
}

pub fn approve(tx: &mut WriteTx<'_>, digest: [u8; 32], approval: &Approval, draft: Draft) -> Result<(), TxError> {
    let mut all = approvals(tx)?;
    all.sort_by_key(|(_, approval)| approval.at);
    let surplus = (all.len() + 1).saturating_sub(MAX_APPROVALS);
    for (old, _) in all.into_iter().take(surplus) {
        tx.delete(APPROVALS, &old)?;
    }
    tx.put(APPROVALS, &digest, approval)?;
    audit::append(tx, draft)
}

/// Notes why a node is left out; `None` when it is not any more. The reason's time stays while the reason does.
pub fn skip(tx: &mut WriteTx<'_>, node: NodeIndex, book: Book, why: Option<Skip>, now: Timestamp) -> Result<(), TxError> {
    let key = (node.0, book_number(book));
    let before = tx.get(SKIPPED, &key)?;
    match (before, why) {
        (Some(before), Some(why)) if before.why.is_same_reason(&why) => Ok(()),
        (_, Some(why)) => tx.put(SKIPPED, &key, &Skipped { why, since: now }),
        (Some(_), None) => tx.delete(SKIPPED, &key).map(drop),
        (None, None) => Ok(()),
    }
}

pub fn skipped(read: &impl Read, node: NodeIndex, book: Book) -> Result<Option<Skipped>, Fault> {
    read.get(SKIPPED, &(node.0, book_number(book)))
}

/// Notes that the last attempt was signed, for the sums of an hour and a day; forgets what no sum counts any more.
pub fn note_signed(tx: &mut WriteTx<'_>, payout: &Payout) -> Result<(), TxError> {
    let Some(attempt) = payout.attempts.last() else { return Ok(()) };
    note_timestamp(tx, attempt)?;
    tx.put(SIGNED, &signed_key(attempt.signed_at, payout.seq), &Index64(payout.seq))?;
    tx.delete_before(SIGNED, &signed_key(attempt.signed_at.plus_ms(-2 * DAY_MS), 0), MAX_FORGOTTEN)?;
    Ok(())
}

fn signed_key(at: Timestamp, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&at.0.max(0).to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// What was signed in the last 24 hours and may have been paid: an attempt that is proven dead, or failed, no longer counts.
pub fn spending(read: &impl Read, book: Book, now: Timestamp) -> Result<Spending, Fault> {
    let mut signed = Vec::new();
    read.for_each(SIGNED, signed_key(now.plus_ms(-DAY_MS), 0).., |_, Index64(seq)| {
        signed.push(seq);
        ControlFlow::Continue(())
    })?;
    signed.sort_unstable();
    signed.dedup();
    let mut sums = Spending::default();
    for seq in signed {
        let Some(payout) = payouts::by_seq(read, seq)?.filter(|payout| payout.book == book) else { continue };
        let Some(attempt) = payout.attempts.last().filter(|attempt| attempt.may_have_paid()) else { continue };
        let class = nodes::ever(read, payout.node)?.map_or(NodeType::Worker, |node| node.node_type);
        sums.add(Spent { at: attempt.signed_at, amount: payout.amount, class }, now);
    }
    Ok(sums)
}
