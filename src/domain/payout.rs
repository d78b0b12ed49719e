//! One payout to one node, from its plan to its end. Every verb takes the payout as it is and returns it as it becomes,
//! with the ledger entry that must be written in the same transaction.
//!
//! What keeps a payout from paying twice: its money is reserved once; at most one attempt can still land; the bytes of an
//! attempt never change; a new attempt starts only after the last one is proven dead; an end is final.
//!
//! Must not know how a gateway sends or how a payout is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::{AddressRecord, PayoutAddress};
use super::ids::{NodeIndex, PayoutId};
use super::ledger::{Book, Broken, Entry};
use super::money::{Currency, Units};
use super::time::{Now, Timestamp};

/// Largest payout, in whole currency (seed 004).
pub const MAX_WHOLE: i64 = 1_000_000;
/// Attempts of one payout; after the last one a person decides.
pub const MAX_ATTEMPTS: usize = 5;

pub fn max_amount(currency: Currency) -> Units {
    Units(MAX_WHOLE * 10i64.pow(currency.decimals()))
}

/// Orders a queue; it never passes a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutPriority)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

/// Who asked for the payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The automatic cycle.
    Automatic,
    /// A person, by user id.
    Manual { by: String },
    /// The last one of a node that leaves, by user id.
    Final { by: String },
}

/// The outward state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutStatus)]
pub enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Processing => "processing",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Reserved, and not ended.
    Open,
    Paid {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        reason: String,
    },
    Cancelled {
        at: Timestamp,
        reason: String,
    },
}

/// The stored payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    pub id: PayoutId,
    /// Orders all payouts by their making; counts from 1.
    pub seq: u64,
    pub node: NodeIndex,
    pub book: Book,
    pub amount: Units,
    pub address: PayoutAddress,
    pub source: Source,
    pub priority: Priority,
    pub state: State,
    /// Set while the payout needs a person.
    pub review_reason: Option<String>,
    /// Oldest first; only the last one can still land.
    pub attempts: Vec<Attempt>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A transfer that a gateway prepared: everything that is committed before the first byte leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Only the gateway of this name on this network may resolve the attempt.
    pub gateway: String,
    pub network: String,
    /// The paying wallet and the token contract, as texts of the network.
    pub wallet: String,
    pub contract: String,
    /// What is sent; a retry sends the same.
    pub bytes: Vec<u8>,
    pub txid: String,
    /// The network takes the transfer until then, by its own clock.
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    pub prepared: Prepared,
    pub state: AttemptState,
    pub signed_at: Timestamp,
    /// When it was first recorded as possibly sent.
    pub sent_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptState {
    /// Committed; nothing has left the machine.
    Signed,
    /// Committed before the first byte leaves: from here on a timeout is not a failure.
    MaybeSent,
    Seen {
        block: u64,
    },
    Paid,
    FailedOnChain {
        reason: String,
    },
    /// Proven that it can never land.
    Dead {
        proof: String,
    },
}

impl Attempt {
    /// Money may still move by it.
    pub fn is_live(&self) -> bool {
        matches!(self.state, AttemptState::Signed | AttemptState::MaybeSent | AttemptState::Seen { .. })
    }

    pub fn belongs_to(&self, gateway: &str, network: &str) -> bool {
        self.prepared.gateway == gateway && self.prepared.network == network
    }
}

/// A step that a payout does not take; nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayoutError {
    AmountOutOfRange,
    /// The amount is above the free balance.
    AboveBalance {
        free: Units,
    },
    /// Another payout of this node and currency has not ended.
    OtherUnresolved(PayoutId),
    /// The address is for another currency than the book.
    WrongCurrency,
    AlreadyEnded,
    InReview,
    /// An attempt can still land.
    AttemptLive,
    TooManyAttempts,
    /// The node's address is not the planned one any more: cancel, and plan again.
    AddressChanged,
    /// The last attempt is not in a state from which this step goes on.
    OutOfOrder,
    ClockUntrusted,
    Ledger(Broken),
}

impl fmt::Display for PayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayoutError::AmountOutOfRange => f.write_str("the amount must be above zero and at most 1,000,000"),
            PayoutError::AboveBalance { free } => write!(f, "the amount is above the free balance of {} units", free.0),
            PayoutError::OtherUnresolved(id) => write!(f, "payout {id} of this node has not ended"),
            PayoutError::WrongCurrency => f.write_str("the address is for another currency"),
            PayoutError::AlreadyEnded => f.write_str("the payout has ended"),
            PayoutError::InReview => f.write_str("the payout waits for a person"),
            PayoutError::AttemptLive => f.write_str("an attempt can still land"),
            PayoutError::TooManyAttempts => f.write_str("the payout has used all its attempts"),
            PayoutError::AddressChanged => f.write_str("the node's payout address has changed"),
            PayoutError::OutOfOrder => f.write_str("the attempt is not in a state for this step"),
            PayoutError::ClockUntrusted => f.write_str("the clock is not trusted"),
            PayoutError::Ledger(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for PayoutError {}

impl From<Broken> for PayoutError {
    fn from(broken: Broken) -> PayoutError {
        PayoutError::Ledger(broken)
    }
}

/// A payout after a step, and the entry to write with it.
pub type WithEntry = (Payout, Entry);

/// What a plan needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    pub id: PayoutId,
    pub seq: u64,
    pub node: NodeIndex,
    pub book: Book,
    pub amount: Units,
    pub address: PayoutAddress,
    pub source: Source,
    pub priority: Priority,
}

/// Plans and reserves. `free` is the node's payable balance in this book, `unresolved` its payout that has not ended.
pub fn plan(plan: Plan, free: Units, unresolved: Option<&PayoutId>, now: Now) -> Result<WithEntry, PayoutError> {
    let Plan { id, seq, node, book, amount, address, source, priority } = plan;
    require_trust(now)?;
    if amount <= Units::ZERO || amount > max_amount(book.currency) {
        return Err(PayoutError::AmountOutOfRange);
    }
    if address.currency() != book.currency {
        return Err(PayoutError::WrongCurrency);
    }
    if let Some(other) = unresolved {
        return Err(PayoutError::OtherUnresolved(other.clone()));
    }
    if amount > free {
        return Err(PayoutError::AboveBalance { free });
    }
    let entry = Entry::reserve(book, node, id.clone(), amount)?;
    let payout = Payout {
        id,
        seq,
        node,
        book,
        amount,
        address,
        source,
        priority,
        state: State::Open,
        review_reason: None,
        attempts: Vec::new(),
        created_at: now.wall,
        updated_at: now.wall,
    };
    Ok((payout, entry))
}

impl Payout {
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn status(&self) -> Status {
        match self.state {
            State::Open if self.attempts.is_empty() && self.review_reason.is_none() => Status::Pending,
            State::Open => Status::Processing,
            State::Paid { .. } => Status::Completed,
            State::Failed { .. } => Status::Failed,
            State::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// The attempt by which money may still move.
    pub fn live_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|a| a.is_live())
    }

    /// Transaction of the last attempt that may have left this machine.
    pub fn txid(&self) -> Option<&str> {
        self.attempts.iter().rev().find(|a| a.sent_at.is_some()).map(|a| a.prepared.txid.as_str())
    }

    /// Number of the attempt that `sign` would add.
    pub fn next_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// A prepared transfer may be recorded now: no attempt can still land, and nobody has to look at it first. `current` is
    /// the node's address, checked again here.
    pub fn may_sign(&self, current: Option<&PayoutAddress>, now: Now) -> Result<(), PayoutError> {
        self.require_open()?;
        require_trust(now)?;
        if self.review_reason.is_some() {
            return Err(PayoutError::InReview);
        }
        if self.live_attempt().is_some() {
            return Err(PayoutError::AttemptLive);
        }
        if self.attempts.len() >= MAX_ATTEMPTS {
            return Err(PayoutError::TooManyAttempts);
        }
        if current != Some(&self.address) { Err(PayoutError::AddressChanged) } else { Ok(()) }
    }

    /// Adds a signed attempt; to be committed before anything is sent.
    pub fn sign(&self, prepared: Prepared, current: Option<&PayoutAddress>, now: Now) -> Result<Payout, PayoutError> {
        self.may_sign(current, now)?;
        let mut next = self.touched(now);
        let number = self.next_attempt();
        next.attempts.push(Attempt { number, prepared, state: AttemptState::Signed, signed_at: now.wall, sent_at: None });
        Ok(next)
    }

    /// The bytes are about to leave; to be committed before they do.
    pub fn maybe_sent(&self, now: Now) -> Result<Payout, PayoutError> {
        require_trust(now)?;
        if self.review_reason.is_some() {
            return Err(PayoutError::InReview);
        }
        let mut next = self.advance(now, AttemptState::MaybeSent, |s| *s == AttemptState::Signed)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.sent_at = Some(now.wall);
        }
        Ok(next)
    }

    /// Found in a block that is not final.
    pub fn seen(&self, block: u64, now: Now) -> Result<Payout, PayoutError> {
        self.advance(now, AttemptState::Seen { block }, has_left)
    }

    /// The block it was seen in is gone from the chain.
    pub fn unseen(&self, now: Now) -> Result<Payout, PayoutError> {
        self.advance(now, AttemptState::MaybeSent, |s| matches!(s, AttemptState::Seen { .. }))
    }

    /// Final on chain: the payout ends, reserved becomes paid.
    pub fn paid(&self, now: Now) -> Result<WithEntry, PayoutError> {
        let mut next = self.advance(now, AttemptState::Paid, has_left)?;
        next.end(State::Paid { at: now.wall });
        let entry = Entry::paid(self.book, self.node, self.id.clone(), self.amount)?;
        Ok((next, entry))
    }

    /// The chain executed and refused it for good: the payout fails, its money is payable again.
    pub fn failed_on_chain(&self, reason: String, now: Now) -> Result<WithEntry, PayoutError> {
        let mut next = self.advance(now, AttemptState::FailedOnChain { reason: reason.clone() }, has_left)?;
        next.end(State::Failed { at: now.wall, reason });
        Ok((next, self.release()?))
    }

    /// Proven that the attempt can never land; another may be signed. After the last allowed one a person decides.
    pub fn dead(&self, proof: String, now: Now) -> Result<Payout, PayoutError> {
        let dies = |s: &AttemptState| matches!(s, AttemptState::Signed | AttemptState::MaybeSent);
        let mut next = self.advance(now, AttemptState::Dead { proof }, dies)?;
        if next.attempts.len() >= MAX_ATTEMPTS {
            next.review_reason.get_or_insert_with(|| "all attempts died".to_owned());
        }
        Ok(next)
    }

    /// Ends a payout that was never sent, or whose every attempt is dead; its money is payable again.
    pub fn cancel(&self, reason: String, now: Now) -> Result<WithEntry, PayoutError> {
        self.require_open()?;
        if self.live_attempt().is_some_and(|a| a.state != AttemptState::Signed) {
            return Err(PayoutError::AttemptLive);
        }
        let mut next = self.touched(now);
        next.end(State::Cancelled { at: now.wall, reason });
        Ok((next, self.release()?))
    }

    /// Stops signing and first sends until a person has looked; tracking of what was sent goes on.
    pub fn hold_for_review(&self, reason: String, now: Now) -> Result<Payout, PayoutError> {
        self.require_open()?;
        let mut next = self.touched(now);
        next.review_reason = Some(reason);
        Ok(next)
    }

    pub fn reviewed(&self, now: Now) -> Result<Payout, PayoutError> {
        self.require_open()?;
        if self.review_reason.is_none() {
            return Err(PayoutError::OutOfOrder);
        }
        let mut next = self.touched(now);
        next.review_reason = None;
        Ok(next)
    }

    fn advance(&self, now: Now, to: AttemptState, may_follow: impl Fn(&AttemptState) -> bool) -> Result<Payout, PayoutError> {
        self.require_open()?;
        let mut next = self.touched(now);
        match next.attempts.last_mut() {
            Some(attempt) if may_follow(&attempt.state) => attempt.state = to,
            _ => return Err(PayoutError::OutOfOrder),
        }
        Ok(next)
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.review_reason = None;
    }

    fn release(&self) -> Result<Entry, PayoutError> {
        Ok(Entry::release(self.book, self.node, self.id.clone(), self.amount)?)
    }

    fn require_open(&self) -> Result<(), PayoutError> {
        if self.is_open() { Ok(()) } else { Err(PayoutError::AlreadyEnded) }
    }

    fn touched(&self, now: Now) -> Payout {
        Payout { updated_at: now.wall, ..self.clone() }
    }
}

fn has_left(state: &AttemptState) -> bool {
    matches!(state, AttemptState::MaybeSent | AttemptState::Seen { .. })
}

fn require_trust(now: Now) -> Result<(), PayoutError> {
    if now.trusted { Ok(()) } else { Err(PayoutError::ClockUntrusted) }
}

/// A node and currency, as the automatic cycle sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub book: Book,
    /// Payable balance.
    pub free: Units,
    pub threshold: Units,
    /// When the cycle last planned a payout of this node and currency that was not cancelled.
    pub last_scheduled_at: Option<Timestamp>,
    pub frequency_hours: u32,
    pub address: Option<&'a AddressRecord>,
    pub has_unresolved: bool,
    /// The node's hardware departed from what was accepted.
    pub has_drift: bool,
    /// A gateway pays this currency.
    pub is_payable: bool,
}

/// Why the automatic cycle leaves a node out this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    ClockUntrusted,
    BelowThreshold,
    CurrencyNotPayable,
    UnresolvedPayout,
    TooSoon { until: Timestamp },
    NoAddress,
    AddressOfOtherCurrency,
    AddressWaits { until: Timestamp },
    HardwareDrift,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skip::ClockUntrusted => f.write_str("the clock is not trusted"),
            Skip::BelowThreshold => f.write_str("the balance is below the threshold"),
            Skip::CurrencyNotPayable => f.write_str("the currency cannot be paid"),
            Skip::UnresolvedPayout => f.write_str("a payout has not ended"),
            Skip::TooSoon { until } => write!(f, "paid lately; again from {until}"),
            Skip::NoAddress => f.write_str("the node has no payout address"),
            Skip::AddressOfOtherCurrency => f.write_str("the payout address is for another currency"),
            Skip::AddressWaits { until } => write!(f, "the payout address is new; active from {until}"),
            Skip::HardwareDrift => f.write_str("the node's hardware changed; an admin must accept it"),
        }
    }
}

/// What the automatic cycle pays now: the whole free balance, up to the largest payout.
pub fn eligible_for_payout(candidate: &Candidate<'_>, now: Now) -> Result<Units, Skip> {
    if !now.trusted {
        return Err(Skip::ClockUntrusted);
    }
    if candidate.free <= Units::ZERO || candidate.free < candidate.threshold {
        return Err(Skip::BelowThreshold);
    }
    if !candidate.is_payable {
        return Err(Skip::CurrencyNotPayable);
    }
    if candidate.has_unresolved {
        return Err(Skip::UnresolvedPayout);
    }
    let again_at = candidate.last_scheduled_at.map(|at| at.plus_seconds(i64::from(candidate.frequency_hours) * 3_600));
    if let Some(until) = again_at.filter(|at| now.wall < *at) {
        return Err(Skip::TooSoon { until });
    }
    let record = candidate.address.ok_or(Skip::NoAddress)?;
    if record.address.currency() != candidate.book.currency {
        return Err(Skip::AddressOfOtherCurrency);
    }
    if !record.is_active(now.wall) {
        return Err(Skip::AddressWaits { until: record.active_from });
    }
    if candidate.has_drift {
        return Err(Skip::HardwareDrift);
    }
    Ok(candidate.free.min(max_amount(candidate.book.currency)))
}

#[cfg(test)]
mod tests;
