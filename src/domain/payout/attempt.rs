//! One try to transfer: what was prepared, how far it got, and what proves that it can never land.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// Who may resolve an attempt: stored with it, so that a changed configuration never asks somebody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pin {
    pub gateway: String,
    /// Of a chain: the id of its genesis block, in hex. Of a service: its base URL.
    pub network: String,
    /// The paying wallet and the token contract, as texts of the network.
    pub wallet: String,
    pub contract: String,
}

/// A transfer that a gateway prepared: everything that is committed before the first byte leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub pin: Pin,
    /// Where the gateway was reached, the witnesses after the node itself.
    pub urls: Vec<String>,
    /// What is sent; a retry sends the same. Empty once it has landed.
    pub bytes: Vec<u8>,
    /// Known before sending where the bytes decide it; a service names it later.
    pub txid: Option<String>,
    /// The network takes the transfer until then, by its own clock. None: nothing ever proves that it cannot land any more.
    pub expires_at: Option<Timestamp>,
    /// Number of the block that the bytes refer to: where a search for them begins. 0 where there is none.
    pub reference_block: u64,
    /// What the network may take for it at most, in sun.
    pub fee_limit_sun: u64,
    /// Unlike that of any other transfer of the wallet, and higher than of all before, which are all known here. 0 where there is none, and where others may have
    /// been signed before it that are not known.
    pub timestamp_ms: i64,
}

/// Where a signed transfer of TRON ends: field 2 of the message, the 65 bytes of its one signature.
const SIGNATURE: [u8; 2] = [0x12, 65];

impl Prepared {
    /// What others may have of the bytes: nobody can send it. Where they decide the transaction they are signed, and it is without its signature, from which
    /// one still reads what was to be moved and until when; what has another form is left out as a whole. What is asked of a service moves nothing without its key.
    pub fn unsigned(&self) -> Vec<u8> {
        if self.txid.is_none() {
            return self.bytes.clone();
        }
        let end = self.bytes.len().checked_sub(SIGNATURE.len() + usize::from(SIGNATURE[1]));
        let signed = end.and_then(|end| self.bytes.split_at_checked(end)).filter(|(_, last)| last.starts_with(&SIGNATURE));
        signed.map(|(raw, _)| raw.to_vec()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    pub prepared: Prepared,
    pub state: AttemptState,
    pub signed_at: Timestamp,
    /// When it was first recorded as possibly sent.
    pub sent_at: Option<Timestamp>,
    /// When it was first found in a block.
    pub seen_at: Option<Timestamp>,
    /// When it was final, or proven dead.
    pub ended_at: Option<Timestamp>,
    /// The transaction that paid, where the bytes did not say it.
    pub found_txid: Option<String>,
    /// What a service calls it, as its answer said.
    pub reference: Option<String>,
    /// What the network took, in sun.
    pub fee_sun: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptState {
    /// Committed; nothing has left the machine.
    Signed,
    /// Committed before the first byte leaves: from here on a timeout is not a failure.
    MaybeSent,
    Seen {
        block: u64,
    },
    Paid,
    FailedOnChain {
        reason: String,
    },
    /// Proven that it can never land.
    Dead {
        death: Death,
    },
}

/// The name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStateName {
    Signed,
    /// Recorded before the first byte left: from here on silence is not a failure.
    MaybeSent,
    Seen,
    Paid,
    FailedOnChain,
    /// Proven that it can never land.
    Dead,
}

impl AttemptStateName {
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptStateName::Signed => "signed",
            AttemptStateName::MaybeSent => "maybe_sent",
            AttemptStateName::Seen => "seen",
            AttemptStateName::Paid => "paid",
            AttemptStateName::FailedOnChain => "failed_on_chain",
            AttemptStateName::Dead => "dead",
        }
    }
}

impl AttemptState {
    pub fn name(&self) -> AttemptStateName {
        match self {
            AttemptState::Signed => AttemptStateName::Signed,
            AttemptState::MaybeSent => AttemptStateName::MaybeSent,
            AttemptState::Seen { .. } => AttemptStateName::Seen,
            AttemptState::Paid => AttemptStateName::Paid,
            AttemptState::FailedOnChain { .. } => AttemptStateName::FailedOnChain,
            AttemptState::Dead { .. } => AttemptStateName::Dead,
        }
    }

    /// Why it failed, or what proves it dead.
    pub fn reason(&self) -> Option<String> {
        match self {
            AttemptState::FailedOnChain { reason } => Some(reason.clone()),
            AttemptState::Dead { death } => Some(death.to_string()),
            AttemptState::Signed | AttemptState::MaybeSent | AttemptState::Seen { .. } | AttemptState::Paid => None,
        }
    }

    /// The block it was found in, which is not final.
    pub fn block(&self) -> Option<u64> {
        match self {
            AttemptState::Seen { block } => Some(*block),
            _ => None,
        }
    }
}

/// Why an attempt can never land any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// The chain is past its expiry, and it is in no block.
    Expired(DeathProof),
    /// Two admins stated that the service did not pay it and never will.
    Stated,
    /// By the dry run, in which nothing moves, or by an earlier release.
    Told(String),
}

/// What was looked at before an attempt was called dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathProof {
    /// The final block whose time is past the expiry, and that time.
    pub solid_block: u64,
    pub solid_at: Timestamp,
    /// Every block from its reference to `solid_block` was searched, each the parent of the next.
    pub scanned_from: u64,
    pub scanned_to: u64,
    /// Who else was asked, by URL.
    pub witnesses: Vec<String>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Expired(proof) => write!(
                f,
                "expired: in none of the final blocks {} to {}, and block {} is past its expiry; so say {} nodes",
                proof.scanned_from,
                proof.scanned_to,
                proof.solid_block,
                proof.witnesses.len() + 1
            ),
            Death::Stated => f.write_str("two admins stated that the service did not pay it"),
            Death::Told(why) => f.write_str(why),
        }
    }
}

/// A transfer that is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    pub txid: Option<String>,
    pub fee_sun: u64,
}

impl Attempt {
    /// Money may still move by it.
    pub fn is_live(&self) -> bool {
        matches!(self.state, AttemptState::Signed | AttemptState::MaybeSent | AttemptState::Seen { .. })
    }

    /// It may have left this machine.
    pub fn has_left(&self) -> bool {
        matches!(self.state, AttemptState::MaybeSent | AttemptState::Seen { .. })
    }

    /// The transaction, where it is known.
    pub fn txid(&self) -> Option<&str> {
        self.found_txid.as_deref().or(self.prepared.txid.as_deref())
    }

    pub(super) fn close(&mut self, at: Timestamp) {
        self.ended_at.get_or_insert(at);
    }

    /// It was signed and may move money, or did.
    pub fn may_have_paid(&self) -> bool {
        self.is_live() || self.state == AttemptState::Paid
    }
}
