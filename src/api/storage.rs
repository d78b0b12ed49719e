//! What the store lies on, how full it is, and how fast.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::reads;
use super::state::AppState;
use super::storage_compaction::{DatabaseView, databases};
use super::storage_space::{self, SpaceView, WearView};
use crate::domain::refusal::Refusal;
use crate::host::device::{self, Kind};
use crate::host::probe::{self, Measured, Verdict};
use crate::storage::core::audit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    Sd,
    Emmc,
    Ssd,
    Hdd,
    Network,
    /// Gone after a restart of the machine.
    Memory,
    /// The kernel does not tell: virtual disks, USB sticks, overlays.
    Unknown,
}

impl DeviceKind {
    /// For people who choose what a store lies on.
    fn advice(self) -> &'static str {
        match self {
            DeviceKind::Sd => {
                "Fine to begin with. Cards wear out by writing and fail without warning: an SSD lasts longer, and a backup matters more."
            }
            DeviceKind::Emmc => "Soldered flash: quick enough, but it cannot be changed. Keep backups elsewhere.",
            DeviceKind::Ssd => "What a manager wants.",
            DeviceKind::Hdd => "Works; each safe write waits for the platter, so large fleets are slower.",
            DeviceKind::Network => "Not recommended: a store needs writes that are really on the disk, and a lost link stops the manager.",
            DeviceKind::Memory => "Everything is lost when this machine restarts. For trying out only.",
            DeviceKind::Unknown => "The kernel does not say what it is. Measure it.",
        }
    }
}

impl From<Kind> for DeviceKind {
    fn from(kind: Kind) -> DeviceKind {
        match kind {
            Kind::Sd => DeviceKind::Sd,
            Kind::Emmc => DeviceKind::Emmc,
            Kind::Ssd => DeviceKind::Ssd,
            Kind::Hdd => DeviceKind::Hdd,
            Kind::Network => DeviceKind::Network,
            Kind::Memory => DeviceKind::Memory,
            Kind::Unknown => DeviceKind::Unknown,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeviceView {
    kind: DeviceKind,
    /// What to think of a store on it.
    #[schema(example = "What a manager wants.")]
    advice: &'static str,
    /// Model, as it says of itself.
    name: Option<String>,
    filesystem: Option<String>,
    removable: Option<bool>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StoredFile {
    /// Within the data folder; of a folder the sum of its files.
    name: String,
    bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StorageView {
    /// For admins only.
    data_dir: Option<String>,
    device: DeviceView,
    /// Of the whole file system.
    total_bytes: u64,
    /// What this manager may still use of it.
    free_bytes: u64,
    /// The largest first.
    files: Vec<StoredFile>,
    /// The database files, and how much of each is in use.
    databases: Vec<DatabaseView>,
    space: SpaceView,
    wear: WearView,
    /// What this process had written since its start; null where the kernel does not count.
    written_bytes_since_start: Option<u64>,
}

/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 256;
/// Folders below a folder that are looked into: backups have folders of files.
const DEPTH: u32 = 4;

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES)
}

/// Of a file, or of all files below a folder. What several backups share counts once, where it is met first.
fn length(entry: &fs::DirEntry, depth: u32, seen: &mut HashSet<(u64, u64)>) -> u64 {
    match entry.metadata() {
        Ok(found) if found.is_file() && (found.nlink() < 2 || seen.insert((found.dev(), found.ino()))) => found.len(),
        Ok(found) if found.is_dir() && depth > 0 => entries(&entry.path()).map(|entry| length(&entry, depth - 1, seen)).sum(),
        Ok(_) | Err(_) => 0,
    }
}

fn files(folder: &Path) -> Vec<StoredFile> {
    let mut seen = HashSet::new();
    let view = |entry: fs::DirEntry| {
        let bytes = length(&entry, DEPTH, &mut seen);
        StoredFile { name: entry.file_name().to_string_lossy().into_owned(), bytes }
    };
    let mut found: Vec<StoredFile> = entries(folder).map(view).collect();
    found.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    found
}

/// What the store lies on
#[utoipa::path(get, path = "/storage", tag = "operations", security(("access" = ["storage:read"])), responses((status = 200, body = StorageView)))]
pub async fn show(State(state): State<AppState>, caller: Caller) -> Result<Json<StorageView>, ApiError> {
    let admin = caller.is_admin();
    reads::long(&state, move |state| {
        let figures = storage_space::figures(state)?;
        let folder = state.store.dir();
        let found = device::device_of(folder, Path::new("/proc"), Path::new("/sys"));
        let kind = DeviceKind::from(found.kind);
        let device = DeviceView { kind, advice: kind.advice(), name: found.name, filesystem: found.filesystem, removable: found.removable };
        let written = fs::read_to_string("/proc/self/io").ok().and_then(|io| device::written_bytes(&io));
        Ok(Json(StorageView {
            data_dir: admin.then(|| folder.display().to_string()),
            device,
            total_bytes: figures.total,
            free_bytes: figures.free,
            files: files(folder),
            databases: databases(state)?,
            space: storage_space::space(state, &figures),
            wear: storage_space::wear(state)?,
            written_bytes_since_start: written,
        }))
    })
    .await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageVerdict {
    Good,
    Slow,
    VerySlow,
    LowSpace,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FsyncView {
    median: f64,
    worst: f64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StorageCheck {
    written_bytes: u64,
    seconds: f64,
    /// Of long writes, synchronisation included.
    write_bytes_per_second: f64,
    /// Until a small write is safe, in milliseconds: what every change waits for.
    fsync_ms: FsyncView,
    free_bytes: u64,
    verdict: StorageVerdict,
    advice: &'static str,
}

impl StorageCheck {
    fn new(measured: &Measured, free_bytes: u64) -> StorageCheck {
        let (verdict, advice) = match probe::judge(measured, free_bytes) {
            Verdict::Good => (StorageVerdict::Good, "This storage is fast enough for a manager."),
            Verdict::Slow => (StorageVerdict::Slow, "This works, and every change takes a moment. An SSD would make it quicker."),
            Verdict::VerySlow => {
                (StorageVerdict::VerySlow, "This storage is too slow for more than a few nodes. Move the data folder to an SSD.")
            }
            Verdict::LowSpace => {
                (StorageVerdict::LowSpace, "Less than 1 GiB is free. Make room, or move the data folder, before the store runs full.")
            }
        };
        let ms = |took: std::time::Duration| (took.as_secs_f64() * 1e6).round() / 1e3;
        StorageCheck {
            written_bytes: measured.written_bytes,
            seconds: ms(measured.took) / 1e3,
            write_bytes_per_second: measured.bytes_per_second,
            fsync_ms: FsyncView { median: ms(measured.fsync_median), worst: ms(measured.fsync_worst) },
            free_bytes,
            verdict,
            advice,
        }
    }
}

/// Measure the storage
///
/// Writes at most 32 MiB, for about 5 s at most, into a file of the data folder that is gone afterwards. One check at a time.
#[utoipa::path(post, path = "/storage/check", tag = "operations", security(("access" = ["storage:check"])), responses(
    (status = 200, body = StorageCheck), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn check(State(state): State<AppState>, caller: Caller) -> Result<Json<StorageCheck>, ApiError> {
    let turn = state.storage_check.clone().try_acquire_owned().map_err(|_| Refusal::StorageCheckRunning)?;
    let free_bytes = storage_space::figures(&state)?.free;
    if free_bytes < probe::FLOOR_BYTES {
        return Err(Refusal::Rule("StorageTooFull", "less than 128 MiB is free; make room first".into()).into());
    }
    let folder = state.store.dir().to_owned();
    let measuring = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        probe::measure(&folder, probe::MAX_BYTES, probe::MAX_TIME)
    });
    let measured = measuring.await.map_err(|_| ApiError::panicked())?.map_err(|error| {
        tracing::warn!(%error, "the storage check failed");
        ApiError::unavailable("StorageCheckFailed", "the check could not write into the data folder")
    })?;
    let answer = StorageCheck::new(&measured, free_bytes);
    let draft = caller.act(state.now()).draft("storage.check", "").because(format!("{:?}", answer.verdict));
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    Ok(Json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_count_with_all_that_is_below_them_and_shared_files_once() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; bytes]).unwrap();
        };
        write("core.redb", 50);
        write("backups/one/core.redb", 40);
        write("backups/one/cold/week", 300);
        fs::create_dir_all(dir.path().join("backups/two/cold")).unwrap();
        fs::hard_link(dir.path().join("backups/one/cold/week"), dir.path().join("backups/two/cold/week")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("backups/loop")).unwrap();
        let found: Vec<(String, u64)> = files(dir.path()).into_iter().map(|file| (file.name, file.bytes)).collect();
        assert_eq!(found, [("backups".to_owned(), 340), ("core.redb".to_owned(), 50)]);
    }
}
