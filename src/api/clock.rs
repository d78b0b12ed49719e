//! The manager's clock: whether it is trusted, and what people can do about it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::storage::core::audit;
use crate::storage::{Lane, hot};

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ClockView {
    /// RFC 3339, UTC.
    wall: String,
    trusted: bool,
    /// Why it is not trusted.
    why: Option<String>,
    /// The highest time the store has committed; the clock must not fall behind it.
    high_water: String,
}

/// The manager's clock
#[utoipa::path(get, path = "/clock", tag = "operations", security(("access" = ["clock:read"])), responses((status = 200, body = ClockView)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<ClockView>, ApiError> {
    let now = state.now();
    let why = state.clock.why_untrusted().map(|why| why.to_string());
    Ok(Json(ClockView { wall: now.wall.rfc3339(), trusted: now.trusted, why, high_water: state.clock.high_water().rfc3339() }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// RFC 3339: the time on the caller's clock.
    client_time: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Trust {
    trusted: bool,
}

/// Confirm the clock
///
/// The clock is trusted from now on when it agrees with `client_time` within 60 s.
#[utoipa::path(post, path = "/clock/confirm", tag = "operations", security(("access" = ["clock:write"])), request_body = Confirmation, responses((status = 200, body = Trust), (status = 422, body = ErrorBody)))]
pub async fn confirm(State(state): State<AppState>, caller: Caller, body: Unchecked<Confirmation>) -> Result<Json<Trust>, ApiError> {
    let theirs = body.check(|body, errors| {
        let theirs = Timestamp::parse_rfc3339(&body.client_time);
        errors.require(theirs.is_some(), "client_time", "must be an RFC 3339 time");
        theirs
    })?;
    let agrees = theirs.is_some_and(|theirs| state.clock.confirm(theirs));
    let draft = caller.act(state.now()).draft("clock.confirm", "");
    let draft = if agrees { draft } else { draft.refused("ClocksDisagree") };
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    if !agrees {
        let message = "the two clocks differ by more than 60 s, or this one is behind the store; nothing was confirmed";
        return Err(Refusal::Rule("ClocksDisagree", message.into()).into());
    }
    Ok(Json(Trust { trusted: state.now().trusted }))
}

/// Accept the clock as it is
///
/// Lowers the highest committed time to the present reading: the way out when a clock that ran ahead has left its mark in the store.
#[utoipa::path(post, path = "/clock/accept", tag = "operations", security(("access" = ["clock:accept"])), responses((status = 200, body = Trust)))]
pub async fn accept(State(state): State<AppState>, caller: Caller) -> Result<Json<Trust>, ApiError> {
    let now = state.now();
    let draft = caller.act(now).draft("clock.accept", "").because(format!("high water was {}", state.clock.high_water()));
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    state.store.hot.write(Lane::Ordinary, move |tx| hot::accept_clock(tx, now.wall, None)).await?;
    state.clock.accept();
    Ok(Json(Trust { trusted: state.now().trusted }))
}
