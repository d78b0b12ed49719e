//! What is written to the card is counted over restarts, and how full the disk is decides what is kept.

use std::fs;
use std::path::Path;

use lucid::domain::calendar::Week;
use lucid::domain::chunk::Series;
use lucid::domain::ids::NodeIndex;
use lucid::domain::metrics::{Cpu, Sample};
use lucid::domain::time::Slot;
use lucid::live::Job;
use lucid::storage::backup::{Options, make};
use lucid::storage::cold::Chunk;
use lucid::storage::hot::Parts;
use lucid::storage::table::{Table, WriteTx};
use lucid::storage::verify::verify;
use lucid::storage::{Lane, hot, tiers};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::client::{PASSWORD, USERNAME};
use crate::support::crash_device::CrashDevice;
use crate::support::site::{START, Site};

mod tmpfs;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Filler(Vec<u8>);
lucid::record!(Filler = 1);

const FILLER: Table<u32, Filler> = Table::new("filler");
const DAY_MS: i64 = 86_400_000;
const MB: u64 = 1 << 20;

async fn site(settings: &[(&'static str, &str)]) -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), settings).await;
    (dir, site)
}

async fn set(site: &Site, key: &str, value: &str) {
    site.client.put("/settings", json!([{ "key": key, "value": value }])).await;
}

async fn look(site: &Site) -> Value {
    site.app.context.run(Job::Space).await.unwrap();
    site.client.get("/storage").await["space"].take()
}

async fn open_alerts(site: &Site) -> Vec<String> {
    let alerts = site.client.get("/alerts?state=active").await;
    let kinds = alerts["alerts"].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned());
    kinds.filter(|kind| kind.starts_with("storage_") || kind.starts_with("card_")).collect()
}

fn sound(site: &Site) {
    let wrong: Vec<_> = verify(&site.app.store).into_iter().filter(|finding| finding.wrong.is_some()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn sample() -> Sample {
    Sample { cpu: Cpu { usage_percent: Some(12.5), ..Cpu::default() }, ..Sample::default() }
}

fn bytes_of(day: &Value, name: &str) -> u64 {
    day["files"].as_array().unwrap().iter().find(|file| file["name"] == name).unwrap()["bytes"].as_u64().unwrap()
}

#[tokio::test]
async fn bytes_a_day_are_counted_by_file_and_survive_a_restart() {
    let (_dir, site) = site(&[("storage.card_rating_tb", "0.001")]).await;
    let wear = async |site: &Site| site.client.get("/storage").await["wear"].take();
    let before = wear(&site).await;
    assert_eq!((&before["since"], &before["bytes_per_day"], before["days"].as_array().unwrap().len()), (&Value::Null, &Value::Null, 0));
    site.pass_slots(3).await;
    let first = wear(&site).await;
    assert_eq!(first["rating_tb"], 0.001);
    assert!(first["since"].as_str().unwrap().starts_with(&START.to_string()[..10]), "{first}");
    assert_eq!(first["bytes_per_day"], Value::Null, "no day is over");
    let today = &first["days"][0];
    assert!(bytes_of(today, "core.redb") > 0 && bytes_of(today, "hot.redb") > 0, "{today}");
    assert_eq!(today["files"].as_array().unwrap().iter().map(|file| file["bytes"].as_u64().unwrap()).sum::<u64>(), today["bytes"]);
    assert_eq!(today["bytes"], first["written_bytes"]);

    // Each byte is counted once, however many flushes book it.
    let hot = async || {
        let storage = site.client.get("/storage").await;
        let file = storage["databases"].as_array().unwrap().iter().find(|database| database["file"] == "hot").unwrap();
        (bytes_of(&storage["wear"]["days"][0], "hot.redb"), file["written_bytes"].as_u64().unwrap())
    };
    let before = hot().await;
    for _ in 0..3 {
        site.pass_slots(3).await;
    }
    let after = hot().await;
    assert!(after.1 > before.1);
    assert_eq!(after.0 - before.0, after.1 - before.1);

    // Whole days, one of them with the manager off.
    site.driver.advance_ms(DAY_MS);
    site.pass_slots(5).await;
    site.driver.advance_ms(2 * DAY_MS);
    site.pass_slots(5).await;
    let third = wear(&site).await;
    let days: Vec<u64> = third["days"].as_array().unwrap().iter().map(|day| day["bytes"].as_u64().unwrap()).collect();
    assert_eq!((days.len(), days[2]), (4, 0), "{third}");
    assert!(days[1] > 0 && days[3] > 0);
    assert_eq!(third["bytes_per_day"].as_u64().unwrap(), days[1] / 2, "of the two whole days");
    let (rating, written) = (1_000_000_000, third["written_bytes"].as_u64().unwrap());
    let hundredths = (rating - written) * 100 / (days[1] / 2 * 365);
    let shown = third["years_left"].as_f64().unwrap() * 100.0;
    assert!((shown - f64::from(u32::try_from(hundredths).unwrap())).abs() < 0.01, "{shown} {hundredths}");

    let site = site.crash().await;
    let after = wear(&site).await;
    for day in 0..3 {
        for name in ["core.redb", "hot.redb", "cold", "other"] {
            let (was, is) = (bytes_of(&third["days"][day], name), bytes_of(&after["days"][day], name));
            assert_eq!(was, is, "{name} of day {day}");
        }
    }
    // What came after the last flush is lost, and nothing else.
    assert!(bytes_of(&after["days"][3], "hot.redb") > 0, "{after}");
    assert_eq!(after["since"], third["since"]);
    site.pass_slots(3).await;
    assert!(wear(&site).await["written_bytes"].as_u64() > after["written_bytes"].as_u64());
    sound(&site);
}

#[tokio::test]
async fn a_card_that_wears_out_within_a_year_is_told() {
    let (_dir, site) = site(&[]).await;
    site.pass_slots(3).await;
    for _ in 0..2 {
        site.driver.advance_ms(DAY_MS);
        // Much is written on the one whole day.
        let write = |tx: &mut WriteTx<'_>| (0..1_000).try_for_each(|n| tx.put(FILLER, &n, &Filler(vec![7; 15_000])));
        site.app.store.core.write(Lane::Ordinary, write).await.unwrap();
        site.pass_slots(3).await;
    }
    site.app.context.run(Job::Space).await.unwrap();
    assert_eq!(open_alerts(&site).await, Vec::<String>::new(), "at 3 TB it lasts");
    set(&site, "storage.card_rating_tb", "0.001").await;
    let left = site.client.get("/storage").await["wear"]["years_left"].as_f64().unwrap();
    assert!(left < 1.0, "a gigabyte is a year of 2.7 MB a day: {left}");
    site.app.context.run(Job::Space).await.unwrap();
    assert_eq!(open_alerts(&site).await, ["card_wearing_out"]);
    set(&site, "storage.card_rating_tb", "0").await;
    site.app.context.run(Job::Space).await.unwrap();
    let wear = site.client.get("/storage").await["wear"].take();
    assert_eq!((&wear["rating_tb"], &wear["years_left"]), (&json!(0.0), &Value::Null));
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
}

#[tokio::test]
async fn at_the_limit_metrics_are_thinned_scores_are_not_and_both_end_when_there_is_room() {
    let (_dir, site) = site(&[]).await;
    let mut node = site.enrol("one").await;
    let report = async |node: &mut crate::support::fleet::Node, slots: u32| {
        let from = Slot(u32::try_from(site.now_ms() / 30_000).unwrap() + 1);
        for _ in 0..slots {
            site.next_slot(5_000);
            node.report(site.now_ms(), sample()).await.unwrap();
        }
        site.app.context.run(Job::Flush).await.unwrap();
        let until = from.plus(slots);
        let kept = tiers::points(&site.app.store, NodeIndex(0), from, until, Parts::ALL).unwrap().len();
        let evidence = hot::evidence(&site.app.store.hot.read().unwrap(), from, until).unwrap();
        (kept, evidence.iter().filter(|(_, row)| row.proven.get(NodeIndex(0))).count())
    };
    let ample = look(&site).await;
    // Whatever else the disk of this machine holds.
    if ample["level"] == "ample" {
        assert_eq!((&ample["limit_bytes"], &ample["thinned"]), (&Value::Null, &json!(false)));
        assert_eq!(report(&mut node, 20).await, (20, 20));
    }
    set(&site, "storage.max_mb", "1").await;
    let critical = look(&site).await;
    assert_eq!((&critical["level"], &critical["thinned"], &critical["limit_bytes"]), (&json!("critical"), &json!(true), &json!(MB)));
    assert!(critical["store_bytes"].as_u64().unwrap() > MB && critical["used_percent"].as_f64().unwrap() <= 100.0, "{critical}");
    assert_eq!(open_alerts(&site).await, ["storage_critical"]);
    let health = site.client.get("/health").await;
    assert!(health["checks"]["disk"]["message"].as_str().unwrap().starts_with("critical"), "{health}");
    assert_eq!(report(&mut node, 40).await, (4, 40), "one in ten is kept, and all are proven");
    node.report(site.now_ms(), sample()).await.unwrap();
    assert_eq!(node.held.len(), 1, "the agent may forget all but the one that it just sent");
    let site_level = site.app.store.space.level();
    let site = site.crash_unnoticed().await;
    assert_eq!(site.app.store.space.level(), site_level, "the alert says so to the next process");
    set(&site, "storage.max_mb", "0").await;
    if look(&site).await["level"] == "ample" {
        assert_eq!(open_alerts(&site).await, Vec::<String>::new());
    }
    sound(&site);
}

/// Weeks with a little in each, from `weeks` ago on, the present one among them; their names.
async fn fill_weeks(site: &Site, weeks: u32) -> Vec<String> {
    put_weeks(site, weeks, &|_| vec![7; 4_000]).await
}

async fn put_weeks(site: &Site, weeks: u32, page: &dyn Fn(Slot) -> Vec<u8>) -> Vec<String> {
    let present = Slot(u32::try_from(site.now_ms() / 30_000).unwrap());
    for ago in (0..=weeks).rev() {
        let slot = present.minus(ago * 7 * 2_880);
        let chunk = |node: u32| Chunk { node: NodeIndex(node), part: 0, first: slot, last: slot, bytes: page(slot) };
        site.app.store.cold.put(Week::of(slot), weeks - ago, 0, (0..200).map(chunk).collect()).await.unwrap();
    }
    site.app.store.cold.names()
}

#[tokio::test]
async fn a_damaged_week_is_told_and_keeps_the_manager_from_nothing() {
    let (dir, site) = site(&[]).await;
    let page = |slot| Series { slots: vec![slot], late: vec![false], ..Series::default() }.encode();
    let weeks = put_weeks(&site, 2, &page).await;
    let (data, driver, file) = (site.dir.clone(), site.driver.clone(), site.dir.join("cold").join(&weeks[1]));
    site.end().await;
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..9_000]).unwrap();
    let mut site = Site::open(data.clone(), driver, Vec::new()).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    look(&site).await;
    let read = |site: &Site| tiers::points(&site.app.store, NodeIndex(0), Slot(0), Slot(u32::MAX), Parts::ALL).map(drop);
    read(&site).unwrap();
    look(&site).await;
    assert_eq!(open_alerts(&site).await, ["storage_damaged"]);
    let alert = site.client.get("/alerts?state=active").await["alerts"][0].take();
    assert_eq!((&alert["severity"], &alert["subject"]), (&json!("warning"), &json!(weeks[1])), "{alert}");
    let health = site.client.get("/health").await;
    assert_eq!((&health["status"], &health["checks"]["store"]["status"]), (&json!("degraded"), &json!("degraded")), "{health}");
    let told = verify(&site.app.store).into_iter().find_map(|finding| finding.wrong).unwrap();
    assert!(told.contains(&format!("{}: ", weeks[1])), "{told}");

    // Books and what else there is go into a backup all the same, which says what it lacks.
    let made = make(&site.app.store, &Options::new(dir.path().join("backups"), 3), site.app.clock.now().wall, &mut |_| true).unwrap();
    assert_eq!(made.left_out.len(), 1, "{:?}", made.left_out);
    let named: Vec<_> = made.manifest.files.iter().map(|file| file.name.as_str()).filter(|name| name.starts_with("cold/")).collect();
    assert_eq!(named, [format!("cold/{}", weeks[0]), format!("cold/{}", weeks[2])]);

    // What comes for that week goes to a new file; the damaged one stays for whoever wants to save something of it.
    put_weeks(&site, 1, &page).await;
    assert!(data.join("cold").join(format!("{}.damaged", weeks[1])).is_file());
    sound(&site);
    look(&site).await;
    let subjects = site.client.get("/alerts?state=active").await["alerts"].to_string();
    assert!(subjects.contains(&format!("{}.damaged", weeks[1])), "{subjects}");
    fs::remove_file(data.join("cold").join(format!("{}.damaged", weeks[1]))).unwrap();
    look(&site).await;
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
    assert_eq!(site.client.get("/health").await["checks"]["store"]["status"], "healthy");
}

/// A file that counts as the store's, of so many bytes.
fn archive(site: &Site, bytes: u64) {
    let folder = site.dir.join("archive");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("filler"), vec![1; usize::try_from(bytes).unwrap()]).unwrap();
}

#[tokio::test]
async fn from_85_percent_on_the_oldest_weeks_go_as_long_as_that_helps() {
    let (_dir, site) = site(&[]).await;
    let names = fill_weeks(&site, 5).await;
    assert_eq!(names.len(), 6);
    let limit = 64 * MB;
    set(&site, "storage.max_mb", "64").await;
    let store = look(&site).await["store_bytes"].as_u64().unwrap();
    // 86 %: two or three of the four weeks that may go are enough.
    archive(&site, limit / 100 * 86 - store);
    let mut levels = vec![look(&site).await["level"].as_str().unwrap().to_owned()];
    assert_eq!(open_alerts(&site).await, ["storage_high"]);
    assert_eq!(site.app.store.cold.names(), names[1..], "the oldest, and one in a run");
    while levels.last().unwrap() == "high" && levels.len() < 9 {
        levels.push(look(&site).await["level"].as_str().unwrap().to_owned());
    }
    assert_eq!(levels.last().unwrap(), "ample", "{levels:?}");
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
    let left = site.app.store.cold.names();
    assert!(left.len() >= 2 && left == names[names.len() - left.len()..], "{left:?}");
    let audited = site.client.get("/audit?operation=storage.expire_early").await;
    assert_eq!(audited["pagination"]["total"], names.len() - left.len(), "{audited}");
    // 94 %: even all of them would not end it, so none is spent.
    let store = site.client.get("/storage").await["space"]["store_bytes"].as_u64().unwrap();
    let filler = fs::metadata(site.dir.join("archive/filler")).unwrap().len();
    archive(&site, filler + limit / 100 * 94 - store);
    assert_eq!(look(&site).await["level"], "high");
    look(&site).await;
    assert_eq!(site.app.store.cold.names(), left);
    // At the end they go all the same, but for the present and the previous one.
    archive(&site, filler + limit / 100 * 97 - store);
    for _ in 0..6 {
        assert_eq!(look(&site).await["level"], "critical");
    }
    assert_eq!(site.app.store.cold.names(), names[4..]);
}

#[tokio::test]
async fn measurements_are_bounded_by_their_size_too() {
    let (_dir, site) = site(&[]).await;
    let names = fill_weeks(&site, 5).await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(site.app.store.cold.names(), names, "0 is no bound");
    let of = |name: &String| site.app.store.cold.names().contains(name);
    let taken: u64 = {
        use std::os::unix::fs::MetadataExt;
        names.iter().map(|name| fs::metadata(site.dir.join("cold").join(name)).unwrap().blocks() * 512).sum()
    };
    let keeps = (taken * 2 / 3).div_ceil(MB);
    set(&site, "storage.raw_max_mb", &keeps.to_string()).await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert!(!of(&names[0]) && of(&names[3]), "{:?}", site.app.store.cold.names());
    set(&site, "storage.raw_max_mb", "1").await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(site.app.store.cold.names(), names[4..], "the present and the previous week stay");
    // Each is in the audit log, with why.
    let entries = site.client.get("/audit?operation=storage.expire&limit=50").await;
    let told = |entry: &Value| (entry["subject"].as_str().unwrap().to_owned(), entry["reason"].as_str().unwrap().to_owned());
    let mut told: Vec<_> = entries["entries"].as_array().unwrap().iter().map(told).collect();
    told.sort();
    assert_eq!(told.iter().map(|(name, _)| name).collect::<Vec<_>>(), names[..4].iter().collect::<Vec<_>>());
    assert!(told[3].1 == "weeks take more than 1 MB", "{told:?}");
}

#[tokio::test]
async fn weeks_that_are_too_old_go_with_an_entry_and_one_that_somebody_took_is_missed() {
    let (_dir, site) = site(&[]).await;
    let page = |slot| Series { slots: vec![slot], late: vec![false], ..Series::default() }.encode();
    let names = put_weeks(&site, 6, &page).await;
    set(&site, "storage.raw_days", "30").await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    let kept = site.app.store.cold.names();
    assert!(kept.len() < names.len() && names.ends_with(&kept), "{kept:?}");
    let entries = site.client.get("/audit?operation=storage.expire&limit=50").await["entries"].take();
    let (of_expiry, gone) = (entries.as_array().unwrap(), names.len() - kept.len());
    assert!(of_expiry.len() == gone && of_expiry.iter().all(|entry| entry["reason"] == "older than 30 days"), "{entries}");
    sound(&site);

    let file = site.dir.join("cold").join(&kept[1]);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let told = verify(&site.app.store).into_iter().filter_map(|finding| finding.wrong).collect::<Vec<_>>();
    assert_eq!(told, [format!("nothing says that {} should be gone", kept[1])]);
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(open_alerts(&site).await, ["storage_lost"]);
    let lost = site.client.get("/audit?operation=storage.lost").await["entries"].take();
    assert_eq!((lost.as_array().unwrap().len(), &lost[0]["subject"]), (1, &json!(kept[1])));
    sound(&site);
    let missed = verify(&site.app.store).into_iter().find_map(|finding| finding.left_out.filter(|what| what.contains("missed since")));
    assert!(missed.is_some_and(|what| what.starts_with(&kept[1])));

    // A backup's copy takes its place while the manager is stopped.
    let (data, driver) = (site.dir.clone(), site.driver.clone());
    site.end().await;
    fs::write(&file, &whole).unwrap();
    let mut site = Site::open(data, driver, Vec::new()).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
    sound(&site);

    // Of a week that is written to: what comes makes a new file, and the one that was taken is missed all the same.
    let present = site.app.store.cold.names().pop().unwrap();
    fs::remove_file(site.dir.join("cold").join(&present)).unwrap();
    put_weeks(&site, 0, &page).await;
    assert!(site.dir.join("cold").join(&present).is_file());
    site.app.context.run(Job::Housekeeping).await.unwrap();
    site.app.context.run(Job::Housekeeping).await.unwrap();
    let alert = site.client.get("/alerts?state=active").await["alerts"][0].take();
    assert_eq!((&alert["kind"], &alert["subject"]), (&json!("storage_lost"), &json!(present)), "{alert}");
    sound(&site);

    // One that is missing for good is missed until it would be too old.
    fs::remove_file(&file).unwrap();
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(open_alerts(&site).await, ["storage_lost", "storage_lost"]);
    set(&site, "storage.raw_days", "7").await;
    site.driver.advance_ms(14 * DAY_MS);
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
}

async fn adjust(site: &Site, node: &str, n: u32) -> (StatusCode, Value) {
    let body = json!({ "node_id": node, "amount": "1", "currency": "USDT", "settlement": "simulated", "reason": format!("number {n}") });
    site.client.call(Method::POST, "/ledger/adjustments", Some(body)).await
}

#[tokio::test]
async fn on_a_disk_that_runs_full_measurements_stop_first_and_money_last() {
    let (dir, device) = (tempfile::tempdir().unwrap(), CrashDevice::new(3));
    device.leave_room(Some(64 * MB));
    let site = Site::on(dir.path().join("data"), &[], device.device()).await;
    let mut node = site.enrol("one").await;
    let id = node.id.to_string();
    assert_eq!(look(&site).await["reserve_bytes"], 4 * MB);
    assert_eq!(device.device().taken(&Path::new(&site.dir).join("reserve")).unwrap(), 4 * MB);
    let reported = async |node: &mut crate::support::fleet::Node| {
        site.next_slot(5_000);
        node.report(site.now_ms(), sample()).await.unwrap();
        site.app.context.run(Job::Flush).await
    };
    reported(&mut node).await.unwrap();

    device.leave_room(Some(4 * MB + 900_000));
    let stopped = reported(&mut node).await.unwrap_err();
    assert!(stopped.0.contains("full"), "{stopped:?}");
    let mut paid = 0;
    for n in 0..20 {
        assert_eq!(adjust(&site, &id, n).await.0, StatusCode::CREATED);
        paid += 1;
    }
    assert_eq!(site.app.store.room.reserved_bytes(), 4 * MB, "there was room");
    assert!(!site.app.store.hot.is_down() && !site.app.store.hot.failed());
    let elsewhere = Options::new(dir.path().join("elsewhere"), 30);
    make(&site.app.store, &elsewhere, site.app.clock.now().wall, &mut |_| true).expect("a backup to another disk is what is needed now");

    // Into the reserve.
    device.leave_room(Some(0));
    for n in 20..40 {
        assert_eq!(adjust(&site, &id, n).await.0, StatusCode::CREATED);
        paid += 1;
    }
    assert_eq!(site.app.store.room.reserved_bytes(), 0);
    assert!(reported(&mut node).await.is_err(), "what is left is not for measurements");

    // And to the end of it.
    device.leave_room(Some(0));
    let mut refused = 0;
    for n in 40..400 {
        let (status, answer) = adjust(&site, &id, n).await;
        if status == StatusCode::CREATED {
            paid += 1;
            continue;
        }
        assert_eq!((status, &answer["error"]["details"]["name"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("StorageFull")), "{answer}");
        refused += 1;
        if refused > 5 {
            break;
        }
    }
    assert!(refused > 5);
    assert_eq!(site.client.get("/nodes").await["pagination"]["total"], 1, "reads go on");

    device.leave_room(Some(64 * MB));
    assert_eq!(adjust(&site, &id, 1_000).await.0, StatusCode::CREATED);
    paid += 1;
    reported(&mut node).await.unwrap();
    assert_eq!(look(&site).await["reserve_bytes"], 4 * MB);
    let postings = site.client.get("/ledger?limit=1").await;
    assert_eq!(postings["pagination"]["total"], paid, "what was refused was not done");
    let slot = Slot(u32::try_from(site.now_ms() / 30_000).unwrap());
    let points = tiers::points(&site.app.store, NodeIndex(0), slot.minus(3), slot.plus(1), Parts::ALL).unwrap();
    assert_eq!(points.len(), 4, "no report was lost");
    sound(&site);
}

#[tokio::test]
async fn an_error_that_was_survived_is_told_for_a_day() {
    let (dir, device) = (tempfile::tempdir().unwrap(), CrashDevice::new(4));
    let site = Site::on(dir.path().join("data"), &[], device.device()).await;
    let id = site.enrol("one").await.id.to_string();
    look(&site).await;
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
    device.fail_sync(1);
    assert_eq!(adjust(&site, &id, 1).await.0, StatusCode::CREATED);
    look(&site).await;
    let alerts = site.client.get("/alerts?state=active").await;
    let alert = alerts["alerts"].as_array().unwrap().iter().find(|alert| alert["kind"] == "storage_io_error").unwrap();
    assert_eq!(alert["subject"], "core.redb");
    assert!(alert["message"].as_str().unwrap().contains("the card did not sync"), "{alert}");
    site.driver.advance_ms(DAY_MS - 60_000);
    look(&site).await;
    assert_eq!(open_alerts(&site).await, ["storage_io_error"]);
    site.driver.advance_ms(120_000);
    look(&site).await;
    assert_eq!(open_alerts(&site).await, Vec::<String>::new());
}

/// Each epoch flushes before it closes: a timer that did not know of it would write half of everything twice.
#[tokio::test]
async fn while_epochs_close_nothing_else_is_flushed() {
    let (_dir, site) = site(&[]).await;
    let mut node = site.enrol("one").await;
    let mut due = Vec::new();
    // 330 s are eleven slots, and the first epoch closes in the thirteenth.
    for slot in 0..90 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
        if slot < 60 {
            site.app.context.run(Job::Epochs).await.unwrap();
        }
        due.extend((slot >= 20 && site.app.context.flush_is_due()).then_some(slot));
    }
    assert!(due.first().is_some_and(|first| (60..72).contains(first)), "due in {due:?}");
    site.app.context.run(Job::Flush).await.unwrap();
    assert!(!site.app.context.flush_is_due());
}
