//! One redb file: created safely, written by one thread with group commit, read through snapshots.
//!
//! A write is a closure over the transaction: `Fn`, deterministic and free of effects, because a batch may be
//! replayed. A refusal before the first mutation costs nothing. A failure after one drops the transaction, answers the
//! culprit and replays the others; after a second culprit in the same batch they commit one by one.
//!
//! An I/O error ends a handle of redb for readers too. The writer then opens the file again (`writer`), and goes on.

mod handle;
mod replace;
mod usage;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::ReadableDatabase;
use tokio::sync::oneshot;

use super::device::{self, Device};
use super::fault::{Fault, OpenError, TxError, WriteError};
use super::replica::marks::Marking;
use super::room::{Need, Room};
use super::secrets::Secrets;
use super::table::{Snapshot, WriteTx};
use crate::domain::alert::AlertChange;

pub(super) use handle::Opened;
use handle::{Handle, Place};
pub(super) use replace::Switched;
pub use usage::{TableUsage, Usage};
use writer::{Between, Job, Pending, Shared};

/// Writes that may wait, per lane.
pub const QUEUE_LIMIT: usize = 4_096;
/// Names of files that are being made end so; what a crash left of them goes when the file is opened.
const NEW: &str = "tmp";
const COMPACTED: &str = "compact.tmp";
/// A writer that is held goes on after this time, whatever became of who held it.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// Money has a queue of its own, which is drained first, so that no flood of other writes can hold it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Ordinary,
    Money,
}

/// A writer that commits nothing while this lives; see `DbFile::hold`.
pub(super) struct Held {
    went_on: Arc<AtomicBool>,
    _release: mpsc::Sender<()>,
}

impl Held {
    /// Whether it was held from the beginning until now.
    pub fn is_held(&self) -> bool {
        !self.went_on.load(Ordering::Acquire)
    }
}

/// A handle to one file; the writer thread ends when it is closed.
pub struct DbFile {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DbFile {
    /// Opens `path`, creating it when it does not exist: in a temporary file that is committed, synced and renamed, because a power cut in
    /// the first moments can leave a new redb file that does not open.
    pub fn open(
        path: &Path,
        cache_bytes: usize,
        initialise: impl Fn(&mut WriteTx<'_>) -> Result<(), TxError>,
    ) -> Result<DbFile, OpenError> {
        DbFile::open_on(&device::real(), path, cache_bytes, initialise)
    }

    /// The same on another device.
    pub fn open_on(
        device: &Arc<dyn Device>,
        path: &Path,
        cache_bytes: usize,
        initialise: impl Fn(&mut WriteTx<'_>) -> Result<(), TxError>,
    ) -> Result<DbFile, OpenError> {
        DbFile::open_as(device, path, cache_bytes, false, initialise)
    }

    /// For large files with few commits: each of them costs some pages more, and after a crash the file opens at once, where it would be read as a whole.
    pub(super) fn open_large(
        device: &Arc<dyn Device>,
        path: &Path,
        cache_bytes: usize,
        initialise: impl Fn(&mut WriteTx<'_>) -> Result<(), TxError>,
    ) -> Result<DbFile, OpenError> {
        DbFile::open_as(device, path, cache_bytes, true, initialise)
    }

    fn open_as(
        device: &Arc<dyn Device>,
        path: &Path,
        cache_bytes: usize,
        opens_at_once: bool,
        initialise: impl Fn(&mut WriteTx<'_>) -> Result<(), TxError>,
    ) -> Result<DbFile, OpenError> {
        let place = Place { device: Arc::clone(device), path: path.to_owned(), cache_bytes };
        if !device.exists(path).map_err(|e| place.failed(e))? {
            create(&place, &initialise)?;
        }
        let opened = place.open()?;
        // Only who holds the file may: another process may be making one.
        device.remove(&place.temporary(COMPACTED)).map_err(|e| place.failed(e))?;
        let shared = Arc::new(Shared {
            place,
            handle: Handle::new(opened),
            queues: Mutex::default(),
            wake: Condvar::new(),
            failed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            opens_at_once,
            watcher: OnceLock::new(),
            secrets: OnceLock::new(),
            marking: OnceLock::new(),
            room: OnceLock::new(),
            written_before: AtomicU64::new(0),
        });
        writer::listen(&shared, &*shared.handle.current()?);
        let thread = {
            let shared = Arc::clone(&shared);
            let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("store");
            std::thread::Builder::new()
                .name(format!("write-{name}"))
                .spawn(move || writer::run(&shared))
                .map_err(|e| OpenError::Folder(path.to_owned(), e))?
        };
        Ok(DbFile { shared, writer: Mutex::new(Some(thread)) })
    }

    /// Makes the tables that a file of an earlier release does not have, so that snapshots can open them all.
    pub(super) fn ensure_tables(&self, names: &'static [&'static str]) -> Result<(), OpenError> {
        let opened = self.shared.handle.current()?;
        let read = opened.database.begin_read().map_err(|e| OpenError::Fault(e.into()))?;
        let tables = read.list_tables().map_err(|e| OpenError::Fault(Fault::Database(e.to_string())))?;
        let present: Vec<String> = tables.map(|table| redb::TableHandle::name(&table).to_owned()).collect();
        drop(read);
        let missing: Vec<&'static str> = names.iter().filter(|name| !present.iter().any(|p| p == *name)).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.write_at_open(|tx| missing.iter().try_for_each(|name| tx.create(name)))
    }

    /// A transaction before anybody else writes: here and not through the writer's thread, for which no thread of a runtime may wait.
    pub(super) fn write_at_open(&self, verb: impl FnOnce(&mut WriteTx<'_>) -> Result<(), TxError>) -> Result<(), OpenError> {
        let opened = self.shared.handle.current()?;
        let mut transaction = opened.database.begin_write().map_err(|e| OpenError::Fault(e.into()))?;
        transaction.set_quick_repair(self.shared.opens_at_once);
        verb(&mut WriteTx::new(&transaction, self.shared.secrets.get())).map_err(not_opened)?;
        transaction.commit().map_err(|e| OpenError::Fault(Fault::Database(e.to_string())))
    }

    /// `watcher` hears of every alert that begins or ends from now on. The first watcher stays.
    pub fn watch_alerts(&self, watcher: impl Fn(AlertChange) + Send + Sync + 'static) {
        let _ = self.shared.watcher.set(Box::new(watcher));
    }

    /// What transactions seal fields with from now on. The first ones stay.
    pub(super) fn seal_with(&self, secrets: Secrets) {
        let _ = self.shared.secrets.set(secrets);
    }

    /// From now on every change leaves a mark for the cluster. The first one stays.
    pub(super) fn mark_with(&self, marking: Marking) {
        let _ = self.shared.marking.set(marking);
    }

    pub(super) fn marking(&self) -> Option<&Marking> {
        self.shared.marking.get()
    }

    /// From now on it is looked before each commit whether there is room for it. The first one stays.
    pub(super) fn keep_to(&self, room: &Arc<Room>, need: Need) {
        let _ = self.shared.room.set((Arc::clone(room), need));
    }

    pub fn path(&self) -> &Path {
        &self.shared.place.path
    }

    /// Answered after the commit that holds it, with fsync. A commit that fails is looked for in the file, so `Unknown` is said by a process that is about to end.
    pub async fn write<R: Send + 'static>(
        &self,
        lane: Lane,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(lane, Box::new(Pending { verb, result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(WriteError::Unknown("the writer stopped".into())))
    }

    /// The same for callers without an async runtime: start-up and the command line.
    pub fn write_now<R: Send + 'static>(
        &self,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Lane::Ordinary, Box::new(Pending { verb, result: None, reply }))?;
        answer.blocking_recv().unwrap_or_else(|_| Err(WriteError::Unknown("the writer stopped".into())))
    }

    /// Waits for the writer's turn and keeps it between two commits until the answer is dropped, some seconds at most: what is read of several files meanwhile is of
    /// one moment. For threads that may wait.
    pub(super) fn hold(&self) -> Result<Held, WriteError> {
        let (entered, is_in) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let went_on = Arc::new(AtomicBool::new(false));
        let passed = Arc::clone(&went_on);
        // No write: on a full disk it is as good as ever.
        self.interpose(Box::new(move |_, _| {
            let _ = entered.send(());
            let _ = released.recv_timeout(LONGEST_HOLD);
            passed.store(true, Ordering::Release);
        }))?;
        is_in.recv().map_err(|_| WriteError::Unknown("the writer stopped".into()))?;
        Ok(Held { went_on, _release: release })
    }

    /// Has `work` done in the writer's thread between two commits.
    fn interpose(&self, work: Between) -> Result<(), Fault> {
        let mut queues = lock(&self.shared.queues);
        if queues.closing || self.failed() {
            return Err(Fault::Database("the store is closing".into()));
        }
        queues.between.push_back(work);
        drop(queues);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn enqueue(&self, lane: Lane, job: Box<dyn Job>) -> Result<(), WriteError> {
        if self.failed() {
            return Err(WriteError::Fault(Fault::Database("an earlier write failed; restart to reopen the store".into())));
        }
        let mut queues = lock(&self.shared.queues);
        if queues.closing {
            return Err(WriteError::Unknown("the store is closing".into()));
        }
        let queue = match lane {
            Lane::Ordinary => &mut queues.ordinary,
            Lane::Money => &mut queues.money,
        };
        if queue.len() >= QUEUE_LIMIT {
            return Err(WriteError::Busy);
        }
        queue.push_back(job);
        drop(queues);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// A view as of the last commit. While the file is opened again after an error this waits, for a second at most.
    pub fn read(&self) -> Result<Snapshot, Fault> {
        Snapshot::of(&self.shared.handle.current()?)
    }

    /// The file was given up: only another process can open it.
    /// Nobody holds a snapshot of it: once this is dropped the file can be opened again.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.handle.held() == 0
    }

    pub fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Neither read nor written at present: it is opened again after an error.
    pub fn is_down(&self) -> bool {
        self.shared.handle.is_down()
    }

    /// Commits since the file was opened.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Bytes handed to the file since it was opened.
    pub fn written_bytes(&self) -> u64 {
        let present = self.shared.handle.current().map_or(0, |opened| opened.link.written_bytes());
        self.shared.written_before.load(Ordering::Relaxed).saturating_add(present)
    }

    /// How much of the file is rows. Reads every page: seconds for a gigabyte.
    pub fn usage(&self) -> Result<Usage, Fault> {
        usage::of(&*self.shared.handle.current()?)
    }

    pub fn length_bytes(&self) -> Result<u64, Fault> {
        self.shared.handle.current()?.link.file().len().map_err(|error| Fault::Database(error.to_string()))
    }

    /// Bytes that may still be written beside the file.
    pub fn free_bytes(&self) -> Result<u64, Fault> {
        let place = &self.shared.place;
        place.device.free_bytes(place.folder()).map_err(|error| Fault::Database(place.failed(error).to_string()))
    }

    /// Waits for what is queued, then ends the writer thread.
    pub fn close(&self) {
        lock(&self.shared.queues).closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = lock(&self.writer).take() {
            // A write may hold the last handle to the store: then it is dropped by the writer itself, which ends by what was said above.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for DbFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// A poisoned lock is taken all the same: what it guards is only ever replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create(place: &Place, initialise: &impl Fn(&mut WriteTx<'_>) -> Result<(), TxError>) -> Result<(), OpenError> {
    let temporary = place.temporary(NEW);
    let device = &place.device;
    let io = |e| place.failed(e);
    device.remove(&temporary).map_err(io)?;
    {
        let opened = place.create(&temporary)?;
        let transaction = opened.database.begin_write()?;
        initialise(&mut WriteTx::new(&transaction, None)).map_err(not_opened)?;
        transaction.commit()?;
    }
    device.open(&temporary).and_then(|file| file.sync()).map_err(io)?;
    device.rename(&temporary, &place.path).map_err(io)?;
    device.sync_folder(place.folder()).map_err(io)
}

fn not_opened(error: TxError) -> OpenError {
    match error {
        TxError::Fault(fault) => OpenError::Fault(fault),
        TxError::Refused(refusal) => OpenError::Fault(Fault::Invariant(refusal.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Read, Table};
    use super::*;
    use crate::domain::refusal::Refusal;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Number(u64);
    crate::record!(Number = 1);

    const NUMBERS: Table<u32, Number> = Table::new("numbers");

    fn fresh() -> (tempfile::TempDir, DbFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = DbFile::open(&dir.path().join("t.redb"), 1 << 20, |tx| tx.create(NUMBERS.name)).unwrap();
        (dir, file)
    }

    #[test]
    fn nothing_is_committed_while_the_writer_is_held() {
        let (_dir, file) = fresh();
        file.write_now(|tx| tx.put(NUMBERS, &1, &Number(1))).unwrap();
        let held = file.hold().unwrap();
        let (done, answered) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let file = &file;
            scope.spawn(move || done.send(file.write_now(|tx| tx.put(NUMBERS, &2, &Number(2)))).unwrap());
            assert!(answered.recv_timeout(Duration::from_millis(50)).is_err());
            assert_eq!((file.read().unwrap().count(NUMBERS), held.is_held()), (Ok(1), true));
            drop(held);
            answered.recv().unwrap().unwrap();
        });
        assert_eq!(file.read().unwrap().count(NUMBERS), Ok(2));
        file.close();
        assert!(file.hold().is_err());
    }

    #[test]
    fn a_file_of_an_earlier_release_gets_its_new_tables_inside_a_runtime_too() {
        let (_dir, file) = fresh();
        runtime().block_on(async {
            file.ensure_tables(&["numbers", "later"]).unwrap();
            file.ensure_tables(&["numbers", "later"]).unwrap();
        });
        const LATER: Table<u32, Number> = Table::new("later");
        assert_eq!(file.read().unwrap().get(LATER, &1).unwrap(), None);
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), WriteError>> + 'a>>;

    /// Polling once enqueues.
    fn enqueue<'a>(f: impl Future<Output = Result<(), WriteError>> + 'a) -> Waiting<'a> {
        let mut f: Waiting<'a> = Box::pin(f);
        assert!(f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
        f
    }

    /// Holds the writer inside a first job, so that what is enqueued meanwhile becomes one batch.
    struct Gate(Arc<(Mutex<bool>, Condvar)>);

    impl Gate {
        fn close(file: &DbFile) -> (Gate, Waiting<'_>) {
            let gate = Arc::new((Mutex::new(false), Condvar::new()));
            let held = Arc::clone(&gate);
            let first = enqueue(file.write(Lane::Ordinary, move |_| {
                drop(held.1.wait_while(lock(&held.0), |open| !*open));
                Ok(())
            }));
            while !lock(&file.shared.queues).ordinary.is_empty() {
                std::thread::yield_now();
            }
            (Gate(gate), first)
        }

        fn open(&self) {
            *lock(&self.0.0) = true;
            self.0.1.notify_all();
        }
    }

    #[test]
    fn culprits_are_dropped_and_the_others_of_the_batch_commit() {
        let (_dir, file) = fresh();
        let commits = runtime().block_on(async {
            let (gate, first) = Gate::close(&file);
            let good = |k: u32| enqueue(file.write(Lane::Ordinary, move |tx| tx.put(NUMBERS, &k, &Number(1))));
            let bad = |k: u32| {
                enqueue(file.write(Lane::Ordinary, move |tx| {
                    tx.put(NUMBERS, &k, &Number(2))?;
                    Err::<(), _>(Refusal::PoolFull.into())
                }))
            };
            let panics = enqueue(file.write(Lane::Money, |tx| {
                tx.put(NUMBERS, &9, &Number(3))?;
                panic!("on purpose")
            }));
            let waiting = [good(1), bad(2), good(3), bad(4), good(5)];
            let before = file.commits();
            gate.open();
            first.await.unwrap();
            assert_eq!(panics.await, Err(WriteError::Fault(Fault::Panic)));
            let refused = Err(WriteError::Refused(Refusal::PoolFull));
            for (f, wanted) in waiting.into_iter().zip([Ok(()), refused.clone(), Ok(()), refused, Ok(())]) {
                assert_eq!(f.await, wanted);
            }
            file.commits() - before
        });
        let keys: Vec<u32> = file.read().unwrap().scan(NUMBERS, .., 10).unwrap().into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys, [1, 3, 5]);
        assert_eq!(commits, 1 + 3, "the first job, then, after a second culprit, one by one");
    }

    #[test]
    fn refusals_alone_commit_nothing() {
        let (_dir, file) = fresh();
        let answer = file.write_now(|_| Err::<(), _>(Refusal::NodeNotFound.into()));
        assert_eq!(answer, Err(WriteError::Refused(Refusal::NodeNotFound)));
        file.write_now(|tx| tx.put(NUMBERS, &1, &Number(7))).unwrap();
        assert_eq!(file.read().unwrap().get(NUMBERS, &1), Ok(Some(Number(7))));
    }

    #[test]
    fn after_commit_runs_once_and_not_for_the_dropped() {
        let (_dir, file) = fresh();
        let count = Arc::new(AtomicU64::new(0));
        let bump = |by: u64, fail: bool| {
            let count = Arc::clone(&count);
            file.write(Lane::Ordinary, move |tx| {
                let count = Arc::clone(&count);
                tx.after_commit(move || {
                    count.fetch_add(by, Ordering::Relaxed);
                });
                tx.put(NUMBERS, &1, &Number(by))?;
                if fail { Err(Refusal::PoolFull.into()) } else { Ok(()) }
            })
        };
        let (good, refused, also_good) = runtime().block_on(async { tokio::join!(bump(1, false), bump(100, true), bump(10, false)) });
        assert!(good.is_ok() && refused.is_err() && also_good.is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 11);
    }

    #[test]
    fn a_second_opener_is_told_so() {
        let (dir, _file) = fresh();
        let again = DbFile::open(&dir.path().join("t.redb"), 1 << 20, |_| Ok(()));
        assert!(matches!(again, Err(OpenError::InUse(_))));
    }

    #[test]
    fn a_full_queue_says_busy_and_the_waiting_are_written() {
        let (_dir, file) = fresh();
        runtime().block_on(async {
            let (gate, first) = Gate::close(&file);
            let limit = u32::try_from(QUEUE_LIMIT).unwrap();
            let waiting: Vec<_> =
                (0..limit).map(|k| enqueue(file.write(Lane::Ordinary, move |tx| tx.put(NUMBERS, &k, &Number(0))))).collect();
            assert_eq!(file.write(Lane::Ordinary, |_| Ok(())).await, Err(WriteError::Busy));
            gate.open();
            first.await.unwrap();
            for f in waiting {
                assert_eq!(f.await, Ok(()));
            }
        });
        assert_eq!(file.read().unwrap().count(NUMBERS), Ok(QUEUE_LIMIT as u64));
    }
}
