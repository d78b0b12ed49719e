//! As much of the protobuf wire format as transactions and block headers need.

/// What a field holds on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// 32 or 64 bits: no field of ours has it, and it is skipped.
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads the fields of a message, one after the other.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        if length > self.0.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    /// The next field's number and value; none at the end.
    pub fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok(Some((tag >> 3, value)))
    }
}

/// Writes fields; defaults (zero, no bytes) are left out, as proto3 does.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    fn raw(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or(0));
    }

    pub fn varint(&mut self, number: u64, value: u64) {
        if value != 0 {
            self.raw(number << 3);
            self.raw(value);
        }
    }

    /// An int64: negative ones take ten bytes.
    pub fn int(&mut self, number: u64, value: i64) {
        self.varint(number, value.cast_unsigned());
    }

    pub fn bytes(&mut self, number: u64, value: &[u8]) {
        if !value.is_empty() {
            self.message(number, value);
        }
    }

    /// A message is written even when it is empty.
    pub fn message(&mut self, number: u64, value: &[u8]) {
        self.raw(number << 3 | 2);
        self.raw(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(value);
    }
}
