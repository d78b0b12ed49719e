//! One payout to one node, from its plan to its end. Every verb takes the payout as it is and returns it as it becomes,
//! with the ledger entry that must be written in the same transaction.
//!
//! What keeps a payout from paying twice: its money is reserved once; at most one attempt can still land; the bytes of an
//! attempt never change; a new attempt starts only after the last one is proven dead; an end is final.
//!
//! Must not know how a gateway sends or how a payout is stored.

mod attempt;
mod change;
mod decisions;
mod eligible;
mod review;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::PayoutAddress;
use super::ids::{BatchId, NodeIndex, PayoutId, ScheduleId, UserId};
use super::ledger::{Book, Broken, Entry};
use super::money::{Amount, Currency, Units};
use super::time::{Now, Timestamp};

pub use attempt::{Attempt, AttemptState, AttemptStateName, Death, DeathProof, Landed, Pin, Prepared};
pub use change::Change;
pub use eligible::{Candidate, Skip, eligible_for_payout};
pub use review::{Choice, Claim, MAX_EVIDENCE, MAX_LINE_CHARS, Review, ReviewKind, STATEMENTS_NEEDED, Statement};

/// Largest payout, in whole currency (seed 004).
pub const MAX_WHOLE: i64 = 1_000_000;
/// Attempts of one payout; after the last one a person decides.
pub const MAX_ATTEMPTS: usize = 5;
/// Attempts that people may add to those.
pub const MAX_EXTRA_ATTEMPTS: u8 = 5;
/// Attempts of one payout with those that people may add.
pub const MOST_ATTEMPTS: usize = MAX_ATTEMPTS + MAX_EXTRA_ATTEMPTS as usize;

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

impl Priority {
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        }
    }
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
    /// One of many in a request of a person or a program.
    Batch { batch: BatchId, by: String },
    /// A schedule fired; by whom it was made.
    Schedule { schedule: ScheduleId, by: String },
}

/// Who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    Automatic,
    Manual,
    Final,
    Batch,
    Schedule,
}

impl Source {
    pub fn name(&self) -> SourceName {
        match self {
            Source::Automatic => SourceName::Automatic,
            Source::Manual { .. } => SourceName::Manual,
            Source::Final { .. } => SourceName::Final,
            Source::Batch { .. } => SourceName::Batch,
            Source::Schedule { .. } => SourceName::Schedule,
        }
    }
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
    pub review: Option<Review>,
    /// Oldest first; only the last one can still land.
    pub attempts: Vec<Attempt>,
    /// Attempts that people allowed beyond `MAX_ATTEMPTS`.
    pub extra_attempts: u8,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
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
    /// What a person chose is not among the choices.
    NotAChoice(Choice),
    /// This admin has stated it already: it takes another one.
    StatedBefore,
    /// Another transaction of this payout can still land.
    OtherTransaction,
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
            PayoutError::NotAChoice(choice) => write!(f, "`{choice}` cannot be chosen for this payout now"),
            PayoutError::StatedBefore => f.write_str("you have stated it already; it takes another admin"),
            PayoutError::OtherTransaction => f.write_str("another transaction of this payout can still land"),
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
        review: None,
        attempts: Vec::new(),
        extra_attempts: 0,
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
            State::Open if self.attempts.is_empty() && self.review.is_none() => Status::Pending,
            State::Open => Status::Processing,
            State::Paid { .. } => Status::Completed,
            State::Failed { .. } => Status::Failed,
            State::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// The same in more words: which step it stands at. `planned`, the state of its last attempt, `review`, or how it ended.
    pub fn step(&self) -> &'static str {
        match &self.state {
            State::Paid { .. } => "paid",
            State::Failed { .. } => "failed",
            State::Cancelled { .. } => "cancelled",
            State::Open if self.review.is_some() => "review",
            State::Open => self.attempts.last().map_or("planned", |attempt| attempt.state.name().as_str()),
        }
    }

    /// When it was paid.
    pub fn completed_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Paid { at } => Some(*at),
            State::Open | State::Failed { .. } | State::Cancelled { .. } => None,
        }
    }

    /// Why it failed or was cancelled.
    pub fn error_message(&self) -> Option<&str> {
        match &self.state {
            State::Failed { reason, .. } | State::Cancelled { reason, .. } => Some(reason),
            State::Open | State::Paid { .. } => None,
        }
    }

    /// When its first attempt was signed.
    pub fn processed_at(&self) -> Option<Timestamp> {
        self.attempts.first().map(|attempt| attempt.signed_at)
    }

    /// Attempts after the first one.
    pub fn retry_count(&self) -> u32 {
        self.next_attempt().saturating_sub(2)
    }

    /// How many of those it may have.
    pub fn max_retries(&self) -> u32 {
        u32::try_from(MAX_ATTEMPTS).unwrap_or(u32::MAX).saturating_sub(1).saturating_add(u32::from(self.extra_attempts))
    }

    pub fn review_reason(&self) -> Option<&str> {
        self.review.as_ref().map(|review| review.reason.as_str())
    }

    /// The attempt by which money may still move.
    pub fn live_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|a| a.is_live())
    }

    /// How much it pays, with its currency.
    pub fn to_pay(&self) -> Amount {
        Amount { currency: self.book.currency, units: self.amount }
    }

    /// Transaction of the last attempt that may have left this machine.
    pub fn txid(&self) -> Option<&str> {
        self.attempts.iter().rev().find(|a| a.sent_at.is_some()).and_then(Attempt::txid)
    }

    /// What the network took for all its attempts, in sun.
    pub fn fees_sun(&self) -> u64 {
        self.attempts.iter().fold(0, |sum, attempt| sum.saturating_add(attempt.fee_sun))
    }

    /// Number of the attempt that `sign` would add.
    pub fn next_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn has_attempts_left(&self) -> bool {
        self.attempts.len() < MAX_ATTEMPTS + usize::from(self.extra_attempts)
    }

    /// A prepared transfer may be recorded now: no attempt can still land, and nobody has to look at it first. `current` is
    /// the node's address, checked again here.
    pub fn may_sign(&self, current: Option<&PayoutAddress>, now: Now) -> Result<(), PayoutError> {
        self.require_open()?;
        require_trust(now)?;
        if self.review.is_some() {
            return Err(PayoutError::InReview);
        }
        if self.live_attempt().is_some() {
            return Err(PayoutError::AttemptLive);
        }
        if !self.has_attempts_left() {
            return Err(PayoutError::TooManyAttempts);
        }
        if current != Some(&self.address) { Err(PayoutError::AddressChanged) } else { Ok(()) }
    }

    /// Adds a signed attempt; to be committed before anything is sent.
    pub fn sign(&self, prepared: Prepared, current: Option<&PayoutAddress>, now: Now) -> Result<Payout, PayoutError> {
        self.may_sign(current, now)?;
        let mut next = self.touched(now);
        next.attempts.push(Attempt {
            number: self.next_attempt(),
            prepared,
            state: AttemptState::Signed,
            signed_at: now.wall,
            sent_at: None,
            seen_at: None,
            ended_at: None,
            found_txid: None,
            reference: None,
            fee_sun: 0,
        });
        Ok(next)
    }

    /// The bytes are about to leave; to be committed before they do.
    pub fn maybe_sent(&self, now: Now) -> Result<Payout, PayoutError> {
        require_trust(now)?;
        if self.review.is_some() {
            return Err(PayoutError::InReview);
        }
        self.advance(now, AttemptState::MaybeSent, |s| *s == AttemptState::Signed)
    }

    /// Nothing of it has left: only who recorded it as possibly sent, in the same run, can know that.
    pub fn not_sent(&self, now: Now) -> Result<Payout, PayoutError> {
        let mut next = self.advance(now, AttemptState::Signed, |s| *s == AttemptState::MaybeSent)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.sent_at = None;
        }
        Ok(next)
    }

    /// The service took the attempt, and calls it so. The first name stays.
    pub fn named(&self, reference: String, now: Now) -> Result<Payout, PayoutError> {
        let mut next = self.advance(now, AttemptState::MaybeSent, |s| *s == AttemptState::MaybeSent)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.reference.get_or_insert(reference);
        }
        Ok(next)
    }

    /// Found in a block that is not final. Also of what this store never knew to be sent: an older copy of it was restored.
    pub fn seen(&self, block: u64, now: Now) -> Result<Payout, PayoutError> {
        let mut next = self.advance(now, AttemptState::Seen { block }, may_land)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.seen_at.get_or_insert(now.wall);
        }
        Ok(next)
    }

    /// The block it was seen in is gone from the chain.
    pub fn unseen(&self, now: Now) -> Result<Payout, PayoutError> {
        self.advance(now, AttemptState::MaybeSent, |s| matches!(s, AttemptState::Seen { .. }))
    }

    /// Final: the payout ends, reserved becomes paid.
    pub fn paid(&self, landed: Landed, now: Now) -> Result<WithEntry, PayoutError> {
        let mut next = self.landed(AttemptState::Paid, &landed, now)?;
        next.end(State::Paid { at: now.wall });
        Ok((next, self.entry_paid()?))
    }

    /// The chain executed and refused it for good: the payout fails, its money is payable again.
    pub fn failed_on_chain(&self, reason: String, landed: Landed, now: Now) -> Result<WithEntry, PayoutError> {
        let mut next = self.landed(AttemptState::FailedOnChain { reason: reason.clone() }, &landed, now)?;
        next.end(State::Failed { at: now.wall, reason });
        Ok((next, self.release()?))
    }

    fn landed(&self, state: AttemptState, landed: &Landed, now: Now) -> Result<Payout, PayoutError> {
        let mut next = self.advance(now, state, may_land)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.close(now.wall);
            attempt.fee_sun = landed.fee_sun;
            if attempt.prepared.txid != landed.txid {
                attempt.found_txid.clone_from(&landed.txid);
            }
            // The chain has them for ever.
            attempt.prepared.bytes = Vec::new();
        }
        Ok(next)
    }

    /// Proven that the attempt can never land; another may be signed. After the last allowed one a person decides.
    pub fn dead(&self, death: Death, now: Now) -> Result<Payout, PayoutError> {
        let evidence = death.to_string();
        let dies = |s: &AttemptState| matches!(s, AttemptState::Signed | AttemptState::MaybeSent);
        let mut next = self.advance(now, AttemptState::Dead { death }, dies)?;
        if let Some(attempt) = next.attempts.last_mut() {
            attempt.close(now.wall);
        }
        if !next.has_attempts_left() && next.review.is_none() {
            next.review = Some(Review::new(ReviewKind::AllDied, "all attempts died", vec![evidence], now.wall));
        }
        Ok(next)
    }

    /// Ends a payout of which no attempt can land any more; its money is payable again. What is only signed may have been sent by a store
    /// of which this one is an older copy, so it counts as what was sent.
    pub fn cancel(&self, reason: String, now: Now) -> Result<WithEntry, PayoutError> {
        self.require_open()?;
        if self.live_attempt().is_some() {
            return Err(PayoutError::AttemptLive);
        }
        let mut next = self.touched(now);
        next.end(State::Cancelled { at: now.wall, reason });
        Ok((next, self.release()?))
    }

    /// Stops signing and first sends until a person has looked; tracking of what was sent goes on. One that waits already
    /// is told more; where it waits for something else now, its earlier reason is evidence.
    pub fn hold_for_review(&self, kind: ReviewKind, reason: &str, evidence: Vec<String>, now: Now) -> Result<Payout, PayoutError> {
        self.require_open()?;
        let mut next = self.touched(now);
        match &mut next.review {
            Some(review) if review.kind == kind => evidence.into_iter().for_each(|line| review.note(line)),
            Some(review) => {
                let (statements, claim) = (std::mem::take(&mut review.statements), review.claim.take());
                let mut known = std::mem::take(&mut review.evidence);
                known.push(std::mem::take(&mut review.reason));
                let fresh = Review::new(kind, reason, known.into_iter().chain(evidence).collect(), review.since);
                *review = Review { statements, claim, ..fresh };
            }
            none => *none = Some(Review::new(kind, reason, evidence, now.wall)),
        }
        Ok(next)
    }

    fn advance(&self, now: Now, to: AttemptState, may_follow: impl Fn(&AttemptState) -> bool) -> Result<Payout, PayoutError> {
        self.require_open()?;
        let mut next = self.touched(now);
        match next.attempts.last_mut() {
            Some(attempt) if may_follow(&attempt.state) => {
                if !matches!(to, AttemptState::Dead { .. }) {
                    attempt.sent_at.get_or_insert(now.wall);
                }
                attempt.state = to;
            }
            _ => return Err(PayoutError::OutOfOrder),
        }
        Ok(next)
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.review = None;
    }

    fn release(&self) -> Result<Entry, PayoutError> {
        Ok(Entry::release(self.book, self.node, self.id.clone(), self.amount)?)
    }

    fn entry_paid(&self) -> Result<Entry, PayoutError> {
        Ok(Entry::paid(self.book, self.node, self.id.clone(), self.amount)?)
    }

    fn require_open(&self) -> Result<(), PayoutError> {
        if self.is_open() { Ok(()) } else { Err(PayoutError::AlreadyEnded) }
    }

    fn touched(&self, now: Now) -> Payout {
        Payout { updated_at: now.wall, ..self.clone() }
    }

    /// By whom it was asked for, where that was a person or a program of one.
    pub fn asked_by(&self) -> Option<UserId> {
        match &self.source {
            Source::Automatic => None,
            Source::Manual { by } | Source::Final { by } | Source::Batch { by, .. } | Source::Schedule { by, .. } => UserId::parse(by).ok(),
        }
    }
}

/// What is only signed may have been sent by a store of which this one is an older copy.
fn may_land(state: &AttemptState) -> bool {
    matches!(state, AttemptState::Signed | AttemptState::MaybeSent | AttemptState::Seen { .. })
}

fn require_trust(now: Now) -> Result<(), PayoutError> {
    if now.trusted { Ok(()) } else { Err(PayoutError::ClockUntrusted) }
}

#[cfg(test)]
mod tests;
