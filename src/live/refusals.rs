//! Refused requests on their way to the audit log: the first of a kind at once, further ones counted and written together, so that
//! nobody can fill the card by being refused, or wear it out: a commit costs the card some 21 kB, however little it holds, so it is commits
//! that are budgeted. A day of refusals at full speed writes less than a megabyte.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::audit::{Actor, Draft};
use crate::domain::security::is_personal_proof;
use crate::domain::time::{BootMs, Now, Timestamp};

/// Kinds told apart at one time, of each class; what is beyond is counted as one.
pub const MAX_KINDS: usize = 64;
/// Time between two writes of what was counted: how often `take` is called.
pub const FLUSH: Duration = Duration::from_secs(300);
/// This many more of a kind are written at once too: with the first they are as many as raise an alarm, so that who reads the log after one finds why. The
/// alarm itself waits for no write: `failures` counts for it.
const ALARM: u32 = 4;
/// Kinds that one write tells apart, the most frequent first; the others become one entry.
const TOLD_APART: usize = 4;
/// Commits, of single entries and of what was counted: so many in a row, and then one in so many milliseconds. Who is refused more than
/// that is counted, and written with the next one. Failed proofs of who somebody is have as many of their own.
const COMMITS: u32 = 8;
const COMMIT_EVERY_MS: i64 = 2 * 3_600_000;

/// What makes two refusals alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    name: String,
    subject: String,
    network: String,
}

impl Kind {
    fn various() -> Kind {
        Kind { name: "Various".into(), subject: String::new(), network: String::new() }
    }
}

#[derive(Debug)]
struct Counted {
    /// The latest one, as it would be written.
    draft: Draft,
    /// How many since the last write.
    times: u32,
    /// How many since `take`, written or not.
    since_taken: u32,
}

#[derive(Debug, Default)]
struct Log {
    kinds: HashMap<Kind, Counted>,
    budget: Budget,
}

/// Commits that may be made.
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Timestamp,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { left: COMMITS, since: Timestamp(0) }
    }
}

impl Budget {
    fn spend(&mut self, now: Timestamp) -> bool {
        let earned = now.since(self.since).div_euclid(COMMIT_EVERY_MS);
        if earned != 0 {
            // A clock that went back earns nothing and starts over.
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(0)).min(COMMITS);
            self.since = if self.left == COMMITS { now } else { self.since.plus_ms(earned.saturating_mul(COMMIT_EVERY_MS)) };
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<Classes>>);

/// Two logs, with places and commits of their own, so that junk cannot hide an attack on somebody's account.
#[derive(Debug, Default)]
struct Classes {
    proofs: Log,
    others: Log,
}

impl Refusals {
    pub fn new() -> Refusals {
        Refusals::default()
    }

    /// Some: write this now. None: it was counted.
    pub fn note(&self, mut draft: Draft) -> Option<Draft> {
        // It is the attacker's to choose, long, and different every time.
        draft.personal.user_agent = None;
        let mut classes = self.classes();
        let proof = is_personal_proof(draft.reason.as_deref().unwrap_or_default());
        if proof { classes.proofs.note(draft) } else { classes.others.note(draft) }
    }

    /// What was counted since it was last written, when it may be written now: it takes a commit.
    pub fn take(&self, now: Timestamp) -> Vec<Draft> {
        self.taken(|log| {
            let counted = log.kinds.values().any(|counted| counted.times > 0);
            if counted && !log.budget.spend(now) { Vec::new() } else { log.take() }
        })
    }

    /// What was counted, for the last time: the process ends.
    pub fn take_last(&self) -> Vec<Draft> {
        self.taken(Log::take)
    }

    fn taken(&self, of: impl Fn(&mut Log) -> Vec<Draft>) -> Vec<Draft> {
        let mut classes = self.classes();
        let mut drafts = of(&mut classes.proofs);
        drafts.extend(of(&mut classes.others));
        drafts.sort_by_key(|draft| draft.at);
        drafts
    }

    fn classes(&self) -> MutexGuard<'_, Classes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn note(&mut self, mut draft: Draft) -> Option<Draft> {
        let Log { kinds, budget } = self;
        let name = draft.reason.clone().unwrap_or_default();
        let address = draft.personal.address.as_deref().and_then(|a| a.parse().ok());
        let mut kind = Kind { name, subject: draft.subject.clone(), network: address.map(network).unwrap_or_default() };
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            (kind, draft) = (Kind::various(), various(&draft));
        }
        if let Some(counted) = kinds.get_mut(&kind) {
            counted.times = counted.times.saturating_add(1);
            counted.since_taken = counted.since_taken.saturating_add(1);
            let at = draft.at;
            counted.draft = draft;
            let alarms = counted.since_taken == ALARM && budget.spend(at);
            return alarms.then(|| Draft { times: std::mem::take(&mut counted.times), ..counted.draft.clone() });
        }
        let at_once = budget.spend(draft.at);
        kinds.insert(kind, Counted { draft: draft.clone(), times: u32::from(!at_once), since_taken: 0 });
        at_once.then_some(draft)
    }

    /// What was counted since the last call: one entry for each of the most frequent kinds and one for all others. A kind that was quiet is
    /// forgotten: its next refusal is a first again.
    fn take(&mut self) -> Vec<Draft> {
        self.kinds.retain(|_, counted| counted.times > 0 || std::mem::take(&mut counted.since_taken) > 0);
        let counted = self.kinds.values_mut().filter(|counted| counted.times > 0).map(|counted| {
            counted.since_taken = 0;
            Draft { times: std::mem::take(&mut counted.times), ..counted.draft.clone() }
        });
        let mut drafts: Vec<Draft> = counted.collect();
        drafts.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.subject.cmp(&b.subject)));
        let others = drafts.split_off(drafts.len().min(TOLD_APART));
        if let Some(latest) = others.iter().max_by_key(|draft| draft.at) {
            let times = others.iter().fold(0, |sum: u32, draft| sum.saturating_add(draft.times));
            drafts.push(Draft { times, ..various(latest) });
        }
        drafts.sort_by_key(|draft| draft.at);
        drafts
    }
}

/// Many kinds, told as one, of nobody in particular.
fn various(latest: &Draft) -> Draft {
    let at = Now { wall: latest.at, boot: BootMs(0), trusted: latest.at_trusted };
    Draft::new(at, Actor::Anonymous, "request.refuse", "").refused("Various")
}

/// The /24 or /48 an address belongs to.
pub fn network(address: IpAddr) -> String {
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
    fn the_first_and_the_fifth_are_written_at_once_and_the_others_are_counted() {
        let log = Refusals::new();
        let bob = |last: u32| log.note(refusal("WrongCredentials", "bob", &format!("10.0.0.{last}")));
        let first = bob(1).unwrap();
        assert_eq!((first.times, first.personal.user_agent), (1, None), "an attacker's text is not kept");
        let at_once: Vec<(u32, u32)> = (2..=11).filter_map(|last| bob(last).map(|draft| (last, draft.times))).collect();
        assert_eq!(at_once, [(5, 4)], "the same network");
        assert!(log.note(refusal("WrongCredentials", "bob", "10.0.1.1")).is_some());
        assert!(log.note(refusal("WrongCredentials", "eve", "10.0.0.1")).is_some());
        assert_eq!(log.take_last().iter().map(|d| d.times).collect::<Vec<_>>(), [6]);
        assert_eq!(bob(1), None);
        assert_eq!(log.take_last().len(), 1);
        assert_eq!(log.take_last().len(), 0);
        assert!(bob(1).is_some(), "after a quiet time it is a first again");
    }

    #[test]
    fn memory_and_writes_are_bounded_and_nothing_is_lost() {
        let log = Refusals::new();
        let written: u32 =
            (0..10_000).filter_map(|n| log.note(refusal("WrongCredentials", &n.to_string(), "10.0.0.1"))).map(|d| d.times).sum();
        assert!(written <= COMMITS + ALARM, "{written}");
        let taken = log.take_last();
        assert!(taken.len() <= TOLD_APART + 1);
        assert_eq!(taken.iter().map(|d| d.times).sum::<u32>(), 10_000 - written);
    }

    #[test]
    fn a_day_of_new_kinds_makes_few_commits_and_loses_nothing() {
        let log = Refusals::new();
        let (mut commits, mut attempts, mut counted) = (0, 0u32, 0u32);
        let start = Timestamp(1_790_000_000_000);
        for second in 0..86_400u32 {
            let now = start.plus_seconds(i64::from(second));
            for _ in 0..5 {
                attempts += 1;
                let mut draft = refusal("WrongCredentials", &format!("user_{attempts:032x}"), &format!("10.{}.0.1", attempts % 250));
                draft.at = now;
                if let Some(draft) = log.note(draft) {
                    commits += 1;
                    counted += draft.times;
                }
            }
            if second % 300 == 299 {
                let taken = log.take(now);
                commits += usize::from(!taken.is_empty());
                counted += taken.iter().map(|d| d.times).sum::<u32>();
            }
        }
        counted += log.take_last().iter().map(|d| d.times).sum::<u32>();
        assert_eq!(counted, attempts, "every attempt is in the log, alone or counted");
        assert!((16..=21).contains(&commits), "{commits} commits");
    }

    #[test]
    fn junk_of_other_kinds_does_not_delay_a_failed_proof() {
        let log = Refusals::new();
        for n in 0..1_000 {
            log.note(refusal("NotSignedIn", &format!("/api/v1/route{n}"), "10.0.0.1"));
        }
        assert!(log.note(refusal("WrongCredentials", "user_bob", "10.0.0.1")).is_some());
    }

    #[test]
    fn what_waits_for_its_commit_is_written_although_nothing_more_comes() {
        let log = Refusals::new();
        let written = (0..100).filter(|n| log.note(refusal("WrongCredentials", &n.to_string(), "10.0.0.1")).is_some()).count();
        assert_eq!((written, log.take(Timestamp(2)).len()), (COMMITS as usize, 0));
        let later = Timestamp(1 + COMMIT_EVERY_MS);
        assert_eq!(log.take(later).iter().map(|d| d.times).sum::<u32>(), 100 - COMMITS);
        assert_eq!(log.take(later).len(), 0);
    }
}
