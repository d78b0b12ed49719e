//! Measurements over time: the samples of slots gathered into buckets. A gauge becomes its mean, a counter and what hardly changes keep the
//! last value, and what no sample of a bucket has stays absent.
//!
//! Must not know where samples come from.

use serde::{Deserialize, Serialize};

use super::metrics::{Cpu, Disk, Gpu, Memory, Network, Sample};
use super::time::Slot;

/// Length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Granularity {
    #[serde(rename = "30s")]
    HalfMinute,
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    QuarterHour,
    #[serde(rename = "1h")]
    Hour,
}

impl Granularity {
    pub const ALL: [Granularity; 5] =
        [Granularity::HalfMinute, Granularity::Minute, Granularity::FiveMinutes, Granularity::QuarterHour, Granularity::Hour];

    /// Slots of a bucket.
    pub fn slots(self) -> u32 {
        match self {
            Granularity::HalfMinute => 1,
            Granularity::Minute => 2,
            Granularity::FiveMinutes => 10,
            Granularity::QuarterHour => 30,
            Granularity::Hour => 120,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Granularity::HalfMinute => "30s",
            Granularity::Minute => "1m",
            Granularity::FiveMinutes => "5m",
            Granularity::QuarterHour => "15m",
            Granularity::Hour => "1h",
        }
    }

    /// First slot of the bucket that holds `slot`; buckets are aligned to unix time, so that two queries cut alike.
    pub fn bucket(self, slot: Slot) -> Slot {
        Slot(slot.0 - slot.0 % self.slots())
    }

    /// Buckets that the slots of `[from, until)` touch.
    pub fn buckets(self, from: Slot, until: Slot) -> u32 {
        if until <= from {
            return 0;
        }
        (self.bucket(until.minus(1)).0 - self.bucket(from).0) / self.slots() + 1
    }

    /// The finest one with at most `limit` buckets in `[from, until)`.
    pub fn finest(from: Slot, until: Slot, limit: u32) -> Option<Granularity> {
        Granularity::ALL.into_iter().find(|granularity| granularity.buckets(from, until) <= limit)
    }
}

/// What the samples of one bucket come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// First slot of the bucket.
    pub slot: Slot,
    /// Some of it came after its slot had closed.
    pub late: bool,
    pub sample: Sample,
}

/// Gathers samples that are pushed in slot order. Buckets without samples are left out.
#[derive(Debug)]
pub struct Series {
    granularity: Granularity,
    done: Vec<Bucket>,
    /// The bucket that is being filled; at most one hour of samples.
    slot: Slot,
    late: bool,
    samples: Vec<Sample>,
}

impl Series {
    pub fn new(granularity: Granularity) -> Series {
        Series { granularity, done: Vec::new(), slot: Slot(0), late: false, samples: Vec::new() }
    }

    pub fn push(&mut self, slot: Slot, late: bool, sample: Sample) {
        let bucket = self.granularity.bucket(slot);
        if bucket != self.slot {
            self.close();
            self.slot = bucket;
        }
        self.late |= late;
        self.samples.push(sample);
    }

    pub fn finish(mut self) -> Vec<Bucket> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        let late = std::mem::take(&mut self.late);
        let samples = std::mem::take(&mut self.samples);
        if !samples.is_empty() {
            self.done.push(Bucket { slot: self.slot, late, sample: aggregate(&samples) });
        }
    }
}

/// `samples` in slot order.
fn aggregate(samples: &[Sample]) -> Sample {
    let mean = |of: fn(&Sample) -> Option<f64>| mean(samples.iter().map(of));
    let mean_whole = |of: fn(&Sample) -> Option<u64>| mean_whole(samples.iter().map(of));
    let last = |of: fn(&Sample) -> Option<u64>| samples.iter().rev().find_map(of);
    let has_gpu = samples.iter().any(|s| s.gpu.is_some());
    Sample {
        cpu: Cpu {
            usage_percent: mean(|s| s.cpu.usage_percent),
            cores: samples.iter().rev().find_map(|s| s.cpu.cores),
            frequency_mhz: mean(|s| s.cpu.frequency_mhz),
            load_average: mean_load(samples),
            temperature_celsius: mean(|s| s.cpu.temperature_celsius),
        },
        memory: Memory {
            total_bytes: last(|s| s.memory.total_bytes),
            used_bytes: mean_whole(|s| s.memory.used_bytes),
            free_bytes: mean_whole(|s| s.memory.free_bytes),
            cached_bytes: mean_whole(|s| s.memory.cached_bytes),
            swap_total_bytes: last(|s| s.memory.swap_total_bytes),
            swap_used_bytes: mean_whole(|s| s.memory.swap_used_bytes),
        },
        disk: Disk {
            total_bytes: last(|s| s.disk.total_bytes),
            used_bytes: mean_whole(|s| s.disk.used_bytes),
            free_bytes: mean_whole(|s| s.disk.free_bytes),
            read_iops: mean_whole(|s| s.disk.read_iops),
            write_iops: mean_whole(|s| s.disk.write_iops),
            read_throughput_mbps: mean(|s| s.disk.read_throughput_mbps),
            write_throughput_mbps: mean(|s| s.disk.write_throughput_mbps),
        },
        network: Network {
            interfaces: samples
                .iter()
                .rev()
                .find(|s| !s.network.interfaces.is_empty())
                .map_or_else(Vec::new, |s| s.network.interfaces.clone()),
            total_bytes_in: last(|s| s.network.total_bytes_in),
            total_bytes_out: last(|s| s.network.total_bytes_out),
            packets_in: last(|s| s.network.packets_in),
            packets_out: last(|s| s.network.packets_out),
            errors_in: last(|s| s.network.errors_in),
            errors_out: last(|s| s.network.errors_out),
        },
        gpu: has_gpu.then(|| Gpu {
            usage_percent: mean(|s| s.gpu.as_ref()?.usage_percent),
            memory_used_bytes: mean_whole(|s| s.gpu.as_ref()?.memory_used_bytes),
            memory_total_bytes: last(|s| s.gpu.as_ref()?.memory_total_bytes),
            temperature_celsius: mean(|s| s.gpu.as_ref()?.temperature_celsius),
        }),
    }
}

/// Of what is present, to three decimals: samples have no more.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values.flatten() {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count) * 1_000.0).round() / 1_000.0)
}

/// Of what is present, to the nearest whole, half up.
fn mean_whole(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let (mut sum, mut count) = (0u128, 0u128);
    for value in values.flatten() {
        sum += u128::from(value);
        count += 1;
    }
    if count == 0 { None } else { u64::try_from((2 * sum + count) / (2 * count)).ok() }
}

fn mean_load(samples: &[Sample]) -> Option<[f64; 3]> {
    let minutes = |i: usize| mean(samples.iter().map(|s| s.cpu.load_average.map(|load| load[i])));
    Some([minutes(0)?, minutes(1)?, minutes(2)?])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_aligned_and_counted() {
        let g = Granularity::FiveMinutes;
        assert_eq!((g.bucket(Slot(19)), g.bucket(Slot(20))), (Slot(10), Slot(20)));
        for (from, until, buckets) in [(10, 20, 1), (10, 21, 2), (19, 21, 2), (19, 20, 1), (20, 20, 0), (21, 20, 0)] {
            assert_eq!(g.buckets(Slot(from), Slot(until)), buckets, "{from}..{until}");
        }
    }

    #[test]
    fn the_finest_granularity_that_fits_is_taken() {
        let finest = |slots: u32| Granularity::finest(Slot(1_200), Slot(1_200 + slots), 1_000);
        assert_eq!(finest(1_000), Some(Granularity::HalfMinute));
        assert_eq!(finest(1_001), Some(Granularity::Minute));
        assert_eq!(finest(2_880), Some(Granularity::FiveMinutes));
        assert_eq!(finest(7 * 2_880), Some(Granularity::QuarterHour));
        assert_eq!(finest(120_000), Some(Granularity::Hour));
        assert_eq!(finest(120_001), None);
    }

    #[test]
    fn gauges_are_means_and_counters_their_last_value() {
        let mut series = Series::new(Granularity::FiveMinutes);
        let sample = |usage: Option<f64>, used: Option<u64>, total_in: Option<u64>| Sample {
            cpu: Cpu { usage_percent: usage, load_average: usage.map(|u| [u, 1.0, 2.0]), ..Cpu::default() },
            memory: Memory { used_bytes: used, ..Memory::default() },
            network: Network { total_bytes_in: total_in, ..Network::default() },
            ..Sample::default()
        };
        series.push(Slot(10), false, sample(Some(10.0), Some(1), Some(100)));
        series.push(Slot(11), true, sample(None, Some(2), Some(200)));
        series.push(Slot(19), false, sample(Some(21.0), None, None));
        series.push(Slot(40), false, Sample::default());
        let buckets = series.finish();
        assert_eq!(buckets.iter().map(|b| (b.slot, b.late)).collect::<Vec<_>>(), [(Slot(10), true), (Slot(40), false)]);
        let first = &buckets[0].sample;
        assert_eq!((first.cpu.usage_percent, first.cpu.load_average), (Some(15.5), Some([15.5, 1.0, 2.0])));
        assert_eq!((first.memory.used_bytes, first.network.total_bytes_in), (Some(2), Some(200)));
        assert_eq!(first.memory.free_bytes, None);
        assert_eq!(buckets[1].sample, Sample::default(), "absent stays absent");
    }

    proptest! {
        #[test]
        fn a_series_is_what_a_naive_grouping_gives(
            points in prop::collection::btree_map(0u32..2_000, (prop::option::of(0u32..1_000), prop::option::of(0u64..1_000), any::<bool>()), 0..200),
            at in 0usize..5,
        ) {
            let granularity = Granularity::ALL[at];
            let mut series = Series::new(granularity);
            let mut naive: BTreeMap<u32, Vec<_>> = BTreeMap::new();
            for (slot, (usage, bytes, late)) in &points {
                let mut sample = Sample::default();
                sample.cpu.usage_percent = usage.map(|u| f64::from(u) / 10.0);
                sample.disk.used_bytes = *bytes;
                sample.network.errors_in = *bytes;
                series.push(Slot(*slot), *late, sample);
                naive.entry(slot / granularity.slots()).or_default().push((*usage, *bytes, *late));
            }
            let buckets = series.finish();
            prop_assert_eq!(buckets.len(), naive.len());
            for (bucket, (number, of_bucket)) in buckets.iter().zip(&naive) {
                prop_assert_eq!(bucket.slot.0, number * granularity.slots());
                prop_assert_eq!(bucket.late, of_bucket.iter().any(|(_, _, late)| *late));
                let usages: Vec<f64> = of_bucket.iter().filter_map(|(u, _, _)| u.map(f64::from)).collect();
                match bucket.sample.cpu.usage_percent {
                    None => prop_assert!(usages.is_empty()),
                    Some(mean) => prop_assert!((mean - usages.iter().sum::<f64>() / 10.0 / usages.len() as f64).abs() < 0.000_6),
                }
                let bytes: Vec<u64> = of_bucket.iter().filter_map(|(_, b, _)| *b).collect();
                prop_assert_eq!(bucket.sample.network.errors_in, bytes.last().copied());
                match bucket.sample.disk.used_bytes {
                    None => prop_assert!(bytes.is_empty()),
                    Some(mean) => {
                        let exact = bytes.iter().sum::<u64>() as f64 / bytes.len() as f64;
                        prop_assert!((mean as f64 - exact).abs() <= 0.5);
                    }
                }
            }
        }
    }
}
