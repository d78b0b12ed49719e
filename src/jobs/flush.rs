//! Makes accepted reports durable.

use super::{Context, Stopped};
use crate::domain::audit::Act;
use crate::domain::time::Now;
use crate::storage::core::nodes;

/// Agents keep what is not durable yet and send it again, so a longer wait loses nothing; it writes a fifth of the bytes of one of 60 s. Each epoch flushes before it closes: a little
/// more than its 300 s, and there is no other flush as long as epochs close.
const SECONDS: u32 = 330;

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

/// Milliseconds until the next flush, whoever made the last one; 0 when it is due.
pub fn due_in_ms(context: &Context) -> u64 {
    let between = u64::from(context.settings.get().flush_seconds.unwrap_or(SECONDS)) * 1_000;
    between.saturating_sub(context.store.since_flush_ms(context.clock.now()))
}
