//! Outputs of workloads through the front door: what is asked, what is said of an answer, and what it counts.

mod archives;
mod challenges;
mod kept;
mod verdicts;
mod workload;

use lucid::crypto::{base64, hex, sha256, sha256_parts, unhex};
use lucid::domain::metrics::Sample;
use lucid::domain::time::{SLOT_MS, Slot, Timestamp};
use lucid::wire::{OutputRequest, PROTOCOL, SlotChallenge};
use serde_json::{Value, json};

use crate::support::fleet::Node;
use crate::support::site::Site;

const SETTINGS: [(&str, &str); 2] = [("poot.min_observation_seconds", "60"), ("limits.poot_requests", "100000")];

async fn site(dir: &tempfile::TempDir) -> Site {
    Site::new(dir.path().join("data"), &SETTINGS).await
}

fn time(site: &Site) -> String {
    Timestamp(site.now_ms()).rfc3339()
}

/// A body that is valid, for people and programs.
fn output(site: &Site, data: &str, nonce: &str) -> Value {
    json!({ "output_data": base64(data.as_bytes()), "timestamp": time(site), "nonce": nonce })
}

/// What an agent sends for an output of its workload, with the hash that fits.
fn answer(site: &Site, data: &str, nonce: &str, challenge: Option<&SlotChallenge>) -> OutputRequest {
    let hash = match challenge {
        Some(challenge) => sha256_parts(&[&unhex(&challenge.challenge).unwrap(), data.as_bytes()]),
        None => sha256(data.as_bytes()),
    };
    OutputRequest {
        protocol: PROTOCOL,
        output_data: base64(data.as_bytes()),
        output_hash: Some(hex(&hash)),
        timestamp: time(site),
        nonce: nonce.into(),
        challenge_slot: challenge.map(|challenge| challenge.slot),
    }
}

fn errors(verdict: &Value) -> Vec<&str> {
    verdict["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap()).collect()
}

/// Switches challenges of the default pool on or off, from the next epoch on.
async fn expect_outputs(site: &Site, expected: bool) {
    site.client.put("/nodes/pools/pool_default", json!({ "outputs_expected": expected })).await;
}

/// The next slot: the node reports, and is challenged or not.
async fn report(site: &Site, node: &mut Node) -> Option<SlotChallenge> {
    node.report(site.now_ms(), Sample::default()).await.expect("the report is answered").challenge
}

/// Passes slots in which the node reports, until it is challenged anew.
async fn next_challenge(site: &Site, node: &mut Node) -> SlotChallenge {
    for _ in 0..40 {
        site.next_slot(5_000);
        let present = Slot(u32::try_from(site.now_ms() / SLOT_MS).unwrap());
        if let Some(challenge) = report(site, node).await.filter(|told| told.slot == present) {
            return challenge;
        }
    }
    panic!("no challenge in forty slots");
}

async fn score(site: &Site, node: &Node) -> Value {
    site.client.get(&format!("/nodes/{}/poot/score", node.id)).await
}
