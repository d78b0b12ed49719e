//! Bits one after the other, the lowest bit of a byte first, and whole numbers as varints.

/// Writes bits.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are no whole byte yet, and how many.
    held: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `count` bits of `value`, at most 56.
    pub fn put(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 56);
        self.held |= (value & low(count)) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held.to_le_bytes()[0]);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// All 64 bits.
    pub fn put_whole(&mut self, value: u64) {
        self.put(value, 32);
        self.put(value >> 32, 32);
    }

    /// So many ones, and a zero.
    pub fn put_unary(&mut self, mut ones: u32) {
        while ones >= 32 {
            self.put(u64::MAX, 32);
            ones -= 32;
        }
        self.put(low(ones), ones + 1);
    }

    /// Filled up with zeros to whole bytes.
    pub fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.held.to_le_bytes()[0]);
        }
        self.bytes
    }
}

/// Reads bits; None behind the last one.
#[derive(Debug)]
pub struct BitReader<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { rest: bytes, held: 0, count: 0 }
    }

    /// Holds 56 bits at least, where so many are left.
    fn refill(&mut self) {
        // Whole words at once: a column is thousands of short numbers.
        if let Some(word) = self.rest.first_chunk::<8>() {
            let bytes = (63 - self.count) / 8;
            self.held |= u64::from_le_bytes(*word) << self.count;
            self.count += 8 * bytes;
            self.held &= low(self.count);
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            return;
        }
        while let (true, Some((byte, rest))) = (self.count <= 56, self.rest.split_first()) {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// At most 56 bits.
    pub fn get(&mut self, count: u32) -> Option<u64> {
        if self.count < count {
            self.refill();
        }
        let left = self.count.checked_sub(count)?;
        let value = self.held & low(count);
        self.held >>= count;
        self.count = left;
        Some(value)
    }

    pub fn get_whole(&mut self) -> Option<u64> {
        let lower = self.get(32)?;
        Some(lower | self.get(32)? << 32)
    }

    /// Ones before the next zero; None above `limit`, which is at most 55.
    pub fn get_unary(&mut self, limit: u32) -> Option<u32> {
        if self.count <= limit {
            self.refill();
        }
        let ones = self.held.trailing_ones();
        if ones > limit {
            return None;
        }
        self.get(ones + 1)?;
        Some(ones)
    }
}

/// So many ones.
fn low(count: u32) -> u64 {
    u64::MAX.checked_shr(64 - count).unwrap_or(0)
}

/// Seven bits a byte, the lowest first; the highest bit of a byte says that more follow.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [byte, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(byte & 0x7f);
        }
        out.push(byte | 0x80);
    }
}

/// None when the bytes end before it, or it is longer than it has to be.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..10u32 {
        let (byte, rest) = bytes.split_first()?;
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 || (at > 0 && *byte == 0) {
            return None;
        }
        value |= bits << (7 * at);
        *bytes = rest;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Small numbers of either sign as small numbers.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Put {
        Bits(u64, u32),
        Whole(u64),
        Unary(u32),
    }

    fn puts() -> impl Strategy<Value = Vec<Put>> {
        let put = prop_oneof![
            (any::<u64>(), 0u32..=56).prop_map(|(value, count)| Put::Bits(value & low(count), count)),
            any::<u64>().prop_map(Put::Whole),
            (0u32..56).prop_map(Put::Unary),
        ];
        prop::collection::vec(put, 0..200)
    }

    proptest! {
        #[test]
        fn bits_come_back_in_their_order(puts in puts()) {
            let mut out = BitWriter::default();
            for put in &puts {
                match put {
                    Put::Bits(value, count) => out.put(*value, *count),
                    Put::Whole(value) => out.put_whole(*value),
                    Put::Unary(ones) => out.put_unary(*ones),
                }
            }
            let bytes = out.finish();
            let mut read = BitReader::new(&bytes);
            for put in &puts {
                match put {
                    Put::Bits(value, count) => prop_assert_eq!(read.get(*count), Some(*value)),
                    Put::Whole(value) => prop_assert_eq!(read.get_whole(), Some(*value)),
                    Put::Unary(ones) => prop_assert_eq!(read.get_unary(55), Some(*ones)),
                }
            }
            prop_assert_eq!(read.get(8), None);
        }

        #[test]
        fn whole_numbers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut rest = out.as_slice();
            prop_assert_eq!((take_varint(&mut rest), rest.len()), (Some(value), 0));
            prop_assert_eq!(take_varint(&mut &out[..out.len() - 1]), None);
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn whatever_is_read_ends(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut read = BitReader::new(&bytes);
            while read.get_unary(30).is_some() || read.get(13).is_some() {}
            let mut rest = bytes.as_slice();
            while take_varint(&mut rest).is_some() {}
        }
    }

    #[test]
    fn a_number_has_one_form() {
        for bytes in [&[0x80, 0x00][..], &[0x80], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(take_varint(&mut &*bytes), None, "{bytes:?}");
        }
        assert_eq!(take_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..]), Some(u64::MAX));
    }
}
