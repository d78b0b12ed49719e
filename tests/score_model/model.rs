//! What the documents say of slots, scores and credits (design 4 and 6, `data/proof-format.md`), done slowly: facts in a list, coverage in
//! milliseconds, exact fractions. It is told what happened in the world and nothing that the manager says, but for challenges, which nobody foresees.

use std::collections::{BTreeMap, BTreeSet};

use super::fraction::Fraction;

pub const SLOT_MS: i64 = 30_000;
const OPEN_MS: i64 = 90_000;

pub fn slot_at(wall: i64) -> i64 {
    wall.div_euclid(SLOT_MS)
}

fn end_of(slot: i64) -> i64 {
    (slot + 1) * SLOT_MS
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: i64,
    pub boot: i64,
    pub trusted: bool,
}

/// Whether the wall clock is believed: earned by synchronisation, carried by the boot clock, lost beyond five seconds or behind what was committed.
#[derive(Debug, Clone, Copy, Default)]
struct Trust {
    anchor: Option<i64>,
    committed: i64,
}

impl Trust {
    fn holds(&mut self, wall: i64, boot: i64, synchronised: bool) -> bool {
        if wall < self.committed {
            self.anchor = None;
            return false;
        }
        self.anchor = self.anchor.filter(|anchor| (wall - boot - anchor).abs() <= 5_000);
        if synchronised && self.anchor.is_none() {
            self.anchor = Some(wall - boot);
        }
        self.anchor.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Proven { strained: bool },
    Observed,
    Challenged,
    Answered,
}

#[derive(Debug, Clone, Copy)]
struct Fact {
    node: usize,
    slot: i64,
    kind: Kind,
    durable: bool,
}

/// A measurement that the agent keeps until it is durable.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Slot whose beacon it was given.
    witness: Option<i64>,
    strained: bool,
    /// The run of the manager that took it.
    taken_by: Option<u32>,
}

/// Taken while nobody knew the time.
#[derive(Debug, Clone, Copy)]
struct Untimed {
    node: usize,
    boot: i64,
    witness: Option<i64>,
    strained: bool,
    durable: bool,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    node: usize,
    from: i64,
    until: i64,
}

#[derive(Debug, Clone, Default)]
struct Node {
    enrolled_in: i64,
    held: Vec<Held>,
    /// Slots of growth of its multiplier, before the next epoch.
    grown: i64,
    /// The day whose reports are counted, and how many; the same as it survives a crash.
    reports: (i64, i64),
    durable_reports: (i64, i64),
    /// Days that are over for it.
    days: BTreeMap<i64, i64>,
    durable_days: BTreeMap<i64, i64>,
}

impl Node {
    /// One more report. A clock that was set back over midnight does not begin a day again.
    fn accepted_in(&mut self, day: i64) {
        let (counted, count) = self.reports;
        if count == 0 || (counted != day && counted != day + 1) {
            if count > 0 {
                self.days.insert(counted, count);
            }
            self.reports = (day, 0);
        }
        self.reports.1 += 1;
    }

    /// The last one of these days with reports that survived, and how many.
    fn last_day(&self, days: std::ops::Range<i64>) -> Option<(i64, i64)> {
        let over = self.durable_days.iter().map(|(day, count)| (*day, *count));
        over.chain([self.durable_reports].into_iter().filter(|(_, count)| *count > 0)).filter(|(day, _)| days.contains(day)).max()
    }
}

/// The parameters that a head names.
#[derive(Debug, Clone, Copy)]
pub struct Params {
    pub window: usize,
    pub max_age: i64,
    pub min_observation_seconds: i64,
    pub min_score_hundredths: i128,
    /// Percent of outputs, stability, resources.
    pub weights: [i128; 3],
    pub max_multiplier_hundredths: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Valid,
    Invalid,
}

/// Everything that a proof says of a node in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub proven: i64,
    pub observed: i64,
    /// Proven, observed, interruptions, samples, samples within, challenged, answered: of the window.
    pub inputs: [i64; 7],
    pub outputs_expected: bool,
    pub score_hundredths: i128,
    pub confidence_hundredths: i128,
    pub state: State,
    pub grown: i64,
    pub reward_per_hour: i128,
    pub accrual_pico: i128,
    /// Of the last day before that of the epoch, in its first epoch: the day, and how many reports were accepted in it.
    pub reports: Option<(i64, i64)>,
    /// Of each slot of the window, oldest first: proven, observed, strained, challenged, answered.
    pub window: Vec<[bool; 5]>,
}

#[derive(Debug, Default)]
pub struct Model {
    nodes: Vec<Node>,
    /// Of the last epoch with leaves.
    leaves_of_day: i64,
    facts: Vec<Fact>,
    rests: Vec<Rest>,
    untimed: Vec<Untimed>,
    trust: Trust,
    /// Counts the manager's runs.
    run: u32,
    started_boot: i64,
    /// The slot of the last flush that an earlier run made.
    flushed_before: Option<i64>,
    /// Time of the last flush that knew it, and the anchor then.
    flushed: Option<(i64, i64)>,
    /// Milliseconds of each slot in which this run was there, could hear, and knew the time.
    covered: BTreeMap<i64, i64>,
    /// Slots whose silence was recorded, or found to have had no witness.
    judged: BTreeSet<i64>,
    /// What was closed by its own time when the clock was last known: nobody's later idea of the time opens it again.
    closed_for_good: i64,
    /// By the first slot in which it is in force.
    pub rewards: BTreeMap<i64, i128>,
    pub outputs_expected: BTreeMap<i64, bool>,
}

impl Model {
    pub fn enrol(&mut self, wall: i64) {
        self.nodes.push(Node { enrolled_in: slot_at(wall), ..Node::default() });
    }

    pub fn now(&mut self, wall: i64, boot: i64, synchronised: bool) -> Now {
        Now { wall, boot, trusted: self.trust.holds(wall, boot, synchronised) }
    }

    /// The highest time that was committed: below it no clock is believed.
    pub fn known_until(&self) -> i64 {
        self.trust.committed
    }

    /// The wall clock went on from `wall` for `ms` within one slot; `heard`: the manager was there, its link good, and its clock trusted.
    pub fn passed(&mut self, wall: i64, ms: i64, heard: bool) {
        if heard {
            *self.covered.entry(slot_at(wall)).or_default() += ms;
        }
    }

    /// The wall clock is about to leave the slot from its midst: when it comes back, it is not whole any more.
    pub fn stepped(&mut self, now: Now) {
        if now.trusted {
            *self.covered.entry(slot_at(now.wall)).or_default() -= SLOT_MS;
        }
    }

    /// The manager is gone with what it had in memory, and another one has started at `now`.
    pub fn crashed(&mut self, boot: i64) {
        for node in &mut self.nodes {
            (node.reports, node.days) = (node.durable_reports, node.durable_days.clone());
        }
        self.facts.retain(|fact| fact.durable);
        self.untimed.retain(|item| item.durable);
        self.covered.clear();
        self.trust = Trust { anchor: self.flushed.map(|(_, anchor)| anchor), committed: self.flushed.map_or(0, |(wall, _)| wall) };
        self.run += 1;
        self.started_boot = boot;
        self.flushed_before = self.flushed.map(|(wall, _)| slot_at(wall));
    }

    /// 90 s after its end; what the last run may have lost, not before 90 s after the start of this one.
    fn closes_at(&self, slot: i64, now: Now) -> i64 {
        let started = now.wall - (now.boot - self.started_boot);
        match self.flushed_before {
            Some(flushed) if slot >= flushed => (end_of(slot) + OPEN_MS).max(started + OPEN_MS),
            _ => end_of(slot) + OPEN_MS,
        }
    }

    /// The newest slot that is closed, as all before it.
    pub fn closed_through(&self, now: Now) -> i64 {
        let mut slot = slot_at(now.wall);
        while self.closes_at(slot, now) > now.wall {
            slot -= 1;
        }
        slot
    }

    fn in_service(&self, node: usize, slot: i64) -> bool {
        !self.rests.iter().any(|rest| rest.node == node && (rest.from..rest.until).contains(&slot))
    }

    pub fn rest(&mut self, node: usize, from: i64, until: i64) {
        self.rests.push(Rest { node, from, until });
    }

    /// Planned rest that began before `slot` ends with it; what did not begin is called off.
    pub fn end_rest(&mut self, node: usize, from: i64, slot: i64) {
        for rest in self.rests.iter_mut().filter(|rest| rest.node == node && rest.from == from) {
            rest.until = rest.until.min(slot.max(rest.from));
        }
    }

    pub fn restarted(&mut self, node: usize) {
        self.nodes[node].held.clear();
    }

    pub fn holds(&self, node: usize) -> usize {
        self.nodes[node].held.len()
    }

    /// It measured, and nobody answered.
    pub fn unheard(&mut self, node: usize, strained: bool) {
        self.nodes[node].held.push(Held { witness: None, strained, taken_by: None });
    }

    /// It measured and reported, with all that this run has not taken yet. True when the present slot is proven by it.
    pub fn report(&mut self, node: usize, now: Now, strained: bool) -> bool {
        self.unheard(node, strained);
        let mut held = std::mem::take(&mut self.nodes[node].held);
        let last = held.len() - 1;
        let present = slot_at(now.wall);
        if now.trusted {
            self.nodes[node].accepted_in(present / 2_880);
        }
        let (mut proves_now, run) = (false, Some(self.run));
        for (place, item) in held.iter_mut().enumerate().filter(|(_, item)| item.taken_by != run) {
            item.taken_by = run;
            let live = place == last;
            let at = if live { Some(present) } else { item.witness };
            if !now.trusted {
                if live || item.witness.is_some() {
                    let witness = item.witness.filter(|_| !live);
                    self.untimed.push(Untimed { node, boot: now.boot, witness, strained: item.strained, durable: false });
                }
                continue;
            }
            let Some(slot) = at else { continue };
            if (live || (slot <= present && self.closes_at(slot, now) > now.wall)) && self.in_service(node, slot) {
                self.prove(node, slot, item.strained, false);
                proves_now |= live;
            }
        }
        if now.trusted {
            held[last].witness = Some(present);
        }
        self.nodes[node].held = held;
        proves_now
    }

    fn has(&self, node: usize, slot: i64, is: impl Fn(Kind) -> bool) -> bool {
        self.facts.iter().any(|fact| (fact.node, fact.slot) == (node, slot) && is(fact.kind))
    }

    fn prove(&mut self, node: usize, slot: i64, strained: bool, durable: bool) {
        if !self.has(node, slot, |kind| matches!(kind, Kind::Proven { .. })) {
            self.facts.push(Fact { node, slot, kind: Kind::Proven { strained }, durable });
        }
    }

    /// The answer to a report that proved its slot asked for an output. True when this run had not asked before.
    pub fn challenged(&mut self, node: usize, slot: i64) -> bool {
        let is_new = !self.has(node, slot, |kind| kind == Kind::Challenged);
        if is_new {
            self.facts.push(Fact { node, slot, kind: Kind::Challenged, durable: false });
        }
        is_new
    }

    /// This run asked, heard nothing, and takes an answer still.
    pub fn waits_for_answer(&self, node: usize, slot: i64, now: Now) -> bool {
        let is = |fact: &Fact, kind| (fact.node, fact.slot, fact.kind, fact.durable) == (node, slot, kind, false);
        self.facts.iter().any(|fact| is(fact, Kind::Challenged))
            && !self.has(node, slot, |kind| kind == Kind::Answered)
            && now.wall < end_of(slot) + OPEN_MS
    }

    /// A valid answer; counted when this run asked, and the slot takes answers. True if so.
    pub fn answered(&mut self, node: usize, slot: i64, now: Now) -> bool {
        let asked = self.facts.iter().any(|f| (f.node, f.slot, f.kind, f.durable) == (node, slot, Kind::Challenged, false));
        let again = self.has(node, slot, |kind| kind == Kind::Answered);
        let counts = asked && !again && now.wall < end_of(slot) + OPEN_MS;
        if counts {
            self.facts.push(Fact { node, slot, kind: Kind::Answered, durable: false });
        }
        counts
    }

    /// `looked`: the manager has looked at its clock in the present slot. Otherwise it does not know yet that it heard the one before to its end.
    pub fn flushed(&mut self, now: Now, looked: bool) {
        let known = Now { wall: if looked { now.wall } else { slot_at(now.wall) * SLOT_MS - 1 }, ..now };
        if now.trusted {
            let over: Vec<(i64, i64)> =
                self.covered.iter().map(|(slot, ms)| (*slot, *ms)).filter(|(slot, _)| end_of(*slot) <= known.wall).collect();
            for (slot, _) in over.iter().filter(|(slot, ms)| *ms == SLOT_MS && !self.judged.contains(slot)) {
                for node in 0..self.nodes.len() {
                    if self.nodes[node].enrolled_in < *slot && self.in_service(node, *slot) {
                        self.facts.push(Fact { node, slot: *slot, kind: Kind::Observed, durable: true });
                    }
                }
            }
            self.judged.extend(over.iter().map(|(slot, _)| slot));
        }
        if now.trusted {
            self.excuse(known);
        }
        for fact in &mut self.facts {
            fact.durable |= matches!(fact.kind, Kind::Proven { .. }) || (now.trusted && known.wall >= end_of(fact.slot) + OPEN_MS);
        }
        self.untimed.iter_mut().for_each(|item| item.durable = true);
        if !now.trusted {
            return;
        }
        let anchor = self.trust.anchor.expect("a trusted clock has one");
        for item in std::mem::take(&mut self.untimed) {
            let received = Now { wall: item.boot + anchor, ..now };
            let slot = item.witness.unwrap_or(slot_at(received.wall));
            let open =
                item.witness.is_none() || (slot <= slot_at(received.wall) && self.closes_at_boot(slot, item.boot, anchor) > received.wall);
            // What is closed never changes.
            if open && slot > self.closed_for_good && self.in_service(item.node, slot) {
                self.prove(item.node, slot, item.strained, true);
            }
        }
        for node in &mut self.nodes {
            node.held.retain(|item| item.taken_by != Some(self.run));
            (node.durable_reports, node.durable_days) = (node.reports, node.days.clone());
        }
        self.flushed = Some((now.wall, anchor));
        self.trust.committed = self.trust.committed.max(now.wall);
        self.closed_for_good = self.closed_for_good.max(slot_at(now.wall - OPEN_MS) - 1);
    }

    /// Who did not answer while the manager could not hear all that time was not asked.
    fn excuse(&mut self, now: Now) {
        let heard = |slot: i64| (0..=OPEN_MS / SLOT_MS).all(|later| self.covered.get(&(slot + later)) == Some(&SLOT_MS));
        let answered: BTreeSet<(usize, i64)> =
            self.facts.iter().filter(|fact| fact.kind == Kind::Answered).map(|fact| (fact.node, fact.slot)).collect();
        self.facts.retain(|fact| {
            let is_over = fact.kind == Kind::Challenged && !fact.durable && now.wall >= end_of(fact.slot) + OPEN_MS;
            !is_over || answered.contains(&(fact.node, fact.slot)) || heard(fact.slot)
        });
    }

    fn closes_at_boot(&self, slot: i64, boot: i64, anchor: i64) -> i64 {
        self.closes_at(slot, Now { wall: boot + anchor, boot, trusted: true })
    }

    fn in_force<T: Copy>(timeline: &BTreeMap<i64, T>, slot: i64) -> T {
        *timeline.range(..=slot).next_back().expect("in force from the beginning").1
    }

    pub fn expects_outputs(&self, slot: i64) -> bool {
        Model::in_force(&self.outputs_expected, slot)
    }

    /// Nobody was proven or observed in any of these slots.
    pub fn is_empty(&self, first: i64, last: i64) -> bool {
        !self.facts.iter().any(|fact| (first..=last).contains(&fact.slot))
    }

    /// What is to stand in the leaf of an epoch; its multiplier is not moved on.
    pub fn leaf(&self, node: usize, first: i64, last: i64, params: &Params) -> Leaf {
        // The five booleans of every slot that may be looked at, the newest first.
        let mut slots: BTreeMap<i64, [bool; 5]> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.node == node && fact.slot <= last) {
            let row = slots.entry(fact.slot).or_default();
            match fact.kind {
                Kind::Proven { strained } => {
                    row[0] = true;
                    row[1] = true;
                    row[2] = strained;
                }
                Kind::Observed => row[1] = true,
                Kind::Challenged => row[3] = true,
                Kind::Answered => row[4] = true,
            }
        }
        let of = |slot: i64| slots.get(&slot).copied().unwrap_or_default();
        let of_epoch: Vec<[bool; 5]> = (first..=last).map(of).collect();
        let mut looked_at: Vec<i64> = (last + 1 - params.max_age..=last).rev().filter(|slot| of(*slot)[1]).take(params.window).collect();
        looked_at.reverse();
        let rows: Vec<[bool; 5]> = looked_at.iter().map(|slot| of(*slot)).collect();
        let count = |is: &dyn Fn(&[bool; 5]) -> bool| i64::try_from(rows.iter().filter(|row| is(row)).count()).unwrap();
        let (proven, observed) = (count(&|row| row[0]), count(&|row| row[1]));
        let interruptions = i64::try_from(rows.windows(2).filter(|pair| pair[0][0] && !pair[1][0]).count()).unwrap();
        let within = count(&|row| row[0] && !row[2]);
        let inputs = [proven, observed, interruptions, proven, within, count(&|row| row[3]), count(&|row| row[4])];
        let outputs_expected = Model::in_force(&self.outputs_expected, first);
        let (score_hundredths, confidence_hundredths, state) = score(&inputs, outputs_expected, params);
        let epoch_count = |at: usize| i64::try_from(of_epoch.iter().filter(|row| row[at]).count()).unwrap();
        let reward_per_hour = Model::in_force(&self.rewards, first);
        let grown = self.nodes[node].grown;
        let multiplier = Fraction::whole(1)
            .plus(Fraction::new(params.max_multiplier_hundredths - 100, 100).times(Fraction::new(grown.into(), 7 * 2_880)));
        let hours = Fraction::new(i128::from(30 * epoch_count(0)), 3_600);
        let earned = hours
            .times(Fraction::new(score_hundredths, 10_000))
            .times(multiplier)
            .times(Fraction::whole(reward_per_hour * 1_000_000))
            .floor();
        Leaf {
            proven: epoch_count(0),
            observed: epoch_count(1),
            inputs,
            outputs_expected,
            score_hundredths,
            confidence_hundredths,
            state,
            grown,
            reward_per_hour,
            accrual_pico: if state == State::Invalid { 0 } else { earned },
            reports: self.nodes[node].last_day(self.leaves_of_day..first / 2_880),
            window: looked_at.first().map_or(Vec::new(), |oldest| (*oldest..=last).map(of).collect()),
        }
    }

    /// What came in days before this epoch's is in its leaves, or in earlier ones.
    pub fn leaves_are_made(&mut self, first: i64) {
        self.leaves_of_day = first / 2_880;
    }

    /// The multiplier grows by proven slots while 99 % of the window are, and loses a day for an hour down.
    pub fn epoch_is_over(&mut self, node: usize, leaf: &Leaf) {
        let grows = leaf.inputs[1] > 0 && 100 * leaf.inputs[0] >= 99 * leaf.inputs[1];
        let growth = if grows { leaf.proven } else { 0 };
        let grown = self.nodes[node].grown + growth - (leaf.observed - leaf.proven) * 2_880 / 120;
        self.nodes[node].grown = grown.clamp(0, 7 * 2_880);
    }
}

/// Score and confidence in hundredths, and the state.
pub fn score(inputs: &[i64; 7], outputs_expected: bool, params: &Params) -> (i128, i128, State) {
    let [proven, observed, interruptions, samples, within, challenged, answered] = inputs.map(i128::from);
    let ratio = |part: i128, whole: i128| if whole == 0 { Fraction::whole(1) } else { Fraction::new(part, whole) };
    let factors = [ratio(1 + answered, 2 + challenged), ratio((24 - interruptions).max(0), 24), ratio(within, samples)];
    let mut score = if observed == 0 { Fraction::whole(0) } else { Fraction::new(100 * proven, observed) };
    for (at, factor) in factors.into_iter().enumerate() {
        let weight = if at == 0 && !outputs_expected { Fraction::whole(0) } else { Fraction::new(params.weights[at], 100) };
        score = score.times(Fraction::whole(1).minus(weight.times(Fraction::whole(1).minus(factor))));
    }
    let hundredths = score.times(Fraction::whole(100)).nearest();
    let day = Fraction::new(7, 10).times(Fraction::new(observed.min(2_880), 2_880));
    let outputs = Fraction::new(3, 10).times(Fraction::new(challenged, challenged + 10));
    let confidence = day.plus(outputs).times(Fraction::whole(100)).nearest();
    let state = if observed == 0 || 30 * observed < i128::from(params.min_observation_seconds) {
        State::Pending
    } else if hundredths >= params.min_score_hundredths {
        State::Valid
    } else {
        State::Invalid
    };
    (hundredths, confidence, state)
}
