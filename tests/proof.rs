//! Proofs of scores, from the reports of nodes to the verdict of who has nothing but a file and a key.

mod forks;
mod receipts;
mod rotation;
mod tampering;
mod verifying;

use std::path::Path;
use std::process::Command;

use lucid::crypto::jwt_encode;
use lucid::domain::enrolment::NodeClaims;
use lucid::domain::metrics::Sample;
use lucid::domain::node::NodeType;
use lucid::domain::proof::check::{self, Finding, Outcome, Verdict};
use lucid::domain::proof::document::{ConsistencyDocument, ProofDocument};
use lucid::domain::time::SLOT_MS;
use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::Site;

/// Lets `nodes` report in each of so many slots, but for those that `is_silent` names by the node's place and the slot's.
async fn live(site: &Site, nodes: &mut [Node], slots: u32, is_silent: impl Fn(usize, u32) -> bool) {
    for slot in 0..slots {
        site.next_slot(5_000);
        for (place, node) in nodes.iter_mut().enumerate() {
            if !is_silent(place, slot) {
                node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
            }
        }
        if slot % 10 == 9 {
            for job in [Job::Flush, Job::Epochs] {
                site.app.context.run(job).await.unwrap();
            }
        }
    }
}

async fn fleet(site: &Site, count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for n in 0..count {
        nodes.push(site.enrol(&format!("worker-{n}")).await);
    }
    nodes
}

async fn proof(site: &Site, node: &Node) -> Value {
    site.client.get(&format!("/poot/{}", node.id)).await
}

fn key(site: &Site) -> [u8; 32] {
    site.app.store.manager_key().0
}

fn checked(document: &Value, pinned: Option<&[u8; 32]>) -> Vec<Finding> {
    let document: ProofDocument = serde_json::from_value(document.clone()).unwrap();
    check::proof(&document, pinned)
}

fn wrong(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().filter(|finding| finding.outcome == Outcome::Wrong).map(|finding| finding.check).collect()
}

/// The exit status of the real command, and what it printed.
fn verify_proof(file: &Path, key: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-node-management"));
    command.arg("verify-proof").arg(file);
    if let Some(key) = key {
        command.args(["--manager-key", key]);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

/// The same of the verifier that was written from `data/proof-format.md` alone.
fn verify_in_python(file: &Path, key: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/verify.py")).arg(file);
    if let Some(key) = key {
        command.args(["--manager-key", key]);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

fn written(folder: &Path, document: &Value) -> std::path::PathBuf {
    let file = folder.join("proof.json");
    std::fs::write(&file, serde_json::to_vec_pretty(document).unwrap()).unwrap();
    file
}

#[tokio::test]
async fn a_score_is_proven_to_who_has_its_document_and_the_managers_key() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 3).await;
    // The second misses slots, the third comes late.
    live(&site, &mut nodes, 150, |place, slot| (place == 1 && slot % 7 == 3) || (place == 2 && slot < 40)).await;
    let public = site.client.get("/poot/manager-key").await;
    let (hex, pinned) = (public["public_key"].as_str().unwrap().to_owned(), key(&site));
    for (place, node) in nodes.iter().enumerate() {
        let document = proof(&site, node).await;
        assert_eq!((&document["format"], &document["leaf_index"]), (&json!("lucid-poot-proof/1"), &json!(place)));
        let findings = checked(&document, Some(&pinned));
        assert_eq!(Verdict::of(&findings), Verdict::Good, "{findings:?}");
        assert_eq!(Verdict::of(&checked(&document, None)), Verdict::Consistent, "nobody vouched for the signer");
        assert_eq!(wrong(&checked(&document, Some(&[7; 32]))), ["signer"]);

        // It is the score that everybody is shown.
        let shown = site.client.get(&format!("/nodes/{}/poot/score", node.id)).await;
        assert_eq!(shown["epoch"], document["head"]["epoch"]);
        assert_eq!(document["score"].as_str().unwrap(), format!("{:.2}", shown["score"].as_f64().unwrap()));

        let file = written(dir.path(), &document);
        let key_file = dir.path().join("key.json");
        std::fs::write(&key_file, public.to_string()).unwrap();
        for (key, expected) in [(Some(&*hex), 0), (Some(key_file.to_str().unwrap()), 0), (None, 3), (Some(&*"07".repeat(32)), 1)] {
            let (status, said) = verify_proof(&file, key);
            assert_eq!(status, Some(expected), "{key:?}: {said}");
        }
        for (key, expected) in [(Some(&*hex), 0), (None, 3), (Some(&*"07".repeat(32)), 1)] {
            let (status, said) = verify_in_python(&file, key);
            assert_eq!(status, Some(expected), "Python, {key:?}: {said}");
        }
    }
    let (uptime, missed) = (proof(&site, &nodes[0]).await, proof(&site, &nodes[1]).await);
    assert_eq!((&uptime["score"], uptime["window"]["proven"].as_array().unwrap().len()), (&json!("100.00"), 2), "one run");
    assert!(missed["leaf"]["inputs"]["interruptions"].as_u64().unwrap() > 10);
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));
}

#[tokio::test]
async fn a_proof_of_an_earlier_epoch_is_made_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 2).await;
    live(&site, &mut nodes, 60, |place, slot| place == 1 && slot == 30).await;
    let early = proof(&site, &nodes[1]).await;
    live(&site, &mut nodes, 60, |_, _| false).await;
    let site = site.crash().await;
    let epoch = early["head"]["epoch"].as_u64().unwrap();
    let again = site.client.get(&format!("/poot/{}?epoch={epoch}", nodes[1].id)).await;
    assert_eq!(again, early, "word for word");
    assert_eq!(Verdict::of(&checked(&again, Some(&key(&site)))), Verdict::Good);
    for (path, refusal) in [(format!("{}?epoch=1", nodes[1].id), "EpochNotFound"), ("node_nobody_here".into(), "NodeNotFound")] {
        let (status, body) = site.client.call(reqwest::Method::GET, &format!("/poot/{path}"), None).await;
        assert_eq!((status, error_name(&body)), (StatusCode::NOT_FOUND, refusal));
    }
}

#[tokio::test]
async fn a_node_gets_its_own_proof_and_no_other_ones() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 2).await;
    live(&site, &mut nodes, 40, |_, _| false).await;
    let claims = NodeClaims::new(nodes[0].id.clone(), NodeType::Worker, site.app.state.now().wall, "jti".into());
    let token = jwt_encode(&site.app.store.secrets.node_tokens, &claims).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let newest = site.app.store.recent.head().unwrap().head.epoch;
    for (path, expected) in [
        (format!("poot/{}", nodes[0].id), 200),
        (format!("poot/consistency?first={newest}"), 200),
        (format!("nodes/{}/poot/score", nodes[0].id), 200),
        (format!("poot/{}", nodes[1].id), 403),
        (format!("nodes/{}/poot/score", nodes[1].id), 403),
        (format!("poot/epochs/{newest}"), 403),
        ("poot/leaderboard".into(), 403),
    ] {
        let answer = http.get(format!("{}/api/v1/{path}", site.client.base)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{path}");
    }
}

/// The window of the oldest one begins long before it: as long as the leaf is kept, so are its slots.
#[tokio::test]
async fn a_proof_that_is_kept_has_its_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 1).await;
    live(&site, &mut nodes, 70, |_, slot| slot % 9 == 4).await;
    let listed = site.client.get("/poot/epochs?limit=100").await;
    let epochs: Vec<u64> = listed["epochs"].as_array().unwrap().iter().rev().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    // Ninety days after the middle of them.
    site.driver.advance_ms(SLOT_MS * (90 * 2_880 - 35));
    site.next_slot(5_000);
    site.app.context.tick();
    site.app.context.run(Job::Housekeeping).await.unwrap();
    let mut kept = Vec::new();
    for epoch in &epochs {
        let (status, document) = site.client.call(Method::GET, &format!("/poot/{}?epoch={epoch}", nodes[0].id), None).await;
        kept.push(status == StatusCode::OK);
        if status == StatusCode::OK {
            assert_eq!(Verdict::of(&checked(&document, Some(&key(&site)))), Verdict::Good, "{document}");
            assert!(document["leaf"]["window_slots"].as_u64().unwrap() > 30, "{document}");
        } else {
            assert_eq!((status, error_name(&document)), (StatusCode::NOT_FOUND, "ProofNotKept"));
        }
    }
    assert!(kept.is_sorted() && !kept[0] && kept.last() == Some(&true), "{kept:?}");
}

#[tokio::test]
async fn any_two_heads_are_shown_to_be_of_one_history() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 1).await;
    live(&site, &mut nodes, 100, |_, _| false).await;
    let epochs = site.client.get("/poot/epochs?limit=100").await;
    let epochs: Vec<u64> = epochs["epochs"].as_array().unwrap().iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.len() >= 8);
    let pinned = key(&site);
    for first in &epochs {
        for second in &epochs {
            let document = site.client.get(&format!("/poot/consistency?first={first}&second={second}")).await;
            let parsed: ConsistencyDocument = serde_json::from_value(document.clone()).unwrap();
            assert!(parsed.first.head.sequence <= parsed.second.head.sequence);
            assert_eq!(Verdict::of(&check::consistency(&parsed, Some(&pinned))), Verdict::Good, "{first} {second}");
            let file = written(dir.path(), &document);
            if first == epochs.last().unwrap() {
                let hex = lucid::crypto::hex(&pinned);
                assert_eq!((verify_proof(&file, Some(&hex)).0, verify_proof(&file, None).0), (Some(0), Some(3)));
                assert_eq!((verify_in_python(&file, Some(&hex)).0, verify_in_python(&file, None).0), (Some(0), Some(3)));
            }
        }
    }
}
