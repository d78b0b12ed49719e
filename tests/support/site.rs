//! A manager in this process, on a clock that only the test moves. Cycles run when the test says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lucid::api;
use lucid::app::{App, AppError};
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::time::{BootMs, SLOT_MS, Timestamp};
use lucid::gateways::payment::{PaymentGateway, Simulated};
use lucid::live::Job;
use lucid::storage::device::{self, Device};
use lucid::storage::fault::OpenError;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::Client;
use super::fleet::{Machine, Node};

/// Midnight, UTC, so that days are easy to count.
pub const START: Timestamp = Timestamp(1_790_000_000_000 / 86_400_000 * 86_400_000);

pub struct Site {
    pub driver: Driver,
    pub app: Arc<App>,
    pub client: Client,
    pub dir: PathBuf,
    settings: Vec<(&'static str, String)>,
    gateway: Arc<dyn PaymentGateway>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Site {
    /// A set-up manager in `dir`, with its clock synchronised. `settings` are flags: (key, value).
    pub async fn new(dir: PathBuf, settings: &[(&'static str, &str)]) -> Site {
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut site = Site::open(dir, driver, settings).await;
        site.set_up().await;
        site
    }

    /// Makes the first person.
    pub async fn set_up(&mut self) {
        let code = self.app.setup_code.clone().expect("a new store has a setup code");
        self.client.set_up(&code, None).await;
    }

    /// The same, with its database files on a device of the caller's. It is not started anew.
    pub async fn on(dir: PathBuf, settings: &[(&'static str, &str)], device: Arc<dyn Device>) -> Site {
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut site = Site::open_on(dir, driver, settings, Arc::new(Simulated), device).await;
        site.set_up().await;
        site
    }

    pub async fn open(dir: PathBuf, driver: Driver, settings: Vec<(&'static str, String)>) -> Site {
        Site::open_with(dir, driver, settings, Arc::new(Simulated)).await
    }

    /// With a gateway of the caller's.
    pub async fn open_with(dir: PathBuf, driver: Driver, settings: Vec<(&'static str, String)>, gateway: Arc<dyn PaymentGateway>) -> Site {
        Site::open_on(dir, driver, settings, gateway, device::real()).await
    }

    async fn open_on(
        dir: PathBuf,
        driver: Driver,
        settings: Vec<(&'static str, String)>,
        gateway: Arc<dyn PaymentGateway>,
        device: Arc<dyn Device>,
    ) -> Site {
        let mut flags = vec![("storage.data_dir", "--data-dir", dir.to_str().unwrap().to_owned())];
        flags.extend(settings.iter().map(|(key, value)| (*key, *key, value.clone())));
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
        let clock_driver = driver.clone();
        let clock_of = move |config: &Config, high| Clock::driven(&clock_driver, config.clock.trust, high);
        // A process that dies lets go of its files; a manager that dies in this one may have a thread that still reads them.
        let mut tries = 0;
        let app = loop {
            tries += 1;
            match App::open_on(&config, &clock_of, Arc::clone(&gateway), Arc::clone(&device)).await {
                Err(AppError::Open(OpenError::InUse(_))) if tries < 2_000 => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break Arc::new(opened.unwrap()),
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(api::server::serve(listener, api::router(app.state.clone()), app.door.clone(), stopping));
        Site { driver, app, client: Client::new(base), dir, settings, gateway, stop, server }
    }

    /// Ends the manager as a power cut would: nothing is flushed. Starts another on the same store.
    pub async fn crash(self) -> Site {
        let (dir, driver, settings, gateway) = (self.dir.clone(), self.driver.clone(), self.settings.clone(), Arc::clone(&self.gateway));
        self.end().await;
        let mut next = Site::open_with(dir, driver, settings, gateway).await;
        next.client.sign_in(super::client::USERNAME, super::client::PASSWORD).await;
        next
    }

    /// The same; who was signed in still is.
    pub async fn crash_unnoticed(self) -> Site {
        let (dir, driver, settings, gateway) = (self.dir.clone(), self.driver.clone(), self.settings.clone(), Arc::clone(&self.gateway));
        let client = self.client.clone();
        self.end().await;
        let mut next = Site::open_with(dir, driver, settings, gateway).await;
        next.client = client.at(next.client.base.clone());
        next
    }

    /// The same, and the next one pays by another gateway.
    pub async fn crash_with(mut self, gateway: Arc<dyn PaymentGateway>) -> Site {
        self.gateway = gateway;
        self.crash().await
    }

    /// Stops serving and lets go of the store; nothing is flushed.
    pub async fn end(self) {
        self.stop.send(true).unwrap();
        self.server.await.unwrap();
        let store = Arc::clone(&self.app.store);
        drop(self.app);
        store.close();
    }

    pub async fn token(&self, uses: u32) -> String {
        let body = json!({ "uses": uses, "expires_in_seconds": 3600 });
        self.client.post("/enrolment-tokens", body).await["token"].as_str().unwrap().to_owned()
    }

    pub async fn enrol(&self, name: &str) -> Node {
        let token = self.token(1).await;
        Machine::new(name).enrol(&self.client.base, &token).await.unwrap()
    }

    /// A node that no agent has enrolled as, with this payout address (the body of its route). Its id.
    pub async fn payee(&self, name: &str, class: &str, address: Value) -> String {
        let node = self.client.post("/nodes", json!({ "name": name, "node_type": class })).await;
        let id = node["node_id"].as_str().unwrap().to_owned();
        self.client.put(&format!("/nodes/{id}/payout-address"), address).await;
        id
    }

    /// So much more, or less, is owed to it: an amount of a currency in one of the two books.
    pub async fn owe(&self, node: &str, (amount, currency): (&str, &str), settlement: &str) {
        let body = json!({ "node_id": node, "amount": amount, "currency": currency, "settlement": settlement, "reason": "for a test" });
        self.client.post("/ledger/adjustments", body).await;
    }

    pub fn now_ms(&self) -> i64 {
        self.driver.reading().wall.0
    }

    /// Moves all clocks to `ms` into the next slot and lets the manager see it.
    pub fn next_slot(&self, ms: i64) {
        let into = self.now_ms().rem_euclid(SLOT_MS);
        self.driver.advance_ms(SLOT_MS - into);
        self.app.context.tick();
        self.driver.advance_ms(ms);
    }

    /// The same so many times; what has ended is closed.
    pub async fn pass_slots(&self, slots: u32) {
        for _ in 0..slots {
            self.next_slot(5_000);
        }
        for job in [Job::Flush, Job::Epochs] {
            self.app.context.run(job).await.unwrap();
        }
    }

    /// Until an epoch has closed: nothing is planned before.
    pub async fn first_epoch(&self) {
        self.pass_slots(15).await;
    }

    pub async fn run_cycles(&self) {
        self.app.context.run_all().await.unwrap();
    }
}
