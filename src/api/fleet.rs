//! The managers that meet in a cluster, and their nodes, as the cluster has them: this manager's and those of others. Nothing of it comes from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Query};
use super::listing::word;
use super::nodes::optional_pool;
use super::page;
use super::state::AppState;
use super::wallet::Pending;
use crate::domain::ids::PoolId;
use crate::domain::node::NodeType;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::fleet::{Count, LONGEST_TEXT, ManagerSeen, NodeFilter, NodeSeen, Part, Slice, Summary, Whose};
use crate::domain::time::Timestamp;

/// From the request to its answer, waiting for one's turn included.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// Beside the one whose turn it is: four people open the page, which asks three times.
pub(super) const QUEUE: usize = 11;

/// The cluster, as the api needs it; `app` hands it over.
pub trait FleetReader: Send + Sync {
    /// Managers by id, of one region or all.
    fn managers<'a>(&'a self, region: Option<&'a str>, slice: &'a Slice) -> Pending<'a, Result<Part<ManagerSeen>, Trouble>>;
    /// Nodes that were not deleted.
    fn nodes<'a>(&'a self, filter: &'a NodeFilter, slice: &'a Slice) -> Pending<'a, Result<Part<NodeSeen>, Trouble>>;
    fn summary<'a>(&'a self, whose: &'a Whose) -> Pending<'a, Result<Summary, Trouble>>;
}

/// Who reads the cluster, one at a time: there is one connection beside that of the replication, which must not wait for people.
pub struct FleetReads {
    reader: Option<Arc<dyn FleetReader>>,
    patience: Duration,
    turn: Semaphore,
    places: Semaphore,
}

impl FleetReads {
    /// Without a reader no cluster is configured.
    pub fn new(reader: Option<Arc<dyn FleetReader>>, patience: Duration) -> FleetReads {
        FleetReads { reader, patience, turn: Semaphore::new(1), places: Semaphore::new(1 + QUEUE) }
    }

    /// # Errors
    /// No cluster is configured; too many wait for it; it does not answer in time, or refuses.
    pub async fn read<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a dyn FleetReader) -> Pending<'a, Result<T, Trouble>> + Send,
    ) -> Result<T, Refusal> {
        let reader = self.reader.as_deref().ok_or(Refusal::ReplicationNotConfigured)?;
        let _place = self.places.try_acquire().map_err(|_| Refusal::FleetBusy)?;
        let answer = timeout(self.patience, async {
            let _turn = self.turn.acquire().await;
            ask(reader).await
        });
        let answer = answer.await.unwrap_or_else(|_| Err(Trouble::Away(format!("no answer within {:?}", self.patience))));
        answer.map_err(|trouble| {
            tracing::warn!(%trouble, "the fleet was not read");
            Refusal::FleetUnreachable
        })
    }
}

/// A manager as the cluster has it. What its document does not say is null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetManager {
    #[schema(example = "manager_3f1c")]
    manager_id: String,
    /// It is the one that answers.
    is_this: bool,
    region: Option<String>,
    version: Option<String>,
    /// When it last said that it lives, by its own clock: twice a minute while it replicates.
    #[schema(format = DateTime)]
    seen_at: Option<String>,
    /// It ended, and said so.
    has_ended: Option<bool>,
    /// Its documents are one state of its store, of then; null too while they are copied.
    #[schema(format = DateTime)]
    whole_at: Option<String>,
    /// Nodes of it in the cluster.
    nodes: u64,
}

/// By id.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetManagers {
    managers: Vec<FleetManager>,
    /// `cursor` of the next page; null on the last one.
    next_cursor: Option<String>,
    /// When the cluster was read.
    #[schema(format = DateTime)]
    as_of: String,
}

/// A node as the cluster has it. What its document does not say is null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetNode {
    /// Of its document; no other node has it.
    id: String,
    manager_id: Option<String>,
    /// It is a node of the manager that answers.
    is_own: bool,
    region: Option<String>,
    node_id: Option<String>,
    name: Option<String>,
    #[schema(example = "worker")]
    node_type: Option<String>,
    pool_id: Option<String>,
    /// As of `seen_at`: `active`, `inactive`, `maintenance` or `error`.
    #[schema(example = "active")]
    status: Option<String>,
    #[schema(example = "starting")]
    detailed_status: Option<String>,
    /// 0 to 100; null before the first one.
    poot_score: Option<f64>,
    #[schema(format = DateTime)]
    last_heartbeat: Option<String>,
    /// When its manager said what it sees: each 5 minutes while it replicates.
    #[schema(format = DateTime)]
    seen_at: Option<String>,
}

/// By manager, and in the order of their enrolment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetNodes {
    nodes: Vec<FleetNode>,
    /// `cursor` of the next page; null on the last one.
    next_cursor: Option<String>,
    /// When the cluster was read.
    #[schema(format = DateTime)]
    as_of: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetStatusCount {
    /// Null: no status is known.
    name: Option<String>,
    nodes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetRegionCount {
    /// Null: no region is set.
    name: Option<String>,
    managers: u64,
    nodes: u64,
}

/// Counted while managers go on writing: two numbers of it may be of two moments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FleetSummary {
    managers: u64,
    nodes: u64,
    /// The most frequent first.
    by_status: Vec<FleetStatusCount>,
    /// By name.
    by_region: Vec<FleetRegionCount>,
    /// When the cluster was read.
    #[schema(format = DateTime)]
    as_of: String,
}

/// Word of a node's document.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FleetNodeStatus)]
pub enum OfFour {
    Active,
    Inactive,
    Maintenance,
    Error,
}

/// Checks what a query asks for, and collects what is wrong with it.
#[derive(Default)]
struct Asked(FieldErrors);

impl Asked {
    /// Something of the cluster, as others named it; nothing asks for all.
    fn text(&mut self, field: &str, text: Option<String>) -> Option<String> {
        let text = text.filter(|text| !text.is_empty())?;
        let is_fair = text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
        self.0.require(is_fair, field, format!("must be a text of at most {LONGEST_TEXT} bytes"));
        Some(text)
    }

    fn slice(&mut self, limit: Option<String>, cursor: Option<String>) -> Slice {
        let limit = page::limit(&mut self.0, limit) as usize;
        Slice { after: self.text("cursor", cursor), limit }
    }

    /// What a word is in documents, if it is one.
    fn word<T: serde::de::DeserializeOwned>(&mut self, field: &str, text: Option<String>, allowed: &str) -> Option<String> {
        word::<T>(&mut self.0, field, text.as_deref(), allowed).and(text)
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FleetManagerQuery {
    #[param(max_length = 200)]
    region: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FleetNodeQuery {
    #[param(max_length = 200)]
    manager_id: Option<String>,
    #[param(max_length = 200)]
    region: Option<String>,
    #[param(value_type = Option<OfFour>)]
    status: Option<String>,
    #[param(value_type = Option<NodeType>)]
    node_type: Option<String>,
    #[param(pattern = "^pool_[a-zA-Z0-9_-]+$")]
    pool_id: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FleetSummaryQuery {
    #[param(max_length = 200)]
    manager_id: Option<String>,
    #[param(max_length = 200)]
    region: Option<String>,
}

fn as_of(state: &AppState) -> String {
    state.now().wall.rfc3339()
}

fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(Timestamp::rfc3339)
}

/// The managers of the cluster
///
/// As it has them, in pages; `as_of` says when it was read.
#[utoipa::path(get, path = "/fleet/managers", tag = "fleet", security(("access" = ["fleet:read"])), params(FleetManagerQuery), responses(
    (status = 200, body = FleetManagers), (status = 400, body = ErrorBody),
    (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody),
    (status = 503, description = "the cluster does not answer within 8 s, or refuses (`FleetUnreachable`); others are asking it (`FleetBusy`)", body = ErrorBody)))]
pub async fn managers(State(state): State<AppState>, Query(query): Query<FleetManagerQuery>) -> Result<Json<FleetManagers>, ApiError> {
    let mut asked = Asked::default();
    let region = asked.text("region", query.region);
    let slice = asked.slice(query.limit, query.cursor);
    asked.0.finish()?;
    let part = state.fleet.read(|cluster| cluster.managers(region.as_deref(), &slice)).await?;
    let of = |seen: ManagerSeen| FleetManager {
        is_this: seen.id == state.store.manager_id.as_str(),
        manager_id: seen.id,
        region: seen.region,
        version: seen.version,
        seen_at: moment(seen.seen_at),
        has_ended: seen.has_ended,
        whole_at: moment(seen.whole_at),
        nodes: seen.nodes,
    };
    let managers = part.rows.into_iter().map(of).collect();
    Ok(Json(FleetManagers { managers, next_cursor: part.next, as_of: as_of(&state) }))
}

/// The nodes of all managers
///
/// As the cluster has them, in pages. What is seen of a node (status, score, heartbeat) is of its `seen_at`. Nodes that were deleted are none.
#[utoipa::path(get, path = "/fleet/nodes", tag = "fleet", security(("access" = ["fleet:read"])), params(FleetNodeQuery), responses(
    (status = 200, body = FleetNodes), (status = 400, body = ErrorBody),
    (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody),
    (status = 503, description = "the cluster does not answer within 8 s, or refuses (`FleetUnreachable`); others are asking it (`FleetBusy`)", body = ErrorBody)))]
pub async fn nodes(State(state): State<AppState>, Query(query): Query<FleetNodeQuery>) -> Result<Json<FleetNodes>, ApiError> {
    let mut asked = Asked::default();
    let filter = NodeFilter {
        whose: Whose { manager: asked.text("manager_id", query.manager_id), region: asked.text("region", query.region) },
        status: asked.word::<OfFour>("status", query.status, "active, inactive, maintenance or error"),
        node_type: asked.word::<NodeType>("node_type", query.node_type, "worker, validator, storage or compute"),
        pool: optional_pool(&mut asked.0, "pool_id", query.pool_id).map(|id: PoolId| id.to_string()),
    };
    let slice = asked.slice(query.limit, query.cursor);
    asked.0.finish()?;
    let part = state.fleet.read(|cluster| cluster.nodes(&filter, &slice)).await?;
    let own = state.store.manager_id.as_str();
    let of = |seen: NodeSeen| FleetNode {
        id: seen.id,
        is_own: seen.manager.as_deref() == Some(own),
        manager_id: seen.manager,
        region: seen.region,
        node_id: seen.node_id,
        name: seen.name,
        node_type: seen.node_type,
        pool_id: seen.pool,
        status: seen.status,
        detailed_status: seen.detailed_status,
        poot_score: seen.score,
        last_heartbeat: moment(seen.last_heartbeat),
        seen_at: moment(seen.seen_at),
    };
    let nodes = part.rows.into_iter().map(of).collect();
    Ok(Json(FleetNodes { nodes, next_cursor: part.next, as_of: as_of(&state) }))
}

fn sum(counts: &[Count]) -> u64 {
    counts.iter().fold(0, |sum, of| sum.saturating_add(of.count))
}

fn regions(managers: Vec<Count>, nodes: Vec<Count>) -> Vec<FleetRegionCount> {
    let mut regions: BTreeMap<Option<String>, (u64, u64)> = BTreeMap::new();
    for Count { name, count } in managers {
        regions.entry(name).or_default().0 = count;
    }
    for Count { name, count } in nodes {
        regions.entry(name).or_default().1 = count;
    }
    regions.into_iter().map(|(name, (managers, nodes))| FleetRegionCount { name, managers, nodes }).collect()
}

/// The cluster in numbers
///
/// Of one manager or one region, if so.
#[utoipa::path(get, path = "/fleet/summary", tag = "fleet", security(("access" = ["fleet:read"])), params(FleetSummaryQuery), responses(
    (status = 200, body = FleetSummary), (status = 400, body = ErrorBody),
    (status = 409, description = "no cluster is configured (`ReplicationNotConfigured`)", body = ErrorBody),
    (status = 503, description = "the cluster does not answer within 8 s, or refuses (`FleetUnreachable`); others are asking it (`FleetBusy`)", body = ErrorBody)))]
pub async fn summary(State(state): State<AppState>, Query(query): Query<FleetSummaryQuery>) -> Result<Json<FleetSummary>, ApiError> {
    let mut asked = Asked::default();
    let whose = Whose { manager: asked.text("manager_id", query.manager_id), region: asked.text("region", query.region) };
    asked.0.finish()?;
    let Summary { managers_by_region, nodes_by_region, nodes_by_status } = state.fleet.read(|cluster| cluster.summary(&whose)).await?;
    Ok(Json(FleetSummary {
        managers: sum(&managers_by_region),
        nodes: sum(&nodes_by_status),
        by_status: nodes_by_status.into_iter().map(|Count { name, count }| FleetStatusCount { name, nodes: count }).collect(),
        by_region: regions(managers_by_region, nodes_by_region),
        as_of: as_of(&state),
    }))
}
