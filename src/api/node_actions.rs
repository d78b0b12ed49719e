//! One action on many nodes, as a list with selected rows wants it.

use std::collections::HashSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::node_view::NodeViews;
use super::nodes::{node_id, published};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::node::Status;
use crate::domain::refusal::Refusal;
use crate::live::Change;
use crate::storage::core::node_actions::{self, Action, MAX_NODES};

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeAction {
    /// Wanted running again; ends maintenance too.
    Start,
    Stop,
    /// Begins in an hour, for an admin at once; two hours at most.
    Maintenance,
    /// Ends the one that goes on, or calls off the next one, whoever planned it.
    EndMaintenance,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeActionsRequest {
    action: NodeAction,
    /// An id that is there twice counts once.
    #[schema(min_items = 1, max_items = 1000)]
    node_ids: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeActionResult {
    node_id: String,
    ok: bool,
    /// The node's status now; null when it refused.
    status: Option<Status>,
    error: Option<NodeActionError>,
}

/// Why a node refused: what an answer about this node alone would have said.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeActionError {
    code: String,
    name: &'static str,
    message: String,
}

impl From<Refusal> for NodeActionError {
    fn from(refusal: Refusal) -> NodeActionError {
        let error = ApiError::from(refusal);
        NodeActionError { code: error.code_text(), name: error.name, message: error.message }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeActionsAnswer {
    /// In the order of `node_ids`.
    results: Vec<NodeActionResult>,
}

/// Do something with many nodes
///
/// All that do not refuse change together, in one transaction.
#[utoipa::path(post, path = "/nodes/actions", tag = "nodes", security(("access" = ["node:write", "node:start", "node:stop"])), request_body = NodeActionsRequest,
    responses((status = 200, body = NodeActionsAnswer), (status = 400, body = ErrorBody)))]
pub async fn act(
    State(state): State<AppState>,
    caller: Caller,
    body: Unchecked<NodeActionsRequest>,
) -> Result<Json<NodeActionsAnswer>, ApiError> {
    let body = body.check(|body, errors| {
        errors.require((1..=MAX_NODES).contains(&body.node_ids.len()), "node_ids", format!("must have 1 to {MAX_NODES} ids"));
        body
    })?;
    let action = match body.action {
        NodeAction::Start => Action::Start,
        NodeAction::Stop => Action::Stop,
        NodeAction::Maintenance => Action::Maintenance,
        NodeAction::EndMaintenance => Action::EndMaintenance,
    };
    let mut seen = HashSet::new();
    let asked: Vec<String> = body.node_ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
    // What cannot be an id is no node's.
    let ids: Vec<_> = asked.iter().filter_map(|id| node_id(id).ok()).collect();
    let (act, directory, by_admin) = (caller.act(state.now()), state.store.directory.clone(), caller.may_approve());
    let verb_ids = ids.clone();
    let outcomes = state.store.write(move |tx| Ok(node_actions::apply(tx, &directory, &act, &verb_ids, action, by_admin)?)).await?;

    let read = state.store.read()?;
    let views = NodeViews::new(&state, &read)?;
    let mut outcomes = ids.into_iter().zip(outcomes).peekable();
    let mut results = Vec::with_capacity(asked.len());
    for node_id in asked {
        let outcome = outcomes.next_if(|(id, _)| id.as_str() == node_id).map_or(Err(Refusal::NodeNotFound), |(_, outcome)| outcome);
        let (status, error) = match outcome {
            Ok(node) => {
                published(&state, &node.id, Change::Updated);
                let observed = views.observed(&node, state.store.intake.last_report(node.index));
                (Some(views.status(&node, observed)), None)
            }
            Err(refusal) => (None, Some(NodeActionError::from(refusal))),
        };
        results.push(NodeActionResult { node_id, ok: error.is_none(), status, error });
    }
    Ok(Json(NodeActionsAnswer { results }))
}
