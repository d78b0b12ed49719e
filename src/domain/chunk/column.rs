//! One column of a chunk: whole numbers in their order, by the cheapest of five ways. What is left of a prediction is Rice coded in blocks, each with the
//! parameter that suits it, so that a quiet hour costs next to nothing and a busy one what it has to.

use super::bit_stream::{BitReader, BitWriter, put_varint, take_varint, unzigzag, zigzag};

/// Numbers that share a parameter.
const BLOCK: usize = 32;
/// Bits of a parameter; the highest value says that all numbers of the block are zero.
const PARAMETER_BITS: u32 = 6;
const ALL_ZERO: u32 = (1 << PARAMETER_BITS) - 1;
const HIGHEST: u32 = 55;
/// A quotient this large is not written: the number follows whole.
const ESCAPE: u32 = 20;

/// How the next number is foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All are the same.
    Constant = 0,
    /// By the first one: noise around a level.
    First = 1,
    /// By the one before: what drifts.
    Last = 2,
    /// By the one before and the step to it: counters that run evenly.
    Step = 3,
    /// By nothing: noise around zero, whatever the first one is.
    Zero = 4,
}

impl Way {
    const ALL: [Way; 5] = [Way::Constant, Way::First, Way::Last, Way::Step, Way::Zero];

    fn from_byte(byte: u8) -> Option<Way> {
        Way::ALL.get(usize::from(byte)).copied()
    }

    /// What is expected after `first`, …, `before`, `last`.
    fn foretold(self, first: i64, before: i64, last: i64) -> i64 {
        match self {
            Way::Constant | Way::First => first,
            Way::Last => last,
            Way::Step => last.wrapping_add(last.wrapping_sub(before)),
            Way::Zero => 0,
        }
    }

    /// Numbers at the beginning that are written as they are, the second one as a step.
    fn given(self) -> usize {
        if self == Way::Step { 2 } else { 1 }
    }

    /// Of every number but the given ones, what is left.
    fn residues(self, numbers: &[i64]) -> Vec<u64> {
        let Some((first, rest)) = numbers.split_first() else { return Vec::new() };
        let (mut before, mut last) = (*first, *first);
        let left = rest.iter().map(|number| {
            let left = zigzag(number.wrapping_sub(self.foretold(*first, before, last)));
            (before, last) = (last, *number);
            left
        });
        left.skip(self.given() - 1).collect()
    }
}

/// Appends the column; nothing of no numbers.
pub fn encode(out: &mut Vec<u8>, numbers: &[i64]) {
    let Some(first) = numbers.first() else { return };
    let ways = [Way::First, Way::Last, Way::Step, Way::Zero].map(|way| (way, way.residues(numbers)));
    let is_constant = ways[0].1.iter().all(|left| *left == 0);
    // A step more is a few bytes: no reason where nothing else speaks for it.
    let cost = |way: Way, residues: &[u64]| residues.chunks(BLOCK).map(|block| best(block).1).sum::<u64>() + 8 * way.given() as u64;
    let cheapest = ways.iter().min_by_key(|(way, residues)| cost(*way, residues));
    let (way, residues) = match cheapest {
        Some((way, residues)) if !is_constant => (*way, residues.as_slice()),
        _ => (Way::Constant, &[][..]),
    };
    out.push(way as u8);
    put_varint(out, zigzag(*first));
    if let (Way::Step, Some(second)) = (way, numbers.get(1)) {
        put_varint(out, zigzag(second.wrapping_sub(*first)));
    }
    let mut bits = BitWriter::default();
    for block in residues.chunks(BLOCK) {
        let (parameter, _) = best(block);
        bits.put(u64::from(parameter), PARAMETER_BITS);
        if parameter != ALL_ZERO {
            block.iter().for_each(|left| put(&mut bits, *left, parameter));
        }
    }
    let bits = bits.finish();
    put_varint(out, bits.len() as u64);
    out.extend(bits);
}

/// Takes a column of `count` numbers from the front of `bytes`; None when there is none.
pub fn decode(bytes: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let (way, mut rest) = bytes.split_first()?;
    let way = Way::from_byte(*way)?;
    if count < way.given() {
        return None;
    }
    let first = unzigzag(take_varint(&mut rest)?);
    let second = if way == Way::Step { Some(first.wrapping_add(unzigzag(take_varint(&mut rest)?))) } else { None };
    let length = usize::try_from(take_varint(&mut rest)?).ok()?;
    let (bits, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    if way == Way::Constant {
        return bits.is_empty().then(|| vec![first; count]);
    }
    let mut bits = BitReader::new(bits);
    let mut numbers = Vec::with_capacity(count);
    numbers.push(first);
    numbers.extend(second);
    let (mut before, mut last) = (first, second.unwrap_or(first));
    while numbers.len() < count {
        let parameter = u32::try_from(bits.get(PARAMETER_BITS)?).ok()?;
        for _ in 0..BLOCK.min(count - numbers.len()) {
            let left = if parameter == ALL_ZERO { 0 } else { take(&mut bits, parameter)? };
            let number = way.foretold(first, before, last).wrapping_add(unzigzag(left));
            (before, last) = (last, number);
            numbers.push(number);
        }
    }
    Some(numbers)
}

/// Goes past a column of `count` numbers without reading them.
pub fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (way, mut rest) = bytes.split_first()?;
    take_varint(&mut rest)?;
    if Way::from_byte(*way)? == Way::Step {
        take_varint(&mut rest)?;
    }
    let length = usize::try_from(take_varint(&mut rest)?).ok()?;
    *bytes = rest.get(length..)?;
    Some(())
}

/// The parameter that makes the block shortest, and how many bits it takes.
fn best(block: &[u64]) -> (u32, u64) {
    if block.iter().all(|left| *left == 0) {
        return (ALL_ZERO, PARAMETER_BITS.into());
    }
    let cost = |parameter: u32| block.iter().map(|left| u64::from(length(*left, parameter))).sum::<u64>() + u64::from(PARAMETER_BITS);
    // The best one is near the logarithm of the mean.
    let mean = block.iter().map(|left| left / block.len() as u64).sum::<u64>();
    let near = mean.checked_ilog2().unwrap_or(0).min(HIGHEST);
    let tried = near.saturating_sub(2)..=(near + 1).min(HIGHEST);
    tried.map(|parameter| (parameter, cost(parameter))).min_by_key(|(_, cost)| *cost).unwrap_or((0, cost(0)))
}

fn length(left: u64, parameter: u32) -> u32 {
    match u32::try_from(left >> parameter) {
        Ok(quotient) if quotient < ESCAPE => quotient + 1 + parameter,
        _ => ESCAPE + 1 + 64,
    }
}

fn put(bits: &mut BitWriter, left: u64, parameter: u32) {
    match u32::try_from(left >> parameter) {
        Ok(quotient) if quotient < ESCAPE => {
            bits.put_unary(quotient);
            bits.put(left, parameter);
        }
        _ => {
            bits.put_unary(ESCAPE);
            bits.put_whole(left);
        }
    }
}

fn take(bits: &mut BitReader<'_>, parameter: u32) -> Option<u64> {
    if parameter > HIGHEST {
        return None;
    }
    match bits.get_unary(ESCAPE)? {
        ESCAPE => bits.get_whole(),
        quotient => Some(u64::from(quotient) << parameter | bits.get(parameter)?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(numbers: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, numbers);
        out
    }

    fn decoded(bytes: &[u8], count: usize) -> Option<Vec<i64>> {
        let mut rest = bytes;
        decode(&mut rest, count).filter(|_| rest.is_empty())
    }

    /// Levels with noise, drifts, counters that reset and wrap, and anything at all.
    fn columns() -> impl Strategy<Value = Vec<i64>> {
        let noise = |size: i64| prop::collection::vec(-size..=size, 1..300);
        prop_oneof![
            (any::<i64>(), noise(3)).prop_map(|(level, noise)| noise.iter().map(|n| level.wrapping_add(*n)).collect()),
            (any::<i64>(), noise(1_000)).prop_map(|(start, steps)| {
                let mut at = start;
                steps
                    .iter()
                    .map(|step| {
                        at = at.wrapping_add(1_000_000 + step);
                        at
                    })
                    .collect()
            }),
            (prop::collection::vec(0i64..5_000, 1..300), 1usize..100).prop_map(|(steps, reset)| {
                let mut at = 0i64;
                steps
                    .iter()
                    .enumerate()
                    .map(|(n, step)| {
                        at = if n % reset == 0 { 0 } else { at + step };
                        at
                    })
                    .collect()
            }),
            prop::collection::vec(any::<i64>(), 1..200),
            prop::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)], 1..100),
            (any::<i64>(), 1usize..300).prop_map(|(value, count)| vec![value; count]),
        ]
    }

    proptest! {
        #[test]
        fn numbers_come_back_exactly(numbers in columns()) {
            let bytes = encoded(&numbers);
            prop_assert_eq!(decoded(&bytes, numbers.len()), Some(numbers.clone()));
            // Two of them stand behind each other.
            let twice = [bytes.as_slice(), bytes.as_slice()].concat();
            let mut rest = twice.as_slice();
            prop_assert_eq!(decode(&mut rest, numbers.len()), Some(numbers.clone()));
            prop_assert_eq!(decode(&mut rest, numbers.len()), Some(numbers));
        }

        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..400) {
            decoded(&bytes, count);
        }

        #[test]
        fn a_shorter_column_is_none(numbers in columns(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&numbers);
            prop_assert_eq!(decoded(&bytes[..cut.index(bytes.len())], numbers.len()), None);
        }
    }

    #[test]
    fn what_does_not_change_takes_next_to_nothing() {
        assert_eq!(encoded(&[7; 240]).len(), 3);
        assert!(encoded(&(0..240).map(|n| 1_000_000 * n).collect::<Vec<_>>()).len() < 20, "an even counter");
        let drift: Vec<i64> = (0..240).map(|n| 5_000 + n / 30).collect();
        assert!(encoded(&drift).len() < 48, "{}", encoded(&drift).len());
        assert_eq!(encoded(&[]), [] as [u8; 0]);
    }
}
