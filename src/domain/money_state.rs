//! What holds for all payouts of the manager: whether money moves, whether it may, and what a TRX is worth.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::money::Units;
use super::time::{Now, Timestamp};
use super::wallet::SUN_PER_TRX;

/// A rate is not used any more when it is older.
pub const RATE_KEEPS_DAYS: i64 = 30;

/// One row of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MoneyState {
    pub frozen: Option<Freeze>,
    pub stopped: Option<Stop>,
    pub live: Option<GoneLive>,
    pub trx_rate: Option<TrxRate>,
}

/// Nothing is signed and nothing leaves for the first time. What may have been sent is looked after, and its bytes sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub kind: FreezeKind,
    /// For people.
    pub reason: String,
    pub since: Timestamp,
    /// None: the manager itself.
    pub by: Option<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FreezeKind {
    /// Something left the wallet that nothing here planned.
    UnknownTransfer,
    /// The wallet holds less than what is known to have left it explains.
    MissingFunds,
    /// The store was restored from a copy.
    Restored,
    /// A person froze it.
    Person,
    /// A book does not balance.
    LedgerBroken,
}

/// As a freeze, and nothing is sent again either. What was sent may still land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub reason: String,
    pub since: Timestamp,
    /// None: a program, which the audit log names.
    pub by: Option<UserId>,
}

/// Somebody decided that money moves from this wallet, and what is owed from before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneLive {
    pub at: Timestamp,
    pub by: UserId,
    /// What the wallet's attempts are pinned to: for another wallet it is decided again.
    pub network: String,
    pub wallet: String,
    /// What was earned before is not owed; None: everything accrued is.
    pub owed_from: Option<Timestamp>,
}

/// What a TRX was worth when an admin looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrxRate {
    /// Micro-USDT for one TRX.
    pub usdt: Units,
    pub set_at: Timestamp,
}

impl TrxRate {
    pub fn is_usable(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }

    pub fn expires_at(&self) -> Timestamp {
        self.set_at.plus_seconds(RATE_KEEPS_DAYS * 86_400)
    }

    /// What so many sun are worth, rounded up.
    pub fn in_usdt(&self, sun: u64) -> Units {
        let exact = i128::from(sun) * i128::from(self.usdt.0);
        let per_trx = i128::from(SUN_PER_TRX);
        Units(i64::try_from((exact + per_trx - 1) / per_trx).unwrap_or(i64::MAX))
    }
}

/// Why nothing is signed at all now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    ClockUntrusted,
    Stopped(String),
    Frozen(FreezeKind, String),
    /// Money would move, and nobody has decided what is owed from before.
    NotLive,
    /// What left the wallet since the last look is not known yet.
    NotReconciled,
}

impl Closed {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Closed::ClockUntrusted => "clock_untrusted",
            Closed::Stopped(_) => "stopped",
            Closed::Frozen(..) => "frozen",
            Closed::NotLive => "not_live",
            Closed::NotReconciled => "not_reconciled",
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::ClockUntrusted => f.write_str("the clock is not trusted"),
            Closed::Stopped(why) => write!(f, "payouts are stopped: {why}"),
            Closed::Frozen(_, why) => write!(f, "payouts are frozen: {why}"),
            Closed::NotLive => f.write_str("an admin has to decide what is owed from before money moves"),
            Closed::NotReconciled => f.write_str("what left the wallet is being compared with what is known here"),
        }
    }
}

/// How old a reconciliation may be when something is signed.
pub const RECONCILED_FOR_MS: u64 = 3_600_000;

impl MoneyState {
    /// Whether anything may be signed. `needs_live`: the wallet and network by which money would move. `reconciled_ms`: time since the last complete
    /// reconciliation of this process, for a gateway that has a wallet.
    pub fn may_sign(&self, now: Now, needs_live: Option<(&str, &str)>, reconciled_ms: Option<Option<u64>>) -> Result<(), Closed> {
        if !now.trusted {
            return Err(Closed::ClockUntrusted);
        }
        if let Some(stop) = &self.stopped {
            return Err(Closed::Stopped(stop.reason.clone()));
        }
        if let Some(freeze) = &self.frozen {
            return Err(Closed::Frozen(freeze.kind, freeze.reason.clone()));
        }
        if needs_live
            .is_some_and(|(network, wallet)| self.live.as_ref().is_none_or(|live| live.network != network || live.wallet != wallet))
        {
            return Err(Closed::NotLive);
        }
        if reconciled_ms.is_some_and(|age| age.is_none_or(|age| age >= RECONCILED_FOR_MS)) {
            return Err(Closed::NotReconciled);
        }
        Ok(())
    }

    /// Freezes; the first reason stays, because it is the one to look into.
    pub fn freeze(&self, freeze: Freeze) -> MoneyState {
        let frozen = self.frozen.clone().or(Some(freeze));
        MoneyState { frozen, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    fn at(seconds: i64) -> Now {
        Now { wall: Timestamp::from_seconds(seconds), boot: BootMs(0), trusted: true }
    }

    fn user() -> UserId {
        UserId::parse("user_0123456789").unwrap()
    }

    #[test]
    fn nothing_is_signed_while_any_of_the_reasons_holds() {
        let good = MoneyState {
            live: Some(GoneLive { at: Timestamp(0), by: user(), network: "n".into(), wallet: "w".into(), owed_from: None }),
            ..MoneyState::default()
        };
        let fresh = Some(Some(0));
        assert_eq!(good.may_sign(at(0), Some(("n", "w")), fresh), Ok(()));
        assert_eq!(MoneyState::default().may_sign(at(0), None, None), Ok(()), "a dry run needs none of it");
        assert_eq!(good.may_sign(Now { trusted: false, ..at(0) }, None, None), Err(Closed::ClockUntrusted));
        assert_eq!(good.may_sign(at(0), Some(("n", "other")), fresh), Err(Closed::NotLive), "another wallet is decided again");
        assert_eq!(MoneyState::default().may_sign(at(0), Some(("n", "w")), fresh), Err(Closed::NotLive));
        for age in [None, Some(RECONCILED_FOR_MS)] {
            assert_eq!(good.may_sign(at(0), Some(("n", "w")), Some(age)), Err(Closed::NotReconciled));
        }
        let freeze = |reason: &str| Freeze { kind: FreezeKind::UnknownTransfer, reason: reason.into(), since: Timestamp(0), by: None };
        let frozen = good.freeze(freeze("first")).freeze(freeze("second"));
        assert_eq!(frozen.may_sign(at(0), None, None), Err(Closed::Frozen(FreezeKind::UnknownTransfer, "first".into())));
        let stopped = MoneyState { stopped: Some(Stop { reason: "odd".into(), since: Timestamp(0), by: Some(user()) }), ..frozen };
        assert_eq!(stopped.may_sign(at(0), None, None), Err(Closed::Stopped("odd".into())));
    }

    #[test]
    fn a_rate_rounds_against_the_operator_and_does_not_last() {
        let rate = TrxRate { usdt: Units(300_000), set_at: Timestamp(0) };
        assert_eq!(rate.in_usdt(13_000_000), Units(3_900_000));
        assert_eq!(rate.in_usdt(1), Units(1), "rounded up");
        assert_eq!(TrxRate { usdt: Units(i64::MAX), ..rate }.in_usdt(u64::MAX), Units(i64::MAX));
        assert!(rate.is_usable(Timestamp::from_seconds(30 * 86_400 - 1)) && !rate.is_usable(Timestamp::from_seconds(30 * 86_400)));
    }
}
