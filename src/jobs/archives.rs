//! What is too old for the store goes into archives, and only then out of it. One month a run; what cannot be archived stays, with an alert, and is tried again.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::archive::{Kind, Manifest};
use crate::domain::statement::Month;
use crate::domain::time::Now;
use crate::storage::archive::outputs::{self, Due, Making};
use crate::storage::archive::{self, Failed, Reading};
use crate::storage::core::archives;
use crate::storage::fault::{Fault, WriteError};
use crate::storage::hot::outputs as log;
use crate::storage::{Lane, Store};

/// Rows of outputs deleted in one transaction.
const ROWS: usize = 2_000;
/// Transactions in one run; the rest follows in the next.
const PER_RUN: usize = 50;

/// Archives and deletes outputs of months that are over for a year.
pub async fn outputs(context: &Context, now: Now) -> Result<(), Stopped> {
    let kept = Month(Month::of(now.wall).0.saturating_sub(log::MONTHS_KEPT));
    let failed = match archive_and_forget(context, kept, now).await {
        Ok(()) => None,
        Err(Failed::Disk(why)) => Some(format!("Outputs before {kept} are not archived, and stay in the store: {why}.")),
        Err(Failed::Fault(fault)) => return Err(fault.into()),
    };
    if let Some(why) = &failed {
        tracing::warn!(%why, "no archive was made");
    }
    if failed.is_some() != archives::is_failing(&context.store.read()?, Kind::Outputs)? {
        context.store.write(move |tx| archives::settle(tx, Kind::Outputs, failed.as_deref(), now.wall)).await?;
    }
    Ok(())
}

async fn archive_and_forget(context: &Context, kept: Month, now: Now) -> Result<(), Failed> {
    let store = &context.store;
    // Left over from a run that ended before its last deletion: the files may have changed since.
    let newest = archives::newest(&store.read()?, Kind::Outputs)?;
    if let Some(newest) = newest
        && log::begins_within(&store.hot.read()?, newest.last)?
    {
        archive::check_manifest(&archive::folder(store), &newest).map_err(|failed| named(&newest, failed))?;
        read_back(store, &newest).await.map_err(|failed| named(&newest, failed))?;
        forget(store, newest.last).await?;
    }
    let Some(due) = outputs::due(store, kept)? else { return Ok(()) };
    let manifest = make(store, due, now).await?;
    let (name, lines, bytes, last) = (manifest.name(), manifest.lines, manifest.bytes, manifest.last);
    store.write(move |tx| archives::add(tx, &manifest, now)).await.map_err(unwritten)?;
    tracing::info!(%name, lines, bytes, "archived");
    forget(store, last).await
}

fn named(manifest: &Manifest, failed: Failed) -> Failed {
    match failed {
        Failed::Disk(why) => Failed::Disk(format!("{}: {why}", manifest.name())),
        fault @ Failed::Fault(_) => fault,
    }
}

/// Durable, and read back.
async fn make(store: &Arc<Store>, due: Due, now: Now) -> Result<Manifest, Failed> {
    let mut making = blocking(store, move |store| Making::begin(store, due)).await?;
    loop {
        let is_done;
        (making, is_done) = blocking(store, move |store| {
            let is_done = making.step(store)?;
            Ok((making, is_done))
        })
        .await?;
        if is_done {
            break;
        }
    }
    let manifest = blocking(store, move |store| making.finish(store, now.wall)).await?;
    read_back(store, &manifest).await?;
    blocking(store, move |store| {
        archive::put_manifest(&archive::folder(store), &manifest)?;
        Ok(manifest)
    })
    .await
}

async fn read_back(store: &Arc<Store>, manifest: &Manifest) -> Result<(), Failed> {
    let manifest = manifest.clone();
    let mut reading = blocking(store, move |store| Reading::begin(&archive::folder(store), &manifest)).await?;
    loop {
        let is_done;
        (reading, is_done) = blocking(store, move |_| {
            let is_done = reading.step()?;
            Ok((reading, is_done))
        })
        .await?;
        if is_done {
            return Ok(());
        }
    }
}

async fn forget(store: &Arc<Store>, last: u64) -> Result<(), Failed> {
    for _ in 0..PER_RUN {
        let rows = store.hot.write(Lane::Ordinary, move |tx| log::prune(tx, last, ROWS)).await.map_err(unwritten)?;
        if rows < ROWS {
            break;
        }
    }
    Ok(())
}

fn unwritten(error: WriteError) -> Failed {
    Failed::Fault(Fault::Database(error.to_string()))
}

/// A step that reads or writes for some hundred milliseconds: between two of them the process may stop.
async fn blocking<R: Send + 'static>(
    store: &Arc<Store>,
    step: impl FnOnce(&Store) -> Result<R, Failed> + Send + 'static,
) -> Result<R, Failed> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || step(&store)).await.map_err(|_| Failed::Fault(Fault::Panic))?
}
