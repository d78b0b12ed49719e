//! Payouts and payout addresses. A payout's step, its ledger entry and the message about it are one transaction.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::tables::{OPEN_PAYOUTS, PAYOUT_ADDRESSES, PAYOUT_IDS, PAYOUTS, SCHEDULED, TXIDS};
use super::{audit, batches, ledger, node_events, nodes, outbox, tables::Index64};
use crate::crypto::Entropy;
use crate::domain::address::AddressRecord;
use crate::domain::audit::{Act, Draft};
use crate::domain::ids::{NodeId, NodeIndex, PayoutId};
use crate::domain::ledger::{Account, Book, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::payout::{AttemptState, Change, Payout, Source, State, Status};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Now, Timestamp};
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// A payout address at rest: sealed, because it links a machine to a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAddress(Vec<u8>);

impl SealedAddress {
    pub fn seal(secrets: &Secrets, entropy: &Entropy, node: NodeIndex, record: &AddressRecord) -> Result<SealedAddress, Fault> {
        let plain = postcard::to_stdvec(record).map_err(|e| Fault::Invariant(e.to_string()))?;
        Ok(SealedAddress(secrets.seal(entropy, &context(node), &plain)))
    }

    fn open(&self, secrets: &Secrets, node: NodeIndex) -> Result<AddressRecord, Fault> {
        let wrong = |why: &str| Fault::Record { table: PAYOUT_ADDRESSES.name, key: node.0.to_string(), why: why.into() };
        let plain = secrets.open(&context(node), &self.0).map_err(|_| wrong("does not open with secret.key"))?;
        postcard::from_bytes(&plain).map_err(|_| wrong("does not decode"))
    }
}

fn context(node: NodeIndex) -> String {
    format!("payout_addresses/{}", node.0)
}

pub fn address(read: &impl Read, secrets: &Secrets, node: NodeIndex) -> Result<Option<AddressRecord>, Fault> {
    read.get(PAYOUT_ADDRESSES, &node.0)?.map(|sealed| sealed.open(secrets, node)).transpose()
}

/// Registers the address in `fresh`, which is `sealed` already; the same address again keeps its record and its wait, and is not audited. The
/// clock must be trusted: the wait counts from it.
pub fn register_address(
    tx: &mut WriteTx<'_>,
    secrets: &Secrets,
    node: &NodeId,
    fresh: &AddressRecord,
    sealed: &SealedAddress,
    draft: Draft,
) -> Result<AddressRecord, TxError> {
    let node = nodes::require(tx, node)?.index;
    if let Some(same) = address(tx, secrets, node)?.filter(|record| record.address == fresh.address) {
        return Ok(same);
    }
    put_address(tx, node, sealed)?;
    let (detail, actor) = (Some(fresh.address.masked()), draft.actor.clone());
    node_events::append(tx, node, NodeEvent { at: draft.at, kind: Kind::AddressChanged, detail, actor })?;
    audit::append(tx, draft)?;
    Ok(fresh.clone())
}

pub fn put_address(tx: &mut WriteTx<'_>, node: NodeIndex, sealed: &SealedAddress) -> Result<(), TxError> {
    tx.put(PAYOUT_ADDRESSES, &node.0, sealed)
}

pub fn next_seq(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.last(PAYOUTS)?.map_or(1, |(seq, _)| seq + 1))
}

/// Stores a payout after a step, with the ledger entry of that step. `before` is what the step was computed from; when the
/// stored payout is another by now, nothing is written and the answer is `PayoutMoved`.
pub fn step(tx: &mut WriteTx<'_>, before: Option<&Payout>, payout: &Payout, entry: Option<Entry>, now: Now) -> Result<(), TxError> {
    if tx.get(PAYOUTS, &payout.seq)?.as_ref() != before {
        return Err(Refusal::PayoutMoved.into());
    }
    let index = Index64(payout.seq);
    if before.is_none() {
        tx.put(PAYOUT_IDS, &payout.id.as_str().to_owned(), &index)?;
        if payout.source == Source::Automatic {
            tx.put(SCHEDULED, &(payout.node.0, book_number(payout.book)), &index)?;
        }
    }
    claim_txids(tx, payout)?;
    tx.put(PAYOUTS, &payout.seq, payout)?;
    // After the payout: the statement of its month takes the fees from it.
    if let Some(entry) = entry {
        ledger::post(tx, entry, now)?;
    }
    if let Some((kind, detail)) = told(before, payout) {
        node_events::append(tx, payout.node, NodeEvent::by(&Act::system(now), kind, detail))?;
    }
    if let Some(change) = Change::between(before, payout) {
        outbox::tell_of_payout(tx, change, payout, now)?;
    }
    let open_key = (payout.node.0, book_number(payout.book));
    if payout.is_open() {
        tx.put(OPEN_PAYOUTS, &open_key, &index)?;
    } else {
        tx.delete(OPEN_PAYOUTS, &open_key)?;
        if before.is_some_and(Payout::is_open) {
            batches::payout_ended(tx, payout, now)?;
        }
    }
    Ok(())
}

/// One transaction never pays two payouts.
fn claim_txids(tx: &mut WriteTx<'_>, payout: &Payout) -> Result<(), TxError> {
    // Earlier attempts have had their steps; only the last one can have a new id.
    let Some(attempt) = payout.attempts.last() else { return Ok(()) };
    for txid in attempt.prepared.txid.iter().chain(&attempt.found_txid) {
        match tx.get(TXIDS, txid)? {
            Some(Index64(seq)) if seq == payout.seq => (),
            Some(_) => return Err(Refusal::TransactionKnown.into()),
            None => tx.put(TXIDS, txid, &Index64(payout.seq))?,
        }
    }
    Ok(())
}

/// The payout that this transaction is an attempt of.
pub fn of_transaction(read: &impl Read, txid: &str) -> Result<Option<u64>, Fault> {
    Ok(read.get(TXIDS, &txid.to_owned())?.map(|Index64(seq)| seq))
}

/// What a step tells on the node's page: its end, and that it waits for a person.
fn told(before: Option<&Payout>, payout: &Payout) -> Option<(Kind, Option<String>)> {
    let amount = || format!("{} {}", payout.amount.to_decimal(payout.book.currency), payout.book.currency);
    let is_new = before.is_none_or(|before| before.state != payout.state);
    match &payout.state {
        State::Paid { .. } if is_new => Some((Kind::PayoutPaid, Some(amount()))),
        State::Failed { reason, .. } if is_new => Some((Kind::PayoutFailed, Some(format!("{}: {reason}", amount())))),
        _ if payout.review.is_some() && before.is_none_or(|before| before.review.is_none()) => {
            Some((Kind::PayoutReview, payout.review_reason().map(str::to_owned)))
        }
        _ => None,
    }
}

pub(super) fn book_number(book: Book) -> u32 {
    let [settlement, currency] = book.key();
    u32::from(settlement) << 8 | u32::from(currency)
}

pub fn by_seq(read: &impl Read, seq: u64) -> Result<Option<Payout>, Fault> {
    read.get(PAYOUTS, &seq)
}

pub fn by_id(read: &impl Read, id: &PayoutId) -> Result<Option<Payout>, Fault> {
    match read.get(PAYOUT_IDS, &id.as_str().to_owned())? {
        Some(Index64(seq)) => by_seq(read, seq),
        None => Ok(None),
    }
}

/// The payout of this node and book that has not ended.
pub fn unresolved(read: &impl Read, node: NodeIndex, book: Book) -> Result<Option<Payout>, Fault> {
    match read.get(OPEN_PAYOUTS, &(node.0, book_number(book)))? {
        Some(Index64(seq)) => by_seq(read, seq),
        None => Ok(None),
    }
}

/// Payouts that have not ended, in no particular order, at most `limit`.
pub fn open(read: &impl Read, limit: usize) -> Result<Vec<u64>, Fault> {
    Ok(read.scan(OPEN_PAYOUTS, .., limit)?.into_iter().map(|(_, Index64(seq))| seq).collect())
}

/// The last payout of this node and book that the automatic cycle planned.
pub fn last_scheduled(read: &impl Read, node: NodeIndex, book: Book) -> Result<Option<Payout>, Fault> {
    match read.get(SCHEDULED, &(node.0, book_number(book)))? {
        Some(Index64(seq)) => by_seq(read, seq),
        None => Ok(None),
    }
}

/// When the automatic cycle last planned a payout of this node and book that was not cancelled.
pub fn last_scheduled_at(read: &impl Read, node: NodeIndex, book: Book) -> Result<Option<Timestamp>, Fault> {
    Ok(last_scheduled(read, node, book)?.filter(|p| p.status() != Status::Cancelled).map(|p| p.created_at))
}

/// Every payout, oldest first.
pub fn for_each(read: &impl Read, mut visit: impl FnMut(Payout)) -> Result<(), Fault> {
    read.for_each(PAYOUTS, .., |_, payout| {
        visit(payout);
        ControlFlow::Continue(())
    })
}

/// Those from a sequence on, oldest first, until `visit` breaks.
pub fn for_each_from(read: &impl Read, from: u64, mut visit: impl FnMut(Payout) -> ControlFlow<()>) -> Result<(), Fault> {
    read.for_each(PAYOUTS, from.., |_, payout| visit(payout))
}

/// Which payouts are wanted; empty = all, newest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub node: Option<NodeIndex>,
    pub status: Option<Status>,
    pub settlement: Option<Settlement>,
    pub currency: Option<Currency>,
    /// Planned at this time or later, and before that one.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Sequences, the last one excluded: those of a batch.
    pub seqs: Option<(u64, u64)>,
    /// Whether it waits for a person.
    pub in_review: Option<bool>,
    pub oldest_first: bool,
}

impl Filter {
    fn fits(&self, payout: &Payout) -> bool {
        self.node.is_none_or(|node| payout.node == node)
            && self.status.is_none_or(|status| payout.status() == status)
            && self.settlement.is_none_or(|settlement| payout.book.settlement == settlement)
            && self.currency.is_none_or(|currency| payout.book.currency == currency)
            && self.from.is_none_or(|from| payout.created_at >= from)
            && self.to.is_none_or(|to| payout.created_at < to)
            && self.in_review.is_none_or(|wanted| payout.review.is_some() == wanted)
    }
}

/// With the number of all that fit.
pub fn page(read: &impl Read, filter: Filter, offset: usize, limit: usize) -> Result<(Vec<Payout>, usize), Fault> {
    if filter == (Filter { oldest_first: filter.oldest_first, ..Filter::default() }) {
        return page_of_all(read, filter.oldest_first, offset, limit);
    }
    let (mut rows, mut total) = (Vec::new(), 0);
    let mut visit = |_, payout| {
        if filter.fits(&payout) {
            if total >= offset && rows.len() < limit {
                rows.push(payout);
            }
            total += 1;
        }
        ControlFlow::Continue(())
    };
    let (first, end) = filter.seqs.unwrap_or((0, u64::MAX));
    if filter.in_review == Some(true) {
        // Only what is open waits for anybody, and there is one of a node and book at most.
        let mut open = open(read, usize::MAX)?;
        open.retain(|seq| (first..end).contains(seq));
        open.sort_unstable();
        if !filter.oldest_first {
            open.reverse();
        }
        for seq in open {
            if let Some(payout) = by_seq(read, seq)? {
                let _ = visit(seq, payout);
            }
        }
    } else if filter.oldest_first {
        read.for_each(PAYOUTS, first..end, visit)?
    } else {
        read.for_each_back(PAYOUTS, first..end, visit)?
    }
    Ok((rows, total))
}

/// Those that fit among `looked_at` payouts from `start` to `last`, oldest first, and where the next piece starts.
pub fn piece(read: &impl Read, filter: Filter, start: u64, last: u64, looked_at: u64) -> Result<(Vec<Payout>, Option<u64>), Fault> {
    let (first, end) = filter.seqs.unwrap_or((0, u64::MAX));
    let last = last.min(end.saturating_sub(1));
    let (start, stop) = (start.max(first), start.max(first).saturating_add(looked_at));
    let mut rows = Vec::new();
    read.for_each(PAYOUTS, start..stop.min(last.saturating_add(1)), |_, payout| {
        rows.extend(Some(payout).filter(|payout| filter.fits(payout)));
        ControlFlow::Continue(())
    })?;
    Ok((rows, (stop <= last).then_some(stop)))
}

/// The sequence of the newest payout; 0 without any.
pub fn last_seq(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.last(PAYOUTS)?.map_or(0, |(seq, _)| seq))
}

/// Sequences have no gaps, so the page of all is found without reading what lies before it.
fn page_of_all(read: &impl Read, oldest_first: bool, offset: usize, limit: usize) -> Result<(Vec<Payout>, usize), Fault> {
    let total = read.last(PAYOUTS)?.map_or(0, |(seq, _)| seq);
    let skipped = u64::try_from(offset).unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    let visit = |_, payout| {
        if rows.len() < limit {
            rows.push(payout);
        }
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if oldest_first {
        read.for_each(PAYOUTS, skipped.saturating_add(1).., visit)?;
    } else {
        read.for_each_back(PAYOUTS, ..=total.saturating_sub(skipped), visit)?;
    }
    Ok((rows, usize::try_from(total).unwrap_or(usize::MAX)))
}

/// Every payout decodes and is found by what finds it, none is paid twice, and what is reserved is what the open ones are to pay; the number of payouts, or what is
/// wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let (mut count, mut open_payouts, mut wrong) = (0u64, 0u64, None);
    let (mut ids, mut promised) = (Vec::new(), BTreeMap::<(Book, NodeIndex), Units>::new());
    read.for_each(PAYOUTS, .., |seq, payout| {
        count += 1;
        if payout.attempts.iter().filter(|attempt| attempt.state == AttemptState::Paid).count() > 1 {
            wrong = Some(format!("{} is paid twice", payout.id));
        } else if payout.seq != seq || seq != count {
            wrong = Some(format!("{} does not follow the payout before it", payout.id));
        }
        if payout.is_open() {
            open_payouts += 1;
            if promised.insert((payout.book, payout.node), payout.amount).is_some() {
                wrong = Some(format!("{} is not the only open payout of its node", payout.id));
            }
        }
        ids.push((seq, payout.id));
        if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(wrong) = wrong {
        return Ok(Err(wrong));
    }
    let indexed = read.count(OPEN_PAYOUTS)?;
    if indexed != open_payouts {
        return Ok(Err(format!("{open_payouts} payouts are open, {indexed} are indexed as open")));
    }
    for (seq, id) in &ids {
        if read.get(PAYOUT_IDS, &id.as_str().to_owned())? != Some(Index64(*seq)) {
            return Ok(Err(format!("{id} is not found by its id")));
        }
    }
    for (book, account, units) in ledger::balances(read)? {
        if let Account::NodeReserved(node) = account {
            let promised = promised.remove(&(book, node)).unwrap_or_default();
            if promised != units {
                return Ok(Err(format!(
                    "{} units of {book} are reserved for node {}, and its open payout is of {}",
                    units.0, node.0, promised.0
                )));
            }
        }
    }
    if let Some((book, node)) = promised.keys().next() {
        return Ok(Err(format!("nothing of {book} is reserved for the open payout of node {}", node.0)));
    }
    Ok(lost_transaction(read)?.map_or(Ok(count), Err))
}

/// A transaction that is of no attempt of the payout that it is said to be of.
fn lost_transaction(read: &impl Read) -> Result<Option<String>, Fault> {
    let mut of = Vec::new();
    read.for_each(TXIDS, .., |txid: String, Index64(seq)| {
        of.push((seq, txid));
        ControlFlow::Continue(())
    })?;
    for (seq, txid) in of {
        let is_named = |payout: &Payout| {
            payout
                .attempts
                .iter()
                .any(|attempt| [&attempt.prepared.txid, &attempt.found_txid].into_iter().flatten().any(|one| *one == txid))
        };
        if !by_seq(read, seq)?.is_some_and(|payout| is_named(&payout)) {
            return Ok(Some(format!("transaction {txid} is of no attempt of payout {seq}")));
        }
    }
    Ok(None)
}
