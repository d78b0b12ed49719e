//! Plans and reserves what is due, and notes why the others are left out.

use super::{Context, Stopped, postings};
use crate::domain::audit::{Act, Actor, Draft};
use crate::domain::final_payout::Stage;
use crate::domain::guard::{self, Facts, Guard};
use crate::domain::ids::{NodeIndex, PayoutId, UserId};
use crate::domain::ledger::{Account, Book, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::payout::{self, Candidate, PayoutError, Plan, Priority, Skip, Source, State};
use crate::domain::time::Now;
use crate::live::Event;
use crate::storage::accruals;
use crate::storage::core::{audit, final_payouts as stored, ledger, money, nodes, payouts};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Payouts of a node that the chain refused one after the other, after which a person has to ask for the next one.
const FAILURES_IN_A_ROW: usize = 3;
/// Nodes whose reason is noted in one transaction.
const PER_COMMIT: usize = 200;

/// By which terms a node is paid; the guards are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// From the threshold on, and so often.
    Automatic,
    /// Whatever is owed, at once.
    Final,
}

/// The book that this manager pays from.
pub fn book(context: &Context) -> Book {
    Book { settlement: context.gateways.current.settlement(), currency: Currency::Usdt }
}

pub async fn run(context: &Context, now: Now) -> Result<(), Stopped> {
    let book = book(context);
    // Books that do not add up are no ground for a payout.
    if ledger::latched(&context.store.read()?)?.is_some() {
        return Ok(());
    }
    let Some(newest) = postings::newest(context)? else { return Ok(()) };
    let threshold = context.settings.get().payout_threshold;
    let (mut due, mut skipped) = (Vec::new(), Vec::new());
    {
        let core = context.store.read()?;
        let (mut candidates, mut rest) = (Vec::new(), Vec::new());
        for node in nodes::all(&core)? {
            // What is not posted yet may lift a node over the threshold: everything but the amount is checked first.
            match guard(context, &core, &node, book, now, Units(i64::MAX), Terms::Automatic)? {
                Ok(_) => candidates.push(node),
                Err(skip) => rest.push((node, skip)),
            }
        }
        let hot = context.store.hot.read()?;
        let unposted = accruals::unposted(&core, &hot, candidates.iter().chain(rest.iter().map(|(node, _)| node)).map(|node| node.index))?;
        let worth = |node: NodeIndex| -> Result<Units, Fault> {
            let earned = unposted.get(&node).and_then(|sums| sums.get(&book.currency)).copied().unwrap_or_default();
            let payable = ledger::balance(&core, book, Account::NodePayable(node))?;
            earned.split().and_then(|(units, _)| payable.plus(units)).map_err(|e| Fault::Invariant(e.to_string()))
        };
        for node in candidates {
            let whole = worth(node.index)?;
            if whole < threshold {
                skipped.push((node.index, None));
                continue;
            }
            // The fee is a share of what would be paid, which is known by now.
            match guard(context, &core, &node, book, now, whole, Terms::Automatic)? {
                Ok(_) => due.push(node),
                Err(skip) => skipped.push((node.index, Some(skip))),
            }
        }
        for (node, skip) in rest {
            // Who would not be paid anyway waits for nothing.
            let waits = worth(node.index)? >= threshold && !matches!(skip, Skip::UnresolvedPayout | Skip::TooSoon { .. });
            skipped.push((node.index, waits.then_some(skip)));
        }
        skipped.extend(due.iter().map(|node: &Node| (node.index, None)));
    }
    postings::post(context, &due, newest).await?;
    for node in due {
        plan_node(context, node, book, now, None).await?;
    }
    note(context, book, skipped, now).await
}

async fn note(context: &Context, book: Book, skipped: Vec<(NodeIndex, Option<Skip>)>, now: Now) -> Result<(), Stopped> {
    let changed: Vec<_> = {
        let core = context.store.read()?;
        let is_new = |(node, skip): &(NodeIndex, Option<Skip>)| -> Result<bool, Fault> {
            Ok(match (money::skipped(&core, *node, book)?, skip) {
                (Some(before), Some(why)) => !before.why.is_same_reason(why),
                (before, why) => before.is_some() != why.is_some(),
            })
        };
        let mut changed = Vec::new();
        for row in skipped {
            if is_new(&row)? {
                changed.push(row);
            }
        }
        changed
    };
    for some in changed.chunks(PER_COMMIT) {
        let some = some.to_vec();
        let write = move |tx: &mut WriteTx<'_>| some.iter().try_for_each(|(node, skip)| money::skip(tx, *node, book, *skip, now.wall));
        context.store.write_money(write).await?;
    }
    Ok(())
}

/// The guards of a plan, as of this read: how much is paid, or why nothing is.
pub fn guard(
    context: &Context,
    read: &impl Read,
    node: &Node,
    book: Book,
    now: Now,
    free: Units,
    terms: Terms,
) -> Result<Result<Units, Skip>, Fault> {
    let (is_final, settings) = (terms == Terms::Final, context.settings.get());
    let address = payouts::address(read, &context.store.secrets, node.index)?;
    let candidate = Candidate {
        book,
        free,
        threshold: if is_final { Units(1) } else { settings.payout_threshold },
        last_scheduled_at: if is_final { None } else { payouts::last_scheduled_at(read, node.index, book)? },
        frequency_hours: settings.payout_frequency_hours,
        address: address.as_ref(),
        has_unresolved: payouts::unresolved(read, node.index, book)?.is_some(),
        has_drift: node.identity.as_ref().is_some_and(|identity| identity.drift.is_some()),
        is_payable: context.gateways.current.pays(book.currency),
    };
    let whole = match payout::eligible_for_payout(&candidate, now) {
        Ok(whole) => whole,
        Err(skip) => return Ok(Err(skip)),
    };
    let state = money::state(read)?;
    if book.settlement == Settlement::Live {
        let pin = context.gateways.current.pin();
        if state.live.as_ref().is_none_or(|live| live.network != pin.network || live.wallet != pin.wallet) {
            return Ok(Err(Skip::NotLive));
        }
    }
    if !is_final && failed_in_a_row(read, node.index, book)? {
        return Ok(Err(Skip::FailedRepeatedly));
    }
    let Some(address) = address else { return Ok(Err(Skip::NoAddress)) };
    let limits = &settings.guards;
    let class = limits.classes.iter().find(|limit| limit.class == node.node_type);
    let amount = whole.min(limits.max_payout).min(class.map_or(limits.max_payout, |limit| limit.max_payout));
    let facts = Facts {
        amount,
        address: &address.address,
        class: node.node_type,
        fee_sun: context.money.wallet().map(|look| look.reading.fee_sun(true)).filter(|_| context.gateways.current.has_wallet()),
        rate: state.trx_rate,
        is_approved: false,
        lone_admin_since: None,
        pays_any_fee: is_final,
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

/// Plans and reserves in one transaction, in which every guard is checked again. `leaves_by` is who asked for the final payout of a node that leaves: such a
/// node is paid by no other terms.
pub async fn plan_node(context: &Context, node: Node, book: Book, now: Now, leaves_by: Option<UserId>) -> Result<(), Stopped> {
    let terms = if leaves_by.is_some() { Terms::Final } else { Terms::Automatic };
    let id = PayoutId::new(context.store.entropy.uuid(now.wall.0));
    let this = context.clone();
    let planned = context.store.write_money(move |tx| {
        let free = ledger::balance(tx, book, Account::NodePayable(node.index))?;
        let Some(node) = nodes::by_index(tx, node.index)? else { return Ok(None) };
        let leaving = stored::of_node(tx, node.index)?;
        // Whose last epoch is open is not paid yet: it was cancelled and asked for again meanwhile.
        if leaving.is_some() != leaves_by.is_some() || leaving.is_some_and(|row| row.stage == Stage::Closing) {
            return Ok(None);
        }
        let Ok(amount) = guard(&this, tx, &node, book, now, free, terms)? else { return Ok(None) };
        let Some(record) = payouts::address(tx, &this.store.secrets, node.index)? else { return Ok(None) };
        let seq = payouts::next_seq(tx)?;
        let source = leaves_by.as_ref().map_or(Source::Automatic, |by| Source::Final { by: by.to_string() });
        let priority = Priority::Normal;
        let plan = Plan { id: id.clone(), seq, node: node.index, book, amount, address: record.address, source, priority };
        let (payout, entry) = payout::plan(plan, free, None, now).map_err(|e| invariant(&e))?;
        payouts::step(tx, None, &payout, Some(entry), now)?;
        if leaves_by.is_some() {
            stored::planned(tx, &Act::system(now), &node, seq)?;
        }
        audit::append(
            tx,
            Draft::new(now, Actor::System, "payout.plan", payout.id.to_string()).because(payout.book.settlement.to_string()),
        )?;
        Ok(Some(payout.id))
    });
    if let Some(payout_id) = planned.await? {
        context.events.publish(&Event::Payout { payout_id });
    }
    Ok(())
}

fn invariant(error: &PayoutError) -> TxError {
    TxError::Fault(Fault::Invariant(error.to_string()))
}
