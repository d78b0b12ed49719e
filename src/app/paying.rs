//! From the configuration to whoever pays: the gateway, the former ones, and the signer.

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::watch;
use zeroize::Zeroizing;

use super::payment_service;
use crate::api::money::Payments;
use crate::api::wallet::{NoSigner, Pending, Signer, SignerRefusal, SignerState};
use crate::clock::Clock;
use crate::config::{Config, Gateway, PayoutMode, TronNetwork};
use crate::domain::address::TronAddress;
use crate::domain::money::Amount;
use crate::gateways::payment::service::Service;
use crate::gateways::payment::signer::{Caps, ClientError, Keystore, Launch, Passphrase, Refusal, SignerChild, SignerClient, Wallet};
use crate::gateways::payment::tron::{self, Http, Network, Setup, Transport, TronGateway};
use crate::gateways::payment::{Former, Gateways, PaymentGateway, Simulated};

/// How often a signer that starts is tried with the configured passphrase.
const UNLOCK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// Everything that a manager pays by.
pub struct Paying {
    pub gateways: Gateways,
    pub signer: Arc<dyn Signer>,
    pub custody: Custody,
}

/// A signer that the manager started, and what opens it. The process ends with this.
#[derive(Default)]
pub struct Custody {
    pub child: Option<SignerChild>,
    pub unlock: Option<(SignerClient, Zeroizing<String>)>,
}

impl Paying {
    /// With a gateway of the caller's and no signer.
    pub fn only(gateway: Arc<dyn PaymentGateway>) -> Paying {
        Paying { gateways: Gateways::only(gateway), signer: Arc::new(NoSigner), custody: Custody::default() }
    }

    /// What the settings name. The clock is that of the manager.
    pub fn configured(config: &Config, clock: &Clock) -> Result<Paying, String> {
        let reader = clock.clone();
        let now: tron::Clock = Arc::new(move || reader.now());
        let setup = setup(config)?;
        let mut known: Vec<String> = config.tron.witness_urls.clone();
        known.extend(config.tron.node_url.clone());
        let transport: Arc<dyn Transport> = Arc::new(Http::new(config.tron.api_key.as_ref().map(|key| key.reveal()), &known)?);
        // A name for the service's wallet is no address, and then nobody looks at the chain.
        let account = config.tron_payment.wallet.as_deref().and_then(|text| TronAddress::parse(text).ok());
        let watched = setup.clone().zip(account).map(|(setup, account)| -> Arc<dyn PaymentGateway> {
            Arc::new(TronGateway::watching(&setup, account, Arc::clone(&transport), Arc::clone(&now)))
        });
        let service = config.tron_payment.url.as_ref().map(|_| payment_service::gateway(config, clock, watched)).transpose()?;
        let former = former(TronGateway::formers(setup.clone(), Arc::clone(&transport), Arc::clone(&now)), service.clone());
        let (mut signer, mut custody): (Arc<dyn Signer>, Custody) = (Arc::new(NoSigner), Custody::default());
        let current: Arc<dyn PaymentGateway> = match (config.payout.mode, config.payout.gateway, setup, service) {
            (PayoutMode::Live, Gateway::Tron, Some(setup), _) => {
                let (client, wallet, kept) = keep(config, &setup)?;
                (signer, custody) = (Arc::new(Behind(client.clone())), kept);
                Arc::new(TronGateway::new(&setup, wallet, Arc::new(client), transport, now))
            }
            (PayoutMode::Live, Gateway::PaymentService, _, Some(service)) => service,
            _ => Arc::new(Simulated),
        };
        Ok(Paying { gateways: Gateways::new(current, former), signer, custody })
    }
}

/// Attempts of an earlier configuration are resolved whatever pays now.
fn former(tron: Former, service: Option<Arc<Service>>) -> Former {
    Arc::new(move |pin, urls| {
        let service = service.clone().filter(|service| service.pin() == *pin);
        if *pin == Simulated.pin() {
            return Some(Arc::new(Simulated));
        }
        service.map(|service| -> Arc<dyn PaymentGateway> { service }).or_else(|| tron(pin, urls))
    })
}

/// None where no node is named.
fn setup(config: &Config) -> Result<Option<Setup>, String> {
    let tron = &config.tron;
    let Some(node_url) = tron.node_url.clone() else { return Ok(None) };
    let network = match tron.network {
        TronNetwork::Mainnet => Network::named("mainnet"),
        TronNetwork::Nile => Network::named("nile"),
        TronNetwork::Shasta => Network::named("shasta"),
        TronNetwork::Private => tron.genesis_block_id.as_deref().and_then(Network::with_genesis),
    };
    let network = network.ok_or("tron.genesis_block_id is not known")?;
    let contract = match &tron.usdt_contract {
        Some(text) => Some(address("tron.usdt_contract", text)?),
        None => network.usdt(),
    };
    let contract = contract.ok_or("tron.usdt_contract is not known")?;
    let (witness_urls, fee_cap_sun) = (tron.witness_urls.clone(), u64::from(tron.fee_limit_sun));
    Ok(Some(Setup { network, contract, node_url, witness_urls, fee_cap_sun }))
}

fn address(key: &str, text: &str) -> Result<TronAddress, String> {
    TronAddress::parse(text).map_err(|why| format!("{key} {why}"))
}

/// The signer that the settings name, started where that is the manager's to do.
fn keep(config: &Config, setup: &Setup) -> Result<(SignerClient, Wallet, Custody), String> {
    let tron = &config.tron;
    let parsed = |key: &str, text: &Option<String>| text.as_deref().map(|text| address(key, text)).transpose();
    let (account, key) = (parsed("tron.wallet", &tron.wallet)?, parsed("tron.signer_key", &tron.signer_key)?);
    let permission_id = tron.permission_id.and_then(NonZeroU32::new);
    if let Some(socket) = &tron.signer_socket {
        let account = account.ok_or("tron.wallet must be given with tron.signer_socket")?;
        let wallet = Wallet { account, key: key.unwrap_or(account), permission_id };
        return Ok((SignerClient::new(socket), wallet, Custody::default()));
    }
    let keystore = tron.keystore.clone().ok_or("tron.keystore must be given")?;
    let own = Keystore::read(&keystore).map_err(|error| format!("tron.keystore: {error}"))?.address();
    if key.unwrap_or(account.unwrap_or(own)) != own {
        return Err(format!("tron.keystore holds the key of {own}, and the settings name another one"));
    }
    let wallet = Wallet { account: account.unwrap_or(own), key: own, permission_id };
    let (socket, state_dir) = Launch::below(&config.storage.data_dir);
    let units = |amount: Amount| u64::try_from(amount.units.0).unwrap_or(0);
    let launch = Launch {
        program: std::env::current_exe().map_err(|error| format!("this program's own path is not known: {error}"))?,
        keystore,
        passphrase_file: None,
        socket: socket.clone(),
        state_dir,
        caps: Caps {
            max_payout: units(config.payout.max_usdt),
            max_24h: units(config.payout.max_day_usdt),
            max_fee_sun: setup.fee_cap_sun,
            contracts: vec![setup.contract],
        },
        account: account.filter(|account| *account != own),
        permission_id,
    };
    let client = SignerClient::new(&socket);
    let child = SignerChild::start(launch).map_err(|error| format!("the signer does not start: {error}"))?;
    let unlock = tron.passphrase.as_ref().map(|secret| (client.clone(), Zeroizing::new(secret.reveal().to_owned())));
    Ok((client, wallet, Custody { child: Some(child), unlock }))
}

/// What the api shows of it.
pub fn payments(config: &Config) -> Payments {
    let name = match (config.payout.mode, config.payout.gateway) {
        (PayoutMode::DryRun, _) | (_, Gateway::None) => "none",
        (_, Gateway::Tron) => "tron",
        (_, Gateway::PaymentService) => "payment_service",
    };
    Payments {
        gateway: name,
        network_name: |id| Network::with_genesis(id).map(|network| network.name()).filter(|name| *name != "private"),
        fee_cap_sun: u64::from(config.tron.fee_limit_sun),
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
