//! The workload of a node: what the manager orders, and what the node's supervisor says of it. Values only; processes are the agent's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::allocation::Allocation;
use super::node::{Observed, ResourceLimits, Wanted};
use super::time::Timestamp;

/// Limits, capabilities and characters that a report may have; what is more is cut.
const MAX_LIMITS: usize = 8;
const MAX_CAPABILITIES: usize = 32;
const MAX_TEXT: usize = 200;

/// One that runs this long is calm: its next end counts as the first.
pub const CALM_AFTER_MS: i64 = 60_000;
/// One that is started again and again for so long is worth an alert; one that is not tried again is at once.
pub const TROUBLE_AFTER_SECONDS: i64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadState {
    /// The process is there, and not long enough to call it running.
    Starting,
    Running,
    /// Asked to end, and given its grace.
    Stopping,
    #[default]
    Stopped,
    /// It ended by itself and is started again after a pause.
    BackingOff,
    /// It ended, or could not be started, and is not tried again by itself.
    Failed,
}

/// When a workload that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    #[default]
    Always,
    /// Unless it ended with status 0.
    OnFailure,
    Never,
}

/// A node's workload, as its own configuration names it. The manager never sends any of this.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadConfig {
    /// The program, by its full path, and its arguments; no shell.
    pub command: Vec<String>,
    pub working_dir: Option<PathBuf>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Between SIGTERM and SIGKILL.
    #[serde(default = "default_grace")]
    pub stop_grace_seconds: u32,
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Name or number of the user it runs as; the agent's own by default. Another one needs an agent that is root.
    pub user: Option<String>,
    /// The workload is stopped when the agent is; by default it goes on and the next agent takes it over.
    #[serde(default)]
    pub stop_with_agent: bool,
}

fn default_grace() -> u32 {
    30
}

const MAX_GRACE_SECONDS: u32 = 600;
const MAX_ARGUMENTS: usize = 256;

impl WorkloadConfig {
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), String> {
        let Some(program) = self.command.first() else { return Err("workload.command must name a program".into()) };
        if !program.starts_with('/') {
            return Err("workload.command must begin with the full path of a program".into());
        }
        if self.command.len() > MAX_ARGUMENTS || self.env.len() > MAX_ARGUMENTS {
            return Err(format!("workload.command and workload.env may have {MAX_ARGUMENTS} entries each"));
        }
        if self.command.iter().chain(self.env.keys()).chain(self.env.values()).any(|text| text.contains('\0')) {
            return Err("workload.command and workload.env may hold no NUL".into());
        }
        if self.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            return Err("workload.env has a name that is empty or holds `=`".into());
        }
        if self.stop_grace_seconds > MAX_GRACE_SECONDS {
            return Err(format!("workload.stop_grace_seconds must be at most {MAX_GRACE_SECONDS}"));
        }
        match &self.working_dir {
            Some(dir) if !dir.is_absolute() => Err("workload.working_dir must be a full path".into()),
            _ => Ok(()),
        }
    }
}

/// How a process ended; both absent when nobody who could know was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkloadExit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitedResource {
    Cpu,
    Memory,
    Disk,
    Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// A control group of the workload's own.
    Cgroup,
    /// A limit of each of its processes.
    Rlimit,
    /// Nothing holds the workload to it.
    None,
}

/// What the workload may use; absent = as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = WorkloadLimits)]
pub struct Limits {
    /// Hundredths of a percent of the whole machine.
    pub cpu_hundredths: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub network_kbps: Option<u64>,
}

impl Limits {
    pub fn of(limits: Option<&ResourceLimits>) -> Limits {
        let Some(limits) = limits else { return Limits::default() };
        Limits {
            cpu_hundredths: limits.cpu_percent.map(|percent| u32::try_from(scaled(percent, 100.0)).unwrap_or(10_000).clamp(1, 10_000)),
            memory_bytes: limits.memory_bytes,
            disk_bytes: limits.disk_bytes,
            network_kbps: limits.network_mbps.map(|mbps| scaled(mbps, 1_000.0).max(1)),
        }
    }

    /// What a node may use: all that is allocated of it, within what was set for it.
    pub fn in_force(set: Option<&ResourceLimits>, allocated: &Allocation) -> Limits {
        let set = Limits::of(set);
        Limits {
            cpu_hundredths: tighter(set.cpu_hundredths, allocated.cpu_hundredths),
            memory_bytes: tighter(set.memory_bytes, allocated.memory_bytes),
            disk_bytes: tighter(set.disk_bytes, allocated.disk_bytes),
            network_kbps: tighter(set.network_kbps, allocated.network_kbps),
        }
    }

    /// Those that are set, in their units.
    pub fn each(&self) -> impl Iterator<Item = (LimitedResource, u64)> {
        let all = [
            (LimitedResource::Cpu, self.cpu_hundredths.map(u64::from)),
            (LimitedResource::Memory, self.memory_bytes),
            (LimitedResource::Disk, self.disk_bytes),
            (LimitedResource::Network, self.network_kbps),
        ];
        all.into_iter().filter_map(|(resource, limit)| Some((resource, limit?)))
    }
}

/// Absent is no limit.
fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// A checked, positive number in a smaller unit.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and the value was checked to be positive")]
fn scaled(value: f64, by: f64) -> u64 {
    (value * by).round() as u64
}

/// A limit, and whether anything enforces it. `limit` is in the unit of `Limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = WorkloadLimitReport)]
pub struct LimitReport {
    pub resource: LimitedResource,
    pub limit: u64,
    pub enforcement: Enforcement,
    /// Why not better; absent where a control group does it.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What the supervisor of a node says. All fields are optional on the wire, so that versions can differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct WorkloadReport {
    /// The agent's configuration names a workload.
    pub configured: bool,
    pub state: WorkloadState,
    /// Milliseconds since `state` began, by the agent's boot clock.
    pub since_ms: u64,
    pub pid: Option<u32>,
    /// Starts after an end that nobody had ordered, since the agent first started it.
    pub restarts: u32,
    pub last_exit: Option<WorkloadExit>,
    /// Why it failed or backs off.
    pub reason: Option<String>,
    /// Of the newest order that was taken over; `state` already follows it.
    pub generation: u32,
    pub revision: u64,
    /// As ordered.
    pub asked: Limits,
    pub limits: Vec<LimitReport>,
}

impl WorkloadReport {
    /// A node whose workload runs, or that has none, is at work.
    pub fn is_at_work(&self) -> bool {
        !self.configured || self.state == WorkloadState::Running
    }

    /// It runs and did not just start, or has nothing to do.
    pub fn is_calm(&self) -> bool {
        let runs_well = self.state == WorkloadState::Running && i64::try_from(self.since_ms).unwrap_or(i64::MAX) >= CALM_AFTER_MS;
        !self.configured || runs_well || self.state == WorkloadState::Stopped
    }

    /// It ended or could not be started, and should not have.
    pub fn is_failing(&self) -> bool {
        self.configured && matches!(self.state, WorkloadState::BackingOff | WorkloadState::Failed)
    }

    /// The order of this revision, or a later one, was taken over.
    pub fn follows(&self, generation: u32, revision: u64) -> bool {
        revision == 0 || (self.generation == generation && self.revision >= revision)
    }

    /// Cut to what the manager keeps of it.
    pub fn bounded(mut self) -> WorkloadReport {
        self.limits.truncate(MAX_LIMITS);
        self.limits.iter_mut().filter_map(|limit| limit.reason.as_mut()).for_each(cut);
        self.reason.iter_mut().for_each(cut);
        self
    }

    /// Everything but the passing of time.
    pub fn is_like(&self, other: &WorkloadReport) -> bool {
        WorkloadReport { since_ms: 0, ..self.clone() } == WorkloadReport { since_ms: 0, ..other.clone() }
    }

    /// The order is not the one that was taken over last.
    pub fn is_behind(&self, order: &WorkloadOrder) -> bool {
        (self.generation, self.revision) != (order.generation, order.revision) || self.asked != order.limits
    }
}

/// What an agent can do, cut to what the manager keeps.
pub fn bounded_capabilities(mut capabilities: Vec<String>) -> Vec<String> {
    capabilities.truncate(MAX_CAPABILITIES);
    capabilities.iter_mut().for_each(cut);
    capabilities
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
}

/// What the workload should do. Idempotent: the same revision again changes nothing, an older one is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkloadOrder {
    /// Of the manager's store: grows when a store is restored.
    pub generation: u32,
    /// Of this node, growing with every command.
    pub revision: u64,
    pub wanted: Wanted,
    /// Grows with every ordered restart.
    pub restart_count: u32,
    #[serde(default)]
    pub limits: Limits,
    /// Until the command that asked for it expires; the wanted state stands after that too.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// Since when the workload of a node has no rest, by what was known `before`: the moments in which it seems to run between two ends are none.
pub fn troubled_since(before: Option<Timestamp>, report: &WorkloadReport, now: Timestamp) -> Option<Timestamp> {
    match report {
        calm if calm.is_calm() => None,
        failing if failing.is_failing() => before.or_else(|| Some(now.plus_ms(-i64::try_from(failing.since_ms).unwrap_or(0)))),
        _ => before,
    }
}

/// What is observed of a node that is heard: what its workload does, if it says so. Without a configured one, a stop that was taken over is the
/// end of its work. One that stands still is starting until it has been told (`is_told`) that it is wanted running; after that it has ended by
/// itself, and its restart policy leaves it so.
pub fn observed_at_work(report: &WorkloadReport, wanted: Wanted, is_told: bool) -> Observed {
    match (report.configured, report.state) {
        (_, WorkloadState::Stopped) if wanted == Wanted::Running && !is_told => Observed::Starting,
        (false, WorkloadState::Stopped) => Observed::Inactive,
        (false, _) | (true, WorkloadState::Running | WorkloadState::Stopping) => Observed::Active,
        (true, WorkloadState::Starting) => Observed::Starting,
        (true, WorkloadState::Stopped) => Observed::Inactive,
        (true, WorkloadState::BackingOff | WorkloadState::Failed) => Observed::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_whole_numbers_and_stay_positive() {
        let asked = ResourceLimits { cpu_percent: Some(12.345), memory_bytes: Some(5), disk_bytes: None, network_mbps: Some(0.0001) };
        let limits = Limits::of(Some(&asked));
        assert_eq!((limits.cpu_hundredths, limits.memory_bytes, limits.network_kbps), (Some(1_235), Some(5), Some(1)));
        assert_eq!(limits.each().map(|(_, limit)| limit).collect::<Vec<_>>(), [1_235, 5, 1]);
        assert_eq!(Limits::of(None), Limits::default());
    }

    #[test]
    fn the_tighter_of_what_was_set_and_what_is_allocated_is_in_force() {
        let set = ResourceLimits { cpu_percent: Some(50.0), memory_bytes: Some(5), disk_bytes: Some(7), network_mbps: None };
        let allocated = Allocation { cpu_hundredths: Some(2_500), memory_bytes: Some(9), disk_bytes: None, network_kbps: Some(11) };
        let both = Limits { cpu_hundredths: Some(2_500), memory_bytes: Some(5), disk_bytes: Some(7), network_kbps: Some(11) };
        assert_eq!(Limits::in_force(Some(&set), &allocated), both);
        assert_eq!(Limits::in_force(Some(&set), &Allocation::default()), Limits::of(Some(&set)));
        assert_eq!(Limits::in_force(None, &Allocation::default()), Limits::default());
    }

    #[test]
    fn a_report_of_another_version_reads_and_a_long_one_is_cut() {
        let report: WorkloadReport = serde_json::from_str(r#"{"configured":true,"state":"running","later":1}"#).unwrap();
        assert!(report.is_at_work() && report.revision == 0);
        let limit =
            LimitReport { resource: LimitedResource::Disk, limit: 1, enforcement: Enforcement::None, reason: Some("ä".repeat(500)) };
        let long = WorkloadReport { limits: vec![limit; 20], reason: Some("x".repeat(500)), ..report }.bounded();
        assert_eq!((long.limits.len(), long.limits[7].reason.as_ref().unwrap().chars().count()), (MAX_LIMITS, MAX_TEXT));
        assert_eq!(long.reason.unwrap().len(), MAX_TEXT);
        assert_eq!(bounded_capabilities(vec![String::new(); 99]).len(), MAX_CAPABILITIES);
    }

    #[test]
    fn only_a_running_workload_is_at_work_and_none_is_no_hindrance() {
        use WorkloadState as S;
        let cases = [
            (S::Starting, Observed::Starting),
            (S::Running, Observed::Active),
            (S::Stopping, Observed::Active),
            (S::Stopped, Observed::Inactive),
            (S::BackingOff, Observed::Error),
            (S::Failed, Observed::Error),
        ];
        for (state, observed) in cases {
            let report = WorkloadReport { configured: true, state, ..WorkloadReport::default() };
            assert_eq!(
                (observed_at_work(&report, Wanted::Running, true), report.is_at_work()),
                (observed, state == S::Running),
                "{state:?}"
            );
            let before = if state == S::Stopped { Observed::Starting } else { observed };
            assert_eq!(observed_at_work(&report, Wanted::Running, false), before, "{state:?}, not told yet");
            assert_eq!(observed_at_work(&report, Wanted::Stopped, false), observed, "{state:?}");
            let none = WorkloadReport { configured: false, ..report };
            assert!(none.is_at_work());
        }
    }

    #[test]
    fn trouble_lasts_until_it_runs_for_a_minute_or_rests() {
        use WorkloadState as S;
        let report = |state, since_ms| WorkloadReport { configured: true, state, since_ms, ..WorkloadReport::default() };
        let (now, long_ago) = (Timestamp(1_000_000), Some(Timestamp(5)));
        let cases = [
            (S::BackingOff, 2_000, None, Some(Timestamp(998_000))),
            (S::Failed, 0, None, Some(now)),
            (S::BackingOff, 2_000, long_ago, long_ago),
            (S::Starting, 0, long_ago, long_ago),
            (S::Running, 59_999, long_ago, long_ago),
            (S::Running, 60_000, long_ago, None),
            (S::Stopping, 0, long_ago, long_ago),
            (S::Stopped, 0, long_ago, None),
            (S::Starting, 0, None, None),
        ];
        for (state, since_ms, before, after) in cases {
            assert_eq!(troubled_since(before, &report(state, since_ms), now), after, "{state:?} {since_ms}");
        }
        assert_eq!(troubled_since(long_ago, &WorkloadReport { configured: false, ..report(S::Failed, 0) }, now), None);
    }

    #[test]
    fn an_order_is_followed_from_its_revision_on() {
        let report = WorkloadReport { generation: 2, revision: 7, ..WorkloadReport::default() };
        assert!(report.follows(2, 7) && report.follows(2, 6) && report.follows(9, 0));
        assert!(!report.follows(2, 8) && !report.follows(3, 7));
    }
}
