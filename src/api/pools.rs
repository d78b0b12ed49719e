//! Pools and their members. The nested routes are canonical; the flat ones answer the same.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::RawAmount;
use super::listing::{Asked, OnOff, Order, word};
use super::node_row::Shown;
use super::node_view::{NodeView, show};
use super::nodes::{node_id, published};
use super::pool_health::{PoolHealthView, PoolsHealth};
use super::{AppState, Caller, Json, Page, PageQuery, Pagination, Path, Query, Unchecked};
use crate::domain::ids::{NodeId, PoolId, PoolIndex};
use crate::domain::money::{Currency, Units};
use crate::domain::node::ResourceLimits;
use crate::domain::pool::{DEFAULT_POOL_ID, NewPool, PRIORITIES, Pool, PoolChange, Pricing, PricingChange, ScalingPolicy};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::scope::Scope;
use crate::domain::time::Slot;
use crate::live::Change;
use crate::storage::core::{nodes, pools};
use crate::storage::outputs;
use crate::storage::table::WriteTx;

/// An id in a path: one that cannot be is one that is not there.
pub fn pool_id(text: &str) -> Result<PoolId, Refusal> {
    PoolId::parse(text).map_err(|_| Refusal::PoolNotFound)
}

/// A pool.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Pool)]
pub struct PoolView {
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "pool_default")]
    pub pool_id: String,
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "default")]
    pub name: String,
    #[schema(max_length = 500)]
    pub description: String,
    pub node_count: u32,
    #[schema(minimum = 1, maximum = 1000, example = 100)]
    pub max_nodes: u32,
    pub resource_limits: Option<ResourceLimits>,
    pub auto_scaling: bool,
    pub scaling_policy: Option<ScalingPolicy>,
    pub pricing: PricingView,
    /// Its nodes are challenged for outputs, and the answers count in their scores.
    pub outputs_expected: bool,
    /// When that comes into force, if it is still to come: at the start of the next epoch after it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub outputs_expected_from: Option<String>,
    pub health: PoolHealthView,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub created_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub updated_at: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Pricing)]
pub struct PricingView {
    #[schema(example = "0.05")]
    pub cost_per_hour: String,
    #[schema(example = "0.05")]
    pub reward_per_hour: String,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// When this price comes into force, if it is still to come: at the start of the next epoch after it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force_from: Option<String>,
}

impl PoolView {
    fn of(pool: &Pool, node_count: u32, slot: Slot, health: PoolHealthView) -> PoolView {
        let Pricing { cost_per_hour, reward_per_hour, currency } = *pool.pricing.latest();
        let pricing = PricingView {
            cost_per_hour: cost_per_hour.to_decimal(currency).to_string(),
            reward_per_hour: reward_per_hour.to_decimal(currency).to_string(),
            currency: currency.code().to_owned(),
            in_force_from: pool.pricing.after(slot).last().map(|(from, _)| from.start().rfc3339()),
        };
        PoolView {
            pool_id: pool.id.to_string(),
            name: pool.name.clone(),
            description: pool.description.clone(),
            node_count,
            max_nodes: pool.max_nodes,
            resource_limits: pool.resource_limits,
            auto_scaling: pool.auto_scaling,
            scaling_policy: pool.scaling_policy,
            pricing,
            outputs_expected: *pool.outputs_expected.latest(),
            outputs_expected_from: pool.outputs_expected.after(slot).last().map(|(from, _)| from.start().rfc3339()),
            health,
            created_at: pool.created_at.rfc3339(),
            updated_at: pool.updated_at.rfc3339(),
        }
    }
}

fn show_pool(state: &AppState, pool: &Pool) -> Result<PoolView, ApiError> {
    let read = state.store.read()?;
    let count = pools::member_count(&read, pool.index)?;
    let health = PoolsHealth::load(state, &read)?.of(pool.index);
    Ok(PoolView::of(pool, count, state.now().wall.slot(), health))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PoolList {
    pub pools: Vec<PoolView>,
    pub pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PoolQuery {
    #[param(value_type = Option<Sort>)]
    sort: Option<String>,
    #[param(value_type = Option<Order>)]
    order: Option<String>,
    /// Part of a name, an id or a description, in any case.
    #[param(max_length = 100)]
    search: Option<String>,
    #[param(value_type = Option<bool>)]
    auto_scaling: Option<String>,
}

/// What pools are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PoolSort, default = "created_at")]
pub enum Sort {
    CreatedAt,
    UpdatedAt,
    Name,
    NodeCount,
}

/// List pools
#[utoipa::path(get, path = "/nodes/pools", tag = "pools", security(("access" = ["pool:read"])), params(PageQuery, PoolQuery),
    responses((status = 200, body = PoolList), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page, Query(query): Query<PoolQuery>) -> Result<Json<PoolList>, ApiError> {
    let mut errors = FieldErrors::default();
    let parameters = [&query.sort, &query.order, &query.search];
    let asked = Asked::read(&mut errors, parameters, "created_at, updated_at, name or node_count", (Sort::CreatedAt, Order::Asc));
    let auto_scaling: Option<OnOff> = word(&mut errors, "auto_scaling", query.auto_scaling.as_deref(), "true or false");
    errors.finish()?;
    let read = state.store.read()?;
    let counts = nodes::member_counts(&read)?;
    let count = |pool: &Pool| counts.get(&pool.index).copied().unwrap_or(0);
    let mut rows = pools::list(&read)?;
    rows.retain(|pool| {
        let fits = auto_scaling.is_none_or(|wanted| (wanted == OnOff::True) == pool.auto_scaling);
        fits && asked.finds(&[&pool.name, pool.id.as_str(), &pool.description])
    });
    match asked.sort {
        // They come in the order they were made.
        Sort::CreatedAt => (),
        Sort::UpdatedAt => rows.sort_by_key(|pool| pool.updated_at),
        Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Sort::NodeCount => rows.sort_by_key(|pool| count(pool)),
    }
    if asked.descending {
        rows.reverse();
    }
    let (rows, pagination) = page.slice(rows);
    let (slot, health) = (state.now().wall.slot(), PoolsHealth::load(&state, &read)?);
    let view = |pool: &Pool| PoolView::of(pool, count(pool), slot, health.of(pool.index));
    Ok(Json(PoolList { pools: rows.iter().map(view).collect(), pagination }))
}

/// List pools (flat)
#[utoipa::path(get, path = "/pools", tag = "pools", security(("access" = ["pool:read"])), params(PageQuery, PoolQuery),
    responses((status = 200, body = PoolList), (status = 400, body = ErrorBody)))]
pub async fn list_flat(state: State<AppState>, page: Page, query: Query<PoolQuery>) -> Result<Json<PoolList>, ApiError> {
    list(state, page, query).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PricingRequest {
    /// Number or string, exact.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.05")]
    cost_per_hour: Option<RawAmount>,
    /// Of a node at score 100; as `cost_per_hour` when absent.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.05")]
    reward_per_hour: Option<RawAmount>,
    /// `USDT` (default) or `LUCID`; stays as it is for a pool that exists.
    currency: Option<Currency>,
}

impl PricingRequest {
    fn units(errors: &mut FieldErrors, field: &str, amount: Option<&RawAmount>, currency: Currency) -> Option<Units> {
        let parsed = amount?.parse(currency).map_err(|e| errors.add(format!("pricing.{field}"), e.to_string()));
        parsed.ok().map(|amount| amount.units)
    }

    fn change(&self, errors: &mut FieldErrors, currency: Currency) -> PricingChange {
        PricingChange {
            cost_per_hour: PricingRequest::units(errors, "cost_per_hour", self.cost_per_hour.as_ref(), currency),
            reward_per_hour: PricingRequest::units(errors, "reward_per_hour", self.reward_per_hour.as_ref(), currency),
        }
    }

    fn new_pricing(&self, errors: &mut FieldErrors, default: Pricing) -> Pricing {
        let currency = self.currency.unwrap_or(default.currency);
        let change = self.change(errors, currency);
        let missing = currency != default.currency && self.cost_per_hour.is_none();
        errors.require(!missing, "pricing.cost_per_hour", "is required in this currency");
        let cost_per_hour = change.cost_per_hour.unwrap_or(default.cost_per_hour);
        let reward_per_hour = change.reward_per_hour.unwrap_or(cost_per_hour);
        Pricing { cost_per_hour, reward_per_hour, currency }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePoolCreateRequest {
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "basement")]
    name: String,
    #[serde(default)]
    #[schema(max_length = 500, default = "")]
    description: String,
    /// The default is the setting `pools.max_nodes_per_pool`.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    max_nodes: Option<u32>,
    resource_limits: Option<ResourceLimits>,
    #[serde(default)]
    #[schema(default = false)]
    auto_scaling: bool,
    /// Required when `auto_scaling` is on.
    scaling_policy: Option<ScalingPolicy>,
    /// As the default pool's when absent; another one wants the scope `pool:price` and a fresh factor.
    pricing: Option<PricingRequest>,
    /// Challenge its nodes for outputs: the answers count in their scores.
    #[serde(default)]
    #[schema(default = false)]
    outputs_expected: bool,
}

/// What everybody earns is a person's word who is there, and an admin's.
fn may_price(caller: &Caller) -> Result<(), ApiError> {
    if !caller.may(Scope::PoolPrice) {
        return Err(Refusal::PriceNotAllowed.into());
    }
    caller.require_fresh()
}

/// Make a pool
///
/// Another pricing than the default pool's is for people with the scope `pool:price` (`PriceNotAllowed`) whose session was confirmed within the last minutes
/// (`FreshFactorNeeded`).
#[utoipa::path(post, path = "/nodes/pools", tag = "pools", security(("access" = ["pool:write"])), request_body = NodePoolCreateRequest,
    responses((status = 201, body = PoolView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<NodePoolCreateRequest>,
) -> Result<(StatusCode, Json<PoolView>), ApiError> {
    let default = pools::by_id(&state.store.read()?, &pool_id(DEFAULT_POOL_ID)?)?.ok_or(Refusal::PoolNotFound)?;
    let default = *default.pricing.latest();
    let now = state.now();
    let id = PoolId::new(state.entropy.uuid(now.wall.0));
    let new = asked.check(|asked, errors| {
        let new = NewPool {
            name: asked.name,
            description: asked.description,
            max_nodes: asked.max_nodes.unwrap_or(state.settings().max_nodes_per_pool),
            resource_limits: asked.resource_limits,
            auto_scaling: asked.auto_scaling,
            scaling_policy: asked.scaling_policy,
            pricing: asked.pricing.map_or(default, |pricing| pricing.new_pricing(errors, default)),
            outputs_expected: asked.outputs_expected,
        };
        new.clone().into_pool(id.clone(), PoolIndex(u32::MAX), now.wall).check(errors);
        new
    })?;
    if new.pricing != default {
        may_price(&caller)?;
    }
    let act = caller.act(now);
    let outputs = Arc::clone(&state.store.outputs);
    let create = move |tx: &mut WriteTx<'_>| {
        let pool = pools::create(tx, &act, &id, &new)?;
        outputs::follow(tx, &outputs, &pool);
        Ok(pool)
    };
    let pool = state.store.write(create).await;
    let pool = pool.map_err(ApiError::naming([(Refusal::PoolExists, "name")]))?;
    Ok((StatusCode::CREATED, Json(show_pool(&state, &pool)?)))
}

/// Show a pool
#[utoipa::path(get, path = "/nodes/pools/{pool_id}", tag = "pools", security(("access" = ["pool:read"])), params(("pool_id" = String, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
pub async fn get(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<PoolView>, ApiError> {
    let pool = pools::by_id(&state.store.read()?, &pool_id(&id)?)?.ok_or(Refusal::PoolNotFound)?;
    Ok(Json(show_pool(&state, &pool)?))
}

/// Show a pool (flat)
#[utoipa::path(get, path = "/pools/{id}", tag = "pools", security(("access" = ["pool:read"])), params(("id" = String, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
pub async fn get_flat(state: State<AppState>, id: Path<String>) -> Result<Json<PoolView>, ApiError> {
    get(state, id).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePoolUpdateRequest {
    #[schema(min_length = 3, max_length = 100, pattern = "^[a-zA-Z0-9_-]+$", example = "basement")]
    name: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    #[schema(minimum = 1, maximum = 1000, example = 100)]
    max_nodes: Option<u32>,
    resource_limits: Option<ResourceLimits>,
    auto_scaling: Option<bool>,
    scaling_policy: Option<ScalingPolicy>,
    /// In force from the next epoch on. One that differs wants the scope `pool:price` and a fresh factor; the same again changes nothing.
    pricing: Option<PricingRequest>,
    /// In force from the next epoch on.
    outputs_expected: Option<bool>,
}

/// Change a pool
///
/// A new price is for people with the scope `pool:price` (`PriceNotAllowed`) whose session was confirmed within the last minutes (`FreshFactorNeeded`).
#[utoipa::path(put, path = "/nodes/pools/{pool_id}", tag = "pools", security(("access" = ["pool:write"])), params(("pool_id" = String, Path)), request_body = NodePoolUpdateRequest,
    responses((status = 200, body = PoolView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<NodePoolUpdateRequest>,
) -> Result<Json<PoolView>, ApiError> {
    let id = pool_id(&id)?;
    let now = state.now();
    let price_from = now.wall.slot().next_epoch(state.settings().epoch_slots);
    let read = state.store.read()?;
    let before = pools::by_id(&read, &id)?.ok_or(Refusal::PoolNotFound)?;
    let (members, price) = (pools::member_count(&read, before.index)?, *before.pricing.latest());
    let change = asked.check(|asked, errors| {
        let pricing = asked.pricing.map_or(PricingChange::default(), |pricing| {
            errors.require(pricing.currency.is_none_or(|c| c == price.currency), "pricing.currency", "cannot be changed");
            pricing.change(errors, price.currency).unlike(price)
        });
        let change = PoolChange {
            name: asked.name,
            description: asked.description,
            max_nodes: asked.max_nodes,
            resource_limits: asked.resource_limits,
            auto_scaling: asked.auto_scaling,
            scaling_policy: asked.scaling_policy,
            pricing,
            outputs_expected: asked.outputs_expected.filter(|expected| expected != before.outputs_expected.latest()),
        };
        change.of(&before, price_from).check_with(members, errors);
        change
    })?;
    if !change.pricing.is_none() {
        may_price(&caller)?;
    }
    let act = caller.act(now);
    let outputs = Arc::clone(&state.store.outputs);
    let update = move |tx: &mut WriteTx<'_>| {
        let pool = pools::update(tx, &act, &id, &change, price_from)?;
        outputs::follow(tx, &outputs, &pool);
        Ok(pool)
    };
    let pool = state.store.write(update).await;
    let pool = pool.map_err(ApiError::naming([(Refusal::PoolExists, "name")]))?;
    Ok(Json(show_pool(&state, &pool)?))
}

/// Delete an empty pool
#[utoipa::path(delete, path = "/nodes/pools/{pool_id}", tag = "pools", security(("access" = ["pool:write"])), params(("pool_id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn delete(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id = pool_id(&id)?;
    let act = caller.act(state.now());
    state.store.write(move |tx| pools::delete(tx, &act, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolMemberRequest {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    node_id: String,
    /// Kept with the member, for programs that give work to the nodes of a pool: a higher number comes first. Of a member it can be changed.
    #[schema(minimum = 1, maximum = 100, default = 50)]
    priority: Option<u8>,
}

/// Put a node into a pool
///
/// Out of the one it is in; counts from the next slot. A node that is in it already is refused (`AlreadyMember`), unless it is given another `priority`.
#[utoipa::path(post, path = "/nodes/pools/{pool_id}/nodes", tag = "pools", security(("access" = ["pool:assign"])), params(("pool_id" = String, Path)), request_body = PoolMemberRequest,
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn add_node(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<PoolMemberRequest>,
) -> Result<Json<Shown>, ApiError> {
    let pool = pool_id(&id)?;
    let (node, priority) = asked.check(|asked, errors| {
        errors.require(asked.priority.is_none_or(|p| PRIORITIES.contains(&p)), "priority", "must be 1 to 100");
        (NodeId::parse(&asked.node_id).map_err(|e| errors.add("node_id", e.to_string())), asked.priority)
    })?;
    let node = node.map_err(|()| Refusal::NodeNotFound)?;
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::join(tx, &directory, &act, &pool, (&node, priority))).await;
    let node = node.map_err(ApiError::naming([
        (Refusal::NodeNotFound, "node_id"),
        (Refusal::NodeNameTaken, "node_id"),
        (Refusal::AlreadyMember, "node_id"),
    ]))?;
    published(&state, &node.id, Change::Updated);
    Ok(Json(show(&state, node)?))
}

/// Put a node into a pool (flat)
#[utoipa::path(post, path = "/pools/{id}/join", tag = "pools", security(("access" = ["pool:assign"])), params(("id" = String, Path)), request_body = PoolMemberRequest,
    responses((status = 200, body = NodeView), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn join_flat(
    state: State<AppState>,
    caller: Caller,
    id: Path<String>,
    asked: Unchecked<PoolMemberRequest>,
) -> Result<Json<Shown>, ApiError> {
    add_node(state, caller, id, asked).await
}

/// Take a node out of a pool
#[utoipa::path(delete, path = "/nodes/pools/{pool_id}/nodes/{node_id}", tag = "pools", security(("access" = ["pool:assign"])), params(("pool_id" = String, Path), ("node_id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub async fn remove_node(
    State(state): State<AppState>,
    caller: Caller,
    Path((pool, node)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (pool, node) = (pool_id(&pool)?, node_id(&node)?);
    let (act, directory) = (caller.act(state.now()), state.store.directory.clone());
    let node = state.store.write(move |tx| nodes::leave(tx, &directory, &act, &pool, &node)).await?;
    published(&state, &node.id, Change::Updated);
    Ok(StatusCode::NO_CONTENT)
}
