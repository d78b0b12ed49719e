//! What is durable and not sealed yet, by node, in memory: `hot.redb` has the same by flush, which is how it is written, and this is how it is read. Filled from there at every start.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hot::renamed;
use super::kept_lines::KeptLines;
use crate::domain::chunk::{Row, Series, Sheet, is_name, put_varint, take_varint, unzigzag, zigzag};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// What of a node is sealed: of what was logged in rows up to `row`, everything up to `slot`. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    pub row: u64,
    pub slot: Slot,
}

impl Sealed {
    pub fn has(self, row: u64, slot: Slot) -> bool {
        row <= self.row && slot <= self.slot
    }
}

#[derive(Debug, Default)]
pub struct Tails {
    inner: Mutex<Inner>,
    /// What charts have made of what is durable. It all comes through here.
    pub lines: KeptLines,
}

#[derive(Debug, Default)]
struct Inner {
    tails: Vec<Tail>,
    /// The newest row of the log that is in here.
    last_row: u64,
}

/// One node's samples in the order in which they were logged, each as what differs from the one before.
#[derive(Debug, Default)]
struct Tail {
    names: Vec<String>,
    stream: Vec<u8>,
    /// Stretches of the stream that can be read by themselves.
    segments: Vec<Segment>,
    count: usize,
    last: Row,
    last_slot: Slot,
    /// Rows of the log that they came from, and how many of each.
    rows: VecDeque<(u64, usize)>,
    /// When the oldest of them came.
    since: Slot,
}

/// Its first sample is written whole, so that who wants the newest ones does not read the stream from its beginning.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Where it begins in the stream, and the slot that its first one is a step from.
    at: usize,
    before: Slot,
    samples: usize,
    lowest: Slot,
    highest: Slot,
}

/// Samples of a segment. A whole sample takes some 60 bytes more than a step.
const PER_SEGMENT: usize = 32;

/// Bytes of a sample, as a rule at most.
const MOST_STEP: usize = 256;

/// How much of a node waits to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub node: NodeIndex,
    pub samples: usize,
    /// When the oldest came.
    pub since: Slot,
}

const LATE: u8 = 1;
/// Of the same columns as the one before.
const SAME: u8 = 2;

impl Tail {
    fn push(&mut self, log_row: u64, slot: Slot, late: bool, row: Row, present: Slot) {
        if self.count == 0 {
            self.since = present;
        }
        let begins = self.segments.last().is_none_or(|segment| segment.samples >= PER_SEGMENT);
        if begins {
            self.segments.push(Segment { at: self.stream.len(), before: self.last_slot, samples: 0, lowest: slot, highest: slot });
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.samples += 1;
            (segment.lowest, segment.highest) = (segment.lowest.min(slot), segment.highest.max(slot));
        }
        // Streams are most of what a fleet takes in memory: doubled, half of it would be empty.
        if self.stream.capacity() - self.stream.len() < MOST_STEP {
            self.stream.reserve_exact((self.stream.len() / 16).max(2 * MOST_STEP));
        }
        put_varint(&mut self.stream, zigzag(i64::from(slot.0) - i64::from(self.last_slot.0)));
        let same = !begins && row.len() == self.last.len() && row.iter().zip(&self.last).all(|(a, b)| a.0 == b.0);
        self.stream.push(if late { LATE } else { 0 } | if same { SAME } else { 0 });
        if same {
            let changed = || row.iter().zip(&self.last).map(|(now, before)| now.1.wrapping_sub(before.1));
            let mut mask = vec![0u8; row.len().div_ceil(8)];
            for (at, _) in changed().enumerate().filter(|(_, step)| *step != 0) {
                if let Some(byte) = mask.get_mut(at / 8) {
                    *byte |= 1 << (at % 8);
                }
            }
            self.stream.extend_from_slice(&mask);
            changed().filter(|step| *step != 0).for_each(|step| put_varint(&mut self.stream, zigzag(step)));
        } else {
            put_varint(&mut self.stream, row.len() as u64);
            for (column, value) in &row {
                put_varint(&mut self.stream, (*column).into());
                put_varint(&mut self.stream, zigzag(*value));
            }
        }
        (self.last, self.last_slot) = (row, slot);
        self.count += 1;
        match self.rows.back_mut().filter(|(of, _)| *of == log_row) {
            Some((_, count)) => *count += 1,
            None => self.rows.push_back((log_row, 1)),
        }
    }

    /// Shows the samples of a segment. What is in here was written by `push`, so there is nothing to be refused.
    fn read(&self, segment: &Segment, mut show: impl FnMut(Slot, bool, &Row)) {
        let mut bytes = self.stream.get(segment.at..).unwrap_or_default();
        let (mut slot, mut last) = (i64::from(segment.before.0), Row::new());
        let mut next = |last: &mut Row| -> Option<(Slot, bool)> {
            slot += unzigzag(take_varint(&mut bytes)?);
            let (flags, mut rest) = bytes.split_first()?;
            if flags & SAME == 0 {
                last.clear();
                for _ in 0..take_varint(&mut rest)? {
                    last.push((u16::try_from(take_varint(&mut rest)?).ok()?, unzigzag(take_varint(&mut rest)?)));
                }
            } else {
                let mask = rest.split_off(..last.len().div_ceil(8))?;
                for (at, (_, value)) in last.iter_mut().enumerate() {
                    if mask.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
                        *value = value.wrapping_add(unzigzag(take_varint(&mut rest)?));
                    }
                }
            }
            bytes = rest;
            Some((Slot(u32::try_from(slot).ok()?), flags & LATE != 0))
        };
        for _ in 0..segment.samples {
            let Some((slot, late)) = next(&mut last) else { return };
            show(slot, late, &last);
        }
    }

    /// Shows all samples with their rows of the log.
    fn visit(&self, mut show: impl FnMut(u64, Slot, bool, &Row)) {
        let mut log_rows = self.rows.iter().flat_map(|(row, count)| std::iter::repeat_n(*row, *count));
        for segment in &self.segments {
            self.read(segment, |slot, late, row| {
                if let Some(log_row) = log_rows.next() {
                    show(log_row, slot, late, row);
                }
            });
        }
    }

    fn within(&self, from: Slot, until: Slot, is_wanted: impl Fn(u16) -> bool) -> Series {
        let mut samples: Vec<(Slot, bool, Range<usize>)> = Vec::new();
        let mut numbers: Vec<(u16, i64)> = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.lowest < until && segment.highest >= from) {
            self.read(segment, |slot, late, row| {
                if (from..until).contains(&slot) {
                    let first = numbers.len();
                    numbers.extend(row.iter().filter(|(column, _)| is_wanted(*column)));
                    samples.push((slot, late, first..numbers.len()));
                }
            });
        }
        samples.sort_by_key(|(slot, ..)| *slot);
        samples.dedup_by_key(|(slot, ..)| *slot);
        let mut series = Series::default();
        for (at, (slot, late, range)) in samples.into_iter().enumerate() {
            let row = numbers.get(range).unwrap_or_default();
            if row.iter().any(|(column, _)| is_name(*column)) {
                let row = renamed(row, &self.names, |name| series.columns.name(name));
                series.columns.push(at, &row);
            } else {
                series.columns.push(at, row);
            }
            series.slots.push(slot);
            series.late.push(late);
        }
        series.columns.finish(series.slots.len());
        series
    }

    fn name(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }
}

impl Tails {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a row of the log, but for what `is_sealed` says is sealed. `present` is when it was flushed, where that is known.
    pub fn append(&self, log_row: u64, sheet: &Sheet, present: Option<Slot>, is_sealed: impl Fn(NodeIndex, Slot) -> bool) {
        let mut inner = self.inner();
        inner.last_row = inner.last_row.max(log_row);
        for (at, (node, slot)) in sheet.nodes.iter().zip(&sheet.slots).enumerate() {
            if is_sealed(*node, *slot) {
                continue;
            }
            if inner.tails.len() <= node.position() {
                inner.tails.resize_with(node.position() + 1, Tail::default);
            }
            let Some(tail) = inner.tails.get_mut(node.position()) else { continue };
            let row = renamed(&sheet.columns.row(at), &sheet.columns.names, |name| tail.name(name));
            let late = sheet.late.get(at).copied().unwrap_or_default();
            tail.push(log_row, *slot, late, row, present.unwrap_or(*slot));
        }
        drop(inner);
        // Last: who reads between the two finds the new samples, and may not keep what it made before.
        self.lines.changed(sheet.nodes.iter().copied().zip(sheet.slots.iter().copied()));
    }

    /// Forgets all, for who fills them again; rows of the log up to `last_row` were there.
    pub fn clear(&self, last_row: u64) {
        *self.inner() = Inner { last_row, ..Inner::default() };
        self.lines.clear();
    }

    /// What waits of a node in `[from, until)`, with the columns that are wanted: in slot order, the first one of each slot.
    pub fn within(&self, node: NodeIndex, from: Slot, until: Slot, is_wanted: impl Fn(u16) -> bool) -> Series {
        self.inner().tails.get(node.position()).map(|tail| tail.within(from, until, is_wanted)).unwrap_or_default()
    }

    /// All of a node, and the newest row of the log that it is from.
    pub fn series(&self, node: NodeIndex) -> (Series, u64) {
        let inner = self.inner();
        let all = inner.tails.get(node.position()).map(|tail| tail.within(Slot(0), Slot(u32::MAX), |_| true));
        (all.unwrap_or_default(), inner.last_row)
    }

    /// Lets go of what is sealed now.
    pub fn sealed(&self, node: NodeIndex, sealed: Sealed) {
        let mut inner = self.inner();
        let Some(tail) = inner.tails.get_mut(node.position()) else { return };
        let before = std::mem::take(tail);
        let mut kept = Tail::default();
        before.visit(|log_row, slot, late, row| {
            if !sealed.has(log_row, slot) {
                let row = renamed(row, &before.names, |name| kept.name(name));
                // What is kept of a full page is the newest of it; what came late and stays is sealed in the next turn anyway.
                kept.push(log_row, slot, late, row, slot.max(before.since));
            }
        });
        kept.stream.shrink_to_fit();
        *tail = kept;
    }

    /// Nodes that have something, with how much.
    pub fn waiting(&self) -> Vec<Waiting> {
        let inner = self.inner();
        let of_tail = |(node, tail): (u32, &Tail)| Waiting { node: NodeIndex(node), samples: tail.count, since: tail.since };
        (0u32..).zip(&inner.tails).filter(|(_, tail)| tail.count > 0).map(of_tail).collect()
    }

    /// The first row of the log that is still needed: no sample of an earlier one is in here.
    pub fn first_row(&self) -> u64 {
        let inner = self.inner();
        let first = inner.tails.iter().filter_map(|tail| tail.rows.front()).map(|(row, _)| *row).min();
        first.unwrap_or(inner.last_row + 1)
    }

    /// The newest row of the log that was taken over.
    pub fn last_row(&self) -> u64 {
        self.inner().last_row
    }

    /// Memory of the streams.
    pub fn bytes(&self) -> usize {
        self.inner().tails.iter().map(|tail| tail.stream.len() + tail.segments.len() * size_of::<Segment>()).sum()
    }

    /// Samples that wait.
    pub fn count(&self) -> usize {
        self.inner().tails.iter().map(|tail| tail.count).sum()
    }
}

/// Samples as sheets have them: ascending by node and slot.
pub fn sheet<'a>(samples: impl Iterator<Item = (NodeIndex, Slot, bool, &'a super::hot::EncodedSample)>) -> Sheet {
    let mut sheet = Sheet::default();
    // Of a fleet whose machines run containers there may be tens of thousands.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (node, slot, late, encoded) in samples {
        let Some(quantised) = encoded.quantised() else { continue };
        let row = quantised.row(|name| {
            numbers.get(name).copied().unwrap_or_else(|| {
                sheet.columns.names.push(name.to_owned());
                numbers.insert(name.to_owned(), sheet.columns.names.len() - 1);
                sheet.columns.names.len() - 1
            })
        });
        sheet.columns.push(sheet.nodes.len(), &row);
        sheet.nodes.push(node);
        sheet.slots.push(slot);
        sheet.late.push(late);
    }
    sheet.columns.finish(sheet.nodes.len());
    sheet
}
