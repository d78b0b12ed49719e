//! Work credits: what a node earns in an epoch, and when it may be posted. Everything is exact; the one loss is a floor
//! to pico-units per epoch, and the remainder below a unit is carried on at posting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bits::count_from;
use super::evidence::{DayReports, SLOTS_PER_DAY};
use super::ids::{NodeIndex, PoolIndex};
use super::money::{Currency, Overflow, Pico, Units};
use super::pool::Pricing;
use super::poot::{self, Inputs, Params, Score, ScoreState};
use super::proof::window::NodeBits;
use super::time::{SLOT_SECONDS, Slot};

/// Name of an epoch: its first slot. So epochs keep their order when their length changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    pub fn first_slot(self) -> Slot {
        Slot(self.0)
    }

    /// Later than every epoch before this one, and earlier than this one: the end of a range that leaves it out.
    pub fn just_before(self) -> Epoch {
        Epoch(self.0.saturating_sub(1))
    }
}

/// How slots are cut into epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    slots_per_epoch: u32,
}

impl Epochs {
    /// None unless `seconds` is a multiple of a slot and divides a day, so that an epoch never spans two days.
    pub fn of_seconds(seconds: u32) -> Option<Epochs> {
        let slots_per_epoch = seconds / 30;
        let fits = seconds > 0 && seconds.is_multiple_of(30) && SLOTS_PER_DAY.is_multiple_of(slots_per_epoch);
        fits.then_some(Epochs { slots_per_epoch })
    }

    pub fn slots_per_epoch(self) -> u32 {
        self.slots_per_epoch
    }

    pub fn of(self, slot: Slot) -> Epoch {
        Epoch(slot.0 - slot.0 % self.slots_per_epoch)
    }

    /// The last slot of the epoch that begins here: an epoch that begins between two boundaries, because the one before was closed early, ends at the next one.
    pub fn last_slot(self, epoch: Epoch) -> Slot {
        self.of(epoch.first_slot()).first_slot().plus(self.slots_per_epoch - 1)
    }

    /// All slots of the epoch are closed, given the newest closed slot.
    pub fn is_closed(self, epoch: Epoch, closed: Slot) -> bool {
        self.last_slot(epoch) <= closed
    }
}

/// Slots of good operation in which the multiplier grows from 1 to its maximum: 7 days.
pub const SLOTS_TO_MAX: u32 = 7 * SLOTS_PER_DAY;
/// Growth that one slot down costs: an hour down loses a day's growth.
pub const LOSS_PER_SLOT_DOWN: u32 = SLOTS_PER_DAY / 120;
/// Operational time, in percent of the observed window, above which the multiplier grows.
pub const GROWS_FROM_PERCENT: u32 = 99;

/// How far the multiplier of a node has grown, in slots; its value follows from the maximum of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Multiplier {
    grown_slots: u32,
}

impl Multiplier {
    /// That has grown by so many slots; none beyond its end.
    pub fn grown(grown_slots: u32) -> Option<Multiplier> {
        (grown_slots <= SLOTS_TO_MAX).then_some(Multiplier { grown_slots })
    }

    /// Of `SLOTS_TO_MAX`.
    pub fn grown_slots(self) -> u32 {
        self.grown_slots
    }

    /// As a fraction, before reduction: 1 + (max - 1) x grown / 7 days, max in hundredths.
    fn fraction(self, params: &Params) -> (i128, i128) {
        let above_one = i128::from(params.max_multiplier_hundredths.max(100) - 100);
        let whole = i128::from(SLOTS_TO_MAX) * 100;
        (whole + above_one * i128::from(self.grown_slots.min(SLOTS_TO_MAX)), whole)
    }

    /// In ten-thousandths, floored; for showing.
    pub fn ten_thousandths(self, params: &Params) -> u32 {
        let (part, whole) = self.fraction(params);
        u32::try_from(part * 10_000 / whole).unwrap_or(u32::MAX)
    }

    /// After an epoch: grows by its proven slots while the window is at 99 % or better, shrinks by a day per hour down.
    /// Slots that were not observed change nothing.
    pub fn after(self, slots: EpochSlots, inputs: &Inputs) -> Multiplier {
        let growth = if inputs.uptime_is_at_least(GROWS_FROM_PERCENT) { u32::from(slots.proven) } else { 0 };
        let loss = u32::from(slots.observed.saturating_sub(slots.proven)) * LOSS_PER_SLOT_DOWN;
        Multiplier { grown_slots: self.grown_slots.saturating_add(growth).saturating_sub(loss).min(SLOTS_TO_MAX) }
    }
}

/// The slots of one epoch for one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EpochSlots {
    pub proven: u16,
    pub observed: u16,
}

/// Operational seconds x score / 100 x multiplier x reward per hour, floored once to pico-units.
pub fn accrue(
    proven_slots: u16,
    score_hundredths: u16,
    multiplier: Multiplier,
    params: &Params,
    reward_per_hour: Units,
) -> Result<Pico, Overflow> {
    let (part, whole) = multiplier.fraction(params);
    let seconds = i128::from(proven_slots) * i128::from(SLOT_SECONDS);
    let factors = [i128::from(reward_per_hour.0), Pico::PER_UNIT, i128::from(score_hundredths), part];
    let product = factors.into_iter().try_fold(seconds, i128::checked_mul).ok_or(Overflow)?;
    Ok(Pico(product.div_euclid(3_600 * 10_000 * whole)))
}

/// What an epoch keeps of one node: every input of its score and its credits, in force at the epoch's first slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub node: NodeIndex,
    pub slots: EpochSlots,
    pub inputs: Inputs,
    pub score: Score,
    /// As it was before this epoch.
    pub multiplier: Multiplier,
    /// Who pays, and at what price; a node without a pool earns nothing.
    pub payer: Option<Payer>,
    /// Nothing when the score is invalid; held while it is pending.
    pub accrual: Pico,
    /// Slots from the oldest that the score looks at to the last one of the epoch.
    pub window_slots: u16,
    /// In the first epoch of a UTC day: what was accepted of the node in its last day before.
    pub reports: Option<DayReports>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    pub pool: PoolIndex,
    pub pricing: Pricing,
}

/// What evidence says of a node in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub slots: EpochSlots,
    pub inputs: Inputs,
    /// Slots from the oldest that the score looks at to the last one of the epoch.
    pub window_slots: u16,
}

impl Seen {
    /// `bits` end with the last of the epoch's `slots`. No more of these count than scores look back: so a leaf says no more than its window shows.
    pub fn of(bits: &NodeBits<'_>, slots: u32, outputs_expected: bool, params: &Params) -> Seen {
        let slots = usize::try_from(slots).unwrap_or(usize::MAX).min(usize::from(params.max_age_slots));
        let (window, from) = poot::window(bits.proven, bits.observed, bits.rows, params);
        // An epoch has at most a day of slots.
        let in_epoch = |column| u16::try_from(count_from(column, bits.rows.saturating_sub(slots))).unwrap_or(u16::MAX);
        let beyond = poot::strained(bits.strained, bits.proven, bits.observed, bits.rows, params);
        // Every proven slot has the sample of the report that proved it.
        let (samples, samples_within) = (window.proven, window.proven.saturating_sub(beyond));
        let [challenged, answered] = [bits.challenged, bits.answered].map(|of| poot::marked(of, bits.observed, bits.rows, params));
        Seen {
            slots: EpochSlots { proven: in_epoch(bits.proven), observed: in_epoch(bits.observed) },
            inputs: Inputs { window, samples, samples_within, challenged, answered, outputs_expected },
            window_slots: u16::try_from(bits.rows - from).unwrap_or(u16::MAX),
        }
    }
}

impl Leaf {
    /// The leaf of one node, and its multiplier after the epoch.
    pub fn close(
        node: NodeIndex,
        slots: EpochSlots,
        inputs: Inputs,
        multiplier: Multiplier,
        payer: Option<Payer>,
        params: &Params,
    ) -> Result<(Leaf, Multiplier), Overflow> {
        let score = poot::score(&inputs, params);
        let accrual = match payer {
            Some(payer) if score.state != ScoreState::Invalid => {
                accrue(slots.proven, score.score_hundredths, multiplier, params, payer.pricing.reward_per_hour)?
            }
            _ => Pico::ZERO,
        };
        let leaf = Leaf { node, slots, inputs, score, multiplier, payer, accrual, window_slots: 0, reports: None };
        Ok((leaf, multiplier.after(slots, &inputs)))
    }
}

/// Credits of one node that are decided: ready to be posted through `through`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postable {
    /// Last epoch of the half-open range; the node's next range starts after it.
    pub through: Epoch,
    /// By currency and paying pool.
    pub shares: BTreeMap<(Currency, PoolIndex), Pico>,
    /// Held in pending epochs that an invalid one ended.
    pub forfeited: BTreeMap<Currency, Pico>,
    /// What the pools kept of their price for the same operational time, whatever score and multiplier made of the rest: (cost - reward per hour) x slots.
    pub withheld: BTreeMap<Currency, i128>,
}

impl Leaf {
    fn withheld(&self, payer: &Payer) -> i128 {
        let Pricing { cost_per_hour, reward_per_hour, .. } = payer.pricing;
        (i128::from(cost_per_hour.0) - i128::from(reward_per_hour.0)) * i128::from(self.slots.proven)
    }
}

/// What the leaves of one node in (after, through] allow to post. Pending epochs are held until the first decided one: a
/// valid one releases them, an invalid one forfeits them. A pending run at the end stays for the next range.
///
/// `leaves` ascend by epoch; an epoch without a leaf of the node earned nothing and decides nothing.
pub fn postable<'a>(after: Epoch, through: Epoch, leaves: impl IntoIterator<Item = (Epoch, &'a Leaf)>) -> Result<Postable, Overflow> {
    let mut out = Postable { through, shares: BTreeMap::new(), forfeited: BTreeMap::new(), withheld: BTreeMap::new() };
    let mut held: Vec<&Leaf> = Vec::new();
    let mut held_from = None;
    for (epoch, leaf) in leaves {
        if epoch <= after || epoch > through {
            continue;
        }
        match leaf.score.state {
            ScoreState::Pending => {
                held_from.get_or_insert(epoch);
                held.push(leaf);
                continue;
            }
            ScoreState::Valid => {
                for leaf in held.drain(..).chain([leaf]) {
                    if let Some(payer) = leaf.payer {
                        add(&mut out.shares, (payer.pricing.currency, payer.pool), leaf.accrual)?;
                        let withheld = out.withheld.entry(payer.pricing.currency).or_default();
                        *withheld = withheld.checked_add(leaf.withheld(&payer)).ok_or(Overflow)?;
                    }
                }
            }
            ScoreState::Invalid => {
                for leaf in held.drain(..) {
                    if let Some(payer) = leaf.payer {
                        add(&mut out.forfeited, payer.pricing.currency, leaf.accrual)?;
                    }
                }
            }
        }
        held_from = None;
    }
    if let Some(first) = held_from {
        out.through = first.just_before();
    }
    Ok(out)
}

/// What the leaves of one node in (after, through] have earned and no posting has: what may be posted, and what pending epochs at the end
/// hold. Same order of `leaves` as for `postable`.
pub fn unposted(after: Epoch, through: Epoch, leaves: &[(Epoch, Leaf)]) -> Result<BTreeMap<Currency, Pico>, Overflow> {
    let ready = postable(after, through, leaves.iter().map(|(epoch, leaf)| (*epoch, leaf)))?;
    let mut sums = BTreeMap::new();
    for ((currency, _), share) in ready.shares {
        add(&mut sums, currency, share)?;
    }
    for (_, leaf) in leaves.iter().filter(|(epoch, _)| *epoch > ready.through && *epoch <= through) {
        if let Some(payer) = leaf.payer {
            add(&mut sums, payer.pricing.currency, leaf.accrual)?;
        }
    }
    Ok(sums)
}

/// The same, kept from epoch to epoch: what may be posted, and what pending epochs at the end hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earned {
    settled: BTreeMap<Currency, Pico>,
    held: BTreeMap<Currency, Pico>,
}

impl Earned {
    /// The node's next leaf.
    pub fn add(&mut self, leaf: &Leaf) -> Result<(), Overflow> {
        if leaf.score.state == ScoreState::Invalid {
            self.held.clear();
            return Ok(());
        }
        if let Some(payer) = leaf.payer {
            add(&mut self.held, payer.pricing.currency, leaf.accrual)?;
        }
        if leaf.score.state == ScoreState::Valid {
            for (currency, amount) in std::mem::take(&mut self.held) {
                add(&mut self.settled, currency, amount)?;
            }
        }
        Ok(())
    }

    pub fn sum(&self) -> Result<BTreeMap<Currency, Pico>, Overflow> {
        let mut sums = self.settled.clone();
        for (currency, amount) in &self.held {
            add(&mut sums, *currency, *amount)?;
        }
        Ok(sums)
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, Pico>, key: K, amount: Pico) -> Result<(), Overflow> {
    let sum = sums.entry(key).or_default();
    *sum = sum.plus(amount)?;
    Ok(())
}

/// The whole units of one currency, and what stays below a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    pub currency: Currency,
    pub total: Units,
    /// Who pays how much of `total`; no zeros.
    pub by_pool: Vec<(PoolIndex, Units)>,
    /// 0 <= remainder < one unit.
    pub remainder: Pico,
}

impl Postable {
    /// Whole units of `currency`, with the remainder `carried` from the last posting of this node and currency. Units that
    /// only the fractions together make go to the pools with the largest fractions, lower index first.
    pub fn whole(&self, currency: Currency, carried: Pico) -> Result<Whole, Overflow> {
        let mine = self.shares.iter().filter(|((c, _), _)| *c == currency);
        let mut pools = Vec::new();
        let mut sum = carried;
        let mut floors = Units::ZERO;
        for ((_, pool), share) in mine {
            let (units, fraction) = share.split()?;
            sum = sum.plus(*share)?;
            floors = floors.plus(units)?;
            pools.push((*pool, units, fraction));
        }
        let (total, remainder) = sum.split()?;
        pools.sort_by_key(|(pool, _, fraction)| (std::cmp::Reverse(*fraction), *pool));
        let mut extra = total.minus(floors)?.0;
        for (_, units, _) in &mut pools {
            if extra == 0 {
                break;
            }
            *units = units.plus(Units(1))?;
            extra -= 1;
        }
        let mut by_pool: Vec<_> = pools.into_iter().map(|(pool, units, _)| (pool, units)).filter(|(_, u)| *u != Units::ZERO).collect();
        by_pool.sort_by_key(|(pool, _)| *pool);
        Ok(Whole { currency, total, by_pool, remainder })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::poot::Window;

    const PARAMS: fn() -> Params = Params::default;

    #[test]
    fn epochs_divide_a_day() {
        for (seconds, fits) in
            [(300, true), (30, true), (86_400, true), (3_600, true), (0, false), (45, false), (420, false), (172_800, false)]
        {
            assert_eq!(Epochs::of_seconds(seconds).is_some(), fits, "{seconds} s");
        }
        let e = Epochs::of_seconds(300).unwrap();
        assert_eq!((e.of(Slot(99)), e.of(Slot(100))), (Epoch(90), Epoch(100)));
        assert_eq!((Epoch(100).first_slot(), e.last_slot(Epoch(100))), (Slot(100), Slot(109)));
        assert!(!e.is_closed(Epoch(100), Slot(108)) && e.is_closed(Epoch(100), Slot(109)));
    }

    fn good() -> Inputs {
        Inputs { window: Window { proven: 2_880, observed: 2_880, interruptions: 0 }, ..Inputs::default() }
    }

    #[test]
    fn the_multiplier_takes_a_week_to_grow_and_an_hour_to_lose_a_day() {
        let p = PARAMS();
        let up = |m: Multiplier, epochs: u32| (0..epochs).fold(m, |m, _| m.after(EpochSlots { proven: 10, observed: 10 }, &good()));
        let start = Multiplier::default();
        assert_eq!(start.ten_thousandths(&p), 10_000);
        assert_eq!(up(start, 7 * 144).ten_thousandths(&p), 12_500);
        let week = up(start, 7 * 288);
        assert_eq!(week.ten_thousandths(&p), 15_000);
        assert_eq!(up(week, 1), week, "it stops at its maximum");
        let hour_down = (0..12).fold(week, |m, _| m.after(EpochSlots { proven: 0, observed: 10 }, &good()));
        assert_eq!(hour_down, up(start, 6 * 288));
        assert_eq!(hour_down.after(EpochSlots::default(), &good()), hour_down, "unobserved time changes nothing");
        assert_eq!(start.after(EpochSlots { proven: 0, observed: 10 }, &good()), start, "never below 1");
        let poor = Inputs { window: Window { proven: 98, observed: 100, interruptions: 1 }, ..Inputs::default() };
        assert_eq!(hour_down.after(EpochSlots { proven: 10, observed: 10 }, &poor), hour_down, "below 99 % nothing grows");
    }

    #[test]
    fn an_hour_at_full_score_earns_the_price_of_an_hour() {
        let p = PARAMS();
        let price = Units(50_000);
        let of = |slots, score, m| accrue(slots, score, m, &p, price).unwrap().0;
        assert_eq!(of(120, 10_000, Multiplier::default()), 50_000 * Pico::PER_UNIT);
        assert_eq!(of(120, 10_000, Multiplier { grown_slots: SLOTS_TO_MAX }), 75_000 * Pico::PER_UNIT);
        assert_eq!(of(120, 5_000, Multiplier::default()), 25_000 * Pico::PER_UNIT);
        assert_eq!(of(0, 10_000, Multiplier::default()), 0);
        assert_eq!(accrue(1, 1, Multiplier::default(), &p, Units(1)).unwrap(), Pico(0), "8.3 x 10^-7 pico-units are floored");
        let dearest = Units(1_000 * 100_000_000);
        let most =
            accrue(2_880, 10_000, Multiplier { grown_slots: SLOTS_TO_MAX }, &Params { max_multiplier_hundredths: 1_000, ..p }, dearest);
        assert_eq!(most, Ok(Pico(i128::from(dearest.0) * 24 * 10 * Pico::PER_UNIT)), "the largest epoch fits");
        assert_eq!(accrue(u16::MAX, 10_000, Multiplier::default(), &p, Units(i64::MAX)), Err(Overflow));
    }

    fn payer(pool: u32, currency: Currency) -> Option<Payer> {
        let price = Units(50_000);
        Some(Payer { pool: PoolIndex(pool), pricing: Pricing { cost_per_hour: price, reward_per_hour: price, currency } })
    }

    fn leaf(state: ScoreState, accrual: i128) -> Leaf {
        let inputs = good();
        let score = Score { state, score_hundredths: 10_000, confidence_hundredths: 70 };
        let slots = EpochSlots { proven: 10, observed: 10 };
        Leaf {
            node: NodeIndex(1),
            slots,
            inputs,
            score,
            multiplier: Multiplier::default(),
            payer: payer(0, Currency::Usdt),
            accrual: Pico(accrual),
            window_slots: 0,
            reports: None,
        }
    }

    /// Epochs 1.. from letters: v(alid), p(ending), i(nvalid), - no leaf; each earns 10^n, so that sums show their parts.
    fn run(states: &str) -> (u32, i128, i128) {
        let leaves: Vec<(Epoch, Leaf)> = states
            .bytes()
            .zip(1u32..)
            .filter_map(|(b, n)| {
                let earns = 10i128.pow(n - 1);
                let leaf = match b {
                    b'v' => leaf(ScoreState::Valid, earns),
                    b'p' => leaf(ScoreState::Pending, earns),
                    b'i' => leaf(ScoreState::Invalid, 0),
                    _ => return None,
                };
                Some((Epoch(n), leaf))
            })
            .collect();
        let through = Epoch(u32::try_from(states.len()).unwrap());
        let p = postable(Epoch(0), through, leaves.iter().map(|(e, l)| (*e, l))).unwrap();
        (p.through.0, p.shares.values().map(|v| v.0).sum(), p.forfeited.values().map(|v| v.0).sum())
    }

    #[test]
    fn pending_epochs_are_held_until_one_is_decided() {
        assert_eq!(run("vvv"), (3, 111, 0));
        assert_eq!(run("ppv"), (3, 111, 0), "valid releases the run");
        assert_eq!(run("ppi"), (3, 0, 11), "invalid forfeits the run");
        assert_eq!(run("vpp"), (1, 1, 0), "an undecided run stays");
        assert_eq!(run("v-p-p-"), (2, 1, 0));
        assert_eq!(run("p-v-"), (4, 101, 0), "an epoch without a leaf decides nothing");
        assert_eq!(run("pipv"), (4, 1_100, 1), "each run has its own fate");
        assert_eq!(run("ppp"), (0, 0, 0));
        assert_eq!(run(""), (0, 0, 0));
    }

    #[test]
    fn ranges_are_half_open() {
        let l = leaf(ScoreState::Valid, 5);
        let all = [(Epoch(1), &l), (Epoch(2), &l), (Epoch(3), &l), (Epoch(4), &l)];
        let p = postable(Epoch(1), Epoch(3), all).unwrap();
        assert_eq!(p.shares.values().copied().collect::<Vec<_>>(), [Pico(10)]);
    }

    #[test]
    fn unposted_is_what_may_be_posted_and_what_is_held() {
        use ScoreState::{Invalid, Pending, Valid};
        let row = |states: &[(ScoreState, i128)]| -> Vec<(Epoch, Leaf)> {
            (1u32..).zip(states).map(|(n, (state, earns))| (Epoch(n), leaf(*state, *earns))).collect()
        };
        let sum = |states: &[(ScoreState, i128)]| {
            let leaves = row(states);
            unposted(Epoch(1), Epoch(u32::try_from(leaves.len()).unwrap()), &leaves).unwrap().values().copied().collect::<Vec<_>>()
        };
        assert_eq!(sum(&[(Valid, 100)]), [], "posted already");
        assert_eq!(sum(&[(Valid, 100), (Valid, 1), (Pending, 2), (Pending, 4)]), [Pico(7)]);
        assert_eq!(sum(&[(Valid, 100), (Pending, 1), (Invalid, 0), (Pending, 4)]), [Pico(4)], "an invalid epoch forfeits what was held");
    }

    #[test]
    fn closing_an_epoch_uses_the_multiplier_from_before_it() {
        let slots = EpochSlots { proven: 10, observed: 10 };
        let close = |inputs, payer| Leaf::close(NodeIndex(1), slots, inputs, Multiplier::default(), payer, &PARAMS()).unwrap();
        let (leaf, next) = close(good(), payer(0, Currency::Usdt));
        assert_eq!(leaf.accrual, Pico(50_000 * Pico::PER_UNIT / 12));
        assert_eq!((leaf.multiplier, next.grown_slots), (Multiplier::default(), 10));
        assert_eq!(close(good(), None).0.accrual, Pico::ZERO);
        let bad = Inputs { window: Window { proven: 10, observed: 2_880, interruptions: 1 }, ..Inputs::default() };
        assert_eq!(close(bad, payer(0, Currency::Usdt)).0.accrual, Pico::ZERO, "invalid earns nothing");
        let young = Inputs { window: Window { proven: 10, observed: 10, interruptions: 0 }, ..Inputs::default() };
        let held = close(young, payer(0, Currency::Usdt)).0;
        assert_eq!((held.score.state, held.accrual), (ScoreState::Pending, Pico(50_000 * Pico::PER_UNIT / 12)));
        assert_eq!(postcard::from_bytes::<Leaf>(&postcard::to_stdvec(&held).unwrap()).unwrap(), held);
    }

    proptest! {
        /// However the range is cut, the same units are posted in the end.
        #[test]
        fn cutting_a_range_loses_nothing(
            states in prop::collection::vec((0u8..4, 0i128..5_000_000, 0u32..3), 1..60),
            cuts in prop::collection::btree_set(1u32..60, 0..6),
        ) {
            let leaves: Vec<(Epoch, Leaf)> = states.iter().zip(1u32..).filter_map(|((state, earns, pool), n)| {
                let (state, earns) = match state {
                    0 => (ScoreState::Valid, *earns),
                    1 => (ScoreState::Pending, *earns),
                    2 => (ScoreState::Invalid, 0),
                    _ => return None,
                };
                Some((Epoch(n), Leaf { payer: payer(*pool, Currency::Usdt), ..leaf(state, earns) }))
            }).collect();
            let end = u32::try_from(states.len()).unwrap();
            let post = |after: Epoch, through: Epoch, carried| {
                let p = postable(after, through, leaves.iter().map(|(e, l)| (*e, l))).unwrap();
                let whole = p.whole(Currency::Usdt, carried).unwrap();
                prop_assert_eq!(whole.by_pool.iter().map(|(_, u)| u.0).sum::<i64>(), whole.total.0);
                prop_assert!(whole.remainder.0 >= 0 && whole.remainder.0 < Pico::PER_UNIT);
                Ok((p.through, whole))
            };
            let (once_through, once) = post(Epoch(0), Epoch(end), Pico::ZERO)?;
            let (mut after, mut carried, mut total) = (Epoch(0), Pico::ZERO, 0);
            for cut in cuts.into_iter().filter(|c| *c < end).chain([end]) {
                if Epoch(cut) <= after { continue; }
                let (through, whole) = post(after, Epoch(cut), carried)?;
                prop_assert!(through >= after);
                (after, carried, total) = (through, whole.remainder, total + whole.total.0);
            }
            prop_assert_eq!((after, carried, total), (once_through, once.remainder, once.total.0));
        }
    }
}
