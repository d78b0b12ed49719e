//! The file system of the state folder, and the traffic of its device.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::{Files, float};
use crate::domain::metrics::Disk;
use crate::domain::time::BootMs;

/// A sector of /proc/diskstats, whatever the device's own is.
const SECTOR_BYTES: u64 = 512;
/// Rates over less than this would be noise.
const SHORTEST_INTERVAL_MS: i64 = 100;

pub struct DiskMeter {
    folder: PathBuf,
    device: Option<(u32, u32)>,
    before: Option<(BootMs, Counters)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    reads: u64,
    read_sectors: u64,
    writes: u64,
    written_sectors: u64,
}

impl DiskMeter {
    pub fn new(folder: &Path) -> DiskMeter {
        DiskMeter::with_device(folder, device_of(folder))
    }

    pub fn with_device(folder: &Path, device: Option<(u32, u32)>) -> DiskMeter {
        DiskMeter { folder: folder.to_owned(), device, before: None }
    }

    pub fn sample(&mut self, files: &Files, at: BootMs) -> Disk {
        let mut disk = space(&self.folder);
        let now = self.device.and_then(|device| counters(&files.text("proc/diskstats")?, device)).map(|counters| (at, counters));
        let before = std::mem::replace(&mut self.before, now);
        if let Some(((since, before), (_, now))) = before.zip(now) {
            rates(&mut disk, at.0 - since.0, before, now);
        }
        disk
    }
}

/// Major and minor number of the device that holds `folder`. A network or stacked file system has numbers that no device has.
pub fn device_of(folder: &Path) -> Option<(u32, u32)> {
    let device = std::fs::metadata(folder).ok()?.dev();
    Some((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Total, used and free as `df` counts them: what is reserved for root is neither free nor used.
pub fn space(folder: &Path) -> Disk {
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Disk::default() };
    let bytes = |blocks: u64| blocks.checked_mul(stat.f_frsize);
    Disk {
        total_bytes: bytes(stat.f_blocks),
        used_bytes: stat.f_blocks.checked_sub(stat.f_bfree).and_then(bytes),
        free_bytes: bytes(stat.f_bavail),
        ..Disk::default()
    }
}

/// Columns of /proc/diskstats: major minor name reads merged sectors ms writes merged sectors ms …
fn counters(text: &str, (major, minor): (u32, u32)) -> Option<Counters> {
    let (major, minor) = (major.to_string(), minor.to_string());
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse().ok();
        let ours = fields.first() == Some(&major.as_str()) && fields.get(1) == Some(&minor.as_str());
        ours.then(|| Some(Counters { reads: number(3)?, read_sectors: number(5)?, writes: number(7)?, written_sectors: number(9)? }))?
    })
}

/// The device's name in the kernel, such as `mmcblk0p2`.
pub fn device_name(files: &Files, (major, minor): (u32, u32)) -> Option<String> {
    let (major, minor) = (major.to_string(), minor.to_string());
    files.text("proc/diskstats")?.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let ours = fields.next() == Some(major.as_str()) && fields.next() == Some(minor.as_str());
        ours.then(|| fields.next().map(str::to_owned))?
    })
}

fn rates(disk: &mut Disk, interval_ms: i64, before: Counters, now: Counters) {
    let Some(interval_ms) = u64::try_from(interval_ms).ok().filter(|_| interval_ms >= SHORTEST_INTERVAL_MS) else { return };
    let per_second = |now: u64, before: u64| Some(now.checked_sub(before)?.checked_mul(1000)?.checked_add(interval_ms / 2)? / interval_ms);
    // Bytes per millisecond are 10^3 bytes per second.
    let mbps = |now: u64, before: u64| Some(float(now.checked_sub(before)?.checked_mul(SECTOR_BYTES)?) / float(interval_ms) / 1000.0);
    disk.read_iops = per_second(now.reads, before.reads);
    disk.write_iops = per_second(now.writes, before.writes);
    disk.read_throughput_mbps = mbps(now.read_sectors, before.read_sectors);
    disk.write_throughput_mbps = mbps(now.written_sectors, before.written_sectors);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "   8       0 sda 1 2 3 4 5 6 7 8 9\n   8      10 sda10 10 2 30 4 50 6 70 8 9\n   8       1 sda1 x\n";

    #[test]
    fn the_device_is_found_by_its_numbers() {
        let found = Counters { reads: 10, read_sectors: 30, writes: 50, written_sectors: 70 };
        assert_eq!(counters(TEXT, (8, 10)), Some(found));
        assert_eq!((counters(TEXT, (8, 1)), counters(TEXT, (8, 2)), counters("", (8, 0))), (None, None, None));
    }

    #[test]
    fn rates_need_time_and_counters_that_grow() {
        let at = |n: u64| Counters { reads: n, read_sectors: n, writes: n, written_sectors: n };
        let rated = |ms, before, now| {
            let mut disk = Disk::default();
            rates(&mut disk, ms, at(before), at(now));
            (disk.read_iops, disk.write_throughput_mbps)
        };
        assert_eq!(rated(2_000, 1_000, 5_000), (Some(2_000), Some(1.024)));
        assert_eq!(rated(99, 0, 5), (None, None));
        assert_eq!(rated(-1, 0, 5), (None, None));
        assert_eq!(rated(1_000, 5, 0), (None, None), "the device was plugged in again");
    }
}
