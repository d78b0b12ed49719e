//! Ends commands whose time is over. What is wanted of the node stands: it is told whenever it comes.

use std::sync::Arc;

use super::{Context, Stopped};
use crate::domain::command::CommandState;
use crate::live::{Change, Event};
use crate::storage::core::commands::{self, Progress};

pub async fn run(context: &Context) -> Result<(), Stopped> {
    let now = context.clock.now();
    let store = &context.store;
    for (node, command) in store.directory.open_commands().into_iter().filter(|(_, command)| command.is_overdue(now)) {
        let outcome = match command.state {
            CommandState::Delivered => "the node was told and has not said that it did it; what is wanted stands",
            _ => "the node was not heard in time; it does what is wanted when it comes",
        };
        let (directory, to) = (Arc::clone(&store.directory), Progress::Ended(CommandState::Expired, outcome.into()));
        let index = node.index;
        store.write(move |tx| commands::advance(tx, &directory, index, command.revision, now, &to)).await?;
        context.events.publish(&Event::Node { node_id: node.id.clone(), change: Change::Status });
    }
    Ok(())
}
