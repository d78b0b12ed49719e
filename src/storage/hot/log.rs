//! The log of samples: what each flush and each late batch brought, in sheets, until it is sealed. It is written once and read at a start; queries read `tails`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::group;
use crate::domain::chunk::{self, Sheet};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;
use crate::record;
use crate::storage::bytes::Bytes;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};
use crate::storage::tails::{Sealed, Tails};

/// Row number -> a sheet. Numbers ascend, also over the rows that were let go.
pub(in crate::storage) const LOG: Table<u64, LogRow> = Table::new("log");
/// Group of neighbouring nodes -> what of each node is sealed.
pub(in crate::storage) const SEALED: Table<u32, SealedGroup> = Table::new("sealed");
/// One row: what the next sweep is called.
pub(in crate::storage) const SWEEP: Table<String, Sweep> = Table::new("sweep");

/// A sheet, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogRow(pub(in crate::storage) Bytes);

/// Ordered by node: node, row, slot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SealedGroup(pub(in crate::storage) Vec<(u32, u64, u32)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    pub next: u32,
}

record! { LogRow = 1, SealedGroup = 1, Sweep = 1 }

const ROW: &str = "row";
/// What a row of redb adds to a value: its ends, its key, the record's version and length.
const OVERHEAD: usize = 28;
/// Samples that are looked at for one row: more than fit into the largest page, and no more, because each try encodes them.
const AT_ONCE: usize = 4_000;
/// Sizes of pages that a row may fill.
const PAGES: [usize; 4] = [32_768, 16_384, 8_192, 4_096];

/// Writes samples behind the log, in (node, slot) order; they are in `tails` once this transaction has committed.
pub fn append(tx: &mut WriteTx<'_>, sheet: &Sheet, tails: &Arc<Tails>, present: Option<Slot>) -> Result<(), TxError> {
    let mut next = tx.last(LOG)?.map_or(0, |(row, _)| row).max(tails.last_row()) + 1;
    let (mut from, mut guess) = (0, None);
    while from < sheet.nodes.len() {
        let rest = sheet.part(from, sheet.nodes.len().min(from + AT_ONCE));
        let (count, bytes) = page(&rest, guess);
        guess = Some(count);
        tx.put(LOG, &next, &LogRow(Bytes(bytes)))?;
        let (part, tails, row) = (rest.part(0, count), Arc::clone(tails), next);
        tx.after_commit(move || tails.append(row, &part, present, |_, _| false));
        from += count;
        next += 1;
    }
    Ok(())
}

/// As many of the first samples as fill a page well, encoded; `guess` is how many filled the page before.
fn page(sheet: &Sheet, guess: Option<usize>) -> (usize, Vec<u8>) {
    let count = sheet.nodes.len();
    let filled = |count: usize, guess: usize, page: usize| {
        let limit = page - OVERHEAD;
        chunk::fill_from(count, Some(guess), limit, limit - limit / 12, |count| sheet.part(0, count).encode())
    };
    if let (Some(guess), [largest, ..]) = (guess.filter(|guess| guess * 2 < count), PAGES) {
        return filled(count, guess, largest);
    }
    let whole = sheet.encode();
    let fits = |page: &usize| whole.len() + OVERHEAD <= *page;
    // What fills most of a page takes it, what would leave much of it empty fills a smaller one first.
    if let Some(page) = PAGES.iter().rev().find(|page| fits(page))
        && (whole.len() * 5 > page * 4 || PAGES.last() == Some(page))
    {
        return (count, whole);
    }
    let page = PAGES.iter().find(|page| **page <= whole.len()).or(PAGES.last()).copied().unwrap_or_default();
    filled(count, (count * page / whole.len().max(1)).max(1), page)
}

pub fn sealed(read: &impl Read) -> Result<BTreeMap<NodeIndex, Sealed>, Fault> {
    let groups = read.scan(SEALED, .., usize::MAX)?;
    let all = groups.into_iter().flat_map(|(_, group)| group.0);
    Ok(all.map(|(node, row, slot)| (NodeIndex(node), Sealed { row, slot: Slot(slot) })).collect())
}

pub fn next_sweep(read: &impl Read) -> Result<u32, Fault> {
    Ok(read.get(SWEEP, &ROW.to_owned())?.unwrap_or_default().next)
}

/// Records what `sweep` has sealed, and lets go of rows before `keep_from`. Doing it again changes nothing.
pub fn put_sealed(tx: &mut WriteTx<'_>, sweep: u32, sealed: &[(NodeIndex, Sealed)], keep_from: u64) -> Result<(), TxError> {
    let next = next_sweep(tx)?.max(sweep.saturating_add(1));
    tx.put(SWEEP, &ROW.to_owned(), &Sweep { next })?;
    let mut groups: BTreeMap<u32, Vec<(NodeIndex, Sealed)>> = BTreeMap::new();
    for (node, sealed) in sealed {
        groups.entry(group(*node)).or_default().push((*node, *sealed));
    }
    for (group, changed) in groups {
        let present = tx.get(SEALED, &group)?.unwrap_or_default();
        let mut all: BTreeMap<u32, (u64, u32)> = present.0.into_iter().map(|(node, row, slot)| (node, (row, slot))).collect();
        for (node, sealed) in changed {
            let of_node = all.entry(node.0).or_default();
            *of_node = (of_node.0.max(sealed.row), of_node.1.max(sealed.slot.0));
        }
        tx.put(SEALED, &group, &SealedGroup(all.into_iter().map(|(node, (row, slot))| (node, row, slot)).collect()))?;
    }
    tx.delete_before(LOG, &keep_from, usize::MAX)?;
    Ok(())
}

/// Fills `tails` from the log. A row that is damaged is left out, and said: `verify` names it.
pub fn replay(read: &impl Read, tails: &Tails) -> Result<(), Fault> {
    let sealed = sealed(read)?;
    // Numbers go on behind all that was ever sealed, or a sample of a new row would be taken for one of an old one.
    tails.clear(sealed.values().map(|sealed| sealed.row).max().unwrap_or_default());
    read.for_each(LOG, .., |row, bytes| {
        match Sheet::decode(&bytes.0.0) {
            Ok(sheet) => tails.append(row, &sheet, None, |node, slot| sealed.get(&node).is_some_and(|sealed| sealed.has(row, slot))),
            Err(damaged) => tracing::error!(row, %damaged, "a row of measurements is lost"),
        }
        ControlFlow::Continue(())
    })
}

/// Decodes every row; the number of samples.
pub(super) fn verify(read: &impl Read) -> Result<u64, Fault> {
    let (mut samples, mut bad) = (0, None);
    read.for_each(LOG, .., |row, bytes| match Sheet::decode(&bytes.0.0) {
        Ok(sheet) => {
            samples += sheet.nodes.len() as u64;
            ControlFlow::Continue(())
        }
        Err(damaged) => {
            bad = Some((row, damaged));
            ControlFlow::Break(())
        }
    })?;
    if let Some((row, damaged)) = bad {
        return Err(Fault::Record { table: LOG.name, key: row.to_string(), why: damaged.to_string() });
    }
    sealed(read)?;
    next_sweep(read)?;
    Ok(samples + read.count(SEALED)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metrics::{Interface, Sample};
    use crate::storage::hot::EncodedSample;
    use crate::storage::tails::sheet;

    /// Containers name their interfaces at random.
    #[test]
    fn rows_have_the_names_of_their_own_samples_alone() {
        let encoded = |node: u32, slot: u32| {
            let mut sample = Sample::default();
            let interface =
                |n: u64| Interface { name: format!("veth{node:06x}{n}"), bytes_in: u64::from(slot) * (n + 3), ..Interface::default() };
            sample.network.interfaces = (0..20).map(interface).collect();
            EncodedSample::new(&sample)
        };
        let samples: Vec<_> = (0..2_000).flat_map(|node| (0..3).map(move |slot| (node, slot, encoded(node, slot)))).collect();
        let whole = sheet(samples.iter().map(|(node, slot, sample)| (NodeIndex(*node), Slot(*slot), false, sample)));
        assert_eq!(whole.columns.names.len(), 40_000, "more than one chunk may have");
        let (mut from, mut rows, mut guess) = (0, 0, None);
        while from < whole.nodes.len() {
            let rest = whole.part(from, whole.nodes.len().min(from + AT_ONCE));
            let (count, bytes) = page(&rest, guess);
            let read = Sheet::decode(&bytes).unwrap();
            assert_eq!(read, rest.part(0, count));
            assert!(bytes.len() + OVERHEAD <= PAGES[0], "{}", bytes.len());
            (from, rows, guess) = (from + count, rows + 1, Some(count));
        }
        assert!(rows < 60, "{rows}");
    }
}
