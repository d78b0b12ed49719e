//! The whole manager on one page: nodes, scores, money, alerts, and what waits for a person.

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;

use super::alerts::AlertView;
use super::auth::Caller;
use super::error::ApiError;
use super::fleet_scores::{PootOverview, standings};
use super::json::Json;
use super::node_view::NodeViews;
use super::overview_money::{Money, MoneyOverview};
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::alert::{Alert, Severity};
use crate::domain::epoch::Head;
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::node::{Node, Status};
use crate::domain::setup::{Step, StepState};
use crate::domain::time::{Now, SLOT_SECONDS, Slot};
use crate::storage::accruals::Unposted;
use crate::storage::core::{alerts, epochs, nodes, payouts, pools, setup_steps};
use crate::storage::fault::Fault;
use crate::storage::present;
use crate::storage::table::Read;

/// Alerts that are shown.
const NEWEST_ALERTS: usize = 5;
/// Nodes that are named where a person is needed; the count has them all.
const NAMED_NODES: usize = 3;
/// Epochs that may be due and not closed before a person is told: the cycle runs with every slot.
const EPOCHS_BEHIND: i64 = 2;
/// The only currency that payouts are made in.
const PAID_IN: Currency = Currency::Usdt;
const SLOTS_PER_HALF_HOUR: u32 = 60;
/// Half-hours of the uptime strip: a day.
const HALF_HOURS: u32 = 48;

/// Nodes by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct NodeCounts {
    pub total: u32,
    pub active: u32,
    pub inactive: u32,
    pub maintenance: u32,
    pub error: u32,
    pub starting: u32,
    pub stopping: u32,
    pub unreachable: u32,
}

impl NodeCounts {
    fn add(&mut self, status: Status) {
        self.total += 1;
        *match status {
            Status::Active => &mut self.active,
            Status::Inactive => &mut self.inactive,
            Status::Maintenance => &mut self.maintenance,
            Status::Error => &mut self.error,
            Status::Starting => &mut self.starting,
            Status::Stopping => &mut self.stopping,
            Status::Unreachable => &mut self.unreachable,
        } += 1;
    }
}

/// Open alerts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertsOverview {
    pub critical: u32,
    pub warning: u32,
    pub info: u32,
    /// At most five: the worst first, then the newest.
    pub newest: Vec<AlertView>,
}

impl AlertsOverview {
    /// `open` comes newest first.
    fn of(mut open: Vec<Alert>, names: &mut Names<'_>) -> Result<AlertsOverview, Fault> {
        let count = |severity| open.iter().map(|alert| u32::from(alert.severity == severity)).sum();
        let (critical, warning, info) = (count(Severity::Critical), count(Severity::Warning), count(Severity::Info));
        open.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        let newest = open.iter().take(NEWEST_ALERTS).map(|alert| AlertView::new(names, alert)).collect::<Result<_, _>>()?;
        Ok(AlertsOverview { critical, warning, info, newest })
    }
}

/// What waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKind {
    /// Payouts wait until somebody has looked.
    PayoutReview,
    /// A machine no longer looks like the accepted one: its payouts hold.
    FingerprintDrift,
    /// A node has earned something and has no address that it can be paid to.
    AddressMissing,
    /// No epoch closes and nothing is paid until the clock is trusted.
    ClockUntrusted,
    /// `count` epochs are over and not closed.
    EpochsBehind,
    /// Nobody has made one; shown to admins.
    RecoveryKitMissing,
    /// `count` of the first steps are open; shown to admins.
    SetupUnfinished,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NodeName {
    pub node_id: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Attention {
    pub kind: AttentionKind,
    /// Never 0.
    pub count: u32,
    /// At most three of the nodes that are meant; none where it is about the manager.
    pub nodes: Vec<NodeName>,
}

/// How far epochs are closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EpochsOverview {
    /// End of the last closed epoch; null before the first.
    pub last_end: Option<String>,
    /// From there to the end of the last epoch that could be closed now. Null before the first epoch, and while the clock is not trusted.
    pub behind_seconds: Option<i64>,
}

/// Half an hour of all nodes together; only slots that can no longer change count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UptimePoint {
    pub at: String,
    pub proven: u32,
    /// 0: nobody was observed.
    pub observed: u32,
}

/// The manager and its fleet now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Overview {
    pub at: String,
    pub nodes: NodeCounts,
    pub pools: u32,
    pub poot: PootOverview,
    /// Books in use; those of the settlement in force first.
    pub money: Vec<MoneyOverview>,
    pub alerts: AlertsOverview,
    pub attention: Vec<Attention>,
    pub epochs: EpochsOverview,
    /// 48 half-hours of the clock, oldest first; the last one is the present one.
    pub uptime: Vec<UptimePoint>,
}

/// Everything at a glance
#[utoipa::path(get, path = "/overview", tag = "operations", security(("access" = ["fleet:read"])), responses((status = 200, body = Overview)))]
pub async fn show(State(state): State<AppState>, caller: Caller) -> Result<Json<Overview>, ApiError> {
    let is_admin = caller.is_admin();
    reads::long(&state, move |state| Ok(Json(overview(state, is_admin)?))).await
}

fn overview(state: &AppState, is_admin: bool) -> Result<Overview, Fault> {
    let now = state.now();
    let core = state.store.read()?;
    let nodes = nodes::all(&core)?;
    let unposted = state.store.sums.unposted(&core, &state.store.hot.read()?, nodes.iter().map(|node| node.index))?;
    let money = Money::read(&core, state.payer.settlement, &unposted)?;
    let last = epochs::last(&core)?;
    let behind_slots = last.as_ref().zip(state.store.intake.closed_through(now)).map(|(head, closed)| slots_behind(head, closed));
    let mut attention = attention(state, &core, &nodes, &money, &unposted, last.as_ref().zip(behind_slots), now)?;
    if is_admin {
        attention.extend(first_steps(&core)?);
    }
    Ok(Overview {
        at: now.wall.rfc3339(),
        nodes: counts(state, &core, &nodes)?,
        pools: u32::try_from(pools::list(&core)?.len()).unwrap_or(u32::MAX),
        poot: PootOverview::of(&nodes, &standings(state, &nodes, now)?),
        money: money.books,
        alerts: AlertsOverview::of(alerts::all_open(&core)?, &mut Names::new(&core))?,
        attention,
        epochs: EpochsOverview {
            last_end: last.map(|head| head.last_slot.end().rfc3339()),
            behind_seconds: behind_slots.map(|slots| i64::from(slots) * SLOT_SECONDS),
        },
        uptime: uptime(state, now)?,
    })
}

fn counts(state: &AppState, core: &impl Read, nodes: &[Node]) -> Result<NodeCounts, Fault> {
    let views = NodeViews::new(state, core)?;
    let last = state.store.intake.last_reports();
    let mut counts = NodeCounts::default();
    for node in nodes {
        counts.add(views.status(node, views.observed(node, last.get(node.index.position()).copied().flatten())));
    }
    Ok(counts)
}

/// Slots of whole epochs after `last` that are closed, as far as `closed`.
fn slots_behind(last: &Head, closed: Slot) -> u32 {
    let end = closed.plus(1).0;
    (end - end % last.slots_per_epoch.max(1)).saturating_sub(last.next_slot().0)
}

fn attention(
    state: &AppState,
    core: &impl Read,
    nodes: &[Node],
    money: &Money,
    unposted: &HashMap<NodeIndex, Unposted>,
    behind: Option<(&Head, u32)>,
    now: Now,
) -> Result<Vec<Attention>, Fault> {
    let mut list = Vec::new();
    let mut about = |kind, count: usize, of: &[&Node]| {
        let named = of.iter().take(NAMED_NODES).map(|node| NodeName { node_id: node.id.to_string(), name: node.name.clone() });
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        list.extend((count > 0).then(|| Attention { kind, count, nodes: named.collect() }));
    };
    if !now.trusted {
        about(AttentionKind::ClockUntrusted, 1, &[]);
    }
    if let Some((head, slots)) = behind {
        let epochs = i64::from(slots / head.slots_per_epoch.max(1));
        if epochs > EPOCHS_BEHIND {
            about(AttentionKind::EpochsBehind, usize::try_from(epochs).unwrap_or(usize::MAX), &[]);
        }
    }
    let in_review: Vec<&Node> = nodes.iter().filter(|node| money.in_review.binary_search(&node.index).is_ok()).collect();
    about(AttentionKind::PayoutReview, money.in_review.len(), &in_review);
    let drifted = |node: &&Node| node.identity.as_ref().is_some_and(|identity| identity.drift.is_some());
    let drifted: Vec<&Node> = nodes.iter().filter(drifted).collect();
    about(AttentionKind::FingerprintDrift, drifted.len(), &drifted);
    let mut unpayable = Vec::new();
    for node in nodes {
        let payable = money.payable.get(&(node.index, PAID_IN)).copied().unwrap_or_default();
        let accrued = unposted.get(&node.index).and_then(|sums| sums.get(&PAID_IN)).copied().unwrap_or_default();
        if payable <= Units::ZERO && accrued <= Pico::ZERO {
            continue;
        }
        let address = payouts::address(core, &state.store.secrets, node.index)?;
        if address.is_none_or(|record| record.address.currency() != PAID_IN) {
            unpayable.push(node);
        }
    }
    about(AttentionKind::AddressMissing, unpayable.len(), &unpayable);
    Ok(list)
}

/// What is left of the first steps, which are an admin's. A recovery kit that was put off is still missing.
fn first_steps(core: &impl Read) -> Result<Vec<Attention>, Fault> {
    let is_made = setup_steps::mark(core, Step::RecoveryKit)?.is_some_and(|mark| mark.state() == StepState::Done);
    let open = setup_steps::open(core)?.into_iter().filter(|step| *step != Step::RecoveryKit).count();
    let about =
        |kind, count: usize| (count > 0).then(|| Attention { kind, count: u32::try_from(count).unwrap_or(u32::MAX), nodes: Vec::new() });
    let left = [about(AttentionKind::RecoveryKitMissing, usize::from(!is_made)), about(AttentionKind::SetupUnfinished, open)];
    Ok(left.into_iter().flatten().collect())
}

fn uptime(state: &AppState, now: Now) -> Result<Vec<UptimePoint>, Fault> {
    let present = now.wall.slot();
    let half_hour = |slot: Slot| Slot(slot.0 - slot.0 % SLOTS_PER_HALF_HOUR);
    let first = half_hour(present).minus((HALF_HOURS - 1) * SLOTS_PER_HALF_HOUR);
    let rows = present::decided(&state.store, first, present, now)?;
    let point = |n| {
        let start = first.plus(n * SLOTS_PER_HALF_HOUR);
        let of_half_hour = || rows.range(start..start.plus(SLOTS_PER_HALF_HOUR)).map(|(_, row)| row);
        UptimePoint {
            at: start.start().rfc3339(),
            proven: of_half_hour().map(|row| row.proven.count()).sum(),
            observed: of_half_hour().map(|row| row.observed.count()).sum(),
        }
    };
    Ok((0..HALF_HOURS).map(point).collect())
}
