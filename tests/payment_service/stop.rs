//! The emergency stop: nothing is asked for, what was asked for is followed, and what nobody knows stays where it is.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use lucid::domain::payout::{AttemptState, ReviewKind};
use lucid::live::Job;
use lucid::storage::core::money_actions::Decision;

use super::rules::{ADMIN, KEEPS, READY, cycles, five, is_paid, one, paid_times, review};
use super::world::{HOUR_MS, PLAIN, World};
use crate::support::payment_service::Fault;

fn asked_for(world: &World) -> Vec<String> {
    world.fake.posts().into_iter().filter_map(|asked| asked.key).collect()
}

fn planned(world: &World) -> Vec<String> {
    world.payouts().iter().map(|payout| payout.id.to_string()).collect()
}

fn waits_because(world: &World, seq: u64) -> &'static str {
    world.app.context.money.waiting(seq).map_or("nothing", |waiting| waiting.why)
}

#[tokio::test]
async fn nothing_is_asked_for_while_it_holds_and_everything_in_order_afterwards() {
    let (_dir, world) = five(PLAIN).await;
    world.stop(true).await;
    for _ in 0..3 {
        cycles(&world, 1).await;
        world.pass(25 * HOUR_MS);
    }
    assert_eq!((world.payouts().len(), asked_for(&world)), (5, Vec::new()));
    assert!(world.payouts().iter().all(|payout| payout.attempts.is_empty()), "nothing is signed either");
    assert_eq!(waits_because(&world, 1), "stopped");
    // It is of the store, not of the process.
    let world = world.crash().await;
    cycles(&world, 2).await;
    assert_eq!(asked_for(&world), Vec::<String>::new());
    world.stop(false).await;
    cycles(&world, 4).await;
    assert_eq!((asked_for(&world), paid_times(&world)), (planned(&world), 5));
    assert!(world.payouts().iter().all(is_paid));
    world.audit("resumed");
    world.verify("resumed");
}

#[tokio::test]
async fn one_that_comes_in_the_middle_of_a_wave_holds_the_next_request() {
    let (_dir, world) = five(PLAIN).await;
    {
        let mut cycle = pin!(world.app.context.run(Job::Payouts));
        // Two were asked for, and what the second was answered is being written down.
        poll_fn(|context| match cycle.as_mut().poll(context) {
            Poll::Ready(_) => panic!("the run ended before the stop"),
            Poll::Pending if world.fake.posts().len() < 2 => Poll::Pending,
            Poll::Pending => Poll::Ready(()),
        })
        .await;
        world.stop(true).await;
        cycle.await.unwrap();
    }
    assert_eq!(asked_for(&world), planned(&world)[..2]);
    let states = |world: &World| world.payouts().iter().map(|payout| payout.attempts[0].state.clone()).collect::<Vec<_>>();
    assert_eq!(states(&world)[2..], [AttemptState::Signed, AttemptState::Signed, AttemptState::Signed], "committed, and kept here");
    world.pass(HOUR_MS);
    cycles(&world, 3).await;
    let payouts = world.payouts();
    assert_eq!(
        (payouts.iter().filter(|payout| is_paid(payout)).count(), asked_for(&world).len()),
        (2, 2),
        "what had left is followed to its end"
    );
    assert_eq!(waits_because(&world, 3), "stopped");
    world.audit("stopped");
    let world = world.crash().await;
    world.stop(false).await;
    cycles(&world, 4).await;
    assert_eq!((asked_for(&world), paid_times(&world)), (planned(&world), 5));
    world.audit("resumed");
    world.verify("resumed");
}

#[tokio::test]
async fn what_nobody_knows_stays_with_a_person_before_and_after() {
    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::Lost]);
    cycles(&world, 1).await;
    world.stop(true).await;
    world.pass(HOUR_MS);
    cycles(&world, 3).await;
    assert_eq!((review(&world.payout()), asked_for(&world).len()), (Some(ReviewKind::Ambiguous), 0));
    // People decide meanwhile; what they allow waits for the end of the stop.
    world.decide(ADMIN, &world.payout(), Decision::Choose(lucid::domain::payout::Choice::CheckAgain)).await.unwrap();
    cycles(&world, 2).await;
    assert_eq!(review(&world.payout()), Some(ReviewKind::Ambiguous));
    world.state_unpaid(&world.payout()).await;
    world.pass(HOUR_MS);
    cycles(&world, 3).await;
    assert_eq!((review(&world.payout()), asked_for(&world).len()), (None, 0), "stated to be unpaid, and not asked for");
    world.stop(false).await;
    cycles(&world, 3).await;
    assert_eq!((asked_for(&world).len(), paid_times(&world)), (1, 1));
    world.audit("resumed");

    let (_dir, world) = one(PLAIN).await;
    world.fake.script([READY, Fault::Deaf]);
    cycles(&world, 1).await;
    world.stop(true).await;
    world.pass(HOUR_MS);
    cycles(&world, 2).await;
    world.stop(false).await;
    cycles(&world, 3).await;
    assert_eq!(
        (review(&world.payout()), asked_for(&world).len()),
        (Some(ReviewKind::Ambiguous), 1),
        "the end of a stop asks nothing again"
    );
}

#[tokio::test]
async fn a_key_that_pays_once_is_not_sent_again_either() {
    let (_dir, world) = one(KEEPS).await;
    // The run looks after what it has sent, and sends it again; that never arrives.
    world.fake.script([READY, Fault::Deaf, Fault::Lost]);
    assert!(world.cycle().await);
    world.stop(true).await;
    world.driver.advance_ms(HOUR_MS);
    cycles(&world, 3).await;
    assert_eq!((asked_for(&world).len(), review(&world.payout())), (1, None));
    world.stop(false).await;
    cycles(&world, 3).await;
    assert_eq!((asked_for(&world).len(), paid_times(&world)), (2, 1), "the same key, paid once");
    assert!(is_paid(&world.payout()));
    world.audit("resumed");
}
