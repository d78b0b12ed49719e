//! I/O errors while the process lives: the file is opened again, and every answer says what is in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lucid::domain::refusal::Refusal;
use lucid::storage::DbFile;
use lucid::storage::fault::WriteError;
use lucid::storage::table::{Read, Table};
use serde::{Deserialize, Serialize};

use crate::support::crash_device::CrashDevice;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Text(String);
lucid::record!(Text = 1);

const TEXTS: Table<u32, Text> = Table::new("texts");
const COUNTS: Table<u32, Text> = Table::new("counts");

fn open(device: &CrashDevice) -> DbFile {
    DbFile::open_on(&device.device(), Path::new("/t.redb"), 1 << 20, |_| Ok(())).unwrap()
}

fn text(n: u32) -> Text {
    Text(format!("{n} ").repeat(100 + n as usize % 7))
}

fn rows(file: &DbFile) -> BTreeMap<u32, Text> {
    file.read().unwrap().scan(TEXTS, .., usize::MAX).unwrap().into_iter().collect()
}

/// Twenty writes, each of which adds a row and counts it; how they were answered. A row more than once would show in its number.
fn write(file: &DbFile, told: &Arc<AtomicU64>, first: u32) -> Vec<(u32, Result<(), WriteError>)> {
    let one = |n: u32| {
        let told = Arc::clone(told);
        let answer = file.write_now(move |tx| {
            let before = tx.get(COUNTS, &n)?.map_or(String::new(), |text| text.0);
            tx.put(COUNTS, &n, &Text(before + "1"))?;
            tx.put(TEXTS, &n, &text(n))?;
            let told = Arc::clone(&told);
            tx.after_commit(move || {
                told.fetch_add(1, Ordering::Relaxed);
            });
            Ok(())
        });
        (n, answer)
    };
    (first..first + 20).map(one).collect()
}

/// All that was answered is true of `file`.
fn hold(file: &DbFile, answers: &[(u32, Result<(), WriteError>)], what: &str) {
    let (found, read) = (rows(file), file.read().unwrap());
    for (n, answer) in answers {
        assert!(!matches!(answer, Err(WriteError::Unknown(_))), "{what}: {answer:?}");
        let wanted = answer.is_ok().then(|| text(*n));
        assert_eq!(found.get(n), wanted.as_ref(), "{what}: row {n}, answered {answer:?}");
        let count = read.get(COUNTS, n).unwrap().map(|text| text.0);
        assert_eq!(count, answer.is_ok().then(|| "1".to_owned()), "{what}: row {n} once");
    }
    assert_eq!(found.len(), answers.iter().filter(|(_, answer)| answer.is_ok()).count(), "{what}: and no other row");
}

/// Syncs and writes that fail, at each of them in turn.
fn fails_at_each(fail: impl Fn(&CrashDevice, u64), happened: impl Fn(&CrashDevice) -> u64) {
    let calm = CrashDevice::new(1);
    let (file, before) = (open(&calm), happened(&calm));
    write(&file, &Arc::default(), 0);
    let all = happened(&calm) - before;
    assert!(all >= 20, "{all}");
    for n in 1..=all {
        let (device, told) = (CrashDevice::new(n), Arc::new(AtomicU64::new(0)));
        let file = open(&device);
        let held = file.read().unwrap();
        fail(&device, n);
        let mut answers = write(&file, &told, 0);
        let what = format!("failure {n} of {all}");
        assert!(!file.failed() && !file.is_down(), "{what}");
        hold(&file, &answers, &what);
        // The old handle's view of an empty file is what it was, or an error.
        assert!(held.scan(TEXTS, .., 1).is_ok_and(|rows| rows.is_empty()) || held.scan(TEXTS, .., 1).is_err(), "{what}");
        answers.extend(write(&file, &told, 100));
        assert!(answers[20..].iter().all(|(_, answer)| answer.is_ok()), "{what}: then all is well");
        let acknowledged = answers.iter().filter(|(_, answer)| answer.is_ok()).count() as u64;
        assert_eq!(told.load(Ordering::Relaxed), acknowledged, "{what}: what follows a commit happens once");
        // And it is on the medium.
        device.power_cycle();
        drop(file);
        hold(&open(&device), &answers, &format!("{what}, then a power cut"));
    }
}

#[test]
fn a_sync_that_fails_is_survived_and_answered_truly() {
    fails_at_each(|device, n| device.fail_sync(n), CrashDevice::syncs);
}

#[test]
fn a_write_that_fails_is_survived_and_answered_truly() {
    fails_at_each(|device, n| device.fail_write(n), CrashDevice::writes);
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let device = CrashDevice::new(7);
    let (file, told) = (open(&device), Arc::new(AtomicU64::new(0)));
    let mut answers = write(&file, &told, 0);
    for (round, room) in [(1, 0), (2, 8_192), (3, 65_536)] {
        device.leave_room(Some(room));
        let first = round * 10_000;
        let full: Vec<_> = (0..20).flat_map(|n| write(&file, &told, first + n * 20)).collect();
        assert!(full.iter().any(|(_, answer)| answer.is_err()), "{room}");
        assert!(!file.failed() && !file.is_down());
        answers.extend(full);
        hold(&file, &answers, &format!("with room for {room} bytes"));
        // A refusal costs nothing on a full disk either.
        let refused = file.write_now(|_| Err::<(), _>(Refusal::PoolFull.into()));
        assert!(refused.is_err());
        device.leave_room(None);
        let again = write(&file, &told, first + 5_000);
        assert!(again.iter().all(|(_, answer)| answer.is_ok()), "room again");
        answers.extend(again);
    }
    device.power_cycle();
    drop(file);
    hold(&open(&device), &answers, "after a power cut");
}

#[test]
fn a_card_that_is_gone_for_a_moment_is_waited_for_and_one_that_stays_away_is_given_up() {
    let (device, told) = (CrashDevice::new(9), Arc::new(AtomicU64::new(0)));
    let file = open(&device);
    device.fail_sync(1);
    device.fail_to_open(2);
    let answers = write(&file, &told, 0);
    assert!(answers.iter().all(|(_, answer)| answer.is_ok()) && !file.failed());
    device.fail_write(1);
    device.fail_to_open(3);
    let answer = file.write_now(|tx| tx.put(TEXTS, &500, &text(500)));
    assert!(answer.is_err(), "{answer:?}");
    assert!(file.failed() && file.is_down() && file.read().is_err(), "the process is to end");
    assert!(file.write_now(|tx| tx.put(TEXTS, &501, &text(501))).is_err());
    drop(file);
    let again = open(&device);
    hold(&again, &answers, "opened by the next one");
}
