//! What every handler may reach. Handlers take `State(state): State<AppState>`, run one verb in one transaction, and
//! show the result: `extract -> state.store.write(move |tx| verb(tx, ..)).await? -> view`.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use super::audit_export::EXPORTS;
use super::commands::Waiting;
use super::epoch_closing::EpochCloser;
use super::events::Watchers;
use super::fleet::{FleetReader, FleetReads, PATIENCE};
use super::gateway_jwt::Gateway;
use super::health::External;
use super::hosts::Hosts;
use super::idempotency::InProgress;
use super::money::Payments;
use super::node_row::NodeRow;
use super::passwords::{Attempts, Stretching};
use super::planes::Separate;
use super::rates::{Limits, Rates};
use super::reads::LONG_READS;
use super::settings::{Configuration, SettingView};
use super::tls::Tls;
use super::wallet::Signer;
use crate::clock::Clock;
use crate::crypto::Entropy;
use crate::domain::backup::Daily;
use crate::domain::challenge::Challenges;
use crate::domain::guard::GuardLimits;
use crate::domain::money::Units;
use crate::domain::paying::{Payer, Paying, PayoutRules};
use crate::domain::pool::{DEFAULT_MAX_NODES, Pool};
use crate::domain::poot::Params;
use crate::domain::time::Now;
use crate::domain::totp::CodeGuesses;
use crate::host::machine::Machine;
use crate::live::{Current, Events, Failures, Metrics, Money, Nudges, Refusals, Replication};
use crate::storage::Store;
use crate::storage::core::audit;
use crate::storage::fault::WriteError;
use crate::storage::made::Made;

/// How this manager is reached. The default: plain HTTP, one listener, under the names of loopback.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    pub tls: Option<Arc<Tls>>,
    pub hosts: Hosts,
    pub separate: Separate,
}

/// The settings the api needs.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// How this manager is reached.
    pub transport: Transport,
    /// Where agents reach this manager, without a trailing slash; goes into the enrolment command.
    pub public_url: String,
    /// Capacity of a pool that is made without one.
    pub max_nodes_per_pool: u32,
    /// Nodes of this manager, at most.
    pub max_nodes: u32,
    /// Slots of an epoch: a new price waits for the next one.
    pub epoch_slots: u32,
    /// Days for which measurements are kept as they came.
    pub raw_days: u32,
    /// What the store may take of its disk.
    pub limit_bytes: Option<u64>,
    /// What the card may have written in its life; 0: not known.
    pub card_rating_bytes: u64,
    /// When backups are made, where, and how many are kept.
    pub backup: Daily,
    /// Hours for which a changed payout address waits.
    pub address_cooldown_hours: u32,
    /// In force for the next epoch; shown until the first one is closed.
    pub poot: Params,
    /// How payouts are made.
    pub payments: Payments,
    /// What plans of payouts are held against.
    pub payouts: PayoutRules,
    /// Webhooks may go to addresses that are not public.
    pub webhooks_allow_private: bool,
    /// Requests per minute.
    pub rates: Limits,
    /// Which services outside are named in the settings.
    pub external: External,
    /// Where this manager stands, in each of its documents in the cluster.
    pub region: Option<String>,
    /// The API gateway whose JWTs are taken.
    pub gateway: Option<Gateway>,
    /// All settings, as people see them.
    pub listed: Vec<SettingView>,
}

impl Default for ApiSettings {
    fn default() -> ApiSettings {
        ApiSettings {
            transport: Transport::default(),
            public_url: "http://127.0.0.1:8095".into(),
            max_nodes_per_pool: DEFAULT_MAX_NODES,
            max_nodes: 10_000,
            epoch_slots: 10,
            raw_days: 7,
            limit_bytes: None,
            card_rating_bytes: 0,
            backup: Daily { enabled: false, at_minutes: 0, dir: None, keep: 30 },
            address_cooldown_hours: 24,
            poot: Params::default(),
            payments: Payments::simulated(),
            payouts: PayoutRules { threshold: Units(10_000_000), frequency_hours: 24, guards: GuardLimits::unlimited() },
            webhooks_allow_private: false,
            rates: Limits::default(),
            external: External::default(),
            region: None,
            gateway: None,
            listed: Vec::new(),
        }
    }
}

/// Cheap to clone; every clone is the same state.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

pub struct Shared {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub entropy: Entropy,
    pub nudges: Nudges,
    pub events: Events,
    pub refusals: Refusals,
    pub failures: Failures,
    pub metrics: Metrics,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) epoch_closer: Arc<dyn EpochCloser>,
    settings: Current<ApiSettings>,
    /// One change of settings at a time: it is checked against what is stored, and put in force after its commit.
    pub(super) changing_settings: tokio::sync::Mutex<()>,
    pub(super) configuration: Arc<dyn Configuration>,
    /// True once the process is stopping: streams end.
    pub stopping: watch::Receiver<bool>,
    pub challenges: Mutex<Challenges>,
    pub attempts: Attempts,
    pub code_guesses: Mutex<CodeGuesses>,
    pub stretching: Stretching,
    /// Clients of the event stream.
    pub(super) watchers: Arc<Watchers>,
    /// Agents that wait for an order.
    pub(super) waiting: Waiting,
    pub(super) long_reads: Arc<Semaphore>,
    pub(super) rates: Rates,
    /// Nodes and pools as they were last shown.
    pub(super) node_rows: Made<NodeRow>,
    pub(super) pools: Made<Pool>,
    pub(super) in_progress: InProgress,
    pub(super) machine: Machine,
    pub(super) storage_check: Arc<Semaphore>,
    pub(super) audit_verification: Arc<Semaphore>,
    pub(super) audit_exports: Arc<Semaphore>,
    /// Who pays.
    pub payer: Payer,
    /// What the cycles last found out about payments.
    pub money: Money,
    /// What replication last did.
    pub replication: Replication,
    pub(super) fleet: FleetReads,
}

/// What `app` brings along.
pub struct Parts {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub nudges: Nudges,
    pub events: Events,
    pub settings: Current<ApiSettings>,
    pub configuration: Arc<dyn Configuration>,
    pub stopping: watch::Receiver<bool>,
    /// Failed authentications, which the security cycle reads.
    pub failures: Failures,
    /// Who pays.
    pub payer: Payer,
    /// What the cycles last found out about payments.
    pub money: Money,
    /// What replication last did.
    pub replication: Replication,
    /// Who asks the cluster; none where none is configured.
    pub fleet: Option<Arc<dyn FleetReader>>,
    pub signer: Arc<dyn Signer>,
    pub epoch_closer: Arc<dyn EpochCloser>,
}

impl AppState {
    pub fn new(parts: Parts) -> AppState {
        let Parts {
            store,
            clock,
            nudges,
            events,
            settings,
            configuration,
            stopping,
            failures,
            payer,
            money,
            replication,
            fleet,
            signer,
            epoch_closer,
        } = parts;
        AppState(Arc::new(Shared {
            entropy: store.entropy.clone(),
            rates: Rates::new(&settings.get().rates, &clock),
            clock,
            nudges,
            events,
            refusals: Refusals::new(),
            failures,
            metrics: Metrics::new(),
            signer,
            epoch_closer,
            settings,
            changing_settings: tokio::sync::Mutex::default(),
            configuration,
            stopping,
            challenges: Mutex::default(),
            attempts: Attempts::default(),
            code_guesses: Mutex::default(),
            stretching: Stretching::default(),
            watchers: Arc::default(),
            waiting: Waiting::default(),
            node_rows: Made::default(),
            pools: Made::default(),
            long_reads: Arc::new(Semaphore::new(LONG_READS)),
            in_progress: InProgress::default(),
            machine: Machine::default(),
            storage_check: Arc::new(Semaphore::new(1)),
            audit_verification: Arc::new(Semaphore::new(1)),
            audit_exports: Arc::new(Semaphore::new(EXPORTS)),
            payer,
            money,
            replication,
            fleet: FleetReads::new(fleet, PATIENCE),
            store,
        }))
    }

    /// Writes what was refused, and only counted so far, to the audit log, when that may have its commit or the process ends.
    pub async fn flush_refusals(&self, last: bool) -> Result<(), WriteError> {
        let drafts = if last { self.refusals.take_last() } else { self.refusals.take(self.now().wall) };
        if drafts.is_empty() {
            return Ok(());
        }
        self.store.write(move |tx| audit::append_all(tx, &drafts)).await
    }

    /// The settings in force at this moment.
    pub fn settings(&self) -> Arc<ApiSettings> {
        self.settings.get()
    }

    #[cfg(test)]
    pub fn replace_settings(&self, settings: ApiSettings) {
        self.settings.set(settings);
    }

    /// What plans of payouts are held against now.
    pub fn paying(&self) -> Paying {
        let fee_sun = self.money.wallet().map(|look| look.reading.fee_sun(true)).filter(|_| self.payer.has_wallet);
        Paying { by: self.payer.clone(), rules: self.settings().payouts.clone(), fee_sun }
    }

    pub fn now(&self) -> Now {
        self.clock.now()
    }
}

impl Deref for AppState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
