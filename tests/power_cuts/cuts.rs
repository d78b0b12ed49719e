//! A whole manager whose store loses power at a random moment of ingest, flushes, postings, epochs, sealing, expiry and compaction; again and again. A model that shares no code with it
//! knows what was acknowledged. After each cut the store opens, `verify` finds nothing, nothing acknowledged is lost, and nothing is there twice.
//!
//! `LUCID_CUTS` says how many (1,000 where it does not), `LUCID_SEED` replays one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lucid::app::{App, AppError, open_store_on};
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::audit::Act;
use lucid::domain::calendar::Week;
use lucid::domain::epoch::Head;
use lucid::domain::evidence::SLOTS_PER_DAY;
use lucid::domain::ids::{Incarnation, NodeId, NodeIndex, UserId};
use lucid::domain::ledger::{Account, Book, Cause, Settlement};
use lucid::domain::metrics::{Network, Sample};
use lucid::domain::money::{Currency, Units};
use lucid::domain::node::{NodeConfiguration, NodeType};
use lucid::domain::registration::NewNode;
use lucid::domain::time::{BootMs, Slot, Timestamp};
use lucid::gateways::payment::Simulated;
use lucid::jobs::measurements;
use lucid::live::Job;
use lucid::storage::compaction::Which;
use lucid::storage::core::{cold_files, epochs, ledger, ledger_entries, nodes};
use lucid::storage::device::Device;
use lucid::storage::fault::TxError;
use lucid::storage::hot::Parts;
use lucid::storage::table::{Read, WriteTx};
use lucid::storage::verify::verify;
use lucid::storage::{Directory, Lane, Store, compaction, hot, tiers};
use lucid::wire::{Item, PROTOCOL, Report};

use crate::support::crash_device::CrashDevice;
use crate::support::random::Random;
use crate::support::site::Site;

const NODES: usize = 3;
const BOOK: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
const SETTINGS: [(&str, &str); 1] = [("server.tls", "off")];

/// A manager that was set up and used in peace: where each run begins.
pub(super) struct Base {
    dir: tempfile::TempDir,
    pub driver: Driver,
    pub files: Vec<(PathBuf, Vec<u8>)>,
    pub nodes: Vec<(NodeId, NodeIndex)>,
}

impl Base {
    pub async fn new() -> Base {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("data"), &SETTINGS).await;
        for n in 0..NODES {
            site.enrol(&format!("node-{n}")).await;
        }
        site.pass_slots(15).await;
        let nodes = site.app.store.directory.all().iter().map(|node| (node.id.clone(), node.index)).collect();
        let (driver, data) = (site.driver.clone(), site.dir.clone());
        site.end().await;
        let files = ["core.redb", "hot.redb"].map(|name| (data.join(name), fs::read(data.join(name)).unwrap())).to_vec();
        Base { dir, driver, files, nodes }
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn config(&self) -> Config {
        config(&self.dir(), &SETTINGS)
    }

    /// Time as it was when peace ended.
    pub fn driver(&self) -> Driver {
        let driver = Driver::new(Timestamp(self.driver.reading().wall.0), BootMs(60_000));
        driver.set_synchronised(true);
        driver
    }
}

pub fn config(data: &Path, settings: &[(&'static str, &str)]) -> Config {
    let mut flags = vec![("storage.data_dir", "--data-dir", data.to_str().unwrap().to_owned())];
    flags.extend(settings.iter().map(|(key, value)| (*key, *key, (*value).to_owned())));
    Config::load(&Sources { flags, ..Sources::default() }).unwrap().config
}

/// A manager on that device, and at that time.
pub async fn manager(config: &Config, driver: &Driver, device: Arc<dyn Device>) -> Result<App, AppError> {
    let clock_of = |config: &Config, high| Clock::driven(driver, config.clock.trust, high);
    let app = App::open_on(config, &clock_of, Arc::new(Simulated), device).await?;
    app.context.tick();
    Ok(app)
}

/// Its store alone, which has to open.
pub fn store(config: &Config, driver: &Driver, device: Arc<dyn Device>, what: &str) -> Store {
    let now = Clock::driven(driver, config.clock.trust, Timestamp(0)).now();
    open_store_on(config, device, now).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// So many cuts in all.
pub(super) fn cuts() -> u64 {
    std::env::var("LUCID_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// The one that is to be replayed, or all.
pub fn seeds(count: u64) -> Vec<u64> {
    let given = std::env::var("LUCID_SEED").ok().and_then(|text| text.parse().ok());
    given.map_or_else(|| (1..=count.max(1)).collect(), |seed| vec![seed])
}

/// What the manager owes the world.
#[derive(Default, Clone)]
pub(super) struct Model {
    /// By their reason: amounts, and whether they were acknowledged.
    adjustments: BTreeMap<String, (NodeIndex, Units, bool)>,
    /// By node and slot: the number in the sample, and whether it is durable.
    pub samples: BTreeMap<(NodeIndex, Slot), (u64, bool)>,
    heads: Vec<Head>,
    /// Nodes, and whether they were acknowledged.
    names: BTreeMap<String, bool>,
    /// Samples before may be gone.
    forgotten_perhaps: Slot,
}

/// What all runs together did: a model that saw nothing happen proves nothing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cuts_while_opening: u32,
    cuts_while_working: u32,
    cuts_while_compacting: u32,
    cuts_at_rest: u32,
    adjustments: usize,
    samples: usize,
    sealed: usize,
    heads: usize,
    expiries: u32,
    compactions: u32,
}

pub(super) struct Run {
    pub app: App,
    pub model: Model,
    pub random: Random,
    driver: Driver,
    nodes: Vec<(NodeId, NodeIndex)>,
    incarnation: u64,
    seq: u64,
    pub number: u64,
    tally: Tally,
}

impl Run {
    /// Of a manager whose life is the `incarnation`th; names and amounts count on from `number`.
    pub fn of(app: App, base: &Base, driver: &Driver, random: Random, (incarnation, number): (u64, u64), model: Model) -> Run {
        let (driver, nodes) = (driver.clone(), base.nodes.clone());
        Run { app, model, random, driver, nodes, incarnation, seq: 0, number, tally: Tally::default() }
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.app.store
    }

    pub async fn step(&mut self) {
        match self.random.within(0, 21) {
            0..5 => self.report(),
            5..8 => self.flush().await,
            8..11 => self.adjust().await,
            11..13 => self.epochs().await,
            13 => drop(self.app.context.run(Job::Postings).await),
            14 => self.expire().await,
            15..17 => self.name_node().await,
            17..20 => self.seal().await,
            _ => self.compact(),
        }
        for _ in 0..self.random.within(0, 4) {
            self.driver.advance_ms(30_000);
            self.app.context.tick();
        }
    }

    /// Every node says how it is, if it has not in this slot.
    pub fn report(&mut self) {
        let now = self.app.clock.now();
        self.seq += 1;
        for (id, index) in self.nodes.clone() {
            self.number += 1;
            let sample = Sample { network: Network { total_bytes_in: Some(self.number), ..Network::default() }, ..Sample::default() };
            let items = vec![Item { seq: self.seq, age_ms: 0, witness: None, running: None, sample }];
            let report = Report {
                protocol: PROTOCOL,
                incarnation: Incarnation(self.incarnation),
                seq: self.seq,
                run: Some(self.store().intake.run),
                items,
                fingerprint: Default::default(),
                agent_version: String::new(),
                dropped: 0,
                workload: None,
                head: None,
                contradicts: None,
                capabilities: Vec::new(),
            };
            let accepted = self.store().intake.accept(index, &id, &report, &[0; 32], &|_| true, now);
            assert!(accepted.is_ok(), "{accepted:?}");
            self.model.samples.entry((index, now.wall.slot())).or_insert((self.number, false));
        }
    }

    pub async fn flush(&mut self) {
        if self.app.context.run(Job::Flush).await.is_ok() {
            self.model.samples.values_mut().for_each(|(_, durable)| *durable = true);
        }
    }

    pub async fn adjust(&mut self) {
        self.number += 1;
        let adjustment = self.adjustment(self.number);
        let done = self.store().write_money(adjustment.verb()).await;
        self.model.adjustments.insert(adjustment.order.reason, (adjustment.index, adjustment.amount, done.is_ok()));
    }

    fn adjustment(&self, number: u64) -> Adjustment {
        let (id, index) = self.nodes[usize::try_from(number).unwrap() % NODES].clone();
        let (reason, amount) = (format!("reason {number}"), Units(i64::try_from(number).unwrap()));
        let order = ledger_entries::Order { by: UserId::parse("user_model").unwrap(), reason };
        Adjustment { id, index, amount, order, act: Act::system(self.app.clock.now()) }
    }

    /// One more node, which memory knows as well as the store.
    async fn name_node(&mut self) {
        self.number += 1;
        let name = format!("made-{}", self.number);
        let id = NodeId::parse(&format!("node_{:08}", self.number)).unwrap();
        let new = NewNode {
            name: name.clone(),
            node_type: NodeType::Worker,
            hardware: None,
            location: None,
            pool: None,
            configuration: NodeConfiguration::default(),
        };
        let (directory, act) = (Arc::clone(&self.store().directory), Act::system(self.app.clock.now()));
        let done = self.store().write(move |tx| nodes::create(tx, &directory, &act, &id, &new, 10_000).map(drop)).await;
        self.model.names.insert(name, done.is_ok());
    }

    async fn epochs(&mut self) {
        // It flushes before it closes one; if it stops, perhaps after that.
        if self.app.context.run(Job::Epochs).await.is_ok()
            && let Ok(read) = self.store().read()
            && let Ok(Some(head)) = epochs::last(&read)
            && self.model.heads.last() != Some(&head)
        {
            self.model.heads.push(head);
        }
    }

    /// The week before goes, where there is one, and old evidence.
    async fn expire(&mut self) {
        let week = Week::of(self.app.clock.now().wall.slot()).start();
        self.model.forgotten_perhaps = week;
        let evidence = week.minus(SLOTS_PER_DAY * 30);
        let (context, now) = (&self.app.context, self.app.clock.now());
        let mut is_done = true;
        for going in self.store().too_old(week, Slot(0)) {
            let draft = Act::system(now).draft("storage.expire", going.name());
            is_done &= measurements::delete(context, going, draft).await.is_ok();
        }
        is_done &= measurements::look(context, now, (week, Slot(0))).await.is_ok();
        if self.store().hot.write(Lane::Ordinary, move |tx| hot::prune(tx, evidence)).await.is_ok() && is_done {
            self.tally.expiries += 1;
        }
    }

    /// As if everybody had waited for six hours.
    pub async fn seal(&mut self) {
        let later = self.app.clock.now().wall.slot().plus(1_000);
        self.tally.sealed += self.store().seal(later).await.map_or(0, |swept| swept.samples);
    }

    /// One of the files, and between its rounds somebody posts something, so that there is something to catch up with.
    fn compact(&mut self) {
        let which = if self.random.within(0, 2) == 0 { Which::Core } else { Which::Hot };
        let (store, made) = (Arc::clone(self.store()), Mutex::new(Vec::new()));
        let post = || {
            let mut made = made.lock().unwrap();
            let adjustment = self.adjustment(self.number + 1 + made.len() as u64);
            let done = store.core.write_now(adjustment.verb());
            made.push((adjustment.order.reason, (adjustment.index, adjustment.amount, done.is_ok())));
            Duration::ZERO
        };
        // Not in a thread of the runtime, which may not wait.
        let compact = || compaction::compact(store.file(which), &compaction::Progress::default(), &post).is_ok();
        let is_done = std::thread::scope(|scope| scope.spawn(compact).join()).unwrap();
        let made = made.into_inner().unwrap();
        self.number += made.len() as u64;
        self.model.adjustments.extend(made);
        self.tally.compactions += u32::from(is_done);
        self.tally.cuts_while_compacting += u32::from(!is_done);
    }
}

/// Something to be posted once.
struct Adjustment {
    id: NodeId,
    index: NodeIndex,
    amount: Units,
    order: ledger_entries::Order,
    act: Act,
}

impl Adjustment {
    fn verb(&self) -> impl Fn(&mut WriteTx<'_>) -> Result<(), TxError> + Send + 'static + use<> {
        let (id, amount, order, act) = (self.id.clone(), self.amount, self.order.clone(), self.act.clone());
        move |tx| ledger_entries::adjust(tx, &act, &order, &id, BOOK, amount).map(drop)
    }
}

impl Model {
    /// Holds `store` against what was acknowledged, and takes over what was not and is there.
    pub fn hold(&mut self, store: &Store, what: &str) {
        assert_eq!(cold_files::lost(&store.read().unwrap()).unwrap(), [], "a file went that nobody deleted");
        for finding in verify(store) {
            assert_eq!(finding.wrong, None, "{what}: {}", finding.part);
        }
        let core = store.read().unwrap();
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        let (postings, _) = ledger::page(&core, ledger::Filter::default(), 0, 100_000).unwrap();
        for posting in postings {
            if let Cause::Adjustment { reason, .. } = posting.entry.cause {
                *found.entry(reason).or_default() += 1;
            }
        }
        let mut balances: BTreeMap<NodeIndex, i64> = BTreeMap::new();
        for (reason, (node, amount, acknowledged)) in &mut self.adjustments {
            let times = found.remove(reason).unwrap_or(0);
            assert!(times == 1 || (times == 0 && !*acknowledged), "{what}: {reason} is there {times} times; acknowledged: {acknowledged}");
            *acknowledged = times == 1;
            *balances.entry(*node).or_default() += if times == 1 { amount.0 } else { 0 };
        }
        assert!(found.is_empty(), "{what}: nobody made {found:?}");
        self.adjustments.retain(|_, (_, _, acknowledged)| *acknowledged);
        for (node, wanted) in balances {
            let all = ledger::balance(&core, BOOK, Account::NodePayable(node)).unwrap().0;
            assert!(all >= wanted, "{what}: {node:?} is owed {all}, of adjustments alone {wanted}");
        }
        for ((node, slot), (number, durable)) in &mut self.samples {
            let points = tiers::points(store, *node, *slot, slot.plus(1), Parts::ALL).unwrap();
            let there = points.first().map(|point| point.sample.network.total_bytes_in);
            if there.is_some() || (*durable && *slot >= self.forgotten_perhaps) {
                assert_eq!(there, Some(Some(*number)), "{what}: {node:?} in {slot:?}");
            }
            *durable = there.is_some();
        }
        self.samples.retain(|_, (_, durable)| *durable);
        let all: Vec<String> = store.directory.all().iter().map(|node| node.name.clone()).collect();
        let loaded: Vec<String> = Directory::load(&core).unwrap().all().iter().map(|node| node.name.clone()).collect();
        assert_eq!(all, loaded, "{what}: memory and store");
        for (name, acknowledged) in &mut self.names {
            let times = all.iter().filter(|other| *other == name).count();
            assert!(times == 1 || (times == 0 && !*acknowledged), "{what}: {name} is there {times} times");
            *acknowledged = times == 1;
        }
        self.names.retain(|_, acknowledged| *acknowledged);
        for head in &self.heads {
            assert_eq!(epochs::by_epoch(&core, head.epoch).unwrap().as_ref(), Some(head), "{what}");
        }
        let numbers: Vec<u64> = epochs_of(store).iter().map(|head| u64::from(head.epoch.0)).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{what}: {numbers:?}");
    }
}

fn epochs_of(store: &Store) -> Vec<Head> {
    let core = store.read().unwrap();
    let mut heads = epochs::page(&core, 0, usize::try_from(core.count(lucid::storage::core::tables::EPOCHS).unwrap()).unwrap()).unwrap();
    heads.sort_by_key(|head| head.epoch);
    heads
}

/// Three cuts, one after the other.
async fn cut(base: &Base, config: &Config, seed: u64, tally: &mut Tally) {
    let device = CrashDevice::new(seed);
    device.fill(&base.files);
    let driver = base.driver();
    let (mut model, mut number) = (Model::default(), 0);
    for round in 0..3_u64 {
        let what = format!("LUCID_SEED={seed}, cut {round}");
        let mut random = Random::of(seed.wrapping_mul(31).wrapping_add(round + 1));
        // While it opens, or while it works.
        device.cut_after(random.within(1, if round == 1 { 30 } else { 1_000 }));
        if let Ok(app) = manager(config, &driver, device.device()).await {
            let mut run = Run::of(app, base, &driver, random, (seed * 8 + round, number), std::mem::take(&mut model));
            run.tally = std::mem::take(tally);
            for _ in 0..60 {
                run.step().await;
                if device.is_off() {
                    break;
                }
            }
            number = run.number;
            (model, *tally) = (run.model, run.tally);
            if device.is_off() {
                tally.cuts_while_working += 1;
            } else {
                tally.cuts_at_rest += 1;
            }
        } else {
            tally.cuts_while_opening += 1;
        }
        tally.adjustments += model.adjustments.values().filter(|(_, _, acknowledged)| *acknowledged).count();
        tally.samples += model.samples.values().filter(|(_, durable)| *durable).count();
        tally.heads += model.heads.len();
        device.power_cycle();
        let store = store(config, &driver, device.device(), &what);
        model.hold(&store, &what);
        store.close();
        drop(store);
        let left = device.files();
        assert!(left.iter().all(|path| path.extension().is_some_and(|end| end == "redb")), "{what}: {left:?}");
        driver.advance_ms(30_000);
    }
}

/// Nothing is cut; every few changes a sync or a write fails.
async fn fail(base: &Base, config: &Config, seed: u64) {
    let device = CrashDevice::new(seed);
    device.fill(&base.files);
    let what = format!("LUCID_SEED={seed}, failures");
    let driver = base.driver();
    let app = manager(config, &driver, device.device()).await.unwrap();
    let mut run = Run::of(app, base, &driver, Random::of(seed), (seed, 0), Model::default());
    for _ in 0..60 {
        let n = run.random.within(1, 12);
        if run.random.within(0, 3) == 0 {
            device.fail_write(n)
        } else {
            device.fail_sync(n)
        }
        run.step().await;
    }
    let store = Arc::clone(run.store());
    assert!(!store.core.failed() && !store.hot.failed(), "{what}");
    run.model.hold(&store, &what);
    run.flush().await;
    drop(store);
    let mut model = std::mem::take(&mut run.model);
    drop(run);
    device.power_cycle();
    let store = self::store(config, &driver, device.device(), &what);
    model.hold(&store, &format!("{what}, then a power cut"));
}

#[tokio::test]
async fn a_manager_whose_card_fails_now_and_then_goes_on_and_its_memory_follows_the_store() {
    let base = Base::new().await;
    let config = base.config();
    for seed in 1..=12 {
        fail(&base, &config, seed).await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let (base, mut tally) = (Base::new().await, Tally::default());
    let config = base.config();
    // Three cuts each.
    let seeds = seeds(cuts().div_ceil(3));
    for seed in &seeds {
        cut(&base, &config, *seed, &mut tally).await;
    }
    println!("{tally:?}");
    if seeds.len() == 1 {
        return;
    }
    let Tally { cuts_while_opening, cuts_while_working, cuts_while_compacting, cuts_at_rest: _, .. } = tally;
    assert!(cuts_while_opening > 0 && cuts_while_working > 30 && cuts_while_compacting > 3, "{tally:?}");
    assert!(tally.adjustments > 100 && tally.samples > 100 && tally.heads > 10, "{tally:?}");
    assert!(tally.expiries > 10 && tally.compactions > 10 && tally.sealed > 100, "{tally:?}");
}
