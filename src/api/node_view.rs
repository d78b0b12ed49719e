//! How a node is shown: its record, and what is known of it right now.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::Serialize;

use super::error::ApiError;
use super::state::AppState;
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::metrics::Sample;
use crate::domain::money::{Currency, Units};
use crate::domain::node::{Eligible, HardwareInfo, Location, Node, NodeConfiguration, NodeType, Observed, Status, Wanted, observe};
use crate::domain::pool::Pool;
use crate::domain::poot::ScoreState;
use crate::domain::time::{Now, Slot, Timestamp};
use crate::live::LatestSample;
use crate::storage::core::pools;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// What the cycles and the intake know of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeLive {
    pub observed: Observed,
    pub last_heartbeat: Option<Timestamp>,
    pub latest: Option<LatestSample>,
    pub poot: PootLive,
    /// Earned and not posted yet, in whole units of the pool's currency.
    pub accrued: Decimal,
    pub payable: Units,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PootLive {
    pub state: ScoreState,
    pub score: Option<Decimal>,
    pub confidence: Decimal,
    pub observed_seconds: u64,
    pub required_seconds: u64,
}

impl Default for NodeLive {
    /// Nothing known.
    fn default() -> NodeLive {
        let poot = PootLive {
            state: ScoreState::Pending,
            score: None,
            confidence: Decimal::ZERO,
            observed_seconds: 0,
            required_seconds: REQUIRED_SECONDS,
        };
        NodeLive { observed: Observed::Starting, last_heartbeat: None, latest: None, poot, accrued: Decimal::ZERO, payable: Units::ZERO }
    }
}

/// `POOT_MIN_OBSERVATION_TIME`, until the score says otherwise.
const REQUIRED_SECONDS: u64 = 3_600;

/// What is known of the node right now.
pub fn live_of(state: &AppState, index: NodeIndex) -> NodeLive {
    let intake = &state.store.intake;
    let last_heartbeat = intake.last_report(index);
    NodeLive {
        observed: observed(state, last_heartbeat, state.now()),
        last_heartbeat,
        latest: intake.latest(index).map(|latest| latest_sample(latest.at, &latest.sample)),
        ..NodeLive::default()
    }
}

pub fn observed(state: &AppState, last_heartbeat: Option<Timestamp>, now: Now) -> Observed {
    observe(last_heartbeat, now.wall, state.store.intake.silence_known(now))
}

/// The few numbers of a sample that lists show.
pub fn latest_sample(at: Timestamp, sample: &Sample) -> LatestSample {
    LatestSample {
        timestamp: at.rfc3339(),
        cpu_usage_percent: sample.cpu.usage_percent,
        memory_used_bytes: sample.memory.used_bytes,
        memory_total_bytes: sample.memory.total_bytes,
        disk_used_bytes: sample.disk.used_bytes,
        disk_total_bytes: sample.disk.total_bytes,
        temperature_celsius: sample.cpu.temperature_celsius,
    }
}

/// A node.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    pub node_id: String,
    pub name: String,
    pub node_type: NodeType,
    pub status: Status,
    pub observed: Observed,
    pub wanted: Wanted,
    pub eligible: Eligible,
    pub pool_id: Option<String>,
    pub pool_name: Option<String>,
    pub hardware_info: Option<HardwareInfo>,
    pub location: Option<Location>,
    pub configuration: NodeConfiguration,
    /// An agent has claimed it.
    pub enrolled: bool,
    /// The machine no longer looks like the accepted one: payouts hold.
    pub fingerprint_drift: bool,
    /// Maintenance that goes on or is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceView>,
    pub last_heartbeat: Option<String>,
    pub poot: PootView,
    /// Earned and not posted yet.
    #[schema(example = "0.0123")]
    pub accrued: String,
    /// Posted and not paid out.
    #[schema(example = "12.5")]
    pub payable: String,
    pub currency: String,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<LatestSample>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Maintenance)]
pub struct MaintenanceView {
    /// Null when it has begun.
    pub from: Option<String>,
    pub until: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NodePoot)]
pub struct PootView {
    /// `pending`, `valid` or `invalid`.
    #[schema(value_type = String)]
    pub state: ScoreState,
    /// 0 to 100.
    #[schema(value_type = Option<f64>)]
    pub score: Option<serde_json::Number>,
    /// 0 to 1.
    #[schema(value_type = f64)]
    pub confidence: serde_json::Number,
    pub observed_seconds: u64,
    pub required_seconds: u64,
}

/// A decimal of few digits as a JSON number, digit by digit.
fn number(decimal: Decimal) -> serde_json::Number {
    decimal.normalize().to_string().parse().unwrap_or_else(|_| 0.into())
}

/// What the views of several nodes share.
pub struct NodeViews<'a> {
    state: &'a AppState,
    pools: HashMap<PoolIndex, Pool>,
    slot: Slot,
}

impl<'a> NodeViews<'a> {
    pub fn new(state: &'a AppState, read: &impl Read) -> Result<NodeViews<'a>, Fault> {
        let pools = pools::list(read)?.into_iter().map(|pool| (pool.index, pool)).collect();
        Ok(NodeViews { state, pools, slot: state.now().wall.slot() })
    }

    /// The outward status, with the eligibility that is in force from the next slot: what a client just set shows at once.
    pub fn status(&self, node: &Node, observed: Observed) -> Status {
        Status::derive(observed, node.wanted, self.eligible(node))
    }

    fn eligible(&self, node: &Node) -> Eligible {
        node.eligible_in(self.slot.plus(1))
    }

    pub fn show(&self, node: &Node) -> NodeView {
        let live = live_of(self.state, node.index);
        let pool = node.pool_now().and_then(|index| self.pools.get(&index));
        let currency = pool.map_or(Currency::Usdt, |pool| pool.pricing.latest().currency);
        let time = |slot: Option<Slot>| slot.map(|slot| slot.start().rfc3339());
        let maintenance = node.maintenance_around(self.slot.plus(1));
        NodeView {
            node_id: node.id.to_string(),
            name: node.name.clone(),
            node_type: node.node_type,
            status: self.status(node, live.observed),
            observed: live.observed,
            wanted: node.wanted,
            eligible: self.eligible(node),
            pool_id: pool.map(|pool| pool.id.to_string()),
            pool_name: pool.map(|pool| pool.name.clone()),
            hardware_info: node.hardware.clone(),
            location: node.location.clone(),
            configuration: node.configuration.clone(),
            enrolled: node.identity.is_some(),
            fingerprint_drift: node.identity.as_ref().is_some_and(|identity| identity.drift.is_some()),
            maintenance: maintenance.map(|(from, until)| MaintenanceView { from: time(from), until: time(until) }),
            last_heartbeat: live.last_heartbeat.map(Timestamp::rfc3339),
            poot: PootView {
                state: live.poot.state,
                score: live.poot.score.map(number),
                confidence: number(live.poot.confidence),
                observed_seconds: live.poot.observed_seconds,
                required_seconds: live.poot.required_seconds,
            },
            accrued: live.accrued.normalize().to_string(),
            payable: live.payable.to_decimal(currency).to_string(),
            currency: currency.code().to_owned(),
            created_at: node.created_at.rfc3339(),
            updated_at: node.updated_at.rfc3339(),
            latest: live.latest,
        }
    }
}

/// One node as it is after a write.
pub fn show(state: &AppState, node: &Node) -> Result<NodeView, ApiError> {
    Ok(NodeViews::new(state, &state.store.read()?)?.show(node))
}
