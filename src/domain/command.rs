//! Commands to a node's supervisor: asked for by people, carried out by the agent, with an end that is known. What is *wanted* stands beside them:
//! a command that expires changes nothing of it.

use serde::{Deserialize, Serialize};

use super::audit::Actor;
use super::node::Wanted;
use super::time::{Now, Slot, Timeline, Timestamp};
use super::workload::{WorkloadReport, WorkloadState};

/// Commands kept of one node; the oldest make room.
pub const MAX_COMMANDS: u64 = 100;
/// Seconds in which a command is to be carried out. A node that is away takes what is wanted when it comes back, whether the command has expired or
/// not.
pub const DEADLINE_SECONDS: i64 = 600;
/// Changes of what was wanted are remembered as long as a slot can be reopened, and some more.
const HISTORY_SLOTS: u32 = 2_880;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeCommandAction)]
pub enum Action {
    Start,
    Stop,
    Restart,
}

impl Action {
    pub fn wanted(self) -> Wanted {
        match self {
            Action::Start | Action::Restart => Wanted::Running,
            Action::Stop => Wanted::Stopped,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
        }
    }

    /// The operation's name in the audit log.
    pub fn operation(self) -> &'static str {
        match self {
            Action::Start => "node.start",
            Action::Stop => "node.stop",
            Action::Restart => "node.restart",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeCommandState)]
pub enum CommandState {
    /// The node has not been told yet.
    Pending,
    /// The node was told.
    Delivered,
    Done,
    Failed,
    /// Not carried out in time, or a newer one took its place. What is wanted stands.
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub action: Action,
    /// Of the order that carries it; counts the commands of the node.
    pub revision: u64,
    pub created_at: Timestamp,
    pub by: Actor,
    pub deadline: Timestamp,
    pub state: CommandState,
    pub delivered_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

impl Command {
    pub fn new(action: Action, revision: u64, by: Actor, at: Timestamp) -> Command {
        Command {
            action,
            revision,
            created_at: at,
            by,
            deadline: at.plus_seconds(DEADLINE_SECONDS),
            state: CommandState::Pending,
            delivered_at: None,
            finished_at: None,
            outcome: None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, CommandState::Pending | CommandState::Delivered)
    }

    /// Its time is over. On a clock that is not trusted nobody knows.
    pub fn is_overdue(&self, now: Now) -> bool {
        self.is_open() && now.trusted && now.wall > self.deadline
    }

    pub fn end(&mut self, state: CommandState, outcome: impl Into<String>, at: Timestamp) {
        (self.state, self.outcome, self.finished_at) = (state, Some(outcome.into()), Some(at));
    }

    /// What a report of the supervisor makes of an open command; none while it is under way.
    pub fn settled_by(&self, generation: u32, report: &WorkloadReport) -> Option<(CommandState, String)> {
        if report.generation != generation || report.revision < self.revision {
            return None;
        }
        if !report.configured {
            return Some((CommandState::Done, "no workload is configured on the node; what is wanted of it was noted".into()));
        }
        let because = || report.reason.clone().unwrap_or_else(|| "the node gives no reason".into());
        match (self.action.wanted(), report.state) {
            (Wanted::Running, WorkloadState::Running) => Some((CommandState::Done, "the workload runs".into())),
            (Wanted::Stopped, WorkloadState::Stopped) => Some((CommandState::Done, "the workload has stopped".into())),
            (Wanted::Running, WorkloadState::Stopped) => Some((CommandState::Done, "the workload ran and ended by itself".into())),
            (Wanted::Running, WorkloadState::Failed) => Some((CommandState::Failed, because())),
            _ => None,
        }
    }
}

/// What a node was told to do, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub revision: u64,
    pub restart_count: u32,
    pub wanted: Timeline<Wanted>,
}

impl Order {
    /// Of a node that got no command yet. One that was stopped by an earlier release has to be told.
    pub fn initial(wanted: Wanted) -> Order {
        Order { revision: u64::from(wanted == Wanted::Stopped), restart_count: 0, wanted: Timeline::new(wanted) }
    }

    /// The next order. On a clock that is not trusted the past is given up rather than dated wrongly.
    pub fn follow(&mut self, action: Action, now: Now) {
        self.revision = self.revision.saturating_add(1);
        if action == Action::Restart {
            self.restart_count = self.restart_count.wrapping_add(1);
        }
        if !now.trusted {
            self.wanted = Timeline::new(action.wanted());
            return;
        }
        let next = now.wall.slot().plus(1);
        self.wanted.set(next, action.wanted());
        self.wanted.forget_before(next.minus(HISTORY_SLOTS));
    }

    pub fn wanted_in(&self, slot: Slot) -> Wanted {
        *self.wanted.at(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    fn command(action: Action) -> Command {
        Command::new(action, 7, Actor::Console, Timestamp(0))
    }

    fn report(state: WorkloadState) -> WorkloadReport {
        WorkloadReport { configured: true, state, generation: 1, revision: 7, ..WorkloadReport::default() }
    }

    #[test]
    fn a_command_ends_when_the_node_says_so_and_not_before() {
        use CommandState::{Done, Failed};
        use WorkloadState as S;
        let cases = [
            (Action::Start, S::Starting, None),
            (Action::Start, S::Running, Some(Done)),
            (Action::Start, S::BackingOff, None),
            (Action::Start, S::Failed, Some(Failed)),
            (Action::Restart, S::Stopping, None),
            (Action::Restart, S::Running, Some(Done)),
            (Action::Stop, S::Running, None),
            (Action::Stop, S::Stopping, None),
            (Action::Stop, S::Stopped, Some(Done)),
        ];
        for (action, state, expected) in cases {
            let settled = command(action).settled_by(1, &report(state)).map(|(state, _)| state);
            assert_eq!(settled, expected, "{action:?} {state:?}");
            let older = WorkloadReport { revision: 6, ..report(state) };
            assert_eq!(command(action).settled_by(1, &older), None, "the node has not taken it over");
            assert_eq!(command(action).settled_by(2, &report(state)), None, "an order of another store");
            let none = WorkloadReport { configured: false, ..report(state) };
            assert_eq!(command(action).settled_by(1, &none).unwrap().0, Done);
        }
    }

    #[test]
    fn what_is_wanted_counts_from_the_next_slot_and_restarts_are_counted() {
        let at = |slot: u32, trusted| Now { wall: Slot(slot).start(), boot: BootMs(0), trusted };
        let mut order = Order::initial(Wanted::Running);
        assert_eq!((order.revision, Order::initial(Wanted::Stopped).revision), (0, 1));
        order.follow(Action::Stop, at(9_000, true));
        assert_eq!((order.wanted_in(Slot(9_000)), order.wanted_in(Slot(9_001))), (Wanted::Running, Wanted::Stopped));
        order.follow(Action::Restart, at(9_005, true));
        assert_eq!((order.revision, order.restart_count, order.wanted_in(Slot(9_005))), (2, 1, Wanted::Stopped));
        assert_eq!(order.wanted_in(Slot(9_006)), Wanted::Running);
        order.follow(Action::Stop, at(5, false));
        assert_eq!(order.wanted_in(Slot(9_000)), Wanted::Stopped);
    }

    #[test]
    fn only_a_trusted_clock_ends_a_command() {
        let late = |seconds, trusted| Now { wall: Timestamp::from_seconds(seconds), boot: BootMs(0), trusted };
        let mut open = command(Action::Stop);
        assert!(!open.is_overdue(late(DEADLINE_SECONDS, true)));
        assert!(open.is_overdue(late(DEADLINE_SECONDS + 1, true)));
        assert!(!open.is_overdue(late(DEADLINE_SECONDS + 1, false)));
        open.end(CommandState::Done, "", Timestamp(1));
        assert!(!open.is_overdue(late(DEADLINE_SECONDS + 1, true)));
    }
}
