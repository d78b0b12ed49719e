//! A manager in memory of the test, reached through its router.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use super::epoch_closing::EpochCloser;
use super::fleet::FleetReader;
use super::settings::FixedConfiguration;
use super::wallet::{NoSigner, Pending};
use super::{ApiSettings, AppState, Parts, router};
use crate::clock::{Clock, Driver};
use crate::crypto::Entropy;
use crate::domain::audit::{Act, Draft};
use crate::domain::epoch::Head;
use crate::domain::money::{Currency, Units};
use crate::domain::pool::Pricing;
use crate::domain::refusal::Refusal;
use crate::domain::time::{BootMs, Timestamp, TrustPolicy};
use crate::gateways::payment::{PaymentGateway, Simulated};
use crate::live::{Current, Event, Events, Failures, Money, Nudges, Replication};
use crate::storage::core::pools;
use crate::storage::fault::WriteError;
use crate::storage::{Store, StoreOptions, device, setup_code};

pub const PASSWORD: &str = "correct horse battery";

pub const T: Timestamp = Timestamp(1_790_000_000_000);

/// Nothing that closes epochs.
struct NoEpochs;

impl EpochCloser for NoEpochs {
    fn close_now(&self, _: Draft) -> Pending<'_, Result<Head, WriteError>> {
        Box::pin(std::future::ready(Err(WriteError::Refused(Refusal::EpochTooYoung))))
    }
}

/// A fresh store in a temporary folder, a driven clock, and the whole router over them.
pub struct Site {
    pub state: AppState,
    pub driver: Driver,
    pub router: Router,
    pub stop: watch::Sender<bool>,
    dir: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        Site::with(ApiSettings::default())
    }

    pub fn with(settings: ApiSettings) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Site::over(dir, data, Driver::new(T, BootMs(5_000)), settings, None)
    }

    /// One whose cluster is read by this.
    pub fn beside(fleet: Arc<dyn FleetReader>) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Site::over(dir, data, Driver::new(T, BootMs(5_000)), ApiSettings::default(), Some(fleet))
    }

    fn over(
        dir: tempfile::TempDir,
        data: std::path::PathBuf,
        driver: Driver,
        settings: ApiSettings,
        fleet: Option<Arc<dyn FleetReader>>,
    ) -> Site {
        let clock = Clock::driven(&driver, TrustPolicy::Earned, Timestamp(0));
        let options =
            StoreOptions { dir: data, core_cache_bytes: 1 << 20, hot_cache_bytes: 1 << 20, boot_id: "boot".into(), device: device::real() };
        let store = Arc::new(Store::open(&options, Entropy::new(), clock.now()).unwrap());
        let (stop, stopping) = watch::channel(false);
        let (nudges, events, settings) = (Nudges::new(), Events::new(1), Current::new(settings));
        let told = events.clone();
        store.core.watch_alerts(move |change| told.publish(&Event::Alert(change)));
        let state = AppState::new(Parts {
            store,
            clock,
            nudges,
            events,
            settings,
            configuration: Arc::new(FixedConfiguration),
            stopping,
            failures: Failures::default(),
            payer: Simulated.payer(),
            money: Money::default(),
            replication: Replication::default(),
            fleet,
            signer: Arc::new(NoSigner),
            epoch_closer: Arc::new(NoEpochs),
        });
        Site { router: router(state.clone()), state, driver, stop, dir }
    }

    /// The same store and clock after the process ended, without a word, and another one started.
    pub fn reopened(self) -> Site {
        let Site { state, driver, router, stop, dir } = self;
        drop((router, stop));
        let (dir_of_store, settings) = (state.store.dir().to_owned(), ApiSettings::clone(&state.settings()));
        state.store.close();
        drop(state);
        Site::over(dir, dir_of_store, driver, settings, None)
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// A request with an optional JSON body and extra headers; the answer's status and JSON (null when it has none).
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let response = self.send(request(method, path, body, headers)).await;
        let status = response.status();
        (status, json(response).await)
    }

    /// Makes the default pool and the first person, `root`, and answers a bearer token.
    pub async fn set_up(&self) -> String {
        let act = Act::system(self.state.now());
        let price = Pricing { cost_per_hour: Units(50_000), reward_per_hour: Units(50_000), currency: Currency::Usdt };
        self.state.store.write(move |tx| pools::ensure_default(tx, &act, price, 100)).await.unwrap();
        let code = setup_code::ensure(&self.state.store).unwrap().unwrap();
        let body = serde_json::json!({"code": code, "username": "root", "password": PASSWORD});
        let (status, _) = self.call(Method::POST, "/api/v1/setup", Some(body), &[]).await;
        assert_eq!(status, StatusCode::CREATED);
        self.token("root").await
    }

    /// Signs in, with `PASSWORD`.
    pub async fn token(&self, username: &str) -> String {
        let body = serde_json::json!({"username": username, "password": PASSWORD});
        let (status, answer) = self.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A request with a bearer token.
    pub async fn as_bearer(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call(method, path, body, &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Another person, added by the holder of `token`, signed in.
    pub async fn person(&self, token: &str, username: &str, role: &str) -> String {
        let body = serde_json::json!({"username": username, "password": PASSWORD, "role": role});
        let (status, answer) = self.as_bearer(token, Method::POST, "/api/v1/users", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        self.token(username).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None, &[]).await
    }
}

/// What is logged on this thread, every level, as text; clones are the same log.
#[derive(Clone, Default)]
pub struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Until the guard is dropped.
    pub fn start() -> (Logged, tracing::subscriber::DefaultGuard) {
        let logged = Logged::default();
        let writer = logged.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
        // With one subscriber alone, a line that another thread comes across first is judged by that thread, which has none, and stays silent.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let guard = tracing::subscriber::set_default(format.with_writer(move || writer.clone()).finish());
        tracing::callsite::rebuild_interest_cache();
        (logged, guard)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn request(method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    match body {
        None => builder.body(Body::empty()).unwrap(),
        Some(value) => builder.header(header::CONTENT_TYPE, "application/json").body(Body::from(value.to_string())).unwrap(),
    }
}

pub async fn json(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}
