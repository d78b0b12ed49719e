//! A statement that one key of the manager takes over from another, signed by both: whoever knows one of them may believe the other.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::text::Hex;
use crate::crypto::{PublicKey, SigningKey};

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
    /// A statement that `old` hands over to `new`.
    pub fn signed(manager_id: &str, old: &SigningKey, new: &SigningKey, from_sequence: u64, at_ms: i64) -> Succession {
        let (old_key, new_key) = (Hex(old.public().0), Hex(new.public().0));
        let said = signed_bytes(manager_id, &old_key.0, &new_key.0, from_sequence, at_ms);
        let [signed_by_old, signed_by_new] = [old, new].map(|key| Hex(key.sign(&said)));
        Succession { manager_id: manager_id.to_owned(), old_key, new_key, from_sequence, at_ms, signed_by_old, signed_by_new }
    }

    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(&self.manager_id, &self.old_key.0, &self.new_key.0, self.from_sequence, self.at_ms)
    }

    pub fn is_signed(&self) -> bool {
        let said = self.signed_bytes();
        let by = |key: Hex<32>, signature: Hex<64>| PublicKey(key.0).verifies(&said, &signature.0);
        by(self.old_key, self.signed_by_old) && by(self.new_key, self.signed_by_new)
    }
}

/// Statements of one manager, at most: who follows them all reads them in one header of an answer.
pub const MAX_SUCCESSIONS: usize = 32;

/// Keys that took over from each other, with the heads that each one signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offices {
    /// Each key with the first sequence that it is in office for, oldest first; never empty.
    keys: Vec<([u8; 32], u64)>,
}

impl Offices {
    /// Of statements, oldest first, that are signed and go on from each other. None of others, and of none at all.
    pub fn of(successions: &[Succession]) -> Option<Offices> {
        let first = successions.first()?;
        let follows =
            successions.windows(2).all(|pair| pair[0].new_key == pair[1].old_key && pair[0].from_sequence <= pair[1].from_sequence);
        if !follows || !successions.iter().all(Succession::is_signed) {
            return None;
        }
        let taken_over = successions.iter().map(|statement| (statement.new_key.0, statement.from_sequence));
        Some(Offices { keys: std::iter::once((first.old_key.0, 0)).chain(taken_over).collect() })
    }

    /// The one key that signs the head at this sequence.
    pub fn signer(&self, sequence: u64) -> &[u8; 32] {
        let in_office = self.keys.iter().rev().find(|(_, from)| *from <= sequence);
        in_office.map_or(&self.keys[0].0, |(key, _)| key)
    }

    pub fn has(&self, key: &[u8; 32]) -> bool {
        self.keys.iter().any(|(known, _)| known == key)
    }

    /// The key that signs at present.
    pub fn present(&self) -> &[u8; 32] {
        self.signer(u64::MAX)
    }
}

/// Whether who believes `known` may believe that `signer` signs the head at `sequence`: the statements, oldest first, lead from one to the other, and `signer`
/// was in office.
pub fn leads(successions: &[Succession], known: &[u8; 32], signer: &[u8; 32], sequence: u64) -> bool {
    if successions.is_empty() {
        return known == signer;
    }
    Offices::of(successions).is_some_and(|offices| offices.has(known) && offices.signer(sequence) == signer)
}

/// The key that signs at present, where these statements lead on to it from a key that somebody knows. Stricter than `leads`, because what follows is trust
/// for ever and not one head: all statements are of one manager, and no key ever comes back.
pub fn led_to(successions: &[Succession], manager_id: Option<&str>, is_known: impl Fn(&[u8; 32]) -> bool) -> Option<[u8; 32]> {
    let first = successions.first().filter(|_| successions.len() <= MAX_SUCCESSIONS)?;
    let of_one = successions.iter().all(|statement| statement.manager_id == manager_id.unwrap_or(&first.manager_id));
    let offices = Offices::of(successions).filter(|_| of_one)?;
    let keys: std::collections::BTreeSet<_> = offices.keys.iter().map(|(key, _)| key).collect();
    let is_known = keys.len() == offices.keys.len() && keys.into_iter().any(is_known);
    is_known.then(|| *offices.present())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::crypto::{SecretKey, SigningKey};

    pub fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(SecretKey([seed; 32]))
    }

    pub fn statement(old: &SigningKey, new: &SigningKey, from_sequence: u64) -> Succession {
        Succession::signed("manager_0001", old, new, from_sequence, 7)
    }

    /// Key 1 until head 10, key 2 until head 20, key 3 from there on.
    fn two() -> Vec<Succession> {
        vec![statement(&key(1), &key(2), 10), statement(&key(2), &key(3), 20)]
    }

    fn public(seed: u8) -> [u8; 32] {
        key(seed).public().0
    }

    #[test]
    fn each_key_signs_the_heads_of_its_office_and_who_knows_one_of_them_believes_all() {
        let statements = two();
        for known in 1..=3 {
            for sequence in [0, 9, 10, 19, 20, u64::MAX] {
                let signer = if sequence < 10 {
                    1
                } else if sequence < 20 {
                    2
                } else {
                    3
                };
                for claimed in 1..=4 {
                    let expected = claimed == signer;
                    assert_eq!(leads(&statements, &public(known), &public(claimed), sequence), expected, "{known} {claimed} {sequence}");
                }
            }
        }
        assert!(!leads(&statements, &public(4), &public(3), 20), "a key that is not among them");
        assert!(leads(&[], &public(1), &public(1), 5) && !leads(&[], &public(1), &public(2), 5));
        // Two in a row, without a head between: the one between signs nothing.
        let hasty = [statement(&key(1), &key(2), 10), statement(&key(2), &key(3), 10)];
        assert!(leads(&hasty, &public(1), &public(3), 10) && !leads(&hasty, &public(1), &public(2), 10));
    }

    #[test]
    fn statements_that_do_not_hold_together_lead_nowhere() {
        type Change = fn(&mut Vec<Succession>);
        let changes: [(&str, Change); 8] = [
            ("in the wrong order", |all| all.reverse()),
            ("with a gap", |all| all[1] = statement(&key(4), &key(3), 20)),
            ("going back", |all| all[1] = statement(&key(2), &key(3), 9)),
            ("signed by the old key alone", |all| all[1].signed_by_new = all[1].signed_by_old),
            ("signed by the new key alone", |all| all[1].signed_by_old = all[1].signed_by_new),
            ("of another sequence than was signed", |all| all[0].from_sequence = 11),
            ("of another manager than was signed", |all| all[0].manager_id = "manager_0002".into()),
            ("to another key than was signed", |all| all[1].new_key = Hex(key(4).public().0)),
        ];
        for (what, change) in changes {
            let mut statements = two();
            assert!(leads(&statements, &public(1), &public(3), 20));
            assert_eq!(led_to(&statements, Some("manager_0001"), |known| *known == public(1)), Some(public(3)));
            change(&mut statements);
            let new = statements.last().unwrap().new_key.0;
            assert!(!leads(&statements, &public(1), &new, 20), "{what}");
            assert_eq!(led_to(&statements, Some("manager_0001"), |known| *known == public(1)), None, "{what}");
        }
    }

    #[test]
    fn trust_follows_statements_of_its_own_manager_that_never_come_back() {
        let led = |statements: &[Succession], seed: u8| led_to(statements, Some("manager_0001"), |known| *known == public(seed));
        let statements = two();
        for known in 1..=3 {
            assert_eq!(led(&statements, known), Some(public(3)), "also by who knows the last one already");
        }
        assert_eq!(led(&statements, 4), None);
        assert_eq!(led(&[], 1), None);
        assert_eq!(led_to(&statements, Some("manager_0002"), |_| true), None, "of another manager");
        assert_eq!(led_to(&statements, None, |_| true), Some(public(3)), "whose id is not known yet");
        let other = Succession::signed("manager_0002", &key(2), &key(3), 20, 7);
        assert_eq!(led_to(&[statements[0].clone(), other], None, |_| true), None, "of two managers");
        let back = statement(&key(3), &key(1), 30);
        assert_eq!(led(&[&statements[..], &[back]].concat(), 2), None, "back to a key that was replaced");
        // Whoever has a key that leaked can lead who knows only that one, and nobody who knows the next.
        let rival = [statement(&key(1), &key(9), 10)];
        assert_eq!((led(&rival, 1), led(&rival, 2)), (Some(public(9)), None));
        let many = |count: u8| -> Vec<Succession> { (1..=count).map(|n| statement(&key(n), &key(n + 1), 0)).collect() };
        assert_eq!((led(&many(32), 1), led(&many(33), 1)), (Some(public(33)), None));
    }
}
