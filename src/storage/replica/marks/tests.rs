use std::collections::BTreeMap;

use super::*;
use crate::crypto::Entropy;
use crate::domain::refusal::Refusal;
use crate::storage::Store;
use crate::storage::core::tables::{Index, NODE_IDS, SESSIONS, VOTE_ANSWERS};
use crate::storage::core::votes::VoteAnswers;
use crate::storage::testing::{NOW, options, store};
use proptest::prelude::*;

fn reopened(dir: &std::path::Path, store: Store) -> Store {
    store.close();
    drop(store);
    Store::open(&options(dir), Entropy::new(), NOW).unwrap()
}

fn done<R>(what: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(what)
}

fn put(store: &Store, name: &str, value: u32) {
    let name = name.to_owned();
    store.core.write_now(move |tx| tx.put(NODE_IDS, &name, &Index(value))).unwrap();
}

fn marks(store: &Store) -> Vec<Mark> {
    pending(&store.read().unwrap(), None, ANY, None, 1_000).unwrap()
}

#[test]
fn a_change_leaves_one_mark_until_it_has_arrived_as_it_is() {
    let (dir, store) = store();
    put(&store, "a", 1);
    assert_eq!(marks(&store), [], "nobody asked for marks");
    done(store.begin_marks()).unwrap();
    put(&store, "a", 2);
    let first = marks(&store);
    assert_eq!((first.len(), first[0].table, first[0].key.as_slice()), (1, 4, &b"a"[..]));
    put(&store, "a", 3);
    assert_eq!(marks(&store), first, "nobody met it");
    done(store.fenced()).unwrap();
    put(&store, "a", 3);
    let second = marks(&store);
    assert!(second.len() == 1 && second[0].rev > first[0].rev, "{second:?}");
    store.core.write_now(move |tx| arrived(tx, &first)).unwrap();
    assert_eq!(marks(&store), second, "it changed since");
    store.core.write_now(move |tx| arrived(tx, &second)).unwrap();
    assert_eq!(marks(&store), []);

    // What goes is marked too, what stays here is not, and neither is what was refused.
    store.core.write_now(|tx| tx.delete(NODE_IDS, &"a".to_owned()).map(drop)).unwrap();
    store.core.write_now(|tx| tx.delete(SESSIONS, &[1; 32]).map(drop)).unwrap();
    let refused = store.core.write_now(|tx| {
        tx.put(VOTE_ANSWERS, &1, &VoteAnswers::default())?;
        Err::<(), _>(Refusal::NodeNotFound.into())
    });
    assert!(refused.is_err());
    assert_eq!(marks(&store).len(), 1);

    // Whoever opens the store goes on with it, above all revisions of before.
    let before = marks(&store)[0].rev;
    let store = reopened(dir.path(), store);
    put(&store, "b", 1);
    assert_eq!(marks(&store).iter().map(|mark| mark.rev > before).collect::<Vec<_>>(), [false, true]);
    put(&store, "a", 4);
    assert!(marks(&store)[0].rev > before, "whoever had it open before may have sent it");
    done(store.begin_marks()).unwrap();
    let found = state(&store.read().unwrap()).unwrap();
    assert_eq!((found.is_marking, found.stretch, found.starts, found.runs.len()), (true, 1, 2, 2));
    done(store.end_marks()).unwrap();
    let store = reopened(dir.path(), store);
    put(&store, "c", 1);
    assert_eq!(marks(&store).len(), 0, "from then on there are none");
    done(store.begin_marks()).unwrap();
    assert_eq!(state(&store.read().unwrap()).unwrap().stretch, 2, "which the next stretch tells");
    put(&store, "d", 1);
    assert!(marks(&store)[0].rev > before);
}

#[test]
fn another_life_of_a_store_has_larger_revisions() {
    assert!(Marking::new(Which::Core, 2, 0).next() > Marking::new(Which::Core, 1, (1 << 20) - 1).next());
    assert!(Marking::new(Which::Core, 1, 1).next() > Marking::new(Which::Core, 1, 0).next());
    assert!(Marking::new(Which::Core, 1_023, 1).next().0 < 1 << 63);
}

type Rows = Vec<(u8, Option<u32>)>;

#[derive(Debug, Clone)]
enum Step {
    /// Rows that one commit puts or deletes.
    Change(Rows),
    /// So many marks are sent, while this changes; the receipt of the last ones is lost.
    Send(usize, usize, Rows),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = || proptest::collection::vec((0..6_u8, proptest::option::of(0..9_u32)), 0..4);
    let send = (0..6_usize, 0..3_usize, rows()).prop_map(|(sent, lost, meanwhile)| Step::Send(sent, lost, meanwhile));
    prop_oneof![4 => rows().prop_map(Step::Change), 3 => send, 1 => Just(Step::Reopen)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A copy that takes marked rows, and of two states of one the later, is the table once no mark is left.
    #[test]
    fn a_copy_by_marks_becomes_the_table(steps in proptest::collection::vec(step(), 1..40)) {
        let (dir, mut store) = store();
        done(store.begin_marks()).unwrap();
        let mut copy: BTreeMap<Vec<u8>, (Rev, Option<Index>)> = BTreeMap::new();
        let mut model: BTreeMap<String, Index> = BTreeMap::new();
        let mut send = |store: &Store, limit: usize, lost: usize, meanwhile: &mut dyn FnMut(&Store)| {
            let read = done(store.fenced()).unwrap().unwrap().core;
            meanwhile(store);
            let found = pending(&read, None, ANY, None, limit.max(1)).unwrap();
            for Mark { key, rev, .. } in &found {
                let row = read.get(NODE_IDS, &String::from_utf8(key.clone()).unwrap()).unwrap();
                let known = copy.entry(key.clone()).or_insert((Rev(0), None));
                if known.0 < *rev {
                    *known = (*rev, row);
                }
            }
            let kept = found[..found.len().saturating_sub(lost)].to_vec();
            store.core.write_now(move |tx| arrived(tx, &kept)).unwrap();
            found.len()
        };
        let mut change = |store: &Store, rows: Rows| {
            for (row, value) in &rows {
                match value {
                    Some(value) => model.insert(row.to_string(), Index(*value)),
                    None => model.remove(&row.to_string()),
                };
            }
            store.core.write_now(move |tx| {
                rows.iter().try_for_each(|(row, value)| match value {
                    Some(value) => tx.put(NODE_IDS, &row.to_string(), &Index(*value)),
                    None => tx.delete(NODE_IDS, &row.to_string()).map(drop),
                })
            }).unwrap();
        };
        for step in steps {
            match step {
                Step::Change(rows) => change(&store, rows),
                Step::Send(limit, lost, rows) => drop(send(&store, limit, lost, &mut |store| change(store, rows.clone()))),
                Step::Reopen => store = reopened(dir.path(), store),
            }
        }
        while send(&store, 100, 0, &mut |_| ()) > 0 {}
        let copied: BTreeMap<String, Index> =
            copy.into_iter().filter_map(|(key, (_, row))| Some((String::from_utf8(key).unwrap(), row?))).collect();
        prop_assert_eq!(copied, model);
    }
}
