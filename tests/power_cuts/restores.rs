//! The power goes while a backup is put in the place of a store, and again while what was cut is finished: there is the store of before or the one of the backup, whole.

use std::path::Path;

use lucid::app::open_store_on;
use lucid::clock::{Clock, Driver, boot_id};
use lucid::domain::time::Timestamp;
use lucid::live::Job;
use lucid::storage::device;
use lucid::storage::restore::{Order, RestoreError, Restored, restore};

use super::cuts::{Base, Model, Run, config, cuts, manager, seeds, store};
use crate::support::copy;
use crate::support::crash_device::CrashDevice;
use crate::support::random::Random;

const SETTINGS: [(&str, &str); 1] = [("server.tls", "off")];

/// A store, a backup of it, and what came later.
struct Lived {
    base: Base,
    from: std::path::PathBuf,
    then: Model,
    now: Model,
    driver: Driver,
}

impl Lived {
    async fn new() -> Lived {
        let base = Base::new().await;
        let (driver, config) = (base.driver(), base.config());
        let app = manager(&config, &driver, device::real()).await.unwrap();
        let mut run = Run::of(app, &base, &driver, Random::of(1), (2, 0), Model::default());
        for _ in 0..3 {
            run.report();
            run.adjust().await;
            driver.advance_ms(30_000);
            run.app.context.tick();
        }
        run.flush().await;
        run.seal().await;
        run.store().backups.ask(None).unwrap();
        run.app.context.run(Job::Backup).await.unwrap();
        let made = run.store().backups.state().ended.unwrap().outcome.unwrap();
        let then = run.model.clone();
        run.adjust().await;
        let (now, closing) = (run.model.clone(), run.store().clone());
        drop(run);
        closing.close();
        drop(closing);
        let from = base.dir().parent().unwrap().join("backup");
        copy(&made.folder.join(&made.name), &from);
        std::fs::remove_dir_all(&made.folder).unwrap();
        driver.advance_ms(3_600_000);
        Lived { base, from, then, now, driver }
    }

    fn restore(&self, data: &Path, device: &CrashDevice) -> Result<Option<Restored>, RestoreError> {
        let clock = Clock::driven(&self.driver, self.base.config().clock.trust, Timestamp(0));
        let order = Order { from: &self.from, dir: data, kit: None, boot_id: boot_id(), now: clock.now(), device: device.device() };
        restore(&order, &mut |_, _| {})
    }

    /// The store before, on a device of its own; how many changes a restore of it is.
    fn changes(&self) -> u64 {
        let place = tempfile::tempdir().unwrap();
        copy(&self.base.dir(), place.path());
        let device = CrashDevice::new(1);
        device.with_nothing_else(place.path());
        self.restore(place.path(), &device).unwrap();
        device.changes()
    }
}

#[derive(Debug, Default)]
struct Tally {
    cuts: u32,
    old: u32,
    new: u32,
    /// By whoever opened the store.
    cuts_of_finishing: u32,
}

fn cut(lived: &Lived, seed: u64, changes: u64, tally: &mut Tally) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path();
    copy(&lived.base.dir(), data);
    let (device, config, mut random) = (CrashDevice::new(seed), config(data, &SETTINGS), Random::of(seed * 2));
    device.with_nothing_else(data);
    let what = format!("LUCID_SEED={seed}, restore");
    // The exchange itself is the last part of it.
    let first = if random.within(0, 3) > 0 { changes.saturating_sub(30) } else { 1 };
    device.cut_after(random.within(first, changes + 1));
    let mut is_done = lived.restore(data, &device).is_ok();
    tally.cuts += 1;
    device.power_cycle();
    if random.within(0, 2) == 0 {
        device.cut_after(random.within(1, 25));
        let now = Clock::driven(&lived.driver, config.clock.trust, Timestamp(0)).now();
        drop(open_store_on(&config, device.device(), now));
        tally.cuts_of_finishing += u32::from(device.is_off());
        device.power_cycle();
    }
    for round in 0..2 {
        let opened = store(&config, &lived.driver, device.device(), &what);
        let is_new = opened.generation == 2;
        assert!(is_new || !is_done, "{what}: it was told to be done");
        if round == 0 {
            *if is_new { &mut tally.new } else { &mut tally.old } += 1;
        }
        if is_new { &lived.then } else { &lived.now }.clone().hold(&opened, &what);
        opened.close();
        drop(opened);
        let mut names: Vec<String> =
            std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !["cold", "core.redb", "hot.redb", "reserve", "secret.key", "archive"].contains(&name.as_str()));
        assert_eq!(names.len(), usize::from(is_new), "{what}: {names:?}");
        if is_new {
            // The former store is whole, and would be one again.
            let former = data.join(&names[0]);
            assert!(names[0].starts_with("before-restore-"), "{what}: {names:?}");
            std::fs::copy(data.join("secret.key"), former.join("secret.key")).unwrap();
            let opened = store(&self::config(&former, &SETTINGS), &lived.driver, device::real(), &what);
            lived.now.clone().hold(&opened, &format!("{what}, the former store"));
            opened.close();
            return;
        }
        // The same again, in peace.
        is_done = lived.restore(data, &device).unwrap_or_else(|error| panic!("{what}: {error}")).is_some();
        device.power_cycle();
    }
    panic!("{what}: was never done");
}

// A restore waits, which no thread of a runtime may.
#[test]
fn a_restore_that_is_cut_leaves_the_old_store_or_the_new_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (lived, mut tally) = (runtime.block_on(Lived::new()), Tally::default());
    let changes = lived.changes();
    let seeds = seeds(cuts() / 8);
    for seed in &seeds {
        cut(&lived, *seed, changes, &mut tally);
    }
    println!("{changes} changes, {tally:?}");
    assert!(seeds.len() == 1 || (tally.old > 0 && tally.new > 0), "{tally:?}");
}
