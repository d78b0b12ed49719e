//! What nodes did over any stretch of time: from days, hours and leaves, whichever says it with the fewest rows.

use std::collections::BTreeMap;

use super::core::epochs;
use super::fault::Fault;
use super::hot::days;
use super::hot::hours::{self, Rolled};
use super::table::Read;
use crate::domain::evidence::{SLOTS_PER_DAY, day_of, day_start};
use crate::domain::ids::NodeIndex;
use crate::domain::series::SLOTS_PER_HOUR;
use crate::domain::span::Span;
use crate::domain::time::Slot;

/// Where a part of a stretch is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Day(u32),
    Hour(u32),
    /// Leaves of the epochs that begin in `[from, until)`.
    Epochs(Slot, Slot),
}

/// The parts of `[from, until)`, in order.
fn parts(rolled: &Rolled, from: Slot, until: Slot) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = from;
    while at < until {
        let (day, hour) = (day_of(at), hours::hour_of(at));
        let day_is_rolled = (rolled.whole_days_from..rolled.days_before).contains(&day);
        let next = if at == day_start(day) && day_start(day + 1) <= until && day_is_rolled {
            parts.push(Part::Day(day));
            at.plus(SLOTS_PER_DAY)
        } else if at == hours::first_slot(hour) && hours::first_slot(hour + 1) <= until && hour < rolled.score_hours_before {
            parts.push(Part::Hour(hour));
            at.plus(SLOTS_PER_HOUR)
        } else {
            let end = hours::first_slot(hour + 1).min(until);
            match parts.last_mut() {
                Some(Part::Epochs(_, before)) => *before = end,
                _ => parts.push(Part::Epochs(at, end)),
            }
            end
        };
        at = next;
    }
    parts
}

/// The sums of every node over the epochs that begin in `[from, until)`; who has none is absent. `core` must not be newer than `hot`: take its snapshot first.
pub fn of_all(core: &impl Read, hot: &impl Read, from: Slot, until: Slot) -> Result<BTreeMap<NodeIndex, Span>, Fault> {
    let mut sums = BTreeMap::new();
    add(&mut sums, core, hot, from, until)?;
    Ok(sums)
}

/// The same, after what `sums` have already.
pub fn add(sums: &mut BTreeMap<NodeIndex, Span>, core: &impl Read, hot: &impl Read, from: Slot, until: Slot) -> Result<(), Fault> {
    for part in parts(&hours::rolled(hot)?, from, until) {
        match part {
            Part::Day(day) => days::gather(sums, days::of_day(hot, day)?)?,
            Part::Hour(hour) => days::gather(sums, days::of_hour(hot, hour)?)?,
            Part::Epochs(from, until) => {
                for head in epochs::beginning_in(core, from, until)? {
                    days::gather(sums, days::of_epoch(hot, &head)?)?;
                }
            }
        }
    }
    Ok(())
}

/// The same of one node.
pub fn of_node(core: &impl Read, hot: &impl Read, node: NodeIndex, from: Slot, until: Slot) -> Result<Option<Span>, Fault> {
    let mut sums = BTreeMap::new();
    for part in parts(&hours::rolled(hot)?, from, until) {
        match part {
            Part::Day(day) => days::gather(&mut sums, days::day_of_node(hot, day, node)?)?,
            Part::Hour(hour) => days::gather(&mut sums, days::hour_of_node(hot, hour, node)?)?,
            Part::Epochs(from, until) => {
                for head in epochs::beginning_in(core, from, until)? {
                    days::gather(&mut sums, days::of_leaf(hot, &head, node)?)?;
                }
            }
        }
    }
    Ok(sums.remove(&node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_meet_without_overlap_and_use_what_is_rolled_up() {
        let day = 20_700;
        let start = day_start(day);
        let rolled = Rolled { days_before: day + 2, score_hours_before: (day + 3) * 24 + 5, whole_days_from: day, ..Rolled::default() };
        for from in [0, 1, 119, 120, 2_879, 2_880, 3_000, 7_000, 9_000] {
            for length in [0, 1, 119, 120, 121, 2_880, 5_761, 8_640, 12_000] {
                let (from, until) = (start.plus(from), start.plus(from + length));
                let mut at = from;
                for part in parts(&rolled, from, until) {
                    let (begin, end) = match part {
                        Part::Day(day) => (day_start(day), day_start(day + 1)),
                        Part::Hour(hour) => (hours::first_slot(hour), hours::first_slot(hour + 1)),
                        Part::Epochs(begin, end) => (begin, end),
                    };
                    assert_eq!(begin, at, "{part:?} of {from:?} to {until:?}");
                    at = end;
                }
                assert_eq!(at, until);
            }
        }
        let all = parts(&rolled, start, start.plus(4 * 2_880));
        assert_eq!(all[..3], [Part::Day(day), Part::Day(day + 1), Part::Hour((day + 2) * 24)]);
        assert_eq!((all.len(), all[all.len() - 1]), (2 + 24 + 5 + 1, Part::Epochs(start.plus(3 * 2_880 + 600), start.plus(4 * 2_880))));
        let before = start.minus(2_880);
        assert_eq!(parts(&rolled, before, start)[0], Part::Hour((day - 1) * 24), "days of an earlier release lack what hours have");
    }
}
