//! Settings changed while the manager runs: by the rules of the file, in force at once or after a restart, audited, and back again.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::site::Site;

async fn site(settings: &[(&'static str, &'static str)]) -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), settings).await;
    (dir, site)
}

async fn put(site: &Site, body: Value) -> (StatusCode, Value) {
    site.client.call(Method::PUT, "/settings", Some(body)).await
}

async fn setting(site: &Site, key: &str) -> Value {
    let list = site.client.get("/settings").await;
    list["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap().clone()
}

fn fields(answer: &Value) -> Vec<&str> {
    answer["error"]["details"]["fields"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_change_is_in_force_at_once_survives_a_restart_and_goes_back() {
    let (_dir, site) = site(&[]).await;
    let (status, answer) =
        put(&site, json!([{ "key": "limits.max_nodes", "value": 1 }, { "key": "payout.threshold_usdt", "value": "12.5" }])).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((answer["restart_needed"].as_bool(), answer["settings"].as_array().unwrap().len()), (Some(false), 2));
    let view = setting(&site, "limits.max_nodes").await;
    assert_eq!(
        (view["value"].as_str(), view["source"].as_str(), view["restart_needed"].as_bool()),
        (Some("1"), Some("stored"), Some(false))
    );
    assert_eq!(site.app.context.settings.get().payout_threshold.0, 12_500_000, "the cycles go by it");

    let node = |name: &str| json!({ "name": name, "node_type": "worker" });
    site.client.post("/nodes", node("one")).await;
    let (status, full) = site.client.call(Method::POST, "/nodes", Some(node("two"))).await;
    assert_eq!((status, error_name(&full)), (StatusCode::UNPROCESSABLE_ENTITY, "FleetFull"));

    let site = site.crash().await;
    assert_eq!(setting(&site, "payout.threshold_usdt").await["value"], "12.5");
    assert_eq!(site.app.context.settings.get().payout_threshold.0, 12_500_000);
    let (status, answer) = site.client.call(Method::DELETE, "/settings/limits.max_nodes", None).await;
    assert_eq!((status, answer["settings"][0]["source"].as_str()), (StatusCode::OK, Some("default")), "{answer}");
    site.client.post("/nodes", node("two")).await;

    let audit = site.client.get("/audit?limit=100").await;
    let reasons: Vec<(&str, &str)> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| {
            let operation = entry["operation"].as_str()?;
            operation.starts_with("setting.").then(|| (entry["subject"].as_str().unwrap(), entry["reason"].as_str().unwrap()))
        })
        .collect();
    assert_eq!(
        reasons,
        [("limits.max_nodes", "1 -> as the file says"), ("payout.threshold_usdt", "10 -> 12.5"), ("limits.max_nodes", "10000 -> 1"),]
    );
}

#[tokio::test]
async fn what_takes_a_restart_waits_for_it() {
    let (_dir, site) = site(&[]).await;
    let (status, answer) = put(&site, json!({ "poot.calculation_interval_seconds": 600 })).await;
    assert_eq!((status, answer["restart_needed"].as_bool()), (StatusCode::OK, Some(true)), "{answer}");
    assert_eq!(answer["settings"][0]["waits_for_restart"], true);
    assert_eq!(site.app.context.settings.get().epochs.slots_per_epoch(), 10);
    // Something else does not bring it in force.
    assert_eq!(put(&site, json!({ "payout.frequency_hours": 12 })).await.0, StatusCode::OK);
    assert_eq!(site.app.context.settings.get().epochs.slots_per_epoch(), 10);
    let site = site.crash().await;
    assert_eq!(site.app.context.settings.get().epochs.slots_per_epoch(), 20);
    assert_eq!(setting(&site, "poot.calculation_interval_seconds").await["waits_for_restart"], false);
}

#[tokio::test]
async fn secrets_are_neither_shown_nor_audited() {
    let (_dir, site) = site(&[]).await;
    let (status, answer) = put(&site, json!({ "mongodb.uri": "mongodb://lucid:hush@db/x" })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["settings"][0]["value"], "set");
    let audit = site.client.get("/audit?limit=100").await;
    assert!(!audit.to_string().contains("hush") && audit.to_string().contains("not set -> set"));
    let (status, refused) = put(&site, json!({ "mongodb.uri": "postgres://lucid:hush@db/x" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!refused.to_string().contains("hush"), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_every_key_and_changes_nothing() {
    let (_dir, site) = site(&[("payout.frequency_hours", "48")]).await;
    let before = site.client.get("/settings").await;
    let shapes = json!([{ "key": "log.level" }, { "key": 7, "value": 1, "why": 1 }, 5, { "key": "limits.max_nodes", "value": 0 }]);
    let cases: [(Value, &[&str]); 10] = [
        (json!({ "pool.size": 3 }), &["pool.size"]),
        (json!({ "storage.data_dir": "/tmp/x", "server.listen": "127.0.0.1:1" }), &["server.listen", "storage.data_dir"]),
        (json!({ "default_pool.cost_per_hour": "0.06" }), &["default_pool.cost_per_hour"]),
        (json!({ "payout.frequency_hours": 12 }), &["payout.frequency_hours"]),
        (
            json!({ "poot.min_score": "100.01", "limits.max_nodes": 0, "log.level": "loud" }),
            &["limits.max_nodes", "poot.min_score", "log.level"],
        ),
        (json!({ "payout.mode": "live" }), &["payout.gateway"]),
        (json!({ "limits.max_nodes": [1] }), &["limits.max_nodes"]),
        (json!({ "limits.max_nodes": null }), &["limits.max_nodes"]),
        (json!([{ "key": "limits.max_nodes", "value": 5 }, { "key": "limits.max_nodes", "value": 6 }]), &["limits.max_nodes"]),
        (shapes, &["[0].value", "[1].key", "[1].why", "[2]", "limits.max_nodes"]),
    ];
    for (body, expected) in cases {
        let (status, answer) = put(&site, body.clone()).await;
        assert_eq!((status, error_name(&answer)), (StatusCode::BAD_REQUEST, "Invalid"), "{body}: {answer}");
        assert_eq!(fields(&answer), expected, "{body}");
    }
    for body in [json!([]), json!({}), json!("x"), json!(7)] {
        let (status, answer) = put(&site, body.clone()).await;
        assert_eq!((status, error_name(&answer)), (StatusCode::BAD_REQUEST, "Malformed"), "{body}: {answer}");
    }
    let (status, answer) = site.client.call(Method::DELETE, "/settings/pool.size", None).await;
    assert_eq!((status, error_name(&answer)), (StatusCode::NOT_FOUND, "SettingNotFound"));
    assert_eq!(site.client.get("/settings").await, before);
    let overridden = setting(&site, "payout.frequency_hours").await;
    assert!(overridden["why_fixed"].as_str().unwrap().contains("flag"), "{overridden}");
    assert!(setting(&site, "server.listen").await["why_fixed"].as_str().unwrap().contains("before the store is open"));
}
