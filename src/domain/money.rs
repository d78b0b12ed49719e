//! Money as integers. An amount is never a float, and never without its currency outside a book.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Currency {
    #[serde(rename = "USDT")]
    Usdt,
    #[serde(rename = "LUCID")]
    Lucid,
}

impl Currency {
    /// Decimal places of the smallest unit.
    pub fn decimals(self) -> u32 {
        match self {
            Currency::Usdt => 6,
            Currency::Lucid => 8,
        }
    }

    pub fn code(self) -> &'static str {
        match self {
            Currency::Usdt => "USDT",
            Currency::Lucid => "LUCID",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Arithmetic that left the range of the type: a broken invariant, never an expected refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount left the range of its type")
    }
}

/// Smallest units of a book's currency (micro-USDT: 10^-6 USDT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Units(pub i64);

impl Units {
    pub const ZERO: Units = Units(0);

    pub fn plus(self, other: Units) -> Result<Units, Overflow> {
        self.0.checked_add(other.0).map(Units).ok_or(Overflow)
    }

    pub fn minus(self, other: Units) -> Result<Units, Overflow> {
        self.0.checked_sub(other.0).map(Units).ok_or(Overflow)
    }

    pub fn negated(self) -> Result<Units, Overflow> {
        self.0.checked_neg().map(Units).ok_or(Overflow)
    }

    /// As a person writes it: `12.5` for 12,500,000 micro-USDT; no trailing zeros, never scientific.
    pub fn to_decimal(self, currency: Currency) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.0), currency.decimals()).normalize()
    }
}

/// Millionths of a unit: what credits are accrued in, so that nothing is lost before the one floor at posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pico(pub i128);

impl Pico {
    pub const ZERO: Pico = Pico(0);
    /// Pico-units in one unit.
    pub const PER_UNIT: i128 = 1_000_000;

    pub fn plus(self, other: Pico) -> Result<Pico, Overflow> {
        self.0.checked_add(other.0).map(Pico).ok_or(Overflow)
    }

    /// As a person writes it, exact: at most six places more than the currency has.
    pub fn to_decimal(self, currency: Currency) -> Result<Decimal, Overflow> {
        let exact = Decimal::try_from_i128_with_scale(self.0, currency.decimals() + 6).map_err(|_| Overflow)?;
        Ok(exact.normalize())
    }

    /// Whole units, and the remainder that stays (0 <= remainder < one unit for amounts >= 0).
    pub fn split(self) -> Result<(Units, Pico), Overflow> {
        let whole = i64::try_from(self.0.div_euclid(Pico::PER_UNIT)).map_err(|_| Overflow)?;
        Ok((Units(whole), Pico(self.0.rem_euclid(Pico::PER_UNIT))))
    }
}

/// An amount with its currency: the form at every border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub currency: Currency,
    pub units: Units,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountError {
    NotANumber,
    TooPrecise(Currency),
    OutOfRange,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AmountError::NotANumber => write!(f, "must be a decimal number"),
            AmountError::TooPrecise(c) => write!(f, "{c} has at most {} decimal places", c.decimals()),
            AmountError::OutOfRange => write!(f, "is out of range"),
        }
    }
}

impl Amount {
    /// Exact: a digit more than the currency has is an error, never rounded. Takes plain and scientific
    /// notation, as JSON numbers may have either.
    pub fn parse(text: &str, currency: Currency) -> Result<Amount, AmountError> {
        let decimal = parse_decimal(text)?;
        Amount::from_decimal(decimal, currency)
    }

    pub fn from_decimal(decimal: Decimal, currency: Currency) -> Result<Amount, AmountError> {
        let normal = decimal.normalize();
        if normal.scale() > currency.decimals() {
            return Err(AmountError::TooPrecise(currency));
        }
        let factor = 10i128.pow(currency.decimals() - normal.scale());
        let units = normal.mantissa().checked_mul(factor).ok_or(AmountError::OutOfRange)?;
        let units = i64::try_from(units).map_err(|_| AmountError::OutOfRange)?;
        Ok(Amount { currency, units: Units(units) })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.units.to_decimal(self.currency), self.currency)
    }
}

/// A decimal from the raw text of a JSON number or string.
pub fn parse_decimal(text: &str) -> Result<Decimal, AmountError> {
    let plausible = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if !plausible {
        return Err(AmountError::NotANumber);
    }
    // `from_str` rounds beyond 28 digits; the exact form refuses instead.
    Decimal::from_str_exact(text)
        .or_else(|_| if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) })
        .map_err(|_| if Decimal::from_str(text).is_ok() { AmountError::OutOfRange } else { AmountError::NotANumber })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usdt(text: &str) -> Result<i64, AmountError> {
        Amount::parse(text, Currency::Usdt).map(|a| a.units.0)
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!(usdt("10"), Ok(10_000_000));
        assert_eq!(usdt("0.000001"), Ok(1));
        assert_eq!(usdt("1e-6"), Ok(1));
        assert_eq!(usdt("1.50"), Ok(1_500_000));
        assert_eq!(usdt("0.0000001"), Err(AmountError::TooPrecise(Currency::Usdt)));
        assert_eq!(usdt("1.0000000"), Ok(1_000_000), "zeros are not precision");
        assert_eq!(usdt("9999999999999999"), Err(AmountError::OutOfRange));
        for bad in ["", "NaN", "inf", "1,5", "0x10", "1 0", "--1", "1_000"] {
            assert_eq!(usdt(bad), Err(AmountError::NotANumber), "{bad}");
        }
        assert_eq!(Amount::parse("0.00000001", Currency::Lucid).map(|a| a.units.0), Ok(1));
    }

    #[test]
    fn faces_round_trip() {
        for units in [0, 1, 10, 1_000_000, 12_345_678, -5] {
            let face = Units(units).to_decimal(Currency::Usdt).to_string();
            assert_eq!(usdt(&face), Ok(units), "{face}");
        }
    }

    #[test]
    fn pico_splits_into_units_and_remainder() {
        assert_eq!(Pico(2_500_001).split(), Ok((Units(2), Pico(500_001))));
        assert_eq!(Pico(999_999).split(), Ok((Units(0), Pico(999_999))));
        assert_eq!(Pico(i128::MAX).split(), Err(Overflow));
        assert_eq!(Pico(4_166_666_666).to_decimal(Currency::Usdt).map(|d| d.to_string()).as_deref(), Ok("0.004166666666"));
        assert_eq!(Pico(100_000_000).to_decimal(Currency::Lucid).map(|d| d.to_string()).as_deref(), Ok("0.000001"));
        assert_eq!(Pico(i128::MAX).to_decimal(Currency::Usdt), Err(Overflow));
    }
}
