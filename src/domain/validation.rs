//! What was said of an output, in the words of the API: what answers show, and what lines of archives are.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use super::output::{Proof, Wrong};
use crate::crypto::hex;

/// What was said of one output, as people and programs read it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = PoOTValidation)]
pub struct Validation {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$")]
    pub node_id: String,
    #[schema(format = "uuid")]
    pub validation_id: String,
    pub is_valid: bool,
    /// The node's in its newest closed epoch, 0 to 100; 0 before the first.
    #[schema(minimum = 0, maximum = 100)]
    pub score: f64,
    /// The same of its confidence, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f64,
    /// SHA-256 of the output, or of the challenge and the output after it.
    #[schema(pattern = "^[a-f0-9]{64}$")]
    pub output_hash: String,
    /// The time that came with the output.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub timestamp: String,
    #[schema(minimum = 0)]
    pub validation_time_ms: u32,
    /// Every check that failed.
    #[schema(example = json!([]))]
    pub errors: Vec<&'static str>,
    /// It answers a challenge, and counts in the score once its slot is closed.
    pub counted: bool,
    pub challenge_slot: Option<u32>,
    #[schema(format = DateTime, example = "2026-09-21T14:13:21Z")]
    pub created_at: String,
    /// Of the batch that it came in.
    pub batch_id: Option<String>,
}

/// Hundredths as a JSON number.
fn hundredths(count: u32) -> f64 {
    Decimal::new(i64::from(count), 2).to_f64().unwrap_or_default()
}

impl Validation {
    pub fn of(node_id: &str, number: u64, proof: &Proof) -> Validation {
        Validation {
            node_id: node_id.to_owned(),
            validation_id: proof.id(number).to_string(),
            is_valid: proof.is_valid(),
            score: hundredths(u32::from(proof.score_hundredths)),
            confidence: hundredths(u32::from(proof.confidence_hundredths)),
            output_hash: hex(&proof.output_hash),
            timestamp: proof.timestamp.rfc3339(),
            validation_time_ms: proof.took_ms,
            errors: proof.wrongs.iter().map(Wrong::code).collect(),
            counted: proof.counted,
            challenge_slot: proof.challenge_slot.map(|slot| slot.0),
            created_at: proof.received_at.rfc3339(),
            batch_id: proof.batch.map(|id| uuid::Uuid::from_bytes(id).to_string()),
        }
    }
}
