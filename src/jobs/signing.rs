//! Signs what is planned, in waves, and sends what is signed. A wave is guarded one by one, prepared together, and committed together, before its first byte leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::payouts::{self as cycle, Step, commit};
use super::{Context, Stopped, reconcile, wallet};
use crate::domain::guard::{self, Facts, Spent};
use crate::domain::ledger::Settlement;
use crate::domain::money_state::{Closed, FreezeKind, MoneyState};
use crate::domain::node::NodeType;
use crate::domain::payout::{AttemptState, Landed, Payout, PayoutError, Pin, Prepared, ReviewKind, Source};
use crate::domain::user::Role;
use crate::gateways::payment::{NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer, Unavailable, WAVE};
use crate::live::{LOOK_MAX_AGE_MS, Waiting};
use crate::storage::core::{ledger, money, nodes, payouts, people};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Waves of one run.
const MAX_WAVES: usize = 100;

/// Whether something was sent.
pub async fn run(context: &Context) -> Result<bool, Stopped> {
    let (mut sent, mut waiting) = (false, BTreeMap::new());
    let settlement = context.gateways.current.settlement();
    let to_send = |payout: &Payout| payout.live_attempt().is_some_and(|attempt| attempt.state == AttemptState::Signed);
    let to_sign = |payout: &Payout| payout.live_attempt().is_none() && payout.book.settlement == settlement;
    let mut open: Vec<Payout> = cycle::open(context)?.into_iter().filter(|payout| payout.review.is_none()).collect();
    open.retain(|payout| to_send(payout) || to_sign(payout));
    if open.is_empty() {
        context.money.set_waiting(waiting);
        context.money.set_closed(closed(context).await?.map(|why| told(context, &why)));
        return Ok(false);
    }
    if let Some(why) = closed(context).await? {
        waiting.extend(open.iter().map(|payout| (payout.seq, told(context, &why))));
        context.money.set_waiting(waiting);
        context.money.set_closed(Some(told(context, &why)));
        return Ok(false);
    }
    context.money.set_closed(None);
    // Signed before a restart, or before the run was cut short.
    let signed: Vec<Payout> = open.iter().filter(|payout| to_send(payout)).cloned().collect();
    match send(context, signed).await? {
        Sent::All(any) => sent |= any,
        Sent::Stopped(why) => {
            let waits = || Waiting { why: "gateway", text: why.clone(), until: None };
            context.money.set_waiting(open.iter().map(|payout| (payout.seq, waits())).collect());
            return Ok(true);
        }
    }
    let mut unsigned: Vec<Payout> = open.into_iter().filter(|payout| to_sign(payout)).collect();
    for _ in 0..MAX_WAVES {
        if unsigned.is_empty() {
            break;
        }
        if !knows_wallet(context).await? {
            // What a transfer costs is not known, so its share cannot be judged.
            waiting.extend(unsigned.drain(..).map(|payout| (payout.seq, Waiting::wallet_unknown())));
            break;
        }
        let wave = choose(context, &mut unsigned, &mut waiting)?;
        if wave.is_empty() {
            break;
        }
        let signed = sign(context, wave, &mut waiting).await?;
        if signed.is_empty() {
            break;
        }
        sent = true;
        if matches!(send(context, signed).await?, Sent::Stopped(_)) {
            break;
        }
    }
    for payout in unsigned {
        waiting.entry(payout.seq).or_insert_with(|| Waiting { why: "queued", text: "others are signed first".into(), until: None });
    }
    context.money.set_waiting(waiting);
    Ok(sent)
}

/// What the wallet holds and what a transfer costs were seen lately enough, or are seen now; true where there is no wallet.
async fn knows_wallet(context: &Context) -> Result<bool, Stopped> {
    let is_known = || context.money.wallet_within(LOOK_MAX_AGE_MS, context.clock.now()).is_some();
    if context.gateways.current.has_wallet() && !is_known() {
        wallet::look(context).await?;
        return Ok(is_known());
    }
    Ok(true)
}

fn told(context: &Context, why: &Closed) -> Waiting {
    let text = match (why, context.money.how_far()) {
        (Closed::NotReconciled, Some(how_far)) => format!("{why}: {how_far}"),
        _ => why.to_string(),
    };
    Waiting { why: why.name(), text, until: None }
}

/// Why nothing may be signed or sent for the first time. Reconciles when that is all that is missing.
async fn closed(context: &Context) -> Result<Option<Closed>, Stopped> {
    reconcile::hold_unbooked(context).await?;
    match gate(context, &context.store.read()?)? {
        Err(Closed::NotReconciled) => reconcile::run(context).await?,
        other => return Ok(other.err()),
    }
    Ok(gate(context, &context.store.read()?)?.err())
}

fn gate(context: &Context, read: &impl Read) -> Result<Result<(), Closed>, Fault> {
    if let Some(why) = ledger::latched(read)? {
        return Ok(Err(Closed::Frozen(FreezeKind::LedgerBroken, why)));
    }
    Ok(may_sign(context, &money::state(read)?))
}

fn may_sign(context: &Context, state: &MoneyState) -> Result<(), Closed> {
    let (now, gateway) = (context.clock.now(), &context.gateways.current);
    let pin = gateway.pin();
    let needs_live = (gateway.settlement() == Settlement::Live).then_some((pin.network.as_str(), pin.wallet.as_str()));
    state.may_sign(now, needs_live, gateway.has_wallet().then(|| context.money.reconciled_ms(now)))
}

/// Asked in the transaction that records what leaves next: nobody froze or stopped the money meanwhile.
fn is_open(tx: &impl Read) -> Result<bool, Fault> {
    let state = money::state(tx)?;
    Ok(state.frozen.is_none() && state.stopped.is_none() && ledger::latched(tx)?.is_none())
}

/// Takes the next wave out of `unsigned`: those that every guard lets through, in their order.
fn choose(context: &Context, unsigned: &mut Vec<Payout>, waiting: &mut BTreeMap<u64, Waiting>) -> Result<Vec<Payout>, Stopped> {
    let (now, settings, read) = (context.clock.now(), context.settings.get(), context.store.read()?);
    let Some(first) = unsigned.first() else { return Ok(Vec::new()) };
    let state = money::state(&read)?;
    let mut spending = money::spending(&read, first.book, now.wall)?;
    let reading = context.money.wallet_within(LOOK_MAX_AGE_MS, now);
    let approved = approved(&read, context, settings.fee_cap_sun)?;
    let is_lone = people::count_from(&read, Role::Admin)? <= 1;
    let (mut wave, mut left) = (Vec::new(), Vec::new());
    for payout in std::mem::take(unsigned) {
        if wave.len() == WAVE {
            left.push(payout);
            continue;
        }
        let class = nodes::ever(&read, payout.node)?.map_or(NodeType::Worker, |node| node.node_type);
        let facts = Facts {
            amount: payout.amount,
            address: &payout.address,
            class,
            fee_sun: reading.as_ref().map(|reading| reading.fee_sun(true)),
            rate: state.trx_rate,
            is_approved: approved.contains(&payout.seq),
            lone_admin_since: is_lone.then_some(payout.created_at),
            pays_any_fee: payout.source != Source::Automatic,
        };
        match guard::signable(&settings.guards, &facts, &spending, now) {
            Ok(()) => {
                spending.add(Spent { at: now.wall, amount: payout.amount, class }, now.wall);
                wave.push(payout);
            }
            Err(held) => {
                waiting.insert(payout.seq, Waiting { why: held.guard.name(), text: held.to_string(), until: held.until });
            }
        }
    }
    *unsigned = left;
    Ok(wave)
}

/// Sequences of payouts that somebody approved as they are now.
fn approved(read: &impl Read, context: &Context, fee_cap_sun: u64) -> Result<Vec<u64>, Fault> {
    let (pin, settlement) = (context.gateways.current.pin(), context.gateways.current.settlement());
    let mut approved = Vec::new();
    for (digest, approval) in money::approvals(read)? {
        let mut these = Vec::new();
        for seq in &approval.payouts {
            these.extend(payouts::by_seq(read, *seq)?);
        }
        if guard::approval_digest(settlement, &pin, fee_cap_sun, &these) == digest {
            approved.extend(approval.payouts);
        }
    }
    Ok(approved)
}

/// Prepares and commits; the payouts that are signed now.
async fn sign(context: &Context, wave: Vec<Payout>, waiting: &mut BTreeMap<u64, Waiting>) -> Result<Vec<Payout>, Stopped> {
    let gateway = &context.gateways.current;
    let now = context.clock.now();
    let (mut cancelled, mut ready, mut addresses) = (Vec::new(), Vec::new(), BTreeMap::new());
    {
        let read = context.store.read()?;
        for payout in wave {
            let current = payouts::address(&read, &context.store.secrets, payout.node)?.map(|record| record.address);
            match payout.may_sign(current.as_ref(), now) {
                Ok(()) => {
                    addresses.insert(payout.seq, current);
                    ready.push(payout);
                }
                Err(PayoutError::AddressChanged) => {
                    let ended = payout.cancel("the payout address changed before signing".into(), now);
                    cancelled.push(Step::end(&payout, ended)?);
                }
                Err(error) => {
                    waiting.insert(payout.seq, Waiting { why: "not_signable", text: error.to_string(), until: None });
                }
            }
        }
    }
    commit(context, cancelled, now, cycle::always).await?;
    if ready.is_empty() {
        return Ok(Vec::new());
    }
    let after = money::wallet(&context.store.read()?, &gateway.pin())?.map_or(0, |row| row.last_timestamp_ms);
    let transfers: Vec<Transfer> =
        ready.iter().map(|payout| Transfer::next(payout, now.wall, after, context.store.entropy.u64())).collect();
    let prepared = gateway.prepare(&transfers).await;
    let mut steps = Vec::new();
    for (payout, prepared) in ready.into_iter().zip(prepared) {
        match prepared {
            Ok(prepared) if is_booked(context, &prepared)? => {
                let (kind, reason) =
                    (ReviewKind::Conflict, "its transfer has left the wallet already, and was booked as one that nothing here planned");
                let evidence = vec![format!(
                    "transaction {}; where it was booked to this node, cancel the payout, and what is owed is right; otherwise correct the node's balance first",
                    prepared.txid.unwrap_or_default()
                )];
                steps.push(Step::plain(&payout, payout.hold_for_review(kind, reason, evidence, now))?);
            }
            Ok(prepared) => {
                let current = addresses.get(&payout.seq).cloned().flatten();
                steps.push(Step::plain(&payout, payout.sign(prepared, current.as_ref(), now))?);
            }
            Err(NotPrepared::Later(why)) => {
                waiting.insert(payout.seq, Waiting { why: "not_prepared", text: why, until: None });
            }
            Err(NotPrepared::Unaccounted(why)) => {
                context.money.unreconciled(None, now);
                waiting.insert(payout.seq, Waiting { why: "not_reconciled", text: why, until: None });
            }
            Err(NotPrepared::Person { kind, reason, evidence }) => {
                steps.push(Step::plain(&payout, payout.hold_for_review(kind, &reason, evidence, now))?);
            }
        }
    }
    let secrets = context.store.secrets.clone();
    let still = move |tx: &WriteTx<'_>, payout: &Payout| -> Result<bool, TxError> {
        // The address is held against the payout's again in the transaction, and so is whether anything may be signed at all.
        let current = payouts::address(tx, &secrets, payout.node)?.map(|record| record.address);
        Ok(payout.review.is_some() || (is_open(tx)? && current.as_ref() == Some(&payout.address)))
    };
    let taken = commit(context, steps, now, still).await?;
    Ok(taken.into_iter().filter(|payout| payout.live_attempt().is_some()).collect())
}

/// The signer remembered a transfer that an older copy of the store had forgotten, and somebody has booked it.
fn is_booked(context: &Context, prepared: &Prepared) -> Result<bool, Fault> {
    let Some(txid) = &prepared.txid else { return Ok(false) };
    Ok(money::unknown(&context.store.read()?, txid)?.is_some())
}

enum Sent {
    All(bool),
    Stopped(String),
}

/// Commits that they may have been sent, and sends them: as many at once as their gateway allows. What it answers proves little; the lookup tells.
async fn send(context: &Context, signed: Vec<Payout>) -> Result<Sent, Stopped> {
    let mut any = false;
    // One gateway that takes nothing must not hold up another.
    let mut stopped: BTreeMap<Pin, String> = BTreeMap::new();
    for (gateway, some) in by_gateway(context, signed) {
        let pin = gateway.pin();
        if stopped.contains_key(&pin) {
            continue;
        }
        if let Err(Unavailable(why)) = gateway.ready().await {
            stopped.insert(pin, why);
            continue;
        }
        let now = context.clock.now();
        let steps = some.iter().map(|payout| Step::plain(payout, payout.maybe_sent(now))).collect::<Result<_, _>>()?;
        let leaving = commit(context, steps, now, |tx: &WriteTx<'_>, _: &Payout| Ok(is_open(tx)?)).await?;
        any |= !leaving.is_empty();
        for payout in leaving {
            // What was recorded and not sent is sent again when payouts go on.
            if money::state(&context.store.read()?)?.stopped.is_some() {
                stopped.insert(pin, "payouts were stopped".into());
                break;
            }
            if let Told::Stop(why) = deliver(context, &gateway, &payout, Sending::First).await? {
                tracing::error!(payout = %payout.id, why, "sending stops: what is left waits for the next run");
                stopped.insert(pin, why);
                break;
            }
        }
    }
    Ok(stopped.remove(&context.gateways.current.pin()).map_or(Sent::All(any), Sent::Stopped))
}

/// In their order, as many of one gateway together as it takes at once. What nobody can send stays signed.
fn by_gateway(context: &Context, signed: Vec<Payout>) -> Vec<(Arc<dyn PaymentGateway>, Vec<Payout>)> {
    let mut groups: Vec<(Arc<dyn PaymentGateway>, Vec<Payout>)> = Vec::new();
    for payout in signed {
        let Some(gateway) = payout.live_attempt().and_then(|attempt| context.gateways.of(attempt)) else { continue };
        match groups.last_mut() {
            Some((same, some)) if same.pin() == gateway.pin() && some.len() < same.at_once() => some.push(payout),
            _ => groups.push((gateway, vec![payout])),
        }
    }
    groups
}

pub enum Told {
    GoOn,
    Stop(String),
}

/// Sends the committed bytes of the last attempt, and records what the answer proves by itself.
pub async fn deliver(context: &Context, gateway: &Arc<dyn PaymentGateway>, payout: &Payout, sending: Sending) -> Result<Told, Stopped> {
    let Some(attempt) = payout.live_attempt() else { return Ok(Told::GoOn) };
    let outcome = gateway.send(attempt, sending).await;
    context.money.set_refused(payout.seq, if let SendOutcome::Stop(why) = &outcome { Some(why.as_str()) } else { None });
    let now = context.clock.now();
    let is_first = sending == Sending::First;
    let (step, told) = match outcome {
        SendOutcome::Accepted => (None, Told::GoOn),
        SendOutcome::AcceptedAs(reference) => (Some(Step::plain(payout, payout.named(reference, now))?), Told::GoOn),
        SendOutcome::Doubtful { reference, kind, reason, evidence } => {
            let named = reference.map_or_else(|| Ok(payout.clone()), |reference| payout.named(reference, now));
            let held = named.and_then(|named| named.hold_for_review(kind, &reason, evidence, now));
            (Some(Step::plain(payout, held)?), Told::GoOn)
        }
        SendOutcome::NotSent(why) if is_first => (Some(Step::plain(payout, payout.not_sent(now))?), Told::Stop(why)),
        SendOutcome::Rejected(why) if is_first => {
            let ended = payout.failed_on_chain(why, Landed { txid: None, fee_sun: 0 }, now);
            (Some(Step::end(payout, ended)?), Told::GoOn)
        }
        SendOutcome::Unknown(why) => {
            tracing::warn!(payout = %payout.id, why, "whether it was sent is not known");
            (None, Told::GoOn)
        }
        SendOutcome::Refused(why) | SendOutcome::Rejected(why) => {
            tracing::warn!(payout = %payout.id, why, "not taken this time");
            (None, Told::GoOn)
        }
        SendOutcome::Stop(why) | SendOutcome::NotSent(why) => (None, Told::Stop(why)),
    };
    commit(context, step.into_iter().collect(), now, cycle::always).await?;
    Ok(told)
}
