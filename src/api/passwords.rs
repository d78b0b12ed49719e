//! Passwords: one Argon2id run at a time, a bounded queue before it, and slower and slower answers to who guesses.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use crate::crypto::{self, Entropy, SecretKey};
use crate::domain::refusal::Refusal;
use crate::domain::session::{Network, Place, Throttle};
use crate::domain::time::Now;
use crate::domain::user::{PasswordHash, User, username_key};
use crate::storage::core::people;

/// Runs that may wait for the one in progress: some seconds of work on a small machine.
const QUEUE: usize = 16;
/// The same for those who are known: as many as a household has people.
const KNOWN_QUEUE: usize = 8;
/// No password is longer, in bytes; longer texts are not stretched.
const MAX_PASSWORD_BYTES: usize = 1_024;
const MAX_USERNAME_BYTES: usize = 64;

/// Which queue a run waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Who is signed in, has the setup code, or tries an account from where, or with what, it has signed in before.
    Known,
    /// Anybody. However many they are, those who are known wait for two of them at most.
    Strangers,
}

/// Each run takes 19 MiB.
#[derive(Debug)]
pub struct Stretching {
    known: Semaphore,
    strangers: Semaphore,
    /// The stranger who waits for the turn beside those who are known.
    next_stranger: Semaphore,
    turn: Semaphore,
}

impl Default for Stretching {
    fn default() -> Stretching {
        Stretching {
            known: Semaphore::new(KNOWN_QUEUE + 1),
            strangers: Semaphore::new(QUEUE + 1),
            next_stranger: Semaphore::new(1),
            turn: Semaphore::new(1),
        }
    }
}

impl Stretching {
    /// `crypto::stretch` off the async threads, in its turn.
    pub async fn stretch(&self, line: Line, password: &str, salt: [u8; 16]) -> Result<SecretKey, ApiError> {
        let (busy, closed) = (|_| ApiError::unavailable("TooManySignIns", "too many people sign in at once"), |_| ApiError::panicked());
        let places = if line == Line::Known { &self.known } else { &self.strangers };
        let _place = places.try_acquire().map_err(busy)?;
        let next = if line == Line::Known { None } else { Some(self.next_stranger.acquire().await.map_err(closed)?) };
        let _turn = self.turn.acquire().await.map_err(closed)?;
        drop(next);
        let password = zeroize::Zeroizing::new(password.to_owned());
        tokio::task::spawn_blocking(move || crypto::stretch(&password, &salt)).await.map_err(|_| ApiError::panicked())
    }

    /// Of a new password, chosen by somebody who may.
    pub async fn hash(&self, entropy: &Entropy, password: &str) -> Result<PasswordHash, ApiError> {
        let salt = entropy.bytes();
        let key = self.stretch(Line::Known, password, salt).await?;
        Ok(PasswordHash { salt, hash: key.0 })
    }
}

/// The throttle behind its lock.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<Mutex<Throttle>>);

impl Attempts {
    /// To be called before an attempt is judged; counts it as failed.
    pub fn attempt(&self, account: &str, place: Place, now: Now) -> Result<(), ApiError> {
        let wait = self.0.lock().unwrap_or_else(PoisonError::into_inner).attempt(account, place, now.boot);
        wait.map_err(|wait_ms| ApiError::throttled(u32::try_from(wait_ms.div_euclid(1_000) + 1).unwrap_or(u32::MAX)))
    }

    pub fn succeeded(&self, account: &str, place: Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).succeeded(account, place);
    }
}

/// What is stored of where somebody signed in from: of no use without the key, and different for each person.
pub fn network_hash(state: &AppState, user: &User, address: IpAddr) -> [u8; 16] {
    let network = Network::of(address).to_string();
    let hash = crypto::mac(&state.store.secrets.networks, &[user.id.as_str().as_bytes(), network.as_bytes()]);
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// What this person is to wherever the request comes from.
pub fn place(state: &AppState, user: &User, request: &RequestInfo) -> Result<Place, ApiError> {
    let at_home = at_home(user, request);
    let Place::Home(network) = at_home else { return Ok(at_home) };
    let known = people::knows_network(&state.store.read()?, &user.id, &network_hash(state, user, request.address))?;
    Ok(if known { at_home } else { Place::Stranger(network) })
}

/// The same of somebody who has just proved to be this person.
pub fn at_home(user: &User, request: &RequestInfo) -> Place {
    let device = request.device.as_ref().filter(|device| device.user == user.id);
    device.map_or(Place::Home(Network::of(request.address)), |device| Place::Device(device.id))
}

/// The person with this name and password, where the password is all that is asked for.
pub async fn check(state: &AppState, request: &RequestInfo, username: &str, password: &str) -> Result<User, ApiError> {
    let user = judge(state, request, username, password).await?;
    state.attempts.succeeded(&username_key(username), at_home(&user, request));
    Ok(user)
}

/// The person with this name and password. An unknown name takes as long as a wrong password. The attempt stays counted as failed: who calls
/// this says when it has succeeded.
pub async fn judge(state: &AppState, request: &RequestInfo, username: &str, password: &str) -> Result<User, ApiError> {
    let sane = username.len() <= MAX_USERNAME_BYTES && password.len() <= MAX_PASSWORD_BYTES;
    let account = if sane { username_key(username) } else { String::new() };
    let user = people::user_by_name(&state.store.read()?, &account)?;
    let place = match &user {
        Some(user) => place(state, user, request)?,
        None => Place::Stranger(Network::of(request.address)),
    };
    state.attempts.attempt(&account, place, state.now())?;
    let salt = user.as_ref().map_or([0; 16], |user| user.password.salt);
    let line = if matches!(place, Place::Stranger(_)) { Line::Strangers } else { Line::Known };
    let key = state.stretching.stretch(line, if sane { password } else { "" }, salt).await?;
    let about = user.as_ref().map(|user| user.id.to_string());
    match user.filter(|user| sane && !user.disabled && crypto::equal(&user.password.hash, &key.0)) {
        Some(user) => Ok(user),
        None => Err(ApiError::from(Refusal::WrongCredentials).about(about)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{PASSWORD, Site};
    use axum::http::Method;

    /// What it asks for, once it has a place or was refused one.
    async fn asked(
        stretching: &Arc<Stretching>,
        line: Line,
        order: &Arc<Mutex<Vec<Line>>>,
    ) -> tokio::task::JoinHandle<Result<(), ApiError>> {
        let (stretching, order) = (Arc::clone(stretching), Arc::clone(order));
        let task = tokio::spawn(async move {
            stretching.stretch(line, "password", [0; 16]).await?;
            order.lock().unwrap().push(line);
            Ok(())
        });
        // It waits for a turn that nobody gives yet.
        tokio::task::yield_now().await;
        task
    }

    #[tokio::test]
    async fn hashes_beyond_a_queue_are_refused_and_strangers_keep_nobody_else_out() {
        let (stretching, order) = (Arc::new(Stretching::default()), Arc::new(Mutex::new(Vec::new())));
        let turn = stretching.turn.acquire().await.unwrap();
        let mut strangers = Vec::new();
        for _ in 0..QUEUE + 3 {
            strangers.push(asked(&stretching, Line::Strangers, &order).await);
        }
        for refused in strangers.split_off(QUEUE + 1) {
            assert_eq!(refused.await.unwrap().unwrap_err().name, "TooManySignIns");
        }
        let mut known = Vec::new();
        for _ in 0..KNOWN_QUEUE + 2 {
            known.push(asked(&stretching, Line::Known, &order).await);
        }
        assert_eq!(known.pop().unwrap().await.unwrap().unwrap_err().name, "TooManySignIns", "their queue is bounded, too");
        drop(turn);
        for task in known.into_iter().chain(strangers) {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        let order = order.lock().unwrap();
        assert_eq!(order.len(), QUEUE + 1 + KNOWN_QUEUE + 1);
        let ahead = order.iter().take_while(|line| **line == Line::Strangers).count();
        assert_eq!((ahead, &order[ahead..=ahead + KNOWN_QUEUE]), (1, [Line::Known; KNOWN_QUEUE + 1].as_slice()), "{order:?}");
    }

    #[tokio::test]
    async fn a_full_queue_of_strangers_keeps_nobody_out_who_signed_in_from_there_before() {
        let site = Site::new();
        site.set_up().await;
        let sign_in = async |name: &str| {
            let body = serde_json::json!({ "username": name, "password": PASSWORD });
            let (status, answer) = site.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await;
            (status.as_u16(), answer["error"]["details"]["name"].as_str().unwrap_or("-").to_owned())
        };
        let all = site.state.stretching.strangers.acquire_many(u32::try_from(QUEUE + 1).unwrap()).await.unwrap();
        assert_eq!(sign_in("somebody").await, (503, "TooManySignIns".into()));
        assert_eq!(sign_in("root").await, (200, "-".into()));
        drop(all);
        assert_eq!(sign_in("anybody").await, (401, "WrongCredentials".into()));
    }

    #[tokio::test]
    async fn a_run_gives_what_the_password_gives() {
        let key = Stretching::default().stretch(Line::Strangers, "password", [0; 16]).await.unwrap();
        assert_eq!(key.0, crypto::stretch("password", &[0; 16]).0);
    }
}
