//! Nodes: made, changed, moved between pools, deleted. Every change is audited in its transaction, and the directory follows after the commit.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::{Index, NODE_IDS, NODE_KEYS, NODE_NAMES, NODES, RETIRED_NODES};
use super::{audit, meta, pools};
use crate::crypto::PublicKey;
use crate::domain::audit::Act;
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{NodeId, NodeIndex, PoolId, PoolIndex};
use crate::domain::node::{Eligible, MAX_NODES, Node, Wanted};
use crate::domain::pool::Pool;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, NodeChange, change_from_next_slot};
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

/// All nodes by index; there are at most `MAX_NODES`.
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

pub fn create(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId, new: &NewNode) -> Result<Node, TxError> {
    let mut errors = FieldErrors::default();
    new.check(&mut errors);
    errors.finish()?;
    if tx.get(NODE_IDS, &id.as_str().to_owned())?.is_some() {
        return Err(Refusal::NodeExists.into());
    }
    let pool = new.pool.as_ref().map(|pool| pools::require(tx, pool)).transpose()?;
    check_room(tx, pool.as_ref())?;
    let pool = pool.map(|pool| pool.index);
    check_name_free(tx, pool, &new.name)?;
    let node = insert(tx, act, id, pool, new)?;
    directory::follow(tx, directory, &node);
    audit::append(tx, act.draft("node.create", id.as_str()))?;
    Ok(node)
}

/// Refuses when neither the fleet nor the pool can take one more.
pub(super) fn check_room(tx: &WriteTx<'_>, pool: Option<&Pool>) -> Result<(), TxError> {
    if tx.count(NODES)? >= MAX_NODES {
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
    tx.put(NODES, &node.index.0, &node)?;
    tx.put(NODE_IDS, &id.as_str().to_owned(), &Index(node.index.0))?;
    tx.put(NODE_NAMES, &name_key(pool, &node.name), &Index(node.index.0))?;
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
    tx.put(NODES, &node.index.0, node)?;
    directory::follow(tx, directory, node);
    Ok(())
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
    }
    replace(tx, directory, act, &before, &mut node)?;
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

/// Puts the node into the pool, out of the one it is in.
pub fn join(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, pool: &PoolId, id: &NodeId) -> Result<Node, TxError> {
    let pool = pools::require(tx, pool)?;
    let before = require(tx, id)?;
    if before.pool_now() == Some(pool.index) {
        return Err(Refusal::AlreadyMember.into());
    }
    let mut node = before.clone();
    enter(tx, act, &mut node, &pool)?;
    check_name_free(tx, Some(pool.index), &node.name)?;
    replace(tx, directory, act, &before, &mut node)?;
    audit::append(tx, act.draft("pool.join", pool.id.as_str()).because(id.as_str()))?;
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

/// Takes the node out of the fleet. `has_money` says whether anything is owed to it or on its way. Its id and index stay taken and its record stays readable; its
/// name and its key are free again.
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
    directory::forget(tx, directory, node.index);
    audit::append(tx, act.draft("node.delete", id.as_str()))?;
    Ok(node)
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
    audit::append(tx, act.draft("node.fingerprint.drift", id.as_str()))?;
    Ok(node)
}

/// An admin accepts the machine as it is now.
pub fn accept_fingerprint(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, id: &NodeId) -> Result<Node, TxError> {
    let before = require(tx, id)?;
    let mut node = before.clone();
    let Some(identity) = &mut node.identity else { return Ok(before) };
    let Some(drift) = identity.drift.take() else { return Ok(before) };
    identity.fingerprint = drift;
    replace(tx, directory, act, &before, &mut node)?;
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
