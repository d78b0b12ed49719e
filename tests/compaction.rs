//! Files of the store become small again, by hand and in the daily window, while everything goes on.

use lucid::domain::ids::NodeIndex;
use lucid::domain::time::Slot;
use lucid::live::Job;
use lucid::storage::hot::Parts;
use lucid::storage::table::Table;
use lucid::storage::verify::verify;
use lucid::storage::{DbFile, Lane, hot, tiers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::site::Site;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Filler(Vec<u8>);
lucid::record!(Filler = 1);

const FILLER: Table<u32, Filler> = Table::new("filler");
const HOUR_MS: i64 = 3_600_000;

/// Leaves `megabytes` of free pages in the file.
async fn loosen(file: &DbFile, megabytes: u32) {
    let rows = megabytes * 64;
    file.write(Lane::Ordinary, move |tx| (0..rows).try_for_each(|n| tx.put(FILLER, &n, &Filler(vec![7; 15_000])))).await.unwrap();
    file.write(Lane::Ordinary, move |tx| (0..rows).try_for_each(|n| tx.delete(FILLER, &n).map(drop))).await.unwrap();
}

async fn database(site: &Site, file: &str) -> Value {
    let storage = site.client.get("/storage").await;
    storage["databases"].as_array().unwrap().iter().find(|database| database["file"] == file).unwrap().clone()
}

fn sound(site: &Site) {
    let wrong: Vec<_> = verify(&site.app.store).into_iter().filter(|finding| finding.wrong.is_some()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn an_admin_has_a_file_compacted_and_sees_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    loosen(&site.app.store.core, 4).await;
    let before = database(&site, "core").await;
    assert!(before["free_percent"].as_u64().unwrap() > 40, "{before}");
    assert_eq!((&before["compaction"]["phase"], &before["compaction"]["last"]), (&json!("idle"), &Value::Null));
    let names: Vec<&str> = before["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"audit") && names.contains(&"nodes"), "{names:?}");

    let answer = site.client.post("/storage/compact", json!({ "file": "core" })).await;
    assert_eq!(answer["files"], json!(["core"]));
    assert_eq!(database(&site, "core").await["compaction"]["phase"], "waiting");
    let (status, refused) = site.client.call(reqwest::Method::POST, "/storage/compact", Some(json!({}))).await;
    assert_eq!((status.as_u16(), refused.to_string().contains("CompactionRunning")), (409, true), "{refused}");
    site.app.context.run(Job::Compaction).await.unwrap();

    let after = database(&site, "core").await;
    let last = &after["compaction"]["last"];
    assert_eq!((&after["compaction"]["phase"], &last["failed_because"]), (&json!("idle"), &Value::Null), "{after}");
    assert!(last["after_bytes"].as_u64().unwrap() * 2 < last["before_bytes"].as_u64().unwrap(), "{last}");
    assert!(after["length_bytes"].as_u64() < before["length_bytes"].as_u64());
    assert!(database(&site, "hot").await["compaction"]["last"].is_null(), "only the one that was asked for");
    let entries = site.client.get("/audit?operation=storage.compact").await;
    assert!(entries.to_string().contains("storage.compact"), "{entries}");
    // And everything goes on, also after a restart.
    node.report(site.now_ms(), Default::default()).await;
    site.pass_slots(3).await;
    sound(&site);
    let site = site.crash().await;
    sound(&site);
    assert_eq!(site.client.get("/nodes").await["pagination"]["total"], 1);
}

#[tokio::test]
async fn no_report_is_lost_and_no_chart_fails_while_the_file_that_takes_them_is_compacted() {
    const SLOTS: u32 = 60;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    let hot = &site.app.store.hot;
    hot.write(Lane::Ordinary, |tx| (0..800).try_for_each(|n| tx.put(FILLER, &n, &Filler(vec![7; 15_000])))).await.unwrap();
    loosen(hot, 4).await;
    site.client.post("/storage/compact", json!({ "file": "hot" })).await;
    let from = Slot(u32::try_from(site.now_ms() / 30_000).unwrap() + 1);
    let (compactions, chart) = (site.app.context.clone(), format!("/nodes/{}/resources/metrics?granularity=30s", node.id));
    let compacting = tokio::spawn(async move { compactions.run(Job::Compaction).await });
    let mut beside = 0;
    for slot in 0..SLOTS {
        site.next_slot(5_000);
        node.report(site.now_ms(), Default::default()).await.expect("the report is answered");
        if slot % 5 == 4 {
            site.app.context.run(Job::Flush).await.unwrap();
            assert!(site.client.get(&chart).await["metrics"].is_array());
        }
        beside += u32::from(!compacting.is_finished());
    }
    compacting.await.unwrap().unwrap();
    assert!(beside > 0, "it was over before anything came");
    let last = &database(&site, "hot").await["compaction"]["last"];
    assert_eq!(last["failed_because"], Value::Null, "{last}");
    let site = site.crash().await;
    let kept = tiers::points(&site.app.store, NodeIndex(0), from, from.plus(SLOTS), Parts::ALL).unwrap();
    assert_eq!(kept.len(), usize::try_from(SLOTS).unwrap());
    let evidence = hot::evidence(&site.app.store.hot.read().unwrap(), from, from.plus(SLOTS)).unwrap();
    assert_eq!(evidence.iter().filter(|(_, row)| row.proven.get(NodeIndex(0))).count(), kept.len());
    sound(&site);
}

#[tokio::test]
async fn a_file_that_is_mostly_free_is_compacted_once_in_the_daily_window() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    loosen(&site.app.store.hot, 20).await;
    let length = || site.app.store.hot.length_bytes().unwrap();
    let loose = length();
    let run = async |hours: i64| {
        site.driver.advance_ms(hours * HOUR_MS);
        site.app.context.tick();
        site.app.context.run(Job::Compaction).await.unwrap();
    };
    run(1).await;
    assert_eq!(length(), loose, "the window is from 2 to 5");
    run(2).await;
    assert!(length() * 2 < loose, "{} of {loose}", length());
    loosen(&site.app.store.hot, 20).await;
    let again = length();
    run(1).await;
    assert_eq!(length(), again, "once in a window");
    run(22).await;
    assert!(length() * 2 < again, "and the next day again");
    let entries = site.client.get("/audit?operation=storage.compact").await;
    assert!(entries.to_string().matches("storage.compact").count() >= 2, "{entries}");
}
