//! Enrolment: tokens for people, `POST /agent/enrol` for machines, and short-lived tokens for nodes.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;

use super::error::{ApiError, ErrorBody};
use super::json::{check_plain, read_body};
use super::listing::{Asked, Order, word};
use super::middleware::{RequestInfo, note_refusal};
use super::nodes::{optional_pool, published};
use super::rates::{Class, Payer};
use super::shape::Shape;
use super::signed::{parse, signed};
use super::{AppState, Caller, Json, Page, PageQuery, Pagination, Path, Query, Unchecked};
use crate::crypto::{PublicKey, hex, jwt_encode, unhex};
use crate::domain::alert::Severity;
use crate::domain::enrolment::{
    CHALLENGE_SECONDS, DEFAULT_EXPIRY_SECONDS, EnrolmentTarget, EnrolmentToken, NODE_TOKEN_SECONDS, NewToken, NodeClaims, TokenText,
    manager_key_hash,
};
use crate::domain::ids::{EnrolmentId, Incarnation, NodeId, PoolId, PoolIndex};
use crate::domain::node::OFFLINE_AFTER_SECONDS;
use crate::domain::pool::DEFAULT_POOL_ID;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::security::TWO_ON_ONE_MACHINE;
use crate::domain::time::{Now, Timestamp};
use crate::live::Change;
use crate::storage::core::enrolment::{self, Enrolled, Enrolling, How, OnMachine};
use crate::storage::core::{alerts, enrolment_requests, nodes, pools};
use crate::storage::fault::WriteError;
use crate::storage::table::Read;
use crate::wire::{EnrolAnswer, EnrolRequest, Envelope, HEADER_SIGNATURE, MAX_BODY, PROTOCOL, Purpose};

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EnrolmentToken)]
pub struct TokenView {
    pub id: String,
    pub pool_id: Option<String>,
    pub node_id: Option<String>,
    pub uses: u32,
    pub used: u32,
    pub created_at: String,
    pub expires_at: String,
    pub revoked: bool,
    /// Machines that present it wait for an admin (`/enrolment-requests`).
    pub needs_approval: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TokenList {
    pub enrolment_tokens: Vec<TokenView>,
    pub pagination: Pagination,
}

impl TokenView {
    fn of(token: &EnrolmentToken, read: &impl Read) -> Result<TokenView, ApiError> {
        let (pool_id, node_id) = match &token.target {
            EnrolmentTarget::Node(id) => (None, Some(id.to_string())),
            EnrolmentTarget::Pool(index) => (pools::ever(read, *index)?.map(|pool| pool.id.to_string()), None),
        };
        Ok(TokenView {
            id: token.id.to_string(),
            pool_id,
            node_id,
            uses: token.uses,
            used: token.used,
            created_at: token.created_at.rfc3339(),
            expires_at: token.expires_at.rfc3339(),
            revoked: token.revoked,
            needs_approval: token.needs_approval,
        })
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    #[param(value_type = Option<TokenStatus>)]
    status: Option<String>,
    /// Tokens into this pool.
    #[param(pattern = "^pool_[a-zA-Z0-9_-]+$")]
    pool_id: Option<String>,
    #[param(value_type = Option<TokenSort>)]
    sort: Option<String>,
    /// Descending unless it says otherwise.
    #[param(value_type = Option<Order>)]
    order: Option<String>,
    /// Part of an id or of who made it, in any case.
    #[param(max_length = 100)]
    search: Option<String>,
}

/// What became of an enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EnrolmentTokenStatus)]
pub enum TokenStatus {
    Open,
    Used,
    Expired,
    Revoked,
}

impl TokenStatus {
    fn of(token: &EnrolmentToken, now: Timestamp) -> TokenStatus {
        match token {
            EnrolmentToken { revoked: true, .. } => TokenStatus::Revoked,
            EnrolmentToken { used, uses, .. } if used >= uses => TokenStatus::Used,
            EnrolmentToken { expires_at, .. } if *expires_at <= now => TokenStatus::Expired,
            _ => TokenStatus::Open,
        }
    }
}

/// What enrolment tokens are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EnrolmentTokenSort, default = "created_at")]
pub enum TokenSort {
    CreatedAt,
    ExpiresAt,
}

/// List enrolment tokens, newest first
#[utoipa::path(get, path = "/enrolment-tokens", tag = "enrolment", security(("access" = ["enrolment:read"])), params(PageQuery, TokenQuery),
    responses((status = 200, body = TokenList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn list_tokens(State(state): State<AppState>, page: Page, Query(query): Query<TokenQuery>) -> Result<Json<TokenList>, ApiError> {
    let mut errors = FieldErrors::default();
    let status: Option<TokenStatus> = word(&mut errors, "status", query.status.as_deref(), "open, used, expired or revoked");
    let pool = optional_pool(&mut errors, "pool_id", query.pool_id);
    let parameters = [&query.sort, &query.order, &query.search];
    let asked = Asked::read(&mut errors, parameters, "created_at or expires_at", (TokenSort::CreatedAt, Order::Desc));
    errors.finish()?;
    let read = state.store.read()?;
    let pool = match &pool {
        Some(id) => Some(EnrolmentTarget::Pool(pools::by_id(&read, id)?.ok_or(Refusal::PoolNotFound)?.index)),
        None => None,
    };
    let now = state.now().wall;
    let mut rows = enrolment::all_tokens(&read)?;
    rows.retain(|token| {
        let fits =
            status.is_none_or(|status| status == TokenStatus::of(token, now)) && pool.as_ref().is_none_or(|pool| *pool == token.target);
        fits && asked.finds(&[token.id.as_str(), &token.created_by])
    });
    match asked.sort {
        // Ids begin with the time they were made at.
        TokenSort::CreatedAt => (),
        TokenSort::ExpiresAt => rows.sort_by_key(|token| token.expires_at),
    }
    if asked.descending {
        rows.reverse();
    }
    let (rows, pagination) = page.slice(rows);
    let enrolment_tokens = rows.iter().map(|token| TokenView::of(token, &read)).collect::<Result<_, _>>()?;
    Ok(Json(TokenList { enrolment_tokens, pagination }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "pool_id": "pool_default", "uses": 1, "expires_in_seconds": 3600 }))]
pub struct TokenRequest {
    /// Where new nodes go; the default pool when neither this nor `node_id` is given.
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    pool_id: Option<String>,
    /// A node that was made beforehand, to be claimed.
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    node_id: Option<String>,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    uses: u32,
    #[serde(default = "an_hour")]
    #[schema(minimum = 60, maximum = 2_592_000, default = 3600)]
    expires_in_seconds: i64,
    /// Whether each machine waits for an admin (`/enrolment-requests`). Default: when there is more than one use and no admin makes the token.
    /// Only an admin may waive that.
    needs_approval: Option<bool>,
}

fn one() -> u32 {
    1
}

fn an_hour() -> i64 {
    DEFAULT_EXPIRY_SECONDS
}

/// A token, shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TokenMade {
    pub id: String,
    pub token: String,
    /// To run on the machine; it asks for the token, so that no process list shows it.
    pub command: String,
    pub note: String,
    pub expires_at: String,
}

/// Make an enrolment token
#[utoipa::path(post, path = "/enrolment-tokens", tag = "enrolment", security(("access" = ["enrolment:write"])), request_body = TokenRequest,
    responses((status = 201, body = TokenMade), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn create_token(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<TokenRequest>,
) -> Result<(StatusCode, Json<TokenMade>), ApiError> {
    let (mut new, pool) = asked.check(|asked, errors| {
        let both = asked.pool_id.is_some() && asked.node_id.is_some();
        let pool = optional_pool(errors, "pool_id", asked.pool_id);
        let node = asked.node_id.and_then(|text| NodeId::parse(&text).map_err(|e| errors.add("node_id", e.to_string())).ok());
        errors.require(!both, "node_id", "must not be given together with pool_id");
        // A stand-in until the pool is looked up; the check only asks which kind it is.
        let target = node.map_or(EnrolmentTarget::Pool(PoolIndex(u32::MAX)), EnrolmentTarget::Node);
        let needs_approval = asked.needs_approval.unwrap_or(asked.uses > 1 && !caller.may_approve());
        let new = NewToken { target, uses: asked.uses, expires_in_seconds: asked.expires_in_seconds, needs_approval };
        new.check(errors);
        (new, pool)
    })?;
    if new.uses > 1 && !new.needs_approval && !caller.may_approve() {
        return Err(Refusal::NotAllowed.into());
    }
    let read = state.store.read()?;
    let mut name = None;
    if let EnrolmentTarget::Node(id) = &new.target {
        name = Some(nodes::by_id(&read, id)?.ok_or(Refusal::NodeNotFound)?.name);
    } else {
        let id = pool.map_or_else(|| PoolId::parse(DEFAULT_POOL_ID).map_err(|_| Refusal::PoolNotFound), Ok)?;
        new.target = EnrolmentTarget::Pool(pools::by_id(&read, &id)?.ok_or(Refusal::PoolNotFound)?.index);
    }
    let now = state.now();
    let id = EnrolmentId::new(state.entropy.uuid(now.wall.0));
    let text = TokenText::new(id, &state.entropy.bytes(), &state.store.manager_key(), &state.store.first_key());
    let (act, kept) = (caller.act(now), text.clone());
    let token = state.store.write(move |tx| enrolment::create_token(tx, &act, &kept, &new)).await?;
    let name = name.map_or(String::new(), |name| format!(" --name {name}"));
    let made = TokenMade {
        id: token.id.to_string(),
        token: text.to_text(),
        command: format!("lucid-node-management agent --manager {}{name}", state.settings().public_url),
        note: "The command asks for the token; --token-file FILE reads it from a file. It is shown this once.".into(),
        expires_at: token.expires_at.rfc3339(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke an enrolment token
#[utoipa::path(delete, path = "/enrolment-tokens/{id}", tag = "enrolment", security(("access" = ["enrolment:write"])), params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub async fn revoke_token(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    // Whoever is signed in asks for a thing by its id; an agent that presents an unknown token is not let in.
    let not_found = || ApiError { status: StatusCode::NOT_FOUND, code: 4041, ..Refusal::TokenUnknown.into() };
    let id = EnrolmentId::parse(&id).map_err(|_| not_found())?;
    let act = caller.act(state.now());
    match state.store.write(move |tx| enrolment::revoke(tx, &act, &id)).await {
        Err(WriteError::Refused(Refusal::TokenUnknown)) => Err(not_found()),
        other => Ok(other.map(|()| StatusCode::NO_CONTENT)?),
    }
}

const NOBODY: Envelope<'_> = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };

/// Make this machine a node
///
/// The body is the agent's, signed with the key in it (`x-lucid-signature`); the answer is signed with the manager's.
#[utoipa::path(post, path = "/agent/enrol", tag = "agent", security(()), request_body = EnrolRequest,
    responses((status = 200, body = EnrolAnswer, headers(("x-lucid-signature" = String, description = "the manager's, hex"))), (status = 202, body = ErrorBody, description = "an admin has to approve this machine: ask again after Retry-After"), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn enrol(
    State(state): State<AppState>,
    caller: Caller,
    shape: Option<Extension<Shape>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_plain(&headers)?;
    let body = read_body(body, MAX_BODY).await?;
    let shape = shape.map(|Extension(shape)| shape).unwrap_or_default();
    let request: EnrolRequest = parse(&shape, &body)?;
    if request.protocol > PROTOCOL {
        return Err(Refusal::ProtocolTooNew.into());
    }
    let signature = headers.get(HEADER_SIGNATURE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let key =
        PublicKey::from_hex(&request.public_key).filter(|key| NOBODY.verify(key, &body, signature)).ok_or(Refusal::SignatureForged)?;
    let token = TokenText::parse(&request.token).ok_or(Refusal::TokenUnknown)?;
    let now = state.now();
    let asked = Enrolling {
        token,
        key,
        on_machine: on_machine(&state, &request, now),
        fingerprint: request.fingerprint,
        hardware: request.hardware,
        name: request.name,
        new_id: NodeId::new(state.entropy.uuid(now.wall.0)),
        max_nodes: state.settings().max_nodes,
    };
    let (act, directory) = (caller.act(now), state.store.directory.clone());
    // A token that was made before the key was replaced leads its agent on to the present one.
    let ours: Vec<String> = state.store.manager_keys().iter().map(manager_key_hash).collect();
    let token_id = asked.token.id.to_string();
    // A token that does not hold is refused without the writer; one that does pays for the request, not the address.
    if let Err(error) = enrolment::presented(&state.store.read()?, &ours, &asked, now.wall) {
        return Err(refused(&state, &caller, token_id, &key, error.into()).await?);
    }
    state.rates.charge(&caller.request, Class::Signed, Payer::EnrolmentToken(&token_id))?;
    let waiting = asked.clone();
    let enrolled = match state.store.write(move |tx| enrolment::enrol(tx, &directory, &act, &ours, &asked)).await {
        Ok(enrolled) => enrolled,
        Err(WriteError::Refused(Refusal::ApprovalPending)) => return Err(wait(&state, &caller, waiting).await?),
        Err(error) => return Err(refused(&state, &caller, token_id, &key, error).await?),
    };
    if let Some(twin) = enrolled.twin.clone().or_else(|| new_twin(&state, &enrolled)) {
        raise_twin(&state, &enrolled.node.id, &twin, now).await?;
    }
    let change = if enrolled.how == How::New { Change::Created } else { Change::Updated };
    published(&state, &enrolled.node.id, change);
    let answer = EnrolAnswer {
        node_id: enrolled.node.id,
        node_name: enrolled.node.name,
        manager_id: state.store.manager_id.clone(),
        manager_key: state.store.manager_key().to_hex(),
    };
    let manager = state.store.manager_id.as_str();
    let envelope = Envelope { purpose: Purpose::EnrolAnswer, manager, node: answer.node_id.as_str(), ..NOBODY };
    signed(&state, envelope, &answer)
}

/// Puts the machine into the list of those that wait for an admin, once.
async fn wait(state: &AppState, caller: &Caller, asked: Enrolling) -> Result<ApiError, ApiError> {
    if !enrolment_requests::is_waiting(&state.store.read()?, &asked.token.id, &asked.key)? {
        let act = caller.act(state.now());
        state.store.write(move |tx| enrolment_requests::ask(tx, &asked, &act)).await?;
    }
    Ok(Refusal::ApprovalPending.into())
}

/// Agents of one machine that enrol in the same moment are not there yet when each is asked about: the later of them finds the other once both are.
fn new_twin(state: &AppState, enrolled: &Enrolled) -> Option<NodeId> {
    let identity = enrolled.node.identity.as_ref().filter(|_| matches!(enrolled.how, How::New | How::Claimed))?;
    let mut others = state.store.directory.on_machine(&identity.fingerprint).into_iter().filter(|index| *index != enrolled.node.index);
    others.find_map(|index| Some(state.store.directory.by_index(index)?.id.clone()))
}

/// Tells people that two live nodes share a machine: each is paid for the same hours.
async fn raise_twin(state: &AppState, node: &NodeId, twin: &NodeId, now: Now) -> Result<(), ApiError> {
    let message = format!("this node enrolled on the machine of {twin}, whose agent still reports");
    let id = node.to_string();
    state.store.write(move |tx| alerts::raise(tx, TWO_ON_ONE_MACHINE, &id, Severity::Warning, &message, now.wall)).await?;
    Ok(())
}

/// A refused enrolment goes to the audit log, also where the refusal is no matter of access (a full pool, a claimed node).
async fn refused(state: &AppState, caller: &Caller, token_id: String, key: &PublicKey, error: WriteError) -> Result<ApiError, ApiError> {
    let now = state.now();
    if error == WriteError::Refused(Refusal::KeyOnOtherHardware) {
        tracing::warn!(key = %key.to_hex(), address = %caller.request.address, "a node's key was presented by other hardware");
        if let Some(node) = nodes::by_key(&state.store.read()?, key)? {
            super::agent::raise_other_hardware(state, &node.id, now).await?;
        }
    }
    let is_refusal = matches!(error, WriteError::Refused(_));
    let error = ApiError::from(error).about(Some(token_id.clone()));
    if is_refusal && !error.is_access_refusal() {
        note_refusal(state, caller.act(now).draft("node.enrol", token_id).refused(error.name)).await;
    }
    Ok(error)
}

/// The nodes this machine may have been, and whether each still reports.
fn on_machine(state: &AppState, request: &EnrolRequest, now: Now) -> Vec<OnMachine> {
    let heard = |last: Option<Timestamp>| last.is_some_and(|at| now.wall.since(at) <= OFFLINE_AFTER_SECONDS * 1000);
    let known = state.store.directory.on_machine(&request.fingerprint);
    known.into_iter().map(|index| OnMachine { index, heard: heard(state.store.intake.last_report(index)) }).collect()
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    node_id: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChallengeMade {
    /// Hex; to be signed as it is, once.
    pub challenge: String,
    pub expires_at: String,
}

/// Ask for a challenge to prove a node's key with
#[utoipa::path(post, path = "/auth/node/challenge", tag = "agent", security(()), request_body = ChallengeRequest, responses((status = 200, body = ChallengeMade)))]
pub async fn challenge(State(state): State<AppState>, Json(asked): Json<ChallengeRequest>) -> Json<ChallengeMade> {
    let now = state.now();
    let bytes: [u8; 32] = state.entropy.bytes();
    // Whether there is such a node is not told here: the answer looks the same and leads nowhere.
    if let Some(entry) = NodeId::parse(&asked.node_id).ok().and_then(|id| state.store.directory.by_id(&id)).filter(|e| e.key.is_some()) {
        state.challenges.lock().unwrap_or_else(PoisonError::into_inner).issue(bytes, entry.id.clone(), now.boot);
    }
    Json(ChallengeMade { challenge: hex(&bytes), expires_at: now.wall.plus_seconds(CHALLENGE_SECONDS).rfc3339() })
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTokenRequest {
    node_id: String,
    challenge: String,
    /// Hex Ed25519 over the challenge's text, for the purpose `lucid/challenge/v1` (see the agent protocol).
    signature: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodeToken {
    pub access_token: String,
    pub token_type: &'static str,
    pub expires_in: i64,
}

/// Answer a challenge, get a token that acts as the node for an hour
#[utoipa::path(post, path = "/auth/node/token", tag = "agent", security(()), request_body = NodeTokenRequest,
    responses((status = 200, body = NodeToken), (status = 401, body = ErrorBody)))]
pub async fn node_token(
    State(state): State<AppState>,
    request: RequestInfo,
    Json(asked): Json<NodeTokenRequest>,
) -> Result<Json<NodeToken>, ApiError> {
    let now = state.now();
    let node = NodeId::parse(&asked.node_id).map_err(|_| Refusal::ChallengeUnknown)?;
    let bytes = unhex(&asked.challenge).and_then(|b| b.try_into().ok()).ok_or(Refusal::ChallengeUnknown)?;
    state.challenges.lock().unwrap_or_else(PoisonError::into_inner).take(&bytes, &node, now.boot)?;
    let envelope = Envelope {
        purpose: Purpose::Challenge,
        manager: state.store.manager_id.as_str(),
        node: node.as_str(),
        incarnation: Incarnation(0),
        seq: 0,
    };
    let entry = state.store.directory.by_id(&node).ok_or(Refusal::SignatureForged)?;
    let key = entry.key.ok_or(Refusal::SignatureForged)?;
    if !envelope.verify(&key, asked.challenge.as_bytes(), &asked.signature) {
        return Err(Refusal::SignatureForged.into());
    }
    state.rates.charge(&request, Class::Signed, Payer::Node(node.as_str()))?;
    let claims = NodeClaims::new(node, entry.node_type, now.wall, state.entropy.uuid(now.wall.0).simple().to_string());
    let access_token = jwt_encode(&state.store.secrets.node_tokens, &claims).map_err(|_| ApiError::panicked())?;
    Ok(Json(NodeToken { access_token, token_type: "Bearer", expires_in: NODE_TOKEN_SECONDS }))
}
