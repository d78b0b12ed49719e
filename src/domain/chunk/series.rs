//! One machine in the order of time.

use super::column;
use super::{Columns, Damaged, HEAD, MAX_SAMPLES, open, put_flags, put_varint, seal, take_count, take_flags, take_varint};
use crate::domain::time::Slot;

/// Samples of one machine in ascending order of their slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series {
    pub slots: Vec<Slot>,
    /// Of each sample, whether it was told after its slot had closed.
    pub late: Vec<bool>,
    pub columns: Columns,
}

impl Series {
    /// The first `count` samples.
    pub fn first(&self, count: usize) -> Series {
        Series {
            slots: self.slots.iter().take(count).copied().collect(),
            late: self.late.iter().take(count).copied().collect(),
            columns: self.columns.part(0, count.min(self.slots.len())),
        }
    }

    /// All but the first `count` samples.
    pub fn without_first(&self, count: usize) -> Series {
        Series {
            slots: self.slots.iter().skip(count).copied().collect(),
            late: self.late.iter().skip(count).copied().collect(),
            columns: self.columns.part(count.min(self.slots.len()), self.slots.len()),
        }
    }

    /// The samples in `[from, until)`; names stay as they are.
    pub fn within(mut self, from: Slot, until: Slot) -> Series {
        let end = self.slots.partition_point(|slot| *slot < until);
        let first = self.slots.partition_point(|slot| *slot < from).min(end);
        fn cut<T>(of: &mut Vec<T>, first: usize, end: usize) {
            of.truncate(end);
            of.drain(..first.min(of.len()));
        }
        cut(&mut self.slots, first, end);
        cut(&mut self.late, first, end);
        self.columns.values.values_mut().for_each(|values| cut(values, first, end));
        self
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEAD];
        put_varint(&mut out, self.slots.len() as u64);
        if let Some(first) = self.slots.first() {
            put_varint(&mut out, first.0.into());
            let steps: Vec<i64> = self.slots.windows(2).map(|pair| i64::from(pair[1].0) - i64::from(pair[0].0)).collect();
            column::encode(&mut out, &steps);
            put_flags(&mut out, &self.late);
        }
        self.columns.put(&mut out, |out, values| column::encode(out, &values.iter().flatten().copied().collect::<Vec<_>>()));
        seal(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Series, Damaged> {
        Series::decode_columns(bytes, |_| true)
    }

    /// The same without the columns that are not wanted.
    pub fn decode_columns(bytes: &[u8], is_wanted: impl Fn(u16) -> bool) -> Result<Series, Damaged> {
        let mut rest = open(bytes)?;
        Series::read(&mut rest, is_wanted).filter(|_| rest.is_empty()).ok_or(Damaged::Form)
    }

    fn read(bytes: &mut &[u8], is_wanted: impl Fn(u16) -> bool) -> Option<Series> {
        let count = take_count(bytes, MAX_SAMPLES)?;
        let mut series = Series::default();
        if count > 0 {
            let mut slot = u32::try_from(take_varint(bytes)?).ok()?;
            series.slots.reserve_exact(count);
            series.slots.push(Slot(slot));
            for step in column::decode(bytes, count - 1)? {
                slot = slot.checked_add(u32::try_from(step).ok().filter(|step| *step > 0)?)?;
                series.slots.push(Slot(slot));
            }
            series.late = take_flags(bytes, count)?;
        }
        let numbers = |bytes: &mut &[u8], present: &[bool]| {
            let count = present.iter().filter(|is| **is).count();
            let mut values = column::decode(bytes, count)?.into_iter();
            Some(present.iter().map(|is| if *is { values.next() } else { None }).collect())
        };
        series.columns = Columns::take(bytes, count, is_wanted, numbers, column::skip)?;
        Some(series)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{VERSION, fill};
    use super::*;

    /// Samples as machines make them, and worse.
    fn series() -> impl Strategy<Value = Series> {
        let sample = (prop_oneof![20 => Just(1u32), 1 => 2u32..5_000], prop::bool::weighted(0.05), any::<u64>());
        let kinds = prop::collection::btree_map(0u16..600, 0u8..5, 0..30);
        let names = prop::collection::vec("[a-z0-9éß]{0,20}", 0..5);
        (1_000u32..60_000_000, prop::collection::vec(sample, 0..250), kinds, names).prop_map(|(first, samples, kinds, names)| {
            let mut slot = first;
            let mut series = Series { columns: Columns { names, ..Columns::default() }, ..Series::default() };
            for (step, late, _) in &samples {
                slot += step;
                series.slots.push(Slot(slot));
                series.late.push(*late);
            }
            for (number, kind) in kinds {
                let value = |(n, (_, _, noise)): (usize, &(u32, bool, u64))| {
                    let (n, noise) = (i64::try_from(n).unwrap(), noise.wrapping_mul(u64::from(number) | 1));
                    let small = i64::from(noise.to_le_bytes()[7]);
                    match kind {
                        0 => Some(i64::from(number)),
                        1 => Some(n * 1_000_000 + small),
                        2 => Some(small),
                        3 => (small < 200).then_some(small),
                        _ => Some(noise.cast_signed()),
                    }
                };
                let values: Vec<Option<i64>> = samples.iter().enumerate().map(value).collect();
                if values.iter().any(Option::is_some) {
                    series.columns.values.insert(number, values);
                }
            }
            series
        })
    }

    proptest! {
        #[test]
        fn series_come_back_exactly(series in series()) {
            prop_assert_eq!(Series::decode(&series.encode()), Ok(series));
        }

        #[test]
        fn a_flipped_bit_is_noticed(series in series(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let mut bytes = series.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Series::decode(&bytes).is_err());
        }

        /// Whatever the checksum is over.
        #[test]
        fn nothing_that_is_read_panics(said in prop::collection::vec(any::<u8>(), 0..200), series in series(), at in any::<prop::sample::Index>(), byte: u8) {
            let sealed = |said: &[u8]| [&[VERSION], crc32fast::hash(said).to_le_bytes().as_slice(), said].concat();
            let _ = Series::decode(&sealed(&said));
            let mut bytes = series.encode()[HEAD..].to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Series::decode(&sealed(&bytes)) {
                prop_assert_eq!(Series::decode(&read.encode()), Ok(read));
            }
        }

        #[test]
        fn a_chunk_is_filled_and_not_over(series in series(), limit in 100usize..4_080) {
            let (count, chunk) = fill(series.slots.len(), limit, limit, |count| series.first(count).encode());
            prop_assert_eq!(Series::decode(&chunk), Ok(series.first(count)));
            prop_assert!(count >= 1 || series.slots.is_empty());
            prop_assert!(chunk.len() <= limit || count <= 1);
            if count > 0 && count < series.slots.len() && chunk.len() <= limit {
                // A column that changes its way with one more number may be a little shorter.
                prop_assert!(series.first(count + 1).encode().len() + 64 > limit, "one more would have fitted");
            }
        }
    }

    #[test]
    fn versions_and_damage_have_names() {
        let mut bytes = Series::default().encode();
        assert_eq!(Series::decode(&bytes[..4]), Err(Damaged::Checksum));
        bytes[0] = 3;
        assert_eq!(Series::decode(&bytes), Err(Damaged::Version(3)));
        let said = [0xff];
        let sealed = [&[VERSION], crc32fast::hash(&said).to_le_bytes().as_slice(), &said].concat();
        assert_eq!(Series::decode(&sealed), Err(Damaged::Form));
    }
}
