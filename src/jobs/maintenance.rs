//! Plans the daily windows of nodes a day ahead, and withdraws what their configuration does not ask for any more. What is planned is in the store, so a
//! run that finds nothing new writes nothing.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::audit::Act;
use crate::domain::ids::NodeId;
use crate::domain::maintenance::{AHEAD_MS, Asked, Origin, State};
use crate::domain::maintenance_window::windows;
use crate::domain::node::Node;
use crate::domain::time::Now;
use crate::live::{Change, Event};
use crate::storage::core::{maintenance, nodes};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::Read;

/// What begins within this time is planned: a day, and the hour ahead, and the hour between two runs.
const LOOK_AHEAD_MS: i64 = 26 * 3_600_000;
/// Nodes whose plans change in one run; the rest follows in the next.
const PER_RUN: usize = 500;

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    if !now.trusted {
        return Ok(());
    }
    let mut due = Vec::new();
    {
        let core = context.store.read()?;
        for node in nodes::all(&core)? {
            let changes = changes(&core, &node, now)?;
            if !changes.is_empty() {
                due.push((node.id, changes));
            }
            if due.len() == PER_RUN {
                break;
            }
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    let (due, directory) = (Arc::new(due), context.store.directory.clone());
    let written = Arc::clone(&due);
    let write = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        let act = Act::system(now);
        for (id, changes) in written.iter() {
            for change in changes {
                let answer = match change {
                    Planned::Window(asked) => maintenance::plan(tx, &directory, &act, id, asked).map(drop),
                    Planned::Withdrawn(number) => maintenance::withdraw(tx, &directory, &act, id, *number),
                };
                // People were faster. Verbs refuse before they write.
                if let Err(TxError::Fault(fault)) = answer {
                    return Err(TxError::Fault(fault));
                }
            }
        }
        Ok(())
    };
    context.store.write(write).await?;
    for (node_id, _) in due.iter() {
        context.events.publish(&Event::Node { node_id: NodeId::clone(node_id), change: Change::Updated });
    }
    Ok(())
}

enum Planned {
    Window(Asked),
    Withdrawn(u64),
}

/// What of a node's plans is not as its window wants it.
fn changes(read: &impl Read, node: &Node, now: Now) -> Result<Vec<Planned>, Fault> {
    let next = now.wall.slot().plus(1);
    let periods = maintenance::of_node(read, node.index)?;
    let of_window = || periods.iter().filter(|(_, period)| period.origin == Origin::Window);
    let wanted = windows(node, now.wall, now.wall.plus_ms(LOOK_AHEAD_MS));
    let (mut changes, mut trial) = (Vec::new(), node.clone());
    for (number, period) in of_window() {
        if period.state(next) == State::Planned && !wanted.contains(&(period.from, period.until)) {
            trial.without_maintenance(period.from, period.until);
            changes.push(Planned::Withdrawn(*number));
        }
    }
    let ahead = now.wall.plus_ms(AHEAD_MS);
    for (from, until) in wanted.into_iter().filter(|(from, _)| from.start() >= ahead) {
        // One that somebody called off is not planned again.
        let is_known =
            of_window().any(|(_, period)| period.from == from && (period.until == until || period.state(next) != State::Planned));
        let asked = Asked { from: Some(from), slots: Some(until.0.saturating_sub(from.0)), origin: Origin::Window, at_once: false };
        // Where the 8 hours are used up, or people planned something then, the window of that day is left out.
        if !is_known && node.enrolled_from.is_some() && trial.plan_maintenance(&asked, now).is_ok() {
            changes.push(Planned::Window(asked));
        }
    }
    Ok(changes)
}
