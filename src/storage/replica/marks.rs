//! Marks on rows that the cluster does not have as they are: put by the commit that changed them, taken away once they have arrived.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
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

/// One row: whether marks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Every change leaves a mark, whoever has the store open.
    pub is_marking: bool,
    /// Grows whenever marking begins: what the cluster has of an earlier stretch may lack changes that nobody marked.
    pub stretch: u32,
    /// How often the store was opened while marks were kept.
    pub starts: u32,
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

/// A store that keeps marks is opened: its revisions are above those of before.
pub(in crate::storage) fn started(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let state = state(tx)?;
    put_state(tx, ReplicaState { starts: state.starts.saturating_add(1), ..state })
}

/// Marks are kept from now on, by a file that was opened once more.
pub(in crate::storage) fn begin(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let state = state(tx)?;
    put_state(tx, ReplicaState { is_marking: true, stretch: state.stretch.saturating_add(1), starts: state.starts.saturating_add(1) })
}

/// Something changes that leaves no mark: what is marked later is of another stretch. Marks that there are stay, and are as good as any.
pub(in crate::storage) fn end(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let state = state(tx)?;
    if state.is_marking { put_state(tx, ReplicaState { is_marking: false, ..state }) } else { Ok(()) }
}

/// At most so many of the marks, by table and key.
pub fn pending(read: &impl Read, limit: usize) -> Result<Vec<Mark>, Fault> {
    let mut marks = Vec::new();
    read.for_each(REPLICA_MARKS, .., |(table, key), rev| {
        marks.push(Mark { table, key, rev });
        if marks.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(marks)
}

pub fn count(read: &impl Read) -> Result<u64, Fault> {
    read.count(REPLICA_MARKS)
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

/// Puts marks, with a revision for each commit.
#[derive(Debug)]
pub struct Marking {
    base: u64,
    commits: AtomicU64,
    numbers: HashMap<&'static str, u8>,
}

impl Marking {
    /// Of a store in this life that was opened for the `starts`th time.
    pub fn new(generation: u32, starts: u32) -> Marking {
        let base = u64::from(generation) << (START_BITS + COMMIT_BITS) | u64::from(starts) << COMMIT_BITS;
        let of_state = CATALOG.iter().filter(|listed| listed.way == Way::State);
        Marking { base, commits: AtomicU64::new(0), numbers: of_state.map(|listed| (listed.table, listed.number)).collect() }
    }

    /// Number of a table whose rows leave marks.
    pub(in crate::storage) fn number(&self, table: &str) -> Option<u8> {
        self.numbers.get(table).copied()
    }

    /// Above all that were given before: of a commit, or of what is read from now on.
    pub fn next(&self) -> Rev {
        Rev(self.base + self.commits.fetch_add(1, Ordering::Relaxed) + 1)
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
