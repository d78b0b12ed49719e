//! What transactions touched since a snapshot: by this a copy of the snapshot catches up.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of keys that are noted, at most. Beyond it the copy cannot catch up, and is given up.
const MAX_BYTES: usize = 16 << 20;
/// What a key costs besides its bytes, about.
const KEY_BYTES: usize = 48;

#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: BTreeMap<&'static str, BTreeSet<Vec<u8>>>,
    bytes: usize,
}

impl Touched {
    pub fn note(&mut self, table: &'static str, key: &[u8]) {
        if self.is_full() {
            return;
        }
        if self.keys.entry(table).or_default().insert(key.to_vec()) {
            self.bytes += key.len() + KEY_BYTES;
        }
    }

    pub fn note_table(&mut self, table: &'static str) {
        self.keys.entry(table).or_default();
    }

    /// Not all is noted any more.
    pub fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.keys.values().map(BTreeSet::len).sum()
    }

    /// Of each table its keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<Vec<u8>>)> {
        self.keys.iter().map(|(table, keys)| (*table, keys))
    }
}
