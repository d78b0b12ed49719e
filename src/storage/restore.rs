//! Puts a backup in the place of a store, while no manager runs on it.
//!
//! What is restored is made ready beside the store, in `restore.tmp`: copied, checked, given its new generation, verified. One rename, to `restore.ready`, decides: before it
//! the store is what it was, from then on whoever opens it finishes the exchange first (`finish`), file by file, in an order that may be cut anywhere and begun again. The
//! former files are moved to `before-restore-STAMP`, and nobody deletes them.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::backup::check::{self, Refused};
use super::backup::{free_bytes, give};
use super::core::cold_files::{self, Difference};
use super::core::ledger_check::Depth;
use super::core::{audit, meta, money, privacy, subject_keys, tables};
use super::device::{Device, make_folder};
use super::fault::{Fault, OpenError, TxError, WriteError};
use super::hot;
use super::recovery::Contents;
use super::replica::marks;
use super::secrets::{FILE as SECRET_FILE, Secrets};
use super::store::{Store, StoreOptions, open_seed, with_core_entered};
use super::table::{Read, WriteTx};
use crate::crypto::{Entropy, PublicKey, Sha256};
use crate::domain::audit::{ANONYMOUS, Act, Actor};
use crate::domain::backup::{FOLDERS, Manifest, stamp};
use crate::domain::ids::{NodeId, UserId};
use crate::domain::money_state::{Freeze, FreezeKind};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;

const STAGING: &str = "restore.tmp";
const READY: &str = "restore.ready";
const PLAN: &str = "restore.json";
const ASIDE: &str = "before-restore-";
/// What is exchanged, in this order.
const EXCHANGED: [&str; 5] = [SECRET_FILE, "core.redb", "hot.redb", "archive", "cold"];
/// What is left free on the disk.
const LEFT_FREE: u64 = 64 << 20;
const COPY_PIECE: usize = 1 << 20;

/// What the exchange needs to know when somebody else finishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    /// Folder for the former files.
    aside: String,
    /// Name of the backup.
    backup: String,
}

/// A restore that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub manifest: Manifest,
    pub generation: u32,
    /// Where the former files are; None: there were none.
    pub aside: Option<PathBuf>,
    /// Subjects that were erased since the backup, and are again.
    pub erased: Vec<String>,
    /// Those that could not be, and why: somebody has to.
    pub not_erased: Vec<(String, String)>,
    /// Why the former store could not be asked whom it had erased.
    pub former_unread: Option<String>,
}

#[derive(Debug)]
pub enum RestoreError {
    /// A manager, or another restore, has the folder.
    InUse(PathBuf),
    Refused(Refused),
    /// The folder holds a store, and the backup is of another one.
    OtherStore {
        here: String,
        backup: String,
    },
    /// `secret.key` is missing, or is of another store, and there is no kit.
    NeedsKit(String),
    /// The kit is of another store.
    OtherKit,
    /// The manifest is signed, and not by the manager whose store it has.
    OtherSigner,
    NoRoom {
        left: u64,
        need: u64,
    },
    /// What was made ready is no good store: a fault of this program or of the disk.
    Unsound(String),
    Disk(String),
    Open(OpenError),
    /// Tests stop it between two steps, as a power cut would.
    #[cfg(test)]
    Cut,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::InUse(dir) => write!(f, "{} is in use: stop the manager first", dir.display()),
            RestoreError::Refused(refused) => refused.fmt(f),
            RestoreError::OtherStore { here, backup } => {
                write!(
                    f,
                    "the folder holds store {here}, and the backup is of store {backup}: give it another folder, or take a backup of this store"
                )
            }
            RestoreError::NeedsKit(why) => write!(f, "secret.key {why}: name the recovery kit of this manager with --kit FILE"),
            RestoreError::OtherKit => f.write_str("the recovery kit is of another manager than the backup"),
            RestoreError::OtherSigner => {
                f.write_str("the manifest is not signed by the manager whose store the backup has: it was altered; take another backup")
            }
            RestoreError::NoRoom { left, need } => {
                write!(f, "the disk has {} MB left, and the restore takes {} MB", left >> 20, need.div_ceil(1 << 20))
            }
            RestoreError::Unsound(why) => write!(f, "what was restored does not verify, and was not put in place: {why}"),
            RestoreError::Disk(why) => f.write_str(why),
            RestoreError::Open(error) => error.fmt(f),
            #[cfg(test)]
            RestoreError::Cut => f.write_str("cut"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<Refused> for RestoreError {
    fn from(refused: Refused) -> RestoreError {
        RestoreError::Refused(refused)
    }
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> RestoreError {
        RestoreError::Disk(error.to_string())
    }
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> RestoreError {
        RestoreError::Open(error)
    }
}

impl From<Fault> for RestoreError {
    fn from(fault: Fault) -> RestoreError {
        RestoreError::Disk(fault.to_string())
    }
}

impl From<WriteError> for RestoreError {
    fn from(error: WriteError) -> RestoreError {
        RestoreError::Disk(error.to_string())
    }
}

/// What is restored, where, and by whom.
pub struct Order<'a> {
    /// Folder of the backup.
    pub from: &'a Path,
    /// Folder of the store, which may hold none yet.
    pub dir: &'a Path,
    /// An opened recovery kit, for where `secret.key` is lost.
    pub kit: Option<&'a Contents>,
    pub boot_id: String,
    pub now: Now,
    /// Where the files lie, those of the backup among them.
    pub device: Arc<dyn Device>,
}

/// The folder of a store while its files are exchanged: nobody opens the store meanwhile.
fn take(dir: &Path) -> Result<File, RestoreError> {
    let folder = File::open(dir)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(RestoreError::InUse(dir.to_owned())),
        // File systems without locks: the files of a running manager are locked by redb where any are.
        Err(TryLockError::Error(_)) => Ok(folder),
    }
}

/// Enters the folder of a store to open it: a restore that was cut is finished, and none begins while the answer lives.
pub(super) fn enter(dir: &Path, device: &dyn Device) -> Result<File, OpenError> {
    let io = |error| OpenError::Folder(dir.to_owned(), error);
    let folder = File::open(dir).map_err(io)?;
    if is_pending(dir) {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(dir.to_owned())),
            Err(TryLockError::Error(_)) | Ok(()) => (),
        }
        finish(dir, device, &mut |_| Ok(()))
            .map_err(|error| io(io::Error::other(format!("a restore that was cut cannot be finished: {error}"))))?;
        tracing::warn!(dir = %dir.display(), "a restore that was cut is finished");
        let _ = folder.unlock();
    }
    match folder.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(_)) => Ok(folder),
        Ok(()) => {
            // Nobody restores now: this was cut before it was decided.
            let _ = fs::remove_dir_all(dir.join(STAGING));
            Ok(folder)
        }
    }
}

/// Folder of what comes from the cluster, in that of the store.
pub const FETCHED: &str = "restore.cluster";

/// Whether an exchange was decided and is not finished.
pub fn is_pending(dir: &Path) -> bool {
    dir.join(READY).is_dir()
}

/// Hears of bytes of the backup that are done, and of all.
pub type Watch<'a> = &'a mut dyn FnMut(u64, u64);
/// Hears of each step, and may stop there.
type Steps<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), RestoreError>;

/// Restores a backup. None: there was one that had been cut, and it is finished now.
pub fn restore(order: &Order<'_>, watch: Watch<'_>) -> Result<Option<Restored>, RestoreError> {
    in_steps(order, watch, &mut |_| Ok(()))
}

fn in_steps(order: &Order<'_>, watch: Watch<'_>, step: Steps<'_>) -> Result<Option<Restored>, RestoreError> {
    let (dir, device) = (order.dir, order.device.as_ref());
    if !dir.exists() {
        make_folder(device, dir)?;
    }
    let _alone = take(dir)?;
    if is_pending(dir) {
        finish(dir, device, step)?;
        return Ok(None);
    }
    let outcome = exchange(order, watch, step);
    if outcome.is_err() && !is_pending(dir) && !is_cut(&outcome) {
        // What was refused takes no room.
        let _ = fs::remove_dir_all(dir.join(STAGING));
    }
    outcome.map(Some)
}

/// A power cut tidies nothing up.
fn is_cut(outcome: &Result<Restored, RestoreError>) -> bool {
    match outcome {
        #[cfg(test)]
        Err(RestoreError::Cut) => true,
        _ => false,
    }
}

fn exchange(order: &Order<'_>, watch: Watch<'_>, step: Steps<'_>) -> Result<Restored, RestoreError> {
    let Order { from, dir, now, .. } = *order;
    let device = order.device.as_ref();
    let manifest = check::manifest(from)?;
    check::hashes(from, &manifest, &mut |bytes, total| watch(bytes / 2, total))?;
    let (secrets, is_new_key) = secrets(order, &manifest)?;
    let former = Former::look(dir, &order.device);
    if let Former::Store { store_id, .. } = &former
        && *store_id != manifest.store_id
    {
        return Err(RestoreError::OtherStore { here: store_id.clone(), backup: manifest.store_id });
    }
    let (left, need) = (free_bytes(dir)?, manifest.bytes().saturating_add(LEFT_FREE));
    if left < need {
        return Err(RestoreError::NoRoom { left, need });
    }

    let staging = dir.join(STAGING);
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    DirBuilder::new().mode(0o700).create(&staging)?;
    step("made the staging folder")?;
    copy_in(device, from, &staging, &manifest, watch)?;
    step("copied")?;
    let (generation, erased, not_erased) = renew(order, &staging, &manifest, &secrets, &former)?;
    step("renewed")?;
    verify(&staging, &manifest, generation)?;
    step("verified")?;
    if is_new_key {
        Secrets::create(&staging, secrets.root().clone())?;
    }
    let name = from.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let plan = Plan { aside: free_aside(dir, now)?, backup: name };
    put_plan(device, &staging, &plan)?;
    step("planned")?;
    give(&staging, dir)?;
    sync_all(device, &staging)?;
    device.rename(&staging, &dir.join(READY))?;
    device.sync_folder(dir)?;
    step("decided")?;
    finish(dir, device, step)?;
    let aside = Some(dir.join(&plan.aside)).filter(|aside| aside.is_dir());
    let former_unread = match former {
        Former::Unreadable(why) => Some(why),
        Former::None | Former::Store { .. } => None,
    };
    Ok(Restored { manifest, generation, aside, erased, not_erased, former_unread })
}

/// The key that opens the backup, and whether it has to be put into the folder. The one that is there if it fits, else that of the kit.
fn secrets(order: &Order<'_>, manifest: &Manifest) -> Result<(Secrets, bool), RestoreError> {
    let core = check::open(&order.from.join("core.redb"))?;
    let described = meta::store(&core.snapshot)?;
    let signer_of = |secrets: &Secrets| open_seed(secrets, &described.sealed_seed).ok().map(|key| key.public());
    let present = Secrets::load(order.dir)?;
    let fitting = present.as_ref().and_then(|secrets| Some((secrets.clone(), signer_of(secrets)?, false)));
    let of_kit = || -> Result<(Secrets, PublicKey, bool), RestoreError> {
        let why = if present.is_some() { "does not fit the backup" } else { "is missing" };
        let kit = order.kit.ok_or_else(|| RestoreError::NeedsKit(why.into()))?;
        let secrets = Secrets::new(kit.data_key.clone());
        match signer_of(&secrets) {
            Some(key) if kit.manager_id == described.manager_id => Ok((secrets, key, true)),
            _ => Err(RestoreError::OtherKit),
        }
    };
    let (secrets, signer, is_new_key) = fitting.map_or_else(of_kit, Ok)?;
    // The seed lies in the backup under a key that is not: who signed the manifest had both.
    if signer.0 != manifest.manager_key.0 {
        return Err(RestoreError::OtherSigner);
    }
    Ok((secrets, is_new_key))
}

/// What the folder held before.
enum Former {
    None,
    Store {
        store_id: String,
        generation: u32,
        erased: Vec<String>,
    },
    /// Damaged, or of a newer release.
    Unreadable(String),
}

impl Former {
    fn look(dir: &Path, device: &Arc<dyn Device>) -> Former {
        if !dir.join("core.redb").exists() {
            return Former::None;
        }
        let looked = with_core_entered(dir, device, |core, store, _| {
            let mut erased = Vec::new();
            core.read()?.for_each(tables::SUBJECT_KEYS, .., |subject, row| {
                if row.sealed.is_none() {
                    erased.push(subject);
                }
                std::ops::ControlFlow::Continue(())
            })?;
            Ok::<Former, Fault>(Former::Store { store_id: store.store_id.clone(), generation: store.generation, erased })
        });
        match looked {
            Ok(Ok(found)) => found,
            Ok(Err(fault)) => Former::Unreadable(fault.to_string()),
            Err(error) => Former::Unreadable(error.to_string()),
        }
    }
}

fn copy_in(device: &dyn Device, from: &Path, staging: &Path, manifest: &Manifest, watch: Watch<'_>) -> Result<(), RestoreError> {
    for folder in FOLDERS {
        DirBuilder::new().mode(0o700).create(staging.join(folder))?;
    }
    let (total, mut done) = (manifest.bytes(), 0);
    let mut piece = vec![0; COPY_PIECE];
    for file in &manifest.files {
        let named = |error: io::Error| RestoreError::Disk(format!("{}: {error}", file.name));
        let mut read = File::open(from.join(&file.name)).map_err(named)?;
        let to = staging.join(&file.name);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to).map_err(named)?;
        let mut hash = Sha256::new();
        loop {
            let bytes = read.read(&mut piece).map_err(named)?;
            if bytes == 0 {
                break;
            }
            hash.update(&piece[..bytes]);
            out.write_all(&piece[..bytes]).map_err(named)?;
            done += bytes as u64;
            watch((total + done) / 2, total);
        }
        device.sync_file(&to).map_err(named)?;
        // It was whole a moment ago: the disk gives other bytes each time, or somebody writes to the backup.
        if hash.finish() != file.sha256.0 {
            return Err(Refused::Damaged(file.name.clone()).into());
        }
    }
    Ok(())
}

/// Who was erased again, and who could not be, with the reason.
type Erased = (Vec<String>, Vec<(String, String)>);

/// Makes the copy another life of the store: a generation that no file of an earlier one has, money frozen, those who were erased since erased again, and all that in the audit log.
/// A store of an earlier release is brought up to this one by being opened.
fn renew(
    order: &Order<'_>,
    staging: &Path,
    manifest: &Manifest,
    secrets: &Secrets,
    former: &Former,
) -> Result<(u32, Vec<String>, Vec<(String, String)>), RestoreError> {
    let Order { now, .. } = *order;
    let options = StoreOptions {
        dir: staging.to_owned(),
        core_cache_bytes: 8 << 20,
        hot_cache_bytes: 8 << 20,
        boot_id: order.boot_id.clone(),
        device: Arc::clone(&order.device),
    };
    let store = Store::open_with(&options, secrets.clone(), Entropy::new(), now)?;
    let before = match former {
        Former::Store { generation, .. } => *generation,
        Former::None | Former::Unreadable(_) => 0,
    };
    let generation = before.max(store.generation) + 1;
    let written_until = hot::meta(&store.hot.read()?)?.flushed_at;
    let act = Act { actor: Actor::Console, ..Act::system(now) };
    let (made_at, of) = (manifest.made_at.clone(), manifest.store_id.clone());
    let noted = act.clone();
    let present = store.cold.present()?;
    store.core.write_now(move |tx| {
        let described = meta::store(tx)?;
        meta::put_store(tx, &meta::StoreMeta { generation, ..described })?;
        let missing = cold_files::difference(tx, &present)?.missing;
        cold_files::note(tx, &Difference { missing, ..Difference::default() }, "is not in the backup that was restored", now)?;
        // What the cluster has may be of a later time than this: all of it is compared.
        marks::end(tx)?;
        let reason = format!("the store was restored from a backup of {made_at}");
        audit::append(tx, noted.draft("store.restore", of.clone()).because(format!("{reason}, as generation {generation}")))?;
        // What left the wallet since is unknown here.
        money::note_absence(tx, written_until)?;
        let frozen = Freeze { kind: FreezeKind::Restored, reason, since: now.wall, by: None };
        money::change(tx, noted.draft("money.freeze", ""), |state| Ok(state.freeze(frozen)))
    })?;
    store.hot.write_now(move |tx| hot::set_generation(tx, generation))?;
    let (erased, not_erased) = match former {
        Former::Store { erased, .. } => erase_again(&store, erased, &act)?,
        Former::None | Former::Unreadable(_) => Erased::default(),
    };
    store.close();
    Ok((generation, erased, not_erased))
}

fn erase_again(store: &Store, subjects: &[String], act: &Act) -> Result<Erased, RestoreError> {
    let (mut erased, mut not_erased) = Erased::default();
    for subject in subjects {
        if subject_keys::is_erased(&store.read()?, subject)? {
            continue;
        }
        let (directory, act, of) = (store.directory.clone(), act.clone(), subject.clone());
        let written = store.core.write_now(move |tx| {
            let reason = "was erased before the store was restored";
            let (user, node) = (UserId::parse(&of).ok(), NodeId::parse(&of).ok());
            let done = match (user, node) {
                _ if of.starts_with(ANONYMOUS) => subject_keys::erase(tx, &of, act.now.wall).map(drop),
                _ if of.starts_with(super::secrets::VOUCHED) => privacy::erase_vouched(tx, &of, &act, reason),
                (_, Some(node)) if privacy::node_ever(tx, &node)?.is_some() => privacy::erase_operator(tx, &directory, &node, &act, reason),
                (Some(user), _) => privacy::erase_person(tx, &user, &act, reason),
                _ => Err(Refusal::UserNotFound.into()),
            };
            match done {
                // The backup is from before they came: their key is never made, should they be met again.
                Err(TxError::Refused(Refusal::UserNotFound | Refusal::NodeNotFound)) => forget(tx, &of, &act),
                done => done,
            }
        });
        match written {
            Ok(()) => erased.push(subject.clone()),
            Err(WriteError::Refused(why)) => not_erased.push((subject.clone(), why.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((erased, not_erased))
}

fn forget(tx: &mut WriteTx<'_>, subject: &str, act: &Act) -> Result<(), TxError> {
    subject_keys::erase(tx, subject, act.now.wall).map(drop)
}

/// The copy as it will be, opened and checked from end to end.
fn verify(staging: &Path, manifest: &Manifest, generation: u32) -> Result<(), RestoreError> {
    let renewed = Manifest { generation, schema: meta::SCHEMA, ..manifest.clone() };
    let findings = check::verify(staging, &renewed, Depth::Full).map_err(RestoreError::Unsound)?;
    // Pages of measurements that are lost were lost before.
    let kept = findings.iter().filter(|found| found.part != check::MEASUREMENTS);
    let wrong: Vec<String> = kept.filter_map(|found| Some(format!("{}: {}", found.part, found.wrong.as_ref()?))).collect();
    if wrong.is_empty() { Ok(()) } else { Err(RestoreError::Unsound(wrong.join("; "))) }
}

fn free_aside(dir: &Path, now: Now) -> Result<String, RestoreError> {
    let first = format!("{ASIDE}{}", stamp(now.wall));
    let mut names = std::iter::once(first.clone()).chain((2..100).map(|number| format!("{first}-{number}")));
    names.find(|name| !dir.join(name).exists()).ok_or_else(|| RestoreError::Disk("too many restores of one second".into()))
}

fn put_plan(device: &dyn Device, staging: &Path, plan: &Plan) -> Result<(), RestoreError> {
    let path = staging.join(PLAN);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(&serde_json::to_vec(plan).map_err(io::Error::from)?)?;
    Ok(device.sync_file(&path)?)
}

/// All that is below: redb has synced its files, and their folders have not been.
fn sync_all(device: &dyn Device, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_all(device, &path)? } else { device.sync_file(&path)? }
    }
    device.sync_folder(folder)
}

/// Exchanges the files. It may be cut between any two of its steps, and is begun again from what lies there.
fn finish(dir: &Path, device: &dyn Device, step: Steps<'_>) -> Result<(), RestoreError> {
    let ready = dir.join(READY);
    let plan = match fs::read(ready.join(PLAN)) {
        Ok(text) => serde_json::from_slice::<Plan>(&text).map_err(io::Error::from)?,
        // The plan goes last.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::remove_dir(&ready)?;
            return Ok(device.sync_folder(dir)?);
        }
        Err(error) => return Err(error.into()),
    };
    let is_plain = plan.aside.starts_with(ASIDE) && !plan.aside.contains('/');
    if !is_plain {
        return Err(RestoreError::Disk(format!("{READY}/{PLAN} names the folder {:?}", plan.aside)));
    }
    let aside = dir.join(&plan.aside);
    for name in EXCHANGED {
        let (new, here) = (ready.join(name), dir.join(name));
        if !new.exists() {
            continue;
        }
        if here.exists() {
            if !aside.exists() {
                DirBuilder::new().mode(0o700).create(&aside)?;
                give(&aside, dir)?;
                step("made the folder for the former files")?;
            }
            device.rename(&here, &aside.join(name))?;
            // The way back is safe before the way on.
            device.sync_folder(&aside)?;
            device.sync_folder(dir)?;
            step("moved a former file aside")?;
        }
        device.rename(&new, &here)?;
        device.sync_folder(dir)?;
        step("moved a new file in")?;
    }
    device.remove(&ready.join(PLAN))?;
    step("removed the plan")?;
    fs::remove_dir(&ready)?;
    Ok(device.sync_folder(dir)?)
}

#[cfg(test)]
mod tests;
