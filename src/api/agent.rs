//! What agents send: reports and late batches (what supervisors say in between is in `commands`). Signatures are checked here; everything else is the
//! intake's.

use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

use super::commands::{self, Exchange};
use super::error::{ApiError, ErrorBody};
use super::rates::{Class, Payer};
use super::signed::{Message, Seal, by_node, check_protocol};
use super::state::AppState;
use crate::clock::Stopwatch;
use crate::crypto::{hex, sha256};
use crate::domain::alert::Severity;
use crate::domain::audit::{Act, Actor};
use crate::domain::enrolment::{Drift, Fingerprint};
use crate::domain::ids::NodeId;
use crate::domain::node::{Eligible, Observed, Status, Wanted};
use crate::domain::output::answerable_for_ms;
use crate::domain::proof::head::{CommittedHead, SignedHead};
use crate::domain::proof::leaf::CommittedReports;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::security::KEY_ELSEWHERE;
use crate::domain::time::{Now, Slot};
use crate::domain::workload::{WorkloadReport, observed_at_work};
use crate::live::{Event, Family, LatestSample, ReportEvent};
use crate::storage::core::{alerts, chain, nodes};
use crate::storage::fault::WriteError;
use crate::storage::hot::{self, EncodedSample};
use crate::storage::intake::{NotTaken, slot_offset_ms};
use crate::storage::table::{Snapshot, WriteTx};
use crate::storage::{Lane, NodeEntry};
use crate::wire::{LateAnswer, LateBatch, MAX_ITEMS, MAX_LATE_ITEMS, Purpose, Report, ReportAnswer, SlotChallenge, SlotNow, phase_ms};

/// Report measurements
///
/// Every 30 s, signed by the node (`x-lucid-signature`: hex Ed25519 over what the agent protocol lists, the exact bytes of the body among it); the answer is
/// signed by the manager in the same way. Fields that are not known here are ignored, so that versions can differ. Measurements beyond their range are left out,
/// and the report is taken. An agent names the manager's key that it has pinned (`x-lucid-manager-key`: the hash that tokens name); where that is a former one, the
/// answer says which keys took over from it (`x-lucid-successions`: statements as in `/poot/manager-key`).
#[utoipa::path(post, path = "/agent/report", tag = "agent", security(("signed" = [])), request_body = Report, responses(
    (status = 200, body = ReportAnswer, headers(("x-lucid-signature" = String, description = "the manager's, hex"))),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody, description = "the fingerprint is another machine's"),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it was heard before"),
    (status = 413, body = ErrorBody, description = "the body is larger than 1 MiB"), (status = 422, body = ErrorBody, description = "a newer protocol")))]
pub async fn report(State(state): State<AppState>, message: Message) -> Result<Response, ApiError> {
    let mut report: Report = message.parse()?;
    let Message { node, info, headers, body, .. } = message;
    let seal = Seal { state: &state, node: &node, incarnation: report.incarnation, seq: report.seq };
    seal.check(Purpose::Report, &headers, &body)?;
    state.rates.charge(&info, Class::Signed, Payer::Node(node.id.as_str()))?;
    check_protocol(report.protocol)?;
    check_items(&report)?;
    for item in &mut report.items {
        item.sample = std::mem::take(&mut item.sample).sanitised();
    }
    let now = state.now();
    check_fingerprint(&state, &node, &report.fingerprint, now).await?;
    let watch = Stopwatch::start();
    let before = state.store.intake.workload(node.index).map(|workload| workload.report.clone());
    let order = state.store.directory.standing(&node).order;
    let order_revision = order.revision;
    // A time that is not trusted says nothing about the past; the flush that gives such reports their slots looks at who was in service then.
    let wanted = |slot: Slot| match now.trusted {
        true => order.wanted_in(slot) == Wanted::Running && *node.eligible.at(slot) == Eligible::InService,
        false => *order.wanted.latest() == Wanted::Running,
    };
    let judged = state.store.intake.accept(node.index, &node.id, &report, &sha256(&body), &wanted, now);
    let result = match &judged {
        Ok(accepted) if accepted.proved.is_some() => "proven",
        Ok(_) => "unproven",
        Err(_) => "refused",
    };
    state.metrics.count(Family::PootValidations, &[("result", result)]);
    state.metrics.observe(Family::PootValidationDuration, &[], watch.elapsed());
    let accepted = match judged {
        Ok(accepted) => accepted,
        Err(NotTaken::Refused(refusal)) => return Err(by_node(refusal, &node)),
        Err(NotTaken::Busy) => {
            return Err(ApiError::unavailable("IntakeFull", "too many reports wait for the disk; keep this one and try again"));
        }
    };
    if accepted.is_new
        && let Some(item) = report.items.last()
    {
        let is_told = |told: &WorkloadReport| told.follows(state.store.generation, order_revision);
        let observed = report.workload.as_ref().map_or(Observed::Active, |told| observed_at_work(told, node.wanted, is_told(told)));
        // As the node's own page says it: maintenance that is planned has its end planned too, so the latest value is never it.
        let status = Status::derive(observed, node.wanted, *node.eligible.at(now.wall.slot().plus(1)));
        let latest = LatestSample::of(now.wall, &item.sample);
        let proved = accepted.proved.map(|slot| slot.0);
        state.events.publish(&Event::Report(ReportEvent { node_id: node.id.clone(), latest, status, proved }));
    }
    if accepted.is_new {
        commands::publish_if_changed(&state, &node, before.as_ref());
    }
    if let Some(shown) = &report.contradicts {
        hear_of_fork(&state, &node, shown, now).await?;
    }
    let Exchange { order, pending } = commands::exchange(&state, &node, report.workload.as_ref(), accepted.is_new, now).await;
    let kept = report.head.as_ref();
    let newest = state.store.recent.head().filter(|newest| kept.is_none_or(|kept| kept.hash != hex(&newest.hash())));
    let unknown_head = match (kept, &newest) {
        // Of an earlier life of the history the agent is told; of this one its head has to be here.
        (Some(kept), Some(newest)) if kept.incarnation >= newest.head.incarnation => {
            !chain::has_hash(&state.store.read()?, kept.epoch, &kept.hash)?
        }
        _ => false,
    };
    let slot = now.trusted.then(|| {
        let slot = now.wall.slot();
        // A slot that was proven is one that the node was or could have been asked in; a beacon of another would prove it later, unasked.
        let is_proven = state.store.intake.has_proven(node.index, slot);
        let beacon = if is_proven { state.store.intake.beacon(&node.id, slot) } else { String::new() };
        SlotNow { slot, offset_ms: slot_offset_ms(now), beacon }
    });
    let answer = ReportAnswer {
        accepted_seq: accepted.accepted_seq,
        durable_seq: accepted.durable_seq,
        run: state.store.intake.run,
        slot,
        phase_ms: phase_ms(&node.id),
        evidence_hash: accepted.reports.hash.to_hex(),
        durable_reports: (accepted.durable_reports.count > 0).then(|| accepted.durable_reports.into()),
        last_day: accepted.last_day.map(CommittedReports::from),
        unknown_head,
        head: newest.filter(|_| !unknown_head).map(|newest| (*newest).clone()),
        command: order,
        pending,
        challenge: challenge(&state, &node, accepted.proved, now),
    };
    seal.answer(Purpose::ReportAnswer, &answer)
}

/// A node that has a head of ours which is not here knows more than this store: it is an older copy, and its history goes on as another one, openly.
async fn hear_of_fork(state: &AppState, node: &NodeEntry, shown: &SignedHead, now: Now) -> Result<(), ApiError> {
    let mine = state.store.manager_key().0;
    let is_news = move |read: &Snapshot| {
        // A head of a former key is news from a time that this store forgot, also where it was copied before that key was replaced and its statement counts fewer
        // heads. Whoever has a former key can make one up, but only of this life of the history: he cannot use up the numbers of lives.
        let former = chain::successions(read)?;
        let incarnation = chain::load(read)?.incarnation;
        let is_former = |head: &CommittedHead| head.incarnation == incarnation && former.iter().any(|f| f.old_key == head.manager_key);
        chain::is_news(read, shown, |head| head.manager_key.0 == mine || is_former(head))
    };
    if !is_news(&state.store.read()?)? {
        return Ok(());
    }
    let (shown, id) = (shown.clone(), node.id.to_string());
    let declare = move |tx: &mut WriteTx<'_>| match chain::is_news(tx, &shown, |_| true)? {
        true => chain::declare_fork(tx, &shown, &id, now),
        // Another node was first.
        false => Ok(()),
    };
    Ok(state.store.write(declare).await?)
}

/// Report measurements that came too late
///
/// Out of the agent's spool, signed like a report. Answered after a commit; sending it again changes nothing. Measurements beyond their range are left out.
#[utoipa::path(post, path = "/agent/late", tag = "agent", security(("signed" = [])), request_body = LateBatch, responses(
    (status = 200, body = LateAnswer, headers(("x-lucid-signature" = String, description = "the manager's, hex"))),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 413, body = ErrorBody, description = "the body is larger than 1 MiB"), (status = 422, body = ErrorBody, description = "a newer protocol")))]
pub async fn late(State(state): State<AppState>, message: Message) -> Result<Response, ApiError> {
    let batch: LateBatch = message.parse()?;
    let Message { node, info, headers, body, .. } = message;
    let seal = Seal { state: &state, node: &node, incarnation: batch.incarnation, seq: 0 };
    seal.check(Purpose::Late, &headers, &body)?;
    state.rates.charge(&info, Class::Signed, Payer::Late(node.id.as_str()))?;
    check_protocol(batch.protocol)?;
    let mut errors = FieldErrors::default();
    errors.require((1..=MAX_LATE_ITEMS).contains(&batch.items.len()), "items", format!("must have 1 to {MAX_LATE_ITEMS} entries"));
    errors.finish()?;
    let now = state.now();
    if !now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let newest = now.wall.slot();
    let oldest = newest.minus(state.settings().raw_days.saturating_mul(crate::domain::evidence::SLOTS_PER_DAY));
    let total = batch.items.len();
    let fits = batch.items.into_iter().filter(|item| (oldest..=newest).contains(&item.slot));
    let items: Vec<_> = fits.map(|item| (item.slot, EncodedSample::new(&item.sample.sanitised()))).collect();
    let refused = u32::try_from(total - items.len()).unwrap_or(u32::MAX);
    // What is in memory goes first, so that the rows on disk know every slot that was reported live.
    let anchor = state.clock.wall_at(now.boot).map(|wall| wall.0 - now.boot.0);
    // A task of its own: an agent that hangs up must not take the evidence of the fleet with it.
    let store = Arc::clone(&state.store);
    let flushed = tokio::spawn(async move { store.flush(now, anchor).await }).await;
    flushed.map_err(|_| WriteError::Unknown("the flush was ended".into()))??;
    state.clock.committed(now.wall);
    let index = node.index;
    let tails = Arc::clone(&state.store.tails);
    let is_thinned = state.store.space.is_thinned();
    let store_late = move |tx: &mut WriteTx<'_>| hot::store_late(tx, index, &items, &tails, newest, is_thinned);
    let outcome = state.store.hot.write(Lane::Ordinary, store_late).await?;
    seal.answer(Purpose::LateAnswer, &LateAnswer { stored: outcome.stored, duplicate: outcome.duplicate, refused })
}

fn challenge(state: &AppState, node: &NodeEntry, proved: Option<Slot>, now: Now) -> Option<SlotChallenge> {
    let present = now.trusted.then(|| now.wall.slot())?;
    let (slot, asked) = state.store.outputs.hand_out((node.index, &node.id), *node.pool.at(present), now.wall, proved == Some(present))?;
    Some(SlotChallenge { slot, challenge: hex(&asked), expires_in_ms: answerable_for_ms(slot, now.wall) })
}

fn check_items(report: &Report) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    errors.require((1..=MAX_ITEMS).contains(&report.items.len()), "items", format!("must have 1 to {MAX_ITEMS} entries"));
    errors.require(report.items.is_sorted_by(|a, b| a.seq < b.seq), "items", "must ascend by seq");
    errors.require(report.items.last().is_none_or(|last| last.seq == report.seq), "seq", "must be that of the last item");
    Ok(errors.finish()?)
}

/// A part or two may change. More than that is recorded and holds payouts; another machine is refused.
async fn check_fingerprint(state: &AppState, node: &NodeEntry, reported: &Fingerprint, now: Now) -> Result<(), ApiError> {
    let Some(accepted) = &node.fingerprint else { return Err(Refusal::NodeNotFound.into()) };
    if !reported.is_well_formed() {
        return Err(ApiError::malformed("fingerprint", "must hold hashes of 32 hex digits"));
    }
    match accepted.drift(reported) {
        Drift::Same => Ok(()),
        Drift::OtherHardware => {
            raise_other_hardware(state, &node.id, now).await?;
            Err(by_node(Refusal::KeyOnOtherHardware, node))
        }
        Drift::Changed if node.drifted => Ok(()),
        Drift::Changed => {
            let act = Act { actor: Actor::Node(node.id.to_string()), ..Act::system(now) };
            let (id, reported, directory) = (node.id.clone(), reported.clone(), Arc::clone(&state.store.directory));
            state.store.write(move |tx| nodes::report_drift(tx, &directory, &act, &id, &reported)).await?;
            Ok(())
        }
    }
}

/// Tells people once that a node's key turned up on another machine.
pub async fn raise_other_hardware(state: &AppState, node: &NodeId, now: Now) -> Result<(), ApiError> {
    let id = node.to_string();
    let named = nodes::by_id(&state.store.read()?, node)?.map_or_else(|| id.clone(), |node| node.name);
    let message = format!("the key of {named} was presented by another machine, which was refused: the key may have been copied");
    state.store.write(move |tx| alerts::raise(tx, KEY_ELSEWHERE, &id, Severity::Critical, &message, now.wall)).await?;
    Ok(())
}
