//! How the score of a node went: by epochs while their leaves are kept, then by hours, then by days.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{time, word};
use super::page::{Page, PageQuery, Pagination};
use super::poot::{number, pico};
use super::reads;
use super::state::AppState;
use crate::domain::evidence::{KEPT_DAYS, SLOTS_PER_DAY, day_of, day_start};
use crate::domain::money::{Currency, Overflow};
use crate::domain::node::Node;
use crate::domain::poot::{Params, ScoreState};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::span::{HOURLY_DAYS, Span};
use crate::domain::time::Slot;
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::days;
use crate::storage::spans;

/// What a row of the history stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HistoryGranularity)]
pub enum Granularity {
    Epoch,
    Hour,
    Day,
}

impl Granularity {
    /// The finest that is kept since `from`.
    fn finest(from: Option<Slot>, now: Slot) -> Granularity {
        let since = |days: u32| now.minus(days * SLOTS_PER_DAY);
        match from {
            Some(from) if from < since(HOURLY_DAYS) => Granularity::Day,
            Some(from) if from < since(KEPT_DAYS) => Granularity::Hour,
            _ => Granularity::Epoch,
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Epochs are kept 90 days, hours a year, days for ever. The finest that is kept since `from` when absent.
    #[param(value_type = Option<Granularity>)]
    granularity: Option<String>,
    /// What reaches this time or later; all that is the node's when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// What begins before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

struct Asked {
    granularity: Granularity,
    from: Option<Slot>,
    until: Option<Slot>,
}

impl HistoryQuery {
    fn check(&self, now: Slot) -> Result<Asked, Refusal> {
        let mut errors = FieldErrors::default();
        let granularity = word(&mut errors, "granularity", self.granularity.as_deref(), "epoch, hour or day");
        let from = time(&mut errors, "from", self.from.as_deref());
        let to = time(&mut errors, "to", self.to.as_deref());
        errors.require(from.zip(to).is_none_or(|(from, to)| from < to), "from", "must be before to");
        errors.finish()?;
        // Behind the last slot that begins before `to`.
        let until = to.map(|to| to.plus_ms(-1).slot().plus(1));
        let from = from.map(crate::domain::time::Timestamp::slot);
        Ok(Asked { granularity: granularity.unwrap_or_else(|| Granularity::finest(from, now)), from, until })
    }
}

/// What a node did in one epoch, hour or day.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct NodeEpoch {
    /// Its first slot.
    pub epoch: u32,
    pub start: String,
    pub end: String,
    /// Of its last epoch. Null where nothing is kept of the node: not enrolled yet, longer ago than it is kept, or no epoch began in it.
    pub state: Option<ScoreState>,
    /// Of an hour or a day, the mean of the epochs that had one, two decimals; null while it was pending.
    pub score: Option<f64>,
    /// Slots.
    pub proven: u32,
    pub observed: u32,
    /// Epochs that begin in it; 0 in days of an earlier release, which did not count them.
    pub epochs: u32,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// What credits are multiplied with after it.
    pub multiplier: Option<f64>,
    /// Earned in it; while the score is pending, held until it is valid.
    pub accrued: String,
    pub currency: Option<Currency>,
    /// Work credits: hours of work, times score and multiplier, whatever the pool pays for them.
    pub credits: String,
    /// Not all of it is closed yet.
    pub partial: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeEpochList {
    pub granularity: Granularity,
    pub epochs: Vec<NodeEpoch>,
    pub pagination: Pagination,
}

/// How the score of a node went, newest first
///
/// Epochs while they are kept, or the sums of those that begin in an hour or on a UTC day. Hours and days are listed without a gap; of those without an epoch `state` is null.
#[utoipa::path(get, path = "/nodes/{id}/poot/history", tag = "poot", security(("access" = ["poot:read"])), params(("id" = String, Path), PageQuery, HistoryQuery), responses((status = 200, body = NodeEpochList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn history(
    State(state): State<AppState>,
    Path(id): Path<String>,
    page: Page,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<NodeEpochList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let asked = query.check(state.now().wall.slot())?;
    let granularity = asked.granularity;
    let list = reads::long(&state, move |state| {
        let (epochs, pagination) = match granularity {
            Granularity::Epoch => by_epoch(state, &node, &asked, page)?,
            Granularity::Hour => by_time(state, &node, &asked, page, SLOTS_PER_HOUR)?,
            Granularity::Day => by_time(state, &node, &asked, page, SLOTS_PER_DAY)?,
        };
        Ok(NodeEpochList { granularity, epochs, pagination })
    });
    Ok(Json(list.await?))
}

/// Epochs before it are not the node's. The earlier of its two beginnings, because the clock may have been wrong at one of them.
fn first_slot(node: &Node) -> Slot {
    let created = node.created_at.slot();
    node.enrolled_from.map_or(created, |enrolled| enrolled.min(created))
}

fn by_epoch(state: &AppState, node: &Node, asked: &Asked, page: Page) -> Result<(Vec<NodeEpoch>, Pagination), Fault> {
    let from = asked.from.map_or(first_slot(node), |from| from.max(first_slot(node)));
    let (heads, total) =
        epochs::page_between(&state.store.read()?, from, asked.until.unwrap_or(Slot(u32::MAX)), page.offset(), page.limit())?;
    let hot = state.store.hot.read()?;
    let mut rows = Vec::with_capacity(heads.len());
    for head in heads {
        let span = days::of_leaf(&hot, &head, node.index)?;
        rows.push(row(head.epoch.first_slot(), head.next_slot(), span.as_ref(), &head.params, false)?);
    }
    Ok((rows, page.of_rows(total)))
}

/// Hours or days, `slots` long.
fn by_time(state: &AppState, node: &Node, asked: &Asked, page: Page, slots: u32) -> Result<(Vec<NodeEpoch>, Pagination), Fault> {
    let core = state.store.read()?;
    let last = epochs::last(&core)?;
    let hot = state.store.hot.read()?;
    let params = last.as_ref().map_or(state.settings().poot, |head| head.params);
    let closed = last.map_or(Slot(0), |head| head.next_slot());
    let from = asked.from.map_or(first_slot(node), |from| from.max(first_slot(node)));
    let first = from.0 / slots;
    // Nothing has begun after now.
    let now = state.now().wall.slot().plus(1);
    let end = asked.until.map_or(now, |until| until.min(now)).0.div_ceil(slots).max(first);
    let wanted = (first..end).rev().skip(page.offset()).take(page.limit());
    let mut rows = Vec::new();
    for number in wanted {
        let (start, until) = (Slot(number * slots), Slot((number + 1) * slots));
        let mut span = spans::of_node(&core, &hot, node.index, start, until)?;
        if span.is_none() && start == day_start(day_of(start)) && slots == SLOTS_PER_DAY {
            // Days of an earlier release whose hours are gone say less, and all that is left.
            span = days::day_of_node(&hot, day_of(start), node.index)?;
        }
        rows.push(row(start, until, span.as_ref(), &params, closed < until)?);
    }
    Ok((rows, page.of(u64::from(end - first))))
}

fn row(start: Slot, until: Slot, span: Option<&Span>, params: &Params, partial: bool) -> Result<NodeEpoch, Fault> {
    let broken = |overflow: Overflow| Fault::Invariant(overflow.to_string());
    let currency = span.and_then(Span::currency);
    let paid_in = currency.unwrap_or(Currency::Usdt);
    let accrued = span.map(|span| span.accrued(paid_in)).transpose().map_err(broken)?.unwrap_or_default();
    let credits = span.map(Span::credits).transpose().map_err(broken)?.unwrap_or_default();
    let count = |of: fn(&Span) -> u32| span.map_or(0, of);
    Ok(NodeEpoch {
        epoch: start.0,
        start: start.start().rfc3339(),
        end: until.start().rfc3339(),
        state: span.map(|span| span.last.state),
        score: span.and_then(Span::mean_score).map(number),
        proven: count(|span| span.proven),
        observed: count(|span| span.observed),
        epochs: count(Span::epochs),
        valid: count(|span| span.valid),
        pending: count(|span| span.pending),
        invalid: count(|span| span.invalid),
        multiplier: span.and_then(|span| span.multiplier).map(|multiplier| f64::from(multiplier.ten_thousandths(params)) / 10_000.0),
        accrued: pico(accrued, paid_in)?,
        currency,
        // Credits have the places of USDT.
        credits: pico(credits, Currency::Usdt)?,
        partial,
    })
}
