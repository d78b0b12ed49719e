//! Whom the automatic cycle pays, and why it leaves the others out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::max_amount;
use crate::domain::address::AddressRecord;
use crate::domain::ledger::Book;
use crate::domain::money::Units;
use crate::domain::time::{Now, Timestamp};

/// A node and currency, as the automatic cycle sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub book: Book,
    /// Payable balance.
    pub free: Units,
    pub threshold: Units,
    /// When the cycle last planned a payout of this node and currency that was not cancelled.
    pub last_scheduled_at: Option<Timestamp>,
    pub frequency_hours: u32,
    pub address: Option<&'a AddressRecord>,
    pub has_unresolved: bool,
    /// The node's hardware departed from what was accepted.
    pub has_drift: bool,
    /// A gateway pays this currency.
    pub is_payable: bool,
}

/// Why the automatic cycle leaves a node out this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    ClockUntrusted,
    BelowThreshold,
    CurrencyNotPayable,
    UnresolvedPayout,
    TooSoon {
        until: Timestamp,
    },
    NoAddress,
    AddressOfOtherCurrency,
    AddressWaits {
        until: Timestamp,
    },
    HardwareDrift,
    /// The network's fee would be too large a share of it.
    FeeShare,
    /// The share of the fee is not known: what a TRX is worth was never said, or too long ago.
    RateUnknown,
    BlockedAddress,
    /// The last payouts to it were refused by the chain; a person has to ask for the next one.
    FailedRepeatedly,
    /// Nothing was paid for before the manager went live.
    NotLive,
}

impl Skip {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Skip::ClockUntrusted => "clock_untrusted",
            Skip::BelowThreshold => "below_threshold",
            Skip::CurrencyNotPayable => "currency_not_payable",
            Skip::UnresolvedPayout => "unresolved_payout",
            Skip::TooSoon { .. } => "too_soon",
            Skip::NoAddress => "no_address",
            Skip::AddressOfOtherCurrency => "address_of_other_currency",
            Skip::AddressWaits { .. } => "address_waits",
            Skip::HardwareDrift => "hardware_drift",
            Skip::FeeShare => "fee_share",
            Skip::RateUnknown => "rate_unknown",
            Skip::BlockedAddress => "blocked_address",
            Skip::FailedRepeatedly => "failed_repeatedly",
            Skip::NotLive => "not_live",
        }
    }

    /// The same reason, whatever its time.
    pub fn is_same_reason(&self, other: &Skip) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skip::ClockUntrusted => f.write_str("the clock is not trusted"),
            Skip::BelowThreshold => f.write_str("the balance is below the threshold"),
            Skip::CurrencyNotPayable => f.write_str("the currency cannot be paid"),
            Skip::UnresolvedPayout => f.write_str("a payout has not ended"),
            Skip::TooSoon { until } => write!(f, "paid lately; again from {until}"),
            Skip::NoAddress => f.write_str("the node has no payout address"),
            Skip::AddressOfOtherCurrency => f.write_str("the payout address is for another currency"),
            Skip::AddressWaits { until } => write!(f, "the payout address is new; active from {until}"),
            Skip::HardwareDrift => f.write_str("the node's hardware changed; an admin must accept it"),
            Skip::FeeShare => f.write_str("the network's fee would be too large a share of it; it is carried over"),
            Skip::RateUnknown => f.write_str("what a TRX is worth was not said in the last 30 days"),
            Skip::BlockedAddress => f.write_str("the address is on the list of those that are never paid"),
            Skip::FailedRepeatedly => f.write_str("the chain refused its last payouts; a person has to ask for the next one"),
            Skip::NotLive => f.write_str("the manager has not gone live with this wallet"),
        }
    }
}

/// What the automatic cycle pays now: the whole free balance, up to the largest payout.
pub fn eligible_for_payout(candidate: &Candidate<'_>, now: Now) -> Result<Units, Skip> {
    if !now.trusted {
        return Err(Skip::ClockUntrusted);
    }
    if candidate.free <= Units::ZERO || candidate.free < candidate.threshold {
        return Err(Skip::BelowThreshold);
    }
    if !candidate.is_payable {
        return Err(Skip::CurrencyNotPayable);
    }
    if candidate.has_unresolved {
        return Err(Skip::UnresolvedPayout);
    }
    let again_at = candidate.last_scheduled_at.map(|at| at.plus_seconds(i64::from(candidate.frequency_hours) * 3_600));
    if let Some(until) = again_at.filter(|at| now.wall < *at) {
        return Err(Skip::TooSoon { until });
    }
    let record = candidate.address.ok_or(Skip::NoAddress)?;
    if record.address.currency() != candidate.book.currency {
        return Err(Skip::AddressOfOtherCurrency);
    }
    if !record.is_active(now.wall) {
        return Err(Skip::AddressWaits { until: record.active_from });
    }
    if candidate.has_drift {
        return Err(Skip::HardwareDrift);
    }
    Ok(candidate.free.min(max_amount(candidate.book.currency)))
}
