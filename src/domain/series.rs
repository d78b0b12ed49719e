//! Measurements over time: the samples of slots gathered into buckets. A gauge becomes its mean, a counter and what hardly changes keep the
//! last value, and what no sample of a bucket has stays absent.
//!
//! Must not know where samples come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::Sample;
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
    #[serde(rename = "3h")]
    ThreeHours,
    #[serde(rename = "6h")]
    SixHours,
}

/// Slots of an hour: what roll-ups are made of.
pub const SLOTS_PER_HOUR: u32 = 120;

impl Granularity {
    pub const ALL: [Granularity; 7] = [
        Granularity::HalfMinute,
        Granularity::Minute,
        Granularity::FiveMinutes,
        Granularity::QuarterHour,
        Granularity::Hour,
        Granularity::ThreeHours,
        Granularity::SixHours,
    ];

    /// Slots of a bucket.
    pub fn slots(self) -> u32 {
        match self {
            Granularity::HalfMinute => 1,
            Granularity::Minute => 2,
            Granularity::FiveMinutes => 10,
            Granularity::QuarterHour => 30,
            Granularity::Hour => SLOTS_PER_HOUR,
            Granularity::ThreeHours => 3 * SLOTS_PER_HOUR,
            Granularity::SixHours => 6 * SLOTS_PER_HOUR,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Granularity::HalfMinute => "30s",
            Granularity::Minute => "1m",
            Granularity::FiveMinutes => "5m",
            Granularity::QuarterHour => "15m",
            Granularity::Hour => "1h",
            Granularity::ThreeHours => "3h",
            Granularity::SixHours => "6h",
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

/// What has a lowest and a highest beside its mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    CpuUsagePercent,
    MemoryUsedBytes,
    TemperatureCelsius,
    /// Of one minute.
    LoadAverage,
    MemoryCachedBytes,
    SwapUsedBytes,
    DiskUsedBytes,
    ReadIops,
    WriteIops,
    ReadThroughputMbps,
    WriteThroughputMbps,
    GpuUsagePercent,
    GpuMemoryUsedBytes,
    GpuTemperatureCelsius,
    FrequencyMhz,
}

/// Lowest and highest of gauges, as far as they are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extremes(BTreeMap<Gauge, (f64, f64)>);

impl Extremes {
    pub fn get(&self, gauge: Gauge) -> Option<(f64, f64)> {
        self.0.get(&gauge).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Gauge, (f64, f64))> {
        self.0.iter().map(|(gauge, bounds)| (*gauge, *bounds))
    }
}

impl FromIterator<(Gauge, (f64, f64))> for Extremes {
    fn from_iter<I: IntoIterator<Item = (Gauge, (f64, f64))>>(all: I) -> Extremes {
        Extremes(all.into_iter().collect())
    }
}

/// What the samples of a stretch of time come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Samples that it is made of.
    pub count: u32,
    /// Some of it came after its slot had closed.
    pub late: bool,
    pub sample: Sample,
    /// Empty for buckets of less than an hour: nothing draws theirs.
    pub extremes: Extremes,
}

/// What the samples of one bucket come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// First slot of the bucket.
    pub slot: Slot,
    pub summary: Summary,
}

#[cfg(test)]
pub mod model;
