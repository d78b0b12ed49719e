//! The payout cycle: post, plan and reserve what is due, then drive every payout that has not ended by one step at a time.
//!
//! Each step is committed before the next external effect. There is no recovery code: after a restart the same cycle
//! finds the same attempts in the state they were committed in.

use super::{Context, Stopped, final_payouts, postings};
use crate::domain::ids::{PayoutId, UserId};
use crate::domain::ledger::{Account, Book, Entry};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::payout::{self, AttemptState, Candidate, Payout, PayoutError, Plan, Priority, Source};
use crate::domain::time::Now;
use crate::gateways::payment::{Lookup, SendOutcome, Transfer};
use crate::live::Event;
use crate::storage::accruals;
use crate::storage::core::audit;
use crate::storage::core::{final_payouts as stored, ledger, nodes, payouts};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::Read;

use crate::domain::audit::{Act, Actor, Draft};
use crate::domain::final_payout::Stage;

/// Payouts driven in one run, and signed in one wave.
const PER_RUN: usize = 1_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if now.trusted {
        final_payouts::run(context).await?;
        plan_due(context, now).await?;
    }
    track_open(context).await
}

/// Drives what is under way, and goes on with the nodes whose final payout has ended.
pub async fn track_open(context: &Context) -> Result<(), Stopped> {
    drive_open(context).await?;
    final_payouts::run(context).await?;
    Ok(())
}

/// By which terms a node is paid; the guards are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// From the threshold on, and so often.
    Automatic,
    /// Whatever is owed, at once.
    Final,
}

/// The book that this manager pays from.
fn book(context: &Context) -> Book {
    Book { settlement: context.gateway.settlement(), currency: Currency::Usdt }
}

async fn plan_due(context: &Context, now: Now) -> Result<(), Stopped> {
    let book = book(context);
    let Some(newest) = postings::newest(context)? else { return Ok(()) };
    let mut candidates = Vec::new();
    {
        let core = context.store.read()?;
        for node in nodes::all(&core)? {
            // What is not posted yet may lift a node over the threshold: everything but the amount is checked first.
            if guard(context, &core, &node, book, now, Units(i64::MAX), Terms::Automatic)?.is_ok() {
                candidates.push(node);
            }
        }
        let hot = context.store.hot.read()?;
        let unposted = accruals::unposted(&core, &hot, candidates.iter().map(|node| node.index))?;
        let mut due = Vec::new();
        for node in candidates {
            let earned = unposted.get(&node.index).and_then(|sums| sums.get(&book.currency)).copied().unwrap_or_default();
            let payable = ledger::balance(&core, book, Account::NodePayable(node.index))?;
            let whole = earned.split().and_then(|(units, _)| payable.plus(units)).map_err(|e| Fault::Invariant(e.to_string()))?;
            if whole >= context.settings.get().payout_threshold {
                due.push(node);
            }
        }
        candidates = due;
    }
    postings::post(context, &candidates, newest).await?;
    for node in candidates {
        plan_node(context, node, book, now, None).await?;
    }
    Ok(())
}

/// The guards of the cycle, as of this read.
pub fn guard(
    context: &Context,
    read: &impl Read,
    node: &Node,
    book: Book,
    now: Now,
    free: Units,
    terms: Terms,
) -> Result<Result<Units, payout::Skip>, Fault> {
    let is_final = terms == Terms::Final;
    let address = payouts::address(read, &context.store.secrets, node.index)?;
    let candidate = Candidate {
        book,
        free,
        threshold: if is_final { Units(1) } else { context.settings.get().payout_threshold },
        last_scheduled_at: if is_final { None } else { payouts::last_scheduled_at(read, node.index, book)? },
        frequency_hours: context.settings.get().payout_frequency_hours,
        address: address.as_ref(),
        has_unresolved: payouts::unresolved(read, node.index, book)?.is_some(),
        has_drift: node.identity.as_ref().is_some_and(|identity| identity.drift.is_some()),
        is_payable: context.gateway.pays(book.currency),
    };
    Ok(payout::eligible_for_payout(&candidate, now))
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

/// Drives every payout that has not ended.
pub async fn drive_open(context: &Context) -> Result<(), Stopped> {
    let open = payouts::open(&context.store.read()?, PER_RUN)?;
    for seq in open {
        let Some(payout) = payouts::by_seq(&context.store.read()?, seq)? else { continue };
        let id = payout.id.clone();
        // One payout that cannot go on must not hold up the others.
        if let Err(Stopped(why)) = drive(context, payout).await {
            tracing::warn!(payout = %id, why, "a payout did not take its next step");
        }
    }
    Ok(())
}

/// Takes one payout as far as it goes now.
async fn drive(context: &Context, payout: Payout) -> Result<(), Stopped> {
    let mut payout = payout;
    if payout.review_reason.is_some() {
        return Ok(());
    }
    let gateway = &context.gateway;
    if payout.live_attempt().is_none() {
        let now = context.clock.now();
        let current = payouts::address(&context.store.read()?, &context.store.secrets, payout.node)?.map(|record| record.address);
        match payout.may_sign(current.as_ref(), now) {
            Ok(()) => (),
            Err(PayoutError::AddressChanged) => {
                let ended = payout.cancel("the payout address changed before signing".into(), now);
                commit_end(context, &payout, ended, now).await?;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(payout = %payout.id, %error, "a payout waits");
                return Ok(());
            }
        }
        let prepared = match gateway.prepare(&Transfer::next(&payout, now.wall)).await {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::warn!(payout = %payout.id, %error, "a transfer could not be prepared");
                return Ok(());
            }
        };
        payout = commit(context, &payout, payout.sign(prepared, current.as_ref(), now), now).await?;
    }
    let belongs = payout.live_attempt().is_some_and(|attempt| attempt.belongs_to(gateway.name(), gateway.network()));
    if !belongs {
        tracing::warn!(payout = %payout.id, "an attempt of another gateway waits for it");
        return Ok(());
    }
    let now = context.clock.now();
    if payout.live_attempt().is_some_and(|attempt| attempt.state == AttemptState::Signed) {
        if !now.trusted {
            return Ok(());
        }
        payout = commit(context, &payout, payout.maybe_sent(now), now).await?;
        send(context, &payout).await;
        return track(context, payout, true).await;
    }
    track(context, payout, false).await
}

/// Sends the committed bytes of the live attempt. What it answers proves nothing; the lookup tells.
async fn send(context: &Context, payout: &Payout) {
    let Some(attempt) = payout.live_attempt() else { return };
    match context.gateway.send(attempt).await {
        SendOutcome::Accepted => (),
        SendOutcome::Unknown(why) | SendOutcome::Refused(why) => tracing::warn!(payout = %payout.id, why, "sending is unresolved"),
    }
}

/// Asks what became of what was sent, and records it.
async fn track(context: &Context, payout: Payout, is_sent: bool) -> Result<(), Stopped> {
    let (mut payout, mut is_sent) = (payout, is_sent);
    loop {
        let now = context.clock.now();
        let Some(attempt) = payout.live_attempt() else { return Ok(()) };
        let state = attempt.state.clone();
        match context.gateway.lookup(attempt, now.wall).await {
            Lookup::Seen { block } if state != (AttemptState::Seen { block }) => {
                payout = commit(context, &payout, payout.seen(block, now), now).await?;
            }
            Lookup::Paid => {
                commit_end(context, &payout, payout.paid(now), now).await?;
                return Ok(());
            }
            Lookup::FailedOnChain(reason) => {
                commit_end(context, &payout, payout.failed_on_chain(reason, now), now).await?;
                return Ok(());
            }
            Lookup::Dead(proof) => {
                commit(context, &payout, payout.dead(proof, now), now).await?;
                return Ok(());
            }
            Lookup::NotSeen if matches!(state, AttemptState::Seen { .. }) => {
                commit(context, &payout, payout.unseen(now), now).await?;
                return Ok(());
            }
            // The process may have died between the record and the sending: the same bytes go out again, which can land once only.
            Lookup::NotSeen if !is_sent && now.trusted => {
                is_sent = true;
                send(context, &payout).await;
            }
            Lookup::Seen { .. } | Lookup::NotSeen | Lookup::Unknown(_) => return Ok(()),
        }
    }
}

async fn commit(context: &Context, before: &Payout, step: Result<Payout, PayoutError>, now: Now) -> Result<Payout, Stopped> {
    store(context, before, step.map(|payout| (payout, None)), now).await
}

async fn commit_end(context: &Context, before: &Payout, step: Result<(Payout, Entry), PayoutError>, now: Now) -> Result<Payout, Stopped> {
    store(context, before, step.map(|(payout, entry)| (payout, Some(entry))), now).await
}

async fn store(
    context: &Context,
    before: &Payout,
    step: Result<(Payout, Option<Entry>), PayoutError>,
    now: Now,
) -> Result<Payout, Stopped> {
    let (payout, entry) = step.map_err(|error| Stopped(error.to_string()))?;
    let (before, written) = (before.clone(), payout.clone());
    let write = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        payouts::step(tx, Some(&before), &written, entry.clone(), now)?;
        let operation = match written.live_attempt().map(|attempt| &attempt.state) {
            Some(AttemptState::Signed) => "payout.sign",
            Some(AttemptState::MaybeSent) => "payout.send",
            Some(_) => return Ok(()),
            None => "payout.end",
        };
        let draft = Draft::new(now, Actor::System, operation, written.id.to_string());
        audit::append(tx, draft.because(format!("{:?}", written.status()).to_lowercase()))
    };
    context.store.write_money(write).await?;
    context.events.publish(&Event::Payout { payout_id: payout.id.clone() });
    Ok(payout)
}
