//! When payouts are made by themselves: once at a time, or by a rule of five fields on the clocks of a place.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::{RawAmount, trimmed};
use super::json::{Json, Path};
use super::listing::time;
use super::page::{Page, PageQuery, Pagination};
use super::payout_batches::IN_THE_PAST;
use super::payout_requests::{LIST, LeftOutView, PayoutRequest, PayoutWish, granted, wishes};
use super::reads::{Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::{PoolId, ScheduleId};
use crate::domain::money::{Currency, Units};
use crate::domain::payout::Priority;
use crate::domain::payout_schedule::{Cron, NAME_LEN, PayoutSchedule, Rule, Run, SHOWN_AHEAD, What, Whom};
use crate::domain::refusal::{FieldError, FieldErrors, Refusal};
use crate::domain::time::{Now, Timestamp};
use crate::domain::time_zone;
use crate::live::Job;
use crate::storage::core::{pools, schedules};
use crate::storage::fault::{Fault, TxError};
use crate::storage::planning::{Against, Plans};
use crate::storage::table::{Snapshot, WriteTx};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayoutScheduleRequest {
    #[schema(min_length = 1, max_length = 100, example = "Every first of the month")]
    name: String,
    /// Once, at this time. This or `cron`.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    at: Option<String>,
    /// Minute, hour, day of the month, month, day of the week, as in crontab. A time that the clocks leave out is the next one that they show, one that they show twice
    /// counts once.
    #[schema(max_length = 200, example = "0 6 1 * *")]
    cron: Option<String>,
    /// On whose clocks, by its IANA name; with `cron` only.
    #[schema(max_length = 64, default = "UTC", example = "Europe/Zurich")]
    timezone: Option<String>,
    what: What,
    pool_id: Option<String>,
    #[schema(max_items = 1000)]
    payout_requests: Option<Vec<PayoutRequest>>,
    /// Smallest balance that is paid, in USDT; not with `listed`. Absent: the threshold of the settings.
    #[schema(value_type = Option<String>, format = "decimal", example = "10")]
    min_amount: Option<RawAmount>,
    #[schema(default = "normal")]
    priority: Option<Priority>,
    #[schema(default = true)]
    enabled: Option<bool>,
}

struct Asked {
    name: String,
    rule: Option<Rule>,
    whom: Option<Whom>,
    min_amount: Option<Units>,
    priority: Priority,
    enabled: bool,
}

impl PayoutScheduleRequest {
    fn check(self, errors: &mut FieldErrors) -> Asked {
        let name = trimmed(errors, "name", &self.name, NAME_LEN);
        let priority = self.priority.unwrap_or_default();
        let rule = rule(self.at.as_deref(), self.cron.as_deref(), self.timezone.as_deref(), errors);
        let is = |what| self.what == what;
        let alone = |given: bool, field: &str, what: &str, errors: &mut FieldErrors| {
            errors.require(!given, field, format!("goes with `what`: `{what}` only"));
        };
        if !is(What::Pool) {
            alone(self.pool_id.is_some(), "pool_id", "pool", errors);
        }
        if !is(What::Listed) {
            alone(self.payout_requests.is_some(), LIST, "listed", errors);
        } else {
            errors.require(self.min_amount.is_none(), "min_amount", "does not go with `what`: `listed`");
        }
        let whom = match self.what {
            What::AllDue => Some(Whom::AllDue),
            What::Pool => {
                let id = self.pool_id.as_deref().map(PoolId::parse);
                errors.require(id.is_some(), "pool_id", "is missing: `what` is `pool`");
                id.and_then(|id| id.map_err(|why| errors.add("pool_id", why.to_string())).ok()).map(Whom::Pool)
            }
            What::Listed => Some(Whom::Listed(wishes(self.payout_requests.unwrap_or_default(), priority, None, errors))),
        };
        let min_amount = self.min_amount.and_then(|raw| {
            let amount = raw.parse(Currency::Usdt).map_err(|why| errors.add("min_amount", why.to_string())).ok()?;
            errors.require(amount.units > Units::ZERO, "min_amount", "must be above 0");
            Some(amount.units)
        });
        Asked { name, rule, whom, min_amount, priority, enabled: self.enabled.unwrap_or(true) }
    }
}

fn rule(at: Option<&str>, cron: Option<&str>, zone: Option<&str>, errors: &mut FieldErrors) -> Option<Rule> {
    errors.require(zone.is_none_or(time_zone::is_known), "timezone", "must be a name of the IANA database, such as Europe/Zurich");
    match (at, cron) {
        (None, None) => {
            errors.add("at", "is missing: give `at` or `cron`");
            None
        }
        (Some(_), Some(_)) => {
            errors.add("cron", "does not go with `at`");
            None
        }
        (Some(at), None) => {
            errors.require(zone.is_none(), "timezone", "goes with `cron` only: `at` says its own");
            time(errors, "at", Some(at)).map(Rule::Once)
        }
        (None, Some(fields)) => {
            Cron::parse(fields).map_err(|why| errors.add("cron", why.to_string())).ok()?;
            Some(Rule::Cron {
                fields: fields.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
                time_zone: zone.unwrap_or("UTC").to_owned(),
            })
        }
    }
}

/// What became of one moment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ScheduleRun {
    number: u64,
    /// The moment it was for.
    #[schema(format = DateTime)]
    due_at: String,
    /// The first moment that it makes up for: earlier than `due_at` where several were missed.
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    fired_at: String,
    /// Null: there was nobody to pay.
    batch_id: Option<String>,
    planned: u32,
    left_out_count: u32,
    /// The first 200 of them.
    left_out: Vec<LeftOutView>,
    /// Why nobody could be paid at all.
    note: Option<String>,
}

impl ScheduleRun {
    fn new(read: &Snapshot, run: Run) -> Result<ScheduleRun, Fault> {
        Ok(ScheduleRun {
            number: run.number,
            due_at: run.due_at.rfc3339(),
            since: run.since.rfc3339(),
            fired_at: run.fired_at.rfc3339(),
            batch_id: run.batch.map(|id| id.to_string()),
            planned: run.planned,
            left_out_count: run.left_out_count,
            left_out: run.left_out.into_iter().map(|left| LeftOutView::new(read, left)).collect::<Result<_, _>>()?,
            note: run.note,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutScheduleView {
    schedule_id: String,
    name: String,
    #[schema(format = DateTime)]
    at: Option<String>,
    cron: Option<String>,
    timezone: Option<String>,
    what: What,
    pool_id: Option<String>,
    payout_requests: Option<Vec<PayoutWish>>,
    /// Exact, in USDT.
    min_amount: Option<String>,
    priority: Priority,
    enabled: bool,
    /// Who made it or changed it last.
    changed_by: Person,
    created_at: String,
    updated_at: String,
    /// The next five, if it is enabled.
    next_runs: Vec<String>,
    /// The last 20, newest first.
    runs: Vec<ScheduleRun>,
}

fn view(read: &Snapshot, names: &mut Names<'_>, schedule: PayoutSchedule, now: Now) -> Result<PayoutScheduleView, Fault> {
    let next_runs = schedule.next(now.wall, SHOWN_AHEAD).into_iter().map(Timestamp::rfc3339).collect();
    let (at, cron, timezone) = match schedule.rule {
        Rule::Once(at) => (Some(at.rfc3339()), None, None),
        Rule::Cron { fields, time_zone } => (None, Some(fields), Some(time_zone)),
    };
    let what = schedule.whom.what();
    let (pool_id, payout_requests) = match &schedule.whom {
        Whom::AllDue => (None, None),
        Whom::Pool(id) => (Some(id.to_string()), None),
        Whom::Listed(wishes) => (None, Some(wishes.iter().map(PayoutWish::from).collect())),
    };
    Ok(PayoutScheduleView {
        runs: schedules::runs(read, &schedule.id)?.into_iter().map(|run| ScheduleRun::new(read, run)).collect::<Result<_, _>>()?,
        schedule_id: schedule.id.to_string(),
        name: schedule.name,
        at,
        cron,
        timezone,
        what,
        pool_id,
        payout_requests,
        min_amount: schedule.min_amount.map(|units| units.to_decimal(Currency::Usdt).to_string()),
        priority: schedule.priority,
        enabled: schedule.enabled,
        changed_by: Person { name: names.subject(&schedule.by)?, id: schedule.by },
        created_at: schedule.made_at.rfc3339(),
        updated_at: schedule.updated_at.rfc3339(),
        next_runs,
    })
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutScheduleList {
    schedules: Vec<PayoutScheduleView>,
    pagination: Pagination,
}

/// When nodes are paid, the oldest schedule first
#[utoipa::path(get, path = "/nodes/payouts/schedule", tag = "payouts", security(("access" = ["payout:read"])), params(PageQuery),
    responses((status = 200, body = PayoutScheduleList), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page) -> Result<Json<PayoutScheduleList>, ApiError> {
    let (read, now) = (state.store.read()?, state.now());
    let (rows, pagination) = page.slice(schedules::all(&read)?);
    let mut names = Names::new(&read);
    let schedules = rows.into_iter().map(|schedule| view(&read, &mut names, schedule, now)).collect::<Result<_, _>>()?;
    Ok(Json(PayoutScheduleList { schedules, pagination }))
}

/// A schedule and its last runs
#[utoipa::path(get, path = "/nodes/payouts/schedule/{schedule_id}", tag = "payouts", security(("access" = ["payout:read"])), params(("schedule_id" = String, Path)),
    responses((status = 200, body = PayoutScheduleView), (status = 404, body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<PayoutScheduleView>, ApiError> {
    shown(&state, &schedule_id(&id)?)
}

fn shown(state: &AppState, id: &ScheduleId) -> Result<Json<PayoutScheduleView>, ApiError> {
    let read = state.store.read()?;
    let schedule = schedules::by_id(&read, id)?.ok_or(Refusal::ScheduleNotFound)?;
    Ok(Json(view(&read, &mut Names::new(&read), schedule, state.now())?))
}

/// What cannot be an id is one that is not there.
fn schedule_id(text: &str) -> Result<ScheduleId, ApiError> {
    ScheduleId::parse(text).map_err(|_| Refusal::ScheduleNotFound.into())
}

/// Schedule payouts
///
/// Nothing is reserved before it fires, and then every guard counts as it does for the automatic cycle, but for the threshold and the time between two payouts. What
/// was missed while nobody ran is made up for by one run.
#[utoipa::path(post, path = "/nodes/payouts/schedule", tag = "payouts", security(("access" = ["payout:process"])), request_body = PayoutScheduleRequest,
    responses((status = 201, body = PayoutScheduleView), (status = 400, body = ErrorBody),
    (status = 422, description = "`PayoutsRefused` with every field that cannot be met, `CurrencyNotPayable`, `ScheduledInThePast`, `PoolNotFound` or `TooManySchedules`", body = ErrorBody),
    (status = 404, description = "no pool has this id (`PoolNotFound`)", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<PayoutScheduleRequest>,
) -> Result<(StatusCode, Json<PayoutScheduleView>), ApiError> {
    let asked = asked.check(PayoutScheduleRequest::check)?;
    let now = state.now();
    let id = ScheduleId::new(state.entropy.uuid(now.wall.0));
    let schedule = made(&caller, asked, now, id, None)?;
    let draft = caller.act(now).draft("payout_schedule.create", schedule.id.as_str());
    let (this, paying, id) = (state.clone(), state.paying(), schedule.id.clone());
    let write = move |tx: &mut WriteTx<'_>| -> Result<(), TxError> {
        known(tx, Plans { secrets: &this.store.secrets, paying: &paying, now }, &schedule)?;
        schedules::create(tx, &schedule, draft.clone())
    };
    state.store.write(write).await.map_err(ApiError::naming([(Refusal::PoolNotFound, "pool_id")]))?;
    Ok((StatusCode::CREATED, shown(&state, &id)?))
}

/// Change a schedule
///
/// The body is the whole schedule. Moments before the change never fire.
#[utoipa::path(put, path = "/nodes/payouts/schedule/{schedule_id}", tag = "payouts", security(("access" = ["payout:process"])), params(("schedule_id" = String, Path)),
    request_body = PayoutScheduleRequest,
    responses((status = 200, body = PayoutScheduleView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, description = "somebody else changed it, or it fired, meanwhile (`ScheduleMoved`)", body = ErrorBody),
    (status = 422, description = "as when it is made", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn change(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<PayoutScheduleRequest>,
) -> Result<Json<PayoutScheduleView>, ApiError> {
    let id = schedule_id(&id)?;
    let before = schedules::by_id(&state.store.read()?, &id)?.ok_or(Refusal::ScheduleNotFound)?;
    let asked = asked.check(PayoutScheduleRequest::check)?;
    let now = state.now();
    let revision = before.revision;
    let schedule = made(&caller, asked, now, id.clone(), Some(before))?;
    let draft = caller.act(now).draft("payout_schedule.update", id.as_str());
    let (this, paying) = (state.clone(), state.paying());
    let write = move |tx: &mut WriteTx<'_>| -> Result<(), TxError> {
        known(tx, Plans { secrets: &this.store.secrets, paying: &paying, now }, &schedule)?;
        schedules::update(tx, &schedule, revision, draft.clone())
    };
    state.store.write(write).await.map_err(ApiError::naming([(Refusal::PoolNotFound, "pool_id")]))?;
    state.nudges.nudge(Job::Payouts);
    shown(&state, &id)
}

/// What it refers to is there, and what it lists could be paid as things stand, but for balances.
fn known(tx: &WriteTx<'_>, by: Plans<'_>, schedule: &PayoutSchedule) -> Result<(), TxError> {
    match &schedule.whom {
        Whom::AllDue => Ok(()),
        Whom::Pool(id) => pools::by_id(tx, id)?.map(drop).ok_or_else(|| Refusal::PoolNotFound.into()),
        Whom::Listed(wishes) => granted(by, tx, Against::Later, wishes).map(drop),
    }
}

fn made(caller: &Caller, asked: Asked, now: Now, id: ScheduleId, before: Option<PayoutSchedule>) -> Result<PayoutSchedule, ApiError> {
    let (Some(rule), Some(whom)) = (asked.rule, asked.whom) else { return Err(ApiError::panicked()) };
    if !now.trusted {
        // What is past and what is to come is told by the clock.
        return Err(Refusal::ClockUntrusted.into());
    }
    if matches!(rule, Rule::Once(at) if at <= now.wall) {
        let field = FieldError { field: "at".into(), message: "must be in the future".into() };
        return Err(Refusal::Broken(IN_THE_PAST, vec![field]).into());
    }
    let (made_at, revision, runs) = before.map_or((now.wall, 1, 0), |before| (before.made_at, before.revision + 1, before.runs));
    Ok(PayoutSchedule {
        id,
        name: asked.name,
        rule,
        whom,
        min_amount: asked.min_amount,
        priority: asked.priority,
        enabled: asked.enabled,
        by: caller.actor().to_string(),
        made_at,
        updated_at: now.wall,
        revision,
        fired_through: now.wall,
        runs,
    })
}

/// Delete a schedule
///
/// The batches that it made stay.
#[utoipa::path(delete, path = "/nodes/payouts/schedule/{schedule_id}", tag = "payouts", security(("access" = ["payout:process"])), params(("schedule_id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub async fn delete(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id = schedule_id(&id)?;
    let draft = caller.act(state.now()).draft("payout_schedule.delete", id.as_str());
    state.store.write(move |tx| schedules::delete(tx, &id, draft.clone())).await?;
    Ok(StatusCode::NO_CONTENT)
}
