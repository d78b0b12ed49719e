//! How pools fare: of all of them in one walk over the fleet.

use std::collections::HashMap;

use serde::Serialize;

use super::state::AppState;
use crate::domain::alert::Severity;
use crate::domain::ids::{NodeId, PoolIndex};
use crate::domain::pool_health::{Health, is_healthy, judge};
use crate::storage::core::alerts;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Alerts about the pool's nodes that are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct OpenAlerts {
    pub critical: u32,
    pub warning: u32,
    pub info: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = PoolHealth)]
pub struct PoolHealthView {
    /// `healthy` from a ratio of 0.8, `degraded` from 0.5, else `unhealthy`; `empty` without nodes.
    pub state: Health,
    /// Heard less than 300 s ago.
    pub healthy_nodes: u32,
    pub total: u32,
    /// With four decimals; null without nodes.
    pub ratio: Option<f64>,
    pub open_alerts: OpenAlerts,
}

/// Of every pool that has nodes.
#[derive(Default)]
pub struct PoolsHealth(HashMap<PoolIndex, Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    healthy: u32,
    total: u32,
    alerts: OpenAlerts,
}

impl PoolsHealth {
    pub fn load(state: &AppState, read: &impl Read) -> Result<PoolsHealth, Fault> {
        let (last, now) = (state.store.intake.last_reports(), state.now().wall);
        let mut of: HashMap<PoolIndex, Counts> = HashMap::new();
        for entry in state.store.directory.all() {
            let Some(pool) = *entry.pool.latest() else { continue };
            let counts = of.entry(pool).or_default();
            counts.total += 1;
            counts.healthy += u32::from(is_healthy(last.get(entry.index.position()).copied().flatten(), now));
        }
        for alert in alerts::all_open(read)? {
            let node = NodeId::parse(&alert.subject).ok().and_then(|id| state.store.directory.by_id(&id));
            let Some(counts) = node.and_then(|entry| *entry.pool.latest()).and_then(|pool| of.get_mut(&pool)) else { continue };
            match alert.severity {
                Severity::Critical => counts.alerts.critical += 1,
                Severity::Warning => counts.alerts.warning += 1,
                Severity::Info => counts.alerts.info += 1,
            }
        }
        Ok(PoolsHealth(of))
    }

    pub fn of(&self, pool: PoolIndex) -> PoolHealthView {
        let Counts { healthy, total, alerts } = self.0.get(&pool).copied().unwrap_or_default();
        let ratio = (total > 0).then(|| (f64::from(healthy) / f64::from(total) * 10_000.0).round() / 10_000.0);
        PoolHealthView { state: judge(healthy, total), healthy_nodes: healthy, total, ratio, open_alerts: alerts }
    }
}
