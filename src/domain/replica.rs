//! What goes to the cluster where many managers meet: documents, in no database's terms.

pub mod cluster;
pub mod fleet;
pub mod lag;
pub mod pace;
mod plain;
mod veil;

pub use veil::veiled;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Version of the documents' shape.
pub const SCHEMA_VERSION: i64 = 1;
/// What every document has besides its own fields.
pub const COMMON: &[&str] = &["manager_id", "region", "rev", "schema_version", "table", "key", "record", "deleted"];

/// Grows over everything that happens to a store, restores among it: of two states of a row the later one has the larger. Below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rev(pub u64);

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Whole(i64),
    Float(f64),
    Text(String),
    Date(Timestamp),
    Decimal(Decimal),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Fields(Fields),
}

/// Names are literals: nothing that came from outside becomes the name of a field.
pub type Fields = Vec<(&'static str, Value)>;

impl Value {
    /// By the names of the type's own fields.
    ///
    /// # Errors
    /// It has a map in it, whose keys would become names.
    pub fn of(it: &impl Serialize) -> Result<Value, NotPlain> {
        it.serialize(plain::Plain)
    }
}

/// What has keys that are no names of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPlain(pub String);

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Whole(value.into())
    }
}

/// What is beyond the largest number of the cluster stays its largest.
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Value {
        Value::Decimal(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Value {
        Value::Date(value)
    }
}

impl From<Fields> for Value {
    fn from(value: Fields) -> Value {
        Value::Fields(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// A row of the store as the cluster has it, or that there is none any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub collection: &'static str,
    pub table: &'static str,
    /// As the store has it. It stays here: the cluster has `name`.
    pub key: Vec<u8>,
    /// What the cluster calls the row, within manager and table: its key, or a keyed hash of a key that must not leave.
    pub name: Vec<u8>,
    pub rev: Rev,
    /// Of its own; the same names in every document of a collection.
    pub fields: Fields,
    /// The row, sealed: `storage::replica::documents::opened`. None: it is gone.
    pub record: Option<Vec<u8>>,
}

impl Document {
    /// Bytes on the way, about.
    pub fn size(&self) -> usize {
        self.name.len() + self.record.as_ref().map_or(0, Vec::len) + size_of(&self.fields) + COMMON.len() * OF_FIELD
    }
}

/// Bytes of a field beside those of its value, about.
const OF_FIELD: usize = 24;

fn size_of(fields: &Fields) -> usize {
    fields.iter().map(|(_, value)| OF_FIELD + value.size()).sum()
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) => 1,
            Value::Whole(_) | Value::Float(_) | Value::Date(_) => 8,
            Value::Decimal(_) => 16,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(|value| OF_FIELD + value.size()).sum(),
            Value::Fields(fields) => size_of(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Outer {
        name: &'static str,
        count: u64,
        ratio: f64,
        kind: Kind,
        none: Option<u32>,
        list: Vec<Inner>,
    }

    #[derive(Serialize)]
    struct Inner {
        #[serde(rename = "type")]
        kind: String,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        OfOne,
    }

    #[test]
    fn names_are_those_of_the_type_and_never_come_from_outside() {
        let outer =
            Outer { name: "a", count: u64::MAX, ratio: 0.5, kind: Kind::OfOne, none: None, list: vec![Inner { kind: "SSD".into() }] };
        let inner = Value::Fields(vec![("type", "SSD".into())]);
        let fields: Fields = vec![
            ("name", "a".into()),
            ("count", Value::Whole(i64::MAX)),
            ("ratio", 0.5.into()),
            ("kind", "of_one".into()),
            ("none", Value::Null),
            ("list", Value::List(vec![inner])),
        ];
        assert_eq!(Value::of(&outer), Ok(Value::Fields(fields)));
        let map = std::collections::BTreeMap::from([("eth0.100", 1)]);
        assert!(Value::of(&map).is_err());
        assert!(Value::of(&Some(map)).is_err());
    }
}
