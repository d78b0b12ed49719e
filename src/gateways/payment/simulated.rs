//! The dry run: every payout takes its whole way and no money moves. It keeps no state; what it says follows from the
//! attempt and the time, so that a restart changes nothing.

use std::future::ready;

use super::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer};
use crate::crypto;
use crate::domain::ledger::Settlement;
use crate::domain::money::Currency;
use crate::domain::payout::{Attempt, AttemptState, Death, Landed, Payout, Pin, Prepared};
use crate::domain::time::Timestamp;

/// Seconds from sending to final, about what TRON takes.
pub const FINAL_AFTER_SECONDS: i64 = 60;
/// Seconds in which a simulated transfer must be sent.
pub const EXPIRES_AFTER_SECONDS: i64 = 600;
/// Seconds between simulated blocks.
const BLOCK_SECONDS: i64 = 3;

#[derive(Debug, Clone, Copy, Default)]
pub struct Simulated;

const NAME: &str = "simulated";

impl Simulated {
    pub fn prepare_one(&self, transfer: &Transfer) -> Result<Prepared, NotPrepared> {
        let Transfer { payout, attempt, amount, address, now, .. } = transfer;
        if !self.pays(amount.currency) {
            return Err(NotPrepared::Later(format!("the dry run does not pay {}", amount.currency)));
        }
        let hash = crypto::sha256_parts(&[b"simulated", payout.as_str().as_bytes(), &attempt.to_be_bytes()]);
        Ok(Prepared {
            pin: self.pin(),
            urls: Vec::new(),
            bytes: format!("simulated transfer {payout}/{attempt}: {amount} to {address}; no money moves").into_bytes(),
            txid: Some(crypto::hex(&hash)),
            expires_at: Some(now.plus_seconds(EXPIRES_AFTER_SECONDS)),
            reference_block: 0,
            fee_limit_sun: 0,
            timestamp_ms: 0,
        })
    }

    pub fn lookup_one(&self, attempt: &Attempt, now: Timestamp) -> Lookup {
        let Some(sent_at) = attempt.sent_at else {
            let is_over = attempt.prepared.expires_at.is_some_and(|at| at < now);
            return if is_over { Lookup::Dead(Death::Told("it was never sent, and its time is over".into())) } else { Lookup::NotSeen };
        };
        let block = u64::try_from(sent_at.seconds() / BLOCK_SECONDS).unwrap_or(0);
        let paid = || Lookup::Paid(Landed { txid: attempt.prepared.txid.clone(), fee_sun: 0 });
        match attempt.state {
            AttemptState::Seen { .. } if now.since(sent_at) >= FINAL_AFTER_SECONDS * 1000 => paid(),
            AttemptState::Paid => paid(),
            _ => Lookup::Seen { block },
        }
    }
}

impl PaymentGateway for Simulated {
    fn pin(&self) -> Pin {
        Pin { gateway: NAME.to_owned(), network: NAME.to_owned(), wallet: NAME.to_owned(), contract: NAME.to_owned() }
    }

    fn settlement(&self) -> Settlement {
        Settlement::Simulated
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(ready(transfers.iter().map(|transfer| self.prepare_one(transfer)).collect()))
    }

    fn send<'a>(&'a self, _: &'a Attempt, _: Sending) -> Boxed<'a, SendOutcome> {
        Box::pin(ready(SendOutcome::Accepted))
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        let of = |payout: &Payout| payout.attempts.last().map_or(Lookup::NotSeen, |attempt| self.lookup_one(attempt, now));
        Box::pin(ready(payouts.iter().map(of).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::PayoutAddress;
    use crate::domain::ids::{NodeIndex, PayoutId};
    use crate::domain::ledger::Book;
    use crate::domain::money::Units;
    use crate::domain::payout::{Plan, Priority, Source, plan};
    use crate::domain::time::{BootMs, Now};

    fn at(s: i64) -> Now {
        Now { wall: Timestamp::from_seconds(s), boot: BootMs(0), trusted: true }
    }

    fn planned() -> Payout {
        let book = Book { settlement: Settlement::Simulated, currency: Currency::Usdt };
        let address = PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap();
        let (id, amount) = (PayoutId::parse("payout_a1").unwrap(), Units(12_500_000));
        let request = Plan { id, seq: 1, node: NodeIndex(0), book, amount, address, source: Source::Automatic, priority: Priority::Normal };
        plan(request, amount, None, at(0)).unwrap().0
    }

    #[tokio::test]
    async fn a_dry_run_takes_the_whole_way_and_says_so() {
        let gateway: std::sync::Arc<dyn PaymentGateway> = std::sync::Arc::new(Simulated);
        let payout = planned();
        let prepare = async |s| gateway.prepare(&[Transfer::next(&payout, at(s).wall, 0, 0)]).await.remove(0).unwrap();
        let (prepared, again) = (prepare(100).await, prepare(200).await);
        assert_eq!((prepared.txid.as_ref().unwrap().len(), &prepared.txid), (64, &again.txid), "the same attempt has one id");
        let text = String::from_utf8(prepared.bytes.clone()).unwrap();
        assert_eq!(text, "simulated transfer payout_a1/1: 12.5 USDT to TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3; no money moves");

        let payout = payout.sign(prepared.clone(), Some(&payout.address), at(100)).unwrap();
        let lookup = async |p: &Payout, s| gateway.lookup(std::slice::from_ref(p), at(s).wall).await.remove(0);
        assert_eq!(lookup(&payout, 700).await, Lookup::NotSeen, "nothing has been sent");
        // The process died before it was sent, and was away for long.
        let Lookup::Dead(death) = lookup(&payout, 701).await else { panic!("it can still land") };
        assert!(payout.dead(death, at(701)).unwrap().may_sign(Some(&payout.address), at(701)).is_ok());
        let payout = payout.maybe_sent(at(120)).unwrap();
        assert_eq!(payout.attempts[0].prepared.pin, gateway.pin());
        assert_eq!(gateway.send(&payout.attempts[0], Sending::First).await, SendOutcome::Accepted);
        assert_eq!(lookup(&payout, 500).await, Lookup::Seen { block: 40 }, "seen before it is final");
        let payout = payout.seen(40, at(130)).unwrap();
        assert_eq!(lookup(&payout, 179).await, Lookup::Seen { block: 40 });
        let Lookup::Paid(landed) = lookup(&payout, 180).await else { panic!("not paid") };
        assert!(payout.paid(landed, at(180)).is_ok());
    }

    #[tokio::test]
    async fn another_attempt_has_another_id_and_lucid_is_not_paid() {
        let payout = planned();
        let first = Transfer::next(&payout, at(0).wall, 0, 0);
        let second = Transfer { attempt: 2, ..first.clone() };
        let txid = |t: &Transfer| Simulated.prepare_one(t).map(|p| p.txid);
        assert_ne!(txid(&first), txid(&second));
        let mut lucid = first;
        lucid.amount.currency = Currency::Lucid;
        assert!(txid(&lucid).is_err());
    }
}
