//! Ids that lines name in place of indices: they say something outside of this store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::domain::ids::NodeIndex;
use crate::storage::core::nodes;
use crate::storage::fault::Fault;
use crate::storage::table::Read;

/// Ids of nodes, also of those that were deleted; each is looked up once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIds(HashMap<NodeIndex, String>);

impl NodeIds {
    pub fn of(&mut self, core: &impl Read, node: NodeIndex) -> Result<&str, Fault> {
        Ok(match self.0.entry(node) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let never = || Fault::Invariant(format!("something names node {}, which never was", node.0));
                unknown.insert(nodes::ever(core, node)?.ok_or_else(never)?.id.to_string())
            }
        })
    }
}
