//! Postings and balances. A balance changes only together with the posting that says why, and every commit that posts checks that its books still sum to
//! zero. What does not add up stops its transaction and latches payouts off (`latched`).
//!
//! Postings through `archived` are in archives. Whether their rows are deleted already makes no difference to who reads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::tables::{ACCRUED, BALANCES, BOOK_SUMS, LEDGER_LATCH, POSTINGS};
use super::{alerts, archives, audit, checkpoints, statements};
use crate::crypto::sha256_parts;
use crate::domain::alert::Severity;
use crate::domain::archive;
use crate::domain::audit::Act;
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Book, Entry, Posting, Settlement};
use crate::domain::money::{Currency, Overflow, Pico, Units};
use crate::domain::time::{Now, Timestamp};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Said twice, so that a balance that changed without a posting is seen by the next one: `units` = `credited` - `debited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    pub units: Units,
    /// All that was ever added, >= 0.
    pub credited: Units,
    /// All that was ever taken, >= 0.
    pub debited: Units,
}

impl Balance {
    /// A balance whose turnover nobody counted.
    pub fn carried_over(units: Units) -> Result<Balance, Overflow> {
        Balance::default().moved(units)
    }

    /// After `amount` was added, or taken when it is negative.
    pub fn moved(self, amount: Units) -> Result<Balance, Overflow> {
        let units = self.units.plus(amount)?;
        Ok(if amount < Units::ZERO {
            Balance { units, debited: self.debited.plus(amount.negated()?)?, ..self }
        } else {
            Balance { units, credited: self.credited.plus(amount)?, ..self }
        })
    }

    pub fn is_whole(&self) -> bool {
        self.credited.minus(self.debited) == Ok(self.units)
    }
}

/// Turnover of all accounts of a book: what was added anywhere was taken somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BookSum {
    pub credited: Units,
    pub debited: Units,
}

/// Why payouts are latched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    pub why: String,
    pub at: Timestamp,
}

/// How far a node's accruals are posted, and what stayed below a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accrued {
    /// Where the contiguous ranges of the node begin: when it was made, or where an earlier release, which left ranges out, had come to.
    pub from: Epoch,
    /// Everything up to this epoch was looked at: its whole units are posted, the rest is in `remainders`.
    pub through: Epoch,
    /// By currency; 0 <= remainder < one unit.
    pub remainders: Vec<(Currency, Pico)>,
    /// By currency, the end of the last range that has an entry: the next entry's range begins there.
    pub posted: Vec<(Currency, Epoch)>,
    /// Over all of this, because no posting says how far nothing was earned; absent where an earlier release wrote it.
    pub check: Option<u64>,
}

impl Accrued {
    /// Nothing up to and with `epoch` is the node's.
    pub fn since(epoch: Epoch) -> Accrued {
        Accrued { from: epoch, through: epoch, ..Accrued::default() }
    }

    pub fn remainder(&self, currency: Currency) -> Pico {
        self.remainders.iter().find(|(c, _)| *c == currency).map_or(Pico::ZERO, |(_, r)| *r)
    }

    pub fn set_remainder(&mut self, currency: Currency, remainder: Pico) {
        self.remainders.retain(|(c, _)| *c != currency);
        if remainder != Pico::ZERO {
            self.remainders.push((currency, remainder));
        }
    }

    fn checksum(&self, node: NodeIndex) -> Result<u64, Fault> {
        let bytes = postcard::to_stdvec(&(node, self.from, self.through, &self.remainders, &self.posted));
        let [a, b, c, d, e, f, g, h, ..] = sha256_parts(&[b"lucid/accrued/v2\0", &bytes.map_err(|why| Fault::Invariant(why.to_string()))?]);
        Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// As it was written for this node.
    pub fn is_whole(&self, node: NodeIndex) -> Result<bool, Fault> {
        Ok(self.check.is_none() || self.check == Some(self.checksum(node)?))
    }

    /// Where the next entry's range begins.
    pub fn posted(&self, currency: Currency) -> Epoch {
        self.posted.iter().find(|(c, _)| *c == currency).map_or(self.from, |(_, end)| *end)
    }

    pub fn set_posted(&mut self, currency: Currency, end: Epoch) {
        self.posted.retain(|(c, _)| *c != currency);
        self.posted.push((currency, end));
    }
}

pub(crate) fn key(book: Book, account: Account) -> [u8; 7] {
    let ([a, b], [c, d, e, f, g]) = (book.key(), account.key());
    [a, b, c, d, e, f, g]
}

pub(in crate::storage) fn split(key: [u8; 7]) -> Option<(Book, Account)> {
    let [a, b, c, d, e, f, g] = key;
    Some((Book::from_key([a, b])?, Account::from_key([c, d, e, f, g])?))
}

pub fn balance(read: &impl Read, book: Book, account: Account) -> Result<Units, Fault> {
    Ok(read.get(BALANCES, &key(book, account))?.map_or(Units::ZERO, |b| b.units))
}

/// Writes one balanced entry. Its lines sum to zero, the balances it touches must be what was ever added and taken, and the turnover of its book must be even
/// before and after: otherwise nothing of the transaction is written, an alert is raised, and payouts are latched off.
pub fn post(tx: &mut WriteTx<'_>, entry: Entry, now: Now) -> Result<(), TxError> {
    let broken = |why: &dyn std::fmt::Display| TxError::Fault(Fault::Books { why: why.to_string(), now });
    let overflow = |why: Overflow| broken(&why);
    let mut before = BTreeMap::new();
    for line in &entry.lines {
        let balance = tx.get(BALANCES, &key(entry.book, line.account))?.unwrap_or_default();
        if !balance.is_whole() {
            return Err(broken(&format!("{:?} of the {} book is not what was added and taken", line.account, entry.book)));
        }
        before.insert(line.account, balance);
    }
    let of = |account| before.get(&account).copied().unwrap_or_default();
    let after = entry.apply(|account| of(account).units).map_err(|why| broken(&why))?;
    let mut sum = tx.get(BOOK_SUMS, &entry.book.key())?.unwrap_or_default();
    for (line, (account, _)) in entry.lines.iter().zip(&after) {
        let (old, new) = (of(*account), of(*account).moved(line.amount).map_err(overflow)?);
        sum.credited = new.credited.minus(old.credited).and_then(|more| sum.credited.plus(more)).map_err(overflow)?;
        sum.debited = new.debited.minus(old.debited).and_then(|more| sum.debited.plus(more)).map_err(overflow)?;
        tx.put(BALANCES, &key(entry.book, *account), &new)?;
    }
    if sum.credited != sum.debited {
        return Err(broken(&format!("the {} book does not sum to zero", entry.book)));
    }
    tx.put(BOOK_SUMS, &entry.book.key(), &sum)?;
    let seq = last_seq(tx)? + 1;
    let posting = Posting { seq, at: now.wall, entry };
    statements::add(tx, &posting)?;
    tx.put(POSTINGS, &seq, &posting)
}

/// The last posting that is in an archive; 0: none.
pub fn archived(read: &impl Read) -> Result<u64, Fault> {
    Ok(archives::newest(read, archive::Kind::Ledger)?.map_or(0, |newest| newest.last))
}

/// Since when every posting is here, and in no archive. None: since ever.
pub fn kept_since(read: &impl Read) -> Result<Option<Timestamp>, Fault> {
    match archived(read)? {
        0 => Ok(None),
        through => checkpoints::closed_at(read, through),
    }
}

/// The last posting there ever was; 0: none.
fn last_seq(read: &impl Read) -> Result<u64, Fault> {
    match read.last(POSTINGS)? {
        Some((seq, _)) => Ok(seq),
        None => archived(read),
    }
}

/// Whether there is a posting within `first..=last`.
pub fn is_any_of(read: &impl Read, first: u64, last: u64) -> Result<bool, Fault> {
    Ok(!read.scan(POSTINGS, first..=last, 1)?.is_empty())
}

/// Whether a row is left of what is archived through `last`.
pub fn begins_within(read: &impl Read, last: u64) -> Result<bool, Fault> {
    Ok(!read.scan(POSTINGS, ..=last, 1)?.is_empty())
}

/// Deletes at most `limit` rows of what is archived through `last`; true when there may be more.
pub fn forget(tx: &mut WriteTx<'_>, last: u64, limit: usize) -> Result<bool, TxError> {
    if last > archived(tx)? {
        return Err(TxError::Fault(Fault::Invariant(format!("posting {last} is in no archive"))));
    }
    Ok(tx.delete_before(POSTINGS, &(last + 1), limit)? == limit)
}

const ROW: &str = "latch";
pub const ALERT: &str = "ledger_broken";

/// Why no payout may be planned, signed or sent: the books did not add up, and nobody has checked them since.
pub fn latched(read: &impl Read) -> Result<Option<String>, Fault> {
    Ok(latch(read)?.map(|latch| latch.why))
}

pub fn latch(read: &impl Read) -> Result<Option<Latch>, Fault> {
    read.get(LEDGER_LATCH, &ROW.to_owned())
}

/// The first reason stays.
pub fn set_latch(tx: &mut WriteTx<'_>, why: &str, now: Now) -> Result<(), TxError> {
    let at = now.wall;
    if latch(tx)?.is_some() {
        return Ok(());
    }
    tx.put(LEDGER_LATCH, &ROW.to_owned(), &Latch { why: why.to_owned(), at })?;
    alerts::raise(tx, ALERT, "", Severity::Critical, &format!("the books do not add up, and payouts are stopped: {why}"), at)?;
    audit::append(tx, Act::system(now).draft("ledger.latch", "").because(why))
}

/// After a check that found everything good. False when the latch is another one by now.
pub fn clear_latch(tx: &mut WriteTx<'_>, act: &Act, of: &Latch) -> Result<bool, TxError> {
    if latch(tx)?.as_ref() != Some(of) {
        return Ok(false);
    }
    tx.delete(LEDGER_LATCH, &ROW.to_owned())?;
    alerts::resolve(tx, ALERT, "", act.now.wall)?;
    audit::append(tx, act.draft("ledger.unlatch", "").because(of.why.clone()))?;
    Ok(true)
}

/// Every balance that is kept.
pub fn balances(read: &impl Read) -> Result<Vec<(Book, Account, Units)>, Fault> {
    let mut all = Vec::new();
    read.for_each(BALANCES, .., |key, balance| {
        all.extend(split(key).map(|(book, account)| (book, account, balance.units)));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Which postings are wanted; empty = all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that touch an account of this node.
    pub node: Option<NodeIndex>,
    pub settlement: Option<Settlement>,
}

impl Filter {
    fn fits(&self, posting: &Posting) -> bool {
        self.node.is_none_or(|node| touches(posting, node))
            && self.settlement.is_none_or(|settlement| posting.entry.book.settlement == settlement)
    }
}

/// Newest first, with the number of all that fit; of those that are in no archive.
pub fn page(read: &impl Read, filter: Filter, offset: usize, limit: usize) -> Result<(Vec<Posting>, usize), Fault> {
    if filter == Filter::default() {
        return page_of_all(read, offset, limit);
    }
    let (mut rows, mut total) = (Vec::new(), 0);
    read.for_each_back(POSTINGS, archived(read)? + 1.., |_, posting| {
        if filter.fits(&posting) {
            if total >= offset && rows.len() < limit {
                rows.push(posting);
            }
            total += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok((rows, total))
}

/// Sequences have no gaps, so the page of all is found without reading what is newer.
fn page_of_all(read: &impl Read, offset: usize, limit: usize) -> Result<(Vec<Posting>, usize), Fault> {
    let (last, archived) = (last_seq(read)?, archived(read)?);
    let newest = last.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
    let mut rows = Vec::new();
    read.for_each_back(POSTINGS, archived + 1..=newest, |_, posting| {
        if rows.len() < limit {
            rows.push(posting);
        }
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((rows, usize::try_from(last - archived).unwrap_or(usize::MAX)))
}

fn touches(posting: &Posting, node: NodeIndex) -> bool {
    posting.entry.lines.iter().any(|line| line.account.node() == Some(node))
}

pub fn accrued(read: &impl Read, node: NodeIndex) -> Result<Accrued, Fault> {
    Ok(read.get(ACCRUED, &node.0)?.unwrap_or_default())
}

pub fn put_accrued(tx: &mut WriteTx<'_>, node: NodeIndex, accrued: &Accrued) -> Result<(), TxError> {
    tx.put(ACCRUED, &node.0, &Accrued { check: Some(accrued.checksum(node)?), ..accrued.clone() })
}
