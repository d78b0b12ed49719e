//! Rolls up hours of measurements, and hours and days of epochs, each once when it is over, and hours once more when samples of them came late. How far it is done
//! is in the store, so a restart goes on where the last commit was. Hours of measurements are in the files of their months, everything else is one transaction of the hot file.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::calendar::HOURS_PER_DAY;
use crate::domain::evidence::{KEPT_DAYS, SLOTS_PER_DAY, day_of, day_start};
use crate::domain::span::Span;
use crate::domain::time::Slot;
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::days;
use crate::storage::hot::hours::{self, HourRow, Rolled};
use crate::storage::table::WriteTx;
use crate::storage::{Lane, Store, hot, tiers};

/// Hours rolled up in one run, and as many once more; the rest follows in the next.
const HOURS_PER_RUN: u32 = 24;
const STALE_PER_RUN: usize = 48;
/// Days whose hours become chunks in one run: what an earlier release kept is some days at a time.
const SETTLED_PER_RUN: u32 = 8;
/// Days rolled up in one run.
const DAYS_PER_RUN: u32 = 8;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    roll_hours(context).await?;
    let kept_from = now.wall.slot().minus(context.settings.get().retention.raw_days.saturating_mul(SLOTS_PER_DAY));
    roll_stale(context, kept_from).await?;
    roll_score_hours(context, now.wall.slot().minus(KEPT_DAYS * SLOTS_PER_DAY)).await?;
    roll_days(context).await?;
    settle_hours(context).await
}

/// Hours of days that are over, and what came late of them since, go to the chunks of their nodes.
async fn settle_hours(context: &Context) -> Result<(), Stopped> {
    let day = hours::rolled(&context.store.hot.read()?)?.hours_before / HOURS_PER_DAY;
    for _ in 0..SETTLED_PER_RUN {
        if !context.store.cold.settle_hours(day).await? {
            return Ok(());
        }
    }
    context.nudges.nudge(crate::live::Job::Rollups);
    Ok(())
}

/// A read that takes more than a few milliseconds, beside the other tasks.
async fn beside<R: Send + 'static>(
    store: &Arc<Store>,
    read: impl FnOnce(&Store) -> Result<R, Fault> + Send + 'static,
) -> Result<R, Stopped> {
    let store = Arc::clone(store);
    let reading = tokio::task::spawn_blocking(move || read(&store)).await;
    Ok(reading.map_err(|error| Stopped(error.to_string()))??)
}

async fn roll_hours(context: &Context) -> Result<(), Stopped> {
    for _ in 0..HOURS_PER_RUN {
        let rolled = beside(&context.store, |store| {
            let read = store.hot.read()?;
            // Everything before the slot of the last flush is on the disk; what comes later all the same makes its hour stale.
            let flushed = hours::hour_of(hot::meta(&read)?.flushed_at.slot());
            let before = hours::rolled(&read)?;
            let from = before.hours_before.min(flushed);
            // Whoever sent a sample has a bit in a row of evidence.
            let hour = hot::first_evidence(&read, hours::first_slot(from))?.map_or(flushed, hours::hour_of);
            if hour >= flushed {
                return Ok((before, Rolled { hours_before: flushed, ..before }, Vec::new()));
            }
            let mut rows = Vec::new();
            for group in 0..=store.directory.all().iter().map(|node| hours::group_of(node.index)).max().unwrap_or_default() {
                rows.extend(tiers::roll(store, hour, group)?);
            }
            Ok((before, Rolled { hours_before: hour + 1, ..before }, rows))
        });
        let (before, after, rows): (Rolled, Rolled, Vec<HourRow>) = rolled.await?;
        if after == before {
            return Ok(());
        }
        // First the hours, then that they are there: a crash in between writes them again.
        context.store.cold.put_hours(rows).await?;
        let write = move |tx: &mut WriteTx<'_>| {
            let rolled = hours::rolled(tx)?;
            hours::put_rolled(tx, &Rolled { hours_before: after.hours_before, ..rolled })
        };
        context.store.hot.write(Lane::Ordinary, write).await?;
    }
    context.nudges.nudge(crate::live::Job::Rollups);
    Ok(())
}

/// An hour whose samples have partly been forgotten already keeps the roll-up it has.
async fn roll_stale(context: &Context, kept_from: Slot) -> Result<(), Stopped> {
    let read = beside(&context.store, move |store| {
        let stale = hours::stale(&store.hot.read()?, STALE_PER_RUN)?;
        let kept = stale.iter().filter(|((hour, _), _)| hours::first_slot(*hour) > kept_from);
        let rows: Result<Vec<Option<HourRow>>, Fault> = kept.map(|((hour, group), _)| tiers::roll(store, *hour, *group)).collect();
        Ok((rows?.into_iter().flatten().collect::<Vec<HourRow>>(), stale))
    });
    let (rows, stale) = read.await?;
    if stale.is_empty() {
        return Ok(());
    }
    context.store.cold.put_hours(rows).await?;
    let write = move |tx: &mut WriteTx<'_>| stale.iter().try_for_each(|(key, stale)| hours::is_rolled(tx, *key, *stale));
    Ok(context.store.hot.write(Lane::Ordinary, write).await?)
}

/// An hour of epochs is over when a closed epoch, or a gap, reaches its end; an epoch belongs to the hour in which it begins. Nothing is left of leaves before `kept_from`.
async fn roll_score_hours(context: &Context, kept_from: Slot) -> Result<(), Stopped> {
    for _ in 0..HOURS_PER_RUN {
        let next = beside(&context.store, move |store| {
            let core = store.read()?;
            let read = store.hot.read()?;
            let from = hours::first_slot(hours::rolled(&read)?.score_hours_before).max(kept_from);
            let (Some(first), Some(last)) = (epochs::first_after(&core, from.0)?, epochs::last(&core)?) else { return Ok(None) };
            let hour = hours::hour_of(first.epoch.first_slot());
            let end = hours::first_slot(hour + 1);
            if last.next_slot() < end {
                return Ok(None);
            }
            let heads = epochs::beginning_in(&core, from.max(hours::first_slot(hour)), end)?;
            Ok(Some((hour, days::roll(&read, &heads)?)))
        });
        let Some((hour, of_hour)): Option<(u32, Vec<Span>)> = next.await? else { return Ok(()) };
        let write = move |tx: &mut WriteTx<'_>| {
            days::put_hour(tx, hour, &of_hour)?;
            let rolled = hours::rolled(tx)?;
            hours::put_rolled(tx, &Rolled { score_hours_before: hour + 1, ..rolled })
        };
        context.store.hot.write(Lane::Ordinary, write).await?;
    }
    context.nudges.nudge(crate::live::Job::Rollups);
    Ok(())
}

/// A day is over when a closed epoch, or a gap, reaches its end: then every leaf of it is there. It is added to the sums of all days in the same transaction.
async fn roll_days(context: &Context) -> Result<(), Stopped> {
    for _ in 0..DAYS_PER_RUN {
        let next = beside(&context.store, |store| {
            let core = store.read()?;
            let read = store.hot.read()?;
            let before = hours::rolled(&read)?;
            let (Some(first), Some(last)) = (epochs::first_after(&core, day_start(before.days_before).0)?, epochs::last(&core)?) else {
                return Ok(None);
            };
            // Days without epochs have nothing to be rolled up.
            let day = day_of(first.epoch.first_slot()).max(before.days_before);
            let end = day_start(day + 1);
            if last.next_slot() < end {
                return Ok(None);
            }
            let heads = epochs::beginning_in(&core, day_start(day), end)?;
            Ok(Some((day, days::roll(&read, &heads)?)))
        });
        let Some((day, of_day)): Option<(u32, Vec<Span>)> = next.await? else { return Ok(()) };
        let write = move |tx: &mut WriteTx<'_>| {
            let rolled = hours::rolled(tx)?;
            if rolled.days_before > day {
                return Ok(());
            }
            days::put(tx, day, &of_day)?;
            days::add_to_totals(tx, day, &of_day)?;
            hours::put_rolled(tx, &Rolled { days_before: day + 1, ..rolled })
        };
        context.store.hot.write(Lane::Ordinary, write).await?;
    }
    context.nudges.nudge(crate::live::Job::Rollups);
    Ok(())
}
