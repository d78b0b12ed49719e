//! Requests that are sent again because their answer was lost: what was done under a key is done once.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Keys that are remembered; beyond, those that would be forgotten next are forgotten.
pub const MAX_KEYS: u64 = 4_096;
/// How long a key is remembered.
pub const KEEP_SECONDS: i64 = 48 * 3_600;
/// The largest answer that is kept. Of a larger one only the fact is kept that it was given.
pub const MAX_ANSWER_BYTES: usize = 8 << 10;

/// Hash of who asks, for what, under which key.
pub type Scope = [u8; 32];

/// What is remembered of a request that changed something or was answered with success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub body_hash: [u8; 32],
    pub begun_at: Timestamp,
    /// When it may be forgotten; None: only by whoever holds it, as a payout holds the key it was asked for with.
    pub forget_at: Option<Timestamp>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was committed; what was answered is not known. Written with the change itself.
    Committed,
    /// It was answered.
    Answered {
        status: u16,
        content_type: Option<String>,
        /// The body, sealed: it may hold what is sealed elsewhere.
        sealed: Vec<u8>,
    },
    /// It was answered, and the answer is not here because of this.
    NotKept(String),
}

impl Remembered {
    pub fn committed(body_hash: [u8; 32], now: Timestamp) -> Remembered {
        Remembered { body_hash, begun_at: now, forget_at: Some(now.plus_seconds(KEEP_SECONDS)), outcome: Outcome::Committed }
    }
}
