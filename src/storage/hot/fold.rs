//! What the samples of a stretch of time come to, column by column: what `domain::series::model` makes of the samples themselves, without making them.

use std::borrow::Cow;
use std::ops::Range;

use super::hour_columns;
use super::hours::hour_of;
use super::sample::{
    CPU, DISK, FIXED, GPU, HAS_GPU, INTERFACES, LOAD, MEMORY, MEMORY_LEFT, NETWORK, PER_INTERFACE, Parts, Quantised, TEMPERATURE,
    THROUGHPUT, left_free, left_of_memory,
};
use crate::domain::chunk::{Columns, Series};
use crate::domain::metrics::{Cpu, Disk, Gpu, Interface, Memory, Network, Sample};
use crate::domain::overlay::Metric;
use crate::domain::series::{Bucket, Extremes, Gauge, Granularity, Summary};
use crate::domain::time::Slot;

type Numbers<'a> = Cow<'a, [Option<i64>]>;

/// Columns that have to be decoded for the plain numbers of `number`.
fn needs(number: u16, column: u16) -> bool {
    let of_counter = |counter: u16| column >= INTERFACES && (column - INTERFACES) % PER_INTERFACE == 1 + counter;
    column == number
        || match number {
            FREE_MEMORY => [MEMORY, MEMORY + 1, MEMORY + 3, MEMORY_LEFT].contains(&column),
            FREE_DISK => [DISK, DISK + 1].contains(&column),
            NETWORK..GPU => of_counter(number - NETWORK),
            _ => false,
        }
}

const FREE_MEMORY: u16 = MEMORY + 2;
const FREE_DISK: u16 = DISK + 2;

/// The numbers of a fixed column as they were measured; None where the chunk has none. What is kept as what is left of others is put together again.
fn plain(columns: &Columns, number: u16) -> Option<Numbers<'_>> {
    let stored = |number: u16| columns.values.get(&number).map(Vec::as_slice);
    let at = |numbers: Option<&[Option<i64>]>, place: usize| numbers.and_then(|numbers| numbers.get(place).copied().flatten());
    let large = |number, place| at(stored(number), place).map(i64::cast_unsigned);
    match number {
        FREE_MEMORY => {
            let Some(left) = stored(MEMORY_LEFT) else { return stored(number).map(Cow::Borrowed) };
            let free = |(place, left): (usize, &Option<i64>)| match left {
                Some(left) => {
                    let of = [MEMORY, MEMORY + 1, MEMORY + 3].map(|number| large(number, place));
                    Some(left.wrapping_add(left_of_memory(of[0], of[1], of[2]).cast_signed()))
                }
                None => at(stored(number), place),
            };
            Some(Cow::Owned(left.iter().enumerate().map(free).collect()))
        }
        FREE_DISK => {
            let free = |(place, left): (usize, &Option<i64>)| {
                left.map(|left| left.wrapping_add(left_free(large(DISK, place), large(DISK + 1, place)).cast_signed()))
            };
            Some(Cow::Owned(stored(number)?.iter().enumerate().map(free).collect()))
        }
        NETWORK..GPU => {
            let mut totals = stored(number)?.to_vec();
            for (_, counts) in columns.values.range(INTERFACES..).filter(|(column, _)| needs(number, **column)) {
                for (total, count) in totals.iter_mut().zip(counts) {
                    *total = total.map(|total| total.wrapping_add(count.unwrap_or_default()));
                }
            }
            Some(Cow::Owned(totals))
        }
        _ => stored(number).map(Cow::Borrowed),
    }
}

/// Numbers of one column within a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    sum: i128,
    count: u32,
    last: Option<i64>,
    bounds: Option<(i64, i64)>,
    /// Of some of it nobody kept how low and how high it was.
    is_unbounded: bool,
}

impl Gathered {
    fn add(&mut self, numbers: &[Option<i64>]) {
        for number in numbers.iter().flatten() {
            self.sum += i128::from(*number);
            self.count += 1;
            self.last = Some(*number);
            let (low, high) = self.bounds.unwrap_or((*number, *number));
            self.bounds = Some((low.min(*number), high.max(*number)));
        }
    }

    /// What `weight` numbers come to; hours of an earlier release have no bounds of most gauges.
    fn add_mean(&mut self, mean: i64, weight: u32, bounds: Option<(i64, i64)>) {
        self.sum += i128::from(mean) * i128::from(weight);
        self.count = self.count.saturating_add(weight);
        self.last = Some(mean);
        match bounds {
            Some((low, high)) => {
                let (lowest, highest) = self.bounds.unwrap_or((low, high));
                self.bounds = Some((lowest.min(low), highest.max(high)));
            }
            None => self.is_unbounded = true,
        }
    }

    /// Of numbers in steps of 1/`per`, to three decimals.
    #[expect(clippy::cast_precision_loss, reason = "gauges have a few digits")]
    fn mean(&self, per: f64) -> Option<f64> {
        (self.count > 0).then(|| (self.sum as f64 / per / f64::from(self.count) * 1_000.0).round() / 1_000.0)
    }

    /// To the nearest whole, half up; each number stands for `unit`.
    fn mean_whole(&self, unit: i128) -> Option<u64> {
        let count = i128::from(self.count);
        let mean = (2 * self.sum * unit + count).checked_div(2 * count)?;
        u64::try_from(mean).ok()
    }

    fn known_bounds(&self) -> Option<(i64, i64)> {
        self.bounds.filter(|_| !self.is_unbounded)
    }

    fn last_large(&self) -> Option<u64> {
        self.last.map(i64::cast_unsigned)
    }
}

const KIB: i128 = 1_024;

/// One bucket while it is gathered.
#[derive(Debug)]
struct Open {
    slot: Slot,
    count: u32,
    late: bool,
    columns: Vec<Gathered>,
    /// Of the last sample that has any.
    interfaces: Vec<Interface>,
}

impl Open {
    fn new() -> Open {
        Open { slot: Slot(0), count: 0, late: false, columns: vec![Gathered::default(); FIXED], interfaces: Vec::new() }
    }

    /// The same room for the next bucket: its columns are a few kilobytes, and a chart has hundreds of buckets.
    fn begin(&mut self, slot: Slot) {
        self.columns.fill(Gathered::default());
        (self.slot, self.count, self.late) = (slot, 0, false);
        self.interfaces.clear();
    }

    fn of(&self, column: u16) -> &Gathered {
        const NONE: &Gathered = &Gathered { sum: 0, count: 0, last: None, bounds: None, is_unbounded: false };
        self.columns.get(usize::from(column)).unwrap_or(NONE)
    }

    fn extremes(&self) -> Extremes {
        let known = |(gauge, column, per): &(Gauge, u16, f64)| {
            let (low, high) = self.of(*column).known_bounds()?;
            Some((*gauge, (hour_columns::unit(low, *per), hour_columns::unit(high, *per))))
        };
        hour_columns::BOUNDED.iter().filter_map(known).collect()
    }

    fn bucket(&mut self, granularity: Granularity) -> Bucket {
        let interfaces = std::mem::take(&mut self.interfaces);
        let of = |column| self.of(column);
        let gauge = |column, per| of(column).mean(per);
        let kib = |column| of(column).mean_whole(KIB);
        let last = |column| of(column).last_large();
        let last_kib = |column| last(column).map(|kib| kib.saturating_mul(1_024));
        let load = [LOAD, LOAD + 1, LOAD + 2].map(|column| gauge(column, 100.0));
        let sample = Sample {
            cpu: Cpu {
                usage_percent: gauge(CPU, 10.0),
                cores: of(CPU + 1).last.and_then(|cores| u32::try_from(cores).ok()),
                frequency_mhz: gauge(CPU + 2, 1.0),
                load_average: if let [Some(one), Some(five), Some(fifteen)] = load { Some([one, five, fifteen]) } else { None },
                temperature_celsius: gauge(TEMPERATURE, 10.0),
            },
            memory: Memory {
                total_bytes: last_kib(MEMORY),
                used_bytes: kib(MEMORY + 1),
                free_bytes: kib(FREE_MEMORY),
                cached_bytes: kib(MEMORY + 3),
                swap_total_bytes: last_kib(MEMORY + 4),
                swap_used_bytes: kib(MEMORY + 5),
            },
            disk: Disk {
                total_bytes: last_kib(DISK),
                used_bytes: kib(DISK + 1),
                free_bytes: kib(FREE_DISK),
                read_iops: of(DISK + 3).mean_whole(1),
                write_iops: of(DISK + 4).mean_whole(1),
                read_throughput_mbps: gauge(THROUGHPUT, 1_000.0),
                write_throughput_mbps: gauge(THROUGHPUT + 1, 1_000.0),
            },
            network: Network {
                total_bytes_in: last(NETWORK),
                total_bytes_out: last(NETWORK + 1),
                packets_in: last(NETWORK + 2),
                packets_out: last(NETWORK + 3),
                errors_in: last(NETWORK + 4),
                errors_out: last(NETWORK + 5),
                interfaces,
            },
            gpu: of(HAS_GPU).last.map(|_| Gpu {
                usage_percent: gauge(GPU, 10.0),
                memory_used_bytes: kib(GPU + 1),
                memory_total_bytes: last_kib(GPU + 2),
                temperature_celsius: gauge(GPU + 3, 10.0),
            }),
        };
        let extremes = if granularity < Granularity::Hour { Extremes::default() } else { self.extremes() };
        Bucket { slot: self.slot, summary: Summary { count: self.count, late: self.late, sample, extremes } }
    }
}

/// Shows buckets of what is in pieces, in order of time; a bucket may span two of them.
pub struct Fold<V> {
    granularity: Granularity,
    parts: Parts,
    open: Open,
    visit: V,
}

impl<V: FnMut(Bucket)> Fold<V> {
    pub fn new(granularity: Granularity, parts: Parts, visit: V) -> Fold<V> {
        Fold { granularity, parts, open: Open::new(), visit }
    }

    pub fn add(&mut self, piece: &Series) {
        let numbers = |number: u16| Some((usize::from(number), plain(&piece.columns, number)?));
        let fixed = u16::try_from(FIXED).unwrap_or_default();
        let columns: Vec<(usize, Numbers<'_>)> = (0..fixed).filter(|number| self.parts.has(*number)).filter_map(numbers).collect();
        let with_interfaces = self.parts.network;
        let mut rest = 0..piece.slots.len();
        while let Some(first) = piece.slots.get(rest.start) {
            let bucket = self.granularity.bucket(*first);
            let end = bucket.plus(self.granularity.slots());
            let of_bucket = rest.start..piece.slots.partition_point(|slot| *slot < end);
            rest.start = of_bucket.end;
            let open = self.open(bucket);
            open.count = open.count.saturating_add(u32::try_from(of_bucket.len()).unwrap_or(u32::MAX));
            open.late |= piece.late.get(of_bucket.clone()).is_some_and(|late| late.contains(&true));
            for (number, numbers) in &columns {
                if let (Some(gathered), Some(numbers)) = (open.columns.get_mut(*number), numbers.get(of_bucket.clone())) {
                    gathered.add(numbers);
                }
            }
            if with_interfaces {
                open.interfaces = last_interfaces(&piece.columns, of_bucket).unwrap_or(std::mem::take(&mut open.interfaces));
            }
        }
    }

    /// Adds hours that are rolled up, those of `[from, until)`: each by the samples that it is made of.
    pub fn add_hours(&mut self, piece: &Series, (from, until): (u32, u32)) {
        let has_any = piece.slots.last().is_some_and(|last| hour_of(*last) >= from)
            && piece.slots.first().is_some_and(|first| hour_of(*first) < until);
        if !has_any {
            return;
        }
        let fixed = u16::try_from(FIXED).unwrap_or_default();
        let numbers = |number: u16| Some((number, plain(&piece.columns, number)?, hour_columns::bounds(&piece.columns, number)));
        let columns: Vec<_> = (0..fixed).filter(|number| self.parts.has(*number)).filter_map(numbers).collect();
        for (place, slot) in piece.slots.iter().enumerate().filter(|(_, slot)| (from..until).contains(&hour_of(**slot))) {
            let open = self.open(self.granularity.bucket(*slot));
            let weight = hour_columns::weight(&piece.columns, place);
            open.count = open.count.saturating_add(weight);
            open.late |= piece.late.get(place).is_some_and(|late| *late);
            for (number, numbers, bounds) in &columns {
                if let (Some(gathered), Some(Some(mean))) = (open.columns.get_mut(usize::from(*number)), numbers.get(place)) {
                    gathered.add_mean(*mean, weight, bounds.and_then(|bounds| bounds.around(*mean, place)));
                }
            }
        }
    }

    /// The bucket, which the one before it is shown for.
    fn open(&mut self, bucket: Slot) -> &mut Open {
        if self.open.slot != bucket {
            self.close();
            self.open.begin(bucket);
        }
        &mut self.open
    }

    fn close(&mut self) {
        if self.open.count > 0 {
            (self.visit)(self.open.bucket(self.granularity));
        }
    }

    pub fn finish(mut self) {
        self.close();
    }
}

/// Of the last sample within `range` that has any.
fn last_interfaces(columns: &Columns, range: Range<usize>) -> Option<Vec<Interface>> {
    let of_names = || columns.values.range(INTERFACES..);
    let has_any = |at: &usize| of_names().any(|(_, values)| values.get(*at).is_some_and(Option::is_some));
    let at = range.rev().find(has_any)?;
    let row = of_names().filter_map(|(number, values)| Some((*number, values.get(at).copied().flatten()?))).collect();
    Some(Sample::from(Quantised::from_row(&row, &columns.names)).network.interfaces)
}

/// Columns of which a line of `metric` is made.
pub fn is_for(metric: Metric, column: u16) -> bool {
    match metric {
        Metric::Cpu => column == CPU,
        Metric::Temperature => column == TEMPERATURE,
        Metric::Memory => [MEMORY, MEMORY + 1].contains(&column),
        Metric::Disk => [DISK, DISK + 1].contains(&column),
        Metric::NetworkIn => needs(NETWORK, column),
        Metric::NetworkOut => needs(NETWORK + 1, column),
    }
}

/// What `Metric::of` says of each sample of a piece.
#[expect(clippy::cast_precision_loss, reason = "a chart shows three digits")]
pub fn values(piece: &Series, metric: Metric) -> Vec<(Slot, f64)> {
    let columns = &piece.columns;
    let one = |number: u16, face: fn(i64) -> f64| -> Vec<(Slot, f64)> {
        let Some(numbers) = plain(columns, number) else { return Vec::new() };
        piece.slots.iter().zip(numbers.iter()).filter_map(|(slot, number)| Some((*slot, face((*number)?)))).collect()
    };
    let share = |total: u16| -> Vec<(Slot, f64)> {
        let (Some(totals), Some(used)) = (plain(columns, total), plain(columns, total + 1)) else { return Vec::new() };
        let both = piece.slots.iter().zip(totals.iter().zip(used.iter()));
        let percent = |(slot, (total, used)): (&Slot, (&Option<i64>, &Option<i64>))| {
            let (total, used) = ((*total)?.cast_unsigned(), (*used)?.cast_unsigned());
            (total > 0).then(|| (*slot, used as f64 / total as f64 * 100.0))
        };
        both.filter_map(percent).collect()
    };
    match metric {
        Metric::Cpu => one(CPU, |number| number as f64 / 10.0),
        Metric::Temperature => one(TEMPERATURE, |number| number as f64 / 10.0),
        Metric::Memory => share(MEMORY),
        Metric::Disk => share(DISK),
        Metric::NetworkIn => one(NETWORK, |number| number.cast_unsigned() as f64),
        Metric::NetworkOut => one(NETWORK + 1, |number| number.cast_unsigned() as f64),
    }
}

/// The same of hours that are rolled up, with how many samples each is made of; a counter is the last count of its hour.
pub fn hourly_values(piece: &Series, metric: Metric) -> Vec<(Slot, u32, f64)> {
    let weighted = |(slot, value): (Slot, f64)| {
        let place = piece.slots.binary_search(&slot).ok()?;
        Some((slot, hour_columns::weight(&piece.columns, place), value))
    };
    values(piece, metric).into_iter().filter_map(weighted).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hours::HourEntry;
    use super::super::{Point, series};
    use super::*;
    use crate::domain::chunk::Columns;
    use crate::domain::overlay::{Line, Steps};

    fn interface(name: &str, count: u64) -> Interface {
        let [bytes_in, bytes_out, packets_in, packets_out] = [count, count / 3, count / 500, count / 900];
        Interface { name: name.into(), bytes_in, bytes_out, packets_in, packets_out, errors_in: 0, errors_out: count % 2 }
    }

    /// Anything may be absent, and counters begin anew.
    fn samples() -> impl Strategy<Value = Vec<Point>> {
        let number = || prop::option::weighted(0.9, 0u64..1 << 40);
        let gauge = || prop::option::weighted(0.9, 0.0f64..99.0);
        let some = (prop::array::uniform5(gauge()), prop::array::uniform8(number()), prop::collection::vec(("[a-c]", any::<u32>()), 0..3));
        let one = (1u32..30, prop::bool::weighted(0.1), some, prop::option::of((gauge(), number())));
        prop::collection::vec(one, 0..60).prop_map(|all| {
            let mut slot = Slot(59_000_000);
            let point =
                |(step, late, (gauges, numbers, interfaces), gpu): (u32, bool, ([Option<f64>; 5], [Option<u64>; 8], _), Option<_>)| {
                    let interfaces: Vec<(String, u32)> = interfaces;
                    slot = slot.plus(step);
                    let mut sample = Sample::default();
                    (sample.cpu.usage_percent, sample.cpu.temperature_celsius, sample.cpu.frequency_mhz) =
                        (gauges[0], gauges[1], gauges[2]);
                    sample.cpu.cores = numbers[0].map(|n| (n % 64) as u32);
                    sample.cpu.load_average = gauges[3].map(|load| [load, load / 2.0, load / 3.0]);
                    sample.disk.read_throughput_mbps = gauges[4];
                    (sample.memory.total_bytes, sample.memory.used_bytes, sample.memory.free_bytes) = (numbers[1], numbers[2], numbers[3]);
                    sample.memory.cached_bytes = numbers[4];
                    (sample.disk.total_bytes, sample.disk.used_bytes, sample.disk.free_bytes) = (numbers[4], numbers[5], numbers[6]);
                    sample.disk.write_iops = numbers[7];
                    (sample.network.total_bytes_in, sample.network.errors_out) = (numbers[7], numbers[0]);
                    sample.network.interfaces = interfaces.iter().map(|(name, count)| interface(name, u64::from(*count))).collect();
                    sample.gpu = gpu.map(|(usage, used): (Option<f64>, Option<u64>)| Gpu {
                        usage_percent: usage,
                        memory_used_bytes: used,
                        ..Gpu::default()
                    });
                    Point { slot, late, sample: Sample::from(Quantised::from(&sample)) }
                };
            all.into_iter().map(point).collect()
        })
    }

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 0.002,
            (a, b) => a == b,
        }
    }

    /// Means are rounded once here and once there.
    fn same(folded: &Bucket, naive: &Bucket, granularity: Granularity) -> Result<(), TestCaseError> {
        let of = |bucket: &Bucket| (bucket.slot, bucket.summary.count, bucket.summary.late);
        prop_assert_eq!(of(folded), of(naive));
        let (a, b) = (&folded.summary.sample, &naive.summary.sample);
        prop_assert!(close(a.cpu.usage_percent, b.cpu.usage_percent), "{:?} {:?}", a.cpu, b.cpu);
        prop_assert!(close(a.cpu.temperature_celsius, b.cpu.temperature_celsius));
        prop_assert!(close(a.cpu.load_average.map(|load| load[1]), b.cpu.load_average.map(|load| load[1])));
        prop_assert!(close(a.disk.read_throughput_mbps, b.disk.read_throughput_mbps));
        prop_assert_eq!((a.cpu.cores, &a.memory, &a.network), (b.cpu.cores, &b.memory, &b.network));
        prop_assert_eq!(
            (a.disk.free_bytes, a.disk.write_iops, a.disk.total_bytes),
            (b.disk.free_bytes, b.disk.write_iops, b.disk.total_bytes)
        );
        prop_assert_eq!(a.gpu.as_ref().map(|gpu| gpu.memory_used_bytes), b.gpu.as_ref().map(|gpu| gpu.memory_used_bytes));
        let drawn = if granularity < Granularity::Hour { &Extremes::default() } else { &naive.summary.extremes };
        prop_assert_eq!(&folded.summary.extremes, drawn);
        Ok(())
    }

    proptest! {
        #[test]
        fn columns_come_to_what_their_samples_come_to(points in samples(), cut in any::<prop::sample::Index>(), at in 0usize..5) {
            let granularity = [Granularity::HalfMinute, Granularity::Minute, Granularity::FiveMinutes, Granularity::QuarterHour, Granularity::Hour][at];
            let mut naive = crate::domain::series::model::Series::new(granularity);
            points.iter().for_each(|point| naive.push(point.slot, Summary::of(point.sample.clone(), point.late)));
            let naive = naive.finish();
            let mut folded = Vec::new();
            let mut fold = Fold::new(granularity, Parts::ALL, |bucket| folded.push(bucket));
            let cut = if points.is_empty() { 0 } else { cut.index(points.len()) };
            for piece in [&points[..cut], &points[cut..]] {
                let stored = Series::decode(&series(piece).encode()).unwrap();
                fold.add(&stored);
            }
            fold.finish();
            prop_assert_eq!(folded.len(), naive.len());
            for (folded, naive) in folded.iter().zip(&naive) {
                same(folded, naive, granularity)?;
            }
        }

        #[test]
        fn hours_come_to_what_their_summaries_come_to(points in samples(), at in 4usize..7) {
            let granularity = Granularity::ALL[at];
            let mut rolled = Vec::new();
            let mut fold = Fold::new(Granularity::Hour, Parts::ALL, |bucket| rolled.push(bucket));
            fold.add(&Series::decode(&series(&points).encode()).unwrap());
            fold.finish();
            let mut naive = crate::domain::series::model::Series::new(granularity);
            let mut hours = hour_columns::Hours::new();
            for Bucket { slot, summary } in rolled {
                let (late, mut entry) = (summary.late, HourEntry::of(summary));
                // An earlier release kept two.
                entry.bounds.retain(|(place, ..)| hour_of(slot) % 3 != 1 || *place < 2);
                naive.push(slot, entry.clone().summary(late));
                hours.insert(hour_of(slot), (late, entry));
            }
            let stored = Series::decode(&hour_columns::columns(&hours).encode()).unwrap();
            prop_assert_eq!(hour_columns::hours(&stored), hours);
            let mut folded = Vec::new();
            let mut fold = Fold::new(granularity, Parts::ALL, |bucket| folded.push(bucket));
            let middle = points.get(points.len() / 2).map_or(0, |point| hour_of(point.slot));
            fold.add_hours(&stored, (0, middle));
            fold.add_hours(&stored, (middle, u32::MAX));
            fold.finish();
            let naive = naive.finish();
            prop_assert_eq!(folded.len(), naive.len());
            for (folded, naive) in folded.iter().zip(&naive) {
                same(folded, naive, granularity)?;
            }
        }

        #[test]
        fn lines_are_those_of_samples(points in samples()) {
            let steps = Steps::ending(Slot(59_002_000), 2_400, 10);
            let all = series(&points).encode();
            for metric in [Metric::Cpu, Metric::Memory, Metric::Disk, Metric::NetworkIn, Metric::NetworkOut, Metric::Temperature] {
                let (mut naive, mut line) = (Line::new(metric, steps), Line::new(metric, steps));
                points.iter().for_each(|point| naive.push(point.slot, 1, &point.sample));
                let piece = Series::decode_columns(&all, |column| is_for(metric, column)).unwrap();
                values(&piece, metric).into_iter().for_each(|(slot, value)| line.push_value(slot, 1, value));
                prop_assert_eq!(line.finish(), naive.finish(), "{:?}", metric);
            }
        }
    }

    #[test]
    fn what_an_earlier_release_kept_of_free_memory_is_read() {
        let mut columns = Columns::default();
        columns.push(0, &[(MEMORY, 100), (MEMORY + 1, 40), (MEMORY + 2, 33), (MEMORY + 3, 20)]);
        columns.finish(1);
        let piece = Series { slots: vec![Slot(7)], late: vec![false], columns };
        let mut folded = Vec::new();
        let mut fold = Fold::new(Granularity::Hour, Parts::ALL, |bucket| folded.push(bucket));
        fold.add(&piece);
        fold.finish();
        assert_eq!(folded[0].summary.sample.memory.free_bytes, Some(33 * 1_024));
        let sample = Sample::from(Quantised::from_row(&piece.columns.row(0), &[]));
        assert_eq!(sample.memory.free_bytes, Some(33 * 1_024));
    }
}
