//! Payouts and payout addresses. Planning, sending and tracking are the cycle's; here it is shown and nudged.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::{Caller, Principal};
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{OnOff, Order, descending, time, word};
use super::page::{Page, PageQuery, Pagination};
use super::payout_batches::batch_id;
use super::payout_export;
use super::reads::{self, Names};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::address::{AddressRecord, PayoutAddress};
use crate::domain::ledger::Settlement;
use crate::domain::money::Currency;
use crate::domain::paying::Payer;
use crate::domain::payout::{Payout, Priority, Status};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::scope::Scope;
use crate::domain::time::{Now, Timestamp};
use crate::live::Job;
use crate::storage::core::payouts::{Filter, SealedAddress};
use crate::storage::core::{audit, batches, payouts};
use crate::storage::fault::Fault;

/// Where a node is paid to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AddressView {
    pub address: String,
    pub currency: Currency,
    /// No payout goes there before.
    pub active_from: String,
    pub cooling_down: bool,
    pub changed_at: String,
}

impl AddressView {
    fn new(record: &AddressRecord, now: Now) -> AddressView {
        AddressView {
            address: record.address.to_string(),
            currency: record.address.currency(),
            active_from: record.active_from.rfc3339(),
            cooling_down: !record.is_active(now.wall),
            changed_at: record.changed_at.rfc3339(),
        }
    }
}

/// A node's payout address
#[utoipa::path(get, path = "/nodes/{id}/payout-address", tag = "payouts", security(("access" = ["payout:address"])), params(("id" = String, Path)), responses((status = 200, body = AddressView), (status = 404, description = "none is registered")))]
pub async fn address(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<AddressView>, ApiError> {
    let node = reads::node(&state, &id)?;
    let record = payouts::address(&state.store.read()?, &state.store.secrets, node.index)?.ok_or(Refusal::AddressNotFound)?;
    Ok(Json(AddressView::new(&record, state.now())))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAddress {
    pub address: String,
    /// Default: USDT. LUCID is paid by a payment service that is said to pay it (`tron_payment.pays_lucid`), and only when somebody asks: in a batch, or in a schedule
    /// that lists its payouts. Elsewhere it is kept.
    #[serde(default = "usdt")]
    #[schema(value_type = Option<Currency>)]
    pub currency: Currency,
}

fn usdt() -> Currency {
    Currency::Usdt
}

/// Register a node's payout address
///
/// A changed address waits before it is used; the same one again changes nothing. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(put, path = "/nodes/{id}/payout-address", tag = "payouts", security(("access" = ["payout:address"])), params(("id" = String, Path)), request_body = NewAddress, extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = AddressView), (status = 400, description = "not an address that can be paid"), (status = 403, body = ErrorBody)))]
pub async fn set_address(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    new: Unchecked<NewAddress>,
) -> Result<Json<AddressView>, ApiError> {
    let node = reads::node(&state, &id)?;
    let (address, currency) = new.check(|new, errors| (payable(&new, &state.payer, errors), new.currency))?;
    let Some(address) = address else { return Err(ApiError::panicked()) };
    let now = state.now();
    if !now.trusted {
        // The wait would count from a time that nobody vouches for.
        return Err(Refusal::ClockUntrusted.into());
    }
    let fresh = AddressRecord::register(None, address, now, state.settings().address_cooldown_hours);
    let store = &state.store;
    let sealed = SealedAddress::seal(&store.secrets, &store.entropy, node.index, &fresh)?;
    let remark = format!("{currency} address {}", fresh.address.masked());
    let draft = caller.act(now).draft("payout_address.set", node.id.as_str()).because(remark);
    let secrets = store.secrets.clone();
    let record = store.write(move |tx| payouts::register_address(tx, &secrets, &node.id, &fresh, &sealed, draft.clone())).await?;
    Ok(Json(AddressView::new(&record, now)))
}

fn payable(new: &NewAddress, payer: &Payer, errors: &mut FieldErrors) -> Option<PayoutAddress> {
    let parsed = PayoutAddress::parse(new.address.trim(), new.currency);
    let checked = parsed.and_then(|address| address.check_payable(&payer.own_wallets, &payer.pin.contract).map(|()| address));
    checked.map_err(|why| errors.add("address", why.to_string())).ok()
}

/// A payout to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PayoutView {
    pub payout_id: String,
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "node_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    pub node_id: String,
    pub node_name: String,
    /// Exact.
    #[schema(pattern = r"^[0-9]+(\.[0-9]{1,8})?$", example = "12.5")]
    pub amount: String,
    pub currency: Currency,
    /// Viewers see its end only.
    pub wallet_address: String,
    pub status: Status,
    pub priority: Priority,
    /// The batch that it is one of.
    pub batch_id: Option<String>,
    /// When that batch was to be planned, where it was not at once.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub scheduled_at: Option<String>,
    /// `simulated`: no money moves.
    pub settlement: Settlement,
    /// Why it waits for a person.
    pub review_reason: Option<String>,
    pub transaction_hash: Option<String>,
    pub attempts: u32,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub created_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub updated_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub completed_at: Option<String>,
    /// Why it failed or was cancelled.
    pub error_message: Option<String>,
}

impl PayoutView {
    pub fn new(payout: &Payout, names: &mut Names<'_>, shows_address: bool) -> Result<PayoutView, Fault> {
        let wallet_address = if shows_address { payout.address.to_string() } else { payout.address.masked() };
        let (node, batch) = (names.node(payout.node)?, names.batch(payout.seq)?);
        Ok(PayoutView {
            payout_id: payout.id.to_string(),
            node_id: node.id,
            node_name: node.name,
            amount: payout.amount.to_decimal(payout.book.currency).to_string(),
            currency: payout.book.currency,
            wallet_address,
            status: payout.status(),
            priority: payout.priority,
            batch_id: batch.as_ref().map(|batch| batch.id.to_string()),
            scheduled_at: batch.and_then(|batch| batch.scheduled_at).map(Timestamp::rfc3339),
            settlement: payout.book.settlement,
            review_reason: payout.review_reason().map(str::to_owned),
            transaction_hash: payout.txid().map(str::to_owned),
            attempts: payout.next_attempt() - 1,
            created_at: payout.created_at.rfc3339(),
            updated_at: payout.updated_at.rfc3339(),
            completed_at: payout.completed_at().map(Timestamp::rfc3339),
            error_message: payout.error_message().map(str::to_owned),
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutList {
    pub payouts: Vec<PayoutView>,
    pub pagination: Pagination,
}

/// Payouts of a node, newest first
#[utoipa::path(get, path = "/nodes/{id}/payouts", tag = "payouts", security(("access" = ["payout:read"])), params(("id" = String, Path), PageQuery), responses((status = 200, body = PayoutList)))]
pub async fn of_node(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    page: Page,
) -> Result<Json<PayoutList>, ApiError> {
    let node = reads::node(&state, &id)?.index;
    list(&state, &caller, Filter { node: Some(node), ..Filter::default() }, page).await
}

/// Payouts of a node, newest first: the same as `/nodes/{id}/payouts`
#[utoipa::path(get, path = "/payouts/{node_id}", tag = "payouts", security(("access" = ["payout:read"])), params(("node_id" = String, Path), PageQuery), responses((status = 200, body = PayoutList)))]
pub async fn of_node_flat(state: State<AppState>, caller: Caller, id: Path<String>, page: Page) -> Result<Json<PayoutList>, ApiError> {
    of_node(state, caller, id, page).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PayoutQuery {
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    /// Payouts to this node only; 404 when there is none of this id.
    node_id: Option<String>,
    #[param(value_type = Option<Settlement>)]
    settlement: Option<String>,
    #[param(value_type = Option<Currency>)]
    currency: Option<String>,
    /// Planned at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Planned before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Payouts of this batch only; 404 when there is none of this id.
    batch_id: Option<String>,
    /// Whether they wait for a person.
    #[param(value_type = Option<bool>)]
    review: Option<String>,
    /// `json`, the default: a page.
    #[param(value_type = Option<Format>)]
    format: Option<String>,
    /// When they were planned is the only order there is.
    #[param(value_type = Option<Sort>)]
    sort: Option<String>,
    /// Descending unless it says otherwise.
    #[param(value_type = Option<Order>)]
    order: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutExportFormat)]
pub enum Format {
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutSort, default = "created_at")]
pub enum Sort {
    CreatedAt,
}

/// All payouts, newest first unless `order` says otherwise
///
/// With `format=csv`, all that fit as a file, oldest first, whatever page is asked for; an answer that breaks off was not complete. Cells that a spreadsheet would take
/// for a formula begin with an apostrophe. The export is recorded.
#[utoipa::path(get, path = "/nodes/payouts/history", tag = "payouts", security(("access" = ["payout:read"])), params(PageQuery, PayoutQuery),
    responses((status = 200, description = "a page, or a file", content((PayoutList = "application/json"), (String = "text/csv"))), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 503, description = "other exports are running", body = ErrorBody)))]
pub async fn history(
    State(state): State<AppState>,
    caller: Caller,
    page: Page,
    Query(query): Query<PayoutQuery>,
) -> Result<Response, ApiError> {
    let mut errors = FieldErrors::default();
    let filter = Filter {
        status: word(&mut errors, "status", query.status.as_deref(), "pending, processing, completed, failed or cancelled"),
        settlement: word(&mut errors, "settlement", query.settlement.as_deref(), "live or simulated"),
        currency: word(&mut errors, "currency", query.currency.as_deref(), "USDT or LUCID"),
        from: time(&mut errors, "from", query.from.as_deref()),
        to: time(&mut errors, "to", query.to.as_deref()),
        in_review: word(&mut errors, "review", query.review.as_deref(), "true or false").map(|on: OnOff| on == OnOff::True),
        oldest_first: !descending(&mut errors, query.order.as_deref(), Order::Desc),
        ..Filter::default()
    };
    errors.require(filter.from.zip(filter.to).is_none_or(|(from, to)| from < to), "from", "must be before to");
    let _: Option<Sort> = word(&mut errors, "sort", query.sort.as_deref(), "created_at");
    let format = word(&mut errors, "format", query.format.as_deref(), "json or csv").unwrap_or(Format::Json);
    errors.finish()?;
    let node = match &query.node_id {
        Some(id) => Some(reads::node(&state, id)?.index),
        None => None,
    };
    let seqs = match &query.batch_id {
        Some(id) => {
            let batch = batches::by_id(&state.store.read()?, &batch_id(id)?)?.ok_or(Refusal::BatchNotFound)?;
            Some((batch.payouts().start, batch.payouts().end))
        }
        None => None,
    };
    let filter = Filter { node, seqs, ..filter };
    match format {
        Format::Json => Ok(list(&state, &caller, filter, page).await?.into_response()),
        Format::Csv => payout_export::csv(state, caller, filter).await,
    }
}

async fn list(state: &AppState, caller: &Caller, filter: Filter, page: Page) -> Result<Json<PayoutList>, ApiError> {
    let shows_address = shows_address(caller);
    reads::long(state, move |state| {
        let read = state.store.read()?;
        let (rows, total) = payouts::page(&read, filter, page.offset(), page.limit())?;
        let mut names = Names::new(&read);
        let payouts = rows.iter().map(|payout| PayoutView::new(payout, &mut names, shows_address)).collect::<Result<_, _>>()?;
        Ok(Json(PayoutList { payouts, pagination: page.of_rows(total) }))
    })
    .await
}

pub(super) fn shows_address(caller: &Caller) -> bool {
    match caller.principal {
        Principal::Node { .. } => true,
        _ => caller.may(Scope::PayoutAddress),
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Nudged {
    pub nudged: bool,
}

/// Run a payout cycle now
///
/// The cycle keeps its guards: thresholds, frequency, waits. This only spares the time until it would run by itself.
#[utoipa::path(post, path = "/payouts/process", tag = "payouts", security(("access" = ["payout:process"])), responses((status = 202, body = Nudged)))]
pub async fn process(State(state): State<AppState>, caller: Caller) -> Result<(StatusCode, Json<Nudged>), ApiError> {
    let draft = caller.act(state.now()).draft("payouts.process", "");
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    state.nudges.nudge(Job::Payouts);
    Ok((StatusCode::ACCEPTED, Json(Nudged { nudged: true })))
}
