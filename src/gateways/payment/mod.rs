//! The port to whatever moves money.
//!
//! The caller records before it sends: `prepare` makes the bytes and sends nothing, the bytes are committed, only then
//! `send` may be called, any number of times with the same attempt (`Sending` says which). What became of it is told by `lookup` alone,
//! but for what a first sending proves by itself.
//!
//! Must not know the ledger, and must not keep what the attempt itself already says.

pub mod service;
pub mod signer;
mod simulated;
pub mod tron;

use std::fmt;
use std::future::Future;
use std::future::ready;
use std::pin::Pin as Pinned;
use std::sync::Arc;

use crate::domain::address::{PayoutAddress, TronAddress};
use crate::domain::ids::PayoutId;
use crate::domain::ledger::Settlement;
use crate::domain::money::{Amount, Currency};
use crate::domain::paying::Payer;
use crate::domain::payout::{Attempt, Death, Landed, Payout, Pin, Prepared, Priority, ReviewKind};
use crate::domain::time::Timestamp;
use crate::domain::wallet::{BlockAt, OutgoingPage, WalletReading};

pub use simulated::Simulated;

/// The future of a port that is called through a pointer.
pub type Boxed<'a, T> = Pinned<Box<dyn Future<Output = T> + Send + 'a>>;

/// One transfer to prepare. The same transfer prepared twice may give other bytes; only what was committed is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub payout: PayoutId,
    /// Counts from 1.
    pub attempt: u32,
    pub amount: Amount,
    pub address: PayoutAddress,
    pub priority: Priority,
    /// The attempts before; none of them can land.
    pub previous: Vec<Attempt>,
    pub now: Timestamp,
    /// Every transfer of the wallet that was signed through this timestamp is known to the store, or over. The one that is made now must be above it.
    pub after_timestamp_ms: i64,
    /// Random: two copies of one store that prepare the same transfer at the same time do not make the same bytes for different payouts.
    pub salt: u64,
}

impl Transfer {
    /// The next attempt of `payout`.
    pub fn next(payout: &Payout, now: Timestamp, after_timestamp_ms: i64, salt: u64) -> Transfer {
        Transfer {
            payout: payout.id.clone(),
            attempt: payout.next_attempt(),
            amount: payout.to_pay(),
            address: payout.address.clone(),
            priority: payout.priority,
            previous: payout.attempts.clone(),
            now,
            after_timestamp_ms,
            salt,
        }
    }
}

/// Nothing was sent; what that means for the payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPrepared {
    /// Nothing is wrong with the payout: the next cycle tries again.
    Later(String),
    /// The wallet was used by somebody else, or by an earlier run that recorded nothing: nothing is signed before it is reconciled.
    Unaccounted(String),
    /// Somebody has to look at it first.
    Person { kind: ReviewKind, reason: String, evidence: Vec<String> },
}

impl fmt::Display for NotPrepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotPrepared::Later(why) | NotPrepared::Unaccounted(why) | NotPrepared::Person { reason: why, .. } => f.write_str(why),
        }
    }
}

/// Whether these bytes may have left before. A crash between the record and the sending looks like a sending, so only who recorded it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Right after the commit that recorded it as possibly sent, in the same run: nothing has left yet.
    First,
    /// They may have left: in an earlier run, or by the call before.
    Again,
}

/// What the far side said to the bytes. None of it proves anything about money; `lookup` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    Accepted,
    /// Taken, and this is what the far side calls it; to be committed with the attempt.
    AcceptedAs(String),
    /// Nothing has left this machine in this call, and nothing more would now.
    NotSent(String),
    /// A definite no: it was not taken and never will be. Counts for the first sending alone.
    Rejected(String),
    /// The answer itself needs a person; what the far side calls it, where it said so.
    Doubtful {
        reference: Option<String>,
        kind: ReviewKind,
        reason: String,
        evidence: Vec<String>,
    },
    /// A timeout, a cut connection, an answer that makes no sense: treat it as sent.
    Unknown(String),
    /// Not taken this time; the attempt stays live until it is proven dead.
    Refused(String),
    /// Not taken, and others would not be either: nothing more is sent in this run.
    Stop(String),
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Not found; it may still land.
    NotSeen,
    /// Taken by the far side and neither paid nor refused yet: nothing is sent again. What it is called there, where that was not known.
    Pending { reference: Option<String> },
    /// In a block that is not final.
    Seen { block: u64 },
    /// Final, with the right amount to the right address.
    Paid(Landed),
    /// Final, and no money moved.
    FailedOnChain { reason: String, landed: Landed },
    /// Proven that it can never land.
    Dead(Death),
    /// Nobody here can tell; a person has to look.
    Person { kind: ReviewKind, reason: String, evidence: Vec<String> },
    /// The far side could not be asked.
    Unknown(String),
}

/// What a log of everything that was ever signed for a wallet spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedSpan {
    /// Nothing of it can be in a block before, by the network's time.
    pub begins_at: Timestamp,
    /// Timestamp of the newest transfer, which no other one reaches.
    pub last_timestamp_ms: i64,
    /// When that one can be in no block any more, by the network's time.
    pub over_at: Timestamp,
}

/// The far side could not be asked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Transfers that are prepared, and attempts that are asked about, in one call.
pub const WAVE: usize = 100;

pub trait PaymentGateway: fmt::Debug + Send + Sync {
    /// Stored with every attempt: only a gateway of this name, network, wallet and contract may resolve it.
    fn pin(&self) -> Pin;

    /// Networks that its money moves over.
    fn networks(&self) -> Vec<String> {
        vec![self.pin().network]
    }

    /// Whether money moves.
    fn settlement(&self) -> Settlement;

    fn pays(&self, currency: Currency) -> bool;

    /// Wallets that pay; never an address to be paid.
    fn own_wallets(&self) -> Vec<TronAddress> {
        Vec::new()
    }

    /// It has a wallet of its own: nothing is signed before every transfer out of it is known here.
    fn has_wallet(&self) -> bool {
        false
    }

    /// What plans have to know of it.
    fn payer(&self) -> Payer {
        let currencies = [Currency::Usdt, Currency::Lucid].into_iter().filter(|currency| self.pays(*currency)).collect();
        Payer {
            pin: self.pin(),
            networks: self.networks(),
            settlement: self.settlement(),
            currencies,
            has_wallet: self.has_wallet(),
            own_wallets: self.own_wallets(),
        }
    }

    /// An answer for each transfer, in their order; at most `WAVE` of them.
    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>>;

    /// Asked before anything is recorded as possibly sent. Err: nothing would be taken now.
    fn ready(&self) -> Boxed<'_, Result<(), Unavailable>> {
        Box::pin(ready(Ok(())))
    }

    /// How many attempts may be recorded as possibly sent in one commit. Where the same bytes can pay twice it is one, because after a crash
    /// each of them waits for a person.
    fn at_once(&self) -> usize {
        WAVE
    }

    /// Sends the bytes of `attempt`, which are committed as possibly sent.
    fn send<'a>(&'a self, attempt: &'a Attempt, sending: Sending) -> Boxed<'a, SendOutcome>;

    /// An answer for each payout's last attempt, in their order; at most `WAVE` of them.
    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>>;

    /// Whether the transaction, which a person named, paid this payout.
    fn verify<'a>(&'a self, _payout: &'a Payout, _txid: &'a str) -> Boxed<'a, Lookup> {
        Box::pin(ready(Lookup::Unknown("this gateway verifies no transactions".into())))
    }

    /// Balances and costs now; None: there is no wallet to look at.
    fn wallet(&self) -> Boxed<'_, Result<Option<WalletReading>, Unavailable>> {
        Box::pin(ready(Ok(None)))
    }

    /// What was ever signed for the wallet, by who keeps a log of that apart from the store; None: nobody keeps one, or nothing was signed.
    fn signed_span(&self) -> Boxed<'_, Result<Option<SignedSpan>, Unavailable>> {
        Box::pin(ready(Ok(None)))
    }

    /// How long what was signed may still land, in milliseconds from the newest final block of then; None: this gateway does not say.
    fn lands_within_ms(&self) -> Option<i64> {
        None
    }

    /// A final block that is older than `at`, as late as can be.
    fn block_before(&self, _at: Timestamp) -> Boxed<'_, Result<BlockAt, Unavailable>> {
        Box::pin(ready(Err(Unavailable("this gateway has no wallet".into()))))
    }

    /// Final transfers of the token out of the wallet, in the blocks after `after_block`, oldest first. One page; `through_block` of the answer says how far it reaches.
    fn outgoing(&self, _after_block: u64) -> Boxed<'_, Result<OutgoingPage, Unavailable>> {
        Box::pin(ready(Err(Unavailable("this gateway has no wallet".into()))))
    }
}

/// Makes the gateway of what another configuration paid from; the URLs are those that it asked then, where they are known.
pub type Former = Arc<dyn Fn(&Pin, &[String]) -> Option<Arc<dyn PaymentGateway>> + Send + Sync>;

/// The gateway that pays now, and those of attempts that others made.
#[derive(Clone)]
pub struct Gateways {
    pub current: Arc<dyn PaymentGateway>,
    former: Former,
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateways({:?})", self.current)
    }
}

impl Gateways {
    /// Attempts of other gateways wait.
    pub fn only(current: Arc<dyn PaymentGateway>) -> Gateways {
        Gateways { current, former: Arc::new(|_, _| None) }
    }

    pub fn new(current: Arc<dyn PaymentGateway>, former: Former) -> Gateways {
        Gateways { current, former }
    }

    /// Who may resolve this attempt.
    pub fn of(&self, attempt: &Attempt) -> Option<Arc<dyn PaymentGateway>> {
        if self.current.pin() == attempt.prepared.pin {
            return Some(Arc::clone(&self.current));
        }
        let Prepared { pin, urls, .. } = &attempt.prepared;
        (self.former)(pin, urls).filter(|gateway| gateway.pin() == *pin)
    }

    /// Who can say what left another wallet than the present one.
    pub fn watching(&self, pin: &Pin) -> Option<Arc<dyn PaymentGateway>> {
        (self.former)(pin, &[]).filter(|gateway| gateway.pin() == *pin)
    }
}
