//! Double entry. A book is one currency under one settlement; every entry of a book sums to zero, so every book does.
//!
//! Sign: what is owed to or was given to somebody is positive, what it was taken from is negative. A node's time is
//! expense -> payable; planning a payout is payable -> reserved; its end is reserved -> paid, or back to payable.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::credits::{Epoch, Whole};
use super::ids::{NodeIndex, PayoutId, PoolIndex, UserId};
use super::money::{Currency, Overflow, Units};
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    Live,
    /// A dry run or a test network: fed by the same accruals, and no money moves.
    Simulated,
}

impl fmt::Display for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Settlement::Live => "live",
            Settlement::Simulated => "simulated",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Book {
    pub settlement: Settlement,
    pub currency: Currency,
}

impl Book {
    /// Stable bytes for a table key, in the order of `Book`.
    pub fn key(self) -> [u8; 2] {
        let settlement = match self.settlement {
            Settlement::Live => 0,
            Settlement::Simulated => 1,
        };
        let currency = match self.currency {
            Currency::Usdt => 0,
            Currency::Lucid => 1,
        };
        [settlement, currency]
    }

    pub fn from_key(key: [u8; 2]) -> Option<Book> {
        let settlement = match key[0] {
            0 => Settlement::Live,
            1 => Settlement::Simulated,
            _ => return None,
        };
        let currency = match key[1] {
            0 => Currency::Usdt,
            1 => Currency::Lucid,
            _ => return None,
        };
        Some(Book { settlement, currency })
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.settlement, self.currency)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What the nodes of a pool have cost; never positive.
    PoolExpense(PoolIndex),
    /// Owed to a node, free for a payout.
    NodePayable(NodeIndex),
    /// Owed to a node, promised to a planned payout.
    NodeReserved(NodeIndex),
    /// Paid to a node, ever.
    NodePaid(NodeIndex),
    /// Other side of what an admin corrects.
    Adjustment,
    /// Owed to a node once, and given up when it was deleted.
    Forfeited(NodeIndex),
    /// Left the wallet to somebody we do not know.
    Unexplained,
}

impl Account {
    /// What people call it: before the id of whose it is, where it is somebody's.
    pub fn kind(self) -> &'static str {
        match self {
            Account::PoolExpense(_) => "pool_expense",
            Account::NodePayable(_) => "node_payable",
            Account::NodeReserved(_) => "node_reserved",
            Account::NodePaid(_) => "node_paid",
            Account::Adjustment => "adjustment",
            Account::Forfeited(_) => "forfeited",
            Account::Unexplained => "unexplained",
        }
    }

    /// Stable bytes for a table key, in the order of `Account`.
    pub fn key(self) -> [u8; 5] {
        let (tag, index) = match self {
            Account::PoolExpense(pool) => (0, pool.0),
            Account::NodePayable(node) => (1, node.0),
            Account::NodeReserved(node) => (2, node.0),
            Account::NodePaid(node) => (3, node.0),
            Account::Adjustment => (4, 0),
            Account::Forfeited(node) => (5, node.0),
            Account::Unexplained => (6, 0),
        };
        let [a, b, c, d] = index.to_be_bytes();
        [tag, a, b, c, d]
    }

    pub fn from_key(key: [u8; 5]) -> Option<Account> {
        let [tag, index @ ..] = key;
        let index = u32::from_be_bytes(index);
        match (tag, index) {
            (0, pool) => Some(Account::PoolExpense(PoolIndex(pool))),
            (1, node) => Some(Account::NodePayable(NodeIndex(node))),
            (2, node) => Some(Account::NodeReserved(NodeIndex(node))),
            (3, node) => Some(Account::NodePaid(NodeIndex(node))),
            (4, 0) => Some(Account::Adjustment),
            (5, node) => Some(Account::Forfeited(NodeIndex(node))),
            (6, 0) => Some(Account::Unexplained),
            _ => None,
        }
    }

    /// Whose it is, when it is a node's.
    pub fn node(self) -> Option<NodeIndex> {
        match self {
            Account::NodePayable(node) | Account::NodeReserved(node) | Account::NodePaid(node) | Account::Forfeited(node) => Some(node),
            Account::PoolExpense(_) | Account::Adjustment | Account::Unexplained => None,
        }
    }

    /// Whose it is, when it is a pool's.
    pub fn pool(self) -> Option<PoolIndex> {
        match self {
            Account::PoolExpense(pool) => Some(pool),
            _ => None,
        }
    }

    /// An entry that would bring this account below zero is refused, but for `Cause::may_overdraw`.
    pub fn is_never_negative(self) -> bool {
        !matches!(self, Account::PoolExpense(_) | Account::Adjustment)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub account: Account,
    pub amount: Units,
}

/// Why an entry exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Work of a node in the epochs (after, through].
    Accrual {
        node: NodeIndex,
        after: Epoch,
        through: Epoch,
    },
    Reserve {
        payout: PayoutId,
    },
    Release {
        payout: PayoutId,
    },
    Paid {
        payout: PayoutId,
    },
    Adjustment {
        node: NodeIndex,
        reason: String,
        by: UserId,
    },
    /// A node with a balance was deleted.
    Forfeiture {
        node: NodeIndex,
        reason: String,
        by: UserId,
    },
    /// An amount that a pool's members were given.
    Reward {
        pool: PoolIndex,
        split: Split,
        reason: String,
        by: UserId,
    },
    /// A transfer of the wallet that nobody here had planned: to the node of that address, where there is one.
    Unexplained {
        node: Option<NodeIndex>,
        txid: String,
    },
    /// What was accrued in the dry run before `from` is not owed.
    GoLive {
        node: NodeIndex,
        from: Timestamp,
        by: UserId,
    },
}

/// By what a reward is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    Equal,
    /// By what the pool paid for the work that was posted of [from, to).
    Credits {
        from: Timestamp,
        to: Timestamp,
    },
}

impl Cause {
    /// Money that left the wallet has left it, whatever was owed: what a node got beyond that is paid in advance, and what it earns next pays it back.
    pub fn may_overdraw(&self) -> bool {
        matches!(self, Cause::Unexplained { .. })
    }
}

/// A balanced movement, not written yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub book: Book,
    pub cause: Cause,
    pub lines: Vec<Line>,
}

/// An entry as it stands in the ledger for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Counts from 1 without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub entry: Entry,
}

/// Lines of one entry, at most: every pool of the manager and the node, or every node of a pool and the pool.
pub const MAX_LINES: usize = 1_001;
const _: () = assert!(super::pool::MAX_POOLS < MAX_LINES && (super::pool::MAX_NODES as usize) < MAX_LINES);

/// A broken invariant of the books: the transaction must not commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    Unbalanced {
        book: Book,
        by: i128,
    },
    /// Fewer than two lines, more than `MAX_LINES`, a zero line, or an account twice.
    Malformed(&'static str),
    Negative {
        book: Book,
        account: Account,
        balance: Units,
    },
    Overflow,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Unbalanced { book, by } => write!(f, "the {book} book is off balance by {by} units"),
            Broken::Malformed(why) => write!(f, "a ledger entry {why}"),
            Broken::Negative { book, account, balance } => {
                write!(f, "{account:?} of the {book} book would be {} units", balance.0)
            }
            Broken::Overflow => Overflow.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Overflow> for Broken {
    fn from(_: Overflow) -> Broken {
        Broken::Overflow
    }
}

impl Entry {
    /// Work credits of a node: what each pool spends becomes payable. None when there is no whole unit to post: then the next entry's range begins where this
    /// one would have, so that the ranges of a node never overlap and never leave a hole.
    pub fn accrual(settlement: Settlement, node: NodeIndex, after: Epoch, through: Epoch, whole: &Whole) -> Result<Option<Entry>, Broken> {
        if whole.total == Units::ZERO {
            return Ok(None);
        }
        let mut lines = Vec::with_capacity(whole.by_pool.len() + 1);
        for (pool, units) in &whole.by_pool {
            lines.push(Line { account: Account::PoolExpense(*pool), amount: units.negated()? });
        }
        lines.push(Line { account: Account::NodePayable(node), amount: whole.total });
        let book = Book { settlement, currency: whole.currency };
        Entry { book, cause: Cause::Accrual { node, after, through }, lines }.checked().map(Some)
    }

    pub fn reserve(book: Book, node: NodeIndex, payout: PayoutId, amount: Units) -> Result<Entry, Broken> {
        let cause = Cause::Reserve { payout };
        Entry::transfer(book, cause, Account::NodePayable(node), Account::NodeReserved(node), amount)
    }

    /// Back to payable: the payout ended without paying.
    pub fn release(book: Book, node: NodeIndex, payout: PayoutId, amount: Units) -> Result<Entry, Broken> {
        let cause = Cause::Release { payout };
        Entry::transfer(book, cause, Account::NodeReserved(node), Account::NodePayable(node), amount)
    }

    pub fn paid(book: Book, node: NodeIndex, payout: PayoutId, amount: Units) -> Result<Entry, Broken> {
        let cause = Cause::Paid { payout };
        Entry::transfer(book, cause, Account::NodeReserved(node), Account::NodePaid(node), amount)
    }

    /// An admin owes a node more (`amount` > 0) or less (< 0).
    pub fn adjustment(book: Book, node: NodeIndex, amount: Units, reason: String, by: UserId) -> Result<Entry, Broken> {
        let cause = Cause::Adjustment { node, reason, by };
        let lines =
            vec![Line { account: Account::NodePayable(node), amount }, Line { account: Account::Adjustment, amount: amount.negated()? }];
        Entry { book, cause, lines }.checked()
    }

    /// What a deleted node was owed is given up.
    pub fn forfeiture(book: Book, node: NodeIndex, amount: Units, reason: String, by: UserId) -> Result<Entry, Broken> {
        let cause = Cause::Forfeiture { node, reason, by };
        Entry::transfer(book, cause, Account::NodePayable(node), Account::Forfeited(node), amount)
    }

    /// `amount` > 0 to a pool's members, in `parts` that add up to it.
    pub fn reward(
        book: Book,
        pool: PoolIndex,
        parts: &[(NodeIndex, Units)],
        split: Split,
        reason: String,
        by: UserId,
    ) -> Result<Entry, Broken> {
        let amount = parts.iter().try_fold(Units::ZERO, |sum, (_, units)| sum.plus(*units))?;
        let mut lines = vec![Line { account: Account::PoolExpense(pool), amount: amount.negated()? }];
        lines.extend(parts.iter().map(|(node, amount)| Line { account: Account::NodePayable(*node), amount: *amount }));
        Entry { book, cause: Cause::Reward { pool, split, reason, by }, lines }.checked()
    }

    /// `amount` > 0 that left the wallet without a payout: to a node's address it was paid in advance, so that its payable may fall below zero; to anybody
    /// else it is the operator's loss.
    pub fn unexplained_transfer(book: Book, node: Option<NodeIndex>, amount: Units, txid: String) -> Result<Entry, Broken> {
        let cause = Cause::Unexplained { node, txid };
        match node {
            Some(node) => Entry::transfer(book, cause, Account::NodePayable(node), Account::NodePaid(node), amount),
            None => Entry::transfer(book, cause, Account::Adjustment, Account::Unexplained, amount),
        }
    }

    /// `amount` > 0 of the live book was only ever accrued in the dry run, and is not owed.
    pub fn go_live(node: NodeIndex, currency: Currency, amount: Units, from: Timestamp, by: UserId) -> Result<Entry, Broken> {
        let book = Book { settlement: Settlement::Live, currency };
        let cause = Cause::GoLive { node, from, by };
        Entry::transfer(book, cause, Account::NodePayable(node), Account::Adjustment, amount)
    }

    /// `amount` > 0.
    fn transfer(book: Book, cause: Cause, from: Account, to: Account, amount: Units) -> Result<Entry, Broken> {
        if amount <= Units::ZERO {
            return Err(Broken::Malformed("moves nothing or moves it backwards"));
        }
        let lines = vec![Line { account: from, amount: amount.negated()? }, Line { account: to, amount }];
        Entry { book, cause, lines }.checked()
    }

    fn checked(self) -> Result<Entry, Broken> {
        self.check()?;
        Ok(self)
    }

    /// Sums to zero, and every line says something.
    pub fn check(&self) -> Result<(), Broken> {
        if !(2..=MAX_LINES).contains(&self.lines.len()) {
            return Err(Broken::Malformed("has too few or too many lines"));
        }
        if self.lines.iter().any(|l| l.amount == Units::ZERO) {
            return Err(Broken::Malformed("has a line without an amount"));
        }
        let mut accounts: Vec<Account> = self.lines.iter().map(|l| l.account).collect();
        accounts.sort_unstable();
        if accounts.windows(2).any(|w| w[0] == w[1]) {
            return Err(Broken::Malformed("names an account twice"));
        }
        match self.lines.iter().map(|l| i128::from(l.amount.0)).sum() {
            0 => Ok(()),
            by => Err(Broken::Unbalanced { book: self.book, by }),
        }
    }

    /// The new balance of every account the entry touches, given the present ones; refuses what breaks a book.
    pub fn apply(&self, balance: impl Fn(Account) -> Units) -> Result<Vec<(Account, Units)>, Broken> {
        self.check()?;
        let after = |line: &Line| {
            let new = balance(line.account).plus(line.amount)?;
            let overdraws = new < Units::ZERO && line.amount < Units::ZERO && line.account.is_never_negative();
            if overdraws && !self.cause.may_overdraw() {
                return Err(Broken::Negative { book: self.book, account: line.account, balance: new });
            }
            Ok((line.account, new))
        };
        self.lines.iter().map(after).collect()
    }
}

/// All balances in memory: what `verify` replays the ledger into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Balances(BTreeMap<(Book, Account), Units>);

impl Balances {
    pub fn get(&self, book: Book, account: Account) -> Units {
        self.0.get(&(book, account)).copied().unwrap_or_default()
    }

    /// Changes nothing when the entry is refused.
    pub fn post(&mut self, entry: &Entry) -> Result<(), Broken> {
        for (account, balance) in entry.apply(|account| self.get(entry.book, account))? {
            self.0.insert((entry.book, account), balance);
        }
        Ok(())
    }

    /// Every book sums to zero.
    pub fn check(&self) -> Result<(), Broken> {
        let mut sums: BTreeMap<Book, i128> = BTreeMap::new();
        for ((book, _), units) in &self.0 {
            *sums.entry(*book).or_default() += i128::from(units.0);
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            None => Ok(()),
            Some((book, by)) => Err(Broken::Unbalanced { book, by }),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Book, Account, Units)> {
        self.0.iter().map(|((book, account), units)| (*book, *account, *units))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Pico;

    const BOOK: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
    const NODE: NodeIndex = NodeIndex(7);

    fn payout() -> PayoutId {
        PayoutId::parse("payout_a1").unwrap()
    }

    fn whole(by_pool: &[(u32, i64)], total: i64) -> Whole {
        let by_pool = by_pool.iter().map(|(p, u)| (PoolIndex(*p), Units(*u))).collect();
        Whole { currency: Currency::Usdt, total: Units(total), by_pool, remainder: Pico::ZERO }
    }

    fn accrual(by_pool: &[(u32, i64)], total: i64) -> Result<Option<Entry>, Broken> {
        Entry::accrual(Settlement::Live, NODE, Epoch(1), Epoch(9), &whole(by_pool, total))
    }

    #[test]
    fn work_becomes_payable_then_reserved_then_paid() {
        let mut b = Balances::default();
        b.post(&accrual(&[(0, 70), (3, 30)], 100).unwrap().unwrap()).unwrap();
        b.post(&Entry::reserve(BOOK, NODE, payout(), Units(60)).unwrap()).unwrap();
        b.post(&Entry::paid(BOOK, NODE, payout(), Units(50)).unwrap()).unwrap();
        b.post(&Entry::release(BOOK, NODE, payout(), Units(10)).unwrap()).unwrap();
        let of = |a| b.get(BOOK, a).0;
        assert_eq!(of(Account::PoolExpense(PoolIndex(0))), -70);
        assert_eq!(of(Account::PoolExpense(PoolIndex(3))), -30);
        let node = [Account::NodePayable(NODE), Account::NodeReserved(NODE), Account::NodePaid(NODE)].map(of);
        assert_eq!(node, [50, 0, 50]);
        b.check().unwrap();
        let simulated = Book { settlement: Settlement::Simulated, ..BOOK };
        assert_eq!(b.get(simulated, Account::NodePayable(NODE)), Units::ZERO, "a dry run is its own book");
    }

    #[test]
    fn unbalanced_and_meaningless_entries_are_refused() {
        assert_eq!(accrual(&[], 0), Ok(None));
        assert_eq!(accrual(&[(0, 99)], 100), Err(Broken::Unbalanced { book: BOOK, by: 1 }));
        assert!(matches!(accrual(&[(0, 50), (0, 50)], 100), Err(Broken::Malformed(_))));
        for amount in [0, -1] {
            assert!(matches!(Entry::reserve(BOOK, NODE, payout(), Units(amount)), Err(Broken::Malformed(_))));
        }
        let one_line = Entry { book: BOOK, cause: Cause::Paid { payout: payout() }, lines: vec![] };
        assert!(matches!(Balances::default().post(&one_line), Err(Broken::Malformed(_))));
        assert_eq!(
            Entry::adjustment(BOOK, NODE, Units(i64::MIN), String::new(), UserId::parse("user_root").unwrap()),
            Err(Broken::Overflow)
        );
    }

    #[test]
    fn what_is_owed_never_goes_below_zero_and_a_refusal_changes_nothing() {
        let mut b = Balances::default();
        b.post(&accrual(&[(0, 5)], 5).unwrap().unwrap()).unwrap();
        let before = b.clone();
        let too_much = Entry::reserve(BOOK, NODE, payout(), Units(6)).unwrap();
        assert_eq!(b.post(&too_much), Err(Broken::Negative { book: BOOK, account: Account::NodePayable(NODE), balance: Units(-1) }));
        assert_eq!(b, before);
    }

    fn accounts() -> Vec<Account> {
        let mut all = vec![Account::Adjustment, Account::Unexplained];
        for n in [0, 1, 255, 256, u32::MAX] {
            let node = NodeIndex(n);
            all.extend([Account::PoolExpense(PoolIndex(n)), Account::NodePayable(node), Account::NodeReserved(node)]);
            all.extend([Account::NodePaid(node), Account::Forfeited(node)]);
        }
        all
    }

    #[test]
    fn keys_are_stable_ordered_and_lead_back() {
        let mut all = accounts();
        all.sort_unstable();
        assert!(all.windows(2).all(|w| w[0].key() < w[1].key()));
        for account in all {
            assert_eq!(Account::from_key(account.key()), Some(account));
        }
        assert_eq!(Account::NodePaid(NodeIndex(258)).key(), [3, 0, 0, 1, 2]);
        assert_eq!(Account::from_key([4, 0, 0, 0, 1]), None);
        assert_eq!(Account::from_key([7, 0, 0, 0, 0]), None);
        for settlement in [Settlement::Live, Settlement::Simulated] {
            for currency in [Currency::Usdt, Currency::Lucid] {
                let book = Book { settlement, currency };
                assert_eq!(Book::from_key(book.key()), Some(book));
            }
        }
        assert_eq!(Book::from_key([2, 0]), None);
    }

    proptest! {
        #[test]
        fn books_sum_to_zero_whatever_is_posted(steps in prop::collection::vec((0u8..6, 0u32..3, -50i64..100), 0..80)) {
            let mut b = Balances::default();
            let by = || UserId::parse("user_root").unwrap();
            for (kind, node, amount) in steps {
                let (node, units) = (NodeIndex(node), Units(amount));
                let entry = match kind {
                    0 => Entry::accrual(Settlement::Live, node, Epoch(0), Epoch(1), &whole(&[(node.0, amount.max(0))], amount.max(0))).map(|e| e.ok_or(())),
                    1 => Entry::reserve(BOOK, node, payout(), units).map(Ok),
                    2 => Entry::release(BOOK, node, payout(), units).map(Ok),
                    3 => Entry::paid(BOOK, node, payout(), units).map(Ok),
                    4 => Entry::adjustment(BOOK, node, units, "why".into(), by()).map(Ok),
                    _ => Entry::forfeiture(BOOK, node, units, "gone".into(), by()).map(Ok),
                };
                if let Ok(Ok(entry)) = entry {
                    let stored: Entry = postcard::from_bytes(&postcard::to_stdvec(&entry).unwrap()).unwrap();
                    prop_assert_eq!(&stored, &entry);
                    let _refused_or_not = b.post(&entry);
                }
                b.check().unwrap();
                for (_, account, balance) in b.iter() {
                    prop_assert!(!account.is_never_negative() || balance >= Units::ZERO);
                }
            }
        }
    }
}
