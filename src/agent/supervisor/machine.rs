//! What the supervisor does next with its workload. Pure: the boot time, orders and ends of processes are arguments.

use crate::domain::node::Wanted;
use crate::domain::time::BootMs;
use crate::domain::workload::{CALM_AFTER_MS, RestartPolicy, WorkloadExit, WorkloadState};

/// A process that lives this long has started.
const STARTED_AFTER_MS: i64 = 500;
const FIRST_PAUSE_MS: i64 = 1_000;
const LONGEST_PAUSE_MS: i64 = 300_000;
/// A process that outlives SIGKILL (it waits for a disk) is killed again this often.
const KILL_AGAIN_MS: i64 = 5_000;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Then say `started` or `not_started`.
    Start,
    Terminate,
    Kill,
    /// Nothing before this, unless the process ends or an order comes.
    Wait(Option<BootMs>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stopped,
    /// To be started at once.
    Due,
    Starting,
    Running,
    /// `kill_at` is absent until it was asked to end.
    Stopping {
        kill_at: Option<BootMs>,
    },
    BackingOff {
        until: BootMs,
    },
    Failed,
}

#[derive(Debug)]
pub struct Machine {
    policy: RestartPolicy,
    grace_ms: i64,
    wanted: Wanted,
    phase: Phase,
    since: BootMs,
    failures: u32,
    pub restarts: u32,
    pub last_exit: Option<WorkloadExit>,
    pub reason: Option<String>,
}

impl Machine {
    pub fn new(policy: RestartPolicy, grace_ms: i64, wanted: Wanted, now: BootMs) -> Machine {
        let phase = if wanted == Wanted::Running { Phase::Due } else { Phase::Stopped };
        Machine { policy, grace_ms, wanted, phase, since: now, failures: 0, restarts: 0, last_exit: None, reason: None }
    }

    pub fn state(&self) -> WorkloadState {
        match self.phase {
            Phase::Stopped => WorkloadState::Stopped,
            Phase::Due | Phase::Starting => WorkloadState::Starting,
            Phase::Running => WorkloadState::Running,
            Phase::Stopping { .. } => WorkloadState::Stopping,
            Phase::BackingOff { .. } => WorkloadState::BackingOff,
            Phase::Failed => WorkloadState::Failed,
        }
    }

    /// When the present state began.
    pub fn since(&self) -> BootMs {
        self.since
    }

    /// A new order. What it wants is tried at once, whatever happened before.
    pub fn order(&mut self, wanted: Wanted, restart: bool, now: BootMs) {
        self.wanted = wanted;
        match (wanted, self.phase) {
            (Wanted::Running, Phase::Starting | Phase::Running) if restart => self.enter(Phase::Stopping { kill_at: None }, now),
            (Wanted::Running, Phase::Stopped | Phase::BackingOff { .. } | Phase::Failed) => self.start_afresh(now),
            (Wanted::Stopped, Phase::Starting | Phase::Running) => self.enter(Phase::Stopping { kill_at: None }, now),
            (Wanted::Stopped, Phase::Due | Phase::BackingOff { .. } | Phase::Failed) => self.enter(Phase::Stopped, now),
            // What is being stopped starts again when it has ended, if it is wanted running then.
            _ => (),
        }
    }

    fn start_afresh(&mut self, now: BootMs) {
        self.failures = 0;
        self.reason = None;
        self.enter(Phase::Due, now);
    }

    pub fn next(&mut self, now: BootMs) -> Action {
        match self.phase {
            Phase::Due => Action::Start,
            Phase::Starting if now.0 - self.since.0 >= STARTED_AFTER_MS => {
                self.enter(Phase::Running, now);
                Action::Wait(None)
            }
            Phase::Starting => Action::Wait(Some(BootMs(self.since.0 + STARTED_AFTER_MS))),
            Phase::Stopping { kill_at: None } => {
                self.phase = Phase::Stopping { kill_at: Some(BootMs(now.0 + self.grace_ms)) };
                Action::Terminate
            }
            Phase::Stopping { kill_at: Some(at) } if now >= at => {
                self.phase = Phase::Stopping { kill_at: Some(BootMs(now.0 + KILL_AGAIN_MS)) };
                Action::Kill
            }
            Phase::Stopping { kill_at } => Action::Wait(kill_at),
            Phase::BackingOff { until } if now >= until => {
                self.restarts = self.restarts.saturating_add(1);
                self.enter(Phase::Due, now);
                Action::Start
            }
            Phase::BackingOff { until } => Action::Wait(Some(until)),
            Phase::Stopped | Phase::Running | Phase::Failed => Action::Wait(None),
        }
    }

    pub fn started(&mut self, now: BootMs) {
        self.enter(Phase::Starting, now);
    }

    pub fn not_started(&mut self, why: String, now: BootMs) {
        self.reason = Some(why);
        self.pause_or_fail(now);
    }

    /// A process that an earlier agent started is there.
    pub fn adopted(&mut self, now: BootMs) {
        if self.wanted == Wanted::Running {
            self.enter(Phase::Running, now);
        } else {
            self.enter(Phase::Stopping { kill_at: None }, now);
        }
    }

    /// It had ended for good when the agent before this one was stopped.
    pub fn was_over(&mut self, exit: WorkloadExit, now: BootMs) {
        self.last_exit = Some(exit);
        if self.wanted == Wanted::Running && self.policy != RestartPolicy::Always {
            self.enter(if exit.code == Some(0) { Phase::Stopped } else { Phase::Failed }, now);
        }
    }

    /// The process is gone.
    pub fn ended(&mut self, exit: WorkloadExit, now: BootMs) {
        self.last_exit = Some(exit);
        if matches!(self.phase, Phase::Stopping { .. }) {
            let next = if self.wanted == Wanted::Running { Phase::Due } else { Phase::Stopped };
            self.failures = 0;
            self.reason = None;
            return self.enter(next, now);
        }
        if self.wanted == Wanted::Stopped {
            return self.enter(Phase::Stopped, now);
        }
        if self.phase == Phase::Running && now.0 - self.since.0 >= CALM_AFTER_MS {
            self.failures = 0;
        }
        let well = exit.code == Some(0);
        self.reason = Some(match (exit.code, exit.signal) {
            (Some(code), _) => format!("it ended with status {code}"),
            (None, Some(signal)) => format!("signal {signal} ended it"),
            (None, None) => "it ended while no agent was there to see how".to_owned(),
        });
        match self.policy {
            RestartPolicy::OnFailure | RestartPolicy::Never if well => self.enter(Phase::Stopped, now),
            _ => self.pause_or_fail(now),
        }
    }

    fn pause_or_fail(&mut self, now: BootMs) {
        if self.policy == RestartPolicy::Never {
            return self.enter(Phase::Failed, now);
        }
        let pause_ms = FIRST_PAUSE_MS.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE_MS);
        self.failures = self.failures.saturating_add(1);
        self.enter(Phase::BackingOff { until: BootMs(now.0 + pause_ms) }, now);
    }

    fn enter(&mut self, phase: Phase, now: BootMs) {
        let before = self.state();
        self.phase = phase;
        if self.state() != before {
            self.since = now;
        }
        if phase == Phase::Starting {
            // The half second counts from the start of the process.
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: fn(i32) -> WorkloadExit = |code| WorkloadExit { code: Some(code), signal: None };
    const GRACE_MS: i64 = 10_000;

    fn at(ms: i64) -> BootMs {
        BootMs(ms)
    }

    fn running(policy: RestartPolicy) -> Machine {
        let mut machine = Machine::new(policy, GRACE_MS, Wanted::Running, at(0));
        assert_eq!(machine.next(at(0)), Action::Start);
        machine.started(at(0));
        assert_eq!((machine.next(at(100)), machine.state()), (Action::Wait(Some(at(500))), WorkloadState::Starting));
        assert_eq!((machine.next(at(500)), machine.state()), (Action::Wait(None), WorkloadState::Running));
        machine
    }

    #[test]
    fn a_stop_asks_waits_its_grace_and_kills() {
        let mut machine = running(RestartPolicy::Always);
        machine.order(Wanted::Stopped, false, at(1_000));
        assert_eq!(machine.state(), WorkloadState::Stopping, "before anything else is said");
        assert_eq!(machine.next(at(1_000)), Action::Terminate);
        assert_eq!(machine.next(at(1_050)), Action::Wait(Some(at(11_000))));
        assert_eq!(machine.next(at(11_000)), Action::Kill);
        assert_eq!(machine.next(at(11_050)), Action::Wait(Some(at(16_000))), "killed once, and again only if that was not enough");
        machine.ended(WorkloadExit { code: None, signal: Some(9) }, at(11_100));
        assert_eq!((machine.state(), machine.next(at(99_000))), (WorkloadState::Stopped, Action::Wait(None)));
    }

    #[test]
    fn a_restart_is_a_stop_and_a_start_and_a_stop_meanwhile_wins() {
        let mut machine = running(RestartPolicy::Never);
        machine.order(Wanted::Running, true, at(1_000));
        assert_eq!(machine.next(at(1_000)), Action::Terminate);
        machine.ended(CODE(0), at(1_200));
        assert_eq!((machine.next(at(1_200)), machine.restarts), (Action::Start, 0), "ordered restarts are none of its own");
        machine.started(at(1_200));
        machine.order(Wanted::Running, true, at(1_300));
        machine.order(Wanted::Stopped, false, at(1_400));
        assert_eq!(machine.next(at(1_400)), Action::Terminate);
        machine.ended(CODE(0), at(1_500));
        assert_eq!(machine.state(), WorkloadState::Stopped);
    }

    #[test]
    fn pauses_double_and_a_calm_time_forgets_them() {
        let mut machine = running(RestartPolicy::Always);
        let mut now = 1_000;
        for expected in [1_000, 2_000, 4_000, 8_000] {
            machine.ended(CODE(1), at(now));
            assert_eq!(machine.next(at(now)), Action::Wait(Some(at(now + expected))));
            now += expected;
            assert_eq!(machine.next(at(now)), Action::Start);
            machine.started(at(now));
        }
        assert_eq!(machine.restarts, 4);
        now += 500;
        machine.next(at(now));
        now += CALM_AFTER_MS;
        machine.ended(CODE(1), at(now));
        assert_eq!(machine.next(at(now)), Action::Wait(Some(at(now + 1_000))));
        machine.order(Wanted::Running, false, at(now + 1));
        assert_eq!(machine.next(at(now + 1)), Action::Start, "an order does not wait for the pause");
    }

    #[test]
    fn the_policy_says_what_an_end_means() {
        use RestartPolicy as P;
        use WorkloadState as S;
        let cases = [
            (P::Always, 0, S::BackingOff),
            (P::Always, 1, S::BackingOff),
            (P::OnFailure, 0, S::Stopped),
            (P::OnFailure, 1, S::BackingOff),
            (P::Never, 0, S::Stopped),
            (P::Never, 1, S::Failed),
        ];
        for (policy, code, state) in cases {
            let mut machine = running(policy);
            machine.ended(CODE(code), at(1_000));
            assert_eq!(machine.state(), state, "{policy:?} {code}");
        }
        let mut machine = Machine::new(P::Never, GRACE_MS, Wanted::Running, at(0));
        machine.not_started("no such file".into(), at(1));
        assert_eq!((machine.state(), machine.reason.as_deref()), (S::Failed, Some("no such file")));
        let mut over = Machine::new(P::OnFailure, GRACE_MS, Wanted::Running, at(0));
        over.was_over(CODE(0), at(0));
        assert_eq!(over.next(at(0)), Action::Wait(None), "done is done, for a new agent too");
    }

    #[derive(Debug, Clone)]
    enum Event {
        Order(bool, bool),
        End(i32),
        FailsToStart,
        Pass(i64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            2 => (any::<bool>(), any::<bool>()).prop_map(|(running, restart)| Event::Order(running, restart)),
            2 => (0..2).prop_map(Event::End),
            1 => Just(Event::FailsToStart),
            4 => (1i64..40_000).prop_map(Event::Pass),
        ];
        prop::collection::vec(event, 0..80)
    }

    proptest! {
        /// Never two processes, never one that is wanted stopped for longer than its grace; one that is wanted running is there or will be.
        #[test]
        fn there_is_one_process_when_it_is_wanted_and_none_when_not(events in events(), policy in 0..3usize) {
            let policy = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][policy];
            let (mut now, mut alive, mut wanted, mut fails) = (0i64, false, Wanted::Running, false);
            let mut machine = Machine::new(policy, GRACE_MS, wanted, at(0));
            for event in events {
                match event {
                    Event::Order(running, restart) => {
                        wanted = if running { Wanted::Running } else { Wanted::Stopped };
                        machine.order(wanted, restart && running, at(now));
                    }
                    Event::End(code) if alive => {
                        alive = false;
                        machine.ended(CODE(code), at(now));
                    }
                    Event::End(_) => (),
                    Event::FailsToStart => fails = !fails,
                    Event::Pass(ms) => now += ms,
                }
                for step in 0.. {
                    prop_assert!(step < 10, "it comes to rest");
                    match machine.next(at(now)) {
                        Action::Start => {
                            prop_assert!(!alive && wanted == Wanted::Running);
                            if fails { machine.not_started("no".into(), at(now)) } else { alive = true; machine.started(at(now)) }
                        }
                        Action::Terminate => prop_assert!(alive),
                        Action::Kill => {
                            prop_assert!(alive);
                            alive = false;
                            machine.ended(WorkloadExit { code: None, signal: Some(9) }, at(now));
                        }
                        Action::Wait(until) => {
                            prop_assert!(until.is_none_or(|until| until > at(now)));
                            break;
                        }
                    }
                }
                let state = machine.state();
                use WorkloadState as S;
                prop_assert_eq!(alive, matches!(state, S::Starting | S::Running | S::Stopping), "{:?}", state);
                if wanted == Wanted::Stopped {
                    prop_assert!(matches!(state, S::Stopped | S::Stopping), "{:?}", state);
                }
                if wanted == Wanted::Running && policy == RestartPolicy::Always {
                    prop_assert!(!matches!(state, S::Stopped | S::Failed), "{:?}", state);
                }
            }
        }
    }
}
