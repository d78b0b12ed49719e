//! One manager, its wallets, and the network that they pay on. The chain's clock is the true time; the manager's and the signers' may be off.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use lucid::app::App;
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::address::{AddressRecord, PayoutAddress};
use lucid::domain::audit::{Act, Actor};
use lucid::domain::ids::{NodeIndex, UserId};
use lucid::domain::ledger::{Book, Entry, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::money_state::FreezeKind;
use lucid::domain::payout::Payout;
use lucid::domain::time::{BootMs, Now, Timestamp};
use lucid::gateways::payment::tron::{self, Answered, Network as Which, NoAnswer, Setup, Transport, TronGateway};
use lucid::gateways::payment::{Boxed, Gateways, PaymentGateway, Simulated};
use lucid::live::Job;
use lucid::storage::core::money_actions::{self, Owed};
use lucid::storage::core::payouts::{self, SealedAddress};
use lucid::storage::core::{ledger, money, nodes};
use lucid::storage::fault::TxError;
use lucid::storage::hot;
use lucid::storage::table::WriteTx;
use lucid::storage::{Lane, Store};
use serde_json::json;
use tokio::task::yield_now;

use super::custody::{self, AllIssued, Vault, WALLETS};
use crate::support::copy;
use crate::support::rig::{Shared, Wire, lock, tron, url};
use crate::support::site::{START, Site};
use crate::support::tron::random::Random;
use crate::support::tron::{Address, Config as ChainConfig, Network};

pub const BOOK: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };
pub const NODES: usize = 3;
/// Nodes of the network: the one that is asked, and others.
pub const PEERS: usize = 3;
pub const MINUTE_MS: i64 = 60_000;
const FLUSH_EVERY_MS: i64 = 5 * MINUTE_MS;
/// Nobody delivers what is told there: it stays in the outbox.
const SETTINGS: [(&str, &str); 4] = [
    ("payout.address_cooldown_hours", "0"),
    ("payout.frequency_hours", "1"),
    ("server.tls", "off"),
    ("webhooks.payouts_url", "https://example.org/steps"),
];
/// Of the chain, when a run begins.
const BEGIN: Timestamp = Timestamp(START.0 + 3_600_000);

pub fn admin() -> UserId {
    UserId::parse("user_0123456789").unwrap()
}

/// The address that a node registers for the n-th time.
pub fn payee(node: usize, nth: usize) -> Address {
    Address::labelled(&format!("payee {node} {nth}"))
}

/// Waits before and after each request, so that a process can die there.
#[derive(Debug, Clone)]
struct Line(Wire);

impl Transport for Line {
    fn call<'a>(&'a self, url: &'a str, path: &'a str, body: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(async move {
            yield_now().await;
            let answer = self.0.call(url, path, body).await;
            yield_now().await;
            answer
        })
    }
}

/// What pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pays {
    Wallet(usize),
    Nobody,
}

pub type Wrap = fn(Arc<TronGateway>, &Shared) -> Arc<dyn PaymentGateway>;

pub struct World {
    pub place: PathBuf,
    pub driver: Driver,
    pub network: Shared,
    pub vaults: Vec<Arc<Vault>>,
    pub issued: AllIssued,
    pub pays: Pays,
    /// The node that is asked; and the witnesses.
    pub asked: usize,
    pub witnesses: Vec<usize>,
    /// The node that is asked about wallets which do not pay any more, where it is another one.
    pub formers_ask: Option<usize>,
    pub random: Random,
    /// What each node is owed by the books, ever, and the addresses that it ever had.
    pub owed: BTreeMap<NodeIndex, (Units, Vec<Address>)>,
    pub wrap: Option<Wrap>,
    pub crashes: u64,
    /// Of the chain, when the store was last flushed, and when it was last copied.
    flushed_ms: i64,
    pub copied_ms: i64,
    /// Wallets that the copy knows.
    copied_wallets: Vec<String>,
    /// Another manager has a copy of its card, or had one.
    pub is_copied: bool,
    app: Option<App>,
}

fn config(dir: &Path) -> Config {
    let mut flags = vec![("storage.data_dir", "--data-dir", dir.to_str().unwrap().to_owned())];
    flags.extend(SETTINGS.iter().map(|(key, value)| (*key, *key, (*value).to_owned())));
    Config::load(&Sources { flags, ..Sources::default() }).unwrap().config
}

/// A manager with so many nodes that have addresses and are owed nothing.
pub async fn template(dir: &Path, nodes: usize) {
    custody::make_keystores(dir);
    let settings = SETTINGS.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let mut site = Site::open(dir.to_owned(), Driver::new(START, BootMs(60_000)), settings).await;
    site.set_up().await;
    for number in 0..nodes {
        site.payee(&format!("node-{number}"), "worker", json!({ "address": payee(number, 0).base58() })).await;
    }
    site.first_epoch().await;
    site.end().await;
}

impl World {
    pub async fn new(template: &Path, place: &Path, seed: u64) -> World {
        copy(template, &place.join("data"));
        let mut random = Random::new(seed);
        let mut network = Network::new(ChainConfig::at(BEGIN.0), PEERS, random.next());
        for wallet in 0..WALLETS {
            network.chain.give_usdt(custody::owner(wallet), 10_000_000_000);
            network.chain.give_trx(custody::owner(wallet), 10_000_000_000);
        }
        let driver = Driver::new(BEGIN, BootMs(7_260_000));
        let issued = AllIssued::default();
        let vault = |number| Arc::new(Vault::new(number, template, place, &network.chain, &driver, &issued, seed ^ number as u64));
        let vaults = (0..WALLETS).map(vault).collect();
        let mut world = World {
            place: place.to_owned(),
            driver,
            vaults,
            network: Arc::new(Mutex::new(network)),
            issued,
            pays: Pays::Wallet(0),
            asked: 0,
            witnesses: vec![1],
            formers_ask: None,
            random,
            owed: BTreeMap::new(),
            wrap: None,
            crashes: 0,
            flushed_ms: 0,
            copied_ms: 0,
            copied_wallets: Vec::new(),
            is_copied: false,
            app: None,
        };
        world.open().await;
        world
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.app().store)
    }

    pub fn now(&self) -> Now {
        self.app().clock.now()
    }

    /// Transactions that any signer has signed.
    pub fn signed(&self) -> usize {
        lock(&self.issued).len()
    }

    pub fn frozen(&self) -> Option<FreezeKind> {
        money::state(&self.store().read().unwrap()).unwrap().frozen.map(|freeze| freeze.kind)
    }

    /// The chain's.
    pub fn true_time(&self) -> Timestamp {
        Timestamp(lock(&self.network).chain.now_ms)
    }

    fn setup(&self) -> Setup {
        Setup {
            network: Which::named("mainnet").unwrap(),
            contract: tron(&lock(&self.network).chain.token.address),
            node_url: url(self.asked),
            witness_urls: self.witnesses.iter().map(|node| url(*node)).collect(),
            fee_cap_sun: 30_000_000,
        }
    }

    /// As the configuration says now.
    pub async fn open(&mut self) {
        let (driver, known) = (self.driver.clone(), Arc::new(Mutex::new(None::<Clock>)));
        let reader = Arc::clone(&known);
        let time: tron::Clock = Arc::new(move || lock(&reader).as_ref().unwrap().now());
        let clock_of = move |config: &Config, high| {
            let clock = Clock::driven(&driver, config.clock.trust, high);
            *lock(&known) = Some(clock.clone());
            clock
        };
        let (setup, transport) = (self.setup(), Arc::new(Line(Wire(Arc::clone(&self.network)))));
        let of_formers = Setup { node_url: url(self.formers_ask.unwrap_or(self.asked)), ..setup.clone() };
        let formers = TronGateway::formers(Some(of_formers), transport.clone(), Arc::clone(&time));
        let gateway: Arc<dyn PaymentGateway> = match self.pays {
            Pays::Nobody => Arc::new(Simulated),
            Pays::Wallet(number) => {
                let vault = Arc::clone(&self.vaults[number]);
                let real = Arc::new(TronGateway::new(&setup, vault.wallet, vault, transport, time));
                match self.wrap {
                    Some(wrap) => wrap(real, &self.network),
                    None => real,
                }
            }
        };
        let mut app = App::open_with(&config(&self.place.join("data")), &clock_of, Arc::clone(&gateway)).await.unwrap();
        app.context.gateways = Gateways::new(gateway, formers);
        self.app = Some(app);
    }

    /// As a power cut: nothing is flushed.
    pub fn end(&mut self) {
        let Some(app) = self.app.take() else { return };
        let store = Arc::clone(&app.store);
        drop(app);
        store.close();
    }

    pub async fn crash(&mut self) {
        self.crashes += 1;
        self.end();
        self.open().await;
    }

    /// One run of a cycle; with `waits`, the process dies when it has waited for anything so many times.
    pub async fn cycle(&mut self, job: Job, waits: Option<u64>) {
        // As a manager does that has few nodes.
        let now_ms = self.true_time().0;
        if now_ms - self.flushed_ms >= FLUSH_EVERY_MS {
            self.flushed_ms = now_ms;
            self.app().context.run(Job::Flush).await.unwrap();
        }
        let died = {
            let mut cycle = pin!(self.app().context.run(job));
            let mut left = waits;
            let poll = |context: &mut std::task::Context<'_>| match (cycle.as_mut().poll(context), left.as_mut()) {
                (Poll::Ready(ended), _) => {
                    ended.unwrap();
                    Poll::Ready(false)
                }
                (Poll::Pending, Some(0)) => Poll::Ready(true),
                (Poll::Pending, Some(left)) => {
                    *left -= 1;
                    Poll::Pending
                }
                (Poll::Pending, None) => Poll::Pending,
            };
            std::future::poll_fn(poll).await
        };
        if died {
            self.crash().await;
        }
    }

    /// Time passes for everybody. `blocks`: in each slot there is one; otherwise the producers miss most of them.
    pub fn pass(&self, ms: i64, blocks: bool) {
        self.driver.advance_ms(ms);
        let chain = &mut lock(&self.network).chain;
        // Afterwards there are enough blocks for a new final head.
        let made = 75_000;
        if blocks || ms <= 2 * made {
            chain.advance(ms);
        } else {
            chain.miss(ms - made);
            chain.advance(made);
        }
    }

    /// Our clock is what it should be, and somebody vouches for it.
    pub async fn set_clock_right(&self) {
        self.driver.set_wall(self.true_time());
        self.driver.set_synchronised(true);
        let now = self.now();
        if !now.trusted {
            self.store().hot.write(Lane::Ordinary, move |tx| hot::accept_clock(tx, now.wall, None)).await.unwrap();
            self.app().clock.accept();
            assert!(self.now().trusted);
        }
    }

    pub async fn write<R: Send + 'static>(
        &self,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, String> {
        self.store().write_money(verb).await.map_err(|error| format!("{error:?}"))
    }

    pub fn act(&self) -> Act {
        Act { actor: Actor::User(admin().to_string()), ..Act::system(self.now()) }
    }

    /// What is owed to the first `count` nodes, and a rate, so that fees can be weighed.
    pub async fn owe(&mut self, count: usize) {
        let (now, act) = (self.now(), self.act());
        let indices: Vec<NodeIndex> =
            nodes::all(&self.store().read().unwrap()).unwrap().iter().map(|node| node.index).take(count).collect();
        let mut owed = Vec::new();
        for (number, node) in indices.into_iter().enumerate() {
            let amount = Units(40_000_000 + i64::try_from(self.random.below(50_000_000)).unwrap());
            self.owed.insert(node, (amount, vec![payee(number, 0)]));
            owed.push((node, amount));
        }
        self.write(move |tx| {
            money_actions::set_rate(tx, &act, Units(300_000))?;
            for (node, amount) in owed.clone() {
                ledger::post(tx, Entry::adjustment(BOOK, node, amount, "owed".into(), admin()).unwrap(), now)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    }

    /// An admin lets money move from the wallet that is configured.
    pub async fn go_live(&mut self) {
        self.cycle(Job::Wallet, None).await;
        let (act, pin) = (self.act(), self.app().context.gateways.current.pin());
        let _ = self.write(move |tx| money_actions::go_live(tx, &act, admin(), &pin, Owed::Everything, true).map(drop)).await;
    }

    /// The node registers another address.
    pub async fn change_address(&mut self, node: NodeIndex) {
        let now = self.now();
        let Some((_, addresses)) = self.owed.get_mut(&node).filter(|_| now.trusted) else { return };
        let address = payee(usize::try_from(node.0).unwrap(), addresses.len());
        addresses.push(address);
        let address = PayoutAddress::parse(&address.base58(), Currency::Usdt).unwrap();
        let record = AddressRecord { address, changed_at: now.wall, active_from: now.wall };
        let store = self.store();
        let sealed = SealedAddress::seal(&store.secrets, &store.entropy, node, &record).unwrap();
        self.write(move |tx| payouts::put_address(tx, node, &sealed)).await.unwrap();
    }

    pub fn payouts(&self) -> Vec<Payout> {
        let mut all = Vec::new();
        payouts::for_each(&self.store().read().unwrap(), |payout| all.push(payout)).unwrap();
        all
    }

    /// What a run went through, for who looks for the cause (`LUCID_RUNS_TRACE=1`).
    pub fn trace(&self, what: &str) {
        if std::env::var_os("LUCID_RUNS_TRACE").is_none() {
            return;
        }
        let live = &self.app().context.money;
        println!("{} {what}: {:?} asks {} and {:?}", self.true_time(), self.pays, self.asked, self.witnesses);
        println!("    frozen {:?}", money::state(&self.store().read().unwrap()).unwrap().frozen.map(|freeze| freeze.reason));
        println!("    reconciled {:?}, {:?}", live.reconciled_ms(self.now()), live.reconcile_error());
        for payout in self.payouts() {
            let attempts: Vec<_> = payout.attempts.iter().map(|one| (&one.prepared.pin.wallet, &one.state)).collect();
            println!("    {} of node {}: {:?} {} {attempts:?}", payout.id, payout.node.0, payout.state, payout.amount.0);
        }
    }

    /// The files of the store and the logs of the signers, as they are between two commits.
    pub fn back_up(&mut self) {
        self.copied_ms = self.true_time().0;
        let known = money::wallets(&self.store().read().unwrap()).unwrap();
        self.copied_wallets = known.into_iter().map(|(pin, _)| pin.wallet).collect();
        let to = self.place.join("backup");
        let _ = std::fs::remove_dir_all(&to);
        copy(&self.place.join("data"), &to.join("data"));
        for (number, vault) in self.vaults.iter().enumerate() {
            copy(&vault.state_dir, &to.join(format!("signer-{number}")));
        }
    }

    /// The same manager on a copy of the card, which goes on beside this one; it asks the same signer, or a copy of that too.
    pub async fn copied_card(&mut self, with_signer: bool) -> World {
        self.is_copied = true;
        let place = self.place.with_extension("copy");
        copy(&self.place.join("data"), &place.join("data"));
        let vaults = self.vaults.iter().map(|vault| if with_signer { Arc::new(vault.copied(&place)) } else { Arc::clone(vault) });
        let mut copied = World {
            driver: self.driver.clone(),
            network: Arc::clone(&self.network),
            vaults: vaults.collect(),
            issued: Arc::clone(&self.issued),
            pays: self.pays.clone(),
            asked: self.asked,
            witnesses: self.witnesses.clone(),
            formers_ask: self.formers_ask,
            random: Random::new(self.random.next()),
            owed: self.owed.clone(),
            wrap: self.wrap,
            crashes: 0,
            is_copied: true,
            flushed_ms: self.flushed_ms,
            copied_ms: self.copied_ms,
            copied_wallets: self.copied_wallets.clone(),
            app: None,
            place,
        };
        copied.open().await;
        copied
    }

    /// The copy never heard of a wallet that was signed for: nothing but a person can tell it.
    pub fn forgets_a_wallet(&self) -> bool {
        self.vaults.iter().filter(|vault| vault.has_signed()).any(|vault| !self.copied_wallets.contains(&vault.wallet.account.to_string()))
    }

    /// False: there is no backup.
    pub async fn restore(&mut self, with_signers: bool) -> bool {
        let from = self.place.join("backup");
        if !from.exists() {
            return false;
        }
        self.end();
        std::fs::remove_dir_all(self.place.join("data")).unwrap();
        copy(&from.join("data"), &self.place.join("data"));
        if with_signers {
            for (number, vault) in self.vaults.iter().enumerate() {
                vault.restore(&from.join(format!("signer-{number}")));
            }
        }
        self.open().await;
        true
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.place);
    }
}
