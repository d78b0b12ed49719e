//! One metric of a pool's members, laid over each other.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::word;
use super::pools::pool_id;
use super::reads;
use super::state::AppState;
use crate::domain::overlay::{Aggregate, Metric, Steps, aggregates};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::storage::core::pools;
use crate::storage::overlay;

/// Lines of one answer.
const MAX_LINES: usize = 20;
/// Members that the mean is made of, at most; of a larger pool those that were made first.
const MAX_MEMBERS: usize = 1_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OverlayQuery {
    /// Default: `cpu`.
    #[param(value_type = Option<Metric>)]
    metric: Option<String>,
    /// Default: `1h`. Steps of 30 s, 5 min, 1 h and 3 h.
    #[param(value_type = Option<OverlayRange>)]
    range: Option<String>,
}

/// How far back lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[schema(default = "1h")]
pub enum OverlayRange {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

impl OverlayQuery {
    /// The metric, and slots of the range and of a step.
    fn check(self) -> Result<(Metric, u32, u32), Refusal> {
        let mut errors = FieldErrors::default();
        let metrics = "cpu, memory, disk, network_in, network_out or temperature";
        let metric = word(&mut errors, "metric", self.metric.as_deref(), metrics).unwrap_or(Metric::Cpu);
        let range = word(&mut errors, "range", self.range.as_deref(), "1h, 24h, 7d or 30d").unwrap_or(OverlayRange::Hour);
        errors.finish()?;
        let (slots, step) = match range {
            OverlayRange::Hour => (120, 1),
            OverlayRange::Day => (2_880, 10),
            OverlayRange::Week => (7 * 2_880, 120),
            OverlayRange::Month => (30 * 2_880, 360),
        };
        Ok((metric, slots, step))
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PoolMetrics {
    pub pool_id: String,
    pub metric: Metric,
    /// `percent`, `bytes_per_second` or `celsius`.
    pub unit: &'static str,
    /// RFC 3339, UTC; start of the first step.
    pub start_time: String,
    /// End of the last step, which may still go on.
    pub end_time: String,
    pub step_seconds: i64,
    pub members_total: u32,
    /// Members that `mean` is made of.
    pub members_in_mean: u32,
    /// At most 20: those with the highest latest value, highest first.
    pub series: Vec<MemberSeries>,
    /// Of the members that are known at a step, a value per step.
    pub mean: Vec<Option<f64>>,
    /// What the same members come to together.
    pub total: Vec<Option<f64>>,
    /// The lowest value that 95 % of them do not exceed.
    pub p95: Vec<Option<f64>>,
    /// How many members are behind each of them.
    pub mean_members: Vec<u32>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MemberSeries {
    pub node_id: String,
    pub name: String,
    /// A value per step; null where nothing is known.
    pub values: Vec<Option<f64>>,
}

/// One metric of a pool's members
#[utoipa::path(get, path = "/nodes/pools/{pool_id}/resources/metrics", tag = "pools", security(("access" = ["pool:read"])), params(("pool_id" = String, Path), OverlayQuery),
    responses((status = 200, body = PoolMetrics), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<OverlayQuery>,
) -> Result<Json<PoolMetrics>, ApiError> {
    let (metric, slots, step) = query.check()?;
    let id = pool_id(&id)?;
    reads::long(&state, move |state| {
        let core = state.store.read()?;
        let pool = pools::by_id(&core, &id)?.ok_or(Refusal::PoolNotFound)?;
        // Rows of nodes are long: the directory has all that a chart shows of them.
        let members = state.store.directory.select(|node| *node.pool.latest() == Some(pool.index));
        let total = members.len();
        let shown = members.get(..MAX_MEMBERS).unwrap_or(&members);
        let steps = Steps::ending(state.now().wall.slot(), slots, step);
        let indices: Vec<_> = shown.iter().map(|node| node.index).collect();
        let lines = overlay::lines(&state.store, &indices, metric, steps)?;
        let count = usize::try_from(steps.count).unwrap_or(0);
        let mut all = aggregates(&lines, count);
        // Not everybody has reported in the slot that goes on: what the first few come to would jump.
        if let Some(newest) = all.last_mut().filter(|_| step == 1) {
            *newest = Aggregate::default();
        }
        let latest = |values: &[Option<f64>]| values.iter().rev().find_map(|value| *value);
        let mut series: Vec<(Option<f64>, MemberSeries)> = shown
            .iter()
            .zip(lines)
            .map(|(node, values)| (latest(&values), MemberSeries { node_id: node.id.to_string(), name: node.name.clone(), values }))
            .collect();
        series.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
        series.truncate(MAX_LINES);
        Ok(Json(PoolMetrics {
            pool_id: id.to_string(),
            metric,
            unit: metric.unit(),
            start_time: steps.first.start().rfc3339(),
            end_time: steps.end().start().rfc3339(),
            step_seconds: steps.seconds(),
            members_total: u32::try_from(total).unwrap_or(u32::MAX),
            members_in_mean: u32::try_from(indices.len()).unwrap_or(u32::MAX),
            series: series.into_iter().map(|(_, series)| series).collect(),
            mean: all.iter().map(|step| step.mean).collect(),
            total: all.iter().map(|step| step.sum).collect(),
            p95: all.iter().map(|step| step.p95).collect(),
            mean_members: all.iter().map(|step| step.members).collect(),
        }))
    })
    .await
}
