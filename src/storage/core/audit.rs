//! The audit log's rows: appended in the transaction of the change they describe.

use std::ops::ControlFlow;

use super::tables::AUDIT;
use crate::domain::audit::{Draft, Entry, GENESIS};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

pub fn append(tx: &mut WriteTx<'_>, draft: Draft) -> Result<(), TxError> {
    let (seq, previous) = match tx.last(AUDIT)? {
        Some((seq, entry)) => (seq + 1, entry.hash),
        None => (1, GENESIS),
    };
    let entry = Entry::chained(seq, previous, draft).map_err(|e| Fault::Invariant(e.to_string()))?;
    tx.put(AUDIT, &seq, &entry)
}

/// Newest first.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<Vec<Entry>, Fault> {
    let mut skipped = 0;
    let mut entries = Vec::new();
    read.for_each_back(AUDIT, .., |_, entry| {
        if skipped < offset {
            skipped += 1;
        } else if entries.len() < limit {
            entries.push(entry);
        }
        if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(entries)
}

/// Head of the chain, when every entry follows the one before; else the first sequence number that does not.
pub fn verify(read: &impl Read) -> Result<Result<[u8; 32], u64>, Fault> {
    let (mut expected, mut previous, mut broken) = (1, GENESIS, None);
    read.for_each(AUDIT, .., |seq, entry| {
        if seq != expected || !entry.follows(expected, &previous) {
            broken = Some(expected);
            return ControlFlow::Break(());
        }
        expected += 1;
        previous = entry.hash;
        ControlFlow::Continue(())
    })?;
    Ok(broken.map_or(Ok(previous), Err))
}
