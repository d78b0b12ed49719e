//! The money of the whole fleet, book by book.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::poot::pico;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Book, Settlement};
use crate::domain::money::{Currency, Overflow, Pico, Units};
use crate::domain::node::MAX_NODES;
use crate::storage::accruals::Unposted;
use crate::storage::core::{ledger, payouts};
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Payouts that are open at one time, at most: one for each node and book.
const MAX_OPEN_PAYOUTS: usize = 4 * MAX_NODES as usize;

/// One currency under one settlement, all nodes together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MoneyOverview {
    pub currency: Currency,
    /// `simulated`: no money moves.
    pub settlement: Settlement,
    /// Earned and not posted yet. Every settlement will post the same.
    pub accrued: String,
    /// Posted and free for payouts.
    pub payable: String,
    /// Promised to payouts that have not ended.
    pub reserved: String,
    /// Paid, ever.
    pub paid: String,
    /// Payouts that have not ended.
    pub payouts_open: u32,
    /// Those of them that wait for a person.
    pub payouts_in_review: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    payable: Units,
    reserved: Units,
    paid: Units,
    open: u32,
    in_review: u32,
}

/// What an overview says of money.
pub struct Money {
    /// Books in use; those of the settlement in force first.
    pub books: Vec<MoneyOverview>,
    /// Balances that are free for a payout, of the settlement in force.
    pub payable: BTreeMap<(NodeIndex, Currency), Units>,
    /// Nodes with a payout that waits for a person, in the order of the nodes.
    pub in_review: Vec<NodeIndex>,
}

fn overflow(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}

impl Money {
    /// `in_force`: the settlement that nodes are shown with. `unposted`: what all nodes have earned since their last postings.
    pub fn read(read: &impl Read, in_force: Settlement, unposted: &HashMap<NodeIndex, Unposted>) -> Result<Money, Fault> {
        let mut accrued: BTreeMap<Currency, Pico> = BTreeMap::new();
        for (currency, earned) in unposted.values().flatten() {
            let sum = accrued.entry(*currency).or_default();
            *sum = sum.plus(*earned).map_err(overflow)?;
        }
        let mut sums: BTreeMap<Book, Sums> = BTreeMap::new();
        let mut payable = BTreeMap::new();
        for currency in accrued.keys().copied().chain([Currency::Usdt]) {
            sums.entry(Book { settlement: in_force, currency }).or_default();
        }
        for (book, account, units) in ledger::balances(read)? {
            let of_book = sums.entry(book).or_default();
            let sum = match account {
                Account::NodePayable(node) => {
                    if book.settlement == in_force {
                        payable.insert((node, book.currency), units);
                    }
                    &mut of_book.payable
                }
                Account::NodeReserved(_) => &mut of_book.reserved,
                Account::NodePaid(_) => &mut of_book.paid,
                Account::PoolExpense(_) | Account::Adjustment | Account::Forfeited(_) | Account::Unexplained => continue,
            };
            *sum = sum.plus(units).map_err(overflow)?;
        }
        let mut in_review = Vec::new();
        for seq in payouts::open(read, MAX_OPEN_PAYOUTS)? {
            let Some(payout) = payouts::by_seq(read, seq)? else { continue };
            let of_book = sums.entry(payout.book).or_default();
            of_book.open += 1;
            if payout.review.is_some() {
                of_book.in_review += 1;
                in_review.push(payout.node);
            }
        }
        in_review.sort_unstable();
        let mut books = Vec::with_capacity(sums.len());
        for (book, sums) in sums {
            books.push(shown(book, &sums, accrued.get(&book.currency).copied().unwrap_or_default())?);
        }
        books.sort_by_key(|book| book.settlement != in_force);
        Ok(Money { books, payable, in_review })
    }
}

fn shown(book: Book, sums: &Sums, accrued: Pico) -> Result<MoneyOverview, Fault> {
    let text = |units: Units| units.to_decimal(book.currency).to_string();
    Ok(MoneyOverview {
        currency: book.currency,
        settlement: book.settlement,
        accrued: pico(accrued, book.currency)?,
        payable: text(sums.payable),
        reserved: text(sums.reserved),
        paid: text(sums.paid),
        payouts_open: sums.open,
        payouts_in_review: sums.in_review,
    })
}
