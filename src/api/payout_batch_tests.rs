//! Batches, schedules, the preview and what is told of them, from the request to the last cycle.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::testing::{PASSWORD, Site, T};
use super::{ApiSettings, testing};
use crate::crypto::{SecretKey, unhex};
use crate::domain::backup::Daily;
use crate::domain::credits::Epochs;
use crate::domain::guard::GuardLimits;
use crate::domain::ids::{NodeId, UserId};
use crate::domain::ledger::{Account, Book, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::paying::PayoutRules;
use crate::domain::poot::Params;
use crate::domain::webhook::signature;
use crate::gateways::payment::{Gateways, Simulated};
use crate::jobs::{Context, Settings};
use crate::live::{Current, Failures, Job};
use crate::storage::core::{ledger, nodes, tables};
use crate::storage::table::Read;

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
const BOOK: Book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };

fn rules() -> PayoutRules {
    PayoutRules {
        threshold: Units(10_000_000),
        frequency_hours: 24,
        guards: GuardLimits { max_payout: Units(500_000_000), ..GuardLimits::unlimited() },
    }
}

/// A manager with nodes that have money, and its cycles.
struct Payer {
    site: Site,
    token: String,
    context: Context,
}

impl Payer {
    async fn new() -> Payer {
        let settings = ApiSettings { address_cooldown_hours: 0, payouts: rules(), webhooks_allow_private: true, ..ApiSettings::default() };
        let site = Site::with(settings);
        site.driver.set_synchronised(true);
        let token = site.set_up().await;
        let context = context(&site);
        Payer { site, token, context }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, answer) = self.site.as_bearer(&self.token, method, &format!("/api/v1{path}"), body).await;
        (status.as_u16(), answer)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn batch(&self, body: Value) -> (u16, Value) {
        self.ask(Method::POST, "/nodes/payouts/batch", Some(body)).await
    }

    /// A node with an address and so much to be paid, in whole USDT.
    async fn node(&self, name: &str, usdt: i64) -> String {
        let (status, node) = self.ask(Method::POST, "/nodes", Some(json!({ "name": name, "node_type": "worker" }))).await;
        assert_eq!(status, 201, "{node}");
        let id = node["node_id"].as_str().unwrap().to_owned();
        let (status, answer) = self.ask(Method::PUT, &format!("/nodes/{id}/payout-address"), Some(json!({ "address": ADDRESS }))).await;
        assert_eq!(status, 200, "{answer}");
        self.fund(&id, usdt).await;
        id
    }

    async fn fund(&self, id: &str, usdt: i64) {
        let (node, now) = (self.index(id), self.site.state.now());
        if usdt > 0 {
            let by = UserId::parse("user_0123456789").unwrap();
            let entry = Entry::adjustment(BOOK, node, Units(usdt * 1_000_000), "a test".into(), by).unwrap();
            self.site.state.store.write_money(move |tx| ledger::post(tx, entry.clone(), now)).await.unwrap();
        }
    }

    fn index(&self, id: &str) -> crate::domain::ids::NodeIndex {
        nodes::by_id(&self.site.state.store.read().unwrap(), &NodeId::parse(id).unwrap()).unwrap().unwrap().index
    }

    /// Payable and reserved, in millionths.
    fn balances(&self, id: &str) -> (i64, i64) {
        let (read, node) = (self.site.state.store.read().unwrap(), self.index(id));
        let of = |account| ledger::balance(&read, BOOK, account).unwrap().0;
        (of(Account::NodePayable(node)), of(Account::NodeReserved(node)))
    }

    async fn cycle(&self) {
        self.context.run(Job::Payouts).await.unwrap();
    }

    /// Until what is under way is final.
    async fn settle(&self) {
        for _ in 0..6 {
            self.cycle().await;
            self.site.driver.advance_ms(60_000);
        }
        for finding in crate::storage::verify::verify(&self.site.state.store) {
            assert_eq!(finding.wrong, None, "{}", finding.part);
        }
    }

    fn rows(&self) -> [u64; 5] {
        let read = self.site.state.store.read().unwrap();
        let tables = [
            read.count(tables::PAYOUTS),
            read.count(tables::BATCHES),
            read.count(tables::POSTINGS),
            read.count(tables::SCHEDULES),
            read.count(tables::AUDIT),
        ];
        tables.map(Result::unwrap)
    }
}

fn context(site: &Site) -> Context {
    let state = &site.state;
    let PayoutRules { threshold, frequency_hours, guards } = rules();
    let settings = Settings {
        params: Params::default(),
        epochs: Epochs::of_seconds(300).unwrap(),
        flush_seconds: None,
        payout_threshold: threshold,
        payout_frequency_hours: frequency_hours,
        payout_interval_seconds: 3_600,
        guards,
        fee_cap_sun: 30_000_000,
        retention: crate::jobs::Retention { raw_days: 7, raw_max_mb: 0, hourly_days: 365, hourly_max_mb: 0, max_mb: 0 },
        card_rating_bytes: 0,
        archiving: crate::domain::archive::Retention::default(),
        compaction: crate::jobs::CompactionRules { start_hour: 0, hours: 0, above_percent: 40 },
        vote_expiry_ms: 3_600_000,
        webhooks_allow_private: true,
        backup: Daily { enabled: false, at_minutes: 0, dir: None, keep: 1 },
        replication: crate::jobs::ReplicationRules {
            limit_kb_per_second: 0,
            lag_alert_minutes: 60,
            hourly_metrics: true,
            raw_metrics: false,
        },
    };
    Context {
        store: state.store.clone(),
        clock: state.clock.clone(),
        settings: Current::new(settings),
        gateways: Gateways::only(std::sync::Arc::new(Simulated)),
        chain: None,
        cluster: None,
        replica: std::sync::Arc::default(),
        replication: state.replication.clone(),
        money: state.money.clone(),
        events: state.events.clone(),
        nudges: state.nudges.clone(),
        failures: Failures::default(),
        judged_hour: std::sync::Arc::default(),
        stumbles: std::sync::Arc::default(),
        link_is_up: || true,
        closing: std::sync::Arc::default(),
    }
}

fn pays(node: &str, amount: &str) -> Value {
    json!({ "node_id": node, "amount": amount })
}

fn name(answer: &Value) -> &str {
    answer["error"]["details"]["name"].as_str().unwrap_or_default()
}

fn fields(answer: &Value) -> Vec<(String, String)> {
    let fields = answer["error"]["details"]["fields"].as_array().unwrap();
    let text = |field: &Value, key: &str| field[key].as_str().unwrap().to_owned();
    fields.iter().map(|field| (text(field, "field"), text(field, "message"))).collect()
}

fn soon(seconds: i64) -> String {
    T.plus_seconds(seconds).rfc3339()
}

#[tokio::test]
async fn a_batch_is_reserved_as_a_whole_paid_and_done_once() {
    let payer = Payer::new().await;
    let (a, b) = (payer.node("attic", 50).await, payer.node("basement", 20).await);
    let body = json!({ "batch_id": "batch_2026-11", "priority": "high",
        "payout_requests": [pays(&a, "12.5"), { "node_id": &b, "amount": 20, "wallet_address": ADDRESS, "priority": "low" }] });
    let audited = payer.rows()[4];
    let (status, first) = payer.batch(body.clone()).await;
    assert_eq!((status, &first["status"], &first["total"]), (202, &json!("processing"), &json!(2)), "{first}");
    assert_eq!((payer.balances(&a), payer.balances(&b)), ((37_500_000, 12_500_000), (0, 20_000_000)));
    assert_eq!(payer.rows()[4], audited + 1, "one entry for all of them");
    payer.settle().await;
    let done = payer.get("/nodes/payouts/batches/batch_2026-11").await;
    assert_eq!((&done["status"], &done["completed"], &done["open"]), (&json!("completed"), &json!(2), &json!(0)), "{done}");
    assert_eq!(
        done["amounts"],
        json!([{ "currency": "USDT", "total": "32.5", "completed": "32.5", "failed": "0", "cancelled": "0", "open": "0" }])
    );
    let priorities: Vec<_> = done["payouts"].as_array().unwrap().iter().map(|payout| payout["priority"].clone()).collect();
    assert_eq!(priorities, ["high", "low"], "the batch's priority is that of those without one");
    // The same request, written in another way.
    let again = json!({ "payout_requests": [{ "node_id": &a, "amount": 12.50, "currency": "USDT" }, { "priority": "low", "node_id": &b, "amount": "20.0", "wallet_address": ADDRESS }],
        "priority": "high", "batch_id": "batch_2026-11" });
    let before = payer.rows();
    assert_eq!(payer.batch(again).await, (202, first));
    let (status, other) = payer.batch(json!({ "batch_id": "batch_2026-11", "payout_requests": [pays(&a, "12.5")] })).await;
    assert_eq!((status, name(&other), fields(&other)[0].0.as_str()), (409, "BatchExists", "batch_id"));
    assert_eq!((payer.rows(), payer.balances(&a)), (before, (37_500_000, 0)), "nothing was done again");
}

#[tokio::test]
async fn one_wrong_request_keeps_all_from_being_paid_and_all_that_is_wrong_is_told() {
    let payer = Payer::new().await;
    let (a, b, c) = (payer.node("attic", 50).await, payer.node("basement", 20).await, payer.node("cellar", 900).await);
    payer.batch(json!({ "payout_requests": [pays(&b, "1")] })).await;
    let (_, bare) = payer.ask(Method::POST, "/nodes", Some(json!({ "name": "bare", "node_type": "worker" }))).await;
    let bare = bare["node_id"].as_str().unwrap();
    let before = (payer.rows(), payer.balances(&a));
    let (status, answer) = payer
        .batch(json!({ "payout_requests": [
            pays(&a, "30"), pays(&a, "25"), pays(&b, "20"), pays("node_nobody", "1"), pays(bare, "1"), pays(&c, "500.000001"),
            { "node_id": &c, "amount": "1", "wallet_address": "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf" },
        ] }))
        .await;
    assert_eq!((status, name(&answer), &answer["error"]["code"]), (422, "PayoutsRefused", &json!("LUCID_ERR_5010")), "{answer}");
    let named: Vec<(String, String)> = fields(&answer);
    for (field, part) in [
        ("payout_requests[1].node_id", "payout_requests[0] already"),
        ("payout_requests[1].amount", "above the free balance of 50 USDT"),
        ("payout_requests[2].node_id", "has not ended"),
        ("payout_requests[2].amount", "above the free balance of 19 USDT"),
        ("payout_requests[3].node_id", "no node"),
        ("payout_requests[4].wallet_address", "no payout address"),
        ("payout_requests[4].amount", "above the free balance of 0 USDT"),
        ("payout_requests[5].amount", "more than one payout may be"),
        ("payout_requests[6].node_id", "payout_requests[5] already"),
        ("payout_requests[6].wallet_address", "not the address that is registered"),
    ] {
        assert!(named.iter().any(|(at, text)| at == field && text.contains(part)), "{field} {part}: {named:?}");
    }
    assert_eq!(named.len(), 10, "{named:?}");
    assert_eq!((payer.rows(), payer.balances(&a)), before, "nothing is reserved and nothing is recorded");
    let lucid = json!({ "payout_requests": [{ "node_id": &a, "amount": "1", "currency": "LUCID" }] });
    let (status, answer) = payer.batch(lucid).await;
    assert_eq!((status, name(&answer), fields(&answer)[0].0.as_str()), (422, "CurrencyNotPayable", "payout_requests[0].currency"));
    let own_moment = json!({ "payout_requests": [{ "node_id": &a, "amount": "1", "scheduled_at": soon(60) }] });
    let (status, answer) = payer.batch(own_moment).await;
    assert_eq!((status, fields(&answer)[0].0.as_str()), (400, "payout_requests[0].scheduled_at"));
    payer.site.driver.set_synchronised(false);
}

#[tokio::test]
async fn a_batch_for_later_reserves_nothing_before_and_leaves_out_who_cannot_be_paid_then() {
    let payer = Payer::new().await;
    let (a, b) = (payer.node("attic", 50).await, payer.node("basement", 0).await);
    let ask = |at: String| json!({ "batch_id": "batch_later", "scheduled_at": at, "payout_requests": [{ "node_id": &a, "amount": 5, "scheduled_at": at }, pays(&b, "7")] });
    for (at, name_of) in [(soon(-1), "ScheduledInThePast"), (soon(400 * 86_400), "ScheduledTooFar")] {
        let (status, answer) = payer.batch(ask(at)).await;
        assert_eq!((status, name(&answer)), (422, name_of));
    }
    let (status, accepted) = payer.batch(ask(soon(600))).await;
    assert_eq!((status, &accepted["status"]), (202, &json!("queued")), "{accepted}");
    payer.cycle().await;
    let queued = payer.get("/nodes/payouts/batches/batch_later").await;
    assert_eq!((&queued["status"], &queued["total"], payer.balances(&a)), (&json!("queued"), &json!(2), (50_000_000, 0)));
    assert_eq!(payer.get("/nodes/payouts/batches?status=queued").await["pagination"]["total"], 1);
    payer.site.driver.advance_ms(600_000);
    payer.settle().await;
    let done = payer.get("/nodes/payouts/batches/batch_later").await;
    assert_eq!(
        (&done["status"], &done["completed"], &done["left_out"]),
        (&json!("completed_with_failures"), &json!(1), &json!(1)),
        "{done}"
    );
    assert_eq!((&done["left_out_nodes"][0]["why"], &done["left_out_nodes"][0]["node_id"]), (&json!("above_balance"), &json!(b)));
    assert_eq!(payer.batch(ask(soon(600))).await, (202, accepted), "asked again when it is over");
    assert_eq!(payer.balances(&a), (45_000_000, 0));
}

#[tokio::test]
async fn what_has_not_gone_out_is_cancelled_and_what_has_is_listed() {
    let payer = Payer::new().await;
    let (a, b) = (payer.node("attic", 50).await, payer.node("basement", 50).await);
    payer.batch(json!({ "batch_id": "batch_queued", "scheduled_at": soon(600), "payout_requests": [pays(&a, "1")] })).await;
    let (status, cancelled) = payer.ask(Method::POST, "/nodes/payouts/batches/batch_queued/cancel", None).await;
    assert_eq!(
        (status, &cancelled["batch"]["status"], &cancelled["batch"]["cancelled"]),
        (200, &json!("cancelled"), &json!(1)),
        "{cancelled}"
    );
    payer.site.driver.advance_ms(700_000);
    payer.cycle().await;
    assert_eq!(payer.rows()[0], 0, "it never fires");
    payer.batch(json!({ "batch_id": "batch_first", "payout_requests": [pays(&a, "1")] })).await;
    payer.cycle().await;
    payer.batch(json!({ "batch_id": "batch_second", "payout_requests": [pays(&b, "1")] })).await;
    let (_, first) = payer.ask(Method::POST, "/nodes/payouts/batches/batch_first/cancel", None).await;
    assert_eq!((first["cancelled_payouts"].as_array().unwrap().len(), first["kept_payouts"].as_array().unwrap().len()), (0, 1), "{first}");
    let (_, second) = payer.ask(Method::POST, "/nodes/payouts/batches/batch_second/cancel", None).await;
    assert_eq!((&second["batch"]["status"], payer.balances(&b)), (&json!("cancelled"), (50_000_000, 0)), "{second}");
    payer.settle().await;
    assert_eq!(payer.get("/nodes/payouts/batches/batch_first").await["status"], "completed");
    for (path, wanted) in [("batch_first", (409, "BatchOver")), ("batch_nobody", (404, "BatchNotFound")), ("x", (404, "BatchNotFound"))] {
        let (status, answer) = payer.ask(Method::POST, &format!("/nodes/payouts/batches/{path}/cancel"), None).await;
        assert_eq!((status, name(&answer)), wanted);
    }
    let called_off = payer.get("/nodes/payouts/batches/batch_queued").await;
    assert_eq!((&called_off["amounts"][0]["cancelled"], &called_off["open"]), (&json!("1"), &json!(0)), "{called_off}");
}

/// Takes requests one after the other, and answers each with the next of these statuses.
async fn receiver(answers: Vec<u16>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?secret=1", listener.local_addr().unwrap());
    let taken = tokio::spawn(async move {
        let mut all = Vec::new();
        for status in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                text.extend_from_slice(&buffer[..read]);
                let so_far = String::from_utf8_lossy(&text);
                let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    break;
                }
            }
            stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            all.push(String::from_utf8(text).unwrap());
        }
        all
    });
    (url, taken)
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: "))).unwrap();
    line.split_once(": ").unwrap().1
}

#[tokio::test]
async fn the_end_of_a_batch_is_told_signed_and_again_until_it_is_taken() {
    let payer = Payer::new().await;
    let a = payer.node("attic", 50).await;
    let (url, taken) = receiver(vec![500, 200]).await;
    let (status, made) = payer.ask(Method::POST, "/webhooks/key/rotate", None).await;
    assert_eq!(status, 200, "{made}");
    let key = SecretKey(unhex(made["key"].as_str().unwrap()).unwrap().try_into().unwrap());
    payer.batch(json!({ "batch_id": "batch_told", "notification_url": url, "payout_requests": [pays(&a, "2.5")] })).await;
    payer.settle().await;
    let waiting = payer.get("/outbox").await;
    assert_eq!((&waiting["depth"], &waiting["messages"][0]["event"]), (&json!(1), &json!("payout_batch.ended")), "{waiting}");
    assert!(!waiting.to_string().contains("secret"), "{waiting}");
    payer.context.run(Job::Outbox).await.unwrap();
    let failed = payer.get("/outbox").await;
    assert_eq!(
        (&failed["messages"][0]["tries"], &failed["messages"][0]["last_error"]),
        (&json!(1), &json!("answered 500 Internal Server Error"))
    );
    let (status, answer) = payer.ask(Method::DELETE, "/outbox/1", None).await;
    assert_eq!((status, name(&answer)), (409, "DeliveryAlive"));
    payer.context.run(Job::Outbox).await.unwrap();
    assert_eq!(payer.get("/outbox").await["messages"][0]["tries"], 1, "it waits before the next try");
    payer.site.driver.advance_ms(2_000);
    payer.context.run(Job::Outbox).await.unwrap();
    assert_eq!(payer.get("/outbox").await["depth"], 0);
    let requests = taken.await.unwrap();
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(header(first, "x-lucid-delivery"), header(second, "x-lucid-delivery"));
    for request in [first, second] {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let at: i64 = header(request, "x-lucid-timestamp").parse().unwrap();
        assert_eq!(header(request, "x-lucid-signature"), signature(&key, at, body));
        let told: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&told["batch_id"], &told["status"], &told["completed"]),
            (&json!("batch_told"), &json!("completed"), &json!(1)),
            "{told}"
        );
        assert_eq!(told["amounts"][0]["completed"], "2.5");
    }
    for url in ["ftp://a.example/", "http://", "https://user@a.example/", "nothing"] {
        let (status, answer) = payer.batch(json!({ "notification_url": url, "payout_requests": [pays(&a, "1")] })).await;
        assert_eq!((status, fields(&answer)[0].0.as_str()), (400, "notification_url"), "{url}");
    }
    let strict = Site::new();
    let token = strict.set_up().await;
    let body = json!({ "notification_url": "http://169.254.169.254/latest", "payout_requests": [pays(&a, "1")] });
    let (status, answer) = strict.as_bearer(&token, Method::POST, "/api/v1/nodes/payouts/batch", Some(body)).await;
    assert_eq!((status, fields(&answer)[0].0.as_str()), (StatusCode::BAD_REQUEST, "notification_url"));
}

#[tokio::test]
async fn a_schedule_fires_once_a_moment_and_makes_up_for_what_was_missed_once() {
    let mut payer = Payer::new().await;
    let (a, b) = (payer.node("attic", 50).await, payer.node("basement", 9).await);
    let body = json!({ "name": "hourly", "cron": "0 * * * *", "timezone": "Europe/Zurich", "what": "all_due", "min_amount": "5", "priority": "high" });
    let (status, made) = payer.ask(Method::POST, "/nodes/payouts/schedule", Some(body.clone())).await;
    assert_eq!(status, 201, "{made}");
    let next: Vec<&str> = made["next_runs"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    assert_eq!((next.len(), next[0]), (5, "2026-09-21T15:00:00Z"), "{next:?} after {}", T.rfc3339());
    let path = format!("/nodes/payouts/schedule/{}", made["schedule_id"].as_str().unwrap());
    payer.cycle().await;
    assert_eq!(payer.get(&path).await["runs"], json!([]), "its moment has not come");
    payer.site.driver.advance_ms(3_600_000);
    payer.settle().await;
    payer.token = payer.site.token("root").await;
    let runs = payer.get(&path).await["runs"].clone();
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["planned"], &runs[0]["since"]), (1, &json!(2), &runs[0]["due_at"]), "{runs}");
    let batch = payer.get(&format!("/nodes/payouts/batches/{}", runs[0]["batch_id"].as_str().unwrap())).await;
    assert_eq!((&batch["status"], &batch["schedule_id"]), (&json!("completed"), &made["schedule_id"]), "{batch}");
    assert_eq!((payer.balances(&a), payer.balances(&b)), ((0, 0), (0, 0)));
    // Two days without a manager: one run, for the last moment. By then one has money and no address that may be paid.
    payer.fund(&a, 30).await;
    payer.site.driver.advance_ms(2 * 86_400_000);
    payer.token = payer.site.token("root").await;
    payer.cycle().await;
    let runs = payer.get(&path).await["runs"].clone();
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["planned"]), (2, &json!(1)), "{runs}");
    assert!(runs[0]["since"].as_str() < runs[0]["due_at"].as_str(), "{runs}");
    payer.cycle().await;
    assert_eq!(payer.get(&path).await["runs"].as_array().unwrap().len(), 2, "once");
    // While that one is under way, the next moment has nobody to pay.
    let (status, changed) = payer.ask(Method::PUT, &path, Some(json!({ "name": "listed", "at": payer.site.state.now().wall.plus_seconds(60).rfc3339(), "what": "listed", "payout_requests": [pays(&a, "1")] }))).await;
    assert_eq!((status, &changed["what"], changed["next_runs"].as_array().unwrap().len()), (200, &json!("listed"), 1), "{changed}");
    payer.fund(&a, 5).await;
    payer.site.driver.advance_ms(120_000);
    payer.context.run(Job::Payouts).await.unwrap();
    let after = payer.get(&path).await;
    assert_eq!((&after["runs"][0]["planned"], &after["runs"][0]["left_out_count"]), (&json!(0), &json!(1)), "{after}");
    assert_eq!((&after["runs"][0]["left_out"][0]["why"], &after["next_runs"]), (&json!("unresolved_payout"), &json!([])));
    let (status, answer) = payer.ask(Method::PUT, &path, Some(json!({ "name": "late", "at": soon(0), "what": "all_due" }))).await;
    assert_eq!((status, name(&answer)), (422, "ScheduledInThePast"));
    assert_eq!(payer.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(payer.ask(Method::GET, &path, None).await.0, 404);
    let pool = json!({ "name": "pool", "cron": "0 * * * *", "what": "pool", "pool_id": "pool_nowhere" });
    let (status, answer) = payer.ask(Method::POST, "/nodes/payouts/schedule", Some(pool)).await;
    assert_eq!((status, name(&answer), fields(&answer)[0].0.as_str()), (404, "PoolNotFound", "pool_id"));
}

#[tokio::test]
async fn rules_of_schedules_that_contradict_each_other_are_named() {
    let payer = Payer::new().await;
    for (body, field) in [
        (json!({ "name": "a", "what": "all_due" }), "at"),
        (json!({ "name": "a", "what": "all_due", "at": soon(60), "cron": "0 * * * *" }), "cron"),
        (json!({ "name": "a", "what": "all_due", "at": soon(60), "timezone": "UTC" }), "timezone"),
        (json!({ "name": "a", "what": "all_due", "at": soon(60), "pool_id": "pool_default" }), "pool_id"),
        (json!({ "name": "a", "what": "pool", "at": soon(60) }), "pool_id"),
        (json!({ "name": "a", "what": "listed", "at": soon(60) }), "payout_requests"),
        (
            json!({ "name": "a", "what": "listed", "at": soon(60), "payout_requests": [pays("node_0001", "1")], "min_amount": "5" }),
            "min_amount",
        ),
        (json!({ "name": "a", "what": "all_due", "cron": "0 0 31 2 *" }), "cron"),
    ] {
        let (status, answer) = payer.ask(Method::POST, "/nodes/payouts/schedule", Some(body.clone())).await;
        let named = fields(&answer);
        assert_eq!((status, named.len(), named[0].0.as_str()), (400, 1, field), "{body}: {answer}");
    }
}

#[tokio::test]
async fn the_preview_says_what_would_be_done_and_changes_no_byte() {
    let payer = Payer::new().await;
    let (a, b, c) = (payer.node("attic", 50).await, payer.node("basement", 3).await, payer.node("cellar", 700).await);
    let (_, bare) = payer.ask(Method::POST, "/nodes", Some(json!({ "name": "bare", "node_type": "worker" }))).await;
    let bare = bare["node_id"].as_str().unwrap();
    payer.fund(bare, 12).await;
    let joined = payer.ask(Method::POST, "/nodes/pools/pool_default/nodes", Some(json!({ "node_id": a }))).await;
    assert!(joined.0 < 300, "{}", joined.1);
    let files = || ["core.redb", "hot.redb"].map(|file| std::fs::read(payer.site.state.store.dir().join(file)).unwrap());
    let before = files();
    let (status, answer) = payer.ask(Method::POST, "/payouts/preview", Some(json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    let payouts: Vec<_> = answer["payouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["node_id"].as_str().unwrap(), p["amount"].as_str().unwrap(), p["balance_after"].as_str().unwrap()))
        .collect();
    assert_eq!(payouts, [(a.as_str(), "50", "0"), (c.as_str(), "500", "200")], "up to the largest payout");
    let skipped: Vec<_> =
        answer["skipped"].as_array().unwrap().iter().map(|s| (s["node_id"].as_str().unwrap(), s["why"].as_str().unwrap())).collect();
    assert_eq!(skipped, [(bare, "no_address")], "what is below the threshold waits for nothing");
    assert_eq!(answer["totals"], json!([{ "currency": "USDT", "payouts": 2, "amount": "550" }]));
    assert_eq!(
        (&answer["settlement"], &answer["fees_sun"], &answer["payouts"][0]["waits"]),
        (&json!("simulated"), &Value::Null, &json!([]))
    );
    let (status, listed) =
        payer.ask(Method::POST, "/payouts/preview", Some(json!({ "payout_requests": [pays(&b, "2"), pays(&a, "51")] }))).await;
    assert_eq!(
        (status, &listed["payouts"][0]["balance_before"], &listed["payouts"][0]["balance_after"]),
        (200, &json!("3"), &json!("1")),
        "{listed}"
    );
    assert_eq!(listed["skipped"][0]["why"], "above_balance");
    // By hand: from an amount on, of everybody or of one pool.
    for (body, expected) in [
        (json!({ "min_amount": "1" }), vec![(a.as_str(), "50"), (b.as_str(), "3"), (c.as_str(), "500")]),
        (json!({ "min_amount": "3.000001" }), vec![(a.as_str(), "50"), (c.as_str(), "500")]),
        (json!({ "min_amount": "50", "pool_id": "pool_default" }), vec![(a.as_str(), "50")]),
    ] {
        let (status, owed) = payer.ask(Method::POST, "/payouts/preview", Some(body.clone())).await;
        let paid = owed["payouts"].as_array().unwrap().iter();
        let paid: Vec<_> = paid.map(|p| (p["node_id"].as_str().unwrap(), p["amount"].as_str().unwrap())).collect();
        assert_eq!((status, paid), (200, expected), "{body}: {owed}");
    }
    for (body, status, field) in [
        (json!({ "min_amount": "0" }), 400, "min_amount"),
        (json!({ "min_amount": "1", "payout_requests": [pays(&a, "1")] }), 400, "min_amount"),
        (json!({ "pool_id": "pool_default" }), 400, "pool_id"),
        (json!({ "min_amount": "1", "pool_id": "pool_unknown" }), 404, "pool_id"),
    ] {
        let (was, answer) = payer.ask(Method::POST, "/payouts/preview", Some(body.clone())).await;
        assert_eq!((was, fields(&answer)[0].0.as_str()), (status, field), "{body}: {answer}");
    }
    assert!(files() == before, "a byte of the store has changed");
    // Held back by guards once it is planned.
    let tight = GuardLimits { max_day: Units(520_000_000), approval_above: Units(60_000_000), ..rules().guards };
    let settings = ApiSettings { payouts: PayoutRules { guards: tight, ..rules() }, ..ApiSettings::default() };
    payer.site.state.replace_settings(settings);
    let (_, held) = payer.ask(Method::POST, "/payouts/preview", Some(json!({}))).await;
    let waits: Vec<_> = held["payouts"].as_array().unwrap().iter().map(|p| p["waits"][0]["guard"].clone()).collect();
    assert_eq!(waits, [Value::Null, json!("day_cap")], "{held}");
}

#[tokio::test]
async fn the_history_is_filtered_and_goes_out_as_a_file() {
    let payer = Payer::new().await;
    let (a, b) = (payer.node("attic", 50).await, payer.node("basement", 50).await);
    payer.batch(json!({ "batch_id": "batch_one", "payout_requests": [pays(&a, "1"), pays(&b, "2")] })).await;
    payer.settle().await;
    payer.batch(json!({ "batch_id": "batch_two", "payout_requests": [pays(&a, "3")] })).await;
    let amounts = async |query: &str| {
        let list = payer.get(&format!("/nodes/payouts/history{query}")).await;
        list["payouts"].as_array().unwrap().iter().map(|payout| payout["amount"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(amounts("").await, ["3", "2", "1"]);
    assert_eq!(amounts("?batch_id=batch_one&order=asc").await, ["1", "2"]);
    assert_eq!(amounts(&format!("?from={}", soon(30))).await, ["3"]);
    assert_eq!(amounts(&format!("?to={}&status=completed", soon(30))).await, ["2", "1"]);
    assert_eq!(amounts(&format!("?from={}", soon(86_400))).await, Vec::<String>::new());
    let (status, answer) = payer.ask(Method::GET, "/nodes/payouts/history?from=yesterday&format=pdf", None).await;
    assert_eq!((status, fields(&answer).len()), (400, 2), "{answer}");
    assert_eq!(payer.ask(Method::GET, "/nodes/payouts/history?batch_id=batch_nobody", None).await.0, 404);
    let bearer = format!("Bearer {}", payer.token);
    let request =
        testing::request(Method::GET, "/api/v1/nodes/payouts/history?format=csv&batch_id=batch_one", None, &[("authorization", &bearer)]);
    let response = payer.site.send(request).await;
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
    let text = String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("payout_id,node_id,node_name,amount")
            && lines[1].contains(",attic,1,USDT,simulated,")
            && lines[2].contains("batch_one"),
        "{text}"
    );
}

#[tokio::test]
async fn the_key_of_webhooks_is_a_persons_to_make() {
    let payer = Payer::new().await;
    payer.site.driver.advance_ms(600_000);
    let (status, answer) = payer.ask(Method::POST, "/webhooks/key/rotate", None).await;
    assert_eq!((status, name(&answer)), (403, "FreshFactorNeeded"));
    payer.ask(Method::POST, "/auth/confirm", Some(json!({ "password": PASSWORD }))).await;
    let keys = [payer.ask(Method::POST, "/webhooks/key/rotate", None).await, payer.ask(Method::POST, "/webhooks/key/rotate", None).await];
    assert!(keys.iter().all(|(status, answer)| *status == 200 && answer["key"].as_str().is_some_and(|key| key.len() == 64)), "{keys:?}");
    assert_ne!(keys[0].1["key"], keys[1].1["key"]);
}

/// `cargo test --release --lib -- --ignored --nocapture a_thousand`
#[tokio::test]
#[ignore = "a measurement"]
async fn a_thousand_payouts_are_planned_and_reserved_in_one_commit() {
    let payer = Payer::new().await;
    let mut requests = Vec::new();
    for n in 0..crate::domain::batch::MAX_REQUESTS {
        requests.push(pays(&payer.node(&format!("node-{n}"), 50).await, "12.5"));
    }
    let body = json!({ "payout_requests": requests });
    let began = crate::clock::Stopwatch::start();
    let (status, answer) = payer.batch(body).await;
    println!("1,000 payouts: {} ms, request and commit", began.elapsed().as_millis());
    assert_eq!((status, payer.rows()[0]), (202, 1_000), "{answer}");
}
