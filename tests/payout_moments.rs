//! Schedules and webhooks while the manager dies at any await of their cycles: each moment has one run, and each end of a batch and each step of a payout is told, as
//! often as it takes, under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lucid::domain::payout::{Source, Status};
use lucid::domain::payout_schedule::Run;
use lucid::domain::webhook::BATCH_ENDED;
use lucid::live::Job;
use lucid::storage::core::{batches, outbox, payouts, schedules};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::client::error_name;
use crate::support::death::unless_it_dies;
use crate::support::random::Random;
use crate::support::site::Site;

const SEEDS: u64 = 5;
const ROUNDS: u64 = 30;
/// With an honest receiver and no deaths, until everything is told.
const QUIET: u64 = 12;
/// Runs of the delivery in each round of those.
const DRAINS: u64 = 20;
/// Messages that are delivered before that is written down.
const EACH: u64 = 20;
const MINUTE_MS: i64 = 60_000;
const TEN_MINUTES_MS: i64 = 10 * MINUTE_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Waits of a cycle before the manager dies.
const LONGEST_LIFE: u64 = 6;
const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
/// Two that batches and a schedule pay, and one for each of the other schedules.
const NODES: usize = 4;

/// What the receiver does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Takes,
    /// And the manager dies before it could write that down.
    TakesAndKills,
    Refuses,
    /// Has read it, and ends without an answer.
    Forgets,
    HangsUp,
}

#[derive(Debug, Clone)]
struct Told {
    delivery: String,
    event: String,
    /// The batch that has ended, or the payout.
    about: String,
    /// It was answered that it was taken.
    taken: bool,
}

#[derive(Default)]
struct Receiver {
    told: Mutex<Vec<Told>>,
    /// None: it is honest.
    random: Mutex<Option<Random>>,
    kills: Notify,
}

impl Receiver {
    async fn listen(self: Arc<Receiver>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&self).serve(stream));
            }
        });
        origin
    }

    fn fate(&self) -> Fate {
        match self.random.lock().unwrap().as_mut().map(|random| random.within(0, 8)) {
            Some(0) => Fate::Refuses,
            Some(1) => Fate::Forgets,
            Some(2) => Fate::HangsUp,
            Some(3) => Fate::TakesAndKills,
            _ => Fate::Takes,
        }
    }

    async fn serve(self: Arc<Receiver>, mut stream: TcpStream) {
        let fate = self.fate();
        if fate == Fate::HangsUp {
            return;
        }
        let (mut text, mut buffer) = (String::new(), [0; 4_096]);
        let body = loop {
            let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if body.len() == header(head, "content-length").parse::<usize>().unwrap() {
                break serde_json::from_str::<Value>(body).unwrap();
            }
        };
        let status = if fate == Fate::Refuses { "500 No" } else { "204 Yes" };
        let taken =
            fate != Fate::Forgets && stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.is_ok();
        let event = header(&text, "x-lucid-event").to_owned();
        let about = body[if event == BATCH_ENDED { "batch_id" } else { "payout_id" }].as_str().unwrap().to_owned();
        let delivery = header(&text, "x-lucid-delivery").to_owned();
        self.told.lock().unwrap().push(Told { delivery, event, about, taken: taken && fate != Fate::Refuses });
        if fate == Fate::TakesAndKills {
            self.kills.notify_waiters();
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name))).unwrap().1
}

struct Place {
    site: Option<Site>,
    random: Random,
    receiver: Arc<Receiver>,
    origin: String,
    nodes: Vec<String>,
    /// Schedule id -> its runs by number, as they were first seen.
    runs: BTreeMap<String, BTreeMap<u64, Run>>,
    /// Batches whose end is to be told.
    owed: BTreeSet<String>,
    deaths: BTreeMap<&'static str, u64>,
}

impl Place {
    async fn new(dir: &tempfile::TempDir, seed: u64) -> Place {
        let receiver = Arc::new(Receiver::default());
        let origin = Arc::clone(&receiver).listen().await;
        let listener = format!("{origin}/steps");
        let settings = [
            ("webhooks.payouts_url", listener.as_str()),
            ("poot.min_observation_seconds", "60"),
            ("payout.threshold_usdt", "100000"),
            ("payout.address_cooldown_hours", "0"),
            ("webhooks.allow_private", "true"),
        ];
        let site = Site::new(dir.path().join("data"), &settings).await;
        let random = Random::of(seed);
        let mut place = Place {
            site: Some(site),
            random,
            receiver,
            origin,
            nodes: Vec::new(),
            runs: BTreeMap::new(),
            owed: BTreeSet::new(),
            deaths: BTreeMap::new(),
        };
        for number in 0..NODES {
            let node = place.site().payee(&format!("node-{number}"), "worker", json!({ "address": ADDRESS })).await;
            place.nodes.push(node);
            place.fund(number, 1_000).await;
        }
        place.site().first_epoch().await;
        place
    }

    fn site(&self) -> &Site {
        self.site.as_ref().unwrap()
    }

    async fn fund(&self, node: usize, usdt: i64) {
        self.site().owe(&self.nodes[node], (&usdt.to_string(), "USDT"), "simulated").await;
    }

    async fn schedule(&self, body: Value) -> String {
        self.site().client.post("/nodes/payouts/schedule", body).await["schedule_id"].as_str().unwrap().to_owned()
    }

    /// A batch whose end is told, at once or later; it may be refused, or called off before its time.
    async fn batch(&mut self, number: u64) {
        let id = format!("batch_{number:06}");
        let node = &self.nodes[usize::try_from(self.random.within(0, 2)).unwrap()];
        let mut body = json!({ "batch_id": id, "notification_url": format!("{}/hook", self.origin), "payout_requests": [{ "node_id": node, "amount": "1" }] });
        if self.random.within(0, 3) == 0 {
            let later = i64::try_from(self.random.within(1, 40)).unwrap();
            body["scheduled_at"] = lucid::domain::time::Timestamp(self.site().now_ms() + later * MINUTE_MS).rfc3339().into();
        }
        let (status, answer) = self.site().client.call(Method::POST, "/nodes/payouts/batch", Some(body)).await;
        match status {
            StatusCode::ACCEPTED => _ = self.owed.insert(id.clone()),
            // Its node has a payout under way.
            _ => assert_eq!(error_name(&answer), "PayoutsRefused", "{answer}"),
        }
        if self.random.within(0, 6) == 0 {
            // What is over or was never made is refused; what went too far goes on.
            self.site().client.call(Method::POST, &format!("/nodes/payouts/batches/{id}/cancel"), None).await;
        }
    }

    async fn pass(&self, ms: i64) {
        self.site().driver.advance_ms(ms);
        self.site().app.context.tick();
    }

    /// One run of a cycle, in which the manager may die.
    async fn cycle(&mut self, name: &'static str, job: Job, may_die: bool) {
        let waits = (may_die && self.random.within(0, 2) == 0).then(|| self.random.within(0, LONGEST_LIFE));
        let receiver = Arc::clone(&self.receiver);
        let ended = tokio::select! {
            biased;
            () = receiver.kills.notified() => None,
            ended = unless_it_dies(self.site().app.context.run(job), waits) => ended,
        };
        match ended {
            Some(ended) => ended.unwrap(),
            None => {
                *self.deaths.entry(name).or_default() += 1;
                let site = self.site.take().unwrap().crash_unnoticed().await;
                site.app.context.tick();
                self.site = Some(site);
            }
        }
    }

    /// What was seen of a run stays as it was.
    fn see_runs(&mut self) {
        let read = self.site.as_ref().unwrap().app.store.read().unwrap();
        for schedule in schedules::all(&read).unwrap() {
            let seen = self.runs.entry(schedule.id.to_string()).or_default();
            for run in schedules::runs(&read, &schedule.id).unwrap() {
                let first = seen.entry(run.number).or_insert_with(|| run.clone());
                assert_eq!(*first, run, "a run is another one now");
            }
            assert_eq!(u64::try_from(seen.len()).unwrap(), schedule.runs, "a run was never seen, or twice");
        }
    }

    fn verify(&self, context: &str) {
        for finding in lucid::storage::verify::verify(&self.site().app.store) {
            assert_eq!(finding.wrong, None, "{context}: {}", finding.part);
        }
    }

    /// No batch goes on, and nothing waits to be told.
    fn is_quiet(&self) -> bool {
        let read = self.site().app.store.read().unwrap();
        let all = batches::page(&read, batches::Filter::default(), 0, usize::MAX).unwrap().0;
        all.iter().all(|batch| batch.ended_at.is_some()) && outbox::page(&read, 0, 1).unwrap().1 == 0
    }
}

/// Every multiple of `every_ms` after `from_ms` is in one run, the last of those that had come when it fired.
fn assert_moments(runs: &BTreeMap<u64, Run>, from_ms: i64, until_ms: i64, every_ms: i64, context: &str) {
    let mut done = from_ms;
    for run in runs.values() {
        let next = (done.div_euclid(every_ms) + 1) * every_ms;
        let latest = run.fired_at.0.div_euclid(every_ms) * every_ms;
        assert_eq!((run.since.0, run.due_at.0), (next, latest), "{context}: {run:?}");
        done = run.due_at.0;
    }
    assert!(until_ms - done < every_ms, "{context}: a moment has passed without a run");
}

/// Every step of every payout was told under an id of its own, in its order, from its plan to its end; how many there were.
fn assert_steps(place: &Place, told: &[Told], context: &str) -> u64 {
    let mut seen = BTreeSet::new();
    let mut of = BTreeMap::<&str, Vec<&str>>::new();
    for step in told.iter().filter(|told| told.taken && seen.insert(told.delivery.as_str())) {
        of.entry(&step.about).or_default().push(&step.event);
    }
    let read = place.site().app.store.read().unwrap();
    let news = outbox::payout_news(&read).unwrap();
    assert_eq!((seen.len() as u64, outbox::webhooks(&read).unwrap().dropped), (news.told, 0), "{context}: a step was not told");
    payouts::for_each(&read, |payout| {
        let steps = of.remove(payout.id.as_str()).unwrap_or_default();
        let whole = match payout.status() {
            Status::Completed => {
                // Whose process died for long before it was sent has another attempt.
                let dead = ["payout.signed", "payout.attempt_dead"];
                let tried = steps.get(1..).unwrap_or_default().chunks(2).take_while(|two| *two == dead).count() * 2;
                steps.first() == Some(&"payout.planned")
                    && steps[1 + tried..] == ["payout.signed", "payout.sent", "payout.seen", "payout.paid"]
            }
            Status::Cancelled => steps == ["payout.planned", "payout.cancelled"],
            _ => steps.first() == Some(&"payout.planned"),
        };
        assert!(whole, "{context}: {} is {:?}, and was told as {steps:?}", payout.id, payout.status());
    })
    .unwrap();
    assert!(of.is_empty(), "{context}: payouts that are not: {of:?}");
    news.told
}

async fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let context = format!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::new(&dir, seed).await;
    let client = place.site().client.clone();
    let pool = client.post("/nodes/pools", json!({ "name": "paid-hourly" })).await["pool_id"].as_str().unwrap().to_owned();
    client.post(&format!("/nodes/pools/{pool}/nodes"), json!({ "node_id": place.nodes[2] })).await;
    let from_ms = place.site().now_ms();
    let once_at = from_ms + 95 * MINUTE_MS;
    let wish = json!([{ "node_id": place.nodes[0], "amount": "1" }]);
    let often = place.schedule(json!({ "name": "often", "cron": "*/10 * * * *", "what": "listed", "payout_requests": wish })).await;
    let hourly = place.schedule(json!({ "name": "hourly", "cron": "0 * * * *", "timezone": "Europe/Zurich", "what": "pool", "pool_id": pool, "min_amount": "5" })).await;
    let once_at_text = lucid::domain::time::Timestamp(once_at).rfc3339();
    let once = place.schedule(json!({ "name": "once", "at": once_at_text, "what": "listed", "payout_requests": [{ "node_id": place.nodes[3], "amount": "2" }] })).await;

    *place.receiver.random.lock().unwrap() = Some(Random::of(seed ^ 0x5eed));
    for round in 0..ROUNDS + QUIET {
        let is_wild = round < ROUNDS;
        if round == ROUNDS {
            *place.receiver.random.lock().unwrap() = None;
        }
        if is_wild {
            place.batch(round).await;
            if place.random.within(0, 4) == 0 {
                place.fund(2, 20).await;
            }
        }
        let minutes = if is_wild { [1, 4, 11, 65][usize::try_from(place.random.within(0, 4)).unwrap()] } else { 61 };
        place.pass(minutes * MINUTE_MS).await;
        place.cycle("payouts", Job::Payouts, is_wild).await;
        for _ in 0..if is_wild { 1 } else { DRAINS } {
            place.cycle("outbox", Job::Outbox, is_wild).await;
        }
        place.see_runs();
        place.verify(&context);
        if !is_wild && place.is_quiet() {
            break;
        }
    }
    assert!(place.is_quiet(), "{context}: a batch goes on, or its end is not told");

    let until_ms = place.site().now_ms();
    assert_moments(&place.runs[&often], from_ms, until_ms, TEN_MINUTES_MS, &context);
    assert_moments(&place.runs[&hourly], from_ms, until_ms, HOUR_MS, &context);
    let once: Vec<i64> = place.runs[&once].values().map(|run| run.due_at.0).collect();
    assert_eq!(once, [once_at], "{context}");
    let mut made = BTreeMap::<String, u32>::new();
    payouts::for_each(&place.site().app.store.read().unwrap(), |payout| {
        if let Source::Schedule { schedule, .. } = payout.source {
            *made.entry(schedule.to_string()).or_default() += 1;
        }
    })
    .unwrap();
    for (schedule, runs) in &place.runs {
        let planned: u32 = runs.values().map(|run| run.planned).sum();
        assert_eq!(made.get(schedule).copied().unwrap_or(0), planned, "{context}: {schedule}");
        assert!(planned > 0, "{context}: {schedule} paid nobody: {runs:?}");
    }

    let (told, steps): (Vec<Told>, Vec<Told>) =
        place.receiver.told.lock().unwrap().iter().cloned().partition(|told| told.event == BATCH_ENDED);
    let told_steps = assert_steps(&place, &steps, &context);
    let ids: BTreeSet<(&str, &str)> = told.iter().map(|told| (told.about.as_str(), told.delivery.as_str())).collect();
    assert_eq!(ids.len(), ids.iter().map(|(batch, _)| batch).collect::<BTreeSet<_>>().len(), "{context}: an end has two ids");
    assert_eq!(ids.len(), ids.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), "{context}: two ends have one id");
    let mut taken = BTreeMap::<&str, u64>::new();
    told.iter().filter(|told| told.taken).for_each(|told| *taken.entry(&told.about).or_default() += 1);
    assert!(taken.keys().copied().eq(place.owed.iter().map(String::as_str)), "{context}: {taken:?} of {:?}", place.owed);
    let again: u64 = taken.values().map(|times| times - 1).sum();
    let deaths = place.deaths.get("outbox").copied().unwrap_or(0);
    assert!(again <= deaths * EACH, "{context}: {again} were told again, and the manager died {deaths} times");
    let mut counted = place.deaths.clone();
    counted.extend([
        ("told", ids.len() as u64),
        ("steps told", told_steps),
        ("told again", again),
        ("runs", place.runs.values().map(|runs| runs.len() as u64).sum()),
    ]);
    place.site.take().unwrap().end().await;
    counted
}

#[tokio::test]
async fn no_moment_is_lost_or_paid_twice_and_every_end_is_told() {
    let mut random = Random::new();
    let only: Option<u64> = std::env::var("LUCID_RUN").ok().map(|text| text.parse().expect("LUCID_RUN is a number"));
    let seeds: Vec<u64> = only.map_or_else(|| (0..SEEDS).map(|_| random.within(1, u64::MAX >> 12)).collect(), |seed| vec![seed]);
    let mut all = BTreeMap::new();
    for seed in seeds {
        for (what, count) in run(seed).await {
            *all.entry(what).or_insert(0) += count;
        }
    }
    println!("{all:?}");
    let count = |what: &str| all.get(what).copied().unwrap_or(0);
    assert!(
        only.is_some()
            || (count("payouts") > SEEDS * 3 && count("outbox") > SEEDS && count("told again") > 0 && count("steps told") > SEEDS * 100),
        "{all:?}"
    );
}
