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

/// What the hashed bytes of a head begin with.
pub const HEAD_TAG: &str = "lucid/epoch-head/v1\0";
/// What the hashed bytes of the leaves begin with.
pub const LEAVES_TAG: &str = "lucid/epoch-leaves/v1\0";

impl Head {
    /// SHA-256 of `hashed_bytes`.
    pub fn hash(&self) -> Result<[u8; 32], postcard::Error> {
        self.hashed_bytes().map(|bytes| crypto::sha256(&bytes))
    }

    /// The tag, and the head in the encoding that stores it.
    pub fn hashed_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, HEAD_TAG.as_bytes().to_vec())
    }

    /// The first slot after this head.
    pub fn next_slot(&self) -> Slot {
        self.last_slot.plus(1)
    }
}

/// SHA-256 of `leaves_hashed_bytes`.
pub fn leaves_hash(leaves: &[Leaf]) -> Result<[u8; 32], postcard::Error> {
    leaves_hashed_bytes(leaves).map(|bytes| crypto::sha256(&bytes))
}

/// The tag, and the leaves in node order in the encoding that stores them.
pub fn leaves_hashed_bytes(leaves: &[Leaf]) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(leaves, LEAVES_TAG.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_bytes_are_the_tag_and_the_stored_encoding() {
        let head = Head {
            epoch: Epoch(1_000),
            last_slot: Slot(1_009),
            slots_per_epoch: 10,
            closed_at: Slot(1_013).start(),
            is_gap: true,
            params: Params::default(),
            counts: Counts::default(),
            leaves_at: None,
            leaves_hash: leaves_hash(&[]).unwrap(),
            previous: GENESIS,
        };
        let encoded = postcard::to_stdvec(&head).unwrap();
        assert_eq!(head.hash().unwrap(), crypto::sha256_parts(&[b"lucid/epoch-head/v1\0", &encoded]));
        assert_eq!(head.leaves_hash, crypto::sha256_parts(&[b"lucid/epoch-leaves/v1\0", &[0]]), "no leaves are a length of 0");
    }
}
