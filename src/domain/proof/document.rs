//! What a proof document says. It is complete by itself: `check` needs nothing else but the key of the manager, and says so when it does not have it.

use serde::{Deserialize, Serialize};

use super::head::{CommittedHead, SignedHead};
use super::leaf::CommittedLeaf;
use super::succession::Succession;
use super::text::{Hex, nullable};
use super::window::Window;
use crate::domain::ids::NodeId;
use crate::domain::poot::ScoreState;

/// What a document of a score begins with.
pub const PROOF: &str = "lucid-poot-proof/1";
/// What a document about two heads begins with.
pub const CONSISTENCY: &str = "lucid-poot-consistency/1";

/// The score of one node in one epoch, with everything that it was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootProof)]
pub struct ProofDocument {
    /// `lucid-poot-proof/1`.
    pub format: String,
    #[schema(value_type = String)]
    pub node_id: NodeId,
    pub state: ScoreState,
    /// 0 to 100 with two decimals; a pending one does not count yet.
    pub score: String,
    /// 0 to 1 with two decimals.
    pub confidence: String,
    pub head: CommittedHead,
    /// Hex Ed25519 over the tag and the hash of the head.
    #[schema(value_type = String, pattern = "^[0-9a-f]{128}$")]
    pub signature: Hex<64>,
    pub leaf: CommittedLeaf,
    /// Place of the leaf in the tree, from 0.
    pub leaf_index: u64,
    /// From the leaf to the root, the lowest first.
    #[schema(value_type = Vec<String>)]
    pub path: Vec<Hex<32>>,
    /// Null where the evidence is not kept any more.
    #[serde(deserialize_with = "nullable")]
    pub window: Option<Window>,
    /// Keys of the manager that took over from each other, oldest first; none while it has its first key.
    #[schema(value_type = Vec<Object>)]
    pub successions: Vec<Succession>,
}

/// Two heads of one history, and the hashes that show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PootConsistency)]
pub struct ConsistencyDocument {
    /// `lucid-poot-consistency/1`.
    pub format: String,
    pub first: SignedHead,
    pub second: SignedHead,
    /// From the first head to the history of the second; null when both are the same.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>)]
    pub inclusion: Option<Vec<Hex<32>>>,
    /// That the history before the first is the beginning of the history before the second; null where the first has none before it, or both are the same.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>)]
    pub consistency: Option<Vec<Hex<32>>>,
    #[schema(value_type = Vec<Object>)]
    pub successions: Vec<Succession>,
}

/// Of a hundredth, with both decimals: `98.75`, `0.70`.
pub fn hundredths(value: u32) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

impl ProofDocument {
    pub fn new(
        signed: SignedHead,
        leaf: CommittedLeaf,
        leaf_index: u64,
        path: Vec<[u8; 32]>,
        window: Option<Window>,
        successions: Vec<Succession>,
    ) -> ProofDocument {
        ProofDocument {
            format: PROOF.to_owned(),
            node_id: leaf.node_id.clone(),
            state: leaf.state,
            score: hundredths(leaf.score_hundredths.into()),
            confidence: hundredths(leaf.confidence_hundredths.into()),
            head: signed.head,
            signature: signed.signature,
            leaf,
            leaf_index,
            path: path.into_iter().map(Hex).collect(),
            window,
            successions,
        }
    }
}
