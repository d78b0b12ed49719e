//! Who writes a manager's documents, how far they go, and from when on they are one consistent state.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rev;
use crate::domain::time::{BootMs, Timestamp};

/// While so long nobody says that it lives, nobody does. In ms.
pub const WATCH_MS: i64 = 90_000;
/// How often who writes says that it lives.
pub const BEAT_MS: i64 = 30_000;

/// A manager that writes its documents; the cluster has one for each manager id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of the store: grows when a backup is restored.
    pub generation: u32,
    /// How often that store was opened to be replicated.
    pub starts: u32,
    /// Drawn at each start of a manager.
    pub run: String,
    /// Drawn when a cluster is found to know nothing of this manager: what is said of another copy is of one that was wiped.
    pub copy: String,
    /// Grows while it lives.
    pub beat: u64,
    /// It has ended, and said so.
    pub is_released: bool,
    /// When it said so last, by its own clock: for people.
    pub seen_at: Timestamp,
}

/// What the documents of a manager were, all of them, at one moment of its store: what a restore goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its name; of two rounds the later one has the larger.
    pub rev: Rev,
    /// When the store was that.
    pub at: Timestamp,
    /// Rows that changed since the round before are written once more, so many parts: whatever else became of their documents, they were this.
    pub parts: u32,
    /// The last key of each table that only grows.
    pub through: Vec<Through>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    pub table: String,
    pub key: Vec<u8>,
}

/// What the cluster says of a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    pub claim: Claim,
    /// None while its documents are copied for the first time, or once more.
    pub round: Option<Round>,
}

/// A row as parts of rounds have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRow {
    /// Number of its table.
    pub table: u8,
    pub key: Vec<u8>,
    /// What its document is called.
    pub name: Vec<u8>,
    pub rev: Rev,
    /// As its document has it.
    pub record: Option<Vec<u8>>,
}

/// How much of a table the cluster has. Kept there, written after what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub table: String,
    /// The life of the store in which it was begun: of another one it says nothing.
    pub life: Life,
    /// Given before the first row was read; what the cluster has of less is of before.
    pub scan: Rev,
    /// Through which key it was read, sealed where the cluster has it; None: not begun.
    pub through: Option<Vec<u8>>,
    /// It was read to its end.
    pub is_whole: bool,
}

/// In one stretch of one life of a store each change of a row leaves a mark; and one copy has what was sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    pub generation: u32,
    pub stretch: u32,
    pub copy: String,
}

/// What becomes of who wants to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It writes already.
    Mine,
    /// Nobody does: the claim may be written over this one.
    Free,
    /// Somebody may: look again.
    Watch,
    /// Another manager with this id lives, or did after this one's store was copied.
    Second,
    /// This store was restored somewhere else since: this manager is of the past.
    Superseded,
}

/// What this manager knows of itself.
#[derive(Debug, Clone)]
pub struct Own<'a> {
    pub generation: u32,
    pub run: &'a str,
    /// The runs of this very store that may have written last.
    pub known: &'a [String],
    /// A person said that the other one is gone.
    pub takes_over: bool,
}

/// How somebody else's claim looked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// None: it is not waited for.
    run: Option<String>,
    beat: u64,
    since: BootMs,
}

/// Who may write. Lives are told by beats that are seen, never by comparing clocks of two machines.
pub fn standing(own: &Own<'_>, found: Option<&Claim>, watched: &mut Option<Watched>, now: BootMs) -> Standing {
    let Some(found) = found else {
        // Somebody else wrote until now, and the cluster was wiped: that one has the first word.
        return match watched {
            Some(seen) if now.0.saturating_sub(seen.since.0) < WATCH_MS => Standing::Watch,
            _ => Standing::Free,
        };
    };
    if found.run == own.run {
        return Standing::Mine;
    }
    if found.generation > own.generation {
        return Standing::Superseded;
    }
    let is_ours = found.generation < own.generation || own.known.contains(&found.run);
    if !is_ours && !own.takes_over {
        *watched = Some(Watched { run: None, beat: found.beat, since: now });
        return Standing::Second;
    }
    if found.is_released {
        return Standing::Free;
    }
    match watched {
        Some(seen) if seen.run.as_ref() == Some(&found.run) && seen.beat == found.beat => {
            if now.0.saturating_sub(seen.since.0) >= WATCH_MS { Standing::Free } else { Standing::Watch }
        }
        // It beats: this one is the second, and goes on looking.
        Some(seen) if seen.run.as_ref() == Some(&found.run) => {
            *watched = Some(Watched { run: Some(found.run.clone()), beat: found.beat, since: now });
            Standing::Second
        }
        _ => {
            *watched = Some(Watched { run: Some(found.run.clone()), beat: found.beat, since: now });
            Standing::Watch
        }
    }
}

/// Why the cluster did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is not there, or not in time.
    Away(String),
    /// It answered, and will not: who we are, what we may, or room.
    Refused(String),
    /// Somebody else writes by now.
    Claimed,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Away(why) => write!(f, "the cluster does not answer: {why}"),
            Trouble::Refused(why) => write!(f, "the cluster refuses: {why}"),
            Trouble::Claimed => f.write_str("the cluster has another claim than this manager's, or none any more: it is looked at anew"),
        }
    }
}

const FIRST_WAIT_MS: u64 = 5_000;
const LONGEST_WAIT_MS: u64 = 600_000;

/// How long to wait after so many failures in a row, in ms: 5 s, doubled up to 10 min, and by up to a quarter less, so that a fleet does not come at once.
pub fn wait_ms(failures: u32, random: u64) -> u64 {
    let doubled = FIRST_WAIT_MS.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT_MS);
    doubled - random % (doubled / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(generation: u32, run: &str, beat: u64) -> Claim {
        Claim { generation, starts: 1, run: run.into(), copy: "c".into(), beat, is_released: false, seen_at: Timestamp(0) }
    }

    fn own<'a>(known: &'a [String]) -> Own<'a> {
        Own { generation: 2, run: "me", known, takes_over: false }
    }

    #[test]
    fn a_manager_that_starts_again_waits_until_its_former_run_is_seen_to_be_over() {
        let known = ["before".to_owned()];
        let mut watched = None;
        assert_eq!(standing(&own(&known), None, &mut watched, BootMs(0)), Standing::Free);
        assert_eq!(standing(&own(&known), Some(&claim(2, "me", 9)), &mut watched, BootMs(0)), Standing::Mine);
        let released = Claim { is_released: true, ..claim(2, "before", 3) };
        assert_eq!(standing(&own(&known), Some(&released), &mut watched, BootMs(0)), Standing::Free, "it said that it ended");
        let killed = claim(2, "before", 3);
        let mut at = |ms| standing(&own(&known), Some(&killed), &mut watched, BootMs(ms));
        assert_eq!([at(0), at(WATCH_MS - 1), at(WATCH_MS)], [Standing::Watch, Standing::Watch, Standing::Free]);
    }

    #[test]
    fn a_second_manager_of_the_same_id_never_writes() {
        let known = ["before".to_owned()];
        // A copy of the card, started beside the original.
        let mut watched = None;
        assert_eq!(standing(&own(&known), Some(&claim(2, "before", 3)), &mut watched, BootMs(0)), Standing::Watch);
        for (beat, beat_ms) in (4..9).zip((30_000..).step_by(30_000)) {
            assert_eq!(standing(&own(&known), Some(&claim(2, "before", beat)), &mut watched, BootMs(beat_ms)), Standing::Second);
        }
        // The original ends: the copy may go on from there.
        let ended = Claim { is_released: true, ..claim(2, "before", 9) };
        assert_eq!(standing(&own(&known), Some(&ended), &mut watched, BootMs(400_000)), Standing::Free);
        // The copy wrote meanwhile: the original is the second now, also while the copy is off, until a person says so.
        let copy = Claim { is_released: true, ..claim(2, "of the copy", 1) };
        assert_eq!(standing(&own(&known), Some(&copy), &mut watched, BootMs(900_000)), Standing::Second);
        // The cluster is wiped: whoever wrote until then has the first word.
        let mut at = |ms| standing(&own(&known), None, &mut watched, BootMs(900_000 + ms));
        assert_eq!([at(0), at(WATCH_MS - 1), at(WATCH_MS)], [Standing::Watch, Standing::Watch, Standing::Free]);
        let told = Own { takes_over: true, ..own(&known) };
        assert_eq!(standing(&told, Some(&copy), &mut watched, BootMs(900_000)), Standing::Free);
        let alive = claim(2, "of the copy", 2);
        assert_eq!(standing(&told, Some(&alive), &mut watched, BootMs(900_000)), Standing::Watch, "not over one that lives");
    }

    #[test]
    fn a_store_that_was_restored_takes_over_and_its_former_life_never_writes_again() {
        let mut watched = None;
        assert_eq!(standing(&own(&[]), Some(&claim(1, "former", 3)), &mut watched, BootMs(0)), Standing::Watch);
        assert_eq!(standing(&own(&[]), Some(&claim(1, "former", 3)), &mut watched, BootMs(WATCH_MS)), Standing::Free);
        assert_eq!(standing(&own(&[]), Some(&claim(3, "later", 1)), &mut watched, BootMs(0)), Standing::Superseded);
    }

    #[test]
    fn waits_double_up_to_ten_minutes_and_are_spread() {
        let waits: Vec<u64> = [1, 2, 3, 8, 60].iter().map(|failures| wait_ms(*failures, 0)).collect();
        assert_eq!(waits, [5_000, 10_000, 20_000, 600_000, 600_000]);
        assert!((3_750..5_000).contains(&wait_ms(1, u64::MAX - 1)) && wait_ms(1, 1) < wait_ms(1, 0));
    }
}
