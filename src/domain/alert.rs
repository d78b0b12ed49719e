//! Alerts: something that a person should know, open until it is over.

use serde::{Deserialize, Serialize};

use super::audit::Actor;
use super::ids::AlertId;
use super::security;
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// A measurement of a node passed its threshold; the topic is the metric.
pub const RESOURCE_THRESHOLD: &str = "resource_threshold";
/// Metrics of a threshold above whose critical limit (95 % where nothing else was set) the requirements want a security alert.
const SECURITY_TOPICS: [&str; 2] = ["cpu_percent", "memory_percent"];
/// Steps kept of one alert: the first, and the newest ones.
pub const MAX_STEPS: usize = 50;
/// Longest remark of an acknowledgement, in characters.
pub const MAX_NOTE: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub id: AlertId,
    /// What kind of thing: `node_unreachable`, `clock_untrusted`, `books_unbalanced`.
    pub kind: String,
    /// Id of what it is about; empty when it is about the manager.
    pub subject: String,
    /// What of the subject, where it can have several alerts of a kind: a metric.
    pub topic: Option<String>,
    pub severity: Severity,
    pub message: String,
    pub raised_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// By someone, since it last got worse.
    pub acknowledged: Option<Acknowledgement>,
    /// Its subject is silent since then: nobody can tell whether it is over.
    pub unknown_since: Option<Timestamp>,
    /// In order of time, at most `MAX_STEPS`.
    pub history: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub at: Timestamp,
    pub by: Actor,
    pub note: Option<String>,
}

/// One thing that happened to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: Timestamp,
    pub turn: Turn,
    /// After it.
    pub severity: Severity,
    pub by: Actor,
    pub note: Option<String>,
}

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertState)]
pub enum State {
    Open,
    /// Open, and someone has seen it.
    Acknowledged,
    /// Not over as far as anyone knows: its subject is silent.
    Unknown,
    Resolved,
}

/// What happened to an alert. New ones go to the end: stored steps name one by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertTurn)]
pub enum Turn {
    Raised,
    Resolved,
    Acknowledged,
    /// It got worse; whoever had acknowledged it is asked again.
    Escalated,
    /// It got better and is not over.
    Eased,
    /// Its subject went silent.
    Unknown,
    /// Its subject is heard again, and it is not over.
    Known,
}

/// What a kind is called; one without a title by its own name.
pub fn title(kind: &str) -> String {
    let title = match kind {
        "fleet_silent" => "The whole fleet is silent",
        "fingerprint_drift" => "Hardware changed",
        "key_on_other_hardware" => "Key used on another machine",
        "two_nodes_on_one_machine" => "Two nodes on one machine",
        "clock_untrusted" => "Clock not trusted",
        "books_unbalanced" => "The books do not balance",
        "authentication_failures" => "Failed sign-ins",
        "payout_unusual_amount" => "Payout of an unusual amount",
        "payouts_frequent" => "Payouts in quick succession",
        "poot_deviation" => "Score far from the others",
        "storage_high" => "The disk fills up",
        "storage_critical" => "The disk is nearly full",
        "storage_io_error" => "A disk error was survived",
        "storage_damaged" => "A file of measurements is damaged",
        "storage_lost" => "A file of measurements is gone",
        "card_wearing_out" => "The card wears out",
        "archive_failed" => "Archiving is held up",
        "backup_failed" => "A backup failed",
        "backup_overdue" => "No backup for too long",
        "replication_behind" => "The cluster is behind",
        "replication_second" => "Two managers with one id",
        "replication_superseded" => "Restored somewhere else",
        "history_forked" => "The store is an older copy",
        "identical_outputs" => "Output of another node",
        "final_payout_blocked" => "Final payout held",
        "payouts_frozen" => "Payouts are frozen",
        "payouts_stopped" => "Payouts are stopped",
        "payout_review" => "A payout needs a person",
        "payout_waits" => "A payout is not signed",
        "payout_refused" => "A transfer is refused",
        "payout_approval" => "Payouts wait for a second admin",
        "payout_carried_over" => "A node is not paid",
        "wallet_low" => "The wallet runs low",
        "wallet_unreachable" => "The payment network does not answer",
        "transfers_not_booked" => "Transfers are not booked",
        "attempt_without_gateway" => "Signed by a gateway that is gone",
        "webhook_given_up" => "A webhook was given up",
        "resource_threshold" => "Beyond its threshold",
        _ => return titled(kind),
    };
    title.to_owned()
}

fn titled(kind: &str) -> String {
    let words = kind.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Alert {
    pub fn new(id: AlertId, kind: &str, subject: &str, severity: Severity, message: &str, now: Timestamp) -> Alert {
        let first = Step { at: now, turn: Turn::Raised, severity, by: Actor::System, note: None };
        Alert {
            id,
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            topic: None,
            severity,
            message: message.to_owned(),
            raised_at: now,
            resolved_at: None,
            acknowledged: None,
            unknown_since: None,
            history: vec![first],
        }
    }

    pub fn state(&self) -> State {
        if self.resolved_at.is_some() {
            State::Resolved
        } else if self.unknown_since.is_some() {
            State::Unknown
        } else if self.acknowledged.is_some() {
            State::Acknowledged
        } else {
            State::Open
        }
    }

    /// About an attack, a mistake with money, a machine that is not what it was, or one that is used up: the security alerts of the requirements.
    pub fn is_security(&self) -> bool {
        let was_critical = self.history.iter().any(|step| step.severity == Severity::Critical);
        let is_used_up = self.kind == RESOURCE_THRESHOLD && self.topic.as_deref().is_some_and(|topic| SECURITY_TOPICS.contains(&topic));
        security::KINDS.contains(&self.kind.as_str()) || (is_used_up && was_critical)
    }

    /// When something last happened to it.
    pub fn updated_at(&self) -> Timestamp {
        self.history.last().map_or(self.raised_at, |step| step.at)
    }

    fn step(&mut self, at: Timestamp, turn: Turn, by: Actor, note: Option<String>) {
        if self.history.len() >= MAX_STEPS {
            // The first stays: it says how it began.
            self.history.remove(1);
        }
        self.history.push(Step { at, turn, severity: self.severity, by, note });
    }

    pub fn resolve(&mut self, now: Timestamp) {
        (self.resolved_at, self.unknown_since) = (Some(now), None);
        self.step(now, Turn::Resolved, Actor::System, None);
    }

    /// False when it was acknowledged already: the first acknowledgement stands.
    pub fn acknowledge(&mut self, by: Actor, note: Option<String>, now: Timestamp) -> bool {
        if self.acknowledged.is_some() {
            return false;
        }
        self.acknowledged = Some(Acknowledgement { at: now, by: by.clone(), note: note.clone() });
        self.step(now, Turn::Acknowledged, by, note);
        true
    }

    /// None when the severity is as it was.
    pub fn set_severity(&mut self, severity: Severity, message: &str, now: Timestamp) -> Option<Turn> {
        let turn = match severity.cmp(&self.severity) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => Turn::Escalated,
            std::cmp::Ordering::Less => Turn::Eased,
        };
        if turn == Turn::Escalated {
            self.acknowledged = None;
        }
        self.severity = severity;
        message.clone_into(&mut self.message);
        self.step(now, turn, Actor::System, None);
        Some(turn)
    }

    /// None when that was known already.
    pub fn set_unknown(&mut self, unknown: bool, now: Timestamp) -> Option<Turn> {
        if self.unknown_since.is_some() == unknown {
            return None;
        }
        self.unknown_since = unknown.then_some(now);
        let turn = if unknown { Turn::Unknown } else { Turn::Known };
        self.step(now, turn, Actor::System, None);
        Some(turn)
    }
}

/// Something happened to an alert: what people who watch are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertChange {
    pub alert_id: AlertId,
    pub kind: String,
    pub severity: Severity,
    pub subject: String,
    pub change: Turn,
}

impl AlertChange {
    pub fn of(alert: &Alert, change: Turn) -> AlertChange {
        AlertChange {
            alert_id: alert.id.clone(),
            kind: alert.kind.clone(),
            severity: alert.severity,
            subject: alert.subject.clone(),
            change,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000);

    fn alert() -> Alert {
        Alert::new(AlertId::parse("alert_0000000001").unwrap(), "k", "s", Severity::Warning, "m", T)
    }

    #[test]
    fn kinds_have_titles_and_those_without_one_are_told_by_their_name() {
        assert_eq!([title("fingerprint_drift"), title("replication_behind")], ["Hardware changed", "The cluster is behind"]);
        assert_eq!([title("store_nearly_full"), title("")], ["Store nearly full", ""]);
    }

    #[test]
    fn a_worse_alert_asks_again_and_a_silent_subject_hides_nothing() {
        let mut a = alert();
        let by = Actor::User("user_a".into());
        assert!(a.acknowledge(by.clone(), None, T.plus_ms(1)) && !a.acknowledge(Actor::Console, None, T.plus_ms(2)));
        assert_eq!((a.state(), a.acknowledged.as_ref().map(|ack| &ack.by)), (State::Acknowledged, Some(&by)));
        assert_eq!(a.set_severity(Severity::Warning, "same", T), None);
        assert_eq!(a.set_severity(Severity::Critical, "worse", T.plus_ms(3)), Some(Turn::Escalated));
        assert_eq!((a.state(), a.message.as_str()), (State::Open, "worse"));
        assert_eq!((a.set_unknown(false, T), a.set_unknown(true, T.plus_ms(4)), a.set_unknown(true, T)), (None, Some(Turn::Unknown), None));
        assert_eq!((a.state(), a.unknown_since), (State::Unknown, Some(T.plus_ms(4))));
        assert_eq!(a.set_unknown(false, T.plus_ms(5)), Some(Turn::Known));
        assert_eq!(a.set_severity(Severity::Info, "better", T.plus_ms(6)), Some(Turn::Eased));
        a.resolve(T.plus_ms(7));
        let turns: Vec<Turn> = a.history.iter().map(|step| step.turn).collect();
        use Turn::{Acknowledged, Eased, Escalated, Known, Raised, Resolved, Unknown};
        assert_eq!(turns, [Raised, Acknowledged, Escalated, Unknown, Known, Eased, Resolved]);
        assert_eq!((a.state(), a.updated_at()), (State::Resolved, T.plus_ms(7)));
    }

    #[test]
    fn the_history_keeps_its_beginning_and_its_newest_steps() {
        let mut a = alert();
        for n in 0..200 {
            a.set_unknown(n % 2 == 0, T.plus_ms(n));
        }
        assert_eq!((a.history.len(), a.history[0].turn, a.history[1].at), (MAX_STEPS, Turn::Raised, T.plus_ms(151)));
    }
}
