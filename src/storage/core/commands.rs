//! Commands to nodes and what is ordered of them. The order is what counts; a command is the record of who asked for it and how it ended.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::{COMMANDS, ORDERS};
use super::{audit, maintenance, node_events, nodes};
use crate::domain::audit::Act;
use crate::domain::command::{Action, Command, CommandState, MAX_COMMANDS, Order};
use crate::domain::ids::{NodeId, NodeIndex};
use crate::domain::node::{Node, Wanted};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::registration::StatusChange;
use crate::domain::time::{Now, Timestamp};
use crate::storage::directory::{Directory, Standing, follow_standing};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Start, stop or restart of a node's workload. A node that nobody hears, or that no agent has claimed, takes what is wanted when it comes.
///
/// Without `again` nothing is ordered when the wanted state is so already: then the command is the one that is under way, if any.
pub fn ask(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    id: &NodeId,
    action: Action,
    again: bool,
) -> Result<(Node, Option<Command>), TxError> {
    let before = nodes::require(tx, id)?;
    let mut node = before.clone();
    let status = match action {
        Action::Start => Some(StatusChange::Active),
        Action::Stop => Some(StatusChange::Inactive),
        // It concerns the workload alone: maintenance goes on.
        Action::Restart => None,
    };
    match status {
        Some(status) => {
            node.set_status(status, act.now)?;
            maintenance::follow_status(tx, act, &mut node, status)?;
        }
        None => node.wanted = Wanted::Running,
    }
    let under_way = newest(tx, node.index)?.filter(Command::is_open);
    let is_new = action == Action::Restart || node.wanted != before.wanted || (again && under_way.is_none());
    if node != before {
        nodes::replace(tx, directory, act, &before, &mut node)?;
    } else if !is_new {
        return Ok((node, under_way));
    }
    audit::append(tx, act.draft(action.operation(), id.as_str()))?;
    let command = if is_new { Some(issue(tx, directory, act, &before, action)?) } else { under_way };
    Ok((node, command))
}

/// Orders `action` of a node, given as it was before, and ends the command before.
pub(super) fn issue(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, node: &Node, action: Action) -> Result<Command, TxError> {
    let Standing { mut order, open } =
        standing(tx, node.index)?.unwrap_or_else(|| Standing { order: Order::initial(node.wanted), open: None });
    order.follow(action, act.now);
    if let Some(mut older) = open {
        let outcome = format!("a newer command took its place: {}", order.revision);
        end(tx, node.index, &mut older, CommandState::Expired, outcome, act.now.wall)?;
        tx.put(COMMANDS, &(node.index.0, older.revision), &older)?;
    }
    let command = Command::new(action, order.revision, act.actor.clone(), act.now.wall);
    make_room(tx, node.index)?;
    tx.put(COMMANDS, &(node.index.0, command.revision), &command)?;
    tx.put(ORDERS, &node.index.0, &order)?;
    // Where what is wanted changes, the change of the node's record tells it.
    if action == Action::Restart || node.wanted == action.wanted() {
        node_events::append(tx, node.index, NodeEvent::by(act, Kind::Commanded, Some(action.word().to_owned())))?;
    }
    follow_standing(tx, directory, node.index, Standing { order, open: Some(command.clone()) });
    Ok(command)
}

/// Ends a command, and tells so in the node's history, by the name of who asked for it.
fn end(
    tx: &mut WriteTx<'_>,
    node: NodeIndex,
    command: &mut Command,
    state: CommandState,
    outcome: String,
    at: Timestamp,
) -> Result<(), TxError> {
    let kind = match state {
        CommandState::Done => Kind::CommandDone,
        CommandState::Failed => Kind::CommandFailed,
        CommandState::Expired | CommandState::Pending | CommandState::Delivered => Kind::CommandExpired,
    };
    let detail = Some(format!("{}: {outcome}", command.action.word()));
    command.end(state, outcome, at);
    node_events::append(tx, node, NodeEvent { at, kind, detail, actor: command.by.clone() })
}

fn make_room(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    let most = usize::try_from(MAX_COMMANDS).unwrap_or(usize::MAX);
    keep_newest(tx, node, most.saturating_sub(1))
}

fn keep_newest(tx: &mut WriteTx<'_>, node: NodeIndex, kept: usize) -> Result<(), TxError> {
    let mut revisions = Vec::new();
    tx.for_each(COMMANDS, (node.0, 0)..=(node.0, u64::MAX), |(_, revision), _| {
        revisions.push(revision);
        ControlFlow::Continue(())
    })?;
    for revision in revisions.iter().rev().skip(kept) {
        tx.delete(COMMANDS, &(node.0, *revision))?;
    }
    Ok(())
}

/// The node is gone.
pub(super) fn forget(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<(), TxError> {
    tx.delete(ORDERS, &node.0)?;
    keep_newest(tx, node, 0)
}

/// Writes how far the open command of a node has come; none when it is another one by now.
pub fn advance(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    node: NodeIndex,
    revision: u64,
    now: Now,
    to: &Progress,
) -> Result<Option<Command>, TxError> {
    let Some(Standing { order, open: Some(mut command) }) = standing(tx, node)? else { return Ok(None) };
    if command.revision != revision {
        return Ok(None);
    }
    match to {
        Progress::Delivered => (command.state, command.delivered_at) = (CommandState::Delivered, Some(now.wall)),
        Progress::Ended(state, outcome) => end(tx, node, &mut command, *state, outcome.clone(), now.wall)?,
    }
    tx.put(COMMANDS, &(node.0, revision), &command)?;
    let open = Some(command.clone()).filter(Command::is_open);
    follow_standing(tx, directory, node, Standing { order, open });
    Ok(Some(command))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Delivered,
    Ended(CommandState, String),
}

/// The node has taken over a revision that this store never gave: it is an older copy. What is wanted is ordered anew, above it.
pub fn catch_up(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, node: &NodeId, seen: u64) -> Result<(), TxError> {
    let node = nodes::require(tx, node)?;
    let Standing { mut order, open } =
        standing(tx, node.index)?.unwrap_or_else(|| Standing { order: Order::initial(node.wanted), open: None });
    if order.revision < seen {
        order.revision = seen.saturating_add(1);
        tx.put(ORDERS, &node.index.0, &order)?;
        follow_standing(tx, directory, node.index, Standing { order, open });
    }
    Ok(())
}

fn newest(read: &impl Read, node: NodeIndex) -> Result<Option<Command>, Fault> {
    let mut found = None;
    read.for_each_back(COMMANDS, (node.0, 0)..=(node.0, u64::MAX), |_, command| {
        found = Some(command);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

fn standing(read: &impl Read, node: NodeIndex) -> Result<Option<Standing>, Fault> {
    let Some(order) = read.get(ORDERS, &node.0)? else { return Ok(None) };
    Ok(Some(Standing { order, open: newest(read, node)?.filter(Command::is_open) }))
}

/// Of every node that got a command once.
pub fn standings(read: &impl Read) -> Result<HashMap<NodeIndex, Standing>, Fault> {
    let mut orders = Vec::new();
    read.for_each(ORDERS, .., |node, order| {
        orders.push((NodeIndex(node), order));
        ControlFlow::Continue(())
    })?;
    let with_open = |(node, order)| Ok((node, Standing { order, open: newest(read, node)?.filter(Command::is_open) }));
    orders.into_iter().map(with_open).collect()
}

/// Newest first, and how many there are.
pub fn page(read: &impl Read, node: NodeIndex, offset: usize, limit: usize) -> Result<(Vec<Command>, u64), Fault> {
    let mut commands = Vec::new();
    read.for_each_back(COMMANDS, (node.0, 0)..=(node.0, u64::MAX), |_, command| {
        commands.push(command);
        ControlFlow::Continue(())
    })?;
    let total = u64::try_from(commands.len()).unwrap_or(u64::MAX);
    Ok((commands.into_iter().skip(offset).take(limit).collect(), total))
}

/// Decodes every command and order; a node has one open command at most, its newest. The number of them.
pub fn verify(read: &impl Read) -> Result<Result<u64, String>, Fault> {
    let (mut records, mut wrong, mut before) = (0, None, None);
    read.for_each(COMMANDS, .., |(node, revision), command| {
        records += 1;
        if before.replace((node, command.is_open())) == Some((node, true)) {
            wrong = Some(format!("node {node} has an open command before revision {revision}"));
        }
        ControlFlow::Continue(())
    })?;
    records += u64::try_from(standings(read)?.len()).unwrap_or(u64::MAX);
    Ok(wrong.map_or(Ok(records), Err))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act, at, new_node, node_id};
    use super::*;
    use crate::domain::node::MAX_NODES;
    use crate::domain::refusal::Refusal;

    fn fixture() -> (Fixture, Node) {
        let f = Fixture::new();
        let node = f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("one", None), MAX_NODES)).unwrap();
        (f, node)
    }

    fn ask_one(f: &Fixture, action: Action, again: bool) -> Result<Option<Command>, Refusal> {
        let asked = f.write(move |tx, d| ask(tx, d, &act(), &node_id(1), action, again)).map(|(_, command)| command);
        let loaded = Directory::load(&f.store.read().unwrap()).unwrap();
        for entry in loaded.all() {
            assert_eq!(f.store.directory.standing(&entry), loaded.standing(&entry), "as a restart would find it");
        }
        asked
    }

    fn states(f: &Fixture, node: &Node) -> Vec<(Action, CommandState)> {
        let read = f.store.read().unwrap();
        assert!(verify(&read).unwrap().is_ok());
        page(&read, node.index, 0, 1_000).unwrap().0.into_iter().map(|c| (c.action, c.state)).collect()
    }

    #[test]
    fn a_newer_command_takes_the_place_of_an_open_one_and_what_is_so_needs_none() {
        let (f, node) = fixture();
        let entries = f.audited();
        assert_eq!(ask_one(&f, Action::Start, false), Ok(None), "wanted running already");
        assert_eq!(f.audited(), entries);
        assert_eq!(ask_one(&f, Action::Stop, false).unwrap().unwrap().revision, 1);
        assert_eq!(ask_one(&f, Action::Stop, true).unwrap().unwrap().revision, 1, "the one under way");
        assert_eq!(ask_one(&f, Action::Restart, false).unwrap().unwrap().revision, 2);
        assert_eq!(f.audited(), entries + 2);
        assert_eq!(states(&f, &node), [(Action::Restart, CommandState::Pending), (Action::Stop, CommandState::Expired)]);
        let entry = f.store.directory.by_id(&node.id).unwrap();
        assert_eq!((entry.wanted, f.store.directory.standing(&entry).order.restart_count), (Wanted::Running, 1));
        assert_eq!(f.write(|tx, d| ask(tx, d, &act(), &node_id(9), Action::Stop, true)).unwrap_err(), Refusal::NodeNotFound);
    }

    #[test]
    fn progress_is_that_of_the_open_command_only() {
        let (f, node) = fixture();
        ask_one(&f, Action::Stop, false).unwrap();
        let index = node.index;
        let step = |revision, to: Progress| f.write(move |tx, d| advance(tx, d, index, revision, at(5), &to)).unwrap().map(|c| c.state);
        assert_eq!(step(2, Progress::Delivered), None);
        assert_eq!(step(1, Progress::Delivered), Some(CommandState::Delivered));
        let done = Progress::Ended(CommandState::Done, "it stopped".into());
        assert_eq!(step(1, done.clone()), Some(CommandState::Done));
        assert_eq!(step(1, done), None, "it has ended");
        assert_eq!(ask_one(&f, Action::Stop, true).unwrap().unwrap().revision, 2, "asked again");
        f.write(|tx, d| catch_up(tx, d, &node_id(1), 40)).unwrap();
        assert_eq!(ask_one(&f, Action::Start, false).unwrap().unwrap().revision, 42);
    }

    #[test]
    fn the_newest_hundred_are_kept() {
        let (f, node) = fixture();
        for _ in 0..MAX_COMMANDS + 5 {
            ask_one(&f, Action::Restart, false).unwrap();
        }
        let kept = states(&f, &node);
        assert_eq!((u64::try_from(kept.len()), kept[0].1), (Ok(MAX_COMMANDS), CommandState::Pending));
        let read = f.store.read().unwrap();
        let (page, total) = page(&read, node.index, 99, 10).unwrap();
        assert_eq!((page.len(), page[0].revision, total), (1, 6, MAX_COMMANDS));
    }
}
