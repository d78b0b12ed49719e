//! How a node is shown: its record, and what is known of it right now.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use super::allocation::ResourceAmounts;
use super::error::ApiError;
use super::node_departure::{self, FinalPayoutView};
use super::node_row::{self, NodeRow, Shown};
use super::poot::{PootSummary, pico};
use super::state::AppState;
use super::workload_view::{self, WorkloadView};
use crate::domain::allocation::Allocation;
use crate::domain::capability;
use crate::domain::ids::{NodeId, NodeIndex, PoolIndex};
use crate::domain::ledger::{Account, Book, Settlement};
use crate::domain::metrics::Sample;
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::node::{Eligible, HardwareInfo, Location, Node, NodeConfiguration, NodeType, Observed, Status, Wanted};
use crate::domain::pool::Pool;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Now, Slot, Timestamp};
use crate::live::LatestSample;
use crate::storage::core::tables::{Index, NODE_IDS};
use crate::storage::core::{alerts, final_payouts, ledger, memberships};
use crate::storage::fault::Fault;
use crate::storage::intake::Workload;
use crate::storage::present::{Standings, Statuses};
use crate::storage::table::Read;

impl LatestSample {
    /// The few numbers that lists show.
    pub fn of(at: Timestamp, sample: &Sample) -> LatestSample {
        LatestSample {
            timestamp: at,
            cpu_usage_percent: sample.cpu.usage_percent,
            memory_used_bytes: sample.memory.used_bytes,
            memory_total_bytes: sample.memory.total_bytes,
            disk_used_bytes: sample.disk.used_bytes,
            disk_total_bytes: sample.disk.total_bytes,
            temperature_celsius: sample.cpu.temperature_celsius,
            network_bytes_in: sample.network.total_bytes_in,
            network_bytes_out: sample.network.total_bytes_out,
        }
    }
}

/// A node.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "node_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    pub node_id: String,
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "attic-pi")]
    pub name: String,
    pub node_type: NodeType,
    pub status: Status,
    pub observed: Observed,
    pub wanted: Wanted,
    pub eligible: Eligible,
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "pool_default")]
    pub pool_id: Option<String>,
    pub pool_name: Option<String>,
    /// In its pool: a higher number comes first.
    #[schema(minimum = 1, maximum = 100)]
    pub pool_priority: Option<u8>,
    pub hardware_info: Option<HardwareInfo>,
    pub location: Option<Location>,
    pub configuration: NodeConfiguration,
    /// An agent has claimed it.
    pub enrolled: bool,
    /// The machine no longer looks like the accepted one: payouts hold.
    pub fingerprint_drift: bool,
    /// Maintenance that goes on, or the next that is planned; `GET /nodes/{id}/maintenance` lists all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceView>,
    /// The node leaves: it is out of service, and deleted once its final payout is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_payout: Option<FinalPayoutView>,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub last_heartbeat: Option<String>,
    pub poot: PootSummary,
    /// Earned and not posted yet.
    #[schema(example = "0.0123")]
    pub accrued: String,
    /// Posted and not paid out.
    #[schema(example = "12.5")]
    pub payable: String,
    pub currency: Currency,
    /// Of the book that `payable` is from; `simulated`: no money moves.
    pub settlement: Settlement,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub created_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<LatestSample>,
    /// What the node's supervisor last said; absent before its first report to this run of the manager, and of agents without a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadView>,
    /// Alerts about it that are not over.
    pub open_alerts: u32,
    /// The sum of its allocations.
    pub allocated: ResourceAmounts,
    /// `name` or `name:value`, from its hardware, and what its agent says it can do: what the list's `capability` finds.
    #[schema(example = json!(["architecture:aarch64", "cores:4", "storage:nvme"]))]
    pub capabilities: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Maintenance)]
pub struct MaintenanceView {
    /// Null when it has begun.
    pub from: Option<String>,
    pub until: Option<String>,
}

/// What the views of several nodes share.
pub struct NodeViews<'a> {
    state: &'a AppState,
    now: Now,
    slot: Slot,
    statuses: Statuses<'a>,
}

impl<'a> NodeViews<'a> {
    pub fn new(state: &'a AppState, read: &impl Read) -> Result<NodeViews<'a>, Fault> {
        let now = state.now();
        Ok(NodeViews { state, now, slot: now.wall.slot(), statuses: Statuses::new(&state.store, read, now)? })
    }

    /// What is known of the node itself.
    pub fn observed(&self, node: &Node, last_heartbeat: Option<Timestamp>) -> Observed {
        self.statuses.observed(node, last_heartbeat)
    }

    /// The node has this capability, by its hardware or by what its agent says.
    pub fn can(&self, node: &Node, wanted: &str) -> bool {
        let told = self.state.store.intake.workload(node.index);
        capability::fits(&capability::of(node.hardware.as_ref(), told.as_ref().map_or(&[], |known| &known.capabilities)), wanted)
    }

    /// When the workload of the node came into its present state.
    pub fn workload_since(&self, node: NodeIndex) -> Option<Timestamp> {
        self.state.store.intake.workload(node).map(|known| workload_view::since(&known))
    }

    /// The outward status, with the eligibility that is in force from the next slot: what a client just set shows at once.
    pub fn status(&self, node: &Node, observed: Observed) -> Status {
        self.statuses.of(node, observed)
    }

    fn eligible(&self, node: &Node) -> Eligible {
        self.statuses.eligible(node)
    }

    /// Views of some nodes. What they need of evidence and credits is read once for all of them.
    pub fn show(&self, read: &impl Read, rows: &[Arc<NodeRow>]) -> Result<Vec<Shown>, Fault> {
        let store = &self.state.store;
        let settings = self.state.settings();
        let indices: Vec<NodeIndex> = rows.iter().map(|row| row.node.index).collect();
        let standings = Standings::load(store, &indices, settings.poot, self.now)?;
        let unposted = store.sums.unposted(read, &store.hot.read()?, indices)?;
        let open_alerts = alerts::open_counts(read)?;
        let memberships = memberships::all(read)?;
        let leaving: Vec<NodeIndex> = final_payouts::all(read)?.into_iter().map(|(node, _)| node).collect();
        let mut pools: HashMap<PoolIndex, Option<Known<Pool>>> = HashMap::new();
        let show = |row: &Arc<NodeRow>| {
            let node = &row.node;
            let pool = match node.pool_now() {
                None => None,
                Some(index) => match pools.entry(index) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(place) => place.insert(node_row::pool(self.state, read, index)?.map(Known)).clone(),
                },
            };
            // What the node earns in.
            let currency = pool.as_ref().map_or(Currency::Usdt, |pool| pool.pricing.latest().currency);
            let book = Book { settlement: self.state.payer.settlement, currency };
            let last_heartbeat = store.intake.last_report(node.index);
            let workload = store.intake.workload(node.index).map(Known);
            let observed = self.statuses.observed_with(node, last_heartbeat, workload.as_deref());
            row.show(Live {
                status: self.status(node, observed),
                observed,
                eligible: self.eligible(node),
                pool,
                pool_priority: memberships::priority_of(node, memberships.get(&node.index.0)),
                maintenance: node.maintenance_around(self.slot.plus(1)),
                final_payout: if leaving.contains(&node.index) { node_departure::final_payout(read, node)? } else { None },
                last_heartbeat,
                poot: PootSummary::of(&standings.of(node.index), &standings.params),
                accrued: unposted.get(&node.index).and_then(|sum| sum.get(&currency)).copied().unwrap_or_default(),
                payable: ledger::balance(read, book, Account::NodePayable(node.index))?,
                book,
                latest: store.intake.latest_with(node.index, |latest| LatestSample::of(latest.at, &latest.sample)),
                workload,
                open_alerts: open_alerts.get(node.id.as_str()).copied().unwrap_or(0),
                allocated: store.directory.allocated(node.index),
            })
        };
        rows.iter().map(show).collect()
    }
}

/// Something that never changes once it is there. Two are equal when they are the same one: to be kept beside what was made of it.
#[derive(Debug)]
pub struct Known<T>(Arc<T>);

impl<T> Clone for Known<T> {
    fn clone(&self) -> Known<T> {
        Known(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Known<T> {
    fn eq(&self, other: &Known<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Known<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// All that a view shows and that is not in the node's own record.
#[derive(PartialEq)]
pub struct Live {
    status: Status,
    observed: Observed,
    eligible: Eligible,
    pool: Option<Known<Pool>>,
    pool_priority: Option<u8>,
    maintenance: Option<(Option<Slot>, Option<Slot>)>,
    final_payout: Option<FinalPayoutView>,
    last_heartbeat: Option<Timestamp>,
    poot: PootSummary,
    accrued: Pico,
    payable: Units,
    /// That `payable` is from.
    book: Book,
    latest: Option<LatestSample>,
    workload: Option<Known<Workload>>,
    open_alerts: u32,
    allocated: Allocation,
}

impl NodeView {
    /// From these two and nothing else: no clock, no store.
    pub fn of(node: &Node, live: &Live) -> Result<NodeView, Fault> {
        let time = |slot: Option<Slot>| slot.map(|slot| slot.start().rfc3339());
        let (pool, workload) = (live.pool.as_deref(), live.workload.as_deref());
        Ok(NodeView {
            node_id: node.id.to_string(),
            name: node.name.clone(),
            node_type: node.node_type,
            status: live.status,
            observed: live.observed,
            wanted: node.wanted,
            eligible: live.eligible,
            pool_id: pool.map(|pool| pool.id.to_string()),
            pool_name: pool.map(|pool| pool.name.clone()),
            pool_priority: live.pool_priority,
            hardware_info: node.hardware.clone(),
            location: node.location.clone(),
            configuration: node.configuration.clone(),
            enrolled: node.identity.is_some(),
            fingerprint_drift: node.identity.as_ref().is_some_and(|identity| identity.drift.is_some()),
            final_payout: live.final_payout.clone(),
            maintenance: live.maintenance.map(|(from, until)| MaintenanceView { from: time(from), until: time(until) }),
            last_heartbeat: live.last_heartbeat.map(Timestamp::rfc3339),
            poot: live.poot,
            accrued: pico(live.accrued, live.book.currency)?,
            payable: live.payable.to_decimal(live.book.currency).to_string(),
            currency: live.book.currency,
            settlement: live.book.settlement,
            created_at: node.created_at.rfc3339(),
            updated_at: node.updated_at.rfc3339(),
            latest: live.latest,
            workload: workload.map(WorkloadView::new),
            open_alerts: live.open_alerts,
            allocated: live.allocated.into(),
            capabilities: capability::of(node.hardware.as_ref(), workload.map_or(&[], |known| &known.capabilities)),
        })
    }
}

/// One node as it is now.
pub fn show(state: &AppState, node: Node) -> Result<Shown, ApiError> {
    show_row(state, &state.store.read()?, Arc::new(NodeRow::new(node)))
}

/// The node of this id as it is now.
pub fn show_by_id(state: &AppState, id: &NodeId) -> Result<Shown, ApiError> {
    let read = state.store.read()?;
    let Index(index) = read.get(NODE_IDS, &id.as_str().to_owned())?.ok_or(Refusal::NodeNotFound)?;
    // The ids of deleted nodes are kept, their records are not.
    let row = node_row::by_indices(state, &read, &[NodeIndex(index)])?.pop().ok_or(Refusal::NodeNotFound)?;
    show_row(state, &read, row)
}

fn show_row(state: &AppState, read: &impl Read, row: Arc<NodeRow>) -> Result<Shown, ApiError> {
    let views = NodeViews::new(state, read)?.show(read, &[row])?;
    Ok(views.into_iter().next().ok_or(Refusal::NodeNotFound)?)
}
