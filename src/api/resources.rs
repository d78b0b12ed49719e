//! Measurements of a node: the present one, and series of past ones.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::json::{Json, Path, Query};
use super::listing::time;
use super::reads;
use super::state::AppState;
use crate::domain::ids::{NodeId, NodeIndex};
use crate::domain::metrics::{Cpu, Disk, Gpu, Memory, Network, Sample};
use crate::domain::node::Node;
use crate::domain::refusal::FieldErrors;
use crate::domain::series::{Bucket, Extremes, Gauge, Granularity};
use crate::domain::time::{Now, Slot, Timestamp};
use crate::storage::hot::{Parts, Point};
use crate::storage::present;

/// Points of one answer.
pub const MAX_POINTS: u32 = 1_000;
/// A node that has not reported for so long shows old values.
pub const STALE_AFTER_SECONDS: i64 = 90;
/// A series of at most an hour is read at once; a longer one takes its turn beside the requests.
const SHORT_SLOTS: u32 = 120;
const DEFAULT_RANGE_SECONDS: i64 = 3_600;

/// One measurement, or the aggregate of a bucket: gauges as means, counters as last values. What a machine does not have is null. Buckets of an hour or more may come
/// without interfaces.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResourceMetrics {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "node_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    pub node_id: String,
    /// RFC 3339, UTC; of a bucket its start.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub timestamp: String,
    /// Some of it came from the node's spool, after its time: shown, never counted as proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<bool>,
    /// Samples that the bucket lacks, where it lacks some: its last counts may be as much older than its end, and so rates from one bucket to the next wrong by as much. One that is not over
    /// lacks those that are still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Lowest values of a bucket of an hour or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Box<Extreme>>,
    /// Highest values of a bucket of an hour or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Box<Extreme>>,
}

/// Of what charts draw as a band. What hours of an earlier release did not keep is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Extreme {
    pub cpu_usage_percent: Option<f64>,
    pub memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_mhz: Option<f64>,
    /// Of one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_average: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_cached_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_throughput_mbps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_throughput_mbps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_usage_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_temperature_celsius: Option<f64>,
}

impl Extreme {
    /// `pick` takes the lowest or the highest of a gauge.
    fn of(extremes: &Extremes, pick: impl Fn((f64, f64)) -> f64) -> Extreme {
        let of = |gauge| extremes.get(gauge).map(&pick);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "was a whole number, not below zero")]
        let whole = |gauge| of(gauge).map(|value| value as u64);
        Extreme {
            cpu_usage_percent: of(Gauge::CpuUsagePercent),
            memory_used_bytes: whole(Gauge::MemoryUsedBytes),
            temperature_celsius: of(Gauge::TemperatureCelsius),
            frequency_mhz: of(Gauge::FrequencyMhz),
            load_average: of(Gauge::LoadAverage),
            memory_cached_bytes: whole(Gauge::MemoryCachedBytes),
            swap_used_bytes: whole(Gauge::SwapUsedBytes),
            disk_used_bytes: whole(Gauge::DiskUsedBytes),
            read_iops: whole(Gauge::ReadIops),
            write_iops: whole(Gauge::WriteIops),
            read_throughput_mbps: of(Gauge::ReadThroughputMbps),
            write_throughput_mbps: of(Gauge::WriteThroughputMbps),
            gpu_usage_percent: of(Gauge::GpuUsagePercent),
            gpu_memory_used_bytes: whole(Gauge::GpuMemoryUsedBytes),
            gpu_temperature_celsius: of(Gauge::GpuTemperatureCelsius),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    Cpu,
    Memory,
    Disk,
    Network,
    Gpu,
}

impl MetricType {
    fn parts(self) -> Parts {
        match self {
            MetricType::Cpu => Parts { cpu: true, ..Parts::NONE },
            MetricType::Memory => Parts { memory: true, ..Parts::NONE },
            MetricType::Disk => Parts { disk: true, ..Parts::NONE },
            MetricType::Network => Parts { network: true, ..Parts::NONE },
            MetricType::Gpu => Parts { gpu: true, ..Parts::NONE },
        }
    }
}

impl ResourceMetrics {
    /// All groups, or the wanted one.
    fn new(node_id: &NodeId, at: Timestamp, late: bool, sample: Sample, only: Option<MetricType>) -> ResourceMetrics {
        let wants = |group| only.is_none_or(|only| only == group);
        let Sample { cpu, memory, disk, network, gpu } = sample;
        ResourceMetrics {
            node_id: node_id.to_string(),
            timestamp: at.rfc3339(),
            late: late.then_some(true),
            missing: None,
            cpu: wants(MetricType::Cpu).then_some(cpu),
            memory: wants(MetricType::Memory).then_some(memory),
            disk: wants(MetricType::Disk).then_some(disk),
            network: wants(MetricType::Network).then_some(network),
            gpu: gpu.filter(|_| wants(MetricType::Gpu)),
            min: None,
            max: None,
        }
    }

    fn of_bucket(node_id: &NodeId, bucket: Bucket, granularity: Granularity, only: Option<MetricType>) -> ResourceMetrics {
        let Bucket { slot, summary } = bucket;
        let mut point = ResourceMetrics::new(node_id, slot.start(), summary.late, summary.sample, only);
        point.missing = Some(granularity.slots().saturating_sub(summary.count)).filter(|missing| *missing > 0);
        if granularity >= Granularity::Hour {
            // Only what is asked for was read.
            point.min = Some(Box::new(Extreme::of(&summary.extremes, |(low, _)| low)));
            point.max = Some(Box::new(Extreme::of(&summary.extremes, |(_, high)| high)));
        }
        point
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TimeRange {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
}

impl TimeRange {
    /// Length in seconds, and the buckets that make a few hundred points of it.
    fn shape(self) -> (i64, Granularity) {
        match self {
            TimeRange::Hour => (3_600, Granularity::HalfMinute),
            TimeRange::SixHours => (6 * 3_600, Granularity::Minute),
            TimeRange::Day => (86_400, Granularity::FiveMinutes),
            TimeRange::Week => (7 * 86_400, Granularity::QuarterHour),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResourcesQuery {
    /// With it the answer has a series: an hour of samples, six of minutes, a day of five minutes or a week of quarters of an hour; of hours where the samples that it begins with
    /// have gone.
    time_range: Option<TimeRange>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Resources {
    pub node_id: String,
    /// The newest sample that the node has told. Until it has reported to this run of the manager, the newest one that is stored, with `stale_since`; null when it was not heard in the last
    /// 72 h.
    pub current: Option<ResourceMetrics>,
    /// When the node was last heard, while that is longer ago than three slots.
    pub stale_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<ResourceMetrics>>,
}

/// What a node measures now
#[utoipa::path(get, path = "/nodes/{id}/resources", tag = "resources", security(("access" = ["resource:read"])), params(("id" = String, Path), ResourcesQuery), responses((status = 200, body = Resources)))]
pub async fn current(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<ResourcesQuery>,
) -> Result<Json<Resources>, ApiError> {
    let Node { id, index: node, .. } = reads::node(&state, &id)?;
    let now = state.now();
    let current = match state.store.intake.latest(node) {
        Some(latest) => Some(ResourceMetrics::new(&id, latest.at, false, latest.sample, None)),
        None => {
            let stored = present::newest(&state.store, node)?;
            stored.map(|Point { slot, late, sample }| ResourceMetrics::new(&id, slot.start(), late, sample, None))
        }
    };
    let stale_since = stale_since(&state, node, now).map(Timestamp::rfc3339);
    let series = match query.time_range {
        None => None,
        Some(range) => {
            let (seconds, granularity) = range.shape();
            let span = Span { start: now.wall.plus_seconds(-seconds), end: now.wall };
            Some(series(&state, &id, node, span, Buckets::From(granularity), None).await?.1)
        }
    };
    Ok(Json(Resources { node_id: id.to_string(), current, stale_since, series }))
}

/// When the node was last heard, while that is too long ago.
fn stale_since(state: &AppState, node: NodeIndex, now: Now) -> Option<Timestamp> {
    state.store.intake.last_report(node).filter(|at| now.wall.since(*at) > STALE_AFTER_SECONDS * 1_000)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// One group only.
    metric_type: Option<MetricType>,
    /// Default: the finest that gives at most 1000 points, and at least `1h` where the samples that the time begins with have gone and its hours are there. What is asked for is
    /// answered as asked: samples that have gone are left out.
    granularity: Option<Granularity>,
    /// RFC 3339; default: an hour before the end.
    #[param(value_type = Option<String>, format = DateTime)]
    start_time: Option<String>,
    /// RFC 3339; default: now.
    #[param(value_type = Option<String>, format = DateTime)]
    end_time: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MetricSeries {
    pub node_id: String,
    pub granularity: Granularity,
    pub start_time: String,
    pub end_time: String,
    /// In order of time; a bucket without data is left out.
    pub metrics: Vec<ResourceMetrics>,
}

/// What a node measured
#[utoipa::path(get, path = "/nodes/{id}/resources/metrics", tag = "resources", security(("access" = ["resource:metrics"])), params(("id" = String, Path), MetricsQuery), responses((status = 200, body = MetricSeries)))]
pub async fn metrics(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<MetricSeries>, ApiError> {
    let Node { id, index: node, .. } = reads::node(&state, &id)?;
    let span = Span::parse(query.start_time.as_deref(), query.end_time.as_deref(), state.now().wall)?;
    let buckets = span.buckets(query.granularity)?;
    let (granularity, metrics) = series(&state, &id, node, span, buckets, query.metric_type).await?;
    let (start_time, end_time) = (span.start.rfc3339(), span.end.rfc3339());
    Ok(Json(MetricSeries { node_id: id.to_string(), granularity, start_time, end_time, metrics }))
}

/// In what a series is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buckets {
    /// As the caller asked.
    Of(Granularity),
    /// Nobody asked: in these, or in hours where samples have gone.
    From(Granularity),
}

/// `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl Span {
    fn parse(start: Option<&str>, end: Option<&str>, now: Timestamp) -> Result<Span, ApiError> {
        let mut errors = FieldErrors::default();
        let (start, end) = (time(&mut errors, "start_time", start), time(&mut errors, "end_time", end));
        let end = end.unwrap_or(now);
        let start = start.unwrap_or(end.plus_seconds(-DEFAULT_RANGE_SECONDS));
        // What is compared with a time that is none says nothing.
        let compared = errors.0.is_empty();
        errors.require(!compared || start < end, "start_time", "must be before end_time");
        errors.finish()?;
        Ok(Span { start, end })
    }

    fn slots(self) -> (Slot, Slot) {
        (self.start.slot(), self.end.plus_ms(-1).slot().plus(1))
    }

    /// The wanted granularity, when it does not give too many points; else the finest that fits.
    fn buckets(self, wanted: Option<Granularity>) -> Result<Buckets, ApiError> {
        let (from, until) = self.slots();
        let mut errors = FieldErrors::default();
        let finest = Granularity::finest(from, until, MAX_POINTS);
        match (wanted, finest) {
            (None, Some(finest)) => return Ok(Buckets::From(finest)),
            (Some(wanted), Some(finest)) if wanted >= finest => return Ok(Buckets::Of(wanted)),
            (Some(wanted), Some(finest)) => {
                let (points, fits) = (wanted.buckets(from, until), finest.as_str());
                errors.add(
                    "granularity",
                    format!("gives {points} points and an answer has at most {MAX_POINTS}: take {fits} or a shorter time"),
                );
            }
            (_, None) => errors.add("start_time", format!("must be at most {} days before end_time", MAX_POINTS * 6 / 24)),
        }
        errors.finish()?;
        Ok(Buckets::Of(Granularity::SixHours))
    }
}

/// With the granularity that it is in.
async fn series(
    state: &AppState,
    id: &NodeId,
    node: NodeIndex,
    span: Span,
    buckets: Buckets,
    only: Option<MetricType>,
) -> Result<(Granularity, Vec<ResourceMetrics>), ApiError> {
    let (from, until) = span.slots();
    // Nothing is measured in the future.
    let until = until.min(state.now().wall.slot().plus(1));
    let (id, parts) = (id.clone(), only.map_or(Parts::ALL, MetricType::parts));
    let read = move |state: &AppState| {
        let granularity = match buckets {
            Buckets::Of(granularity) => granularity,
            Buckets::From(finest) => present::from_fitting_tier(&state.store, node, (from, until), finest)?,
        };
        let mut points = Vec::new();
        let show = |bucket| points.push(ResourceMetrics::of_bucket(&id, bucket, granularity, only));
        // Whole buckets, so that a bucket does not depend on where a query begins.
        let from = granularity.bucket(from);
        if from < until {
            present::series(&state.store, node, (from, until), granularity, parts, show)?;
        }
        Ok((granularity, points))
    };
    if until.0.saturating_sub(from.0) <= SHORT_SLOTS { read(state) } else { reads::long(state, read).await }
}
