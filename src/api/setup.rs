//! The first start: the code from the machine makes the first person.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::auth;
use super::error::ApiError;
use super::json::Json;
use super::login::{self, UserView};
use super::middleware::RequestInfo;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::audit::Actor;
use crate::domain::ids::UserId;
use crate::domain::password::check_password;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::session::{Carrier, Network, Place};
use crate::domain::time::Timestamp;
use crate::domain::user::{Role, User, check_username};
use crate::storage::core::{people, setup_steps};
use crate::storage::setup_code;

/// Account under which attempts at the code are counted; no user name has a space.
const ACCOUNT: &str = "setup code";

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SetupState {
    needed: bool,
}

/// Whether nobody can sign in yet
#[utoipa::path(get, path = "/setup", tag = "people", security(()), responses((status = 200, body = SetupState)))]
pub async fn state(State(state): State<AppState>) -> Result<Json<SetupState>, ApiError> {
    Ok(Json(SetupState { needed: people::needs_setup(&state.store.read()?)? }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// From the file `setup-code` in the data folder.
    code: String,
    username: String,
    password: String,
    /// RFC 3339; confirms the manager's clock when it is within 60 s of it.
    client_time: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SetupAnswer {
    user: UserView,
    clock_confirmed: bool,
}

/// Make the first person
#[utoipa::path(post, path = "/setup", tag = "people", security(()), request_body = SetupRequest, responses(
    (status = 201, body = SetupAnswer), (status = 401, description = "the code is wrong"), (status = 409, description = "setup has been done")))]
pub async fn setup(
    State(state): State<AppState>,
    request: RequestInfo,
    headers: HeaderMap,
    body: Unchecked<SetupRequest>,
) -> Result<impl IntoResponse, ApiError> {
    auth::check_origin(&Method::POST, &headers)?;
    if !people::needs_setup(&state.store.read()?)? {
        return Err(Refusal::SetupDone.into());
    }
    let (body, client_time) = body.check(check)?;
    let place = Place::Stranger(Network::of(request.address));
    state.attempts.attempt(ACCOUNT, place, state.now())?;
    if !setup_code::fits(&state.store, &body.code) {
        return Err(Refusal::SetupCodeWrong.into());
    }
    state.attempts.succeeded(ACCOUNT, place);
    let clock_confirmed = client_time.is_some_and(|theirs| state.clock.confirm(theirs));
    let password = state.stretching.hash(&state.entropy, &body.password).await?;
    let now = state.now();
    let id = UserId::new(state.entropy.uuid(now.wall.0));
    let act = request.act(now, Actor::User(id.to_string()));
    let (created_at, updated_at) = (now.wall, now.wall);
    let user = User {
        id,
        username: body.username,
        role: Role::SuperAdmin,
        password,
        disabled: false,
        created_at,
        updated_at,
        second_factor: None,
    };
    let first = user.clone();
    state
        .store
        .write(move |tx| {
            people::create_first(tx, &first, &act)?;
            setup_steps::account_made(tx, &first.id, first.created_at)
        })
        .await?;
    if let Err(error) = setup_code::remove(&state.store) {
        tracing::warn!(%error, "the used setup code could not be removed; the next start removes it");
    }
    let tokens = login::sign_in(&state, &request, &headers, &user, None, &[Carrier::Cookie]).await?;
    let answer = SetupAnswer { user: UserView::from(&user), clock_confirmed };
    Ok((StatusCode::CREATED, login::signed_in(&state, &tokens, &user.id, &request), Json(answer)))
}

fn check(body: SetupRequest, errors: &mut FieldErrors) -> (SetupRequest, Option<Timestamp>) {
    check_username(errors, &body.username);
    check_password(errors, "password", &body.password, &[&body.username]);
    let client_time = body.client_time.as_deref().map(Timestamp::parse_rfc3339);
    errors.require(client_time != Some(None), "client_time", "must be an RFC 3339 time");
    (body, client_time.flatten())
}
