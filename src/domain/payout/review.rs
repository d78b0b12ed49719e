//! A payout that waits for a person: why, what is known, and what the person may choose.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::UserId;
use crate::domain::time::Timestamp;

/// Lines of evidence that are kept, the newest ones.
pub const MAX_EVIDENCE: usize = 12;
/// Characters of one line of evidence or of a reason.
pub const MAX_LINE_CHARS: usize = 300;
/// Admins who have to state that a service paid nothing before another attempt is made.
pub const STATEMENTS_NEEDED: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub kind: ReviewKind,
    /// For people.
    pub reason: String,
    /// Oldest first, at most `MAX_EVIDENCE`.
    pub evidence: Vec<String>,
    pub since: Timestamp,
    /// What an admin says paid it, until the gateway has looked.
    pub claim: Option<Claim>,
    /// Who stated that the service paid nothing.
    pub statements: Vec<Statement>,
}

/// Stable name of what is unclear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutReviewKind)]
pub enum ReviewKind {
    /// A person stopped it.
    Held,
    /// As many attempts died as are allowed.
    AllDied,
    /// The far side gave an answer from which nobody can tell whether it paid.
    Ambiguous,
    /// The transfer would fail, or is not allowed by a limit that does not pass with time.
    WouldFail,
    /// Long past its expiry, and not proven dead.
    NotProvenDead,
    /// Two sources say different things about it.
    Conflict,
}

/// "This transaction paid it."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub txid: String,
    pub by: UserId,
    pub at: Timestamp,
}

/// "The service has not paid it and never will."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub by: UserId,
    pub at: Timestamp,
    pub text: String,
}

/// What a person may choose now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutChoice)]
pub enum Choice {
    /// Let the cycle look again.
    CheckAgain,
    /// Name the transaction that paid it; it is verified before anything is booked.
    AcceptPaid,
    /// Make another attempt: no earlier one can land.
    NewAttempt,
    /// State that the service did not pay; the second admin's statement makes another attempt.
    StateUnpaid,
    /// End it; its money is payable again.
    Cancel,
}

impl Review {
    pub fn new(kind: ReviewKind, reason: impl Into<String>, evidence: Vec<String>, since: Timestamp) -> Review {
        let mut review = Review { kind, reason: clipped(reason.into()), evidence: Vec::new(), since, claim: None, statements: Vec::new() };
        evidence.into_iter().for_each(|line| review.note(line));
        review
    }

    /// Adds a line of evidence, unless it is there already: what is asked every few seconds says the same each time, in as many lines as it takes.
    pub fn note(&mut self, line: String) {
        let line = clipped(line);
        if self.evidence.contains(&line) {
            return;
        }
        self.evidence.push(line);
        let surplus = self.evidence.len().saturating_sub(MAX_EVIDENCE);
        self.evidence.drain(..surplus);
    }

    /// What it was told since it was `before`: the new reason, or the new lines. None where that is nothing, and once it has had `MAX_EVIDENCE` lines: whose answers differ each time
    /// is not written down each time.
    pub fn told_since(&self, before: &Review) -> Option<String> {
        if self.evidence.len() <= before.evidence.len() {
            return None;
        }
        if self.kind != before.kind {
            return Some(self.reason.clone());
        }
        let fresh: Vec<&str> = self.evidence.iter().filter(|line| !before.evidence.contains(line)).map(String::as_str).collect();
        Some(fresh.join("; "))
    }
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::CheckAgain => "check_again",
            Choice::AcceptPaid => "accept_paid",
            Choice::NewAttempt => "new_attempt",
            Choice::StateUnpaid => "state_unpaid",
            Choice::Cancel => "cancel",
        })
    }
}
