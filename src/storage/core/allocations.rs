//! Named shares of nodes. The sum of a node's is what its supervisor enforces.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::ALLOCATIONS;
use super::{audit, node_events, nodes};
use crate::domain::allocation::{self, Allocation, NamedAllocation};
use crate::domain::audit::Act;
use crate::domain::ids::{AllocationId, NodeId, NodeIndex};
use crate::domain::node::Node;
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::Refusal;
use crate::storage::directory::{self, Directory};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// In the order they were made; at most `allocation::MAX_PER_NODE`.
pub fn of_node(read: &impl Read, node: NodeIndex) -> Result<Vec<NamedAllocation>, Fault> {
    let mut found = Vec::new();
    read.for_each(ALLOCATIONS, (node.0, String::new()).., |(of, _), allocation| {
        if of != node.0 {
            return ControlFlow::Break(());
        }
        found.push(allocation);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// All that is allocated on a node; absent where nothing is.
pub fn total(read: &impl Read, node: NodeIndex) -> Result<Allocation, Fault> {
    Ok(allocation::total(&of_node(read, node)?))
}

/// The same for every node that has any, in one walk.
pub fn totals(read: &impl Read) -> Result<HashMap<NodeIndex, Allocation>, Fault> {
    let mut totals: HashMap<NodeIndex, Allocation> = HashMap::new();
    read.for_each(ALLOCATIONS, .., |(node, _), one| {
        let total = totals.entry(NodeIndex(node)).or_default();
        *total = total.plus(&one.amounts);
        ControlFlow::Continue(())
    })?;
    Ok(totals)
}

/// What the node can give at all; none while its hardware is not known.
pub fn capacity(node: &Node) -> Option<Allocation> {
    node.hardware.as_ref().map(|hardware| allocation::capacity(hardware, node.configuration.resource_limits.as_ref()))
}

/// `new` is the allocation's id, its name and what it takes.
pub fn allocate(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    node: &NodeId,
    (id, name, amounts): (&AllocationId, &str, &Allocation),
) -> Result<NamedAllocation, TxError> {
    let node = nodes::require(tx, node)?;
    allocation::check(name, amounts, capacity(&node).as_ref(), &of_node(tx, node.index)?)?;
    let (created_at, created_by) = (act.now.wall, act.actor.clone());
    let made = NamedAllocation { id: id.clone(), name: name.to_owned(), amounts: *amounts, created_at, created_by };
    tx.put(ALLOCATIONS, &(node.index.0, id.to_string()), &made)?;
    directory::follow(tx, directory, &node)?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::Allocated, Some(made.name.clone())))?;
    audit::append(tx, act.draft("node.allocate", node.id.as_str()).because(id.as_str()))?;
    Ok(made)
}

pub fn release(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, node: &NodeId, id: &str) -> Result<(), TxError> {
    let node = nodes::require(tx, node)?;
    let key = (node.index.0, id.to_owned());
    let gone = tx.get(ALLOCATIONS, &key)?.ok_or(Refusal::AllocationNotFound)?;
    tx.delete(ALLOCATIONS, &key)?;
    directory::follow(tx, directory, &node)?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::Released, Some(gone.name)))?;
    audit::append(tx, act.draft("node.release", node.id.as_str()).because(id))?;
    Ok(())
}

/// The node is gone.
pub(super) fn forget(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    for allocation in of_node(tx, node)? {
        tx.delete(ALLOCATIONS, &(node.0, allocation.id.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, hardware, new_node, node_id};
    use super::*;
    use crate::domain::node::MAX_NODES;
    use crate::domain::registration::NewNode;

    #[test]
    fn shares_are_of_their_node_and_are_given_back() {
        let f = Fixture::new();
        for n in 1..3 {
            let new = NewNode { hardware: Some(hardware()), ..new_node(&format!("node-{n}"), None) };
            f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new, MAX_NODES)).unwrap();
        }
        let half = Allocation { cpu_hundredths: Some(5_000), ..Allocation::default() };
        let take = |node: u32, n: u32| {
            let id = AllocationId::parse(&format!("alloc_{n:06}")).unwrap();
            f.write(move |tx, d| allocate(tx, d, &act(), &node_id(node), (&id, &format!("share-{n}"), &half)))
        };
        let of = |n: u32| nodes::by_id(&f.store.read().unwrap(), &node_id(n)).unwrap().unwrap().index;
        for (node, n) in [(1, 1), (1, 2), (2, 3)] {
            take(node, n).unwrap();
        }
        let audited = f.audited();
        assert_eq!(take(1, 4).unwrap_err().name(), "ResourceLimitExceeded");
        assert_eq!(f.audited(), audited, "a refused one leaves nothing");
        let sum = |n| total(&f.store.read().unwrap(), of(n)).unwrap().cpu_hundredths;
        assert_eq!((sum(1), sum(2)), (Some(10_000), Some(5_000)));
        let give = |node: u32, id: &'static str| f.write(move |tx, d| release(tx, d, &act(), &node_id(node), id));
        assert_eq!(give(1, "alloc_000003"), Err(Refusal::AllocationNotFound), "another node's");
        give(1, "alloc_000001").unwrap();
        assert_eq!((sum(1), give(1, "alloc_000001")), (Some(5_000), Err(Refusal::AllocationNotFound)));
        take(1, 5).unwrap();
        let limits = |directory: &Directory| directory.by_id(&node_id(2)).unwrap().limits;
        assert_eq!(limits(&f.store.directory).cpu_hundredths, Some(5_000), "what a supervisor is sent");
        assert_eq!(limits(&Directory::load(&f.store.read().unwrap()).unwrap()), limits(&f.store.directory), "after a restart too");
        give(2, "alloc_000003").unwrap();
        assert_eq!(limits(&f.store.directory).cpu_hundredths, None);
    }
}
