//! Golden records: bytes that a release wrote, one file per record type and version in `data/golden/`, one record per line in hex. Today's
//! code reads them as what they were and writes them the same, or the version of the record has to go up.
//!
//! `LUCID_WRITE_GOLDEN=1 cargo test --lib golden` writes the files of the present versions anew.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::crypto::{hex, unhex};
use crate::domain::money::{Currency, Units};
use crate::domain::pool::Pricing;
use crate::domain::time::{Slot, Timestamp};
use crate::storage::core::meta::Counters;
use crate::storage::table::{Record, decode, encode};
use crate::storage::{cold, core, hot};

/// The records of one type at its present version.
pub(super) struct Golden {
    name: &'static str,
    version: u8,
    /// As today's code writes them.
    lines: Vec<String>,
    /// What is wrong with the lines of a file.
    check: Box<dyn Fn(&[String]) -> Result<(), String>>,
}

impl Golden {
    pub(super) fn of<V: Record + PartialEq + Debug + 'static>(name: &'static str, values: Vec<V>) -> Golden {
        let lines = values.iter().map(|value| hex(&encode(value).unwrap())).collect();
        let check = move |lines: &[String]| {
            if lines.len() != values.len() {
                return Err(format!("{} records instead of {}", lines.len(), values.len()));
            }
            for (line, expected) in lines.iter().zip(&values) {
                let bytes = unhex(line).ok_or("is not hex")?;
                let found: V = decode(&bytes)?;
                if found != *expected {
                    return Err(format!("reads as {found:?} instead of {expected:?}"));
                }
                if encode(&found).unwrap() != bytes {
                    return Err(format!("writes differently: {found:?}"));
                }
            }
            Ok(())
        };
        Golden { name, version: V::VERSION, lines, check: Box::new(check) }
    }

    fn file(&self) -> String {
        format!("{}.v{}.hex", self.name, self.version)
    }
}

/// Any value of a type whose fields are private, from what has the same bytes.
pub(super) fn like<V: serde::de::DeserializeOwned>(same_bytes: &impl serde::Serialize) -> V {
    postcard::from_bytes(&postcard::to_stdvec(same_bytes).unwrap()).unwrap()
}

pub(super) const AT: Timestamp = Timestamp(1_790_000_000_123);
pub(super) const SLOT: Slot = Slot(59_666_666);

pub(super) fn pricing(currency: Currency) -> Pricing {
    Pricing { cost_per_hour: Units(50_000), reward_per_hour: Units(40_000), currency }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("data/golden")
}

/// Name and version of every record, from the `record!` declarations of this layer.
fn declared() -> BTreeMap<String, u8> {
    let mut folders = vec![root().join("src/storage")];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let blocks = text.lines().enumerate().filter(|(_, line)| line.starts_with("record! {")).map(|(n, _)| n);
            for block in blocks {
                let body: String = text.lines().skip(block).take_while(|line| !line.is_empty()).collect();
                let body = body.trim_start_matches("record! {").split('}').next().unwrap();
                for pair in body.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
                    let (name, version) = pair.split_once(" = ").unwrap();
                    let version = version.split(' ').next().unwrap();
                    assert!(found.insert(name.to_owned(), version.parse().unwrap()).is_none(), "two records named {name}");
                }
            }
        }
    }
    found
}

#[test]
fn every_record_type_has_golden_records_that_read_and_write_as_ever() {
    let goldens: Vec<Golden> = core::golden::goldens().into_iter().chain(hot::golden::goldens()).chain(cold::goldens()).collect();
    let present: BTreeMap<String, u8> = goldens.iter().map(|golden| (golden.name.to_owned(), golden.version)).collect();
    assert_eq!(present, declared(), "every record type is here");
    if std::env::var_os("LUCID_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for golden in &goldens {
            std::fs::write(folder().join(golden.file()), golden.lines.join("\n") + "\n").unwrap();
        }
    }
    for golden in &goldens {
        let text = std::fs::read_to_string(folder().join(golden.file())).unwrap_or_else(|_| panic!("{} is missing", golden.file()));
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Err(why) = (golden.check)(&lines) {
            panic!("{}: {why}", golden.file());
        }
    }
}

#[test]
fn every_golden_file_is_of_a_version_that_is_known() {
    let declared = declared();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.strip_suffix(".hex").and_then(|rest| rest.split_once(".v")).is_some_and(|(record, version)| {
            declared.get(record).is_some_and(|newest| version.parse::<u8>().is_ok_and(|v| (1..=*newest).contains(&v)))
        });
        assert!(known, "{name} belongs to no record");
    }
}

#[test]
fn a_changed_shape_is_noticed() {
    let golden = Golden::of("Counters", vec![Counters { nodes: 1, pools: 2 }]);
    assert!((golden.check)(&[hex(&[1, 1, 2])]).is_ok());
    assert!((golden.check)(&[hex(&[1, 2, 1])]).unwrap_err().contains("instead of"));
    assert!((golden.check)(&[hex(&[2, 1, 2])]).is_err(), "a newer version");
    assert!((golden.check)(&[hex(&[1, 1, 0x82, 0])]).unwrap_err().contains("writes differently"), "not the shortest form");
    assert!((golden.check)(&[]).is_err());
}
