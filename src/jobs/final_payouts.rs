//! Nodes that leave: what they earned is posted once their last epoch is closed, paid through every guard, and then they are deleted. Each step is one
//! commit, and what is to be done next follows from the store: a crash between two of them is found by the next run.

use super::{Context, Stopped, planning, postings};
use crate::domain::audit::Act;
use crate::domain::credits::Epoch;
use crate::domain::epoch::Head;
use crate::domain::final_payout::{FinalPayout, Hold, Stage};
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::node::Node;
use crate::domain::payout::Status;
use crate::domain::time::Now;
use crate::live::{Change, Event};
use crate::storage::core::{epochs, final_payouts, nodes, payouts};

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    let leaving = final_payouts::all(&context.store.read()?)?;
    if !now.trusted || leaving.is_empty() {
        return Ok(());
    }
    for (index, row) in leaving {
        let Some(node) = nodes::by_index(&context.store.read()?, index)? else { continue };
        let id = node.id.clone();
        // One that cannot go on must not hold up the others.
        if let Err(Stopped(why)) = step(context, &node, row, now).await {
            tracing::warn!(node = %id, why, "a final payout did not take its next step");
        }
    }
    Ok(())
}

async fn step(context: &Context, node: &Node, row: FinalPayout, now: Now) -> Result<(), Stopped> {
    if row.stage == Stage::Closing {
        let Some(through) = closed(context, node, &row)? else { return Ok(()) };
        if let Some(through) = through {
            postings::post(context, std::slice::from_ref(node), through).await?;
        }
        return advance(context, node, &row, Stage::Paying, now).await;
    }
    let settlement = context.gateways.current.settlement();
    let (mut pays, mut hold, mut owed_live) = (None, None, false);
    {
        let core = context.store.read()?;
        for book in final_payouts::books() {
            if payouts::unresolved(&core, node.index, book)?.is_some() {
                return Ok(());
            }
            let owed = final_payouts::payable(&core, book, node.index)?;
            owed_live |= book.settlement == Settlement::Live && owed > Units::ZERO;
        }
        let last = row.payout.map(|seq| payouts::by_seq(&core, seq)).transpose()?.flatten();
        if last.is_some_and(|payout| payout.status() == Status::Failed) {
            hold = Some(Hold::Failed);
        }
        for currency in [Currency::Usdt, Currency::Lucid] {
            let book = Book { settlement, currency };
            let free = final_payouts::payable(&core, book, node.index)?;
            if free == Units::ZERO || hold.is_some() {
                continue;
            }
            match planning::guard(context, &core, node, book, now, free, planning::Terms::Final)? {
                Ok(_) => pays = Some(book),
                Err(skip) => hold = Some(Hold::Guard(skip)),
            }
        }
    }
    if let Some(book) = pays {
        return planning::plan_node(context, node.clone(), book, now, Some(row.by)).await;
    }
    if hold.is_none() && owed_live {
        hold = Some(Hold::OwedLive);
    }
    if let Some(hold) = hold {
        return advance(context, node, &row, Stage::Held(hold), now).await;
    }
    let (directory, index) = (context.store.directory.clone(), node.index);
    let gone = context.store.write_money(move |tx| final_payouts::finish(tx, &directory, &Act::system(now), index)).await?;
    if gone {
        context.events.publish(&Event::Node { node_id: node.id.clone(), change: Change::Deleted });
    }
    Ok(())
}

/// Through which epoch it is posted, once every epoch of its service is closed: none where none ever was.
fn closed(context: &Context, node: &Node, row: &FinalPayout) -> Result<Option<Option<Epoch>>, Stopped> {
    let last = epochs::last(&context.store.read()?)?;
    let is_closed =
        node.enrolled_from.is_none_or(|from| from >= row.from) || last.as_ref().is_some_and(|head| head.next_slot() >= row.from);
    Ok(is_closed.then(|| last.map(|head: Head| head.epoch)))
}

async fn advance(context: &Context, node: &Node, row: &FinalPayout, stage: Stage, now: Now) -> Result<(), Stopped> {
    if row.stage == stage {
        return Ok(());
    }
    let (index, of) = (node.index, row.clone());
    context.store.write_money(move |tx| final_payouts::advance(tx, &Act::system(now), index, &of, stage)).await?;
    context.events.publish(&Event::Node { node_id: node.id.clone(), change: Change::Updated });
    Ok(())
}
