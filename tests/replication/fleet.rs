//! The fleet's routes against a server that speaks the protocol: two managers side by side in one database.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lucid::clock::Stopwatch;
use lucid::domain::metrics::Sample;
use lucid::live::Doing;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::copy::replicate;
use crate::support::client::error_name;
use crate::support::cluster::{Server, connect, database};
use crate::support::proxy::Proxy;
use crate::support::site::Site;

async fn in_region(dir: &TempDir, uri: &str, region: &str) -> Site {
    Site::new(dir.path().to_owned(), &[("mongodb.uri", uri), ("mongodb.region", region)]).await
}

fn named<'a>(body: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    body[list].as_array().unwrap().iter().map(|of| of[field].as_str().unwrap_or("–")).collect()
}

/// Every page of a list, one row at a time.
async fn paged(site: &Site, path: &str, list: &str, field: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let sign = if path.contains('?') { '&' } else { '?' };
        let body = site.client.get(&format!("{path}{sign}limit=1&cursor={cursor}")).await;
        found.extend(named(&body, list, field).into_iter().map(str::to_owned));
        match body["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

#[tokio::test]
async fn each_manager_sees_all_managers_and_their_nodes() {
    let (first, second, (uri, database)) = (TempDir::new().unwrap(), TempDir::new().unwrap(), database("fleet").await);
    let (attic, cellar) = (in_region(&first, &uri, "attic").await, in_region(&second, &uri, "cellar").await);
    let own = |site: &Site| site.app.store.manager_id.as_str().to_owned();
    let body = attic.client.get("/fleet/managers").await;
    assert_eq!((&body["managers"], &body["next_cursor"]), (&json!([]), &Value::Null), "nobody replicated yet");

    let mut one = attic.enrol("one").await;
    attic.enrol("two").await;
    let gone = cellar.enrol("three").await;
    cellar.enrol("four").await;
    for _ in 0..150 {
        attic.next_slot(5_000);
        one.report(attic.now_ms(), Sample::default()).await.unwrap();
    }
    attic.pass_slots(0).await;
    for site in [&attic, &cellar] {
        assert_eq!(replicate(site).await.doing, Doing::Current);
    }
    cellar.client.call(reqwest::Method::DELETE, &format!("/nodes/{}", gone.id.as_str()), None).await;
    replicate(&cellar).await;

    for (site, other) in [(&attic, &cellar), (&cellar, &attic)] {
        let body = site.client.get("/fleet/managers").await;
        let mut ids = [own(site), own(other)];
        ids.sort();
        assert_eq!(named(&body, "managers", "manager_id"), ids);
        for manager in body["managers"].as_array().unwrap() {
            let of = if manager["manager_id"] == own(&attic) { ("attic", 2) } else { ("cellar", 1) };
            assert_eq!((&manager["region"], &manager["nodes"]), (&json!(of.0), &json!(of.1)), "{manager}");
            assert_eq!((&manager["is_this"], &manager["has_ended"]), (&json!(manager["manager_id"] == own(site)), &json!(false)));
            let times = [&manager["seen_at"], &manager["whole_at"]];
            assert!(times.iter().all(|at| at.is_string()) && manager["version"] == env!("CARGO_PKG_VERSION"), "{manager}");
        }
        assert_eq!(paged(site, "/fleet/managers", "managers", "manager_id").await, ids);
        let mut names = paged(site, "/fleet/nodes", "nodes", "name").await;
        names.sort();
        assert_eq!(names, ["four", "one", "two"], "each once, and not the one that was deleted");
    }

    let body = cellar.client.get(&format!("/fleet/nodes?manager_id={}", own(&attic))).await;
    assert_eq!(named(&body, "nodes", "name"), ["one", "two"]);
    let seen = &body["nodes"][0];
    let local = attic.client.get(&format!("/nodes/{}", one.id.as_str())).await;
    assert_eq!((&seen["node_id"], &seen["is_own"], &seen["region"]), (&json!(one.id.as_str()), &json!(false), &json!("attic")));
    for (field, ours) in [("status", &local["status"]), ("poot_score", &local["poot"]["score"]), ("pool_id", &local["pool_id"])] {
        assert_eq!(&seen[field], ours, "{field}: {local}");
    }
    assert!(seen["last_heartbeat"].is_string() && seen["seen_at"].is_string() && seen.get("record").is_none(), "{seen}");
    for (query, expected) in [
        ("region=cellar", vec!["four"]),
        ("region=cellar&status=active", vec![]),
        ("status=active", vec!["one"]),
        ("node_type=worker&region=attic", vec!["one", "two"]),
        ("pool_id=pool_nothing", vec![]),
        ("region=nowhere", vec![]),
    ] {
        assert_eq!(named(&cellar.client.get(&format!("/fleet/nodes?{query}")).await, "nodes", "name"), expected, "{query}");
    }
    assert_eq!(named(&attic.client.get("/fleet/managers?region=cellar").await, "managers", "manager_id"), [own(&cellar)]);

    let body = attic.client.get("/fleet/summary").await;
    assert_eq!((&body["managers"], &body["nodes"]), (&json!(2), &json!(3)), "{body}");
    assert_eq!(body["by_status"], json!([{ "name": "inactive", "nodes": 2 }, { "name": "active", "nodes": 1 }]));
    assert_eq!(body["by_region"], json!([{ "name": "attic", "managers": 1, "nodes": 2 }, { "name": "cellar", "managers": 1, "nodes": 1 }]));
    let body = attic.client.get(&format!("/fleet/summary?manager_id={}&region=cellar", own(&cellar))).await;
    assert_eq!((&body["managers"], &body["nodes"]), (&json!(1), &json!(1)));

    // What nobody of us wrote is shown as far as it can be.
    let odd = doc! { "_id": "a/nodes/00", "name": 7, "status": Bson::Null, "region": "elsewhere" };
    database.collection::<Document>("nodes").insert_one(odd).await.unwrap();
    database.collection::<Document>("managers").insert_one(doc! { "_id": "a", "region": ["x"], "round": "none" }).await.unwrap();
    let body = attic.client.get("/fleet/nodes?region=elsewhere").await;
    assert_eq!((&body["nodes"][0]["id"], &body["nodes"][0]["name"]), (&json!("a/nodes/00"), &Value::Null));
    let body = attic.client.get("/fleet/managers").await;
    assert_eq!((&body["managers"][0]["manager_id"], &body["managers"][0]["whole_at"]), (&json!("a"), &Value::Null));
    assert_eq!(attic.client.get("/fleet/summary").await["nodes"], 4);

    // Who is paused sees them all the same; who ended says so.
    attic.client.post("/replication/pause", json!(null)).await;
    replicate(&attic).await;
    assert_eq!(paged(&attic, "/fleet/nodes?region=cellar", "nodes", "name").await, ["four"]);
    lucid::jobs::replication::release(&cellar.app.context).await;
    assert_eq!(attic.client.get("/fleet/managers?region=cellar").await["managers"][0]["has_ended"], true);
}

#[tokio::test]
async fn a_server_that_goes_away_is_said_in_time() {
    let dir = TempDir::new().unwrap();
    let server = Server::start();
    connect(&server.uri("fleet_away")).await;
    let proxy = Proxy::before(server.address.clone()).await;
    let site = in_region(&dir, &format!("mongodb://ada:hunter2@{}/fleet_away?serverSelectionTimeoutMS=300", proxy.address), "attic").await;
    drop(server);
    proxy.faults.away.store(true, Ordering::SeqCst);
    for path in ["managers", "nodes", "summary"] {
        let watch = Stopwatch::start();
        let (status, body) = site.client.call(reqwest::Method::GET, &format!("/fleet/{path}"), None).await;
        assert_eq!((status.as_u16(), error_name(&body)), (503, "FleetUnreachable"), "{path}: {body}");
        assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
        let text = body.to_string();
        assert!(!text.contains("hunter2") && !text.contains(&proxy.address.to_string()), "{text}");
    }
}
