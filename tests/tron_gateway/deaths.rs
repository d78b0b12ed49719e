//! The death proof, and that it is not given when any part of it is missing.

use lucid::domain::payout::{Death, Payout, ReviewKind};
use lucid::gateways::payment::{Lookup, NotPrepared, PaymentGateway, SendOutcome, Transfer};

use crate::support::rig::{Rig, USDT, attempt, lock, url};
use crate::support::tron::{Fault, Lie, When};

/// Signed, recorded as sent, and never heard of by anybody; so long ago that it can be proven.
async fn lost(rig: &Rig) -> Payout {
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    rig.advance(1_300);
    payout
}

fn is_dead(found: &Lookup) -> bool {
    matches!(found, Lookup::Dead(_))
}

#[tokio::test]
async fn an_expired_attempt_is_proven_dead_and_another_one_pays() {
    let rig = Rig::new(1);
    let payout = lost(&rig).await;
    let Lookup::Dead(death) = rig.lookup(&payout).await else { panic!("not proven") };
    let Death::Expired(proof) = &death else { panic!("{death:?}") };
    let prepared = &attempt(&payout).prepared;
    assert_eq!((proof.scanned_from, proof.scanned_to), (prepared.reference_block, proof.solid_block));
    assert!(
        proof.solid_at >= prepared.expires_at.unwrap() && proof.solid_at.0 < prepared.expires_at.unwrap().0 + 3_000,
        "the first block past it"
    );
    assert_eq!(proof.witnesses, [url(1)]);
    let dead = payout.dead(death, rig.now()).unwrap();
    // The signer holds the proof against its own log and clock.
    let second = rig.signed(&dead).await;
    assert_eq!(rig.send(&second).await, SendOutcome::Accepted);
    rig.advance(120);
    assert!(matches!(rig.lookup(&second).await, Lookup::Paid(_)));
    assert_eq!(rig.payments(1), 1);
}

/// As a store has it that came back from the cluster, where no signed transfer is.
fn came_back(payout: &Payout) -> Payout {
    let mut payout = payout.clone();
    let prepared = &mut payout.attempts[0].prepared;
    prepared.bytes = prepared.unsigned();
    payout
}

#[tokio::test]
async fn without_its_signature_an_attempt_is_not_sent_and_ends_all_the_same() {
    let rig = Rig::new(1);
    let (sent, _) = rig.sent(1).await;
    let unsigned = came_back(&sent);
    assert!(
        !attempt(&unsigned).prepared.bytes.is_empty()
            && attempt(&unsigned).prepared.bytes.len() + 67 == attempt(&sent).prepared.bytes.len()
    );
    rig.advance(3);
    assert!(matches!(rig.lookup(&unsigned).await, Lookup::Seen { .. }));
    rig.advance(120);
    assert_eq!(rig.lookup(&unsigned).await, rig.lookup(&sent).await);
    assert!(matches!(rig.lookup(&unsigned).await, Lookup::Paid(_)));

    let rig = Rig::new(1);
    let unsigned = came_back(&rig.signed(&rig.payout(2, 10 * USDT)).await);
    assert!(matches!(rig.send(&unsigned).await, SendOutcome::Refused(why) if why.contains("signature")));
    rig.advance(120);
    assert_eq!((rig.lookup(&unsigned).await, rig.payments(2)), (Lookup::NotSeen, 0));
    rig.advance(1_300);
    let Lookup::Dead(death) = rig.lookup(&unsigned).await else { panic!("not proven") };
    // The signer may be the same: it knows the first one.
    let second = rig.signed(&unsigned.dead(death, rig.now()).unwrap()).await;
    assert_eq!(rig.send(&second).await, SendOutcome::Accepted);
    rig.advance(120);
    assert!(matches!(rig.lookup(&second).await, Lookup::Paid(_)));
    assert_eq!(rig.payments(2), 1);
}

#[tokio::test]
async fn the_last_block_that_could_hold_it_is_searched() {
    // In the first block as late as the expiry: its parent is earlier, so the chain still takes it.
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    let expires_at = attempt(&payout).prepared.expires_at.unwrap().0;
    let held_ms = expires_at - rig.now().wall.0;
    rig.network().nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::IncludedAfter(held_ms));
    rig.send(&payout).await;
    rig.advance(1_300);
    let block = rig.network().chain.audit()[0].block;
    assert!(rig.network().chain.block(block).unwrap().timestamp_ms >= expires_at, "the test is about that block");
    assert!(matches!(rig.lookup(&payout).await, Lookup::Paid(_)));
    // A node that denies the receipt does not deny the block.
    rig.network().nodes[0].history = false;
    rig.network().nodes[1].history = false;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Person { kind: ReviewKind::Conflict, .. }));
}

#[tokio::test]
async fn each_missing_part_keeps_the_proof_from_being_given() {
    type Break = fn(&Rig);
    let parts: [(&str, Break); 16] = [
        ("the node's final chain ends before the expiry", |rig| {
            let behind = rig.network().chain.solid() - 300;
            rig.network().nodes[0].solid_stuck_at = Some(behind);
        }),
        ("the witness's final chain ends before the expiry", |rig| {
            let behind = rig.network().chain.solid() - 300;
            rig.network().nodes[1].solid_stuck_at = Some(behind);
        }),
        ("the witness is away", |rig| rig.network().nodes[1].faults.add("", When::Always, Fault::NotReached)),
        ("the witness is of another network", |rig| rig.network().nodes[1].genesis = Some([7; 32])),
        ("the witness is a lite node", |rig| rig.network().nodes[1].lite = true),
        ("the node becomes a lite node", |rig| rig.network().nodes[0].lite = true),
        ("the node's blocks are not linked", |rig| {
            rig.network().nodes[0].faults.add("walletsolidity/getblockbynum", When::Nth(100), Fault::Lie(Lie::Unlinked));
        }),
        ("the witness's blocks are not linked", |rig| {
            rig.network().nodes[1].faults.add("walletsolidity/getblockbynum", When::Nth(100), Fault::Lie(Lie::Unlinked));
        }),
        ("the reference is not the one of the bytes", |rig| {
            let mut network = rig.network();
            let network = &mut *network;
            network.nodes[0].fork_off(&network.chain, 10_000);
        }),
        ("a block is not shown", |rig| rig.network().nodes[1].faults.add("walletsolidity/getblockbynum", When::Nth(50), Fault::Stale(800))),
        ("a block is cut", |rig| rig.network().nodes[0].faults.add("walletsolidity/getblockbynum", When::Nth(150), Fault::Truncated)),
        ("the node limits requests", |rig| rig.network().nodes[0].faults.add("walletsolidity", When::Nth(60), Fault::Status(429))),
        ("a receipt cannot be asked for at the witness", |rig| {
            rig.network().nodes[1].faults.add("gettransactioninfobyid", When::Always, Fault::Limiter);
        }),
        ("the witness follows another branch", |rig| {
            let mut network = rig.network();
            let network = &mut *network;
            network.nodes[1].fork_off(&network.chain, 400);
        }),
        ("our clock is behind", |rig| *lock(&rig.skew_ms) = -200_000),
        ("the node is away", |rig| rig.network().nodes[0].faults.add("", When::First(1), Fault::NotReached)),
    ];
    for (what, break_it) in parts {
        let rig = Rig::new(1);
        let payout = lost(&rig).await;
        break_it(&rig);
        let found = rig.lookup(&payout).await;
        assert!(matches!(found, Lookup::NotSeen | Lookup::Unknown(_)), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn without_a_witness_nothing_is_ever_dead() {
    let rig = Rig::new(0);
    let payout = lost(&rig).await;
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen);
    rig.advance(86_400);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen);
    // The node itself, named again, is none.
    let mut rig = Rig::new(1);
    rig.setup.witness_urls = vec![format!("{}/", url(0))];
    rig.restart();
    let payout = lost(&rig).await;
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen);
}

#[tokio::test]
async fn ten_minutes_by_our_own_clock_are_waited_for() {
    let rig = Rig::new(1);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    let expires_at = attempt(&payout).prepared.expires_at.unwrap().0;
    let wait_ms = expires_at + 599_000 - rig.now().wall.0;
    rig.network().chain.advance(wait_ms);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen);
    rig.advance(1);
    assert!(is_dead(&rig.lookup(&payout).await));
}

#[tokio::test]
async fn blocks_without_transactions_prove_nothing_against_a_witness() {
    // It was paid. The node hides the receipt and empties its blocks; the witness has it all.
    let rig = Rig::new(1);
    let (payout, _) = rig.sent(1).await;
    rig.advance(1_300);
    rig.network().nodes[0].faults.add("gettransactioninfobyid", When::Always, Fault::Lie(Lie::NoReceipt));
    rig.network().nodes[0].faults.add("getblockbynum", When::Always, Fault::Lie(Lie::EmptyBlocks));
    assert!(matches!(rig.lookup(&payout).await, Lookup::Person { kind: ReviewKind::Conflict, .. }));
    // The witness hides its receipts too, but not its blocks.
    rig.network().nodes[1].history = false;
    assert!(matches!(rig.lookup(&payout).await, Lookup::Person { kind: ReviewKind::Conflict, .. }));
}

#[tokio::test]
async fn nodes_without_history_do_not_prove_a_death() {
    let rig = Rig::new(1);
    let (first, _) = rig.sent(2).await;
    rig.advance(120);
    assert!(matches!(rig.lookup(&first).await, Lookup::Paid(_)));
    let payout = lost(&rig).await;
    rig.network().nodes[1].history = false;
    let found = rig.lookup(&payout).await;
    assert!(matches!(&found, Lookup::Unknown(why) if why.contains("does not show")), "{found:?}");
    rig.network().nodes[1].history = true;
    assert!(is_dead(&rig.lookup(&payout).await));
}

#[tokio::test]
async fn a_search_that_was_cut_short_goes_on() {
    let rig = Rig::new(1);
    let payout = lost(&rig).await;
    // One request in thirty fails, of 400.
    for node in 0..2 {
        rig.network().nodes[node].faults.add("walletsolidity/getblockbynum", When::Chance(33), Fault::Status(503));
    }
    let mut cycles = 0;
    while !is_dead(&rig.lookup(&payout).await) {
        rig.advance(30);
        cycles += 1;
        assert!(cycles < 200, "it never ends");
    }
    assert!(cycles > 2, "the test cut it short");
}

#[tokio::test]
async fn a_wave_shares_its_search() {
    let rig = Rig::new(1);
    let payouts: Vec<Payout> = (1..=100).map(|number| rig.payout(number, USDT)).collect();
    let transfers: Vec<Transfer> = payouts.iter().map(|payout| rig.transfer(payout)).collect();
    let prepared = rig.gateway.prepare(&transfers).await;
    let sign =
        |(payout, prepared): (&Payout, _)| payout.sign(prepared, Some(&payout.address), rig.now()).unwrap().maybe_sent(rig.now()).unwrap();
    let sent: Vec<Payout> = payouts.iter().zip(prepared.into_iter().map(Result::unwrap)).map(sign).collect();
    rig.advance(1_300);
    let found = rig.gateway.lookup(&sent, rig.now().wall).await;
    assert!(found.iter().all(is_dead));
    let blocks = rig.network().nodes[0].requests["/walletsolidity/getblockbynum"];
    assert!((200..=220).contains(&blocks), "{blocks} blocks were asked for");
}

#[tokio::test]
async fn the_signer_asks_for_its_own_ten_minutes() {
    let rig = Rig::new(1);
    let payout = lost(&rig).await;
    let Lookup::Dead(death) = rig.lookup(&payout).await else { panic!("not proven") };
    let dead = payout.dead(death, rig.now()).unwrap();
    *lock(&rig.vault.skew_ms) = -300_000;
    let Err(NotPrepared::Later(why)) = rig.prepare(&dead).await else { panic!("signed") };
    assert!(why.contains("resolution_inconsistent"), "{why}");
    *lock(&rig.vault.skew_ms) = 0;
    assert!(rig.prepare(&dead).await.is_ok());
}

#[tokio::test]
async fn a_store_that_forgot_an_attempt_takes_up_the_signers() {
    // Two attempts were made; the store is restored to before the first.
    let mut rig = Rig::new(1);
    let fresh = rig.payout(1, 10 * USDT);
    let payout = rig.signed(&fresh).await;
    rig.advance(1_300);
    let Lookup::Dead(death) = rig.lookup(&payout).await else { panic!("not proven") };
    let dead = payout.dead(death, rig.now()).unwrap();
    let second = rig.signed(&dead).await;
    assert_eq!(rig.send(&second).await, SendOutcome::Accepted);
    rig.restart();
    let restored = rig.signed(&fresh).await;
    assert_eq!(attempt(&restored).prepared.txid, attempt(&second).prepared.txid, "what may be on its way is taken over");
    rig.advance(120);
    assert!(matches!(rig.lookup(&restored).await, Lookup::Paid(_)));
    // Restored once more, when that one never landed: its number is the signer's, not the store's.
    let third = rig.payout(3, 10 * USDT);
    let one = rig.signed(&third).await;
    rig.advance(1_300);
    let Lookup::Dead(death) = rig.lookup(&one).await else { panic!("not proven") };
    let two = rig.signed(&one.dead(death, rig.now()).unwrap()).await;
    rig.advance(1_300);
    let taken = rig.signed(&third).await;
    assert_eq!(attempt(&taken).prepared.txid, attempt(&two).prepared.txid);
    let Lookup::Dead(death) = rig.lookup(&taken).await else { panic!("not proven") };
    let again = rig.signed(&taken.dead(death, rig.now()).unwrap()).await;
    assert_eq!(rig.send(&again).await, SendOutcome::Accepted);
    rig.advance(120);
    assert!(matches!(rig.lookup(&again).await, Lookup::Paid(_)));
    assert_eq!((rig.payments(1), rig.payments(3)), (1, 1));
}

#[tokio::test]
async fn what_refers_to_a_branch_that_was_left_is_proven_dead() {
    let rig = Rig::new(1);
    {
        let mut network = rig.network();
        let network = &mut *network;
        // The node calls final what nobody else has.
        network.nodes[0].fork_off(&network.chain, 60);
    }
    rig.advance(30);
    let payout = rig.signed(&rig.payout(1, 10 * USDT)).await;
    rig.send(&payout).await;
    rig.network().nodes[0].rejoin();
    rig.advance(30);
    // Nobody takes it: it refers to no block of the chain.
    rig.send(&payout).await;
    let expires_at = attempt(&payout).prepared.expires_at.unwrap().0;
    rig.advance((expires_at - rig.now().wall.0) / 1000 + 590);
    assert_eq!(rig.lookup(&payout).await, Lookup::NotSeen, "it waits as every other one does");
    rig.advance(60);
    let Lookup::Dead(death) = rig.lookup(&payout).await else { panic!("not proven") };
    // The signer takes the proof.
    let second = rig.signed(&payout.dead(death, rig.now()).unwrap()).await;
    rig.send(&second).await;
    rig.advance(120);
    assert!(matches!(rig.lookup(&second).await, Lookup::Paid(_)));
    assert_eq!(rig.payments(1), 1);
}
