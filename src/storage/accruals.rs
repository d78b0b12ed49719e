//! What nodes have earned since their last posting: leaves are in hot, how far they are posted is in core.

use std::collections::{BTreeMap, HashMap};

use super::core::{epochs, ledger};
use super::fault::Fault;
use super::hot::leaves;
use super::table::Read;
use crate::domain::credits::{self, Epoch, Leaf};
use crate::domain::ids::NodeIndex;
use crate::domain::money::{Currency, Overflow, Pico};
use crate::domain::node::Node;

/// By currency; no zeros.
pub type Unposted = BTreeMap<Currency, Pico>;

/// Accrued and not posted, of each of these nodes. `core` must not be newer than `hot`: take its snapshot first. Each group of leaves is read once.
pub fn unposted(core: &impl Read, hot: &impl Read, nodes: &[&Node]) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
    let mut ranges = BTreeMap::new();
    let mut sums: HashMap<NodeIndex, Unposted> = HashMap::new();
    for node in nodes {
        let posted = ledger::accrued(core, node.index)?;
        ranges.insert(node.index, posted.through);
        sums.insert(node.index, posted.remainders.into_iter().collect());
    }
    let Some(last) = epochs::last(core)?.map(|head| head.epoch) else { return Ok(sums) };
    let Some(first) = ranges.values().min() else { return Ok(sums) };
    let mut of_node: HashMap<NodeIndex, Vec<(Epoch, Leaf)>> = HashMap::new();
    for epoch in epochs::with_leaves(core, *first, last)? {
        let wanted: Vec<NodeIndex> = ranges.iter().filter(|(_, after)| **after < epoch).map(|(node, _)| *node).collect();
        for leaf in leaves::of_nodes(hot, epoch, &wanted)? {
            of_node.entry(leaf.node).or_default().push((epoch, leaf));
        }
    }
    for (node, found) in of_node {
        let Some(after) = ranges.get(&node) else { continue };
        let sum = sums.entry(node).or_default();
        for (currency, earned) in credits::unposted(*after, last, &found).map_err(overflow)? {
            let so_far = sum.entry(currency).or_default();
            *so_far = so_far.plus(earned).map_err(overflow)?;
        }
    }
    for sum in sums.values_mut() {
        sum.retain(|_, amount| *amount != Pico::ZERO);
    }
    Ok(sums)
}

fn overflow(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}
