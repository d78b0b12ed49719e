//! The library in this process, on a driven clock: what an epoch costs, what a day writes, and a store of the size that three days
//! of a thousand nodes make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lucid::app::App;
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::address::{AddressRecord, PayoutAddress};
use lucid::domain::audit::Act;
use lucid::domain::bits::Bitmap;
use lucid::domain::chunk::Series;
use lucid::domain::credits::Epochs;
use lucid::domain::enrolment::{EnrolmentTarget, NewToken, TokenText};
use lucid::domain::evidence::{SLOTS_PER_DAY, SlotRow};
use lucid::domain::ids::{EnrolmentId, Incarnation, NodeId, NodeIndex, PoolId, UserId};
use lucid::domain::ledger::{Book, Entry, Settlement};
use lucid::domain::metrics::Sample;
use lucid::domain::money::{Currency, Units};
use lucid::domain::pool::NewPool;
use lucid::domain::proof::check::{self, Verdict};
use lucid::domain::time::{BootMs, SLOT_MS, Slot, Timestamp};
use lucid::live::Job;
use lucid::storage::core::payouts::{self, SealedAddress};
use lucid::storage::core::{enrolment, ledger, pools};
use lucid::storage::hot::kept_outputs::{self, KeptOutput};
use lucid::storage::hot::{self, Batch, EncodedSample, PendingSample, Point, hours};
use lucid::storage::table::WriteTx;
use lucid::storage::{Lane, core};
use lucid::wire::{Item, PROTOCOL, Report};

use super::life::Life;
use super::load::{Machine, hardware, sample};
use super::peers;
use super::process::own_written_bytes;

/// Slots of 72 h: as far as a score looks back.
pub const WINDOW_SLOTS: u32 = 8_640;
const NODES_PER_POOL: usize = 1_000;
/// Slots that are written in one transaction while a store is prepared.
const PREPARED_AT_ONCE: u32 = 120;

pub struct Local {
    pub app: App,
    driver: Driver,
    nodes: Vec<(NodeIndex, NodeId)>,
    pools: Vec<PoolId>,
    /// The first node was not observed before this slot.
    newcomer_since: Slot,
}

/// Seconds of processor time of this process.
fn cpu_seconds() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "processor time, no clock")]
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

impl Local {
    /// A manager with `nodes` enrolled nodes whose clock shows `start`.
    pub async fn new(dir: &Path, start: Slot, nodes: usize) -> Local {
        Local::in_pools_of(NODES_PER_POOL, dir, start, nodes, &[]).await
    }

    /// With more settings.
    pub async fn with(dir: &Path, start: Slot, nodes: usize, settings: &[(&'static str, &str)]) -> Local {
        Local::in_pools_of(NODES_PER_POOL, dir, start, nodes, settings).await
    }

    async fn in_pools_of(per_pool: usize, dir: &Path, start: Slot, nodes: usize, settings: &[(&'static str, &str)]) -> Local {
        let driver = Driver::new(start.start(), BootMs(60_000));
        let flags = [("storage.data_dir", dir.to_str().unwrap()), ("pools.max_nodes_per_pool", "1000")];
        let flags = flags.iter().chain(settings).map(|(key, value)| (*key, *key, (*value).to_owned())).collect();
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
        let clock_driver = driver.clone();
        let app = App::open(&config, &move |config, high| Clock::driven(&clock_driver, config.clock.trust, high)).await.unwrap();
        let mut local = Local { app, driver, nodes: Vec::new(), pools: Vec::new(), newcomer_since: Slot(0) };
        for first in (0..nodes).step_by(per_pool) {
            local.enrol(first..(first + per_pool).min(nodes)).await;
        }
        local
    }

    async fn enrol(&mut self, numbers: std::ops::Range<usize>) {
        let store = &self.app.store;
        let act = Act::system(self.app.clock.now());
        let entropy = store.entropy.clone();
        let wall_ms = act.now.wall.0;
        let pricing = *core::pools::list(&store.read().unwrap()).unwrap()[0].pricing.latest();
        let new_pool = NewPool {
            name: format!("bench-{}", numbers.start),
            description: String::new(),
            max_nodes: 1_000,
            resource_limits: None,
            auto_scaling: false,
            scaling_policy: None,
            pricing,
            outputs_expected: false,
        };
        let (pool_id, by) = (PoolId::new(entropy.uuid(wall_ms)), act.clone());
        self.pools.push(pool_id.clone());
        let pool = store.write(move |tx| pools::create(tx, &by, &pool_id, &new_pool)).await.unwrap();
        let text = TokenText::new(EnrolmentId::new(entropy.uuid(wall_ms)), &entropy.bytes(), &store.manager_key(), &store.first_key());
        let ours = vec![text.manager_key_hash.clone()];
        let new_token =
            NewToken { target: EnrolmentTarget::Pool(pool.index), uses: 1_000, expires_in_seconds: 3_600, needs_approval: false };
        let (by, kept) = (act.clone(), text.clone());
        store.write(move |tx| enrolment::create_token(tx, &by, &kept, &new_token)).await.unwrap();
        let mut enrolling = tokio::task::JoinSet::new();
        for number in numbers {
            let machine = Machine::new(number);
            let asked = enrolment::Enrolling {
                token: text.clone(),
                key: machine.key().public(),
                fingerprint: machine.fingerprint().clone(),
                hardware: hardware(),
                name: machine.name().to_owned(),
                new_id: NodeId::new(entropy.uuid(wall_ms)),
                on_machine: Vec::new(),
                max_nodes: lucid::domain::node::MAX_NODES,
            };
            let (store, act, ours) = (Arc::clone(store), act.clone(), ours.clone());
            enrolling.spawn(async move {
                let directory = Arc::clone(&store.directory);
                store.write(move |tx| enrolment::enrol(tx, &directory, &act, &ours, &asked)).await.unwrap().node
            });
        }
        let enrolled = enrolling.join_all().await;
        self.nodes.extend(enrolled.into_iter().map(|node| (node.index, node.id)));
        self.nodes.sort();
    }

    fn slot(&self) -> Slot {
        self.driver.reading().wall.slot()
    }

    /// To `ms` after the beginning of the next slot.
    fn next_slot(&self, ms: i64) {
        let into = self.driver.reading().wall.0.rem_euclid(SLOT_MS);
        self.driver.advance_ms(SLOT_MS - into);
        self.app.context.tick();
        self.driver.advance_ms(ms);
    }

    fn row(&self, slot: Slot) -> SlotRow {
        let mut row = SlotRow::default();
        let present = &self.nodes[usize::from(slot < self.newcomer_since)..];
        let observed: Bitmap = present.iter().map(|(index, _)| *index).collect();
        row.observe(&observed);
        // Every node misses one slot in forty, each its own.
        for (index, _) in present.iter().filter(|(index, _)| !(index.0 + slot.0).is_multiple_of(40)) {
            row.prove(*index);
        }
        row
    }

    /// History behind the first head: closed ranges are not closed again, and scores look back at it. What is kept in memory of these slots is none of it.
    async fn write_past(&self, from: Slot, until: Slot) {
        self.write_history(from, until, false).await;
        drop(self.app.store.recent.take_evidence());
    }

    /// Writes evidence of `[from, until)`, with samples when asked.
    async fn write_history(&self, from: Slot, until: Slot, with_samples: bool) {
        let slots: Vec<Slot> = from.until(until).collect();
        for chunk in slots.chunks(PREPARED_AT_ONCE as usize) {
            let mut batch = Batch { evidence: chunk.iter().map(|slot| (*slot, self.row(*slot))).collect(), ..Batch::default() };
            for slot in chunk.iter().filter(|_| with_samples) {
                let encode = |index: NodeIndex| EncodedSample::new(&sample(u64::from(slot.0 % 100_000) * 7 + u64::from(index.0)));
                let of_slot: BTreeMap<NodeIndex, PendingSample> =
                    self.nodes.iter().map(|(index, _)| (*index, PendingSample { late: false, encoded: encode(*index) })).collect();
                batch.samples.insert(*slot, of_slot);
            }
            let tails = Arc::clone(&self.app.store.tails);
            self.app.store.hot.write(Lane::Ordinary, move |tx| hot::flush(tx, &batch, &tails)).await.unwrap();
        }
    }

    /// Hours of a year before `until`, as if they had been rolled up.
    async fn write_year(&self, until: Slot) {
        let end = hours::hour_of(until);
        let mut lives: Vec<Life> = self.nodes.iter().map(|(node, _)| Life::new(u64::from(node.0))).collect();
        let groups: BTreeSet<u32> = self.nodes.iter().map(|(node, _)| hours::group_of(*node)).collect();
        for first in (end - DAYS_OF_HOURS * 24..end).step_by(24) {
            let mut rows = Vec::new();
            for hour in first..first + 24 {
                let point = |slot, life: &mut Life| Point { slot, late: false, sample: life.next() };
                let mut pieces: BTreeMap<NodeIndex, Vec<Series>> = self
                    .nodes
                    .iter()
                    .zip(&mut lives)
                    .map(|((node, _), life)| {
                        (*node, vec![hot::series(&[0, 40, 80].map(|at| point(hours::first_slot(hour).plus(at), life)))])
                    })
                    .collect();
                for group in &groups {
                    let of_group = hours::nodes_of(*group).into_iter().filter_map(|node| pieces.remove_entry(&node)).collect();
                    rows.extend(hours::roll(hour, *group, of_group).unwrap());
                }
            }
            self.app.store.cold.put_hours(rows).await.unwrap();
            while self.app.store.cold.settle_hours((first + 24) / 24).await.unwrap() {}
        }
    }

    /// Lets the present epoch pass with everybody proven, and closes it; (processor, wall) seconds of the close.
    async fn close_epoch(&self, epochs: Epochs) -> (f64, f64) {
        let last = epochs.last_slot(epochs.of(self.slot()));
        self.write_history(self.slot(), last.plus(1), false).await;
        // A slot closes 90 s after its end.
        for _ in self.slot().until(last.plus(4)) {
            self.next_slot(0);
        }
        self.driver.advance_ms(5_000);
        let before = self.heads();
        let (cpu, watch) = (cpu_seconds(), lucid::clock::Stopwatch::start());
        self.app.context.run(Job::Epochs).await.unwrap();
        let spent = (cpu_seconds() - cpu, watch.elapsed().as_secs_f64());
        assert_eq!(self.heads() - before, 1, "one epoch");
        spent
    }

    /// Encoded bytes of all rows of evidence, leaves and heads.
    fn stored(&self) -> [u64; 3] {
        let (core, hot) = (self.app.store.read().unwrap(), self.app.store.hot.read().unwrap());
        let heads = core::epochs::page(&core, 0, usize::MAX).unwrap();
        let size = |bytes: postcard::Result<Vec<u8>>| bytes.unwrap().len() as u64;
        let evidence = hot::evidence(&hot, Slot(0), Slot(u32::MAX)).unwrap();
        let leaves = heads.iter().map(|head| size(postcard::to_stdvec(&hot::leaves::of_epoch(&hot, head.epoch).unwrap())));
        [
            evidence.iter().map(|row| size(postcard::to_stdvec(row))).sum(),
            leaves.sum(),
            heads.iter().map(|head| size(postcard::to_stdvec(head))).sum(),
        ]
    }

    fn heads(&self) -> u64 {
        core::epochs::count(&self.app.store.read().unwrap()).unwrap()
    }

    pub fn close(self) {
        self.app.store.close();
    }
}

/// What it costs to close an epoch: milliseconds, medians of several.
pub struct Closes {
    pub cpu_ms: f64,
    pub wall_ms: f64,
    /// Of processor time, of one close: the first one after a start, which reads all evidence.
    pub first_ms: f64,
}

/// With 72 h of evidence in the store. With a `newcomer` among the nodes scores look at all of it, without one at the newest day.
pub async fn epoch(dir: &Path, nodes: usize, newcomer: bool) -> Closes {
    let epochs = Epochs::of_seconds(300).unwrap();
    let start = epochs.of(Slot(59_000_000)).first_slot();
    let mut local = Local::new(dir, start, nodes).await;
    local.newcomer_since = if newcomer { start } else { Slot(0) };
    local.close_epoch(epochs).await;
    local.write_past(start.minus(WINDOW_SLOTS), start).await;
    let first_ms = 1e3 * local.close_epoch(epochs).await.0;
    let mut closes = Vec::new();
    for _ in 0..7 {
        closes.push(local.close_epoch(epochs).await);
    }
    local.close();
    closes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, wall) = closes[closes.len() / 2];
    Closes { cpu_ms: cpu * 1e3, wall_ms: wall * 1e3, first_ms }
}

/// What proofs of one node cost, medians.
pub struct Proofs {
    pub made_ms: f64,
    pub checked_ms: f64,
    pub earlier_ms: f64,
    pub bytes: f64,
}

/// Of a fleet that was there all day; every node is asked about in turn.
pub async fn proofs(dir: &Path, nodes: usize) -> Proofs {
    let epochs = Epochs::of_seconds(300).unwrap();
    let start = epochs.of(Slot(59_000_000)).first_slot();
    let local = Local::new(dir, start, nodes).await;
    local.close_epoch(epochs).await;
    local.write_past(start.minus(SLOTS_PER_DAY), start).await;
    for _ in 0..3 {
        local.close_epoch(epochs).await;
    }
    let store = &local.app.store;
    let heads = core::epochs::page(&store.read().unwrap(), 0, 3).unwrap();
    let key = store.manager_key().0;
    let document = |node: usize, epoch| lucid::storage::proofs::document(store, local.nodes[node % nodes].0, epoch).unwrap().unwrap();
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let timed = |f: &dyn Fn(usize)| {
        let each = (0..51).map(|n| {
            let watch = lucid::clock::Stopwatch::start();
            f(n * 97);
            watch.elapsed().as_secs_f64() * 1e3
        });
        median(each.collect())
    };
    let made_ms = timed(&|n| drop(document(n, None)));
    let json = serde_json::to_vec(&document(7, None)).unwrap();
    let checked_ms = timed(&|_| {
        let read = serde_json::from_slice(&json).unwrap();
        assert_eq!(Verdict::of(&check::proof(&read, Some(&key))), Verdict::Good);
    });
    // Two epochs in turn: neither tree is the one that was asked for last.
    let earlier_ms = timed(&|n| drop(document(n, Some(heads[1 + n % 2].epoch))));
    local.close();
    Proofs { made_ms, checked_ms, earlier_ms, bytes: json.len() as f64 }
}

/// A store whose nodes were there for a day before `until`: all its epochs are closed, nothing is posted.
pub async fn closed_day(dir: &Path, nodes: usize, until: Timestamp) {
    let epochs = Epochs::of_seconds(300).unwrap();
    let start = epochs.of(until.slot().minus(SLOTS_PER_DAY)).first_slot();
    let local = Local::new(dir, start, nodes).await;
    // An epoch takes ten slots and closes in the fourth slot after.
    while local.slot().plus(15) < until.slot() {
        local.close_epoch(epochs).await;
    }
    local.close();
}

/// A store whose nodes have payout addresses and are owed so much each, in the live book; their ids.
pub async fn owed(dir: &Path, now: Timestamp, addresses: &[PayoutAddress], amount: Units) -> Vec<String> {
    let local = Local::new(dir, now.slot(), addresses.len()).await;
    let (store, now) = (Arc::clone(&local.app.store), local.app.clock.now());
    let book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
    let mut owed = Vec::new();
    for ((node, _), address) in local.nodes.iter().zip(addresses) {
        let record = AddressRecord { address: address.clone(), changed_at: now.wall, active_from: now.wall };
        owed.push((*node, SealedAddress::seal(&store.secrets, &store.entropy, *node, &record).unwrap()));
    }
    let by = UserId::parse("user_0123456789").unwrap();
    let write = move |tx: &mut WriteTx<'_>| {
        for (node, address) in &owed {
            payouts::put_address(tx, *node, address)?;
            ledger::post(tx, Entry::adjustment(book, *node, amount, "a bench".into(), by.clone()).unwrap(), now)?;
        }
        Ok(())
    };
    store.write_money(write).await.unwrap();
    let ids = local.nodes.iter().map(|(_, id)| id.to_string()).collect();
    local.close();
    ids
}

/// A store with 72 h of evidence, and samples of the newest `samples_of_slots`, that ends `until`; returns its bytes on disk.
pub async fn large_store(dir: &Path, nodes: usize, samples_of_slots: u32, until: Timestamp) -> u64 {
    let start = until.slot().minus(WINDOW_SLOTS);
    let local = Local::new(dir, start, nodes).await;
    let samples_from = until.slot().minus(samples_of_slots);
    local.write_history(start, samples_from, false).await;
    local.write_history(samples_from, until.slot(), true).await;
    local.close();
    std::fs::metadata(dir.join("hot.redb")).unwrap().len()
}

/// What a manager does with reports.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// They measure something.
    pub samples: bool,
    pub epochs: bool,
}

/// Bytes a day, from driven hours.
pub struct Written {
    pub written: f64,
    /// Of these and of one node, as records encode: evidence, leaves, heads.
    pub stored_of_a_node: [f64; 3],
}

/// Until pages are full and sealed as they come.
const WARM_HOURS: u32 = 4;

/// Machines that report every slot, and a manager that does what is due.
pub struct Days {
    pub local: Local,
    lives: Vec<Life>,
    run: u64,
    round: u32,
    work: Work,
}

impl Days {
    pub async fn new(local: Local, work: Work) -> Days {
        local.app.context.run_all().await.unwrap();
        let lives = (0..local.nodes.len()).map(|node| Life::new(node as u64)).collect();
        let run = local.app.store.intake.run;
        Days { local, lives, run, round: 0, work }
    }

    fn report(&self, sample: Sample) -> Report {
        let seq = u64::from(self.round);
        Report {
            protocol: PROTOCOL,
            incarnation: Incarnation(1),
            seq,
            run: Some(self.run),
            items: vec![Item { seq, age_ms: 0, witness: None, running: None, sample }],
            fingerprint: Default::default(),
            agent_version: String::new(),
            dropped: 0,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        }
    }

    /// One more slot; seconds of processor time, without the making of samples.
    pub async fn slot(&mut self) -> f64 {
        self.round += 1;
        self.local.next_slot(10_000);
        let samples: Vec<Sample> =
            self.lives.iter_mut().map(|life| if self.work.samples { life.next() } else { Sample::default() }).collect();
        let reports: Vec<Report> = samples.into_iter().map(|sample| self.report(sample)).collect();
        let before = cpu_seconds();
        let (round, context, now) = (self.round, &self.local.app.context, self.local.app.clock.now());
        for ((index, id), report) in self.local.nodes.iter().zip(&reports) {
            self.local.app.store.intake.accept(*index, id, report, &[0; 32], &|_| true, now).unwrap();
        }
        if context.flush_is_due() {
            context.run(Job::Flush).await.unwrap();
        }
        if self.work.samples {
            context.run(Job::Sealing).await.unwrap();
        }
        if self.work.samples && round % 10 == 5 {
            context.run(Job::Rollups).await.unwrap();
        }
        if self.work.epochs && round % 2 == 0 {
            context.run(Job::Epochs).await.unwrap();
        }
        if self.work.epochs && round % 20 == 0 {
            context.run(Job::Postings).await.unwrap();
        }
        cpu_seconds() - before
    }

    pub async fn slots(&mut self, count: u32) -> f64 {
        let mut cpu = 0.0;
        for _ in 0..count {
            cpu += self.slot().await;
        }
        cpu
    }
}

/// Bytes written in a day by `nodes` nodes, from driven hours of reports, flushes, epochs and postings.
pub async fn written_per_day(dir: &Path, nodes: usize, hours: u32, work: Work) -> Written {
    let mut days = Days::new(Local::new(dir, Slot(59_000_000), nodes).await, work).await;
    days.slots(WARM_HOURS * 120).await;
    let (before, stored_before) = (own_written_bytes(), days.local.stored());
    days.slots(hours * 120).await;
    let local = days.local;
    if work.epochs {
        local.app.context.run_all().await.unwrap();
    }
    let written = own_written_bytes() - before;
    let a_day = |bytes: u64| bytes as f64 * 24.0 / f64::from(hours);
    let stored = local.stored();
    let stored_of_a_node = [0, 1, 2].map(|at| a_day(stored[at] - stored_before[at]) / nodes as f64);
    local.close();
    Written { written: a_day(written), stored_of_a_node }
}

/// Days of hours that lie beside a measured day.
const DAYS_OF_HOURS: u32 = 365;

/// What a day with everything running left behind, and what it cost.
pub struct Day {
    pub nodes: Vec<String>,
    pub pools: Vec<String>,
    /// Of all that was measured.
    pub first: Slot,
    pub slots: u32,
    /// Written in the last 24 h by all of the process, and of it to core and hot.
    pub written: u64,
    pub written_core: u64,
    pub written_hot: u64,
    /// Seconds of processor time in these 24 h, from the accepted report on.
    pub cpu: f64,
    /// Samples that are sealed, and bytes of what holds them.
    pub sealed: u64,
    pub raw_bytes: u64,
    /// Of one node's hour in the files of months.
    pub hour_bytes: f64,
}

/// A store with a year of hours, and a day of everything that ends `until`.
pub async fn day(dir: &Path, nodes: usize, per_pool: usize, until: Slot) -> Day {
    let slots = (24 + WARM_HOURS) * 120;
    let first = until.minus(slots);
    let local = Local::in_pools_of(per_pool, dir, first.minus(1), nodes, &[]).await;
    local.write_year(first).await;
    let hours = peers::folder_bytes(&dir.join("cold"));
    let mut days = Days::new(local, Work { samples: true, epochs: true }).await;
    days.slots(WARM_HOURS * 120).await;
    let files = |store: &lucid::storage::Store| [own_written_bytes(), store.core.written_bytes(), store.hot.written_bytes()];
    let before = files(&days.local.app.store);
    let cpu = days.slots(24 * 120).await;
    let local = days.local;
    local.app.context.run(Job::Flush).await.unwrap();
    let after = files(&local.app.store);
    let [written, written_core, written_hot] = [0, 1, 2].map(|at| after[at] - before[at]);
    let store = &local.app.store;
    let sealed = u64::from(slots) * nodes as u64 - store.tails.count() as u64;
    let weeks = store.cold.names().into_iter().filter(|name| name.starts_with("raw"));
    let raw_bytes = weeks.map(|name| peers::file_bytes(&dir.join("cold").join(name))).sum();
    let day = Day {
        nodes: local.nodes.iter().map(|(_, id)| id.to_string()).collect(),
        pools: local.pools.iter().map(ToString::to_string).collect(),
        first,
        slots,
        written,
        written_core,
        written_hot,
        cpu,
        sealed,
        raw_bytes,
        hour_bytes: hours as f64 / f64::from(DAYS_OF_HOURS * 24) / nodes as f64,
    };
    local.close();
    day
}

/// A file of a gigabyte of which two fifths are free: what a limit on kept outputs leaves when it was lowered. Its live bytes.
pub async fn holed_store(dir: &Path, until: Slot) -> u64 {
    const ROW: usize = 32_000;
    const ROWS: u64 = 1_000_000_000 / ROW as u64;
    let local = Local::new(dir, until.minus(100), 10).await;
    let hot = &local.app.store.hot;
    for first in (0..ROWS).step_by(1_000) {
        let rows = (first..(first + 1_000).min(ROWS)).map(|row| {
            let id = u128::from(row).to_be_bytes();
            (id, KeptOutput { node: NodeIndex(1), data: id.iter().copied().cycle().take(ROW).collect() })
        });
        let rows: Vec<([u8; 16], KeptOutput)> = rows.collect();
        hot.write(Lane::Ordinary, move |tx| kept_outputs::put(tx, &rows, u64::MAX)).await.unwrap();
    }
    while hot.write(Lane::Ordinary, |tx| kept_outputs::trim(tx, 600_000_000)).await.unwrap() {}
    let live = kept_outputs::sum(&hot.read().unwrap()).unwrap().bytes;
    local.close();
    live
}

/// Lets go of every month and week before `until`; bytes that went, milliseconds, bytes written for it.
pub async fn expire(dir: &Path, until: Slot) -> (u64, f64, u64) {
    let local = Local::new(dir, until, 0).await;
    let before = (peers::folder_bytes(&dir.join("cold")), own_written_bytes());
    let watch = lucid::clock::Stopwatch::start();
    let store = &local.app.store;
    store.too_old(until, until).into_iter().for_each(|going| drop(store.remove(going).unwrap()));
    let took_ms = watch.elapsed().as_secs_f64() * 1e3;
    let after = (peers::folder_bytes(&dir.join("cold")), own_written_bytes());
    local.close();
    (before.0 - after.0, took_ms, after.1 - before.1)
}
