//! What a backup says of itself: a manifest beside copies of the files of a store, under the manager's signature; and when the next one is due.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::proof::canonical::Canonical;
use super::proof::text::Hex;
use super::time::Timestamp;
use crate::crypto::PublicKey;

/// Name and version of the format, and what the signed bytes begin with.
pub const FORMAT: &str = "lucid/backup/v1";
/// In the folder of each backup.
pub const MANIFEST: &str = "manifest.json";
/// The newest good backup may be so old before somebody is told: two days.
pub const OVERDUE_MS: i64 = 2 * DAY_MS;
/// After one that failed, the next is tried no sooner.
pub const RETRY_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Bytes of a file's name.
const MAX_NAME: usize = 100;

/// When backups are made, where, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    pub enabled: bool,
    /// Minutes of the day, UTC.
    pub at_minutes: u32,
    /// None: in the data folder.
    pub dir: Option<PathBuf>,
    pub keep: u32,
}

impl Daily {
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data_dir.join("backups"))
    }
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUp {
    /// `core.redb`, or a file of a folder of the store: `archive/outputs-2026-09.jsonl.gz`.
    pub name: String,
    /// Length of the copy.
    pub bytes: u64,
    pub sha256: Hex<32>,
    /// What the file was in the store: the next backup takes this copy again where it still is that. 0: it is copied each time.
    pub revision: u64,
}

/// Every field but the signature is in the signed bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    /// Version of the program that made it.
    pub release: String,
    /// Schema of the store.
    pub schema: u32,
    pub store_id: String,
    pub manager_id: String,
    pub generation: u32,
    /// RFC 3339, UTC: when the files were what they are here.
    pub made_at: String,
    pub files: Vec<BackedUp>,
    pub manager_key: Hex<32>,
    /// Ed25519 by the manager's key.
    pub signature: Hex<64>,
}

impl Manifest {
    pub fn signed_bytes(&self) -> Vec<u8> {
        let head = Canonical::new(FORMAT)
            .text(&self.format)
            .text(&self.release)
            .u32(self.schema)
            .text(&self.store_id)
            .text(&self.manager_id)
            .u32(self.generation)
            .text(&self.made_at)
            .u64(self.files.len() as u64);
        let file =
            |canonical: Canonical, file: &BackedUp| canonical.text(&file.name).u64(file.bytes).hash(&file.sha256.0).u64(file.revision);
        self.files.iter().fold(head, file).hash(&self.manager_key.0).finish()
    }

    /// Whether the key that it names signed it.
    pub fn is_signed(&self) -> bool {
        self.format == FORMAT && PublicKey(self.manager_key.0).verifies(&self.signed_bytes(), &self.signature.0)
    }

    /// Length of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub fn file(&self, name: &str) -> Option<&BackedUp> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// Folders of the store whose files go into backups.
pub const FOLDERS: [&str; 2] = ["archive", "cold"];

/// Whether this is the name of a file that a backup may hold. Nothing else of a manifest becomes a path.
pub fn is_file_name(name: &str) -> bool {
    let (folder, file) = name.split_once('/').map_or((None, name), |(folder, file)| (Some(folder), file));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    name.len() <= MAX_NAME
        && folder.is_none_or(|folder| FOLDERS.contains(&folder))
        && (folder.is_some() || ["core.redb", "hot.redb"].contains(&file))
        && !file.is_empty()
        && !file.starts_with('.')
        && file.bytes().all(is_plain)
}

/// Name of the folder of a backup of that time: in the order of names, as in that of times. `2026-11-22T03-30-00Z`.
pub fn stamp(at: Timestamp) -> String {
    Timestamp::from_seconds(at.seconds()).rfc3339().replace(':', "-")
}

/// Whether a folder has such a name. A second one of the same second ends in `-2`.
pub fn is_stamp(name: &str) -> bool {
    let bytes = name.as_bytes();
    let fits = |(place, byte): (usize, &u8)| match place {
        4 | 7 | 13 | 16 => *byte == b'-',
        10 => *byte == b'T',
        19 => *byte == b'Z',
        20 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    (bytes.len() == 20 || (22..=24).contains(&bytes.len())) && bytes.iter().enumerate().all(fits)
}

/// Minutes of the day (UTC) at which the daily backup is due: `03:30`.
pub fn parse_time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u32>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// The last moment at or before `now` at which a backup was due.
fn last_moment(minutes: u32, now: Timestamp) -> Timestamp {
    let of_day = i64::from(minutes) * 60_000;
    Timestamp((now.0 - of_day).div_euclid(DAY_MS) * DAY_MS + of_day)
}

/// Whether the daily backup is due: a moment has come since `since`, the last good one or the making of the store. However many were missed, one is made.
pub fn is_due(minutes: u32, since: Timestamp, failed_at: Option<Timestamp>, now: Timestamp) -> bool {
    let moment = last_moment(minutes, now);
    since < moment && failed_at.is_none_or(|at| now.since(at) >= RETRY_MS || at > now)
}

/// Whether the newest good one is too old; a new store has two days for its first.
pub fn is_overdue(since: Timestamp, now: Timestamp) -> bool {
    now.since(since) > OVERDUE_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SecretKey, SigningKey};

    type Change = fn(&mut Manifest);

    #[test]
    fn every_field_is_signed() {
        let key = SigningKey::from_seed(SecretKey([7; 32]));
        let file = |name: &str| BackedUp { name: name.into(), bytes: 8_192, sha256: Hex([1; 32]), revision: 3 };
        let mut manifest = Manifest {
            format: FORMAT.into(),
            release: "0.1.0".into(),
            schema: 1,
            store_id: "5f".into(),
            manager_id: "mgr".into(),
            generation: 2,
            made_at: "2026-11-22T03:30:00Z".into(),
            files: vec![file("core.redb"), file("hot.redb")],
            manager_key: Hex(key.public().0),
            signature: Hex([0; 64]),
        };
        assert!(!manifest.is_signed());
        manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
        assert!(manifest.is_signed());
        let changes: [Change; 15] = [
            |m| m.format.push('2'),
            |m| m.release.push('1'),
            |m| m.schema += 1,
            |m| m.store_id.push('0'),
            |m| m.manager_id.push('0'),
            |m| m.generation += 1,
            |m| m.made_at.push('0'),
            |m| drop(m.files.pop()),
            |m| m.files.swap(0, 1),
            |m| m.files[0].name.push('0'),
            |m| m.files[1].bytes += 1,
            |m| m.files[1].sha256.0[31] ^= 1,
            |m| m.files[0].revision += 1,
            |m| m.manager_key.0[0] ^= 1,
            |m| m.signature.0[0] ^= 1,
        ];
        for change in changes {
            let mut changed = manifest.clone();
            change(&mut changed);
            assert!(!changed.is_signed(), "{changed:?}");
        }
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(
            (json.as_object().unwrap().len(), json["files"][0].as_object().unwrap().len()),
            (10, 4),
            "a new field is signed, and changed here"
        );
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest);
    }

    #[test]
    fn names_of_files_lead_nowhere_else() {
        for good in ["core.redb", "hot.redb", "cold/raw-2026W38.redb", "archive/outputs-2026-09.jsonl.gz"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in [
            "",
            "secret.key",
            "/core.redb",
            "cold/",
            "cold/..",
            "cold/.x",
            "../core.redb",
            "archive/../core.redb",
            "logs/x",
            "cold/a/b",
            "cold/a\0",
        ] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        assert!(!is_file_name(&format!("cold/{}", "x".repeat(200))));
    }

    #[test]
    fn stamps_sort_as_times_do() {
        let at = Timestamp(1_790_000_000_123);
        let (first, later) = (stamp(at), stamp(at.plus_seconds(1)));
        assert!(is_stamp(&first) && first < later, "{first} {later}");
        let again = format!("{first}-2");
        assert!(is_stamp(&again) && first < again && again < later);
        for bad in ["", "2026-11-22", "2026-11-22T03-30-00Z.tmp", "2026-11-22T03-30-00Z-", "2026-11-22T03:30:00Z", "backups"] {
            assert!(!is_stamp(bad), "{bad}");
        }
    }

    #[test]
    fn a_missed_day_is_made_once_and_a_failure_is_tried_again_within_the_hour() {
        assert_eq!((parse_time_of_day("03:30"), parse_time_of_day("00:00"), parse_time_of_day("23:59")), (Some(210), Some(0), Some(1_439)));
        for bad in ["", "24:00", "3:30", "03:60", "03:3", "+3:30", "03:30:00"] {
            assert_eq!(parse_time_of_day(bad), None, "{bad}");
        }
        let day = |days: i64, minutes: i64| Timestamp(days * DAY_MS + minutes * 60_000);
        assert!(!is_due(210, day(10, 211), None, day(10, 240)) && !is_due(210, day(10, 211), None, day(11, 209)));
        assert!(is_due(210, day(10, 211), None, day(11, 210)) && is_due(210, day(10, 211), None, day(19, 5)));
        assert!(!is_due(210, day(19, 5), None, day(19, 209)) && is_due(210, day(19, 5), None, day(19, 210)));
        assert!(!is_due(210, day(10, 0), Some(day(10, 230)), day(10, 289)) && is_due(210, day(10, 0), Some(day(10, 230)), day(10, 290)));
        assert!(!is_overdue(day(10, 0), day(12, 0)) && is_overdue(day(10, 0), day(12, 1)));
    }
}
