//! What of a node's machine is promised to someone: named shares whose sum never goes beyond the hardware and the limits that were set for the node.

use serde::{Deserialize, Serialize};

use super::audit::Actor;
use super::ids::AllocationId;
use super::node::{HardwareInfo, ResourceLimits, check_name};
use super::refusal::{FieldErrors, Refusal};
use super::time::Timestamp;

/// Allocations of one node.
pub const MAX_PER_NODE: usize = 64;
/// All cores of a machine are 100 %.
const WHOLE_CPU_HUNDREDTHS: u64 = 10_000;
/// Where no interface tells its speed; no machine has more.
const MAX_NETWORK_KBPS: u64 = 1_000_000_000;
const KBPS_PER_MBPS: f64 = 1_000.0;

/// Amounts of a machine's resources; absent is none. Whole numbers, so that a sum of many is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocation {
    /// Share of all cores, in hundredths of a percent: 10000 is the whole machine.
    pub cpu_hundredths: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    /// Thousands of bits per second.
    pub network_kbps: Option<u64>,
}

/// The resources in the order in which they are shown.
pub const RESOURCES: [&str; 4] = ["cpu_percent", "memory_bytes", "disk_bytes", "network_mbps"];

impl Allocation {
    pub fn cpu_percent(&self) -> Option<f64> {
        self.cpu_hundredths.map(|hundredths| f64::from(hundredths) / 100.0)
    }

    pub fn network_mbps(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "at most 10^9, checked when it was allocated")]
        self.network_kbps.map(|kbps| kbps as f64 / KBPS_PER_MBPS)
    }

    /// In the shape of the limits that a node's configuration has.
    pub fn limits(&self) -> ResourceLimits {
        let (cpu_percent, network_mbps) = (self.cpu_percent(), self.network_mbps());
        ResourceLimits { cpu_percent, memory_bytes: self.memory_bytes, disk_bytes: self.disk_bytes, network_mbps }
    }

    pub fn is_empty(&self) -> bool {
        *self == Allocation::default()
    }

    /// In the order of `RESOURCES`.
    fn parts(&self) -> [Option<u64>; 4] {
        [self.cpu_hundredths.map(u64::from), self.memory_bytes, self.disk_bytes, self.network_kbps]
    }

    fn of_parts([cpu, memory_bytes, disk_bytes, network_kbps]: [Option<u64>; 4]) -> Allocation {
        // A sum was kept within the whole CPU; a node whose limits shrank stays within u32 all the same.
        let cpu_hundredths = cpu.map(|hundredths| u32::try_from(hundredths).unwrap_or(u32::MAX));
        Allocation { cpu_hundredths, memory_bytes, disk_bytes, network_kbps }
    }

    pub fn plus(&self, other: &Allocation) -> Allocation {
        let (mut sum, others) = (self.parts(), other.parts());
        for (own, other) in sum.iter_mut().zip(others) {
            if let Some(other) = other {
                *own = Some(own.unwrap_or(0).saturating_add(other));
            }
        }
        Allocation::of_parts(sum)
    }

    /// From what a client wrote: percent and Mbit/s with decimals. None in `errors`' place names the field.
    pub fn parse(errors: &mut FieldErrors, asked: &ResourceLimits) -> Allocation {
        let cpu = asked.cpu_percent.and_then(|percent| {
            let parsed = scaled(percent, 100.0, WHOLE_CPU_HUNDREDTHS);
            errors.require(parsed.is_some(), "cpu_percent", "must be above 0 and at most 100, with at most two decimals");
            parsed
        });
        let network = asked.network_mbps.and_then(|mbps| {
            let parsed = scaled(mbps, KBPS_PER_MBPS, MAX_NETWORK_KBPS);
            errors.require(parsed.is_some(), "network_mbps", "must be above 0 and at most 1000000, with at most three decimals");
            parsed
        });
        errors.require(asked.memory_bytes != Some(0), "memory_bytes", "must be positive");
        errors.require(asked.disk_bytes != Some(0), "disk_bytes", "must be positive");
        let nothing = *asked == ResourceLimits::default();
        errors.require(!nothing, "cpu_percent", "or memory_bytes, disk_bytes or network_mbps must be given");
        Allocation::of_parts([cpu, asked.memory_bytes, asked.disk_bytes, network])
    }
}

/// `value` x `per` as a whole number from 1 to `max`; None when it is none.
fn scaled(value: f64, per: f64, max: u64) -> Option<u64> {
    let scaled = value * per;
    let whole = scaled.round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    let units = ((1.0..=1e12).contains(&whole) && (scaled - whole).abs() < 1e-6).then_some(whole as u64)?;
    (units <= max).then_some(units)
}

/// A share with its name and its maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAllocation {
    pub id: AllocationId,
    /// Unique on its node.
    pub name: String,
    pub amounts: Allocation,
    pub created_at: Timestamp,
    pub created_by: Actor,
}

/// What can be allocated on a machine at all: its hardware, or less where the node's configuration limits it. A network whose speed is not known is bounded
/// by the configuration only.
pub fn capacity(hardware: &HardwareInfo, limits: Option<&ResourceLimits>) -> Allocation {
    let speed = hardware.network.iter().filter_map(|interface| interface.speed_mbps).max();
    let limit = |of: Option<f64>, per: f64, max: u64| of.and_then(|value| scaled(value, per, max));
    let lower = |hardware: u64, limit: Option<u64>| Some(limit.map_or(hardware, |limit| limit.min(hardware)));
    Allocation::of_parts([
        lower(WHOLE_CPU_HUNDREDTHS, limit(limits.and_then(|l| l.cpu_percent), 100.0, WHOLE_CPU_HUNDREDTHS)),
        lower(hardware.memory.total_bytes, limits.and_then(|l| l.memory_bytes)),
        lower(hardware.storage.total_bytes, limits.and_then(|l| l.disk_bytes)),
        lower(
            speed.map_or(MAX_NETWORK_KBPS, |mbps| mbps.saturating_mul(1_000).min(MAX_NETWORK_KBPS)),
            limit(limits.and_then(|l| l.network_mbps), KBPS_PER_MBPS, MAX_NETWORK_KBPS),
        ),
    ])
}

pub fn total<'a>(allocations: impl IntoIterator<Item = &'a NamedAllocation>) -> Allocation {
    allocations.into_iter().fold(Allocation::default(), |sum, allocation| sum.plus(&allocation.amounts))
}

/// What is left of `capacity`; zero where more is allocated than there is.
pub fn left(capacity: &Allocation, allocated: &Allocation) -> Allocation {
    let mut rest = capacity.parts();
    for (rest, taken) in rest.iter_mut().zip(allocated.parts()) {
        *rest = rest.map(|all| all.saturating_sub(taken.unwrap_or(0)));
    }
    Allocation::of_parts(rest)
}

/// Resources of which more is allocated than the machine has: it shrank since.
pub fn exceeded(capacity: &Allocation, allocated: &Allocation) -> Vec<&'static str> {
    let both = RESOURCES.into_iter().zip(capacity.parts().into_iter().zip(allocated.parts()));
    both.filter(|(_, (all, taken))| taken.unwrap_or(0) > all.unwrap_or(u64::MAX)).map(|(name, _)| name).collect()
}

/// May `wanted` be added, under this name? `present` are the allocations that the node has.
pub fn check(name: &str, wanted: &Allocation, capacity: Option<&Allocation>, present: &[NamedAllocation]) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    check_name(&mut errors, "name", name);
    errors.require(!wanted.is_empty(), "cpu_percent", "or memory_bytes, disk_bytes or network_mbps must be given");
    errors.finish()?;
    let mut errors = FieldErrors::default();
    errors.require(present.iter().all(|other| other.name != name), "name", "is the name of another allocation of the node");
    errors.require(capacity.is_some(), "node", "has not told its hardware yet");
    errors.require(present.len() < MAX_PER_NODE, "node", format!("has {MAX_PER_NODE} allocations, which is the most"));
    errors.finish_as("InvalidAllocation")?;
    let Some(capacity) = capacity else { return Ok(()) };
    let (rest, mut errors) = (left(capacity, &total(present)), FieldErrors::default());
    for (field, (wanted, rest)) in RESOURCES.into_iter().zip(wanted.parts().into_iter().zip(rest.parts())) {
        let (wanted, rest) = (wanted.unwrap_or(0), rest.unwrap_or(0));
        errors.require(wanted <= rest, field, format!("must be at most {}, which is what is left", shown(field, rest)));
    }
    errors.finish_as("ResourceLimitExceeded")
}

/// In the unit of the field.
fn shown(field: &str, units: u64) -> String {
    let decimals = match field {
        "cpu_percent" => 2,
        "network_mbps" => 3,
        _ => 0,
    };
    rust_decimal::Decimal::from_i128_with_scale(i128::from(units), decimals).normalize().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::node::{CpuInfo, MemoryInfo, NetworkInfo, StorageInfo};

    const GB: u64 = 1_000_000_000;

    fn hardware() -> HardwareInfo {
        HardwareInfo {
            cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
            memory: MemoryInfo { total_bytes: 4 * GB, kind: None },
            storage: StorageInfo { total_bytes: 32 * GB, ..StorageInfo::default() },
            gpu: None,
            network: vec![NetworkInfo { interface: "eth0".into(), speed_mbps: Some(1_000), mac_address: None }],
        }
    }

    fn named(n: usize, amounts: Allocation) -> NamedAllocation {
        NamedAllocation {
            id: AllocationId::parse(&format!("alloc_{n:06}")).unwrap(),
            name: format!("share-{n}"),
            amounts,
            created_at: Timestamp(0),
            created_by: Actor::Console,
        }
    }

    fn fields(result: Result<(), Refusal>) -> (&'static str, Vec<String>) {
        match result.unwrap_err() {
            Refusal::Broken(name, fields) => (name, fields.into_iter().map(|e| format!("{} {}", e.field, e.message)).collect()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_left_is_told_for_every_field_that_does_not_fit() {
        let capacity = capacity(&hardware(), None);
        let taken = [named(0, Allocation { cpu_hundredths: Some(7_550), memory_bytes: Some(3 * GB), ..Allocation::default() })];
        let fits =
            Allocation { cpu_hundredths: Some(2_450), memory_bytes: Some(GB), disk_bytes: Some(32 * GB), network_kbps: Some(1_000_000) };
        assert_eq!(check("fits", &fits, Some(&capacity), &taken), Ok(()));
        let more = |parts: [u64; 4]| Allocation::of_parts(parts.map(Some));
        let wide = more([2_451, GB + 1, 32 * GB + 1, 1_000_001]);
        let (name, told) = fields(check("wide", &wide, Some(&capacity), &taken));
        assert_eq!(name, "ResourceLimitExceeded");
        let left =
            ["cpu_percent must be at most 24.5,", "memory_bytes must be at most 1000000000,", "disk_bytes must be at most 32000000000,"];
        assert!(left.iter().zip(&told).all(|(wanted, told)| told.starts_with(wanted)), "{told:?}");
        assert!(told[3].starts_with("network_mbps must be at most 1000,"));
        let (name, told) = fields(check("share-0", &fits, None, &taken));
        assert_eq!((name, told.len()), ("InvalidAllocation", 2));
        let Err(Refusal::Invalid(told)) = check("x", &Allocation::default(), None, &taken) else { panic!("taken") };
        assert_eq!(told.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["name", "cpu_percent"]);
    }

    #[test]
    fn limits_of_the_node_lower_what_its_hardware_has() {
        let limits = ResourceLimits { cpu_percent: Some(50.0), memory_bytes: Some(8 * GB), disk_bytes: None, network_mbps: Some(2.5) };
        let of = capacity(&hardware(), Some(&limits));
        assert_eq!(of.parts(), [Some(5_000), Some(4 * GB), Some(32 * GB), Some(2_500)]);
        assert_eq!((of.cpu_percent(), of.network_mbps()), (Some(50.0), Some(2.5)));
    }

    #[test]
    fn a_machine_that_shrank_is_flagged_and_offers_nothing() {
        let small = capacity(&HardwareInfo { memory: MemoryInfo { total_bytes: GB, kind: None }, ..hardware() }, None);
        let taken = Allocation { memory_bytes: Some(2 * GB), ..Allocation::default() };
        assert_eq!((exceeded(&small, &taken), left(&small, &taken).memory_bytes), (vec!["memory_bytes"], Some(0)));
        assert!(exceeded(&capacity(&hardware(), None), &taken).is_empty());
    }

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        let parse = |asked: ResourceLimits| {
            let mut errors = FieldErrors::default();
            let amounts = Allocation::parse(&mut errors, &asked);
            (amounts, errors.0.into_iter().map(|e| e.field).collect::<Vec<_>>())
        };
        let fine = ResourceLimits { cpu_percent: Some(12.34), network_mbps: Some(0.001), ..ResourceLimits::default() };
        assert_eq!(parse(fine).0.parts(), [Some(1_234), None, None, Some(1)]);
        let bad = ResourceLimits { cpu_percent: Some(12.345), memory_bytes: Some(0), disk_bytes: Some(0), network_mbps: Some(f64::NAN) };
        assert_eq!(parse(bad).1, ["cpu_percent", "network_mbps", "memory_bytes", "disk_bytes"]);
        for cpu in [0.0, -1.0, 100.01, f64::INFINITY] {
            assert_eq!(parse(ResourceLimits { cpu_percent: Some(cpu), ..ResourceLimits::default() }).1, ["cpu_percent"], "{cpu}");
        }
        assert_eq!(parse(ResourceLimits::default()).1, ["cpu_percent"]);
    }

    proptest! {
        #[test]
        fn nothing_is_ever_allocated_twice(
            steps in prop::collection::vec((0u8..4, 0u64..5_000, 0u64..2 * GB, 0u64..20 * GB, 0u64..600_000, any::<prop::sample::Index>()), 1..150),
        ) {
            let capacity = capacity(&hardware(), None);
            let mut present: Vec<NamedAllocation> = Vec::new();
            // Four plain sums, as a naive book-keeper has them.
            let mut sums = [0u64; 4];
            let all = capacity.parts().map(Option::unwrap);
            for (n, (what, cpu, memory, disk, network, index)) in steps.into_iter().enumerate() {
                if what == 0 && !present.is_empty() {
                    let gone = present.swap_remove(index.index(present.len()));
                    for (sum, part) in sums.iter_mut().zip(gone.amounts.parts()) {
                        *sum -= part.unwrap_or(0);
                    }
                    continue;
                }
                let wanted = [cpu, memory, disk, network];
                let amounts = Allocation::of_parts(wanted.map(|amount| (amount > 0).then_some(amount)));
                let fits = sums.iter().zip(wanted).zip(all).all(|((sum, wanted), all)| sum + wanted <= all);
                let expected = fits && !amounts.is_empty() && present.len() < MAX_PER_NODE;
                let allowed = check(&format!("share-{n}"), &amounts, Some(&capacity), &present);
                prop_assert_eq!(allowed.is_ok(), expected);
                if expected {
                    present.push(named(n, amounts));
                    for (sum, wanted) in sums.iter_mut().zip(wanted) {
                        *sum += wanted;
                    }
                }
                prop_assert_eq!(total(&present).parts().map(|part| part.unwrap_or(0)), sums);
                prop_assert!(exceeded(&capacity, &total(&present)).is_empty());
            }
        }
    }
}
