//! What was done under which `Idempotency-Key`, for as long as it may be asked for again.
//!
//! While a request with a key is handled, its `Mark` is in scope of the task, and every write to the core that changes something leaves the
//! key in the same transaction. So after any crash the key is there exactly when the change is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tables::IDEMPOTENCY_KEYS;
use crate::domain::idempotency::{MAX_KEYS, Outcome, Remembered, Scope};
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Keys that make room at once when the table is full, so that it is not searched for each.
const MAKE_ROOM: usize = 256;

tokio::task_local! {
    /// Here and not an argument, so that no handler can forget it.
    static MARK: Mark;
}

/// The key of the request that is being handled. Clones are the same mark.
#[derive(Debug, Clone)]
pub struct Mark {
    pub scope: Scope,
    pub body_hash: [u8; 32],
    pub begun_at: Timestamp,
    committed: Arc<AtomicBool>,
}

impl Mark {
    pub fn new(scope: Scope, body_hash: [u8; 32], begun_at: Timestamp) -> Mark {
        Mark { scope, body_hash, begun_at, committed: Arc::default() }
    }

    /// Something was committed under this key.
    pub fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    /// Runs `work` so that what it writes is marked.
    pub async fn over<F: Future>(self, work: F) -> F::Output {
        MARK.scope(self, work).await
    }

    /// That of the present task.
    pub(in crate::storage) fn current() -> Option<Mark> {
        MARK.try_with(Clone::clone).ok()
    }

    /// Leaves the key in the transaction of the change.
    pub(in crate::storage) fn leave(&self, tx: &mut WriteTx<'_>) -> Result<(), TxError> {
        put(tx, &self.scope, &Remembered::committed(self.body_hash, self.begun_at))?;
        let committed = Arc::clone(&self.committed);
        tx.after_commit(move || committed.store(true, Ordering::Release));
        Ok(())
    }
}

pub fn get(read: &impl Read, scope: &Scope) -> Result<Option<Remembered>, Fault> {
    read.get(IDEMPOTENCY_KEYS, scope)
}

/// Keeps how the request of `mark` was answered.
pub fn answered(tx: &mut WriteTx<'_>, mark: &Mark, outcome: Outcome) -> Result<(), TxError> {
    let begun = get(tx, &mark.scope)?.unwrap_or_else(|| Remembered::committed(mark.body_hash, mark.begun_at));
    put(tx, &mark.scope, &Remembered { outcome, ..begun })
}

/// The request was refused: its key is free again.
pub fn free(tx: &mut WriteTx<'_>, scope: &Scope) -> Result<(), TxError> {
    tx.delete(IDEMPOTENCY_KEYS, scope).map(drop)
}

/// Forgets what is due at `now`, at most `limit` keys; answers how many.
pub fn sweep(tx: &mut WriteTx<'_>, now: Timestamp, limit: usize) -> Result<usize, TxError> {
    let due = due(tx, now, limit)?;
    for scope in &due {
        free(tx, scope)?;
    }
    Ok(due.len())
}

/// The keys whose time is over at `now`, at most `limit`.
pub fn due(read: &impl Read, now: Timestamp, limit: usize) -> Result<Vec<Scope>, Fault> {
    let mut due = Vec::new();
    read.for_each(IDEMPOTENCY_KEYS, .., |scope: Scope, remembered| {
        if remembered.forget_at.is_some_and(|at| at <= now) {
            due.push(scope);
        }
        if due.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(due)
}

fn put(tx: &mut WriteTx<'_>, scope: &Scope, remembered: &Remembered) -> Result<(), TxError> {
    if tx.count(IDEMPOTENCY_KEYS)? >= MAX_KEYS && get(tx, scope)?.is_none() {
        make_room(tx)?;
    }
    tx.put(IDEMPOTENCY_KEYS, scope, remembered)
}

/// Those that would be forgotten next go. Held ones stay: there is at most one per open payout.
fn make_room(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let mut all = Vec::new();
    tx.for_each(IDEMPOTENCY_KEYS, .., |scope: Scope, remembered| {
        all.extend(remembered.forget_at.map(|at| (at, scope)));
        ControlFlow::Continue(())
    })?;
    all.sort_unstable();
    for (_, scope) in all.iter().take(MAKE_ROOM) {
        free(tx, scope)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, at};
    use super::*;
    use crate::domain::idempotency::KEEP_SECONDS;
    use crate::domain::refusal::Refusal;

    fn mark(n: u32) -> Mark {
        let mut scope = [0; 32];
        scope[..4].copy_from_slice(&n.to_be_bytes());
        Mark::new(scope, [7; 32], at(i64::from(n)).wall)
    }

    fn found(fixture: &Fixture, n: u32) -> Option<Outcome> {
        get(&fixture.store.read().unwrap(), &mark(n).scope).unwrap().map(|remembered| remembered.outcome)
    }

    #[test]
    fn a_key_is_there_exactly_when_the_change_is() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let change = |refused: bool, changes: bool| {
            store.write(move |tx| {
                if changes {
                    free(tx, &[9; 32])?;
                }
                if refused { Err(Refusal::PoolFull.into()) } else { Ok(()) }
            })
        };
        for (n, refused, changes) in [(1, true, true), (2, false, false), (3, true, false)] {
            let mark = mark(n);
            let _ = runtime.block_on(mark.clone().over(change(refused, changes)));
            assert_eq!((found(&fixture, n), mark.is_committed()), (None, false), "refused: {refused}, changes: {changes}");
        }
        let marked = mark(4);
        runtime.block_on(marked.clone().over(change(false, true))).unwrap();
        assert_eq!((found(&fixture, 4), marked.is_committed()), (Some(Outcome::Committed), true));
        runtime.block_on(change(false, true)).unwrap();
        assert_eq!(store.read().unwrap().count(IDEMPOTENCY_KEYS), Ok(1), "without a key nothing is left");
        runtime.block_on(store.write(move |tx| answered(tx, &marked, Outcome::NotKept("why".into())))).unwrap();
        assert_eq!(found(&fixture, 4), Some(Outcome::NotKept("why".into())));
    }

    #[test]
    fn keys_are_forgotten_after_their_time_unless_they_are_held() {
        let fixture = Fixture::new();
        fixture
            .write(|tx, _| {
                for n in 0..10 {
                    mark(n).leave(tx)?;
                }
                let held = Remembered { forget_at: None, ..Remembered::committed([7; 32], at(0).wall) };
                tx.put(IDEMPOTENCY_KEYS, &mark(0).scope, &held)
            })
            .unwrap();
        let swept = |seconds, limit| fixture.write(move |tx, _| sweep(tx, at(seconds).wall, limit)).unwrap();
        assert_eq!(swept(KEEP_SECONDS, 100), 0);
        assert_eq!((swept(KEEP_SECONDS + 4, 3), swept(KEEP_SECONDS + 4, 3)), (3, 1));
        assert_eq!((found(&fixture, 4), found(&fixture, 5)), (None, Some(Outcome::Committed)));
        assert_eq!(swept(KEEP_SECONDS * 100, 100), 5);
        assert_eq!(found(&fixture, 0), Some(Outcome::Committed), "held");
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_the_oldest_go() {
        let fixture = Fixture::new();
        let all = u32::try_from(MAX_KEYS).unwrap() + 1;
        let count = fixture
            .write(move |tx, _| {
                (0..all).try_for_each(|n| mark(n).leave(tx))?;
                Ok(tx.count(IDEMPOTENCY_KEYS)?)
            })
            .unwrap();
        assert_eq!(count, MAX_KEYS + 1 - MAKE_ROOM as u64);
        assert_eq!((found(&fixture, 0), found(&fixture, 255)), (None, None));
        assert_eq!((found(&fixture, 256), found(&fixture, all - 1)), (Some(Outcome::Committed), Some(Outcome::Committed)));
    }
}
