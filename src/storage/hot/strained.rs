//! Who was beyond a warning threshold in which slot: one small row per slot in which anybody was, written with the samples. Thresholds are those in force at the
//! flush; what was counted once does not change with them.

use serde::{Deserialize, Serialize};

use super::Samples;
use crate::domain::bits::Bitmap;
use crate::domain::ids::NodeIndex;
use crate::domain::threshold::Reading;
use crate::domain::time::Slot;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// Slot -> nodes whose sample was beyond a warning threshold.
pub(in crate::storage) const STRAINED: Table<u32, Strained> = Table::new("strained");

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strained(pub(super) Bitmap);

record! { Strained = 1 }

/// Records the strained nodes of a flush. Late samples are shown and never counted.
pub fn put(tx: &mut WriteTx<'_>, samples: &Samples, is_within: impl Fn(NodeIndex, &Reading) -> bool) -> Result<(), TxError> {
    for (slot, of_slot) in samples {
        let in_time = of_slot.iter().filter(|(_, pending)| !pending.late);
        let read = in_time.filter_map(|(node, pending)| Some((*node, Reading::of(&pending.encoded.decode()?))));
        let beyond: Vec<NodeIndex> = read.filter(|(node, reading)| !is_within(*node, reading)).map(|(node, _)| node).collect();
        if beyond.is_empty() {
            continue;
        }
        let Strained(mut row) = tx.get(STRAINED, &slot.0)?.unwrap_or_default();
        beyond.into_iter().for_each(|node| {
            row.set(node);
        });
        tx.put(STRAINED, &slot.0, &Strained(row))?;
    }
    Ok(())
}

/// Rows of `[from, until)` in slot order; in slots without one nobody was strained.
pub fn rows(read: &impl Read, from: Slot, until: Slot) -> Result<Vec<(Slot, Bitmap)>, Fault> {
    Ok(read.scan(STRAINED, from.0..until.0, usize::MAX)?.into_iter().map(|(slot, Strained(row))| (Slot(slot), row)).collect())
}
