//! What an epoch commits to, from what is stored: the same code closes an epoch and shows it later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::core::{chain, epochs, nodes, pools};
use super::directory::Directory;
use super::evidence::Evidence;
use super::fault::Fault;
use super::hot;
use super::store::Store;
use super::table::Read;
use crate::crypto::{MacKey, SecretKey};
use crate::domain::credits::{Epoch, Leaf};
use crate::domain::epoch::{Head, Span, unsealed_leaves_hash};
use crate::domain::ids::{NodeId, NodeIndex, PoolId, PoolIndex};
use crate::domain::proof::Hash;
use crate::domain::proof::document::{CONSISTENCY, ConsistencyDocument, ProofDocument};
use crate::domain::proof::head::SignedHead;
use crate::domain::proof::leaf::{BLIND_LEN, CommittedLeaf};
use crate::domain::proof::merkle;
use crate::domain::proof::text::Hex;
use crate::domain::proof::window::{Window, WindowHasher};
use crate::domain::refusal::Refusal;
use crate::domain::time::Slot;

/// What the blinds of leaves are made with.
#[derive(Debug, Clone)]
pub struct Blinds(pub SecretKey);

impl Blinds {
    /// For the leaves of one epoch.
    pub fn of(&self, epoch: Epoch) -> EpochBlinds {
        EpochBlinds { key: MacKey::new(&self.0), epoch: epoch.0.to_be_bytes() }
    }
}

pub struct EpochBlinds {
    key: MacKey,
    epoch: [u8; 4],
}

impl EpochBlinds {
    pub fn of(&self, node: &NodeId) -> [u8; BLIND_LEN] {
        let mut blind = [0; BLIND_LEN];
        blind.copy_from_slice(&self.key.mac(&[&self.epoch, node.as_str().as_bytes()])[..BLIND_LEN]);
        blind
    }
}

/// The ids that stand for indices outside this store.
#[derive(Debug, Default)]
pub struct Ids {
    pub nodes: HashMap<NodeIndex, NodeId>,
    pub pools: HashMap<PoolIndex, PoolId>,
}

impl Ids {
    /// Of all that the leaves name. The directory knows nodes that are there, the store those that were.
    pub fn of(directory: &Directory, core: &impl Read, leaves: &[Leaf]) -> Result<Ids, Fault> {
        let mut ids = Ids::default();
        for leaf in leaves {
            if let Some(node) = directory.by_index(leaf.node) {
                ids.nodes.insert(leaf.node, node.id.clone());
            } else if let Some(node) = nodes::ever(core, leaf.node)? {
                ids.nodes.insert(leaf.node, node.id);
            }
            if let Some(payer) = leaf.payer
                && !ids.pools.contains_key(&payer.pool)
                && let Some(pool) = pools::ever(core, payer.pool)?
            {
                ids.pools.insert(payer.pool, pool.id);
            }
        }
        Ok(ids)
    }

    /// The leaf as others see it.
    fn commit(&self, leaf: &Leaf, span: Span, window: &Hash, blinds: &EpochBlinds) -> Result<CommittedLeaf, Fault> {
        let unknown = || Fault::Invariant(format!("leaf of epoch {} names node {}, which never was", span.epoch.0, leaf.node.0));
        let node = self.nodes.get(&leaf.node).ok_or_else(unknown)?;
        let pool = leaf.payer.and_then(|payer| self.pools.get(&payer.pool));
        Ok(CommittedLeaf::new(leaf, span, node, pool, *window, blinds.of(node)))
    }
}

/// The tree over an epoch's leaves.
#[derive(Debug)]
pub struct Tree {
    pub epoch: Epoch,
    /// Whose leaves they are, in their order.
    pub nodes: Vec<NodeIndex>,
    pub hashes: merkle::Tree,
}

/// The tree that was asked for last, the newest signed head, and the evidence of the newest epoch: who asks mostly means these.
#[derive(Debug, Default)]
pub struct Recent {
    tree: Mutex<Option<Arc<Tree>>>,
    evidence: Mutex<Option<Arc<Evidence>>>,
    head: Mutex<Option<Arc<SignedHead>>>,
}

impl Recent {
    pub fn keep_tree(&self, tree: Tree) -> Arc<Tree> {
        let tree = Arc::new(tree);
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&tree));
        tree
    }

    fn tree_of(&self, epoch: Epoch) -> Option<Arc<Tree>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|tree| tree.epoch == epoch)
    }

    /// For who closes the next epoch, and keeps it again.
    pub fn take_evidence(&self) -> Option<Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner).take().map(Arc::unwrap_or_clone)
    }

    /// At most 22 MB, of 10,000 nodes of which one was not observed for three days; a third of it where all were.
    pub fn keep_evidence(&self, evidence: Evidence) {
        *self.evidence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(evidence));
    }

    fn evidence_of(&self, start: Slot, end: Slot) -> Option<Arc<Evidence>> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|evidence| evidence.reaches(start, end))
    }

    /// After the commit of `head`.
    pub fn keep_head(&self, head: Option<SignedHead>) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head.map(Arc::new);
    }

    /// None before the first one of this store.
    pub fn head(&self) -> Option<Arc<SignedHead>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The row of the evidence in which the window of the leaf begins.
fn window_from(evidence: &Evidence, leaf: &Leaf) -> usize {
    evidence.rows().saturating_sub(usize::from(leaf.window_slots))
}

fn window_of(evidence: &Evidence, leaf: &Leaf) -> Window {
    evidence.bits(leaf.node).window(window_from(evidence, leaf))
}

/// What is left of an epoch's leaves, held against its head.
pub struct Standing {
    /// None of an epoch before heads were signed: its leaves had no hashes of their own.
    pub tree: Option<Arc<Tree>>,
    pub matches: bool,
    /// What it was computed from, unless it was remembered.
    evidence: Option<Evidence>,
}

/// The leaves of a closed epoch, computed anew from what is stored; none when their evidence is not kept any more.
pub fn standing(store: &Store, core: &impl Read, hot: &impl Read, head: &Head, leaves: &[Leaf]) -> Result<Option<Standing>, Fault> {
    if head.seal.is_none() {
        let hash = unsealed_leaves_hash(leaves).map_err(|error| Fault::Invariant(error.to_string()))?;
        return Ok(Some(Standing { tree: None, matches: hash == head.root, evidence: None }));
    }
    let end = head.last_slot.plus(1);
    let longest = leaves.iter().map(|leaf| u32::from(leaf.window_slots)).max().unwrap_or(0);
    let nodes = leaves.iter().map(|leaf| leaf.node.position() + 1).max().unwrap_or(0);
    // What is not kept any more is missing in it.
    let evidence = Evidence::read(hot, end.minus(longest), end, nodes)?;
    if evidence.is_empty && leaves.iter().any(|leaf| leaf.inputs.window.observed > 0) {
        return Ok(None);
    }
    let hashes = hashes(store, core, head, leaves, &evidence)?;
    let nodes = leaves.iter().map(|leaf| leaf.node).collect();
    let hashes = merkle::Tree::over(hashes);
    let matches = hashes.root() == head.root;
    let tree = Tree { epoch: head.epoch, nodes, hashes };
    let tree = if matches { store.recent.keep_tree(tree) } else { Arc::new(tree) };
    Ok(Some(Standing { tree: Some(tree), matches, evidence: Some(evidence) }))
}

/// The hashes of leaves as their head commits to them: over what they say, and over their windows.
pub fn hashes(store: &Store, core: &impl Read, head: &Head, leaves: &[Leaf], evidence: &Evidence) -> Result<Vec<Hash>, Fault> {
    let (ids, blinds) = (Ids::of(&store.directory, core, leaves)?, store.blinds.of(head.epoch));
    let hash = |(leaf, window): (&Leaf, Hash)| Ok(ids.commit(leaf, head.span(), &window, &blinds)?.hash());
    leaves.iter().zip(windows(evidence, leaves)).map(hash).collect()
}

/// The proof document of a node, of the newest epoch with leaves or of a given one.
pub fn document(store: &Store, node: NodeIndex, epoch: Option<Epoch>) -> Result<Result<ProofDocument, Refusal>, Fault> {
    let core = store.read()?;
    let head = match epoch {
        Some(epoch) => match epochs::by_epoch(&core, epoch)? {
            None => return Ok(Err(Refusal::EpochNotFound)),
            found => found,
        },
        None => epochs::before(&core, Epoch(u32::MAX))?,
    };
    let Some((head, signed)) = head.filter(|head| !head.is_gap).and_then(|head| head.signed().map(|signed| (head, signed))) else {
        return Ok(Err(Refusal::ProofNotThere));
    };
    let hot = store.hot.read()?;
    let Some(leaf) = hot::leaves::of_node(&hot, head.epoch, node)? else {
        let is_forgotten = hot::leaves::of_epoch(&hot, head.epoch)?.is_empty();
        return Ok(Err(if is_forgotten { Refusal::ProofNotKept } else { Refusal::ProofNotThere }));
    };
    let standing = match store.recent.tree_of(head.epoch) {
        Some(tree) => Some(Standing { tree: Some(tree), matches: true, evidence: None }),
        None => standing(store, &core, &hot, &head, &hot::leaves::of_epoch(&hot, head.epoch)?)?,
    };
    let Some(Standing { tree: Some(tree), matches: true, evidence }) = standing else { return Ok(Err(Refusal::ProofNotKept)) };
    let Some(index) = tree.nodes.binary_search(&node).ok() else { return Ok(Err(Refusal::ProofNotThere)) };
    let end = head.last_slot.plus(1);
    let start = end.minus(u32::from(leaf.window_slots));
    let window = match evidence.map(Arc::new).or_else(|| store.recent.evidence_of(start, end)) {
        Some(evidence) => window_of(&evidence, &leaf),
        None => window_of(&Evidence::of_node(&hot, start, end, node)?, &leaf),
    };
    let ids = Ids::of(&store.directory, &core, &[leaf])?;
    let committed = ids.commit(&leaf, head.span(), &window.hash(), &store.blinds.of(head.epoch))?;
    let path = tree.hashes.inclusion(index).unwrap_or_default();
    // The tree may be remembered, and so may the evidence; the leaf was read just now.
    if tree.hashes.leaves().get(index) != Some(&committed.hash()) {
        return Ok(Err(Refusal::ProofNotKept));
    }
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    Ok(Ok(ProofDocument::new(signed, committed, index, path, Some(window), chain::successions(&core)?)))
}

/// Two heads of the history, the earlier one first, with what shows that they are of one.
pub fn consistency(store: &Store, first: Epoch, second: Epoch) -> Result<Result<ConsistencyDocument, Refusal>, Fault> {
    let core = store.read()?;
    let find = |epoch| epochs::by_epoch(&core, epoch);
    let (Some(a), Some(b)) = (find(first)?, find(second)?) else { return Ok(Err(Refusal::EpochNotFound)) };
    let (Some(a), Some(b)) = (a.signed(), b.signed()) else { return Ok(Err(Refusal::ProofNotThere)) };
    let (a, b) = if a.head.sequence <= b.head.sequence { (a, b) } else { (b, a) };
    let (from, until) = (a.head.sequence, b.head.sequence);
    let mut document = ConsistencyDocument {
        format: CONSISTENCY.to_owned(),
        first: a,
        second: b,
        inclusion: None,
        consistency: None,
        successions: chain::successions(&core)?,
    };
    if from < until {
        let hashes = chain::hashes(&core, until)?;
        let place = |sequence: u64| usize::try_from(sequence).unwrap_or(usize::MAX);
        let text = |path: Option<Vec<Hash>>| path.map(|path| path.into_iter().map(Hex).collect());
        document.inclusion = text(merkle::inclusion(&hashes, place(from)));
        document.consistency = text(merkle::consistency(&hashes, place(from)));
    }
    Ok(Ok(document))
}

/// The windows of the leaves of an epoch that is being closed, as hashes in their order.
pub fn windows(evidence: &Evidence, leaves: &[Leaf]) -> Vec<Hash> {
    let mut windows = WindowHasher::default();
    leaves.iter().map(|leaf| windows.hash(evidence.bits(leaf.node), window_from(evidence, leaf))).collect()
}
