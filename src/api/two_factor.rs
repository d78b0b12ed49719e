//! The second factor, and the fresh factor: who proves now, with all factors of the account, to be who they are.

use std::sync::PoisonError;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::{Caller, SessionKey};
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::middleware::RequestInfo;
use super::passwords;
use super::people::{confirm_password, user_id};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::UserId;
use crate::domain::password::check_password;
use crate::domain::refusal::Refusal;
use crate::domain::totp::{self, Given, Proof, RECOVERY_CODES, SECRET_LEN, SecondFactor, seal_context};
use crate::domain::user::{Role, User, username_key};
use crate::storage::core::people::{self, UserChange};
use crate::storage::core::second_factor;

/// What authenticator apps show the codes under.
const ISSUER: &str = "Lucid Node Management";

/// Judges what was given as second factor of an account that has one; asks for it when nothing was.
pub(super) fn judge_for(state: &AppState, user: &User, totp: Option<&str>) -> Result<Option<Proof>, ApiError> {
    match (user.enabled_factor(), totp) {
        (None, _) => Ok(None),
        (Some(_), None) => Err(ApiError::from(Refusal::TotpNeeded).about(Some(user.id.to_string()))),
        (Some(factor), Some(text)) => judge(state, user, factor, text).map(Some),
    }
}

/// Says nothing about whether the same proof is being spent elsewhere: the transaction does.
fn judge(state: &AppState, user: &User, factor: &SecondFactor, text: &str) -> Result<Proof, ApiError> {
    let now = state.now();
    match Given::parse(text) {
        Given::Code(code) => {
            let waits = state.code_guesses.lock().unwrap_or_else(PoisonError::into_inner).attempt(&user.id, now.boot);
            if let Err(wait_ms) = waits {
                let error = ApiError::throttled(u32::try_from(wait_ms.div_euclid(1_000) + 1).unwrap_or(u32::MAX));
                let message = "too many wrong codes for this account; wait, or use a recovery code".to_owned();
                return Err(ApiError { message, ..error }.about(Some(user.id.to_string())));
            }
            let secret = open_secret(state, user, factor)?;
            totp::step_of(&secret, &code, now.wall, factor.last_step).map(Proof::Step).ok_or_else(|| wrong(state, user))
        }
        Given::Recovery(plain) => {
            let hash = totp::recovery_hash(&user.id, &plain);
            let proof = Proof::Recovery(hash);
            factor.spend(&proof).map(|_| proof).ok_or_else(|| wrong(state, user))
        }
    }
}

/// A manager whose clock is wrong takes right codes for wrong ones; that must be said.
fn wrong(state: &AppState, user: &User) -> ApiError {
    let error = ApiError::from(Refusal::TotpWrong);
    let mut message = error.message.clone();
    if !state.now().trusted {
        message += "; the manager's clock is not trusted, and codes depend on it: a recovery code always works";
    }
    ApiError { message, ..error }.about(Some(user.id.to_string()))
}

fn open_secret(state: &AppState, user: &User, factor: &SecondFactor) -> Result<Vec<u8>, ApiError> {
    state.store.secrets.open(&seal_context(&user.id), &factor.sealed_secret).map_err(|_| {
        tracing::error!(user = %user.id, "the secret of a second factor does not open");
        ApiError::panicked()
    })
}

/// The attempt was none: counts of guesses start anew.
pub(super) fn succeeded(state: &AppState, user: &User, request: &RequestInfo) {
    state.attempts.succeeded(&username_key(&user.username), passwords::at_home(user, request));
    state.code_guesses.lock().unwrap_or_else(PoisonError::into_inner).succeeded(&user.id);
}

/// The caller as a person, and the session they came with.
fn own(state: &AppState, caller: &Caller) -> Result<(User, SessionKey), ApiError> {
    let (id, _) = caller.person(Role::Viewer)?;
    let key = caller.session.ok_or(Refusal::NotSignedIn)?;
    let user = people::user(&state.store.read()?, &id)?.ok_or(Refusal::NotSignedIn)?;
    Ok((user, key))
}

/// Judges the second factor of a signed-in person, throttled like a password. The session is none of the doubt, so a refusal is 403.
fn judge_own(state: &AppState, caller: &Caller, user: &User, totp: Option<&str>) -> Result<Option<Proof>, ApiError> {
    let place = passwords::place(state, user, &caller.request)?;
    state.attempts.attempt(&username_key(&user.username), place, state.now())?;
    let proof = judge_for(state, user, totp).map_err(in_session)?;
    succeeded(state, user, &caller.request);
    Ok(proof)
}

/// 401 would tell a page that its session has ended.
fn in_session(error: ApiError) -> ApiError {
    let about_codes = [Refusal::TotpNeeded, Refusal::TotpWrong].iter().any(|refusal| refusal.name() == error.name);
    if about_codes { ApiError { status: StatusCode::FORBIDDEN, ..error } } else { error }
}

fn refused(error: crate::storage::fault::WriteError) -> ApiError {
    in_session(error.into())
}

/// A body may bring its own proof instead of a confirmed session: the password, and with a second factor the code as well. What is given
/// must be right in any case.
pub(super) async fn proved_or_fresh(state: &AppState, caller: &Caller, password: Option<&str>, code: Option<&str>) -> Result<(), ApiError> {
    if code.is_some() || (password.is_some() && caller.require_fresh().is_err()) {
        return confirm_now(state, caller, password, code).await.map(drop);
    }
    caller.require_fresh()?;
    match password {
        Some(password) => confirm_password(state, caller, password).await,
        None => Ok(()),
    }
}

/// Confirms the caller's session with what was given.
async fn confirm_now(state: &AppState, caller: &Caller, password: Option<&str>, code: Option<&str>) -> Result<String, ApiError> {
    let (user, key) = own(state, caller)?;
    if let Some(password) = password {
        confirm_password(state, caller, password).await?;
    }
    let proof = if user.enabled_factor().is_some() {
        judge_own(state, caller, &user, code)?
    } else {
        password.ok_or(Refusal::FreshFactorNeeded)?;
        None
    };
    let act = caller.act(state.now());
    let until = state.store.write(move |tx| second_factor::confirm(tx, &user, proof.as_ref(), &key.token_hash, &act)).await;
    Ok(until.map_err(refused)?.rfc3339())
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FactorConfirmation)]
pub struct Confirmation {
    /// The caller's own password; wanted from accounts without a second factor.
    password: Option<String>,
    /// A code of the authenticator app, or a recovery code; wanted from accounts with a second factor.
    totp: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Confirmed {
    /// Until when routes that want a fresh factor are open to this session. RFC 3339, UTC.
    confirmed_until: String,
}

/// Confirm who one is
///
/// Opens the routes marked `x-fresh-factor` to this session for 5 minutes. Signing in does so, too.
#[utoipa::path(post, path = "/auth/confirm", tag = "people", request_body = Confirmation, security(("access" = ["session:self"])), responses(
    (status = 200, body = Confirmed), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody, description = "the password or code is missing or wrong"),
    (status = 429, body = ErrorBody)))]
pub async fn confirm(State(state): State<AppState>, caller: Caller, Json(body): Json<Confirmation>) -> Result<Json<Confirmed>, ApiError> {
    let confirmed_until = confirm_now(&state, &caller, body.password.as_deref(), body.totp.as_deref()).await?;
    Ok(Json(Confirmed { confirmed_until }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    current_password: String,
    /// 12 to 256 characters, and not easy to guess.
    password: String,
}

/// Change one's own password
///
/// Ends one's other sessions.
#[utoipa::path(put, path = "/auth/password", tag = "people", request_body = PasswordChange, security(("access" = ["session:self"])), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn change_password(
    State(state): State<AppState>,
    caller: Caller,
    body: Unchecked<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let (id, role) = caller.person(Role::Viewer)?;
    let key = caller.session.ok_or(Refusal::NotSignedIn)?;
    let user = people::user(&state.store.read()?, &id)?;
    let body = body.check(|body, errors| {
        check_password(errors, "password", &body.password, user.as_ref().map(|user| user.username.as_str()).as_slice());
        body
    })?;
    confirm_password(&state, &caller, &body.current_password).await?;
    let change = UserChange { password: Some(state.stretching.hash(&state.entropy, &body.password).await?), ..UserChange::default() };
    let act = caller.act(state.now());
    state.store.write(move |tx| people::update(tx, &id, &change, role, Some(&key.token_hash), &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpBegin {
    /// The caller's own password.
    password: String,
}

/// A shared secret, shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TotpBegun {
    /// Base32, for typing.
    secret: String,
    /// For a QR code.
    otpauth_uri: String,
}

/// Begin a second factor
///
/// It is not asked for before `/auth/totp/enable` has seen a first code.
#[utoipa::path(post, path = "/auth/totp/begin", tag = "people", request_body = TotpBegin, security(("access" = ["session:self"])), responses(
    (status = 200, body = TotpBegun), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn begin(State(state): State<AppState>, caller: Caller, Json(body): Json<TotpBegin>) -> Result<Json<TotpBegun>, ApiError> {
    let (user, _) = own(&state, &caller)?;
    confirm_password(&state, &caller, &body.password).await?;
    let secret: [u8; SECRET_LEN] = state.entropy.bytes();
    let sealed = state.store.secrets.seal(&state.entropy, &seal_context(&user.id), &secret);
    let (act, id) = (caller.act(state.now()), user.id.clone());
    state.store.write(move |tx| second_factor::begin(tx, &id, &sealed, &act)).await?;
    Ok(Json(TotpBegun { secret: totp::secret_text(&secret), otpauth_uri: totp::otpauth_uri(ISSUER, &user.username, &secret) }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpEnable {
    /// What the authenticator app shows now.
    code: String,
}

/// Codes that sign in once each where the authenticator app is lost; shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

/// Fresh codes as they are shown, and what is stored of them.
fn new_recovery(state: &AppState, person: &UserId) -> (RecoveryCodes, Vec<[u8; 32]>) {
    let recovery_codes: Vec<String> = (0..RECOVERY_CODES).map(|_| totp::recovery_code(&state.entropy.bytes())).collect();
    let hashes = recovery_codes.iter().map(|code| totp::recovery_hash(person, &code.replace('-', ""))).collect();
    (RecoveryCodes { recovery_codes }, hashes)
}

/// Enable the second factor that was begun
///
/// Ends one's other sessions: they were begun without it.
#[utoipa::path(post, path = "/auth/totp/enable", tag = "people", request_body = TotpEnable, security(("access" = ["session:self"])), responses(
    (status = 200, body = RecoveryCodes), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody, description = "the code is wrong"),
    (status = 409, body = ErrorBody, description = "nothing was begun, or it is enabled already")))]
pub async fn enable(State(state): State<AppState>, caller: Caller, Json(body): Json<TotpEnable>) -> Result<Json<RecoveryCodes>, ApiError> {
    let (user, key) = own(&state, &caller)?;
    let factor = user.second_factor.as_ref().ok_or(Refusal::TotpNotBegun)?;
    if factor.is_enabled() {
        return Err(Refusal::TotpEnabled.into());
    }
    let secret = open_secret(&state, &user, factor)?;
    let Given::Code(code) = Given::parse(&body.code) else { return Err(in_session(wrong(&state, &user))) };
    let step = totp::step_of(&secret, &code, state.now().wall, 0).ok_or_else(|| in_session(wrong(&state, &user)))?;
    let (shown, hashes) = new_recovery(&state, &user.id);
    let act = caller.act(state.now());
    state.store.write(move |tx| second_factor::enable(tx, &user, step, &hashes, &key.token_hash, &act)).await?;
    Ok(Json(shown))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpDisable {
    /// The caller's own password.
    password: String,
    /// A code of the authenticator app, or a recovery code.
    totp: String,
}

/// Take one's own second factor away
#[utoipa::path(post, path = "/auth/totp/disable", tag = "people", request_body = TotpDisable, security(("access" = ["session:self"])), responses(
    (status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn disable(State(state): State<AppState>, caller: Caller, Json(body): Json<TotpDisable>) -> Result<StatusCode, ApiError> {
    let (user, _) = own(&state, &caller)?;
    confirm_password(&state, &caller, &body.password).await?;
    let proof = judge_own(&state, &caller, &user, Some(&body.totp))?.ok_or(Refusal::TotpNotEnabled)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| second_factor::disable(tx, &user, &proof, &act)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRequest {
    /// A code of the authenticator app, or a recovery code.
    totp: String,
}

/// Make new recovery codes
///
/// The old ones are worth nothing any more.
#[utoipa::path(post, path = "/auth/recovery-codes", tag = "people", request_body = RecoveryRequest, security(("access" = ["session:self"])), responses(
    (status = 200, body = RecoveryCodes), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn renew_recovery(
    State(state): State<AppState>,
    caller: Caller,
    Json(body): Json<RecoveryRequest>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let (user, _) = own(&state, &caller)?;
    let proof = judge_own(&state, &caller, &user, Some(&body.totp))?.ok_or(Refusal::TotpNotEnabled)?;
    let (shown, hashes) = new_recovery(&state, &user.id);
    let act = caller.act(state.now());
    state.store.write(move |tx| second_factor::renew_recovery(tx, &user, &proof, &hashes, &act)).await.map_err(refused)?;
    Ok(Json(shown))
}

/// Take away the second factor of somebody who lost it
///
/// Ends the person's sessions. One's own is disabled, not reset: that wants the factor itself.
#[utoipa::path(post, path = "/users/{id}/totp/reset", tag = "people", params(("id" = String, Path)), security(("access" = ["user:write"])),
    extensions(("x-fresh-factor" = json!(true))), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "there is none"), (status = 422, body = ErrorBody, description = "it is one's own")))]
pub async fn reset(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let (own, role) = caller.person(Role::Admin)?;
    let id = user_id(&id)?;
    if id == own {
        return Err(Refusal::Rule("OwnSecondFactor", "disable your own second factor; a reset is for others".into()).into());
    }
    let act = caller.act(state.now());
    state.store.write(move |tx| second_factor::reset(tx, &id, role, &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}
