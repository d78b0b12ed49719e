//! What goes into a backup besides what a snapshot shows: files that are written once, and those of the cold store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Failed;
use crate::storage::archive;
use crate::storage::core::archives;
use crate::storage::fault::Fault;
use crate::storage::store::Store;
use crate::storage::table::Snapshot;

/// How the bytes of a part are had.
pub(super) enum Source<'a> {
    Snapshot(Snapshot),
    /// Opened when its turn comes: a snapshot no older than the revision. None: it has expired since.
    Redb(Box<dyn FnOnce() -> Result<Option<Snapshot>, Fault> + 'a>),
    /// A file that nobody writes any more.
    File(PathBuf),
}

/// One file of a backup.
pub(super) struct Part<'a> {
    pub name: String,
    /// Of the file in the store.
    pub bytes: u64,
    /// Says whether it is what it was. 0: nobody knows.
    pub revision: u64,
    pub source: Source<'a>,
}

/// What a file takes on the disk: those of redb have holes.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len().min(found.blocks().saturating_mul(512)))
}

impl Part<'_> {
    pub fn of_snapshot(name: &str, path: &Path, snapshot: Snapshot) -> Self {
        Part { name: name.to_owned(), bytes: taken(path), revision: 0, source: Source::Snapshot(snapshot) }
    }
}

/// The files of the cold store. Its commits come before the deletions in hot that they allow, so what is read of it after the snapshot of hot lacks nothing.
pub(super) fn cold_parts(store: &Store) -> Result<Vec<Part<'_>>, Failed> {
    let mut parts = Vec::new();
    for name in store.cold.names() {
        // Opened once more when its turn comes: few of them are open at one time.
        let Some((revision, _)) = store.cold.snapshot(&name)? else { continue };
        let file = name.clone();
        let open = move || Ok(store.cold.snapshot(&file)?.map(|(_, snapshot)| snapshot));
        let bytes = taken(&store.dir().join("cold").join(&name));
        parts.push(Part { name: format!("cold/{name}"), bytes, revision: revision + 1, source: Source::Redb(Box::new(open)) });
    }
    Ok(parts)
}

/// The files of the archives that have a row. Those that were moved away are not there; damaged ones are named in `left_out`.
pub(super) fn archives<'a>(store: &Store, left_out: &mut Vec<String>) -> Result<Vec<Part<'a>>, Failed> {
    let folder = archive::folder(store);
    let mut parts = Vec::new();
    for manifest in archives::all(&store.read()?)? {
        let names = archive::names(&manifest);
        if names.iter().all(|name| !folder.join(name).exists()) {
            continue;
        }
        let first = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)).max(1);
        let revisions = [first(&manifest.sha256.0), first(&manifest.signature.0)];
        if let Err(archive::Failed::Disk(why)) = archive::is_there(&folder, &manifest) {
            left_out.push(format!("{}: {why}", manifest.name()));
            continue;
        }
        for (name, revision) in names.into_iter().zip(revisions) {
            let path = folder.join(&name);
            parts.push(Part { name: format!("archive/{name}"), bytes: taken(&path), revision, source: Source::File(path) });
        }
    }
    Ok(parts)
}
