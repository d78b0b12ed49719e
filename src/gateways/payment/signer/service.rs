//! One request in, one answer out: the key, the log and the rules together.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::tron::WalletKey;
use super::core::{Record, Verdict};
use super::keystore::{Keystore, KeystoreError, Passphrase};
use super::log::{LogError, SignedLog};
use super::protocol::{Answer, Caps, Refusal, Refused, Request, SignRequest, Signed, Status, Wallet};
use crate::domain::time::Now;

/// Wait after the first wrong passphrase; each further one doubles it.
const FIRST_WAIT_MS: i64 = 1_000;
const MAX_WAIT_MS: i64 = 3_600_000;

/// A signer that is not reached by anybody yet.
#[derive(Debug)]
pub struct Signer {
    keystore: PathBuf,
    wallet: Wallet,
    caps: Caps,
    log: SignedLog,
    key: Option<WalletKey>,
    guesses: Guesses,
}

#[derive(Debug)]
pub enum SignerError {
    Keystore(KeystoreError),
    Log(LogError),
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignerError::Keystore(error) => error.fmt(f),
            SignerError::Log(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SignerError {}

impl Signer {
    /// Locked. `wallet` says which account pays; its key must be the keystore's.
    pub fn open(keystore: &Path, state_dir: &Path, wallet: impl FnOnce(&Keystore) -> Wallet, caps: Caps) -> Result<Signer, SignerError> {
        let read = Keystore::read(keystore).map_err(SignerError::Keystore)?;
        let wallet = wallet(&read);
        let log = SignedLog::open(state_dir, &wallet).map_err(SignerError::Log)?;
        Ok(Signer { keystore: keystore.to_owned(), wallet, caps, log, key: None, guesses: Guesses::default() })
    }

    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    pub fn answer(&mut self, request: Request, now: Now) -> Answer {
        let answer = match request {
            Request::Status => Ok(Answer::Status(Box::new(self.status(now)))),
            Request::Unlock { passphrase } => self.unlock(&passphrase, now).map(|()| Answer::Done),
            Request::Lock => {
                self.key = None;
                Ok(Answer::Done)
            }
            Request::Sign(request) => self.sign(&request, now).map(|signed| Answer::Signed(Box::new(signed))),
        };
        answer.unwrap_or_else(|refused| Answer::Refused(Box::new(refused)))
    }

    /// The keystore is read again, so that a passphrase that was changed meanwhile counts.
    pub fn unlock(&mut self, passphrase: &Passphrase, now: Now) -> Result<(), Refused> {
        if let Some(wait_ms) = self.guesses.wait_ms(now) {
            let refused = Refusal::Throttled.because("too many wrong passphrases");
            return Err(Refused { retry_after_ms: u64::try_from(wait_ms).ok(), ..refused });
        }
        let opened = Keystore::read(&self.keystore).and_then(|keystore| keystore.open(passphrase));
        match opened {
            Ok(key) if key.address() == self.wallet.key => {
                self.guesses = Guesses::default();
                self.key = Some(key);
                Ok(())
            }
            Ok(key) => Err(Refusal::Keystore.because(format!("the keystore holds another key now, that of {}", key.address()))),
            Err(KeystoreError::WrongPassphrase) => {
                self.guesses.wrong(now);
                Err(Refusal::WrongPassphrase.because(KeystoreError::WrongPassphrase.to_string()))
            }
            Err(error) => Err(Refusal::Keystore.because(error.to_string())),
        }
    }

    fn status(&self, now: Now) -> Status {
        let memory = self.log.memory();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wallet: self.wallet,
            unlocked: self.key.is_some(),
            caps: self.caps.clone(),
            spent_24h: memory.spent(now.wall.0),
            first_timestamp_ms: memory.first_timestamp_ms(),
            last_timestamp_ms: memory.last_timestamp_ms(),
            payouts: memory.payouts() as u64,
        }
    }

    /// The log has it before the answer does.
    fn sign(&mut self, request: &SignRequest, now: Now) -> Result<Signed, Refused> {
        let earlier = self.log.newest(&request.payout_id).map_err(|error| refused(&error))?;
        let verdict = self.log.memory().judge(&self.wallet, &self.caps, request, earlier.as_ref(), self.key.is_some(), now.wall.0)?;
        let (transfer, resolved) = match (verdict, earlier) {
            (Verdict::Again, Some(earlier)) => return Ok(earlier),
            (Verdict::Sign(transfer, resolved), _) => (transfer, resolved),
            (Verdict::Again, None) => return Err(refused(&LogError::Broken)),
        };
        let key = self.key.as_ref().ok_or_else(|| Refusal::Locked.because("the wallet is locked"))?;
        let signed = Signed::of(request, transfer.sign(key), now.wall.0);
        let record = Record { signed, resolved };
        self.log.append(&record).map_err(|error| refused(&error))?;
        Ok(record.signed)
    }
}

fn refused(error: &LogError) -> Refused {
    let name = if matches!(error, LogError::Full(_)) { Refusal::LogFull } else { Refusal::DiskError };
    name.because(error.to_string())
}

/// Wrong passphrases in a row, by the boot clock.
#[derive(Debug, Default)]
struct Guesses {
    wrong: u32,
    not_before_ms: Option<i64>,
}

impl Guesses {
    fn wait_ms(&self, now: Now) -> Option<i64> {
        self.not_before_ms.map(|ms| ms.saturating_sub(now.boot.0)).filter(|wait| *wait > 0)
    }

    fn wrong(&mut self, now: Now) {
        let wait = 1i64
            .checked_shl(self.wrong)
            .map_or(MAX_WAIT_MS, |factor| FIRST_WAIT_MS.saturating_mul(factor).clamp(FIRST_WAIT_MS, MAX_WAIT_MS));
        self.wrong = self.wrong.saturating_add(1).min(32);
        self.not_before_ms = Some(now.boot.0.saturating_add(wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{BootMs, Timestamp};

    #[test]
    fn each_wrong_guess_doubles_the_wait_up_to_an_hour() {
        let at = |boot| Now { wall: Timestamp(0), boot: BootMs(boot), trusted: false };
        let mut guesses = Guesses::default();
        assert_eq!(guesses.wait_ms(at(0)), None);
        let waits: Vec<_> = (0..70)
            .map(|_| {
                guesses.wrong(at(5));
                guesses.wait_ms(at(5)).unwrap()
            })
            .collect();
        assert_eq!((&waits[..4], waits[11], waits[12], waits[69]), (&[1_000, 2_000, 4_000, 8_000][..], 2_048_000, 3_600_000, 3_600_000));
        assert_eq!((guesses.wait_ms(at(3_600_004)), guesses.wait_ms(at(3_600_005))), (Some(1), None));
    }
}
