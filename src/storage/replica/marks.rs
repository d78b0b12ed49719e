//! Marks on rows that the cluster does not have as they are: put by the commit that changed them, taken away once they have arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::catalog::{CATALOG, Way};
use crate::domain::replica::Rev;
use crate::storage::compaction::Which;
use crate::storage::core::tables::{REPLICA, REPLICA_MARKS};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Changed, Key, Read, WriteTx};

const ROW: &str = "replica";
/// Bits of a revision: those of starts, and those of commits since the last one.
const START_BITS: u32 = 20;
/// Nine years of 30 a second.
const COMMIT_BITS: u32 = 33;
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
    /// Collections that a person wants to be sent from the start once more, in order.
    pub resync: Vec<String>,
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
    put_state(tx, ReplicaState { is_marking: false, ..state })
}

/// At most so many marks of a file that keeps none any more; how many there were.
pub(in crate::storage) fn clear(tx: &mut WriteTx<'_>, limit: usize) -> Result<usize, TxError> {
    let marks = tx.scan(REPLICA_MARKS, .., limit)?;
    let count = marks.len();
    marks.into_iter().try_for_each(|(key, _)| tx.delete(REPLICA_MARKS, &key).map(drop))?;
    Ok(count)
}

/// A collection is to go from the start once more.
pub fn send_again(tx: &mut WriteTx<'_>, collection: &str) -> Result<(), TxError> {
    let mut state = state(tx)?;
    let Err(at) = state.resync.binary_search_by(|listed| listed.as_str().cmp(collection)) else { return Ok(()) };
    state.resync.insert(at, collection.to_owned());
    put_state(tx, state)
}

/// These do, as the cluster knows by now.
pub fn goes_again(tx: &mut WriteTx<'_>, collections: &[String]) -> Result<(), TxError> {
    let mut state = state(tx)?;
    state.resync.retain(|listed| !collections.contains(listed));
    put_state(tx, state)
}

/// Hours of measurements that came late leave marks under this number, above those of all tables.
const LATE_HOURS: u8 = 200;

/// An hour of a group of neighbouring nodes that was rolled up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateHour {
    pub mark: Mark,
    pub hour: u32,
    pub group: u32,
}

pub(in crate::storage) fn is_late(tx: &mut WriteTx<'_>, of: (u32, u32)) -> Result<(), TxError> {
    match tx.fence() {
        Some(rev) => tx.put(REPLICA_MARKS, &(LATE_HOURS, of.encode()), &rev),
        None => Ok(()),
    }
}

/// At most so many that have not arrived.
pub fn late_hours(read: &impl Read, marking: Option<&Marking>, limit: usize) -> Result<Vec<LateHour>, Fault> {
    let mut late = Vec::new();
    read.for_each(REPLICA_MARKS, (LATE_HOURS, Vec::new()).., |(table, key), rev| {
        let of = <(u32, u32)>::decode(&key);
        let mark = Mark { table, key, rev };
        if let Some((hour, group)) = of.filter(|_| !marking.is_some_and(|marking| marking.has_arrived(&mark))) {
            late.push(LateHour { mark, hour, group });
        }
        if late.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(late)
}

/// All revisions, as `pending` has them.
pub const ANY: (Rev, Rev) = (Rev(0), Rev(u64::MAX));

/// At most so many of the marks of a file with a revision above the one and not above the other, after a mark, by table and key; none that have arrived.
pub fn pending(
    read: &impl Read,
    marking: Option<&Marking>,
    (above, through): (Rev, Rev),
    after: Option<&Mark>,
    limit: usize,
) -> Result<Vec<Mark>, Fault> {
    let mut marks = Vec::new();
    let from = after.map_or(Bound::Unbounded, |mark| Bound::Excluded((mark.table, mark.key.clone())));
    let until: Bound<(u8, Vec<u8>)> = Bound::Excluded((LATE_HOURS, Vec::new()));
    read.for_each(REPLICA_MARKS, (from, until), |(table, key), rev| {
        let mark = Mark { table, key, rev };
        if rev > above && rev <= through && !marking.is_some_and(|marking| marking.has_arrived(&mark)) {
            marks.push(mark);
        }
        if marks.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(marks)
}

/// How many rows of a table wait.
pub fn count(read: &impl Read, marking: Option<&Marking>, table: u8) -> Result<u64, Fault> {
    let mut waiting = 0;
    read.for_each(REPLICA_MARKS, (table, Vec::new())..(table.saturating_add(1), Vec::new()), |(table, key), rev| {
        waiting += u64::from(!marking.is_some_and(|marking| marking.has_arrived(&Mark { table, key, rev })));
        ControlFlow::Continue(())
    })?;
    Ok(waiting)
}

/// Marks of what has arrived go, but those of rows that changed again since.
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
    /// Whoever sends rows may have met marks up to this revision; above it nobody has.
    seen: AtomicU64,
    numbers: HashMap<&'static str, u8>,
    history: BTreeSet<&'static str>,
    /// What has arrived and has its mark still: that goes with the next commit that puts one, so that none is made for it alone.
    arrived: Mutex<BTreeMap<(u8, Vec<u8>), Rev>>,
}

/// That many marks are worth a commit.
const MOST_ARRIVED: usize = 2_000;

impl Marking {
    /// Of a file of a store in this life that was opened for the `starts`th time.
    pub fn new(file: Which, generation: u32, starts: u32) -> Marking {
        let base = Marking::base(generation, starts);
        let of_state = CATALOG.iter().filter(|listed| matches!(listed.way, Way::State | Way::History) && listed.file == file);
        let numbers = of_state.map(|listed| (listed.table, listed.number)).collect();
        let history = CATALOG.iter().filter(|listed| listed.file == file && listed.keeps_history());
        let history = history.map(|listed| listed.table).collect();
        Marking { last: AtomicU64::new(base), seen: AtomicU64::new(base), numbers, history, arrived: Mutex::default() }
    }

    /// Below all revisions of this life of a store.
    pub fn of_generation(generation: u32) -> Rev {
        Rev(Marking::base(generation, 0))
    }

    fn base(generation: u32, starts: u32) -> u64 {
        u64::from(generation) << (START_BITS + COMMIT_BITS) | u64::from(starts) << COMMIT_BITS
    }

    /// Revisions are from now on above those of so many starts.
    pub(in crate::storage) fn raise(&self, generation: u32, starts: u32) {
        let base = Marking::base(generation, starts);
        self.last.fetch_max(base, Ordering::Relaxed);
        self.seen.fetch_max(base, Ordering::Relaxed);
    }

    /// Before somebody who sends rows takes a snapshot, in the order of the writer: until `shown`, whatever changes gets another mark.
    pub(in crate::storage) fn shows(&self) {
        self.seen.store(u64::MAX, Ordering::SeqCst);
    }

    /// The snapshot is taken: it has no mark above what was given until now.
    pub(in crate::storage) fn shown(&self) {
        self.seen.store(self.last.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(u8, Vec<u8>), Rev>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_arrived(&self, mark: &Mark) -> bool {
        self.waiting().get(&(mark.table, mark.key.clone())) == Some(&mark.rev)
    }

    /// These have arrived. True: so many have that their marks are worth a commit.
    pub fn note_arrived(&self, marks: Vec<Mark>) -> bool {
        let mut waiting = self.waiting();
        waiting.extend(marks.into_iter().map(|mark| ((mark.table, mark.key), mark.rev)));
        waiting.len() >= MOST_ARRIVED
    }

    pub(in crate::storage) fn take_arrived(&self) -> Vec<Mark> {
        std::mem::take(&mut *self.waiting()).into_iter().map(|((table, key), rev)| Mark { table, key, rev }).collect()
    }

    /// What is taken from the start of the table stays in the cluster.
    pub(in crate::storage) fn keeps_history(&self, table: &str) -> bool {
        self.history.contains(table)
    }

    /// Number of a table whose rows leave marks.
    pub(in crate::storage) fn number(&self, table: &str) -> Option<u8> {
        self.numbers.get(table).copied()
    }

    /// Above all that were given before: of a commit, or of what is read from now on.
    pub fn next(&self) -> Rev {
        Rev(self.last.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// How many were given since one of them.
    pub fn since(&self, rev: Rev) -> u64 {
        self.last.load(Ordering::SeqCst).saturating_sub(rev.0)
    }

    /// Marks what one commit changed. A mark that nobody met says what it has to as it is: while the cluster is away, rows that change again and again cost no pages.
    pub(in crate::storage) fn put(&self, tx: &mut WriteTx<'_>, changed: Changed) -> Result<(), TxError> {
        if changed.is_empty() {
            return Ok(());
        }
        // Should this commit fail, they are sent once more, and arrive once more.
        let arrived: Vec<Mark> = self.take_arrived();
        self::arrived(tx, &arrived)?;
        let (rev, seen) = (self.next(), self.seen.load(Ordering::SeqCst));
        changed.into_iter().try_for_each(|(key, is_marked)| match is_marked {
            true if tx.get(REPLICA_MARKS, &key)?.is_some_and(|mark| mark.0 > seen) => Ok(()),
            true => tx.put(REPLICA_MARKS, &key, &rev),
            false => tx.delete(REPLICA_MARKS, &key).map(drop),
        })
    }
}

#[cfg(test)]
mod tests;
