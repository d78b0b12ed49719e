//! The thread that writes one file: batches, commits, and what is done when one fails.
//!
//! A commit that failed may be in the file all the same. The writer opens the file again, as the medium has it, and looks: what is there is answered as committed, what
//! is not there is written once more, or answered as not done. So nobody has to find out later, and what follows commits in memory follows the file.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};

use redb::Durability;
use tokio::sync::oneshot;

use super::super::fault::{Fault, TxError, WriteError};
use super::super::replica::marks::Marking;
use super::super::room::{Need, Room};
use super::super::secrets::Secrets;
use super::super::table::{Effects, Snapshot, WriteTx};
use super::super::touched::Touched;
use super::super::witness::Witness;
use super::handle::{Handle, Opened, Place};
use super::lock;
use crate::domain::alert::AlertChange;

/// Writes in one commit.
const BATCH_LIMIT: usize = 1_024;
/// Times that a batch is written again after its commit failed and was not in the file.
const REPLAYS: u32 = 1;
/// Once a disk was full, nothing is tried before it has so much room again.
const ROOM_BYTES: u64 = 4 << 20;

pub trait Job: Send {
    /// Runs the closure and keeps its result; false when it did not succeed.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool;
    /// Answers with the kept result, or with `outcome` when the commit did not happen.
    fn answer(self: Box<Self>, outcome: Result<(), WriteError>);
}

pub struct Pending<R, F> {
    pub verb: F,
    pub result: Option<Result<R, TxError>>,
    pub reply: oneshot::Sender<Result<R, WriteError>>,
}

impl<R: Send, F: Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send> Job for Pending<R, F> {
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let result = catch_unwind(AssertUnwindSafe(|| (self.verb)(tx))).unwrap_or(Err(TxError::Fault(Fault::Panic)));
        let succeeded = result.is_ok();
        self.result = Some(result);
        succeeded
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let Pending { verb, result, reply } = *self;
        // It may hold the last handle to the store: who is answered may go on to open it again.
        drop(verb);
        let answer = match (outcome, result) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(result)) => result.map_err(WriteError::from),
            (Ok(()), None) => Err(WriteError::Unknown("the write did not run".into())),
        };
        // The caller may have gone away; the commit stands all the same.
        let _ = reply.send(answer);
    }
}

/// Runs in the writer's thread between two commits.
pub type Between = Box<dyn FnOnce(&Arc<Shared>, &mut Writer) + Send>;

#[derive(Default)]
pub struct Queues {
    pub ordinary: VecDeque<Box<dyn Job>>,
    pub money: VecDeque<Box<dyn Job>>,
    pub between: VecDeque<Between>,
    /// Some operation on the file failed.
    pub broken: bool,
    pub closing: bool,
}

pub struct Shared {
    pub place: Place,
    pub handle: Handle,
    pub queues: Mutex<Queues>,
    pub wake: Condvar,
    /// The file was given up: the process is to end.
    pub failed: AtomicBool,
    pub commits: AtomicU64,
    /// Each commit says what it takes to open the file at once after a crash.
    pub opens_at_once: bool,
    pub watcher: OnceLock<AlertWatcher>,
    pub secrets: OnceLock<Secrets>,
    /// Who marks what changes for the cluster.
    pub marking: OnceLock<Marking>,
    /// What it shares with the other files of its store, and how long it is written when the disk runs full.
    pub room: OnceLock<(Arc<Room>, Need)>,
    /// Of databases of this file that are not in use any more.
    pub written_before: AtomicU64,
}

/// Hears of every alert that began or ended, after its commit, in commit order.
pub type AlertWatcher = Box<dyn Fn(AlertChange) + Send + Sync>;

/// What is the writer's alone.
#[derive(Default)]
pub struct Writer {
    /// Present while a copy of the file is made that has to catch up.
    pub touched: Option<Touched>,
    /// The disk was full when something was last written.
    is_full: bool,
}

/// Has the writer hear of errors that readers meet.
pub fn listen(shared: &Arc<Shared>, opened: &Opened) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    opened.link.ring(Box::new(move || {
        if let Some(shared) = shared.upgrade() {
            lock(&shared.queues).broken = true;
            shared.wake.notify_one();
        }
    }));
}

enum Next {
    Batch(Vec<Box<dyn Job>>),
    Between(Between),
    Mend,
    End,
}

pub fn run(shared: &Arc<Shared>) {
    let mut writer = Writer::default();
    loop {
        match next(shared) {
            Next::Batch(batch) => commit(shared, &mut writer, batch),
            Next::Between(work) => work(shared, &mut writer),
            // An error that a reader met, or one that cost no commit.
            Next::Mend => {
                if shared.handle.current().is_ok_and(|opened| opened.link.is_broken()) {
                    let _ = reopen(shared);
                }
            }
            Next::End => return,
        }
    }
}

fn next(shared: &Shared) -> Next {
    let mut queues = lock(&shared.queues);
    loop {
        if std::mem::take(&mut queues.broken) && !shared.failed.load(Ordering::Acquire) {
            return Next::Mend;
        }
        if let Some(work) = queues.between.pop_front() {
            return Next::Between(work);
        }
        let batch = take_batch(&mut queues);
        if !batch.is_empty() {
            return Next::Batch(batch);
        }
        if queues.closing {
            return Next::End;
        }
        queues = shared.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
    }
}

fn take_batch(queues: &mut Queues) -> Vec<Box<dyn Job>> {
    let money = queues.money.len().min(BATCH_LIMIT);
    let mut batch: Vec<_> = queues.money.drain(..money).collect();
    let ordinary = queues.ordinary.len().min(BATCH_LIMIT - batch.len());
    batch.extend(queues.ordinary.drain(..ordinary));
    batch
}

/// Commits the batch; on return every job has been answered.
fn commit(shared: &Arc<Shared>, writer: &mut Writer, mut batch: Vec<Box<dyn Job>>) {
    let (mut culprits, mut replays) = (0, 0);
    while !batch.is_empty() {
        if is_full(shared, writer) {
            return answer_all(batch, &Err(WriteError::Fault(Fault::Full)));
        }
        match attempt(shared, writer, &mut batch) {
            Attempt::Committed(effects) => return committed(shared, effects, batch),
            Attempt::Culprit(position) => {
                batch.remove(position).answer(Ok(()));
                culprits += 1;
                if culprits >= 2 && batch.len() > 1 {
                    return batch.into_iter().for_each(|job| commit(shared, writer, vec![job]));
                }
            }
            Attempt::Failed(failed) => {
                tracing::error!(why = failed.why, "a write to the store failed");
                let was_full = failed.is_full;
                writer.is_full = was_full && !takes_the_reserve(shared);
                let (effects, outcome) = resolve(shared, *failed);
                match outcome {
                    Outcome::Committed => return committed(shared, effects, batch),
                    Outcome::NotDone(_) if replays < REPLAYS && !writer.is_full => replays += 1,
                    Outcome::NotDone(_) if was_full => return answer_all(batch, &Err(WriteError::Fault(Fault::Full))),
                    Outcome::NotDone(why) => return answer_all(batch, &Err(WriteError::Fault(Fault::Database(why)))),
                    Outcome::Unknown(why) => return answer_all(batch, &Err(WriteError::Unknown(why))),
                }
            }
        }
    }
}

fn answer_all(batch: Vec<Box<dyn Job>>, outcome: &Result<(), WriteError>) {
    batch.into_iter().for_each(|job| job.answer(outcome.clone()));
}

fn committed(shared: &Shared, effects: Effects, batch: Vec<Box<dyn Job>>) {
    shared.commits.fetch_add(1, Ordering::Relaxed);
    for f in effects.after {
        let _ = catch_unwind(AssertUnwindSafe(f));
    }
    if let Some(watcher) = shared.watcher.get() {
        let _ = catch_unwind(AssertUnwindSafe(|| effects.alerts.into_iter().for_each(watcher)));
    }
    answer_all(batch, &Ok(()));
}

/// Every try on a full disk costs a repair of the file.
fn is_full(shared: &Shared, writer: &mut Writer) -> bool {
    if shared.room.get().is_some_and(|(room, need)| room.refuses(*need)) {
        return true;
    }
    if writer.is_full {
        let free = shared.place.device.free_bytes(shared.place.folder()).unwrap_or(0);
        writer.is_full = free < ROOM_BYTES;
    }
    writer.is_full
}

/// Whether the reserve was there, and is let go for this file.
fn takes_the_reserve(shared: &Shared) -> bool {
    shared.room.get().is_some_and(|(room, need)| *need == Need::Now && room.let_go())
}

enum Attempt {
    Committed(Effects),
    /// This job failed after a mutation; the transaction is gone and the others must run again.
    Culprit(usize),
    Failed(Box<Failed>),
}

/// A transaction that did not end as it should.
struct Failed {
    why: String,
    is_full: bool,
    /// Of a commit that was tried.
    commit: Option<(Effects, Witness)>,
}

fn attempt(shared: &Shared, writer: &mut Writer, batch: &mut [Box<dyn Job>]) -> Attempt {
    let opened = match shared.handle.current() {
        Ok(opened) => opened,
        Err(fault) => return failed(None, &fault.to_string(), None),
    };
    let before_commit = |why: &str| failed(Some(&opened), why, None);
    let mut transaction = match opened.database.begin_write() {
        Ok(transaction) => transaction,
        Err(error) => return before_commit(&error.to_string()),
    };
    if let Err(error) = transaction.set_durability(Durability::Immediate) {
        return before_commit(&error.to_string());
    }
    transaction.set_quick_repair(shared.opens_at_once);
    let mut tx = WriteTx::new(&transaction, shared.secrets.get()).noting(writer.touched.as_mut()).marking(shared.marking.get());
    for (position, job) in batch.iter_mut().enumerate() {
        let before = tx.mutations();
        let succeeded = job.run(&mut tx);
        // What an I/O error stopped is nobody's fault.
        if opened.link.is_broken() {
            drop(tx);
            let _ = transaction.abort();
            return before_commit("an operation on the file failed");
        }
        if !succeeded && tx.mutations() != before {
            drop(tx);
            return match catch_unwind(AssertUnwindSafe(|| transaction.abort())) {
                Ok(Ok(())) => Attempt::Culprit(position),
                Ok(Err(error)) => before_commit(&error.to_string()),
                // The library panics where pages of its trees are not what it wrote, and then again at the end of it: only who opens the file anew can go on with it.
                Err(_) => {
                    shared.failed.store(true, Ordering::Release);
                    Attempt::Culprit(position)
                }
            };
        }
    }
    let mutated = tx.mutations() > 0;
    if let Err(error) = tx.put_marks() {
        drop(tx);
        let _ = transaction.abort();
        return before_commit(&format!("marks for the cluster: {error:?}"));
    }
    let (effects, witness) = tx.into_effects();
    // A batch of refusals has nothing to sync.
    if !mutated {
        return match transaction.abort() {
            Ok(()) => Attempt::Committed(effects),
            Err(error) => before_commit(&error.to_string()),
        };
    }
    match transaction.commit() {
        Ok(()) => Attempt::Committed(effects),
        Err(error) => failed(Some(&opened), &error.to_string(), Some((effects, witness))),
    }
}

fn is_of_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn failed(opened: Option<&Arc<Opened>>, why: &str, commit: Option<(Effects, Witness)>) -> Attempt {
    let first = opened.and_then(|opened| opened.link.first_error());
    let is_full = first.as_ref().is_some_and(|(kind, _)| is_of_full(*kind));
    let why = first.map_or_else(|| why.to_owned(), |(_, first)| format!("{why} ({first})"));
    Attempt::Failed(Box::new(Failed { why, is_full, commit }))
}

enum Outcome {
    Committed,
    NotDone(String),
    Unknown(String),
}

/// Opens the file again and finds out what became of a transaction.
fn resolve(shared: &Arc<Shared>, failed: Failed) -> (Effects, Outcome) {
    let Failed { why, commit, .. } = failed;
    let reopened = reopen(shared);
    let Some((effects, witness)) = commit else {
        return (Effects::default(), Outcome::NotDone(reopened.err().unwrap_or(why)));
    };
    let found = reopened.map_err(Fault::Database).and_then(|opened| witness.is_in(&Snapshot::of(&opened)?));
    let outcome = match found {
        Ok(Some(true)) => Outcome::Committed,
        Ok(Some(false)) => Outcome::NotDone(why),
        Ok(None) => {
            // What follows commits in memory cannot be told whether to follow: a new process reads it from the file.
            shared.failed.store(true, Ordering::Release);
            Outcome::Unknown(why)
        }
        Err(fault) => {
            shared.failed.store(true, Ordering::Release);
            Outcome::Unknown(format!("{why}; {fault}"))
        }
    };
    (effects, outcome)
}

/// Opens the file again as the medium has it, in place of a handle that redb has given up. After the last try that fails, the file is given up too.
fn reopen(shared: &Arc<Shared>) -> Result<Arc<Opened>, String> {
    let mut first = None;
    if let Ok(opened) = shared.handle.current() {
        first = opened.link.first_error().filter(|(kind, _)| !is_of_full(*kind));
        shared.written_before.fetch_add(opened.link.written_bytes(), Ordering::Relaxed);
    }
    shared.handle.take_away();
    let mut why = String::from("it is not opened again");
    for delay in shared.place.device.retry_delays() {
        std::thread::sleep(*delay);
        match catch_unwind(AssertUnwindSafe(|| shared.place.open_again())) {
            Ok(Ok(opened)) => {
                listen(shared, &opened);
                drop(shared.handle.put(opened));
                tracing::warn!(path = %shared.place.path.display(), "the store was opened again after an error");
                if let Some(((room, _), (_, error))) = shared.room.get().zip(first.take()) {
                    room.survived(&shared.place.path, error);
                }
                if let Ok(opened) = shared.handle.current() {
                    return Ok(opened);
                }
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = "the repair panicked".into(),
        }
        tracing::error!(why, "the store does not open again");
        shared.handle.down(format!("the store does not open: {why}"));
        refuse_waiting(shared, &why);
    }
    shared.failed.store(true, Ordering::Release);
    Err(why)
}

/// Who waits for a file that does not open is told so at once.
fn refuse_waiting(shared: &Shared, why: &str) {
    let waiting: Vec<_> = {
        let mut queues = lock(&shared.queues);
        let Queues { ordinary, money, .. } = &mut *queues;
        money.drain(..).chain(ordinary.drain(..)).collect()
    };
    answer_all(waiting, &Err(WriteError::Fault(Fault::Database(format!("it does not open: {why}; nothing was changed")))));
}
