//! Proof of operational time: the score of a node from counted slots, as one integer fraction with one rounding, so
//! that anyone who has the inputs can recompute it. No floats.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::evidence::SLOTS_PER_DAY;
use super::refusal::FieldErrors;

/// Version of the formulas in this file; goes up when any of them changes.
pub const VERSION: u16 = 1;
/// Interruptions at which the stability factor reaches zero.
pub const INTERRUPTIONS_AT_ZERO: u16 = 24;
/// Seconds of one slot, as the counts here need it.
const SLOT_SECONDS: u32 = 30;

/// Everything that turns counts into a score and into credits. Stored with each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    pub version: u16,
    /// Observed slots that a score looks at.
    pub window_slots: u16,
    /// Slots further back are not looked at.
    pub max_age_slots: u16,
    /// Observed time below which a score is pending.
    pub min_observation_seconds: u32,
    /// Lowest valid score, in hundredths (5000 is 50.00).
    pub min_score_hundredths: u16,
    /// Weight of the output factor where the pool expects outputs, in percent.
    pub output_weight_percent: u8,
    pub stability_weight_percent: u8,
    pub resources_weight_percent: u8,
    /// Highest multiplier of credits, in hundredths (150 is 1.5).
    pub max_multiplier_hundredths: u16,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            version: VERSION,
            window_slots: 2_880,
            max_age_slots: 8_640,
            min_observation_seconds: 3_600,
            min_score_hundredths: 5_000,
            output_weight_percent: 30,
            stability_weight_percent: 0,
            resources_weight_percent: 0,
            max_multiplier_hundredths: 150,
        }
    }
}

/// Longest look back: 72 h.
pub const MAX_AGE_SLOTS: u16 = 8_640;
const MAX_MULTIPLIER_HUNDREDTHS: u16 = 1_000;

impl Params {
    pub fn check(&self, errors: &mut FieldErrors, at: &str) {
        let mut require = |ok, field: &str, message: &str| errors.require(ok, &format!("{at}.{field}"), message);
        require(self.version == VERSION, "version", "is not known to this version of the product");
        require((1..=MAX_AGE_SLOTS).contains(&self.max_age_slots), "max_age_slots", "must be 1 to 8640");
        require((1..=self.max_age_slots).contains(&self.window_slots), "window_slots", "must be 1 to max_age_slots");
        let window_seconds = u32::from(self.window_slots) * SLOT_SECONDS;
        require(self.min_observation_seconds <= window_seconds, "min_observation_seconds", "must fit into window_slots");
        require(self.min_score_hundredths <= 10_000, "min_score_hundredths", "must be 0 to 10000");
        require(self.output_weight_percent <= 100, "output_weight_percent", "must be 0 to 100");
        require(self.stability_weight_percent <= 100, "stability_weight_percent", "must be 0 to 100");
        require(self.resources_weight_percent <= 100, "resources_weight_percent", "must be 0 to 100");
        let multiplier = (100..=MAX_MULTIPLIER_HUNDREDTHS).contains(&self.max_multiplier_hundredths);
        require(multiplier, "max_multiplier_hundredths", "must be 100 to 1000");
    }
}

/// What a score is made of: counts over the node's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inputs {
    pub window: Window,
    /// Samples whose every value was within its threshold, of all samples; no samples count as all within.
    pub samples_within: u16,
    pub samples: u16,
    /// Challenged slots, and those answered with a valid output; a missed challenge is a failure.
    pub challenged: u16,
    pub answered: u16,
    /// The pool of the node expects outputs.
    pub outputs_expected: bool,
}

/// The slots of a window, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    pub proven: u16,
    pub observed: u16,
    /// Times a proven slot was followed by an unproven one, among the observed slots.
    pub interruptions: u16,
}

/// Counts the last `params.window_slots` observed slots that are at most `params.max_age_slots` back, and says in which row the oldest of them is; `rows` when there
/// is none.
///
/// `proven` and `observed` are columns of `rows` slots, oldest first (`bits::Columns`); the last row is the newest slot.
pub fn window(proven: &[u64], observed: &[u64], rows: usize, params: &Params) -> (Window, usize) {
    let (mut counts, mut oldest) = (Window::default(), rows);
    let mut newer_is_proven = true;
    for Look { at, seen, count } in looked_at(observed, rows, params) {
        if count == 0 {
            continue;
        }
        oldest = at * 64 + usize::try_from(seen.trailing_zeros()).unwrap_or(0);
        let good = proven.get(at).copied().unwrap_or(0) & seen;
        counts.observed += small(count);
        counts.proven += small(ones(good));
        counts.interruptions += small(falls(good, seen, &mut newer_is_proven));
    }
    (counts, oldest)
}

/// Of the slots that `window` counts as proven, those in which the node was beyond a threshold.
pub fn strained(strained: &[u64], proven: &[u64], observed: &[u64], rows: usize, params: &Params) -> u16 {
    if strained.is_empty() {
        return 0;
    }
    let word = |column: &[u64], at: usize| column.get(at).copied().unwrap_or(0);
    looked_at(observed, rows, params).map(|Look { at, seen, .. }| small((seen & word(proven, at) & word(strained, at)).count_ones())).sum()
}

/// Of the slots that `window` counts as observed, those in `marked`.
pub fn marked(marked: &[u64], observed: &[u64], rows: usize, params: &Params) -> u16 {
    if marked.is_empty() {
        return 0;
    }
    let word = |at: usize| marked.get(at).copied().unwrap_or(0);
    looked_at(observed, rows, params).map(|Look { at, seen, .. }| small((seen & word(at)).count_ones())).sum()
}

/// A word of observed slots that a score looks at.
struct Look {
    /// Its place in the column.
    at: usize,
    seen: u64,
    /// Bits of `seen`.
    count: u32,
}

/// Newest first.
fn looked_at<'a>(observed: &'a [u64], rows: usize, params: &Params) -> impl Iterator<Item = Look> + 'a {
    let oldest = rows.saturating_sub(usize::from(params.max_age_slots));
    let mut left = u32::from(params.window_slots);
    (oldest / 64..observed.len()).rev().map_while(move |at| {
        if left == 0 {
            return None;
        }
        let too_old = oldest.saturating_sub(at * 64).min(63);
        let mut seen = observed[at] & (u64::MAX << too_old);
        let mut count = ones(seen);
        while count > left {
            seen &= seen - 1;
            count -= 1;
        }
        left -= count;
        Some(Look { at, seen, count })
    })
}

/// Most words are full, and not every processor counts bits in one instruction.
fn ones(word: u64) -> u32 {
    if word == u64::MAX { 64 } else { word.count_ones() }
}

/// A count of bits in one word.
fn small(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(64)
}

/// Proven slots whose next observed slot is unproven, newest first; `newer_is_proven` carries over from the newer word.
fn falls(good: u64, seen: u64, newer_is_proven: &mut bool) -> u32 {
    if seen == u64::MAX {
        let newer = (good >> 1) | (u64::from(*newer_is_proven) << 63);
        *newer_is_proven = good & 1 == 1;
        return (good & !newer).count_ones();
    }
    let mut count = 0;
    let mut rest = seen;
    while rest != 0 {
        let top = 1 << (63 - rest.leading_zeros());
        let is_proven = good & top != 0;
        count += u32::from(is_proven && !*newer_is_proven);
        *newer_is_proven = is_proven;
        rest &= !top;
    }
    count
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreState {
    /// Not observed long enough.
    Pending,
    Valid,
    /// Below the lowest valid score.
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub state: ScoreState,
    /// 0 to 10000: 9875 is 98.75.
    pub score_hundredths: u16,
    /// 0 to 100: 85 is 0.85.
    pub confidence_hundredths: u8,
}

impl Score {
    /// 0 to 100 with at most two decimals.
    pub fn score(&self) -> Decimal {
        Decimal::new(i64::from(self.score_hundredths), 2)
    }

    /// 0 to 1 with at most two decimals.
    pub fn confidence(&self) -> Decimal {
        Decimal::new(i64::from(self.confidence_hundredths), 2)
    }
}

/// A fraction from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    pub part: u32,
    pub whole: u32,
}

impl Ratio {
    /// With two decimals, half-even; for showing.
    pub fn decimal(self) -> Decimal {
        let hundredths = half_even(100 * u128::from(self.part), u128::from(self.whole));
        Decimal::from_i128_with_scale(i128::try_from(hundredths).unwrap_or(100), 2)
    }
}

/// The factors beside operational time, before weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    /// Mean of Beta(1 + answered, 1 + missed).
    pub output: Ratio,
    /// max(0, 1 - interruptions / 24).
    pub stability: Ratio,
    /// Share of samples within thresholds.
    pub resources: Ratio,
}

impl Inputs {
    pub fn factors(&self) -> Factors {
        let kept = INTERRUPTIONS_AT_ZERO.saturating_sub(self.window.interruptions);
        let resources = match self.samples {
            0 => Ratio { part: 1, whole: 1 },
            all => Ratio { part: u32::from(self.samples_within.min(all)), whole: u32::from(all) },
        };
        Factors {
            output: Ratio { part: 1 + u32::from(self.answered.min(self.challenged)), whole: 2 + u32::from(self.challenged) },
            stability: Ratio { part: u32::from(kept), whole: u32::from(INTERRUPTIONS_AT_ZERO) },
            resources,
        }
    }

    /// Operational time of at least `percent` of the observed slots.
    pub fn uptime_is_at_least(&self, percent: u32) -> bool {
        self.window.observed > 0 && 100 * u32::from(self.window.proven) >= percent * u32::from(self.window.observed)
    }
}

/// `100 x U x product of (1 - w (1 - f))`, U = proven / observed, as one fraction rounded half-even to two decimals.
///
/// One more proven slot never lowers it as long as the stability weight is 0 (a single proven slot in an outage splits
/// the outage in two). Slots that were not observed never change it.
pub fn score(inputs: &Inputs, params: &Params) -> Score {
    let factors = inputs.factors();
    let output_percent = if inputs.outputs_expected { params.output_weight_percent } else { 0 };
    let weighted = [
        (output_percent, factors.output),
        (params.stability_weight_percent, factors.stability),
        (params.resources_weight_percent, factors.resources),
    ];
    // Counts are u16 and weights at most 100, so the product stays below 2^87.
    let mut part = 10_000 * u128::from(inputs.window.proven.min(inputs.window.observed));
    let mut whole = u128::from(inputs.window.observed).max(1);
    for (percent, factor) in weighted {
        let percent = u128::from(percent.min(100));
        let full = 100 * u128::from(factor.whole);
        part *= full - percent * u128::from(factor.whole - factor.part);
        whole *= full;
    }
    let score_hundredths = u16::try_from(half_even(part, whole)).unwrap_or(10_000);
    let observed_seconds = u32::from(inputs.window.observed) * SLOT_SECONDS;
    let state = if inputs.window.observed == 0 || observed_seconds < params.min_observation_seconds {
        ScoreState::Pending
    } else if score_hundredths >= params.min_score_hundredths {
        ScoreState::Valid
    } else {
        ScoreState::Invalid
    };
    Score { state, score_hundredths, confidence_hundredths: confidence_hundredths(inputs) }
}

/// 0.7 min(1, observed / 24 h) + 0.3 n / (n + 10), n = challenged outputs; in hundredths, half-even.
fn confidence_hundredths(inputs: &Inputs) -> u8 {
    let day = u128::from(SLOTS_PER_DAY);
    let observed = u128::from(inputs.window.observed).min(day);
    let n = u128::from(inputs.challenged);
    u8::try_from(half_even(70 * observed * (n + 10) + 30 * n * day, day * (n + 10))).unwrap_or(100)
}

/// part / whole rounded to the nearest integer, ties to the even one. `whole` > 0.
fn half_even(part: u128, whole: u128) -> u128 {
    // One division: of 128 bits it is the dearest thing here.
    let quotient = part / whole;
    let rest = part - quotient * whole;
    match (2 * rest).cmp(&whole) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inputs(proven: u16, observed: u16) -> Inputs {
        Inputs { window: Window { proven, observed, interruptions: 0 }, ..Inputs::default() }
    }

    #[test]
    fn scores_of_known_nodes() {
        let p = Params::default();
        let of = |i: Inputs| score(&i, &p);
        assert_eq!(of(inputs(2880, 2880)), Score { state: ScoreState::Valid, score_hundredths: 10_000, confidence_hundredths: 70 });
        assert_eq!(of(inputs(0, 0)), Score { state: ScoreState::Pending, score_hundredths: 0, confidence_hundredths: 0 });
        assert_eq!(of(inputs(119, 119)).state, ScoreState::Pending, "3570 s observed");
        assert_eq!(of(inputs(120, 120)).state, ScoreState::Valid, "3600 s observed");
        assert_eq!(of(inputs(60, 120)).state, ScoreState::Valid, "exactly 50");
        assert_eq!(of(inputs(59, 120)), Score { state: ScoreState::Invalid, score_hundredths: 4_917, confidence_hundredths: 3 });
        let expected = Inputs { outputs_expected: true, ..inputs(2880, 2880) };
        assert_eq!(of(expected).score_hundredths, 8_500, "nobody was challenged: the prior's mean is one half");
        let answered = Inputs { challenged: 98, answered: 98, ..expected };
        assert_eq!(of(answered).score_hundredths, 9_970, "1 - 0.3 x (1 - 99/100)");
        assert_eq!(of(answered).confidence_hundredths, 97, "0.7 + 0.3 x 98/108");
        assert_eq!(of(Inputs { outputs_expected: false, ..answered }).score_hundredths, 10_000);
    }

    #[test]
    fn ties_go_to_the_even_hundredth() {
        assert_eq!([half_even(1, 2), half_even(3, 2), half_even(5, 2), half_even(7, 2)], [0, 2, 2, 4]);
        assert_eq!([half_even(2, 3), half_even(1, 3), half_even(0, 3)], [1, 0, 0]);
    }

    #[test]
    fn shown_factors() {
        let i = Inputs { samples: 3, samples_within: 2, challenged: 1, answered: 0, ..inputs(1, 1) };
        let i = Inputs { window: Window { interruptions: 6, ..i.window }, ..i };
        let f = i.factors();
        let shown = [f.output, f.stability, f.resources].map(|r| r.decimal().to_string());
        assert_eq!(shown, ["0.33", "0.75", "0.67"]);
        assert_eq!(inputs(1, 1).factors().resources.decimal(), Decimal::ONE);
        let many = Window { interruptions: 1000, ..Window::default() };
        assert_eq!(Inputs { window: many, ..Inputs::default() }.factors().stability.part, 0);
    }

    #[test]
    fn parameters_are_checked() {
        let broken = |change: fn(&mut Params)| {
            let mut p = Params::default();
            change(&mut p);
            let mut errors = FieldErrors::default();
            p.check(&mut errors, "poot");
            errors.0.into_iter().map(|e| e.field).collect::<Vec<_>>()
        };
        assert!(broken(|_| ()).is_empty());
        assert_eq!(broken(|p| p.window_slots = 8_641), ["poot.window_slots"]);
        assert_eq!(broken(|p| p.window_slots = 119), ["poot.min_observation_seconds"]);
        assert_eq!(broken(|p| p.max_multiplier_hundredths = 99), ["poot.max_multiplier_hundredths"]);
        assert_eq!(broken(|p| p.output_weight_percent = 101), ["poot.output_weight_percent"]);
    }

    proptest! {
        #[test]
        fn marked_slots_are_counted_where_the_window_looks(
            slots in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.8)), 0..400),
            window in 1u16..200,
            age in 200u16..300,
        ) {
            let params = Params { window_slots: window, max_age_slots: age, ..Params::default() };
            let column = |bits: Vec<bool>| -> Vec<u64> {
                bits.chunks(64).map(|chunk| chunk.iter().rev().fold(0, |word, bit| word << 1 | u64::from(*bit))).collect()
            };
            let (marks, seen): (Vec<bool>, Vec<bool>) = slots.iter().copied().unzip();
            let recent = slots.iter().rev().take(usize::from(age)).filter(|(_, seen)| *seen).take(usize::from(window));
            let expected = recent.filter(|(mark, _)| *mark).count();
            prop_assert_eq!(usize::from(marked(&column(marks), &column(seen), slots.len(), &params)), expected);
        }
    }

    /// (proven, observed) per slot, oldest first; a proven slot is observed.
    fn slots(max: usize) -> impl Strategy<Value = Vec<(bool, bool)>> {
        let slot = prop_oneof![6 => Just((true, true)), 2 => Just((false, true)), 1 => Just((false, false))];
        prop::collection::vec(slot, 0..max)
    }

    fn columns(slots: &[(bool, bool)]) -> (Vec<u64>, Vec<u64>) {
        let mut out = (vec![0; slots.len().div_ceil(64)], vec![0; slots.len().div_ceil(64)]);
        for (i, (proven, observed)) in slots.iter().enumerate() {
            out.0[i / 64] |= u64::from(*proven) << (i % 64);
            out.1[i / 64] |= u64::from(*observed) << (i % 64);
        }
        out
    }

    fn counted(slots: &[(bool, bool)], params: &Params) -> Window {
        let (proven, observed) = columns(slots);
        window(&proven, &observed, slots.len(), params).0
    }

    fn naive(slots: &[(bool, bool)], params: &Params) -> Window {
        let recent = &slots[slots.len().saturating_sub(usize::from(params.max_age_slots))..];
        let seen: Vec<bool> = recent.iter().filter(|s| s.1).map(|s| s.0).collect();
        let seen = &seen[seen.len().saturating_sub(usize::from(params.window_slots))..];
        let count = |n: usize| u16::try_from(n).unwrap();
        Window {
            proven: count(seen.iter().filter(|p| **p).count()),
            observed: count(seen.len()),
            interruptions: count(seen.windows(2).filter(|w| w[0] && !w[1]).count()),
        }
    }

    fn any_inputs() -> impl Strategy<Value = Inputs> {
        let counts = (0u16..=8640, 0u16..=8640, 0u16..30, 0u16..3000, 0u16..3000);
        (counts, 0u16..3000, 0u16..3000, any::<bool>()).prop_map(|((a, b, interruptions, c, d), e, f, outputs_expected)| Inputs {
            window: Window { proven: a.min(b), observed: a.max(b), interruptions },
            samples_within: c.min(d),
            samples: c.max(d),
            answered: e.min(f),
            challenged: e.max(f),
            outputs_expected,
        })
    }

    fn any_params() -> impl Strategy<Value = Params> {
        (1u16..400, 1u16..400, 0u8..=100, 0u8..=100, 0u8..=100).prop_map(|(a, b, o, s, r)| Params {
            window_slots: a.min(b),
            max_age_slots: a.max(b),
            output_weight_percent: o,
            stability_weight_percent: s,
            resources_weight_percent: r,
            ..Params::default()
        })
    }

    fn gcd(a: i128, b: i128) -> i128 {
        if b == 0 { a } else { gcd(b, a % b) }
    }

    /// A fraction kept in lowest terms, multiplied factor by factor as the formula is written.
    #[derive(Clone, Copy)]
    struct Fraction(i128, i128);

    impl Fraction {
        fn of(n: i128, d: i128) -> Fraction {
            let g = gcd(n, d).max(1);
            Fraction(n / g, d / g)
        }
        fn times(self, o: Fraction) -> Fraction {
            let (a, b) = (Fraction::of(self.0, o.1), Fraction::of(o.0, self.1));
            Fraction::of(a.0 * b.0, a.1 * b.1)
        }
        fn complement(self) -> Fraction {
            Fraction::of(self.1 - self.0, self.1)
        }
    }

    fn naive_hundredths(i: &Inputs, p: &Params) -> i128 {
        let ratio = |n: u16, d: u16| if d == 0 { Fraction(1, 1) } else { Fraction::of(n.into(), d.into()) };
        let output = Fraction::of(i128::from(i.answered) + 1, i128::from(i.challenged) + 2);
        let stability = Fraction::of((24 - i128::from(i.window.interruptions)).max(0), 24);
        let factors = [
            (if i.outputs_expected { p.output_weight_percent } else { 0 }, output),
            (p.stability_weight_percent, stability),
            (p.resources_weight_percent, ratio(i.samples_within, i.samples)),
        ];
        let mut product = if i.window.observed == 0 { Fraction(0, 1) } else { ratio(i.window.proven, i.window.observed) };
        for (w, f) in factors {
            product = product.times(Fraction::of(w.into(), 100).times(f.complement()).complement());
        }
        let exact = product.times(Fraction(10_000, 1));
        // The nearest integer by trying the neighbours; the even one of two equally near.
        let floor = exact.0 / exact.1;
        let distance = |n: i128| (exact.0 - n * exact.1).abs();
        if (distance(floor), floor % 2) <= (distance(floor + 1), (floor + 1) % 2) { floor } else { floor + 1 }
    }

    proptest! {
        #[test]
        fn windows_agree_with_counting_by_hand(s in slots(500), p in any_params()) {
            prop_assert_eq!(counted(&s, &p), naive(&s, &p));
        }

        #[test]
        fn full_windows_agree_with_counting_by_hand(s in slots(9_000)) {
            prop_assert_eq!(counted(&s, &Params::default()), naive(&s, &Params::default()));
        }

        #[test]
        fn scores_agree_with_exact_fractions(i in any_inputs(), p in any_params()) {
            prop_assert_eq!(i128::from(score(&i, &p).score_hundredths), naive_hundredths(&i, &p));
        }

        #[test]
        fn one_more_proven_slot_never_lowers_a_score(mut s in slots(400), at in any::<prop::sample::Index>(), p in any_params()) {
            prop_assume!(s.iter().any(|x| !x.0));
            let p = Params { stability_weight_percent: 0, ..p };
            let before = score(&Inputs { window: counted(&s, &p), ..Inputs::default() }, &p);
            let silent: Vec<usize> = (0..s.len()).filter(|i| !s[*i].0).collect();
            s[*at.get(&silent)] = (true, true);
            let after = score(&Inputs { window: counted(&s, &p), ..Inputs::default() }, &p);
            prop_assert!(after.score_hundredths >= before.score_hundredths);
        }

        #[test]
        fn slots_that_nobody_observed_never_change_a_score(s in slots(400), gaps in prop::collection::vec(any::<prop::sample::Index>(), 0..50)) {
            let p = Params::default();
            let mut with_gaps = s.clone();
            for gap in gaps {
                with_gaps.insert(gap.index(with_gaps.len() + 1), (false, false));
            }
            prop_assert_eq!(counted(&s, &p), counted(&with_gaps, &p));
        }

        #[test]
        fn order_never_matters_to_a_score((s, shuffled) in slots(400).prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle()))) {
            let p = Params::default();
            let of = |s: &[(bool, bool)]| score(&Inputs { window: counted(s, &p), ..Inputs::default() }, &p);
            prop_assert_eq!(of(&s), of(&shuffled));
        }

        #[test]
        fn strained_slots_are_those_of_the_window(s in slots(400), beyond in prop::collection::vec(any::<bool>(), 400), window in 1u16..400) {
            let p = Params { window_slots: window, max_age_slots: 300, ..Params::default() };
            let column = |of: &dyn Fn(usize) -> bool| {
                let mut words = vec![0u64; s.len().div_ceil(64)];
                (0..s.len()).filter(|n| of(*n)).for_each(|n| words[n / 64] |= 1 << (n % 64));
                words
            };
            let (proven, observed) = (column(&|n| s[n].0 && s[n].1), column(&|n| s[n].1));
            let naive = (s.len().saturating_sub(300)..s.len()).rev().filter(|n| s[*n].1).take(usize::from(window));
            let expected = naive.filter(|n| s[*n].0 && beyond[*n]).count();
            let found = strained(&column(&|n| beyond[n]), &proven, &observed, s.len(), &p);
            prop_assert_eq!(usize::from(found), expected);
        }

        #[test]
        fn a_score_stays_within_its_range(i in any_inputs(), p in any_params()) {
            let s = score(&i, &p);
            prop_assert!(s.score_hundredths <= 10_000 && s.confidence_hundredths <= 100);
        }
    }
}
