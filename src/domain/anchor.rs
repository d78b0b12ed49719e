//! An anchor: one entry of the audit log, signed by the manager, to be kept off the machine. A log that was cut, rolled back or rewritten since does
//! not hold it any more.

use super::ids::ManagerId;
use super::time::Timestamp;

/// What an anchor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub manager_id: ManagerId,
    /// The newest entry when it was made.
    pub seq: u64,
    /// That entry's hash, which covers all entries before.
    pub hash: [u8; 32],
    pub at: Timestamp,
}

impl Anchor {
    /// What is signed: a domain tag, then the fields, each of fixed length or behind its length.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let id = self.manager_id.as_str().as_bytes();
        let length = u64::try_from(id.len()).unwrap_or(u64::MAX);
        let parts: [&[u8]; 6] =
            [b"lucid/audit-anchor/v1\0", &length.to_le_bytes(), id, &self.seq.to_le_bytes(), &self.hash, &self.at.0.to_le_bytes()];
        parts.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_signed() {
        let manager_id = ManagerId::parse("manager_0123456789abcdef").unwrap();
        let anchor = Anchor { manager_id, seq: 7, hash: [1; 32], at: Timestamp(1_790_000_000_000) };
        let others = [
            Anchor { manager_id: ManagerId::parse("manager_1123456789abcdef").unwrap(), ..anchor.clone() },
            Anchor { seq: 8, ..anchor.clone() },
            Anchor { hash: [2; 32], ..anchor.clone() },
            Anchor { at: Timestamp(1_790_000_000_001), ..anchor.clone() },
        ];
        assert!(others.iter().all(|other| other.signed_bytes() != anchor.signed_bytes()));
    }
}
