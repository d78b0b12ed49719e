//! The folder that backups lie in, one below it for each.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use super::parts::Part;
use super::{Failed, check};
use crate::domain::backup::{BackedUp, Manifest, is_stamp};
use crate::storage::device::{Device, make_folder};
use crate::storage::store::Store;

/// What is being made, or taken away.
const UNFINISHED: &str = ".tmp";
/// Backups that are looked at in one folder.
const OWN: [&str; 4] = ["cold", "archive", "logs", "tls"];
const MAX_LISTED: usize = 4_096;

/// Makes the folder, private, for one backup at a time: nobody else makes one there while the answer lives. What earlier runs did not finish goes.
pub(super) fn take(device: &dyn Device, folder: &Path, data_dir: &Path) -> Result<File, Failed> {
    let cannot = |error: std::io::Error| Failed::Disk(format!("{}: {error}", folder.display()));
    if is_of_store(folder, data_dir).map_err(cannot)? {
        return Err(Failed::Disk(format!("{} is a folder of the store itself: name another one", folder.display())));
    }
    if !folder.is_dir() {
        make_folder(device, folder).map_err(cannot)?;
        give(folder, data_dir).map_err(cannot)?;
    }
    make_private(folder)?;
    let lock = File::open(folder).map_err(cannot)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(Failed::Disk(format!("another backup is being made in {}", folder.display()))),
        // File systems that know no locks are nobody else's.
        Err(TryLockError::Error(_)) | Ok(()) => (),
    }
    for name in names(folder) {
        if name.strip_suffix(UNFINISHED).is_some_and(is_stamp) {
            fs::remove_dir_all(folder.join(name)).map_err(cannot)?;
        }
    }
    Ok(lock)
}

/// The data folder, or one in it that the store keeps its own files in.
fn is_of_store(folder: &Path, data_dir: &Path) -> std::io::Result<bool> {
    let (folder, data_dir) = (resolved(folder)?, resolved(data_dir)?);
    let Ok(within) = folder.strip_prefix(&data_dir) else { return Ok(false) };
    Ok(within.components().next().is_none_or(|first| OWN.iter().any(|own| first.as_os_str() == *own)))
}

/// As the file system has it, as far as it is there already.
fn resolved(folder: &Path) -> std::io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    for there in folder.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), folder.strip_prefix(there)) {
            return Ok(real.join(rest));
        }
    }
    Ok(folder)
}

/// What root makes belongs to whom the store belongs: the manager has to open it, and to take it away one day.
pub(in crate::storage) fn give(path: &Path, data_dir: &Path) -> std::io::Result<()> {
    let owner = fs::metadata(data_dir)?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), data_dir)?;
        }
    }
    lchown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Copies of a store are for the eyes of the manager's user alone. A folder that holds other things is not closed to those who use them.
fn make_private(folder: &Path) -> Result<(), Failed> {
    let mode = || fs::metadata(folder).map(|found| found.permissions().mode() & 0o077);
    if mode()? == 0 {
        return Ok(());
    }
    let is_ours = |name: &String| is_stamp(name.strip_suffix(UNFINISHED).unwrap_or(name)) || name == "lost+found";
    if names(folder).iter().all(is_ours) {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    if mode()? == 0 {
        return Ok(());
    }
    Err(Failed::Disk(format!("{} is open to other users, and a backup is not for them: give it a folder of its own", folder.display())))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).take(MAX_LISTED).collect();
    names.sort();
    names
}

/// A folder that goes when it is not given its name.
pub(super) struct Temporary {
    path: PathBuf,
    is_kept: bool,
}

impl Temporary {
    pub fn create(folder: &Path, name: &str) -> Result<Temporary, Failed> {
        let path = folder.join(format!("{name}{UNFINISHED}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Temporary { path, is_kept: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn keep(mut self, device: &dyn Device, folder: &Path, name: &str) -> Result<(), Failed> {
        device.rename(&self.path, &folder.join(name))?;
        self.is_kept = true;
        Ok(device.sync_folder(folder)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The name itself, or with a number where a backup of the same second has it.
pub(super) fn free_name(folder: &Path, stamp: &str) -> Result<String, Failed> {
    let numbered = (2..100).map(|number| format!("{stamp}-{number}"));
    let mut all = std::iter::once(stamp.to_owned()).chain(numbered);
    all.find(|name| !folder.join(name).exists()).ok_or_else(|| Failed::Disk("too many backups of one second".into()))
}

/// A backup of this store that the next one may share files with.
pub(super) struct Previous {
    folder: PathBuf,
    manifest: Manifest,
}

impl Previous {
    /// The copy of this part as it still is.
    pub fn same(&self, part: &Part<'_>) -> Option<(PathBuf, &BackedUp)> {
        let known = self.manifest.file(&part.name).filter(|known| known.revision == part.revision && part.revision != 0)?;
        let path = self.folder.join(&part.name);
        let is_there = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == known.bytes);
        is_there.then_some((path, known))
    }
}

/// The newest one that a key of this manager signed in this life of the store: revisions of another life say nothing about this one's files.
pub(super) fn previous(folder: &Path, store: &Store) -> Option<Previous> {
    let keys = store.manager_keys();
    names(folder).into_iter().rev().filter(|name| is_stamp(name)).find_map(|name| {
        let folder = folder.join(name);
        let manifest = check::manifest(&folder).ok()?;
        let is_own = keys.iter().any(|key| key.0 == manifest.manager_key.0);
        (is_own && manifest.generation == store.generation).then_some(Previous { folder, manifest })
    })
}

/// Takes away the oldest backups of this store beyond `keep`; never the one that was just made and verified. Their names.
pub(super) fn rotate(device: &dyn Device, folder: &Path, made: &str, keep: u32, store_id: &str) -> Vec<String> {
    let is_own = |name: &String| is_stamp(name) && check::manifest(&folder.join(name)).is_ok_and(|found| found.store_id == store_id);
    let mut own: Vec<String> = names(folder).into_iter().filter(|name| name != made && is_own(name)).collect();
    let others = usize::try_from(keep.max(1) - 1).unwrap_or(usize::MAX);
    own.truncate(own.len().saturating_sub(others));
    own.retain(|name| {
        // Under the other name a crash leaves nothing that looks like a backup.
        let going = folder.join(format!("{name}{UNFINISHED}"));
        let gone = device.rename(&folder.join(name), &going).and_then(|()| fs::remove_dir_all(&going));
        if let Err(error) = &gone {
            tracing::warn!(%error, name, "an old backup cannot be taken away");
        }
        gone.is_ok()
    });
    own
}

/// A backup as the folder has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// What its manifest says, or why it does not read.
    pub manifest: Result<Manifest, String>,
    /// Bytes that no other backup of the folder shares.
    pub own_bytes: u64,
}

/// Newest first.
pub fn list(folder: &Path) -> Vec<Listed> {
    let stamps = names(folder).into_iter().rev().filter(|name| is_stamp(name));
    let listed = |name: String| {
        let path = folder.join(&name);
        let manifest = check::manifest(&path).map_err(|error| error.to_string());
        let own =
            |file: &BackedUp| fs::metadata(path.join(&file.name)).ok().filter(|found| found.nlink() == 1).map_or(0, |found| found.len());
        let own_bytes = manifest.as_ref().map_or(0, |manifest| manifest.files.iter().map(own).sum());
        Listed { name, manifest, own_bytes }
    };
    stamps.map(listed).collect()
}
