//! Point 4: tokens, keys, challenges, node tokens, reports.

use std::collections::BTreeSet;

use lucid::crypto::{SecretKey, SigningKey};
use lucid::domain::ids::{Incarnation, NodeId};
use lucid::domain::metrics::Sample;
use lucid::wire::{Envelope, HEADER_NODE, HEADER_SIGNATURE, Item, LateItem, PATH_LATE, PATH_REPORT, PROTOCOL, Purpose, Report};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Guarded, request};
use crate::support::client::{PASSWORD, error_name};
use crate::support::fleet::{Machine, Node};
use crate::support::site::Site;

/// Another machine, so with another key, asks with `token`.
async fn try_token(site: &Site, token: &str) -> Answer {
    Machine::new("stranger").try_enrol(&site.client.base, token, None).await.expect_err("refused")
}

/// The three parts of a token.
fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

#[tokio::test]
async fn agents_that_enrol_on_one_machine_in_the_same_moment_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let token = site.token(4).await;
    let mut machines = ["a", "b", "c", "d"].map(|name| Machine::new(&format!("agent-{name}")));
    let fingerprint = machines[0].fingerprint.clone();
    machines.iter_mut().for_each(|machine| machine.fingerprint = fingerprint.clone());
    let [a, b, c, d] = machines.each_ref().map(|machine| machine.try_enrol(&site.client.base, &token, None));
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let nodes: BTreeSet<NodeId> = [a, b, c, d].map(|answer| answer.unwrap().node_id).into();
    assert_eq!(nodes.len(), 4, "none takes another's place");
    let alerts = site.client.get("/alerts?state=open&limit=100").await;
    let about = |id: &NodeId| {
        alerts["alerts"].as_array().unwrap().iter().any(|a| a["kind"] == "two_nodes_on_one_machine" && a["subject"] == id.as_str())
    };
    let noticed = nodes.iter().filter(|id| about(id)).count();
    assert!(noticed >= 3, "all but the first: {alerts}");
}

#[tokio::test]
async fn machines_with_a_token_of_many_uses_wait_for_an_admin() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    site.client.post("/users", json!({ "username": "grace", "password": PASSWORD, "role": "operator" })).await;
    let mut grace = site.client.anonymous();
    grace.sign_in("grace", PASSWORD).await;
    let waived = json!({ "uses": 5, "needs_approval": false });
    assert_eq!(grace.call(Method::POST, "/enrolment-tokens", Some(waived)).await.0, 403, "only an admin waives it");
    let token = grace.post("/enrolment-tokens", json!({ "uses": 5 })).await["token"].as_str().unwrap().to_owned();
    let (first, second) = (Machine::new("first"), Machine::new("second"));
    let ask = async |machine: &Machine| machine.try_enrol(&site.client.base, &token, None).await;
    for _ in 0..2 {
        for machine in [&first, &second] {
            let (status, body) = ask(machine).await.expect_err("waits");
            assert_eq!((status.as_u16(), error_name(&body)), (202, "ApprovalPending"));
        }
    }
    let waiting = grace.get("/enrolment-requests?state=pending").await;
    assert_eq!(waiting["pagination"]["total"], 2, "each waits once");
    let id = |machine: &Machine| {
        let all = waiting["enrolment_requests"].as_array().unwrap();
        let found = all.iter().find(|r| r["public_key"] == machine.key.public().to_hex()).unwrap();
        format!("/enrolment-requests/{}", found["id"].as_str().unwrap())
    };
    assert_eq!(grace.call(Method::POST, &format!("{}/approve", id(&first)), None).await.0, 403, "an operator does not approve");
    let approved = site.client.post(&format!("{}/approve", id(&first)), Value::Null).await;
    assert_eq!((approved["state"].as_str(), approved["decided_at"].is_string()), (Some("approved"), true));
    site.client.post(&format!("{}/reject", id(&second)), Value::Null).await;
    let node = ask(&first).await.unwrap();
    let (status, body) = ask(&second).await.expect_err("rejected");
    assert_eq!((status.as_u16(), error_name(&body)), (403, "EnrolmentRejected"));
    let (status, body) = site.client.call(Method::POST, &format!("{}/approve", id(&second)), None).await;
    assert_eq!((status.as_u16(), error_name(&body)), (409, "EnrolmentRequestDecided"));
    assert_eq!(ask(&first).await.unwrap().node_id, node.node_id, "a lost answer is no loss");
    assert_eq!(site.client.get(&format!("/nodes/{}", node.node_id)).await["status"], "starting", "in service at once");
    let left = site.client.get("/enrolment-requests").await;
    assert_eq!((left["pagination"]["total"].as_u64(), left["enrolment_requests"][0]["state"].as_str()), (Some(1), Some("rejected")));
}

#[tokio::test]
async fn tokens_that_do_not_open_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let used = site.token(1).await;
    Machine::new("first").enrol(&site.client.base, &used).await.unwrap();
    let revoked = site.client.post("/enrolment-tokens", json!({ "uses": 5 })).await;
    let (status, _) = site.client.call(Method::DELETE, &format!("/enrolment-tokens/{}", revoked["id"].as_str().unwrap()), None).await;
    assert!(status.is_success());
    let good = site.token(5).await;
    let [id, secret, hash] = parts(&good);
    let flipped = |text: &str| if text.starts_with('0') { text.replacen('0', "1", 1) } else { format!("0{}", &text[1..]) };

    let guarded = Guarded::new(&site).await;
    let cases = [
        (used, (401, "2006", "TokenUsed")),
        (revoked["token"].as_str().unwrap().to_owned(), (401, "2006", "TokenRevoked")),
        (format!("{id}.{}.{hash}", flipped(&secret)), (401, "2006", "TokenWrongSecret")),
        (format!("{id}.{secret}.{}", flipped(&hash)), (403, "2006", "TokenForOtherManager")),
        (format!("enrol_{}.{secret}.{hash}", "0".repeat(32)), (401, "2006", "TokenUnknown")),
        ("not a token".to_owned(), (401, "2006", "TokenUnknown")),
        (String::new(), (401, "2006", "TokenUnknown")),
    ];
    for (token, expected) in cases {
        guarded.refused(expected.2, try_token(&site, &token).await, expected).await;
    }
    let stranger = Machine::new("stranger");
    for signature in ["00".repeat(64), String::new(), "zz".to_owned()] {
        let answer = stranger.try_enrol(&site.client.base, &good, Some(signature)).await.expect_err("refused");
        guarded.refused("a forged enrolment", answer, (401, "2007", "SignatureForged")).await;
    }
    site.driver.advance_ms(3_601_000);
    guarded.refused("an hour later", try_token(&site, &good).await, (401, "2006", "TokenExpired")).await;
}

#[tokio::test]
async fn keys_belong_to_their_machine_and_nodes_to_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let key = || SigningKey::from_seed(SecretKey([9; 32]));
    let mut home = Machine { key: key(), ..Machine::new("home") }.enrol(&site.client.base, &site.token(1).await).await.unwrap();
    let claimed = site.client.post("/nodes", json!({ "name": "planned", "node_type": "worker" })).await;
    let of_node = json!({ "node_id": claimed["node_id"] });
    let token = site.client.post("/enrolment-tokens", of_node.clone()).await;
    Machine::new("claimer").enrol(&site.client.base, token["token"].as_str().unwrap()).await.unwrap();
    let second = site.client.post("/enrolment-tokens", of_node).await;
    let any = site.token(1).await;

    let guarded = Guarded::new(&site).await;
    let abroad = Machine { key: key(), ..Machine::new("abroad") };
    let answer = abroad.try_enrol(&site.client.base, &any, None).await.expect_err("refused");
    guarded.refused("a copied key enrols elsewhere", answer, (403, "2008", "KeyOnOtherHardware")).await;
    let answer = try_token(&site, second["token"].as_str().unwrap()).await;
    guarded.refused("a claimed node", answer, (409, "4091", "NodeClaimed")).await;
    guarded.recorded("a claimed node", "NodeClaimed").await;
    home.machine.fingerprint = abroad.fingerprint;
    let answer = post_report(&home, home.signed(1, None)).await;
    guarded.refused("a copied key reports from elsewhere", answer, (403, "2008", "KeyOnOtherHardware")).await;
}

async fn challenge(site: &Site, node: &NodeId) -> String {
    let answer = site.client.anonymous().post("/auth/node/challenge", json!({ "node_id": node.as_str() })).await;
    answer["challenge"].as_str().unwrap().to_owned()
}

/// The body that answers a challenge, signed by `signer` in the name of `node`.
fn answer(signer: &Node, node: &NodeId, challenge: &str) -> Value {
    let (manager, purpose) = (signer.manager_id.as_str(), Purpose::Challenge);
    let envelope = Envelope { purpose, manager, node: node.as_str(), incarnation: Incarnation(0), seq: 0 };
    let signature = envelope.sign(&signer.machine.key, challenge.as_bytes());
    json!({ "node_id": node.as_str(), "challenge": challenge, "signature": signature })
}

#[tokio::test]
async fn challenges_are_answered_once_soon_and_by_their_node() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (node, other) = (site.enrol("one").await, site.enrol("two").await);
    let nobody = site.client.anonymous();
    let token = async |body: Value| nobody.call(Method::POST, "/auth/node/token", Some(body)).await;

    let guarded = Guarded::new(&site).await;
    let used = challenge(&site, &node.id).await;
    assert!(token(answer(&node, &node.id, &used)).await.0.is_success());
    let unknown = (401, "2007", "ChallengeUnknown");
    guarded.refused("a replayed challenge", token(answer(&node, &node.id, &used)).await, unknown).await;
    guarded.refused("a made-up challenge", token(answer(&node, &node.id, &"00".repeat(32))).await, unknown).await;
    guarded.refused("no challenge", token(answer(&node, &node.id, "")).await, unknown).await;
    let of_node = challenge(&site, &node.id).await;
    guarded.refused("another node's challenge", token(answer(&other, &other.id, &of_node)).await, unknown).await;
    let forged = challenge(&site, &node.id).await;
    guarded.refused("another key", token(answer(&other, &node.id, &forged)).await, (401, "2007", "SignatureForged")).await;
    guarded.refused("a second try", token(answer(&node, &node.id, &forged)).await, unknown).await;
    let stranger = NodeId::parse("node_nobody_at_all").unwrap();
    let empty = challenge(&site, &stranger).await;
    guarded.refused("an unknown node", token(answer(&node, &stranger, &empty)).await, unknown).await;
    let slow = challenge(&site, &node.id).await;
    site.driver.advance_ms(60_000);
    guarded.refused("a minute later", token(answer(&node, &node.id, &slow)).await, (401, "2007", "ChallengeExpired")).await;
}

#[tokio::test]
async fn a_node_token_acts_for_its_node_for_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (node, other) = (site.enrol("one").await, site.enrol("two").await);
    let text = challenge(&site, &node.id).await;
    let made = site.client.anonymous().post("/auth/node/token", answer(&node, &node.id, &text)).await;
    let jwt = made["access_token"].as_str().unwrap();
    let as_node = site.client.with_token(jwt);
    assert_eq!(as_node.get(&format!("/nodes/{}", node.id)).await["node_id"].as_str(), Some(node.id.as_str()));

    let guarded = Guarded::new(&site).await;
    let theirs = as_node.call(Method::GET, &format!("/nodes/{}", other.id), None).await;
    guarded.refused("another node", theirs, (403, "2003", "NotYours")).await;
    for path in ["/nodes", "/users", "/audit"] {
        guarded.refused(path, as_node.call(Method::GET, path, None).await, (403, "2003", "NotAllowed")).await;
    }
    let own = format!("/nodes/{}", node.id);
    guarded.refused("its own deletion", as_node.call(Method::DELETE, &own, None).await, (403, "2003", "NotAllowed")).await;
    let [head, claims, mac] = parts(jwt);
    let unsigned = "eyJhbGciOiJub25lIn0";
    let first = if mac.starts_with('A') { "B" } else { "A" };
    for forged in [format!("{head}.{claims}.{first}{}", &mac[1..]), format!("{unsigned}.{claims}."), format!("{unsigned}.{claims}.{mac}")] {
        let answer = site.client.with_token(forged).call(Method::GET, &own, None).await;
        guarded.refused("a forged token", answer, (401, "2001", "SessionUnknown")).await;
    }
    site.driver.advance_ms(3_601_000);
    guarded.refused("an hour later", as_node.call(Method::GET, &own, None).await, (401, "2001", "SessionUnknown")).await;
}

async fn post_report(node: &Node, (body, signature): (Vec<u8>, String)) -> Answer {
    let (status, _, bytes) = node.raw(PATH_REPORT, &body, &signature).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A report with these items, well signed.
fn report(node: &Node, change: impl FnOnce(&mut Report)) -> (Vec<u8>, String) {
    let (body, _) = node.signed(node.seq + 1, node.run);
    let mut report: Report = serde_json::from_slice(&body).unwrap();
    change(&mut report);
    let body = serde_json::to_vec(&report).unwrap();
    let (manager, incarnation) = (node.manager_id.as_str(), report.incarnation);
    let envelope = Envelope { purpose: Purpose::Report, manager, node: node.id.as_str(), incarnation, seq: report.seq };
    let signature = envelope.sign(&node.machine.key, &body);
    (body, signature)
}

#[tokio::test]
async fn reports_count_once_and_only_as_their_node_signed_them() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (mut node, other) = (site.enrol("one").await, site.enrol("two").await);
    site.next_slot(5_000);
    node.report(site.now_ms(), Sample::default()).await.unwrap();
    let recorded = node.signed(node.seq, node.run);
    let recorded_older = report(&node, |report| (report.items[0].seq, report.seq) = (0, 0));
    node.report(site.now_ms(), Sample::default()).await.unwrap();
    let old_life = report(&node, |_| ());
    node.restart();
    node.report(site.now_ms(), Sample::default()).await.unwrap();
    node.report(site.now_ms(), Sample::default()).await.unwrap();

    let guarded = Guarded::new(&site).await;
    let forged = (401, "2007", "SignatureForged");
    let replayed = (409, "4091", "ReportReplayed");
    let (body, signature) = report(&node, |_| ());
    let (other_body, other_signature) = report(&other, |_| ());
    guarded.refused("no signature", post_report(&node, (body.clone(), String::new())).await, forged).await;
    guarded.refused("a signature over another body", post_report(&node, (other_body, signature.clone())).await, forged).await;
    guarded.refused("another key", post_report(&node, (body.clone(), other_signature)).await, forged).await;
    let envelope = Envelope {
        purpose: Purpose::Report,
        manager: "manager_another_one",
        node: node.id.as_str(),
        incarnation: node.incarnation,
        seq: node.seq + 1,
    };
    let abroad = envelope.sign(&node.machine.key, &body);
    guarded.refused("a report to another manager", post_report(&node, (body.clone(), abroad)).await, forged).await;
    let batch = format!(r#"{{"protocol":{PROTOCOL},"incarnation":{},"items":[]}}"#, node.incarnation.0);
    let as_report = Envelope { manager: node.manager_id.as_str(), seq: 0, ..envelope }.sign(&node.machine.key, batch.as_bytes());
    let (status, _, bytes) = node.raw(PATH_LATE, batch.as_bytes(), &as_report).await.unwrap();
    let as_late = (status, serde_json::from_slice(&bytes).unwrap());
    guarded.refused("a late batch signed as a report", as_late, forged).await;

    let lower = report(&node, |report| (report.items[0].seq, report.seq) = (1, 1));
    guarded.refused("an earlier report", post_report(&node, lower).await, replayed).await;
    for earlier in [recorded, recorded_older, old_life] {
        guarded.refused("a report of an earlier life", post_report(&node, earlier).await, replayed).await;
    }
    guarded.recorded("a report of an earlier life", "ReportReplayed").await;

    let item = |seq| Item { seq, age_ms: 0, witness: None, running: None, sample: Sample::default() };
    let invalid = (400, "1002", "Invalid");
    let seq = node.seq + 1;
    let shapes: [(&str, Vec<Item>, u64); 4] = [
        ("nothing in it", vec![], seq),
        ("too much in it", (seq..seq + 65).map(item).collect(), seq + 64),
        ("out of order", vec![item(seq + 1), item(seq)], seq),
        ("the wrong last one", vec![item(seq)], seq + 1),
    ];
    for (what, items, seq) in shapes {
        let shaped = report(&node, |report| (report.items, report.seq) = (items, seq));
        guarded.refused(what, post_report(&node, shaped).await, invalid).await;
    }
    let newer = report(&node, |report| report.protocol = PROTOCOL + 1);
    guarded.refused("a newer protocol", post_report(&node, newer).await, (422, "4221", "ProtocolTooNew")).await;
    guarded.refused("no JSON", post_report(&node, (b"{".to_vec(), signature.clone())).await, (400, "1001", "Malformed")).await;

    let mut wrong: Value = serde_json::from_slice(&body).unwrap();
    (wrong["seq"], wrong["agent_version"], wrong["items"][0]["age_ms"]) = (json!("1"), json!(1), json!("soon"));
    wrong["of_a_later_release"] = json!(true);
    let (_, answer) = post_report(&node, (wrong.to_string().into_bytes(), signature.clone())).await;
    let fields: BTreeSet<&str> =
        answer["error"]["details"]["fields"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, BTreeSet::from(["seq", "agent_version", "items[0].age_ms"]), "{answer}");

    let mut listed: Value = serde_json::from_slice(&body).unwrap();
    listed["fingerprint"] = json!([null, null, null, null, null, null]);
    let listed = listed.to_string().into_bytes();
    let envelope = Envelope { manager: node.manager_id.as_str(), ..envelope };
    let signature_of_list = envelope.sign(&node.machine.key, &listed);
    let answer = post_report(&node, (listed, signature_of_list)).await;
    guarded.refused("a list in the place of an object", answer, (400, "1001", "Malformed")).await;

    let text = String::from_utf8(body).unwrap();
    let named = [(HEADER_SIGNATURE, signature.as_str()), (HEADER_NODE, "node_nobody_at_all"), ("content-type", "application/json")];
    let (_, answer) = request(&site.client, Method::POST, PATH_REPORT, &named, Some(&text)).await;
    guarded.refused("an unknown node", answer, (404, "5001", "NodeNotFound")).await;
    let packed = [named[0], (HEADER_NODE, node.id.as_str()), named[2], ("content-encoding", "gzip")];
    let (_, answer) = request(&site.client, Method::POST, PATH_REPORT, &packed, Some(&text)).await;
    guarded.refused("a packed report", answer, (415, "1009", "BodyEncoded")).await;
    let (_, answer) = request(&site.client, Method::POST, PATH_REPORT, &named[..1], Some(&text)).await;
    guarded.refused("no node at all", answer, (401, "2001", "NotSignedIn")).await;
    let (_, answer) = request(&site.client, Method::POST, PATH_REPORT, &[(HEADER_NODE, node.id.as_str())], Some(&text)).await;
    guarded.refused("no signature", answer, (401, "2001", "NotSignedIn")).await;
    let misnamed = [(HEADER_SIGNATURE, signature.as_str()), (HEADER_NODE, "somebody")];
    let (_, answer) = request(&site.client, Method::POST, PATH_REPORT, &misnamed, Some(&text)).await;
    guarded.refused("no id of a node", answer, (400, "1001", "Malformed")).await;
}

#[tokio::test]
async fn the_managers_answer_is_bound_to_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("one").await;
    let (body, signature) = node.signed(1, None);
    let (status, headers, bytes) = node.raw(PATH_REPORT, &body, &signature).await.unwrap();
    assert!(status.is_success());
    let signature = headers[HEADER_SIGNATURE].to_str().unwrap();
    let right = Envelope {
        purpose: Purpose::ReportAnswer,
        manager: node.manager_id.as_str(),
        node: node.id.as_str(),
        incarnation: node.incarnation,
        seq: 1,
    };
    assert!(right.verify(&node.manager_key, &bytes, signature));
    let wrong = [
        Envelope { purpose: Purpose::LateAnswer, ..right },
        Envelope { manager: "manager_another_one", ..right },
        Envelope { node: "node_another_one", ..right },
        Envelope { incarnation: Incarnation(node.incarnation.0 + 1), ..right },
        Envelope { seq: 2, ..right },
    ];
    for envelope in wrong {
        assert!(!envelope.verify(&node.manager_key, &bytes, signature), "{envelope:?}");
    }
    assert!(!right.verify(&node.machine.key.public(), &bytes, signature), "nobody but the manager");
}

#[tokio::test]
async fn late_batches_hold_the_past_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("one").await;
    let now = site.app.clock.now().wall.slot();
    let item = |slot| LateItem { slot, sample: Sample::default() };
    let guarded = Guarded::new(&site).await;
    let invalid = (400, "1002", "Invalid");
    guarded.refused("nothing in it", node.late(Vec::new()).await.expect_err("refused"), invalid).await;
    let many = (0..513).map(|back| item(now.minus(back))).collect();
    guarded.refused("too much in it", node.late(many).await.expect_err("refused"), invalid).await;
    let ancient = now.minus(4_000 * 2_880);
    let answer = node.late(vec![item(now.plus(1)), item(ancient), item(now.minus(5)), item(now.minus(5))]).await.unwrap();
    assert_eq!((answer.stored, answer.duplicate, answer.refused), (1, 1, 2));
    let again = node.late(vec![item(now.minus(5))]).await.unwrap();
    assert_eq!((again.stored, again.duplicate, again.refused), (0, 1, 0));
}
