use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::check::{Refused, check};
use super::*;
use crate::crypto::Entropy;
use crate::domain::audit::{Actor, Draft};
use crate::domain::calendar::Week;
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;
use crate::storage::cold::Chunk;
use crate::storage::core::tables::{AUDIT, NODE_IDS};
use crate::storage::core::{audit, tables::Index};
use crate::storage::table::{Read, WriteTx};
use crate::storage::testing::{NOW, store};
use crate::storage::{DbFile, hot};

fn options(dir: &tempfile::TempDir) -> Options {
    Options { free: |_| Ok(1 << 40), ..Options::new(dir.path().join("backups"), 30) }
}

fn made(store: &Store, options: &Options, at: Timestamp) -> Made {
    make(store, options, at, &mut |_| true).unwrap()
}

fn day(number: i64) -> Timestamp {
    NOW.wall.plus_seconds(number * 86_400)
}

fn write(store: &Store, n: u32) {
    store
        .core
        .write_now(move |tx| {
            tx.put(NODE_IDS, &format!("node_{n:04}"), &Index(n))?;
            audit::append(tx, Draft::new(NOW, Actor::Console, "test", n.to_string()))
        })
        .unwrap();
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_has_what_was_committed_before_it_and_nothing_later() {
    let (dir, store) = store();
    write(&store, 1);
    let options = options(&dir);
    // Every look at the progress is a commit beside it.
    let written = AtomicU32::new(100);
    let mut phases = Vec::new();
    let made = make(&store, &options, NOW.wall, &mut |progress| {
        assert!(progress.bytes <= progress.total || progress.phase == Phase::Verifying, "{progress:?}");
        phases.push(progress.phase);
        write(&store, written.fetch_add(1, Ordering::Relaxed));
        true
    })
    .unwrap();
    phases.dedup();
    assert_eq!(phases, [Phase::Copying, Phase::Reading, Phase::Verifying]);
    let folder = options.folder.join(&made.name);
    assert_eq!(files_below(&options.folder), [made.name.as_str()], "nothing else is left");
    assert_eq!(files_below(&folder), ["archive", "cold", "core.redb", "hot.redb", "manifest.json"], "secret.key is in none");
    let core = check::open(&folder.join("core.redb")).unwrap().snapshot;
    assert_eq!(core.scan(NODE_IDS, .., 10).unwrap(), [("node_0001".to_owned(), Index(1))]);
    let (manifest, findings) = check(&folder, Depth::Full, &mut |_, _| {}).unwrap();
    assert_eq!((&manifest, findings.iter().all(|found| found.wrong.is_none())), (&made.manifest, true), "{findings:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!([mode(&options.folder), mode(&folder), mode(&folder.join("core.redb")), mode(&folder.join("manifest.json"))], [0; 4]);
}

#[test]
fn core_and_hot_are_of_one_moment() {
    let (dir, store) = store();
    let (store, options) = (Arc::new(store), options(&dir));
    // Hot first, then core, as epochs close: the copy may have one row more of hot than of core, and never the other way.
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        std::thread::spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                store.hot.write_now(move |tx| tx.put(crate::storage::table::Table::<u32, Index>::new("hours"), &n, &Index(n))).unwrap();
                write(&store, n);
            }
        })
    };
    // Ten milliseconds between the two snapshots are commits of both, where nobody is held.
    for _ in 0..10 {
        let (core, hot) = of_one_moment(&store, &|| std::thread::sleep(std::time::Duration::from_millis(10))).unwrap();
        let (in_core, in_hot) =
            (core.count(NODE_IDS).unwrap(), hot.count(crate::storage::table::Table::<u32, Index>::new("hours")).unwrap());
        assert!(in_hot == in_core || in_hot == in_core + 1, "{in_hot} {in_core}");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(options.folder.parent().is_some());
}

#[test]
fn thirty_are_kept_and_what_is_sealed_is_shared() {
    let (dir, store) = store();
    let monday = 1_790_553_600 / 30;
    let put = |sweep: u32, slot: u32| {
        let slot = Slot(slot);
        let series = Series { slots: vec![slot], late: vec![false], ..Series::default() };
        let chunk = Chunk { node: NodeIndex(3), part: 0, first: slot, last: slot, bytes: series.encode() };
        store.cold.put_at_open(Week::of(slot), sweep, 0, &[chunk]).unwrap();
    };
    put(0, monday - 1);
    put(1, monday);
    fs::write(store.dir().join("cold/raw.redb.tmp"), "unfinished").unwrap();
    let options = Options { keep: 3, ..options(&dir) };
    let first = made(&store, &options, day(0));
    assert_eq!((first.linked_bytes, first.manifest.files.len()), (0, 4));
    put(2, monday + 1);
    let second = made(&store, &options, day(1));
    let node = |made: &Made, name: &str| fs::metadata(options.folder.join(&made.name).join(name)).unwrap().ino();
    assert_eq!(node(&first, "cold/raw-2026w39.redb"), node(&second, "cold/raw-2026w39.redb"));
    assert_ne!(node(&first, "cold/raw-2026w40.redb"), node(&second, "cold/raw-2026w40.redb"));
    assert_ne!(node(&first, "core.redb"), node(&second, "core.redb"));
    assert_eq!(second.linked_bytes, first.manifest.file("cold/raw-2026w39.redb").unwrap().bytes);
    check(&options.folder.join(&second.name), Depth::Full, &mut |_, _| {}).unwrap();
    // The shared copy is damaged on the backup's disk: it is found within some days, and copied anew.
    let shared = options.folder.join(&second.name).join("cold/raw-2026w39.redb");
    let mut bytes = fs::read(&shared).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shared, bytes).unwrap();
    let damaged = node(&second, "cold/raw-2026w39.redb");
    let healed = (2..12).map(|number| made(&store, &options, day(number))).find(|made| node(made, "cold/raw-2026w39.redb") != damaged);
    let healed = healed.expect("within eight days");
    check(&options.folder.join(&healed.name), Depth::Full, &mut |_, _| {}).unwrap();
    assert_eq!(list(&options.folder).len(), 3);
    // After a restore a file may have the revision that another one had in the life before: nothing is shared with that.
    drop(store);
    let database = |name: &str| DbFile::open(&dir.path().join("data").join(name), 1 << 20, |_| Ok(())).unwrap();
    let raised = |tx: &mut WriteTx<'_>| {
        let described = meta::store(tx)?;
        meta::put_store(tx, &meta::StoreMeta { generation: 2, ..described })
    };
    database("core.redb").write_now(raised).unwrap();
    database("hot.redb").write_now(|tx| hot::set_generation(tx, 2)).unwrap();
    let store = Store::open(&crate::storage::testing::options(dir.path()), Entropy::new(), NOW).unwrap();
    assert_eq!(made(&store, &options, day(13)).linked_bytes, 0);
    // Other things and other stores' backups are not touched.
    let (other_dir, other) = crate::storage::testing::store();
    made(&other, &options, day(0));
    fs::create_dir(options.folder.join("photos")).unwrap();
    let last = (20..24).map(|number| made(&store, &options, day(number))).last().unwrap();
    assert_eq!(last.removed.len(), 1);
    let names = files_below(&options.folder);
    assert_eq!((names.len(), names.contains(&"photos".to_owned()), names.contains(&stamp(day(0)))), (5, true, true), "{names:?}");
    drop(other_dir);
}

#[test]
fn what_is_no_good_takes_no_room_and_costs_no_old_one() {
    let (dir, store) = store();
    let options = Options { keep: 1, ..options(&dir) };
    made(&store, &options, day(0));
    let barely = Options { free: |_| Ok(300 << 20), ..options.clone() };
    let good = made(&store, &barely, day(1)).name;
    assert_eq!(files_below(&options.folder), [good.as_str()]);
    let full = Options { free: |_| Ok(255 << 20), ..options.clone() };
    let failed = make(&store, &full, day(2), &mut |_| true).unwrap_err();
    assert!(failed.to_string().contains("255 MB left"), "{failed}");
    assert!(matches!(make(&store, &options, day(2), &mut |_| false), Err(Failed::Cancelled)));
    // Books that do not verify are no backup.
    store
        .core
        .write_now(|tx| {
            let mut first = tx.scan(AUDIT, .., 1)?.remove(0);
            first.1.draft.operation.push('x');
            tx.put(AUDIT, &first.0, &first.1)
        })
        .unwrap();
    let failed = make(&store, &options, day(3), &mut |_| true).unwrap_err();
    assert!(matches!(&failed, Failed::Unsound(why) if why.contains("audit log")), "{failed}");
    assert_eq!(files_below(&options.folder), [good.as_str()]);
    // Left by a crash, and gone with the next run; what only looks like it stays.
    for name in ["2026-01-01T00-00-00Z.tmp", "mine.tmp"] {
        fs::create_dir(options.folder.join(name)).unwrap();
        fs::write(options.folder.join(name).join("core.redb"), "half").unwrap();
    }
    let _ = make(&store, &options, day(4), &mut |_| true);
    assert_eq!(files_below(&options.folder), [good.as_str(), "mine.tmp"]);
}

#[test]
fn a_folder_that_others_use_is_not_taken_over() {
    let (dir, store) = store();
    let options = options(&dir);
    fs::create_dir(&options.folder).unwrap();
    let open = || fs::set_permissions(&options.folder, fs::Permissions::from_mode(0o755)).unwrap();
    open();
    made(&store, &options, day(0));
    assert_eq!(fs::metadata(&options.folder).unwrap().permissions().mode() & 0o777, 0o700);
    open();
    fs::write(options.folder.join("letter.txt"), "mine").unwrap();
    let failed = make(&store, &options, day(1), &mut |_| true).unwrap_err();
    assert!(failed.to_string().contains("a folder of its own"), "{failed}");
    fs::remove_file(options.folder.join("letter.txt")).unwrap();
    let _other = take(store.device.as_ref(), &options.folder, store.dir()).unwrap();
    let failed = make(&store, &options, day(1), &mut |_| true).unwrap_err();
    assert!(failed.to_string().contains("another backup is being made"), "{failed}");
}

#[test]
fn what_root_makes_belongs_to_the_managers_user() {
    // Whoever else runs the tests cannot give files away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (dir, store) = store();
    std::os::unix::fs::chown(store.dir(), Some(4_242), Some(4_243)).unwrap();
    let options = options(&dir);
    let made = made(&store, &options, day(0));
    let folder = options.folder.join(&made.name);
    for path in [&options.folder, &folder, &folder.join("core.redb"), &folder.join("archive"), &folder.join(MANIFEST)] {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.uid(), found.gid()), (4_242, 4_243), "{}", path.display());
    }
}

#[test]
fn what_is_wrong_with_a_backup_is_named() {
    let (dir, store) = store();
    let options = options(&dir);
    let made = made(&store, &options, day(0));
    let folder = options.folder.join(&made.name);
    let looked = || check(&folder, Depth::Full, &mut |_, _| {}).map(drop);
    looked().unwrap();
    let core = folder.join("core.redb");
    let bytes = fs::read(&core).unwrap();
    for place in [0, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        fs::write(&core, flipped).unwrap();
        assert!(matches!(looked(), Err(Refused::Damaged(name)) if name == "core.redb"));
    }
    fs::write(&core, &bytes).unwrap();
    fs::rename(folder.join("hot.redb"), folder.join("away")).unwrap();
    assert!(matches!(looked(), Err(Refused::Missing(name)) if name == "hot.redb"));
    fs::rename(folder.join("away"), folder.join("hot.redb")).unwrap();
    looked().unwrap();
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        looked().unwrap_err()
    };
    assert!(matches!(changed("\"generation\": 1", "\"generation\": 2"), Refused::Forged));
    assert!(matches!(changed("lucid/backup/v1", "lucid/backup/v2"), Refused::Newer(_)));
    assert!(matches!(changed("lucid/backup/v1", "tar"), Refused::NoBackup(..)));
    assert!(matches!(changed("{", "["), Refused::NoBackup(..)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(looked(), Err(Refused::NoBackup(..))));
    // Signed as it should be, and by a later release.
    let mut newer = made.manifest;
    newer.schema += 1;
    newer.signature = Hex(store.signing_key.sign(&newer.signed_bytes()));
    fs::write(&path, serde_json::to_vec(&newer).unwrap()).unwrap();
    let refused = looked().unwrap_err();
    assert!(matches!(&refused, Refused::Newer(_)) && refused.to_string().contains("install"), "{refused}");
}
