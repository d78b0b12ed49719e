//! Who is who in the fleet, in memory: what every report is checked against. Loaded from the store at start and kept by the verbs that change a
//! node, after their commit.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::core::tables::NODES;
use super::fault::Fault;
use super::table::{Read, WriteTx};
use crate::crypto::PublicKey;
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{NodeId, NodeIndex, PoolIndex};
use crate::domain::node::{Eligible, Node, Wanted};
use crate::domain::time::{Slot, Timeline};

/// What the hot path needs of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEntry {
    pub id: NodeId,
    pub index: NodeIndex,
    pub name: String,
    /// Absent until an agent has claimed the node.
    pub key: Option<PublicKey>,
    pub fingerprint: Option<Fingerprint>,
    /// The machine departed from the accepted fingerprint: payouts hold.
    pub drifted: bool,
    pub wanted: Wanted,
    pub eligible: Timeline<Eligible>,
    pub pool: Timeline<Option<PoolIndex>>,
    pub enrolled_from: Option<Slot>,
}

impl NodeEntry {
    fn of(node: &Node) -> NodeEntry {
        let identity = node.identity.as_ref();
        NodeEntry {
            id: node.id.clone(),
            index: node.index,
            name: node.name.clone(),
            key: identity.map(|i| i.key),
            fingerprint: identity.map(|i| i.fingerprint.clone()),
            drifted: identity.is_some_and(|i| i.drift.is_some()),
            wanted: node.wanted,
            eligible: node.eligible.clone(),
            pool: node.pool.clone(),
            enrolled_from: node.enrolled_from,
        }
    }

    /// The node's time in `slot` counts: enrolled and in service.
    pub fn counts_in(&self, slot: Slot) -> bool {
        self.enrolled_from.is_some_and(|from| from <= slot) && *self.eligible.at(slot) == Eligible::InService
    }
}

#[derive(Default)]
struct Maps {
    by_index: HashMap<NodeIndex, Arc<NodeEntry>>,
    by_id: HashMap<NodeId, NodeIndex>,
}

/// The fleet. Deleted nodes are not in it.
#[derive(Default)]
pub struct Directory(RwLock<Maps>);

impl Directory {
    pub fn load(read: &impl Read) -> Result<Arc<Directory>, Fault> {
        let directory = Directory::default();
        read.for_each(NODES, .., |_, node| {
            directory.put(NodeEntry::of(&node));
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(Arc::new(directory))
    }

    pub fn by_id(&self, id: &NodeId) -> Option<Arc<NodeEntry>> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.get(id).and_then(|index| maps.by_index.get(index)).cloned()
    }

    pub fn by_index(&self, index: NodeIndex) -> Option<Arc<NodeEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.get(&index).cloned()
    }

    /// In the order of their indices.
    pub fn all(&self) -> Vec<Arc<NodeEntry>> {
        let mut all: Vec<_> = self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.values().cloned().collect();
        all.sort_by_key(|entry| entry.index);
        all
    }

    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes that a reported fingerprint identifies.
    pub fn on_machine(&self, reported: &Fingerprint) -> Vec<NodeIndex> {
        let known = |entry: &NodeEntry| entry.fingerprint.as_ref().is_some_and(|f| f.identifies(reported));
        self.all().iter().filter(|entry| known(entry)).map(|entry| entry.index).collect()
    }

    fn put(&self, entry: NodeEntry) {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.insert(entry.id.clone(), entry.index);
        maps.by_index.insert(entry.index, Arc::new(entry));
    }

    fn remove(&self, index: NodeIndex) {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = maps.by_index.remove(&index) {
            maps.by_id.remove(&entry.id);
        }
    }
}

/// Has the directory follow once this transaction commits.
pub fn follow(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, node: &Node) {
    let (directory, entry) = (Arc::clone(directory), NodeEntry::of(node));
    tx.after_commit(move || directory.put(entry));
}

pub fn forget(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, index: NodeIndex) {
    let directory = Arc::clone(directory);
    tx.after_commit(move || directory.remove(index));
}
