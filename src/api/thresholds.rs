//! Thresholds of nodes and pools: what is in force, where it comes from, and setting it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::nodes::{node_id, published};
use super::pools::pool_id;
use super::reads;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::threshold::{Limits, MAX_DURATION_SECONDS, MAX_HYSTERESIS, Metric, Origin, Tenths, ThresholdSet, Thresholds};
use crate::live::Change;
use crate::storage::core::{pools, thresholds};

/// Both, in the unit of the metric, with at most one decimal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdLimits {
    #[schema(example = 85.0)]
    warning: f64,
    #[schema(example = 95.0)]
    critical: f64,
}

/// Replaces everything that was set; what is absent is inherited from the pool, or is the default.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdsRequest {
    /// Default 85 and 95.
    cpu_percent: Option<ThresholdLimits>,
    /// Default 85 and 95.
    memory_percent: Option<ThresholdLimits>,
    /// Default 85 and 95.
    disk_percent: Option<ThresholdLimits>,
    /// Default 50 and 80.
    swap_percent: Option<ThresholdLimits>,
    /// Default 75 and 85.
    temperature_celsius: Option<ThresholdLimits>,
    /// A value must reach its limit this long before it is worth an alert. Default 300.
    #[schema(minimum = 0, maximum = 3600)]
    duration_seconds: Option<u32>,
    /// Points that a value must fall below its limit before the alert is over. Default 5.
    #[schema(minimum = 0, maximum = 50)]
    hysteresis: Option<f64>,
}

impl ThresholdsRequest {
    /// What is set, and every rule that one field breaks by itself.
    fn parse(&self, errors: &mut FieldErrors) -> ThresholdSet {
        let given = [
            (Metric::CpuPercent, self.cpu_percent),
            (Metric::MemoryPercent, self.memory_percent),
            (Metric::DiskPercent, self.disk_percent),
            (Metric::SwapPercent, self.swap_percent),
            (Metric::TemperatureCelsius, self.temperature_celsius),
        ];
        let mut set = ThresholdSet::default();
        for (metric, limits) in given {
            let Some(limits) = limits else { continue };
            let mut read = |field: &str, value: f64| {
                let (range, place) = (metric.range(), format!("{}.{field}", metric.name()));
                let parsed = Tenths::exact(value, range.clone());
                let allowed = format!("must be {} to {}, with at most one decimal", range.start(), range.end());
                errors.require(parsed.is_some(), &place, allowed);
                parsed
            };
            if let (Some(warning), Some(critical)) = (read("warning", limits.warning), read("critical", limits.critical)) {
                set.limits.push((metric, Limits { warning, critical }));
            }
        }
        let duration = self.duration_seconds.is_none_or(|seconds| seconds <= MAX_DURATION_SECONDS);
        errors.require(duration, "duration_seconds", format!("must be 0 to {MAX_DURATION_SECONDS}"));
        set.duration_seconds = self.duration_seconds;
        set.hysteresis = self.hysteresis.and_then(|points| {
            let parsed = Tenths::exact(points, 0..=MAX_HYSTERESIS);
            errors.require(parsed.is_some(), "hysteresis", format!("must be 0 to {MAX_HYSTERESIS}, with at most one decimal"));
            parsed
        });
        set
    }
}

/// Limits in force, and where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ThresholdInForce {
    #[schema(example = 85.0)]
    warning: f64,
    #[schema(example = 95.0)]
    critical: f64,
    from: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DurationInForce {
    seconds: u32,
    from: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HysteresisInForce {
    points: f64,
    from: Origin,
}

/// What is in force. An alert is raised when a value reaches a limit for the whole duration, and is over when it fell below the limit by the hysteresis.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ThresholdsView {
    cpu_percent: ThresholdInForce,
    memory_percent: ThresholdInForce,
    disk_percent: ThresholdInForce,
    swap_percent: ThresholdInForce,
    temperature_celsius: ThresholdInForce,
    duration: DurationInForce,
    hysteresis: HysteresisInForce,
}

impl From<Thresholds> for ThresholdsView {
    fn from(all: Thresholds) -> ThresholdsView {
        let of = |metric| {
            let (limits, from) = all.limits(metric);
            ThresholdInForce { warning: limits.warning.value(), critical: limits.critical.value(), from }
        };
        ThresholdsView {
            cpu_percent: of(Metric::CpuPercent),
            memory_percent: of(Metric::MemoryPercent),
            disk_percent: of(Metric::DiskPercent),
            swap_percent: of(Metric::SwapPercent),
            temperature_celsius: of(Metric::TemperatureCelsius),
            duration: DurationInForce { seconds: all.duration_seconds.0, from: all.duration_seconds.1 },
            hysteresis: HysteresisInForce { points: all.hysteresis.0.value(), from: all.hysteresis.1 },
        }
    }
}

/// Thresholds of a node's alerts
#[utoipa::path(get, path = "/nodes/{id}/resources/thresholds", tag = "resources", security(("access" = ["resource:read"])),
    params(("id" = String, Path)), responses((status = 200, body = ThresholdsView), (status = 404, body = ErrorBody)))]
pub async fn of_node(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ThresholdsView>, ApiError> {
    let node = reads::node(&state, &id)?;
    Ok(Json(thresholds::effective(&state.store.read()?, node.index, node.pool_now())?.into()))
}

/// Set the thresholds of a node's alerts
#[utoipa::path(put, path = "/nodes/{id}/resources/thresholds", tag = "resources", security(("access" = ["resource:write"])),
    params(("id" = String, Path)), request_body = ThresholdsRequest,
    responses((status = 200, body = ThresholdsView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn set_of_node(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<ThresholdsRequest>,
) -> Result<Json<ThresholdsView>, ApiError> {
    let id = node_id(&id)?;
    let read = state.store.read()?;
    let node = crate::storage::core::nodes::by_id(&read, &id)?.ok_or(Refusal::NodeNotFound)?;
    let of_pool = node.pool_now().map_or(Ok(None), |pool| thresholds::of_pool(&read, pool))?;
    let set = asked.check(|asked, errors| {
        let set = asked.parse(errors);
        Thresholds::effective(Some(&set), of_pool.as_ref()).check(errors);
        set
    })?;
    let (act, changed) = (caller.act(state.now()), id.clone());
    let in_force = state.store.write(move |tx| thresholds::set_node(tx, &act, &id, &set)).await?;
    published(&state, &changed, Change::Updated);
    Ok(Json(in_force.into()))
}

/// Thresholds that the nodes of a pool inherit
#[utoipa::path(get, path = "/nodes/pools/{pool_id}/thresholds", tag = "pools", security(("access" = ["pool:read"])),
    params(("pool_id" = String, Path)), responses((status = 200, body = ThresholdsView), (status = 404, body = ErrorBody)))]
pub async fn of_pool(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ThresholdsView>, ApiError> {
    let read = state.store.read()?;
    let pool = pools::by_id(&read, &pool_id(&id)?)?.ok_or(Refusal::PoolNotFound)?;
    Ok(Json(Thresholds::effective(None, thresholds::of_pool(&read, pool.index)?.as_ref()).into()))
}

/// Set the thresholds that the nodes of a pool inherit
#[utoipa::path(put, path = "/nodes/pools/{pool_id}/thresholds", tag = "pools", security(("access" = ["pool:write"])),
    params(("pool_id" = String, Path)), request_body = ThresholdsRequest,
    responses((status = 200, body = ThresholdsView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn set_of_pool(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<ThresholdsRequest>,
) -> Result<Json<ThresholdsView>, ApiError> {
    let id = pool_id(&id)?;
    let set = asked.check(|asked, errors| {
        let set = asked.parse(errors);
        Thresholds::effective(None, Some(&set)).check(errors);
        set
    })?;
    let act = caller.act(state.now());
    Ok(Json(state.store.write(move |tx| thresholds::set_pool(tx, &act, &id, &set)).await?.into()))
}
