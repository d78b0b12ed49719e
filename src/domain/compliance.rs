//! What a compliance report counts: which entries of the audit log are of which kind, and what each person did. Values in, values out.

use std::collections::BTreeMap;

use super::audit::{Actor, Draft};
use super::security::is_failed_proof;

/// Kinds of entries that a report lists one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Somebody let something in: a machine, changed hardware, a payout.
    Approval,
    /// Where money goes was changed.
    AddressChange,
    /// Somebody was made, removed, or given another role.
    RoleChange,
    SettingChange,
    Erasure,
    Export,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Approval, Kind::AddressChange, Kind::RoleChange, Kind::SettingChange, Kind::Erasure, Kind::Export];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Approval => "approvals",
            Kind::AddressChange => "address_changes",
            Kind::RoleChange => "role_changes",
            Kind::SettingChange => "setting_changes",
            Kind::Erasure => "erasures",
            Kind::Export => "exports",
        }
    }

    /// What has been done, not what was refused.
    pub fn of(draft: &Draft) -> Option<Kind> {
        if !draft.success {
            return None;
        }
        let operation = draft.operation.as_str();
        let (noun, verb) = operation.split_once('.').unwrap_or((operation, ""));
        match (noun, verb) {
            (_, "approve" | "reject" | "fingerprint.accept" | "unfreeze" | "unlock") => Some(Kind::Approval),
            ("payout_address", _) => Some(Kind::AddressChange),
            ("user", "create" | "delete") | ("setup", "complete") => Some(Kind::RoleChange),
            ("user", "update") if draft.reason.as_deref().is_some_and(|r| r.contains("role ") || r.contains("abled")) => {
                Some(Kind::RoleChange)
            }
            ("settings" | "clock", _) => Some(Kind::SettingChange),
            ("privacy", "erase" | "expire") => Some(Kind::Erasure),
            ("privacy" | "audit" | "archive", "export") | ("compliance", "report") | ("recovery_kit", "make") => Some(Kind::Export),
            _ => None,
        }
    }
}

/// What one person did, and what was tried in their name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    pub sign_ins: u64,
    /// On their account, by whoever it was.
    pub refused_sign_ins: u64,
    pub by_kind: BTreeMap<Kind, u64>,
    /// Everything that was recorded under their id, what was refused included.
    pub entries: u64,
}

/// Everybody who acted, or whose account was tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct People {
    pub people: BTreeMap<String, Person>,
    /// Refused sign-ins on no known account.
    pub refused_of_nobody: u64,
}

impl People {
    pub fn count(&mut self, draft: &Draft) {
        let times = u64::from(draft.times);
        if !draft.success && is_failed_proof(draft.reason.as_deref().unwrap_or_default(), &draft.subject) {
            if draft.subject.starts_with("user_") {
                self.people.entry(draft.subject.clone()).or_default().refused_sign_ins += times;
            } else {
                self.refused_of_nobody += times;
            }
        }
        let Actor::User(id) = &draft.actor else { return };
        let person = self.people.entry(id.clone()).or_default();
        person.entries += times;
        person.sign_ins += u64::from(draft.success && draft.operation == "auth.login");
        if let Some(kind) = Kind::of(draft) {
            *person.by_kind.entry(kind).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{BootMs, Now, Timestamp};

    fn draft(actor: Actor, operation: &str, subject: &str) -> Draft {
        Draft::new(Now { wall: Timestamp(0), boot: BootMs(0), trusted: true }, actor, operation, subject)
    }

    fn bob() -> Actor {
        Actor::User("user_bob".into())
    }

    #[test]
    fn entries_are_told_apart_by_what_was_done() {
        let kind = |operation: &str| Kind::of(&draft(bob(), operation, ""));
        assert_eq!(kind("node.fingerprint.accept"), Some(Kind::Approval));
        assert_eq!(kind("enrolment_request.approve"), Some(Kind::Approval));
        assert_eq!(kind("payout_address.set"), Some(Kind::AddressChange));
        assert_eq!((kind("user.create"), kind("user.update")), (Some(Kind::RoleChange), None));
        assert_eq!(Kind::of(&draft(bob(), "user.update", "user_eve").because("role admin")), Some(Kind::RoleChange));
        assert_eq!(Kind::of(&draft(bob(), "user.update", "user_eve").because("new password")), None);
        assert_eq!(
            (kind("settings.update"), kind("privacy.erase"), kind("audit.export")),
            (Some(Kind::SettingChange), Some(Kind::Erasure), Some(Kind::Export))
        );
        assert_eq!(Kind::of(&draft(bob(), "payout_address.set", "").refused("NotAllowed")), None, "what was refused changed nothing");
    }

    #[test]
    fn people_are_counted_by_what_they_did_and_what_was_tried_in_their_name() {
        let mut people = People::default();
        people.count(&draft(bob(), "auth.login", "user_bob"));
        people.count(&draft(bob(), "payout_address.set", "node_a"));
        people.count(&Draft { times: 7, ..draft(Actor::Anonymous, "request.refuse", "user_bob").refused("WrongCredentials") });
        people.count(&Draft { times: 3, ..draft(Actor::Anonymous, "request.refuse", "/api/v1/auth/login").refused("WrongCredentials") });
        people.count(&draft(bob(), "request.refuse", "/api/v1/users").refused("NotAllowed"));
        people.count(&draft(Actor::System, "payout.plan", "payout_a"));
        let by_kind = BTreeMap::from([(Kind::AddressChange, 1)]);
        let wanted = Person { sign_ins: 1, refused_sign_ins: 7, by_kind, entries: 3 };
        assert_eq!((people.people, people.refused_of_nobody), (BTreeMap::from([("user_bob".to_owned(), wanted)]), 3));
    }
}
