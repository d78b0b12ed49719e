//! Transactions that people name: each pays one payout at most, and what lands beside it is nobody's plan.

use serde_json::{Value, json};

use lucid::domain::audit::Act;
use lucid::domain::ids::NodeId;
use lucid::gateways::payment::PaymentGateway;
use lucid::storage::core::money_actions::{self, BookTo};

use super::{ADDRESSES, Desk, USDT};
use crate::support::bank::{Asked, Fate};

impl Desk {
    /// The payout of the n-th node.
    async fn payout_of(&self, node: usize) -> Value {
        let all = self.payouts().await;
        let id =
            all.iter().find(|payout| payout["node_id"] == self.nodes[node].as_str()).unwrap()["payout_id"].as_str().unwrap().to_owned();
        self.client().get(&format!("/nodes/payouts/{id}")).await
    }

    async fn status_of(&self, node: usize) -> String {
        self.payout_of(node).await["status"].as_str().unwrap().to_owned()
    }

    async fn evidence_of(&self, node: usize) -> String {
        self.payout_of(node).await["review"]["evidence"].to_string()
    }

    async fn paid_to(&self, node: usize) -> String {
        self.balance(&format!("node_paid:{}", self.nodes[node])).await
    }

    /// Each of these nodes' payouts waits for a person, and its only attempt is proven dead.
    async fn held_and_dead(&self, nodes: &[usize]) {
        for node in nodes {
            let payout = self.payout_of(*node).await;
            let path = format!("/nodes/payouts/{}/hold", payout["payout_id"].as_str().unwrap());
            self.client().post(&path, json!({ "reason": "paid by hand" })).await;
        }
        self.pass_minutes(30);
        self.track().await;
        for node in nodes {
            let payout = self.payout_of(*node).await;
            assert_eq!((&payout["attempts_made"][0]["state"], &payout["review"]["kind"]), (&json!("dead"), &json!("held")), "{payout}");
        }
    }

    async fn accept(&self, node: usize, txid: &str) {
        let payout = self.payout_of(node).await;
        self.decide(&payout, json!({ "choice": "accept_paid", "transaction_hash": txid })).await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_named_for_two_payouts_pays_one_of_them_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    for name in ["worker-1", "worker-2"] {
        desk.owe(name, ADDRESSES[0], 25).await;
    }
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    desk.held_and_dead(&[0, 1]).await;
    desk.owe("worker-3", ADDRESSES[1], 25).await;
    desk.bank.fate(ADDRESSES[1], Fate::Lost);
    desk.cycle().await;
    assert_eq!(desk.status_of(2).await, "processing");

    let by_hand = desk.bank.spend(ADDRESSES[0], 25 * USDT, true);
    desk.bank.offline(true);
    desk.accept(0, &by_hand).await;
    desk.accept(1, &by_hand).await;
    desk.track().await;
    assert_eq!((desk.status_of(0).await, desk.status_of(1).await), ("processing".into(), "processing".into()), "nobody could be asked");

    // In one cycle the claims are verified, the third one's transfer is found, and a fourth one is signed.
    desk.bank.offline(false);
    desk.bank.lands_after_all(ADDRESSES[1]);
    desk.owe("worker-4", ADDRESSES[2], 25).await;
    desk.cycle().await;
    let mut twins = [desk.status_of(0).await, desk.status_of(1).await];
    let paid = twins.iter().position(|status| status == "completed").unwrap();
    let other = 1 - paid;
    twins.sort();
    assert_eq!(twins, ["completed", "processing"]);
    assert_eq!(desk.payout_of(paid).await["transaction_hash"], json!(by_hand));
    assert_eq!(desk.status_of(2).await, "completed", "its step was taken in the same cycle");
    assert_eq!(desk.bank.paid(ADDRESSES[2]), [25 * USDT], "signing goes on");
    desk.track().await;
    let evidence = desk.evidence_of(other).await;
    assert!(evidence.contains(&by_hand) && evidence.contains("another payout's"), "{evidence}");
    assert_eq!(desk.status_of(3).await, "completed");
    assert_eq!((desk.paid_to(paid).await, desk.paid_to(other).await), ("25".into(), "0".into()));
    assert_eq!(desk.compare().await["frozen"], Value::Null, "the books say what the wallet has lost");
    assert!(desk.unknown().await.is_empty());
    // What was not paid is still owed, and paid once a person lets it go on.
    desk.bank.fate(ADDRESSES[0], Fate::Pays);
    let payout = desk.payout_of(other).await;
    desk.decide(&payout, json!({ "choice": "new_attempt" })).await;
    desk.cycle().await;
    desk.track().await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.paid_to(other).await), (vec![25 * USDT; 2], "25".into()));
    desk.check().await;
}

#[tokio::test]
async fn what_is_booked_while_a_claim_of_it_is_verified_pays_no_payout() {
    // While the network is asked about the claim; and after that, while it is asked about others, before the step is written.
    for asked in [Asked::Verify, Asked::Lookup] {
        let dir = tempfile::tempdir().unwrap();
        let mut desk = Desk::live(&dir, &[]).await;
        desk.owe("worker-1", ADDRESSES[0], 25).await;
        desk.bank.fate(ADDRESSES[0], Fate::Lost);
        desk.cycle().await;
        desk.held_and_dead(&[0]).await;
        desk.owe("twin", ADDRESSES[0], 1).await;
        desk.owe("worker-3", ADDRESSES[1], 25).await;
        desk.bank.fate(ADDRESSES[1], Fate::Lost);
        desk.cycle().await;
        let by_hand = desk.bank.spend(ADDRESSES[0], 25 * USDT, true);
        assert_eq!(desk.compare().await["frozen"]["kind"], "unknown_transfer");
        desk.accept(0, &by_hand).await;

        let (store, now, payer) = (desk.site.app.store.clone(), desk.site.app.clock.now(), desk.bank.payer());
        let (twin, txid) = (BookTo::Node(NodeId::parse(&desk.nodes[1]).unwrap()), by_hand.clone());
        desk.bank.meanwhile(asked, async move {
            let secrets = store.secrets.clone();
            let booked =
                store.write_money(move |tx| money_actions::book_transfer(tx, &Act::system(now), &secrets, &payer, &txid, &twin)).await;
            booked.unwrap();
        });
        desk.track().await;
        assert!(!desk.bank.is_to_happen(), "{asked:?}");
        assert_eq!(desk.status_of(0).await, "processing", "{asked:?}");
        let third = desk.payout_of(2).await;
        assert_eq!(third["attempts_made"][0]["state"], "dead", "the step of another one was taken in the same run: {third}");
        desk.track().await;
        let evidence = desk.evidence_of(0).await;
        assert!(evidence.contains(&by_hand) && evidence.contains("booked"), "{asked:?}: {evidence}");
        assert_eq!((desk.paid_to(0).await, desk.paid_to(1).await), ("0".into(), "25".into()), "{asked:?}: it is in the books once");
        let rows = desk.unknown().await;
        assert_eq!(
            rows.iter().map(|row| (&row["transaction_hash"], row["booked_at"].is_string())).collect::<Vec<_>>(),
            [(&json!(by_hand), true)]
        );
        desk.unfreeze().await;
        assert_eq!(desk.compare().await["frozen"], Value::Null, "and the books say what the wallet has lost");
        assert_eq!(desk.bank.paid(ADDRESSES[0]), [25 * USDT]);
        desk.check().await;
    }
}

#[tokio::test]
async fn an_attempt_that_lands_after_its_payout_was_paid_by_hand_is_a_second_payment() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::live(&dir, &[]).await;
    let node = desk.owe("worker-1", ADDRESSES[0], 25).await;
    desk.bank.fate(ADDRESSES[0], Fate::Lost);
    desk.cycle().await;
    desk.held_and_dead(&[0]).await;
    let by_hand = desk.bank.spend(ADDRESSES[0], 25 * USDT, true);
    desk.accept(0, &by_hand).await;
    desk.track().await;
    assert_eq!(desk.status_of(0).await, "completed");
    let money = desk.compare().await;
    assert_eq!((&money["frozen"], desk.unknown().await.len()), (&Value::Null, 0), "what was named is explained: {money}");

    let own = desk.bank.lands_after_all(ADDRESSES[0]);
    let money = desk.compare().await;
    assert_eq!(money["frozen"]["kind"], "unknown_transfer", "{money}");
    assert_eq!(desk.alerts().await, ["payouts_frozen"]);
    let rows = desk.unknown().await;
    assert_eq!(
        rows.iter().map(|row| (&row["transaction_hash"], &row["node_id"], &row["amount"])).collect::<Vec<_>>(),
        [(&json!(own), &json!(node), &json!("25"))]
    );
    desk.book(&own, json!({ "node_id": node })).await;
    desk.unfreeze().await;
    let payable = desk.balance(&format!("node_payable:{node}")).await;
    assert_eq!((desk.bank.paid(ADDRESSES[0]), desk.paid_to(0).await, payable), (vec![25 * USDT; 2], "50".into(), "-25".into()));
    assert_eq!(desk.compare().await["frozen"], Value::Null);
    desk.check().await;
}
