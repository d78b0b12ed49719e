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

/// Several, of one flush.
pub fn append_all(tx: &mut WriteTx<'_>, drafts: &[Draft]) -> Result<(), TxError> {
    drafts.iter().try_for_each(|draft| append(tx, draft.clone()))
}

/// Newest first. Sequence numbers are dense, so a far page costs no more than the first.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<Vec<Entry>, Fault> {
    let newest = read.last(AUDIT)?.map_or(0, |(seq, _)| seq);
    let end = newest.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
    let mut entries = Vec::new();
    read.for_each_back(AUDIT, ..=end, |_, entry| {
        entries.push(entry);
        if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(entries)
}

/// What the end of the chain says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// Entries in the whole log.
    pub entries: u64,
    /// Hash of the newest entry.
    pub head: [u8; 32],
    /// The entries looked at are what their hashes say and follow each other.
    pub ok: bool,
}

/// Verifies the last `limit` entries.
pub fn verify_recent(read: &impl Read, limit: usize) -> Result<Recent, Fault> {
    let entries = page(read, 0, limit)?;
    let predecessors = entries.iter().skip(1).map(|entry| (entry.seq + 1, entry.hash));
    let oldest = entries.last().map(|entry| (entry.seq, if entry.seq == 1 { GENESIS } else { entry.previous }));
    let ok = entries.iter().zip(predecessors.chain(oldest)).all(|(entry, (seq, previous))| entry.follows(seq, &previous));
    Ok(Recent { entries: read.count(AUDIT)?, head: entries.first().map_or(GENESIS, |entry| entry.hash), ok })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Actor;
    use crate::storage::testing::{NOW, store};

    #[test]
    fn pages_run_backwards_and_a_forged_entry_shows() {
        let (_dir, store) = store();
        let draft = |n: usize| Draft::new(NOW, Actor::Console, "test", n.to_string());
        let drafts: Vec<Draft> = (2..=50).map(draft).collect();
        store.core.write_now(move |tx| append_all(tx, &drafts)).unwrap();
        let seqs = |offset, limit| page(&store.read().unwrap(), offset, limit).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>();
        assert_eq!(seqs(0, 3), [50, 49, 48]);
        assert_eq!(seqs(48, 5), [2, 1]);
        assert!(seqs(50, 5).is_empty() && seqs(1_000, 5).is_empty());
        let recent = |limit| verify_recent(&store.read().unwrap(), limit).unwrap();
        assert_eq!((recent(10).ok, recent(1_000).ok, recent(10).entries), (true, true, 50));
        store
            .core
            .write_now(|tx| {
                let mut forged = tx.get(AUDIT, &20)?.ok_or(Fault::Panic)?;
                forged.draft.subject = "forged".into();
                tx.put(AUDIT, &20, &forged)
            })
            .unwrap();
        assert_eq!((recent(30).ok, recent(31).ok), (true, false));
    }
}
