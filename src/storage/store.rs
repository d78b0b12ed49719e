//! Opening and closing the files of one store together, and the flush that joins memory and disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use super::accruals::Sums;
use super::backup::runs::Runs;
use super::cold::Cold;
use super::compaction::{Compactions, Which};
use super::core::idempotency::Mark;
use super::core::thresholds::AllThresholds;
use super::core::{audit, chain, epochs, ledger, ledger_check, meta, tables};
use super::device::{self, Device, make_folder};
use super::directory::Directory;
use super::fault::{Fault, OpenError, TxError, WriteError};
use super::file::{DbFile, Lane};
use super::hot;
use super::intake::{Intake, Recovered};
use super::outputs::Outputs;
use super::proofs::{Blinds, Recent};
use super::replica::catalog::Listed;
use super::replica::marks::{self, LateHour, Mark as ReplicaMark, Marking};
use super::replica::rows::Fenced;
use super::restore;
use super::room::{Need, Room};
use super::sealing;
use super::secrets::{FILE as SECRET_FILE, Secrets};
use super::space::Space;
use super::table::{Read, Snapshot, WriteTx};
use super::tails::Tails;
use super::wear::Meter;
use crate::crypto::{Entropy, PublicKey, SecretKey, SigningKey, hex};
use crate::domain::audit::{Actor, Draft};
use crate::domain::evidence::{Beacons, day_of};
use crate::domain::ids::{ManagerId, NodeIndex, PoolIndex};
use crate::domain::proof::succession::Succession;
use crate::domain::replica::Rev;
use crate::domain::threshold::Reading;
use crate::domain::time::{Now, Timestamp};

#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub dir: PathBuf,
    pub core_cache_bytes: usize,
    pub hot_cache_bytes: usize,
    /// Names this boot of the machine: boot times of another one mean nothing.
    pub boot_id: String,
    /// Where the database files lie; the rest of the folder is the kernel's.
    pub device: Arc<dyn Device>,
}

/// An open store: its files, what waits for them, its secrets and the manager's identity.
pub struct Store {
    pub core: DbFile,
    pub hot: DbFile,
    /// Weeks of sealed measurements.
    pub cold: Cold,
    /// What is flushed and not sealed.
    pub tails: Arc<Tails>,
    /// Who is who in the fleet.
    pub directory: Arc<Directory>,
    pub intake: Intake,
    /// Challenges, and the outputs that answer them.
    pub outputs: Arc<Outputs>,
    /// What is shown as earned and not posted yet.
    pub sums: Sums,
    /// What was committed last and what was proven last.
    pub recent: Recent,
    pub blinds: Blinds,
    /// What is known of compactions of the files.
    pub compactions: Compactions,
    /// Backups that are asked for and made.
    pub backups: Runs,
    /// What is written to the card.
    pub meter: Meter,
    /// Room for what must go on when the disk is full.
    pub room: Arc<Room>,
    /// How full it is.
    pub space: Space,
    pub(super) device: Arc<dyn Device>,
    flushing: tokio::sync::Mutex<()>,
    pub(super) sealing: tokio::sync::Mutex<()>,
    fencing: tokio::sync::Mutex<()>,
    /// The half hour of the last sweep.
    pub(super) swept: AtomicU32,
    /// When something was last flushed, by the boot clock.
    flushed: AtomicI64,
    writing_outputs: tokio::sync::Mutex<()>,
    pub secrets: Secrets,
    pub entropy: Entropy,
    pub manager_id: ManagerId,
    /// Grows when the store is restored: orders of the copy before are older.
    pub generation: u32,
    /// Drawn when the store is opened: who writes to the cluster.
    pub replica_run: String,
    pub signing_key: SigningKey,
    /// Keys that took over from each other until this one, oldest first. None is added while the store is open.
    pub successions: Vec<Succession>,
    dir: PathBuf,
    /// While it is open, nothing is restored in its place.
    _entered: File,
}

/// Weeks get this part of the cache that `hot.redb` has: their pages are read rarely, and one after the other.
const COLD_CACHE_SHARE: usize = 4;

/// Marks that one commit takes away when none are kept any more.
const CLEARED: usize = 2_000;

pub(super) const SEED_CONTEXT: &str = "store/seed";

impl Store {
    /// Opens the store in `dir`, making a new one when the folder has none. `now` stamps a new store.
    pub fn open(options: &StoreOptions, entropy: Entropy, now: Now) -> Result<Store, OpenError> {
        let dir = &options.dir;
        private_folder(options.device.as_ref(), dir)?;
        let entered = restore::enter(dir, options.device.as_ref())?;
        let (core_path, hot_path) = (dir.join("core.redb"), dir.join("hot.redb"));
        let device = &options.device;
        let exists = |path: &Path| device.exists(path).map_err(|error| OpenError::Folder(path.to_owned(), error));
        let is_new = !exists(&core_path)?;
        if is_new && exists(&hot_path)? {
            return Err(OpenError::MissingFile(core_path));
        }
        if is_new && exists(&dir.join(restore::FETCHED))? {
            return Err(OpenError::RestoreCut(dir.join(restore::FETCHED)));
        }
        let secrets = match Secrets::load(dir)? {
            Some(secrets) => secrets,
            None if is_new => Secrets::create(dir, SecretKey(entropy.bytes()))?,
            None => {
                let why = "is missing; put it back, or rebuild it with `keys recover --kit FILE`";
                return Err(OpenError::SecretKey(why.into()));
            }
        };
        Store::of_files(options, secrets, entropy, now, entered)
    }

    /// Opens a store that has no key beside it.
    pub(super) fn open_with(options: &StoreOptions, secrets: Secrets, entropy: Entropy, now: Now) -> Result<Store, OpenError> {
        let entered = restore::enter(&options.dir, options.device.as_ref())?;
        Store::of_files(options, secrets, entropy, now, entered)
    }

    /// What has to be put right before anything can be read may need the reserve: without a store nothing can be deleted either.
    fn of_files(options: &StoreOptions, secrets: Secrets, entropy: Entropy, now: Now, entered: File) -> Result<Store, OpenError> {
        let still_entered = entered.try_clone().map_err(|error| OpenError::Folder(options.dir.clone(), error))?;
        match Store::opened(options, secrets.clone(), entropy.clone(), now, entered) {
            // Not for what more room does not mend, least of all where another process holds the store and counts on its reserve.
            Err(error @ (OpenError::Fault(_) | OpenError::Folder(..))) if Room::of(&options.device, &options.dir).let_go_to_open() => {
                tracing::warn!(%error, "the store did not open on a disk that is full: once more, with what was the reserve");
                Store::opened(options, secrets, entropy, now, still_entered)
            }
            opened => opened,
        }
    }

    fn opened(options: &StoreOptions, secrets: Secrets, entropy: Entropy, now: Now, entered: File) -> Result<Store, OpenError> {
        let (meter, device) = Meter::on(&options.device);
        let (dir, device) = (&options.dir, &device);
        let (core_path, hot_path) = (dir.join("core.redb"), dir.join("hot.redb"));
        let exists = |path: &Path| device.exists(path).map_err(|error| OpenError::Folder(path.to_owned(), error));
        let is_new = !exists(&core_path)?;
        let description = describe(&secrets, &entropy, now);
        let core = DbFile::open_on(device, &core_path, options.core_cache_bytes, |tx| initialise_core(tx, &description, now))?;
        let store = meta::store(&core.read()?)?;
        check_schema(store.schema)?;
        let room = Arc::new(Room::of(device, dir));
        core.keep_to(&room, Need::Now);
        core.seal_with(secrets.clone());
        core.ensure_tables(tables::ALL)?;
        if ledger_check::is_unadopted(&core.read()?)? {
            core.write_at_open(|tx| {
                marks::end(tx)?;
                ledger_check::adopt(tx, now)
            })?;
        }
        let replica = marks::state(&core.read()?)?;
        let replica_run = crate::crypto::hex(&entropy.bytes::<8>());
        if replica.is_marking {
            core.write_at_open(|tx| marks::started(tx, &replica_run))?;
            core.mark_with(Marking::new(Which::Core, store.generation, replica.starts.saturating_add(1)));
        }
        let hot_meta = hot::Meta { store_id: store.store_id.clone(), generation: store.generation, ..hot::Meta::default() };
        if !is_new && !exists(&hot_path)? && core_was_used(&core)? {
            return Err(OpenError::MissingFile(hot_path));
        }
        let hot = DbFile::open_on(device, &hot_path, options.hot_cache_bytes, |tx| hot::initialise(tx, &hot_meta))?;
        hot.keep_to(&room, Need::Kept);
        hot.ensure_tables(hot::TABLES)?;
        if replica.is_marking {
            hot.mark_with(Marking::new(Which::Hot, store.generation, replica.starts.saturating_add(1)));
        }
        let found = hot::meta(&hot.read()?)?;
        if (&found.store_id, found.generation) != (&store.store_id, store.generation) {
            let name = |id: &str, generation: u32| format!("{id} (generation {generation})");
            return Err(OpenError::Mixed { core: name(&store.store_id, store.generation), hot: name(&found.store_id, found.generation) });
        }
        let cold = Cold::open(dir, (&store.store_id, &entropy), options.hot_cache_bytes / COLD_CACHE_SHARE, device, &room)?;
        let tails = Arc::new(Tails::default());
        sealing::adopt_blocks(&hot, &cold)?;
        sealing::adopt_hours(&hot, &cold)?;
        sealing::recover(&hot, &cold, &tails)?;
        let signing_key = open_seed(&secrets, &store.sealed_seed)?;
        let successions = chain::successions(&core.read()?)?;
        let intake = recover_intake(&hot, &secrets, &entropy, &options.boot_id, now)?;
        let outputs = Outputs::load(&core.read()?, &hot.read()?, Beacons::new(secrets.beacon.clone()), now)?;
        let (flushing, sealing, fencing, writing_outputs) = Default::default();
        let directory = Directory::load(&core.read()?)?;
        let (manager_id, generation) = (store.manager_id, store.generation);
        let sums = Sums::default();
        let recent = Recent::default();
        recent.keep_head(epochs::last(&core.read()?)?.and_then(|head| head.signed()));
        let blinds = Blinds(secrets.blinds.clone());
        let space = Space::load(&core.read()?)?;
        Ok(Store {
            core,
            hot,
            cold,
            tails,
            directory,
            intake,
            outputs,
            sums,
            recent,
            blinds,
            compactions: Compactions::default(),
            backups: Runs::default(),
            meter,
            space,
            device: Arc::clone(device),
            room,
            flushing,
            sealing,
            fencing,
            swept: AtomicU32::default(),
            flushed: AtomicI64::default(),
            writing_outputs,
            secrets,
            entropy,
            manager_id,
            generation,
            replica_run,
            signing_key,
            successions,
            dir: dir.clone(),
            _entered: entered,
        })
    }

    /// Makes everything accepted so far durable in one transaction of the hot file. `wall_minus_boot_ms` is known while the clock is
    /// trusted. To be awaited to its end: what it has taken is nowhere else until it is written. Run it as a task of its own where a client may hang up.
    pub async fn flush(&self, now: Now, wall_minus_boot_ms: Option<i64>) -> Result<(), WriteError> {
        let _one_at_a_time = self.flushing.lock().await;
        let _and_of_outputs = self.writing_outputs.lock().await;
        let nodes = self.directory.all();
        let in_service = |slot| nodes.iter().filter(|node| node.counts_in(slot)).map(|node| node.index).collect();
        // Before the batch is taken: what fails here has taken nothing.
        let thresholds = AllThresholds::load(&self.read()?)?;
        let outputs = Arc::new(self.outputs.start_write(now, |slot| self.intake.watched(slot)));
        let mut batch = self.intake.start_flush(now, wall_minus_boot_ms, in_service);
        if batch.places_untimed {
            batch.resting = nodes.iter().map(|node| (node.index, node.out_of_service())).filter(|(_, spans)| !spans.is_empty()).collect();
        }
        // Without a day to put it to it waits.
        if batch.flushed_at.is_some() {
            batch.written = self.meter.unbooked();
        }
        batch.is_thinned = self.space.is_thinned();
        let batch = Arc::new(batch);
        let written = Arc::clone(&batch);
        let written_outputs = Arc::clone(&outputs);
        let pools: HashMap<NodeIndex, Option<PoolIndex>> = nodes.iter().map(|node| (node.index, *node.pool.latest())).collect();
        let is_within =
            move |node: NodeIndex, reading: &Reading| thresholds.of(node, pools.get(&node).copied().flatten()).is_within(reading);
        let tails = Arc::clone(&self.tails);
        let write = move |tx: &mut WriteTx<'_>| {
            let samples = hot::flush(tx, &written, &tails)?;
            hot::strained::put(tx, &samples, &is_within)?;
            written_outputs.put(tx)
        };
        match self.hot.write(Lane::Ordinary, write).await {
            Ok(()) => {
                self.meter.book(&batch.written);
                self.intake.committed(&batch, now);
                self.outputs.committed();
                self.flushed.store(now.boot.0, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.intake.failed(Arc::unwrap_or_clone(batch));
                self.outputs.failed(Arc::unwrap_or_clone(outputs));
                Err(error)
            }
        }
    }

    /// Milliseconds since the last flush; since the start of the machine where there was none.
    pub fn since_flush_ms(&self, now: Now) -> u64 {
        u64::try_from(now.boot.0.saturating_sub(self.flushed.load(Ordering::Relaxed))).unwrap_or_default()
    }

    /// Makes durable what was said of outputs so far. To be awaited to its end: run it as a task of its own where a client may hang up.
    pub async fn commit_outputs(&self, now: Now) -> Result<(), WriteError> {
        let _one_at_a_time = self.writing_outputs.lock().await;
        let batch = Arc::new(self.outputs.start_write(now, |slot| self.intake.watched(slot)));
        if batch.is_empty() {
            return Ok(());
        }
        let written = Arc::clone(&batch);
        match self.hot.write(Lane::Ordinary, move |tx| written.put(tx)).await {
            Ok(()) => {
                self.outputs.committed();
                Ok(())
            }
            Err(error) => {
                self.outputs.failed(Arc::unwrap_or_clone(batch));
                Err(error)
            }
        }
    }

    pub fn file(&self, which: Which) -> &DbFile {
        match which {
            Which::Core => &self.core,
            Which::Hot => &self.hot,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn manager_key(&self) -> PublicKey {
        self.signing_key.public()
    }

    pub fn first_key(&self) -> PublicKey {
        self.successions.first().map_or_else(|| self.manager_key(), |first| PublicKey(first.old_key.0))
    }

    /// Keys with which this manager has signed, the present one first.
    pub fn manager_keys(&self) -> Vec<PublicKey> {
        let former = self.successions.iter().rev().map(|statement| PublicKey(statement.old_key.0));
        std::iter::once(self.manager_key()).chain(former).collect()
    }

    /// A write to the core, answered after its commit.
    pub async fn write<R: Send + 'static>(
        &self,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, WriteError> {
        self.watched(self.core.write(Lane::Ordinary, marked(verb)).await).await
    }

    /// The same in the money lane.
    pub async fn write_money<R: Send + 'static>(
        &self,
        verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, WriteError> {
        self.watched(self.core.write(Lane::Money, marked(verb)).await).await
    }

    /// Books that do not add up latch payouts off, in a transaction of its own: the one that found it is gone.
    async fn watched<R>(&self, outcome: Result<R, WriteError>) -> Result<R, WriteError> {
        if let Err(WriteError::Fault(Fault::Books { why, now })) = &outcome {
            tracing::error!(%why, "the books do not add up");
            let (why, now) = (why.clone(), *now);
            self.core.write(Lane::Money, move |tx| ledger::set_latch(tx, &why, now)).await?;
        }
        outcome
    }

    /// From now on every change of the core leaves a mark for the cluster, whoever opens the store.
    pub async fn begin_marks(&self) -> Result<(), WriteError> {
        if marks::state(&self.read()?)?.is_marking { Ok(()) } else { self.begin_marks_above(0).await }
    }

    /// The same as a new stretch, in which everything goes again, and whose revisions are above those of a store that was opened so often.
    pub async fn begin_marks_above(&self, starts: u32) -> Result<(), WriteError> {
        let starts = marks::state(&self.read()?)?.starts.max(starts).saturating_add(1);
        // First, so that nothing is changed in between without one.
        for which in Which::ALL {
            self.file(which).mark_with(Marking::new(which, self.generation, starts));
            if let Some(marking) = self.file(which).marking() {
                marking.raise(self.generation, starts);
            }
        }
        let run = self.replica_run.clone();
        self.core.write(Lane::Ordinary, move |tx| marks::begin(tx, &run, starts)).await
    }

    /// Everything that is committed, with a revision for each file that is above those of its commits, and below those of all that will be; None while no marks are kept.
    pub async fn fenced(&self) -> Result<Option<Fenced>, WriteError> {
        let _one_at_a_time = self.fencing.lock().await;
        let (core, core_rev) = fence(&self.core).await?;
        // Later: what heads of epochs say is there.
        let (hot, hot_rev) = fence(&self.hot).await?;
        Ok(core_rev.zip(hot_rev).map(|(core_rev, hot_rev)| Fenced { core, core_rev, hot, hot_rev }))
    }

    /// About as many commits of a file, since one of its revisions was given.
    pub fn revisions_since(&self, which: Which, rev: Rev) -> u64 {
        self.file(which).marking().map_or(0, |marking| marking.since(rev))
    }

    /// Rows of a file that have arrived in the cluster.
    pub async fn arrived(&self, which: Which, marks: Vec<ReplicaMark>) -> Result<(), WriteError> {
        let file = self.file(which);
        let Some(marking) = file.marking() else { return Ok(()) };
        if marking.note_arrived(marks) {
            let arrived = marking.take_arrived();
            file.write(Lane::Ordinary, move |tx| marks::arrived(tx, &arrived)).await?;
        }
        Ok(())
    }

    /// Rows of a table that the cluster did not take: they are tried again, above all that was sent.
    pub async fn mark_again(&self, listed: &'static Listed, keys: Vec<Vec<u8>>) -> Result<(), WriteError> {
        self.file(listed.file).write(Lane::Ordinary, move |tx| marks::again(tx, listed.number, &keys)).await
    }

    /// How many rows of a table of a file wait for the cluster.
    pub fn waiting(&self, listed: &Listed) -> Result<u64, Fault> {
        let file = self.file(listed.file);
        marks::count(&file.read()?, file.marking(), listed.number)
    }

    /// At most so many hours of measurements that were rolled up again since the cluster got them.
    pub fn late_hours(&self, limit: usize) -> Result<Vec<LateHour>, Fault> {
        marks::late_hours(&self.hot.read()?, self.hot.marking(), limit)
    }

    pub(super) fn marking(&self, which: Which) -> Option<&Marking> {
        self.file(which).marking()
    }

    /// From the next opening on changes leave no marks.
    pub async fn end_marks(&self) -> Result<(), WriteError> {
        if !marks::state(&self.read()?)?.is_marking {
            return Ok(());
        }
        self.core.write(Lane::Ordinary, marks::end).await?;
        // What is left of them by a crash is of an earlier stretch, and does no harm.
        for which in Which::ALL {
            while self.file(which).write(Lane::Ordinary, |tx| marks::clear(tx, CLEARED)).await? == CLEARED {}
        }
        Ok(())
    }

    /// A snapshot of the core.
    pub fn read(&self) -> Result<Snapshot, Fault> {
        self.core.read()
    }

    pub fn close(&self) {
        self.cold.close();
        self.hot.close();
        self.core.close();
    }
}

/// The same verb; what it changes leaves the idempotency key of the request, if it has one.
fn marked<R>(verb: impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send) -> impl Fn(&mut WriteTx<'_>) -> Result<R, TxError> + Send {
    let mark = Mark::current();
    move |tx| {
        let before = tx.mutations();
        let answer = verb(tx)?;
        if let Some(mark) = &mark
            && tx.mutations() > before
        {
            mark.leave(tx)?;
        }
        Ok(answer)
    }
}

/// Days that are searched for the last one of which reports were counted.
const TOLD_DAYS: u32 = 7;
/// Slots that are searched for the last sign of life of each node: 72 h.
const LAST_SEEN_SLOTS: u32 = 8_640;

fn recover_intake(hot_file: &DbFile, secrets: &Secrets, entropy: &Entropy, boot_id: &str, now: Now) -> Result<Intake, Fault> {
    let read = hot_file.read()?;
    let flushed_at = hot::meta(&read)?.flushed_at;
    let recovered = Recovered {
        acks: hot::acks(&read)?,
        last_days: hot::day_reports::over(&read, day_of(flushed_at.slot()).saturating_sub(TOLD_DAYS), u32::MAX)?,
        last_proven: hot::last_proven(&read, flushed_at.slot().minus(LAST_SEEN_SLOTS))?,
        flushed_at,
        untimed_bytes: hot::untimed_bytes(&read)?,
    };
    Ok(Intake::new(Beacons::new(secrets.beacon.clone()), entropy.u64(), boot_id.to_owned(), recovered, now))
}

fn private_folder(device: &dyn Device, dir: &Path) -> Result<(), OpenError> {
    let io = |e| OpenError::Folder(dir.to_owned(), e);
    if dir.exists() {
        let mode = fs::metadata(dir).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        return Ok(());
    }
    make_folder(device, dir).map_err(io)
}

fn describe(secrets: &Secrets, entropy: &Entropy, now: Now) -> meta::StoreMeta {
    let seed: [u8; 32] = entropy.bytes();
    meta::StoreMeta {
        schema: meta::SCHEMA,
        store_id: hex(&entropy.bytes::<16>()),
        generation: 1,
        manager_id: ManagerId::new(entropy.uuid(now.wall.0)),
        sealed_seed: secrets.seal(entropy, SEED_CONTEXT, &seed),
        created_at: now.wall,
    }
}

fn initialise_core(tx: &mut WriteTx<'_>, description: &meta::StoreMeta, now: Now) -> Result<(), TxError> {
    for name in tables::ALL {
        tx.create(name)?;
    }
    meta::put_store(tx, description)?;
    audit::append(tx, Draft::new(now, Actor::System, "store.create", description.store_id.clone()))
}

fn check_schema(found: u32) -> Result<(), OpenError> {
    match found.cmp(&meta::SCHEMA) {
        std::cmp::Ordering::Greater => Err(OpenError::NewerStore { found, known: meta::SCHEMA }),
        std::cmp::Ordering::Less => Err(OpenError::OlderStore { found, known: meta::SCHEMA }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// A crash between the making of the two files leaves a core that nobody has used: then hot may be made again.
fn core_was_used(core: &DbFile) -> Result<bool, Fault> {
    Ok(core.read()?.count(tables::AUDIT)? > 1)
}

/// Opens the core of the store in `dir` without its key, for `f`: the file, its description, and whether a key fits.
pub(super) fn with_core<R>(dir: &Path, f: impl FnOnce(&DbFile, &meta::StoreMeta, &dyn Fn(&Secrets) -> bool) -> R) -> Result<R, OpenError> {
    let device = device::real();
    let _entered = restore::enter(dir, device.as_ref())?;
    with_core_entered(dir, &device, f)
}

/// The same for who has entered the folder.
pub(super) fn with_core_entered<R>(
    dir: &Path,
    device: &Arc<dyn Device>,
    f: impl FnOnce(&DbFile, &meta::StoreMeta, &dyn Fn(&Secrets) -> bool) -> R,
) -> Result<R, OpenError> {
    let path = dir.join("core.redb");
    if !path.exists() {
        return Err(OpenError::MissingFile(path));
    }
    let core = DbFile::open_on(device, &path, 1 << 20, |_| Ok(()))?;
    let store = meta::store(&core.read()?)?;
    check_schema(store.schema)?;
    let fits = |secrets: &Secrets| open_seed(secrets, &store.sealed_seed).is_ok();
    Ok(f(&core, &store, &fits))
}

pub(super) fn open_seed(secrets: &Secrets, sealed: &[u8]) -> Result<SigningKey, OpenError> {
    let seed = secrets.open(SEED_CONTEXT, sealed).ok().and_then(|seed| <[u8; 32]>::try_from(seed).ok()).ok_or_else(|| {
        OpenError::SecretKey(format!("does not fit this store; put the right {SECRET_FILE} back, or use `keys recover --kit FILE`"))
    })?;
    Ok(SigningKey::from_seed(SecretKey(seed)))
}

/// The anchor of the trust that was earned in this boot of the machine, as of the last flush.
pub fn carried_trust(store: &Store, boot_id: &str) -> Result<Option<i64>, Fault> {
    let trust = hot::meta(&store.hot.read()?)?.trust;
    Ok(trust.filter(|anchor| anchor.boot_id == boot_id).map(|anchor| anchor.wall_minus_boot_ms))
}

/// The highest time that was committed: what the wall clock must not fall behind.
pub fn high_water(store: &Store) -> Result<Timestamp, Fault> {
    Ok(hot::meta(&store.hot.read()?)?.flushed_at)
}

/// All that is committed in a file, and a revision that the writer gives in its order: one that was given here could be above that of a commit that the snapshot does not show.
async fn fence(file: &DbFile) -> Result<(Snapshot, Option<Rev>), WriteError> {
    let rev = file.write(Lane::Ordinary, |tx| Ok(tx.shows_marks())).await?;
    let snapshot = file.read()?;
    if let Some(marking) = file.marking() {
        marking.shown();
    }
    Ok((snapshot, rev))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;
    use crate::storage::device;

    const NOW: Now = Now { wall: Timestamp(1_790_000_000_000), boot: BootMs(0), trusted: true };

    fn options(dir: &Path) -> StoreOptions {
        StoreOptions {
            dir: dir.join("data"),
            core_cache_bytes: 1 << 20,
            hot_cache_bytes: 1 << 20,
            boot_id: "boot".into(),
            device: device::real(),
        }
    }

    fn open(dir: &Path) -> Result<Store, OpenError> {
        Store::open(&options(dir), Entropy::new(), NOW)
    }

    #[test]
    fn a_store_keeps_its_identity_and_its_folder_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        let (id, key) = (first.manager_id.clone(), first.manager_key());
        assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))), "a second process is told so");
        drop(first);
        let again = open(dir.path()).unwrap();
        assert_eq!((again.manager_id.clone(), again.manager_key()), (id, key));
        let mode = |p: PathBuf| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path().join("data")), 0o700);
        assert_eq!(mode(dir.path().join("data/secret.key")), 0o600);
        assert!(audit::verify(&again.read().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn a_foreign_file_a_missing_file_and_a_foreign_key_are_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&a, &b] {
            let store = open(dir.path()).unwrap();
            store.core.write_now(|tx| audit::append(tx, Draft::new(NOW, Actor::Console, "test", ""))).unwrap();
        }
        fs::copy(a.path().join("data/hot.redb"), b.path().join("data/hot.redb")).unwrap();
        assert!(matches!(open(b.path()), Err(OpenError::Mixed { .. })));
        fs::remove_file(b.path().join("data/hot.redb")).unwrap();
        assert!(matches!(open(b.path()), Err(OpenError::MissingFile(_))));
        fs::write(a.path().join("data/secret.key"), [9; 32]).unwrap();
        assert!(matches!(open(a.path()), Err(OpenError::SecretKey(_))));
        fs::remove_file(a.path().join("data/secret.key")).unwrap();
        assert!(matches!(open(a.path()), Err(OpenError::SecretKey(_))));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        store
            .core
            .write_now(|tx| {
                let mut newer = meta::store(tx)?;
                newer.schema = meta::SCHEMA + 1;
                meta::put_store(tx, &newer)
            })
            .unwrap();
        drop(store);
        assert!(matches!(open(dir.path()), Err(OpenError::NewerStore { .. })));
    }

    #[test]
    fn a_store_of_an_earlier_release_gets_the_tables_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let database = redb::Database::open(dir.path().join("data/core.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let gone: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(tables::SETUP_STEPS.name);
        assert!(transaction.delete_table(gone).unwrap());
        transaction.commit().unwrap();
        drop(database);
        let store = open(dir.path()).unwrap();
        assert_eq!(store.read().unwrap().count(tables::SETUP_STEPS), Ok(0));
    }
}
