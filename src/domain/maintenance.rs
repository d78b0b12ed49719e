//! Maintenance of a node: stretches of slots that count for nothing, neither for it nor against it (design 6). At most 8 hours in any 7 days,
//! an hour ahead unless an admin asks. What evidence follows is the node's eligibility by slot; a period is the record of who asked for it.

use serde::{Deserialize, Serialize};

use super::audit::Actor;
use super::node::{Eligible, Node};
use super::refusal::Refusal;
use super::time::{Now, SLOT_MS, Slot, Timestamp};

/// Of 30 s each.
const SLOTS_PER_HOUR: u32 = 120;
pub const SLOTS_PER_MINUTE: u32 = 2;
/// Maintenance of a node in any 7 days, in slots.
pub const MAINTENANCE_SLOTS: u32 = 8 * SLOTS_PER_HOUR;
pub const WEEK_SLOTS: u32 = 7 * 24 * SLOTS_PER_HOUR;
/// Length where none was asked for.
pub const DEFAULT_SLOTS: u32 = 2 * SLOTS_PER_HOUR;
/// How long before its begin it is told, unless by an admin.
pub const AHEAD_MS: i64 = 3_600_000;
/// How far ahead it may be planned.
const MAX_AHEAD_SLOTS: u32 = 90 * 24 * SLOTS_PER_HOUR;
/// Periods of one node that may wait for their begin.
pub const MAX_PLANNED: usize = 100;
/// Periods kept of one node; the oldest that are over make room.
pub const MAX_KEPT: usize = 200;
/// Periods that a refusal names, at most.
const MAX_NAMED: usize = 5;
/// Name of the refusal when the 8 hours are used up.
pub const USED_UP: &str = "MaintenanceUsedUp";
pub const TOO_SOON: &str = "MaintenanceTooSoon";
pub const TOO_FAR: &str = "MaintenanceTooFar";
pub const TOO_MANY: &str = "TooManyMaintenances";

/// Who or what planned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MaintenanceOrigin)]
pub enum Origin {
    /// Someone, with its begin and its length.
    Planned,
    /// The status `maintenance` was set: `active` takes it back.
    Status,
    /// The node's daily `maintenance_window`.
    Window,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenancePeriod {
    pub from: Slot,
    /// The first slot after it, as planned.
    pub until: Slot,
    pub origin: Origin,
    pub created_at: Timestamp,
    pub by: Actor,
    pub ended: Option<Ended>,
}

/// It ended before its time, or was called off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The first slot that counts again; `from` when it never began.
    pub slot: Slot,
    pub at: Timestamp,
    pub by: Actor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MaintenanceState)]
pub enum State {
    Planned,
    InForce,
    Over,
    CalledOff,
}

impl MaintenancePeriod {
    /// The first slot after it, as it was or will be.
    pub fn end(&self) -> Slot {
        self.ended.as_ref().map_or(self.until, |ended| ended.slot)
    }

    /// As seen from `next`, the first slot that can still be changed.
    pub fn state(&self, next: Slot) -> State {
        match &self.ended {
            Some(ended) if ended.slot <= self.from => State::CalledOff,
            _ if self.end() <= next => State::Over,
            _ if self.from <= next => State::InForce,
            _ => State::Planned,
        }
    }

    /// Ends it with the present slot, or calls it off. None when there is nothing to end.
    pub fn ended(&self, next: Slot, at: Timestamp, by: Actor) -> Option<MaintenancePeriod> {
        let slot = match self.state(next) {
            State::Planned => self.from,
            // With the next slot: the present one has begun. One that begins with the next slot never does.
            State::InForce => next.max(self.from),
            State::Over | State::CalledOff => return None,
        };
        Some(MaintenancePeriod { ended: Some(Ended { slot, at, by }), ..self.clone() })
    }

    /// `from 2026-09-21T02:00:00Z until 2026-09-21T04:00:00Z`.
    pub fn words(&self) -> String {
        format!("from {} until {}", self.from.start().rfc3339(), self.until.start().rfc3339())
    }
}

/// What is asked for; absent is what may be soonest, and `DEFAULT_SLOTS` or what is left of the 8 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub from: Option<Slot>,
    pub slots: Option<u32>,
    pub origin: Origin,
    /// By an admin: it need not be an hour ahead.
    pub at_once: bool,
}

/// The first slot that begins at `at` or after it.
pub fn slot_from(at: Timestamp) -> Slot {
    at.plus_ms(SLOT_MS - 1).slot()
}

/// The first slot whose fate can still change; only a trusted clock knows.
pub fn next_slot(now: Now) -> Result<Slot, Refusal> {
    if now.trusted { Ok(now.wall.slot().plus(1)) } else { Err(Refusal::ClockUntrusted) }
}

/// The most slots of `spans` in any 7 days. A week that holds the most begins with one of them or ends with one.
pub fn most_in_a_week(spans: &[(Slot, Slot)]) -> u32 {
    let within = |start: Slot| {
        let end = start.plus(WEEK_SLOTS);
        spans.iter().map(|(from, until)| until.0.min(end.0).saturating_sub(from.0.max(start.0))).sum()
    };
    spans.iter().flat_map(|(from, until)| [*from, until.minus(WEEK_SLOTS)]).map(within).max().unwrap_or(0)
}

impl Node {
    /// All maintenance that its record knows of, planned and past.
    fn maintenance_spans(&self) -> Vec<(Slot, Slot)> {
        self.eligible.spans_of(&Eligible::Maintenance)
    }

    /// The longest maintenance that may begin with `from`, up to `most` slots.
    pub fn maintenance_left(&self, from: Slot, most: u32) -> u32 {
        let mut spans = self.maintenance_spans();
        let free = spans.iter().filter(|(_, until)| *until > from).map(|(begin, _)| begin.0.saturating_sub(from.0)).min();
        let (mut fits, mut beyond) = (0, most.min(free.unwrap_or(most)).saturating_add(1));
        while fits + 1 < beyond {
            let middle = fits.midpoint(beyond);
            spans.push((from, from.plus(middle)));
            if most_in_a_week(&spans) <= MAINTENANCE_SLOTS {
                fits = middle
            } else {
                beyond = middle
            }
            spans.pop();
        }
        fits
    }

    /// Plans maintenance, from its first slot to the one after its last.
    pub fn plan_maintenance(&mut self, asked: &Asked, now: Now) -> Result<(Slot, Slot), Refusal> {
        let next = next_slot(now)?;
        match self.eligible_in(next) {
            Eligible::Suspended => return Err(Refusal::NodeSuspended),
            Eligible::Draining => return Err(Refusal::NodeLeaving),
            Eligible::InService | Eligible::Maintenance => (),
        }
        let soonest = if asked.at_once { next } else { slot_from(now.wall.plus_ms(AHEAD_MS)).max(next) };
        let from = asked.from.unwrap_or(soonest);
        if from < soonest {
            let why = if asked.at_once { "maintenance cannot begin in the past" } else { "maintenance is planned an hour ahead or more" };
            return Err(Refusal::Rule(TOO_SOON, format!("{why}; not before {}", soonest.start())));
        }
        if from > next.plus(MAX_AHEAD_SLOTS) {
            return Err(Refusal::Rule(TOO_FAR, "maintenance can be planned 90 days ahead at most".into()));
        }
        let wanted = asked.slots.unwrap_or(1);
        let until = from.plus(wanted);
        if self.maintenance_spans().iter().any(|(begin, end)| *begin < until && from < *end) {
            return Err(Refusal::MaintenanceOverlaps);
        }
        let left = self.maintenance_left(from, asked.slots.unwrap_or(DEFAULT_SLOTS));
        if left < wanted || left == 0 {
            let (left, taken) = (left / SLOTS_PER_MINUTE, self.maintenance_beside(from, until, next));
            let why = format!("a node has 8 hours of maintenance in any 7 days: {left} minutes are left for one that begins then");
            return Err(Refusal::Rule(USED_UP, format!("{why}; {taken}")));
        }
        let until = from.plus(left);
        self.eligible.lay(from, until, Eligible::Maintenance);
        self.forget_old_eligibility(next);
        Ok((from, until))
    }

    /// What shares 7 days with `[from, until)`, in words, and whether any of it can be had back.
    fn maintenance_beside(&self, from: Slot, until: Slot, next: Slot) -> String {
        let mut beside = self.maintenance_spans();
        beside.retain(|(begin, end)| *end > until.minus(WEEK_SLOTS) && *begin < from.plus(WEEK_SLOTS));
        let words = |(begin, end): &(Slot, Slot)| format!("from {} until {}", begin.start().rfc3339(), end.start().rfc3339());
        let named: Vec<String> = beside.iter().take(MAX_NAMED).map(words).collect();
        let more = beside.len().saturating_sub(MAX_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let open = beside.iter().any(|(_, end)| *end > next);
        let way_out = if open { "; calling one off, or ending it early, frees what it has not used" } else { "" };
        format!("taken is the time {}{more}{way_out}", named.join(", "))
    }

    /// Takes back what `[from, until)` has of maintenance.
    pub fn without_maintenance(&mut self, from: Slot, until: Slot) {
        for (begin, end) in self.maintenance_spans() {
            let (begin, end) = (begin.max(from), end.min(until));
            if begin < end {
                self.eligible.lay(begin, end, Eligible::InService);
            }
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::registration::tests::{HOUR, at, eligible, node};

    fn asked(from: Option<i64>, hours: Option<u32>, at_once: bool) -> Asked {
        let from = from.map(|seconds| slot_from(at(seconds).wall));
        Asked { from, slots: hours.map(|hours| hours * SLOTS_PER_HOUR), origin: Origin::Planned, at_once }
    }

    #[test]
    fn it_begins_and_ends_by_itself_with_its_slots() {
        let mut n = node();
        n.plan_maintenance(&asked(None, Some(3), true), at(0)).unwrap();
        assert_eq!(eligible(&n, 0), Eligible::InService, "the present slot has begun");
        assert_eq!((eligible(&n, 30), eligible(&n, 3 * HOUR)), (Eligible::Maintenance, Eligible::Maintenance));
        assert_eq!(eligible(&n, 3 * HOUR + 30), Eligible::InService);
        let (from, until) = n.plan_maintenance(&asked(Some(10 * HOUR + 1), None, false), at(0)).unwrap();
        assert_eq!((from.start(), until.0 - from.0), (at(10 * HOUR + 30).wall, DEFAULT_SLOTS), "the first slot that begins then or later");
        assert_eq!(n.maintenance_around(at(30).wall.slot()).unwrap().0, None);
        assert_eq!(n.maintenance_around(at(4 * HOUR).wall.slot()), Some((Some(from), Some(until))));
    }

    #[test]
    fn an_hour_ahead_to_the_millisecond_unless_an_admin_asks() {
        for (into_ms, first) in [(0, HOUR), (1, HOUR + 30), (29_999, HOUR + 30)] {
            let now = Now { wall: at(0).wall.plus_ms(into_ms), ..at(0) };
            let (from, _) = node().plan_maintenance(&asked(None, None, false), now).unwrap();
            assert_eq!(from.start(), at(first).wall, "{into_ms} ms into a slot");
            assert!(from.start().since(now.wall) >= AHEAD_MS);
            let before = Asked { from: Some(from.minus(1)), ..asked(None, None, false) };
            assert_eq!(node().plan_maintenance(&before, now).unwrap_err().name(), TOO_SOON);
            assert!(node().plan_maintenance(&Asked { at_once: true, ..before }, now).is_ok());
        }
        assert_eq!(node().plan_maintenance(&asked(Some(0), None, true), at(0)).unwrap_err().name(), TOO_SOON);
        assert!(node().plan_maintenance(&asked(Some(90 * 24 * HOUR + 30), None, false), at(0)).is_ok());
        assert_eq!(node().plan_maintenance(&asked(Some(90 * 24 * HOUR + 60), None, false), at(0)).unwrap_err().name(), TOO_FAR);
    }

    #[test]
    fn overlap_is_refused_and_neighbours_are_not() {
        let mut n = node();
        n.plan_maintenance(&asked(Some(10 * HOUR), Some(2), false), at(0)).unwrap();
        let before = n.clone();
        for from in [9, 10, 11] {
            assert_eq!(n.plan_maintenance(&asked(Some(from * HOUR), Some(2), false), at(0)), Err(Refusal::MaintenanceOverlaps));
        }
        assert_eq!(n, before, "a refusal changes nothing");
        n.plan_maintenance(&asked(Some(8 * HOUR), Some(2), false), at(0)).unwrap();
        n.plan_maintenance(&asked(Some(12 * HOUR), Some(2), false), at(0)).unwrap();
        assert_eq!(n.eligible.spans_of(&Eligible::Maintenance), [(at(8 * HOUR).wall.slot(), at(14 * HOUR).wall.slot())]);
        n.without_maintenance(at(9 * HOUR).wall.slot(), at(10 * HOUR).wall.slot());
        assert_eq!((eligible(&n, 9 * HOUR), eligible(&n, 10 * HOUR)), (Eligible::InService, Eligible::Maintenance));
        // Without a length it ends where the next one begins.
        let (from, until) = n.plan_maintenance(&asked(Some(9 * HOUR), None, false), at(0)).unwrap();
        assert_eq!(until.0 - from.0, SLOTS_PER_HOUR);
    }

    #[test]
    fn a_refusal_names_what_takes_the_time_and_how_to_have_it_back() {
        let mut n = node();
        let (from, until) = n.plan_maintenance(&asked(Some(24 * HOUR), Some(8), false), at(0)).unwrap();
        let told = n.plan_maintenance(&asked(None, Some(1), true), at(0)).unwrap_err().to_string();
        let taken = format!("0 minutes are left for one that begins then; taken is the time from {} until {}", from.start(), until.start());
        assert!(told.contains(&taken) && told.ends_with("calling one off, or ending it early, frees what it has not used"), "{told}");
        n.without_maintenance(from, until);
        assert!(n.plan_maintenance(&asked(None, Some(1), true), at(0)).is_ok(), "as it says");

        let mut n = node();
        for hour in 0..8 {
            n.plan_maintenance(&asked(Some((10 + 2 * hour) * HOUR), Some(1), false), at(0)).unwrap();
        }
        let told = n.plan_maintenance(&asked(Some(2 * HOUR), Some(1), false), at(0)).unwrap_err().to_string();
        assert_eq!((told.matches("from ").count(), told.contains(" and 3 more;")), (MAX_NAMED, true), "{told}");
    }

    #[test]
    fn what_was_not_used_is_left_for_the_week_and_a_suspended_node_has_none() {
        let mut n = node();
        n.plan_maintenance(&asked(None, Some(8), true), at(0)).unwrap();
        n.without_maintenance(at(3 * HOUR + 30).wall.slot(), Slot(u32::MAX));
        let refused = n.plan_maintenance(&asked(Some(24 * HOUR), Some(6), false), at(4 * HOUR)).unwrap_err();
        assert_eq!((refused.name(), refused.to_string().contains("300 minutes are left")), (USED_UP, true), "{refused}");
        assert!(!refused.to_string().contains("calling"), "what is over cannot be had back: {refused}");
        n.plan_maintenance(&asked(Some(24 * HOUR), Some(5), false), at(4 * HOUR)).unwrap();
        assert_eq!(n.plan_maintenance(&asked(Some(48 * HOUR), None, false), at(4 * HOUR)).unwrap_err().name(), USED_UP);
        assert!(
            n.plan_maintenance(&asked(Some(8 * 24 * HOUR), Some(3), false), at(4 * HOUR)).is_ok(),
            "the first three hours are a week old"
        );
        for (eligible, refusal) in [(Eligible::Suspended, Refusal::NodeSuspended), (Eligible::Draining, Refusal::NodeLeaving)] {
            let mut n = node();
            n.eligible = crate::domain::time::Timeline::new(eligible);
            assert_eq!(n.plan_maintenance(&asked(None, None, true), at(0)), Err(refusal));
        }
        let untrusted = Now { trusted: false, ..at(0) };
        assert_eq!(node().plan_maintenance(&asked(None, None, true), untrusted), Err(Refusal::ClockUntrusted));
    }

    #[test]
    fn a_period_knows_how_it_stands() {
        let period = MaintenancePeriod {
            from: Slot(100),
            until: Slot(200),
            origin: Origin::Planned,
            created_at: Timestamp(0),
            by: Actor::System,
            ended: None,
        };
        let states = [99, 100, 199, 200].map(|next| period.state(Slot(next)));
        assert_eq!(states, [State::Planned, State::InForce, State::InForce, State::Over]);
        let end = |next| period.ended(Slot(next), Timestamp(7), Actor::System).map(|p| (p.end().0, p.state(Slot(next))));
        assert_eq!(end(50), Some((100, State::CalledOff)));
        assert_eq!(end(100), Some((100, State::CalledOff)), "it would have begun with the next slot");
        assert_eq!(end(150), Some((150, State::Over)));
        assert_eq!(end(200), None);
    }

    /// What the naive count below counts by.
    const UNIT: u32 = SLOTS_PER_HOUR / 2;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Any order of plans and ends: never more than 8 h in any 7 days, and nothing is refused that a naive count allows.
        #[test]
        fn eight_hours_in_seven_days_is_what_a_naive_count_says(
            asks in prop::collection::vec((0u32..900, 1u32..18, 0u8..4), 1..40),
        ) {
            let start = at(0).wall.slot().plus(1);
            let mut n = node();
            // One flag per half hour; weeks begin with any of them.
            let mut taken = vec![false; 2_000];
            let week = (WEEK_SLOTS / UNIT) as usize;
            let most = (MAINTENANCE_SLOTS / UNIT) as usize;
            for (from, length, kind) in asks {
                let range = from as usize..(from + length) as usize;
                let (first, last) = (start.plus(from * UNIT), start.plus((from + length) * UNIT));
                if kind == 0 {
                    n.without_maintenance(first, last);
                    taken[range].fill(false);
                } else {
                    let asked = Asked { from: Some(first), slots: Some(length * UNIT), origin: Origin::Planned, at_once: true };
                    let overlaps = taken[range.clone()].iter().any(|t| *t);
                    let mut with = taken.clone();
                    with[range].fill(true);
                    let within = with.windows(week).all(|days| days.iter().filter(|t| **t).count() <= most);
                    let answer = n.plan_maintenance(&asked, at(0)).map(|_| ()).map_err(|r| r.name());
                    let expected = if overlaps { Err("MaintenanceOverlaps") } else if within { Ok(()) } else { Err(USED_UP) };
                    prop_assert_eq!(answer, expected, "{} of {} half hours", from, length);
                    if answer.is_ok() {
                        taken = with;
                    }
                }
                for (unit, flag) in (0u32..).zip(&taken) {
                    let is = n.eligible_in(start.plus(unit * UNIT)) == Eligible::Maintenance;
                    prop_assert_eq!(is, *flag, "half hour {}", unit);
                }
            }
        }
    }
}
