//! Alerts: list, show, and say that someone has seen one.

use axum::extract::State as AxumState;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::trimmed;
use super::json::{Json, Path, Query};
use super::listing::{OnOff, Order, descending, time, word};
use super::nodes::optional_pool;
use super::page::{Page, PageQuery, Pagination};
use super::reads::{Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::alert::{Alert, MAX_NOTE, Severity, State, Step, Turn, title};
use crate::domain::ids::{AlertId, PoolId};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::Timestamp;
use crate::storage::core::alerts::{self, Filter, Sort, Wanted};
use crate::storage::core::pools;
use crate::storage::fault::Fault;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    id: String,
    kind: String,
    /// What the kind is called.
    #[schema(example = "Hardware changed")]
    title: String,
    /// `open`; `acknowledged`: open, and someone has seen it; `unknown`: its subject is silent, so nobody can tell whether it is over; `resolved`.
    state: State,
    severity: Severity,
    /// A security alert: about attempts to get in, unusual payouts and scores, a machine that is another one, or CPU or memory beyond its critical limit (95 % where
    /// nothing else was set).
    security: bool,
    /// Id of what it is about; empty when it is about the manager.
    subject: String,
    /// Name of the node or the pool, deleted ones included.
    subject_name: Option<String>,
    /// What of the subject: the metric of a `resource_threshold`, the other node's id of `identical_outputs`.
    topic: Option<String>,
    message: String,
    /// RFC 3339, UTC.
    raised_at: String,
    /// When something last happened to it.
    updated_at: String,
    resolved_at: Option<String>,
    /// Since it last got worse.
    acknowledged_at: Option<String>,
    acknowledged_by: Option<Person>,
    acknowledged_note: Option<String>,
    /// Since when its subject is silent.
    unknown_since: Option<String>,
}

impl AlertView {
    pub fn new(names: &mut Names<'_>, alert: &Alert) -> Result<AlertView, Fault> {
        let acknowledged = alert.acknowledged.as_ref();
        Ok(AlertView {
            id: alert.id.to_string(),
            kind: alert.kind.clone(),
            title: title(&alert.kind),
            state: alert.state(),
            severity: alert.severity,
            security: alert.is_security(),
            subject: alert.subject.clone(),
            subject_name: names.subject(&alert.subject)?,
            topic: alert.topic.clone(),
            message: alert.message.clone(),
            raised_at: alert.raised_at.rfc3339(),
            updated_at: alert.updated_at().rfc3339(),
            resolved_at: alert.resolved_at.map(Timestamp::rfc3339),
            acknowledged_at: acknowledged.map(|ack| ack.at.rfc3339()),
            acknowledged_by: acknowledged.map_or(Ok(None), |ack| names.person(&ack.by))?,
            acknowledged_note: acknowledged.and_then(|ack| ack.note.clone()),
            unknown_since: alert.unknown_since.map(Timestamp::rfc3339),
        })
    }
}

/// One thing that happened to an alert.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertStep {
    /// RFC 3339, UTC.
    at: String,
    change: Turn,
    /// After it.
    severity: Severity,
    /// Null when the manager did.
    by: Option<Person>,
    note: Option<String>,
}

impl AlertStep {
    fn new(names: &mut Names<'_>, step: &Step) -> Result<AlertStep, Fault> {
        let Step { at, turn, severity, by, note } = step;
        Ok(AlertStep { at: at.rfc3339(), change: *turn, severity: *severity, by: names.person(by)?, note: note.clone() })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertDetail {
    #[serde(flatten)]
    alert: AlertView,
    /// In order of time; the first step and the newest 49 are kept.
    history: Vec<AlertStep>,
}

fn show(state: &AppState, alert: &Alert) -> Result<AlertDetail, ApiError> {
    let read = state.store.read()?;
    let mut names = Names::new(&read);
    let history = alert.history.iter().map(|step| AlertStep::new(&mut names, step)).collect::<Result<_, _>>()?;
    Ok(AlertDetail { alert: AlertView::new(&mut names, alert)?, history })
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertList {
    alerts: Vec<AlertView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// `active`: all that are not resolved. Default: all.
    #[param(value_type = Option<AskedState>)]
    state: Option<String>,
    #[param(value_type = Option<Severity>)]
    severity: Option<String>,
    /// Such as `resource_threshold` or `node_unreachable`.
    #[param(max_length = 100)]
    kind: Option<String>,
    /// Id of what it is about.
    #[param(max_length = 100)]
    subject: Option<String>,
    /// About the nodes that are in this pool now, as its `health.open_alerts` counts them.
    #[param(pattern = "^pool_[a-zA-Z0-9_-]+$")]
    pool_id: Option<String>,
    /// `true`: security alerts; `false`: the others.
    #[param(value_type = Option<bool>)]
    security: Option<String>,
    /// Raised at or after; RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Raised before; RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    #[param(value_type = Option<AlertSort>)]
    sort: Option<String>,
    /// Descending unless it says otherwise.
    #[param(value_type = Option<Order>)]
    order: Option<String>,
}

/// Which alerts are looked for; `active` are all that are not resolved.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertStateAsked)]
pub enum AskedState {
    Open,
    Acknowledged,
    Unknown,
    Resolved,
    Active,
}

/// What alerts are ordered by.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(default = "raised_at")]
pub enum AlertSort {
    RaisedAt,
    UpdatedAt,
    Severity,
    State,
}

/// Longest `kind` or `subject` of a query.
const MAX_TEXT: usize = 100;

impl AlertQuery {
    fn check(self) -> Result<(Filter, Option<PoolId>, Sort, bool), Refusal> {
        let mut errors = FieldErrors::default();
        let states = "open, acknowledged, unknown, resolved or active";
        let state = word(&mut errors, "state", self.state.as_deref(), states).map(|state| match state {
            AskedState::Active => Wanted::Active,
            AskedState::Open => Wanted::Exactly(State::Open),
            AskedState::Acknowledged => Wanted::Exactly(State::Acknowledged),
            AskedState::Unknown => Wanted::Exactly(State::Unknown),
            AskedState::Resolved => Wanted::Exactly(State::Resolved),
        });
        let severity: Option<Severity> = word(&mut errors, "severity", self.severity.as_deref(), "info, warning or critical");
        for (field, text) in [("kind", &self.kind), ("subject", &self.subject)] {
            errors.require(text.as_ref().is_none_or(|text| text.chars().count() <= MAX_TEXT), field, "must have at most 100 characters");
        }
        let pool = optional_pool(&mut errors, "pool_id", self.pool_id);
        let security: Option<OnOff> = word(&mut errors, "security", self.security.as_deref(), "true or false");
        let security = security.map(|security| security == OnOff::True);
        let (from, to) = (time(&mut errors, "from", self.from.as_deref()), time(&mut errors, "to", self.to.as_deref()));
        errors.require(from.zip(to).is_none_or(|(from, to)| from < to), "from", "must be before to");
        let sort = match word(&mut errors, "sort", self.sort.as_deref(), "raised_at, updated_at, severity or state") {
            None | Some(AlertSort::RaisedAt) => Sort::Raised,
            Some(AlertSort::UpdatedAt) => Sort::Updated,
            Some(AlertSort::Severity) => Sort::Severity,
            Some(AlertSort::State) => Sort::State,
        };
        let descending = descending(&mut errors, self.order.as_deref(), Order::Desc);
        errors.finish()?;
        let filter = Filter { state, severity, kind: self.kind, subject: self.subject, among: None, security, from, to };
        Ok((filter, pool, sort, descending))
    }
}

/// Alerts, newest first
#[utoipa::path(get, path = "/alerts", tag = "operations", security(("access" = ["alert:read"])), params(PageQuery, AlertQuery),
    responses((status = 200, body = AlertList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody, description = "no such pool")))]
pub async fn list(AxumState(state): AxumState<AppState>, page: Page, Query(query): Query<AlertQuery>) -> Result<Json<AlertList>, ApiError> {
    let (mut filter, pool, sort, descending) = query.check()?;
    let read = state.store.read()?;
    if let Some(id) = pool {
        let pool = pools::by_id(&read, &id)?.ok_or(Refusal::PoolNotFound)?.index;
        let members = state.store.directory.select(|entry| *entry.pool.latest() == Some(pool));
        filter.among = Some(members.iter().map(|entry| entry.id.to_string()).collect());
    }
    let (alerts, total) = alerts::sorted(&read, &filter, sort, descending, page.offset(), page.limit())?;
    let mut names = Names::new(&read);
    let alerts = alerts.iter().map(|alert| AlertView::new(&mut names, alert)).collect::<Result<_, _>>()?;
    Ok(Json(AlertList { alerts, pagination: page.of(total) }))
}

fn alert_id(text: &str) -> Result<AlertId, Refusal> {
    AlertId::parse(text).map_err(|_| Refusal::AlertNotFound)
}

/// Show an alert and what happened to it
#[utoipa::path(get, path = "/alerts/{id}", tag = "operations", security(("access" = ["alert:read"])), params(("id" = String, Path)),
    responses((status = 200, body = AlertDetail), (status = 404, body = ErrorBody)))]
pub async fn get(AxumState(state): AxumState<AppState>, Path(id): Path<String>) -> Result<Json<AlertDetail>, ApiError> {
    let alert = alerts::by_id(&state.store.read()?, &alert_id(&id)?)?.ok_or(Refusal::AlertNotFound)?;
    Ok(Json(show(&state, &alert)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// For whoever looks at it next.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// Say that you have seen an alert
///
/// It stays open. Doing it again changes nothing; when it gets worse, it wants to be seen again.
#[utoipa::path(post, path = "/alerts/{id}/acknowledge", tag = "operations", security(("access" = ["alert:write"])),
    params(("id" = String, Path)), request_body = AcknowledgeRequest,
    responses((status = 200, body = AlertDetail), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn acknowledge(
    AxumState(state): AxumState<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<AcknowledgeRequest>,
) -> Result<Json<AlertDetail>, ApiError> {
    let id = alert_id(&id)?;
    let note = asked.check(|asked, errors| {
        let note = asked.note.map(|note| trimmed(errors, "note", &note, 0..=MAX_NOTE));
        note.filter(|note| !note.is_empty())
    })?;
    let act = caller.act(state.now());
    let alert = state.store.write(move |tx| alerts::acknowledge(tx, &act, &id, note.clone())).await?;
    Ok(Json(show(&state, &alert)?))
}
