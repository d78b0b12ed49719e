//! A statement that one key of the manager takes over from another, signed by both: whoever knows one of them may believe the other.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::text::Hex;
use crate::crypto::PublicKey;

pub const TAG: &str = "lucid/key-succession/v1";

/// Every field but the signatures is in the signed bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeySuccession)]
pub struct Succession {
    pub manager_id: String,
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub old_key: Hex<32>,
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub new_key: Hex<32>,
    /// The first head that the new key signs; the old one signs none from there on.
    pub from_sequence: u64,
    pub at_ms: i64,
    #[schema(value_type = String, pattern = "^[0-9a-f]{128}$")]
    pub signed_by_old: Hex<64>,
    #[schema(value_type = String, pattern = "^[0-9a-f]{128}$")]
    pub signed_by_new: Hex<64>,
}

/// What both keys sign.
pub fn signed_bytes(manager_id: &str, old_key: &[u8; 32], new_key: &[u8; 32], from_sequence: u64, at_ms: i64) -> Vec<u8> {
    Canonical::new(TAG).text(manager_id).hash(old_key).hash(new_key).u64(from_sequence).i64(at_ms).finish()
}

impl Succession {
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(&self.manager_id, &self.old_key.0, &self.new_key.0, self.from_sequence, self.at_ms)
    }

    pub fn is_signed(&self) -> bool {
        let said = self.signed_bytes();
        let by = |key: Hex<32>, signature: Hex<64>| PublicKey(key.0).verifies(&said, &signature.0);
        by(self.old_key, self.signed_by_old) && by(self.new_key, self.signed_by_new)
    }
}

/// Whether who believes `known` may believe that `signer` signs the head at `sequence`: the statements, oldest first, lead from one to the other, and `signer`
/// was in office.
pub fn leads(successions: &[Succession], known: &[u8; 32], signer: &[u8; 32], sequence: u64) -> bool {
    let follows = successions.windows(2).all(|pair| pair[0].new_key == pair[1].old_key && pair[0].from_sequence <= pair[1].from_sequence);
    if !follows || !successions.iter().all(Succession::is_signed) {
        return false;
    }
    let Some(first) = successions.first() else { return known == signer };
    // Each key with the sequences that it is in office for.
    let mut keys = vec![(first.old_key.0, 0, first.from_sequence)];
    for (at, statement) in successions.iter().enumerate() {
        let until = successions.get(at + 1).map_or(u64::MAX, |next| next.from_sequence);
        keys.push((statement.new_key.0, statement.from_sequence, until));
    }
    let in_office = keys.iter().any(|(key, from, until)| key == signer && (*from..*until).contains(&sequence));
    in_office && keys.iter().any(|(key, _, _)| key == known)
}
