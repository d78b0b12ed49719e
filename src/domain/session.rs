//! Signed-in sessions, and how attempts to sign in are slowed down.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::line::Line;
use super::time::{BootMs, Timestamp};
use crate::crypto;

/// A browser's session ends after this long without a request, and at last.
pub const COOKIE_IDLE_SECONDS: i64 = 12 * 3_600;
pub const COOKIE_MAX_SECONDS: i64 = 7 * 86_400;
/// A program's token ends after this, whatever it does.
pub const BEARER_SECONDS: i64 = 3_600;
/// Sessions of one person and kind; one more ends the oldest.
pub const MAX_PER_USER: usize = 20;
/// For how long a factor that was given counts as fresh, where money moves.
pub const CONFIRMED_SECONDS: i64 = 300;
/// A request refreshes a session's last use only when it is older than this: a write costs an fsync.
const TOUCH_SECONDS: i64 = 600;
/// A session made this far in the future belongs to a clock that was wrong.
const FUTURE_SECONDS: i64 = 60;

/// What carries the token; one does not pass for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carrier {
    Cookie,
    Bearer,
}

/// The stored side of a session, under the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub user: UserId,
    pub carrier: Carrier,
    pub created_at: Timestamp,
    pub used_at: Timestamp,
    /// Where it was begun, and by which program, as that says of itself.
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// When the person last proved to be who they are, with all factors of the account.
    pub confirmed_at: Option<Timestamp>,
}

/// Key of a session: only the hash of the token is stored, so that a copy of the store signs nobody in.
pub fn token_hash(token: &str) -> [u8; 32] {
    crypto::sha256_parts(&[b"lucid/session/v1\0", token.as_bytes()])
}

/// Names a session among those of its person. Half of the hash of the token: of no use to who has it.
pub fn session_id(token_hash: &[u8; 32]) -> String {
    crypto::hex(&token_hash[..16])
}

impl Session {
    pub fn new(user: UserId, carrier: Carrier, now: Timestamp) -> Session {
        Session { user, carrier, created_at: now, used_at: now, address: None, user_agent: None, confirmed_at: None }
    }

    pub fn expires_at(&self) -> Timestamp {
        match self.carrier {
            Carrier::Bearer => self.created_at.plus_seconds(BEARER_SECONDS),
            Carrier::Cookie => {
                let idle = self.used_at.plus_seconds(COOKIE_IDLE_SECONDS);
                idle.min(self.created_at.plus_seconds(COOKIE_MAX_SECONDS))
            }
        }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at() && self.created_at <= now.plus_seconds(FUTURE_SECONDS)
    }

    /// Until when the person counts as just confirmed; None when that is over.
    pub fn confirmed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.confirmed_at.filter(|at| *at <= now.plus_seconds(FUTURE_SECONDS))?;
        Some(at.plus_seconds(CONFIRMED_SECONDS)).filter(|until| now < *until)
    }

    /// The last use is old enough to be written anew.
    pub fn wants_touch(&self, now: Timestamp) -> bool {
        self.carrier == Carrier::Cookie && now >= self.used_at.plus_seconds(TOUCH_SECONDS)
    }
}

/// What a throttle counts against: an IPv4 address, or the /64 of an IPv6 address, since one host owns all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(pub IpAddr);

impl Network {
    pub fn of(address: IpAddr) -> Network {
        match address {
            IpAddr::V4(_) => Network(address),
            IpAddr::V6(v6) => Network(IpAddr::V6((u128::from(v6) >> 64 << 64).into())),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an attempt to sign in comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The account has not signed in from there.
    Stranger(Network),
    /// It has.
    Home(Network),
    /// A browser that it has signed in with (`device::Device`), wherever that is.
    Device([u8; 16]),
}

/// Keys remembered per kind; beyond, the longest quiet are forgotten.
const MAX_KEYS: usize = 4_096;
/// A key without attempts for this long is forgotten, its count with it.
const FORGET_MS: i64 = 30 * 60 * 1_000;

/// Attempts that cost nothing, and the longest wait after more of them.
struct Patience {
    free: u32,
    max_wait_ms: i64,
}

/// Of an account, from one network.
const PER_PAIR: Patience = Patience { free: 5, max_wait_ms: 5 * 60 * 1_000 };
const PER_NETWORK: Patience = Patience { free: 20, max_wait_ms: 15 * 60 * 1_000 };
/// Where the account has signed in from before.
const AT_HOME: Patience = Patience { free: 10, max_wait_ms: 10 * 1_000 };

/// Networks of one person that are remembered, the latest to sign in.
pub const MAX_KNOWN: usize = 8;

/// Networks that a person has signed in from, as keyed hashes, latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNetworks(pub Vec<[u8; 16]>);

impl KnownNetworks {
    /// With this one first, and the oldest forgotten.
    pub fn with(&self, network: [u8; 16]) -> KnownNetworks {
        let others = self.0.iter().filter(|known| **known != network).copied();
        KnownNetworks(std::iter::once(network).chain(others).take(MAX_KNOWN).collect())
    }
}

/// Slows down guessing. Who fails on an account from a network waits there, twice as long each time; all unknown networks together make one
/// attempt on an account in `TURN_MS`, in turns (see `Line`), so that guessing is slow however many addresses it comes from and nobody has to
/// be lucky to get their turn.
///
/// From a network or with a browser that has signed in to an account, only failures on this account from there count, and the wait stays short:
/// nobody can lock an admin out by failing in the admin's name, or from behind the same proxy. Time is boot time, which nobody can set.
#[derive(Debug, Default)]
pub struct Throttle {
    pairs: Counts<(String, Network)>,
    networks: Counts<Network>,
    /// Failures from known places.
    at_home: Counts<(String, Place)>,
    line: Line,
}

impl Throttle {
    /// Counts an attempt as failed, before it is judged, so that a burst of parallel ones is counted too. Err: wait this many milliseconds;
    /// the attempt must not be made.
    pub fn attempt(&mut self, account: &str, place: Place, now: BootMs) -> Result<(), i64> {
        let Place::Stranger(network) = place else {
            let key = (account.to_owned(), place);
            let wait_ms = self.at_home.wait_ms(&key, &AT_HOME, now);
            if wait_ms > 0 {
                return Err(wait_ms);
            }
            self.at_home.failed(key, now);
            return Ok(());
        };
        let pair = (account.to_owned(), network);
        let by_network = self.networks.wait_ms(&network, &PER_NETWORK, now);
        let wait_ms = self.pairs.wait_ms(&pair, &PER_PAIR, now).max(by_network);
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        self.line.turn(account, network.0, now)?;
        self.networks.failed(network, now);
        self.pairs.failed(pair, now);
        Ok(())
    }

    /// The attempt was none: the account's count from there starts anew, the network's loses this one. A stranger's network is a home by now.
    pub fn succeeded(&mut self, account: &str, place: Place) {
        self.at_home.0.remove(&(account.to_owned(), place));
        if let Place::Stranger(network) | Place::Home(network) = place {
            self.pairs.0.remove(&(account.to_owned(), network));
            self.networks.forgive(&network);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: BootMs,
}

#[derive(Debug)]
struct Counts<K>(HashMap<K, Count>);

impl<K> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn wait_ms(&self, key: &K, patience: &Patience, now: BootMs) -> i64 {
        let Some(count) = self.0.get(key).filter(|c| now.0.saturating_sub(c.last.0) < FORGET_MS) else { return 0 };
        let beyond = (count.failures + 1).saturating_sub(patience.free);
        if beyond == 0 {
            return 0;
        }
        let wait_ms = 1_000_i64.checked_shl((beyond - 1).min(30)).unwrap_or(i64::MAX).min(patience.max_wait_ms);
        count.last.0.saturating_add(wait_ms).saturating_sub(now.0).max(0)
    }

    fn failed(&mut self, key: K, now: BootMs) {
        if self.0.len() >= MAX_KEYS && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let count = self.0.entry(key).or_insert(Count { failures: 0, last: now });
        if now.0.saturating_sub(count.last.0) >= FORGET_MS {
            count.failures = 0;
        }
        *count = Count { failures: count.failures.saturating_add(1), last: now };
    }

    fn forgive(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            count.failures = count.failures.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: BootMs) {
        self.0.retain(|_, count| now.0.saturating_sub(count.last.0) < FORGET_MS);
        if self.0.len() >= MAX_KEYS {
            // The quiet half goes at once, so that a flood of new keys does not sort at each.
            let mut times: Vec<BootMs> = self.0.values().map(|c| c.last).collect();
            let (_, median, _) = times.select_nth_unstable(MAX_KEYS / 2);
            let median = *median;
            self.0.retain(|_, count| count.last > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_790_000_000_000);

    fn session(carrier: Carrier) -> Session {
        Session::new(UserId::parse("user_abc").unwrap(), carrier, T)
    }

    #[test]
    fn a_cookie_slides_up_to_a_week_and_a_bearer_does_not() {
        let mut cookie = session(Carrier::Cookie);
        assert!(cookie.is_live(T.plus_seconds(12 * 3_600 - 1)) && !cookie.is_live(T.plus_seconds(12 * 3_600)));
        for hour in (0..7 * 24).step_by(6) {
            let now = T.plus_seconds(hour * 3_600);
            assert!(cookie.is_live(now));
            cookie.used_at = now;
        }
        assert!(!cookie.is_live(T.plus_seconds(7 * 86_400)), "an end that use does not move");
        let mut bearer = session(Carrier::Bearer);
        bearer.used_at = T.plus_seconds(3_599);
        assert!(bearer.is_live(T.plus_seconds(3_599)) && !bearer.is_live(T.plus_seconds(3_600)));
        assert!(!bearer.is_live(T.plus_seconds(-61)), "made by a clock that ran ahead");
        assert!(!bearer.wants_touch(T.plus_seconds(86_400)) && session(Carrier::Cookie).wants_touch(T.plus_seconds(600)));
    }

    #[test]
    fn a_confirmation_lasts_five_minutes_and_none_of_the_future_counts() {
        let fresh = Session { confirmed_at: Some(T), ..session(Carrier::Cookie) };
        let until = Some(T.plus_seconds(300));
        assert_eq!((fresh.confirmed_until(T), fresh.confirmed_until(T.plus_seconds(299))), (until, until));
        assert_eq!(fresh.confirmed_until(T.plus_seconds(300)), None);
        assert_eq!(fresh.confirmed_until(T.plus_seconds(-61)), None, "confirmed by a clock that ran ahead");
        assert_eq!(session(Carrier::Cookie).confirmed_until(T), None);
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn stranger(address: IpAddr) -> Place {
        Place::Stranger(Network::of(address))
    }

    fn home(last: u8) -> Place {
        Place::Home(Network::of(at(last)))
    }

    #[test]
    fn the_wait_doubles_to_its_limit_and_is_forgotten() {
        let mut throttle = Throttle::default();
        let mut now = BootMs(0);
        for _ in 0..5 {
            assert_eq!(throttle.attempt("bob", stranger(at(1)), now), Ok(()));
        }
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000] {
            assert_eq!(throttle.attempt("bob", stranger(at(1)), now), Err(expected));
            assert_eq!(throttle.attempt("bob", stranger(at(1)), now), Err(expected), "asking does not lengthen the wait");
            now = BootMs(now.0 + expected);
            assert_eq!(throttle.attempt("bob", stranger(at(1)), now), Ok(()));
        }
        now = BootMs(now.0 + FORGET_MS);
        for _ in 0..5 {
            assert_eq!(throttle.attempt("bob", stranger(at(1)), now), Ok(()));
        }
    }

    #[test]
    fn who_has_signed_in_from_here_is_not_locked_out_by_others() {
        let mut throttle = Throttle::default();
        for attempt in 0..1_000 {
            let _ = throttle.attempt("admin", stranger(at(9)), BootMs(attempt * 10));
        }
        assert_eq!(throttle.attempt("admin", home(1), BootMs(10_000)), Ok(()));
        for name in 0..100 {
            let _ = throttle.attempt(&format!("guess{name}"), stranger(at(1)), BootMs(10_000));
        }
        assert!(throttle.attempt("guess", stranger(at(1)), BootMs(10_000)).is_err());
        assert_eq!(throttle.attempt("admin", home(1), BootMs(10_000)), Ok(()), "whatever else comes from the same address");
        let mut longest = 0;
        for attempt in 0..1_000 {
            longest = longest.max(throttle.attempt("admin", home(1), BootMs(10_000 + attempt * 125)).err().unwrap_or(0));
        }
        assert!((8_000..=10_000).contains(&longest), "guessing from home is slowed down too, and never for long");
        let device = Place::Device([7; 16]);
        assert_eq!(throttle.attempt("admin", device, BootMs(10_000)), Ok(()), "nor by somebody who guesses from the same home without end");
        for _ in 0..20 {
            let _ = throttle.attempt("admin", device, BootMs(10_000));
        }
        assert!(throttle.attempt("admin", device, BootMs(10_000)).is_err(), "a browser guesses no faster than a home");
        throttle.succeeded("admin", device);
        assert_eq!(throttle.attempt("admin", device, BootMs(10_000)), Ok(()));
    }

    #[test]
    fn eight_networks_are_remembered() {
        let known = (0..20).fold(KnownNetworks::default(), |known, n| known.with([n; 16]));
        assert_eq!(known.0, (12..20).rev().map(|n| [n; 16]).collect::<Vec<_>>());
        assert_eq!(known.with([15; 16]).0[..2], [[15; 16], [19; 16]]);
    }

    #[test]
    fn a_network_that_guesses_many_names_waits() {
        let mut throttle = Throttle::default();
        for name in 0..20 {
            assert_eq!(throttle.attempt(&format!("user{name}"), stranger(at(1)), BootMs(0)), Ok(()));
        }
        assert_eq!(throttle.attempt("fresh", stranger(at(1)), BootMs(0)), Err(1_000));
        assert_eq!(throttle.attempt("fresh", stranger(at(2)), BootMs(0)), Ok(()));
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        assert_eq!(Network::of(v6(1)), Network::of(v6(2)));
    }

    #[test]
    fn memory_is_bounded_and_the_noisy_are_remembered() {
        let mut loud = 0;
        let mut throttle = Throttle::default();
        for n in 0..20_000_u32 {
            let address = IpAddr::from(n.to_be_bytes());
            let _ = throttle.attempt(&format!("u{n}"), stranger(address), BootMs(i64::from(n)));
            loud += u32::from(throttle.attempt("loud", stranger(at(1)), BootMs(i64::from(n))).is_ok());
        }
        assert!(throttle.pairs.0.len() <= MAX_KEYS && throttle.networks.0.len() <= MAX_KEYS);
        assert!(loud <= 14, "{loud}: a flood of other names wins no turns");
    }
}
