//! Machines that wait for an admin's word.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use crate::domain::enrolment_request::EnrolmentRequest;
use crate::domain::ids::EnrolmentRequestId;
use crate::domain::node::HardwareInfo;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::storage::core::enrolment_requests;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    Pending,
    /// The machine becomes a node when it asks again.
    Approved,
    Rejected,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EnrolmentRequest)]
pub struct RequestView {
    id: String,
    enrolment_token_id: String,
    /// Hex Ed25519; the machine shows it, too.
    public_key: String,
    /// What it would like to be called.
    name: String,
    hardware_info: HardwareInfo,
    address: Option<String>,
    state: RequestState,
    /// RFC 3339, UTC.
    asked_at: String,
    /// With its token.
    expires_at: String,
    decided_at: Option<String>,
    /// User id.
    decided_by: Option<String>,
}

impl From<EnrolmentRequest> for RequestView {
    fn from(request: EnrolmentRequest) -> RequestView {
        RequestView {
            state: state_of(&request),
            id: request.id.to_string(),
            enrolment_token_id: request.token.to_string(),
            public_key: request.key.to_hex(),
            name: request.name,
            hardware_info: request.hardware,
            address: request.address,
            asked_at: request.asked_at.rfc3339(),
            expires_at: request.expires_at.rfc3339(),
            decided_at: request.decision.as_ref().map(|decision| Timestamp::rfc3339(decision.at)),
            decided_by: request.decision.map(|decision| decision.by),
        }
    }
}

fn state_of(request: &EnrolmentRequest) -> RequestState {
    match &request.decision {
        None => RequestState::Pending,
        Some(decision) if decision.approved => RequestState::Approved,
        Some(_) => RequestState::Rejected,
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RequestList {
    enrolment_requests: Vec<RequestView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestQuery {
    state: Option<RequestState>,
}

/// Machines that asked to be nodes, newest first
///
/// Those with a token of many uses wait here. A machine that became a node, and one whose token ended, is not listed any more.
#[utoipa::path(get, path = "/enrolment-requests", tag = "enrolment", security(("access" = ["enrolment:read"])), params(PageQuery, RequestQuery),
    responses((status = 200, body = RequestList), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page, Query(query): Query<RequestQuery>) -> Result<Json<RequestList>, ApiError> {
    let mut rows = enrolment_requests::requests(&state.store.read()?, state.now().wall)?;
    rows.retain(|request| query.state.is_none_or(|wanted| state_of(request) == wanted));
    let (rows, pagination) = page.slice(rows);
    Ok(Json(RequestList { enrolment_requests: rows.into_iter().map(RequestView::from).collect(), pagination }))
}

/// Let a machine in
///
/// It becomes a node when it asks again, which takes it a minute at most.
#[utoipa::path(post, path = "/enrolment-requests/{id}/approve", tag = "enrolment", security(("access" = ["enrolment:approve"])), params(("id" = String, Path)),
    responses((status = 200, body = RequestView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it was rejected")))]
pub async fn approve(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<RequestView>, ApiError> {
    decide(&state, &caller, &id, true).await
}

/// Turn a machine away
///
/// It is refused for good with this token.
#[utoipa::path(post, path = "/enrolment-requests/{id}/reject", tag = "enrolment", security(("access" = ["enrolment:approve"])), params(("id" = String, Path)),
    responses((status = 200, body = RequestView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it was approved")))]
pub async fn reject(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<RequestView>, ApiError> {
    decide(&state, &caller, &id, false).await
}

async fn decide(state: &AppState, caller: &Caller, id: &str, approved: bool) -> Result<Json<RequestView>, ApiError> {
    caller.person(Role::Admin)?;
    let id = EnrolmentRequestId::parse(id).map_err(|_| Refusal::EnrolmentRequestNotFound)?;
    let act = caller.act(state.now());
    let decided = state.store.write(move |tx| enrolment_requests::decide(tx, &id, approved, &act)).await?;
    Ok(Json(decided.into()))
}
