//! When a node's daily window is: its hour is read on the clocks of where the node stands, which are put forward and back twice a year.

use std::iter;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::maintenance::{Asked, MaintenancePeriod, Origin, SLOTS_PER_MINUTE, State, slot_from};
use super::node::{MaintenanceWindow, Node};
use super::time::{Now, Slot, Timestamp};
use super::time_zone;

/// The next window begins within it, also where a country leaves out a day.
const AHEAD_MS: i64 = 50 * 3_600_000;
/// What clocks are put forward or back by, at most; days are looked at by that much around the asked stretch.
const LONGEST_JUMP_MS: i64 = 24 * 3_600_000;

/// First slot and the one after the last of every day's window that begins in `[from, until)`, in order. An hour that a day has twice counts the first time;
/// one that the clocks leave out is as much later as they are put forward. Its length is real time.
pub fn occurrences(window: &MaintenanceWindow, zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<(Slot, Slot)> {
    let (first, last) = (local_day(zone, from.plus_ms(-LONGEST_JUMP_MS)), local_day(zone, until.plus_ms(LONGEST_JUMP_MS)));
    let (Some(last), Some(time)) = (last, hour(window.start_hour)) else { return Vec::new() };
    let days = iter::successors(first, |day| day.tomorrow().ok()).take_while(|day| *day <= last);
    let begins = days.filter_map(|day| begin(zone, day, time)).filter(|begin| (from..until).contains(begin));
    let length = window.duration_hours.saturating_mul(60 * SLOTS_PER_MINUTE);
    let mut found: Vec<(Slot, Slot)> = begins.map(slot_from).map(|slot| (slot, slot.plus(length))).collect();
    // A day that a country left out gives the moment of the next one.
    found.dedup();
    found
}

/// Of this node, as its configuration has it now.
pub fn windows(node: &Node, from: Timestamp, until: Timestamp) -> Vec<(Slot, Slot)> {
    let window = node.configuration.maintenance_window.as_ref();
    window.map(|window| occurrences(window, &zone_of(node), from, until)).unwrap_or_default()
}

/// The next daily window of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextWindow {
    pub from: Slot,
    /// The first slot after it.
    pub until: Slot,
    /// Why it will not take place as things stand.
    pub skipped: Option<String>,
}

/// How the next window that has not begun stands; None without a window. `periods` are all of the node's.
pub fn next_window<'a>(node: &Node, periods: impl Iterator<Item = &'a MaintenancePeriod> + Clone, now: Now) -> Option<NextWindow> {
    let next = now.wall.slot().plus(1);
    let wanted = windows(node, now.wall, now.wall.plus_ms(AHEAD_MS));
    let (from, until) = wanted.iter().copied().find(|(from, _)| *from >= next)?;
    let of_window = periods.filter(|period| period.origin == Origin::Window);
    let mut trial = node.clone();
    let mut known = None;
    for period in of_window {
        let state = period.state(next);
        if (period.from, period.until) == (from, until) || (period.from == from && state != State::Planned) {
            known = Some(state);
        } else if state == State::Planned && !wanted.contains(&(period.from, period.until)) {
            // The next run of the cycle withdraws it.
            trial.without_maintenance(period.from, period.until);
        }
    }
    let asked = Asked { from: Some(from), slots: Some(until.0.saturating_sub(from.0)), origin: Origin::Window, at_once: false };
    let skipped = match known {
        Some(State::Planned | State::InForce) => None,
        Some(State::CalledOff | State::Over) => Some("it was called off".to_owned()),
        None if node.enrolled_from.is_none() => Some("no machine has enrolled for the node".to_owned()),
        None => trial.plan_maintenance(&asked, now).err().map(|refusal| refusal.to_string()),
    };
    Some(NextWindow { from, until, skipped })
}

/// Of the node's place; UTC where none is known.
pub fn zone_of(node: &Node) -> TimeZone {
    let name = node.location.as_ref().and_then(|location| location.timezone.as_deref());
    name.and_then(time_zone::named).unwrap_or(TimeZone::UTC)
}

fn hour(hour: u32) -> Option<Time> {
    Time::new(i8::try_from(hour).ok()?, 0, 0, 0).ok()
}

fn local_day(zone: &TimeZone, at: Timestamp) -> Option<Date> {
    Some(zone.to_datetime(jiff::Timestamp::from_millisecond(at.0).ok()?).date())
}

/// Of what comes twice the first; what is left out, by the clock as it was before.
fn begin(zone: &TimeZone, day: Date, time: Time) -> Option<Timestamp> {
    let at = zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible().ok()?;
    Some(Timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;
    use jiff::civil::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn starts(zone: &str, hour: u32, from: &str, until: &str) -> Vec<String> {
        let window = MaintenanceWindow { start_hour: hour, duration_hours: 2 };
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let found = occurrences(&window, &time_zone::named(zone).unwrap(), at(from), at(until));
        assert!(found.iter().all(|(from, until)| until.0 - from.0 == 240), "two hours of real time");
        found.into_iter().map(|(from, _)| from.start().rfc3339()).collect()
    }

    #[test]
    fn every_day_by_the_clocks_of_the_place() {
        let utc = starts("UTC", 2, "2026-11-20T02:00:00Z", "2026-11-22T02:00:00Z");
        assert_eq!(utc, ["2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z"], "from the first moment on, the last excluded");
        assert_eq!(starts("Asia/Kathmandu", 2, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"), ["2026-11-20T20:15:00Z"]);
        assert_eq!(starts("Pacific/Kiritimati", 0, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"), ["2026-11-20T10:00:00Z"]);
        assert_eq!(starts("Pacific/Pago_Pago", 23, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"), ["2026-11-20T10:00:00Z"]);
    }

    #[test]
    fn an_hour_that_is_left_out_comes_later_and_one_that_comes_twice_counts_once() {
        let spring = starts("Europe/Zurich", 2, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z");
        assert_eq!(spring, ["2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"], "at 3 on the 29th");
        let autumn = starts("Europe/Zurich", 2, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z");
        assert_eq!(autumn, ["2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"]);
        let half = starts("Australia/Lord_Howe", 2, "2026-10-02T20:00:00Z", "2026-10-04T20:00:00Z");
        assert_eq!(half, ["2026-10-03T15:30:00Z", "2026-10-04T15:00:00Z"], "at 2:30 on the day on which half an hour is left out");
        let midnight = starts("America/Santiago", 0, "2026-09-05T00:00:00Z", "2026-09-08T00:00:00Z");
        assert_eq!(midnight, ["2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]);
        let samoa = starts("Pacific/Apia", 5, "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z");
        assert_eq!(samoa, ["2011-12-29T15:00:00Z", "2011-12-30T15:00:00Z", "2011-12-31T15:00:00Z"], "no 30th of December");
    }

    /// Somebody looks at a clock on the wall every minute, and at one that goes on as it did a minute ago: what the first leaves out is due when the second
    /// shows it.
    fn watched(hour: u32, zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Slot> {
        let (minute, time) = (SignedDuration::from_mins(1), super::hour(hour).unwrap());
        let clock = |at: i64| zone.to_datetime(jiff::Timestamp::from_millisecond(at).unwrap());
        let (mut days, mut due) = (BTreeSet::new(), BTreeSet::new());
        for at in (from.plus_ms(-2 * LONGEST_JUMP_MS).0..until.0).step_by(60_000) {
            let mut look = |shown: DateTime, at: i64| {
                if shown == shown.date().to_datetime(time) && days.insert(shown.date()) {
                    due.insert(Timestamp(at));
                }
            };
            let (shown, mut left_out, mut later) = (clock(at), clock(at - 60_000) + minute, at);
            while left_out < shown {
                look(left_out, later);
                (left_out, later) = (left_out + minute, later + 60_000);
            }
            look(shown, at);
        }
        due.range(from..until).map(|at| slot_from(*at)).collect()
    }

    proptest! {
        #[test]
        fn windows_are_those_that_a_watched_clock_shows(
            name in prop::sample::select(time_zone::testing::names()),
            // Minutes of the years 2026 to 2060. Windows are looked at near the next time that the clocks jump.
            after in 29_453_760i64..47_862_720,
            before_hours in 0i64..60,
            length_hours in 1i64..100,
            shift in 0u32..5,
        ) {
            let zone = time_zone::named(name).unwrap();
            let after = jiff::Timestamp::from_millisecond(after * 60_000).unwrap();
            let jump = zone.following(after).next().map_or(after, |jump| jump.timestamp());
            let from = Timestamp(jump.as_millisecond() - before_hours * 3_600_000);
            let until = from.plus_ms(length_hours * 3_600_000);
            let hour = (u32::try_from(zone.to_datetime(jump).hour()).unwrap() + 22 + shift) % 24;
            let window = MaintenanceWindow { start_hour: hour, duration_hours: 1 };
            let found: Vec<Slot> = occurrences(&window, &zone, from, until).into_iter().map(|(from, _)| from).collect();
            prop_assert_eq!(found, watched(hour, &zone, from, until), "{} at {} from {}", name, hour, from.rfc3339());
        }
    }
}
