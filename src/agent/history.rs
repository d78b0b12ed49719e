//! What the agent keeps of the manager's word: the highest head that it has seen, and the last receipt for its reports. A manager that comes back from an older copy
//! of its store is shown the head that it forgot; a node whose reports are missing in a leaf has the receipt. Pure.

use serde::{Deserialize, Serialize};

use crate::domain::proof::head::{CommittedHead, SignedHead};
use crate::domain::time::BootMs;
use crate::wire::{KeptHead, Report, ReportAnswer};

/// A card is written this seldom for it: what is lost with the power is an hour of heads.
const WRITE_EVERY_MS: i64 = 3_600_000;

/// Days of which the last receipt is kept: the leaf that it is held against comes with the first epoch of the next day, and a manager may be away then.
const RECEIPT_DAYS: usize = 8;

/// An answer of the manager to a report, as it was signed: it says how many reports of a day it holds, and their running hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// UTC day of the reports that it counts, from 1970-01-01.
    pub day: u32,
    /// It counts all of them (`last_day` of the body, not `durable_reports`): a leaf says exactly this.
    #[serde(default)]
    pub whole: bool,
    #[serde(flatten)]
    pub answer: SignedAnswer,
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

    pub fn keep_receipts(&mut self, answer: &ReportAnswer, signed: &SignedAnswer) {
        let told = [(answer.last_day, true), (answer.durable_reports, false)];
        for (day, whole) in told.into_iter().filter_map(|(reports, whole)| Some((reports?.day, whole))) {
            let receipts = &mut self.kept.receipts;
            if receipts.iter().any(|kept| kept.day == day && kept.whole) {
                continue;
            }
            receipts.retain(|kept| kept.day != day);
            receipts.push(Receipt { day, whole, answer: signed.clone() });
            receipts.sort_by_key(|kept| kept.day);
            let over = receipts.len().saturating_sub(RECEIPT_DAYS);
            receipts.drain(..over);
            self.is_new = true;
        }
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

    #[test]
    fn the_receipt_for_a_whole_day_is_kept_for_a_week() {
        let mut history = History::default();
        let reports = |day: u32| serde_json::json!({ "day": day, "count": 1, "hash": "00".repeat(32) });
        let tell = |history: &mut History, last: u32, present: u32, seq| {
            let text = serde_json::json!({
                "accepted_seq": seq, "durable_seq": seq, "run": 1, "slot": null, "phase_ms": 0, "evidence_hash": "",
                "last_day": reports(last), "durable_reports": reports(present),
            });
            let signed = SignedAnswer { incarnation: 1, seq, body: text.to_string(), signature: String::new() };
            history.keep_receipts(&serde_json::from_value(text).unwrap(), &signed);
        };
        for day in 100..110 {
            (0..3).for_each(|seq| tell(&mut history, day - 1, day, seq));
        }
        let kept = |history: &History| history.kept.receipts.iter().map(|kept| (kept.day, kept.whole, kept.answer.seq)).collect::<Vec<_>>();
        let whole = (102..109).map(|day| (day, true, 0));
        assert_eq!(
            kept(&history),
            whole.clone().chain([(109, false, 2)]).collect::<Vec<_>>(),
            "the first one that counts all; else the last"
        );
        // After midnight the day before is still told as it was, until a flush has counted all of it.
        tell(&mut history, 108, 109, 3);
        assert_eq!(kept(&history), whole.chain([(109, false, 3)]).collect::<Vec<_>>());
        tell(&mut history, 109, 110, 4);
        assert_eq!(kept(&history)[6..], [(109, true, 4), (110, false, 4)]);
        let written = serde_json::to_string(&history.kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&written).unwrap(), history.kept);
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
