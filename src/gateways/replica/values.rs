//! Values and documents in the cluster's terms, there and back.

use std::str::FromStr;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document as Doc, doc};

use crate::crypto::hex;
use crate::domain::replica::cluster::{Claim, Life, Managed, Position, Round, Through};
use crate::domain::replica::{Document, Fields, Rev, SCHEMA_VERSION, Value};
use crate::domain::time::Timestamp;

/// Between manager, table and key; in none of them.
const BETWEEN: char = '/';
/// Right after it, so that what lies between both is one table.
const AFTER: char = '0';

pub(super) fn bytes(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// Revisions are below 2^63.
pub(super) fn rev(rev: Rev) -> Bson {
    Bson::Int64(i64::try_from(rev.0).unwrap_or(i64::MAX))
}

pub(super) fn date(at: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(at.0))
}

fn value(of: &Value) -> Bson {
    match of {
        Value::Null => Bson::Null,
        Value::Bool(it) => Bson::Boolean(*it),
        Value::Whole(it) => Bson::Int64(*it),
        Value::Float(it) => Bson::Double(*it),
        Value::Text(it) => Bson::String(it.clone()),
        Value::Date(it) => date(*it),
        // 28 digits at most: they fit into its 34.
        Value::Decimal(it) => Decimal128::from_str(&it.to_string()).map_or(Bson::Null, Bson::Decimal128),
        Value::Bytes(it) => bytes(it),
        Value::List(list) => Bson::Array(list.iter().map(value).collect()),
        Value::Fields(of) => Bson::Document(fields(of)),
    }
}

pub(super) fn fields(of: &Fields) -> Doc {
    of.iter().map(|(name, of)| ((*name).to_owned(), value(of))).collect()
}

/// Where a row of a manager's table lies in its collection: in the order of names.
pub(super) fn id(manager: &str, table: &str, name: &[u8]) -> String {
    format!("{manager}{BETWEEN}{table}{BETWEEN}{}", hex(name))
}

/// What all ids of a table are above, and below.
pub(super) fn bounds(manager: &str, table: &str) -> (String, String) {
    (format!("{manager}{BETWEEN}{table}{BETWEEN}"), format!("{manager}{BETWEEN}{table}{AFTER}"))
}

/// What is written of a document, besides what it is found by.
pub(super) fn set(document: &Document, region: &str) -> Doc {
    let mut set = fields(&document.fields);
    set.extend(doc! {
        "region": region,
        "rev": rev(document.rev),
        "schema_version": SCHEMA_VERSION,
        "table": document.table,
        "key": bytes(&document.name),
        "deleted": document.record.is_none(),
    });
    if let Some(record) = &document.record {
        set.insert("record", bytes(record));
    }
    set
}

pub(super) fn read_bytes(of: &Doc, name: &str) -> Option<Vec<u8>> {
    of.get_binary_generic(name).ok().cloned()
}

/// Numbers come back in the width that the server found fit.
fn whole(of: &Doc, name: &str) -> Option<i64> {
    match of.get(name)? {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        _ => None,
    }
}

pub(super) fn number<T: TryFrom<i64>>(of: &Doc, name: &str) -> Option<T> {
    T::try_from(whole(of, name)?).ok()
}

pub(super) fn read_rev(of: &Doc, name: &str) -> Option<Rev> {
    number(of, name).map(Rev)
}

fn text(of: &Doc, name: &str) -> Option<String> {
    of.get_str(name).ok().map(str::to_owned)
}

/// What somebody else wrote, of at most so many bytes; none where there is nothing.
pub(super) fn fair_text(of: &Doc, name: &str, longest: usize) -> Option<String> {
    let text = of.get_str(name).ok().filter(|text| !text.is_empty())?;
    Some(text[..text.floor_char_boundary(longest)].to_owned())
}

pub(super) fn moment(of: &Doc, name: &str) -> Option<Timestamp> {
    of.get_datetime(name).ok().map(|at| Timestamp(at.timestamp_millis()))
}

pub(super) fn claim(of: &Claim) -> Doc {
    doc! {
        "generation": i64::from(of.generation),
        "starts": i64::from(of.starts),
        "run": &of.run,
        "copy": &of.copy,
        "beat": i64::try_from(of.beat).unwrap_or(i64::MAX),
        "released": of.is_released,
        "seen_at": date(of.seen_at),
        "schema_version": SCHEMA_VERSION,
    }
}

pub(super) fn round(of: Option<&Round>) -> Bson {
    let Some(of) = of else { return Bson::Null };
    let through = |of: &Through| Bson::Document(doc! { "table": &of.table, "key": bytes(&of.key) });
    Bson::Document(doc! {
        "rev": rev(of.rev),
        "at": date(of.at),
        "parts": i64::from(of.parts),
        "through": of.through.iter().map(through).collect::<Vec<_>>(),
    })
}

fn read_round(of: &Doc) -> Option<Round> {
    let through = of.get_array("through").ok()?.iter().map(|of| {
        let of = of.as_document()?;
        Some(Through { table: text(of, "table")?, key: read_bytes(of, "key")? })
    });
    Some(Round { rev: read_rev(of, "rev")?, at: moment(of, "at")?, parts: number(of, "parts")?, through: through.collect::<Option<_>>()? })
}

/// None: it is not what a manager wrote.
pub(super) fn read_managed(of: &Doc) -> Option<Managed> {
    let claim = Claim {
        generation: number(of, "generation")?,
        starts: number(of, "starts")?,
        run: text(of, "run")?,
        copy: text(of, "copy")?,
        beat: number(of, "beat")?,
        is_released: of.get_bool("released").ok()?,
        seen_at: moment(of, "seen_at")?,
    };
    let round = match of.get("round") {
        Some(Bson::Document(round)) => Some(read_round(round)?),
        _ => None,
    };
    Some(Managed { claim, round })
}

pub(super) fn position(of: &Position) -> Doc {
    doc! {
        "table": &of.table,
        "generation": i64::from(of.life.generation),
        "stretch": i64::from(of.life.stretch),
        "copy": &of.life.copy,
        "scan": rev(of.scan),
        "through": of.through.as_ref().map_or(Bson::Null, |key| bytes(key)),
        "whole": of.is_whole,
    }
}

pub(super) fn read_position(of: &Doc) -> Option<Position> {
    Some(Position {
        table: text(of, "table")?,
        life: Life { generation: number(of, "generation")?, stretch: number(of, "stretch")?, copy: text(of, "copy")? },
        scan: read_rev(of, "scan")?,
        through: read_bytes(of, "through"),
        is_whole: of.get_bool("whole").ok()?,
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn values_have_the_types_of_the_cluster() {
        let of = vec![
            ("money", Value::Decimal(Decimal::new(1_234_567, 6))),
            ("at", Value::Date(Timestamp(1_500))),
            ("list", Value::List(vec![Value::Fields(vec![("name", "eth0.100".into())])])),
            ("count", 7_u32.into()),
            ("none", Value::Null),
        ];
        let found = fields(&of);
        assert_eq!(found.get("money"), Some(&Bson::Decimal128("1.234567".parse().unwrap())));
        assert_eq!(found.get_datetime("at").unwrap().timestamp_millis(), 1_500);
        assert_eq!(found.get_array("list").unwrap()[0], Bson::Document(doc! { "name": "eth0.100" }));
        assert_eq!((found.get("count"), found.get("none")), (Some(&Bson::Int64(7)), Some(&Bson::Null)));
    }

    #[test]
    fn ids_of_a_table_lie_between_its_bounds_in_the_order_of_keys() {
        let (above, below) = bounds("manager_a", "nodes");
        let ids = [vec![], vec![0], vec![0, 255], vec![1], vec![255; 40]].map(|key| id("manager_a", "nodes", &key));
        assert!(ids.is_sorted() && ids.iter().all(|id| *id >= above && *id < below), "{ids:?}");
        for other in [id("manager_a", "node_ids", &[1]), id("manager_a", "nodes_", &[1]), id("manager_ab", "nodes", &[1])] {
            assert!(other < above || other >= below, "{other}");
        }
    }

    #[test]
    fn what_is_told_of_a_manager_comes_back() {
        let told = Managed {
            claim: Claim {
                generation: 3,
                starts: 9,
                run: "r".into(),
                copy: "c".into(),
                beat: 1 << 40,
                is_released: true,
                seen_at: Timestamp(5),
            },
            round: Some(Round {
                rev: Rev(1 << 62),
                at: Timestamp(7),
                parts: 2,
                through: vec![Through { table: "audit".into(), key: vec![0, 1] }],
            }),
        };
        let mut stored = claim(&told.claim);
        stored.insert("round", round(told.round.as_ref()));
        assert_eq!(read_managed(&stored), Some(told.clone()));
        stored.insert("round", round(None));
        assert_eq!(read_managed(&stored), Some(Managed { round: None, ..told }));
        stored.remove("run");
        assert_eq!(read_managed(&stored), None);
        let of = Position {
            table: "nodes".into(),
            life: Life { generation: 1, stretch: 2, copy: "c".into() },
            scan: Rev(7),
            through: Some(vec![1]),
            is_whole: true,
        };
        assert_eq!(read_position(&position(&of)), Some(of.clone()));
        let begun = Position { through: None, ..of };
        assert_eq!(read_position(&position(&begun)), Some(begun));
    }
}
