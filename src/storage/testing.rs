//! A store in a temporary folder.

use std::path::Path;

use super::{Store, StoreOptions};
use crate::crypto::Entropy;
use crate::domain::time::{BootMs, Now, Timestamp};

pub const NOW: Now = Now { wall: Timestamp(1_790_000_000_000), boot: BootMs(5_000), trusted: true };

pub fn options(dir: &Path) -> StoreOptions {
    StoreOptions { dir: dir.join("data"), core_cache_bytes: 1 << 20, hot_cache_bytes: 1 << 20, boot_id: "boot".into() }
}

pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path()), Entropy::new(), NOW).unwrap();
    (dir, store)
}
