//! Preparing: what is signed, and what keeps something from being signed.

use std::collections::HashSet;
use std::sync::Arc;

use lucid::domain::payout::{Attempt, AttemptState, Payout, ReviewKind};
use lucid::gateways::payment::signer::Request;
use lucid::gateways::payment::tron::SignedTransfer;
use lucid::gateways::payment::{Gateways, Lookup, NotPrepared, PaymentGateway, SendOutcome, Transfer, WAVE};

use crate::support::rig::{Rig, USDT, attempt, lock, payee, tron, url};
use crate::support::tron::{Fault, Lie, When};

fn later(prepared: Result<lucid::domain::payout::Prepared, NotPrepared>) -> String {
    match prepared {
        Err(NotPrepared::Later(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transfer_says_exactly_what_was_asked_for() {
    let rig = Rig::new(1);
    let payout = rig.payout(1, 10 * USDT);
    let prepared = rig.prepare(&payout).await.unwrap();
    let signed = SignedTransfer::read(&prepared.bytes).unwrap();
    let transfer = &signed.transfer;
    assert_eq!((transfer.to, transfer.amount, transfer.contract), (tron(&payee(1)), 10_000_000, rig.setup.contract));
    assert_eq!((signed.signer(), transfer.owner), (Some(rig.wallet.key), rig.wallet.account));
    let (solid_at, solid) = {
        let network = rig.network();
        let solid = network.chain.block(network.chain.solid()).unwrap();
        (solid.timestamp_ms, solid.number)
    };
    assert_eq!(
        (prepared.expires_at.unwrap().0, transfer.expires_at_ms),
        (solid_at + 600_000, solid_at + 600_000),
        "the chain's time counts"
    );
    assert_eq!(prepared.reference_block, solid);
    // 130,285 of energy to somebody who holds none, at 100 sun, and three tenths more.
    assert_eq!(prepared.fee_limit_sun, 16_937_050);
    assert_eq!(prepared.pin, rig.gateway.pin());
    assert_eq!(prepared.pin.network, "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc");
    assert_eq!(prepared.urls, [url(0), url(1)]);
    assert_eq!(rig.network().chain.pool().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn a_wave_of_a_hundred_rises_in_time_and_lands_whole() {
    let rig = Rig::new(1);
    let payouts: Vec<Payout> = (1..=WAVE as u64).map(|number| rig.payout(number, USDT)).collect();
    let transfers: Vec<Transfer> = payouts.iter().map(|payout| rig.transfer(payout)).collect();
    let prepared = rig.gateway.prepare(&transfers).await;
    let mut last = 0;
    let mut ids = HashSet::new();
    let mut sent = Vec::new();
    for (payout, prepared) in payouts.iter().zip(prepared) {
        let prepared = prepared.unwrap();
        assert!(prepared.timestamp_ms > last, "strictly rising");
        last = prepared.timestamp_ms;
        assert!(ids.insert(prepared.txid.clone()));
        let payout = payout.sign(prepared, Some(&payout.address), rig.now()).unwrap().maybe_sent(rig.now()).unwrap();
        assert_eq!(rig.send(&payout).await, SendOutcome::Accepted);
        sent.push(payout);
    }
    rig.advance(6);
    let now = rig.now().wall;
    assert!(rig.gateway.lookup(&sent, now).await.iter().all(|found| matches!(found, Lookup::Seen { .. })));
    rig.advance(120);
    let before: u64 = rig.network().nodes[0].requests.values().sum();
    let found = rig.gateway.lookup(&sent, rig.now().wall).await;
    assert!(found.iter().all(|found| matches!(found, Lookup::Paid(_))), "{found:?}");
    let asked = rig.network().nodes[0].requests.values().sum::<u64>() - before;
    assert!(asked < 20, "a wave is looked up by its blocks, not one by one: {asked} requests");
    assert!((1..=WAVE as u64).all(|number| rig.payments(number) == 1));
}

#[tokio::test]
async fn the_next_timestamp_is_above_what_the_caller_names() {
    let rig = Rig::new(0);
    let far = rig.now().wall.0 + 3_600_000;
    let transfers = [1, 2].map(|number| Transfer { after_timestamp_ms: far, ..rig.transfer(&rig.payout(number, USDT)) });
    let prepared = rig.gateway.prepare(&transfers).await;
    let times: Vec<i64> = prepared.into_iter().map(|prepared| prepared.unwrap().timestamp_ms).collect();
    assert_eq!(times, [far + 1, far + 2]);
}

#[tokio::test]
async fn nothing_is_signed_while_the_clocks_are_a_minute_apart() {
    for (skew_ms, fine) in [(0, true), (-57_000, true), (60_000, true), (60_001, false), (-60_001, false), (86_400_000, false)] {
        let rig = Rig::new(0);
        *lock(&rig.skew_ms) = skew_ms;
        match rig.prepare(&rig.payout(1, USDT)).await {
            Ok(_) => assert!(fine, "{skew_ms}"),
            other => assert!(!fine && later(other).contains("apart"), "{skew_ms}"),
        }
    }
}

#[tokio::test]
async fn a_node_of_another_network_is_asked_for_nothing_more() {
    let rig = Rig::new(0);
    rig.network().nodes[0].genesis = crate::support::tron::address::hash_of(crate::support::tron::chain::NILE_GENESIS);
    assert!(later(rig.prepare(&rig.payout(1, USDT)).await).contains("another network"));
    assert_eq!(rig.network().nodes[0].requests.len(), 1);
    let healthy = Rig::new(0);
    let payout = healthy.signed(&healthy.payout(1, USDT)).await;
    let SendOutcome::Refused(why) = rig.send(&payout).await else { panic!("sent") };
    assert!(why.contains("another network"), "{why}");
    assert!(matches!(rig.lookup(&payout).await, Lookup::Unknown(_)));
}

#[tokio::test]
async fn a_lying_solid_head_is_not_referred_to() {
    let rig = Rig::new(0);
    rig.network().nodes[0].faults.add("walletsolidity/getnowblock", When::Always, Fault::Lie(Lie::Ahead(5)));
    assert!(later(rig.prepare(&rig.payout(1, USDT)).await).contains("another block"));
}

#[tokio::test]
async fn a_frozen_solid_head_keeps_transfers_from_being_signed() {
    let rig = Rig::new(0);
    rig.network().chain.freeze_solid(true);
    rig.advance(400);
    assert!(rig.prepare(&rig.payout(1, USDT)).await.is_ok(), "two minutes of its life are left");
    rig.advance(60);
    assert!(later(rig.prepare(&rig.payout(2, USDT)).await).contains("finalizes nothing"));
}

#[tokio::test]
async fn what_would_fail_is_a_persons() {
    let rig = Rig::new(0);
    rig.network().chain.token.blacklisted.insert(payee(1));
    let Err(NotPrepared::Person { kind, evidence, .. }) = rig.prepare(&rig.payout(1, USDT)).await else { panic!("prepared") };
    assert_eq!(kind, ReviewKind::WouldFail);
    assert!(evidence[0].contains("The receiver is blacklisted"), "{evidence:?}");
    rig.network().chain.token.paused = true;
    assert!(matches!(rig.prepare(&rig.payout(2, USDT)).await, Err(NotPrepared::Person { .. })));
    rig.network().chain.token.paused = false;
    assert!(rig.prepare(&rig.payout(2, USDT)).await.is_ok());
}

#[tokio::test]
async fn a_wave_takes_no_more_than_the_wallet_has() {
    let rig = Rig::new(0);
    let owner = rig.owner;
    rig.network().chain.set_usdt(owner, 25_000_000);
    let payouts: Vec<Payout> = (1..=3).map(|number| rig.payout(number, 10 * USDT)).collect();
    let transfers: Vec<Transfer> = payouts.iter().map(|payout| rig.transfer(payout)).collect();
    let mut prepared = rig.gateway.prepare(&transfers).await;
    assert!(later(prepared.pop().unwrap()).contains("short of USDT"));
    assert!(prepared.iter().all(Result::is_ok));
    assert!(later(rig.prepare(&rig.payout(4, 10 * USDT)).await).contains("short of USDT"), "two of ten are under way");
    assert!(rig.prepare(&rig.payout(5, 5 * USDT)).await.is_ok());
}

#[tokio::test]
async fn a_wave_takes_no_more_fees_than_there_is_trx() {
    let rig = Rig::new(0);
    let owner = rig.owner;
    // 130,285 of energy at 100 sun; the first transfer's bytes are free.
    rig.network().chain.set_trx(owner, 13_028_500 * 2 + 345_000);
    let transfers: Vec<Transfer> = (1..=3).map(|number| rig.transfer(&rig.payout(number, USDT))).collect();
    let mut prepared = rig.gateway.prepare(&transfers).await;
    assert!(later(prepared.pop().unwrap()).contains("short of TRX"));
    assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
}

#[tokio::test]
async fn staked_energy_costs_nothing() {
    let rig = Rig::new(0);
    let owner = rig.owner;
    rig.network().chain.set_trx(owner, 0);
    rig.network().chain.staked.insert(owner, crate::support::tron::account::Staked { bandwidth: 345, energy: 130_285 });
    assert!(rig.prepare(&rig.payout(1, USDT)).await.is_ok());
    assert!(later(rig.prepare(&rig.payout(2, USDT)).await).contains("short of TRX"), "what is under way has used it");
}

#[tokio::test]
async fn a_fee_above_the_cap_waits() {
    let mut rig = Rig::new(0);
    rig.setup.fee_cap_sun = 16_937_049;
    rig.restart();
    assert!(later(rig.prepare(&rig.payout(1, USDT)).await).contains("above the cap"));
    rig.setup.fee_cap_sun += 1;
    rig.restart();
    assert!(rig.prepare(&rig.payout(1, USDT)).await.is_ok());
}

#[tokio::test]
async fn a_locked_signer_waits_for_its_passphrase() {
    let rig = Rig::new(0);
    rig.vault.answer(Request::Lock);
    assert!(later(rig.prepare(&rig.payout(1, USDT)).await).contains("locked"));
    rig.vault.unlock();
    assert!(rig.prepare(&rig.payout(1, USDT)).await.is_ok());
}

#[tokio::test]
async fn what_was_signed_and_not_recorded_is_taken_over() {
    let mut rig = Rig::new(0);
    let payout = rig.payout(1, USDT);
    let first = rig.prepare(&payout).await.unwrap();
    // The manager dies before its commit.
    rig.restart();
    rig.advance(9);
    let again = rig.prepare(&payout).await.unwrap();
    assert_eq!((&again.bytes, &again.txid, again.expires_at), (&first.bytes, &first.txid, first.expires_at), "the very same transaction");
    assert_eq!(
        (again.timestamp_ms, again.reference_block),
        (0, first.reference_block),
        "who may have been signed for before it, it does not say"
    );
}

#[tokio::test]
async fn nothing_is_signed_for_who_does_not_know_of_everything_that_was_signed() {
    let mut rig = Rig::new(0);
    let of = |number| rig.transfer(&rig.payout(number, USDT));
    let (first, second, third) = (of(1), of(2), of(3));
    assert_eq!(first.after_timestamp_ms, 0, "all three are asked for by a store that knows of nothing");
    rig.gateway.prepare(std::slice::from_ref(&first)).await.remove(0).unwrap();
    let known = rig.gateway.prepare(std::slice::from_ref(&second)).await.remove(0).unwrap().timestamp_ms;
    assert!(known > 0, "what this process was signed before, it knows");
    // A copy of the card, or the next process, whose store was told of nothing.
    rig.restart();
    let answers = rig.gateway.prepare(&[third.clone(), first]).await;
    assert!(matches!(answers[0], Err(NotPrepared::Unaccounted(_))), "{answers:?}");
    assert!(answers[1].is_ok(), "what was signed for this payout is told all the same: {answers:?}");
    assert!(
        matches!(rig.gateway.prepare(std::slice::from_ref(&third)).await.remove(0), Err(NotPrepared::Unaccounted(_))),
        "and tells nothing of others"
    );
    let third = Transfer { after_timestamp_ms: known, ..third };
    assert!(rig.gateway.prepare(&[third]).await.remove(0).is_ok());
}

#[tokio::test]
async fn another_transfer_of_the_same_payout_is_a_persons() {
    let rig = Rig::new(0);
    rig.prepare(&rig.payout(1, USDT)).await.unwrap();
    // A restored store planned it with another amount.
    let Err(NotPrepared::Person { kind, evidence, .. }) = rig.prepare(&rig.payout(1, 2 * USDT)).await else { panic!("prepared") };
    assert_eq!(kind, ReviewKind::Conflict);
    assert!(evidence[0].contains("1000000 units"), "{evidence:?}");
}

#[tokio::test]
async fn an_attempt_of_another_configuration_is_resolved_and_never_made_again() {
    let rig = Rig::new(1);
    let (payout, _) = rig.sent(1).await;
    rig.advance(120);
    // The operator moved to another network, whose node is not asked about this one.
    let clock = crate::support::rig::clock(&rig.network, &rig.skew_ms);
    let mut other = rig.setup.clone();
    other.network = lucid::gateways::payment::tron::Network::named("nile").unwrap();
    other.node_url = "http://nowhere.example".into();
    let transport = Arc::new(crate::support::rig::Wire(Arc::clone(&rig.network)));
    let formers = lucid::gateways::payment::tron::TronGateway::formers(Some(other), transport, clock);
    let gateways = Gateways::new(Arc::new(lucid::gateways::payment::Simulated), formers);
    let former = gateways.of(attempt(&payout)).unwrap();
    assert!(!former.has_wallet());
    assert!(matches!(former.lookup(std::slice::from_ref(&payout), rig.now().wall).await.remove(0), Lookup::Paid(_)));
    assert!(later(former.prepare(&[rig.transfer(&rig.payout(2, USDT))]).await.remove(0)).contains("not the one that pays"));
    let mut foreign = attempt(&payout).clone();
    foreign.prepared.pin.gateway = "payment_service".into();
    assert!(gateways.of(&foreign).is_none());
}

#[tokio::test]
async fn an_attempt_that_pays_something_else_than_its_payout_is_a_persons() {
    let rig = Rig::new(0);
    let (payout, _) = rig.sent(1).await;
    let changed = |change: &dyn Fn(&mut Attempt)| {
        let mut payout = payout.clone();
        change(payout.attempts.last_mut().unwrap());
        payout
    };
    let mut richer = payout.clone();
    richer.amount.0 += 1;
    let without = changed(&|attempt| attempt.prepared.bytes.clear());
    let renamed = changed(&|attempt| attempt.prepared.txid = Some("ab".repeat(32)));
    let moved = changed(&|attempt| attempt.prepared.reference_block += 1);
    for broken in [richer, without, renamed, moved] {
        assert!(matches!(rig.lookup(&broken).await, Lookup::Person { kind: ReviewKind::Conflict, .. }), "{broken:?}");
    }
    let broken = changed(&|attempt| attempt.prepared.bytes[40] ^= 1);
    assert!(matches!(rig.send(&broken).await, SendOutcome::Stop(_)));
    assert_eq!(attempt(&payout).state, AttemptState::MaybeSent);
}
