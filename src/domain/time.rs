//! Time as values: timestamps, slots, and the judgement whether the wall clock may be believed.
//!
//! A Raspberry Pi has no clock battery. Trust is earned once per boot, carried by the monotonic boot clock, and
//! lost when the wall clock departs from it. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Length of a slot in seconds.
pub const SLOT_SECONDS: i64 = 30;
pub const SLOT_MS: i64 = SLOT_SECONDS * 1000;

/// Unix time in milliseconds, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1000))
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    pub fn plus_seconds(self, seconds: i64) -> Timestamp {
        self.plus_ms(seconds.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn slot(self) -> Slot {
        let slot = self.0.div_euclid(SLOT_MS).clamp(0, i64::from(u32::MAX));
        Slot(u32::try_from(slot).unwrap_or(u32::MAX))
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|t| t.format(&Rfc3339).ok())
            .unwrap_or_else(|| format!("{}ms", self.0))
    }

    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Timestamp)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A 30-second slot: unix seconds / 30.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// The first slot of the epoch after the one that holds this slot.
    pub fn next_epoch(self, epoch_slots: u32) -> Slot {
        let length = epoch_slots.max(1);
        Slot((self.0 / length).saturating_add(1).saturating_mul(length))
    }

    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * SLOT_MS)
    }

    pub fn end(self) -> Timestamp {
        self.start().plus_ms(SLOT_MS)
    }

    pub fn plus(self, slots: u32) -> Slot {
        Slot(self.0.saturating_add(slots))
    }

    pub fn minus(self, slots: u32) -> Slot {
        Slot(self.0.saturating_sub(slots))
    }

    /// The slots of `[self, end)`.
    pub fn until(self, end: Slot) -> impl DoubleEndedIterator<Item = Slot> {
        (self.0..end.0).map(Slot)
    }
}

/// Milliseconds since the machine booted, suspend included (CLOCK_BOOTTIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootMs(pub i64);

/// One look at the clocks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    pub wall: Timestamp,
    pub boot: BootMs,
    /// The kernel says that an NTP source disciplines the wall clock.
    pub synchronised: bool,
}

/// What every verb takes instead of reading a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub boot: BootMs,
    /// The wall time may be used for evidence, money and signatures.
    pub trusted: bool,
}

/// Largest departure of the wall clock from its anchor that keeps trust, in milliseconds.
pub const MAX_DRIFT_MS: i64 = 5_000;
/// Largest distance between an admin's clock and ours that confirms ours, in milliseconds.
pub const CONFIRM_WITHIN_MS: i64 = 60_000;

/// Why the clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// Nothing has vouched for the clock since the machine booted.
    NeverEarned,
    /// The wall clock stepped away from the boot clock by this many milliseconds.
    Stepped { by_ms: i64 },
    /// The wall clock is behind a time that was committed; `clock accept` can lower that mark.
    BehindHighWater { by_ms: i64 },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::NeverEarned => write!(f, "no time source has confirmed the clock since boot"),
            Distrust::Stepped { by_ms } => write!(f, "the clock stepped by {by_ms} ms"),
            Distrust::BehindHighWater { by_ms } => {
                write!(f, "the clock is {by_ms} ms behind the highest time in the store")
            }
        }
    }
}

/// How trust is earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustPolicy {
    Earned,
    /// For hosts that keep time themselves; only the high-water rule can take trust away.
    Always,
}

/// Decides whether the wall clock is trusted. Feed it every reading; it is cheap.
#[derive(Debug, Clone)]
pub struct ClockJudge {
    policy: TrustPolicy,
    /// wall - boot when trust was earned.
    anchor: Option<i64>,
    lost: Option<Distrust>,
    /// Highest wall time that was committed.
    high_water: Timestamp,
}

impl ClockJudge {
    pub fn new(policy: TrustPolicy, high_water: Timestamp) -> ClockJudge {
        ClockJudge { policy, anchor: None, lost: Some(Distrust::NeverEarned), high_water }
    }

    pub fn high_water(&self) -> Timestamp {
        self.high_water
    }

    /// Trust that was earned earlier in this boot: `wall_minus_boot_ms` is its anchor. The next reading is held against it.
    pub fn carry(&mut self, wall_minus_boot_ms: i64) {
        self.anchor = Some(wall_minus_boot_ms);
        self.lost = None;
    }

    /// A time was committed; the clock must not fall behind it.
    pub fn committed(&mut self, at: Timestamp) {
        self.high_water = self.high_water.max(at);
    }

    /// An admin lowers a poisoned high-water mark to the present reading.
    pub fn accept(&mut self, reading: ClockReading) {
        self.high_water = reading.wall;
        self.earn(reading);
    }

    /// An admin's clock, `theirs`, agrees with ours: earns trust. False when it is too far off.
    pub fn confirm(&mut self, reading: ClockReading, theirs: Timestamp) -> bool {
        let agrees = reading.wall.since(theirs).abs() <= CONFIRM_WITHIN_MS && reading.wall >= self.high_water;
        if agrees {
            self.earn(reading);
        }
        agrees
    }

    fn earn(&mut self, reading: ClockReading) {
        self.anchor = Some(reading.wall.0.saturating_sub(reading.boot.0));
        self.lost = None;
    }

    /// Ok when trusted; why not otherwise.
    pub fn judge(&mut self, reading: ClockReading) -> Result<(), Distrust> {
        let behind = self.high_water.since(reading.wall);
        if behind > 0 {
            self.anchor = None;
            self.lost = Some(Distrust::BehindHighWater { by_ms: behind });
        } else if let Some(anchor) = self.anchor {
            let by_ms = reading.wall.0.saturating_sub(reading.boot.0).saturating_sub(anchor);
            if by_ms.abs() > MAX_DRIFT_MS && self.policy == TrustPolicy::Earned {
                self.anchor = None;
                self.lost = Some(Distrust::Stepped { by_ms });
            }
        }
        let earns = reading.synchronised || self.policy == TrustPolicy::Always;
        if self.anchor.is_none() && behind <= 0 && earns {
            self.earn(reading);
        }
        match self.lost {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }

    /// The wall time of a past boot time, once trust is earned in this boot.
    pub fn wall_at(&self, boot: BootMs) -> Option<Timestamp> {
        self.anchor.map(|anchor| Timestamp(anchor.saturating_add(boot.0)))
    }
}

/// A value with a history by slot, so that a late-closing epoch uses what was in force at its first slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline<T>(Vec<(Slot, T)>);

impl<T: Clone + PartialEq> Timeline<T> {
    pub fn new(value: T) -> Timeline<T> {
        Timeline(vec![(Slot(0), value)])
    }

    /// In force during `slot`.
    pub fn at(&self, slot: Slot) -> &T {
        let after = self.0.partition_point(|(from, _)| *from <= slot);
        &self.0[after.saturating_sub(1)].1
    }

    pub fn latest(&self) -> &T {
        &self.0[self.0.len() - 1].1
    }

    /// `value` is in force from `from` on; what was planned for later is replaced.
    pub fn set(&mut self, from: Slot, value: T) {
        self.0.retain(|(start, _)| *start < from);
        if self.0.is_empty() || *self.latest() != value {
            let from = if self.0.is_empty() { Slot(0) } else { from };
            self.0.push((from, value));
        }
    }

    /// `value` is in force in `[from, until)`; before and after it all stays as it was.
    pub fn lay(&mut self, from: Slot, until: Slot, value: T) {
        if until <= from {
            return;
        }
        let (after, later) = (self.at(until).clone(), self.after(until).to_vec());
        self.set(from, value);
        self.set(until, after);
        for (start, value) in later {
            self.set(start, value);
        }
    }

    /// Where `value` is in force: first slot and the one after the last; the last of all has no end that is known.
    pub fn spans_of(&self, value: &T) -> Vec<(Slot, Slot)> {
        let ends = self.0.iter().skip(1).map(|(start, _)| *start).chain([Slot(u32::MAX)]);
        self.0.iter().zip(ends).filter(|((_, v), _)| v == value).map(|((start, _), end)| (*start, end)).collect()
    }

    /// Slots of `[from, until)` in which `value` is in force.
    pub fn slots_of(&self, value: &T, from: Slot, until: Slot) -> u32 {
        let ends = self.0.iter().skip(1).map(|(start, _)| *start).chain([until]);
        let spans = self.0.iter().zip(ends).filter(|((_, v), _)| v == value);
        spans.map(|((start, _), end)| end.min(until).0.saturating_sub((*start).max(from).0)).sum()
    }

    /// Changes after `slot` that are planned already: each with its first slot.
    pub fn after(&self, slot: Slot) -> &[(Slot, T)] {
        &self.0[self.0.partition_point(|(from, _)| *from <= slot)..]
    }

    /// Forgets what ended before `slot`.
    pub fn forget_before(&mut self, slot: Slot) {
        let after = self.0.partition_point(|(from, _)| *from <= slot);
        self.0.drain(..after.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall_s: i64, boot_s: i64, synchronised: bool) -> ClockReading {
        ClockReading { wall: Timestamp::from_seconds(wall_s), boot: BootMs(boot_s * 1000), synchronised }
    }

    const T: i64 = 1_790_000_000;

    #[test]
    fn trust_is_earned_once_and_carried_for_weeks_without_synchronisation() {
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
        assert_eq!(judge.judge(reading(T, 10, false)), Err(Distrust::NeverEarned));
        assert_eq!(judge.judge(reading(T + 1, 11, true)), Ok(()));
        for day in 1..60 {
            assert_eq!(judge.judge(reading(T + day * 86_400, 10 + day * 86_400, false)), Ok(()));
        }
    }

    #[test]
    fn a_step_either_way_loses_trust_and_synchronisation_earns_it_again() {
        for step in [-6, 6, 86_400 * 365] {
            let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
            assert_eq!(judge.judge(reading(T, 0, true)), Ok(()));
            assert_eq!(judge.judge(reading(T + 100 + step, 100, false)), Err(Distrust::Stepped { by_ms: step * 1000 }));
            assert!(judge.judge(reading(T + 101 + step, 101, false)).is_err(), "it does not come back by itself");
            assert_eq!(judge.judge(reading(T + 102, 102, true)), Ok(()));
        }
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
        judge.judge(reading(T, 0, true)).unwrap();
        assert_eq!(judge.judge(reading(T + 104, 100, false)), Ok(()), "slewing is no step");
    }

    #[test]
    fn trust_is_carried_over_a_restart_in_the_same_boot_and_still_checked() {
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
        judge.carry((T - 10) * 1000);
        assert_eq!(judge.judge(reading(T + 90, 100, false)), Ok(()));
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
        judge.carry((T - 10) * 1000);
        assert_eq!(judge.judge(reading(T + 99, 100, false)), Err(Distrust::Stepped { by_ms: 9_000 }));
    }

    #[test]
    fn starting_in_1970_is_behind_the_store_even_when_always_trusted() {
        for policy in [TrustPolicy::Earned, TrustPolicy::Always] {
            let mut judge = ClockJudge::new(policy, Timestamp::from_seconds(T));
            assert!(matches!(judge.judge(reading(60, 60, true)), Err(Distrust::BehindHighWater { .. })));
            assert_eq!(judge.judge(reading(T + 5, 90, true)), Ok(()));
        }
    }

    #[test]
    fn a_poisoned_future_mark_can_be_accepted_away() {
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp::from_seconds(T * 2));
        assert!(judge.judge(reading(T, 5, true)).is_err());
        assert!(!judge.confirm(reading(T, 5, true), Timestamp::from_seconds(T)), "confirming is not enough");
        judge.accept(reading(T, 5, true));
        assert_eq!(judge.judge(reading(T + 1, 6, false)), Ok(()));
    }

    #[test]
    fn an_admin_confirms_within_a_minute_only() {
        let mut judge = ClockJudge::new(TrustPolicy::Earned, Timestamp(0));
        let ours = reading(T, 5, false);
        assert!(!judge.confirm(ours, Timestamp::from_seconds(T + 61)));
        assert!(judge.judge(ours).is_err());
        assert!(judge.confirm(ours, Timestamp::from_seconds(T - 60)));
        assert_eq!(judge.judge(ours), Ok(()));
        assert_eq!(judge.wall_at(BootMs(3_000)), Some(Timestamp::from_seconds(T - 2)));
    }

    #[test]
    fn a_timeline_answers_for_the_past() {
        let mut line = Timeline::new("a");
        line.set(Slot(10), "b");
        line.set(Slot(20), "c");
        assert_eq!((line.at(Slot(0)), line.at(Slot(9)), line.at(Slot(10)), line.at(Slot(25))), (&"a", &"a", &"b", &"c"));
        line.set(Slot(15), "d");
        assert_eq!((line.at(Slot(14)), line.at(Slot(20))), (&"b", &"d"), "a later plan is replaced");
        line.forget_before(Slot(12));
        assert_eq!((line.at(Slot(12)), line.latest()), (&"b", &"d"));
        line.forget_before(Slot(100));
        assert_eq!(line.latest(), &"d");
    }

    #[test]
    fn a_stretch_is_laid_over_a_timeline_without_touching_the_rest() {
        let mut line = Timeline::new('a');
        line.set(Slot(10), 'b');
        line.set(Slot(20), 'c');
        line.lay(Slot(5), Slot(15), 'x');
        let seen = |line: &Timeline<char>| [0, 4, 5, 14, 15, 19, 20].map(|slot| *line.at(Slot(slot)));
        assert_eq!(seen(&line), ['a', 'a', 'x', 'x', 'b', 'b', 'c']);
        assert_eq!(line.spans_of(&'x'), [(Slot(5), Slot(15))]);
        line.lay(Slot(15), Slot(15), 'y');
        line.lay(Slot(5), Slot(15), 'a');
        assert_eq!((seen(&line), line.spans_of(&'c')), (['a', 'a', 'a', 'a', 'b', 'b', 'c'], vec![(Slot(20), Slot(u32::MAX))]));
        assert_eq!(line.after(Slot(0)).len(), 2, "equal neighbours are one");
    }

    #[test]
    fn a_timeline_counts_its_slots_and_shows_its_plans() {
        let mut line = Timeline::new('a');
        line.set(Slot(10), 'b');
        line.set(Slot(20), 'a');
        for (value, from, until, slots) in
            [('b', 0, 100, 10), ('b', 15, 100, 5), ('b', 0, 12, 2), ('a', 5, 25, 10), ('b', 20, 30, 0), ('c', 0, 99, 0)]
        {
            assert_eq!(line.slots_of(&value, Slot(from), Slot(until)), slots, "{value} in {from}..{until}");
        }
        assert_eq!(line.after(Slot(10)), [(Slot(20), 'a')]);
        assert!(line.after(Slot(20)).is_empty());
    }

    #[test]
    fn rfc3339_round_trips() {
        let at = Timestamp(1_790_000_000_123);
        assert_eq!(Timestamp::parse_rfc3339(&at.rfc3339()), Some(at));
        assert_eq!(Timestamp::parse_rfc3339("2026-11-21T00:00:00+02:00").map(Timestamp::rfc3339).as_deref(), Some("2026-11-20T22:00:00Z"));
        assert_eq!(Timestamp(-1).slot(), Slot(0));
    }
}
