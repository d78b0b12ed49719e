//! A control group (version 2) of the workload's own, where the machine lets the agent make one: systemd's `Delegate=yes`, a container, or root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The agent's own leaf: a group with controllers may hold no processes itself.
const LEAF: &str = "lucid-agent";
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel takes no shorter quota.
const MIN_CPU_QUOTA_US: u64 = 1_000;
const MAX_PIDS: usize = 65_536;

#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Why the group cannot hold the workload to a limit of this.
    pub cpu: Result<(), String>,
    pub memory: Result<(), String>,
}

impl Cgroup {
    /// Makes or finds the group `name` beside the agent's own. The error says why there can be none.
    pub fn prepare(name: &str) -> Result<Cgroup, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own_group(&mounts, &groups).ok_or("this machine has no control groups of version 2")?;
        // A restarted agent may already be in a leaf.
        let base = if own.file_name().is_some_and(|last| last == LEAF) { own.parent().unwrap_or(&own).to_owned() } else { own };
        let denied = |error: io::Error| format!("no control group is delegated to the agent ({error}): see Delegate= of systemd");
        let (leaf, path) = (base.join(LEAF), base.join(name));
        make(&leaf).and_then(|()| make(&path)).map_err(denied)?;
        fs::write(leaf.join("cgroup.procs"), "0").map_err(denied)?;
        let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let controller = |name: &str, file: &str| enable(&base, name, &path.join(file)).map_err(|why| explain(name, why, &cmdline));
        Ok(Cgroup { cpu: controller("cpu", "cpu.max"), memory: controller("memory", "memory.max"), path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `hundredths` of a percent of a machine with so many cores.
    pub fn limit_cpu(&self, hundredths: Option<u32>, cores: u32) -> io::Result<()> {
        let quota = hundredths.map(|share| (u64::from(share) * u64::from(cores) * CPU_PERIOD_US / 10_000).max(MIN_CPU_QUOTA_US));
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        fs::write(self.path.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}"))
    }

    /// Who takes more is killed, with everything of the workload: a half of it is worth nothing.
    pub fn limit_memory(&self, bytes: Option<u64>) -> io::Result<()> {
        // Both are missing on some kernels, and help only.
        let _ = fs::write(self.path.join("memory.oom.group"), "1");
        let _ = fs::write(self.path.join("memory.swap.max"), if bytes.is_some() { "0" } else { "max" });
        fs::write(self.path.join("memory.max"), bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string()))
    }

    /// SIGTERM to everything in it, groups within included.
    pub fn terminate(&self) {
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().take(MAX_PIDS).filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Kills everything in it at once.
    pub fn kill(&self) {
        // Kernels before 5.14 lack it; the process group is killed too.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// How often the memory limit has killed something.
    pub fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    #[cfg(test)]
    pub fn for_test(path: PathBuf, cpu: Result<(), String>, memory: Result<(), String>) -> Cgroup {
        Cgroup { path, cpu, memory }
    }

    /// Nothing holds it any more; fails while something runs in it.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

enum NoController {
    /// The group above does not have it.
    Absent,
    NotEnabled(io::Error),
}

fn enable(base: &Path, name: &str, file: &Path) -> Result<(), NoController> {
    if file.exists() {
        return Ok(());
    }
    let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    if !offered.split_ascii_whitespace().any(|offer| offer == name) {
        return Err(NoController::Absent);
    }
    fs::write(base.join("cgroup.subtree_control"), format!("+{name}")).map_err(NoController::NotEnabled)
}

fn explain(name: &str, why: NoController, cmdline: &str) -> String {
    let disabled = cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix("cgroup_disable="));
    if disabled.flat_map(|list| list.split(',')).any(|disabled| disabled == name) {
        // The kernels of Raspberry Pi OS do this.
        return format!("the kernel was started with cgroup_disable={name}; add cgroup_enable={name} to its command line");
    }
    match why {
        NoController::Absent => format!("the agent's control group has no {name} controller"),
        NoController::NotEnabled(error) => format!("the {name} controller cannot be passed on: {error}"),
    }
}

/// The folder of this process's group: the mount of version 2, and its place in it.
fn own_group(mounts: &str, groups: &str) -> Option<PathBuf> {
    let place = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mount) = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ');
        let (root, mount) = (fields.nth(3)?, fields.next()?);
        right.starts_with("cgroup2 ").then_some((root, mount))
    })?;
    let below = Path::new(place).strip_prefix(root).ok()?;
    Some(Path::new(mount).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "25 30 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_group_is_found_below_the_mount() {
        let service = "0::/system.slice/lucid-node-agent.service\n";
        assert_eq!(own_group(UNIFIED, service), Some("/sys/fs/cgroup/system.slice/lucid-node-agent.service".into()));
        let hybrid =
            "31 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n40 29 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own_group(hybrid, "1:cpu:/\n0::/\n"), Some("/sys/fs/cgroup/unified/".into()));
        assert_eq!(own_group("31 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/\n"), None);
    }

    #[test]
    fn a_disabled_controller_is_named_with_its_cure() {
        let pi = "console=tty1 cgroup_disable=memory root=/dev/mmcblk0p2";
        assert!(explain("memory", NoController::Absent, pi).contains("cgroup_enable=memory"));
        assert_eq!(explain("cpu", NoController::Absent, pi), "the agent's control group has no cpu controller");
    }
}
