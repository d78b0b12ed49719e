//! A manager and its nodes live through a random history, and the model is told of it.

use lucid::crypto::{base64, hex, sha256_parts, unhex};
use lucid::domain::credits::Epochs;
use lucid::domain::metrics::Sample;
use lucid::domain::poot::{Params as ManagerParams, ScoreState};
use lucid::domain::proof::check::{self, Verdict};
use lucid::domain::proof::document::ProofDocument;
use lucid::domain::time::Timestamp;
use lucid::jobs::Settings;
use lucid::live::Job;
use lucid::wire::{OutputRequest, PROTOCOL, SlotChallenge};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::model::{Leaf, Model, Now, Params, SLOT_MS, State, slot_at};
use crate::support::fleet::Node;
use crate::support::random::Random;
use crate::support::site::Site;

const NODES: usize = 3;
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";
/// Slots of a history, without those in which the manager is away or its clock wrong.
const SLOTS: u64 = 110;
/// Measurements that an agent can send again in one report.
const MAX_HELD: usize = 60;

/// What happened to whom, as far as the driver needs it for what comes next.
#[derive(Debug, Clone, Copy, Default)]
struct Habit {
    /// Slots for which it stays silent.
    silent_for: u64,
    /// Beyond a threshold, and for how long.
    strained_for: u64,
    /// In hundredths: how often it misses a slot.
    misses: u64,
}

pub struct History {
    seed: u64,
    random: Random,
    site: Option<Site>,
    nodes: Vec<Node>,
    habits: Vec<Habit>,
    model: Model,
    params: Params,
    slots_per_epoch: i64,
    synchronised: bool,
    link: bool,
    /// The manager neither ticks nor answers.
    hangs: bool,
    /// Next slot that no head covers, once there is one.
    next: Option<i64>,
    rests: Vec<(usize, i64, u64)>,
    asked: Vec<(usize, SlotChallenge)>,
    nonce: u64,
    pub leaves: usize,
    told: Vec<String>,
}

fn hundredths(random: &mut Random, percent: u64) -> bool {
    random.within(0, 100) < percent
}

impl History {
    pub async fn begin(seed: u64, dir: std::path::PathBuf) -> History {
        let mut random = Random::of(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for _ in 0..8 {
            random.within(0, 2);
        }
        let slots_per_epoch = [2, 4, 5, 10, 20][usize::try_from(random.within(0, 5)).unwrap()];
        let seconds = (slots_per_epoch * 30).to_string();
        let settings = [
            ("limits.node_requests", "1000000"),
            ("limits.poot_requests", "1000000"),
            ("limits.admin_requests", "1000000"),
            ("limits.public_requests", "1000000"),
            ("poot.calculation_interval_seconds", seconds.as_str()),
        ];
        let site = Site::new(dir, &settings).await;
        let window = random.within(8, 70);
        // No epoch is longer than scores look back.
        let max_age = window.max(20) + random.within(0, 60);
        let weight = |random: &mut Random| if hundredths(random, 50) { i128::from(random.within(1, 101)) } else { 0 };
        let params = Params {
            window: usize::try_from(window).unwrap(),
            max_age: i64::try_from(max_age).unwrap(),
            min_observation_seconds: i64::try_from(30 * random.within(0, window)).unwrap(),
            min_score_hundredths: i128::from(random.within(2_000, 8_000)),
            weights: [weight(&mut random), weight(&mut random), weight(&mut random)],
            max_multiplier_hundredths: i128::from(random.within(100, 301)),
        };
        let mut history = History {
            seed,
            random,
            site: Some(site),
            nodes: Vec::new(),
            habits: vec![Habit::default(); NODES],
            model: Model::default(),
            params,
            slots_per_epoch,
            synchronised: true,
            link: true,
            hangs: false,
            next: None,
            rests: Vec::new(),
            asked: Vec::new(),
            nonce: 0,
            leaves: 0,
            told: vec![format!("epochs of {slots_per_epoch} slots, {params:?}")],
        };
        history.model.rewards.insert(0, 50_000);
        history.model.outputs_expected.insert(0, false);
        history.set_params();
        // Up to two hours before midnight, so that the day changes.
        let before = i64::try_from(history.random.within(20, 220)).unwrap();
        history.driver().advance_ms(SLOT_MS * (2_880 - before));
        history.sense();
        for n in 0..NODES {
            let node = history.site().enrol(&format!("worker-{n}")).await;
            history.nodes.push(node);
            history.model.enrol(history.wall());
            history.habits[n].misses = [0, 2, 30][usize::try_from(history.random.within(0, 3)).unwrap()];
        }
        history
    }

    fn site(&self) -> &Site {
        self.site.as_ref().expect("there is always one")
    }

    fn driver(&self) -> lucid::clock::Driver {
        self.site().driver.clone()
    }

    fn wall(&self) -> i64 {
        self.driver().reading().wall.0
    }

    fn now(&mut self) -> Now {
        let reading = self.driver().reading();
        self.model.now(reading.wall.0, reading.boot.0, self.synchronised)
    }

    fn chance(&mut self, percent: u64) -> bool {
        hundredths(&mut self.random, percent)
    }

    fn tell(&mut self, what: &str) {
        let (wall, trusted) = (self.wall(), self.now().trusted);
        let text = format!("slot {} + {} ms{}: {what}", slot_at(wall), wall % SLOT_MS, if trusted { "" } else { " (untrusted)" });
        self.told.push(text);
    }

    /// Small windows make the cases dense. The configuration has no key for them.
    fn set_params(&self) {
        let small = |value: i128| u8::try_from(value).unwrap();
        let [output, stability, resources] = self.params.weights;
        let params = ManagerParams {
            window_slots: u16::try_from(self.params.window).unwrap(),
            max_age_slots: u16::try_from(self.params.max_age).unwrap(),
            min_observation_seconds: u32::try_from(self.params.min_observation_seconds).unwrap(),
            min_score_hundredths: u16::try_from(self.params.min_score_hundredths).unwrap(),
            output_weight_percent: small(output),
            stability_weight_percent: small(stability),
            resources_weight_percent: small(resources),
            max_multiplier_hundredths: u16::try_from(self.params.max_multiplier_hundredths).unwrap(),
            ..ManagerParams::default()
        };
        let settings = &self.site().app.context.settings;
        let seconds = u32::try_from(self.slots_per_epoch * 30).unwrap();
        let epochs = Epochs::of_seconds(seconds).unwrap();
        settings.set(Settings { params, epochs, ..(*settings.get()).clone() });
    }

    /// The manager looks at its clock and its link.
    fn sense(&mut self) {
        if !self.hangs {
            let app = &self.site().app;
            app.store.intake.tick(app.context.clock.now(), self.link);
        }
        self.now();
    }

    fn is_heard(&mut self) -> bool {
        self.now().trusted && self.link && !self.hangs
    }

    /// Time passes, the slots' beginnings are seen.
    fn advance(&mut self, ms: i64) {
        let mut left = ms;
        while left > 0 {
            let wall = self.wall();
            let mut step = left.min(SLOT_MS - wall.rem_euclid(SLOT_MS));
            // A clock that was set back is believed again once it has caught up, and that is seen at once.
            let behind = self.model.known_until() - wall;
            if behind > 0 {
                step = step.min(behind);
            }
            let heard = self.is_heard();
            self.model.passed(wall, step, heard);
            self.driver().advance_ms(step);
            left -= step;
            if (wall + step).rem_euclid(SLOT_MS) == 0 || step == behind {
                self.sense();
            }
        }
    }

    fn advance_slots(&mut self, low: u64, high: u64) {
        let slots = i64::try_from(self.random.within(low, high)).unwrap();
        let ms = i64::try_from(self.random.within(0, 25_000)).unwrap();
        self.advance(slots * SLOT_MS + ms);
    }

    pub async fn live(&mut self) {
        for _ in 0..SLOTS {
            let mut at: Vec<i64> = (0..4).map(|_| i64::try_from(self.random.within(200, 29_800)).unwrap()).collect();
            at.sort_unstable();
            let first = usize::try_from(self.random.within(0, 3)).unwrap();
            for (turn, at) in at.into_iter().enumerate() {
                let into = self.wall().rem_euclid(SLOT_MS);
                if at > into {
                    self.advance(at - into);
                }
                match turn {
                    3 => self.something_happens().await,
                    turn => self.measure((first + turn) % NODES).await,
                }
            }
            let into = self.wall().rem_euclid(SLOT_MS);
            self.advance(SLOT_MS - into);
        }
        self.advance(10);
        self.synchronise();
        self.advance(20 * SLOT_MS);
        self.close().await;
        assert!(self.leaves > 0, "nothing was compared");
    }

    async fn measure(&mut self, node: usize) {
        if self.habits[node].silent_for > 0 {
            self.habits[node].silent_for -= 1;
            return;
        }
        if self.chance(2) {
            self.habits[node].silent_for = self.random.within(1, 14);
        }
        let misses = self.habits[node].misses;
        if self.chance(misses) {
            return;
        }
        self.habits[node].strained_for = self.habits[node].strained_for.saturating_sub(1);
        if self.chance(2) {
            self.habits[node].strained_for = self.random.within(1, 10);
        }
        self.report(node).await;
        if self.chance(5) {
            self.advance(50);
            self.report(node).await;
        }
    }

    async fn report(&mut self, node: usize) {
        let strained = self.habits[node].strained_for > 0;
        let mut sample = Sample::default();
        sample.cpu.usage_percent = Some(if strained { 93.0 } else { 20.0 });
        let (now, reached) = (self.now(), !self.hangs);
        if self.model.holds(node) >= MAX_HELD {
            self.flush().await;
        }
        let base = if reached { self.site().client.base.clone() } else { NOWHERE.to_owned() };
        self.nodes[node].rebase(&base);
        let answer = self.nodes[node].report(now.boot, sample).await;
        assert_eq!(answer.is_some(), reached, "who is there answers");
        let Some(answer) = answer else {
            self.model.unheard(node, strained);
            return;
        };
        assert_eq!(answer.slot.as_ref().map(|slot| i64::from(slot.slot.0)), now.trusted.then(|| slot_at(now.wall)));
        let proves = self.model.report(node, now, strained);
        self.tell(&format!("node {node} reports{}", if proves { "" } else { ", and proves nothing" }));
        if let Some(challenge) = answer.challenge {
            assert!(proves && self.model.expects_outputs(slot_at(now.wall)), "nobody else is challenged");
            if self.model.challenged(node, i64::from(challenge.slot.0)) {
                self.asked.push((node, challenge));
            }
        }
        self.answer().await;
    }

    /// Some of what was asked is answered, now or later.
    async fn answer(&mut self) {
        // Which slots are challenged is another matter in each run: what comes after must not depend on it.
        let (now, wants) = (self.now(), self.chance(60));
        if !now.trusted || self.asked.is_empty() || !wants {
            return;
        }
        let (node, challenge) = self.asked.remove(0);
        self.nonce += 1;
        let data = format!("an output of node {node} of its own, number {}", self.nonce);
        let request = OutputRequest {
            protocol: PROTOCOL,
            output_data: base64(data.as_bytes()),
            output_hash: Some(hex(&sha256_parts(&[&unhex(&challenge.challenge).unwrap(), data.as_bytes()]))),
            timestamp: Timestamp(now.wall).rfc3339(),
            nonce: format!("nonce-{:08}", self.nonce),
            challenge_slot: Some(challenge.slot),
        };
        let base = self.site().client.base.clone();
        self.nodes[node].rebase(&base);
        let verdict = self.nodes[node].submit(&request).await.expect("outputs are judged");
        let counts = self.model.answered(node, i64::from(challenge.slot.0), now);
        assert_eq!(verdict["counted"], counts, "{verdict}");
    }

    async fn something_happens(&mut self) {
        match self.random.within(0, 160) {
            0..16 => self.flush().await,
            16..40 => self.close().await,
            40..45 => self.crash().await,
            45..48 => self.hang().await,
            48..51 => self.be_away().await,
            51..54 => self.lose_link(),
            54..58 => self.slew(),
            58..61 => self.step().await,
            61..64 => {
                self.synchronised = !self.synchronised;
                self.driver().set_synchronised(self.synchronised);
                self.sense();
            }
            64..70 => self.rest().await,
            70..73 => self.end_rest().await,
            73..75 => self.price().await,
            75..78 => self.expect_outputs().await,
            78..84 => self.calculate().await,
            84..88 => {
                let node = usize::try_from(self.random.within(0, 3)).unwrap();
                self.tell(&format!("agent {node} restarts"));
                self.nodes[node].restart();
                self.model.restarted(node);
            }
            _ => {}
        }
    }

    async fn flush(&mut self) {
        if self.hangs {
            return;
        }
        self.tell("flush");
        self.site().app.context.run(Job::Flush).await.unwrap();
        let now = self.now();
        self.model.flushed(now);
    }

    async fn crash(&mut self) {
        self.tell("the manager crashes");
        let site = self.site.take().unwrap().crash_unnoticed().await;
        self.site = Some(site);
        self.set_params();
        self.hangs = false;
        self.model.crashed(self.driver().reading().boot.0);
        self.sense();
    }

    /// For some slots nothing of the manager moves; it loses nothing.
    async fn hang(&mut self) {
        self.tell("the manager hangs");
        self.hangs = true;
        self.advance_slots(2, 5);
        for node in 0..NODES {
            if self.chance(50) {
                self.report(node).await;
            }
        }
        self.advance(1_000);
        self.hangs = false;
        self.sense();
        self.tell("the manager goes on");
    }

    async fn be_away(&mut self) {
        self.tell("the manager is away");
        self.hangs = true;
        let slots = self.random.within(1, 14);
        for _ in 0..slots {
            self.advance(SLOT_MS);
            for node in 0..NODES {
                if self.chance(80) {
                    self.report(node).await;
                }
            }
        }
        self.crash().await;
    }

    fn lose_link(&mut self) {
        self.tell("the link is down");
        self.link = false;
        self.sense();
        self.advance_slots(0, 3);
        self.advance(1);
        self.link = true;
        self.sense();
    }

    /// By less than what costs trust, and within the slot.
    fn slew(&mut self) {
        let by = i64::try_from(self.random.within(0, 6_000)).unwrap() - 3_000;
        let (wall, heard) = (self.wall(), self.is_heard());
        if slot_at(wall + by) != slot_at(wall) {
            return;
        }
        self.driver().set_wall(Timestamp(wall + by));
        self.sense();
        self.tell(&format!("the wall clock is slewed by {by} ms"));
        if self.now().trusted {
            self.model.passed(wall, by, heard);
        }
    }

    /// Beyond the slot; believed at once where the kernel says so, and the clock is not behind what was committed.
    async fn step(&mut self) {
        let by = i64::try_from(self.random.within(31, 400)).unwrap() * 1_000;
        let by = if self.chance(60) { by } else { -by };
        if by < 0 {
            self.flush().await;
        }
        let wall = self.wall();
        let now = self.now();
        self.model.stepped(now);
        self.driver().set_wall(Timestamp(wall + by));
        self.sense();
        self.tell(&format!("the wall clock is stepped by {by} ms"));
        let mut slots = self.random.within(0, 8);
        while slots > 0 {
            slots -= 1;
            self.advance_slots(0, 2);
            for node in 0..NODES {
                if self.chance(60) {
                    self.report(node).await;
                }
            }
            if self.chance(20) {
                self.flush().await;
            }
            if self.chance(6) {
                self.crash().await;
            }
        }
        // Put right, or believed as it is.
        if self.chance(50) && !self.now().trusted {
            let wall = self.wall();
            self.driver().set_wall(Timestamp(wall - by));
            self.sense();
        }
        if self.chance(70) {
            self.synchronise();
        }
    }

    fn synchronise(&mut self) {
        self.synchronised = true;
        self.driver().set_synchronised(true);
        self.sense();
        self.tell("NTP answers");
    }

    async fn rest(&mut self) {
        let now = self.now();
        if !now.trusted {
            return;
        }
        let node = usize::try_from(self.random.within(0, 3)).unwrap();
        let from = slot_at(now.wall) + i64::try_from(self.random.within(1, 12)).unwrap();
        let minutes = i64::try_from(self.random.within(1, 7)).unwrap();
        let body = json!({ "from": Timestamp(from * SLOT_MS).rfc3339(), "duration_minutes": minutes });
        let path = format!("/nodes/{}/maintenance", self.nodes[node].id);
        let (status, answer) = self.site().client.call(Method::POST, &path, Some(body)).await;
        if status == StatusCode::CREATED {
            self.tell(&format!("node {node} is to rest from slot {from} for {minutes} minutes"));
            self.model.rest(node, from, from + 2 * minutes);
            self.rests.push((node, from, answer["number"].as_u64().unwrap()));
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        }
    }

    async fn end_rest(&mut self) {
        let now = self.now();
        if self.rests.is_empty() || !now.trusted {
            return;
        }
        let at = self.random.within(0, self.rests.len() as u64);
        let (node, from, number) = self.rests.remove(usize::try_from(at).unwrap());
        let path = format!("/nodes/{}/maintenance/{number}", self.nodes[node].id);
        let (status, answer) = self.site().client.call(Method::DELETE, &path, None).await;
        if status == StatusCode::OK {
            self.tell(&format!("the rest of node {node} from slot {from} ends"));
            self.model.end_rest(node, from, slot_at(now.wall) + 1);
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        }
    }

    fn next_boundary(&mut self) -> i64 {
        (slot_at(self.wall()) / self.slots_per_epoch + 1) * self.slots_per_epoch
    }

    async fn price(&mut self) {
        if !self.now().trusted {
            return;
        }
        let reward = self.random.within(0, 3_000_000);
        let price =
            json!({ "pricing": { "cost_per_hour": "5", "reward_per_hour": format!("{}.{:06}", reward / 1_000_000, reward % 1_000_000) } });
        self.site().client.put("/nodes/pools/pool_default", price).await;
        let from = self.next_boundary();
        self.tell(&format!("an hour is worth {reward} units from slot {from} on"));
        self.model.rewards.insert(from, i128::from(reward));
    }

    async fn expect_outputs(&mut self) {
        if !self.now().trusted {
            return;
        }
        let expected = self.chance(75);
        self.site().client.put("/nodes/pools/pool_default", json!({ "outputs_expected": expected })).await;
        let from = self.next_boundary();
        self.tell(&format!("outputs are expected from slot {from} on: {expected}"));
        self.model.outputs_expected.insert(from, expected);
    }

    async fn calculate(&mut self) {
        if !self.now().trusted {
            return;
        }
        self.close().await;
        let (status, answer) = self.site().client.call(Method::POST, "/poot/calculate", None).await;
        let now = self.now();
        self.model.flushed(now);
        if status == StatusCode::OK {
            self.tell("an epoch is closed early");
            self.compare().await;
            assert_eq!(self.next, Some(self.model.closed_through(now) + 1), "at the newest closed slot: {answer}");
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
            let closed = self.model.closed_through(now);
            assert!(
                self.next.is_none_or(|next| next > closed || self.model.is_empty(next, closed)),
                "something was there to close: {answer}"
            );
        }
    }

    /// The cycle of epochs, and what it closed.
    async fn close(&mut self) {
        self.flush().await;
        self.site().app.context.run(Job::Epochs).await.unwrap();
        let now = self.now();
        if !now.trusted {
            return;
        }
        self.tell("epochs are closed");
        self.compare().await;
        let over = (self.model.closed_through(now) + 1) / self.slots_per_epoch * self.slots_per_epoch;
        if let Some(next) = self.next {
            assert!(next >= over, "slots up to {over} are closed, heads cover those before {next}");
        }
    }

    /// Every head that is new, its leaves, and their proofs, against the model.
    async fn compare(&mut self) {
        let next = self.next;
        let mut list = self.site().client.get("/poot/epochs?limit=4").await;
        if next.is_none_or(|next| list["epochs"].as_array().unwrap().iter().all(|head| head["first_slot"].as_i64().unwrap() > next)) {
            list = self.site().client.get("/poot/epochs?limit=100").await;
        }
        let is_new = |head: &&Value| next.is_none_or(|next| head["first_slot"].as_i64().unwrap() >= next);
        let new: Vec<Value> = list["epochs"].as_array().unwrap().iter().rev().filter(is_new).cloned().collect();
        for head in new {
            let (first, last) = (head["first_slot"].as_i64().unwrap(), head["last_slot"].as_i64().unwrap());
            match self.next {
                Some(next) => assert_eq!(first, next, "heads follow each other"),
                None => assert!(self.model.is_empty(0, first - 1), "nothing was before the first head"),
            }
            self.next = Some(last + 1);
            if head["gap"] == true {
                assert!(self.model.is_empty(first, last), "a gap in which somebody was seen: {head}");
                continue;
            }
            assert!(last / self.slots_per_epoch == first / self.slots_per_epoch, "no epoch goes beyond its boundary: {head}");
            let mut sums = (0, [0, 0, 0]);
            for node in 0..NODES {
                let leaf = self.model.leaf(node, first, last, &self.params);
                self.compare_leaf(node, first, last, &leaf).await;
                sums.0 += leaf.accrual_pico;
                sums.1[leaf.state as usize] += 1;
                self.model.epoch_is_over(node, &leaf);
            }
            let shown = ["pending", "valid", "invalid"].map(|state| head[state].as_i64().unwrap());
            assert_eq!((pico(&head["accrued"]), shown), sums, "{head}");
        }
    }

    async fn compare_leaf(&mut self, node: usize, first: i64, last: i64, leaf: &Leaf) {
        let document = self.site().client.get(&format!("/poot/{}?epoch={first}", self.nodes[node].id)).await;
        let document: ProofDocument = serde_json::from_value(document).unwrap();
        let key = self.site().app.store.manager_key().0;
        let findings = check::proof(&document, Some(&key));
        let shown = &document.leaf;
        let inputs = &shown.inputs;
        let tracks = document.window.as_ref().expect("the evidence is kept");
        let all = [&tracks.proven, &tracks.observed, &tracks.strained, &tracks.challenged, &tracks.answered];
        let tracks: Vec<Vec<bool>> = all.iter().map(|runs| runs.slots(shown.window_slots).expect("runs of the window")).collect();
        let theirs = Leaf {
            proven: shown.proven.into(),
            observed: shown.observed.into(),
            inputs: [
                inputs.proven,
                inputs.observed,
                inputs.interruptions,
                inputs.samples,
                inputs.samples_within,
                inputs.challenged,
                inputs.answered,
            ]
            .map(i64::from),
            outputs_expected: inputs.outputs_expected,
            score_hundredths: shown.score_hundredths.into(),
            confidence_hundredths: shown.confidence_hundredths.into(),
            state: match shown.state {
                ScoreState::Pending => State::Pending,
                ScoreState::Valid => State::Valid,
                ScoreState::Invalid => State::Invalid,
            },
            grown: shown.multiplier_grown_slots.into(),
            reward_per_hour: shown.payer.as_ref().map_or(0, |payer| payer.reward_per_hour.into()),
            accrual_pico: shown.accrual_pico,
            window: (0..usize::from(shown.window_slots)).map(|at| [0, 1, 2, 3, 4].map(|track| tracks[track][at])).collect(),
        };
        if theirs != *leaf {
            let slots = theirs.window.len().max(leaf.window.len());
            for back in 0..slots {
                let of = |window: &[[bool; 5]]| window.len().checked_sub(back + 1).map(|at| window[at].map(u8::from));
                if of(&theirs.window) != of(&leaf.window) {
                    println!(
                        "slot {}: manager {:?}, model {:?}",
                        last - i64::try_from(back).unwrap(),
                        of(&theirs.window),
                        of(&leaf.window)
                    );
                }
            }
            let (theirs, ours) = (Leaf { window: Vec::new(), ..theirs }, Leaf { window: Vec::new(), ..leaf.clone() });
            panic!("node {node} in slots {first} to {last}\nmanager: {theirs:?}\nmodel:   {ours:?}");
        }
        assert_eq!(Verdict::of(&findings), Verdict::Good, "{findings:?}");
        assert_eq!((i64::from(shown.epoch), i64::from(shown.last_slot)), (first, last));
        self.leaves += 1;
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let recent = self.told.len().saturating_sub(400).max(1);
            println!("{}\n...\n{}\nLUCID_SCORE_SEED={}", self.told[0], self.told[recent..].join("\n"), self.seed);
        }
    }
}

/// A decimal with up to twelve places.
fn pico(text: &Value) -> i128 {
    let text = text.as_str().unwrap();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    whole.parse::<i128>().unwrap() * 10i128.pow(12) + format!("{rest:0<12}").parse::<i128>().unwrap()
}
