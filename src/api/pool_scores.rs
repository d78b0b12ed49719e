//! How the scores of a pool spread, and what its nodes did lately.

use axum::extract::State;
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use super::fleet_scores::{PootOverview, standings};
use super::json::{Json, Path};
use super::pools::pool_id;
use super::poot::{fraction, pico};
use super::reads;
use super::state::AppState;
use crate::domain::evidence::SLOTS_PER_DAY;
use crate::domain::ids::{NodeIndex, PoolIndex};
use crate::domain::ledger::{Account, Book};
use crate::domain::money::{Currency, Overflow, Pico, Units};
use crate::domain::node::Node;
use crate::domain::refusal::Refusal;
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::span::{Share, Span};
use crate::storage::core::{epochs, ledger, nodes, pools};
use crate::storage::fault::Fault;
use crate::storage::hot::days;
use crate::storage::spans;

/// What nodes did for a pool over some time.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PoolWork {
    /// Of the epochs that count: when the first begins.
    pub from: String,
    /// When the last one ends.
    pub to: String,
    /// Nodes that had an epoch in it for this pool.
    pub nodes: u32,
    /// Slots that they proved for it.
    pub proven_slots: u32,
    /// Work credits, exact.
    pub credits: String,
    /// Earned in the currency of the pool, exact, held amounts of pending epochs included.
    pub accrued: String,
}

/// The scores of a pool's members now, and what was done for it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PoolScores {
    pub pool_id: String,
    pub at: String,
    #[serde(flatten)]
    pub scores: PootOverview,
    /// Proven of observed time of the members over the last 24 hours, four decimals; null where none was observed.
    pub uptime: Option<f64>,
    pub currency: Currency,
    /// Null before the first epoch.
    pub last_epoch: Option<PoolWork>,
    /// The last 24 hours, in whole hours.
    pub last_day: PoolWork,
    /// What its nodes have cost it so far, in the book in force: posted work and rewards.
    pub posted: String,
    /// What its present members were paid so far in that book, for whichever pool they worked.
    pub paid_to_members: String,
}

/// The scores of a pool
#[utoipa::path(get, path = "/pools/{pool_id}/poot", tag = "pools", security(("access" = ["poot:read"])), params(("pool_id" = String, Path)), responses((status = 200, body = PoolScores), (status = 404, body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<PoolScores>, ApiError> {
    let id = pool_id(&id)?;
    let scores = reads::long(&state, move |state| {
        let now = state.now();
        let core = state.store.read()?;
        let pool = pools::by_id(&core, &id)?.ok_or(Refusal::PoolNotFound)?;
        let mut members = nodes::all(&core)?;
        members.retain(|node| *node.pool.latest() == Some(pool.index));
        let hot = state.store.hot.read()?;
        let currency = pool.pricing.latest().currency;
        let last_epoch = match epochs::last(&core)?.and_then(|head| head.leaves_at) {
            Some(epoch) => epochs::by_epoch(&core, epoch)?,
            None => None,
        };
        let last_epoch = last_epoch.map(|head| {
            let ends = (head.epoch.first_slot().start().rfc3339(), head.last_slot.end().rfc3339());
            work(ends, days::of_epoch(&hot, &head)?.iter(), pool.index, currency)
        });
        let present = now.wall.slot();
        let from = present.minus(SLOTS_PER_DAY + present.0 % SLOTS_PER_HOUR);
        let day = spans::of_all(&core, &hot, from, present.plus(1))?;
        let book = Book { settlement: state.payer.settlement, currency };
        let balance = |account| ledger::balance(&core, book, account);
        let paid = members.iter().try_fold(Units::ZERO, |sum, node| sum.plus(balance(Account::NodePaid(node.index))?).map_err(broken));
        let text = |units: Units| units.to_decimal(currency).to_string();
        Ok(PoolScores {
            pool_id: pool.id.to_string(),
            at: now.wall.rfc3339(),
            scores: PootOverview::of(&members, &standings(state, &members, now)?),
            uptime: uptime(&members, &day),
            currency,
            last_epoch: last_epoch.transpose()?,
            last_day: work((from.start().rfc3339(), now.wall.rfc3339()), day.values(), pool.index, currency)?,
            posted: text(balance(Account::PoolExpense(pool.index))?.negated().map_err(broken)?),
            paid_to_members: text(paid?),
        })
    });
    Ok(Json(scores.await?))
}

fn broken(overflow: Overflow) -> Fault {
    Fault::Invariant(overflow.to_string())
}

fn uptime(members: &[Node], day: &std::collections::BTreeMap<NodeIndex, Span>) -> Option<f64> {
    let of = members.iter().filter_map(|node| day.get(&node.index));
    let (proven, observed) = of.fold((0, 0), |(proven, observed), span| (proven + span.proven, observed + span.observed));
    fraction(proven, observed)
}

fn work<'a>(
    (from, to): (String, String),
    spans: impl Iterator<Item = &'a Span>,
    pool: PoolIndex,
    currency: Currency,
) -> Result<PoolWork, Fault> {
    let (mut nodes, mut proven_slots, mut credits, mut accrued) = (0, 0, Pico::ZERO, Pico::ZERO);
    for span in spans {
        let shares: Vec<&Share> = span.shares.iter().filter(|share| share.pool == Some(pool)).collect();
        nodes += u32::from(!shares.is_empty());
        for share in shares {
            proven_slots += share.proven;
            credits = credits.plus(share.credits).map_err(broken)?;
            if share.currency == currency {
                accrued = accrued.plus(share.accrued).map_err(broken)?;
            }
        }
    }
    Ok(PoolWork { from, to, nodes, proven_slots, credits: pico(credits, Currency::Usdt)?, accrued: pico(accrued, currency)? })
}
