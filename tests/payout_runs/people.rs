//! People who look after the payouts: they do what they are offered, and look at the chain before they say anything about it.

use lucid::domain::money_state::RECONCILED_FOR_MS;
use lucid::domain::payout::{Choice, Payout};
use lucid::live::Job;
use lucid::storage::core::money_actions::{self, BookTo, Decision};
use lucid::storage::core::{money, nodes};

use super::world::{Pays, World, admin};
use crate::support::rig::lock;
use crate::support::tron::address::hash_of;
use crate::support::tron::block::VmResult;

/// One round of everything that waits for somebody.
pub async fn look_after(world: &mut World) {
    unfreeze(world).await;
    let state = money::state(&world.store().read().unwrap()).unwrap();
    if state.stopped.is_some() {
        let act = world.act();
        world.write(move |tx| money_actions::resume(tx, &act, "all is well").map(drop)).await.unwrap();
    }
    let pin = world.app().context.gateways.current.pin();
    if matches!(world.pays, Pays::Wallet(_)) && state.live.is_none_or(|live| live.wallet != pin.wallet) {
        world.go_live().await;
    }
    decide_reviews(world).await;
}

/// Every payout that waits for somebody to say what becomes of it.
pub async fn decide_reviews(world: &mut World) {
    for payout in world.payouts() {
        if payout.review.is_some() && payout.is_open() {
            decide(world, &payout).await;
        }
    }
}

/// Books what is unknown, has the wallet compared again, and lets payouts go on.
pub async fn unfreeze(world: &mut World) {
    if money::state(&world.store().read().unwrap()).unwrap().frozen.is_none() {
        return;
    }
    let waiting = money::unknown_transfers(&world.store().read().unwrap(), true, usize::MAX).unwrap();
    for unknown in waiting {
        // Whose address it is, or once was, is in the audit log.
        let whose = world.owed.iter().find(|(_, (_, addresses))| addresses.iter().any(|known| known.base58() == unknown.transfer.to));
        let node = whose.and_then(|(index, _)| nodes::by_index(&world.store().read().unwrap(), *index).unwrap());
        let to = node.map_or(BookTo::Unexplained, |node| BookTo::Node(node.id));
        let (act, txid) = (world.act(), unknown.transfer.txid.clone());
        let (secrets, payer) = (world.store().secrets.clone(), world.app().context.gateways.current.payer());
        // Refused where money of another network pays now.
        let _ = world.write(move |tx| money_actions::book_transfer(tx, &act, &secrets, &payer, &txid, &to)).await;
    }
    world.cycle(Job::Wallet, None).await;
    let now = world.now();
    let reconciled = !world.app().context.gateways.current.has_wallet()
        || world.app().context.money.reconciled_ms(now).is_some_and(|age| age < RECONCILED_FOR_MS);
    let (act, payer) = (world.act(), world.app().context.gateways.current.payer());
    // Refused while something is not known or not booked.
    let _ = world.write(move |tx| money_actions::unfreeze(tx, &act, "looked at", &payer, reconciled).map(drop)).await;
}

/// Whether the chain, as an explorer shows it, has executed this transaction for good.
fn has_landed(world: &World, txid: &str) -> bool {
    let network = lock(&world.network);
    let Some((block, at)) = hash_of(txid).and_then(|txid| network.chain.find(&txid)) else { return false };
    block.number <= network.chain.solid() && block.transactions[at].receipt.result == Some(VmResult::Success)
}

async fn decide(world: &mut World, payout: &Payout) {
    let choices = payout.choices();
    let landed = payout.attempts.iter().filter_map(|attempt| attempt.txid()).find(|txid| has_landed(world, txid));
    let decision = match landed {
        Some(txid) if choices.contains(&Choice::AcceptPaid) => Decision::AcceptPaid { txid: txid.to_owned() },
        Some(_) => Decision::Choose(Choice::CheckAgain),
        None => {
            let offered: Vec<Choice> = choices.into_iter().filter(|choice| *choice != Choice::AcceptPaid).collect();
            let Some(last) = offered.len().checked_sub(1) else { return };
            let at = usize::try_from(world.random.below(last as u64 + 1)).unwrap();
            Decision::Choose(offered[at])
        }
    };
    let (act, id) = (world.act(), payout.id.clone());
    // Somebody or something may have been faster.
    let _ = world.write(move |tx| money_actions::decide(tx, &act, &admin(), &id, &decision).map(drop)).await;
}
