//! What the chain says about what the service says, and what a person names is held against both.

use super::judge::{self, Verdict};
use super::outgoing::Outgoing;
use super::{Found, Service, ambiguous, conflict, expected};
use crate::domain::payout::{Landed, Payout};
use crate::gateways::payment::Lookup;

/// A transaction that the service names, and that the chain does not know after so long, needs a person.
const ON_CHAIN_WITHIN_MS: i64 = 3_600_000;

impl Service {
    /// The service says that this transaction paid.
    pub(super) async fn on_chain(&self, payout: &Payout, txid: String, since_sent: i64) -> Lookup {
        let Some(checker) = &self.checker else { return Lookup::Paid(Landed { txid: Some(txid), fee_sun: 0 }) };
        match checker.verify(payout, &txid).await {
            Lookup::Paid(landed) => Lookup::Paid(Landed { txid: Some(txid), ..landed }),
            Lookup::Seen { .. } | Lookup::Pending { .. } => Lookup::Pending { reference: None },
            Lookup::NotSeen if since_sent < ON_CHAIN_WITHIN_MS => Lookup::Pending { reference: None },
            Lookup::NotSeen => conflict("the chain does not know the transaction that the service names", txid),
            Lookup::FailedOnChain { reason, .. } => conflict("the service says paid, the chain says failed", format!("{txid}: {reason}")),
            Lookup::Dead(death) => conflict("the service says paid, the chain says never", format!("{txid}: {death}")),
            other @ (Lookup::Person { .. } | Lookup::Unknown(_)) => other,
        }
    }

    /// The service says that it failed, and names a transaction all the same: that may have moved the money.
    pub(super) async fn failed_with(&self, payout: &Payout, reason: String, txid: &str) -> Lookup {
        let Some(checker) = &self.checker else {
            return ambiguous("the service says failed, and names a transaction that nobody here can look at", format!("{txid}: {reason}"));
        };
        match checker.verify(payout, txid).await {
            Lookup::FailedOnChain { .. } | Lookup::Dead(_) => Lookup::FailedOnChain { reason, landed: Landed { txid: None, fee_sun: 0 } },
            Lookup::Paid(_) => conflict("the service says failed, the chain says paid", txid.to_owned()),
            Lookup::Unknown(why) => Lookup::Unknown(why),
            _ => ambiguous("the service says failed, and its transaction may still land", format!("{txid}: {reason}")),
        }
    }

    /// A person says that `named`, a transaction or what the service calls a payout, paid it.
    pub(super) async fn claimed(&self, payout: &Payout, named: &str) -> Lookup {
        if let Some(checker) = self.checker.as_ref().filter(|_| judge::is_transaction(named)) {
            return checker.verify(payout, named).await;
        }
        let attempt = payout.attempts.last();
        let key = attempt.and_then(|attempt| Outgoing::read(&attempt.prepared.bytes)).map(|outgoing| outgoing.key);
        let mut found = match (attempt.and_then(|attempt| attempt.reference.as_deref()), key) {
            (Some(reference), _) => self.by_reference(reference).await,
            (None, Some(key)) => self.by_key(&key).await,
            (None, None) => Found::NoWay,
        };
        let is_ours = matches!(found, Found::One(_));
        if !is_ours && judge::is_reference(named) {
            found = self.by_reference(named).await;
        }
        let said = match found {
            Found::One(said) => said,
            Found::Failed(why) => return Lookup::Unknown(why),
            Found::Several(_) | Found::Nothing | Found::NoWay | Found::Strange(_) => {
                return conflict(
                    "nobody here can verify it: the service does not know it, and no node of the chain is configured",
                    named.to_owned(),
                );
            }
        };
        // What is not known to be ours by its key has to say for itself whom it paid how much.
        if !is_ours && (said.amount.is_none() || said.address.is_none()) {
            return conflict("the service does not say whom that payout paid", said.to_string());
        }
        match judge::judge(&self.options.dialect, &said, &expected(payout), None) {
            Verdict::Paid { txid } if txid == named || said.id.as_deref() == Some(named) => self.on_chain(payout, txid, i64::MAX).await,
            _ => conflict("the service does not say that this paid it", said.to_string()),
        }
    }
}
