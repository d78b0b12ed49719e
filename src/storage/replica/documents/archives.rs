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

/// Bytes of a part, but for the last one.
pub const PART_BYTES: u64 = 128 << 10;

/// How many parts there are of an archive.
pub fn parts(manifest: &Manifest) -> u32 {
    u32::try_from(manifest.bytes.div_ceil(PART_BYTES)).unwrap_or(u32::MAX)
}

/// Of a part: by what is in the file, so that one that is there need not go again, whatever became of the store.
pub fn name(manifest: &Manifest, part: u32) -> Vec<u8> {
    [&manifest.sha256.0[..], &part.to_be_bytes()].concat()
}

pub fn part(secrets: &Secrets, manifest: &Manifest, part: u32, bytes: &[u8], rev: Rev) -> Result<Document, Fault> {
    let fields = vec![
        ("archive", manifest.name().into()),
        ("kind", manifest.kind.as_str().into()),
        ("period", manifest.period.clone().into()),
        ("part", part.into()),
        ("parts", parts(manifest).into()),
        ("sha256", hex(&manifest.sha256.0).into()),
        ("made_at", manifest.made_at.clone().into()),
    ];
    sealed(secrets, (COLLECTION, TABLE), name(manifest, part), fields, &bytes, rev)
}

/// The bytes of a part as the cluster has it.
///
/// # Errors
/// This manager did not write it, or as another part.
pub fn opened_part(secrets: &Secrets, manifest: &Manifest, part: u32, record: &[u8]) -> Result<Vec<u8>, Fault> {
    let name = name(manifest, part);
    let (key, bytes) = opened(secrets, TABLE, &name, record)?;
    let of_part = postcard::from_bytes(&bytes).ok().filter(|_| key == name);
    of_part.ok_or_else(|| Fault::Record { table: TABLE, key: hex(&name), why: "is no part of an archive".into() })
}

/// That a part is gone.
pub fn gone(name: Vec<u8>, rev: Rev) -> Document {
    Document { collection: COLLECTION, table: TABLE, key: name.clone(), name, rev, fields: Vec::new(), record: None }
}
