//! The dry run with a script: transfers to some addresses wait, fail or get lost. No money moves here either. It keeps no state:
//! what it says follows from the address, the attempt and the time, so that a restart changes nothing.

use std::future::ready;

use lucid::domain::ledger::Settlement;
use lucid::domain::money::Currency;
use lucid::domain::payout::{Attempt, AttemptState, Death, DeathProof, Landed, Payout, Pin, Prepared};
use lucid::domain::time::Timestamp;
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Simulated, Transfer};

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

    fn fate_of(&self, attempt: &Attempt, address: &str) -> Option<Fate> {
        self.fate(|of| of == address, attempt.signed_at)
    }

    fn look(&self, payout: &Payout, now: Timestamp) -> Lookup {
        let Some(attempt) = payout.attempts.last() else { return Lookup::NotSeen };
        let seen = |sent_at: Timestamp| Lookup::Seen { block: u64::try_from(sent_at.seconds() / 3).unwrap_or(0) };
        let is_seen = matches!(attempt.state, AttemptState::Seen { .. });
        let expired = attempt.prepared.expires_at.map_or(0, |at| now.since(at) / 1_000);
        match (self.fate_of(attempt, payout.address.as_str()), attempt.sent_at) {
            (Some(Fate::NeverFinal), Some(sent_at)) => seen(sent_at),
            (Some(Fate::FailsOnChain), Some(_)) if is_seen => Lookup::FailedOnChain {
                reason: "OUT_OF_ENERGY: the transfer ran out of energy".to_owned(),
                landed: Landed { txid: attempt.prepared.txid.clone(), fee_sun: 13_000_000 },
            },
            (Some(Fate::FailsOnChain), Some(sent_at)) => seen(sent_at),
            (Some(Fate::Lost), _) if expired > PROVEN_AFTER_SECONDS => Lookup::Dead(died(attempt, now)),
            (Some(Fate::Lost), _) => Lookup::NotSeen,
            _ => Simulated.lookup_one(attempt, now),
        }
    }
}

fn died(attempt: &Attempt, now: Timestamp) -> Death {
    let block = |at: Timestamp| u64::try_from(at.seconds() / 3).unwrap_or(0);
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
        Simulated.pin()
    }

    fn settlement(&self) -> Settlement {
        Simulated.settlement()
    }

    fn pays(&self, currency: Currency) -> bool {
        Simulated.pays(currency)
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        let one = |transfer: &Transfer| match self.fate(|address| address == transfer.address.as_str(), transfer.now) {
            Some(Fate::Unprepared) => Err(NotPrepared::Later("the payment gateway does not answer".to_owned())),
            _ => Simulated.prepare_one(transfer),
        };
        Box::pin(ready(transfers.iter().map(one).collect()))
    }

    fn send<'a>(&'a self, _: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(ready(SendOutcome::Accepted))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(ready(payouts.iter().map(|payout| self.look(payout, now)).collect()))
    }
}
