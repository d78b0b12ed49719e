//! Failed authentications of the last minutes, counted in memory: what raises the alarm must not wait until a refusal may be written.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::security::{FAILURE_WINDOW_MS, alarms};
use crate::domain::time::BootMs;

/// Accounts and networks told apart; what is beyond counts for nobody in particular, which raises an alarm of its own.
const MAX_SUBJECTS: usize = 2_048;
/// Moments kept of one subject. Further failures move the latest one, so that a flood is forgotten late rather than early.
const MAX_MOMENTS: usize = 16;

#[derive(Debug, Default)]
struct Recent(VecDeque<(BootMs, u32)>);

impl Recent {
    fn add(&mut self, now: BootMs) {
        self.forget(now);
        let full = self.0.len() >= MAX_MOMENTS;
        if let Some((at, times)) = self.0.back_mut().filter(|(at, _)| full || *at == now) {
            (*at, *times) = (now, times.saturating_add(1));
        } else {
            self.0.push_back((now, 1));
        }
    }

    fn forget(&mut self, now: BootMs) {
        self.0.retain(|(at, _)| now.0.saturating_sub(at.0) <= FAILURE_WINDOW_MS);
    }

    fn times(&self) -> u32 {
        self.0.iter().fold(0, |sum: u32, (_, times)| sum.saturating_add(*times))
    }
}

#[derive(Debug, Default)]
struct Counts {
    subjects: HashMap<String, Recent>,
    all: Recent,
}

/// Clones are the same counts.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Mutex<Counts>>);

impl Failures {
    /// `account` is the id of the account that was tried, `network` where from.
    pub fn note(&self, account: Option<&str>, network: Option<String>, now: BootMs) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all.add(now);
        let account = account.map(str::to_owned);
        let nobody = (account.is_none() && network.is_none()).then(String::new);
        for subject in [account, network, nobody].into_iter().flatten() {
            counts.add(subject, now);
        }
    }

    /// Accounts and networks under attack, and how many failures each has had in the last 15 minutes; see `alarms`.
    pub fn under_attack(&self, now: BootMs) -> BTreeMap<String, u32> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.forget(now);
        let named = counts.subjects.iter().map(|(subject, recent)| (subject.clone(), recent.times())).collect();
        alarms(named, counts.all.times())
    }
}

impl Counts {
    fn add(&mut self, subject: String, now: BootMs) {
        if self.subjects.len() >= MAX_SUBJECTS && !self.subjects.contains_key(&subject) {
            self.forget(now);
        }
        let fits = self.subjects.len() < MAX_SUBJECTS || self.subjects.contains_key(&subject);
        self.subjects.entry(if fits { subject } else { String::new() }).or_default().add(now);
    }

    fn forget(&mut self, now: BootMs) {
        self.all.forget(now);
        self.subjects.retain(|_, recent| {
            recent.forget(now);
            !recent.0.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_within_the_window_are_an_alarm_and_no_flood_hides_them() {
        let failures = Failures::default();
        for n in 0..5 {
            failures.note(Some("user_a"), Some(format!("10.0.{n}.0/24")), BootMs(n * 1_000));
        }
        let of_a = |at: i64| failures.under_attack(BootMs(at)).get("user_a").copied();
        assert_eq!((of_a(FAILURE_WINDOW_MS), of_a(FAILURE_WINDOW_MS + 1)), (Some(5), None));
        let now = BootMs(10 * FAILURE_WINDOW_MS);
        for n in 0..10_000 {
            failures.note(None, Some(format!("net{n}")), now);
        }
        assert_eq!(failures.under_attack(now).keys().collect::<Vec<_>>(), [""], "too many to be named");
        assert!(failures.0.lock().unwrap().subjects.len() <= MAX_SUBJECTS + 1);
        let later = BootMs(now.0 + FAILURE_WINDOW_MS + 1);
        assert_eq!(failures.under_attack(later).len(), 0);
    }
}
