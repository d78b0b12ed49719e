//! `Idempotency-Key`: a request that is sent again with the same key and body is done once and answered alike, for 48 hours and across
//! restarts and crashes.
//!
//! Nothing is written before the request is done. Its change leaves the key in the change's own transaction
//! (`storage::core::idempotency`), and its answer follows in a second one. So after a crash there is no key and no change, and the request
//! may be done; or there is a key without an answer, and it may not. A refused request changed nothing and frees its key. Answers that hold
//! a secret are never kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{Caller, Principal};
use super::error::ApiError;
use super::json::{BODY_LIMIT_BYTES, canonical, read_body};
use super::middleware::catch_panic;
use super::state::AppState;
use crate::crypto;
use crate::domain::idempotency::{MAX_ANSWER_BYTES, Outcome, Remembered, Scope};
use crate::domain::refusal::Refusal;
use crate::storage::core::idempotency::{self, Mark};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_LEN: std::ops::RangeInclusive<usize> = 1..=255;
/// While the first request goes on.
const RETRY_SECONDS: u32 = 2;
const SEALED_AS: &str = "idempotency_keys/answer";

/// Routes below which answers hold secrets, and fields that do wherever they are.
const SECRET_ROUTES: &[&str] =
    &["/api/v1/setup", "/api/v1/auth/", "/api/v1/recovery-kit", "/api/v1/enrolment-tokens", "/api/v1/tokens", "/api/v1/webhooks/"];
const SECRET_FIELDS: &[&str] = &["token", "access_token", "secret", "recovery_codes", "otpauth_uri", "password", "passphrase"];

/// The requests with a key that are being handled, with the hashes of their bodies. There are no more than connections.
#[derive(Debug, Default)]
pub struct InProgress(Mutex<HashMap<Scope, [u8; 32]>>);

impl InProgress {
    fn running(&self) -> MutexGuard<'_, HashMap<Scope, [u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, scope: Scope, body_hash: [u8; 32]) -> Result<(), ApiError> {
        match self.running().entry(scope) {
            Entry::Vacant(free) => {
                free.insert(body_hash);
                Ok(())
            }
            Entry::Occupied(taken) if *taken.get() != body_hash => Err(Refusal::IdempotencyKeyReused.into()),
            Entry::Occupied(_) => {
                let error = ApiError::from(Refusal::IdempotencyInProgress);
                Err(ApiError { retry_after_seconds: Some(RETRY_SECONDS), ..error })
            }
        }
    }
}

/// Around every route that asks who calls.
pub async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // Public routes know nobody whose key it would be; they are safe to repeat, or answer secrets.
    let Some(caller) = parts.extensions.get::<Caller>().filter(|caller| caller.principal != Principal::Anonymous).cloned() else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    guarded(state, &caller.principal, parts, body, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn guarded(state: AppState, principal: &Principal, parts: Parts, body: Body, next: Next) -> Result<Response, ApiError> {
    let mut keys = parts.headers.get_all(KEY).iter();
    let key = keys
        .next()
        .and_then(|value| value.to_str().ok())
        .filter(|key| KEY_LEN.contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) && keys.next().is_none());
    let key = key.ok_or_else(|| ApiError::malformed(KEY.as_str(), "must be one value of 1 to 255 visible ASCII characters"))?;
    let body = read_body(body, BODY_LIMIT_BYTES).await?;
    let scope = scope(principal, &parts, key);
    // The same values in another order or spacing are the same request. What the query asks for is asked for like what the body does: a key under which a node
    // was to be paid and deleted must not forfeit what is owed to it.
    let hashed = canonical(&body);
    let query = parts.uri.query().unwrap_or_default();
    // No query holds a zero byte.
    let body_hash = crypto::mac(&state.store.secrets.idempotency, &[query.as_bytes(), b"\0", hashed.as_deref().unwrap_or(&body)]);
    state.in_progress.begin(scope, body_hash)?;
    let ended = Ended { state: state.clone(), scope };
    if let Some(remembered) = idempotency::get(&state.store.read()?, &scope)? {
        return again(&state, remembered, body_hash);
    }
    let secret = SECRET_ROUTES.iter().any(|route| parts.uri.path().starts_with(route));
    let mark = Mark::new(scope, body_hash, state.now().wall.max(state.clock.high_water()));
    let request = Request::from_parts(parts, Body::from(body));
    // A client that leaves must not stop what the store has begun: its next try asks for the answer.
    let done = tokio::spawn(async move {
        let ended = ended;
        let handled = mark.clone().over(catch_panic(next.run(request))).await;
        let response = handled.unwrap_or_else(|| ApiError::panicked().into_response());
        keep(&ended.state, &mark, secret, response).await
    });
    done.await.map_err(|_| ApiError::panicked())
}

/// However it ends, it is no longer in progress.
struct Ended {
    state: AppState,
    scope: Scope,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.state.in_progress.running().remove(&self.scope);
    }
}

fn scope(principal: &Principal, parts: &Parts, key: &str) -> Scope {
    let (kind, id) = principal.key();
    // None of the parts can hold a zero byte.
    crypto::sha256([kind, id, parts.method.as_str(), parts.uri.path(), key].join("\0").as_bytes())
}

fn again(state: &AppState, remembered: Remembered, body_hash: [u8; 32]) -> Result<Response, ApiError> {
    if remembered.body_hash != body_hash {
        return Err(Refusal::IdempotencyKeyReused.into());
    }
    let why = match remembered.outcome {
        Outcome::Answered { status, content_type, sealed } => {
            let body = state.store.secrets.open(SEALED_AS, &sealed).map_err(|_| ApiError::panicked())?;
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).map_err(|_| ApiError::panicked())?;
            let headers = response.headers_mut();
            headers.extend(content_type.and_then(|text| HeaderValue::from_str(&text).ok()).map(|value| (header::CONTENT_TYPE, value)));
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
        Outcome::Committed => "it was committed, and its answer was lost; look at what is there now".into(),
        Outcome::NotKept(why) => why,
    };
    let error = ApiError::from(Refusal::IdempotencyAnswerNotKept);
    Err(ApiError { message: format!("{}; {why}", error.message), ..error })
}

/// Remembers how a request ended.
async fn keep(state: &AppState, mark: &Mark, secret: bool, response: Response) -> Response {
    let status = response.status();
    if !status.is_success() {
        let refused = status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED;
        settle_failure(state, mark, refused).await;
        return response;
    }
    let length = response.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if length.is_none_or(|bytes| bytes > MAX_ANSWER_BYTES) {
        settle(state, mark, Some(Outcome::NotKept("its answer was too large to be kept".into()))).await;
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await else {
        settle(state, mark, Some(Outcome::NotKept("its answer broke off".into()))).await;
        return ApiError::panicked().into_response();
    };
    let outcome = if secret || parts.headers.contains_key(header::SET_COOKIE) || holds_secret(&body) {
        Outcome::NotKept(secret_note(&body))
    } else {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let sealed = state.store.secrets.seal(&state.entropy, SEALED_AS, &body);
        Outcome::Answered { status: status.as_u16(), content_type, sealed }
    };
    settle(state, mark, Some(outcome)).await;
    Response::from_parts(parts, Body::from(body))
}

/// A refusal frees the key, and so does a failure that changed nothing. What failed after a change, or may have, keeps it.
async fn settle_failure(state: &AppState, mark: &Mark, refused: bool) {
    if !mark.is_committed() {
        // A commit whose outcome is unknown left the key or did not, as it left the change: the next start can tell.
        return;
    }
    let why = "it failed after it had changed something; look at what is there now";
    settle(state, mark, (!refused).then(|| Outcome::NotKept(why.into()))).await;
}

/// None: the key is free again.
async fn settle(state: &AppState, mark: &Mark, outcome: Option<Outcome>) {
    let mark = mark.clone();
    let written = state.store.write(move |tx| match &outcome {
        Some(outcome) => idempotency::answered(tx, &mark, outcome.clone()),
        None => idempotency::free(tx, &mark.scope),
    });
    if let Err(error) = written.await {
        tracing::warn!(%error, "the answer under an idempotency key could not be kept");
    }
}

fn holds_secret(body: &Bytes) -> bool {
    let fields = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).unwrap_or_default();
    fields.keys().any(|name| SECRET_FIELDS.contains(&name.as_str()))
}

fn secret_note(body: &[u8]) -> String {
    let id = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|answer| answer.get("id")?.as_str().map(str::to_owned));
    let made = id.map(|id| format!(" It made {id}.")).unwrap_or_default();
    format!("its answer held a secret, which is shown once.{made}")
}
