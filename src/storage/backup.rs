//! Backups: copies of all files of the store, of one moment, made while it is written. `FOLDER/STAMP/` has them and a signed manifest (`domain::backup`).
//!
//! Both writers are held for the moment in which the snapshots are taken: what is copied is what a power cut then would have left, so every order of commits between
//! the files that survives one survives a restore. A folder has its name once what is in it was read back, opened and verified; until then it ends in `.tmp`, and the
//! next run takes it away. Files that are sealed are linked to the copy that the backup before has. `secret.key` is in none.

pub mod check;
mod folder;
mod parts;
pub mod runs;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::copy::copy;
use super::core::ledger_check::Depth;
use super::core::meta::{self, StoreMeta};
use super::device::Device;
use super::fault::{Fault, WriteError, guarded};
use super::store::Store;
use super::table::Snapshot;
use crate::crypto::SigningKey;
use crate::domain::backup::{BackedUp, FOLDERS, FORMAT, MANIFEST, Manifest, stamp};
use crate::domain::proof::text::Hex;
use crate::domain::time::Timestamp;
use crate::storage::verify::Finding;
pub(super) use folder::give;
pub use folder::{Listed, list};
use folder::{Temporary, previous, rotate, take};
use parts::{Part, Source, cold_parts};

/// What is left free on the disk whatever there is to back up.
const LEFT_FREE: u64 = 256 << 20;
/// Cache of a copy while it is written.
const COPY_CACHE: usize = 4 << 20;
/// Both writers are held for some milliseconds; a disk that takes many seconds for a commit may need another try.
const TRIES: u32 = 5;
/// Of the files that the backup before has, this part is read again by each run: damage to a copy that all backups share is found within so many days.
const READ_AGAIN: u64 = 8;

/// Where backups go, and how many stay.
#[derive(Debug, Clone)]
pub struct Options {
    pub folder: PathBuf,
    /// At least one.
    pub keep: u32,
    /// Bytes that a file system has left; asked of the kernel but in tests.
    pub free: fn(&Path) -> io::Result<u64>,
}

impl Options {
    pub fn new(folder: PathBuf, keep: u32) -> Options {
        Options { folder, keep, free: free_bytes }
    }
}

/// Whether a folder is on the file system of the store's; None where that cannot be told, because it is not there yet.
pub fn same_disk(folder: &Path, store: &Path) -> Option<bool> {
    let disk = |folder: &Path| fs::metadata(folder).ok().map(|found| found.dev());
    match disk(folder) {
        Some(of_folder) => Some(of_folder == disk(store)?),
        None => folder.starts_with(store).then_some(true),
    }
}

pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    Ok(rustix::fs::statvfs(folder).map(|found| found.f_bavail.saturating_mul(found.f_frsize))?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BackupPhase)]
pub enum Phase {
    /// Copies are written.
    Copying,
    /// They are read back from the disk.
    Reading,
    /// They are opened, and books and chains checked.
    Verifying,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub bytes: u64,
    /// Of this phase; copies may come out smaller.
    pub total: u64,
}

/// A backup that was made, and is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub name: String,
    pub folder: PathBuf,
    pub manifest: Manifest,
    /// Bytes of files that were there before and are shared.
    pub linked_bytes: u64,
    /// What is damaged in the store: archives and files of measurements that are not in it, and pages of those that are.
    pub left_out: Vec<String>,
    /// Backups that were taken away for it.
    pub removed: Vec<String>,
}

/// Why there is no new backup.
#[derive(Debug)]
pub enum Failed {
    /// The disk, its room, or the folder.
    Disk(String),
    /// The copy is no good store; neither is then what it was copied from.
    Unsound(String),
    /// The manager is stopping.
    Cancelled,
    Fault(Fault),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Disk(why) => f.write_str(why),
            Failed::Unsound(why) => write!(f, "the copy did not verify: {why}; run `verify` on the store"),
            Failed::Cancelled => f.write_str("the manager was stopped"),
            Failed::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Failed {}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Disk(error.to_string())
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Failed {
        Failed::Fault(Fault::Database(error.to_string()))
    }
}

/// Hears how far a backup is; false ends it.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Makes a backup, and takes away those beyond `keep`. For a thread that may wait: it reads and writes all of the store.
pub fn make(store: &Store, options: &Options, now: Timestamp, watch: Watch<'_>) -> Result<Made, Failed> {
    let Options { folder, keep, free } = options;
    let _one_at_a_time = take(store.device.as_ref(), folder, store.dir())?;
    let before = previous(folder, store);
    let (core, hot) = of_one_moment(store, &|| ())?;
    let described = meta::store(&core)?;
    let mut parts = vec![Part::of_snapshot("core.redb", store.core.path(), core), Part::of_snapshot("hot.redb", store.hot.path(), hot)];
    parts.extend(cold_parts(store)?);
    let mut left_out = Vec::new();
    parts.extend(parts::archives(store, &mut left_out)?);
    let to_copy = |part: &&Part<'_>| before.as_ref().is_none_or(|before| before.same(part).is_none());
    let need: u64 = parts.iter().filter(to_copy).map(|part| part.bytes).sum();
    let left = free(folder)?;
    if left < need.saturating_add(LEFT_FREE) {
        let (left, need) = (left >> 20, need.div_ceil(1 << 20) + (LEFT_FREE >> 20));
        return Err(Failed::Disk(format!("{} has {left} MB left, and a backup takes {need} MB with what stays free", folder.display())));
    }
    let name = folder::free_name(folder, &stamp(now))?;
    let temporary = Temporary::create(folder, &name)?;
    for folder in FOLDERS {
        DirBuilder::new().mode(0o700).create(temporary.path().join(folder))?;
    }

    let mut copying = Copying { device: store.device.as_ref(), total: need, done: 0, damaged: Vec::new(), watch };
    let (mut files, mut fresh, mut linked_bytes) = (Vec::new(), Vec::new(), 0);
    for (number, part) in parts.into_iter().enumerate() {
        let to = temporary.path().join(&part.name);
        if let Some((from, known)) = before.as_ref().and_then(|before| before.same(&part)) {
            let is_looked_at = (number as u64 + now.0.unsigned_abs() / 86_400_000).is_multiple_of(READ_AGAIN);
            if fs::hard_link(from, &to).is_ok() && (!is_looked_at || check::is_whole(&to, known)?) {
                linked_bytes += known.bytes;
                files.push(known.clone());
                continue;
            }
            let _ = fs::remove_file(&to);
        }
        let (name, revision) = (part.name.clone(), part.revision);
        if !copying.part(part, &to)? {
            continue;
        }
        fresh.push(files.len());
        files.push(BackedUp { name, bytes: 0, sha256: Hex([0; 32]), revision });
    }
    let Copying { watch, damaged, .. } = copying;
    for (name, fault) in damaged {
        store.cold.note_damage_of(name.trim_start_matches("cold/"), fault);
    }
    left_out.extend(store.cold.damaged().into_iter().map(|(name, why)| format!("cold/{name}: {why}")));
    read_back(temporary.path(), &mut files, &fresh, watch)?;
    let manifest = signed(&described, &store.signing_key, now, files);
    let device = store.device.as_ref();
    put_manifest(device, temporary.path(), &manifest)?;
    for folder in FOLDERS {
        device.sync_folder(&temporary.path().join(folder))?;
    }
    device.sync_folder(temporary.path())?;

    going(watch, Progress { phase: Phase::Verifying, bytes: 0, total: 0 })?;
    let findings = check::verify(temporary.path(), &manifest, Depth::SinceCheckpoint).map_err(Failed::Unsound)?;
    let (of_measurements, of_rest): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|found| found.part == check::MEASUREMENTS);
    sound(&of_rest)?;
    left_out.extend(of_measurements.into_iter().filter_map(|found| Some(format!("pages of cold/{}", found.wrong?))));
    give(temporary.path(), store.dir())?;
    temporary.keep(device, folder, &name)?;
    let removed = rotate(device, folder, &name, *keep, &manifest.store_id);
    Ok(Made { name, folder: folder.clone(), manifest, linked_bytes, left_out, removed })
}

fn sound(findings: &[Finding]) -> Result<(), Failed> {
    let wrong: Vec<String> = findings.iter().filter_map(|found| Some(format!("{}: {}", found.part, found.wrong.as_ref()?))).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failed::Unsound(wrong.join("; "))) }
}

fn going(watch: &mut dyn FnMut(Progress) -> bool, progress: Progress) -> Result<(), Failed> {
    if watch(progress) { Ok(()) } else { Err(Failed::Cancelled) }
}

/// Snapshots of core and hot between which nothing was committed. `between` runs between the two.
fn of_one_moment(store: &Store, between: &dyn Fn()) -> Result<(Snapshot, Snapshot), Failed> {
    for _ in 0..TRIES {
        // Hot first: its commits are the long ones, and nobody waits for their answers.
        let hot = store.hot.hold()?;
        let core = store.core.hold()?;
        let of_core = store.core.read()?;
        between();
        let read = (of_core, store.hot.read()?);
        if hot.is_held() && core.is_held() {
            return Ok(read);
        }
    }
    Err(Failed::Disk("the disk is too slow for a snapshot of both files".into()))
}

struct Copying<'a> {
    device: &'a dyn Device,
    total: u64,
    done: u64,
    /// Files of measurements that could not be read, with what was found.
    damaged: Vec<(String, Fault)>,
    watch: Watch<'a>,
}

impl Copying<'_> {
    fn told(&mut self, bytes: u64) -> Result<(), Failed> {
        going(self.watch, Progress { phase: Phase::Copying, bytes: (self.done + bytes).min(self.total), total: self.total })
    }

    /// False when it has expired since, or is a damaged file of measurements, which keeps no backup of the rest from being made.
    fn part(&mut self, part: Part<'_>, to: &Path) -> Result<bool, Failed> {
        self.told(0)?;
        let copied = match part.source {
            Source::Snapshot(snapshot) => guarded(|| Ok(self.snapshot(&snapshot, to)))?,
            Source::Redb(open) => match open()? {
                Some(snapshot) => match guarded(|| Ok(self.snapshot(&snapshot, to))) {
                    Err(damage) | Ok(Err(Failed::Fault(damage))) if damage.is_damage() => {
                        self.damaged.push((part.name, damage));
                        // It may not even have begun.
                        let _ = fs::remove_file(to);
                        return Ok(false);
                    }
                    copied => copied?,
                },
                None => return Ok(false),
            },
            Source::File(from) => self.file(&from, to),
        };
        copied.map_err(|failed| match failed {
            Failed::Disk(why) => Failed::Disk(format!("{}: {why}", part.name)),
            other => other,
        })?;
        self.done += part.bytes;
        Ok(true)
    }

    fn snapshot(&mut self, from: &Snapshot, to: &Path) -> Result<(), Failed> {
        let mut stopped = false;
        let copied = copy(from, to, COPY_CACHE, |copied| {
            stopped = self.told(copied.bytes).is_err();
            if stopped { Err(Fault::Invariant("a backup was stopped".into())) } else { Ok(()) }
        });
        match copied {
            // What closes a file writes to it.
            Ok((database, _)) => drop(database),
            Err(_) if stopped => return Err(Failed::Cancelled),
            Err(Fault::Database(why)) => return Err(Failed::Disk(why)),
            Err(fault) => return Err(fault.into()),
        }
        Ok(self.device.sync_file(to)?)
    }

    fn file(&mut self, from: &Path, to: &Path) -> Result<(), Failed> {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let mut read = 0;
        let mut from = File::open(from)?;
        loop {
            let copied = io::copy(&mut io::Read::take(&mut from, check::STEP), &mut out)?;
            if copied == 0 {
                return Ok(self.device.sync_file(to)?);
            }
            read += copied;
            self.told(read)?;
        }
    }
}

/// Lengths and hashes of what was written, as the disk has it.
fn read_back(folder: &Path, files: &mut [BackedUp], fresh: &[usize], watch: &mut dyn FnMut(Progress) -> bool) -> Result<(), Failed> {
    let length = |place: &usize| fs::metadata(folder.join(&files[*place].name)).map(|found| found.len());
    let total: u64 = fresh.iter().map(length).sum::<io::Result<u64>>()?;
    let mut before = 0;
    for place in fresh {
        let path = folder.join(&files[*place].name);
        going(watch, Progress { phase: Phase::Reading, bytes: before, total })?;
        let mut stopped = false;
        let read = check::hash(&path, &mut |bytes| {
            stopped = !watch(Progress { phase: Phase::Reading, bytes: before + bytes, total });
            !stopped
        });
        let (bytes, sha256) = match read {
            Err(_) if stopped => return Err(Failed::Cancelled),
            read => read?,
        };
        before += bytes;
        let file = &mut files[*place];
        (file.bytes, file.sha256) = (bytes, Hex(sha256));
    }
    Ok(())
}

/// What a backup of these files says of itself.
pub(super) fn signed(described: &StoreMeta, key: &SigningKey, at: Timestamp, files: Vec<BackedUp>) -> Manifest {
    let mut manifest = Manifest {
        format: FORMAT.into(),
        release: env!("CARGO_PKG_VERSION").into(),
        schema: described.schema,
        store_id: described.store_id.clone(),
        manager_id: described.manager_id.to_string(),
        generation: described.generation,
        made_at: at.rfc3339(),
        files,
        manager_key: Hex(key.public().0),
        signature: Hex([0; 64]),
    };
    manifest.signature = Hex(key.sign(&manifest.signed_bytes()));
    manifest
}

pub(super) fn put_manifest(device: &dyn Device, folder: &Path, manifest: &Manifest) -> Result<(), Failed> {
    let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
    text.push(b'\n');
    let path = folder.join(MANIFEST);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&text)?;
    Ok(device.sync_file(&path)?)
}

#[cfg(test)]
mod tests;
