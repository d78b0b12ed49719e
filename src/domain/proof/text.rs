//! How bytes and large integers are written in a document: lower-case hex, and digits in a text, because a browser's numbers end at 2^53. There is one way to
//! write each value, so that a changed document never says the same.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crypto;

/// Bytes as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Hex<N> {
    pub fn parse(text: &str) -> Option<Hex<N>> {
        let bytes = crypto::unhex(text).filter(|bytes| crypto::hex(bytes) == text)?;
        bytes.try_into().ok().map(Hex)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crypto::hex(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hex<N>, D::Error> {
        let text = String::deserialize(from)?;
        Hex::parse(&text).ok_or_else(|| D::Error::custom(format!("must be {N} bytes in lower-case hex")))
    }
}

/// Integers as digits: for `#[serde(with = "digits")]`.
pub mod digits {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr + Display, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        let value = text.parse().ok().filter(|value: &T| value.to_string() == text);
        value.ok_or_else(|| D::Error::custom("must be an integer in digits"))
    }
}

/// A field that may be null and may not be left out: for `#[serde(deserialize_with = "nullable")]`.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        bytes: Hex<2>,
        #[serde(with = "digits")]
        number: i128,
    }

    #[test]
    fn each_value_is_written_in_one_way() {
        let both = Both { bytes: Hex([0xab, 1]), number: -7 };
        let json = serde_json::to_string(&both).unwrap();
        assert_eq!(json, r#"{"bytes":"ab01","number":"-7"}"#);
        assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        for wrong in [("ab01", "AB01"), ("ab01", "ab0"), ("ab01", "ab"), ("-7", "-07"), ("-7", "+7"), ("-7", ""), ("\"-7\"", "-7")] {
            assert!(serde_json::from_str::<Both>(&json.replace(wrong.0, wrong.1)).is_err(), "{wrong:?}");
        }
    }
}
