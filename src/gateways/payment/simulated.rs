//! The dry run: every payout takes its whole way and no money moves. It keeps no state; what it says follows from the
//! attempt and the time, so that a restart changes nothing.

use std::future::ready;

use super::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Transfer};
use crate::crypto;
use crate::domain::ledger::Settlement;
use crate::domain::money::Currency;
use crate::domain::payout::{Attempt, AttemptState, Prepared};
use crate::domain::time::Timestamp;

/// Seconds from sending to final, about what TRON takes.
pub const FINAL_AFTER_SECONDS: i64 = 60;
/// Seconds in which a simulated transfer must be sent.
pub const EXPIRES_AFTER_SECONDS: i64 = 600;
/// Seconds between simulated blocks.
const BLOCK_SECONDS: i64 = 3;

#[derive(Debug, Clone, Copy, Default)]
pub struct Simulated;

impl Simulated {
    fn prepared(transfer: &Transfer) -> Prepared {
        let Transfer { payout, attempt, amount, address, now } = transfer;
        let hash = crypto::sha256_parts(&[b"simulated", payout.as_str().as_bytes(), &attempt.to_be_bytes()]);
        Prepared {
            gateway: Simulated.name().to_owned(),
            network: Simulated.network().to_owned(),
            wallet: "simulated".to_owned(),
            contract: "simulated".to_owned(),
            bytes: format!("simulated transfer {payout}/{attempt}: {amount} to {address}; no money moves").into_bytes(),
            txid: crypto::hex(&hash),
            expires_at: now.plus_seconds(EXPIRES_AFTER_SECONDS),
        }
    }

    fn known(attempt: &Attempt, now: Timestamp) -> Lookup {
        let Some(sent_at) = attempt.sent_at else { return Lookup::NotSeen };
        let block = u64::try_from(sent_at.seconds() / BLOCK_SECONDS).unwrap_or(0);
        match attempt.state {
            AttemptState::Seen { .. } if now.since(sent_at) >= FINAL_AFTER_SECONDS * 1000 => Lookup::Paid,
            AttemptState::Paid => Lookup::Paid,
            _ => Lookup::Seen { block },
        }
    }
}

impl PaymentGateway for Simulated {
    fn name(&self) -> &str {
        "simulated"
    }

    fn network(&self) -> &str {
        "simulated"
    }

    fn settlement(&self) -> Settlement {
        Settlement::Simulated
    }

    fn pays(&self, currency: Currency) -> bool {
        currency == Currency::Usdt
    }

    fn prepare<'a>(&'a self, transfer: &'a Transfer) -> Boxed<'a, Result<Prepared, NotPrepared>> {
        let prepared = if self.pays(transfer.amount.currency) {
            Ok(Simulated::prepared(transfer))
        } else {
            Err(NotPrepared(format!("the dry run does not pay {}", transfer.amount.currency)))
        };
        Box::pin(ready(prepared))
    }

    fn send<'a>(&'a self, _: &'a Attempt) -> Boxed<'a, SendOutcome> {
        Box::pin(ready(SendOutcome::Accepted))
    }

    fn lookup<'a>(&'a self, attempt: &'a Attempt, now: Timestamp) -> Boxed<'a, Lookup> {
        Box::pin(ready(Simulated::known(attempt, now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::PayoutAddress;
    use crate::domain::ids::{NodeIndex, PayoutId};
    use crate::domain::ledger::Book;
    use crate::domain::money::Units;
    use crate::domain::payout::{Payout, Plan, Priority, Source, plan};
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
        let prepared = gateway.prepare(&Transfer::next(&payout, at(100).wall)).await.unwrap();
        let again = gateway.prepare(&Transfer::next(&payout, at(200).wall)).await.unwrap();
        assert_eq!((prepared.txid.len(), &prepared.txid), (64, &again.txid), "the same attempt has one id");
        let text = String::from_utf8(prepared.bytes.clone()).unwrap();
        assert_eq!(text, "simulated transfer payout_a1/1: 12.5 USDT to TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3; no money moves");

        let payout = payout.sign(prepared.clone(), Some(&payout.address), at(100)).unwrap();
        let lookup = async |p: &Payout, s| gateway.lookup(p.attempts.last().unwrap(), at(s).wall).await;
        assert_eq!(lookup(&payout, 100).await, Lookup::NotSeen, "nothing has been sent");
        let payout = payout.maybe_sent(at(120)).unwrap();
        assert!(payout.attempts[0].belongs_to(gateway.name(), gateway.network()));
        assert_eq!(gateway.send(&payout.attempts[0]).await, SendOutcome::Accepted);
        assert_eq!(lookup(&payout, 500).await, Lookup::Seen { block: 40 }, "seen before it is final");
        let payout = payout.seen(40, at(130)).unwrap();
        assert_eq!(lookup(&payout, 179).await, Lookup::Seen { block: 40 });
        assert_eq!(lookup(&payout, 180).await, Lookup::Paid);
        assert!(payout.paid(at(180)).is_ok());
    }

    #[tokio::test]
    async fn another_attempt_has_another_id_and_lucid_is_not_paid() {
        let payout = planned();
        let first = Transfer::next(&payout, at(0).wall);
        let second = Transfer { attempt: 2, ..first.clone() };
        let txid = async |t: &Transfer| Simulated.prepare(t).await.map(|p| p.txid);
        assert_ne!(txid(&first).await, txid(&second).await);
        let mut lucid = first;
        lucid.amount.currency = Currency::Lucid;
        assert!(txid(&lucid).await.is_err());
    }
}
