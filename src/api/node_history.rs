//! The history of a node: everything that happened to it in one order of time, alerts included, with the names of who did it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{Order, descending, time, word};
use super::page::{Page, PageQuery, Pagination};
use super::reads::{self, Names, Person};
use super::state::AppState;
use crate::domain::node_event::{Category, Kind, NodeEvent};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::storage::core::node_events::{self, Filter};
use crate::storage::fault::Fault;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    #[param(value_type = Option<Category>)]
    category: Option<String>,
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// At or after; RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Before; RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Descending unless it says otherwise.
    #[param(value_type = Option<Order>)]
    order: Option<String>,
}

impl HistoryQuery {
    fn check(self) -> Result<(Filter, bool), Refusal> {
        let mut errors = FieldErrors::default();
        let category: Option<Category> = word(&mut errors, "category", self.category.as_deref(), "a category of events");
        let kind: Option<Kind> = word(&mut errors, "kind", self.kind.as_deref(), "a kind of events");
        let (from, to) = (time(&mut errors, "from", self.from.as_deref()), time(&mut errors, "to", self.to.as_deref()));
        errors.require(from.zip(to).is_none_or(|(from, to)| from < to), "from", "must be before to");
        let descending = descending(&mut errors, self.order.as_deref(), Order::Desc);
        errors.finish()?;
        Ok((Filter { category, kind, from, to }, descending))
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HistoryEntry {
    /// Counts the events of this node, from 1.
    seq: u64,
    /// RFC 3339, UTC.
    at: String,
    category: Category,
    kind: Kind,
    detail: Option<String>,
    /// Null when the manager did it.
    by: Option<Person>,
}

impl HistoryEntry {
    fn new(names: &mut Names<'_>, seq: u64, event: NodeEvent) -> Result<HistoryEntry, Fault> {
        let by = names.person(&event.actor)?;
        Ok(HistoryEntry { seq, at: event.at.rfc3339(), category: event.kind.category(), kind: event.kind, detail: event.detail, by })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeHistory {
    /// Of one node the newest 1000 are kept.
    entries: Vec<HistoryEntry>,
    /// Entries up to this number are in archives (`GET /archives`), and no longer here; 0: none.
    #[schema(minimum = 0)]
    archived_through: u64,
    pagination: Pagination,
}

/// The history of a node
///
/// Status, commands, membership, maintenance, hardware, alerts, payouts and configuration in one order of time.
#[utoipa::path(get, path = "/nodes/{id}/history", tag = "nodes", security(("access" = ["node:read"])),
    params(("id" = String, Path), PageQuery, HistoryQuery),
    responses((status = 200, body = NodeHistory), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
    page: Page,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<NodeHistory>, ApiError> {
    let node = reads::node(&state, &id)?;
    let (filter, descending) = query.check()?;
    let read = state.store.read()?;
    let (events, total) = node_events::filtered(&read, node.index, &filter, descending, page.offset(), page.limit())?;
    let mut names = Names::new(&read);
    let entries = events.into_iter().map(|(seq, event)| HistoryEntry::new(&mut names, seq, event)).collect::<Result<_, _>>()?;
    let archived_through = node_events::archived(&read, node.index)?;
    Ok(Json(NodeHistory { entries, archived_through, pagination: page.of(total) }))
}
