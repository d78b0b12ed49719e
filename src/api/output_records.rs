//! Submitted outputs as they are shown: the verdict on one, a node's list, its months.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{OnOff, word};
use super::page::{Page, PageQuery, Pagination};
use super::reads;
use super::state::AppState;
use crate::crypto::{base64, hex};
use crate::domain::archive::Kind;
use crate::domain::ids::NodeIndex;
use crate::domain::output::{Proof, ProofMonth, Wrong};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::statement::Month;
use crate::domain::validation::Validation;
use crate::storage::Store;
use crate::storage::core::archives;
use crate::storage::fault::Fault;
use crate::storage::hot::outputs as log;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ValidationList {
    pub validations: Vec<Validation>,
    pub pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ValidationQuery {
    #[param(value_type = Option<bool>)]
    is_valid: Option<String>,
}

/// The outputs of a node, newest first
///
/// Those that are in no archive: of `retention.validations_months` and the present month.
#[utoipa::path(get, path = "/nodes/{id}/poot/validations", tag = "poot", security(("access" = ["poot:read"])), params(("id" = String, Path), PageQuery, ValidationQuery),
    responses((status = 200, body = ValidationList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn list(
    State(state): State<AppState>,
    Path(id): Path<String>,
    page: Page,
    Query(query): Query<ValidationQuery>,
) -> Result<Json<ValidationList>, ApiError> {
    let mut errors = FieldErrors::default();
    let wanted: Option<OnOff> = word(&mut errors, "is_valid", query.is_valid.as_deref(), "true or false");
    errors.finish()?;
    let node = reads::node(&state, &id)?;
    reads::long(&state, move |state| {
        let fits = |proof: &Proof| wanted.is_none_or(|wanted| (wanted == OnOff::True) == proof.is_valid());
        // Memory first: what a write moves meanwhile is then found twice, and never missed.
        let pending = state.store.outputs.pending(node.index);
        let hot = state.store.hot.read()?;
        let newest = archives::newest(&state.store.read()?, Kind::Outputs)?;
        let archived = newest.as_ref().map_or(0, |newest| newest.last);
        let oldest = newest.and_then(|newest| Month::parse(&newest.period)).map_or(Month(0), Month::next);
        let counted = |month: &ProofMonth| match wanted {
            None => month.count,
            Some(OnOff::True) => month.valid,
            Some(OnOff::False) => month.count - month.valid,
        };
        let months = log::months(&hot, node.index)?;
        let stored: u64 = months.iter().filter(|(month, _)| *month >= oldest).map(|(_, month)| u64::from(counted(month))).sum();
        let mut waiting = Vec::new();
        for (number, proof) in pending.into_iter().filter(|(_, proof)| fits(proof)) {
            if log::by_number(&hot, number)?.is_none_or(|stored| stored != proof) {
                waiting.push((number, proof));
            }
        }
        let total = stored + waiting.len() as u64;
        let mut rows = waiting.into_iter().map(|(number, proof)| Validation::of(node.id.as_str(), number, &proof)).collect::<Vec<_>>();
        // Not beyond the last one: who looked for more would read the whole log.
        let end = page.offset().saturating_add(page.limit()).min(usize::try_from(total).unwrap_or(usize::MAX));
        if page.offset() < usize::try_from(total).unwrap_or(usize::MAX) && rows.len() < end {
            log::for_each_back(&hot, |number, proof| {
                if number <= archived {
                    return ControlFlow::Break(());
                }
                if proof.node == node.index && fits(proof) {
                    rows.push(Validation::of(node.id.as_str(), number, proof));
                }
                if rows.len() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        let validations = rows.into_iter().skip(page.offset()).take(page.limit()).collect();
        Ok(Json(ValidationList { validations, pagination: page.of(total) }))
    })
    .await
}

/// An output as it was submitted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = KeptOutput)]
pub struct OutputView {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$")]
    pub node_id: String,
    #[schema(format = "uuid")]
    pub validation_id: String,
    /// Base64 with padding.
    #[schema(example = "c2l4dGVlbiBieXRlcyBvciBtb3Jl")]
    pub output_data: String,
}

/// A submitted output itself
///
/// Where `poot.keep_outputs_mb` says that outputs are kept; the oldest go first. What was no base64, or more than 1 MB, is never kept.
#[utoipa::path(get, path = "/nodes/{id}/poot/validations/{validation_id}/output", tag = "poot", security(("access" = ["poot:read"])),
    params(("id" = String, Path), ("validation_id" = String, Path, format = "uuid")),
    responses((status = 200, body = OutputView), (status = 404, description = "no such node (`NodeNotFound`), or the output is not kept (`OutputNotKept`)", body = ErrorBody)))]
pub async fn output(
    State(state): State<AppState>,
    Path((id, validation_id)): Path<(String, String)>,
) -> Result<Json<OutputView>, ApiError> {
    let node = reads::node(&state, &id)?;
    let asked = uuid::Uuid::parse_str(&validation_id).map_err(|_| Refusal::OutputNotKept)?;
    reads::long(&state, move |state| {
        let kept = state.store.outputs.kept(&state.store.hot, asked.as_bytes())?;
        let kept = kept.filter(|kept| kept.node == node.index).ok_or(Refusal::OutputNotKept)?;
        let (node_id, validation_id) = (node.id.to_string(), asked.to_string());
        Ok(Json(OutputView { node_id, validation_id, output_data: base64(&kept.data) }))
    })
    .await
}

/// The outputs of a node in one month.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ValidationMonth {
    #[schema(example = "2026-09")]
    pub month: String,
    pub count: u32,
    pub valid: u32,
    /// Answered challenges.
    pub counted: u32,
    /// How often each check failed.
    #[schema(example = json!({ "hash_mismatch": 1 }))]
    pub errors: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ValidationMonths {
    pub months: Vec<ValidationMonth>,
    pub pagination: Pagination,
}

/// The outputs of a node by month, newest first
///
/// Kept for ever, also when the outputs themselves are not listed any more. What came within the last minutes may be missing.
#[utoipa::path(get, path = "/nodes/{id}/poot/validations/months", tag = "poot", security(("access" = ["poot:read"])), params(("id" = String, Path), PageQuery),
    responses((status = 200, body = ValidationMonths), (status = 404, body = ErrorBody)))]
pub async fn months(State(state): State<AppState>, Path(id): Path<String>, page: Page) -> Result<Json<ValidationMonths>, ApiError> {
    let node = reads::node(&state, &id)?;
    let months = log::months(&state.store.hot.read()?, node.index)?.into_iter().map(month_view).collect();
    let (months, pagination) = page.slice(months);
    Ok(Json(ValidationMonths { months, pagination }))
}

fn month_view((month, sums): (Month, ProofMonth)) -> ValidationMonth {
    let code = |number: u8| Wrong::ALL.iter().find(|wrong| wrong.number() == number).map(|wrong| wrong.code());
    let errors = sums.wrongs.iter().filter_map(|(number, count)| Some((code(*number)?, *count))).collect();
    ValidationMonth { month: month.to_string(), count: sums.count, valid: sums.valid, counted: sums.counted, errors }
}

/// The hash of the node's last valid output.
pub fn last_valid(store: &Store, node: NodeIndex) -> Result<Option<String>, Fault> {
    let waiting = store.outputs.pending(node).into_iter().find(|(_, proof)| proof.is_valid());
    if let Some((_, proof)) = waiting {
        return Ok(Some(hex(&proof.output_hash)));
    }
    let months = log::months(&store.hot.read()?, node)?;
    Ok(months.iter().find_map(|(_, month)| month.last_valid).map(|hash| hex(&hash)))
}
