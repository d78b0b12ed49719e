//! When to measure and when to try again. Pure: the boot time is an argument, the wall clock is never needed.

use serde::{Deserialize, Serialize};

use crate::domain::time::{BootMs, SLOT_MS, Slot};
use crate::wire::SlotNow;

/// Distance a measurement keeps from both ends of its slot, so that an estimate off by the network's delay does not land
/// in the neighbouring slot.
const MARGIN_MS: i64 = 500;

/// The manager's slots on this machine's boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub slot: Slot,
    /// Boot time at which `slot` began.
    pub start: BootMs,
}

impl Anchor {
    /// From an answer: it was made between sending and receiving, so the middle is off by half the round trip at most.
    /// An offset outside of its slot says nothing.
    pub fn from_answer(now: &SlotNow, sent_at: BootMs, received_at: BootMs) -> Option<Anchor> {
        let offset_ms = i64::try_from(now.offset_ms).ok().filter(|o| *o < SLOT_MS)?;
        let middle = sent_at.0 + (received_at.0 - sent_at.0) / 2;
        Some(Anchor { slot: now.slot, start: BootMs(middle - offset_ms) })
    }

    pub fn slot_at(&self, at: BootMs) -> Slot {
        let slots = at.0.saturating_sub(self.start.0).div_euclid(SLOT_MS);
        let slot = i64::from(self.slot.0).saturating_add(slots).clamp(0, i64::from(u32::MAX));
        Slot(u32::try_from(slot).unwrap_or(u32::MAX))
    }

    pub fn start_of(&self, slot: Slot) -> BootMs {
        BootMs(self.start.0 + (i64::from(slot.0) - i64::from(self.slot.0)) * SLOT_MS)
    }

    /// How far apart two anchors put the same slot, in milliseconds.
    pub fn distance_ms(&self, other: &Anchor) -> i64 {
        (other.start_of(self.slot).0 - self.start.0).abs()
    }
}

/// One measurement per slot, at the manager's phase; every 30 s while the slots are not known.
#[derive(Debug)]
pub struct Schedule {
    anchor: Option<Anchor>,
    phase_ms: i64,
    last_at: Option<BootMs>,
    /// Slot of the last measurement.
    last_slot: Option<Slot>,
}

impl Schedule {
    pub fn new(anchor: Option<Anchor>, phase_ms: u64) -> Schedule {
        let mut schedule = Schedule { anchor, phase_ms: 0, last_at: None, last_slot: None };
        schedule.set_phase(phase_ms);
        schedule
    }

    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    pub fn set_phase(&mut self, phase_ms: u64) {
        self.phase_ms = i64::try_from(phase_ms).unwrap_or(SLOT_MS).clamp(MARGIN_MS, SLOT_MS - MARGIN_MS);
    }

    /// When the next measurement is due; may lie in the past.
    pub fn due(&self, now: BootMs) -> BootMs {
        let Some(last_at) = self.last_at else { return now };
        match (self.anchor, self.last_slot) {
            (Some(anchor), Some(last_slot)) => {
                // After a suspend the slots in between are gone; the present one is not.
                let slot = last_slot.plus(1).max(anchor.slot_at(now));
                BootMs(anchor.start_of(slot).0 + self.phase_ms)
            }
            _ => BootMs(last_at.0 + SLOT_MS),
        }
    }

    pub fn measured(&mut self, at: BootMs) {
        self.last_at = Some(at);
        self.last_slot = self.anchor.map(|anchor| anchor.slot_at(at));
    }

    /// An answer told where the slots are.
    pub fn answered(&mut self, anchor: Anchor, phase_ms: u64) {
        self.anchor = Some(anchor);
        self.last_slot = self.last_at.map(|at| anchor.slot_at(at));
        self.set_phase(phase_ms);
    }

    /// The newest measurement is of a slot that is over.
    pub fn is_behind(&self, now: BootMs) -> bool {
        self.anchor.zip(self.last_slot).is_some_and(|(anchor, slot)| slot < anchor.slot_at(now))
    }
}

const FIRST_DELAY_MS: i64 = 2_000;
const LONGEST_DELAY_MS: i64 = 60_000;

/// Delays that double from 2 s to 60 s, each shortened by a random share of up to a half, so that a fleet does not come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    pub fn next_ms(&mut self, random: u64) -> i64 {
        let full = FIRST_DELAY_MS.saturating_mul(1 << self.failures.min(10)).min(LONGEST_DELAY_MS);
        self.failures = self.failures.saturating_add(1);
        full - i64::try_from(random % 512).unwrap_or(0) * (full / 2) / 512
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(slot: u32, start: i64) -> Anchor {
        Anchor { slot: Slot(slot), start: BootMs(start) }
    }

    #[test]
    fn the_first_measurement_is_due_at_once_and_then_every_slot_at_the_phase() {
        let mut schedule = Schedule::new(None, 5_000);
        assert_eq!(schedule.due(BootMs(77)), BootMs(77));
        schedule.measured(BootMs(77));
        assert_eq!(schedule.due(BootMs(100)), BootMs(30_077), "slots unknown: every 30 s");
        // Answered at boot 100_000, 29 s into slot 7: slot 8 begins 1 s later, its phase is 5 s after that.
        schedule.measured(BootMs(99_900));
        schedule.answered(anchor(7, 71_000), 5_000);
        assert_eq!(schedule.due(BootMs(100_000)), BootMs(106_000));
        schedule.measured(BootMs(106_020));
        assert_eq!(schedule.due(BootMs(106_030)), BootMs(136_000));
    }

    #[test]
    fn a_suspended_machine_measures_in_the_slot_it_wakes_in() {
        let mut schedule = Schedule::new(Some(anchor(10, 0)), 5_000);
        schedule.measured(BootMs(5_000));
        assert_eq!(schedule.due(BootMs(3_600_000)), BootMs(3_605_000));
        assert_eq!(schedule.due(BootMs(3_620_000)), BootMs(3_605_000), "past the phase: at once");
    }

    #[test]
    fn a_manager_whose_time_jumps_is_followed_both_ways() {
        for slot in [3, 50_000_000] {
            let mut schedule = Schedule::new(Some(anchor(1_000, 0)), 5_000);
            schedule.measured(BootMs(5_000));
            schedule.answered(anchor(slot, 2_000), 5_000);
            assert_eq!(schedule.due(BootMs(5_100)), BootMs(37_000));
            assert!(!schedule.is_behind(BootMs(31_999)) && schedule.is_behind(BootMs(32_000)));
        }
    }

    #[test]
    fn the_phase_keeps_off_the_edges_of_the_slot() {
        for (phase, at) in [(0, 30_500), (500, 30_500), (29_999, 59_500), (u64::MAX, 59_500)] {
            let mut schedule = Schedule::new(Some(anchor(0, 0)), phase);
            schedule.measured(BootMs(600));
            assert_eq!(schedule.due(BootMs(700)), BootMs(at), "phase {phase}");
        }
    }

    #[test]
    fn an_offset_beyond_its_slot_gives_no_anchor() {
        let now = |offset_ms| SlotNow { slot: Slot(4), offset_ms, beacon: String::new() };
        assert_eq!(Anchor::from_answer(&now(30_000), BootMs(0), BootMs(0)), None);
        assert_eq!(Anchor::from_answer(&now(1_000), BootMs(10_000), BootMs(10_200)), Some(anchor(4, 9_100)));
    }

    proptest! {
        #[test]
        fn slot_and_start_agree(slot in 1_000u32..u32::MAX - 1_000, start in 0i64..1 << 40, at in 0i64..900) {
            let anchor = anchor(slot, start);
            let at = BootMs(start + (at - 450) * 10_007);
            let found = anchor.slot_at(at);
            prop_assert!(anchor.start_of(found) <= at && at < anchor.start_of(found.plus(1)));
            prop_assert_eq!(anchor.distance_ms(&Anchor { slot: found, start: anchor.start_of(found) }), 0);
        }

        #[test]
        fn backoff_stays_within_its_bounds(random in prop::collection::vec(any::<u64>(), 1..40)) {
            let mut backoff = Backoff::default();
            for (n, r) in random.into_iter().enumerate() {
                let full = (2_000i64 << n.min(5)).min(60_000);
                let delay = backoff.next_ms(r);
                prop_assert!(delay > full / 2 - 1 && delay <= full, "{delay} of {full}");
            }
        }
    }
}
