//! Who wakes the cycles. The scheduler library reads the wall clock, which a Pi may set from 1970 to today in one step, so
//! it only nudges; what is due is computed by the cycles from the store and our own clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};

use super::{Context, flush};
use crate::domain::time::Slot;
use crate::live::Job;
use crate::storage::core::{outbox, tables};
use crate::storage::table::{Read, Snapshot};

/// Cron expressions with seconds. Cycles that find nothing to do cost a read.
const NUDGES: &[(Job, &str)] = &[(Job::Epochs, "5 * * * * *"), (Job::Postings, "35 */10 * * * *"), (Job::Housekeeping, "50 7 * * * *")];
/// After a flush was asked for, until it is looked at whether there was one; and after one that failed.
const FLUSH_SOON_MS: u64 = 5_000;
const FLUSH_AGAIN_MS: u64 = 30_000;
/// How often the slot ticker looks at the clock, by that clock; not oftener than `MIN_TICK` of real time, however fast the clock runs.
const TICK_MS: u64 = 1_000;
const MIN_TICK: Duration = Duration::from_millis(20);
/// Payouts that were sent are looked after this often.
const TRACK_SECONDS: u64 = 30;

/// What is to leave this machine is looked for this often.
const DELIVER_MS: u64 = 2_000;

/// The same by slots of our own clock, for the days on which the wall clock jumps.
const BY_SLOT: &[(Job, u32)] = &[
    (Job::Silence, 1),
    (Job::Thresholds, 1),
    (Job::Epochs, 2),
    (Job::Postings, 40),
    (Job::Housekeeping, 120),
    (Job::Rollups, 10),
    (Job::Security, 2),
    (Job::Maintenance, 120),
    (Job::Wallet, 10),
    (Job::Votes, 1),
    (Job::Anomalies, 10),
    (Job::Sealing, 2),
    (Job::Compaction, 20),
    (Job::Backup, 2),
    (Job::Space, 2),
    (Job::Replication, 1),
];

/// Running cycles; they end when `stopping` turns true.
pub struct Scheduler {
    tasks: JoinSet<()>,
    cron: JobScheduler,
}

impl Scheduler {
    pub async fn start(context: Context, stopping: watch::Receiver<bool>) -> Result<Scheduler, JobSchedulerError> {
        let cron = JobScheduler::new().await?;
        for (job, expression) in NUDGES {
            let (job, nudges) = (*job, context.nudges.clone());
            cron.add(CronJob::new(*expression, move |_, _| nudges.nudge(job))?).await?;
        }
        cron.start().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(tick(context.clone(), stopping.clone()));
        tasks.spawn(flushes(context.clone(), stopping.clone()));
        tasks.spawn(payouts(context.clone(), stopping.clone()));
        tasks.spawn(deliveries(context.clone(), stopping.clone()));
        // All of them move the same money: one waits for the other.
        let paying = Turn::default();
        for job in [
            Job::Flush,
            Job::Epochs,
            Job::Postings,
            Job::Payouts,
            Job::Tracking,
            Job::Housekeeping,
            Job::Silence,
            Job::Rollups,
            Job::Security,
            Job::Thresholds,
            Job::Maintenance,
            Job::Wallet,
            Job::Outbox,
            Job::Votes,
            Job::Anomalies,
            Job::Sealing,
            Job::Compaction,
            Job::Backup,
            Job::Space,
            Job::Replication,
        ] {
            let turn = if matches!(job, Job::Payouts | Job::Tracking | Job::Wallet) { Arc::clone(&paying) } else { Turn::default() };
            tasks.spawn(cycle(context.clone(), job, turn, stopping.clone()));
            context.nudges.nudge(job);
        }
        Ok(Scheduler { tasks, cron })
    }

    /// Waits until every cycle has ended its unit of work.
    pub async fn finished(mut self) {
        if let Err(error) = self.cron.shutdown().await {
            tracing::debug!(%error, "the cron scheduler did not stop cleanly");
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Held while a job runs; jobs that must not run at the same time share one.
type Turn = Arc<Mutex<()>>;

/// Runs one job whenever it is nudged, never twice at a time.
async fn cycle(context: Context, job: Job, turn: Turn, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = context.nudges.nudged(job) => (),
        }
        let _turn = turn.lock().await;
        // A slow chain holds up no end: what was not written down is sent again, as after a crash. Nor does a compaction, which the closing of the file ends, or a slow cluster.
        let ended = tokio::select! {
            () = stopped(&mut stopping), if matches!(job, Job::Votes | Job::Compaction | Job::Replication) => return,
            ended = context.run(job) => ended,
        };
        if let Err(super::Stopped(why)) = ended {
            tracing::error!(?job, why, "a cycle stopped early; the next one starts from what was committed");
        }
    }
}

async fn tick(context: Context, mut stopping: watch::Receiver<bool>) {
    let (mut was_trusted, mut last_slot) = (None, Slot(0));
    let between = context.clock.real_time(TICK_MS).max(MIN_TICK);
    loop {
        context.tick();
        let distrust = context.clock.why_untrusted();
        if was_trusted != Some(distrust.is_none()) {
            match distrust {
                Some(why) => tracing::warn!(%why, "the clock is not trusted: no epoch closes and nothing is paid"),
                None => tracing::info!("the clock is trusted"),
            }
            was_trusted = Some(distrust.is_none());
            context.nudges.nudge(Job::Flush);
        }
        // The scheduler's next tick may be years away after a step of the wall clock; the slots are not.
        let slot = context.clock.now().wall.slot();
        if slot != last_slot {
            last_slot = slot;
            BY_SLOT.iter().filter(|(_, every)| slot.0.is_multiple_of(*every)).for_each(|(job, _)| context.nudges.nudge(*job));
        }
        if context.replication.next_try().is_some_and(|at| at <= context.clock.now().wall) {
            context.nudges.nudge(Job::Replication);
        }
        if pause(between, &mut stopping).await {
            return;
        }
    }
}

/// Only when there is something to deliver. A look is two small reads, unless messages came since the last one, or the time of one has come.
async fn deliveries(context: Context, mut stopping: watch::Receiver<bool>) {
    let (mut last, mut soonest) = (None, None);
    loop {
        let now = context.clock.now().wall;
        let looked = context.store.read().and_then(|core| {
            let newest = outbox::webhooks(&core)?.last;
            if Some(newest) != last || soonest.is_some_and(|at| at <= now) {
                (last, soonest) = (Some(newest), outbox::soonest(&core, now)?);
            }
            Ok(soonest.is_some_and(|at| at <= now))
        });
        if looked.unwrap_or(false) {
            context.nudges.nudge(Job::Outbox);
        }
        if pause(context.clock.real_time(DELIVER_MS).max(MIN_TICK), &mut stopping).await {
            return;
        }
    }
}

async fn flushes(context: Context, mut stopping: watch::Receiver<bool>) {
    let mut was_due = false;
    loop {
        let due_in_ms = flush::due_in_ms(&context);
        if due_in_ms == 0 {
            context.nudges.nudge(Job::Flush);
        }
        // Twice in turn: the one that was asked for failed. On a full disk each try costs, and brings nothing.
        let wait_ms = match (due_in_ms, was_due) {
            (0, false) => FLUSH_SOON_MS,
            (0, true) => FLUSH_AGAIN_MS,
            _ => due_in_ms,
        };
        was_due = due_in_ms == 0;
        if pause(context.clock.real_time(wait_ms).max(MIN_TICK), &mut stopping).await {
            return;
        }
    }
}

/// Wakes the planning every interval, the tracking while a transfer is under way, and the comparison of the wallet where the last one did not get through.
async fn payouts(context: Context, mut stopping: watch::Receiver<bool>) {
    let mut waited = 0;
    loop {
        let interval = u64::from(context.settings.get().payout_interval_seconds);
        let step = TRACK_SECONDS.min(interval);
        if pause(context.clock.real_time(step * 1000), &mut stopping).await {
            return;
        }
        // At the start the signer may come up after the first look, and a node may be away for a moment.
        if context.money.reconcile_error().is_some() {
            context.nudges.nudge(Job::Wallet);
        }
        waited += step;
        if waited >= interval {
            context.nudges.nudge(Job::Payouts);
            waited = 0;
        } else if is_under_way(&context) {
            context.nudges.nudge(Job::Tracking);
        }
    }
}

/// A transfer, or a node that leaves.
fn is_under_way(context: &Context) -> bool {
    let count = |core: &Snapshot| Ok(core.count(tables::OPEN_PAYOUTS)? + core.count(tables::FINAL_PAYOUTS)?);
    context.store.read().and_then(|core| count(&core)).unwrap_or(0) > 0
}

/// True when the process is stopping.
async fn pause(duration: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = stopped(stopping) => true,
        () = tokio::time::sleep(duration) => false,
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender lives in `app` as long as the process; its loss means the same as a stop.
    let _ = stopping.wait_for(|stop| *stop).await;
}
