//! What the agent does next: measure, spill, report, send late items, or wait. Pure: times, samples and answers are
//! arguments, so that ten minutes without a manager take no ten minutes to test.

use super::ring::{Ring, RingItem};
use super::schedule::{Anchor, Backoff, Schedule};
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::Incarnation;
use crate::domain::metrics::Sample;
use crate::domain::time::BootMs;
use crate::wire::{self, Item, Report, ReportAnswer, Witness};

/// Age from which an item that is not durable leaves the memory for the spool.
pub const SPOOL_AFTER_MS: i64 = 600_000;
/// A refusal that only a person can lift is asked about this seldom.
const REFUSED_DELAY_MS: i64 = 60_000;
/// Longest wait that a busy manager may ask for.
const LONGEST_BUSY_MS: i64 = 300_000;
/// Late uploads and retries start only when they cannot delay the next measurement: longer than a request may take.
const REQUEST_ROOM_MS: i64 = 11_000;
/// Rows of the first late batch after a failed one is halved down to, at least.
const MIN_LATE_ITEMS: usize = 8;

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Measure,
    /// Move what is too old for the ring to the spool.
    Spill,
    Report,
    Late,
    WaitUntil(BootMs),
}

/// Why a request brought no answer, as far as it matters for the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody there, or an answer that cannot be trusted.
    Unreachable,
    /// Come back in so many milliseconds.
    Busy { retry_after_ms: i64 },
    /// A rule is against it; trying soon would change nothing.
    Refused,
    /// The manager has seen this report: a new measurement makes a new one.
    Replayed,
}

#[derive(Debug)]
pub struct Cycle {
    incarnation: Incarnation,
    ring: Ring,
    schedule: Schedule,
    /// Of the manager, from its last answer.
    run: Option<u64>,
    evidence_hash: String,
    dropped: u64,
    /// A measurement is wanted before its time: the next report must be a new one.
    measure_now: bool,
    /// When the unsent items are to be tried; absent when there is nothing to do until the next measurement.
    report_at: Option<BootMs>,
    /// The newest measurement has not been tried yet.
    fresh: bool,
    /// No request before this.
    hold_until: BootMs,
    backoff: Backoff,
    replayed: bool,
    /// The last answer named a run that the report did not have.
    introduced: bool,
    /// The last report was taken.
    connected: bool,
    backlog: bool,
    late_at: BootMs,
    late_backoff: Backoff,
    late_items: usize,
}

impl Cycle {
    pub fn new(incarnation: Incarnation, anchor: Option<Anchor>, phase_ms: u64) -> Cycle {
        Cycle {
            incarnation,
            ring: Ring::default(),
            schedule: Schedule::new(anchor, phase_ms),
            run: None,
            evidence_hash: String::new(),
            dropped: 0,
            measure_now: false,
            report_at: None,
            fresh: false,
            hold_until: BootMs(i64::MIN),
            backoff: Backoff::default(),
            replayed: false,
            introduced: false,
            connected: false,
            backlog: false,
            late_at: BootMs(i64::MIN),
            late_backoff: Backoff::default(),
            late_items: wire::MAX_LATE_ITEMS,
        }
    }

    /// A live report goes before everything that can wait. `can_date` says that spooled items could be given their slots.
    pub fn next(&self, now: BootMs, can_date: bool) -> Next {
        let due = if self.measure_now { now } else { self.schedule.due(now) };
        if due <= now {
            return Next::Measure;
        }
        let spill_at = self.ring.oldest().filter(|_| can_date).map(|at| BootMs(at.0 + SPOOL_AFTER_MS + 1));
        if spill_at.is_some_and(|at| at <= now) {
            return Next::Spill;
        }
        let last_start = BootMs(due.0 - REQUEST_ROOM_MS);
        let report_at = self.report_at.map(|at| at.max(self.hold_until).max(now)).filter(|at| self.fresh || *at <= last_start);
        if report_at.is_some_and(|at| at <= now) {
            // A retry in a later slot brings a measurement of that slot: it is what proves it.
            return if self.schedule.is_behind(now) { Next::Measure } else { Next::Report };
        }
        let late_at = Some(self.late_at.max(self.hold_until).max(now)).filter(|at| self.backlog && self.connected && *at <= last_start);
        if late_at.is_some_and(|at| at <= now) {
            return Next::Late;
        }
        Next::WaitUntil([spill_at, report_at, late_at].into_iter().flatten().fold(due, BootMs::min))
    }

    /// A fresh measurement always tries at once, so that a manager that is back gets its report in this very slot; backoff
    /// paces the tries between. `running` says what the configured workload did, if there is one.
    pub fn measured(&mut self, at: BootMs, sample: Sample, running: Option<bool>) {
        if self.ring.push(at, sample, running).is_some() {
            self.dropped += 1;
        }
        self.schedule.measured(at);
        self.measure_now = false;
        self.report_at = Some(at);
        self.fresh = true;
    }

    /// The report of everything unsent.
    pub fn report(&self, now: BootMs, fingerprint: Fingerprint) -> Report {
        let age_ms = |at: BootMs| u64::try_from(now.0 - at.0).unwrap_or(0);
        let item = |i: &RingItem| Item {
            seq: i.seq,
            age_ms: age_ms(i.measured_at),
            witness: i.witness.clone(),
            running: i.running,
            sample: i.sample.clone(),
        };
        let items: Vec<Item> = self.ring.unsent().map(item).collect();
        Report {
            protocol: wire::PROTOCOL,
            incarnation: self.incarnation,
            seq: items.last().map_or(self.ring.last_seq(), |item| item.seq),
            items,
            run: self.run,
            fingerprint,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            dropped: self.dropped,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        }
    }

    /// The answer to `report`.
    pub fn answered(&mut self, report: &Report, sent_at: BootMs, received_at: BootMs, answer: &ReportAnswer) {
        self.run = Some(answer.run);
        self.evidence_hash.clone_from(&answer.evidence_hash);
        self.ring.acknowledge(answer.durable_seq);
        if let Some(now) = &answer.slot
            && let Some(anchor) = Anchor::from_answer(now, sent_at, received_at)
        {
            self.schedule.answered(anchor, answer.phase_ms);
        }
        self.connected = report.run == self.run;
        if self.connected {
            self.ring.accept(answer.accepted_seq);
            if let Some(now) = answer.slot.as_ref().filter(|_| answer.accepted_seq >= report.seq) {
                self.ring.remember(report.seq, Witness { slot: now.slot, beacon: now.beacon.clone() });
            }
            self.report_at = None;
            self.fresh = false;
            self.introduced = false;
            self.replayed = false;
            self.backoff.reset();
        } else {
            // The manager started anew and took nothing. What is not durable goes out again with the new run, at once, but
            // a manager whose run never fits is not asked in a loop.
            self.ring.fall_back();
            let delay_ms = if self.introduced { self.backoff.next_ms(0) } else { 0 };
            self.fresh = !self.introduced;
            self.introduced = true;
            self.report_at = Some(BootMs(received_at.0 + delay_ms));
        }
    }

    /// A report brought no answer. `random` spreads the next try.
    pub fn failed(&mut self, now: BootMs, failure: Failure, random: u64) {
        self.connected = false;
        self.fresh = false;
        let delay_ms = match failure {
            Failure::Unreachable => self.backoff.next_ms(random),
            Failure::Busy { retry_after_ms } => self.hold(now, retry_after_ms),
            Failure::Replayed if !self.replayed => {
                self.replayed = true;
                self.measure_now = true;
                0
            }
            Failure::Refused | Failure::Replayed => self.hold(now, REFUSED_DELAY_MS),
        };
        self.report_at = Some(BootMs(now.0 + delay_ms));
    }

    fn hold(&mut self, now: BootMs, delay_ms: i64) -> i64 {
        let delay_ms = delay_ms.clamp(1_000, LONGEST_BUSY_MS);
        self.hold_until = BootMs(now.0 + delay_ms);
        delay_ms
    }

    /// Removes what has waited too long in the ring.
    pub fn spill(&mut self, now: BootMs) -> Vec<RingItem> {
        self.ring.take_before(BootMs(now.0 - SPOOL_AFTER_MS))
    }

    /// Removes what no manager has seen: the agent is stopping.
    pub fn spill_unsent(&mut self) -> Vec<RingItem> {
        self.ring.take_unsent()
    }

    /// Measurements that are lost for good.
    pub fn lost(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
    }

    pub fn set_backlog(&mut self, backlog: bool) {
        self.backlog = backlog;
    }

    /// Rows to put into the next late batch, at most.
    pub fn late_items(&self) -> usize {
        self.late_items
    }

    pub fn late_answered(&mut self) {
        self.late_backoff.reset();
        self.late_items = (self.late_items * 2).min(wire::MAX_LATE_ITEMS);
    }

    /// A batch that did not get through may have been too much for the link: the next one is half as long.
    pub fn late_failed(&mut self, now: BootMs, failure: Failure, random: u64) {
        self.late_items = (self.late_items / 2).max(MIN_LATE_ITEMS);
        let delay_ms = match failure {
            Failure::Unreachable => self.late_backoff.next_ms(random),
            Failure::Busy { retry_after_ms } => self.hold(now, retry_after_ms),
            Failure::Refused | Failure::Replayed => REFUSED_DELAY_MS,
        };
        self.late_at = BootMs(now.0 + delay_ms);
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub fn anchor(&self) -> Option<Anchor> {
        self.schedule.anchor()
    }

    pub fn evidence_hash(&self) -> &str {
        &self.evidence_hash
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::time::{SLOT_MS, Slot};
    use crate::wire::SlotNow;

    const PHASE_MS: i64 = 5_000;
    /// Slot 1000 begins at boot 0.
    const FIRST: u32 = 1_000;

    fn cycle() -> Cycle {
        Cycle::new(Incarnation(1), None, 0)
    }

    /// An answer of a manager whose clock runs with the boot clock.
    fn answer(now: i64, accepted_seq: u64, durable_seq: u64, run: u64) -> ReportAnswer {
        let slot = Slot(FIRST + u32::try_from(now / SLOT_MS).unwrap());
        let slot = SlotNow { slot, offset_ms: u64::try_from(now % SLOT_MS).unwrap(), beacon: format!("b{}", slot.0) };
        ReportAnswer {
            accepted_seq,
            durable_seq,
            run,
            slot: Some(slot),
            phase_ms: 5_000,
            evidence_hash: "h".into(),
            durable_reports: None,
            last_day: None,
            unknown_head: false,
            head: None,
            command: None,
            pending: false,
            challenge: None,
        }
    }

    fn measure(cycle: &mut Cycle, now: i64) -> Report {
        assert_eq!(cycle.next(BootMs(now), true), Next::Measure, "at {now}");
        cycle.measured(BootMs(now), Sample::default(), None);
        assert_eq!(cycle.next(BootMs(now), true), Next::Report);
        cycle.report(BootMs(now), Fingerprint::default())
    }

    /// Measures, learns the run if it is new, and is accepted.
    fn accepted(cycle: &mut Cycle, now: i64, durable_seq: u64, run: u64) -> Report {
        let mut report = measure(cycle, now);
        if report.run != Some(run) {
            cycle.answered(&report, BootMs(now), BootMs(now), &answer(now, durable_seq, durable_seq, run));
            assert_eq!(cycle.next(BootMs(now), true), Next::Report, "again, with the run");
            report = cycle.report(BootMs(now), Fingerprint::default());
        }
        cycle.answered(&report, BootMs(now), BootMs(now), &answer(now, report.seq, durable_seq, run));
        report
    }

    fn seqs(report: &Report) -> Vec<u64> {
        report.items.iter().map(|i| i.seq).collect()
    }

    #[test]
    fn one_report_per_slot_at_the_phase() {
        let mut cycle = cycle();
        assert_eq!(seqs(&accepted(&mut cycle, 29_000, 0, 1)), [1]);
        for slot in 1..50 {
            let due = slot * SLOT_MS + PHASE_MS;
            assert_eq!(cycle.next(BootMs(due - 1), true), Next::WaitUntil(BootMs(due)));
            let durable = u64::try_from(slot).unwrap();
            assert_eq!(seqs(&accepted(&mut cycle, due, durable, 1)), [durable + 1]);
        }
        assert_eq!(cycle.dropped(), 0);
    }

    #[test]
    fn a_manager_that_crashed_gets_what_was_not_durable_with_its_beacons() {
        let mut cycle = cycle();
        accepted(&mut cycle, 1_000, 0, 1);
        accepted(&mut cycle, 35_000, 1, 1);
        accepted(&mut cycle, 65_000, 1, 1);
        let again = accepted(&mut cycle, 95_000, 1, 2);
        assert_eq!((seqs(&again), again.run), (vec![2, 3, 4], Some(2)));
        let witnesses: Vec<_> = again.items.iter().map(|i| i.witness.as_ref().map(|w| (w.slot.0, w.beacon.as_str()))).collect();
        assert_eq!(witnesses, [Some((1001, "b1001")), Some((1002, "b1002")), None]);
        assert_eq!(again.items[0].age_ms, 60_000);
        assert_eq!(cycle.next(BootMs(95_000), true), Next::WaitUntil(BootMs(4 * SLOT_MS + PHASE_MS)), "no third time");
    }

    #[test]
    fn a_manager_that_flushed_before_it_stopped_needs_nothing_again() {
        let mut cycle = cycle();
        accepted(&mut cycle, 1_000, 0, 1);
        assert_eq!(seqs(&accepted(&mut cycle, 35_000, 1, 2)), [2]);
        assert_eq!(seqs(&accepted(&mut cycle, 65_000, 2, 2)), [3]);
    }

    #[test]
    fn a_manager_whose_run_never_fits_is_not_asked_in_a_loop() {
        let mut cycle = cycle();
        let first = measure(&mut cycle, 0);
        cycle.answered(&first, BootMs(0), BootMs(0), &answer(0, 0, 0, 7));
        for (run, wait_ms) in [(8, 2_000), (9, 4_000)] {
            let at = cycle.report_at.unwrap();
            assert_eq!(cycle.next(at, true), Next::Report);
            let report = cycle.report(at, Fingerprint::default());
            cycle.answered(&report, at, at, &answer(at.0, 0, 0, run));
            assert_eq!(cycle.report_at, Some(BootMs(at.0 + wait_ms)));
        }
    }

    #[test]
    fn a_retry_in_the_next_slot_brings_a_measurement_of_that_slot() {
        let mut cycle = cycle();
        accepted(&mut cycle, 1_000, 0, 1);
        cycle.schedule.set_phase(20_000);
        measure(&mut cycle, 50_000);
        for at in [50_000, 52_000, 56_000] {
            assert_eq!(cycle.next(BootMs(at), true), Next::Report);
            cycle.failed(BootMs(at), Failure::Unreachable, 0);
        }
        assert_eq!(seqs(&accepted(&mut cycle, 64_000, 0, 1)), [2, 3]);
        assert_eq!(cycle.next(BootMs(64_000), true), Next::WaitUntil(BootMs(95_000)), "this slot has its report");
    }

    #[test]
    fn a_lost_reply_is_tried_again_with_backoff_and_only_the_accepted_item_gets_the_beacon() {
        let mut cycle = cycle();
        let first = measure(&mut cycle, 1_000);
        cycle.failed(BootMs(1_000), Failure::Unreachable, 0);
        assert_eq!(cycle.next(BootMs(1_000), true), Next::WaitUntil(BootMs(3_000)));
        assert_eq!(cycle.next(BootMs(3_000), true), Next::Report);
        let again = cycle.report(BootMs(3_000), Fingerprint::default());
        assert_eq!((again.seq, again.items[0].age_ms), (first.seq, 2_000));
        cycle.failed(BootMs(3_000), Failure::Unreachable, 0);
        assert_eq!(cycle.next(BootMs(3_000), true), Next::WaitUntil(BootMs(7_000)));
        cycle.failed(BootMs(7_000), Failure::Unreachable, 0);
        cycle.failed(BootMs(15_000), Failure::Unreachable, 0);
        cycle.failed(BootMs(23_000), Failure::Unreachable, 0);
        let later = accepted(&mut cycle, 31_000, 0, 1);
        assert_eq!(seqs(&later), [1, 2], "a new measurement does not wait for the backoff");
        cycle.ring.fall_back();
        let witnesses: Vec<_> = cycle.ring.unsent().map(|i| i.witness.is_some()).collect();
        assert_eq!(witnesses, [false, true]);
    }

    #[test]
    fn a_busy_manager_is_left_alone_but_measuring_goes_on() {
        let mut cycle = cycle();
        measure(&mut cycle, 0);
        cycle.failed(BootMs(0), Failure::Busy { retry_after_ms: 45_000 }, 0);
        assert_eq!(cycle.next(BootMs(29_999), true), Next::WaitUntil(BootMs(30_000)));
        cycle.measured(BootMs(30_000), Sample::default(), None);
        assert_eq!(cycle.next(BootMs(30_000), true), Next::WaitUntil(BootMs(45_000)));
        assert_eq!(cycle.next(BootMs(45_000), true), Next::Report);
        cycle.failed(BootMs(45_000), Failure::Busy { retry_after_ms: i64::MAX }, 0);
        assert_eq!(cycle.hold_until, BootMs(345_000), "for five minutes at most");
    }

    #[test]
    fn a_refusal_is_tried_again_once_a_minute() {
        let mut cycle = cycle();
        measure(&mut cycle, 0);
        cycle.failed(BootMs(0), Failure::Refused, 0);
        cycle.measured(BootMs(30_000), Sample::default(), None);
        assert_eq!(cycle.next(BootMs(30_001), true), Next::WaitUntil(BootMs(60_000)));
    }

    #[test]
    fn a_report_seen_before_is_replaced_by_a_new_one_once() {
        let mut cycle = cycle();
        measure(&mut cycle, 0);
        cycle.failed(BootMs(0), Failure::Replayed, 0);
        assert_eq!(seqs(&measure(&mut cycle, 10)), [1, 2]);
        cycle.failed(BootMs(10), Failure::Replayed, 0);
        assert!(matches!(cycle.next(BootMs(11), true), Next::WaitUntil(_)));
    }

    /// Runs until `end` without a manager and returns the seqs that were spilled.
    fn alone(cycle: &mut Cycle, mut now: i64, end: i64, can_date: bool) -> (i64, Vec<u64>) {
        let mut spilled = Vec::new();
        while now < end {
            match cycle.next(BootMs(now), can_date) {
                Next::Measure => cycle.measured(BootMs(now), Sample::default(), None),
                Next::Report => cycle.failed(BootMs(now), Failure::Unreachable, 7),
                Next::Spill => spilled.extend(cycle.spill(BootMs(now)).iter().map(|i| i.seq)),
                Next::Late => panic!("no manager, no late batch"),
                Next::WaitUntil(at) => {
                    assert!(at.0 > now);
                    now = at.0;
                }
            }
        }
        (now, spilled)
    }

    #[test]
    fn after_ten_minutes_alone_the_oldest_items_leave_for_the_spool_one_by_one() {
        let mut cycle = cycle();
        let (now, spilled) = alone(&mut cycle, 0, SPOOL_AFTER_MS, true);
        assert!(spilled.is_empty());
        let (now, spilled) = alone(&mut cycle, now, 3_600_000, true);
        assert_eq!(spilled, (1..=100).collect::<Vec<u64>>(), "an hour is 120 items, ten minutes of them stay");
        assert_eq!(cycle.dropped(), 0);
        // The manager is back: the ring first, then the backlog while there is room before the next report.
        cycle.set_backlog(true);
        cycle.failed(BootMs(now), Failure::Unreachable, 0);
        let (mut next, mut at) = (cycle.next(BootMs(now), true), now);
        while let Next::WaitUntil(until) = next {
            at = until.0;
            next = cycle.next(until, true);
        }
        if next == Next::Measure {
            cycle.measured(BootMs(at), Sample::default(), None);
        }
        cycle.run = Some(1);
        let report = cycle.report(BootMs(at), Fingerprint::default());
        assert!((20..=21).contains(&report.items.len()), "{}", report.items.len());
        cycle.answered(&report, BootMs(at), BootMs(at), &answer(at, report.seq, report.seq, 1));
        let due = cycle.schedule.due(BootMs(at)).0;
        assert_eq!(cycle.next(BootMs(due - REQUEST_ROOM_MS), true), Next::Late);
        assert_eq!(cycle.next(BootMs(due - REQUEST_ROOM_MS + 1), true), Next::WaitUntil(BootMs(due)), "the live report goes first");
    }

    #[test]
    fn without_a_way_to_date_them_items_stay_in_the_ring_and_the_oldest_are_counted_as_lost() {
        let mut cycle = cycle();
        let (_, spilled) = alone(&mut cycle, 0, 100 * SLOT_MS, false);
        assert!(spilled.is_empty());
        assert_eq!((cycle.ring.unsent().count(), cycle.dropped()), (super::super::ring::CAPACITY, 36));
    }

    #[test]
    fn a_late_batch_that_fails_shrinks_and_waits_and_grows_back() {
        let mut cycle = cycle();
        cycle.set_backlog(true);
        accepted(&mut cycle, 1_000, 1, 1);
        assert_eq!(cycle.next(BootMs(1_000), true), Next::Late);
        cycle.late_failed(BootMs(1_000), Failure::Unreachable, 0);
        assert_eq!((cycle.late_items(), cycle.next(BootMs(1_000), true)), (256, Next::WaitUntil(BootMs(3_000))));
        for _ in 0..9 {
            cycle.late_failed(BootMs(3_000), Failure::Unreachable, 0);
        }
        assert_eq!(cycle.late_items(), MIN_LATE_ITEMS);
        for _ in 0..9 {
            cycle.late_answered();
        }
        assert_eq!(cycle.late_items(), wire::MAX_LATE_ITEMS);
    }

    #[test]
    fn an_answer_without_a_slot_leaves_the_thirty_seconds() {
        let mut cycle = cycle();
        cycle.run = Some(1);
        let report = measure(&mut cycle, 400);
        cycle.answered(&report, BootMs(400), BootMs(500), &ReportAnswer { slot: None, ..answer(400, 1, 0, 1) });
        assert_eq!(cycle.next(BootMs(500), true), Next::WaitUntil(BootMs(30_400)));
        assert_eq!(cycle.anchor(), None);
    }

    #[test]
    fn a_retry_does_not_start_so_late_that_it_could_delay_the_next_measurement() {
        let mut cycle = cycle();
        measure(&mut cycle, 0);
        for at in [0, 2_000, 6_000, 14_000] {
            assert_eq!(cycle.next(BootMs(at), true), Next::Report);
            cycle.failed(BootMs(at), Failure::Unreachable, 0);
        }
        assert_eq!(cycle.next(BootMs(14_000), true), Next::WaitUntil(BootMs(30_000)), "not at 30 s less the time of a request");
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Nothing,
        Flush,
        /// The manager loses its memory.
        Crash,
        /// It is away for so many slots.
        Away(u32),
        Busy,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            8 => Just(Event::Nothing),
            3 => Just(Event::Flush),
            1 => Just(Event::Crash),
            1 => (1u32..60).prop_map(Event::Away),
            1 => Just(Event::Busy),
        ];
        prop::collection::vec(event, 1..60)
    }

    /// A manager that keeps seqs, and the agent's spool.
    #[derive(Default)]
    struct Model {
        run: u64,
        memory: BTreeSet<u64>,
        durable: BTreeSet<u64>,
        spool: BTreeSet<u64>,
        late: BTreeSet<u64>,
        proven: BTreeSet<u32>,
        busy: bool,
        away: bool,
    }

    impl Model {
        fn top(set: &BTreeSet<u64>) -> u64 {
            set.last().copied().unwrap_or(0)
        }

        fn until(&mut self, cycle: &mut Cycle, now: &mut i64, end: i64) {
            while *now < end {
                match cycle.next(BootMs(*now), true) {
                    Next::Measure => cycle.measured(BootMs(*now), Sample::default(), None),
                    Next::Spill => {
                        self.spool.extend(cycle.spill(BootMs(*now)).iter().map(|i| i.seq));
                        cycle.set_backlog(!self.spool.is_empty());
                    }
                    Next::Late => {
                        assert!(!self.away && !self.busy);
                        self.late.append(&mut self.spool);
                        cycle.late_answered();
                        cycle.set_backlog(false);
                    }
                    Next::Report if self.away => cycle.failed(BootMs(*now), Failure::Unreachable, now.unsigned_abs()),
                    Next::Report if self.busy => cycle.failed(BootMs(*now), Failure::Busy { retry_after_ms: 3_000 }, 0),
                    Next::Report => {
                        let report = cycle.report(BootMs(*now), Fingerprint::default());
                        assert!(!report.items.is_empty() && report.items.len() <= wire::MAX_ITEMS);
                        let durable = Model::top(&self.durable);
                        if report.run != Some(self.run) {
                            let accepted = Model::top(&self.memory).max(durable);
                            cycle.answered(&report, BootMs(*now), BootMs(*now), &answer(*now, accepted, durable, self.run));
                            continue;
                        }
                        self.memory.extend(report.items.iter().map(|i| i.seq));
                        self.proven.insert(u32::try_from(*now / SLOT_MS).unwrap());
                        let accepted = Model::top(&self.memory).max(durable);
                        cycle.answered(&report, BootMs(*now), BootMs(*now), &answer(*now, accepted, durable, self.run));
                    }
                    Next::WaitUntil(at) => *now = at.0.min(end),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_measurement_ends_durable_or_late_whatever_the_manager_does(events in events()) {
            let (mut model, mut cycle, mut now) = (Model::default(), cycle(), 1_000);
            for event in events {
                let mut slots = 1;
                match event {
                    Event::Nothing => {}
                    Event::Flush => model.durable.append(&mut model.memory),
                    Event::Crash => {
                        model.memory.clear();
                        model.run += 1;
                    }
                    Event::Away(count) => {
                        model.away = true;
                        slots = i64::from(count);
                    }
                    Event::Busy => model.busy = true,
                }
                let end = (now / SLOT_MS + slots) * SLOT_MS;
                let slot = u32::try_from(now / SLOT_MS).unwrap();
                model.until(&mut cycle, &mut now, end);
                let well = !model.away && !model.busy;
                prop_assert!(!well || model.proven.contains(&slot), "a manager that is well gets its report in every slot");
                (model.away, model.busy) = (false, false);
            }
            // Peace: a report each, a flush, and a report that learns of it.
            for _ in 0..3 {
                let end = (now / SLOT_MS + 2) * SLOT_MS;
                model.until(&mut cycle, &mut now, end);
                model.durable.append(&mut model.memory);
            }
            let kept: BTreeSet<u64> = model.durable.union(&model.late).copied().collect();
            let all: BTreeSet<u64> = (1..=cycle.ring.last_seq()).collect();
            prop_assert_eq!(kept, all);
            prop_assert_eq!(cycle.dropped(), 0);
        }
    }
}
