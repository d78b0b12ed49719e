//! Samples at rest: quantised to what a gauge can tell (0.1 %, 0.01 load, 0.1 °C, KiB), counters exact, absent stays absent.

use serde::{Deserialize, Serialize};

use crate::domain::metrics::{Cpu, Disk, Gpu, Interface, Memory, Network, Sample};
use crate::record;

const KIB: u64 = 1024;

/// Field by field the domain's `Sample`; see there for meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantised {
    cpu: (Option<u32>, Option<u32>, Option<u32>, Option<[u32; 3]>, Option<i32>),
    memory: [Option<u64>; 6],
    disk: ([Option<u64>; 5], [Option<u32>; 2]),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::table::{decode, encode};

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
