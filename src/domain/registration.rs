//! What people ask of nodes: making one, changing one, sending it to maintenance. Rules only; the store applies them.

use super::ids::PoolId;
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
    /// Wanted running, in service; ends maintenance. Only an admin (`approved`) lifts a suspension.
    Active { approved: bool },
    /// Wanted stopped. Its time still counts: being off must not pay.
    Inactive,
    /// Out of the score for the rest of the 8 hours in 7 days: at once by an admin, else an hour from now.
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
                StatusChange::Active { .. } => "active",
                StatusChange::Inactive => "inactive",
                StatusChange::Maintenance { at_once: true } => "maintenance at once",
                StatusChange::Maintenance { at_once: false } => "maintenance in an hour",
            };
            format!("status: {word}")
        }));
        names.join(", ")
    }
}

/// Of 30 s each.
const SLOTS_PER_HOUR: u32 = 120;
/// Maintenance of a node in any 7 days, in slots.
pub const MAINTENANCE_SLOTS: u32 = 8 * SLOTS_PER_HOUR;
/// Name of the refusal when they are used up.
pub const MAINTENANCE_USED_UP: &str = "MaintenanceUsedUp";
const MAINTENANCE_WINDOW_SLOTS: u32 = 7 * 24 * SLOTS_PER_HOUR;
/// Histories of a node older than this are forgotten: no epoch of that time is still open.
const HISTORY_SLOTS: u32 = 30 * 24 * SLOTS_PER_HOUR;

/// Puts a change of `line` in force from the next slot. Before a node is enrolled nothing of its time has counted, so the value simply replaces
/// the other; afterwards the history must not be rewritten by a clock that is wrong.
pub fn change_from_next_slot<T: Clone + PartialEq>(line: &mut Timeline<T>, value: T, enrolled: bool, now: Now) -> Result<(), Refusal> {
    if !enrolled {
        *line = Timeline::new(value);
        return Ok(());
    }
    let next = trusted_next_slot(now)?;
    line.set(next, value);
    line.forget_before(next.minus(HISTORY_SLOTS));
    Ok(())
}

fn trusted_next_slot(now: Now) -> Result<Slot, Refusal> {
    if now.trusted { Ok(now.wall.slot().plus(1)) } else { Err(Refusal::ClockUntrusted) }
}

impl Node {
    /// Applies a status that a client set.
    pub fn set_status(&mut self, status: StatusChange, now: Now) -> Result<(), Refusal> {
        let present = self.eligible_in(now.wall.slot().plus(1));
        match status {
            StatusChange::Active { approved } => {
                if present == Eligible::Suspended && !approved {
                    return Err(Refusal::NotAllowed);
                }
                self.wanted = Wanted::Running;
                self.enter_service(now)
            }
            StatusChange::Inactive => {
                self.wanted = Wanted::Stopped;
                if present == Eligible::Maintenance { self.enter_service(now) } else { Ok(()) }
            }
            StatusChange::Maintenance { at_once } => self.plan_maintenance(at_once, now),
        }
    }

    fn enter_service(&mut self, now: Now) -> Result<(), Refusal> {
        let next = now.wall.slot().plus(1);
        let unchanged = self.eligible_in(next) == Eligible::InService && self.eligible.after(next).is_empty();
        if unchanged {
            return Ok(());
        }
        change_from_next_slot(&mut self.eligible, Eligible::InService, self.enrolled_from.is_some(), now)
    }

    /// From the next slot, or from an hour ahead, until the week's allowance is used up. A plan that has not begun is replaced.
    fn plan_maintenance(&mut self, at_once: bool, now: Now) -> Result<(), Refusal> {
        let next = trusted_next_slot(now)?;
        let present = self.eligible_in(next);
        match present {
            Eligible::Maintenance => return Ok(()),
            Eligible::Suspended => return Err(Refusal::NotAllowed),
            Eligible::InService | Eligible::Draining => (),
        }
        self.eligible.set(next, present);
        let from = if at_once { next } else { next.plus(SLOTS_PER_HOUR) };
        // What was used in the week before the start bounds every week that the stretch touches.
        let used = self.eligible.slots_of(&Eligible::Maintenance, from.minus(MAINTENANCE_WINDOW_SLOTS), from);
        let left = MAINTENANCE_SLOTS.saturating_sub(used);
        if left == 0 {
            return Err(Refusal::Rule(MAINTENANCE_USED_UP, "the node has had its 8 hours of maintenance in 7 days".into()));
        }
        self.eligible.set(from, Eligible::Maintenance);
        self.eligible.set(from.plus(left), present);
        self.eligible.forget_before(next.minus(HISTORY_SLOTS));
        Ok(())
    }

    /// The maintenance that is going on in `slot` or planned after it: first slot and the one after the last.
    pub fn maintenance_around(&self, slot: Slot) -> Option<(Option<Slot>, Option<Slot>)> {
        let ahead = self.eligible.after(slot);
        if self.eligible_in(slot) == Eligible::Maintenance {
            return Some((None, ahead.first().map(|(end, _)| *end)));
        }
        let start = ahead.iter().position(|(_, e)| *e == Eligible::Maintenance)?;
        Some((ahead.get(start).map(|(from, _)| *from), ahead.get(start + 1).map(|(end, _)| *end)))
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
mod tests {
    use super::*;
    use crate::domain::ids::{NodeId, NodeIndex};
    use crate::domain::time::{BootMs, Timestamp};

    const HOUR: i64 = 3_600;
    const T: i64 = 1_790_000_010;

    fn at(seconds: i64) -> Now {
        Now { wall: Timestamp::from_seconds(T + seconds), boot: BootMs(0), trusted: true }
    }

    fn node() -> Node {
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

    fn eligible(node: &Node, seconds: i64) -> Eligible {
        node.eligible_in(at(seconds).wall.slot())
    }

    const NOW: StatusChange = StatusChange::Maintenance { at_once: true };
    const AHEAD: StatusChange = StatusChange::Maintenance { at_once: false };
    const ACTIVE: StatusChange = StatusChange::Active { approved: false };

    #[test]
    fn maintenance_at_once_ends_after_eight_hours_and_is_used_up_for_the_week() {
        let mut n = node();
        n.set_status(NOW, at(0)).unwrap();
        assert_eq!(eligible(&n, 0), Eligible::InService, "the present slot has begun");
        assert_eq!((eligible(&n, 30), eligible(&n, 8 * HOUR)), (Eligible::Maintenance, Eligible::Maintenance));
        assert_eq!(eligible(&n, 8 * HOUR + 30), Eligible::InService);
        assert_eq!(n.set_status(NOW, at(9 * HOUR)).unwrap_err().name(), MAINTENANCE_USED_UP);
        assert_eq!(n.set_status(NOW, at(8 * 24 * HOUR)), Ok(()));
    }

    #[test]
    fn what_is_not_used_is_kept_for_later_in_the_week() {
        let mut n = node();
        n.set_status(NOW, at(0)).unwrap();
        n.set_status(ACTIVE, at(3 * HOUR)).unwrap();
        assert_eq!(eligible(&n, 3 * HOUR + 30), Eligible::InService);
        n.set_status(NOW, at(24 * HOUR)).unwrap();
        assert_eq!((eligible(&n, 29 * HOUR), eligible(&n, 29 * HOUR + 30)), (Eligible::Maintenance, Eligible::InService));
    }

    #[test]
    fn planned_maintenance_begins_an_hour_ahead_and_can_be_called_off() {
        let mut n = node();
        n.set_status(AHEAD, at(0)).unwrap();
        assert_eq!((eligible(&n, HOUR), eligible(&n, HOUR + 30)), (Eligible::InService, Eligible::Maintenance));
        let (from, until) = n.maintenance_around(at(0).wall.slot()).unwrap();
        assert_eq!(until.unwrap().0 - from.unwrap().0, MAINTENANCE_SLOTS);
        n.set_status(ACTIVE, at(HOUR / 2)).unwrap();
        assert_eq!(eligible(&n, 2 * HOUR), Eligible::InService);
        assert_eq!(n.maintenance_around(at(HOUR).wall.slot()), None);
    }

    #[test]
    fn suspension_and_an_untrusted_clock_bind() {
        let mut n = node();
        n.eligible = Timeline::new(Eligible::Suspended);
        assert_eq!(n.set_status(ACTIVE, at(0)), Err(Refusal::NotAllowed));
        assert_eq!(n.set_status(NOW, at(0)), Err(Refusal::NotAllowed));
        n.set_status(StatusChange::Active { approved: true }, at(0)).unwrap();
        assert_eq!(eligible(&n, 30), Eligible::InService);
        let untrusted = Now { trusted: false, ..at(60) };
        assert_eq!(n.set_status(NOW, untrusted), Err(Refusal::ClockUntrusted));
        assert_eq!(n.set_status(StatusChange::Inactive, untrusted), Ok(()), "this needs no time");
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
