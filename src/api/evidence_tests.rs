//! What a score came from and how an epoch can be computed again, through the router, over hand-written records.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::read_tests::{World, field, head, name};
use super::testing::{T, json as body_of, request};
use crate::crypto::hex;
use crate::domain::credits::Epoch;
use crate::domain::epoch::{Counts, unsealed_leaves_hash};
use crate::domain::money::Pico;
use crate::domain::poot::Window;
use crate::storage::hot::leaves;

#[tokio::test]
async fn a_score_says_what_it_came_from_and_what_moved_it() {
    let world = World::new().await;
    let path = format!("/nodes/{}/poot/score", world.node.id);
    let slot = T.slot();
    let (_, body) = world.get(&path).await;
    assert_eq!([&body["epoch"], &body["inputs"], &body["previous"]], [&Value::Null; 3]);
    assert_eq!((&body["changes"], &body["thresholds"]["min_observation_seconds"]), (&json!([]), &json!(3_600)));

    world.close_epoch(Epoch(slot.0 - 60), Window { proven: 60, observed: 120, interruptions: 1 }, Pico(0)).await;
    let (_, body) = world.get(&path).await;
    assert_eq!((&body["epoch"], &body["previous"]), (&json!(slot.0 - 60), &Value::Null));
    assert_eq!(body["changes"], json!([{"kind": "first_epoch", "before": null, "after": null}]));

    // The manager was away between the two; the epoch before is the one that was observed.
    world.put_head(head(Epoch(slot.0 - 50), 20, Some(Epoch(slot.0 - 60)), Counts::default())).await;
    world.close_epoch(Epoch(slot.0 - 30), Window { proven: 59, observed: 120, interruptions: 1 }, Pico(0)).await;
    let (_, body) = world.get(&path).await;
    let inputs = |proven| {
        json!({"proven": proven, "observed": 120, "interruptions": 1, "samples": 0, "samples_within": 0, "challenged": 0, "answered": 0,
            "outputs_expected": false})
    };
    assert_eq!((&body["epoch"], &body["inputs"]), (&json!(slot.0 - 30), &inputs(59)));
    assert_eq!(body["previous"], json!({"epoch": slot.0 - 60, "state": "valid", "score": 50.0, "inputs": inputs(60), "multiplier": 1.0}));
    let moved = json!([{"kind": "proven", "before": "60", "after": "59"}, {"kind": "state", "before": "valid", "after": "invalid"}]);
    assert_eq!(body["changes"], moved);
}

#[tokio::test]
async fn an_epoch_of_before_heads_were_signed_is_shown_and_held_against_its_hash() {
    let world = World::new().await;
    let epoch = Epoch(T.slot().0 - 40);
    world.close_epoch(epoch, Window { proven: 1_183, observed: 1_200, interruptions: 6 }, Pico(4_166_666_666)).await;
    let stored = leaves::of_epoch(&world.site.state.store.hot.read().unwrap(), epoch).unwrap();
    let root = unsealed_leaves_hash(&stored).unwrap();
    let hashed = crate::domain::epoch::Head { root, ..head(epoch, 10, Some(epoch), Counts::of(&stored)) };
    world.put_head(hashed.clone()).await;
    let path = format!("/poot/epochs/{}", epoch.0);

    let (status, body) = world.get(&path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (shown, hashes) = (&body["head"], &body["hashes"]);
    assert_eq!((&hashes["root_matches"], &hashes["head_matches"], &body["leaves_kept"]), (&json!(true), &json!(true), &json!(true)));
    assert_eq!([&hashes["head"], &hashes["leaves"], &shown["signed"]], [&Value::Null; 3]);
    assert_eq!((shown["root"].as_str(), shown["hash"].as_str()), (Some(&*hex(&root)), Some(&*hex(&hashed.hash().unwrap()))));
    assert_eq!((&shown["valid"], &shown["gap"], &shown["params"]["min_score_hundredths"]), (&json!(1), &json!(false), &json!(5_000)));
    assert_eq!(shown["previous"], "0".repeat(64));
    let leaf = &body["leaves"][0];
    assert_eq!((&leaf["node_id"], &leaf["node_name"]), (&json!(world.node.id), &json!("node-1")));
    assert_eq!((&leaf["proven"], &leaf["observed"], &leaf["inputs"]["proven"]), (&json!(9), &json!(10), &json!(1_183)));
    let exact = ["score", "multiplier", "accrual"].map(|field| leaf[field].as_str().unwrap());
    assert_eq!(exact, ["98.58", "1.0000", "0.004166666666"]);
    assert_eq!(leaf["payer"]["currency"], "USDT");

    // The next head is the witness of this one's hash.
    world.put_head(head(Epoch(epoch.0 + 10), 10, Some(epoch), Counts::default())).await;
    assert_eq!(world.get(&path).await.1["hashes"]["head_matches"], false);
    let next =
        crate::domain::epoch::Head { previous: hashed.hash().unwrap(), ..head(Epoch(epoch.0 + 10), 10, Some(epoch), Counts::default()) };
    world.put_head(next).await;
    assert_eq!(world.get(&path).await.1["hashes"]["head_matches"], true);
}

#[tokio::test]
async fn an_epoch_says_when_its_leaves_are_gone_or_were_changed() {
    let world = World::new().await;
    let (slot, some) = (T.slot().0, Counts { valid: 3, ..Counts::default() });
    world.put_head(head(Epoch(slot - 100), 10, Some(Epoch(slot - 100)), some)).await;
    let (_, body) = world.get(&format!("/poot/epochs/{}", slot - 100)).await;
    assert_eq!((&body["leaves"], &body["leaves_kept"], &body["hashes"]["root_matches"]), (&json!([]), &json!(false), &Value::Null));

    // Its head was written with another hash than that of its leaves.
    world.close_epoch(Epoch(slot - 90), Window { proven: 10, observed: 10, interruptions: 0 }, Pico(1)).await;
    let (_, body) = world.get(&format!("/poot/epochs/{}", slot - 90)).await;
    assert_eq!((&body["leaves_kept"], &body["hashes"]["root_matches"]), (&json!(true), &json!(false)));

    for unknown in ["1", "nonsense", "-1", "99999999999"] {
        let (status, body) = world.get(&format!("/poot/epochs/{unknown}")).await;
        assert_eq!((status, name(&body)), (StatusCode::NOT_FOUND, "EpochNotFound"), "{unknown}");
    }
    assert_eq!(world.get_as(&world.node_token(&world.node), &format!("/poot/epochs/{}", slot - 90)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_document_is_saved_only_when_that_is_asked_for() {
    let world = World::new().await;
    let slot = T.slot().0;
    world.close_epoch(Epoch(slot - 90), Window { proven: 10, observed: 10, interruptions: 0 }, Pico(1)).await;
    let bearer = format!("Bearer {}", world.root);
    for (query, expected) in [
        ("", None),
        ("?download=false", None),
        ("?download=true", Some(format!("attachment; filename=\"lucid-epoch-{}.json\"", slot - 90))),
    ] {
        let path = format!("/api/v1/poot/epochs/{}{query}", slot - 90);
        let response = world.site.send(request(Method::GET, &path, None, &[("authorization", &bearer)])).await;
        let disposition = response.headers().get("content-disposition").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(disposition, expected, "{query}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(body_of(response).await["head"]["epoch"], slot - 90);
    }
}

#[tokio::test]
async fn the_ledger_shows_one_settlement_when_asked() {
    let world = World::new().await;
    for units in [1, 2, 3] {
        world.owe(&world.node, units).await;
    }
    world.owe(&world.other, 4).await;
    for (ledger, all) in [("/ledger".to_owned(), 4), (format!("/nodes/{}/ledger", world.node.id), 3)] {
        let total = async |query: &str| world.get(&format!("{ledger}?limit=2&{query}")).await.1["pagination"]["total"].clone();
        assert_eq!(
            [total("").await, total("settlement=simulated").await, total("settlement=live").await],
            [json!(all), json!(all), json!(0)]
        );
        let (_, second) = world.get(&format!("{ledger}?limit=2&page=2&settlement=simulated")).await;
        assert_eq!(second["postings"].as_array().unwrap().last().unwrap()["seq"], 1, "pages go on within the filter");
        let (status, body) = world.get(&format!("{ledger}?settlement=monopoly")).await;
        assert_eq!((status, field(&body)), (StatusCode::BAD_REQUEST, "settlement"));
    }
}
