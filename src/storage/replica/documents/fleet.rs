//! Nodes, pools, and what happened to nodes.

use super::{money, node_id, plain};
use crate::domain::audit::Actor;
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::node_event::NodeEvent;
use crate::domain::pool::Pool;
use crate::domain::replica::{Fields, Value};
use crate::storage::core::pools;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Seed 004, with what was wanted and allowed of the node instead of its status, which is no matter of the row.
pub(super) fn node(read: &impl Read, node: &Node) -> Result<Fields, Fault> {
    let pool = node.pool_now().map(|pool| pools::by_index(read, pool)).transpose()?.flatten();
    Ok(vec![
        ("node_id", node.id.as_str().into()),
        ("name", node.name.as_str().into()),
        ("node_type", plain(&node.node_type)?),
        ("pool_id", pool.map(|pool| pool.id.to_string()).into()),
        ("hardware_info", plain(&node.hardware)?),
        ("location", plain(&node.location)?),
        ("configuration", plain(&node.configuration)?),
        ("wanted", plain(&node.wanted)?),
        ("eligible", plain(node.eligible.latest())?),
        ("created_at", node.created_at.into()),
        ("updated_at", node.updated_at.into()),
    ])
}

pub(super) fn pool(pool: &Pool) -> Result<Fields, Fault> {
    let price = *pool.pricing.latest();
    Ok(vec![
        ("pool_id", pool.id.as_str().into()),
        ("name", pool.name.as_str().into()),
        ("description", pool.description.as_str().into()),
        ("max_nodes", pool.max_nodes.into()),
        ("resource_limits", plain(&pool.resource_limits)?),
        ("auto_scaling", pool.auto_scaling.into()),
        ("scaling_policy", plain(&pool.scaling_policy)?),
        (
            "pricing",
            Value::Fields(vec![
                ("cost_per_hour", money(price.cost_per_hour, price.currency)),
                ("reward_per_hour", money(price.reward_per_hour, price.currency)),
                ("currency", price.currency.code().into()),
            ]),
        ),
        ("created_at", pool.created_at.into()),
        ("updated_at", pool.updated_at.into()),
    ])
}

/// `key` is the node's index and the number of the event.
pub(super) fn node_event(read: &impl Read, (node, seq): (u32, u64), event: &NodeEvent) -> Result<Fields, Fault> {
    let actor = (event.actor != Actor::System).then(|| event.actor.to_string());
    Ok(vec![
        ("node_id", node_id(read, NodeIndex(node))?),
        ("seq", seq.into()),
        ("at", event.at.into()),
        ("kind", plain(&event.kind)?),
        ("category", plain(&event.kind.category())?),
        ("detail", event.detail.clone().into()),
        ("actor", actor.into()),
    ])
}
