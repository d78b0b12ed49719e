//! Entries of the audit log as people see them.

use std::collections::HashMap;

use serde::Serialize;

use crate::crypto::hex;
use crate::domain::audit::{Actor, Entry, Personal};
use crate::domain::ids::{NodeId, PoolId, UserId};
use crate::storage::Secrets;
use crate::storage::core::audit::{Opener, Shown};
use crate::storage::core::{nodes, people, pools};
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// Shown where the key of a value was destroyed.
pub const ERASED: &str = "erased";

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct EntryView {
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// False while the clock was not trusted.
    pub at_trusted: bool,
    /// Id of a person or a node, or `system`, `console`, `anonymous`.
    pub actor: String,
    /// The person's name as it was then, the node's as it is; `erased` when it was erased.
    pub actor_name: Option<String>,
    /// Noun, dot, verb.
    pub operation: String,
    /// What kind of thing was acted on: `node`, `user`, `payout`, `route`, …
    pub resource_type: String,
    /// Id of what was acted on.
    pub subject: String,
    /// Its name as it is now, where it has one.
    pub subject_name: Option<String>,
    pub success: bool,
    pub reason: Option<String>,
    /// A remark that may name people; `erased` when it was erased.
    pub details: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    /// How many alike this entry stands for.
    pub times: u32,
    /// Money moved or was told where to go.
    pub compliance_required: bool,
    /// True when what was personal in it cannot be read any more; the entry itself still verifies.
    pub erased: bool,
    /// Hex SHA-256, chained to the entry before.
    pub hash: String,
}

/// Makes views; each name and each key is looked up once.
pub struct Views<'a> {
    read: &'a Snapshot,
    opener: Opener<'a, Snapshot>,
    names: HashMap<String, Option<String>>,
}

impl<'a> Views<'a> {
    pub fn new(read: &'a Snapshot, secrets: &'a Secrets) -> Views<'a> {
        Views { read, opener: Opener::new(read, secrets), names: HashMap::new() }
    }

    pub fn view(&mut self, entry: Entry) -> Result<EntryView, Fault> {
        let shown = self.opener.open(&entry)?;
        let erased = shown == Shown::Erased;
        let personal = match shown {
            Shown::Values(personal) => personal,
            Shown::Erased => {
                let text = || Some(ERASED.to_owned());
                Personal { name: text(), address: text(), user_agent: text(), details: text() }
            }
        };
        let draft = entry.draft;
        let actor_name = match (personal.name, &draft.actor) {
            (Some(name), _) if !matches!(draft.actor, Actor::Anonymous) => Some(name),
            (_, Actor::User(id) | Actor::Node(id)) => self.name(id)?,
            _ => None,
        };
        Ok(EntryView {
            seq: entry.seq,
            at: draft.at.rfc3339(),
            at_trusted: draft.at_trusted,
            actor: draft.actor.to_string(),
            actor_name,
            resource_type: draft.resource_type().to_owned(),
            compliance_required: draft.compliance_required(),
            subject_name: self.name(&draft.subject)?,
            operation: draft.operation,
            subject: draft.subject,
            success: draft.success,
            reason: draft.reason,
            details: personal.details,
            address: personal.address,
            user_agent: personal.user_agent,
            request_id: draft.request_id,
            times: draft.times,
            erased,
            hash: hex(&entry.hash),
        })
    }

    fn name(&mut self, id: &str) -> Result<Option<String>, Fault> {
        if let Some(known) = self.names.get(id) {
            return Ok(known.clone());
        }
        let name = if let Ok(user) = UserId::parse(id) {
            people::user(self.read, &user)?.map(|user| user.username)
        } else if let Ok(node) = NodeId::parse(id) {
            nodes::by_id(self.read, &node)?.map(|node| node.name)
        } else if let Ok(pool) = PoolId::parse(id) {
            pools::by_id(self.read, &pool)?.map(|pool| pool.name)
        } else {
            None
        };
        self.names.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}
