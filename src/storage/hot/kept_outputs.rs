//! Outputs themselves, where they are asked to be kept: as many bytes as the setting allows, oldest go first.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::domain::ids::NodeIndex;
use crate::record;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, Table, WriteTx};

/// Id of the validation, which begins with its time -> the output.
pub(in crate::storage) const KEPT: Table<[u8; 16], KeptOutput> = Table::new("kept_outputs");
/// One row: what all of them take.
pub(in crate::storage) const KEPT_SUM: Table<u32, KeptSum> = Table::new("kept_outputs_sum");

const ROW: u32 = 0;
/// What a row is counted as beside its output.
const ROW_BYTES: u64 = 64;
/// Bytes that are deleted in one transaction, at most.
const MOST: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOutput {
    pub node: NodeIndex,
    pub data: Vec<u8>,
}

impl KeptOutput {
    pub fn bytes(&self) -> u64 {
        self.data.len() as u64 + ROW_BYTES
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeptSum {
    pub rows: u64,
    pub bytes: u64,
}

record! { KeptOutput = 1, KeptSum = 1 }

/// Writes outputs, and deletes the oldest ones beyond `limit` bytes.
pub fn put(tx: &mut WriteTx<'_>, outputs: &[([u8; 16], KeptOutput)], limit: u64) -> Result<(), TxError> {
    if outputs.is_empty() {
        return Ok(());
    }
    let mut sum = tx.get(KEPT_SUM, &ROW)?.unwrap_or_default();
    for (id, output) in outputs {
        // A write whose outcome was unknown is made again.
        if tx.get_with(KEPT.name, id, |_| ())?.is_none() {
            (sum.rows, sum.bytes) = (sum.rows + 1, sum.bytes + output.bytes());
            tx.put(KEPT, id, output)?;
        }
    }
    tx.put(KEPT_SUM, &ROW, &sum)?;
    trim(tx, limit).map(drop)
}

/// Deletes the oldest ones beyond `limit` bytes, some megabytes at most; true when there is more to delete.
pub fn trim(tx: &mut WriteTx<'_>, limit: u64) -> Result<bool, TxError> {
    let before = tx.get(KEPT_SUM, &ROW)?.unwrap_or_default();
    let (mut sum, mut gone) = (before, Vec::new());
    if sum.bytes > limit {
        tx.for_each(KEPT, .., |id, output| {
            if sum.bytes <= limit || before.bytes - sum.bytes >= MOST {
                return ControlFlow::Break(());
            }
            sum = KeptSum { rows: sum.rows.saturating_sub(1), bytes: sum.bytes.saturating_sub(output.bytes()) };
            gone.push(id);
            ControlFlow::Continue(())
        })?;
    }
    for id in &gone {
        tx.delete(KEPT, id)?;
    }
    if !gone.is_empty() {
        tx.put(KEPT_SUM, &ROW, &sum)?;
    }
    Ok(sum.bytes > limit && !gone.is_empty())
}

pub fn sum(read: &impl Read) -> Result<KeptSum, Fault> {
    Ok(read.get(KEPT_SUM, &ROW)?.unwrap_or_default())
}

pub fn get(read: &impl Read, id: &[u8; 16]) -> Result<Option<KeptOutput>, Fault> {
    read.get(KEPT, id)
}

/// Decodes all; they are as many, and as large, as was counted.
pub fn verify(read: &impl Read) -> Result<u64, Fault> {
    let mut found = KeptSum::default();
    read.for_each(KEPT, .., |_, output| {
        found = KeptSum { rows: found.rows + 1, bytes: found.bytes + output.bytes() };
        ControlFlow::Continue(())
    })?;
    let counted = sum(read)?;
    if found != counted {
        let why =
            format!("{} outputs of {} bytes are counted, and {} of {} are there", counted.rows, counted.bytes, found.rows, found.bytes);
        return Err(Fault::Record { table: KEPT_SUM.name, key: ROW.to_string(), why });
    }
    Ok(found.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::store;

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let (_dir, store) = store();
        let output = |n: u8| ([n; 16], KeptOutput { node: NodeIndex(0), data: vec![n; 936] });
        let written = |outputs: Vec<_>, limit| store.hot.write_now(move |tx| put(tx, &outputs, limit)).unwrap();
        let left = || {
            let read = store.hot.read().unwrap();
            assert_eq!(verify(&read).unwrap(), sum(&read).unwrap().rows);
            (0..=20).filter(|n| get(&read, &[*n; 16]).unwrap().is_some()).collect::<Vec<u8>>()
        };
        written((0..10).map(output).collect(), 5_000);
        assert_eq!(left(), [5, 6, 7, 8, 9]);
        assert_eq!(sum(&store.hot.read().unwrap()).unwrap(), KeptSum { rows: 5, bytes: 5_000 });
        written(vec![output(9)], 5_000);
        assert_eq!(left(), [5, 6, 7, 8, 9], "the same again is no other one");
        written(vec![output(10)], 4_999);
        assert_eq!(left(), [7, 8, 9, 10]);
        assert!(!store.hot.write_now(|tx| trim(tx, 0)).unwrap());
        assert_eq!(left(), Vec::<u8>::new());
        store.hot.write_now(|tx| tx.put(KEPT_SUM, &ROW, &KeptSum { rows: 1, bytes: 64 })).unwrap();
        assert!(verify(&store.hot.read().unwrap()).is_err());
    }
}
