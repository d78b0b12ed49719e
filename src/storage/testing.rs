//! A store in a temporary folder, and what goes into it.

use std::path::Path;

use super::{Store, StoreOptions, device};
use crate::crypto::Entropy;
use crate::domain::credits::Epoch;
use crate::domain::epoch::{Counts, GENESIS, Head};
use crate::domain::poot::Params;
use crate::domain::proof::merkle;
use crate::domain::time::{BootMs, Now, Slot, Timestamp};

pub const NOW: Now = Now { wall: Timestamp(1_790_000_000_000), boot: BootMs(5_000), trusted: true };

pub fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        dir: dir.join("data"),
        core_cache_bytes: 1 << 20,
        hot_cache_bytes: 1 << 20,
        boot_id: "boot".into(),
        device: device::real(),
    }
}

pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path()), Entropy::new(), NOW).unwrap();
    (dir, store)
}

/// The head of ten slots in which nobody was observed.
pub fn gap(epoch: u32) -> Head {
    Head {
        epoch: Epoch(epoch),
        last_slot: Slot(epoch + 9),
        slots_per_epoch: 10,
        closed_at: NOW.wall,
        is_gap: true,
        params: Params::default(),
        counts: Counts::default(),
        leaves_at: None,
        root: merkle::root(&[]),
        previous: GENESIS,
        seal: None,
    }
}
