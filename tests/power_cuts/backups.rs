//! The power goes while a backup is made. A folder that has the name of a backup is one, verifies, and brings back what the store had at its moment; one that was told to be made is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lucid::clock::{Clock, boot_id};
use lucid::config::Config;
use lucid::domain::time::Timestamp;
use lucid::live::Job;
use lucid::storage::backup::{check, list};
use lucid::storage::core::ledger_check::Depth;
use lucid::storage::device;
use lucid::storage::restore::{Order, restore};

use super::cuts::{Base, Model, Run, config, cuts, manager, seeds, store};
use crate::support::crash_device::CrashDevice;
use crate::support::random::Random;

const SETTINGS: [(&str, &str); 2] = [("server.tls", "off"), ("backup.keep", "2")];
const ROUNDS: u64 = 4;

#[derive(Debug, Default)]
struct Tally {
    made: u32,
    /// Of a backup that nobody cut.
    changes: u64,
    /// Whole, and the power went before anybody was told.
    untold: u32,
    unfinished: u32,
    linked: u32,
    restored: u32,
}

/// What the backup brings back, in a folder of its own.
pub(super) fn brings_back(from: &Path, key: &Path, base: &Base, model: &Model, what: &str) {
    let place = tempfile::tempdir().unwrap();
    fs::copy(key, place.path().join("secret.key")).unwrap();
    let config = config(place.path(), &SETTINGS);
    let driver = base.driver();
    driver.advance_ms(1_000_000_000);
    let now = Clock::driven(&driver, config.clock.trust, Timestamp(0)).now();
    let order = Order { from, dir: place.path(), kit: None, boot_id: boot_id(), now, device: device::real() };
    // Not in a thread of the runtime, which may not wait.
    let restored = std::thread::scope(|scope| scope.spawn(|| restore(&order, &mut |_, _| {})).join().unwrap());
    restored.unwrap_or_else(|error| panic!("{what}: {error}"));
    let store = store(&config, &driver, device::real(), what);
    model.clone().hold(&store, what);
}

async fn cut(base: &Base, seed: u64, tally: &mut Tally) {
    let place = tempfile::tempdir().unwrap();
    let (data, key) = (place.path().join("data"), base.dir().join("secret.key"));
    fs::create_dir(&data).unwrap();
    fs::copy(&key, data.join("secret.key")).unwrap();
    let config: Config = config(&data, &SETTINGS);
    let device = CrashDevice::new(seed);
    let files: Vec<_> = base.files.iter().map(|(path, bytes)| (data.join(path.file_name().unwrap()), bytes.clone())).collect();
    device.fill(&files);
    device.with_plain_files(&data);
    let driver = base.driver();
    let (mut model, mut number, mut told) = (Model::default(), 0, BTreeMap::<String, Model>::new());
    let folder = data.join("backups");
    for round in 0..ROUNDS {
        let what = format!("LUCID_SEED={seed}, backup {round}");
        let random = Random::of(seed.wrapping_mul(37).wrapping_add(round * 2));
        let app = manager(&config, &driver, device.device()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut run = Run::of(app, base, &driver, random, (seed * 8 + round, number), std::mem::take(&mut model));
        for _ in 0..run.random.within(1, 8) {
            run.report();
            run.adjust().await;
            driver.advance_ms(30_000);
            run.app.context.tick();
        }
        run.flush().await;
        if run.random.within(0, 2) == 0 {
            run.seal().await;
        }
        let before = device.changes();
        device.cut_after(run.random.within(1, 36));
        let asked = run.store().backups.ask(None).unwrap();
        let _ = run.app.context.run(Job::Backup).await;
        let ended = run.store().backups.state().ended.filter(|ended| ended.number == asked);
        if let Some(Ok(made)) = ended.map(|ended| ended.outcome) {
            tally.made += 1;
            tally.linked += u32::from(made.linked_bytes > 0);
            told.insert(made.name.clone(), run.model.clone());
        }
        tally.changes = tally.changes.max(device.changes() - before);
        (model, number) = (std::mem::take(&mut run.model), run.number);
        drop(run);
        device.power_cycle();

        let store = store(&config, &driver, device.device(), &what);
        model.hold(&store, &what);
        store.close();
        drop(store);
        let there = list(&folder);
        for backup in &there {
            let what = format!("{what}, {}", backup.name);
            let (_, findings) =
                check::check(&folder.join(&backup.name), Depth::Full, &mut |_, _| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(findings.iter().all(|found| found.wrong.is_none()), "{what}: {findings:?}");
            // Whole, and nobody had been told.
            if !told.contains_key(&backup.name) {
                tally.untold += 1;
                told.insert(backup.name.clone(), model.clone());
            }
        }
        let newest = told.keys().next_back();
        assert_eq!(there.first().map(|backup| &backup.name), newest, "{what}: the newest that was made");
        if let Some(newest) = newest.filter(|_| round + 1 == ROUNDS) {
            tally.restored += 1;
            brings_back(&folder.join(newest), &key, base, &told[newest], &what);
        }
        let unfinished = fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path().extension().is_some());
        tally.unfinished += u32::try_from(unfinished.count()).unwrap();
        driver.advance_ms(30_000);
    }
    // In peace everything that was left over goes.
    let app = manager(&config, &driver, device.device()).await.unwrap();
    app.store.backups.ask(None).unwrap();
    app.context.run(Job::Backup).await.unwrap();
    let outcome = app.store.backups.state().ended.unwrap().outcome;
    assert!(outcome.is_ok(), "LUCID_SEED={seed}: {outcome:?}");
    let mut left: Vec<String> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort_by(|a, b| b.cmp(a));
    let listed: Vec<String> = list(&folder).into_iter().map(|backup| backup.name).collect();
    assert!(left == listed && left.len() <= 2, "LUCID_SEED={seed}: {left:?}");
}

#[tokio::test]
async fn a_backup_that_is_there_is_whole() {
    let (base, mut tally) = (Base::new().await, Tally::default());
    let seeds = seeds(cuts() / 32);
    for seed in &seeds {
        cut(&base, *seed, &mut tally).await;
    }
    println!("{tally:?}");
    let Tally { made, changes: _, untold: _, unfinished, linked: _, restored } = tally;
    assert!(seeds.len() == 1 || (made > 3 && unfinished > 0 && restored > 2), "{tally:?}");
}
