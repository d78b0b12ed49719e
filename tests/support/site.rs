//! A manager in this process, on a clock that only the test moves. Cycles run when the test says so.

use std::path::PathBuf;
use std::sync::Arc;

use lucid::api;
use lucid::app::App;
use lucid::clock::{Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::time::{BootMs, SLOT_MS, Timestamp};
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
    settings: Vec<(&'static str, &'static str)>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Site {
    /// A set-up manager in `dir`, with its clock synchronised. `settings` are flags: (key, value).
    pub async fn new(dir: PathBuf, settings: &[(&'static str, &'static str)]) -> Site {
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let mut site = Site::open(dir, driver, settings.to_vec()).await;
        let code = site.app.setup_code.clone().expect("a new store has a setup code");
        site.client.set_up(&code, None).await;
        site
    }

    pub async fn open(dir: PathBuf, driver: Driver, settings: Vec<(&'static str, &'static str)>) -> Site {
        let mut flags = vec![("storage.data_dir", "--data-dir", dir.to_str().unwrap().to_owned())];
        flags.extend(settings.iter().map(|(key, value)| (*key, *key, (*value).to_owned())));
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
        let clock_driver = driver.clone();
        let app = App::open(&config, &move |config, high| Clock::driven(&clock_driver, config.clock.trust, high)).await.unwrap();
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(api::server::serve(listener, api::router(app.state.clone()), stopping));
        Site { driver, app, client: Client::new(base), dir, settings, stop, server }
    }

    /// Ends the manager as a power cut would: nothing is flushed. Starts another on the same store.
    pub async fn crash(self) -> Site {
        let Site { driver, app, client, dir, settings, stop, server } = self;
        stop.send(true).unwrap();
        server.await.unwrap();
        let store = Arc::clone(&app.store);
        drop(app);
        store.close();
        drop(store);
        let mut next = Site::open(dir, driver, settings).await;
        next.client.sign_in(super::client::USERNAME, super::client::PASSWORD).await;
        drop(client);
        next
    }

    pub async fn token(&self, uses: u32) -> String {
        let body = serde_json::json!({ "uses": uses, "expires_in_seconds": 3600 });
        self.client.post("/enrolment-tokens", body).await["token"].as_str().unwrap().to_owned()
    }

    pub async fn enrol(&self, name: &str) -> Node {
        let token = self.token(1).await;
        Machine::new(name).enrol(&self.client.base, &token).await.unwrap()
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

    pub async fn run_cycles(&self) {
        self.app.context.run_all().await.unwrap();
    }
}
