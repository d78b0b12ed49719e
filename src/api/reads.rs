//! Reading that several resources share: finding a node, turns for long reads, and names of what the ledger knows by number.

use std::collections::HashMap;

use super::auth::Caller;
use super::error::ApiError;
use super::nodes::node_id;
use super::state::AppState;
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::node::Node;
use crate::domain::refusal::Refusal;
use crate::domain::user::Role;
use crate::storage::core::{nodes, pools};
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// Long reads at one time; the others wait for their turn, so that a few people with charts do not take both cores of a small machine.
pub const LONG_READS: usize = 2;

/// The node of a path, for the node itself or a person of at least this role. Who may not see it is not told whether it is there.
pub fn node_for(state: &AppState, caller: &Caller, id: &str, role: Role) -> Result<Node, ApiError> {
    let id = node_id(id);
    match &id {
        Ok(id) => caller.require_node_or(id, role)?,
        Err(_) => caller.require(role)?,
    }
    Ok(nodes::by_id(&state.store.read()?, &id?)?.ok_or(Refusal::NodeNotFound)?)
}

/// The node of a path, for a person of at least this role; a node may not ask, not even for itself.
pub fn node_for_person(state: &AppState, caller: &Caller, id: &str, role: Role) -> Result<Node, ApiError> {
    caller.require(role)?;
    Ok(nodes::by_id(&state.store.read()?, &node_id(id)?)?.ok_or(Refusal::NodeNotFound)?)
}

/// Runs a read that takes more than a few milliseconds beside the requests.
pub async fn long<R: Send + 'static>(
    state: &AppState,
    read: impl FnOnce(&AppState) -> Result<R, ApiError> + Send + 'static,
) -> Result<R, ApiError> {
    let turn = state.long_reads.clone().acquire_owned().await;
    let state = state.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read(&state)
    });
    reading.await.unwrap_or_else(|_| Err(ApiError::panicked()))
}

/// What the API calls something that the ledger knows by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: String,
    pub name: String,
}

/// Ids and names of nodes and pools, deleted ones included; each is looked up once.
pub struct Names<'a> {
    read: &'a Snapshot,
    nodes: HashMap<NodeIndex, Named>,
    pools: HashMap<PoolIndex, Named>,
}

impl<'a> Names<'a> {
    pub fn new(read: &'a Snapshot) -> Names<'a> {
        Names { read, nodes: HashMap::new(), pools: HashMap::new() }
    }

    pub fn node(&mut self, index: NodeIndex) -> Result<Named, Fault> {
        if let Some(known) = self.nodes.get(&index) {
            return Ok(known.clone());
        }
        let node = nodes::ever(self.read, index)?.ok_or_else(|| Fault::Invariant(format!("there never was a node {}", index.0)))?;
        let named = Named { id: node.id.to_string(), name: node.name };
        self.nodes.insert(index, named.clone());
        Ok(named)
    }

    pub fn pool(&mut self, index: PoolIndex) -> Result<Named, Fault> {
        if let Some(known) = self.pools.get(&index) {
            return Ok(known.clone());
        }
        let pool = pools::ever(self.read, index)?.ok_or_else(|| Fault::Invariant(format!("there never was a pool {}", index.0)))?;
        let named = Named { id: pool.id.to_string(), name: pool.name };
        self.pools.insert(index, named.clone());
        Ok(named)
    }
}
