//! Passwords: one Argon2id run at a time, a bounded queue before it, and slower and slower answers to who guesses.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use crate::crypto::{self, Entropy, SecretKey};
use crate::domain::refusal::Refusal;
use crate::domain::session::{Network, Throttle};
use crate::domain::time::Now;
use crate::domain::user::{PasswordHash, User, username_key};
use crate::storage::core::people;

/// Runs that may wait for the one in progress: some seconds of work on a small machine.
const QUEUE: usize = 16;
/// No password is longer, in bytes; longer texts are not stretched.
const MAX_PASSWORD_BYTES: usize = 1_024;
const MAX_USERNAME_BYTES: usize = 64;

/// Each run takes 19 MiB.
#[derive(Debug)]
pub struct Stretching {
    queue: Semaphore,
    one: Semaphore,
}

impl Default for Stretching {
    fn default() -> Stretching {
        Stretching { queue: Semaphore::new(QUEUE + 1), one: Semaphore::new(1) }
    }
}

impl Stretching {
    /// `crypto::stretch` off the async threads, in its turn.
    pub async fn stretch(&self, password: &str, salt: [u8; 16]) -> Result<SecretKey, ApiError> {
        let busy = |_| ApiError::unavailable("TooManySignIns", "too many people sign in at once");
        let _place = self.queue.try_acquire().map_err(busy)?;
        let _turn = self.one.acquire().await.map_err(|_| ApiError::panicked())?;
        let password = zeroize::Zeroizing::new(password.to_owned());
        tokio::task::spawn_blocking(move || crypto::stretch(&password, &salt)).await.map_err(|_| ApiError::panicked())
    }

    pub async fn hash(&self, entropy: &Entropy, password: &str) -> Result<PasswordHash, ApiError> {
        let salt = entropy.bytes();
        let key = self.stretch(password, salt).await?;
        Ok(PasswordHash { salt, hash: key.0 })
    }
}

/// The throttle behind its lock.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<Mutex<Throttle>>);

impl Attempts {
    /// To be called before an attempt is judged; counts it as failed.
    pub fn attempt(&self, account: &str, address: IpAddr, known: bool, now: Now) -> Result<(), ApiError> {
        let wait = self.0.lock().unwrap_or_else(PoisonError::into_inner).attempt(account, address, known, now.boot);
        wait.map_err(|wait_ms| ApiError::throttled(u32::try_from(wait_ms.div_euclid(1_000) + 1).unwrap_or(u32::MAX)))
    }

    pub fn succeeded(&self, account: &str, address: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).succeeded(account, address);
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

/// The person has signed in from there before.
pub fn is_home(state: &AppState, user: &User, address: IpAddr) -> Result<bool, ApiError> {
    Ok(people::knows_network(&state.store.read()?, &user.id, &network_hash(state, user, address))?)
}

/// The person with this name and password, where the password is all that is asked for.
pub async fn check(state: &AppState, request: &RequestInfo, username: &str, password: &str) -> Result<User, ApiError> {
    let user = judge(state, request, username, password).await?;
    state.attempts.succeeded(&username_key(username), request.address);
    Ok(user)
}

/// The person with this name and password. An unknown name takes as long as a wrong password. The attempt stays counted as failed: who calls
/// this says when it has succeeded.
pub async fn judge(state: &AppState, request: &RequestInfo, username: &str, password: &str) -> Result<User, ApiError> {
    let sane = username.len() <= MAX_USERNAME_BYTES && password.len() <= MAX_PASSWORD_BYTES;
    let account = if sane { username_key(username) } else { String::new() };
    let user = people::user_by_name(&state.store.read()?, &account)?;
    let known = user.as_ref().map_or(Ok(false), |user| is_home(state, user, request.address))?;
    state.attempts.attempt(&account, request.address, known, state.now())?;
    let salt = user.as_ref().map_or([0; 16], |user| user.password.salt);
    let key = state.stretching.stretch(if sane { password } else { "" }, salt).await?;
    let about = user.as_ref().map(|user| user.id.to_string());
    match user.filter(|user| sane && !user.disabled && crypto::equal(&user.password.hash, &key.0)) {
        Some(user) => Ok(user),
        None => Err(ApiError::from(Refusal::WrongCredentials).about(about)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hashes_beyond_the_queue_are_refused_and_the_others_succeed() {
        let stretching = Arc::new(Stretching::default());
        let turn = stretching.one.acquire().await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..QUEUE + 3 {
            let stretching = Arc::clone(&stretching);
            waiting.spawn(async move { stretching.stretch("password", [0; 16]).await.map(|key| key.0) });
        }
        for _ in 0..2 {
            assert_eq!(waiting.join_next().await.unwrap().unwrap().unwrap_err().name, "TooManySignIns");
        }
        drop(turn);
        let first = waiting.join_next().await.unwrap().unwrap();
        assert_eq!(first, Ok(crypto::stretch("password", &[0; 16]).0));
        waiting.abort_all();
    }
}
