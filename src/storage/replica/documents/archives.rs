//! Files of archives, in parts. Sealed: their lines name what the store does not show everybody. Their manifests are rows of the store.

use super::measured::sealed;
use super::opened;
use crate::crypto::hex;
use crate::domain::archive::Manifest;
use crate::domain::replica::{Document, Rev};
use crate::storage::Secrets;
use crate::storage::fault::Fault;

pub const COLLECTION: &str = "archives";
/// In ids and positions, beside the tables of the store.
pub const TABLE: &str = "archive_files";

/// Bytes of a part, at most.
pub const PART_BYTES: usize = 128 << 10;
/// Of the SHA-256, which names begin with.
const HASH: usize = 32;

/// Of a part that ends and begins there: by what is in the file, so that one that is there need not go again, whatever became of the store.
fn name(manifest: &Manifest, end: u64, from: u64) -> Vec<u8> {
    [&manifest.sha256.0[..], &end.to_be_bytes(), &from.to_be_bytes()].concat()
}

/// Before the names of all parts of a file.
pub fn before(sha256: &[u8; 32]) -> Vec<u8> {
    [&sha256[..], &[0; 16]].concat()
}

/// The SHA-256 of the file that a part is of, and where it ends and begins.
pub fn of_name(name: &[u8]) -> Option<([u8; 32], u64, u64)> {
    let (sha256, places) = name.split_first_chunk::<HASH>()?;
    let (end, from) = places.split_first_chunk::<8>()?;
    Some((*sha256, u64::from_be_bytes(*end), u64::from_be_bytes(from.try_into().ok()?)))
}

/// A part of the file, from a place on.
pub fn part(secrets: &Secrets, manifest: &Manifest, from: u64, bytes: &[u8], rev: Rev) -> Result<Document, Fault> {
    let end = from + bytes.len() as u64;
    let fields = vec![
        ("archive", manifest.name().into()),
        ("kind", manifest.kind.as_str().into()),
        ("period", manifest.period.clone().into()),
        ("from_byte", from.into()),
        ("to_byte", end.into()),
        ("bytes", manifest.bytes.into()),
        ("sha256", hex(&manifest.sha256.0).into()),
        ("made_at", manifest.made_at.clone().into()),
    ];
    sealed(secrets, (COLLECTION, TABLE), name(manifest, end, from), fields, &(from, bytes), rev)
}

/// Where a part begins, and its bytes, as the cluster has it.
///
/// # Errors
/// This manager did not write it, or as another part.
pub fn opened_part(secrets: &Secrets, name: &[u8], record: &[u8]) -> Result<(u64, Vec<u8>), Fault> {
    let (key, bytes) = opened(secrets, TABLE, name, record)?;
    let of_part = postcard::from_bytes(&bytes).ok().filter(|_| key == name && of_name(name).is_some());
    of_part.ok_or_else(|| Fault::Record { table: TABLE, key: hex(name), why: "is no part of an archive".into() })
}

/// That a part is gone.
pub fn gone(name: Vec<u8>, rev: Rev) -> Document {
    Document { collection: COLLECTION, table: TABLE, key: name.clone(), name, rev, fields: Vec::new(), record: None }
}
