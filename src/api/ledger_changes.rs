//! What an admin does to the ledger: corrects a balance, and has the books checked.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::{RawAmount, reason};
use super::json::Json;
use super::ledger::PostingView;
use super::nodes::published;
use super::reads::{self, Names};
use super::state::AppState;
use super::{Caller, Unchecked};
use crate::domain::ids::NodeId;
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::{Amount, Currency, Units};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::user::Role;
use crate::live::Change;
use crate::storage::archive;
use crate::storage::core::ledger;
use crate::storage::core::ledger_check::{self, Depth};
use crate::storage::core::ledger_entries::{self, MAX_COINS, Order};

/// Reads an amount that an admin enters: exact, and not beyond `MAX_COINS`.
pub(super) fn entered(errors: &mut FieldErrors, amount: &RawAmount, currency: Currency, may_be_negative: bool) -> Units {
    let most = Units(MAX_COINS.saturating_mul(10i64.saturating_pow(currency.decimals())));
    match amount.parse(currency) {
        Ok(Amount { units, .. }) => {
            let fits = units.0.unsigned_abs() <= most.0.unsigned_abs() && units != Units::ZERO && (may_be_negative || units > Units::ZERO);
            let least = if may_be_negative { "-1000000, without 0" } else { "the smallest unit" };
            errors.require(fits, "amount", format!("must be from {least} to 1000000"));
            units
        }
        Err(why) => {
            errors.add("amount", why.to_string());
            Units::ZERO
        }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentRequest {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    node_id: String,
    /// Number or string, exact: more than nothing is owed more, less is owed less.
    #[schema(value_type = String, format = "decimal", example = "-1.5")]
    amount: RawAmount,
    currency: Currency,
    /// Absent: the one in force.
    settlement: Option<Settlement>,
    /// Kept in the ledger in clear for good: name no people, no erasure reaches it.
    #[schema(min_length = 3, max_length = 500, example = "power cut on 3 September, by agreement")]
    reason: String,
}

/// Correct what a node is owed
///
/// Posted at once, in one book. What would take more than the free balance is refused (422 `AdjustmentTooLarge`, which names it). What the node has earned and is not posted yet does not count.
/// For people whose session was confirmed within the last minutes (`FreshFactorNeeded`), never for programs.
#[utoipa::path(post, path = "/ledger/adjustments", tag = "ledger", security(("access" = ["payout:process"])), request_body = AdjustmentRequest,
    extensions(("x-fresh-factor" = json!(true))),
    responses((status = 201, body = PostingView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn adjust(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<AdjustmentRequest>,
) -> Result<(StatusCode, Json<PostingView>), ApiError> {
    let in_force = state.payer.settlement;
    let (node, book, amount, reason) = asked.check(|asked, errors| {
        let node = NodeId::parse(&asked.node_id).map_err(|why| errors.add("node_id", why.to_string()));
        let amount = entered(errors, &asked.amount, asked.currency, true);
        let book = Book { settlement: asked.settlement.unwrap_or(in_force), currency: asked.currency };
        (node, book, amount, reason(errors, &asked.reason))
    })?;
    let node = node.map_err(|()| Refusal::NodeNotFound)?;
    let (by, _) = caller.person(Role::Admin)?;
    let (act, order, id) = (caller.act(state.now()), Order { by, reason }, node.clone());
    let verb = move |tx: &mut crate::storage::table::WriteTx<'_>| ledger_entries::adjust(tx, &act, &order, &id, book, amount);
    let posting = state.store.write_money(verb).await;
    let posting = posting
        .map_err(ApiError::naming([(Refusal::NodeNotFound, "node_id"), (Refusal::Rule("AdjustmentTooLarge", String::new()), "amount")]))?;
    published(&state, &node, Change::Updated);
    let read = state.store.read()?;
    Ok((StatusCode::CREATED, Json(PostingView::new(&posting, &mut Names::new(&read))?)))
}

/// What a check of the books found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LedgerCheck {
    /// Postings that were replayed.
    postings: u64,
    /// What does not add up; null when everything does.
    wrong: Option<String>,
    /// Why payouts are stopped; null when they are not, or no longer.
    latched: Option<String>,
}

/// Check the books
///
/// Replays every posting, as `verify --full` does, and compares all that is kept beside them. When everything adds up, payouts that books had stopped may go on. When something does not,
/// they are stopped.
#[utoipa::path(post, path = "/ledger/check", tag = "ledger", security(("access" = ["payout:process"])), extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = LedgerCheck), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn check(State(state): State<AppState>, caller: Caller) -> Result<Json<LedgerCheck>, ApiError> {
    let (found, latch) = reads::long(&state, |state| {
        let read = state.store.read()?;
        let replayed = ledger_check::verify_with(&read, Depth::Full, Some(&archive::folder(&state.store)));
        let found = replayed.map_or_else(|fault| Err(fault.to_string()), |found| found.wrong.map_or(Ok(found.postings), Err));
        Ok((found, ledger::latch(&read)?))
    })
    .await?;
    let (act, now) = (caller.act(state.now()), state.now());
    match (&found, latch) {
        (Ok(_), Some(latch)) => drop(state.store.write_money(move |tx| ledger::clear_latch(tx, &act, &latch)).await?),
        (Ok(_), None) => (),
        (Err(wrong), _) => {
            let why = wrong.clone();
            state.store.write_money(move |tx| ledger::set_latch(tx, &why, now)).await?;
        }
    }
    let latched = ledger::latched(&state.store.read()?)?;
    let postings = *found.as_ref().unwrap_or(&0);
    Ok(Json(LedgerCheck { postings, wrong: found.err(), latched }))
}
