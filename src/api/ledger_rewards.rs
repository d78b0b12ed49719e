//! An amount that a pool's members are given: who gets how much, and the giving.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::{RawAmount, reason};
use super::json::{Json, Path};
use super::ledger::RewardSplit;
use super::ledger_changes::entered;
use super::nodes::published;
use super::pools::pool_id;
use super::reads::{self, Names};
use super::state::AppState;
use super::{Caller, Unchecked};
use crate::domain::ids::{NodeId, NodeIndex};
use crate::domain::ledger::Split;
use crate::domain::money::{Amount, Currency, Units};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::statement::Month;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::live::Change;
use crate::storage::core::ledger_entries::{self, Order, Reward};
use crate::storage::core::pools;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardRequest {
    /// Number or string, exact.
    #[schema(value_type = String, format = "decimal", example = "100")]
    amount: RawAmount,
    currency: Currency,
    split: RewardSplit,
    /// Of the work whose credits it is split by; absent: the last whole month, in UTC.
    #[schema(format = DateTime, example = "2026-08-01T00:00:00Z")]
    from: Option<String>,
    /// Where that ends.
    #[schema(format = DateTime, example = "2026-09-01T00:00:00Z")]
    to: Option<String>,
    /// Kept in the ledger in clear for good: name no people, no erasure reaches it.
    #[schema(min_length = 3, max_length = 500, example = "bonus for August")]
    reason: String,
    /// Only say who would get how much.
    #[serde(default)]
    #[schema(default = false)]
    dry_run: bool,
}

/// Who gets how much.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RewardView {
    /// False: nothing was posted.
    posted: bool,
    #[schema(example = "100")]
    amount: String,
    currency: Currency,
    split: RewardSplit,
    /// Of the work whose credits it is split by.
    from: Option<String>,
    to: Option<String>,
    shares: Vec<RewardShare>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RewardShare {
    node_id: String,
    name: String,
    amount: String,
}

/// Half-open. What is wrong with it goes to `errors`.
fn period(errors: &mut FieldErrors, asked: &RewardRequest, now: Timestamp) -> Split {
    let mut time = |field: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(Timestamp::parse_rfc3339);
        errors.require(parsed != Some(None), field, "must be a time such as 2026-01-31T12:00:00Z");
        parsed.flatten()
    };
    let (from, to) = (time("from", &asked.from), time("to", &asked.to));
    match asked.split {
        RewardSplit::Equal => {
            errors.require(asked.from.is_none(), "from", "belongs to the split by credits");
            errors.require(asked.to.is_none(), "to", "belongs to the split by credits");
            Split::Equal
        }
        RewardSplit::Credits => {
            errors.require(asked.from.is_some() == asked.to.is_some(), "to", "must come with from, and from with to");
            let last = Month::of(now).previous();
            let (from, to) = (from.unwrap_or(last.start()), to.unwrap_or(last.end()));
            errors.require(asked.from.is_none() || asked.to.is_none() || from < to, "to", "must be after from");
            Split::Credits { from, to }
        }
    }
}

/// Give an amount to a pool's members
///
/// One entry from the pool's expense to what its members are owed: those that are in service now, equally or by what the pool paid for their work in a period (as it was posted, by the day). What
/// whole units leave over goes to the largest fractions, the older node first. Posted in the live book and in the simulated one, as work is: the dry run shows what
/// would be owed. `dry_run` says who would get how much and posts nothing. Without members or credits it is refused (422 `NoMembers`, `NoCredits`). For people whose session was confirmed within the last
/// minutes (`FreshFactorNeeded`), never for programs.
#[utoipa::path(post, path = "/pools/{id}/rewards", tag = "ledger", security(("access" = ["payout:process"])), params(("id" = String, Path)), request_body = RewardRequest,
    extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = RewardView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn give(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Unchecked<RewardRequest>,
) -> Result<Json<RewardView>, ApiError> {
    let id = pool_id(&id)?;
    let pool = pools::by_id(&state.store.read()?, &id)?.ok_or(Refusal::PoolNotFound)?;
    let now = state.now();
    let (mut reward, reason, dry_run) = asked.check(|asked, errors| {
        let amount = entered(errors, &asked.amount, asked.currency, false);
        let split = period(errors, &asked, now.wall);
        let reward = Reward { pool: id.clone(), currency: asked.currency, amount, split, credits: BTreeMap::new() };
        (reward, reason(errors, &asked.reason), asked.dry_run)
    })?;
    let (by, _) = caller.person(Role::Admin)?;
    if let Split::Credits { from, to } = reward.split {
        let (index, currency) = (pool.index, pool.pricing.latest().currency);
        let credits = move |state: &AppState| {
            let found = ledger_entries::credits(&state.store.read()?, index, currency, from, to);
            Ok(found.map_err(crate::storage::fault::WriteError::from)?)
        };
        reward.credits = reads::long(&state, credits).await?;
    }
    let parts = if dry_run {
        let read = state.store.read()?;
        ledger_entries::parts(&read, &reward, now.wall.slot()).map_err(crate::storage::fault::WriteError::from)?.1
    } else {
        let (act, order, reward) = (caller.act(now), Order { by, reason }, reward.clone());
        state.store.write_money(move |tx| ledger_entries::give(tx, &act, &order, &reward)).await?
    };
    show(&state, &reward, &parts, !dry_run)
}

fn show(state: &AppState, reward: &Reward, parts: &[(NodeIndex, Units)], posted: bool) -> Result<Json<RewardView>, ApiError> {
    let read = state.store.read()?;
    let mut names = Names::new(&read);
    let text = |units| Amount { currency: reward.currency, units }.units.to_decimal(reward.currency).to_string();
    let mut shares = Vec::with_capacity(parts.len());
    for (node, units) in parts {
        let named = names.node(*node)?;
        if posted && let Ok(id) = NodeId::parse(&named.id) {
            published(state, &id, Change::Updated);
        }
        shares.push(RewardShare { node_id: named.id, name: named.name, amount: text(*units) });
    }
    let (split, period) = match reward.split {
        Split::Equal => (RewardSplit::Equal, None),
        Split::Credits { from, to } => (RewardSplit::Credits, Some((from.rfc3339(), to.rfc3339()))),
    };
    let (from, to) = period.unzip();
    Ok(Json(RewardView { posted, amount: text(reward.amount), currency: reward.currency, split, from, to, shares }))
}
