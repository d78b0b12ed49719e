//! Many runs with faults, deaths of the manager and honest people, each judged by what the service really paid.

use std::collections::BTreeMap;
use std::path::Path;

use lucid::domain::payout::{Choice, ReviewKind, State as PayoutState};
use lucid::storage::core::money_actions::Decision;
use tokio::runtime::{Builder, Runtime};

use super::world::{HOUR_MS, World, template};
use crate::support::payment_service::{Promises, State};
use crate::support::random::Random;

const RUNS: u64 = 1_000;
const NODES: u8 = 3;
/// Rounds with faults, and at most so many afterwards.
const FAULTY: u64 = 12;
const QUIET: u64 = 60;

#[derive(Debug, Default)]
struct Counted {
    crashes: u64,
    paid: u64,
    failed: u64,
    reviews: BTreeMap<String, u64>,
    statements: u64,
    claims: u64,
    posts: u64,
}

impl Counted {
    fn add(&mut self, other: Counted) {
        self.crashes += other.crashes;
        self.paid += other.paid;
        self.failed += other.failed;
        self.statements += other.statements;
        self.claims += other.claims;
        self.posts += other.posts;
        for (kind, count) in other.reviews {
            *self.reviews.entry(kind).or_default() += count;
        }
    }
}

/// Looks into the books of the service, and says what is there.
async fn honest_people(world: &World, counted: &mut Counted) {
    for payout in world.payouts() {
        let Some(review) = &payout.review else { continue };
        *counted.reviews.entry(format!("{:?}", review.kind)).or_default() += 1;
        let choices = payout.choices();
        let jobs = world.fake.jobs_of(payout.id.as_str());
        let has = |choice| choices.contains(&choice);
        let paid = jobs.iter().find(|job| matches!(job.state, State::Paid { .. }));
        let pending = jobs.iter().any(|job| job.state == State::Pending);
        if let (Some(job), true) = (paid, has(Choice::AcceptPaid)) {
            counted.claims += 1;
            world.decide("user_0123456789", &payout, Decision::AcceptPaid { txid: job.id.clone() }).await.unwrap();
        } else if paid.is_some() || pending || world.fake.has_late() {
            continue;
        } else if has(Choice::StateUnpaid) && review.kind != ReviewKind::Held {
            counted.statements += 1;
            world.state_unpaid(&payout).await;
        } else if has(Choice::NewAttempt) {
            world.decide("user_0123456789", &payout, Decision::Choose(Choice::NewAttempt)).await.unwrap();
        }
    }
}

async fn run(seed: u64, from: &Path, dir: &Path, counted: &mut Counted) {
    let mut random = Random::of(seed);
    let promises = Promises {
        remembers_ms: (random.within(0, 2) == 0).then_some(24 * HOUR_MS),
        finds_keys: random.within(0, 2) == 0,
        fails: random.within(0, 2) * 20,
    };
    let context = format!("seed {seed} {promises:?}");
    let mut world = World::new(from, dir, promises).await;
    world.fake.at_random(Some((Random::of(seed ^ 0x5eed), random.within(10, 60))));
    let jumps = random.within(0, 4) == 0;
    for round in 0..FAULTY + QUIET {
        if round == FAULTY {
            world.fake.at_random(None);
            world.fake.set_down(false);
        }
        let faulty = round < FAULTY;
        if faulty && random.within(0, 8) == 0 {
            world.fake.set_down(random.within(0, 2) == 0);
        }
        let alive = world.cycle().await;
        if !alive || (faulty && random.within(0, 6) == 0) {
            counted.crashes += 1;
            world = world.crash().await;
        }
        world.audit(&context);
        if !faulty || random.within(0, 3) == 0 {
            honest_people(&world, counted).await;
        }
        let is_over = world.payouts().iter().all(|payout| !payout.is_open());
        if !faulty && is_over {
            break;
        }
        let ms = match random.within(0, 10) {
            0 if jumps => 30 * HOUR_MS,
            0..=4 => 30_000,
            _ => 660_000,
        };
        world.pass(ms);
    }
    for _ in 0..3 {
        world.pass(60_000);
    }
    world.audit(&context);
    world.verify(&context);
    for payout in world.payouts() {
        assert!(!payout.is_open(), "{context}: never ended: {payout:#?}");
        let is_paid = match &payout.state {
            PayoutState::Paid { .. } => true,
            PayoutState::Failed { reason, .. } => {
                assert!(["not now", "the service: no liquidity"].contains(&reason.as_str()), "{context}: {payout:#?}");
                false
            }
            other => panic!("{context}: nobody cancelled it: {other:?}"),
        };
        *(if is_paid { &mut counted.paid } else { &mut counted.failed }) += 1;
    }
    counted.posts += world.fake.posts().len() as u64;
    world.end();
    std::fs::remove_dir_all(dir).unwrap();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs at the same time.
const LANES: usize = 4;

#[test]
fn a_thousand_faulty_runs_pay_every_payout_at_most_once_and_end() {
    let shm = Path::new("/dev/shm");
    let place = tempfile::Builder::new().tempdir_in(if shm.is_dir() { shm } else { Path::new("/tmp") }).unwrap();
    let from = place.path().join("template");
    runtime().block_on(template(&from, NODES));
    let mut random = Random::new();
    // One run alone, as a failure named it.
    let only: Option<u64> = std::env::var("LUCID_RUN").ok().map(|text| text.parse().expect("LUCID_RUN is a number"));
    let seeds: Vec<u64> = only.map_or_else(|| (0..RUNS).map(|_| random.within(1, u64::MAX >> 12)).collect(), |seed| vec![seed]);
    let mut all = Counted::default();
    std::thread::scope(|scope| {
        let lane = |(lane, some): (usize, &[u64])| {
            let (some, dir, from) = (some.to_vec(), place.path().join(format!("lane-{lane}")), from.clone());
            scope.spawn(move || {
                let mut counted = Counted::default();
                some.into_iter().for_each(|seed| runtime().block_on(run(seed, &from, &dir, &mut counted)));
                counted
            })
        };
        let lanes: Vec<_> = seeds.chunks(seeds.len().div_ceil(LANES)).enumerate().map(lane).collect();
        lanes.into_iter().for_each(|lane| all.add(lane.join().expect("a run failed")));
    });
    println!("{all:?}");
    assert!(only.is_some() || (all.crashes > RUNS / 2 && all.statements > 0 && all.claims > 0), "{all:?}");
}
