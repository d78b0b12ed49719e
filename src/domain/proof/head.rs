//! The head of an epoch as it is hashed and signed.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::leaf::CommittedParams;
use super::merkle::Hash;
use super::text::{Hex, nullable};
use crate::crypto::{self, PublicKey};

pub const TAG: &str = "lucid/poot-head/v1";
pub const SIGNATURE_TAG: &str = "lucid/poot-head-signature/v1";

/// Every field is in the hashed bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootHead)]
pub struct CommittedHead {
    /// Names the history of this manager's epochs.
    pub chain: String,
    /// Counts the lives of the history: one more each time it went on from an older copy.
    pub incarnation: u32,
    /// The newest head of the copy that this life of it went on from.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub restored_from: Option<Hex<32>>,
    /// Heads of this history before this one.
    pub sequence: u64,
    /// Its first slot.
    pub epoch: u32,
    /// Inclusive.
    pub last_slot: u32,
    /// Of a whole epoch; one that was closed early is shorter, a gap may span several.
    pub slots_per_epoch: u32,
    pub closed_at_ms: i64,
    /// The manager was away: nobody was observed.
    pub gap: bool,
    pub params: CommittedParams,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// The newest epoch with leaves: this one, or the one before a gap.
    #[serde(deserialize_with = "nullable")]
    pub leaves_at: Option<u32>,
    /// Of the leaves, in the order of the nodes' enrolment.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub root: Hex<32>,
    /// Hash of the head before; zeros for the first.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub previous: Hex<32>,
    /// Root of the tree whose leaves are the hashes of all heads before.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub history: Hex<32>,
    pub audit: LogHead,
    pub ledger: LogHead,
    /// Hex Ed25519: who signs this head.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub manager_key: Hex<32>,
}

/// How far a log had come, and a hash of all that stood in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootLogHead)]
pub struct LogHead {
    /// Of its newest entry; 0 of none.
    pub seq: u64,
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub hash: Hex<32>,
}

impl LogHead {
    fn put(&self, bytes: Canonical) -> Canonical {
        bytes.u64(self.seq).hash(&self.hash.0)
    }
}

impl CommittedHead {
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = Canonical::new(TAG)
            .text(&self.chain)
            .u32(self.incarnation)
            .option(self.restored_from, |bytes, hash| bytes.hash(&hash.0))
            .u64(self.sequence)
            .u32(self.epoch)
            .u32(self.last_slot)
            .u32(self.slots_per_epoch)
            .i64(self.closed_at_ms)
            .flag(self.gap);
        let bytes = self.params.put(bytes).u32(self.valid).u32(self.pending).u32(self.invalid).option(self.leaves_at, Canonical::u32);
        let bytes = bytes.hash(&self.root.0).hash(&self.previous.0).hash(&self.history.0);
        self.ledger.put(self.audit.put(bytes)).hash(&self.manager_key.0).finish()
    }

    pub fn hash(&self) -> Hash {
        crypto::sha256(&self.bytes())
    }

    /// Leaves of its tree.
    pub fn leaves(&self) -> u64 {
        u64::from(self.valid) + u64::from(self.pending) + u64::from(self.invalid)
    }

    /// Later than every other one with a smaller place.
    pub fn place(&self) -> (u32, u64) {
        (self.incarnation, self.sequence)
    }
}

/// What a signature of a head covers.
pub fn signed_bytes(head: &Hash) -> Vec<u8> {
    Canonical::new(SIGNATURE_TAG).hash(head).finish()
}

/// A head under its signature: what agents keep, and what shows a manager that its store is an older copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootSignedHead)]
pub struct SignedHead {
    pub head: CommittedHead,
    /// Hex Ed25519 over the tag and the hash of the head.
    #[schema(value_type = String, pattern = "^[0-9a-f]{128}$")]
    pub signature: Hex<64>,
}

impl SignedHead {
    pub fn hash(&self) -> Hash {
        self.head.hash()
    }

    /// Whether the key that it names signed it.
    pub fn is_signed(&self) -> bool {
        PublicKey(self.head.manager_key.0).verifies(&signed_bytes(&self.hash()), &self.signature.0)
    }
}
