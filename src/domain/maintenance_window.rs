//! When a node's daily window is: its hour is read on the clocks of where the node stands, which are put forward and back twice a year.

use chrono::{DateTime, Days, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::maintenance::{Asked, MaintenancePeriod, Origin, SLOTS_PER_MINUTE, State, slot_from};
use super::node::{MaintenanceWindow, Node};
use super::time::{Now, Slot, Timestamp};

/// Days looked at around the asked stretch: clocks differ from UTC by up to 14 hours.
const MARGIN_DAYS: u64 = 2;
/// The next window begins within it, also where a country leaves out a day.
const AHEAD_MS: i64 = 50 * 3_600_000;
/// Length of what clocks leave out, at most.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(24);

/// First slot and the one after the last of every day's window that begins in `[from, until)`, in order. An hour that a day has twice counts the first time;
/// one that the clocks leave out is as much later as they are put forward. Its length is real time.
pub fn occurrences(window: &MaintenanceWindow, zone: Tz, from: Timestamp, until: Timestamp) -> Vec<(Slot, Slot)> {
    let (Some(start), Some(end)) = (local_day(zone, from), local_day(zone, until)) else { return Vec::new() };
    let Some(time) = NaiveTime::from_hms_opt(window.start_hour, 0, 0) else { return Vec::new() };
    let length = window.duration_hours.saturating_mul(60 * SLOTS_PER_MINUTE);
    let Some(mut day) = start.checked_sub_days(Days::new(MARGIN_DAYS)) else { return Vec::new() };
    let mut found: Vec<(Slot, Slot)> = Vec::new();
    while day <= end.checked_add_days(Days::new(MARGIN_DAYS)).unwrap_or(end) {
        let begin = instant(zone, day.date().and_time(time)).map(|at| Timestamp(at.timestamp_millis()));
        if let Some(begin) = begin.filter(|begin| (from..until).contains(begin)) {
            let slot = slot_from(begin);
            // A day that a country left out would give the same moment twice.
            if found.last().is_none_or(|(last, _)| *last < slot) {
                found.push((slot, slot.plus(length)));
            }
        }
        let Some(next) = day.checked_add_days(Days::new(1)) else { break };
        day = next;
    }
    found
}

/// Of this node, as its configuration has it now.
pub fn windows(node: &Node, from: Timestamp, until: Timestamp) -> Vec<(Slot, Slot)> {
    let window = node.configuration.maintenance_window.as_ref();
    window.map(|window| occurrences(window, zone_of(node), from, until)).unwrap_or_default()
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
pub fn zone_of(node: &Node) -> Tz {
    let name = node.location.as_ref().and_then(|location| location.timezone.as_deref());
    name.and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

fn local_day(zone: Tz, at: Timestamp) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp_millis(at.0)?.with_timezone(&zone).naive_local())
}

fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    if let Some(at) = zone.from_local_datetime(&local).earliest() {
        return Some(at.with_timezone(&Utc));
    }
    // Left out: by the clock as it was before.
    let before = zone.from_local_datetime(&local.checked_sub_signed(LONGEST_GAP)?).latest()?;
    Some(local.checked_sub_offset(before.offset().fix())?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(zone: &str, hour: u32, from: &str, until: &str) -> Vec<String> {
        let window = MaintenanceWindow { start_hour: hour, duration_hours: 2 };
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let found = occurrences(&window, zone.parse().unwrap(), at(from), at(until));
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
}
