//! Says to people what `domain::replica::lag` finds of how replication stands.

use super::Memory;
use crate::domain::replica::lag::{KINDS, Standing, Verdict, Writer, verdicts};
use crate::domain::time::Timestamp;
use crate::jobs::{Context, Stopped};
use crate::live::{Doing, Status};
use crate::storage::Store;
use crate::storage::core::alerts;
use crate::storage::replica::{marks, waiting};

/// After each run, whatever became of it.
pub(super) async fn tell(context: &Context, memory: &mut Memory) -> Result<(), Stopped> {
    let (store, now, status) = (&context.store, context.clock.now(), context.replication.status());
    let core = store.read()?;
    let state = marks::state(&core)?;
    let consistent_at = status.consistent_at();
    if consistent_at.is_some() {
        memory.whole_at = Some(now.boot);
    }
    let standing = Standing {
        writer: writer(&status, memory),
        is_paused: state.is_paused,
        waits: waiting::is_waiting(store, &status.positions)?,
        consistent_at,
        since: memory.whole_at.unwrap_or(now.boot),
    };
    let minutes = context.settings.get().replication.lag_alert_minutes;
    for (kind, verdict) in verdicts(&standing, minutes, now) {
        let is_open = alerts::is_open(&core, kind, "")?;
        match verdict {
            Verdict::Raise(severity, message) if !is_open => {
                store.write(move |tx| alerts::raise(tx, kind, "", severity, &message, now.wall)).await?;
            }
            Verdict::Resolve if is_open => {
                store.write(move |tx| alerts::resolve(tx, kind, "", now.wall)).await?;
            }
            Verdict::Raise(..) | Verdict::Resolve | Verdict::Stand => (),
        }
    }
    Ok(())
}

fn writer(status: &Status, memory: &Memory) -> Writer {
    match status.doing {
        // It sends nothing, and nobody else may.
        Doing::Paused if memory.claim.is_some() => Writer::This,
        Doing::Copying | Doing::Sending | Doing::Current => Writer::This,
        Doing::Second => Writer::Other,
        Doing::Superseded => Writer::Later,
        Doing::Off | Doing::Connecting | Doing::Watching | Doing::Paused | Doing::Away => Writer::Unknown,
    }
}

/// Nothing is replicated any more, so nothing of it is late.
pub async fn close(store: &Store, now: Timestamp) -> Result<(), Stopped> {
    let core = store.read()?;
    for kind in KINDS {
        if alerts::is_open(&core, kind, "")? {
            store.write(move |tx| alerts::resolve(tx, kind, "", now)).await?;
        }
    }
    Ok(())
}
