//! Measures the machine. Everything is read below a root folder (`/`, or a fixture); what the machine does not have is absent,
//! never zero. sysinfo gives the sensors, whose naming it knows best; the rest are single small files of the kernel.

mod cpu;
mod disk;
mod files;
mod gpu;
mod hardware;
mod memory;
mod network;

use std::path::{Path, PathBuf};

use self::cpu::CpuMeter;
use self::disk::DiskMeter;
use self::files::Files;
use self::gpu::GpuMeter;
pub use self::hardware::{boot_id, fingerprint, hardware_info, host_name};
use crate::domain::metrics::Sample;
use crate::domain::time::BootMs;

/// Keeps what differences need from one sample to the next.
pub struct Collector {
    files: Files,
    cpu: CpuMeter,
    disk: DiskMeter,
    gpu: GpuMeter,
}

impl Collector {
    /// `state_dir` says which file system and device are measured.
    pub fn new(root: impl Into<PathBuf>, state_dir: &Path) -> Collector {
        let files = Files::new(root);
        let (cpu, disk) = (CpuMeter::new(&files), DiskMeter::new(state_dir));
        Collector { cpu, disk, gpu: GpuMeter::new(gpu::nvidia_smi(&files)), files }
    }

    /// A sample takes long enough (a program is started) to want a thread of its own.
    pub fn blocks(&self) -> bool {
        self.gpu.blocks()
    }

    /// Shares and rates are since the sample before.
    pub fn sample(&mut self, at: BootMs) -> Sample {
        let files = &self.files;
        let sample = Sample {
            cpu: self.cpu.sample(files),
            memory: memory::sample(files),
            disk: self.disk.sample(files, at),
            network: network::sample(files),
            gpu: self.gpu.sample(files),
        };
        sample.sanitised()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::agent::state::tests::Folder;
    use crate::domain::metrics::Gpu;

    pub fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent").join(name)
    }

    fn collector(root: &Path, device: Option<(u32, u32)>) -> Collector {
        let files = Files::new(root);
        let disk = DiskMeter::with_device(Path::new("/"), device);
        Collector { cpu: CpuMeter::new(&files), disk, gpu: GpuMeter::new(None), files }
    }

    /// A copy of a fixture that a test may change.
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[test]
    fn a_raspberry_pi_is_measured() {
        let folder = Folder::new();
        copy(&fixture("pi4"), folder.path());
        let mut collector = collector(folder.path(), Some((179, 2)));
        let first = collector.sample(BootMs(1_000));
        assert_eq!((first.cpu.usage_percent, first.disk.read_iops, first.gpu), (None, None, None), "no interval yet");
        assert_eq!((first.cpu.cores, first.cpu.frequency_mhz, first.cpu.temperature_celsius), (Some(4), Some(1500.0), Some(48.686)));
        assert_eq!(first.cpu.load_average, Some([0.52, 0.58, 0.59]));
        assert_eq!(first.memory.total_bytes, Some(3_884_376 * 1024));
        assert_eq!(first.memory.used_bytes, Some((3_884_376 - 3_208_192) * 1024));
        assert_eq!((first.memory.swap_total_bytes, first.memory.swap_used_bytes), (Some(102_396 * 1024), Some(1_024 * 1024)));
        let names: Vec<_> = first.network.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["eth0", "wlan0"], "loopback is left out");
        assert_eq!((first.network.total_bytes_in, first.network.errors_in), (Some(1_000_500), Some(3)));

        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        // 100 of 400 ticks busy; 60 reads of 8 sectors and 30 writes of 16 sectors in 30 s; the render queue busy for 3 of 30 s.
        write("proc/stat", "cpu  1080 0 520 8300 100 0 0 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n");
        write("proc/diskstats", " 179       2 mmcblk0p2 1060 5 80480 900 530 7 40480 800 0 500 1700\n");
        write(
            "sys/class/drm/card0/device/gpu_stats",
            "queue\ttimestamp\tjobs\truntime\nbin\t31000000000\t9\t100\nrender\t31000000000\t9\t4000000000\n",
        );
        let second = collector.sample(BootMs(31_000));
        assert_eq!(second.cpu.usage_percent, Some(25.0));
        assert_eq!((second.disk.read_iops, second.disk.write_iops), (Some(2), Some(1)));
        assert_eq!(second.disk.read_throughput_mbps, Some(0.008_192));
        assert_eq!(second.disk.write_throughput_mbps, Some(0.008_192));
        assert_eq!(second.gpu, Some(Gpu { usage_percent: Some(10.0), ..Gpu::default() }));
    }

    #[test]
    fn a_pc_with_an_amd_card_is_measured() {
        let mut collector = collector(&fixture("pc-amdgpu"), Some((259, 2)));
        let sample = collector.sample(BootMs(1_000));
        let gpu = Gpu {
            usage_percent: Some(37.0),
            memory_used_bytes: Some(1_234_567_168),
            memory_total_bytes: Some(8_573_157_376),
            temperature_celsius: Some(54.0),
        };
        assert_eq!(sample.gpu, Some(gpu));
        assert_eq!(sample.cpu.temperature_celsius, None, "an ACPI zone is no processor; sensors are sysinfo's");
        assert_eq!((sample.cpu.cores, sample.cpu.frequency_mhz), (Some(2), Some(3_600.5)));
        assert_eq!(sample.memory.swap_total_bytes, Some(0), "no swap is known to be none");
    }

    #[test]
    fn garbage_and_missing_files_are_absent_values() {
        for name in ["garbage", "no-such-folder"] {
            let mut collector = collector(&fixture(name), Some((8, 1)));
            for at in [1_000, 31_000] {
                let sample = collector.sample(BootMs(at));
                let expected = Sample { disk: sample.disk.clone(), ..Sample::default() };
                assert_eq!(sample, expected, "{name}");
                assert_eq!((sample.disk.read_iops, sample.disk.write_throughput_mbps), (None, None));
            }
        }
    }

    #[test]
    fn this_machine_is_measured() {
        let folder = Folder::new();
        let mut collector = Collector::new("/", folder.path());
        let sample = collector.sample(BootMs(1_000));
        assert!(sample.cpu.cores.is_some_and(|n| n > 0));
        assert!(sample.memory.total_bytes > sample.memory.used_bytes);
        assert!(sample.disk.total_bytes > sample.disk.free_bytes);
        assert_eq!(sample.clone().sanitised(), sample);
    }

    fn script(folder: &Folder, text: &str) -> PathBuf {
        let path = folder.path().join("nvidia-smi");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn an_nvidia_card_is_asked_through_its_program() {
        let mut meter = GpuMeter::new(Some(fixture("nvidia-smi")));
        assert!(meter.blocks());
        let files = Files::new(fixture("no-such-folder"));
        let gpu = Gpu {
            usage_percent: Some(40.0),
            memory_used_bytes: Some(3_072 << 20),
            memory_total_bytes: Some(32_768 << 20),
            temperature_celsius: Some(61.0),
        };
        assert_eq!(meter.sample(&files), Some(gpu), "two cards: mean use, all memory, the hotter one");
    }

    #[test]
    fn an_nvidia_program_that_fails_or_talks_nonsense_gives_no_card() {
        let folder = Folder::new();
        let files = Files::new(fixture("no-such-folder"));
        for text in ["#!/bin/sh\nexit 9\n", "#!/bin/sh\necho No devices were found\n", "#!/bin/sh\necho '[N/A], [N/A], [N/A], [N/A]'\n"] {
            assert_eq!(GpuMeter::new(Some(script(&folder, text))).sample(&files), None, "{text}");
        }
        assert_eq!(GpuMeter::new(Some(folder.path().join("gone"))).sample(&files), None);
    }

    #[test]
    fn an_nvidia_program_that_hangs_is_ended() {
        let folder = Folder::new();
        let files = Files::new(fixture("no-such-folder"));
        let mut meter = GpuMeter::new(Some(script(&folder, "#!/bin/sh\nsleep 20\necho 1, 1, 1, 1\n")));
        assert_eq!(meter.sample(&files), None, "its answer is not waited for");
    }
}
