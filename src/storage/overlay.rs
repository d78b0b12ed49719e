//! Reads one metric of many nodes: hours out of the roll-ups, shorter steps and what is not rolled up yet out of samples.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::{hourly_values, hours, is_for, values};
use super::tiers;
use crate::domain::ids::NodeIndex;
use crate::domain::overlay::{Line, Metric, Steps};
use crate::domain::series::SLOTS_PER_HOUR;

/// Nodes whose samples are in memory at one time: a day of one column of them is 3 MB.
const NODES_AT_ONCE: usize = 64;

/// A line for each of `nodes`, which ascend.
pub fn lines(store: &Store, nodes: &[NodeIndex], metric: Metric, steps: Steps) -> Result<Vec<Vec<Option<f64>>>, Fault> {
    let mut lines: BTreeMap<NodeIndex, Line> = nodes.iter().map(|node| (*node, Line::new(metric, steps))).collect();
    let read = store.hot.read()?;
    let mut from = steps.first;
    if steps.slots_per_step >= SLOTS_PER_HOUR {
        let rolled = hours::rolled(&read)?.hours_before.min(hours::hour_of(steps.end()));
        store.cold.read_hours(
            nodes,
            (hours::hour_of(from), rolled),
            |column| is_for(metric, column),
            |node, piece| {
                if let Some(line) = lines.get_mut(&node) {
                    hourly_values(&piece, metric).into_iter().for_each(|(slot, weight, value)| line.push_value(slot, weight, value));
                }
            },
        )?;
        from = from.max(hours::first_slot(rolled));
    }
    // Nothing is measured in the future.
    let until = steps.end().min(store.intake.present_slot().map_or(steps.end(), |slot| slot.plus(1)));
    for some in nodes.chunks(NODES_AT_ONCE) {
        for (node, pieces) in tiers::pieces_of(store, some, (from, until), |column| is_for(metric, column))? {
            if let Some(line) = lines.get_mut(&node) {
                let of_pieces = pieces.iter().flat_map(|piece| values(piece, metric));
                of_pieces.for_each(|(slot, value)| line.push_value(slot, 1, value));
            }
        }
    }
    Ok(lines.into_values().map(Line::finish).collect())
}
