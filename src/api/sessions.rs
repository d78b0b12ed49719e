//! Where a person is signed in, for that person and for admins.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::{Caller, SessionKey};
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::login::signed_out;
use super::people::user_id;
use super::state::AppState;
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Carrier, Session, session_id};
use crate::domain::user::Role;
use crate::storage::core::people;

/// What carries a session's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionCarrier {
    /// A cookie.
    Browser,
    /// A bearer token.
    Program,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Names the session and opens nothing.
    id: String,
    /// The one this request came with.
    current: bool,
    carrier: SessionCarrier,
    /// RFC 3339, UTC.
    created_at: String,
    /// When it was last used, to about ten minutes. A program's is not followed.
    used_at: String,
    expires_at: String,
    /// Where it was begun; null for sessions of earlier releases.
    address: Option<String>,
    user_agent: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionList {
    /// The current one first, then the last used.
    sessions: Vec<SessionView>,
}

/// The caller as a person, and the session they came with.
fn own(caller: &Caller) -> Result<(UserId, SessionKey), ApiError> {
    let (id, _) = caller.person(Role::Viewer)?;
    let key = caller.session.ok_or(Refusal::NotSignedIn)?;
    Ok((id, key))
}

/// Where one is signed in
#[utoipa::path(get, path = "/sessions", tag = "people", security(("access" = ["session:self"])), responses((status = 200, body = SessionList)))]
pub async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<SessionList>, ApiError> {
    let (user, _) = own(&caller)?;
    shown(&state, &caller, &user)
}

fn shown(state: &AppState, caller: &Caller, user: &UserId) -> Result<Json<SessionList>, ApiError> {
    let current = caller.session.map(|key| key.token_hash);
    let mut found = people::sessions(&state.store.read()?, user, state.now().wall)?;
    found.sort_by_key(|(hash, session)| (Some(*hash) != current, std::cmp::Reverse(session.used_at)));
    let view = |(hash, session): ([u8; 32], Session)| SessionView {
        id: session_id(&hash),
        current: Some(hash) == current,
        carrier: match session.carrier {
            Carrier::Cookie => SessionCarrier::Browser,
            Carrier::Bearer => SessionCarrier::Program,
        },
        created_at: session.created_at.rfc3339(),
        used_at: session.used_at.rfc3339(),
        expires_at: session.expires_at().rfc3339(),
        address: session.address,
        user_agent: session.user_agent,
    };
    Ok(Json(SessionList { sessions: found.into_iter().map(view).collect() }))
}

/// End one of one's own sessions
///
/// `current` is the one this request comes with.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "people", security(("access" = ["session:self"])), params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub async fn end(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (user, key) = own(&caller)?;
    let current = session_id(&key.token_hash);
    let id = if id == "current" { current.clone() } else { id };
    let ends_here = id == current;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::end_session(tx, &user, &id, &act)).await?;
    if ends_here && key.carrier == Carrier::Cookie {
        return Ok((StatusCode::NO_CONTENT, signed_out(&caller.request), ()).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// End all of one's own sessions but this one
#[utoipa::path(post, path = "/sessions/end-others", tag = "people", security(("access" = ["session:self"])), responses((status = 204)))]
pub async fn end_others(State(state): State<AppState>, caller: Caller) -> Result<StatusCode, ApiError> {
    let (user, key) = own(&caller)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::end_other_sessions(tx, &user, &key.token_hash, &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody whom the caller may see to: nobody above themselves.
fn other(state: &AppState, caller: &Caller, id: &str) -> Result<UserId, ApiError> {
    let id = user_id(id)?;
    let user = people::user(&state.store.read()?, &id)?.ok_or(Refusal::UserNotFound)?;
    caller.require(user.role)?;
    Ok(id)
}

/// Where a person is signed in
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "people", security(("access" = ["user:read"])), params(("id" = String, Path)),
    responses((status = 200, body = SessionList), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn list_of(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<SessionList>, ApiError> {
    let user = other(&state, &caller, &id)?;
    shown(&state, &caller, &user)
}

/// End a session of a person
#[utoipa::path(delete, path = "/users/{id}/sessions/{session_id}", tag = "people", security(("access" = ["user:write"])),
    params(("id" = String, Path), ("session_id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn end_of(
    State(state): State<AppState>,
    caller: Caller,
    Path((id, session)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let user = other(&state, &caller, &id)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::end_session(tx, &user, &session, &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}
