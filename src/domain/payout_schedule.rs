//! When payouts are made by themselves: once, or by a rule of five fields as crontab has them, on the clocks of a place. What was missed while nobody ran is made up
//! for once.

mod cron;

use serde::{Deserialize, Serialize};

use super::batch::{LeftOut, Wish};
use super::ids::{BatchId, PoolId, ScheduleId};
use super::money::Units;
use super::payout::Priority;
use super::time::Timestamp;
use crate::crypto::{hex, sha256};

pub use cron::{Cron, CronError};

/// Schedules of one manager.
pub const MAX_SCHEDULES: u64 = 100;
/// Runs that are kept of each.
pub const MAX_RUNS: usize = 20;
/// Of those whom a run left out, so many are kept by name.
pub const MAX_LEFT_OUT: usize = 200;
/// Runs that are shown ahead.
pub const SHOWN_AHEAD: usize = 5;
pub const NAME_LEN: std::ops::RangeInclusive<usize> = 1..=100;

/// When.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    Once(Timestamp),
    Cron { fields: String, time_zone: String },
}

/// Whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// Every node whose balance is at least `min_amount`.
    AllDue,
    /// The same of one pool.
    Pool(PoolId),
    /// These payouts, as far as they can be made.
    Listed(Vec<Wish>),
}

/// Whom a schedule pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduledPayouts)]
pub enum What {
    /// Every node whose balance is at least `min_amount`, all that it has.
    AllDue,
    /// The same of the nodes of `pool_id`.
    Pool,
    /// The `payout_requests`, as far as each can be made.
    Listed,
}

impl Whom {
    pub fn what(&self) -> What {
        match self {
            Whom::AllDue => What::AllDue,
            Whom::Pool(_) => What::Pool,
            Whom::Listed(_) => What::Listed,
        }
    }
}

/// The stored schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutSchedule {
    pub id: ScheduleId,
    pub name: String,
    pub rule: Rule,
    pub whom: Whom,
    /// None: the threshold of the settings.
    pub min_amount: Option<Units>,
    pub priority: Priority,
    pub enabled: bool,
    /// Id of who made it or changed it last.
    pub by: String,
    pub made_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: u32,
    /// Every moment up to here has fired, or was before its making.
    pub fired_through: Timestamp,
    /// Number of its last run; counts from 1.
    pub runs: u64,
}

/// One firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub number: u64,
    /// The moment it was for, the last one that had come.
    pub due_at: Timestamp,
    /// The first moment that it makes up for; another one than `due_at` where some were missed.
    pub since: Timestamp,
    pub fired_at: Timestamp,
    /// None: there was nobody to pay.
    pub batch: Option<BatchId>,
    pub planned: u32,
    pub left_out: Vec<LeftOut>,
    /// All of them, also those that are not kept by name.
    pub left_out_count: u32,
    /// Why nobody could be paid at all.
    pub note: Option<String>,
}

impl PayoutSchedule {
    /// Moments to come after `after`, the next ones first.
    pub fn next(&self, after: Timestamp, limit: usize) -> Vec<Timestamp> {
        if !self.enabled {
            return Vec::new();
        }
        match &self.rule {
            Rule::Once(at) => Some(*at).filter(|at| *at > self.fired_through).into_iter().collect(),
            Rule::Cron { fields, time_zone } => {
                Cron::parse(fields).ok().map(|cron| cron.after(time_zone, after.max(self.fired_through), limit)).unwrap_or_default()
            }
        }
    }

    /// What is to fire now: the first and the last moment that have come and have not fired.
    pub fn due(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        if !self.enabled {
            return None;
        }
        match &self.rule {
            Rule::Once(at) => (*at > self.fired_through && *at <= now).then_some((*at, *at)),
            Rule::Cron { fields, time_zone } => {
                let cron = Cron::parse(fields).ok()?;
                let last = cron.latest(time_zone, now).filter(|last| *last > self.fired_through)?;
                let first = cron.after(time_zone, self.fired_through, 1).first().copied().unwrap_or(last);
                Some((first.min(last), last))
            }
        }
    }

    /// The same for the same moment, so that it can be planned once only.
    pub fn batch_of(&self, due_at: Timestamp) -> Option<BatchId> {
        let hash = sha256(format!("lucid/schedule/v1\n{}\n{}", self.id, due_at.0).as_bytes());
        BatchId::parse(&format!("batch_{}", &hex(&hash)[..32])).ok()
    }
}
