//! Runs the node's workload: starts, stops and limits it as ordered, starts it again when it fails, takes it over from an earlier agent, and says what
//! it does. Orders name what is wanted; what is run stands in this machine's own configuration.

pub mod cgroup;
pub mod launch;
mod limits;
mod machine;
mod output;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::cgroup::Cgroup;
use self::machine::{Action, Machine};
use self::output::Output;
use self::process::{Identity, Launch, Process};
use super::clock::Clock;
use super::socket::socket_path;
use super::state::State;
use crate::crypto;
use crate::domain::node::Wanted;
use crate::domain::time::BootMs;
use crate::domain::workload::{RestartPolicy, WorkloadConfig, WorkloadExit, WorkloadOrder, WorkloadReport, WorkloadState};

/// While something is about to happen, and while it just runs.
const BUSY_TICK: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(500);
/// With nothing to look after: only an order wakes it.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// What the supervisor keeps over restarts of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Supervised {
    /// The newest order; none before the first.
    pub order: Option<WorkloadOrder>,
    pub process: Option<RecordedProcess>,
    /// It ended for good, in this boot.
    pub over: Option<Over>,
    pub restarts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedProcess {
    /// Numbers of processes mean nothing in another boot.
    pub boot_id: String,
    pub identity: Identity,
    /// The restart count of the order it was started under; none in what earlier releases wrote.
    #[serde(default)]
    pub restarted_for: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    pub boot_id: String,
    pub exit: WorkloadExit,
}

/// What others see of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Its `since_ms` is 0: time passes.
    pub report: WorkloadReport,
    pub since: BootMs,
}

impl Observation {
    /// As it is told at `now`.
    pub fn at(&self, now: BootMs) -> WorkloadReport {
        let since_ms = u64::try_from(now.0 - self.since.0).unwrap_or(0);
        WorkloadReport { since_ms, ..self.report.clone() }
    }
}

pub struct Supervisor {
    clock: Clock,
    state: Arc<State>,
    config: Option<WorkloadConfig>,
    launcher: PathBuf,
    boot_id: String,
    cores: u32,
    machine: Machine,
    process: Option<Process>,
    /// Absent when there is no workload to put into one.
    cgroup: Option<Result<Cgroup, String>>,
    oom_kills: u64,
    output: Output,
    kept: Supervised,
    limits: Vec<crate::domain::workload::LimitReport>,
    observed: watch::Sender<Observation>,
    orders: watch::Receiver<Option<WorkloadOrder>>,
}

/// What a supervisor is made of.
pub struct Setting {
    pub clock: Clock,
    pub state: Arc<State>,
    pub config: Option<WorkloadConfig>,
    /// This program; it starts the workload.
    pub launcher: PathBuf,
    pub boot_id: String,
    pub cores: u32,
    pub orders: watch::Receiver<Option<WorkloadOrder>>,
}

impl Supervisor {
    /// Takes over the process of an earlier agent, if there is one.
    pub fn new(setting: Setting) -> (Supervisor, watch::Receiver<Observation>) {
        let Setting { clock, state, config, launcher, boot_id, cores, orders } = setting;
        let now = clock.boot();
        let kept = state.supervised().unwrap_or_default();
        let wanted = kept.order.as_ref().map_or(Wanted::Running, |order| order.wanted);
        let policy = config.as_ref().map_or(RestartPolicy::Always, |config| config.restart);
        let grace_ms = config.as_ref().map_or(0, |config| i64::from(config.stop_grace_seconds) * 1000);
        let cgroup = config.as_ref().map(|_| {
            let name = crypto::hex(&crypto::sha256(state.folder().as_os_str().as_encoded_bytes())[..6]);
            Cgroup::prepare(&format!("lucid-workload-{name}"))
        });
        let (observed, seen) = watch::channel(Observation { report: WorkloadReport::default(), since: now });
        let mut supervisor = Supervisor {
            machine: Machine::new(policy, grace_ms, wanted, now),
            oom_kills: cgroup.as_ref().and_then(|found| found.as_ref().ok()).map_or(0, Cgroup::oom_kills),
            output: Output::new(state.folder()),
            process: None,
            limits: Vec::new(),
            clock,
            state,
            config,
            launcher,
            boot_id,
            cores,
            cgroup,
            kept,
            observed,
            orders,
        };
        supervisor.machine.restarts = supervisor.kept.restarts;
        supervisor.apply_limits();
        supervisor.take_over(now);
        supervisor.publish();
        (supervisor, seen)
    }

    pub fn capabilities(&self) -> Vec<String> {
        limits::capabilities(self.cgroup.as_ref().map(|found| found.as_ref().map_err(String::as_str)))
    }

    /// Works for ever.
    pub async fn work(&mut self) {
        loop {
            let wait = self.step();
            tokio::select! {
                () = tokio::time::sleep(wait) => (),
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        // Nobody orders any more; the workload is looked after all the same.
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    /// Does what is due; how long to wait for the next look.
    pub fn step(&mut self) -> Duration {
        let now = self.clock.boot();
        let order = self.orders.borrow_and_update().clone();
        if let Some(order) = order {
            self.follow(order, now);
        }
        if self.config.is_none() {
            self.publish();
            return IDLE_TICK;
        }
        if let Some(exit) = self.process.as_mut().and_then(Process::ended) {
            self.ended(exit, now);
        }
        loop {
            match self.machine.next(now) {
                Action::Start => self.start(now),
                Action::Terminate => self.signal(Signal::TERM),
                Action::Kill => self.signal(Signal::KILL),
                Action::Wait(_) => break,
            }
        }
        if let Err(error) = self.output.rotate() {
            tracing::debug!(%error, "the output of the workload is not cut");
        }
        self.publish();
        match self.machine.state() {
            WorkloadState::Starting | WorkloadState::Stopping => BUSY_TICK,
            _ => TICK,
        }
    }

    /// The agent stops: its workload goes on, unless it is configured otherwise.
    pub async fn stop(&mut self) {
        if !self.config.as_ref().is_some_and(|config| config.stop_with_agent) {
            return;
        }
        // Not an order: the next agent starts it again.
        self.machine.order(Wanted::Stopped, false, self.clock.boot());
        while self.process.is_some() {
            tokio::time::sleep(self.step()).await;
        }
        self.keep(|kept| kept.over = None);
        if let Some(Ok(cgroup)) = &self.cgroup {
            cgroup.remove();
        }
    }

    fn wanted(&self) -> Wanted {
        self.kept.order.as_ref().map_or(Wanted::Running, |order| order.wanted)
    }

    /// Before the first order nothing was ever restarted.
    fn restart_count(&self) -> u32 {
        self.kept.order.as_ref().map_or(0, |order| order.restart_count)
    }

    /// An older order than the last is not followed; the same one again changes nothing but the limits.
    fn follow(&mut self, order: WorkloadOrder, now: BootMs) {
        let known = self.kept.order.as_ref();
        let age = |order: &WorkloadOrder| (order.generation, order.revision);
        let last = known.map_or((0, 0), age);
        let same_limits = known.map(|known| known.limits).unwrap_or_default() == order.limits;
        if age(&order) < last || (age(&order) == last && same_limits && known.is_some()) {
            return;
        }
        let restart = self.restart_count() != order.restart_count;
        let is_new = age(&order) > last;
        tracing::info!(revision = order.revision, wanted = ?order.wanted, restart, "an order of the manager");
        let wanted = order.wanted;
        // At once: an agent that dies in between leaves no order that a past end hides from the next.
        self.keep(|kept| {
            kept.order = Some(order);
            if is_new {
                kept.over = None;
            }
        });
        if !same_limits {
            self.apply_limits();
        }
        if is_new {
            self.machine.order(wanted, restart, now);
        }
    }

    fn take_over(&mut self, now: BootMs) {
        if self.config.is_none() {
            return;
        }
        let here = |boot_id: &str| !self.boot_id.is_empty() && boot_id == self.boot_id;
        let known = self.kept.process.clone().filter(|known| here(&known.boot_id));
        if let Some(over) = self.kept.over.clone().filter(|over| here(&over.boot_id)) {
            self.machine.was_over(over.exit, now);
        }
        let Some(known) = known else { return };
        match Process::adopt(known.identity) {
            Some(process) => {
                tracing::info!(pid = process.pid(), "the workload goes on under this agent");
                self.process = Some(process);
                self.machine.adopted(now);
                // The agent before this one died between a restart that it was ordered and the end of this process.
                if known.restarted_for.is_some_and(|count| count != self.restart_count()) {
                    self.machine.order(self.wanted(), true, now);
                }
            }
            None => {
                // What it may have left behind in its group.
                self.kill_group();
                self.machine.started(now);
                self.ended(WorkloadExit::default(), now);
            }
        }
    }

    fn start(&mut self, now: BootMs) {
        let Some(config) = self.config.clone() else { return };
        let offered = self.cgroup.as_ref().map_or(Err("there is no workload"), |found| found.as_ref().map_err(String::as_str));
        let memory_bytes = self.kept.order.as_ref().and_then(|order| limits::memory_of_each(&order.limits, offered));
        let cgroup = offered.ok().map(|cgroup| cgroup.path().to_owned());
        let launcher = self.launcher.clone();
        let started = self.output.open().and_then(|output| {
            let socket = socket_path(self.state.folder());
            let launch = Launch { launcher: &launcher, config: &config, cgroup: cgroup.as_deref(), memory_bytes, output, socket: &socket };
            launch.start(|identity| {
                let boot_id = self.boot_id.clone();
                let restarts = self.machine.restarts;
                let restarted_for = Some(self.restart_count());
                self.keep(|kept| {
                    (kept.process, kept.over, kept.restarts) = (Some(RecordedProcess { boot_id, identity, restarted_for }), None, restarts);
                });
            })
        });
        match started {
            Ok(process) => {
                tracing::info!(pid = process.pid(), "the workload is started");
                self.process = Some(process);
                self.machine.started(now);
            }
            Err(error) => {
                tracing::warn!(%error, "the workload does not start");
                self.machine.not_started(format!("it could not be started: {error}"), now);
            }
        }
    }

    fn ended(&mut self, exit: WorkloadExit, now: BootMs) {
        self.process = None;
        self.kill_group();
        self.machine.ended(exit, now);
        let kills = self.cgroup.as_ref().and_then(|found| found.as_ref().ok()).map_or(0, Cgroup::oom_kills);
        if kills > self.oom_kills && self.machine.reason.is_some() {
            self.machine.reason = Some("it took more memory than its limit and was killed".into());
        }
        self.oom_kills = kills;
        tracing::info!(?exit, state = ?self.machine.state(), "the workload has ended");
        let is_over = matches!(self.machine.state(), WorkloadState::Stopped | WorkloadState::Failed);
        let over = is_over.then(|| Over { boot_id: self.boot_id.clone(), exit });
        self.keep(|kept| (kept.process, kept.over) = (None, over));
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
        match &self.cgroup {
            Some(Ok(cgroup)) if signal == Signal::KILL => cgroup.kill(),
            Some(Ok(cgroup)) => cgroup.terminate(),
            _ => (),
        }
    }

    fn kill_group(&self) {
        if let Some(Ok(cgroup)) = &self.cgroup {
            cgroup.kill();
        }
    }

    fn apply_limits(&mut self) {
        let Some(found) = &self.cgroup else { return };
        let asked = self.kept.order.as_ref().map(|order| order.limits).unwrap_or_default();
        self.limits = limits::apply(&asked, found.as_ref().map_err(String::as_str), self.cores);
    }

    /// Changes what is on the disk. What cannot be written is followed all the same: the manager says it again.
    fn keep(&mut self, change: impl FnOnce(&mut Supervised)) {
        let mut changed = self.kept.clone();
        change(&mut changed);
        if changed != self.kept {
            self.kept = changed;
            if let Err(error) = self.state.set_supervised(&self.kept) {
                tracing::warn!(%error, "what the supervisor does is not recorded");
            }
        }
    }

    fn publish(&mut self) {
        let order = self.kept.order.as_ref();
        let configured = self.config.is_some();
        let state = match (configured, self.wanted()) {
            (true, _) => self.machine.state(),
            (false, Wanted::Running) => WorkloadState::Running,
            (false, Wanted::Stopped) => WorkloadState::Stopped,
        };
        let report = WorkloadReport {
            configured,
            state,
            since_ms: 0,
            pid: self.process.as_ref().map(Process::pid),
            restarts: self.machine.restarts,
            last_exit: self.machine.last_exit,
            reason: self.machine.reason.clone(),
            generation: order.map_or(0, |order| order.generation),
            revision: order.map_or(0, |order| order.revision),
            asked: order.map(|order| order.limits).unwrap_or_default(),
            limits: self.limits.clone(),
        };
        let seen = Observation { report, since: self.machine.since() };
        self.observed.send_if_modified(|known| {
            let differs = *known != seen;
            *known = seen;
            differs
        });
    }
}
