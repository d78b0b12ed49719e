//! Sending: what each answer means, and that the same bytes land once however often and wherever they are sent.

use lucid::gateways::payment::{Lookup, SendOutcome};

use crate::support::rig::{Rig, USDT};
use crate::support::tron::{Fault, Lie, When};

const BROADCAST: &str = "broadcasthex";

/// Sends once more, when every node has rested.
async fn again(rig: &Rig, payout: &lucid::domain::payout::Payout) -> SendOutcome {
    rig.advance(15);
    rig.send(payout).await
}

async fn is_paid_once(rig: &Rig, payout: &lucid::domain::payout::Payout) {
    rig.advance(120);
    let found = rig.lookup(payout).await;
    assert!(matches!(found, Lookup::Paid(_)), "{found:?}");
    assert_eq!(rig.payments(payout.seq), 1);
}

#[tokio::test]
async fn an_accepted_transfer_is_seen_and_then_paid_by_its_receipt() {
    let rig = Rig::new(1);
    let (payout, outcome) = rig.sent(1).await;
    assert_eq!(outcome, SendOutcome::Accepted);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen, "a pool proves nothing");
    rig.advance(3);
    assert!(matches!(rig.lookup(&payout).await, Lookup::Seen { .. }));
    rig.advance(51);
    assert!(matches!(rig.lookup(&payout).await, Lookup::Seen { .. }), "17 blocks on top are not enough");
    rig.advance(3);
    let Lookup::Paid(landed) = rig.lookup(&payout).await else { panic!("not paid") };
    assert_eq!(landed.txid, payout.attempts[0].prepared.txid);
    assert_eq!(i64::try_from(landed.fee_sun).unwrap(), rig.network().chain.fees(&rig.owner));
    is_paid_once(&rig, &payout).await;
}

#[tokio::test]
async fn what_may_have_arrived_counts_as_sent() {
    for fault in [
        Fault::LostResponse,
        Fault::TimeoutAfter,
        Fault::CutBody(10),
        Fault::Truncated,
        Fault::StatusAfter(503),
        Fault::Huge(5 << 20),
        Fault::P2pFailed,
    ] {
        let rig = Rig::new(0);
        rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), fault.clone());
        let (payout, outcome) = rig.sent(1).await;
        let expected_unknown = fault != Fault::P2pFailed;
        assert_eq!(matches!(outcome, SendOutcome::Unknown(_)), expected_unknown, "{fault:?}: {outcome:?}");
        // Sent again while it is in the pool, and while it is in a block: a duplicate.
        assert_eq!(again(&rig, &payout).await, SendOutcome::Accepted, "{fault:?}");
        is_paid_once(&rig, &payout).await;
    }
}

#[tokio::test]
async fn what_never_arrived_is_sent_again_and_lands_once() {
    let documented = [
        Fault::NotReached,
        Fault::TimeoutBefore,
        Fault::Status(429),
        Fault::Status(403),
        Fault::Status(503),
        Fault::Status(500),
        Fault::Status(401),
        Fault::Status(413),
        Fault::Limiter,
        Fault::LiteText,
        Fault::ErrorBody("class java.lang.NullPointerException : null"),
        Fault::NotJson,
        Fault::WrongShape,
        Fault::EmptyBody,
    ];
    for fault in documented {
        let rig = Rig::new(0);
        rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), fault.clone());
        let (payout, outcome) = rig.sent(1).await;
        assert!(matches!(outcome, SendOutcome::Unknown(_)), "{fault:?}: {outcome:?}");
        // An answer of another shape is the node's, and it is not left alone for that.
        if fault != Fault::WrongShape {
            let asked = |rig: &Rig| rig.network().nodes[0].requests["/wallet/broadcasthex"];
            let before = asked(&rig);
            let SendOutcome::Refused(why) = rig.send(&payout).await else { panic!("{fault:?}: it rests") };
            assert!(why.contains("rests"), "{fault:?}: {why}");
            assert_eq!(asked(&rig), before, "{fault:?}: nobody is asked while it rests");
        }
        assert_eq!(again(&rig, &payout).await, SendOutcome::Accepted, "{fault:?}");
        is_paid_once(&rig, &payout).await;
    }
}

#[tokio::test]
async fn rests_double_and_end_with_an_answer() {
    let rig = Rig::new(0);
    let (payout, _) = rig.sent(1).await;
    rig.network().nodes[0].faults.add("", When::First(3), Fault::Status(429));
    let asked = |rig: &Rig| rig.network().nodes[0].requests.values().sum::<u64>();
    let mut waits = Vec::new();
    for _ in 0..3 {
        let (before, mut seconds) = (asked(&rig), 0);
        while asked(&rig) == before {
            rig.lookup(&payout).await;
            rig.advance(1);
            seconds += 1;
        }
        waits.push(seconds);
    }
    assert!(waits[0] == 1 && (5..=9).contains(&waits[1]) && (8..=14).contains(&waits[2]), "{waits:?}");
    let mut seconds = 0;
    while matches!(rig.lookup(&payout).await, Lookup::Unknown(_)) {
        rig.advance(1);
        seconds += 1;
    }
    assert!((14..=27).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn what_one_node_refuses_before_its_pool_another_one_is_given() {
    for code in ["SERVER_BUSY", "NO_CONNECTION", "BLOCK_UNSOLIDIFIED", "TAPOS_ERROR"] {
        let rig = Rig::new(1);
        rig.network().nodes[0].faults.add(BROADCAST, When::Always, Fault::Refused(code));
        let (payout, outcome) = rig.sent(1).await;
        assert_eq!(outcome, SendOutcome::Accepted, "{code}");
        is_paid_once(&rig, &payout).await;

        let alone = Rig::new(0);
        alone.network().nodes[0].faults.add(BROADCAST, When::Always, Fault::Refused(code));
        let SendOutcome::Refused(why) = alone.sent(1).await.1 else { panic!("{code}") };
        assert!(why.contains(code), "{why}");
    }
}

#[tokio::test]
async fn what_others_would_refuse_too_stops_the_run() {
    for code in ["SIGERROR", "CONTRACT_VALIDATE_ERROR", "CONTRACT_EXE_ERROR", "TOO_BIG_TRANSACTION_ERROR", "OTHER_ERROR", "SOMETHING_NEW"] {
        let rig = Rig::new(1);
        rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), Fault::Refused(code));
        let SendOutcome::Stop(why) = rig.sent(1).await.1 else { panic!("{code}") };
        assert!(why.contains(code), "{why}");
    }
    let rig = Rig::new(0);
    // Takes what is free of bandwidth.
    rig.sent(2).await;
    rig.advance(6);
    let payout = rig.signed(&rig.payout(1, USDT)).await;
    let owner = rig.owner;
    rig.network().chain.set_trx(owner, 0);
    let SendOutcome::Stop(why) = rig.send(&payout).await else { panic!("without bandwidth") };
    assert!(why.contains("BANDWITH_ERROR"), "{why}");
    // Topped up, the same bytes go through.
    rig.network().chain.set_trx(owner, 1_000_000_000);
    assert_eq!(rig.send(&payout).await, SendOutcome::Accepted);
    is_paid_once(&rig, &payout).await;
}

#[tokio::test]
async fn a_duplicate_is_given_to_others_because_a_cache_may_say_so() {
    // SIGERROR, then DUP: the node's cache remembers what it refused.
    let rig = Rig::new(1);
    rig.network().nodes[0].transaction_cache = true;
    rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), Fault::NeverIncluded);
    let (payout, outcome) = rig.sent(1).await;
    assert_eq!(outcome, SendOutcome::Accepted);
    rig.advance(70);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen, "the pool threw it out");
    assert_eq!(rig.send(&payout).await, SendOutcome::Accepted);
    is_paid_once(&rig, &payout).await;
}

#[tokio::test]
async fn accepted_and_thrown_away_is_sent_again() {
    for lie in [Fault::Lie(Lie::Accepted), Fault::NeverIncluded] {
        let rig = Rig::new(0);
        rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), lie.clone());
        let (payout, outcome) = rig.sent(1).await;
        assert_eq!(outcome, SendOutcome::Accepted);
        rig.advance(61);
        assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen, "{lie:?}");
        assert_eq!(rig.send(&payout).await, SendOutcome::Accepted, "{lie:?}");
        is_paid_once(&rig, &payout).await;
    }
}

#[tokio::test]
async fn after_its_expiry_no_node_takes_it() {
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, USDT)).await;
    rig.advance(601);
    let SendOutcome::Refused(why) = rig.send(&payout).await else { panic!("taken") };
    assert!(why.contains("TRANSACTION_EXPIRATION_ERROR"), "{why}");
    assert_eq!(rig.payments(1), 0);
}

#[tokio::test]
async fn held_back_by_a_producer_it_lands_late_and_once() {
    let rig = Rig::new(1);
    rig.network().nodes[0].faults.add(BROADCAST, When::Nth(1), Fault::IncludedAfter(300_000));
    let (payout, _) = rig.sent(1).await;
    rig.advance(240);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen);
    rig.advance(90);
    assert!(matches!(rig.lookup(&payout).await, Lookup::Seen { .. }));
    is_paid_once(&rig, &payout).await;
}
