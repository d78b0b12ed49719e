//! Scores of the whole fleet: how they spread now and how they went, and the parameters they are made with.

use axum::extract::State;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Query};
use super::reads;
use super::score_parts::PootParams;
use super::state::AppState;
use crate::domain::fleet_score::{FleetScores, HistoryBucket, history};
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::poot::ScoreState;
use crate::domain::time::Now;
use crate::storage::core::{epochs, nodes};
use crate::storage::fault::Fault;
use crate::storage::present::Standings;

/// Nodes listed as the lowest.
const LOWEST: usize = 5;
/// Points of score in one bin.
const BIN_WIDTH: u8 = 10;

/// Nodes whose score is in `[from, to)`; the last bin holds 100 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ScoreBin {
    pub from: u8,
    pub to: u8,
    pub nodes: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LowScore {
    pub node_id: String,
    pub name: String,
    /// 0 to 100.
    pub score: f64,
    pub state: ScoreState,
}

/// The scores of all nodes now. A node that no epoch has scored yet is pending.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PootOverview {
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// Of valid and invalid nodes, 0 to 100; null while there are none.
    pub median_score: Option<f64>,
    /// The same, rounded to two decimals once.
    pub mean_score: Option<f64>,
    /// A tenth of those nodes have this score or a lower one.
    pub p10_score: Option<f64>,
    /// Nine tenths of them have this score or a lower one.
    pub p90_score: Option<f64>,
    /// Ten bins, lowest first; of valid and invalid nodes.
    pub distribution: Vec<ScoreBin>,
    /// At most five, lowest first; of valid and invalid nodes.
    pub lowest: Vec<LowScore>,
}

impl PootOverview {
    pub fn of(nodes: &[Node], standings: &Standings) -> PootOverview {
        let scores = FleetScores::of(nodes.iter().map(|node| standings.of(node.index).leaf.map(|leaf| leaf.score)));
        let known = |node| standings.of(node).known_score();
        let mut lowest: Vec<_> = nodes.iter().filter_map(|node| known(node.index).map(|score| (score, node))).collect();
        lowest.sort_by_key(|(score, node)| (score.score_hundredths, node.index));
        let low = |(score, node): (crate::domain::poot::Score, &Node)| LowScore {
            node_id: node.id.to_string(),
            name: node.name.clone(),
            score: score.score().to_f64().unwrap_or_default(),
            state: score.state,
        };
        let starts = (0..).step_by(usize::from(BIN_WIDTH));
        PootOverview {
            valid: scores.counts.valid,
            pending: scores.counts.pending,
            invalid: scores.counts.invalid,
            median_score: scores.median().and_then(|median| median.to_f64()),
            mean_score: scores.mean().and_then(|mean| mean.to_f64()),
            p10_score: scores.percentile(10).and_then(|score| score.to_f64()),
            p90_score: scores.percentile(90).and_then(|score| score.to_f64()),
            distribution: starts.zip(scores.distribution()).map(|(from, nodes)| ScoreBin { from, to: from + BIN_WIDTH, nodes }).collect(),
            lowest: lowest.into_iter().take(LOWEST).map(low).collect(),
        }
    }
}

/// Where every one of these nodes stands.
pub fn standings(state: &AppState, nodes: &[Node], now: Now) -> Result<Standings, Fault> {
    let indices: Vec<NodeIndex> = nodes.iter().map(|node| node.index).collect();
    Standings::load(&state.store, &indices, state.settings().poot, now)
}

/// How far back a summary looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
pub enum HistoryRange {
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
    #[serde(rename = "90d")]
    Quarter,
}

impl HistoryRange {
    /// Slots of the range, and of a bucket that makes at most 200 of it.
    fn shape(self) -> (u32, u32) {
        const HOUR: u32 = 120;
        match self {
            HistoryRange::Day => (24 * HOUR, HOUR / 6),
            HistoryRange::Week => (7 * 24 * HOUR, HOUR),
            HistoryRange::Month => (30 * 24 * HOUR, 4 * HOUR),
            HistoryRange::Quarter => (90 * 24 * HOUR, 12 * HOUR),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SummaryQuery {
    /// Default: `24h`.
    #[serde(default)]
    #[param(value_type = Option<HistoryRange>)]
    range: HistoryRange,
}

/// The epochs that begin in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PootHistoryPoint {
    pub at: String,
    pub end: String,
    /// Of the last epoch in it that was observed; 0 where the manager was away all the time.
    pub nodes: u32,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// Epochs that were observed.
    pub epochs: u32,
    /// Epochs in which the manager was away: nobody was observed.
    pub gap_epochs: u32,
}

impl From<HistoryBucket> for PootHistoryPoint {
    fn from(bucket: HistoryBucket) -> PootHistoryPoint {
        let counts = bucket.counts;
        PootHistoryPoint {
            at: bucket.start.start().rfc3339(),
            end: bucket.end.start().rfc3339(),
            nodes: counts.nodes(),
            valid: counts.valid,
            pending: counts.pending,
            invalid: counts.invalid,
            epochs: bucket.epochs,
            gap_epochs: bucket.gap_epochs,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PootSummaryAnswer {
    pub at: String,
    #[serde(flatten)]
    pub now: PootOverview,
    /// Oldest first, at most 200; stretches in which no epoch begins are left out.
    pub history: Vec<PootHistoryPoint>,
    /// Of the last epoch; before the first, those in force for it.
    pub params: PootParams,
}

/// The scores of the fleet, and how they went
#[utoipa::path(get, path = "/poot/summary", tag = "poot", security(("access" = ["poot:read"])), params(SummaryQuery), responses((status = 200, body = PootSummaryAnswer), (status = 400, body = ErrorBody)))]
pub async fn summary(State(state): State<AppState>, Query(query): Query<SummaryQuery>) -> Result<Json<PootSummaryAnswer>, ApiError> {
    reads::long(&state, move |state| {
        let now = state.now();
        let (slots, bucket) = query.range.shape();
        let until = now.wall.slot().plus(1);
        // Whole buckets, the present one included.
        let oldest = until.minus(slots);
        let from = oldest.plus((bucket - oldest.0 % bucket) % bucket);
        let core = state.store.read()?;
        let nodes = nodes::all(&core)?;
        let standings = standings(state, &nodes, now)?;
        let buckets = history(&epochs::reaching(&core, from)?, from, until, bucket);
        Ok(Json(PootSummaryAnswer {
            at: now.wall.rfc3339(),
            now: PootOverview::of(&nodes, &standings),
            history: buckets.into_iter().map(PootHistoryPoint::from).collect(),
            params: PootParams::from(&standings.params),
        }))
    })
    .await
}
