//! Payouts through a whole manager and the fake TRON network, with random faults, forks and deaths of the process, by seed. An auditor reads what the chain
//! really paid: no payout twice, ever, and each once in the end unless the chain refused it; the books say the same as the chain.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lucid::app::App;
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::address::{AddressRecord, PayoutAddress};
use lucid::domain::audit::{Actor, Draft};
use lucid::domain::ids::{NodeIndex, PayoutId, UserId};
use lucid::domain::ledger::{Account, Book, Entry, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::money_state::{GoneLive, MoneyState};
use lucid::domain::payout::{Payout, Plan, Priority, Source, State, plan};
use lucid::domain::time::{BootMs, Timestamp};
use lucid::gateways::payment::signer::{ClientError, SignRequest, Signed, Wallet};
use lucid::gateways::payment::tron::{Answered, NoAnswer, Signs, Transport, TronGateway};
use lucid::gateways::payment::{Boxed, PaymentGateway};
use lucid::live::Job;
use lucid::storage::core::payouts::SealedAddress;
use lucid::storage::core::{ledger, money, payouts};
use lucid::storage::table::WriteTx;
use tokio::sync::Notify;

use crate::support::rig::{Rig, Wire, clock, lock, payee};
use crate::support::tron::block::VmResult;
use crate::support::tron::random::Random;
use crate::support::tron::{Config as ChainConfig, Fault, Lie, Network, Replay, When};

const RUNS: u64 = 100;
const PAYOUTS: u64 = 6;
const BOOK: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
/// Half a minute of chain time each.
const STEPS_OF_TROUBLE: u64 = 40;
const STEPS_TO_THE_END: u64 = 500;

/// Ends the process at the n-th thing that it does outside.
#[derive(Debug, Default)]
struct Fuse {
    left: Mutex<Option<u64>>,
    blown: Notify,
}

impl Fuse {
    /// Never returns once it has blown.
    async fn burn(&self) {
        let is_out = match lock(&self.left).as_mut() {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if is_out {
            self.blown.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// Dies before or after what it is asked for.
#[derive(Debug)]
struct Mortal<T> {
    inner: T,
    fuse: Arc<Fuse>,
}

impl Transport for Mortal<Wire> {
    fn call<'a>(&'a self, url: &'a str, path: &'a str, body: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(async move {
            self.fuse.burn().await;
            let answer = self.inner.call(url, path, body).await;
            self.fuse.burn().await;
            answer
        })
    }
}

impl Signs for Mortal<Arc<crate::support::rig::Vault>> {
    fn sign<'a>(&'a self, wallet: &'a Wallet, request: SignRequest) -> Boxed<'a, Result<Signed, ClientError>> {
        Box::pin(async move {
            self.fuse.burn().await;
            let signed = self.inner.sign(wallet, request).await;
            self.fuse.burn().await;
            signed
        })
    }
}

struct Run {
    seed: u64,
    random: Random,
    rig: Rig,
    dir: PathBuf,
    driver: Driver,
    fuse: Arc<Fuse>,
    app: Option<App>,
    deaths: u64,
    planned: u64,
    /// The process is down until attempts have expired.
    wake_up_late: bool,
}

fn admin() -> UserId {
    UserId::parse("user_0123456789").unwrap()
}

fn config(dir: &Path) -> Config {
    let flags = vec![("storage.data_dir", "--data-dir", dir.to_str().unwrap().to_owned())];
    Config::load(&Sources { flags, ..Sources::default() }).unwrap().config
}

impl Run {
    async fn begin(seed: u64, dir: PathBuf) -> Run {
        let mut random = Random::new(seed);
        let start = ChainConfig::default().start_ms;
        let network = Network::new(ChainConfig::at(start), 3, random.next());
        let rig = Rig::over(network);
        let driver = Driver::new(Timestamp(start), BootMs(60_000));
        driver.set_synchronised(true);
        let mut run = Run { seed, random, rig, dir, driver, fuse: Arc::default(), app: None, deaths: 0, planned: 0, wake_up_late: false };
        run.open().await;
        run.go_live().await;
        run
    }

    async fn open(&mut self) {
        let time = clock(&self.rig.network, &self.rig.skew_ms);
        let signer: Arc<dyn Signs> = Arc::new(Mortal { inner: Arc::clone(&self.rig.vault), fuse: Arc::clone(&self.fuse) });
        let wire = Arc::new(Mortal { inner: Wire(Arc::clone(&self.rig.network)), fuse: Arc::clone(&self.fuse) });
        let gateway = TronGateway::new(&self.rig.setup, self.rig.wallet, signer, wire, time);
        let driver = self.driver.clone();
        let clock_of = move |config: &Config, high| Clock::driven(&driver, config.clock.trust, high);
        self.app = Some(App::open_with(&config(&self.dir), &clock_of, Arc::new(gateway)).await.unwrap());
    }

    fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    /// The process is gone, whatever it was doing; another one starts.
    async fn die(&mut self) {
        self.deaths += 1;
        let app = self.app.take().unwrap();
        let store = Arc::clone(&app.store);
        drop(app);
        store.close();
        drop(store);
        *lock(&self.fuse.left) = None;
        self.open().await;
    }

    async fn go_live(&self) {
        let (store, now, pin) = (Arc::clone(&self.app().store), self.app().clock.now(), self.rig.gateway.pin());
        let live = GoneLive { at: now.wall, by: admin(), network: pin.network, wallet: pin.wallet, owed_from: None };
        let draft = Draft::new(now, Actor::Console, "money.live", "");
        let to = move |tx: &mut WriteTx<'_>| {
            money::change(tx, draft.clone(), |state| Ok(MoneyState { live: Some(live.clone()), ..state.clone() }))
        };
        store.write_money(to).await.unwrap();
    }

    /// Owes a node something and plans its payout.
    async fn plan(&mut self) {
        self.planned += 1;
        let number = self.planned;
        let (store, now) = (Arc::clone(&self.app().store), self.app().clock.now());
        let node = NodeIndex(u32::try_from(number).unwrap());
        let amount = Units(1_000_000 + i64::try_from(self.random.below(20_000_000)).unwrap());
        let address = PayoutAddress::parse(&payee(number).base58(), Currency::Usdt).unwrap();
        let record = AddressRecord { address: address.clone(), changed_at: Timestamp(0), active_from: Timestamp(0) };
        let sealed = SealedAddress::seal(&store.secrets, &store.entropy, node, &record).unwrap();
        let id = PayoutId::parse(&format!("payout_{number}")).unwrap();
        let source = Source::Manual { by: admin().to_string() };
        let request = Plan { id, seq: number, node, book: BOOK, amount, address, source, priority: Priority::Normal };
        let (payout, entry) = plan(request, amount, None, now).unwrap();
        let owed = Entry::adjustment(BOOK, node, amount, "for a run".into(), admin()).unwrap();
        let write = move |tx: &mut WriteTx<'_>| {
            payouts::put_address(tx, node, &sealed)?;
            ledger::post(tx, owed.clone(), now)?;
            payouts::step(tx, None, &payout, Some(entry.clone()), now)
        };
        store.write_money(write).await.unwrap();
    }

    fn payouts(&self) -> Vec<Payout> {
        let read = self.app().store.read().unwrap();
        (1..=self.planned).map(|seq| payouts::by_seq(&read, seq).unwrap().unwrap()).collect()
    }

    /// One cycle, half a minute later; it may die in the middle.
    async fn step(&mut self) {
        let ms = if std::mem::take(&mut self.wake_up_late) { 1_500_000 } else { 30_000 };
        self.rig.network().chain.advance(ms);
        // The network may have missed some slots meanwhile: it is one time for all.
        let ms = self.rig.now().wall.since(self.driver.reading().wall);
        self.driver.advance_ms(ms);
        self.app().context.tick();
        let run = self.app().context.run(Job::Tracking);
        let died = tokio::select! {
            biased;
            ended = run => { ended.unwrap_or_else(|e| panic!("seed {}: {e:?}", self.seed)); false }
            () = self.fuse.blown.notified() => true,
        };
        if died {
            self.die().await;
        }
        self.audit();
    }

    /// Holds at every moment.
    fn audit(&self) {
        let network = self.rig.network();
        let paid = network.chain.payments();
        for payout in self.payouts() {
            let counts: Vec<_> = paid.iter().filter(|((to, _), _)| *to == payee(payout.seq)).collect();
            let times: u64 = counts.iter().map(|(_, times)| **times).sum();
            assert!(times <= 1, "seed {}: {} was paid {times} times", self.seed, payout.id);
            let exact = counts.iter().all(|((_, amount), _)| i64::try_from(*amount) == Ok(payout.amount.0));
            assert!(exact, "seed {}: {} was paid another amount", self.seed, payout.id);
            if matches!(payout.state, State::Paid { .. }) {
                assert_eq!(times, 1, "seed {}: {} is believed paid", self.seed, payout.id);
            }
            if matches!(payout.state, State::Failed { .. } | State::Cancelled { .. }) {
                assert_eq!(times, 0, "seed {}: {} is believed unpaid: {:?}", self.seed, payout.id, payout.state);
            }
        }
    }

    fn trouble(&mut self) {
        let random = &mut self.random;
        let mut network = self.rig.network.lock().unwrap();
        let network = &mut *network;
        let node = usize::try_from(random.below(3)).unwrap();
        let lies = self.seed.is_multiple_of(3);
        match random.below(14) {
            0 => {
                let depth = 1 + random.below(16);
                let fate = random.below(3);
                network.chain.reorg(depth, |id| match (u64::from(id[0]) + fate) % 3 {
                    0 => Replay::Included,
                    1 => Replay::After(30_000),
                    _ => Replay::Dropped,
                });
            }
            1 => network.chain.freeze_solid(random.chance(500)),
            2 => network.chain.miss(3_000 * i64::try_from(random.below(20)).unwrap()),
            3 => network.chain.forced_results.push_back(if random.chance(500) { VmResult::Revert } else { VmResult::OutOfEnergy }),
            4 => network.nodes.iter_mut().for_each(|node| node.faults.clear()),
            5 => network.nodes[node].lag = random.below(60),
            12 => {
                // Nobody takes anything for a while: attempts expire.
                let fault = if random.chance(500) { Fault::Refused("SERVER_BUSY") } else { Fault::Lie(Lie::Accepted) };
                network.nodes.iter_mut().for_each(|node| node.faults.add("broadcasthex", When::Always, fault.clone()));
            }
            13 => self.wake_up_late = true,
            // The node alone lies; who witnesses is honest.
            6 if lies => {
                let lie = match random.below(6) {
                    0 => Lie::Amount(7),
                    1 => Lie::NoLog,
                    2 => Lie::Result(VmResult::Revert),
                    3 => Lie::NoReceipt,
                    4 => Lie::EmptyBlocks,
                    _ => Lie::Accepted,
                };
                network.nodes[0].faults.add("", When::Chance(300), Fault::Lie(lie));
            }
            7 | 8 => {
                let fault = match random.below(9) {
                    0 => Fault::LostResponse,
                    1 => Fault::NeverIncluded,
                    2 => Fault::IncludedAfter(3_000 * i64::try_from(random.below(220)).unwrap()),
                    3 => Fault::P2pFailed,
                    4 => Fault::Refused("SERVER_BUSY"),
                    5 => Fault::Refused("SIGERROR"),
                    6 => Fault::Refused("TAPOS_ERROR"),
                    7 => Fault::StatusAfter(503),
                    _ => Fault::TimeoutAfter,
                };
                network.nodes[node].faults.add("broadcasthex", When::Chance(500), fault);
            }
            _ => {
                let fault = match random.below(10) {
                    0 => Fault::NotReached,
                    1 => Fault::CutBody(30),
                    2 => Fault::Truncated,
                    3 => Fault::Status(429),
                    4 => Fault::Status(503),
                    5 => Fault::Limiter,
                    6 => Fault::NotJson,
                    7 => Fault::EmptyBody,
                    8 => Fault::WrongShape,
                    _ => Fault::Stale(1 + random.below(40)),
                };
                network.nodes[node].faults.add("", When::Chance(20), fault);
            }
        }
    }

    /// Everything works again; people look at what waits for them.
    async fn end(&mut self) {
        {
            let mut network = self.rig.network();
            network.chain.freeze_solid(false);
            network.chain.forced_results.clear();
            for node in &mut network.nodes {
                node.faults.clear();
                node.lag = 0;
            }
        }
        *lock(&self.fuse.left) = None;
        for step in 0..STEPS_TO_THE_END {
            self.step().await;
            let open: Vec<Payout> = self.payouts().into_iter().filter(Payout::is_open).collect();
            if open.is_empty() {
                return;
            }
            if step % 10 == 9 {
                self.people(open).await;
            }
        }
        let waiting = self.app().context.money.all_waiting();
        panic!("seed {}: {:#?} never ended; {waiting:?}", self.seed, self.payouts().into_iter().find(Payout::is_open));
    }

    async fn people(&self, open: Vec<Payout>) {
        let (store, now) = (Arc::clone(&self.app().store), self.app().clock.now());
        let write = move |tx: &mut WriteTx<'_>| {
            let draft = Draft::new(now, Actor::Console, "money.unfreeze", "");
            money::change(tx, draft, |state| Ok(MoneyState { frozen: None, ..state.clone() }))?;
            for payout in open.iter().filter(|payout| payout.review.is_some()) {
                let next = payout.allow_attempt(now).or_else(|_| payout.check_again(now));
                if let Ok(next) = next {
                    payouts::step(tx, Some(payout), &next, None, now)?;
                }
            }
            Ok(())
        };
        store.write_money(write).await.unwrap();
    }

    /// What the books say against what the chain did.
    fn settle(&self) {
        let read = self.app().store.read().unwrap();
        let balance = |account| ledger::balance(&read, BOOK, account).unwrap();
        let paid = self.rig.network().chain.payments();
        for payout in self.payouts() {
            let on_chain = paid.iter().filter(|((to, _), _)| *to == payee(payout.seq)).map(|((_, amount), _)| *amount).sum::<u128>();
            let on_chain = Units(i64::try_from(on_chain).unwrap());
            assert_eq!(balance(Account::NodePaid(payout.node)), on_chain, "seed {}: {}", self.seed, payout.id);
            assert_eq!(balance(Account::NodeReserved(payout.node)), Units(0), "seed {}", self.seed);
            assert_eq!(balance(Account::NodePayable(payout.node)).plus(on_chain).unwrap(), payout.amount, "seed {}", self.seed);
        }
        assert!(payouts::verify(&read).unwrap().is_ok() && ledger::verify(&read).unwrap().is_ok(), "seed {}", self.seed);
    }
}

async fn live(seed: u64) -> (u64, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(seed, dir.path().join("data")).await;
    for step in 0..STEPS_OF_TROUBLE {
        if step % (STEPS_OF_TROUBLE / PAYOUTS) == 0 && run.planned < PAYOUTS {
            run.plan().await;
        }
        if run.random.chance(400) {
            run.trouble();
        }
        if run.random.chance(300) {
            let left = run.random.below(40);
            *lock(&run.fuse.left) = Some(left);
        }
        run.step().await;
    }
    run.end().await;
    run.settle();
    let payouts = run.payouts();
    let paid = payouts.iter().filter(|payout| matches!(payout.state, State::Paid { .. })).count();
    let attempts = payouts.iter().map(|payout| payout.attempts.len()).sum::<usize>();
    (run.deaths, u64::try_from(paid).unwrap(), u64::try_from(attempts).unwrap())
}

/// `LUCID_SEED` runs one seed, `LUCID_RUNS` another number of them.
#[tokio::test]
async fn no_payout_is_paid_twice_and_each_is_paid_in_the_end() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match given("LUCID_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..given("LUCID_RUNS").unwrap_or(RUNS),
    };
    let runs = seeds.end - seeds.start;
    let (mut deaths, mut paid, mut attempts) = (0, 0, 0);
    for seed in seeds {
        println!("LUCID_SEED={seed}");
        let (died, were_paid, were_made) = live(seed).await;
        (deaths, paid, attempts) = (deaths + died, paid + were_paid, attempts + were_made);
    }
    println!("{runs} runs: {deaths} deaths of the process, {paid} of {} paid, {attempts} attempts", runs * PAYOUTS);
    assert!(runs < 100 || (deaths > runs && paid > runs * PAYOUTS / 2 && attempts > runs * PAYOUTS * 21 / 20), "the runs are too quiet");
}
