//! What the store is, and the counters that hand out its dense numbers.

use serde::{Deserialize, Serialize};

use super::tables::{COUNTERS, STORE};
use crate::domain::ids::{ManagerId, NodeIndex, PoolIndex};
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Schema of the whole store; a newer one is refused.
pub const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMeta {
    pub schema: u32,
    /// Hex; the same in every file of one store.
    pub store_id: String,
    /// Raised by every restore, so that files of two lives of a store are told apart.
    pub generation: u32,
    pub manager_id: ManagerId,
    /// Seed of the manager's Ed25519 key, sealed under `secret.key`.
    pub sealed_seed: Vec<u8>,
    pub created_at: Timestamp,
}

/// Next free dense numbers; they only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    pub nodes: u32,
    pub pools: u32,
}

const ROW: &str = "row";

pub fn store(read: &impl Read) -> Result<StoreMeta, Fault> {
    read.get(STORE, &ROW.to_owned())?.ok_or_else(|| Fault::Invariant("the store has no description of itself".into()))
}

pub fn put_store(tx: &mut WriteTx<'_>, meta: &StoreMeta) -> Result<(), TxError> {
    tx.put(STORE, &ROW.to_owned(), meta)
}

pub fn next_node_index(tx: &mut WriteTx<'_>) -> Result<NodeIndex, TxError> {
    let mut counters = tx.get(COUNTERS, &ROW.to_owned())?.unwrap_or_default();
    let index = NodeIndex(counters.nodes);
    counters.nodes += 1;
    tx.put(COUNTERS, &ROW.to_owned(), &counters)?;
    Ok(index)
}

pub fn next_pool_index(tx: &mut WriteTx<'_>) -> Result<PoolIndex, TxError> {
    let mut counters = tx.get(COUNTERS, &ROW.to_owned())?.unwrap_or_default();
    let index = PoolIndex(counters.pools);
    counters.pools += 1;
    tx.put(COUNTERS, &ROW.to_owned(), &counters)?;
    Ok(index)
}
