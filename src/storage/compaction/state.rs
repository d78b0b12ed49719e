//! What is known of the compactions of a store: in memory, so a restart knows of none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Progress;
use crate::domain::time::Timestamp;
use crate::storage::fault::Fault;
use crate::storage::file::{DbFile, Usage};

/// A file that can be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Core,
    Hot,
}

impl Which {
    pub const ALL: [Which; 2] = [Which::Core, Which::Hot];

    pub fn name(self) -> &'static str {
        match self {
            Which::Core => "core",
            Which::Hot => "hot",
        }
    }
}

/// How the last one went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// When it ended.
    pub at: Timestamp,
    pub before_bytes: u64,
    /// As before where it failed.
    pub after_bytes: u64,
    /// How long nobody could write.
    pub barrier_ms: u64,
    /// Why there was none.
    pub failed: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    is_asked: bool,
    last: Option<LastRun>,
    usage: Option<(Timestamp, Usage)>,
    /// The window in which it was last looked at.
    judged: Option<Timestamp>,
}

/// Of one file.
#[derive(Debug, Default)]
pub struct OfFile {
    pub progress: Progress,
    known: Mutex<Known>,
}

impl OfFile {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants one. False when one was asked for, or goes on.
    pub fn ask(&self) -> bool {
        let goes_on = self.goes_on();
        let mut known = self.known();
        !goes_on && !std::mem::replace(&mut known.is_asked, true)
    }

    pub fn is_asked(&self) -> bool {
        self.known().is_asked
    }

    pub fn goes_on(&self) -> bool {
        self.progress.state().phase != super::Phase::Idle
    }

    /// What was asked for is done, or never will be.
    pub fn settle(&self) {
        self.known().is_asked = false;
    }

    /// True once for each window.
    pub fn enter_window(&self, begun: Timestamp) -> bool {
        self.known().judged.replace(begun) != Some(begun)
    }

    pub fn last(&self) -> Option<LastRun> {
        self.known().last.clone()
    }

    pub fn end(&self, run: LastRun) {
        let mut known = self.known();
        known.last = Some(run);
        // It was of the file before.
        known.usage = None;
    }

    /// How much of the file is rows, and when that was counted; counted anew when that is older than `max_age_ms`. Reads the whole file then.
    pub fn usage(&self, file: &DbFile, now: Timestamp, max_age_ms: i64) -> Result<(Timestamp, Usage), Fault> {
        let young = |(at, _): &(Timestamp, Usage)| (0..=max_age_ms).contains(&now.since(*at));
        if let Some(known) = self.known().usage.clone().filter(young) {
            return Ok(known);
        }
        let counted = (now, file.usage()?);
        self.known().usage = Some(counted.clone());
        Ok(counted)
    }
}

/// Of all files of a store.
#[derive(Debug, Default)]
pub struct Compactions {
    core: OfFile,
    hot: OfFile,
}

impl Compactions {
    pub fn of(&self, which: Which) -> &OfFile {
        match which {
            Which::Core => &self.core,
            Which::Hot => &self.hot,
        }
    }
}
