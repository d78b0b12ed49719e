//! What nodes have earned since their last posting: leaves are in hot, how far they are posted is in core.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::{epochs, ledger, nodes, statements};
use super::fault::{Fault, TxError};
use super::hot::leaves;
use super::table::{Read, WriteTx};
use crate::domain::credits::{self, Earned, Epoch, Leaf};
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Book, Entry, Settlement};
use crate::domain::money::{Currency, Overflow, Pico, Units};
use crate::domain::statement::Month;
use crate::domain::time::Now;

/// By currency; no zeros.
pub type Unposted = BTreeMap<Currency, Pico>;

/// Of each node, the epoch through which its accruals are posted.
type Posted = BTreeMap<NodeIndex, Epoch>;

/// Accrued and not posted, of each of these nodes. `core` must not be newer than `hot`: take its snapshot first. Each group of leaves is read once.
pub fn unposted(
    core: &impl Read,
    hot: &impl Read,
    nodes: impl IntoIterator<Item = NodeIndex>,
) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
    with_remainders(core, nodes, |posted, last| earned(core, hot, posted, last))
}

fn with_remainders(
    core: &impl Read,
    nodes: impl IntoIterator<Item = NodeIndex>,
    earned: impl FnOnce(&Posted, Epoch) -> Result<HashMap<NodeIndex, Unposted>, Fault>,
) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
    let accrued = nodes.into_iter().map(|node| Ok((node, ledger::accrued(core, node)?))).collect::<Result<Vec<_>, Fault>>()?;
    let posted: Posted = accrued.iter().map(|(node, accrued)| (*node, accrued.through)).collect();
    let mut sums = match epochs::last(core)? {
        Some(head) => earned(&posted, head.epoch)?,
        None => HashMap::new(),
    };
    for (node, accrued) in accrued {
        let sum = sums.entry(node).or_default();
        for (currency, amount) in accrued.remainders {
            let so_far = sum.entry(currency).or_default();
            *so_far = so_far.plus(amount).map_err(overflow)?;
        }
        sum.retain(|_, amount| *amount != Pico::ZERO);
    }
    Ok(sums)
}

/// What the leaves after each node's last posting and through `last` hold.
fn earned(core: &impl Read, hot: &impl Read, posted: &Posted, last: Epoch) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
    let mut of_node: HashMap<NodeIndex, Vec<(Epoch, Leaf)>> = HashMap::new();
    let Some(first) = posted.values().min() else { return Ok(HashMap::new()) };
    for epoch in epochs::with_leaves(core, *first, last)? {
        let wanted: Vec<NodeIndex> = posted.iter().filter(|(_, after)| **after < epoch).map(|(node, _)| *node).collect();
        for leaf in leaves::of_nodes(hot, epoch, &wanted)? {
            of_node.entry(leaf.node).or_default().push((epoch, leaf));
        }
    }
    let sum = |(node, leaves): (NodeIndex, Vec<(Epoch, Leaf)>)| {
        let after = posted.get(&node).copied().unwrap_or_default();
        Ok((node, credits::unposted(after, last, &leaves).map_err(overflow)?))
    };
    of_node.into_iter().map(sum).collect()
}

/// The leaves of each node after its watermark and through `through`, read epoch by epoch so that each is read once. `core` must not be newer than `hot`.
pub fn gather(
    core: &impl Read,
    hot: &impl Read,
    nodes: &[NodeIndex],
    through: Epoch,
) -> Result<BTreeMap<NodeIndex, Vec<(Epoch, Leaf)>>, Fault> {
    let mut after = BTreeMap::new();
    for node in nodes {
        after.insert(*node, ledger::accrued(core, *node)?.through);
    }
    let Some(earliest) = after.values().min().copied() else { return Ok(BTreeMap::new()) };
    let mut found: BTreeMap<NodeIndex, Vec<(Epoch, Leaf)>> = nodes.iter().map(|node| (*node, Vec::new())).collect();
    for epoch in epochs::with_leaves(core, earliest, through)? {
        let wanted: Vec<NodeIndex> = after.iter().filter(|(_, after)| **after < epoch).map(|(node, _)| *node).collect();
        for leaf in leaves::of_nodes(hot, epoch, &wanted)? {
            found.entry(leaf.node).or_default().push((epoch, leaf));
        }
    }
    Ok(found)
}

/// Posts what `leaves` decide of a node up to `through`, in the live book and in the simulated one. Cut at the ends of months, so that a posting that comes
/// late still belongs to the month that earned it; what pending epochs held over an end, and ranges without a whole unit, belong to the month that decides them.
pub fn post(tx: &mut WriteTx<'_>, node: NodeIndex, through: Epoch, leaves: &[(Epoch, Leaf)], now: Now) -> Result<(), TxError> {
    let mut ends: Vec<Epoch> = leaves.iter().map(|(epoch, _)| Month::of_epoch(*epoch).last_epoch()).filter(|end| *end < through).collect();
    ends.dedup();
    ends.push(through);
    ends.into_iter().try_for_each(|end| post_range(tx, node, end, leaves, now))
}

fn post_range(tx: &mut WriteTx<'_>, node: NodeIndex, through: Epoch, leaves: &[(Epoch, Leaf)], now: Now) -> Result<(), TxError> {
    let mut accrued = ledger::accrued(tx, node)?;
    let after = accrued.through;
    if after >= through {
        return Ok(());
    }
    let postable = credits::postable(after, through, leaves.iter().map(|(epoch, leaf)| (*epoch, leaf))).map_err(overflow)?;
    if postable.through <= after {
        return Ok(());
    }
    for currency in [Currency::Usdt, Currency::Lucid] {
        let whole = postable.whole(currency, accrued.remainder(currency)).map_err(overflow)?;
        let withheld = postable.withheld.get(&currency).copied().unwrap_or_default();
        for settlement in [Settlement::Live, Settlement::Simulated] {
            let entry = Entry::accrual(settlement, node, accrued.posted(currency), postable.through, &whole);
            if let Some(entry) = entry.map_err(|why| Fault::Books { why: why.to_string(), now })? {
                ledger::post(tx, entry, now)?;
            }
            if withheld != 0 {
                statements::withhold(tx, Book { settlement, currency }, Month::of_epoch(postable.through), node, withheld)?;
            }
        }
        if whole.total != Units::ZERO {
            accrued.set_posted(currency, postable.through);
        }
        accrued.set_remainder(currency, whole.remainder);
    }
    accrued.through = postable.through;
    ledger::put_accrued(tx, node, &accrued)
}

/// Sums that were read before, for those who only show them: a page of nodes would otherwise read every leaf of up to a day. Leaves do not change once their epoch has
/// its head, so what is kept of a node is true for as long as it is posted through the same epoch, and the next epoch only adds to it.
#[derive(Debug, Default)]
pub struct Sums(Mutex<BTreeMap<NodeIndex, Kept>>);

/// What the leaves of (after, through] hold.
#[derive(Debug, Clone)]
struct Kept {
    after: Epoch,
    through: Epoch,
    earned: Earned,
}

/// What nobody asked about for a day is forgotten, deleted nodes among it.
const KEPT_SLOTS: u32 = 2_880;

impl Sums {
    /// As `unposted`, where nothing depends on it but what people see.
    pub fn unposted(
        &self,
        core: &impl Read,
        hot: &impl Read,
        nodes: impl IntoIterator<Item = NodeIndex>,
    ) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
        with_remainders(core, nodes, |posted, last| self.earned(core, hot, posted, last))
    }

    fn earned(&self, core: &impl Read, hot: &impl Read, posted: &Posted, last: Epoch) -> Result<HashMap<NodeIndex, Unposted>, Fault> {
        let mut sums = self.begin(core, posted, last)?;
        let behind = |kept: &Kept| kept.through < last;
        if let Some(first) = sums.values().filter(|kept| behind(kept)).map(|kept| kept.through).min() {
            for epoch in epochs::with_leaves(core, first, last)? {
                let wanted: Vec<NodeIndex> = sums.iter().filter(|(_, kept)| kept.through < epoch).map(|(node, _)| *node).collect();
                for leaf in leaves::of_nodes(hot, epoch, &wanted)? {
                    if let Some(kept) = sums.get_mut(&leaf.node) {
                        kept.earned.add(&leaf).map_err(overflow)?;
                    }
                }
            }
            self.keep(&mut sums, last);
        }
        let sum = |(node, kept): (&NodeIndex, &Kept)| Ok((*node, kept.earned.sum().map_err(overflow)?));
        sums.iter().filter(|(node, _)| posted.contains_key(node)).map(sum).collect()
    }

    /// What is known of these nodes, and nothing yet of the others. The neighbours of those come along: their leaves stand in the same rows.
    fn begin(&self, core: &impl Read, posted: &Posted, last: Epoch) -> Result<BTreeMap<NodeIndex, Kept>, Fault> {
        let (mut sums, mut neighbours) = (BTreeMap::new(), BTreeMap::new());
        {
            let known = self.known();
            for (node, after) in posted {
                let usable = known.get(node).filter(|kept| kept.after == *after && kept.through <= last);
                if usable.is_none() {
                    for neighbour in leaves::neighbours(*node).filter(|node| !known.contains_key(node)) {
                        let earliest = neighbours.entry(neighbour).or_insert(*after);
                        *earliest = (*after).min(*earliest);
                    }
                }
                let nothing = || Kept { after: *after, through: *after, earned: Earned::default() };
                sums.insert(*node, usable.cloned().unwrap_or_else(nothing));
            }
        }
        for (node, earliest) in neighbours {
            if sums.contains_key(&node) || nodes::by_index(core, node)?.is_none() {
                continue;
            }
            let after = ledger::accrued(core, node)?.through;
            // No row is read for a neighbour alone.
            if after >= earliest {
                sums.insert(node, Kept { after, through: after, earned: Earned::default() });
            }
        }
        Ok(sums)
    }

    fn keep(&self, sums: &mut BTreeMap<NodeIndex, Kept>, last: Epoch) {
        let mut known = self.known();
        for (node, kept) in sums {
            kept.through = kept.through.max(last);
            // Whoever reads an older snapshot leaves the newer sum in place.
            if known.get(node).is_none_or(|other| (other.through, other.after) <= (kept.through, kept.after)) {
                known.insert(*node, kept.clone());
            }
        }
        known.retain(|_, kept| kept.through.0.saturating_add(KEPT_SLOTS) >= last.0);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeIndex, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overflow(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::{EpochSlots, Multiplier, Payer};
    use crate::domain::epoch::{Counts, GENESIS, Head};
    use crate::domain::ids::PoolIndex;
    use crate::domain::pool::Pricing;
    use crate::domain::poot::{Inputs, Params, ScoreState, score};
    use crate::domain::time::{Slot, Timestamp};
    use crate::storage::Store;
    use crate::storage::core::ledger::Accrued;
    use crate::storage::testing::store;

    const NODES: u32 = 150;

    /// In the pattern of states, every node differs from its neighbours.
    fn leaf(node: u32, n: u32) -> Leaf {
        let pricing = Pricing { cost_per_hour: Units(1), reward_per_hour: Units(1), currency: Currency::Usdt };
        let mut score = score(&Inputs::default(), &Params::default());
        score.state = [ScoreState::Valid, ScoreState::Pending, ScoreState::Invalid][((node + n) * (n + 1) % 7 % 3) as usize];
        Leaf {
            node: NodeIndex(node),
            slots: EpochSlots::default(),
            inputs: Inputs::default(),
            score,
            multiplier: Multiplier::default(),
            payer: Some(Payer { pool: PoolIndex(0), pricing }),
            accrual: Pico(i128::from(node * 1_000 + n)),
            window_slots: 0,
            reports: None,
        }
    }

    fn close(store: &Store, n: u32) {
        let epoch = Epoch(n * 10);
        let leaves: Vec<Leaf> = (0..NODES).filter(|node| !(node + n).is_multiple_of(5)).map(|node| leaf(node, n)).collect();
        store.hot.write_now(move |tx| leaves::put(tx, epoch, &leaves)).unwrap();
        let head = Head {
            epoch,
            last_slot: Slot(epoch.0 + 9),
            slots_per_epoch: 10,
            closed_at: Timestamp(0),
            is_gap: false,
            params: Params::default(),
            counts: Counts::default(),
            leaves_at: Some(epoch),
            root: [0; 32],
            previous: GENESIS,
            seal: None,
        };
        store.core.write_now(move |tx| epochs::put(tx, &head)).unwrap();
    }

    fn post(store: &Store, node: u32, n: u32) {
        let accrued = Accrued { remainders: vec![(Currency::Usdt, Pico(i128::from(n)))], ..Accrued::since(Epoch(n * 10)) };
        store.core.write_now(move |tx| ledger::put_accrued(tx, NodeIndex(node), &accrued)).unwrap();
    }

    #[test]
    fn sums_that_are_kept_are_those_that_would_be_read() {
        let (_dir, store) = store();
        let same = |what: &str| {
            for nodes in [0..NODES, 0..1, 90..110, 40..60, 0..NODES] {
                let nodes: Vec<NodeIndex> = nodes.map(NodeIndex).collect();
                let (core, hot) = (store.read().unwrap(), store.hot.read().unwrap());
                let read = unposted(&core, &hot, nodes.iter().copied()).unwrap();
                assert_eq!(store.sums.unposted(&core, &hot, nodes).unwrap(), read, "{what}");
            }
        };
        same("nothing closed");
        let mut seen = 0;
        for n in 1..12 {
            let before = (store.read().unwrap(), store.hot.read().unwrap());
            close(&store, n);
            same("after a close");
            for node in (0..NODES).filter(|node| node % 11 == n) {
                post(&store, node, n - n % 2);
            }
            same("after postings");
            // Who began before reads as of then, and spoils nothing for those who come later.
            let all = || (0..NODES).map(NodeIndex);
            let read = unposted(&before.0, &before.1, all()).unwrap();
            assert_eq!(store.sums.unposted(&before.0, &before.1, all()).unwrap(), read);
            same("after an older read");
            seen = seen.max(read.values().filter(|sum| !sum.is_empty()).count());
        }
        assert!(seen > 100, "{seen} sums");
        assert_eq!(store.sums.known().len(), NODES as usize);
    }
}
