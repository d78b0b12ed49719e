//! A manager and its nodes live through a random history, and the model is told of it.

mod compare;
mod events;

use lucid::crypto::{base64, hex, sha256_parts, unhex};
use lucid::domain::credits::Epochs;
use lucid::domain::metrics::Sample;
use lucid::domain::poot::Params as ManagerParams;
use lucid::domain::time::Timestamp;
use lucid::jobs::Settings;
use lucid::wire::{OutputRequest, PROTOCOL, SlotChallenge};

use super::model::{Model, Now, Params, SLOT_MS, slot_at};
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
    /// Slot of its last look at the clock.
    seen: i64,
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
            seen: 0,
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
            self.seen = slot_at(self.wall());
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
            let (slot, present) = (i64::from(challenge.slot.0), slot_at(now.wall));
            if self.model.challenged(node, slot) {
                assert!(proves && slot == present && self.model.expects_outputs(slot), "nobody else is challenged");
                self.asked.push((node, challenge));
            } else {
                assert!(self.model.waits_for_answer(node, slot, now), "told again");
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
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let recent = self.told.len().saturating_sub(400).max(1);
            println!("{}\n...\n{}\nLUCID_SCORE_SEED={}", self.told[0], self.told[recent..].join("\n"), self.seed);
        }
    }
}
