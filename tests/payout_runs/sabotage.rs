//! The auditor can fail: gateways that break one rule each are caught within some runs.

use std::sync::Arc;

use lucid::domain::address::TronAddress;
use lucid::domain::ledger::Settlement;
use lucid::domain::money::Currency;
use lucid::domain::payout::{Attempt, Death, DeathProof, Landed, Payout, Pin, Prepared, ReviewKind};
use lucid::domain::time::Timestamp;
use lucid::domain::wallet::{BlockAt, OutgoingPage, WalletReading};
use lucid::gateways::payment::tron::TronGateway;
use lucid::gateways::payment::{Boxed, Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending, Transfer, Unavailable};

use super::runs::{Counted, folder, run};
use super::world::{NODES, Wrap, template};
use crate::support::rig::Shared;

/// Seeds that are tried at most.
const WITHIN: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What is ten minutes past its expiry counts as dead, whatever the chain holds.
    DeathProof,
    /// A receipt is enough, whatever its log says and whether it is final.
    Evidence,
    /// The bytes leave before the commit that records them, and payouts are prepared without the signer's answer being kept.
    CommitFirst,
}

#[derive(Debug)]
struct Careless {
    inner: Arc<TronGateway>,
    rule: Rule,
}

fn careless(looked: Lookup, payout: &Payout, now: Timestamp, rule: Rule) -> Lookup {
    let Some(attempt) = payout.live_attempt() else { return looked };
    let expires_at = attempt.prepared.expires_at.unwrap_or(now);
    match (rule, &looked) {
        (Rule::DeathProof, Lookup::NotSeen | Lookup::Unknown(_) | Lookup::Person { .. }) if now.since(expires_at) > 601_000 => {
            let from = attempt.prepared.reference_block;
            let (solid_at, to, witnesses) = (expires_at.plus_ms(1), from + 200, vec!["nobody".to_owned()]);
            Lookup::Dead(Death::Expired(DeathProof { solid_block: to, solid_at, scanned_from: from, scanned_to: to, witnesses }))
        }
        (Rule::Evidence, Lookup::Seen { .. } | Lookup::Person { kind: ReviewKind::Conflict, .. }) => {
            Lookup::Paid(Landed { txid: attempt.prepared.txid.clone(), fee_sun: 0 })
        }
        _ => looked,
    }
}

impl PaymentGateway for Careless {
    fn pin(&self) -> Pin {
        self.inner.pin()
    }

    fn settlement(&self) -> Settlement {
        self.inner.settlement()
    }

    fn pays(&self, currency: Currency) -> bool {
        self.inner.pays(currency)
    }

    fn own_wallets(&self) -> Vec<TronAddress> {
        self.inner.own_wallets()
    }

    fn has_wallet(&self) -> bool {
        // Who forgets what was sent does not look for it either.
        self.rule != Rule::CommitFirst
    }

    fn prepare<'a>(&'a self, transfers: &'a [Transfer]) -> Boxed<'a, Vec<Result<Prepared, NotPrepared>>> {
        Box::pin(async move {
            let mut prepared = self.inner.prepare(transfers).await;
            for (transfer, one) in transfers.iter().zip(&mut prepared).filter(|_| self.rule == Rule::CommitFirst) {
                let Ok(good) = one else { continue };
                let attempt = Attempt {
                    number: transfer.attempt,
                    prepared: good.clone(),
                    state: lucid::domain::payout::AttemptState::Signed,
                    signed_at: transfer.now,
                    sent_at: None,
                    seen_at: None,
                    ended_at: None,
                    found_txid: None,
                    reference: None,
                    fee_sun: 0,
                };
                self.inner.send(&attempt, Sending::First).await;
                if transfer.salt.is_multiple_of(4) {
                    *one = Err(NotPrepared::Later("sent, and not recorded".into()));
                }
            }
            prepared
        })
    }

    fn send<'a>(&'a self, attempt: &'a Attempt, sending: Sending) -> Boxed<'a, SendOutcome> {
        self.inner.send(attempt, sending)
    }

    fn lookup<'a>(&'a self, payouts: &'a [Payout], now: Timestamp) -> Boxed<'a, Vec<Lookup>> {
        Box::pin(async move {
            let looked = self.inner.lookup(payouts, now).await;
            looked.into_iter().zip(payouts).map(|(looked, payout)| careless(looked, payout, now, self.rule)).collect()
        })
    }

    fn verify<'a>(&'a self, payout: &'a Payout, txid: &'a str) -> Boxed<'a, Lookup> {
        self.inner.verify(payout, txid)
    }

    fn wallet(&self) -> Boxed<'_, Result<Option<WalletReading>, Unavailable>> {
        self.inner.wallet()
    }

    fn block_before(&self, at: Timestamp) -> Boxed<'_, Result<BlockAt, Unavailable>> {
        self.inner.block_before(at)
    }

    fn outgoing(&self, after_block: u64) -> Boxed<'_, Result<OutgoingPage, Unavailable>> {
        self.inner.outgoing(after_block)
    }
}

/// The seed at which it is noticed.
async fn caught(wrap: Wrap, forgetful: bool) -> u64 {
    let place = folder();
    let from = place.path().join("template");
    template(&from, NODES).await;
    for seed in 0..WITHIN {
        let told = run(seed, &from, place.path().join(format!("run-{seed}")), Some((wrap, forgetful)), &mut Counted::default()).await;
        if let Err(found) = told {
            println!("{}", found.chars().take(300).collect::<String>());
            assert!(found.contains("paid"), "{found}");
            return seed;
        }
    }
    panic!("nobody noticed");
}

fn with(inner: Arc<TronGateway>, rule: Rule) -> Arc<dyn PaymentGateway> {
    Arc::new(Careless { inner, rule })
}

#[tokio::test]
async fn who_signs_again_without_a_proof_of_death_is_caught() {
    let wrap = |inner: Arc<TronGateway>, _: &Shared| with(inner, Rule::DeathProof);
    println!("caught at seed {}", caught(wrap, false).await);
}

#[tokio::test]
async fn who_believes_a_receipt_alone_is_caught() {
    let wrap = |inner: Arc<TronGateway>, _: &Shared| with(inner, Rule::Evidence);
    println!("caught at seed {}", caught(wrap, false).await);
}

#[tokio::test]
async fn who_sends_before_the_commit_is_caught() {
    let wrap = |inner: Arc<TronGateway>, _: &Shared| with(inner, Rule::CommitFirst);
    // The signer's log would save it.
    println!("caught at seed {}", caught(wrap, true).await);
}
