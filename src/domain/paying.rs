//! By what this manager pays, and within which limits: what every plan is held against.

use super::address::TronAddress;
use super::guard::GuardLimits;
use super::ledger::{Book, Settlement};
use super::money::{Currency, Units};
use super::payout::Pin;

/// What is known of the gateway that pays now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    pub pin: Pin,
    /// The networks that its money moves over: what left a wallet of one of them unplanned is of the book that it pays from.
    pub networks: Vec<String>,
    pub settlement: Settlement,
    pub currencies: Vec<Currency>,
    pub has_wallet: bool,
    /// Never an address to be paid.
    pub own_wallets: Vec<TronAddress>,
}

impl Payer {
    pub fn pays_over(&self, network: &str) -> bool {
        self.networks.iter().any(|own| own == network)
    }
}

/// What the settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutRules {
    pub threshold: Units,
    pub frequency_hours: u32,
    pub guards: GuardLimits,
}

/// Both, and what a transfer cost when somebody last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paying {
    pub by: Payer,
    pub rules: PayoutRules,
    /// Of one transfer, to somebody who holds none of the token yet; None: not known, or without a fee.
    pub fee_sun: Option<u64>,
}

impl Paying {
    pub fn book(&self, currency: Currency) -> Book {
        Book { settlement: self.by.settlement, currency }
    }

    pub fn pays(&self, currency: Currency) -> bool {
        self.by.currencies.contains(&currency)
    }
}
