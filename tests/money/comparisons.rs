//! What left the wallet is compared with what was planned: answers that accuse nobody, money that is missing more than once, and transfers that land after they were
//! proven dead.

use serde_json::{Value, json};

use super::{ADDRESSES, Desk, USDT};
use crate::support::bank::Fate;

impl Desk {
    /// The next comparison, which is due once an hour, and what is said of the money after it.
    pub(super) async fn compare(&self) -> Value {
        self.pass_minutes(61);
        self.look().await;
        self.money().await
    }

    pub(super) async fn unknown(&self) -> Vec<Value> {
        self.client().get("/money/unknown-transfers").await["transfers"].as_array().unwrap().clone()
    }

    pub(super) async fn book(&self, txid: &str, to: Value) {
        self.client().post(&format!("/money/unknown-transfers/{txid}/book"), to).await;
    }

    pub(super) async fn unfreeze(&self) {
        self.look().await;
        self.client().post("/money/unfreeze", json!({ "reason": "looked into" })).await;
    }

    /// Of the live book in USDT, which names its accounts; "0" where there is none.
    pub(super) async fn balance(&self, account: &str) -> String {
        let balances = self.client().get("/ledger/balances").await;
        let is_live = |book: &&Value| book["settlement"] == "live" && book["currency"] == "USDT";
        let book = balances["books"].as_array().unwrap().iter().find(is_live).unwrap();
        let named = book["accounts"].as_array().unwrap().iter().find(|row| row["account"] == account);
        named.map_or("0", |row| row["balance"].as_str().unwrap()).to_owned()
    }
}

#[tokio::test]
async fn a_balance_that_is_older_than_what_is_known_accuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    // From before something came in, and from before something left.
    let before_income = desk.bank.balance();
    desk.bank.spend("nobody", -500 * USDT, false);
    let before_payout = desk.bank.balance();
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
    for old in [before_income, before_payout] {
        let honest = desk.compare().await;
        assert_eq!((&honest["frozen"], &honest["reconcile_error"]), (&Value::Null, &Value::Null), "{honest}");
        desk.bank.says_balance(Some(old));
        let late = desk.compare().await;
        assert_eq!(late["frozen"], Value::Null, "it has not lost yet what is known to have left, nor got what came: {late}");
        assert!(late["reconcile_error"].as_str().is_some_and(|why| why.contains("older")), "{late}");
        desk.bank.says_balance(None);
        let honest = desk.compare().await;
        assert_eq!((&honest["frozen"], &honest["reconcile_error"]), (&Value::Null, &Value::Null), "nothing was learnt from it: {honest}");
    }
    assert!(desk.unknown().await.is_empty());
    desk.adjust(&node, 30).await;
    desk.pass_minutes(24 * 60);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT, 30 * USDT]);
}

#[tokio::test]
async fn each_shortfall_is_booked_once_and_another_one_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.look().await;
    let shown = async || {
        let rows = desk.unknown().await;
        rows.iter().map(|row| (row["amount"].as_str().unwrap().to_owned(), row["booked_at"].is_string())).collect::<Vec<_>>()
    };
    let waiting = async || {
        let rows = desk.unknown().await;
        rows.into_iter().find(|row| row["booked_at"].is_null()).unwrap()["transaction_hash"].as_str().unwrap().to_owned()
    };
    desk.bank.spend("somebody", 50 * USDT, false);
    assert_eq!(desk.compare().await["frozen"]["kind"], "missing_funds");
    desk.compare().await;
    assert_eq!(shown().await, [("50".to_owned(), false)], "looked at twice, it is missing once");
    let first = waiting().await;
    desk.book(&first, json!({})).await;
    assert_eq!(desk.refused(&format!("/money/unknown-transfers/{first}/book"), json!({})).await, "TransferBooked");

    // Before the wallet is compared again, as much leaves it once more.
    desk.bank.spend("somebody", 50 * USDT, false);
    desk.look().await;
    assert_eq!(shown().await, [("50".to_owned(), true), ("50".to_owned(), false)]);
    assert_eq!(desk.refused("/money/unfreeze", json!({ "reason": "it was booked" })).await, "NotReconciled");
    let second = waiting().await;
    assert_ne!(first, second);
    desk.book(&second, json!({})).await;
    desk.unfreeze().await;

    // And once more after everything was well.
    desk.bank.spend("somebody", 7 * USDT, false);
    assert_eq!(desk.compare().await["frozen"]["kind"], "missing_funds");
    let third = waiting().await;
    assert!(third != first && third != second);
    desk.book(&third, json!({})).await;
    desk.unfreeze().await;
    assert_eq!((desk.balance("unexplained").await, desk.unknown().await.len()), ("107".to_owned(), 3));
    let ledger = desk.client().get("/ledger?limit=100").await["postings"].as_array().unwrap().clone();
    for (txid, amount) in [(&first, "50"), (&second, "50"), (&third, "7")] {
        let of = |posting: &&Value| posting.to_string().contains(&format!("\"{txid}\""));
        let postings: Vec<&Value> = ledger.iter().filter(of).collect();
        assert_eq!(postings.len(), 1, "{txid}: {ledger:?}");
        assert!(postings[0].to_string().contains(&format!("\"{amount}\"")), "{}", postings[0]);
    }
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
    assert!(desk.alerts().await.is_empty(), "{:?}", desk.alerts().await);
}

/// A payout whose first attempt was proven dead, and whose second one is on its way.
async fn proven_dead(dir: &tempfile::TempDir) -> (Desk, String) {
    let mut desk = Desk::live(dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    desk.pass_minutes(30);
    desk.track().await;
    assert_eq!(desk.attempts().await, ["dead", "maybe_sent"]);
    (desk, node)
}

impl Desk {
    /// States of the only payout's attempts.
    async fn attempts(&self) -> Vec<String> {
        let payout = self.only_payout().await;
        payout["attempts_made"].as_array().unwrap().iter().map(|attempt| attempt["state"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn what_lands_after_it_was_proven_dead_freezes_and_is_booked_to_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, node) = proven_dead(&dir).await;
    let txid = desk.bank.lands_after_all(ADDRESSES[0]);
    // So does the second one: nobody can keep it from that any more.
    desk.bank.fate(ADDRESSES[0], Fate::Pays);
    desk.track().await;
    desk.track().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]).len(), desk.only_payout().await["status"].clone()), (2, json!("completed")));
    let money = desk.compare().await;
    assert_eq!(money["frozen"]["kind"], "unknown_transfer", "paid twice, and somebody is told: {money}");
    assert_eq!(desk.alerts().await, ["payouts_frozen"]);
    let rows = desk.unknown().await;
    assert_eq!(
        rows.iter().map(|row| (&row["transaction_hash"], &row["node_id"], &row["amount"])).collect::<Vec<_>>(),
        [(&json!(txid), &json!(node), &json!("25"))]
    );
    // It is no loss: the node has got it, and works it off.
    assert_eq!(desk.refused(&format!("/money/unknown-transfers/{txid}/book"), json!({})).await, "AddressOfNode");
    desk.book(&txid, json!({ "node_id": node })).await;
    desk.unfreeze().await;
    let (payable, paid) = (format!("node_payable:{node}"), format!("node_paid:{node}"));
    assert_eq!((desk.balance(&payable).await, desk.balance(&paid).await), ("-25".to_owned(), "50".to_owned()));
    desk.adjust(&node, 30).await;
    desk.pass_minutes(24 * 60);
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]).len(), 2, "5 are owed, less than the threshold");
    desk.adjust(&node, 10).await;
    desk.cycle().await;
    assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT, 25 * USDT, 15 * USDT]);
    assert_eq!(desk.money().await["frozen"], Value::Null);
}

#[tokio::test]
async fn what_lands_after_it_was_proven_dead_is_not_paid_again_once_it_is_booked() {
    // Before another attempt is signed.
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    desk.client().post("/money/freeze", json!({ "reason": "to look" })).await;
    desk.pass_minutes(30);
    desk.track().await;
    assert_eq!(desk.attempts().await, ["dead"]);
    let txid = desk.bank.lands_after_all(ADDRESSES[0]);
    desk.compare().await;
    desk.book(&txid, json!({ "node_id": node })).await;
    desk.unfreeze().await;
    desk.paid_once(&node).await;
    assert_eq!(desk.only_payout().await["status"], "cancelled");

    // While another one is on its way, which is lost.
    let dir = tempfile::tempdir().unwrap();
    let (desk, node) = proven_dead(&dir).await;
    let txid = desk.bank.lands_after_all(ADDRESSES[0]);
    desk.compare().await;
    desk.book(&txid, json!({ "node_id": node })).await;
    desk.unfreeze().await;
    desk.paid_once(&node).await;
    let held = desk.only_payout().await;
    assert_eq!((&held["status"], &held["review"]["kind"]), (&json!("processing"), &json!("conflict")), "{held}");
    assert_eq!(desk.attempts().await, ["dead", "dead"]);
    // Booked is booked: it is not what paid the payout, too.
    let path = format!("/nodes/payouts/{}/decide", held["payout_id"].as_str().unwrap());
    let accept = json!({ "choice": "accept_paid", "transaction_hash": txid });
    assert_eq!(desk.refused(&path, accept).await, "TransferBooked");
    desk.decide(&held, json!({ "choice": "cancel" })).await;
    desk.paid_once(&node).await;
}

#[tokio::test]
async fn what_landed_after_its_death_and_is_accepted_is_no_unknown_transfer() {
    for is_found_before in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (desk, node) = proven_dead(&dir).await;
        let txid = desk.bank.lands_after_all(ADDRESSES[0]);
        desk.client().post("/money/stop", json!({ "reason": "a node says that it was paid" })).await;
        desk.pass_minutes(30);
        desk.track().await;
        assert_eq!(desk.attempts().await, ["dead", "dead"]);
        if is_found_before {
            assert_eq!(desk.compare().await["frozen"]["kind"], "unknown_transfer");
        }
        let payout = desk.only_payout().await;
        let path = format!("/nodes/payouts/{}/hold", payout["payout_id"].as_str().unwrap());
        desk.client().post(&path, json!({ "reason": "paid by the first attempt" })).await;
        desk.decide(&payout, json!({ "choice": "accept_paid", "transaction_hash": txid })).await;
        desk.track().await;
        let paid = desk.only_payout().await;
        assert_eq!((&paid["status"], &paid["transaction_hash"]), (&json!("completed"), &json!(txid)), "{paid}");
        assert!(desk.unknown().await.is_empty(), "it is explained");
        let money = desk.compare().await;
        assert_eq!(money["frozen"].is_object(), is_found_before, "{money}");
        if is_found_before {
            desk.unfreeze().await;
        }
        desk.client().post("/money/resume", json!({ "reason": "it is so" })).await;
        desk.paid_once(&node).await;
    }
}

impl Desk {
    /// Whatever comes: the node was owed 25, and has got 25.
    async fn paid_once(&self, node: &str) {
        self.bank.fate(ADDRESSES[0], Fate::Pays);
        for _ in 0..3 {
            self.pass_minutes(30);
            self.cycle().await;
            self.track().await;
        }
        self.compare().await;
        assert_eq!(self.bank.paid(ADDRESSES[0]), [25 * USDT]);
        assert_eq!(self.balance(&format!("node_paid:{node}")).await, "25");
        assert_eq!(self.money().await["frozen"], Value::Null);
    }
}

#[tokio::test]
async fn what_is_booked_to_one_node_of_an_address_is_not_accepted_for_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut desk, node) = proven_dead(&dir).await;
    let txid = desk.bank.lands_after_all(ADDRESSES[0]);
    desk.client().post("/money/stop", json!({ "reason": "a node says that it was paid" })).await;
    desk.pass_minutes(30);
    desk.track().await;
    let payout = desk.only_payout().await;
    let twin = desk.owe("worker-2", ADDRESSES[0], 1).await;
    desk.compare().await;
    let path = format!("/nodes/payouts/{}/hold", payout["payout_id"].as_str().unwrap());
    desk.client().post(&path, json!({ "reason": "paid by the first attempt" })).await;
    desk.decide(&payout, json!({ "choice": "accept_paid", "transaction_hash": txid })).await;
    // Before anybody has looked at what the one admin says, the other one books it.
    desk.book(&txid, json!({ "node_id": twin })).await;
    desk.track().await;
    let payout = desk.only_payout().await;
    let evidence = payout["review"]["evidence"].to_string();
    assert_eq!(payout["status"], "processing");
    assert!(evidence.contains(&txid) && evidence.contains("booked"), "{evidence}");
    let paid = async |node: &str| desk.balance(&format!("node_paid:{node}")).await;
    assert_eq!((paid(&node).await, paid(&twin).await), ("0".to_owned(), "25".to_owned()), "it is in the books once");
}
