//! Turns accruals of closed epochs into ledger entries: once a day per node, and before a payout of it is planned.

use super::{Context, Stopped};
use crate::domain::credits::Epoch;
use crate::domain::epoch::Head;
use crate::domain::evidence::SLOTS_PER_DAY;
use crate::domain::node::Node;
use crate::domain::statement::Month;
use crate::storage::accruals;
use crate::storage::core::{checkpoints, epochs, ledger, nodes};
use crate::storage::fault::Fault;

/// Nodes posted in one transaction.
const PER_COMMIT: usize = 100;

/// Posts every node whose accruals reach back before today.
pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let today = Epoch(now.wall.slot().0 / SLOTS_PER_DAY * SLOTS_PER_DAY);
    let core = context.store.read()?;
    let Some(last) = epochs::last(&core)? else { return Ok(()) };
    // The day is over for the ledger when its last epoch is closed.
    if last.next_slot() < today.first_slot() {
        return Ok(());
    }
    let mut due = Vec::new();
    for node in nodes::all(&core)? {
        if node.enrolled_from.is_some() && ledger::accrued(&core, node.index)?.through < today.just_before() {
            due.push(node);
        }
    }
    post(context, &due, today.just_before()).await?;
    close_month(context, Month::of(now.wall).previous()).await
}

/// Writes the checkpoint of a month that is over, now that everything of it is posted; once. Read from a snapshot, because a month of postings is too much for the
/// one writer: what is posted meanwhile comes after the checkpoint.
async fn close_month(context: &Context, month: Month) -> Result<(), Stopped> {
    let now = context.clock.now().wall;
    let store = std::sync::Arc::clone(&context.store);
    let drafting = tokio::task::spawn_blocking(move || checkpoints::draft(&store.read()?, month, now));
    let drafted = drafting.await.unwrap_or(Err(Fault::Panic))?;
    if let Some(draft) = drafted {
        context.store.write_money(move |tx| checkpoints::put(tx, &draft)).await?;
    }
    Ok(())
}

/// Posts what is decided of these nodes up to `through`.
pub async fn post(context: &Context, nodes: &[Node], through: Epoch) -> Result<(), Stopped> {
    for some in nodes.chunks(PER_COMMIT) {
        let now = context.clock.now();
        let gathered = {
            let core = context.store.read()?;
            let indices: Vec<_> = some.iter().map(|node| node.index).collect();
            std::sync::Arc::new(accruals::gather(&core, &context.store.hot.read()?, &indices, through)?)
        };
        context
            .store
            .write_money(move |tx| gathered.iter().try_for_each(|(node, leaves)| accruals::post(tx, *node, through, leaves, now)))
            .await?;
    }
    Ok(())
}

/// The newest epoch whose leaves may be posted.
pub fn newest(context: &Context) -> Result<Option<Epoch>, Fault> {
    Ok(epochs::last(&context.store.read()?)?.map(|head: Head| head.epoch))
}
