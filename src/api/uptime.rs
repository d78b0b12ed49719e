//! When a node was there: the last 24 hours slot by slot, and the last 30 days.

use axum::extract::State;
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::poot::pico;
use super::reads;
use super::state::AppState;
use crate::domain::evidence::{SLOTS_PER_DAY, SlotState, day_of, day_start};
use crate::domain::money::Currency;
use crate::domain::node::{Eligible, Node};
use crate::domain::poot::ScoreState;
use crate::domain::span::Span;
use crate::domain::time::{Now, Slot};
use crate::storage::fault::Fault;
use crate::storage::hot::{days, hours};
use crate::storage::{present, spans};
use rust_decimal::prelude::ToPrimitive;

/// Days of the answer, today included.
const DAYS: u32 = 30;
/// Days that are summed from their epochs when they are not rolled up yet: today, and yesterday until its last epoch is closed.
const OPEN_DAYS: u32 = 2;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Uptime {
    pub node_id: String,
    pub slots: UptimeSlots,
    /// Oldest first; days of which nothing is known are left out.
    pub days: Vec<UptimeDay>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UptimeSlots {
    pub first_slot: u32,
    /// RFC 3339, UTC; start of the first slot.
    pub start: String,
    /// One letter for each of 2880 slots of 30 s, oldest first, the present one last: `p` proven, `m` missed, `a` attested (reported without proof: later, or while the workload was not wanted or did not run), `u` unobserved
    /// (the manager was not there to see), `o` open, `x` the node did not count: not enrolled, in maintenance or suspended.
    pub states: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UptimeDay {
    /// UTC, `2026-10-22`.
    pub date: String,
    pub start: String,
    /// Slots.
    pub proven: u32,
    pub observed: u32,
    /// Earned on that day, exact, held amounts of pending epochs included.
    #[schema(example = "1.2")]
    pub accrued: String,
    pub currency: Option<Currency>,
    /// Of the score at its end, or so far.
    pub state: Option<ScoreState>,
    /// 0 to 100; null while it was pending.
    pub score: Option<f64>,
    /// Not all of its epochs are closed yet.
    pub partial: bool,
}

/// When a node was there
#[utoipa::path(get, path = "/nodes/{id}/poot/uptime", tag = "poot", security(("access" = ["poot:read"])), params(("id" = String, Path)),
    responses((status = 200, body = Uptime), (status = 404, body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Uptime>, ApiError> {
    let node = reads::node(&state, &id)?;
    reads::long(&state, move |state| {
        let now = state.now();
        Ok(Json(Uptime { node_id: node.id.to_string(), slots: slots(state, &node, now)?, days: days(state, &node, now)? }))
    })
    .await
}

fn slots(state: &AppState, node: &Node, now: Now) -> Result<UptimeSlots, Fault> {
    let present = now.wall.slot();
    let first = present.minus(SLOTS_PER_DAY - 1);
    let states = present::slot_states(&state.store, node.index, first, present.plus(1), now)?;
    let letters = states.into_iter().map(|(slot, state)| letter(node, slot, state)).collect();
    Ok(UptimeSlots { first_slot: first.0, start: first.start().rfc3339(), states: letters })
}

fn letter(node: &Node, slot: Slot, state: SlotState) -> char {
    let in_service = node.eligible_in(slot) == Eligible::InService;
    let counts = in_service && node.enrolled_from.is_some_and(|from| from <= slot);
    match state {
        SlotState::Proven => 'p',
        SlotState::Missed => 'm',
        SlotState::Attested if in_service => 'a',
        SlotState::Attested => 'x',
        SlotState::Unobserved | SlotState::Pending if !counts => 'x',
        SlotState::Unobserved => 'u',
        SlotState::Pending => 'o',
    }
}

fn days(state: &AppState, node: &Node, now: Now) -> Result<Vec<UptimeDay>, Fault> {
    let (core, hot) = (state.store.read()?, state.store.hot.read()?);
    let today = day_of(now.wall.slot());
    let first = today.saturating_sub(DAYS - 1);
    let open_from = hours::rolled(&hot)?.days_before.clamp(first, today + 1);
    let mut shown = Vec::new();
    for (number, day) in days::of_node(&hot, node.index, first, open_from)? {
        shown.push(view(number, &day, false)?);
    }
    for number in open_from.max((today + 1).saturating_sub(OPEN_DAYS))..=today {
        if let Some(day) = spans::of_node(&core, &hot, node.index, day_start(number), day_start(number + 1))? {
            shown.push(view(number, &day, true)?);
        }
    }
    Ok(shown)
}

fn view(number: u32, day: &Span, partial: bool) -> Result<UptimeDay, Fault> {
    let start = day_start(number).start().rfc3339();
    let score = Some(day.last).filter(|score| score.state != ScoreState::Pending);
    let currency = day.currency();
    let paid_in = currency.unwrap_or(Currency::Usdt);
    let accrued = day.accrued(paid_in).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
    Ok(UptimeDay {
        date: start.get(..10).unwrap_or_default().to_owned(),
        start,
        proven: day.proven,
        observed: day.observed,
        accrued: pico(accrued, paid_in)?,
        currency,
        state: Some(day.last.state),
        score: score.and_then(|score| score.score().to_f64()),
        partial,
    })
}
