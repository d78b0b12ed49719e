//! Five fields as crontab has them: minute, hour, day of the month, month, day of the week. `*`, lists, ranges, steps and the English names of months and days; when
//! both kinds of days are restricted, either will do. A time that the clocks leave out is the next one that they show; one that they show twice counts the first
//! time.

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::domain::time::Timestamp;
use crate::domain::time_zone;

/// The 29th of February comes once in eight years around 2100.
const MAX_DAYS: usize = 8 * 366 + 2;
const MAX_TEXT: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Neither field of days is `*`: one of them is enough.
    either_day: bool,
}

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CronError {
    Fields(usize),
    Field { name: &'static str, low: u32, high: u32, text: String },
    Never,
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CronError::Fields(count) => write!(f, "must have five fields (minute, hour, day, month, day of the week), not {count}"),
            CronError::Field { name, low, high, text } => write!(f, "`{text}` is no {name}: {low} to {high}, `*`, lists, ranges and steps"),
            CronError::Never => f.write_str("never comes"),
        }
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        let wrong = || CronError::Field { name: self.name, low: self.low, high: self.high, text: text.chars().take(40).collect() };
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, digits(step).filter(|step| (1..=59).contains(step)).ok_or_else(wrong)?),
                None => (part, 1),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.low, self.high),
                Some((first, last)) => (self.value(first).ok_or_else(wrong)?, self.value(last).ok_or_else(wrong)?),
                None => {
                    let first = self.value(range).ok_or_else(wrong)?;
                    (first, if part.contains('/') { self.high } else { first })
                }
            };
            if first > last {
                return Err(wrong());
            }
            (first..=last).step_by(usize::try_from(step).unwrap_or(1)).for_each(|value| bits |= 1 << value);
        }
        Ok(bits)
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name)).and_then(|at| u32::try_from(at).ok());
        named.map(|at| at + self.low).or_else(|| digits(text)).filter(|value| (self.low..=self.high).contains(value))
    }
}

fn digits(text: &str) -> Option<u32> {
    (text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

impl Cron {
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return Err(CronError::Fields(fields.len())) };
        let of = |name, low, high, names, text: &&str| Field { name, low, high, names }.parse(text);
        let mut weekdays = of("day of the week", 0, 7, &DAYS, weekday)?;
        // Sunday is 0 and 7.
        if weekdays & 1 << 7 != 0 {
            weekdays |= 1;
        }
        let cron = Cron {
            minutes: of("minute", 0, 59, &[], minute)?,
            hours: of("hour", 0, 23, &[], hour)?,
            days: of("day of the month", 1, 31, &[], day)?,
            months: of("month", 1, 12, &MONTHS, month)?,
            weekdays,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let comes = text.len() <= MAX_TEXT && !cron.after("UTC", Timestamp(0), 1).is_empty();
        if comes { Ok(cron) } else { Err(CronError::Never) }
    }

    /// The next `limit` moments after `after`, on the clocks of this zone.
    pub fn after(&self, time_zone: &str, after: Timestamp, limit: usize) -> Vec<Timestamp> {
        let (Some(zone), Some(start)) = (time_zone::named(time_zone), instant(after)) else { return Vec::new() };
        let mut found: Vec<Timestamp> = Vec::new();
        // What the clocks leave out moves into the next day at most.
        let mut day = zone.to_datetime(start).date().yesterday().ok();
        let mut in_vain = 0;
        while let Some(date) = day.filter(|_| found.len() < limit && in_vain < MAX_DAYS) {
            let before = found.len();
            found.extend(self.moments(&zone, date).filter(|at| *at > after));
            // Two times that the clocks leave out are one moment.
            found.dedup();
            in_vain = if found.len() > before { 0 } else { in_vain + 1 };
            day = date.tomorrow().ok();
        }
        found.truncate(limit);
        found
    }

    /// The last moment up to `until`, `until` included.
    pub fn latest(&self, time_zone: &str, until: Timestamp) -> Option<Timestamp> {
        let (zone, end) = (time_zone::named(time_zone)?, instant(until)?);
        let mut day = zone.to_datetime(end).date();
        for _ in 0..MAX_DAYS {
            if let Some(last) = self.moments(&zone, day).filter(|at| *at <= until).last() {
                return Some(last);
            }
            day = day.yesterday().ok()?;
        }
        None
    }

    /// Of one day, in order.
    fn moments(&self, zone: &TimeZone, date: Date) -> impl Iterator<Item = Timestamp> {
        let fits = self.fits(date);
        let hours = (0..24i8).filter(move |hour| fits && self.hours & 1 << hour != 0);
        let times = hours.flat_map(|hour| (0..60i8).filter(|minute| self.minutes & 1 << minute != 0).map(move |minute| (hour, minute)));
        times.filter_map(move |(hour, minute)| {
            let time = Time::new(hour, minute, 0, 0).ok()?;
            moment(zone, date.to_datetime(time))
        })
    }

    fn fits(&self, date: Date) -> bool {
        let is_in = |bits: u64, value: i8| bits & 1 << value != 0;
        let day = is_in(self.days, date.day());
        let weekday = is_in(self.weekdays, date.weekday().to_sunday_zero_offset());
        is_in(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(at.0).ok()
}

/// The first moment at which the clocks show this time, or, where they never do, the first after it.
fn moment(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let at = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        // Read by the clock as it was before, it lies behind the jump.
        AmbiguousOffset::Gap { .. } => zone.preceding(ambiguous.later().ok()?).next()?.timestamp(),
    };
    Some(Timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn next(fields: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(fields).unwrap();
        cron.after(zone, at(after), count).into_iter().map(Timestamp::rfc3339).collect()
    }

    #[test]
    fn the_five_fields_are_read_as_crontab_reads_them() {
        let hours = |fields: &str| next(fields, "UTC", "2026-01-01T00:00:00Z", 3);
        assert_eq!(hours("30 6 * * *"), ["2026-01-01T06:30:00Z", "2026-01-02T06:30:00Z", "2026-01-03T06:30:00Z"]);
        assert_eq!(hours("0 */12 1 * *"), ["2026-01-01T12:00:00Z", "2026-02-01T00:00:00Z", "2026-02-01T12:00:00Z"]);
        assert_eq!(hours("15,45 9-10 * * mon"), ["2026-01-05T09:15:00Z", "2026-01-05T09:45:00Z", "2026-01-05T10:15:00Z"]);
        assert_eq!(hours("0 0 * * 7"), ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z", "2026-01-18T00:00:00Z"]);
        assert_eq!(hours("0 0 29 feb *"), ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"]);
        assert_eq!(hours("0 0 13 * FRI"), ["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"], "either of both days");
        assert_eq!(hours("5/25 0 1 1 *"), ["2026-01-01T00:05:00Z", "2026-01-01T00:30:00Z", "2026-01-01T00:55:00Z"]);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_field() {
        for (text, field) in [
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * 32 * *", "day of the month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of the week"),
            ("5-1 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("*/60 * * * *", "minute"),
            ("a * * * *", "minute"),
            (", * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("1- * * * *", "minute"),
            ("* * * * mond", "day of the week"),
            ("1/2/3 * * * *", "minute"),
        ] {
            let Err(CronError::Field { name, .. }) = Cron::parse(text) else { panic!("{text}") };
            assert_eq!(name, field, "{text}");
        }
        for (text, count) in [("", 0), ("* * * *", 4), ("0 0 0 * * *", 6), ("@daily", 1)] {
            assert_eq!(Cron::parse(text), Err(CronError::Fields(count)));
        }
        assert_eq!(Cron::parse("0 0 30 2 *"), Err(CronError::Never));
        assert_eq!(Cron::parse("0 0 31 4,6,9,11 *"), Err(CronError::Never));
    }

    #[test]
    fn what_the_clocks_leave_out_comes_with_the_next_time_they_show() {
        // Zurich: 2026-03-29, 02:00 to 03:00 is left out; New York: 2026-03-08.
        let zurich = next("30 2 * * *", "Europe/Zurich", "2026-03-28T00:00:00Z", 3);
        assert_eq!(zurich, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let york = next("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", 3);
        assert_eq!(york, ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]);
        let often = next("*/20 2-3 * * *", "Europe/Zurich", "2026-03-29T00:00:00Z", 4);
        assert_eq!(often, ["2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z", "2026-03-30T00:00:00Z"], "once");
    }

    #[test]
    fn what_the_clocks_show_twice_counts_the_first_time() {
        let zurich = next("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", 2);
        assert_eq!(zurich, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let york = next("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
        assert_eq!(york, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        let between = next("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30:00Z", 1);
        assert_eq!(between, ["2026-10-26T01:30:00Z"], "the second 02:30 of the day is none");
    }

    #[test]
    fn the_latest_is_the_last_of_those_after() {
        for (fields, zone) in [
            ("*/7 * * * *", "Europe/Zurich"),
            ("30 2 * * *", "America/New_York"),
            ("0 0 1 */3 *", "Asia/Kathmandu"),
            ("10 2 29 2 *", "UTC"),
        ] {
            let cron = Cron::parse(fields).unwrap();
            let start = at("2026-03-07T11:11:11Z");
            let all = cron.after(zone, start, 400);
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{fields}");
            for (i, one) in all.iter().enumerate().step_by(37) {
                assert_eq!(cron.latest(zone, *one), Some(*one));
                assert_eq!(cron.latest(zone, one.plus_ms(1)), Some(*one));
                if i > 0 {
                    assert_eq!(cron.latest(zone, one.plus_ms(-1)), Some(all[i - 1]), "{fields} {zone} {}", one.rfc3339());
                }
            }
        }
    }
}
