use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::crypto::Entropy;
use crate::domain::evidence::SlotRow;
use crate::domain::metrics::{Interface, Sample};
use crate::storage::hot::{Batch, EncodedSample, Parts, PendingSample};
use crate::storage::tails::sheet;
use crate::storage::testing::{NOW, options, store};
use crate::storage::tiers;

/// A Monday at midnight, so that a few hours before and after are of two weeks.
pub(in crate::storage) const MONDAY: u32 = 1_794_787_200 / 30;

/// What a node measures in a slot, told from all others.
pub(in crate::storage) fn sample(node: u32, slot: u32) -> Sample {
    let noise = u64::from(node * 31 + slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut sample = Sample::default();
    sample.cpu.usage_percent = Some(f64::from(u32::try_from(noise >> 54).unwrap()) / 10.0);
    sample.memory.used_bytes = Some((u64::from(slot) << 20) + ((noise >> 40) << 10));
    sample.disk.total_bytes = Some(64 << 30);
    sample.disk.used_bytes = Some((noise >> 40) << 10);
    sample.disk.free_bytes = Some((64 << 30) - ((noise >> 40) << 10));
    sample.network.total_bytes_in = Some(u64::from(slot) * 1_000 + (noise >> 50));
    if slot % 50 < 40 {
        let interface = Interface { name: format!("eth{}", slot / 200 % 3), bytes_in: u64::from(slot) * 999, ..Interface::default() };
        sample.network.interfaces.push(interface);
    }
    sample
}

fn open(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(&options(dir), Entropy::new(), NOW).unwrap())
}

/// More than memory takes, of two weeks, from a cluster that has it slot by slot: each sample is read back, and a start takes nothing of it for its own.
#[test]
fn samples_that_come_slot_by_slot_are_sealed_and_read_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = open(dir.path());
    let mut gathered = Gathered { most_bytes: 1 << 18, ..Gathered::default() };
    let (mut sweeps, nodes) = (0, [NodeIndex(0), NodeIndex(7), NodeIndex(300)]);
    let (from, until) = (MONDAY - 6_000, MONDAY + 7_000);
    let put: Vec<u32> = (from..until).filter(|slot| slot % 97 != 0).collect();
    for slots in put.chunks(200) {
        let all = nodes.iter().flat_map(|node| slots.iter().map(move |slot| (*node, *slot)));
        let all: Vec<_> = all.map(|(node, slot)| (node, Slot(slot), slot % 5 == 0, EncodedSample::new(&sample(node.0, slot)))).collect();
        let sheet = sheet(all.iter().map(|(node, slot, late, encoded)| (*node, *slot, *late, encoded)));
        gathered.put(&store.cold, &sheet).unwrap();
        sweeps = gathered.sweep;
        assert!(gathered.tails.bytes() <= (1 << 18) + 3 * HELD_BYTES_PER_NODE);
    }
    assert!(sweeps > 1, "{sweeps} sweeps");
    gathered.finish(&store.cold, &store.hot).unwrap();
    store.close();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.tails.count(), 0);
    for (node, points) in tiers::points_of(&store, &nodes, Slot(0), Slot(u32::MAX), Parts::ALL).unwrap() {
        assert!(points.iter().map(|point| point.slot.0).eq(put.iter().copied()), "slots of {node:?}");
        assert!(points.iter().all(|point| point.sample == sample(node.0, point.slot.0) && point.late == (point.slot.0 % 5 == 0)));
    }
}

/// One thing that happens to a store.
#[derive(Debug, Clone)]
pub(in crate::storage) enum Step {
    /// Every node of `nodes` measures for so many slots, and it is flushed.
    Live {
        nodes: u32,
        slots: u32,
    },
    /// One node tells of slots that long ago; some it has told of before.
    Late {
        node: u32,
        back: u32,
        slots: u32,
    },
    /// The same is flushed once more, as after a crash.
    Again {
        node: u32,
        back: u32,
        slots: u32,
    },
    Sweep,
    /// Everybody was silent for so long.
    Silence {
        slots: u32,
    },
    /// The chunks of a sweep are in their weeks, and then there is no power: what comes before the store is opened again is none.
    CrashInSweep,
    Restart,
}

pub(in crate::storage) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u32..5, 1u32..300).prop_map(|(nodes, slots)| Step::Live { nodes, slots }),
        2 => (0u32..5, 0u32..3_000, 1u32..400).prop_map(|(node, back, slots)| Step::Late { node, back, slots }),
        1 => (0u32..4, 0u32..600, 1u32..20).prop_map(|(node, back, slots)| Step::Again { node, back, slots }),
        4 => Just(Step::Sweep),
        1 => (1u32..900).prop_map(|slots| Step::Silence { slots }),
        1 => Just(Step::CrashInSweep),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..most)
}

pub(in crate::storage) struct World {
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    runtime: tokio::runtime::Runtime,
    pub(in crate::storage) present: u32,
    /// (node, slot) -> told late.
    model: BTreeMap<(u32, u32), bool>,
    /// Nobody else tells the store of samples.
    pub(in crate::storage) is_alone: bool,
}

impl World {
    pub(in crate::storage) fn new() -> World {
        let (dir, store) = store();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        World { dir, store: Some(Arc::new(store)), runtime, present: MONDAY - 2_000, model: BTreeMap::new(), is_alone: true }
    }

    pub(in crate::storage) fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    pub(in crate::storage) fn restart(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path()));
    }

    fn flush(&self, told: impl Iterator<Item = (u32, u32)>) {
        let mut batch = Batch { flushed_at: Some(Slot(self.present).start()), ..Batch::default() };
        let mut rows: BTreeMap<Slot, SlotRow> = BTreeMap::new();
        for (node, slot) in told {
            let pending = PendingSample { late: false, encoded: EncodedSample::new(&sample(node, slot)) };
            batch.samples.entry(Slot(slot)).or_default().insert(NodeIndex(node), pending);
            rows.entry(Slot(slot)).or_default().prove(NodeIndex(node));
        }
        batch.evidence = rows.into_iter().collect();
        let tails = Arc::clone(&self.store().tails);
        self.store().hot.write_now(move |tx| hot::flush(tx, &batch, &tails).map(drop)).unwrap();
    }

    pub(in crate::storage) fn live(&mut self, nodes: u32, slots: u32) {
        let told = (self.present..self.present + slots).flat_map(|slot| (0..nodes).map(move |node| (node, slot)));
        self.flush(told.clone());
        for place in told {
            self.model.entry(place).or_insert(false);
        }
        self.present += slots;
    }

    pub(in crate::storage) fn late(&mut self, node: u32, back: u32, slots: u32) {
        let first = self.present - back - slots;
        let told: Vec<u32> = (first..first + slots).collect();
        let items: Vec<(Slot, EncodedSample)> = told.iter().map(|slot| (Slot(*slot), EncodedSample::new(&sample(node, *slot)))).collect();
        let (tails, present) = (Arc::clone(&self.store().tails), Slot(self.present));
        let late = self.store().hot.write_now(move |tx| hot::store_late(tx, NodeIndex(node), &items, &tails, present, false)).unwrap();
        let before = self.model.len();
        for slot in told {
            self.model.entry((node, slot)).or_insert(true);
        }
        assert!(!self.is_alone || usize::try_from(late.stored).unwrap() == self.model.len() - before);
    }

    pub(in crate::storage) fn step(&mut self, step: &Step) {
        match *step {
            Step::Live { nodes, slots } => self.live(nodes, slots),
            Step::Late { node, back, slots } => self.late(node, back, slots),
            Step::Again { node, back, slots } => {
                let first = self.present - back - slots;
                let known: Vec<(u32, u32)> = self.model.range((node, first)..(node, first + slots)).map(|(place, _)| *place).collect();
                self.flush(known.into_iter());
            }
            Step::Silence { slots } => self.present += slots,
            Step::Sweep => {
                let store = Arc::clone(self.store());
                self.runtime.block_on(store.seal(Slot(self.present))).unwrap();
            }
            Step::CrashInSweep => {
                let store = Arc::clone(self.store());
                let made = store.start_sweep(Slot(self.present)).unwrap();
                // Something more comes while the chunks are made.
                self.late(3, 700, 40);
                self.live(2, 3);
                self.runtime.block_on(store.write_weeks(&made)).unwrap();
                drop(store);
                self.restart();
            }
            Step::Restart => self.restart(),
        }
    }

    fn assert_all_is_there(&self, parts: Parts) {
        let nodes: Vec<NodeIndex> = (0..6).map(NodeIndex).collect();
        let found = tiers::points_of(self.store(), &nodes, Slot(0), Slot(u32::MAX), parts).unwrap();
        let found: BTreeMap<(u32, u32), (bool, Sample)> = found
            .into_iter()
            .flat_map(|(node, points)| points.into_iter().map(move |p| ((node.0, p.slot.0), (p.late, p.sample))))
            .collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), self.model.keys().collect::<Vec<_>>());
        for ((node, slot), (late, found)) in found {
            assert_eq!(late, self.model[&(node, slot)], "node {node}, slot {slot}");
            let told = EncodedSample::new(&sample(node, slot)).decode().unwrap();
            let empty = Sample::default();
            let part = |has: bool, of: fn(&Sample) -> String| of(if has { &told } else { &empty });
            assert_eq!(format!("{:?}", found.cpu), part(parts.cpu, |s| format!("{:?}", s.cpu)));
            assert_eq!(format!("{:?}", found.memory), part(parts.memory, |s| format!("{:?}", s.memory)));
            assert_eq!(format!("{:?}", found.disk), part(parts.disk, |s| format!("{:?}", s.disk)));
            assert_eq!(format!("{:?}", found.network), part(parts.network, |s| format!("{:?}", s.network)));
        }
    }

    /// How many samples the files have, those that are there twice counted twice.
    fn sealed(&self) -> u64 {
        self.store().cold.verify().unwrap().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens, every sample that was acknowledged is there once, in every part that is asked for, and everything decodes.
    #[test]
    fn samples_are_there_once_wherever_they_are(steps in steps(30)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.assert_all_is_there(Parts::ALL);
        world.assert_all_is_there(Parts { cpu: true, disk: true, ..Parts::NONE });
        for finding in crate::storage::verify::verify(world.store()) {
            prop_assert_eq!(finding.wrong, None, "{}", finding.part);
        }
        // In time all of it is sealed, and nothing is left of the log. Only what was written in the crash of a sweep may be there twice.
        world.present += 2_000;
        world.step(&Step::Sweep);
        prop_assert_eq!(world.store().tails.count(), 0);
        world.assert_all_is_there(Parts::ALL);
        world.restart();
        prop_assert_eq!(world.store().tails.count(), 0);
        world.assert_all_is_there(Parts::ALL);
        let crashed = steps.iter().any(|step| matches!(step, Step::CrashInSweep));
        prop_assert!(world.sealed() == world.model.len() as u64 || crashed && world.sealed() > world.model.len() as u64);
    }
}

#[test]
fn pages_are_full_and_late_samples_go_to_the_file_of_their_week() {
    let mut world = World::new();
    world.live(3, 2_500);
    for _ in 0..9 {
        world.step(&Step::Sweep);
    }
    let weeks = world.store().cold.weeks();
    assert_eq!(weeks, [Week::of(Slot(MONDAY - 1)), Week::of(Slot(MONDAY))]);
    let mut full = Vec::new();
    world
        .store()
        .cold
        .read(
            &[NodeIndex(0), NodeIndex(1), NodeIndex(2)],
            (Slot(0), Slot(MONDAY)),
            |_| true,
            |_, found| {
                full.push(found.slots.len());
            },
        )
        .unwrap();
    // All but the last page of the week of each node.
    assert!(full.iter().filter(|samples| **samples > 250).count() >= full.len() - 3, "{full:?}");
    let sealed = world.sealed();
    world.late(4, 2_400, 30);
    world.step(&Step::Silence { slots: 800 });
    world.step(&Step::Sweep);
    assert_eq!(world.store().cold.weeks().len(), 2);
    assert!(world.sealed() >= sealed + 30);
    world.assert_all_is_there(Parts::ALL);

    // A week goes as a whole, with its file.
    assert!(world.store().too_old(Slot(MONDAY - 1), Slot(0)).is_empty());
    let too_old = world.store().too_old(Slot(MONDAY), Slot(0));
    let gone: Vec<String> = too_old.into_iter().map(|going| world.store().remove(going).unwrap()).collect();
    assert_eq!(gone, ["raw-2026w46.redb"]);
    world.model.retain(|(_, slot), _| *slot >= MONDAY);
    world.assert_all_is_there(Parts::ALL);
    let files: BTreeSet<String> =
        std::fs::read_dir(world.dir.path().join("data/cold")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, ["raw-2026w47.redb".to_owned()].into());
}

#[test]
fn more_files_are_read_at_one_time_than_stay_open() {
    let mut world = World::new();
    let week = 7 * 2_880;
    for back in 0..9 {
        let slot = Slot(MONDAY - back * week);
        let series = crate::domain::chunk::Series { slots: vec![slot], late: vec![false], ..Default::default() };
        let chunk = Chunk { node: NodeIndex(1), part: 0, first: slot, last: slot, bytes: series.encode() };
        world.store().cold.put_at_open(Week::of(slot), back, 0, &[chunk]).unwrap();
    }
    let names = world.store().cold.names();
    assert_eq!(names.len(), 9);
    let held: Vec<_> = names.iter().map(|name| world.store().cold.snapshot(name).unwrap().unwrap()).collect();
    assert!(names.iter().all(|name| world.store().cold.snapshot(name).unwrap().is_some()), "each is open already");
    assert_eq!(tiers::points(world.store(), NodeIndex(1), Slot(0), Slot(u32::MAX), Parts::ALL).unwrap().len(), 9);
    drop(held);
    assert!(world.store().cold.verify().unwrap().is_ok());
    world.step(&Step::Restart);
    assert_eq!(world.sealed(), 9);
}

#[test]
fn a_damaged_page_takes_no_other_along_and_is_named() {
    let mut world = World::new();
    world.live(2, 1_500);
    for _ in 0..6 {
        world.step(&Step::Sweep);
    }
    let count = |world: &World| tiers::points(world.store(), NodeIndex(0), Slot(0), Slot(MONDAY), Parts::ALL).unwrap().len();
    let before = count(&world);
    assert_eq!(world.store().cold.damage_a_chunk(NodeIndex(0)), Some(Week::of(Slot(MONDAY - 1))));
    let lost = before - count(&world);
    assert!((100..600).contains(&lost), "{lost}");
    assert_eq!(tiers::points(world.store(), NodeIndex(1), Slot(0), Slot(MONDAY), Parts::ALL).unwrap().len(), before);
    let wrong = world.store().cold.verify().unwrap().unwrap_err();
    assert!(
        wrong.starts_with("raw-2026w46.redb: sweep ") && wrong.ends_with("node 0, part 0: its checksum is wrong: it was damaged"),
        "{wrong}"
    );
}

/// What a card does to a file: the name of the harm, and the bytes that are left.
fn harmed(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("emptied".to_owned(), Vec::new()),
        ("zeroed".to_owned(), vec![0; whole.len()]),
        ("other bytes".to_owned(), (0..50_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()),
        ("cut".to_owned(), whole[..whole.len() / 2].to_vec()),
    ];
    let written: Vec<usize> =
        whole.chunks(4_096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)).map(|(n, _)| n).collect();
    // The header, and what pages begin with: their kind and how many rows they have.
    let heads = written.iter().step_by(written.len() / 12 + 1).flat_map(|page| [0, 2].map(|byte| page * 4_096 + byte));
    for at in (9..64).step_by(11).chain(heads) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 3);
        all.push((format!("a bit of byte {at}"), bytes));
    }
    all
}

#[test]
fn a_damaged_file_takes_nothing_else_with_it_and_new_samples_do_not_wait_for_it() {
    let mut world = World::new();
    world.live(2, 2_900);
    for _ in 0..9 {
        world.step(&Step::Sweep);
    }
    let cold = world.dir.path().join("data/cold");
    world.store = None;
    let file = cold.join("raw-2026w47.redb");
    let whole = std::fs::read(&file).unwrap();
    let saved = tempfile::tempdir().unwrap();
    let copied = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copied(&world.dir.path().join("data"), saved.path());
    let (mut unread, mut set_aside) = (0, 0);
    for (harm, bytes) in harmed(&whole) {
        std::fs::write(&file, bytes).unwrap();
        world.store = Some(open(world.dir.path()));
        let of_week = |world: &World, from: u32, until: u32| {
            tiers::points_of(world.store(), &[NodeIndex(0), NodeIndex(1)], Slot(from), Slot(until), Parts::ALL).unwrap()
        };
        let before: usize = of_week(&world, 0, MONDAY).iter().map(|(_, points)| points.len()).sum();
        assert_eq!(before, 4_000, "{harm}: the week before");
        let left: usize = of_week(&world, MONDAY, u32::MAX).iter().map(|(_, points)| points.len()).sum();
        unread += usize::from(left < 1_800 && world.store().cold.has_damaged());
        let verified = crate::storage::verify::verify(world.store());
        if world.store().cold.has_damaged() {
            let wrong = verified.iter().find_map(|finding| finding.wrong.clone()).unwrap_or_else(|| panic!("{harm} is not found"));
            assert!(wrong.starts_with("raw-2026w47.redb: "), "{harm}: {wrong}");
        }
        let present = world.present;
        world.live(2, 900);
        for _ in 0..4 {
            world.step(&Step::Sweep);
        }
        world.restart();
        let new: usize = of_week(&world, present, u32::MAX).iter().map(|(_, points)| points.len()).sum();
        assert_eq!(new, 1_800, "{harm}: what came since");
        set_aside += usize::from(cold.join("raw-2026w47.redb.damaged").exists());
        // The next one has the store as it was.
        world.store = None;
        world.present = present;
        std::fs::read_dir(&cold)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains(".damaged"))
            .for_each(|path| std::fs::remove_file(path).unwrap());
        copied(saved.path(), &world.dir.path().join("data"));
    }
    assert!(unread > 5 && set_aside > 5, "{unread} {set_aside}");
}

#[test]
fn a_file_of_another_store_or_week_is_refused() {
    let (mut one, mut two) = (World::new(), World::new());
    for world in [&mut one, &mut two] {
        world.live(2, 1_000);
        world.step(&Step::Sweep);
    }
    let path = |world: &World, name: &str| world.dir.path().join("data/cold").join(name);
    two.store = None;
    std::fs::copy(path(&one, "raw-2026w46.redb"), path(&two, "raw-2026w46.redb")).unwrap();
    let refused = Store::open(&options(two.dir.path()), Entropy::new(), NOW).err().unwrap().to_string();
    assert!(refused.contains("put the files of one backup together"), "{refused}");
}

#[test]
fn blocks_of_an_earlier_release_are_sealed_when_the_store_is_opened() {
    let mut world = World::new();
    let (first, last) = (MONDAY - 3_000, MONDAY + 100);
    let told: Vec<(u32, u32)> =
        (first..last).flat_map(|slot| [(0, slot), (1, slot), (100, slot)]).filter(|(n, s)| (n + s) % 7 > 0).collect();
    let rows = told.clone();
    world
        .store()
        .hot
        .write_now(move |tx| hot::put_blocks(tx, rows.iter().map(|(n, s)| (NodeIndex(*n), Slot(*s), EncodedSample::new(&sample(*n, *s))))))
        .unwrap();
    world.model.extend(told.into_iter().map(|place| (place, place.0 == 1)));
    let all_are_there = |world: &World| {
        let nodes = [0, 1, 100].map(NodeIndex);
        let found = tiers::points_of(world.store(), &nodes, Slot(0), Slot(u32::MAX), Parts::ALL).unwrap();
        let found: BTreeMap<(u32, u32), bool> =
            found.into_iter().flat_map(|(node, points)| points.into_iter().map(move |p| ((node.0, p.slot.0), p.late))).collect();
        assert!(found == world.model, "{} of {}", found.len(), world.model.len());
    };
    world.restart();
    all_are_there(&world);
    assert_eq!(hot::first_block(&world.store().hot.read().unwrap()).unwrap(), None);
    world.restart();
    all_are_there(&world);
    assert_eq!(world.sealed(), world.model.len() as u64);
}
