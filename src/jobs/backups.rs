//! Makes the backup that is due or was asked for, and tells when there is none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Context, Stopped, flush};
use crate::domain::alert::Severity;
use crate::domain::audit::Act;
use crate::domain::backup::{Daily, is_due, is_overdue};
use crate::domain::time::Timestamp;
use crate::storage::backup::{Failed, Made, Options, make, same_disk};
use crate::storage::core::{alerts, backups};

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let (store, now) = (&context.store, context.clock.now());
    let settings = context.settings.get().backup.clone();
    let core = store.read()?;
    let (since, failed_at) = (backups::since(&core)?, backups::state(&core)?.failed.map(|failed| failed.at));
    let due = now.trusted && settings.enabled && is_due(settings.at_minutes, since, failed_at, now.wall);
    if let Some((number, to)) = store.backups.begin(due, now.wall) {
        let ended = make_one(context, &settings, to).await;
        let outcome = ended.as_ref().map(Arc::clone).map_err(ToString::to_string);
        store.backups.end(number, context.clock.now().wall, outcome);
    }
    tell_overdue(context, settings.enabled).await
}

async fn make_one(context: &Context, settings: &Daily, to: Option<PathBuf>) -> Result<Arc<Made>, String> {
    let (store, now) = (Arc::clone(&context.store), context.clock.now());
    // What was reported until now is in it; where that cannot be written, the rest is worth a copy all the same.
    if let Err(Stopped(why)) = flush::run(context).await {
        tracing::warn!(why, "the flush before a backup failed");
    }
    let is_daily = to.is_none();
    let options = Options::new(to.unwrap_or_else(|| settings.folder(store.dir())), settings.keep);
    let making = Arc::clone(&store);
    let made = tokio::task::spawn_blocking(move || make(&making, &options, now.wall, &mut |progress| making.backups.at(progress))).await;
    let ended = context.clock.now();
    let made = made.unwrap_or_else(|_| Err(Failed::Unsound("a part of it could not be read at all".into())));
    let (written, answer) = match made {
        Ok(made) => {
            let made = Arc::new(made);
            if let Some(bytes) = elsewhere(&made, store.dir()) {
                store.meter.wrote_elsewhere(bytes);
            }
            let (bytes, left_out) = (made.manifest.bytes(), made.left_out.len());
            tracing::info!(name = made.name, bytes, linked = made.linked_bytes, left_out, "a backup was made and verified");
            let (recorded, at) = (Arc::clone(&made), now.wall);
            let draft = Act::system(ended).draft("backup.make", "");
            (store.write(move |tx| backups::made(tx, &recorded, is_daily, at, draft.clone())).await, Ok(made))
        }
        // A manager that stops makes it when it runs again.
        Err(Failed::Cancelled) => (Ok(()), Err(Failed::Cancelled.to_string())),
        Err(failed) => {
            let why = failed.to_string();
            tracing::error!(why, "the backup was not made");
            let recorded = why.clone();
            let record = async || store.write(move |tx| backups::failed(tx, &recorded, ended.wall)).await;
            (if is_daily { record().await } else { Ok(()) }, Err(why))
        }
    };
    if let Err(error) = written {
        tracing::error!(%error, "how the backup ended was not recorded");
    }
    answer
}

/// Bytes of a backup that went to another disk than the store's: they wear another card.
fn elsewhere(made: &Made, store: &Path) -> Option<u64> {
    (!same_disk(&made.folder, store)?).then(|| made.manifest.bytes().saturating_sub(made.linked_bytes))
}

async fn tell_overdue(context: &Context, is_enabled: bool) -> Result<(), Stopped> {
    let (store, now) = (&context.store, context.clock.now());
    let core = store.read()?;
    let since: Timestamp = backups::since(&core)?;
    let is_open = alerts::is_open(&core, backups::OVERDUE, "")?;
    let is_late = is_enabled && now.trusted && is_overdue(since, now.wall);
    if is_late && !is_open {
        let message = format!("There is no good backup since {since}.");
        store.write(move |tx| alerts::raise(tx, backups::OVERDUE, "", Severity::Warning, &message, now.wall)).await?;
    } else if is_open && (!is_enabled || (now.trusted && !is_overdue(since, now.wall))) {
        store.write(move |tx| alerts::resolve(tx, backups::OVERDUE, "", now.wall)).await?;
    }
    Ok(())
}
