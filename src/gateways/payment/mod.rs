//! The port to whatever moves money.
//!
//! The caller records before it sends: `prepare` makes the bytes and touches nothing, the bytes are committed, only then
//! `send` may be called, any number of times with the same attempt. What became of it is told by `lookup` alone.
//!
//! Must not know the ledger, and must not keep what the attempt itself already says.

pub mod signer;
mod simulated;
pub mod tron;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::domain::address::{PayoutAddress, TronAddress};
use crate::domain::ids::PayoutId;
use crate::domain::ledger::Settlement;
use crate::domain::money::{Amount, Currency};
use crate::domain::payout::{Attempt, Payout, Prepared};
use crate::domain::time::Timestamp;

pub use simulated::Simulated;

/// The future of a port that is called through a pointer.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One transfer to prepare. The same transfer prepared twice may give other bytes; only what was committed is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub payout: PayoutId,
    /// Counts from 1.
    pub attempt: u32,
    pub amount: Amount,
    pub address: PayoutAddress,
    pub now: Timestamp,
}

impl Transfer {
    /// The next attempt of `payout`.
    pub fn next(payout: &Payout, now: Timestamp) -> Transfer {
        Transfer {
            payout: payout.id.clone(),
            attempt: payout.next_attempt(),
            amount: Amount { currency: payout.book.currency, units: payout.amount },
            address: payout.address.clone(),
            now,
        }
    }
}

/// Nothing was prepared and nothing happened; why, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPrepared(pub String);

impl fmt::Display for NotPrepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the far side said to the bytes. None of it proves anything about money; `lookup` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    Accepted,
    /// A timeout, a cut connection, an answer that makes no sense: treat it as sent.
    Unknown(String),
    /// Not taken this time; the attempt stays live until it is proven dead.
    Refused(String),
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Not found; it may still land.
    NotSeen,
    /// In a block that is not final.
    Seen { block: u64 },
    /// Final, with the right amount to the right address.
    Paid,
    /// Final, and no money moved.
    FailedOnChain(String),
    /// Proven that it can never land, and how.
    Dead(String),
    /// The far side could not be asked.
    Unknown(String),
}

pub trait PaymentGateway: fmt::Debug + Send + Sync {
    /// Stored with every attempt: only the gateway of this name on this network may resolve it.
    fn name(&self) -> &str;

    fn network(&self) -> &str;

    /// Whether money moves.
    fn settlement(&self) -> Settlement;

    fn pays(&self, currency: Currency) -> bool;

    /// Wallets that pay; never an address to be paid.
    fn own_wallets(&self) -> &[TronAddress] {
        &[]
    }

    fn prepare<'a>(&'a self, transfer: &'a Transfer) -> Boxed<'a, Result<Prepared, NotPrepared>>;

    /// Sends the bytes of `attempt`, which are committed as possibly sent.
    fn send<'a>(&'a self, attempt: &'a Attempt) -> Boxed<'a, SendOutcome>;

    fn lookup<'a>(&'a self, attempt: &'a Attempt, now: Timestamp) -> Boxed<'a, Lookup>;
}
