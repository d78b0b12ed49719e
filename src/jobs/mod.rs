//! The cycles. Each takes no input, rereads the state, does a bounded unit of work and may run again at any time: what is due follows from the
//! store and the clock, so a restart and the normal path are the same code.

mod anomalies;
mod archives;
mod backups;
mod commands;
mod compaction;
mod epochs;
mod final_payouts;
mod flush;
mod housekeeping;
mod maintenance;
pub mod measurements;
mod money_alerts;
mod outbox;
mod payouts;
mod planning;
mod postings;
mod reconcile;
pub mod replication;
mod rollups;
mod schedule;
mod schedules;
mod sealing;
mod security;
mod settle;
mod signing;
mod silence;
mod space;
mod thresholds;
mod tracking;
mod votes;
mod wallet;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::domain::backup::Daily;
use crate::domain::credits::Epochs;
use crate::domain::guard::GuardLimits;
use crate::domain::money::Units;
use crate::domain::paying::PayoutRules;
use crate::domain::poot::Params;
use crate::domain::vote::Stumbles;
use crate::gateways::chain::Chain;
use crate::gateways::payment::Gateways;
use crate::gateways::replica::Cluster;
use crate::live::{Current, Events, Failures, Job, Money, Nudges, Replication};
use crate::storage::Store;
use crate::storage::fault::{TxError, WriteError};

pub use compaction::Rules as CompactionRules;
pub use epochs::close_now;
pub use schedule::Scheduler;

/// What the cycles need to know, from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    pub params: Params,
    pub epochs: Epochs,
    /// Seconds between flushes; None: 330, a little more than between epochs.
    pub flush_seconds: Option<u32>,
    pub payout_threshold: Units,
    pub payout_frequency_hours: u32,
    pub payout_interval_seconds: u32,
    pub guards: GuardLimits,
    /// What one transfer may cost at most, in sun.
    pub fee_cap_sun: u64,
    pub retention: Retention,
    /// What the card may have written in its life, in bytes; 0: not known.
    pub card_rating_bytes: u64,
    /// How long what is archived stays in the store, and archives on the disk.
    pub archiving: crate::domain::archive::Retention,
    pub compaction: CompactionRules,
    /// Votes on an epoch that ended longer ago are not sent.
    pub vote_expiry_ms: i64,
    /// Webhooks may go to addresses that are not public.
    pub webhooks_allow_private: bool,
    pub backup: Daily,
    pub replication: ReplicationRules,
}

/// How much of the link replication may take, 0: all of it; how old what the cluster has may be until somebody is told, 0: as old as it likes; and which measurements go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicationRules {
    pub limit_kb_per_second: u32,
    pub lag_alert_minutes: u32,
    pub hourly_metrics: bool,
    pub raw_metrics: bool,
}

/// How long measurements are kept, and how much they may take; 0 megabytes: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub raw_days: u32,
    pub raw_max_mb: u32,
    pub hourly_days: u32,
    pub hourly_max_mb: u32,
    /// The whole store.
    pub max_mb: u32,
}

/// Megabytes of a setting in bytes; 0 is no limit.
pub fn limit_bytes(megabytes: u32) -> Option<u64> {
    (megabytes > 0).then(|| u64::from(megabytes) << 20)
}

impl Settings {
    /// What plans of payouts are held against.
    pub fn payouts(&self) -> PayoutRules {
        PayoutRules { threshold: self.payout_threshold, frequency_hours: self.payout_frequency_hours, guards: self.guards.clone() }
    }
}

/// Everything a cycle may reach.
#[derive(Clone)]
pub struct Context {
    pub store: Arc<Store>,
    pub clock: Clock,
    /// As they are now; a cycle takes them once and keeps them until its end.
    pub settings: Current<Settings>,
    pub gateways: Gateways,
    /// Who is told the scores; None: nobody.
    pub chain: Option<Arc<dyn Chain>>,
    /// Where managers meet; None: nowhere.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// What replication knows from one run to the next, and what it shows.
    pub replica: Arc<Mutex<replication::Memory>>,
    pub replication: Replication,
    /// What these cycles last found out about payments.
    pub money: Money,
    pub events: Events,
    pub nudges: Nudges,
    /// Failed authentications, as requests were refused.
    pub failures: Failures,
    /// Through which hour anomalies were looked for.
    pub judged_hour: Arc<AtomicU32>,
    /// Votes that the chain stumbles over.
    pub stumbles: Arc<std::sync::Mutex<Stumbles>>,
    /// The manager's own evidence that it can hear.
    pub link_is_up: fn() -> bool,
    /// Held by who closes epochs: the cycle, and who asks for one now.
    pub closing: Arc<Mutex<()>>,
}

/// Why a cycle stopped before its end. The next one starts from what was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped(pub String);

impl<E: Into<WriteError>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped(error.into().to_string())
    }
}

impl From<postcard::Error> for TxError {
    fn from(error: postcard::Error) -> TxError {
        TxError::Fault(crate::storage::fault::Fault::Invariant(error.to_string()))
    }
}

impl Context {
    /// One run of one cycle.
    pub async fn run(&self, job: Job) -> Result<(), Stopped> {
        match job {
            Job::Flush => flush::run(self).await,
            Job::Epochs => epochs::run(self).await,
            Job::Postings => postings::run(self).await,
            Job::Payouts => payouts::run(self).await,
            Job::Tracking => payouts::track_open(self).await,
            Job::Wallet => {
                wallet::run(self).await?;
                reconcile::run_if_due(self).await?;
                money_alerts::run(self).await
            }
            Job::Housekeeping => housekeeping::run(self).await,
            Job::Silence => {
                silence::run(self).await?;
                commands::run(self).await?;
                workloads::run(self).await
            }
            Job::Rollups => rollups::run(self).await,
            Job::Security => security::run(self).await,
            Job::Thresholds => thresholds::run(self).await,
            Job::Maintenance => maintenance::run(self).await,
            Job::Outbox => outbox::run(self).await,
            Job::Votes => votes::run(self).await,
            Job::Anomalies => anomalies::run(self).await,
            Job::Sealing => sealing::run(self).await,
            Job::Compaction => compaction::run(self).await,
            Job::Backup => backups::run(self).await,
            Job::Space => space::run(self).await,
            Job::Replication => replication::run(self).await,
        }
    }

    /// Follows the clock into the next slot; at least once per slot.
    pub fn tick(&self) {
        self.store.intake.tick(self.clock.now(), (self.link_is_up)());
    }

    /// Whether the scheduler would flush now.
    pub fn flush_is_due(&self) -> bool {
        flush::due_in_ms(self) == 0
    }

    /// All cycles in their natural order: what time alone would bring. For driven clocks and the command line. Backups are left out: each copies all of the store.
    /// So is the look at the disk, which is no business of a driven clock.
    pub async fn run_all(&self) -> Result<(), Stopped> {
        self.tick();
        for job in [
            Job::Maintenance,
            Job::Silence,
            Job::Thresholds,
            Job::Flush,
            Job::Sealing,
            Job::Epochs,
            Job::Postings,
            Job::Payouts,
            Job::Rollups,
            Job::Housekeeping,
            Job::Security,
            Job::Anomalies,
            Job::Compaction,
            Job::Outbox,
            Job::Votes,
        ] {
            self.run(job).await?;
        }
        Ok(())
    }
}
