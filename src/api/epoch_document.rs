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
use crate::domain::epoch::Head;
use crate::domain::money::{Currency, Units};
use crate::domain::poot::{Params, ScoreState};
use crate::domain::proof::head::{SignedHead, TAG};
use crate::domain::proof::leaf::CommittedParams;
use crate::domain::refusal::Refusal;
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::leaves;
use crate::storage::proofs;

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
    pub params: CommittedParams,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// The newest epoch with leaves: this one, or the one before a gap.
    pub leaves_at: Option<u32>,
    /// Hex: root of the tree of the leaves; of an epoch before heads were signed, a hash of all of them.
    pub root: String,
    /// Hash of the head before, hex; zeros for the first.
    pub previous: String,
    /// Hash of this head, hex: the `previous` of the next one.
    pub hash: String,
    /// As it was signed; null in epochs before heads were.
    pub signed: Option<SignedHead>,
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
            params: head.params.into(),
            valid: head.counts.valid,
            pending: head.counts.pending,
            invalid: head.counts.invalid,
            leaves_at: head.leaves_at.map(|epoch| epoch.0),
            root: hex(&head.root),
            previous: hex(&head.previous),
            hash: hex(&head.hash().map_err(encoding)?),
            signed: head.signed(),
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

/// How the hash of the head is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HeadRecipe {
    pub algorithm: &'static str,
    /// What the hashed bytes begin with, before the NUL that ends it.
    pub domain_tag: &'static str,
    /// How what follows the tag is encoded.
    pub encoding: &'static str,
    /// Everything that is hashed, the tag included.
    #[schema(value_type = String, format = Byte)]
    pub bytes_base64: String,
}

const ALGORITHM: &str = "SHA-256";
const ENCODING: &str =
    "fields in order: integers big-endian and of fixed width, texts behind their length in two bytes, what may be absent behind 0 or 1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EpochHashes {
    /// Of `head.hash`; null in epochs before heads were signed.
    pub head: Option<HeadRecipe>,
    /// The next head names this one's hash; the newest one has no witness but its signature.
    pub head_matches: bool,
    /// Hex: the hashes of the leaves in node order, whose RFC 6962 root is `head.root`. Null where leaves or evidence are not kept any more, and in epochs before
    /// heads were signed.
    pub leaves: Option<Vec<String>>,
    /// The root, computed anew from what is stored, is the one of the head; null where nothing is left to compute it from.
    pub root_matches: Option<bool>,
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
    let hot = state.store.hot.read()?;
    let stood = proofs::standing(&state.store, &core, &hot, &head, &leaves)?.filter(|_| leaves_kept && !head.is_gap);
    let mut names = Names::new(&core);
    let views = leaves.iter().map(|leaf| LeafView::new(leaf, &head.params, &mut names)).collect::<Result<_, _>>()?;
    let recipe = head.signed().map(|signed| HeadRecipe {
        algorithm: ALGORITHM,
        domain_tag: TAG,
        encoding: ENCODING,
        bytes_base64: base64(&signed.head.bytes()),
    });
    Ok(EpochDocument {
        head: EpochHead::new(&head)?,
        leaves: views,
        leaves_kept,
        hashes: EpochHashes {
            head: recipe,
            head_matches: confirmed(&core, &head)?,
            leaves: stood
                .as_ref()
                .and_then(|stood| stood.tree.as_ref())
                .map(|tree| tree.hashes.leaves().iter().map(|hash| hex(hash)).collect()),
            root_matches: stood.map(|stood| stood.matches),
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
