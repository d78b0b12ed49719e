//! Looks how full the disk is and how worn the card: what may go early goes, a reserve that is missing is made, and alerts say what stands.

use std::sync::Arc;

use super::{Context, Stopped, limit_bytes, measurements};
use crate::domain::alert::Severity;
use crate::domain::audit::Act;
use crate::domain::space::{Figures, Level};
use crate::domain::time::{Now, Timestamp};
use crate::domain::wear::{SOON_HUNDREDTHS, years_left_hundredths};
use crate::storage::Store;
use crate::storage::core::{alerts, cold_files};
use crate::storage::fault::{Fault, TxError};
use crate::storage::space::{CRITICAL, DAMAGED, Going, HIGH, IO_ERROR, WEARING_OUT};
use crate::storage::table::{Snapshot, WriteTx};

/// An alert about an error that was survived ends after this long without another.
const ERROR_SHOWN_MS: i64 = 86_400_000;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let (store, now, settings) = (Arc::clone(&context.store), context.clock.now(), context.settings.get());
    let limit = limit_bytes(settings.retention.max_mb);
    let looking = tokio::task::spawn_blocking(move || look(&store, limit, now)).await;
    let (figures, level, going) = looking.map_err(|error| Stopped(error.to_string()))??;
    let relieved = match going {
        Some(going) => {
            let percent = figures.permille().div_ceil(10);
            tracing::warn!(name = going.name(), percent, "the disk fills up: the oldest measurements are deleted early");
            let draft = Act::system(now).draft("storage.expire_early", going.name()).because(format!("{percent} % are used"));
            measurements::delete(context, going, draft).await
        }
        None => Ok(()),
    };
    let read = context.store.read()?;
    let mut changes = of_level(&read, level, &figures)?;
    changes.extend(of_errors(context, &read, now)?);
    changes.extend(of_damage(&context.store, &read)?);
    changes.extend(of_wear(context, &read, now, settings.card_rating_bytes)?);
    let untold = context.store.space.untold();
    if changes.is_empty() && untold.is_empty() {
        return relieved;
    }
    let count = untold.len();
    let write = move |tx: &mut WriteTx<'_>| {
        untold.iter().try_for_each(|draft| cold_files::expire(tx, draft.clone()))?;
        changes.iter().try_for_each(|change| change.record(tx, now.wall))
    };
    context.store.write(write).await?;
    context.store.space.told(count);
    relieved
}

fn look(store: &Store, limit: Option<u64>, now: Now) -> Result<(Figures, Level, Option<Going>), Fault> {
    let figures = store.figures(limit)?;
    let before = store.space.level();
    let level = store.space.judge(&figures);
    if level != before {
        tracing::info!(?before, ?level, percent = figures.permille() / 10, "how full the disk is has changed");
    }
    // Which weeks are over is a matter of the clock.
    let going = if now.trusted { store.goes_early(level, &figures, now.wall.slot())? } else { None };
    match store.room.make() {
        Ok(true) => tracing::info!(bytes = store.room.reserved_bytes(), "room is set aside for a full disk"),
        Ok(false) => (),
        Err(error) => tracing::warn!(%error, "no room could be set aside for a full disk"),
    }
    Ok((figures, level, going))
}

/// An alert that begins, or ends.
struct Change {
    kind: &'static str,
    subject: String,
    raise: Option<(Severity, String)>,
}

impl Change {
    /// None where it stands as it should.
    fn needed(read: &Snapshot, kind: &'static str, subject: &str, raise: Option<(Severity, String)>) -> Result<Option<Change>, Fault> {
        let is_open = alerts::is_open(read, kind, subject)?;
        Ok((is_open != raise.is_some()).then(|| Change { kind, subject: subject.to_owned(), raise }))
    }

    fn record(&self, tx: &mut WriteTx<'_>, at: Timestamp) -> Result<(), TxError> {
        match &self.raise {
            Some((severity, message)) => alerts::raise(tx, self.kind, &self.subject, *severity, message, at).map(drop),
            None => alerts::resolve(tx, self.kind, &self.subject, at).map(drop),
        }
    }
}

fn of_level(read: &Snapshot, level: Level, figures: &Figures) -> Result<Vec<Change>, Fault> {
    let is_limit = figures.permille() > figures.disk_permille();
    let of = if is_limit { "what the store may take (storage.max_mb)" } else { "the disk" };
    let percent = figures.permille().div_ceil(10);
    let high = format!("{percent} % of {of} are used. Where that helps, the oldest measurements are deleted early.");
    let critical =
        format!("{percent} % of {of} are used. The oldest measurements are deleted early, and of new ones one in ten is kept. Make room.");
    let wanted = [
        (HIGH, (level == Level::High).then_some((Severity::Warning, high))),
        (CRITICAL, (level == Level::Critical).then_some((Severity::Critical, critical))),
    ];
    let changes = wanted.into_iter().map(|(kind, raise)| Change::needed(read, kind, "", raise));
    Ok(changes.collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect())
}

fn of_errors(context: &Context, read: &Snapshot, now: Now) -> Result<Vec<Change>, Fault> {
    let survived = context.store.room.notice(now.wall);
    let mut changes = Vec::new();
    for alert in alerts::open_of_kind(read, IO_ERROR)? {
        let last =
            survived.get(&alert.subject).and_then(|of_file| of_file.noticed_at).map_or(alert.raised_at, |at| at.max(alert.raised_at));
        if now.trusted && now.wall.since(last) > ERROR_SHOWN_MS {
            changes.push(Change { kind: IO_ERROR, subject: alert.subject, raise: None });
        }
    }
    for (file, of_file) in survived {
        if of_file.noticed_at.is_some_and(|at| now.wall.since(at) <= ERROR_SHOWN_MS) {
            let message = format!("{file} had an I/O error and was opened again; nothing that was answered is lost: {}.", of_file.error);
            changes.extend(Change::needed(read, IO_ERROR, &file, Some((Severity::Warning, message)))?);
        }
    }
    Ok(changes)
}

/// One for each file of measurements that cannot be read, until it is back from a backup or taken away.
fn of_damage(store: &Store, read: &Snapshot) -> Result<Vec<Change>, Fault> {
    let damaged = store.cold.damaged();
    let mut changes = Vec::new();
    for alert in alerts::open_of_kind(read, DAMAGED)? {
        if !damaged.contains_key(&alert.subject) {
            changes.push(Change { kind: DAMAGED, subject: alert.subject, raise: None });
        }
    }
    for (file, why) in damaged {
        let message = format!(
            "cold/{file} is damaged, and what it has is missing from charts ({why}). With the manager stopped, a backup's copy can take its place."
        );
        changes.extend(Change::needed(read, DAMAGED, &file, Some((Severity::Warning, message)))?);
    }
    Ok(changes)
}

fn of_wear(context: &Context, read: &Snapshot, now: Now, rating: u64) -> Result<Option<Change>, Fault> {
    let wear = context.store.wear(now)?;
    let left = wear.bytes_per_day.filter(|_| rating > 0).and_then(|per_day| years_left_hundredths(rating, wear.total, per_day));
    let message = |left: u64| {
        let months = left * 12 / SOON_HUNDREDTHS;
        let megabytes = wear.bytes_per_day.unwrap_or_default() / 1_000_000;
        format!(
            "At {megabytes} MB a day what the card is rated for (storage.card_rating_tb) is written in {months} months. Have another card ready."
        )
    };
    let raise = left.filter(|left| *left < SOON_HUNDREDTHS).map(|left| (Severity::Warning, message(left)));
    Change::needed(read, WEARING_OUT, "", raise)
}
