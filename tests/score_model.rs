//! The score against a slow model: random histories of a manager and three nodes, compared at every closed epoch, digit for digit.
//!
//! `LUCID_SCORE_SEEDS` says how many, `LUCID_SCORE_SEED` which one.

mod fraction;
mod history;
mod model;

use history::History;

const SEEDS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_of_random_histories_are_those_of_a_slow_model() {
    let seeds: Vec<u64> = match number("LUCID_SCORE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("LUCID_SCORE_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut leaves = 0;
    for seed in seeds {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::begin(seed, dir.path().join("data")).await;
        println!("LUCID_SCORE_SEED={seed}");
        history.live().await;
        leaves += history.leaves;
    }
    println!("{leaves} leaves are as the model says");
}
