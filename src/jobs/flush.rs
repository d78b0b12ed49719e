//! Makes accepted reports durable.

use super::{Context, Stopped};
use crate::domain::audit::Act;
use crate::domain::time::Now;
use crate::storage::core::nodes;

/// Up to this many nodes a flush every 300 s is enough; it writes a sixth of the bytes.
const SMALL_FLEET: u64 = 200;
const SMALL_FLEET_SECONDS: u32 = 300;
const LARGE_FLEET_SECONDS: u32 = 60;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    let anchor = context.clock.wall_at(now.boot).map(|wall| wall.0 - now.boot.0);
    context.store.flush(now, anchor).await?;
    if now.trusted {
        context.clock.committed(now.wall);
        date_enrolments(context, now).await?;
    }
    Ok(())
}

/// Nodes that enrolled before the clock was trusted count from now on.
async fn date_enrolments(context: &Context, now: Now) -> Result<(), Stopped> {
    let directory = &context.store.directory;
    if directory.all().iter().any(|node| node.key.is_some() && node.enrolled_from.is_none()) {
        let directory = std::sync::Arc::clone(directory);
        context.store.write(move |tx| nodes::date_enrolments(tx, &directory, &Act::system(now))).await?;
    }
    Ok(())
}

/// Seconds between flushes at this fleet size.
pub fn interval_seconds(setting: Option<u32>, nodes: u64) -> u32 {
    setting.unwrap_or(if nodes <= SMALL_FLEET { SMALL_FLEET_SECONDS } else { LARGE_FLEET_SECONDS })
}
