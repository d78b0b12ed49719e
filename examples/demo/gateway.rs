//! The dry run with a script: a wallet that nobody owns, and transfers to some addresses that wait, fail or get lost. No money moves here either. What it says of a
//! payout follows from the address, the attempt and the time, so that a restart changes nothing; what a test told it is forgotten with the process.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lucid::api::wallet::{Pending, Signer, SignerRefusal, SignerState};
use lucid::clock::Driver;
use lucid::crypto::{hex, sha256_parts};
use lucid::domain::address::TronAddress;
use lucid::domain::ledger::Settlement;
use lucid::domain::money::{Currency, Units};
use lucid::domain::payout::{Attempt, AttemptState, Death, DeathProof, Landed, Payout, Pin, Prepared, ReviewKind};
use lucid::domain::time::Timestamp;
use lucid::domain::wallet::{BlockAt, Outgoing, OutgoingPage, WalletReading};
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Simulated, Transfer, Unavailable};
use zeroize::Zeroizing;

use crate::support::client::PASSWORD;

/// Seconds after its expiry in which a lost transfer is not called dead yet.
const PROVEN_AFTER_SECONDS: i64 = 300;
/// What the wallet holds, in millionths.
const BALANCE: Units = Units(4_200_000_000);
const TRX_SUN: u64 = 1_850_400_000;
/// The network's final block is this much behind.
const FINAL_AFTER_SECONDS: i64 = 57;
/// A transaction of which this network says that it paid whatever it is named for begins so.
pub const PAYS: &str = "7e57";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is prepared: the payout stays pending.
    Unprepared,
    /// In a block that never becomes final.
    NeverFinal,
    /// Every attempt is lost and proven dead.
    Lost,
    /// Two nodes say different things about it.
    Doubtful,
    FailsOnChain,
}

/// What becomes of transfers to `address` that begin in `[from, until)`.
#[derive(Debug, Clone)]
pub struct Line {
    pub address: String,
    pub fate: Fate,
    pub from: Timestamp,
    pub until: Timestamp,
}

#[derive(Debug)]
pub struct Scripted {
    fates: Vec<Line>,
    driver: Driver,
    wallet: String,
    is_locked: AtomicBool,
    is_away: AtomicBool,
    /// What left the wallet and no payout explains.
    strange: Mutex<Vec<Outgoing>>,
    signed: Mutex<Vec<(Timestamp, Units)>>,
}

fn block(at: Timestamp) -> u64 {
    u64::try_from(at.seconds() / 3).unwrap_or(0)
}

impl Scripted {
    pub fn new(fates: Vec<Line>, driver: &Driver, wallet: String) -> Arc<Scripted> {
        let (is_locked, is_away) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Scripted {
            fates,
            driver: driver.clone(),
            wallet,
            is_locked,
            is_away,
            strange: Mutex::default(),
            signed: Mutex::default(),
        })
    }

    /// The network cannot be asked, or can be again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Somebody else with the key sends this much to `to`.
    pub fn steal(&self, amount: Units, to: String) {
        let at = self.now().plus_seconds(-FINAL_AFTER_SECONDS);
        let mut strange = self.strange.lock().unwrap();
        let txid = hex(&sha256_parts(&[b"demo/strange", &at.0.to_le_bytes(), &strange.len().to_le_bytes()]));
        strange.push(Outgoing { txid, to, amount, block: block(at), at });
    }

    fn now(&self) -> Timestamp {
        self.driver.reading().wall
    }

    fn reached<T>(&self, answer: impl FnOnce() -> T) -> Result<T, Unavailable> {
        if self.is_away.load(Ordering::Relaxed) { Err(Unavailable("the node does not answer".to_owned())) } else { Ok(answer()) }
    }

    fn balance(&self) -> Units {
        Units(BALANCE.0 - self.strange.lock().unwrap().iter().map(|transfer| transfer.amount.0).sum::<i64>())
    }

    fn fate(&self, is_to: impl Fn(&str) -> bool, at: Timestamp) -> Option<Fate> {
        self.fates.iter().find(|line| (line.from..line.until).contains(&at) && is_to(&line.address)).map(|line| line.fate)
    }

    fn fate_of(&self, attempt: &Attempt, address: &str) -> Option<Fate> {
        self.fate(|of| of == address, attempt.signed_at)
    }

    fn look(&self, payout: &Payout, now: Timestamp) -> Lookup {
        let Some(attempt) = payout.attempts.last() else { return Lookup::NotSeen };
        let seen = |sent_at: Timestamp| Lookup::Seen { block: block(sent_at) };
        let is_seen = matches!(attempt.state, AttemptState::Seen { .. });
        let expired = attempt.prepared.expires_at.map_or(0, |at| now.since(at) / 1_000);
        match (self.fate_of(attempt, payout.address.as_str()), attempt.sent_at) {
            (Some(Fate::NeverFinal), Some(sent_at)) => seen(sent_at),
            (Some(Fate::FailsOnChain), Some(_)) if is_seen => Lookup::FailedOnChain {
                reason: "OUT_OF_ENERGY: the transfer ran out of energy".to_owned(),
                landed: Landed { txid: attempt.prepared.txid.clone(), fee_sun: 13_000_000 },
            },
            (Some(Fate::FailsOnChain), Some(sent_at)) => seen(sent_at),
            (Some(Fate::Doubtful), Some(sent_at)) => Lookup::Person {
                kind: ReviewKind::Conflict,
                reason: "two nodes contradict each other".to_owned(),
                evidence: vec![
                    format!("node.example: final in block {}, SUCCESS, one transfer of the right amount", block(sent_at)),
                    format!("witness.example: no such transaction up to block {}", block(sent_at.plus_seconds(600))),
                ],
            },
            (Some(Fate::Lost), _) if expired > PROVEN_AFTER_SECONDS => Lookup::Dead(died(attempt, now)),
            (Some(Fate::Lost), _) => Lookup::NotSeen,
            _ => Simulated.lookup_one(attempt, now),
        }
    }

    fn prepare_one(&self, transfer: &Transfer) -> Result<Prepared, NotPrepared> {
        if self.is_locked.load(Ordering::Relaxed) {
            return Err(NotPrepared::Later("the wallet is locked".to_owned()));
        }
        if self.reached(|| ()).is_err() || self.fate(|address| address == transfer.address.as_str(), transfer.now) == Some(Fate::Unprepared)
        {
            return Err(NotPrepared::Later("the payment gateway does not answer".to_owned()));
        }
        self.signed.lock().unwrap().push((transfer.now, transfer.amount.units));
        Ok(Prepared { pin: self.pin(), ..Simulated.prepare_one(transfer)? })
    }
}

fn died(attempt: &Attempt, now: Timestamp) -> Death {
    let (from, to) = (block(attempt.signed_at), block(now));
    Death::Expired(DeathProof {
        solid_block: to,
        solid_at: now,
        scanned_from: from,
        scanned_to: to,
        witnesses: vec!["https://witness.example".into()],
    })
}

impl PaymentGateway for Scripted {
    fn pin(&self) -> Pin {
        Pin { wallet: self.wallet.clone(), ..Simulated.pin() }
    }

    fn settlement(&self) -> Settlement {
        Simulated.settlement()
    }

    fn pays(&self, currency: Currency) -> bool {
        Simulated.pays(currency)
    }

    fn own_wallets(&self) -> Vec<TronAddress> {
        TronAddress::parse(&self.wallet).into_iter().collect()
    }

    fn has_wallet(&self) -> bool {
        true
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(ready(transfers.iter().map(|transfer| self.prepare_one(transfer)).collect()))
    }

    fn send<'a>(&'a self, _: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(ready(SendOutcome::Accepted))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(ready(payouts.iter().map(|payout| self.look(payout, now)).collect()))
    }

    fn verify<'a>(&'a self, payout: &'a Payout, txid: &'a str) -> Boxed<'a, Lookup> {
        let is_own = payout.attempts.iter().any(|attempt| attempt.txid() == Some(txid));
        let found = if is_own || txid.starts_with(PAYS) {
            Lookup::Paid(Landed { txid: Some(txid.to_owned()), fee_sun: 0 })
        } else {
            let (kind, reason) = (ReviewKind::Conflict, "the network knows no such transaction".to_owned());
            Lookup::Person { kind, reason, evidence: Vec::new() }
        };
        Box::pin(ready(found))
    }

    fn wallet(&self) -> Boxed<'_, Result<Option<WalletReading>, Unavailable>> {
        let now = self.now();
        let solid_at = now.plus_seconds(-FINAL_AFTER_SECONDS);
        Box::pin(ready(self.reached(|| {
            Some(WalletReading {
                address: self.wallet.clone(),
                network: self.pin().network,
                contract: self.pin().contract,
                balance: self.balance(),
                trx_sun: TRX_SUN,
                energy_free: 65_000,
                bandwidth_free: 600,
                energy_price_sun: 100,
                bandwidth_price_sun: 1_000,
                energy_known: 64_285,
                energy_new: 130_285,
                solid_block: block(solid_at),
                solid_at,
                head_at: now,
            })
        })))
    }

    fn block_before(&self, at: Timestamp) -> Boxed<'_, Result<BlockAt, Unavailable>> {
        let at = at.plus_ms(-1);
        Box::pin(ready(self.reached(|| BlockAt { number: block(at), at })))
    }

    fn outgoing(&self, after_block: u64) -> Boxed<'_, Result<OutgoingPage, Unavailable>> {
        let through_at = self.now().plus_seconds(-FINAL_AFTER_SECONDS);
        let through_block = block(through_at).max(after_block);
        let transfers = self.strange.lock().unwrap().iter().filter(|transfer| transfer.block > after_block).cloned().collect();
        let balance = self.balance();
        Box::pin(ready(self.reached(|| OutgoingPage {
            transfers,
            through_block,
            through_at,
            is_last: true,
            balance,
            balance_block: through_block,
        })))
    }
}

/// The key of nothing.
impl Signer for Scripted {
    fn state(&self) -> Pending<'_, Result<SignerState, String>> {
        let now = self.now();
        let lately = |of: &&(Timestamp, Units)| now.since(of.0) < 24 * 3_600_000;
        let spent: i64 = self.signed.lock().unwrap().iter().filter(lately).map(|(_, amount)| amount.0).sum();
        Box::pin(ready(Ok(SignerState {
            address: self.wallet.clone(),
            unlocked: !self.is_locked.load(Ordering::Relaxed),
            max_payout: 1_000_000_000,
            max_24h: 5_000_000_000,
            max_fee_sun: 30_000_000,
            spent_24h: u64::try_from(spent).unwrap_or(0),
        })))
    }

    fn unlock(&self, passphrase: Zeroizing<String>) -> Pending<'_, Result<(), SignerRefusal>> {
        let is_right = passphrase.as_str() == PASSWORD;
        if is_right {
            self.is_locked.store(false, Ordering::Relaxed);
        }
        Box::pin(ready(if is_right { Ok(()) } else { Err(SignerRefusal::WrongPassphrase) }))
    }

    fn lock(&self) -> Pending<'_, Result<(), String>> {
        self.is_locked.store(true, Ordering::Relaxed);
        Box::pin(ready(Ok(())))
    }
}
