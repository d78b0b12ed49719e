//! What this store writes to its card: counted where it is written, booked by each flush in a row that the flush writes anyway, and shown with what is not booked yet. A crash
//! loses what was counted since the last flush.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::device::{Device, Metered};
use super::fault::Fault;
use super::hot::{self, written};
use super::store::Store;
use crate::domain::evidence::day_of;
use crate::domain::time::{Now, Timestamp};
use crate::domain::wear::{MEAN_DAYS, Written, bytes_per_day};

/// Days that are shown.
const SHOWN_DAYS: u32 = 30;

#[derive(Debug, Default)]
struct Counters {
    core: Arc<AtomicU64>,
    hot: Arc<AtomicU64>,
    cold: Arc<AtomicU64>,
    /// Of files that are none of these, and of which the kernel counts.
    rest: Arc<AtomicU64>,
    /// To other disks.
    elsewhere: AtomicU64,
}

/// Counts since the store was opened.
#[derive(Debug)]
pub struct Meter {
    counters: Arc<Counters>,
    device: Arc<dyn Device>,
    /// What the process had written before.
    before: Option<u64>,
    booked: Mutex<Written>,
}

impl Meter {
    /// A meter, and the device that it counts on, for the files of the store in `dir`.
    pub(super) fn on(device: &Arc<dyn Device>) -> (Meter, Arc<dyn Device>) {
        let counters = Arc::new(Counters::default());
        let meter = Meter {
            counters: Arc::clone(&counters),
            device: Arc::clone(device),
            before: device.written_by_process(),
            booked: Mutex::default(),
        };
        let counter_of = Arc::new(move |path: &Path| Arc::clone(counters.of(path)));
        (meter, Arc::new(Metered { inner: Arc::clone(device), counter_of }))
    }

    /// These bytes went to another disk.
    pub fn wrote_elsewhere(&self, bytes: u64) {
        self.counters.elsewhere.fetch_add(bytes, Ordering::Relaxed);
    }

    fn booked(&self) -> MutexGuard<'_, Written> {
        self.booked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self) -> Written {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { core, hot, cold, rest: _, elsewhere } = &*self.counters;
        let files = Written { core: of(core), hot: of(hot), cold: of(cold), other: 0 };
        let by_process = self.device.written_by_process().zip(self.before).map_or(0, |(now, before)| now.saturating_sub(before));
        Written { other: by_process.saturating_sub(files.total()).saturating_sub(of(elsewhere)), ..files }
    }

    /// What is not booked yet.
    pub(super) fn unbooked(&self) -> Written {
        self.counted().since(&self.booked())
    }

    /// A flush that has these bytes is on the disk.
    pub(super) fn book(&self, written: &Written) {
        let mut booked = self.booked();
        *booked = booked.plus(written);
    }
}

impl Counters {
    fn of(&self, path: &Path) -> &Arc<AtomicU64> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().and_then(Path::file_name);
        if folder.is_some_and(|folder| folder == "cold") {
            &self.cold
        } else if name.starts_with("core.redb") {
            &self.core
        } else if name.starts_with("hot.redb") {
            &self.hot
        } else {
            &self.rest
        }
    }
}

/// What is known of the wear of the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wear {
    /// When counting began; none before the first flush on a trusted clock.
    pub since: Option<Timestamp>,
    /// Since then.
    pub total: u64,
    /// Oldest first, the present day last; those on which nothing was written among them.
    pub days: Vec<(u32, Written)>,
    pub bytes_per_day: Option<u64>,
}

impl Store {
    /// As of now, with what no flush has booked yet.
    pub fn wear(&self, now: Now) -> Result<Wear, Fault> {
        let unbooked = self.meter.unbooked();
        let read = self.hot.read()?;
        let tally = hot::meta(&read)?.written;
        // While the clock is not trusted, the day is the one that was known last.
        let today = if now.trusted { day_of(now.wall.slot()) } else { tally.day };
        let Some(since_ms) = tally.since_ms else {
            return Ok(Wear { since: None, total: unbooked.total(), days: Vec::new(), bytes_per_day: None });
        };
        let since = Timestamp(since_ms);
        let first = day_of(since.slot());
        let known = written::days(&read, &tally, today.saturating_sub(MEAN_DAYS.max(SHOWN_DAYS)), today.saturating_add(1))?;
        let of = |day: u32| known.iter().find(|(known, _)| *known == day).map(|(_, written)| *written).unwrap_or_default();
        let shown = first.max(today.saturating_sub(SHOWN_DAYS - 1))..=today;
        let days = shown.map(|day| (day, if day == today { of(day).plus(&unbooked) } else { of(day) })).collect();
        let totals: Vec<(u32, u64)> = known.iter().map(|(day, written)| (*day, written.total())).collect();
        let bytes_per_day = bytes_per_day(&totals, first, today);
        Ok(Wear { since: Some(since), total: tally.total.saturating_add(unbooked.total()), days, bytes_per_day })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::device;

    #[test]
    fn bytes_are_counted_by_the_file_they_go_to_also_under_a_name_for_the_time_being() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("cold")).unwrap();
        let (meter, device) = Meter::on(&device::real());
        for (name, bytes) in
            [("core.redb.compact.tmp", 3), ("hot.redb", 5), ("cold/raw-2026w01.redb.tmp", 7), ("cold/hourly-2026-01.redb", 2)]
        {
            device.create(&dir.path().join(name)).unwrap().write(0, &vec![1; bytes]).unwrap();
        }
        let files = |written: Written| (written.core, written.hot, written.cold);
        assert_eq!(files(meter.unbooked()), (3, 5, 9));
        meter.book(&Written { hot: 4, ..Written::default() });
        assert_eq!(files(meter.unbooked()), (3, 1, 9));
    }
}
