//! Hours of one node as columns, what a day of a month is kept as. Columns of samples hold means, those of counters the last count. Behind them: of how many samples an hour is, and how
//! far its lowest and its highest are from the mean.

use std::collections::BTreeMap;

use super::hours::{HourEntry, first_slot, hour_of};
use super::sample::{CPU, DISK, GPU, LOAD, MEMORY, Quantised, TEMPERATURE, THROUGHPUT};
use crate::domain::chunk::{Columns, Row, Series};
use crate::domain::series::Summary;

/// Samples of an hour.
const COUNT: u16 = 63;
/// Of each of `BOUNDED` two columns: how far the lowest is below the mean, and how far the highest is above it.
const BOUNDS: u16 = 33;
/// Columns that may have a lowest and a highest. Places are for ever: what is written says the place.
const BOUNDED: [u16; 15] = [
    CPU,
    MEMORY + 1,
    TEMPERATURE,
    LOAD,
    MEMORY + 3,
    MEMORY + 5,
    DISK + 1,
    DISK + 3,
    DISK + 4,
    THROUGHPUT,
    THROUGHPUT + 1,
    GPU,
    GPU + 1,
    GPU + 3,
    CPU + 2,
];

/// Hours of one node, and whether something of them came late.
pub(in crate::storage) type Hours = BTreeMap<u32, (bool, HourEntry)>;

fn bounds_of(column: u16) -> Option<(u16, u16)> {
    let place = BOUNDED.iter().position(|bounded| *bounded == column)?;
    let lowest = BOUNDS + 2 * u16::try_from(place).ok()?;
    Some((lowest, lowest + 1))
}

/// Columns that have to be decoded for hours of `column`.
pub(in crate::storage) fn is_behind(is_wanted: impl Fn(u16) -> bool, column: u16) -> bool {
    column == COUNT
        || is_wanted(column)
        || BOUNDED.iter().any(|of| is_wanted(*of) && bounds_of(*of).is_some_and(|(low, high)| column == low || column == high))
}

fn at(columns: &Columns, column: u16, place: usize) -> Option<i64> {
    columns.values.get(&column)?.get(place).copied().flatten()
}

/// Samples of the hour at `place`.
pub(super) fn weight(columns: &Columns, place: usize) -> u32 {
    at(columns, COUNT, place).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// The lowest and the highest of a column in the hour at `place`.
pub(super) fn bounds(columns: &Columns, column: u16, place: usize) -> Option<(i64, i64)> {
    let (lowest, highest) = bounds_of(column)?;
    let mean = at(columns, column, place)?;
    Some((mean.wrapping_sub(at(columns, lowest, place)?), mean.wrapping_add(at(columns, highest, place)?)))
}

pub(in crate::storage) fn columns(hours: &Hours) -> Series {
    let mut series = Series::default();
    for (place, (hour, (late, entry))) in hours.iter().enumerate() {
        series.slots.push(first_slot(*hour));
        series.late.push(*late);
        let mut row = entry.sample.row(|_| 0);
        let mean = |row: &Row, column: u16| row.iter().find(|(of, _)| *of == column).map_or(0, |(_, mean)| *mean);
        let kept = [
            (CPU, entry.cpu.map(|(low, high)| (i64::from(low), i64::from(high)))),
            (MEMORY + 1, entry.memory.map(|(low, high)| (low.cast_signed(), high.cast_signed()))),
        ];
        for (column, (low, high)) in kept.into_iter().filter_map(|(column, bounds)| Some((column, bounds?))) {
            if let Some((lowest, highest)) = bounds_of(column) {
                let mean = mean(&row, column);
                row.extend([(lowest, mean.wrapping_sub(low)), (highest, high.wrapping_sub(mean))]);
            }
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
        let cpu = bounds(columns, CPU, place).and_then(|(low, high)| Some((u16::try_from(low).ok()?, u16::try_from(high).ok()?)));
        let memory = bounds(columns, MEMORY + 1, place).map(|(low, high)| (low.cast_unsigned(), high.cast_unsigned()));
        let sample = Quantised::from_row(&columns.row(place), &columns.names);
        HourEntry { count: u16::try_from(weight(columns, place)).unwrap_or(u16::MAX), sample, cpu, memory }
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
