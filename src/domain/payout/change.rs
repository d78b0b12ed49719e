//! What one step did to a payout, as webhooks name it.

use super::{Attempt, AttemptState, Claim, Payout, Review, ReviewKind, State, Statement};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Reserved.
    Planned,
    Signed,
    /// Its bytes may have left.
    Sent,
    /// They have not, after all.
    NotSent,
    /// The service took it.
    Accepted,
    /// In a block that is not final.
    Seen,
    /// That block is gone from the chain.
    Unseen,
    AttemptDead,
    /// It waits for a person.
    Review,
    /// The person has decided, and it goes on.
    Resumed,
    /// It goes on waiting, for something else or after an admin said something about it.
    Noted,
    Paid,
    Failed,
    Cancelled,
}

impl Change {
    /// `before` is `None` for a payout that was just planned. Where a step did several things, the one that people want to know first. None: it wrote down more evidence
    /// at most, which whoever looks may do every few seconds.
    pub fn between(before: Option<&Payout>, after: &Payout) -> Option<Change> {
        let Some(before) = before else { return Some(Change::Planned) };
        match &after.state {
            State::Paid { .. } => return Some(Change::Paid),
            State::Failed { .. } => return Some(Change::Failed),
            State::Cancelled { .. } => return Some(Change::Cancelled),
            State::Open => (),
        }
        let of_attempt = || after.attempts.last().and_then(|is| Change::of_attempt(before.attempts.last(), is));
        match (&before.review, &after.review) {
            (None, Some(_)) => Some(Change::Review),
            (Some(_), None) => of_attempt().or(Some(Change::Resumed)),
            (Some(was), Some(is)) => of_attempt().or((said(was) != said(is)).then_some(Change::Noted)),
            (None, None) => of_attempt(),
        }
    }

    fn of_attempt(before: Option<&Attempt>, is: &Attempt) -> Option<Change> {
        let was = before.filter(|was| was.number == is.number);
        if let Some(was) = was.filter(|was| was.state == is.state) {
            return (was.reference != is.reference).then_some(Change::Accepted);
        }
        Some(match (was.map(|was| &was.state), &is.state) {
            (Some(AttemptState::MaybeSent), AttemptState::Signed) => Change::NotSent,
            (_, AttemptState::Signed) => Change::Signed,
            (Some(AttemptState::Seen { .. }), AttemptState::MaybeSent) => Change::Unseen,
            (_, AttemptState::MaybeSent) => Change::Sent,
            (_, AttemptState::Seen { .. }) => Change::Seen,
            (_, AttemptState::Dead { .. }) => Change::AttemptDead,
            // These end the payout.
            (_, AttemptState::Paid | AttemptState::FailedOnChain { .. }) => return None,
        })
    }

    /// Name of the message.
    pub fn event(self) -> &'static str {
        match self {
            Change::Planned => "payout.planned",
            Change::Signed => "payout.signed",
            Change::Sent => "payout.sent",
            Change::NotSent => "payout.not_sent",
            Change::Accepted => "payout.accepted",
            Change::Seen => "payout.seen",
            Change::Unseen => "payout.unseen",
            Change::AttemptDead => "payout.attempt_dead",
            Change::Review => "payout.review",
            Change::Resumed => "payout.resumed",
            Change::Noted => "payout.noted",
            Change::Paid => "payout.paid",
            Change::Failed => "payout.failed",
            Change::Cancelled => "payout.cancelled",
        }
    }
}

/// What of a review does not come from looking.
fn said(review: &Review) -> (ReviewKind, Option<&Claim>, &[Statement]) {
    (review.kind, review.claim.as_ref(), &review.statements)
}
