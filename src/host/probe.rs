//! How fast a folder's storage writes: as the store uses it, in small synchronised writes, and in long ones.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::clock::Stopwatch;

/// At most this much is written, in at most about this time.
pub const MAX_BYTES: u64 = 32 << 20;
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// The check is not begun with less free space.
pub const FLOOR_BYTES: u64 = 128 << 20;

/// A commit of the store, and a stretch of a long write.
const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 1 << 20;
/// Commits that are tried, within their part of the time.
const SMALL_WRITES: usize = 40;
const SMALL_TIME: Duration = Duration::from_secs(2);

const FILE: &str = "storage-check.tmp";

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub written_bytes: u64,
    pub took: Duration,
    /// Of the long writes, synchronisation included.
    pub bytes_per_second: f64,
    /// Of the small writes: until the storage says that they are safe.
    pub fsync_median: Duration,
    pub fsync_worst: Duration,
}

/// Writes into a file without a name, so that nothing stays behind, whatever happens.
pub fn measure(folder: &Path, max_bytes: u64, max_time: Duration) -> io::Result<Measured> {
    let path = folder.join(FILE);
    // One that a power cut left.
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;

    let pattern = pattern();
    let watch = Stopwatch::start();
    let (mut written_bytes, mut syncs) = (0_u64, Vec::with_capacity(SMALL_WRITES));
    while syncs.is_empty() || (syncs.len() < SMALL_WRITES && watch.elapsed() < SMALL_TIME.min(max_time) && written_bytes < max_bytes) {
        let one = Stopwatch::start();
        file.write_all(&pattern[..SMALL_BYTES])?;
        file.sync_data()?;
        syncs.push(one.elapsed());
        written_bytes += SMALL_BYTES as u64;
    }
    let (began, mut large_bytes) = (watch.elapsed(), 0_u64);
    while large_bytes == 0 || (written_bytes + (LARGE_BYTES as u64) <= max_bytes && watch.elapsed() < max_time) {
        file.write_all(&pattern)?;
        // One by one, so that a slow card cannot make the last synchronisation take minutes.
        file.sync_data()?;
        large_bytes += LARGE_BYTES as u64;
        written_bytes += LARGE_BYTES as u64;
    }
    let took = watch.elapsed();
    syncs.sort_unstable();
    let nothing = Duration::ZERO;
    Ok(Measured {
        written_bytes,
        took,
        bytes_per_second: per_second(large_bytes, took.saturating_sub(began)),
        fsync_median: syncs.get(syncs.len() / 2).copied().unwrap_or(nothing),
        fsync_worst: syncs.last().copied().unwrap_or(nothing),
    })
}

/// Of what is written in a few seconds: far below 2^53.
fn per_second(bytes: u64, took: Duration) -> f64 {
    let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    (bytes / took.as_secs_f64().max(1e-9)).round()
}

/// Bytes that neither a file system nor a card makes smaller (xorshift64).
fn pattern() -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    (0..LARGE_BYTES / 8).flat_map(|_| next()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Slow,
    VerySlow,
    LowSpace,
}

/// Below this the store may run full within weeks.
pub const LOW_BYTES: u64 = 1 << 30;

/// What the figures mean for a manager: every change waits for one synchronisation, a flush for a few.
pub fn judge(measured: &Measured, free_bytes: u64) -> Verdict {
    let Measured { bytes_per_second, fsync_median, fsync_worst, .. } = *measured;
    let ms = Duration::from_millis;
    if free_bytes < LOW_BYTES {
        Verdict::LowSpace
    } else if bytes_per_second < 1e6 || fsync_median > ms(500) {
        Verdict::VerySlow
    } else if bytes_per_second < 5e6 || fsync_median > ms(100) || fsync_worst > ms(2_000) {
        Verdict::Slow
    } else {
        Verdict::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_keeps_its_bounds_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "left by a power cut").unwrap();
        let measured = measure(dir.path(), 3 << 20, MAX_TIME).unwrap();
        assert!((1 << 20..=3 << 20).contains(&measured.written_bytes), "{measured:?}");
        assert!(measured.bytes_per_second > 0.0 && measured.fsync_median <= measured.fsync_worst, "{measured:?}");
        assert!(measured.fsync_worst <= measured.took);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let hurried = measure(dir.path(), MAX_BYTES, Duration::ZERO).unwrap();
        assert_eq!(hurried.written_bytes, (SMALL_BYTES + LARGE_BYTES) as u64, "one of each, and no more");
        assert!(measure(&dir.path().join("missing"), MAX_BYTES, MAX_TIME).is_err());
    }

    #[test]
    fn figures_are_judged_by_what_waits_for_them() {
        let judged = |bytes_per_second: f64, median_ms: u64, worst_ms: u64, free: u64| {
            let (fsync_median, fsync_worst) = (Duration::from_millis(median_ms), Duration::from_millis(worst_ms));
            judge(&Measured { written_bytes: 0, took: Duration::ZERO, bytes_per_second, fsync_median, fsync_worst }, free)
        };
        assert_eq!(judged(2e7, 8, 40, LOW_BYTES), Verdict::Good);
        assert_eq!(judged(4e6, 8, 40, LOW_BYTES), Verdict::Slow);
        assert_eq!(judged(2e7, 101, 400, LOW_BYTES), Verdict::Slow);
        assert_eq!(judged(2e7, 8, 2_001, LOW_BYTES), Verdict::Slow);
        assert_eq!(judged(9e5, 8, 40, LOW_BYTES), Verdict::VerySlow);
        assert_eq!(judged(2e7, 501, 600, LOW_BYTES), Verdict::VerySlow);
        assert_eq!(judged(2e7, 8, 40, LOW_BYTES - 1), Verdict::LowSpace);
    }
}
