//! Bytes written to the card, by day. The present day is in `Meta`, which each flush writes anyway; a day that is over is one row here.

use serde::{Deserialize, Serialize};

use crate::domain::evidence::day_of;
use crate::domain::time::Timestamp;
use crate::domain::wear::{KEPT_DAYS, Tally, Written};
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// Days since 1970 -> what was written in it.
pub(in crate::storage) const DAYS: Table<u32, WearDay> = Table::new("wear_days");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WearDay(pub Written);

record! { WearDay = 1 }

/// Adds what was written since the last flush to the day of `at`.
pub(super) fn book(tx: &mut WriteTx<'_>, before: &Tally, written: &Written, at: Timestamp) -> Result<Tally, TxError> {
    let today = day_of(at.slot());
    let (mut tally, over) = before.book(written, today, at.0);
    if let Some((day, of_day)) = over {
        tx.put(DAYS, &day, &WearDay(of_day))?;
        tx.delete_before(DAYS, &today.saturating_sub(KEPT_DAYS), usize::MAX)?;
        // A clock that was set back comes into a day that was over.
        if let Some(WearDay(known)) = tx.get(DAYS, &today)? {
            tally.of_day = tally.of_day.plus(&known);
            tx.delete(DAYS, &today)?;
        }
    }
    Ok(tally)
}

/// Days in `[from, until)`, the present one of the tally among them, ascending; days without a row are left out.
pub fn days(read: &impl Read, tally: &Tally, from: u32, until: u32) -> Result<Vec<(u32, Written)>, Fault> {
    let mut days: Vec<(u32, Written)> =
        read.scan(DAYS, from..until, usize::MAX)?.into_iter().map(|(day, WearDay(written))| (day, written)).collect();
    if tally.since_ms.is_some() && (from..until).contains(&tally.day) {
        days.push((tally.day, tally.of_day));
        days.sort_by_key(|(day, _)| *day);
    }
    Ok(days)
}

/// Decodes every row; the number of them.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.scan(DAYS, .., usize::MAX)?.len() as u64)
}
