//! The ledger against a naive model: a journal of who got what, added up anew for every question.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::checkpoints;
use super::ledger::{self, Accrued, Balance};
use super::ledger_check::{Depth, verify};
use super::ledger_entries::{self, Order, Reward};
use super::statements;
use super::tables::{ACCRUED, ALERTS, BALANCES, BOOK_SUMS, CHECKPOINT_PAGES, CHECKPOINTS, MONTHLY, POSTINGS};
use super::testing::{T, act, at, new_node, node_id, price};
use super::{nodes, pools};
use crate::crypto::Entropy;
use crate::domain::audit::Act;
use crate::domain::credits::{Epoch, EpochSlots, Leaf, Multiplier, Payer};
use crate::domain::ids::{NodeIndex, PayoutId, PoolIndex, UserId};
use crate::domain::ledger::{Account, Book, Cause, Entry, Line, Settlement, Split};
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::pool::{DEFAULT_POOL_ID, Pricing};
use crate::domain::poot::{Inputs, Params, ScoreState, score};
use crate::domain::statement::Month;
use crate::domain::time::{Now, Timestamp};
use crate::storage::fault::{Fault, TxError, WriteError};
use crate::storage::table::{Read, WriteTx};
use crate::storage::{Store, accruals};

mod archives;

const NODES: u32 = 3;
const LIVE: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
const SIMULATED: Book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };
const DAY: i64 = 86_400;

fn by() -> UserId {
    UserId::parse("user_00000001").unwrap()
}

fn order() -> Order {
    Order { by: by(), reason: "for a test".into() }
}

fn payout() -> PayoutId {
    PayoutId::parse("payout_00000001").unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// Work in epochs so many hours apart, each worth so many pico-units.
    Work(u32, Vec<(u32, i128)>),
    Days(i64),
    Equal(i64),
    ByCredits(i64),
    Adjust(u32, bool, i64),
    Reserve(u32, bool, i64),
    Release(u32, bool, i64),
    Pay(u32, bool, i64),
    Forfeit(u32, bool),
    Unexplained(Option<u32>, i64),
    GoLive(u32),
    Close,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..NODES;
    let amount = 1i64..3_000;
    // Some less than a unit, so that whole ranges post nothing.
    let worth = prop_oneof![0i128..400_000, 0i128..2_000_000_000];
    let step = prop_oneof![
        4 => (node.clone(), prop::collection::vec((1u32..200, worth), 1..5)).prop_map(|(n, work)| Step::Work(n, work)),
        3 => (1i64..25).prop_map(Step::Days),
        1 => amount.clone().prop_map(Step::Equal),
        1 => amount.clone().prop_map(Step::ByCredits),
        2 => (node.clone(), any::<bool>(), -2_000i64..2_000).prop_map(|(n, live, a)| Step::Adjust(n, live, a)),
        3 => (node.clone(), any::<bool>(), amount.clone()).prop_map(|(n, live, a)| Step::Reserve(n, live, a)),
        1 => (node.clone(), any::<bool>(), amount.clone()).prop_map(|(n, live, a)| Step::Release(n, live, a)),
        2 => (node.clone(), any::<bool>(), amount.clone()).prop_map(|(n, live, a)| Step::Pay(n, live, a)),
        1 => (node.clone(), any::<bool>()).prop_map(|(n, live)| Step::Forfeit(n, live)),
        1 => (prop::option::of(node.clone()), amount).prop_map(|(n, a)| Step::Unexplained(n, a)),
        1 => node.prop_map(Step::GoLive),
        2 => Just(Step::Close),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..50)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Earned,
    Reward,
    Adjusted,
    Reserved,
    Released,
    Paid,
    Unplanned,
    Forfeited,
}

#[derive(Debug, Clone, Copy)]
struct Movement {
    book: Book,
    month: Month,
    node: u32,
    kind: Kind,
    amount: i64,
}

/// What every account must be, from nothing but the journal.
#[derive(Default)]
struct Model {
    journal: Vec<Movement>,
    /// Left the wallet to nobody known.
    lost: i64,
    /// All pico-units a node ever earned, and the units that were posted with the time at which their range ended.
    picos: BTreeMap<u32, i128>,
    work: Vec<(u32, Timestamp, i64)>,
}

impl Model {
    fn sum(&self, book: Book, node: u32, until: Month, kinds: &[Kind]) -> i64 {
        let fits = |m: &&Movement| m.book == book && m.node == node && m.month <= until && kinds.contains(&m.kind);
        self.journal.iter().filter(fits).map(|m| m.amount).sum()
    }

    fn payable(&self, book: Book, node: u32, until: Month) -> i64 {
        self.sum(book, node, until, &[Kind::Earned, Kind::Reward, Kind::Adjusted, Kind::Released])
            - self.sum(book, node, until, &[Kind::Reserved, Kind::Unplanned, Kind::Forfeited])
    }

    fn reserved(&self, book: Book, node: u32, until: Month) -> i64 {
        self.sum(book, node, until, &[Kind::Reserved]) - self.sum(book, node, until, &[Kind::Released, Kind::Paid])
    }

    fn balances(&self) -> BTreeMap<(Book, Account), i64> {
        let all = Month(u32::MAX);
        let mut out = BTreeMap::new();
        for book in [LIVE, SIMULATED] {
            for n in 0..NODES {
                let node = NodeIndex(n);
                out.insert((book, Account::NodePayable(node)), self.payable(book, n, all));
                out.insert((book, Account::NodeReserved(node)), self.reserved(book, n, all));
                out.insert((book, Account::NodePaid(node)), self.sum(book, n, all, &[Kind::Paid, Kind::Unplanned]));
                out.insert((book, Account::Forfeited(node)), self.sum(book, n, all, &[Kind::Forfeited]));
            }
            let of_all = |kinds: &[Kind]| (0..NODES).map(|n| self.sum(book, n, all, kinds)).sum::<i64>();
            out.insert((book, Account::PoolExpense(PoolIndex(0))), -of_all(&[Kind::Earned, Kind::Reward]));
            let lost = if book == LIVE { self.lost } else { 0 };
            out.insert((book, Account::Adjustment), -of_all(&[Kind::Adjusted]) - lost);
            out.insert((book, Account::Unexplained), lost);
        }
        out.retain(|_, units| *units != 0);
        out
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    model: Model,
    /// Seconds since the beginning.
    now: i64,
    worked_until: BTreeMap<u32, u32>,
}

fn open(dir: &std::path::Path, now: Now) -> Store {
    Store::open(&crate::storage::testing::options(dir), Entropy::new(), now).unwrap()
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), at(0));
        let directory = store.directory.clone();
        let verb = move |tx: &mut WriteTx<'_>| {
            pools::ensure_default(tx, &act(), price(), 100)?;
            let pool = crate::domain::ids::PoolId::parse(DEFAULT_POOL_ID).unwrap();
            (0..NODES).try_for_each(|n| {
                nodes::create(tx, &directory, &act(), &node_id(n), &new_node(&format!("node-{n}"), Some(pool.clone())), 10).map(drop)
            })
        };
        store.core.write_now(verb).unwrap();
        World { dir, store, model: Model::default(), now: 0, worked_until: BTreeMap::new() }
    }

    fn at(&self) -> Now {
        at(self.now)
    }

    fn month(&self) -> Month {
        Month::of(self.at().wall)
    }

    fn write<R: Send + 'static>(&self, verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static) -> Result<R, WriteError> {
        self.store.core.write_now(verb)
    }

    fn post(&self, entry: Entry) {
        let now = self.at();
        self.write(move |tx| ledger::post(tx, entry.clone(), now)).unwrap();
    }

    fn note(&mut self, book: Book, node: u32, kind: Kind, amount: i64) {
        self.model.journal.push(Movement { book, month: self.month(), node, kind, amount });
    }

    fn free(&self, book: Book, node: u32) -> i64 {
        self.model.payable(book, node, Month(u32::MAX))
    }

    fn step(&mut self, step: Step) {
        let book = |live| if live { LIVE } else { SIMULATED };
        match step {
            Step::Work(node, work) => self.work(node, &work),
            Step::Days(days) => self.now += days * DAY,
            Step::Equal(amount) => self.reward(amount, Split::Equal),
            Step::ByCredits(amount) => {
                let month = self.month().previous();
                self.reward(amount, Split::Credits { from: month.start(), to: month.end() });
            }
            Step::Adjust(node, live, amount) => {
                let (book, now) = (book(live), Act::system(self.at()));
                let verb = move |tx: &mut WriteTx<'_>| ledger_entries::adjust(tx, &now, &order(), &node_id(node), book, Units(amount));
                let allowed = amount > 0 || (amount < 0 && self.free(book, node) + amount >= 0);
                if amount != 0 {
                    assert_eq!(self.write(verb).is_ok(), allowed);
                }
                if allowed {
                    self.note(book, node, Kind::Adjusted, amount);
                }
            }
            Step::Reserve(node, live, amount) => {
                let amount = amount.min(self.free(book(live), node));
                if amount > 0 {
                    self.post(Entry::reserve(book(live), NodeIndex(node), payout(), Units(amount)).unwrap());
                    self.note(book(live), node, Kind::Reserved, amount);
                }
            }
            Step::Release(node, live, amount) | Step::Pay(node, live, amount) => {
                let amount = amount.min(self.model.reserved(book(live), node, Month(u32::MAX)));
                if amount > 0 {
                    let pays = matches!(step, Step::Pay(..));
                    let make = if pays { Entry::paid } else { Entry::release };
                    self.post(make(book(live), NodeIndex(node), payout(), Units(amount)).unwrap());
                    self.note(book(live), node, if pays { Kind::Paid } else { Kind::Released }, amount);
                }
            }
            Step::Forfeit(node, live) => {
                let free = self.free(book(live), node);
                if free > 0 {
                    self.post(Entry::forfeiture(book(live), NodeIndex(node), Units(free), "gone".into(), by()).unwrap());
                    self.note(book(live), node, Kind::Forfeited, free);
                }
            }
            Step::Unexplained(node, amount) => {
                self.post(Entry::unexplained_transfer(LIVE, node.map(NodeIndex), Units(amount), "ab".into()).unwrap());
                match node {
                    Some(node) => self.note(LIVE, node, Kind::Unplanned, amount),
                    None => self.model.lost += amount,
                }
            }
            Step::GoLive(node) => {
                let free = self.free(LIVE, node);
                if free > 0 {
                    self.post(Entry::go_live(NodeIndex(node), Currency::Usdt, Units(free), self.at().wall, by()).unwrap());
                    self.note(LIVE, node, Kind::Adjusted, -free);
                }
            }
            Step::Close => {
                let draft = checkpoints::draft(&self.store.read().unwrap(), self.month().previous(), self.at().wall).unwrap();
                if let Some(draft) = draft {
                    self.write(move |tx| checkpoints::put(tx, &draft)).unwrap();
                }
            }
            Step::Restart => {
                self.store.close();
                let now = self.at();
                // The file is free again only when the store is gone.
                let elsewhere = tempfile::tempdir().unwrap();
                drop(std::mem::replace(&mut self.store, open(elsewhere.path(), now)));
                self.store = open(self.dir.path(), now);
            }
        }
    }

    /// Epochs before now, after all that were posted.
    fn work(&mut self, node: u32, work: &[(u32, i128)]) {
        let until = self.at().wall.slot().0;
        let made = at(0).wall.slot().0;
        let mut epoch = *self.worked_until.get(&node).unwrap_or(&made);
        let through = Epoch(until);
        if until <= epoch {
            return;
        }
        let mut leaves = Vec::new();
        for (hours, worth) in work {
            epoch += hours * 120;
            if epoch > until {
                break;
            }
            leaves.push((Epoch(epoch), leaf(node, *worth)));
        }
        self.worked_until.insert(node, until);
        let (now, of) = (self.at(), leaves.clone());
        self.write(move |tx| accruals::post(tx, NodeIndex(node), through, &of, now)).unwrap();
        for (epoch, leaf) in leaves {
            let before = *self.model.picos.entry(node).or_default();
            let after = before + leaf.accrual.0;
            self.model.picos.insert(node, after);
            let amount = i64::try_from(after / 1_000_000 - before / 1_000_000).unwrap();
            let month = Month::of_epoch(epoch);
            for book in [LIVE, SIMULATED] {
                self.model.journal.push(Movement { book, month, node, kind: Kind::Earned, amount });
            }
            // Its range ends with the month, or with what was posted.
            self.model.work.push((node, month.last_epoch().min(through).first_slot().start(), amount));
        }
    }

    fn reward(&mut self, amount: i64, split: Split) {
        let weights: Vec<i64> = match split {
            Split::Equal => vec![1; NODES as usize],
            Split::Credits { from, to } => {
                let of = |n| self.model.work.iter().filter(|(m, at, _)| *m == n && (from..to).contains(at)).map(|(.., units)| units).sum();
                (0..NODES).map(of).collect()
            }
        };
        let mut credits = BTreeMap::new();
        if let Split::Credits { from, to } = split {
            credits = ledger_entries::credits(&self.store.read().unwrap(), PoolIndex(0), Currency::Usdt, from, to).unwrap();
            let found: Vec<i64> = (0..NODES).map(|n| credits.get(&NodeIndex(n)).map_or(0, |w| i64::try_from(*w).unwrap())).collect();
            assert_eq!(found, weights);
        }
        let pool = crate::domain::ids::PoolId::parse(DEFAULT_POOL_ID).unwrap();
        let reward = Reward { pool, currency: Currency::Usdt, amount: Units(amount), split, credits };
        let act = Act::system(self.at());
        let given = self.write(move |tx| ledger_entries::give(tx, &act, &order(), &reward));
        let total: i64 = weights.iter().sum();
        assert_eq!(given.is_ok(), total > 0, "{given:?}");
        let given = given.unwrap_or_default();
        assert_eq!(given.iter().map(|(_, units)| units.0).sum::<i64>(), if total > 0 { amount } else { 0 });
        for (node, units) in given {
            for book in [LIVE, SIMULATED] {
                self.note(book, node.0, Kind::Reward, units.0);
            }
        }
    }

    fn check(&self) {
        let read = self.store.read().unwrap();
        for depth in [Depth::Full, Depth::SinceCheckpoint] {
            let found = verify(&read, depth).unwrap();
            assert!(found.is_ok(), "{found:?}");
        }
        let stored = ledger::balances(&read).unwrap().into_iter().map(|(book, account, units)| ((book, account), units.0));
        assert_eq!(stored.filter(|(_, units)| *units != 0).collect::<BTreeMap<_, _>>(), self.model.balances());
        let first = Month::of(at(0).wall);
        for book in [LIVE, SIMULATED] {
            for month in (first.0..=self.month().0).map(Month) {
                let of_month = statements::of_month(&read, book, month).unwrap();
                for node in 0..NODES {
                    let found = of_month.iter().find(|s| s.node == NodeIndex(node));
                    self.same(book, month, node, found);
                }
            }
            for node in 0..NODES {
                let all = statements::of_node(&read, book, NodeIndex(node), first, self.month()).unwrap();
                assert_eq!(all.len() as u32, self.month().0 - first.0 + 1);
                all.iter().for_each(|statement| self.same(book, statement.month, node, Some(statement)));
            }
        }
    }

    /// A statement is what the journal says, and adds up.
    fn same(&self, book: Book, month: Month, node: u32, found: Option<&crate::domain::statement::Statement>) {
        let model = &self.model;
        let (opening, closing) = (model.payable(book, node, month.previous()), model.payable(book, node, month));
        let reserved = model.reserved(book, node, month);
        let Some(found) = found else { return assert_eq!((opening, closing, reserved), (0, 0, 0)) };
        let of = |kind| model.sum(book, node, month, &[kind]) - model.sum(book, node, month.previous(), &[kind]);
        let t = &found.totals;
        assert_eq!(
            [found.opening, t.earned, t.rewards, t.adjustments, t.reserved, t.released, t.paid, t.unplanned, t.forfeited, found.closing]
                .map(|u| u.0),
            [
                opening,
                of(Kind::Earned),
                of(Kind::Reward),
                of(Kind::Adjusted),
                of(Kind::Reserved),
                of(Kind::Released),
                of(Kind::Paid),
                of(Kind::Unplanned),
                of(Kind::Forfeited),
                closing
            ]
        );
        assert_eq!(found.reserved_at_end.0, reserved);
        let grown = t.reserved_change().unwrap().0;
        let paid = t.paid_change().unwrap().0;
        let sum = found.opening.0 + t.earned.0 + t.rewards.0 + t.adjustments.0 - paid - t.forfeited.0 - grown;
        assert_eq!(sum, found.closing.0, "the statement of {month} does not add up");
    }

    /// One row of what is kept, changed so that nothing else notices. None when the table has no row.
    fn corrupt(&self, which: u8, row: prop::sample::Index) -> Option<&'static str> {
        let read = self.store.read().unwrap();
        let pick = |count: usize| (count > 0).then(|| row.index(count));
        macro_rules! change {
            ($table:expr, $name:literal, $change:expr) => {{
                let rows = read.scan($table, .., usize::MAX).unwrap();
                let (key, mut value) = rows[pick(rows.len())?].clone();
                #[allow(clippy::redundant_closure_call)]
                let () = $change(&mut value);
                self.write(move |tx| tx.put($table, &key, &value)).unwrap();
                Some($name)
            }};
        }
        match which {
            0 => change!(BALANCES, "a balance", |b: &mut Balance| *b = b.moved(Units(1)).unwrap()),
            1 => change!(BOOK_SUMS, "a turnover", |b: &mut ledger::BookSum| b.credited.0 += 1),
            2 => change!(MONTHLY, "a month", |t: &mut crate::domain::statement::Totals| (t.earned.0, t.rewards.0) =
                (t.earned.0 + 1, t.rewards.0 - 1)),
            3 => change!(CHECKPOINTS, "a checkpoint", |c: &mut checkpoints::Checkpoint| c.postings[7] ^= 1),
            4 => change!(CHECKPOINT_PAGES, "a page", |p: &mut checkpoints::CheckpointPage| p.balances[0].1.units.0 += 1),
            5 => change!(ACCRUED, "a watermark", |a: &mut Accrued| if row.index(2) == 0 { a.from.0 += 1 } else { a.through.0 += 1 }),
            6 => change!(POSTINGS, "a posting", |p: &mut crate::domain::ledger::Posting| {
                (p.entry.lines[0].amount.0, p.entry.lines[1].amount.0) = (p.entry.lines[0].amount.0 - 1, p.entry.lines[1].amount.0 + 1);
            }),
            _ => {
                let rows = read.scan(POSTINGS, .., usize::MAX).unwrap();
                let key = rows[pick(rows.len())?].0;
                self.write(move |tx| tx.delete(POSTINGS, &key).map(drop)).unwrap();
                Some("a posting that is gone")
            }
        }
    }
}

fn leaf(node: u32, worth: i128) -> Leaf {
    let pricing = Pricing { cost_per_hour: Units(100), reward_per_hour: Units(80), currency: Currency::Usdt };
    let inputs = Inputs::default();
    let mut score = score(&inputs, &Params::default());
    score.state = ScoreState::Valid;
    Leaf {
        node: NodeIndex(node),
        slots: EpochSlots { proven: 9, observed: 10 },
        inputs,
        score,
        multiplier: Multiplier::default(),
        payer: Some(Payer { pool: PoolIndex(0), pricing }),
        accrual: Pico(worth),
        window_slots: 0,
        reports: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_what_a_journal_says_and_a_changed_row_is_found(steps in steps(), which in 0u8..8, row in any::<prop::sample::Index>()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.check();
        if let Some(what) = world.corrupt(which, row) {
            let read = world.store.read().unwrap();
            let found = verify(&read, Depth::Full);
            prop_assert!(!matches!(found, Ok(Ok(_))), "{} was changed and nothing found", what);
        }
    }
}

/// A world with some history over two months and a checkpoint.
fn lived() -> World {
    let mut world = World::new();
    for node in 0..NODES {
        world.step(Step::Days(1));
        world.step(Step::Work(node, vec![(3, 5_000_000_000)]));
    }
    world.step(Step::Adjust(0, true, 100));
    world.step(Step::Days(30));
    world.step(Step::Close);
    world.step(Step::Reserve(1, true, 50));
    world.check();
    world
}

#[test]
fn a_balance_that_changed_without_a_posting_stops_the_next_one_and_the_payouts() {
    let world = lived();
    let (node, now) = (NodeIndex(0), world.at());
    let key = ledger::key(LIVE, Account::NodePayable(node));
    let before = world.store.read().unwrap().get(BALANCES, &key).unwrap().unwrap();
    let wrong = Balance { units: Units(before.units.0 + 1_000_000), ..before };
    world.write(move |tx| tx.put(BALANCES, &key, &wrong)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let post = |node: u32| {
        let entry = Entry::adjustment(LIVE, NodeIndex(node), Units(5), "for a test".into(), by()).unwrap();
        runtime.block_on(world.store.write_money(move |tx| ledger::post(tx, entry.clone(), now)))
    };
    let latched = || ledger::latched(&world.store.read().unwrap()).unwrap();
    post(1).unwrap();
    assert_eq!(latched(), None, "what does not touch it does not see it");
    let count = || world.store.read().unwrap().count(POSTINGS).unwrap();
    let postings = count();
    assert!(matches!(post(0), Err(WriteError::Fault(Fault::Books { .. }))));
    assert_eq!(count(), postings, "nothing is written");
    assert!(latched().unwrap().contains("NodePayable"), "{:?}", latched());
    let alerts = world.store.read().unwrap().scan(ALERTS, .., 10).unwrap();
    assert_eq!(alerts.iter().filter(|(_, alert)| alert.kind == ledger::ALERT && alert.resolved_at.is_none()).count(), 1);
    for depth in [Depth::Full, Depth::SinceCheckpoint] {
        assert!(verify(&world.store.read().unwrap(), depth).unwrap().is_err());
    }
    // Put right, it must be checked before payouts go on: the latch stays by itself.
    world.write(move |tx| tx.put(BALANCES, &key, &before)).unwrap();
    post(0).unwrap();
    assert!(latched().is_some());
    verify(&world.store.read().unwrap(), Depth::Full).unwrap().unwrap();
    let latch = ledger::latch(&world.store.read().unwrap()).unwrap().unwrap();
    let other = ledger::Latch { why: "another".into(), ..latch.clone() };
    assert!(!world.write(move |tx| ledger::clear_latch(tx, &act(), &other)).unwrap());
    assert!(world.write(move |tx| ledger::clear_latch(tx, &act(), &latch)).unwrap());
    assert_eq!(latched(), None);
}

#[test]
fn an_entry_that_would_overdraw_latches_payouts_and_an_unplanned_transfer_does_not() {
    let world = lived();
    let (now, free) = (world.at(), world.free(LIVE, 2));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let post = |entry: Entry| runtime.block_on(world.store.write_money(move |tx| ledger::post(tx, entry.clone(), now)));
    post(Entry::unexplained_transfer(LIVE, Some(NodeIndex(2)), Units(free + 700), "ab".into()).unwrap()).unwrap();
    let read = || world.store.read().unwrap();
    assert_eq!(ledger::balance(&read(), LIVE, Account::NodePayable(NodeIndex(2))).unwrap(), Units(-700));
    // It pays itself back, and nothing else may be taken meanwhile.
    post(Entry::adjustment(LIVE, NodeIndex(2), Units(300), "some".into(), by()).unwrap()).unwrap();
    assert_eq!(ledger::latched(&read()).unwrap(), None);
    verify(&read(), Depth::Full).unwrap().unwrap();
    assert!(matches!(post(Entry::reserve(LIVE, NodeIndex(2), payout(), Units(1)).unwrap()), Err(WriteError::Fault(Fault::Books { .. }))));
    assert!(ledger::latched(&read()).unwrap().is_some());
}

#[test]
fn a_range_that_is_left_out_is_found() {
    let world = lived();
    let accrual = |tx: &mut WriteTx<'_>, (after, through): (u32, u32), now| {
        let lines = vec![
            Line { account: Account::PoolExpense(PoolIndex(0)), amount: Units(-1) },
            Line { account: Account::NodePayable(NodeIndex(0)), amount: Units(1) },
        ];
        let cause = Cause::Accrual { node: NodeIndex(0), after: Epoch(after), through: Epoch(through) };
        ledger::post(tx, Entry { book: SIMULATED, cause, lines: lines.clone() }, now)?;
        let cause = Cause::Accrual { node: NodeIndex(0), after: Epoch(after), through: Epoch(through) };
        ledger::post(tx, Entry { book: LIVE, cause, lines }, now)
    };
    let (end, now) = (ledger::accrued(&world.store.read().unwrap(), NodeIndex(0)).unwrap().posted(Currency::Usdt).0, world.at());
    let try_range = |after: u32, through: u32| {
        let found = world.write(move |tx| {
            accrual(tx, (after, through), now)?;
            let mut accrued = ledger::accrued(tx, NodeIndex(0))?;
            accrued.set_posted(Currency::Usdt, Epoch(through));
            accrued.through = Epoch(through);
            ledger::put_accrued(tx, NodeIndex(0), &accrued)?;
            let found = verify(tx, Depth::Full)?;
            Err::<(), _>(TxError::Fault(Fault::Invariant(format!("{:?}", found.map(drop)))))
        });
        found.unwrap_err().to_string()
    };
    assert!(try_range(end, end + 10).ends_with("Ok(())"), "{}", try_range(end, end + 10));
    for (after, through) in [(end + 10, end + 20), (end - 10, end + 20), (end, end)] {
        assert!(try_range(after, through).contains("its "), "{}", try_range(after, through));
    }
}

/// As an earlier release left it: no turnover, no months, ranges with holes, watermarks that know no contiguity.
#[test]
fn a_store_of_an_earlier_release_is_taken_over_and_verifies() {
    let mut world = lived();
    let months = |world: &World| world.store.read().unwrap().scan(MONTHLY, .., 100).unwrap();
    // What pools kept was not known then.
    let before: Vec<_> =
        months(&world).into_iter().map(|(key, totals)| (key, crate::domain::statement::Totals { withheld: 0, ..totals })).collect();
    let age = |tx: &mut WriteTx<'_>| {
        for (key, posting) in tx.scan(POSTINGS, .., 100)? {
            let mut posting = posting;
            if let Cause::Accrual { after, .. } = &mut posting.entry.cause {
                after.0 += 1;
                tx.put(POSTINGS, &key, &posting)?;
            }
        }
        for (node, row) in tx.scan(ACCRUED, .., 100)? {
            tx.put(ACCRUED, &node, &Accrued { remainders: row.remainders, ..Accrued::since(row.through) })?;
        }
        for (key, _) in tx.scan(MONTHLY, .., 100)? {
            tx.delete(MONTHLY, &key)?;
        }
        for (key, balance) in tx.scan(BALANCES, .., 100)? {
            tx.put(BALANCES, &key, &Balance::carried_over(balance.units)?)?;
        }
        for (key, _) in tx.scan(CHECKPOINT_PAGES, .., 100)? {
            tx.delete(CHECKPOINT_PAGES, &key)?;
        }
        for (key, _) in tx.scan(CHECKPOINTS, .., 100)? {
            tx.delete(CHECKPOINTS, &key)?;
        }
        [LIVE, SIMULATED].iter().try_for_each(|book| tx.delete(BOOK_SUMS, &book.key()).map(drop))
    };
    world.write(age).unwrap();
    world.step(Step::Restart);
    assert_eq!(months(&world), before);
    world.check();
    world.step(Step::Work(0, vec![(3, 1_000_000_000)]));
    world.step(Step::Close);
    world.check();

    world.write(age).unwrap();
    let key = ledger::key(LIVE, Account::Adjustment);
    world.write(move |tx| tx.put(BALANCES, &key, &Balance::carried_over(Units(1))?)).unwrap();
    world.step(Step::Restart);
    let read = world.store.read().unwrap();
    assert!(ledger::latched(&read).unwrap().is_some(), "what does not add up is not made to");
    assert!(verify(&read, Depth::Full).unwrap().is_err());
}

#[test]
fn what_pools_keep_is_their_price_less_the_reward_for_the_time_that_ran() {
    let world = lived();
    let first = Month::of(Timestamp::from_seconds(T));
    let read = world.store.read().unwrap();
    let of = |node: u32| statements::of_node(&read, LIVE, NodeIndex(node), first, first).unwrap()[0].totals.clone();
    // 9 slots at 100 - 80 units an hour.
    assert_eq!((of(0).withheld, of(0).commission().unwrap()), (180, Units(1)));
}

/// How long a month of a fleet takes to read and a year to verify. Not a test of anything: numbers for people, on demand.
#[test]
#[ignore = "measures"]
#[expect(clippy::disallowed_methods, reason = "it measures, on demand")]
fn a_year_of_a_thousand_nodes() {
    let world = World::new();
    let start = at(0).wall;
    for month in 0..12i64 {
        let verb = move |tx: &mut WriteTx<'_>| {
            for node in 0..1_000 {
                let now = Now { wall: start.plus_seconds(month * 30 * DAY), ..at(0) };
                for book in [LIVE, SIMULATED] {
                    ledger::post(tx, Entry::adjustment(book, NodeIndex(node), Units(100), "x".into(), by()).unwrap(), now)?;
                }
            }
            Ok(())
        };
        let began = std::time::Instant::now();
        world.write(verb).unwrap();
        println!("2,000 postings in one commit: {:?}", began.elapsed());
    }
    let read = world.store.read().unwrap();
    for month in [0, 11] {
        let began = std::time::Instant::now();
        let rows = statements::of_month(&read, LIVE, Month::of(start.plus_seconds(month * 30 * DAY))).unwrap();
        println!("{} statements, {} months back: {:?}", rows.len(), 11 - month, began.elapsed());
    }
    let began = std::time::Instant::now();
    let draft = checkpoints::draft(&read, Month::of(start), start).unwrap().unwrap();
    println!("checkpoint of {} postings, {} pages: {:?}", draft.checkpoint.through, draft.pages.len(), began.elapsed());
    let began = std::time::Instant::now();
    let found = verify(&read, Depth::Full).unwrap();
    println!("verify {found:?}: {:?}", began.elapsed());
}
