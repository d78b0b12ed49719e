//! One closed epoch with everything it was computed from, so that anyone can compute it again.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::poot::pico;
use super::reads::{self, Names};
use super::score_parts::ScoreInputs;
use super::state::AppState;
use crate::crypto::{base64, hex};
use crate::domain::credits::{Epoch, Leaf, Payer};
use crate::domain::epoch::{self, HEAD_TAG, Head, LEAVES_TAG};
use crate::domain::money::{Currency, Units};
use crate::domain::poot::{Params, ScoreState};
use crate::domain::refusal::Refusal;
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::leaves;

/// The parameters, exactly as they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ExactParams {
    pub version: u16,
    pub window_slots: u16,
    pub max_age_slots: u16,
    pub min_observation_seconds: u32,
    pub min_score_hundredths: u16,
    pub output_weight_percent: u8,
    pub stability_weight_percent: u8,
    pub resources_weight_percent: u8,
    pub max_multiplier_hundredths: u16,
}

impl From<Params> for ExactParams {
    fn from(params: Params) -> ExactParams {
        ExactParams {
            version: params.version,
            window_slots: params.window_slots,
            max_age_slots: params.max_age_slots,
            min_observation_seconds: params.min_observation_seconds,
            min_score_hundredths: params.min_score_hundredths,
            output_weight_percent: params.output_weight_percent,
            stability_weight_percent: params.stability_weight_percent,
            resources_weight_percent: params.resources_weight_percent,
            max_multiplier_hundredths: params.max_multiplier_hundredths,
        }
    }
}

/// What is kept of the epoch for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EpochHead {
    /// Its first slot.
    pub epoch: u32,
    /// Inclusive.
    pub last_slot: u32,
    /// Of one epoch; a gap may span several.
    pub slots_per_epoch: u32,
    pub start: String,
    pub end: String,
    pub closed_at: String,
    /// The manager was away: nobody was observed.
    pub gap: bool,
    pub params: ExactParams,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// The newest epoch with leaves: this one, or the one before a gap.
    pub leaves_at: Option<u32>,
    /// Hex SHA-256.
    pub leaves_hash: String,
    /// Hash of the head before, hex; zeros for the first.
    pub previous: String,
    /// Hash of this head, hex: the `previous` of the next one.
    pub hash: String,
}

impl EpochHead {
    fn new(head: &Head) -> Result<EpochHead, Fault> {
        Ok(EpochHead {
            epoch: head.epoch.0,
            last_slot: head.last_slot.0,
            slots_per_epoch: head.slots_per_epoch,
            start: head.epoch.first_slot().start().rfc3339(),
            end: head.last_slot.end().rfc3339(),
            closed_at: head.closed_at.rfc3339(),
            gap: head.is_gap,
            params: ExactParams::from(head.params),
            valid: head.counts.valid,
            pending: head.counts.pending,
            invalid: head.counts.invalid,
            leaves_at: head.leaves_at.map(|epoch| epoch.0),
            leaves_hash: hex(&head.leaves_hash),
            previous: hex(&head.previous),
            hash: hex(&head.hash().map_err(encoding)?),
        })
    }
}

/// Who paid for a node's time, and at what price, in the epoch's first slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PayerView {
    pub pool_id: String,
    pub pool_name: String,
    pub cost_per_hour: String,
    /// What a node earns per hour at score 100 and multiplier 1.
    pub reward_per_hour: String,
    pub currency: Currency,
}

/// A node in the epoch: every input, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LeafView {
    pub node_id: String,
    /// The number that stands for the node in the hashed bytes.
    pub node_index: u32,
    pub node_name: String,
    /// Slots of the epoch that the node proved.
    pub proven: u16,
    /// Slots of the epoch in which it was observed.
    pub observed: u16,
    /// Over the window of the score.
    pub inputs: ScoreInputs,
    pub state: ScoreState,
    /// Exact, 0 to 100; a pending one does not count yet.
    pub score: String,
    /// Exact, 0 to 1.
    pub confidence: String,
    /// Before this epoch, floored to four decimals.
    pub multiplier: String,
    /// What the multiplier is made of, exact: slots of its growth.
    pub multiplier_grown_slots: u32,
    /// Null: the node was in no pool and earned nothing.
    pub payer: Option<PayerView>,
    /// Earned in the epoch, exact; while the score is pending, held until it is valid.
    pub accrual: String,
}

impl LeafView {
    fn new(leaf: &Leaf, params: &Params, names: &mut Names<'_>) -> Result<LeafView, Fault> {
        let node = names.node(leaf.node)?;
        let multiplier = Decimal::new(i64::from(leaf.multiplier.ten_thousandths(params)), 4);
        let currency = leaf.payer.map_or(Currency::Usdt, |payer| payer.pricing.currency);
        Ok(LeafView {
            node_id: node.id,
            node_index: leaf.node.0,
            node_name: node.name,
            proven: leaf.slots.proven,
            observed: leaf.slots.observed,
            inputs: ScoreInputs::from(&leaf.inputs),
            state: leaf.score.state,
            score: leaf.score.score().to_string(),
            confidence: leaf.score.confidence().to_string(),
            multiplier: multiplier.to_string(),
            multiplier_grown_slots: leaf.multiplier.grown_slots(),
            payer: leaf.payer.map(|payer| shown(&payer, names)).transpose()?,
            accrual: pico(leaf.accrual, currency)?,
        })
    }
}

fn shown(payer: &Payer, names: &mut Names<'_>) -> Result<PayerView, Fault> {
    let (pool, pricing) = (names.pool(payer.pool)?, payer.pricing);
    let text = |units: Units| units.to_decimal(pricing.currency).to_string();
    Ok(PayerView {
        pool_id: pool.id,
        pool_name: pool.name,
        cost_per_hour: text(pricing.cost_per_hour),
        reward_per_hour: text(pricing.reward_per_hour),
        currency: pricing.currency,
    })
}

/// How one hash is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HashRecipe {
    pub algorithm: &'static str,
    /// What the hashed bytes begin with, up to and with the NUL that ends it.
    pub domain_tag: &'static str,
    /// How what follows the tag is encoded.
    pub encoding: &'static str,
    /// Everything that is hashed, the tag included; null where it is not kept any more.
    #[schema(value_type = Option<String>, format = Byte)]
    pub bytes_base64: Option<String>,
    /// The hash of these bytes is the one of the head; null without bytes.
    pub matches: Option<bool>,
}

const ALGORITHM: &str = "SHA-256";
const ENCODING: &str = "postcard 1: fields in order, integers as varints (signed ones zigzag), bytes and booleans as one byte, arrays as they are, lists after \
    their length, options after 0 or 1, enums by number";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EpochHashes {
    /// Of `head.leaves_hash`: all leaves in node order.
    pub leaves: HashRecipe,
    /// Of `head.hash`: the head, `hash` left out.
    pub head: HashRecipe,
}

/// A closed epoch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EpochDocument {
    pub head: EpochHead,
    /// In node order. Empty in a gap, and when they are not kept any more.
    pub leaves: Vec<LeafView>,
    /// False: leaves of so long ago are not kept; their hash stays.
    pub leaves_kept: bool,
    pub hashes: EpochHashes,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DocumentQuery {
    /// `true`: a browser saves the document instead of showing it.
    download: Option<bool>,
}

/// A closed epoch with every input, and how its hashes are computed
#[utoipa::path(get, path = "/poot/epochs/{epoch}", tag = "poot", security(("access" = ["poot:read"])), params(("epoch" = u32, Path, description = "The epoch's first slot."), DocumentQuery),
    responses((status = 200, body = EpochDocument), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(state): State<AppState>,
    Path(epoch): Path<String>,
    Query(query): Query<DocumentQuery>,
) -> Result<Response, ApiError> {
    let epoch = epoch.parse().map(Epoch).map_err(|_| Refusal::EpochNotFound)?;
    // Thousands of leaves take their time to be written out too.
    let answer = reads::long(&state, move |state| Ok(Json(document(state, epoch)?).into_response())).await?;
    if query.download != Some(true) {
        return Ok(answer);
    }
    let name = format!("attachment; filename=\"lucid-epoch-{}.json\"", epoch.0);
    Ok(([(header::CONTENT_DISPOSITION, name)], answer).into_response())
}

fn document(state: &AppState, epoch: Epoch) -> Result<EpochDocument, ApiError> {
    let core = state.store.read()?;
    let head = epochs::by_epoch(&core, epoch)?.ok_or(Refusal::EpochNotFound)?;
    // A gap has none of its own.
    let leaves = if head.is_gap { Vec::new() } else { leaves::of_epoch(&state.store.hot.read()?, epoch)? };
    let leaves_kept = u32::try_from(leaves.len()) == Ok(head.counts.nodes());
    let leaves_bytes = epoch::leaves_hashed_bytes(&leaves).map_err(encoding)?;
    let matches = epoch::leaves_hash(&leaves).map_err(encoding)? == head.leaves_hash;
    let head_bytes = head.hashed_bytes().map_err(encoding)?;
    let mut names = Names::new(&core);
    let views = leaves.iter().map(|leaf| LeafView::new(leaf, &head.params, &mut names)).collect::<Result<_, _>>()?;
    let recipe = |domain_tag, bytes: Option<&[u8]>, matches| HashRecipe {
        algorithm: ALGORITHM,
        domain_tag,
        encoding: ENCODING,
        bytes_base64: bytes.map(base64),
        matches: bytes.map(|_| matches),
    };
    Ok(EpochDocument {
        head: EpochHead::new(&head)?,
        leaves: views,
        leaves_kept,
        hashes: EpochHashes {
            leaves: recipe(LEAVES_TAG, leaves_kept.then_some(&leaves_bytes), matches),
            // The hash of a head is of these very bytes; the next head confirms it.
            head: recipe(HEAD_TAG, Some(&head_bytes), confirmed(&core, &head)?),
        },
    })
}

/// The next head names this one's hash; the newest has no witness but itself.
fn confirmed(core: &impl crate::storage::table::Read, head: &Head) -> Result<bool, Fault> {
    let next = epochs::by_epoch(core, Epoch(head.next_slot().0))?;
    let hash = head.hash().map_err(encoding)?;
    Ok(next.is_none_or(|next| next.previous == hash))
}

fn encoding(error: postcard::Error) -> Fault {
    Fault::Invariant(error.to_string())
}
