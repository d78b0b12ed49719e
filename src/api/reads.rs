//! Reading that several resources share: finding a node, turns for long reads, and names of what the ledger knows by number.

use std::collections::HashMap;

use serde::Serialize;

use super::error::ApiError;
use super::nodes::node_id;
use super::state::AppState;
use crate::domain::audit::Actor;
use crate::domain::batch::Batch;
use crate::domain::ids::{NodeIndex, PoolIndex, UserId};
use crate::domain::node::Node;
use crate::domain::refusal::Refusal;
use crate::storage::core::tables::{API_TOKENS, NODE_IDS, POOL_IDS};
use crate::storage::core::{batches, nodes, people, pools};
use crate::storage::fault::Fault;
use crate::storage::table::{Read, Snapshot};

/// Long reads at one time; the others wait for their turn, so that a few people with charts do not take both cores of a small machine.
pub const LONG_READS: usize = 2;

/// The node of this id. Who may ask was decided by the layer of `access`.
pub fn node(state: &AppState, id: &str) -> Result<Node, ApiError> {
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

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Doer)]
pub struct Person {
    /// Of the person or the node, or `console`.
    pub id: String,
    /// As it is now; null where nobody knows it any more.
    pub name: Option<String>,
}

/// Ids and names of nodes and pools, deleted ones included; each is looked up once.
pub struct Names<'a> {
    read: &'a Snapshot,
    nodes: HashMap<NodeIndex, Named>,
    pools: HashMap<PoolIndex, Named>,
    /// By id, of what an id alone names.
    texts: HashMap<String, Option<String>>,
}

impl<'a> Names<'a> {
    pub fn new(read: &'a Snapshot) -> Names<'a> {
        Names { read, nodes: HashMap::new(), pools: HashMap::new(), texts: HashMap::new() }
    }

    /// The batch that planned a payout.
    pub fn batch(&self, payout: u64) -> Result<Option<Batch>, Fault> {
        batches::of_payout(self.read, payout)
    }

    /// Name of a node, a pool, a person or an API token, by its id; deleted nodes and pools included.
    pub fn subject(&mut self, id: &str) -> Result<Option<String>, Fault> {
        if let Some(known) = self.texts.get(id) {
            return Ok(known.clone());
        }
        let name = if let Ok(id) = UserId::parse(id) {
            people::user(self.read, &id)?.map(|user| user.username)
        } else if let Some(index) = self.read.get(NODE_IDS, &id.to_owned())? {
            nodes::ever(self.read, NodeIndex(index.0))?.map(|node| node.name)
        } else if let Some(index) = self.read.get(POOL_IDS, &id.to_owned())? {
            pools::ever(self.read, PoolIndex(index.0))?.map(|pool| pool.name)
        } else {
            self.read.get(API_TOKENS, &id.to_owned())?.map(|token| token.name)
        };
        self.texts.insert(id.to_owned(), name.clone());
        Ok(name)
    }

    /// None when the manager itself did it.
    pub fn person(&mut self, actor: &Actor) -> Result<Option<Person>, Fault> {
        if *actor == Actor::System {
            return Ok(None);
        }
        let id = actor.to_string();
        let name = self.subject(&id)?;
        Ok(Some(Person { id, name }))
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
