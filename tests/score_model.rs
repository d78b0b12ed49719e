//! The score against a slow model: random histories of a manager and three nodes, compared at every closed epoch, digit for digit.
//!
//! Each is told to the model by what happened in the world, and the leaves, their windows and their proofs are read over HTTP. `LUCID_SCORE_SEEDS` says how many, `LUCID_SCORE_SEED` which one.

mod fairness;
mod fraction;
mod history;
mod model;
mod refused;

use history::History;

/// Histories that every run of the tests has.
const SEEDS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The leaves that were compared.
fn lived(seed: u64) -> usize {
    println!("LUCID_SCORE_SEED={seed}");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::begin(seed, dir.path().join("data")).await;
        history.live().await;
        history.leaves
    })
}

#[test]
fn scores_of_random_histories_are_those_of_a_slow_model() {
    if let Some(seed) = number("LUCID_SCORE_SEED") {
        lived(seed);
        return;
    }
    let seeds = number("LUCID_SCORE_SEEDS").unwrap_or(SEEDS);
    let halves: Vec<_> =
        (0..2).map(|half| std::thread::spawn(move || (1..=seeds).filter(|seed| seed % 2 == half).map(lived).sum::<usize>())).collect();
    let leaves: usize = halves.into_iter().map(|half| half.join().expect("each history is as the model says")).sum();
    println!("{leaves} leaves are as the model says");
}
