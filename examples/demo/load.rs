//! What the machines measure: a daily rhythm, slow drift, noise and bursts, from the seed and the time alone, except for what a
//! machine counts since its boot.

use std::f64::consts::TAU;

use lucid::domain::metrics::{Cpu, Disk, Gpu, Interface, Memory, Network, Sample};
use lucid::domain::time::{SLOT_SECONDS, Timestamp};

use crate::cast::{Kind, Member, Part};
use crate::story::Span;

const DAY_SECONDS: f64 = 86_400.0;
/// A machine that was not asked for this long was off: its counters begin again.
const REBOOTED_AFTER_SECONDS: i64 = 1_800;

/// Numbers that follow from a seed and a place in time.
#[derive(Debug, Clone, Copy)]
pub struct Noise(pub u64);

impl Noise {
    /// Splitmix64 of the place, within [0, 1).
    pub fn at(self, place: u64) -> f64 {
        let mut z = self.0 ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0)) / 4_294_967_296.0
    }

    /// The same seed for another purpose.
    pub fn about(self, purpose: u64) -> Noise {
        Noise(self.0.rotate_left(17).wrapping_add(purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93)))
    }

    /// A curve from 0 to 1 that takes a new direction every `period` seconds.
    fn smooth(self, seconds: i64, period: i64) -> f64 {
        let knot = u64::try_from(seconds.div_euclid(period)).unwrap_or(0);
        let within = seconds.rem_euclid(period);
        let x = f64::from(i32::try_from(within).unwrap_or(0)) / f64::from(i32::try_from(period).unwrap_or(1));
        let eased = x * x * (3.0 - 2.0 * x);
        let (from, to) = (self.at(knot), self.at(knot + 1));
        from + (to - from) * eased
    }
}

/// What one machine carries on from measurement to measurement.
#[derive(Debug, Clone)]
pub struct Load {
    noise: Noise,
    measured_at: Option<Timestamp>,
    load: [f64; 3],
    celsius: f64,
    bytes_in: f64,
    bytes_out: f64,
}

impl Load {
    pub fn new(member: &Member, seed: u64) -> Load {
        let noise = Noise(seed).about(u64::try_from(member.number).unwrap_or(0) + 1_000);
        Load { noise, measured_at: None, load: [0.5; 3], celsius: 40.0, bytes_in: 0.0, bytes_out: 0.0 }
    }

    /// One measurement at `at`.
    pub fn sample(&mut self, member: &Member, span: &Span, at: Timestamp) -> Sample {
        let seconds = at.seconds();
        let since = self.measured_at.map_or(i64::MAX, |before| seconds - before.seconds());
        if since > REBOOTED_AFTER_SECONDS {
            (self.bytes_in, self.bytes_out) = (0.0, 0.0);
        }
        self.measured_at = Some(at);
        let busy = self.busy(member, seconds);
        let (cores, mhz, memory, storage) = member.size();
        let slot = u64::try_from(seconds / SLOT_SECONDS).unwrap_or(0);
        let jitter = |purpose: u64| self.noise.about(purpose).at(slot);
        let usage = (100.0 * busy + 6.0 * (jitter(1) - 0.5)).clamp(0.4, 100.0);
        for (load, minutes) in self.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            *load += (usage / 100.0 * f64::from(cores) - *load) * (0.5 / minutes);
        }
        let warm = self.ambient(member, seconds) + 22.0 + usage * heat(member.kind);
        self.celsius += (warm - self.celsius) * 0.25;
        let frequency_mhz = Some(if usage > 35.0 { mhz } else { (mhz * (0.4 + 0.2 * jitter(2))).round() });
        let cpu = Cpu {
            usage_percent: Some(tenths(usage)),
            cores: Some(cores),
            frequency_mhz,
            load_average: Some(self.load.map(|load| (load * 100.0).round() / 100.0)),
            temperature_celsius: Some(tenths(self.celsius)),
        };
        Sample {
            cpu,
            memory: self.memory(memory, busy, seconds),
            disk: self.disk(member, span, storage, busy, at),
            network: self.network(member, busy, slot),
            gpu: (member.kind == Kind::Gpu).then(|| self.gpu(seconds)),
        }
    }

    /// Share of the machine that is used: people by day, backups by night, and bursts of work.
    fn busy(&self, member: &Member, seconds: i64) -> f64 {
        let local = f64::from(i32::try_from(seconds.rem_euclid(7 * 86_400)).unwrap_or(0)) + member.place.hours_east * 3_600.0;
        let hour = (local / 3_600.0).rem_euclid(24.0);
        let awake = (0.5 - 0.5 * ((hour - 3.5) / 24.0 * TAU).cos()).powf(1.6);
        // 1970-01-01 was a Thursday: Saturday and Sunday are the third and the fourth day of a week that is counted from there.
        let weekend = (2.0..4.0).contains(&(local / DAY_SECONDS).rem_euclid(7.0));
        let rhythm = if weekend { 0.7 } else { 1.0 } * awake;
        let (idle, daily, bursts) = match member.kind {
            Kind::Pi4 => (0.08, 0.22, 0.45),
            Kind::Pi5 => (0.05, 0.18, 0.40),
            Kind::Mini => (0.04, 0.25, 0.35),
            Kind::Server => (0.18, 0.30, 0.30),
            Kind::Gpu => (0.12, 0.15, 0.50),
        };
        let wander = self.noise.about(11).smooth(seconds, 2_700);
        let burst = (self.noise.about(12).smooth(seconds, 900) - 0.72).max(0.0) / 0.28;
        let backup = if (2.0..2.6).contains(&hour) { 0.25 } else { 0.0 };
        (idle + daily * rhythm * (0.6 + 0.8 * wander) + bursts * burst * burst + backup).min(1.0)
    }

    fn ambient(&self, member: &Member, seconds: i64) -> f64 {
        let base = if member.pool == crate::cast::Pool::Rack { 19.0 } else { 16.0 };
        base + 8.0 * self.noise.about(13).smooth(seconds, 43_200)
    }

    fn memory(&self, total: u64, busy: f64, seconds: i64) -> Memory {
        let total_bytes = real(total);
        let days = f64::from(i32::try_from(seconds.rem_euclid(6 * 86_400)).unwrap_or(0)) / DAY_SECONDS;
        // A service that leaks and is restarted every six days.
        let share = 0.24 + 0.03 * days + 0.18 * busy + 0.10 * self.noise.about(14).smooth(seconds, 7_200);
        let used = total_bytes * share.clamp(0.05, 0.96);
        let cached = (total_bytes - used) * (0.45 + 0.3 * self.noise.about(15).smooth(seconds, 21_600));
        let swap = 1_073_741_824.0;
        Memory {
            total_bytes: Some(total),
            used_bytes: Some(whole(used)),
            free_bytes: Some(whole(total_bytes - used - cached)),
            cached_bytes: Some(whole(cached)),
            swap_total_bytes: Some(whole(swap)),
            swap_used_bytes: Some(whole(swap * (share - 0.5).max(0.0) * 0.3)),
        }
    }

    fn disk(&self, member: &Member, span: &Span, total: u64, busy: f64, at: Timestamp) -> Disk {
        let seconds = at.seconds();
        let passed = span.passed(at);
        let daily = f64::from(i32::try_from(seconds.rem_euclid(86_400)).unwrap_or(0)) / DAY_SECONDS;
        let share = match member.part {
            // Full, less what the log rotation gives back for an hour or two.
            Part::DiskFull => (0.48 + 0.56 * passed).min(0.995) - 0.004 * (1.0 - daily),
            _ => 0.18 + 0.35 * self.noise.about(16).at(0) + 0.06 * passed + 0.008 * daily,
        };
        let used = real(total) * share.clamp(0.02, 1.0);
        let rate = |purpose: u64| busy * 40.0 * self.noise.about(purpose).at(u64::try_from(seconds / SLOT_SECONDS).unwrap_or(0));
        let (read, write) = (rate(17), rate(18) * 1.7 + 2.0);
        Disk {
            total_bytes: Some(total),
            used_bytes: Some(whole(used)),
            free_bytes: Some(total.saturating_sub(whole(used))),
            read_iops: Some(whole(read * 6.0)),
            write_iops: Some(whole(write * 4.0)),
            read_throughput_mbps: Some(tenths(read * 0.3)),
            write_throughput_mbps: Some(tenths(write * 0.12)),
        }
    }

    fn network(&mut self, member: &Member, busy: f64, slot: u64) -> Network {
        let top = if member.pool == crate::cast::Pool::Rack { 9_000_000.0 } else { 1_400_000.0 };
        let shape = |noise: f64| 0.01 + busy * busy * (0.3 + noise);
        let seconds = f64::from(i32::try_from(SLOT_SECONDS).unwrap_or(0));
        self.bytes_in += top * shape(self.noise.about(19).at(slot)) * seconds;
        self.bytes_out += top * 0.4 * shape(self.noise.about(20).at(slot)) * seconds;
        let (bytes_in, bytes_out) = (whole(self.bytes_in), whole(self.bytes_out));
        let interface = Interface {
            name: member.interface().to_owned(),
            bytes_in,
            bytes_out,
            packets_in: bytes_in / 900,
            packets_out: bytes_out / 600,
            errors_in: bytes_in / 4_000_000_000,
            errors_out: 0,
        };
        Network {
            total_bytes_in: Some(bytes_in),
            total_bytes_out: Some(bytes_out),
            packets_in: Some(interface.packets_in),
            packets_out: Some(interface.packets_out),
            errors_in: Some(interface.errors_in),
            errors_out: Some(0),
            interfaces: vec![interface],
        }
    }

    fn gpu(&self, seconds: i64) -> Gpu {
        let job = (self.noise.about(21).smooth(seconds, 5_400) - 0.4).max(0.0) / 0.6;
        let usage = (100.0 * job * (0.8 + 0.2 * self.noise.about(22).smooth(seconds, 120))).clamp(0.0, 100.0);
        Gpu {
            usage_percent: Some(tenths(usage)),
            memory_used_bytes: Some(whole(1.2e9 + 18.0e9 * job)),
            memory_total_bytes: Some(21_474_836_480),
            temperature_celsius: Some(tenths(34.0 + usage * 0.42)),
        }
    }
}

/// Degrees per percent of use.
fn heat(kind: Kind) -> f64 {
    match kind {
        Kind::Pi4 => 0.34,
        Kind::Pi5 => 0.38,
        Kind::Mini => 0.40,
        Kind::Server | Kind::Gpu => 0.36,
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(value: f64) -> u64 {
    value.clamp(0.0, 1e15) as u64
}

fn real(value: u64) -> f64 {
    value as f64
}
