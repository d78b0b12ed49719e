//! What a receipt has to say, in which block, and what happens when two nodes do not say the same.

use lucid::domain::payout::{Payout, ReviewKind};
use lucid::gateways::payment::{Lookup, PaymentGateway};

use crate::support::rig::{Rig, USDT, attempt, payee, url};
use crate::support::tron::block::VmResult;
use crate::support::tron::{Address, Fault, Lie, Replay, When};

/// Kind and evidence, in one text.
fn persons(found: Lookup) -> (ReviewKind, String) {
    match found {
        Lookup::Person { kind, reason, evidence } => (kind, format!("{reason}; {}", evidence.join("; "))),
        other => panic!("{other:?}"),
    }
}

async fn final_payout(rig: &Rig) -> Payout {
    let (payout, _) = rig.sent(1).await;
    rig.advance(120);
    payout
}

fn txid(payout: &Payout) -> String {
    attempt(payout).prepared.txid.clone().unwrap()
}

#[tokio::test]
async fn a_lying_receipt_pays_nothing() {
    let somebody = Address::labelled("somebody");
    let lies = [
        Lie::Amount(9_999_999),
        Lie::Amount(10_000_001),
        Lie::LogContract(somebody),
        Lie::Recipient(somebody),
        Lie::Sender(somebody),
        Lie::NoLog,
        Lie::Result(VmResult::Revert),
        Lie::Result(VmResult::OutOfEnergy),
        Lie::Result(VmResult::Unknown),
    ];
    for lie in lies {
        let rig = Rig::new(1);
        let payout = final_payout(&rig).await;
        rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(lie.clone()));
        let (kind, _) = persons(rig.lookup(&payout).await);
        assert_eq!(kind, ReviewKind::Conflict, "{lie:?}");
    }
    for lie in [Lie::Id, Lie::BlockNumber(80_000_030), Lie::BlockNumber(80_000_001), Lie::NoReceipt] {
        let rig = Rig::new(1);
        let payout = final_payout(&rig).await;
        rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(lie.clone()));
        let found = rig.lookup(&payout).await;
        assert!(!matches!(found, Lookup::Paid(_) | Lookup::Dead(_) | Lookup::FailedOnChain { .. }), "{lie:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_receipt_of_a_payment_that_never_was_is_seen_through() {
    let rig = Rig::new(0);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    rig.advance(60);
    let lie = Lie::Paid { from: rig.owner, to: payee(1), amount: 10_000_000 };
    rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(lie));
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert_eq!(kind, ReviewKind::Conflict);
    assert!(text.contains("does not hold it"), "{text}");
}

#[tokio::test]
async fn a_success_that_moved_less_is_a_persons() {
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    rig.network().chain.token.fee_basis_points = 100;
    rig.send(&payout).await;
    rig.advance(120);
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert_eq!(kind, ReviewKind::Conflict);
    assert!(text.contains("9900000 units"), "{text}");
}

#[tokio::test]
async fn what_transfer_returns_says_nothing() {
    for returns_true in [false, true] {
        let rig = Rig::new(1);
        rig.network().chain.token.returns_true = returns_true;
        let payout = final_payout(&rig).await;
        assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)), "{returns_true}");
    }
}

#[tokio::test]
async fn a_failure_that_a_witness_confirms_is_one() {
    let cases = [
        (VmResult::Revert, "REVERT"),
        (VmResult::OutOfEnergy, "OUT_OF_ENERGY"),
        (VmResult::OutOfTime, "OUT_OF_TIME"),
        (VmResult::BadJumpDestination, "BAD_JUMP_DESTINATION"),
    ];
    for (result, name) in cases {
        let rig = Rig::new(1);
        let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
        rig.network().chain.forced_results.push_back(result);
        rig.send(&payout).await;
        rig.advance(30);
        assert!(matches!(rig.lookup(&payout).await, Lookup::Seen { .. }), "a failure can be taken back too");
        rig.advance(90);
        let Lookup::FailedOnChain { reason, landed } = rig.lookup(&payout).await else { panic!("{name}") };
        assert_eq!((reason.as_str(), landed.txid.as_deref()), (name, Some(txid(&payout).as_str())));
        assert!(landed.fee_sun > 0);
        assert_eq!(rig.payments(1), 0);
    }
}

#[tokio::test]
async fn nobody_is_paid_again_on_one_nodes_word() {
    let failed = async |witnesses| {
        let rig = Rig::new(witnesses);
        let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
        rig.network().chain.forced_results.push_back(VmResult::Revert);
        rig.send(&payout).await;
        rig.advance(120);
        (rig, payout)
    };
    let (rig, payout) = failed(0).await;
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert_eq!(kind, ReviewKind::Ambiguous);
    assert!(text.contains("no witness") && text.contains("REVERT"), "{text}");

    let (rig, payout) = failed(1).await;
    rig.network().nodes[1].faults.add("", When::First(1), Fault::NotReached);
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)), "it waits for the witness");
    assert!(matches!(rig.rested_lookup(&payout).await, Lookup::FailedOnChain { .. }));

    let (rig, payout) = failed(1).await;
    rig.network().nodes[1].lag = 100;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)), "it waits for the witness to catch up");
}

#[tokio::test]
async fn a_node_that_lies_about_a_failure_is_contradicted() {
    // The receipt says that it failed and has no log; the witness has seen it pay.
    let rig = Rig::new(1);
    let payout = final_payout(&rig).await;
    rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(Lie::Result(VmResult::Revert)));
    rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(Lie::NoLog));
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert_eq!(kind, ReviewKind::Conflict);
    assert!(text.contains(&url(1)) && text.contains("two nodes"), "{text}");
}

#[tokio::test]
async fn nobody_is_believed_paid_before_a_witness_has_it_too() {
    for change in [0, 1, 2] {
        let mut rig = Rig::new(1);
        let payout = final_payout(&rig).await;
        match change {
            0 => rig.network().nodes[1].faults.add("", When::Always, Fault::NotReached),
            1 => rig.network().nodes[1].lag = 200,
            _ => rig.network().nodes[1].genesis = Some([7; 32]),
        }
        let Lookup::Unknown(why) = rig.lookup(&payout).await else { panic!("{change}") };
        assert!(why.contains("no witness") && why.contains(&url(1)), "{why}");
        // Another witness is enough; and so is nobody, where an operator wants it so.
        rig.setup.witness_urls.clear();
        rig.restart();
        assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)), "{change}");
    }
    let rig = Rig::new(2);
    let payout = final_payout(&rig).await;
    rig.network().nodes[1].faults.add("", When::Always, Fault::NotReached);
    assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)), "the second witness has it");
}

#[tokio::test]
async fn a_witness_without_receipts_tells_by_its_block() {
    let rig = Rig::new(1);
    let payout = final_payout(&rig).await;
    rig.network().nodes[1].history = false;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)));
    // It failed, the node says that it did not, and the block of the witness says that it did.
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    rig.network().chain.forced_results.push_back(VmResult::Revert);
    rig.send(&payout).await;
    rig.advance(120);
    rig.network().nodes[1].history = false;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)), "what failed wants a receipt of the witness too");
    let block = rig.network().chain.audit()[0].block;
    let paid = Lie::Paid { from: rig.owner, to: payee(1), amount: 10_000_000 };
    for lie in [Lie::NoReceipt, paid, Lie::BlockNumber(block)] {
        rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(lie));
    }
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert!(kind == ReviewKind::Conflict && text.contains("it failed"), "{text}");
}

#[tokio::test]
async fn a_witness_of_another_chain_makes_it_a_persons() {
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    {
        let mut network = rig.network();
        let network = &mut *network;
        network.nodes[1].fork_off(&network.chain, 1);
    }
    rig.send(&payout).await;
    rig.advance(120);
    let (kind, text) = persons(rig.lookup(&payout).await);
    assert_eq!(kind, ReviewKind::Conflict);
    assert!(text.contains("does not hold it"), "{text}");
    // The branch was left: the same look finds the payment.
    rig.network().nodes[1].rejoin();
    let mut rig = rig;
    rig.restart();
    assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)));
}

#[tokio::test]
async fn a_witness_of_another_network_is_none() {
    let rig = Rig::new(1);
    rig.network().nodes[1].genesis = Some([7; 32]);
    let payout = final_payout(&rig).await;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)));
    rig.network().nodes[1].requests.keys().for_each(|path| assert_eq!(path, "/wallet/getblockbynum"));
}

#[tokio::test]
async fn taken_out_by_a_reorganisation_it_is_sent_again_or_comes_back() {
    for replay in [Replay::Dropped, Replay::Included, Replay::After(20_000)] {
        let rig = Rig::new(1);
        let (payout, _) = rig.sent(1).await;
        rig.advance(9);
        let Lookup::Seen { block } = rig.lookup(&payout).await else { panic!("not seen") };
        let seen = payout.seen(block, rig.now()).unwrap();
        rig.network().chain.reorg(5, |_| replay);
        let found = rig.lookup(&seen).await;
        match replay {
            Replay::Included => assert!(matches!(found, Lookup::Seen { .. }), "{found:?}"),
            _ => assert_eq!(found, Lookup::NotSeen, "{replay:?}"),
        }
        rig.send(&seen).await;
        rig.advance(120);
        assert!(matches!(rig.lookup(&seen).await, Lookup::Paid(_)), "{replay:?}");
        assert_eq!(rig.payments(1), 1);
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_says_nothing() {
    for fault in [
        Fault::NotReached,
        Fault::Status(429),
        Fault::Limiter,
        Fault::LiteText,
        Fault::Truncated,
        Fault::NotJson,
        Fault::WrongShape,
        Fault::EmptyBody,
        Fault::Huge(5 << 20),
    ] {
        for path in ["getnowblock", "gettransactioninfobyid", "walletsolidity/getblockbynum"] {
            let rig = Rig::new(1);
            let payout = final_payout(&rig).await;
            rig.network().nodes[0].faults.add(path, When::First(1), fault.clone());
            let found = rig.lookup(&payout).await;
            assert!(matches!(found, Lookup::Unknown(_)), "{path} {fault:?}: {found:?}");
            assert!(matches!(rig.rested_lookup(&payout).await, Lookup::Paid(_)), "{path} {fault:?}");
        }
    }
    let rig = Rig::new(1);
    let payout = final_payout(&rig).await;
    rig.network().nodes[0].lite = true;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)), "a lite node has no receipts");
}

#[tokio::test]
async fn one_answer_of_a_late_node_changes_nothing() {
    for nth in 1..=4 {
        let rig = Rig::new(1);
        let payout = final_payout(&rig).await;
        for node in 0..2 {
            rig.network().nodes[node].faults.add("", When::Nth(nth), Fault::Stale(60));
        }
        // The witness is asked less often than the node: its late answer may be one to a later look.
        for _ in 0..5 {
            let found = rig.rested_lookup(&payout).await;
            assert!(!matches!(found, Lookup::Dead(_) | Lookup::FailedOnChain { .. } | Lookup::Person { .. }), "{nth}: {found:?}");
        }
        assert!(matches!(rig.rested_lookup(&payout).await, Lookup::Paid(_)));
    }
}

#[tokio::test]
async fn what_a_person_names_is_verified() {
    let rig = Rig::new(1);
    let payout = final_payout(&rig).await;
    assert!(matches!(rig.gateway.verify(&payout, &txid(&payout)).await, Lookup::Paid(_)));
    // A hot wallet was empty, and a person paid from another one.
    let second = rig.payout(2, 5 * USDT);
    let (other, paid) = {
        let mut network = rig.network();
        let wallet = crate::support::tron::Wallet::labelled("the person's own wallet");
        network.chain.give_usdt(wallet.address, 100_000_000);
        network.chain.give_trx(wallet.address, 1_000_000_000);
        let transactions = [5_000_000, 4_999_999].map(|amount| wallet.pay(&network.chain, payee(2), amount));
        let ids = transactions.each_ref().map(|transaction| crate::support::tron::address::hex(&transaction.txid));
        for transaction in transactions {
            network.broadcast(0, transaction, crate::support::tron::chain::Inclusion::Next);
        }
        (ids[1].clone(), ids[0].clone())
    };
    rig.advance(6);
    assert!(matches!(rig.gateway.verify(&second, &paid).await, Lookup::Seen { .. }));
    rig.advance(120);
    assert!(matches!(rig.gateway.verify(&second, &paid).await, Lookup::Paid(_)));
    assert_eq!(persons(rig.gateway.verify(&second, &other).await).0, ReviewKind::Conflict, "another amount");
    assert_eq!(persons(rig.gateway.verify(&second, &txid(&payout)).await).0, ReviewKind::Conflict, "another address");
    assert_eq!(persons(rig.gateway.verify(&second, "what I did").await).0, ReviewKind::Conflict);
    assert_eq!(rig.gateway.verify(&second, &"ab".repeat(32)).await, Lookup::NotSeen);
    let later = rig.payout(2, 5 * USDT);
    assert!(persons(rig.gateway.verify(&later, &paid).await).1.contains("older than the payout"));
    // The witness has to agree.
    {
        let mut network = rig.network();
        let network = &mut *network;
        network.nodes[1].fork_off(&network.chain, 100);
    }
    let mut rig = rig;
    rig.restart();
    assert!(persons(rig.gateway.verify(&second, &paid).await).1.contains("two nodes"));
}
