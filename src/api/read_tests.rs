//! Evidence and money as they are shown, through the router, over hand-written records.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::middleware::Peer;
use super::testing::{Site, T, request};
use crate::crypto::jwt_encode;
use crate::domain::address::PayoutAddress;
use crate::domain::audit::Act;
use crate::domain::credits::{Epoch, EpochSlots, Leaf, Multiplier, Payer};
use crate::domain::enrolment::NodeClaims;
use crate::domain::epoch::{Counts, GENESIS, Head};
use crate::domain::evidence::SlotRow;
use crate::domain::ids::{Incarnation, PayoutId, UserId};
use crate::domain::ledger::{Book, Entry, Settlement};
use crate::domain::metrics::Sample;
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::node::Node;
use crate::domain::payout::{Pin, Plan, Prepared, Priority, Source, plan};
use crate::domain::poot::{Inputs, Params, Window, score};
use crate::live::Job;
use crate::storage::Lane;
use crate::storage::core::testing::{new_node, node_id, price};
use crate::storage::core::{audit, epochs, ledger, nodes, payouts, pools};
use crate::storage::hot::{self, Batch, EncodedSample, PendingSample, leaves};
use crate::wire::{Item, PROTOCOL, Report};

const USDT: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
const LUCID: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const SIMULATED: Book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };

/// A manager with one person, `root`, and two nodes in the default pool.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) root: String,
    pub(super) node: Node,
    pub(super) other: Node,
}

impl World {
    pub(super) async fn new() -> World {
        let site = Site::new();
        let root = site.set_up().await;
        let act = Act::system(site.state.now());
        let directory = site.state.store.directory.clone();
        let (node, other) = site
            .state
            .store
            .write(move |tx| {
                pools::ensure_default(tx, &act, price(), 100)?;
                let pool = pools::list(tx)?.first().map(|pool| pool.id.clone());
                let make = |tx: &mut _, n| {
                    nodes::create(
                        tx,
                        &directory,
                        &act,
                        &node_id(n),
                        &new_node(&format!("node-{n}"), pool.clone()),
                        crate::domain::node::MAX_NODES,
                    )
                };
                Ok((make(tx, 1)?, make(tx, 2)?))
            })
            .await
            .unwrap();
        World { site, root, node, other }
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.get_as(&self.root, path).await
    }

    pub(super) async fn get_as(&self, token: &str, path: &str) -> (StatusCode, Value) {
        self.site.as_bearer(token, Method::GET, &format!("/api/v1{path}"), None).await
    }

    /// As it is, for what is no JSON.
    pub(super) async fn text(&self, path: &str) -> (StatusCode, String) {
        let bearer = format!("Bearer {}", self.root);
        let asked = request(Method::GET, &format!("/api/v1{path}"), None, &[("authorization", &bearer)]);
        let response = self.site.send(asked).await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(super) async fn put_address(&self, token: &str, body: Value) -> (StatusCode, Value) {
        self.site.as_bearer(token, Method::PUT, &format!("/api/v1/nodes/{}/payout-address", self.node.id), Some(body)).await
    }

    pub(super) fn node_token(&self, node: &Node) -> String {
        let claims = NodeClaims::new(node.id.clone(), node.node_type, self.site.state.now().wall, "jti".into());
        jwt_encode(&self.site.state.store.secrets.node_tokens, &claims).unwrap()
    }

    pub(super) async fn flush(&self, batch: Batch) {
        let tails = Arc::clone(&self.site.state.store.tails);
        self.site.state.store.hot.write(Lane::Ordinary, move |tx| hot::flush(tx, &batch, &tails)).await.unwrap();
    }

    /// One epoch of ten slots with a leaf of `node`, and its head.
    pub(super) async fn close_epoch(&self, epoch: Epoch, window: Window, accrual: Pico) {
        let inputs = Inputs { window, ..Inputs::default() };
        let leaf = Leaf {
            node: self.node.index,
            slots: EpochSlots { proven: 9, observed: 10 },
            inputs,
            score: score(&inputs, &Params::default()),
            multiplier: Multiplier::default(),
            payer: self.node.pool_now().map(|pool| Payer { pool, pricing: price() }),
            accrual,
            window_slots: 0,
            reports: None,
        };
        self.site.state.store.hot.write(Lane::Ordinary, move |tx| leaves::put(tx, epoch, &[leaf])).await.unwrap();
        self.put_head(head(epoch, 10, Some(epoch), Counts::of(&[leaf]))).await;
    }

    pub(super) async fn put_head(&self, head: Head) {
        self.site.state.store.write(move |tx| epochs::put(tx, &head)).await.unwrap();
    }

    pub(super) async fn owe(&self, node: &Node, units: i64) {
        let (now, index) = (self.site.state.now(), node.index);
        let by = UserId::parse("user_root").unwrap();
        let entry = Entry::adjustment(SIMULATED, index, Units(units), "for a test".into(), by).unwrap();
        self.site.state.store.write(move |tx| ledger::post(tx, entry.clone(), now)).await.unwrap();
    }

    pub(super) async fn plan_payout(&self, node: &Node, seq: u64, units: i64) {
        let now = self.site.state.now();
        let address = PayoutAddress::parse(USDT, Currency::Usdt).unwrap();
        let id = PayoutId::parse(&format!("payout_{seq:04}")).unwrap();
        let (source, priority) = (Source::Automatic, Priority::Normal);
        let planned = Plan { id, seq, node: node.index, book: SIMULATED, amount: Units(units), address, source, priority };
        let (payout, entry) = plan(planned, Units(units), None, now).unwrap();
        self.site.state.store.write(move |tx| payouts::step(tx, None, &payout, Some(entry.clone()), now)).await.unwrap();
    }
}

pub(super) fn head(epoch: Epoch, slots: u32, leaves_at: Option<Epoch>, counts: Counts) -> Head {
    let last_slot = epoch.first_slot().plus(slots - 1);
    Head {
        epoch,
        last_slot,
        slots_per_epoch: 10,
        closed_at: last_slot.end().plus_seconds(90),
        is_gap: leaves_at != Some(epoch),
        params: Params::default(),
        counts,
        leaves_at,
        root: GENESIS,
        previous: GENESIS,
        seal: None,
    }
}

pub(super) fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or("-")
}

pub(super) fn field(body: &Value) -> &str {
    body["error"]["details"]["fields"][0]["field"].as_str().unwrap_or("-")
}

fn sample(usage: f64) -> Sample {
    let mut sample = Sample::default();
    sample.cpu.usage_percent = Some(usage);
    sample.memory.used_bytes = Some(1_024_000);
    sample
}

#[tokio::test]
async fn a_node_sees_itself_only_and_strangers_nothing() {
    let world = World::new().await;
    let (own, id) = (world.node_token(&world.node), world.node.id.clone());
    for path in ["", "/resources", "/events", "/poot/score", "/poot/history"] {
        let path = format!("/nodes/{id}{path}");
        assert_eq!(world.get_as(&own, &path).await.0, StatusCode::OK, "{path}");
        assert_eq!(name(&world.get_as(&world.node_token(&world.other), &path).await.1), "NotYours", "{path}");
        assert_eq!(world.site.get(&format!("/api/v1{path}")).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/nodes/payouts/history", "/ledger", "/ledger/balances", "/poot/epochs", &format!("/nodes/{id}/payout-address")] {
        assert_eq!(world.get_as(&own, path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(world.get_as(&own, "/poot/manager-key").await.0, StatusCode::OK);
    for unknown in ["node_999999", "nonsense"] {
        let (status, body) = world.get(&format!("/nodes/{unknown}/poot/score")).await;
        assert_eq!((status, name(&body)), (StatusCode::NOT_FOUND, "NodeNotFound"), "{unknown}");
    }
}

#[tokio::test]
async fn series_join_disk_and_memory_and_name_their_bounds() {
    let world = World::new().await;
    let (store, node) = (&world.site.state.store, &world.node);
    let now = world.site.state.now();
    let slot = now.wall.slot();
    let stored = |late, usage| PendingSample { late, encoded: EncodedSample::new(&sample(usage)) };
    let at = |slots: u32| slot.minus(slots);
    let mut batch = Batch::default();
    for (slots, pending) in [(20, stored(true, 10.0)), (19, stored(false, 20.0)), (2, stored(false, 40.0))] {
        batch.samples.entry(at(slots)).or_default().insert(node.index, pending);
    }
    world.flush(batch).await;
    let path = format!("/nodes/{}/resources", node.id);
    let (_, body) = world.get(&path).await;
    assert_eq!((&body["current"], &body["stale_since"], body.get("series")), (&Value::Null, &Value::Null, None));

    let report = Report {
        protocol: PROTOCOL,
        incarnation: Incarnation(1),
        seq: 1,
        run: Some(store.intake.run),
        items: vec![Item { seq: 1, age_ms: 0, witness: None, running: None, sample: sample(50.0) }],
        fingerprint: Default::default(),
        agent_version: String::new(),
        dropped: 0,
        workload: None,
        head: None,
        contradicts: None,
        capabilities: Vec::new(),
    };
    store.intake.accept(node.index, &node.id, &report, &[0; 32], &|_| true, now).unwrap();
    let (_, body) = world.get(&format!("{path}?time_range=1h")).await;
    assert_eq!((&body["current"]["cpu"]["usage_percent"], &body["current"]["cpu"]["cores"]), (&json!(50.0), &Value::Null));
    let usages = |body: &Value, list: &str| -> Vec<Value> {
        body[list].as_array().unwrap().iter().map(|p| p["cpu"]["usage_percent"].clone()).collect()
    };
    assert_eq!(usages(&body, "series"), [10.0, 20.0, 40.0, 50.0]);
    assert_eq!(body["series"][0]["late"], true);
    assert!(body["series"][1].get("late").is_none());
    assert_eq!(body["series"][3]["timestamp"], slot.start().rfc3339());

    let metrics = format!("{path}/metrics");
    let (_, body) = world.get(&format!("{metrics}?metric_type=memory")).await;
    assert_eq!((body["granularity"].as_str(), body["end_time"].as_str()), (Some("30s"), Some(T.rfc3339().as_str())));
    assert_eq!(body["metrics"][0]["memory"]["used_bytes"], 1_024_000);
    assert!(body["metrics"][0].get("cpu").is_none());
    let start = at(20).start().rfc3339();
    let (_, body) = world.get(&format!("{metrics}?granularity=1h&start_time={start}")).await;
    let hours = [at(20), at(19), at(2), slot].map(|slot| slot.0 / 120);
    assert_eq!(body["metrics"].as_array().unwrap().len(), std::collections::BTreeSet::from(hours).len());

    let (_, body) = world.get(&format!("{metrics}?start_time={}&end_time={start}", at(1_019).start().rfc3339())).await;
    assert_eq!(body["granularity"], "30s", "999 slots fit");
    let (_, body) = world.get(&format!("{metrics}?start_time={}&end_time={start}", at(1_021).start().rfc3339())).await;
    assert_eq!(body["granularity"], "1m", "1001 slots do not");
    let refused = async |query: &str| {
        let (status, body) = world.get(&format!("{metrics}?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        field(&body).to_owned()
    };
    let week_ago = now.wall.plus_seconds(-7 * 86_400).rfc3339();
    assert_eq!(refused(&format!("granularity=5m&start_time={week_ago}")).await, "granularity");
    assert_eq!(refused("start_time=2020-01-01T00:00:00Z").await, "start_time");
    assert_eq!(refused("start_time=yesterday").await, "start_time");
    assert_eq!(refused(&format!("start_time={}", now.wall.rfc3339())).await, "start_time");

    world.site.driver.advance_ms(91_000);
    let (_, body) = world.get(&path).await;
    assert_eq!(body["stale_since"].as_str(), Some(T.rfc3339().as_str()));
}

#[tokio::test]
async fn a_score_counts_down_and_then_shows_what_it_is_made_of() {
    let world = World::new().await;
    let (store, node) = (&world.site.state.store, world.node.index);
    let path = format!("/nodes/{}/poot/score", world.node.id);
    let slot = world.site.state.now().wall.slot();
    let row = |proven: bool, observed: bool| {
        let mut row = SlotRow::default();
        if observed {
            row.observed.set(node);
        }
        if proven {
            row.prove(node);
        }
        row
    };
    let rows = vec![(slot.minus(20), row(true, true)), (slot.minus(19), row(false, true)), (slot.minus(18), row(false, false))];
    world.flush(Batch { evidence: rows, flushed_at: Some(slot.minus(10).start()), ..Batch::default() }).await;
    store.intake.tick(world.site.state.now(), true);

    let (_, body) = world.get(&path).await;
    assert_eq!((body["state"].as_str(), &body["score"], &body["calculated_at"]), (Some("pending"), &Value::Null, &Value::Null));
    assert_eq!((&body["observed_seconds"], &body["required_seconds"]), (&json!(60), &json!(3_600)));
    assert_eq!((&body["proven_slots"], &body["observed_slots"]), (&json!(1), &json!(2)));
    let recent = body["recent_slots"].as_array().unwrap();
    assert_eq!((recent.len(), &recent[119]["slot"]), (120, &json!(slot.0)));
    let state = |ago: usize| recent[119 - ago]["state"].as_str().unwrap();
    assert_eq!([20, 19, 18, 17].map(state), ["proven", "missed", "unobserved", "unobserved"]);
    assert_eq!([10, 0].map(state), ["pending", "pending"], "silence is recorded by the next flush");
    assert_eq!(body["current_slot"], json!({"slot": slot.0, "proven": false, "ends_at": slot.end().rfc3339()}));

    let epoch = Epoch(slot.0 - 30);
    world.close_epoch(epoch, Window { proven: 1_183, observed: 1_200, interruptions: 6 }, Pico(4_166_666_666)).await;
    let (_, body) = world.get(&path).await;
    assert_eq!((body["state"].as_str(), &body["score"], &body["min_score"]), (Some("valid"), &json!(98.58), &json!(50.0)));
    assert_eq!((&body["proven_slots"], &body["observed_slots"]), (&json!(1_183), &json!(1_200)));
    assert_eq!(body["observed_seconds"], 1_202 * 30, "with the two slots after the epoch");
    assert_eq!(body["factors"], json!({"uptime": 0.9858, "output": null, "stability": 0.75, "resources": null}));
    assert_eq!(body["calculated_at"], epoch.first_slot().plus(10).start().plus_seconds(90).rfc3339());

    // A gap keeps the score of the epoch before it.
    world.put_head(head(Epoch(slot.0 - 20), 10, Some(epoch), Counts::default())).await;
    assert_eq!(world.get(&path).await.1["score"], 98.58);
    let (_, body) = world.get("/nodes?sort=poot_score&order=desc").await;
    let listed: Vec<_> = body["nodes"].as_array().unwrap().iter().map(|n| (n["node_id"].as_str().unwrap(), &n["poot"]["state"])).collect();
    assert_eq!(listed, [(world.node.id.as_str(), &json!("valid")), (world.other.id.as_str(), &json!("pending"))]);
    assert_eq!(body["nodes"][0]["accrued"], "0.004166666666");

    let scrape = async |address: &str| {
        let mut asked = request(Method::GET, "/metrics", None, &[]);
        asked.extensions_mut().insert(Peer(format!("{address}:9").parse().unwrap()));
        let scraped = world.site.send(asked).await;
        let text = axum::body::to_bytes(scraped.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    let text = scrape("127.0.0.1").await;
    assert!(text.contains(&format!("poot_scores{{node_id=\"{}\"}} 98.58", world.node.id)), "{text}");
    let text = scrape("192.0.2.9").await;
    assert!(!text.contains("node_id=") && text.contains("active_nodes_total "), "from elsewhere no single node is seen: {text}");
}

#[tokio::test]
async fn epochs_come_newest_first_in_pages() {
    let world = World::new().await;
    let first = world.node.created_at.slot();
    for n in 0..3 {
        world.close_epoch(Epoch(first.0 + 10 * n), Window { proven: 10, observed: 10, interruptions: 0 }, Pico(1_000_000)).await;
    }
    world.put_head(head(Epoch(first.0 + 30), 50, Some(Epoch(first.0 + 20)), Counts::default())).await;
    world.put_head(head(Epoch(first.0 - 100), 10, Some(Epoch(first.0 - 100)), Counts::default())).await;

    let (_, body) = world.get("/poot/epochs?limit=2").await;
    let shown: Vec<_> = body["epochs"].as_array().unwrap().iter().map(|e| (e["epoch"].clone(), e["gap"].clone())).collect();
    assert_eq!(shown, [(json!(first.0 + 30), json!(true)), (json!(first.0 + 20), json!(false))]);
    assert_eq!(body["pagination"], json!({"page": 1, "limit": 2, "total": 5, "pages": 3, "has_next": true, "has_prev": false}));
    assert_eq!((&body["epochs"][1]["accrued"], &body["epochs"][1]["pending"]), (&json!("0.000001"), &json!(1)));
    assert_eq!((&body["epochs"][0]["first_slot"], &body["epochs"][0]["last_slot"]), (&json!(first.0 + 30), &json!(first.0 + 79)));

    let path = format!("/nodes/{}/poot/history", world.node.id);
    let (_, body) = world.get(&format!("{path}?limit=2&page=2")).await;
    assert_eq!(body["pagination"]["total"], 3, "gaps and what was before the node are not its epochs");
    let last = &body["epochs"][0];
    assert_eq!(body["epochs"].as_array().unwrap().len(), 1);
    assert_eq!(last["epoch"], first.0);
    assert_eq!(
        (&last["state"], &last["score"], &last["proven"], &last["observed"]),
        (&json!("pending"), &Value::Null, &json!(9), &json!(10))
    );
    assert_eq!((&last["accrued"], &last["currency"]), (&json!("0.000001"), &json!("USDT")));
    assert_eq!(last["end"], first.plus(10).start().rfc3339());
}

#[tokio::test]
async fn a_payout_address_is_checked_waits_and_stays_out_of_the_log() {
    let world = World::new().await;
    let path = format!("/nodes/{}/payout-address", world.node.id);
    assert_eq!(name(&world.get(&path).await.1), "AddressNotFound");
    let viewer = world.site.person(&world.root, "watcher", "viewer").await;
    assert_eq!(name(&world.put_address(&viewer, json!({"address": USDT})).await.1), "NotAllowed");
    assert_eq!(world.get_as(&viewer, &path).await.0, StatusCode::FORBIDDEN);
    assert_eq!(name(&world.put_address(&world.node_token(&world.node), json!({"address": USDT})).await.1), "NotAllowed");

    let typo = USDT.replace("v3", "v4");
    let zero = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb";
    let bad =
        [json!({"address": typo}), json!({"address": LUCID}), json!({"address": zero}), json!({"address": USDT, "currency": "LUCID"})];
    for body in bad {
        let (status, answer) = world.put_address(&world.root, body.clone()).await;
        assert_eq!((status, field(&answer)), (StatusCode::BAD_REQUEST, "address"), "{body}");
    }
    assert_eq!(field(&world.put_address(&world.root, json!({"address": USDT, "currency": "BTC"})).await.1), "currency");
    assert_eq!(name(&world.get(&path).await.1), "AddressNotFound", "a refused one changed nothing");

    let (status, first) = world.put_address(&world.root, json!({"address": USDT})).await;
    let active_from = T.plus_seconds(86_400).rfc3339();
    let expected =
        json!({"address": USDT, "currency": "USDT", "active_from": active_from, "cooling_down": true, "changed_at": T.rfc3339()});
    assert_eq!((status, &first), (StatusCode::OK, &expected));

    world.site.driver.advance_ms(86_399_000);
    let root = world.site.token("root").await;
    let (_, again) = world.put_address(&root, json!({"address": USDT, "currency": "USDT"})).await;
    assert_eq!(again, expected, "the same address again keeps its wait");
    world.site.driver.advance_ms(1_000);
    assert_eq!(world.get_as(&root, &path).await.1["cooling_down"], false);

    let (_, lucid) = world.put_address(&root, json!({"address": LUCID, "currency": "LUCID"})).await;
    assert_eq!((&lucid["currency"], &lucid["cooling_down"]), (&json!("LUCID"), &json!(true)));

    let log = audit::page(&world.site.state.store.read().unwrap(), 0, 100).unwrap();
    let remarks: Vec<_> =
        log.iter().filter(|e| e.draft.operation == "payout_address.set").map(|e| e.draft.reason.clone().unwrap()).collect();
    assert_eq!(remarks, ["LUCID address …eAed", "USDT address …rqv3"]);
    assert!(!format!("{log:?}").contains(&USDT[..20]));

    world.site.driver.set_synchronised(false);
    world.site.driver.set_wall(T.plus_seconds(86_500));
    assert_eq!(name(&world.put_address(&root, json!({"address": USDT})).await.1), "ClockUntrusted");
}

#[tokio::test]
async fn payouts_are_listed_in_pages_and_only_those_who_may_see_where_they_go() {
    let world = World::new().await;
    world.owe(&world.node, 30_000_000).await;
    world.owe(&world.other, 5_000_000).await;
    world.plan_payout(&world.node, 1, 12_500_000).await;
    world.plan_payout(&world.other, 2, 5_000_000).await;
    let (_, body) = world.get("/nodes/payouts/history?limit=1").await;
    assert_eq!((&body["payouts"][0]["payout_id"], &body["pagination"]["total"]), (&json!("payout_0002"), &json!(2)));
    let (_, body) = world.get("/nodes/payouts/history?limit=1&page=2").await;
    assert_eq!((&body["payouts"][0]["payout_id"], &body["pagination"]["has_next"]), (&json!("payout_0001"), &json!(false)));
    assert_eq!(world.get("/nodes/payouts/history?limit=1&page=3").await.1["payouts"], json!([]));

    let of_node = format!("/nodes/{}/payouts", world.node.id);
    let (_, body) = world.get(&of_node).await;
    assert_eq!(
        body["payouts"],
        json!([{
            "payout_id": "payout_0001", "node_id": world.node.id.as_str(), "node_name": world.node.name,
            "amount": "12.5", "currency": "USDT", "wallet_address": USDT,
            "status": "pending", "priority": "normal", "batch_id": null, "scheduled_at": null, "settlement": "simulated", "review_reason": null, "transaction_hash": null, "attempts": 0,
            "created_at": T.rfc3339(), "updated_at": T.rfc3339(), "completed_at": null, "error_message": null
        }])
    );
    assert_eq!(world.get(&format!("/payouts/{}", world.node.id)).await.1, body);
    let viewer = world.site.person(&world.root, "watcher", "viewer").await;
    assert_eq!(world.get_as(&viewer, &of_node).await.1["payouts"][0]["wallet_address"], "…rqv3");

    let found = async |query: &str| {
        let (_, body) = world.get(&format!("/nodes/payouts/history?{query}")).await;
        body["pagination"]["total"].clone()
    };
    assert_eq!(
        [found("status=pending").await, found("status=failed").await, found("settlement=live").await],
        [json!(2), json!(0), json!(0)]
    );
    assert_eq!(found(&format!("node_id={}&status=pending&settlement=simulated", world.node.id)).await, json!(1));
    assert_eq!(world.get("/nodes/payouts/history?status=lost").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.get("/nodes/payouts/history?node_id=node_nobody").await.0, StatusCode::NOT_FOUND);

    let (_, node) = world.get(&format!("/nodes/{}", world.node.id)).await;
    assert_eq!((&node["payable"], &node["settlement"], &node["currency"]), (&json!("17.5"), &json!("simulated"), &json!("USDT")));
}

#[tokio::test]
async fn a_payout_tells_its_attempts_and_only_times_that_were_recorded() {
    let world = World::new().await;
    world.owe(&world.node, 30_000_000).await;
    world.plan_payout(&world.node, 1, 12_500_000).await;
    let now = world.site.state.now();
    let planned = payouts::by_seq(&world.site.state.store.read().unwrap(), 1).unwrap().unwrap();
    let prepared = Prepared {
        pin: Pin { gateway: "simulated".into(), network: "none".into(), wallet: "w".into(), contract: "c".into() },
        urls: Vec::new(),
        bytes: vec![1],
        txid: Some("ab".into()),
        expires_at: Some(now.wall.plus_seconds(60)),
        reference_block: 0,
        fee_limit_sun: 0,
        timestamp_ms: 0,
    };
    let signed = planned.sign(prepared, Some(&planned.address), now).unwrap();
    let before = planned.clone();
    world.site.state.store.write(move |tx| payouts::step(tx, Some(&before), &signed, None, now)).await.unwrap();

    let (status, body) = world.get("/nodes/payouts/payout_0001").await;
    assert_eq!(
        (status, &body["status"], &body["source"], &body["priority"]),
        (StatusCode::OK, &json!("processing"), &json!("automatic"), &json!("normal"))
    );
    assert_eq!(body["attempts_made"][0]["state"], "signed");
    assert_eq!(body["attempts_made"][0]["transaction_hash"], json!(null), "nothing has left the machine");
    let told: Vec<_> = body["timeline"].as_array().unwrap().iter().map(|m| (m["event"].clone(), m["at"].clone())).collect();
    assert_eq!(told, [(json!("planned"), json!(T.rfc3339())), (json!("signed"), json!(T.rfc3339()))]);
    assert_eq!(world.get("/nodes/payouts/payout_0009").await.1["error"]["details"]["name"], "PayoutNotFound");
    assert_eq!(world.get("/nodes/payouts/no%20id").await.0, StatusCode::NOT_FOUND);
    let viewer = world.site.person(&world.root, "watcher", "viewer").await;
    assert_eq!(world.get_as(&viewer, "/nodes/payouts/payout_0001").await.1["wallet_address"], "…rqv3");
}

#[tokio::test]
async fn a_payout_cycle_is_nudged_by_admins() {
    let world = World::new().await;
    let process = async |token: &str| world.site.as_bearer(token, Method::POST, "/api/v1/payouts/process", None).await;
    let operator = world.site.person(&world.root, "worker", "operator").await;
    assert_eq!(process(&operator).await.0, StatusCode::FORBIDDEN);
    assert_eq!(process(&world.root).await, (StatusCode::ACCEPTED, json!({"nudged": true})));
    world.site.state.nudges.nudged(Job::Payouts).await;
    let log = audit::page(&world.site.state.store.read().unwrap(), 0, 1).unwrap();
    assert_eq!(log[0].draft.operation, "payouts.process");
}

#[tokio::test]
async fn the_ledger_names_its_accounts_and_sums_to_zero() {
    let world = World::new().await;
    world.owe(&world.node, 20_000_001).await;
    world.owe(&world.other, 1_000_000).await;
    world.plan_payout(&world.node, 1, 12_500_000).await;
    let (node, other) = (world.node.id.as_str(), world.other.id.as_str());
    let (named, other_named) = (world.node.name.as_str(), world.other.name.as_str());
    let (_, body) = world.get("/ledger?limit=1").await;
    assert_eq!(body["pagination"]["total"], 3);
    assert_eq!(
        body["postings"],
        json!([{
            "seq": 3, "at": T.rfc3339(), "cause": {"kind": "reserve", "payout_id": "payout_0001"}, "settlement": "simulated", "currency": "USDT",
            "lines": [
                {"account": format!("node_payable:{node}"), "name": named, "amount": "-12.5"},
                {"account": format!("node_reserved:{node}"), "name": named, "amount": "12.5"}
            ]
        }])
    );
    let (_, body) = world.get(&format!("/nodes/{node}/ledger")).await;
    let seqs: Vec<_> = body["postings"].as_array().unwrap().iter().map(|p| p["seq"].clone()).collect();
    assert_eq!(seqs, [3, 1]);
    assert_eq!(body["postings"][1]["cause"], json!({"kind": "adjustment", "node_id": node, "reason": "for a test", "by": "user_root"}));

    let (_, body) = world.get("/ledger/balances").await;
    assert_eq!(
        body,
        json!({"latched": null, "books": [{"settlement": "simulated", "currency": "USDT", "sum": "0", "accounts": [
            {"account": format!("node_payable:{node}"), "name": named, "balance": "7.500001"},
            {"account": format!("node_payable:{other}"), "name": other_named, "balance": "1"},
            {"account": format!("node_reserved:{node}"), "name": named, "balance": "12.5"},
            {"account": "adjustment", "name": null, "balance": "-21.000001"}
        ]}]})
    );
    let operator = world.site.person(&world.root, "worker", "operator").await;
    for path in ["/ledger", "/ledger/balances"] {
        assert_eq!(world.get_as(&operator, path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn what_is_posted_is_not_accrued_any_more() {
    let world = World::new().await;
    let first = world.node.created_at.slot();
    let valid = Window { proven: 120, observed: 120, interruptions: 0 };
    for n in 0..4 {
        world.close_epoch(Epoch(first.0 + 10 * n), valid, Pico(1_500_000)).await;
    }
    let accrued = async || world.get(&format!("/nodes/{}", world.node.id)).await.1["accrued"].clone();
    assert_eq!(accrued().await, "0.000006");
    let (index, through) = (world.node.index, Epoch(first.0 + 10));
    let mut posted = ledger::Accrued { through, ..ledger::Accrued::default() };
    posted.set_remainder(Currency::Usdt, Pico(7));
    world.site.state.store.write(move |tx| ledger::put_accrued(tx, index, &posted)).await.unwrap();
    assert_eq!(accrued().await, "0.000003000007");
    let status = async |node: &Node| world.site.as_bearer(&world.root, Method::DELETE, &format!("/api/v1/nodes/{}", node.id), None).await.0;
    assert_eq!(status(&world.node).await, StatusCode::CONFLICT, "it has earned something");
    assert_eq!(status(&world.other).await, StatusCode::NO_CONTENT);
}
