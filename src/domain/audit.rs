//! The audit log: who did what to what, each entry chained to the one before by its hash.

use serde::{Deserialize, Serialize};

use super::time::{Now, Timestamp};
use crate::crypto;

/// Who acts. Stored by id, so that a renamed or erased person leaves the chain intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The manager's own cycles.
    System,
    /// Someone at the machine's command line.
    Console,
    User(String),
    Node(String),
    /// Not signed in; the address is the only thing known.
    Anonymous,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::System => f.write_str("system"),
            Actor::Console => f.write_str("console"),
            Actor::User(id) | Actor::Node(id) => f.write_str(id),
            Actor::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// What is to be recorded; the store adds sequence and hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    pub at: Timestamp,
    /// False while the clock was not trusted: the time is a guess.
    pub at_trusted: bool,
    pub actor: Actor,
    /// `node.create`, `auth.login`: noun, dot, verb.
    pub operation: String,
    /// Id of what was acted on; empty when there is none.
    pub subject: String,
    pub success: bool,
    /// The refusal's name, or a remark.
    pub reason: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// How many alike this entry stands for.
    pub times: u32,
}

impl Draft {
    pub fn new(now: Now, actor: Actor, operation: &str, subject: impl Into<String>) -> Draft {
        Draft {
            at: now.wall,
            at_trusted: now.trusted,
            actor,
            operation: operation.to_owned(),
            subject: subject.into(),
            success: true,
            reason: None,
            address: None,
            request_id: None,
            times: 1,
        }
    }

    pub fn refused(mut self, reason: &str) -> Draft {
        self.success = false;
        self.reason = Some(reason.to_owned());
        self
    }

    pub fn because(mut self, remark: impl Into<String>) -> Draft {
        self.reason = Some(remark.into());
        self
    }
}

/// Who does something, when and from where: what a verb takes to date and sign its audit entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub now: Now,
    pub actor: Actor,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

impl Act {
    /// An act of the manager itself.
    pub fn system(now: Now) -> Act {
        Act { now, actor: Actor::System, address: None, request_id: None }
    }

    pub fn draft(&self, operation: &str, subject: impl Into<String>) -> Draft {
        let draft = Draft::new(self.now, self.actor.clone(), operation, subject);
        Draft { address: self.address.clone(), request_id: self.request_id.clone(), ..draft }
    }
}

/// A recorded entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub draft: Draft,
    pub previous: [u8; 32],
    pub hash: [u8; 32],
}

/// Hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

impl Entry {
    pub fn chained(seq: u64, previous: [u8; 32], draft: Draft) -> Result<Entry, postcard::Error> {
        let hash = hash(seq, &previous, &draft)?;
        Ok(Entry { seq, draft, previous, hash })
    }

    /// The entry is what its hash says, and follows `previous`.
    pub fn follows(&self, seq: u64, previous: &[u8; 32]) -> bool {
        self.seq == seq && self.previous == *previous && hash(seq, previous, &self.draft).is_ok_and(|h| h == self.hash)
    }
}

fn hash(seq: u64, previous: &[u8; 32], draft: &Draft) -> Result<[u8; 32], postcard::Error> {
    let body = postcard::to_stdvec(draft)?;
    Ok(crypto::sha256_parts(&[b"lucid/audit/v1\0", &seq.to_le_bytes(), previous, &body]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    #[test]
    fn a_changed_entry_breaks_the_chain() {
        let now = Now { wall: Timestamp(5), boot: BootMs(0), trusted: true };
        let first = Entry::chained(1, GENESIS, Draft::new(now, Actor::System, "store.create", "")).unwrap();
        let second = Entry::chained(2, first.hash, Draft::new(now, Actor::Console, "clock.accept", "")).unwrap();
        assert!(first.follows(1, &GENESIS) && second.follows(2, &first.hash));
        let mut forged = second.clone();
        forged.draft.success = false;
        assert!(!forged.follows(2, &first.hash));
        assert!(!second.follows(3, &first.hash));
    }
}
