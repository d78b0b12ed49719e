//! Outputs of more than a year ago: out of the store, into archives.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use lucid::crypto::{hex, sha256};
use lucid::domain::archive::Manifest;
use lucid::live::Job;
use lucid::storage::Lane;
use lucid::storage::hot::outputs as log;
use lucid::storage::verify::verify;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer, output, site};
use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::Site;

const DAY_MS: i64 = 86_400_000;
const LINES: &str = "outputs-2026-09.jsonl.gz";
const MANIFEST: &str = "outputs-2026-09.manifest.json";

async fn housekeeping(site: &Site) {
    site.app.context.tick();
    site.app.context.run(Job::Housekeeping).await.unwrap();
}

/// Newest first.
async fn listed(site: &Site, node: &Node) -> Vec<Value> {
    let answer = site.client.get(&format!("/nodes/{}/poot/validations?limit=100", node.id)).await;
    let rows = answer["validations"].as_array().unwrap().clone();
    assert_eq!(answer["pagination"]["total"].as_u64(), Some(rows.len() as u64), "{answer}");
    rows
}

async fn months(site: &Site, node: &Node) -> Value {
    site.client.get(&format!("/nodes/{}/poot/validations/months", node.id)).await["months"].clone()
}

async fn archives(site: &Site) -> Vec<Value> {
    let mut all = site.client.get("/archives").await["archives"].as_array().unwrap().clone();
    all.retain(|archive| archive["kind"] == "outputs");
    all
}

/// A file as a program takes it.
async fn taken(site: &Site, name: &str) -> (StatusCode, String, Vec<u8>) {
    let request = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{}/api/v1/archives/{name}", site.client.base));
    let answer = request.bearer_auth(site.client.token()).send().await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status(), content_type, answer.bytes().await.unwrap().to_vec())
}

fn is_about_outputs(alert: &Value) -> bool {
    alert["kind"] == "archive_failed" && alert["message"].as_str().unwrap().starts_with("The outputs ")
}

async fn alert(site: &Site) -> Option<Value> {
    let alerts = site.client.get("/alerts?state=active").await;
    alerts["alerts"].as_array().unwrap().iter().find(|alert| is_about_outputs(alert)).cloned()
}

fn folder(site: &Site) -> PathBuf {
    site.dir.join("archive")
}

/// Two nodes, with outputs in September and in October.
async fn lived(site: &Site) -> [Node; 2] {
    let nodes = [site.enrol("one").await, site.enrol("two").await];
    for n in 0..60 {
        let node = &nodes[n % 2];
        let (data, nonce) = (format!("an output with number {n}"), format!("nonce-{n:04}"));
        let mut body = output(site, &data, &nonce);
        if n % 7 == 0 {
            body["output_hash"] = "0".repeat(64).into();
        }
        body["node_id"] = node.id.as_str().into();
        match n % 3 {
            0 => drop(site.client.post("/nodes/poot/batch-validate", json!({ "validations": [body] })).await),
            1 => drop(node.submit(&answer(site, &data, &nonce, None)).await.unwrap()),
            _ => {
                body.as_object_mut().unwrap().remove("node_id");
                site.client.post(&format!("/nodes/{}/poot/validate", node.id), body).await;
            }
        }
        site.driver.advance_ms(if n == 39 { 10 * DAY_MS } else { 1_000 });
        site.app.context.tick();
    }
    site.app.context.run(Job::Flush).await.unwrap();
    nodes
}

/// September of the year before is over for twelve months.
async fn a_year_later(site: &Site) {
    site.driver.advance_ms(365 * DAY_MS);
    site.app.context.tick();
}

#[tokio::test]
async fn a_month_is_archived_after_a_year_and_says_what_the_list_said() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let nodes = lived(&site).await;
    let mut before = Vec::new();
    let mut sums = Vec::new();
    for node in &nodes {
        let rows = listed(&site, node).await;
        assert_eq!(rows.len(), 30);
        before.push(rows);
        sums.push(months(&site, node).await);
    }
    site.driver.advance_ms(350 * DAY_MS);
    housekeeping(&site).await;
    assert_eq!((archives(&site).await.len(), folder(&site).exists()), (0, false), "September is not twelve months ago yet");
    site.driver.advance_ms(15 * DAY_MS);

    // What cannot be written stays in the store.
    std::fs::write(folder(&site), "in the way").unwrap();
    housekeeping(&site).await;
    let raised = alert(&site).await.expect("an alert");
    let message = raised["message"].as_str().unwrap();
    assert!(message.contains("2026-10") && message.contains("stay in the store"), "{raised}");
    assert!(log::begins_within(&site.app.store.hot.read().unwrap(), 60).unwrap());
    housekeeping(&site).await;
    assert_eq!(alert(&site).await.unwrap()["id"], raised["id"], "one alert, however often it fails");

    std::fs::remove_file(folder(&site)).unwrap();
    housekeeping(&site).await;
    assert_eq!(alert(&site).await, None);
    let found = archives(&site).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (status, content_type, bytes) = taken(&site, LINES).await;
    assert_eq!((status, content_type.as_str()), (StatusCode::OK, "application/gzip"));
    assert_eq!(bytes, std::fs::read(folder(&site).join(LINES)).unwrap());
    let expected = json!({
        "kind": "outputs", "period": "2026-09", "count": 40, "bytes": bytes.len(), "sha256": hex(&sha256(&bytes)),
        "made_at": found[0]["made_at"], "file": LINES, "manifest": MANIFEST,
    });
    assert_eq!(found[0], expected);
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (node, rows) in nodes.iter().zip(&before) {
        let of_node: Vec<&Value> = lines.iter().rev().filter(|line| line["node_id"] == node.id.as_str()).collect();
        assert!(of_node.iter().copied().eq(&rows[10..]), "the lines are what the list showed");
        assert_eq!(listed(&site, node).await, rows[..10], "October is still there");
    }
    for (node, sums) in nodes.iter().zip(&sums) {
        assert_eq!(months(&site, node).await, *sums);
    }

    let (status, content_type, bytes) = taken(&site, MANIFEST).await;
    assert_eq!((status, content_type.as_str()), (StatusCode::OK, "application/json"));
    let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
    assert!(manifest.is_signed() && manifest.manager_key.0 == site.app.store.manager_key().0);
    assert_eq!((manifest.first, manifest.last, hex(&manifest.sha256.0)), (1, 40, found[0]["sha256"].as_str().unwrap().to_owned()));
    let audit = site.client.get("/audit?operation=archive.make").await;
    let hash = found[0]["sha256"].as_str().unwrap();
    assert!(audit["entries"].as_array().unwrap().iter().any(|entry| entry["reason"].as_str().unwrap().contains(hash)), "{audit}");
    assert_eq!(site.client.get("/audit?operation=archive.export").await["pagination"]["total"], 2);
    for name in ["outputs-2026-10.jsonl.gz", "outputs-2026-09", "..%2Fsecret.key", "..%2Farchive%2Foutputs-2026-09.jsonl.gz", "%00"] {
        let (status, answer) = site.client.call(Method::GET, &format!("/archives/{name}"), None).await;
        assert_eq!((status, error_name(&answer)), (StatusCode::NOT_FOUND, "ArchiveNotFound"), "{name}");
    }
    assert!(verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));

    // Nothing more is due, also for the next process; what is written of October later finds its place.
    let site = site.crash().await;
    housekeeping(&site).await;
    assert_eq!(archives(&site).await, found);
    site.driver.advance_ms(31 * DAY_MS);
    housekeeping(&site).await;
    let found = archives(&site).await;
    assert_eq!((found.len(), found[0]["period"].as_str(), found[0]["count"].as_u64()), (2, Some("2026-10"), Some(20)));
    assert_eq!(listed(&site, &nodes[0]).await, Vec::<Value>::new());
    std::fs::remove_file(folder(&site).join(LINES)).unwrap();
    let (status, answer) = site.client.call(Method::GET, &format!("/archives/{LINES}"), None).await;
    assert_eq!((status, error_name(&answer)), (StatusCode::SERVICE_UNAVAILABLE, "ArchiveUnreadable"));
    let wrong: Vec<String> = verify(&site.app.store).into_iter().filter_map(|finding| finding.wrong).collect();
    assert_eq!(wrong, ["outputs-2026-09: the file of its lines is missing"]);
}

#[tokio::test]
async fn rows_wait_until_their_archive_is_whole_again() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let nodes = lived(&site).await;
    a_year_later(&site).await;
    let row = log::by_number(&site.app.store.hot.read().unwrap(), 1).unwrap().unwrap();
    housekeeping(&site).await;
    let is_left = || log::by_number(&site.app.store.hot.read().unwrap(), 1).unwrap().is_some();
    for (name, why) in [(LINES, "outputs-2026-09: its lines"), (MANIFEST, "outputs-2026-09: its manifest")] {
        // As after a crash between two deletions.
        site.app.store.hot.write(Lane::Ordinary, move |tx| log::put(tx, &[(1, row)])).await.unwrap();
        let whole = std::fs::read(folder(&site).join(name)).unwrap();
        std::fs::write(folder(&site).join(name), &whole[..whole.len() - 10]).unwrap();
        housekeeping(&site).await;
        assert!(is_left(), "{name}");
        let raised = alert(&site).await.expect("an alert");
        assert!(raised["message"].as_str().unwrap().contains(why), "{raised}");
        std::fs::write(folder(&site).join(name), &whole).unwrap();
        housekeeping(&site).await;
        assert!(!is_left());
        assert_eq!(alert(&site).await, None);
    }
    assert_eq!(archives(&site).await.len(), 1);
    assert_eq!(listed(&site, &nodes[0]).await.len(), 10);
}
