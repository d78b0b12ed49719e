//! Several machines over a few slots: what one flush writes. Each sheet is read by itself, so that a damaged one takes no other along.

use super::column;
use super::{Columns, Damaged, HEAD, MAX_SAMPLES, open, put_flags, put_varint, seal, take_count, take_flags};
use crate::domain::ids::NodeIndex;
use crate::domain::time::Slot;

/// Samples in the order of (machine, slot).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sheet {
    pub nodes: Vec<NodeIndex>,
    pub slots: Vec<Slot>,
    /// Of each sample, whether it was told after its slot had closed.
    pub late: Vec<bool>,
    pub columns: Columns,
}

/// What a column holds: of each machine the first number, and the steps from one to the next.
struct Split {
    firsts: Vec<i64>,
    steps: Vec<i64>,
}

impl Sheet {
    /// Samples `from..until`, with their names.
    pub fn part(&self, from: usize, until: usize) -> Sheet {
        let until = until.min(self.nodes.len());
        Sheet {
            nodes: self.nodes.get(from..until).unwrap_or_default().to_vec(),
            slots: self.slots.get(from..until).unwrap_or_default().to_vec(),
            late: self.late.get(from..until).unwrap_or_default().to_vec(),
            columns: self.columns.part(from, until),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEAD];
        put_varint(&mut out, self.nodes.len() as u64);
        column::encode(&mut out, &self.nodes.iter().map(|node| i64::from(node.0)).collect::<Vec<_>>());
        let slots: Vec<Option<i64>> = self.slots.iter().map(|slot| Some(i64::from(slot.0))).collect();
        put_split(&mut out, &self.nodes, &slots);
        put_flags(&mut out, &self.late);
        self.columns.put(&mut out, |out, values| put_split(out, &self.nodes, values));
        seal(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Sheet, Damaged> {
        let mut rest = open(bytes)?;
        Sheet::read(&mut rest).filter(|_| rest.is_empty()).ok_or(Damaged::Form)
    }

    fn read(bytes: &mut &[u8]) -> Option<Sheet> {
        let count = take_count(bytes, MAX_SAMPLES)?;
        let whole = |number: i64| u32::try_from(number).ok();
        let nodes: Vec<NodeIndex> =
            column::decode(bytes, count)?.into_iter().map(|node| whole(node).map(NodeIndex)).collect::<Option<_>>()?;
        let slots = take_split(bytes, &nodes, &vec![true; count])?;
        let slots: Vec<Slot> = slots.into_iter().map(|slot| slot.and_then(whole).map(Slot)).collect::<Option<_>>()?;
        let late = take_flags(bytes, count)?;
        let columns = Columns::take(bytes, count, |_| true, |bytes, present| take_split(bytes, &nodes, present), |_, _| None)?;
        let ascends = nodes.iter().zip(&slots).is_sorted_by(|a, b| a < b);
        ascends.then_some(Sheet { nodes, slots, late, columns })
    }
}

fn put_split(out: &mut Vec<u8>, nodes: &[NodeIndex], values: &[Option<i64>]) {
    let mut split = Split { firsts: Vec::new(), steps: Vec::new() };
    let mut before: Option<(NodeIndex, i64)> = None;
    for (node, value) in nodes.iter().zip(values).filter_map(|(node, value)| Some((*node, (*value)?))) {
        match before.filter(|(of, _)| *of == node) {
            Some((_, last)) => split.steps.push(value.wrapping_sub(last)),
            None => split.firsts.push(value),
        }
        before = Some((node, value));
    }
    column::encode(out, &split.firsts);
    column::encode(out, &split.steps);
}

fn take_split(bytes: &mut &[u8], nodes: &[NodeIndex], present: &[bool]) -> Option<Vec<Option<i64>>> {
    let with_value = || nodes.iter().zip(present).filter(|(_, is)| **is).map(|(node, _)| *node);
    let (mut firsts, mut before) = (0, None);
    for node in with_value() {
        firsts += usize::from(before.replace(node) != Some(node));
    }
    let all = with_value().count();
    let (mut firsts, mut steps) = (column::decode(bytes, firsts)?.into_iter(), column::decode(bytes, all - firsts)?.into_iter());
    let mut last: Option<(NodeIndex, i64)> = None;
    let values = nodes.iter().zip(present).map(|(node, is)| {
        if !*is {
            return Some(None);
        }
        let value = match last.filter(|(of, _)| of == node) {
            Some((_, last)) => last.wrapping_add(steps.next()?),
            None => firsts.next()?,
        };
        last = Some((*node, value));
        Some(Some(value))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::{VERSION, is_name};
    use super::*;

    fn sheet() -> impl Strategy<Value = Sheet> {
        let places = prop::collection::btree_set((0u32..40, 59_000_000u32..59_000_010), 0..200);
        (places, prop::collection::btree_map(0u16..600, 0u8..5, 0..30), any::<u64>(), prop::collection::vec("[a-z0-9]{0,9}", 0..4))
            .prop_map(|(places, kinds, noise, names): (BTreeSet<(u32, u32)>, BTreeMap<u16, u8>, u64, Vec<String>)| {
                let mut sheet = Sheet { columns: Columns { names, ..Columns::default() }, ..Sheet::default() };
                for (at, (node, slot)) in places.into_iter().enumerate() {
                    let n = i64::try_from(at).unwrap();
                    let noise = noise.wrapping_mul(2 * at as u64 + 1);
                    let small = i64::from(noise.to_le_bytes()[7]);
                    let value = |kind: u8| match kind {
                        0 => Some(7),
                        1 => Some(i64::from(node) * 1_000_000 + n * 1_000 + small),
                        2 => Some(small),
                        3 => (small < 200).then_some(small),
                        _ => Some(noise.cast_signed()),
                    };
                    let row = kinds.iter().filter(|(number, _)| !is_name(**number));
                    let row: crate::domain::chunk::Row = row.filter_map(|(number, kind)| Some((*number, value(*kind)?))).collect();
                    sheet.columns.push(at, &row);
                    sheet.nodes.push(NodeIndex(node));
                    sheet.slots.push(Slot(slot));
                    sheet.late.push(small % 50 == 0);
                }
                sheet.columns.finish(sheet.nodes.len());
                sheet
            })
    }

    proptest! {
        #[test]
        fn sheets_come_back_exactly(sheet in sheet(), from in any::<prop::sample::Index>(), count in 0usize..50) {
            prop_assert_eq!(Sheet::decode(&sheet.encode()), Ok(sheet.clone()));
            let from = from.index(sheet.nodes.len() + 1);
            let part = sheet.part(from, from + count);
            prop_assert_eq!(Sheet::decode(&part.encode()), Ok(part.clone()));
            for at in 0..part.nodes.len() {
                prop_assert_eq!(part.columns.row(at), sheet.columns.row(from + at));
            }
        }

        #[test]
        fn a_flipped_bit_is_noticed(sheet in sheet(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let mut bytes = sheet.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Sheet::decode(&bytes).is_err());
        }

        #[test]
        fn nothing_that_is_read_panics(said in prop::collection::vec(any::<u8>(), 0..200), sheet in sheet(), at in any::<prop::sample::Index>(), byte: u8) {
            let sealed = |said: &[u8]| [&[VERSION], crc32fast::hash(said).to_le_bytes().as_slice(), said].concat();
            let _ = Sheet::decode(&sealed(&said));
            let mut bytes = sheet.encode()[HEAD..].to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Sheet::decode(&sealed(&bytes)) {
                prop_assert_eq!(Sheet::decode(&read.encode()), Ok(read));
            }
        }
    }
}
