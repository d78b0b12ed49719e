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
    /// Incarnation of the manager's history that the node knew then.
    pub history: u32,
}

impl Acknowledged {
    fn fits(&self, counted: CommittedReports) -> bool {
        self.reports == counted || (!self.whole && self.reports.count < counted.count)
    }
}

/// The first leaf of a UTC day counts the reports of the last day before. `told` is all that the node can show.
pub fn check(document: &ProofDocument, told: &[Acknowledged]) -> Finding {
    let (outcome, said) = judged(document, told);
    Finding { check: "receipt", outcome, said }
}

fn judged(document: &ProofDocument, told: &[Acknowledged]) -> (Outcome, String) {
    let day = document.head.epoch / SLOTS_PER_DAY;
    // Of another life of the history it may have been forgotten, openly.
    let holds = |told: &&Acknowledged| told.history == document.head.incarnation;
    let left_out = |from: u32| told.iter().filter(holds).find(|told| (from..day).contains(&told.reports.day));
    let is_missing = |told: &Acknowledged| {
        let CommittedReports { day, count, .. } = told.reports;
        (Outcome::Wrong, format!("the leaf leaves out day {day}, of which the manager acknowledged {count} reports"))
    };
    let Some(counted) = document.leaf.reports else {
        // Nothing of the day before can be in an earlier leaf than that of the day's first epoch.
        let is_first = document.head.epoch.is_multiple_of(SLOTS_PER_DAY);
        return match left_out(day.saturating_sub(1)).filter(|_| is_first) {
            Some(told) => is_missing(told),
            None if is_first => (Outcome::Unchecked, "the leaf counts no reports, and the agent keeps no receipt of the day before".into()),
            None => (
                Outcome::Unchecked,
                format!("reports are counted in the first epoch after their day: take that of slot {}", day * SLOTS_PER_DAY),
            ),
        };
    };
    if let Some(told) = left_out(counted.day.saturating_add(1)) {
        return is_missing(told);
    }
    let of_day: Vec<&Acknowledged> = told.iter().filter(|told| told.reports.day == counted.day).collect();
    let valid: Vec<&Acknowledged> = of_day.iter().copied().filter(holds).collect();
    let Some(most) = valid.iter().map(|told| told.reports.count).max() else {
        let said = match of_day.is_empty() {
            true => "the agent keeps no receipt of this manager for the day that the leaf counts",
            false => "the agent's receipt and the head are of two lives of the history, one of which went on openly from an older copy",
        };
        return (Outcome::Unchecked, said.into());
    };
    if valid.iter().any(|told| !told.fits(counted)) {
        return (Outcome::Wrong, format!("the manager acknowledged {most} reports, and the leaf counts {} or other ones", counted.count));
    }
    let rest = if most == counted.count { "all" } else { "more, as they should be: the receipt was given before the last ones" };
    (Outcome::Good, format!("{most} reports were acknowledged, and the leaf counts {rest}"))
}
