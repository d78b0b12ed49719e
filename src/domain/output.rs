//! Outputs of workloads: what is asked of them, what a submitted one is worth, and which slots challenge a node for one.
//!
//! A challenge is made of the day key of the beacons: nobody foresees which slot of a block it is for, and everybody can check it once the key is revealed.
//! Its answer binds it into the hash. What an output says is not judged here: that it is there, new, and the node's own is.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::evidence::{Beacons, CLOSES_AFTER_SECONDS, day_of};
use super::ids::{NodeId, NodeIndex};
use super::time::{Slot, Timestamp};
use crate::crypto::{self, SecretKey, sha256, sha256_parts, unhex};

/// One slot of each aligned block of so many challenges a node: 12 an hour.
pub const BLOCK_SLOTS: u32 = 10;
pub const CHALLENGE_LEN: usize = 32;
/// Bytes of an output, at most (seed 004).
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Characters of such an output in base64.
pub const MAX_OUTPUT_CHARACTERS: usize = MAX_OUTPUT_BYTES.div_ceil(3) * 4;
/// Shorter ones honest workloads have in common ("ok"), so they prove nothing of one node.
pub const MIN_OUTPUT_BYTES: usize = 16;
/// Characters of a nonce.
pub const MIN_NONCE: usize = 8;
pub const MAX_NONCE: usize = 128;
/// How old the time of an output may be, and for how long nonces and outputs are remembered.
pub const REMEMBERED_MS: i64 = 86_400_000;
/// How far the time of an output may be ahead of ours.
pub const AHEAD_MS: i64 = 60_000;

/// The slot of the block in which the node is challenged, under the key of the block's day: HMAC-SHA-256 over (tag, node id, block), its first eight
/// bytes as a big-endian number, modulo 10.
pub fn challenged_slot(day_key: &SecretKey, node: &NodeId, block: u32) -> Slot {
    let mac = crypto::mac(day_key, &[b"lucid/challenged-slot/v1", node.as_str().as_bytes(), &block.to_le_bytes()]);
    let (head, _) = mac.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let offset = u32::try_from(u64::from_be_bytes(*head) % u64::from(BLOCK_SLOTS)).unwrap_or(0);
    Slot(block.saturating_mul(BLOCK_SLOTS)).plus(offset)
}

/// What the node is asked in that slot: HMAC-SHA-256 over (tag, node id, slot).
pub fn challenge(day_key: &SecretKey, node: &NodeId, slot: Slot) -> [u8; CHALLENGE_LEN] {
    crypto::mac(day_key, &[b"lucid/challenge/v1", node.as_str().as_bytes(), &slot.0.to_le_bytes()])
}

/// The time from which an answer is too late.
pub fn answers_until(slot: Slot) -> Timestamp {
    slot.end().plus_seconds(CLOSES_AFTER_SECONDS)
}

/// The slots in which an answer may come: they end with the last moment for it.
pub fn answering_slots(slot: Slot) -> impl Iterator<Item = Slot> {
    (0..).map(move |n| slot.plus(n)).take_while(move |next| next.start() < answers_until(slot))
}

impl Beacons {
    /// Whether `slot` is the one of its block in which `node` is challenged.
    pub fn challenges(&self, node: &NodeId, slot: Slot) -> bool {
        challenged_slot(&self.day_key(day_of(slot)), node, slot.0 / BLOCK_SLOTS) == slot
    }

    pub fn challenge(&self, node: &NodeId, slot: Slot) -> [u8; CHALLENGE_LEN] {
        challenge(&self.day_key(day_of(slot)), node, slot)
    }
}

/// Milliseconds from `now` until an answer is too late.
pub fn answerable_for_ms(slot: Slot, now: Timestamp) -> u64 {
    u64::try_from(answers_until(slot).since(now)).unwrap_or(0)
}

/// What an answer to `challenge` is known by.
pub fn bound_hash(challenge: &[u8; CHALLENGE_LEN], data: &[u8]) -> [u8; 32] {
    sha256_parts(&[challenge, data])
}

macro_rules! wrongs {
    ($($(#[$doc:meta])* $name:ident = $number:literal $code:literal),+ $(,)?) => {
        /// What can be wrong with an output. Numbers are stored: none is ever used again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Wrong {
            $($(#[$doc])* $name = $number),+
        }

        impl Wrong {
            pub const ALL: &'static [Wrong] = &[$(Wrong::$name),+];

            /// Its name in answers.
            pub fn code(self) -> &'static str {
                match self {
                    $(Wrong::$name => $code),+
                }
            }

            /// As it is stored.
            pub fn number(self) -> u8 {
                match self {
                    $(Wrong::$name => $number),+
                }
            }

            fn bit(self) -> u32 {
                1 << self.number()
            }
        }
    };
}

wrongs! {
    NotBase64 = 0 "output_not_base64",
    /// More than 1 MB.
    TooLarge = 1 "output_too_large",
    /// Fewer than 16 bytes.
    TooSmall = 2 "output_too_small",
    HashMalformed = 3 "hash_malformed",
    /// The given hash is not that of the output, or not of the challenge with the output.
    HashMismatch = 4 "hash_mismatch",
    /// An answer to a challenge came without its hash.
    HashMissing = 5 "hash_missing",
    TimestampTooOld = 6 "timestamp_too_old",
    TimestampInFuture = 7 "timestamp_in_future",
    NonceTooShort = 8 "nonce_too_short",
    /// The node gave it with another output within 24 h.
    NonceReused = 9 "nonce_reused",
    /// Another node gave the same output within 24 h.
    OfAnotherNode = 10 "output_of_another_node",
    /// The node was not challenged in that slot.
    ChallengeUnknown = 11 "challenge_unknown",
    ChallengeLate = 12 "challenge_late",
    /// In batches: nobody has this id. Not recorded.
    NodeUnknown = 13 "node_unknown",
    /// More outputs of this node within 24 h than are kept apart. Not recorded.
    TooMany = 14 "too_many_outputs",
}

/// What is wrong with one output: none, when it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wrongs(u32);

impl Wrongs {
    pub fn add(&mut self, wrong: Wrong) {
        self.0 |= wrong.bit();
    }

    pub fn add_if(&mut self, is_so: bool, wrong: Wrong) {
        if is_so {
            self.add(wrong);
        }
    }

    pub fn has(self, wrong: Wrong) -> bool {
        self.0 & wrong.bit() != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Wrong> {
        Wrong::ALL.iter().copied().filter(move |wrong| self.has(*wrong))
    }
}

impl FromIterator<Wrong> for Wrongs {
    fn from_iter<I: IntoIterator<Item = Wrong>>(all: I) -> Wrongs {
        let mut wrongs = Wrongs::default();
        all.into_iter().for_each(|wrong| wrongs.add(wrong));
        wrongs
    }
}

/// An output as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    pub output_data: &'a str,
    pub output_hash: Option<&'a str>,
    pub timestamp: Timestamp,
    pub nonce: &'a str,
    pub challenge_slot: Option<Slot>,
}

/// What a claim says by itself; what others said before is judged with it in `storage::outputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Of the output alone: what repeats and duplicates are known by. Where it is no base64, of the text as it came.
    pub data_hash: [u8; 32],
    /// As it is shown and stored. A hash that nobody gave is never that of a challenge: it would tell who does not know the challenge what to answer.
    pub output_hash: [u8; 32],
    /// The nonce, hashed.
    pub nonce: [u8; 16],
    pub timestamp: Timestamp,
    pub challenge_slot: Option<Slot>,
    pub wrongs: Wrongs,
}

/// Judges all that needs no memory. `challenge` is what the node was or would have been asked in a slot. Decoding and hashing 1 MB takes milliseconds.
pub fn examine(claim: &Claim<'_>, challenge: impl Fn(Slot) -> [u8; CHALLENGE_LEN], now: Timestamp) -> Examined {
    let mut wrongs = Wrongs::default();
    wrongs.add_if(now.since(claim.timestamp) > REMEMBERED_MS, Wrong::TimestampTooOld);
    wrongs.add_if(claim.timestamp.since(now) > AHEAD_MS, Wrong::TimestampInFuture);
    wrongs.add_if(claim.nonce.chars().count() < MIN_NONCE, Wrong::NonceTooShort);
    let text = claim.output_data.as_bytes();
    let data = decoded(text, &mut wrongs);
    let data_hash = sha256(data.as_deref().unwrap_or(text));
    let given: Option<[u8; 32]> = claim.output_hash.and_then(|hash| {
        let is_lower = hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let hash = is_lower.then(|| unhex(hash)).flatten().and_then(|bytes| bytes.try_into().ok());
        wrongs.add_if(hash.is_none(), Wrong::HashMalformed);
        hash
    });
    let expected = match (claim.challenge_slot, &data) {
        (Some(slot), Some(data)) => bound_hash(&challenge(slot), data),
        _ => data_hash,
    };
    wrongs.add_if(claim.challenge_slot.is_some() && claim.output_hash.is_none(), Wrong::HashMissing);
    wrongs.add_if(data.is_some() && given.is_some_and(|given| given != expected), Wrong::HashMismatch);
    let nonce = sha256(claim.nonce.as_bytes());
    Examined {
        data_hash,
        output_hash: given.unwrap_or(data_hash),
        nonce: nonce.first_chunk().copied().unwrap_or_default(),
        timestamp: claim.timestamp,
        challenge_slot: claim.challenge_slot,
        wrongs,
    }
}

/// The output itself, where it can be one: base64 of at most 1 MB.
pub fn data(text: &str) -> Option<Vec<u8>> {
    let mut wrongs = Wrongs::default();
    decoded(text.as_bytes(), &mut wrongs).filter(|_| !wrongs.has(Wrong::TooLarge))
}

/// The output itself; none where it is no base64 or larger than is looked at.
fn decoded(text: &[u8], wrongs: &mut Wrongs) -> Option<Vec<u8>> {
    if text.len() > MAX_OUTPUT_CHARACTERS {
        wrongs.add(Wrong::TooLarge);
        return None;
    }
    let Ok(data) = BASE64.decode(text) else {
        wrongs.add(Wrong::NotBase64);
        return None;
    };
    wrongs.add_if(data.len() > MAX_OUTPUT_BYTES, Wrong::TooLarge);
    wrongs.add_if(data.len() < MIN_OUTPUT_BYTES, Wrong::TooSmall);
    Some(data)
}

/// What is kept of a submitted output: everything but itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub node: NodeIndex,
    pub received_at: Timestamp,
    /// The time that came with it.
    pub timestamp: Timestamp,
    pub wrongs: Wrongs,
    pub challenge_slot: Option<Slot>,
    /// It answered a challenge, and counts in the score once the slot is closed.
    pub counted: bool,
    /// The node signed it; otherwise a person or a program submitted it.
    pub by_node: bool,
    pub output_hash: [u8; 32],
    /// The beginning of the hash of the output alone.
    pub data: [u8; 16],
    pub nonce: [u8; 16],
    /// Of the node's newest closed epoch.
    pub score_hundredths: u16,
    pub confidence_hundredths: u8,
    pub took_ms: u32,
    pub batch: Option<[u8; 16]>,
}

impl Proof {
    pub fn is_valid(&self) -> bool {
        self.wrongs.is_none()
    }

    /// UUIDv7 of the proof with this number. It is not stored: it follows from what is.
    pub fn id(&self, number: u64) -> uuid::Uuid {
        let hash = sha256_parts(&[&number.to_le_bytes(), &self.nonce, &self.output_hash]);
        let random = hash.first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(self.received_at.0).unwrap_or(0), &random).into_uuid()
    }
}

/// The outputs of a node in one month; kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProofMonth {
    pub count: u32,
    pub valid: u32,
    pub counted: u32,
    /// Number of each error that there was (`Wrong`), ascending, and how often.
    pub wrongs: Vec<(u8, u32)>,
    /// Hash of the last valid one.
    pub last_valid: Option<[u8; 32]>,
}

impl ProofMonth {
    pub fn add(&mut self, proof: &Proof) {
        self.count = self.count.saturating_add(1);
        self.counted = self.counted.saturating_add(u32::from(proof.counted));
        if proof.is_valid() {
            self.valid = self.valid.saturating_add(1);
            self.last_valid = Some(proof.output_hash);
        }
        for wrong in proof.wrongs.iter() {
            match self.wrongs.binary_search_by_key(&wrong.number(), |(number, _)| *number) {
                Ok(at) => self.wrongs[at].1 = self.wrongs[at].1.saturating_add(1),
                Err(at) => self.wrongs.insert(at, (wrong.number(), 1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{base64, hex};

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const ASKED: [u8; 32] = [9; 32];

    fn node(name: &str) -> NodeId {
        NodeId::parse(&format!("node_{name}")).unwrap()
    }

    fn leaked(text: String) -> &'static str {
        text.leak()
    }

    fn codes(change: impl FnOnce(&mut Claim<'_>)) -> Vec<&'static str> {
        let mut claim = Claim {
            output_data: leaked(base64(b"sixteen bytes or more")),
            output_hash: None,
            timestamp: NOW,
            nonce: "12345678",
            challenge_slot: None,
        };
        change(&mut claim);
        examine(&claim, |_| ASKED, NOW).wrongs.iter().map(Wrong::code).collect()
    }

    #[test]
    fn each_check_has_its_own_error_at_its_bound() {
        assert!(codes(|_| ()).is_empty());
        assert_eq!(codes(|c| c.output_data = "no base64!"), ["output_not_base64"]);
        assert_eq!(codes(|c| c.output_data = "YWJjZGVmZ2hpamtsbW5vcHE"), ["output_not_base64"], "padding is part of it");
        let sized = |bytes: usize| codes(|c| c.output_data = leaked(base64(&vec![7; bytes])));
        assert_eq!(sized(15), ["output_too_small"]);
        assert_eq!(sized(0), ["output_too_small"]);
        assert!(sized(16).is_empty() && sized(MAX_OUTPUT_BYTES).is_empty());
        assert_eq!(sized(MAX_OUTPUT_BYTES + 1), ["output_too_large"]);
        assert_eq!(sized(MAX_OUTPUT_BYTES + 10), ["output_too_large"]);
        let at = |ms: i64| codes(|c| c.timestamp = NOW.plus_ms(ms));
        assert!(at(-REMEMBERED_MS).is_empty() && at(AHEAD_MS).is_empty());
        assert_eq!(at(-REMEMBERED_MS - 1), ["timestamp_too_old"]);
        assert_eq!(at(AHEAD_MS + 1), ["timestamp_in_future"]);
        assert_eq!(codes(|c| c.nonce = "1234567"), ["nonce_too_short"]);
        assert!(codes(|c| c.nonce = "ääääöööö").is_empty(), "characters, not bytes");
        let of_data = hex(&sha256(b"sixteen bytes or more"));
        let of_answer = hex(&bound_hash(&ASKED, b"sixteen bytes or more"));
        let hashed =
            |hash: &str, slot: Option<u32>| codes(|c| (c.output_hash, c.challenge_slot) = (Some(leaked(hash.to_owned())), slot.map(Slot)));
        assert!(hashed(&of_data, None).is_empty() && hashed(&of_answer, Some(5)).is_empty());
        assert_eq!(hashed(&of_data, Some(5)), ["hash_mismatch"]);
        assert_eq!(hashed(&of_answer, None), ["hash_mismatch"]);
        assert_eq!(hashed(&of_data.to_uppercase(), None), ["hash_malformed"]);
        assert_eq!(hashed("abc", None), ["hash_malformed"]);
        assert_eq!(codes(|c| c.challenge_slot = Some(Slot(5))), ["hash_missing"]);
        assert_eq!(codes(|c| (c.nonce, c.timestamp) = ("", Timestamp(0))), ["timestamp_too_old", "nonce_too_short"]);
    }

    #[test]
    fn a_verdict_tells_nobody_the_answer_to_a_challenge() {
        let text = base64(b"sixteen bytes or more");
        let claim =
            |hash| Claim { output_data: &text, output_hash: hash, timestamp: NOW, nonce: "12345678", challenge_slot: Some(Slot(1)) };
        let answer = bound_hash(&ASKED, b"sixteen bytes or more");
        let wrong = "0".repeat(64);
        for hash in [None, Some(wrong.as_str()), Some("zz")] {
            assert_ne!(examine(&claim(hash), |_| ASKED, NOW).output_hash, answer, "{hash:?}");
        }
    }

    #[test]
    fn numbers_of_errors_never_change() {
        let bits: Vec<u32> = Wrong::ALL.iter().map(|wrong| wrong.bit()).collect();
        assert_eq!(bits, (0..15).map(|n| 1 << n).collect::<Vec<u32>>());
        assert_eq!(Wrong::OfAnotherNode.code(), "output_of_another_node");
    }

    proptest! {
        #[test]
        fn one_slot_of_each_block_challenges_each_node(block in 0u32..400_000_000, name in "[a-z]{3,9}", key in any::<[u8; 32]>()) {
            let beacons = Beacons::new(SecretKey(key));
            let slots: Vec<Slot> = (0..BLOCK_SLOTS).map(|n| Slot(block * BLOCK_SLOTS + n)).filter(|s| beacons.challenges(&node(&name), *s)).collect();
            prop_assert_eq!(slots.len(), 1);
            prop_assert_eq!(slots[0], challenged_slot(&beacons.day_key(day_of(slots[0])), &node(&name), block));
        }
    }

    #[test]
    fn challenges_are_spread_and_everybody_has_their_own() {
        let beacons = Beacons::new(SecretKey([1; 32]));
        let mut per_offset = [0u32; 10];
        for slot in (0..20_000).map(Slot).filter(|slot| beacons.challenges(&node("one"), *slot)) {
            per_offset[(slot.0 % 10) as usize] += 1;
        }
        assert_eq!(per_offset.iter().sum::<u32>(), 2_000);
        assert!(per_offset.iter().all(|n| (150..250).contains(n)), "{per_offset:?}");
        let all = [(node("one"), 5), (node("one"), 6), (node("two"), 5)].map(|(node, slot)| beacons.challenge(&node, Slot(slot)));
        assert!(all[0] != all[1] && all[0] != all[2]);
    }

    #[test]
    fn an_answer_has_until_its_slot_closes() {
        assert_eq!(answerable_for_ms(Slot(10), Slot(10).start()), 120_000);
        assert_eq!(answerable_for_ms(Slot(10), Slot(14).start()), 0);
    }
}
