use std::io::Read;

use super::content::{Content, Making};
use super::outputs::Outputs;
use super::*;
use crate::crypto::{SecretKey, sha256};
use crate::domain::ids::NodeIndex;
use crate::domain::node::MAX_NODES;
use crate::domain::output::{Proof, Wrongs};
use crate::domain::statement::Month;
use crate::domain::validation::Validation;
use crate::storage::core::testing::{Fixture, act, new_node, node_id};
use crate::storage::core::{archives, nodes};
use crate::storage::hot::outputs as log;
use crate::storage::testing::NOW;

/// One output each three hours from the beginning of September 2025, in rows that fill a page.
const FIRST: Month = Month(2025 * 12 + 8);
const OF_SEPTEMBER: u64 = 30 * 8;
const ALL: u64 = 700;
const KEPT: Month = Month(2025 * 12 + 10);

fn proof(number: u64) -> Proof {
    let hash = sha256(&number.to_le_bytes());
    Proof {
        node: NodeIndex(0),
        received_at: FIRST.start().plus_seconds(i64::try_from(number - 1).unwrap() * 3 * 3_600),
        timestamp: FIRST.start(),
        wrongs: Wrongs::default(),
        challenge_slot: None,
        counted: false,
        by_node: true,
        output_hash: hash,
        data: *hash.first_chunk().unwrap(),
        nonce: [7; 16],
        score_hundredths: 9_950,
        confidence_hundredths: 77,
        took_ms: 1,
        batch: None,
    }
}

fn with_outputs(proofs: Vec<(u64, Proof)>) -> Fixture {
    let fixture = Fixture::new();
    fixture.write(|tx, directory| nodes::create(tx, directory, &act(), &node_id(1), &new_node("one", None), MAX_NODES)).unwrap();
    fixture.store.hot.write_now(move |tx| log::put(tx, &proofs)).unwrap();
    fixture
}

fn fixture() -> Fixture {
    with_outputs((1..=ALL).map(|number| (number, proof(number))).collect())
}

fn due(store: &Store, kept: Month) -> Result<Option<Outputs>, Fault> {
    Outputs::due(store, kept)
}

/// All steps but the record.
fn made(store: &Store, due: Outputs) -> Result<Manifest, Failed> {
    let mut making = Making::begin(store, due)?;
    while !making.step(store)? {}
    let (_, manifest) = making.finish(store, NOW.wall)?;
    let mut reading = Reading::begin(&folder(store), &manifest)?;
    while !reading.step()? {}
    put_manifest(store, &manifest)?;
    Ok(manifest)
}

fn record(store: &Store, manifest: &Manifest) {
    let manifest = manifest.clone();
    store.core.write_now(move |tx| archives::add(tx, &manifest, NOW)).unwrap();
}

fn checked(store: &Store) -> Result<Result<u64, String>, Fault> {
    verify(&store.read()?, &folder(store), &store.manager_key(), false)
}

pub(super) fn unpacked(store: &Store, name: &str) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(folder(store).join(lines_file(name))).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

pub(super) fn files(store: &Store) -> Vec<String> {
    let names = fs::read_dir(folder(store)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn first_left(store: &Store) -> u64 {
    log::page(&store.hot.read().unwrap(), 0, 1).unwrap()[0].0
}

#[test]
fn every_output_is_in_the_archive_of_its_month() {
    let f = fixture();
    let store = &f.store;
    let mut next = due(store, KEPT).unwrap();
    assert_eq!(next, Some(Outputs::new(FIRST, 1)));
    let mut numbers = Vec::new();
    for (month, count) in [("2025-09", OF_SEPTEMBER), ("2025-10", 31 * 8)] {
        let manifest = made(store, next.unwrap()).unwrap();
        assert_eq!((manifest.name(), manifest.lines, manifest.period.as_str()), (format!("outputs-{month}"), count, month));
        let lines = unpacked(store, &manifest.name());
        let expected = (manifest.first..=manifest.last).map(|number| {
            numbers.push(number);
            serde_json::to_string(&Validation::of(node_id(1).as_str(), number, &proof(number))).unwrap()
        });
        assert!(lines.into_iter().eq(expected));
        record(store, &manifest);
        next = due(store, KEPT).unwrap();
    }
    assert_eq!(next, None, "November is kept");
    assert!(numbers.into_iter().eq(1..=OF_SEPTEMBER + 31 * 8));
    assert_eq!(checked(store), Ok(Ok(2)));
    assert_eq!(files(store).len(), 4);
}

#[test]
fn a_crash_at_any_edge_leaves_rows_or_an_archive_and_a_repeat_makes_the_same_bytes() {
    let f = fixture();
    let store = &f.store;
    let next = due(store, KEPT).unwrap().unwrap();
    // While it is written.
    let mut making = Making::begin(store, next.clone()).unwrap();
    making.step(store).unwrap();
    std::mem::forget(making);
    assert_eq!(files(store), ["outputs-2025-09.jsonl.gz.tmp"]);
    // The lines are there, and no manifest.
    let mut making = Making::begin(store, next.clone()).unwrap();
    while !making.step(store).unwrap() {}
    making.finish(store, NOW.wall).unwrap();
    assert_eq!(files(store), ["outputs-2025-09.jsonl.gz"], "the one that was left over became it");
    let before = fs::read(folder(store).join("outputs-2025-09.jsonl.gz")).unwrap();
    assert_eq!(due(store, KEPT).unwrap(), Some(next.clone()), "nothing is known of it");
    // The manifest too, and no record.
    let manifest = made(store, next.clone()).unwrap();
    assert_eq!(due(store, KEPT).unwrap(), Some(next.clone()));
    let again = made(store, next.clone()).unwrap();
    assert_eq!(again, manifest);
    assert_eq!(fs::read(folder(store).join("outputs-2025-09.jsonl.gz")).unwrap(), before);
    assert_eq!(first_left(store), 1);
    record(store, &manifest);
    // Between two deletions.
    let last = manifest.last;
    assert!(log::begins_within(&store.hot.read().unwrap(), last).unwrap());
    assert_eq!(store.hot.write_now(move |tx| log::prune(tx, last, 2)).unwrap(), 2);
    let left = first_left(store);
    assert!(left > 1 && log::begins_within(&store.hot.read().unwrap(), last).unwrap());
    assert_eq!(due(store, KEPT).unwrap().unwrap(), Outputs::new(FIRST.next(), last + 1), "what is left of September is archived");
    store.hot.write_now(move |tx| log::prune(tx, last, 100)).unwrap();
    assert!(!log::begins_within(&store.hot.read().unwrap(), last).unwrap());
    let first = first_left(store);
    assert!(first > left && first <= last, "the row in which October begins is kept: {first}");
    let october = made(store, due(store, KEPT).unwrap().unwrap()).unwrap();
    assert_eq!((october.first, october.lines), (last + 1, 31 * 8), "and what it has of September is not archived twice");
}

#[test]
fn what_cannot_be_finished_takes_no_room() {
    let f = fixture();
    let next = due(&f.store, KEPT).unwrap().unwrap();
    let mut making = Making::begin(&f.store, next).unwrap();
    making.step(&f.store).unwrap();
    drop(making);
    assert_eq!(files(&f.store), Vec::<String>::new());
}

#[test]
fn a_clock_that_went_back_loses_no_output() {
    // The last of September, two of October, one that a clock in the past stamped, and October again.
    let at = |number, month: Month| (number, Proof { received_at: month.start().plus_seconds(60), ..proof(number) });
    let october = FIRST.next();
    let f = with_outputs(vec![at(1, FIRST), at(2, october), at(3, FIRST.previous()), at(4, october), at(5, FIRST), at(6, KEPT.next())]);
    let mut found = Vec::new();
    while let Some(next) = due(&f.store, KEPT).unwrap() {
        let manifest = made(&f.store, next).unwrap();
        record(&f.store, &manifest);
        found.push((manifest.period, manifest.first, manifest.last, manifest.lines));
    }
    assert_eq!(found, [("2025-09".to_owned(), 1, 1, 1), ("2025-10".to_owned(), 2, 5, 4)]);
}

type Tampering = fn(&Path, Manifest);

#[test]
fn verify_finds_what_is_missing_cut_or_changed() {
    const LINES: &str = "outputs-2025-09.jsonl.gz";
    const MANIFEST: &str = "outputs-2025-09.manifest.json";
    let change_lines = |folder: &Path, change: fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(folder.join(LINES)).unwrap();
        change(&mut bytes);
        fs::write(folder.join(LINES), bytes).unwrap();
    };
    let f = fixture();
    let store = &f.store;
    let manifest = made(store, due(store, KEPT).unwrap().unwrap()).unwrap();
    record(store, &manifest);
    let (lines, text) = (fs::read(folder(store).join(LINES)).unwrap(), fs::read(folder(store).join(MANIFEST)).unwrap());
    let wrong = || checked(store).unwrap();
    assert_eq!(wrong(), Ok(1));
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 5] = [
        (|bytes| bytes.truncate(bytes.len() - 9), "do not unpack"),
        (|bytes| bytes[2_000] ^= 1, ""),
        // What whoever unpacks it sees is the same.
        (|bytes| bytes[9] ^= 1, "not those that its manifest vouches for"),
        (|bytes| bytes.push(0), "not those that its manifest vouches for"),
        (|bytes| bytes.clear(), ""),
    ];
    for (change, why) in changes {
        change_lines(&folder(store), change);
        let found = wrong().unwrap_err();
        assert!(found.starts_with("outputs-2025-09: ") && found.contains(why), "{found}");
        fs::write(folder(store).join(LINES), &lines).unwrap();
        assert_eq!(wrong(), Ok(1));
    }
    let tamperings: [(Tampering, &str); 4] = [
        (|folder, _| fs::remove_file(folder.join(LINES)).unwrap(), "the file of its lines is missing"),
        (|folder, _| fs::remove_file(folder.join(MANIFEST)).unwrap(), "its manifest is missing"),
        (|folder, _| fs::write(folder.join(MANIFEST), "{}").unwrap(), "its manifest does not read"),
        (
            |folder, manifest| {
                let other = serde_json::to_vec(&Manifest { lines: 1, ..manifest }).unwrap();
                fs::write(folder.join(MANIFEST), other).unwrap();
            },
            "not the one that was recorded",
        ),
    ];
    for (tamper, why) in tamperings {
        tamper(&folder(store), manifest.clone());
        let found = wrong().unwrap_err();
        assert!(found.contains(why), "{found}");
        fs::write(folder(store).join(LINES), &lines).unwrap();
        fs::write(folder(store).join(MANIFEST), &text).unwrap();
    }
    // Who changes store and files, and has another key or none.
    let unsigned = Manifest { made_at: "2030-01-01T00:00:00Z".into(), ..manifest.clone() };
    let other = SigningKey::from_seed(SecretKey([9; 32]));
    let mut foreign = Manifest { manager_key: Hex(other.public().0), ..manifest.clone() };
    foreign.signature = Hex(other.sign(&foreign.signed_bytes()));
    assert!(foreign.is_signed());
    for forged in [unsigned, foreign] {
        put_manifest(store, &forged).unwrap();
        record(store, &forged);
        assert!(wrong().unwrap_err().contains("not signed by a key of this manager"));
    }
}
