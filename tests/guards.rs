//! Guards through the front door, over the fake network: which token is paid, to whom it never goes, and what a class of nodes gets in a day.

use lucid::domain::time::Timestamp;
use lucid::live::Job;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::desk::Desk;
use crate::support::rig::{Rig, tron};
use crate::support::site::START;
use crate::support::tron::{Address, Config, Fault, Lie, Network, When};

const NO_FEES: (&str, &str) = ("payout.max_fee_percent", "0");

fn other_token() -> Address {
    Address::labelled("another token")
}

fn network() -> Network {
    Network::new(Config::at(START.0), 2, 1)
}

/// Live, and nobody is owed anything.
async fn live(dir: &tempfile::TempDir, rig: Rig, settings: &[(&'static str, &str)]) -> Desk {
    let desk = Desk::over(dir, rig, &[&[NO_FEES], settings].concat()).await;
    desk.run(Job::Wallet).await;
    desk.go_live().await;
    desk
}

async fn refused(desk: &Desk, method: Method, path: &str, body: Value) -> (StatusCode, String, Value) {
    let (status, answer) = desk.site.client.call(method, path, Some(body)).await;
    (status, error_name(&answer).to_owned(), answer)
}

#[tokio::test]
async fn a_token_that_the_signer_does_not_pay_is_a_persons_and_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = live(&dir, Rig::signing(network(), tron(&other_token())), &[]).await;
    desk.owe("worker", "25").await;
    desk.pay().await;
    let payout = desk.payout(&desk.payouts().await[0]).await;
    assert_eq!(
        (&payout["status"], &payout["review"]["kind"], &payout["attempts"]),
        (&json!("processing"), &json!("would_fail"), &json!(0))
    );
    assert!(payout["review_reason"].as_str().unwrap().contains("no token of this wallet"), "{payout}");
    assert_eq!((desk.broadcasts(), desk.rig.payments(1)), (0, 0));
    let alerts = desk.site.client.get("/alerts?state=open&kind=payout_review").await;
    assert_eq!(alerts["alerts"].as_array().unwrap().len(), 1);
    let path = format!("/nodes/payouts/{}/decide", payout["payout_id"].as_str().unwrap());
    assert_eq!(desk.site.client.post(&path, json!({ "choice": "cancel" })).await["status"], "cancelled");
}

#[tokio::test]
async fn a_token_that_the_network_does_not_have_goes_live_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::over(network());
    rig.setup.contract = tron(&other_token());
    rig.restart();
    let mut desk = Desk::over(&dir, rig, &[NO_FEES]).await;
    desk.owe("worker", "25").await;
    desk.run(Job::Wallet).await;
    let (status, name, answer) = refused(&desk, Method::POST, "/money/live", json!({ "owed": "everything" })).await;
    assert_eq!((status, name.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "WalletNotCompared"), "{answer}");
    desk.pay().await;
    assert_eq!((desk.payouts().await.len(), desk.broadcasts()), (0, 0));
}

#[tokio::test]
async fn a_receipt_with_the_log_of_another_token_pays_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = live(&dir, Rig::over(network()), &[]).await;
    desk.owe("worker", "25").await;
    for node in &mut desk.rig.network().nodes {
        for path in ["gettransactioninfobyid", "gettransactioninfobyblocknum"] {
            node.faults.add(path, When::Always, Fault::Lie(Lie::LogContract(other_token())));
        }
    }
    desk.pay().await;
    let payout = desk.payout(&desk.payouts().await[0]).await;
    assert_eq!((&payout["status"], &payout["review"]["kind"]), (&json!("processing"), &json!("conflict")), "{payout}");
    // What the wallet has lost is explained by nothing.
    desk.pass(3_600).await;
    desk.run(Job::Wallet).await;
    let money = desk.site.client.get("/money").await;
    assert_eq!(money["frozen"]["kind"], "missing_funds", "{money}");
    // They were wrong, and say so now.
    desk.rig.network().nodes.iter_mut().for_each(|node| node.faults.clear());
    desk.pass(120).await;
    desk.run(Job::Wallet).await;
    let path = format!("/nodes/payouts/{}/decide", payout["payout_id"].as_str().unwrap());
    desk.site.client.post(&path, json!({ "choice": "check_again" })).await;
    desk.site.client.post("/money/unfreeze", json!({ "reason": "two nodes had a fault" })).await;
    desk.pay().await;
    assert_eq!((&desk.payouts().await[0]["status"], desk.rig.payments(1)), (&json!("completed"), 1));
}

#[tokio::test]
async fn the_contract_of_the_token_that_is_paid_is_nobodys_payout_address() {
    // One that no release knows.
    let token = Address::labelled("a token of our own");
    let rig = Rig::over(Network::new(Config { token, ..Config::at(START.0) }, 2, 1));
    let dir = tempfile::tempdir().unwrap();
    let mut desk = live(&dir, rig, &[]).await;
    desk.owe("worker", "25").await;
    let path = format!("/nodes/{}/payout-address", desk.nodes[0]);
    for contract in [token.base58(), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".to_owned()] {
        let (status, name, answer) = refused(&desk, Method::PUT, &path, json!({ "address": contract })).await;
        assert_eq!((status, name.as_str()), (StatusCode::BAD_REQUEST, "Invalid"), "{contract}: {answer}");
        assert!(answer.to_string().contains("token contract"), "{answer}");
    }
    desk.pay().await;
    assert_eq!(desk.rig.payments(1), 1, "to the address that it had");
}

#[tokio::test]
async fn a_class_of_nodes_gets_no_more_than_its_limit_in_any_24_hours() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = live(&dir, Rig::over(network()), &[("payout.class_limits", "worker=30/50")]).await;
    for (class, usdt) in [("worker", "30"), ("worker", "20"), ("worker", "2"), ("storage", "45")] {
        desk.owe(class, usdt).await;
    }
    desk.run(Job::Payouts).await;
    let signed_at = desk.site.now_ms();
    desk.pass(120).await;
    desk.run(Job::Payouts).await;
    let states = async || {
        let mut states = Vec::new();
        for listed in desk.payouts().await {
            let payout = desk.payout(&listed).await;
            let why = payout["waiting"]["why"].as_str().unwrap_or("-").to_owned();
            states.push((payout["amount"].as_str().unwrap().to_owned(), payout["status"].as_str().unwrap().to_owned(), why));
        }
        states
    };
    let row = |amount: &str, status: &str, why: &str| (amount.to_owned(), status.to_owned(), why.to_owned());
    let done = |amount: &str| row(amount, "completed", "-");
    let waits = [done("30"), done("20"), row("2", "pending", "class_day_cap"), done("45")];
    assert_eq!(states().await, waits, "50 are just allowed, and other classes have a limit of their own or none");
    let held = desk.payout(&desk.payouts().await[2]).await;
    assert_eq!(held["waiting"]["until"], Timestamp(signed_at).plus_seconds(86_400).rfc3339());
    // A minute before the day is over, and when it is.
    let day_ends = signed_at + 86_400_000;
    desk.pass((day_ends - desk.site.now_ms()) / 1_000 - 60).await;
    desk.run(Job::Payouts).await;
    assert_eq!(states().await, waits);
    desk.pass(60).await;
    desk.pay().await;
    assert_eq!(states().await[2], done("2"));
    assert_eq!([1, 2, 3, 4].map(|number| desk.rig.payments(number)), [1; 4]);
}
