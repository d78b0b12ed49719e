//! Files of the store become small again, by hand and in the daily window, while everything goes on.

use lucid::live::Job;
use lucid::storage::DbFile;
use lucid::storage::table::Table;
use lucid::storage::verify::verify;
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
    use lucid::storage::Lane;
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
