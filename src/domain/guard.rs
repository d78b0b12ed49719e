//! May this payout be signed now? Limits of a payout, of an hour, of a day and of a class of nodes, what a transfer may cost, who must not be paid, and when a
//! second person has to agree. One verdict, with its reason; nothing passes by its priority.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::address::PayoutAddress;
use super::money::Units;
use super::money_state::TrxRate;
use super::node::NodeType;
use super::time::{Now, Timestamp};
use crate::crypto;
use crate::domain::ledger::Settlement;
use crate::domain::payout::{Payout, Pin};

/// Where one admin is all there is, what would need a second one waits so long instead.
pub const LONE_ADMIN_WAITS_SECONDS: i64 = 24 * 3_600;
/// What was carried over because of its fee for so long is an alert.
pub const CARRIED_TOO_LONG_SECONDS: i64 = 14 * 86_400;
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardLimits {
    /// Of one payout.
    pub max_payout: Units,
    /// Of all payouts in any hour, and in any 24 hours.
    pub max_hour: Units,
    pub max_day: Units,
    pub classes: Vec<ClassLimit>,
    /// Of the amount that the network may cost, in hundredths; 0: it is not looked at.
    pub max_fee_hundredths: u32,
    /// Of all payouts in any 24 hours, above which a second admin has to approve.
    pub approval_above: Units,
    /// Texts of addresses that are never paid.
    pub blocked: BTreeSet<String>,
}

impl GuardLimits {
    /// Holds nothing back.
    pub fn unlimited() -> GuardLimits {
        let most = Units(i64::MAX);
        GuardLimits {
            max_payout: most,
            max_hour: most,
            max_day: most,
            classes: Vec::new(),
            max_fee_hundredths: 0,
            approval_above: most,
            blocked: BTreeSet::new(),
        }
    }
}

/// Limits for the nodes of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimit {
    pub class: NodeType,
    pub max_payout: Units,
    pub max_day: Units,
}

/// A payment that was signed, may have been made, and is not proven otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub at: Timestamp,
    pub amount: Units,
    pub class: NodeType,
}

/// Sums of what was signed lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spending {
    hour: i128,
    day: i128,
    /// Of the day, by class.
    classes: Vec<ClassSpent>,
    /// When the oldest payment that counts leaves the hour, and the day.
    hour_eases_at: Option<Timestamp>,
    day_eases_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClassSpent {
    class: NodeType,
    day: i128,
    eases_at: Timestamp,
}

impl Spending {
    pub fn of(payments: impl IntoIterator<Item = Spent>, now: Timestamp) -> Spending {
        let mut sums = Spending::default();
        for payment in payments {
            sums.add(payment, now);
        }
        sums
    }

    /// Counts a payment, if it is of the last 24 hours or of the future (by a clock that was set back since).
    pub fn add(&mut self, payment: Spent, now: Timestamp) {
        let age = now.since(payment.at);
        if age >= DAY_MS {
            return;
        }
        let (amount, ends) = (i128::from(payment.amount.0), |after: i64| payment.at.plus_ms(after));
        self.day += amount;
        self.day_eases_at = Some(self.day_eases_at.map_or(ends(DAY_MS), |at| at.min(ends(DAY_MS))));
        if age < HOUR_MS {
            self.hour += amount;
            self.hour_eases_at = Some(self.hour_eases_at.map_or(ends(HOUR_MS), |at| at.min(ends(HOUR_MS))));
        }
        match self.classes.iter_mut().find(|spent| spent.class == payment.class) {
            Some(spent) => (spent.day, spent.eases_at) = (spent.day + amount, spent.eases_at.min(ends(DAY_MS))),
            None => self.classes.push(ClassSpent { class: payment.class, day: amount, eases_at: ends(DAY_MS) }),
        }
    }

    /// Smallest units signed in the last 24 hours.
    pub fn day(&self) -> Units {
        Units(i64::try_from(self.day).unwrap_or(i64::MAX))
    }

    /// The same of the last hour.
    pub fn hour(&self) -> Units {
        Units(i64::try_from(self.hour).unwrap_or(i64::MAX))
    }

    fn of_class(&self, class: NodeType) -> Option<&ClassSpent> {
        self.classes.iter().find(|spent| spent.class == class)
    }
}

/// A payout as its guards see it.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub amount: Units,
    pub address: &'a PayoutAddress,
    pub class: NodeType,
    /// What the network would take; None: the gateway has no such fees.
    pub fee_sun: Option<u64>,
    pub rate: Option<TrxRate>,
    /// A second admin approved exactly this.
    pub is_approved: bool,
    /// When it was planned, where the manager has one admin alone.
    pub lone_admin_since: Option<Timestamp>,
    /// Nobody waits for the fee to fall: it was asked for by a person, or is the last one of a node.
    pub pays_any_fee: bool,
}

/// Why a payout is not signed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutGuard)]
pub enum Guard {
    BlockedAddress,
    MaxPayout,
    ClassMaxPayout,
    HourCap,
    DayCap,
    ClassDayCap,
    FeeShare,
    RateMissing,
    RateOld,
    Approval,
    LoneAdmin,
}

impl Guard {
    pub fn name(self) -> &'static str {
        match self {
            Guard::BlockedAddress => "blocked_address",
            Guard::MaxPayout => "max_payout",
            Guard::ClassMaxPayout => "class_max_payout",
            Guard::HourCap => "hour_cap",
            Guard::DayCap => "day_cap",
            Guard::ClassDayCap => "class_day_cap",
            Guard::FeeShare => "fee_share",
            Guard::RateMissing => "rate_missing",
            Guard::RateOld => "rate_old",
            Guard::Approval => "approval",
            Guard::LoneAdmin => "lone_admin",
        }
    }
}

/// A guard that holds a payout back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub guard: Guard,
    /// When it passes by time alone, where that is known.
    pub until: Option<Timestamp>,
}

impl Held {
    fn by(guard: Guard) -> Held {
        Held { guard, until: None }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.guard {
            Guard::BlockedAddress => "the address is on the list of addresses that are never paid",
            Guard::MaxPayout => "it is more than one payout may be",
            Guard::ClassMaxPayout => "it is more than one payout to a node of this type may be",
            Guard::HourCap => "the limit of an hour is reached",
            Guard::DayCap => "the limit of 24 hours is reached",
            Guard::ClassDayCap => "the limit of 24 hours for nodes of this type is reached",
            Guard::FeeShare => "the network's fee would be too large a share of it; it is carried over",
            Guard::RateMissing => "nobody has said what a TRX is worth, so the share of the fee is not known",
            Guard::RateOld => "what a TRX is worth was said more than 30 days ago",
            Guard::Approval => "a second admin has to approve it",
            Guard::LoneAdmin => "there is no second admin to approve it: it waits 24 hours instead",
        })?;
        if let Some(until) = self.until {
            write!(f, " (until {until})")?;
        }
        Ok(())
    }
}

/// The guards that look at the payout alone: also asked before it is planned. What it costs comes last, because that changes.
pub fn plannable(limits: &GuardLimits, facts: &Facts<'_>, now: Now) -> Result<(), Held> {
    if limits.blocked.contains(facts.address.as_str()) {
        return Err(Held::by(Guard::BlockedAddress));
    }
    if facts.amount > limits.max_payout {
        return Err(Held::by(Guard::MaxPayout));
    }
    let class = limits.classes.iter().find(|limit| limit.class == facts.class);
    if class.is_some_and(|limit| facts.amount > limit.max_payout) {
        return Err(Held::by(Guard::ClassMaxPayout));
    }
    fee(limits, facts, now)
}

fn fee(limits: &GuardLimits, facts: &Facts<'_>, now: Now) -> Result<(), Held> {
    let Some(fee_sun) = facts.fee_sun.filter(|_| limits.max_fee_hundredths > 0 && !facts.pays_any_fee) else { return Ok(()) };
    let rate = facts.rate.ok_or(Held::by(Guard::RateMissing))?;
    if !rate.is_usable(now.wall) {
        return Err(Held::by(Guard::RateOld));
    }
    let share = i128::from(facts.amount.0) * i128::from(limits.max_fee_hundredths);
    if i128::from(rate.in_usdt(fee_sun).0) * 10_000 > share { Err(Held::by(Guard::FeeShare)) } else { Ok(()) }
}

/// The smallest amount of which `fee_sun` is no more than the allowed share; None while the rate is not known.
pub fn effective_minimum(limits: &GuardLimits, fee_sun: u64, rate: Option<TrxRate>, now: Timestamp) -> Option<Units> {
    if limits.max_fee_hundredths == 0 {
        return Some(Units(1));
    }
    let rate = rate.filter(|rate| rate.is_usable(now))?;
    let share = i128::from(limits.max_fee_hundredths);
    let least = (i128::from(rate.in_usdt(fee_sun).0) * 10_000 + share - 1) / share;
    Some(Units(i64::try_from(least).unwrap_or(i64::MAX)))
}

/// Every guard, before a payout is signed. `spending` holds what was signed before it, in this wave too.
pub fn signable(limits: &GuardLimits, facts: &Facts<'_>, spending: &Spending, now: Now) -> Result<(), Held> {
    plannable(limits, facts, now)?;
    let amount = i128::from(facts.amount.0);
    if spending.hour + amount > i128::from(limits.max_hour.0) {
        return Err(Held { guard: Guard::HourCap, until: spending.hour_eases_at });
    }
    if spending.day + amount > i128::from(limits.max_day.0) {
        return Err(Held { guard: Guard::DayCap, until: spending.day_eases_at });
    }
    let class = limits.classes.iter().find(|limit| limit.class == facts.class);
    let of_class = spending.of_class(facts.class);
    if class.is_some_and(|limit| of_class.map_or(0, |spent| spent.day) + amount > i128::from(limit.max_day.0)) {
        return Err(Held { guard: Guard::ClassDayCap, until: of_class.map(|spent| spent.eases_at) });
    }
    if spending.day + amount > i128::from(limits.approval_above.0) && !facts.is_approved {
        return match facts.lone_admin_since.map(|since| since.plus_seconds(LONE_ADMIN_WAITS_SECONDS)) {
            None => Err(Held::by(Guard::Approval)),
            Some(until) if now.wall < until => Err(Held { guard: Guard::LoneAdmin, until: Some(until) }),
            Some(_) => Ok(()),
        };
    }
    Ok(())
}

/// Addresses that no release pays: `data/blocked-addresses.txt`.
pub fn known_blocked() -> impl Iterator<Item = String> {
    let lines = include_str!("../../data/blocked-addresses.txt").lines();
    lines.filter_map(|line| line.split_whitespace().next()).filter(|word| !word.starts_with('#')).map(str::to_owned)
}

/// What an approval is bound to: where the money comes from, what a transfer may cost, and every payout with its address and amount. `payouts` in the order of their
/// sequence. Another gateway, wallet, amount or address makes another digest.
pub fn approval_digest(settlement: Settlement, pin: &Pin, fee_cap_sun: u64, payouts: &[Payout]) -> [u8; 32] {
    let mut text = format!(
        "lucid/approval/v1\n{settlement}\n{}\n{}\n{}\n{}\n{fee_cap_sun}\n{}\n",
        pin.gateway,
        pin.network,
        pin.wallet,
        pin.contract,
        payouts.len()
    );
    for payout in payouts {
        let Payout { id, address, amount, book, .. } = payout;
        text.push_str(&format!("{id} {address} {} {}\n", amount.0, book.currency));
    }
    crypto::sha256(text.as_bytes())
}

#[cfg(test)]
mod tests;
