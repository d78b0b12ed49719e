//! What a transfer costs, from the chain to what people see of it before anything is paid, and that nothing is signed while it is not known.

use lucid::live::Job;
use serde_json::{Value, json};

use crate::support::desk::Desk;
use crate::support::rig::Rig;
use crate::support::site::START;
use crate::support::tron::{Config, Fault, Network, When};

/// At 100 sun for each of 130,285 units of energy (to somebody who holds none) and 1,000 sun for each of 345 bytes: 13.3735 TRX.
const FEE_SUN: u64 = 13_373_500;

/// Nodes that are owed something, with and without what the fee of a transfer is worth.
async fn desk(dir: &tempfile::TempDir) -> Desk {
    let rig = Rig::over(Network::new(Config::at(START.0), 2, 1));
    let mut desk = Desk::over(dir, rig, &[("payout.max_fee_percent", "10")]).await;
    for usdt in ["50", "40.12", "40.121", "1"] {
        desk.owe("worker", usdt).await;
    }
    desk
}

async fn preview(desk: &Desk) -> Value {
    desk.site.client.post("/payouts/preview", json!({})).await
}

fn told<'a>(list: &'a Value, fields: &[&str]) -> Vec<Vec<&'a str>> {
    list.as_array().unwrap().iter().map(|row| fields.iter().map(|field| row[field].as_str().unwrap_or("-")).collect()).collect()
}

#[tokio::test]
async fn the_preview_shows_what_the_chain_would_take_and_from_which_amount_on_that_is_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir).await;
    let unseen = preview(&desk).await;
    assert_eq!((&unseen["fees_sun"], &unseen["fees_as_of"], &unseen["effective_minimum"]), (&Value::Null, &Value::Null, &Value::Null));
    desk.run(Job::Wallet).await;
    desk.go_live().await;
    let unrated = preview(&desk).await;
    assert_eq!(
        told(&unrated["skipped"], &["node_id", "why"]),
        desk.nodes[..3].iter().map(|node| vec![node.as_str(), "rate_unknown"]).collect::<Vec<_>>()
    );
    assert_eq!(unrated["effective_minimum"], Value::Null, "a share needs a rate");
    desk.site.client.put("/money/trx-rate", json!({ "usdt": "0.3" })).await;

    // 13.3735 TRX are 4.01205 USDT, and ten times that is 40.1205.
    let seen = preview(&desk).await;
    assert_eq!(seen["effective_minimum"], "40.1205", "{seen}");
    let fields = ["node_id", "amount", "balance_before", "balance_after", "fee_sun", "fee_usdt"];
    let fee = FEE_SUN.to_string();
    let row = |node: usize, amount: &'static str| vec![desk.nodes[node].as_str(), amount, amount, "0", fee.as_str(), "4.01205"];
    assert_eq!(told(&seen["payouts"], &fields), [row(0, "50"), row(2, "40.121")], "{seen}");
    assert_eq!(
        told(&seen["skipped"], &["node_id", "why"]),
        [[desk.nodes[1].as_str(), "fee_share"]],
        "what is below the threshold waits for nothing"
    );
    // 600 bytes are free each day, so both together cost less than twice one.
    let both = 2 * 13_028_500 + (2 * 345 - 600) * 1_000;
    assert_eq!((&seen["fees_sun"], &seen["fees_usdt"]), (&json!(both.to_string()), &json!("7.8441")));
    assert_eq!(seen["fees_as_of"].as_str(), unrated["fees_as_of"].as_str());
    assert_eq!((told(&seen["payouts"], &["waits"]).len(), &seen["payouts"][0]["waits"]), (2, &json!([])));

    // The network becomes dearer: what was worth it is not any more.
    desk.rig.network().chain.config.energy_price = 210;
    desk.pass(660).await;
    let old = preview(&desk).await;
    assert_eq!(
        (&old["effective_minimum"], told(&old["payouts"][0]["waits"], &["guard"])),
        (&json!("40.1205"), vec![vec!["wallet_unknown"]]),
        "as of the last look, which is too old to sign by"
    );
    desk.run(Job::Wallet).await;
    let dear = preview(&desk).await;
    assert_eq!((dear["effective_minimum"].as_str(), dear["payouts"].as_array().unwrap().len()), (Some("83.11455"), 0), "{dear}");

    // What is done is what was shown.
    desk.rig.network().chain.config.energy_price = 100;
    desk.pass(660).await;
    for _ in 0..3 {
        desk.run(Job::Wallet).await;
        desk.run(Job::Payouts).await;
        desk.pass(120).await;
    }
    let paid = desk.payouts().await;
    assert_eq!(
        told(&json!(paid), &["node_id", "amount", "status"]),
        [[desk.nodes[0].as_str(), "50", "completed"], [desk.nodes[2].as_str(), "40.121", "completed"]]
    );
}

#[tokio::test]
async fn nothing_is_signed_while_the_wallet_cannot_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(&dir).await;
    desk.run(Job::Wallet).await;
    desk.go_live().await;
    desk.site.client.put("/money/trx-rate", json!({ "usdt": "0.3" })).await;
    // Reconciled within the hour; the look at the wallet is too old, and nobody gives another one.
    desk.pass(660).await;
    desk.rig.network().nodes[0].faults.add("getaccount", When::Always, Fault::Status(503));
    desk.run(Job::Payouts).await;
    let planned = desk.payouts().await;
    assert_eq!(told(&json!(planned), &["amount", "status"]), [["50", "pending"], ["40.121", "pending"]]);
    for payout in &planned {
        let waits = desk.payout(payout).await;
        assert_eq!((&waits["waiting"]["why"], &waits["attempts"]), (&json!("wallet_unknown"), &json!(0)));
    }
    assert_eq!(desk.site.client.get("/money").await["closed"], Value::Null, "it is about each payout: nothing else is in the way");
    desk.rig.network().nodes[0].faults.clear();
    // After the rest that the node was given.
    desk.pass(60).await;
    desk.pay().await;
    let paid = desk.payouts().await;
    assert_eq!(told(&json!(paid), &["amount", "status"]), [["50", "completed"], ["40.121", "completed"]]);
}
