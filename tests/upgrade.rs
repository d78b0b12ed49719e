//! A store of an earlier release, opened by the real binary.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lucid::clock::Driver;
use lucid::domain::metrics::{Cpu, Sample};
use lucid::domain::time::BootMs;
use lucid::live::Job;
use lucid::storage::verify::verify;
use serde_json::json;

use crate::support::binary::{serve, start_manager};
use crate::support::client::{Client, PASSWORD, USERNAME};
use crate::support::site::{START, Site};

/// A whole store as the first release left it.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-0.1.0")
}

const FILES: [&str; 5] = ["secret.key", "core.redb", "hot.redb", "cold/raw-2026w39.redb", "cold/hourly-2026-09.redb"];
const SLOTS: u32 = 400;

async fn slots(site: &Site, node: &mut crate::support::fleet::Node, count: u32) {
    for slot in 0..count {
        site.next_slot(5_000);
        let cpu = Cpu { usage_percent: Some(f64::from(slot % 50)), ..Cpu::default() };
        node.report(site.now_ms(), Sample { cpu, ..Sample::default() }).await.unwrap();
        if slot % 10 == 9 {
            site.app.context.run_all().await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "writes tests/fixtures/store-0.1.0, which stays as it is"]
async fn make_the_store_of_the_first_release() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("one").await;
    slots(&site, &mut node, SLOTS).await;
    let owed = json!({ "node_id": node.id, "amount": "5", "currency": "USDT", "settlement": "simulated", "reason": "for a test" });
    site.client.post("/ledger/adjustments", owed).await;
    site.app.store.seal(lucid::domain::time::Slot(u32::MAX)).await.unwrap();
    site.app.context.run(Job::Housekeeping).await.unwrap();
    let data = site.dir.clone();
    site.end().await;
    fs::create_dir_all(golden().join("cold")).unwrap();
    for name in FILES {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&fs::read(data.join(name)).unwrap()).unwrap();
        fs::write(golden().join(format!("{name}.gz")), packed.finish().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_whole_store_of_the_first_release_opens_verifies_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("cold")).unwrap();
    for name in FILES {
        let packed = fs::read(golden().join(format!("{name}.gz"))).unwrap();
        let mut bytes = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        fs::write(data.join(name), bytes).unwrap();
    }
    let driver = Driver::new(START.plus_seconds(86_400), BootMs(60_000));
    driver.set_synchronised(true);
    let mut site = Site::open(data, driver, Vec::new()).await;
    site.client.sign_in(USERNAME, PASSWORD).await;
    let sound = |site: &Site| {
        for finding in verify(&site.app.store) {
            assert_eq!(finding.wrong, None, "{}", finding.part);
        }
    };
    sound(&site);
    let nodes = site.client.get("/nodes").await;
    let id = nodes["nodes"][0]["node_id"].as_str().unwrap().to_owned();
    assert_eq!((&nodes["pagination"]["total"], &nodes["nodes"][0]["name"]), (&json!(1), &json!("one")));
    let (from, until) = (START.rfc3339(), START.plus_seconds(6 * 3_600).rfc3339());
    let chart =
        site.client.get(&format!("/nodes/{id}/resources/metrics?metric_type=cpu&granularity=30s&start_time={from}&end_time={until}")).await;
    assert_eq!(chart["metrics"].as_array().unwrap().len(), usize::try_from(SLOTS).unwrap());
    let hours =
        site.client.get(&format!("/nodes/{id}/resources/metrics?metric_type=cpu&granularity=1h&start_time={from}&end_time={until}")).await;
    assert!(hours["metrics"].as_array().unwrap().len() >= 3, "{hours}");
    assert!(site.client.get("/ledger?limit=50").await.to_string().contains("for a test"));
    assert_eq!(site.client.get("/audit/verify").await["ok"], true);
    site.pass_slots(30).await;
    sound(&site);
}

/// Earlier releases had fewer tables; an empty one is as good as one that was not there yet.
fn drop_empty_tables(path: &std::path::Path) -> usize {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let names: Vec<String> = transaction.list_tables().unwrap().map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    let mut dropped = 0;
    for name in names {
        let table: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(&name);
        let is_empty = redb::ReadableTableMetadata::is_empty(&transaction.open_table(table).unwrap()).unwrap();
        if is_empty {
            assert!(transaction.delete_table(table).unwrap());
            dropped += 1;
        }
    }
    transaction.commit().unwrap();
    dropped
}

#[tokio::test]
async fn the_binary_opens_a_store_that_lacks_tables() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut manager = start_manager(serve(&data));
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data.join("setup-code")).unwrap();
    client.set_up(code.trim(), None).await;
    assert!(manager.process.terminate().success());
    for file in ["core.redb", "hot.redb"] {
        let dropped = drop_empty_tables(&data.join(file));
        assert!(dropped > 3, "{dropped} of {file}");
    }
    let manager = start_manager(serve(&data));
    let client = client.at(&manager.base);
    assert_eq!(client.get("/auth/me").await["user"]["role"], "super_admin");
    assert_eq!(client.get("/nodes/pools").await["pagination"]["total"], 1);
}
