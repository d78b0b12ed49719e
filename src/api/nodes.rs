//! Nodes: list, make, change, delete, and accept a changed machine.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::Strict;
use super::listing::{MAX_SEARCH, Order, descending, found, search, word};
use super::node_row::{self, NodeRow, Shown};
use super::node_view::{NodeView, NodeViews, show, show_by_id};
use super::reads;
use super::{AppState, Caller, Json, Page, PageQuery, Pagination, Path, Query, Unchecked};
use crate::domain::ids::{NodeId, NodeIndex, PoolId};
use crate::domain::maintenance_window::zone_of;
use crate::domain::node::{HardwareInfo, Location, Node, NodeConfiguration, NodeType, Status};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, NodeChange, StatusChange};
use crate::live::{Change, Event, Job};
use crate::storage::NodeEntry;
use crate::storage::core::{nodes, pools};
use crate::storage::present::Standings;

/// An id in a path: one that cannot be is one that is not there.
pub fn node_id(text: &str) -> Result<NodeId, Refusal> {
    NodeId::parse(text).map_err(|_| Refusal::NodeNotFound)
}

pub fn published(state: &AppState, node_id: &NodeId, change: Change) {
    state.events.publish(&Event::Node { node_id: node_id.clone(), change });
    // It may be an order that an agent waits for.
    state.waiting.wake();
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeList {
    #[schema(value_type = Vec<NodeView>)]
    pub nodes: Vec<Shown>,
    pub pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NodeQuery {
    /// An outward status.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    #[param(value_type = Option<NodeType>)]
    node_type: Option<String>,
    #[param(pattern = "^pool_[a-zA-Z0-9_-]+$")]
    pool_id: Option<String>,
    #[param(value_type = Option<Sort>)]
    sort: Option<String>,
    #[param(value_type = Option<Order>)]
    order: Option<String>,
    /// Part of a name or an id, in any case.
    #[param(max_length = 100)]
    search: Option<String>,
    /// Nodes with this capability: `gpu`, `architecture:aarch64`.
    #[param(max_length = 100)]
    capability: Option<String>,
}

/// What nodes are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeSort, default = "created_at")]
pub enum Sort {
    CreatedAt,
    UpdatedAt,
    Name,
    Status,
    /// Nodes without a score come before the lowest.
    PootScore,
}

/// A checked query.
struct Wanted {
    status: Option<Status>,
    node_type: Option<NodeType>,
    pool: Option<PoolId>,
    search: Option<String>,
    capability: Option<String>,
    sort: Sort,
    descending: bool,
}

impl Wanted {
    /// No entry of the directory has to be looked at.
    fn is_everybody(&self) -> bool {
        self.pool.is_none() && self.node_type.is_none() && self.search.is_none()
    }

    /// Who is on which page follows from the directory: no records are read but those of the page.
    fn is_known_in_memory(&self) -> bool {
        self.status.is_none() && self.capability.is_none() && matches!(self.sort, Sort::CreatedAt | Sort::Name)
    }
}

impl NodeQuery {
    fn check(self) -> Result<Wanted, Refusal> {
        let mut errors = FieldErrors::default();
        let wanted = Wanted {
            status: word(&mut errors, "status", self.status.as_deref(), "a status of a node"),
            node_type: word(&mut errors, "node_type", self.node_type.as_deref(), "worker, validator, storage or compute"),
            pool: optional_pool(&mut errors, "pool_id", self.pool_id),
            sort: word(&mut errors, "sort", self.sort.as_deref(), "created_at, updated_at, name, status or poot_score")
                .unwrap_or(Sort::CreatedAt),
            descending: descending(&mut errors, self.order.as_deref(), Order::Asc),
            search: search(&mut errors, self.search.as_deref()),
            capability: self.capability.filter(|text| !text.is_empty()),
        };
        errors.require(
            wanted.capability.as_ref().is_none_or(|text| text.chars().count() <= MAX_SEARCH),
            "capability",
            "must have at most 100 characters",
        );
        errors.finish().map(|()| wanted)
    }
}

/// List nodes
#[utoipa::path(get, path = "/nodes", tag = "nodes", security(("access" = ["node:read"])), params(PageQuery, NodeQuery),
    responses((status = 200, body = NodeList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody, description = "no such pool")))]
pub async fn list(State(state): State<AppState>, page: Page, Query(query): Query<NodeQuery>) -> Result<Json<NodeList>, ApiError> {
    let wanted = query.check()?;
    if wanted.is_known_in_memory() {
        // A fraction of a millisecond: to hand it to another thread would cost as much.
        return listed(&state, page, &wanted);
    }
    reads::long(&state, move |state| listed(state, page, &wanted)).await
}

fn listed(state: &AppState, page: Page, wanted: &Wanted) -> Result<Json<NodeList>, ApiError> {
    let read = state.store.read()?;
    let views = NodeViews::new(state, &read)?;
    let pool = match &wanted.pool {
        Some(id) => Some(pools::by_id(&read, id)?.ok_or(Refusal::PoolNotFound)?.index),
        None => None,
    };
    // Who is in the list is decided in memory; records are read of as few as the order allows.
    let fits = |entry: &NodeEntry| {
        (pool.is_none() || *entry.pool.latest() == pool)
            && wanted.node_type.is_none_or(|node_type| node_type == entry.node_type)
            && found(wanted.search.as_ref(), &[&entry.name, entry.id.as_str()])
    };
    // In the order they were made.
    let mut fleet = if wanted.sort == Sort::Name {
        let mut entries = state.store.directory.select(fits);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.iter().map(|entry| entry.index).collect()
    } else if wanted.is_everybody() {
        state.store.directory.all_indices()
    } else {
        state.store.directory.indices(fits)
    };
    // A node that was made since the snapshot is left out.
    let records = |indices: &[NodeIndex]| node_row::by_indices(state, &read, indices);
    if wanted.is_known_in_memory() {
        if wanted.descending {
            fleet.reverse();
        }
        let (rows, pagination) = page.slice(fleet);
        return Ok(Json(NodeList { nodes: views.show(&read, &records(&rows)?)?, pagination }));
    }
    let last = state.store.intake.last_reports();
    let now = state.now();
    let status = |node: &Node| views.status(node, views.observed(node, last.get(node.index.position()).copied().flatten()));
    let mut rows: Vec<(Arc<NodeRow>, Status)> =
        records(&fleet)?.into_iter().map(|row| (status(&row.node), row)).map(|(status, row)| (row, status)).collect();
    let can = |node: &Node| wanted.capability.as_ref().is_none_or(|asked| views.can(node, asked));
    rows.retain(|(row, status)| wanted.status.is_none_or(|wanted| wanted == *status) && can(&row.node));
    match wanted.sort {
        Sort::CreatedAt => (),
        Sort::UpdatedAt => rows.sort_by_key(|(row, _)| row.node.updated_at),
        Sort::Name => rows.sort_by(|(a, _), (b, _)| a.node.name.cmp(&b.node.name)),
        Sort::Status => rows.sort_by_key(|(_, status)| status_word(*status)),
        Sort::PootScore => {
            let indices: Vec<NodeIndex> = rows.iter().map(|(row, _)| row.node.index).collect();
            let standings = Standings::load(&state.store, &indices, state.settings().poot, now)?;
            rows.sort_by_cached_key(|(row, _)| standings.of(row.node.index).known_score().map(|score| score.score_hundredths));
        }
    }
    if wanted.descending {
        rows.reverse();
    }
    let (rows, pagination) = page.slice(rows);
    let shown: Vec<Arc<NodeRow>> = rows.into_iter().map(|(row, _)| row).collect();
    Ok(Json(NodeList { nodes: views.show(&read, &shown)?, pagination }))
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "inactive",
        Status::Maintenance => "maintenance",
        Status::Error => "error",
        Status::Starting => "starting",
        Status::Stopping => "stopping",
        Status::Unreachable => "unreachable",
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeCreateRequest {
    /// 3 to 100 of letters, digits, `_` and `-`; unique within its pool.
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "attic-pi")]
    name: String,
    node_type: NodeType,
    #[schema(value_type = Option<HardwareInfo>)]
    hardware_info: Option<Strict<HardwareInfo>>,
    location: Option<Location>,
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "pool_default")]
    initial_pool_id: Option<String>,
    configuration: Option<NodeConfiguration>,
}

/// Make a node that an agent may claim later
#[utoipa::path(post, path = "/nodes", tag = "nodes", security(("access" = ["node:write"])), request_body = NodeCreateRequest,
    responses((status = 201, body = NodeView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<NodeCreateRequest>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let new = asked.check(|asked, errors| {
        let new = NewNode {
            name: asked.name,
            node_type: asked.node_type,
            hardware: asked.hardware_info.map(|Strict(hardware)| hardware),
            location: asked.location,
            pool: optional_pool(errors, "initial_pool_id", asked.initial_pool_id),
            configuration: asked.configuration.unwrap_or_default(),
        };
        new.check(errors);
        new
    })?;
    let now = state.now();
    let (id, act) = (NodeId::new(state.entropy.uuid(now.wall.0)), caller.act(now));
    let (directory, max_nodes) = (state.store.directory.clone(), state.settings().max_nodes);
    let node = state.store.write(move |tx| nodes::create(tx, &directory, &act, &id, &new, max_nodes)).await;
    let node = node.map_err(ApiError::naming([
        (Refusal::NodeNameTaken, "name"),
        (Refusal::PoolNotFound, "initial_pool_id"),
        (Refusal::PoolFull, "initial_pool_id"),
    ]))?;
    published(&state, &node.id, Change::Created);
    Ok((StatusCode::CREATED, Json(show(&state, node)?)))
}

/// A pool id of a body; what it breaks is added to `errors`.
pub fn optional_pool(errors: &mut FieldErrors, field: &str, text: Option<String>) -> Option<PoolId> {
    text.and_then(|text| PoolId::parse(&text).map_err(|e| errors.add(field, e.to_string())).ok())
}

/// Show a node
#[utoipa::path(get, path = "/nodes/{id}", tag = "nodes", security(("access" = ["node:read"])), params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody)))]
pub async fn get(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Shown>, ApiError> {
    Ok(Json(show_by_id(&state, &node_id(&id)?)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeUpdateRequest {
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "attic-pi")]
    name: Option<String>,
    node_type: Option<NodeType>,
    /// Moves the node; counts from the next slot.
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "pool_default")]
    pool_id: Option<String>,
    location: Option<Location>,
    configuration: Option<NodeConfiguration>,
    /// Maintenance begins in an hour, for an admin at once, and lasts until `active` is set, two hours at most; `POST /nodes/{id}/maintenance` takes a length.
    /// `error` is only observed: to set it answers 422.
    #[schema(value_type = Option<StatusToSet>)]
    status: Option<String>,
}

/// The words for `status` in a change, for the document.
#[derive(utoipa::ToSchema)]
#[schema(as = NodeStatusToSet, rename_all = "snake_case")]
#[expect(dead_code, reason = "the document's; the text is read by `status_change`, which refuses by name")]
enum StatusToSet {
    Active,
    Inactive,
    Maintenance,
    Error,
}

/// Change a node
#[utoipa::path(put, path = "/nodes/{id}", tag = "nodes", security(("access" = ["node:write"])), params(("id" = String, Path)), request_body = NodeUpdateRequest,
    responses((status = 200, body = NodeView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<NodeUpdateRequest>,
) -> Result<Json<Shown>, ApiError> {
    let id = node_id(&id)?;
    let before = nodes::by_id(&state.store.read()?, &id)?.ok_or(Refusal::NodeNotFound)?;
    let (mut change, status) = asked.check(|asked, errors| {
        let change = NodeChange {
            name: asked.name,
            node_type: asked.node_type,
            location: asked.location,
            configuration: asked.configuration,
            pool: optional_pool(errors, "pool_id", asked.pool_id),
            status: None,
        };
        change.check(errors, before.hardware.as_ref());
        let status = asked.status.map(|text| status_change(&text, caller.may_approve())).transpose();
        // Alone it has a name of its own; among others it is one more field.
        if let Err(why) = &status
            && !errors.0.is_empty()
        {
            errors.add("status", why.to_string());
        }
        (change, status)
    })?;
    change.status = status.map_err(ApiError::naming([(Refusal::Rule("InvalidNodeStatus", String::new()), "status")]))?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::update(tx, &directory, &act, &id, &change)).await;
    let node = node.map_err(ApiError::naming([
        (Refusal::NodeNameTaken, "name"),
        (Refusal::PoolNotFound, "pool_id"),
        (Refusal::PoolFull, "pool_id"),
    ]))?;
    let window = |node: &Node| (node.configuration.maintenance_window, zone_of(node));
    // That cycle reads every node.
    if window(&before) != window(&node) {
        state.nudges.nudge(Job::Maintenance);
    }
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, node)?))
}

fn status_change(text: &str, by_admin: bool) -> Result<StatusChange, Refusal> {
    match text {
        "active" => Ok(StatusChange::Active),
        "inactive" => Ok(StatusChange::Inactive),
        "maintenance" => Ok(StatusChange::Maintenance { at_once: by_admin }),
        "error" => Err(Refusal::Rule("InvalidNodeStatus", "the status error is observed, never set".into())),
        _ => Err(Refusal::Rule("InvalidNodeStatus", "status may be set to active, inactive or maintenance".into())),
    }
}

/// Accept the machine as it is now
///
/// Ends a fingerprint drift: payouts of the node go on. Also ends the alerts `key_on_other_hardware` and `two_nodes_on_one_machine` of this node, which an admin
/// has looked at.
#[utoipa::path(post, path = "/nodes/{id}/fingerprint/accept", tag = "nodes", security(("access" = ["enrolment:approve"])), params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody)))]
pub async fn accept_fingerprint(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Shown>, ApiError> {
    let id = node_id(&id)?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::accept_fingerprint(tx, &directory, &act, &id)).await?;
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, node)?))
}
