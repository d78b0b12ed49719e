//! Identifiers. Text ids are what people and programs see; dense indices key the busy tables.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdError {
    Prefix(&'static str),
    Length,
    Character,
    Reserved(String),
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdError::Prefix(prefix) => write!(f, "must start with `{prefix}`"),
            IdError::Length => write!(f, "must have {MIN_LEN} to {MAX_LEN} characters"),
            IdError::Character => write!(f, "may hold letters, digits, `_` and `-` only"),
            IdError::Reserved(prefix) => write!(f, "must not start with the reserved `{prefix}`"),
        }
    }
}

/// Shortest and longest id, in characters (seed 004).
pub const MIN_LEN: usize = 8;
pub const MAX_LEN: usize = 64;

/// Reserved continuations after the prefix of node and pool ids (seed 004).
const RESERVED: [&str; 3] = ["system_", "admin_", "test_"];

fn check(text: &str, prefix: &'static str) -> Result<(), IdError> {
    let rest = text.strip_prefix(prefix).ok_or(IdError::Prefix(prefix))?;
    if rest.is_empty() || text.len() < MIN_LEN || text.len() > MAX_LEN {
        return Err(IdError::Length);
    }
    if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(IdError::Character);
    }
    match RESERVED.iter().find(|r| rest.starts_with(**r)) {
        Some(reserved) => Err(IdError::Reserved(format!("{prefix}{reserved}"))),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id from a fresh UUIDv7, so that ids sort by the time they were made.
            pub fn new(uuid: Uuid) -> $name {
                $name(format!(concat!($prefix, "{}"), uuid.simple()))
            }

            pub fn parse(text: &str) -> Result<$name, IdError> {
                check(text, $prefix)?;
                Ok($name(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<$name, String> {
                $name::parse(&text).map_err(|e| e.to_string())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id!(
    /// A worker node.
    NodeId, "node_");
text_id!(
    /// A pool of nodes.
    PoolId, "pool_");
text_id!(
    /// A payout to one node.
    PayoutId, "payout_");
text_id!(
    /// Payouts that were asked for in one request.
    BatchId, "batch_");
text_id!(
    /// When payouts are to be made.
    ScheduleId, "schedule_");
text_id!(
    /// A machine that waits to become a node.
    EnrolmentRequestId, "request_");
text_id!(
    /// A program's token.
    ApiTokenId, "token_");
text_id!(
    /// A person who may sign in.
    UserId, "user_");
text_id!(
    /// The public part of an enrolment token.
    EnrolmentId, "enrol_");
text_id!(
    /// This manager; made once, when the store is created.
    ManagerId, "manager_");
text_id!(
    /// An alert.
    AlertId, "alert_");
text_id!(
    /// A named share of a node's resources.
    AllocationId, "alloc_");

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Position in a bitmap or vector.
            pub fn position(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// Dense number of a node; never reused.
    NodeIndex);
index!(
    /// Dense number of a pool; never reused.
    PoolIndex);

/// Random 64-bit number per agent start; `seq` counts within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_patterns_of_the_seeds() {
        let at = |n: usize| format!("node_{}", "a".repeat(n - 5));
        assert!(NodeId::parse(&at(8)).is_ok());
        assert!(NodeId::parse(&at(64)).is_ok());
        assert_eq!(NodeId::parse(&at(7)), Err(IdError::Length));
        assert_eq!(NodeId::parse(&at(65)), Err(IdError::Length));
        assert_eq!(NodeId::parse("pool_abcdef"), Err(IdError::Prefix("node_")));
        assert_eq!(NodeId::parse("node_äbcdef"), Err(IdError::Character));
        assert_eq!(NodeId::parse("node_abc def"), Err(IdError::Character));
        assert_eq!(NodeId::parse("node_test_1"), Err(IdError::Reserved("node_test_".into())));
        assert_eq!(NodeId::parse("node_system_1"), Err(IdError::Reserved("node_system_".into())));
        assert!(PoolId::parse("pool_admin-1").is_ok(), "only the prefix with an underscore is reserved");
    }

    #[test]
    fn new_ids_parse() {
        let id = NodeId::new(Uuid::from_u128(7));
        assert_eq!(NodeId::parse(id.as_str()), Ok(id));
    }
}
