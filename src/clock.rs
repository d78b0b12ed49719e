//! Where time is read, and the only place. Everything else takes a `Now`.
//!
//! `Clock` joins a source of readings (the system, a driven one for tests, a fast one for time lapse) with the judge that
//! decides whether the wall clock may be believed. What trust means is `domain::time`'s business.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::ClockId;

use crate::domain::time::{BootMs, ClockJudge, ClockReading, Distrust, Now, Timestamp, TrustPolicy};

/// Shared by everything that needs to know the time; clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    judge: Mutex<ClockJudge>,
}

enum Source {
    System,
    Driven(Driver),
    Fast { start: ClockReading, rate: u32 },
}

impl Clock {
    /// The clock of this machine. `high_water` is the highest time the store has committed.
    pub fn system(policy: TrustPolicy, high_water: Timestamp) -> Clock {
        Clock::new(Source::System, policy, high_water)
    }

    /// A clock that moves only when `driver` moves it.
    pub fn driven(driver: &Driver, policy: TrustPolicy, high_water: Timestamp) -> Clock {
        Clock::new(Source::Driven(driver.clone()), policy, high_water)
    }

    /// Time lapse: runs `rate` times as fast (at least once) since `start`, a reading of this boot; always trusted unless it is
    /// behind `high_water`. Processes with the same `start` and `rate` have the same time, so that one can go on where another was killed.
    pub fn fast(start: ClockReading, rate: u32, high_water: Timestamp) -> Clock {
        Clock::new(Source::Fast { start, rate: rate.max(1) }, TrustPolicy::Earned, high_water)
    }

    fn new(source: Source, policy: TrustPolicy, high_water: Timestamp) -> Clock {
        Clock(Arc::new(Inner { source, judge: Mutex::new(ClockJudge::new(policy, high_water)) }))
    }

    /// Reads the clock and judges the reading.
    pub fn now(&self) -> Now {
        let mut judge = self.judge();
        let reading = self.0.source.read();
        let trusted = judge.judge(reading).is_ok();
        Now { wall: reading.wall, boot: reading.boot, trusted }
    }

    /// `None` while the clock is trusted.
    pub fn why_untrusted(&self) -> Option<Distrust> {
        let mut judge = self.judge();
        judge.judge(self.0.source.read()).err()
    }

    /// Trust earned earlier in this boot, by its anchor: wall - boot in milliseconds.
    pub fn carry(&self, wall_minus_boot_ms: i64) {
        self.judge().carry(wall_minus_boot_ms);
    }

    /// A commit carried this time; the clock must not fall behind it.
    pub fn committed(&self, at: Timestamp) {
        self.judge().committed(at);
    }

    /// An admin's clock says `theirs`. True, and trusted from now on, when ours agrees within a minute.
    pub fn confirm(&self, theirs: Timestamp) -> bool {
        let mut judge = self.judge();
        judge.confirm(self.0.source.read(), theirs)
    }

    /// An admin vouches for the present reading, which becomes the high-water mark, lower or not.
    pub fn accept(&self) {
        let mut judge = self.judge();
        judge.accept(self.0.source.read());
    }

    /// The wall time of a past boot time of this boot; `None` while the clock is not trusted.
    pub fn wall_at(&self, boot: BootMs) -> Option<Timestamp> {
        let mut judge = self.judge();
        judge.judge(self.0.source.read()).ok()?;
        judge.wall_at(boot)
    }

    pub fn high_water(&self) -> Timestamp {
        self.judge().high_water()
    }

    /// How long to wait in real time for this clock to advance by `ms`. A driven clock does not advance by
    /// waiting; its tests nudge what waits.
    pub fn real_time(&self, ms: u64) -> Duration {
        match self.0.source {
            Source::Fast { rate, .. } => Duration::from_micros(ms.saturating_mul(1_000) / u64::from(rate)),
            Source::System | Source::Driven(_) => Duration::from_millis(ms),
        }
    }

    /// A reader that panicked left a judge whose every state is a valid one.
    fn judge(&self) -> MutexGuard<'_, ClockJudge> {
        self.0.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&*self.judge()).finish()
    }
}

impl Source {
    fn read(&self) -> ClockReading {
        match self {
            Source::System => read_system(),
            Source::Driven(driver) => driver.reading(),
            Source::Fast { start, rate } => {
                let passed = boot_ms().0.saturating_sub(start.boot.0).saturating_mul(i64::from(*rate));
                let boot = BootMs(start.boot.0.saturating_add(passed));
                ClockReading { wall: start.wall.plus_ms(passed), boot, synchronised: true }
            }
        }
    }
}

/// Moves a driven clock: wall time, boot time and synchronisation apart, in any direction. For tests and simulations.
#[derive(Debug, Clone)]
pub struct Driver(Arc<Mutex<ClockReading>>);

impl Driver {
    /// Synchronised, booted `boot` ago.
    pub fn new(wall: Timestamp, boot: BootMs) -> Driver {
        Driver(Arc::new(Mutex::new(ClockReading { wall, boot, synchronised: true })))
    }

    pub fn reading(&self) -> ClockReading {
        *self.lock()
    }

    /// Time passes: wall and boot time move together.
    pub fn advance_ms(&self, ms: i64) {
        let mut reading = self.lock();
        reading.wall = reading.wall.plus_ms(ms);
        reading.boot = BootMs(reading.boot.0.saturating_add(ms));
    }

    /// Somebody sets the wall clock; the boot clock does not care.
    pub fn set_wall(&self, wall: Timestamp) {
        self.lock().wall = wall;
    }

    /// With a smaller value than before: a reboot.
    pub fn set_boot(&self, boot: BootMs) {
        self.lock().boot = boot;
    }

    pub fn set_synchronised(&self, synchronised: bool) {
        self.lock().synchronised = synchronised;
    }

    fn lock(&self) -> MutexGuard<'_, ClockReading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures how long something takes; says nothing about when.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a duration, never a time")]
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Names this boot of the machine: boot times with different names cannot be compared. Empty where the kernel does not tell.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// What the machine's clocks say now.
pub fn read_system() -> ClockReading {
    ClockReading { wall: wall_clock(), boot: boot_ms(), synchronised: kernel_synchronised() }
}

#[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
fn wall_clock() -> Timestamp {
    let now = std::time::SystemTime::now();
    // A clock before 1970 is as untrusted as one in 1970.
    let passed = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "this is where the boot clock is read")]
fn boot_ms() -> BootMs {
    let since_boot = rustix::time::clock_gettime(ClockId::Boottime);
    BootMs(since_boot.tv_sec.saturating_mul(1_000).saturating_add(since_boot.tv_nsec / 1_000_000))
}

/// The kernel's clock discipline says that a time source has set the clock within the last hours. False where it cannot be asked.
fn kernel_synchronised() -> bool {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: adjtimex writes into the one struct it is given, for which all zeroes is a valid value; `modes == 0` only reads.
    #[expect(unsafe_code, reason = "rustix has no adjtimex; audited: no pointer outlives the call")]
    let (state, timex) = unsafe { (libc::adjtimex(timex.as_mut_ptr()), timex.assume_init()) };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_790_000_000_000);

    fn driven() -> (Driver, Clock) {
        let driver = Driver::new(T, BootMs(5_000));
        let clock = Clock::driven(&driver, TrustPolicy::Earned, Timestamp(0));
        (driver, clock)
    }

    #[test]
    fn the_system_clock_runs_on_and_knows_its_boot() {
        let clock = Clock::system(TrustPolicy::Always, Timestamp(0));
        let first = clock.now();
        let second = clock.now();
        assert!(first.wall.0 > 1_600_000_000_000 && second.boot >= first.boot && first.boot.0 > 0);
        assert!(first.trusted, "a host that keeps time itself: {:?}", clock.why_untrusted());
        assert_eq!(boot_id().len(), 36);
        assert_eq!(boot_id(), boot_id());
    }

    #[test]
    fn trust_follows_the_driven_clock_through_steps_and_1970() {
        let (driver, clock) = driven();
        assert!(clock.now().trusted);
        driver.set_synchronised(false);
        driver.advance_ms(30 * 86_400_000);
        assert!(clock.now().trusted, "carried by the boot clock");
        driver.set_wall(Timestamp(0));
        assert!(!clock.now().trusted);
        assert!(matches!(clock.why_untrusted(), Some(Distrust::Stepped { .. })));
        assert_eq!(clock.wall_at(BootMs(5_000)), None);
        driver.set_wall(T);
        assert!(clock.confirm(T.plus_seconds(-59)));
        assert!(clock.now().trusted);
    }

    #[test]
    fn a_clock_behind_the_store_is_accepted_only_explicitly() {
        let (driver, clock) = driven();
        clock.committed(T.plus_seconds(100));
        assert_eq!(clock.why_untrusted(), Some(Distrust::BehindHighWater { by_ms: 100_000 }));
        assert!(!clock.confirm(T));
        clock.accept();
        assert!(clock.now().trusted);
        assert_eq!(clock.high_water(), T);
        driver.advance_ms(1_000);
        assert_eq!(clock.wall_at(BootMs(5_500)), Some(T.plus_ms(500)));
    }

    #[test]
    fn clones_share_what_they_learnt() {
        let (_, clock) = driven();
        clock.clone().committed(T.plus_ms(1));
        assert_eq!(clock.high_water(), T.plus_ms(1));
    }

    #[test]
    fn time_lapse_multiplies_what_passes() {
        let clock = Clock::fast(read_system(), 1_000, Timestamp(0));
        let watch = Stopwatch::start();
        let first = clock.now();
        while watch.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let second = clock.now();
        let real_ms = i64::try_from(watch.elapsed().as_millis()).unwrap();
        let lapse_ms = second.wall.since(first.wall);
        assert!(lapse_ms >= 19_000 && lapse_ms <= (real_ms + 2) * 1_000, "{lapse_ms} ms in {real_ms} ms");
        assert_eq!(second.boot.0 - first.boot.0, lapse_ms);
        assert!(second.trusted);
        assert_eq!(clock.real_time(60_000), Duration::from_millis(60));
        assert_eq!(Clock::fast(read_system(), 0, Timestamp(0)).real_time(5), Duration::from_millis(5));
    }
}
