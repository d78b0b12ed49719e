//! Samples at rest: quantised to what a gauge can tell (0.1 %, 0.01 load, 0.1 °C, KiB), counters exact, absent stays absent.

use serde::{Deserialize, Serialize};

use crate::domain::chunk::{NAMED, PER_NAME, Row, is_name};
use crate::domain::metrics::{Cpu, Disk, Gpu, Interface, Memory, Network, Sample};
use crate::record;
use crate::storage::table::Record;

const KIB: u64 = 1024;

type CpuNumbers = (Option<u32>, Option<u32>, Option<u32>, Option<[u32; 3]>, Option<i32>);
type MemoryNumbers = [Option<u64>; 6];
type DiskNumbers = ([Option<u64>; 5], [Option<u32>; 2]);

/// Field by field the domain's `Sample`; see there for meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantised {
    cpu: CpuNumbers,
    memory: MemoryNumbers,
    disk: DiskNumbers,
    network: ([Option<u64>; 6], Vec<(String, [u64; 6])>),
    gpu: Option<(Option<u32>, Option<u64>, Option<u64>, Option<i32>)>,
}

record! { Quantised = 1 }

/// A non-negative gauge in steps of 1/`per`; what is not a number is absent.
fn gauge(value: Option<f64>, per: f64) -> Option<u32> {
    let scaled = (value? * per).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    (scaled >= 0.0 && scaled <= f64::from(u32::MAX)).then_some(scaled as u32)
}

fn signed(value: Option<f64>, per: f64) -> Option<i32> {
    let scaled = (value? * per).round();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (scaled.abs() <= f64::from(i32::MAX)).then_some(scaled as i32)
}

fn kib(value: Option<u64>) -> Option<u64> {
    value.map(|bytes| bytes / KIB)
}

fn bytes(value: Option<u64>) -> Option<u64> {
    value.map(|kib| kib.saturating_mul(KIB))
}

fn face(value: Option<u32>, per: f64) -> Option<f64> {
    value.map(|v| f64::from(v) / per)
}

impl From<&Sample> for Quantised {
    fn from(s: &Sample) -> Quantised {
        let (c, m, d, n) = (&s.cpu, &s.memory, &s.disk, &s.network);
        let load = c.load_average.and_then(|l| {
            let [a, b, c] = l.map(|v| gauge(Some(v), 100.0));
            Some([a?, b?, c?])
        });
        let interface = |i: &Interface| (i.name.clone(), [i.bytes_in, i.bytes_out, i.packets_in, i.packets_out, i.errors_in, i.errors_out]);
        Quantised {
            cpu: (gauge(c.usage_percent, 10.0), c.cores, gauge(c.frequency_mhz, 1.0), load, signed(c.temperature_celsius, 10.0)),
            memory: [m.total_bytes, m.used_bytes, m.free_bytes, m.cached_bytes, m.swap_total_bytes, m.swap_used_bytes].map(kib),
            disk: (
                [kib(d.total_bytes), kib(d.used_bytes), kib(d.free_bytes), d.read_iops, d.write_iops],
                [gauge(d.read_throughput_mbps, 1000.0), gauge(d.write_throughput_mbps, 1000.0)],
            ),
            network: (
                [n.total_bytes_in, n.total_bytes_out, n.packets_in, n.packets_out, n.errors_in, n.errors_out],
                n.interfaces.iter().map(interface).collect(),
            ),
            gpu: s.gpu.as_ref().map(|g| {
                (gauge(g.usage_percent, 10.0), kib(g.memory_used_bytes), kib(g.memory_total_bytes), signed(g.temperature_celsius, 10.0))
            }),
        }
    }
}

impl From<Quantised> for Sample {
    fn from(q: Quantised) -> Sample {
        let [total_bytes, used_bytes, free_bytes, cached_bytes, swap_total_bytes, swap_used_bytes] = q.memory.map(bytes);
        let ([disk_total, disk_used, disk_free, read_iops, write_iops], [read, write]) = q.disk;
        let ([bytes_in, bytes_out, packets_in, packets_out, errors_in, errors_out], interfaces) = q.network;
        let interface = |(name, [bytes_in, bytes_out, packets_in, packets_out, errors_in, errors_out]): (String, [u64; 6])| Interface {
            name,
            bytes_in,
            bytes_out,
            packets_in,
            packets_out,
            errors_in,
            errors_out,
        };
        Sample {
            cpu: Cpu {
                usage_percent: face(q.cpu.0, 10.0),
                cores: q.cpu.1,
                frequency_mhz: face(q.cpu.2, 1.0),
                load_average: q.cpu.3.map(|l| l.map(|v| f64::from(v) / 100.0)),
                temperature_celsius: q.cpu.4.map(|t| f64::from(t) / 10.0),
            },
            memory: Memory { total_bytes, used_bytes, free_bytes, cached_bytes, swap_total_bytes, swap_used_bytes },
            disk: Disk {
                total_bytes: bytes(disk_total),
                used_bytes: bytes(disk_used),
                free_bytes: bytes(disk_free),
                read_iops,
                write_iops,
                read_throughput_mbps: face(read, 1000.0),
                write_throughput_mbps: face(write, 1000.0),
            },
            network: Network {
                interfaces: interfaces.into_iter().map(interface).collect(),
                total_bytes_in: bytes_in,
                total_bytes_out: bytes_out,
                packets_in,
                packets_out,
                errors_in,
                errors_out,
            },
            gpu: q.gpu.map(|(usage, used, total, temperature)| Gpu {
                usage_percent: face(usage, 10.0),
                memory_used_bytes: bytes(used),
                memory_total_bytes: bytes(total),
                temperature_celsius: temperature.map(|t| f64::from(t) / 10.0),
            }),
        }
    }
}

/// Columns of a chunk that hold one part of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub cpu: bool,
    pub memory: bool,
    pub disk: bool,
    pub network: bool,
    pub gpu: bool,
}

impl Parts {
    pub const ALL: Parts = Parts { cpu: true, memory: true, disk: true, network: true, gpu: true };
    pub const NONE: Parts = Parts { cpu: false, memory: false, disk: false, network: false, gpu: false };

    pub fn has(self, column: u16) -> bool {
        match column {
            CPU..MEMORY => self.cpu,
            MEMORY..DISK | MEMORY_LEFT => self.memory,
            DISK..NETWORK => self.disk,
            GPU..INTERFACES => self.gpu,
            NETWORK..GPU | INTERFACES.. => self.network,
        }
    }
}

pub(super) const CPU: u16 = 0;
pub(super) const LOAD: u16 = CPU + 3;
pub(super) const TEMPERATURE: u16 = CPU + 6;
pub(super) const MEMORY: u16 = 7;
pub(super) const DISK: u16 = 13;
pub(super) const THROUGHPUT: u16 = DISK + 5;
pub(super) const NETWORK: u16 = 20;
pub(super) const GPU: u16 = 26;
/// Present where there is a GPU, whatever is known of it.
pub(super) const HAS_GPU: u16 = GPU + 4;
/// What is left of the free memory when what is neither used nor cached is taken off. Chunks of an earlier release have `MEMORY + 2` in its place, which is the free memory itself.
pub(super) const MEMORY_LEFT: u16 = 31;
pub(super) const FIXED: usize = 32;
/// Each interface has the number of its name, and six counters.
pub(super) const INTERFACES: u16 = NAMED;
pub(super) const PER_INTERFACE: u16 = PER_NAME;

/// The same row with the names numbered by `renumber`.
pub fn renamed(row: &[(u16, i64)], names: &[String], mut renumber: impl FnMut(&str) -> usize) -> Row {
    let of_name = |value: i64| usize::try_from(value).ok().and_then(|at| names.get(at)).map_or("", String::as_str);
    let one = |(column, value): &(u16, i64)| {
        let value = if is_name(*column) { i64::try_from(renumber(of_name(*value))).unwrap_or(0) } else { *value };
        (*column, value)
    };
    row.iter().map(one).collect()
}

/// Whether the columns of a sample that come before those of its network are all that is wanted.
pub(in crate::storage) fn ends_before_network(is_wanted: impl Fn(u16) -> bool) -> bool {
    !(NETWORK..MEMORY_LEFT).chain(INTERFACES..INTERFACES + PER_INTERFACE).any(is_wanted)
}

impl Quantised {
    /// The first half of a record alone: names of interfaces take longer than all the rest.
    pub(super) fn before_network(record: &[u8]) -> Option<Quantised> {
        let (version, fields) = record.split_first()?;
        if *version != Quantised::VERSION {
            return None;
        }
        let ((cpu, memory, disk), _) = postcard::take_from_bytes::<(CpuNumbers, MemoryNumbers, DiskNumbers)>(fields).ok()?;
        Some(Quantised { cpu, memory, disk, network: Default::default(), gpu: None })
    }

    /// The sample as numbers of columns; `name` gives names their numbers. What follows from others is kept as what is left between them, which hardly changes: free memory, the
    /// free room of a disk, and totals of interfaces.
    pub fn row(&self, mut name: impl FnMut(&str) -> usize) -> Row {
        let mut row = Row::with_capacity(FIXED);
        let mut put = |column: u16, value: Option<i64>| row.extend(value.map(|value| (column, value)));
        let (usage, cores, frequency, load, temperature) = self.cpu;
        put(CPU, usage.map(i64::from));
        put(CPU + 1, cores.map(i64::from));
        put(CPU + 2, frequency.map(i64::from));
        (LOAD..).zip(load.into_iter().flatten()).for_each(|(column, load)| put(column, Some(i64::from(load))));
        put(TEMPERATURE, temperature.map(i64::from));
        let [total, used, free, cached, ..] = self.memory;
        let kept = self.memory.map(|value| value.map(u64::cast_signed));
        (MEMORY..).zip(kept).filter(|(column, _)| *column != MEMORY + 2).for_each(|(column, value)| put(column, value));
        let memory_left = free.map(|free| free.wrapping_sub(left_of_memory(total, used, cached)));
        let ([total, used, free, read, write], throughput) = self.disk;
        let free = free.map(|free| free.wrapping_sub(left_free(total, used)));
        (DISK..).zip([total, used, free, read, write]).for_each(|(column, value)| put(column, value.map(u64::cast_signed)));
        (THROUGHPUT..).zip(throughput).for_each(|(column, value)| put(column, value.map(i64::from)));
        let (totals, interfaces) = &self.network;
        for (column, (total, sum)) in (NETWORK..).zip(totals.iter().zip(sums(interfaces))) {
            put(column, total.map(|total| total.wrapping_sub(sum).cast_signed()));
        }
        if let Some((usage, used, total, temperature)) = self.gpu {
            put(GPU, usage.map(i64::from));
            put(GPU + 1, used.map(u64::cast_signed));
            put(GPU + 2, total.map(u64::cast_signed));
            put(GPU + 3, temperature.map(i64::from));
            put(HAS_GPU, Some(1));
        }
        put(MEMORY_LEFT, memory_left.map(u64::cast_signed));
        for (first, (of, counters)) in (INTERFACES..).step_by(usize::from(PER_INTERFACE)).zip(interfaces) {
            put(first, i64::try_from(name(of)).ok());
            (first + 1..).zip(counters).for_each(|(column, count)| put(column, Some(count.cast_signed())));
        }
        row
    }

    /// The sample again; of a row without some parts, the rest of it.
    pub fn from_row(row: &Row, names: &[String]) -> Quantised {
        let mut fixed = [None; FIXED];
        let mut interfaces: Vec<(String, [u64; 6])> = Vec::new();
        for (column, value) in row {
            if let Some(place) = fixed.get_mut(usize::from(*column)) {
                *place = Some(*value);
            } else if is_name(*column) {
                let name = usize::try_from(*value).ok().and_then(|at| names.get(at)).cloned();
                interfaces.push((name.unwrap_or_default(), [0; 6]));
            } else if let Some(((_, counters), at)) =
                interfaces.last_mut().zip(usize::from(*column).checked_sub(usize::from(INTERFACES) + 1))
                && let Some(counter) = counters.get_mut(at % usize::from(PER_INTERFACE))
            {
                *counter = value.cast_unsigned();
            }
        }
        let at = |column: u16| fixed.get(usize::from(column)).copied().flatten();
        let small = |column| at(column).and_then(|value| u32::try_from(value).ok());
        let signed = |column| at(column).and_then(|value| i32::try_from(value).ok());
        let large = |column| at(column).map(i64::cast_unsigned);
        let (total, used) = (large(DISK), large(DISK + 1));
        let free = large(DISK + 2).map(|left| left.wrapping_add(left_free(total, used)));
        let mut totals = [NETWORK, NETWORK + 1, NETWORK + 2, NETWORK + 3, NETWORK + 4, NETWORK + 5].map(large);
        for (total, sum) in totals.iter_mut().zip(sums(&interfaces)) {
            *total = total.map(|left| left.wrapping_add(sum));
        }
        let mut memory = [MEMORY, MEMORY + 1, MEMORY + 2, MEMORY + 3, MEMORY + 4, MEMORY + 5].map(large);
        if let Some(left) = large(MEMORY_LEFT) {
            memory[2] = Some(left.wrapping_add(left_of_memory(memory[0], memory[1], memory[3])));
        }
        let load = [LOAD, LOAD + 1, LOAD + 2].map(small);
        let load = if let [Some(one), Some(five), Some(fifteen)] = load { Some([one, five, fifteen]) } else { None };
        Quantised {
            cpu: (small(CPU), small(CPU + 1), small(CPU + 2), load, signed(TEMPERATURE)),
            memory,
            disk: ([total, used, free, large(DISK + 3), large(DISK + 4)], [THROUGHPUT, THROUGHPUT + 1].map(small)),
            network: (totals, interfaces),
            gpu: at(HAS_GPU).map(|_| (small(GPU), large(GPU + 1), large(GPU + 2), signed(GPU + 3))),
        }
    }
}

/// What would be free if everything else were used or cached.
pub(super) fn left_of_memory(total: Option<u64>, used: Option<u64>, cached: Option<u64>) -> u64 {
    let known = total.zip(used).zip(cached);
    known.map_or(0, |((total, used), cached)| total.wrapping_sub(used).wrapping_sub(cached))
}

/// What would be free if nothing were reserved.
pub(super) fn left_free(total: Option<u64>, used: Option<u64>) -> u64 {
    total.zip(used).map_or(0, |(total, used)| total.wrapping_sub(used))
}

/// Of each counter, the sum over interfaces.
fn sums(interfaces: &[(String, [u64; 6])]) -> [u64; 6] {
    let mut sums = [0u64; 6];
    for (_, counters) in interfaces {
        sums.iter_mut().zip(counters).for_each(|(sum, count)| *sum = sum.wrapping_add(*count));
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::table::{decode, encode};

    fn anything() -> impl Strategy<Value = Quantised> {
        let some = |strategy: BoxedStrategy<u64>| prop::option::of(strategy);
        let number = || some(prop_oneof![0u64..1_000_000, any::<u64>()].boxed());
        let gauge = || prop::option::of(any::<u32>());
        let interfaces = prop::collection::vec(("[a-z]{1,2}[0-9]", prop::array::uniform6(prop_oneof![0u64..9_999, any::<u64>()])), 0..6);
        let cpu = (gauge(), gauge(), gauge(), prop::option::of(any::<[u32; 3]>()), prop::option::of(any::<i32>()));
        let gpu = prop::option::of((gauge(), number(), number(), prop::option::of(any::<i32>())));
        let disk = (prop::array::uniform5(number()), prop::array::uniform2(gauge()));
        (cpu, prop::array::uniform6(number()), disk, (prop::array::uniform6(number()), interfaces), gpu)
            .prop_map(|(cpu, memory, disk, network, gpu)| Quantised { cpu, memory, disk, network, gpu })
    }

    proptest! {
        #[test]
        fn samples_come_back_from_columns_exactly(samples in prop::collection::vec(anything(), 1..5)) {
            let mut names = vec!["first".to_owned()];
            let mut number = |name: &str| {
                names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                })
            };
            let rows: Vec<Row> = samples.iter().map(|sample| sample.row(&mut number)).collect();
            for sample in &samples {
                let half = Quantised::before_network(&encode(sample).unwrap()).unwrap();
                prop_assert_eq!((&half.cpu, half.memory, half.disk, half.gpu), (&sample.cpu, sample.memory, sample.disk, None));
            }
            for (row, sample) in rows.iter().zip(&samples) {
                prop_assert!(row.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert_eq!(&Quantised::from_row(row, &names), sample);
                let cpu: Row = row.iter().filter(|(column, _)| Parts { cpu: true, ..Parts::NONE }.has(*column)).copied().collect();
                let only = Quantised::from_row(&cpu, &[]);
                prop_assert_eq!((&only.cpu, only.memory, only.gpu), (&sample.cpu, [None; 6], None));
            }
        }
    }

    #[test]
    fn samples_come_back_as_quantised() {
        let mut sample = Sample::default();
        assert_eq!(Sample::from(Quantised::from(&sample)), sample, "absent stays absent");
        sample.cpu = Cpu {
            usage_percent: Some(12.34),
            cores: Some(4),
            frequency_mhz: Some(1500.4),
            load_average: Some([0.126, 1.0, 2.0]),
            temperature_celsius: Some(-3.25),
        };
        sample.memory.used_bytes = Some(3 * KIB + 5);
        sample.network.total_bytes_in = Some(u64::MAX);
        sample.network.interfaces.push(Interface { name: "eth0".into(), bytes_in: 7, ..Interface::default() });
        let stored: Quantised = decode(&encode(&Quantised::from(&sample)).unwrap()).unwrap();
        let back = Sample::from(stored);
        assert_eq!(back.cpu.usage_percent, Some(12.3));
        assert_eq!(back.cpu.load_average, Some([0.13, 1.0, 2.0]));
        assert_eq!(back.cpu.temperature_celsius, Some(-3.3));
        assert_eq!(back.memory.used_bytes, Some(3 * KIB));
        assert_eq!(back.network, sample.network);
    }

    #[test]
    fn what_is_not_a_number_is_absent() {
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            let sample = Sample { cpu: Cpu { usage_percent: Some(bad), ..Cpu::default() }, ..Sample::default() };
            assert_eq!(Sample::from(Quantised::from(&sample)).cpu.usage_percent, None, "{bad}");
        }
    }
}
