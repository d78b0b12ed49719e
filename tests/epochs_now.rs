//! An epoch is closed early when an admin asks for it: at the newest closed slot, for its real length, and without moving any boundary.

use lucid::clock::Driver;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{BootMs, SLOT_MS};
use lucid::live::Job;
use lucid::storage::core::epochs;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::{START, Site};

async fn slots(site: &Site, count: u32, node: &mut Node) {
    for _ in 0..count {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
    }
}

async fn calculate(site: &Site) -> (StatusCode, Value) {
    site.client.call(Method::POST, "/poot/calculate", None).await
}

/// First and last slot of each epoch since `START`, oldest first.
async fn ranges(site: &Site) -> Vec<(u64, u64)> {
    let body = site.client.get("/poot/epochs?limit=100").await;
    let since = |epoch: &Value, key: &str| epoch[key].as_u64().unwrap() - u64::from(START.slot().0);
    let mut ranges: Vec<_> = body["epochs"].as_array().unwrap().iter().map(|e| (since(e, "first_slot"), since(e, "last_slot"))).collect();
    ranges.reverse();
    ranges
}

fn assert_chained(site: &Site) {
    epochs::verify(&site.app.store.read().unwrap()).unwrap().expect("each head follows the one before");
}

#[tokio::test]
async fn an_epoch_is_closed_at_the_newest_closed_slot_and_the_next_ends_at_the_boundary() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "60")]).await;
    let mut node = site.enrol("one").await;
    let (status, refused) = calculate(&site).await;
    assert_eq!((status, error_name(&refused)), (StatusCode::CONFLICT, "EpochTooYoung"), "nothing was heard yet");
    // Slots 1 to 6 are proven; slot 2 ended 95 seconds ago.
    slots(&site, 6, &mut node).await;
    let (status, closed) = calculate(&site).await;
    assert_eq!(status, StatusCode::OK, "{closed}");
    let first = u64::from(START.slot().0);
    assert_eq!(
        (closed["first_slot"].as_u64(), closed["last_slot"].as_u64(), &closed["gap"]),
        (Some(first), Some(first + 2), &json!(false))
    );
    assert_eq!((&closed["nodes"], &closed["valid"]), (&json!(1), &json!(1)), "{closed}");
    // Two slots of a minute, at 0.05 an hour and a score of 100.
    assert_eq!(closed["accrued"], "0.000833333333");

    let (status, refused) = calculate(&site).await;
    assert_eq!((status, error_name(&refused)), (StatusCode::CONFLICT, "EpochTooYoung"));
    let log = site.client.get("/audit?limit=10").await;
    let entries: Vec<&Value> = log["entries"].as_array().unwrap().iter().filter(|entry| entry["operation"] == "poot.calculate").collect();
    assert_eq!(entries.len(), 1, "what was refused changed nothing: {log}");
    assert_eq!(entries[0]["reason"], json!(format!("epoch {first}, through slot {}", first + 2)));

    // A crash later the rest of the epoch is closed at its boundary, and everything is counted once.
    site = site.crash().await;
    node.rebase(&site.client.base);
    slots(&site, 15, &mut node).await;
    site.app.context.run(Job::Epochs).await.unwrap();
    assert_eq!(ranges(&site).await, [(0, 2), (3, 9)]);
    let (status, _) = calculate(&site).await;
    assert_eq!(status, StatusCode::OK);
    site.next_slot(5_000);
    let (status, _) = calculate(&site).await;
    assert_eq!(status, StatusCode::OK, "one slot is an epoch");
    assert_eq!(ranges(&site).await, [(0, 2), (3, 9), (10, 17), (18, 18)]);
    assert_chained(&site);
    let history = site.client.get(&format!("/nodes/{}/poot/history?limit=100", node.id)).await;
    let proven: Vec<u64> = history["epochs"].as_array().unwrap().iter().map(|e| e["proven"].as_u64().unwrap()).collect();
    assert_eq!(proven, [1, 8, 7, 2], "newest first, each slot once");
}

#[tokio::test]
async fn epochs_that_are_over_are_closed_first_and_a_new_length_begins_with_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    slots(&site, 1, &mut node).await;
    // Away until ten minutes before midnight.
    site.driver.advance_ms(SLOT_MS * 2_858);
    slots(&site, 17, &mut node).await;
    let (status, closed) = calculate(&site).await;
    assert_eq!(status, StatusCode::OK, "{closed}");
    assert_eq!(ranges(&site).await, [(0, 9), (10, 2_859), (2_860, 2_869), (2_870, 2_872)]);
    site.client.put("/settings", json!({ "poot.calculation_interval_seconds": 600 })).await;
    site = site.crash().await;
    node.rebase(&site.client.base);
    slots(&site, 15, &mut node).await;
    site.app.context.run(Job::Epochs).await.unwrap();
    let (status, _) = calculate(&site).await;
    assert_eq!(status, StatusCode::OK);
    slots(&site, 17, &mut node).await;
    site.app.context.run(Job::Epochs).await.unwrap();
    let all = ranges(&site).await;
    assert_eq!(all[4..], [(2_873, 2_879), (2_880, 2_887), (2_888, 2_899)]);
    assert_chained(&site);
    let overview = site.client.get("/overview").await;
    assert!(!overview["attention"].to_string().contains("epochs_behind"), "{}", overview["attention"]);
}

#[tokio::test]
async fn nothing_is_closed_and_no_key_is_told_by_a_clock_that_nobody_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let driver = Driver::new(START, BootMs(60_000));
    driver.set_synchronised(false);
    let mut site = Site::open(dir.path().join("data"), driver, Vec::new()).await;
    site.set_up().await;
    for (method, path) in [(Method::POST, "/poot/calculate"), (Method::GET, "/poot/day-keys/2001-09-09")] {
        let (status, refused) = site.client.call(method, path, None).await;
        assert_eq!((status, error_name(&refused)), (StatusCode::SERVICE_UNAVAILABLE, "ClockUntrusted"), "{path}");
    }
    let log = site.client.get("/audit?limit=50").await;
    assert!(!log.to_string().contains("poot.calculate"));
}
