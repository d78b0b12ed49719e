//! Compacts the files of the store: at once where somebody asked for it, else inside the daily window when much of a file is free.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::clock::Stopwatch;
use crate::domain::audit::Act;
use crate::domain::time::{Now, Timestamp};
use crate::storage::compaction::{self, LastRun, Which};
use crate::storage::core::audit;
use crate::storage::fault::Fault;

/// Smaller files are left as they are: there is nothing to win.
const MIN_BYTES: u64 = 16 << 20;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// When files are compacted by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Hour of the day, UTC.
    pub start_hour: u32,
    /// 0: never.
    pub hours: u32,
    /// So much of a file has to be free, in percent.
    pub above_percent: u32,
}

impl Rules {
    /// When the window began in which `now` is.
    fn window(self, now: Timestamp) -> Option<Timestamp> {
        let into = (now.0 - i64::from(self.start_hour) * HOUR_MS).rem_euclid(DAY_MS);
        (into < i64::from(self.hours) * HOUR_MS).then(|| now.plus_ms(-into))
    }
}

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    for which in Which::ALL {
        let of = context.store.compactions.of(which);
        if of.is_asked() {
            let ended = one(context, which, now).await;
            of.settle();
            ended?;
        } else if is_due(context, which, now).await? {
            let run = one(context, which, now).await?;
            let about = match run.failed {
                None => format!("from {} to {} bytes", run.before_bytes, run.after_bytes),
                Some(why) => why,
            };
            let draft = Act::system(now).draft("storage.compact", which.name()).because(about);
            context.store.write(move |tx| audit::append(tx, draft.clone())).await?;
        }
    }
    Ok(())
}

/// Once in each window it is looked how much is free: that reads the whole file.
async fn is_due(context: &Context, which: Which, now: Now) -> Result<bool, Stopped> {
    let rules = context.settings.get().compaction;
    let store = Arc::clone(&context.store);
    let Some(window) = rules.window(now.wall).filter(|_| now.trusted) else { return Ok(false) };
    if store.file(which).length_bytes()? < MIN_BYTES || !store.compactions.of(which).enter_window(window) {
        return Ok(false);
    }
    let counting = tokio::task::spawn_blocking(move || store.compactions.of(which).usage(store.file(which), now.wall, 0));
    let (_, usage) = counting.await.map_err(|_| Fault::Panic)??;
    Ok(u32::from(usage.free_percent()) > rules.above_percent)
}

async fn one(context: &Context, which: Which, now: Now) -> Result<LastRun, Stopped> {
    let (store, clock) = (Arc::clone(&context.store), context.clock.clone());
    let working = tokio::task::spawn_blocking(move || {
        let (file, of, watch) = (store.file(which), store.compactions.of(which), Stopwatch::start());
        let length = file.length_bytes().unwrap_or(0);
        let run = match compaction::compact(file, &of.progress, &|| watch.elapsed()) {
            Ok(done) => LastRun {
                at: clock.now().wall.max(now.wall),
                before_bytes: done.before.length_bytes,
                after_bytes: done.after_bytes,
                barrier_ms: u64::try_from(done.barrier.as_millis()).unwrap_or(u64::MAX),
                failed: None,
            },
            Err(why) => LastRun {
                at: clock.now().wall.max(now.wall),
                before_bytes: length,
                after_bytes: length,
                barrier_ms: 0,
                failed: Some(why.to_string()),
            },
        };
        of.end(run.clone());
        run
    });
    let run = working.await.map_err(|_| Fault::Panic)?;
    match &run.failed {
        None => tracing::info!(file = which.name(), before = run.before_bytes, after = run.after_bytes, "compacted"),
        Some(why) => tracing::warn!(file = which.name(), why, "not compacted"),
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_same_time_every_day_and_may_go_over_midnight() {
        let rules = Rules { start_hour: 23, hours: 2, above_percent: 40 };
        let day = Timestamp(1_790_000_000_000 / DAY_MS * DAY_MS);
        let at = |hours: i64| day.plus_ms(hours * HOUR_MS);
        let begins = [-1, 0, 1, 22, 23, 24, 25].map(|hour| rules.window(at(hour)));
        let (before, after) = (Some(at(-1)), Some(at(23)));
        assert_eq!(begins, [before, before, None, None, after, after, None]);
        assert_eq!(Rules { hours: 0, ..rules }.window(at(23)), None);
    }
}
