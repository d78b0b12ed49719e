//! What would be paid now, by the same calculation as it is paid by. Nothing is written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorBody};
use super::input::RawAmount;
use super::json::Json;
use super::payout_requests::{LIST, PayoutRequest, wishes};
use super::reads;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::address::PayoutAddress;
use crate::domain::batch::Wish;
use crate::domain::guard::{self, Facts, Spent};
use crate::domain::ids::{NodeIndex, PoolId, PoolIndex};
use crate::domain::ledger::{Account, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::TrxRate;
use crate::domain::node::Node;
use crate::domain::paying::Paying;
use crate::domain::payout::{Priority, Skip};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::{Now, Timestamp};
use crate::domain::user::Role;
use crate::live::{LOOK_MAX_AGE_MS, Waiting};
use crate::storage::accruals;
use crate::storage::core::{final_payouts, ledger, money, nodes, payouts, people, pools};
use crate::storage::fault::Fault;
use crate::storage::planning::{self, Against, Checker, Plans, Terms};
use crate::storage::table::Snapshot;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// Absent: whom the automatic cycle would pay now.
    #[schema(min_items = 1, max_items = 1000)]
    payout_requests: Option<Vec<PayoutRequest>>,
    /// Instead of both: everybody who is owed at least this, in USDT, however lately they were paid and whatever it costs: what a batch can pay.
    #[schema(value_type = Option<String>, format = "decimal", example = "1")]
    min_amount: Option<RawAmount>,
    /// With `min_amount`: of this pool alone.
    #[schema(pattern = "^pool_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64)]
    pool_id: Option<String>,
}

/// Whom it is about.
enum Wanted {
    Automatic,
    Listed(Vec<Wish>),
    Owed { least: Units, pool: Option<PoolId> },
}

impl PreviewRequest {
    fn check(self, errors: &mut FieldErrors) -> Wanted {
        let PreviewRequest { payout_requests, min_amount, pool_id } = self;
        errors.require(payout_requests.is_none() || min_amount.is_none(), "min_amount", "does not go with `payout_requests`");
        errors.require(pool_id.is_none() || min_amount.is_some(), "pool_id", "goes with `min_amount` alone");
        let pool = pool_id.and_then(|id| PoolId::parse(&id).map_err(|why| errors.add("pool_id", why.to_string())).ok());
        let least = min_amount.map(|raw| {
            let amount = raw.parse(Currency::Usdt).map_err(|why| errors.add("min_amount", why.to_string())).ok();
            errors.require(amount.is_none_or(|amount| amount.units > Units::ZERO), "min_amount", "must be above 0");
            amount.map_or(Units::ZERO, |amount| amount.units)
        });
        match (payout_requests, least) {
            (Some(list), _) => Wanted::Listed(wishes(list, Priority::Normal, None, errors)),
            (None, Some(least)) => Wanted::Owed { least, pool },
            (None, None) => Wanted::Automatic,
        }
    }
}

/// A guard that would hold a payout back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PreviewWait {
    /// Stable name: of a guard, or of why nothing at all is signed.
    #[schema(example = "approval")]
    guard: String,
    text: String,
    /// When it passes by time alone, where that is known.
    #[schema(format = DateTime)]
    until: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PreviewPayout {
    node_id: String,
    node_name: String,
    currency: Currency,
    /// Exact, as all amounts here.
    amount: String,
    priority: Priority,
    balance_before: String,
    balance_after: String,
    /// What the network would take, in sun, to somebody who holds none of the token yet. Null: not known, or no fee.
    fee_sun: Option<String>,
    /// The same in USDT, rounded up. Null: what a TRX is worth is not known.
    fee_usdt: Option<String>,
    /// What would hold it back once it is planned, after those before it.
    waits: Vec<PreviewWait>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PreviewSkip {
    node_id: String,
    node_name: Option<String>,
    /// Stable name of the reason.
    #[schema(example = "no_address")]
    why: String,
    text: String,
    /// Since when, where that was noted.
    #[schema(format = DateTime)]
    since: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PreviewTotal {
    currency: Currency,
    payouts: usize,
    amount: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// `simulated`: no money would move.
    settlement: Settlement,
    payouts: Vec<PreviewPayout>,
    /// Who is not paid, and why.
    skipped: Vec<PreviewSkip>,
    totals: Vec<PreviewTotal>,
    /// Of all of them together, beyond what is staked, in sun. Null: not known, or no fee.
    fees_sun: Option<String>,
    fees_usdt: Option<String>,
    /// Smallest automatic payout: the threshold, or what today's fee is an allowed share of, in USDT. Null: the fee or what a TRX is worth is not known.
    effective_minimum: Option<String>,
    /// When the wallet was looked at for the fees.
    #[schema(format = DateTime)]
    fees_as_of: Option<String>,
    /// Why nothing at all would be signed; null when something would.
    closed: Option<PreviewWait>,
}

/// Show what would be paid now
///
/// By the same calculation as payouts are planned and signed by; nothing is changed. Amounts count what is earned and not posted yet.
#[utoipa::path(post, path = "/payouts/preview", tag = "payouts", security(("access" = ["payout:read"])), request_body = PreviewRequest,
    responses((status = 200, body = Preview), (status = 400, body = ErrorBody), (status = 404, description = "no pool has this id (`PoolNotFound`)", body = ErrorBody)))]
pub async fn preview(State(state): State<AppState>, asked: Unchecked<PreviewRequest>) -> Result<Json<Preview>, ApiError> {
    let wanted = asked.check(PreviewRequest::check)?;
    reads::long(&state, move |state| {
        let look = Look::new(state)?;
        let found = match wanted {
            Wanted::Listed(wishes) => look.listed(state, &wishes)?,
            Wanted::Automatic => look.due(state, Terms::Automatic, None)?,
            Wanted::Owed { least, pool } => {
                let known = pool.map(|id| pools::by_id(&look.core, &id)?.ok_or(ApiError::from(Refusal::PoolNotFound))).transpose();
                let pool = known.map_err(ApiError::naming([(Refusal::PoolNotFound, "pool_id")]))?;
                look.due(state, Terms::ByHand { least }, pool.map(|pool| pool.index))?
            }
        };
        Ok(Json(look.shown(state, found)?))
    })
    .await
}

/// One who would be paid.
struct Paid {
    node: Node,
    currency: Currency,
    amount: Units,
    balance: Units,
    address: PayoutAddress,
    priority: Priority,
    is_automatic: bool,
}

type Found = (Vec<Paid>, Vec<PreviewSkip>);

struct Look {
    core: Snapshot,
    hot: Snapshot,
    paying: Paying,
    now: Now,
}

impl Look {
    fn new(state: &AppState) -> Result<Look, Fault> {
        // Core first: it must not be newer than hot.
        let core = state.store.read()?;
        Ok(Look { core, hot: state.store.hot.read()?, paying: state.paying(), now: state.now() })
    }

    fn plans<'a>(&'a self, state: &'a AppState) -> Plans<'a> {
        Plans { secrets: &state.store.secrets, paying: &self.paying, now: self.now }
    }

    /// Payable, with what is earned and not posted.
    fn balances(&self, of: &[NodeIndex], currency: Currency) -> Result<Vec<Units>, Fault> {
        let unposted = accruals::unposted(&self.core, &self.hot, of.iter().copied())?;
        let one = |node: &NodeIndex| {
            let earned = unposted.get(node).and_then(|sums| sums.get(&currency)).copied().unwrap_or_default();
            let payable = ledger::balance(&self.core, self.paying.book(currency), Account::NodePayable(*node))?;
            earned.split().and_then(|(units, _)| payable.plus(units)).map_err(|why| Fault::Invariant(why.to_string()))
        };
        of.iter().map(one).collect()
    }

    /// Of all nodes, or of one pool.
    fn due(&self, state: &AppState, terms: Terms, pool: Option<PoolIndex>) -> Result<Found, Fault> {
        let book = self.paying.book(Currency::Usdt);
        let mut all = Vec::new();
        for node in nodes::all(&self.core)? {
            // Those that leave have their own cycle.
            let is_meant = pool.is_none_or(|pool| *node.pool.latest() == Some(pool));
            if is_meant && final_payouts::of_node(&self.core, node.index)?.is_none() {
                all.push(node);
            }
        }
        let due = planning::due(self.plans(state), &self.core, &self.hot, all, book, terms)?;
        let indices: Vec<NodeIndex> = due.pays.iter().map(|(node, _)| node.index).collect();
        let balances = self.balances(&indices, book.currency)?;
        let (mut paid, mut skipped) = (Vec::new(), Vec::new());
        for ((node, amount), balance) in due.pays.into_iter().zip(balances) {
            let Some(record) = payouts::address(&self.core, &state.store.secrets, node.index)? else { continue };
            let (currency, address, priority) = (book.currency, record.address, Priority::Normal);
            paid.push(Paid { node, currency, amount, balance, address, priority, is_automatic: terms == Terms::Automatic });
        }
        for (node, skip) in due.skipped {
            let Some(skip) = skip else { continue };
            let noted = money::skipped(&self.core, node.index, book)?.filter(|noted| noted.why.is_same_reason(&skip));
            skipped.push(skip_view(&node, &skip, noted.map(|noted| noted.since)));
        }
        Ok((paid, skipped))
    }

    fn listed(&self, state: &AppState, wishes: &[Wish]) -> Result<Found, Fault> {
        let mut checker = Checker::new(self.plans(state), &self.core, Against::Payable)?;
        let short = planning::short_of(&self.core, &self.paying, wishes)?;
        for (node, sums) in accruals::unposted(&self.core, &self.hot, short)? {
            for (currency, earned) in sums {
                let (units, _) = earned.split().map_err(|why| Fault::Invariant(why.to_string()))?;
                checker.unposted.insert((node, currency), units);
            }
        }
        let (mut paid, mut skipped) = (Vec::new(), Vec::new());
        for (number, wish) in wishes.iter().enumerate() {
            let node = nodes::by_id(&self.core, &wish.node)?;
            match (checker.check(number, wish)?, node) {
                (Ok(one), Some(node)) => paid.push(Paid {
                    node,
                    currency: wish.currency,
                    amount: one.amount,
                    balance: one.free,
                    address: one.address,
                    priority: one.priority,
                    is_automatic: false,
                }),
                (Ok(_), None) => (),
                (Err(wrong), node) => skipped.extend(wrong.into_iter().map(|problem| PreviewSkip {
                    node_id: wish.node.to_string(),
                    node_name: node.as_ref().map(|node| node.name.clone()),
                    why: problem.name.to_owned(),
                    text: format!("{LIST}[{number}].{}: {}", problem.field, problem.text),
                    since: None,
                })),
            }
        }
        Ok((paid, skipped))
    }

    fn shown(&self, state: &AppState, (paid, skipped): Found) -> Result<Preview, Fault> {
        let (now, limits) = (self.now, &self.paying.rules.guards);
        let money_state = money::state(&self.core)?;
        let rate = money_state.trx_rate;
        let is_lone = people::count_from(&self.core, Role::Admin)? <= 1;
        let looked = state.money.wallet().filter(|_| self.paying.by.has_wallet);
        let fee_sun = self.paying.fee_sun;
        let is_unknown = self.paying.by.has_wallet && state.money.wallet_within(LOOK_MAX_AGE_MS, now).is_none();
        // In the order in which they would be signed: by priority, then as they were asked for.
        let mut order: Vec<usize> = (0..paid.len()).collect();
        order.sort_by_key(|at| (paid.get(*at).map(|one| std::cmp::Reverse(one.priority)), *at));
        let mut spending = BTreeMap::new();
        let mut waits: Vec<Option<Waiting>> = vec![is_unknown.then(Waiting::wallet_unknown); paid.len()];
        for at in order {
            let Some(one) = paid.get(at) else { continue };
            let book = self.paying.book(one.currency);
            let spent = match spending.entry(one.currency) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(money::spending(&self.core, book, now.wall)?),
            };
            let facts = Facts {
                amount: one.amount,
                address: &one.address,
                class: one.node.node_type,
                fee_sun,
                rate,
                is_approved: false,
                lone_admin_since: is_lone.then_some(now.wall),
                pays_any_fee: !one.is_automatic,
            };
            match guard::signable(limits, &facts, spent, now) {
                Ok(()) => spent.add(Spent { at: now.wall, amount: one.amount, class: one.node.node_type }, now.wall),
                Err(held) => {
                    if let Some(wait) = waits.get_mut(at) {
                        wait.get_or_insert_with(|| Waiting { why: held.guard.name(), text: held.to_string(), until: held.until });
                    }
                }
            }
        }
        let mut totals: Vec<PreviewTotal> = Vec::new();
        for currency in [Currency::Usdt, Currency::Lucid] {
            let of: Vec<_> = paid.iter().filter(|one| one.currency == currency).collect();
            let sum = Units(of.iter().fold(0i64, |sum, one| sum.saturating_add(one.amount.0)));
            if !of.is_empty() {
                totals.push(PreviewTotal { currency, payouts: of.len(), amount: text(sum, currency) });
            }
        }
        let transfers = u64::try_from(paid.len()).unwrap_or(u64::MAX);
        let fees = looked.as_ref().map(|look| look.reading.worst_fee_sun(transfers));
        let usable = rate.filter(|rate| rate.is_usable(now.wall));
        Ok(Preview {
            settlement: self.paying.by.settlement,
            payouts: paid.into_iter().zip(waits).map(|(one, held)| payout_view(one, held, fee_sun, usable)).collect(),
            skipped,
            totals,
            fees_sun: fees.map(|sun| sun.to_string()),
            fees_usdt: fees.and_then(|sun| usdt(sun, usable)),
            effective_minimum: fee_sun
                .and_then(|sun| guard::effective_minimum(limits, sun, rate, now.wall))
                .map(|units| text(units.max(self.paying.rules.threshold), Currency::Usdt)),
            fees_as_of: looked.map(|look| look.at.rfc3339()),
            closed: state.money.closed().map(PreviewWait::from),
        })
    }
}

impl From<Waiting> for PreviewWait {
    fn from(waiting: Waiting) -> PreviewWait {
        PreviewWait { guard: waiting.why.to_owned(), text: waiting.text, until: waiting.until.map(Timestamp::rfc3339) }
    }
}

fn payout_view(one: Paid, held: Option<Waiting>, fee_sun: Option<u64>, rate: Option<TrxRate>) -> PreviewPayout {
    PreviewPayout {
        node_id: one.node.id.to_string(),
        node_name: one.node.name,
        currency: one.currency,
        amount: text(one.amount, one.currency),
        priority: one.priority,
        balance_before: text(one.balance, one.currency),
        balance_after: text(Units(one.balance.0.saturating_sub(one.amount.0)), one.currency),
        fee_sun: fee_sun.map(|sun| sun.to_string()),
        fee_usdt: fee_sun.and_then(|sun| usdt(sun, rate)),
        waits: held.map(PreviewWait::from).into_iter().collect(),
    }
}

fn skip_view(node: &Node, skip: &Skip, since: Option<Timestamp>) -> PreviewSkip {
    PreviewSkip {
        node_id: node.id.to_string(),
        node_name: Some(node.name.clone()),
        why: skip.name().to_owned(),
        text: skip.to_string(),
        since: since.map(Timestamp::rfc3339),
    }
}

fn usdt(sun: u64, rate: Option<TrxRate>) -> Option<String> {
    rate.map(|rate| text(rate.in_usdt(sun), Currency::Usdt))
}

fn text(units: Units, currency: Currency) -> String {
    units.to_decimal(currency).to_string()
}
