//! What must not matter to a score: in which order nodes are heard within a slot, and whether the manager was away.

use lucid::domain::metrics::Sample;
use lucid::domain::time::SLOT_MS;
use lucid::live::Job;
use serde_json::Value;

use crate::support::fleet::Node;
use crate::support::site::{START, Site};

const SLOTS: u32 = 100;

/// Whether the node is silent in its so manieth slot.
fn is_silent(node: usize, slot: u32) -> bool {
    [slot % 9 == 4, slot % 13 < 2, slot % 31 > 24][node]
}

/// Three nodes live through the same slots, heard in `order`, `at` so many milliseconds of each; the manager is `away` for an epoch's multiple of slots after
/// the 29th. What the leaves of the last epoch say of each.
async fn lived(order: [usize; 3], at: [i64; 3], away: u32) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[("poot.min_observation_seconds", "60")]).await;
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["one", "two", "three"] {
        nodes.push(site.enrol(name).await);
    }
    for slot in 0..SLOTS {
        if slot == 29 && away > 0 {
            site.next_slot(100);
            site.app.context.run(Job::Flush).await.unwrap();
            site.driver.advance_ms(SLOT_MS * i64::from(away - 1));
            site = site.crash().await;
            site.app.context.tick();
        }
        site.next_slot(100);
        for (turn, node) in order.into_iter().enumerate() {
            let into = site.now_ms().rem_euclid(SLOT_MS);
            site.driver.advance_ms(at[turn] - into);
            if !is_silent(node, slot) {
                nodes[node].rebase(&site.client.base);
                nodes[node].report(site.now_ms(), Sample::default()).await.expect("the report is answered");
            }
        }
    }
    site.pass_slots(5).await;
    let epoch = START.slot().0 + away + SLOTS - 10;
    let mut said = Vec::new();
    for node in &nodes {
        let proof = site.client.get(&format!("/poot/{}?epoch={epoch}", node.id)).await;
        let leaf = &proof["leaf"];
        said.push(serde_json::json!([
            leaf["inputs"],
            leaf["proven"],
            leaf["observed"],
            proof["score"],
            proof["state"],
            proof["confidence"]
        ]));
    }
    said
}

#[tokio::test]
async fn neither_the_order_within_slots_nor_the_managers_absence_changes_a_score() {
    let as_ever = lived([0, 1, 2], [1_000, 2_000, 3_000], 0).await;
    assert!(
        as_ever.iter().all(|said| said[0]["observed"].as_u64().unwrap() >= 98 && said[0]["interruptions"].as_u64().unwrap() > 2),
        "{as_ever:?}"
    );
    assert_eq!(lived([2, 0, 1], [500, 17_000, 29_999], 0).await, as_ever);
    assert_eq!(lived([1, 2, 0], [1_000, 2_000, 3_000], 30).await, as_ever);
}
