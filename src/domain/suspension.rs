//! Suspension: an admin takes a node out of service for a reason that stands beside it, its operator may appeal, an admin decides. Nothing suspends by itself:
//! an anomaly is an alert, and a suspension may name one as its evidence.

use serde::{Deserialize, Serialize};

use super::audit::Actor;
use super::ids::AlertId;
use super::refusal::Refusal;
use super::time::{Slot, Timestamp};

/// Suspensions of one node that are kept; the oldest go.
pub const MAX_KEPT: usize = 20;
/// Appeals against one suspension: each brings something new, or it is the last one again.
pub const MAX_APPEALS: usize = 5;
/// An appeal waits for a decision; about the node.
pub const APPEALED: &str = "suspension_appealed";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The first slot that does not count.
    pub from: Slot,
    pub at: Timestamp,
    pub by: Actor,
    pub reason: String,
    /// The alert that shows why.
    pub evidence: Option<AlertId>,
    /// Oldest first.
    pub appeals: Vec<Appeal>,
    pub lifted: Option<Lifted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appeal {
    pub at: Timestamp,
    pub by: Actor,
    pub text: String,
    pub decision: Option<Decision>,
}

/// What an admin made of an appeal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The suspension stands.
    pub upheld: bool,
    pub at: Timestamp,
    pub by: Actor,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// The first slot that counts again.
    pub from: Slot,
    pub at: Timestamp,
    pub by: Actor,
    pub reason: String,
}

impl Suspension {
    pub fn is_open(&self) -> bool {
        self.lifted.is_none()
    }

    /// The appeal that waits for a decision.
    pub fn open_appeal(&self) -> Option<&Appeal> {
        self.appeals.last().filter(|appeal| appeal.decision.is_none())
    }

    /// One at a time, and `MAX_APPEALS` in all.
    pub fn appeal(&mut self, at: Timestamp, by: Actor, text: String) -> Result<(), Refusal> {
        if self.open_appeal().is_some() {
            return Err(Refusal::AppealOpen);
        }
        if self.appeals.len() >= MAX_APPEALS {
            return Err(Refusal::Rule(
                "TooManyAppeals",
                format!("{MAX_APPEALS} appeals against this suspension were decided; that is all"),
            ));
        }
        self.appeals.push(Appeal { at, by, text, decision: None });
        Ok(())
    }

    /// Decides the appeal that waits. Who imposed a suspension does not uphold it where there is `another` admin; lifting is anybody's.
    pub fn decide(&mut self, decision: Decision, another: bool) -> Result<(), Refusal> {
        let own = decision.upheld && another && decision.by == self.by;
        let appeal = self.appeals.last_mut().filter(|appeal| appeal.decision.is_none()).ok_or(Refusal::AppealNotFound)?;
        if own {
            return Err(Refusal::OwnSuspension);
        }
        appeal.decision = Some(decision);
        Ok(())
    }

    /// What people wrote is gone; what was done stands.
    pub fn without_words(mut self) -> Suspension {
        self.reason.clear();
        if let Some(lifted) = &mut self.lifted {
            lifted.reason.clear();
        }
        for appeal in &mut self.appeals {
            appeal.text.clear();
            if let Some(decision) = &mut appeal.decision {
                decision.reason.clear();
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000);

    fn user(id: &str) -> Actor {
        Actor::User(id.into())
    }

    fn suspension() -> Suspension {
        Suspension { from: Slot(7), at: T, by: user("a"), reason: "r".into(), evidence: None, appeals: Vec::new(), lifted: None }
    }

    fn decision(upheld: bool, by: &str) -> Decision {
        Decision { upheld, at: T, by: user(by), reason: "r".into() }
    }

    #[test]
    fn appeals_come_one_at_a_time_and_end() {
        let mut s = suspension();
        assert_eq!(s.decide(decision(true, "b"), true), Err(Refusal::AppealNotFound));
        for _ in 0..MAX_APPEALS {
            s.appeal(T, user("o"), "no".into()).unwrap();
            assert_eq!(s.appeal(T, user("o"), "no".into()), Err(Refusal::AppealOpen));
            s.decide(decision(true, "b"), true).unwrap();
        }
        assert_eq!(s.appeal(T, user("o"), "no".into()).unwrap_err().name(), "TooManyAppeals");
    }

    #[test]
    fn nobody_upholds_their_own_suspension_unless_nobody_else_could() {
        let mut s = suspension();
        s.appeal(T, user("o"), "no".into()).unwrap();
        let before = s.clone();
        assert_eq!(s.decide(decision(true, "a"), true), Err(Refusal::OwnSuspension));
        assert_eq!(s, before);
        assert_eq!(s.clone().decide(decision(true, "a"), false), Ok(()));
        assert_eq!(s.decide(decision(false, "a"), true), Ok(()));
    }

    #[test]
    fn words_go_and_deeds_stay() {
        let mut s = suspension();
        s.appeal(T, user("o"), "marked".into()).unwrap();
        s.decide(decision(true, "b"), true).unwrap();
        s.lifted = Some(Lifted { from: Slot(9), at: T, by: user("b"), reason: "marked".into() });
        let left = s.without_words();
        assert!(!format!("{left:?}").contains("marked") && left.reason.is_empty());
        assert_eq!((left.appeals.len(), left.is_open()), (1, false));
    }
}
