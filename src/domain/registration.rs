//! What people ask of nodes: making one, changing one, sending it to maintenance. Rules only; the store applies them.

use super::ids::PoolId;
use super::maintenance::next_slot;
use super::node::{Eligible, HardwareInfo, Location, Node, NodeConfiguration, NodeType, Wanted, check_name};
use super::refusal::{FieldErrors, Refusal};
use super::time::{Now, Slot, Timeline};

/// A node to be made without an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    pub name: String,
    pub node_type: NodeType,
    pub hardware: Option<HardwareInfo>,
    pub location: Option<Location>,
    pub pool: Option<PoolId>,
    pub configuration: NodeConfiguration,
}

impl NewNode {
    pub fn check(&self, errors: &mut FieldErrors) {
        check_name(errors, "name", &self.name);
        if let Some(hardware) = &self.hardware {
            hardware.check(errors, "hardware_info");
        }
        if let Some(location) = &self.location {
            location.check(errors, "location");
        }
        self.configuration.check(errors, "configuration", self.hardware.as_ref());
    }
}

/// A change of a node; what is absent stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeChange {
    pub name: Option<String>,
    pub node_type: Option<NodeType>,
    pub location: Option<Location>,
    pub configuration: Option<NodeConfiguration>,
    pub pool: Option<PoolId>,
    pub status: Option<StatusChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusChange {
    /// Wanted running, in service; ends maintenance. A suspension is lifted by its own verb.
    Active,
    /// Wanted stopped. Its time still counts: being off must not pay.
    Inactive,
    /// Out of the score for a while (`maintenance::DEFAULT_SLOTS`): at once by an admin, else an hour from now.
    Maintenance { at_once: bool },
}

impl NodeChange {
    pub fn check(&self, errors: &mut FieldErrors, hardware: Option<&HardwareInfo>) {
        if let Some(name) = &self.name {
            check_name(errors, "name", name);
        }
        if let Some(location) = &self.location {
            location.check(errors, "location");
        }
        if let Some(configuration) = &self.configuration {
            configuration.check(errors, "configuration", hardware);
        }
    }

    /// Names of the fields that change, for the audit log.
    pub fn fields(&self) -> String {
        let fields = [
            ("name", self.name.is_some()),
            ("node_type", self.node_type.is_some()),
            ("location", self.location.is_some()),
            ("configuration", self.configuration.is_some()),
            ("pool_id", self.pool.is_some()),
        ];
        let mut names: Vec<String> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect();
        names.extend(self.status.map(|status| {
            let word = match status {
                StatusChange::Active => "active",
                StatusChange::Inactive => "inactive",
                StatusChange::Maintenance { at_once: true } => "maintenance at once",
                StatusChange::Maintenance { at_once: false } => "maintenance in an hour",
            };
            format!("status: {word}")
        }));
        names.join(", ")
    }
}

/// Histories of a node older than this are forgotten: no epoch of that time is still open.
const HISTORY_SLOTS: u32 = 30 * 2_880;

/// Puts a change of `line` in force from the next slot. Before a node is enrolled nothing of its time has counted, so the value simply replaces
/// the other; afterwards the history must not be rewritten by a clock that is wrong.
pub fn change_from_next_slot<T: Clone + PartialEq>(line: &mut Timeline<T>, value: T, enrolled: bool, now: Now) -> Result<(), Refusal> {
    if !enrolled {
        *line = Timeline::new(value);
        return Ok(());
    }
    let next = next_slot(now)?;
    line.set(next, value);
    line.forget_before(next.minus(HISTORY_SLOTS));
    Ok(())
}

impl Node {
    /// Applies a status that a client set, but for the maintenance that it begins or ends: that is `storage::core::maintenance`.
    pub fn set_status(&mut self, status: StatusChange, now: Now) -> Result<(), Refusal> {
        let present = self.eligible_in(now.wall.slot().plus(1));
        match status {
            StatusChange::Active if present == Eligible::Draining => return Err(Refusal::NodeLeaving),
            StatusChange::Active if present == Eligible::Suspended => return Err(Refusal::NodeSuspended),
            StatusChange::Active => self.wanted = Wanted::Running,
            StatusChange::Inactive => self.wanted = Wanted::Stopped,
            StatusChange::Maintenance { .. } => (),
        }
        Ok(())
    }

    pub(super) fn forget_old_eligibility(&mut self, next: Slot) {
        self.eligible.forget_before(next.minus(HISTORY_SLOTS));
    }
}

/// The longest name.
const NAME_MAX: usize = 100;

/// A name that keeps the rules, from what a machine calls itself: other characters become `-`, short names are lengthened.
pub fn plain_name(wanted: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = wanted.trim().chars().take(NAME_MAX).map(plain).collect();
    if name.len() < 3 { format!("node-{name}").trim_end_matches('-').to_owned() } else { name }
}

/// `name`, or with the first of `-2`, `-3`, … that is free, never longer than a name may be. None when `tries` were all taken.
pub fn unique_name<E>(name: &str, tries: u32, mut taken: impl FnMut(&str) -> Result<bool, E>) -> Result<Option<String>, E> {
    if !taken(name)? {
        return Ok(Some(name.to_owned()));
    }
    for n in 2..tries {
        let suffix = format!("-{n}");
        let stem: String = name.chars().take(NAME_MAX - suffix.len()).collect();
        let candidate = stem + &suffix;
        if !taken(&candidate)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::ids::{NodeId, NodeIndex};
    use crate::domain::time::{BootMs, Timestamp};

    pub const HOUR: i64 = 3_600;
    const T: i64 = 1_790_000_010;

    pub fn at(seconds: i64) -> Now {
        Now { wall: Timestamp::from_seconds(T + seconds), boot: BootMs(0), trusted: true }
    }

    pub fn node() -> Node {
        Node {
            id: NodeId::parse("node_abc").unwrap(),
            index: NodeIndex(0),
            name: "abc".into(),
            node_type: NodeType::Worker,
            pool: Timeline::new(None),
            hardware: None,
            location: None,
            configuration: NodeConfiguration::default(),
            wanted: Wanted::Running,
            eligible: Timeline::new(Eligible::InService),
            identity: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            enrolled_from: Some(Slot(0)),
        }
    }

    pub fn eligible(node: &Node, seconds: i64) -> Eligible {
        node.eligible_in(at(seconds).wall.slot())
    }

    #[test]
    fn suspension_a_departure_and_an_untrusted_clock_bind() {
        let mut n = node();
        n.eligible = Timeline::new(Eligible::Suspended);
        assert_eq!(n.set_status(StatusChange::Active, at(0)), Err(Refusal::NodeSuspended));
        let untrusted = Now { trusted: false, ..at(0) };
        let change = |n: &mut Node, now| change_from_next_slot(&mut n.eligible, Eligible::InService, true, now);
        assert_eq!(change(&mut n, untrusted), Err(Refusal::ClockUntrusted));
        change(&mut n, at(0)).unwrap();
        assert_eq!((eligible(&n, 0), eligible(&n, 30)), (Eligible::Suspended, Eligible::InService));
        assert_eq!(n.set_status(StatusChange::Inactive, untrusted), Ok(()), "this needs no time");
        n.eligible = Timeline::new(Eligible::Draining);
        assert_eq!(n.set_status(StatusChange::Active, at(0)), Err(Refusal::NodeLeaving));
        assert_eq!(n.wanted, Wanted::Stopped);
    }

    #[test]
    fn names_are_made_plain_and_unique() {
        assert_eq!(plain_name(" pi.local "), "pi-local");
        assert_eq!(plain_name(""), "node");
        assert_eq!(plain_name("ä"), "node");
        assert_eq!(plain_name("a1"), "node-a1");
        assert_eq!(plain_name(&"x".repeat(300)).len(), 100);
        let taken = ["pi".to_owned(), "pi-2".to_owned(), "y".repeat(100)];
        let find = |name: &str| unique_name(name, 9, |n| Ok::<_, ()>(taken.iter().any(|t| t == n))).unwrap();
        assert_eq!(find("pi").as_deref(), Some("pi-3"));
        assert_eq!(find("po").as_deref(), Some("po"));
        assert_eq!(find(&"y".repeat(100)).map(|n| n.len()), Some(100));
        assert_eq!(unique_name("pi", 9, |_| Ok::<_, ()>(true)), Ok(None));
    }
}
