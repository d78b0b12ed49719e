//! Files of measurements that go: first it is written down that one goes, then it does. What is missing without that is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::audit::Draft;
use crate::domain::time::{Now, Slot};
use crate::storage::Store;
use crate::storage::cold::{Cold, Present};
use crate::storage::core::cold_files::{self, Difference};
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
    let store = Arc::clone(&context.store);
    let _alone = context.store.space.files.lock().await;
    let compared = tokio::task::spawn_blocking(move || compared(&store)).await;
    let found = compared.map_err(|error| Stopped(error.to_string()))??;
    let mut over = cold_files::lost(&context.store.read()?)?;
    over.retain(|(name, ..)| Cold::would_end_by(name, weeks, months));
    if found.is_empty() && over.is_empty() {
        return Ok(());
    }
    for (name, _) in &found.missing {
        tracing::error!(name, "a file of measurements is gone, and nothing says that it should");
    }
    let write = move |tx: &mut WriteTx<'_>| {
        over.iter().try_for_each(|(name, identity, _)| cold_files::forget(tx, name, *identity, now.wall))?;
        cold_files::note(tx, &found, "is gone, and nothing says that it was to go", now)
    };
    Ok(context.store.write(write).await?)
}

/// What differs. Files that are new here, or have the name of one that was lost, are opened, which tells their identity.
fn compared(store: &Store) -> Result<Difference, Fault> {
    let read = store.read()?;
    let lost: BTreeSet<String> = cold_files::lost(&read)?.into_iter().map(|(name, ..)| name).collect();
    let look = || {
        let mut present = store.cold.present()?;
        // Where even that did not fit on the disk, it is known here.
        let untold = store.space.untold();
        present.extend(untold.into_iter().map(|draft| (draft.subject, Present { identity: None, is_beside: true })));
        Ok::<_, Fault>(present)
    };
    let present = look()?;
    let unknown = cold_files::difference(&read, &present)?.new.into_iter().filter(|(_, identity)| identity.is_none()).map(|(name, _)| name);
    let mut is_asked = false;
    for name in
        unknown.chain(present.iter().filter(|(name, is)| is.identity.is_none() && lost.contains(*name)).map(|(name, _)| name.clone()))
    {
        is_asked |= store.cold.identity(&name)?.is_some();
    }
    let mut found = cold_files::difference(&read, &if is_asked { look()? } else { present })?;
    // One that cannot be read has no identity yet; it is told as damaged.
    found.new.retain(|(_, identity)| identity.is_some());
    Ok(found)
}
