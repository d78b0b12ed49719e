//! A manager with some nodes that are owed money, and the fake service that pays them.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use lucid::app::App;
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::address::TronAddress;
use lucid::domain::audit::{Act, Actor, Draft};
use lucid::domain::ids::UserId;
use lucid::domain::ledger::{Book, Entry, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::money_state::{GoneLive, MoneyState};
use lucid::domain::payout::Payout;
use lucid::domain::time::{BootMs, TrustPolicy};
use lucid::gateways::payment::PaymentGateway;
use lucid::gateways::payment::service::{Options, Service};
use lucid::live::Job;
use lucid::storage::core::money_actions::{self, Decision};
use lucid::storage::core::{ledger, money, nodes, payouts};
use lucid::storage::table::WriteTx;
use serde_json::json;

use crate::support::copy;
use crate::support::payment_service::{FakeService, Promises, Wire};
use crate::support::site::{START, Site};

pub const URL: &str = "http://service.test";
pub const PLAIN: Promises = Promises { remembers_ms: None, finds_keys: false, fails: 0 };
pub const HOUR_MS: i64 = 3_600_000;

const SETTINGS: [(&str, &str); 4] =
    [("payout.address_cooldown_hours", "0"), ("payout.frequency_hours", "1"), ("clock.trust", "always"), ("server.tls", "off")];

pub fn book() -> Book {
    Book { settlement: Settlement::Live, currency: Currency::Usdt }
}

/// Read once: it is made for each of thousands of starts.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let flags = SETTINGS.iter().map(|(key, value)| (*key, *key, (*value).to_owned())).collect();
    Config::load(&Sources { flags, ..Sources::default() }).unwrap().config
});

fn config(dir: &Path) -> Config {
    let mut config = CONFIG.clone();
    config.storage.data_dir = dir.to_owned();
    config
}

/// The options of the default configuration, as the service of `promises` is configured honestly.
pub fn options(promises: Promises) -> Options {
    let mut settings = CONFIG.tron_payment.clone();
    settings.url = Some(URL.to_owned());
    settings.idempotent = promises.remembers_ms.is_some();
    if let Some(ms) = promises.remembers_ms {
        settings.idempotency_ttl_hours = u32::try_from(ms / HOUR_MS).unwrap();
    }
    settings.lookup_by_key_path = promises.finds_keys.then(|| "/api/v1/payouts?memo={key}".to_owned());
    // On a clock that stands still, every request would wait for the ones before.
    Options { requests_per_minute: u32::MAX, ..lucid::app::payment_service::options(&settings).unwrap() }
}

/// A store with `count` nodes that are owed 12.5 USDT and a little more each, gone live with the service.
pub async fn template(dir: &Path, count: u8) {
    let driver = Driver::new(START, BootMs(60_000));
    let settings = SETTINGS.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let mut site = Site::open(dir.to_owned(), driver, settings).await;
    site.set_up().await;
    for n in 0..count {
        let address = TronAddress::from_bytes([n + 1; 20]).to_string();
        site.payee(&format!("node-{n}"), "worker", json!({ "address": address })).await;
    }
    let (now, by) = (site.app.clock.now(), UserId::parse("user_0123456789").unwrap());
    let live = GoneLive { at: now.wall, by: by.clone(), network: URL.into(), wallet: String::new(), owed_from: None };
    let draft = Draft::new(now, Actor::Console, "money.live", "");
    let owe = move |tx: &mut WriteTx<'_>| {
        money::change(tx, draft.clone(), |state| Ok(MoneyState { live: Some(live.clone()), ..state.clone() }))?;
        for node in nodes::all(tx)? {
            let amount = Units(12_500_000 + i64::from(node.index.0));
            ledger::post(tx, Entry::adjustment(book(), node.index, amount, "owed".into(), by.clone()).unwrap(), now)?;
        }
        Ok(())
    };
    site.app.store.write_money(owe).await.unwrap();
    site.first_epoch().await;
    site.end().await;
}

/// The manager, as far as payouts go.
pub struct World {
    pub driver: Driver,
    pub fake: Arc<FakeService>,
    pub service: Arc<Service>,
    pub app: App,
    config: Config,
    options: Options,
    checker: Option<Arc<dyn PaymentGateway>>,
}

impl World {
    pub async fn new(template: &Path, dir: &Path, promises: Promises) -> World {
        copy(template, dir);
        World::with(dir, promises, options(promises), None).await
    }

    pub async fn with(dir: &Path, promises: Promises, options: Options, checker: Option<Arc<dyn PaymentGateway>>) -> World {
        let driver = Driver::new(START.plus_seconds(3_600), BootMs(7_260_000));
        let fake = FakeService::new(&driver, promises);
        let config = config(dir);
        let (service, app) = World::open(&config, &driver, &fake, &options, checker.clone()).await;
        World { driver, fake, service, app, config, options, checker }
    }

    /// Another manager that asks the same service.
    pub async fn over(dir: &Path, driver: &Driver, fake: &Arc<FakeService>, options: Options) -> World {
        let (config, driver, fake) = (config(dir), driver.clone(), Arc::clone(fake));
        let (service, app) = World::open(&config, &driver, &fake, &options, None).await;
        World { driver, fake, service, app, config, options, checker: None }
    }

    async fn open(
        config: &Config,
        driver: &Driver,
        fake: &Arc<FakeService>,
        options: &Options,
        checker: Option<Arc<dyn PaymentGateway>>,
    ) -> (Arc<Service>, App) {
        let clock = Clock::driven(driver, TrustPolicy::Always, lucid::domain::time::Timestamp(0));
        let wire = Arc::new(Wire(Arc::clone(fake)));
        let service = Arc::new(Service::new(options.clone(), wire, checker, Arc::new(move || clock.now())).unwrap());
        let of_driver = driver.clone();
        let clock_of = move |config: &Config, high| Clock::driven(&of_driver, config.clock.trust, high);
        let app = App::open_with(config, &clock_of, service.clone()).await.unwrap();
        (service, app)
    }

    pub fn end(self) {
        let store = Arc::clone(&self.app.store);
        drop(self.app);
        store.close();
    }

    /// As a power cut: the gateway forgets how the service behaved, too.
    pub async fn crash(self) -> World {
        let options = self.options.clone();
        self.configured(options).await
    }

    /// After a restart with another configuration.
    pub async fn configured(self, options: Options) -> World {
        let World { driver, fake, service: _, app, config, options: _, checker } = self;
        let store = Arc::clone(&app.store);
        drop(app);
        store.close();
        drop(store);
        let (service, app) = World::open(&config, &driver, &fake, &options, checker.clone()).await;
        World { driver, fake, service, app, config, options, checker }
    }

    /// One run of the payouts; false: the manager died in it.
    pub async fn cycle(&self) -> bool {
        tokio::select! {
            biased;
            () = self.fake.died.notified() => false,
            ran = self.app.context.run(Job::Payouts) => { ran.unwrap(); true }
        }
    }

    pub fn pass(&self, ms: i64) {
        self.driver.advance_ms(ms);
        self.fake.tick();
    }

    pub fn payouts(&self) -> Vec<Payout> {
        let mut all = Vec::new();
        payouts::for_each(&self.app.store.read().unwrap(), |payout| all.push(payout)).unwrap();
        all
    }

    pub fn payout(&self) -> Payout {
        let mut all = self.payouts();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Err: it may not be decided so.
    pub async fn decide(&self, by: &str, payout: &Payout, decision: Decision) -> Result<(), String> {
        let (by, id) = (UserId::parse(by).unwrap(), payout.id.clone());
        let act = Act { actor: Actor::User(by.to_string()), ..Act::system(self.app.clock.now()) };
        let write = move |tx: &mut WriteTx<'_>| money_actions::decide(tx, &act, &by, &id, &decision).map(drop);
        self.app.store.write_money(write).await.map_err(|error| format!("{error:?}"))
    }

    /// An emergency stop, or its end.
    pub async fn stop(&self, stopped: bool) {
        let act = Act::system(self.app.clock.now());
        let write = move |tx: &mut WriteTx<'_>| {
            if stopped { money_actions::stop(tx, &act, None, "for a test") } else { money_actions::resume(tx, &act, "for a test") }
                .map(drop)
        };
        self.app.store.write_money(write).await.unwrap();
    }

    pub async fn state_unpaid(&self, payout: &Payout) {
        for by in ["user_0123456789", "user_9876543210"] {
            let text = "it is not in the service's books, and it was told to refuse it".to_owned();
            self.decide(by, payout, Decision::StateUnpaid { text }).await.unwrap();
        }
    }

    /// What is told of the payouts and what the service paid agree.
    pub fn audit(&self, context: &str) {
        let paid = self.fake.paid();
        for payout in self.payouts() {
            let (none, id) = (Vec::new(), payout.id.to_string());
            let times = paid.get(&id).unwrap_or(&none);
            assert!(times.len() <= 1, "{context}: {id} was paid {} times: {payout:#?}", times.len());
            let exact = vec![(payout.address.to_string(), payout.amount.to_decimal(Currency::Usdt))];
            match payout.state {
                lucid::domain::payout::State::Open => (),
                lucid::domain::payout::State::Paid { .. } => assert_eq!(times, &exact, "{context}: {payout:#?}"),
                _ => assert!(times.is_empty(), "{context}: {id} was paid and is told not to be: {payout:#?}"),
            }
        }
    }

    pub fn verify(&self, context: &str) {
        for finding in lucid::storage::verify::verify(&self.app.store) {
            assert_eq!(finding.wrong, None, "{context}: {}", finding.part);
        }
    }
}
