//! One payout with everything that is recorded of it: its attempts, and what happened when.

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::money::WaitingView;
use super::payouts::{PayoutView, shows_address};
use super::reads::{Names, Person};
use super::state::AppState;
use crate::domain::audit::Actor;
use crate::domain::ids::{PayoutId, UserId};
use crate::domain::payout::{
    self, Attempt, AttemptState, AttemptStateName, Choice, Payout, Review, ReviewKind, STATEMENTS_NEEDED, SourceName,
};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::storage::core::payouts;
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// A payout, how it was tried, and what happened when.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutDetail {
    #[serde(flatten)]
    pub payout: PayoutView,
    pub source: SourceName,
    /// Oldest first; only the last one can still land.
    pub attempts_made: Vec<AttemptView>,
    /// In the order in which it happened.
    pub timeline: Vec<Moment>,
    /// Why it waits for a person; null: it does not.
    pub review: Option<ReviewView>,
    /// What a person may choose now.
    pub choices: Vec<Choice>,
    /// Nothing of it can land, so it may be cancelled.
    pub can_cancel: bool,
    /// Why it was not signed by the last run; null: it was, or nobody has looked since the start.
    pub waiting: Option<WaitingView>,
}

/// Why a payout waits for a person, and what is known.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReviewView {
    pub kind: ReviewKind,
    pub reason: String,
    /// Oldest first.
    pub evidence: Vec<String>,
    pub since: String,
    /// What an admin says paid it; it is being verified.
    pub claimed_transaction: Option<String>,
    /// Who stated that the service did not pay it.
    pub statements: Vec<StatementView>,
    pub statements_needed: usize,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StatementView {
    pub by: Option<Person>,
    pub at: String,
    pub text: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AttemptView {
    /// Counts from 1.
    pub number: u32,
    pub gateway: String,
    pub network: String,
    /// `mainnet`, `nile` or `shasta`, where explorers know it; null: it has no name.
    pub network_name: Option<String>,
    pub state: AttemptStateName,
    /// Why it failed, or what proves it dead.
    pub reason: Option<String>,
    pub block: Option<u64>,
    /// Null until it may have left this machine.
    pub transaction_hash: Option<String>,
    /// What a payment service calls it; null: it said nothing.
    pub reference: Option<String>,
    pub signed_at: String,
    pub sent_at: Option<String>,
    /// First found in a block.
    pub seen_at: Option<String>,
    /// Final, or proven that it can never land.
    pub ended_at: Option<String>,
    /// By the network's own clock. Null: it never expires by itself.
    pub expires_at: Option<String>,
    /// What the network took, in sun (millionths of a TRX).
    pub fee_sun: String,
    /// The wallet that pays.
    pub wallet: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MomentKind {
    /// Planned, and its amount reserved, in one transaction.
    Planned,
    Signed,
    Sent,
    Seen,
    AttemptFailed,
    AttemptDead,
    Review,
    Paid,
    Failed,
    Cancelled,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Moment {
    /// Null where the moment itself is not recorded.
    pub at: Option<String>,
    pub event: MomentKind,
    pub detail: Option<String>,
}

/// Show a payout
#[utoipa::path(get, path = "/nodes/payouts/{payout_id}", tag = "payouts", security(("access" = ["payout:read"])), params(("payout_id" = String, Path)),
    responses((status = 200, body = PayoutDetail), (status = 404, body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<PayoutDetail>, ApiError> {
    let id = PayoutId::parse(&id).map_err(|_| Refusal::PayoutNotFound)?;
    let read = state.store.read()?;
    let payout = payouts::by_id(&read, &id)?.ok_or(Refusal::PayoutNotFound)?;
    Ok(Json(detail(&state, &read, &payout, shows_address(&caller))?))
}

pub(super) fn detail(state: &AppState, read: &Snapshot, payout: &Payout, shows_address: bool) -> Result<PayoutDetail, ApiError> {
    let mut names = Names::new(read);
    let view = PayoutView::new(payout, &mut names, shows_address)?;
    Ok(PayoutDetail {
        payout: view,
        source: payout.source.name(),
        attempts_made: payout.attempts.iter().map(|of| attempt(of, state.settings().payments.network_name)).collect(),
        timeline: timeline(payout),
        review: match &payout.review {
            Some(of) => Some(review(of, &mut names)?),
            None => None,
        },
        choices: payout.choices(),
        can_cancel: payout.is_open() && payout.live_attempt().is_none(),
        waiting: state.money.waiting(payout.seq).filter(|_| payout.is_open()).map(WaitingView::from),
    })
}

fn review(review: &Review, names: &mut Names<'_>) -> Result<ReviewView, Fault> {
    let person = |names: &mut Names<'_>, id: &UserId| names.person(&Actor::User(id.to_string()));
    let mut statements = Vec::new();
    for of in &review.statements {
        statements.push(StatementView { by: person(names, &of.by)?, at: of.at.rfc3339(), text: of.text.clone() });
    }
    Ok(ReviewView {
        kind: review.kind,
        reason: review.reason.clone(),
        evidence: review.evidence.clone(),
        since: review.since.rfc3339(),
        claimed_transaction: review.claim.as_ref().map(|claim| claim.txid.clone()),
        statements,
        statements_needed: STATEMENTS_NEEDED,
    })
}

fn attempt(attempt: &Attempt, network_name: fn(&str) -> Option<&'static str>) -> AttemptView {
    AttemptView {
        number: attempt.number,
        gateway: attempt.prepared.pin.gateway.clone(),
        network: attempt.prepared.pin.network.clone(),
        network_name: network_name(&attempt.prepared.pin.network).map(str::to_owned),
        state: attempt.state.name(),
        reason: attempt.state.reason(),
        block: attempt.state.block(),
        transaction_hash: attempt.sent_at.and_then(|_| attempt.txid()).map(str::to_owned),
        reference: attempt.reference.clone(),
        signed_at: attempt.signed_at.rfc3339(),
        sent_at: attempt.sent_at.map(Timestamp::rfc3339),
        seen_at: attempt.seen_at.map(Timestamp::rfc3339),
        ended_at: attempt.ended_at.map(Timestamp::rfc3339),
        expires_at: attempt.prepared.expires_at.map(Timestamp::rfc3339),
        fee_sun: attempt.fee_sun.to_string(),
        wallet: attempt.prepared.pin.wallet.clone(),
    }
}

fn timeline(payout: &Payout) -> Vec<Moment> {
    let moment = |at: Option<Timestamp>, event, detail: Option<String>| Moment { at: at.map(Timestamp::rfc3339), event, detail };
    let mut moments = vec![moment(Some(payout.created_at), MomentKind::Planned, None)];
    for attempt in &payout.attempts {
        let number = Some(format!("attempt {}", attempt.number));
        moments.push(moment(Some(attempt.signed_at), MomentKind::Signed, number));
        moments.extend(attempt.sent_at.map(|at| moment(Some(at), MomentKind::Sent, None)));
        let block = match &attempt.state {
            AttemptState::Seen { block } => Some(format!("in block {block}")),
            _ => None,
        };
        // Earlier releases did not record when.
        if attempt.seen_at.is_some() || block.is_some() {
            moments.push(moment(attempt.seen_at, MomentKind::Seen, block));
        }
        moments.extend(match &attempt.state {
            AttemptState::FailedOnChain { reason } => Some(moment(attempt.ended_at, MomentKind::AttemptFailed, Some(reason.clone()))),
            AttemptState::Dead { death } => Some(moment(attempt.ended_at, MomentKind::AttemptDead, Some(death.to_string()))),
            AttemptState::Signed | AttemptState::MaybeSent | AttemptState::Seen { .. } | AttemptState::Paid => None,
        });
    }
    if let Some(review) = payout.review.as_ref().filter(|_| payout.is_open()) {
        moments.push(moment(Some(review.since), MomentKind::Review, Some(review.reason.clone())));
    }
    moments.extend(match &payout.state {
        payout::State::Open => None,
        payout::State::Paid { at } => Some(moment(Some(*at), MomentKind::Paid, None)),
        payout::State::Failed { at, reason } => Some(moment(Some(*at), MomentKind::Failed, Some(reason.clone()))),
        payout::State::Cancelled { at, reason } => Some(moment(Some(*at), MomentKind::Cancelled, Some(reason.clone()))),
    });
    moments
}
