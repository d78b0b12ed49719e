//! Whether a backup is what its manifest says, and a good store: before a new one counts, before one is restored, and when somebody asks.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use redb::{Database, ReadOnlyDatabase, ReadableDatabase};

use crate::crypto::{PublicKey, Sha256};
use crate::domain::backup::{BackedUp, FORMAT, MANIFEST, Manifest, is_file_name};
use crate::storage::cold;
use crate::storage::core::ledger_check::Depth;
use crate::storage::core::meta;
use crate::storage::fault::{Fault, guarded};
use crate::storage::hot;
use crate::storage::table::Snapshot;
use crate::storage::verify::{Finding, Parts, finding, verify_parts};

/// The part that is told, and keeps no backup from being made or restored: pages of measurements that are damaged are lost, and nothing else is.
pub const MEASUREMENTS: &str = "sealed weeks and months";
/// Bytes between two looks at whether to go on.
pub(super) const STEP: u64 = 4 << 20;
/// Bytes of a manifest, at most: a file is some 150.
const MAX_MANIFEST: u64 = 8 << 20;
/// Cache of a file that is read once.
const CACHE: usize = 4 << 20;

/// Why a folder is no backup to build on. Each says what to do.
#[derive(Debug)]
pub enum Refused {
    /// There is no manifest that reads.
    NoBackup(PathBuf, String),
    /// Made by a release that this one does not understand.
    Newer(String),
    /// The manifest was changed, or somebody else wrote it.
    Forged,
    Missing(String),
    /// The file is not what it was when the backup was made.
    Damaged(String),
    /// The files are whole, and no good store.
    Unsound(String),
    Io(String, io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ANOTHER: &str = "take another backup";
        match self {
            Refused::NoBackup(folder, why) => write!(f, "{} is no backup: {why}", folder.display()),
            Refused::Newer(what) => {
                write!(f, "the backup was made by a newer release ({what}): install that release or a later one, and restore with it")
            }
            Refused::Forged => {
                write!(f, "the manifest of the backup is not signed by the manager that it names: it was altered; {ANOTHER}")
            }
            Refused::Missing(name) => write!(f, "{name} is missing from the backup; {ANOTHER}"),
            Refused::Damaged(name) => write!(f, "{name} of the backup is damaged: its hash is not the one in the manifest; {ANOTHER}"),
            Refused::Unsound(why) => write!(f, "the backup does not verify: {why}; {ANOTHER}"),
            Refused::Io(name, error) => write!(f, "{name} of the backup cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Refused {}

/// The manifest, signed by the key that it names. Whether that is the manager's key is another question.
pub fn manifest(folder: &Path) -> Result<Manifest, Refused> {
    let none = |why: String| Refused::NoBackup(folder.to_owned(), why);
    let mut text = Vec::new();
    let file = File::open(folder.join(MANIFEST)).map_err(|error| none(format!("{MANIFEST}: {error}")))?;
    file.take(MAX_MANIFEST).read_to_end(&mut text).map_err(|error| none(format!("{MANIFEST}: {error}")))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| none(format!("{MANIFEST} does not read: {error}")))?;
    let told = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    match told("format").as_str() {
        FORMAT => (),
        other if other.starts_with("lucid/backup/") => return Err(Refused::Newer(format!("release {}", told("release")))),
        other => return Err(none(format!("its format is {other:?}"))),
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(|error| none(format!("{MANIFEST} does not read: {error}")))?;
    if !manifest.is_signed() {
        return Err(Refused::Forged);
    }
    if manifest.schema > meta::SCHEMA {
        return Err(Refused::Newer(format!("release {}, schema {}", manifest.release, manifest.schema)));
    }
    if let Some(file) = manifest.files.iter().find(|file| !is_file_name(&file.name)) {
        return Err(none(format!("it names a file {:?}", file.name)));
    }
    for name in ["core.redb", "hot.redb"] {
        if manifest.file(name).is_none() {
            return Err(Refused::Missing(name.into()));
        }
    }
    Ok(manifest)
}

/// Length and hash of a file as the disk has it; `go_on` hears of every few megabytes, and ends it by false.
pub(in crate::storage) fn hash(path: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    // What is read comes from the disk then, and not from memory.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let (mut hash, mut bytes, mut looked) = (Sha256::new(), 0, 0);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, hash.finish()));
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
        if bytes - looked >= STEP {
            looked = bytes;
            if !go_on(bytes) {
                return Err(io::Error::other("stopped"));
            }
        }
    }
}

/// Whether the copy is what the manifest of its backup said.
pub(super) fn is_whole(path: &Path, known: &BackedUp) -> io::Result<bool> {
    Ok(hash(path, &mut |_| true)? == (known.bytes, known.sha256.0))
}

/// Every file is there, and has the hash that was signed. `watch` hears of bytes and their total.
pub fn hashes(folder: &Path, manifest: &Manifest, watch: &mut dyn FnMut(u64, u64)) -> Result<(), Refused> {
    let (total, mut before) = (manifest.bytes(), 0);
    for file in &manifest.files {
        let path = folder.join(&file.name);
        if !path.is_file() {
            return Err(Refused::Missing(file.name.clone()));
        }
        let found = hash(&path, &mut |bytes| {
            watch(before + bytes, total);
            true
        });
        if found.map_err(|error| Refused::Io(file.name.clone(), error))? != (file.bytes, file.sha256.0) {
            return Err(Refused::Damaged(file.name.clone()));
        }
        before += file.bytes;
        watch(before, total);
    }
    Ok(())
}

/// A file of a backup, open for reading. Nothing is written to it.
pub(in crate::storage) struct Opened {
    pub snapshot: Snapshot,
    _database: ReadOnlyDatabase,
}

pub(in crate::storage) fn open(path: &Path) -> Result<Opened, Fault> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    let database = builder.open_read_only(path)?;
    let snapshot = Snapshot::new(database.begin_read()?);
    Ok(Opened { snapshot, _database: database })
}

/// The same of a file of a store that nobody has open, which may not have been closed: then it is put right first, as by any start of the manager.
pub(in crate::storage) fn open_or_repair(path: &Path) -> Result<Opened, Fault> {
    let refused = match open(path) {
        Err(refused @ Fault::Database(_)) => refused,
        opened => return opened,
    };
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    // Closed again at once.
    match guarded(|| Ok(builder.open(path)?)).map(drop) {
        Ok(()) => open(path),
        Err(damage) if damage.is_damage() => Err(damage),
        Err(_) => Err(refused),
    }
}

/// Opens the copies and checks them as `verify` checks a store; the findings, or why they do not open. The key is the one that the manifest names.
pub fn verify(folder: &Path, manifest: &Manifest, depth: Depth) -> Result<Vec<Finding>, String> {
    let opened = |name: &str| open(&folder.join(name)).map_err(|fault| format!("{name}: {fault}"));
    let (core, hot) = (opened("core.redb")?, opened("hot.redb")?);
    let of_file = |fault: Fault| fault.to_string();
    let described = meta::store(&core.snapshot).map_err(of_file)?;
    if (&described.store_id, described.generation, described.schema) != (&manifest.store_id, manifest.generation, manifest.schema) {
        return Err("core.redb is of another store than the manifest says".into());
    }
    let of_hot = hot::meta(&hot.snapshot).map_err(of_file)?;
    if (&of_hot.store_id, of_hot.generation) != (&manifest.store_id, manifest.generation) {
        return Err("core.redb and hot.redb are of two stores, or of two lives of one".into());
    }
    let archives = folder.join("archive");
    let parts = Parts {
        core: &core.snapshot,
        hot: &hot.snapshot,
        manager_key: Some(PublicKey(manifest.manager_key.0)),
        archives: &archives,
        archives_may_lack: true,
    };
    let mut findings = verify_parts(&parts, depth);
    let cold: Vec<&BackedUp> = manifest.files.iter().filter(|file| file.name.starts_with("cold/")).collect();
    if !cold.is_empty() {
        findings.push(finding(MEASUREMENTS, || cold_files(folder, &cold)));
    }
    Ok(findings)
}

/// Decodes all that these files hold; the number of samples and of hours.
fn cold_files(folder: &Path, files: &[&BackedUp]) -> Result<Result<u64, String>, Fault> {
    let (mut records, mut wrong) = (0, Vec::new());
    for file in files {
        let name = file.name.trim_start_matches("cold/");
        match guarded(|| cold::verify_file(name, &open(&folder.join(&file.name))?.snapshot)) {
            Ok(Ok(of_file)) => records += of_file,
            Ok(Err(lost)) => wrong.push(lost),
            Err(fault) => wrong.push(format!("{name}: {fault}")),
        }
    }
    Ok(if wrong.is_empty() { Ok(records) } else { Err(wrong.join("; ")) })
}

/// The whole look at a backup that lies there: manifest, hashes, store.
pub fn check(folder: &Path, depth: Depth, watch: &mut dyn FnMut(u64, u64)) -> Result<(Manifest, Vec<Finding>), Refused> {
    let manifest = manifest(folder)?;
    hashes(folder, &manifest, watch)?;
    let findings = verify(folder, &manifest, depth).map_err(Refused::Unsound)?;
    Ok((manifest, findings))
}
