//! Who is who in the fleet, in memory: what every report is checked against. Loaded from the store at start and kept by the verbs that change a
//! node, after their commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::core::tables::NODES;
use super::core::{allocations, commands};
use super::fault::{Fault, TxError};
use super::table::{Read, WriteTx};
use crate::crypto::PublicKey;
use crate::domain::allocation::Allocation;
use crate::domain::command::{Command, Order};
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{NodeId, NodeIndex, PoolIndex};
use crate::domain::node::{Eligible, Node, NodeType, Wanted};
use crate::domain::time::{Slot, Timeline};
use crate::domain::workload::Limits;

/// What the hot path needs of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEntry {
    pub id: NodeId,
    pub index: NodeIndex,
    pub name: String,
    pub node_type: NodeType,
    /// Absent until an agent has claimed the node.
    pub key: Option<PublicKey>,
    pub fingerprint: Option<Fingerprint>,
    /// The machine departed from the accepted fingerprint: payouts hold.
    pub drifted: bool,
    pub wanted: Wanted,
    pub eligible: Timeline<Eligible>,
    pub pool: Timeline<Option<PoolIndex>>,
    pub enrolled_from: Option<Slot>,
    /// What its workload may use: its allocations, within its configuration.
    pub limits: Limits,
    /// The sum of its allocations.
    pub allocated: Allocation,
}

/// What a node was told to do, and the command that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub order: Order,
    pub open: Option<Command>,
}

impl NodeEntry {
    fn of(node: &Node, allocated: &Allocation) -> NodeEntry {
        let identity = node.identity.as_ref();
        NodeEntry {
            id: node.id.clone(),
            index: node.index,
            name: node.name.clone(),
            node_type: node.node_type,
            key: identity.map(|i| i.key),
            fingerprint: identity.map(|i| i.fingerprint.clone()),
            drifted: identity.is_some_and(|i| i.drift.is_some()),
            wanted: node.wanted,
            eligible: node.eligible.clone(),
            pool: node.pool.clone(),
            enrolled_from: node.enrolled_from,
            limits: Limits::in_force(node.configuration.resource_limits.as_ref(), allocated),
            allocated: *allocated,
        }
    }

    /// When the node was or will be out of service: from each slot to before the other.
    pub fn out_of_service(&self) -> Vec<(Slot, Slot)> {
        [Eligible::Maintenance, Eligible::Draining, Eligible::Suspended].iter().flat_map(|out| self.eligible.spans_of(out)).collect()
    }

    /// The node's time in `slot` counts: enrolled and in service.
    pub fn counts_in(&self, slot: Slot) -> bool {
        self.enrolled_from.is_some_and(|from| from <= slot) && *self.eligible.at(slot) == Eligible::InService
    }
}

#[derive(Default)]
struct Maps {
    by_index: BTreeMap<NodeIndex, Arc<NodeEntry>>,
    by_id: HashMap<NodeId, NodeIndex>,
    /// Board serial and machine id, as hashed in fingerprints, to the nodes that have them: one of the two must fit for a machine to be known.
    by_part: HashMap<String, Vec<NodeIndex>>,
    /// Of the nodes that got a command once.
    standings: HashMap<NodeIndex, Standing>,
}

impl Maps {
    fn put(&mut self, entry: NodeEntry) {
        self.remove(entry.index);
        self.by_id.insert(entry.id.clone(), entry.index);
        for part in entry.fingerprint.iter().flat_map(telling_parts) {
            self.by_part.entry(part.clone()).or_default().push(entry.index);
        }
        self.by_index.insert(entry.index, Arc::new(entry));
    }

    fn remove(&mut self, index: NodeIndex) {
        let Some(entry) = self.by_index.remove(&index) else { return };
        self.by_id.remove(&entry.id);
        for part in entry.fingerprint.iter().flat_map(telling_parts) {
            if let Some(nodes) = self.by_part.get_mut(part) {
                nodes.retain(|node| *node != index);
                if nodes.is_empty() {
                    self.by_part.remove(part);
                }
            }
        }
    }
}

/// The parts of which `Fingerprint::identifies` wants one to be the same.
fn telling_parts(fingerprint: &Fingerprint) -> impl Iterator<Item = &String> {
    [&fingerprint.board_serial, &fingerprint.machine_id].into_iter().flatten()
}

/// The fleet. Deleted nodes are not in it.
#[derive(Default)]
pub struct Directory(RwLock<Maps>);

impl Directory {
    pub fn load(read: &impl Read) -> Result<Arc<Directory>, Fault> {
        let (directory, allocated) = (Directory::default(), allocations::totals(read)?);
        read.for_each(NODES, .., |_, node| {
            directory.put(NodeEntry::of(&node, &allocated.get(&node.index).copied().unwrap_or_default()));
            std::ops::ControlFlow::Continue(())
        })?;
        for (node, standing) in commands::standings(read)? {
            directory.put_standing(node, standing);
        }
        Ok(Arc::new(directory))
    }

    pub fn by_id(&self, id: &NodeId) -> Option<Arc<NodeEntry>> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.get(id).and_then(|index| maps.by_index.get(index)).cloned()
    }

    pub fn by_index(&self, index: NodeIndex) -> Option<Arc<NodeEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.get(&index).cloned()
    }

    /// What the node was told to do; of one without a command, what its record wants.
    pub fn standing(&self, node: &NodeEntry) -> Standing {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.standings.get(&node.index).cloned().unwrap_or_else(|| Standing { order: Order::initial(node.wanted), open: None })
    }

    /// The revision of `standing`, without the rest of it; none of a node that is not there.
    pub fn revision(&self, node: NodeIndex) -> Option<u64> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = maps.by_index.get(&node)?;
        Some(maps.standings.get(&node).map_or_else(|| Order::initial(entry.wanted).revision, |standing| standing.order.revision))
    }

    /// The sum of the node's allocations.
    pub fn allocated(&self, node: NodeIndex) -> Allocation {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_index.get(&node).map(|entry| entry.allocated).unwrap_or_default()
    }

    /// The commands that have not ended, of nodes that are there.
    pub fn open_commands(&self) -> Vec<(Arc<NodeEntry>, Command)> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let open = maps.standings.iter().filter_map(|(index, standing)| Some((maps.by_index.get(index)?, standing.open.as_ref()?)));
        open.map(|(entry, command)| (Arc::clone(entry), command.clone())).collect()
    }

    fn put_standing(&self, node: NodeIndex, standing: Standing) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).standings.insert(node, standing);
    }

    /// In the order of their indices.
    pub fn all(&self) -> Vec<Arc<NodeEntry>> {
        self.select(|_| true)
    }

    /// Those that fit, in the order of their indices.
    pub fn select(&self, fits: impl Fn(&NodeEntry) -> bool) -> Vec<Arc<NodeEntry>> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_index.values().filter(|entry| fits(entry)).cloned().collect()
    }

    /// The indices of those that fit, ascending.
    pub fn indices(&self, fits: impl Fn(&NodeEntry) -> bool) -> Vec<NodeIndex> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_index.values().filter(|entry| fits(entry)).map(|entry| entry.index).collect()
    }

    /// The indices of all, ascending, without looking at any.
    pub fn all_indices(&self) -> Vec<NodeIndex> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes that a reported fingerprint identifies, in the order of their indices.
    pub fn on_machine(&self, reported: &Fingerprint) -> Vec<NodeIndex> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = |index: &&NodeIndex| {
            let fingerprint = maps.by_index.get(*index).and_then(|entry| entry.fingerprint.as_ref());
            fingerprint.is_some_and(|fingerprint| fingerprint.identifies(reported))
        };
        let mut found: Vec<NodeIndex> =
            telling_parts(reported).filter_map(|part| maps.by_part.get(part)).flatten().filter(known).copied().collect();
        found.sort();
        found.dedup();
        found
    }

    fn put(&self, entry: NodeEntry) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).put(entry);
    }

    fn remove(&self, index: NodeIndex) {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        maps.remove(index);
        maps.standings.remove(&index);
    }
}

/// Has the directory follow once this transaction commits.
pub fn follow(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, node: &Node) -> Result<(), TxError> {
    let (directory, entry) = (Arc::clone(directory), NodeEntry::of(node, &allocations::total(tx, node.index)?));
    tx.after_commit(move || directory.put(entry));
    Ok(())
}

/// Has the directory follow a node's command once this transaction commits.
pub fn follow_standing(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, node: NodeIndex, standing: Standing) {
    let directory = Arc::clone(directory);
    tx.after_commit(move || directory.put_standing(node, standing.clone()));
}

pub fn forget(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, index: NodeIndex) {
    let directory = Arc::clone(directory);
    tx.after_commit(move || directory.remove(index));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::Eligible;

    fn entry(index: u32, serial: Option<&str>, machine_id: &str) -> NodeEntry {
        let hash = |what: &str, value: &str| Some(Fingerprint::part("test", what, value));
        let fingerprint = Fingerprint {
            machine_id: hash("machine-id", machine_id),
            board_serial: serial.and_then(|serial| hash("serial", serial)),
            disk_id: hash("disk", "one"),
            ..Fingerprint::default()
        };
        NodeEntry {
            id: NodeId::parse(&format!("node_{index:04}")).unwrap(),
            index: NodeIndex(index),
            name: String::new(),
            node_type: NodeType::Worker,
            key: None,
            fingerprint: Some(fingerprint),
            drifted: false,
            wanted: Wanted::Running,
            eligible: Timeline::new(Eligible::InService),
            pool: Timeline::new(None),
            enrolled_from: None,
            limits: Limits::default(),
            allocated: Allocation::default(),
        }
    }

    #[test]
    fn a_machine_is_found_as_a_walk_over_all_nodes_would_find_it() {
        let directory = Directory::default();
        let variants: Vec<(Option<&str>, &str)> = vec![(Some("a"), "m1"), (Some("b"), "m1"), (None, "m1"), (Some("a"), "m2"), (None, "m3")];
        for (index, (serial, machine_id)) in (0u32..).zip(variants.iter().chain(&variants)) {
            directory.put(entry(index, *serial, machine_id));
        }
        // One node is another machine now, one is gone.
        directory.put(entry(0, Some("z"), "m9"));
        directory.remove(NodeIndex(7));
        let reported = variants.iter().copied().chain([(Some("z"), "m9"), (Some("q"), "q"), (None, "m9")]);
        for (serial, machine_id) in reported {
            let reported = entry(99, serial, machine_id).fingerprint.unwrap();
            let walked = directory.all().into_iter().filter(|e| e.fingerprint.as_ref().is_some_and(|f| f.identifies(&reported)));
            let walked: Vec<NodeIndex> = walked.map(|e| e.index).collect();
            assert_eq!(directory.on_machine(&reported), walked, "{serial:?} {machine_id}");
        }
    }
}
