//! The fleet at a glance, through the router, over hand-written records.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::read_tests::{World, field, head};
use super::testing::T;
use crate::domain::alert::Severity;
use crate::domain::credits::Epoch;
use crate::domain::epoch::Counts;
use crate::domain::evidence::SlotRow;
use crate::domain::money::Pico;
use crate::domain::payout::ReviewKind;
use crate::domain::poot::Window;
use crate::domain::time::Slot;
use crate::storage::core::{alerts, payouts};
use crate::storage::hot::Batch;

fn kinds(body: &Value) -> Vec<(&str, u64)> {
    let list = body["attention"].as_array().unwrap();
    list.iter().map(|a| (a["kind"].as_str().unwrap(), a["count"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn an_empty_manager_says_what_it_does_not_know() {
    let world = World::new().await;
    let (status, body) = world.get("/overview").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((&body["at"], &body["pools"]), (&json!(T.rfc3339()), &json!(1)));
    assert_eq!((&body["nodes"]["total"], &body["nodes"]["starting"]), (&json!(2), &json!(2)));
    assert_eq!((&body["poot"]["pending"], &body["poot"]["median_score"], &body["poot"]["lowest"]), (&json!(2), &Value::Null, &json!([])));
    assert_eq!(body["epochs"], json!({"last_end": null, "behind_seconds": null}));
    let nothing = json!([{"currency": "USDT", "settlement": "simulated", "accrued": "0", "payable": "0", "reserved": "0", "paid": "0",
        "payouts_open": 0, "payouts_in_review": 0}]);
    assert_eq!(body["money"], nothing);
    assert_eq!(body["alerts"]["newest"], json!([]));
    let first_steps =
        json!([{"kind": "recovery_kit_missing", "count": 1, "nodes": []}, {"kind": "setup_unfinished", "count": 5, "nodes": []}]);
    assert_eq!(body["attention"], first_steps);
    let viewer = world.site.person(&world.root, "watcher", "viewer").await;
    assert_eq!(world.get_as(&viewer, "/overview").await.1["attention"], json!([]), "first steps are an admin's");
    let uptime = body["uptime"].as_array().unwrap();
    assert_eq!(uptime.len(), 48);
    assert!(uptime.iter().all(|p| p["observed"] == 0));
    assert_eq!(world.site.get("/api/v1/overview").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.get_as(&world.node_token(&world.node), "/overview").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_overview_adds_up_what_the_lists_say() {
    let world = World::new().await;
    let slot = T.slot();
    world.close_epoch(Epoch(slot.0 - 40), Window { proven: 1_183, observed: 1_200, interruptions: 6 }, Pico(4_166_666_666)).await;
    world.owe(&world.other, 30_000_000).await;
    world.plan_payout(&world.other, 1, 12_500_000).await;
    let now = world.site.state.now();
    let hold = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        let before = payouts::by_seq(tx, 1)?.unwrap();
        let held = before.hold_for_review(ReviewKind::Held, "look at it", Vec::new(), now).unwrap();
        payouts::step(tx, Some(&before), &held, None, now)?;
        for n in 0..6 {
            alerts::raise(tx, "k", &n.to_string(), if n == 1 { Severity::Critical } else { Severity::Warning }, "m", T)?;
        }
        alerts::resolve(tx, "k", "5", T).map(drop)
    };
    world.site.state.store.write(hold).await.unwrap();

    let viewer = world.site.person(&world.root, "watcher", "viewer").await;
    let (_, body) = world.get_as(&viewer, "/overview").await;
    let poot = &body["poot"];
    assert_eq!((&poot["valid"], &poot["pending"], &poot["median_score"]), (&json!(1), &json!(1), &json!(98.58)));
    assert_eq!(poot["distribution"][9], json!({"from": 90, "to": 100, "nodes": 1}));
    assert_eq!(poot["lowest"], json!([{"node_id": world.node.id, "name": "node-1", "score": 98.58, "state": "valid"}]));
    let money = json!([{"currency": "USDT", "settlement": "simulated", "accrued": "0.004166666666", "payable": "17.5", "reserved": "12.5",
        "paid": "0", "payouts_open": 1, "payouts_in_review": 1}]);
    assert_eq!(body["money"], money);
    let subjects: Vec<_> = body["alerts"]["newest"].as_array().unwrap().iter().map(|a| a["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["1", "4", "3", "2", "0"]);
    assert_eq!((&body["alerts"]["critical"], &body["alerts"]["warning"], &body["alerts"]["info"]), (&json!(1), &json!(4), &json!(0)));
    assert_eq!(kinds(&body), [("payout_review", 1), ("address_missing", 2)]);
    assert_eq!(body["attention"][0]["nodes"], json!([{"node_id": world.other.id, "name": "node-2"}]));
    assert_eq!(body["epochs"]["last_end"], slot.minus(30).start().rfc3339());
    // Through the 90 s in which slots stay open 26 slots are closed, 24 of them before the last boundary: this epoch ended between two.
    assert_eq!(body["epochs"]["behind_seconds"], 720);

    world.site.driver.advance_ms(300_000);
    let (_, body) = world.get_as(&viewer, "/overview").await;
    assert_eq!(kinds(&body)[0], ("epochs_behind", 3));

    world.site.driver.set_synchronised(false);
    world.site.driver.set_wall(T.plus_seconds(3_000));
    let (_, body) = world.get_as(&world.root, "/overview").await;
    assert_eq!((kinds(&body)[0], &body["epochs"]["behind_seconds"]), (("clock_untrusted", 1), &Value::Null));
}

#[tokio::test]
async fn uptime_counts_only_what_is_decided() {
    let world = World::new().await;
    let (slot, node) = (T.slot(), world.node.index);
    let half_hour = Slot(slot.0 - slot.0 % 60);
    let row = |proven| {
        let mut row = SlotRow::default();
        row.observe(&[node, world.other.index].into_iter().collect());
        if proven {
            row.prove(node);
        }
        row
    };
    let rows = vec![
        (half_hour.minus(61), row(true)),
        (half_hour.minus(60), row(true)),
        (half_hour.minus(1), row(false)),
        (slot.minus(1), row(true)),
    ];
    world.flush(Batch { evidence: rows, flushed_at: Some(T), ..Batch::default() }).await;
    let counted = |body: &Value, from_end: usize| {
        let point = &body["uptime"][47 - from_end];
        (point["proven"].as_u64().unwrap(), point["observed"].as_u64().unwrap())
    };
    let (_, body) = world.get("/overview").await;
    assert_eq!([counted(&body, 0), counted(&body, 1), counted(&body, 2)], [(0, 0), (1, 4), (1, 2)], "the newest slot is open");
    assert_eq!(body["uptime"][47]["at"], half_hour.start().rfc3339());
}

#[tokio::test]
async fn a_summary_shows_the_states_over_time() {
    let world = World::new().await;
    let hour = T.slot().0 / 120 * 120;
    let counts = |valid| Counts { valid, pending: 1, invalid: 0 };
    for (epoch, valid) in [(hour - 120, 4), (hour - 110, 5), (hour - 40, 6)] {
        world.put_head(head(Epoch(epoch), 10, Some(Epoch(epoch)), counts(valid))).await;
    }
    world.put_head(head(Epoch(hour - 100), 60, Some(Epoch(hour - 110)), Counts::default())).await;
    let (status, body) = world.get("/poot/summary?range=7d").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let expected = json!([{"at": Slot(hour - 120).start().rfc3339(), "end": Slot(hour).start().rfc3339(),
        "nodes": 7, "valid": 6, "pending": 1, "invalid": 0, "epochs": 3, "gap_epochs": 6}]);
    assert_eq!(body["history"], expected);
    assert_eq!((&body["pending"], &body["distribution"].as_array().unwrap().len()), (&json!(2), &10));
    let params = &body["params"];
    assert_eq!((&params["min_score"], &params["weights"]), (&json!(50.0), &json!({"output": 0.3, "stability": 0.0, "resources": 0.0})));
    assert_eq!(
        (&params["window_slots"], &params["interruptions_to_zero"], &params["resources"]),
        (&json!(2_880), &json!(24), &Value::Null)
    );
    let (_, day) = world.get("/poot/summary").await;
    assert_eq!(day["history"].as_array().unwrap().len(), 5, "of two epochs each, the gap in three");
    let (status, body) = world.get("/poot/summary?range=1y").await;
    assert_eq!((status, field(&body)), (StatusCode::BAD_REQUEST, "range"));
}
