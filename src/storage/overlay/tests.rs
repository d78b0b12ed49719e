use proptest::prelude::*;

use super::*;
use crate::domain::bits::Bitmap;
use crate::domain::ids::{Incarnation, NodeId};
use crate::domain::time::{BootMs, Now};
use crate::storage::hot::{self, Parts};
use crate::storage::sealing::tests::{Step, World, sample, steps};
use crate::wire::{Item, PROTOCOL, Report};

const METRICS: [Metric; 3] = [Metric::Cpu, Metric::Disk, Metric::NetworkIn];

/// What happens to a store, and to what waits for its disk.
#[derive(Debug, Clone)]
enum Event {
    Stored(Vec<Step>),
    /// A node reports: of this slot, and of so many that long ago.
    Report {
        node: u32,
        back: u32,
        slots: u32,
    },
    Flush {
        is_thinned: bool,
        fails: bool,
    },
    /// Files of weeks before the present one are deleted.
    Expire,
    SetBack {
        slots: u32,
    },
    Ask {
        metric: Metric,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => steps(4).prop_map(Event::Stored),
        4 => (0u32..5, 1u32..400, 0u32..30).prop_map(|(node, back, slots)| Event::Report { node, back, slots }),
        3 => (prop::bool::weighted(0.3), prop::bool::weighted(0.2)).prop_map(|(is_thinned, fails)| Event::Flush { is_thinned, fails }),
        1 => Just(Event::Expire),
        1 => (1u32..4_000).prop_map(|slots| Event::SetBack { slots }),
        6 => prop::sample::select(METRICS.to_vec()).prop_map(|metric| Event::Ask { metric }),
    ];
    prop::collection::vec(event, 1..25)
}

fn nodes() -> Vec<NodeIndex> {
    (0..6).map(NodeIndex).collect()
}

fn now(present: u32) -> Now {
    let wall = Slot(present).start();
    Now { wall, boot: BootMs(wall.0), trusted: true }
}

fn of_a_day(present: u32) -> Steps {
    Steps::ending(Slot(present), 2_880, STEP)
}

/// Out of samples alone.
fn naive(world: &World, metric: Metric, steps: Steps) -> Vec<Vec<Option<f64>>> {
    let until = steps.end().min(Slot(world.present + 1));
    let mut points: BTreeMap<NodeIndex, _> =
        tiers::points_of(world.store(), &nodes(), steps.first, until, Parts::ALL).unwrap().into_iter().collect();
    let line = |node: NodeIndex| {
        let mut line = Line::new(metric, steps);
        points.remove(&node).unwrap_or_default().iter().for_each(|point| line.push(point.slot, 1, &point.sample));
        line.finish()
    };
    nodes().into_iter().map(line).collect()
}

fn ask(world: &World, metric: Metric) -> Vec<Vec<Option<f64>>> {
    world.store().intake.tick(now(world.present), true);
    lines(world.store(), &nodes(), metric, of_a_day(world.present)).unwrap()
}

fn report(world: &World, seq: u64, node: u32, back: u32, slots: u32) {
    let item = |(seq, slots_ago): (u64, u32)| Item {
        seq,
        age_ms: u64::from(slots_ago) * 30_000,
        witness: None,
        running: None,
        sample: sample(node, world.present - slots_ago),
    };
    let ages = (back..back + slots).rev().chain([0]);
    let report = Report {
        protocol: PROTOCOL,
        incarnation: Incarnation(1),
        seq,
        run: Some(world.store().intake.run),
        items: (seq - u64::from(slots)..=seq).zip(ages).map(item).collect(),
        fingerprint: Default::default(),
        agent_version: String::new(),
        dropped: 0,
        workload: None,
        head: None,
        contradicts: None,
        capabilities: Vec::new(),
    };
    let id = NodeId::parse(&format!("node_{node:04}")).unwrap();
    world.store().intake.accept(NodeIndex(node), &id, &report, &[0; 32], &|_| true, now(world.present)).unwrap();
}

fn flush(world: &World, is_thinned: bool, fails: bool) {
    let store = world.store();
    let mut batch = store.intake.start_flush(now(world.present), None, |_| Bitmap::default());
    if fails {
        return store.intake.failed(batch);
    }
    batch.is_thinned = is_thinned;
    let (written, tails) = (batch.clone(), std::sync::Arc::clone(&store.tails));
    store.hot.write_now(move |tx| hot::flush(tx, &written, &tails).map(drop)).unwrap();
    store.intake.committed(&batch, now(world.present));
}

fn happens(world: &mut World, seq: &mut u64, event: &Event) {
    match event {
        Event::Stored(steps) => steps.iter().for_each(|step| world.step(step)),
        Event::Report { node, back, slots } => {
            *seq += 1_000;
            report(world, *seq, *node, *back, *slots);
        }
        Event::Flush { is_thinned, fails } => flush(world, *is_thinned, *fails),
        Event::Expire => {
            let store = world.store();
            store.too_old(Slot(world.present), Slot(0)).into_iter().for_each(|going| drop(store.remove(going).unwrap()));
        }
        Event::SetBack { slots } => world.present -= slots,
        Event::Ask { metric } => {
            // The second one finds all that may be kept.
            for _ in 0..2 {
                assert_eq!(ask(world, *metric), naive(world, *metric, of_a_day(world.present)), "{metric:?} at {}", world.present);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever was asked before, and whatever happened since: answers are what samples say.
    #[test]
    fn kept_steps_are_those_of_samples(events in events()) {
        let mut world = World::new();
        world.is_alone = false;
        world.live(4, 1_500);
        let mut seq = 1_000;
        for event in &events {
            happens(&mut world, &mut seq, event);
        }
        for metric in METRICS {
            happens(&mut world, &mut seq, &Event::Ask { metric });
        }
    }
}

#[test]
fn what_is_kept_is_not_read_again() {
    let mut world = World::new();
    world.live(2, 1_500);
    for _ in 0..6 {
        world.step(&Step::Sweep);
    }
    let first = ask(&world, Metric::Cpu);
    world.store().cold.damage_a_chunk(NodeIndex(0)).unwrap();
    assert_eq!(ask(&world, Metric::Cpu), first);
    assert_eq!(ask(&world, Metric::Disk)[1].iter().flatten().count(), 150);
    assert!(ask(&world, Metric::Disk)[0].iter().flatten().count() < 150, "of another metric nothing was kept");
    world.live(2, 30);
    let later = ask(&world, Metric::Cpu);
    assert!(later.iter().flatten().flatten().count() > first.iter().flatten().flatten().count());
    // A late sample of the damaged stretch has all behind it read anew.
    world.late(0, 2_000, 1);
    assert!(ask(&world, Metric::Cpu)[0].iter().flatten().count() < later[0].iter().flatten().count());
}

#[test]
fn a_store_that_is_opened_anew_has_nothing_kept() {
    let mut world = World::new();
    world.live(3, 500);
    let before = ask(&world, Metric::NetworkIn);
    assert!(world.store().tails.lines.bytes() > 0);
    world.restart();
    assert_eq!(world.store().tails.lines.bytes(), 0);
    assert_eq!(ask(&world, Metric::NetworkIn), before);
}
