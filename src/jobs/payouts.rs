//! Payouts: plan what is due, sign and send what is planned, ask what became of what was sent.
//!
//! Each step is committed before the next external effect. There is no recovery code: after a restart the same cycle
//! finds the same attempts in the state they were committed in.

use super::{Context, Stopped, final_payouts, planning, schedules, signing, tracking};
use crate::domain::audit::{Actor, Draft};
use crate::domain::ledger::Entry;
use crate::domain::payout::{Change, Payout, PayoutError, State};
use crate::domain::time::Now;
use crate::live::Event;
use crate::storage::core::{audit, money, payouts};
use crate::storage::fault::TxError;
use crate::storage::table::WriteTx;

/// Payouts that one run looks at.
pub const PER_RUN: usize = 10_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if now.trusted {
        final_payouts::run(context).await?;
        // What somebody asked for comes before what the cycle would do by itself.
        schedules::run(context, now).await?;
        planning::run(context, now).await?;
    }
    track_open(context).await
}

/// Fires what has come due, drives what is under way, and goes on with the nodes whose final payout has ended.
pub async fn track_open(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if now.trusted {
        // Here too: the cycle may be an hour away, and a schedule means its minute.
        schedules::run(context, now).await?;
    }
    // What was sent before is asked about first: its end frees the caps, and a death makes room for the next attempt.
    tracking::run(context).await?;
    if signing::run(context).await? {
        tracking::run(context).await?;
    }
    final_payouts::run(context).await?;
    super::money_alerts::run(context).await
}

/// One step of a payout, not written yet: as it was, as it becomes, and the entry that goes with it.
#[derive(Debug, Clone)]
pub struct Step {
    pub before: Payout,
    pub after: Payout,
    pub entry: Option<Entry>,
}

impl Step {
    pub fn plain(before: &Payout, after: Result<Payout, PayoutError>) -> Result<Step, Stopped> {
        let after = after.map_err(|error| Stopped(format!("{}: {error}", before.id)))?;
        Ok(Step { before: before.clone(), after, entry: None })
    }

    pub fn end(before: &Payout, after: Result<(Payout, Entry), PayoutError>) -> Result<Step, Stopped> {
        let (after, entry) = after.map_err(|error| Stopped(format!("{}: {error}", before.id)))?;
        Ok(Step { before: before.clone(), after, entry: Some(entry) })
    }
}

/// Commits steps in one transaction and returns the payouts whose step was taken. One that somebody else moved meanwhile is left out; `still` is asked in the
/// transaction.
pub async fn commit(
    context: &Context,
    steps: Vec<Step>,
    now: Now,
    still: impl Fn(&WriteTx<'_>, &Payout) -> Result<bool, TxError> + Send + Sync + 'static,
) -> Result<Vec<Payout>, Stopped> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let write = move |tx: &mut WriteTx<'_>| {
        let mut taken = Vec::new();
        for Step { before, after, entry } in &steps {
            if payouts::by_seq(tx, before.seq)?.as_ref() != Some(before) || !is_free(tx, before, after)? || !still(tx, after)? {
                continue;
            }
            payouts::step(tx, Some(before), after, entry.clone(), now)?;
            if after.attempts.len() > before.attempts.len() {
                money::note_signed(tx, after)?;
            }
            if let (State::Paid { .. }, Some(txid)) = (&after.state, after.txid()) {
                // What a person has named may have been found before as what nothing here planned: it paid this.
                money::withdraw_unknown(tx, txid)?;
            }
            if let Some(draft) = draft(before, after, now) {
                audit::append(tx, draft)?;
            }
            taken.push(after.clone());
        }
        Ok(taken)
    };
    let taken = context.store.write_money(write).await?;
    for payout in &taken {
        context.events.publish(&Event::Payout { payout_id: payout.id.clone() });
    }
    Ok(taken)
}

/// What paid it paid nothing else: another payout may have been paid by it in this very transaction, or somebody has booked it while a person's claim was looked at. Who is
/// left out is told so at the next look.
fn is_free(tx: &WriteTx<'_>, before: &Payout, after: &Payout) -> Result<bool, TxError> {
    let (State::Paid { .. }, Some(txid)) = (&after.state, after.txid()) else { return Ok(true) };
    let is_claimed = before.review.as_ref().is_some_and(|review| review.claim.is_some());
    let is_others = payouts::of_transaction(tx, txid)?.is_some_and(|seq| seq != after.seq);
    Ok(!(is_others || is_claimed && money::is_booked(tx, txid)?))
}

/// Whatever the transaction finds.
pub fn always(_: &WriteTx<'_>, _: &Payout) -> Result<bool, TxError> {
    Ok(true)
}

/// What the audit log is told of a step. What people write is in no remark: it would stay readable when they are erased.
fn draft(before: &Payout, after: &Payout, now: Now) -> Option<Draft> {
    let draft = |operation, remark: &str| Draft::new(now, Actor::System, operation, after.id.to_string()).because(remark);
    if !after.is_open() {
        return Some(draft("payout.end", after.status().as_str()));
    }
    match (&before.review, &after.review) {
        (None, Some(is)) => return Some(draft("payout.review", &is.reason)),
        (Some(was), Some(is)) => {
            // Why, stands with the payout: what others answer may name addresses.
            if let Some(claim) = was.claim.as_ref().filter(|_| is.claim.is_none()) {
                return Some(draft("payout.refuse_claim", "").refused(&format!("{} did not pay it", claim.txid)));
            }
        }
        (_, None) => (),
    }
    let moved = Change::between(Some(before), after).and_then(operation).zip(after.attempts.last());
    let moved = moved.map(|(operation, attempt)| match attempt.txid() {
        Some(txid) => draft(operation, &format!("attempt {}, transaction {txid}", attempt.number)),
        None => draft(operation, &format!("attempt {}", attempt.number)),
    });
    moved.or_else(|| Some(draft("payout.evidence", &after.review.as_ref()?.told_since(before.review.as_ref()?)?)))
}

/// What the manager did with the last attempt.
fn operation(change: Change) -> Option<&'static str> {
    match change {
        Change::Signed => Some("payout.sign"),
        Change::Sent => Some("payout.send"),
        Change::NotSent => Some("payout.not_sent"),
        Change::Accepted => Some("payout.named"),
        Change::Seen => Some("payout.seen"),
        Change::Unseen => Some("payout.unseen"),
        Change::AttemptDead => Some("payout.attempt_dead"),
        Change::Planned | Change::Review | Change::Resumed | Change::Noted | Change::Paid | Change::Failed | Change::Cancelled => None,
    }
}

/// Payouts that have not ended, in the order in which they are signed: by priority, then by their making.
pub fn open(context: &Context) -> Result<Vec<Payout>, Stopped> {
    let read = context.store.read()?;
    let mut open = Vec::new();
    for seq in payouts::open(&read, PER_RUN)? {
        open.extend(payouts::by_seq(&read, seq)?);
    }
    open.sort_by_key(|payout| (std::cmp::Reverse(payout.priority), payout.seq));
    Ok(open)
}
