//! The first steps with a new manager, for the admins who take them.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::UserId;
use crate::domain::setup::{Step, StepState};
use crate::storage::core::{people, setup_steps};
use crate::storage::table::Read;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StepView {
    step: Step,
    state: StepState,
    /// When it was done or skipped; RFC 3339, UTC.
    at: Option<String>,
    /// User name of who did; the id of a person who is gone.
    by: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SetupSteps {
    /// In the order in which they are taken.
    steps: Vec<StepView>,
    /// None is open.
    finished: bool,
}

fn view(read: &impl Read) -> Result<SetupSteps, ApiError> {
    let mut steps = Vec::with_capacity(Step::ALL.len());
    for step in Step::ALL {
        let mark = setup_steps::mark(read, step)?;
        let state = mark.as_ref().map_or(StepState::Open, |mark| mark.state());
        let by = match &mark {
            Some(mark) => Some(name(read, &mark.by)?),
            None => None,
        };
        steps.push(StepView { step, state, at: mark.map(|mark| mark.at.rfc3339()), by });
    }
    let finished = steps.iter().all(|step| step.state != StepState::Open);
    Ok(SetupSteps { steps, finished })
}

fn name(read: &impl Read, actor: &str) -> Result<String, ApiError> {
    let user = match UserId::parse(actor) {
        Ok(id) => people::user(read, &id)?,
        Err(_) => None,
    };
    Ok(user.map_or_else(|| actor.to_owned(), |user| user.username))
}

/// How far the first steps have come
#[utoipa::path(get, path = "/setup/steps", tag = "operations", security(("access" = ["settings:read"])), responses((status = 200, body = SetupSteps)))]
pub async fn list(State(state): State<AppState>) -> Result<Json<SetupSteps>, ApiError> {
    view(&state.store.read()?).map(Json)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUpdate {
    state: StepState,
}

/// Mark a first step
///
/// `clock` is done only once the clock is trusted, `recovery_kit` only by making a kit, `account` always.
#[utoipa::path(put, path = "/setup/steps/{step}", tag = "operations", security(("access" = ["settings:write"])), params(("step" = Step, Path)), request_body = StepUpdate, responses(
    (status = 200, body = SetupSteps), (status = 400, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(step): Path<String>,
    body: Unchecked<StepUpdate>,
) -> Result<Json<SetupSteps>, ApiError> {
    let (step, wanted) = body.check(|body, errors| {
        let step = Step::parse(&step);
        errors.require(step.is_some(), "step", format!("must be one of {}", Step::ALL.map(Step::as_str).join(", ")));
        (step, body.state)
    })?;
    let Some(step) = step else { return Err(ApiError::no_such_route()) };
    let now = state.now();
    step.check(wanted, now.trusted)?;
    let act = caller.act(now);
    state.store.write(move |tx| setup_steps::set(tx, step, wanted, &act)).await?;
    view(&state.store.read()?).map(Json)
}
