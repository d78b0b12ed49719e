//! What buckets come to, sample by sample: the naive model that `storage::hot::fold` is held against.

use super::*;
use crate::domain::metrics::{Cpu, Disk, Gpu, Memory, Network};

impl Gauge {
    pub const ALL: [Gauge; 15] = [
        Gauge::CpuUsagePercent,
        Gauge::MemoryUsedBytes,
        Gauge::TemperatureCelsius,
        Gauge::LoadAverage,
        Gauge::MemoryCachedBytes,
        Gauge::SwapUsedBytes,
        Gauge::DiskUsedBytes,
        Gauge::ReadIops,
        Gauge::WriteIops,
        Gauge::ReadThroughputMbps,
        Gauge::WriteThroughputMbps,
        Gauge::GpuUsagePercent,
        Gauge::GpuMemoryUsedBytes,
        Gauge::GpuTemperatureCelsius,
        Gauge::FrequencyMhz,
    ];

    pub fn of(self, sample: &Sample) -> Option<f64> {
        let (cpu, memory, disk, gpu) = (&sample.cpu, &sample.memory, &sample.disk, sample.gpu.as_ref());
        match self {
            Gauge::CpuUsagePercent => cpu.usage_percent,
            Gauge::MemoryUsedBytes => memory.used_bytes.map(wide),
            Gauge::TemperatureCelsius => cpu.temperature_celsius,
            Gauge::LoadAverage => cpu.load_average.map(|[minute, ..]| minute),
            Gauge::MemoryCachedBytes => memory.cached_bytes.map(wide),
            Gauge::SwapUsedBytes => memory.swap_used_bytes.map(wide),
            Gauge::DiskUsedBytes => disk.used_bytes.map(wide),
            Gauge::ReadIops => disk.read_iops.map(wide),
            Gauge::WriteIops => disk.write_iops.map(wide),
            Gauge::ReadThroughputMbps => disk.read_throughput_mbps,
            Gauge::WriteThroughputMbps => disk.write_throughput_mbps,
            Gauge::GpuUsagePercent => gpu?.usage_percent,
            Gauge::GpuMemoryUsedBytes => gpu?.memory_used_bytes.map(wide),
            Gauge::GpuTemperatureCelsius => gpu?.temperature_celsius,
            Gauge::FrequencyMhz => cpu.frequency_mhz,
        }
    }
}

impl Extremes {
    pub fn of(sample: &Sample) -> Extremes {
        Gauge::ALL.into_iter().filter_map(|gauge| gauge.of(sample).map(|value| (gauge, (value, value)))).collect()
    }

    pub fn and(mut self, other: &Extremes) -> Extremes {
        for (gauge, (low, high)) in other.iter() {
            let bounds = self.0.entry(gauge).or_insert((low, high));
            *bounds = (bounds.0.min(low), bounds.1.max(high));
        }
        self
    }
}

/// Exact up to 2^53, as charts need it.
#[expect(clippy::cast_precision_loss, reason = "a chart shows three digits")]
fn wide(value: u64) -> f64 {
    value as f64
}

impl Summary {
    pub fn of(sample: Sample, late: bool) -> Summary {
        Summary { count: 1, late, extremes: Extremes::of(&sample), sample }
    }

    /// One summary of several, in order of time; None of none. Each counts by the samples it is made of.
    pub fn merge(parts: &[Summary]) -> Option<Summary> {
        let _ = parts.first()?;
        Some(Summary {
            count: parts.iter().fold(0, |sum, part| sum.saturating_add(part.count)),
            late: parts.iter().any(|part| part.late),
            sample: aggregate(parts),
            extremes: extremes(parts),
        })
    }
}

/// Gathers what is pushed in slot order. Buckets without samples are left out.
#[derive(Debug)]
pub struct Series {
    granularity: Granularity,
    done: Vec<Bucket>,
    /// The bucket that is being filled; at most six hours of samples.
    slot: Slot,
    parts: Vec<Summary>,
}

impl Series {
    pub fn new(granularity: Granularity) -> Series {
        Series { granularity, done: Vec::new(), slot: Slot(0), parts: Vec::new() }
    }

    pub fn push(&mut self, slot: Slot, part: Summary) {
        let bucket = self.granularity.bucket(slot);
        if bucket != self.slot {
            self.close();
            self.slot = bucket;
        }
        self.parts.push(part);
    }

    pub fn finish(mut self) -> Vec<Bucket> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if let Some(summary) = Summary::merge(&std::mem::take(&mut self.parts)) {
            self.done.push(Bucket { slot: self.slot, summary });
        }
    }
}

/// Nothing is said of a gauge that some part measured without keeping how low and how high it was.
fn extremes(parts: &[Summary]) -> Extremes {
    let all = parts.iter().fold(Extremes::default(), |all, part| all.and(&part.extremes));
    let is_known = |gauge: Gauge| parts.iter().all(|part| gauge.of(&part.sample).is_none() || part.extremes.get(gauge).is_some());
    all.iter().filter(|(gauge, _)| is_known(*gauge)).collect()
}

/// `parts` in order of time.
fn aggregate(parts: &[Summary]) -> Sample {
    let samples = || parts.iter().map(|part| &part.sample);
    let mean = |of: fn(&Sample) -> Option<f64>| mean(parts.iter().map(|part| (part.count, of(&part.sample))));
    let mean_whole = |of: fn(&Sample) -> Option<u64>| mean_whole(parts.iter().map(|part| (part.count, of(&part.sample))));
    let last = |of: fn(&Sample) -> Option<u64>| samples().rev().find_map(of);
    let has_gpu = samples().any(|s| s.gpu.is_some());
    Sample {
        cpu: Cpu {
            usage_percent: mean(|s| s.cpu.usage_percent),
            cores: samples().rev().find_map(|s| s.cpu.cores),
            frequency_mhz: mean(|s| s.cpu.frequency_mhz),
            load_average: mean_load(parts),
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
            interfaces: samples().rev().find(|s| !s.network.interfaces.is_empty()).map_or_else(Vec::new, |s| s.network.interfaces.clone()),
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

/// Of what is present, by weight, to three decimals: samples have no more.
fn mean(values: impl Iterator<Item = (u32, Option<f64>)>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for (weight, value) in values {
        if let Some(value) = value {
            sum += value * f64::from(weight);
            count += f64::from(weight);
        }
    }
    (count > 0.0).then(|| (sum / count * 1_000.0).round() / 1_000.0)
}

/// Of what is present, by weight, to the nearest whole, half up.
fn mean_whole(values: impl Iterator<Item = (u32, Option<u64>)>) -> Option<u64> {
    let (mut sum, mut count) = (0u128, 0u128);
    for (weight, value) in values {
        if let Some(value) = value {
            sum += u128::from(value) * u128::from(weight);
            count += u128::from(weight);
        }
    }
    if count == 0 { None } else { u64::try_from((2 * sum + count) / (2 * count)).ok() }
}

fn mean_load(parts: &[Summary]) -> Option<[f64; 3]> {
    let minutes = |i: usize| mean(parts.iter().map(|part| (part.count, part.sample.cpu.load_average.map(|load| load[i]))));
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
        assert_eq!(finest(120_001), Some(Granularity::ThreeHours));
        assert_eq!(finest(90 * 24 * 120), Some(Granularity::ThreeHours));
        assert_eq!(finest(719_520), Some(Granularity::SixHours));
        assert_eq!(finest(719_521), None);
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
        series.push(Slot(10), Summary::of(sample(Some(10.0), Some(1), Some(100)), false));
        series.push(Slot(11), Summary::of(sample(None, Some(2), Some(200)), true));
        series.push(Slot(19), Summary::of(sample(Some(21.0), None, None), false));
        series.push(Slot(40), Summary::of(Sample::default(), false));
        let buckets = series.finish();
        assert_eq!(buckets.iter().map(|b| (b.slot, b.summary.late)).collect::<Vec<_>>(), [(Slot(10), true), (Slot(40), false)]);
        let first = &buckets[0].summary.sample;
        assert_eq!((first.cpu.usage_percent, first.cpu.load_average), (Some(15.5), Some([15.5, 1.0, 2.0])));
        assert_eq!((first.memory.used_bytes, first.network.total_bytes_in), (Some(2), Some(200)));
        assert_eq!(first.memory.free_bytes, None);
        assert_eq!(buckets[1].summary.sample, Sample::default(), "absent stays absent");
    }

    #[test]
    fn a_summary_of_summaries_is_one_of_their_samples() {
        let sample = |usage: f64, used: u64| {
            let mut sample = Sample::default();
            sample.cpu.usage_percent = Some(usage);
            sample.memory.used_bytes = Some(used);
            sample.network.total_bytes_in = Some(used);
            Summary::of(sample, false)
        };
        let all = [sample(10.0, 5), sample(20.0, 7), sample(90.0, 9)];
        let two = Summary::merge(&all[..2]).unwrap();
        let whole = Summary::merge(&[two, all[2].clone()]).unwrap();
        assert_eq!(Some(whole.clone()), Summary::merge(&all));
        assert_eq!((whole.count, whole.sample.cpu.usage_percent, whole.sample.memory.used_bytes), (3, Some(40.0), Some(7)));
        let of = |gauge| whole.extremes.get(gauge);
        assert_eq!(
            (of(Gauge::CpuUsagePercent), of(Gauge::MemoryUsedBytes), of(Gauge::LoadAverage)),
            (Some((10.0, 90.0)), Some((5.0, 9.0)), None)
        );
        assert_eq!(Summary::merge(&[]), None);
    }

    proptest! {
        #[test]
        fn a_series_is_what_a_naive_grouping_gives(
            points in prop::collection::btree_map(0u32..2_000, (prop::option::of(0u32..1_000), prop::option::of(0u64..1_000), any::<bool>()), 0..200),
            at in 0usize..7,
        ) {
            let granularity = Granularity::ALL[at];
            let mut series = Series::new(granularity);
            let mut naive: BTreeMap<u32, Vec<_>> = BTreeMap::new();
            for (slot, (usage, bytes, late)) in &points {
                let mut sample = Sample::default();
                sample.cpu.usage_percent = usage.map(|u| f64::from(u) / 10.0);
                sample.disk.used_bytes = *bytes;
                sample.network.errors_in = *bytes;
                series.push(Slot(*slot), Summary::of(sample, *late));
                naive.entry(slot / granularity.slots()).or_default().push((*usage, *bytes, *late));
            }
            let buckets = series.finish();
            prop_assert_eq!(buckets.len(), naive.len());
            for (bucket, (number, of_bucket)) in buckets.iter().zip(&naive) {
                prop_assert_eq!(bucket.slot.0, number * granularity.slots());
                prop_assert_eq!(bucket.summary.late, of_bucket.iter().any(|(_, _, late)| *late));
                let usages: Vec<f64> = of_bucket.iter().filter_map(|(u, _, _)| u.map(f64::from)).collect();
                match bucket.summary.sample.cpu.usage_percent {
                    None => prop_assert!(usages.is_empty()),
                    Some(mean) => prop_assert!((mean - usages.iter().sum::<f64>() / 10.0 / usages.len() as f64).abs() < 0.000_6),
                }
                let bytes: Vec<u64> = of_bucket.iter().filter_map(|(_, b, _)| *b).collect();
                prop_assert_eq!(bucket.summary.sample.network.errors_in, bytes.last().copied());
                match bucket.summary.sample.disk.used_bytes {
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
