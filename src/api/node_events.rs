//! What happened to a node.

use axum::extract::State;
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::page::{Page, PageQuery, Pagination};
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::node_event::{Kind, NodeEvent};
use crate::storage::core::node_events;
use crate::storage::fault::Fault;

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
    /// As it is now; null where nobody knows it any more.
    actor_name: Option<String>,
}

impl NodeEventView {
    fn new(names: &mut Names<'_>, seq: u64, event: NodeEvent) -> Result<NodeEventView, Fault> {
        let (actor, actor_name) = names.person(&event.actor)?.map_or((None, None), |person| (Some(person.id), person.name));
        Ok(NodeEventView { seq, at: event.at.rfc3339(), kind: event.kind, detail: event.detail, actor, actor_name })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeEventList {
    /// Newest first; of one node the newest 1000 are kept.
    events: Vec<NodeEventView>,
    /// Events up to this number are in archives (`GET /archives`), and no longer here; 0: none.
    #[schema(minimum = 0)]
    archived_through: u64,
    pagination: Pagination,
}

/// What happened to a node
#[utoipa::path(get, path = "/nodes/{id}/events", tag = "nodes", security(("access" = ["node:read"])), params(("id" = String, Path), PageQuery),
    responses((status = 200, body = NodeEventList), (status = 404, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, Path(id): Path<String>, page: Page) -> Result<Json<NodeEventList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let read = state.store.read()?;
    let (events, total) = node_events::page(&read, node.index, page.offset(), page.limit())?;
    let mut names = Names::new(&read);
    let events = events.into_iter().map(|(seq, event)| NodeEventView::new(&mut names, seq, event)).collect::<Result<_, _>>()?;
    let archived_through = node_events::archived(&read, node.index)?;
    Ok(Json(NodeEventList { events, archived_through, pagination: page.of(total) }))
}
