//! One week of sealed measurements: chunks by sweep and node, and for each sweep what it has.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::calendar::Week;
use crate::domain::chunk::Series;
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;
use crate::record;
use crate::storage::DbFile;
use crate::storage::bytes::Bytes;
use crate::storage::cold::origin::{self, Identity};
use crate::storage::device::Device;
use crate::storage::fault::{Fault, OpenError, TxError};
use crate::storage::table::{Read, Table, WriteTx};
use crate::storage::tails::Sealed;

/// (sweep, node, part) -> a chunk of a page at most. Sweeps ascend, so the file grows at its end.
const CHUNKS: Table<(u32, u32, u16), ChunkRow> = Table::new("chunks");
/// Sweep -> what it has.
const SWEEPS: Table<u32, SweepRow> = Table::new("sweeps");

/// A `Series`, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChunkRow(pub(in crate::storage) Bytes);

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SweepRow {
    /// The newest row of the log that its chunks are from.
    pub log_row: u64,
    /// Of all chunks, the first and the last slot.
    pub first: u32,
    pub last: u32,
    /// In the order of (node, part).
    pub chunks: Vec<Entry>,
}

/// Node, part, first slot less that of the sweep, slots from there to the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(pub u32, pub u16, pub u32, pub u32);

record! { ChunkRow = 1, SweepRow = 1 }

/// What is sealed of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub node: NodeIndex,
    pub part: u16,
    pub first: Slot,
    pub last: Slot,
    pub bytes: Vec<u8>,
}

pub fn open(at: (&Arc<dyn Device>, &Path), cache_bytes: usize, store: (&str, Identity), week: Week) -> Result<DbFile, OpenError> {
    origin::open(at, cache_bytes, store, &week.file(), &[CHUNKS.name, SWEEPS.name])
}

/// The chunks of a sweep, ascending by node and part.
pub fn put(tx: &mut WriteTx<'_>, sweep: u32, log_row: u64, chunks: &[Chunk]) -> Result<(), TxError> {
    let slots = || chunks.iter().flat_map(|chunk| [chunk.first.0, chunk.last.0]);
    let (Some(first), Some(last)) = (slots().min(), slots().max()) else { return Ok(()) };
    origin::touch(tx)?;
    // What an interrupted run of the same sweep left and this one does not have.
    for Entry(node, part, ..) in tx.get(SWEEPS, &sweep)?.unwrap_or_default().chunks {
        if !chunks.iter().any(|chunk| (chunk.node.0, chunk.part) == (node, part)) {
            tx.delete(CHUNKS, &(sweep, node, part))?;
        }
    }
    let entry = |chunk: &Chunk| Entry(chunk.node.0, chunk.part, chunk.first.0 - first, chunk.last.0 - chunk.first.0);
    tx.put(SWEEPS, &sweep, &SweepRow { log_row, first, last, chunks: chunks.iter().map(entry).collect() })?;
    for chunk in chunks {
        tx.put(CHUNKS, &(sweep, chunk.node.0, chunk.part), &ChunkRow(Bytes(chunk.bytes.clone())))?;
    }
    Ok(())
}

/// How a `SweepRow` begins: a day asks for few sweeps of a week, and the others are not read further.
#[derive(Deserialize)]
struct Span {
    #[serde(rename = "log_row")]
    _log_row: u64,
    first: u32,
    last: u32,
}

/// Sweeps whose span is `wanted`, oldest first.
fn sweeps(read: &impl Read, wanted: impl Fn(&Span) -> bool) -> Result<Vec<(u32, SweepRow)>, Fault> {
    let mut found = Vec::new();
    read.for_each_stored(SWEEPS, .., |sweep, bytes, decode| {
        let span = bytes.split_first().and_then(|(_, row)| postcard::take_from_bytes::<Span>(row).ok());
        if span.is_none_or(|(span, _)| wanted(&span)) {
            found.push((sweep, decode(bytes)?));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Shows what there is of some nodes; what is wrong with the first chunk that is damaged, which is left out.
pub fn read(
    read: &impl Read,
    nodes: &[NodeIndex],
    (from, until): (Slot, Slot),
    is_wanted: &impl Fn(u16) -> bool,
    visit: &mut impl FnMut(NodeIndex, Series),
) -> Result<Option<String>, Fault> {
    let mut lost = None;
    let mut wanted: Vec<(u32, u32, u16)> = Vec::new();
    let touches = |span: &Span| span.first < until.0 && span.last >= from.0;
    for (sweep, row) in sweeps(read, touches)? {
        let mut of_node = nodes.iter();
        let mut next = of_node.next();
        for Entry(node, part, first, length) in row.chunks {
            while next.is_some_and(|wanted| wanted.0 < node) {
                next = of_node.next();
            }
            let first = row.first.saturating_add(first);
            if next.is_some_and(|wanted| wanted.0 == node) && first < until.0 && first.saturating_add(length) >= from.0 {
                wanted.push((sweep, node, part));
            }
        }
    }
    for key in wanted {
        let Some(row) = read.get(CHUNKS, &key)? else { continue };
        match Series::decode_columns(&row.0.0, is_wanted) {
            Ok(series) => visit(NodeIndex(key.1), series.within(from, until)),
            Err(damaged) => lost = lost.or_else(|| Some(format!("sweep {}, node {}, part {}: {damaged}", key.0, key.1, key.2))),
        }
    }
    Ok(lost)
}

/// Of each sweep from `sweep` on, what it has sealed.
pub fn sealed_since(read: &impl Read, sweep: u32) -> Result<Vec<(u32, BTreeMap<NodeIndex, Sealed>)>, Fault> {
    let mut found = Vec::new();
    read.for_each(SWEEPS, sweep.., |sweep, row| {
        let mut nodes = BTreeMap::<NodeIndex, Sealed>::new();
        for Entry(node, _, first, length) in &row.chunks {
            let sealed = nodes.entry(NodeIndex(*node)).or_default();
            let last = Slot(row.first.saturating_add(*first).saturating_add(*length));
            *sealed = Sealed { row: row.log_row, slot: sealed.slot.max(last) };
        }
        found.push((sweep, nodes));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Decodes every chunk and holds it against what its sweep says; the number of samples.
pub fn verify(read: &impl Read, week: Week) -> Result<Result<u64, String>, Fault> {
    let (mut samples, mut wrong, mut listed) = (0, None, 0);
    let mut sweeps = Vec::new();
    read.for_each(SWEEPS, .., |sweep, row| {
        sweeps.push((sweep, row));
        ControlFlow::Continue(())
    })?;
    for (sweep, row) in sweeps {
        for Entry(node, part, first, length) in row.chunks {
            listed += 1;
            let first = Slot(row.first.saturating_add(first));
            let last = first.plus(length);
            let place = || format!("sweep {sweep}, node {node}, part {part}");
            let of_chunk = match read.get(CHUNKS, &(sweep, node, part))?.map(|row| Series::decode(&row.0.0)) {
                None => Err("is missing".to_owned()),
                Some(Err(damaged)) => Err(damaged.to_string()),
                Some(Ok(series)) if (series.slots.first(), series.slots.last()) != (Some(&first), Some(&last)) => {
                    Err("is of other slots than its sweep says".to_owned())
                }
                Some(Ok(_)) if first < week.start() || last >= week.end() => Err("is of another week".to_owned()),
                Some(Ok(series)) => Ok(series.slots.len() as u64),
            };
            match of_chunk {
                Ok(of_chunk) => samples += of_chunk,
                Err(why) => wrong = wrong.or_else(|| Some(format!("{}: {why}", place()))),
            }
        }
    }
    if wrong.is_none() && read.count(CHUNKS)? != listed {
        wrong = Some("has chunks that no sweep names".to_owned());
    }
    Ok(wrong.map_or(Ok(samples), Err))
}

#[cfg(test)]
pub(super) fn damage_a_chunk(tx: &mut WriteTx<'_>, node: NodeIndex) -> Result<bool, TxError> {
    let all = tx.scan(CHUNKS, .., usize::MAX)?;
    let Some((key, mut row)) = all.into_iter().find(|(key, _)| key.1 == node.0) else { return Ok(false) };
    row.0.0[300] ^= 4;
    tx.put(CHUNKS, &key, &row)?;
    Ok(true)
}

#[cfg(test)]
pub(in crate::storage) fn goldens() -> Vec<crate::storage::golden::Golden> {
    use crate::domain::chunk::first_release;
    use crate::storage::golden::Golden;
    let mut series =
        Series { slots: vec![Slot(59_000_000), Slot(59_000_001), Slot(59_000_007)], late: vec![false, true, false], ..Series::default() };
    for (at, row) in
        [vec![(0, 7), (64, 0), (65, -3)], vec![(0, 7), (3, i64::MAX)], vec![(0, 9), (64, 1), (65, i64::MIN)]].iter().enumerate()
    {
        series.columns.push(at, row);
    }
    series.columns.finish(3);
    series.columns.names = vec!["eth0".into(), "wlan0".into()];
    let first = crate::crypto::unhex(first_release::SERIES).unwrap();
    assert_eq!(Series::decode(&first).as_ref(), Ok(&series));
    vec![
        Golden::of("Identity", vec![origin::Identity(0), origin::Identity(u64::MAX)]),
        Golden::of("Revision", vec![origin::Revision(300)]),
        Golden::of("Origin", vec![origin::Origin { store_id: "0123456789abcdef".into(), file: "raw-2026w47.redb".into() }]),
        Golden::of("ChunkRow", vec![ChunkRow::default(), ChunkRow(Bytes(first.clone())), ChunkRow(Bytes(series.encode()))]),
        Golden::of(
            "SweepRow",
            vec![SweepRow {
                log_row: 70_000,
                first: 59_000_000,
                last: 59_000_300,
                chunks: vec![Entry(3, 0, 0, 250), Entry(300, 1, 50, 250)],
            }],
        ),
    ]
}
