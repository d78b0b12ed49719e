//! `Idempotency-Key`: a person's request that is sent again with the same key and body is done once and answered alike.
//!
//! A refused request changed nothing and frees its key. What may have changed something keeps it, the failure included. Answers that hold
//! a secret are never kept. All of it is forgotten when the process ends.

use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{Caller, Principal};
use super::error::ApiError;
use super::json::{BODY_LIMIT_BYTES, read_body};
use super::middleware::catch_panic;
use super::state::AppState;
use crate::crypto::{self, Entropy};
use crate::domain::idempotency::{Answers, Begin, MAX_ANSWER_BYTES, Scope};
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_LEN: std::ops::RangeInclusive<usize> = 1..=255;
/// While the first request goes on.
const RETRY_SECONDS: u32 = 2;

/// Routes whose answers hold a secret.
const SECRET: &[&str] = &[
    "/api/v1/setup",
    "/api/v1/auth/login",
    "/api/v1/recovery-kit",
    "/api/v1/enrolment-tokens",
    "/api/v1/tokens",
    "/api/v1/auth/totp/begin",
    "/api/v1/auth/totp/enable",
    "/api/v1/auth/recovery-codes",
];

/// An answer that can be given again.
#[derive(Debug, Clone)]
enum Kept {
    Answer(StatusCode, HeaderMap, Bytes),
    /// It failed after it may have changed something.
    Failed(ApiError),
}

#[derive(Debug)]
pub struct Idempotency {
    answers: Mutex<Answers<Kept>>,
    /// Random per start: bodies hold passwords, and their hashes must be of no use.
    salt: [u8; 32],
}

impl Idempotency {
    pub fn new(entropy: &Entropy) -> Idempotency {
        Idempotency { answers: Mutex::default(), salt: entropy.bytes() }
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Answers<Kept>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scope(user: &UserId, parts: &Parts, key: &str) -> Scope {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        // None of the parts can hold a zero byte.
        let text = [user.as_str(), parts.method.as_str(), path, key].join("\0");
        crypto::sha256_parts(&[text.as_bytes()])
    }
}

/// Around every route, inside the layer that renders errors.
pub async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let changes = matches!(*request.method(), Method::POST | Method::PUT | Method::DELETE);
    if !changes || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // Who is not signed in as a person is the route's to judge.
    let Ok(Caller { principal: Principal::User { id, .. }, .. }) = Caller::from_request_parts(&mut parts, &state).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    guarded(state, id, parts, body, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn guarded(state: AppState, user: UserId, parts: Parts, body: Body, next: Next) -> Result<Response, ApiError> {
    let key = parts.headers.get(KEY).and_then(|value| value.to_str().ok()).filter(|key| KEY_LEN.contains(&key.len()));
    let key = key.ok_or_else(|| ApiError::malformed(KEY.as_str(), "must have 1 to 255 visible ASCII characters"))?;
    let body = read_body(body, BODY_LIMIT_BYTES).await?;
    let scope = Idempotency::scope(&user, &parts, key);
    let body_hash = crypto::sha256_parts(&[&state.idempotency.salt, &body]);
    // A statement of its own, so that the lock is not held over the request.
    let begin = state.idempotency.answers().begin(scope, body_hash, state.now().boot);
    match begin {
        Begin::Fresh => (),
        Begin::Replay(kept) => return Ok(replay(kept)),
        Begin::NotKept(why) => {
            let error = ApiError::from(Refusal::IdempotencyAnswerNotKept);
            return Err(ApiError { message: format!("{}; {why}", error.message), ..error });
        }
        Begin::Reused => return Err(Refusal::IdempotencyKeyReused.into()),
        Begin::Running => {
            let error = ApiError::from(Refusal::IdempotencyInProgress);
            return Err(ApiError { retry_after_seconds: Some(RETRY_SECONDS), ..error });
        }
    }
    let secret = SECRET.contains(&parts.uri.path());
    let request = Request::from_parts(parts, Body::from(body));
    // A client that leaves must not stop what the store has begun: its next try asks for the answer.
    let done = tokio::spawn(async move {
        let response = catch_panic(next.run(request)).await.unwrap_or_else(|| ApiError::panicked().into_response());
        keep(&state, &scope, secret, response).await
    });
    done.await.map_err(|_| ApiError::panicked())
}

fn replay(kept: Kept) -> Response {
    let mut response = match kept {
        Kept::Failed(error) => return error.into_response(),
        Kept::Answer(status, headers, body) => (status, headers, body).into_response(),
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Remembers how a request ended.
async fn keep(state: &AppState, scope: &Scope, secret: bool, response: Response) -> Response {
    let status = response.status();
    let nothing_done = status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED;
    let error = response.extensions().get::<ApiError>().cloned();
    let unavailable = status == StatusCode::SERVICE_UNAVAILABLE && error.as_ref().is_some_and(|error| error.name != "OutcomeUnknown");
    if nothing_done || unavailable {
        state.idempotency.answers().forget(scope);
        return response;
    }
    if let Some(error) = error {
        state.idempotency.answers().finish(scope, Ok((Kept::Failed(error), 0)));
        return response;
    }
    let length = response.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if length.is_none_or(|bytes| bytes > MAX_ANSWER_BYTES) {
        state.idempotency.answers().finish(scope, Err("its answer was too large to be kept".into()));
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await else {
        state.idempotency.answers().finish(scope, Err("its answer broke off".into()));
        return ApiError::panicked().into_response();
    };
    let mut headers = parts.headers.clone();
    let sets_cookie = headers.remove(header::SET_COOKIE).is_some();
    let answer =
        if secret || sets_cookie { Err(secret_note(&body)) } else { Ok((Kept::Answer(status, headers, body.clone()), body.len())) };
    state.idempotency.answers().finish(scope, answer);
    Response::from_parts(parts, Body::from(body))
}

fn secret_note(body: &[u8]) -> String {
    let id = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|answer| answer.get("id")?.as_str().map(str::to_owned));
    let made = id.map(|id| format!(" It made {id}.")).unwrap_or_default();
    format!("its answer held a secret, which is shown once.{made}")
}
