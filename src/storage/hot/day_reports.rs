//! What was accepted of each node in each UTC day that is over: a count and the running hash, for the leaves of the next day's first epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::block::group;
use crate::domain::evidence::{DayReports, day_of};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// (day, group of neighbouring nodes) -> what was accepted of them.
pub(in crate::storage) const DAY_REPORTS: Table<(u32, u32), DayReportsGroup> = Table::new("day_reports");

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayReportsGroup(pub(in crate::storage) Vec<(u32, DayReports)>);

record! { DayReportsGroup = 1 }

/// Days that are over for their nodes; a node's later word about a day replaces an earlier one.
pub(super) fn put(tx: &mut WriteTx<'_>, reports: &[(NodeIndex, DayReports)]) -> Result<(), TxError> {
    let mut rows: BTreeMap<(u32, u32), Vec<(u32, DayReports)>> = BTreeMap::new();
    for (node, of_day) in reports {
        rows.entry((of_day.day, group(*node))).or_default().push((node.0, *of_day));
    }
    for (key, changed) in rows {
        let present = tx.get(DAY_REPORTS, &key)?.unwrap_or_default();
        let mut all: BTreeMap<u32, DayReports> = present.0.into_iter().collect();
        all.extend(changed);
        tx.put(DAY_REPORTS, &key, &DayReportsGroup(all.into_iter().collect()))?;
    }
    Ok(())
}

/// Of each node the last day in `[from_day, until_day)` that is over for it.
pub fn over(read: &impl Read, from_day: u32, until_day: u32) -> Result<BTreeMap<NodeIndex, DayReports>, Fault> {
    let mut last = BTreeMap::new();
    if from_day < until_day {
        for (_, group) in read.scan(DAY_REPORTS, (from_day, 0)..(until_day, 0), usize::MAX)? {
            last.extend(group.0.into_iter().map(|(node, reports)| (NodeIndex(node), reports)));
        }
    }
    Ok(last)
}

/// Of each node the last day in `[from_day, until_day)` with any; of days that are not over for it, from its acknowledgements.
pub fn last_before(read: &impl Read, from_day: u32, until_day: u32) -> Result<BTreeMap<NodeIndex, DayReports>, Fault> {
    let mut last = over(read, from_day, until_day)?;
    for (node, ack) in super::acks(read)? {
        if (from_day..until_day).contains(&ack.reports.day) && ack.reports.count > 0 {
            last.insert(node, ack.reports);
        }
    }
    Ok(last)
}

/// Forgets days that end before `before`.
pub(super) fn prune(tx: &mut WriteTx<'_>, before: Slot) -> Result<(), TxError> {
    tx.delete_before(DAY_REPORTS, &(day_of(before), 0), super::PRUNE_LIMIT).map(drop)
}
