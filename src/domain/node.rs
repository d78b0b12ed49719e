//! A worker node: its record, its three orthogonal facts, and the rules its fields must keep (seed 004).

use serde::{Deserialize, Serialize};

use super::enrolment::Fingerprint;
use super::ids::{NodeId, NodeIndex, PoolIndex};
use super::refusal::FieldErrors;
use super::time::{Slot, Timeline, Timestamp};
use super::time_zone;
use crate::crypto::PublicKey;

/// Seconds without an accepted report after which a node is unreachable.
pub const OFFLINE_AFTER_SECONDS: i64 = 300;
/// Nodes of one manager; bounds the bitmaps, the directory and every walk over the fleet.
pub const MAX_NODES: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeType {
    Worker,
    Validator,
    Storage,
    Compute,
}

impl NodeType {
    pub const ALL: [NodeType; 4] = [NodeType::Worker, NodeType::Validator, NodeType::Storage, NodeType::Compute];

    pub fn as_str(self) -> &'static str {
        match self {
            NodeType::Worker => "worker",
            NodeType::Validator => "validator",
            NodeType::Storage => "storage",
            NodeType::Compute => "compute",
        }
    }
}

/// What the manager sees. Derived from reports, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// Enrolled or created, nothing heard yet.
    Starting,
    Active,
    Inactive,
    Error,
    Unreachable,
}

/// What an operator wants the node's workload to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Running,
    Stopped,
}

/// Whether the node's time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Eligible {
    InService,
    Draining,
    Maintenance,
    Suspended,
}

/// The outward status: one word derived from the three facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeStatus)]
pub enum Status {
    Active,
    Inactive,
    Maintenance,
    Error,
    Starting,
    Stopping,
    Unreachable,
}

impl Status {
    /// Maintenance and a wanted stop explain silence, so they win over what is observed.
    pub fn derive(observed: Observed, wanted: Wanted, eligible: Eligible) -> Status {
        match (eligible, wanted, observed) {
            (Eligible::Maintenance, _, _) => Status::Maintenance,
            (_, _, Observed::Error) => Status::Error,
            (_, Wanted::Stopped, Observed::Active) => Status::Stopping,
            (_, Wanted::Stopped, _) => Status::Inactive,
            (_, Wanted::Running, Observed::Starting) => Status::Starting,
            // It was told, and ended by itself.
            (_, Wanted::Running, Observed::Inactive) => Status::Inactive,
            (_, Wanted::Running, Observed::Active) => Status::Active,
            (_, Wanted::Running, Observed::Unreachable) => Status::Unreachable,
        }
    }

    /// The four-valued status of the seeds, for MongoDB and for filters.
    pub fn of_four(self) -> Status {
        match self {
            Status::Starting | Status::Stopping => Status::Inactive,
            Status::Unreachable => Status::Error,
            other => other,
        }
    }
}

/// Observed status from what was heard. `silence_known` is false while the manager itself was down or cut off: then
/// silence says nothing new. Whether it was known before, and recorded, is the caller's to say.
pub fn observe(last_report: Option<Timestamp>, now: Timestamp, silence_known: bool) -> Observed {
    match last_report {
        None => Observed::Starting,
        Some(at) if now.since(at) <= OFFLINE_AFTER_SECONDS * 1000 || !silence_known => Observed::Active,
        Some(_) => Observed::Unreachable,
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HardwareInfo {
    pub cpu: CpuInfo,
    pub memory: MemoryInfo,
    pub storage: StorageInfo,
    /// Written even when absent: the store's codec is positional, a skipped field would shift what follows.
    #[serde(default)]
    pub gpu: Option<GpuInfo>,
    #[serde(default)]
    #[schema(required = true, min_items = 1, max_items = 64)]
    pub network: Vec<NetworkInfo>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CpuInfo {
    #[schema(minimum = 1, maximum = 128, example = 4)]
    pub cores: u32,
    #[schema(minimum = 0, example = 1800.0)]
    pub frequency_mhz: Option<f64>,
    #[schema(max_length = 200, example = "aarch64")]
    pub architecture: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryInfo {
    /// A board sold as 1 GB shows 0.8 x 10^9 bytes or more.
    #[schema(minimum = 800_000_000, maximum = 1_000_000_000_000_u64, example = 4_000_000_000_u64)]
    pub total_bytes: u64,
    #[serde(rename = "type")]
    #[schema(max_length = 200, example = "LPDDR4")]
    pub kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StorageInfo {
    #[schema(minimum = 10_000_000_000_u64, maximum = 100_000_000_000_000_u64, example = 32_000_000_000_u64)]
    pub total_bytes: u64,
    #[serde(rename = "type")]
    #[schema(max_length = 200, example = "SSD")]
    pub kind: Option<String>,
    #[schema(max_length = 200, example = "SATA")]
    pub interface: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GpuInfo {
    #[schema(max_length = 200)]
    pub model: Option<String>,
    pub memory_bytes: Option<u64>,
    #[schema(max_length = 200)]
    pub compute_capability: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkInfo {
    #[schema(min_length = 1, max_length = 200, example = "eth0")]
    pub interface: String,
    #[schema(example = 1000)]
    pub speed_mbps: Option<u64>,
    #[schema(max_length = 200, example = "dc:a6:32:00:00:01")]
    pub mac_address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NodeLocation)]
#[serde(deny_unknown_fields)]
pub struct Location {
    #[schema(max_length = 200, example = "CH")]
    pub country: Option<String>,
    #[schema(max_length = 200)]
    pub region: Option<String>,
    #[schema(max_length = 200, example = "Basel")]
    pub city: Option<String>,
    /// A name of the IANA time zone database.
    #[schema(format = "iana-timezone", example = "Europe/Zurich")]
    pub timezone: Option<String>,
    pub coordinates: Option<Coordinates>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Coordinates {
    #[schema(minimum = -90, maximum = 90, example = 47.56)]
    pub latitude: f64,
    #[schema(minimum = -180, maximum = 180, example = 7.59)]
    pub longitude: f64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfiguration {
    #[schema(minimum = 1, maximum = 10_000, example = 10)]
    pub max_sessions: Option<u32>,
    pub resource_limits: Option<ResourceLimits>,
    pub auto_scaling: Option<bool>,
    pub maintenance_window: Option<MaintenanceWindow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimits {
    /// Of all cores together.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100, example = 80)]
    pub cpu_percent: Option<f64>,
    #[schema(minimum = 1, example = 2_000_000_000_u64)]
    pub memory_bytes: Option<u64>,
    #[schema(minimum = 1, example = 16_000_000_000_u64)]
    pub disk_bytes: Option<u64>,
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 100)]
    pub network_mbps: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
/// Maintenance every day, planned a day ahead by the manager itself, as often as 8 hours in any 7 days allow.
pub struct MaintenanceWindow {
    /// By the clocks of `location.timezone`; UTC where the node has none.
    #[schema(minimum = 0, maximum = 23, example = 2)]
    pub start_hour: u32,
    #[schema(minimum = 1, maximum = 8, example = 1)]
    pub duration_hours: u32,
}

/// The stored node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub index: NodeIndex,
    pub name: String,
    pub node_type: NodeType,
    /// Membership by slot: an epoch is priced by the pool of its first slot.
    pub pool: Timeline<Option<PoolIndex>>,
    pub hardware: Option<HardwareInfo>,
    pub location: Option<Location>,
    pub configuration: NodeConfiguration,
    pub wanted: Wanted,
    /// Eligibility by slot.
    pub eligible: Timeline<Eligible>,
    /// Absent until an agent has claimed the node.
    pub identity: Option<Identity>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// First slot in which the node may be observed; absent until enrolled.
    pub enrolled_from: Option<Slot>,
}

/// What binds a node to a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub key: PublicKey,
    pub fingerprint: Fingerprint,
    /// Set when the reported fingerprint departed from the accepted one: payouts hold until an admin accepts.
    pub drift: Option<Fingerprint>,
    pub enrolled_at: Timestamp,
}

impl Node {
    pub fn pool_now(&self) -> Option<PoolIndex> {
        *self.pool.latest()
    }

    /// Eligibility may be planned ahead (maintenance and its end), so it is asked for a slot.
    pub fn eligible_in(&self, slot: Slot) -> Eligible {
        *self.eligible.at(slot)
    }

    /// The node's time in `slot` counts: enrolled and in service.
    pub fn counts_in(&self, slot: Slot) -> bool {
        self.enrolled_from.is_some_and(|from| from <= slot) && *self.eligible.at(slot) == Eligible::InService
    }
}

/// Names of nodes and pools: 3 to 100 of letters, digits, `_` and `-`.
pub fn check_name(errors: &mut FieldErrors, field: &str, name: &str) {
    errors.require((3..=100).contains(&name.chars().count()), field, "must have 3 to 100 characters");
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    errors.require(plain, field, "may hold letters, digits, `_` and `-` only");
}

const GB: u64 = 1_000_000_000;
const TB: u64 = 1_000 * GB;
/// A board sold as 1 GB shows less to the system.
const MIN_MEMORY_BYTES: u64 = 800_000_000;
const MAX_TEXT: usize = 200;
const MAX_INTERFACES: usize = 64;

impl HardwareInfo {
    pub fn check(&self, errors: &mut FieldErrors, at: &str) {
        let within = |errors: &mut FieldErrors, ok, field: &str, message: &str| errors.require(ok, &format!("{at}.{field}"), message);
        within(errors, (1..=128).contains(&self.cpu.cores), "cpu.cores", "must be 1 to 128");
        within(errors, positive(self.cpu.frequency_mhz), "cpu.frequency_mhz", "must not be negative");
        let memory = self.memory.total_bytes;
        within(errors, (MIN_MEMORY_BYTES..=TB).contains(&memory), "memory.total_bytes", "must be 1 GB (0.8 x 10^9 bytes) to 1 TB");
        let storage = self.storage.total_bytes;
        within(errors, (10 * GB..=100 * TB).contains(&storage), "storage.total_bytes", "must be 10 GB to 100 TB");
        within(errors, !self.network.is_empty(), "network", "must have at least one interface");
        within(errors, self.network.len() <= MAX_INTERFACES, "network", "must have at most 64 interfaces");
        let texts = [
            ("cpu.architecture", &self.cpu.architecture),
            ("memory.type", &self.memory.kind),
            ("storage.type", &self.storage.kind),
            ("storage.interface", &self.storage.interface),
        ];
        for (field, text) in texts {
            within(errors, short(text), field, "must have at most 200 characters");
        }
        for (i, n) in self.network.iter().enumerate() {
            let name_fits = (1..=MAX_TEXT).contains(&n.interface.chars().count());
            within(errors, name_fits, &format!("network[{i}].interface"), "must have 1 to 200 characters");
            within(errors, short(&n.mac_address), &format!("network[{i}].mac_address"), "must have at most 200 characters");
        }
        if let Some(gpu) = &self.gpu {
            within(errors, short(&gpu.model), "gpu.model", "must have at most 200 characters");
            within(errors, short(&gpu.compute_capability), "gpu.compute_capability", "must have at most 200 characters");
        }
    }
}

impl HardwareInfo {
    /// Speed of all interfaces together, when each one's is known.
    fn network_mbps(&self) -> Option<f64> {
        let speeds: Option<Vec<u64>> = self.network.iter().map(|interface| interface.speed_mbps.filter(|speed| *speed > 0)).collect();
        // Beyond 2^32 Mbit/s a limit is never too high.
        let sum = speeds?.iter().try_fold(0u32, |sum, speed| sum.checked_add(u32::try_from(*speed).ok()?))?;
        (sum > 0).then(|| f64::from(sum))
    }
}

fn short(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(|t| t.chars().count() <= MAX_TEXT)
}

/// Not empty, and nothing that hides or turns around what is shown: control characters, and those that set the direction of writing.
fn printable(text: &Option<String>) -> bool {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.as_ref().is_none_or(|text| !text.trim().is_empty() && !text.chars().any(hidden))
}

fn positive(value: Option<f64>) -> bool {
    value.is_none_or(|v| v.is_finite() && v >= 0.0)
}

impl Location {
    pub fn check(&self, errors: &mut FieldErrors, at: &str) {
        for (field, text) in [("country", &self.country), ("region", &self.region), ("city", &self.city)] {
            errors.require(short(text), &format!("{at}.{field}"), "must have at most 200 characters");
            errors.require(printable(text), &format!("{at}.{field}"), "must be a text without control characters");
        }
        let known = self.timezone.as_ref().is_none_or(|name| time_zone::is_known(name));
        errors.require(known, &format!("{at}.timezone"), "must be a name of the IANA time zone database, such as Europe/Zurich");
        if let Some(c) = self.coordinates {
            let at = format!("{at}.coordinates");
            errors.require((-90.0..=90.0).contains(&c.latitude), &format!("{at}.latitude"), "must be -90 to 90");
            errors.require((-180.0..=180.0).contains(&c.longitude), &format!("{at}.longitude"), "must be -180 to 180");
        }
    }
}

/// Fastest network of a limit, in Mbit/s: a terabit.
const MAX_NETWORK_MBPS: f64 = 1_000_000.0;

impl ResourceLimits {
    /// Positive whole numbers, and within the hardware as far as that is known.
    pub fn check(&self, errors: &mut FieldErrors, at: &str, hardware: Option<&HardwareInfo>) {
        let mut require = |ok, field: &str, message: &str| errors.require(ok, &format!("{at}.{field}"), message);
        let whole = |value: Option<f64>, max: f64| value.is_none_or(|v| (1.0..=max).contains(&v) && v.fract() == 0.0);
        require(whole(self.cpu_percent, 100.0), "cpu_percent", "must be a whole number from 1 to 100");
        require(whole(self.network_mbps, MAX_NETWORK_MBPS), "network_mbps", "must be a whole number from 1 to 1000000");
        for (field, value) in [("memory_bytes", self.memory_bytes), ("disk_bytes", self.disk_bytes)] {
            require(value != Some(0), field, "must be positive");
        }
        let Some(h) = hardware else { return };
        require(self.memory_bytes.is_none_or(|v| v <= h.memory.total_bytes), "memory_bytes", "must not exceed the node's memory");
        require(self.disk_bytes.is_none_or(|v| v <= h.storage.total_bytes), "disk_bytes", "must not exceed the node's storage");
        let network = self.network_mbps.zip(h.network_mbps()).is_none_or(|(limit, speed)| limit <= speed);
        require(network, "network_mbps", "must not exceed the speed of the node's interfaces");
    }
}

/// Longest maintenance window (design 6: at most 8 h in 7 days).
const MAX_MAINTENANCE_HOURS: u32 = 8;

impl NodeConfiguration {
    pub fn check(&self, errors: &mut FieldErrors, at: &str, hardware: Option<&HardwareInfo>) {
        let sessions = self.max_sessions.is_none_or(|n| (1..=10_000).contains(&n));
        errors.require(sessions, &format!("{at}.max_sessions"), "must be 1 to 10000");
        if let Some(limits) = &self.resource_limits {
            limits.check(errors, &format!("{at}.resource_limits"), hardware);
        }
        if let Some(window) = self.maintenance_window {
            let at = format!("{at}.maintenance_window");
            errors.require(window.start_hour <= 23, &format!("{at}.start_hour"), "must be 0 to 23");
            let hours = (1..=MAX_MAINTENANCE_HOURS).contains(&window.duration_hours);
            errors.require(hours, &format!("{at}.duration_hours"), "must be 1 to 8");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn hardware() -> HardwareInfo {
        HardwareInfo {
            cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
            memory: MemoryInfo { total_bytes: 4 * GB, kind: None },
            storage: StorageInfo { total_bytes: 32 * GB, ..StorageInfo::default() },
            gpu: None,
            network: vec![NetworkInfo { interface: "eth0".into(), ..NetworkInfo::default() }],
        }
    }

    fn broken(change: impl FnOnce(&mut HardwareInfo)) -> Vec<String> {
        let mut h = hardware();
        change(&mut h);
        let mut errors = FieldErrors::default();
        h.check(&mut errors, "hardware_info");
        errors.0.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn places_are_texts_that_can_be_seen() {
        for (text, ok) in [
            ("Zürich", true),
            ("São Paulo, BR", true),
            ("", false),
            (" ", false),
            ("a\u{0}b", false),
            ("\u{202e}moc", false),
            ("x\u{200b}", false),
        ] {
            let mut errors = FieldErrors::default();
            Location { city: Some(text.into()), ..Location::default() }.check(&mut errors, "location");
            assert_eq!(errors.0.is_empty(), ok, "{text:?}");
        }
    }

    #[test]
    fn hardware_is_checked_at_each_bound() {
        assert!(broken(|_| ()).is_empty());
        for (cores, ok) in [(0, false), (1, true), (128, true), (129, false)] {
            assert_eq!(broken(|h| h.cpu.cores = cores).is_empty(), ok, "{cores} cores");
        }
        for (bytes, ok) in [(MIN_MEMORY_BYTES - 1, false), (MIN_MEMORY_BYTES, true), (TB, true), (TB + 1, false)] {
            assert_eq!(broken(|h| h.memory.total_bytes = bytes).is_empty(), ok, "{bytes} bytes of memory");
        }
        for (bytes, ok) in [(10 * GB - 1, false), (10 * GB, true), (100 * TB, true), (100 * TB + 1, false)] {
            assert_eq!(broken(|h| h.storage.total_bytes = bytes).is_empty(), ok, "{bytes} bytes of storage");
        }
        assert_eq!(broken(|h| h.network.clear()), ["hardware_info.network"]);
    }

    #[test]
    fn names_are_checked_at_each_bound() {
        for (name, ok) in
            [("ab", false), ("abc", true), (&"a".repeat(100), true), (&"a".repeat(101), false), ("a b", false), ("a.b", false)]
        {
            let mut errors = FieldErrors::default();
            check_name(&mut errors, "name", name);
            assert_eq!(errors.0.is_empty(), ok, "{name}");
        }
    }

    #[test]
    fn limits_must_be_positive_and_within_the_hardware() {
        let mut errors = FieldErrors::default();
        let limits = ResourceLimits { cpu_percent: Some(0.0), memory_bytes: Some(5 * GB), disk_bytes: Some(0), network_mbps: Some(-1.0) };
        limits.check(&mut errors, "l", Some(&hardware()));
        let fields: Vec<_> = errors.0.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["l.cpu_percent", "l.network_mbps", "l.disk_bytes", "l.memory_bytes"]);
    }

    #[test]
    fn status_follows_from_the_three_facts() {
        use {Eligible as E, Observed as O, Wanted as W};
        let cases = [
            (O::Starting, W::Running, E::InService, Status::Starting),
            (O::Inactive, W::Running, E::InService, Status::Inactive),
            (O::Active, W::Running, E::InService, Status::Active),
            (O::Active, W::Running, E::Suspended, Status::Active),
            (O::Active, W::Stopped, E::InService, Status::Stopping),
            (O::Unreachable, W::Stopped, E::InService, Status::Inactive),
            (O::Unreachable, W::Running, E::InService, Status::Unreachable),
            (O::Unreachable, W::Running, E::Maintenance, Status::Maintenance),
            (O::Error, W::Running, E::InService, Status::Error),
        ];
        for (observed, wanted, eligible, status) in cases {
            assert_eq!(Status::derive(observed, wanted, eligible), status);
        }
    }

    #[test]
    fn silence_counts_only_when_the_manager_could_have_heard() {
        let now = Timestamp::from_seconds(1_000_000);
        let at = |ago: i64| Some(now.plus_seconds(-ago));
        assert_eq!(observe(None, now, true), Observed::Starting);
        assert_eq!(observe(at(300), now, true), Observed::Active);
        assert_eq!(observe(at(301), now, true), Observed::Unreachable);
        assert_eq!(observe(at(301), now, false), Observed::Active);
    }
}
