//! From the log to the weeks: what of each node fills a page is written into the file of its week, and let go of here. A sweep has a number, and writes the same places when it is
//! done again: cold first, then one transaction of `hot.redb` that says what is sealed and shortens the log. What a crash leaves between the two is finished at the next start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cold::{Chunk, Cold};
use super::fault::{Fault, OpenError, WriteError};
use super::hot::{self, hours, log};
use super::tails::{Sealed, Tails, Waiting};
use super::{DbFile, Lane, Store};
use crate::domain::calendar::Week;
use crate::domain::chunk::{MAX_SAMPLES, Sheet, fill_from};
use crate::domain::evidence::{day_of, day_start};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// What fits into a page of redb with key, record and its ends.
const PAGE_BYTES: usize = 4_068;
/// A page is full enough with this much of it.
const ENOUGH: usize = PAGE_BYTES - 64;
/// Samples below which nothing fills a page: nobody looks.
const LEAST_SAMPLES: usize = 100;
/// After so long a page is written however empty it is: the log ends somewhere. Six hours.
const LONGEST_WAIT: u32 = 720;
/// Roll-ups of an earlier release that are moved in one transaction.
const HOURS_AT_ONCE: usize = 2_000;
/// Slots between two sweeps: half an hour.
const SLOTS_APART: u32 = 60;
/// What may wait in memory before a sweep is due at once.
const HELD_BYTES: usize = 8 << 20;
const HELD_BYTES_PER_NODE: usize = 32 << 10;
/// Of the nodes whose page is full, one in so many is sealed in one sweep, the longest first, and at least `AT_LEAST`.
const SHARE: usize = 3;
const AT_LEAST: usize = 64;

/// What one sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub nodes: usize,
    pub chunks: usize,
    pub samples: usize,
    pub bytes: usize,
}

/// What a node gives to a sweep.
struct Part {
    node: NodeIndex,
    sealed: Sealed,
    chunks: Vec<(Week, Chunk)>,
    samples: usize,
}

/// A sweep before it is written.
struct Made {
    sweep: u32,
    parts: Vec<Part>,
}

/// Pages of what waits of a node that is due: `all` however empty the last one is. None where nothing is to be sealed.
fn part(tails: &Tails, node: NodeIndex, before: Sealed, all: bool) -> Option<Part> {
    let (series, row) = tails.series(node);
    let mut sealed = Sealed { row, slot: before.slot };
    let (mut chunks, mut samples) = (Vec::new(), 0);
    let mut parts: BTreeMap<Week, u16> = BTreeMap::new();
    let mut rest = series;
    let mut guess = None;
    while let Some(first) = rest.slots.first().copied() {
        let week = Week::of(first);
        let of_week = rest.slots.partition_point(|slot| *slot < week.end()).min(MAX_SAMPLES);
        let (filled, mut bytes) = fill_from(of_week, guess, PAGE_BYTES, ENOUGH, |count| rest.first(count).encode());
        let is_full = filled < of_week || of_week < rest.slots.len() || bytes.len() >= ENOUGH;
        // One slot says of a node how far it is sealed, so what came late of before that slot goes too, however little it is.
        let count = if all || is_full { filled } else { rest.slots.partition_point(|slot| *slot <= sealed.slot) };
        let Some(last) = count.checked_sub(1).and_then(|at| rest.slots.get(at)).copied() else { break };
        if count != filled {
            bytes = rest.first(count).encode();
        }
        let part = parts.entry(week).or_default();
        chunks.push((week, Chunk { node, part: *part, first, last, bytes }));
        *part = part.checked_add(1)?;
        sealed.slot = sealed.slot.max(last);
        samples += count;
        guess = Some(count);
        rest = rest.without_first(count);
    }
    (samples > 0).then_some(Part { node, sealed, chunks, samples })
}

fn holds_more(tails: &Tails, bytes: usize) -> bool {
    tails.bytes() > bytes + tails.waiting().len() * HELD_BYTES_PER_NODE
}

/// Which nodes this sweep looks at: those that wait too long, and of the others that may fill a page the longest.
fn due(waiting: Vec<Waiting>, present: Slot) -> Vec<(NodeIndex, bool)> {
    let (old, mut rest): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(|tail| tail.since.plus(LONGEST_WAIT) <= present);
    let most = rest.len().div_ceil(SHARE).max(AT_LEAST);
    rest.retain(|tail| tail.samples >= LEAST_SAMPLES);
    rest.sort_by_key(|tail| (std::cmp::Reverse(tail.samples), tail.node));
    rest.truncate(most);
    let mut due: Vec<(NodeIndex, bool)> = old.into_iter().map(|tail| (tail.node, true)).collect();
    due.extend(rest.into_iter().map(|tail| (tail.node, false)));
    due.sort_unstable();
    due
}

impl Store {
    /// A sweep is due each half hour, and at once where more waits in memory than it should.
    pub fn seal_is_due(&self, present: Slot) -> bool {
        self.swept.load(Ordering::Relaxed) != present.0 / SLOTS_APART || self.holds_too_much()
    }

    /// Late samples come faster than pages are sealed in turn.
    pub fn holds_too_much(&self) -> bool {
        holds_more(&self.tails, HELD_BYTES)
    }

    /// One sweep. To be awaited to its end.
    pub async fn seal(self: &Arc<Store>, present: Slot) -> Result<Swept, WriteError> {
        let _one_at_a_time = self.sealing.lock().await;
        self.swept.store(present.0 / SLOTS_APART, Ordering::Relaxed);
        let store = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || store.start_sweep(present)).await;
        let made = made.map_err(|error| WriteError::Unknown(error.to_string()))??;
        if made.parts.is_empty() {
            return Ok(Swept::default());
        }
        self.write_weeks(&made).await?;
        self.finish_sweep(&made).await?;
        let chunks = || made.parts.iter().flat_map(|part| &part.chunks);
        Ok(Swept {
            nodes: made.parts.len(),
            chunks: chunks().count(),
            samples: made.parts.iter().map(|part| part.samples).sum(),
            bytes: chunks().map(|(_, chunk)| chunk.bytes.len()).sum(),
        })
    }

    fn start_sweep(&self, present: Slot) -> Result<Made, Fault> {
        let read = self.hot.read()?;
        let (sweep, sealed) = (log::next_sweep(&read)?, log::sealed(&read)?);
        let of_node = |(node, all): (NodeIndex, bool)| part(&self.tails, node, sealed.get(&node).copied().unwrap_or_default(), all);
        Ok(Made { sweep, parts: due(self.tails.waiting(), present).into_iter().filter_map(of_node).collect() })
    }

    /// Older weeks first: a crash between two leaves what is sealed up to a slot, whatever of the later week is missing.
    async fn write_weeks(&self, made: &Made) -> Result<(), WriteError> {
        let mut weeks: BTreeMap<Week, Vec<Chunk>> = BTreeMap::new();
        for (week, chunk) in made.parts.iter().flat_map(|part| &part.chunks) {
            weeks.entry(*week).or_default().push(chunk.clone());
        }
        // Tails are read one after the other while others write: up to here every one of them was there.
        let log_row = made.parts.iter().map(|part| part.sealed.row).min().unwrap_or_default();
        for (week, chunks) in weeks {
            self.cold.put(week, made.sweep, log_row, chunks).await?;
        }
        Ok(())
    }

    /// What is in its weeks leaves log and memory.
    async fn finish_sweep(&self, made: &Made) -> Result<(), WriteError> {
        let (sweep, sealed): (u32, Vec<(NodeIndex, Sealed)>) =
            (made.sweep, made.parts.iter().map(|part| (part.node, part.sealed)).collect());
        // What this sweep makes superfluous goes with the next one.
        let (keep_from, written) = (self.tails.first_row(), sealed.clone());
        self.hot.write(Lane::Ordinary, move |tx| log::put_sealed(tx, sweep, &written, keep_from)).await?;
        // Last: where that failed, the next sweep has the same number, and what it leaves out of a week has to be here.
        sealed.iter().for_each(|(node, sealed)| self.tails.sealed(*node, *sealed));
        Ok(())
    }
}

/// Seals what an earlier release kept in blocks, a day at a time: doing it again, after a crash, writes the same places. For who opens a store.
pub(super) fn adopt_blocks(hot: &DbFile, cold: &Cold) -> Result<(), OpenError> {
    loop {
        let read = hot.read()?;
        let Some(first) = hot::first_block(&read)? else { return Ok(()) };
        let end = day_start(day_of(first) + 1);
        tracing::info!(from = %first.start().rfc3339(), "measurements of an earlier release are sealed");
        let mut sweep = log::next_sweep(&read)?;
        for group in hot::block_groups(&read, first, end)? {
            let tails = Tails::default();
            for slot in first.until(end) {
                tails.append(0, &hot::block(&read, slot, group)?, None, |_, _| false);
            }
            let parts = tails.waiting().into_iter().filter_map(|tail| part(&tails, tail.node, Sealed::default(), true));
            let chunks: Vec<Chunk> = parts.flat_map(|part| part.chunks).map(|(_, chunk)| chunk).collect();
            if !chunks.is_empty() {
                cold.put_at_open(Week::of(first), sweep, 0, &chunks)?;
            }
            sweep += 1;
        }
        hot.write_at_open(|tx| {
            hot::drop_blocks(tx, end)?;
            log::put_sealed(tx, sweep, &[], 0)
        })?;
    }
}

/// Moves hours that an earlier release rolled up within `hot.redb` to the files of their months.
pub(super) fn adopt_hours(hot: &DbFile, cold: &Cold) -> Result<(), OpenError> {
    loop {
        let rows = hours::kept_here(&hot.read()?, HOURS_AT_ONCE)?;
        if rows.is_empty() {
            return Ok(());
        }
        cold.put_hours_at_open(rows.clone())?;
        hot.write_at_open(|tx| hours::leave_here(tx, &rows))?;
    }
}

/// Samples of a store that is being put together, which come slot by slot.
pub(super) struct Gathered {
    tails: Tails,
    /// What the next sweep is called.
    sweep: u32,
    /// In memory, beside what each node may hold.
    most_bytes: usize,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered { tails: Tails::default(), sweep: 0, most_bytes: HELD_BYTES }
    }
}

impl Gathered {
    /// In (node, slot) order, none of an earlier slot than those before.
    pub fn put(&mut self, cold: &Cold, sheet: &Sheet) -> Result<(), OpenError> {
        self.tails.append(0, sheet, None, |_, _| false);
        if holds_more(&self.tails, self.most_bytes) { self.seal(cold, false) } else { Ok(()) }
    }

    /// Seals what is left, for a `hot.redb` without any samples.
    pub fn finish(mut self, cold: &Cold, hot: &DbFile) -> Result<(), OpenError> {
        self.seal(cold, true)?;
        let last = self.sweep;
        hot.write_at_open(|tx| log::put_sealed(tx, last, &[], 0))
    }

    fn seal(&mut self, cold: &Cold, all: bool) -> Result<(), OpenError> {
        let mut weeks: BTreeMap<Week, Vec<Chunk>> = BTreeMap::new();
        for Waiting { node, .. } in self.tails.waiting() {
            let Some(part) = part(&self.tails, node, Sealed::default(), all) else { continue };
            self.tails.sealed(node, part.sealed);
            part.chunks.into_iter().for_each(|(week, chunk)| weeks.entry(week).or_default().push(chunk));
        }
        weeks.into_iter().try_for_each(|(week, chunks)| cold.put_at_open(week, self.sweep, 0, &chunks))?;
        self.sweep += 1;
        Ok(())
    }
}

/// Fills memory from the log, and takes what a crash left of a sweep for done: its chunks are in their weeks. For who opens a store.
pub(super) fn recover(hot: &DbFile, cold: &Cold, tails: &Tails) -> Result<(), OpenError> {
    let next = log::next_sweep(&hot.read()?)?;
    if let Some((sweep, of_nodes)) = cold.sealed_since(next)? {
        let sealed: Vec<(NodeIndex, Sealed)> = of_nodes.into_iter().collect();
        hot.write_at_open(|tx| log::put_sealed(tx, sweep, &sealed, 0))?;
    }
    Ok(log::replay(&hot.read()?, tails)?)
}

#[cfg(test)]
pub(in crate::storage) mod tests;
