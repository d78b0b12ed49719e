//! `/metrics` for Prometheus: what was counted since the start, and the present state of the fleet.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;

use super::middleware::RequestInfo;
use super::state::AppState;
use crate::domain::node::{Observed, observe};
use crate::live::{Family, Gauge, LatestSample, Metrics};
use crate::storage::NodeEntry;

/// Nodes whose samples are shown; larger fleets read them through the API.
const NODES_SHOWN: usize = 1_000;

/// Counts one answered request. `route` is the pattern that matched, so that paths cannot make endless series.
pub fn record(metrics: &Metrics, method: &Method, route: &str, status: StatusCode, took: Duration) {
    let method = match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::PATCH => method.as_str(),
        _ => "OTHER",
    };
    metrics.count(Family::HttpRequests, &[("method", method), ("endpoint", route), ("status_code", status.as_str())]);
    metrics.observe(Family::HttpDuration, &[("method", method), ("endpoint", route)], took);
    if let Some(operation) = node_operation(method, route) {
        // A machine that waits for an admin is no node yet; it asks again, many times.
        if status == StatusCode::ACCEPTED && operation == "enrol" {
            return;
        }
        let outcome = if status.is_success() { "success" } else { "failure" };
        metrics.count(Family::NodeOperations, &[("operation", operation), ("status", outcome)]);
    }
}

fn node_operation(method: &str, route: &str) -> Option<&'static str> {
    match (method, route.strip_prefix("/api/v1/")?) {
        ("POST", "nodes") => Some("create"),
        ("PUT", "nodes/{id}") => Some("update"),
        ("DELETE", "nodes/{id}") => Some("delete"),
        ("POST", "nodes/{id}/start") => Some("start"),
        ("POST", "nodes/{id}/stop") => Some("stop"),
        ("POST", "nodes/{id}/restart") => Some("restart"),
        ("POST", "nodes/{id}/fingerprint/accept") => Some("accept_fingerprint"),
        ("POST", "agent/enrol") => Some("enrol"),
        ("POST", "nodes/pools/{pool_id}/nodes" | "pools/{id}/join") => Some("join_pool"),
        ("DELETE", "nodes/pools/{pool_id}/nodes/{node_id}") => Some("leave_pool"),
        _ => None,
    }
}

/// The present state, computed for this scrape; what single nodes do is for who may see it.
fn gauges(state: &AppState, of_nodes: bool) -> Vec<Gauge> {
    let now = state.now();
    let nodes = state.store.directory.all();
    let mut gauges = Vec::new();
    let heard = nodes.iter().filter(|node| {
        let last = state.store.intake.last_report(node.index);
        observe(last, now.wall, true) == Observed::Active
    });
    let heard = u32::try_from(heard.count()).unwrap_or(u32::MAX);
    gauges.push(Gauge { family: Family::ActiveNodes, labels: vec![], value: f64::from(heard) });
    for (file, commits) in [("core", state.store.core.commits()), ("hot", state.store.hot.commits())] {
        let labels = vec![("file", file.to_owned()), ("operation", "commit".to_owned())];
        gauges.push(Gauge { family: Family::DatabaseOperations, labels, value: float(commits) });
    }
    gauges.extend(storage(state));
    if of_nodes {
        gauges.extend(samples(state, &nodes));
    }
    // What cannot be read is missing from this scrape; the store's own health says why.
    if of_nodes {
        gauges.extend(super::gauges::poot_scores(state, NODES_SHOWN).unwrap_or_default());
    }
    gauges.extend(super::gauges::payouts(state).unwrap_or_default());
    gauges.extend(super::gauges::replication(state).unwrap_or_default());
    gauges
}

/// What the disk does not tell is left out.
fn storage(state: &AppState) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    if let Ok(figures) = state.store.figures(None) {
        for (kind, bytes) in [("total", figures.total), ("free", figures.free), ("store", figures.store)] {
            gauges.push(Gauge { family: Family::StorageBytes, labels: vec![("kind", kind.to_owned())], value: float(bytes) });
        }
    }
    if let Ok(wear) = state.store.wear(state.now()) {
        gauges.push(Gauge { family: Family::StorageWritten, labels: vec![], value: float(wear.total) });
    }
    gauges
}

/// The latest sample of each node.
fn samples(state: &AppState, nodes: &[Arc<NodeEntry>]) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    for node in nodes.iter().take(NODES_SHOWN) {
        let Some(latest) = state.store.intake.latest(node.index) else { continue };
        let sample = LatestSample::of(latest.at, &latest.sample);
        let values = [
            ("cpu", "percent", sample.cpu_usage_percent),
            ("memory", "bytes", sample.memory_used_bytes.map(float)),
            ("disk", "bytes", sample.disk_used_bytes.map(float)),
            ("temperature", "celsius", sample.temperature_celsius),
        ];
        for (resource, unit, value) in values {
            let Some(value) = value.filter(|value| value.is_finite()) else { continue };
            let labels = vec![("node_id", node.id.to_string()), ("resource_type", resource.to_owned()), ("unit", unit.to_owned())];
            gauges.push(Gauge { family: Family::ResourceUsage, labels, value });
        }
    }
    gauges
}

/// Prometheus counts in floats; beyond 2^53 the last digits go.
#[expect(clippy::cast_precision_loss, reason = "a measurement for a chart")]
pub fn float(value: u64) -> f64 {
    value as f64
}

/// Numbers for Prometheus
///
/// For everybody who reaches this port. Numbers of single nodes (`resource_usage`, `poot_scores`) are told on this machine, and on a listener for
/// operations (`server.ops_listen`), which then answers this route alone.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn show(State(state): State<AppState>, request: RequestInfo) -> impl IntoResponse {
    // With a listener of its own this route is answered there and nowhere else.
    let of_nodes = state.settings().transport.separate.ops || request.address.is_loopback();
    let text = state.metrics.render(&gauges(&state, of_nodes));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
