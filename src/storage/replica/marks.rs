//! Marks on rows that the cluster does not have as they are: put by the commit that changed them, taken away once they have arrived.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::catalog::{CATALOG, Way};
use crate::domain::replica::Rev;
use crate::storage::core::tables::{REPLICA, REPLICA_MARKS};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

const ROW: &str = "replica";
/// Bits of a revision: those of starts, and those of commits since the last one.
const START_BITS: u32 = 20;
const COMMIT_BITS: u32 = 27;
/// Starts that are remembered while the cluster is away.
const MOST_RUNS: usize = 64;

/// One row: whether marks are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Every change leaves a mark, whoever has the store open.
    pub is_marking: bool,
    /// Grows whenever marking begins: what the cluster has of an earlier stretch may lack changes that nobody marked.
    pub stretch: u32,
    /// How often the store was opened while marks were kept.
    pub starts: u32,
    /// Managers that were started on this very store since one of them was known to write, that one first: any of them may have written last.
    pub runs: Vec<String>,
    /// A person wants nothing to be sent.
    pub is_paused: bool,
}

/// A row that has to go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Number of its table in the catalog.
    pub table: u8,
    pub key: Vec<u8>,
    pub rev: Rev,
}

pub fn state(read: &impl Read) -> Result<ReplicaState, Fault> {
    Ok(read.get(REPLICA, &ROW.to_owned())?.unwrap_or_default())
}

fn put_state(tx: &mut WriteTx<'_>, state: ReplicaState) -> Result<(), TxError> {
    tx.put(REPLICA, &ROW.to_owned(), &state)
}

/// A store that keeps marks is opened by a manager: its revisions are above those of before.
pub(in crate::storage) fn started(tx: &mut WriteTx<'_>, run: &str) -> Result<(), TxError> {
    let state = state(tx)?;
    let starts = state.starts.saturating_add(1);
    put_state(tx, ReplicaState { starts, ..with_run(state, run) })
}

/// Marks are kept from now on, by a file that was opened once more.
pub(in crate::storage) fn begin(tx: &mut WriteTx<'_>, run: &str, starts: u32) -> Result<(), TxError> {
    let state = state(tx)?;
    let stretch = state.stretch.saturating_add(1);
    put_state(tx, ReplicaState { is_marking: true, stretch, starts, ..with_run(state, run) })
}

fn with_run(mut state: ReplicaState, run: &str) -> ReplicaState {
    if state.runs.len() >= MOST_RUNS {
        // The first one is the one that is known.
        state.runs.remove(1);
    }
    if state.runs.last().is_none_or(|last| last != run) {
        state.runs.push(run.to_owned());
    }
    state
}

/// This manager writes: those before it do not any more.
pub fn holds(tx: &mut WriteTx<'_>, run: &str) -> Result<(), TxError> {
    let state = state(tx)?;
    let runs = vec![run.to_owned()];
    if state.runs == runs { Ok(()) } else { put_state(tx, ReplicaState { runs, ..state }) }
}

pub fn pause(tx: &mut WriteTx<'_>, is_paused: bool) -> Result<(), TxError> {
    let state = state(tx)?;
    if state.is_paused == is_paused { Ok(()) } else { put_state(tx, ReplicaState { is_paused, ..state }) }
}

/// Something changes that leaves no mark: what is marked later is of another stretch, in which everything goes again.
pub(in crate::storage) fn end(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let state = state(tx)?;
    if !state.is_marking {
        return Ok(());
    }
    let marks = pending(tx, None, usize::MAX)?;
    marks.into_iter().try_for_each(|mark| tx.delete(REPLICA_MARKS, &(mark.table, mark.key)).map(drop))?;
    put_state(tx, ReplicaState { is_marking: false, ..state })
}

/// At most so many of the marks after one, by table and key.
pub fn pending(read: &impl Read, after: Option<&Mark>, limit: usize) -> Result<Vec<Mark>, Fault> {
    let mut marks = Vec::new();
    let from = after.map_or(Bound::Unbounded, |mark| Bound::Excluded((mark.table, mark.key.clone())));
    read.for_each(REPLICA_MARKS, (from, Bound::Unbounded), |(table, key), rev| {
        marks.push(Mark { table, key, rev });
        if marks.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(marks)
}

/// How many rows of a table wait.
pub fn count(read: &impl Read, table: u8) -> Result<u64, Fault> {
    read.count_in(REPLICA_MARKS, (table, Vec::new())..(table.saturating_add(1), Vec::new()))
}

/// These have arrived: their marks go, but those of rows that changed again since.
pub fn arrived(tx: &mut WriteTx<'_>, marks: &[Mark]) -> Result<(), TxError> {
    for Mark { table, key, rev } in marks {
        let key = (*table, key.clone());
        if tx.get(REPLICA_MARKS, &key)? == Some(*rev) {
            tx.delete(REPLICA_MARKS, &key)?;
        }
    }
    Ok(())
}

/// Rows of a table that were not taken as they are: they are tried again, above all that was sent.
pub fn again(tx: &mut WriteTx<'_>, table: u8, keys: &[Vec<u8>]) -> Result<(), TxError> {
    match tx.fence() {
        Some(rev) => keys.iter().try_for_each(|key| tx.put(REPLICA_MARKS, &(table, key.clone()), &rev)),
        None => Ok(()),
    }
}

/// Puts marks, with a revision for each commit.
#[derive(Debug)]
pub struct Marking {
    /// Of the newest revision that was given.
    last: AtomicU64,
    numbers: HashMap<&'static str, u8>,
}

impl Marking {
    /// Of a store in this life that was opened for the `starts`th time.
    pub fn new(generation: u32, starts: u32) -> Marking {
        let base = Marking::base(generation, starts);
        let of_state = CATALOG.iter().filter(|listed| listed.way == Way::State);
        Marking { last: AtomicU64::new(base), numbers: of_state.map(|listed| (listed.table, listed.number)).collect() }
    }

    fn base(generation: u32, starts: u32) -> u64 {
        u64::from(generation) << (START_BITS + COMMIT_BITS) | u64::from(starts) << COMMIT_BITS
    }

    /// Revisions are from now on above those of so many starts.
    pub(in crate::storage) fn raise(&self, generation: u32, starts: u32) {
        self.last.fetch_max(Marking::base(generation, starts), Ordering::Relaxed);
    }

    /// Number of a table whose rows leave marks.
    pub(in crate::storage) fn number(&self, table: &str) -> Option<u8> {
        self.numbers.get(table).copied()
    }

    /// Above all that were given before: of a commit, or of what is read from now on.
    pub fn next(&self) -> Rev {
        Rev(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Marks what one commit changed.
    pub(in crate::storage) fn put(&self, tx: &mut WriteTx<'_>, changed: BTreeSet<(u8, Vec<u8>)>) -> Result<(), TxError> {
        if changed.is_empty() {
            return Ok(());
        }
        let rev = self.next();
        changed.into_iter().try_for_each(|key| tx.put(REPLICA_MARKS, &key, &rev))
    }
}

#[cfg(test)]
mod tests;
