//! What is signed and what is refused: the log's memory, a request and the time go in, a verdict comes out. No file, no key,
//! no clock.
//!
//! What keeps a payout from being paid twice here: it has at most one transaction that can still land, and a request for another one
//! has to say why that one cannot. The signer believes what it can check against its own log and its own clock.

use std::collections::{HashMap, VecDeque};

use super::super::tron::TransferTransaction;
use super::protocol::{Caps, Refusal, Refused, Resolution, SignRequest, Signed, Wallet};
use crate::crypto;
use crate::domain::address::{AddressError, PayoutAddress};
use crate::domain::ids::PayoutId;
use crate::domain::money::Currency;
use crate::domain::payout::MOST_ATTEMPTS;

/// Payouts that one log may know: some 60 MB of memory.
pub const MAX_PAYOUTS: usize = 1_000_000;
/// Others that have to agree that a transaction is dead, besides the node.
pub const MIN_WITNESSES: usize = 1;
pub const MAX_WITNESSES: usize = 8;
/// Longest name of a witness or of a result, in bytes.
pub const MAX_NAME_BYTES: usize = 200;
const DAY_MS: i64 = 24 * 3_600_000;
/// How long past its expiry, by the signer's own clock, a transaction may be called dead.
pub const DEATH_WAIT_MS: i64 = 10 * 60_000;
/// How far ahead of the signer's clock the chain's may be.
const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// What is dead or failed does not count to the cap, but all that was signed in 24 h is never more than this many times the cap: who
/// lies about deaths gains no more than once again.
const EXPOSURE: u64 = 2;

/// What was signed, and why the payout's earlier transaction was out of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub signed: Signed,
    pub resolved: Option<Resolution>,
}

/// What is remembered of all that was signed. Each payout takes a fixed number of bytes; the rest is read from the log again.
#[derive(Debug)]
pub struct Memory {
    /// By the first half of a hash of the id.
    payouts: HashMap<[u8; 16], Latest>,
    /// What was signed in the last 24 h, oldest first.
    window: VecDeque<Spent>,
    /// Lowest and highest of all.
    first_timestamp_ms: i64,
    last_timestamp_ms: i64,
    /// Highest time of the signer's clock at which something was signed: the window never moves back.
    latest_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    /// Where in the log.
    place: u64,
    transactions: usize,
}

#[derive(Debug)]
struct Spent {
    at_ms: i64,
    payout: [u8; 16],
    amount: u64,
    resolved: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            payouts: HashMap::new(),
            window: VecDeque::new(),
            first_timestamp_ms: i64::MAX,
            last_timestamp_ms: i64::MIN,
            latest_ms: i64::MIN,
        }
    }
}

/// What to do with a request that is not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same was asked and signed before: the same answer.
    Again,
    /// Sign this, and write down that the earlier transaction was resolved so.
    Sign(TransferTransaction, Option<Resolution>),
}

impl Memory {
    pub fn payouts(&self) -> usize {
        self.payouts.len()
    }

    /// `i64::MIN` before the first.
    pub fn last_timestamp_ms(&self) -> i64 {
        self.last_timestamp_ms
    }

    /// `i64::MAX` before the first.
    pub fn first_timestamp_ms(&self) -> i64 {
        self.first_timestamp_ms
    }

    /// Where the newest transaction of a payout stands in the log.
    pub fn place(&self, payout: &PayoutId) -> Option<u64> {
        self.payouts.get(&short(payout)).map(|latest| latest.place)
    }

    /// Signed in the 24 h before `now_ms` and not resolved.
    pub fn spent(&self, now_ms: i64) -> u64 {
        self.sum(now_ms, |spent| !spent.resolved)
    }

    /// Takes up a record that is in the log at `place`.
    pub fn apply(&mut self, record: &Record, place: u64) {
        let Record { signed, resolved } = record;
        let payout = short(&signed.payout_id);
        if resolved.is_some() {
            // Only the newest transaction of a payout can be unresolved.
            for spent in self.window.iter_mut().filter(|spent| spent.payout == payout) {
                spent.resolved = true;
            }
        }
        let latest = self.payouts.entry(payout).or_insert(Latest { place, transactions: 0 });
        *latest = Latest { place, transactions: latest.transactions + 1 };
        self.first_timestamp_ms = self.first_timestamp_ms.min(signed.transfer.timestamp_ms);
        self.last_timestamp_ms = self.last_timestamp_ms.max(signed.transfer.timestamp_ms);
        self.latest_ms = self.latest_ms.max(signed.signed_at_ms);
        let since = self.latest_ms.saturating_sub(DAY_MS);
        while self.window.front().is_some_and(|spent| spent.at_ms <= since) {
            self.window.pop_front();
        }
        // Stamped with the highest time, so that a clock that fell back makes nothing forgotten early.
        self.window.push_back(Spent { at_ms: self.latest_ms, payout, amount: signed.transfer.amount, resolved: false });
    }

    /// `earlier` is the newest transaction of this payout, from the log at `place`. `unlocked` says whether there is a key to sign with.
    pub fn judge(
        &self,
        wallet: &Wallet,
        caps: &Caps,
        request: &SignRequest,
        earlier: Option<&Signed>,
        unlocked: bool,
        now_ms: i64,
    ) -> Result<Verdict, Refused> {
        let transfer = described(wallet, request);
        let resolved = match earlier {
            None => None,
            Some(earlier) if is_same(earlier, request, &transfer) => return Ok(Verdict::Again),
            Some(earlier) => Some(resolve(earlier, request, now_ms).map_err(|refused| refused.with(earlier))?),
        };
        if earlier.is_none() && request.attempt == 0 {
            return Err(Refusal::AttemptNotIncreasing.because("attempts count from 1"));
        }
        if !unlocked {
            return Err(Refusal::Locked.because("the wallet is locked"));
        }
        check_fields(wallet, caps, request, now_ms)?;
        // Two managers on one wallet owe the same money: what the other one was signed may have paid what this one asks for.
        if self.last_timestamp_ms > request.known_ms {
            let message =
                format!("it was signed at {}, and everything is known through {} alone", self.last_timestamp_ms, request.known_ms);
            return Err(Refusal::Unaccounted.because(message));
        }
        if request.timestamp_ms <= self.last_timestamp_ms {
            let message = format!("the timestamp must be above {}", self.last_timestamp_ms);
            return Err(Refusal::TimestampNotIncreasing.because(message));
        }
        let known = self.payouts.get(&short(&request.payout_id));
        if known.is_some_and(|latest| latest.transactions >= MOST_ATTEMPTS) {
            return Err(Refusal::TooManyAttempts.because(format!("a payout has at most {MOST_ATTEMPTS} transactions")));
        }
        if known.is_none() && self.payouts.len() >= MAX_PAYOUTS {
            return Err(Refusal::LogFull.because(format!("the log holds {MAX_PAYOUTS} payouts; a new wallet starts a new one")));
        }
        self.check_24h(caps, request, now_ms)?;
        Ok(Verdict::Sign(transfer, resolved))
    }

    fn check_24h(&self, caps: &Caps, request: &SignRequest, now_ms: i64) -> Result<(), Refused> {
        // An earlier transaction of the same payout is resolved by this request, so it does not count.
        let payout = short(&request.payout_id);
        let live = self.sum(now_ms, |spent| !spent.resolved && spent.payout != payout);
        let all = self.sum(now_ms, |_| true);
        let beyond = |sum: u64, cap: u64| sum.checked_add(request.amount).is_none_or(|sum| sum > cap);
        if beyond(live, caps.max_24h) {
            return Err(Refusal::Cap24h.because(format!("{live} of {} are spent in 24 h", caps.max_24h)));
        }
        if beyond(all, caps.max_24h.saturating_mul(EXPOSURE)) {
            return Err(Refusal::Cap24h
                .because(format!("{all} were signed in 24 h, dead and failed ones counted: {EXPOSURE} times the cap at most")));
        }
        Ok(())
    }

    fn sum(&self, now_ms: i64, counts: impl Fn(&Spent) -> bool) -> u64 {
        // Nothing in the window is older than a day before `latest_ms`, so a clock behind that counts all of it.
        let since = now_ms.saturating_sub(DAY_MS);
        self.window.iter().filter(|spent| spent.at_ms > since && counts(spent)).fold(0, |sum, spent| sum.saturating_add(spent.amount))
    }
}

fn short(payout: &PayoutId) -> [u8; 16] {
    let hash = crypto::sha256(payout.as_str().as_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// The transfer that `request` describes, for this wallet.
pub fn described(wallet: &Wallet, request: &SignRequest) -> TransferTransaction {
    TransferTransaction {
        owner: wallet.account,
        contract: request.contract,
        to: request.to,
        amount: request.amount,
        reference: request.reference,
        expires_at_ms: request.expires_at_ms,
        timestamp_ms: request.timestamp_ms,
        fee_limit_sun: request.fee_limit_sun,
        permission_id: wallet.permission_id,
    }
}

fn is_same(earlier: &Signed, request: &SignRequest, transfer: &TransferTransaction) -> bool {
    earlier.attempt == request.attempt && earlier.reference_number == request.reference_number && earlier.transfer == *transfer
}

/// Why `earlier` is out of the way, if the request says so and it can be true.
fn resolve(earlier: &Signed, request: &SignRequest, now_ms: i64) -> Result<Resolution, Refused> {
    if request.previous.len() > MOST_ATTEMPTS {
        return Err(Refusal::ResolutionInconsistent.because(format!("a payout has at most {MOST_ATTEMPTS} earlier transactions")));
    }
    let mut said = request.previous.iter().filter(|resolution| resolution.txid() == earlier.txid);
    let Some(resolution) = said.next() else {
        let message = format!("{} of attempt {} may still land", earlier.txid, earlier.attempt);
        return Err(Refusal::AlreadySigned.because(message));
    };
    let why = match resolution {
        _ if said.next().is_some() => Some("one transaction has two resolutions"),
        Resolution::Dead { .. } => why_not_dead(earlier, resolution, now_ms),
        Resolution::FailedOnChain { block, result, .. } => {
            if *block <= earlier.reference_number {
                Some("it cannot be in a block before its reference")
            } else if !is_name(result) || result.eq_ignore_ascii_case("success") {
                Some("the result is no failure")
            } else {
                None
            }
        }
    };
    if let Some(why) = why {
        return Err(Refusal::ResolutionInconsistent.because(why));
    }
    if request.attempt <= earlier.attempt {
        return Err(Refusal::AttemptNotIncreasing.because(format!("attempt {} was signed", earlier.attempt)));
    }
    Ok(resolution.clone())
}

fn why_not_dead(earlier: &Signed, resolution: &Resolution, now_ms: i64) -> Option<&'static str> {
    let Resolution::Dead { solid_block, solid_timestamp_ms, scanned_from, scanned_to, witnesses, .. } = resolution else { return None };
    let expires_at_ms = earlier.transfer.expires_at_ms;
    if *solid_timestamp_ms < expires_at_ms {
        Some("the final block is older than the transaction's expiry")
    } else if *solid_timestamp_ms > now_ms.saturating_add(CLOCK_TOLERANCE_MS) {
        Some("the final block is later than the signer's own clock")
    } else if now_ms < expires_at_ms.saturating_add(DEATH_WAIT_MS) {
        Some("by the signer's own clock it is less than ten minutes past the expiry")
    } else if *solid_block <= earlier.reference_number {
        Some("the final block is not after the transaction's reference")
    } else if *scanned_from > earlier.reference_number || *scanned_to < *solid_block {
        Some("the scan does not reach from the transaction's reference to the final block")
    } else if witnesses.len() < MIN_WITNESSES || witnesses.len() > MAX_WITNESSES {
        Some("too few or too many witnesses")
    } else if witnesses.iter().enumerate().any(|(at, name)| !is_name(name) || witnesses[..at].contains(name)) {
        Some("a witness has no name that can be written down, or another one's")
    } else {
        None
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.trim().is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// What must hold for every transfer, whatever was signed before.
fn check_fields(wallet: &Wallet, caps: &Caps, request: &SignRequest, now_ms: i64) -> Result<(), Refused> {
    let refuse = |name: Refusal, message: String| Err(name.because(message));
    let far = |ms: i64| ms > now_ms.saturating_add(DAY_MS) || ms < now_ms.saturating_sub(DAY_MS);
    if request.amount == 0 {
        return refuse(Refusal::AmountZero, "nothing to pay".into());
    }
    if request.amount > caps.max_payout {
        return refuse(Refusal::CapPerPayout, format!("at most {} for one payout", caps.max_payout));
    }
    if request.fee_limit_sun > caps.max_fee_sun {
        return refuse(Refusal::CapFee, format!("at most {} sun of fees", caps.max_fee_sun));
    }
    if !caps.contracts.contains(&request.contract) {
        return refuse(Refusal::ContractNotAllowed, format!("{} is no token of this wallet", request.contract));
    }
    if caps.contracts.contains(&request.to) {
        return refuse(Refusal::TokenAddress, AddressError::TokenContract.to_string());
    }
    let payable = PayoutAddress::parse(&request.to.to_string(), Currency::Usdt)
        .and_then(|to| to.check_payable(&[wallet.account, wallet.key], &request.contract.to_string()));
    if let Err(error) = payable {
        let name = match error {
            AddressError::OwnWallet => Refusal::OwnWallet,
            AddressError::TokenContract => Refusal::TokenAddress,
            _ => Refusal::ZeroAddress,
        };
        return refuse(name, error.to_string());
    }
    if far(request.expires_at_ms) {
        return refuse(Refusal::ExpiresTooLate, "it expires more than 24 h from the signer's own time".into());
    }
    if far(request.timestamp_ms) {
        return refuse(Refusal::TimestampOutOfRange, "its timestamp is more than 24 h from the signer's own time".into());
    }
    if !request.reference.is_of_number(request.reference_number) {
        return refuse(Refusal::ReferenceInconsistent, "the reference is no block of that number".into());
    }
    Ok(())
}

impl Refused {
    fn with(self, existing: &Signed) -> Refused {
        Refused { existing: Some(Box::new(existing.clone())), ..self }
    }
}
