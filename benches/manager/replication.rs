//! What replication costs: bytes that a week writes while the cluster is away, beside the same week with it and without one in the settings; and catching up.

use std::path::Path;
use std::time::Duration;

use lucid::clock::Stopwatch;
use lucid::domain::evidence::SLOTS_PER_DAY;
use lucid::domain::time::Timestamp;
use lucid::live::Job;
use serde_json::Value;

use super::Person;
use super::local::{Days, Local, Work};
use super::process::{Manager, own_written_bytes};

const NODES: usize = 100;
pub const DAYS: u32 = 7;
/// Until pages are full and sealed as they come.
const WARM_SLOTS: u32 = 480;
/// What is measured of one store before the next one has its turn: what else this machine does falls on all of them.
const TURN_SLOTS: u32 = 720;

/// Bytes, and seconds of processor time without what replication itself takes.
#[derive(Debug, Default)]
pub struct Week {
    pub written: f64,
    pub cpu: f64,
}

/// A week until now of stores without a cluster, with one that is away but for the beginning, and with one that is there.
pub async fn weeks(dirs: [&Path; 3], [away, there]: [&str; 2], until: Timestamp) -> [Week; 3] {
    let start = until.slot().minus(DAYS * SLOTS_PER_DAY + WARM_SLOTS);
    let settings = [None, Some(away), Some(there)];
    let mut stores = Vec::new();
    for (dir, uri) in dirs.into_iter().zip(settings) {
        let settings: Vec<(&'static str, &str)> = uri.map(|uri| ("mongodb.uri", uri)).into_iter().collect();
        let mut days = Days::new(Local::with(dir, start, NODES, &settings).await, Work { samples: true, epochs: true }).await;
        days.slots(WARM_SLOTS).await;
        replicate(&days).await;
        stores.push(days);
    }
    let mut weeks = [Week::default(), Week::default(), Week::default()];
    for _ in 0..DAYS * SLOTS_PER_DAY / TURN_SLOTS {
        for (number, (days, week)) in stores.iter_mut().zip(&mut weeks).enumerate() {
            let before = own_written_bytes();
            for _ in 0..TURN_SLOTS {
                week.cpu += days.slot().await;
                if number == 2 {
                    replicate(days).await;
                }
            }
            week.written += (own_written_bytes() - before) as f64;
        }
    }
    for days in stores {
        lucid::jobs::replication::release(&days.local.app.context).await;
        days.local.close();
    }
    weeks
}

async fn replicate(days: &Days) {
    let context = &days.local.app.context;
    context.run(Job::Replication).await.unwrap();
    assert!(context.replication.status().failure.is_none(), "{:?}", context.replication.status().failure);
}

/// What a manager sent since it was started, when it is as far as that.
pub struct Sent {
    pub documents: f64,
    pub bytes: f64,
    pub seconds: f64,
    pub written: f64,
}

/// From now until the page about replication says so.
pub async fn until(person: &Person, manager: &Manager, is_there: impl Fn(&Value) -> bool) -> Sent {
    let watch = Stopwatch::start();
    loop {
        let view = person.get_json("/api/v1/replication").await;
        let seconds = watch.elapsed().as_secs_f64();
        if is_there(&view) {
            let number = |name: &str| view[name].as_f64().unwrap();
            let written = manager.process.written_bytes() as f64;
            return Sent { documents: number("documents_sent"), bytes: number("bytes_sent"), seconds, written };
        }
        assert!(seconds < 1_800.0, "{view}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
