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
use super::two_factor;
use crate::domain::audit::Actor;
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::domain::session::{BEARER_SECONDS, COOKIE_IDLE_SECONDS, Carrier, token_hash};
use crate::domain::time::Timestamp;
use crate::domain::totp::Proof;
use crate::domain::user::{Role, User};
use crate::storage::core::people::{self, NewSession};

/// A person, without what only the store needs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct UserView {
    pub id: String,
    pub username: String,
    pub role: Role,
    pub disabled: bool,
    /// A second factor is asked for when this person signs in.
    pub totp_enabled: bool,
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
            totp_enabled: user.enabled_factor().is_some(),
            created_at: user.created_at.rfc3339(),
        }
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    username: String,
    password: String,
    /// When the account has a second factor: a code of the authenticator app, or a recovery code.
    totp: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LoginAnswer {
    /// For programs: `Authorization: Bearer <access_token>`. Browsers get a cookie and no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// `Bearer`, beside a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// Seconds, of the token; without one, of a cookie that is not used.
    expires_in: i64,
    user: UserView,
}

/// Sign in
///
/// Answers a token for programs and sets a session cookie. A browser, which names itself by `Origin` or `Sec-Fetch-*`, gets the cookie alone.
/// A second cookie says for 400 days that somebody has signed in with this browser: it opens nothing, and whatever others try behind the same
/// address does not keep this browser from signing in again.
/// An account with a second factor wants `totp`; without it, a right password is answered with TotpNeeded. Each code is accepted once.
/// Failed attempts are answered slower and slower (429).
#[utoipa::path(post, path = "/auth/login", tag = "people", request_body = LoginRequest, security(()), responses(
    (status = 200, body = LoginAnswer), (status = 401, description = "the user name or password is wrong, or the second factor is missing or wrong"), (status = 429, description = "wait; see Retry-After")))]
pub async fn login(
    State(state): State<AppState>,
    request: RequestInfo,
    headers: HeaderMap,
    Json(body): Json<LoginRequest>,
) -> Result<impl IntoResponse, ApiError> {
    auth::check_origin(&Method::POST, &headers)?;
    let user = passwords::judge(&state, &request, &body.username, &body.password).await?;
    let proof = two_factor::judge_for(&state, &user, body.totp.as_deref())?;
    let carriers: &[Carrier] = if is_browser(&headers) { &[Carrier::Cookie] } else { &[Carrier::Cookie, Carrier::Bearer] };
    let tokens = sign_in(&state, &request, &headers, &user, proof, carriers).await?;
    two_factor::succeeded(&state, &user, &request);
    let expires_in = if tokens.access_token.is_some() { BEARER_SECONDS } else { COOKIE_IDLE_SECONDS };
    let token_type = tokens.access_token.is_some().then_some("Bearer");
    let cookies = signed_in(&state, &tokens, &user.id, &request);
    let answer = LoginAnswer { access_token: tokens.access_token, token_type, expires_in, user: UserView::from(&user) };
    Ok((cookies, Json(answer)))
}

/// Programs send neither header, and browsers one of them with every request that changes something.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

pub struct Tokens {
    pub access_token: Option<String>,
    pub cookie: String,
}

/// What is kept of a program's name for itself.
const USER_AGENT_LEN: usize = 256;

/// New sessions for a person who gave all factors of the account; one of them is a cookie's.
pub async fn sign_in(
    state: &AppState,
    request: &RequestInfo,
    headers: &HeaderMap,
    user: &User,
    proof: Option<Proof>,
    carriers: &[Carrier],
) -> Result<Tokens, ApiError> {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent: Option<String> = user_agent.map(|text| text.chars().take(USER_AGENT_LEN).collect());
    let mut tokens = Tokens { access_token: None, cookie: String::new() };
    let mut new = Vec::new();
    for carrier in carriers.iter().copied() {
        let token = auth::new_token(&state.entropy);
        new.push(NewSession { token_hash: token_hash(&token), carrier, user_agent: user_agent.clone() });
        match carrier {
            Carrier::Cookie => tokens.cookie = token,
            Carrier::Bearer => tokens.access_token = Some(token),
        }
    }
    let now = state.now();
    let (act, user) = (request.act(now, Actor::User(user.id.to_string())), user.clone());
    let home = passwords::network_hash(state, &user, request.address);
    let signing_in = state.store.write(move |tx| {
        people::sign_in(tx, &user, proof.as_ref(), &new, &act)?;
        people::remember_network(tx, &user.id, home)
    });
    signing_in.await?;
    Ok(tokens)
}

/// The cookies of who has just signed in: the session's, and the browser's.
pub fn signed_in(state: &AppState, tokens: &Tokens, user: &UserId, request: &RequestInfo) -> AppendHeaders<Vec<(HeaderName, HeaderValue)>> {
    let cookies = [auth::set_cookie(&tokens.cookie, request.secure), auth::set_device(state, user, request)];
    AppendHeaders(cookies.into_iter().flatten().map(|value| (header::SET_COOKIE, value)).collect())
}

/// The header that takes a browser's session back.
pub fn signed_out(request: &RequestInfo) -> AppendHeaders<Option<(HeaderName, HeaderValue)>> {
    AppendHeaders(auth::set_cookie("", request.secure).map(|value| (header::SET_COOKIE, value)))
}

/// Sign out
///
/// Ends the session this request came with.
#[utoipa::path(post, path = "/auth/logout", tag = "people", security(("access" = ["session:self"])), responses((status = 204)))]
pub async fn logout(State(state): State<AppState>, caller: Caller) -> Result<impl IntoResponse, ApiError> {
    let session = caller.session.ok_or(Refusal::NotSignedIn)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::sign_out(tx, &session.token_hash, &act)).await?;
    Ok((StatusCode::NO_CONTENT, signed_out(&caller.request), ()))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Me {
    user: UserView,
    /// When this session ends unless it is used. RFC 3339, UTC.
    expires_at: String,
    /// Until when routes that want a fresh factor are open to this session; null when they are not.
    confirmed_until: Option<String>,
    /// Recovery codes that are left; null without a second factor.
    recovery_codes_left: Option<u32>,
}

/// Who is signed in here
#[utoipa::path(get, path = "/auth/me", tag = "people", security(("access" = ["session:self"])), responses((status = 200, body = Me), (status = 401)))]
pub async fn me(State(state): State<AppState>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let (Principal::User { id, .. }, Some(session)) = (&caller.principal, &caller.session) else {
        return Err(Refusal::NotSignedIn.into());
    };
    let user = people::user(&state.store.read()?, id)?.ok_or(Refusal::NotSignedIn)?;
    Ok(Json(Me {
        user: UserView::from(&user),
        expires_at: session.expires_at.rfc3339(),
        confirmed_until: session.confirmed_until.map(Timestamp::rfc3339),
        recovery_codes_left: user.enabled_factor().map(|factor| u32::try_from(factor.recovery.len()).unwrap_or(u32::MAX)),
    }))
}
