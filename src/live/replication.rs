//! What the replication last did, for those who show it: in memory, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::replica::cluster::{Position, Round};
use crate::domain::time::Timestamp;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doing {
    /// No cluster is configured.
    #[default]
    Off,
    /// It has not been there since the start.
    Connecting,
    /// Another run of this manager may still write: whether it does is looked at.
    Watching,
    /// Everything goes, from the start.
    Copying,
    /// What changed goes.
    Sending,
    /// The cluster has all that there was a moment ago.
    Current,
    /// A person wants it so.
    Paused,
    /// The cluster does not answer, or refuses.
    Away,
    /// Another manager with this id writes.
    Second,
    /// This store was restored somewhere else since.
    Superseded,
}

/// What did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub why: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub struct Status {
    pub doing: Doing,
    pub failure: Option<Failure>,
    /// Failures since something worked.
    pub failures: u32,
    pub next_try: Option<Timestamp>,
    /// It answered since the start of the process.
    pub was_there: bool,
    /// The last state that the cluster has as a whole.
    pub round: Option<Round>,
    /// When it was last seen to have everything: a round is made only where something changed.
    pub current_at: Option<Timestamp>,
    /// Since when archives wait that the store names: what is in them is in no round.
    pub archives_wait_since: Option<Timestamp>,
    /// Of each table what the cluster has of it.
    pub positions: BTreeMap<String, Position>,
    /// Since the start of the process.
    pub documents: u64,
    pub bytes: u64,
    /// Milliseconds in which these were sent.
    pub sending_ms: u64,
    /// Documents that the cluster did not take, and why it did not take the last one of them.
    pub not_taken: u64,
    pub not_taken_because: Option<String>,
    /// Indexes that are not as they should be.
    pub indexes: Vec<String>,
}

impl Status {
    /// Of when the cluster has everything, as far as is known.
    pub fn consistent_at(&self) -> Option<Timestamp> {
        let round = self.round.as_ref()?;
        let of_rows = self.current_at.map_or(round.at, |at| at.max(round.at));
        Some(self.archives_wait_since.map_or(of_rows, |since| since.min(of_rows)))
    }
}

/// What people ask of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The other manager with this id is gone.
    pub takes_over: bool,
    /// Not to wait until the next try.
    pub now: bool,
}

#[derive(Debug, Default)]
struct Inner {
    status: Status,
    wishes: Wishes,
}

/// Shared by the cycle, which writes it, and the api, which reads it and asks for more.
#[derive(Debug, Clone, Default)]
pub struct Replication(Arc<Mutex<Inner>>);

impl Replication {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> Status {
        self.inner().status.clone()
    }

    /// When it is to be tried again, after a failure.
    pub fn next_try(&self) -> Option<Timestamp> {
        self.inner().status.next_try
    }

    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.inner().status);
    }

    /// For the next run.
    pub fn wish(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.inner().wishes);
    }

    pub fn wishes(&self) -> Wishes {
        self.inner().wishes.clone()
    }

    /// These are done.
    pub fn fulfilled(&self, done: impl FnOnce(&mut Wishes)) {
        done(&mut self.inner().wishes);
    }
}
