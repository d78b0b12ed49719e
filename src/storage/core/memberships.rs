//! What a pool was told of its members beside who they are.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::tables::MEMBERSHIPS;
use crate::domain::ids::NodeIndex;
use crate::domain::node::Node;
use crate::domain::pool::{DEFAULT_PRIORITY, Membership};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Every one that says more than the default.
pub fn all(read: &impl Read) -> Result<HashMap<u32, Membership>, Fault> {
    let mut found = HashMap::new();
    read.for_each(MEMBERSHIPS, .., |node, membership| {
        found.insert(node, membership);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Of this node in its pool.
pub fn priority(read: &impl Read, node: &Node) -> Result<Option<u8>, Fault> {
    Ok(priority_of(node, read.get(MEMBERSHIPS, &node.index.0)?.as_ref()))
}

/// None for a node without a pool.
pub fn priority_of(node: &Node, row: Option<&Membership>) -> Option<u8> {
    node.pool_now().map(|_| row.map_or(DEFAULT_PRIORITY, |row| row.priority))
}

/// Of a node that is in a pool.
pub(super) fn set(tx: &mut WriteTx<'_>, node: NodeIndex, priority: u8) -> Result<(), TxError> {
    if priority == DEFAULT_PRIORITY {
        return forget(tx, node);
    }
    tx.put(MEMBERSHIPS, &node.0, &Membership { priority })
}

/// When the node leaves its pool.
pub(super) fn forget(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    tx.delete(MEMBERSHIPS, &node.0).map(drop)
}
