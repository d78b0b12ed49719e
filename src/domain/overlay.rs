//! One metric of many nodes over the same steps of time, for charts that lay them over each other.

use serde::{Deserialize, Serialize};

use super::metrics::Sample;
use super::series::SLOTS_PER_HOUR;
use super::time::{SLOT_SECONDS, Slot};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OverlayMetric)]
pub enum Metric {
    Cpu,
    Memory,
    Disk,
    NetworkIn,
    NetworkOut,
    Temperature,
}

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Metric::Cpu | Metric::Memory | Metric::Disk => "percent",
            Metric::NetworkIn | Metric::NetworkOut => "bytes_per_second",
            Metric::Temperature => "celsius",
        }
    }

    pub const ALL: [Metric; 6] = [Metric::Cpu, Metric::Memory, Metric::Disk, Metric::NetworkIn, Metric::NetworkOut, Metric::Temperature];

    /// A line of it is made of the last count of each step, and not of means.
    pub fn is_counter(self) -> bool {
        matches!(self, Metric::NetworkIn | Metric::NetworkOut)
    }

    /// What a sample says: of a counter its count, of the others the value.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Metric::Cpu => sample.cpu.usage_percent,
            Metric::Memory => percent(sample.memory.used_bytes, sample.memory.total_bytes),
            Metric::Disk => percent(sample.disk.used_bytes, sample.disk.total_bytes),
            Metric::NetworkIn => sample.network.total_bytes_in.map(wide),
            Metric::NetworkOut => sample.network.total_bytes_out.map(wide),
            Metric::Temperature => sample.cpu.temperature_celsius,
        }
    }
}

fn percent(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let (part, whole) = (part?, whole.filter(|whole| *whole > 0)?);
    Some(wide(part) / wide(whole) * 100.0)
}

/// Exact up to 2^53, which is enough to draw.
#[expect(clippy::cast_precision_loss, reason = "a chart shows three digits")]
fn wide(value: u64) -> f64 {
    value as f64
}

/// Steps of equal length, aligned to unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub first: Slot,
    pub slots_per_step: u32,
    pub count: u32,
}

impl Steps {
    /// Enough steps to cover `slots` up to and with `last`.
    pub fn ending(last: Slot, slots: u32, slots_per_step: u32) -> Steps {
        let length = slots_per_step.max(1);
        let count = slots.div_ceil(length);
        let end = last.0 - last.0 % length + length;
        Steps { first: Slot(end.saturating_sub(count * length)), slots_per_step: length, count }
    }

    pub fn end(self) -> Slot {
        self.first.plus(self.count * self.slots_per_step)
    }

    pub fn seconds(self) -> i64 {
        i64::from(self.slots_per_step) * SLOT_SECONDS
    }

    /// Steps of this length are numbered from the beginning of time: the number of the first one.
    pub fn first_number(self) -> u32 {
        self.first.0 / self.slots_per_step.max(1)
    }

    fn position(self, slot: Slot) -> Option<usize> {
        let step = slot.0.checked_sub(self.first.0)? / self.slots_per_step;
        (step < self.count).then(|| usize::try_from(step).unwrap_or(usize::MAX))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// Of a gauge the sum, of a counter the newest count.
    value: f64,
    weight: u32,
    /// Of the newest count.
    slot: Slot,
    /// When within its hour the newest count was is not known.
    is_vague: bool,
}

/// What the samples of a step come to, as far as a line needs them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It has none.
    Nothing,
    /// Of a gauge, to three decimals.
    Mean(f64),
    /// The newest count, and its slot.
    Last(Slot, f64),
}

/// To three decimals, and zero without a sign.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0 + 0.0
}

/// One node's line while it is being gathered.
#[derive(Debug, Clone)]
pub struct Line {
    metric: Metric,
    steps: Steps,
    gathered: Vec<Step>,
}

impl Line {
    pub fn new(metric: Metric, steps: Steps) -> Line {
        Line { metric, steps, gathered: vec![Step::default(); usize::try_from(steps.count).unwrap_or(0)] }
    }

    /// A sample, or the mean of `weight` samples that begin at `slot`, in any order.
    pub fn push(&mut self, slot: Slot, weight: u32, sample: &Sample) {
        if let Some(value) = self.metric.of(sample) {
            self.push_value(slot, weight, value);
        }
    }

    /// The same of what `Metric::of` says of it.
    pub fn push_value(&mut self, slot: Slot, weight: u32, value: f64) {
        self.gather(slot, weight, value, false);
    }

    /// An hour that is rolled up, of so many samples. Its counter is its last count, and nobody kept when that was: it stands for the end of the hour. With `missing` samples less than an
    /// hour has, the last may be that many slots older, and rates over a step are wrong by as large a share of it. Up to a tenth of a step that is left so, which is what an agent that
    /// misses some now and then comes to; beyond, the count is taken for no rate.
    pub fn push_hour(&mut self, first: Slot, samples: u32, value: f64) {
        if self.metric.is_counter() {
            let missing = SLOTS_PER_HOUR.saturating_sub(samples);
            self.gather(first.plus(SLOTS_PER_HOUR - 1), samples, value, missing * 10 > self.steps.slots_per_step);
        } else {
            self.gather(first, samples, value, false);
        }
    }

    fn gather(&mut self, slot: Slot, weight: u32, value: f64, is_vague: bool) {
        let Some(step) = self.steps.position(slot).and_then(|at| self.gathered.get_mut(at)) else { return };
        if !self.metric.is_counter() {
            step.value += value * f64::from(weight);
        } else if step.weight == 0 || step.slot <= slot {
            (step.value, step.slot, step.is_vague) = (value, slot, is_vague);
        }
        step.weight = step.weight.saturating_add(weight);
    }

    /// What the step at this place comes to so far.
    pub fn outcome(&self, at: usize) -> Outcome {
        match self.gathered.get(at).filter(|step| step.weight > 0) {
            None => Outcome::Nothing,
            Some(step) if self.metric.is_counter() => Outcome::Last(step.slot, step.value),
            Some(step) => Outcome::Mean(rounded(step.value / f64::from(step.weight))),
        }
    }

    /// The step at this place comes to what `outcome` said of it before.
    pub fn put(&mut self, at: usize, outcome: Outcome) {
        let Some(step) = self.gathered.get_mut(at) else { return };
        *step = match outcome {
            Outcome::Nothing => Step::default(),
            Outcome::Mean(value) => Step { value, weight: 1, ..Step::default() },
            Outcome::Last(slot, value) => Step { value, weight: 1, slot, is_vague: false },
        };
    }

    /// A value per step, to three decimals; null where nothing is known. Counters become rates between steps, over those of which no count has a time; a counter that fell was started
    /// anew.
    pub fn finish(self) -> Vec<Option<f64>> {
        let mut before: Option<(Slot, f64)> = None;
        let mut face = |at: usize| match self.outcome(at) {
            Outcome::Nothing => None,
            Outcome::Mean(mean) => Some(mean),
            Outcome::Last(_, count) if self.is_vague(at) => {
                before = before.filter(|(_, earlier)| count >= *earlier);
                None
            }
            Outcome::Last(slot, count) => {
                let (since, earlier) = before.replace((slot, count))?;
                let seconds = f64::from(slot.0 - since.0) * 30.0;
                (seconds > 0.0 && count >= earlier).then(|| rounded((count - earlier) / seconds))
            }
        };
        (0..self.gathered.len()).map(&mut face).collect()
    }

    fn is_vague(&self, at: usize) -> bool {
        self.gathered.get(at).is_some_and(|step| step.is_vague)
    }
}

/// What several lines come to at one step; nothing where none of them knows anything.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Aggregate {
    pub sum: Option<f64>,
    pub mean: Option<f64>,
    /// The lowest value that 95 % of the lines do not exceed.
    pub p95: Option<f64>,
    /// How many lines are behind it.
    pub members: u32,
}

impl Aggregate {
    fn of(mut known: Vec<f64>) -> Aggregate {
        let members = u32::try_from(known.len()).unwrap_or(u32::MAX);
        if known.is_empty() {
            return Aggregate::default();
        }
        let sum: f64 = known.iter().sum();
        let at = (known.len() * 95).div_ceil(100).saturating_sub(1);
        let (_, p95, _) = known.select_nth_unstable_by(at, f64::total_cmp);
        Aggregate { sum: Some(rounded(sum)), mean: Some(rounded(sum / f64::from(members))), p95: Some(rounded(*p95)), members }
    }
}

/// Of what is known at each step.
pub fn aggregates(lines: &[Vec<Option<f64>>], count: usize) -> Vec<Aggregate> {
    (0..count).map(|step| Aggregate::of(lines.iter().filter_map(|line| line.get(step).copied().flatten()).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_aligned_and_end_with_the_present_slot() {
        let steps = Steps::ending(Slot(1_007), 100, 10);
        assert_eq!((steps.first, steps.count, steps.end()), (Slot(910), 10, Slot(1_010)));
        assert_eq!((steps.position(Slot(909)), steps.position(Slot(919)), steps.position(Slot(1_010))), (None, Some(0), None));
    }

    #[test]
    fn gauges_are_means_and_counters_rates() {
        let steps = Steps::ending(Slot(39), 40, 10);
        let sample = |usage: f64, count: u64| {
            let mut sample = Sample::default();
            (sample.cpu.usage_percent, sample.network.total_bytes_in) = (Some(usage), Some(count));
            sample
        };
        let line = |metric| {
            let mut line = Line::new(metric, steps);
            for (slot, weight, usage, count) in
                [(5, 1, 10.0, 600), (1, 1, 20.0, 0), (15, 3, 30.0, 900), (16, 1, 10.0, 1_590), (35, 1, 1.0, 7)]
            {
                line.push(Slot(slot), weight, &sample(usage, count));
            }
            line.finish()
        };
        assert_eq!(line(Metric::Cpu), [Some(15.0), Some(25.0), None, Some(1.0)]);
        assert_eq!(line(Metric::NetworkIn), [None, Some(3.0), None, None], "990 bytes in 11 slots, then started anew");
        assert_eq!(line(Metric::Temperature), [None; 4]);
        let both = aggregates(&[line(Metric::Cpu), vec![Some(5.0), None, None, None]], 4);
        let of = |sum: f64, mean, p95, members| Aggregate { sum: Some(sum), mean: Some(mean), p95: Some(p95), members };
        assert_eq!(both, [of(20.0, 10.0, 15.0, 2), of(25.0, 25.0, 25.0, 1), Aggregate::default(), of(1.0, 1.0, 1.0, 1)]);
        let hundred: Vec<Vec<Option<f64>>> = (1..=100u32).rev().map(|n| vec![Some(f64::from(n))]).collect();
        assert_eq!(aggregates(&hundred, 1), [of(5_050.0, 50.5, 95.0, 100)]);
        assert_eq!((percent(Some(1), Some(4)), percent(Some(1), Some(0))), (Some(25.0), None));
    }

    #[test]
    fn a_rate_is_between_counts_whose_times_are_known() {
        const HOUR: u32 = SLOTS_PER_HOUR;
        // 1,000 bytes a slot, at the last sample of an hour that begins with its first slot.
        let rates = |slots_per_step: u32, hours: &[(u32, f64)]| {
            let mut line = Line::new(Metric::NetworkIn, Steps { first: Slot(0), slots_per_step, count: 6 * HOUR / slots_per_step });
            (0..).zip(hours).filter(|(_, (samples, _))| *samples > 0).for_each(|(hour, (samples, count))| {
                line.push_hour(Slot(hour * HOUR), *samples, *count * 1_000.0);
            });
            line.finish()
        };
        let steady = Some(33.333);
        assert_eq!(rates(HOUR, &[(120, 120.0), (119, 240.0), (118, 360.0)])[..3], [None, steady, steady], "some are missed now and then");
        // The last twelve are missing, which is the most: a tenth less, and then a tenth more.
        assert_eq!(rates(HOUR, &[(120, 120.0), (108, 228.0), (120, 360.0)])[1..3], [Some(30.0), Some(36.667)]);
        assert_eq!(rates(HOUR, &[(120, 120.0), (107, 227.0), (120, 360.0), (120, 480.0)])[1..4], [None, steady, steady], "over both hours");
        assert_eq!(rates(HOUR, &[(30, 120.0), (120, 240.0), (60, 300.0), (0, 0.0), (120, 600.0)])[..5], [None, None, None, None, steady]);
        // Started anew in an hour that is not whole: what comes after is no rate with what was before, though it is more.
        assert_eq!(rates(HOUR, &[(120, 20.0), (100, 10.0), (120, 130.0), (120, 250.0)])[1..4], [None, None, steady]);
        // Of a longer step so many are a smaller share.
        assert_eq!(rates(3 * HOUR, &[(120, 120.0), (120, 240.0), (84, 360.0), (120, 480.0), (120, 600.0), (83, 720.0)]), [None, None]);
        assert_eq!(rates(3 * HOUR, &[(120, 120.0), (120, 240.0), (84, 360.0), (10, 480.0), (10, 600.0), (84, 720.0)]), [None, steady]);
        let mut gauge = Line::new(Metric::Cpu, Steps { first: Slot(0), slots_per_step: HOUR, count: 1 });
        gauge.push_hour(Slot(0), 3, 50.0);
        assert_eq!(gauge.finish(), [Some(50.0)], "a mean is of what there is");
    }
}
