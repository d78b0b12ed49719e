//! Moves measurements that fill a page from the log into the file of their week.

use super::{Context, Stopped};

/// Sweeps in one run.
const PER_RUN: usize = 20;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted || !context.store.seal_is_due(now.wall.slot()) {
        return Ok(());
    }
    for _ in 0..PER_RUN {
        let swept = context.store.seal(now.wall.slot()).await?;
        tracing::debug!(?swept, "measurements were sealed");
        if swept.nodes == 0 || !context.store.holds_too_much() {
            break;
        }
    }
    Ok(())
}
