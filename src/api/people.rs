//! People: who may sign in, and as what.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{Asked, Order, word};
use super::login::UserView;
use super::page::{Page, PageQuery, Pagination};
use super::passwords;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::UserId;
use crate::domain::password::check_password;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::user::{Role, User, check_username};
use crate::storage::core::people::{self, UserChange};

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UserList {
    users: Vec<UserView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    #[param(value_type = Option<Role>)]
    role: Option<String>,
    #[param(value_type = Option<UserStatus>)]
    status: Option<String>,
    #[param(value_type = Option<Sort>)]
    sort: Option<String>,
    #[param(value_type = Option<Order>)]
    order: Option<String>,
    /// Part of a name, in any case.
    #[param(max_length = 100)]
    search: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    Enabled,
    Disabled,
}

/// What people are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UserSort, default = "created_at")]
pub enum Sort {
    CreatedAt,
    UpdatedAt,
    Name,
}

/// People
#[utoipa::path(get, path = "/users", tag = "people", security(("access" = ["user:read"])), params(PageQuery, UserQuery),
    responses((status = 200, body = UserList), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page, Query(query): Query<UserQuery>) -> Result<Json<UserList>, ApiError> {
    let mut errors = FieldErrors::default();
    let role: Option<Role> = word(&mut errors, "role", query.role.as_deref(), "viewer, operator, admin or super_admin");
    let status: Option<UserStatus> = word(&mut errors, "status", query.status.as_deref(), "enabled or disabled");
    let parameters = [&query.sort, &query.order, &query.search];
    let asked = Asked::read(&mut errors, parameters, "created_at, updated_at or name", (Sort::CreatedAt, Order::Asc));
    errors.finish()?;
    let mut rows = people::users(&state.store.read()?)?;
    rows.retain(|user| {
        let fits =
            role.is_none_or(|role| role == user.role) && status.is_none_or(|status| (status == UserStatus::Disabled) == user.disabled);
        fits && asked.finds(&[&user.username])
    });
    match asked.sort {
        // They come in the order they were made.
        Sort::CreatedAt => (),
        Sort::UpdatedAt => rows.sort_by_key(|user| user.updated_at),
        Sort::Name => rows.sort_by_cached_key(|user| user.username.to_lowercase()),
    }
    if asked.descending {
        rows.reverse();
    }
    let (users, pagination) = page.slice(rows);
    Ok(Json(UserList { users: users.iter().map(UserView::from).collect(), pagination }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    username: String,
    password: String,
    role: Role,
}

/// Add a person, up to one's own role
#[utoipa::path(post, path = "/users", tag = "people", security(("access" = ["user:write"])), request_body = NewUser, extensions(("x-fresh-factor" = json!(true))), responses((status = 201, body = UserView), (status = 409, description = "the name is taken")))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    body: Unchecked<NewUser>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    let (_, own) = caller.person(Role::Admin)?;
    let body = body.check(|body, errors| {
        check_username(errors, &body.username);
        check_password(errors, "password", &body.password, &[&body.username]);
        body
    })?;
    caller.require(own.max(body.role))?;
    let password = state.stretching.hash(&state.entropy, &body.password).await?;
    let now = state.now();
    let id = UserId::new(state.entropy.uuid(now.wall.0));
    let (created_at, updated_at) = (now.wall, now.wall);
    let user =
        User { id, username: body.username, role: body.role, password, disabled: false, created_at, updated_at, second_factor: None };
    let view = UserView::from(&user);
    let act = caller.act(now);
    state.store.write(move |tx| people::create(tx, &user, &act)).await.map_err(ApiError::naming([(Refusal::UserExists, "username")]))?;
    Ok((StatusCode::CREATED, Json(view)))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserUpdate {
    role: Option<Role>,
    password: Option<String>,
    disabled: Option<bool>,
    /// One's own present password: with it, anybody changes their own.
    current_password: Option<String>,
}

/// Change a person
///
/// Admins change people up to their own role, in a session that was confirmed within the last minutes (`FreshFactorNeeded`): who may enter, may do what is
/// asked to be confirmed. Anybody changes their own password with `current_password`. A new password, or disabling, ends the person's other sessions.
#[utoipa::path(put, path = "/users/{id}", tag = "people", security(("access" = ["session:self"])), params(("id" = String, Path)), request_body = UserUpdate, responses((status = 200, body = UserView), (status = 404)))]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Unchecked<UserUpdate>,
) -> Result<Json<UserView>, ApiError> {
    let (own_id, own_role) = caller.person(Role::Viewer)?;
    let id = user_id(&id)?;
    if id != own_id {
        caller.require(Role::Admin)?;
    }
    let user = people::user(&state.store.read()?, &id)?.ok_or(Refusal::UserNotFound)?;
    let body = body.check(|body, errors| {
        if let Some(password) = &body.password {
            check_password(errors, "password", password, &[&user.username]);
        }
        body
    })?;
    let own_password_only = id == own_id && body.password.is_some() && body.role.is_none() && body.disabled.is_none();
    match &body.current_password {
        Some(current) if own_password_only => confirm_password(&state, &caller, current).await?,
        // A stolen session must not become a stolen account.
        None if id == own_id && body.password.is_some() => return Err(Refusal::FreshFactorNeeded.into()),
        _ => {
            caller.require(Role::Admin)?;
            caller.require_fresh()?;
        }
    }
    let password = match &body.password {
        Some(password) => Some(state.stretching.hash(&state.entropy, password).await?),
        None => None,
    };
    let change = UserChange { role: body.role, password, disabled: body.disabled };
    let act = caller.act(state.now());
    let keep = caller.session.map(|session| session.token_hash);
    let changed = state.store.write(move |tx| people::update(tx, &id, &change, own_role, keep.as_ref(), &act)).await?;
    Ok(Json(UserView::from(&changed)))
}

/// Remove a person
#[utoipa::path(delete, path = "/users/{id}", tag = "people", security(("access" = ["user:write"])), params(("id" = String, Path)), extensions(("x-fresh-factor" = json!(true))), responses((status = 204), (status = 404), (status = 409, description = "the last super_admin")))]
pub async fn delete(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let (_, own_role) = caller.person(Role::Admin)?;
    let id = user_id(&id)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| people::delete(tx, &id, own_role, &act)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is no id is nobody's.
pub(super) fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::parse(text).map_err(|_| Refusal::UserNotFound)
}

/// The fresh factor: the caller's own password, now.
pub async fn confirm_password(state: &AppState, caller: &Caller, password: &str) -> Result<(), ApiError> {
    let (id, _) = caller.person(Role::Viewer)?;
    let user = people::user(&state.store.read()?, &id)?.ok_or(Refusal::NotSignedIn)?;
    match passwords::check(state, &caller.request, &user.username, password).await {
        Ok(_) => Ok(()),
        Err(error) if error.name == Refusal::WrongCredentials.name() => {
            Err(ApiError { message: "the password is wrong".to_owned(), ..Refusal::FreshFactorNeeded.into() })
        }
        Err(error) => Err(error),
    }
}
