//! A real manager process is killed fifty times at random moments under load. Whatever it acknowledged is there, once.
//!
//! Time runs 60 times as fast (`examples/timelapse.rs`), so that epochs close, postings are made and payouts are under way when the kills come.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lucid::app::open_store;
use lucid::clock::{Clock, Stopwatch, read_system};
use lucid::config::{Config, Sources};
use lucid::domain::ids::{NodeId, NodeIndex};
use lucid::domain::metrics::{Network, Sample};
use lucid::domain::payout::{Source, State};
use lucid::domain::payout_schedule::PayoutSchedule;
use lucid::domain::time::{BootMs, ClockReading, SLOT_MS, Slot, Timestamp};
use lucid::storage::core::{payouts, schedules};
use lucid::storage::hot::Parts;
use lucid::storage::verify::verify;
use lucid::storage::{Store, tiers};
use lucid::wire::phase_ms;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::binary::{Manager, PATIENCE, Process, start_manager};
use crate::support::client::{Client, PASSWORD};
use crate::support::fleet::{Machine, Node};
use crate::support::random::Random;

const RATE: u32 = 60;
const KILLS: u32 = 50;
const NODES: usize = 100;
const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1/";
const HOUR_MS: i64 = 3_600_000;

/// What became of one measurement.
#[derive(Debug)]
struct Fate {
    measured: Timestamp,
    /// Where the manager said that it belongs.
    slot: Option<Slot>,
    /// The manager said that it survives anything.
    durable: bool,
    /// The longest that a report with it was under way: by so much later may it be placed, where no answer told its slot.
    slowest_ms: i64,
}

/// An agent with the model of what the manager owes it. Every sample carries a number that no other has.
struct Agent {
    node: Node,
    fates: BTreeMap<u64, Fate>,
    /// The next measurement belongs into a later slot: of two in one slot the manager keeps the first only.
    used: Slot,
}

static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn number_of(sample: &Sample) -> u64 {
    sample.network.total_bytes_in.expect("every sample is numbered")
}

impl Agent {
    async fn report(&mut self, clock: &Clock, base: &Mutex<String>) {
        let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sample = Sample { network: Network { total_bytes_in: Some(number), ..Network::default() }, ..Sample::default() };
        self.node.rebase(&base.lock().unwrap().clone());
        let now = clock.now().wall;
        self.fates.insert(number, Fate { measured: now, slot: None, durable: false, slowest_ms: 0 });
        let answer = self.node.report(now.0, sample).await;
        self.used = answer.and_then(|answer| answer.slot).map_or(clock.now().wall.slot(), |named| named.slot);
        let held = self.node.held.iter().map(|(item, _)| (number_of(&item.sample), item.witness.as_ref().map(|w| w.slot)));
        let held: BTreeMap<u64, Option<Slot>> = held.collect();
        let spent_ms = clock.now().wall.since(now);
        for (number, fate) in self.fates.iter_mut().filter(|(_, fate)| !fate.durable) {
            fate.slowest_ms = fate.slowest_ms.max(spent_ms);
            match held.get(number) {
                Some(named) => fate.slot = fate.slot.or(*named),
                None => fate.durable = true,
            }
        }
    }

    /// Reports once per slot, at its own moment of the slot, until told to stop.
    async fn live(mut self, clock: Clock, base: Arc<Mutex<String>>, stop: watch::Receiver<bool>) -> Agent {
        while !*stop.borrow() {
            let now = clock.now().wall;
            let moment = |slot: Slot| slot.start().plus_ms(i64::try_from(phase_ms(&self.node.id)).unwrap());
            let next = self.used.plus(1).max(now.slot());
            let wait_ms = moment(next).since(now);
            if wait_ms > 0 {
                tokio::time::sleep(clock.real_time(u64::try_from(wait_ms).unwrap())).await;
            }
            self.report(&clock, &base).await;
        }
        self
    }
}

fn timelapse(data_dir: &Path, flush_seconds: u64) -> Command {
    // target/debug/deps/integration-... -> target/debug/examples/timelapse
    let deps = std::env::current_exe().unwrap();
    let binary = deps.ancestors().nth(2).unwrap().join("examples/timelapse");
    assert!(binary.exists(), "{} is built by `cargo test`", binary.display());
    let mut command = Command::new(binary);
    command.arg("--data-dir").arg(data_dir).args(["--rate", &RATE.to_string()]);
    let settings = [
        ("LUCID__LOG__LEVEL", "error"),
        ("LUCID__LOG__MAX_FILES", "0"),
        ("LUCID__POOT__MIN_OBSERVATION_SECONDS", "60"),
        ("LUCID__POOT__CALCULATION_INTERVAL_SECONDS", "60"),
        ("LUCID__DEFAULT_POOL__COST_PER_HOUR", "10"),
        ("LUCID__PAYOUT__THRESHOLD_USDT", "0.001"),
        ("LUCID__PAYOUT__FREQUENCY_HOURS", "1"),
        ("LUCID__PAYOUT__PROCESSING_INTERVAL_SECONDS", "60"),
        ("LUCID__PAYOUT__ADDRESS_COOLDOWN_HOURS", "0"),
        ("LUCID__WEBHOOKS__ALLOW_PRIVATE", "true"),
    ];
    command.envs(settings).env("LUCID__STORAGE__FLUSH_SECONDS", flush_seconds.to_string());
    command
}

/// An hour, a day, a week and a month end while managers are being killed, at whatever moment the test is run: each end has work of its own.
fn begin_before_everything_ends(data_dir: &Path) {
    let wall = Timestamp::parse_rfc3339("2027-01-31T23:40:00Z").unwrap();
    std::fs::write(data_dir.with_extension("timelapse"), format!("{} {}\n", wall.0, read_system().boot.0)).unwrap();
}

/// The clock of the manager: the file says when its time began to run faster.
fn clock_of(data_dir: &Path) -> Clock {
    let text = std::fs::read_to_string(data_dir.with_extension("timelapse")).unwrap();
    let (wall, boot) = text.trim().split_once(' ').unwrap();
    let start = ClockReading { wall: Timestamp(wall.parse().unwrap()), boot: BootMs(boot.parse().unwrap()), synchronised: true };
    Clock::fast(start, RATE, Timestamp(0))
}

/// The manager processes of one store, one after the other.
struct Site {
    data_dir: PathBuf,
    base: Arc<Mutex<String>>,
    random: Random,
}

impl Site {
    fn start(&mut self) -> Manager {
        let flush_seconds = self.random.within(5, 90);
        let manager = start_manager(timelapse(&self.data_dir, flush_seconds));
        self.base.lock().unwrap().clone_from(&manager.base);
        manager
    }

    /// Killed so early that it may not have opened its store yet.
    async fn start_and_kill(&mut self) {
        let mut command = timelapse(&self.data_dir, 5);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut process = Process(child);
        self.pause(0, 250).await;
        process.kill();
    }

    async fn pause(&mut self, low_ms: u64, high_ms: u64) {
        let ms = self.random.within(low_ms, high_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// SIGTERM ends it by itself, and soon.
async fn stop_gracefully(mut manager: Manager) {
    let watch = Stopwatch::start();
    let status = tokio::task::spawn_blocking(move || manager.process.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
}

/// What people were told is done while managers were being killed.
#[derive(Default)]
struct Promises {
    /// Name -> id.
    pools: BTreeMap<String, String>,
    /// Nodes with a payout address.
    addresses: BTreeSet<String>,
}

/// Makes pools and registers payout addresses, one after the other, and remembers what was answered.
async fn people(mut client: Client, base: Arc<Mutex<String>>, nodes: Vec<String>, clock: Clock, stop: watch::Receiver<bool>) -> Promises {
    let commanded = nodes.first().cloned();
    let mut promises = Promises::default();
    let mut waiting = nodes.into_iter().peekable();
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        client.base.clone_from(&base.lock().unwrap());
        let name = format!("crash-{number}");
        let made = client.attempt(Method::POST, "/nodes/pools", Some(json!({ "name": name }))).await;
        if let Some((StatusCode::CREATED, pool)) = made {
            promises.pools.insert(name, pool["pool_id"].as_str().unwrap().to_owned());
        }
        if let Some(node) = waiting.peek() {
            // At this speed the five minutes of a fresh factor are over in seconds.
            client.attempt(Method::POST, "/auth/confirm", Some(json!({ "password": PASSWORD }))).await;
            let path = format!("/nodes/{node}/payout-address");
            let put = client.attempt(Method::PUT, &path, Some(json!({ "address": ADDRESS }))).await;
            if let Some((StatusCode::OK, _)) = put {
                promises.addresses.insert(waiting.next().unwrap());
            }
        }
        // Commands end between the kills too: the records of them have to be whole.
        if let Some(node) = &commanded {
            client.attempt(Method::POST, &format!("/nodes/{node}/restart"), None).await;
            // Far ahead, so that it needs no balance and is there at the end.
            let later = clock.now().wall.plus_seconds(90 * 86_400).rfc3339();
            let batch = json!({ "scheduled_at": later, "payout_requests": [{ "node_id": node, "amount": "0.5" }] });
            client.attempt(Method::POST, "/nodes/payouts/batch", Some(batch)).await;
            // Called off, so that its end is to be told, to somebody who never answers.
            let id = format!("batch_told-{number}");
            let told = json!({ "batch_id": id, "scheduled_at": later, "notification_url": NOBODY, "payout_requests": [{ "node_id": node, "amount": "0.5" }] });
            client.attempt(Method::POST, "/nodes/payouts/batch", Some(told)).await;
            client.attempt(Method::POST, &format!("/nodes/payouts/batches/{id}/cancel"), None).await;
            client.attempt(Method::POST, &format!("/nodes/{node}/maintenance"), Some(json!({ "duration_minutes": 1 }))).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    promises
}

/// A node that leaves and is owed real money, which a dry run does not pay; and one that a schedule pays every ten minutes, as long as its money lasts.
async fn leaver_and_schedule(client: &Client) {
    let mut made = Vec::new();
    for name in ["leaver", "regular", "suspect"] {
        let node = client.post("/nodes", json!({ "name": name, "node_type": "worker" })).await;
        made.push(node["node_id"].as_str().unwrap().to_owned());
    }
    for (node, settlement) in made.iter().zip(["live", "simulated"]) {
        let owed = json!({ "node_id": node, "amount": "5", "currency": "USDT", "settlement": settlement, "reason": "for a test" });
        client.post("/ledger/adjustments", owed).await;
    }
    client.put(&format!("/nodes/{}/payout-address", made[1]), json!({ "address": ADDRESS })).await;
    let (status, answer) = client.call(Method::DELETE, &format!("/nodes/{}?final_payout=true", made[0]), None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    client.post(&format!("/nodes/{}/suspend", made[2]), json!({ "reason": "for a test" })).await;
    let wishes = json!([{ "node_id": made[1], "amount": "0.5" }]);
    client
        .post("/nodes/payouts/schedule", json!({ "name": "often", "cron": "*/10 * * * *", "what": "listed", "payout_requests": wishes }))
        .await;
}

async fn enrol(client: &Client) -> Vec<Agent> {
    let body = json!({ "uses": NODES, "expires_in_seconds": 86_400 });
    let token = client.post("/enrolment-tokens", body).await["token"].as_str().unwrap().to_owned();
    let mut agents = Vec::new();
    for number in 0..NODES {
        let node = Machine::new(&format!("node-{number}")).enrol(&client.base, &token).await.unwrap();
        agents.push(Agent { node, fates: BTreeMap::new(), used: Slot(0) });
    }
    agents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    begin_before_everything_ends(&data_dir);
    let mut site = Site { data_dir: data_dir.clone(), base: Arc::default(), random: Random::new() };
    let mut manager = site.start();
    let clock = clock_of(&data_dir);
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data_dir.join("setup-code")).unwrap();
    client.set_up(code.trim(), None).await;
    leaver_and_schedule(&client).await;
    let agents = enrol(&client).await;

    let (stop, stopping) = watch::channel(false);
    let ids = agents.iter().map(|agent| agent.node.id.to_string()).collect();
    let people = tokio::spawn(people(client.clone(), Arc::clone(&site.base), ids, clock.clone(), stopping.clone()));
    let mut fleet = JoinSet::new();
    for agent in agents {
        fleet.spawn(agent.live(clock.clone(), Arc::clone(&site.base), stopping.clone()));
    }
    for kill in 1..=KILLS {
        if site.random.within(0, 5) == 0 {
            manager.process.kill();
            site.start_and_kill().await;
        } else {
            site.pause(50, 2_000).await;
            manager.process.kill();
        }
        manager = site.start();
        if kill % 10 == 0 {
            site.pause(200, 700).await;
            stop_gracefully(manager).await;
            manager = site.start();
        }
    }
    site.pause(1_000, 1_001).await;
    stop.send(true).unwrap();
    let promises = people.await.unwrap();
    let mut agents = tokio::time::timeout(PATIENCE, fleet.join_all()).await.expect("the agents stop");

    // A graceful stop makes everything durable that was accepted: afterwards only the newest measurement is unacknowledged.
    for _ in 0..2 {
        for agent in &mut agents {
            while clock.now().wall.slot() <= agent.used {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            agent.report(&clock, &site.base).await;
        }
        stop_gracefully(manager).await;
        manager = site.start();
    }
    for agent in &mut agents {
        while clock.now().wall.slot() <= agent.used {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        agent.report(&clock, &site.base).await;
        assert!(agent.node.held.len() <= 1, "{} measurements were not acknowledged", agent.node.held.len());
    }
    stop_gracefully(manager).await;

    let flags = vec![("storage.data_dir", "--data-dir", data_dir.to_str().unwrap().to_owned())];
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
    let store = open_store(&config, clock.now()).unwrap();
    for finding in verify(&store) {
        println!("{}: {} records", finding.part, finding.records);
        assert_eq!(finding.wrong, None, "{}", finding.part);
        // No chain takes votes here, nothing is a year old, and no backup is due.
        assert!(finding.records > 0 || ["votes", "archives", "backups"].contains(&finding.part.as_str()), "{} was at work", finding.part);
    }
    assert_measurements(&store, &agents, clock.now().wall.slot().plus(1));
    assert_payouts(&store, clock.now().wall);
    assert_schedules(&store);
    assert_promises(&store, &promises);
    store.close();
}

/// Every acknowledged measurement is there once, in the slot that the manager named; nothing is there that nobody measured.
fn assert_measurements(store: &Store, agents: &[Agent], until: Slot) {
    let (mut durable, mut named, mut displaced) = (0, 0, 0);
    for agent in agents {
        let index = index_of(store, agent);
        let first = agent.fates.values().map(|fate| fate.measured.slot()).min().unwrap();
        let stored: Vec<(u64, Slot)> = tiers::points(store, index, first, until, Parts::ALL)
            .unwrap()
            .iter()
            .map(|point| (number_of(&point.sample), point.slot))
            .collect();
        let slots: BTreeMap<u64, Slot> = stored.iter().copied().collect();
        assert_eq!(slots.len(), stored.len(), "{}: none is there twice", agent.node.id);
        for number in slots.keys() {
            assert!(agent.fates.contains_key(number), "{}: {number} was measured by nobody", agent.node.id);
        }
        for (number, fate) in agent.fates.iter().filter(|(_, fate)| fate.durable) {
            durable += 1;
            named += usize::from(fate.slot.is_some());
            match (slots.get(number), fate.slot) {
                (Some(slot), Some(named)) => assert_eq!(*slot, named, "{}: {number} is where the manager said", agent.node.id),
                (Some(_), None) => (),
                // A measurement whose answer got lost is placed by its age, when its report arrives; on a slow machine that may be some slots late, and each slot has room for one.
                (None, slot) => {
                    let slot = slot.unwrap_or(fate.measured.slot());
                    let unnamed =
                        |slot: Slot| stored.iter().any(|(n, s)| *s == slot && (agent.fates[n].slot.is_none() || fate.slot.is_none()));
                    let late = if fate.slot.is_none() { u32::try_from(fate.slowest_ms / SLOT_MS).unwrap() } else { 0 };
                    let near: Vec<_> = stored.iter().filter(|(_, s)| s.0.abs_diff(slot.0) < 6).collect();
                    let told = agent.fates.range(number - 4..number + 5).collect::<Vec<_>>();
                    assert!(
                        (0..=late + 1).any(|late| unnamed(slot.plus(late))),
                        "{}: {number} was acknowledged and is gone: {fate:?}; near it {near:?}; {told:?}",
                        agent.node.id
                    );
                    displaced += 1;
                }
            }
        }
    }
    println!("{durable} acknowledged measurements, {named} of them with a slot named, {displaced} in a slot that was taken");
    assert!(durable > NODES * 20 && named * 2 > durable, "there was load");
}

/// No transfer was made twice, none was forgotten, and no node was paid more often than allowed.
fn assert_payouts(store: &Store, now: Timestamp) {
    let mut all = Vec::new();
    payouts::for_each(&store.read().unwrap(), |payout| all.push(payout)).unwrap();
    let mut transfers = BTreeSet::new();
    let mut last: BTreeMap<NodeIndex, Timestamp> = BTreeMap::new();
    for payout in &all {
        for attempt in &payout.attempts {
            assert!(transfers.insert(attempt.txid().map(str::to_owned)), "two attempts with one transfer: {payout:?}");
        }
        let ended = matches!(payout.state, State::Paid { .. });
        assert!(ended || now.since(payout.created_at) < 10 * 60_000, "forgotten: {payout:?}");
        // What a schedule pays, it pays as often as it says.
        if payout.source != Source::Automatic {
            continue;
        }
        if let Some(before) = last.insert(payout.node, payout.created_at) {
            assert!(payout.created_at.since(before) >= HOUR_MS, "paid too often: {payout:?}");
        }
    }
    println!("{} payouts of {} nodes", all.len(), last.len());
    assert!(last.len() > NODES / 10, "there were payouts");
}

/// Moments follow each other: none fired twice, and each run begins where the one before ended.
fn assert_schedules(store: &Store) {
    let core = store.read().unwrap();
    for schedule in schedules::all(&core).unwrap() {
        let runs = schedules::runs(&core, &schedule.id).unwrap();
        for pair in runs.windows(2) {
            let [newer, older] = pair else { continue };
            let next = PayoutSchedule { fired_through: older.due_at, ..schedule.clone() }.next(older.due_at, 1);
            assert_eq!(next, [newer.since], "{newer:?} after {older:?}");
        }
        println!("{} runs of a schedule", schedule.runs);
        assert!(schedule.runs > 2, "it fired");
    }
}

fn assert_promises(store: &Store, promises: &Promises) {
    let core = store.read().unwrap();
    let pools = lucid::storage::core::pools::list(&core).unwrap();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for pool in &pools {
        assert_eq!(names.insert(&pool.name, pool.id.as_str()), None, "two pools named {}", pool.name);
    }
    for (name, id) in &promises.pools {
        assert_eq!(names.get(name.as_str()), Some(&id.as_str()), "the pool {name} was promised");
    }
    for node in &promises.addresses {
        let node = store.directory.by_id(&NodeId::parse(node).unwrap()).unwrap();
        let record = payouts::address(&core, &store.secrets, node.index).unwrap();
        assert_eq!(record.map(|record| record.address.to_string()).as_deref(), Some(ADDRESS), "{}", node.id);
    }
    println!("{} pools and {} addresses were promised", promises.pools.len(), promises.addresses.len());
    assert!(promises.pools.len() > 20 && promises.addresses.len() > 20);
}

fn index_of(store: &Store, agent: &Agent) -> NodeIndex {
    store.directory.by_id(&agent.node.id).unwrap().index
}
