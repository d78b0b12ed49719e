//! Whether the manager counts the reports that it answers: its running hash goes on by the report at hand. Pure.

use crate::crypto::unhex;
use crate::domain::evidence::{EvidenceHash, day_of};
use crate::wire::{Report, ReportAnswer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    run: u64,
    /// UTC day by the manager's clock, while that is trusted.
    day: Option<u32>,
    hash: EvidenceHash,
}

/// What the manager's last answer said, while nothing was lost since.
#[derive(Debug, Default)]
pub struct Counted(Option<Told>);

impl Counted {
    /// A report whose answer did not come was counted, or not.
    pub fn lost(&mut self) {
        self.0 = None;
    }

    /// False where the manager's running hash does not follow from the one before and this report: it left one out or counted another machine's.
    pub fn answered(&mut self, report: &Report, body_hash: &[u8; 32], answer: &ReportAnswer) -> bool {
        let before = self.0.take().filter(|before| before.run == answer.run);
        let hash = unhex(&answer.evidence_hash).and_then(|bytes| bytes.try_into().ok()).map(EvidenceHash);
        let day = answer.slot.as_ref().map(|now| day_of(now.slot));
        self.0 = hash.map(|hash| Told { run: answer.run, day, hash });
        let (Some(before), Some(hash)) = (before, hash) else { return true };
        // Reports of which nobody knows the time are of no day.
        let is_counted = report.run == Some(answer.run) && answer.accepted_seq == report.seq && day.is_some();
        if !is_counted {
            return hash == before.hash;
        }
        let begins = before.day != day;
        hash == before.hash.after(body_hash) || (begins && hash == EvidenceHash::default().after(body_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::cycle::Cycle;
    use crate::domain::evidence::SLOTS_PER_DAY;
    use crate::domain::ids::Incarnation;
    use crate::domain::time::{BootMs, Slot};
    use crate::wire::SlotNow;

    fn answer(run: u64, seq: u64, slot: Option<u32>, hash: EvidenceHash) -> ReportAnswer {
        let text = serde_json::json!({ "accepted_seq": seq, "durable_seq": 0, "run": run, "slot": null, "phase_ms": 0, "evidence_hash": hash.to_hex() });
        let slot = slot.map(|slot| SlotNow { slot: Slot(slot), offset_ms: 0, beacon: String::new() });
        ReportAnswer { slot, ..serde_json::from_value(text).unwrap() }
    }

    #[test]
    fn a_hash_goes_on_by_each_report_and_begins_with_each_day() {
        let (mut counted, mut hash, mut seq) = (Counted::default(), EvidenceHash::default(), 0);
        let report = |run, seq| Report { run, seq, ..Cycle::new(Incarnation(1), None, 0).report(BootMs(0), Default::default()) };
        let body = |seq: u64| [u8::try_from(seq).unwrap(); 32];
        let midnight = 2_000 * SLOTS_PER_DAY;
        // (slot, the hash that the manager tells, whether it follows)
        let mut told = |slot: Option<u32>, run: u64, to_run: u64, next: &dyn Fn(EvidenceHash, &[u8; 32]) -> EvidenceHash| {
            seq += 1;
            hash = next(hash, &body(seq));
            counted.answered(&report(Some(to_run), seq), &body(seq), &answer(run, seq, slot, hash))
        };
        let (goes_on, stays): (fn(EvidenceHash, &[u8; 32]) -> EvidenceHash, fn(EvidenceHash, &[u8; 32]) -> EvidenceHash) =
            (|hash, body| hash.after(body), |hash, _| hash);
        let begins = |_: EvidenceHash, body: &[u8; 32]| EvidenceHash::default().after(body);
        let counts_another = |hash: EvidenceHash, body: &[u8; 32]| hash.after(&[9; 32]).after(body);
        assert!(told(Some(midnight - 9), 1, 1, &counts_another), "nothing is known of what was before");
        assert!(told(Some(midnight - 8), 1, 1, &goes_on));
        assert!(!told(Some(midnight - 7), 1, 1, &stays), "answered and not counted");
        assert!(told(Some(midnight - 6), 1, 1, &goes_on));
        assert!(!told(Some(midnight - 5), 1, 1, &counts_another));
        assert!(!told(Some(midnight - 4), 1, 1, &begins), "the day has not ended");
        assert!(told(Some(midnight - 3), 1, 1, &goes_on));
        assert!(told(None, 1, 1, &stays), "without a time it is of no day");
        assert!(!told(None, 1, 1, &goes_on));
        assert!(told(Some(midnight), 1, 1, &begins));
        assert!(told(Some(midnight - 1), 1, 1, &goes_on), "a clock that was set back counts on");
        assert!(told(Some(midnight - 1), 2, 1, &counts_another), "another process knows what was durable");
        assert!(!told(Some(midnight - 1), 2, 1, &goes_on), "a report to an older one is not counted");
        assert!(told(Some(midnight - 1), 2, 2, &goes_on));
        counted.lost();
        let mut told =
            |hash: EvidenceHash, seq: u64| counted.answered(&report(Some(2), seq), &body(seq), &answer(2, seq, Some(midnight), hash));
        assert!(told(EvidenceHash([3; 32]), 101), "what was lost may have been counted");
        assert!(!told(EvidenceHash([3; 32]), 102));
    }
}
