//! A gateway without a chain: a wallet, blocks that the test makes, and a fate for each address. What it really paid is counted here, and not by the manager.

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::sync::Mutex;

use lucid::crypto;
use lucid::domain::address::TronAddress;
use lucid::domain::ledger::Settlement;
use lucid::domain::money::{Currency, Units};
use lucid::domain::payout::{Attempt, Death, DeathProof, Landed, Payout, Pin, Prepared, ReviewKind};
use lucid::domain::time::Timestamp;
use lucid::domain::wallet::{BlockAt, Outgoing, OutgoingPage, WalletReading};
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer, Unavailable};

pub const WALLET: &str = "TSBJwRsyWccxj5tcS8tHGqAm79xQMLjA79";
const EXPIRES_AFTER_SECONDS: i64 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pays,
    /// Sent, and never in a block; proven dead after its expiry.
    Lost,
    /// Sent, and nobody can tell.
    Ambiguous,
    /// As `Ambiguous`, and says something else each time.
    Babbles,
    FailsOnChain,
    /// The simulation says that it would fail.
    WouldFail,
}

/// A question to the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Verify,
    Lookup,
}

/// What happens, once, while the bank is asked and before it is answered.
#[derive(Default)]
struct Meanwhile(Mutex<Option<(Asked, Boxed<'static, ()>)>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Debug)]
struct Inner {
    balance: i64,
    block: u64,
    transfers: Vec<Outgoing>,
    /// Whose transfers the manager did not plan is listed all the same.
    hidden: Vec<Outgoing>,
    /// Sent, and in no block so far.
    lost: Vec<Outgoing>,
    /// What it says of its balance, and of which block, whatever came after.
    said: Option<(i64, u64)>,
    fates: BTreeMap<String, Fate>,
    offline: bool,
    sent: u32,
    asked: u32,
}

#[derive(Debug)]
pub struct Bank {
    settlement: Settlement,
    wallet: &'static str,
    network: &'static str,
    inner: Mutex<Inner>,
    meanwhile: Meanwhile,
}

impl Bank {
    pub fn new(settlement: Settlement, balance: i64) -> Bank {
        Bank::of(WALLET, settlement, balance)
    }

    pub fn of(wallet: &'static str, settlement: Settlement, balance: i64) -> Bank {
        let inner = Inner {
            balance,
            block: 100,
            transfers: Vec::new(),
            hidden: Vec::new(),
            lost: Vec::new(),
            said: None,
            fates: BTreeMap::new(),
            offline: false,
            sent: 0,
            asked: 0,
        };
        Bank { settlement, wallet, network: "bank", inner: Mutex::new(inner), meanwhile: Meanwhile::default() }
    }

    /// The same wallet on another network.
    pub fn over(self, network: &'static str) -> Bank {
        Bank { network, ..self }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn fate(&self, address: &str, fate: Fate) {
        self.inner().fates.insert(address.to_owned(), fate);
    }

    pub fn offline(&self, offline: bool) {
        self.inner().offline = offline;
    }

    /// The next time that it is asked this, that happens before whoever asks gets the answer.
    pub fn meanwhile(&self, asked: Asked, happens: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.0.lock().unwrap() = Some((asked, Box::pin(happens)));
    }

    /// Whether that has not happened yet.
    pub fn is_to_happen(&self) -> bool {
        self.meanwhile.0.lock().unwrap().is_some()
    }

    async fn answer<T>(&self, asked: Asked, answer: T) -> T {
        let happens = self.meanwhile.0.lock().unwrap().take_if(|(when, _)| *when == asked);
        if let Some((_, happens)) = happens {
            happens.await;
        }
        answer
    }

    /// Somebody else spends from the wallet; `listed`: the network tells when it is asked.
    pub fn spend(&self, to: &str, amount: i64, listed: bool) -> String {
        let mut inner = self.inner();
        inner.block += 1;
        inner.balance -= amount;
        let txid = crypto::hex(&crypto::sha256(format!("somebody else {}", inner.block).as_bytes()));
        let transfer = Outgoing {
            txid: txid.clone(),
            to: to.to_owned(),
            amount: Units(amount),
            block: inner.block,
            at: Timestamp(i64::try_from(inner.block).unwrap()),
        };
        if listed {
            inner.transfers.push(transfer)
        } else {
            inner.hidden.push(transfer)
        }
        txid
    }

    /// Its balance, and after which block.
    pub fn balance(&self) -> (i64, u64) {
        let inner = self.inner();
        (inner.balance, inner.block)
    }

    /// Says that this is its balance, as the slowest of several machines behind one name would; None: it is up to date again.
    pub fn says_balance(&self, said: Option<(i64, u64)>) {
        self.inner().said = said;
    }

    /// The first transfer to this address that was lost gets into a block, whoever has proven what. Its transaction.
    pub fn lands_after_all(&self, address: &str) -> String {
        let mut inner = self.inner();
        let at = inner.lost.iter().position(|transfer| transfer.to == address).unwrap();
        let lost = inner.lost.remove(at);
        inner.include(lost.clone());
        lost.txid
    }

    /// What it paid to an address, ever.
    pub fn paid(&self, address: &str) -> Vec<i64> {
        let inner = self.inner();
        inner.transfers.iter().filter(|transfer| transfer.to == address).map(|transfer| transfer.amount.0).collect()
    }

    /// How often bytes arrived.
    pub fn sent(&self) -> u32 {
        self.inner().sent
    }

    fn look(&self, payout: &Payout, now: Timestamp) -> Lookup {
        let mut inner = self.inner();
        let Some(attempt) = payout.attempts.last() else { return Lookup::NotSeen };
        if inner.offline {
            return Lookup::Unknown("offline".into());
        }
        let txid = attempt.prepared.txid.clone().unwrap();
        if inner.transfers.iter().any(|transfer| transfer.txid == txid) {
            return Lookup::Paid(Landed { txid: Some(txid), fee_sun: 13_000_000 });
        }
        let fate = inner.fates.get(payout.address.as_str()).copied().unwrap_or(Fate::Pays);
        let expired = attempt.prepared.expires_at.is_some_and(|at| now.since(at) > EXPIRES_AFTER_SECONDS * 1_000);
        match fate {
            Fate::FailsOnChain if attempt.sent_at.is_some() => {
                Lookup::FailedOnChain { reason: "REVERT".into(), landed: Landed { txid: Some(txid), fee_sun: 5_000_000 } }
            }
            Fate::Ambiguous if attempt.sent_at.is_some() => {
                Lookup::Person { kind: ReviewKind::Ambiguous, reason: "nobody can tell".into(), evidence: vec!["no answer".into()] }
            }
            Fate::Babbles if attempt.sent_at.is_some() => {
                inner.asked += 1;
                let evidence = vec![format!("answer {}", inner.asked)];
                Lookup::Person { kind: ReviewKind::Ambiguous, reason: "nobody can tell".into(), evidence }
            }
            _ if expired => {
                let block = inner.block;
                let proof =
                    DeathProof { solid_block: block, solid_at: now, scanned_from: 1, scanned_to: block, witnesses: vec!["w".into()] };
                Lookup::Dead(Death::Expired(proof))
            }
            _ => Lookup::NotSeen,
        }
    }

    fn send_now(&self, attempt: &Attempt) -> SendOutcome {
        let mut inner = self.inner();
        if inner.offline {
            return SendOutcome::Unknown("offline".into());
        }
        inner.sent += 1;
        let text = String::from_utf8(attempt.prepared.bytes.clone()).unwrap();
        let (to, amount) = text.split_once(' ').unwrap();
        let txid = attempt.prepared.txid.clone().unwrap();
        let pays = matches!(inner.fates.get(to), None | Some(Fate::Pays));
        // The same bytes land once.
        if inner.transfers.iter().any(|transfer| transfer.txid == txid) {
            return SendOutcome::Accepted;
        }
        inner.lost.retain(|transfer| transfer.txid != txid);
        let transfer = Outgoing { txid, to: to.to_owned(), amount: Units(amount.parse().unwrap()), block: 0, at: Timestamp(0) };
        if pays {
            inner.include(transfer)
        } else {
            inner.lost.push(transfer)
        }
        SendOutcome::Accepted
    }
}

impl Inner {
    fn include(&mut self, transfer: Outgoing) {
        self.block += 1;
        self.balance -= transfer.amount.0;
        self.transfers.push(Outgoing { block: self.block, at: Timestamp(i64::try_from(self.block).unwrap()), ..transfer });
    }
}

impl PaymentGateway for Bank {
    fn pin(&self) -> Pin {
        Pin { gateway: "bank".into(), network: self.network.into(), wallet: self.wallet.into(), contract: "token".into() }
    }

    fn settlement(&self) -> Settlement {
        self.settlement
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt
    }

    fn own_wallets(&self) -> Vec<TronAddress> {
        vec![TronAddress::parse(self.wallet).unwrap()]
    }

    fn has_wallet(&self) -> bool {
        true
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        let one = |transfer: &Transfer| {
            let inner = self.inner();
            if inner.offline {
                return Err(NotPrepared::Later("offline".into()));
            }
            if inner.fates.get(transfer.address.as_str()) == Some(&Fate::WouldFail) {
                let reason = "the token contract would refuse it".into();
                return Err(NotPrepared::Person { kind: ReviewKind::WouldFail, reason, evidence: vec!["REVERT".into()] });
            }
            let bytes = format!("{} {}", transfer.address, transfer.amount.units.0).into_bytes();
            let timestamp_ms = (transfer.after_timestamp_ms + 1).max(transfer.now.0);
            let id = format!("{}/{}/{timestamp_ms}", transfer.payout, transfer.attempt);
            Ok(Prepared {
                pin: self.pin(),
                urls: vec!["bank".into()],
                bytes,
                txid: Some(crypto::hex(&crypto::sha256(id.as_bytes()))),
                expires_at: Some(transfer.now.plus_seconds(EXPIRES_AFTER_SECONDS)),
                reference_block: inner.block,
                fee_limit_sun: 15_000_000,
                timestamp_ms,
            })
        };
        Box::pin(ready(transfers.iter().map(one).collect()))
    }

    fn send<'a>(&'a self, attempt: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(ready(self.send_now(attempt)))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(self.answer(Asked::Lookup, payouts.iter().map(|payout| self.look(payout, now)).collect()))
    }

    fn verify<'a>(&'a self, payout: &'a Payout, txid: &'a str) -> Boxed<'a, Lookup> {
        let inner = self.inner();
        if inner.offline {
            return Box::pin(ready(Lookup::Unknown("offline".into())));
        }
        let fits = |transfer: &&Outgoing| transfer.to == payout.address.as_str() && transfer.amount == payout.amount;
        let found = inner.transfers.iter().find(|transfer| transfer.txid == txid);
        let answer = match found {
            Some(transfer) if fits(&transfer) => Lookup::Paid(Landed { txid: Some(txid.to_owned()), fee_sun: 1 }),
            Some(_) => Lookup::Person { kind: ReviewKind::Conflict, reason: "it paid somebody else".into(), evidence: Vec::new() },
            None => Lookup::Person { kind: ReviewKind::Conflict, reason: "there is no such transaction".into(), evidence: Vec::new() },
        };
        Box::pin(self.answer(Asked::Verify, answer))
    }

    fn wallet(&self) -> Boxed<'_, Result<Option<WalletReading>, Unavailable>> {
        let inner = self.inner();
        if inner.offline {
            return Box::pin(ready(Err(Unavailable("offline".into()))));
        }
        let at = Timestamp(i64::try_from(inner.block).unwrap());
        Box::pin(ready(Ok(Some(WalletReading {
            address: self.wallet.into(),
            network: self.network.into(),
            contract: "token".into(),
            balance: Units(inner.balance),
            trx_sun: 100_000_000_000,
            energy_free: 0,
            bandwidth_free: 0,
            energy_price_sun: 100,
            bandwidth_price_sun: 1_000,
            energy_known: 65_142,
            energy_new: 130_285,
            solid_block: inner.block,
            solid_at: at,
            head_at: at,
        }))))
    }

    fn block_before(&self, at: Timestamp) -> Boxed<'_, Result<BlockAt, Unavailable>> {
        let block = self.inner().block;
        Box::pin(ready(Ok(BlockAt { number: block, at })))
    }

    fn outgoing(&self, after_block: u64) -> Boxed<'_, Result<OutgoingPage, Unavailable>> {
        let inner = self.inner();
        if inner.offline {
            return Box::pin(ready(Err(Unavailable("offline".into()))));
        }
        let transfers = inner.transfers.iter().filter(|transfer| transfer.block > after_block).cloned().collect();
        let (balance, balance_block) = inner.said.unwrap_or((inner.balance, inner.block));
        Box::pin(ready(Ok(OutgoingPage {
            transfers,
            through_block: inner.block,
            // A bank knows everything at once, and has no clock.
            through_at: Timestamp(9_999_999_999_999),
            is_last: true,
            balance: Units(balance),
            balance_block,
        })))
    }
}
