//! Webhooks as somebody's server sees them: the manager's own scheduler wakes the delivery, on a clock that runs fast.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use lucid::app::App;
use lucid::clock::{self, Clock};
use lucid::config::{Config, Sources};
use lucid::crypto::{hex, hmac_sha256, unhex};
use lucid::domain::time::{ClockReading, Timestamp};
use lucid::storage::core::outbox;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::binary::eventually;
use crate::support::client::Client;
use crate::support::site::START;

const RATE: u32 = 60;
const ADDRESSES: [&str; 2] = ["TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "TSBJwRsyWccxj5tcS8tHGqAm79xQMLjA79"];
/// How often the receiver refuses before it takes anything: more than once, so that each further try has nobody to wake it but the clock.
const REFUSALS: usize = 3;

#[derive(Debug, Clone)]
struct Asked {
    headers: HeaderMap,
    body: String,
    taken: bool,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn number(&self) -> u64 {
        self.header("x-lucid-number").parse().unwrap()
    }

    fn body(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Inbox = Arc<Mutex<Vec<Asked>>>;

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: String) -> StatusCode {
    let mut inbox = inbox.lock().unwrap();
    let taken = inbox.len() >= REFUSALS;
    inbox.push(Asked { headers, body, taken });
    if taken { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}

async fn receiver() -> (String, Inbox) {
    let (listener, inbox) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Inbox::default());
    let url = format!("http://{}/steps", listener.local_addr().unwrap());
    let routes = Router::new().fallback(take).with_state(Arc::clone(&inbox));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, inbox)
}

/// A node that the next cycle of payouts pays. Its id.
async fn owed(client: &Client, address: &str) -> String {
    let node = client.post("/nodes", json!({ "name": format!("of-{address}"), "node_type": "worker" })).await;
    let id = node["node_id"].as_str().unwrap().to_owned();
    client.put(&format!("/nodes/{id}/payout-address"), json!({ "address": address })).await;
    let owed = json!({ "node_id": id, "amount": "5", "currency": "USDT", "settlement": "simulated", "reason": "for a test" });
    client.post("/ledger/adjustments", owed).await;
    id
}

/// Events about this node that were taken, up to the last one of its payout.
async fn told(inbox: &Inbox, node: &str) -> Vec<Asked> {
    eventually(&format!("all that is told of {node}"), async || {
        let all = inbox.lock().unwrap();
        let of_node: Vec<Asked> = all.iter().filter(|asked| asked.taken && asked.body()["node_id"] == node).cloned().collect();
        (of_node.last()?.body()["status"] == "completed").then_some(of_node)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_payout_reaches_a_receiver_that_refuses_at_first_and_so_does_what_comes_later() {
    let (url, inbox) = receiver().await;
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("storage.data_dir", dir.path().join("data").to_str().unwrap().to_owned()),
        ("webhooks.payouts_url", url),
        ("webhooks.allow_private", "true".into()),
        ("payout.threshold_usdt", "1".into()),
        ("payout.address_cooldown_hours", "0".into()),
        ("payout.processing_interval_seconds", "60".into()),
        ("poot.min_observation_seconds", "60".into()),
        ("poot.calculation_interval_seconds", "60".into()),
    ];
    let flags = settings.into_iter().map(|(key, value)| (key, key, value)).collect();
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
    let start = ClockReading { wall: START, synchronised: true, ..clock::read_system() };
    let app = App::open(&config, &|_: &Config, high_water: Timestamp| Clock::fast(start, RATE, high_water)).await.unwrap();
    let (store, code) = (Arc::clone(&app.store), app.setup_code.clone().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
    let (stop, stopped) = oneshot::channel::<()>();
    let manager = tokio::spawn(app.serve(listener, async { _ = stopped.await }));
    client.set_up(&code, None).await;
    let key = client.post("/webhooks/key/rotate", json!({})).await["key"].as_str().unwrap().to_owned();

    let first = owed(&client, ADDRESSES[0]).await;
    let told_first = told(&inbox, &first).await;
    let is_empty = async || (outbox::page(&store.read().unwrap(), 0, 1).unwrap().1 == 0).then_some(());
    eventually("an empty outbox", is_empty).await;
    // The loop has seen that nothing waits; whatever comes now has to wake it again.
    let later = owed(&client, ADDRESSES[1]).await;
    let told_later = told(&inbox, &later).await;
    eventually("an empty outbox", is_empty).await;
    stop.send(()).unwrap();
    manager.await.unwrap().unwrap();

    let all = inbox.lock().unwrap().clone();
    let (refused, taken) = all.split_at(REFUSALS);
    assert_eq!(told_first.len() + told_later.len(), taken.len(), "nothing was told of anybody else");
    for tried in refused {
        assert_eq!(tried.header("x-lucid-delivery"), taken[0].header("x-lucid-delivery"), "the same message until it is taken");
        assert_eq!((tried.number(), &tried.body), (1, &taken[0].body));
    }
    let tries: Vec<i64> = all[..=REFUSALS].iter().map(|tried| tried.header("x-lucid-timestamp").parse().unwrap()).collect();
    assert!(tries.is_sorted_by(|a, b| a < b), "each try has a time of its own: {tries:?}");
    let numbers: Vec<u64> = taken.iter().map(Asked::number).collect();
    assert_eq!(numbers, (1..=taken.len() as u64).collect::<Vec<_>>(), "in their order, each once");
    let key = unhex(&key).unwrap();
    for asked in &all {
        let signed = hmac_sha256(&key, &[asked.header("x-lucid-timestamp").as_bytes(), b".", asked.body.as_bytes()]);
        assert_eq!(asked.header("x-lucid-signature"), format!("v1={}", hex(&signed)));
        assert_eq!(asked.header("x-lucid-event"), asked.body()["event"]);
    }
    for told in [told_first, told_later] {
        let events: Vec<&str> = told.iter().map(|asked| asked.header("x-lucid-event")).collect();
        assert_eq!((events.first(), events.last()), (Some(&"payout.planned"), Some(&"payout.paid")), "{events:?}");
    }
}
