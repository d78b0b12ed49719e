//! What the machine is: told at enrolment and hashed into the fingerprint. The truth, also when it is less than the
//! manager asks for.

use std::path::Path;

use super::cpu::{cores, info_mhz, mean};
use super::disk::{device_name, device_of, space};
use super::files::{Files, float};
use super::{gpu, memory};
use crate::domain::enrolment::Fingerprint;
use crate::domain::node::{CpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, StorageInfo};

/// Interfaces told, at most.
const MAX_INTERFACES: usize = 32;
/// Characters of a text told, at most.
const MAX_TEXT: usize = 200;
const SECTOR_BYTES: u64 = 512;
/// Memory is hashed in steps of this, because kernels reserve a little more or less from version to version.
const MEMORY_STEP_BYTES: u64 = 256 << 20;
const NET: &str = "sys/class/net";

/// `state_dir` says which disk counts.
pub fn hardware_info(root: &str, state_dir: &Path) -> HardwareInfo {
    let files = Files::new(root);
    let disk = disk_of(&files, device_of(state_dir));
    describe(&files, disk.as_deref(), space(state_dir).total_bytes.unwrap_or(0))
}

/// Hashes of what identifies the machine. `salt` keeps two managers from comparing notes; it must stay the same for one manager.
pub fn fingerprint(root: &str, state_dir: &Path, salt: &str) -> Fingerprint {
    let files = Files::new(root);
    let disk = disk_of(&files, device_of(state_dir));
    hash(&files, disk.as_deref(), salt)
}

/// Changes with every boot of the machine; empty when the kernel does not tell.
pub fn boot_id(root: &str) -> String {
    Files::new(root).text("proc/sys/kernel/random/boot_id").unwrap_or_default()
}

pub fn host_name(root: &str) -> String {
    let files = Files::new(root);
    files.text("proc/sys/kernel/hostname").or_else(|| files.text("etc/hostname")).unwrap_or_default()
}

fn describe(files: &Files, disk: Option<&str>, file_system_bytes: u64) -> HardwareInfo {
    let max_khz = files.number("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq").map(float);
    HardwareInfo {
        cpu: CpuInfo {
            cores: files.text("proc/stat").and_then(|text| cores(&text)).unwrap_or(0),
            frequency_mhz: max_khz.map(|khz| khz / 1000.0).or_else(|| mean(&info_mhz(files))),
            architecture: Some(std::env::consts::ARCH.to_owned()),
        },
        memory: MemoryInfo { total_bytes: memory::sample(files).total_bytes.unwrap_or(0), kind: None },
        storage: storage(files, disk, file_system_bytes),
        gpu: gpu::info(files),
        network: network(files),
    }
}

/// The disk (`mmcblk0`) that a device (`mmcblk0p2`) is or is a part of.
fn disk_of(files: &Files, device: Option<(u32, u32)>) -> Option<String> {
    let name = device_name(files, device?)?;
    files.names("sys/block").into_iter().find(|disk| *disk == name || files.path(&format!("sys/block/{disk}/{name}")).is_dir())
}

/// The whole disk's size where it is known, the file system's otherwise.
fn storage(files: &Files, disk: Option<&str>, file_system_bytes: u64) -> StorageInfo {
    let Some(disk) = disk else { return StorageInfo { total_bytes: file_system_bytes, kind: None, interface: None } };
    let sectors = files.number(&format!("sys/block/{disk}/size"));
    let total_bytes = sectors.and_then(|s| s.checked_mul(SECTOR_BYTES)).filter(|b| *b > 0).unwrap_or(file_system_bytes);
    let kind = match files.text(&format!("sys/block/{disk}/device/type")).as_deref() {
        Some("SD") => Some("SD"),
        Some("MMC") => Some("eMMC"),
        _ => match files.number(&format!("sys/block/{disk}/queue/rotational")) {
            Some(0) => Some("SSD"),
            // Virtual disks call themselves rotating whatever is below them.
            Some(1) if !disk.starts_with("vd") => Some("HDD"),
            _ => None,
        },
    };
    let link = std::fs::read_link(files.path(&format!("sys/block/{disk}"))).unwrap_or_default();
    let link = link.to_string_lossy();
    let by_name = [("mmcblk", "MMC"), ("nvme", "NVMe"), ("vd", "virtio")].into_iter().find(|(prefix, _)| disk.starts_with(prefix));
    let by_path = [("/usb", "USB"), ("/ata", "SATA")].into_iter().find(|(part, _)| link.contains(part));
    let interface = by_name.or(by_path).map(|(_, interface)| interface.to_owned());
    StorageInfo { total_bytes, kind: kind.map(str::to_owned), interface }
}

/// Interfaces with hardware behind them; a container has none, then all but loopback.
fn network(files: &Files) -> Vec<NetworkInfo> {
    let mut names: Vec<String> = files.names(NET).into_iter().filter(|name| name != "lo").collect();
    if names.iter().any(|name| is_physical(files, name)) {
        names.retain(|name| is_physical(files, name));
    }
    let info = |name: String| NetworkInfo {
        speed_mbps: files.number(&format!("{NET}/{name}/speed")).filter(|s| *s > 0 && *s < 10_000_000),
        mac_address: mac(files, &name),
        interface: name.chars().take(MAX_TEXT).collect(),
    };
    names.into_iter().take(MAX_INTERFACES).map(info).collect()
}

fn is_physical(files: &Files, name: &str) -> bool {
    files.path(&format!("{NET}/{name}/device")).exists()
}

fn mac(files: &Files, name: &str) -> Option<String> {
    let text = files.text(&format!("{NET}/{name}/address"))?.to_ascii_lowercase();
    let is_mac = text.len() == 17 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    (is_mac && text != "00:00:00:00:00:00").then_some(text)
}

fn hash(files: &Files, disk: Option<&str>, salt: &str) -> Fingerprint {
    let first = |paths: &[&str]| paths.iter().find_map(|path| files.text(path));
    let part = |name: &str, value: Option<String>| value.filter(|v| !v.is_empty()).map(|v| Fingerprint::part(salt, name, &v));
    let serials = ["sys/firmware/devicetree/base/serial-number", "proc/device-tree/serial-number", "sys/class/dmi/id/board_serial"];
    let serial = first(&serials).or_else(|| first(&["sys/class/dmi/id/product_serial", "sys/class/dmi/id/product_uuid"]));
    let disk_id = disk.and_then(|disk| {
        let names = ["device/cid", "wwid", "device/wwid", "device/serial", "serial"];
        names.iter().find_map(|name| files.text(&format!("sys/block/{disk}/{name}")))
    });
    Fingerprint {
        machine_id: part("machine_id", first(&["etc/machine-id", "var/lib/dbus/machine-id"])),
        board_serial: part("board_serial", serial),
        cpu: part("cpu", cpu_model(files)),
        memory: part("memory", memory::sample(files).total_bytes.map(|b| (b / MEMORY_STEP_BYTES).to_string())),
        disk_id: part("disk_id", disk_id),
        macs: part("macs", Some(macs(files))),
    }
}

/// Of the hardware's own interfaces, so that containers and tunnels that come and go do not change it.
fn macs(files: &Files) -> String {
    let physical = files.names(NET).into_iter().filter(|name| is_physical(files, name));
    let mut macs: Vec<String> = physical.filter_map(|name| mac(files, &name)).collect();
    macs.sort_unstable();
    macs.join(",")
}

/// The model's name, and on boards whose cpuinfo has none, the board's.
fn cpu_model(files: &Files) -> Option<String> {
    let text = files.text("proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    field("model name").or_else(|| field("Model")).or_else(|| files.text("proc/device-tree/model"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::refusal::FieldErrors;

    fn fixture(name: &str) -> Files {
        Files::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent").join(name))
    }

    #[test]
    fn a_raspberry_pi_is_described_and_fits_the_manager_s_rules() {
        let files = fixture("pi4");
        let disk = disk_of(&files, Some((179, 2)));
        assert_eq!(disk.as_deref(), Some("mmcblk0"));
        let info = describe(&files, disk.as_deref(), 1);
        assert_eq!((info.cpu.cores, info.cpu.frequency_mhz), (4, Some(1800.0)));
        assert_eq!((info.storage.total_bytes, info.storage.kind.as_deref()), (62_367_744 * 512, Some("SD")));
        assert_eq!(info.storage.interface.as_deref(), Some("MMC"));
        let eth0 = NetworkInfo { interface: "eth0".into(), speed_mbps: Some(1000), mac_address: Some("dc:a6:32:01:02:03".into()) };
        let wlan0 = NetworkInfo { interface: "wlan0".into(), speed_mbps: None, mac_address: Some("dc:a6:32:01:02:04".into()) };
        assert_eq!(info.network, [eth0, wlan0], "the container's bridge is left out");
        assert_eq!(info.gpu.as_ref().and_then(|g| g.model.as_deref()), Some("Broadcom VideoCore"));
        let mut errors = FieldErrors::default();
        info.check(&mut errors, "hardware_info");
        assert!(errors.0.is_empty(), "{errors:?}");
    }

    #[test]
    fn a_pc_is_described() {
        let files = fixture("pc-amdgpu");
        let disk = disk_of(&files, Some((259, 2)));
        let info = describe(&files, disk.as_deref(), 1);
        assert_eq!((info.storage.kind.as_deref(), info.storage.interface.as_deref()), (Some("SSD"), Some("NVMe")));
        assert_eq!(info.gpu.and_then(|g| g.memory_bytes), Some(8_573_157_376));
        let print = hash(&files, disk.as_deref(), "salt");
        assert!(print.board_serial.is_some() && print.disk_id.is_some() && print.is_well_formed());
    }

    #[test]
    fn a_disk_is_called_rotating_only_when_it_can_know() {
        let folder = crate::agent::state::tests::Folder::new();
        for (disk, kind) in [("sda", Some("HDD")), ("vda", None)] {
            std::fs::create_dir_all(folder.path().join(format!("sys/block/{disk}/queue"))).unwrap();
            std::fs::write(folder.path().join(format!("sys/block/{disk}/queue/rotational")), "1\n").unwrap();
            let info = storage(&Files::new(folder.path()), Some(disk), 7);
            assert_eq!((info.kind.as_deref(), info.total_bytes), (kind, 7), "{disk}");
        }
    }

    #[test]
    fn an_unknown_machine_is_not_made_up() {
        let info = describe(&fixture("garbage"), None, 7);
        assert_eq!((info.cpu.cores, info.memory.total_bytes, info.storage.total_bytes), (0, 0, 7));
        assert_eq!((info.gpu, info.network), (None, vec![]));
        assert_eq!(hash(&Files::new(PathBuf::from("/no/such/folder")), None, "s"), Fingerprint::default());
    }

    #[test]
    fn the_fingerprint_is_steady_salted_and_complete() {
        let files = fixture("pi4");
        let print = hash(&files, Some("mmcblk0"), "a");
        assert_eq!(print, hash(&files, Some("mmcblk0"), "a"));
        assert!(print.is_well_formed());
        let other = hash(&files, Some("mmcblk0"), "b");
        for (ours, theirs) in [
            (&print.machine_id, &other.machine_id),
            (&print.board_serial, &other.board_serial),
            (&print.cpu, &other.cpu),
            (&print.memory, &other.memory),
            (&print.disk_id, &other.disk_id),
            (&print.macs, &other.macs),
        ] {
            assert!(ours.is_some() && ours != theirs);
        }
    }
}
