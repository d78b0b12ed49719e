//! Named shares of a node's resources.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::nodes::{node_id, published};
use super::reads::{self, Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::allocation::{self, Allocation, NamedAllocation};
use crate::domain::ids::AllocationId;
use crate::domain::node::{Node, ResourceLimits, check_name};
use crate::live::Change;
use crate::storage::core::allocations;
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AllocateRequest {
    /// 3 to 100 of letters, digits, `_` and `-`; unique on the node. A name is made when absent.
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$")]
    name: Option<String>,
    /// Of all cores; at most two decimals.
    #[schema(exclusive_minimum = 0.0, maximum = 100.0)]
    cpu_percent: Option<f64>,
    #[schema(minimum = 1)]
    memory_bytes: Option<u64>,
    #[schema(minimum = 1)]
    disk_bytes: Option<u64>,
    /// 10^6 bits per second; at most three decimals.
    #[schema(exclusive_minimum = 0.0)]
    network_mbps: Option<f64>,
}

/// Null where there is none of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResourceAmounts {
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    network_mbps: Option<f64>,
}

impl From<Allocation> for ResourceAmounts {
    fn from(of: Allocation) -> ResourceAmounts {
        let ResourceLimits { cpu_percent, memory_bytes, disk_bytes, network_mbps } = of.limits();
        ResourceAmounts { cpu_percent, memory_bytes, disk_bytes, network_mbps }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Allocation)]
pub struct AllocationView {
    id: String,
    name: String,
    #[serde(flatten)]
    amounts: ResourceAmounts,
    created_at: String,
    created_by: Option<Person>,
}

impl AllocationView {
    fn new(names: &mut Names<'_>, of: &NamedAllocation) -> Result<AllocationView, Fault> {
        let created_by = names.person(&of.created_by)?;
        Ok(AllocationView {
            id: of.id.to_string(),
            name: of.name.clone(),
            amounts: of.amounts.into(),
            created_at: of.created_at.rfc3339(),
            created_by,
        })
    }
}

/// What of a node is allocated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AllocationList {
    /// In the order they were made, at most 64.
    allocations: Vec<AllocationView>,
    /// Their sum: what the node's supervisor enforces.
    allocated: ResourceAmounts,
    /// The node's hardware, or less where its configuration limits it; null while its hardware is not known.
    capacity: Option<ResourceAmounts>,
    left: Option<ResourceAmounts>,
    /// Resources of which more is allocated than there is, because the machine or its limits shrank. Nothing is taken away from anyone by that.
    exceeded: Vec<&'static str>,
}

fn show(read: &Snapshot, node: &Node) -> Result<AllocationList, Fault> {
    let (all, capacity) = (allocations::of_node(read, node.index)?, allocations::capacity(node));
    let total = allocation::total(&all);
    let mut names = Names::new(read);
    Ok(AllocationList {
        allocations: all.iter().map(|one| AllocationView::new(&mut names, one)).collect::<Result<_, _>>()?,
        allocated: total.into(),
        left: capacity.map(|capacity| allocation::left(&capacity, &total).into()),
        exceeded: capacity.map(|capacity| allocation::exceeded(&capacity, &total)).unwrap_or_default(),
        capacity: capacity.map(ResourceAmounts::from),
    })
}

/// What of a node is allocated
#[utoipa::path(get, path = "/nodes/{id}/resources/allocations", tag = "resources", security(("access" = ["resource:read"])),
    params(("id" = String, Path)), responses((status = 200, body = AllocationList), (status = 404, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<AllocationList>, ApiError> {
    let node = reads::node(&state, &id)?;
    Ok(Json(show(&state.store.read()?, &node)?))
}

/// Allocate resources of a node
///
/// Within its hardware, less what is allocated already. What does not fit is refused with what is left of each resource.
#[utoipa::path(post, path = "/nodes/{id}/resources/allocate", tag = "resources", security(("access" = ["resource:write"])),
    params(("id" = String, Path)), request_body = AllocateRequest,
    responses((status = 201, body = AllocationView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn allocate(
    State(state): State<AppState>,
    caller: Caller,
    Path(node): Path<String>,
    asked: Unchecked<AllocateRequest>,
) -> Result<(StatusCode, Json<AllocationView>), ApiError> {
    let node = reads::node(&state, &node)?.id;
    let now = state.now();
    let id = AllocationId::new(state.entropy.uuid(now.wall.0));
    let (name, amounts) = asked.check(|asked, errors| {
        let AllocateRequest { name, cpu_percent, memory_bytes, disk_bytes, network_mbps } = asked;
        let name = name.unwrap_or_else(|| id.to_string());
        check_name(errors, "name", &name);
        (name, Allocation::parse(errors, &ResourceLimits { cpu_percent, memory_bytes, disk_bytes, network_mbps }))
    })?;
    let (act, directory, changed) = (caller.act(now), state.store.directory.clone(), node.clone());
    let made = state.store.write(move |tx| allocations::allocate(tx, &directory, &act, &node, (&id, &name, &amounts))).await?;
    published(&state, &changed, Change::Updated);
    Ok((StatusCode::CREATED, Json(AllocationView::new(&mut Names::new(&state.store.read()?), &made)?)))
}

/// Give an allocation back
#[utoipa::path(delete, path = "/nodes/{id}/resources/allocations/{allocation_id}", tag = "resources", security(("access" = ["resource:write"])),
    params(("id" = String, Path), ("allocation_id" = String, Path)), responses((status = 204), (status = 404, body = ErrorBody)))]
pub async fn release(
    State(state): State<AppState>,
    caller: Caller,
    Path((node, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let node = node_id(&node)?;
    let (act, directory, changed) = (caller.act(state.now()), state.store.directory.clone(), node.clone());
    state.store.write(move |tx| allocations::release(tx, &directory, &act, &node, &id)).await?;
    published(&state, &changed, Change::Updated);
    Ok(StatusCode::NO_CONTENT)
}
