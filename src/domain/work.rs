//! Work credits: what a node did in an epoch, whatever its pool pays for it. One credit is an hour of work of weight 1, done at score 100 and multiplier 1.
//!
//! Every kind of work is counted in slots in which it was done, so that kinds can be added and an epoch that was closed early counts for its real length. What
//! is paid follows from credits by the price of the pool alone: the same slots, score and multiplier go into both.

use super::credits::{Leaf, accrue};
use super::money::{Overflow, Pico, Units};
use super::poot::{Params, ScoreState};

/// What a node can do for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Slots that it proved.
    Uptime,
    /// Slots in which it relayed for others. To come from what both ends of a session sign; no report says it yet.
    Relay,
    /// Slots for which it held what it was given. To come from answered challenges over stored chunks; nobody gives it any yet.
    Storage,
    /// Slots in which it judged the outputs of others. To come from verdicts that the other validators of the slot share; there are none yet.
    Validation,
}

/// The one table: credits for an hour of each kind, in hundredths.
pub const WEIGHTS: [(Work, i64); 4] = [(Work::Uptime, 100), (Work::Relay, 0), (Work::Storage, 0), (Work::Validation, 0)];

/// Units in a hundredth of a credit: credits have the places of the currencies.
const UNITS_PER_HUNDREDTH: i64 = 10_000;

/// Slots of an epoch in which a node did this.
fn slots(work: Work, leaf: &Leaf) -> u16 {
    match work {
        Work::Uptime => leaf.slots.proven,
        Work::Relay | Work::Storage | Work::Validation => 0,
    }
}

/// The credits of one epoch, in millionths of a millionth, floored once for each kind. None while no pool gives work to the node, and none for an invalid epoch; those of
/// a pending one count, whatever the next one is: a ranking is no money, and they are an hour's at most.
pub fn credits(leaf: &Leaf, params: &Params) -> Result<Pico, Overflow> {
    if leaf.payer.is_none() || leaf.score.state == ScoreState::Invalid {
        return Ok(Pico::ZERO);
    }
    WEIGHTS.iter().try_fold(Pico::ZERO, |sum, (work, hundredths)| {
        let an_hour = Units(hundredths * UNITS_PER_HUNDREDTH);
        sum.plus(accrue(slots(*work, leaf), leaf.score.score_hundredths, leaf.multiplier, params, an_hour)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credits::{EpochSlots, Multiplier, Payer};
    use crate::domain::ids::{NodeIndex, PoolIndex};
    use crate::domain::money::Currency;
    use crate::domain::pool::Pricing;
    use crate::domain::poot::{Inputs, Window};

    fn leaf(proven: u16, observed: u16, reward: i64) -> Leaf {
        let params = Params { min_observation_seconds: 60, ..Params::default() };
        let pricing = Pricing { cost_per_hour: Units(reward), reward_per_hour: Units(reward), currency: Currency::Usdt };
        let inputs = Inputs { window: Window { proven, observed, interruptions: 0 }, ..Inputs::default() };
        let payer = Some(Payer { pool: PoolIndex(1), pricing });
        let slots = EpochSlots { proven, observed };
        Leaf::close(NodeIndex(0), slots, inputs, Multiplier::default(), payer, &params).unwrap().0
    }

    #[test]
    fn an_hour_of_uptime_at_full_score_is_one_credit_whatever_it_earns() {
        let params = Params::default();
        for reward in [0, 50_000, 7_000_000] {
            assert_eq!(credits(&leaf(120, 120, reward), &params), Ok(Pico(1_000_000 * Pico::PER_UNIT)));
        }
        assert_eq!(credits(&leaf(60, 80, 1), &params), Ok(Pico(375_000 * Pico::PER_UNIT)), "half an hour at score 75");
    }

    #[test]
    fn invalid_epochs_and_nodes_without_a_pool_have_none() {
        let params = Params::default();
        assert_eq!(leaf(10, 120, 1).score.state, ScoreState::Invalid);
        assert_eq!(credits(&leaf(10, 120, 1), &params), Ok(Pico::ZERO));
        assert_eq!(credits(&Leaf { payer: None, ..leaf(120, 120, 1) }, &params), Ok(Pico::ZERO));
    }
}
