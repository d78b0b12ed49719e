//! Hours of one node as columns, what a day of a month is kept as. Columns of samples hold means, those of counters the last count. Behind them: of how many samples an hour is, and how
//! far its lowest and its highest are from the mean.

use std::collections::BTreeMap;

use super::hours::{HourEntry, first_slot, hour_of};
use super::sample::{CPU, DISK, GPU, LOAD, MEMORY, Quantised, TEMPERATURE, THROUGHPUT};
use crate::domain::chunk::{Columns, Series};
use crate::domain::series::{Extremes, Gauge, Summary};

/// Samples of an hour.
const COUNT: u16 = 63;
/// Of each of `BOUNDED` two columns: how far the lowest is below the mean, and how far the highest is above it.
const BOUNDS: u16 = 33;
const PER_KIB: f64 = 1.0 / 1_024.0;
/// Gauges that have a lowest and a highest, their columns, and how many steps of the column are one of their unit. Places are for ever: what is written says the place.
pub(super) const BOUNDED: [(Gauge, u16, f64); 15] = [
    (Gauge::CpuUsagePercent, CPU, 10.0),
    (Gauge::MemoryUsedBytes, MEMORY + 1, PER_KIB),
    (Gauge::TemperatureCelsius, TEMPERATURE, 10.0),
    (Gauge::LoadAverage, LOAD, 100.0),
    (Gauge::MemoryCachedBytes, MEMORY + 3, PER_KIB),
    (Gauge::SwapUsedBytes, MEMORY + 5, PER_KIB),
    (Gauge::DiskUsedBytes, DISK + 1, PER_KIB),
    (Gauge::ReadIops, DISK + 3, 1.0),
    (Gauge::WriteIops, DISK + 4, 1.0),
    (Gauge::ReadThroughputMbps, THROUGHPUT, 1_000.0),
    (Gauge::WriteThroughputMbps, THROUGHPUT + 1, 1_000.0),
    (Gauge::GpuUsagePercent, GPU, 10.0),
    (Gauge::GpuMemoryUsedBytes, GPU + 1, PER_KIB),
    (Gauge::GpuTemperatureCelsius, GPU + 3, 10.0),
    (Gauge::FrequencyMhz, CPU + 2, 1.0),
];

/// Hours of one node, and whether something of them came late.
pub(in crate::storage) type Hours = BTreeMap<u32, (bool, HourEntry)>;

/// The columns of the bounds of what is in a column.
fn bounds_of(column: u16) -> Option<(u16, u16)> {
    let place = BOUNDED.iter().position(|(_, bounded, _)| *bounded == column)?;
    let lowest = BOUNDS + 2 * u16::try_from(place).ok()?;
    Some((lowest, lowest + 1))
}

/// Columns that have to be decoded for hours of the wanted ones.
pub(in crate::storage) fn is_behind(is_wanted: impl Fn(u16) -> bool, column: u16) -> bool {
    match column {
        COUNT => true,
        BOUNDS..COUNT => BOUNDED.get(usize::from((column - BOUNDS) / 2)).is_some_and(|(_, of, _)| is_wanted(*of)),
        _ => is_wanted(column),
    }
}

/// Lowest and highest in steps of their columns.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float ends at the bounds of the whole number")]
pub(super) fn in_steps(extremes: &Extremes) -> impl Iterator<Item = (Gauge, (i64, i64))> {
    let steps = |value: f64, per: f64| (value * per).round() as i64;
    BOUNDED
        .iter()
        .filter_map(move |(gauge, _, per)| extremes.get(*gauge).map(|(low, high)| (*gauge, (steps(low, *per), steps(high, *per)))))
}

/// The same as they are kept: beside the means.
pub(super) fn kept(sample: &Quantised, bounds: impl Iterator<Item = (Gauge, (i64, i64))>) -> Vec<(u8, i64, i64)> {
    let means = sample.row(|_| 0);
    let beside = |(gauge, (low, high)): (Gauge, (i64, i64))| {
        let place = BOUNDED.iter().position(|(of, ..)| *of == gauge)?;
        let (_, column, _) = BOUNDED.get(place)?;
        let (_, mean) = means.iter().find(|(of, _)| of == column)?;
        Some((u8::try_from(place).ok()?, mean.wrapping_sub(low), high.wrapping_sub(*mean)))
    };
    bounds.filter_map(beside).collect()
}

/// The same again.
pub(super) fn extremes(sample: &Quantised, kept: &[(u8, i64, i64)]) -> Extremes {
    let means = sample.row(|_| 0);
    let of = |(place, below, above): &(u8, i64, i64)| {
        let (gauge, column, per) = BOUNDED.get(usize::from(*place))?;
        let (_, mean) = means.iter().find(|(of, _)| of == column)?;
        Some((*gauge, (unit(mean.wrapping_sub(*below), *per), unit(mean.wrapping_add(*above), *per))))
    };
    kept.iter().filter_map(of).collect()
}

/// Steps of a column as what they stand for.
#[expect(clippy::cast_precision_loss, reason = "a chart shows three digits")]
pub(super) fn unit(steps: i64, per: f64) -> f64 {
    steps as f64 / per
}

fn at(columns: &Columns, column: u16, place: usize) -> Option<i64> {
    columns.values.get(&column)?.get(place).copied().flatten()
}

/// Samples of the hour at `place`.
pub(super) fn weight(columns: &Columns, place: usize) -> u32 {
    at(columns, COUNT, place).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// How far below and above the means of a column its lowest and highest are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    below: &'a [Option<i64>],
    above: &'a [Option<i64>],
}

impl Bounds<'_> {
    /// The lowest and the highest of the hour at `place`.
    pub fn around(self, mean: i64, place: usize) -> Option<(i64, i64)> {
        let at = |of: &[Option<i64>]| of.get(place).copied().flatten();
        Some((mean.wrapping_sub(at(self.below)?), mean.wrapping_add(at(self.above)?)))
    }
}

pub(super) fn bounds(columns: &Columns, column: u16) -> Option<Bounds<'_>> {
    let (below, above) = bounds_of(column)?;
    Some(Bounds { below: columns.values.get(&below)?, above: columns.values.get(&above)? })
}

pub(in crate::storage) fn columns(hours: &Hours) -> Series {
    let mut series = Series::default();
    for (place, (hour, (late, entry))) in hours.iter().enumerate() {
        series.slots.push(first_slot(*hour));
        series.late.push(*late);
        let mut row = entry.sample.row(|_| 0);
        for (place, below, above) in &entry.bounds {
            let lowest = BOUNDS + 2 * u16::from(*place);
            row.extend([(lowest, *below), (lowest + 1, *above)]);
        }
        row.push((COUNT, i64::from(entry.count)));
        series.columns.push(place, &row);
    }
    series.columns.finish(hours.len());
    series
}

/// The same again.
pub(in crate::storage) fn hours(series: &Series) -> Hours {
    let entry = |place: usize| {
        let columns = &series.columns;
        let kept = |(at_place, lowest): (u8, u16)| Some((at_place, at(columns, lowest, place)?, at(columns, lowest + 1, place)?));
        let bounds = (0..).zip((BOUNDS..COUNT).step_by(2)).filter_map(kept).collect();
        let means = columns.row(place).into_iter().filter(|(column, _)| *column < BOUNDS).collect();
        let sample = Quantised::from_row(&means, &columns.names);
        HourEntry { count: u16::try_from(weight(columns, place)).unwrap_or(u16::MAX), sample, bounds }
    };
    let late = |place: usize| series.late.get(place).copied().unwrap_or_default();
    series.slots.iter().enumerate().map(|(place, slot)| (hour_of(*slot), (late(place), entry(place)))).collect()
}

/// What hours come to, in their order.
pub(in crate::storage) fn summaries(series: &Series) -> impl Iterator<Item = (u32, Summary)> {
    hours(series).into_iter().map(|(hour, (late, entry))| (hour, entry.summary(late)))
}

/// Of both, each hour as that of more samples says; of as many, as `newer` says.
pub(in crate::storage) fn fuller(mut known: Hours, newer: Hours) -> Hours {
    for (hour, of_hour) in newer {
        if known.get(&hour).is_none_or(|(_, entry)| entry.count <= of_hour.1.count) {
            known.insert(hour, of_hour);
        }
    }
    known
}
