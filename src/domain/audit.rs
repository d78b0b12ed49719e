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
    /// A program: the id of its API token, or `gateway:` and a keyed hash of whom the gateway vouches for.
    Program(String),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::System => f.write_str("system"),
            Actor::Console => f.write_str("console"),
            Actor::User(id) | Actor::Node(id) | Actor::Program(id) => f.write_str(id),
            Actor::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// What identifies a person beside their id. Never stored in clear: the store seals it under a key of its own for each subject, and
/// destroying that key erases it everywhere, while the chain, which is over the sealed bytes, still verifies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Personal {
    /// The person's name as it was.
    pub name: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// Free text that may name people.
    pub details: Option<String>,
}

impl Personal {
    pub fn is_empty(&self) -> bool {
        *self == Personal::default()
    }
}

/// Fresh random bytes of one act, from which the key of a subject that has none is made. Without them no key can be made, and what is
/// personal is left out.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Seed(pub Option<[u8; 32]>);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(***)")
    }
}

/// What is to be recorded; the store adds sequence and hashes. Serialised, it is the part of an entry that stays readable: an erased person's id
/// is in there, and nothing else of them.
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
    /// The refusal's name, or a remark. Never anything personal: that is for `personal.details`.
    pub reason: Option<String>,
    pub request_id: Option<String>,
    /// How many alike this entry stands for.
    pub times: u32,
    /// Empty in an entry that was read: see `Entry::kept`.
    #[serde(skip)]
    pub personal: Personal,
    #[serde(skip)]
    pub seed: Seed,
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
            request_id: None,
            times: 1,
            personal: Personal::default(),
            seed: Seed::default(),
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

    /// A remark that may name people: sealed, and erased with who acts.
    pub fn detailed(mut self, details: impl Into<String>) -> Draft {
        self.personal.details = Some(details.into());
        self
    }

    /// The kind of thing that was acted on: by the prefix of its id, else by the operation's noun.
    pub fn resource_type(&self) -> &str {
        const BY_PREFIX: [(&str, &str); 9] = [
            ("node_", "node"),
            ("pool_", "pool"),
            ("payout_", "payout"),
            ("user_", "user"),
            ("enrol_", "enrolment_token"),
            ("alert_", "alert"),
            ("token_", "token"),
            ("manager_", "manager"),
            ("/", "route"),
        ];
        let known = BY_PREFIX.iter().find(|(prefix, _)| self.subject.starts_with(prefix));
        known.map_or_else(|| self.operation.split('.').next().unwrap_or_default(), |(_, name)| name)
    }

    /// Money moved or was told where to go: what an auditor of payments looks at.
    pub fn compliance_required(&self) -> bool {
        self.operation.starts_with("payout") || self.resource_type() == "payout"
    }

    /// Whose key seals what is personal: the actor's own, and for people not signed in one of each month, which expires.
    pub fn key_subject(&self) -> String {
        match &self.actor {
            Actor::Anonymous => anonymous_subject(self.at),
            known => known.to_string(),
        }
    }
}

/// Before the month in the names of the keys of people who were not signed in.
pub const ANONYMOUS: &str = "anonymous/";

/// `anonymous/2026-11`: the key of the addresses of one month that belong to nobody known.
pub fn anonymous_subject(at: Timestamp) -> String {
    let day = at.rfc3339();
    format!("{ANONYMOUS}{}", day.get(..7).unwrap_or("unknown"))
}

/// Who does something, when and from where: what a verb takes to date and sign its audit entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub now: Now,
    pub actor: Actor,
    /// Of somebody whom only the API gateway knows.
    pub name: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub seed: Seed,
}

impl Act {
    /// An act of the manager itself.
    pub fn system(now: Now) -> Act {
        Act { now, actor: Actor::System, name: None, address: None, user_agent: None, request_id: None, seed: Seed::default() }
    }

    pub fn draft(&self, operation: &str, subject: impl Into<String>) -> Draft {
        let draft = Draft::new(self.now, self.actor.clone(), operation, subject);
        let personal =
            Personal { name: self.name.clone(), address: self.address.clone(), user_agent: self.user_agent.clone(), details: None };
        Draft { personal, request_id: self.request_id.clone(), seed: self.seed, ..draft }
    }
}

/// The personal part of an entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    Nothing,
    /// Entries of version 1 kept an address, in clear; their hash is over it.
    Clear {
        address: Option<String>,
    },
    /// Under the key of `subject`, bound to the entry's number.
    Sealed {
        subject: String,
        bytes: Vec<u8>,
    },
}

/// A recorded entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub draft: Draft,
    pub kept: Kept,
    pub previous: [u8; 32],
    pub hash: [u8; 32],
}

/// Hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

impl Entry {
    /// `draft` loses what is personal and not in `kept`.
    pub fn chained(seq: u64, previous: [u8; 32], mut draft: Draft, kept: Kept) -> Result<Entry, postcard::Error> {
        (draft.personal, draft.seed) = (Personal::default(), Seed::default());
        let hash = hash(seq, &previous, &draft, &kept)?;
        Ok(Entry { seq, draft, kept, previous, hash })
    }

    /// The entry is what its hash says, and follows `previous`.
    pub fn follows(&self, seq: u64, previous: &[u8; 32]) -> bool {
        let same = || hash(seq, previous, &self.draft, &self.kept).is_ok_and(|h| h == self.hash);
        self.seq == seq && self.previous == *previous && same()
    }
}

fn hash(seq: u64, previous: &[u8; 32], draft: &Draft, kept: &Kept) -> Result<[u8; 32], postcard::Error> {
    if let Kept::Clear { address } = kept {
        let body = postcard::to_stdvec(&DraftV1::of(draft, address.clone()))?;
        return Ok(crypto::sha256_parts(&[b"lucid/audit/v1\0", &seq.to_le_bytes(), previous, &body]));
    }
    let (body, kept) = (postcard::to_stdvec(draft)?, postcard::to_stdvec(kept)?);
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX).to_le_bytes();
    Ok(crypto::sha256_parts(&[b"lucid/audit/v2\0", &seq.to_le_bytes(), previous, &length, &body, &kept]))
}

/// What version 1 of entries recorded, in its order: their hash is over these bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct DraftV1 {
    at: Timestamp,
    at_trusted: bool,
    actor: Actor,
    operation: String,
    subject: String,
    success: bool,
    reason: Option<String>,
    address: Option<String>,
    request_id: Option<String>,
    times: u32,
}

impl DraftV1 {
    fn of(draft: &Draft, address: Option<String>) -> DraftV1 {
        let Draft { at, at_trusted, actor, operation, subject, success, reason, request_id, times, .. } = draft.clone();
        DraftV1 { at, at_trusted, actor, operation, subject, success, reason, address, request_id, times }
    }

    pub fn into_parts(self) -> (Draft, Kept) {
        let DraftV1 { at, at_trusted, actor, operation, subject, success, reason, address, request_id, times } = self;
        let (personal, seed) = (Personal::default(), Seed::default());
        let draft = Draft { at, at_trusted, actor, operation, subject, success, reason, request_id, times, personal, seed };
        (draft, Kept::Clear { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    const NOW: Now = Now { wall: Timestamp(1_790_000_000_000), boot: BootMs(0), trusted: true };

    #[test]
    fn a_changed_entry_breaks_the_chain() {
        let first = Entry::chained(1, GENESIS, Draft::new(NOW, Actor::System, "store.create", ""), Kept::Nothing).unwrap();
        let sealed = Kept::Sealed { subject: "user_bob".into(), bytes: vec![1, 2, 3] };
        let second = Entry::chained(2, first.hash, Draft::new(NOW, Actor::Console, "clock.accept", ""), sealed).unwrap();
        assert!(first.follows(1, &GENESIS) && second.follows(2, &first.hash));
        let forge = |change: fn(&mut Entry)| {
            let mut forged = second.clone();
            change(&mut forged);
            forged
        };
        let forged = [
            forge(|e| e.draft.success = false),
            forge(|e| e.kept = Kept::Nothing),
            forge(|e| e.kept = Kept::Sealed { subject: "user_eve".into(), bytes: vec![1, 2, 3] }),
            forge(|e| e.kept = Kept::Sealed { subject: "user_bob".into(), bytes: vec![1, 2, 4] }),
            forge(|e| e.kept = Kept::Clear { address: None }),
        ];
        assert!(forged.iter().all(|entry| !entry.follows(2, &first.hash)));
        assert!(!second.follows(3, &first.hash));
    }

    #[test]
    fn what_is_personal_is_in_no_stored_byte() {
        let mut draft = Draft::new(NOW, Actor::User("user_bob".into()), "auth.login", "user_bob").detailed("Robert");
        draft.personal.address = Some("192.0.2.7".into());
        draft.seed = Seed(Some([7; 32]));
        let entry = Entry::chained(1, GENESIS, draft, Kept::Nothing).unwrap();
        let bytes = postcard::to_stdvec(&entry).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"Robert" || w == b"192.0." || w == [7; 6]));
        assert!(entry.draft.personal.is_empty());
    }

    #[test]
    fn resources_are_named_by_their_ids_and_money_wants_compliance() {
        let of = |operation: &str, subject: &str| {
            let draft = Draft::new(NOW, Actor::System, operation, subject);
            (draft.resource_type().to_owned(), draft.compliance_required())
        };
        assert_eq!(of("pool.join", "pool_a"), ("pool".into(), false));
        assert_eq!(of("payout_address.set", "node_a"), ("node".into(), true));
        assert_eq!(of("payout.plan", "payout_a"), ("payout".into(), true));
        assert_eq!(of("payouts.process", ""), ("payouts".into(), true));
        assert_eq!(of("request.refuse", "/api/v1/nodes"), ("route".into(), false));
        assert_eq!(of("clock.accept", "a -> b"), ("clock".into(), false));
    }

    #[test]
    fn people_who_are_not_signed_in_share_a_key_for_a_month() {
        let subject = |actor: Actor| Draft::new(NOW, actor, "request.refuse", "").key_subject();
        assert_eq!(subject(Actor::Anonymous), "anonymous/2026-09");
        assert_eq!(subject(Actor::User("user_bob".into())), "user_bob");
    }
}
