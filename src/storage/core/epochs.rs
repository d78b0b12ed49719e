//! Heads of closed epochs.

use std::ops::ControlFlow;

use super::tables::EPOCHS;
use crate::domain::credits::Epoch;
use crate::domain::epoch::{GENESIS, Head};
use crate::domain::time::Slot;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

pub fn put(tx: &mut WriteTx<'_>, head: &Head) -> Result<(), TxError> {
    tx.put(EPOCHS, &head.epoch.0, head)
}

pub fn last(read: &impl Read) -> Result<Option<Head>, Fault> {
    Ok(read.last(EPOCHS)?.map(|(_, head)| head))
}

pub fn by_epoch(read: &impl Read, epoch: Epoch) -> Result<Option<Head>, Fault> {
    read.get(EPOCHS, &epoch.0)
}

/// The first head that begins at `slot` or later.
pub fn first_after(read: &impl Read, slot: u32) -> Result<Option<Head>, Fault> {
    Ok(read.scan(EPOCHS, slot.., 1)?.into_iter().next().map(|(_, head)| head))
}

/// Newest first.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<Vec<Head>, Fault> {
    let mut skipped = 0;
    let mut heads = Vec::new();
    read.for_each_back(EPOCHS, .., |_, head| {
        if skipped < offset {
            skipped += 1;
        } else if heads.len() < limit {
            heads.push(head);
        }
        if heads.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(heads)
}

/// Heads with leaves from `oldest` on, newest first, at most `most` of them; how many more there are; and whether there are any before `oldest`.
pub fn newest_with_leaves(read: &impl Read, oldest: Epoch, most: usize) -> Result<(Vec<Epoch>, usize, bool), Fault> {
    let (mut newest, mut more, mut is_older) = (Vec::new(), 0, false);
    read.for_each_back(EPOCHS, .., |_, head| {
        if head.is_gap {
            return ControlFlow::Continue(());
        }
        if head.epoch < oldest {
            is_older = true;
            return ControlFlow::Break(());
        }
        if newest.len() < most {
            newest.push(head.epoch)
        } else {
            more += 1
        }
        ControlFlow::Continue(())
    })?;
    Ok((newest, more, is_older))
}

/// Heads with leaves that begin before `until` and whose slots reach `since` or later, newest first, and the number of all such.
pub fn page_between(read: &impl Read, since: Slot, until: Slot, offset: usize, limit: usize) -> Result<(Vec<Head>, usize), Fault> {
    let (mut heads, mut total) = (Vec::new(), 0);
    read.for_each_back(EPOCHS, ..until.0, |_, head| {
        if head.last_slot < since {
            return ControlFlow::Break(());
        }
        if !head.is_gap {
            if total >= offset && heads.len() < limit {
                heads.push(head);
            }
            total += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok((heads, total))
}

/// Heads whose slots reach `since` or later, oldest first; the first of them may begin earlier.
pub fn reaching(read: &impl Read, since: Slot) -> Result<Vec<Head>, Fault> {
    let mut heads = Vec::new();
    read.for_each_back(EPOCHS, .., |_, head| {
        if head.last_slot < since {
            return ControlFlow::Break(());
        }
        heads.push(head);
        ControlFlow::Continue(())
    })?;
    heads.reverse();
    Ok(heads)
}

/// The newest head with leaves before `epoch`.
pub fn before(read: &impl Read, epoch: Epoch) -> Result<Option<Head>, Fault> {
    let mut found = None;
    read.for_each_back(EPOCHS, ..epoch.0, |_, head| {
        if head.is_gap {
            return ControlFlow::Continue(());
        }
        found = Some(head);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

pub fn count(read: &impl Read) -> Result<u64, Fault> {
    read.count(EPOCHS)
}

/// Heads with leaves that begin in `[from, until)`, oldest first.
pub fn beginning_in(read: &impl Read, from: Slot, until: Slot) -> Result<Vec<Head>, Fault> {
    let mut heads = Vec::new();
    read.for_each(EPOCHS, from.0..until.0.max(from.0), |_, head| {
        if !head.is_gap {
            heads.push(head);
        }
        ControlFlow::Continue(())
    })?;
    Ok(heads)
}

/// Heads with leaves in (after, through], oldest first.
pub fn with_leaves(read: &impl Read, after: Epoch, through: Epoch) -> Result<Vec<Epoch>, Fault> {
    let mut epochs = Vec::new();
    if after >= through {
        return Ok(epochs);
    }
    read.for_each(EPOCHS, after.0 + 1..=through.0, |_, head| {
        if !head.is_gap {
            epochs.push(head.epoch);
        }
        ControlFlow::Continue(())
    })?;
    Ok(epochs)
}

/// Number of heads when each follows the one before in slots and in hash; else the first that does not.
pub fn verify(read: &impl Read) -> Result<Result<u64, Epoch>, Fault> {
    let (mut count, mut broken) = (0, None);
    let (mut previous, mut next) = (GENESIS, None);
    read.for_each(EPOCHS, .., |_, head| {
        let contiguous = next.is_none_or(|slot| slot == head.epoch.first_slot());
        let Ok(hash) = head.hash() else {
            broken = Some(head.epoch);
            return ControlFlow::Break(());
        };
        if head.previous != previous || !contiguous {
            broken = Some(head.epoch);
            return ControlFlow::Break(());
        }
        (previous, next) = (hash, Some(head.next_slot()));
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(broken.map_or(Ok(count), Err))
}
