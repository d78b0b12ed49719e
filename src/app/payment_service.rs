//! From the configuration to the gateway of the external payment service.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{self, Config, TronNetwork};
use crate::domain::ledger::Settlement;
use crate::gateways::payment::PaymentGateway;
use crate::gateways::payment::service::{AmountAs, Dialect, Http, Options, Service};
use crate::gateways::payment::tron::Network;

/// The service that `[tron_payment]` names. `checker` looks at the chain for what the service says that it paid: a gateway of that chain whose paying wallet is
/// the service's (`tron_payment.wallet`). Err: what is missing or contradicts itself.
pub fn gateway(config: &Config, clock: &Clock, checker: Option<Arc<dyn PaymentGateway>>) -> Result<Arc<Service>, String> {
    let settings = &config.tron_payment;
    let options = options(settings).ok_or("payout.gateway is payment_service, and tron_payment.url is empty")?;
    let transport = Http::new(settings.token.as_ref().map(config::Secret::reveal))?;
    let clock = clock.clone();
    Service::new(options, Arc::new(transport), checker, Arc::new(move || clock.now())).map(Arc::new)
}

/// None: no URL.
pub fn options(settings: &config::TronPayment) -> Option<Options> {
    let s = settings.clone();
    let amount_as = match s.amount_as {
        config::AmountAs::Number => AmountAs::Number,
        config::AmountAs::String => AmountAs::String,
    };
    Some(Options {
        url: s.url?,
        path: s.path,
        lookup_path: s.lookup_path,
        lookup_by_key_path: s.lookup_by_key_path,
        idempotent_hours: s.idempotent.then_some(s.idempotency_ttl_hours),
        requests_per_minute: s.requests_per_minute,
        dialect: Dialect {
            amount_as,
            recipient: s.recipient_field,
            amount: s.amount_field,
            currency: s.currency_field,
            reference: s.reference_field,
            priority: s.priority_field,
            id: s.id_fields,
            status: s.status_fields,
            txid: s.txid_fields,
            echo_amount: s.echo_amount_fields,
            echo_address: s.echo_address_fields,
            reason: s.reason_fields,
            paid: s.paid_words,
            pending: s.pending_words,
            failed: s.failed_words,
        },
        pays_lucid: s.pays_lucid,
        chain: match s.network {
            TronNetwork::Mainnet => Network::named("mainnet"),
            TronNetwork::Nile => Network::named("nile"),
            TronNetwork::Shasta => Network::named("shasta"),
            TronNetwork::Private => None,
        }
        .map(|network| network.id()),
        settlement: if s.network == TronNetwork::Mainnet { Settlement::Live } else { Settlement::Simulated },
        wallet: s.wallet.unwrap_or_default(),
    })
}
