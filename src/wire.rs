//! What manager and agent say to each other. JSON bodies, unknown fields ignored, so that versions can differ.
//!
//! Every report is signed over its exact body bytes, every answer too; the signatures travel in headers. The agent
//! pins the manager's key at enrolment.

use serde::{Deserialize, Serialize};

use crate::crypto::{PublicKey, SigningKey, sha256};
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{Incarnation, ManagerId, NodeId};
use crate::domain::metrics::Sample;
use crate::domain::node::HardwareInfo;
use crate::domain::proof::head::SignedHead;
use crate::domain::proof::leaf::CommittedReports;
use crate::domain::time::Slot;
use crate::domain::workload::{WorkloadOrder, WorkloadReport};

/// Version of this protocol; the manager refuses what is newer than it knows.
pub const PROTOCOL: u32 = 1;

pub const HEADER_NODE: &str = "x-lucid-node";
pub const HEADER_SIGNATURE: &str = "x-lucid-signature";

/// In a request: the hash of the manager's key that the agent has pinned (`manager_key_hash`), or that its token names.
pub const HEADER_MANAGER_KEY: &str = "x-lucid-manager-key";
/// In the answer to a request that names a former key of the manager: how keys took over from that one, oldest first, as JSON. No more than that, because proxies
/// hold few kilobytes of headers.
pub const HEADER_SUCCESSIONS: &str = "x-lucid-successions";

pub const PATH_ENROL: &str = "/api/v1/agent/enrol";
pub const PATH_REPORT: &str = "/api/v1/agent/report";
pub const PATH_LATE: &str = "/api/v1/agent/late";
pub const PATH_COMMANDS: &str = "/api/v1/agent/commands";
pub const PATH_OUTPUT: &str = "/api/v1/agent/output";

/// Items in one report and in one late batch, at most.
pub const MAX_ITEMS: usize = 64;
pub const MAX_LATE_ITEMS: usize = 512;
/// Longest wait of a request for commands.
pub const MAX_POLL_MS: u64 = 55_000;
/// Bytes of a report or late batch, at most.
pub const MAX_BODY: usize = 1 << 20;
/// Bytes of a submitted output, at most: 1 MB in base64 is 1.4.
pub const MAX_OUTPUT_BODY: usize = 2 << 20;

/// What a signature is for; part of what is signed, so that none can be used for another purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Enrol,
    EnrolAnswer,
    Report,
    ReportAnswer,
    Late,
    LateAnswer,
    Commands,
    CommandsAnswer,
    Challenge,
    Output,
    OutputAnswer,
}

impl Purpose {
    fn tag(self) -> &'static str {
        match self {
            Purpose::Enrol => "lucid/enrol/v1",
            Purpose::EnrolAnswer => "lucid/enrol-answer/v1",
            Purpose::Report => "lucid/report/v1",
            Purpose::ReportAnswer => "lucid/report-answer/v1",
            Purpose::Late => "lucid/late/v1",
            Purpose::LateAnswer => "lucid/late-answer/v1",
            Purpose::Commands => "lucid/commands/v1",
            Purpose::CommandsAnswer => "lucid/commands-answer/v1",
            Purpose::Challenge => "lucid/challenge/v1",
            Purpose::Output => "lucid/output/v1",
            Purpose::OutputAnswer => "lucid/output-answer/v1",
        }
    }
}

/// The bytes a signature covers: tag, manager, node, incarnation, seq, SHA-256 of the body; texts are
/// length-prefixed. Where a field does not exist yet (a node id before enrolment) it is empty or zero.
pub fn signed_bytes(purpose: Purpose, manager: &str, node: &str, incarnation: Incarnation, seq: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    for text in [purpose.tag(), manager, node] {
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&incarnation.0.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&sha256(body));
    out
}

/// Names the extension of the manager's certificate for agents that holds all statements of succession, as JSON in a UTF8String. An identifier of our own, made of the
/// UUID 7f0c4a52-9d3e-4b61-8c27-d15ae94f60b3 below the arc that Microsoft gives away for that: 2.25 takes a UUID as one number, beyond what the maker of
/// certificates can write.
pub const SUCCESSIONS_OID: [u64; 15] =
    [1, 2, 840, 113_556, 1, 8_000, 2_554, 32_524, 19_026, 40_254, 19_297, 35_879, 13_720_297, 5_202_099, 1];

/// The same as a field of DER.
pub fn successions_oid_der() -> Vec<u8> {
    let mut value = vec![42];
    for arc in &SUCCESSIONS_OID[2..] {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        value.extend((0..groups).rev().map(|group| (arc >> (7 * group)).to_le_bytes()[0] & 0x7f | if group > 0 { 0x80 } else { 0 }));
    }
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    [&[0x06, length], value.as_slice()].concat()
}

/// Who talks to whom; everything a signature binds besides the body.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub purpose: Purpose,
    pub manager: &'a str,
    pub node: &'a str,
    pub incarnation: Incarnation,
    pub seq: u64,
}

impl Envelope<'_> {
    /// Hex signature over `body`.
    pub fn sign(&self, key: &SigningKey, body: &[u8]) -> String {
        crate::crypto::hex(&key.sign(&self.bytes(body)))
    }

    pub fn verify(&self, key: &PublicKey, body: &[u8], signature_hex: &str) -> bool {
        crate::crypto::unhex(signature_hex).is_some_and(|s| key.verifies(&self.bytes(body), &s))
    }

    fn bytes(&self, body: &[u8]) -> Vec<u8> {
        signed_bytes(self.purpose, self.manager, self.node, self.incarnation, self.seq, body)
    }
}

/// `POST /api/v1/agent/enrol`. Signed with the key in it: proof that the sender holds it. Envelope: manager
/// and node empty, incarnation and seq 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnrolRequest {
    pub protocol: u32,
    /// `id.secret.hash-of-manager-key`, and since the manager's key was replaced `.hash-of-its-first-key` behind it.
    pub token: String,
    /// Hex Ed25519.
    pub public_key: String,
    pub fingerprint: Fingerprint,
    pub hardware: HardwareInfo,
    /// Wanted name; the manager makes one unique from it when it is taken.
    pub name: String,
    pub agent_version: String,
}

/// Answer to enrolment, signed by the manager; the agent checks `manager_key` against the hash in its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnrolAnswer {
    #[schema(value_type = String)]
    pub node_id: NodeId,
    pub node_name: String,
    #[schema(value_type = String)]
    pub manager_id: ManagerId,
    /// Hex Ed25519; pinned from here on.
    pub manager_key: String,
}

/// One measurement with the slot it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportItem)]
pub struct Item {
    /// Within the incarnation, counting from 1.
    pub seq: u64,
    /// Milliseconds between the measurement and the sending of this request, by the agent's boot clock.
    pub age_ms: u64,
    /// The slot the manager named when the item was first accepted, with that slot's beacon (hex). Absent on the first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// Whether the configured workload ran when this was measured; absent where none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    pub sample: Sample,
}

/// What the manager gave out during a slot, for this node only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SlotWitness)]
pub struct Witness {
    #[schema(value_type = u32)]
    pub slot: Slot,
    pub beacon: String,
}

/// `POST /api/v1/agent/report`. Envelope: incarnation and seq of this body. Items in ascending seq; the last one is the
/// present measurement, those before it were not accepted or not durable yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NodeReport)]
pub struct Report {
    pub protocol: u32,
    #[schema(value_type = u64)]
    pub incarnation: Incarnation,
    /// Highest seq in `items`.
    pub seq: u64,
    /// `run` of the last answer. Without the manager's present run a report proves nothing, so that a recorded one is
    /// worthless after a restart; the answer names the run to use.
    #[serde(default)]
    pub run: Option<u64>,
    #[schema(min_items = 1, max_items = 64)]
    pub items: Vec<Item>,
    pub fingerprint: Fingerprint,
    pub agent_version: String,
    /// Measurements lost for good since the agent started (ring and spool full).
    #[serde(default)]
    pub dropped: u64,
    /// What the supervisor does; absent from agents that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadReport>,
    /// The newest signed head that the agent keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<KeptHead>,
    /// A head under this manager's signature that the one of its last answer does not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicts: Option<Box<SignedHead>>,
    /// What this agent and its machine can do, such as `cgroup2:memory`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// Which signed head an agent keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeptHead {
    pub incarnation: u32,
    /// First slot of its epoch.
    pub epoch: u32,
    /// Hex.
    pub hash: String,
}

/// Answer to a report, signed by the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReportAnswer {
    /// Everything up to here is in the manager's memory or store.
    pub accepted_seq: u64,
    /// Everything up to here survives a power cut of the manager: forget it.
    pub durable_seq: u64,
    /// Random per manager start. When it changes, fall back to `durable_seq` and send the rest again at once.
    pub run: u64,
    /// The present slot by the manager's clock; absent while that clock is not trusted.
    pub slot: Option<SlotNow>,
    /// Where in each slot this node should report, in milliseconds after its start.
    pub phase_ms: u64,
    /// Running SHA-256 over the reports of this node that were accepted in this UTC day, hex; the agent keeps it.
    pub evidence_hash: String,
    /// The same as far as it survives a power cut of the manager: a leaf of the next day says this, or goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_reports: Option<CommittedReports>,
    /// Of the last day before, once all of it survives a power cut: the leaf of the first epoch after that day says exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<CommittedReports>,
    /// The head that the report names is not in this manager's history: it is asked for (`contradicts`).
    #[serde(default)]
    pub unknown_head: bool,
    /// The newest signed head, when the report names another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<SignedHead>,
    /// What the workload is to do, when that is not what the report says was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<WorkloadOrder>,
    /// A command has not ended: its outcome is wanted at once, and more may follow. Ask at `PATH_COMMANDS`.
    #[serde(default)]
    pub pending: bool,
    /// An output is wanted of this node's workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<SlotChallenge>,
}

/// What the manager asks of a workload in one slot. The answer's hash is SHA-256 over these bytes and the output after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotChallenge {
    #[schema(value_type = u32)]
    pub slot: Slot,
    /// 32 bytes, hex.
    pub challenge: String,
    /// Milliseconds until an answer is too late, when this was made.
    pub expires_in_ms: u64,
}

/// `POST /api/v1/agent/commands`: tells at once what the supervisor did, and waits for the next order while a command is under way. Envelope:
/// incarnation, and `number` as seq.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommandsRequest {
    pub protocol: u32,
    /// The one whose report was accepted last.
    #[schema(value_type = u64)]
    pub incarnation: Incarnation,
    /// Grows with every request of the incarnation: a recorded one says nothing.
    pub number: u64,
    /// How long to wait for an order, at most `MAX_POLL_MS`.
    #[serde(default)]
    pub wait_ms: u64,
    pub workload: WorkloadReport,
}

/// `POST /api/v1/agent/output`: what the workload made. Envelope: incarnation and seq 0. Answered with a verdict; the same nonce with the same output is
/// answered as the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputRequest {
    pub protocol: u32,
    /// Base64, 16 bytes to 1 MB decoded.
    pub output_data: String,
    /// SHA-256 of the output, hex; with `challenge_slot`, of the challenge and the output after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub timestamp: String,
    pub nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub challenge_slot: Option<Slot>,
}

/// What an agent reads of the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputVerdict {
    pub validation_id: String,
    pub is_valid: bool,
    pub output_hash: String,
    pub errors: Vec<String>,
    pub counted: bool,
}

/// Signed by the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommandsAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<WorkloadOrder>,
    /// A command has not ended.
    #[serde(default)]
    pub pending: bool,
    /// Too many wait already: the next order comes with the answer to a report.
    #[serde(default)]
    pub busy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotNow {
    #[schema(value_type = u32)]
    pub slot: Slot,
    /// Milliseconds since the slot began, when this answer was made.
    pub offset_ms: u64,
    /// Beacon of (this node, this slot), hex; keep it with the item it answers. Empty in a slot that the node has not proven.
    pub beacon: String,
}

/// `POST /api/v1/agent/late`: from the overflow spool, oldest first. Envelope: incarnation of the sender,
/// seq 0. Answered after a commit; sending it again changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LateBatch {
    pub protocol: u32,
    #[schema(value_type = u64)]
    pub incarnation: Incarnation,
    #[schema(min_items = 1, max_items = 512)]
    pub items: Vec<LateItem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LateItem {
    #[schema(value_type = u32)]
    pub slot: Slot,
    pub sample: Sample,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LateAnswer {
    /// Stored now.
    pub stored: u32,
    /// The node already had a sample in that slot.
    pub duplicate: u32,
    /// Too old, in the future, or older than retention.
    pub refused: u32,
}

/// Offset in a slot at which a node reports: spreads the fleet over the first 20 s.
pub fn phase_ms(node: &NodeId) -> u64 {
    let hash = sha256(node.as_str().as_bytes());
    u64::from(u16::from_le_bytes([hash[0], hash[1]])) * 20_000 / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;

    #[test]
    fn a_signature_is_bound_to_everything_it_names() {
        let key = SigningKey::from_seed(SecretKey([3; 32]));
        let base = Envelope { purpose: Purpose::Report, manager: "m", node: "n", incarnation: Incarnation(1), seq: 2 };
        let signature = base.sign(&key, b"body");
        assert!(base.verify(&key.public(), b"body", &signature));
        let others = [
            Envelope { purpose: Purpose::Late, ..base },
            Envelope { manager: "mn", node: "", ..base },
            Envelope { node: "x", ..base },
            Envelope { incarnation: Incarnation(2), ..base },
            Envelope { seq: 3, ..base },
        ];
        for other in others {
            assert!(!other.verify(&key.public(), b"body", &signature), "{other:?}");
        }
        assert!(!base.verify(&key.public(), b"bodY", &signature));
        assert!(!base.verify(&key.public(), b"body", "zz"));
    }
}
