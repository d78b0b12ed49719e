//! Signing in and out.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};

use super::auth::{self, Caller, Principal};
use super::error::ApiError;
use super::json::Json;
use super::middleware::RequestInfo;
use super::passwords;
use super::state::AppState;
use crate::domain::audit::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::session::{BEARER_SECONDS, Carrier, token_hash};
use crate::domain::user::{Role, User};
use crate::storage::core::people::{self, NewSession};

/// A person, without what only the store needs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct UserView {
    pub id: String,
    pub username: String,
    pub role: Role,
    pub disabled: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> UserView {
        UserView {
            id: user.id.to_string(),
            username: user.username.clone(),
            role: user.role,
            disabled: user.disabled,
            created_at: user.created_at.rfc3339(),
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    username: String,
    password: String,
    /// Taken and not looked at: second factors are not built yet.
    #[serde(default)]
    #[expect(dead_code, reason = "part of the contract; second factors are not built yet")]
    totp: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LoginAnswer {
    /// For programs: `Authorization: Bearer <access_token>`.
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    user: UserView,
}

/// Sign in
///
/// Answers a token for programs and sets a session cookie for browsers. Failed attempts are answered slower and slower (429).
#[utoipa::path(post, path = "/auth/login", tag = "people", request_body = LoginRequest, security(()), responses(
    (status = 200, body = LoginAnswer), (status = 401, description = "the user name or password is wrong"), (status = 429, description = "wait; see Retry-After")))]
pub async fn login(
    State(state): State<AppState>,
    request: RequestInfo,
    headers: HeaderMap,
    Json(body): Json<LoginRequest>,
) -> Result<impl IntoResponse, ApiError> {
    auth::check_origin(&Method::POST, &headers)?;
    let user = passwords::check(&state, &request, &body.username, &body.password).await?;
    let tokens = sign_in(&state, &request, &headers, &user).await?;
    let answer =
        LoginAnswer { access_token: tokens.access_token, token_type: "Bearer", expires_in: BEARER_SECONDS, user: UserView::from(&user) };
    Ok((set_cookie(&tokens.cookie, &request), Json(answer)))
}

pub struct Tokens {
    pub access_token: String,
    pub cookie: String,
}

/// What is kept of a program's name for itself.
const USER_AGENT_LEN: usize = 256;

/// New sessions for a person whose password was checked.
pub async fn sign_in(state: &AppState, request: &RequestInfo, headers: &HeaderMap, user: &User) -> Result<Tokens, ApiError> {
    let tokens = Tokens { access_token: auth::new_token(&state.entropy), cookie: auth::new_token(&state.entropy) };
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent: Option<String> = user_agent.map(|text| text.chars().take(USER_AGENT_LEN).collect());
    let new = [(&tokens.access_token, Carrier::Bearer), (&tokens.cookie, Carrier::Cookie)];
    let new = new.map(|(token, carrier)| NewSession { token_hash: token_hash(token), carrier, user_agent: user_agent.clone() });
    let now = state.now();
    let (act, user) = (request.act(now, Actor::User(user.id.to_string())), user.clone());
    state.store.write(move |tx| people::sign_in(tx, &user, &new, &act)).await?;
    Ok(tokens)
}

/// The header that hands over a session, or takes it back when `token` is empty.
pub fn set_cookie(token: &str, request: &RequestInfo) -> AppendHeaders<Option<(HeaderName, HeaderValue)>> {
    AppendHeaders(auth::set_cookie(token, request.secure).map(|value| (header::SET_COOKIE, value)))
}

/// Sign out
///
/// Ends the session this request came with.
#[utoipa::path(post, path = "/auth/logout", tag = "people", responses((status = 204)))]
pub async fn logout(State(state): State<AppState>, caller: Caller) -> Result<impl IntoResponse, ApiError> {
    let session = caller.session.ok_or(Refusal::NotSignedIn)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::sign_out(tx, &session.token_hash, &act)).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie("", &caller.request), ()))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Me {
    user: UserView,
    /// When this session ends unless it is used. RFC 3339, UTC.
    expires_at: String,
}

/// Who is signed in here
#[utoipa::path(get, path = "/auth/me", tag = "people", responses((status = 200, body = Me), (status = 401)))]
pub async fn me(State(state): State<AppState>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let (Principal::User { id, .. }, Some(session)) = (&caller.principal, &caller.session) else {
        return Err(Refusal::NotSignedIn.into());
    };
    let user = people::user(&state.store.read()?, id)?.ok_or(Refusal::NotSignedIn)?;
    Ok(Json(Me { user: UserView::from(&user), expires_at: session.expires_at.rfc3339() }))
}
