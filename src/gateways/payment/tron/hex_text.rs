//! Bytes as hex digits in JSON, for `#[serde(with = "hex_text")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::crypto;

pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crypto::hex(bytes.as_ref()))
}

/// Refuses what has another length than `T`.
pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = crypto::unhex(&text).ok_or_else(|| D::Error::custom("must be hex digits"))?;
    T::try_from(bytes).map_err(|_| D::Error::custom("has a wrong number of hex digits"))
}
