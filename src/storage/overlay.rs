//! Reads one metric of many nodes: hours out of the roll-ups, shorter steps and what is not rolled up yet out of samples.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::{Parts, hours};
use super::tiers;
use crate::domain::ids::NodeIndex;
use crate::domain::overlay::{Line, Metric, Steps};
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::time::Slot;

/// Samples decoded for one answer, about; larger pools are read with gaps between the slots, but at least once per step.
const MAX_SAMPLES: u32 = 60_000;
/// Nodes whose samples are in memory at one time.
const NODES_AT_ONCE: usize = 8;
/// In the hours that are not rolled up yet every so manieth slot suffices.
const SLOTS_APART_IN_HOURS: u32 = 10;

/// A line for each of `nodes`, which ascend.
pub fn lines(store: &Store, nodes: &[NodeIndex], metric: Metric, steps: Steps) -> Result<Vec<Vec<Option<f64>>>, Fault> {
    let mut lines: BTreeMap<NodeIndex, Line> = nodes.iter().map(|node| (*node, Line::new(metric, steps))).collect();
    let read = store.hot.read()?;
    let mut from = steps.first;
    if steps.slots_per_step >= SLOTS_PER_HOUR {
        let rolled = hours::rolled(&read)?.hours_before.min(hours::hour_of(steps.end()));
        let mut of_months = store.cold.hours();
        for hour in hours::hour_of(from)..rolled {
            for (node, summary) in of_months.of_nodes(hour, nodes)? {
                if let Some(line) = lines.get_mut(&node) {
                    // A counter is what it was at the end of the hour.
                    line.push(hours::first_slot(hour + 1).minus(1), summary.count, &summary.sample);
                }
            }
        }
        from = from.max(hours::first_slot(rolled));
    }
    // Nothing is measured in the future.
    let until = steps.end().min(store.intake.present_slot().map_or(steps.end(), |slot| slot.plus(1)));
    push_samples(store, (metric, nodes), &mut lines, steps, (from, until))?;
    Ok(lines.into_values().map(Line::finish).collect())
}

fn push_samples(
    store: &Store,
    (metric, nodes): (Metric, &[NodeIndex]),
    lines: &mut BTreeMap<NodeIndex, Line>,
    steps: Steps,
    (from, until): (Slot, Slot),
) -> Result<(), Fault> {
    let samples = until.0.saturating_sub(from.0).saturating_mul(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let least = if steps.slots_per_step >= SLOTS_PER_HOUR { SLOTS_APART_IN_HOURS } else { 1 };
    let apart = samples.div_ceil(MAX_SAMPLES).clamp(least, steps.slots_per_step.max(least));
    for some in nodes.chunks(NODES_AT_ONCE) {
        for (node, points) in tiers::points_of(store, some, from, until, parts(metric))? {
            if let Some(line) = lines.get_mut(&node) {
                let shown = points.iter().filter(|point| (point.slot.0 - from.0).is_multiple_of(apart));
                shown.for_each(|point| line.push(point.slot, 1, &point.sample));
            }
        }
    }
    Ok(())
}

fn parts(metric: Metric) -> Parts {
    match metric {
        Metric::Cpu | Metric::Temperature => Parts { cpu: true, ..Parts::NONE },
        Metric::Memory => Parts { memory: true, ..Parts::NONE },
        Metric::Disk => Parts { disk: true, ..Parts::NONE },
        Metric::NetworkIn | Metric::NetworkOut => Parts { network: true, ..Parts::NONE },
    }
}
