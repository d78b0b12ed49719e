//! Who plays: 24 machines with a name, a kind, a place and a part in the story, and any number of further ones.

use lucid::crypto::{SecretKey, SigningKey, sha256, sha256_parts};
use lucid::domain::enrolment::Fingerprint;
use lucid::domain::node::{CpuInfo, GpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, StorageInfo};

use crate::support::fleet::Machine;

/// Fewer machines would leave parts without a player.
pub const MIN_NODES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pi4,
    Pi5,
    /// A small desktop machine.
    Mini,
    /// A server in the rack.
    Server,
    /// A server with a graphics card.
    Gpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Home,
    Rack,
}

/// What happens to a machine in the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Steady,
    /// Misses slots now and then, and is away for some minutes most days.
    Flaky,
    /// Away most of the time of late: its score is invalid.
    Failing,
    /// Its disk is full by now.
    DiskFull,
    /// Enrolled within the last hour.
    New,
    /// Made by a person, and no agent ever claimed it.
    NeverEnrolled,
    Stopped,
    InMaintenance,
    /// Its hardware changed, and nobody has accepted that yet.
    Drifted,
    DriftAccepted,
    /// Went silent half an hour ago.
    Silent,
    NoAddress,
    /// Its payout address was changed within the cooldown.
    AddressCooling,
    PayoutPending,
    PayoutProcessing,
    PayoutInReview,
    /// Nobody can tell whether its payout was paid.
    PayoutDoubtful,
    /// One payout fails, the next one is fine.
    PayoutFails,
    /// The address is changed before a payout is signed.
    PayoutCancelled,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub number: usize,
    pub name: String,
    pub kind: Kind,
    pub pool: Pool,
    pub part: Part,
    pub place: &'static Place,
}

#[derive(Debug)]
pub struct Place {
    pub city: &'static str,
    pub region: &'static str,
    pub country: &'static str,
    pub timezone: &'static str,
    pub latitude: f64,
    pub longitude: f64,
    /// Of winter time; close enough for when people are awake.
    pub hours_east: f64,
}

const fn place(
    city: &'static str,
    region: &'static str,
    country: &'static str,
    timezone: &'static str,
    latitude: f64,
    longitude: f64,
    hours_east: f64,
) -> Place {
    Place { city, region, country, timezone, latitude, longitude, hours_east }
}

static HAMBURG: Place = place("Hamburg", "Hamburg", "DE", "Europe/Berlin", 53.55, 9.99, 1.0);
static GRAZ: Place = place("Graz", "Styria", "AT", "Europe/Vienna", 47.07, 15.44, 1.0);
static PORTO: Place = place("Porto", "Norte", "PT", "Europe/Lisbon", 41.15, -8.61, 0.0);
static HALIFAX: Place = place("Halifax", "Nova Scotia", "CA", "America/Halifax", 44.65, -63.57, -4.0);

use Kind::{Gpu, Mini, Pi4, Pi5, Server};
use Pool::{Home, Rack};

/// In the order of enrolment; the first `MIN_NODES` play every part.
static CAST: [(&str, Kind, Pool, Part, &Place); 24] = [
    ("pi5-kitchen", Pi5, Home, Part::Steady, &HAMBURG),
    ("rack-01", Server, Rack, Part::Steady, &GRAZ),
    ("rack-02", Server, Rack, Part::PayoutPending, &GRAZ),
    ("rack-03", Server, Rack, Part::PayoutProcessing, &GRAZ),
    ("nuc-attic", Mini, Home, Part::PayoutInReview, &HAMBURG),
    ("pi4-garage", Pi4, Home, Part::InMaintenance, &HAMBURG),
    ("rack-04", Server, Rack, Part::PayoutCancelled, &GRAZ),
    ("pi4-shed", Pi4, Home, Part::Failing, &PORTO),
    ("pi4-camera", Pi4, Home, Part::DiskFull, &HAMBURG),
    ("pi4-balcony", Pi4, Home, Part::Stopped, &HALIFAX),
    ("rack-05", Server, Rack, Part::PayoutFails, &GRAZ),
    ("rack-06", Server, Rack, Part::Drifted, &GRAZ),
    ("nuc-hall", Mini, Home, Part::DriftAccepted, &HAMBURG),
    ("pi4-summerhouse", Pi4, Home, Part::Silent, &PORTO),
    ("pi4-cellar", Pi4, Home, Part::NoAddress, &HAMBURG),
    ("pi5-desk", Pi5, Home, Part::AddressCooling, &HALIFAX),
    ("pi4-roof", Pi4, Home, Part::Flaky, &PORTO),
    ("pi4-spare", Pi4, Home, Part::NeverEnrolled, &HAMBURG),
    ("pi5-new", Pi5, Home, Part::New, &HAMBURG),
    ("rack-gpu", Gpu, Rack, Part::PayoutDoubtful, &GRAZ),
    ("rack-07", Server, Rack, Part::Steady, &GRAZ),
    ("rack-08", Server, Rack, Part::Flaky, &GRAZ),
    ("pi5-bedroom", Pi5, Home, Part::Steady, &HALIFAX),
    ("nuc-office", Mini, Home, Part::Steady, &HAMBURG),
];

pub fn cast(nodes: usize) -> Vec<Member> {
    let first = CAST.iter().enumerate().map(|(number, (name, kind, pool, part, place))| Member {
        number,
        name: (*name).to_owned(),
        kind: *kind,
        pool: *pool,
        part: *part,
        place,
    });
    let extra = (CAST.len()..nodes.max(CAST.len())).map(|number| {
        let (kind, pool, prefix) = [(Pi4, Home, "pi4"), (Server, Rack, "rack"), (Pi5, Home, "pi5"), (Mini, Home, "nuc")][number % 4];
        let part = if number % 13 == 0 { Part::Flaky } else { Part::Steady };
        let place = [&HAMBURG, &GRAZ, &PORTO, &HALIFAX][number / 4 % 4];
        Member { number, name: format!("{prefix}-{number:04}"), kind, pool, part, place }
    });
    first.chain(extra).take(nodes).collect()
}

impl Member {
    /// The machine as it enrolled. The same seed gives the same keys, so that a later run of the program can speak for it.
    pub fn machine(&self, seed: u64) -> Machine {
        let number = self.number.to_string();
        let part = |what: &str| Some(Fingerprint::part(&format!("demo-{seed}"), what, &number));
        let fingerprint = Fingerprint {
            machine_id: part("machine-id"),
            board_serial: part("serial"),
            cpu: part("cpu"),
            memory: part("memory"),
            disk_id: part("disk"),
            macs: part("macs"),
        };
        let seed = sha256_parts(&[b"lucid/demo/key", &seed.to_le_bytes(), number.as_bytes()]);
        let key = SigningKey::from_seed(SecretKey(seed));
        Machine { key, fingerprint, hardware: self.hardware(), name: self.name.clone() }
    }

    /// What the fingerprint is once memory, disk and network card were replaced.
    pub fn changed(fingerprint: &Fingerprint) -> Fingerprint {
        let part = |what: &str| Some(Fingerprint::part("demo", what, "replaced"));
        Fingerprint { memory: part("memory"), disk_id: part("disk"), macs: part("macs"), ..fingerprint.clone() }
    }

    /// Another machine altogether.
    pub fn stranger() -> Fingerprint {
        let part = |what: &str| Some(Fingerprint::part("demo", what, "stranger"));
        Fingerprint { machine_id: part("machine-id"), board_serial: part("serial"), cpu: part("cpu"), ..Fingerprint::default() }
    }

    /// Cores, MHz, bytes of memory and of storage.
    pub fn size(&self) -> (u32, f64, u64, u64) {
        match self.kind {
            Pi4 => (4, 1_800.0, 3_981_000_704, 31_268_536_320),
            Pi5 => (4, 2_400.0, 8_324_186_112, 256_060_514_304),
            Mini => (4, 3_600.0, 16_541_872_128, 512_110_190_592),
            Server => (16, 4_200.0, 67_330_486_272, 2_000_398_934_016),
            Gpu => (24, 4_600.0, 134_835_675_136, 4_000_787_030_016),
        }
    }

    fn hardware(&self) -> HardwareInfo {
        let (cores, mhz, memory, storage) = self.size();
        let (architecture, memory_kind, storage_kind, interface) = match self.kind {
            Pi4 => ("aarch64", "LPDDR4", "SD card", "mmc"),
            Pi5 => ("aarch64", "LPDDR4X", "SSD", "nvme"),
            Mini => ("x86_64", "DDR4", "SSD", "nvme"),
            Server | Gpu => ("x86_64", "DDR5 ECC", "SSD", "nvme"),
        };
        let gpu = (self.kind == Gpu).then(|| GpuInfo {
            model: Some("NVIDIA RTX 4000 Ada".into()),
            memory_bytes: Some(21_474_836_480),
            compute_capability: Some("8.9".into()),
        });
        let mac = sha256(self.name.as_bytes());
        let mac_address = Some(format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4]));
        let speed_mbps = Some(if self.pool == Rack { 10_000 } else { 1_000 });
        HardwareInfo {
            cpu: CpuInfo { cores, frequency_mhz: Some(mhz), architecture: Some(architecture.into()) },
            memory: MemoryInfo { total_bytes: memory, kind: Some(memory_kind.into()) },
            storage: StorageInfo { total_bytes: storage, kind: Some(storage_kind.into()), interface: Some(interface.into()) },
            gpu,
            network: vec![NetworkInfo { interface: self.interface().into(), speed_mbps, mac_address }],
        }
    }

    pub fn interface(&self) -> &'static str {
        match self.kind {
            Pi4 | Pi5 => "eth0",
            Mini => "eno1",
            Server | Gpu => "enp1s0f0",
        }
    }

    /// A payout address of this machine's owner; each `change` is another one.
    pub fn address(&self, seed: u64, change: u8) -> String {
        address_of(&sha256_parts(&[b"lucid/demo/address", &seed.to_le_bytes(), &self.number.to_le_bytes(), &[change]]))
    }
}

/// The wallet that pays; nobody has its key.
pub fn wallet(seed: u64) -> String {
    address_of(&sha256_parts(&[b"lucid/demo/wallet", &seed.to_le_bytes()]))
}

fn address_of(hash: &[u8; 32]) -> String {
    let mut bytes = vec![0x41];
    bytes.extend_from_slice(&hash[..20]);
    let checksum = sha256(&sha256(&bytes));
    bytes.extend_from_slice(&checksum[..4]);
    bs58::encode(bytes).into_string()
}
