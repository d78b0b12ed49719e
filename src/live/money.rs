//! What the cycles last found out about payments, for those who show it: in memory, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::time::{BootMs, Now, Timestamp};
use crate::domain::wallet::WalletReading;

/// How old a look at the wallet may be when something is signed.
pub const LOOK_MAX_AGE_MS: u64 = 600_000;

/// Why a payout, or everything, waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Stable name.
    pub why: &'static str,
    /// For people.
    pub text: String,
    /// When it passes by time alone, where that is known.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// What a transfer costs is not known.
    pub fn wallet_unknown() -> Waiting {
        Waiting { why: "wallet_unknown", text: "the wallet could not be looked at".into(), until: None }
    }
}

/// A look at the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub reading: WalletReading,
    pub at: Timestamp,
    boot: BootMs,
}

#[derive(Debug, Default)]
struct Inner {
    closed: Option<Waiting>,
    payouts: BTreeMap<u64, Waiting>,
    /// What was to be sent and is refused, by sequence.
    refused: BTreeMap<u64, Waiting>,
    wallet: Option<Look>,
    /// Why the last look failed, and since when looks fail.
    wallet_error: Option<(String, Timestamp)>,
    reconciled: Option<BootMs>,
    reconcile_error: Option<(String, Timestamp)>,
    comparing: Option<String>,
}

/// Shared by the cycles, which write it, and the api, which reads it.
#[derive(Debug, Clone, Default)]
pub struct Money(Arc<Mutex<Inner>>);

impl Money {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is signed at all; None when something may be.
    pub fn set_closed(&self, why: Option<Waiting>) {
        self.inner().closed = why;
    }

    pub fn closed(&self) -> Option<Waiting> {
        self.inner().closed.clone()
    }

    /// Why each payout that was not signed waits, by its sequence: of the last run.
    pub fn set_waiting(&self, payouts: BTreeMap<u64, Waiting>) {
        self.inner().payouts = payouts;
    }

    pub fn waiting(&self, seq: u64) -> Option<Waiting> {
        let inner = self.inner();
        inner.refused.get(&seq).or_else(|| inner.payouts.get(&seq)).cloned()
    }

    /// Who was to take its bytes refused them, for a reason that others would have too; None: it was not so this time.
    pub fn set_refused(&self, seq: u64, why: Option<&str>) {
        let refused = &mut self.inner().refused;
        match why {
            Some(why) => _ = refused.insert(seq, Waiting { why: "refused", text: format!("it is refused: {why}"), until: None }),
            None => _ = refused.remove(&seq),
        }
    }

    pub fn refused(&self) -> BTreeMap<u64, Waiting> {
        self.inner().refused.clone()
    }

    pub fn all_waiting(&self) -> BTreeMap<u64, Waiting> {
        self.inner().payouts.clone()
    }

    pub fn looked(&self, reading: WalletReading, now: Now) {
        let mut inner = self.inner();
        inner.wallet = Some(Look { reading, at: now.wall, boot: now.boot });
        inner.wallet_error = None;
    }

    /// Whoever pays answers, and has no wallet to look at.
    pub fn reached(&self) {
        self.inner().wallet_error = None;
    }

    /// The wallet could not be looked at; the last look stays.
    pub fn look_failed(&self, why: String, now: Now) {
        let mut inner = self.inner();
        let since = inner.wallet_error.as_ref().map_or(now.wall, |(_, since)| *since);
        inner.wallet_error = Some((why, since));
    }

    pub fn wallet(&self) -> Option<Look> {
        self.inner().wallet.clone()
    }

    /// The wallet as it was at most `max_age_ms` ago.
    pub fn wallet_within(&self, max_age_ms: u64, now: Now) -> Option<WalletReading> {
        let look = self.wallet()?;
        (elapsed_ms(look.boot, now) <= max_age_ms).then_some(look.reading)
    }

    pub fn wallet_error(&self) -> Option<(String, Timestamp)> {
        self.inner().wallet_error.clone()
    }

    /// Everything that left the wallet is known.
    pub fn reconciled(&self, now: Now) {
        let mut inner = self.inner();
        inner.reconciled = Some(now.boot);
        (inner.reconcile_error, inner.comparing) = (None, None);
    }

    /// What left the wallet is known so far, and the comparison goes on; the last complete one still holds for its hour.
    pub fn comparing(&self, how_far: String) {
        let mut inner = self.inner();
        (inner.reconcile_error, inner.comparing) = (None, Some(how_far));
    }

    /// How far the comparison is that has not come to its end.
    pub fn how_far(&self) -> Option<String> {
        self.inner().comparing.clone()
    }

    /// Nothing is signed before the next complete reconciliation.
    pub fn unreconciled(&self, why: Option<String>, now: Now) {
        let mut inner = self.inner();
        match why {
            // The last one still holds for its hour.
            Some(why) => {
                let since = inner.reconcile_error.as_ref().map_or(now.wall, |(_, since)| *since);
                (inner.reconcile_error, inner.comparing) = (Some((why, since)), None);
            }
            None => (inner.reconciled, inner.comparing) = (None, None),
        }
    }

    pub fn reconcile_error(&self) -> Option<(String, Timestamp)> {
        self.inner().reconcile_error.clone()
    }

    /// Milliseconds since the last complete reconciliation of this process.
    pub fn reconciled_ms(&self, now: Now) -> Option<u64> {
        self.inner().reconciled.map(|at| elapsed_ms(at, now))
    }
}

fn elapsed_ms(since: BootMs, now: Now) -> u64 {
    u64::try_from(now.boot.0.saturating_sub(since.0)).unwrap_or(0)
}
