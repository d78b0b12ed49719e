//! What is durable of outputs: who was challenged and answered in which slot, one small row per slot; the log of submitted outputs, many to a row; and what
//! they were by month and node.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::domain::bits::Bitmap;
use crate::domain::ids::NodeIndex;
use crate::domain::output::{Proof, ProofMonth};
use crate::domain::statement::Month;
use crate::domain::time::Slot;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// Slot -> who was challenged in it, and who answered. Written once, when no answer can come any more; slots without a challenge have no row.
pub(in crate::storage) const CHALLENGED: Table<u32, ChallengeRow> = Table::new("challenged");
/// Number of the first -> proofs with the numbers that follow.
pub(in crate::storage) const PROOFS: Table<u64, ProofRows> = Table::new("output_proofs");
/// (month, group of neighbouring nodes) -> their outputs in numbers.
pub(in crate::storage) const PROOF_MONTHS: Table<(u32, u32), ProofMonths> = Table::new("output_months");

/// Bytes of the proofs of one row: with its head a page of 4 KiB holds it, and one byte more would take two.
const ROW_BYTES: usize = 4_060;
/// Nodes of one row of months.
const NODES_PER_ROW: u32 = 64;

/// Invariant: who answered was challenged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChallengeRow {
    pub challenged: Bitmap,
    pub answered: Bitmap,
}

impl ChallengeRow {
    pub fn merge(&mut self, other: &ChallengeRow) {
        self.challenged.union(&other.challenged);
        self.answered.union(&other.answered);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProofRows(pub(in crate::storage) Vec<Proof>);

/// In node order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProofMonths(pub(super) Vec<(u32, ProofMonth)>);

record! { ChallengeRow = 1, ProofRows = 1, ProofMonths = 1 }

/// Challenges of slots that are closed.
pub fn put_challenged(tx: &mut WriteTx<'_>, rows: &[(Slot, ChallengeRow)]) -> Result<(), TxError> {
    for (slot, row) in rows {
        // A start within the time of a slot writes what was handed out by the process before and by this one.
        let mut merged = tx.get(CHALLENGED, &slot.0)?.unwrap_or_default();
        merged.merge(row);
        tx.put(CHALLENGED, &slot.0, &merged)?;
    }
    Ok(())
}

/// Rows of `[from, until)` in slot order.
pub fn challenged(read: &impl Read, from: Slot, until: Slot) -> Result<Vec<(Slot, ChallengeRow)>, Fault> {
    Ok(read.scan(CHALLENGED, from.0..until.0, usize::MAX)?.into_iter().map(|(slot, row)| (Slot(slot), row)).collect())
}

/// Appends proofs, ascending by number, and counts them in their months.
pub fn put(tx: &mut WriteTx<'_>, proofs: &[(u64, Proof)]) -> Result<(), TxError> {
    for run in proofs.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
        let (mut first, mut row, mut bytes) = (0, Vec::new(), 0);
        for (number, proof) in run {
            let size = postcard::to_stdvec(proof).map_err(|e| Fault::Invariant(e.to_string()))?.len();
            if !row.is_empty() && bytes + size > ROW_BYTES {
                tx.put(PROOFS, &first, &ProofRows(std::mem::take(&mut row)))?;
            }
            if row.is_empty() {
                (first, bytes) = (*number, 0);
            }
            row.push(*proof);
            bytes += size;
        }
        tx.put(PROOFS, &first, &ProofRows(row))?;
    }
    let mut groups: BTreeMap<(u32, u32), BTreeMap<u32, Vec<&Proof>>> = BTreeMap::new();
    for (_, proof) in proofs {
        let key = (Month::of(proof.received_at).0, proof.node.0 / NODES_PER_ROW);
        groups.entry(key).or_default().entry(proof.node.0).or_default().push(proof);
    }
    for (key, of_nodes) in groups {
        let mut months: BTreeMap<u32, ProofMonth> = tx.get(PROOF_MONTHS, &key)?.unwrap_or_default().0.into_iter().collect();
        for (node, proofs) in of_nodes {
            let month = months.entry(node).or_default();
            proofs.into_iter().for_each(|proof| month.add(proof));
        }
        tx.put(PROOF_MONTHS, &key, &ProofMonths(months.into_iter().collect()))?;
    }
    Ok(())
}

/// The number after the last one.
pub fn next_number(read: &impl Read) -> Result<u64, Fault> {
    Ok(read.last(PROOFS)?.map_or(1, |(first, ProofRows(row))| first + row.len() as u64))
}

pub fn by_number(read: &impl Read, number: u64) -> Result<Option<Proof>, Fault> {
    let mut found = None;
    read.for_each_back(PROOFS, ..=number, |first, ProofRows(row)| {
        found = usize::try_from(number - first).ok().and_then(|at| row.get(at).copied());
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Proofs newest first, until `visit` breaks.
pub fn for_each_back(read: &impl Read, mut visit: impl FnMut(u64, &Proof) -> ControlFlow<()>) -> Result<(), Fault> {
    read.for_each_back(PROOFS, .., |first, ProofRows(row)| {
        for (number, proof) in row.iter().enumerate().rev() {
            if visit(first + number as u64, proof).is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })
}

/// The months of a node in which it submitted anything, newest first.
pub fn months(read: &impl Read, node: NodeIndex) -> Result<Vec<(Month, ProofMonth)>, Fault> {
    let mut found = Vec::new();
    let Some((newest, _)) = read.last(PROOF_MONTHS)? else { return Ok(found) };
    let Some((oldest, _)) = read.scan(PROOF_MONTHS, .., 1)?.pop() else { return Ok(found) };
    for month in (oldest.0..=newest.0).rev() {
        let row = read.get(PROOF_MONTHS, &(month, node.0 / NODES_PER_ROW))?.unwrap_or_default();
        found.extend(row.0.into_iter().find(|(of, _)| *of == node.0).map(|(_, sums)| (Month(month), sums)));
    }
    Ok(found)
}

/// Proofs from a number on, ascending: those of at most `rows` rows.
pub fn page(read: &impl Read, from: u64, rows: usize) -> Result<Vec<(u64, Proof)>, Fault> {
    let (mut start, mut found, mut left) = (from, Vec::new(), rows);
    read.for_each_back(PROOFS, ..=from, |first, ProofRows(row)| {
        if from < first + row.len() as u64 {
            start = first;
        }
        ControlFlow::Break(())
    })?;
    read.for_each(PROOFS, start.., |first, ProofRows(row)| {
        found.extend((first..).zip(row).filter(|(number, _)| *number >= from));
        left = left.saturating_sub(1);
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// Whether the log begins with a row of which every proof has at most this number.
pub fn begins_within(read: &impl Read, last: u64) -> Result<bool, Fault> {
    let row = read.scan(PROOFS, .., 1)?.pop();
    Ok(row.is_some_and(|(first, ProofRows(row))| first + row.len() as u64 <= last + 1))
}

/// Forgets the rows from the beginning of the log of which every proof has at most this number, at most `limit`; how many there were.
pub fn prune(tx: &mut WriteTx<'_>, last: u64, limit: usize) -> Result<usize, TxError> {
    let (mut end, mut rows) = (None, 0);
    tx.for_each(PROOFS, .., |first, ProofRows(row)| {
        if rows == limit || first + row.len() as u64 > last + 1 {
            return ControlFlow::Break(());
        }
        (end, rows) = (Some(first + 1), rows + 1);
        ControlFlow::Continue(())
    })?;
    if let Some(end) = end {
        tx.delete_before(PROOFS, &end, limit)?;
    }
    Ok(rows)
}

/// Forgets challenges of slots before `slot`, at most `limit`; how many there were.
pub fn prune_challenged(tx: &mut WriteTx<'_>, slot: Slot, limit: usize) -> Result<usize, TxError> {
    tx.delete_before(CHALLENGED, &slot.0, limit)
}

/// Decodes all; who answered was challenged, and no number is given twice.
pub fn verify(read: &impl Read) -> Result<u64, Fault> {
    let (mut records, mut next, mut wrong) = (0, 0, None);
    read.for_each(CHALLENGED, .., |slot, row| {
        records += 1;
        if !row.answered.is_within(&row.challenged) {
            wrong = Some((CHALLENGED.name, u64::from(slot), "answered is not within challenged"));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    read.for_each(PROOFS, .., |first, ProofRows(row)| {
        records += row.len() as u64;
        if first < next || row.is_empty() {
            wrong = Some((PROOFS.name, first, "numbers are given twice, or none"));
            return ControlFlow::Break(());
        }
        next = first + row.len() as u64;
        ControlFlow::Continue(())
    })?;
    read.for_each(PROOF_MONTHS, .., |(month, _), ProofMonths(rows)| {
        records += rows.len() as u64;
        if rows.iter().any(|(_, sums)| sums.valid > sums.count || sums.counted > sums.valid) {
            wrong = Some((PROOF_MONTHS.name, u64::from(month), "more are valid than there are"));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match wrong {
        None => Ok(records),
        Some((table, key, why)) => Err(Fault::Record { table, key: key.to_string(), why: why.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;
    use crate::domain::output::{Wrong, Wrongs};
    use crate::domain::time::Timestamp;
    use crate::storage::table::encode;
    use crate::storage::testing::store;

    const START: Timestamp = Timestamp(1_790_000_000_000);

    fn proof(n: u64) -> Proof {
        let hash = sha256(&n.to_le_bytes());
        let wrongs = if n.is_multiple_of(5) { [Wrong::HashMismatch].into_iter().collect() } else { Wrongs::default() };
        Proof {
            node: NodeIndex(u32::try_from(n % 200).unwrap()),
            received_at: START.plus_seconds(i64::try_from(n).unwrap() * 3_600),
            timestamp: START,
            wrongs,
            challenge_slot: n.is_multiple_of(2).then_some(Slot(59_666_666)),
            counted: false,
            by_node: true,
            output_hash: hash,
            data: *hash.first_chunk().unwrap(),
            nonce: [7; 16],
            score_hundredths: 10_000,
            confidence_hundredths: 100,
            took_ms: 1,
            batch: n.is_multiple_of(3).then_some([8; 16]),
        }
    }

    #[test]
    fn every_number_is_found_and_rows_fill_a_page() {
        let (_dir, store) = store();
        assert_eq!(next_number(&store.hot.read().unwrap()).unwrap(), 1);
        // Two writers whose numbers lie between each other's.
        let all: Vec<(u64, Proof)> = (1..=2_000).map(|n| (n, proof(n))).collect();
        let (odd, even): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(n, _)| (n / 100) % 2 == 1);
        for part in [even, odd] {
            store.hot.write_now(move |tx| put(tx, &part)).unwrap();
        }
        let read = store.hot.read().unwrap();
        for (number, proof) in &all {
            assert_eq!(by_number(&read, *number).unwrap().as_ref(), Some(proof), "{number}");
        }
        assert_eq!((by_number(&read, 0).unwrap(), by_number(&read, 2_001).unwrap()), (None, None));
        assert_eq!((next_number(&read).unwrap(), verify(&read).unwrap() > 2_000), (2_001, true));
        let mut seen = Vec::new();
        for_each_back(&read, |number, _| {
            seen.push(number);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(seen.iter().copied().eq((1..=2_000).rev()));
        let rows = read.scan(PROOFS, .., usize::MAX).unwrap();
        assert!(rows.iter().all(|(_, row)| encode(row).unwrap().len() <= 4_080));
        assert!(rows.len() < 70, "{} rows", rows.len());
    }

    #[test]
    fn months_count_and_outlive_what_they_count() {
        let (_dir, store) = store();
        let all: Vec<(u64, Proof)> = (1..=2_000).map(|n| (n, proof(n))).collect();
        let written = all.clone();
        store.hot.write_now(move |tx| put(tx, &written)).unwrap();
        let pruned = store.hot.write_now(move |tx| prune(tx, 700, 1_000)).unwrap();
        assert!(pruned > 0);
        let read = store.hot.read().unwrap();
        let (first, ProofRows(row)) = read.scan(PROOFS, .., 1).unwrap().pop().unwrap();
        assert!((first..).take(row.len()).any(|number| number == 701), "the first row that is left has something to keep");
        assert!(!begins_within(&read, 700).unwrap() && begins_within(&read, first + row.len() as u64 - 1).unwrap());
        // A page begins within a row as well, and beyond the end is nothing.
        for (from, rows) in [(701, 1), (first, 2), (1_500, 3), (2_000, 9)] {
            let page = page(&read, from, rows).unwrap();
            let expected = all.iter().filter(|(number, _)| *number >= from).take(page.len());
            assert!(!page.is_empty() && page.iter().eq(expected), "{from}");
        }
        assert_eq!(page(&read, 2_001, 9).unwrap(), []);
        for node in [NodeIndex(0), NodeIndex(7), NodeIndex(199)] {
            let mut expected: BTreeMap<Month, ProofMonth> = BTreeMap::new();
            for (_, proof) in all.iter().filter(|(_, proof)| proof.node == node) {
                expected.entry(Month::of(proof.received_at)).or_default().add(proof);
            }
            assert_eq!(months(&read, node).unwrap(), expected.into_iter().rev().collect::<Vec<_>>());
        }
        assert_eq!(months(&read, NodeIndex(200)).unwrap(), []);
    }
}
