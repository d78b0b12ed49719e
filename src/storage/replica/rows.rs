//! Rows of the core as they go, some at a time.

use std::ops::{Bound, ControlFlow};

use super::catalog::{Listed, by_number};
use super::documents::{document, of_row};
use super::marks::{self, Mark};
use crate::domain::archive::Kind;
use crate::domain::evidence::day_of;
use crate::domain::replica::cluster::{Position, RoundRow};
use crate::domain::replica::{Document, Rev};
use crate::storage::compaction::Which;
use crate::storage::core::tables::{EPOCHS, POSTINGS};
use crate::storage::core::{archives, ledger};
use crate::storage::fault::Fault;
use crate::storage::hot::hours::hour_of;
use crate::storage::hot::replicated::{self as hot, LEAVES};
use crate::storage::table::{Key, Read, Snapshot};
use crate::storage::{Secrets, Store};

/// How much goes in one request.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    pub documents: usize,
    pub bytes: usize,
}

impl Batch {
    /// How many of these go first, at least one.
    pub fn first_of(&self, documents: &[Document]) -> usize {
        let mut bytes = 0;
        let within = documents.iter().take(self.documents).take_while(|document| {
            bytes += document.size();
            bytes <= self.bytes
        });
        within.count().max(1).min(documents.len())
    }
}

/// Both files at one moment, and a revision of each that is above those of its commits.
pub struct Fenced {
    pub core: Snapshot,
    pub core_rev: Rev,
    /// Taken after that of the core.
    pub hot: Snapshot,
    pub hot_rev: Rev,
}

impl Fenced {
    pub fn of(&self, which: Which) -> (&Snapshot, Rev) {
        match which {
            Which::Core => (&self.core, self.core_rev),
            Which::Hot => (&self.hot, self.hot_rev),
        }
    }
}

/// Rows of one table, in order.
#[derive(Debug, Default)]
pub struct Page {
    pub documents: Vec<Document>,
    /// The last row's key.
    pub through: Option<Vec<u8>>,
    pub is_end: bool,
}

/// What follows a key.
pub fn page(at: &Fenced, secrets: &Secrets, listed: &Listed, after: Option<&[u8]>, batch: Batch) -> Result<Page, Fault> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
    let mut page = Page { is_end: true, ..Page::default() };
    let Some(end) = end(at, listed)? else { return Ok(page) };
    let (read, rev) = at.of(listed.file);
    read.with(listed.table, |raw| {
        raw.walk_bytes((from, end), false, &mut |key, value| {
            if rows.len() >= batch.documents || bytes >= batch.bytes {
                page.is_end = false;
                return Ok(ControlFlow::Break(()));
            }
            bytes += key.len() + value.len();
            rows.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
    })?;
    // Readable, some rows are many times what they are in the store.
    let mut bytes = 0;
    for (key, value) in rows {
        if bytes >= batch.bytes {
            page.is_end = false;
            break;
        }
        let document = of_row(&at.core, secrets, listed, &key, Some(value), rev)?;
        bytes += document.size();
        page.documents.push(document);
        page.through = Some(key);
    }
    Ok(page)
}

/// Up to where rows of a table may go; None: none of them. Leaves of an epoch without a head may be written once more.
fn end(at: &Fenced, listed: &Listed) -> Result<Option<Bound<Vec<u8>>>, Fault> {
    if listed.table != LEAVES.name {
        return Ok(Some(Bound::Unbounded));
    }
    let last = at.core.last(EPOCHS)?;
    Ok(last.map(|(epoch, _)| Bound::Included((epoch, u32::MAX).encode())))
}

/// Where the history of this store begins: with its first row. Where none is left, with what the next one would be called: those before went for their age or
/// into archives, and what the cluster has beyond is of a past that was given up.
pub fn beginning(at: &Fenced, listed: &Listed) -> Result<Option<Vec<u8>>, Fault> {
    let first = first_key(at, listed)?;
    if first.is_some() {
        return Ok(first);
    }
    let last = at.core.last(EPOCHS)?.map(|(_, head)| head);
    match listed.table {
        table if table == LEAVES.name => Ok(last.map(|head| (head.epoch.0.saturating_add(1), 0u32).encode())),
        table if [hot::EVIDENCE.name, hot::STRAINED.name, hot::CHALLENGED.name].contains(&table) => {
            Ok(last.map(|head| head.last_slot.0.saturating_add(1).encode()))
        }
        table if [hot::DAYS.name, hot::DAY_REPORTS.name].contains(&table) => {
            Ok(last.map(|head| (day_of(head.last_slot).saturating_add(1), 0u32).encode()))
        }
        table if table == hot::SCORE_HOURS.name => Ok(last.map(|head| (hour_of(head.last_slot).saturating_add(1), 0u32).encode())),
        table if table == hot::PROOFS.name => {
            Ok(archives::newest(&at.core, Kind::Outputs)?.map(|newest| newest.last.saturating_add(1).encode()))
        }
        table if table == POSTINGS.name => Ok(Some(ledger::archived(&at.core)?.saturating_add(1).encode())),
        _ => Ok(None),
    }
}

fn first_key(at: &Fenced, listed: &Listed) -> Result<Option<Vec<u8>>, Fault> {
    let mut first = None;
    at.of(listed.file).0.with(listed.table, |raw| {
        raw.walk_bytes((Bound::Unbounded, Bound::Unbounded), false, &mut |key, _| {
            first = Some(key.to_vec());
            Ok(ControlFlow::Break(()))
        })
    })?;
    Ok(first)
}

/// Whether a log of the core never got as far as this key. Of postings all may be archived and gone; nothing is ever taken from the audit log and from heads of epochs.
pub fn is_after_the_last(core: &impl Read, listed: &Listed, key: &[u8]) -> Result<bool, Fault> {
    if listed.table == POSTINGS.name {
        let archived = ledger::archived(core)?;
        if u64::decode(key).is_some_and(|posting| posting <= archived) {
            return Ok(false);
        }
    }
    let mut is_after = true;
    core.with(listed.table, |raw| {
        raw.walk_bytes((Bound::Included(key.to_vec()), Bound::Unbounded), false, &mut |_, _| {
            is_after = false;
            Ok(ControlFlow::Break(()))
        })
    })?;
    Ok(is_after)
}

/// Documents of rows that are marked.
#[derive(Debug, Default)]
pub struct Marked {
    pub marks: Vec<Mark>,
    /// One for each mark.
    pub documents: Vec<Document>,
}

/// What is marked in a file after a mark, with a revision above the one and not above the other.
pub fn marked(store: &Store, at: &Fenced, which: Which, within: (Rev, Rev), after: Option<&Mark>, batch: Batch) -> Result<Marked, Fault> {
    let (mut found, mut bytes) = (Marked::default(), 0);
    let (read, _) = at.of(which);
    for mark in marks::pending(read, store.marking(which), within, after, batch.documents)? {
        if bytes >= batch.bytes {
            break;
        }
        let listed = by_number(mark.table).ok_or_else(|| Fault::Invariant(format!("no table has the number {}", mark.table)))?;
        let document = document(read, &at.core, &store.secrets, listed, &mark.key, mark.rev)?;
        bytes += document.size();
        found.marks.push(mark);
        found.documents.push(document);
    }
    Ok(found)
}

/// The same as rounds have it, sealed.
pub fn part(secrets: &Secrets, round: Rev, marked: &Marked) -> Result<Vec<u8>, Fault> {
    let row = |(mark, document): (&Mark, &Document)| RoundRow {
        table: mark.table,
        key: mark.key.clone(),
        name: document.name.clone(),
        rev: mark.rev,
        record: document.record.clone(),
    };
    let rows: Vec<RoundRow> = marked.marks.iter().zip(&marked.documents).map(row).collect();
    let plain = postcard::to_allocvec(&rows).map_err(|error| Fault::Invariant(error.to_string()))?;
    Ok(secrets.seal_row(&of_round(round), &plain))
}

/// What a part of this round says; None: it is none.
pub fn opened_part(secrets: &Secrets, round: Rev, sealed: &[u8]) -> Option<Vec<RoundRow>> {
    postcard::from_bytes(&secrets.open_row(&of_round(round), sealed).ok()?).ok()
}

fn of_round(round: Rev) -> Vec<u8> {
    [&b"round"[..], &[0], &round.0.to_be_bytes()].concat()
}

/// As the cluster has it: keys may be what it must not know.
pub fn sealed_position(secrets: &Secrets, position: &Position) -> Position {
    let sealed = |key: &Vec<u8>| secrets.seal_row(&of_position(&position.table), key);
    Position { through: position.through.as_ref().map(sealed), ..position.clone() }
}

/// None: this manager did not write it.
pub fn opened_position(secrets: &Secrets, position: Position) -> Option<Position> {
    let through = match &position.through {
        Some(sealed) => Some(secrets.open_row(&of_position(&position.table), sealed).ok()?),
        None => None,
    };
    Some(Position { through, ..position })
}

fn of_position(table: &str) -> Vec<u8> {
    [&b"position"[..], &[0], table.as_bytes()].concat()
}
