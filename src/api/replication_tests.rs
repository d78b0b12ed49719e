//! How replication stands, and what people ask of it, through the router. Nothing replicates here: what it found is written by hand.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ApiSettings;
use super::health::External;
use super::testing::Site;
use crate::domain::replica::Rev;
use crate::domain::replica::cluster::{Life, Position, Round};
use crate::live::{Doing, Failure, Job, Status, Wishes};
use crate::storage::replica::catalog::{CATALOG, Way};
use crate::storage::replica::marks;

const MINUTE_MS: i64 = 60_000;

/// A manager with one person, `root`, and a cluster in its settings.
async fn configured() -> (Site, String) {
    let external = External { mongodb: true, ..External::default() };
    let site = Site::with(ApiSettings { external, region: Some("attic".into()), ..ApiSettings::default() });
    let root = site.set_up().await;
    site.state.store.begin_marks().await.unwrap();
    (site, root)
}

async fn show(site: &Site, token: &str) -> Value {
    let (status, body) = site.as_bearer(token, Method::GET, "/api/v1/replication", None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn post(site: &Site, token: &str, verb: &str, body: Option<Value>) -> (StatusCode, Value) {
    site.as_bearer(token, Method::POST, &format!("/api/v1/replication/{verb}"), body).await
}

fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or_default()
}

fn of<'a>(body: &'a Value, collection: &str) -> &'a Value {
    body["collections"].as_array().unwrap().iter().find(|of| of["collection"] == collection).unwrap()
}

/// Every table, read to its end at the beginning of the stretch.
fn whole(site: &Site) -> BTreeMap<String, Position> {
    let store = &site.state.store;
    let stretch = marks::state(&store.read().unwrap()).unwrap().stretch;
    let life = Life { generation: store.generation, stretch, copy: "c".into() };
    let at = |table: &str| Position { table: table.into(), life: life.clone(), scan: Rev(0), through: None, is_whole: true };
    CATALOG.iter().filter(|listed| listed.way != Way::Stays).map(|listed| (listed.table.to_owned(), at(listed.table))).collect()
}

async fn operations(site: &Site, token: &str) -> Vec<(String, Value)> {
    let (_, body) = site.as_bearer(token, Method::GET, "/api/v1/audit?limit=100", None).await;
    let entries = body["entries"].as_array().unwrap().iter();
    let told = entries.map(|entry| (entry["operation"].as_str().unwrap().to_owned(), entry["reason"].clone()));
    told.filter(|(operation, _)| operation.starts_with("replication.")).collect()
}

#[tokio::test]
async fn without_a_cluster_it_is_off_and_nothing_can_be_asked_of_it() {
    let site = Site::new();
    let root = site.set_up().await;
    let body = show(&site, &root).await;
    assert_eq!((&body["configured"], &body["state"], &body["collections"]), (&json!(false), &json!("off"), &json!([])));
    assert_eq!(body["text"], "Nothing is replicated: no cluster is configured.");
    for (verb, body) in [("pause", None), ("resume", Some(json!({}))), ("resync", Some(json!({ "collection": "nodes" })))] {
        let (status, body) = post(&site, &root, verb, body).await;
        assert_eq!((status, name(&body)), (StatusCode::CONFLICT, "ReplicationNotConfigured"), "{verb}");
    }
    assert_eq!(operations(&site, &root).await, []);
    assert!(!site.state.metrics.render(&super::gauges::replication(&site.state).unwrap()).contains("replication_state"));
}

#[tokio::test]
async fn it_is_shown_as_the_cycle_found_it() {
    let (site, root) = configured().await;
    let viewer = site.person(&root, "vera", "viewer").await;
    let body = show(&site, &viewer).await;
    assert_eq!((&body["configured"], &body["state"], &body["region"]), (&json!(true), &json!("connecting"), &json!("attic")));
    assert_eq!((&body["consistent_at"], &body["documents_per_second"], &body["last_error"]), (&Value::Null, &Value::Null, &Value::Null));
    let unknown = json!({ "collection": "nodes", "waiting": null, "behind_seconds": null, "is_whole": false });
    assert_eq!(of(&body, "nodes"), &unknown, "nobody has looked");

    let now = site.state.now().wall;
    let round = Round { rev: Rev(1), at: now, parts: 0, through: Vec::new() };
    let positions = whole(&site);
    site.state.replication.change(|status| {
        *status = Status {
            doing: Doing::Away,
            failure: Some(Failure { why: "the cluster does not answer: no route".into(), at: now }),
            failures: 3,
            next_try: Some(now.plus_ms(6 * MINUTE_MS)),
            round: Some(round),
            positions,
            documents: 90,
            bytes: 4_000,
            sending_ms: 2_000,
            not_taken: 2,
            not_taken_because: Some("nodes: too large".into()),
            ..Status::default()
        };
    });
    site.person(&root, "paul", "viewer").await;
    site.driver.advance_ms(5 * MINUTE_MS);
    let body = show(&site, &viewer).await;
    assert_eq!(
        (&body["state"], &body["failures"], &body["next_try_at"]),
        (&json!("away"), &json!(3), &json!(now.plus_ms(6 * MINUTE_MS).rfc3339()))
    );
    assert_eq!(body["last_error"], json!({ "message": "the cluster does not answer: no route", "at": now.rfc3339() }));
    assert_eq!((&body["consistent_at"], &body["documents_per_second"]), (&json!(now.rfc3339()), &json!(45.0)));
    assert_eq!(body["not_taken"], json!({ "count": 2, "because": "nodes: too large" }));
    assert_eq!(of(&body, "nodes"), &json!({ "collection": "nodes", "waiting": 0, "behind_seconds": 0, "is_whole": true }));
    let records = of(&body, "manager_records");
    assert!(records["waiting"].as_u64().unwrap() > 0 && records["behind_seconds"] == 300, "a person is new: {records}");

    let text = site.state.metrics.render(&super::gauges::replication(&site.state).unwrap());
    for line in [
        "replication_state{state=\"away\"} 1\n",
        "replication_state{state=\"current\"} 0\n",
        "replication_behind_seconds 300\n",
        "replication_waiting_documents{collection=\"nodes\"} 0\n",
        "replication_documents_total 90\n",
        "replication_failures 3\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let (_, health) = site.get("/health").await;
    assert_eq!(health["checks"]["external_services"]["mongodb"], "unhealthy");
    assert_ne!(health["status"], "unhealthy", "the manager itself is not");

    site.driver.advance_ms(2 * MINUTE_MS);
    assert_eq!(show(&site, &viewer).await["next_try_at"], Value::Null, "its time has come: it is under way");
}

#[tokio::test]
async fn pause_resume_and_resync_are_wished_for_and_recorded_once() {
    let (site, root) = configured().await;
    site.state.replication.change(|status| status.doing = Doing::Current);
    for _ in 0..2 {
        let (status, body) = post(&site, &root, "pause", None).await;
        assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("paused")), "at once, whatever goes on");
    }
    site.state.nudges.nudged(Job::Replication).await;
    assert!(marks::state(&site.state.store.read().unwrap()).unwrap().is_paused);
    assert_eq!(post(&site, &root, "resume", Some(json!({}))).await.1["state"], "current");
    assert_eq!(site.state.replication.wishes(), Wishes { now: true, ..Wishes::default() });
    let (status, _) = post(&site, &root, "resync", Some(json!({ "collection": "nodes" }))).await;
    let listed = marks::state(&site.state.store.read().unwrap()).unwrap().resync;
    assert_eq!((status, listed), (StatusCode::OK, vec!["nodes".to_owned()]), "it outlives the process");
    post(&site, &root, "resume", Some(json!({ "take_over": true }))).await;
    assert!(!site.state.replication.wishes().takes_over, "from itself");
    site.state.replication.change(|status| status.doing = Doing::Second);
    post(&site, &root, "resume", Some(json!({ "take_over": true }))).await;
    assert!(site.state.replication.wishes().takes_over);
    let gone = json!("the other manager with this id is gone");
    let of = |name: &str, reason: &Value| (name.to_owned(), reason.clone());
    let mut expected = vec![
        of("replication.pause", &Value::Null),
        of("replication.resume", &Value::Null),
        of("replication.resync", &Value::Null),
        of("replication.resume", &gone),
    ];
    expected.reverse();
    assert_eq!(operations(&site, &root).await, expected, "the second pause changed nothing");
}

#[tokio::test]
async fn a_pause_can_be_ended_whoever_else_writes_which_is_said() {
    let (site, root) = configured().await;
    for (doing, state, said) in [(Doing::Second, "second", "another manager"), (Doing::Superseded, "superseded", "restored somewhere else")]
    {
        site.state.replication.change(|status| status.doing = doing);
        let (_, body) = post(&site, &root, "pause", None).await;
        assert!(body["state"] == "paused" && body["text"].as_str().unwrap().contains(said), "{body}");
        assert_eq!(post(&site, &root, "resume", Some(json!({}))).await.1["state"], state);
    }
}

#[tokio::test]
async fn only_collections_that_there_are_go_again_and_only_admins_say_so() {
    let (site, root) = configured().await;
    let (status, body) = post(&site, &root, "resync", Some(json!({ "collection": "node" }))).await;
    assert_eq!((status, &body["error"]["details"]["fields"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("collection")), "{body}");
    assert!(body.to_string().contains("audit_logs"), "it names those that there are: {body}");
    let operator = site.person(&root, "olga", "operator").await;
    for (verb, body) in [("pause", None), ("resume", Some(json!({}))), ("resync", Some(json!({ "collection": "nodes" })))] {
        assert_eq!(post(&site, &operator, verb, body).await.0, StatusCode::FORBIDDEN, "{verb}");
    }
    assert_eq!(site.state.replication.wishes(), Wishes::default());
}
