//! Orders on their way to a node, and what its supervisor says of them. Requests of agents are signed like reports; see `signed`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use tokio::sync::Notify;

use super::error::{ApiError, ErrorBody};
use super::rates::{Class, Payer};
use super::server;
use super::signed::{Message, Seal, by_node, check_protocol};
use super::state::AppState;
use crate::domain::command::CommandState;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Now;
use crate::domain::workload::{WorkloadOrder, WorkloadReport};
use crate::live::{Change, Event};
use crate::storage::NodeEntry;
use crate::storage::core::commands::{self, Progress};
use crate::storage::intake::NotTaken;
use crate::wire::{CommandsAnswer, CommandsRequest, MAX_POLL_MS, Purpose};

/// Nodes that may wait for an order at one time; the others get it with the answer to their next report.
pub const MAX_WAITING: usize = 64;

/// Nodes that wait for an order, and what wakes them.
#[derive(Debug, Default)]
pub struct Waiting {
    nodes: Mutex<HashSet<NodeIndex>>,
    changed: Notify,
}

/// One node's place; free again when dropped, also when the agent hangs up.
struct Place<'a>(&'a Waiting, NodeIndex);

impl Waiting {
    /// None when all places are taken, or when this node has one: it opens the next when the last is closed.
    fn enter(&self, node: NodeIndex) -> Option<Place<'_>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // Made only when it is taken: a place gives itself back when it is dropped.
        (nodes.len() < MAX_WAITING && nodes.insert(node)).then(|| Place(self, node))
    }

    /// Something was ordered of some node.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// What an answer to a node carries: the order it has not taken over, and whether a command is under way.
#[derive(Debug, Default)]
pub struct Exchange {
    pub order: Option<WorkloadOrder>,
    pub pending: bool,
}

/// Settles the open command by what the node says (`is_news`: for the first time), and hands out the order that it lacks. That an order leaves is
/// recorded first.
pub async fn exchange(state: &AppState, node: &Arc<NodeEntry>, workload: Option<&WorkloadReport>, is_news: bool, now: Now) -> Exchange {
    match try_exchange(state, node, workload, is_news, now).await {
        Ok(exchange) => exchange,
        // The report itself was taken; the next one tries again.
        Err(error) => {
            tracing::warn!(node = %node.id, error = error.message, "a command could not be recorded");
            Exchange::default()
        }
    }
}

async fn try_exchange(
    state: &AppState,
    node: &Arc<NodeEntry>,
    workload: Option<&WorkloadReport>,
    is_news: bool,
    now: Now,
) -> Result<Exchange, ApiError> {
    let (store, directory) = (&state.store, &state.store.directory);
    let generation = store.generation;
    let Some(report) = workload else {
        if let Some(open) = directory.standing(node).open.filter(|_| is_news) {
            let outcome = "the agent of this node takes no commands: update it; what is wanted of the node was noted";
            advance(state, node, open.revision, Progress::Ended(CommandState::Failed, outcome.into()), now).await?;
        }
        return Ok(Exchange::default());
    };
    let standing = directory.standing(node);
    if is_news && report.generation == generation && report.revision > standing.order.revision {
        let (directory, id, seen) = (Arc::clone(directory), node.id.clone(), report.revision);
        store.write(move |tx| commands::catch_up(tx, &directory, &id, seen)).await?;
    }
    if let Some(open) = standing.open.filter(|_| is_news)
        && let Some((end, outcome)) = open.settled_by(generation, report)
    {
        advance(state, node, open.revision, Progress::Ended(end, outcome), now).await?;
    }
    let standing = directory.standing(node);
    let deadline_ms = standing.open.as_ref().map(|open| u64::try_from(open.deadline.since(now.wall)).unwrap_or(0));
    let order = WorkloadOrder {
        generation: if (standing.order.revision, report.revision) == (0, 0) { 0 } else { generation },
        revision: standing.order.revision,
        wanted: *standing.order.wanted.latest(),
        restart_count: standing.order.restart_count,
        limits: node.limits,
        deadline_ms,
    };
    // A node that was never ordered anything has nothing to take over but its limits.
    let lacks = report.is_behind(&order);
    if let Some(open) = standing.open.as_ref().filter(|open| lacks && open.state == CommandState::Pending) {
        advance(state, node, open.revision, Progress::Delivered, now).await?;
    }
    Ok(Exchange { order: Some(order).filter(|_| lacks), pending: standing.open.is_some() })
}

async fn advance(state: &AppState, node: &NodeEntry, revision: u64, to: Progress, now: Now) -> Result<(), ApiError> {
    let (directory, index) = (Arc::clone(&state.store.directory), node.index);
    let moved = state.store.write(move |tx| commands::advance(tx, &directory, index, revision, now, &to)).await?;
    if moved.is_some() {
        state.events.publish(&Event::Node { node_id: node.id.clone(), change: Change::Status });
    }
    Ok(())
}

/// Tells the world when a node's workload is in another state than before.
pub fn publish_if_changed(state: &AppState, node: &NodeEntry, before: Option<&WorkloadReport>) {
    let after = state.store.intake.workload(node.index);
    let shown = |report: Option<&WorkloadReport>| report.map(|r| (r.configured, r.state, r.pid, r.restarts));
    if shown(before) != shown(after.as_ref().map(|workload| &workload.report)) {
        state.events.publish(&Event::Node { node_id: node.id.clone(), change: Change::Status });
    }
}

/// Tell what the supervisor did, and ask for the next order
///
/// Signed like a report. Waits for an order while a command is under way, if it is asked to.
#[utoipa::path(post, path = "/agent/commands", tag = "agent", security(("signed" = [])), request_body = CommandsRequest, responses(
    (status = 200, body = CommandsAnswer, headers(("x-lucid-signature" = String, description = "the manager's, hex"))),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "it was heard before"),
    (status = 413, body = ErrorBody, description = "the body is larger than 1 MiB"), (status = 422, body = ErrorBody, description = "a newer protocol")))]
pub async fn poll(State(state): State<AppState>, message: Message) -> Result<Response, ApiError> {
    let request: CommandsRequest = message.parse()?;
    let Message { node, info, headers, body, .. } = message;
    let seal = Seal { state: &state, node: &node, incarnation: request.incarnation, seq: request.number };
    seal.check(Purpose::Commands, &headers, &body)?;
    state.rates.charge(&info, Class::Signed, Payer::Node(node.id.as_str()))?;
    check_protocol(request.protocol)?;
    let now = state.now();
    let before = state.store.intake.workload(node.index).map(|workload| workload.report.clone());
    let told = state.store.intake.tell(node.index, request.incarnation, request.number, &request.workload, now);
    if let Err(NotTaken::Refused(refusal)) = told {
        return Err(by_node(refusal, &node));
    }
    publish_if_changed(&state, &node, before.as_ref());
    let mut found = exchange(&state, &node, Some(&request.workload), true, now).await;
    let mut busy = false;
    if request.wait_ms > 0 && found.order.is_none() && found.pending {
        match state.waiting.enter(node.index) {
            Some(_place) => found = wait(&state, &node, &request, found).await,
            None => busy = true,
        }
    }
    seal.answer(Purpose::CommandsAnswer, &CommandsAnswer { command: found.order, pending: found.pending, busy })
}

/// Until there is an order, nothing is under way any more, or the time is over.
async fn wait(state: &AppState, node: &Arc<NodeEntry>, request: &CommandsRequest, mut found: Exchange) -> Exchange {
    let mut stopping = state.stopping.clone();
    let timeout = tokio::time::sleep(Duration::from_millis(request.wait_ms.min(MAX_POLL_MS)));
    tokio::pin!(timeout);
    while found.order.is_none() && found.pending {
        // Registered before the look, so that what is ordered meanwhile wakes it.
        let changed = state.waiting.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        // The entry of a node that was deleted or changed meanwhile is another one.
        let Some(node) = state.store.directory.by_id(&node.id) else { return Exchange::default() };
        found = exchange(state, &node, Some(&request.workload), false, state.now()).await;
        if found.order.is_some() || !found.pending {
            break;
        }
        tokio::select! {
            () = &mut changed => (),
            () = &mut timeout => break,
            () = server::stopped(&mut stopping) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_one_a_node_and_free_again() {
        let waiting = Waiting::default();
        let places: Vec<_> = (0u32..64).map(|n| waiting.enter(NodeIndex(n)).unwrap()).collect();
        assert_eq!(places.len(), MAX_WAITING);
        assert!(waiting.enter(NodeIndex(64)).is_none());
        drop(places);
        let place = waiting.enter(NodeIndex(64));
        assert!(place.is_some() && waiting.enter(NodeIndex(64)).is_none());
    }
}
