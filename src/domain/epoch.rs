//! The head of an epoch: what is kept for ever of a closed range of slots, chained to the head before.

use serde::{Deserialize, Serialize};

use super::credits::{Epoch, Leaf};
use super::poot::{Params, ScoreState};
use super::time::{Slot, Timestamp};
use crate::crypto;

/// A closed epoch, or a gap: a range of epochs in which nobody was observed because the manager was away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub epoch: Epoch,
    /// Inclusive.
    pub last_slot: Slot,
    pub slots_per_epoch: u32,
    pub closed_at: Timestamp,
    pub is_gap: bool,
    pub params: Params,
    pub counts: Counts,
    /// The newest epoch with leaves: this one, or the one before a gap.
    pub leaves_at: Option<Epoch>,
    /// SHA-256 over the leaves in node order.
    pub leaves_hash: [u8; 32],
    /// Hash of the head before; zeros for the first.
    pub previous: [u8; 32],
}

/// Nodes of an epoch by the state of their score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
}

impl Counts {
    pub fn of(leaves: &[Leaf]) -> Counts {
        let mut counts = Counts::default();
        for leaf in leaves {
            match leaf.score.state {
                ScoreState::Valid => counts.valid += 1,
                ScoreState::Pending => counts.pending += 1,
                ScoreState::Invalid => counts.invalid += 1,
            }
        }
        counts
    }

    pub fn nodes(self) -> u32 {
        self.valid + self.pending + self.invalid
    }
}

/// Hash of nothing before the first head.
pub const GENESIS: [u8; 32] = [0; 32];

impl Head {
    pub fn hash(&self) -> Result<[u8; 32], postcard::Error> {
        Ok(crypto::sha256_parts(&[b"lucid/epoch-head/v1\0", &postcard::to_stdvec(self)?]))
    }

    /// The first slot after this head.
    pub fn next_slot(&self) -> Slot {
        self.last_slot.plus(1)
    }
}

pub fn leaves_hash(leaves: &[Leaf]) -> Result<[u8; 32], postcard::Error> {
    Ok(crypto::sha256_parts(&[b"lucid/epoch-leaves/v1\0", &postcard::to_stdvec(leaves)?]))
}
