//! Reads one metric of many nodes: hours out of the roll-ups, shorter steps and what is not rolled up yet out of samples.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::{self, hours};
use super::table::Snapshot;
use crate::domain::ids::NodeIndex;
use crate::domain::overlay::{Line, Metric, Steps};
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::time::Slot;

/// Samples decoded for one answer, about; larger pools are read with gaps between the slots, but at least once per step.
const MAX_SAMPLES: u32 = 60_000;
/// In the hours that are not rolled up yet every so manieth slot suffices.
const SLOTS_APART_IN_HOURS: u32 = 10;

/// A line for each of `nodes`, which ascend.
pub fn lines(store: &Store, nodes: &[NodeIndex], metric: Metric, steps: Steps) -> Result<Vec<Vec<Option<f64>>>, Fault> {
    let mut lines: BTreeMap<NodeIndex, Line> = nodes.iter().map(|node| (*node, Line::new(metric, steps))).collect();
    // Memory first: what a flush moves meanwhile is then found twice, and never missed.
    for (node, line) in &mut lines {
        for point in store.intake.pending_points(*node, steps.first, steps.end()) {
            line.push(point.slot, 1, &point.sample);
        }
    }
    let read = store.hot.read()?;
    let mut from = steps.first;
    if steps.slots_per_step >= SLOTS_PER_HOUR {
        let rolled = hours::rolled(&read)?.hours_before.min(hours::hour_of(steps.end()));
        for hour in hours::hour_of(from)..rolled {
            for (node, summary) in hours::of_nodes(&read, hour, nodes)? {
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
    push_samples(&read, nodes, &mut lines, steps, from, until)?;
    Ok(lines.into_values().map(Line::finish).collect())
}

fn push_samples(
    read: &Snapshot,
    nodes: &[NodeIndex],
    lines: &mut BTreeMap<NodeIndex, Line>,
    steps: Steps,
    from: Slot,
    until: Slot,
) -> Result<(), Fault> {
    let samples = until.0.saturating_sub(from.0).saturating_mul(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let least = if steps.slots_per_step >= SLOTS_PER_HOUR { SLOTS_APART_IN_HOURS } else { 1 };
    let apart = samples.div_ceil(MAX_SAMPLES).clamp(least, steps.slots_per_step.max(least));
    let apart = usize::try_from(apart).unwrap_or(1);
    for slot in from.until(until).step_by(apart) {
        for (node, sample) in hot::samples_of(read, slot, nodes)? {
            if let Some(line) = lines.get_mut(&node) {
                line.push(slot, 1, &sample);
            }
        }
    }
    Ok(())
}
