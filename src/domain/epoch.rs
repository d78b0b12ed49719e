//! The head of an epoch: what is kept for ever of a closed range of slots, chained to the head before.

use serde::{Deserialize, Serialize};

use super::credits::{Epoch, Leaf};
use super::poot::{Params, ScoreState};
use super::proof::Hash;
use super::proof::head::{CommittedHead, LogHead, SignedHead};
use super::proof::text::Hex;
use super::time::{Slot, Timestamp};
use crate::crypto;

/// The slots of a closed epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub epoch: Epoch,
    /// Inclusive.
    pub last_slot: Slot,
}

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
    /// Root of the tree of the leaves. Of a head without a seal: SHA-256 over the leaves as they are stored.
    pub root: Hash,
    /// Hash of the head before; zeros for the first.
    pub previous: Hash,
    /// None in heads of releases that signed nothing.
    pub seal: Option<Seal>,
}

/// What makes a head one of a history that cannot be rewritten unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub chain: String,
    pub incarnation: u32,
    pub restored_from: Option<Hash>,
    /// Heads before this one.
    pub sequence: u64,
    /// Root of the tree whose leaves are the hashes of all heads before.
    pub history: Hash,
    pub audit: LogEnd,
    pub ledger: LogEnd,
    pub manager_key: [u8; 32],
    /// Ed25519 over `proof::head::signed_bytes`.
    pub signature: Vec<u8>,
}

/// The newest entry of a log, and a hash of all that stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogEnd {
    /// 0 of none.
    pub seq: u64,
    pub hash: Hash,
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
pub const GENESIS: Hash = [0; 32];

/// What the hashed bytes of a head without a seal begin with.
const UNSEALED_TAG: &[u8] = b"lucid/epoch-head/v1\0";
/// What the hashed bytes of its leaves begin with.
const UNSEALED_LEAVES_TAG: &[u8] = b"lucid/epoch-leaves/v1\0";

/// As it was hashed before heads had seals.
#[derive(Serialize)]
struct Unsealed<'a> {
    epoch: Epoch,
    last_slot: Slot,
    slots_per_epoch: u32,
    closed_at: Timestamp,
    is_gap: bool,
    params: &'a Params,
    counts: Counts,
    leaves_at: Option<Epoch>,
    leaves_hash: Hash,
    previous: Hash,
}

impl Head {
    pub fn hash(&self) -> Result<Hash, postcard::Error> {
        match &self.seal {
            Some(seal) => Ok(self.committed(seal).hash()),
            None => postcard::to_extend(&self.unsealed(), UNSEALED_TAG.to_vec()).map(|bytes| crypto::sha256(&bytes)),
        }
    }

    fn unsealed(&self) -> Unsealed<'_> {
        let Head { epoch, last_slot, slots_per_epoch, closed_at, is_gap, params, counts, leaves_at, root: leaves_hash, previous, seal: _ } =
            self;
        let (epoch, last_slot, slots_per_epoch, closed_at, is_gap) = (*epoch, *last_slot, *slots_per_epoch, *closed_at, *is_gap);
        Unsealed {
            epoch,
            last_slot,
            slots_per_epoch,
            closed_at,
            is_gap,
            params,
            counts: *counts,
            leaves_at: *leaves_at,
            leaves_hash: *leaves_hash,
            previous: *previous,
        }
    }

    /// As others see it.
    pub fn committed(&self, seal: &Seal) -> CommittedHead {
        let log = |end: LogEnd| LogHead { seq: end.seq, hash: Hex(end.hash) };
        CommittedHead {
            chain: seal.chain.clone(),
            incarnation: seal.incarnation,
            restored_from: seal.restored_from.map(Hex),
            sequence: seal.sequence,
            epoch: self.epoch.0,
            last_slot: self.last_slot.0,
            slots_per_epoch: self.slots_per_epoch,
            closed_at_ms: self.closed_at.0,
            gap: self.is_gap,
            params: self.params.into(),
            valid: self.counts.valid,
            pending: self.counts.pending,
            invalid: self.counts.invalid,
            leaves_at: self.leaves_at.map(|epoch| epoch.0),
            root: Hex(self.root),
            previous: Hex(self.previous),
            history: Hex(seal.history),
            audit: log(seal.audit),
            ledger: log(seal.ledger),
            manager_key: Hex(seal.manager_key),
        }
    }

    /// None of a head that was never signed.
    pub fn signed(&self) -> Option<SignedHead> {
        let seal = self.seal.as_ref()?;
        let signature = seal.signature.as_slice().try_into().ok().map(Hex)?;
        Some(SignedHead { head: self.committed(seal), signature })
    }

    pub fn span(&self) -> Span {
        Span { epoch: self.epoch, last_slot: self.last_slot }
    }

    /// The first slot after this head.
    pub fn next_slot(&self) -> Slot {
        self.last_slot.plus(1)
    }
}

/// The root of a head without a seal: SHA-256 over its leaves in node order, as they were stored then.
pub fn unsealed_leaves_hash(leaves: &[Leaf]) -> Result<Hash, postcard::Error> {
    let then: Vec<_> = leaves.iter().map(|l| (l.node, l.slots, l.inputs, l.score, l.multiplier, l.payer, l.accrual)).collect();
    postcard::to_extend(&then, UNSEALED_LEAVES_TAG.to_vec()).map(|bytes| crypto::sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_a_seal_keeps_the_hash_that_it_had() {
        let head = Head {
            epoch: Epoch(1_000),
            last_slot: Slot(1_009),
            slots_per_epoch: 10,
            closed_at: Slot(1_013).start(),
            is_gap: true,
            params: Params::default(),
            counts: Counts::default(),
            leaves_at: None,
            root: unsealed_leaves_hash(&[]).unwrap(),
            previous: GENESIS,
            seal: None,
        };
        assert_eq!(head.root, crypto::sha256_parts(&[b"lucid/epoch-leaves/v1\0", &[0]]), "no leaves are a length of 0");
        let encoded = postcard::to_stdvec(&(
            (head.epoch, head.last_slot, head.slots_per_epoch, head.closed_at, head.is_gap),
            (head.params, head.counts, head.leaves_at, head.root, head.previous),
        ));
        assert_eq!(head.hash().unwrap(), crypto::sha256_parts(&[b"lucid/epoch-head/v1\0", &encoded.unwrap()]));
        assert_eq!(head.signed(), None);
    }
}
