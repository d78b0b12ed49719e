//! Asks what became of what was signed, records it, and sends again what is in no block. Goes on whatever is frozen or waits for a person; only an emergency
//! stop keeps bytes from being sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::payouts::{self as cycle, Step, commit};
use super::signing::{Told, deliver};
use super::{Context, Stopped};
use crate::domain::payout::{AttemptState, Payout, PayoutError, Pin, ReviewKind};
use crate::domain::time::Now;
use crate::gateways::payment::{Lookup, PaymentGateway, Sending, WAVE};
use crate::storage::core::{money, payouts};

/// An attempt that is neither found nor proven dead so long after its expiry needs a person.
const UNPROVEN_AFTER_MS: i64 = 2 * 3_600_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let mut open = cycle::open(context)?;
    open.retain(|payout| payout.live_attempt().is_some() || claimed(payout).is_some());
    let mut by_gateway: BTreeMap<Pin, (Option<Arc<dyn PaymentGateway>>, Vec<Payout>)> = BTreeMap::new();
    for payout in open {
        let Some(attempt) = payout.attempts.last() else { continue };
        let entry = by_gateway.entry(attempt.prepared.pin.clone());
        entry.or_insert_with(|| (context.gateways.of(attempt), Vec::new())).1.push(payout);
    }
    for (pin, (gateway, payouts)) in by_gateway {
        let Some(gateway) = gateway else {
            tracing::warn!(
                gateway = pin.gateway,
                network = pin.network,
                payouts = payouts.len(),
                "attempts of another gateway wait for it"
            );
            continue;
        };
        for some in payouts.chunks(WAVE) {
            track(context, &gateway, some).await?;
        }
    }
    forget_refusals(context)
}

/// Of what is not to be sent any more.
fn forget_refusals(context: &Context) -> Result<(), Stopped> {
    let read = context.store.read()?;
    for seq in context.money.refused().into_keys() {
        let payout = payouts::by_seq(&read, seq)?;
        let state = payout.as_ref().and_then(Payout::live_attempt).map(|attempt| &attempt.state);
        if state != Some(&AttemptState::MaybeSent) {
            context.money.set_refused(seq, None);
        }
    }
    Ok(())
}

fn claimed(payout: &Payout) -> Option<&str> {
    payout.review.as_ref()?.claim.as_ref().map(|claim| claim.txid.as_str())
}

async fn track(context: &Context, gateway: &Arc<dyn PaymentGateway>, payouts: &[Payout]) -> Result<(), Stopped> {
    let mut steps = Vec::new();
    let mut again = Vec::new();
    let (claims, live): (Vec<&Payout>, Vec<&Payout>) = payouts.iter().partition(|payout| claimed(payout).is_some());
    for payout in claims {
        let Some(txid) = claimed(payout) else { continue };
        let found = gateway.verify(payout, txid).await;
        steps.extend(judge_claim(context, payout, txid, found)?);
    }
    let live: Vec<Payout> = live.into_iter().cloned().collect();
    if !live.is_empty() {
        let found = gateway.lookup(&live, context.clock.now().wall).await;
        let now = context.clock.now();
        let mut named = BTreeMap::new();
        for (payout, lookup) in live.iter().zip(found) {
            let lookup = unless_of_another(context, &mut named, payout, lookup)?;
            match apply(payout, lookup, now) {
                Ok(Some(step)) => steps.push(step),
                Ok(None) => (),
                Err(Next::SendAgain) => again.push(payout.clone()),
                // One payout that cannot go on must not hold up the others.
                Err(Next::Broken(error)) => tracing::warn!(payout = %payout.id, %error, "a payout did not take its next step"),
            }
        }
    }
    let taken = commit(context, steps, context.clock.now(), cycle::always).await?;
    if gateway.has_wallet() && taken.iter().any(|payout| !payout.is_open()) {
        // What it holds has changed.
        super::wallet::look(context).await?;
    }
    send_again(context, gateway, again).await
}

/// A transaction pays one payout: who names another payout's is not believed. `named` are those of this run, which are not committed yet.
fn unless_of_another(context: &Context, named: &mut BTreeMap<String, u64>, payout: &Payout, lookup: Lookup) -> Result<Lookup, Stopped> {
    let (Lookup::Paid(landed) | Lookup::FailedOnChain { landed, .. }) = &lookup else { return Ok(lookup) };
    let Some(txid) = &landed.txid else { return Ok(lookup) };
    let known = payouts::of_transaction(&context.store.read()?, txid)?;
    let owner = known.unwrap_or(*named.entry(txid.clone()).or_insert(payout.seq));
    if owner == payout.seq {
        return Ok(lookup);
    }
    let reason = "the transaction that it names is another payout's".into();
    Ok(Lookup::Person { kind: ReviewKind::Conflict, reason, evidence: vec![format!("transaction {txid}")] })
}

/// The same bytes again, which can land once only: the process may have died between the record and the sending, or the network forgot them.
async fn send_again(context: &Context, gateway: &Arc<dyn PaymentGateway>, payouts: Vec<Payout>) -> Result<(), Stopped> {
    if !context.clock.now().trusted {
        return Ok(());
    }
    for payout in payouts {
        // Asked before each: a stop in the middle of a hundred holds the next one.
        if money::state(&context.store.read()?)?.stopped.is_some() {
            break;
        }
        if let Told::Stop(why) = deliver(context, gateway, &payout, Sending::Again).await? {
            tracing::warn!(payout = %payout.id, why, "sending again stops");
            break;
        }
    }
    Ok(())
}

enum Next {
    SendAgain,
    Broken(PayoutError),
}

impl From<PayoutError> for Next {
    fn from(error: PayoutError) -> Next {
        Next::Broken(error)
    }
}

/// The step that a lookup means, if any.
fn apply(payout: &Payout, lookup: Lookup, now: Now) -> Result<Option<Step>, Next> {
    let Some(attempt) = payout.live_attempt() else { return Ok(None) };
    let step = |after: Payout, entry| Step { before: payout.clone(), after, entry };
    let is_seen = matches!(attempt.state, AttemptState::Seen { .. });
    Ok(match lookup {
        Lookup::Pending { reference: Some(reference) } if attempt.reference.is_none() && attempt.state == AttemptState::MaybeSent => {
            Some(step(payout.named(reference, now)?, None))
        }
        Lookup::Pending { .. } => None,
        Lookup::Seen { block } if attempt.state == (AttemptState::Seen { block }) => None,
        Lookup::Seen { block } => Some(step(payout.seen(block, now)?, None)),
        Lookup::Paid(landed) => {
            let (after, entry) = payout.paid(landed, now)?;
            Some(step(after, Some(entry)))
        }
        Lookup::FailedOnChain { reason, landed } => {
            let (after, entry) = payout.failed_on_chain(reason, landed, now)?;
            Some(step(after, Some(entry)))
        }
        Lookup::Dead(death) => {
            // A block it was seen in is gone from the chain.
            let unseen = if is_seen { payout.unseen(now)? } else { payout.clone() };
            Some(step(unseen.dead(death, now)?, None))
        }
        Lookup::NotSeen if is_seen => Some(step(payout.unseen(now)?, None)),
        Lookup::NotSeen | Lookup::Unknown(_) if is_unproven(payout, now) => {
            let evidence = match lookup {
                Lookup::Unknown(why) => vec![why],
                _ => Vec::new(),
            };
            let reason = "it expired hours ago, and is neither found nor proven dead";
            Some(step(payout.hold_for_review(ReviewKind::NotProvenDead, reason, evidence, now)?, None))
        }
        Lookup::NotSeen if attempt.state == AttemptState::MaybeSent && payout.review.is_none() && !is_over(payout, now) => {
            return Err(Next::SendAgain);
        }
        Lookup::Person { kind, reason, evidence } => {
            let after = payout.hold_for_review(kind, &reason, evidence, now)?;
            (after.review != payout.review).then(|| step(after, None))
        }
        Lookup::NotSeen | Lookup::Unknown(_) => None,
    })
}

fn expired_for_ms(payout: &Payout, now: Now) -> Option<i64> {
    Some(now.wall.since(payout.live_attempt()?.prepared.expires_at?))
}

/// Nobody takes it any more.
fn is_over(payout: &Payout, now: Now) -> bool {
    expired_for_ms(payout, now).is_some_and(|ms| ms > 0)
}

fn is_unproven(payout: &Payout, now: Now) -> bool {
    now.trusted && payout.review.is_none() && expired_for_ms(payout, now).is_some_and(|ms| ms >= UNPROVEN_AFTER_MS)
}

/// What a person named is booked once the gateway has found it, and never when it is another payout's, or booked already.
fn judge_claim(context: &Context, payout: &Payout, txid: &str, found: Lookup) -> Result<Option<Step>, Stopped> {
    let now = context.clock.now();
    let found_txid = if let Lookup::Paid(landed) = &found { landed.txid.as_deref() } else { None };
    let (mut other, mut booked, read) = (None, false, context.store.read()?);
    for txid in [Some(txid), found_txid].into_iter().flatten() {
        other = other.or(payouts::of_transaction(&read, txid)?.filter(|seq| *seq != payout.seq));
        booked |= money::is_booked(&read, txid)?;
    }
    let refused = |why: &str| Step::plain(payout, payout.claim_refused(why, now)).map(Some);
    match found {
        _ if other.is_some() => refused("it is another payout's"),
        _ if booked => refused("it was booked as a transfer that nothing here planned"),
        Lookup::Paid(landed) => Step::end(payout, payout.claim_verified(landed, now)).map(Some),
        Lookup::FailedOnChain { reason, .. } => refused(&reason),
        Lookup::Person { reason, .. } => refused(&reason),
        Lookup::Dead(death) => refused(&death.to_string()),
        // Not final yet, or nobody could be asked: looked at again.
        Lookup::Seen { .. } | Lookup::Pending { .. } | Lookup::NotSeen | Lookup::Unknown(_) => Ok(None),
    }
}
