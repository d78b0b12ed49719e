//! Where the ledger was closed after a month: the balances at that posting, and a hash over every posting since the checkpoint before. A check, or an archive
//! that gave older postings away, can begin there.
//!
//! A checkpoint closes the sequence of postings, not the calendar: it is written when everything of its month is posted, and the first postings of the next
//! month may lie before it. Statements close the calendar.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::ledger::{self, Balance};
use super::tables::{BALANCES, CHECKPOINT_PAGES, CHECKPOINTS, POSTINGS};
use crate::crypto::sha256_parts;
use crate::domain::ledger::{Account, Book};
use crate::domain::statement::Month;
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Key, Read, WriteTx, encode};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub at: Timestamp,
    /// The last posting that is in it.
    pub through: u64,
    /// Number of its pages of balances.
    pub pages: u32,
    /// Over the stored postings since the checkpoint before.
    pub postings: [u8; 32],
    /// Hash of the checkpoint before; zeros for the first.
    pub previous: [u8; 32],
    /// Over all of this and the pages.
    pub hash: [u8; 32],
}

/// Some closing balances of one book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPage {
    pub book: Book,
    pub balances: Vec<(Account, Balance)>,
}

/// Balances in one page.
const PAGE: usize = 1_000;

/// A checkpoint as it will be written, with its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub month: Month,
    pub checkpoint: Checkpoint,
    pub pages: Vec<CheckpointPage>,
}

/// SHA-256 over stored postings, each with its length, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingsHash(pub [u8; 32]);

impl PostingsHash {
    pub fn new() -> PostingsHash {
        PostingsHash([0; 32])
    }

    pub fn add(&mut self, stored: &[u8]) {
        self.0 = sha256_parts(&[b"lucid/posting/v1\0", &self.0, stored]);
    }
}

fn hash_of(month: Month, checkpoint: &Checkpoint, pages: &[CheckpointPage]) -> Result<[u8; 32], Fault> {
    let Checkpoint { at, through, pages: count, postings, previous, .. } = checkpoint;
    let mut hash = sha256_parts(&[
        b"lucid/checkpoint/v1\0",
        previous,
        &month.0.to_be_bytes(),
        &at.0.to_be_bytes(),
        &through.to_be_bytes(),
        &count.to_be_bytes(),
        postings,
    ]);
    for page in pages {
        hash = sha256_parts(&[b"lucid/checkpoint-page/v1\0", &hash, &encode(page)?]);
    }
    Ok(hash)
}

pub fn last(read: &impl Read) -> Result<Option<(Month, Checkpoint)>, Fault> {
    Ok(read.last(CHECKPOINTS)?.map(|(month, checkpoint)| (Month(month), checkpoint)))
}

fn with_pages(read: &impl Read, month: Month, checkpoint: Checkpoint) -> Result<Draft, Fault> {
    let pages = read.scan(CHECKPOINT_PAGES, (month.0, 0)..=(month.0, u32::MAX), usize::MAX)?.into_iter().map(|(_, page)| page).collect();
    Ok(Draft { month, checkpoint, pages })
}

/// The first checkpoint that closes postings behind `through`.
pub fn after(read: &impl Read, through: u64) -> Result<Option<Draft>, Fault> {
    let found = read.scan(CHECKPOINTS, .., usize::MAX)?.into_iter().find(|(_, checkpoint)| checkpoint.through > through);
    found.map(|(month, checkpoint)| with_pages(read, Month(month), checkpoint)).transpose()
}

/// When the ledger was closed behind this posting.
pub fn closed_at(read: &impl Read, through: u64) -> Result<Option<Timestamp>, Fault> {
    let found = read.scan(CHECKPOINTS, .., usize::MAX)?.into_iter().find(|(_, checkpoint)| checkpoint.through == through);
    Ok(found.map(|(_, checkpoint)| checkpoint.at))
}

/// The stored postings from `first` on, as bytes, until `visit` breaks.
pub(in crate::storage) fn stored_postings(
    read: &impl Read,
    first: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, Fault>,
) -> Result<(), Fault> {
    read.with(POSTINGS.name, |raw| {
        raw.walk_bytes((Bound::Included(first.encode()), Bound::Unbounded), false, &mut |key, bytes| {
            let seq = u64::decode(key).ok_or_else(|| Fault::Invariant("a key of the postings does not decode".into()))?;
            visit(seq, bytes)
        })
    })
}

/// Closes the ledger as `read` sees it. None when there is nothing since the last checkpoint, or that one is of this month already.
pub fn draft(read: &impl Read, month: Month, at: Timestamp) -> Result<Option<Draft>, Fault> {
    let before = last(read)?;
    if before.as_ref().is_some_and(|(of, _)| *of >= month) {
        return Ok(None);
    }
    let (from, previous) = before.map_or((0, [0; 32]), |(_, checkpoint)| (checkpoint.through, checkpoint.hash));
    let (mut through, mut postings) = (from, PostingsHash::new());
    stored_postings(read, from + 1, |seq, bytes| {
        through = seq;
        postings.add(bytes);
        Ok(ControlFlow::Continue(()))
    })?;
    if through == from {
        return Ok(None);
    }
    let pages = pages(read)?;
    let count = u32::try_from(pages.len()).map_err(|_| Fault::Invariant("too many balances for a checkpoint".into()))?;
    let mut checkpoint = Checkpoint { at, through, pages: count, postings: postings.0, previous, hash: [0; 32] };
    checkpoint.hash = hash_of(month, &checkpoint, &pages)?;
    Ok(Some(Draft { month, checkpoint, pages }))
}

fn pages(read: &impl Read) -> Result<Vec<CheckpointPage>, Fault> {
    let mut pages: Vec<CheckpointPage> = Vec::new();
    read.for_each(BALANCES, .., |key, balance| {
        let Some((book, account)) = ledger::split(key) else { return ControlFlow::Continue(()) };
        match pages.last_mut().filter(|page| page.book == book && page.balances.len() < PAGE) {
            Some(page) => page.balances.push((account, balance)),
            None => pages.push(CheckpointPage { book, balances: vec![(account, balance)] }),
        }
        ControlFlow::Continue(())
    })?;
    Ok(pages)
}

/// Writes what was drafted; nothing when another one was written meanwhile. Postings since then belong to the next.
pub fn put(tx: &mut WriteTx<'_>, draft: &Draft) -> Result<(), TxError> {
    let previous = last(tx)?.map_or([0; 32], |(_, checkpoint)| checkpoint.hash);
    if previous != draft.checkpoint.previous {
        return Ok(());
    }
    for (number, page) in (0u32..).zip(&draft.pages) {
        tx.put(CHECKPOINT_PAGES, &(draft.month.0, number), page)?;
    }
    tx.put(CHECKPOINTS, &draft.month.0, &draft.checkpoint)
}

/// Every checkpoint with its pages, when each is what its hash says and follows the one before; else what is wrong.
pub fn chain(read: &impl Read) -> Result<Result<Vec<Draft>, String>, Fault> {
    let mut all: Vec<Draft> = Vec::new();
    let (mut previous, mut through, mut pages_found) = ([0; 32], 0, 0);
    for (month, checkpoint) in read.scan(CHECKPOINTS, .., usize::MAX)? {
        let month = Month(month);
        let Draft { checkpoint, pages, .. } = with_pages(read, month, checkpoint)?;
        let is_whole = u32::try_from(pages.len()) == Ok(checkpoint.pages) && hash_of(month, &checkpoint, &pages)? == checkpoint.hash;
        if !is_whole || checkpoint.previous != previous || checkpoint.through <= through {
            return Ok(Err(format!("the checkpoint of {month} is not what was written")));
        }
        (previous, through) = (checkpoint.hash, checkpoint.through);
        pages_found += u64::from(checkpoint.pages);
        all.push(Draft { month, checkpoint, pages });
    }
    if read.count(CHECKPOINT_PAGES)? != pages_found {
        return Ok(Err("there are pages of a checkpoint that is not there".into()));
    }
    Ok(Ok(all))
}
