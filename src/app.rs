//! The composition root: opens the store, wires the parts, spawns the cycles and the server, and drains them all at the end.

pub mod control;
mod fleet;
mod memory;
mod paying;
pub mod payment_service;
pub mod rebuild;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::prelude::ToPrimitive;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::api::certificates::{Files, hosts_of_machine};
use crate::api::epoch_closing::EpochCloser;
use crate::api::fleet::FleetReader;
use crate::api::gateway_jwt::Gateway;
use crate::api::health::External;
use crate::api::hosts::Hosts;
use crate::api::money::Payments;
use crate::api::planes::{Plane, Separate};
use crate::api::rates::Limits;
use crate::api::server::{Door, Plain};
use crate::api::tls::{Source, Tls};
use crate::api::wallet::{Pending, Signer};
use crate::api::{self, ApiSettings, AppState, Configuration, Parts, SettingSource, SettingView, Transport};
use crate::clock::{self, Clock};
use crate::config::{self, Config, ConfigErrors, Effect, Listed, Origin, TlsMode};
use crate::crypto::{Entropy, JwtSecret};
use crate::domain::archive::{Kept, Retention};
use crate::domain::audit::{Act, Actor, Draft};
use crate::domain::backup::Daily;
use crate::domain::credits::Epochs;
use crate::domain::enrolment::{DEFAULT_EXPIRY_SECONDS, EnrolmentTarget, NewToken, TokenText};
use crate::domain::epoch::Head;
use crate::domain::gateway::Expected;
use crate::domain::guard::{self, GuardLimits};
use crate::domain::ids::{EnrolmentId, ManagerId, PoolId};
use crate::domain::money::Units;
use crate::domain::pool::DEFAULT_POOL_ID;
use crate::domain::poot::Params;
use crate::domain::refusal::{FieldError, Refusal};
use crate::domain::time::{Now, Timestamp};
use crate::domain::wallet::SHORT_ABSENCE_MS;
use crate::domain::webhook::Target;
use crate::gateways::chain::{self, Chain, HttpChain};
use crate::gateways::payment::PaymentGateway;
use crate::gateways::payment::signer::{SignerChild, SignerClient};
use crate::gateways::replica::{self, Cluster, Mongo};
use crate::host;
use crate::jobs::{self, Context, Scheduler, Settings};
use crate::live::{Current, Event, Events, Failures, Job, Money, Nudges, Replication};
use crate::logging;
use crate::storage::core::ledger_check::Depth;
use crate::storage::core::{enrolment, money, outbox, pools, settings as core_settings};
use crate::storage::device::{self, Device};
use crate::storage::fault::{Fault, OpenError, WriteError};
use crate::storage::verify::{Finding, verify_folder};
use crate::storage::{Store, StoreOptions, setup_code};

use paying::{Custody, Paying, keep_unlocked, payments};

/// The last flush and the closing of the files get this long.
const CLOSE: Duration = Duration::from_secs(5);

/// Of which the cluster gets so much to hear that this manager ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often the store is asked whether a file was given up.
const LOOK_FOR_FAILURE: Duration = Duration::from_secs(1);

/// Why the manager does not run.
#[derive(Debug)]
pub enum AppError {
    Open(OpenError),
    Write(WriteError),
    Listen(SocketAddr, io::Error),
    Other(String),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppError::Open(error) => error.fmt(f),
            AppError::Write(error) => error.fmt(f),
            AppError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            AppError::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for AppError {}

impl From<OpenError> for AppError {
    fn from(error: OpenError) -> AppError {
        AppError::Open(error)
    }
}

impl From<WriteError> for AppError {
    fn from(error: WriteError) -> AppError {
        AppError::Write(error)
    }
}

impl From<Fault> for AppError {
    fn from(fault: Fault) -> AppError {
        AppError::Open(OpenError::Fault(fault))
    }
}

/// An open manager without a server: what `serve`, the tools and the tests build on.
pub struct App {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub context: Context,
    pub state: AppState,
    /// For every listener, but for its plane.
    pub door: Door,
    stop: watch::Sender<bool>,
    /// Shown once, when nobody has been set up yet.
    pub setup_code: Option<String>,
    /// A signer that a passphrase of the settings opens.
    unlock: Option<(SignerClient, Zeroizing<String>)>,
    /// Ends with the manager.
    _signer: Option<SignerChild>,
}

/// Where the time comes from: the machine, or a test.
pub type ClockOf<'a> = &'a dyn Fn(&Config, Timestamp) -> Clock;

/// The machine's clock under the configured policy.
pub fn system_clock(config: &Config, high_water: Timestamp) -> Clock {
    Clock::system(config.clock.trust, high_water)
}

/// Opens the store of this configuration.
pub fn open_store(config: &Config, now: Now) -> Result<Store, OpenError> {
    open_store_on(config, device::real(), now)
}

/// The same, with its database files on another device.
pub fn open_store_on(config: &Config, device: Arc<dyn Device>, now: Now) -> Result<Store, OpenError> {
    Store::open(&store_options(config, device), Entropy::new(), now)
}

fn store_options(config: &Config, device: Arc<dyn Device>) -> StoreOptions {
    StoreOptions {
        dir: config.storage.data_dir.clone(),
        core_cache_bytes: mib(config.storage.core_cache_mib),
        hot_cache_bytes: mib(config.storage.hot_cache_mib),
        boot_id: clock::boot_id(),
        device,
    }
}

/// Checks a store that nobody has open, also one that does not open.
///
/// # Errors
/// Why it was not looked at: it is in use, or needs another release.
pub fn verify(config: &Config, now: Now, depth: Depth) -> Result<Vec<Finding>, OpenError> {
    verify_folder(&store_options(config, device::real()), Entropy::new(), now, depth)
}

fn mib(mib: u32) -> usize {
    usize::try_from(mib).unwrap_or(1).saturating_mul(1 << 20)
}

/// Before anything is written: afterwards nobody could tell any more how old this store is.
async fn note_absence(store: &Store, written_until: Timestamp, now: Now) -> Result<(), AppError> {
    let is_short = now.trusted && now.wall.since(written_until).saturating_abs() <= SHORT_ABSENCE_MS;
    if !is_short && !money::wallets(&store.read()?)?.is_empty() {
        store.write(move |tx| money::note_absence(tx, written_until)).await?;
    }
    Ok(())
}

/// The store knows to whom the steps of payouts are told: each message is written with its step.
async fn note_listener(store: &Store, config: &Config) -> Result<(), AppError> {
    let target = config.webhooks.payouts_url.as_ref().and_then(|url| Target::parse(url.reveal()).ok());
    if outbox::payout_news(&store.read()?)?.target != target {
        store.write(move |tx| outbox::tell_payouts_to(tx, target.clone())).await?;
    }
    Ok(())
}

impl App {
    /// Opens the store, makes what a new one needs, and wires the parts.
    pub async fn open(config: &Config, clock_of: ClockOf<'_>) -> Result<App, AppError> {
        App::open_paying(config, clock_of, None, device::real()).await
    }

    /// The same with another gateway for payouts.
    pub async fn open_with(config: &Config, clock_of: ClockOf<'_>, gateway: Arc<dyn PaymentGateway>) -> Result<App, AppError> {
        App::open_paying(config, clock_of, Some(Paying::only(gateway)), device::real()).await
    }

    /// The same with a signer of the caller's, too.
    pub async fn open_signed(
        config: &Config,
        clock_of: ClockOf<'_>,
        gateway: Arc<dyn PaymentGateway>,
        signer: Arc<dyn Signer>,
    ) -> Result<App, AppError> {
        App::open_paying(config, clock_of, Some(Paying { signer, ..Paying::only(gateway) }), device::real()).await
    }

    /// The same with its store on another device.
    pub async fn open_on(
        config: &Config,
        clock_of: ClockOf<'_>,
        gateway: Arc<dyn PaymentGateway>,
        device: Arc<dyn Device>,
    ) -> Result<App, AppError> {
        App::open_paying(config, clock_of, Some(Paying::only(gateway)), device).await
    }

    async fn open_paying(config: &Config, clock_of: ClockOf<'_>, paying: Option<Paying>, device: Arc<dyn Device>) -> Result<App, AppError> {
        // The clock needs the store's highest time and a new store needs a time: a first look at the clock serves for that.
        let first_look = clock_of(config, Timestamp(0)).now();
        // A store after a power cut is repaired, one of an earlier release changed: both wait for the disk.
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open_store_on(&opening, device, first_look)).await;
        let store = Arc::new(opened.map_err(|error| AppError::Other(error.to_string()))??);
        let written_until = crate::storage::high_water(&store)?;
        let clock = clock_of(config, written_until);
        if let Some(anchor) = crate::storage::carried_trust(&store, &clock::boot_id())? {
            clock.carry(anchor);
        }
        let now = clock.now();
        note_absence(&store, written_until, now).await?;
        let pricing = config.default_pool.pricing();
        let max_nodes = config.pools.max_nodes_per_pool;
        store.write(move |tx| pools::ensure_default(tx, &Act::system(now), pricing, max_nodes)).await?;
        let setup_code = setup_code::ensure(&store)?;

        let (nudges, events) = (Nudges::new(), Events::new(u32::from_le_bytes(store.entropy.bytes())));
        let told = events.clone();
        store.core.watch_alerts(move |change| told.publish(&Event::Alert(change)));
        let (stop, stopping) = watch::channel(false);
        let at_start = core_settings::all(&store.read()?, &store.secrets)?;
        let (config, at_start) = in_force(config, at_start);
        let config = &config;
        note_listener(&store, config).await?;
        store.outputs.keep(kept_output_bytes(config));
        let jobs = Current::new(settings(config)?);
        let Paying { gateways, signer, custody } = match paying {
            Some(paying) => paying,
            None => Paying::configured(config, &clock).map_err(AppError::Other)?,
        };
        let Custody { child, unlock } = custody;
        let payments = payments(config);
        let api = Current::new(api_settings(config, &jobs.get(), transport(config, &store)?, payments));
        let reconfigure = Reconfigure { store: Arc::clone(&store), base: config.clone(), at_start, jobs: jobs.clone(), api: api.clone() };
        reconfigure.show(config);
        if config.listed.iter().any(|setting| setting.key == "log.level" && setting.origin == Origin::Stored) {
            logging::set_targets(config.log.level.0.clone());
        }
        let cluster = cluster(config, &store.manager_id);
        match cluster {
            Some(_) => store.begin_marks().await?,
            None => {
                store.end_marks().await?;
                jobs::replication::alerts::close(&store, now.wall).await.map_err(|jobs::Stopped(why)| AppError::Other(why))?;
            }
        }
        let (failures, money) = (Failures::default(), Money::default());
        let agents_come_to = config.server.node_listen.unwrap_or(config.server.listen);
        let link_is_up = if agents_come_to.ip().is_loopback() { host::loopback_is_up } else { host::link_is_up };
        let context = Context {
            store: Arc::clone(&store),
            clock: clock.clone(),
            settings: jobs,
            gateways,
            chain: chain(config)?,
            cluster: cluster.clone().map(|cluster| cluster as Arc<dyn Cluster>),
            replica: Arc::default(),
            replication: Replication::default(),
            money: money.clone(),
            events: events.clone(),
            nudges: nudges.clone(),
            failures: failures.clone(),
            judged_hour: Arc::default(),
            stumbles: Arc::default(),
            link_is_up,
            closing: Arc::default(),
        };
        let parts = Parts {
            failures,
            store: Arc::clone(&store),
            clock: clock.clone(),
            nudges,
            events,
            settings: api,
            configuration: Arc::new(reconfigure),
            stopping,
            payer: context.gateways.current.payer(),
            money,
            replication: context.replication.clone(),
            fleet: cluster.map(|cluster| Arc::new(fleet::Fleet(cluster)) as Arc<dyn FleetReader>),
            signer,
            epoch_closer: Arc::new(ClosesEpochs(context.clone())),
        };
        let state = AppState::new(parts);
        let plain = match (config.server.tls, config.server.allow_plain_http) {
            (TlsMode::Required, _) => Plain::Nowhere,
            (TlsMode::Auto, false) => Plain::Loopback,
            (TlsMode::Off, _) | (TlsMode::Auto, true) => Plain::Everywhere,
        };
        let door = Door { tls: state.settings().transport.tls.clone(), plain, ..Door::default() };
        Ok(App { store, clock, context, state, door, stop, setup_code, unlock, _signer: child })
    }

    /// Serves and runs the cycles until `shutdown`, then drains, flushes and closes.
    pub async fn serve(self, listeners: impl Into<Listeners>, shutdown: impl Future<Output = ()>) -> Result<(), AppError> {
        let scheduler = Scheduler::start(self.context.clone(), self.stop.subscribe()).await;
        let scheduler = scheduler.map_err(|error| AppError::Other(format!("the scheduler does not start: {error}")))?;
        let Listeners { main, node, ops } = listeners.into();
        let serving = |listener: Option<TcpListener>, plane| {
            let (router, door) = (api::router(self.state.clone()), Door { plane, ..self.door.clone() });
            let stopping = self.stop.subscribe();
            async move {
                if let Some(listener) = listener {
                    api::server::serve(listener, router, door, stopping).await;
                }
            }
        };
        let serving = (serving(Some(main), Plane::All), serving(node, Plane::Node), serving(ops, Plane::Ops));
        let (unlock, until) = (self.unlock.clone(), self.stop.subscribe());
        let unlocking = async move {
            if let Some((client, passphrase)) = unlock {
                keep_unlocked(client, passphrase, until).await;
            }
        };
        let desk = control::Desk {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            nudges: self.context.nudges.clone(),
            verifying: Arc::default(),
        };
        let commands = desk.work(self.stop.subscribe());
        let recording = api::record_refusals(self.state.clone());
        let memory = memory::keep_small(self.stop.subscribe());
        let (tls, stopping) = (self.door.tls.clone(), self.stop.subscribe());
        let following = async move {
            if let Some(tls) = tls {
                tls.follow(stopping).await;
            }
        };
        let server = tokio::spawn(async move {
            tokio::join!(serving.0, serving.1, serving.2, recording, following, unlocking, commands, memory);
        });
        let store = Arc::clone(&self.store);
        let failed = tokio::select! {
            () = shutdown => false,
            () = failure(&store) => true,
        };
        self.close(server, Some(scheduler)).await;
        if failed {
            // The writer has tried for a while to open the file again, and does so no more.
            return Err(AppError::Other(
                "the store does not open again after an I/O error: mend the disk; the next start repairs the store".into(),
            ));
        }
        Ok(())
    }

    async fn close(self, server: JoinHandle<()>, scheduler: Option<Scheduler>) {
        let _ = self.stop.send(true);
        self.store.backups.stop();
        let _ = server.await;
        let close = async {
            if let Some(scheduler) = scheduler {
                scheduler.finished().await;
            }
            if tokio::time::timeout(FAREWELL, jobs::replication::release(&self.context)).await.is_err() {
                tracing::debug!("the cluster was not told of the end");
            }
            if let Err(stopped) = self.context.run(Job::Flush).await {
                tracing::error!(why = stopped.0, "the last flush failed; agents will send again");
            }
        };
        if tokio::time::timeout(CLOSE, close).await.is_err() {
            tracing::warn!("the cycles did not end in time");
        }
        let store = Arc::clone(&self.store);
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        tracing::info!("stopped");
    }
}

/// Where a manager listens.
pub struct Listeners {
    pub main: TcpListener,
    /// For agents alone.
    pub node: Option<TcpListener>,
    /// For health and metrics alone.
    pub ops: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Listeners {
        Listeners { main, node: None, ops: None }
    }
}

impl Listeners {
    /// Binds what is configured, and puts the real addresses into the configuration.
    async fn bind(config: &mut Config) -> Result<Listeners, AppError> {
        async fn bind(address: &mut SocketAddr) -> Result<TcpListener, AppError> {
            let failed = |error| AppError::Listen(*address, error);
            let listener = TcpListener::bind(*address).await.map_err(failed)?;
            *address = listener.local_addr().map_err(failed)?;
            Ok(listener)
        }
        let main = bind(&mut config.server.listen).await?;
        let (mut node, mut ops) = (None, None);
        if let Some(address) = &mut config.server.node_listen {
            node = Some(bind(address).await?);
        }
        if let Some(address) = &mut config.server.ops_listen {
            ops = Some(bind(address).await?);
        }
        Ok(Listeners { main, node, ops })
    }
}

/// A token for one machine into the default pool, made at the console of a manager that is not running. It lives an hour.
pub async fn enrolment_token(config: &Config) -> Result<String, AppError> {
    let app = App::open(config, &system_clock).await?;
    let (store, now) = (Arc::clone(&app.store), app.clock.now());
    let text =
        TokenText::new(EnrolmentId::new(store.entropy.uuid(now.wall.0)), &store.entropy.bytes(), &store.manager_key(), &store.first_key());
    let (act, kept) = (Act { actor: Actor::Console, ..Act::system(now) }, text.clone());
    let made = store.write(move |tx| {
        let pool = pools::by_id(tx, &PoolId::parse(DEFAULT_POOL_ID).map_err(|_| Refusal::PoolNotFound)?)?.ok_or(Refusal::PoolNotFound)?;
        let target = EnrolmentTarget::Pool(pool.index);
        let new = NewToken { target, uses: 1, expires_in_seconds: DEFAULT_EXPIRY_SECONDS, needs_approval: false };
        enrolment::create_token(tx, &act, &kept, &new)
    });
    made.await?;
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    Ok(text.to_text())
}

/// Returns once a file of the store was given up.
async fn failure(store: &Store) {
    while !store.core.failed() && !store.hot.failed() {
        tokio::time::sleep(LOOK_FOR_FAILURE).await;
    }
}

/// Runs a manager until `shutdown`. `announce` gets the address once it listens, and the setup code of a new store.
pub async fn serve(
    config: &Config,
    clock_of: ClockOf<'_>,
    shutdown: impl Future<Output = ()>,
    announce: impl FnOnce(&config::Server, Option<&str>, &App),
) -> Result<(), AppError> {
    let mut config = config.clone();
    let listeners = Listeners::bind(&mut config).await?;
    let app = App::open(&config, clock_of).await?;
    let server = &config.server;
    tracing::info!(address = %server.listen, manager = %app.store.manager_id, key = app.store.manager_key().to_hex(), "listening");
    for (address, what) in [(server.node_listen, "agents"), (server.ops_listen, "health and metrics")] {
        if let Some(address) = address {
            tracing::info!(%address, what, "listening");
        }
    }
    let code = app.setup_code.clone();
    announce(server, code.as_deref(), &app);
    app.serve(listeners, shutdown).await
}

/// The configuration with what is stored. A stored text that this release does not take any more is left out, with a line in the log: it must not keep
/// the manager from starting.
fn in_force(config: &Config, stored: Vec<(String, String)>) -> (Config, Vec<(String, String)>) {
    let mut stored = stored;
    loop {
        match config.with_stored(&stored) {
            Ok(config) => return (config, stored),
            Err(errors) => {
                let before = stored.len();
                stored.retain(|(key, _)| !errors.0.iter().any(|error| error.key == *key));
                tracing::warn!(%errors, "stored settings are left out");
                if stored.len() == before {
                    return (config.clone(), Vec::new());
                }
            }
        }
    }
}

/// Closes epochs for the api, which calls no cycles.
struct ClosesEpochs(Context);

impl EpochCloser for ClosesEpochs {
    fn close_now(&self, draft: Draft) -> Pending<'_, Result<Head, WriteError>> {
        // A task of its own: who hangs up between the head and its answer must not let the next close begin at the same slot.
        let context = self.0.clone();
        Box::pin(async move {
            let closed = tokio::spawn(async move { jobs::close_now(&context, draft).await }).await;
            closed.unwrap_or_else(|_| Err(WriteError::Unknown("the closing was ended".into())))
        })
    }
}

/// Puts changed settings in force.
struct Reconfigure {
    store: Arc<Store>,
    base: Config,
    /// What was stored when the process started: settings that take a restart stay as they were then.
    at_start: Vec<(String, String)>,
    jobs: Current<Settings>,
    api: Current<ApiSettings>,
}

impl Reconfigure {
    fn waits(key: &str) -> bool {
        config::effect(key) != Effect::AtOnce
    }

    /// The list for people, with what only this process knows.
    fn views(&self, config: &Config, at_start: &Config) -> Vec<SettingView> {
        let listed = config.listed.iter().zip(&at_start.listed);
        let view = |(now, then): (&Listed, &Listed)| SettingView {
            waits_for_restart: Reconfigure::waits(&now.key) && now.value != then.value,
            why_fixed: self.base.why_not_stored(&now.key),
            ..setting(now)
        };
        listed.map(view).collect()
    }

    fn show(&self, config: &Config) {
        let settings = ApiSettings { listed: self.views(config, config), ..(*self.api.get()).clone() };
        self.api.set(settings);
    }
}

impl Configuration for Reconfigure {
    fn why_fixed(&self, key: &str) -> Option<String> {
        self.base.why_not_stored(key)
    }

    fn with(&self, stored: &[(String, String)]) -> Result<Box<dyn FnOnce() + Send>, Vec<FieldError>> {
        let fields = |errors: ConfigErrors| -> Vec<FieldError> {
            errors.0.into_iter().map(|error| FieldError { field: error.key, message: error.problem }).collect()
        };
        let wanted = self.base.with_stored(stored).map_err(fields)?;
        let at_start = self.base.with_stored(&self.at_start).map_err(fields)?;
        let waiting = self.at_start.iter().filter(|(key, _)| Reconfigure::waits(key));
        let mixed: Vec<_> = stored.iter().filter(|(key, _)| !Reconfigure::waits(key)).chain(waiting).cloned().collect();
        let config = self.base.with_stored(&mixed).map_err(fields)?;
        let unusable = |error: AppError| vec![FieldError { field: String::new(), message: error.to_string() }];
        let jobs = settings(&config).map_err(unusable)?;
        let present = self.api.get();
        let transport = Transport { hosts: hosts(&config), ..present.transport.clone() };
        // The gateway is that of the start.
        let payments = present.payments.clone();
        let api = ApiSettings { listed: self.views(&wanted, &at_start), ..api_settings(&config, &jobs, transport, payments) };
        let (all_jobs, all_api, targets) = (self.jobs.clone(), self.api.clone(), config.log.level.0.clone());
        let (store, keep_bytes) = (Arc::clone(&self.store), kept_output_bytes(&config));
        Ok(Box::new(move || {
            all_jobs.set(jobs);
            all_api.set(api);
            store.outputs.keep(keep_bytes);
            logging::set_targets(targets);
        }))
    }
}

fn settings(config: &Config) -> Result<Settings, AppError> {
    let wrong = |what: &str| AppError::Other(format!("{what} is out of range"));
    let epochs = Epochs::of_seconds(config.poot.calculation_interval_seconds).ok_or_else(|| wrong("poot.calculation_interval_seconds"))?;
    let hundredths = |value: rust_decimal::Decimal| (value * rust_decimal::Decimal::ONE_HUNDRED).round().to_u16();
    let params = Params {
        min_observation_seconds: config.poot.min_observation_seconds,
        min_score_hundredths: hundredths(config.poot.min_score).ok_or_else(|| wrong("poot.min_score"))?,
        max_multiplier_hundredths: hundredths(config.poot.score_multiplier).ok_or_else(|| wrong("poot.score_multiplier"))?,
        ..Params::default()
    };
    Ok(Settings {
        params,
        epochs,
        flush_seconds: config.storage.flush_seconds,
        payout_threshold: config.payout.threshold_usdt.units.max(Units(1)),
        payout_frequency_hours: config.payout.frequency_hours,
        payout_interval_seconds: config.payout.processing_interval_seconds,
        guards: guards(config),
        fee_cap_sun: u64::from(config.tron.fee_limit_sun),
        retention: retention(config),
        card_rating_bytes: (config.storage.card_rating_tb * rust_decimal::Decimal::from(1_000_000_000_000_u64))
            .to_u64()
            .unwrap_or(u64::MAX),
        archiving: archiving(config),
        compaction: jobs::CompactionRules {
            start_hour: config.storage.maintenance_start_hour,
            hours: config.storage.maintenance_hours,
            above_percent: config.storage.compact_above_percent,
        },
        vote_expiry_ms: i64::from(config.blockchain.vote_expiry_seconds) * 1_000,
        webhooks_allow_private: config.webhooks.allow_private,
        backup: daily_backup(config),
        replication: jobs::ReplicationRules {
            limit_kb_per_second: config.mongodb.limit_kb_per_second,
            lag_alert_minutes: config.mongodb.lag_alert_minutes,
            hourly_metrics: config.mongodb.hourly_metrics,
            raw_metrics: config.mongodb.raw_metrics,
        },
    })
}

fn retention(config: &Config) -> jobs::Retention {
    let config::Storage { raw_days, raw_max_mb, hourly_days, hourly_max_mb, max_mb, .. } = config.storage;
    jobs::Retention { raw_days, raw_max_mb, hourly_days, hourly_max_mb, max_mb }
}

fn daily_backup(config: &Config) -> Daily {
    let config::Backup { enabled, at, dir, keep } = config.backup.clone();
    Daily { enabled, at_minutes: at, dir, keep }
}

fn archiving(config: &Config) -> Retention {
    let kept = |months, years| Kept { months, archive_years: (years > 0).then_some(years) };
    let set = &config.retention;
    Retention {
        outputs: kept(set.validations_months, set.validations_archive_years),
        node_history: kept(set.node_history_months, set.node_history_archive_years),
        ledger: kept(set.ledger_months, set.ledger_archive_years),
        payouts: kept(set.payouts_months, set.payouts_archive_years),
    }
}

fn kept_output_bytes(config: &Config) -> u64 {
    u64::from(config.poot.keep_outputs_mb) << 20
}

/// Who is told the scores.
fn chain(config: &Config) -> Result<Option<Arc<dyn Chain>>, AppError> {
    let blockchain = config.blockchain.clone();
    let Some(url) = blockchain.url else { return Ok(None) };
    let chain = HttpChain::new(chain::Options {
        url,
        vote_path: blockchain.vote_path,
        block_path: blockchain.block_path,
        block_id_fields: blockchain.block_id_fields,
        timeout: Duration::from_secs(blockchain.timeout_seconds.into()),
    });
    Ok(Some(Arc::new(chain.map_err(AppError::Other)?)))
}

/// Where managers meet. A connection string that the driver does not read keeps nobody from starting: replication says so.
fn cluster(config: &Config, manager: &ManagerId) -> Option<Arc<Mongo>> {
    let config::Mongodb { uri, region, .. } = &config.mongodb;
    let uri = uri.as_ref()?;
    Some(Arc::new(Mongo::new(replica::Options {
        uri: uri.reveal().to_owned(),
        manager: manager.as_str().to_owned(),
        region: region.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        patience: replica::ANSWER,
    })))
}

/// What every payout has to pass.
fn guards(config: &Config) -> GuardLimits {
    let payout = &config.payout;
    let hundredths = (payout.max_fee_percent * rust_decimal::Decimal::ONE_HUNDRED).round().to_u32().unwrap_or(0);
    GuardLimits {
        max_payout: payout.max_usdt.units,
        max_hour: payout.max_hour_usdt.units,
        max_day: payout.max_day_usdt.units,
        classes: payout.class_limits.clone(),
        max_fee_hundredths: hundredths,
        approval_above: payout.approval_above_usdt.units,
        blocked: payout.blocked_addresses.iter().cloned().chain(guard::known_blocked()).collect(),
    }
}

/// The names under which requests are answered.
fn hosts(config: &Config) -> Hosts {
    let own = hosts_of_machine(&host::network::name(), &host::network::addresses());
    Hosts::new(own.into_iter().chain(config.server.public_host()).chain(config.server.allowed_hosts.iter().cloned()))
}

/// Certificates, and the names under which requests are answered.
fn transport(config: &Config, store: &Store) -> Result<Transport, AppError> {
    let server = &config.server;
    let own_hosts = hosts_of_machine(&host::network::name(), &host::network::addresses());
    let public_host = server.public_host();
    let bare_host = public_host.as_deref().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let own = server.certificate_file.clone().zip(server.key_file.clone()).map(|(certificate, key)| Files { certificate, key });
    let source = Source {
        data_dir: &config.storage.data_dir,
        own,
        hosts: &own_hosts,
        public_host: bare_host,
        manager_id: store.manager_id.as_str(),
        signing_key: &store.signing_key,
        successions: &store.successions,
    };
    let tls = (server.tls != TlsMode::Off).then(|| Tls::open(source).map(Arc::new)).transpose();
    let tls = tls.map_err(|why| AppError::Other(format!("no certificate for TLS: {why}")))?;
    Ok(Transport { tls, hosts: hosts(config), separate: Separate { node: server.node_listen.is_some(), ops: server.ops_listen.is_some() } })
}

fn api_settings(config: &Config, settings: &Settings, transport: Transport, payments: Payments) -> ApiSettings {
    ApiSettings {
        transport,
        public_url: config.server.agent_url(),
        max_nodes_per_pool: config.pools.max_nodes_per_pool,
        max_nodes: config.limits.max_nodes,
        epoch_slots: settings.epochs.slots_per_epoch(),
        raw_days: settings.retention.raw_days,
        limit_bytes: jobs::limit_bytes(settings.retention.max_mb),
        card_rating_bytes: settings.card_rating_bytes,
        backup: settings.backup.clone(),
        address_cooldown_hours: config.payout.address_cooldown_hours,
        poot: settings.params,
        payments,
        payouts: settings.payouts(),
        webhooks_allow_private: settings.webhooks_allow_private,
        rates: rates(&config.limits),
        external: External {
            payment_service: config.tron_payment.url.is_some() || config.payout.gateway != config::Gateway::None,
            blockchain: config.blockchain.url.is_some(),
            mongodb: config.mongodb.uri.is_some(),
        },
        region: config.mongodb.region.clone(),
        gateway: config.access.jwt_secret_key.as_ref().map(|secret| Gateway {
            secret: JwtSecret::new(secret.reveal()),
            expected: Expected { issuer: config.access.jwt_issuer.clone(), audience: config.access.jwt_audience.clone() },
        }),
        listed: config.listed.iter().map(setting).collect(),
    }
}

fn rates(limits: &config::Limits) -> Limits {
    // The rules of the settings allow no zero.
    let per_minute = |requests| NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
    Limits {
        public: per_minute(limits.public_requests),
        node: per_minute(limits.node_requests),
        person: per_minute(limits.person_requests),
        admin: per_minute(limits.admin_requests),
        poot: per_minute(limits.poot_requests),
        payout: per_minute(limits.payout_requests),
    }
}

fn setting(listed: &Listed) -> SettingView {
    let Listed { key, value, default, origin, allowed, meaning, secret: _ } = listed.clone();
    let (source, source_name) = match origin {
        Origin::Default => (SettingSource::Default, None),
        Origin::File { path, line } => (SettingSource::File, Some(format!("{}:{line}", path.display()))),
        Origin::Stored => (SettingSource::Stored, None),
        Origin::Env(name) => (SettingSource::Environment, Some(name)),
        Origin::Flag(flag) => (SettingSource::Flag, Some(flag.to_owned())),
    };
    let restart_needed = config::effect(&key) != Effect::AtOnce;
    SettingView { key, value, default, source, source_name, allowed, meaning, restart_needed, waits_for_restart: false, why_fixed: None }
}
