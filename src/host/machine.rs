//! How busy the manager's own machine is. Read from the kernel's memory, never from a disk, and kept for a while: who asks often costs nothing.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

/// A reading is shown for this long.
pub const KEPT_MS: i64 = 10_000;

/// What could not be read is None.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    pub memory_total_kib: Option<u64>,
    /// What programs could have without anything being swapped.
    pub memory_available_kib: Option<u64>,
    /// Work that ran or waited in the last 5 minutes, per processor: 1 is all of them, all of the time.
    pub load: Option<f64>,
}

pub struct Machine {
    proc: PathBuf,
    /// When it was read, by the boot clock.
    kept: Mutex<Option<(i64, Reading)>>,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::under("/proc")
    }
}

impl Machine {
    fn under(proc: impl Into<PathBuf>) -> Machine {
        Machine { proc: proc.into(), kept: Mutex::default() }
    }

    /// At `boot_ms`, or up to `KEPT_MS` before.
    pub fn reading(&self, boot_ms: i64) -> Reading {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, reading)) = *kept
            && boot_ms.saturating_sub(at) < KEPT_MS
        {
            return reading;
        }
        let reading = self.read();
        *kept = Some((boot_ms, reading));
        reading
    }

    fn read(&self) -> Reading {
        let text = |name: &str| fs::read_to_string(self.proc.join(name)).unwrap_or_default();
        let memory = text("meminfo");
        let kib = |name: &str| -> Option<u64> {
            let value = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        let processors = u32::try_from(available_parallelism().map_or(1, NonZeroUsize::get)).unwrap_or(u32::MAX);
        let load: Option<f64> = text("loadavg").split_whitespace().nth(1).and_then(|five_minutes| five_minutes.parse().ok());
        Reading {
            memory_total_kib: kib("MemTotal"),
            memory_available_kib: kib("MemAvailable"),
            load: load.map(|load| load / f64::from(processors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_kept_for_ten_seconds_and_what_is_missing_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::under(dir.path());
        assert_eq!(machine.reading(0), Reading::default());
        let write = |available: u32, load: &str| {
            fs::write(dir.path().join("meminfo"), format!("MemTotal:  4000 kB\nMemFree: 5 kB\nMemAvailable:   {available} kB\n")).unwrap();
            fs::write(dir.path().join("loadavg"), format!("9.00 {load} 9.00 1/200 77\n")).unwrap();
        };
        write(1_000, "0.00");
        assert_eq!(machine.reading(KEPT_MS - 1), Reading::default(), "kept");
        let reading = machine.reading(KEPT_MS);
        assert_eq!(reading, Reading { memory_total_kib: Some(4_000), memory_available_kib: Some(1_000), load: Some(0.0) });
        write(900, "half");
        assert_eq!(machine.reading(2 * KEPT_MS).load, None);
        let real = Machine::default().reading(0);
        assert!(real.memory_available_kib <= real.memory_total_kib, "{real:?}");
    }
}
