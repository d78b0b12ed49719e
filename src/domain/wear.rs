//! How fast the card under the store is used up: bytes written per day, and how long that goes on at what the card is rated for.

use serde::{Deserialize, Serialize};

/// Whole days that a mean is made of, at most.
pub const MEAN_DAYS: u32 = 30;
/// Days for which what was written is kept.
pub const KEPT_DAYS: u32 = 400;
/// Below so many hundredths of a year somebody should look for another card.
pub const SOON_HUNDREDTHS: u64 = 100;
const DAYS_PER_YEAR: u64 = 365;

/// Bytes by what they were written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Written {
    pub core: u64,
    pub hot: u64,
    /// All weeks and months.
    pub cold: u64,
    /// Backups, archives, the log, and what the kernel wrote beyond what it was handed: whole pages.
    pub other: u64,
}

impl Written {
    pub fn total(&self) -> u64 {
        self.core.saturating_add(self.hot).saturating_add(self.cold).saturating_add(self.other)
    }

    pub fn plus(&self, more: &Written) -> Written {
        self.with(more, u64::saturating_add)
    }

    /// What came since `before`.
    pub fn since(&self, before: &Written) -> Written {
        self.with(before, u64::saturating_sub)
    }

    fn with(&self, other: &Written, join: impl Fn(u64, u64) -> u64) -> Written {
        Written {
            core: join(self.core, other.core),
            hot: join(self.hot, other.hot),
            cold: join(self.cold, other.cold),
            other: join(self.other, other.other),
        }
    }

    /// By the names under which they are shown.
    pub fn by_name(&self) -> [(&'static str, u64); 4] {
        [("core.redb", self.core), ("hot.redb", self.hot), ("cold", self.cold), ("other", self.other)]
    }
}

/// What is known of a store's life: the present day and the sum of all days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Unix milliseconds at which counting began; none before the clock was first trusted.
    pub since_ms: Option<i64>,
    /// Since then.
    pub total: u64,
    /// Days since 1970, UTC.
    pub day: u32,
    pub of_day: Written,
}

impl Tally {
    /// With what was written since, which belongs to `day`; and the day that is over by that, if one is.
    pub fn book(&self, written: &Written, day: u32, now_ms: i64) -> (Tally, Option<(u32, Written)>) {
        let over = (self.since_ms.is_some() && self.day != day).then_some((self.day, self.of_day));
        let before = if self.day == day { self.of_day } else { Written::default() };
        let tally = Tally {
            since_ms: self.since_ms.or(Some(now_ms)),
            total: self.total.saturating_add(written.total()),
            day,
            of_day: before.plus(written),
        };
        (tally, over)
    }
}

/// Mean of the whole days before `today`, `MEAN_DAYS` at most, of those that began after `first`; a day of which nothing is known is one on which nothing was written.
/// None before one whole day is over.
pub fn bytes_per_day(days: &[(u32, u64)], first: u32, today: u32) -> Option<u64> {
    let from = first.saturating_add(1).max(today.saturating_sub(MEAN_DAYS));
    let count = today.checked_sub(from).filter(|count| *count > 0)?;
    let sum = days.iter().filter(|(day, _)| (from..today).contains(day)).fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    Some(sum / u64::from(count))
}

/// Hundredths of years until `rating` bytes are written, of which `written` are; None where nothing is written at all.
pub fn years_left_hundredths(rating: u64, written: u64, bytes_per_day: u64) -> Option<u64> {
    rating.saturating_sub(written).checked_mul(100)?.checked_div(bytes_per_day.checked_mul(DAYS_PER_YEAR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const TB: u64 = 1_000_000_000_000;

    fn of(hot: u64) -> Written {
        Written { hot, ..Written::default() }
    }

    #[test]
    fn days_add_up_and_hand_over_the_one_that_is_over() {
        let (first, over) = Tally::default().book(&of(5), 100, 9);
        assert_eq!((first.since_ms, first.total, first.day, first.of_day, over), (Some(9), 5, 100, of(5), None));
        let (same, over) = first.book(&Written { core: 1, ..of(2) }, 100, 10);
        assert_eq!((same.since_ms, same.total, same.of_day, over), (Some(9), 8, Written { core: 1, ..of(7) }, None));
        let (next, over) = same.book(&of(4), 101, 11);
        assert_eq!((next.total, next.of_day, over), (12, of(4), Some((100, Written { core: 1, ..of(7) }))));
    }

    #[test]
    fn the_mean_is_of_whole_days_alone() {
        assert_eq!(bytes_per_day(&[(100, 9)], 100, 100), None, "the day in which counting began");
        assert_eq!(bytes_per_day(&[(100, 9), (101, 50)], 100, 101), None);
        assert_eq!(bytes_per_day(&[(100, 9), (101, 50), (102, 7)], 100, 102), Some(50));
        assert_eq!(bytes_per_day(&[(100, 9), (101, 50), (103, 70)], 100, 104), Some(40), "switched off for a day");
        let days: Vec<(u32, u64)> = (0..100).map(|day| (day, if day < 70 { 1_000 } else { 10 })).collect();
        assert_eq!(bytes_per_day(&days, 0, 100), Some(10), "what is long ago does not count");
        assert_eq!(bytes_per_day(&[], 5, 3), None, "a clock that was set back");
    }

    #[test]
    fn a_card_lasts_until_what_it_is_rated_for_is_written() {
        assert_eq!(years_left_hundredths(3 * TB, 0, 60 * MB), Some(13_698));
        assert_eq!(years_left_hundredths(3 * TB, TB, 60 * MB), Some(9_132));
        assert_eq!(years_left_hundredths(TB, 2 * TB, 60 * MB), Some(0));
        assert_eq!(years_left_hundredths(TB, 0, 0), None, "nothing wears it");
        assert_eq!(years_left_hundredths(u64::MAX, 0, 1), None, "beyond counting");
    }
}
