//! Refused requests on their way to the audit log: the first of a kind at once, further ones counted and written together, so that
//! nobody can fill the card by being refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::audit::{Actor, Draft};
use crate::domain::time::Now;

/// Kinds told apart at one time; what is beyond is counted as one.
pub const MAX_KINDS: usize = 128;
/// Time between two writes of what was counted: how often `take` is called.
pub const FLUSH: Duration = Duration::from_secs(300);

/// What makes two refusals alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    name: String,
    subject: String,
    network: String,
}

#[derive(Debug)]
struct Counted {
    /// The latest one, as it would be written.
    draft: Draft,
    /// How many since the last write.
    times: u32,
}

/// Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<HashMap<Kind, Counted>>>);

impl Refusals {
    pub fn new() -> Refusals {
        Refusals::default()
    }

    /// Some: write this now. None: it was counted.
    pub fn note(&self, draft: Draft) -> Option<Draft> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = draft.reason.clone().unwrap_or_default();
        let address = draft.personal.address.as_deref().and_then(|a| a.parse().ok());
        let mut kind = Kind { name, subject: draft.subject.clone(), network: address.map(network).unwrap_or_default() };
        let mut draft = draft;
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            kind = Kind { name: "Various".into(), subject: String::new(), network: String::new() };
            let at = Now { wall: draft.at, boot: crate::domain::time::BootMs(0), trusted: draft.at_trusted };
            draft = Draft::new(at, Actor::Anonymous, "request.refuse", "").refused("Various");
        }
        if let Some(counted) = kinds.get_mut(&kind) {
            counted.times = counted.times.saturating_add(1);
            counted.draft = draft;
            return None;
        }
        kinds.insert(kind, Counted { draft: draft.clone(), times: 0 });
        Some(draft)
    }

    /// What was counted since the last call, one entry per kind. A kind that was quiet is forgotten: its next refusal is a first again.
    pub fn take(&self) -> Vec<Draft> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|_, counted| counted.times > 0);
        let mut drafts: Vec<Draft> =
            kinds.values_mut().map(|counted| Draft { times: std::mem::take(&mut counted.times), ..counted.draft.clone() }).collect();
        drafts.sort_by_key(|draft| draft.at);
        drafts
    }
}

/// The /24 or /48 an address belongs to.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{}/24", Ipv4Addr::from(u32::from(v4) & 0xffff_ff00)),
        IpAddr::V6(v6) => format!("{}/48", Ipv6Addr::from(u128::from(v6) >> 80 << 80)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Personal;
    use crate::domain::time::{BootMs, Timestamp};

    fn refusal(name: &str, subject: &str, address: &str) -> Draft {
        let now = Now { wall: Timestamp(1), boot: BootMs(0), trusted: true };
        let personal = Personal { address: Some(address.into()), user_agent: Some("curl/8".into()), ..Personal::default() };
        Draft { personal, ..Draft::new(now, Actor::Anonymous, "request.refuse", subject).refused(name) }
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_are_counted() {
        let log = Refusals::new();
        assert!(log.note(refusal("WrongCredentials", "bob", "10.0.0.1")).is_some());
        for last in 2..=11 {
            assert_eq!(log.note(refusal("WrongCredentials", "bob", &format!("10.0.0.{last}"))), None, "the same network");
        }
        assert!(log.note(refusal("WrongCredentials", "bob", "10.0.1.1")).is_some());
        assert!(log.note(refusal("WrongCredentials", "eve", "10.0.0.1")).is_some());
        let taken = log.take();
        assert_eq!(taken.iter().map(|d| d.times).collect::<Vec<_>>(), [10]);
        assert_eq!(log.note(refusal("WrongCredentials", "bob", "10.0.0.1")), None);
        assert_eq!(log.take().len(), 1);
        assert_eq!(log.take().len(), 0);
        assert!(log.note(refusal("WrongCredentials", "bob", "10.0.0.1")).is_some(), "after a quiet time it is a first again");
    }

    #[test]
    fn memory_and_writes_are_bounded() {
        let log = Refusals::new();
        let written = (0..10_000).filter(|n| log.note(refusal("WrongCredentials", &n.to_string(), "10.0.0.1")).is_some()).count();
        assert_eq!(written, MAX_KINDS + 1);
        let taken = log.take();
        assert_eq!(taken.iter().map(|d| d.times).sum::<u32>(), u32::try_from(10_000 - MAX_KINDS - 1).unwrap());
    }
}
