//! The dry run with a script: transfers to some addresses wait, fail or get lost. No money moves here either. It keeps no state:
//! what it says follows from the address, the attempt and the time, so that a restart changes nothing.

use std::future::ready;

use lucid::domain::ledger::Settlement;
use lucid::domain::money::Currency;
use lucid::domain::payout::{Attempt, AttemptState};
use lucid::domain::time::Timestamp;
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Simulated, Transfer};

/// Seconds after its expiry in which a lost transfer is not called dead yet.
const PROVEN_AFTER_SECONDS: i64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is prepared: the payout stays pending.
    Unprepared,
    /// In a block that never becomes final.
    NeverFinal,
    /// Every attempt is lost and proven dead.
    Lost,
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
pub struct Scripted(pub Vec<Line>);

impl Scripted {
    fn fate(&self, is_to: impl Fn(&str) -> bool, at: Timestamp) -> Option<Fate> {
        self.0.iter().find(|line| (line.from..line.until).contains(&at) && is_to(&line.address)).map(|line| line.fate)
    }

    fn fate_of(&self, attempt: &Attempt) -> Option<Fate> {
        // The dry run's bytes say in words where the money would go.
        let text = String::from_utf8_lossy(&attempt.prepared.bytes);
        self.fate(|address| text.contains(address), attempt.signed_at)
    }
}

impl PaymentGateway for Scripted {
    fn name(&self) -> &str {
        Simulated.name()
    }

    fn network(&self) -> &str {
        Simulated.network()
    }

    fn settlement(&self) -> Settlement {
        Simulated.settlement()
    }

    fn pays(&self, currency: Currency) -> bool {
        Simulated.pays(currency)
    }

    fn prepare<'a>(&'a self, transfer: &'a Transfer) -> Boxed<'a, Result<lucid::domain::payout::Prepared, NotPrepared>> {
        match self.fate(|address| address == transfer.address.as_str(), transfer.now) {
            Some(Fate::Unprepared) => Box::pin(ready(Err(NotPrepared("the payment gateway does not answer".to_owned())))),
            _ => Box::pin(async { Simulated.prepare(transfer).await }),
        }
    }

    fn send<'a>(&'a self, attempt: &'a Attempt) -> Boxed<'a, SendOutcome> {
        match self.fate_of(attempt) {
            Some(Fate::Lost) => Box::pin(ready(SendOutcome::Unknown("the connection was cut".to_owned()))),
            _ => Box::pin(async { Simulated.send(attempt).await }),
        }
    }

    fn lookup<'a>(&'a self, attempt: &'a Attempt, now: Timestamp) -> Boxed<'a, Lookup> {
        let seen = |sent_at: Timestamp| Lookup::Seen { block: u64::try_from(sent_at.seconds() / 3).unwrap_or(0) };
        let is_seen = matches!(attempt.state, AttemptState::Seen { .. });
        let answer = match (self.fate_of(attempt), attempt.sent_at) {
            (Some(Fate::NeverFinal), Some(sent_at)) => seen(sent_at),
            (Some(Fate::FailsOnChain), Some(_)) if is_seen => {
                Lookup::FailedOnChain("OUT_OF_ENERGY: the transfer ran out of energy".to_owned())
            }
            (Some(Fate::FailsOnChain), Some(sent_at)) => seen(sent_at),
            (Some(Fate::Lost), _) if now > attempt.prepared.expires_at.plus_seconds(PROVEN_AFTER_SECONDS) => {
                Lookup::Dead("expired, and not in any block up to then".to_owned())
            }
            (Some(Fate::Lost), _) => Lookup::NotSeen,
            _ => return Box::pin(async move { Simulated.lookup(attempt, now).await }),
        };
        Box::pin(ready(answer))
    }
}
