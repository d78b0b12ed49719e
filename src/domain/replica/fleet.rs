//! What the cluster says of all managers that meet there, and of their nodes. All of it was written by somebody else: what is not known is `None`.

use crate::domain::time::Timestamp;

/// Longest text that is taken from a document of the cluster, and longest id that can be asked for, in bytes.
pub const LONGEST_TEXT: usize = 200;

/// Whose documents are meant; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    pub manager: Option<String>,
    pub region: Option<String>,
}

/// Which nodes are meant, all of it at once; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    pub whose: Whose,
    /// As documents have it.
    pub status: Option<String>,
    pub node_type: Option<String>,
    pub pool: Option<String>,
}

/// A piece of a list in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The last id of the piece before.
    pub after: Option<String>,
    /// At least 1.
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    pub rows: Vec<T>,
    /// After which id it goes on; `None`: it does not.
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerSeen {
    pub id: String,
    pub region: Option<String>,
    pub version: Option<String>,
    /// When it last said that it lives, by its own clock.
    pub seen_at: Option<Timestamp>,
    /// It ended, and said so.
    pub has_ended: Option<bool>,
    /// Its documents are what its store was then; `None` too while they are copied.
    pub whole_at: Option<Timestamp>,
    /// Nodes of it in the cluster.
    pub nodes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NodeSeen {
    /// Of its document.
    pub id: String,
    pub manager: Option<String>,
    pub region: Option<String>,
    pub node_id: Option<String>,
    pub name: Option<String>,
    pub node_type: Option<String>,
    pub pool: Option<String>,
    /// One of four words, as `detailed_status` is one of seven, where a manager of this release wrote it.
    pub status: Option<String>,
    pub detailed_status: Option<String>,
    /// 0 to 100.
    pub score: Option<f64>,
    pub last_heartbeat: Option<Timestamp>,
    /// When its manager said so.
    pub seen_at: Option<Timestamp>,
}

/// How many documents have a value; `None`: they have none, or one that says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub name: Option<String>,
    pub count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub managers_by_region: Vec<Count>,
    pub nodes_by_region: Vec<Count>,
    pub nodes_by_status: Vec<Count>,
}
