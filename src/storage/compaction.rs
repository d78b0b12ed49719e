//! Makes a file as small as what is in it, while it is read and written: live rows are copied from a snapshot into a new file, what is written meanwhile is caught up with
//! in rounds, and the last round is made in the writer's thread, which then renames the new file over the old one.

mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::copy::{self, Copied};
use super::fault::Fault;
use super::file::{DbFile, Switched, Usage};

pub use state::{Compactions, LastRun, OfFile, Which};

/// Rounds before it is given up: each begins where the one before ended, so they become shorter unless more is written than can be copied.
const MAX_ROUNDS: u32 = 16;
/// Rows that the writer's thread may always catch up with.
const MIN_LAST_ROWS: usize = 64;
const MAX_LAST_ROWS: usize = 4_096;
/// What the last round may take, as the rounds before went: with the syncs around it well below a second.
const LAST_ROUND: Duration = Duration::from_millis(200);
/// Left free besides the second copy.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// Which step of a compaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Idle,
    /// How much is live is being counted.
    Measuring,
    Copying,
    CatchingUp,
    Switching,
}

/// How far the present one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    pub phase: Phase,
    pub rows: u64,
    /// Of the rows that were there at its start.
    pub all_rows: u64,
    /// Of keys and values.
    pub bytes: u64,
    pub rounds: u32,
}

/// Told while it goes on, from whichever thread asks.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

impl Progress {
    pub fn state(&self) -> State {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }
}

/// What came of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    pub before: Usage,
    pub after_bytes: u64,
    pub rows: u64,
    pub rounds: u32,
    /// How long nobody could write, at most.
    pub barrier: Duration,
}

/// Why none was made. The file is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCompacted {
    /// A second copy does not fit.
    NoRoom {
        needed_bytes: u64,
        free_bytes: u64,
    },
    Fault(Fault),
}

impl From<Fault> for NotCompacted {
    fn from(fault: Fault) -> NotCompacted {
        NotCompacted::Fault(fault)
    }
}

impl std::fmt::Display for NotCompacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotCompacted::NoRoom { needed_bytes, free_bytes } => {
                write!(f, "a second copy takes {} MB with its reserve, and {} MB are free", needed_bytes >> 20, free_bytes >> 20)
            }
            NotCompacted::Fault(fault) => fault.fmt(f),
        }
    }
}

/// Compacts `file`. Takes as long as copying takes: call it where a thread may wait. `uptime` is any clock that only goes forward.
pub fn compact(file: &DbFile, progress: &Progress, uptime: &dyn Fn() -> Duration) -> Result<Compacted, NotCompacted> {
    *progress.lock() = State { phase: Phase::Measuring, ..State::default() };
    let done = make(file, progress, uptime);
    progress.enter(Phase::Idle);
    done
}

fn make(file: &DbFile, progress: &Progress, uptime: &dyn Fn() -> Duration) -> Result<Compacted, NotCompacted> {
    let before = file.usage()?;
    let (needed, free) = (before.live_bytes().saturating_add(RESERVE_BYTES), file.free_bytes()?);
    if free < needed {
        return Err(NotCompacted::NoRoom { needed_bytes: needed, free_bytes: free });
    }
    let (mut replacement, snapshot) = file.begin_replacement()?;
    *progress.lock() = State { phase: Phase::Copying, all_rows: before.tables.iter().map(|table| table.rows).sum(), ..State::default() };
    let copied = copy::fill(&snapshot, replacement.database()?, |copied: Copied| {
        let mut state = progress.lock();
        (state.rows, state.bytes) = (copied.rows, copied.bytes);
        if file.is_closing() { Err(Fault::Database("the store is closing".into())) } else { Ok(()) }
    })?;
    // As long as it is held, no page of it is used again.
    drop(snapshot);
    progress.enter(Phase::CatchingUp);
    let mut round = replacement.round()?;
    for rounds in 1..=MAX_ROUNDS {
        progress.lock().rounds = rounds;
        let begun = uptime();
        round.apply(replacement.database()?)?;
        let limit = last_rows(round.len(), uptime().saturating_sub(begun));
        let begun = uptime();
        progress.enter(Phase::Switching);
        match replacement.switch(limit)? {
            Switched::Done => {
                let barrier = uptime().saturating_sub(begun);
                let after_bytes = file.length_bytes()?;
                return Ok(Compacted { before, after_bytes, rows: copied.rows, rounds, barrier });
            }
            Switched::Later(more) => round = *more,
        }
        progress.enter(Phase::CatchingUp);
    }
    Err(Fault::Database(format!("more is written than {MAX_ROUNDS} rounds could catch up with; it is tried again later")).into())
}

/// How many rows fit into the last round, when `rows` took `took`.
fn last_rows(rows: usize, took: Duration) -> usize {
    let each = took.as_micros() / u128::try_from(rows.max(1)).unwrap_or(1);
    let fit = LAST_ROUND.as_micros() / each.max(1);
    usize::try_from(fit).unwrap_or(MAX_LAST_ROWS).clamp(MIN_LAST_ROWS, MAX_LAST_ROWS)
}

#[cfg(test)]
mod tests;
