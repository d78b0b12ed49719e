//! Every route that changes something, with every role that may not use it. The list is checked against the OpenAPI document.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Guarded, state};
use crate::support::client::PASSWORD;
use crate::support::site::Site;

const ROLES: [&str; 4] = ["viewer", "operator", "admin", "super_admin"];

/// Method, path as in the document, lowest role, body that would be accepted.
fn routes() -> Vec<(Method, &'static str, &'static str, Option<Value>)> {
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let named = || Some(json!({ "name": "renamed" }));
    let member = || Some(json!({ "node_id": "node_nobody_at_all" }));
    vec![
        (post.clone(), "/nodes", "operator", Some(json!({ "name": "made", "node_type": "worker" }))),
        (put.clone(), "/nodes/{id}", "operator", named()),
        (delete.clone(), "/nodes/{id}", "operator", None),
        (post.clone(), "/nodes/actions", "operator", Some(json!({ "action": "stop", "node_ids": ["node_nobody_at_all"] }))),
        (post.clone(), "/nodes/{id}/fingerprint/accept", "admin", None),
        (put.clone(), "/nodes/{id}/payout-address", "operator", Some(json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" }))),
        (post.clone(), "/nodes/pools", "operator", named()),
        (put.clone(), "/nodes/pools/{pool_id}", "operator", named()),
        (delete.clone(), "/nodes/pools/{pool_id}", "operator", None),
        (post.clone(), "/nodes/pools/{pool_id}/nodes", "operator", member()),
        (delete.clone(), "/nodes/pools/{pool_id}/nodes/{node_id}", "operator", None),
        (post.clone(), "/pools/{id}/join", "operator", member()),
        (post.clone(), "/enrolment-tokens", "operator", Some(json!({}))),
        (delete.clone(), "/enrolment-tokens/{id}", "operator", None),
        (post.clone(), "/users", "admin", Some(json!({ "username": "made", "password": PASSWORD, "role": "viewer" }))),
        (put.clone(), "/users/{id}", "admin", Some(json!({ "disabled": true }))),
        (delete.clone(), "/users/{id}", "admin", None),
        (delete.clone(), "/sessions/{id}", "viewer", None),
        (post.clone(), "/storage/check", "admin", None),
        (post.clone(), "/sessions/end-others", "viewer", None),
        (put.clone(), "/nodes/{id}/resources/thresholds", "operator", Some(json!({}))),
        (put.clone(), "/nodes/pools/{pool_id}/thresholds", "operator", Some(json!({}))),
        (post.clone(), "/nodes/{id}/resources/allocate", "operator", Some(json!({ "cpu_percent": 1 }))),
        (delete.clone(), "/nodes/{id}/resources/allocations/{allocation_id}", "operator", None),
        (post.clone(), "/alerts/{id}/acknowledge", "operator", Some(json!({}))),
        (put, "/setup/steps/{step}", "admin", Some(json!({ "state": "skipped" }))),
        (post.clone(), "/clock/confirm", "admin", Some(json!({ "client_time": "2026-09-21T00:00:00Z" }))),
        (post.clone(), "/clock/accept", "super_admin", None),
        (post.clone(), "/payouts/process", "admin", None),
        (post, "/recovery-kit", "super_admin", Some(json!({ "passphrase": "a long enough one", "password": PASSWORD }))),
    ]
}

/// Routes that ask for no role: they have their own proof, or concern the caller alone.
const WITHOUT_ROLE: &[(&str, &str)] = &[
    ("POST", "/setup"),
    ("POST", "/auth/login"),
    ("POST", "/auth/logout"),
    ("POST", "/auth/node/challenge"),
    ("POST", "/auth/node/token"),
    ("POST", "/agent/enrol"),
];

#[tokio::test]
async fn no_role_does_what_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let document = site.client.get("/openapi.json").await;
    let mut changing = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if ["post", "put", "delete", "patch"].contains(&method.as_str()) && operation["x-planned"] != true {
                changing.insert((method.to_uppercase(), path.strip_prefix("/api/v1").unwrap_or(path).to_owned()));
            }
        }
    }
    let listed = routes().into_iter().map(|(method, path, ..)| (method.to_string(), path.to_owned()));
    let free = WITHOUT_ROLE.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(changing, listed.chain(free).collect(), "every route that changes something is listed here");

    let node = site.enrol("machine").await.id.to_string();
    let pool = site.client.post("/nodes/pools", json!({ "name": "pool" })).await["pool_id"].as_str().unwrap().to_owned();
    let token = site.client.post("/enrolment-tokens", json!({})).await["id"].as_str().unwrap().to_owned();
    let mut people = Vec::new();
    let mut victim = String::new();
    for role in &ROLES[..3] {
        let made = site.client.post("/users", json!({ "username": role, "password": PASSWORD, "role": role })).await;
        let mut person = site.client.anonymous();
        person.sign_in(role, PASSWORD).await;
        people.push((*role, person));
        victim = made["id"].as_str().unwrap().to_owned();
    }
    let guarded = Guarded::new(&site).await;
    let rank = |role: &str| ROLES.iter().position(|r| *r == role).unwrap();
    for (method, path, lowest, body) in routes() {
        let id = match path.split('/').nth(1).unwrap() {
            "users" => &victim,
            "enrolment-tokens" => &token,
            "pools" => &pool,
            _ => &node,
        };
        let place = path.replace("{id}", id).replace("{pool_id}", &pool).replace("{node_id}", &node).replace("{step}", "pool");
        let what = format!("{method} {path}");
        let answer = site.client.anonymous().call(method.clone(), &place, body.clone()).await;
        guarded.refused(&what, answer, (401, "2001", "NotSignedIn")).await;
        for (role, person) in people.iter().filter(|(role, _)| rank(role) < rank(lowest)) {
            let answer = person.call(method.clone(), &place, body.clone()).await;
            guarded.refused(&format!("{what} by {role}"), answer, (403, "2003", "NotAllowed")).await;
        }
    }
    // The refusals say who was refused.
    let audit = site.client.get("/audit?limit=100").await;
    let by_people = audit["entries"].as_array().unwrap().iter().filter(|e| e["reason"] == "NotAllowed" && e["actor"] != "anonymous");
    assert!(by_people.count() > 10);
    assert_eq!(state(&site.client).await, guarded.before);
}

#[tokio::test]
async fn what_is_not_public_is_read_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let public = ["/setup", "/licences", "/openapi.json", "/health", "/health/live", "/health/ready", "/metrics"];
    let document = site.client.get("/openapi.json").await;
    let guarded = Guarded::new(&site).await;
    let mut read = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let short = path.strip_prefix("/api/v1").unwrap_or(path);
        if operations["get"].is_null() || operations["get"]["x-planned"] == true || public.contains(&short) {
            continue;
        }
        let place =
            short.replace("{pool_id}", "pool_default").replace("{id}", "node_nobody_at_all").replace("{node_id}", "node_nobody_at_all");
        let answer = site.client.anonymous().call(Method::GET, &place, None).await;
        guarded.refused(short, answer, (401, "2001", "NotSignedIn")).await;
        read += 1;
    }
    assert!(read > 15, "{read} routes were tried");
}
