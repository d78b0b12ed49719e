//! Processor: use, cores, frequency, load and temperature.

use sysinfo::Components;

use super::files::{Files, float};
use crate::domain::metrics::Cpu;

pub struct CpuMeter {
    before: Option<Ticks>,
    /// The sensors that sysinfo knows, with the place of the processor's own.
    sensor: Option<(Components, usize)>,
}

/// Clock ticks since boot, of all processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl CpuMeter {
    pub fn new(files: &Files) -> CpuMeter {
        let sensor = if files.are_real() { processor_sensor() } else { None };
        let before = files.text("proc/stat").and_then(|text| ticks(&text));
        CpuMeter { before, sensor }
    }

    pub fn sample(&mut self, files: &Files) -> Cpu {
        let stat = files.text("proc/stat").unwrap_or_default();
        let now = ticks(&stat);
        let before = std::mem::replace(&mut self.before, now);
        Cpu {
            usage_percent: before.zip(now).and_then(|(before, now)| usage_percent(before, now)),
            cores: cores(&stat),
            frequency_mhz: frequency_mhz(files),
            load_average: files.text("proc/loadavg").and_then(|text| load_average(&text)),
            temperature_celsius: self.sensed().or_else(|| zone_celsius(files)),
        }
    }

    fn sensed(&mut self) -> Option<f64> {
        let (sensors, place) = self.sensor.as_mut()?;
        let sensor = sensors.get_mut(*place)?;
        sensor.refresh();
        sensor.temperature().map(f64::from)
    }
}

/// Fields of the first line of /proc/stat: user nice system idle iowait irq softirq steal; guest is within user.
fn ticks(stat: &str) -> Option<Ticks> {
    let fields: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).map_while(|f| f.parse().ok()).collect();
    let idle = fields.get(3)?.saturating_add(*fields.get(4).unwrap_or(&0));
    let total = fields.iter().fold(0, |sum: u64, f| sum.saturating_add(*f));
    Some(Ticks { busy: total.saturating_sub(idle), total })
}

/// Ticks of all processors between two samples, at least: a share of fewer is that of the moment in which it was asked.
const MIN_TICKS: u64 = 100;

/// Absent when too few ticks passed, or when counters ran backwards (iowait does).
fn usage_percent(before: Ticks, now: Ticks) -> Option<f64> {
    let total = now.total.checked_sub(before.total).filter(|t| *t >= MIN_TICKS)?;
    let busy = now.busy.saturating_sub(before.busy).min(total);
    Some(float(busy) * 100.0 / float(total))
}

/// Online processors.
pub fn cores(stat: &str) -> Option<u32> {
    let is_core = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    u32::try_from(stat.lines().filter(is_core).count()).ok().filter(|n| *n > 0)
}

/// Mean over the frequency domains, or over the processors where there is no cpufreq.
fn frequency_mhz(files: &Files) -> Option<f64> {
    const FOLDER: &str = "sys/devices/system/cpu/cpufreq";
    let policies = files.names(FOLDER).into_iter().filter(|name| name.starts_with("policy"));
    let khz: Vec<f64> = policies.filter_map(|p| files.number(&format!("{FOLDER}/{p}/scaling_cur_freq"))).map(float).collect();
    mean(&khz).map(|khz| khz / 1000.0).or_else(|| mean(&info_mhz(files)))
}

/// "cpu MHz" of each processor in /proc/cpuinfo (x86).
pub fn info_mhz(files: &Files) -> Vec<f64> {
    let text = files.text("proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|l| l.starts_with("cpu MHz")).filter_map(|l| l.split_once(':')?.1.trim().parse().ok()).collect()
}

pub fn mean(values: &[f64]) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|n| *n > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut fields = text.split_whitespace().map_while(|f| f.parse().ok());
    Some([fields.next()?, fields.next()?, fields.next()?])
}

/// How surely a sensor with this name is the processor's; the smallest wins. Other sensors (drives, batteries) have no rank.
fn rank(name: &str) -> Option<usize> {
    const NAMES: [&str; 9] = ["tctl", "tdie", "package", "x86_pkg_temp", "cpu", "coretemp", "k10temp", "soc", "core"];
    let name = name.to_ascii_lowercase();
    NAMES.iter().position(|n| name.contains(n))
}

fn processor_sensor() -> Option<(Components, usize)> {
    let sensors = Components::new_with_refreshed_list().ok()?;
    let readable = sensors.iter().enumerate().filter(|(_, sensor)| sensor.temperature().is_some());
    let (_, place) = readable.filter_map(|(place, sensor)| Some((rank(sensor.label())?, place))).min()?;
    Some((sensors, place))
}

fn zone_celsius(files: &Files) -> Option<f64> {
    const FOLDER: &str = "sys/class/thermal";
    let zones = files.names(FOLDER).into_iter().filter(|name| name.starts_with("thermal_zone"));
    let ranked = zones.filter_map(|zone| {
        let rank = rank(&files.text(&format!("{FOLDER}/{zone}/type"))?)?;
        Some((rank, files.celsius(&format!("{FOLDER}/{zone}/temp"))?))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, celsius)| celsius)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_the_busy_share_of_the_interval() {
        let at = |text: &str| ticks(text).unwrap();
        let before = at("cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1");
        assert_eq!(usage_percent(before, at("cpu  150 0 100 850 0 0 0 0 99 0")), Some(50.0));
        assert_eq!(usage_percent(before, before), None, "no time passed");
        assert_eq!(usage_percent(before, at("cpu  100 0 100 899 0 0 0 0")), None, "too short to tell");
        assert_eq!(usage_percent(before, at("cpu  0 0 0 5")), None, "another boot");
        assert_eq!(usage_percent(before, at("cpu  90 0 90 950 0 0 0 0")), Some(0.0), "never below zero");
        for bad in ["", "cpu", "cpu  1 2 3", "cpu  a b c d", "intr 1 2 3 4"] {
            assert_eq!(ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_processor_is_told_from_other_sensors() {
        let mut names = ["nvme Composite", "k10temp Tccd1", "amdgpu edge", "k10temp Tctl", "BAT0"].map(|n| (rank(n), n));
        names.sort_by_key(|(rank, _)| rank.unwrap_or(99));
        assert_eq!(names[0].1, "k10temp Tctl");
        for (name, known) in
            [("cpu-thermal", true), ("coretemp Package id 0", true), ("x86_pkg_temp", true), ("acpitz", false), ("iwlwifi_1", false)]
        {
            assert_eq!(rank(name).is_some(), known, "{name}");
        }
    }
}
