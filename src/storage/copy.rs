//! Fills a new file with what a snapshot of another one holds: live rows alone, in the order of their keys. Compaction and backups are made of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redb::{Database, Durability};

use super::fault::Fault;
use super::table::{Snapshot, raw};

/// Bytes of rows that one transaction of a copy takes, about: what a crash of the machine loses is made again, so there are few of them.
const BYTES_PER_COMMIT: u64 = 32 << 20;

/// What was copied so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    pub rows: u64,
    /// Of keys and values.
    pub bytes: u64,
}

/// Copies every table of `from` into a new file at `to`, which must not exist. The file is private, synced, and not renamed: until somebody does, it is nobody's.
/// `step` hears of each thousand rows, and ends the copy by an error.
pub(super) fn copy(
    from: &Snapshot,
    to: &Path,
    cache_bytes: usize,
    mut step: impl FnMut(Copied) -> Result<(), Fault>,
) -> Result<(Database, Copied), Fault> {
    let io = |error: std::io::Error| Fault::Database(format!("{}: {error}", to.display()));
    OpenOptions::new().write(true).create_new(true).open(to).map_err(io)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(io)?;
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let database = builder.create(to).map_err(|error| Fault::Database(error.to_string()))?;
    let copied = fill(from, &database, &mut step)?;
    OpenOptions::new().write(true).open(to).and_then(|file| file.sync_all()).map_err(io)?;
    step(copied)?;
    Ok((database, copied))
}

/// Copies every table of `from` into a new database, durably. `step` hears of each thousand rows, and ends the copy by an error.
pub(super) fn fill(from: &Snapshot, database: &Database, mut step: impl FnMut(Copied) -> Result<(), Fault>) -> Result<Copied, Fault> {
    let mut copied = Copied::default();
    for name in from.tables()? {
        let table = from.open(&name)?;
        let mut rows = table.range::<&[u8]>(..)?;
        let mut is_done = false;
        while !is_done {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate).map_err(|error| Fault::Database(error.to_string()))?;
            {
                let mut out = transaction.open_table(raw(&name))?;
                let until = copied.bytes + BYTES_PER_COMMIT;
                while copied.bytes < until {
                    let Some(row) = rows.next() else {
                        is_done = true;
                        break;
                    };
                    let (key, value) = row?;
                    let (key, value) = (key.value(), value.value());
                    out.insert(key, value)?;
                    copied.rows += 1;
                    copied.bytes += (key.len() + value.len()) as u64;
                    if copied.rows.is_multiple_of(1_000) {
                        step(copied)?;
                    }
                }
            }
            transaction.commit().map_err(|error| Fault::Database(error.to_string()))?;
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DbFile;
    use crate::storage::table::{Read, Table};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Text(String);
    crate::record!(Text = 1);

    const FULL: Table<u32, Text> = Table::new("full");
    const EMPTY: Table<u32, Text> = Table::new("empty");

    #[test]
    fn a_copy_has_the_live_rows_and_little_else() {
        let dir = tempfile::tempdir().unwrap();
        let (path, to) = (dir.path().join("t.redb"), dir.path().join("copy.redb"));
        let file = DbFile::open(&path, 1 << 20, |tx| {
            tx.create(FULL.name)?;
            tx.create(EMPTY.name)
        })
        .unwrap();
        file.write_now(|tx| (0..20_000).try_for_each(|n| tx.put(FULL, &n, &Text("x".repeat(200))))).unwrap();
        file.write_now(|tx| (0..15_000).try_for_each(|n| tx.delete(FULL, &n).map(drop))).unwrap();
        let snapshot = file.read().unwrap();
        file.write_now(|tx| tx.put(FULL, &0, &Text("after the snapshot".into()))).unwrap();
        let mut steps = 0;
        let (database, copied) = copy(&snapshot, &to, 1 << 20, |_| {
            steps += 1;
            Ok(())
        })
        .unwrap();
        drop(database);
        assert_eq!((copied.rows, steps), (5_000, 6));
        let again = DbFile::open(&to, 1 << 20, |_| Ok(())).unwrap();
        let (a, b) = (snapshot.scan(FULL, .., usize::MAX).unwrap(), again.read().unwrap().scan(FULL, .., usize::MAX).unwrap());
        assert_eq!(a, b);
        assert_eq!(again.read().unwrap().count(EMPTY), Ok(0), "empty tables are there");
        let length = |path| fs::metadata(path).unwrap().len();
        assert!(length(&to) * 2 < length(&path), "{} {}", length(&to), length(&path));
    }

    #[test]
    fn a_copy_ends_where_it_is_told_to_and_writes_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("copy.redb");
        let file = DbFile::open(&dir.path().join("t.redb"), 1 << 20, |tx| tx.create(FULL.name)).unwrap();
        file.write_now(|tx| (0..2_000).try_for_each(|n| tx.put(FULL, &n, &Text(String::new())))).unwrap();
        let snapshot = file.read().unwrap();
        let stopped = copy(&snapshot, &to, 1 << 20, |_| Err(Fault::Invariant("enough".into())));
        assert_eq!(stopped.err(), Some(Fault::Invariant("enough".into())));
        assert!(matches!(copy(&snapshot, &to, 1 << 20, |_| Ok(())), Err(Fault::Database(_))));
    }
}
