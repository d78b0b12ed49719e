//! Nodes: list, make, change, delete, and accept a changed machine.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::Strict;
use super::node_view::{NodeView, NodeViews, capabilities, show};
use super::reads;
use super::{AppState, Caller, Json, Page, PageQuery, Pagination, Path, Query};
use crate::domain::capability;
use crate::domain::ids::{NodeId, NodeIndex, PoolId};
use crate::domain::ledger::{Account, Book, Settlement};
use crate::domain::money::{Currency, Pico, Units};
use crate::domain::node::{HardwareInfo, Location, Node, NodeConfiguration, NodeType, Status};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, NodeChange, StatusChange};
use crate::domain::time::Slot;
use crate::domain::user::Role;
use crate::live::{Change, Event};
use crate::storage::accruals;
use crate::storage::core::{epochs, ledger, nodes, payouts, pools};
use crate::storage::fault::{Fault, TxError};
use crate::storage::hot;
use crate::storage::present::Standings;
use crate::storage::table::Read;

/// An id in a path: one that cannot be is one that is not there.
pub fn node_id(text: &str) -> Result<NodeId, Refusal> {
    NodeId::parse(text).map_err(|_| Refusal::NodeNotFound)
}

pub fn published(state: &AppState, node_id: &NodeId, change: Change) {
    state.events.publish(&Event::Node { node_id: node_id.clone(), change });
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeList {
    pub nodes: Vec<NodeView>,
    pub pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NodeQuery {
    /// An outward status.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    pool_id: Option<String>,
    /// `created_at` (default), `updated_at`, `name`, `status` or `poot_score`.
    sort: Option<String>,
    /// `asc` (default) or `desc`.
    order: Option<String>,
    /// Part of a name or an id.
    search: Option<String>,
    /// Nodes with this capability: `gpu`, `architecture:aarch64`.
    capability: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Created,
    Updated,
    Name,
    Status,
    Score,
}

/// A checked query.
struct Wanted {
    status: Option<Status>,
    pool: Option<PoolId>,
    search: Option<String>,
    capability: Option<String>,
    sort: Sort,
    descending: bool,
}

/// Longest search text, in bytes.
const MAX_SEARCH: usize = 100;

impl NodeQuery {
    fn check(self) -> Result<Wanted, Refusal> {
        let mut errors = FieldErrors::default();
        let status = self.status.and_then(|text| {
            let status = serde_json::from_value(text.into()).ok();
            errors.require(status.is_some(), "status", "must be a status of a node");
            status
        });
        let pool = self.pool_id.and_then(|text| PoolId::parse(&text).map_err(|e| errors.add("pool_id", e.to_string())).ok());
        let sort = match self.sort.as_deref() {
            None | Some("created_at") => Some(Sort::Created),
            Some("updated_at") => Some(Sort::Updated),
            Some("name") => Some(Sort::Name),
            Some("status") => Some(Sort::Status),
            Some("poot_score") => Some(Sort::Score),
            Some(_) => None,
        };
        errors.require(sort.is_some(), "sort", "must be created_at, updated_at, name, status or poot_score");
        let order = self.order.as_deref().unwrap_or("asc");
        errors.require(matches!(order, "asc" | "desc"), "order", "must be asc or desc");
        let search = self.search.filter(|text| !text.is_empty()).map(|text| text.to_ascii_lowercase());
        errors.require(search.as_ref().is_none_or(|text| text.len() <= MAX_SEARCH), "search", "must have at most 100 characters");
        let capability = self.capability.filter(|text| !text.is_empty());
        errors.require(capability.as_ref().is_none_or(|text| text.len() <= MAX_SEARCH), "capability", "must have at most 100 characters");
        errors.finish()?;
        Ok(Wanted { status, pool, search, capability, sort: sort.unwrap_or(Sort::Created), descending: order == "desc" })
    }
}

/// List nodes
#[utoipa::path(get, path = "/nodes", tag = "nodes", params(PageQuery, NodeQuery),
    responses((status = 200, body = NodeList), (status = 400, body = ErrorBody)))]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    page: Page,
    Query(query): Query<NodeQuery>,
) -> Result<Json<NodeList>, ApiError> {
    caller.require(Role::Viewer)?;
    let wanted = query.check()?;
    reads::long(&state, move |state| listed(state, page, &wanted)).await
}

fn listed(state: &AppState, page: Page, wanted: &Wanted) -> Result<Json<NodeList>, ApiError> {
    let read = state.store.read()?;
    let views = NodeViews::new(state, &read)?;
    let pool = match &wanted.pool {
        Some(id) => Some(pools::by_id(&read, id)?.ok_or(Refusal::PoolNotFound)?.index),
        None => None,
    };
    let fits = |node: &Node| {
        let found = |text: &String| node.name.to_ascii_lowercase().contains(text) || node.id.as_str().to_ascii_lowercase().contains(text);
        let can = |wanted: &String| capability::fits(&capabilities(node), wanted);
        (pool.is_none() || node.pool_now() == pool)
            && wanted.search.as_ref().is_none_or(found)
            && wanted.capability.as_ref().is_none_or(can)
    };
    let last = state.store.intake.last_reports();
    let now = state.now();
    let status = |node: &Node| views.status(node, views.observed(node, last.get(node.index.position()).copied().flatten()));
    let fleet = nodes::all(&read)?.into_iter().filter(fits);
    let mut rows: Vec<(Node, Status)> = fleet.map(|node| (status(&node), node)).map(|(status, node)| (node, status)).collect();
    rows.retain(|(_, status)| wanted.status.is_none_or(|wanted| wanted == *status));
    match wanted.sort {
        // They come in the order they were made.
        Sort::Created => (),
        Sort::Updated => rows.sort_by_key(|(node, _)| node.updated_at),
        Sort::Name => rows.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name)),
        Sort::Status => rows.sort_by_key(|(_, status)| status_word(*status)),
        Sort::Score => {
            let indices: Vec<NodeIndex> = rows.iter().map(|(node, _)| node.index).collect();
            let standings = Standings::load(&state.store, &indices, state.settings.poot, now)?;
            rows.sort_by_cached_key(|(node, _)| standings.of(node.index).known_score().map(|score| score.score_hundredths));
        }
    }
    if wanted.descending {
        rows.reverse();
    }
    let (rows, pagination) = page.slice(rows);
    let shown: Vec<&Node> = rows.iter().map(|(node, _)| node).collect();
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
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$")]
    name: String,
    node_type: NodeType,
    #[schema(value_type = Option<HardwareInfo>)]
    hardware_info: Option<Strict<HardwareInfo>>,
    location: Option<Location>,
    initial_pool_id: Option<String>,
    configuration: Option<NodeConfiguration>,
}

/// Make a node that an agent may claim later
#[utoipa::path(post, path = "/nodes", tag = "nodes", request_body = NodeCreateRequest,
    responses((status = 201, body = NodeView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Json(asked): Json<NodeCreateRequest>,
) -> Result<(StatusCode, Json<NodeView>), ApiError> {
    caller.require(Role::Operator)?;
    let mut errors = FieldErrors::default();
    let pool = optional_pool(&mut errors, "initial_pool_id", asked.initial_pool_id);
    let new = NewNode {
        name: asked.name,
        node_type: asked.node_type,
        hardware: asked.hardware_info.map(|Strict(hardware)| hardware),
        location: asked.location,
        pool,
        configuration: asked.configuration.unwrap_or_default(),
    };
    new.check(&mut errors);
    errors.finish()?;
    let now = state.now();
    let (id, act) = (NodeId::new(state.entropy.uuid(now.wall.0)), caller.act(now));
    let (directory, max_nodes) = (state.store.directory.clone(), state.settings.max_nodes);
    let node = state.store.write(move |tx| nodes::create(tx, &directory, &act, &id, &new, max_nodes)).await?;
    published(&state, &node.id, Change::Created);
    Ok((StatusCode::CREATED, Json(show(&state, &node)?)))
}

/// A pool id of a body; what it breaks is added to `errors`.
pub fn optional_pool(errors: &mut FieldErrors, field: &str, text: Option<String>) -> Option<PoolId> {
    text.and_then(|text| PoolId::parse(&text).map_err(|e| errors.add(field, e.to_string())).ok())
}

/// Show a node
#[utoipa::path(get, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody)))]
pub async fn get(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<NodeView>, ApiError> {
    let node = reads::node_for(&state, &caller, &id, Role::Viewer)?;
    Ok(Json(show(&state, &node)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeUpdateRequest {
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$")]
    name: Option<String>,
    node_type: Option<NodeType>,
    /// Moves the node; counts from the next slot.
    pool_id: Option<String>,
    location: Option<Location>,
    configuration: Option<NodeConfiguration>,
    /// `active`, `inactive` or `maintenance`. Maintenance begins in an hour, for an admin at once, and lasts until `active` is set or 8 hours in 7 days are used up.
    status: Option<String>,
}

/// Change a node
#[utoipa::path(put, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)), request_body = NodeUpdateRequest,
    responses((status = 200, body = NodeView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<NodeUpdateRequest>,
) -> Result<Json<NodeView>, ApiError> {
    caller.require(Role::Operator)?;
    let id = node_id(&id)?;
    let mut errors = FieldErrors::default();
    let pool = optional_pool(&mut errors, "pool_id", asked.pool_id);
    let change = NodeChange {
        name: asked.name,
        node_type: asked.node_type,
        location: asked.location,
        configuration: asked.configuration,
        pool,
        status: asked.status.map(|text| status_change(&text, caller.is_admin())).transpose()?,
    };
    let before = nodes::by_id(&state.store.read()?, &id)?.ok_or(Refusal::NodeNotFound)?;
    change.check(&mut errors, before.hardware.as_ref());
    errors.finish()?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::update(tx, &directory, &act, &id, &change)).await?;
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, &node)?))
}

fn status_change(text: &str, by_admin: bool) -> Result<StatusChange, Refusal> {
    match text {
        "active" => Ok(StatusChange::Active { approved: by_admin }),
        "inactive" => Ok(StatusChange::Inactive),
        "maintenance" => Ok(StatusChange::Maintenance { at_once: by_admin }),
        "error" => Err(Refusal::Rule("InvalidNodeStatus", "the status error is observed, never set".into())),
        _ => Err(Refusal::Rule("InvalidNodeStatus", "status may be set to active, inactive or maintenance".into())),
    }
}

/// Delete a node
///
/// Refused while anything is owed to it or on its way. Its id is never given out again.
#[utoipa::path(delete, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn delete(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    caller.require(Role::Operator)?;
    let id = node_id(&id)?;
    let act = caller.act(state.now());
    let node = nodes::by_id(&state.store.read()?, &id)?.ok_or(Refusal::NodeNotFound)?;
    let accrued = has_accrued(&state, &node)?;
    let directory = state.store.directory.clone();
    let verb_id = id.clone();
    state
        .store
        .write(move |tx| -> Result<Node, TxError> {
            let has_money = accrued || is_owed(tx, node.index)?;
            nodes::delete(tx, &directory, &act, &verb_id, has_money)
        })
        .await?;
    published(&state, &id, Change::Deleted);
    Ok(StatusCode::NO_CONTENT)
}

/// A whole unit or more is earned and not posted yet, or slots are proven of an epoch that is not closed. What is less than a unit can never be posted
/// and keeps nobody.
fn has_accrued(state: &AppState, node: &Node) -> Result<bool, Fault> {
    let (core, hot) = (state.store.read()?, state.store.hot.read()?);
    let open = epochs::last(&core)?.map_or(Slot(0), |head| head.next_slot());
    let stored = hot::evidence(&hot, open, Slot(u32::MAX))?;
    let rows = stored.into_iter().chain(state.store.intake.open_rows(open, Slot(u32::MAX)));
    if rows.into_iter().any(|(_, row)| row.proven.get(node.index)) {
        return Ok(true);
    }
    let unposted = accruals::unposted(&core, &hot, &[node])?;
    Ok(unposted.values().flat_map(|sum| sum.values()).any(|amount| amount.0 >= Pico::PER_UNIT))
}

/// Something posted is owed to the node, reserved for it, or on its way.
fn is_owed(read: &impl Read, node: NodeIndex) -> Result<bool, Fault> {
    for settlement in [Settlement::Live, Settlement::Simulated] {
        for currency in [Currency::Usdt, Currency::Lucid] {
            let book = Book { settlement, currency };
            for account in [Account::NodePayable(node), Account::NodeReserved(node)] {
                if ledger::balance(read, book, account)? != Units::ZERO {
                    return Ok(true);
                }
            }
            if payouts::unresolved(read, node, book)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Accept the machine as it is now
///
/// Ends a fingerprint drift: payouts of the node go on.
#[utoipa::path(post, path = "/nodes/{id}/fingerprint/accept", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody)))]
pub async fn accept_fingerprint(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<NodeView>, ApiError> {
    caller.require(Role::Admin)?;
    let id = node_id(&id)?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::accept_fingerprint(tx, &directory, &act, &id)).await?;
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, &node)?))
}
