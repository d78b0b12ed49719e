//! Reports that prove nothing: forged, foreign, replayed, of a slot to come, and signed ahead for another run of the manager.

use lucid::domain::ids::NodeIndex;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{SLOT_MS, Slot};
use lucid::live::Job;
use lucid::storage::core::nodes;
use lucid::storage::hot;
use lucid::wire::{Envelope, Purpose, Report, Witness};
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::{START, Site};

/// Slots since `START` that the node has proven.
async fn proven(site: &Site, node: &Node) -> Vec<u32> {
    site.app.context.run(Job::Flush).await.unwrap();
    let index: NodeIndex = nodes::by_id(&site.app.store.read().unwrap(), &node.id).unwrap().unwrap().index;
    let rows = hot::evidence(&site.app.store.hot.read().unwrap(), Slot(0), Slot(u32::MAX)).unwrap();
    rows.into_iter().filter(|(_, row)| row.proven.get(index)).map(|(slot, _)| slot.0 - START.slot().0).collect()
}

/// Bytes and signature of a report of the node whose items are `change`d.
fn made(node: &Node, seq: u64, run: Option<u64>, change: impl FnOnce(&mut Report)) -> (Vec<u8>, String) {
    let (body, _) = node.signed(seq, run);
    let mut report: Report = serde_json::from_slice(&body).unwrap();
    change(&mut report);
    let body = serde_json::to_vec(&report).unwrap();
    let (manager, id) = (node.manager_id.as_str(), node.id.as_str());
    let envelope = Envelope { purpose: Purpose::Report, manager, node: id, incarnation: report.incarnation, seq };
    let signature = envelope.sign(&node.machine.key, &body);
    (body, signature)
}

async fn send(node: &Node, (body, signature): &(Vec<u8>, String)) -> (StatusCode, String) {
    let (status, _, answer) = node.raw("/api/v1/agent/report", body, signature).await.expect("the manager answers");
    (status, error_name(&serde_json::from_slice::<Value>(&answer).unwrap()).to_owned())
}

/// An earlier measurement before the one of the report, with a witness.
fn with_witness(report: &mut Report, witness: Witness, age_ms: u64) {
    let mut earlier = report.items[0].clone();
    (earlier.seq, earlier.age_ms, earlier.witness) = (report.seq - 1, age_ms, Some(witness));
    report.items.insert(0, earlier);
}

fn refused(status: StatusCode, name: &str) -> (StatusCode, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn forged_foreign_and_replayed_reports_prove_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut alice, mut bob) = (site.enrol("alice").await, site.enrol("bob").await);
    // Slot 1: both are there.
    site.next_slot(5_000);
    let run = alice.report(site.now_ms(), Sample::default()).await.unwrap().run;
    bob.report(site.now_ms(), Sample::default()).await.unwrap();
    let forged = refused(StatusCode::UNAUTHORIZED, "SignatureForged");

    // Slot 2: somebody without her key.
    site.next_slot(5_000);
    let genuine = alice.signed(2, Some(run));
    let by_bob = made(&bob, 2, Some(run), |_| ());
    assert_eq!(send(&alice, &by_bob).await, forged, "another node's report under her name");
    assert_eq!(send(&alice, &(genuine.0.clone(), by_bob.1)).await, forged, "her report with another's signature");
    let other = made(&alice, 2, Some(run), |report| report.dropped = 1);
    assert_eq!(send(&alice, &(other.0, genuine.1.clone())).await, forged, "another body");
    assert_eq!(send(&alice, &(genuine.0.clone(), "00".repeat(64))).await, forged);
    assert_eq!(proven(&site, &alice).await, [1]);

    // Slots 3 to 5: what she said once says nothing again.
    site.next_slot(5_000);
    assert_eq!(send(&alice, &genuine).await, (StatusCode::OK, String::new()));
    site.next_slot(5_000);
    assert_eq!(send(&alice, &genuine).await.0, StatusCode::OK, "a repeat is answered");
    site.next_slot(5_000);
    assert_eq!(proven(&site, &alice).await, [1, 3], "and proves nothing new");
    let newer = alice.signed(3, Some(run));
    assert_eq!(send(&alice, &newer).await.0, StatusCode::OK);
    site.next_slot(5_000);
    assert_eq!(send(&alice, &genuine).await, refused(StatusCode::CONFLICT, "ReportReplayed"));

    // Slot 6: her agent has restarted; what the one before had signed is over.
    let ahead = alice.signed(4, Some(run));
    alice.restart();
    alice.report(site.now_ms(), Sample::default()).await.unwrap();
    site.next_slot(5_000);
    assert_eq!(send(&alice, &ahead).await, refused(StatusCode::CONFLICT, "ReportReplayed"));
    assert_eq!(proven(&site, &alice).await, [1, 3, 5, 6]);

    // Slot 8: signed ahead, for a manager whose run nobody could know.
    let for_this_run = alice.signed(50, alice.run);
    let for_any_run = alice.signed(51, None);
    site = site.crash().await;
    site.next_slot(5_000);
    for node in [&mut alice, &mut bob] {
        node.rebase(&site.client.base);
    }
    for recorded in [&for_this_run, &for_any_run] {
        assert_eq!(send(&alice, recorded).await.0, StatusCode::OK, "it is told the run");
    }
    assert_eq!(proven(&site, &alice).await, [1, 3, 5, 6]);
    assert_eq!(proven(&site, &bob).await, [1]);
}

#[tokio::test]
async fn only_ones_own_beacon_of_a_slot_that_was_proves_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (mut alice, mut bob) = (site.enrol("alice").await, site.enrol("bob").await);
    let slot = |n: u32| START.slot().plus(n);
    // Slots 1 and 2: bob is there in both, alice in the first.
    site.next_slot(5_000);
    let hers = alice.report(site.now_ms(), Sample::default()).await.unwrap().slot.unwrap();
    bob.report(site.now_ms(), Sample::default()).await.unwrap();
    site.next_slot(5_000);
    let his = bob.report(site.now_ms(), Sample::default()).await.unwrap().slot.unwrap();
    let run = alice.run;
    assert_eq!((hers.slot, his.slot), (slot(1), slot(2)));
    site.next_slot(5_000);
    let right = |at: Slot| site.app.store.intake.beacon(&alice.id, at);
    let ms = u64::try_from(SLOT_MS).unwrap();
    let wrong = [
        ("another node's beacon", Witness { slot: slot(2), beacon: his.beacon.clone() }, ms),
        ("her own of another slot", Witness { slot: slot(2), beacon: hers.beacon.clone() }, ms),
        ("nothing", Witness { slot: slot(2), beacon: String::new() }, ms),
        ("a slot to come", Witness { slot: slot(9), beacon: right(slot(9)) }, 0),
        ("the slot after this one", Witness { slot: slot(4), beacon: right(slot(4)) }, 0),
    ];
    for (n, (what, witness, age_ms)) in (0u64..).zip(wrong) {
        let report = made(&alice, 10 + 2 * n, run, |report| with_witness(report, witness, age_ms));
        assert_eq!(send(&alice, &report).await, (StatusCode::OK, String::new()), "{what}");
        assert_eq!(proven(&site, &alice).await, [1, 3], "{what}: the live item proves its slot, and nothing else is proven");
    }
    let genuine = Witness { slot: slot(2), beacon: right(slot(2)) };
    let report = made(&alice, 30, run, |report| with_witness(report, genuine, ms));
    assert_eq!(send(&alice, &report).await.0, StatusCode::OK);
    assert_eq!(proven(&site, &alice).await, [1, 2, 3], "the right one does");

    // In slot 3 nobody heard bob. It is closed when he shows its beacon.
    for _ in 0..4 {
        site.next_slot(5_000);
    }
    site.app.context.run(Job::Flush).await.unwrap();
    let beacon = site.app.store.intake.beacon(&bob.id, slot(3));
    let late = Witness { slot: slot(3), beacon };
    let report = made(&bob, 10, bob.run, |report| with_witness(report, late, 4 * ms));
    assert_eq!(send(&bob, &report).await.0, StatusCode::OK);
    assert_eq!(proven(&site, &bob).await, [1, 2, 7], "slot 3 is closed");
}
