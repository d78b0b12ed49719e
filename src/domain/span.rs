//! What one node did over a stretch of time: sums of its epochs, exact, so that an hour is the sum of its epochs and a day that of its hours.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::credits::{Leaf, Multiplier};
use super::ids::{NodeIndex, PoolIndex};
use super::money::{Currency, Overflow, Pico};
use super::poot::{Params, Score, ScoreState};
use super::work;

/// Days for which hours of scores are kept; days are kept for ever.
pub const HOURLY_DAYS: u32 = 365;

/// Epochs of one node that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub node: NodeIndex,
    /// Slots.
    pub proven: u32,
    pub observed: u32,
    /// Epochs by the state of the score. All are 0 in days of an earlier release, which did not count them.
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// Of valid and invalid epochs, in hundredths.
    pub score_sum: u64,
    /// Of the last epoch.
    pub last: Score,
    /// After the last epoch.
    pub multiplier: Option<Multiplier>,
    /// What came of it in which pool; the pool that paid last comes last.
    pub shares: Vec<Share>,
}

/// What a node did for one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// None in days of an earlier release, which did not say.
    pub pool: Option<PoolIndex>,
    pub currency: Currency,
    pub proven: u32,
    /// Held amounts of pending epochs included.
    pub accrued: Pico,
    /// Work credits; held ones included.
    pub credits: Pico,
}

impl Span {
    /// One epoch; `params` are those of its head.
    pub fn of(leaf: &Leaf, params: &Params) -> Result<Span, Overflow> {
        let is = |state| u32::from(leaf.score.state == state);
        let pending = is(ScoreState::Pending);
        let share = |payer: super::credits::Payer| {
            Ok(Share {
                pool: Some(payer.pool),
                currency: payer.pricing.currency,
                proven: u32::from(leaf.slots.proven),
                accrued: leaf.accrual,
                credits: work::credits(leaf, params)?,
            })
        };
        Ok(Span {
            node: leaf.node,
            proven: u32::from(leaf.slots.proven),
            observed: u32::from(leaf.slots.observed),
            valid: is(ScoreState::Valid),
            pending,
            invalid: is(ScoreState::Invalid),
            score_sum: if pending == 0 { u64::from(leaf.score.score_hundredths) } else { 0 },
            last: leaf.score,
            multiplier: Some(leaf.multiplier.after(leaf.slots, &leaf.inputs)),
            shares: leaf.payer.map(share).transpose()?.into_iter().collect(),
        })
    }

    /// Adds what came after.
    pub fn then(&mut self, next: &Span) -> Result<(), Overflow> {
        for (mine, theirs) in [
            (&mut self.proven, next.proven),
            (&mut self.observed, next.observed),
            (&mut self.valid, next.valid),
            (&mut self.pending, next.pending),
            (&mut self.invalid, next.invalid),
        ] {
            *mine = mine.checked_add(theirs).ok_or(Overflow)?;
        }
        self.score_sum = self.score_sum.checked_add(next.score_sum).ok_or(Overflow)?;
        (self.last, self.multiplier) = (next.last, next.multiplier.or(self.multiplier));
        for share in &next.shares {
            let same = |mine: &Share| mine.pool == share.pool && mine.currency == share.currency;
            let mut sum = share.clone();
            if let Some(at) = self.shares.iter().position(same) {
                let mine = self.shares.remove(at);
                sum.proven = sum.proven.checked_add(mine.proven).ok_or(Overflow)?;
                (sum.accrued, sum.credits) = (sum.accrued.plus(mine.accrued)?, sum.credits.plus(mine.credits)?);
            }
            self.shares.push(sum);
        }
        Ok(())
    }

    pub fn epochs(&self) -> u32 {
        self.valid + self.pending + self.invalid
    }

    /// Epochs that had a score.
    pub fn scored(&self) -> u32 {
        self.valid + self.invalid
    }

    /// Mean score of the epochs that had one, 0 to 100, two decimals half-even. Of a day of an earlier release, its last score.
    pub fn mean_score(&self) -> Option<Decimal> {
        match (self.epochs(), self.scored()) {
            (0, _) => Some(self.last).filter(|score| score.state != ScoreState::Pending).map(|score| score.score()),
            (_, 0) => None,
            (_, scored) => {
                let sum = Decimal::from_i128_with_scale(i128::from(self.score_sum), 2);
                Some((sum / Decimal::from(scored)).round_dp(2).normalize())
            }
        }
    }

    /// What its pool paid in at the end; None when it was in no pool all the time.
    pub fn currency(&self) -> Option<Currency> {
        self.shares.last().map(|share| share.currency)
    }

    /// Earned in one currency.
    pub fn accrued(&self, currency: Currency) -> Result<Pico, Overflow> {
        let of = self.shares.iter().filter(|share| share.currency == currency);
        of.map(|share| share.accrued).try_fold(Pico::ZERO, Pico::plus)
    }

    /// Work credits of all pools.
    pub fn credits(&self) -> Result<Pico, Overflow> {
        self.shares.iter().map(|share| share.credits).try_fold(Pico::ZERO, Pico::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::{EpochSlots, Payer};
    use crate::domain::money::Units;
    use crate::domain::pool::Pricing;
    use crate::domain::poot::{Inputs, Window};

    fn leaf(n: u16, pool: Option<u32>, currency: Currency) -> Leaf {
        let params = Params { min_observation_seconds: 120, ..Params::default() };
        let (proven, observed) = (n % 11, 10);
        let window = Window { proven: (n * 7) % 20, observed: n % 21, interruptions: 0 };
        let window = Window { proven: window.proven.min(window.observed), ..window };
        let pricing = Pricing { cost_per_hour: Units(50_000), reward_per_hour: Units(40_000), currency };
        let payer = pool.map(|pool| Payer { pool: PoolIndex(pool), pricing });
        let slots = EpochSlots { proven: proven.min(observed), observed };
        let inputs = Inputs { window, ..Inputs::default() };
        Leaf::close(NodeIndex(3), slots, inputs, Multiplier::default(), payer, &params).unwrap().0
    }

    #[test]
    fn sums_of_sums_are_sums_of_epochs_however_they_are_cut() {
        let params = Params::default();
        let currency = |n: u16| if n.is_multiple_of(5) { Currency::Lucid } else { Currency::Usdt };
        let leaves: Vec<Leaf> = (0..100).map(|n| leaf(n, (n % 7 != 0).then_some(u32::from(n / 30)), currency(n))).collect();
        let sum = |leaves: &[Leaf]| {
            let mut spans = leaves.iter().map(|leaf| Span::of(leaf, &params).unwrap());
            let mut all = spans.next().unwrap();
            spans.for_each(|span| all.then(&span).unwrap());
            all
        };
        let whole = sum(&leaves);
        for cut in 1..leaves.len() {
            let mut both = sum(&leaves[..cut]);
            both.then(&sum(&leaves[cut..])).unwrap();
            assert_eq!(both, whole, "cut at {cut}");
        }
        // Against plain sums.
        let state = |wanted| leaves.iter().filter(|leaf| leaf.score.state == wanted).count() as u32;
        assert_eq!(
            (whole.valid, whole.pending, whole.invalid),
            (state(ScoreState::Valid), state(ScoreState::Pending), state(ScoreState::Invalid))
        );
        assert!(whole.pending > 0 && whole.invalid > 0 && whole.shares.len() > 4);
        assert_eq!(whole.proven, leaves.iter().map(|leaf| u32::from(leaf.slots.proven)).sum::<u32>());
        for wanted in [Currency::Usdt, Currency::Lucid] {
            let paid = leaves.iter().filter(|leaf| leaf.payer.is_some_and(|payer| payer.pricing.currency == wanted));
            assert_eq!(whole.accrued(wanted).unwrap().0, paid.map(|leaf| leaf.accrual.0).sum::<i128>());
        }
        let scored = leaves.iter().filter(|leaf| leaf.score.state != ScoreState::Pending);
        let scores: Vec<u64> = scored.map(|leaf| u64::from(leaf.score.score_hundredths)).collect();
        assert_eq!((whole.score_sum, whole.scored() as usize), (scores.iter().sum::<u64>(), scores.len()));
        let last = leaves.iter().rev().find_map(|leaf| leaf.payer).unwrap();
        assert_eq!((whole.currency(), whole.shares.last().unwrap().pool), (Some(last.pricing.currency), Some(last.pool)));
    }

    #[test]
    fn a_mean_is_of_the_epochs_that_had_a_score_and_rounded_once() {
        let params = Params::default();
        let mut span = Span::of(&leaf(20, None, Currency::Usdt), &params).unwrap();
        (span.valid, span.pending, span.invalid, span.score_sum) = (2, 5, 1, 29_999);
        assert_eq!(span.mean_score().map(|mean| mean.to_string()).as_deref(), Some("100"), "99.99666 is rounded");
        (span.valid, span.invalid, span.score_sum) = (8, 0, 4);
        assert_eq!(span.mean_score().map(|mean| mean.to_string()).as_deref(), Some("0"), "half a hundredth goes to the even one");
        (span.valid, span.score_sum) = (0, 0);
        assert_eq!(span.mean_score(), None);
    }
}
