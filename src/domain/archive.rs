//! What an archive says of itself: a manifest beside a file of lines, under the manager's signature. Archives hold what is too old for the store: whoever has one
//! can show that these lines, and no others, are what the manager gave away at that time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::proof::canonical::Canonical;
use super::proof::text::Hex;
use super::statement::Month;
use super::time::Timestamp;
use crate::crypto::PublicKey;

/// Name and version of the format, and what the signed bytes begin with.
pub const FORMAT: &str = "lucid/archive/v1";

/// What is archived. New ones go to the end: stored manifests name one by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArchiveKind)]
pub enum Kind {
    /// Submitted outputs, by month.
    Outputs,
    /// What happened to nodes, by month.
    NodeHistory,
    /// Postings of the ledger, by the month after which it was closed.
    Ledger,
    /// Payouts that ended, by the month in which they did.
    Payouts,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Outputs => "outputs",
            Kind::NodeHistory => "node_history",
            Kind::Ledger => "ledger",
            Kind::Payouts => "payouts",
        }
    }

    /// What its lines are, in a sentence.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Outputs => "outputs",
            Kind::NodeHistory => "events of nodes",
            Kind::Ledger => "postings",
            Kind::Payouts => "payouts",
        }
    }
}

/// How long something stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Whole months that are over, in the store; at least one.
    pub months: u32,
    /// Years after it was made, of the archive. None: for ever.
    pub archive_years: Option<u32>,
}

impl Kept {
    /// The first month that stays in the store.
    pub fn from(self, now: Timestamp) -> Month {
        Month(Month::of(now).0.saturating_sub(self.months.max(1)))
    }

    /// Whether an archive that was made then was kept long enough: its years are counted from the end of that month.
    pub fn is_over(self, made_at: Timestamp, now: Timestamp) -> bool {
        self.archive_years.is_some_and(|years| Month::of(now).0 > Month::of(made_at).0.saturating_add(years.saturating_mul(12)))
    }
}

/// The same of every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub outputs: Kept,
    pub node_history: Kept,
    pub ledger: Kept,
    pub payouts: Kept,
}

impl Default for Retention {
    fn default() -> Retention {
        let kept = |months, archive_years| Kept { months, archive_years };
        Retention { outputs: kept(12, None), node_history: kept(12, Some(2)), ledger: kept(24, Some(7)), payouts: kept(24, Some(7)) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every field but the signature is in the signed bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub kind: Kind,
    /// The month: `2026-09`.
    pub period: String,
    /// Numbers of the first and the last record, as the store numbered them; events of nodes count over all archives. The next archive of the kind begins behind.
    pub first: u64,
    pub last: u64,
    /// Lines of the file: one record each, a JSON object.
    pub lines: u64,
    /// Length of the file.
    pub bytes: u64,
    pub sha256: Hex<32>,
    /// Length and hash of what comes out when it is unpacked.
    pub lines_bytes: u64,
    pub lines_sha256: Hex<32>,
    /// RFC 3339, UTC.
    pub made_at: String,
    pub manager_key: Hex<32>,
    /// Ed25519 by the manager's key.
    pub signature: Hex<64>,
}

impl Manifest {
    pub fn name(&self) -> String {
        name(self.kind, &self.period)
    }

    pub fn signed_bytes(&self) -> Vec<u8> {
        Canonical::new(FORMAT)
            .text(&self.format)
            .text(self.kind.as_str())
            .text(&self.period)
            .u64(self.first)
            .u64(self.last)
            .u64(self.lines)
            .u64(self.bytes)
            .hash(&self.sha256.0)
            .u64(self.lines_bytes)
            .hash(&self.lines_sha256.0)
            .text(&self.made_at)
            .hash(&self.manager_key.0)
            .finish()
    }

    /// Whether the key that it names signed it.
    pub fn is_signed(&self) -> bool {
        self.format == FORMAT && PublicKey(self.manager_key.0).verifies(&self.signed_bytes(), &self.signature.0)
    }
}

/// `outputs-2026-09`: what the names of its two files begin with.
pub fn name(kind: Kind, period: &str) -> String {
    format!("{kind}-{period}")
}

/// The lines, packed.
pub fn lines_file(name: &str) -> String {
    format!("{name}.jsonl.gz")
}

pub fn manifest_file(name: &str) -> String {
    format!("{name}.manifest.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SecretKey, SigningKey};

    type Change = fn(&mut Manifest);

    #[test]
    fn every_field_is_signed() {
        let key = SigningKey::from_seed(SecretKey([7; 32]));
        let mut manifest = Manifest {
            format: FORMAT.into(),
            kind: Kind::Outputs,
            period: "2026-09".into(),
            first: 1,
            last: 300,
            lines: 299,
            bytes: 4_000,
            sha256: Hex([1; 32]),
            lines_bytes: 90_000,
            lines_sha256: Hex([2; 32]),
            made_at: "2027-10-01T00:00:00Z".into(),
            manager_key: Hex(key.public().0),
            signature: Hex([0; 64]),
        };
        assert!(!manifest.is_signed());
        manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
        assert!(manifest.is_signed());
        assert_eq!(lines_file(&manifest.name()), "outputs-2026-09.jsonl.gz");
        let changes: [Change; 13] = [
            |m| m.kind = Kind::Ledger,
            |m| m.format.push('2'),
            |m| m.period = "2026-10".into(),
            |m| m.first += 1,
            |m| m.last += 1,
            |m| m.lines += 1,
            |m| m.bytes += 1,
            |m| m.sha256.0[0] ^= 1,
            |m| m.lines_bytes += 1,
            |m| m.lines_sha256.0[31] ^= 1,
            |m| m.made_at.push('0'),
            |m| m.manager_key.0[0] ^= 1,
            |m| m.signature.0[0] ^= 1,
        ];
        for change in changes {
            let mut changed = manifest.clone();
            change(&mut changed);
            assert!(!changed.is_signed(), "{changed:?}");
        }
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 13, "a new field is signed, and changed in this test");
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest);
    }
}
