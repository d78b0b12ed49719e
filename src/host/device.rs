//! What a folder lies on: from /proc and /sys, whose roots are arguments so that tests bring their own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What stores the bytes, as far as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sd,
    Emmc,
    Ssd,
    Hdd,
    Network,
    Memory,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub kind: Kind,
    /// Model, as it says of itself.
    pub name: Option<String>,
    pub filesystem: Option<String>,
    pub removable: Option<bool>,
}

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// `major:minor`.
    device: String,
    filesystem: String,
    source: PathBuf,
}

/// The mount that holds `path`: the longest mount point above it, of equal ones the last, which covers the others.
/// Format: proc_pid_mountinfo(5).
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(2);
        let (Some(device), Some(point)) = (left.next(), left.nth(1)) else { continue };
        let mut right = right.split(' ');
        let (Some(filesystem), Some(source)) = (right.next(), right.next()) else { continue };
        let point = unescape(point);
        let depth = point.components().count();
        if path.starts_with(&point) && best.as_ref().is_none_or(|(deepest, _)| depth >= *deepest) {
            best = Some((depth, Mount { device: device.to_owned(), filesystem: filesystem.to_owned(), source: unescape(source) }));
        }
    }
    best.map(|(_, mount)| mount)
}

/// Space, tab, newline and backslash stand as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// What sysfs says of a whole disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Disk {
    /// `mmcblk0`, `sda`.
    name: String,
    rotational: Option<bool>,
    removable: Option<bool>,
    /// Of MMC only: `SD` or `MMC`.
    card: Option<String>,
    model: Option<String>,
}

const NETWORK: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "virtiofs"];
const MEMORY: &[&str] = &["tmpfs", "ramfs"];
/// Disks of virtual machines say that they rotate, and do not know.
const VIRTUAL: &[&str] = &["vd", "xvd", "loop", "nbd", "rbd", "zram"];

fn kind_of(filesystem: &str, disk: Option<&Disk>) -> Kind {
    if NETWORK.contains(&filesystem) {
        return Kind::Network;
    }
    if MEMORY.contains(&filesystem) {
        return Kind::Memory;
    }
    let Some(disk) = disk else { return Kind::Unknown };
    match (disk.card.as_deref(), disk.rotational) {
        (Some("SD"), _) => Kind::Sd,
        (Some("MMC"), _) => Kind::Emmc,
        _ if VIRTUAL.iter().any(|prefix| disk.name.starts_with(prefix)) => Kind::Unknown,
        (_, Some(false)) => Kind::Ssd,
        // A USB stick says that it rotates as well.
        (_, Some(true)) if disk.removable == Some(true) => Kind::Unknown,
        (_, Some(true)) => Kind::Hdd,
        (_, None) => Kind::Unknown,
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn flag(path: &Path) -> Option<bool> {
    text(path).map(|text| text == "1")
}

/// Encrypted and logical volumes lie on each other; deeper is not looked.
const VOLUMES: usize = 4;

/// The disk under a mount: a partition belongs to its disk, a volume over one disk is that disk.
fn disk_of(sys: &Path, mount: &Mount) -> Option<Disk> {
    let by_number = fs::canonicalize(sys.join("dev/block").join(&mount.device));
    // btrfs and overlays have numbers of their own; the source may still name a disk.
    let by_source = || fs::canonicalize(sys.join("class/block").join(fs::canonicalize(&mount.source).ok()?.file_name()?)).ok();
    let mut place = by_number.ok().or_else(by_source)?;
    for _ in 0..VOLUMES {
        let below: Vec<PathBuf> =
            fs::read_dir(place.join("slaves")).map_or_else(|_| Vec::new(), |e| e.flatten().map(|e| e.path()).collect());
        match below.as_slice() {
            [only] => place = fs::canonicalize(only).ok()?,
            _ => break,
        }
    }
    if place.join("partition").exists() {
        place = place.parent()?.to_owned();
    }
    let name = place.file_name()?.to_string_lossy().into_owned();
    let card = text(&place.join("device/type")).filter(|_| name.starts_with("mmcblk"));
    let model = text(&place.join("device/model")).or_else(|| text(&place.join("device/name")));
    Some(Disk { name, rotational: flag(&place.join("queue/rotational")), removable: flag(&place.join("removable")), card, model })
}

/// What `folder` lies on.
pub fn device_of(folder: &Path, proc: &Path, sys: &Path) -> Device {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mount = fs::read_to_string(proc.join("self/mountinfo")).ok().and_then(|table| mount_of(&table, &folder));
    let disk = mount.as_ref().and_then(|mount| disk_of(sys, mount));
    let filesystem = mount.map(|mount| mount.filesystem);
    Device {
        kind: kind_of(filesystem.as_deref().unwrap_or(""), disk.as_ref()),
        name: disk.as_ref().and_then(|disk| disk.model.clone()),
        removable: disk.and_then(|disk| disk.removable),
        filesystem,
    }
}

/// Bytes that this process had written to storage, from /proc/self/io: proc_pid_io(5).
pub fn written_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:")).and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw
31 22 0:26 / /tmp rw shared:11 - tmpfs tmpfs rw,size=1g
40 22 8:1 / /mnt/my\\040disk rw,relatime shared:20 - ext4 /dev/sda1 rw
41 22 0:40 / /mnt/share rw - nfs4 nas:/x rw
42 41 0:41 / /mnt/share rw - tmpfs over rw
broken line
";

    fn found(path: &str) -> (String, String) {
        let mount = mount_of(TABLE, Path::new(path)).unwrap();
        (mount.device, mount.filesystem)
    }

    #[test]
    fn the_deepest_and_last_mount_holds_a_path() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(found("/var/lib/lucid"), pair("179:2", "ext4"));
        assert_eq!(found("/tmp/x"), pair("0:26", "tmpfs"));
        assert_eq!(found("/tmpfiles"), pair("179:2", "ext4"), "a name is not a folder");
        assert_eq!(found("/mnt/my disk/data"), pair("8:1", "ext4"));
        assert_eq!(found("/mnt/share/data"), pair("0:41", "tmpfs"), "what was mounted over it hides it");
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn a_disk_is_what_it_says_and_else_not_known() {
        let disk = |name: &str, rotational, removable, card: Option<&str>| Disk {
            name: name.into(),
            rotational: Some(rotational),
            removable: Some(removable),
            card: card.map(str::to_owned),
            model: None,
        };
        let kind = |disk: Disk| kind_of("ext4", Some(&disk));
        assert_eq!(kind(disk("mmcblk0", false, false, Some("SD"))), Kind::Sd);
        assert_eq!(kind(disk("mmcblk1", false, false, Some("MMC"))), Kind::Emmc);
        assert_eq!(kind(disk("nvme0n1", false, false, None)), Kind::Ssd);
        assert_eq!(kind(disk("sda", true, false, None)), Kind::Hdd);
        assert_eq!(kind(disk("sdb", true, true, None)), Kind::Unknown);
        assert_eq!(kind(disk("vda", true, false, None)), Kind::Unknown);
        assert_eq!((kind_of("nfs4", None), kind_of("tmpfs", None), kind_of("overlay", None)), (Kind::Network, Kind::Memory, Kind::Unknown));
    }

    #[test]
    fn a_partition_is_followed_to_its_card() {
        let root = tempfile::tempdir().unwrap();
        let (proc, sys, data) = (root.path().join("proc"), root.path().join("sys"), root.path().join("data"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        fs::create_dir(&data).unwrap();
        write(proc.join("self/mountinfo"), "1 0 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n");
        let disk = sys.join("devices/mmcblk0");
        write(disk.join("mmcblk0p2/partition"), "2\n");
        write(disk.join("queue/rotational"), "0\n");
        write(disk.join("removable"), "0\n");
        write(disk.join("device/type"), "SD\n");
        write(disk.join("device/name"), "SN32G\n");
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/mmcblk0/mmcblk0p2", sys.join("dev/block/179:2")).unwrap();
        let card = Device { kind: Kind::Sd, name: Some("SN32G".into()), filesystem: Some("ext4".into()), removable: Some(false) };
        assert_eq!(device_of(&data, &proc, &sys), card);

        // An encrypted volume over the same partition.
        write(proc.join("self/mountinfo"), "1 0 254:0 / / rw - ext4 /dev/mapper/crypt rw\n");
        fs::create_dir_all(sys.join("devices/dm-0/slaves")).unwrap();
        std::os::unix::fs::symlink(disk.join("mmcblk0p2"), sys.join("devices/dm-0/slaves/mmcblk0p2")).unwrap();
        std::os::unix::fs::symlink("../../devices/dm-0", sys.join("dev/block/254:0")).unwrap();
        assert_eq!(device_of(&data, &proc, &sys), card);

        let nothing = device_of(&data, &root.path().join("none"), &sys);
        assert_eq!(nothing, Device { kind: Kind::Unknown, name: None, filesystem: None, removable: None });
    }

    #[test]
    fn written_bytes_are_those_of_storage() {
        let io = "rchar: 1\nwchar: 99\nsyscr: 2\nsyscw: 3\nread_bytes: 4096\nwrite_bytes: 323932160\ncancelled_write_bytes: 0\n";
        assert_eq!(written_bytes(io), Some(323_932_160));
        assert_eq!(written_bytes(""), None);
    }
}
