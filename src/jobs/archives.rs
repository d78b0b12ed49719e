//! What is too old for the store goes into archives, and only then out of it. One period of each kind in a run; what cannot be archived stays, with an alert, and
//! is tried again. Archives that were kept long enough go too.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::archive::{Kept, Kind, Manifest};
use crate::domain::statement::Month;
use crate::domain::time::{Now, Timestamp};
use crate::storage::Store;
use crate::storage::archive::content::{Content, Making};
use crate::storage::archive::history::History;
use crate::storage::archive::ledger::Ledger;
use crate::storage::archive::outputs::Outputs;
use crate::storage::archive::payouts::Payouts;
use crate::storage::archive::{self, Failed, Reading};
use crate::storage::core::archives;
use crate::storage::fault::{Fault, WriteError};

/// Transactions of deletions in one run; the rest follows in the next.
const PER_RUN: usize = 50;

pub async fn run(context: &Context, now: Now) -> Result<(), Stopped> {
    let retention = context.settings.get().archiving;
    // One that is stopped by a fault does not keep the others.
    let done = [
        one::<Outputs>(context, retention.outputs, now).await,
        one::<History>(context, retention.node_history, now).await,
        one::<Ledger>(context, retention.ledger, now).await,
        one::<Payouts>(context, retention.payouts, now).await,
    ];
    done.into_iter().collect()
}

async fn one<C: Content>(context: &Context, kept: Kept, now: Now) -> Result<(), Stopped> {
    let from = kept.from(now.wall);
    let archived = archive_and_forget::<C>(context, from, now).await;
    let failed = match archived {
        Err(Failed::Fault(fault)) => Err(Failed::Fault(fault)),
        // What cannot be archived is no reason to keep what was archived long ago.
        archived => expire(context, C::KIND, kept, now).await.and(archived),
    };
    let failed = match failed {
        Ok(()) => None,
        Err(Failed::Disk(why)) => Some(format!("The {} of before {from} stay in the store: {why}.", C::KIND.plural())),
        Err(Failed::Fault(fault)) => return Err(fault.into()),
    };
    if let Some(why) = &failed {
        tracing::warn!(%why, "no archive was made");
    }
    if failed.is_some() != archives::is_failing(&context.store.read()?, C::KIND)? {
        context.store.write(move |tx| archives::settle(tx, C::KIND, failed.as_deref(), now.wall)).await?;
    }
    Ok(())
}

async fn archive_and_forget<C: Content>(context: &Context, kept: Month, now: Now) -> Result<(), Failed> {
    let store = &context.store;
    let lacking = lacking::<C>(store, now).await?;
    // Left over from a run that ended before its last deletion: the files may have changed since.
    let newest = archives::newest(&store.read()?, C::KIND)?;
    if let Some(newest) = newest
        && lacking.is_none()
        && C::is_left(store, &newest)?
    {
        // Of one that was kept long enough there are none, and what a restore brought back of it goes.
        if !archives::is_gone(&store.read()?, &newest)? {
            is_whole(store, &newest).await.map_err(|failed| named(&newest, failed))?;
        }
        if forget::<C>(store, &newest).await? {
            return Ok(());
        }
    }
    if let Some(due) = blocking(store, move |store| Ok(C::due(store, kept)?)).await? {
        let (content, manifest) = make(store, due, now).await?;
        let made = manifest.clone();
        let record = move |tx: &mut crate::storage::table::WriteTx<'_>| {
            content.cover(tx, &made)?;
            archives::add(tx, &made, now)
        };
        store.write(record).await.map_err(unwritten)?;
        tracing::info!(name = manifest.name(), lines = manifest.lines, bytes = manifest.bytes, "archived");
        if lacking.is_none() {
            forget::<C>(store, &manifest).await?;
        }
    }
    match lacking {
        Some(lacking) => Err(Failed::Disk(format!(
            "{} did not come back from the cluster, and some of what is in it is nowhere else (its two files belong into the folder archive, if there are copies)",
            lacking.name()
        ))),
        None => Ok(()),
    }
}

/// Of the archives that did not come back with a restore, one of which something is in the store: whatever is deleted is deleted from the start, so nothing is.
async fn lacking<C: Content>(store: &Arc<Store>, now: Now) -> Result<Option<Manifest>, Failed> {
    let mut lacking = archives::lacking(&store.read()?)?;
    lacking.retain(|manifest| manifest.kind == C::KIND);
    for manifest in lacking {
        match take_over(store, &manifest, now).await {
            Ok(()) => tracing::info!(name = manifest.name(), "an archive was put in its place"),
            Err(Failed::Disk(why)) => {
                // The alert stands as it was raised; whoever has put files there finds here why they are not taken.
                tracing::info!(name = manifest.name(), %why, "an archive is not in its place");
                if C::holds(store, &manifest)? {
                    return Ok(Some(manifest));
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(None)
}

/// Files that somebody put in their place: that is recorded once they are what they should be, and are there to stay.
async fn take_over(store: &Arc<Store>, manifest: &Manifest, now: Now) -> Result<(), Failed> {
    is_whole(store, manifest).await?;
    let (durable, found) = (manifest.clone(), manifest.clone());
    blocking(store, move |store| Ok(archive::make_durable(store, &durable)?)).await?;
    store.write(move |tx| archives::found(tx, &found, now)).await.map_err(unwritten)
}

/// Archives that were kept long enough: first it is recorded that they went, then they do. A crash in between leaves files that the next run removes.
async fn expire(context: &Context, kind: Kind, kept: Kept, now: Now) -> Result<(), Failed> {
    let store = &context.store;
    let mut over = archives::all(&store.read()?)?;
    over.extend(archives::lacking(&store.read()?)?);
    over.retain(|manifest| {
        manifest.kind == kind && Timestamp::parse_rfc3339(&manifest.made_at).is_some_and(|made_at| kept.is_over(made_at, now.wall))
    });
    for manifest in over {
        let name = manifest.name();
        store.write(move |tx| archives::expire(tx, &manifest, now)).await.map_err(unwritten)?;
        tracing::info!(name, "an archive was kept long enough");
    }
    blocking(store, move |store| archive::remove_gone(store, kind)).await
}

fn named(manifest: &Manifest, failed: Failed) -> Failed {
    match failed {
        Failed::Disk(why) => Failed::Disk(format!("{}: {why}", manifest.name())),
        fault @ Failed::Fault(_) => fault,
    }
}

/// Durable, and read back.
async fn make<C: Content>(store: &Arc<Store>, due: C, now: Now) -> Result<(C, Manifest), Failed> {
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
    let (content, manifest) = blocking(store, move |store| making.finish(store, now.wall)).await?;
    read_back(store, &manifest).await?;
    blocking(store, move |store| {
        archive::put_manifest(store, &manifest)?;
        Ok((content, manifest))
    })
    .await
}

async fn is_whole(store: &Arc<Store>, manifest: &Manifest) -> Result<(), Failed> {
    archive::check_manifest(&archive::folder(store), manifest)?;
    read_back(store, manifest).await
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

/// True when more is left than one run deletes.
async fn forget<C: Content>(store: &Arc<Store>, newest: &Manifest) -> Result<bool, Failed> {
    for _ in 0..PER_RUN {
        if !C::forget(store, newest).await.map_err(unwritten)? {
            return Ok(false);
        }
    }
    Ok(true)
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
