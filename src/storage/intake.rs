//! What has been accepted and is not durable yet. Every query about the present reads through here; a flush hands
//! everything to `hot` in one transaction and only then raises `durable_seq`.
//!
//! The intake decides nothing about the wall clock: `now.trusted` says whether a slot can be named.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hot::{Ack, Anchor, Batch, EncodedSample, PendingSample, Samples, Untimed, UntimedItem, ends_before_network};
use crate::crypto::SecretKey;
use crate::domain::bits::Bitmap;
use crate::domain::chunk::Series;
use crate::domain::evidence::{Beacons, DayReports, Reopening, SlotRow, day_of, is_closed, is_secret, newest_closed};
use crate::domain::ids::{Incarnation, NodeId, NodeIndex};
use crate::domain::metrics::Sample;
use crate::domain::refusal::Refusal;
use crate::domain::threshold::Reading;
use crate::domain::time::{BootMs, MAX_DRIFT_MS, Now, SLOT_MS, Slot, Timestamp};
use crate::domain::wear::Written;
use crate::domain::workload::{WorkloadReport, bounded_capabilities, troubled_since};
use crate::wire::{Item, Report};

/// Bytes of samples that may wait for a flush; beyond it reports are refused with "busy" and the agents keep them.
pub const MAX_PENDING_BYTES: usize = 64 << 20;
/// Bytes of samples that may wait for the clock to be trusted, in memory and on disk: about a week of 20 nodes. Beyond it too.
pub const MAX_UNTIMED_BYTES: usize = 64 << 20;
/// Incarnations of one node that are remembered as over, so that a recorded report of one is refused.
const MAX_RETIRED: usize = 32;
/// Reports of theirs, of one node, whose times are remembered.
const MAX_RETURNED: usize = 8;
/// Oldest sample an agent may send without a witness, in milliseconds.
const MAX_AGE_MS: u64 = 3 * 86_400_000;
/// Silence says something about a node only after the manager has listened this long.
const SILENCE_KNOWN_AFTER_MS: i64 = 300_000;

/// Why a report was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    Refused(Refusal),
    /// Too much waits for the disk.
    Busy,
}

/// What the answer to a report says, and what to tell the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    pub accepted_seq: u64,
    pub durable_seq: u64,
    /// Of the day, with this report.
    pub reports: DayReports,
    /// The same, as far as it is durable: what the node may hold the manager to.
    pub durable_reports: DayReports,
    /// Of the last day that is over for the node, once all of it is durable.
    pub last_day: Option<DayReports>,
    /// Heard for the first time; a repeat, or a report to a stale run, is not.
    pub is_new: bool,
    /// Slot in which the report proved the node; absent without trust, on a repeat, or with a stale run.
    pub proved: Option<Slot>,
}

/// The newest sample of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    pub at: Timestamp,
    pub sample: Sample,
}

/// What a node last said of its workload, and what it can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    pub at: Timestamp,
    pub report: WorkloadReport,
    pub capabilities: Vec<String>,
    /// Since when it fails again and again.
    pub troubled_since: Option<Timestamp>,
}

/// The metrics of the newest sample of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestReading {
    pub at: Timestamp,
    pub reading: Reading,
}

#[derive(Debug, Default)]
struct Seat {
    incarnation: Option<Incarnation>,
    accepted_seq: u64,
    durable_seq: u64,
    reports: DayReports,
    durable_reports: DayReports,
    last_day: Option<DayReports>,
    /// With the highest seq that was heard of each.
    retired: VecDeque<(Incarnation, u64)>,
    /// When an incarnation that was over sent something new: a second machine with the same key does.
    returned: VecDeque<Timestamp>,
    last_report: Option<Timestamp>,
    latest: Option<Latest>,
    /// Shared with who reads: it is replaced as a whole.
    workload: Option<Arc<Workload>>,
    /// Of the last request for commands of this incarnation.
    asked_number: u64,
    /// Changed since the last flush.
    dirty: bool,
}

#[derive(Debug, Default)]
struct OpenSlot {
    row: SlotRow,
    /// The manager has been up, trusted and connected since the slot's first moment.
    present: bool,
    /// Over, and the silent ones are recorded as observed.
    decided: bool,
    dirty: bool,
}

#[derive(Debug, Default)]
struct State {
    seats: Vec<Seat>,
    current: Option<Slot>,
    /// The last look at the clock, while it was trusted.
    looked: Option<(Timestamp, BootMs)>,
    listening_since: Option<Timestamp>,
    slots: BTreeMap<Slot, OpenSlot>,
    samples: Samples,
    /// Handed to a flush that has not committed yet; still part of every answer.
    flushing: Samples,
    pending_bytes: usize,
    /// Of days that ended for their nodes since the last flush.
    day_reports: Vec<(NodeIndex, DayReports)>,
    untimed: Vec<UntimedItem>,
    /// Bytes of untimed reports, in memory and in the store.
    untimed_bytes: usize,
    dropped: u64,
}

/// Shared by the report route, the queries and the flush.
pub struct Intake {
    state: Mutex<State>,
    beacons: Beacons,
    /// Random per process: recorded reports of an earlier run prove nothing.
    pub run: u64,
    boot_id: String,
    started: BootMs,
    /// Newest slot of which everything was durable when this process started; none in a new store.
    durable_through: Option<Slot>,
}

/// What the store knew when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    pub acks: Vec<(NodeIndex, Ack)>,
    /// Of each node the last day that is over for it.
    pub last_days: BTreeMap<NodeIndex, DayReports>,
    pub last_proven: BTreeMap<NodeIndex, Slot>,
    pub flushed_at: Timestamp,
    pub untimed_bytes: usize,
}

impl Intake {
    /// `now` is the time of the start: slots after the last flush are open for witnesses until 90 s after it. The boot clock counts those, because
    /// the wall clock of a start may be years off.
    pub fn new(beacons: Beacons, run: u64, boot_id: String, recovered: Recovered, now: Now) -> Intake {
        let mut state = State { untimed_bytes: recovered.untimed_bytes, ..State::default() };
        for (node, ack) in recovered.acks {
            let seat = seat(&mut state.seats, node);
            seat.incarnation = Some(ack.incarnation);
            (seat.accepted_seq, seat.durable_seq) = (ack.seq, ack.seq);
            (seat.reports, seat.durable_reports) = (ack.reports, ack.reports);
        }
        for (node, reports) in recovered.last_days {
            seat(&mut state.seats, node).last_day = Some(reports);
        }
        for (node, slot) in recovered.last_proven {
            seat(&mut state.seats, node).last_report = Some(slot.start());
        }
        let durable_through = (recovered.flushed_at > Timestamp(0)).then(|| recovered.flushed_at.slot().minus(1));
        Intake { state: Mutex::new(state), beacons, run, boot_id, started: now.boot, durable_through }
    }

    /// What the start of this process reopened, by the wall clock that is believed now.
    fn reopening(&self, now: Now) -> Option<Reopening> {
        let started_at = now.wall.plus_ms(self.started.0 - now.boot.0);
        self.durable_through.map(|slot| Reopening::new(slot, started_at))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beacon of a node for the present slot.
    pub fn beacon(&self, node: &NodeId, slot: Slot) -> String {
        self.beacons.beacon(node, slot)
    }

    /// What the beacons of a day were made with: only for a day whose slots are all closed for good.
    pub fn day_key(&self, day: u32) -> SecretKey {
        self.beacons.day_key(day)
    }

    /// Follows the clock; call it at least once per slot. `link_up` is the manager's own evidence that it can hear.
    pub fn tick(&self, now: Now, link_up: bool) {
        let mut state = self.state();
        let good = now.trusted && link_up;
        if !good {
            state.listening_since = None;
        }
        if !now.trusted {
            state.looked = None;
            if let Some(open) = state.current.take().and_then(|slot| state.slots.get_mut(&slot)) {
                open.present = false;
            }
            return;
        }
        let slot = now.wall.slot();
        // A clock that was stepped and is believed all the same left out moments of the slot it left, and of the one it came to.
        let step_ms = state.looked.replace((now.wall, now.boot)).map(|(wall, boot)| now.wall.since(wall) - (now.boot.0 - boot.0));
        let stepped = step_ms.is_some_and(|ms| ms.abs() > MAX_DRIFT_MS);
        if state.current == Some(slot) {
            if (!good || stepped)
                && let Some(open) = state.slots.get_mut(&slot)
            {
                open.present = false;
            }
            return;
        }
        let seamless = !stepped && state.current.is_some_and(|previous| previous.plus(1) == slot);
        if !seamless {
            // Nobody watched the end of the slot before.
            if let Some(open) = state.current.and_then(|previous| state.slots.get_mut(&previous)) {
                open.present = false;
            }
            state.listening_since = None;
        }
        if good && state.listening_since.is_none() {
            state.listening_since = Some(now.wall);
        }
        state.slots.entry(slot).or_default().present = good && seamless;
        state.current = Some(slot);
    }

    /// Whether this process could hear from the first to the last moment of `slot`; None while it is not over, as the last `tick` saw it. Forgotten by a flush
    /// after the slot has closed.
    pub fn watched(&self, slot: Slot) -> Option<bool> {
        let state = self.state();
        let is_over = state.current.is_some_and(|current| slot < current);
        is_over.then(|| state.slots.get(&slot).is_some_and(|open| open.present))
    }

    /// Takes a report whose signature has been checked. `wanted` says in which slots the node was to be at work: only then they are proven.
    pub fn accept(
        &self,
        node: NodeIndex,
        id: &NodeId,
        report: &Report,
        body_hash: &[u8; 32],
        wanted: &impl Fn(Slot) -> bool,
        now: Now,
    ) -> Result<Accepted, NotTaken> {
        let mut guard = self.state();
        let state = &mut *guard;
        let seat = seat(&mut state.seats, node);
        if seat.incarnation != Some(report.incarnation) {
            if let Some((_, heard)) = seat.retired.iter_mut().find(|(over, _)| *over == report.incarnation) {
                // A recorded report is nothing new.
                if now.trusted && report.run == Some(self.run) && report.seq > *heard {
                    *heard = report.seq;
                    seat.returned.push_back(now.wall);
                    if seat.returned.len() > MAX_RETURNED {
                        seat.returned.pop_front();
                    }
                }
                return Err(NotTaken::Refused(Refusal::ReportReplayed));
            }
            // An incarnation takes its seat with its first report of this run; a recorded one of an older run cannot.
            if report.run != Some(self.run) {
                let Seat { reports, durable_reports, last_day, .. } = *seat;
                return Ok(Accepted { accepted_seq: 0, durable_seq: 0, reports, durable_reports, last_day, is_new: false, proved: None });
            }
            if let Some(over) = seat.incarnation.replace(report.incarnation) {
                seat.retired.push_back((over, seat.accepted_seq));
                if seat.retired.len() > MAX_RETIRED {
                    seat.retired.pop_front();
                }
            }
            (seat.accepted_seq, seat.durable_seq, seat.asked_number) = (0, 0, 0);
        }
        let answer = |seat: &Seat, is_new, proved| {
            let Seat { accepted_seq, durable_seq, reports, durable_reports, last_day, .. } = *seat;
            Accepted { accepted_seq, durable_seq, reports, durable_reports, last_day, is_new, proved }
        };
        if report.run != Some(self.run) || report.seq == seat.accepted_seq {
            return Ok(answer(seat, false, None));
        }
        if report.seq < seat.accepted_seq {
            return Err(NotTaken::Refused(Refusal::ReportReplayed));
        }
        if state.pending_bytes > MAX_PENDING_BYTES || (!now.trusted && state.untimed_bytes > MAX_UNTIMED_BYTES) {
            // A manager that takes no report cannot say who was silent: nobody loses a slot by its full disk.
            if let Some(open) = state.current.and_then(|slot| state.slots.get_mut(&slot)) {
                open.present = false;
            }
            return Err(NotTaken::Busy);
        }
        let already = seat.accepted_seq;
        seat.accepted_seq = report.seq;
        // What has no time yet is of no day; it is not acknowledged as durable either.
        if now.trusted {
            let reports = seat.reports.after(day_of(now.wall.slot()), body_hash);
            if seat.reports.day != reports.day && seat.reports.count > 0 {
                state.day_reports.push((node, seat.reports));
            }
            seat.reports = reports;
        }
        seat.dirty = true;
        seat.last_report = Some(now.wall);
        if let Some(newest) = report.items.last() {
            seat.latest = Some(Latest { at: now.wall.plus_ms(-age_ms(newest)), sample: newest.sample.clone() });
        }
        let before = seat.workload.as_ref().and_then(|known| known.troubled_since);
        seat.workload = report.workload.clone().map(|workload| {
            let (report, capabilities) = (workload.bounded(), bounded_capabilities(report.capabilities.clone()));
            let troubled_since = troubled_since(before, &report, now.wall);
            Arc::new(Workload { at: now.wall, report, capabilities, troubled_since })
        });
        let at_work = |item: &Item, slot| item.running != Some(false) && wanted(slot);
        let works_now = report.workload.as_ref().is_none_or(WorkloadReport::is_at_work);
        let proves_now = works_now && report.items.last().is_some_and(|newest| at_work(newest, now.wall.slot()));
        let result = answer(seat, true, (now.trusted && proves_now).then(|| now.wall.slot()));
        for item in report.items.iter().filter(|item| item.seq > already) {
            let live = item.seq == report.seq;
            self.place(state, (node, id), item, live, &|slot| if live { proves_now } else { at_work(item, slot) }, now);
        }
        Ok(result)
    }

    /// What a supervisor says between two reports. Only the incarnation whose reports are taken is believed, and each request once.
    pub fn tell(&self, node: NodeIndex, incarnation: Incarnation, number: u64, report: &WorkloadReport, now: Now) -> Result<(), NotTaken> {
        let mut state = self.state();
        let seat = seat(&mut state.seats, node);
        if seat.incarnation != Some(incarnation) || number <= seat.asked_number {
            return Err(NotTaken::Refused(Refusal::ReportReplayed));
        }
        seat.asked_number = number;
        let known = seat.workload.as_ref().map(|known| (known.capabilities.clone(), known.troubled_since));
        let (capabilities, before) = known.unwrap_or_default();
        let troubled_since = troubled_since(before, report, now.wall);
        seat.workload = Some(Arc::new(Workload { at: now.wall, report: report.clone().bounded(), capabilities, troubled_since }));
        Ok(())
    }

    /// What the node last said of its workload; none before its first report to this process, and of agents without a supervisor.
    pub fn workload(&self, node: NodeIndex) -> Option<Arc<Workload>> {
        self.state().seats.get(node.position()).and_then(|seat| seat.workload.clone())
    }

    /// The same of every node index that is known.
    pub fn workloads(&self) -> Vec<Option<Arc<Workload>>> {
        self.state().seats.iter().map(|seat| seat.workload.clone()).collect()
    }

    /// Gives one item its slot: the present one when it is the live item, its witness's, or the one it was measured in.
    fn place(
        &self,
        state: &mut State,
        (node, id): (NodeIndex, &NodeId),
        item: &Item,
        live: bool,
        at_work: &impl Fn(Slot) -> bool,
        now: Now,
    ) {
        let encoded = EncodedSample::new(&item.sample);
        let witnessed = item.witness.as_ref().filter(|w| self.beacons.verify_witness(id, w.slot, &w.beacon)).map(|w| w.slot);
        if !now.trusted {
            let at = if live { now.boot } else { BootMs(now.boot.0 - age_ms(item)) };
            let witness = witnessed.filter(|slot| !live && at_work(*slot)).map(|slot| (slot, now.boot));
            state.untimed_bytes += encoded.len();
            let proves = live && at_work(now.wall.slot());
            return state.untimed.push(UntimedItem { node, at, proves, witness, sample: encoded });
        }
        let (slot, proves) = match (live, witnessed) {
            (true, _) => (now.wall.slot(), at_work(now.wall.slot())),
            (false, Some(slot)) => {
                let is_open = !is_closed(slot, self.reopening(now), now.wall) && is_secret(slot, now.wall);
                (slot, slot <= now.wall.slot() && at_work(slot) && is_open)
            }
            (false, None) => {
                let measured = now.wall.plus_ms(-age_ms(item)).slot();
                // What proved nothing has no beacon, but it was given a slot all the same; its age may round into the one beside it, where another sample is.
                let told =
                    item.witness.as_ref().map(|w| w.slot).filter(|slot| *slot <= now.wall.slot() && slot.0.abs_diff(measured.0) <= 1);
                (told.unwrap_or(measured), false)
            }
        };
        if slot > now.wall.slot() || item.age_ms > MAX_AGE_MS {
            state.dropped += 1;
            return;
        }
        let open = state.slots.entry(slot).or_default();
        let is_first = if proves { open.row.prove(node) } else { open.row.attest(node) };
        if is_first {
            open.dirty = true;
            let pending = PendingSample { late: !proves && !live, encoded };
            match state.samples.entry(slot).or_default().entry(node) {
                Entry::Vacant(place) => {
                    state.pending_bytes += pending.encoded.len();
                    place.insert(pending);
                }
                // The report that proves a slot says what it is worth, whatever was told of it before.
                Entry::Occupied(mut told) if told.get().late && proves => {
                    state.pending_bytes += pending.encoded.len();
                    state.pending_bytes -= told.insert(pending).encoded.len();
                }
                Entry::Occupied(_) => {}
            }
        }
    }

    /// Takes everything that is to become durable. Call `committed` or `failed` afterwards; one flush at a time.
    pub fn start_flush(&self, now: Now, anchor_ms: Option<i64>, in_service: impl Fn(Slot) -> Bitmap) -> Batch {
        let mut guard = self.state();
        let state = &mut *guard;
        for (slot, open) in &mut state.slots {
            if !open.decided && state.current.is_some_and(|current| *slot < current) {
                if open.present {
                    open.row.observe(&in_service(*slot));
                }
                open.decided = true;
                open.dirty = true;
            }
        }
        state.flushing = std::mem::take(&mut state.samples);
        let untimed = std::mem::take(&mut state.untimed);
        let mut evidence = Vec::new();
        for (slot, open) in &mut state.slots {
            if std::mem::take(&mut open.dirty) {
                evidence.push((*slot, open.row.clone()));
            }
        }
        let mut acks = Vec::new();
        // Before trust nothing has its slot: the agents keep what they sent, and a power cut then loses nothing.
        for (index, seat) in (0u32..).zip(&mut state.seats).filter(|_| now.trusted) {
            if std::mem::take(&mut seat.dirty)
                && let Some(incarnation) = seat.incarnation
            {
                acks.push((NodeIndex(index), Ack { incarnation, seq: seat.accepted_seq, reports: seat.reports }));
            }
        }
        let trust = anchor_ms.filter(|_| now.trusted);
        Batch {
            samples: state.flushing.clone(),
            evidence,
            acks,
            // With the acknowledgements: one that survived alone would begin the day after it a second time.
            day_reports: if now.trusted { std::mem::take(&mut state.day_reports) } else { Vec::new() },
            untimed: (!untimed.is_empty()).then(|| Untimed { boot_id: self.boot_id.clone(), items: untimed }),
            places_untimed: trust.is_some() && state.untimed_bytes > 0,
            resting: Vec::new(),
            reopening: self.reopening(now),
            trust: trust.map(|wall_minus_boot_ms| Anchor { boot_id: self.boot_id.clone(), wall_minus_boot_ms }),
            flushed_at: now.trusted.then_some(now.wall),
            written: Written::default(),
            is_thinned: false,
        }
    }

    /// The batch is on the disk: what it acknowledged may be forgotten by the agents.
    pub fn committed(&self, batch: &Batch, now: Now) {
        let mut guard = self.state();
        let state = &mut *guard;
        for (node, ack) in &batch.acks {
            let seat = seat(&mut state.seats, *node);
            if seat.incarnation == Some(ack.incarnation) {
                seat.durable_seq = seat.durable_seq.max(ack.seq);
                seat.durable_reports = ack.reports;
            }
        }
        for (node, reports) in &batch.day_reports {
            seat(&mut state.seats, *node).last_day = Some(*reports);
        }
        let bytes: usize = batch.samples.values().flat_map(BTreeMap::values).map(|p| p.encoded.len()).sum();
        state.pending_bytes = state.pending_bytes.saturating_sub(bytes);
        state.flushing.clear();
        if batch.places_untimed {
            state.untimed_bytes = state.untimed.iter().map(|item| item.sample.len()).sum();
        }
        let reopening = self.reopening(now);
        // What is over, closed and written is the store's alone.
        if let Some(current) = state.current {
            state.slots.retain(|slot, open| open.dirty || *slot >= current || !is_closed(*slot, reopening, now.wall));
        }
    }

    /// The batch did not reach the disk: everything waits for the next one.
    pub fn failed(&self, batch: Batch) {
        let mut guard = self.state();
        let state = &mut *guard;
        for (slot, samples) in std::mem::take(&mut state.flushing) {
            let waiting = state.samples.entry(slot).or_default();
            for (node, sample) in samples {
                waiting.insert(node, sample);
            }
        }
        for (slot, row) in &batch.evidence {
            let open = state.slots.entry(*slot).or_default();
            open.row.merge(row);
            open.dirty = true;
        }
        for (node, _) in &batch.acks {
            seat(&mut state.seats, *node).dirty = true;
        }
        state.day_reports.splice(0..0, batch.day_reports);
        if let Some(untimed) = batch.untimed {
            state.untimed.splice(0..0, untimed.items);
        }
    }

    /// Every slot up to this one is closed; none while the clock is not trusted. Never ahead of the last `tick`: whether a slot was watched is known then.
    pub fn closed_through(&self, now: Now) -> Option<Slot> {
        let closed = newest_closed(self.reopening(now), now.wall).filter(|_| now.trusted)?;
        let Some(current) = self.state().current else { return Some(closed) };
        Some(closed.min(newest_closed(None, current.start())?))
    }

    /// Whether the node has proven `slot`, as far as this process knows.
    pub fn has_proven(&self, node: NodeIndex, slot: Slot) -> bool {
        self.state().slots.get(&slot).is_some_and(|open| open.row.proven.get(node))
    }

    /// Whether a slot's evidence can still change.
    pub fn is_open(&self, slot: Slot, now: Now) -> bool {
        !is_closed(slot, self.reopening(now), now.wall)
    }

    pub fn latest(&self, node: NodeIndex) -> Option<Latest> {
        self.state().seats.get(node.position()).and_then(|seat| seat.latest.clone())
    }

    /// For each node whose incarnations came back after they were over: when, the last `MAX_RETURNED` times.
    pub fn returns(&self) -> Vec<(NodeIndex, Vec<Timestamp>)> {
        let state = self.state();
        let seats = (0u32..).zip(&state.seats).filter(|(_, seat)| !seat.returned.is_empty());
        seats.map(|(index, seat)| (NodeIndex(index), seat.returned.iter().copied().collect())).collect()
    }

    /// What `f` makes of the newest sample of a node, without cloning it.
    pub fn latest_with<R>(&self, node: NodeIndex, f: impl FnOnce(&Latest) -> R) -> Option<R> {
        self.state().seats.get(node.position()).and_then(|seat| seat.latest.as_ref()).map(f)
    }

    /// For each node index: what its newest sample says of thresholds, without cloning samples.
    pub fn latest_readings(&self) -> Vec<Option<LatestReading>> {
        let reading = |latest: &Latest| LatestReading { at: latest.at, reading: Reading::of(&latest.sample) };
        self.state().seats.iter().map(|seat| seat.latest.as_ref().map(reading)).collect()
    }

    pub fn last_report(&self, node: NodeIndex) -> Option<Timestamp> {
        self.state().seats.get(node.position()).and_then(|seat| seat.last_report)
    }

    /// For each node index: when it was last heard, without cloning samples.
    pub fn last_reports(&self) -> Vec<Option<Timestamp>> {
        self.state().seats.iter().map(|seat| seat.last_report).collect()
    }

    /// The slot that goes on now; none before the clock was trusted.
    pub fn present_slot(&self) -> Option<Slot> {
        self.state().current
    }

    /// False while the manager has not listened long enough to take silence for an answer.
    pub fn silence_known(&self, now: Now) -> bool {
        self.state().listening_since.is_some_and(|since| now.wall.since(since) >= SILENCE_KNOWN_AFTER_MS)
    }

    /// Evidence rows that are in memory: newer than, or not yet part of, the store's.
    pub fn open_rows(&self, from: Slot, until: Slot) -> Vec<(Slot, SlotRow)> {
        self.state().slots.range(from..until).map(|(slot, open)| (*slot, open.row.clone())).collect()
    }

    /// Samples of one node that are not durable yet, in slot order, with the columns that are wanted.
    pub fn pending(&self, node: NodeIndex, from: Slot, until: Slot, is_wanted: impl Fn(u16) -> bool) -> Series {
        let is_short = ends_before_network(&is_wanted);
        let state = self.state();
        let mut found = BTreeMap::new();
        for samples in [&state.samples, &state.flushing] {
            let of_node = samples.range(from..until).filter_map(|(slot, of_slot)| Some((*slot, of_slot.get(&node)?)));
            found.extend(of_node);
        }
        let mut series = Series::default();
        for (slot, pending) in found {
            let encoded = &pending.encoded;
            let sample = if is_short { encoded.quantised_before_network() } else { encoded.quantised() };
            let Some(sample) = sample else { continue };
            let mut row = sample.row(|name| series.columns.name(name));
            row.retain(|(column, _)| is_wanted(*column));
            series.columns.push(series.slots.len(), &row);
            series.slots.push(slot);
            series.late.push(pending.late);
        }
        series.columns.finish(series.slots.len());
        series
    }

    /// Readings of some nodes that are not durable yet; `nodes` ascending.
    pub fn pending_readings(&self, nodes: &[NodeIndex], from: Slot, until: Slot) -> Vec<(Slot, NodeIndex, Reading)> {
        let state = self.state();
        let mut found = Vec::new();
        for samples in [&state.samples, &state.flushing] {
            for (slot, of_slot) in samples.range(from..until) {
                let wanted = of_slot.iter().filter(|(node, _)| nodes.binary_search(node).is_ok());
                found.extend(wanted.filter_map(|(node, pending)| Some((*slot, *node, Reading::of(&pending.encoded.decode()?)))));
            }
        }
        found
    }

    /// Bytes waiting for a flush, and items that were dropped as impossible.
    pub fn pressure(&self) -> (usize, u64) {
        let state = self.state();
        (state.pending_bytes, state.dropped)
    }
}

fn seat(seats: &mut Vec<Seat>, node: NodeIndex) -> &mut Seat {
    let position = node.position();
    if position >= seats.len() {
        seats.resize_with(position + 1, Seat::default);
    }
    &mut seats[position]
}

fn age_ms(item: &Item) -> i64 {
    i64::try_from(item.age_ms).unwrap_or(i64::MAX)
}

/// Milliseconds since the present slot began.
pub fn slot_offset_ms(now: Now) -> u64 {
    u64::try_from(now.wall.0.rem_euclid(SLOT_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use crate::wire::{PROTOCOL, Witness};

    const N: NodeIndex = NodeIndex(0);
    const START: Slot = Slot(59_000_000);

    fn id() -> NodeId {
        NodeId::parse("node_abc").unwrap()
    }

    fn at(slot: Slot, ms: i64) -> Now {
        let wall = slot.start().plus_ms(ms);
        Now { wall, boot: BootMs(wall.0 - START.start().0 + 1_000_000), trusted: true }
    }

    fn intake(run: u64, recovered: Recovered, now: Now) -> Intake {
        Intake::new(Beacons::new(SecretKey([1; 32])), run, "boot".into(), recovered, now)
    }

    fn report(run: u64, seqs: &[(u64, u64, Option<Witness>)]) -> Report {
        let items: Vec<Item> = seqs
            .iter()
            .map(|(seq, age_ms, witness)| Item {
                seq: *seq,
                age_ms: *age_ms,
                witness: witness.clone(),
                running: None,
                sample: Sample::default(),
            })
            .collect();
        Report {
            protocol: PROTOCOL,
            incarnation: Incarnation(7),
            seq: seqs.last().unwrap().0,
            run: Some(run),
            items,
            fingerprint: Default::default(),
            agent_version: String::new(),
            dropped: 0,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        }
    }

    fn all(_: Slot) -> Bitmap {
        [N, NodeIndex(1)].into_iter().collect()
    }

    fn send(intake: &Intake, r: &Report, now: Now) -> Result<Accepted, NotTaken> {
        intake.accept(N, &id(), r, &[0; 32], &|_| true, now)
    }

    #[test]
    fn a_report_proves_its_slot_once_and_a_repeat_is_answered() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        intake.tick(at(START, 0), true);
        intake.tick(at(START.plus(1), 0), true);
        let r = report(1, &[(1, 0, None)]);
        let first = send(&intake, &r, at(START.plus(1), 5)).unwrap();
        assert_eq!((first.accepted_seq, first.durable_seq, first.proved), (1, 0, Some(START.plus(1))));
        let again = send(&intake, &r, at(START.plus(2), 5)).unwrap();
        assert_eq!((again.accepted_seq, again.is_new, again.proved), (1, false, None), "a repeat proves nothing new");
        send(&intake, &report(1, &[(2, 0, None)]), at(START.plus(2), 6)).unwrap();
        assert_eq!(send(&intake, &r, at(START.plus(2), 7)), Err(NotTaken::Refused(Refusal::ReportReplayed)));
    }

    #[test]
    fn silence_is_observed_only_in_slots_watched_from_first_to_last_moment() {
        let intake = intake(1, Recovered::default(), at(START, 10_000));
        for slot in 0..4 {
            intake.tick(at(START.plus(slot), 10_000), slot != 3);
        }
        intake.tick(at(START.plus(6), 0), true);
        let watched: Vec<_> = (0..8).map(|slot| intake.watched(START.plus(slot))).collect();
        assert_eq!(watched[..6], [false, true, true, false, false, false].map(Some));
        assert_eq!(watched[6..], [None, None], "not over");
        let batch = intake.start_flush(at(START.plus(6), 1), None, all);
        let observed: Vec<_> = batch.evidence.iter().map(|(s, row)| (s.0 - START.0, row.observed.count())).collect();
        assert_eq!(observed, [(0, 0), (1, 2), (2, 2), (3, 0)], "the start's slot, and the one with a dead link, do not count");
    }

    #[test]
    fn a_step_of_a_clock_that_is_believed_leaves_slots_without_a_witness() {
        for step_ms in [4_000, 40_000] {
            let intake = intake(1, Recovered::default(), at(START, 0));
            // The boot clock knows nothing of the step.
            let now = |slot: u32, ms: i64, stepped: i64| {
                let unstepped = at(START.plus(slot), ms);
                Now { wall: unstepped.wall.plus_ms(stepped), ..unstepped }
            };
            for slot in 0..3 {
                intake.tick(now(slot, 0, 0), true);
            }
            // In the midst of slot 2, by 4 s or into slot 3; then the slots go on.
            intake.tick(now(2, 11_000, step_ms), true);
            let rest = 30_000 - (11_000 + step_ms).rem_euclid(30_000);
            let following = [0, 30_000, 60_000].map(|more| now(2, 11_000 + rest + more, step_ms));
            following.iter().for_each(|now| intake.tick(*now, true));
            let batch = intake.start_flush(following[2], None, all);
            let observed: Vec<u32> =
                batch.evidence.iter().filter(|(_, row)| row.observed.count() > 0).map(|(s, _)| s.0 - START.0).collect();
            let expected: &[u32] = if step_ms < 5_000 { &[1, 2, 3, 4] } else { &[1, 4, 5] };
            assert_eq!(observed, expected, "a step of {step_ms} ms");
        }
    }

    #[test]
    fn what_proved_nothing_stays_in_the_slot_that_it_was_given() {
        let told = |slot: u32| Some(Witness { slot: START.plus(slot), beacon: String::new() });
        // Measured 100 ms before slot 4, given slot 4; a slot that its age knows nothing of is not believed.
        for (given, expected) in [(None, 3), (told(4), 4), (told(3), 3), (told(5), 3), (told(1), 3)] {
            let intake = intake(2, Recovered::default(), at(START, 0));
            let now = at(START.plus(6), 0);
            intake.tick(now, true);
            send(&intake, &report(2, &[(1, 60_100, given.clone()), (2, 0, None)]), now).unwrap();
            let slots: Vec<u32> = intake.state().samples.keys().map(|slot| slot.0 - START.0).collect();
            assert_eq!(slots, [expected, 6], "{given:?}");
            assert!(!intake.has_proven(N, START.plus(expected)));
        }
    }

    #[test]
    fn slots_in_which_no_report_was_taken_count_against_nobody() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        (0..2).for_each(|slot| intake.tick(at(START.plus(slot), 0), true));
        send(&intake, &report(1, &[(1, 0, None)]), at(START.plus(1), 1)).unwrap();
        intake.tick(at(START.plus(2), 0), true);
        let before = std::mem::replace(&mut intake.state().pending_bytes, MAX_PENDING_BYTES + 1);
        assert_eq!(send(&intake, &report(1, &[(2, 0, None)]), at(START.plus(2), 1)), Err(NotTaken::Busy));
        intake.tick(at(START.plus(2), 20_000), true);
        intake.state().pending_bytes = before;
        intake.tick(at(START.plus(3), 0), true);
        send(&intake, &report(1, &[(2, 30_000, None), (3, 0, None)]), at(START.plus(3), 1)).unwrap();
        intake.tick(at(START.plus(4), 0), true);
        let batch = intake.start_flush(at(START.plus(4), 1), None, all);
        let observed: Vec<_> = batch.evidence.iter().map(|(s, row)| (s.0 - START.0, row.observed.count())).collect();
        assert_eq!(observed[1..], [(1, 2), (2, 0), (3, 2)]);
    }

    #[test]
    fn durable_follows_the_commit_and_survives_its_failure() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        intake.tick(at(START, 0), true);
        send(&intake, &report(1, &[(1, 0, None)]), at(START, 1)).unwrap();
        let batch = intake.start_flush(at(START, 2), None, all);
        assert_eq!(intake.pending(N, START, START.plus(1), |_| true).slots.len(), 1, "still visible while it is written");
        send(&intake, &report(1, &[(1, 0, None), (2, 0, None)]), at(START, 3)).unwrap();
        intake.failed(batch);
        let batch = intake.start_flush(at(START, 4), None, all);
        assert_eq!(batch.acks[0].1.seq, 2);
        assert_eq!(batch.samples[&START].len(), 1);
        intake.committed(&batch, at(START, 5));
        let answer = send(&intake, &report(1, &[(2, 0, None)]), at(START, 6)).unwrap();
        assert_eq!(answer.durable_seq, 2);
        assert_eq!(intake.pressure(), (0, 0));
    }

    #[test]
    fn after_a_crash_the_witness_proves_until_90_s_after_the_start() {
        let before = intake(1, Recovered::default(), at(START, 0));
        let witness = |slot| Some(Witness { slot, beacon: before.beacon(&id(), slot) });
        let recovered = || Recovered { flushed_at: START.start(), ..Recovered::default() };
        // After days anybody may have the day's key.
        for (slots_later, proves) in [(3u32, true), (1000, true), (11_520, false)] {
            let started = at(START.plus(slots_later), 0);
            let after = intake(2, recovered(), started);
            after.tick(started, true);
            let stale = send(&after, &report(1, &[(1, 0, None)]), started).unwrap();
            assert_eq!((stale.accepted_seq, stale.proved), (0, None), "the run of the crashed process proves nothing");
            send(&after, &report(2, &[(1, 60_000, witness(START.plus(1))), (2, 0, None)]), started).unwrap();
            let rows = after.open_rows(START, START.plus(5));
            assert_eq!(rows.iter().any(|(s, row)| *s == START.plus(1) && row.proven.get(N)), proves);
        }
        // A start whose wall clock is years off reopens all the same: the boot clock counts.
        let wrong = Now { wall: Timestamp(5), trusted: false, ..at(START.plus(3), 0) };
        let after = intake(2, recovered(), wrong);
        let corrected = at(START.plus(3), 60_000);
        after.tick(corrected, true);
        send(&after, &report(2, &[(1, 60_000, witness(START.plus(1))), (2, 0, None)]), corrected).unwrap();
        assert!(after.open_rows(START.plus(1), START.plus(2))[0].1.proven.get(N));
        let late = at(START.plus(1000), 91_000);
        let after = intake(2, recovered(), at(START.plus(1000), 0));
        after.tick(late, true);
        send(&after, &report(2, &[(1, 60_000, witness(START.plus(1))), (2, 0, None)]), late).unwrap();
        let rows = after.open_rows(START.plus(1), START.plus(2));
        assert!(rows[0].1.attested.get(N) && !rows[0].1.proven.get(N), "too late: attested, not proven");
    }

    #[test]
    fn a_forged_or_missing_witness_attests_only() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        intake.tick(at(START.plus(2), 0), true);
        let forged = Some(Witness { slot: START.plus(1), beacon: "00".repeat(16) });
        send(&intake, &report(1, &[(1, 31_000, forged), (2, 0, None)]), at(START.plus(2), 1_000)).unwrap();
        let rows = intake.open_rows(START.plus(1), START.plus(2));
        assert!(rows[0].1.attested.get(N) && !rows[0].1.proven.get(N));
    }

    #[test]
    fn an_older_incarnation_cannot_come_back() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        let old = report(1, &[(1, 0, None)]);
        send(&intake, &old, at(START, 0)).unwrap();
        let newer = Report { incarnation: Incarnation(8), ..report(1, &[(1, 0, None)]) };
        assert_eq!(send(&intake, &newer, at(START.plus(1), 0)).unwrap().proved, Some(START.plus(1)));
        assert_eq!(send(&intake, &old, at(START.plus(2), 0)), Err(NotTaken::Refused(Refusal::ReportReplayed)));
    }

    #[test]
    fn without_trust_reports_wait_for_their_slot() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        let lost = |ms| Now { trusted: false, ..at(Slot(100), ms) };
        intake.tick(lost(0), true);
        let untrusted = send(&intake, &report(1, &[(1, 0, None)]), lost(1)).unwrap();
        assert_eq!((untrusted.is_new, untrusted.proved), (true, None));
        assert_eq!(intake.closed_through(lost(2)), None);
        let batch = intake.start_flush(lost(3), None, all);
        assert_eq!((batch.untimed.as_ref().unwrap().items.len(), batch.flushed_at), (1, None));
        assert!(batch.acks.is_empty(), "what has no slot yet is not acknowledged: a power cut would lose it");
        intake.committed(&batch, lost(4));
        let placed = intake.start_flush(at(START, 0), Some(12_345), all);
        assert!(placed.places_untimed && placed.acks.len() == 1);
        assert_eq!(placed.trust.as_ref().unwrap().wall_minus_boot_ms, 12_345);
    }

    #[test]
    fn silence_is_known_after_five_minutes_of_listening() {
        let intake = intake(1, Recovered::default(), at(START, 0));
        for slot in 0..=11u32 {
            let now = at(START.plus(slot), 0);
            intake.tick(now, true);
            assert_eq!(intake.silence_known(now), slot >= 10, "slot {slot}");
        }
        intake.tick(at(START.plus(12), 0), false);
        assert!(!intake.silence_known(at(START.plus(12), 0)));
    }
}
