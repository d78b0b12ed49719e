//! Weeks and months of the calendar, UTC, and the names of the files that hold them.

use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::{ToSpan, Unit};

use super::series::SLOTS_PER_HOUR;
use super::time::Slot;

const SLOTS: u32 = 7 * 2_880;
/// Unix time begins on a Thursday.
const THURSDAY: u32 = 3 * 2_880;

/// Monday to Sunday, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Week(u32);

impl Week {
    pub fn of(slot: Slot) -> Week {
        Week(slot.0.saturating_add(THURSDAY) / SLOTS)
    }

    pub fn start(self) -> Slot {
        Slot((self.0 * SLOTS).saturating_sub(THURSDAY))
    }

    /// Before the next one.
    pub fn end(self) -> Slot {
        Slot((self.0.saturating_add(1)).saturating_mul(SLOTS).saturating_sub(THURSDAY))
    }

    fn monday() -> Date {
        Date::constant(1969, 12, 29)
    }

    /// Name of its file, by the ISO 8601 week.
    pub fn file(self) -> String {
        let date = Week::monday().saturating_add((i64::from(self.0) * 7).days()).iso_week_date();
        format!("raw-{:04}w{:02}.redb", date.year(), date.week())
    }

    pub fn of_file(name: &str) -> Option<Week> {
        let (year, week) = name.strip_prefix("raw-")?.strip_suffix(".redb")?.split_once('w')?;
        let date = ISOWeekDate::new(year.parse().ok()?, week.parse().ok()?, Weekday::Monday).ok()?.date();
        let days = Week::monday().until((Unit::Day, date)).ok()?.get_days();
        u32::try_from(days / 7).ok().map(Week).filter(|week| week.file() == name)
    }
}

/// Hours of a day.
pub const HOURS_PER_DAY: u32 = 86_400 / 30 / SLOTS_PER_HOUR;

/// A month of the calendar, UTC: months since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u32);

impl Month {
    pub fn of_hour(hour: u32) -> Month {
        let days = i64::from(hour / HOURS_PER_DAY);
        let date = Date::constant(1970, 1, 1).saturating_add(days.days());
        let months = (i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1;
        Month(u32::try_from(months).unwrap_or_default())
    }

    fn date(self) -> Date {
        let year = i16::try_from(1970 + self.0 / 12).unwrap_or(i16::MAX);
        Date::new(year, i8::try_from(self.0 % 12 + 1).unwrap_or(1), 1).unwrap_or(Date::MAX)
    }

    pub fn start_hour(self) -> u32 {
        let days = Date::constant(1970, 1, 1).until((Unit::Day, self.date())).map_or(0, |span| span.get_days());
        u32::try_from(days).unwrap_or(u32::MAX).saturating_mul(HOURS_PER_DAY)
    }

    /// The first hour after it.
    pub fn end_hour(self) -> u32 {
        Month(self.0 + 1).start_hour()
    }

    pub fn file(self) -> String {
        let date = self.date();
        format!("hourly-{:04}-{:02}.redb", date.year(), date.month())
    }

    pub fn of_file(name: &str) -> Option<Month> {
        let (year, month) = name.strip_prefix("hourly-")?.strip_suffix(".redb")?.split_once('-')?;
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        let months = year.checked_sub(1970)?.checked_mul(12)?.checked_add(month.checked_sub(1)?)?;
        Some(Month(months)).filter(|month| month.file() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_mondays_and_have_the_names_of_the_standard() {
        // Monday 2026-11-16 00:00 UTC.
        let monday = Slot(1_794_787_200 / 30);
        let week = Week::of(monday);
        assert_eq!((week.start(), week.file().as_str()), (monday, "raw-2026w47.redb"));
        assert_eq!(
            (Week::of(monday.minus(1)).file().as_str(), Week::of(week.end()).file().as_str()),
            ("raw-2026w46.redb", "raw-2026w48.redb")
        );
        // 2020 had 53 weeks; the last one ends in 2021.
        let new_year = Slot(1_609_459_200 / 30);
        assert_eq!(Week::of(new_year).file(), "raw-2020w53.redb");
        for number in [0, 1, 52, 53, 2_970, 7_000] {
            assert_eq!(Week::of_file(&Week(number).file()), Some(Week(number)));
        }
        for other in ["raw-2026w54.redb", "raw-2026w1.redb", "raw-2026w47.redb.tmp", "hourly-2026-11.redb", "raw-x.redb"] {
            assert_eq!(Week::of_file(other), None, "{other}");
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        // 2026-11-01 00:00 UTC.
        let first = 1_793_491_200 / 3_600;
        let month = Month::of_hour(first);
        assert_eq!((month.file().as_str(), Month::of_hour(first - 1).file().as_str()), ("hourly-2026-11.redb", "hourly-2026-10.redb"));
        assert_eq!(month.end_hour(), first + 30 * 24);
        assert_eq!(Month::of_hour(month.end_hour()).file(), "hourly-2026-12.redb");
        for number in [0, 11, 12, 682, 2_000] {
            assert_eq!(Month::of_file(&Month(number).file()), Some(Month(number)));
        }
        for other in ["hourly-2026-13.redb", "hourly-2026-1.redb", "hourly-2026-11.redb.tmp", "raw-2026w47.redb", "hourly-1969-12.redb"] {
            assert_eq!(Month::of_file(other), None, "{other}");
        }
    }
}
