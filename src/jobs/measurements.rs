//! Files of measurements that go: first it is written down that one goes, then it does. What is missing without that is told.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::audit::Draft;
use crate::domain::time::{Now, Slot};
use crate::storage::cold::Cold;
use crate::storage::core::cold_files;
use crate::storage::fault::{Fault, WriteError};
use crate::storage::space::Going;
use crate::storage::table::WriteTx;

/// Deletes a file; the subject of `draft` is its name. A crash after the entry leaves a file that goes later; a disk too full for the entry is relieved all the same, and the entry is
/// what is left to be written.
pub async fn delete(context: &Context, going: Going, draft: Draft) -> Result<(), Stopped> {
    let space = &context.store.space;
    let _alone = space.files.lock().await;
    let is_told = cold_files::is_expired(&context.store.read()?, &going.name())? || {
        let entry = draft.clone();
        match context.store.write(move |tx| cold_files::expire(tx, entry.clone())).await {
            Ok(()) => true,
            Err(WriteError::Fault(Fault::Full)) => false,
            Err(error) => return Err(error.into()),
        }
    };
    let store = Arc::clone(&context.store);
    let removed = tokio::task::spawn_blocking(move || store.remove(going)).await;
    let name = removed.map_err(|error| Stopped(error.to_string()))??;
    tracing::info!(name, why = draft.reason, "a file of measurements is deleted");
    if !is_told {
        space.note_untold(draft);
    }
    Ok(())
}

/// Compares the files that there are with those that should be there. What was missed, and would be too old by now, is missed no more.
pub async fn look(context: &Context, now: Now, (weeks, months): (Slot, Slot)) -> Result<(), Stopped> {
    let store = &context.store;
    let _alone = store.space.files.lock().await;
    let mut present = store.cold.present()?;
    // Where even that did not fit on the disk, it is known here.
    present.extend(store.space.untold().into_iter().map(|draft| draft.subject));
    let read = store.read()?;
    let found = cold_files::difference(&read, &present)?;
    let mut over = cold_files::lost(&read)?;
    over.retain(|(name, _)| Cold::would_end_by(name, weeks, months));
    if found.is_empty() && over.is_empty() {
        return Ok(());
    }
    for name in &found.missing {
        tracing::error!(name, "a file of measurements is gone, and nothing says that it should");
    }
    let write = move |tx: &mut WriteTx<'_>| {
        over.iter().try_for_each(|(name, _)| cold_files::forget(tx, name, now.wall))?;
        cold_files::note(tx, &found, now)
    };
    Ok(store.write(write).await?)
}
