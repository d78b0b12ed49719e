//! Outputs of workloads are submitted here: by the agent of a node, by a node with its token, by people and programs, one at a time or many. What a node
//! submits it signs. Each gets a verdict; only what is malformed is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::auth::{Caller, Principal};
use super::error::{ApiError, ErrorBody};
use super::json::{self, Json, Path};
use super::nodes::node_id;
use super::rates::{Class, Payer};
use super::signed::{Message, Seal, check_protocol};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::clock::Stopwatch;
use crate::crypto::hex;
use crate::domain::alert::Severity;
use crate::domain::ids::{Incarnation, NodeId, NodeIndex};
use crate::domain::output::{Claim, Examined, MAX_NONCE, Proof, Wrong, data, examine};
use crate::domain::poot::ScoreState;
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::security::IDENTICAL_OUTPUTS;
use crate::domain::time::{Now, Slot, Timestamp};
use crate::domain::validation::Validation;
use crate::live::Family;
use crate::storage::NodeEntry;
use crate::storage::core::alerts::{self, About};
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::leaves;
use crate::storage::outputs::{Judged, NotJudged, Submission};
use crate::storage::table::WriteTx;
use crate::wire::{MAX_OUTPUT_BODY, OutputRequest, Purpose};

/// Outputs in one batch.
pub const MAX_BATCH: usize = 1_000;
/// Bodies from which on looking at them would hold up other requests.
const LONG_BYTES: usize = 64 << 10;

/// An output.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoOTValidationRequest)]
pub struct OutputBody {
    /// Base64 with padding, 16 bytes to 1 MB decoded.
    #[schema(example = "c2l4dGVlbiBieXRlcyBvciBtb3Jl")]
    output_data: String,
    /// SHA-256 of the output, lower-case hex; computed when absent. With `challenge_slot` it is SHA-256 over the 32 bytes of the challenge and the output after
    /// them, and must be given.
    #[schema(example = "da5698be17b9b46962335799779fbeca8ce5d491c0d26243bafef9ea1837a9d8")]
    output_hash: Option<String>,
    /// When the output was made: within the last 24 h, and at most 60 s ahead.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    timestamp: String,
    /// At least 8 characters, another one for each output of the node within 24 h. The same again with the same output gets the first verdict.
    #[schema(max_length = 128, example = "8f14e45fceea167a")]
    nonce: String,
    /// The slot whose challenge this answers.
    #[schema(minimum = 0)]
    challenge_slot: Option<u32>,
}

/// An output that is no worse than invalid.
#[derive(Debug, Clone)]
struct Checked {
    output_data: String,
    output_hash: Option<String>,
    timestamp: Timestamp,
    nonce: String,
    challenge_slot: Option<Slot>,
}

impl OutputBody {
    fn check(self, at: &str, errors: &mut FieldErrors) -> Checked {
        let timestamp = Timestamp::parse_rfc3339(&self.timestamp);
        errors.require(timestamp.is_some(), &format!("{at}timestamp"), "must be a time such as 2026-01-31T12:00:00Z");
        errors.require(self.nonce.chars().count() <= MAX_NONCE, &format!("{at}nonce"), "must have at most 128 characters");
        Checked {
            output_data: self.output_data,
            output_hash: self.output_hash,
            timestamp: timestamp.unwrap_or_default(),
            nonce: self.nonce,
            challenge_slot: self.challenge_slot.map(Slot),
        }
    }
}

impl Checked {
    fn claim(&self) -> Claim<'_> {
        Claim {
            output_data: &self.output_data,
            output_hash: self.output_hash.as_deref(),
            timestamp: self.timestamp,
            nonce: &self.nonce,
            challenge_slot: self.challenge_slot,
        }
    }

    /// The output itself, if outputs are kept.
    fn data(&self, state: &AppState) -> Option<Vec<u8>> {
        (state.store.outputs.keep_bytes() > 0).then(|| data(&self.output_data)).flatten()
    }

    fn examine(&self, state: &AppState, node: &NodeId, now: Now) -> Examined {
        examine(&self.claim(), |slot| state.store.outputs.challenge(node, slot), now.wall)
    }
}

/// A body whose exact bytes may be signed, before its rules.
pub struct Sealed<T> {
    headers: HeaderMap,
    bytes: Bytes,
    asked: Unchecked<T>,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sealed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Sealed<T>, ApiError> {
        let headers = request.headers().clone();
        let limit = if is_batch(request.uri().path()) { json::BODY_LIMIT_BYTES } else { MAX_OUTPUT_BODY };
        let (shape, bytes) = json::read_bytes(request, limit).await?;
        Ok(Sealed { headers, asked: Unchecked::of(shape, bytes.clone()), bytes })
    }
}

fn is_batch(path: &str) -> bool {
    path.ends_with("/batch-validate")
}

/// A node says nothing with its token alone: its key has to stand under it.
fn check_signature(state: &AppState, caller: &Caller, headers: &HeaderMap, bytes: &[u8]) -> Result<bool, ApiError> {
    let Principal::Node { node_id, .. } = &caller.principal else { return Ok(false) };
    let node = state.store.directory.by_id(node_id).ok_or(Refusal::NodeNotFound)?;
    seal(state, &node).check(Purpose::Output, headers, bytes)?;
    Ok(true)
}

fn seal<'a>(state: &'a AppState, node: &'a NodeEntry) -> Seal<'a> {
    Seal { state, node, incarnation: Incarnation(0), seq: 0 }
}

/// Validate an output of a node
///
/// The verdict says every check that failed. A node that calls with its token signs the body as agents do (`x-lucid-signature`, purpose `lucid/output/v1`, incarnation and number 0).
/// What a node answers to its challenge counts in its score; what people and programs submit is judged and recorded.
#[utoipa::path(post, path = "/nodes/{id}/poot/validate", tag = "poot", security(("access" = ["poot:validate"])), params(("id" = String, Path)), request_body = OutputBody,
    responses((status = 200, body = Validation), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody, description = "the body is larger than 2 MiB"), (status = 503, body = ErrorBody)))]
pub async fn validate(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    sealed: Sealed<OutputBody>,
) -> Result<Json<Validation>, ApiError> {
    let node = state.store.directory.by_id(&node_id(&id)?).ok_or(Refusal::NodeNotFound)?;
    let by_node = check_signature(&state, &caller, &sealed.headers, &sealed.bytes)?;
    let output = sealed.asked.check(|asked, errors| asked.check("", errors))?;
    Ok(Json(one(&state, &node, output, sealed.bytes.len(), by_node).await?))
}

/// Submit an output of this node's workload
///
/// What agents do, signed like a report; the answer is signed by the manager. The verdict is kept like a report: durable with the next flush.
#[utoipa::path(post, path = "/agent/output", tag = "agent", security(("signed" = [])), request_body = OutputRequest, responses(
    (status = 200, body = Validation, headers(("x-lucid-signature" = String, description = "the manager's, hex"))),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 413, body = ErrorBody, description = "the body is larger than 2 MiB"), (status = 422, body = ErrorBody, description = "a newer protocol"), (status = 503, body = ErrorBody)))]
pub async fn submit(State(state): State<AppState>, message: Message) -> Result<Response, ApiError> {
    let request: OutputRequest = message.parse()?;
    let Message { node, info, headers, body, .. } = message;
    let seal = seal(&state, &node);
    seal.check(Purpose::Output, &headers, &body)?;
    state.rates.charge(&info, Class::Poot, Payer::Output(node.id.as_str()))?;
    check_protocol(request.protocol)?;
    let OutputRequest { output_data, output_hash, timestamp, nonce, challenge_slot, .. } = request;
    let mut errors = FieldErrors::default();
    let challenge_slot = challenge_slot.map(|slot| slot.0);
    let output = OutputBody { output_data, output_hash, timestamp, nonce, challenge_slot }.check("", &mut errors);
    errors.finish()?;
    let view = one(&state, &node, output, body.len(), true).await?;
    seal.answer(Purpose::OutputAnswer, &view)
}

async fn one(state: &AppState, node: &NodeEntry, output: Checked, bytes: usize, by_node: bool) -> Result<Validation, ApiError> {
    let now = trusted(state)?;
    let watch = Stopwatch::start();
    let (examining, id) = (state.clone(), node.id.clone());
    let (examined, data) = beside(bytes, move || (output.examine(&examining, &id, now), output.data(&examining))).await?;
    let took_ms = millis(&watch);
    let scores = scores(state, &mut vec![node.index])?;
    let submission = Submission { data, ..submission(node, examined, by_node, &scores, took_ms, None) };
    let judged = judge(state, vec![submission], now).await?;
    state.metrics.observe(Family::PootValidationDuration, &[], watch.elapsed());
    let Some(judged) = judged.first() else { return Err(ApiError::panicked()) };
    // Like its report: what is lost with this process the agent sends again, or it counts against nobody.
    if !by_node || state.store.outputs.wants_commit() {
        commit(state, now).await?;
    }
    Ok(Validation::of(node.id.as_str(), judged.number, &judged.proof))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoOTBatchItem)]
pub struct BatchItem {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    node_id: String,
    /// Base64 with padding, 16 bytes to 1 MB decoded.
    output_data: String,
    /// SHA-256 of the output, lower-case hex; computed when absent.
    output_hash: Option<String>,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    timestamp: String,
    #[schema(max_length = 128, example = "8f14e45fceea167a")]
    nonce: String,
    #[schema(minimum = 0)]
    challenge_slot: Option<u32>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PoOTBatchRequest)]
pub struct BatchBody {
    #[schema(min_items = 1, max_items = 1000)]
    validations: Vec<BatchItem>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PoOTBatchSummary)]
pub struct BatchSummary {
    pub total: u32,
    pub valid: u32,
    pub invalid: u32,
    /// How often each check failed.
    #[schema(example = json!({ "nonce_reused": 1 }))]
    pub errors: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PoOTBatchResult)]
pub struct BatchView {
    #[schema(format = "uuid")]
    pub batch_id: String,
    /// In the order of the request.
    pub results: Vec<Validation>,
    pub summary: BatchSummary,
}

/// Validate outputs of several nodes
///
/// Up to 1,000, a verdict each, durable when it is answered. An output of a node that does not exist is invalid (`node_unknown`) and is not recorded. A body is
/// at most 10 MiB. A node may send its own outputs alone, and signs the body.
#[utoipa::path(post, path = "/nodes/poot/batch-validate", tag = "poot", security(("access" = ["poot:batch"])), extensions(("x-node-access" = json!("each"))), request_body = BatchBody,
    responses((status = 200, body = BatchView), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody, description = "the body is larger than 10 MiB"), (status = 503, body = ErrorBody)))]
pub async fn batch(State(state): State<AppState>, caller: Caller, sealed: Sealed<BatchBody>) -> Result<Json<BatchView>, ApiError> {
    let by_node = check_signature(&state, &caller, &sealed.headers, &sealed.bytes)?;
    let items = sealed.asked.check(|asked, errors| {
        errors.require((1..=MAX_BATCH).contains(&asked.validations.len()), "validations", "must have 1 to 1000 entries");
        let numbered = asked.validations.into_iter().take(MAX_BATCH).enumerate();
        numbered.map(|(at, item)| item.check(at, errors)).collect::<Vec<_>>()
    })?;
    for (id, _) in &items {
        if let Ok(id) = NodeId::parse(id) {
            caller.own(&id)?;
        }
    }
    let watch = Stopwatch::start();
    let now = trusted(&state)?;
    let batch = state.entropy.uuid(now.wall.0);
    let (examining, bytes) = (state.clone(), sealed.bytes.len());
    let mut examined: Vec<Item> =
        beside(bytes, move || items.into_iter().map(|(id, output)| Item::of(&examining, id, &output, now)).collect()).await?;
    let scores = scores(&state, &mut examined.iter().filter_map(|item| Some(item.node.as_ref()?.index)).collect())?;
    let known = examined.iter_mut().filter_map(|item| {
        let submission = submission(item.node.as_ref()?, item.examined, by_node, &scores, item.took_ms, Some(*batch.as_bytes()));
        Some(Submission { data: item.data.take(), ..submission })
    });
    let mut judged = judge(&state, known.collect(), now).await?.into_iter();
    commit(&state, now).await?;
    let mut results = Vec::with_capacity(examined.len());
    for item in &examined {
        let found = if item.node.is_some() { judged.next() } else { None };
        results.push(match found {
            Some(judged) => Validation::of(&item.node_id, judged.number, &judged.proof),
            None => Validation::of(&item.node_id, 0, &item.of_nobody(now, *batch.as_bytes())),
        });
    }
    let summary = BatchSummary::of(&results);
    state.metrics.observe(Family::PootValidationDuration, &[], watch.elapsed());
    Ok(Json(BatchView { batch_id: batch.to_string(), results, summary }))
}

impl BatchItem {
    fn check(self, at: usize, errors: &mut FieldErrors) -> (String, Checked) {
        let BatchItem { node_id, output_data, output_hash, timestamp, nonce, challenge_slot } = self;
        if let Err(why) = NodeId::parse(&node_id) {
            errors.require(false, &format!("validations[{at}].node_id"), why.to_string());
        }
        let body = OutputBody { output_data, output_hash, timestamp, nonce, challenge_slot };
        (node_id, body.check(&format!("validations[{at}]."), errors))
    }
}

/// One output of a batch. Its node is absent when nobody has the id.
struct Item {
    node_id: String,
    node: Option<Arc<NodeEntry>>,
    examined: Examined,
    took_ms: u32,
    data: Option<Vec<u8>>,
}

impl Item {
    fn of(state: &AppState, node_id: String, output: &Checked, now: Now) -> Item {
        let watch = Stopwatch::start();
        let node = NodeId::parse(&node_id).ok().and_then(|id| state.store.directory.by_id(&id));
        let examined = match &node {
            Some(node) => output.examine(state, &node.id, now),
            None => examine(&output.claim(), |_| [0; 32], now.wall),
        };
        let data = node.as_ref().and_then(|_| output.data(state));
        Item { node_id, node, examined, took_ms: millis(&watch), data }
    }

    fn of_nobody(&self, now: Now, batch: [u8; 16]) -> Proof {
        let Examined { data_hash, nonce, timestamp, challenge_slot, .. } = self.examined;
        Proof {
            node: NodeIndex(u32::MAX),
            received_at: now.wall,
            timestamp,
            wrongs: [Wrong::NodeUnknown].into_iter().collect(),
            challenge_slot,
            counted: false,
            by_node: false,
            output_hash: data_hash,
            data: [0; 16],
            nonce,
            score_hundredths: 0,
            confidence_hundredths: 0,
            took_ms: self.took_ms,
            batch: Some(batch),
        }
    }
}

impl BatchSummary {
    fn of(results: &[Validation]) -> BatchSummary {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let valid = results.iter().filter(|result| result.is_valid).count();
        let mut errors = BTreeMap::new();
        for error in results.iter().flat_map(|result| &result.errors) {
            *errors.entry(*error).or_default() += 1;
        }
        BatchSummary { total: count(results.len()), valid: count(valid), invalid: count(results.len() - valid), errors }
    }
}

fn millis(watch: &Stopwatch) -> u32 {
    u32::try_from(watch.elapsed().as_millis()).unwrap_or(u32::MAX)
}

/// Times of outputs are held against ours.
fn trusted(state: &AppState) -> Result<Now, ApiError> {
    let now = state.now();
    if now.trusted { Ok(now) } else { Err(Refusal::ClockUntrusted.into()) }
}

/// Runs what takes milliseconds beside the requests.
async fn beside<R: Send + 'static>(bytes: usize, work: impl FnOnce() -> R + Send + 'static) -> Result<R, ApiError> {
    if bytes < LONG_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::panicked())
}

type Scores = HashMap<NodeIndex, (u16, u8)>;

/// Score and confidence of these nodes in the newest closed epoch.
fn scores(state: &AppState, nodes: &mut Vec<NodeIndex>) -> Result<Scores, Fault> {
    nodes.sort();
    nodes.dedup();
    let Some(epoch) = epochs::last(&state.store.read()?)?.and_then(|head| head.leaves_at) else { return Ok(Scores::new()) };
    let leaves = leaves::of_nodes(&state.store.hot.read()?, epoch, nodes)?;
    let scored = |state: ScoreState, score: u16| if state == ScoreState::Pending { 0 } else { score };
    let of = leaves.into_iter().map(|leaf| {
        let score = leaf.score;
        (leaf.node, (scored(score.state, score.score_hundredths), score.confidence_hundredths))
    });
    Ok(of.collect())
}

fn submission(node: &NodeEntry, examined: Examined, by_node: bool, scores: &Scores, took_ms: u32, batch: Option<[u8; 16]>) -> Submission {
    let (score_hundredths, confidence_hundredths) = scores.get(&node.index).copied().unwrap_or_default();
    Submission {
        node: node.index,
        id: node.id.clone(),
        examined,
        by_node,
        score_hundredths,
        confidence_hundredths,
        took_ms,
        batch,
        data: None,
    }
}

/// The verdicts. Who took another node's output is told to people before anybody is answered.
async fn judge(state: &AppState, submissions: Vec<Submission>, now: Now) -> Result<Vec<Judged>, ApiError> {
    let judged = state.store.outputs.judge(&state.store.hot, &submissions, now.wall).map_err(|error| match error {
        NotJudged::Full => ApiError::unavailable("OutputsFull", "more outputs came than can be kept apart; keep this one and try again"),
        NotJudged::Fault(fault) => fault.into(),
    })?;
    for one in &judged {
        let result = if one.proof.is_valid() { "valid" } else { "invalid" };
        state.metrics.count(Family::PootValidations, &[("result", result)]);
    }
    let copies: Vec<(NodeIndex, NodeIndex, String)> =
        judged.iter().filter_map(|one| Some((one.proof.node, one.owner?, hex(&one.proof.data)))).collect();
    if !copies.is_empty() {
        tell_of_copies(state, &copies, now).await?;
    }
    Ok(judged)
}

/// One alert for each two nodes.
async fn tell_of_copies(state: &AppState, copies: &[(NodeIndex, NodeIndex, String)], now: Now) -> Result<(), ApiError> {
    let mut told: BTreeMap<(String, String), String> = BTreeMap::new();
    for (node, owner, data) in copies {
        let (Some(node), Some(owner)) = (state.store.directory.by_index(*node), state.store.directory.by_index(*owner)) else { continue };
        told.entry((node.id.to_string(), owner.id.to_string())).or_insert_with(|| {
            format!("{} submitted an output that {} had submitted before (SHA-256 {data}…): one of them copies", node.name, owner.name)
        });
    }
    let raise = move |tx: &mut WriteTx<'_>| {
        for ((node, owner), message) in &told {
            let about = About { kind: IDENTICAL_OUTPUTS, subject: node, topic: Some(owner) };
            alerts::raise_about(tx, about, Severity::Warning, message, now.wall)?;
        }
        Ok(())
    };
    Ok(state.store.write(raise).await?)
}

/// What was said is on the disk when this returns; also when the client has gone.
async fn commit(state: &AppState, now: Now) -> Result<(), ApiError> {
    let store = Arc::clone(&state.store);
    let committed = tokio::spawn(async move { store.commit_outputs(now).await });
    Ok(committed.await.map_err(|_| ApiError::panicked())??)
}
