//! How a node's workload is shown.

use serde::Serialize;

use crate::domain::time::Timestamp;
use crate::domain::workload::{Enforcement, LimitReport, LimitedResource, WorkloadExit, WorkloadState};
use crate::storage::intake::Workload;

/// What the node's supervisor last said.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Workload)]
pub struct WorkloadView {
    /// The agent's configuration names a workload. Without one the node's work is to answer.
    pub configured: bool,
    pub state: WorkloadState,
    /// RFC 3339, UTC.
    pub since: String,
    pub pid: Option<u32>,
    /// Starts after an end that nobody had ordered.
    pub restarts: u32,
    pub last_exit: Option<WorkloadExit>,
    /// Why it failed or is started again only after a pause.
    pub reason: Option<String>,
    /// Of the newest command that the node has taken over.
    pub revision: u64,
    pub limits: Vec<WorkloadLimitView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WorkloadLimit)]
pub struct WorkloadLimitView {
    pub resource: LimitedResource,
    pub limit: f64,
    /// `percent` of the whole machine, `bytes` or `mbps`.
    pub unit: &'static str,
    pub enforcement: Enforcement,
    /// Why it is not enforced, or not as well as it could be.
    pub reason: Option<String>,
}

impl WorkloadView {
    pub fn new(known: &Workload) -> WorkloadView {
        let report = &known.report;
        WorkloadView {
            configured: report.configured,
            state: report.state,
            since: since(known).rfc3339(),
            pid: report.pid,
            restarts: report.restarts,
            last_exit: report.last_exit,
            reason: report.reason.clone(),
            revision: report.revision,
            limits: report.limits.iter().map(WorkloadLimitView::new).collect(),
        }
    }
}

impl WorkloadLimitView {
    #[expect(clippy::cast_precision_loss, reason = "shown only; a limit above 2^53 bytes is none")]
    fn new(limit: &LimitReport) -> WorkloadLimitView {
        let (divisor, unit) = match limit.resource {
            LimitedResource::Cpu => (100.0, "percent"),
            LimitedResource::Memory | LimitedResource::Disk => (1.0, "bytes"),
            LimitedResource::Network => (1_000.0, "mbps"),
        };
        let value = limit.limit as f64 / divisor;
        WorkloadLimitView { resource: limit.resource, limit: value, unit, enforcement: limit.enforcement, reason: limit.reason.clone() }
    }
}

/// When the present state of the workload began.
pub fn since(known: &Workload) -> Timestamp {
    known.at.plus_ms(-i64::try_from(known.report.since_ms).unwrap_or(0))
}
