//! What happened to a node.

use axum::extract::State;
use serde::Serialize;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::state::AppState;
use crate::domain::audit::Actor;
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::user::Role;
use crate::storage::core::node_events;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NodeEvent)]
pub struct NodeEventView {
    /// Counts the events of this node, from 1.
    seq: u64,
    /// RFC 3339, UTC.
    at: String,
    kind: Kind,
    detail: Option<String>,
    /// Id of the person or the node that did it, or `console`; null when the manager did.
    actor: Option<String>,
}

impl NodeEventView {
    fn new(seq: u64, event: NodeEvent) -> NodeEventView {
        let actor = Some(event.actor).filter(|actor| *actor != Actor::System).map(|actor| actor.to_string());
        NodeEventView { seq, at: event.at.rfc3339(), kind: event.kind, detail: event.detail, actor }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeEventList {
    /// Newest first; of one node the newest 1000 are kept.
    events: Vec<NodeEventView>,
    pagination: Pagination,
}

/// What happened to a node
#[utoipa::path(get, path = "/nodes/{id}/events", tag = "nodes", security(("access" = ["node:read"])), params(("id" = String, Path), PageQuery),
    responses((status = 200, body = NodeEventList), (status = 404, body = ErrorBody)))]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    page: Page,
) -> Result<Json<NodeEventList>, ApiError> {
    let node = reads::node_for(&state, &caller, &id, Role::Viewer)?;
    let (events, total) = node_events::page(&state.store.read()?, node.index, page.offset(), page.limit())?;
    let events = events.into_iter().map(|(seq, event)| NodeEventView::new(seq, event)).collect();
    Ok(Json(NodeEventList { events, pagination: page.of(total) }))
}
