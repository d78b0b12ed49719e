//! Wallets, each with a signer in this process that has its log in a folder, can die at any of its steps, and remembers for the auditor what it signed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lucid::clock::Driver;
use lucid::crypto::SecretKey;
use lucid::domain::address::TronAddress;
use lucid::domain::time::Now;
use lucid::gateways::payment::Boxed;
use lucid::gateways::payment::signer::{
    Answer, Caps, ClientError, Fresh, Keystore, LOG_FILE, Passphrase, Request, SignRequest, Signed, Signer, Wallet, judge,
};
use lucid::gateways::payment::tron::Signs;
use tokio::task::yield_now;

use crate::support::rig::{CHEAP, lock, tron};
use crate::support::tron::address::{Hash, sha256};
use crate::support::tron::random::Random;
use crate::support::tron::{Address, Chain};

pub const WORDS: &str = "correct horse battery";
pub const WALLETS: usize = 2;

fn secret(wallet: usize) -> Hash {
    sha256(format!("wallet {wallet} that pays").as_bytes())
}

pub fn owner(wallet: usize) -> Address {
    Address::of_private_key(&secret(wallet)).unwrap()
}

pub fn account(wallet: usize) -> TronAddress {
    tron(&owner(wallet))
}

pub fn keystore(template: &Path, wallet: usize) -> PathBuf {
    template.with_extension(format!("keystore-{wallet}"))
}

/// The keystores that all runs of a template share: nothing changes them.
pub fn make_keystores(template: &Path) {
    for wallet in 0..WALLETS {
        let fresh = Fresh { salt: [1; 16], nonce: [2; 12] };
        Keystore::create(&keystore(template, wallet), &SecretKey(secret(wallet)), &Passphrase::new(WORDS), CHEAP, fresh).unwrap();
    }
}

/// A transaction that was signed and may be on its way.
#[derive(Debug, Clone)]
pub struct Issued {
    pub payout: String,
    pub to: String,
    pub amount: u64,
}

/// By transaction; kept whatever becomes of the signers and their logs.
pub type AllIssued = Arc<Mutex<BTreeMap<Hash, Issued>>>;

/// How the process of a signer fares.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// So many of a thousand requests end it: before it does anything, or after it wrote its log.
    pub dies_per_mille: u16,
    /// Nobody reaches it.
    pub away: bool,
    /// Sabotage: its log is gone after each death.
    pub forgetful: bool,
    /// Sabotage: it signs for whoever asks, whatever that one knows.
    pub heedless: bool,
}

pub struct Vault {
    pub wallet: Wallet,
    keystore: PathBuf,
    pub state_dir: PathBuf,
    contract: TronAddress,
    driver: Driver,
    issued: AllIssued,
    pub health: Mutex<Health>,
    random: Mutex<Random>,
    signer: Mutex<Option<Signer>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    pub fn new(number: usize, template: &Path, place: &Path, chain: &Chain, driver: &Driver, issued: &AllIssued, seed: u64) -> Vault {
        let vault = Vault {
            wallet: Wallet { account: account(number), key: account(number), permission_id: None },
            keystore: keystore(template, number),
            state_dir: place.join(format!("signer-{number}")),
            contract: tron(&chain.token.address),
            driver: driver.clone(),
            issued: Arc::clone(issued),
            health: Mutex::default(),
            random: Mutex::new(Random::new(seed)),
            signer: Mutex::default(),
        };
        vault.start();
        vault
    }

    /// A signer of the same key, with a copy of the log, that goes on beside this one.
    pub fn copied(&self, place: &Path) -> Vault {
        let state_dir = place.join(self.state_dir.file_name().unwrap());
        std::fs::create_dir_all(&state_dir).unwrap();
        std::fs::copy(self.state_dir.join(LOG_FILE), state_dir.join(LOG_FILE)).unwrap();
        let vault = Vault {
            wallet: self.wallet,
            keystore: self.keystore.clone(),
            state_dir,
            contract: self.contract,
            driver: self.driver.clone(),
            issued: Arc::clone(&self.issued),
            health: Mutex::default(),
            random: Mutex::new(Random::new(lock(&self.random).next())),
            signer: Mutex::default(),
        };
        vault.start();
        vault
    }

    fn now(&self) -> Now {
        let reading = self.driver.reading();
        Now { wall: reading.wall, boot: reading.boot, trusted: true }
    }

    /// A process that reads the log and is given the passphrase.
    pub fn start(&self) {
        let caps = Caps { max_payout: 1_000_000_000, max_24h: 5_000_000_000, max_fee_sun: 1_000_000_000, contracts: vec![self.contract] };
        let mut signer = Signer::open(&self.keystore, &self.state_dir, |_| self.wallet, caps).unwrap();
        signer.unlock(&Passphrase::new(WORDS), self.now()).unwrap();
        *lock(&self.signer) = Some(signer);
    }

    pub fn die(&self) {
        *lock(&self.signer) = None;
        if lock(&self.health).forgetful {
            std::fs::remove_file(self.state_dir.join(LOG_FILE)).unwrap();
        }
    }

    /// Lines after the first, which names the wallet.
    pub fn has_signed(&self) -> bool {
        std::fs::read_to_string(self.state_dir.join(LOG_FILE)).is_ok_and(|log| log.lines().count() > 1)
    }

    pub fn restart(&self) {
        self.die();
        self.start();
    }

    /// The folder as it was in a backup.
    pub fn restore(&self, from: &Path) {
        self.die();
        std::fs::copy(from.join(LOG_FILE), self.state_dir.join(LOG_FILE)).unwrap();
        self.start();
    }

    fn sign_now(&self, request: &SignRequest) -> Option<Answer> {
        let health = lock(&self.health).clone();
        let dies = lock(&self.random).chance(health.dies_per_mille);
        let before = dies && lock(&self.random).chance(500);
        if before {
            self.restart();
        }
        if before || health.away {
            return None;
        }
        let now = self.now();
        let known_ms = if health.heedless { i64::MAX } else { request.known_ms };
        let answer = lock(&self.signer).as_mut()?.answer(Request::Sign(Box::new(SignRequest { known_ms, ..request.clone() })), now);
        if let Answer::Signed(signed) = &answer {
            let Signed { payout_id, transfer, txid, .. } = &**signed;
            let issued = Issued { payout: payout_id.to_string(), to: transfer.to.to_string(), amount: transfer.amount };
            lock(&self.issued).insert(txid.0, issued);
        }
        if dies {
            self.restart();
            return None;
        }
        Some(answer)
    }
}

impl Signs for Vault {
    fn sign<'a>(&'a self, wallet: &'a Wallet, request: SignRequest) -> Boxed<'a, Result<Signed, ClientError>> {
        Box::pin(async move {
            yield_now().await;
            let answer = self.sign_now(&request);
            yield_now().await;
            let answer = answer.ok_or_else(|| ClientError::Unreachable("the signer is away".into()))?;
            judge(wallet, &request, answer)
        })
    }

    fn timestamps_ms(&self) -> Boxed<'_, Result<Option<(i64, i64)>, ClientError>> {
        Box::pin(async {
            yield_now().await;
            let (away, now) = (lock(&self.health).away, self.now());
            match lock(&self.signer).as_mut().filter(|_| !away).map(|signer| signer.answer(Request::Status, now)) {
                Some(Answer::Status(status)) => Ok(status.timestamps_ms()),
                _ => Err(ClientError::Unreachable("the signer is away".into())),
            }
        })
    }
}
