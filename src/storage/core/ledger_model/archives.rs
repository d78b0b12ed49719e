//! The same journal while what is old goes into archives: nothing that is asked of the ledger changes, but for lists, which say where they end.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::domain::archive::{self, Manifest, lines_file};
use crate::storage::archive::content::{Content, Making};
use crate::storage::archive::ledger::Ledger;
use crate::storage::archive::{folder, put_manifest};
use crate::storage::core::ledger_check::{Replayed, verify_with};
use crate::storage::core::{archives, chain, epochs, money_actions};
use crate::storage::testing::gap;
use crate::storage::verify;

impl World {
    fn folder(&self) -> PathBuf {
        folder(&self.store)
    }

    /// A head that names every posting.
    fn close_epoch(&self) {
        let next = epochs::last(&self.store.read().unwrap()).unwrap().map_or(1_000, |head| head.next_slot().0);
        let key = crate::crypto::SigningKey::from_seed(self.store.signing_key.seed().clone());
        self.write(move |tx| chain::append(tx, &gap(next), &key).map(drop)).unwrap();
    }

    fn newest(&self) -> Option<Manifest> {
        archives::newest(&self.store.read().unwrap(), archive::Kind::Ledger).unwrap()
    }

    /// One archive of what is before `kept`, up to a crash at one of its edges.
    fn archive(&self, kept: Month, until: u8) {
        let store = &self.store;
        if let Some(newest) = self.newest()
            && Ledger::is_left(store, &newest).unwrap()
        {
            self.write(move |tx| ledger::forget(tx, newest.last, 5)).unwrap();
        }
        let Some(due) = Ledger::due(store, kept).unwrap() else { return };
        let mut making = Making::begin(store, due).unwrap();
        if until == 0 {
            return std::mem::forget(making);
        }
        while !making.step(store).unwrap() {}
        let (_, manifest) = making.finish(store, self.at().wall).unwrap();
        if until == 1 {
            return;
        }
        put_manifest(store, &manifest).unwrap();
        if until == 2 {
            return;
        }
        let (now, last) = (self.at(), manifest.last);
        self.write(move |tx| archives::add(tx, &manifest, now)).unwrap();
        for _ in 3..until {
            self.write(move |tx| ledger::forget(tx, last, 4)).unwrap();
        }
    }

    fn replayed(&self) -> Replayed {
        verify_with(&self.store.read().unwrap(), Depth::Full, Some(&self.folder())).unwrap()
    }

    fn last(&self) -> u64 {
        let read = self.store.read().unwrap();
        let (rows, total) = ledger::page(&read, ledger::Filter::default(), 0, 10_000).unwrap();
        let archived = ledger::archived(&read).unwrap();
        assert_eq!(rows.len(), total);
        assert!(rows.iter().rev().map(|posting| posting.seq).eq(archived + 1..=archived + total as u64), "each once, behind the archives");
        let every = ledger::Filter { settlement: Some(Settlement::Live), node: None };
        let live = rows.iter().filter(|posting| posting.entry.book.settlement == Settlement::Live).count();
        assert_eq!(ledger::page(&read, every, 0, 0).unwrap().1, live);
        archived + total as u64
    }

    /// What is wrong; but with payouts, which no reservation of this model has.
    fn wrong(&self) -> Vec<(String, String)> {
        verify::verify(&self.store)
            .into_iter()
            .filter(|found| found.part != "payouts")
            .filter_map(|found| Some((found.part, found.wrong?)))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_what_a_journal_says_whatever_is_archived(
        months in prop::collection::vec((steps(), 2u32..4, 0u8..8, any::<bool>()), 1..6),
    ) {
        let mut world = World::new();
        for (steps, kept, until, is_again) in months {
            steps.into_iter().for_each(|step| world.step(step));
            world.step(Step::Days(31));
            world.step(Step::Close);
            world.close_epoch();
            let kept = Month(world.month().0 - kept);
            world.archive(kept, until);
            if is_again {
                world.archive(kept, 7);
            }
            world.check();
            let replayed = world.replayed();
            prop_assert_eq!((&replayed.wrong, replayed.left_out_through), (&None, 0));
            prop_assert_eq!(replayed.postings, world.last());
        }
        prop_assert_eq!(world.wrong(), vec![]);
    }
}

/// Four months, two of them archived and deleted.
fn archived() -> (World, Vec<Manifest>) {
    let mut world = World::new();
    for month in 0..4 {
        for node in 0..NODES {
            world.step(Step::Work(node, vec![(30, 5_000_000_000)]));
            world.step(Step::Days(3));
        }
        world.step(Step::Adjust(0, true, 100 + month));
        world.step(Step::Unexplained(None, 7));
        world.step(Step::Days(24));
        world.step(Step::Close);
        world.close_epoch();
    }
    for _ in 0..2 {
        world.archive(Month(world.month().0 - 2), 30);
    }
    let read = world.store.read().unwrap();
    let all = archives::of_kind(&read, archive::Kind::Ledger).unwrap();
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((all[0].first, all[1].first), (1, all[0].last + 1));
    assert_eq!(read.scan(POSTINGS, .., 1).unwrap()[0].0, all[1].last + 1, "they are deleted");
    assert_eq!(all[0].lines, all[0].last + 3, "with a page of balances for each book, and the checkpoint");
    drop(read);
    world.check();
    assert_eq!(world.wrong(), []);
    (world, all)
}

#[test]
fn a_damaged_archive_takes_neither_its_neighbour_nor_the_books_along() {
    let (world, all) = archived();
    let [oldest, newest] = [&all[0], &all[1]].map(|manifest| world.folder().join(lines_file(&manifest.name())));
    let last = world.last();
    for (path, left_out, name) in [(&oldest, all[0].last, all[0].name()), (&newest, all[1].last, all[1].name())] {
        let whole = fs::read(path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 4;
        fs::write(path, &damaged).unwrap();
        let replayed = world.replayed();
        assert_eq!((replayed.wrong, replayed.left_out_through, replayed.postings), (None, left_out, last - left_out));
        let wrong = world.wrong();
        assert!(wrong.len() == 1 && wrong[0].0 == "archives" && wrong[0].1.starts_with(&format!("{name}: ")), "{wrong:?}");
        fs::write(path, &whole).unwrap();
        assert_eq!(world.replayed().postings, last);
    }
}

#[test]
fn a_posting_that_is_missing_behind_an_archive_and_a_checkpoint_that_is_not_the_archives_are_found() {
    let (world, all) = archived();
    let first = all[1].last + 1;
    let row = world.store.read().unwrap().get(POSTINGS, &first).unwrap().unwrap();
    world.write(move |tx| tx.delete(POSTINGS, &first).map(drop)).unwrap();
    assert!(world.replayed().wrong.unwrap().contains(&format!("posting {first} is missing")));
    world.write(move |tx| tx.put(POSTINGS, &first, &row)).unwrap();
    assert_eq!(world.replayed().wrong, None);
    // Who deletes what is in no archive is refused.
    assert!(world.write(move |tx| ledger::forget(tx, first, 10)).is_err());
    let (month, mut checkpoint) = world.store.read().unwrap().scan(CHECKPOINTS, .., 1).unwrap().pop().unwrap();
    checkpoint.hash[3] ^= 1;
    world.write(move |tx| tx.put(CHECKPOINTS, &month, &checkpoint)).unwrap();
    assert!(world.replayed().wrong.unwrap().contains("the checkpoint of"));
}

#[test]
fn nothing_is_archived_that_its_checkpoint_did_not_close_or_while_the_books_are_latched() {
    let mut world = lived();
    world.step(Step::Days(60));
    let kept = world.month();
    assert!(Ledger::due(&world.store, kept).unwrap().is_none(), "no head names the postings yet");
    world.close_epoch();
    let due = Ledger::due(&world.store, kept).unwrap().expect("it is due");
    let now = world.at();
    world.write(move |tx| ledger::set_latch(tx, "for a test", now)).unwrap();
    assert!(Ledger::due(&world.store, kept).unwrap().is_none());
    let mut changed = world.store.read().unwrap().get(POSTINGS, &1).unwrap().unwrap();
    changed.at = changed.at.plus_ms(1);
    world.write(move |tx| tx.put(POSTINGS, &1, &changed)).unwrap();
    let mut making = Making::begin(&world.store, due).unwrap();
    let failed = loop {
        match making.step(&world.store) {
            Ok(done) => assert!(!done),
            Err(failed) => break failed.to_string(),
        }
    };
    assert!(failed.contains("not those that the checkpoint"), "{failed}");
}

#[test]
fn who_asks_for_what_is_archived_is_told_so_and_later_times_are_as_before() {
    let mut world = World::new();
    for _ in 0..4 {
        for node in 0..NODES {
            world.step(Step::Work(node, vec![(30, 5_000_000_000)]));
        }
        world.step(Step::Days(31));
        world.step(Step::Close);
        world.close_epoch();
    }
    let asked = |world: &World, from: Timestamp| {
        let read = world.store.read().unwrap();
        let credits = ledger_entries::credits(&read, PoolIndex(0), Currency::Usdt, from, world.at().wall).ok();
        (money_actions::earned_before(&read, from).ok(), credits)
    };
    let times = [world.month().previous().start(), world.at().wall.plus_seconds(-40 * DAY), world.at().wall];
    let before = times.map(|from| asked(&world, from));
    assert!(before.iter().all(|(earned, credits)| earned.as_ref().is_some_and(|earned| !earned.is_empty()) && credits.is_some()));
    let first = asked(&world, at(0).wall);
    assert!(first.0.is_some() && first.1.is_some());
    world.archive(Month(world.month().0 - 2), 30);
    assert!(world.newest().is_some());
    assert_eq!(times.map(|from| asked(&world, from)), before);
    assert_eq!(asked(&world, at(0).wall), (None, None));
    let refused = money_actions::earned_before(&world.store.read().unwrap(), at(0).wall).unwrap_err();
    assert!(format!("{refused:?}").contains("LedgerArchived"), "{refused:?}");
}
