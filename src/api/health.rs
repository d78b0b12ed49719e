//! `/health` and its two short forms: is the process alive, can it write, does it know the time.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::error::SERVICE;
use super::json::Json;
use super::state::AppState;

/// Free space below which the manager calls itself degraded, in bytes.
const LOW_DISK_BYTES: u64 = 200_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Degraded,
    Unhealthy,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HealthReport {
    pub status: Health,
    pub service: String,
    pub version: String,
    pub checks: Checks,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Checks {
    pub store: Check,
    pub clock: Check,
    pub disk: Check,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Check {
    pub status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Check {
    fn healthy() -> Check {
        Check { status: Health::Healthy, message: None }
    }

    fn not(status: Health, message: impl Into<String>) -> Check {
        Check { status, message: Some(message.into()) }
    }
}

fn checks(state: &AppState) -> Checks {
    let store = if state.store.core.failed() || state.store.hot.failed() {
        Check::not(Health::Unhealthy, "a write failed; restart to reopen the store")
    } else {
        Check::healthy()
    };
    let clock = match state.clock.why_untrusted() {
        None => Check::healthy(),
        Some(why) => Check::not(Health::Degraded, why.to_string()),
    };
    let disk = match rustix::fs::statvfs(state.store.dir()) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) >= LOW_DISK_BYTES => Check::healthy(),
        Ok(_) => Check::not(Health::Degraded, "less than 200 MB are free"),
        Err(error) => Check::not(Health::Degraded, error.to_string()),
    };
    Checks { store, clock, disk }
}

fn report(state: &AppState) -> HealthReport {
    let checks = checks(state);
    let status = [&checks.store, &checks.clock, &checks.disk].into_iter().map(|c| c.status).max().unwrap_or(Health::Healthy);
    HealthReport { status, service: SERVICE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), checks }
}

fn status_code(health: Health) -> StatusCode {
    if health == Health::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// How the manager is
///
/// 200 when healthy or degraded, 503 when the store cannot write.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200, body = HealthReport), (status = 503, body = HealthReport)))]
pub async fn health(State(state): State<AppState>) -> (StatusCode, Json<HealthReport>) {
    let report = report(&state);
    (status_code(report.status), Json(report))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Probe {
    pub status: &'static str,
}

/// The process answers
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = Probe)))]
pub async fn live() -> Json<Probe> {
    Json(Probe { status: "alive" })
}

/// The manager takes requests: the store can write and the process is not stopping
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses((status = 200, body = Probe), (status = 503, body = Probe)))]
pub async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Probe>) {
    let ready = checks(&state).store.status == Health::Healthy && !*state.stopping.borrow();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Probe { status: if ready { "ready" } else { "not_ready" } }))
}
