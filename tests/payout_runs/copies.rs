//! Two managers on one wallet, because a card was copied: what they do to each other, step by step. The runs have copied cards too.

use std::future::Future;
use std::path::Path;
use std::task::Poll;

use lucid::domain::money_state::FreezeKind;
use lucid::live::Job;
use lucid::storage::core::{money, money_actions};

use super::runs::folder;
use super::world::{MINUTE_MS, World, admin, template};
use super::{auditor, people};
use crate::support::copy;
use crate::support::rig::lock;
use crate::support::tron::{Fault, Lie, When};

/// Two nodes are owed something, and nothing is planned yet.
async fn original(place: &Path) -> World {
    let from = place.join("template");
    template(&from, 2).await;
    let mut world = World::new(&from, &place.join("run"), 5).await;
    world.go_live().await;
    world.owe(2).await;
    world
}

/// Lets `world` work for a while; nothing else does.
async fn work(world: &mut World, job: Job, ms: i64) {
    world.cycle(job, None).await;
    world.pass(ms, true);
}

/// It was told, and says it: the money is frozen, somebody is alarmed, and what the other one sent is written down until a person books it.
async fn found_out(world: &mut World, transfers: usize) {
    assert_eq!(world.frozen(), Some(FreezeKind::UnknownTransfer));
    let unknown = money::unknown_transfers(&world.store().read().unwrap(), true, usize::MAX).unwrap();
    assert_eq!(unknown.len(), transfers);
    let alarms = auditor::alarms(world);
    assert!(alarms.iter().any(|alarm| alarm.contains("nothing here planned it")), "{alarms:?}");
    // What else was signed has landed, or never will.
    world.pass(14 * MINUTE_MS, true);
    people::unfreeze(world).await;
    assert_eq!(world.frozen(), None);
    work(world, Job::Payouts, 0).await;
    assert!(auditor::is_settled(world), "nothing is owed any more");
    auditor::settle(world).unwrap();
}

#[tokio::test]
async fn two_managers_with_one_signer_pay_nobody_twice() {
    let place = folder();
    let mut one = original(place.path()).await;
    let mut other = one.copied_card(false).await;
    for world in [&mut one, &mut other] {
        work(world, Job::Wallet, 1_000).await;
        assert!(world.app().context.money.reconciled_ms(world.now()).is_some(), "both have looked, and nothing has left");
    }
    work(&mut one, Job::Payouts, 1_000).await;
    assert_eq!(one.signed(), 2);
    // It has planned payouts of its own for the same money, and may still believe its last look.
    work(&mut other, Job::Payouts, 1_000).await;
    assert_eq!((other.payouts().len(), other.signed()), (2, 2), "the signer signs nothing for who does not know what it has signed");
    let waiting = other.app().context.money.all_waiting();
    assert!(waiting.values().all(|waiting| waiting.why == "not_reconciled"), "{waiting:?}");
    work(&mut other, Job::Payouts, 3 * MINUTE_MS).await;
    work(&mut one, Job::Tracking, 0).await;
    assert!(auditor::is_settled(&one));
    work(&mut other, Job::Payouts, 0).await;
    assert_eq!(other.signed(), 2);
    found_out(&mut other, 2).await;
    auditor::look(&one).unwrap();
    auditor::look(&other).unwrap();
    auditor::settle(&one).unwrap();
}

#[tokio::test]
async fn a_signer_that_signs_for_whoever_asks_is_caught() {
    let place = folder();
    let mut one = original(place.path()).await;
    let mut other = one.copied_card(false).await;
    lock(&one.vaults[0].health).heedless = true;
    for world in [&mut one, &mut other] {
        work(world, Job::Wallet, 1_000).await;
    }
    work(&mut one, Job::Payouts, 1_000).await;
    work(&mut other, Job::Payouts, 3 * MINUTE_MS).await;
    assert_eq!(one.signed(), 4);
    let found = auditor::look(&one).unwrap_err();
    assert!(found.contains("was owed"), "{found}");
}

#[tokio::test]
async fn a_manager_that_was_copied_with_its_signer_is_found_out_within_the_hour() {
    let place = folder();
    let mut one = original(place.path()).await;
    let mut other = one.copied_card(true).await;
    for world in [&mut one, &mut other] {
        work(world, Job::Wallet, 1_000).await;
    }
    work(&mut one, Job::Payouts, 3 * MINUTE_MS).await;
    work(&mut one, Job::Tracking, 0).await;
    assert!(auditor::is_settled(&one));
    one.pass(48 * MINUTE_MS, true);
    assert_eq!(other.frozen(), None);
    // It comes every five minutes, and compares what left the wallet once an hour.
    work(&mut other, Job::Wallet, 0).await;
    assert_eq!(other.frozen(), Some(FreezeKind::UnknownTransfer));
    work(&mut other, Job::Payouts, 0).await;
    assert_eq!((other.payouts().len(), other.signed()), (2, 2), "what is planned for the same money is not signed");
    found_out(&mut other, 2).await;
    auditor::look(&one).unwrap();
    auditor::look(&other).unwrap();
    // The one that was first had nothing to find.
    work(&mut one, Job::Wallet, 0).await;
    assert_eq!(one.frozen(), None);
    auditor::settle(&one).unwrap();
}

#[tokio::test]
async fn a_store_that_never_heard_of_its_wallet_finds_what_was_signed_for_it() {
    let place = folder();
    let mut world = original(place.path()).await;
    world.pass(5 * MINUTE_MS, true);
    work(&mut world, Job::Payouts, 3 * MINUTE_MS).await;
    work(&mut world, Job::Tracking, 90 * MINUTE_MS).await;
    assert_eq!(world.signed(), 2);
    // As set up anew on another card, with the wallet and its signer as they were.
    let (data, backup) = (place.path().join("template"), place.path().join("run/backup/data"));
    copy(&data, &backup);
    assert!(world.restore(false).await);
    world.set_clock_right().await;
    world.go_live().await;
    world.owe(2).await;
    work(&mut world, Job::Payouts, 0).await;
    world.trace("anew");
    assert_eq!((world.frozen(), world.signed()), (Some(FreezeKind::UnknownTransfer), 2));
    assert_eq!(money::unknown_transfers(&world.store().read().unwrap(), true, usize::MAX).unwrap().len(), 2);
}

#[tokio::test]
async fn a_chain_that_is_not_so_at_the_first_look_moves_nothing() {
    let place = folder();
    let from = place.path().join("template");
    template(&from, 2).await;
    let mut world = World::new(&from, &place.path().join("run"), 5).await;
    lock(&world.network).nodes[0].faults.add("walletsolidity/getnowblock", When::Always, Fault::Lie(Lie::Ahead(10_000_000)));
    world.go_live().await;
    assert!(money::wallets(&world.store().read().unwrap()).unwrap().is_empty(), "nothing is known of the wallet, and nobody goes live");
    lock(&world.network).nodes[0].faults.clear();
    world.pass(MINUTE_MS, true);
    world.go_live().await;
    world.owe(2).await;
    work(&mut world, Job::Payouts, 0).await;
    assert_eq!(world.signed(), 2);
}

#[tokio::test]
async fn an_emergency_stop_holds_the_first_sending_of_a_wave_too() {
    let place = folder();
    let mut world = original(place.path()).await;
    let sent =
        |world: &World| lock(&world.network).nodes.iter().map(|node| node.requests.get("/wallet/broadcasthex").copied().unwrap_or(0)).max();
    let context = world.app().context.clone();
    let mut cycle = Box::pin(context.run(Job::Payouts));
    let mut polled = async |until: &dyn Fn() -> bool| {
        std::future::poll_fn(|task| match cycle.as_mut().poll(task) {
            Poll::Ready(ended) => Poll::Ready(ended.is_ok()),
            Poll::Pending if until() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        })
        .await
    };
    assert!(!polled(&|| sent(&world) == Some(1)).await, "two are to be sent, and one was");
    let act = world.act();
    world.write(move |tx| money_actions::stop(tx, &act, Some(admin()), "something is odd").map(drop)).await.unwrap();
    assert!(polled(&|| false).await);
    assert_eq!(sent(&world), Some(1), "the other one stays here");
    let act = world.act();
    world.write(move |tx| money_actions::resume(tx, &act, "all is well").map(drop)).await.unwrap();
    work(&mut world, Job::Tracking, 3 * MINUTE_MS).await;
    work(&mut world, Job::Tracking, 0).await;
    assert!(auditor::is_settled(&world), "it is sent when payouts go on");
}
