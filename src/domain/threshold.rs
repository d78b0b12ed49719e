//! When a measurement is worth an alert: a warning and a critical limit per metric, how long a value must hold, and how far it must fall to be fine again.
//!
//! The level of a metric follows from the samples that are kept and from the level before, which is in the open alert. So a restart of the manager neither
//! forgets nor repeats anything, and no counter is written while nothing changes.

use serde::{Deserialize, Serialize};

use super::metrics::Sample;
use super::refusal::FieldErrors;
use super::space::THINNED_TO;
use super::time::Slot;

/// What has limits. New ones go to the end: stored sets name a metric by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ThresholdMetric)]
pub enum Metric {
    CpuPercent,
    MemoryPercent,
    DiskPercent,
    SwapPercent,
    TemperatureCelsius,
}

pub const METRICS: [Metric; 5] =
    [Metric::CpuPercent, Metric::MemoryPercent, Metric::DiskPercent, Metric::SwapPercent, Metric::TemperatureCelsius];

/// A value in tenths of its unit: samples are kept in tenths, so limits compare exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenths(pub i32);

impl Tenths {
    /// None for what is not a number with at most one decimal within `range`, given in whole units.
    pub fn exact(value: f64, range: std::ops::RangeInclusive<i32>) -> Option<Tenths> {
        let tenths = Tenths::nearest(value)?;
        let is_exact = (f64::from(tenths.0) / 10.0 - value).abs() < 1e-9;
        (is_exact && (range.start() * 10..=range.end() * 10).contains(&tenths.0)).then_some(tenths)
    }

    fn nearest(value: f64) -> Option<Tenths> {
        let scaled = (value * 10.0).round();
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
        (scaled.abs() <= 1e6).then_some(Tenths(scaled as i32))
    }

    pub fn value(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.value())
    }
}

impl Metric {
    pub fn name(self) -> &'static str {
        match self {
            Metric::CpuPercent => "cpu_percent",
            Metric::MemoryPercent => "memory_percent",
            Metric::DiskPercent => "disk_percent",
            Metric::SwapPercent => "swap_percent",
            Metric::TemperatureCelsius => "temperature_celsius",
        }
    }

    /// As messages call it, and its unit.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Metric::CpuPercent => ("CPU use", "%"),
            Metric::MemoryPercent => ("memory use", "%"),
            Metric::DiskPercent => ("disk use", "%"),
            Metric::SwapPercent => ("swap use", "%"),
            Metric::TemperatureCelsius => ("temperature", "°C"),
        }
    }

    /// What a limit may be, in whole units.
    pub fn range(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Metric::TemperatureCelsius => 1..=150,
            Metric::CpuPercent | Metric::MemoryPercent | Metric::DiskPercent | Metric::SwapPercent => 1..=100,
        }
    }

    /// In force where neither the node nor its pool says otherwise. CPU or memory above 95 % is a security alert of the requirements.
    pub fn default_limits(self) -> Limits {
        let of = |warning, critical| Limits { warning: Tenths(warning * 10), critical: Tenths(critical * 10) };
        match self {
            Metric::CpuPercent | Metric::MemoryPercent | Metric::DiskPercent => of(85, 95),
            Metric::SwapPercent => of(50, 80),
            Metric::TemperatureCelsius => of(75, 85),
        }
    }

    /// None when the machine does not have it.
    pub fn of(self, sample: &Sample) -> Option<Tenths> {
        let share = |used: Option<u64>, total: Option<u64>| {
            let (used, total) = (u128::from(used?), u128::from(total?));
            let tenths = (used * 1_000).checked_div(total)?;
            i32::try_from(tenths.min(1_000)).ok().map(Tenths)
        };
        match self {
            Metric::CpuPercent => sample.cpu.usage_percent.and_then(Tenths::nearest),
            Metric::MemoryPercent => share(sample.memory.used_bytes, sample.memory.total_bytes),
            Metric::DiskPercent => share(sample.disk.used_bytes, sample.disk.total_bytes),
            Metric::SwapPercent => share(sample.memory.swap_used_bytes, sample.memory.swap_total_bytes),
            Metric::TemperatureCelsius => sample.cpu.temperature_celsius.and_then(Tenths::nearest),
        }
    }

    fn position(self) -> usize {
        match self {
            Metric::CpuPercent => 0,
            Metric::MemoryPercent => 1,
            Metric::DiskPercent => 2,
            Metric::SwapPercent => 3,
            Metric::TemperatureCelsius => 4,
        }
    }
}

/// Every metric of one sample; absent where the machine has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading([Option<Tenths>; METRICS.len()]);

impl Reading {
    pub fn of(sample: &Sample) -> Reading {
        Reading(METRICS.map(|metric| metric.of(sample)))
    }

    pub fn get(&self, metric: Metric) -> Option<Tenths> {
        self.0[metric.position()]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub warning: Tenths,
    pub critical: Tenths,
}

/// A value must hold this long before it is worth an alert.
pub const DEFAULT_DURATION_SECONDS: u32 = 300;
pub const MAX_DURATION_SECONDS: u32 = 3_600;
/// A value must fall this far below its limit to be fine again; in points of its metric.
pub const DEFAULT_HYSTERESIS: Tenths = Tenths(50);
pub const MAX_HYSTERESIS: i32 = 50;
/// Samples further apart than this leave open what was in between: a value did not hold there. As long as a node may be silent before it shows old values.
pub const MAX_STEP_SLOTS: u32 = 3;
/// A metric without a value for so long is unknown.
pub const UNKNOWN_AFTER_SLOTS: u32 = 10;
const SLOT_SECONDS: u32 = 30;

/// What was set for a node or a pool; what is absent is inherited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ThresholdSet {
    pub limits: Vec<(Metric, Limits)>,
    pub duration_seconds: Option<u32>,
    pub hysteresis: Option<Tenths>,
}

impl ThresholdSet {
    fn of(&self, metric: Metric) -> Option<Limits> {
        self.limits.iter().find(|(known, _)| *known == metric).map(|(_, limits)| *limits)
    }

    pub fn is_empty(&self) -> bool {
        *self == ThresholdSet::default()
    }
}

/// Where a value in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ThresholdOrigin)]
pub enum Origin {
    Node,
    Pool,
    Default,
}

/// What is in force for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    limits: [(Limits, Origin); METRICS.len()],
    pub duration_seconds: (u32, Origin),
    pub hysteresis: (Tenths, Origin),
}

impl Thresholds {
    /// The node's own before its pool's before the defaults, each by itself.
    pub fn effective(node: Option<&ThresholdSet>, pool: Option<&ThresholdSet>) -> Thresholds {
        fn first<T>(node: Option<T>, pool: Option<T>, default: T) -> (T, Origin) {
            match (node, pool) {
                (Some(own), _) => (own, Origin::Node),
                (None, Some(of_pool)) => (of_pool, Origin::Pool),
                (None, None) => (default, Origin::Default),
            }
        }
        let limits = METRICS.map(|metric| {
            let of = |set: Option<&ThresholdSet>| set.and_then(|set| set.of(metric));
            first(of(node), of(pool), metric.default_limits())
        });
        let duration = |set: Option<&ThresholdSet>| set.and_then(|set| set.duration_seconds);
        let hysteresis = |set: Option<&ThresholdSet>| set.and_then(|set| set.hysteresis);
        Thresholds {
            limits,
            duration_seconds: first(duration(node), duration(pool), DEFAULT_DURATION_SECONDS),
            hysteresis: first(hysteresis(node), hysteresis(pool), DEFAULT_HYSTERESIS),
        }
    }

    pub fn limits(&self, metric: Metric) -> (Limits, Origin) {
        self.limits[metric.position()]
    }

    pub fn rule(&self, metric: Metric) -> Rule {
        let (limits, _) = self.limits(metric);
        let duration_slots = self.duration_seconds.0.div_ceil(SLOT_SECONDS).max(1);
        Rule { limits, duration_slots, hysteresis: self.hysteresis.0, step_slots: MAX_STEP_SLOTS }
    }

    /// Every rule that the set breaks together with what it inherits.
    pub fn check(&self, errors: &mut FieldErrors) {
        for metric in METRICS {
            let (limits, name) = (self.limits(metric).0, metric.name());
            errors.require(limits.warning < limits.critical, &format!("{name}.warning"), "must be below critical");
            let falls_above_zero = self.hysteresis.0 < limits.warning;
            let wide = format!("must be below the warning limit of {name}, which is {}", limits.warning);
            errors.require(falls_above_zero, "hysteresis", wide);
        }
    }

    /// Every value of the sample is below its warning limit; what the machine does not have is.
    pub fn is_within(&self, reading: &Reading) -> bool {
        METRICS.iter().all(|metric| reading.get(*metric).is_none_or(|value| value < self.limits(*metric).0.warning))
    }
}

/// What one metric of one node is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub limits: Limits,
    /// At least 1.
    pub duration_slots: u32,
    pub hysteresis: Tenths,
    /// Samples further apart than this leave open what was in between.
    pub step_slots: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ThresholdLevel)]
pub enum Level {
    Ok,
    Warning,
    Critical,
}

impl Rule {
    /// While metrics are thinned, what is stored of a node is further apart: that says nothing of what was in between, and nothing else is known.
    pub fn of_thinned(self) -> Rule {
        Rule { step_slots: self.step_slots.max(THINNED_TO), ..self }
    }

    fn limit(&self, level: Level) -> Tenths {
        match level {
            Level::Ok => Tenths(i32::MIN),
            Level::Warning => self.limits.warning,
            Level::Critical => self.limits.critical,
        }
    }

    /// The highest level whose limit the value reaches, however shortly.
    pub fn reach(&self, value: Tenths) -> Level {
        [Level::Critical, Level::Warning].into_iter().find(|level| value >= self.limit(*level)).unwrap_or(Level::Ok)
    }

    /// The level that a single value brings without any history: a level is left once the value fell by the hysteresis below its limit.
    fn fall(&self, previous: Level, value: Tenths) -> Level {
        let stays = |level: Level| value.0 > self.limit(level).0 - self.hysteresis.0;
        [Level::Critical, Level::Warning].into_iter().find(|level| *level <= previous && stays(*level)).unwrap_or(Level::Ok)
    }

    /// Only then `judge` has to look at history.
    pub fn needs_history(&self, previous: Level, value: Tenths) -> bool {
        self.reach(value) > previous
    }

    /// The level after the newest sample. `history` is in order of time and ends with it; `history_slots` of it are enough.
    pub fn judge(&self, previous: Level, history: &[(Slot, Tenths)]) -> Level {
        let Some((_, newest)) = history.last() else { return previous };
        let risen = [Level::Critical, Level::Warning].into_iter().find(|level| *level > previous && self.held(history, *level));
        risen.unwrap_or_else(|| self.fall(previous, *newest))
    }

    /// Every sample of the last `duration_slots` reached the limit, without a gap wider than `step_slots`.
    fn held(&self, history: &[(Slot, Tenths)], level: Level) -> bool {
        let Some((newest, _)) = history.last() else { return false };
        let mut after = *newest;
        for (slot, value) in history.iter().rev() {
            if *value < self.limit(level) || after.0.saturating_sub(slot.0) > self.step_slots {
                return false;
            }
            if newest.0.saturating_sub(slot.0) + 1 >= self.duration_slots {
                return true;
            }
            after = *slot;
        }
        false
    }

    /// Slots before and with the newest sample that `judge` looks at.
    pub fn history_slots(&self) -> u32 {
        self.duration_slots + self.step_slots
    }
}

/// `attic: memory use 97.1 % for 5 minutes or more, critical from 95 %`.
pub fn message(node: &str, metric: Metric, value: Tenths, level: Level, rule: &Rule) -> String {
    let (name, unit) = metric.words();
    let limit = rule.limit(level);
    let word = if level == Level::Critical { "critical" } else { "a warning" };
    let held = match rule.duration_slots * SLOT_SECONDS {
        seconds @ ..60 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    };
    format!("{node}: {name} {value} {unit} for {held} or more, {word} from {limit} {unit}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(duration_slots: u32) -> Rule {
        Rule {
            limits: Limits { warning: Tenths(850), critical: Tenths(950) },
            duration_slots,
            hysteresis: Tenths(50),
            step_slots: MAX_STEP_SLOTS,
        }
    }

    fn after(rule: &Rule, previous: Level, samples: &[(u32, i32)]) -> Level {
        let history: Vec<(Slot, Tenths)> = samples.iter().map(|(slot, value)| (Slot(*slot), Tenths(*value))).collect();
        rule.judge(previous, &history)
    }

    #[test]
    fn a_value_must_hold_and_then_fall_by_the_hysteresis() {
        let r = rule(3);
        assert_eq!(after(&r, Level::Ok, &[(1, 900), (2, 900)]), Level::Ok, "two of three");
        assert_eq!(after(&r, Level::Ok, &[(1, 850), (2, 850), (3, 850)]), Level::Warning, "at the limit counts");
        assert_eq!(after(&r, Level::Ok, &[(1, 850), (2, 849), (3, 850)]), Level::Ok);
        assert_eq!(after(&r, Level::Ok, &[(1, 990), (2, 990), (3, 990)]), Level::Critical);
        assert_eq!(after(&r, Level::Ok, &[(1, 990), (2, 900), (3, 990)]), Level::Warning);
        assert_eq!(after(&r, Level::Warning, &[(3, 801)]), Level::Warning, "not far enough below");
        assert_eq!(after(&r, Level::Warning, &[(3, 800)]), Level::Ok);
        assert_eq!(after(&r, Level::Critical, &[(3, 901)]), Level::Critical);
        assert_eq!(after(&r, Level::Critical, &[(3, 900)]), Level::Warning);
        assert_eq!(after(&r, Level::Critical, &[(3, 100)]), Level::Ok);
        assert_eq!(after(&r, Level::Critical, &[]), Level::Critical, "nothing known changes nothing");
        assert_eq!(after(&rule(1), Level::Ok, &[(3, 950)]), Level::Critical);
    }

    #[test]
    fn a_wide_gap_breaks_what_held_and_a_narrow_one_does_not() {
        let r = rule(8);
        assert_eq!(after(&r, Level::Ok, &[(1, 900), (4, 900), (5, 900), (8, 900)]), Level::Warning);
        assert_eq!(after(&r, Level::Ok, &[(1, 900), (2, 900), (6, 900), (8, 900)]), Level::Ok);
    }

    #[test]
    fn of_one_sample_in_ten_a_level_rises_and_a_wider_gap_breaks_it() {
        let r = rule(20).of_thinned();
        assert_eq!(after(&rule(20), Level::Ok, &[(1, 990), (11, 990), (21, 990)]), Level::Ok);
        assert_eq!(after(&r, Level::Ok, &[(1, 990), (11, 990), (21, 990)]), Level::Critical);
        assert_eq!(after(&r, Level::Ok, &[(1, 990), (12, 990), (21, 990)]), Level::Ok);
        assert_eq!(after(&r, Level::Ok, &[(1, 990), (11, 800), (21, 990)]), Level::Ok);
    }

    #[test]
    fn shares_come_from_bytes_and_what_is_absent_is_within() {
        let mut sample = Sample::default();
        assert_eq!(Reading::of(&sample), Reading::default());
        sample.memory.total_bytes = Some(1_000);
        sample.memory.used_bytes = Some(849);
        sample.memory.swap_total_bytes = Some(0);
        sample.memory.swap_used_bytes = Some(0);
        let all = Thresholds::effective(None, None);
        assert_eq!((Metric::MemoryPercent.of(&sample), Metric::SwapPercent.of(&sample)), (Some(Tenths(849)), None));
        assert!(all.is_within(&Reading::of(&sample)));
        sample.memory.used_bytes = Some(850);
        assert!(!all.is_within(&Reading::of(&sample)));
    }

    #[test]
    fn a_node_goes_before_its_pool_and_both_before_the_defaults() {
        let of = |metric, warning, critical| (metric, Limits { warning: Tenths(warning), critical: Tenths(critical) });
        let node = ThresholdSet { limits: vec![of(Metric::CpuPercent, 500, 600)], ..ThresholdSet::default() };
        let pool = ThresholdSet {
            limits: vec![of(Metric::CpuPercent, 100, 200), of(Metric::DiskPercent, 700, 800)],
            duration_seconds: Some(60),
            hysteresis: None,
        };
        let all = Thresholds::effective(Some(&node), Some(&pool));
        let shown = |metric| (all.limits(metric).0.warning.0, all.limits(metric).1);
        assert_eq!(shown(Metric::CpuPercent), (500, Origin::Node));
        assert_eq!(shown(Metric::DiskPercent), (700, Origin::Pool));
        assert_eq!(shown(Metric::TemperatureCelsius), (750, Origin::Default));
        assert_eq!((all.duration_seconds, all.hysteresis), ((60, Origin::Pool), (Tenths(50), Origin::Default)));
        assert_eq!(all.rule(Metric::CpuPercent).duration_slots, 2);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let low = Limits { warning: Tenths(50), critical: Tenths(50) };
        let set = ThresholdSet { limits: vec![(Metric::CpuPercent, low)], hysteresis: Some(Tenths(50)), ..ThresholdSet::default() };
        let mut errors = FieldErrors::default();
        Thresholds::effective(Some(&set), None).check(&mut errors);
        let fields: Vec<_> = errors.0.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["cpu_percent.warning", "hysteresis"]);
        let mut none = FieldErrors::default();
        Thresholds::effective(None, None).check(&mut none);
        assert!(none.0.is_empty(), "the defaults keep the rules");
    }

    #[test]
    fn tenths_are_exact_and_bounded() {
        assert_eq!(Tenths::exact(85.5, 1..=100), Some(Tenths(855)));
        for bad in [85.55, 0.9, 100.1, f64::NAN, f64::INFINITY, -5.0, 1e300] {
            assert_eq!(Tenths::exact(bad, 1..=100), None, "{bad}");
        }
    }

    /// The rules once more, as a machine that counts along and never looks back.
    struct Model {
        level: Level,
        newest: Option<u32>,
        since: [Option<u32>; 2],
    }

    impl Model {
        fn take(&mut self, slot: u32, value: i32, r: &Rule) {
            let broken = self.newest.is_some_and(|newest| slot - newest > MAX_STEP_SLOTS);
            let limits = [r.limits.warning.0, r.limits.critical.0];
            for (since, limit) in self.since.iter_mut().zip(limits) {
                if broken || value < limit {
                    *since = None;
                }
                if value >= limit {
                    since.get_or_insert(slot);
                }
            }
            self.newest = Some(slot);
            let held = |since: Option<u32>| since.is_some_and(|since| slot - since + 1 >= r.duration_slots);
            let (fine, calm) = (limits[0] - r.hysteresis.0, limits[1] - r.hysteresis.0);
            self.level = match self.level {
                Level::Ok | Level::Warning if held(self.since[1]) => Level::Critical,
                Level::Ok if held(self.since[0]) => Level::Warning,
                Level::Ok => Level::Ok,
                Level::Warning if value <= fine => Level::Ok,
                Level::Warning => Level::Warning,
                Level::Critical if value > calm => Level::Critical,
                Level::Critical if value > fine => Level::Warning,
                Level::Critical => Level::Ok,
            };
        }
    }

    fn samples() -> impl Strategy<Value = Vec<(u32, i32)>> {
        let value = prop_oneof![780i32..=960, Just(850), Just(950), Just(800), Just(900)];
        prop::collection::vec((prop_oneof![8 => Just(1u32), 2 => 2u32..=6], value), 1..120).prop_map(|steps| {
            let mut slot = 1_000;
            let mut place = |(step, value)| {
                slot += step;
                (slot, value)
            };
            steps.into_iter().map(&mut place).collect()
        })
    }

    proptest! {
        #[test]
        fn the_level_follows_from_stored_samples_and_the_level_before(
            samples in samples(), duration in 1u32..15, hysteresis in 0i32..100,
        ) {
            let r = Rule { hysteresis: Tenths(hysteresis), ..rule(duration) };
            let mut model = Model { level: Level::Ok, newest: None, since: [None; 2] };
            let mut level = Level::Ok;
            for n in 0..samples.len() {
                let (slot, value) = samples[n];
                model.take(slot, value, &r);
                // No memory but the stored samples of the window and the stored level: what a restarted manager has.
                let window: Vec<(Slot, Tenths)> = samples[..=n].iter()
                    .filter(|(at, _)| slot - at < r.history_slots()).map(|(at, v)| (Slot(*at), Tenths(*v))).collect();
                let next = r.judge(level, &window);
                prop_assert!(next <= level || r.needs_history(level, Tenths(value)), "a rise is announced by the newest value");
                if !r.needs_history(level, Tenths(value)) {
                    prop_assert_eq!(r.judge(level, &window[window.len() - 1..]), next, "no history needed");
                }
                level = next;
                prop_assert_eq!(level, model.level, "sample {}", n);
            }
        }

        #[test]
        fn a_level_once_reached_is_left_only_below_its_hysteresis(previous in prop_oneof![Just(Level::Warning), Just(Level::Critical)], value in 0i32..1000) {
            let r = rule(10);
            let next = after(&r, previous, &[(5, value)]);
            prop_assert!(next <= previous);
            prop_assert_eq!(next == previous, value > r.limit(previous).0 - 50);
        }
    }
}
