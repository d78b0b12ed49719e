//! Wakes a job before its time. A nudge is a hint: many of them before the job looks are one.

use std::sync::Arc;

use tokio::sync::Notify;

/// The cycles that can be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Flush,
    Epochs,
    Postings,
    /// Plans payouts, then tracks.
    Payouts,
    /// Drives the payouts that have not ended.
    Tracking,
    Housekeeping,
    /// Notices who went silent and who is back.
    Silence,
    /// Rolls up hours and days that are over.
    Rollups,
    /// Looks for attacks and unusual payouts.
    Security,
    /// Judges measurements by their thresholds.
    Thresholds,
    /// Plans the maintenance windows of nodes.
    Maintenance,
    /// Looks at the wallet, and at what left it.
    Wallet,
    /// Delivers what is to leave this machine.
    Outbox,
    /// Tells the chain the scores.
    Votes,
    /// Looks for what is unlike itself, or cannot be.
    Anomalies,
    /// Writes measurements that fill a page into the file of their week.
    Sealing,
    /// Makes the files of the store smaller.
    Compaction,
    /// Makes the backup that is due or was asked for.
    Backup,
    /// Looks how full the disk is, and what may be done about it.
    Space,
    /// Brings what changed to the cluster where managers meet.
    Replication,
}

#[derive(Debug, Clone, Default)]
pub struct Nudges(Arc<[Notify; 20]>);

impl Nudges {
    pub fn new() -> Nudges {
        Nudges::default()
    }

    /// Wakes the job, or lets its next wait return at once.
    pub fn nudge(&self, job: Job) {
        self.of(job).notify_one();
    }

    /// Returns after the next nudge of this job. One waiter per job.
    pub async fn nudged(&self, job: Job) {
        self.of(job).notified().await;
    }

    fn of(&self, job: Job) -> &Notify {
        let [
            flush,
            epochs,
            postings,
            payouts,
            tracking,
            housekeeping,
            silence,
            rollups,
            security,
            thresholds,
            maintenance,
            wallet,
            outbox,
            votes,
            anomalies,
            sealing,
            compaction,
            backup,
            space,
            replication,
        ] = &*self.0;
        match job {
            Job::Flush => flush,
            Job::Epochs => epochs,
            Job::Postings => postings,
            Job::Payouts => payouts,
            Job::Tracking => tracking,
            Job::Housekeeping => housekeeping,
            Job::Silence => silence,
            Job::Rollups => rollups,
            Job::Security => security,
            Job::Thresholds => thresholds,
            Job::Maintenance => maintenance,
            Job::Wallet => wallet,
            Job::Outbox => outbox,
            Job::Votes => votes,
            Job::Anomalies => anomalies,
            Job::Sealing => sealing,
            Job::Compaction => compaction,
            Job::Backup => backup,
            Job::Space => space,
            Job::Replication => replication,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nudges_before_the_wait_are_one_and_reach_only_their_job() {
        let nudges = Nudges::new();
        nudges.nudge(Job::Epochs);
        nudges.nudge(Job::Epochs);
        nudges.nudged(Job::Epochs).await;
        tokio::select! {
            biased;
            () = nudges.nudged(Job::Epochs) => panic!("a second wake-up"),
            () = nudges.nudged(Job::Payouts) => panic!("another job's wake-up"),
            () = std::future::ready(()) => (),
        }
    }
}
