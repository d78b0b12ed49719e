//! A wallet whose own key is cold: another key signs, under an active permission of it that allows as much as it does.

use lucid::domain::payout::Status;
use lucid::gateways::payment::tron::SignedTransfer;
use lucid::gateways::payment::{Lookup, SendOutcome};
use lucid::live::Job;
use serde_json::{Value, json};

use crate::support::desk::Desk;
use crate::support::rig::{Rig, attempt};
use crate::support::site::START;
use crate::support::tron::account::Permission;
use crate::support::tron::{Address, Config, Network};

const TRANSFER_OF_TRX: u8 = 1;
const TRIGGER_SMART_CONTRACT: u8 = 31;

fn network() -> Network {
    Network::new(Config::at(START.0), 2, 1)
}

/// Of weight one, for that kind of transaction and nothing else.
fn only(kind: u8) -> impl Fn(Address) -> Permission {
    move |key| Permission::active(2, 1, vec![(key, 1)]).only(kind)
}

async fn live(dir: &tempfile::TempDir, rig: Rig) -> Desk {
    let mut desk = Desk::over(dir, rig, &[("payout.max_fee_percent", "0")]).await;
    desk.run(Job::Wallet).await;
    desk.go_live().await;
    desk.owe("worker", "25").await;
    desk
}

async fn only_payout(desk: &Desk) -> Value {
    let payouts = desk.payouts().await;
    assert_eq!(payouts.len(), 1);
    desk.payout(&payouts[0]).await
}

async fn refusals(desk: &Desk) -> Vec<Value> {
    desk.site.client.get("/alerts?state=open&kind=payout_refused").await["alerts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_key_that_may_call_contracts_and_nothing_else_pays_from_the_account() {
    let rig = Rig::restricted(network(), only(TRIGGER_SMART_CONTRACT));
    let (payout, outcome) = rig.sent(1).await;
    assert_eq!(outcome, SendOutcome::Accepted);
    let signed = SignedTransfer::read(&attempt(&payout).prepared.bytes).unwrap();
    assert_eq!((signed.transfer.owner, signed.signer()), (rig.wallet.account, Some(rig.wallet.key)));
    assert_eq!(signed.transfer.permission_id.map(u32::from), Some(2));
    assert_ne!(rig.wallet.account, rig.wallet.key);
    rig.advance(120);
    let found = rig.lookup(&payout).await;
    assert!(matches!(found, Lookup::Paid(_)), "{found:?}");
    let network = rig.network();
    assert!(network.chain.fees(&rig.owner) > 0 && network.chain.fees(&Rig::own_address()) == 0, "the account pays, the key has nothing");
    drop(network);
    assert_eq!(rig.payments(1), 1);
}

#[tokio::test]
async fn what_its_permission_does_not_allow_the_network_refuses_by_name() {
    let of_another = |_| Permission::active(2, 1, vec![(Address::labelled("somebody else"), 1)]);
    let of_two = |key| Permission::active(2, 2, vec![(key, 1), (Address::labelled("the second signature"), 1)]);
    let cases: [(Rig, &str); 4] = [
        (Rig::restricted(network(), only(TRANSFER_OF_TRX)), "Permission denied"),
        (Rig::restricted(network(), of_another), "not contained of permission"),
        (Rig::restricted(network(), of_two), "trans sig validate failed"),
        (Rig::restricted(network(), |key| Permission { id: 3, ..only(TRIGGER_SMART_CONTRACT)(key) }), "permission isn't exit"),
    ];
    for (rig, words) in cases {
        let (_, outcome) = rig.sent(1).await;
        let SendOutcome::Stop(why) = outcome else { panic!("{words}: {outcome:?}") };
        assert!(why.contains("SIGERROR") && why.contains(words), "{why}");
        rig.advance(120);
        assert_eq!(rig.payments(1), 0);
    }
}

#[tokio::test]
async fn a_manager_pays_with_a_restricted_key() {
    let dir = tempfile::tempdir().unwrap();
    let desk = live(&dir, Rig::restricted(network(), only(TRIGGER_SMART_CONTRACT))).await;
    desk.pay().await;
    let payout = only_payout(&desk).await;
    assert_eq!((&payout["status"], desk.rig.payments(1)), (&json!(Status::Completed.as_str()), 1), "{payout}");
    assert_eq!((&payout["waiting"], refusals(&desk).await.len()), (&Value::Null, 0));
}

#[tokio::test]
async fn a_manager_whose_key_may_not_call_contracts_says_why_and_pays_once_when_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let desk = live(&dir, Rig::restricted(network(), only(TRANSFER_OF_TRX))).await;
    desk.pay().await;
    let payout = only_payout(&desk).await;
    assert_eq!((&payout["status"], &payout["attempts"], &payout["waiting"]["why"]), (&json!("processing"), &json!(1), &json!("refused")));
    let why = payout["waiting"]["text"].as_str().unwrap();
    assert!(why.contains("SIGERROR") && why.contains("Permission denied"), "{why}");
    let alerts = refusals(&desk).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["subject"], payout["payout_id"], "{alerts:?}");
    assert!(alerts[0]["message"].as_str().unwrap().contains("Permission denied"), "{alerts:?}");

    // Frozen until its transfer is proven dead: nothing is refused any more, and it waits for something else.
    desk.site.client.post("/money/freeze", json!({ "reason": "for a test" })).await;
    for _ in 0..12 {
        desk.pass(120).await;
        desk.run(Job::Payouts).await;
    }
    let payout = only_payout(&desk).await;
    assert_eq!((&payout["waiting"]["why"], refusals(&desk).await.len()), (&json!("frozen"), 0), "{payout}");
    desk.site.client.post("/money/unfreeze", json!({ "reason": "for a test" })).await;

    // The next one is refused as well.
    let mut payout = only_payout(&desk).await;
    for _ in 0..20 {
        if payout["attempts"] == 2 {
            break;
        }
        desk.pass(120).await;
        desk.run(Job::Payouts).await;
        payout = only_payout(&desk).await;
    }
    let told = (&payout["status"], &payout["attempts"], &payout["waiting"]["why"], desk.rig.payments(1));
    assert_eq!(told, (&json!("processing"), &json!(2), &json!("refused"), 0));

    // The account's owner allows it. The very transfer that was refused is sent again.
    let owner = desk.rig.owner;
    let permissions = vec![Permission::owner(owner), only(TRIGGER_SMART_CONTRACT)(Rig::own_address())];
    desk.rig.network().chain.permissions.insert(owner, permissions);
    desk.pay().await;
    let payout = only_payout(&desk).await;
    assert_eq!((&payout["status"], &payout["attempts"], desk.rig.payments(1)), (&json!("completed"), &json!(2), 1), "{payout}");
    assert_eq!((&payout["waiting"], refusals(&desk).await.len()), (&Value::Null, 0));
    desk.pass(3_600).await;
    desk.pay().await;
    assert_eq!(desk.rig.payments(1), 1);
}
