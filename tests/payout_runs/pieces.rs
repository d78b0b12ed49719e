//! A wallet whose node has no list of transfers, and a manager that was away for long: each block is asked for, some in each run, and nothing is signed before the last.

use lucid::domain::ledger::Entry;
use lucid::domain::money::Units;
use lucid::domain::money_state::{FreezeKind, RECONCILED_FOR_MS};
use lucid::live::Job;
use lucid::storage::core::{ledger, money, nodes};

use super::people;
use super::runs::folder;
use super::world::{BOOK, MINUTE_MS, World, admin, template};
use crate::support::rig::lock;
use crate::support::tron::Address;
use crate::support::tron::chain::Inclusion;
use crate::support::tron::wallet::Wallet;

/// Blocks that one run asks for at most.
const PER_RUN: u64 = 1_000;

fn through(world: &World) -> u64 {
    let pin = world.app().context.gateways.current.pin();
    money::wallet(&world.store().read().unwrap(), &pin).unwrap().unwrap().through_block
}

fn signed(world: &World) -> usize {
    lock(&world.issued).len()
}

fn searched(world: &World) -> u64 {
    lock(&world.network).nodes[0].requests.get("/walletsolidity/gettransactioninfobyblocknum").copied().unwrap_or(0)
}

/// Somebody else has the key, and takes something.
fn steal(world: &World) {
    let mut network = lock(&world.network);
    let theft = Wallet::labelled("wallet 0 that pays").pay(&network.chain, Address::labelled("a thief"), 5_000_000);
    assert!(network.broadcast(0, theft, Inclusion::Next).accepted());
}

fn frozen(world: &World) -> Option<FreezeKind> {
    money::state(&world.store().read().unwrap()).unwrap().frozen.map(|freeze| freeze.kind)
}

/// One run, which asks for no more than it may.
async fn run(world: &mut World, job: Job) {
    let before = searched(world);
    world.cycle(job, None).await;
    let asked = searched(world) - before;
    assert!(asked <= PER_RUN, "{asked} blocks in one run");
}

#[tokio::test]
async fn a_long_comparison_goes_on_from_run_to_run_with_tracking_in_between() {
    for stolen in [false, true] {
        let place = folder();
        let from = place.path().join("template");
        template(&from, 2).await;
        let mut world = World::new(&from, &place.path().join("run"), 5).await;
        lock(&world.network).nodes.iter_mut().for_each(|node| node.grid = false);
        world.go_live().await;
        world.owe(1).await;
        run(&mut world, Job::Payouts).await;
        assert_eq!(signed(&world), 1);
        // It lands while the manager is away.
        world.end();
        world.pass(3_000 * 2_600, true);
        if stolen {
            steal(&world);
        }
        world.pass(90_000, true);
        world.open().await;
        let (now, start) = (world.now(), through(&world));
        let other = nodes::all(&world.store().read().unwrap()).unwrap()[1].index;
        let owe = Entry::adjustment(BOOK, other, Units(50_000_000), "owed".into(), admin()).unwrap();
        world.write(move |tx| ledger::post(tx, owe.clone(), now).map(drop)).await.unwrap();

        run(&mut world, Job::Wallet).await;
        let first = through(&world);
        assert_eq!(first, start + PER_RUN);
        assert!(world.payouts()[0].is_open(), "nobody has asked about it yet");
        // What is known is kept, whoever dies.
        world.crash().await;
        run(&mut world, Job::Payouts).await;
        assert!(!world.payouts()[0].is_open(), "tracking does not wait for the comparison");
        assert_eq!(through(&world), first + PER_RUN);
        let closed = world.app().context.money.closed().unwrap();
        let how_far = format!("through block {} of {}", first + PER_RUN, lock(&world.network).chain.solid());
        assert_eq!(closed.why, "not_reconciled");
        assert!(closed.text.ends_with(&how_far), "{} is not {how_far}", closed.text);
        assert_eq!((world.payouts().len(), signed(&world)), (2, 1), "the second is planned, and waits");

        run(&mut world, Job::Payouts).await;
        assert_eq!((through(&world), world.app().context.money.how_far()), (lock(&world.network).chain.solid(), None));
        assert_eq!(frozen(&world), stolen.then_some(FreezeKind::UnknownTransfer), "what is in the last piece is found");
        // The store was away, so it waits for what a later copy of it may have signed.
        world.pass(11 * MINUTE_MS, true);
        run(&mut world, Job::Payouts).await;
        assert_eq!(signed(&world), if stolen { 1 } else { 2 });
    }
}

#[tokio::test]
async fn what_a_piece_finds_freezes_at_once_and_until_the_rest_is_known() {
    let place = folder();
    let from = place.path().join("template");
    template(&from, 1).await;
    let mut world = World::new(&from, &place.path().join("run"), 5).await;
    lock(&world.network).nodes.iter_mut().for_each(|node| node.grid = false);
    world.go_live().await;
    steal(&world);
    world.pass(54 * MINUTE_MS, true);
    assert!(world.app().context.money.reconciled_ms(world.now()).unwrap() < RECONCILED_FOR_MS, "the last look would hold for some minutes");
    run(&mut world, Job::Wallet).await;
    assert!(world.app().context.money.how_far().is_some());
    assert_eq!((frozen(&world), world.app().context.money.reconciled_ms(world.now())), (Some(FreezeKind::UnknownTransfer), None));
    people::unfreeze(&mut world).await;
    assert_eq!(frozen(&world), None, "booked, and the rest was compared");
    assert_eq!(through(&world), lock(&world.network).chain.solid());
}
