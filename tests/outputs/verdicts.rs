//! Verdicts: each check and its error, repeats, copies, batches, lists.

use lucid::crypto::{base64, hex, sha256};
use lucid::domain::time::{SLOT_MS, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer, errors, output, site};
use crate::support::client::error_name;
use crate::support::site::Site;

async fn validate(site: &Site, node: &str, body: Value) -> Value {
    site.client.post(&format!("/nodes/{node}/poot/validate"), body).await
}

fn next_slot(site: &Site) -> Value {
    (site.now_ms() / SLOT_MS + 1).into()
}

#[tokio::test]
async fn each_check_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let node = site.enrol("one").await;
    let id = node.id.as_str();
    let good = validate(&site, id, output(&site, "an output of some length", "nonce-0001")).await;
    assert_eq!((good["is_valid"].as_bool(), good["counted"].as_bool(), errors(&good)), (Some(true), Some(false), vec![]), "{good}");
    assert_eq!(good["output_hash"], hex(&sha256(b"an output of some length")));
    assert_eq!((good["node_id"].as_str(), good["score"].as_f64(), good["confidence"].as_f64()), (Some(id), Some(0.0), Some(0.0)));
    assert_eq!(good["validation_id"].as_str().unwrap().len(), 36);
    let but = async |change: fn(&Site, &mut Value)| {
        let mut body = output(&site, "another output of some length", "nonce-0002");
        change(&site, &mut body);
        let verdict = validate(&site, id, body).await;
        assert_eq!(verdict["is_valid"], false, "{verdict}");
        errors(&verdict).join(",")
    };
    let cases: [(&str, fn(&Site, &mut Value)); 12] = [
        ("output_not_base64", |_, b| b["output_data"] = "not base64 at all!".into()),
        ("output_too_small", |_, b| (b["output_data"], b["nonce"]) = (base64(b"tiny").into(), "nonce-tiny".into())),
        ("output_too_large", |_, b| (b["output_data"], b["nonce"]) = (base64(&vec![1; (1 << 20) + 1]).into(), "nonce-large".into())),
        ("hash_malformed", |_, b| (b["output_hash"], b["nonce"]) = ("ABC".into(), "nonce-hash-1".into())),
        ("hash_mismatch", |_, b| (b["output_hash"], b["nonce"]) = ("0".repeat(64).into(), "nonce-hash-2".into())),
        ("timestamp_too_old", |s, b| {
            (b["timestamp"], b["nonce"]) = (Timestamp(s.now_ms() - 86_400_001).rfc3339().into(), "nonce-old".into());
        }),
        ("timestamp_in_future", |s, b| {
            (b["timestamp"], b["nonce"]) = (Timestamp(s.now_ms() + 60_001).rfc3339().into(), "nonce-new".into());
        }),
        ("nonce_too_short", |_, b| b["nonce"] = "1234567".into()),
        ("nonce_reused", |_, b| b["nonce"] = "nonce-0001".into()),
        // A slot to come: one of long ago may have asked this node, and be late.
        ("hash_missing,challenge_unknown", |s, b| (b["challenge_slot"], b["nonce"]) = (next_slot(s), "nonce-slot-1".into())),
        ("hash_mismatch,challenge_unknown", |s, b| {
            (b["challenge_slot"], b["nonce"], b["output_hash"]) = (next_slot(s), "nonce-slot-2".into(), "0".repeat(64).into());
        }),
        ("output_not_base64,timestamp_too_old,nonce_too_short", |_, b| {
            (b["output_data"], b["timestamp"], b["nonce"]) = ("?".into(), "1999-12-31T00:00:00Z".into(), "x".into());
        }),
    ];
    for (expected, change) in cases {
        assert_eq!(but(change).await, expected);
    }
}

#[tokio::test]
async fn what_is_malformed_is_refused_with_every_field() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let node = site.enrol("one").await;
    let path = format!("/nodes/{}/poot/validate", node.id);
    let refused = async |path: &str, body: Value| {
        let (status, answer) = site.client.call(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
        let mut fields: Vec<String> = fields.map(|field| field["field"].as_str().unwrap().to_owned()).collect();
        fields.sort();
        fields
    };
    assert_eq!(refused(&path, json!({})).await, ["nonce", "output_data", "timestamp"]);
    let wrong = json!({ "output_data": 1, "timestamp": "yesterday", "nonce": "n".repeat(129), "challenge_slot": -1, "more": true });
    assert_eq!(refused(&path, wrong).await, ["challenge_slot", "more", "nonce", "output_data", "timestamp"]);
    let batch = "/nodes/poot/batch-validate";
    assert_eq!(refused(batch, json!({ "validations": [] })).await, ["validations"]);
    let mut item = output(&site, "an output of some length", "nonce-0001");
    (item["node_id"], item["timestamp"]) = (node.id.as_str().into(), "soon".into());
    assert_eq!(refused(batch, json!({ "validations": [item] })).await, ["validations[0].timestamp"]);
    let (status, _) = site.client.call(Method::POST, "/nodes/node_nobody_at_all/poot/validate", Some(json!({}))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let long = json!({ "output_data": "A".repeat(2 << 20), "timestamp": "", "nonce": "" });
    let (status, answer) = site.client.call(Method::POST, &path, Some(long)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
}

#[tokio::test]
async fn the_same_again_gets_the_first_verdict_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let id = site.enrol("one").await.id;
    let body = output(&site, "an output of some length", "nonce-0001");
    let bad = json!({ "output_data": base64(b"an output of some length, too"), "timestamp": body["timestamp"], "nonce": "nonce-0002", "output_hash": "0".repeat(64) });
    let first = validate(&site, id.as_str(), body.clone()).await;
    let invalid = validate(&site, id.as_str(), bad.clone()).await;
    site.next_slot(0);
    assert_eq!(validate(&site, id.as_str(), body.clone()).await, first);
    let site = site.crash().await;
    assert_eq!(validate(&site, id.as_str(), body.clone()).await, first, "made durable before it was answered");
    assert_eq!(validate(&site, id.as_str(), bad).await, invalid);
    let reused = validate(&site, id.as_str(), output(&site, "something else of some length", "nonce-0001")).await;
    assert_eq!(errors(&reused), ["nonce_reused"]);
    // A day later nobody remembers it.
    site.driver.advance_ms(86_400_000 - 60_000);
    site.app.context.tick();
    assert_eq!(validate(&site, id.as_str(), body.clone()).await, first);
    site.driver.advance_ms(120_000);
    let again = validate(&site, id.as_str(), output(&site, "an output of some length", "nonce-0001")).await;
    assert_ne!(again["validation_id"], first["validation_id"]);
    assert_eq!(again["is_valid"], true, "{again}");
}

#[tokio::test]
async fn another_nodes_output_is_invalid_and_an_alert_names_both() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (one, two) = (site.enrol("one").await, site.enrol("two").await);
    let of = async |site: &Site, id: &str, data: &str, nonce: &str| validate(site, id, output(site, data, nonce)).await;
    let wrong = of(&site, one.id.as_str(), "short", "nonce-0000").await;
    assert_eq!(errors(&wrong), ["output_too_small"]);
    assert_eq!(errors(&of(&site, two.id.as_str(), "short", "nonce-0000").await), ["output_too_small"], "says nothing of anybody");
    assert_eq!(of(&site, one.id.as_str(), "the very same output", "nonce-0001").await["is_valid"], true);
    assert_eq!(of(&site, one.id.as_str(), "the very same output", "nonce-0002").await["is_valid"], true, "a node may repeat itself");
    let open = site.client.get("/alerts").await;
    assert!(!open["alerts"].as_array().unwrap().iter().any(|alert| alert["kind"] == "identical_outputs"), "{open}");
    let site = site.crash().await;
    let copied = of(&site, two.id.as_str(), "the very same output", "nonce-0001").await;
    assert_eq!((copied["is_valid"].as_bool(), errors(&copied)), (Some(false), vec!["output_of_another_node"]));
    of(&site, two.id.as_str(), "the very same output", "nonce-0009").await;
    let alerts = site.client.get("/alerts").await;
    let raised: Vec<&Value> = alerts["alerts"].as_array().unwrap().iter().filter(|alert| alert["kind"] == "identical_outputs").collect();
    assert_eq!(raised.len(), 1, "{alerts}");
    assert_eq!((raised[0]["subject"].as_str(), raised[0]["topic"].as_str()), (Some(two.id.as_str()), Some(one.id.as_str())));
    assert_eq!((raised[0]["severity"].as_str(), raised[0]["security"].as_bool()), (Some("warning"), Some(true)));
    let message = raised[0]["message"].as_str().unwrap();
    assert!(
        message.contains("two submitted")
            && message.contains("one had submitted")
            && message.contains(&hex(&sha256(b"the very same output"))[..32])
    );
    assert_eq!(of(&site, one.id.as_str(), "the very same output", "nonce-0003").await["is_valid"], true, "the first one keeps it");
    // It ends when nothing of the kind was seen for a day.
    site.driver.advance_ms(86_400_000 + 3_600_000);
    site.app.context.tick();
    site.run_cycles().await;
    let alerts = site.client.get("/alerts?state=resolved").await;
    let ended = alerts["alerts"].as_array().unwrap().iter().find(|alert| alert["kind"] == "identical_outputs").unwrap();
    assert_eq!(ended["state"], "resolved");
}

#[tokio::test]
async fn a_batch_has_a_verdict_for_each_and_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (one, two) = (site.enrol("one").await, site.enrol("two").await);
    let item = |node: &str, data: &str, nonce: &str| {
        let mut item = output(&site, data, nonce);
        item["node_id"] = node.into();
        item
    };
    let items = json!({ "validations": [
        item(one.id.as_str(), "the first output of it", "nonce-0001"),
        item(two.id.as_str(), "the first output of it", "nonce-0001"),
        item("node_nobody_at_all", "the second output of it", "nonce-0001"),
        item(one.id.as_str(), "the first output of it", "nonce-0001"),
        item(two.id.as_str(), "the third output of it", "short"),
        item("node_nobody_else", "the fourth output of it", "nonce-0001"),
    ] });
    let commits = site.app.store.hot.commits();
    let answer = site.client.post("/nodes/poot/batch-validate", items.clone()).await;
    assert_eq!(site.app.store.hot.commits(), commits + 1);
    let found: Vec<String> = answer["results"].as_array().unwrap().iter().map(|result| errors(result).join(",")).collect();
    assert_eq!(found, ["", "output_of_another_node", "node_unknown", "", "nonce_too_short", "node_unknown"]);
    assert_eq!(answer["results"][0], answer["results"][3], "a repeat within the batch");
    assert_eq!((&answer["results"][2]["node_id"], &answer["results"][0]["batch_id"]), (&json!("node_nobody_at_all"), &answer["batch_id"]));
    let summary =
        json!({ "total": 6, "valid": 2, "invalid": 4, "errors": { "node_unknown": 2, "nonce_too_short": 1, "output_of_another_node": 1 } });
    assert_eq!(answer["summary"], summary);
    let site = site.crash().await;
    let again = site.client.post("/nodes/poot/batch-validate", items).await;
    assert_eq!(again["results"][1], answer["results"][1]);
    assert_ne!(again["batch_id"], answer["batch_id"]);
}

#[tokio::test]
async fn lists_and_months_say_what_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (one, two) = (site.enrol("one").await, site.enrol("two").await);
    for n in 0..100 {
        let node = if n % 4 == 0 { &two } else { &one };
        let mut body = output(&site, &format!("an output with number {n}"), &format!("nonce-{n:04}"));
        if n % 10 == 1 {
            body["output_hash"] = "0".repeat(64).into();
        }
        if n < 60 {
            validate(&site, node.id.as_str(), body).await;
        } else {
            // From a node: in memory until the next flush.
            let mut request = answer(&site, &format!("an output with number {n}"), &format!("nonce-{n:04}"), None);
            request.output_hash = body["output_hash"].as_str().map(str::to_owned);
            node.submit(&request).await.unwrap();
        }
        site.driver.advance_ms(1_000);
    }
    let list = async |query: &str| site.client.get(&format!("/nodes/{}/poot/validations?{query}", one.id)).await;
    let check = async |when: &str| {
        let first = list("limit=20").await;
        assert_eq!((first["pagination"]["total"].as_u64(), first["pagination"]["pages"].as_u64()), (Some(75), Some(4)), "{when}");
        let mut all = Vec::new();
        for page in 1..=4 {
            let page = list(&format!("limit=20&page={page}")).await;
            all.extend(page["validations"].as_array().unwrap().iter().map(|row| row["created_at"].as_str().unwrap().to_owned()));
        }
        assert_eq!(all.len(), 75);
        assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once, {when}");
        let invalid = list("is_valid=false&limit=100").await;
        let rows = invalid["validations"].as_array().unwrap();
        assert_eq!((rows.len(), invalid["pagination"]["total"].as_u64()), (10, Some(10)), "{when}");
        assert!(rows.iter().all(|row| errors(row) == ["hash_mismatch"]));
        assert_eq!(list("is_valid=true").await["pagination"]["total"], 65);
    };
    check("while some are in memory").await;
    site.pass_slots(1).await;
    check("when all are durable").await;
    let months = site.client.get(&format!("/nodes/{}/poot/validations/months", one.id)).await;
    let month = json!({ "month": "2026-09", "count": 75, "valid": 65, "counted": 0, "errors": { "hash_mismatch": 10 } });
    assert_eq!(months["months"], json!([month]));
    let hash = hex(&sha256(b"an output with number 99"));
    assert_eq!(site.client.get(&format!("/nodes/{}/poot/score", one.id)).await["output_hash"], hash);
    let site = site.crash().await;
    assert_eq!(site.client.get(&format!("/nodes/{}/poot/score", one.id)).await["output_hash"], hash);
    let (status, answer) = site.client.call(Method::GET, &format!("/nodes/{}/poot/validations?is_valid=perhaps", one.id), None).await;
    assert_eq!((status, error_name(&answer)), (StatusCode::BAD_REQUEST, "Invalid"), "{answer}");
}
