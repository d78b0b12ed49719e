//! What an older copy of the store waits for and asks before it signs, step by step: the wallets that it paid from before, and nothing that an accepted clock
//! hides. The runs restore copies, too.

use std::path::Path;

use lucid::api;
use lucid::domain::money_state::FreezeKind;
use lucid::domain::wallet::{Absence, WalletRow};
use lucid::live::Job;
use lucid::storage::core::money;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::runs::folder;
use super::world::{MINUTE_MS, Pays, World, template};
use super::{auditor, people};
use crate::support::client::{Client, PASSWORD, USERNAME};
use crate::support::rig::lock;
use crate::support::tron::{Fault, When};

const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// What was signed lands within ten minutes, by final blocks, which are a minute old.
const OVER_MS: i64 = 12 * MINUTE_MS;
/// The node that is asked about wallets which are not the present one.
const OTHER_NODE: usize = 2;

/// A store that paid from the first wallet and pays from the second one; two nodes are owed something.
async fn moved(place: &Path) -> World {
    let from = place.join("template");
    template(&from, 2).await;
    let mut world = World::new(&from, &place.join("run"), 5).await;
    world.go_live().await;
    pay_from(&mut world, 1).await;
    world.owe(2).await;
    world
}

/// Started again at once, with another wallet.
async fn pay_from(world: &mut World, wallet: usize) {
    world.cycle(Job::Wallet, None).await;
    world.pays = Pays::Wallet(wallet);
    world.crash().await;
    world.go_live().await;
}

async fn work(world: &mut World, ms: i64) {
    world.cycle(Job::Payouts, None).await;
    world.pass(ms, true);
}

/// The copy comes back, with its clock right, and pays from the second wallet as it did.
async fn come_back(world: &mut World) {
    world.pays = Pays::Wallet(1);
    assert!(world.restore(false).await);
    world.set_clock_right().await;
}

fn why_not(world: &World) -> String {
    world.app().context.money.reconcile_error().map(|(why, _)| why).unwrap_or_default()
}

fn asked(world: &World, node: usize) -> u64 {
    lock(&world.network).nodes[node].requests.values().sum()
}

/// What a later copy of the store sent is found, booked, and not paid again.
async fn found_out(world: &mut World) {
    assert_eq!((world.frozen(), world.signed()), (Some(FreezeKind::UnknownTransfer), 2));
    people::unfreeze(world).await;
    assert_eq!(world.frozen(), None);
    work(world, MINUTE_MS).await;
    assert_eq!(world.signed(), 2);
    auditor::look(world).unwrap();
    assert!(auditor::is_settled(world));
    auditor::settle(world).unwrap();
}

#[tokio::test]
async fn what_left_a_wallet_that_it_paid_from_before_is_not_paid_again_from_the_present_one() {
    let place = folder();
    let mut world = moved(place.path()).await;
    world.cycle(Job::Wallet, None).await;
    world.back_up();
    world.pass(90 * MINUTE_MS, true);
    // Later, the store itself pays from the first wallet again.
    pay_from(&mut world, 0).await;
    work(&mut world, 3 * MINUTE_MS).await;
    work(&mut world, MINUTE_MS).await;
    assert!(auditor::is_settled(&world));
    come_back(&mut world).await;
    work(&mut world, OVER_MS).await;
    assert_eq!((world.frozen(), world.signed()), (None, 2), "it waits until nothing more can land");
    work(&mut world, MINUTE_MS).await;
    found_out(&mut world).await;
}

#[tokio::test]
async fn a_former_wallet_is_asked_about_until_ninety_days_before_the_copy_was_last_written() {
    let (young, old) = (90 * DAY_MS - 60 * MINUTE_MS, 90 * DAY_MS + 60 * MINUTE_MS);
    // The copy lies in a drawer for so long: what counts is how old the wallet was for the copy, not for us. A clock that ran ahead says nothing about it.
    for (since_ms, lies_ms, ran_ahead_ms, is_asked) in
        [(young, 100 * DAY_MS, 0, true), (old, 100 * DAY_MS, 0, false), (DAY_MS, DAY_MS, 400 * DAY_MS, true)]
    {
        let place = folder();
        let mut world = moved(place.path()).await;
        // Only the second wallet is used, and the store is written.
        world.pass(since_ms, false);
        world.cycle(Job::Wallet, None).await;
        world.back_up();
        world.pass(lies_ms, false);
        world.formers_ask = Some(OTHER_NODE);
        lock(&world.network).nodes[OTHER_NODE].faults.add("", When::Always, Fault::NotReached);
        come_back(&mut world).await;
        if ran_ahead_ms > 0 {
            let noted = Absence { written_until: world.true_time().plus_ms(ran_ahead_ms), looked_at: None };
            world.write(move |tx| money::put_absence(tx, noted)).await.unwrap();
        }
        let before = asked(&world, OTHER_NODE);
        for _ in 0..2 {
            world.cycle(Job::Wallet, None).await;
            world.pass(OVER_MS, true);
        }
        world.cycle(Job::Wallet, None).await;
        assert_eq!(asked(&world, OTHER_NODE) > before, is_asked);
        let is_reconciled = world.app().context.money.reconciled_ms(world.now()).is_some();
        assert_eq!((is_reconciled, world.frozen()), (!is_asked, None), "{}", why_not(&world));
        if !is_asked {
            continue;
        }
        assert!(why_not(&world).contains("former wallet"), "{}", why_not(&world));
        lock(&world.network).nodes[OTHER_NODE].faults.clear();
        world.pass(MINUTE_MS, true);
        world.cycle(Job::Wallet, None).await;
        assert!(world.app().context.money.reconciled_ms(world.now()).is_some(), "{}", why_not(&world));
        assert!(money::absence(&world.store().read().unwrap()).unwrap().is_none(), "it knows all that anybody can know");
    }
}

#[tokio::test]
async fn a_former_wallet_has_to_be_known_through_the_end_of_what_could_have_been_signed() {
    let place = folder();
    let mut world = moved(place.path()).await;
    world.cycle(Job::Wallet, None).await;
    world.back_up();
    world.pass(30 * MINUTE_MS, true);
    // What a later copy signs a moment before this one comes back lands seven minutes after.
    pay_from(&mut world, 0).await;
    for node in &mut lock(&world.network).nodes {
        node.faults.add("broadcasthex", When::Always, Fault::IncludedAfter(8 * MINUTE_MS));
    }
    work(&mut world, MINUTE_MS).await;
    assert_eq!(world.signed(), 2);
    // The other node is five minutes behind.
    world.formers_ask = Some(OTHER_NODE);
    lock(&world.network).nodes[OTHER_NODE].lag = 100;
    come_back(&mut world).await;
    work(&mut world, OVER_MS).await;
    work(&mut world, MINUTE_MS).await;
    assert!(why_not(&world).contains("former wallet") && why_not(&world).contains("known through"), "{}", why_not(&world));
    assert_eq!((world.frozen(), world.signed()), (None, 2), "what it shows is from before they landed");
    world.pass(5 * MINUTE_MS, true);
    work(&mut world, MINUTE_MS).await;
    found_out(&mut world).await;
}

#[tokio::test]
async fn a_former_wallet_that_was_signed_for_and_never_compared_is_not_taken_for_untouched() {
    let place = folder();
    let mut world = moved(place.path()).await;
    let (of, row) = money::wallets(&world.store().read().unwrap())
        .unwrap()
        .into_iter()
        .find(|(pin, _)| pin.wallet == super::custody::account(0).to_string())
        .unwrap();
    let signed_for = WalletRow { last_timestamp_ms: row.through_at.0, ..WalletRow::default() };
    world.write(move |tx| money::put_wallet(tx, &of, &signed_for)).await.unwrap();
    world.cycle(Job::Wallet, None).await;
    world.back_up();
    world.pass(30 * MINUTE_MS, true);
    come_back(&mut world).await;
    work(&mut world, OVER_MS).await;
    work(&mut world, MINUTE_MS).await;
    assert!(why_not(&world).contains("never compared"), "{}", why_not(&world));
    assert_eq!((world.frozen(), world.signed()), (None, 0));
    // Paying from it again compares it, from what its signer knows of it.
    pay_from(&mut world, 0).await;
    work(&mut world, MINUTE_MS).await;
    work(&mut world, MINUTE_MS).await;
    assert_eq!(world.signed(), 2, "{}", why_not(&world));
}

/// The manager's own API, as a super admin.
async fn call(world: &World, path: &str) -> serde_json::Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
    let (stop, stopping) = watch::channel(false);
    let (router, door) = (api::router(world.app().state.clone()), world.app().door.clone());
    let server = tokio::spawn(api::server::serve(listener, router, door, stopping));
    client.sign_in(USERNAME, PASSWORD).await;
    let answer = client.post(path, json!({})).await;
    stop.send(true).unwrap();
    server.await.unwrap();
    answer
}

#[tokio::test]
async fn an_accepted_clock_does_not_make_an_older_copy_the_present_store() {
    let place = folder();
    let from = place.path().join("template");
    template(&from, 2).await;
    let mut world = World::new(&from, &place.path().join("run"), 5).await;
    world.go_live().await;
    world.owe(2).await;
    world.cycle(Job::Wallet, None).await;
    world.back_up();
    world.pass(90 * MINUTE_MS, true);
    for node in &mut lock(&world.network).nodes {
        node.faults.add("broadcasthex", When::Always, Fault::IncludedAfter(6 * MINUTE_MS));
    }
    work(&mut world, MINUTE_MS).await;
    assert_eq!(world.signed(), 2);
    // A board without a clock of its own: it goes on at the time that the copy has, as if it had not been away. The signer's log is restored with it.
    world.driver.set_synchronised(false);
    world.driver.set_wall(lucid::domain::time::Timestamp(world.copied_ms));
    assert!(world.restore(true).await);
    assert!(!world.now().trusted);
    work(&mut world, 0).await;
    assert_eq!(world.signed(), 2, "nothing is signed by a clock that nobody trusts");
    world.driver.set_wall(world.true_time());
    assert_eq!(call(&world, "/clock/accept").await["trusted"], true);
    work(&mut world, MINUTE_MS).await;
    assert_eq!((world.frozen(), world.signed()), (None, 2));
    assert!(why_not(&world).contains("was not written from"), "{}", why_not(&world));
    // Accepted again, and started again: that is no reason to know more.
    world.crash().await;
    world.set_clock_right().await;
    work(&mut world, OVER_MS).await;
    assert_eq!(world.signed(), 2);
    work(&mut world, MINUTE_MS).await;
    found_out(&mut world).await;
}
