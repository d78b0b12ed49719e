//! Who did most: nodes ranked by work credits or by score.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Query};
use super::listing::word;
use super::page::{Page, PageQuery, Pagination};
use super::poot::{fraction, number, pico};
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::evidence::{day_of, day_start};
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Overflow, Pico};
use crate::domain::node::Node;
use crate::domain::poot::ScoreState;
use crate::domain::refusal::FieldErrors;
use crate::domain::span::Span;
use crate::domain::time::Slot;
use crate::storage::core::nodes;
use crate::storage::fault::Fault;
use crate::storage::hot::{days, hours};
use crate::storage::spans;
use crate::storage::table::Read;

/// How far back a ranking looks, in whole hours, the running one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = LeaderboardPeriod, default = "7d")]
pub enum Period {
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
    #[serde(rename = "all")]
    All,
}

impl Period {
    fn hours(self) -> Option<u32> {
        match self {
            Period::Day => Some(24),
            Period::Week => Some(7 * 24),
            Period::Month => Some(30 * 24),
            Period::All => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeaderboardBy, default = "credits")]
pub enum By {
    Credits,
    Score,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LeaderboardQuery {
    /// Default: `7d`.
    #[param(value_type = Option<Period>)]
    period: Option<String>,
    /// Default: `credits`.
    #[param(value_type = Option<By>)]
    by: Option<String>,
}

/// One place of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Ranked {
    /// Equals share a rank, and the next one comes after all of them: 1, 2, 2, 4.
    pub rank: u32,
    pub node_id: String,
    pub name: String,
    pub pool_id: Option<String>,
    /// Work credits of the period, exact: an hour of operation at score 100 and multiplier 1 is one.
    #[schema(example = "167.25")]
    pub credits: String,
    /// Mean of the period's epochs that had a score, 0 to 100, two decimals; null where none had.
    pub score: Option<f64>,
    /// Of the last epoch.
    pub state: ScoreState,
    /// Proven of observed time, four decimals; null where it was never observed.
    pub uptime: Option<f64>,
    pub proven_slots: u32,
    pub observed_slots: u32,
    /// Earned in the period in the currency of its pool, held amounts of pending epochs included.
    pub accrued: String,
    pub currency: Option<Currency>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Leaderboard {
    pub period: Period,
    pub by: By,
    /// Epochs that begin at this time or later; null while there is none.
    pub from: Option<String>,
    pub nodes: Vec<Ranked>,
    pub pagination: Pagination,
}

/// Who did most
///
/// Nodes that exist now and had an epoch in the period; by score, those that had a score in it. Nodes that were deleted have no rank. Equals stand in the order in which they were made.
#[utoipa::path(get, path = "/poot/leaderboard", tag = "poot", security(("access" = ["poot:read"])), params(PageQuery, LeaderboardQuery), responses((status = 200, body = Leaderboard), (status = 400, body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, page: Page, Query(query): Query<LeaderboardQuery>) -> Result<Json<Leaderboard>, ApiError> {
    let mut errors = FieldErrors::default();
    let period = word(&mut errors, "period", query.period.as_deref(), "24h, 7d, 30d or all").unwrap_or(Period::Week);
    let by = word(&mut errors, "by", query.by.as_deref(), "credits or score").unwrap_or(By::Credits);
    errors.finish()?;
    let list = reads::long(&state, move |state| {
        let now = state.now().wall.slot();
        let core = state.store.read()?;
        let (from, sums) = sums(&core, &state.store.hot.read()?, period, now)?;
        let existing: BTreeMap<NodeIndex, Node> = nodes::all(&core)?.into_iter().map(|node| (node.index, node)).collect();
        let spans = sums.into_values().filter(|span| existing.contains_key(&span.node)).collect();
        let ranks = ranked(spans, by).map_err(broken)?;
        let (rows, pagination) = page.slice(ranks);
        let mut names = Names::new(&core);
        let mut shown = Vec::with_capacity(rows.len());
        for row in &rows {
            let pool = existing.get(&row.span.node).and_then(|node| *node.pool.latest());
            let pool_id = pool.map(|pool| names.pool(pool)).transpose()?.map(|pool| pool.id);
            shown.push(view(row, names.node(row.span.node)?, pool_id)?);
        }
        Ok(Leaderboard { period, by, from: from.map(|slot| slot.start().rfc3339()), nodes: shown, pagination })
    });
    Ok(Json(list.await?))
}

fn broken(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}

/// What every node did in the period, and since when that is known.
fn sums(core: &impl Read, hot: &impl Read, period: Period, now: Slot) -> Result<(Option<Slot>, BTreeMap<NodeIndex, Span>), Fault> {
    let until = now.plus(1);
    if let Some(hours_back) = period.hours() {
        let from = hours::first_slot(hours::hour_of(now).saturating_sub(hours_back));
        let sums = spans::of_all(core, hot, from, until)?;
        return Ok(((!sums.is_empty()).then_some(from), sums));
    }
    let totals = days::totals(hot)?;
    let first_day = totals.iter().map(|total| total.first_day).min();
    let mut sums: BTreeMap<NodeIndex, Span> = totals.into_iter().map(|total| (total.span.node, total.span)).collect();
    let open_from = day_start(hours::rolled(hot)?.days_before);
    // Before anything is rolled up, the beginning is the first epoch there is.
    let first = crate::storage::core::epochs::first_after(core, open_from.0)?.map(|head| head.epoch.first_slot());
    let since = first.map_or(open_from, |first| day_start(day_of(first)));
    spans::add(&mut sums, core, hot, since, until)?;
    let from = first_day.map(day_start).or((!sums.is_empty()).then_some(since));
    Ok((from, sums))
}

struct Place {
    rank: u32,
    span: Span,
    credits: Pico,
}

/// In the order of the ranking; equals by age.
fn ranked(spans: Vec<Span>, by: By) -> Result<Vec<Place>, Overflow> {
    let mut places = Vec::with_capacity(spans.len());
    for span in spans {
        if by == By::Credits || span.mean_score().is_some() {
            places.push(Place { rank: 0, credits: span.credits()?, span });
        }
    }
    let order = |a: &Place, b: &Place| match by {
        By::Credits => b.credits.0.cmp(&a.credits.0),
        By::Score => by_mean(&b.span, &a.span),
    };
    places.sort_by(|a, b| order(a, b).then(a.span.node.cmp(&b.span.node)));
    let mut rank = 0;
    for at in 0..places.len() {
        if at == 0 || order(&places[at - 1], &places[at]) != Ordering::Equal {
            rank = u32::try_from(at + 1).unwrap_or(u32::MAX);
        }
        places[at].rank = rank;
    }
    Ok(places)
}

/// Exact, before any rounding.
fn by_mean(a: &Span, b: &Span) -> Ordering {
    let times = |sum: u64, count: u32| u128::from(sum) * u128::from(count);
    times(a.score_sum, b.scored()).cmp(&times(b.score_sum, a.scored()))
}

fn view(place: &Place, node: super::reads::Named, pool_id: Option<String>) -> Result<Ranked, Fault> {
    let span = &place.span;
    let currency = span.currency();
    let paid_in = currency.unwrap_or(Currency::Usdt);
    Ok(Ranked {
        rank: place.rank,
        node_id: node.id,
        name: node.name,
        pool_id,
        // Credits have the places of USDT.
        credits: pico(place.credits, Currency::Usdt)?,
        score: span.mean_score().map(number),
        state: span.last.state,
        uptime: fraction(span.proven, span.observed),
        proven_slots: span.proven,
        observed_slots: span.observed,
        accrued: pico(span.accrued(paid_in).map_err(broken)?, paid_in)?,
        currency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::poot::Score;
    use crate::domain::span::Share;

    fn span(node: u32, credits: i128, score_sum: u64, valid: u32) -> Span {
        let share = Share { pool: None, currency: Currency::Usdt, proven: 0, accrued: Pico::ZERO, credits: Pico(credits) };
        let last = Score { state: ScoreState::Valid, score_hundredths: 0, confidence_hundredths: 0 };
        let counts = (valid, u32::from(valid == 0));
        Span {
            node: NodeIndex(node),
            proven: 0,
            observed: 0,
            valid: counts.0,
            pending: counts.1,
            invalid: 0,
            score_sum,
            last,
            multiplier: None,
            shares: vec![share],
        }
    }

    #[test]
    fn equals_share_a_rank_and_stand_by_age() {
        let spans = || vec![span(4, 10, 100, 3), span(1, 20, 200, 6), span(2, 20, 0, 0), span(3, 30, 34, 1)];
        let of = |by| ranked(spans(), by).unwrap().iter().map(|place| (place.rank, place.span.node.0)).collect::<Vec<_>>();
        assert_eq!(of(By::Credits), [(1, 3), (2, 1), (2, 2), (4, 4)]);
        assert_eq!(of(By::Score), [(1, 3), (2, 1), (2, 4)], "thirds are equal however many epochs; without a score there is no rank");
    }
}
