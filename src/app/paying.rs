//! From the configuration to whoever pays: the gateway, the former ones, and the signer.

use std::sync::Arc;

use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::api::money::Payments;
use crate::api::wallet::{NoSigner, Pending, Signer, SignerRefusal, SignerState};
use crate::config::{Config, Gateway, PayoutMode};
use crate::domain::guard::GuardLimits;
use crate::gateways::payment::signer::{ClientError, Passphrase, Refusal, SignerChild, SignerClient};
use crate::gateways::payment::{Gateways, PaymentGateway, Simulated};

/// How often a signer that starts is tried with the configured passphrase.
const UNLOCK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// Everything that a manager pays by.
pub struct Paying {
    pub gateways: Gateways,
    pub signer: Arc<dyn Signer>,
    /// Ends with it.
    pub child: Option<SignerChild>,
}

impl Paying {
    /// With a gateway of the caller's and no signer.
    pub fn only(gateway: Arc<dyn PaymentGateway>) -> Paying {
        Paying { gateways: Gateways::only(gateway), signer: Arc::new(NoSigner), child: None }
    }

    /// Payouts are simulated.
    pub fn simulated() -> Paying {
        Paying::only(Arc::new(Simulated))
    }
}

/// What the api shows of it.
pub fn payments(config: &Config, gateway: &dyn PaymentGateway, guards: GuardLimits) -> Payments {
    let name = match (config.payout.mode, config.payout.gateway) {
        (PayoutMode::DryRun, _) | (_, Gateway::None) => "none",
        (_, Gateway::Tron) => "tron",
        (_, Gateway::PaymentService) => "payment_service",
    };
    Payments {
        gateway: name,
        settlement: gateway.settlement(),
        pin: gateway.pin(),
        has_wallet: gateway.has_wallet(),
        fee_cap_sun: u64::from(config.tron.fee_limit_sun),
        guards,
    }
}

/// The signer behind its socket, as the api sees it.
pub struct Behind(pub SignerClient);

impl Signer for Behind {
    fn state(&self) -> Pending<'_, Result<SignerState, String>> {
        Box::pin(async {
            let status = self.0.status().await.map_err(|error| error.to_string())?;
            Ok(SignerState {
                address: status.wallet.account.to_string(),
                unlocked: status.unlocked,
                max_payout: status.caps.max_payout,
                max_24h: status.caps.max_24h,
                max_fee_sun: status.caps.max_fee_sun,
                spent_24h: status.spent_24h,
            })
        })
    }

    fn unlock(&self, passphrase: Zeroizing<String>) -> Pending<'_, Result<(), SignerRefusal>> {
        Box::pin(async move {
            let passphrase = Passphrase::new(&passphrase);
            self.0.unlock(passphrase).await.map_err(|error| match error {
                ClientError::Refused(refused) if refused.name == Refusal::WrongPassphrase => SignerRefusal::WrongPassphrase,
                ClientError::Refused(refused) if refused.name == Refusal::Throttled => {
                    let ms = refused.retry_after_ms.unwrap_or(1_000);
                    SignerRefusal::Wait { seconds: u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX) }
                }
                other => SignerRefusal::Away(other.to_string()),
            })
        })
    }

    fn lock(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(async { self.0.lock().await.map_err(|error| error.to_string()) })
    }
}

/// Unlocks the signer with the configured passphrase, whenever it is locked: after each start of either. Ends when the process does, or when the passphrase is wrong.
pub async fn keep_unlocked(client: SignerClient, passphrase: Zeroizing<String>, mut stopping: watch::Receiver<bool>) {
    let mut is_unlocked = false;
    loop {
        match client.status().await {
            // Locked by a person, or by the emergency stop, it stays locked; a signer that has just started is unlocked.
            Ok(status) if !status.unlocked && !is_unlocked => match client.unlock(Passphrase::new(&passphrase)).await {
                Ok(()) => is_unlocked = true,
                Err(ClientError::Refused(refused)) if refused.name == Refusal::WrongPassphrase => {
                    tracing::error!("tron.passphrase does not open the keystore: the wallet stays locked");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the signer is not unlocked yet"),
            },
            Ok(status) => is_unlocked |= status.unlocked,
            Err(_) => is_unlocked = false,
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(UNLOCK_EVERY) => (),
        }
    }
}
