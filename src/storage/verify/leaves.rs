//! Holds every kept leaf against the evidence that it was computed from, and both against the head that commits to them: the leaf is computed anew, and the root of
//! the epoch's tree too, over the leaves and the windows that the evidence shows. One epoch is in memory at a time, with the evidence of the one before, as when
//! epochs are closed.

use crate::domain::credits::{Epoch, Leaf, Multiplier, Seen};
use crate::domain::epoch::{Head, unsealed_leaves_hash};
use crate::domain::proof::merkle;
use crate::storage::core::{epochs, nodes};
use crate::storage::evidence::Evidence;
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;
use crate::storage::{Store, hot, proofs};

/// Epochs that are looked at without `--full`: a day of five minutes each.
pub(super) const EPOCHS: usize = 288;

/// What was found.
pub(super) struct Checked {
    /// Leaves that are good.
    pub leaves: u64,
    /// What is wrong with the first epochs that are, and how many there are.
    pub wrong: Option<String>,
    /// Epochs that were not looked at, although their leaves are kept.
    pub left_out: usize,
}

/// Epochs that are named, of those in which something is wrong.
const NAMED: usize = 3;

/// The oldest epoch, not before `from`, since which no epoch lacks a leaf.
pub(in crate::storage) fn whole_from(core: &Snapshot, hot: &Snapshot, from: Epoch) -> Result<Epoch, Fault> {
    let (newest_first, _, _) = epochs::newest_with_leaves(core, from, usize::MAX)?;
    let mut whole_from = from;
    for epoch in newest_first {
        let lacks = match epochs::by_epoch(core, epoch)? {
            Some(head) => hot::leaves::of_epoch(hot, epoch)?.len() < size(&head),
            None => false,
        };
        if lacks {
            whole_from = Epoch(epoch.0.saturating_add(1));
            break;
        }
    }
    Ok(whole_from)
}

/// The newest `most` epochs of which leaves are kept.
pub(super) fn verify((store, core, hot): (&Store, &Snapshot, &Snapshot), most: usize, go_on: &dyn Fn() -> bool) -> Result<Checked, Fault> {
    let mut checked = Checked { leaves: 0, wrong: None, left_out: 0 };
    let Some(oldest) = hot::leaves::oldest(hot)? else { return Ok(checked) };
    let (mut due, left_out, is_older) = epochs::newest_with_leaves(core, oldest, most)?;
    checked.left_out = left_out;
    due.reverse();
    let mut found: Vec<String> = Vec::new();
    let mut wrong_epochs = 0;
    let mut walk = Walk { store, core, hot, evidence: None, before: None };
    for epoch in due {
        if !go_on() {
            return Err(super::stopped());
        }
        let Some(head) = epochs::by_epoch(core, epoch)? else { continue };
        let leaves = hot::leaves::of_epoch(hot, epoch)?;
        // Leaves go some rows at a time, so the oldest epoch may have lost some already.
        let is_going = epoch == oldest && is_older && leaves.len() < size(&head);
        if is_going {
            continue;
        }
        let found_wrong = walk.check(&head, &leaves)?;
        let is_good = found_wrong.is_none();
        match found_wrong {
            None => checked.leaves += u64::try_from(leaves.len()).unwrap_or_default(),
            Some(why) => {
                wrong_epochs += 1;
                if found.len() < NAMED {
                    found.push(format!("epoch {}: {why}", epoch.0));
                }
            }
        }
        // What is wrong in one epoch is said of it alone.
        walk.before = Some((epoch, is_good.then_some(leaves)));
    }
    if wrong_epochs > NAMED {
        found.push(format!("and {} more epochs", wrong_epochs - NAMED));
    }
    checked.wrong = (!found.is_empty()).then(|| found.join("; "));
    Ok(checked)
}

fn size(head: &Head) -> usize {
    usize::try_from(head.counts.nodes()).unwrap_or(usize::MAX)
}

struct Walk<'a> {
    store: &'a Store,
    core: &'a Snapshot,
    hot: &'a Snapshot,
    evidence: Option<Evidence>,
    /// The leaves of the epoch that was looked at before; none when they were wrong.
    before: Option<(Epoch, Option<Vec<Leaf>>)>,
}

impl Walk<'_> {
    /// What is wrong, if anything is.
    fn check(&mut self, head: &Head, leaves: &[Leaf]) -> Result<Option<String>, Fault> {
        if leaves.len() < size(head) {
            return Ok(Some(format!("{} of its {} leaves are missing", size(head) - leaves.len(), size(head))));
        }
        if head.seal.is_none() {
            // Of before heads were signed: their leaves had other inputs, and a hash together.
            let hash = unsealed_leaves_hash(leaves).map_err(|error| Fault::Invariant(error.to_string()))?;
            return Ok((hash != head.root).then(|| "its leaves are not those of its head".to_owned()));
        }
        let enrolled = leaves.iter().map(|leaf| leaf.node).collect();
        let count = leaves.iter().map(|leaf| leaf.node.position() + 1).max().unwrap_or(0);
        let evidence = Evidence::of_epoch(self.evidence.take(), self.hot, &enrolled, head.span(), &head.params, count)?;
        let differing = self.differing(head, leaves, &evidence)?;
        let root = merkle::root(&proofs::hashes(self.store, self.core, head, leaves, &evidence)?);
        let is_empty = evidence.is_empty && leaves.iter().any(|leaf| leaf.inputs.window.observed > 0);
        self.evidence = Some(evidence);
        if root == head.root && differing.is_none() {
            return Ok(None);
        }
        if is_empty {
            return Ok(Some("its evidence is missing".to_owned()));
        }
        let name = match differing {
            Some(leaf) => nodes::ever(self.core, leaf.node)?.map_or_else(|| format!("node {}", leaf.node.0), |node| node.id.to_string()),
            None => return Ok(Some("its leaves or their evidence are not what its head commits to".to_owned())),
        };
        Ok(Some(format!("the leaf of {name} is not what its evidence says")))
    }

    /// The first leaf that is another one when it is computed anew. What follows from records that change (pool, price, whether outputs are expected) and
    /// from reports of other days is taken from the leaf: the root covers it.
    fn differing<'l>(&self, head: &Head, leaves: &'l [Leaf], evidence: &Evidence) -> Result<Option<&'l Leaf>, Fault> {
        let before = match (epochs::before(self.core, head.epoch)?, &self.before) {
            (None, _) => Some(Vec::new()),
            (Some(before), Some((epoch, leaves))) if *epoch == before.epoch => leaves.clone(),
            (Some(before), _) => Some(hot::leaves::of_epoch(self.hot, before.epoch)?).filter(|leaves| leaves.len() >= size(&before)),
        };
        let slots = head.last_slot.0 + 1 - head.epoch.0;
        for leaf in leaves {
            let seen = Seen::of(&evidence.bits(leaf.node), slots, leaf.inputs.outputs_expected, &head.params);
            // Where the leaves of the epoch before are not kept, or wrong, the multiplier is believed: the root covers it.
            let multiplier = before.as_ref().map_or(leaf.multiplier, |before| {
                let found = before.binary_search_by_key(&leaf.node, |leaf| leaf.node).ok().and_then(|at| before.get(at));
                found.map_or(Multiplier::default(), |before| before.multiplier.after(before.slots, &before.inputs))
            });
            let computed = Leaf::close(leaf.node, seen.slots, seen.inputs, multiplier, leaf.payer, &head.params);
            let is_same =
                computed.is_ok_and(|(computed, _)| *leaf == Leaf { window_slots: seen.window_slots, reports: leaf.reports, ..computed });
            if !is_same {
                return Ok(Some(leaf));
            }
        }
        Ok(None)
    }
}
