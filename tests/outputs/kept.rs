//! Outputs themselves, where a manager is asked to keep them.

use lucid::crypto::base64;
use lucid::live::Job;
use lucid::storage::verify::verify;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer, output, site};
use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::Site;

const LARGE: usize = 400_000;

async fn keep(site: &Site, megabytes: u32) {
    site.client.put("/settings", json!({ "poot.keep_outputs_mb": megabytes })).await;
}

/// Its id.
async fn submitted(site: &Site, node: &Node, data: &str, nonce: &str) -> String {
    let verdict = site.client.post(&format!("/nodes/{}/poot/validate", node.id), output(site, data, nonce)).await;
    verdict["validation_id"].as_str().unwrap().to_owned()
}

async fn asked(site: &Site, node: &str, id: &str) -> Result<Value, String> {
    let (status, answer) = site.client.call(Method::GET, &format!("/nodes/{node}/poot/validations/{id}/output"), None).await;
    match status {
        StatusCode::OK => Ok(answer["output_data"].clone()),
        StatusCode::NOT_FOUND => Err(error_name(&answer).to_owned()),
        _ => panic!("{status} {answer}"),
    }
}

#[tokio::test]
async fn outputs_are_kept_while_they_are_asked_for_and_fit() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (one, two) = (site.enrol("one").await, site.enrol("two").await);
    let not_kept = Err("OutputNotKept".to_owned());
    let before = submitted(&site, &one, "an output of some length", "nonce-0000").await;
    assert_eq!(asked(&site, one.id.as_str(), &before).await, not_kept, "nothing is kept unless that is wanted");

    keep(&site, 1).await;
    let id = submitted(&site, &one, "another output of some length", "nonce-0001").await;
    let expected = Ok(Value::from(base64(b"another output of some length")));
    assert_eq!(asked(&site, one.id.as_str(), &id).await, expected);
    assert_eq!(submitted(&site, &one, "another output of some length", "nonce-0001").await, id, "a repeat is no other one");
    assert_eq!(asked(&site, two.id.as_str(), &id).await, not_kept, "it is not that node's");
    assert_eq!(asked(&site, "node_nobody_at_all", &id).await, Err("NodeNotFound".to_owned()));
    for wrong in ["no-uuid", "01a0c5ea-0000-7000-8000-000000000000"] {
        assert_eq!(asked(&site, one.id.as_str(), wrong).await, not_kept);
    }
    let mut batch = output(&site, "an output of a batch, of some length", "nonce-0002");
    batch["node_id"] = two.id.as_str().into();
    let mut no_base64 = output(&site, "", "nonce-0003");
    (no_base64["node_id"], no_base64["output_data"]) = (two.id.as_str().into(), "no base64!".into());
    let results = site.client.post("/nodes/poot/batch-validate", json!({ "validations": [batch, no_base64] })).await;
    let of_batch = |at: usize| results["results"][at]["validation_id"].as_str().unwrap().to_owned();
    assert_eq!(asked(&site, two.id.as_str(), &of_batch(0)).await, Ok(base64(b"an output of a batch, of some length").into()));
    assert_eq!(asked(&site, two.id.as_str(), &of_batch(1)).await, not_kept);

    // From a node: in memory, and after the next flush on the disk. The setting and what was kept outlive the process.
    let verdict = two.submit(&answer(&site, "an output of a workload, of some length", "nonce-0004", None)).await.unwrap();
    let of_node = verdict["validation_id"].as_str().unwrap().to_owned();
    let expected_of_node = Ok(Value::from(base64(b"an output of a workload, of some length")));
    assert_eq!(asked(&site, two.id.as_str(), &of_node).await, expected_of_node);
    site.app.context.run(Job::Flush).await.unwrap();
    let site = site.crash().await;
    assert_eq!(asked(&site, two.id.as_str(), &of_node).await, expected_of_node);
    assert_eq!(asked(&site, one.id.as_str(), &id).await, expected);

    // Three of these are more than a megabyte: the oldest go.
    let mut large = Vec::new();
    for n in 0..3 {
        site.driver.advance_ms(1_000);
        large.push(submitted(&site, &one, &format!("{n}").repeat(LARGE), &format!("nonce-large-{n}")).await);
    }
    let mut found = Vec::new();
    for id in large.iter().chain([&id]) {
        found.push(asked(&site, one.id.as_str(), id).await.is_ok());
    }
    assert_eq!(found, [false, true, true, false]);
    assert!(verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));

    // Nothing is wanted any more.
    keep(&site, 0).await;
    site.app.context.run(Job::Housekeeping).await.unwrap();
    assert_eq!(asked(&site, one.id.as_str(), &large[2]).await, not_kept);
    let again = submitted(&site, &one, "one more output of some length", "nonce-0009").await;
    assert_eq!(asked(&site, one.id.as_str(), &again).await, not_kept);
}
