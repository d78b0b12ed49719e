//! One month of hours, rolled up: a row per hour and group of neighbouring nodes, so that each hour is written once, at the end of the file.

use std::ops::ControlFlow;
use std::path::Path;

use jiff::civil::Date;

use crate::domain::ids::NodeIndex;
use crate::domain::series::{SLOTS_PER_HOUR, Summary};
use crate::storage::DbFile;
use crate::storage::cold::origin;
use crate::storage::fault::{Fault, OpenError, TxError};
use crate::storage::hot::hours::{self, HourRow};
use crate::storage::hot::{Block, group};
use crate::storage::table::{Read, Table, WriteTx};

/// (hour since 1970, group of neighbouring nodes) -> their summaries.
const HOURS: Table<(u32, u32), Block> = Table::new("hours");

const HOURS_PER_DAY: u32 = 86_400 / 30 / SLOTS_PER_HOUR;

/// A month of the calendar, UTC: months since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u32);

impl Month {
    pub fn of_hour(hour: u32) -> Month {
        let days = i64::from(hour / HOURS_PER_DAY);
        let date = Date::constant(1970, 1, 1).saturating_add(jiff::Span::new().days(days));
        let months = (i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1;
        Month(u32::try_from(months).unwrap_or_default())
    }

    fn date(self) -> Date {
        let year = i16::try_from(1970 + self.0 / 12).unwrap_or(i16::MAX);
        Date::new(year, i8::try_from(self.0 % 12 + 1).unwrap_or(1), 1).unwrap_or(Date::MAX)
    }

    /// The first hour after it.
    pub fn end_hour(self) -> u32 {
        let days = Date::constant(1970, 1, 1).until((jiff::Unit::Day, Month(self.0 + 1).date())).map_or(0, |span| span.get_days());
        u32::try_from(days).unwrap_or(u32::MAX).saturating_mul(HOURS_PER_DAY)
    }

    pub fn file(self) -> String {
        let date = self.date();
        format!("hourly-{:04}-{:02}.redb", date.year(), date.month())
    }

    pub fn of_file(name: &str) -> Option<Month> {
        let (year, month) = name.strip_prefix("hourly-")?.strip_suffix(".redb")?.split_once('-')?;
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        let months = year.checked_sub(1970)?.checked_mul(12)?.checked_add(month.checked_sub(1)?)?;
        Some(Month(months)).filter(|month| month.file() == name)
    }
}

pub fn open(path: &Path, cache_bytes: usize, store_id: &str, month: Month) -> Result<DbFile, OpenError> {
    origin::open(path, cache_bytes, store_id, &month.file(), &[HOURS.name])
}

/// Writes roll-ups; doing it again writes the same.
pub fn put(tx: &mut WriteTx<'_>, rows: &[HourRow]) -> Result<(), TxError> {
    origin::touch(tx)?;
    rows.iter().try_for_each(|row| tx.put(HOURS, &(row.hour, row.group), &row.block))
}

/// The summary of one node's hour.
pub fn of_node(read: &impl Read, hour: u32, node: NodeIndex) -> Result<Option<Summary>, Fault> {
    let found = read.get(HOURS, &(hour, group(node)))?;
    Ok(found.and_then(|block| block.find(node).and_then(hours::summary)))
}

/// Summaries of some nodes of one hour; `nodes` ascending. Each group is read once.
pub fn of_nodes(read: &impl Read, hour: u32, nodes: &[NodeIndex]) -> Result<Vec<(NodeIndex, Summary)>, Fault> {
    let mut found = Vec::new();
    for wanted in nodes.chunk_by(|a, b| group(*a) == group(*b)) {
        if let Some(block) = read.get(HOURS, &(hour, group(wanted[0])))? {
            let of_group = block.entries().filter(|entry| wanted.binary_search(&entry.node).is_ok());
            found.extend(of_group.filter_map(|entry| Some((entry.node, hours::summary(entry)?))));
        }
    }
    Ok(found)
}

/// Decodes every hour; how many there are of nodes.
pub fn verify(read: &impl Read, month: Month) -> Result<Result<u64, String>, Fault> {
    let (mut hours, mut wrong) = (0, None);
    read.for_each(HOURS, .., |(hour, group), block| {
        for entry in block.entries() {
            hours += 1;
            if hours::summary(entry).is_none() {
                wrong = wrong.take().or_else(|| Some(format!("hour {hour} of node {} does not decode", entry.node.0)));
            }
        }
        if Month::of_hour(hour) != month {
            wrong = wrong.take().or_else(|| Some(format!("hour {hour} of group {group} is of another month")));
        }
        ControlFlow::Continue(())
    })?;
    Ok(wrong.map_or(Ok(hours), Err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        // 2026-11-01 00:00 UTC.
        let first = 1_793_491_200 / 3_600;
        let month = Month::of_hour(first);
        assert_eq!((month.file().as_str(), Month::of_hour(first - 1).file().as_str()), ("hourly-2026-11.redb", "hourly-2026-10.redb"));
        assert_eq!(month.end_hour(), first + 30 * 24);
        assert_eq!(Month::of_hour(month.end_hour()).file(), "hourly-2026-12.redb");
        for number in [0, 11, 12, 682, 2_000] {
            assert_eq!(Month::of_file(&Month(number).file()), Some(Month(number)));
        }
        for other in ["hourly-2026-13.redb", "hourly-2026-1.redb", "hourly-2026-11.redb.tmp", "raw-2026w47.redb", "hourly-1969-12.redb"] {
            assert_eq!(Month::of_file(other), None, "{other}");
        }
    }
}
