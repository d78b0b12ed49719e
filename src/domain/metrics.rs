//! One measurement of a machine. What a machine does not have is absent, never zero.

use serde::{Deserialize, Serialize};

/// All that is measured every 30 s; field names are those of seed 004's `ResourceMetrics`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
    pub usage_percent: Option<f64>,
    pub cores: Option<u32>,
    pub frequency_mhz: Option<f64>,
    /// 1, 5 and 15 minutes.
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
    pub read_throughput_mbps: Option<f64>,
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
    pub usage_percent: Option<f64>,
    pub memory_used_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub temperature_celsius: Option<f64>,
}
