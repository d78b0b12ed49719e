//! What `/metrics` says about nodes and money: values with their labels, read from the store. How they are written down is not known here.

use std::collections::BTreeMap;

use super::state::AppState;
use crate::domain::ids::{NodeId, NodeIndex};
use crate::domain::ledger::Settlement;
use crate::domain::metrics::Sample;
use crate::domain::money::{Currency, Units};
use crate::domain::node::{Node, Observed, observe};
use crate::domain::payout::Status;
use crate::storage::core::{nodes, payouts};
use crate::storage::fault::Fault;
use crate::storage::present::Standings;

/// `poot_scores{node_id}`: 0 to 100; nodes whose score is pending are left out.
pub fn poot_scores(state: &AppState) -> Result<Vec<(NodeId, f64)>, Fault> {
    let nodes = nodes::all(&state.store.read()?)?;
    let indices: Vec<NodeIndex> = nodes.iter().map(|node| node.index).collect();
    let standings = Standings::load(&state.store, &indices, state.settings.poot, state.now())?;
    let gauge = |node: Node| Some((node.id, f64::from(standings.of(node.index).known_score()?.score_hundredths) / 100.0));
    Ok(nodes.into_iter().filter_map(gauge).collect())
}

/// Payouts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayoutTotal {
    pub count: u64,
    pub amount: Units,
}

/// `payouts_total{settlement,currency,status}` and `payout_amount_total` with the same labels.
pub fn payout_totals(state: &AppState) -> Result<BTreeMap<(Settlement, Currency, Status), PayoutTotal>, Fault> {
    let mut totals: BTreeMap<_, PayoutTotal> = BTreeMap::new();
    payouts::for_each(&state.store.read()?, |payout| {
        let total = totals.entry((payout.book.settlement, payout.book.currency, payout.status())).or_default();
        total.count += 1;
        // A sum beyond the type stays where it was: a gauge must not fail a scrape.
        total.amount = total.amount.plus(payout.amount).unwrap_or(total.amount);
    })?;
    Ok(totals)
}

/// One value of `resource_usage{node_id,resource_type,unit}`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceUsage {
    pub node_id: NodeId,
    pub resource_type: &'static str,
    pub unit: &'static str,
    pub value: f64,
}

/// `resource_usage{node_id,resource_type,unit}` of nodes that are not stale; what a machine does not have is left out.
pub fn resource_usage(state: &AppState) -> Result<Vec<ResourceUsage>, Fault> {
    let now = state.now().wall;
    let mut values = Vec::new();
    for node in nodes::all(&state.store.read()?)? {
        let Some(latest) = state.store.intake.latest(node.index) else { continue };
        if now.since(latest.at) > super::resources::STALE_AFTER_SECONDS * 1_000 {
            continue;
        }
        for (resource_type, unit, value) in usage(&latest.sample) {
            values.extend(value.map(|value| ResourceUsage { node_id: node.id.clone(), resource_type, unit, value }));
        }
    }
    Ok(values)
}

fn usage(sample: &Sample) -> [(&'static str, &'static str, Option<f64>); 5] {
    #[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53 bytes")]
    let bytes = |value: Option<u64>| value.map(|bytes| bytes as f64);
    [
        ("cpu", "percent", sample.cpu.usage_percent),
        ("cpu", "celsius", sample.cpu.temperature_celsius),
        ("memory", "bytes", bytes(sample.memory.used_bytes)),
        ("disk", "bytes", bytes(sample.disk.used_bytes)),
        ("gpu", "percent", sample.gpu.as_ref().and_then(|gpu| gpu.usage_percent)),
    ]
}

/// `active_nodes_total`: nodes heard within the last 300 s.
pub fn active_nodes(state: &AppState) -> Result<u64, Fault> {
    let (now, intake) = (state.now(), &state.store.intake);
    let (reports, silence_known) = (intake.last_reports(), intake.silence_known(now));
    let is_active = |index: NodeIndex| {
        let last = reports.get(index.position()).copied().flatten();
        observe(last, now.wall, silence_known) == Observed::Active
    };
    let active = nodes::all(&state.store.read()?)?.iter().filter(|node| is_active(node.index)).count();
    Ok(u64::try_from(active).unwrap_or(u64::MAX))
}
