//! A disk that is full, or nearly, when the power goes: what goes early is recorded before it goes, and the store opens with what was set aside.

use lucid::app::App;
use lucid::clock::Driver;
use lucid::domain::calendar::Week;
use lucid::domain::chunk::Series;
use lucid::domain::ids::NodeIndex;
use lucid::domain::time::Slot;
use lucid::live::Job;
use lucid::storage::Store;
use lucid::storage::cold::Chunk;
use lucid::storage::core::alerts;
use lucid::storage::core::tables::AUDIT;
use lucid::storage::space::CRITICAL;
use lucid::storage::table::Read;

use super::cuts::{Base, Model, config, manager, store};
use crate::support::crash_device::CrashDevice;

const RESERVE: usize = 4 << 20;
const WEEKS: u32 = 5;

fn early(store: &Store) -> usize {
    let entries = store.read().unwrap().scan(AUDIT, .., 10_000).unwrap();
    entries.iter().filter(|(_, entry)| entry.draft.operation == "storage.expire_early").count()
}

async fn put_weeks(app: &App, driver: &Driver) {
    let present = Slot(u32::try_from(driver.reading().wall.0 / 30_000).unwrap());
    for ago in (0..WEEKS).rev() {
        let slot = present.minus(ago * 7 * 2_880);
        let series = Series { slots: vec![slot], late: vec![false], ..Series::default() };
        let chunk = Chunk { node: NodeIndex(0), part: 0, first: slot, last: slot, bytes: series.encode() };
        app.store.cold.put(Week::of(slot), WEEKS - ago, 0, vec![chunk]).await.unwrap();
    }
}

#[tokio::test]
async fn what_goes_early_is_recorded_once_and_told_later_where_the_disk_is_too_full() {
    let base = Base::new().await;
    let config = config(&base.dir(), &[("server.tls", "off"), ("storage.max_mb", "1")]);
    let (device, driver) = (CrashDevice::new(1), base.driver());
    device.fill(&base.files);
    let app = manager(&config, &driver, device.device()).await.unwrap();
    put_weeks(&app, &driver).await;
    let weeks = || app.store.cold.weeks().len();
    // It cannot be removed: one entry, and the alert all the same.
    device.fail_to_remove(3);
    for _ in 0..3 {
        assert!(app.context.run(Job::Space).await.is_err());
    }
    assert_eq!((weeks(), early(&app.store)), (WEEKS as usize, 1));
    assert!(alerts::is_open(&app.store.read().unwrap(), CRITICAL, "").unwrap());
    app.context.run(Job::Space).await.unwrap();
    assert_eq!((weeks(), early(&app.store)), (WEEKS as usize - 1, 1));

    // The entry takes the reserve, then what is free in the file; where all of it is spent the week goes all the same, and the entry follows.
    for _ in 0..2 {
        device.leave_room(Some(0));
        let _ = app.context.run(Job::Space).await;
    }
    assert_eq!(weeks(), WEEKS as usize - 3);
    device.leave_room(None);
    app.context.run(Job::Space).await.unwrap();
    assert_eq!(early(&app.store), WEEKS as usize - weeks(), "each that went, once");
}

#[tokio::test]
async fn what_goes_early_is_in_the_audit_log_wherever_the_power_goes() {
    let base = Base::new().await;
    let config = config(&base.dir(), &[("server.tls", "off"), ("storage.max_mb", "1")]);
    let mut gone = 0;
    for n in 1..=24 {
        let (device, driver, what) = (CrashDevice::new(n), base.driver(), format!("cut at change {n}"));
        device.fill(&base.files);
        let app = manager(&config, &driver, device.device()).await.unwrap();
        put_weeks(&app, &driver).await;
        // The reserve counts from the next look on.
        app.context.run(Job::Space).await.unwrap();
        device.cut_after(n);
        let _ = app.context.run(Job::Space).await;
        drop(app);
        device.power_cycle();
        let store = store(&config, &driver, device.device(), &what);
        let left = store.cold.names().len();
        assert!(WEEKS as usize - left <= early(&store), "{what}: {left} weeks are left, and {} went by the audit log", early(&store));
        gone += WEEKS as usize - left;
        store.close();
    }
    assert!(gone > 3, "{gone}");
}

/// Without free pages, and without two tables: as a store of an earlier release, which needs room to be opened.
fn tight(core: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), core).unwrap();
    let mut database = redb::Database::open(file.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    for name in ["setup_steps", "backups"] {
        assert!(transaction.delete_table(redb::TableDefinition::<&[u8], &[u8]>::new(name)).unwrap());
    }
    transaction.commit().unwrap();
    while database.compact().unwrap() {}
    drop(database);
    std::fs::read(file.path()).unwrap()
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk_with_what_was_set_aside() {
    let base = Base::new().await;
    let (config, device, driver) = (base.config(), CrashDevice::new(1), base.driver());
    let mut files = base.files.clone();
    files[0].1 = tight(&files[0].1);
    let reserve = base.dir().join("reserve");
    files.push((reserve.clone(), vec![0; RESERVE]));
    device.fill(&files);
    device.leave_room(Some(0));
    let store = store(&config, &driver, device.device(), "a full disk");
    assert!(!device.files().contains(&reserve), "it was needed");
    Model::default().hold(&store, "a full disk");
}

#[tokio::test]
async fn who_finds_a_store_in_use_leaves_it_its_reserve() {
    let base = Base::new().await;
    let (config, device, driver) = (base.config(), CrashDevice::new(1), base.driver());
    let reserve = base.dir().join("reserve");
    let mut files = base.files.clone();
    files.push((reserve.clone(), vec![0; RESERVE]));
    device.fill(&files);
    let first = store(&config, &driver, device.device(), "the first");
    device.leave_room(Some(0));
    let refused = manager(&config, &driver, device.device()).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    assert!(device.files().contains(&reserve), "it is the first one's");
    first.close();
}
