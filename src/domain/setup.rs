//! The first steps with a new manager: what an admin has done, has skipped, or has still before them.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::time::Timestamp;

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Account,
    Clock,
    Storage,
    RecoveryKit,
    Network,
    Pool,
    Enrol,
}

impl Step {
    pub const ALL: [Step; 7] = [Step::Account, Step::Clock, Step::Storage, Step::RecoveryKit, Step::Network, Step::Pool, Step::Enrol];

    pub fn as_str(self) -> &'static str {
        match self {
            Step::Account => "account",
            Step::Clock => "clock",
            Step::Storage => "storage",
            Step::RecoveryKit => "recovery_kit",
            Step::Network => "network",
            Step::Pool => "pool",
            Step::Enrol => "enrol",
        }
    }

    pub fn parse(text: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// Whether a person may set this state. A step whose deed the manager sees for itself is not done by saying so.
    pub fn check(self, wanted: StepState, clock_is_trusted: bool) -> Result<(), Refusal> {
        let rule = |name, why: &str| Err(Refusal::Rule(name, why.to_owned()));
        match (self, wanted) {
            (Step::Account, StepState::Skipped | StepState::Open) => {
                rule("AccountStepFixed", "the first account exists: this step is done")
            }
            (Step::Clock, StepState::Done) if !clock_is_trusted => {
                rule("ClockNotTrusted", "the clock is not trusted yet: confirm it first, or skip this step")
            }
            (Step::RecoveryKit, StepState::Done) => rule("RecoveryKitNotMade", "download a recovery kit: that marks this step as done"),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Done,
    Skipped,
    Open,
}

impl StepState {
    pub fn as_str(self) -> &'static str {
        match self {
            StepState::Done => "done",
            StepState::Skipped => "skipped",
            StepState::Open => "open",
        }
    }
}

/// The stored side of a step that is not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupMark {
    pub skipped: bool,
    pub at: Timestamp,
    /// Who, as in the audit log.
    pub by: String,
}

impl SetupMark {
    pub fn state(&self) -> StepState {
        if self.skipped { StepState::Skipped } else { StepState::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for step in Step::ALL {
            assert_eq!(Step::parse(step.as_str()), Some(step));
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
        assert_eq!(Step::parse("Account"), None);
    }

    #[test]
    fn saying_so_does_not_make_a_deed() {
        let refused = |step: Step, state, trusted| step.check(state, trusted).err().map(|refusal| refusal.name());
        assert_eq!(refused(Step::Clock, StepState::Done, false), Some("ClockNotTrusted"));
        assert_eq!(refused(Step::Clock, StepState::Done, true), None);
        assert_eq!(refused(Step::Clock, StepState::Skipped, false), None);
        assert_eq!(refused(Step::Account, StepState::Open, true), Some("AccountStepFixed"));
        assert_eq!(refused(Step::RecoveryKit, StepState::Done, true), Some("RecoveryKitNotMade"));
        assert_eq!(refused(Step::RecoveryKit, StepState::Skipped, true), None);
        assert_eq!(refused(Step::Pool, StepState::Done, false), None);
    }
}
