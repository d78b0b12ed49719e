//! What the agent keeps of the manager's word: the highest head that it has seen, and the last receipt for its reports. A manager that comes back from an older copy
//! of its store is shown the head that it forgot; a node whose reports are missing in a leaf has the receipt. Pure.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::domain::proof::head::{CommittedHead, SignedHead};
use crate::domain::proof::leaf::CommittedReports;
use crate::domain::time::BootMs;
use crate::wire::{KeptHead, Report, ReportAnswer};

/// A card is written this seldom for it: what is lost with the power is an hour of heads.
const WRITE_EVERY_MS: i64 = 3_600_000;

/// Days of which receipts are kept: the leaf that they are held against comes with the first epoch of the next day, and a manager may be away then.
const RECEIPT_DAYS: usize = 8;
/// Of one day. One says it all, unless the manager contradicts itself.
const RECEIPTS_OF_DAY: usize = 4;

/// An answer of the manager to a report, as it was signed: it says how many reports of a day it holds, and their running hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// UTC day of the reports that it counts, from 1970-01-01.
    pub day: u32,
    /// It counts all of them (`last_day` of the body, not `durable_reports`): a leaf says exactly this.
    #[serde(default)]
    pub whole: bool,
    /// Incarnation of the manager's history that was known then. Another one says openly that it goes on from an older copy, which may have forgotten this.
    #[serde(default = "first_life")]
    pub history: u32,
    #[serde(flatten)]
    pub answer: SignedAnswer,
}

fn first_life() -> u32 {
    1
}

impl Receipt {
    /// What it says of its day; none when the answer does not.
    pub fn reports(&self) -> Option<CommittedReports> {
        let answer: ReportAnswer = serde_json::from_str(&self.answer.body).ok()?;
        let reports = if self.whole { answer.last_day } else { answer.durable_reports };
        reports.filter(|reports| reports.day == self.day)
    }
}

/// What a newer word about a day's reports is to an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The older one says as much.
    None,
    /// The older one follows from it.
    Replaces,
    Contradicts,
}

impl News {
    /// Reports, and whether they are all of the day.
    fn of((new, is_whole): (CommittedReports, bool), (old, was_whole): (CommittedReports, bool)) -> News {
        match new.count.cmp(&old.count) {
            Ordering::Equal if new.hash != old.hash => News::Contradicts,
            Ordering::Equal if is_whole && !was_whole => News::Replaces,
            Ordering::Equal => News::None,
            Ordering::Greater if !was_whole => News::Replaces,
            // Told before it was whole, and heard after.
            Ordering::Less if was_whole && !is_whole => News::None,
            _ => News::Contradicts,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAnswer {
    pub incarnation: u64,
    /// Of the report that was answered: the signature covers both.
    pub seq: u64,
    pub body: String,
    pub signature: String,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kept {
    pub head: Option<SignedHead>,
    /// The last one of each day, oldest first.
    #[serde(default)]
    pub receipts: Vec<Receipt>,
}

#[derive(Debug, Default)]
pub struct History {
    kept: Kept,
    /// The manager's last answer named a head that does not follow the one kept.
    is_contradicted: bool,
    written_at: Option<BootMs>,
    is_new: bool,
}

/// What a head of the manager turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Known, or the next one.
    Follows,
    /// Not signed by a key of this manager, or not by the one in office: nobody's word.
    Foreign,
    /// Another life of the history, which says what it went on from.
    Forked,
    /// The manager does not know the head that this agent keeps.
    Contradicts,
}

impl History {
    pub fn new(kept: Kept) -> History {
        History { kept, ..History::default() }
    }

    /// `is_ours` says whether the key that a head names was in office for it.
    pub fn hear(&mut self, head: &SignedHead, is_ours: impl Fn(&CommittedHead) -> bool) -> Heard {
        if !is_ours(&head.head) || !head.is_signed() {
            return Heard::Foreign;
        }
        let heard = match &self.kept.head {
            Some(mine) if mine.head.chain == head.head.chain => judge(mine, head),
            // Of another store of the same manager, or the first one: there is nothing to hold it against.
            _ => Heard::Follows,
        };
        self.is_contradicted = heard == Heard::Contradicts;
        if !self.is_contradicted {
            self.kept.head = Some(head.clone());
            self.is_new = true;
        }
        heard
    }

    /// True when the manager takes back what it signed for: then both answers are kept.
    pub fn keep_receipts(&mut self, answer: &ReportAnswer, signed: &SignedAnswer) -> bool {
        // A manager that does not know its own head is about to declare another life of its history; one that has none yet is in its first.
        if answer.unknown_head {
            return false;
        }
        let history = self.kept.head.as_ref().map_or_else(first_life, |kept| kept.head.incarnation);
        let mut is_contradicted = false;
        for (reports, whole) in [(answer.last_day, true), (answer.durable_reports, false)] {
            let Some(reports) = reports else { continue };
            is_contradicted |= self.keep_receipt(reports, Receipt { day: reports.day, whole, history, answer: signed.clone() });
        }
        is_contradicted
    }

    fn keep_receipt(&mut self, reports: CommittedReports, receipt: Receipt) -> bool {
        let receipts = &mut self.kept.receipts;
        let is_of_day = |kept: &Receipt| (kept.day, kept.history) == (receipt.day, receipt.history);
        let news = |kept: &Receipt| kept.reports().map_or(News::Replaces, |old| News::of((reports, receipt.whole), (old, kept.whole)));
        let all: Vec<News> = receipts.iter().filter(|kept| is_of_day(kept)).map(news).collect();
        if all.contains(&News::None) {
            return false;
        }
        receipts.retain(|kept| !is_of_day(kept) || news(kept) != News::Replaces);
        if receipts.iter().filter(|kept| is_of_day(kept)).count() < RECEIPTS_OF_DAY {
            if receipt.whole {
                self.written_at = None;
            }
            receipts.push(receipt);
        }
        receipts.sort_by_key(|kept| kept.day);
        let mut days: Vec<u32> = receipts.iter().map(|kept| kept.day).collect();
        days.dedup();
        let oldest = days.len().checked_sub(RECEIPT_DAYS).map_or(0, |over| days[over]);
        receipts.retain(|kept| kept.day >= oldest);
        self.is_new = true;
        all.contains(&News::Contradicts) && !all.contains(&News::Replaces)
    }

    /// Says in a report what is known, so that only news comes back.
    pub fn put(&self, report: &mut Report) {
        report.head = self.kept.head.as_ref().map(|kept| {
            let hash = crate::crypto::hex(&kept.hash());
            KeptHead { incarnation: kept.head.incarnation, epoch: kept.head.epoch, hash }
        });
        report.contradicts = self.kept.head.clone().filter(|_| self.is_contradicted).map(Box::new);
    }

    /// The manager's newest head is the one that was named.
    pub fn answered(&mut self, answer: &ReportAnswer, is_ours: impl Fn(&CommittedHead) -> bool) -> Option<Heard> {
        if answer.unknown_head {
            self.is_contradicted = true;
            return Some(Heard::Contradicts);
        }
        match &answer.head {
            Some(head) => Some(self.hear(head, is_ours)),
            None => {
                self.is_contradicted = false;
                None
            }
        }
    }

    /// What is to be written now, if anything.
    pub fn to_write(&mut self, now: BootMs, stopping: bool) -> Option<&Kept> {
        let is_due = self.written_at.is_none_or(|at| now.0 - at.0 >= WRITE_EVERY_MS) || stopping;
        if !is_due || !std::mem::take(&mut self.is_new) {
            return None;
        }
        self.written_at = Some(now);
        Some(&self.kept)
    }
}

fn judge(mine: &SignedHead, theirs: &SignedHead) -> Heard {
    let (a, b) = (&mine.head, &theirs.head);
    if a.incarnation < b.incarnation {
        return Heard::Forked;
    }
    let is_same = mine.hash() == theirs.hash();
    let is_next = b.sequence != a.sequence + 1 || b.previous.0 == mine.hash();
    let follows = a.incarnation == b.incarnation && (is_same || (b.sequence > a.sequence && is_next));
    if follows { Heard::Follows } else { Heard::Contradicts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SecretKey, SigningKey};
    use crate::domain::proof::head::{LogHead, signed_bytes};
    use crate::domain::proof::text::Hex;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(SecretKey([seed; 32]))
    }

    fn head(incarnation: u32, sequence: u64, previous: [u8; 32]) -> SignedHead {
        let log = LogHead { seq: 0, hash: Hex([0; 32]) };
        let head = CommittedHead {
            chain: "c".into(),
            incarnation,
            restored_from: None,
            sequence,
            epoch: 1_000,
            last_slot: 1_009,
            slots_per_epoch: 10,
            closed_at_ms: 0,
            gap: true,
            params: crate::domain::poot::Params::default().into(),
            valid: 0,
            pending: 0,
            invalid: 0,
            leaves_at: None,
            root: Hex([1; 32]),
            previous: Hex(previous),
            history: Hex([2; 32]),
            audit: log,
            ledger: log,
            manager_key: Hex(key(1).public().0),
        };
        let signature = Hex(key(1).sign(&signed_bytes(&head.hash())));
        SignedHead { head, signature }
    }

    fn by(seed: u8) -> impl Fn(&CommittedHead) -> bool {
        move |head| head.manager_key.0 == key(seed).public().0
    }

    #[test]
    fn a_history_goes_on_forks_openly_or_is_contradicted() {
        let manager = &by(1);
        let first = head(1, 7, [0; 32]);
        let mut history = History::default();
        assert_eq!(history.hear(&first, by(2)), Heard::Foreign);
        assert_eq!(history.hear(&SignedHead { signature: Hex([0; 64]), ..first.clone() }, manager), Heard::Foreign);
        assert_eq!(history.hear(&first, manager), Heard::Follows);
        let next = head(1, 8, first.hash());
        assert_eq!((history.hear(&next, manager), history.hear(&next, manager)), (Heard::Follows, Heard::Follows));
        assert_eq!(history.hear(&head(1, 20, [9; 32]), manager), Heard::Follows, "heads between them were not seen");

        let mut history = History::new(Kept { head: Some(next.clone()), receipts: Vec::new() });
        for (other, why) in
            [(head(1, 9, [9; 32]), "not the next one"), (head(1, 8, [9; 32]), "in its place"), (first.clone(), "an older one")]
        {
            assert_eq!(history.hear(&other, manager), Heard::Contradicts, "{why}");
            let mut report =
                crate::agent::cycle::Cycle::new(crate::domain::ids::Incarnation(1), None, 0).report(BootMs(0), Default::default());
            history.put(&mut report);
            assert_eq!(
                (report.contradicts.as_deref(), report.head.map(|kept| kept.hash)),
                (Some(&next), Some(crate::crypto::hex(&next.hash())))
            );
        }
        assert_eq!(history.hear(&head(2, 8, first.hash()), manager), Heard::Forked);
        let mut report = crate::agent::cycle::Cycle::new(crate::domain::ids::Incarnation(1), None, 0).report(BootMs(0), Default::default());
        history.put(&mut report);
        assert_eq!(report.contradicts, None, "the fork is declared: nothing is left to say");
    }

    /// (day, count, byte of the hash); the last day, then the present one. True when it contradicts.
    fn tell(history: &mut History, last: Option<(u32, u32, u8)>, present: Option<(u32, u32, u8)>, seq: u64) -> bool {
        let reports = |told: Option<(u32, u32, u8)>| {
            told.map(|(day, count, hash)| serde_json::json!({ "day": day, "count": count, "hash": crate::crypto::hex(&[hash; 32]) }))
        };
        let text = serde_json::json!({
            "accepted_seq": seq, "durable_seq": seq, "run": 1, "slot": null, "phase_ms": 0, "evidence_hash": "",
            "last_day": reports(last), "durable_reports": reports(present),
        });
        let signed = SignedAnswer { incarnation: 1, seq, body: text.to_string(), signature: String::new() };
        history.keep_receipts(&serde_json::from_value(text).unwrap(), &signed)
    }

    /// Day, whether all of it, how many.
    fn receipts(history: &History) -> Vec<(u32, bool, u32)> {
        history.kept.receipts.iter().map(|kept| (kept.day, kept.whole, kept.reports().unwrap().count)).collect()
    }

    #[test]
    fn the_receipt_for_a_whole_day_is_kept_for_a_week() {
        let mut history = History::default();
        for day in 100..110 {
            for count in 1..4 {
                assert!(!tell(&mut history, Some((day - 1, 3, 3)), Some((day, count, u8::try_from(count).unwrap())), u64::from(count)));
            }
        }
        let whole = (102..109).map(|day| (day, true, 3));
        assert_eq!(receipts(&history), whole.clone().chain([(109, false, 3)]).collect::<Vec<_>>());
        // After midnight the day before is still told as it was, until a flush has counted all of it.
        assert!(history.to_write(BootMs(0), false).is_some());
        assert!(!tell(&mut history, Some((108, 3, 3)), Some((109, 4, 4)), 5));
        assert_eq!(receipts(&history), whole.chain([(109, false, 4)]).collect::<Vec<_>>());
        assert!(history.to_write(BootMs(1), false).is_none(), "that can wait");
        assert!(!tell(&mut history, Some((109, 6, 6)), Some((110, 1, 1)), 6));
        assert_eq!(receipts(&history)[6..], [(109, true, 6), (110, false, 1)]);
        let written = serde_json::to_string(history.to_write(BootMs(2), false).expect("a whole day is written at once")).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&written).unwrap(), history.kept);
    }

    #[test]
    fn a_manager_that_takes_back_what_it_signed_for_is_caught_with_both() {
        let begun = |count| {
            let mut history = History::default();
            assert!(!tell(&mut history, None, Some((100, count, 9)), 1));
            history
        };
        let mut fewer = begun(2_870);
        assert!(tell(&mut fewer, Some((100, 1_000, 1)), Some((101, 1, 1)), 2), "fewer of the whole day than of a part");
        assert_eq!(receipts(&fewer), [(100, false, 2_870), (100, true, 1_000), (101, false, 1)]);
        assert!(!tell(&mut fewer, Some((100, 1_000, 1)), Some((101, 2, 2)), 3), "told once");
        assert!(tell(&mut fewer, Some((100, 1_001, 1)), None, 4), "and now another number");
        assert_eq!(receipts(&fewer).iter().filter(|(day, ..)| *day == 100).count(), 3);
        for count in 0..20 {
            tell(&mut fewer, Some((100, count, 1)), None, 5);
        }
        assert_eq!(receipts(&fewer).iter().filter(|(day, ..)| *day == 100).count(), RECEIPTS_OF_DAY);

        let mut others = begun(5);
        assert!(tell(&mut others, Some((100, 5, 8)), None, 2), "as many, and other ones");
        let mut back = begun(5);
        assert!(tell(&mut back, None, Some((100, 3, 3)), 2), "a part of what was durable");
        assert!(!tell(&mut back, None, Some((100, 4, 4)), 3), "which goes on");
        assert_eq!(receipts(&back), [(100, false, 5), (100, false, 4)]);
        // Said of the running day, it is held against the rest of it.
        let mut early = begun(5);
        assert!(!tell(&mut early, Some((100, 5, 9)), None, 2));
        assert!(tell(&mut early, None, Some((100, 6, 6)), 3), "more than all");
        // Openly, from an older copy on.
        let mut forgot = begun(5);
        let unknown = serde_json::json!({
            "accepted_seq": 2, "durable_seq": 2, "run": 1, "slot": null, "phase_ms": 0, "evidence_hash": "", "unknown_head": true,
            "durable_reports": { "day": 100, "count": 1, "hash": "00".repeat(32) },
        });
        let signed = SignedAnswer { incarnation: 1, seq: 2, body: unknown.to_string(), signature: String::new() };
        assert!(!forgot.keep_receipts(&serde_json::from_value(unknown).unwrap(), &signed), "it does not know its own head");
        assert_eq!(receipts(&forgot), [(100, false, 5)]);
        let mut forked = begun(5);
        forked.kept.head = Some(head(2, 1, [0; 32]));
        assert!(!tell(&mut forked, Some((100, 3, 3)), None, 2));
        assert_eq!(forked.kept.receipts.iter().map(|kept| kept.history).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_card_is_written_once_an_hour_and_at_the_end() {
        let mut history = History::default();
        assert_eq!(history.to_write(BootMs(0), true), None, "nothing is known");
        let hear = |history: &mut History, sequence| assert_eq!(history.hear(&head(1, sequence, [0; 32]), by(1)), Heard::Follows);
        hear(&mut history, 10);
        assert!(history.to_write(BootMs(0), false).is_some());
        hear(&mut history, 20);
        assert_eq!(history.to_write(BootMs(WRITE_EVERY_MS - 1), false), None);
        assert!(history.to_write(BootMs(WRITE_EVERY_MS), false).is_some());
        assert_eq!(history.to_write(BootMs(2 * WRITE_EVERY_MS), false), None, "nothing new");
        hear(&mut history, 30);
        assert!(history.to_write(BootMs(WRITE_EVERY_MS + 1), true).is_some());
    }
}
