//! As much of protobuf (proto3) as a transfer needs: integers and bytes, in the order of their fields.

const VARINT: u32 = 0;
const BYTES: u32 = 2;

#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Zero is left out, as proto3 does.
    pub fn integer(mut self, field: u32, value: u64) -> Writer {
        if value != 0 {
            self.varint(u64::from(field << 3 | VARINT));
            self.varint(value);
        }
        self
    }

    pub fn bytes(mut self, field: u32, value: &[u8]) -> Writer {
        self.varint(u64::from(field << 3 | BYTES));
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// Reads what `Writer` writes, in the same order. It accepts more than that (longer varints, explicit zeros); who needs to
/// know writes the value again and compares.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Zero when the next field is another one.
    pub fn integer(&mut self, field: u32) -> Option<u64> {
        if self.tag(field << 3 | VARINT) { self.varint() } else { Some(0) }
    }

    pub fn bytes(&mut self, field: u32) -> Option<&'a [u8]> {
        if !self.tag(field << 3 | BYTES) {
            return None;
        }
        let length = usize::try_from(self.varint()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    fn tag(&mut self, wanted: u32) -> bool {
        let mut ahead = Reader(self.0);
        let found = ahead.varint() == Some(u64::from(wanted));
        if found {
            self.0 = ahead.0;
        }
        found
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
