//! When people have to know how replication stands: how old what the cluster has as a whole may be, and who else writes.

use crate::domain::alert::Severity;
use crate::domain::time::{BootMs, Now, Timestamp};

/// What the cluster has as a whole is too old.
pub const BEHIND: &str = "replication_behind";
/// Another manager with this id writes.
pub const SECOND: &str = "replication_second";
/// This store was restored somewhere else since.
pub const SUPERSEDED: &str = "replication_superseded";
/// All of them. Each is about the manager.
pub const KINDS: [&str; 3] = [BEHIND, SECOND, SUPERSEDED];

const MINUTE_MS: i64 = 60_000;

/// Who writes the documents of this manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    This,
    /// Another one with the same id.
    Other,
    /// One that was restored from what this one was.
    Later,
    /// Nobody could look.
    Unknown,
}

/// How replication stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub writer: Writer,
    pub is_paused: bool,
    /// Something changed that the cluster does not have.
    pub waits: bool,
    /// The cluster has everything of then; None: nothing is known of it.
    pub consistent_at: Option<Timestamp>,
    /// When the cluster was last known to have a whole, or this process began to replicate.
    pub since: BootMs,
}

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Raise(Severity, String),
    Resolve,
    /// As it is: nobody can tell.
    Stand,
}

/// Of each kind what becomes of it. `behind_minutes` is how old what the cluster has may be; 0: as old as it likes.
pub fn verdicts(standing: &Standing, behind_minutes: u32, now: Now) -> [(&'static str, Verdict); 3] {
    [(BEHIND, behind(standing, behind_minutes, now)), (SECOND, second(standing)), (SUPERSEDED, superseded(standing))]
}

fn behind(standing: &Standing, minutes: u32, now: Now) -> Verdict {
    let limit_ms = i64::from(minutes) * MINUTE_MS;
    // Who does not write at all is told about by the other kinds.
    if minutes == 0 || !standing.waits || matches!(standing.writer, Writer::Other | Writer::Later) {
        return Verdict::Resolve;
    }
    let of = match standing.consistent_at {
        // A clock that is not trusted tells no age.
        Some(_) if !now.trusted => return Verdict::Stand,
        Some(at) if now.wall.since(at) > limit_ms => format!("What the cluster has as a whole is of {at}, and changes wait"),
        None if now.boot.0.saturating_sub(standing.since.0) > limit_ms => {
            format!("For more than {minutes} minutes nothing is known of a whole that the cluster has")
        }
        _ => return Verdict::Resolve,
    };
    let paused = if standing.is_paused { ": replication is paused" } else { "" };
    Verdict::Raise(Severity::Warning, format!("{of}{paused}. The page Replication says more."))
}

fn second(standing: &Standing) -> Verdict {
    match standing.writer {
        Writer::Other => Verdict::Raise(
            Severity::Critical,
            "Another manager with the id of this one writes to the cluster, or did last, so this one sends nothing. Stop one of them; where the other is gone, say so on the page Replication.".into(),
        ),
        Writer::This | Writer::Later => Verdict::Resolve,
        Writer::Unknown => Verdict::Stand,
    }
}

fn superseded(standing: &Standing) -> Verdict {
    match standing.writer {
        Writer::Later => Verdict::Raise(
            Severity::Critical,
            "The store of this manager was restored somewhere else since, and what was made of it writes to the cluster. This manager never does again: stop it.".into(),
        ),
        Writer::This | Writer::Other => Verdict::Resolve,
        Writer::Unknown => Verdict::Stand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(ms: i64) -> Now {
        Now { wall: Timestamp(ms), boot: BootMs(ms), trusted: true }
    }

    fn standing() -> Standing {
        Standing { writer: Writer::This, is_paused: false, waits: true, consistent_at: Some(Timestamp(0)), since: BootMs(0) }
    }

    /// Kinds that are raised, and those that stand.
    fn told(standing: &Standing, now: Now) -> (Vec<&'static str>, Vec<&'static str>) {
        let of = |wanted: fn(&Verdict) -> bool| verdicts(standing, 60, now).into_iter().filter(move |(_, verdict)| wanted(verdict));
        let kinds = |wanted| of(wanted).map(|(kind, _)| kind).collect();
        (kinds(|verdict| matches!(verdict, Verdict::Raise(..))), kinds(|verdict| *verdict == Verdict::Stand))
    }

    #[test]
    fn what_waits_for_longer_than_the_limit_is_told_and_what_does_not_wait_is_not() {
        assert_eq!(told(&standing(), at(HOUR_MS)), (vec![], vec![]));
        assert_eq!(told(&standing(), at(HOUR_MS + 1)), (vec![BEHIND], vec![]));
        assert_eq!(told(&Standing { waits: false, ..standing() }, at(9 * HOUR_MS)), (vec![], vec![]));
        let never = verdicts(&standing(), 0, at(9 * HOUR_MS));
        assert_eq!(never[0], (BEHIND, Verdict::Resolve), "0: never");
    }

    #[test]
    fn a_cluster_without_a_whole_is_missed_from_the_last_one_or_the_start_of_the_process() {
        let unknown = Standing { writer: Writer::Unknown, consistent_at: None, since: BootMs(1_000), ..standing() };
        assert_eq!(told(&unknown, at(HOUR_MS + 1_000)).0, Vec::<&str>::new());
        assert_eq!(told(&unknown, at(HOUR_MS + 1_001)), (vec![BEHIND], vec![SECOND, SUPERSEDED]));
    }

    #[test]
    fn a_clock_that_is_not_trusted_changes_nothing_of_what_is_by_the_clock() {
        let distrusted = Now { trusted: false, ..at(9 * HOUR_MS) };
        assert_eq!(told(&standing(), distrusted), (vec![], vec![BEHIND]));
        assert_eq!(
            told(&Standing { consistent_at: None, ..standing() }, distrusted).0,
            [BEHIND],
            "a time since the start is by another one"
        );
    }

    #[test]
    fn a_pause_that_was_forgotten_is_told_as_one() {
        let [(_, verdict), ..] = verdicts(&Standing { is_paused: true, ..standing() }, 60, at(2 * HOUR_MS));
        assert!(matches!(&verdict, Verdict::Raise(Severity::Warning, text) if text.contains("paused")), "{verdict:?}");
    }

    #[test]
    fn who_else_writes_is_told_alone_and_until_this_one_does_again() {
        let of = |writer| told(&Standing { writer, ..standing() }, at(9 * HOUR_MS));
        assert_eq!(of(Writer::Other), (vec![SECOND], vec![]));
        assert_eq!(of(Writer::Later), (vec![SUPERSEDED], vec![]));
        assert_eq!(of(Writer::Unknown), (vec![BEHIND], vec![SECOND, SUPERSEDED]), "a cluster that is away says nothing of it");
        assert_eq!(of(Writer::This), (vec![BEHIND], vec![]));
    }
}
