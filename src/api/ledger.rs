//! The ledger: postings and balances, with the names of who is meant.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::page::{Page, PageQuery, Pagination};
use super::reads::{self, Names};
use super::state::AppState;
use crate::domain::ids::PayoutId;
use crate::domain::ledger::{Account, Book, Cause, Posting, Settlement, Split};
use crate::domain::money::{Currency, Units};
use crate::storage::core::ledger::{self, Filter};
use crate::storage::fault::Fault;

/// A balanced movement; its lines sum to zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PostingView {
    /// Counts from 1 without gaps.
    pub seq: u64,
    pub at: String,
    pub cause: CauseView,
    pub settlement: Settlement,
    pub currency: Currency,
    pub lines: Vec<LineView>,
}

/// Why a posting exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CauseView {
    /// Work of a node in the epochs (after, through].
    Accrual {
        node_id: String,
        after: u32,
        through: u32,
    },
    /// A payout was planned.
    Reserve {
        payout_id: String,
    },
    /// A payout ended without paying.
    Release {
        payout_id: String,
    },
    Paid {
        payout_id: String,
    },
    Adjustment {
        node_id: String,
        reason: String,
        by: String,
    },
    /// A node with a balance was deleted.
    Forfeiture {
        node_id: String,
        reason: String,
        by: String,
    },
    /// An amount that a pool's members were given.
    Reward {
        pool_id: String,
        split: RewardSplit,
        /// Of the work whose credits it was split by.
        from: Option<String>,
        to: Option<String>,
        reason: String,
        by: String,
    },
    /// A transfer of the wallet that nobody here had planned.
    Unexplained {
        /// Whose address it went to, when it is a node's.
        node_id: Option<String>,
        txid: String,
    },
    /// What was accrued in the dry run before `from` is not owed.
    GoLive {
        node_id: String,
        from: String,
        by: String,
    },
}

/// By what a reward is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardSplit {
    /// By what the pool paid for each member's work in a period.
    Credits,
    Equal,
}

/// Positive: owed to or given to the account. Negative: taken from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LineView {
    /// `node_payable:node_...`, `pool_expense:pool_...`, `adjustment`.
    pub account: String,
    /// Name of the account's node or pool.
    pub name: Option<String>,
    pub amount: String,
}

/// An account as the API writes it, and the name of whose it is.
fn account_name(account: Account, names: &mut Names<'_>) -> Result<(String, Option<String>), Fault> {
    let owner = match (account.node(), account.pool()) {
        (Some(node), _) => Some(names.node(node)?),
        (None, Some(pool)) => Some(names.pool(pool)?),
        (None, None) => None,
    };
    let kind = account.kind();
    Ok(match owner {
        Some(owner) => (format!("{kind}:{}", owner.id), Some(owner.name)),
        None => (kind.to_owned(), None),
    })
}

impl CauseView {
    fn new(cause: &Cause, names: &mut Names<'_>) -> Result<CauseView, Fault> {
        let payout = |id: &PayoutId| id.to_string();
        Ok(match cause {
            Cause::Accrual { node, after, through } => {
                CauseView::Accrual { node_id: names.node(*node)?.id, after: after.0, through: through.0 }
            }
            Cause::Reserve { payout: id } => CauseView::Reserve { payout_id: payout(id) },
            Cause::Release { payout: id } => CauseView::Release { payout_id: payout(id) },
            Cause::Paid { payout: id } => CauseView::Paid { payout_id: payout(id) },
            Cause::Adjustment { node, reason, by } => {
                CauseView::Adjustment { node_id: names.node(*node)?.id, reason: reason.clone(), by: by.to_string() }
            }
            Cause::Forfeiture { node, reason, by } => {
                CauseView::Forfeiture { node_id: names.node(*node)?.id, reason: reason.clone(), by: by.to_string() }
            }
            Cause::Reward { pool, split, reason, by } => {
                let (split, period) = match split {
                    Split::Equal => (RewardSplit::Equal, None),
                    Split::Credits { from, to } => (RewardSplit::Credits, Some((from.rfc3339(), to.rfc3339()))),
                };
                let (from, to) = period.unzip();
                CauseView::Reward { pool_id: names.pool(*pool)?.id, split, from, to, reason: reason.clone(), by: by.to_string() }
            }
            Cause::Unexplained { node, txid } => {
                let node = node.map(|node| names.node(node)).transpose()?;
                CauseView::Unexplained { node_id: node.map(|node| node.id), txid: txid.clone() }
            }
            Cause::GoLive { node, from, by } => {
                CauseView::GoLive { node_id: names.node(*node)?.id, from: from.rfc3339(), by: by.to_string() }
            }
        })
    }
}

impl PostingView {
    pub fn new(posting: &Posting, names: &mut Names<'_>) -> Result<PostingView, Fault> {
        let Book { settlement, currency } = posting.entry.book;
        let mut lines = Vec::with_capacity(posting.entry.lines.len());
        for line in &posting.entry.lines {
            let (account, name) = account_name(line.account, names)?;
            lines.push(LineView { account, name, amount: line.amount.to_decimal(currency).to_string() });
        }
        let cause = CauseView::new(&posting.entry.cause, names)?;
        Ok(PostingView { seq: posting.seq, at: posting.at.rfc3339(), cause, settlement, currency, lines })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PostingList {
    pub postings: Vec<PostingView>,
    /// Postings up to this number are in archives (`GET /archives`), and no longer here; 0: none.
    #[schema(minimum = 0)]
    pub archived_through: u64,
    pub pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// Postings of books under this settlement only.
    settlement: Option<Settlement>,
}

/// Postings that touch a node, newest first
#[utoipa::path(get, path = "/nodes/{id}/ledger", tag = "ledger", security(("access" = ["payout:read"])), params(("id" = String, Path), PageQuery, LedgerQuery),
    responses((status = 200, body = PostingList), (status = 400, body = ErrorBody)))]
pub async fn of_node(
    State(state): State<AppState>,
    Path(id): Path<String>,
    page: Page,
    Query(query): Query<LedgerQuery>,
) -> Result<Json<PostingList>, ApiError> {
    let node = reads::node(&state, &id)?.index;
    list(&state, Filter { node: Some(node), settlement: query.settlement }, page).await
}

/// All postings, newest first
#[utoipa::path(get, path = "/ledger", tag = "ledger", security(("access" = ["ledger:read"])), params(PageQuery, LedgerQuery),
    responses((status = 200, body = PostingList), (status = 400, body = ErrorBody)))]
pub async fn all(State(state): State<AppState>, page: Page, Query(query): Query<LedgerQuery>) -> Result<Json<PostingList>, ApiError> {
    list(&state, Filter { node: None, settlement: query.settlement }, page).await
}

async fn list(state: &AppState, filter: Filter, page: Page) -> Result<Json<PostingList>, ApiError> {
    reads::long(state, move |state| {
        let read = state.store.read()?;
        let (rows, total) = ledger::page(&read, filter, page.offset(), page.limit())?;
        let mut names = Names::new(&read);
        let postings = rows.iter().map(|posting| PostingView::new(posting, &mut names)).collect::<Result<_, _>>()?;
        let archived_through = ledger::archived(&read)?;
        Ok(Json(PostingList { postings, archived_through, pagination: page.of_rows(total) }))
    })
    .await
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BalanceView {
    pub account: String,
    /// Name of the account's node or pool.
    pub name: Option<String>,
    pub balance: String,
}

/// One currency under one settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BookView {
    pub settlement: Settlement,
    pub currency: Currency,
    pub accounts: Vec<BalanceView>,
    /// Of all accounts; always "0".
    pub sum: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Balances {
    pub books: Vec<BookView>,
    /// Why no payout goes out: the books did not add up, and nobody has checked them since (`POST /ledger/check`).
    pub latched: Option<String>,
}

/// Balances of every account, by book
#[utoipa::path(get, path = "/ledger/balances", tag = "ledger", security(("access" = ["ledger:read"])), responses((status = 200, body = Balances)))]
pub async fn balances(State(state): State<AppState>) -> Result<Json<Balances>, ApiError> {
    reads::long(&state, |state| {
        let read = state.store.read()?;
        let mut names = Names::new(&read);
        let mut books: BTreeMap<Book, (Vec<BalanceView>, Units)> = BTreeMap::new();
        for (book, account, units) in ledger::balances(&read)? {
            let (accounts, sum) = books.entry(book).or_default();
            let balance = units.to_decimal(book.currency).to_string();
            let (account, name) = account_name(account, &mut names)?;
            accounts.push(BalanceView { account, name, balance });
            *sum = sum.plus(units).map_err(|overflow| Fault::Invariant(overflow.to_string()))?;
        }
        let show = |(Book { settlement, currency }, (accounts, sum)): (Book, (Vec<BalanceView>, Units))| BookView {
            settlement,
            currency,
            accounts,
            sum: sum.to_decimal(currency).to_string(),
        };
        Ok(Json(Balances { books: books.into_iter().map(show).collect(), latched: ledger::latched(&read)? }))
    })
    .await
}
