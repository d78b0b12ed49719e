//! Thresholds that were set, of nodes and of pools. What is not here is inherited.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::tables::{NODE_THRESHOLDS, POOL_THRESHOLDS};
use super::{audit, node_events, nodes, pools};
use crate::domain::audit::Act;
use crate::domain::ids::{NodeId, NodeIndex, PoolId, PoolIndex};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::FieldErrors;
use crate::domain::threshold::{ThresholdSet, Thresholds};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// What is in force for one node.
pub fn effective(read: &impl Read, node: NodeIndex, pool: Option<PoolIndex>) -> Result<Thresholds, Fault> {
    let of_pool = pool.map_or(Ok(None), |pool| of_pool(read, pool))?;
    Ok(Thresholds::effective(of_node(read, node)?.as_ref(), of_pool.as_ref()))
}

pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Option<ThresholdSet>, Fault> {
    read.get(NODE_THRESHOLDS, &node.0)
}

pub fn of_pool(read: &impl Read, pool: PoolIndex) -> Result<Option<ThresholdSet>, Fault> {
    read.get(POOL_THRESHOLDS, &pool.0)
}

/// Replaces what is set for a node; an empty set inherits everything.
pub fn set_node(tx: &mut WriteTx<'_>, act: &Act, id: &NodeId, set: &ThresholdSet) -> Result<Thresholds, TxError> {
    let node = nodes::require(tx, id)?;
    let of_pool = node.pool_now().map_or(Ok(None), |pool| of_pool(tx, pool))?;
    let thresholds = checked(Thresholds::effective(Some(set), of_pool.as_ref()))?;
    if of_node(tx, node.index)?.unwrap_or_default() == *set {
        return Ok(thresholds);
    }
    if set.is_empty() {
        tx.delete(NODE_THRESHOLDS, &node.index.0)?;
    } else {
        tx.put(NODE_THRESHOLDS, &node.index.0, set)?;
    }
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::ThresholdsSet, None))?;
    audit::append(tx, act.draft("node.thresholds", id.as_str()))?;
    Ok(thresholds)
}

/// The same for a pool: its nodes inherit it.
pub fn set_pool(tx: &mut WriteTx<'_>, act: &Act, id: &PoolId, set: &ThresholdSet) -> Result<Thresholds, TxError> {
    let pool = pools::require(tx, id)?;
    let thresholds = checked(Thresholds::effective(None, Some(set)))?;
    if of_pool(tx, pool.index)?.unwrap_or_default() == *set {
        return Ok(thresholds);
    }
    if set.is_empty() {
        tx.delete(POOL_THRESHOLDS, &pool.index.0)?;
    } else {
        tx.put(POOL_THRESHOLDS, &pool.index.0, set)?;
    }
    audit::append(tx, act.draft("pool.thresholds", id.as_str()))?;
    Ok(thresholds)
}

/// The node is gone.
pub(super) fn forget_pool(tx: &mut WriteTx<'_>, pool: PoolIndex) -> Result<(), TxError> {
    tx.delete(POOL_THRESHOLDS, &pool.0).map(drop)
}

pub(super) fn forget(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    tx.delete(NODE_THRESHOLDS, &node.0)?;
    Ok(())
}

fn checked(thresholds: Thresholds) -> Result<Thresholds, TxError> {
    let mut errors = FieldErrors::default();
    thresholds.check(&mut errors);
    errors.finish()?;
    Ok(thresholds)
}

/// All that is set, read once for a walk over the fleet.
#[derive(Debug, Default)]
pub struct AllThresholds {
    nodes: HashMap<u32, ThresholdSet>,
    pools: HashMap<u32, ThresholdSet>,
}

impl AllThresholds {
    pub fn load(read: &impl Read) -> Result<AllThresholds, Fault> {
        let mut all = AllThresholds::default();
        read.for_each(NODE_THRESHOLDS, .., |index, set| {
            all.nodes.insert(index, set);
            ControlFlow::Continue(())
        })?;
        read.for_each(POOL_THRESHOLDS, .., |index, set| {
            all.pools.insert(index, set);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    pub fn of(&self, node: NodeIndex, pool: Option<PoolIndex>) -> Thresholds {
        Thresholds::effective(self.nodes.get(&node.0), pool.and_then(|pool| self.pools.get(&pool.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, new_node, new_pool, node_id, pool_id};
    use super::*;
    use crate::domain::node::MAX_NODES;
    use crate::domain::refusal::Refusal;
    use crate::domain::threshold::{Limits, Metric, Origin, Tenths};

    fn cpu(warning: i32, critical: i32) -> ThresholdSet {
        let limits = Limits { warning: Tenths(warning), critical: Tenths(critical) };
        ThresholdSet { limits: vec![(Metric::CpuPercent, limits)], ..ThresholdSet::default() }
    }

    #[test]
    fn a_set_replaces_and_an_empty_one_inherits_again() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 9))).unwrap();
        let node = f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("n-1", Some(pool_id(1))), MAX_NODES)).unwrap();
        let in_force = || {
            let (limits, origin) = effective(&f.store.read().unwrap(), node.index, node.pool_now()).unwrap().limits(Metric::CpuPercent);
            let all = AllThresholds::load(&f.store.read().unwrap()).unwrap().of(node.index, node.pool_now());
            assert_eq!(all.limits(Metric::CpuPercent), (limits, origin));
            (limits.warning.0, origin)
        };
        assert_eq!(in_force(), (850, Origin::Default));
        f.write(|tx, _| set_pool(tx, &act(), &pool_id(1), &cpu(600, 700))).unwrap();
        assert_eq!(in_force(), (600, Origin::Pool));
        f.write(|tx, _| set_node(tx, &act(), &node_id(1), &cpu(500, 700))).unwrap();
        assert_eq!(in_force(), (500, Origin::Node));
        let audited = f.audited();
        f.write(|tx, _| set_node(tx, &act(), &node_id(1), &cpu(500, 700))).unwrap();
        assert_eq!(f.audited(), audited, "the same once more is no change");
        let refused = f.write(|tx, _| set_node(tx, &act(), &node_id(1), &cpu(700, 700))).unwrap_err();
        assert!(matches!(refused, Refusal::Invalid(fields) if fields.len() == 1));
        assert_eq!((in_force(), f.audited()), ((500, Origin::Node), audited));
        f.write(|tx, _| set_node(tx, &act(), &node_id(1), &ThresholdSet::default())).unwrap();
        f.write(|tx, _| set_pool(tx, &act(), &pool_id(1), &ThresholdSet::default())).unwrap();
        assert_eq!(in_force(), (850, Origin::Default));
        assert_eq!(f.write(|tx, _| set_node(tx, &act(), &node_id(9), &cpu(1, 2))).unwrap_err(), Refusal::NodeNotFound);
    }
}
