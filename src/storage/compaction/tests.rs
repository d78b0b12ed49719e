use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::clock::Stopwatch;
use crate::storage::table::{Read, Table};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Text(String);
crate::record!(Text = 1);

const ROWS: Table<u32, Text> = Table::new("rows");
const OTHERS: Table<u32, Text> = Table::new("others");
const EMPTY: Table<u32, Text> = Table::new("empty");

fn open(dir: &Path) -> DbFile {
    let tables = [ROWS.name, OTHERS.name, EMPTY.name];
    DbFile::open(&dir.join("t.redb"), 1 << 20, |tx| tables.iter().try_for_each(|name| tx.create(name))).unwrap()
}

fn text(n: u32, version: u32) -> Text {
    Text(format!("{n} {version} ").repeat(20))
}

/// 30,000 rows of which a fifth is left.
fn loose(dir: &Path) -> DbFile {
    let file = open(dir);
    file.write_now(|tx| (0..30_000).try_for_each(|n| tx.put(ROWS, &n, &text(n, 0)))).unwrap();
    file.write_now(|tx| (0..24_000).try_for_each(|n| tx.delete(ROWS, &n).map(drop))).unwrap();
    file
}

fn compacted(file: &DbFile) -> Result<Compacted, NotCompacted> {
    let watch = Stopwatch::start();
    compact(file, &Progress::default(), &|| watch.elapsed())
}

fn all(file: &DbFile) -> BTreeMap<u32, Text> {
    file.read().unwrap().scan(ROWS, .., usize::MAX).unwrap().into_iter().collect()
}

#[test]
fn a_file_becomes_as_small_as_what_is_in_it_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = loose(dir.path());
    let (before, held) = (all(&file), file.read().unwrap());
    let done = compacted(&file).unwrap();
    assert!(done.before.free_percent() > 60, "{:?}", done.before);
    assert!(done.after_bytes * 2 < done.before.length_bytes, "{done:?}");
    assert_eq!((all(&file), done.rows), (before.clone(), 6_000));
    assert!(file.usage().unwrap().free_percent() < done.before.free_percent());
    assert_eq!(file.read().unwrap().count(EMPTY), Ok(0));
    file.write_now(|tx| tx.put(ROWS, &1, &text(1, 1))).unwrap();
    let of_old: BTreeMap<u32, Text> = held.scan(ROWS, .., usize::MAX).unwrap().into_iter().collect();
    assert_eq!(of_old, before, "who reads the old file still does");
    assert!(file.written_bytes() > done.before.length_bytes, "what the old file took is counted");
    drop((held, file));
    let again = open(dir.path());
    assert_eq!(all(&again).len(), 6_001);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["t.redb"]);
}

#[test]
fn what_is_written_meanwhile_is_caught_up_with_and_readers_see_it_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = loose(dir.path());
    let (done, written, longest) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(Duration::ZERO));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Puts, changes and deletes, so that each round has all three. Row 0 counts the writes.
            for n in 1.. {
                if done.load(Ordering::Acquire) {
                    break;
                }
                file.write_now(move |tx| {
                    tx.put(ROWS, &(40_000 + n), &text(n, 1))?;
                    tx.put(ROWS, &(24_000 + n * 7 % 6_000), &text(n, 2))?;
                    tx.delete(ROWS, &(40_000 + n / 2))?;
                    tx.put(OTHERS, &0, &Text(n.to_string()))
                })
                .unwrap();
                written.store(n, Ordering::Release);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let (watch, acknowledged) = (Stopwatch::start(), written.load(Ordering::Acquire));
                let seen = file.read().unwrap().get(OTHERS, &0).unwrap().map_or(0, |text| text.0.parse().unwrap());
                assert!(seen >= acknowledged, "{seen} of {acknowledged}");
                let mut longest = longest.lock().unwrap();
                *longest = longest.max(watch.elapsed());
            }
        });
        for _ in 0..3 {
            let made = compacted(&file).unwrap();
            assert!(made.barrier < Duration::from_secs(1), "{made:?}");
        }
        done.store(true, Ordering::Release);
    });
    let longest = *longest.lock().unwrap();
    assert!(longest < Duration::from_secs(1), "a reader waited {longest:?}");
    let n = written.load(Ordering::Acquire);
    assert!(n > 3, "{n}");
    let mut model: BTreeMap<u32, Text> = (24_000..30_000).map(|k| (k, text(k, 0))).collect();
    for n in 1..=n {
        model.insert(40_000 + n, text(n, 1));
        model.insert(24_000 + n * 7 % 6_000, text(n, 2));
        model.remove(&(40_000 + n / 2));
    }
    assert_eq!(all(&file), model);
    drop(file);
    assert_eq!(all(&open(dir.path())), model);
}

#[test]
fn two_at_once_are_refused_and_one_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = loose(dir.path());
    let (replacement, _) = file.begin_replacement().unwrap();
    assert!(matches!(compacted(&file), Err(NotCompacted::Fault(Fault::Database(_)))));
    drop(replacement);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    compacted(&file).unwrap();
    file.close();
    assert!(compacted(&file).is_err(), "a closed file is left alone");
}
