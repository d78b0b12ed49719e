//! Leaves of epochs: what each closed epoch keeps of each node.

use serde::{Deserialize, Serialize};

use super::block::{NODES_PER_BLOCK, group};
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::ids::NodeIndex;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::migrate;
use crate::storage::table::{Read, Table, WriteTx};

/// (epoch, group of neighbouring nodes) -> their leaves.
pub(in crate::storage) const LEAVES: Table<(u32, u32), LeafGroup> = Table::new("leaves");

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafGroup(pub(in crate::storage) Vec<Leaf>);

record! { LeafGroup = 2 from migrate::leaf_group }

/// Writes the leaves of an epoch, in node order; doing it again writes the same.
pub fn put(tx: &mut WriteTx<'_>, epoch: Epoch, leaves: &[Leaf]) -> Result<(), TxError> {
    // A crash before the head may have left rows of nodes that were deleted since.
    let groups: Vec<u32> = leaves.iter().map(|leaf| group(leaf.node)).collect();
    for ((_, of), _) in tx.scan(LEAVES, (epoch.0, 0)..=(epoch.0, u32::MAX), usize::MAX)? {
        if groups.binary_search(&of).is_err() {
            tx.delete(LEAVES, &(epoch.0, of))?;
        }
    }
    for of_group in leaves.chunk_by(|a, b| group(a.node) == group(b.node)) {
        tx.put(LEAVES, &(epoch.0, group(of_group[0].node)), &LeafGroup(of_group.to_vec()))?;
    }
    Ok(())
}

/// The oldest epoch of which a leaf is kept.
pub fn oldest(read: &impl Read) -> Result<Option<Epoch>, Fault> {
    Ok(read.scan(LEAVES, .., 1)?.pop().map(|((epoch, _), _)| Epoch(epoch)))
}

/// All leaves of an epoch, in node order.
pub fn of_epoch(read: &impl Read, epoch: Epoch) -> Result<Vec<Leaf>, Fault> {
    let groups = read.scan(LEAVES, (epoch.0, 0)..=(epoch.0, u32::MAX), usize::MAX)?;
    Ok(groups.into_iter().flat_map(|(_, group)| group.0).collect())
}

pub fn of_node(read: &impl Read, epoch: Epoch, node: NodeIndex) -> Result<Option<Leaf>, Fault> {
    let group = read.get(LEAVES, &(epoch.0, group(node)))?;
    Ok(group.and_then(|g| g.0.into_iter().find(|leaf| leaf.node == node)))
}

/// The leaves of some nodes, given in ascending order; each group is read once.
pub fn of_nodes(read: &impl Read, epoch: Epoch, nodes: &[NodeIndex]) -> Result<Vec<Leaf>, Fault> {
    let mut leaves = Vec::new();
    for wanted in nodes.chunk_by(|a, b| group(*a) == group(*b)) {
        if let Some(found) = read.get(LEAVES, &(epoch.0, group(wanted[0])))? {
            leaves.extend(found.0.into_iter().filter(|leaf| wanted.binary_search(&leaf.node).is_ok()));
        }
    }
    Ok(leaves)
}

/// Whose leaves stand in the same rows as those of `node`, itself included.
pub fn neighbours(node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
    let first = group(node) * NODES_PER_BLOCK;
    (first..first.saturating_add(NODES_PER_BLOCK)).map(NodeIndex)
}

/// Forgets leaves of epochs before `epoch`, at most `limit` rows; returns how many.
pub fn prune(tx: &mut WriteTx<'_>, epoch: Epoch, limit: usize) -> Result<usize, TxError> {
    tx.delete_before(LEAVES, &(epoch.0, 0), limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::{EpochSlots, Multiplier};
    use crate::domain::money::Pico;
    use crate::domain::poot::{Inputs, Params, score};
    use crate::storage::testing::store;

    #[test]
    fn leaves_of_some_nodes_are_those_of_all_without_the_others() {
        let (_dir, store) = store();
        let inputs = Inputs::default();
        let leaf = |n| Leaf {
            node: NodeIndex(n),
            slots: EpochSlots::default(),
            inputs,
            score: score(&inputs, &Params::default()),
            multiplier: Multiplier::default(),
            payer: None,
            accrual: Pico(i128::from(n)),
            window_slots: 0,
            reports: None,
        };
        let all: Vec<Leaf> = [0, 5, 95, 96, 300, 301].map(leaf).to_vec();
        let written = all.clone();
        store.hot.write_now(move |tx| put(tx, Epoch(10), &written)).unwrap();
        let read = store.hot.read().unwrap();
        for wanted in [&[0, 95, 96][..], &[1, 5, 300], &[301, 999], &[], &[0, 5, 95, 96, 300, 301]] {
            let nodes: Vec<NodeIndex> = wanted.iter().map(|n| NodeIndex(*n)).collect();
            let expected: Vec<Leaf> = of_epoch(&read, Epoch(10)).unwrap().into_iter().filter(|l| nodes.contains(&l.node)).collect();
            assert_eq!(of_nodes(&read, Epoch(10), &nodes).unwrap(), expected, "{wanted:?}");
        }
        assert_eq!(of_epoch(&read, Epoch(10)).unwrap(), all);
        // A close that was cut off before its head, and is made again without nodes that were deleted meanwhile.
        let fewer: Vec<Leaf> = all.iter().filter(|leaf| leaf.node.0 != 300 && leaf.node.0 != 301).copied().collect();
        let again = fewer.clone();
        store.hot.write_now(move |tx| put(tx, Epoch(10), &again)).unwrap();
        assert_eq!(of_epoch(&store.hot.read().unwrap(), Epoch(10)).unwrap(), fewer);
        assert_eq!(of_nodes(&read, Epoch(20), &[NodeIndex(0)]).unwrap(), []);
    }
}
