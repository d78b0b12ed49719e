//! One measurement of a machine. What a machine does not have is absent, never zero.

use serde::{Deserialize, Serialize};

/// All that is measured every 30 s; field names are those of seed 004's `ResourceMetrics`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Measurement)]
pub struct Sample {
    #[serde(default)]
    pub cpu: Cpu,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub disk: Disk,
    #[serde(default)]
    pub network: Network,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = CpuMetrics)]
pub struct Cpu {
    /// Share of all cores since the sample before, 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    pub usage_percent: Option<f64>,
    #[schema(minimum = 1)]
    pub cores: Option<u32>,
    #[schema(minimum = 0)]
    pub frequency_mhz: Option<f64>,
    /// 1, 5 and 15 minutes.
    #[schema(value_type = Option<Vec<f64>>, min_items = 3, max_items = 3)]
    pub load_average: Option<[f64; 3]>,
    pub temperature_celsius: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = MemoryMetrics)]
pub struct Memory {
    pub total_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    pub cached_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
}

/// The file system that holds the agent's state folder; rates are of its device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DiskMetrics)]
pub struct Disk {
    pub total_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    /// Operations per second since the sample before.
    pub read_iops: Option<u64>,
    pub write_iops: Option<u64>,
    /// 10^6 bytes per second.
    #[schema(minimum = 0)]
    pub read_throughput_mbps: Option<f64>,
    #[schema(minimum = 0)]
    pub write_throughput_mbps: Option<f64>,
}

/// Counters since boot, loopback excluded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NetworkMetrics)]
pub struct Network {
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    pub total_bytes_in: Option<u64>,
    pub total_bytes_out: Option<u64>,
    pub packets_in: Option<u64>,
    pub packets_out: Option<u64>,
    pub errors_in: Option<u64>,
    pub errors_out: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NetworkInterface)]
pub struct Interface {
    pub name: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub errors_in: u64,
    pub errors_out: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = GpuMetrics)]
pub struct Gpu {
    #[schema(minimum = 0, maximum = 100)]
    pub usage_percent: Option<f64>,
    pub memory_used_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub temperature_celsius: Option<f64>,
}

/// Interfaces in a sample, and characters of an interface's name, at most.
pub const MAX_INTERFACES: usize = 32;
pub const MAX_INTERFACE_NAME: usize = 64;

/// Beyond these a value is a broken sensor or a lie.
const MAX_BYTES: u64 = 1 << 60;
const MAX_CORES: u32 = 4_096;
const MAX_FREQUENCY_MHZ: f64 = 20_000.0;
const MAX_LOAD: f64 = 1_000_000.0;
const MAX_THROUGHPUT_MBPS: f64 = 1_000_000.0;
const CELSIUS: std::ops::RangeInclusive<f64> = -60.0..=200.0;
const PERCENT: std::ops::RangeInclusive<f64> = 0.0..=100.0;

impl Sample {
    /// The sample without what cannot be true: NaN, negative and absurd values become absent, interfaces and their names are
    /// bounded. Idempotent.
    pub fn sanitised(mut self) -> Sample {
        // NaN lies in no range.
        fn keep<T: PartialOrd>(value: &mut Option<T>, range: std::ops::RangeInclusive<T>) {
            value.take_if(|v| !range.contains(v));
        }
        keep(&mut self.cpu.usage_percent, PERCENT);
        keep(&mut self.cpu.cores, 1..=MAX_CORES);
        keep(&mut self.cpu.frequency_mhz, 0.0..=MAX_FREQUENCY_MHZ);
        keep(&mut self.cpu.temperature_celsius, CELSIUS);
        self.cpu.load_average.take_if(|load| !load.iter().all(|l| (0.0..=MAX_LOAD).contains(l)));
        keep(&mut self.disk.read_throughput_mbps, 0.0..=MAX_THROUGHPUT_MBPS);
        keep(&mut self.disk.write_throughput_mbps, 0.0..=MAX_THROUGHPUT_MBPS);
        let (memory, disk, network) = (&mut self.memory, &mut self.disk, &mut self.network);
        let whole = [
            &mut memory.total_bytes,
            &mut memory.used_bytes,
            &mut memory.free_bytes,
            &mut memory.cached_bytes,
            &mut memory.swap_total_bytes,
            &mut memory.swap_used_bytes,
            &mut disk.total_bytes,
            &mut disk.used_bytes,
            &mut disk.free_bytes,
            &mut disk.read_iops,
            &mut disk.write_iops,
            &mut network.total_bytes_in,
            &mut network.total_bytes_out,
            &mut network.packets_in,
            &mut network.packets_out,
            &mut network.errors_in,
            &mut network.errors_out,
        ];
        for value in whole {
            keep(value, 0..=MAX_BYTES);
        }
        network.interfaces.truncate(MAX_INTERFACES);
        for interface in &mut network.interfaces {
            if let Some((end, _)) = interface.name.char_indices().nth(MAX_INTERFACE_NAME) {
                interface.name.truncate(end);
            }
        }
        network.interfaces.retain(|i| {
            let counters = [i.bytes_in, i.bytes_out, i.packets_in, i.packets_out, i.errors_in, i.errors_out];
            !i.name.is_empty() && counters.iter().all(|c| *c <= MAX_BYTES)
        });
        if let Some(gpu) = &mut self.gpu {
            keep(&mut gpu.usage_percent, PERCENT);
            keep(&mut gpu.memory_used_bytes, 0..=MAX_BYTES);
            keep(&mut gpu.memory_total_bytes, 0..=MAX_BYTES);
            keep(&mut gpu.temperature_celsius, CELSIUS);
        }
        self.gpu.take_if(|gpu| *gpu == Gpu::default());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_true_is_absent() {
        let mut sample = Sample::default();
        sample.cpu.usage_percent = Some(f64::NAN);
        sample.cpu.temperature_celsius = Some(-273.0);
        sample.cpu.frequency_mhz = Some(f64::INFINITY);
        sample.cpu.load_average = Some([0.0, -1.0, 0.0]);
        sample.cpu.cores = Some(0);
        sample.memory.total_bytes = Some(u64::MAX);
        sample.disk.read_throughput_mbps = Some(-0.1);
        sample.gpu = Some(Gpu { usage_percent: Some(101.0), ..Gpu::default() });
        sample.network.interfaces.push(Interface { name: "x".into(), bytes_in: u64::MAX, ..Interface::default() });
        assert_eq!(sample.sanitised(), Sample::default());
    }

    #[test]
    fn what_can_be_true_stays_at_its_bounds() {
        let mut sample = Sample::default();
        sample.cpu.usage_percent = Some(100.0);
        sample.cpu.load_average = Some([0.0, 3.5, 12.0]);
        sample.memory.swap_total_bytes = Some(0);
        sample.gpu = Some(Gpu { temperature_celsius: Some(0.0), ..Gpu::default() });
        assert_eq!(sample.clone().sanitised(), sample);
    }

    #[test]
    fn interfaces_and_their_names_are_bounded() {
        let mut sample = Sample::default();
        sample.network.interfaces = vec![Interface { name: "ä".repeat(65), ..Interface::default() }; 33];
        let sample = sample.sanitised();
        assert_eq!(sample.network.interfaces.len(), 32);
        assert_eq!(sample.network.interfaces[0].name, "ä".repeat(64));
        assert_eq!(sample.clone().sanitised(), sample);
    }
}
