//! The scores of a whole fleet: how they spread, and how their states went over time. Values in, values out.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::epoch::{Counts, Head};
use super::poot::{Score, ScoreState};
use super::time::Slot;

/// Bins of the distribution; each is 10 points of score wide.
pub const BINS: usize = 10;
const HUNDREDTHS_PER_BIN: usize = 1_000;

/// The scores of a fleet at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetScores {
    pub counts: Counts,
    /// Of valid and invalid nodes, in hundredths, ascending.
    known: Vec<u16>,
}

impl FleetScores {
    /// A node without a score yet is a pending one.
    pub fn of(scores: impl IntoIterator<Item = Option<Score>>) -> FleetScores {
        let mut fleet = FleetScores::default();
        for score in scores {
            match score.map_or(ScoreState::Pending, |score| score.state) {
                ScoreState::Valid => fleet.counts.valid += 1,
                ScoreState::Pending => fleet.counts.pending += 1,
                ScoreState::Invalid => fleet.counts.invalid += 1,
            }
            fleet.known.extend(score.filter(|score| score.state != ScoreState::Pending).map(|score| score.score_hundredths));
        }
        fleet.known.sort_unstable();
        fleet
    }

    /// 0 to 100; of an even number the mean of the middle two, exact. None while no node has a score.
    pub fn median(&self) -> Option<Decimal> {
        let upper = self.known.get(self.known.len() / 2)?;
        let lower = self.known.get((self.known.len() - 1) / 2)?;
        Some(Decimal::new(5 * (i64::from(*lower) + i64::from(*upper)), 3).normalize())
    }

    /// 0 to 100, two decimals half-even. None while no node has a score.
    pub fn mean(&self) -> Option<Decimal> {
        let sum: u64 = self.known.iter().map(|hundredths| u64::from(*hundredths)).sum();
        let count = u64::try_from(self.known.len()).ok().filter(|count| *count > 0)?;
        Some((Decimal::from_i128_with_scale(i128::from(sum), 2) / Decimal::from(count)).round_dp(2).normalize())
    }

    /// The lowest score that `percent` of the nodes (1 to 100) do not exceed: one that a node has, by nearest rank.
    pub fn percentile(&self, percent: usize) -> Option<Decimal> {
        let at = (self.known.len() * percent).div_ceil(100).saturating_sub(1);
        self.known.get(at).map(|hundredths| Decimal::new(i64::from(*hundredths), 2).normalize())
    }

    /// Nodes by tens of points, `[0, 10)` first; the last bin holds 100 too.
    pub fn distribution(&self) -> [u32; BINS] {
        let mut bins = [0; BINS];
        for hundredths in &self.known {
            bins[(usize::from(*hundredths) / HUNDREDTHS_PER_BIN).min(BINS - 1)] += 1;
        }
        bins
    }
}

/// Epochs of one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryBucket {
    pub start: Slot,
    /// Exclusive.
    pub end: Slot,
    /// Of the last epoch in it that has leaves; nobody where there is none.
    pub counts: Counts,
    /// Epochs that begin in it and have leaves.
    pub epochs: u32,
    /// Epochs that begin in it, in which the manager was away.
    pub gap_epochs: u32,
}

/// Heads, oldest first, gathered into buckets of `slots` (> 0); an epoch belongs to where it begins. Of a gap that began earlier, or goes on beyond
/// `until`, what lies in `[from, until)` counts. Buckets in which no epoch begins are left out.
pub fn history(heads: &[Head], from: Slot, until: Slot, slots: u32) -> Vec<HistoryBucket> {
    let mut buckets: BTreeMap<u32, HistoryBucket> = BTreeMap::new();
    let mut add = |slot: Slot, counts: Option<Counts>| {
        if !(from..until).contains(&slot) {
            return;
        }
        let start = Slot(slot.0 - slot.0 % slots.max(1));
        let empty = HistoryBucket { start, end: start.plus(slots), counts: Counts::default(), epochs: 0, gap_epochs: 0 };
        let bucket = buckets.entry(start.0).or_insert(empty);
        match counts {
            Some(counts) => (bucket.counts, bucket.epochs) = (counts, bucket.epochs + 1),
            None => bucket.gap_epochs += 1,
        }
    };
    for head in heads {
        if !head.is_gap {
            add(head.epoch.first_slot(), Some(head.counts));
            continue;
        }
        let length = head.slots_per_epoch.max(1);
        // A gap may be weeks long and begin long before; its first epoch may begin between two boundaries.
        let mut slot = head.epoch.first_slot();
        if slot < from {
            slot = Slot(from.0.div_ceil(length).saturating_mul(length));
        }
        while slot <= head.last_slot && slot < until {
            add(slot, None);
            slot = Slot(slot.0 - slot.0 % length).plus(length);
        }
    }
    buckets.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::Epoch;
    use crate::domain::epoch::GENESIS;
    use crate::domain::poot::Params;

    fn score(state: ScoreState, score_hundredths: u16) -> Option<Score> {
        Some(Score { state, score_hundredths, confidence_hundredths: 0 })
    }

    #[test]
    fn bins_meet_without_overlap_and_pending_nodes_have_no_score() {
        use ScoreState::{Invalid, Pending, Valid};
        let fleet = FleetScores::of([
            score(Valid, 10_000),
            score(Valid, 9_000),
            score(Valid, 8_999),
            score(Invalid, 0),
            score(Invalid, 999),
            score(Pending, 5_000),
            None,
        ]);
        assert_eq!(fleet.counts, Counts { valid: 3, pending: 2, invalid: 2 });
        assert_eq!(fleet.distribution(), [2, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(fleet.median(), Some(Decimal::new(8_999, 2)));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let of = |hundredths: &[u16]| FleetScores::of(hundredths.iter().map(|h| score(ScoreState::Valid, *h))).median();
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[10_000]).map(|m| m.to_string()).as_deref(), Some("100"));
        assert_eq!(of(&[9_875, 9_870, 0, 10_000]).map(|m| m.to_string()).as_deref(), Some("98.725"));
    }

    #[test]
    fn means_are_rounded_once_and_percentiles_are_scores_that_somebody_has() {
        let of = |hundredths: &[u16]| FleetScores::of(hundredths.iter().map(|h| score(ScoreState::Valid, *h)));
        let text = |decimal: Option<Decimal>| decimal.map(|d| d.to_string());
        assert_eq!((of(&[]).mean(), of(&[]).percentile(10)), (None, None));
        assert_eq!(text(of(&[10_000, 10_000, 9_999]).mean()).as_deref(), Some("100"), "99.99666");
        assert_eq!(text(of(&[1, 2]).mean()).as_deref(), Some("0.02"), "half to even");
        let twenty = of(&(1..=20).map(|n| n * 100).collect::<Vec<u16>>());
        let percentiles = [1, 5, 6, 10, 50, 90, 100].map(|percent| text(twenty.percentile(percent)).unwrap());
        assert_eq!(percentiles, ["1", "1", "2", "2", "10", "18", "20"]);
        assert_eq!(text(of(&[4_200]).percentile(10)).as_deref(), Some("42"));
    }

    fn head(epoch: u32, slots: u32, valid: Option<u32>) -> Head {
        Head {
            epoch: Epoch(epoch),
            last_slot: Slot(epoch + slots - 1),
            slots_per_epoch: 10,
            closed_at: Slot(epoch + slots).end(),
            is_gap: valid.is_none(),
            params: Params::default(),
            counts: Counts { valid: valid.unwrap_or(0), ..Counts::default() },
            leaves_at: None,
            root: GENESIS,
            previous: GENESIS,
            seal: None,
        }
    }

    #[test]
    fn a_bucket_shows_its_last_epoch_and_gaps_spread_over_theirs() {
        // A gap from before the range, four epochs, a gap over three buckets, one epoch more.
        let heads =
            [head(900, 120, None), head(1_020, 10, Some(5)), head(1_030, 10, Some(7)), head(1_040, 110, None), head(1_150, 10, Some(6))];
        let shown: Vec<_> = history(&heads, Slot(1_000), Slot(1_200), 40)
            .iter()
            .map(|b| (b.start.0, b.end.0, b.counts.valid, b.epochs, b.gap_epochs))
            .collect();
        assert_eq!(shown, [(1_000, 1_040, 7, 2, 2), (1_040, 1_080, 0, 0, 4), (1_080, 1_120, 0, 0, 4), (1_120, 1_160, 6, 1, 3)]);
        assert_eq!(history(&heads, Slot(1_000), Slot(1_030), 40)[0].epochs, 1, "what begins at the end of the range is outside");
        assert_eq!(history(&[], Slot(0), Slot(100), 10), []);
    }
}
