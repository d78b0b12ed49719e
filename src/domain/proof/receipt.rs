//! A leaf against what the manager acknowledged to the node whose leaf it is: that no report was left out of the record.

use super::check::{Finding, Outcome};
use super::document::ProofDocument;
use super::leaf::CommittedReports;
use crate::domain::evidence::SLOTS_PER_DAY;

/// What a manager signed for of a node's reports of one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    pub reports: CommittedReports,
    /// All of the day. Otherwise as far as they were durable when it was said.
    pub whole: bool,
}

/// The first leaf of a UTC day counts the reports of the last day before. `of_day` is what the node can show for a day.
pub fn check(document: &ProofDocument, of_day: impl Fn(u32) -> Option<Acknowledged>) -> Finding {
    let (outcome, said) = judged(document, of_day);
    Finding { check: "receipt", outcome, said }
}

fn judged(document: &ProofDocument, of_day: impl Fn(u32) -> Option<Acknowledged>) -> (Outcome, String) {
    let Some(counted) = document.leaf.reports else {
        // It begins with the day, so nothing of the day before can be in an earlier one.
        let missing = document.head.epoch.is_multiple_of(SLOTS_PER_DAY).then(|| of_day(document.head.epoch / SLOTS_PER_DAY - 1)).flatten();
        return match missing {
            Some(told) => (Outcome::Wrong, format!("the leaf leaves out {} reports that the manager acknowledged", told.reports.count)),
            None => (Outcome::Unchecked, "reports are counted in the first epoch of the day after them: take the proof of that one".into()),
        };
    };
    let Some(Acknowledged { reports: told, whole }) = of_day(counted.day) else {
        return (Outcome::Unchecked, "the agent keeps no receipt of this manager for the day that the leaf counts".into());
    };
    let is_same = told == counted;
    if is_same || (!whole && told.count < counted.count) {
        let rest = if is_same { "all" } else { "more, as they should be: the receipt was given before the last ones" };
        return (Outcome::Good, format!("{} reports were acknowledged, and the leaf counts {rest}", told.count));
    }
    let said = format!("the manager acknowledged {} reports, and the leaf counts {} or other ones", told.count, counted.count);
    (Outcome::Wrong, said)
}
