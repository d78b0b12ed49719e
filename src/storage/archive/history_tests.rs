use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::content::{Content, Making};
use super::history::{Event, History};
use super::tests::{files, unpacked};
use super::*;
use crate::domain::audit::{Act, Actor};
use crate::domain::ids::NodeIndex;
use crate::domain::node::MAX_NODES;
use crate::domain::node_event::{Kind as EventKind, MAX_EVENTS, NodeEvent};
use crate::domain::statement::Month;
use crate::storage::core::node_events::Filter;
use crate::storage::core::testing::{Fixture, act, new_node, node_id};
use crate::storage::core::{archives, node_events, nodes};
use crate::storage::testing::NOW;
use crate::storage::verify;

const FIRST: Month = Month(2025 * 12 + 8);
const NODES: u32 = 3;

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for n in 0..NODES {
        let act = Act { now: crate::domain::time::Now { wall: FIRST.start(), ..act().now }, ..act() };
        fixture
            .write(move |tx, directory| nodes::create(tx, directory, &act, &node_id(n), &new_node(&format!("node-{n}"), None), MAX_NODES))
            .unwrap();
    }
    fixture
}

fn event(at: Timestamp, kind: EventKind, detail: Option<&str>) -> NodeEvent {
    NodeEvent { at, kind, detail: detail.map(str::to_owned), actor: Actor::User("user_bob".into()) }
}

fn append(f: &Fixture, node: u32, event: NodeEvent) {
    f.write(move |tx, _| node_events::append(tx, NodeIndex(node), event.clone())).unwrap();
}

fn made(store: &Store, due: History) -> Result<(History, Manifest), Failed> {
    let mut making = Making::begin(store, due)?;
    while !making.step(store)? {}
    let (content, manifest) = making.finish(store, NOW.wall)?;
    put_manifest(store, &manifest)?;
    Ok((content, manifest))
}

fn record(store: &Store, (content, manifest): (History, Manifest)) {
    let record = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        content.cover(tx, &manifest)?;
        archives::add(tx, &manifest, NOW)
    };
    store.core.write_now(record).unwrap();
}

/// What the history of a node shows, oldest first, with the total that it names.
fn shown(store: &Store, node: u32) -> Vec<u64> {
    let read = store.read().unwrap();
    let seqs = |(events, total): (Vec<(u64, NodeEvent)>, u64)| {
        assert_eq!(events.len() as u64, total);
        events.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>()
    };
    let mut newest_first = seqs(node_events::page(&read, NodeIndex(node), 0, 2_000).unwrap());
    let oldest_first = seqs(node_events::filtered(&read, NodeIndex(node), &Filter::default(), false, 0, 2_000).unwrap());
    newest_first.reverse();
    assert_eq!(newest_first, oldest_first);
    oldest_first
}

fn lines(store: &Store) -> Vec<Event> {
    let all = archives::all(&store.read().unwrap()).unwrap();
    all.iter().flat_map(|manifest| unpacked(store, &manifest.name())).map(|line| serde_json::from_str(&line).unwrap()).collect()
}

fn wrong(store: &Store) -> Vec<String> {
    verify::verify(store).into_iter().filter_map(|finding| finding.wrong).collect()
}

#[test]
fn a_line_is_an_event_without_the_words_that_may_name_somebody() {
    let f = fixture();
    let at = FIRST.start().plus_seconds(60);
    append(&f, 1, event(at, EventKind::Renamed, Some("bob's to alice's")));
    append(&f, 1, event(at, EventKind::MovedPool, Some("no pool to one")));
    append(&f, 1, NodeEvent { actor: Actor::System, ..event(FIRST.next().start(), EventKind::Unreachable, None) });
    let due = History::due(&f.store, FIRST.next()).unwrap().unwrap();
    assert_eq!(History::due(&f.store, FIRST).unwrap(), None, "the month is kept");
    let (content, manifest) = made(&f.store, due).unwrap();
    assert_eq!((manifest.name().as_str(), manifest.first, manifest.last, manifest.lines), ("node_history-2025-09", 1, 5, 5));
    let before = wrong(&f.store);
    record(&f.store, (content, manifest));
    assert_eq!((before, wrong(&f.store)), (vec![], vec![]));
    let found: Vec<serde_json::Value> =
        unpacked(&f.store, "node_history-2025-09").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_one = |seq, kind, category, detail: Option<&str>, actor: Option<&str>| {
        serde_json::json!({
            "node_id": "node_000001", "seq": seq, "at": at.rfc3339(), "category": category, "kind": kind, "detail": detail, "actor": actor,
        })
    };
    assert_eq!(found[2], of_one(2, "renamed", "identity", None, Some("user_bob")));
    assert_eq!(found[3], of_one(3, "moved_pool", "membership", Some("no pool to one"), Some("user_bob")));
    assert_eq!((shown(&f.store, 1), node_events::archived(&f.store.read().unwrap(), NodeIndex(1)).unwrap()), (vec![4], 3));
    // The next archive counts on.
    let due = History::due(&f.store, FIRST.next().next()).unwrap().unwrap();
    let (_, manifest) = made(&f.store, due).unwrap();
    assert_eq!((manifest.period.as_str(), manifest.first, manifest.last), ("2025-10", 6, 6));
}

#[test]
fn a_node_whose_events_are_all_archived_counts_on() {
    let f = fixture();
    append(&f, 0, event(FIRST.start(), EventKind::Back, None));
    let due = History::due(&f.store, FIRST.next()).unwrap().unwrap();
    record(&f.store, made(&f.store, due).unwrap());
    while f.write(|tx, _| node_events::forget_archived(tx, 1)).unwrap() {}
    assert_eq!(shown(&f.store, 0), [] as [u64; 0]);
    append(&f, 0, event(FIRST.next().start(), EventKind::Unreachable, None));
    assert_eq!(shown(&f.store, 0), [3], "one of its creation and one more are archived");
    assert_eq!(wrong(&f.store), [] as [&str; 0]);
}

#[test]
fn verify_finds_an_event_that_is_gone_and_in_no_archive() {
    use crate::storage::core::tables::{ARCHIVED_EVENTS, Index64, NODE_EVENTS};
    let f = fixture();
    for n in 0..5 {
        append(&f, 1, event(FIRST.start().plus_seconds(n), EventKind::Back, None));
    }
    for seq in [1, 3] {
        let row = f.store.core.write_now(move |tx| {
            let row = crate::storage::table::Read::get(tx, NODE_EVENTS, &(1, seq))?;
            tx.delete(NODE_EVENTS, &(1, seq))?;
            Ok(row)
        });
        assert_eq!(wrong(&f.store), ["an event of node 1 is missing"]);
        let row = row.unwrap().unwrap();
        f.store.core.write_now(move |tx| tx.put(NODE_EVENTS, &(1, seq), &row)).unwrap();
        assert_eq!(wrong(&f.store), [] as [&str; 0]);
    }
    f.store.core.write_now(|tx| tx.put(ARCHIVED_EVENTS, &1, &Index64(4))).unwrap();
    assert_eq!(wrong(&f.store), ["events are said to be in archives, and there is none"]);
}

#[test]
fn who_has_more_than_are_kept_loses_the_oldest_and_no_other_ones() {
    let f = fixture();
    let count = i64::try_from(MAX_EVENTS).unwrap() + 10;
    f.write(move |tx, _| {
        (0..count)
            .try_for_each(|n| node_events::append(tx, NodeIndex(2), event(FIRST.start().plus_seconds(n * 3_600), EventKind::Back, None)))
    })
    .unwrap();
    assert_eq!(wrong(&f.store), [] as [&str; 0]);
    let due = History::due(&f.store, FIRST.next()).unwrap().unwrap();
    record(&f.store, made(&f.store, due).unwrap());
    let mut all: Vec<u64> = lines(&f.store).iter().filter(|line| line.node_id == node_id(2).as_str()).map(|line| line.seq).collect();
    assert!(all.len() > 700);
    all.extend(shown(&f.store, 2));
    assert!(all.into_iter().eq(12..=1_011), "eleven made room");
    assert_eq!(wrong(&f.store), [] as [&str; 0]);
}

/// A step of a random life.
#[derive(Debug, Clone)]
enum Step {
    /// An event of a node so many hours later; earlier, where a clock was set back.
    Event(u32, i32),
    /// An archive of what is before so many months ago, and how far it comes before a crash.
    Archive { kept: u32, until: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..NODES, -300..700i32).prop_map(|(node, hours)| Step::Event(node, hours)),
        1 => (0..3u32, 0..6u8).prop_map(|(kept, until)| Step::Archive { kept, until }),
    ]
}

fn archive(f: &Fixture, kept: Month, until: u8) {
    let store = &f.store;
    let newest = archives::newest(&store.read().unwrap(), Kind::NodeHistory).unwrap();
    if let Some(newest) = newest
        && History::is_left(store, &newest).unwrap()
    {
        f.write(|tx, _| node_events::forget_archived(tx, 3)).unwrap();
    }
    let Some(due) = History::due(store, kept).unwrap() else { return };
    let mut making = Making::begin(store, due.clone()).unwrap();
    while !making.step(store).unwrap() {
        if until == 0 {
            return std::mem::forget(making);
        }
    }
    if until == 1 {
        return std::mem::forget(making);
    }
    let made = made(store, due).unwrap();
    if until == 2 {
        return;
    }
    record(store, made);
    for _ in 3..until {
        f.write(|tx, _| node_events::forget_archived(tx, 2)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_in_the_list_or_in_one_archive(steps in prop::collection::vec(step(), 1..60)) {
        let f = fixture();
        let mut written: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
        for node in 0..NODES {
            written.insert(node, vec![(1, FIRST.start().rfc3339())]);
        }
        let mut now = FIRST.start();
        for step in steps {
            match step {
                Step::Event(node, hours) => {
                    now = now.plus_seconds(i64::from(hours) * 3_600).max(FIRST.start());
                    append(&f, node, event(now, EventKind::Back, None));
                    let of_node = written.get_mut(&node).unwrap();
                    of_node.push((of_node.len() as u64 + 1, now.rfc3339()));
                }
                Step::Archive { kept, until } => archive(&f, Month(Month::of(now).0 - kept), until),
            }
            let lines = lines(&f.store);
            for (node, all) in &written {
                let id = node_id(*node);
                let mut found: Vec<u64> = lines.iter().filter(|line| line.node_id == id.as_str()).map(|line| line.seq).collect();
                for (line, expected) in lines.iter().filter(|line| line.node_id == id.as_str()).zip(all) {
                    prop_assert_eq!(&line.at, &expected.1);
                }
                found.extend(shown(&f.store, *node));
                prop_assert!(found.into_iter().eq(all.iter().map(|(seq, _)| *seq)), "node {}", node);
            }
        }
        prop_assert_eq!(wrong(&f.store), Vec::<String>::new());
        let manifests = archives::all(&f.store.read().unwrap()).unwrap();
        let mut next = 1;
        for manifest in &manifests {
            prop_assert_eq!(manifest.first, next);
            next = manifest.last + 1;
        }
        let kept = if f.store.dir().join("archive").exists() { files(&f.store).len() } else { 0 };
        prop_assert!(kept >= 2 * manifests.len());
    }
}

#[test]
fn what_is_forgotten_is_what_archives_cover() {
    let f = fixture();
    for n in 0..7 {
        append(&f, 0, event(FIRST.start().plus_seconds(n * 10 * 86_400), EventKind::Back, None));
    }
    let due = History::due(&f.store, FIRST.next()).unwrap().unwrap();
    let manifest = {
        let made = made(&f.store, due).unwrap();
        record(&f.store, made.clone());
        made.1
    };
    assert!(History::is_left(&f.store, &manifest).unwrap());
    let store = Arc::new(f.store);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(!runtime.block_on(History::forget(&store, &manifest)).unwrap());
    assert!(!History::is_left(&store, &manifest).unwrap());
    assert_eq!(shown(&store, 0), [5, 6, 7, 8]);
    assert_eq!(wrong(&store), [] as [&str; 0]);
}
