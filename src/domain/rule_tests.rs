//! Every rule of the fields of nodes, pools, people and tokens, at, below and above each of its bounds, against the words of the contract.

use proptest::prelude::*;
use proptest::strategy::Union;

use super::enrolment::{EnrolmentTarget, NewToken};
use super::ids::{NodeId, PoolId, PoolIndex};
use super::money::{Currency, Units};
use super::node::{
    Coordinates, CpuInfo, GpuInfo, HardwareInfo, Location, MaintenanceWindow, MemoryInfo, NetworkInfo, NodeConfiguration, NodeType,
    ResourceLimits, StorageInfo, check_name,
};
use super::password::check_password;
use super::pool::{NewPool, Pricing, ScalingPolicy};
use super::refusal::FieldErrors;
use super::registration::NewNode;
use super::time::Timestamp;
use super::time_zone;
use super::user::check_username;

const GB: u64 = 1_000_000_000;
const TB: u64 = 1_000 * GB;

/// Fields that a check names, each once.
fn broken(check: impl FnOnce(&mut FieldErrors)) -> Vec<String> {
    let mut errors = FieldErrors::default();
    check(&mut errors);
    let mut fields: Vec<String> = errors.0.into_iter().map(|error| error.field).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Whole numbers at both bounds, next to them, between them and far away.
fn around(min: u64, max: u64) -> Union<BoxedStrategy<u64>> {
    let near = |bound: u64| (bound.saturating_sub(2)..=bound.saturating_add(2)).boxed();
    Union::new([near(min), near(max), (min..=max).boxed(), any::<u64>().boxed()])
}

/// Numbers at both bounds, just outside and anywhere.
fn about(min: f64, max: f64) -> Union<BoxedStrategy<f64>> {
    let at = prop::sample::select(vec![min, max, min - 0.000_001, max + 0.000_001, min - 1.0, max + 1.0]).boxed();
    Union::new([at, (min..=max).boxed(), (min * 3.0 - 10.0..=max * 3.0 + 10.0).boxed(), any::<f64>().boxed()])
}

/// Texts of every length up to `max`, in characters of one to four bytes.
fn text(max: usize) -> impl Strategy<Value = String> {
    (prop::sample::select(vec!['a', 'é', '한', '🦀']), 0..=max).prop_map(|(c, length)| c.to_string().repeat(length))
}

fn hardware() -> HardwareInfo {
    HardwareInfo {
        cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
        memory: MemoryInfo { total_bytes: 4 * GB, kind: None },
        storage: StorageInfo { total_bytes: 32 * GB, ..StorageInfo::default() },
        gpu: None,
        network: vec![NetworkInfo { interface: "eth0".into(), speed_mbps: Some(1_000), mac_address: None }],
    }
}

fn node() -> NewNode {
    NewNode {
        name: "attic".into(),
        node_type: NodeType::Worker,
        hardware: Some(hardware()),
        location: Some(Location::default()),
        pool: None,
        configuration: NodeConfiguration::default(),
    }
}

fn broken_node(change: impl FnOnce(&mut NewNode)) -> Vec<String> {
    let mut new = node();
    change(&mut new);
    broken(|errors| new.check(errors))
}

fn broken_hardware(change: impl FnOnce(&mut HardwareInfo)) -> Vec<String> {
    broken_node(|new| change(new.hardware.as_mut().unwrap()))
}

fn broken_limits(limits: ResourceLimits) -> Vec<String> {
    broken_node(|new| new.configuration.resource_limits = Some(limits))
}

fn pool() -> NewPool {
    let price = Units(50_000);
    NewPool {
        name: "attic".into(),
        description: String::new(),
        max_nodes: 100,
        resource_limits: None,
        auto_scaling: false,
        scaling_policy: None,
        pricing: Pricing { cost_per_hour: price, reward_per_hour: price, currency: Currency::Usdt },
        outputs_expected: false,
    }
}

fn broken_pool(change: impl FnOnce(&mut NewPool)) -> Vec<String> {
    let mut new = pool();
    change(&mut new);
    let pool = new.into_pool(PoolId::parse("pool_one").unwrap(), PoolIndex(0), Timestamp(0));
    broken(|errors| pool.check(errors))
}

/// `field` alone when it is wrong, nothing else.
fn named(ok: bool, field: &str) -> Vec<String> {
    if ok { Vec::new() } else { vec![field.to_owned()] }
}

fn u32_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// `^PREFIX[a-zA-Z0-9_-]+$`, 8 to 64 characters, no reserved beginning: as the contract has it, letter by letter.
fn is_id(text: &str, prefix: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let Some(rest) = text.strip_prefix(prefix) else { return false };
    let reserved = ["system_", "admin_", "test_"].iter().any(|word| rest.starts_with(word));
    !rest.is_empty() && rest.chars().all(plain) && (8..=64).contains(&text.chars().count()) && !reserved
}

fn id_like() -> impl Strategy<Value = String> {
    let prefix =
        prop::sample::select(vec!["node_", "pool_", "node", "Node_", "", "node_system_", "pool_admin_", "node_test_", "pool_test"]);
    (prefix, "[a-zA-Z0-9_-]{0,70}|[a-z .é]{0,12}").prop_map(|(prefix, rest)| format!("{prefix}{rest}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids(text in id_like()) {
        prop_assert_eq!(NodeId::parse(&text).is_ok(), is_id(&text, "node_"), "{}", text);
        prop_assert_eq!(PoolId::parse(&text).is_ok(), is_id(&text, "pool_"), "{}", text);
    }

    #[test]
    fn names(name in "[a-zA-Z0-9_-]{0,4}|[a-zA-Z0-9_-]{98,102}|[a-z .é/]{0,9}|.{0,120}") {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let ok = plain && (3..=100).contains(&name.chars().count());
        prop_assert_eq!(broken(|errors| check_name(errors, "name", &name)), named(ok, "name"));
        prop_assert_eq!(broken_node(|new| new.name.clone_from(&name)), named(ok, "name"));
        prop_assert_eq!(broken_pool(|new| new.name.clone_from(&name)), named(ok, "name"));
    }

    #[test]
    fn cores(cores in around(1, 128)) {
        let cores = u32_of(cores);
        prop_assert_eq!(broken_hardware(|h| h.cpu.cores = cores), named((1..=128).contains(&cores), "hardware_info.cpu.cores"));
    }

    #[test]
    fn frequency(mhz in about(0.0, 5_000.0)) {
        let ok = mhz.is_finite() && mhz >= 0.0;
        prop_assert_eq!(broken_hardware(|h| h.cpu.frequency_mhz = Some(mhz)), named(ok, "hardware_info.cpu.frequency_mhz"));
    }

    #[test]
    fn memory(bytes in around(800_000_000, TB)) {
        let ok = (800_000_000..=TB).contains(&bytes);
        prop_assert_eq!(broken_hardware(|h| h.memory.total_bytes = bytes), named(ok, "hardware_info.memory.total_bytes"));
    }

    #[test]
    fn storage(bytes in around(10 * GB, 100 * TB)) {
        let ok = (10 * GB..=100 * TB).contains(&bytes);
        prop_assert_eq!(broken_hardware(|h| h.storage.total_bytes = bytes), named(ok, "hardware_info.storage.total_bytes"));
    }

    #[test]
    fn interfaces(count in 0usize..70) {
        let interface = hardware().network.remove(0);
        let found = broken_hardware(|h| h.network = vec![interface; count]);
        prop_assert_eq!(found, named((1..=64).contains(&count), "hardware_info.network"));
    }

    #[test]
    fn texts_of_the_hardware(text in text(205)) {
        let length = text.chars().count();
        let free = |field: &str| named(length <= 200, &format!("hardware_info.{field}"));
        let some = || Some(text.clone());
        prop_assert_eq!(broken_hardware(|h| h.cpu.architecture = some()), free("cpu.architecture"));
        prop_assert_eq!(broken_hardware(|h| h.memory.kind = some()), free("memory.type"));
        prop_assert_eq!(broken_hardware(|h| h.storage.kind = some()), free("storage.type"));
        prop_assert_eq!(broken_hardware(|h| h.storage.interface = some()), free("storage.interface"));
        prop_assert_eq!(broken_hardware(|h| h.network[0].mac_address = some()), free("network[0].mac_address"));
        prop_assert_eq!(broken_hardware(|h| h.gpu = Some(GpuInfo { model: some(), ..GpuInfo::default() })), free("gpu.model"));
        let capability = |h: &mut HardwareInfo| h.gpu = Some(GpuInfo { compute_capability: some(), ..GpuInfo::default() });
        prop_assert_eq!(broken_hardware(capability), free("gpu.compute_capability"));
        let ok = (1..=200).contains(&length);
        prop_assert_eq!(broken_hardware(|h| h.network[0].interface.clone_from(&text)), named(ok, "hardware_info.network[0].interface"));
    }

    #[test]
    fn places(text in text(205), latitude in about(-90.0, 90.0), longitude in about(-180.0, 180.0)) {
        let ok = (1..=200).contains(&text.chars().count());
        let place = |location: Location| broken_node(|new| new.location = Some(location));
        let some = || Some(text.clone());
        prop_assert_eq!(place(Location { country: some(), ..Location::default() }), named(ok, "location.country"));
        prop_assert_eq!(place(Location { region: some(), ..Location::default() }), named(ok, "location.region"));
        prop_assert_eq!(place(Location { city: some(), ..Location::default() }), named(ok, "location.city"));
        let at = |latitude, longitude| place(Location { coordinates: Some(Coordinates { latitude, longitude }), ..Location::default() });
        prop_assert_eq!(at(latitude, 0.0), named((-90.0..=90.0).contains(&latitude), "location.coordinates.latitude"));
        prop_assert_eq!(at(0.0, longitude), named((-180.0..=180.0).contains(&longitude), "location.coordinates.longitude"));
    }

    #[test]
    fn time_zones(zone in prop::sample::select(time_zone::testing::names()), other in "[A-Za-z/_+-]{0,24}", flipped in any::<u32>()) {
        let of = |name: &str| broken_node(|new| new.location = Some(Location { timezone: Some(name.to_owned()), ..Location::default() }));
        prop_assert_eq!(of(zone), Vec::<String>::new());
        // Here and there a letter in the other case.
        let flip = |(i, c): (usize, char)| match flipped >> (i % 32) & 1 {
            0 => c,
            _ if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        };
        for other in [zone.chars().enumerate().map(flip).collect(), other] {
            let known = time_zone::testing::names().contains(&other.as_str());
            prop_assert_eq!(of(&other), named(known, "location.timezone"));
        }
    }

    #[test]
    fn sessions(count in around(1, 10_000)) {
        let ok = (1..=10_000).contains(&u32_of(count));
        let found = broken_node(|new| new.configuration.max_sessions = Some(u32_of(count)));
        prop_assert_eq!(found, named(ok, "configuration.max_sessions"));
    }

    #[test]
    fn maintenance_windows(start in around(0, 23), hours in around(1, 8)) {
        let window = |start_hour, duration_hours| broken_node(|new| {
            new.configuration.maintenance_window = Some(MaintenanceWindow { start_hour, duration_hours });
        });
        prop_assert_eq!(window(u32_of(start), 1), named(start <= 23, "configuration.maintenance_window.start_hour"));
        let ok = (1..=8).contains(&hours);
        prop_assert_eq!(window(0, u32_of(hours)), named(ok, "configuration.maintenance_window.duration_hours"));
    }

    #[test]
    fn limits_in_percent_and_speed(cpu in about(1.0, 100.0), whole in around(1, 100), network in around(1, 1_000)) {
        let none = ResourceLimits::default();
        let field = |name: &str| format!("configuration.resource_limits.{name}");
        for percent in [cpu, f64::from(u32_of(whole))] {
            let ok = (1.0..=100.0).contains(&percent) && percent.fract() == 0.0;
            prop_assert_eq!(broken_limits(ResourceLimits { cpu_percent: Some(percent), ..none }), named(ok, &field("cpu_percent")));
        }
        let mbps = f64::from(u32_of(network));
        // The one interface of the node has a thousand.
        let ok = (1.0..=1_000.0).contains(&mbps);
        prop_assert_eq!(broken_limits(ResourceLimits { network_mbps: Some(mbps), ..none }), named(ok, &field("network_mbps")));
    }

    #[test]
    fn limits_in_bytes_are_positive_and_within_the_hardware(memory in around(1, 4 * GB), disk in around(1, 32 * GB)) {
        let none = ResourceLimits::default();
        let field = |name: &str| format!("configuration.resource_limits.{name}");
        let found = broken_limits(ResourceLimits { memory_bytes: Some(memory), ..none });
        prop_assert_eq!(found, named((1..=4 * GB).contains(&memory), &field("memory_bytes")));
        let found = broken_limits(ResourceLimits { disk_bytes: Some(disk), ..none });
        prop_assert_eq!(found, named((1..=32 * GB).contains(&disk), &field("disk_bytes")));
        // Of a pool, nothing is known to exceed.
        let of_pool = broken_pool(|new| new.resource_limits = Some(ResourceLimits { memory_bytes: Some(memory), ..none }));
        prop_assert_eq!(of_pool, named(memory > 0, "resource_limits.memory_bytes"));
    }

    #[test]
    fn network_limits_of_pools(network in around(1, 1_000_000)) {
        let mbps = f64::from(u32_of(network));
        let found = broken_pool(|new| new.resource_limits = Some(ResourceLimits { network_mbps: Some(mbps), ..ResourceLimits::default() }));
        prop_assert_eq!(found, named((1.0..=1_000_000.0).contains(&mbps), "resource_limits.network_mbps"));
    }

    #[test]
    fn sizes_of_pools(max_nodes in around(1, 1_000), description in text(505)) {
        let max_nodes = u32_of(max_nodes);
        prop_assert_eq!(broken_pool(|new| new.max_nodes = max_nodes), named((1..=1_000).contains(&max_nodes), "max_nodes"));
        let ok = description.chars().count() <= 500;
        prop_assert_eq!(broken_pool(|new| new.description.clone_from(&description)), named(ok, "description"));
    }

    #[test]
    fn scaling_policies(
        up in about(0.0, 100.0), down in about(0.0, 100.0), min in around(0, 100), max in around(1, 100), cooldown in around(1, 10_080),
        auto_scaling: bool, given: bool,
    ) {
        let (min_nodes, max_nodes, cooldown_minutes) = (u32_of(min), u32_of(max), u32_of(cooldown));
        let policy = ScalingPolicy { scale_up_threshold: up, scale_down_threshold: down, min_nodes, max_nodes, cooldown_minutes };
        let found = broken_pool(|new| {
            new.auto_scaling = auto_scaling;
            new.scaling_policy = given.then_some(policy);
        });
        let mut expected = Vec::new();
        if given {
            let percent = |value: f64| (0.0..=100.0).contains(&value);
            let rules = [
                (percent(up), "scale_up_threshold"),
                (percent(down) && down < up, "scale_down_threshold"),
                ((1..=100).contains(&max_nodes), "max_nodes"),
                (min_nodes <= max_nodes, "min_nodes"),
                ((1..=10_080).contains(&cooldown_minutes), "cooldown_minutes"),
            ];
            expected.extend(rules.iter().filter(|(ok, _)| !ok).map(|(_, field)| format!("scaling_policy.{field}")));
            expected.sort_unstable();
        } else if auto_scaling {
            expected.push("scaling_policy".to_owned());
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn prices(units in prop_oneof![-2i64..=2, 999_999_998i64..=1_000_000_002, any::<i64>()]) {
        let ok = (0..=1_000_000_000).contains(&units);
        prop_assert_eq!(broken_pool(|new| new.pricing.cost_per_hour = Units(units)), named(ok, "pricing.cost_per_hour"));
        prop_assert_eq!(broken_pool(|new| new.pricing.reward_per_hour = Units(units)), named(ok, "pricing.reward_per_hour"));
    }

    #[test]
    fn people(name in "[a-zA-Z0-9._@-]{0,4}|[a-zA-Z0-9._@-]{62,66}|[a-z /é]{0,9}", length in around(12, 256)) {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c));
        let ok = plain && (3..=64).contains(&name.chars().count());
        prop_assert_eq!(broken(|errors| check_username(errors, &name)), named(ok, "username"));
        let password: String = "Über den Wolken, 한🦀 ".chars().cycle().take(usize::try_from(length.clamp(0, 300)).unwrap()).collect();
        prop_assert_eq!(broken(|errors| check_password(errors, "password", &password, &[])), named((12..=256).contains(&length), "password"));
    }

    #[test]
    fn enrolment_tokens(uses in around(1, 1_000), seconds in prop_oneof![58i64..=62, 2_591_998i64..=2_592_002, any::<i64>()]) {
        let target = EnrolmentTarget::Pool(PoolIndex(0));
        let uses = u32_of(uses);
        let token = |uses, expires_in_seconds| {
            let new = NewToken { target: target.clone(), uses, expires_in_seconds, needs_approval: false };
            broken(|errors| new.check(errors))
        };
        prop_assert_eq!(token(uses, 60), named((1..=1_000).contains(&uses), "uses"));
        prop_assert_eq!(token(1, seconds), named((60..=2_592_000).contains(&seconds), "expires_in_seconds"));
    }

    /// Whatever is wrong together is named together, and nothing else is.
    #[test]
    fn all_that_is_wrong_is_named_at_once(wrong in prop::collection::vec(any::<bool>(), 8)) {
        let found = broken_node(|new| {
            let h = new.hardware.as_mut().unwrap();
            let c = &mut new.configuration;
            let breaks: [&mut dyn FnMut(); 8] = [
                &mut || new.name = "x".into(),
                &mut || h.cpu.cores = 0,
                &mut || h.memory.total_bytes = 1,
                &mut || h.network.clear(),
                &mut || new.location = Some(Location { timezone: Some("Mars/Olympus".into()), ..Location::default() }),
                &mut || c.max_sessions = Some(0),
                &mut || c.resource_limits = Some(ResourceLimits { cpu_percent: Some(0.5), ..ResourceLimits::default() }),
                &mut || c.maintenance_window = Some(MaintenanceWindow { start_hour: 24, duration_hours: 1 }),
            ];
            breaks.into_iter().zip(&wrong).filter(|(_, wrong)| **wrong).for_each(|(break_it, _)| break_it());
        });
        let fields = [
            "name",
            "hardware_info.cpu.cores",
            "hardware_info.memory.total_bytes",
            "hardware_info.network",
            "location.timezone",
            "configuration.max_sessions",
            "configuration.resource_limits.cpu_percent",
            "configuration.maintenance_window.start_hour",
        ];
        let mut expected: Vec<_> = fields.iter().zip(&wrong).filter(|(_, wrong)| **wrong).map(|(field, _)| (*field).to_owned()).collect();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
