//! One column of a chunk: whole numbers in their order, by the cheapest of six ways. What is left of a prediction is Rice coded in blocks, each with the
//! parameter that suits it, so that a quiet hour costs next to nothing and a busy one what it has to. Zeros that all of it ends with (memory comes in pages) are left out.

use super::bit_stream::{BitReader, BitWriter, put_varint, take_varint, unzigzag, zigzag};

/// Numbers that share a parameter.
const BLOCK: usize = 32;
/// Bits of a parameter; the highest value says that all numbers of the block are zero.
const PARAMETER_BITS: u32 = 6;
const ALL_ZERO: u32 = (1 << PARAMETER_BITS) - 1;
const HIGHEST: u32 = 55;
/// A quotient this large is not written: the number follows whole.
const ESCAPE: u32 = 20;
/// Different numbers of a column that is written by them, at most.
const MAX_WORDS: usize = 16;
/// Bits of the first byte that say the way; the others say how many zeros at the end of a residue are left out.
const WAY_BITS: u32 = 3;
const MOST_ZEROS: u32 = 31;

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
    /// As places in a list of the few different numbers, the most frequent first: steps of a clock rate.
    Words = 5,
}

impl Way {
    const ALL: [Way; 6] = [Way::Constant, Way::First, Way::Last, Way::Step, Way::Zero, Way::Words];

    /// The way, and zeros that are left out.
    fn from_byte(byte: u8) -> Option<(Way, u32)> {
        let way = Way::ALL.get(usize::from(byte & ((1 << WAY_BITS) - 1))).copied()?;
        let zeros = u32::from(byte >> WAY_BITS);
        (zeros == 0 || !matches!(way, Way::Constant | Way::Words)).then_some((way, zeros))
    }

    /// What is expected after `first`, …, `before`, `last`.
    fn foretold(self, first: i64, before: i64, last: i64) -> i64 {
        match self {
            Way::Constant | Way::First => first,
            Way::Last => last,
            Way::Step => last.wrapping_add(last.wrapping_sub(before)),
            Way::Zero | Way::Words => 0,
        }
    }

    /// Numbers at the beginning that are written as they are, the second one as a step.
    fn given(self) -> usize {
        if self == Way::Step { 2 } else { 1 }
    }

    /// Of every number but the given ones, what is left.
    fn residues(self, numbers: &[i64]) -> Residues {
        let Some((first, rest)) = numbers.split_first() else { return Residues::default() };
        let (mut before, mut last) = (*first, *first);
        let left = rest.iter().map(|number| {
            let left = number.wrapping_sub(self.foretold(*first, before, last));
            (before, last) = (last, *number);
            left
        });
        let mut left: Vec<i64> = left.skip(self.given() - 1).collect();
        let zeros = left.iter().filter(|left| **left != 0).map(|left| left.trailing_zeros()).min().unwrap_or(0).min(MOST_ZEROS);
        left.iter_mut().for_each(|left| *left >>= zeros);
        Residues { zeros, left: left.into_iter().map(zigzag).collect() }
    }
}

/// What is left of a prediction, without the zeros at the end that all of it has.
#[derive(Debug, Default)]
struct Residues {
    zeros: u32,
    left: Vec<u64>,
}

/// The different numbers, the most frequent first, where they are few.
fn words(numbers: &[i64]) -> Option<Vec<i64>> {
    let mut words: Vec<(i64, usize)> = Vec::new();
    for number in numbers {
        if let Some((_, count)) = words.iter_mut().find(|(word, _)| word == number) {
            *count += 1;
        } else if words.len() < MAX_WORDS {
            words.push((*number, 1));
        } else {
            return None;
        }
    }
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(words.into_iter().map(|(word, _)| word).collect())
}

fn place(words: &[i64], number: i64) -> u64 {
    words.iter().position(|word| *word == number).unwrap_or_default() as u64
}

/// Appends the column; nothing of no numbers.
pub fn encode(out: &mut Vec<u8>, numbers: &[i64]) {
    let Some(first) = numbers.first() else { return };
    if numbers.iter().all(|number| number == first) {
        out.push(Way::Constant as u8);
        put_varint(out, zigzag(*first));
        return put_varint(out, 0);
    }
    let in_bits = |left: &[u64]| left.chunks(BLOCK).map(|block| best(block).1).sum::<u64>();
    let mut cheapest: Option<(u64, Way, Residues)> = None;
    for way in [Way::First, Way::Last, Way::Step, Way::Zero] {
        let residues = way.residues(numbers);
        // A step more is a few bytes: no reason where nothing else speaks for it.
        let cost = in_bits(&residues.left) + 8 * way.given() as u64;
        if cheapest.as_ref().is_none_or(|(least, ..)| cost < *least) {
            cheapest = Some((cost, way, residues));
        }
    }
    let Some((cost, way, residues)) = cheapest else { return };
    let mut head = Vec::new();
    if let Some(words) = words(numbers) {
        put_varint(&mut head, words.len() as u64);
        words.iter().for_each(|word| put_varint(&mut head, zigzag(*word)));
        let places: Vec<u64> = numbers.iter().map(|number| place(&words, *number)).collect();
        if in_bits(&places) + 8 * (head.len() as u64) < cost {
            out.push(Way::Words as u8);
            out.extend(head);
            return put_residues(out, &places);
        }
    }
    out.push(way as u8 | residues.zeros.to_le_bytes()[0] << WAY_BITS);
    put_varint(out, zigzag(*first));
    if let (Way::Step, Some(second)) = (way, numbers.get(1)) {
        put_varint(out, zigzag(second.wrapping_sub(*first)));
    }
    put_residues(out, &residues.left);
}

fn put_residues(out: &mut Vec<u8>, residues: &[u64]) {
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

/// Shows `count` residues in their order.
fn take_residues(bits: &[u8], mut count: usize, mut show: impl FnMut(u64) -> Option<()>) -> Option<()> {
    let mut bits = BitReader::new(bits);
    while count > 0 {
        let parameter = u32::try_from(bits.get(PARAMETER_BITS)?).ok()?;
        let of_block = BLOCK.min(count);
        for _ in 0..of_block {
            show(if parameter == ALL_ZERO { 0 } else { take(&mut bits, parameter)? })?;
        }
        count -= of_block;
    }
    Some(())
}

/// What stands before the residues of a column.
struct Head {
    way: Way,
    zeros: u32,
    /// Numbers that are written as they are, or of which the column is made.
    given: Vec<i64>,
}

impl Head {
    fn take(bytes: &mut &[u8]) -> Option<Head> {
        let (byte, mut rest) = bytes.split_first()?;
        let (way, zeros) = Way::from_byte(*byte)?;
        let mut given = Vec::new();
        if way == Way::Words {
            for _ in 0..usize::try_from(take_varint(&mut rest)?).ok().filter(|words| (2..=MAX_WORDS).contains(words))? {
                given.push(unzigzag(take_varint(&mut rest)?));
            }
        } else {
            given.push(unzigzag(take_varint(&mut rest)?));
            if way == Way::Step {
                given.push(given.first()?.wrapping_add(unzigzag(take_varint(&mut rest)?)));
            }
        }
        *bytes = rest;
        Some(Head { way, zeros, given })
    }
}

fn take_bits<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (bits, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(bits)
}

/// Takes a column of `count` numbers from the front of `bytes`; None when there is none.
pub fn decode(bytes: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let Head { way, zeros, given } = Head::take(bytes)?;
    let bits = take_bits(bytes)?;
    let first = *given.first()?;
    if way == Way::Constant {
        return bits.is_empty().then(|| vec![first; count]);
    }
    let mut numbers = Vec::with_capacity(count);
    if way == Way::Words {
        take_residues(bits, count, |at| {
            numbers.push(*given.get(usize::try_from(at).ok()?)?);
            Some(())
        })?;
        return Some(numbers);
    }
    let left = count.checked_sub(way.given())?;
    let (mut before, mut last) = (first, *given.last()?);
    numbers.extend(given);
    take_residues(bits, left, |left| {
        let number = way.foretold(first, before, last).wrapping_add(unzigzag(left) << zeros);
        (before, last) = (last, number);
        numbers.push(number);
        Some(())
    })?;
    Some(numbers)
}

/// Goes past a column of `count` numbers without reading them.
pub fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    let given = match Way::from_byte(*byte)?.0 {
        Way::Words => take_varint(bytes).filter(|words| (2..=MAX_WORDS as u64).contains(words))?,
        way => way.given() as u64,
    };
    for _ in 0..given {
        take_varint(bytes)?;
    }
    take_bits(bytes).map(drop)
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
            // A few different numbers, and pages of memory.
            (prop::collection::vec(any::<i64>(), 1..20), prop::collection::vec(any::<prop::sample::Index>(), 1..300))
                .prop_map(|(words, places)| places.iter().map(|place| *place.get(&words)).collect()),
            (any::<i64>(), 0u32..40, noise(300))
                .prop_map(|(level, zeros, noise)| { noise.iter().map(|n| level.wrapping_add(n.wrapping_shl(zeros))).collect() }),
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
            prop_assert_eq!(skip(&mut rest, numbers.len()), Some(()));
            prop_assert_eq!(rest, bytes.as_slice());
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
        let noise = |n: i64| (n * 7_919 % 64 - 32) * n % 50;
        let (plain, pages): (Vec<i64>, Vec<i64>) = (0..240).map(|n| (70_000 + noise(n), 70_000 + noise(n) * 16)).unzip();
        assert!(encoded(&pages).len() <= encoded(&plain).len() + 2, "pages cost what their number costs");
        let rates: Vec<i64> = (0..240).map(|n| if n * 7_919 % 13 < 3 { 1_500 } else { 600 }).collect();
        assert!(encoded(&rates).len() < 56, "{}", encoded(&rates).len());
    }
}
