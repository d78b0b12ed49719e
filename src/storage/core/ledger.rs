//! Postings and balances. A balance changes only together with the posting that says why, and every commit that posts checks that its books still sum to
//! zero.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::tables::{ACCRUED, BALANCES, POSTINGS};
use crate::domain::credits::Epoch;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Balances, Book, Broken, Entry, Posting, Settlement};
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::time::Now;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// The balance of one account of one book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance(pub Units);

/// How far a node's accruals are posted, and what stayed below a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accrued {
    /// Everything up to this epoch is posted.
    pub through: Epoch,
    /// By currency; 0 <= remainder < one unit.
    pub remainders: Vec<(Currency, Pico)>,
}

impl Accrued {
    pub fn remainder(&self, currency: Currency) -> Pico {
        self.remainders.iter().find(|(c, _)| *c == currency).map_or(Pico::ZERO, |(_, r)| *r)
    }

    pub fn set_remainder(&mut self, currency: Currency, remainder: Pico) {
        self.remainders.retain(|(c, _)| *c != currency);
        if remainder != Pico::ZERO {
            self.remainders.push((currency, remainder));
        }
    }
}

fn key(book: Book, account: Account) -> [u8; 7] {
    let ([a, b], [c, d, e, f, g]) = (book.key(), account.key());
    [a, b, c, d, e, f, g]
}

fn split(key: [u8; 7]) -> Option<(Book, Account)> {
    let [a, b, c, d, e, f, g] = key;
    Some((Book::from_key([a, b])?, Account::from_key([c, d, e, f, g])?))
}

fn broken(why: &Broken) -> TxError {
    TxError::Fault(Fault::Invariant(why.to_string()))
}

pub fn balance(read: &impl Read, book: Book, account: Account) -> Result<Units, Fault> {
    Ok(read.get(BALANCES, &key(book, account))?.map_or(Units::ZERO, |b| b.0))
}

/// Writes one balanced entry; the zero sum of the book follows from each entry's, which is checked here.
pub fn post(tx: &mut WriteTx<'_>, entry: Entry, now: Now) -> Result<(), TxError> {
    let mut before = Vec::new();
    for line in &entry.lines {
        before.push((line.account, balance(tx, entry.book, line.account)?));
    }
    let of = |account| before.iter().find(|(a, _)| *a == account).map_or(Units::ZERO, |(_, units)| *units);
    for (account, units) in entry.apply(of).map_err(|why| broken(&why))? {
        tx.put(BALANCES, &key(entry.book, account), &Balance(units))?;
    }
    let seq = tx.last(POSTINGS)?.map_or(1, |(seq, _)| seq + 1);
    tx.put(POSTINGS, &seq, &Posting { seq, at: now.wall, entry })
}

/// Every balance that is kept.
pub fn balances(read: &impl Read) -> Result<Vec<(Book, Account, Units)>, Fault> {
    let mut all = Vec::new();
    read.for_each(BALANCES, .., |key, balance| {
        all.extend(split(key).map(|(book, account)| (book, account, balance.0)));
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

/// Newest first, with the number of all that fit.
pub fn page(read: &impl Read, filter: Filter, offset: usize, limit: usize) -> Result<(Vec<Posting>, usize), Fault> {
    if filter == Filter::default() {
        return page_of_all(read, offset, limit);
    }
    let (mut rows, mut total) = (Vec::new(), 0);
    read.for_each_back(POSTINGS, .., |_, posting| {
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
    let total = read.last(POSTINGS)?.map_or(0, |(seq, _)| seq);
    let newest = total.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
    let mut rows = Vec::new();
    read.for_each_back(POSTINGS, ..=newest, |_, posting| {
        if rows.len() < limit {
            rows.push(posting);
        }
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((rows, usize::try_from(total).unwrap_or(usize::MAX)))
}

fn touches(posting: &Posting, node: NodeIndex) -> bool {
    posting.entry.lines.iter().any(|line| match line.account {
        Account::NodePayable(n) | Account::NodeReserved(n) | Account::NodePaid(n) | Account::Forfeited(n) => n == node,
        Account::PoolExpense(_) | Account::Adjustment | Account::Unexplained => false,
    })
}

pub fn accrued(read: &impl Read, node: NodeIndex) -> Result<Accrued, Fault> {
    Ok(read.get(ACCRUED, &node.0)?.unwrap_or_default())
}

pub fn put_accrued(tx: &mut WriteTx<'_>, node: NodeIndex, accrued: &Accrued) -> Result<(), TxError> {
    tx.put(ACCRUED, &node.0, accrued)
}

/// Replays every posting: the books balance, the stored balances are theirs, and the accrued ranges of each node are contiguous. The number of
/// postings, or what is wrong.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    use crate::domain::ledger::Cause;
    use std::collections::BTreeMap;

    let mut replayed = Balances::default();
    let mut through: BTreeMap<(Book, NodeIndex), Epoch> = BTreeMap::new();
    let (mut count, mut wrong) = (0, None);
    read.for_each(POSTINGS, .., |seq, posting| {
        count += 1;
        if seq != count || posting.seq != count {
            wrong = Some(format!("posting {count} is missing"));
        } else if let Err(why) = replayed.post(&posting.entry) {
            wrong = Some(format!("posting {seq}: {why}"));
        } else if let Cause::Accrual { node, after, through: end } = posting.entry.cause {
            let before = through.insert((posting.entry.book, node), end);
            if before.is_some_and(|before| before > after) || end <= after {
                wrong = Some(format!("posting {seq}: its epochs overlap an earlier posting of the node"));
            }
        }
        if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if wrong.is_none()
        && let Err(why) = replayed.check()
    {
        wrong = Some(why.to_string());
    }
    if wrong.is_none() {
        let stored: BTreeMap<_, _> = balances(read)?.into_iter().map(|(book, account, units)| ((book, account), units)).collect();
        let differs = replayed.iter().any(|(book, account, units)| stored.get(&(book, account)) != Some(&units));
        if differs || stored.len() != replayed.iter().count() {
            wrong = Some("the stored balances are not what the postings add up to".into());
        }
    }
    Ok(wrong.map_or(Ok(count), Err))
}
