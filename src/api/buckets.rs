//! Token buckets in bounded memory: `governor` counts, the table below remembers.
//!
//! A bucket that is full again says the same as one that was never there, so only such are forgotten: nobody gets a new count by making
//! others come. When every place is taken by one that still counts, newcomers share a bucket, and whoever has a place keeps it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::Clock as Reading;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Places of one table: more than a manager has nodes. A taken one costs about 35 bytes.
pub const PLACES: usize = 16_384;
/// A full table is searched for places that have become free at every so many newcomers.
const SEARCH_EVERY: usize = PLACES / 16;

/// How a bucket stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests per minute, and at once.
    pub limit: u32,
    /// Further requests that would be taken now.
    pub remaining: u32,
    /// Seconds until all of `limit` would be.
    pub reset_seconds: u32,
    /// None: the request was taken. Some: wait this many seconds.
    pub retry_after_seconds: Option<u32>,
}

/// One bucket of `limit` per key, refilled evenly within a minute.
pub struct Buckets {
    limit: NonZeroU32,
    limiter: RateLimiter<u64, Table, BootClock, StateInformationMiddleware>,
    table: Table,
}

impl Buckets {
    pub fn new(limit: NonZeroU32, clock: Clock) -> Buckets {
        Buckets::with_places(limit, clock, PLACES)
    }

    fn with_places(limit: NonZeroU32, clock: Clock, places: usize) -> Buckets {
        let table = Table::new(places);
        let limiter = RateLimiter::new(Quota::per_minute(limit), table.clone(), BootClock(clock));
        Buckets { limit, limiter, table }
    }

    /// Takes one from the bucket of `key`, if there is one.
    pub fn take(&self, key: u64) -> Standing {
        if self.table.wants_search(key) {
            self.limiter.retain_recent();
        }
        let limit = self.limit.get();
        match self.limiter.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity().min(limit);
                Standing { limit, remaining, reset_seconds: seconds_to_refill(limit - remaining, limit), retry_after_seconds: None }
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let wait_seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
                Standing { limit, remaining: 0, reset_seconds: 60, retry_after_seconds: Some(wait_seconds) }
            }
        }
    }
}

/// Seconds in which `missing` of `limit` per minute come back, rounded up.
fn seconds_to_refill(missing: u32, limit: u32) -> u32 {
    u32::try_from((u64::from(missing) * 60).div_ceil(u64::from(limit))).unwrap_or(60)
}

/// Counts by the boot clock, which nobody can set.
struct BootClock(Clock);

impl Reading for BootClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let boot_ms = u64::try_from(self.0.now().boot.0).unwrap_or(0);
        Nanos::new(boot_ms.saturating_mul(1_000_000))
    }
}

/// When each bucket is full again, in governor's time. Clones are the same table.
#[derive(Clone)]
struct Table(Arc<Mutex<Rows>>);

struct Rows {
    full_at: HashMap<u64, Nanos>,
    places: usize,
    /// The bucket of those who found no place, and how many did since the last search.
    shared: Option<Nanos>,
    turned_away: usize,
}

impl Rows {
    fn has_place_for(&self, key: u64) -> bool {
        self.full_at.len() < self.places || self.full_at.contains_key(&key)
    }
}

impl Table {
    fn new(places: usize) -> Table {
        Table(Arc::new(Mutex::new(Rows { full_at: HashMap::new(), places, shared: None, turned_away: 0 })))
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A search goes through all places, so it is not made for every newcomer of a flood.
    fn wants_search(&self, key: u64) -> bool {
        let mut rows = self.rows();
        if rows.has_place_for(key) {
            return false;
        }
        rows.turned_away += 1;
        rows.turned_away % SEARCH_EVERY == 1
    }
}

impl StateStore for Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut rows = self.rows();
        if rows.has_place_for(*key) {
            let (outcome, full_at) = judge(rows.full_at.get(key).copied())?;
            rows.full_at.insert(*key, full_at);
            Ok(outcome)
        } else {
            let (outcome, full_at) = judge(rows.shared)?;
            rows.shared = Some(full_at);
            Ok(outcome)
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for Table {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut rows = self.rows();
        rows.full_at.retain(|_, full_at| *full_at >= drop_below);
        rows.turned_away = 0;
    }

    fn len(&self) -> usize {
        self.rows().full_at.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Driver;
    use crate::domain::time::{BootMs, Timestamp, TrustPolicy};
    use proptest::prelude::*;

    fn buckets(limit: u32, places: usize) -> (Driver, Buckets) {
        let driver = Driver::new(Timestamp(1_790_000_000_000), BootMs(5_000));
        let clock = Clock::driven(&driver, TrustPolicy::Earned, Timestamp(0));
        (driver, Buckets::with_places(NonZeroU32::new(limit).unwrap(), clock, places))
    }

    fn taken(buckets: &Buckets, key: u64) -> bool {
        buckets.take(key).retry_after_seconds.is_none()
    }

    #[test]
    fn a_bucket_says_how_it_stands_and_refills_evenly() {
        let (driver, buckets) = buckets(100, 8);
        let standing =
            |remaining, reset_seconds, retry_after_seconds| Standing { limit: 100, remaining, reset_seconds, retry_after_seconds };
        assert_eq!(buckets.take(1), standing(99, 1, None));
        for remaining in (0..99).rev() {
            assert_eq!(buckets.take(1).remaining, remaining);
        }
        assert_eq!(buckets.take(1), standing(0, 60, Some(1)));
        assert_eq!(buckets.take(2), standing(99, 1, None), "another key");
        driver.advance_ms(599);
        assert!(!taken(&buckets, 1));
        driver.advance_ms(1);
        assert_eq!(buckets.take(1), standing(0, 60, None));
        driver.advance_ms(30_000);
        assert_eq!(buckets.take(1), standing(49, 31, None));
        driver.advance_ms(3_600_000);
        assert_eq!(buckets.take(1), standing(99, 1, None), "no more than the limit is saved up");
    }

    #[test]
    fn nobody_gets_a_new_count_by_making_others_come() {
        let (driver, buckets) = buckets(100, 8);
        (0..100).for_each(|_| assert!(taken(&buckets, 0)));
        for newcomer in 1..50_000 {
            let _ = buckets.take(newcomer);
            assert!(!taken(&buckets, 0), "after {newcomer} others");
            assert!(buckets.table.len() <= 8);
        }
        // Who came once is forgotten once that counts no more; who used up all of it is not.
        driver.advance_ms(1_300);
        let found_place = (60_000..70_000).filter(|newcomer| buckets.take(*newcomer).remaining == 99).count();
        assert!(found_place >= 7, "{found_place}");
        assert!(taken(&buckets, 0) && taken(&buckets, 0) && !taken(&buckets, 0), "two came back within 1.3 s");
    }

    #[test]
    fn those_without_a_place_share_one_bucket_and_the_others_do_not_notice() {
        let (_, buckets) = buckets(100, 8);
        for key in 0..8 {
            assert!(taken(&buckets, key));
        }
        let shared = (1_000..2_000).filter(|newcomer| taken(&buckets, *newcomer)).count();
        assert_eq!(shared, 100);
        for key in 0..8 {
            assert_eq!(buckets.take(key).remaining, 98);
        }
    }

    proptest! {
        /// Against a bucket that is computed from all that came, in thousandths of a request.
        #[test]
        fn as_many_are_taken_as_a_naive_bucket_takes(limit in 1_u32..2_000, steps in proptest::collection::vec((0_i64..90_000, 0_u64..4, 1_u32..300), 1..60)) {
            let (driver, buckets) = buckets(limit, 8);
            let refill_ns = 60_000_000_000 / u64::from(limit);
            let mut naive: HashMap<u64, (u64, u64)> = HashMap::new();
            let mut now_ns = 0_u64;
            for (advance_ms, key, times) in steps {
                driver.advance_ms(advance_ms);
                now_ns += u64::try_from(advance_ms).unwrap() * 1_000_000;
                for _ in 0..times {
                    // Level in nanoseconds of refilling, as of a time.
                    let full = refill_ns * u64::from(limit);
                    let (level, at) = naive.get(&key).copied().unwrap_or((full, now_ns));
                    let level = (level + (now_ns - at)).min(full);
                    let wanted = level >= refill_ns;
                    naive.insert(key, (if wanted { level - refill_ns } else { level }, now_ns));
                    let standing = buckets.take(key);
                    prop_assert_eq!(standing.retry_after_seconds.is_none(), wanted, "{:?}", standing);
                    if wanted {
                        prop_assert_eq!(u64::from(standing.remaining), (level - refill_ns) / refill_ns);
                    }
                }
            }
        }
    }
}
