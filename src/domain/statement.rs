//! What a month was for one node in one book: the movements of its accounts, each of one kind, and the balances around them.
//!
//! Statements close calendar months in UTC. A posting belongs to the month in which it was written; an accrual to the month of its last epoch, because
//! it is posted after its day is over.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, Month as Calendar, OffsetDateTime};

use super::credits::Epoch;
use super::ids::NodeIndex;
use super::ledger::{Account, Book, Cause, Posting};
use super::money::{Overflow, Units};
use super::time::Timestamp;

/// A calendar month in UTC: months since the beginning of year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(pub u32);

impl Month {
    pub fn of(at: Timestamp) -> Month {
        let date = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
        let year = u32::try_from(date.year()).unwrap_or_default();
        Month(year * 12 + u32::from(u8::from(date.month())) - 1)
    }

    /// The month in which an epoch begins.
    pub fn of_epoch(epoch: Epoch) -> Month {
        Month::of(epoch.first_slot().start())
    }

    /// `2026-09`, and nothing else.
    pub fn parse(text: &str) -> Option<Month> {
        let (year, month) = text.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        ((1970..=9998).contains(&year) && (1..=12).contains(&month)).then(|| Month(year * 12 + month - 1))
    }

    pub fn next(self) -> Month {
        Month(self.0 + 1)
    }

    pub fn previous(self) -> Month {
        Month(self.0.saturating_sub(1))
    }

    pub fn start(self) -> Timestamp {
        let (year, month) = (i32::try_from(self.0 / 12).unwrap_or_default(), u8::try_from(self.0 % 12 + 1).unwrap_or(1));
        let date = Calendar::try_from(month).ok().and_then(|month| Date::from_calendar_date(year, month, 1).ok());
        Timestamp::from_seconds(date.map_or(0, |date| date.midnight().assume_utc().unix_timestamp()))
    }

    /// The first moment after it.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// The end of a range of epochs that ends with the month.
    pub fn last_epoch(self) -> Epoch {
        Epoch(self.end().slot().0).just_before()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// The movements of one node's accounts in one book over one month. Every one is named after what it is called on a statement; `adjustments` alone can
/// be negative.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub earned: Units,
    pub rewards: Units,
    /// By admins, going live among it.
    pub adjustments: Units,
    /// Promised to payouts.
    pub reserved: Units,
    /// Promised, and given back by a payout that ended without paying.
    pub released: Units,
    /// By payouts.
    pub paid: Units,
    /// Found to have left the wallet to the node's address without a payout: paid in advance.
    pub unplanned: Units,
    pub forfeited: Units,
    /// The operator's expense for the node's payouts, whatever became of them.
    pub fees_sun: u64,
    /// What the pool kept of its price, in units x slots (120 slots are an hour), so that it is exact. Owed to nobody.
    pub withheld: i128,
}

/// Slots in an hour: what `withheld` is divided by.
const SLOTS_PER_HOUR: i128 = 120;

impl Totals {
    fn sum(parts: impl IntoIterator<Item = Units>) -> Result<Units, Overflow> {
        parts.into_iter().try_fold(Units::ZERO, Units::plus)
    }

    /// What the month did to what is owed and free.
    pub fn payable_change(&self) -> Result<Units, Overflow> {
        let grown = Totals::sum([self.earned, self.rewards, self.adjustments, self.released])?;
        grown.minus(Totals::sum([self.reserved, self.unplanned, self.forfeited])?)
    }

    /// What it did to what is promised to payouts.
    pub fn reserved_change(&self) -> Result<Units, Overflow> {
        self.reserved.minus(Totals::sum([self.released, self.paid])?)
    }

    pub fn paid_change(&self) -> Result<Units, Overflow> {
        self.paid.plus(self.unplanned)
    }

    /// Floored to a unit once.
    pub fn commission(&self) -> Result<Units, Overflow> {
        i64::try_from(self.withheld.div_euclid(SLOTS_PER_HOUR)).map(Units).map_err(|_| Overflow)
    }

    pub fn add(&mut self, other: &Totals) -> Result<(), Overflow> {
        for (mine, theirs) in [
            (&mut self.earned, other.earned),
            (&mut self.rewards, other.rewards),
            (&mut self.adjustments, other.adjustments),
            (&mut self.reserved, other.reserved),
            (&mut self.released, other.released),
            (&mut self.paid, other.paid),
            (&mut self.unplanned, other.unplanned),
            (&mut self.forfeited, other.forfeited),
        ] {
            *mine = mine.plus(theirs)?;
        }
        self.fees_sun = self.fees_sun.checked_add(other.fees_sun).ok_or(Overflow)?;
        self.withheld = self.withheld.checked_add(other.withheld).ok_or(Overflow)?;
        Ok(())
    }
}

/// Where a posting stands on statements: its month, and what it moves for each node. `fees_sun` is what the payout of the posting has cost.
pub fn movements(posting: &Posting, fees_sun: u64) -> Result<(Month, BTreeMap<NodeIndex, Totals>), Overflow> {
    let month = match posting.entry.cause {
        Cause::Accrual { through, .. } => Month::of_epoch(through),
        _ => Month::of(posting.at),
    };
    let mut of_nodes: BTreeMap<NodeIndex, Totals> = BTreeMap::new();
    for line in &posting.entry.lines {
        let Account::NodePayable(node) = line.account else { continue };
        let (amount, taken) = (line.amount, line.amount.negated()?);
        let totals = of_nodes.entry(node).or_default();
        match posting.entry.cause {
            Cause::Accrual { .. } => totals.earned = amount,
            Cause::Reward { .. } => totals.rewards = amount,
            Cause::Adjustment { .. } | Cause::GoLive { .. } => totals.adjustments = amount,
            Cause::Reserve { .. } => totals.reserved = taken,
            Cause::Release { .. } => (totals.released, totals.fees_sun) = (amount, fees_sun),
            Cause::Unexplained { .. } => totals.unplanned = taken,
            Cause::Forfeiture { .. } => totals.forfeited = taken,
            // What is paid was reserved before.
            Cause::Paid { .. } => (),
        }
    }
    if let Cause::Paid { .. } = posting.entry.cause {
        for line in &posting.entry.lines {
            if let Account::NodePaid(node) = line.account {
                let totals = of_nodes.entry(node).or_default();
                (totals.paid, totals.fees_sun) = (line.amount, fees_sun);
            }
        }
    }
    Ok((month, of_nodes))
}

/// One month of one node in one book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub node: NodeIndex,
    pub book: Book,
    pub month: Month,
    /// Owed and free when the month began, carried over from the one before.
    pub opening: Units,
    pub totals: Totals,
    /// Promised to payouts when the month ended.
    pub reserved_at_end: Units,
    /// Owed and free when the month ended.
    pub closing: Units,
}

impl Statement {
    /// The month before which `payable` and `reserved` are what they are: balances at its end, and what it moved.
    pub fn ending(
        node: NodeIndex,
        book: Book,
        month: Month,
        (payable, reserved): (Units, Units),
        totals: Totals,
    ) -> Result<Statement, Overflow> {
        let opening = payable.minus(totals.payable_change()?)?;
        Ok(Statement { node, book, month, opening, totals, reserved_at_end: reserved, closing: payable })
    }

    /// Nothing was owed and nothing happened.
    pub fn is_empty(&self) -> bool {
        self.opening == Units::ZERO && self.reserved_at_end == Units::ZERO && self.totals == Totals::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_calendar_months_in_utc() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let september = Month::parse("2026-09").unwrap();
        assert_eq!((Month::of(at("2026-09-01T00:00:00Z")), Month::of(at("2026-08-31T23:59:59.999Z"))), (september, september.previous()));
        assert_eq!((september.start(), september.end()), (at("2026-09-01T00:00:00Z"), at("2026-10-01T00:00:00Z")));
        assert_eq!(Month::parse("2026-12").unwrap().next().to_string(), "2027-01");
        assert_eq!(september.last_epoch().first_slot().plus(1).start(), september.end());
        assert_eq!((Month::of_epoch(september.last_epoch()), Month::of(Timestamp(0)).to_string()), (september, "1970-01".into()));
        for wrong in ["", "2026", "2026-13", "2026-00", "2026-9", "26-09", "2026-09-01", "+026-09", "1969-12", "9999-01", "2026-٠٩"] {
            assert_eq!(Month::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn commission_is_floored_once() {
        let of = |withheld| Totals { withheld, ..Totals::default() }.commission().map(|units| units.0);
        assert_eq!((of(10_000 * 120), of(119), of(240), of(-1)), (Ok(10_000), Ok(0), Ok(2), Ok(-1)));
        assert_eq!(of(i128::MAX), Err(Overflow));
    }
}
