//! What is made of records, kept for as long as they read the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::Fault;
use super::table::{Key, Read, Record, Table};

/// Rows that are kept. A walk over more than these makes them all anew.
const LIMIT: usize = 1_024;

/// What was made of each record, beside the bytes it was made of. Whoever asks reads those bytes first: the same bytes make the same, so nothing that is
/// kept can be stale, whatever changed the record and however old the asker's snapshot is.
pub struct Made<T>(Mutex<HashMap<Vec<u8>, Row<T>>>);

struct Row<T> {
    bytes: Box<[u8]>,
    made: Arc<T>,
}

impl<T> Default for Made<T> {
    fn default() -> Made<T> {
        Made(Mutex::default())
    }
}

impl<T> Made<T> {
    /// Of the records of some keys, in the order of the keys; a key without a record has none. `table` and `make` are the same in every call.
    pub fn of_each<K: Key, V: Record>(
        &self,
        read: &impl Read,
        table: Table<K, V>,
        keys: impl IntoIterator<Item = K>,
        make: impl Fn(V) -> Result<T, Fault>,
    ) -> Result<Vec<Arc<T>>, Fault> {
        let mut found = Vec::new();
        read.get_each_with(table, keys, &mut |key, bytes, decode| {
            if let Some(row) = self.kept().get(key)
                && *row.bytes == *bytes
            {
                found.push(Arc::clone(&row.made));
                return Ok(());
            }
            let made = Arc::new(make(decode(bytes)?)?);
            found.push(Arc::clone(&made));
            let mut kept = self.kept();
            if kept.len() >= LIMIT && !kept.contains_key(key) {
                kept.clear();
            }
            kept.insert(key.to_vec(), Row { bytes: bytes.into(), made });
            Ok(())
        })?;
        Ok(found)
    }

    /// For tests that compare what is kept with what is made anew.
    #[cfg(test)]
    pub fn forget(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Row<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::super::core::tables::{Index, NODE_IDS};
    use super::*;
    use crate::storage::testing::store;

    fn key(n: u32) -> String {
        format!("node_{n:04}")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
        #[test]
        fn what_is_kept_is_what_would_be_made(changes in prop::collection::vec((0..6u32, prop::option::of(0..3u32)), 1..20)) {
            let (_dir, store) = store();
            let made = Made::default();
            let mut snapshots = vec![store.read().unwrap()];
            for (n, value) in changes {
                store.core.write_now(move |tx| match value {
                    Some(value) => tx.put(NODE_IDS, &key(n), &Index(value)),
                    None => tx.delete(NODE_IDS, &key(n)).map(drop),
                }).unwrap();
                snapshots.push(store.read().unwrap());
                // Older snapshots too, in between: they are shown their own records.
                for read in snapshots.iter().rev().take(3) {
                    let kept = made.of_each(read, NODE_IDS, (0..6).map(key), |index| Ok(index.0)).unwrap();
                    let fresh = read.get_each(NODE_IDS, (0..6).map(key)).unwrap();
                    prop_assert_eq!(kept.iter().map(|row| **row).collect::<Vec<_>>(), fresh.iter().map(|index| index.0).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_record_is_made_once_and_no_more_are_kept_than_allowed() {
        let (_dir, store) = store();
        let many = u32::try_from(LIMIT).unwrap() + 10;
        store.core.write_now(move |tx| (0..many).try_for_each(|n| tx.put(NODE_IDS, &key(n), &Index(n)))).unwrap();
        let (read, made, count) = (store.read().unwrap(), Made::default(), Cell::new(0));
        let ask = |keys: std::ops::Range<u32>| {
            let rows = made.of_each(&read, NODE_IDS, keys.map(key), |index| {
                count.set(count.get() + 1);
                Ok(index.0)
            });
            rows.unwrap().len()
        };
        assert_eq!((ask(0..100), count.get()), (100, 100));
        assert_eq!((ask(50..150), count.get()), (100, 150));
        ask(0..many);
        assert!(made.kept().len() <= LIMIT);
    }
}
