//! Who may use which route, as it was decided: the OpenAPI document is checked against this list, and `matrix` checks what is enforced
//! against the document.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::Guarded;
use super::matrix::Route;
use crate::support::client::PASSWORD;
use crate::support::site::Site;

/// Method, path as in the document, lowest role, body that would be accepted.
pub fn routes() -> Vec<(Method, &'static str, &'static str, Option<Value>)> {
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let named = || Some(json!({ "name": "renamed" }));
    let member = || Some(json!({ "node_id": "node_nobody_at_all" }));
    vec![
        (post.clone(), "/nodes", "operator", Some(json!({ "name": "made", "node_type": "worker" }))),
        (put.clone(), "/nodes/{id}", "operator", named()),
        (delete.clone(), "/nodes/{id}", "operator", None),
        (post.clone(), "/nodes/actions", "operator", Some(json!({ "action": "stop", "node_ids": ["node_nobody_at_all"] }))),
        (post.clone(), "/nodes/{id}/start", "operator", None),
        (post.clone(), "/nodes/{id}/stop", "operator", None),
        (post.clone(), "/nodes/{id}/restart", "operator", None),
        (post.clone(), "/nodes/{id}/maintenance", "operator", Some(json!({}))),
        (post.clone(), "/nodes/{id}/suspend", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/nodes/{id}/unsuspend", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/nodes/{id}/appeal", "operator", Some(json!({ "text": "for a test" }))),
        (post.clone(), "/nodes/{id}/appeal/decide", "admin", Some(json!({ "decision": "uphold", "reason": "for a test" }))),
        (delete.clone(), "/nodes/{id}/final-payout", "admin", None),
        (delete.clone(), "/nodes/{id}/maintenance/{number}", "operator", None),
        (post.clone(), "/nodes/{id}/fingerprint/accept", "admin", None),
        (
            post.clone(),
            "/nodes/{id}/poot/validate",
            "operator",
            Some(json!({ "output_data": "c2l4dGVlbiBieXRlcyBvciBtb3Jl", "timestamp": "2026-09-21T00:00:00Z", "nonce": "for a test" })),
        ),
        (
            post.clone(),
            "/nodes/poot/batch-validate",
            "operator",
            Some(json!({ "validations": [
                { "node_id": "node_nobody_at_all", "output_data": "", "timestamp": "2026-09-21T00:00:00Z", "nonce": "for a test" }
            ] })),
        ),
        (put.clone(), "/nodes/{id}/payout-address", "operator", Some(json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" }))),
        (post.clone(), "/nodes/pools", "operator", named()),
        (put.clone(), "/nodes/pools/{pool_id}", "operator", named()),
        (delete.clone(), "/nodes/pools/{pool_id}", "operator", None),
        (post.clone(), "/nodes/pools/{pool_id}/nodes", "operator", member()),
        (delete.clone(), "/nodes/pools/{pool_id}/nodes/{node_id}", "operator", None),
        (post.clone(), "/pools/{id}/join", "operator", member()),
        (post.clone(), "/enrolment-tokens", "operator", Some(json!({}))),
        (delete.clone(), "/enrolment-tokens/{id}", "operator", None),
        (post.clone(), "/enrolment-requests/{id}/approve", "admin", None),
        (post.clone(), "/enrolment-requests/{id}/reject", "admin", None),
        (post.clone(), "/users", "admin", Some(json!({ "username": "made", "password": PASSWORD, "role": "viewer" }))),
        (put.clone(), "/users/{id}", "admin", Some(json!({ "disabled": true }))),
        (delete.clone(), "/users/{id}", "admin", None),
        (post.clone(), "/users/{id}/totp/reset", "admin", None),
        (put.clone(), "/auth/password", "viewer", Some(json!({ "current_password": PASSWORD, "password": "another good one" }))),
        (post.clone(), "/auth/confirm", "viewer", Some(json!({ "password": PASSWORD }))),
        (post.clone(), "/auth/totp/begin", "viewer", Some(json!({ "password": PASSWORD }))),
        (post.clone(), "/auth/totp/enable", "viewer", Some(json!({ "code": "123456" }))),
        (post.clone(), "/auth/totp/disable", "viewer", Some(json!({ "password": PASSWORD, "totp": "123456" }))),
        (post.clone(), "/auth/recovery-codes", "viewer", Some(json!({ "totp": "123456" }))),
        (delete.clone(), "/users/{id}/sessions/{session_id}", "admin", None),
        (post.clone(), "/tokens", "admin", Some(json!({ "name": "made", "role": "viewer", "expires_in_days": 1 }))),
        (delete.clone(), "/tokens/{id}", "admin", None),
        (delete.clone(), "/settings/{key}", "admin", None),
        (delete.clone(), "/sessions/{id}", "viewer", None),
        (post.clone(), "/auth/logout", "viewer", None),
        (post.clone(), "/storage/check", "admin", None),
        (post.clone(), "/storage/compact", "admin", Some(json!({}))),
        (post.clone(), "/backup", "admin", None),
        (post.clone(), "/replication/pause", "admin", None),
        (post.clone(), "/replication/resume", "admin", Some(json!({}))),
        (post.clone(), "/replication/resync", "admin", Some(json!({ "collection": "nodes" }))),
        (post.clone(), "/sessions/end-others", "viewer", None),
        (put.clone(), "/settings", "admin", Some(json!([{ "key": "payout.frequency_hours", "value": 12 }]))),
        (put.clone(), "/nodes/{id}/resources/thresholds", "operator", Some(json!({}))),
        (put.clone(), "/nodes/pools/{pool_id}/thresholds", "operator", Some(json!({}))),
        (post.clone(), "/nodes/{id}/resources/allocate", "operator", Some(json!({ "cpu_percent": 1 }))),
        (delete.clone(), "/nodes/{id}/resources/allocations/{allocation_id}", "operator", None),
        (post.clone(), "/alerts/{id}/acknowledge", "operator", Some(json!({}))),
        (put.clone(), "/setup/steps/{step}", "admin", Some(json!({ "state": "skipped" }))),
        (post.clone(), "/clock/confirm", "admin", Some(json!({ "client_time": "2026-09-21T00:00:00Z" }))),
        (post.clone(), "/clock/accept", "super_admin", None),
        (post.clone(), "/payouts/process", "admin", None),
        (post.clone(), "/poot/calculate", "admin", None),
        (
            post.clone(),
            "/ledger/adjustments",
            "admin",
            Some(json!({ "node_id": "node_nobody_at_all", "amount": "1", "currency": "USDT", "reason": "for a test" })),
        ),
        (post.clone(), "/ledger/check", "admin", None),
        (post.clone(), "/money/freeze", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/money/unfreeze", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/money/stop", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/money/resume", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/money/reconcile", "admin", None),
        (put.clone(), "/money/trx-rate", "admin", Some(json!({ "usdt": "0.3" }))),
        (post.clone(), "/money/live", "admin", Some(json!({ "owed": "everything" }))),
        (post.clone(), "/money/unknown-transfers/{txid}/book", "admin", Some(json!({}))),
        (post.clone(), "/nodes/payouts/{payout_id}/decide", "admin", Some(json!({ "choice": "check_again" }))),
        (post.clone(), "/nodes/payouts/{payout_id}/hold", "admin", Some(json!({ "reason": "for a test" }))),
        (post.clone(), "/payouts/approvals", "admin", Some(json!({ "digest": "0".repeat(64) }))),
        (post.clone(), "/wallet/unlock", "admin", Some(json!({ "passphrase": "for a test" }))),
        (post.clone(), "/wallet/lock", "admin", None),
        (
            post.clone(),
            "/pools/{id}/rewards",
            "admin",
            Some(json!({ "amount": "1", "currency": "USDT", "split": "equal", "reason": "for a test", "dry_run": true })),
        ),
        (
            post.clone(),
            "/nodes/payouts/batch",
            "admin",
            Some(json!({ "payout_requests": [{ "node_id": "node_nobody_at_all", "amount": "1" }] })),
        ),
        (post.clone(), "/nodes/payouts/batches/{batch_id}/cancel", "admin", None),
        (post.clone(), "/nodes/payouts/schedule", "admin", Some(json!({ "name": "made", "cron": "0 6 1 * *", "what": "all_due" }))),
        (
            put.clone(),
            "/nodes/payouts/schedule/{schedule_id}",
            "admin",
            Some(json!({ "name": "made", "cron": "0 6 1 * *", "what": "all_due" })),
        ),
        (delete.clone(), "/nodes/payouts/schedule/{schedule_id}", "admin", None),
        (post.clone(), "/payouts/preview", "viewer", Some(json!({}))),
        (delete.clone(), "/outbox/{number}", "admin", None),
        (delete.clone(), "/outbox", "admin", None),
        (post.clone(), "/webhooks/key/rotate", "admin", None),
        (
            post.clone(),
            "/audit/anchor/check",
            "admin",
            Some(json!({ "manager_id": "manager_0123456789", "seq": 1, "hash": "00", "at": "", "signature": "" })),
        ),
        (post.clone(), "/privacy/erase/{user_id}", "super_admin", Some(json!({ "reason": "asked for it" }))),
        (post.clone(), "/privacy/erase/nodes/{node_id}", "super_admin", Some(json!({ "reason": "asked for it" }))),
        (post, "/recovery-kit", "super_admin", Some(json!({ "passphrase": "a long enough one", "password": PASSWORD }))),
    ]
}

/// Routes that change something and ask for no role: they have their own proof.
const WITHOUT_ROLE: &[(&str, &str)] = &[
    ("POST", "/setup"),
    ("POST", "/auth/login"),
    ("POST", "/auth/node/challenge"),
    ("POST", "/auth/node/token"),
    ("POST", "/agent/enrol"),
    ("POST", "/agent/report"),
    ("POST", "/agent/late"),
    ("POST", "/agent/commands"),
    ("POST", "/agent/output"),
];

/// Routes whose handler asks for more than the door: who changes another needs the listed role.
const FINER: &[(&str, &str)] = &[("PUT", "/users/{id}")];

/// What anybody may read.
const PUBLIC: &[&str] = &["/setup", "/licences", "/openapi.json", "/health", "/health/live", "/health/ready", "/metrics"];

/// Lowest role of what is read and is not for every viewer.
const READ_BY_FEW: &[(&str, &str)] = &[
    ("/archives", "admin"),
    ("/archives/{name}", "admin"),
    ("/audit", "admin"),
    ("/audit/anchor", "admin"),
    ("/audit/export", "admin"),
    ("/audit/verify", "admin"),
    ("/compliance/report", "admin"),
    ("/enrolment-requests", "operator"),
    ("/enrolment-tokens", "operator"),
    ("/tokens", "admin"),
    ("/users/{id}/sessions", "admin"),
    ("/ledger", "admin"),
    ("/ledger/balances", "admin"),
    ("/ledger/statements", "admin"),
    ("/money/unknown-transfers", "admin"),
    ("/payouts/approvals", "admin"),
    ("/wallet", "admin"),
    ("/nodes/{id}/payout-address", "operator"),
    ("/outbox", "admin"),
    ("/privacy/export/{user_id}", "super_admin"),
    ("/settings", "admin"),
    ("/setup/steps", "admin"),
    ("/tokens", "admin"),
    ("/users", "admin"),
    ("/users/{id}/sessions", "admin"),
];

/// The door of each route is where this list says: a scope that was declared by mistake is seen here.
#[tokio::test]
async fn the_document_asks_for_the_roles_that_were_decided() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let listed = routes();
    let mut changing = BTreeSet::new();
    for route in &Route::all(&site).await {
        let (method, path) = (route.method.as_str(), route.short());
        let lowest = route.roles.first().map_or("anybody", String::as_str);
        let expected = if route.method == Method::GET {
            let few = READ_BY_FEW.iter().find(|(of, _)| *of == path).map(|(_, lowest)| *lowest);
            if PUBLIC.contains(&path) { "anybody" } else { few.unwrap_or("viewer") }
        } else {
            changing.insert((method.to_owned(), path.to_owned()));
            let role = listed.iter().find(|(of, place, ..)| *of == route.method && *place == path).map(|(_, _, lowest, _)| *lowest);
            if FINER.contains(&(method, path)) { "viewer" } else { role.unwrap_or("anybody") }
        };
        assert_eq!(lowest, expected, "{method} {path}");
    }
    let roles = listed.iter().map(|(method, path, ..)| (method.to_string(), (*path).to_owned()));
    let free = WITHOUT_ROLE.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(changing, roles.chain(free).collect(), "every route that changes something is listed here");
}

/// Where the door is open to every person, the handler keeps them from others.
#[tokio::test]
async fn nobody_changes_another_person_below_admin() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut people = Vec::new();
    let mut victim = String::new();
    for role in ["viewer", "operator"] {
        let made = site.client.post("/users", json!({ "username": role, "password": PASSWORD, "role": role })).await;
        let mut person = site.client.anonymous();
        person.sign_in(role, PASSWORD).await;
        people.push(person);
        victim = made["id"].as_str().unwrap().to_owned();
    }
    let guarded = Guarded::new(&site).await;
    for body in [json!({ "disabled": true }), json!({ "role": "admin" }), json!({ "password": "another good one" })] {
        for (n, person) in people.iter().enumerate() {
            let answer = person.call(Method::PUT, &format!("/users/{victim}"), Some(body.clone())).await;
            let own_password = n == 1 && body.get("password").is_some();
            let expected = if own_password { (403, "2009", "FreshFactorNeeded") } else { (403, "2003", "NotAllowed") };
            guarded.refused(&body.to_string(), answer, expected).await;
        }
    }
}
