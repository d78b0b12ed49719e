//! Reads one metric of many nodes: hours out of the roll-ups, shorter steps and what is not rolled up yet out of samples, and of steps that are over what earlier charts have made of
//! them.

use std::collections::BTreeMap;

use super::Store;
use super::fault::Fault;
use super::hot::{hourly_values, hours, is_for, values};
use super::kept_lines::{STEP, Stamp};
use super::tiers;
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::domain::overlay::{Line, Metric, Steps};
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::time::Slot;

/// Samples that are in memory at one time: a day of one column of 64 nodes, 3 MB.
const SAMPLES_AT_ONCE: u32 = 64 * 2_880;

/// A line for each of `nodes`, which ascend.
pub fn lines(store: &Store, nodes: &[NodeIndex], metric: Metric, steps: Steps) -> Result<Vec<Vec<Option<f64>>>, Fault> {
    if steps.slots_per_step == STEP {
        return with_kept(store, nodes, metric, steps);
    }
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
                    hourly_values(&piece, metric).into_iter().for_each(|(hour, samples, value)| line.push_hour(hour, samples, value));
                }
            },
        )?;
        from = from.max(hours::first_slot(rolled));
    }
    // After a clock was set back, hours may be rolled up that are still to come.
    let until = end(store, steps).max(from);
    for some in nodes.chunks(at_once(from, until)) {
        for (node, pieces) in tiers::pieces_of(store, some, (from, until), |column| is_for(metric, column))? {
            if let Some(line) = lines.get_mut(&node) {
                push(line, &pieces, metric);
            }
        }
    }
    Ok(lines.into_values().map(Line::finish).collect())
}

/// Nothing is measured in the future.
fn end(store: &Store, steps: Steps) -> Slot {
    steps.end().min(store.intake.present_slot().map_or(steps.end(), |slot| slot.plus(1)))
}

fn at_once(from: Slot, until: Slot) -> usize {
    usize::try_from(SAMPLES_AT_ONCE / until.0.saturating_sub(from.0).max(1)).unwrap_or(1).max(1)
}

fn push(line: &mut Line, pieces: &[Series], metric: Metric) {
    let of_pieces = pieces.iter().flat_map(|piece| values(piece, metric));
    of_pieces.for_each(|(slot, value)| line.push_value(slot, 1, value));
}

/// A node whose line is to be read from some slot on.
struct Rest {
    node: NodeIndex,
    line: Line,
    stamp: Stamp,
    waiting: Series,
}

/// Steps of `STEP` slots: those that are kept, and behind them samples.
fn with_kept(store: &Store, nodes: &[NodeIndex], metric: Metric, steps: Steps) -> Result<Vec<Vec<Option<f64>>>, Fault> {
    let until = end(store, steps);
    let is_wanted = |column| is_for(metric, column);
    let kept = &store.tails.lines;
    let chart = kept.chart(metric, store.cold.deletions());
    let first = steps.first_number();
    let mut finished: BTreeMap<NodeIndex, Vec<Option<f64>>> = BTreeMap::new();
    let mut rests: BTreeMap<Slot, Vec<Rest>> = BTreeMap::new();
    for node in nodes {
        // Before what is kept: what a flush moves meanwhile is found twice.
        let waiting = store.intake.pending(*node, steps.first, until, is_wanted);
        let mut line = Line::new(metric, steps);
        let mut next = first;
        let stamp = kept.show(chart, *node, first..over(&waiting, until), |number, outcome| {
            line.put(place(number, first), outcome);
            next = number + 1;
        });
        rests.entry(Slot(next * STEP)).or_default().push(Rest { node: *node, line, stamp, waiting });
    }
    for (from, mut rests) in rests {
        while !rests.is_empty() {
            let mut some: Vec<Rest> = rests.drain(..rests.len().min(at_once(from, until))).collect();
            let waiting = some.iter_mut().map(|rest| (rest.node, std::mem::take(&mut rest.waiting)));
            let (over, waiting): (Vec<u32>, Vec<(NodeIndex, Series)>) =
                waiting.map(|(node, series)| (over(&series, until), (node, series.within(from, until)))).unzip();
            let mut pieces: BTreeMap<NodeIndex, Vec<Series>> =
                tiers::with_waiting(store, waiting, (from, until), is_wanted)?.into_iter().collect();
            for (mut rest, over) in some.into_iter().zip(over) {
                push(&mut rest.line, &pieces.remove(&rest.node).unwrap_or_default(), metric);
                let new = (from.0 / STEP..over).map(|number| (number, rest.line.outcome(place(number, first))));
                kept.keep(chart, rest.node, rest.stamp, new);
                finished.insert(rest.node, rest.line.finish());
            }
        }
    }
    Ok(finished.into_values().collect())
}

/// Number of the first step that is not over, or of which something waits for the disk: a flush may leave it out.
fn over(waiting: &Series, until: Slot) -> u32 {
    waiting.slots.first().map_or(until, |slot| until.min(*slot)).0 / STEP
}

fn place(number: u32, first: u32) -> usize {
    usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
