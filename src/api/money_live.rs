//! Going live, and transfers out of the wallet that nothing here planned.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::listing::time;
use super::money::{MoneyView, changed};
use super::reads::{self, Names};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::ids::NodeId;
use crate::domain::ledger::Settlement;
use crate::domain::money::{Currency, Units};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::domain::wallet::UnknownTransfer;
use crate::live::Job;
use crate::storage::core::money;
use crate::storage::core::money_actions::{self as actions, BookTo, Owed};

/// What is owed from the time before money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwedChoice {
    /// Everything that was accrued.
    Everything,
    /// What was earned from a date on.
    From,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveRequest {
    owed: OwedChoice,
    /// With `from`: RFC 3339. What was posted of epochs before it is cancelled by an adjustment of each node; a posting that reaches beyond it counts as after.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-10-01T00:00:00Z")]
    from: Option<String>,
    /// Change nothing and say what would be cancelled.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LivePlan {
    /// What nobody would be owed any more, by node.
    pub cancelled: Vec<Cancelled>,
    /// Sum of them, in USDT.
    pub sum_usdt: String,
    /// Null where nothing was changed.
    pub money: Option<MoneyView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Cancelled {
    pub node_id: String,
    pub node_name: String,
    pub amount: String,
    pub currency: Currency,
}

/// Go live
///
/// Decides that money moves from the wallet that is configured, and what is owed from before. For another wallet it is decided again. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/money/live", tag = "payouts", security(("access" = ["money:write"])), request_body = LiveRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = LivePlan), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn go_live(State(state): State<AppState>, caller: Caller, body: Unchecked<LiveRequest>) -> Result<Json<LivePlan>, ApiError> {
    let now = state.now();
    let (owed, dry_run) = body.check(|body, errors| {
        let from = time(errors, "from", body.from.as_deref());
        let owed = match (body.owed, body.from.is_some()) {
            (OwedChoice::Everything, true) => {
                errors.add("from", "goes with owed = from alone");
                Owed::Everything
            }
            (OwedChoice::Everything, false) => Owed::Everything,
            (OwedChoice::From, false) => {
                errors.add("from", "must be given with owed = from");
                Owed::Everything
            }
            (OwedChoice::From, true) => {
                let from = from.unwrap_or_default();
                errors.require(from <= now.wall, "from", "must not be in the future");
                Owed::From(from)
            }
        };
        (owed, body.dry_run)
    })?;
    if state.payer.settlement != Settlement::Live {
        let why = "money does not move by the present settings: set payout.mode = live, a gateway, and a main network first";
        return Err(Refusal::Rule("NotConfigured", why.into()).into());
    }
    let (by, _) = caller.person(Role::Admin)?;
    let cancelled = plan(&state, owed)?;
    let sum = cancelled.iter().filter(|row| row.1 == Currency::Usdt).try_fold(Units::ZERO, |sum, row| sum.plus(row.2));
    let sum = sum.map_err(|_| ApiError::panicked())?.to_decimal(Currency::Usdt).to_string();
    let rows = cancelled.into_iter().map(|(named, currency, units)| {
        let amount = units.to_decimal(currency).to_string();
        Cancelled { node_id: named.id, node_name: named.name, amount, currency }
    });
    let cancelled = rows.collect();
    if dry_run {
        return Ok(Json(LivePlan { cancelled, sum_usdt: sum, money: None }));
    }
    if !now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let (act, pin, has_wallet) = (caller.act(now), state.payer.pin.clone(), state.payer.has_wallet);
    state.store.write_money(move |tx| actions::go_live(tx, &act, by.clone(), &pin, owed, has_wallet)).await?;
    let Json(money) = changed(&state)?;
    Ok(Json(LivePlan { cancelled, sum_usdt: sum, money: Some(money) }))
}

fn plan(state: &AppState, owed: Owed) -> Result<Vec<(reads::Named, Currency, Units)>, ApiError> {
    let Owed::From(from) = owed else { return Ok(Vec::new()) };
    let read = state.store.read()?;
    let mut names = Names::new(&read);
    let row = |((node, currency), units)| Ok((names.node(node)?, currency, units));
    actions::earned_before(&read, from).map_err(crate::storage::fault::WriteError::from)?.into_iter().map(row).collect()
}

/// A transfer out of the wallet that nothing here planned.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UnknownTransferView {
    pub transaction_hash: String,
    pub wallet: String,
    /// Of the wallet, as payouts name theirs.
    pub network: String,
    /// `mainnet`, `nile` or `shasta`; null: it has no name.
    pub network_name: Option<String>,
    /// It holds all payouts until it is booked: it is of a network that they go over by the present settings. False once it is booked, and while payouts go over another one.
    pub holds: bool,
    pub to: String,
    pub amount: String,
    pub currency: Currency,
    pub block: u64,
    /// By the chain.
    pub at: String,
    pub found_at: String,
    /// Null: it waits.
    pub booked_at: Option<String>,
    /// Of what waits: the node whose payout address it went to, or where a payout of that node went before.
    pub node_id: Option<String>,
    pub node_name: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UnknownTransferList {
    /// Oldest first, at most 1,000.
    pub transfers: Vec<UnknownTransferView>,
}

const MAX_LISTED: usize = 1_000;

/// Transfers out of the wallet that nothing here planned
///
/// Also those of wallets that earlier settings paid from.
#[utoipa::path(get, path = "/money/unknown-transfers", tag = "payouts", security(("access" = ["ledger:read"])), responses((status = 200, body = UnknownTransferList)))]
pub async fn unknown(State(state): State<AppState>) -> Result<Json<UnknownTransferList>, ApiError> {
    let (read, network_name) = (state.store.read()?, state.settings().payments.network_name);
    let mut transfers = Vec::new();
    for UnknownTransfer { pin, transfer, found_at, booked_at } in money::unknown_transfers(&read, false, MAX_LISTED)? {
        let whose = match booked_at {
            None => money::nodes_of_address(&read, &state.store.secrets, &transfer.to)?.into_iter().next(),
            Some(_) => None,
        };
        transfers.push(UnknownTransferView {
            transaction_hash: transfer.txid,
            wallet: pin.wallet,
            network_name: (network_name)(&pin.network).map(str::to_owned),
            holds: booked_at.is_none() && state.payer.pays_over(&pin.network),
            network: pin.network,
            to: transfer.to,
            amount: transfer.amount.to_decimal(Currency::Usdt).to_string(),
            currency: Currency::Usdt,
            block: transfer.block,
            at: transfer.at.rfc3339(),
            found_at: found_at.rfc3339(),
            booked_at: booked_at.map(Timestamp::rfc3339),
            node_id: whose.as_ref().map(|node| node.id.to_string()),
            node_name: whose.map(|node| node.name),
        });
    }
    Ok(Json(UnknownTransferList { transfers }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BookRequest {
    /// The node that it was paid to: its balance falls by it, below nothing where it has to; whose address it went to, where that is a node's. Absent: it is `unexplained`.
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    node_id: Option<String>,
}

/// Book a transfer that nothing here planned
///
/// Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/money/unknown-transfers/{txid}/book", tag = "payouts", security(("access" = ["money:write"])), params(("txid" = String, Path)), request_body = BookRequest,
    extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn book(
    State(state): State<AppState>,
    caller: Caller,
    Path(txid): Path<String>,
    body: Unchecked<BookRequest>,
) -> Result<Json<MoneyView>, ApiError> {
    let to = body.check(|body, errors| match body.node_id.as_deref().map(NodeId::parse) {
        None => BookTo::Unexplained,
        Some(Ok(node)) => BookTo::Node(node),
        Some(Err(why)) => {
            errors.add("node_id", why.to_string());
            BookTo::Unexplained
        }
    })?;
    caller.person(Role::Admin)?;
    let (act, payer, secrets) = (caller.act(state.now()), state.payer.clone(), state.store.secrets.clone());
    let booked = state.store.write_money(move |tx| actions::book_transfer(tx, &act, &secrets, &payer, &txid, &to)).await;
    booked.map_err(ApiError::naming([(Refusal::NodeNotFound, "node_id")]))?;
    // With the last one booked, the next look finds nothing unknown.
    state.nudges.nudge(Job::Wallet);
    changed(&state)
}
