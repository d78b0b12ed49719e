//! What holds for all payouts: whether money moves, whether it may, and the decisions that stop it and let it go on.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::{RawAmount, reason};
use super::json::Json;
use super::reads::{Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::audit::Actor;
use crate::domain::ids::UserId;
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::{Currency, Units};
use crate::domain::money_state::{FreezeKind, GoneLive, MoneyState, RECONCILED_FOR_MS, TrxRate};
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::live::{Event, Job, Waiting};
use crate::storage::core::money_actions::{self as actions};
use crate::storage::core::{ledger, money};
use crate::storage::fault::Fault;
use crate::storage::table::Snapshot;

/// What people see of the gateway, besides what `AppState::payer` knows of it.
#[derive(Debug, Clone)]
pub struct Payments {
    /// As it is named in the settings: `none`, `tron` or `payment_service`.
    pub gateway: &'static str,
    /// What people call a network that an attempt is pinned to.
    pub network_name: fn(&str) -> Option<&'static str>,
    pub fee_cap_sun: u64,
}

impl Payments {
    /// A dry run.
    pub fn simulated() -> Payments {
        Payments { gateway: "none", network_name: |_| None, fee_cap_sun: 0 }
    }
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WaitingView {
    /// Stable name, such as `approval` or `day_cap`.
    pub why: String,
    /// For people.
    pub text: String,
    /// When it passes by time alone, where that is known.
    pub until: Option<String>,
}

impl From<Waiting> for WaitingView {
    fn from(waiting: Waiting) -> WaitingView {
        WaitingView { why: waiting.why.to_owned(), text: waiting.text, until: waiting.until.map(Timestamp::rfc3339) }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FreezeView {
    pub kind: FreezeKind,
    pub reason: String,
    pub since: String,
    /// Null: the manager itself.
    pub by: Option<Person>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StopView {
    pub reason: String,
    pub since: String,
    pub by: Option<Person>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LiveView {
    pub at: String,
    pub by: Option<Person>,
    pub wallet: String,
    /// What was earned before is not owed; null: everything accrued is.
    pub owed_from: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RateView {
    /// USDT for one TRX.
    pub usdt: String,
    pub set_at: String,
    /// It is not used from then on.
    pub expires_at: String,
    pub usable: bool,
}

/// What the guards allow, and what was signed lately.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CapsView {
    pub max_payout: String,
    pub max_hour: String,
    pub max_day: String,
    pub approval_above: String,
    /// Share of a payout that the network's fee may be, in percent; `0`: it is not looked at.
    pub max_fee_percent: String,
    pub signed_last_hour: String,
    pub signed_last_day: String,
}

/// What holds for all payouts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MoneyView {
    /// `simulated`: no money moves.
    pub settlement: Settlement,
    /// As it is named in the settings.
    pub gateway: String,
    pub network: String,
    /// `mainnet`, `nile` or `shasta`; null: it has no name.
    pub network_name: Option<String>,
    /// The wallet that pays.
    pub wallet: String,
    /// It is the manager's own: what leaves it is compared with the books.
    pub has_wallet: bool,
    /// Why nothing is signed at all now; null: something may be.
    pub closed: Option<WaitingView>,
    pub frozen: Option<FreezeView>,
    pub stopped: Option<StopView>,
    /// Null while nobody decided that money moves from this wallet.
    pub live: Option<LiveView>,
    /// Money would move, and somebody has to decide first.
    pub needs_going_live: bool,
    /// When everything that had left the wallet was known for the last time; null: not since the start, or there is no wallet.
    pub reconciled_at: Option<String>,
    /// Why the last reconciliation did not get through.
    pub reconcile_error: Option<String>,
    /// Transfers out of a wallet of this network that nothing here planned, and nobody has booked: they hold all payouts.
    pub unknown_transfers: usize,
    /// Why the books stop all payouts; null: they add up.
    pub ledger_broken: Option<String>,
    pub trx_rate: Option<RateView>,
    pub caps: CapsView,
}

fn person(names: &mut Names<'_>, by: Option<&UserId>) -> Result<Option<Person>, Fault> {
    by.map_or(Ok(None), |by| names.person(&Actor::User(by.to_string())))
}

fn rate(rate: TrxRate, now: Timestamp) -> RateView {
    RateView {
        usdt: rate.usdt.to_decimal(Currency::Usdt).to_string(),
        set_at: rate.set_at.rfc3339(),
        expires_at: rate.expires_at().rfc3339(),
        usable: rate.is_usable(now),
    }
}

fn view(state: &AppState, read: &Snapshot) -> Result<MoneyView, Fault> {
    let (settings, now) = (state.settings(), state.now());
    let (payments, payer) = (&settings.payments, &state.payer);
    let MoneyState { frozen, stopped, live, trx_rate } = money::state(read)?;
    let mut names = Names::new(read);
    let is_this = |live: &GoneLive| live.network == payer.pin.network && live.wallet == payer.pin.wallet;
    let live = live.filter(is_this);
    let spending = money::spending(read, Book { settlement: payer.settlement, currency: Currency::Usdt }, now.wall)?;
    let usdt = |units: Units| units.to_decimal(Currency::Usdt).to_string();
    let guards = &settings.payouts.guards;
    let wallet = money::wallet(read, &payer.pin)?;
    let reconciled = state.money.reconciled_ms(now).filter(|age| *age < RECONCILED_FOR_MS);
    Ok(MoneyView {
        settlement: payer.settlement,
        gateway: payments.gateway.to_owned(),
        network: payer.pin.network.clone(),
        network_name: (payments.network_name)(&payer.pin.network).map(str::to_owned),
        wallet: payer.pin.wallet.clone(),
        has_wallet: payer.has_wallet,
        closed: state.money.closed().map(WaitingView::from),
        frozen: match frozen {
            Some(freeze) => {
                let by = person(&mut names, freeze.by.as_ref())?;
                Some(FreezeView { kind: freeze.kind, reason: freeze.reason, since: freeze.since.rfc3339(), by })
            }
            None => None,
        },
        stopped: match stopped {
            Some(stop) => {
                let by = person(&mut names, stop.by.as_ref())?;
                Some(StopView { reason: stop.reason, since: stop.since.rfc3339(), by })
            }
            None => None,
        },
        needs_going_live: payer.settlement == Settlement::Live && live.is_none(),
        live: match live {
            Some(live) => {
                let by = person(&mut names, Some(&live.by))?;
                Some(LiveView { at: live.at.rfc3339(), by, wallet: live.wallet, owed_from: live.owed_from.map(Timestamp::rfc3339) })
            }
            None => None,
        },
        reconciled_at: wallet.filter(|_| reconciled.is_some()).and_then(|row| row.reconciled_at).map(Timestamp::rfc3339),
        reconcile_error: state.money.reconcile_error().map(|(why, _)| why),
        unknown_transfers: money::unbooked(read, payer)?.len(),
        ledger_broken: ledger::latched(read)?,
        trx_rate: trx_rate.map(|of| rate(of, now.wall)),
        caps: CapsView {
            max_payout: usdt(guards.max_payout),
            max_hour: usdt(guards.max_hour),
            max_day: usdt(guards.max_day),
            approval_above: usdt(guards.approval_above),
            max_fee_percent: rust_decimal::Decimal::new(i64::from(guards.max_fee_hundredths), 2).normalize().to_string(),
            signed_last_hour: usdt(spending.hour()),
            signed_last_day: usdt(spending.day()),
        },
    })
}

/// What holds for all payouts
#[utoipa::path(get, path = "/money", tag = "payouts", security(("access" = ["payout:read"])), responses((status = 200, body = MoneyView)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<MoneyView>, ApiError> {
    let read = state.store.read()?;
    Ok(Json(view(&state, &read)?))
}

/// Tells who watches, and lets the cycle look.
pub(super) fn changed(state: &AppState) -> Result<Json<MoneyView>, ApiError> {
    state.events.publish(&Event::Money {});
    state.nudges.nudge(Job::Tracking);
    let read = state.store.read()?;
    Ok(Json(view(state, &read)?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// Kept in the audit log.
    #[schema(min_length = 3, max_length = 500, example = "looking into a transfer")]
    pub reason: String,
}

pub(super) fn why(body: Unchecked<ReasonRequest>) -> Result<String, ApiError> {
    body.check(|body, errors| reason(errors, &body.reason))
}

fn who(caller: &Caller) -> Option<UserId> {
    match &caller.principal {
        super::auth::Principal::User { id, .. } => Some(id.clone()),
        _ => None,
    }
}

/// Freeze payouts
///
/// Nothing is signed and nothing is sent for the first time, until an admin unfreezes. What was sent goes on being looked after. Programs may do it too.
#[utoipa::path(post, path = "/money/freeze", tag = "payouts", security(("access" = ["money:freeze"])), request_body = ReasonRequest,
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody)))]
pub async fn freeze(State(state): State<AppState>, caller: Caller, body: Unchecked<ReasonRequest>) -> Result<Json<MoneyView>, ApiError> {
    let (reason, by, act) = (why(body)?, who(&caller), caller.act(state.now()));
    state.store.write_money(move |tx| actions::freeze(tx, &act, by.clone(), &reason)).await?;
    changed(&state)
}

/// Unfreeze payouts
///
/// Refused (422) until what left the wallet was enumerated completely, every unknown transfer of this network is booked, and the books add up. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/money/unfreeze", tag = "payouts", security(("access" = ["money:write"])), request_body = ReasonRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn unfreeze(State(state): State<AppState>, caller: Caller, body: Unchecked<ReasonRequest>) -> Result<Json<MoneyView>, ApiError> {
    let (reason, now) = (why(body)?, state.now());
    let payer = state.payer.clone();
    let reconciled = !payer.has_wallet || state.money.reconciled_ms(now).is_some_and(|age| age < RECONCILED_FOR_MS);
    let act = caller.act(now);
    state.store.write_money(move |tx| actions::unfreeze(tx, &act, &reason, &payer, reconciled)).await?;
    changed(&state)
}

/// Emergency stop
///
/// As a freeze, and nothing is sent again either. What was sent may still land, and goes on being looked after. Programs may do it too.
#[utoipa::path(post, path = "/money/stop", tag = "payouts", security(("access" = ["money:freeze"])), request_body = ReasonRequest,
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody)))]
pub async fn stop(State(state): State<AppState>, caller: Caller, body: Unchecked<ReasonRequest>) -> Result<Json<MoneyView>, ApiError> {
    let reason = why(body)?;
    let act = caller.act(state.now());
    let by = who(&caller);
    state.store.write_money(move |tx| actions::stop(tx, &act, by.clone(), &reason)).await?;
    // The key goes too: a stop must hold whatever else goes wrong here.
    if let Err(why) = state.signer.lock().await {
        tracing::warn!(why, "the signer was not locked by the stop");
    }
    changed(&state)
}

/// End the emergency stop
///
/// Wants a session confirmed within the last 5 minutes. The wallet stays locked until it is unlocked.
#[utoipa::path(post, path = "/money/resume", tag = "payouts", security(("access" = ["money:write"])), request_body = ReasonRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn resume(State(state): State<AppState>, caller: Caller, body: Unchecked<ReasonRequest>) -> Result<Json<MoneyView>, ApiError> {
    let reason = why(body)?;
    let act = caller.act(state.now());
    state.store.write_money(move |tx| actions::resume(tx, &act, &reason)).await?;
    changed(&state)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Begun {
    pub begun: bool,
}

/// Compare what left the wallet with what is known here, now
#[utoipa::path(post, path = "/money/reconcile", tag = "payouts", security(("access" = ["money:freeze"])), responses((status = 202, body = Begun)))]
pub async fn reconcile(State(state): State<AppState>) -> (StatusCode, Json<Begun>) {
    state.money.unreconciled(None, state.now());
    state.nudges.nudge(Job::Wallet);
    (StatusCode::ACCEPTED, Json(Begun { begun: true }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateRequest {
    /// USDT for one TRX: number or string, exact.
    #[schema(value_type = String, format = "decimal", example = "0.31")]
    usdt: RawAmount,
}

/// Most that somebody may say a TRX is worth, in micro-USDT: beyond, it is a slip of the hand.
const MAX_RATE: Units = Units(1_000_000_000);

/// Say what a TRX is worth
///
/// By it, the share of a payout that the network's fee takes is judged. It is used for 30 days. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(put, path = "/money/trx-rate", tag = "payouts", security(("access" = ["money:write"])), request_body = RateRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = MoneyView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub async fn set_rate(State(state): State<AppState>, caller: Caller, body: Unchecked<RateRequest>) -> Result<Json<MoneyView>, ApiError> {
    let usdt = body.check(|body, errors| match body.usdt.parse(Currency::Usdt) {
        Ok(amount) => {
            let fits = amount.units > Units::ZERO && amount.units <= MAX_RATE;
            errors.require(fits, "usdt", "must be above 0 and at most 1000");
            amount.units
        }
        Err(why) => {
            errors.add("usdt", why.to_string());
            Units::ZERO
        }
    })?;
    caller.person(Role::Admin)?;
    let act = caller.act(state.now());
    state.store.write_money(move |tx| actions::set_rate(tx, &act, usdt)).await?;
    changed(&state)
}
