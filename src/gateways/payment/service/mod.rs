//! The external payment service: a stranger that is asked to pay, over HTTP, in a dialect that is configuration.
//!
//! It may lose its answer, its memory, or pay twice for one request, and nothing on its side says when a request can not be taken any more. So: what
//! was asked is never asked again, unless the service declared that one key pays once and still remembers the key; it is looked for instead; and what is
//! neither found nor refused waits for a person. "Not found" proves nothing.
//!
//! Must not know how payouts are stored, and must not keep what decides about money: only how the service behaved lately is in memory.

mod breaker;
mod chain;
mod dialect;
mod judge;
mod outgoing;
mod transport;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer, Unavailable};
use crate::domain::address::TronAddress;
use crate::domain::ledger::Settlement;
use crate::domain::money::Currency;
use crate::domain::payout::{Attempt, AttemptState, Landed, Payout, Pin, Prepared, ReviewKind};
use crate::domain::time::{Now, Timestamp};

pub use breaker::{Health, HealthState};
pub use dialect::{AmountAs, Dialect};
pub use transport::{Answered, Http, Method, NoAnswer, Request, Transport};

use breaker::{Breaker, Pace};
use dialect::Said;
use judge::{Expected, Verdict};
use outgoing::Outgoing;

pub const NAME: &str = "payment_service";
/// Stands where a chain has its token contract.
const CONTRACT: &str = "service";
/// A service that answered so lately is there.
const FRESH_MS: i64 = 60_000;
/// Before the service forgets a key, it is not used any more: clocks differ, and requests take their time.
const KEY_MARGIN_MS: i64 = 600_000;
/// The service may find a payout later than it took it.
const FOUND_WITHIN_MS: i64 = 120_000;
/// What is under way for so long needs a person.
const PENDING_FOR_MS: i64 = 24 * 3_600_000;
/// What asks whether the service is there; no payout is called so.
const PROBE: &str = "lucid-is-the-service-there";

/// Reads the clock; only what is not about money is judged by it.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

#[derive(Debug, Clone)]
pub struct Options {
    /// Base URL.
    pub url: String,
    pub path: String,
    /// Has `{id}` in it.
    pub lookup_path: String,
    /// Has `{key}` in it. None: the service cannot be asked so.
    pub lookup_by_key_path: Option<String>,
    /// Hours for which one key pays once. None: it promises nothing.
    pub idempotent_hours: Option<u32>,
    pub requests_per_minute: u32,
    pub dialect: Dialect,
    pub pays_lucid: bool,
    pub settlement: Settlement,
    /// The chain that it pays over, by the id of its first block, where that is known.
    pub chain: Option<String>,
    /// The service's wallet, or a name for it.
    pub wallet: String,
}

pub struct Service {
    options: Options,
    transport: Arc<dyn Transport>,
    /// Looks at the chain for what the service says that it paid. None: the service is believed.
    checker: Option<Arc<dyn PaymentGateway>>,
    clock: Clock,
    behaviour: Mutex<Behaviour>,
}

/// How it went lately.
struct Behaviour {
    breaker: Breaker,
    pace: Pace,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.options.url)
    }
}

/// What the service has of a payout.
enum Found {
    One(Said),
    Several(usize),
    Nothing,
    /// There is no way to ask.
    NoWay,
    /// It could not be asked.
    Failed(String),
    /// An answer that makes no sense.
    Strange(String),
}

/// Why a request brought no answer.
enum Silence {
    /// Nothing has left this machine.
    NotSent(String),
    Unknown(String),
}

impl Silence {
    fn why(self) -> String {
        match self {
            Silence::NotSent(why) | Silence::Unknown(why) => why,
        }
    }
}

impl Service {
    /// `checker`: a gateway of the chain on which the service pays, made for the service's wallet. Err: a word of the status means two things.
    pub fn new(
        options: Options,
        transport: Arc<dyn Transport>,
        checker: Option<Arc<dyn PaymentGateway>>,
        clock: Clock,
    ) -> Result<Service, String> {
        options.dialect.check()?;
        let options = Options { url: options.url.trim_end_matches('/').to_owned(), ..options };
        // One lost answer is enough where each of them needs a person.
        let lost = if options.idempotent_hours.is_some() { breaker::FAILURES } else { 1 };
        let behaviour = Mutex::new(Behaviour { breaker: Breaker::new(lost), pace: Pace::per_minute(options.requests_per_minute) });
        Ok(Service { options, transport, checker, clock, behaviour })
    }

    /// How the service behaved lately, for people.
    pub fn health(&self) -> Health {
        self.behaviour().breaker.health((self.clock)())
    }

    /// Whoever panicked left a state of which each is a valid one.
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, method: Method, path: &str, key: Option<&str>, body: Option<&str>) -> Result<Answered, Silence> {
        let now = (self.clock)();
        let wait_ms = {
            let mut behaviour = self.behaviour();
            behaviour.breaker.allow(now).map_err(Silence::NotSent)?;
            behaviour.pace.take(now)
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let url = format!("{}{path}", self.options.url);
        let answer = self.transport.call(Request { method, url: &url, key, body }).await;
        let now = (self.clock)();
        let breaker = &mut self.behaviour().breaker;
        match answer {
            Ok(answered) => {
                breaker.answered(method, &answered, now);
                Ok(answered)
            }
            Err(NoAnswer { was_sent, why }) => {
                breaker.silent(method, was_sent, &why, now);
                Err(if was_sent { Silence::Unknown(why) } else { Silence::NotSent(why) })
            }
        }
    }

    async fn by_reference(&self, reference: &str) -> Found {
        self.find(&self.options.lookup_path.replace("{id}", &outgoing::in_path(reference))).await
    }

    async fn by_key(&self, key: &str) -> Found {
        let Some(path) = &self.options.lookup_by_key_path else { return Found::NoWay };
        self.find(&path.replace("{key}", &outgoing::in_path(key))).await
    }

    async fn find(&self, path: &str) -> Found {
        let answered = match self.ask(Method::Get, path, None, None).await {
            Ok(answered) => answered,
            Err(silence) => return Found::Failed(silence.why()),
        };
        match answered.status {
            200..=299 => match self.options.dialect.read_all(&answered.body) {
                None => Found::Strange(format!("the answer is no JSON: {}", answered.said())),
                Some(mut all) => match (all.pop(), all.len()) {
                    (Some(one), 0) => Found::One(one),
                    (Some(_), others) => Found::Several(others + 1),
                    (None, _) => Found::Nothing,
                },
            },
            404 | 410 => Found::Nothing,
            status => Found::Failed(format!("{status} {}", answered.said())),
        }
    }

    /// The service still knows the key, and promised that it pays once.
    fn may_repeat(&self, attempt: &Attempt, now: Timestamp) -> bool {
        let (Some(hours), Some(sent_at)) = (self.options.idempotent_hours, attempt.sent_at) else { return false };
        // A name that it gave once and does not know now means that it lost its memory, its keys with it.
        let age = now.since(sent_at);
        attempt.reference.is_none() && age >= 0 && age < i64::from(hours) * 3_600_000 - KEY_MARGIN_MS
    }

    async fn prepare_one(&self, transfer: &Transfer) -> Result<Prepared, NotPrepared> {
        if !self.pays(transfer.amount.currency) {
            return Err(NotPrepared::Later(format!("the service does not pay {}", transfer.amount.currency)));
        }
        self.require_unpaid(transfer).await?;
        Ok(Prepared {
            pin: self.pin(),
            urls: vec![self.options.url.clone()],
            bytes: Outgoing::new(&self.options.path, &self.options.dialect, transfer).to_bytes(),
            txid: None,
            expires_at: None,
            reference_block: 0,
            fee_limit_sun: 0,
            timestamp_ms: 0,
        })
    }

    /// Two admins may err: what they stated is held against what the service says now.
    async fn require_unpaid(&self, transfer: &Transfer) -> Result<(), NotPrepared> {
        let expected = Expected { amount: transfer.amount, address: &transfer.address };
        for attempt in transfer.previous.iter().filter(|attempt| attempt.prepared.pin == self.pin()) {
            let key = Outgoing::read(&attempt.prepared.bytes).map(|outgoing| outgoing.key);
            let found = match (&attempt.reference, key) {
                (Some(reference), _) => self.by_reference(reference).await,
                (None, Some(key)) => self.by_key(&key).await,
                (None, None) => Found::NoWay,
            };
            let says = match found {
                Found::Nothing | Found::NoWay => continue,
                Found::Failed(why) => return Err(NotPrepared::Later(why)),
                Found::Strange(why) => why,
                Found::Several(times) => format!("it has it {times} times"),
                Found::One(said) => match judge::judge(&self.options.dialect, &said, &expected, attempt.reference.as_deref()) {
                    Verdict::Failed { txid: None, .. } => continue,
                    _ => said.to_string(),
                },
            };
            let reason = format!("the service has not given up attempt {}", attempt.number);
            return Err(NotPrepared::Person { kind: ReviewKind::Conflict, reason, evidence: vec![says] });
        }
        Ok(())
    }

    async fn post(&self, attempt: &Attempt, sending: Sending) -> SendOutcome {
        let Some(outgoing) = Outgoing::read(&attempt.prepared.bytes) else {
            return SendOutcome::Refused("the bytes of the attempt are not a request to the service".into());
        };
        if attempt.reference.is_some() {
            return SendOutcome::Accepted;
        }
        if sending == Sending::Again && !self.may_repeat(attempt, (self.clock)().wall) {
            return SendOutcome::Refused("the service may have taken it, and could pay it twice".into());
        }
        // Also before the first: this store may be an older copy of one that has sent it.
        match self.by_key(&outgoing.key).await {
            Found::Nothing | Found::NoWay => (),
            Found::Failed(why) => return SendOutcome::NotSent(why),
            Found::Strange(why) => return SendOutcome::NotSent(why),
            Found::One(said) => return said.id.map_or(SendOutcome::Accepted, SendOutcome::AcceptedAs),
            Found::Several(times) => return several(times),
        }
        match self.ask(Method::Post, &outgoing.path, Some(&outgoing.key), Some(&outgoing.body)).await {
            Ok(answered) => self.told(&outgoing, &answered, sending),
            Err(Silence::NotSent(why)) => SendOutcome::NotSent(why),
            Err(Silence::Unknown(why)) => SendOutcome::Unknown(why),
        }
    }

    /// What the answer to a request says by itself.
    fn told(&self, outgoing: &Outgoing, answered: &Answered, sending: Sending) -> SendOutcome {
        let said = self.options.dialect.read(&answered.body);
        let id = said.as_ref().and_then(|said| said.id.clone());
        let text = format!("{} {}", answered.status, answered.said());
        match (answered.status, said, id) {
            (200..=299, Some(said), id) => match judge::echo(&said, &outgoing.expected()) {
                Some(wrong) => {
                    let reason = "the service answered with another payout than it was asked for".into();
                    SendOutcome::Doubtful { reference: id, kind: ReviewKind::Conflict, reason, evidence: vec![wrong] }
                }
                None => match id {
                    Some(id) => SendOutcome::AcceptedAs(id),
                    None if self.options.lookup_by_key_path.is_some() => SendOutcome::Accepted,
                    None => SendOutcome::Unknown(format!("the answer names no payout: {text}")),
                },
            },
            // A refusal of its form or of what it says: nothing was taken, if nothing was asked before.
            (400 | 422, Some(said), None) if sending == Sending::First => SendOutcome::Rejected(said.reason.unwrap_or(text)),
            // It is there already; the lookup will tell how far it is.
            (409, _, Some(id)) => SendOutcome::AcceptedAs(id),
            _ => SendOutcome::Unknown(text),
        }
    }

    async fn look(&self, payout: &Payout, now: Timestamp) -> Lookup {
        let Some(attempt) = payout.live_attempt().filter(|attempt| attempt.state != AttemptState::Signed) else { return Lookup::NotSeen };
        let Some(outgoing) = Outgoing::read(&attempt.prepared.bytes) else {
            return ambiguous("what was sent cannot be read", "the bytes of the attempt are not a request to the service".into());
        };
        let found = match &attempt.reference {
            Some(reference) => self.by_reference(reference).await,
            None => self.by_key(&outgoing.key).await,
        };
        let since_sent = attempt.sent_at.map_or(i64::MAX, |at| now.since(at));
        match found {
            Found::Failed(why) => Lookup::Unknown(why),
            Found::Strange(why) => ambiguous("nobody can tell from the service's answer whether it paid", why),
            Found::Several(times) => {
                conflict("the service has it more than once", format!("{times} payouts with the key {}", outgoing.key))
            }
            Found::One(said) => self.judged(payout, &said, since_sent).await,
            Found::Nothing | Found::NoWay if self.may_repeat(attempt, now) => Lookup::NotSeen,
            Found::Nothing if attempt.reference.is_none() && (0..FOUND_WITHIN_MS).contains(&since_sent) => {
                Lookup::Unknown("the service does not know it yet".into())
            }
            Found::Nothing | Found::NoWay => {
                let evidence = match &attempt.reference {
                    Some(reference) => format!("the service named it {reference} and does not know it any more"),
                    None => format!("no answer to the request with the key {}", outgoing.key),
                };
                ambiguous("whether the service took it is not known, and asking again could pay twice", evidence)
            }
        }
    }

    async fn judged(&self, payout: &Payout, said: &Said, since_sent: i64) -> Lookup {
        let reference = payout.live_attempt().and_then(|attempt| attempt.reference.as_deref());
        match judge::judge(&self.options.dialect, said, &expected(payout), reference) {
            Verdict::Pending if since_sent >= PENDING_FOR_MS => {
                ambiguous("the service has had it under way for a day", format!("status {}", said.status.as_deref().unwrap_or("unknown")))
            }
            Verdict::Pending => Lookup::Pending { reference: said.id.clone() },
            Verdict::Paid { txid } => self.on_chain(payout, txid, since_sent).await,
            Verdict::Failed { reason, txid: None } => Lookup::FailedOnChain { reason, landed: Landed { txid: None, fee_sun: 0 } },
            Verdict::Failed { reason, txid: Some(txid) } => self.failed_with(payout, reason, &txid).await,
            Verdict::Doubt { kind, reason, evidence } => Lookup::Person { kind, reason, evidence: vec![evidence] },
        }
    }
}

fn expected(payout: &Payout) -> Expected<'_> {
    Expected { amount: payout.to_pay(), address: &payout.address }
}

fn several(times: usize) -> SendOutcome {
    let reason = "the service has it more than once".into();
    SendOutcome::Doubtful { reference: None, kind: ReviewKind::Conflict, reason, evidence: vec![format!("{times} payouts with one key")] }
}

fn ambiguous(reason: &str, evidence: String) -> Lookup {
    Lookup::Person { kind: ReviewKind::Ambiguous, reason: reason.to_owned(), evidence: vec![evidence] }
}

fn conflict(reason: &str, evidence: String) -> Lookup {
    Lookup::Person { kind: ReviewKind::Conflict, reason: reason.to_owned(), evidence: vec![evidence] }
}

impl PaymentGateway for Service {
    fn pin(&self) -> Pin {
        let (network, wallet) = (self.options.url.clone(), self.options.wallet.clone());
        Pin { gateway: NAME.to_owned(), network, wallet, contract: CONTRACT.to_owned() }
    }

    fn networks(&self) -> Vec<String> {
        [&self.options.url].into_iter().chain(&self.options.chain).cloned().collect()
    }

    fn settlement(&self) -> Settlement {
        self.options.settlement
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt || self.options.pays_lucid
    }

    fn own_wallets(&self) -> Vec<TronAddress> {
        TronAddress::parse(&self.options.wallet).into_iter().collect()
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(async move {
            if let Err(Unavailable(why)) = self.ready().await {
                return transfers.iter().map(|_| Err(NotPrepared::Later(why.clone()))).collect();
            }
            let mut prepared = Vec::with_capacity(transfers.len());
            for transfer in transfers {
                prepared.push(self.prepare_one(transfer).await);
            }
            prepared
        })
    }

    /// It answered within the last minute, or answers now to a question that moves nothing.
    fn ready(&self) -> Boxed<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            let now = (self.clock)();
            let is_fresh = {
                let breaker = &self.behaviour().breaker;
                breaker.allow(now).map_err(Unavailable)?;
                breaker.answered_within(FRESH_MS, now)
            };
            if is_fresh {
                return Ok(());
            }
            let path = self.options.lookup_path.replace("{id}", PROBE);
            let answered = self.ask(Method::Get, &path, None, None).await.map_err(|silence| Unavailable(silence.why()))?;
            if breaker::is_fine(Method::Get, answered.status) {
                return Ok(());
            }
            Err(Unavailable(format!("the service answers {} {}", answered.status, answered.said())))
        })
    }

    fn at_once(&self) -> usize {
        1
    }

    fn send<'a>(&'a self, attempt: &'a Attempt, sending: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(self.post(attempt, sending))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(payouts.len());
            for payout in payouts {
                found.push(self.look(payout, now).await);
            }
            found
        })
    }

    fn verify<'a>(&'a self, payout: &'a Payout, named: &'a str) -> Boxed<'a, Lookup> {
        Box::pin(self.claimed(payout, named))
    }
}

#[cfg(test)]
mod tests;
