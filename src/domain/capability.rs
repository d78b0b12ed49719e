//! What a node can do, in words that a filter finds: derived from its hardware, and what its agent tells.

use super::node::HardwareInfo;

const GB: u64 = 1_000_000_000;

/// `name` or `name:value`, without duplicates: what `reported` says comes after what the hardware says. All lower case.
pub fn of(hardware: Option<&HardwareInfo>, reported: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |name: &str, value: Option<&str>| {
        let text = value.map_or_else(|| name.to_owned(), |value| format!("{name}:{}", value.to_ascii_lowercase()));
        if !found.contains(&text) {
            found.push(text);
        }
    };
    if let Some(hardware) = hardware {
        if let Some(architecture) = &hardware.cpu.architecture {
            add("architecture", Some(architecture));
        }
        add("cores", Some(&hardware.cpu.cores.to_string()));
        add("memory_gb", Some(&(hardware.memory.total_bytes.saturating_add(GB / 2) / GB).to_string()));
        if let Some(kind) = &hardware.storage.kind {
            add("storage", Some(kind));
        }
        if let Some(gpu) = &hardware.gpu {
            add("gpu", None);
            if let Some(model) = &gpu.model {
                add("gpu", Some(model));
            }
        }
    }
    for text in reported {
        add(&text.to_ascii_lowercase(), None);
    }
    found
}

/// `gpu` finds every GPU, `gpu:videocore` that one.
pub fn fits(capabilities: &[String], wanted: &str) -> bool {
    let wanted = wanted.to_ascii_lowercase();
    capabilities.iter().any(|own| *own == wanted || own.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with(':')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::{CpuInfo, GpuInfo, MemoryInfo, StorageInfo};

    #[test]
    fn what_a_machine_is_can_be_asked_for() {
        let hardware = HardwareInfo {
            cpu: CpuInfo { cores: 4, architecture: Some("aarch64".into()), frequency_mhz: None },
            memory: MemoryInfo { total_bytes: 3_980_000_000, kind: None },
            storage: StorageInfo { kind: Some("NVMe".into()), ..StorageInfo::default() },
            gpu: Some(GpuInfo { model: Some("VideoCore".into()), ..GpuInfo::default() }),
            network: Vec::new(),
        };
        let found = of(Some(&hardware), &["cgroup2".into(), "GPU".into()]);
        assert_eq!(found, ["architecture:aarch64", "cores:4", "memory_gb:4", "storage:nvme", "gpu", "gpu:videocore", "cgroup2"]);
        for (wanted, is_found) in
            [("gpu", true), ("GPU:VideoCore", true), ("cores", true), ("cores:40", false), ("core", false), ("cgroup2", true)]
        {
            assert_eq!(fits(&found, wanted), is_found, "{wanted}");
        }
        assert!(of(None, &[]).is_empty());
    }
}
