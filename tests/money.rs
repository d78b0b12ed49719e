//! Payouts through the front door: what stops them, what people decide, and what really left the wallet.

mod claims;
mod comparisons;

use std::sync::Arc;

use lucid::clock::Driver;
use lucid::domain::audit::Act;
use lucid::domain::ledger::Settlement;
use lucid::domain::metrics::Sample;
use lucid::domain::time::BootMs;
use lucid::gateways::payment::{PaymentGateway, Simulated};
use lucid::live::Job;
use lucid::storage::core::money_actions;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::bank::{Bank, Fate};
use crate::support::client::{Client, PASSWORD, error_name};
use crate::support::site::{START, Site};

/// Addresses of the nodes of these tests, and one that is nobody's.
const ADDRESSES: [&str; 3] =
    ["TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "TJ36JAfgcokzhLaxKgfTEd9RhgSiQRTDt1", "TZGgSp4BeCmxJKthLDNCug9wdYweobtoxz"];
const USDT: i64 = 1_000_000;

/// A manager with a bank for a gateway, and nodes that are owed something.
struct Desk {
    site: Site,
    bank: Arc<Bank>,
    nodes: Vec<String>,
}

impl Desk {
    async fn new(dir: &tempfile::TempDir, bank: Bank, settings: &[(&'static str, &str)]) -> Desk {
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let standard = [
            ("poot.min_observation_seconds", "60"),
            ("payout.threshold_usdt", "10"),
            ("payout.address_cooldown_hours", "0"),
            ("payout.max_fee_percent", "0"),
        ];
        let chosen = standard.iter().filter(|(key, _)| !settings.iter().any(|(other, _)| other == key));
        let settings = chosen.chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let bank = Arc::new(bank);
        let mut site = Site::open_with(dir.path().join("data"), driver, settings, bank.clone()).await;
        site.set_up().await;
        let mut desk = Desk { site, bank, nodes: Vec::new() };
        desk.first_epoch().await;
        desk.site.app.context.run(Job::Wallet).await.unwrap();
        desk
    }

    /// A live bank that has gone live with everything owed.
    async fn live(dir: &tempfile::TempDir, settings: &[(&'static str, &str)]) -> Desk {
        let desk = Desk::new(dir, Bank::new(Settlement::Live, 100_000 * USDT), settings).await;
        desk.client().post("/money/live", json!({ "owed": "everything" })).await;
        desk
    }

    fn client(&self) -> &Client {
        &self.site.client
    }

    /// Nothing is planned before an epoch was closed.
    async fn first_epoch(&mut self) {
        let mut node = self.site.enrol("first-one").await;
        node.report(self.site.now_ms(), Sample::default()).await.expect("the report is answered");
        self.site.first_epoch().await;
    }

    /// Lets time pass without anything happening.
    fn pass_minutes(&self, minutes: i64) {
        self.site.driver.advance_ms(minutes * 60_000);
        self.site.app.context.tick();
    }

    /// A node that is owed so many USDT in every book, with an address.
    async fn owe(&mut self, name: &str, address: &str, usdt: i64) -> String {
        let node = self.client().post("/nodes", node_body(name)).await["node_id"].as_str().unwrap().to_owned();
        self.client().put(&format!("/nodes/{node}/payout-address"), json!({ "address": address })).await;
        self.adjust(&node, usdt).await;
        self.nodes.push(node.clone());
        node
    }

    async fn adjust(&self, node: &str, usdt: i64) {
        for settlement in ["live", "simulated"] {
            self.site.owe(node, (&usdt.to_string(), "USDT"), settlement).await;
        }
    }

    async fn cycle(&self) {
        self.site.app.context.run(Job::Payouts).await.unwrap();
        self.check().await;
    }

    async fn track(&self) {
        self.site.app.context.run(Job::Tracking).await.unwrap();
        self.check().await;
    }

    async fn look(&self) {
        self.site.app.context.run(Job::Wallet).await.unwrap();
    }

    async fn payouts(&self) -> Vec<Value> {
        self.client().get("/nodes/payouts/history").await["payouts"].as_array().unwrap().clone()
    }

    async fn only_payout(&self) -> Value {
        let all = self.payouts().await;
        assert_eq!(all.len(), 1, "{all:?}");
        let id = all[0]["payout_id"].as_str().unwrap();
        self.client().get(&format!("/nodes/payouts/{id}")).await
    }

    async fn money(&self) -> Value {
        self.client().get("/money").await
    }

    async fn decide(&self, payout: &Value, body: Value) -> Value {
        self.client().post(&format!("/nodes/payouts/{}/decide", payout["payout_id"].as_str().unwrap()), body).await
    }

    /// The name of the refusal.
    async fn refused(&self, path: &str, body: Value) -> String {
        self.client().post("/auth/confirm", json!({ "password": PASSWORD })).await;
        let (status, answer) = self.client().call(Method::POST, path, Some(body)).await;
        assert!(!status.is_success(), "{path}: {answer}");
        error_name(&answer).to_owned()
    }

    async fn alerts(&self) -> Vec<String> {
        let open = self.client().get("/alerts?state=open&limit=100").await;
        let mut kinds: Vec<String> = open["alerts"].as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap().to_owned()).collect();
        kinds.retain(|kind| kind.contains("pay") || kind.contains("wallet"));
        kinds.sort();
        kinds
    }

    /// The books add up, and say exactly what the bank paid.
    async fn check(&self) {
        for finding in lucid::storage::verify::verify(&self.site.app.store) {
            assert_eq!(finding.wrong, None, "{}", finding.part);
        }
    }

    /// What the audit log has of a payout that is of this operation, oldest first: whether it succeeded, and why.
    async fn audited(&self, payout: &Value, operation: &str) -> Vec<(bool, String)> {
        let path = format!("/audit?subject={}&operation={operation}&limit=100", payout["payout_id"].as_str().unwrap());
        let listed = self.client().get(&path).await;
        let mut entries: Vec<(bool, String)> = listed["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["success"].as_bool().unwrap(), entry["reason"].as_str().unwrap_or_default().to_owned()))
            .collect();
        entries.reverse();
        entries
    }

    async fn admin(&self, name: &str) -> Client {
        self.client().post("/users", json!({ "username": name, "password": PASSWORD, "role": "admin" })).await;
        let mut client = self.client().anonymous();
        client.sign_in(name, PASSWORD).await;
        client
    }
}

fn node_body(name: &str) -> Value {
    json!({
        "name": name,
        "node_type": "worker",
        "hardware_info": {
            "cpu": { "cores": 4 }, "memory": { "total_bytes": 4_000_000_000_u64 }, "storage": { "total_bytes": 64_000_000_000_u64 },
            "network": [{ "interface": "eth0" }]
        }
    })
}

#[tokio::test]
async fn nothing_moves_before_somebody_decides_what_is_owed() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(&dir, Bank::new(Settlement::Live, 1_000 * USDT), &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    assert_eq!((desk.payouts().await.len(), desk.money().await["needs_going_live"].clone()), (0, json!(true)));

    let plan = desk.client().post("/money/live", json!({ "owed": "everything", "dry_run": true })).await;
    assert_eq!((&plan["sum_usdt"], &plan["money"]), (&json!("0"), &Value::Null));
    assert_eq!(desk.money().await["live"], Value::Null, "a dry run changes nothing");
    desk.client().post("/money/live", json!({ "owed": "everything" })).await;
    desk.cycle().await;
    let payout = desk.only_payout().await;
    assert_eq!((&payout["status"], &payout["settlement"], &payout["amount"]), (&json!("completed"), &json!("live"), &json!("25")));
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
    let told: Vec<&str> = payout["timeline"].as_array().unwrap().iter().map(|moment| moment["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["planned", "signed", "sent", "paid"]);
    assert_eq!(payout["attempts_made"][0]["fee_sun"], "13000000");
    assert_eq!(desk.refused("/money/live", json!({ "owed": "everything" })).await, "AlreadyLive");
}

#[tokio::test]
async fn going_live_from_a_date_cancels_what_was_earned_before_and_says_how_much_first() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("default_pool.cost_per_hour", "10"), ("payout.threshold_usdt", "1000")];
    let desk = Desk::new(&dir, Bank::new(Settlement::Live, 1_000 * USDT), &settings).await;
    let mut worker = desk.site.enrol("early-bird").await;
    for _ in 0..60 {
        desk.site.next_slot(5_000);
        worker.report(desk.site.now_ms(), Sample::default()).await.expect("the report is answered");
    }
    desk.site.pass_slots(15).await;
    // Into the next day, so that the day is posted.
    desk.pass_minutes(24 * 60);
    for job in [Job::Flush, Job::Epochs, Job::Postings] {
        desk.site.app.context.run(job).await.unwrap();
    }
    let balance = async |settlement: &str| {
        let books = desk.client().get("/ledger/balances").await;
        let of = books["books"].as_array().unwrap().iter().find(|book| book["settlement"] == settlement).unwrap().clone();
        let account = format!("node_payable:{}", worker.id);
        of["accounts"].as_array().unwrap().iter().find(|a| a["account"] == account.as_str()).unwrap()["balance"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let earned = balance("live").await;
    let from = json!({ "owed": "from", "from": lucid::domain::time::Timestamp(desk.site.now_ms()).rfc3339() });
    let mut dry = from.clone();
    dry["dry_run"] = json!(true);
    let plan = desk.client().post("/money/live", dry).await;
    assert_eq!((plan["cancelled"][0]["amount"].as_str(), balance("live").await), (Some(earned.as_str()), earned.clone()));
    desk.client().post("/money/live", from).await;
    assert_eq!((balance("live").await, balance("simulated").await), ("0".to_owned(), earned), "the dry run's book keeps its history");
    desk.check().await;
    for wrong in [
        json!({ "owed": "from" }),
        json!({ "owed": "everything", "from": "2026-01-01T00:00:00Z" }),
        json!({ "owed": "from", "from": "2999-01-01T00:00:00Z" }),
    ] {
        assert_eq!(desk.refused("/money/live", wrong).await, "Invalid");
    }
}

#[tokio::test]
async fn a_transfer_that_nothing_here_planned_freezes_until_it_is_booked() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 1);
    // An older copy of the store paid again, as it were.
    let txid = desk.bank.spend(ADDRESSES[0], 7 * USDT, true);
    desk.adjust(&node, 30).await;
    desk.pass_minutes(25 * 60);
    desk.cycle().await;
    let money = desk.money().await;
    assert_eq!((&money["frozen"]["kind"], &money["unknown_transfers"]), (&json!("unknown_transfer"), &json!(1)), "{money}");
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 2, "the next payout is planned and not signed");
    assert!(desk.alerts().await.contains(&"payouts_frozen".to_owned()));

    assert_eq!(desk.refused("/money/unfreeze", json!({ "reason": "looks fine" })).await, "NotReconciled");
    let listed = desk.client().get("/money/unknown-transfers").await["transfers"][0].clone();
    assert_eq!((&listed["transaction_hash"], &listed["node_id"], &listed["amount"]), (&json!(txid), &json!(node), &json!("7")));
    assert_eq!(desk.refused("/money/unknown-transfers/nothing/book", json!({})).await, "TransferNotFound");
    // By settings that make a dry run of it, it would be booked where nobody is owed real money.
    let (secrets, act, id) = (desk.site.app.store.secrets.clone(), Act::system(desk.site.app.clock.now()), txid.clone());
    let dry = desk.site.app.store.write_money(move |tx| {
        money_actions::book_transfer(tx, &act, &secrets, &Simulated.payer(), &id, &money_actions::BookTo::Unexplained)
    });
    assert!(format!("{:?}", dry.await).contains("OtherNetwork"));
    // It went to the address of that node: nobody else is charged with it, and it is not forgotten.
    let other = desk.owe("worker-2", ADDRESSES[1], 1).await;
    for wrong in [json!({}), json!({ "node_id": other })] {
        assert_eq!(desk.refused(&format!("/money/unknown-transfers/{txid}/book"), wrong).await, "AddressOfNode");
    }
    desk.client().post(&format!("/money/unknown-transfers/{txid}/book"), json!({ "node_id": node })).await;
    let cancelled = desk.payouts().await.iter().filter(|payout| payout["status"] == "cancelled").count();
    assert_eq!(cancelled, 1, "it may be what the transfer paid: planned anew from what is left");
    assert_eq!(desk.refused(&format!("/money/unknown-transfers/{txid}/book"), json!({})).await, "TransferBooked");
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "a copy of the card ran for an hour" })).await;
    desk.cycle().await;
    desk.track().await;
    assert!(desk.alerts().await.is_empty(), "{:?}", desk.alerts().await);
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 3);
    desk.check().await;
    // Two nodes of one person: either may have been meant.
    let twin = desk.owe("worker-3", ADDRESSES[0], 9).await;
    let txid = desk.bank.spend(ADDRESSES[0], 3 * USDT, true);
    desk.pass_minutes(61);
    desk.look().await;
    desk.client().post("/auth/confirm", json!({ "password": PASSWORD })).await;
    desk.client().post(&format!("/money/unknown-transfers/{txid}/book"), json!({ "node_id": twin })).await;
}

#[tokio::test]
async fn what_nobody_booked_holds_the_network_that_it_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    let txid = desk.bank.spend(ADDRESSES[0], 7 * USDT, true);
    desk.pass_minutes(61);
    desk.cycle().await;
    assert_eq!(desk.money().await["frozen"]["kind"], "unknown_transfer");
    let (frozen, Desk { site, bank, nodes }) = (desk.money().await["frozen"].clone(), desk);
    let unfreeze = async |desk: &Desk| {
        desk.look().await;
        desk.refused("/money/unfreeze", json!({ "reason": "looked at" })).await
    };
    let listed = async |desk: &Desk| desk.client().get("/money/unknown-transfers").await["transfers"][0].clone();
    let book = format!("/money/unknown-transfers/{txid}/book");

    let other = Arc::new(Bank::new(Settlement::Live, 1_000 * USDT).over("other"));
    let desk = Desk { site: site.crash_with(other.clone()).await, bank: other, nodes };
    desk.client().post("/auth/confirm", json!({ "password": PASSWORD })).await;
    desk.look().await;
    desk.client().post("/money/live", json!({ "owed": "everything" })).await;
    desk.cycle().await;
    let money = desk.money().await;
    assert_eq!((&money["frozen"], &money["unknown_transfers"]), (&frozen, &json!(0)), "a freeze ends by a person alone");
    let row = listed(&desk).await;
    assert_eq!((&row["transaction_hash"], &row["network"], &row["holds"]), (&json!(txid), &json!("bank"), &json!(false)));
    assert_eq!(desk.refused(&book, json!({ "node_id": node })).await, "OtherNetwork");
    desk.client().post("/money/unfreeze", json!({ "reason": "it is not of this network" })).await;
    desk.cycle().await;
    desk.track().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.money().await["frozen"].clone()), (vec![25 * USDT], Value::Null));
    let waiting = desk.client().get("/alerts?state=open&kind=transfers_not_booked").await["alerts"].clone();
    assert_eq!(waiting.as_array().unwrap().len(), 1, "it is not forgotten");
    // What leaves this network's wallet holds it as ever.
    desk.bank.spend(ADDRESSES[1], 3 * USDT, true);
    desk.pass_minutes(61);
    desk.cycle().await;
    assert_eq!(unfreeze(&desk).await, "NotReconciled");
    let second = desk.client().get("/money/unknown-transfers").await["transfers"].as_array().unwrap().clone();
    let second = second.iter().find(|row| row["holds"] == true).unwrap()["transaction_hash"].as_str().unwrap().to_owned();
    desk.client().post(&format!("/money/unknown-transfers/{second}/book"), json!({})).await;
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "booked" })).await;

    // Back on the first network it holds again, before anything is signed.
    let Desk { site, nodes, .. } = desk;
    let desk = Desk { site: site.crash_with(bank.clone()).await, bank, nodes };
    desk.client().post("/auth/confirm", json!({ "password": PASSWORD })).await;
    desk.adjust(&node, 30).await;
    desk.pass_minutes(25 * 60);
    desk.bank.offline(true);
    desk.track().await;
    assert_eq!(desk.money().await["frozen"]["kind"], "unknown_transfer", "whether or not the network can be asked");
    desk.bank.offline(false);
    desk.client().post("/money/live", json!({ "owed": "everything" })).await;
    desk.cycle().await;
    assert_eq!((unfreeze(&desk).await, desk.bank.paid(ADDRESSES[0])), ("NotReconciled".into(), vec![7 * USDT]));
    assert_eq!((&listed(&desk).await["holds"], &desk.money().await["unknown_transfers"]), (&json!(true), &json!(1)));
    let waiting = desk.client().get("/alerts?state=open&kind=transfers_not_booked").await["alerts"].clone();
    assert_eq!(waiting, json!([]), "the freeze is the alert");
    desk.client().post(&book, json!({ "node_id": node })).await;
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "booked" })).await;
    desk.cycle().await;
    desk.track().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [7 * USDT, 23 * USDT], "what it paid in advance is not paid again");
}

#[tokio::test]
async fn money_that_nobody_lists_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.look().await;
    desk.bank.spend("TZGgSp4BeCmxJKthLDNCug9wdYweobtoxz", 50 * USDT, false);
    desk.pass_minutes(61);
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    let money = desk.money().await;
    assert_eq!(money["frozen"]["kind"], "missing_funds", "{money}");
    let row = desk.client().get("/money/unknown-transfers").await["transfers"][0].clone();
    assert_eq!((row["amount"].as_str(), row["to"].as_str()), (Some("50"), Some("unknown")));
    desk.client().post(&format!("/money/unknown-transfers/{}/book", row["transaction_hash"].as_str().unwrap()), json!({})).await;
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "found out" })).await;
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
}

#[tokio::test]
async fn a_freeze_and_a_stop_hold_signing_and_a_stop_sending_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.client().post("/money/freeze", json!({ "reason": "just looking" })).await;
    desk.cycle().await;
    let waits = desk.only_payout().await;
    assert_eq!((&waits["status"], &waits["waiting"]["why"]), (&json!("pending"), &json!("frozen")));
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "looked" })).await;

    // Sent into nothing: the same bytes are sent again with each look, until a stop.
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    let before = desk.bank.sent();
    desk.track().await;
    assert_eq!(desk.bank.sent(), before + 1);
    desk.client().post("/money/stop", json!({ "reason": "something is wrong" })).await;
    desk.track().await;
    assert_eq!(desk.bank.sent(), before + 1, "a stop keeps bytes from being sent again");
    assert_eq!(desk.alerts().await, ["payouts_stopped"]);
    // Looking goes on: it turns out to have landed.
    desk.bank.fate(ADDRESSES[0], Fate::Pays);
    desk.client().post("/money/resume", json!({ "reason": "it was nothing" })).await;
    desk.track().await;
    desk.track().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.only_payout().await["status"].clone()), (vec![25 * USDT], json!("completed")));
    assert_eq!(desk.refused("/money/resume", json!({ "reason": "again" })).await, "NotStopped");
}

#[tokio::test]
async fn what_is_beyond_the_threshold_waits_for_a_second_admin_who_agrees_to_exactly_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[("payout.approval_above_usdt", "30")]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.owe("worker-2", ADDRESSES[1], 20).await;
    let second = desk.admin("second").await;
    desk.cycle().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]).len(), desk.bank.paid(ADDRESSES[1]).len()), (1, 0), "up to the threshold nobody is asked");
    assert_eq!(desk.alerts().await, ["payout_approval"]);
    let shown = desk.client().get("/payouts/approvals").await;
    assert_eq!((shown["payouts"].as_array().unwrap().len(), &shown["sum"]), (1, &json!("20")));
    let digest = shown["digest"].as_str().unwrap().to_owned();
    assert_eq!(desk.refused("/payouts/approvals", json!({ "digest": "0".repeat(64) })).await, "ApprovalStale");
    second.post("/payouts/approvals", json!({ "digest": digest })).await;
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[1]), [20 * USDT]);
    desk.track().await;
    assert!(desk.alerts().await.is_empty());
    assert_eq!(desk.refused("/payouts/approvals", json!({ "digest": digest })).await, "ApprovalStale", "it was for those alone");
}

#[tokio::test]
async fn where_one_admin_is_all_there_is_a_day_passes_instead() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[("payout.approval_above_usdt", "10")]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    let waits = desk.only_payout().await["waiting"].clone();
    assert_eq!(waits["why"], "lone_admin");
    assert!(waits["until"].is_string());
    desk.pass_minutes(23 * 60 + 59);
    desk.cycle().await;
    assert!(desk.bank.paid(ADDRESSES[0]).is_empty());
    desk.pass_minutes(2);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
}

#[tokio::test]
async fn caps_of_an_hour_a_day_a_payout_and_a_class_hold() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("payout.max_usdt", "40"),
        ("payout.max_hour_usdt", "60"),
        ("payout.max_day_usdt", "75"),
        ("payout.class_limits", "worker=30/1000"),
    ];
    let mut desk = Desk::live(&dir, &settings).await;
    desk.owe("worker-1", ADDRESSES[0], 100).await;
    desk.owe("worker-2", ADDRESSES[1], 25).await;
    desk.owe("worker-3", ADDRESSES[2], 20).await;
    desk.cycle().await;
    let whys = async || {
        let mut whys = Vec::new();
        for payout in desk.payouts().await {
            let one = desk.client().get(&format!("/nodes/payouts/{}", payout["payout_id"].as_str().unwrap())).await;
            whys.extend(one["waiting"]["why"].as_str().map(str::to_owned));
        }
        whys
    };
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [30 * USDT], "as much as one payout to its class may be");
    assert_eq!((desk.bank.paid(ADDRESSES[1]).len(), whys().await), (1, vec!["hour_cap".to_owned()]));
    desk.pass_minutes(61);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[2]), [20 * USDT], "75 in a day are just allowed");
    desk.pass_minutes(24 * 60 - 61);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 2, "the first ones are a day old");
}

#[tokio::test]
async fn who_must_not_be_paid_and_what_costs_too_much_is_left_out_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("payout.blocked_addresses", ADDRESSES[1]), ("payout.max_fee_percent", "20")];
    let mut desk = Desk::live(&dir, &settings).await;
    desk.look().await;
    let cheap = desk.owe("worker-1", ADDRESSES[0], 15).await;
    desk.owe("worker-2", ADDRESSES[1], 500).await;
    desk.cycle().await;
    assert!(desk.payouts().await.is_empty(), "nobody has said what a TRX is worth");
    // 130,285 energy and 345 bytes are 13.3735 TRX, 4.01 USDT at 0.30: a fifth of 20.07.
    desk.client().put("/money/trx-rate", json!({ "usdt": "0.30" })).await;
    let wallet = desk.client().get("/wallet").await;
    assert_eq!(
        (wallet["reading"]["effective_minimum"].as_str(), wallet["reading"]["fee_trx_new"].as_str()),
        (Some("20.06025"), Some("13.3735"))
    );
    desk.cycle().await;
    assert!(desk.payouts().await.is_empty(), "15 are not enough for the fee");
    desk.adjust(&cheap, 6).await;
    desk.cycle().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.bank.paid(ADDRESSES[1]).len()), (vec![21 * USDT], 0));
    assert_eq!(desk.alerts().await, ["payout_carried_over"], "the blocked one needs a person");
    desk.adjust(&cheap, 30).await;
    desk.pass_minutes(31 * 24 * 60);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 1, "the rate is too old");
    let wrong = ["0", "-1", "1001", "0.1234567", "\"x\""];
    desk.client().post("/auth/confirm", json!({ "password": PASSWORD })).await;
    for rate in wrong {
        let body: Value = serde_json::from_str(&format!("{{\"usdt\": {rate}}}")).unwrap();
        assert_eq!(desk.client().call(Method::PUT, "/money/trx-rate", Some(body)).await.0, StatusCode::BAD_REQUEST, "{rate}");
    }
}

#[tokio::test]
async fn what_the_fee_holds_back_for_fourteen_days_is_an_alert_until_it_is_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[("payout.max_fee_percent", "20")]).await;
    desk.client().put("/money/trx-rate", json!({ "usdt": "0.30" })).await;
    desk.look().await;
    let node = desk.owe("worker-1", ADDRESSES[0], 15).await;
    desk.cycle().await;
    desk.pass_minutes(14 * 24 * 60 - 1);
    desk.cycle().await;
    assert_eq!((desk.alerts().await, desk.payouts().await.len()), (Vec::new(), 0));
    desk.pass_minutes(1);
    desk.cycle().await;
    assert_eq!(desk.alerts().await, ["payout_carried_over"]);
    desk.adjust(&node, 6).await;
    desk.cycle().await;
    desk.cycle().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.alerts().await), (vec![21 * USDT], Vec::new()));
}

#[tokio::test]
async fn a_payout_that_nobody_can_tell_about_waits_for_a_person_with_safe_choices() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Ambiguous);
    desk.cycle().await;
    let payout = desk.only_payout().await;
    assert_eq!(
        (&payout["status"], &payout["review"]["kind"], &payout["choices"]),
        (&json!("processing"), &json!("ambiguous"), &json!(["check_again", "accept_paid"]))
    );
    assert_eq!(desk.alerts().await, ["payout_review"]);
    let path = format!("/nodes/payouts/{}/decide", payout["payout_id"].as_str().unwrap());
    for choice in ["new_attempt", "cancel"] {
        assert_eq!(desk.refused(&path, json!({ "choice": choice })).await, "NotDecidable", "it can still land");
    }
    for wrong in [
        json!({ "choice": "accept_paid" }),
        json!({ "choice": "check_again", "statement": "no" }),
        json!({ "choice": "accept_paid", "transaction_hash": "a b" }),
    ] {
        assert_eq!(desk.refused(&path, wrong).await, "Invalid");
    }
    let other = json!({ "choice": "accept_paid", "transaction_hash": "0".repeat(64) });
    assert_eq!(desk.refused(&path, other).await, "NotDecidable", "its own transaction can still land");
    let sent = desk.bank.sent();
    desk.track().await;
    assert_eq!(desk.bank.sent(), sent, "what waits for a person is not sent again");
    // It lands after all.
    desk.bank.fate(ADDRESSES[0], Fate::Pays);
    desk.decide(&payout, json!({ "choice": "check_again" })).await;
    desk.track().await;
    desk.track().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.only_payout().await["status"].clone()), (vec![25 * USDT], json!("completed")));
    assert!(desk.alerts().await.is_empty());
}

#[tokio::test]
async fn what_a_standing_review_is_told_is_audited_and_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    let payout = desk.only_payout().await;
    let path = format!("/nodes/payouts/{}/hold", payout["payout_id"].as_str().unwrap());
    desk.client().post(&path, json!({ "reason": "Mallory called" })).await;
    desk.bank.fate(ADDRESSES[0], Fate::Ambiguous);
    for _ in 0..3 {
        desk.track().await;
    }
    let mut told = vec![(true, "ambiguous".to_owned())];
    assert_eq!(desk.audited(&payout, "payout.evidence").await, told, "once, and without what a person wrote");
    let review = desk.only_payout().await["review"].clone();
    assert_eq!((&review["kind"], &review["evidence"]), (&json!("ambiguous"), &json!(["Mallory called", "no answer"])));
    desk.bank.fate(ADDRESSES[0], Fate::Babbles);
    for _ in 0..30 {
        desk.track().await;
    }
    told.extend((1..=10).map(|_| (true, "1 more line of evidence".to_owned())));
    assert_eq!(desk.audited(&payout, "payout.evidence").await, told, "a review has twelve lines, and no more entries");
    // What becomes of the attempt has its entry all the same, without anybody's words.
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.pass_minutes(30);
    desk.track().await;
    let [(true, died)] = &desk.audited(&payout, "payout.attempt_dead").await[..] else { panic!("one death") };
    assert!(died.starts_with("attempt 1, transaction "), "{died}");
}

#[tokio::test]
async fn a_dead_attempt_makes_room_for_the_next_and_a_transaction_that_a_person_names_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    desk.pass_minutes(30);
    desk.track().await;
    let payout = desk.only_payout().await;
    let states: Vec<&str> = payout["attempts_made"].as_array().unwrap().iter().map(|a| a["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["dead", "maybe_sent"], "the first is proven dead, so a second one was signed");
    desk.client()
        .post(&format!("/nodes/payouts/{}/hold", payout["payout_id"].as_str().unwrap()), json!({ "reason": "paid by hand" }))
        .await;
    desk.pass_minutes(30);
    desk.track().await;
    let held = desk.only_payout().await;
    assert_eq!(held["choices"], json!(["check_again", "accept_paid", "new_attempt", "cancel"]), "{held}");
    let wrong = desk.bank.spend(ADDRESSES[1], 25 * USDT, true);
    desk.decide(&held, json!({ "choice": "accept_paid", "transaction_hash": wrong })).await;
    desk.track().await;
    let refused = desk.only_payout().await;
    assert_eq!(
        (&refused["status"], refused["review"]["evidence"].as_array().unwrap().last().unwrap().as_str().unwrap().contains("somebody else")),
        (&json!("processing"), true)
    );
    let told = format!("{wrong} did not pay it");
    assert_eq!(desk.audited(&held, "payout.refuse_claim").await, [(false, told.clone())]);
    desk.track().await;
    assert_eq!(desk.audited(&held, "payout.refuse_claim").await.len(), 1, "it is refused once");
    desk.decide(&held, json!({ "choice": "accept_paid", "transaction_hash": wrong })).await;
    desk.track().await;
    assert_eq!(desk.audited(&held, "payout.refuse_claim").await, [(false, told.clone()), (false, told)], "each claim is");
    let by_hand = desk.bank.spend(ADDRESSES[0], 25 * USDT, true);
    desk.decide(&held, json!({ "choice": "accept_paid", "transaction_hash": by_hand })).await;
    desk.track().await;
    let paid = desk.only_payout().await;
    assert_eq!((&paid["status"], &paid["transaction_hash"]), (&json!("completed"), &json!(by_hand)));
}

#[tokio::test]
async fn what_would_fail_is_not_signed_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::WouldFail);
    desk.cycle().await;
    let payout = desk.only_payout().await;
    assert_eq!((&payout["review"]["kind"], &payout["attempts"], &payout["can_cancel"]), (&json!("would_fail"), &json!(0), &json!(true)));
    // Another one is paid, so that the list has something to leave out.
    desk.owe("worker-2", ADDRESSES[1], 25).await;
    desk.cycle().await;
    let listed = async |query: &str| {
        let list = desk.client().get(&format!("/nodes/payouts/history?{query}")).await;
        let ids: Vec<String> =
            list["payouts"].as_array().unwrap().iter().map(|one| one["payout_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(list["pagination"]["total"].as_u64(), Some(ids.len() as u64), "{list}");
        ids
    };
    let id = payout["payout_id"].as_str().unwrap();
    assert_eq!(
        (listed("review=true").await, listed("review=true&order=asc&status=processing").await),
        (vec![id.to_owned()], vec![id.to_owned()])
    );
    assert_eq!((listed("review=false").await.len(), listed("").await.len()), (1, 2));
    assert!(!listed("review=false").await.contains(&id.to_owned()));
    assert!(listed("review=true&status=completed").await.is_empty());
    assert!(listed(&format!("review=true&node_id={}", desk.nodes[1])).await.is_empty());
    let (status, answer) = desk.client().call(Method::GET, "/nodes/payouts/history?review=perhaps", None).await;
    assert_eq!((status, &answer["error"]["details"]["fields"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("review")));
    let sent = desk.bank.sent();
    let cancelled = desk.decide(&payout, json!({ "choice": "cancel" })).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert!(listed("review=true").await.is_empty());
    desk.check().await;
    assert_eq!((desk.bank.sent(), desk.alerts().await.len()), (sent, 1));
    desk.track().await;
    assert!(desk.alerts().await.is_empty());
}

#[tokio::test]
async fn refused_by_the_chain_three_times_a_person_has_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::FailsOnChain);
    for _ in 0..5 {
        desk.cycle().await;
        desk.pass_minutes(25 * 60);
    }
    let all = desk.payouts().await;
    assert_eq!(all.iter().map(|payout| payout["status"].as_str().unwrap()).collect::<Vec<_>>(), ["failed", "failed", "failed"]);
    assert_eq!(desk.alerts().await, ["payout_carried_over"]);
    let node = desk.nodes[0].clone();
    let month = desk.client().get(&format!("/nodes/{node}/statements")).await;
    let fees: u64 =
        month["statements"].as_array().unwrap().iter().filter(|s| s["settlement"] == "live").map(|s| s["fees_sun"].as_u64().unwrap()).sum();
    assert_eq!(fees, 15_000_000, "what the network took for nothing is in the statement");
}

#[tokio::test]
async fn while_the_network_is_away_nothing_is_signed_and_everything_goes_out_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.bank.offline(true);
    for (n, address) in ADDRESSES.iter().enumerate() {
        desk.owe(&format!("worker-{n}"), address, 25).await;
    }
    for _ in 0..3 {
        desk.pass_minutes(70);
        desk.cycle().await;
    }
    assert_eq!(desk.payouts().await.iter().filter(|payout| payout["status"] == "pending").count(), 3);
    assert_eq!(desk.alerts().await, ["wallet_unreachable"]);
    desk.bank.offline(false);
    desk.cycle().await;
    assert!(ADDRESSES.iter().all(|address| desk.bank.paid(address) == [25 * USDT]));
    desk.look().await;
    assert!(desk.alerts().await.is_empty());
}

#[tokio::test]
async fn an_attempt_of_another_wallet_waits_for_it_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    let Desk { site, nodes, .. } = desk;
    let other = Arc::new(Bank::of("TJ36JAfgcokzhLaxKgfTEd9RhgSiQRTDt1", Settlement::Live, 1_000 * USDT));
    let site = site.crash_with(other.clone()).await;
    let desk = Desk { site, bank: other, nodes };
    desk.pass_minutes(60);
    desk.cycle().await;
    assert_eq!(desk.bank.sent(), 0, "nothing of it is resolved by somebody else");
    let open = desk.client().get("/alerts?state=open&kind=attempt_without_gateway").await;
    assert_eq!(open["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(desk.only_payout().await["status"], "processing");
    assert!(desk.money().await["needs_going_live"].as_bool().unwrap(), "another wallet is decided again");
}

#[tokio::test]
async fn the_wallet_that_pays_is_nobodys_payout_address() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    let own = Some(json!({ "address": crate::support::bank::WALLET }));
    let (status, answer) = desk.client().call(Method::PUT, &format!("/nodes/{node}/payout-address"), own).await;
    assert_eq!((status, error_name(&answer)), (StatusCode::BAD_REQUEST, "Invalid"));
}

#[tokio::test]
async fn the_address_is_checked_again_when_it_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.client().post("/money/freeze", json!({ "reason": "just looking" })).await;
    desk.cycle().await;
    desk.client().put(&format!("/nodes/{node}/payout-address"), json!({ "address": ADDRESSES[1] })).await;
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "looked" })).await;
    desk.cycle().await;
    assert_eq!(desk.only_payout().await["status"], "cancelled");
    desk.cycle().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]).len(), desk.bank.paid(ADDRESSES[1])), (0, vec![25 * USDT]));
}

#[tokio::test]
async fn a_wallet_that_is_too_poor_is_an_alarm_until_it_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(&dir, Bank::new(Settlement::Live, 10 * USDT), &[]).await;
    desk.client().post("/money/live", json!({ "owed": "everything" })).await;
    desk.client().post("/money/freeze", json!({ "reason": "to look" })).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    desk.pass_minutes(5);
    desk.look().await;
    assert_eq!(desk.alerts().await, ["payouts_frozen", "wallet_low"]);
    // Somebody fills it.
    desk.bank.spend("nobody", -100 * USDT, false);
    desk.pass_minutes(5);
    desk.look().await;
    assert_eq!(desk.alerts().await, ["payouts_frozen"]);
}

#[tokio::test]
async fn a_payout_that_waits_for_six_hours_is_an_alarm_that_says_for_what() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[("payout.max_fee_percent", "75")]).await;
    desk.client().put("/money/trx-rate", json!({ "usdt": "0.30" })).await;
    desk.client().post("/money/freeze", json!({ "reason": "to look" })).await;
    desk.look().await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.cycle().await;
    desk.only_payout().await;
    // Nobody says for a month what a TRX is worth.
    desk.pass_minutes(31 * 24 * 60);
    desk.look().await;
    desk.client().post("/money/unfreeze", json!({ "reason": "looked" })).await;
    desk.cycle().await;
    desk.look().await;
    assert_eq!((desk.alerts().await, desk.bank.sent()), (vec!["payout_waits".to_owned()], 0));
    desk.client().put("/money/trx-rate", json!({ "usdt": "0.30" })).await;
    desk.cycle().await;
    desk.track().await;
    desk.look().await;
    assert_eq!((desk.alerts().await, desk.bank.paid(ADDRESSES[0]).len()), (Vec::new(), 1));
}
