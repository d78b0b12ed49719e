//! Statements: what a month was for a node, as JSON and as a table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::auth::Caller;
use super::chunks::{Chunks, cell};
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::word;
use super::page::{Page, PageQuery, Pagination};
use super::poot::pico;
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::{Currency, Overflow, Units};
use crate::domain::poot::Params;
use crate::domain::refusal::FieldErrors;
use crate::domain::span::Span;
use crate::domain::statement::{Month, Statement};
use crate::storage::core::{audit, epochs, statements};
use crate::storage::fault::Fault;
use crate::storage::spans;

/// Rows of a table sent at once.
const PIECE: usize = 500;
/// Pieces that wait for a slow client.
const WAITING: usize = 2;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// One month of one node in one book. opening + earned + rewards + adjustments - paid - forfeited - (what `reserved` grew by) = closing.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Statement)]
pub struct StatementView {
    #[schema(example = "2026-09")]
    month: String,
    node_id: String,
    name: String,
    settlement: Settlement,
    currency: Currency,
    /// Owed and free when the month began: carried over.
    opening: String,
    /// By work whose last epoch is in the month; what was held while a score was pending belongs to the month that decided it.
    earned: String,
    /// What the pool kept of its price for the same operational time (cost per hour less reward per hour), floored to the smallest unit once. Owed to nobody, and in no sum.
    commission: String,
    rewards: String,
    /// Can be negative.
    adjustments: String,
    /// Promised to payouts when the month ended.
    reserved: String,
    /// What that grew by over the month; can be negative.
    reserved_change: String,
    /// What left for the node, transfers that nobody had planned among it.
    paid: String,
    /// Of `paid`: what nobody had planned.
    unplanned: String,
    forfeited: String,
    /// Network fees of its payouts, in sun: the operator's expense.
    fees_sun: u64,
    /// Work credits of the month: hours of operation times score and multiplier, whatever the pool paid for them. Null where nothing is kept of it.
    #[schema(example = "702.5")]
    credits: Option<String>,
    /// What credits were multiplied with at its end, or now.
    multiplier: Option<f64>,
    /// Owed and free when the month ended, or now; below zero when more left the wallet for it than was owed.
    closing: String,
}

impl StatementView {
    fn new(statement: &Statement, work: &Work, names: &mut Names<'_>) -> Result<StatementView, Fault> {
        let Statement { book: Book { settlement, currency }, totals, .. } = statement;
        let text = |units: Units| units.to_decimal(*currency).to_string();
        let sum = |units: Result<Units, Overflow>| units.map(text).map_err(|why| Fault::Invariant(why.to_string()));
        let node = names.node(statement.node)?;
        Ok(StatementView {
            month: statement.month.to_string(),
            node_id: node.id,
            name: node.name,
            settlement: *settlement,
            currency: *currency,
            opening: text(statement.opening),
            earned: text(totals.earned),
            commission: sum(totals.commission())?,
            rewards: text(totals.rewards),
            adjustments: text(totals.adjustments),
            reserved: text(statement.reserved_at_end),
            reserved_change: sum(totals.reserved_change())?,
            paid: sum(totals.paid_change())?,
            unplanned: text(totals.unplanned),
            forfeited: text(totals.forfeited),
            fees_sun: totals.fees_sun,
            credits: work.credits(statement)?,
            multiplier: work.multiplier(statement),
            closing: text(statement.closing),
        })
    }
}

/// What nodes did in the months of some statements.
struct Work {
    params: Params,
    spans: BTreeMap<(Month, NodeIndex), Span>,
}

impl Work {
    fn of(state: &AppState, statements: &[Statement]) -> Result<Work, Fault> {
        let core = state.store.read()?;
        let hot = state.store.hot.read()?;
        let params = epochs::last(&core)?.map_or(state.settings().poot, |head| head.params);
        let now = state.now().wall.slot().plus(1);
        let range = |month: Month| (month.start().slot(), month.end().slot().min(now));
        let mut found = BTreeMap::new();
        for of_month in statements.chunk_by(|a, b| a.month == b.month) {
            let month = of_month[0].month;
            let (from, until) = range(month);
            // Of one node its own rows are read, of many all rows once.
            if let [only] = of_month {
                let span = spans::of_node(&core, &hot, only.node, from, until)?;
                found.extend(span.map(|span| ((month, only.node), span)));
            } else {
                found.extend(spans::of_all(&core, &hot, from, until)?.into_iter().map(|(node, span)| ((month, node), span)));
            }
        }
        Ok(Work { params, spans: found })
    }

    fn span(&self, statement: &Statement) -> Option<&Span> {
        self.spans.get(&(statement.month, statement.node))
    }

    fn credits(&self, statement: &Statement) -> Result<Option<String>, Fault> {
        let Some(span) = self.span(statement) else { return Ok(None) };
        let credits = span.credits().map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
        pico(credits, Currency::Usdt).map(Some)
    }

    fn multiplier(&self, statement: &Statement) -> Option<f64> {
        let multiplier = self.span(statement)?.multiplier?;
        Some(f64::from(multiplier.ten_thousandths(&self.params)) / 10_000.0)
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StatementList {
    statements: Vec<StatementView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
    /// A month in UTC. Of all nodes, the present one when absent; of one node, every month.
    #[param(value_type = Option<String>, pattern = "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])$", example = "2026-09")]
    month: Option<String>,
    /// The one in force when absent.
    #[param(value_type = Option<Settlement>)]
    settlement: Option<String>,
    /// `USDT` when absent.
    #[param(value_type = Option<Currency>)]
    currency: Option<String>,
}

impl StatementQuery {
    fn check(&self, state: &AppState) -> Result<(Book, Option<Month>), ApiError> {
        let mut errors = FieldErrors::default();
        let month = self.month.as_deref().map(Month::parse);
        errors.require(month != Some(None), "month", "must be a month such as 2026-09");
        let settlement = word(&mut errors, "settlement", self.settlement.as_deref(), "live or simulated");
        let currency = word(&mut errors, "currency", self.currency.as_deref(), "USDT or LUCID");
        errors.finish()?;
        let settlement = settlement.unwrap_or(state.payer.settlement);
        Ok((Book { settlement, currency: currency.unwrap_or(Currency::Usdt) }, month.flatten()))
    }
}

/// Statements of a node
///
/// One for each month since it was made, newest first; the present month is as it is so far.
#[utoipa::path(get, path = "/nodes/{id}/statements", tag = "ledger", security(("access" = ["payout:read"])), params(("id" = String, Path), PageQuery, StatementQuery),
    responses((status = 200, body = StatementList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn of_node(
    State(state): State<AppState>,
    Path(id): Path<String>,
    page: Page,
    Query(query): Query<StatementQuery>,
) -> Result<Json<StatementList>, ApiError> {
    let node = reads::node(&state, &id)?;
    let (book, month) = query.check(&state)?;
    let now = Month::of(state.now().wall);
    reads::long(&state, move |state| {
        let read = state.store.read()?;
        let newest = statements::newest(&read)?.unwrap_or(now).max(now);
        let all = statements::of_node(&read, book, node.index, Month::of(node.created_at), newest)?;
        let wanted = all.into_iter().filter(|statement| month.is_none_or(|month| statement.month == month)).collect();
        let (rows, pagination) = page.slice(wanted);
        let mut names = Names::new(&read);
        let work = Work::of(state, &rows)?;
        let statements = rows.iter().map(|statement| StatementView::new(statement, &work, &mut names)).collect::<Result<_, _>>()?;
        Ok(Json(StatementList { statements, pagination }))
    })
    .await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StatementFormat)]
pub enum Format {
    Json,
    Csv,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FormatQuery {
    /// `json`, the default: one page. `csv`: every node as a file.
    #[param(value_type = Option<Format>)]
    format: Option<String>,
}

/// Statements of all nodes for a month
///
/// Of every node that was owed something or moved something. As CSV it is the whole month, whatever the page; names that a spreadsheet would take for a formula begin with an apostrophe there, amounts
/// are numbers. The file is recorded in the audit log. An answer that breaks off was not complete.
#[utoipa::path(get, path = "/ledger/statements", tag = "ledger", security(("access" = ["ledger:read"])), params(PageQuery, StatementQuery, FormatQuery),
    responses((status = 200, content((StatementList = "application/json"), (String = "text/csv"))), (status = 400, body = ErrorBody), (status = 503, description = "other exports are running", body = ErrorBody)))]
pub async fn all(
    State(state): State<AppState>,
    caller: Caller,
    page: Page,
    Query(query): Query<StatementQuery>,
    Query(format): Query<FormatQuery>,
) -> Result<Response, ApiError> {
    let mut errors = FieldErrors::default();
    let format = word(&mut errors, "format", format.format.as_deref(), "json or csv").unwrap_or(Format::Json);
    errors.finish()?;
    let (book, month) = query.check(&state)?;
    let month = month.unwrap_or(Month::of(state.now().wall));
    if format == Format::Csv {
        return export(state, caller, book, month).await;
    }
    let list = reads::long(&state, move |state| {
        let read = state.store.read()?;
        let (rows, pagination) = page.slice(statements::of_month(&read, book, month)?);
        let mut names = Names::new(&read);
        let work = Work::of(state, &rows)?;
        let statements = rows.iter().map(|statement| StatementView::new(statement, &work, &mut names)).collect::<Result<_, _>>()?;
        Ok(StatementList { statements, pagination })
    });
    Ok(Json(list.await?).into_response())
}

async fn export(state: AppState, caller: Caller, book: Book, month: Month) -> Result<Response, ApiError> {
    let busy = |_| ApiError::unavailable("TooManyExports", "other exports are running");
    let turn = Arc::clone(&state.audit_exports).try_acquire_owned().map_err(busy)?;
    let draft = caller.act(state.now()).draft("ledger.export", "").because(format!("statements of {month}, {book}"));
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    let rows = reads::long(&state, move |state| Ok(statements::of_month(&state.store.read()?, book, month)?)).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _turn = turn;
        let mut stopping = state.stopping.clone();
        let pieces = std::iter::once(Vec::new()).chain(rows.chunks(PIECE).map(<[Statement]>::to_vec));
        for (number, piece) in pieces.enumerate() {
            let written = if number == 0 { Ok(head()) } else { csv_of(&state, piece).await };
            let failed = written.is_err();
            let sending = tokio::time::timeout(PATIENCE, sender.send(written));
            let sent = tokio::select! {
                () = super::server::stopped(&mut stopping) => return,
                sent = sending => matches!(sent, Ok(Ok(()))),
            };
            if failed || !sent {
                return;
            }
        }
    });
    let mut response = Body::from_stream(Chunks(receiver)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = format!("attachment; filename=\"statements-{month}.csv\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

const COLUMNS: [&str; 19] = [
    "month",
    "node_id",
    "name",
    "settlement",
    "currency",
    "opening",
    "earned",
    "commission",
    "rewards",
    "adjustments",
    "reserved",
    "reserved_change",
    "paid",
    "unplanned",
    "forfeited",
    "fees_sun",
    "credits",
    "multiplier",
    "closing",
];

fn head() -> Vec<u8> {
    format!("{}\r\n", COLUMNS.join(",")).into_bytes()
}

async fn csv_of(state: &AppState, rows: Vec<Statement>) -> std::io::Result<Vec<u8>> {
    let piece = reads::long(state, move |state| {
        let read = state.store.read()?;
        let mut names = Names::new(&read);
        let work = Work::of(state, &rows)?;
        let views = rows.iter().map(|row| StatementView::new(row, &work, &mut names)).collect::<Result<Vec<_>, _>>()?;
        table(&views).map_err(|_| ApiError::panicked())
    });
    piece.await.map_err(|error| std::io::Error::other(error.message))
}

fn table(views: &[StatementView]) -> std::io::Result<Vec<u8>> {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for view in views.iter().cloned() {
        let row: [String; COLUMNS.len()] = [
            view.month,
            cell(&view.node_id),
            cell(&view.name),
            view.settlement.to_string(),
            view.currency.to_string(),
            view.opening,
            view.earned,
            view.commission,
            view.rewards,
            view.adjustments,
            view.reserved,
            view.reserved_change,
            view.paid,
            view.unplanned,
            view.forfeited,
            view.fees_sun.to_string(),
            view.credits.unwrap_or_default(),
            view.multiplier.map(|multiplier| multiplier.to_string()).unwrap_or_default(),
            view.closing,
        ];
        table.write_record(row)?;
    }
    table.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}
