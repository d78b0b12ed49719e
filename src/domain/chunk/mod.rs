//! Measurements of one machine in the order of time, column by column: what sealed weeks are made of. A chunk says everything by itself and what it says is checked; how its
//! columns are measured (which number means what) is the business of who fills them.

mod bit_stream;
mod column;

use std::collections::BTreeMap;

use bit_stream::{put_varint, take_varint};

use super::time::Slot;

/// Version of the format; a reader knows all up to its own.
const VERSION: u8 = 1;
/// Version and checksum.
const HEAD: usize = 5;
/// Samples of a chunk, at most: eleven days.
pub const MAX_SAMPLES: usize = 32_768;
/// Columns of a chunk, at most.
pub const MAX_COLUMNS: usize = 512;
/// Names of a chunk, and bytes of one, at most.
pub const MAX_NAMES: usize = 64;
pub const MAX_NAME: usize = 256;

/// Samples of one machine in ascending order of their slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series {
    pub slots: Vec<Slot>,
    /// Of each sample, whether it was told after its slot had closed.
    pub late: Vec<bool>,
    /// What columns refer to by number, such as interfaces of a network.
    pub names: Vec<String>,
    /// Number of the column -> one value for each sample; what was not measured is absent. A column in which nothing was is left out.
    pub columns: BTreeMap<u16, Vec<Option<i64>>>,
}

/// Why bytes are no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// Too short, or of another checksum.
    Checksum,
    /// Of a later release.
    Version(u8),
    /// The checksum is right and what it is over is no chunk.
    Form,
}

impl Series {
    /// The first `count` samples.
    pub fn first(&self, count: usize) -> Series {
        let cut = |values: &Vec<Option<i64>>| values.iter().take(count).copied().collect::<Vec<_>>();
        let columns = self.columns.iter().map(|(number, values)| (*number, cut(values)));
        Series {
            slots: self.slots.iter().take(count).copied().collect(),
            late: self.late.iter().take(count).copied().collect(),
            names: self.names.clone(),
            columns: columns.filter(|(_, values)| values.iter().any(Option::is_some)).collect(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0, 0];
        put_varint(&mut out, self.slots.len() as u64);
        if let Some(first) = self.slots.first() {
            put_varint(&mut out, first.0.into());
            let steps: Vec<i64> = self.slots.windows(2).map(|pair| i64::from(pair[1].0) - i64::from(pair[0].0)).collect();
            column::encode(&mut out, &steps);
            put_flags(&mut out, &self.late);
        }
        put_varint(&mut out, self.names.len() as u64);
        for name in &self.names {
            put_varint(&mut out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        put_varint(&mut out, self.columns.len() as u64);
        let mut next = 0;
        for (number, values) in &self.columns {
            put_varint(&mut out, (*number - next).into());
            next = number.saturating_add(1);
            let present: Vec<bool> = values.iter().map(Option::is_some).collect();
            put_flags(&mut out, &present);
            column::encode(&mut out, &values.iter().flatten().copied().collect::<Vec<_>>());
        }
        let checksum = crc32fast::hash(&out[HEAD..]);
        out[1..HEAD].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Series, Damaged> {
        let Some(([version, checksum @ ..], mut rest)) = bytes.split_first_chunk::<HEAD>() else { return Err(Damaged::Checksum) };
        if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
            return Err(Damaged::Checksum);
        }
        if *version != VERSION {
            return Err(Damaged::Version(*version));
        }
        Series::read(&mut rest).filter(|_| rest.is_empty()).ok_or(Damaged::Form)
    }

    fn read(bytes: &mut &[u8]) -> Option<Series> {
        let count = take_count(bytes, MAX_SAMPLES)?;
        let mut series = Series::default();
        if count > 0 {
            let mut slot = u32::try_from(take_varint(bytes)?).ok()?;
            series.slots.push(Slot(slot));
            for step in column::decode(bytes, count - 1)? {
                slot = slot.checked_add(u32::try_from(step).ok().filter(|step| *step > 0)?)?;
                series.slots.push(Slot(slot));
            }
            series.late = take_flags(bytes, count)?;
        }
        for _ in 0..take_count(bytes, MAX_NAMES)? {
            let length = take_count(bytes, MAX_NAME)?;
            let (name, rest) = bytes.split_at_checked(length)?;
            series.names.push(std::str::from_utf8(name).ok()?.to_owned());
            *bytes = rest;
        }
        let mut next = 0u16;
        for _ in 0..take_count(bytes, MAX_COLUMNS)? {
            let number = next.checked_add(u16::try_from(take_varint(bytes)?).ok()?)?;
            next = number.saturating_add(1);
            let present = take_flags(bytes, count)?;
            let mut values = column::decode(bytes, present.iter().filter(|is| **is).count())?.into_iter();
            let values = present.iter().map(|is| if *is { values.next() } else { None });
            if series.columns.insert(number, values.collect()).is_some() {
                return None;
            }
        }
        Some(series)
    }
}

/// As many of the first samples as a chunk of `limit` bytes can have, at least one, with the chunk.
pub fn fill(series: &Series, limit: usize) -> (usize, Vec<u8>) {
    let whole = series.encode();
    if whole.len() <= limit || series.slots.len() <= 1 {
        return (series.slots.len(), whole);
    }
    // Longer is larger, but for what columns save that change their way: the last step looks at the neighbours.
    let (mut fits, mut over) = ((1, series.first(1).encode()), series.slots.len());
    let mut guess = series.slots.len() * limit / whole.len();
    while over - fits.0 > 1 {
        let count = guess.clamp(fits.0 + 1, over - 1);
        let chunk = series.first(count).encode();
        if chunk.len() <= limit {
            guess = count + (over - count) / 2;
            fits = (count, chunk);
        } else {
            over = count;
            guess = fits.0 + (count - fits.0) * 7 / 8;
        }
    }
    fits
}

fn take_count(bytes: &mut &[u8], limit: usize) -> Option<usize> {
    usize::try_from(take_varint(bytes)?).ok().filter(|count| *count <= limit)
}

/// How many are the same, in turn, beginning with those that are set; one run where all are.
fn put_flags(out: &mut Vec<u8>, flags: &[bool]) {
    let mut runs = Vec::new();
    let (mut at, mut is_set) = (0, true);
    while at < flags.len() {
        let run = flags[at..].iter().take_while(|flag| **flag == is_set).count();
        runs.push(run);
        (at, is_set) = (at + run, !is_set);
    }
    put_varint(out, runs.len() as u64);
    runs.into_iter().for_each(|run| put_varint(out, run as u64));
}

fn take_flags(bytes: &mut &[u8], count: usize) -> Option<Vec<bool>> {
    let mut flags = Vec::with_capacity(count);
    let mut is_set = true;
    for at in 0..take_count(bytes, count + 1)? {
        let run = take_count(bytes, count - flags.len())?;
        if run == 0 && at > 0 {
            return None;
        }
        flags.extend(std::iter::repeat_n(is_set, run));
        is_set = !is_set;
    }
    (flags.len() == count).then_some(flags)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Samples as machines make them, and worse.
    fn series() -> impl Strategy<Value = Series> {
        let sample = (prop_oneof![20 => Just(1u32), 1 => 2u32..5_000], prop::bool::weighted(0.05), any::<u64>());
        let kinds = prop::collection::btree_map(0u16..600, 0u8..5, 0..30);
        let names = prop::collection::vec("[a-z0-9éß]{0,20}", 0..5);
        (1_000u32..60_000_000, prop::collection::vec(sample, 0..250), kinds, names).prop_map(|(first, samples, kinds, names)| {
            let mut slot = first;
            let mut series = Series { names, ..Series::default() };
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
                    series.columns.insert(number, values);
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
            let (count, chunk) = fill(&series, limit);
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
        bytes[0] = 2;
        assert_eq!(Series::decode(&bytes), Err(Damaged::Version(2)));
        let said = [0xff];
        let sealed = [&[VERSION], crc32fast::hash(&said).to_le_bytes().as_slice(), &said].concat();
        assert_eq!(Series::decode(&sealed), Err(Damaged::Form));
    }
}
