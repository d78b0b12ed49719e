//! Nodes that leave: with what is owed to them given up, or paid once more, in a dry run and live, with a crash after every commit.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use lucid::clock::Driver;
use lucid::domain::audit::{Actor, Draft};
use lucid::domain::ids::UserId;
use lucid::domain::ledger::Settlement;
use lucid::domain::metrics::Sample;
use lucid::domain::money::Currency;
use lucid::domain::money_state::{GoneLive, MoneyState};
use lucid::domain::payout::{Attempt, AttemptState, Landed, Payout, Pin, Prepared};
use lucid::domain::time::{BootMs, Timestamp};
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Simulated, Transfer};
use lucid::live::Job;
use lucid::storage::core::money;
use lucid::storage::table::WriteTx;
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::client::{PASSWORD, error_name};
use crate::support::fleet::Node;
use crate::support::site::{START, Site};

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
/// Valid after a minute, and a cent a slot or so; no payout by itself.
const SETTINGS: [(&str, &str); 4] = [
    ("poot.min_observation_seconds", "60"),
    ("default_pool.cost_per_hour", "10"),
    ("payout.threshold_usdt", "1000"),
    ("payout.address_cooldown_hours", "0"),
];

/// Pays as the dry run does, in the live book; or the chain refuses.
#[derive(Debug, Default)]
struct Live {
    refuses: AtomicBool,
}

impl PaymentGateway for Live {
    fn pin(&self) -> Pin {
        Simulated.pin()
    }

    fn settlement(&self) -> Settlement {
        Settlement::Live
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(async { Simulated.prepare(transfers).await })
    }

    fn send<'a>(&'a self, attempt: &'a Attempt, sending: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(async move { Simulated.send(attempt, sending).await })
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        let refuses = self.refuses.load(Ordering::Relaxed);
        let one = move |payout: &Payout| match payout.attempts.last() {
            Some(attempt) if refuses && attempt.state != AttemptState::Signed => {
                let landed = Landed { txid: attempt.prepared.txid.clone(), fee_sun: 1 };
                Lookup::FailedOnChain { reason: "out of energy".into(), landed }
            }
            Some(attempt) => Simulated.lookup_one(attempt, now),
            None => Lookup::NotSeen,
        };
        Box::pin(std::future::ready(payouts.iter().map(one).collect()))
    }
}

async fn live_site(dir: &tempfile::TempDir, gateway: Arc<Live>) -> Site {
    let driver = Driver::new(START, BootMs(60_000));
    driver.set_synchronised(true);
    let settings = SETTINGS.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let mut site = Site::open_with(dir.path().join("data"), driver, settings, gateway).await;
    site.set_up().await;
    go_live(&site).await;
    site
}

async fn go_live(site: &Site) {
    let (now, pin) = (site.app.clock.now(), Simulated.pin());
    let by = UserId::parse("user_0123456789").unwrap();
    let live = GoneLive { at: now.wall, by, network: pin.network, wallet: pin.wallet, owed_from: None };
    let draft = Draft::new(now, Actor::Console, "money.live", "");
    let to =
        move |tx: &mut WriteTx<'_>| money::change(tx, draft.clone(), |state| Ok(MoneyState { live: Some(live.clone()), ..state.clone() }));
    site.app.store.write_money(to).await.unwrap();
}

async fn dry_site(dir: &tempfile::TempDir) -> Site {
    Site::new(dir.path().join("data"), &SETTINGS).await
}

/// Reports for so many slots, then lets them close; the payout cycle does not run.
async fn work(site: &Site, node: &mut Node, slots: u32) {
    for _ in 0..slots {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
    }
    rest(site, 15).await;
}

async fn rest(site: &Site, slots: u32) {
    for _ in 0..slots {
        site.next_slot(5_000);
    }
    site.app.context.run(Job::Flush).await.unwrap();
    site.app.context.run(Job::Epochs).await.unwrap();
}

async fn payouts(site: &Site) {
    site.app.context.run(Job::Payouts).await.unwrap();
}

async fn leave(site: &Site, node: &str, how: &str) -> (u16, Value) {
    let (status, body) = site.client.call(Method::DELETE, &format!("/nodes/{node}{how}"), None).await;
    (status.as_u16(), body)
}

async fn forfeited(site: &Site, node: &str) -> (u16, Value) {
    site.client.post("/auth/confirm", json!({ "password": PASSWORD })).await;
    leave(site, node, "?forfeit=true&reason=given%20up%20in%20writing").await
}

async fn paid_off(site: &Site, node: &str) -> (u16, Value) {
    site.client.post("/auth/confirm", json!({ "password": PASSWORD })).await;
    leave(site, node, "?final_payout=true").await
}

/// Account without its owner, in the book -> amount.
async fn balance(site: &Site, settlement: &str, account: &str) -> Decimal {
    assert_books(site).await;
    let balances = site.client.get("/ledger/balances").await;
    let books = balances["books"].as_array().unwrap().iter().filter(|book| book["settlement"] == settlement);
    let accounts = books.flat_map(|book| book["accounts"].as_array().unwrap().clone());
    let of = accounts.filter(|a| a["account"].as_str().unwrap().starts_with(account));
    of.map(|a| a["balance"].as_str().unwrap().parse::<Decimal>().unwrap()).sum()
}

async fn assert_books(site: &Site) {
    for book in site.client.get("/ledger/balances").await["books"].as_array().unwrap() {
        assert_eq!(book["sum"].as_str(), Some("0"), "{book}");
    }
    for finding in lucid::storage::verify::verify(&site.app.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
}

async fn final_payout(site: &Site, node: &str) -> Value {
    site.client.get(&format!("/nodes/{node}")).await["final_payout"].clone()
}

async fn is_gone(site: &Site, node: &str) -> bool {
    site.client.call(Method::GET, &format!("/nodes/{node}"), None).await.0 == StatusCode::NOT_FOUND
}

async fn alerts(site: &Site) -> Vec<String> {
    let open = site.client.get("/alerts?state=open").await;
    let kinds = open["alerts"].as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap().to_owned());
    kinds.filter(|kind| kind == "final_payout_blocked").collect()
}

async fn audited(site: &Site, operation: &str) -> Vec<Value> {
    let entries = site.client.get("/audit?limit=100").await["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["operation"] == operation).collect()
}

#[tokio::test]
async fn what_is_owed_is_given_up_by_an_admin_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let site = dry_site(&dir).await;
    let mut node = site.enrol("leaver").await;
    let id = node.id.to_string();
    work(&site, &mut node, 30).await;
    let refused = |(status, body): (u16, Value)| (status, error_name(&body).to_owned());
    let named = |status: u16, name: &str| (status, name.to_owned());
    assert_eq!(refused(leave(&site, &id, "").await), named(409, "NodeHasMoney"));
    for how in
        ["?forfeit=true", "?reason=because", "?forfeit=true&reason=no", "?forfeit=true&reason=because&final_payout=true", "?forfeit=1"]
    {
        assert_eq!(leave(&site, &id, how).await.0, 400, "{how}");
    }
    site.client.post("/users", json!({ "username": "olga", "password": PASSWORD, "role": "operator" })).await;
    let mut operator = site.client.anonymous();
    operator.sign_in("olga", PASSWORD).await;
    let ways = ["?forfeit=true&reason=because", "?final_payout=true"];
    for how in ways {
        let (status, body) = operator.call(Method::DELETE, &format!("/nodes/{id}{how}"), None).await;
        assert_eq!((status.as_u16(), error_name(&body)), (403, "NotAllowed"), "{how}");
    }
    site.client.post("/auth/confirm", json!({ "password": PASSWORD })).await;
    let made = site.client.post("/tokens", json!({ "name": "program", "role": "admin", "expires_in_days": 1 })).await;
    let program = site.client.with_token(made["token"].as_str().unwrap());
    for how in ways {
        let (status, body) = program.call(Method::DELETE, &format!("/nodes/{id}{how}"), None).await;
        assert_eq!((status.as_u16(), error_name(&body)), (403, "NotAllowed"), "programs decide nothing about money");
    }
    site.driver.advance_ms(6 * 60_000);
    site.app.context.tick();
    for how in ways {
        assert_eq!(refused(leave(&site, &id, how).await), named(403, "FreshFactorNeeded"), "{how}");
    }
    let shown = site.client.get(&format!("/nodes/{id}")).await;
    assert_eq!((&shown["eligible"], shown.get("final_payout")), (&json!("in_service"), None), "{shown}");
    assert_eq!(balance(&site, "live", "forfeited").await, Decimal::ZERO, "what was refused changed nothing");
    // Slots of an epoch that is still open go with it.
    for _ in 0..3 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.unwrap();
    }
    let (status, body) = forfeited(&site, &id).await;
    assert_eq!(status, 204, "{body}");
    assert!(is_gone(&site, &id).await);
    for book in ["live", "simulated"] {
        let given_up = balance(&site, book, "forfeited").await;
        assert!(given_up > Decimal::ONE, "{given_up} of about 2.5 are given up in the {book} book");
        assert_eq!((balance(&site, book, "pool_expense").await, balance(&site, book, "node_payable").await), (-given_up, Decimal::ZERO));
    }
    let entry = &audited(&site, "node.forfeit").await[0];
    let text = entry.to_string();
    assert!(text.contains("live USDT") && text.contains("simulated USDT") && text.contains("proven slots"), "{text}");
    assert!(text.contains("given up in writing"), "{text}");
    assert_eq!(audited(&site, "node.delete").await.len(), 1);
    // Epochs that close afterwards owe it nothing, and its name is free.
    rest(&site, 30).await;
    site.run_cycles().await;
    assert_books(&site).await;
    assert!(site.client.call(Method::POST, "/nodes", Some(json!({ "name": "leaver", "node_type": "worker" }))).await.0.is_success());
}

#[tokio::test]
async fn in_a_dry_run_the_last_payout_is_rehearsed_and_live_money_holds_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let site = dry_site(&dir).await;
    let mut node = site.enrol("leaver").await;
    let id = node.id.to_string();
    site.client.put(&format!("/nodes/{id}/payout-address"), json!({ "address": ADDRESS })).await;
    work(&site, &mut node, 30).await;
    let (status, shown) = paid_off(&site, &id).await;
    assert_eq!((status, &shown["eligible"], &shown["final_payout"]["stage"]), (202, &json!("draining"), &json!("closing")), "{shown}");
    // It is out of service at once, and nothing brings it back but the end of its request.
    let put = async |body: Value| site.client.call(Method::PUT, &format!("/nodes/{id}"), Some(body)).await;
    for body in [json!({ "status": "active" }), json!({ "status": "maintenance" })] {
        let (status, answer) = put(body.clone()).await;
        assert_eq!((status.as_u16(), error_name(&answer)), (409, "NodeLeaving"), "{body}");
    }
    for path in ["maintenance", "start"] {
        let (status, answer) = site.client.call(Method::POST, &format!("/nodes/{id}/{path}"), Some(json!({}))).await;
        assert_eq!((status.as_u16(), error_name(&answer)), (409, "NodeLeaving"), "{path}");
    }
    work(&site, &mut node, 10).await;
    for _ in 0..3 {
        payouts(&site).await;
        rest(&site, 5).await;
    }
    let history = site.client.get(&format!("/nodes/{id}/payouts")).await;
    assert_eq!(
        (&history["payouts"][0]["status"], &history["payouts"][0]["settlement"]),
        (&json!("completed"), &json!("simulated")),
        "{history}"
    );
    let paid: Decimal = history["payouts"][0]["amount"].as_str().unwrap().parse().unwrap();
    assert!((2.into()..3.into()).contains(&paid), "thirty slots at 10 an hour, and none of the ten after: {paid}");
    let stands = final_payout(&site, &id).await;
    assert_eq!(
        (&stands["stage"], &stands["held_by"], &stands["payout_id"]),
        (&json!("held"), &json!("owed_live"), &history["payouts"][0]["payout_id"])
    );
    assert_eq!(alerts(&site).await.len(), 1);
    assert_eq!((balance(&site, "live", "node_payable").await, balance(&site, "simulated", "node_payable").await), (paid, Decimal::ZERO));
    let commits = site.app.store.core.commits();
    payouts(&site).await;
    assert_eq!(site.app.store.core.commits(), commits, "what is held is not written again");
    // An admin's word ends it.
    assert_eq!(forfeited(&site, &id).await.0, 204);
    assert_eq!((balance(&site, "live", "forfeited").await, balance(&site, "simulated", "forfeited").await), (paid, Decimal::ZERO));
    assert_eq!(alerts(&site).await, [] as [String; 0]);
    assert!(is_gone(&site, &id).await);
    payouts(&site).await;
}

#[tokio::test]
async fn a_request_is_cancelled_and_a_payout_that_has_not_ended_keeps_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let site = dry_site(&dir).await;
    let mut node = site.enrol("stayer").await;
    let id = node.id.to_string();
    let cancel = async || site.client.call(Method::DELETE, &format!("/nodes/{id}/final-payout"), None).await;
    assert_eq!(error_name(&cancel().await.1), "FinalPayoutNotFound");
    site.client.post("/users", json!({ "username": "olga", "password": PASSWORD, "role": "operator" })).await;
    site.client.put(&format!("/nodes/{id}/payout-address"), json!({ "address": ADDRESS })).await;
    site.client.post(&format!("/nodes/{id}/maintenance"), json!({ "from": START.plus_seconds(86_400).rfc3339() })).await;
    work(&site, &mut node, 20).await;
    paid_off(&site, &id).await;
    let off = site.client.get(&format!("/nodes/{id}/maintenance")).await;
    assert_eq!(off["maintenance"][0]["state"], "called_off", "who leaves has no plans");
    rest(&site, 12).await;
    payouts(&site).await;
    payouts(&site).await;
    assert_eq!(final_payout(&site, &id).await["stage"], "paying");
    let (status, body) = forfeited(&site, &id).await;
    assert_eq!((status, error_name(&body)), (409, "PayoutUnresolved"));
    site.driver.advance_ms(6 * 60_000);
    site.app.context.tick();
    assert_eq!(error_name(&cancel().await.1), "FreshFactorNeeded");
    let mut operator = site.client.anonymous();
    operator.sign_in("olga", PASSWORD).await;
    let (status, body) = operator.call(Method::DELETE, &format!("/nodes/{id}/final-payout"), None).await;
    assert_eq!((status.as_u16(), error_name(&body)), (403, "NotAllowed"));
    assert_eq!(final_payout(&site, &id).await["stage"], "paying", "what was refused changed nothing");
    site.client.post("/auth/confirm", json!({ "password": PASSWORD })).await;
    let (status, shown) = cancel().await;
    assert_eq!((status.as_u16(), &shown["eligible"], shown.get("final_payout")), (200, &json!("in_service"), None), "{shown}");
    rest(&site, 5).await;
    payouts(&site).await;
    let history = site.client.get(&format!("/nodes/{id}/payouts")).await;
    assert_eq!(history["payouts"][0]["status"], "completed", "what was on its way goes on");
    work(&site, &mut node, 12).await;
    assert!(site.client.get(&format!("/nodes/{id}")).await["accrued"].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "it earns again");
    let done: Vec<String> = audited(&site, "node.final_payout.cancel").await.iter().map(|e| e["subject"].to_string()).collect();
    assert_eq!(done.len(), 1);
    // Nothing was ever owed to this one.
    let bare = site.client.post("/nodes", json!({ "name": "bare", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    assert_eq!(paid_off(&site, &bare).await.0, 202);
    payouts(&site).await;
    assert!(is_gone(&site, &bare).await);
}

#[tokio::test]
async fn what_cannot_be_paid_is_said_and_goes_on_when_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(Live::default());
    let site = live_site(&dir, Arc::clone(&gateway)).await;
    let mut node = site.enrol("leaver").await;
    let id = node.id.to_string();
    work(&site, &mut node, 30).await;
    paid_off(&site, &id).await;
    payouts(&site).await;
    assert_eq!(final_payout(&site, &id).await["stage"], "closing", "its last epoch is open");
    rest(&site, 12).await;
    payouts(&site).await;
    payouts(&site).await;
    let stands = final_payout(&site, &id).await;
    assert_eq!((&stands["stage"], &stands["held_by"]), (&json!("held"), &json!("no_address")), "{stands}");
    assert_eq!(alerts(&site).await.len(), 1);
    // The chain refuses: a person asks again.
    gateway.refuses.store(true, Ordering::Relaxed);
    site.client.put(&format!("/nodes/{id}/payout-address"), json!({ "address": ADDRESS })).await;
    for _ in 0..3 {
        payouts(&site).await;
        rest(&site, 3).await;
    }
    assert_eq!(final_payout(&site, &id).await["held_by"], "payout_failed");
    assert_eq!(site.client.get(&format!("/nodes/{id}/payouts")).await["pagination"]["total"], 1, "it is not tried again by itself");
    gateway.refuses.store(false, Ordering::Relaxed);
    assert_eq!(paid_off(&site, &id).await.1["final_payout"]["stage"], "paying");
    assert_eq!(alerts(&site).await, [] as [String; 0]);
    for _ in 0..3 {
        payouts(&site).await;
        rest(&site, 3).await;
    }
    assert!(is_gone(&site, &id).await);
    assert_paid_once(&site).await;
}

/// Live: paid to the last unit, and what the dry run's book said is given up.
async fn assert_paid_once(site: &Site) {
    let paid = balance(site, "live", "node_paid").await;
    assert!((2.into()..3.into()).contains(&paid), "{paid}");
    for account in ["node_payable", "node_reserved", "forfeited"] {
        assert_eq!(balance(site, "live", account).await, Decimal::ZERO, "{account}");
    }
    assert_eq!((balance(site, "simulated", "forfeited").await, balance(site, "simulated", "node_payable").await), (paid, Decimal::ZERO));
    let done = audited(site, "node.final_payout.done").await;
    assert!(done.len() == 1 && done[0].to_string().contains("simulated USDT"), "{done:?}");
    assert_eq!(audited(site, "node.delete").await.len(), 1);
}

/// Runs a cycle until it has made one commit, and no further. True when it ended by itself.
async fn one_commit(site: &Site, job: Job) -> bool {
    let before = site.app.store.core.commits();
    let mut cycle = pin!(site.app.context.run(job));
    // The cycle goes on only when it is asked: after the answer to its commit it never is.
    std::future::poll_fn(|context| {
        if site.app.store.core.commits() > before {
            return Poll::Ready(false);
        }
        cycle.as_mut().poll(context).map(|ended| ended.is_ok())
    })
    .await
}

#[tokio::test]
async fn a_crash_after_every_commit_pays_once_and_deletes_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = live_site(&dir, Arc::default()).await;
    let mut node = site.enrol("leaver").await;
    let id = node.id.to_string();
    site.client.put(&format!("/nodes/{id}/payout-address"), json!({ "address": ADDRESS })).await;
    work(&site, &mut node, 30).await;
    paid_off(&site, &id).await;
    rest(&site, 12).await;
    let mut crashes = 0;
    while !is_gone(&site, &id).await {
        if one_commit(&site, Job::Payouts).await {
            // Nothing more to do until time passes.
            rest(&site, 1).await;
        }
        crashes += 1;
        assert!(crashes < 60, "it leaves some day");
        site = site.crash().await;
        assert_books(&site).await;
    }
    assert!(crashes >= 8, "posting, planning, signing, sending, seen, paid, deleted: {crashes}");
    assert_paid_once(&site).await;
    payouts(&site).await;
    assert_paid_once(&site).await;
}
