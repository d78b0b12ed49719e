//! The bytes that hashes and signatures cover: a tag that ends with a NUL, then fields in order. Integers are big-endian and of fixed width, texts
//! stand behind their length in two bytes, what may be absent behind a byte 0 or 1.

use super::merkle::Hash;

#[derive(Debug, Default)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    pub fn new(tag: &str) -> Canonical {
        let mut bytes = Vec::with_capacity(320);
        bytes.extend_from_slice(tag.as_bytes());
        bytes.push(0);
        Canonical(bytes)
    }

    pub fn u8(mut self, value: u8) -> Canonical {
        self.0.push(value);
        self
    }

    pub fn flag(self, value: bool) -> Canonical {
        self.u8(u8::from(value))
    }

    pub fn u16(self, value: u16) -> Canonical {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u32(self, value: u32) -> Canonical {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u64(self, value: u64) -> Canonical {
        self.bytes(&value.to_be_bytes())
    }

    pub fn i64(self, value: i64) -> Canonical {
        self.bytes(&value.to_be_bytes())
    }

    pub fn i128(self, value: i128) -> Canonical {
        self.bytes(&value.to_be_bytes())
    }

    pub fn hash(self, value: &Hash) -> Canonical {
        self.bytes(value)
    }

    /// Of at most 65,535 bytes; ids and codes are far shorter.
    pub fn text(self, value: &str) -> Canonical {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(length).bytes(value.as_bytes())
    }

    pub fn option<T>(self, value: Option<T>, put: impl FnOnce(Canonical, T) -> Canonical) -> Canonical {
        match value {
            None => self.u8(0),
            Some(value) => put(self.u8(1), value),
        }
    }

    pub fn bytes(mut self, value: &[u8]) -> Canonical {
        self.0.extend_from_slice(value);
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}
