//! One metric of many nodes over the same steps of time, for charts that lay them over each other.

use serde::{Deserialize, Serialize};

use super::metrics::Sample;
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

    /// A sample, or the summary of `weight` samples that begins at `slot`, in any order.
    pub fn push(&mut self, slot: Slot, weight: u32, sample: &Sample) {
        if let Some(value) = self.metric.of(sample) {
            self.push_value(slot, weight, value);
        }
    }

    /// The same of what `Metric::of` says of it.
    pub fn push_value(&mut self, slot: Slot, weight: u32, value: f64) {
        let Some(step) = self.steps.position(slot).and_then(|at| self.gathered.get_mut(at)) else { return };
        if !self.metric.is_counter() {
            step.value += value * f64::from(weight);
        } else if step.weight == 0 || step.slot <= slot {
            (step.value, step.slot) = (value, slot);
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
            Outcome::Mean(value) => Step { value, weight: 1, slot: Slot(0) },
            Outcome::Last(slot, value) => Step { value, weight: 1, slot },
        };
    }

    /// A value per step, to three decimals; null where nothing is known. Counters become rates between steps; a counter that fell was started anew.
    pub fn finish(self) -> Vec<Option<f64>> {
        let mut before: Option<(Slot, f64)> = None;
        let mut face = |outcome: Outcome| match outcome {
            Outcome::Nothing => None,
            Outcome::Mean(mean) => Some(mean),
            Outcome::Last(slot, count) => {
                let (since, earlier) = before.replace((slot, count))?;
                let seconds = f64::from(slot.0 - since.0) * 30.0;
                (seconds > 0.0 && count >= earlier).then(|| rounded((count - earlier) / seconds))
            }
        };
        (0..self.gathered.len()).map(|at| face(self.outcome(at))).collect()
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
}
