//! Measurements as whole numbers, column by column. A `Series` is one machine in the order of time, what sealed weeks are made of; a `Sheet` is several machines over a few
//! slots, what one flush writes. Both say everything by themselves, under a checksum, and what they say is checked; which number means what is the business of who fills the columns.

mod bit_stream;
mod column;
mod series;
mod sheet;

use std::collections::BTreeMap;

pub use bit_stream::{put_varint, take_varint, unzigzag, zigzag};
pub use series::Series;
pub use sheet::Sheet;

/// Version of the formats; a reader knows all up to its own. Version 1 had no columns by words, and left no zeros out.
const VERSION: u8 = 2;
/// Version and checksum.
const HEAD: usize = 5;
/// Samples of a chunk, at most: eleven days of a machine.
pub const MAX_SAMPLES: usize = 32_768;
/// Columns of a chunk, at most.
pub const MAX_COLUMNS: usize = 512;
/// Names of a chunk, and bytes of one, at most.
pub const MAX_NAMES: usize = 32_768;
pub const MAX_NAME: usize = 256;

/// From here on every eighth column holds numbers of names, and the seven behind it what is measured of what has the name.
pub const NAMED: u16 = 64;
pub const PER_NAME: u16 = 8;

/// The column holds numbers of names.
pub fn is_name(column: u16) -> bool {
    column >= NAMED && (column - NAMED).is_multiple_of(PER_NAME)
}

/// One sample: numbers of columns, ascending, with what was measured.
pub type Row = Vec<(u16, i64)>;

/// What was measured in the samples of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// What columns refer to by number, such as interfaces of a network.
    pub names: Vec<String>,
    /// Number of the column -> one value for each sample; what was not measured is absent. A column in which nothing was is left out.
    pub values: BTreeMap<u16, Vec<Option<i64>>>,
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

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damaged::Checksum => f.write_str("its checksum is wrong: it was damaged"),
            Damaged::Version(found) => write!(f, "has version {found}, this release knows {VERSION}"),
            Damaged::Form => f.write_str("its checksum is right, and what it says is nothing that is written here"),
        }
    }
}

impl Columns {
    /// The number of a name, which is added where it is new.
    pub fn name(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// Puts a sample behind the `before` that are there.
    pub fn push(&mut self, before: usize, row: &[(u16, i64)]) {
        for (number, value) in row {
            let values = self.values.entry(*number).or_default();
            values.resize(before, None);
            values.push(Some(*value));
        }
    }

    /// To be called after the last sample: every column gets its `count` places.
    pub fn finish(&mut self, count: usize) {
        self.values.values_mut().for_each(|values| values.resize(count, None));
    }

    /// The sample at `at`.
    pub fn row(&self, at: usize) -> Row {
        self.values.iter().filter_map(|(number, values)| Some((*number, values.get(at).copied().flatten()?))).collect()
    }

    /// Samples `from..until`, with the names that they have: those of a whole fleet would fill every page.
    fn part(&self, from: usize, until: usize) -> Columns {
        let cut = |values: &Vec<Option<i64>>| values.get(from..until).unwrap_or_default().to_vec();
        let values = self.values.iter().map(|(number, values)| (*number, cut(values)));
        let mut part = Columns { names: Vec::new(), values: values.filter(|(_, values)| values.iter().any(Option::is_some)).collect() };
        let mut numbers: BTreeMap<i64, i64> = BTreeMap::new();
        for (_, values) in part.values.iter_mut().filter(|(number, _)| is_name(**number)) {
            for value in values.iter_mut().flatten() {
                *value = *numbers.entry(*value).or_insert_with_key(|before| {
                    let name = usize::try_from(*before).ok().and_then(|at| self.names.get(at));
                    part.names.push(name.cloned().unwrap_or_default());
                    i64::try_from(part.names.len() - 1).unwrap_or_default()
                });
            }
        }
        part
    }

    fn put(&self, out: &mut Vec<u8>, mut put_numbers: impl FnMut(&mut Vec<u8>, &[Option<i64>])) {
        put_varint(out, self.names.len() as u64);
        for name in &self.names {
            put_varint(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        put_varint(out, self.values.len() as u64);
        let mut next = 0;
        for (number, values) in &self.values {
            put_varint(out, (*number - next).into());
            next = number.saturating_add(1);
            let present: Vec<bool> = values.iter().map(Option::is_some).collect();
            put_flags(out, &present);
            put_numbers(out, values);
        }
    }

    /// `take_numbers` gets which samples have a value; `skip_numbers` goes past those of a column that is not wanted, and gets how many they are.
    fn take(
        bytes: &mut &[u8],
        count: usize,
        is_wanted: impl Fn(u16) -> bool,
        mut take_numbers: impl FnMut(&mut &[u8], &[bool]) -> Option<Vec<Option<i64>>>,
        skip_numbers: impl Fn(&mut &[u8], usize) -> Option<()>,
    ) -> Option<Columns> {
        let mut columns = Columns::default();
        for _ in 0..take_count(bytes, MAX_NAMES)? {
            let length = take_count(bytes, MAX_NAME)?;
            let (name, rest) = bytes.split_at_checked(length)?;
            columns.names.push(std::str::from_utf8(name).ok()?.to_owned());
            *bytes = rest;
        }
        let mut next = Some(0u16);
        for _ in 0..take_count(bytes, MAX_COLUMNS)? {
            let number = next?.checked_add(u16::try_from(take_varint(bytes)?).ok()?)?;
            next = number.checked_add(1);
            if is_wanted(number) {
                let present = take_flags(bytes, count)?;
                columns.values.insert(number, take_numbers(bytes, &present)?);
            } else {
                let present = take_runs(bytes, count, |_, _| ())?;
                skip_numbers(bytes, present)?;
            }
        }
        Some(columns)
    }
}

/// Version and checksum before what was written behind `HEAD` empty bytes.
fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&out[HEAD..]);
    out[0] = VERSION;
    out[1..HEAD].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// What was sealed.
fn open(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let Some(([version, checksum @ ..], rest)) = bytes.split_first_chunk::<HEAD>() else { return Err(Damaged::Checksum) };
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return Err(Damaged::Checksum);
    }
    if !(1..=VERSION).contains(version) {
        return Err(Damaged::Version(*version));
    }
    Ok(rest)
}

/// As many of the first of `count` samples as a chunk of `limit` bytes can have, at least one, with the chunk. `encode` makes the chunk of so many of the first. It is full enough
/// from `enough` bytes on: each byte more is searched for by making it again.
pub fn fill(count: usize, limit: usize, enough: usize, encode: impl Fn(usize) -> Vec<u8>) -> (usize, Vec<u8>) {
    fill_from(count, None, limit, enough, encode)
}

/// The same for who has a guess of how many it will be.
pub fn fill_from(count: usize, guess: Option<usize>, limit: usize, enough: usize, encode: impl Fn(usize) -> Vec<u8>) -> (usize, Vec<u8>) {
    let first = guess.filter(|guess| (1..count).contains(guess)).unwrap_or(count);
    let chunk = encode(first);
    if count <= 1 || (chunk.len() <= limit && first == count) {
        return (count, chunk);
    }
    let mut guess = (first * limit.midpoint(enough) / chunk.len().max(1)).max(1);
    let (mut fits, mut over) = if chunk.len() <= limit { ((first, chunk), count + 1) } else { ((0, Vec::new()), first) };
    // Longer is larger, but for what columns save that change their way: the last step looks at the neighbours.
    while over - fits.0 > 1 && (fits.0 == 0 || fits.1.len() < enough) {
        let tried = guess.clamp(fits.0 + 1, over - 1);
        let chunk = encode(tried);
        if chunk.len() <= limit || tried == 1 {
            let per_sample = chunk.len() / tried + 1;
            guess = tried + ((limit.saturating_sub(chunk.len())) / per_sample).max(1);
            fits = (tried, chunk);
        } else {
            over = tried;
            let excess = (chunk.len() - limit) / (chunk.len() / tried).max(1);
            guess = tried.saturating_sub(excess.max(1));
        }
        if fits.0 == count {
            break;
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
    take_runs(bytes, count, |is_set, run| flags.extend(std::iter::repeat_n(is_set, run)))?;
    Some(flags)
}

/// Shows the runs of `count` flags; how many are set.
fn take_runs(bytes: &mut &[u8], count: usize, mut show: impl FnMut(bool, usize)) -> Option<usize> {
    let (mut is_set, mut left, mut set) = (true, count, 0);
    for at in 0..take_count(bytes, count + 1)? {
        let run = take_count(bytes, left)?;
        if run == 0 && at > 0 {
            return None;
        }
        show(is_set, run);
        set += if is_set { run } else { 0 };
        left -= run;
        is_set = !is_set;
    }
    (left == 0).then_some(set)
}

/// What the first release wrote.
#[cfg(test)]
pub mod first_release {
    pub const SERIES: &str = "010857e02c03c089911c03020a00040001010102046574683005776c616e3004000103010e02800702040001010100feffffffffffffffff01003c030101010300020000030101010305f9ffffffffffffffff0100";
    pub const SHEET: &str = "01dd7d2fac0401060301fc00038093a238020000020004000101020104657468301d0002030100fa0100000000000203010008000000000002030100b81700000000000203010032000000000002030100c801000000000002030100f40300000000000203010045000000000002030100808080040000000000020301008080800100000000020203010000000000000102030100808080200000000000020301008080800800000000000203010000000000000002030100c801000000000102030100b817000000000002030100f4030000000000020301000f0003000e00040203010006000000000002020200e80700000000010202020080808001000000000002020200ba0900000000000202020002000000002102020200000000000000020202000e000000000002020200010000000000020202000000000000000202020000000000000002020200000000000000020202000000000000";
}
