//! Maintenance of nodes: planned and past, planning it, ending it.

use axum::extract::State as Extracted;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::nodes::{node_id, published};
use super::page::{Page, PageQuery, Pagination};
use super::reads::{self, Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::maintenance::{Asked, MAINTENANCE_SLOTS, Origin, SLOTS_PER_MINUTE, State, TOO_FAR, TOO_SOON, USED_UP, slot_from};
use crate::domain::maintenance_window::{NextWindow, next_window};
use crate::domain::refusal::Refusal;
use crate::domain::time::{Slot, Timestamp};
use crate::live::Change;
use crate::storage::core::maintenance::{self, Numbered};
use crate::storage::fault::Fault;

const MAX_MINUTES: u32 = MAINTENANCE_SLOTS / SLOTS_PER_MINUTE;

/// A stretch in which a node does not count, neither for it nor against it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MaintenancePeriod)]
pub struct PeriodView {
    /// Counts the periods of this node.
    #[schema(example = 3)]
    number: u64,
    state: State,
    origin: Origin,
    #[schema(format = DateTime, example = "2026-09-21T02:00:00Z")]
    from: String,
    /// As planned; it ends by itself.
    #[schema(format = DateTime, example = "2026-09-21T04:00:00Z")]
    until: String,
    /// When it ended before its time; of one that was called off, `from`.
    #[schema(format = DateTime, example = "2026-09-21T03:10:30Z")]
    ended_at: Option<String>,
    #[schema(format = DateTime, example = "2026-09-20T09:30:00Z")]
    created_at: String,
    /// Who asked for it; null where the node's window did.
    created_by: Option<Person>,
    /// Who ended it or called it off.
    ended_by: Option<Person>,
}

impl PeriodView {
    fn new(names: &mut Names<'_>, (number, period): &Numbered, next: Slot) -> Result<PeriodView, Fault> {
        let ended_by = period.ended.as_ref().map(|ended| names.person(&ended.by)).transpose()?.flatten();
        Ok(PeriodView {
            number: *number,
            state: period.state(next),
            origin: period.origin,
            from: period.from.start().rfc3339(),
            until: period.until.start().rfc3339(),
            ended_at: period.ended.as_ref().map(|ended| ended.slot.start().rfc3339()),
            created_at: period.created_at.rfc3339(),
            created_by: names.person(&period.by)?,
            ended_by,
        })
    }
}

/// How the node's next daily window stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NextMaintenanceWindow)]
pub struct WindowView {
    #[schema(format = DateTime, example = "2026-09-21T02:00:00Z")]
    next_from: String,
    #[schema(format = DateTime, example = "2026-09-21T04:00:00Z")]
    next_until: String,
    /// Why it will not take place as things stand: the 8 hours in 7 days are used up, other maintenance is planned then, it was called off. Null: it takes
    /// place.
    skipped_because: Option<String>,
}

impl From<NextWindow> for WindowView {
    fn from(window: NextWindow) -> WindowView {
        let NextWindow { from, until, skipped } = window;
        WindowView { next_from: from.start().rfc3339(), next_until: until.start().rfc3339(), skipped_because: skipped }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MaintenanceList {
    /// By their begin, the latest first; of one node 200 are kept.
    maintenance: Vec<PeriodView>,
    /// The longest that could begin with the next slot, within 8 hours in any 7 days and before the next planned one.
    #[schema(example = 480)]
    minutes_left: u32,
    /// The next daily window that has not begun; null without `maintenance_window` in the node's configuration.
    window: Option<WindowView>,
    pagination: Pagination,
}

/// Planned and past maintenance of a node
#[utoipa::path(get, path = "/nodes/{id}/maintenance", tag = "nodes", security(("access" = ["node:read"])), params(("id" = String, Path), PageQuery),
    responses((status = 200, body = MaintenanceList), (status = 404, body = ErrorBody)))]
pub async fn list(Extracted(state): Extracted<AppState>, Path(id): Path<String>, page: Page) -> Result<Json<MaintenanceList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let read = state.store.read()?;
    let now = state.now();
    let next = now.wall.slot().plus(1);
    let mut periods = maintenance::of_node(&read, node.index)?;
    let window = next_window(&node, periods.iter().map(|(_, period)| period), now).map(WindowView::from);
    periods.sort_by_key(|(number, period)| std::cmp::Reverse((period.from, *number)));
    let (rows, pagination) = page.slice(periods);
    let mut names = Names::new(&read);
    let maintenance = rows.iter().map(|row| PeriodView::new(&mut names, row, next)).collect::<Result<_, _>>()?;
    Ok(Json(MaintenanceList { maintenance, minutes_left: maintenance::minutes_left(&node, next), window, pagination }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// RFC 3339; begins with the first slot of 30 s then or later. An hour ahead or more, for an admin any time to come, at most 90 days. Absent: as soon
    /// as may be.
    #[schema(format = DateTime, example = "2026-09-21T02:00:00Z")]
    from: Option<String>,
    /// Absent: two hours, or less where the 8 hours in 7 days leave less or other maintenance follows.
    #[schema(minimum = 1, maximum = 480, example = 120)]
    duration_minutes: Option<u32>,
}

/// Plan maintenance of a node
///
/// Its time is in neither side of the score and is not paid, and its silence raises no alert. It begins and ends by itself.
#[utoipa::path(post, path = "/nodes/{id}/maintenance", tag = "nodes", security(("access" = ["node:write"])), params(("id" = String, Path)),
    request_body = MaintenanceRequest, responses((status = 201, body = PeriodView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, description = "other maintenance in that time (`MaintenanceOverlaps`), or the node leaves (`NodeLeaving`)"),
    (status = 422, description = "`MaintenanceTooSoon`, `MaintenanceTooFar`, more than 8 hours in 7 days (`MaintenanceUsedUp`, which names what takes them), or `TooManyMaintenances`"), (status = 503, body = ErrorBody)))]
pub async fn plan(
    Extracted(state): Extracted<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<MaintenanceRequest>,
) -> Result<(StatusCode, Json<PeriodView>), ApiError> {
    let id = node_id(&id)?;
    let asked = asked.check(|asked, errors| {
        let from = asked.from.map(|text| Timestamp::parse_rfc3339(&text));
        errors.require(from != Some(None), "from", "must be a time as in RFC 3339: 2026-09-21T02:00:00Z");
        let length = asked.duration_minutes.is_none_or(|minutes| (1..=MAX_MINUTES).contains(&minutes));
        errors.require(length, "duration_minutes", format!("must be 1 to {MAX_MINUTES}"));
        let slots = asked.duration_minutes.map(|minutes| minutes.saturating_mul(SLOTS_PER_MINUTE));
        Asked { from: from.flatten().map(slot_from), slots, origin: Origin::Planned, at_once: caller.may_approve() }
    })?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let (node, planned) =
        state.store.write(move |tx| maintenance::plan(tx, &directory, &act, &id, &asked)).await.map_err(ApiError::naming([
            (Refusal::Rule(TOO_SOON, String::new()), "from"),
            (Refusal::Rule(TOO_FAR, String::new()), "from"),
            (Refusal::MaintenanceOverlaps, "from"),
            (Refusal::Rule(USED_UP, String::new()), "duration_minutes"),
        ]))?;
    published(&state, &node.id, Change::Updated);
    Ok((StatusCode::CREATED, shown(&state, &planned)?))
}

/// End or call off maintenance of a node
///
/// What goes on ends with the present slot; what has not begun never does.
#[utoipa::path(delete, path = "/nodes/{id}/maintenance/{number}", tag = "nodes", security(("access" = ["node:write"])),
    params(("id" = String, Path), ("number" = u64, Path)), responses((status = 200, body = PeriodView), (status = 404, body = ErrorBody),
    (status = 409, description = "it is over (`MaintenanceOver`)"), (status = 503, body = ErrorBody)))]
pub async fn end(
    Extracted(state): Extracted<AppState>,
    caller: Caller,
    Path((id, number)): Path<(String, String)>,
) -> Result<Json<PeriodView>, ApiError> {
    let id = node_id(&id)?;
    // A number that cannot be is one that is not there.
    let number: u64 = number.parse().map_err(|_| Refusal::MaintenanceNotFound)?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let (node, ended) = state.store.write(move |tx| maintenance::end(tx, &directory, &act, &id, number)).await?;
    published(&state, &node.id, Change::Updated);
    shown(&state, &ended)
}

fn shown(state: &AppState, period: &Numbered) -> Result<Json<PeriodView>, ApiError> {
    let read = state.store.read()?;
    Ok(Json(PeriodView::new(&mut Names::new(&read), period, state.now().wall.slot().plus(1))?))
}
