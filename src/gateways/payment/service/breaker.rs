//! How the service behaved lately: whether it is asked at all, and how fast. In memory alone; pure but for what it keeps.

use super::transport::{Answered, Method};
use crate::crypto;
use crate::domain::time::{Now, Timestamp};

/// Requests in a row that failed before it is left alone.
pub const FAILURES: u32 = 5;
const FIRST_REST_MS: i64 = 30_000;
const MAX_REST_MS: i64 = 600_000;

/// For people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub state: HealthState,
    /// Failures in a row, of both kinds of requests.
    pub failures: u32,
    /// Why the last one failed.
    pub why: Option<String>,
    /// When it is asked again; None unless it is left alone.
    pub retry_at: Option<Timestamp>,
    pub answered_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// It is asked.
    Closed,
    /// It is left alone.
    Open,
    /// Its rest is over: the next answer decides.
    HalfOpen,
}

/// Failures are counted by kind: a service that answers questions may still lose what it is asked to pay.
#[derive(Debug)]
pub struct Breaker {
    /// Requests to pay in a row that may fail.
    lost_allowed: u32,
    asked_failed: u32,
    pay_failed: u32,
    rests: u32,
    open_until_ms: Option<i64>,
    why: Option<String>,
    answered: Option<Now>,
}

/// Whether the answer is one of a service that works. Not found is one, to a question.
pub fn is_fine(method: Method, status: u16) -> bool {
    matches!((method, status), (_, 200..=299) | (Method::Get, 400 | 404 | 410 | 422) | (Method::Post, 400 | 409 | 422))
}

impl Breaker {
    pub fn new(lost_allowed: u32) -> Breaker {
        Breaker { lost_allowed, asked_failed: 0, pay_failed: 0, rests: 0, open_until_ms: None, why: None, answered: None }
    }

    /// Err: it is left alone, and why.
    pub fn allow(&self, now: Now) -> Result<(), String> {
        match self.open_until_ms {
            Some(until) if now.boot.0 < until => {
                let seconds = (until - now.boot.0 + 999) / 1_000;
                Err(format!("the payment service is left alone for {seconds} s: {}", self.why.as_deref().unwrap_or("it failed")))
            }
            _ => Ok(()),
        }
    }

    /// Its last answer was a good one, and so recent.
    pub fn answered_within(&self, ms: i64, now: Now) -> bool {
        self.asked_failed == 0 && self.pay_failed == 0 && self.answered.is_some_and(|at| now.boot.0.saturating_sub(at.boot.0) < ms)
    }

    pub fn answered(&mut self, method: Method, answered: &Answered, now: Now) {
        let status = answered.status;
        if is_fine(method, status) {
            self.answered = Some(now);
            match method {
                Method::Get => self.asked_failed = 0,
                Method::Post => (self.asked_failed, self.pay_failed) = (0, 0),
            }
            if self.asked_failed == 0 && self.pay_failed == 0 {
                (self.rests, self.open_until_ms, self.why) = (0, None, None);
            }
            return;
        }
        let why = format!("{status} {}", answered.said());
        let least_ms = answered.retry_after_seconds.map_or(0, |s| i64::from(s).saturating_mul(1_000)).min(MAX_REST_MS);
        // Who is told to wait or to go away, or finds nobody at home, does not try four times more.
        let at_once = matches!(status, 300..=399 | 401 | 403 | 404 | 405 | 429);
        self.failed(method, why, at_once, least_ms, now);
    }

    /// `was_sent`: the request may have arrived.
    pub fn silent(&mut self, method: Method, was_sent: bool, why: &str, now: Now) {
        let kind = if was_sent { method } else { Method::Get };
        self.failed(kind, why.to_owned(), false, 0, now);
    }

    fn failed(&mut self, method: Method, why: String, at_once: bool, least_ms: i64, now: Now) {
        let (count, allowed) = match method {
            Method::Get => (&mut self.asked_failed, FAILURES),
            Method::Post => (&mut self.pay_failed, self.lost_allowed),
        };
        *count = count.saturating_add(1);
        // After a rest one more failure is enough.
        if at_once || *count >= allowed || self.rests > 0 {
            let rest_ms = rest_ms(self.rests, now).max(least_ms);
            self.rests = self.rests.saturating_add(1);
            self.open_until_ms = Some(now.boot.0.saturating_add(rest_ms));
        }
        self.why = Some(why);
    }

    pub fn health(&self, now: Now) -> Health {
        let state = match self.open_until_ms {
            None => HealthState::Closed,
            Some(until) if now.boot.0 < until => HealthState::Open,
            Some(_) => HealthState::HalfOpen,
        };
        let retry_at = self.open_until_ms.filter(|_| state == HealthState::Open).map(|until| now.wall.plus_ms(until - now.boot.0));
        let failures = self.asked_failed.saturating_add(self.pay_failed);
        Health { state, failures, why: self.why.clone(), retry_at, answered_at: self.answered.map(|at| at.wall) }
    }
}

/// Between three and five quarters of the doubled time, so that managers that failed together do not come back together.
fn rest_ms(rests: u32, now: Now) -> i64 {
    let whole = FIRST_REST_MS.saturating_mul(1i64.checked_shl(rests.min(16)).unwrap_or(1)).min(MAX_REST_MS);
    let [a, b, ..] = crypto::sha256_parts(&[&rests.to_be_bytes(), &now.boot.0.to_be_bytes(), &now.wall.0.to_be_bytes()]);
    let share = i64::from(u16::from_be_bytes([a, b]));
    (whole * 3 / 4 + whole / 2 * share / i64::from(u16::MAX)).clamp(FIRST_REST_MS, MAX_REST_MS)
}

/// Spreads requests evenly.
#[derive(Debug)]
pub struct Pace {
    every_ms: i64,
    next_ms: i64,
}

impl Pace {
    pub fn per_minute(requests: u32) -> Pace {
        Pace { every_ms: 60_000 / i64::from(requests.max(1)), next_ms: i64::MIN }
    }

    /// Takes the next place, and says how long to wait for it.
    pub fn take(&mut self, now: Now) -> u64 {
        let at = self.next_ms.max(now.boot.0);
        self.next_ms = at.saturating_add(self.every_ms);
        u64::try_from(at - now.boot.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    fn at(ms: i64) -> Now {
        Now { wall: Timestamp(1_000_000 + ms), boot: BootMs(ms), trusted: true }
    }

    fn answer(status: u16) -> Answered {
        Answered { status, retry_after_seconds: None, body: Vec::new() }
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_it_and_each_further_one_doubles_the_rest() {
        let mut breaker = Breaker::new(FAILURES);
        for n in 0..4 {
            breaker.silent(Method::Get, true, "no answer", at(n));
            assert_eq!(breaker.health(at(n)).state, HealthState::Closed);
        }
        breaker.answered(Method::Get, &answer(404), at(5));
        for n in 6..10 {
            breaker.answered(Method::Get, &answer(500), at(n));
        }
        assert!(breaker.allow(at(10)).is_ok(), "an answer between them counts");
        breaker.answered(Method::Get, &answer(500), at(10));
        let (mut now, mut expected) = (10, 30_000);
        for _ in 0..8 {
            let health = breaker.health(at(now));
            assert_eq!(health.state, HealthState::Open);
            let rest = health.retry_at.unwrap().since(at(now).wall);
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(&rest) && (30_000..=600_000).contains(&rest), "{rest} for {expected}");
            assert!(breaker.allow(at(now + rest - 1)).is_err());
            now += rest;
            assert!(breaker.allow(at(now)).is_ok());
            assert_eq!(breaker.health(at(now)).state, HealthState::HalfOpen);
            breaker.silent(Method::Get, false, "refused", at(now));
            expected = (expected * 2).min(600_000);
        }
        breaker.answered(Method::Get, &answer(200), at(now + 700_000));
        let health = breaker.health(at(now + 700_000));
        assert_eq!((health.state, health.failures, health.why), (HealthState::Closed, 0, None));
    }

    #[test]
    fn one_lost_payment_is_enough_where_each_needs_a_person_and_answers_to_questions_do_not_hide_it() {
        let mut breaker = Breaker::new(1);
        breaker.answered(Method::Get, &answer(200), at(0));
        assert!(breaker.answered_within(60_000, at(59_999)) && !breaker.answered_within(60_000, at(60_000)));
        breaker.silent(Method::Post, true, "no answer", at(1));
        assert!(breaker.allow(at(2)).unwrap_err().contains("no answer"));
        breaker.answered(Method::Get, &answer(200), at(60_000));
        assert_eq!(breaker.health(at(60_000)).state, HealthState::HalfOpen);
        breaker.answered(Method::Post, &answer(202), at(60_001));
        assert_eq!(breaker.health(at(60_001)).state, HealthState::Closed);
    }

    #[test]
    fn who_says_so_is_left_alone_at_once_and_as_long_as_it_says() {
        for status in [301, 401, 403, 404, 405, 429] {
            let mut breaker = Breaker::new(FAILURES);
            breaker.answered(Method::Post, &answer(status), at(0));
            assert!(breaker.allow(at(1)).is_err(), "{status}");
        }
        let mut breaker = Breaker::new(FAILURES);
        breaker.answered(Method::Get, &Answered { retry_after_seconds: Some(120), ..answer(429) }, at(0));
        assert!(breaker.allow(at(119_999)).is_err() && breaker.allow(at(120_000)).is_ok());
        breaker.answered(Method::Get, &Answered { retry_after_seconds: Some(u32::MAX), ..answer(429) }, at(120_000));
        assert!(breaker.allow(at(720_000)).is_ok(), "ten minutes at most");
    }

    #[test]
    fn requests_are_spread() {
        let mut pace = Pace::per_minute(100);
        assert_eq!([pace.take(at(0)), pace.take(at(0)), pace.take(at(100))], [0, 600, 1_100]);
        assert_eq!([pace.take(at(60_000)), pace.take(at(60_600))], [0, 0], "nothing is saved up");
        let within_a_minute = (0..1_000).map(|_| pace.take(at(100_000))).filter(|wait| *wait < 60_000).count();
        assert_eq!(within_a_minute, 100);
    }
}
