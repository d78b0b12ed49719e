//! Graphics: amdgpu and v3d from sysfs, NVIDIA through its own program, because a static binary cannot load NVML.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cpu::mean;
use super::files::{Files, float};
use crate::domain::metrics::Gpu;
use crate::domain::node::GpuInfo;

const FOLDER: &str = "sys/class/drm";
/// A driver in trouble lets `nvidia-smi` hang.
const NVIDIA_TIMEOUT: Duration = Duration::from_secs(2);
const NVIDIA_POLL: Duration = Duration::from_millis(20);
/// Bytes read of its answer: a line per card.
const NVIDIA_MAX_ANSWER: u64 = 8 << 10;

pub struct GpuMeter {
    nvidia_smi: Option<PathBuf>,
    before: Option<Vec<Queue>>,
}

/// A queue of the v3d driver: nanoseconds of the clock, and of work since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Queue {
    name: String,
    timestamp_ns: u64,
    runtime_ns: u64,
}

impl GpuMeter {
    pub fn new(nvidia_smi: Option<PathBuf>) -> GpuMeter {
        GpuMeter { nvidia_smi, before: None }
    }

    pub fn blocks(&self) -> bool {
        self.nvidia_smi.is_some()
    }

    /// The first kind of card that answers.
    pub fn sample(&mut self, files: &Files) -> Option<Gpu> {
        let nvidia = self.nvidia_smi.as_ref().and_then(nvidia_sample);
        let gpu = nvidia.or_else(|| cards(files).iter().find_map(|card| amd_sample(files, card))).or_else(|| self.v3d_sample(files));
        gpu.filter(|gpu| *gpu != Gpu::default())
    }

    /// The busiest queue's share of the time since the sample before.
    fn v3d_sample(&mut self, files: &Files) -> Option<Gpu> {
        let now = cards(files).iter().find_map(|card| queues(&files.text(&format!("{card}/gpu_stats"))?))?;
        let before = self.before.replace(now.clone())?;
        let shares = now.iter().filter_map(|now| {
            let before = before.iter().find(|before| before.name == now.name)?;
            let elapsed = now.timestamp_ns.checked_sub(before.timestamp_ns).filter(|ns| *ns > 0)?;
            let busy = now.runtime_ns.checked_sub(before.runtime_ns)?.min(elapsed);
            Some(float(busy) * 100.0 / float(elapsed))
        });
        Some(Gpu { usage_percent: shares.reduce(f64::max), ..Gpu::default() })
    }
}

/// Device folders of the cards, connectors such as `card0-HDMI-A-1` left out.
fn cards(files: &Files) -> Vec<String> {
    let is_card = |name: &String| name.strip_prefix("card").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    files.names(FOLDER).into_iter().filter(is_card).map(|name| format!("{FOLDER}/{name}/device")).collect()
}

fn amd_sample(files: &Files, card: &str) -> Option<Gpu> {
    let number = |name: &str| files.number(&format!("{card}/{name}"));
    let sensors = format!("{card}/hwmon");
    let gpu = Gpu {
        usage_percent: number("gpu_busy_percent").map(float),
        memory_used_bytes: number("mem_info_vram_used"),
        memory_total_bytes: number("mem_info_vram_total"),
        temperature_celsius: files.names(&sensors).iter().find_map(|name| files.celsius(&format!("{sensors}/{name}/temp1_input"))),
    };
    (gpu.usage_percent.is_some() || gpu.memory_total_bytes.is_some()).then_some(gpu)
}

/// Lines of `queue timestamp jobs runtime` under a heading.
fn queues(text: &str) -> Option<Vec<Queue>> {
    let queue = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, timestamp, _jobs, runtime) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Queue { name: name.to_owned(), timestamp_ns: timestamp.parse().ok()?, runtime_ns: runtime.parse().ok()? })
    };
    let queues: Vec<Queue> = text.lines().filter_map(queue).collect();
    (!queues.is_empty()).then_some(queues)
}

/// `nvidia-smi` in the search path of the running machine.
pub fn nvidia_smi(files: &Files) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").filter(|_| files.are_real())?;
    let is_program = |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).map(|folder| folder.join("nvidia-smi")).find(is_program)
}

/// Mean use, memory of all cards, the hottest one. Values that a card does not have are `[N/A]`.
fn nvidia_sample(program: &PathBuf) -> Option<Gpu> {
    let text = ask(program, "utilization.gpu,memory.used,memory.total,temperature.gpu")?;
    let column = |i: usize| -> Vec<f64> { text.lines().filter_map(|line| line.split(',').nth(i)?.trim().parse().ok()).collect() };
    let mebibytes = |i: usize| -> Option<u64> {
        let values = text.lines().filter_map(|line| line.split(',').nth(i)?.trim().parse::<u64>().ok());
        values.reduce(u64::saturating_add)?.checked_mul(1 << 20)
    };
    Some(Gpu {
        usage_percent: mean(&column(0)),
        memory_used_bytes: mebibytes(1),
        memory_total_bytes: mebibytes(2),
        temperature_celsius: column(3).into_iter().reduce(f64::max),
    })
}

fn ask(program: &PathBuf, query: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(format!("--query-gpu={query}")).arg("--format=csv,noheader,nounits");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    if !succeeds_in_time(&mut child) {
        return None;
    }
    let mut bytes = Vec::new();
    child.stdout.take()?.take(NVIDIA_MAX_ANSWER).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// Ends and reaps a child that takes too long.
fn succeeds_in_time(child: &mut Child) -> bool {
    let mut waited = Duration::ZERO;
    while waited < NVIDIA_TIMEOUT {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(NVIDIA_POLL),
            Err(_) => break,
        }
        waited += NVIDIA_POLL;
    }
    // It may have ended by itself just now; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// The card for the record of the node.
pub fn info(files: &Files) -> Option<GpuInfo> {
    let nvidia = nvidia_smi(files).and_then(|program| nvidia_info(&ask(&program, "name,memory.total,compute_cap")?));
    nvidia.or_else(|| cards(files).iter().find_map(|card| card_info(files, card)))
}

fn nvidia_info(text: &str) -> Option<GpuInfo> {
    let mut fields = text.lines().next()?.split(',').map(str::trim);
    let model = fields.next().filter(|m| !m.is_empty())?;
    let memory_bytes = fields.next()?.parse::<u64>().ok().and_then(|mib| mib.checked_mul(1 << 20));
    let compute_capability = fields.next().filter(|c| c.parse::<f64>().is_ok()).map(str::to_owned);
    Some(GpuInfo { model: Some(model.to_owned()), memory_bytes, compute_capability })
}

fn card_info(files: &Files, card: &str) -> Option<GpuInfo> {
    let driver = files.text(&format!("{card}/uevent")).and_then(|text| {
        let driver = text.lines().find_map(|line| line.strip_prefix("DRIVER="))?;
        Some(driver.to_owned())
    })?;
    let memory_bytes = files.number(&format!("{card}/mem_info_vram_total"));
    let model = match driver.as_str() {
        "amdgpu" => files.text(&format!("{card}/product_name")).unwrap_or_else(|| "AMD graphics".into()),
        "v3d" => "Broadcom VideoCore".into(),
        _ => return None,
    };
    Some(GpuInfo { model: Some(model), memory_bytes, compute_capability: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_its_name_memory_and_capability() {
        let info = nvidia_info("NVIDIA GeForce RTX 3060, 12288, 8.6\nsecond, 1, 1.0\n").unwrap();
        assert_eq!((info.model.as_deref(), info.memory_bytes), (Some("NVIDIA GeForce RTX 3060"), Some(12_288 << 20)));
        assert_eq!(info.compute_capability.as_deref(), Some("8.6"));
        assert_eq!(nvidia_info("Old, [N/A], [N/A]").map(|i| (i.memory_bytes, i.compute_capability)), Some((None, None)));
        assert_eq!(nvidia_info("No devices were found"), None);
    }
}
