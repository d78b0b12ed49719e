//! API tokens: how programs sign in without a person's password.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::page::{Page, PageQuery, Pagination};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::api_token::{ApiToken, ApiTokenText, NewApiToken};
use crate::domain::ids::ApiTokenId;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::storage::core::{api_tokens, people};
use crate::storage::table::Read;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ApiToken)]
pub struct ApiTokenView {
    id: String,
    name: String,
    /// It does what this role may, and what its maker may at that moment.
    role: Role,
    /// Null: whatever the role may, as far as programs may.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<Scope>>,
    /// User id.
    created_by: String,
    /// User name; null when the person is gone.
    created_by_name: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    expires_at: String,
    expired: bool,
    /// To about ten minutes; null before the first use.
    last_used_at: Option<String>,
}

impl ApiTokenView {
    fn of(token: ApiToken, read: &impl Read, now: Timestamp) -> Result<ApiTokenView, ApiError> {
        Ok(ApiTokenView {
            created_by_name: people::user(read, &token.created_by)?.map(|user| user.username),
            expired: !token.is_live(now),
            id: token.id.to_string(),
            name: token.name,
            role: token.role,
            scopes: token.scopes,
            created_by: token.created_by.to_string(),
            created_at: token.created_at.rfc3339(),
            expires_at: token.expires_at.rfc3339(),
            last_used_at: token.last_used_at.map(Timestamp::rfc3339),
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApiTokenList {
    tokens: Vec<ApiTokenView>,
    pagination: Pagination,
}

/// API tokens, newest first
#[utoipa::path(get, path = "/tokens", tag = "people", security(("access" = ["token:read"])), params(PageQuery), responses((status = 200, body = ApiTokenList)))]
pub async fn list(State(state): State<AppState>, page: Page) -> Result<Json<ApiTokenList>, ApiError> {
    let read = state.store.read()?;
    let (rows, pagination) = page.slice(api_tokens::tokens(&read)?);
    let now = state.now().wall;
    let tokens = rows.into_iter().map(|token| ApiTokenView::of(token, &read, now)).collect::<Result<_, _>>()?;
    Ok(Json(ApiTokenList { tokens, pagination }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// 1 to 64 characters, for people.
    name: String,
    /// Up to one's own.
    role: Role,
    /// Fewer than the role has, such as `node:read`.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<String>>,
    #[schema(minimum = 1, maximum = 365)]
    expires_in_days: i64,
}

/// A token, shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApiTokenMade {
    id: String,
    name: String,
    role: Role,
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<Scope>>,
    expires_at: String,
    /// `Authorization: Bearer <token>`.
    token: String,
}

/// Make an API token
///
/// It outlives the session it is made in, and ends with its time, when it is revoked, and when its maker is disabled or removed. It never does
/// what is for people only. One of role admin and above wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/tokens", tag = "people", security(("access" = ["token:write"])), request_body = ApiTokenRequest,
    responses((status = 201, body = ApiTokenMade), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    body: Unchecked<ApiTokenRequest>,
) -> Result<(StatusCode, Json<ApiTokenMade>), ApiError> {
    let (created_by, own) = caller.person(Role::Admin)?;
    let new = body.check(|body, errors| {
        // Where none could be read, that was said.
        let scopes = body.scopes.map(|texts| (texts.is_empty(), parse(&texts, errors)));
        let scopes = scopes.filter(|(none, scopes)| *none || !scopes.is_empty()).map(|(_, scopes)| scopes);
        let new = NewApiToken { name: body.name, role: body.role, scopes, expires_in_days: body.expires_in_days };
        new.check(errors);
        new
    })?;
    caller.require(new.role)?;
    if new.role >= Role::Admin {
        caller.require_fresh()?;
    }
    let now = state.now();
    let text = ApiTokenText::new(ApiTokenId::new(state.entropy.uuid(now.wall.0)), &state.entropy.bytes());
    let token = ApiToken {
        id: text.id.clone(),
        name: new.name,
        secret_hash: text.secret_hash(),
        role: new.role,
        scopes: new.scopes,
        created_by,
        created_at: now.wall,
        expires_at: now.wall.plus_seconds(new.expires_in_days * 86_400),
        last_used_at: None,
    };
    let (act, kept) = (caller.act(now), token.clone());
    state.store.write(move |tx| api_tokens::create(tx, &kept, own, &act)).await?;
    let made = ApiTokenMade {
        id: token.id.to_string(),
        name: token.name,
        role: token.role,
        scopes: token.scopes,
        expires_at: token.expires_at.rfc3339(),
        token: text.to_text(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

fn parse(texts: &[String], errors: &mut FieldErrors) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for (n, text) in texts.iter().enumerate().take(Scope::ALL.len()) {
        match Scope::parse(text) {
            Some(scope) if scopes.contains(&scope) => errors.add(format!("scopes[{n}]"), "is named twice"),
            Some(scope) => scopes.push(scope),
            None => errors.add(format!("scopes[{n}]"), "is no scope"),
        }
    }
    errors.require(texts.len() <= Scope::ALL.len(), "scopes", "names more scopes than there are");
    scopes
}

/// Revoke an API token
#[utoipa::path(delete, path = "/tokens/{id}", tag = "people", security(("access" = ["token:write"])), params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn revoke(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let (_, own) = caller.person(Role::Admin)?;
    let id = ApiTokenId::parse(&id).map_err(|_| Refusal::ApiTokenNotFound)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| api_tokens::revoke(tx, &id, own, &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}
