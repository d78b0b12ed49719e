//! A node's view as JSON, kept for as long as all that it shows stays the same.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::node_view::{Live, NodeView};
use super::state::AppState;
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::node::Node;
use crate::domain::pool::Pool;
use crate::storage::core::tables::{NODES, POOLS};
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// A view that is JSON already.
#[derive(Debug, Clone)]
pub struct Shown(Arc<RawValue>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A node's record, and how it was shown last.
pub struct NodeRow {
    pub node: Node,
    shown: Mutex<Option<(Live, Shown)>>,
}

impl NodeRow {
    pub fn new(node: Node) -> NodeRow {
        NodeRow { node, shown: Mutex::default() }
    }

    /// The view follows from the record and from `live` alone: equal ones have the same JSON.
    pub fn show(&self, live: Live) -> Result<Shown, Fault> {
        let mut kept = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, shown)) = &*kept
            && *before == live
        {
            return Ok(shown.clone());
        }
        let json = to_raw_value(&NodeView::of(&self.node, &live)?).map_err(|e| Fault::Invariant(e.to_string()))?;
        let shown = Shown(Arc::from(json));
        *kept = Some((live, shown.clone()));
        Ok(shown)
    }
}

/// The nodes of these indices, in their order; a deleted one is left out.
pub fn by_indices(state: &AppState, read: &impl Read, indices: &[NodeIndex]) -> Result<Vec<Arc<NodeRow>>, Fault> {
    state.node_rows.of_each(read, NODES, indices.iter().map(|index| index.0), |node| Ok(NodeRow::new(node)))
}

pub fn pool(state: &AppState, read: &impl Read, index: PoolIndex) -> Result<Option<Arc<Pool>>, Fault> {
    Ok(state.pools.of_each(read, POOLS, [index.0], Ok)?.pop())
}
