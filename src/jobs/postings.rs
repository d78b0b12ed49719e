//! Turns accruals of closed epochs into ledger entries: once a day per node, and before a payout of it is planned.

use std::collections::BTreeMap;

use super::{Context, Stopped};
use crate::domain::credits::{Epoch, Leaf, postable};
use crate::domain::epoch::Head;
use crate::domain::evidence::SLOTS_PER_DAY;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Entry, Settlement};
use crate::domain::money::Currency;
use crate::domain::node::Node;
use crate::domain::time::Now;
use crate::storage::core::{epochs, ledger, nodes};
use crate::storage::fault::{Fault, TxError};
use crate::storage::hot::leaves;
use crate::storage::table::WriteTx;

/// Nodes posted in one transaction.
const PER_COMMIT: usize = 100;

/// Posts every node whose accruals reach back before today.
pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let today = Epoch(now.wall.slot().0 / SLOTS_PER_DAY * SLOTS_PER_DAY);
    let core = context.store.read()?;
    let Some(last) = epochs::last(&core)? else { return Ok(()) };
    // The day is over for the ledger when its last epoch is closed.
    if last.next_slot() < today.first_slot() {
        return Ok(());
    }
    let mut due = Vec::new();
    for node in nodes::all(&core)? {
        if node.enrolled_from.is_some() && ledger::accrued(&core, node.index)?.through < today.just_before() {
            due.push(node);
        }
    }
    post(context, &due, today.just_before()).await
}

/// Posts what is decided of these nodes up to `through`.
pub async fn post(context: &Context, nodes: &[Node], through: Epoch) -> Result<(), Stopped> {
    for some in nodes.chunks(PER_COMMIT) {
        let now = context.clock.now();
        let accruals = std::sync::Arc::new(gather(context, some, through)?);
        context
            .store
            .write_money(move |tx| accruals.iter().try_for_each(|(node, leaves)| post_node(tx, *node, through, leaves, now)))
            .await?;
    }
    Ok(())
}

/// The newest epoch whose leaves may be posted.
pub fn newest(context: &Context) -> Result<Option<Epoch>, Fault> {
    Ok(epochs::last(&context.store.read()?)?.map(|head: Head| head.epoch))
}

type LeavesOfNode = Vec<(Epoch, Leaf)>;

/// The leaves of each node after its watermark, read epoch by epoch so that each is read once.
fn gather(context: &Context, nodes: &[Node], through: Epoch) -> Result<BTreeMap<NodeIndex, LeavesOfNode>, Fault> {
    let core = context.store.read()?;
    let mut after = BTreeMap::new();
    for node in nodes {
        after.insert(node.index, ledger::accrued(&core, node.index)?.through);
    }
    let Some(earliest) = after.values().min().copied() else { return Ok(BTreeMap::new()) };
    let hot_read = context.store.hot.read()?;
    let mut found: BTreeMap<NodeIndex, LeavesOfNode> = nodes.iter().map(|node| (node.index, Vec::new())).collect();
    for epoch in epochs::with_leaves(&core, earliest, through)? {
        let wanted: Vec<NodeIndex> = after.iter().filter(|(_, after)| **after < epoch).map(|(node, _)| *node).collect();
        for leaf in leaves::of_nodes(&hot_read, epoch, &wanted)? {
            found.entry(leaf.node).or_default().push((epoch, leaf));
        }
    }
    Ok(found)
}

fn post_node(tx: &mut WriteTx<'_>, node: NodeIndex, through: Epoch, leaves: &[(Epoch, Leaf)], now: Now) -> Result<(), TxError> {
    let mut accrued = ledger::accrued(tx, node)?;
    let after = accrued.through;
    if after >= through {
        return Ok(());
    }
    let postable = postable(after, through, leaves.iter().map(|(epoch, leaf)| (*epoch, leaf)))?;
    if postable.through <= after {
        return Ok(());
    }
    for currency in [Currency::Usdt, Currency::Lucid] {
        let whole = postable.whole(currency, accrued.remainder(currency))?;
        for settlement in [Settlement::Live, Settlement::Simulated] {
            let entry = Entry::accrual(settlement, node, after, postable.through, &whole);
            if let Some(entry) = entry.map_err(|e| Fault::Invariant(e.to_string()))? {
                ledger::post(tx, entry, now)?;
            }
        }
        accrued.set_remainder(currency, whole.remainder);
    }
    accrued.through = postable.through;
    ledger::put_accrued(tx, node, &accrued)
}
