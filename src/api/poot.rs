//! Proof of operational time: the score of a node, what it is made of, and the epochs.

use std::collections::BTreeMap;

use axum::extract::State;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use super::error::ApiError;
use super::json::{Json, Path};
use super::output_records::last_valid;
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::score_parts::Explanation;
use super::state::AppState;
use super::suspensions::SuspensionView;
use super::votes::NodeVote;
use crate::domain::credits::Leaf;
use crate::domain::epoch::Head;
use crate::domain::evidence::SlotState;
use crate::domain::money::{Currency, Pico};
use crate::domain::poot::{Params, Ratio, ScoreState};
use crate::domain::time::Slot;
use crate::storage::core::epochs;
use crate::storage::fault::Fault;
use crate::storage::hot::leaves;
use crate::storage::present::{self, Standing, Standings};

const SECONDS_PER_SLOT: u32 = 30;
/// Slots of the uptime strip: the last hour.
const RECENT_SLOTS: u32 = 120;

/// The score as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PootSummary {
    pub state: ScoreState,
    /// 0 to 100; null while it is pending.
    pub score: Option<f64>,
    /// 0 to 1.
    pub confidence: f64,
    /// Observed so far, the present slot included.
    pub observed_seconds: u32,
    /// Observed time from which the score counts.
    pub required_seconds: u32,
}

impl PootSummary {
    pub fn of(standing: &Standing, params: &Params) -> PootSummary {
        let score = standing.leaf.map(|leaf| leaf.score);
        PootSummary {
            state: score.map_or(ScoreState::Pending, |s| s.state),
            score: score.filter(|s| s.state != ScoreState::Pending).map(|s| number(s.score())),
            confidence: score.map_or(0.0, |s| number(s.confidence())),
            observed_seconds: standing.observed_slots * SECONDS_PER_SLOT,
            required_seconds: params.min_observation_seconds,
        }
    }
}

/// A small decimal as a JSON number.
pub fn number(decimal: Decimal) -> f64 {
    decimal.to_f64().unwrap_or_default()
}

/// With four decimals; None of nothing.
pub fn fraction(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| (f64::from(part) / f64::from(whole) * 10_000.0).round() / 10_000.0)
}

/// Before weights, 0 to 1; null where nothing is known yet.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Factors {
    pub uptime: Option<f64>,
    pub output: Option<f64>,
    pub stability: Option<f64>,
    pub resources: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CurrentSlot {
    pub slot: u32,
    pub proven: bool,
    pub ends_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecentSlot {
    pub slot: u32,
    pub state: SlotState,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PootScore {
    pub node_id: String,
    #[serde(flatten)]
    pub summary: PootSummary,
    pub validation_status: ScoreState,
    /// When the epoch of the score was closed.
    pub calculated_at: Option<String>,
    /// Hash of the last valid output.
    pub output_hash: Option<String>,
    /// Slots that the score is made of; before the first score, slots so far.
    pub proven_slots: u32,
    pub observed_slots: u32,
    pub factors: Factors,
    /// What credits are multiplied with from the next epoch on.
    pub multiplier: f64,
    /// Lowest valid score.
    pub min_score: f64,
    pub current_slot: CurrentSlot,
    /// The last 120 slots, oldest first, the present one included.
    pub recent_slots: Vec<RecentSlot>,
    /// The last vote on this node that the chain answered.
    pub vote: Option<NodeVote>,
    /// While an admin has taken the node out of service: none of its slots counts.
    pub suspension: Option<SuspensionView>,
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// The score of a node and what it is made of
#[utoipa::path(get, path = "/nodes/{id}/poot/score", tag = "poot", security(("access" = ["poot:read"])), params(("id" = String, Path)), responses((status = 200, body = PootScore)))]
pub async fn score(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<PootScore>, ApiError> {
    let node = reads::node(&state, &id)?.index;
    let now = state.now();
    let standings = Standings::load(&state.store, &[node], state.settings().poot, now)?;
    let (standing, params) = (standings.of(node), standings.params);
    let present = now.wall.slot();
    let states = present::slot_states(&state.store, node, present.minus(RECENT_SLOTS - 1), present.plus(1), now)?;
    let summary = PootSummary::of(&standing, &params);
    let window = standing.leaf.map(|leaf| leaf.inputs.window);
    let (proven_slots, observed_slots) =
        window.map_or((standing.proven_slots, standing.observed_slots), |w| (u32::from(w.proven), u32::from(w.observed)));
    let proven = states.last().is_some_and(|(_, state)| *state == SlotState::Proven);
    Ok(Json(PootScore {
        node_id: id.to_string(),
        validation_status: summary.state,
        summary,
        calculated_at: standing.leaf.and(standings.scored_at).map(|at| at.rfc3339()),
        output_hash: last_valid(&state.store, node)?,
        proven_slots,
        observed_slots,
        factors: factors(standing.leaf.as_ref(), proven_slots, observed_slots),
        multiplier: standing.leaf.map_or(1.0, |leaf| multiplier(&leaf, &params)),
        min_score: f64::from(params.min_score_hundredths) / 100.0,
        current_slot: CurrentSlot { slot: present.0, proven, ends_at: present.end().rfc3339() },
        recent_slots: states.into_iter().map(|(Slot(slot), state)| RecentSlot { slot, state }).collect(),
        vote: NodeVote::of(&state.store, node)?,
        suspension: SuspensionView::open(&state.store, node)?,
        explanation: Explanation::of(&state.store, node, &standings)?,
    }))
}

fn factors(leaf: Option<&Leaf>, proven: u32, observed: u32) -> Factors {
    let found = leaf.map(|leaf| leaf.inputs.factors());
    let show = |ratio: Ratio| fraction(ratio.part, ratio.whole).unwrap_or_default();
    Factors {
        uptime: fraction(proven, observed),
        output: found.filter(|_| leaf.is_some_and(|leaf| leaf.inputs.outputs_expected)).map(|f| show(f.output)),
        stability: found.map(|f| show(f.stability)),
        resources: found.filter(|_| leaf.is_some_and(|leaf| leaf.inputs.samples > 0)).map(|f| show(f.resources)),
    }
}

fn multiplier(leaf: &Leaf, params: &Params) -> f64 {
    f64::from(leaf.multiplier.after(leaf.slots, &leaf.inputs).ten_thousandths(params)) / 10_000.0
}

/// Credits as text, exact.
pub fn pico(amount: Pico, currency: Currency) -> Result<String, Fault> {
    let exact = amount.to_decimal(currency).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
    Ok(exact.to_string())
}

/// A closed epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EpochView {
    /// Its first slot.
    pub epoch: u32,
    pub first_slot: u32,
    /// Inclusive.
    pub last_slot: u32,
    pub start: String,
    pub end: String,
    pub closed_at: String,
    pub nodes: u32,
    pub valid: u32,
    pub pending: u32,
    pub invalid: u32,
    /// What all nodes earned in it, in USDT.
    pub accrued: String,
    /// The same in LUCID, where pools pay in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accrued_lucid: Option<String>,
    /// The manager was away: nobody was observed.
    pub gap: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EpochList {
    pub epochs: Vec<EpochView>,
    pub pagination: Pagination,
}

/// Closed epochs, newest first
#[utoipa::path(get, path = "/poot/epochs", tag = "poot", security(("access" = ["poot:read"])), params(PageQuery), responses((status = 200, body = EpochList)))]
pub async fn epochs(State(state): State<AppState>, page: Page) -> Result<Json<EpochList>, ApiError> {
    reads::long(&state, move |state| {
        let core = state.store.read()?;
        let heads = epochs::page(&core, page.offset(), page.limit())?;
        let hot = state.store.hot.read()?;
        let mut views = Vec::with_capacity(heads.len());
        for head in heads {
            let leaves = if head.is_gap { Vec::new() } else { leaves::of_epoch(&hot, head.epoch)? };
            views.push(epoch_view(&head, &leaves)?);
        }
        Ok(Json(EpochList { epochs: views, pagination: page.of(epochs::count(&core)?) }))
    })
    .await
}

pub fn epoch_view(head: &Head, leaves: &[Leaf]) -> Result<EpochView, Fault> {
    let mut accrued: BTreeMap<Currency, Pico> = BTreeMap::new();
    for leaf in leaves {
        if let Some(payer) = leaf.payer {
            let sum = accrued.entry(payer.pricing.currency).or_default();
            *sum = sum.plus(leaf.accrual).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
        }
    }
    let of = |currency| accrued.get(&currency).map(|sum| pico(*sum, currency)).transpose();
    let counts = head.counts;
    Ok(EpochView {
        epoch: head.epoch.0,
        first_slot: head.epoch.0,
        last_slot: head.last_slot.0,
        start: head.epoch.first_slot().start().rfc3339(),
        end: head.last_slot.end().rfc3339(),
        closed_at: head.closed_at.rfc3339(),
        nodes: counts.nodes(),
        valid: counts.valid,
        pending: counts.pending,
        invalid: counts.invalid,
        accrued: of(Currency::Usdt)?.unwrap_or_else(|| "0".to_owned()),
        accrued_lucid: of(Currency::Lucid)?,
        gap: head.is_gap,
    })
}
