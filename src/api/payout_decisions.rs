//! What people decide about payouts: one that waits for them, and many that need a second admin.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::{reason, trimmed};
use super::json::{Json, Path};
use super::payout_detail::{PayoutDetail, detail};
use super::payouts::{PayoutView, shows_address};
use super::reads::Names;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::crypto;
use crate::domain::guard;
use crate::domain::ids::PayoutId;
use crate::domain::money::{Currency, Units};
use crate::domain::payout::{Choice, MAX_LINE_CHARS};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::user::Role;
use crate::live::{Event, Job};
use crate::storage::core::money_actions::{self as actions, ApprovalOf, Decision};
use crate::storage::core::payouts;
use crate::storage::table::Snapshot;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    choice: Choice,
    /// With `accept_paid`: the transaction that paid it, 64 hex digits; of a payment service also its own id of the payout.
    #[schema(pattern = "^[0-9a-zA-Z_-]{1,128}$")]
    transaction_hash: Option<String>,
    /// With `state_unpaid`: how you know that the service did not pay it and never will. Kept with the payout.
    #[schema(min_length = 3, max_length = 300)]
    statement: Option<String>,
}

fn decision(body: DecisionRequest, errors: &mut FieldErrors) -> Decision {
    let wants = |field: &str, choice: Choice, given: bool, errors: &mut FieldErrors| {
        if given != (body.choice == choice) {
            errors.add(field, if given { format!("goes with {choice} alone") } else { format!("must be given with {choice}") });
        }
    };
    wants("transaction_hash", Choice::AcceptPaid, body.transaction_hash.is_some(), errors);
    wants("statement", Choice::StateUnpaid, body.statement.is_some(), errors);
    let mut txid = body.transaction_hash.unwrap_or_default();
    if txid.len() == 64 && txid.bytes().all(|b| b.is_ascii_hexdigit()) {
        txid.make_ascii_lowercase();
    }
    if !txid.is_empty() || body.choice == Choice::AcceptPaid {
        let fits = (1..=128).contains(&txid.len()) && txid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        errors.require(fits, "transaction_hash", "must be 64 hex digits, or the service's id: 1 to 128 letters, digits, - and _");
    }
    let mut text = body.statement.unwrap_or_default();
    if !text.is_empty() || body.choice == Choice::StateUnpaid {
        text = trimmed(errors, "statement", &text, 3..=MAX_LINE_CHARS);
    }
    match body.choice {
        Choice::AcceptPaid => Decision::AcceptPaid { txid },
        Choice::StateUnpaid => Decision::StateUnpaid { text },
        choice => Decision::Choose(choice),
    }
}

/// Decide about a payout that waits for a person
///
/// `choices` of the payout says what can be chosen. A transaction that is named is verified before anything is booked; a new attempt is made only when no earlier one can land. `cancel` also
/// ends one that waits for nobody, while nothing of it can land. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/nodes/payouts/{payout_id}/decide", tag = "payouts", security(("access" = ["money:write"])), params(("payout_id" = String, Path)), request_body = DecisionRequest,
    extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = PayoutDetail), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn decide(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<DecisionRequest>,
) -> Result<Json<PayoutDetail>, ApiError> {
    let decision = body.check(decision)?;
    take(&state, &caller, &id, decision).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Shown with the payout.
    #[schema(min_length = 3, max_length = 500, example = "the address belongs to somebody else")]
    reason: String,
}

/// Hold a payout for a person
///
/// Nothing of it is signed or sent for the first time until somebody decides. What was sent may land, and is looked after.
#[utoipa::path(post, path = "/nodes/payouts/{payout_id}/hold", tag = "payouts", security(("access" = ["money:write"])), params(("payout_id" = String, Path)), request_body = HoldRequest,
    responses((status = 200, body = PayoutDetail), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn hold(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<HoldRequest>,
) -> Result<Json<PayoutDetail>, ApiError> {
    let reason = body.check(|body, errors| reason(errors, &body.reason))?;
    take(&state, &caller, &id, Decision::Hold { reason }).await
}

async fn take(state: &AppState, caller: &Caller, id: &str, decision: Decision) -> Result<Json<PayoutDetail>, ApiError> {
    let id = PayoutId::parse(id).map_err(|_| Refusal::PayoutNotFound)?;
    let (by, _) = caller.person(Role::Admin)?;
    let act = caller.act(state.now());
    let (of, payout_id) = (id.clone(), id.clone());
    let known = Refusal::TransactionKnown;
    let decided = state.store.write_money(move |tx| actions::decide(tx, &act, &by, &of, &decision)).await;
    let payout = decided.map_err(ApiError::naming([(known, "transaction_hash")]))?;
    state.events.publish(&Event::Payout { payout_id });
    state.nudges.nudge(Job::Tracking);
    let read = state.store.read()?;
    Ok(Json(detail(state, &read, &payout, shows_address(caller))?))
}

/// Payouts that wait for a second admin, as one whole.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApprovalView {
    /// What an approval is bound to: wallet, network, fee cap, and every id, address and amount. Null when nothing waits.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub digest: Option<String>,
    pub payouts: Vec<PayoutView>,
    /// Sum of them, in USDT.
    pub sum: String,
    pub wallet: String,
    pub network: String,
    /// What one transfer may cost at most, in sun.
    pub fee_cap_sun: String,
    /// Why you cannot approve them; null: you can, once your session is confirmed.
    pub not_by_you: Option<String>,
}

/// Sequences of those that wait for an approval now, ascending.
fn waiting(state: &AppState) -> Vec<u64> {
    state.money.all_waiting().into_iter().filter(|(_, waiting)| waiting.why == guard::Guard::Approval.name()).map(|(seq, _)| seq).collect()
}

fn bound_to(state: &AppState) -> ApprovalOf {
    ApprovalOf { settlement: state.payer.settlement, pin: state.payer.pin.clone(), fee_cap_sun: state.settings().payments.fee_cap_sun }
}

fn approval(state: &AppState, caller: &Caller, read: &Snapshot) -> Result<ApprovalView, ApiError> {
    let of = bound_to(state);
    let mut these = Vec::new();
    for seq in waiting(state) {
        these.extend(payouts::by_seq(read, seq)?.filter(|payout| payout.is_open() && payout.live_attempt().is_none()));
    }
    let digest = (!these.is_empty()).then(|| guard::approval_digest(of.settlement, &of.pin, of.fee_cap_sun, &these));
    let mut names = Names::new(read);
    let shows = shows_address(caller);
    let mut sum = Units::ZERO;
    for payout in &these {
        sum = sum.plus(payout.amount).map_err(|_| ApiError::panicked())?;
    }
    let own = match caller.person(Role::Admin) {
        Ok((by, _)) => these
            .iter()
            .find(|payout| payout.asked_by().as_ref() == Some(&by))
            .map(|payout| format!("you asked for {} yourself; another admin has to approve", payout.id)),
        Err(_) => Some("only an admin's own session may approve".to_owned()),
    };
    Ok(ApprovalView {
        digest: digest.map(|digest| crypto::hex(&digest)),
        payouts: these.iter().map(|payout| PayoutView::new(payout, &mut names, shows)).collect::<Result<_, _>>()?,
        sum: sum.to_decimal(Currency::Usdt).to_string(),
        wallet: of.pin.wallet,
        network: of.pin.network,
        fee_cap_sun: of.fee_cap_sun.to_string(),
        not_by_you: own,
    })
}

/// What waits for a second admin
#[utoipa::path(get, path = "/payouts/approvals", tag = "payouts", security(("access" = ["ledger:read"])), responses((status = 200, body = ApprovalView)))]
pub async fn approvals(State(state): State<AppState>, caller: Caller) -> Result<Json<ApprovalView>, ApiError> {
    let read = state.store.read()?;
    Ok(Json(approval(&state, &caller, &read)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// As it was shown: what has changed since is not approved.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
}

/// Approve what waits for a second admin
///
/// Exactly what the digest stands for, by an admin who asked for none of it. Where there is one admin, it waits 24 hours instead. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/payouts/approvals", tag = "payouts", security(("access" = ["money:write"])), request_body = ApproveRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = ApprovalView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn approve(
    State(state): State<AppState>,
    caller: Caller,
    body: Unchecked<ApproveRequest>,
) -> Result<Json<ApprovalView>, ApiError> {
    let digest = body.check(|body, errors| {
        let digest: Option<[u8; 32]> = crypto::unhex(&body.digest).and_then(|bytes| bytes.try_into().ok());
        errors.require(digest.is_some(), "digest", "must be 64 hex digits");
        digest.unwrap_or_default()
    })?;
    let (by, _) = caller.person(Role::Admin)?;
    let (act, of, seqs) = (caller.act(state.now()), bound_to(&state), waiting(&state));
    state.store.write_money(move |tx| actions::approve(tx, &act, &by, digest, &of, &seqs)).await?;
    state.events.publish(&Event::Money {});
    state.nudges.nudge(Job::Tracking);
    let read = state.store.read()?;
    Ok(Json(approval(&state, &caller, &read)?))
}
