//! Machines as fleets have them: mostly idle, with work that comes and goes, days and nights, and sensors that report in steps. Values are already as exact as the store
//! keeps them, so that whoever else is given them stores the same numbers.

use lucid::domain::metrics::{Cpu, Disk, Interface, Memory, Network, Sample};

/// Of what the comparison counts: every gauge and counter of a machine without GPU and one interface. The count of its cores is left out.
pub const FIELDS: [&str; 25] = [
    "cpu_usage_percent",
    "cpu_frequency_mhz",
    "load_1m",
    "load_5m",
    "load_15m",
    "cpu_temperature_celsius",
    "memory_total_bytes",
    "memory_used_bytes",
    "memory_free_bytes",
    "memory_cached_bytes",
    "swap_total_bytes",
    "swap_used_bytes",
    "disk_total_bytes",
    "disk_used_bytes",
    "disk_free_bytes",
    "disk_read_iops",
    "disk_write_iops",
    "disk_read_throughput_mbps",
    "disk_write_throughput_mbps",
    "network_bytes_in",
    "network_bytes_out",
    "network_packets_in",
    "network_packets_out",
    "network_errors_in",
    "network_errors_out",
];

/// The same of a sample, in this order.
pub fn fields(sample: &Sample) -> [f64; 25] {
    let (c, m, d, n) = (&sample.cpu, &sample.memory, &sample.disk, &sample.network);
    let whole = |value: Option<u64>| value.unwrap() as f64;
    let [load_1, load_5, load_15] = c.load_average.unwrap();
    [
        c.usage_percent.unwrap(),
        c.frequency_mhz.unwrap(),
        load_1,
        load_5,
        load_15,
        c.temperature_celsius.unwrap(),
        whole(m.total_bytes),
        whole(m.used_bytes),
        whole(m.free_bytes),
        whole(m.cached_bytes),
        whole(m.swap_total_bytes),
        whole(m.swap_used_bytes),
        whole(d.total_bytes),
        whole(d.used_bytes),
        whole(d.free_bytes),
        whole(d.read_iops),
        whole(d.write_iops),
        d.read_throughput_mbps.unwrap(),
        d.write_throughput_mbps.unwrap(),
        whole(n.total_bytes_in),
        whole(n.total_bytes_out),
        whole(n.packets_in),
        whole(n.packets_out),
        whole(n.errors_in),
        whole(n.errors_out),
    ]
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CORES: f64 = 4.0;
/// Of a sample, in seconds.
const STEP: f64 = 30.0;
const SLOTS_PER_DAY: f64 = 2_880.0;
/// Steps in which the sensor of a Pi tells its temperature.
const SENSOR_STEP: f64 = 0.487;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    fn is(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    /// About normal, of mean 0 and deviation 1.
    fn noise(&mut self) -> f64 {
        (0..4).map(|_| self.share()).sum::<f64>() * 1.732 - 3.464
    }

    /// How often something happens that happens `mean` times on average.
    fn events(&mut self, mean: f64) -> u64 {
        (mean + self.noise() * mean.sqrt()).round().max(0.0) as u64
    }
}

/// One machine, from one sample to the next.
pub struct Life {
    chance: Chance,
    slot: f64,
    /// Share of the processors that is always used, and what a day adds in its busiest hour.
    idle: f64,
    daily: f64,
    phase: f64,
    /// Of work that came, and how many samples of it are left.
    work: f64,
    work_left: u32,
    wander: f64,
    load: [f64; 3],
    heat: f64,
    memory: [u64; 2],
    memory_total: u64,
    /// What the programs hold, which moves when one starts or ends.
    held: f64,
    cached: f64,
    kernel: f64,
    swap_used: u64,
    disk_total: u64,
    disk_used: u64,
    traffic: [f64; 2],
    counters: [u64; 4],
}

impl Life {
    pub fn new(node: u64) -> Life {
        let mut chance = Chance(node.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5eed);
        let memory_total = [1_u64, 2, 4, 4, 4, 8][(chance.next() % 6) as usize] * 996 * MIB;
        let disk_total = [32_u64, 32, 64, 128, 256][(chance.next() % 5) as usize] * 29_820 / 32 * MIB;
        Life {
            slot: 0.0,
            idle: chance.between(1.0, 8.0),
            daily: if chance.is(0.6) { chance.between(2.0, 30.0) } else { 0.0 },
            phase: chance.share(),
            work: 0.0,
            work_left: 0,
            wander: 0.0,
            load: [0.2; 3],
            heat: 45.0,
            memory: [0, 0],
            memory_total,
            held: memory_total as f64 * chance.between(0.15, 0.6),
            cached: memory_total as f64 * chance.between(0.1, 0.3),
            kernel: memory_total as f64 * 0.02,
            swap_used: if chance.is(0.3) { (chance.next() % 60) * MIB } else { 0 },
            disk_total,
            disk_used: disk_total / 100 * (10 + chance.next() % 60),
            traffic: [chance.between(4.0, 8.0), chance.between(3.0, 7.5)],
            counters: [chance.next() >> 30, chance.next() >> 32, chance.next() >> 40, chance.next() >> 41],
            chance,
        }
    }

    pub fn next(&mut self) -> Sample {
        self.slot += 1.0;
        let usage = self.usage();
        let Life { chance, .. } = self;
        let demand = usage / 100.0 * CORES + 0.03;
        for (load, minutes) in self.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            *load += (demand + chance.noise().abs() * 0.05 - *load) * (1.0 - (-STEP / 60.0 / minutes).exp());
        }
        self.heat += (41.0 + usage * 0.3 - self.heat) * 0.25 + chance.noise() * 0.2;
        let heat = (self.heat / SENSOR_STEP).round() * SENSOR_STEP;
        Sample {
            cpu: Cpu {
                usage_percent: Some(rounded(usage, 10.0)),
                cores: Some(CORES as u32),
                frequency_mhz: Some(if usage > 35.0 || chance.is(0.15) { 1_500.0 } else { 600.0 }),
                load_average: Some(self.load.map(|load| rounded(load.max(0.0), 100.0))),
                temperature_celsius: Some(rounded(heat, 10.0)),
            },
            memory: self.memory(usage),
            disk: self.disk(usage),
            network: self.network(usage),
            gpu: None,
        }
    }

    fn usage(&mut self) -> f64 {
        let chance = &mut self.chance;
        if self.work_left == 0 && chance.is(0.004) {
            (self.work, self.work_left) = (chance.between(10.0, 90.0), 1 + (chance.next() % 60) as u32);
        }
        self.work_left = self.work_left.saturating_sub(1);
        let work = if self.work_left > 0 { self.work } else { 0.0 };
        self.wander = self.wander * 0.9 + chance.noise() * 0.6;
        let day = (1.0 + ((self.slot / SLOTS_PER_DAY + self.phase) * std::f64::consts::TAU).sin()) / 2.0;
        (self.idle + self.daily * day + work * chance.between(0.9, 1.1) + self.wander + chance.noise() * 0.8).clamp(0.1, 100.0)
    }

    fn memory(&mut self, usage: f64) -> Memory {
        let (chance, total) = (&mut self.chance, self.memory_total as f64);
        if chance.is(0.003) {
            self.held = (self.held + total * chance.between(-0.05, 0.05)).clamp(total * 0.1, total * 0.7);
        }
        self.held += chance.noise() * 300.0 * KIB as f64;
        self.cached = (self.cached + chance.between(-0.9, 1.0) * 64.0 * KIB as f64).clamp(total * 0.05, total * 0.28);
        // Between two looks some pages are taken and some given back; a busy machine moves more of them.
        let moved = chance.noise() * (0.5 + usage / 25.0) * MIB as f64;
        let pages = |bytes: f64| (bytes.max(0.0) / 4_096.0).round() as u64 * 4_096;
        if chance.is(0.8) || self.memory[0] == 0 {
            self.memory = [pages(self.held + moved), pages(self.cached)];
        }
        let [used, cached] = self.memory;
        // What the kernel holds besides, which neither counts.
        self.kernel = (self.kernel + chance.noise() * 40.0 * KIB as f64).clamp(total * 0.01, total * 0.05);
        if self.swap_used > 0 && chance.is(0.01) {
            self.swap_used = self.swap_used.saturating_add_signed(chance.noise() as i64 * 256 * KIB as i64).clamp(KIB, 90 * MIB);
        }
        Memory {
            total_bytes: Some(self.memory_total),
            used_bytes: Some(used),
            free_bytes: Some(self.memory_total.saturating_sub(used + cached + pages(self.kernel))),
            cached_bytes: Some(cached),
            swap_total_bytes: Some(100 * MIB - 4 * KIB),
            swap_used_bytes: Some(self.swap_used),
        }
    }

    fn disk(&mut self, usage: f64) -> Disk {
        let chance = &mut self.chance;
        let writes = chance.events(1.5 + usage / 20.0);
        let reads = if chance.is(0.07 + usage / 500.0) { chance.events(20.0) } else { 0 };
        // A log grows; now and then something is rotated away.
        self.disk_used += if chance.is(0.35) { 4 * KIB * (1 + chance.next() % 3) } else { 0 };
        if chance.is(0.001) {
            self.disk_used -= (chance.next() % 4_000) * 4 * KIB;
        }
        let throughput = |count: u64, chance: &mut Chance| rounded(count as f64 * chance.between(0.004, 0.03), 1_000.0);
        Disk {
            total_bytes: Some(self.disk_total),
            used_bytes: Some(self.disk_used),
            free_bytes: Some(self.disk_total - self.disk_used),
            read_iops: Some(reads),
            write_iops: Some(writes),
            read_throughput_mbps: Some(throughput(reads, chance)),
            write_throughput_mbps: Some(throughput(writes, chance)),
        }
    }

    fn network(&mut self, usage: f64) -> Network {
        let chance = &mut self.chance;
        for (at, level) in self.traffic.into_iter().enumerate() {
            let bytes = (level + chance.noise() * 0.35 + usage / 40.0).exp() * STEP;
            let each = chance.between(180.0, 320.0);
            let packets = chance.events(bytes / each + 6.0);
            self.counters[at] += bytes as u64;
            self.counters[at + 2] += packets;
        }
        let [bytes_in, bytes_out, packets_in, packets_out] = self.counters;
        let eth0 = Interface { name: "eth0".into(), bytes_in, bytes_out, packets_in, packets_out, errors_in: 0, errors_out: 0 };
        Network {
            interfaces: vec![eth0],
            total_bytes_in: Some(bytes_in),
            total_bytes_out: Some(bytes_out),
            packets_in: Some(packets_in),
            packets_out: Some(packets_out),
            errors_in: Some(0),
            errors_out: Some(0),
        }
    }
}

/// To steps of 1/`per`, written as short as such a number can be.
fn rounded(value: f64, per: f64) -> f64 {
    (value * per).round() / per
}
