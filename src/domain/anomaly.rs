//! What a node reports that is unlike itself, unlike its pool, or cannot be. Each finding is for people, with the numbers that show it; nothing here touches a
//! score or money, and nobody is punished by a rule. Values in, findings out.

use super::metrics::Sample;
use super::node::HardwareInfo;
use super::series::{Gauge, Summary};
use super::time::Timestamp;

/// Its own hours look different from those before; about the node, or about nobody when it is most of a fleet.
pub const UNUSUAL: &str = "unlike_its_history";
/// Its score is far from that of its pool.
pub const OUTLIER: &str = super::security::SCORE_OFF;
/// Two machines report with one key.
pub const CLONED_KEY: &str = "cloned_key";
/// It reports what its hardware cannot do.
pub const IMPOSSIBLE: &str = "impossible_metrics";
/// Nothing that it measures moves.
pub const NO_JITTER: &str = "no_jitter";
/// Median absolute deviations of a normal distribution that make a standard deviation.
const MAD_TO_SIGMA: f64 = 1.4826;
const SIGMAS: f64 = 3.0;
/// Values that a history must have.
pub const MIN_HISTORY: usize = 24;
/// Members of a pool that have scores, at least.
pub const MIN_MEMBERS: usize = 5;

/// The middle of `values`, the mean of the two in the middle where their number is even; None of none. Sorts them.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper)) }
}

/// What values gather around.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    /// Median absolute deviation.
    pub mad: f64,
    pub lowest: f64,
    pub highest: f64,
    pub count: usize,
}

impl Spread {
    /// None of none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        let median_of = median(&mut sorted)?;
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let mut deviations: Vec<f64> = values.iter().map(|value| (value - median_of).abs()).collect();
        Some(Spread { median: median_of, mad: median(&mut deviations)?, lowest, highest, count: values.len() })
    }

    /// Standard deviations from the median to `value`; a deviation is taken as `floor` at least, or a history without any would call the first wiggle infinite.
    pub fn sigmas(&self, value: f64, floor: f64) -> f64 {
        (value - self.median).abs() / (self.mad * MAD_TO_SIGMA).max(floor)
    }

    fn is_far(&self, value: f64, floor: f64) -> bool {
        self.sigmas(value, floor) > SIGMAS
    }
}

/// Something that is held against its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Score,
    /// Proven of observed slots, in percent.
    Uptime,
    /// Percent, mean of the hour.
    Cpu,
    /// Percent of the memory, mean of the hour.
    Memory,
    /// Bytes in and out within the hour.
    Network,
}

impl Measure {
    pub const ALL: [Measure; 5] = [Measure::Score, Measure::Uptime, Measure::Cpu, Measure::Memory, Measure::Network];

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Measure::Score => ("score", ""),
            Measure::Uptime => ("uptime", " %"),
            Measure::Cpu => ("CPU", " %"),
            Measure::Memory => ("memory", " %"),
            Measure::Network => ("network", " MB in the hour"),
        }
    }

    /// The least standard deviation that is assumed, in the unit that is compared.
    fn floor(self) -> f64 {
        match self {
            Measure::Score | Measure::Uptime => 1.0,
            Measure::Cpu => 5.0,
            Measure::Memory => 3.0,
            // Doublings: traffic is told in orders of magnitude, and eight times as much is three of them.
            Measure::Network => 1.0,
        }
    }

    /// What is compared.
    fn scaled(self, value: f64) -> f64 {
        match self {
            Measure::Network => (value + 1.0).log2(),
            _ => value,
        }
    }
}

/// A value that its history does not explain: more than three standard deviations from the median, and beyond all that there was: what happens every night is in the
/// history and no surprise. None: it is usual, or the history has fewer than `MIN_HISTORY` values. The text has the numbers.
pub fn unusual(measure: Measure, value: f64, history: &[f64]) -> Option<String> {
    if history.len() < MIN_HISTORY {
        return None;
    }
    let compared: Vec<f64> = history.iter().map(|value| measure.scaled(*value)).collect();
    let (spread, scaled) = (Spread::of(&compared)?, measure.scaled(value));
    let is_new = scaled > spread.highest || scaled < spread.lowest;
    if !is_new || !spread.is_far(scaled, measure.floor()) {
        return None;
    }
    let plain = Spread::of(history)?;
    let (name, unit) = measure.words();
    let Spread { median, mad, lowest, highest, count } = plain;
    Some(format!(
        "{name} {value:.1}{unit}; of {count} hours before the median is {median:.1}, the MAD {mad:.1}, lowest {lowest:.1}, highest {highest:.1}"
    ))
}

/// Members whose score (0 to 100) is more than three standard deviations from the median of all members, with the numbers, in the order of `scores`. What more than a
/// quarter of a pool have in common, as behind a switch that broke, is an event of the pool, and nobody is told to be off.
pub fn outliers<K: Copy>(scores: &[(K, f64)]) -> Vec<(K, String)> {
    const FLOOR: f64 = 1.0;
    let values: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
    let Some(spread) = Spread::of(&values).filter(|_| scores.len() >= MIN_MEMBERS) else { return Vec::new() };
    let Spread { median, mad, count, .. } = spread;
    let text = |score: f64| {
        let sigmas = spread.sigmas(score, FLOOR);
        format!("score {score:.2}; of {count} members the median is {median:.2}, the MAD {mad:.2}: {sigmas:.1} standard deviations")
    };
    let far = scores.iter().filter(|(_, score)| spread.is_far(*score, FLOOR));
    let found: Vec<(K, String)> = far.map(|(key, score)| (*key, text(*score))).collect();
    if found.len() * 4 > scores.len() { Vec::new() } else { found }
}

/// Room for what is rounded, or counted in other units, before more than all is a lie.
const TOLERANCE: f64 = 1.05;

/// What a sample says that cannot be on the hardware that enrolled.
pub fn impossible(sample: &Sample, hardware: Option<&HardwareInfo>) -> Option<String> {
    let beyond = |what: &str, used: Option<u64>, total: Option<u64>| -> Option<String> {
        let (used, total) = (used?, total.filter(|total| *total > 0)?);
        (as_f64(used) > as_f64(total) * TOLERANCE).then(|| format!("{what}: {used} of {total} bytes"))
    };
    let (memory, disk) = (&sample.memory, &sample.disk);
    let cores = || {
        let (reported, enrolled) = (sample.cpu.cores?, hardware?.cpu.cores);
        (enrolled > 0 && reported > enrolled).then(|| format!("{reported} cores, and the machine enrolled with {enrolled}"))
    };
    let more_memory = || {
        let (reported, enrolled) = (memory.total_bytes?, hardware?.memory.total_bytes);
        let is_more = enrolled > 0 && as_f64(reported) > as_f64(enrolled) * TOLERANCE;
        is_more.then(|| format!("memory of {reported} bytes, and the machine enrolled with {enrolled}"))
    };
    let gpu = || sample.gpu.as_ref().and_then(|gpu| beyond("GPU memory in use", gpu.memory_used_bytes, gpu.memory_total_bytes));
    beyond("memory in use", memory.used_bytes, memory.total_bytes)
        .or_else(|| beyond("disk in use", disk.used_bytes, disk.total_bytes))
        .or_else(|| beyond("swap in use", memory.swap_used_bytes, memory.swap_total_bytes))
        .or_else(cores)
        .or_else(more_memory)
        .or_else(gpu)
}

/// More traffic within an hour than all links of the machine carry together. None where a link has no known speed.
pub fn beyond_link(bytes_in_hour: f64, hardware: Option<&HardwareInfo>) -> Option<String> {
    const SECONDS: f64 = 3_600.0;
    let links = &hardware?.network;
    let speeds: Option<Vec<u64>> = links.iter().map(|link| link.speed_mbps.filter(|speed| *speed > 0)).collect();
    let speed_mbps: u64 = speeds.filter(|speeds| !speeds.is_empty())?.into_iter().fold(0, u64::saturating_add);
    // Both directions at once.
    let most = as_f64(speed_mbps) * 1_000_000.0 / 8.0 * SECONDS * 2.0 * TOLERANCE;
    let megabytes = |bytes: f64| bytes / 1_000_000.0;
    (bytes_in_hour > most)
        .then(|| format!("{:.0} MB in an hour, and links of {speed_mbps} Mbit/s carry {:.0}", megabytes(bytes_in_hour), megabytes(most)))
}

/// Samples of an hour from which constant values are no chance: a machine that works has 120.
pub const MIN_SAMPLES: u32 = 100;

/// An hour in which neither processor nor memory moved by what can be told (0.1 %, 1 KiB) in any sample, nor a byte went over the network. An idle machine has
/// both: the sending of reports alone allocates, and is counted. None where one of the three is not reported.
pub fn motionless(hour: &Summary, before: &Summary) -> Option<String> {
    if hour.count < MIN_SAMPLES || before.count < MIN_SAMPLES || hour.late {
        return None;
    }
    let (cpu, memory) = (hour.extremes.get(Gauge::CpuUsagePercent)?, hour.extremes.get(Gauge::MemoryUsedBytes)?);
    let (now, then) = (&hour.sample.network, &before.sample.network);
    let (bytes_in, bytes_out) = (now.total_bytes_in?, now.total_bytes_out?);
    let is_still = (bytes_in, bytes_out) == (then.total_bytes_in?, then.total_bytes_out?);
    let is_flat = cpu.0.total_cmp(&cpu.1).is_eq() && memory.0.total_cmp(&memory.1).is_eq();
    (is_still && is_flat).then(|| {
        format!(
            "{} samples with CPU {:.1} % and {:.0} bytes of memory in each, and {bytes_in} bytes in and {bytes_out} out as an hour before",
            hour.count, cpu.0, memory.0
        )
    })
}

/// Traffic between the ends of two hours that follow each other; None when a counter went back, as after a restart or when an interface went.
pub fn traffic(hour: &Sample, before: &Sample) -> Option<f64> {
    let grown = |now: Option<u64>, then: Option<u64>| now?.checked_sub(then?);
    let (a, b) = (&hour.network, &before.network);
    Some(as_f64(grown(a.total_bytes_in, b.total_bytes_in)?.checked_add(grown(a.total_bytes_out, b.total_bytes_out)?)?))
}

/// Memory in use, in percent.
pub fn memory_percent(sample: &Sample) -> Option<f64> {
    let total = sample.memory.total_bytes.filter(|total| *total > 0)?;
    Some(as_f64(sample.memory.used_bytes?) / as_f64(total) * 100.0)
}

/// So many new reports of incarnations that were over, within an hour, are another machine: an agent that starts again never goes back, and a late report of before
/// is one at most.
pub const RETURNS: usize = 3;
pub const RETURNS_WITHIN_MS: i64 = 3_600_000;

/// Whether one key is used by two machines at once. `returns` are the times at which an incarnation that was over sent something new.
pub fn cloned(returns: &[Timestamp], now: Timestamp) -> Option<String> {
    let recent = returns.iter().filter(|at| now.since(**at) < RETURNS_WITHIN_MS).count();
    (recent >= RETURNS).then(|| format!("{recent} new reports within an hour from starts of the agent that others had followed"))
}

#[expect(clippy::cast_precision_loss, reason = "for comparisons, and far below 2^53 in practice")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::metrics::{Cpu, Memory, Network};
    use crate::domain::node::{CpuInfo, MemoryInfo, NetworkInfo, StorageInfo};

    /// By counting: as many values are below as above.
    fn naive_median(values: &[f64]) -> f64 {
        let at = |rank: usize| {
            let is_it = |v: &&f64| {
                let below = values.iter().filter(|o| *o < *v).count();
                let equal = values.iter().filter(|o| *o == *v).count();
                (below..below + equal).contains(&rank)
            };
            *values.iter().find(is_it).unwrap()
        };
        let n = values.len();
        if n % 2 == 1 { at(n / 2) } else { (at(n / 2 - 1) + at(n / 2)) / 2.0 }
    }

    proptest! {
        #[test]
        fn median_and_deviation_are_those_of_a_naive_model(values in prop::collection::vec(-1_000i32..1_000, 1..60)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let spread = Spread::of(&values).unwrap();
            let middle = naive_median(&values);
            prop_assert_eq!(spread.median, middle);
            let deviations: Vec<f64> = values.iter().map(|v| (v - middle).abs()).collect();
            prop_assert_eq!(spread.mad, naive_median(&deviations));
            prop_assert!(values.iter().all(|v| (spread.lowest..=spread.highest).contains(v)));
        }

        #[test]
        fn order_does_not_matter_and_what_was_seen_is_never_unusual(values in prop::collection::vec(0.0f64..100.0, MIN_HISTORY..60), pick in 0usize..MIN_HISTORY) {
            for measure in Measure::ALL {
                prop_assert_eq!(unusual(measure, values[pick], &values), None);
                let mut turned = values.clone();
                turned.reverse();
                prop_assert_eq!(unusual(measure, 150.0, &values).is_some(), unusual(measure, 150.0, &turned).is_some());
            }
        }

        #[test]
        fn outliers_are_few_and_farther_off_than_everybody_else(scores in prop::collection::vec(0u32..=1_000, 0..30)) {
            let scores: Vec<(usize, f64)> = scores.into_iter().map(|s| f64::from(s) / 10.0).enumerate().collect();
            let found: Vec<usize> = outliers(&scores).into_iter().map(|(key, _)| key).collect();
            let values: Vec<f64> = scores.iter().map(|(_, s)| *s).collect();
            let naive = || {
                let middle = naive_median(&values);
                let mad = naive_median(&values.iter().map(|s| (s - middle).abs()).collect::<Vec<_>>());
                let far: Vec<usize> = (0..values.len()).filter(|at| (values[*at] - middle).abs() / (mad * 1.4826).max(1.0) > 3.0).collect();
                if far.len() * 4 > values.len() { Vec::new() } else { far }
            };
            prop_assert_eq!(found, if scores.len() < MIN_MEMBERS { Vec::new() } else { naive() });
        }
    }

    #[test]
    fn a_history_that_never_moved_does_not_alarm_at_the_first_wiggle() {
        let still = vec![100.0; 48];
        assert_eq!(unusual(Measure::Score, 97.0, &still), None);
        assert!(unusual(Measure::Score, 96.9, &still).unwrap().starts_with("score 96.9; of 48 hours before the median is 100.0"));
        assert_eq!(unusual(Measure::Cpu, 10.0, &[1.0; 48]), None);
        assert!(unusual(Measure::Cpu, 60.0, &[1.0; 48]).is_some());
        assert_eq!(unusual(Measure::Score, 0.0, &[100.0; MIN_HISTORY - 1]), None, "too little is known");
    }

    #[test]
    fn what_happens_every_night_is_no_surprise() {
        let mut hours = vec![5.0; 168];
        (0..168).step_by(24).for_each(|n| hours[n] = 98.0);
        assert_eq!(unusual(Measure::Cpu, 98.0, &hours), None, "a backup");
        assert!(unusual(Measure::Cpu, 98.0, &hours[1..24].iter().chain(&hours[25..48]).copied().collect::<Vec<_>>()).is_some());
    }

    #[test]
    fn traffic_is_told_in_orders_of_magnitude() {
        let usual: Vec<f64> = (0..48).map(|n| 100.0 + f64::from(n)).collect();
        assert_eq!(unusual(Measure::Network, 700.0, &usual), None);
        assert!(unusual(Measure::Network, 2_000.0, &usual).is_some());
    }

    #[test]
    fn a_pool_of_two_kinds_has_no_outliers_and_a_small_one_says_nothing() {
        let of = |scores: &[f64]| outliers(&scores.iter().copied().enumerate().collect::<Vec<_>>()).len();
        assert_eq!(of(&[100.0, 100.0, 100.0, 10.0]), 0);
        assert_eq!(of(&[100.0, 100.0, 100.0, 100.0, 10.0]), 1);
        assert_eq!(of(&[100.0, 100.0, 100.0, 100.0, 97.0]), 0, "three points are exactly three of the least spread");
        assert_eq!(of(&[100.0, 60.0, 100.0, 60.0, 100.0, 60.0]), 0, "half of them were cut off");
        assert_eq!(of(&[100.0, 60.0, 100.0, 60.0, 100.0, 100.0, 100.0]), 0, "more than a quarter too");
        assert_eq!(of(&[100.0, 60.0, 100.0, 60.0, 100.0, 100.0, 100.0, 100.0]), 2);
    }

    fn sample(cpu: f64, used: u64) -> Sample {
        Sample {
            cpu: Cpu { usage_percent: Some(cpu), cores: Some(4), ..Cpu::default() },
            memory: Memory { total_bytes: Some(4_000_000), used_bytes: Some(used), ..Memory::default() },
            network: Network { total_bytes_in: Some(10_000), total_bytes_out: Some(5_000), ..Network::default() },
            ..Sample::default()
        }
    }

    fn hardware(speed_mbps: Option<u64>) -> HardwareInfo {
        HardwareInfo {
            cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
            memory: MemoryInfo { total_bytes: 4_000_000, kind: None },
            storage: StorageInfo { total_bytes: 32_000_000, ..StorageInfo::default() },
            gpu: None,
            network: vec![NetworkInfo { interface: "eth0".into(), speed_mbps, ..NetworkInfo::default() }],
        }
    }

    #[test]
    fn only_what_cannot_be_is_impossible() {
        let of = |sample: &Sample| impossible(sample, Some(&hardware(None)));
        assert_eq!((of(&Sample::default()), of(&sample(100.0, 4_000_000))), (None, None));
        assert_eq!(of(&sample(1.0, 4_100_000)), None, "rounding");
        assert!(of(&sample(1.0, 5_000_000)).unwrap().contains("5000000 of 4000000"));
        let mut more = sample(1.0, 1);
        more.cpu.cores = Some(8);
        assert_eq!(of(&more).as_deref(), Some("8 cores, and the machine enrolled with 4"));
        assert_eq!(impossible(&more, None), None, "nobody knows the machine");
        let mut fewer = sample(1.0, 1);
        (fewer.cpu.cores, fewer.memory.total_bytes) = (Some(2), Some(2_000_000));
        assert_eq!(of(&fewer), None, "a container may see less than all");
        let mut bigger = sample(1.0, 1);
        bigger.memory.total_bytes = Some(8_000_000);
        assert!(of(&bigger).is_some());
    }

    #[test]
    fn a_link_carries_what_it_carries() {
        let hour = 1_000.0 * 125_000.0 * 3_600.0;
        assert_eq!(beyond_link(hour * 2.0, Some(&hardware(Some(1_000)))), None, "both ways, all the time");
        assert!(beyond_link(hour * 3.0, Some(&hardware(Some(1_000)))).is_some());
        assert_eq!(beyond_link(hour * 3.0, Some(&hardware(None))), None, "wireless links tell no speed");
    }

    fn hour(sample: &Sample, cpu: (f64, f64), memory: (u32, u32)) -> Summary {
        let memory = (f64::from(memory.0), f64::from(memory.1));
        let extremes = [(Gauge::CpuUsagePercent, cpu), (Gauge::MemoryUsedBytes, memory)].into_iter().collect();
        Summary { count: 120, late: false, sample: sample.clone(), extremes }
    }

    #[test]
    fn a_machine_that_stands_still_is_told_from_an_idle_one() {
        let still = sample(0.0, 1_000);
        let flat = hour(&still, (0.0, 0.0), (1_000, 1_000));
        assert!(motionless(&flat, &flat).unwrap().starts_with("120 samples with CPU 0.0 % and 1000 bytes"));
        assert_eq!(motionless(&hour(&still, (0.0, 0.1), (1_000, 1_000)), &flat), None);
        assert_eq!(motionless(&hour(&still, (0.0, 0.0), (1_000, 2_024)), &flat), None);
        let mut sent = still.clone();
        sent.network.total_bytes_out = Some(5_400);
        assert_eq!(motionless(&hour(&sent, (0.0, 0.0), (1_000, 1_000)), &flat), None, "an idle machine sends its reports");
        let mut blind = still;
        blind.network = Network::default();
        let blind = hour(&blind, (0.0, 0.0), (1_000, 1_000));
        assert_eq!(motionless(&blind, &blind), None, "it cannot tell");
        assert_eq!(motionless(&Summary { count: 99, ..flat.clone() }, &flat), None);
    }

    #[test]
    fn counters_that_went_back_say_nothing() {
        let (a, mut b) = (sample(1.0, 1), sample(1.0, 1));
        b.network.total_bytes_in = Some(13_000);
        assert_eq!(traffic(&b, &a), Some(3_000.0));
        assert_eq!((traffic(&a, &b), traffic(&a, &Sample::default())), (None, None));
        assert_eq!(memory_percent(&sample(1.0, 1_000_000)), Some(25.0));
    }

    #[test]
    fn an_agent_that_starts_again_is_no_clone() {
        let now = Timestamp(1_790_000_000_000);
        let ago = |minutes: i64| now.plus_ms(-minutes * 60_000);
        assert_eq!(cloned(&[ago(1), ago(2)], now), None);
        assert_eq!(cloned(&[ago(1), ago(2), ago(60)], now), None);
        assert!(cloned(&[ago(1), ago(2), ago(59)], now).is_some());
    }
}
