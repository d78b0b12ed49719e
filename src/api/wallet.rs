//! The wallet that pays: what it holds, what a transfer costs, and whether the signer is unlocked.

use std::future::{Future, ready};
use std::pin::Pin;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::Json;
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::guard;
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::Currency;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::user::Role;
use crate::domain::wallet::WalletReading;
use crate::live::{Event, Job};
use crate::storage::core::{audit, money};

/// What the far end of a port answers, later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the signer says of itself. Amounts in smallest units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerState {
    pub address: String,
    pub unlocked: bool,
    pub max_payout: u64,
    pub max_24h: u64,
    pub max_fee_sun: u64,
    pub spent_24h: u64,
}

/// Why the signer did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerRefusal {
    /// There is none, or it cannot be reached.
    Away(String),
    WrongPassphrase,
    Wait {
        seconds: u32,
    },
}

/// The signer process, as the api needs it; `app` hands it over.
pub trait Signer: Send + Sync {
    fn state(&self) -> Pending<'_, Result<SignerState, String>>;
    fn unlock(&self, passphrase: Zeroizing<String>) -> Pending<'_, Result<(), SignerRefusal>>;
    fn lock(&self) -> Pending<'_, Result<(), String>>;
}

/// A manager whose gateway signs nothing itself.
pub struct NoSigner;

const NONE: &str = "this manager has no wallet of its own";

impl Signer for NoSigner {
    fn state(&self) -> Pending<'_, Result<SignerState, String>> {
        Box::pin(ready(Err(NONE.to_owned())))
    }

    fn unlock(&self, _: Zeroizing<String>) -> Pending<'_, Result<(), SignerRefusal>> {
        Box::pin(ready(Err(SignerRefusal::Away(NONE.to_owned()))))
    }

    fn lock(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SignerView {
    /// Null where it cannot be reached.
    pub unlocked: Option<bool>,
    /// Why it cannot be reached.
    pub error: Option<String>,
    /// Its own limits, in USDT, and what it signed in the last 24 hours.
    pub max_payout: Option<String>,
    pub max_day: Option<String>,
    pub signed_last_day: Option<String>,
    /// What it lets one transfer cost at most, in sun.
    pub max_fee_sun: Option<String>,
}

/// What the network said of the wallet, all of it final.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReadingView {
    /// When it was looked at.
    pub at: String,
    pub usdt: String,
    pub trx: String,
    pub energy_free: u64,
    pub bandwidth_free: u64,
    /// What a transfer costs with nothing staked, in TRX: to somebody who holds USDT, and to somebody who does not yet.
    pub fee_trx_known: String,
    pub fee_trx_new: String,
    /// The smallest automatic payout: the threshold, or what the dearer one is an allowed share of at the rate that was set; null while the rate is not known.
    pub effective_minimum: Option<String>,
    /// Transfers to newcomers that its TRX and energy pay for.
    pub transfers_affordable: u64,
    pub solid_block: u64,
    pub solid_at: String,
    pub head_at: String,
}

/// The wallet that pays.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WalletView {
    /// `simulated`: no money moves.
    pub settlement: Settlement,
    pub gateway: String,
    pub network: String,
    /// `mainnet`, `nile` or `shasta`; null: it has no name.
    pub network_name: Option<String>,
    /// Null: there is no wallet of its own.
    pub address: Option<String>,
    pub contract: Option<String>,
    /// Promised to payouts that have not ended.
    pub reserved: String,
    /// As it was last seen; null: not yet.
    pub reading: Option<ReadingView>,
    /// Why it could not be looked at since, and since when.
    pub error: Option<String>,
    pub error_since: Option<String>,
    pub signer: Option<SignerView>,
}

fn trx(sun: u64) -> String {
    rust_decimal::Decimal::from_i128_with_scale(i128::from(sun), 6).normalize().to_string()
}

fn usdt(units: u64) -> String {
    rust_decimal::Decimal::from_i128_with_scale(i128::from(units), Currency::Usdt.decimals()).normalize().to_string()
}

fn affordable(reading: &WalletReading) -> u64 {
    // Costs rise with the number, so the largest that fits is found by halving.
    let (mut low, mut high) = (0u64, 100_000u64);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if reading.worst_fee_sun(middle) <= reading.trx_sun { low = middle } else { high = middle - 1 }
    }
    low
}

async fn view(state: &AppState) -> Result<WalletView, ApiError> {
    let settings = state.settings();
    let (payments, payer) = (&settings.payments, &state.payer);
    let now = state.now();
    let (reserved, rate) = {
        let read = state.store.read()?;
        let reserved = money::reserved(&read, Book { settlement: payer.settlement, currency: Currency::Usdt })?;
        (reserved, money::state(&read)?.trx_rate)
    };
    let reading = state.money.wallet().map(|look| {
        let of = &look.reading;
        let minimum = guard::effective_minimum(&settings.payouts.guards, of.fee_sun(true), rate, now.wall);
        let minimum = minimum.map(|units| units.max(settings.payouts.threshold));
        ReadingView {
            at: look.at.rfc3339(),
            usdt: of.balance.to_decimal(Currency::Usdt).to_string(),
            trx: trx(of.trx_sun),
            energy_free: of.energy_free,
            bandwidth_free: of.bandwidth_free,
            fee_trx_known: trx(of.fee_sun(false)),
            fee_trx_new: trx(of.fee_sun(true)),
            effective_minimum: minimum.map(|units| units.to_decimal(Currency::Usdt).to_string()),
            transfers_affordable: affordable(of),
            solid_block: of.solid_block,
            solid_at: of.solid_at.rfc3339(),
            head_at: of.head_at.rfc3339(),
        }
    });
    let signer = match payer.has_wallet {
        false => None,
        true => Some(match state.signer.state().await {
            Ok(of) => SignerView {
                unlocked: Some(of.unlocked),
                error: None,
                max_payout: Some(usdt(of.max_payout)),
                max_day: Some(usdt(of.max_24h)),
                signed_last_day: Some(usdt(of.spent_24h)),
                max_fee_sun: Some(of.max_fee_sun.to_string()),
            },
            Err(why) => {
                SignerView { unlocked: None, error: Some(why), max_payout: None, max_day: None, signed_last_day: None, max_fee_sun: None }
            }
        }),
    };
    let error = state.money.wallet_error();
    Ok(WalletView {
        settlement: payer.settlement,
        gateway: payments.gateway.to_owned(),
        network: payer.pin.network.clone(),
        network_name: (payments.network_name)(&payer.pin.network).map(str::to_owned),
        address: payer.has_wallet.then(|| payer.pin.wallet.clone()),
        contract: payer.has_wallet.then(|| payer.pin.contract.clone()),
        reserved: reserved.to_decimal(Currency::Usdt).to_string(),
        reading,
        error_since: error.as_ref().map(|(_, since)| Timestamp::rfc3339(*since)),
        error: error.map(|(why, _)| why),
        signer,
    })
}

/// The wallet that pays
#[utoipa::path(get, path = "/wallet", tag = "payouts", security(("access" = ["ledger:read"])), responses((status = 200, body = WalletView)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<WalletView>, ApiError> {
    Ok(Json(view(&state).await?))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnlockRequest {
    /// Of the keystore. Handed to the signer and kept nowhere.
    #[schema(min_length = 1, max_length = 1024, format = "password")]
    passphrase: String,
}

/// Unlock the wallet
///
/// The signer opens its keystore and signs until it is locked or ends. Wrong passphrases are slowed down. Wants a session confirmed within the last 5 minutes.
#[utoipa::path(post, path = "/wallet/unlock", tag = "payouts", security(("access" = ["money:write"])), request_body = UnlockRequest, extensions(("x-fresh-factor" = json!(true))),
    responses((status = 200, body = WalletView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn unlock(State(state): State<AppState>, caller: Caller, body: Unchecked<UnlockRequest>) -> Result<Json<WalletView>, ApiError> {
    let passphrase = body.check(|body, errors| {
        errors.require((1..=1024).contains(&body.passphrase.chars().count()), "passphrase", "must have 1 to 1024 characters");
        Zeroizing::new(body.passphrase)
    })?;
    caller.person(Role::Admin)?;
    let draft = caller.act(state.now()).draft("wallet.unlock", "");
    match state.signer.unlock(passphrase).await {
        Ok(()) => (),
        Err(SignerRefusal::WrongPassphrase) => {
            let refused = draft.refused("WrongPassphrase");
            state.store.write(move |tx| audit::append(tx, refused.clone())).await?;
            return Err(Refusal::Rule("WrongPassphrase", "the passphrase does not open the keystore".into()).into());
        }
        Err(SignerRefusal::Wait { seconds }) => return Err(ApiError::throttled(seconds)),
        Err(SignerRefusal::Away(why)) => return Err(Refusal::Rule("SignerAway", why).into()),
    }
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    state.events.publish(&Event::Money {});
    // Also compared again, where the signer could not be asked before.
    state.nudges.nudge(Job::Wallet);
    state.nudges.nudge(Job::Tracking);
    Ok(Json(view(&state).await?))
}

/// Lock the wallet
///
/// The signer forgets the key; nothing is signed until it is unlocked again. Programs may do it too.
#[utoipa::path(post, path = "/wallet/lock", tag = "payouts", security(("access" = ["money:freeze"])), responses((status = 200, body = WalletView), (status = 422, body = ErrorBody)))]
pub async fn lock(State(state): State<AppState>, caller: Caller) -> Result<Json<WalletView>, ApiError> {
    state.signer.lock().await.map_err(|why| Refusal::Rule("SignerAway", why))?;
    let draft = caller.act(state.now()).draft("wallet.lock", "");
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    state.events.publish(&Event::Money {});
    Ok(Json(view(&state).await?))
}
