//! What keeps the store small: old measurements and evidence go.

use super::{Context, Retention, Stopped, archives, limit_bytes, measurements};
use crate::domain::audit::Act;
use crate::domain::credits::Epoch;
use crate::domain::evidence::{KEPT_DAYS, SLOTS_PER_DAY};
use crate::domain::output::REMEMBERED_MS;
use crate::domain::poot::MAX_AGE_SLOTS;
use crate::domain::security::IDENTICAL_OUTPUTS;
use crate::domain::span::HOURLY_DAYS;
use crate::domain::time::{Now, Slot};
use crate::storage::core::alerts::{self, About};
use crate::storage::core::{audit, enrolment, idempotency, subject_keys};
use crate::storage::space::Going;
use crate::storage::table::WriteTx;
use crate::storage::{Lane, hot};

/// Days for which addresses of people who were not signed in can be read.
const STRANGER_DAYS: i64 = 365;
/// Rows of leaves deleted in one transaction.
const LEAF_ROWS: usize = 2_000;
/// The same of roll-ups: they come due a few at a time.
const ROLLUP_ROWS: usize = 500;
/// Idempotency keys forgotten in one run: all that may be due.
const IDEMPOTENCY_ROWS: usize = 4_096;
/// Uses of enrolment tokens forgotten in one transaction.
const ENROLMENT_USE_ROWS: usize = 1_000;
/// The same of challenges.
const CHALLENGE_ROWS: usize = 2_000;
/// How long after its beginning an alert about identical outputs ends by itself: they are looked for within the same time.
const IDENTICAL_OUTPUTS_MS: i64 = REMEMBERED_MS;
/// Transactions in one run; the rest follows in the next.
const PER_RUN: usize = 50;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let days_ago = |days: u32| now.wall.slot().minus(days.saturating_mul(SLOTS_PER_DAY));
    let retention = context.settings.get().retention;
    let (rollups, hourly): (Slot, Slot) = (days_ago(retention.hourly_days), days_ago(HOURLY_DAYS));
    let (samples, leaves_from) = (days_ago(retention.raw_days), days_ago(KEPT_DAYS));
    // The oldest leaves have windows that begin before them: as long as they are kept, so is what proves them.
    let evidence = leaves_from.minus(u32::from(MAX_AGE_SLOTS));
    // On a full disk this fails, and what follows makes room: it is said at the end.
    let pruned = prune(context, (leaves_from, evidence, hourly)).await;
    expire(context, now, &retention, (samples, rollups)).await?;
    measurements::look(context, now, (samples, rollups)).await?;
    // A commit costs the card some pages: none when there is nothing to forget.
    if !idempotency::due(&context.store.read()?, now.wall, 1)?.is_empty() {
        context.store.write(move |tx| idempotency::sweep(tx, now.wall, IDEMPOTENCY_ROWS)).await?;
    }
    for _ in 0..PER_RUN {
        let spent = enrolment::spent_uses(&context.store.read()?, now.wall, 1)?;
        if spent.is_empty() || !context.store.write(move |tx| enrolment::forget_uses(tx, now.wall, ENROLMENT_USE_ROWS)).await? {
            break;
        }
    }
    end_identical_outputs(context, now).await?;
    forget_strangers(context, now).await?;
    archives::run(context, now).await.and(pruned)
}

/// Weeks and months that are too old, and then those that are too many.
async fn expire(context: &Context, now: Now, retention: &Retention, (weeks, months): (Slot, Slot)) -> Result<(), Stopped> {
    let entry = |going: Going, why: String| Act::system(now).draft("storage.expire", going.name()).because(why);
    for going in context.store.too_old(weeks, months) {
        let days = if going.is_week() { retention.raw_days } else { retention.hourly_days };
        measurements::delete(context, going, entry(going, format!("older than {days} days"))).await?;
    }
    let (weeks, months) = (limit_bytes(retention.raw_max_mb), limit_bytes(retention.hourly_max_mb));
    for going in context.store.too_large(weeks, months, now.wall.slot())? {
        let (what, megabytes) = if going.is_week() { ("weeks", retention.raw_max_mb) } else { ("months", retention.hourly_max_mb) };
        measurements::delete(context, going, entry(going, format!("{what} take more than {megabytes} MB"))).await?;
    }
    Ok(())
}

/// Leaves, evidence and what else of `hot.redb` is too old.
async fn prune(context: &Context, (leaves_from, evidence, hourly): (Slot, Slot, Slot)) -> Result<(), Stopped> {
    let keep_bytes = context.store.outputs.keep_bytes();
    for _ in 0..PER_RUN {
        let more = context.store.hot.write(Lane::Ordinary, move |tx| {
            let leaves = hot::leaves::prune(tx, Epoch(leaves_from.0), LEAF_ROWS)?;
            let scores = hot::days::prune_hours(tx, hot::hours::hour_of(hourly), ROLLUP_ROWS)?;
            let challenged = hot::outputs::prune_challenged(tx, evidence, CHALLENGE_ROWS)?;
            let more =
                hot::kept_outputs::trim(tx, keep_bytes)? || challenged == CHALLENGE_ROWS || leaves == LEAF_ROWS || scores == ROLLUP_ROWS;
            Ok(hot::prune(tx, evidence)? || more)
        });
        if !more.await? {
            break;
        }
    }
    Ok(())
}

async fn end_identical_outputs(context: &Context, now: Now) -> Result<(), Stopped> {
    let mut over = alerts::open_of_kind(&context.store.read()?, IDENTICAL_OUTPUTS)?;
    over.retain(|alert| now.wall.since(alert.raised_at) > IDENTICAL_OUTPUTS_MS);
    if over.is_empty() {
        return Ok(());
    }
    let end = move |tx: &mut WriteTx<'_>| {
        for alert in &over {
            let about = About { kind: &alert.kind, subject: &alert.subject, topic: alert.topic.as_deref() };
            alerts::resolve_about(tx, about, now.wall)?;
        }
        Ok(())
    };
    Ok(context.store.write(end).await?)
}

/// Destroys the keys of strangers' addresses of months that are over for a year: the audit log keeps what they did, and no longer from where.
async fn forget_strangers(context: &Context, now: Now) -> Result<(), Stopped> {
    let expired = subject_keys::expired(&context.store.read()?, now.wall.plus_seconds(-STRANGER_DAYS * 86_400))?;
    if expired.is_empty() {
        return Ok(());
    }
    let forget = move |tx: &mut WriteTx<'_>| {
        for subject in &expired {
            subject_keys::erase(tx, subject, now.wall)?;
            audit::append(tx, Act::system(now).draft("privacy.expire", subject.as_str()))?;
        }
        Ok(())
    };
    Ok(context.store.write(forget).await?)
}
