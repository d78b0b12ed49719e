//! What a file below `cold` says of itself: whose it is, and which.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record;
use crate::storage::DbFile;
use crate::storage::device::Device;
use crate::storage::fault::{Fault, OpenError, TxError};
use crate::storage::table::{Read, Snapshot, Table, WriteTx};

/// One row.
const ORIGIN: Table<String, Origin> = Table::new("origin");
const ROW: &str = "row";

/// The store's generation is not here: a week that is over is the same one in every life of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub store_id: String,
    /// Its name.
    pub file: String,
}

/// One row, which every change raises: who copied the file knows whether it is another one since.
const REVISION: Table<String, Revision> = Table::new("revision");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// One row: by which a file is told from another one that was made in its place. Files of earlier releases have none.
const IDENTITY: Table<String, Identity> = Table::new("identity");

/// Drawn when the file is made. Copies have it too, so one that comes back from a backup is the file that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity(pub u64);

record! { Origin = 1, Revision = 1, Identity = 1 }

pub fn identity(read: &Snapshot) -> Result<Identity, Fault> {
    if !read.has(IDENTITY.name)? {
        return Ok(Identity::default());
    }
    Ok(read.get(IDENTITY, &ROW.to_owned())?.unwrap_or_default())
}

/// To be called in every transaction that changes the file.
pub fn touch(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    let Revision(before) = tx.get(REVISION, &ROW.to_owned())?.unwrap_or_default();
    tx.put(REVISION, &ROW.to_owned(), &Revision(before + 1))
}

pub fn revision(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.get(REVISION, &ROW.to_owned())?.unwrap_or_default().0)
}

/// Opens a file, making it where there is none, with an identity; one of another store, or under another's name, is refused.
pub fn open(
    (device, path): (&Arc<dyn Device>, &Path),
    cache_bytes: usize,
    (store_id, new): (&str, Identity),
    file: &str,
    tables: &[&'static str],
) -> Result<DbFile, OpenError> {
    let origin = Origin { store_id: store_id.to_owned(), file: file.to_owned() };
    let opened = DbFile::open_large(device, path, cache_bytes, |tx| {
        tables.iter().chain([&REVISION.name]).try_for_each(|name| tx.create(name))?;
        tx.put(IDENTITY, &ROW.to_owned(), &new)?;
        tx.put(ORIGIN, &ROW.to_owned(), &origin)
    })?;
    let found = opened.read()?.get(ORIGIN, &ROW.to_owned())?;
    match found {
        Some(found) if found == origin => Ok(opened),
        Some(found) => Err(OpenError::Foreign { path: path.to_owned(), found: format!("{} of store {}", found.file, found.store_id) }),
        None => Err(Fault::Damaged("it has no description of itself".to_owned()).into()),
    }
}
