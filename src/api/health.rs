//! `/health` and its two short forms: is the process alive, can it write, does it know the time, does it hear its nodes.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::error::SERVICE;
use super::json::Json;
use super::state::AppState;
use crate::domain::node::Wanted;
use crate::domain::pool_health;
use crate::domain::space::Level;
use crate::host::machine::Reading;
use crate::live::{Doing, Status};

/// Free space below which the manager calls itself degraded, in bytes.
const LOW_DISK_BYTES: u64 = 200_000_000;
/// Use of memory or processors beyond which the manager's machine is busy (requirements: the same as for the machines of nodes).
const BUSY_PERCENT: u32 = 95;

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
    pub nodes: NodesCheck,
    /// The manager's own machine.
    pub system: SystemCheck,
    pub external_services: ExternalServices,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Check {
    pub status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodesCheck {
    pub status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of those that are expected, heard in the last 300 s.
    pub heard: u32,
    /// Wanted running, in service, and heard before.
    pub expected: u32,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SystemCheck {
    pub status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What programs could not get; null where the machine does not say.
    pub memory_used_percent: Option<u64>,
    /// Work that ran or waited in the last 5 minutes, as a share of all processors; it may be above 100.
    pub load_percent: Option<f64>,
}

/// What is known of a service outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalState {
    NotConfigured,
    /// Nobody has asked it, or it has not answered yet.
    Unknown,
    /// It answered.
    Healthy,
    /// It does not answer, or does not do what it is there for.
    Unhealthy,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ExternalServices {
    pub payment_service: ExternalState,
    pub blockchain: ExternalState,
    pub mongodb: ExternalState,
}

/// Which services the settings name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct External {
    pub payment_service: bool,
    pub blockchain: bool,
    pub mongodb: bool,
}

impl ExternalServices {
    /// The two that are not asked, and how replication to the third one stands.
    fn new(External { payment_service, blockchain, mongodb }: External, replication: &Status) -> ExternalServices {
        let state = |is_named| if is_named { ExternalState::Unknown } else { ExternalState::NotConfigured };
        let mongodb = if mongodb { of_replication(replication) } else { ExternalState::NotConfigured };
        ExternalServices { payment_service: state(payment_service), blockchain: state(blockchain), mongodb }
    }
}

fn of_replication(status: &Status) -> ExternalState {
    match status.doing {
        Doing::Away | Doing::Second | Doing::Superseded => ExternalState::Unhealthy,
        Doing::Watching | Doing::Copying | Doing::Sending | Doing::Current => ExternalState::Healthy,
        Doing::Paused if status.was_there => ExternalState::Healthy,
        Doing::Off | Doing::Connecting | Doing::Paused => ExternalState::Unknown,
    }
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
    let store = if store_fails(state) {
        Check::not(Health::Unhealthy, "the store does not open again after an I/O error; mend the disk and restart")
    } else if state.store.core.is_down() || state.store.hot.is_down() {
        Check::not(Health::Unhealthy, "the store is being opened again after an I/O error")
    } else if state.store.cold.has_damaged() {
        Check::not(Health::Degraded, "a file of measurements is damaged, and what it has is missing from charts")
    } else {
        Check::healthy()
    };
    let clock = match state.clock.why_untrusted() {
        None => Check::healthy(),
        Some(why) => Check::not(Health::Degraded, why.to_string()),
    };
    let disk = match rustix::fs::statvfs(state.store.dir()) {
        Ok(stat) => disk(state.store.space.level(), stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Check::not(Health::Degraded, error.to_string()),
    };
    let system = system(&state.machine.reading(state.now().boot.0));
    let external_services = ExternalServices::new(state.settings().external, &state.replication.status());
    Checks { store, clock, disk, nodes: nodes(state), system, external_services }
}

/// By the level, which looks at the limit of the store too, and by what is free.
fn disk(level: Level, free_bytes: u64) -> Check {
    match level {
        Level::Critical => Check::not(Health::Degraded, "critical: more than 95 % are used, and metrics are thinned"),
        Level::High => Check::not(Health::Degraded, "high: more than 85 % are used, and the oldest measurements go early where that helps"),
        Level::Ample if free_bytes < LOW_DISK_BYTES => Check::not(Health::Degraded, "less than 200 MB are free"),
        Level::Ample => Check::healthy(),
    }
}

fn store_fails(state: &AppState) -> bool {
    state.store.core.failed() || state.store.hot.failed()
}

/// Of the nodes that are to run and whose time counts, as silence does: who was never heard, and who had no chance to be since the manager listens, is left
/// out.
fn nodes(state: &AppState) -> NodesCheck {
    let (last, now) = (state.store.intake.last_reports(), state.now());
    let silence_known = state.store.intake.silence_known(now);
    let (mut heard, mut expected, mut waits): (u32, u32, bool) = (0, 0, false);
    for entry in state.store.directory.all() {
        if entry.key.is_none() || entry.wanted != Wanted::Running || !entry.counts_in(now.wall.slot()) {
            continue;
        }
        let Some(last) = last.get(entry.index.position()).copied().flatten() else { continue };
        let is_heard = pool_health::is_healthy(Some(last), now.wall);
        waits |= !is_heard && !silence_known;
        heard += u32::from(is_heard);
        expected += u32::from(is_heard || silence_known);
    }
    let status = match pool_health::judge(heard, expected) {
        pool_health::Health::Healthy | pool_health::Health::Empty => Health::Healthy,
        pool_health::Health::Degraded => Health::Degraded,
        pool_health::Health::Unhealthy => Health::Unhealthy,
    };
    let message = match status {
        Health::Healthy if waits => Some("the manager has not listened long enough to know who is silent".to_owned()),
        Health::Healthy => None,
        _ => Some(format!("{heard} of {expected} nodes were heard in the last 5 minutes")),
    };
    NodesCheck { status, message, heard, expected }
}

fn system(reading: &Reading) -> SystemCheck {
    let memory = reading.memory_total_kib.filter(|total| *total > 0).zip(reading.memory_available_kib);
    let memory_used_percent = memory.map(|(total, available)| total.saturating_sub(available).saturating_mul(100) / total);
    let load_percent = reading.load.map(|load| (load * 100.0).round());
    let mut busy = Vec::new();
    if memory
        .is_some_and(|(total, available)| total.saturating_sub(available).saturating_mul(100) > total.saturating_mul(BUSY_PERCENT.into()))
    {
        busy.push(format!("more than {BUSY_PERCENT} % of its memory are in use"));
    }
    if load_percent.is_some_and(|load| load > f64::from(BUSY_PERCENT)) {
        busy.push(format!("its processors had more than {BUSY_PERCENT} % to do in the last 5 minutes"));
    }
    let status = if busy.is_empty() { Health::Healthy } else { Health::Degraded };
    let message = (!busy.is_empty()).then(|| format!("the manager's machine is busy: {}", busy.join(", ")));
    SystemCheck { status, message, memory_used_percent, load_percent }
}

/// Only a store that cannot write makes the manager unhealthy: whatever else is wrong, it still serves.
fn overall(checks: &Checks) -> Health {
    let others = [checks.clock.status, checks.disk.status, checks.nodes.status, checks.system.status];
    others.map(|status| status.min(Health::Degraded)).into_iter().fold(checks.store.status, Health::max)
}

fn report(state: &AppState) -> HealthReport {
    let checks = checks(state);
    HealthReport { status: overall(&checks), service: SERVICE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), checks }
}

fn status_code(health: Health) -> StatusCode {
    if health == Health::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// How the manager is
///
/// 200 when healthy or degraded, 503 when the store cannot write. `status` is `unhealthy` only then, and `degraded` when any check but the store's is not
/// healthy: nodes that are not heard never make it worse, because the manager still serves. Nodes are healthy when at least 80 % of those that are to run,
/// and are in service, were heard in the last 300 s, degraded from 50 %; without nodes, and right after a start of the manager, healthy. Services outside are
/// not asked and are no part of `status`; of `mongodb` replication says how it found it last.
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
    let ready = !store_fails(&state) && !*state.stopping.borrow();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Probe { status: if ready { "ready" } else { "not_ready" } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_well() -> Checks {
        let nodes = NodesCheck { status: Health::Healthy, message: None, heard: 0, expected: 0 };
        let system = system(&Reading::default());
        Checks {
            store: Check::healthy(),
            clock: Check::healthy(),
            disk: Check::healthy(),
            nodes,
            system,
            external_services: ExternalServices::new(External::default(), &Status::default()),
        }
    }

    #[test]
    fn only_the_store_makes_the_manager_unhealthy() {
        assert_eq!(overall(&all_well()), Health::Healthy);
        for status in [Health::Degraded, Health::Unhealthy] {
            let silent = Checks { nodes: NodesCheck { status, ..all_well().nodes }, ..all_well() };
            assert_eq!((overall(&silent), status_code(overall(&silent))), (Health::Degraded, StatusCode::OK));
        }
        let store = Checks { store: Check::not(Health::Unhealthy, "failed"), ..all_well() };
        assert_eq!((overall(&store), status_code(overall(&store))), (Health::Unhealthy, StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn the_cluster_is_what_replication_last_found_it_to_be() {
        let of = |is_named, doing, was_there| {
            let external = External { mongodb: is_named, ..External::default() };
            ExternalServices::new(external, &Status { doing, was_there, ..Status::default() }).mongodb
        };
        assert_eq!(of(false, Doing::Off, false), ExternalState::NotConfigured);
        let named = |doing| of(true, doing, false);
        assert_eq!([Doing::Off, Doing::Connecting, Doing::Paused].map(named), [ExternalState::Unknown; 3]);
        assert_eq!([Doing::Watching, Doing::Copying, Doing::Sending, Doing::Current].map(named), [ExternalState::Healthy; 4]);
        assert_eq!([Doing::Away, Doing::Second, Doing::Superseded].map(named), [ExternalState::Unhealthy; 3]);
        assert_eq!(of(true, Doing::Paused, true), ExternalState::Healthy);
    }

    #[test]
    fn a_disk_that_fills_up_makes_the_manager_degraded_and_is_told_by_its_level() {
        let of = |level, free| {
            let check = disk(level, free);
            (check.status, check.message.unwrap_or_default())
        };
        assert_eq!(of(Level::Ample, LOW_DISK_BYTES), (Health::Healthy, String::new()));
        assert_eq!(of(Level::Ample, LOW_DISK_BYTES - 1).0, Health::Degraded);
        assert!(of(Level::High, u64::MAX).1.starts_with("high: ") && of(Level::Critical, u64::MAX).1.starts_with("critical: "));
    }

    #[test]
    fn a_machine_is_busy_beyond_95_percent_and_not_where_it_does_not_say() {
        let of = |available, load| {
            let reading = Reading { memory_total_kib: Some(1_000), memory_available_kib: Some(available), load: Some(load) };
            let SystemCheck { status, message, memory_used_percent, load_percent } = system(&reading);
            assert_eq!(message.is_some(), status == Health::Degraded);
            (status, memory_used_percent, load_percent)
        };
        assert_eq!(of(50, 0.95), (Health::Healthy, Some(95), Some(95.0)));
        assert_eq!(of(49, 0.5), (Health::Degraded, Some(95), Some(50.0)));
        assert_eq!(of(900, 0.96), (Health::Degraded, Some(10), Some(96.0)));
        let silent = Reading { memory_total_kib: Some(0), memory_available_kib: Some(0), load: None };
        assert_eq!((system(&silent).status, system(&silent).memory_used_percent), (Health::Healthy, None));
    }
}
