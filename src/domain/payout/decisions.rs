//! What people decide about a payout that waits for them.

use super::{
    Attempt, AttemptState, Choice, Claim, Death, Landed, MAX_EXTRA_ATTEMPTS, Payout, PayoutError, STATEMENTS_NEEDED, State, Statement,
    WithEntry,
};
use crate::domain::time::Now;

impl Payout {
    /// What a person may choose now; nothing where it waits for nobody.
    pub fn choices(&self) -> Vec<Choice> {
        let Some(review) = self.review.as_ref().filter(|_| self.is_open()) else { return Vec::new() };
        let live = self.live_attempt();
        let mut choices = vec![Choice::CheckAgain];
        if !self.attempts.is_empty() && review.claim.is_none() {
            choices.push(Choice::AcceptPaid);
        }
        match live {
            Some(attempt) if attempt.prepared.expires_at.is_none() => choices.push(Choice::StateUnpaid),
            Some(_) => (),
            None => {
                if self.has_attempts_left() || self.extra_attempts < MAX_EXTRA_ATTEMPTS {
                    choices.push(Choice::NewAttempt);
                }
                choices.push(Choice::Cancel);
            }
        }
        choices
    }

    fn require_choice(&self, choice: Choice) -> Result<(), PayoutError> {
        self.require_open()?;
        if self.choices().contains(&choice) { Ok(()) } else { Err(PayoutError::NotAChoice(choice)) }
    }

    /// A person lets the cycle look again.
    pub fn check_again(&self, now: Now) -> Result<Payout, PayoutError> {
        self.require_choice(Choice::CheckAgain)?;
        let mut next = self.touched(now);
        // Out of attempts it would only wait again.
        if self.live_attempt().is_some() || self.has_attempts_left() {
            next.review = None;
        }
        Ok(next)
    }

    /// A person allows another attempt, after the earlier ones cannot land any more.
    pub fn allow_attempt(&self, now: Now) -> Result<Payout, PayoutError> {
        self.require_choice(Choice::NewAttempt)?;
        let mut next = self.touched(now);
        if !self.has_attempts_left() {
            next.extra_attempts = next.extra_attempts.saturating_add(1);
        }
        next.review = None;
        Ok(next)
    }

    /// A person names the transaction that paid it. Nothing is booked before a gateway has verified it.
    pub fn claim(&self, claim: Claim, now: Now) -> Result<Payout, PayoutError> {
        self.require_choice(Choice::AcceptPaid)?;
        if self.live_attempt().and_then(Attempt::txid).is_some_and(|txid| txid != claim.txid) {
            return Err(PayoutError::OtherTransaction);
        }
        let mut next = self.touched(now);
        if let Some(review) = &mut next.review {
            review.claim = Some(claim);
        }
        Ok(next)
    }

    /// The transaction that was named did not pay it.
    pub fn claim_refused(&self, why: &str, now: Now) -> Result<Payout, PayoutError> {
        self.require_open()?;
        let mut next = self.touched(now);
        let review = next.review.as_mut().ok_or(PayoutError::OutOfOrder)?;
        let claim = review.claim.take().ok_or(PayoutError::OutOfOrder)?;
        review.note(format!("{} did not pay it: {why}", claim.txid));
        Ok(next)
    }

    /// The transaction that was named is verified: the payout ends, reserved becomes paid.
    pub fn claim_verified(&self, landed: Landed, now: Now) -> Result<WithEntry, PayoutError> {
        self.require_open()?;
        let claim = self.review.as_ref().and_then(|review| review.claim.as_ref()).ok_or(PayoutError::OutOfOrder)?;
        if self.live_attempt().and_then(Attempt::txid).is_some_and(|txid| txid != claim.txid) {
            return Err(PayoutError::OtherTransaction);
        }
        // A service may have been named by what it calls the payout: the transaction is what it answered.
        let txid = landed.txid.clone().unwrap_or_else(|| claim.txid.clone());
        let mut next = self.touched(now);
        let attempt = next.attempts.last_mut().ok_or(PayoutError::OutOfOrder)?;
        attempt.state = AttemptState::Paid;
        attempt.sent_at.get_or_insert(now.wall);
        attempt.close(now.wall);
        attempt.fee_sun = landed.fee_sun;
        if attempt.prepared.txid.as_deref() != Some(&txid) {
            attempt.found_txid = Some(txid);
        }
        next.end(State::Paid { at: now.wall });
        Ok((next, self.entry_paid()?))
    }

    /// An admin states that the service did not pay it. The last of those who are needed ends the attempt.
    pub fn state_unpaid(&self, statement: Statement, now: Now) -> Result<Payout, PayoutError> {
        self.require_choice(Choice::StateUnpaid)?;
        let mut next = self.touched(now);
        let review = next.review.as_mut().ok_or(PayoutError::OutOfOrder)?;
        if review.statements.iter().any(|other| other.by == statement.by) {
            return Err(PayoutError::StatedBefore);
        }
        review.statements.push(statement);
        if review.statements.len() < STATEMENTS_NEEDED {
            return Ok(next);
        }
        let by: Vec<String> = review.statements.iter().map(|statement| statement.by.to_string()).collect();
        next = next.dead(Death::Stated, now)?;
        if next.has_attempts_left() {
            next.review = None;
        } else if let Some(review) = &mut next.review {
            review.note(format!("stated as not paid by {}", by.join(" and ")));
        }
        Ok(next)
    }
}
