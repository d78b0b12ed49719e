//! The worker node's side: measures its machine once per slot, reports signed, keeps what the manager has not made durable.
//! Knows the wire and the domain, never the manager's store.

mod client;
mod clock;
mod collector;
mod commander;
mod counted;
mod cycle;
pub mod history;
mod keys;
mod ring;
mod schedule;
mod socket;
mod spool;
mod state;
mod supervisor;
mod tls;
pub mod witness;
mod worker;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;

use crate::domain::workload::WorkloadConfig;

pub use client::ClientError;
pub use clock::Clock;
pub use collector::{Collector, fingerprint, hardware_info};
pub use spool::DEFAULT_MAX_BYTES as DEFAULT_SPOOL_MAX_BYTES;
pub use state::State;
pub use supervisor::launch::{LaunchOrder, exec_workload};
pub use supervisor::{Observation, Setting, Supervisor};

/// Everything the agent has to be told.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// URL of the manager.
    pub manager: String,
    /// Enrolment token; needed until the node is enrolled.
    pub token: Option<String>,
    /// Folder of the key, the enrolment and the spool; made if missing.
    pub state_dir: PathBuf,
    /// Wanted name of the node; the host's name by default.
    pub name: Option<String>,
    /// Bytes on disk of the spool, about.
    pub spool_max_bytes: u64,
    /// Certificates (PEM) to trust beside the built-in roots, where a proxy with its own certificate stands in front of the manager.
    pub ca_file: Option<PathBuf>,
    /// What this node runs besides its agent.
    pub workload: Option<WorkloadConfig>,
    /// This program, by a path that outlives an update: it starts the workload.
    pub launcher: PathBuf,
}

impl AgentConfig {
    pub fn new(manager: impl Into<String>, state_dir: impl Into<PathBuf>) -> AgentConfig {
        let (manager, state_dir) = (manager.into(), state_dir.into());
        let launcher = PathBuf::from("/proc/self/exe");
        let spool_max_bytes = DEFAULT_SPOOL_MAX_BYTES;
        AgentConfig { manager, token: None, state_dir, name: None, spool_max_bytes, ca_file: None, workload: None, launcher }
    }
}

/// Why the agent cannot run. Everything that time may heal is retried instead.
#[derive(Debug)]
pub enum AgentError {
    /// The manager's URL is none, or its certificates do not load.
    Manager(String, String),
    State(PathBuf, io::Error),
    /// Another agent works in this folder.
    Locked(PathBuf),
    /// A file of the state folder does not read.
    Damaged(PathBuf),
    /// The node is enrolled and its key is gone.
    KeyMissing(PathBuf),
    NoToken,
    TokenMalformed,
    /// The token is of another manager than the one this node belongs to.
    OtherManager(PathBuf),
    /// The manager refused the enrolment.
    NotEnrolled(ClientError),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Manager(url, why) => write!(f, "the manager's address {url} cannot be used: {why}"),
            AgentError::State(path, error) => write!(f, "{}: {error}", path.display()),
            AgentError::Locked(path) => write!(f, "another agent is running with the state folder {}", path.display()),
            AgentError::Damaged(path) => write!(f, "{} is damaged; restore it, or remove the state folder and enrol again", path.display()),
            AgentError::KeyMissing(path) => {
                write!(
                    f,
                    "the key {} of this enrolled node is missing; restore it, or remove the state folder and enrol again",
                    path.display()
                )
            }
            AgentError::NoToken => f.write_str("this node is not enrolled yet: give an enrolment token"),
            AgentError::TokenMalformed => f.write_str("the enrolment token is not complete; copy all of it"),
            AgentError::OtherManager(path) => {
                write!(
                    f,
                    "the token is for another manager than this node is enrolled with; use another state folder than {}",
                    path.display()
                )
            }
            AgentError::NotEnrolled(error) => write!(f, "enrolment failed: {error}"),
        }
    }
}

impl std::error::Error for AgentError {}

/// Enrols if need be, then measures, reports and looks after the workload until `shutdown` completes. Wants a current-thread runtime with I/O and time.
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    tokio::pin!(shutdown);
    let started = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        started = worker::Worker::start(&config, clock::Clock::System) => started,
    };
    let (mut worker, mut supervisor) = started?;
    let (commander, desk) = (worker.commander(), worker.desk());
    tokio::select! {
        biased;
        () = &mut shutdown => {}
        () = worker.work() => {}
        () = supervisor.work() => {}
        () = commander.work() => {}
        () = desk.work() => {}
    }
    worker.stop();
    supervisor.stop().await;
    Ok(())
}
