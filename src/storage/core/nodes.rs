//! Nodes: made, changed, moved between pools, deleted. Every change is audited in its transaction, and the directory follows after the commit.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::ledger::Accrued;
use super::tables::{Index, NODE_IDS, NODE_KEYS, NODE_NAMES, NODES, RETIRED_NODES};
use super::{
    alerts, allocations, audit, commands, epochs, final_payouts, ledger, maintenance, memberships, meta, node_events, pools, suspensions,
    thresholds,
};
use crate::crypto::PublicKey;
use crate::domain::alert::Severity;
use crate::domain::audit::{Act, Draft};
use crate::domain::command::Action;
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{NodeId, NodeIndex, PoolId, PoolIndex};
use crate::domain::node::{Eligible, Node, Wanted};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::pool::{DEFAULT_PRIORITY, Pool};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, NodeChange, change_from_next_slot};
use crate::domain::security::{FINGERPRINT_DRIFT, OF_MACHINES, TWO_ON_ONE_MACHINE};
use crate::domain::time::Timeline;
use crate::storage::directory::{self, Directory};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

pub fn by_id(read: &impl Read, id: &NodeId) -> Result<Option<Node>, Fault> {
    match read.get(NODE_IDS, &id.as_str().to_owned())? {
        Some(Index(index)) => read.get(NODES, &index),
        None => Ok(None),
    }
}

pub fn by_index(read: &impl Read, index: NodeIndex) -> Result<Option<Node>, Fault> {
    read.get(NODES, &index.0)
}

/// The nodes of these indices, in their order; a deleted one is left out.
pub fn by_indices(read: &impl Read, indices: impl IntoIterator<Item = NodeIndex>) -> Result<Vec<Node>, Fault> {
    read.get_each(NODES, indices.into_iter().map(|index| index.0))
}

/// The node, deleted or not: whom a posting of the past names.
pub fn ever(read: &impl Read, index: NodeIndex) -> Result<Option<Node>, Fault> {
    match by_index(read, index)? {
        Some(node) => Ok(Some(node)),
        None => read.get(RETIRED_NODES, &index.0),
    }
}

pub fn by_key(read: &impl Read, key: &PublicKey) -> Result<Option<Node>, Fault> {
    match read.get(NODE_KEYS, &key.0)? {
        Some(Index(index)) => read.get(NODES, &index),
        None => Ok(None),
    }
}

pub fn require(read: &impl Read, id: &NodeId) -> Result<Node, TxError> {
    Ok(by_id(read, id)?.ok_or(Refusal::NodeNotFound)?)
}

/// All nodes by index; there are at most `domain::node::MAX_NODES`.
pub fn all(read: &impl Read) -> Result<Vec<Node>, Fault> {
    let mut nodes = Vec::new();
    read.for_each(NODES, .., |_, node| {
        nodes.push(node);
        ControlFlow::Continue(())
    })?;
    Ok(nodes)
}

/// Nodes of every pool that has any, in one walk.
pub fn member_counts(read: &impl Read) -> Result<HashMap<PoolIndex, u32>, Fault> {
    let mut counts = HashMap::new();
    read.for_each(NODE_NAMES, .., |(pool, _), _| {
        *counts.entry(PoolIndex(pool)).or_insert(0) += 1;
        ControlFlow::Continue(())
    })?;
    Ok(counts)
}

/// Where a name must be unique: its pool, or the nodes of none.
pub(super) fn name_key(pool: Option<PoolIndex>, name: &str) -> (u32, String) {
    (pool.map_or(u32::MAX, |p| p.0), name.to_owned())
}

/// Makes a node without an agent; `max_nodes` is the configured size of the fleet.
pub fn create(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    new: &NewNode,
    max_nodes: u32,
) -> Result<Node, TxError> {
    let mut errors = FieldErrors::default();
    new.check(&mut errors);
    errors.finish()?;
    if tx.get(NODE_IDS, &id.as_str().to_owned())?.is_some() {
        return Err(Refusal::NodeExists.into());
    }
    let pool = new.pool.as_ref().map(|pool| pools::require(tx, pool)).transpose()?;
    check_room(tx, pool.as_ref(), max_nodes)?;
    let pool = pool.map(|pool| pool.index);
    check_name_free(tx, pool, &new.name)?;
    let node = insert(tx, act, id, pool, new)?;
    directory::follow(tx, directory, &node)?;
    audit::append(tx, act.draft("node.create", id.as_str()))?;
    Ok(node)
}

/// Refuses when neither the fleet nor the pool can take one more.
pub(super) fn check_room(tx: &WriteTx<'_>, pool: Option<&Pool>, max_nodes: u32) -> Result<(), TxError> {
    if tx.count(NODES)? >= u64::from(max_nodes) {
        return Err(Refusal::FleetFull.into());
    }
    pool.map_or(Ok(()), |pool| check_pool_room(tx, pool))
}

fn check_pool_room(tx: &WriteTx<'_>, pool: &Pool) -> Result<(), TxError> {
    if pools::member_count(tx, pool.index)? >= pool.max_nodes { Err(Refusal::PoolFull.into()) } else { Ok(()) }
}

fn check_name_free(tx: &WriteTx<'_>, pool: Option<PoolIndex>, name: &str) -> Result<(), TxError> {
    if tx.get(NODE_NAMES, &name_key(pool, name))?.is_some() { Err(Refusal::NodeNameTaken.into()) } else { Ok(()) }
}

/// Writes a node that was checked; the first mutation of its verb.
pub(super) fn insert(tx: &mut WriteTx<'_>, act: &Act, id: &NodeId, pool: Option<PoolIndex>, new: &NewNode) -> Result<Node, TxError> {
    let node = Node {
        id: id.clone(),
        index: meta::next_node_index(tx)?,
        name: new.name.clone(),
        node_type: new.node_type,
        pool: Timeline::new(pool),
        hardware: new.hardware.clone(),
        location: new.location.clone(),
        configuration: new.configuration.clone(),
        wanted: Wanted::Running,
        eligible: Timeline::new(Eligible::InService),
        identity: None,
        created_at: act.now.wall,
        updated_at: act.now.wall,
        enrolled_from: None,
    };
    // Nothing of the epochs that are closed already is this node's; by the heads, because the clock may be wrong.
    let through = epochs::last(tx)?.map(|head| head.epoch).unwrap_or_default();
    ledger::put_accrued(tx, node.index, &Accrued::since(through))?;
    tx.put(NODES, &node.index.0, &node)?;
    tx.put(NODE_IDS, &id.as_str().to_owned(), &Index(node.index.0))?;
    tx.put(NODE_NAMES, &name_key(pool, &node.name), &Index(node.index.0))?;
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::Created, None))?;
    Ok(node)
}

/// Rewrites a node that exists, with its names when they changed.
pub(super) fn replace(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, before: &Node, node: &mut Node) -> Result<(), TxError> {
    node.updated_at = act.now.wall;
    let (old, new) = (name_key(before.pool_now(), &before.name), name_key(node.pool_now(), &node.name));
    if old != new {
        tx.delete(NODE_NAMES, &old)?;
        tx.put(NODE_NAMES, &new, &Index(node.index.0))?;
    }
    if before.pool_now() != node.pool_now() {
        memberships::forget(tx, node.index)?;
    }
    tx.put(NODES, &node.index.0, node)?;
    directory::follow(tx, directory, node)?;
    node_events::record_changes(tx, act, before, node)
}

pub fn update(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, change: &NodeChange) -> Result<Node, TxError> {
    let before = require(tx, id)?;
    let mut errors = FieldErrors::default();
    change.check(&mut errors, before.hardware.as_ref());
    errors.finish()?;
    let mut node = before.clone();
    let target = change.pool.as_ref().map(|pool| pools::require(tx, pool)).transpose()?;
    if let Some(name) = &change.name {
        node.name.clone_from(name);
    }
    if let Some(pool) = &target {
        enter(tx, act, &mut node, pool)?;
    }
    if name_key(node.pool_now(), &node.name) != name_key(before.pool_now(), &before.name) {
        check_name_free(tx, node.pool_now(), &node.name)?;
    }
    node.node_type = change.node_type.unwrap_or(node.node_type);
    node.location = change.location.clone().or(node.location);
    node.configuration = change.configuration.clone().unwrap_or(node.configuration);
    if let Some(status) = change.status {
        node.set_status(status, act.now)?;
        maintenance::follow_status(tx, act, &mut node, status)?;
    }
    replace(tx, directory, act, &before, &mut node)?;
    if node.wanted != before.wanted {
        let action = if node.wanted == Wanted::Running { Action::Start } else { Action::Stop };
        commands::issue(tx, directory, act, &before, action)?;
    }
    audit::append(tx, act.draft("node.update", id.as_str()).because(change.fields()))?;
    Ok(node)
}

/// Moves `node` to `pool` from the next slot on; to stay where it is needs no room.
fn enter(tx: &WriteTx<'_>, act: &Act, node: &mut Node, pool: &Pool) -> Result<(), TxError> {
    if node.pool_now() == Some(pool.index) {
        return Ok(());
    }
    check_pool_room(tx, pool)?;
    let enrolled = node.enrolled_from.is_some();
    Ok(change_from_next_slot(&mut node.pool, Some(pool.index), enrolled, act.now)?)
}

/// Puts the node into the pool, out of the one it is in. A member can be given another priority this way.
pub fn join(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    pool: &PoolId,
    (id, priority): (&NodeId, Option<u8>),
) -> Result<Node, TxError> {
    let pool = pools::require(tx, pool)?;
    let before = require(tx, id)?;
    let mut node = before.clone();
    if before.pool_now() == Some(pool.index) {
        let known = memberships::priority(tx, &node)?;
        let new = priority.filter(|new| Some(*new) != known).ok_or(Refusal::AlreadyMember)?;
        memberships::set(tx, node.index, new)?;
    } else {
        enter(tx, act, &mut node, &pool)?;
        check_name_free(tx, Some(pool.index), &node.name)?;
        replace(tx, directory, act, &before, &mut node)?;
        memberships::set(tx, node.index, priority.unwrap_or(DEFAULT_PRIORITY))?;
    }
    let remark = priority.map_or(id.to_string(), |priority| format!("{id} with priority {priority}"));
    audit::append(tx, act.draft("pool.join", pool.id.as_str()).because(remark))?;
    Ok(node)
}

pub fn leave(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, pool: &PoolId, id: &NodeId) -> Result<Node, TxError> {
    let pool = pools::require(tx, pool)?;
    let before = require(tx, id)?;
    if before.pool_now() != Some(pool.index) {
        return Err(Refusal::NotAMember.into());
    }
    check_name_free(tx, None, &before.name)?;
    let mut node = before.clone();
    let enrolled = node.enrolled_from.is_some();
    change_from_next_slot(&mut node.pool, None, enrolled, act.now)?;
    replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft("pool.leave", pool.id.as_str()).because(id.as_str()))?;
    Ok(node)
}

/// Takes the node out of the fleet. `has_money` says whether anything is owed to it or on its way. Its id and index stay taken and its record and its history stay
/// readable; its name and its key are free again, and what it was promised, told and watched by is gone.
pub fn delete(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, has_money: bool) -> Result<Node, TxError> {
    let node = require(tx, id)?;
    if has_money {
        return Err(Refusal::NodeHasMoney.into());
    }
    tx.delete(NODES, &node.index.0)?;
    tx.delete(NODE_NAMES, &name_key(node.pool_now(), &node.name))?;
    if let Some(identity) = &node.identity {
        tx.delete(NODE_KEYS, &identity.key.0)?;
    }
    tx.put(RETIRED_NODES, &node.index.0, &node)?;
    allocations::forget(tx, node.index)?;
    memberships::forget(tx, node.index)?;
    thresholds::forget(tx, node.index)?;
    commands::forget(tx, node.index)?;
    maintenance::forget(tx, node.index)?;
    suspensions::forget(tx, &node, act)?;
    final_payouts::forget(tx, &node, act.now.wall)?;
    end_alerts_of_machine(tx, id, act)?;
    end_alerts_of_twins(tx, directory, &node, act)?;
    directory::forget(tx, directory, node.index);
    node_events::append(tx, node.index, NodeEvent::by(act, Kind::Deleted, None))?;
    let draft = act.draft("node.delete", id.as_str());
    let draft = final_payouts::below_a_unit(tx, node.index)?.into_iter().fold(draft, Draft::because);
    audit::append(tx, draft)?;
    Ok(node)
}

fn end_alerts_of_machine(tx: &mut WriteTx<'_>, id: &NodeId, act: &Act) -> Result<bool, TxError> {
    let mut ended = false;
    for kind in OF_MACHINES {
        ended |= alerts::resolve(tx, kind, id.as_str(), act.now.wall)?;
    }
    Ok(ended)
}

/// Who shared a machine with `gone` alone has it for itself.
fn end_alerts_of_twins(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, gone: &Node, act: &Act) -> Result<(), TxError> {
    let Some(left) = gone.identity.as_ref().map(|identity| &identity.fingerprint) else { return Ok(()) };
    for subject in alerts::open_subjects(tx, TWO_ON_ONE_MACHINE)? {
        let entry = NodeId::parse(&subject).ok().and_then(|id| directory.by_id(&id));
        let Some((index, machine)) = entry.and_then(|entry| Some((entry.index, entry.fingerprint.clone()?))) else { continue };
        let others = directory.on_machine(&machine).into_iter().filter(|other| ![index, gone.index].contains(other)).count();
        if left.identifies(&machine) && others == 0 {
            alerts::resolve(tx, TWO_ON_ONE_MACHINE, &subject, act.now.wall)?;
        }
    }
    Ok(())
}

/// Records that a machine no longer looks like the accepted one: payouts of the node hold until an admin accepts. The first departure stays.
pub fn report_drift(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    reported: &Fingerprint,
) -> Result<Node, TxError> {
    let before = require(tx, id)?;
    let mut node = before.clone();
    match &mut node.identity {
        Some(identity) if identity.drift.as_ref() != Some(reported) => identity.drift = Some(reported.clone()),
        _ => return Ok(before),
    }
    replace(tx, directory, act, &before, &mut node)?;
    let message = format!("{} no longer looks like the machine that enrolled; its payouts hold until an admin accepts it", node.name);
    alerts::raise(tx, FINGERPRINT_DRIFT, id.as_str(), Severity::Warning, &message, act.now.wall)?;
    audit::append(tx, act.draft("node.fingerprint.drift", id.as_str()))?;
    Ok(node)
}

/// An admin accepts the machine as it is now: nothing that was said about it stands any more. Where nothing was, nothing is written.
pub fn accept_fingerprint(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId) -> Result<Node, TxError> {
    let before = require(tx, id)?;
    let mut node = before.clone();
    let Some(identity) = &mut node.identity else { return Ok(before) };
    let drift = identity.drift.take();
    if !end_alerts_of_machine(tx, id, act)? && drift.is_none() {
        return Ok(before);
    }
    if let Some(drift) = drift {
        identity.fingerprint = drift;
        replace(tx, directory, act, &before, &mut node)?;
    }
    audit::append(tx, act.draft("node.fingerprint.accept", id.as_str()))?;
    Ok(node)
}

/// Gives every node that enrolled while the clock was not trusted the slot from which it counts. Returns how many there were.
pub fn date_enrolments(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act) -> Result<u32, TxError> {
    if !act.now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let mut dated = 0;
    for before in all(tx)? {
        if before.identity.is_none() || before.enrolled_from.is_some() {
            continue;
        }
        let mut node = before.clone();
        node.enrolled_from = Some(act.now.wall.slot().plus(1));
        replace(tx, directory, act, &before, &mut node)?;
        dated += 1;
    }
    Ok(dated)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::testing::{Fixture, act, at, fingerprint, hardware, key, new_node, new_pool, node_id, pool_id};
    use super::*;
    use crate::domain::node::Identity;
    use crate::domain::node::MAX_NODES;
    use crate::domain::registration::StatusChange;
    use crate::domain::time::{Now, Slot};

    fn make(f: &Fixture, n: u32, name: &'static str, pool: Option<PoolId>) -> Result<Node, Refusal> {
        f.write(move |tx, d| create(tx, d, &act(), &node_id(n), &new_node(name, pool.clone()), MAX_NODES))
    }

    fn change(f: &Fixture, n: u32, change: NodeChange) -> Result<Node, Refusal> {
        f.write(move |tx, d| update(tx, d, &act(), &node_id(n), &change))
    }

    /// Gives node `n` an identity, as enrolment does.
    fn enrolled(f: &Fixture, n: u32) {
        f.write(move |tx, d| {
            let before = require(tx, &node_id(n))?;
            let mut node = before.clone();
            node.identity = Some(Identity { key: key(1), fingerprint: fingerprint(1), drift: None, enrolled_at: at(0).wall });
            node.enrolled_from = Some(Slot(1));
            tx.put(NODE_KEYS, &key(1).0, &Index(node.index.0))?;
            replace(tx, d, &act(), &before, &mut node)
        })
        .unwrap();
    }

    #[test]
    fn names_are_unique_within_a_pool_only() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 9))).unwrap();
        make(&f, 1, "same", None).unwrap();
        make(&f, 2, "same", Some(pool_id(1))).unwrap();
        assert_eq!(make(&f, 3, "same", None), Err(Refusal::NodeNameTaken));
        assert_eq!(make(&f, 1, "other", None), Err(Refusal::NodeExists));
        assert_eq!(make(&f, 3, "other", Some(pool_id(9))), Err(Refusal::PoolNotFound));
        let to_pool = NodeChange { pool: Some(pool_id(1)), ..NodeChange::default() };
        assert_eq!(change(&f, 1, to_pool.clone()), Err(Refusal::NodeNameTaken));
        let renamed = change(&f, 1, NodeChange { name: Some("Same".into()), ..to_pool }).unwrap();
        assert_eq!((renamed.name.as_str(), renamed.pool_now().is_some()), ("Same", true), "case tells names apart");
        assert_eq!(make(&f, 3, "same", None).map(|n| n.name), Ok("same".into()), "the name it left is free");
        let f_leave = f.write(|tx, d| leave(tx, d, &act(), &pool_id(1), &node_id(2)));
        assert_eq!(f_leave, Err(Refusal::NodeNameTaken), "nodes of no pool are a place too");
    }

    #[test]
    fn a_deleted_node_leaves_its_id_and_its_record() {
        let f = Fixture::new();
        let node = make(&f, 1, "one", None).unwrap();
        assert_eq!(f.write(|tx, d| delete(tx, d, &act(), &node_id(1), true)), Err(Refusal::NodeHasMoney));
        f.write(|tx, d| delete(tx, d, &act(), &node_id(1), false)).unwrap();
        assert_eq!(f.write(|tx, d| delete(tx, d, &act(), &node_id(1), false)), Err(Refusal::NodeNotFound));
        assert_eq!(make(&f, 1, "two", None), Err(Refusal::NodeExists));
        assert!(make(&f, 2, "one", None).unwrap().index > node.index);
        let read = f.store.read().unwrap();
        assert_eq!((by_id(&read, &node_id(1)).unwrap(), ever(&read, node.index).unwrap()), (None, Some(node)));
    }

    #[test]
    fn what_a_deleted_node_was_promised_and_told_goes_with_it() {
        use super::super::tables::{ALLOCATIONS, COMMANDS, NODE_THRESHOLDS, OPEN_ALERTS, ORDERS};
        use crate::domain::allocation::Allocation;
        use crate::domain::ids::AllocationId;
        use crate::domain::security::{KEY_ELSEWHERE, TWO_ON_ONE_MACHINE};
        use crate::domain::threshold::ThresholdSet;
        let f = Fixture::new();
        for (n, name) in [(1, "one"), (2, "two")] {
            f.write(move |tx, d| {
                let new = NewNode { hardware: Some(hardware()), ..new_node(name, None) };
                create(tx, d, &act(), &node_id(n), &new, MAX_NODES)?;
                commands::ask(tx, d, &act(), &node_id(n), Action::Restart, true)?;
                commands::ask(tx, d, &act(), &node_id(n), Action::Stop, true)?;
                let half = Allocation { cpu_hundredths: Some(5_000), ..Allocation::default() };
                let id = AllocationId::parse(&format!("alloc_{n:06}")).map_err(|_| Refusal::AllocationNotFound)?;
                allocations::allocate(tx, d, &act(), &node_id(n), (&id, "half", &half))?;
                let set = ThresholdSet { duration_seconds: Some(600), ..ThresholdSet::default() };
                thresholds::set_node(tx, &act(), &node_id(n), &set)
            })
            .unwrap();
        }
        enrolled(&f, 1);
        f.write(|tx, d| report_drift(tx, d, &act(), &node_id(1), &fingerprint(9))).unwrap();
        for kind in [KEY_ELSEWHERE, TWO_ON_ONE_MACHINE] {
            f.write(|tx, _| alerts::raise(tx, kind, node_id(1).as_str(), Severity::Warning, "said", act().now.wall)).unwrap();
        }
        let rows = || {
            let read = f.store.read().unwrap();
            let counts = [read.count(ALLOCATIONS), read.count(NODE_THRESHOLDS), read.count(ORDERS), read.count(COMMANDS)];
            (counts.map(Result::unwrap), read.count(OPEN_ALERTS).unwrap())
        };
        assert_eq!(rows(), ([2, 2, 2, 4], 3));
        f.write(|tx, d| delete(tx, d, &act(), &node_id(1), false)).unwrap();
        assert_eq!(rows(), ([1, 1, 1, 2], 0), "the other node keeps its own");
        assert_eq!(Directory::load(&f.store.read().unwrap()).unwrap().len(), 1);
    }

    #[test]
    fn a_move_counts_from_the_next_slot_and_only_on_a_trusted_clock() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("one", 9))).unwrap();
        make(&f, 1, "one", None).unwrap();
        enrolled(&f, 1);
        let untrusted = Act { now: Now { trusted: false, ..at(0) }, ..act() };
        assert_eq!(f.write(move |tx, d| join(tx, d, &untrusted, &pool_id(1), (&node_id(1), None))), Err(Refusal::ClockUntrusted));
        let node = f.write(|tx, d| join(tx, d, &act(), &pool_id(1), (&node_id(1), None))).unwrap();
        let slot = at(0).wall.slot();
        assert_eq!((node.pool.at(slot), node.pool.at(slot.plus(1)).is_some()), (&None, true));
        assert_eq!(f.write(|tx, d| join(tx, d, &act(), &pool_id(1), (&node_id(1), None))), Err(Refusal::AlreadyMember));
        let node = f.write(|tx, d| leave(tx, d, &act(), &pool_id(1), &node_id(1))).unwrap();
        assert_eq!(node.pool_now(), None);
        assert_eq!(f.write(|tx, d| leave(tx, d, &act(), &pool_id(1), &node_id(1))), Err(Refusal::NotAMember));
    }

    #[test]
    fn status_and_drift_are_recorded() {
        let f = Fixture::new();
        make(&f, 1, "one", None).unwrap();
        enrolled(&f, 1);
        let status = |status| change(&f, 1, NodeChange { status: Some(status), ..NodeChange::default() });
        assert_eq!(status(StatusChange::Inactive).unwrap().wanted, Wanted::Stopped);
        let next = at(0).wall.slot().plus(1);
        assert_eq!(status(StatusChange::Maintenance { at_once: true }).unwrap().eligible_in(next), Eligible::Maintenance);
        assert_eq!(status(StatusChange::Active).unwrap().eligible_in(next), Eligible::InService);
        let entries = f.audited();
        for _ in 0..2 {
            f.write(|tx, d| report_drift(tx, d, &act(), &node_id(1), &fingerprint(2))).unwrap();
        }
        assert_eq!(f.audited(), entries + 1, "the same departure is recorded once");
        assert!(f.store.directory.by_id(&node_id(1)).unwrap().drifted);
        let node = f.write(|tx, d| accept_fingerprint(tx, d, &act(), &node_id(1))).unwrap();
        let identity = node.identity.unwrap();
        assert_eq!((identity.fingerprint, identity.drift), (fingerprint(2), None));
    }

    #[test]
    fn alerts_about_a_machine_end_when_it_is_accepted_and_of_twins_when_one_is_alone() {
        use crate::domain::security::KEY_ELSEWHERE;
        let f = Fixture::new();
        for (n, name) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
            make(&f, n, name, None).unwrap();
            f.write(move |tx, d| {
                let before = require(tx, &node_id(n))?;
                let mut node = before.clone();
                let print = fingerprint(if n == 4 { 4 } else { 1 });
                node.identity =
                    Some(Identity { key: key(u8::try_from(n).unwrap()), fingerprint: print, drift: None, enrolled_at: at(0).wall });
                tx.put(NODE_KEYS, &key(u8::try_from(n).unwrap()).0, &Index(node.index.0))?;
                replace(tx, d, &act(), &before, &mut node)
            })
            .unwrap();
        }
        let raise = |kind: &'static str, n| {
            f.write(move |tx, _| alerts::raise(tx, kind, node_id(n).as_str(), Severity::Warning, "said", at(0).wall)).unwrap()
        };
        let open = |kind| alerts::open_subjects(&f.store.read().unwrap(), kind).unwrap().into_iter().collect::<Vec<_>>();
        let named = |nodes: &[u8]| nodes.iter().map(|n| node_id((*n).into()).to_string()).collect::<Vec<_>>();
        let accept = |n| f.write(move |tx, d| accept_fingerprint(tx, d, &act(), &node_id(n))).unwrap();

        assert_eq!([1, 2].map(|n| raise(KEY_ELSEWHERE, n)), [true; 2]);
        assert_eq!([2, 3, 4].map(|n| raise(TWO_ON_ONE_MACHINE, n)), [true; 3]);
        let entries = f.audited();
        let machine = accept(2).identity.unwrap();
        assert_eq!((machine.fingerprint, machine.drift, f.audited()), (fingerprint(1), None, entries + 1));
        assert_eq!((open(KEY_ELSEWHERE), open(TWO_ON_ONE_MACHINE)), (named(&[1]), named(&[3, 4])), "another node's stand");
        accept(2);
        assert_eq!(f.audited(), entries + 1, "nothing was left to accept");

        f.write(|tx, d| delete(tx, d, &act(), &node_id(1), false)).unwrap();
        assert_eq!(open(TWO_ON_ONE_MACHINE), named(&[3, 4]), "the second is on the machine of the third still");
        f.write(|tx, d| delete(tx, d, &act(), &node_id(2), false)).unwrap();
        assert_eq!(open(TWO_ON_ONE_MACHINE), named(&[4]), "the third is alone now, and of the fourth's machine none has left");
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let f = Fixture::new();
        let mut new = new_node("x", None);
        let mut hardware = hardware();
        hardware.cpu.cores = 0;
        hardware.network.clear();
        new.hardware = Some(hardware);
        new.configuration.max_sessions = Some(0);
        let Err(Refusal::Invalid(errors)) = f.write(move |tx, d| create(tx, d, &act(), &node_id(1), &new, MAX_NODES)) else {
            panic!("accepted")
        };
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["name", "hardware_info.cpu.cores", "hardware_info.network", "configuration.max_sessions"]);
    }

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Create { node: u32, name: u32, pool: u32 },
        Rename { node: u32, name: u32 },
        Join { node: u32, pool: u32 },
        Leave { node: u32, pool: u32 },
        Delete { node: u32 },
    }

    fn op() -> impl Strategy<Value = Op> {
        let (node, name, pool) = (0..8u32, 0..4u32, 0..4u32);
        prop_oneof![
            3 => (node.clone(), name.clone(), pool.clone()).prop_map(|(node, name, pool)| Op::Create { node, name, pool }),
            2 => (node.clone(), name).prop_map(|(node, name)| Op::Rename { node, name }),
            3 => (node.clone(), pool.clone()).prop_map(|(node, pool)| Op::Join { node, pool }),
            2 => (node.clone(), pool).prop_map(|(node, pool)| Op::Leave { node, pool }),
            1 => node.prop_map(|node| Op::Delete { node }),
        ]
    }

    /// Pools 1 to 3 hold as many nodes as their number; pool 0 stands for none.
    #[derive(Default)]
    struct Model {
        ever: Vec<u32>,
        /// Node -> (pool, name).
        nodes: BTreeMap<u32, (u32, u32)>,
    }

    impl Model {
        fn taken(&self, pool: u32, name: u32) -> bool {
            self.nodes.values().any(|at| *at == (pool, name))
        }

        fn full(&self, pool: u32) -> bool {
            pool != 0 && self.nodes.values().filter(|(p, _)| *p == pool).count() >= pool as usize
        }

        fn apply(&mut self, op: Op) -> Result<(), Refusal> {
            let find = |node: u32| self.nodes.get(&node).copied().ok_or(Refusal::NodeNotFound);
            let (node, place) = match op {
                Op::Create { node, .. } if self.ever.contains(&node) => return Err(Refusal::NodeExists),
                Op::Create { pool, .. } if self.full(pool) => return Err(Refusal::PoolFull),
                Op::Create { node, name, pool } => {
                    if self.taken(pool, name) {
                        return Err(Refusal::NodeNameTaken);
                    }
                    self.ever.push(node);
                    (node, (pool, name))
                }
                Op::Rename { node, name } => (node, (find(node)?.0, name)),
                Op::Join { pool: 0, .. } | Op::Leave { pool: 0, .. } => return Err(Refusal::PoolNotFound),
                Op::Join { node, pool } => match find(node)? {
                    (old, _) if old == pool => return Err(Refusal::AlreadyMember),
                    _ if self.full(pool) => return Err(Refusal::PoolFull),
                    (_, name) => (node, (pool, name)),
                },
                Op::Leave { node, pool } => match find(node)? {
                    (old, name) if old == pool => (node, (0, name)),
                    _ => return Err(Refusal::NotAMember),
                },
                Op::Delete { node } => {
                    find(node)?;
                    self.nodes.remove(&node);
                    return Ok(());
                }
            };
            let stays = self.nodes.get(&node) == Some(&place);
            if !stays && self.taken(place.0, place.1) {
                return Err(Refusal::NodeNameTaken);
            }
            self.nodes.insert(node, place);
            Ok(())
        }
    }

    fn run(tx: &mut WriteTx<'_>, d: &Arc<Directory>, op: Op) -> Result<(), TxError> {
        let text = |name: u32| format!("name-{name}");
        let some = |pool: u32| (pool != 0).then(|| pool_id(pool));
        match op {
            Op::Create { node, name, pool } => {
                create(tx, d, &act(), &node_id(node), &new_node(&text(name), some(pool)), MAX_NODES).map(drop)
            }
            Op::Rename { node, name } => {
                update(tx, d, &act(), &node_id(node), &NodeChange { name: Some(text(name)), ..NodeChange::default() }).map(drop)
            }
            Op::Join { node, pool } => join(tx, d, &act(), &pool_id(pool), (&node_id(node), None)).map(drop),
            Op::Leave { node, pool } => leave(tx, d, &act(), &pool_id(pool), &node_id(node)).map(drop),
            Op::Delete { node } => delete(tx, d, &act(), &node_id(node), false).map(drop),
        }
    }

    fn stored(tx: &WriteTx<'_>) -> BTreeMap<u32, (u32, u32)> {
        let number = |text: &str| text.rsplit(['_', '-']).next().unwrap().parse::<u32>().unwrap();
        let pool = |index: PoolIndex| number(pools::by_index(tx, index).unwrap().unwrap().id.as_str());
        let place = |n: &Node| (n.pool_now().map_or(0, pool), number(&n.name));
        all(tx).unwrap().iter().map(|n| (number(n.id.as_str()), place(n))).collect()
    }

    /// All ops in one transaction, which is rolled back at the end: a refusal that changed something would show in what follows.
    fn compare(f: &Fixture, ops: Vec<Op>) -> Result<(), String> {
        let failure = Arc::new(Mutex::new(None));
        let (seen, directory) = (Arc::clone(&failure), Arc::clone(&f.store.directory));
        let answer = f.store.core.write_now(move |tx| -> Result<(), TxError> {
            for n in 1..4 {
                pools::create(tx, &act(), &pool_id(n), &new_pool(&format!("pool-{n}"), n))?;
            }
            let mut model = Model::default();
            for (step, op) in ops.iter().enumerate() {
                let expected = model.apply(*op).map_err(TxError::Refused);
                let answer = run(tx, &directory, *op);
                let counts: u32 = member_counts(tx)?.values().sum();
                let places = stored(tx);
                if answer != expected || places != model.nodes || counts as usize != model.nodes.len() {
                    *seen.lock().unwrap() = Some(format!("step {step}, {op:?}: {answer:?}, expected {expected:?}; {places:?}"));
                    break;
                }
            }
            Err(Refusal::PoolFull.into())
        });
        assert_eq!(answer, Err(crate::storage::fault::WriteError::Refused(Refusal::PoolFull)));
        let failure = failure.lock().unwrap().take();
        failure.map_or(Ok(()), Err)
    }

    #[test]
    fn membership_is_what_a_naive_model_says() {
        let f = Fixture::new();
        let mut runner =
            proptest::test_runner::TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
        let outcome = runner.run(&proptest::collection::vec(op(), 1..60), |ops| compare(&f, ops).map_err(TestCaseError::fail));
        outcome.unwrap();
    }
}
