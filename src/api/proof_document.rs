//! Proofs that anyone can check without this manager, and without asking it.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::reads;
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::credits::Epoch;
use crate::domain::proof::document::{ConsistencyDocument, ProofDocument};
use crate::domain::proof::head::SignedHead;
use crate::domain::proof::succession::Succession;
use crate::domain::refusal::Refusal;
use crate::storage::core::chain;
use crate::storage::proofs;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProofQuery {
    /// The epoch's first slot; absent: the newest epoch.
    epoch: Option<u32>,
    /// `true`: a browser saves the document instead of showing it.
    download: Option<bool>,
}

/// The proof document of a node
///
/// Its score in an epoch with every input, the way of its leaf to the root, and the signed head. `verify-proof` and the page `/verify` check it offline.
#[utoipa::path(get, path = "/poot/{node_id}", tag = "poot", security(("access" = ["poot:read"])), params(("node_id" = String, Path), ProofQuery),
    responses((status = 200, body = ProofDocument), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(state): State<AppState>,
    Path(node_id): Path<String>,
    Query(query): Query<ProofQuery>,
) -> Result<Response, ApiError> {
    let node = reads::node(&state, &node_id)?.index;
    let epoch = query.epoch.map(Epoch);
    let document = reads::long(&state, move |state| Ok(proofs::document(&state.store, node, epoch)??)).await?;
    let name = format!("lucid-proof-{node_id}-{}.json", document.head.epoch);
    Ok(saved(query.download, &name, Json(document).into_response()))
}

fn saved(download: Option<bool>, name: &str, answer: Response) -> Response {
    if download != Some(true) {
        return answer;
    }
    ([(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))], answer).into_response()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// First slot of an epoch.
    first: u32,
    /// First slot of another; absent: the newest epoch.
    second: Option<u32>,
    /// `true`: a browser saves the document instead of showing it.
    download: Option<bool>,
}

/// Two heads of the history, and what shows that they are of one
#[utoipa::path(get, path = "/poot/consistency", tag = "poot", security(("access" = ["poot:read"])), extensions(("x-node-access" = json!("any"))), params(ConsistencyQuery),
    responses((status = 200, body = ConsistencyDocument), (status = 404, body = ErrorBody)))]
pub async fn consistency(State(state): State<AppState>, Query(query): Query<ConsistencyQuery>) -> Result<Response, ApiError> {
    let newest = state.store.recent.head().map(|signed| signed.head.epoch);
    let second = query.second.or(newest).map(Epoch).ok_or(Refusal::ProofNotThere)?;
    let first = Epoch(query.first);
    let document = reads::long(&state, move |state| Ok(proofs::consistency(&state.store, first, second)??)).await?;
    let name = format!("lucid-history-{}-{}.json", document.first.head.epoch, document.second.head.epoch);
    Ok(saved(query.download, &name, Json(document).into_response()))
}

/// The newest signed head
///
/// Nodes get it with the answers to their reports.
#[utoipa::path(get, path = "/poot/head", tag = "poot", security(("access" = ["node:read"])), extensions(("x-node-access" = json!("any"))),
    responses((status = 200, body = SignedHead), (status = 404, body = ErrorBody)))]
pub async fn newest(State(state): State<AppState>) -> Result<Json<SignedHead>, ApiError> {
    let head = state.store.recent.head().ok_or(Refusal::ProofNotThere)?;
    Ok(Json((*head).clone()))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ManagerKey {
    /// Hex Ed25519.
    pub public_key: String,
    /// Keys of this manager that took over from each other, oldest first; each statement is signed by both.
    pub successions: Vec<Succession>,
}

/// The key with which this manager signs
///
/// Nodes have it too: they check the manager's answers with it.
#[utoipa::path(get, path = "/poot/manager-key", tag = "poot", security(("access" = ["node:read"])), extensions(("x-node-access" = json!("any"))), responses((status = 200, body = ManagerKey)))]
pub async fn manager_key(State(state): State<AppState>) -> Result<Json<ManagerKey>, ApiError> {
    let successions = chain::successions(&state.store.read()?)?;
    Ok(Json(ManagerKey { public_key: hex(&state.store.manager_key().0), successions }))
}
