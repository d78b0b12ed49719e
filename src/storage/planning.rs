//! Who can be paid what, and planning it: one calculation for the automatic cycle, batches, schedules and the preview. It reads, and writes only where it is told to
//! plan, in the transaction of its caller.

use std::collections::{BTreeMap, BTreeSet};

use super::Secrets;
use super::accruals;
use super::core::{batches, epochs, final_payouts, ledger, money, nodes, payouts};
use super::fault::{Fault, TxError};
use super::table::{Read, WriteTx};
use crate::domain::address::PayoutAddress;
use crate::domain::batch::{Batch, LeftOut, Wish};
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::guard::{self, Facts, Guard};
use crate::domain::ids::{NodeIndex, PayoutId};
use crate::domain::ledger::{Account, Book, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::paying::Paying;
use crate::domain::payout::{self, Candidate, PayoutError, Plan, Priority, Skip, Source, State};
use crate::domain::refusal::FieldError;
use crate::domain::time::Now;

/// Payouts of a node that the chain refused one after the other, after which a person has to ask for the next one.
const FAILURES_IN_A_ROW: usize = 3;

/// By which terms a node is paid; the guards are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// From the threshold on, and so often.
    Automatic,
    /// Whatever is owed, at once.
    Final,
    /// From this amount on, whenever the schedule says so.
    Scheduled { least: Units },
    /// The same because a person wants it now, who has seen what it costs: any fee is paid.
    ByHand { least: Units },
}

/// What plans are made by.
#[derive(Debug, Clone, Copy)]
pub struct Plans<'a> {
    /// Payout addresses are sealed with them.
    pub secrets: &'a Secrets,
    pub paying: &'a Paying,
    pub now: Now,
}

impl Terms {
    /// The smallest balance that is paid.
    fn threshold(self, paying: &Paying) -> Units {
        match self {
            Terms::Automatic => paying.rules.threshold,
            Terms::Final => Units(1),
            Terms::Scheduled { least } | Terms::ByHand { least } => least.max(Units(1)),
        }
    }
}

/// The guards of a plan, as of this read: how much is paid, or why nothing is.
pub fn guard(by: Plans<'_>, read: &impl Read, node: &Node, book: Book, free: Units, terms: Terms) -> Result<Result<Units, Skip>, Fault> {
    let Plans { secrets, paying, now } = by;
    let (is_automatic, is_final, rules) = (terms == Terms::Automatic, terms == Terms::Final, &paying.rules);
    let address = payouts::address(read, secrets, node.index)?;
    let candidate = Candidate {
        book,
        free,
        threshold: terms.threshold(paying),
        last_scheduled_at: if is_automatic { payouts::last_scheduled_at(read, node.index, book)? } else { None },
        frequency_hours: rules.frequency_hours,
        address: address.as_ref(),
        has_unresolved: payouts::unresolved(read, node.index, book)?.is_some(),
        has_drift: has_drift(node),
        is_payable: paying.pays(book.currency),
    };
    let whole = match payout::eligible_for_payout(&candidate, now) {
        Ok(whole) => whole,
        Err(skip) => return Ok(Err(skip)),
    };
    let state = money::state(read)?;
    if book.settlement == Settlement::Live {
        let pin = &paying.by.pin;
        if state.live.as_ref().is_none_or(|live| live.network != pin.network || live.wallet != pin.wallet) {
            return Ok(Err(Skip::NotLive));
        }
    }
    if !is_final && failed_in_a_row(read, node.index, book)? {
        return Ok(Err(Skip::FailedRepeatedly));
    }
    let Some(address) = address else { return Ok(Err(Skip::NoAddress)) };
    let limits = &rules.guards;
    let class = limits.classes.iter().find(|limit| limit.class == node.node_type);
    let amount = whole.min(limits.max_payout).min(class.map_or(limits.max_payout, |limit| limit.max_payout));
    let facts = Facts {
        amount,
        address: &address.address,
        class: node.node_type,
        fee_sun: paying.fee_sun,
        rate: state.trx_rate,
        is_approved: false,
        lone_admin_since: None,
        pays_any_fee: is_final || matches!(terms, Terms::ByHand { .. }),
    };
    Ok(match guard::plannable(limits, &facts, now) {
        Ok(()) => Ok(amount),
        Err(held) => Err(match held.guard {
            Guard::BlockedAddress => Skip::BlockedAddress,
            Guard::RateMissing | Guard::RateOld => Skip::RateUnknown,
            _ => Skip::FeeShare,
        }),
    })
}

fn has_drift(node: &Node) -> bool {
    node.identity.as_ref().is_some_and(|identity| identity.drift.is_some())
}

fn failed_in_a_row(read: &impl Read, node: NodeIndex, book: Book) -> Result<bool, Fault> {
    let filter =
        payouts::Filter { node: Some(node), settlement: Some(book.settlement), currency: Some(book.currency), ..Default::default() };
    let Some(last) = payouts::last_scheduled(read, node, book)? else { return Ok(false) };
    if !matches!(last.state, State::Failed { .. }) {
        return Ok(false);
    }
    let (rows, _) = payouts::page(read, filter, 0, FAILURES_IN_A_ROW)?;
    Ok(rows.len() == FAILURES_IN_A_ROW && rows.iter().all(|payout| matches!(payout.state, State::Failed { .. })))
}

/// Whom a cycle would pay now, and whom not.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// With the amount, once what is earned so far is posted.
    pub pays: Vec<(Node, Units)>,
    /// What keeps those whose balance would do; nothing for those who are paid, or who owe it to nobody but themselves.
    pub skipped: Vec<(Node, Option<Skip>)>,
}

/// `core` must not be newer than `hot`: take its snapshot first.
pub fn due(by: Plans<'_>, core: &impl Read, hot: &impl Read, of: Vec<Node>, book: Book, terms: Terms) -> Result<Due, Fault> {
    let threshold = terms.threshold(by.paying);
    let (mut candidates, mut rest, mut due) = (Vec::new(), Vec::new(), Due::default());
    for node in of {
        // What is not posted yet may lift a node over the threshold: everything but the amount is checked first.
        match guard(by, core, &node, book, Units(i64::MAX), terms)? {
            Ok(_) => candidates.push(node),
            Err(skip) => rest.push((node, skip)),
        }
    }
    let unposted = accruals::unposted(core, hot, candidates.iter().chain(rest.iter().map(|(node, _)| node)).map(|node| node.index))?;
    let worth = |node: NodeIndex| -> Result<Units, Fault> {
        let earned = unposted.get(&node).and_then(|sums| sums.get(&book.currency)).copied().unwrap_or_default();
        let payable = ledger::balance(core, book, Account::NodePayable(node))?;
        earned.split().and_then(|(units, _)| payable.plus(units)).map_err(|e| Fault::Invariant(e.to_string()))
    };
    for node in candidates {
        let whole = worth(node.index)?;
        if whole < threshold {
            due.skipped.push((node, None));
            continue;
        }
        // The fee is a share of what would be paid, which is known by now.
        match guard(by, core, &node, book, whole, terms)? {
            Ok(amount) => due.pays.push((node, amount)),
            Err(skip) => due.skipped.push((node, Some(skip))),
        }
    }
    for (node, skip) in rest {
        // Who would not be paid anyway waits for nothing.
        let waits = worth(node.index)? >= threshold && !matches!(skip, Skip::UnresolvedPayout | Skip::TooSoon { .. });
        due.skipped.push((node, waits.then_some(skip)));
    }
    Ok(due)
}

/// What was earned and is to be posted before its nodes are paid: read before the transaction, posted in it.
#[derive(Debug, Clone, Default)]
pub struct Earned {
    through: Epoch,
    leaves: BTreeMap<NodeIndex, Vec<(Epoch, Leaf)>>,
}

impl Earned {
    /// `core` must not be newer than `hot`.
    pub fn of(core: &impl Read, hot: &impl Read, nodes: &[NodeIndex]) -> Result<Earned, Fault> {
        let Some(head) = epochs::last(core)?.filter(|_| !nodes.is_empty()) else { return Ok(Earned::default()) };
        Ok(Earned { through: head.epoch, leaves: accruals::gather(core, hot, nodes, head.epoch)? })
    }

    pub fn post(&self, tx: &mut WriteTx<'_>, now: Now) -> Result<(), TxError> {
        self.leaves.iter().try_for_each(|(node, leaves)| accruals::post(tx, *node, self.through, leaves, now))
    }
}

/// Why one wish cannot be met: which of its fields says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub field: &'static str,
    /// Stable name.
    pub name: &'static str,
    /// For people.
    pub text: String,
}

impl Problem {
    fn new(field: &'static str, name: &'static str, text: impl Into<String>) -> Problem {
        Problem { field, name, text: text.into() }
    }

    /// Of the request with this number.
    pub fn at(&self, request: usize) -> FieldError {
        FieldError { field: format!("payout_requests[{request}].{}", self.field), message: self.text.clone() }
    }
}

/// A wish that can be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub node: NodeIndex,
    pub book: Book,
    pub amount: Units,
    pub address: PayoutAddress,
    pub priority: Priority,
    pub free: Units,
}

/// The balance that is held against a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// What is posted now.
    Payable,
    /// Nothing yet: the wish is for later.
    Later,
}

/// Holds wishes against everything that a plan has to pass, and finds all that is wrong with each of them.
pub struct Checker<'a, R> {
    read: &'a R,
    secrets: &'a Secrets,
    paying: &'a Paying,
    now: Now,
    against: Against,
    is_live: bool,
    asked: BTreeMap<(NodeIndex, Currency), (usize, Units)>,
    /// What is not posted yet counts too: for those who only look.
    pub unposted: BTreeMap<(NodeIndex, Currency), Units>,
}

impl<'a, R: Read> Checker<'a, R> {
    pub fn new(by: Plans<'a>, read: &'a R, against: Against) -> Result<Checker<'a, R>, Fault> {
        let Plans { secrets, paying, now } = by;
        let pin = &paying.by.pin;
        let live = money::state(read)?.live;
        let is_live = paying.by.settlement == Settlement::Simulated
            || live.is_some_and(|live| live.network == pin.network && live.wallet == pin.wallet);
        Ok(Checker { read, secrets, paying, now, against, is_live, asked: BTreeMap::new(), unposted: BTreeMap::new() })
    }

    /// `number` is the place of the wish in the request.
    pub fn check(&mut self, number: usize, wish: &Wish) -> Result<Result<Granted, Vec<Problem>>, Fault> {
        let mut wrong = Vec::new();
        let Some(node) = nodes::by_id(self.read, &wish.node)? else {
            return Ok(Err(vec![Problem::new("node_id", "node_not_found", "no node has this id")]));
        };
        let book = self.paying.book(wish.currency);
        if !self.paying.pays(wish.currency) {
            // Nothing else of it is worth a word: there is neither an address nor a balance for what nobody pays.
            let name = Skip::CurrencyNotPayable.name();
            return Ok(Err(vec![Problem::new("currency", name, format!("{} cannot be paid by this manager", wish.currency))]));
        }
        if wish.amount <= Units::ZERO || wish.amount > payout::max_amount(wish.currency) {
            wrong.push(Problem::new("amount", "amount_out_of_range", PayoutError::AmountOutOfRange.to_string()));
        }
        self.node(&node, book, &mut wrong)?;
        let earlier = self.asked.get(&(node.index, wish.currency)).copied();
        if let Some((first, _)) = earlier {
            let text = format!("is in payout_requests[{first}] already: a node gets one payout at a time");
            wrong.push(Problem::new("node_id", "node_twice", text));
        }
        let so_far = earlier.map_or(Units::ZERO, |(_, sum)| sum);
        let wanted = Units(so_far.0.saturating_add(wish.amount.0));
        self.asked.insert((node.index, wish.currency), (earlier.map_or(number, |(first, _)| first), wanted));
        let unposted = self.unposted.get(&(node.index, wish.currency)).copied().unwrap_or_default();
        let payable = ledger::balance(self.read, book, Account::NodePayable(node.index))?;
        let free = payable.plus(unposted).map_err(|e| Fault::Invariant(e.to_string()))?;
        if self.against == Against::Payable && wanted > free {
            let text = format!("is above the free balance of {} {}", free.to_decimal(wish.currency), wish.currency);
            wrong.push(Problem::new("amount", "above_balance", text));
        }
        let address = self.address(&node, wish, &mut wrong)?;
        match address {
            Some(address) if wrong.is_empty() => {
                Ok(Ok(Granted { node: node.index, book, amount: wish.amount, address, priority: wish.priority, free }))
            }
            _ => Ok(Err(wrong)),
        }
    }

    fn node(&self, node: &Node, book: Book, wrong: &mut Vec<Problem>) -> Result<(), Fault> {
        let mut say = |skip: Skip| wrong.push(Problem::new("node_id", skip.name(), skip.to_string()));
        if !self.is_live {
            say(Skip::NotLive);
        }
        if has_drift(node) {
            say(Skip::HardwareDrift);
        }
        if final_payouts::of_node(self.read, node.index)?.is_some() {
            wrong.push(Problem::new("node_id", "node_leaves", "the node leaves with its final payout"));
        }
        if self.against == Against::Payable
            && let Some(other) = payouts::unresolved(self.read, node.index, book)?
        {
            wrong.push(Problem::new("node_id", Skip::UnresolvedPayout.name(), PayoutError::OtherUnresolved(other.id).to_string()));
        }
        Ok(())
    }

    /// The registered address, when it may be paid.
    fn address(&self, node: &Node, wish: &Wish, wrong: &mut Vec<Problem>) -> Result<Option<PayoutAddress>, Fault> {
        let before = wrong.len();
        let Some(record) = payouts::address(self.read, self.secrets, node.index)? else {
            wrong.push(Problem::new("wallet_address", Skip::NoAddress.name(), Skip::NoAddress.to_string()));
            return Ok(None);
        };
        let mut say = |name: &'static str, text: String| wrong.push(Problem::new("wallet_address", name, text));
        if record.address.currency() != wish.currency {
            say(Skip::AddressOfOtherCurrency.name(), Skip::AddressOfOtherCurrency.to_string());
        } else if wish.address.as_deref().is_some_and(|asked| asked != record.address.as_str()) {
            say("other_address", "is not the address that is registered for the node".into());
        }
        if !record.is_active(self.now.wall) {
            let skip = Skip::AddressWaits { until: record.active_from };
            // A wish for later is held against it again then.
            if self.against == Against::Payable {
                say(skip.name(), skip.to_string());
            }
        }
        if let Err(why) = record.address.check_payable(&self.paying.by.own_wallets, &self.paying.by.pin.contract) {
            say("address_not_payable", why.to_string());
        }
        let facts = Facts {
            amount: wish.amount,
            address: &record.address,
            class: node.node_type,
            fee_sun: None,
            rate: None,
            is_approved: false,
            lone_admin_since: None,
            pays_any_fee: true,
        };
        if let Err(held) = guard::plannable(&self.paying.rules.guards, &facts, self.now) {
            let field = if held.guard == Guard::BlockedAddress { "wallet_address" } else { "amount" };
            wrong.push(Problem::new(field, held.guard.name(), held.to_string()));
        }
        Ok((wrong.len() == before).then_some(record.address))
    }
}

/// The nodes of these wishes whose posted balance does not do: what they have earned since is posted first.
pub fn short_of(read: &impl Read, paying: &Paying, wishes: &[Wish]) -> Result<Vec<NodeIndex>, Fault> {
    let mut short = BTreeSet::new();
    for wish in wishes {
        let Some(node) = nodes::by_id(read, &wish.node)? else { continue };
        if ledger::balance(read, paying.book(wish.currency), Account::NodePayable(node.index))? < wish.amount {
            short.insert(node.index);
        }
    }
    Ok(short.into_iter().collect())
}

/// Plans and reserves what was granted; the caller has checked it in this transaction. `ids` are fresh and as many. Returns the sequence of the first.
pub fn reserve(tx: &mut WriteTx<'_>, granted: &[Granted], ids: &[PayoutId], source: &Source, now: Now) -> Result<u64, TxError> {
    let first = payouts::next_seq(tx)?;
    for ((seq, one), id) in (first..).zip(granted).zip(ids) {
        let Granted { node, book, amount, address, priority, free } = one.clone();
        let plan = Plan { id: id.clone(), seq, node, book, amount, address, source: source.clone(), priority };
        let (payout, entry) = payout::plan(plan, free, None, now).map_err(|error| Fault::Invariant(error.to_string()))?;
        payouts::step(tx, None, &payout, Some(entry), now)?;
    }
    if ids.len() < granted.len() {
        return Err(Fault::Invariant("fewer ids than payouts".into()).into());
    }
    Ok(first)
}

/// Plans what can be planned of a batch whose time has come, and says who is left out and why.
pub fn fire(by: Plans<'_>, tx: &mut WriteTx<'_>, batch: Batch, ids: &[PayoutId], source: &Source) -> Result<Batch, TxError> {
    let (mut granted, mut left_out) = (Vec::new(), batch.left_out.clone());
    {
        let mut checker = Checker::new(by, &*tx, Against::Payable)?;
        for (number, wish) in batch.waiting.iter().enumerate() {
            match checker.check(number, wish)? {
                Ok(one) => granted.push(one),
                Err(wrong) => {
                    let why = wrong.first().map_or("refused", |problem| problem.name).to_owned();
                    let text = wrong.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("; ");
                    left_out.push(LeftOut { node: wish.node.clone(), why, text });
                }
            }
        }
    }
    let first = reserve(tx, &granted, ids, source, by.now)?;
    let count = u32::try_from(granted.len()).map_err(|_| Fault::Invariant("a batch is too large".into()))?;
    let batch = Batch { settlement: by.paying.by.settlement, ..batch }.planned(first, count, left_out, by.now);
    batches::put(tx, &batch, by.now)?;
    Ok(batch)
}
