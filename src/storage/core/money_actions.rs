//! What people decide about all payouts, each in one transaction with its entry in the audit log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::ledger_entries::archived_postings;
use super::tables::POSTINGS;
use super::{audit, ledger, money, nodes, payouts, people, statements};
use crate::domain::audit::Act;
use crate::domain::guard;
use crate::domain::ids::{NodeId, NodeIndex, PayoutId, UserId};
use crate::domain::ledger::{Account, Book, Cause, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::{Freeze, FreezeKind, GoneLive, MoneyState, Stop, TrxRate};
use crate::domain::paying::Payer;
use crate::domain::payout::{Choice, Claim, Payout, PayoutError, Pin, ReviewKind, Statement};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::domain::wallet::{UNLISTED, WalletRow};
use crate::storage::Secrets;
use crate::storage::core::money::Approval;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

fn rule(name: &'static str, why: impl Into<String>) -> TxError {
    Refusal::Rule(name, why.into()).into()
}

/// Nothing is signed any more, until somebody has looked.
pub fn freeze(tx: &mut WriteTx<'_>, act: &Act, by: Option<UserId>, reason: &str) -> Result<MoneyState, TxError> {
    let fresh = Freeze { kind: FreezeKind::Person, reason: reason.to_owned(), since: act.now.wall, by };
    money::change(tx, act.draft("money.freeze", "").detailed(reason), |state| Ok(state.freeze(fresh)))
}

/// Signing goes on. Everything that left a wallet of the network that `payer` pays over is known and booked, and the books add up. `reconciled`: the enumeration was complete a moment
/// ago, or there is no wallet. What is unknown of another network freezes again once that one is paid over.
pub fn unfreeze(tx: &mut WriteTx<'_>, act: &Act, reason: &str, payer: &Payer, reconciled: bool) -> Result<MoneyState, TxError> {
    if money::state(tx)?.frozen.is_none() {
        return Err(rule("NotFrozen", "payouts are not frozen"));
    }
    if !reconciled {
        return Err(rule(
            "NotReconciled",
            "what left the wallet has not been enumerated completely since the start and within the hour; reconcile first",
        ));
    }
    let waiting = money::unbooked(tx, payer)?.len();
    if waiting > 0 {
        return Err(rule("TransfersNotBooked", format!("{waiting} transfers that nothing here planned are not booked yet")));
    }
    if let Some(why) = ledger::latched(tx)? {
        return Err(rule("LedgerBroken", format!("the books do not add up: {why}; check the ledger first")));
    }
    money::change(tx, act.draft("money.unfreeze", "").detailed(reason), |state| Ok(MoneyState { frozen: None, ..state.clone() }))
}

/// As a freeze, and nothing is sent again either.
pub fn stop(tx: &mut WriteTx<'_>, act: &Act, by: Option<UserId>, reason: &str) -> Result<MoneyState, TxError> {
    let fresh = Stop { reason: reason.to_owned(), since: act.now.wall, by };
    money::change(tx, act.draft("money.stop", "").detailed(reason), |state| {
        Ok(MoneyState { stopped: state.stopped.clone().or(Some(fresh)), ..state.clone() })
    })
}

pub fn resume(tx: &mut WriteTx<'_>, act: &Act, reason: &str) -> Result<MoneyState, TxError> {
    if money::state(tx)?.stopped.is_none() {
        return Err(rule("NotStopped", "payouts are not stopped"));
    }
    money::change(tx, act.draft("money.resume", "").detailed(reason), |state| Ok(MoneyState { stopped: None, ..state.clone() }))
}

/// What a TRX is worth, as an admin saw it now.
pub fn set_rate(tx: &mut WriteTx<'_>, act: &Act, usdt: Units) -> Result<MoneyState, TxError> {
    let draft = act.draft("money.trx_rate", "").because(format!("{} USDT", usdt.to_decimal(Currency::Usdt)));
    money::change(tx, draft, |state| Ok(MoneyState { trx_rate: Some(TrxRate { usdt, set_at: act.now.wall }), ..state.clone() }))
}

/// What is owed from before money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    Everything,
    /// What was earned in the time before is cancelled.
    From(Timestamp),
}

/// What `From` would cancel, by node: what postings of the live book hold of epochs that ended before, as far as it is still payable. A posting that reaches beyond that time counts as after it.
///
/// Postings that are in archives are counted by the months of their nodes: all there is, without what was earned since.
pub fn earned_before(read: &impl Read, from: Timestamp) -> Result<BTreeMap<(NodeIndex, Currency), Units>, TxError> {
    let kept_since = ledger::kept_since(read)?;
    if kept_since.is_some_and(|since| from < since) {
        return Err(archived_postings(kept_since));
    }
    let mut earned: BTreeMap<(NodeIndex, Currency), Units> = BTreeMap::new();
    let mut wrong = None;
    let (archived, is_whole) = (ledger::archived(read)?, kept_since.is_none());
    if !is_whole {
        for ((book, node), units) in statements::earned(read)? {
            if book.settlement == Settlement::Live {
                earned.insert((node, book.currency), units);
            }
        }
    }
    read.for_each(POSTINGS, archived + 1.., |_, posting| {
        let Cause::Accrual { node, through, .. } = posting.entry.cause else { return ControlFlow::Continue(()) };
        let is_before = through.first_slot().start() < from;
        if posting.entry.book.settlement == Settlement::Live && is_before == is_whole {
            let lines = posting.entry.lines.iter().filter(|line| line.account == Account::NodePayable(node));
            for line in lines {
                let sum = earned.entry((node, posting.entry.book.currency)).or_default();
                match if is_whole { sum.plus(line.amount) } else { sum.minus(line.amount) } {
                    Ok(more) => *sum = more,
                    Err(why) => wrong = Some(why),
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(why) = wrong {
        return Err(Fault::Invariant(why.to_string()).into());
    }
    let mut owed = BTreeMap::new();
    for ((node, currency), sum) in earned {
        let free = ledger::balance(read, Book { settlement: Settlement::Live, currency }, Account::NodePayable(node))?;
        let least = sum.min(free);
        if least > Units::ZERO {
            owed.insert((node, currency), least);
        }
    }
    Ok(owed)
}

/// From now on money moves out of this wallet. What leaves it has to be known here, also by an older copy of this store: where there is a wallet (`has_wallet`), it
/// was compared before. Every epoch that counts must be posted before.
pub fn go_live(tx: &mut WriteTx<'_>, act: &Act, by: UserId, pin: &Pin, owed: Owed, has_wallet: bool) -> Result<MoneyState, TxError> {
    let state = money::state(tx)?;
    if state.live.as_ref().is_some_and(|live| live.network == pin.network && live.wallet == pin.wallet) {
        return Err(rule("AlreadyLive", "this wallet has gone live before; correct what is owed by adjustments"));
    }
    if has_wallet && money::wallet(tx, pin)?.is_none_or(|row| row.through_block == 0) {
        return Err(rule(
            "WalletNotCompared",
            "the network was not asked yet what left this wallet; see why on the wallet page, or try again in a moment",
        ));
    }
    let owed_from = match owed {
        Owed::Everything => None,
        Owed::From(from) => {
            for ((node, currency), amount) in earned_before(tx, from)? {
                let entry = Entry::go_live(node, currency, amount, from, by.clone()).map_err(|why| Fault::Invariant(why.to_string()))?;
                ledger::post(tx, entry, act.now)?;
            }
            Some(from)
        }
    };
    let live = GoneLive { at: act.now.wall, by, network: pin.network.clone(), wallet: pin.wallet.clone(), owed_from };
    let remark = match owed_from {
        None => "everything accrued is owed".to_owned(),
        Some(from) => format!("what was earned from {from} on is owed"),
    };
    money::change(tx, act.draft("money.live", pin.wallet.clone()).because(remark), |state| {
        Ok(MoneyState { live: Some(live), ..state.clone() })
    })
}

/// Where an unknown transfer is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookTo {
    /// It was paid to this node in advance.
    Node(NodeId),
    Unexplained,
}

/// Books a transfer that nothing here planned, in the book of whoever pays now, which is over the same network. What went to a node's address was paid to that node.
pub fn book_transfer(tx: &mut WriteTx<'_>, act: &Act, secrets: &Secrets, payer: &Payer, txid: &str, to: &BookTo) -> Result<(), TxError> {
    let mut row = money::unknown(tx, txid)?.ok_or(Refusal::TransferNotFound)?;
    if row.booked_at.is_some() {
        return Err(rule("TransferBooked", "this transfer was booked before"));
    }
    if !payer.pays_over(&row.pin.network) {
        let why = "it left a wallet of another network than payouts go over by the present settings; book it when they are as they were";
        return Err(rule("OtherNetwork", why));
    }
    let node = match to {
        BookTo::Node(id) => Some(nodes::require(tx, id)?),
        BookTo::Unexplained => None,
    };
    let owners = money::nodes_of_address(tx, secrets, &row.transfer.to)?;
    let is_theirs = node.as_ref().is_some_and(|node| owners.iter().any(|owner| owner.index == node.index));
    if let Some(owner) = owners.first().filter(|_| !is_theirs) {
        let why = format!(
            "it went to the address of {}: book it to that node, and correct its balance by an adjustment if it was not for that",
            owner.id
        );
        return Err(rule("AddressOfNode", why));
    }
    let book = Book { settlement: payer.settlement, currency: Currency::Usdt };
    let index = node.as_ref().map(|node| node.index);
    let entry = Entry::unexplained_transfer(book, index, row.transfer.amount, txid.to_owned());
    ledger::post(tx, entry.map_err(|why| Fault::Invariant(why.to_string()))?, act.now)?;
    if txid.starts_with(UNLISTED) {
        // From now on the wallet is expected to hold so much less.
        let wallet = money::wallet(tx, &row.pin)?.unwrap_or_default();
        let floor = wallet.floor.minus(row.transfer.amount)?;
        money::put_wallet(tx, &row.pin, &WalletRow { floor, ..wallet })?;
    }
    row.booked_at = Some(act.now.wall);
    money::put_unknown(tx, &row)?;
    if let Some(index) = index {
        hold_back(tx, act, index, book)?;
    }
    let whose = node.map_or_else(|| "unexplained".to_owned(), |node| node.id.to_string());
    audit::append(tx, act.draft("money.book_transfer", txid).because(format!("to {whose}")))
}

/// What was planned for a node before a transfer was booked to it may be what that transfer paid, by a store of which this one is an older copy, or by an attempt that
/// was proven dead: it is planned anew from what is left. One that may still land waits for a person before it is signed again.
fn hold_back(tx: &mut WriteTx<'_>, act: &Act, node: NodeIndex, book: Book) -> Result<(), TxError> {
    let Some(payout) = payouts::unresolved(tx, node, book)? else { return Ok(()) };
    let reason = "a transfer that nothing here planned was booked to its node";
    let (operation, stepped) = if payout.live_attempt().is_none() {
        ("payout.cancel", payout.cancel(reason.into(), act.now).map(|(ended, entry)| (ended, Some(entry))))
    } else {
        let evidence = vec!["it may have been paid by that; where this attempt does not land, cancel it, and what is owed is right".into()];
        ("payout.hold", payout.hold_for_review(ReviewKind::Conflict, reason, evidence, act.now).map(|held| (held, None)))
    };
    let (after, entry) = stepped.map_err(|why| Fault::Invariant(why.to_string()))?;
    payouts::step(tx, Some(&payout), &after, entry, act.now)?;
    audit::append(tx, act.draft(operation, payout.id.to_string()).because(reason))
}

/// Agrees to exactly the payouts whose digest this is.
pub fn approve(tx: &mut WriteTx<'_>, act: &Act, by: &UserId, digest: [u8; 32], of: &ApprovalOf, seqs: &[u64]) -> Result<(), TxError> {
    let mut these = Vec::new();
    for seq in seqs {
        let payout = payouts::by_seq(tx, *seq)?.filter(|payout| payout.is_open() && payout.live_attempt().is_none());
        these.push(payout.ok_or_else(stale)?);
    }
    if these.is_empty() || guard::approval_digest(of.settlement, &of.pin, of.fee_cap_sun, &these) != digest {
        return Err(stale());
    }
    if people::count_from(tx, Role::Admin)? <= 1 {
        return Err(rule("LoneAdmin", "there is no second admin; the payouts wait 24 hours instead"));
    }
    if let Some(own) = these.iter().find(|payout| payout.asked_by().as_ref() == Some(by)) {
        return Err(rule("SelfApproval", format!("you asked for {} yourself; another admin has to approve", own.id)));
    }
    let approval = Approval { payouts: seqs.to_vec(), by: by.clone(), at: act.now.wall };
    let sum = these.iter().fold(0i128, |sum, payout| sum + i128::from(payout.amount.0));
    let remark = format!("{} payouts, {sum} smallest units", these.len());
    money::approve(tx, digest, &approval, act.draft("payouts.approve", crate::crypto::hex(&digest)).because(remark))
}

/// What an approval is bound to besides the payouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalOf {
    pub settlement: Settlement,
    pub pin: Pin,
    pub fee_cap_sun: u64,
}

fn stale() -> TxError {
    rule("ApprovalStale", "what waits for approval has changed; look at it again")
}

/// What a person decides about one payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Choose(Choice),
    AcceptPaid { txid: String },
    StateUnpaid { text: String },
    Hold { reason: String },
}

impl Decision {
    fn operation(&self) -> &'static str {
        match self {
            Decision::Choose(Choice::Cancel) => "payout.cancel",
            Decision::Choose(Choice::NewAttempt) => "payout.new_attempt",
            Decision::Choose(_) => "payout.check_again",
            Decision::AcceptPaid { .. } => "payout.accept_paid",
            Decision::StateUnpaid { .. } => "payout.state_unpaid",
            Decision::Hold { .. } => "payout.hold",
        }
    }
}

pub fn decide(tx: &mut WriteTx<'_>, act: &Act, by: &UserId, id: &PayoutId, decision: &Decision) -> Result<Payout, TxError> {
    let before = payouts::by_id(tx, id)?.ok_or(Refusal::PayoutNotFound)?;
    let now = act.now;
    let plain = |after: Result<Payout, PayoutError>| after.map(|after| (after, None));
    let (after, entry) = match decision {
        Decision::Choose(Choice::CheckAgain) => plain(before.check_again(now)),
        Decision::Choose(Choice::NewAttempt) => plain(before.allow_attempt(now)),
        // One that waits for nobody may be cancelled too, while nothing of it can land.
        Decision::Choose(Choice::Cancel) => before.cancel("cancelled by a person".into(), now).map(|(after, entry)| (after, Some(entry))),
        Decision::Choose(other) => Err(PayoutError::NotAChoice(*other)),
        Decision::AcceptPaid { txid } => {
            if payouts::of_transaction(tx, txid)?.is_some_and(|seq| seq != before.seq) {
                return Err(Refusal::TransactionKnown.into());
            }
            if money::is_booked(tx, txid)? {
                return Err(rule("TransferBooked", "this transfer was booked as one that nothing here planned; cancel the payout instead"));
            }
            plain(before.claim(Claim { txid: txid.clone(), by: by.clone(), at: now.wall }, now))
        }
        Decision::StateUnpaid { text } => plain(before.state_unpaid(Statement { by: by.clone(), at: now.wall, text: text.clone() }, now)),
        Decision::Hold { reason } => plain(before.hold_for_review(ReviewKind::Held, reason, Vec::new(), now)),
    }
    .map_err(|error| match error {
        PayoutError::Ledger(broken) => TxError::Fault(Fault::Invariant(broken.to_string())),
        other => rule("NotDecidable", other.to_string()),
    })?;
    payouts::step(tx, Some(&before), &after, entry, now)?;
    let words = match decision {
        Decision::StateUnpaid { text } | Decision::Hold { reason: text } => Some(text.clone()),
        Decision::AcceptPaid { txid } => Some(txid.clone()),
        Decision::Choose(_) => None,
    };
    let draft = act.draft(decision.operation(), id.to_string());
    audit::append(tx, words.into_iter().fold(draft, |draft, words| draft.detailed(words)))?;
    Ok(after)
}
