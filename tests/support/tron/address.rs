//! Addresses, hashes, hexadecimal.

use std::fmt;

use sha2::{Digest, Sha256};
use sha3::Keccak256;

/// 32 bytes: a block id or a transaction id.
pub type Hash = [u8; 32];

pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub fn keccak256(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}

pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

pub fn hash_of(text: &str) -> Option<Hash> {
    unhex(text)?.try_into().ok()
}

/// 0x41 and the 20 bytes that the virtual machine knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 21]);

impl Address {
    pub fn of_body(body: [u8; 20]) -> Address {
        let mut bytes = [0x41; 21];
        bytes[1..].copy_from_slice(&body);
        Address(bytes)
    }

    /// The last 20 bytes of the hash of a public key's x and y.
    pub fn of_public_key(xy: &[u8]) -> Address {
        let hash = keccak256(xy);
        let mut body = [0; 20];
        body.copy_from_slice(&hash[12..]);
        Address::of_body(body)
    }

    pub fn of_private_key(key: &Hash) -> Option<Address> {
        let key = k256::ecdsa::SigningKey::from_slice(key).ok()?;
        Some(Address::of_public_key(&key.verifying_key().to_sec1_point(false).as_bytes()[1..]))
    }

    /// An address whose key nobody has; the same label gives the same one.
    pub fn labelled(label: &str) -> Address {
        Address::of_public_key(label.as_bytes())
    }

    pub fn from_slice(bytes: &[u8]) -> Option<Address> {
        let bytes: [u8; 21] = bytes.try_into().ok()?;
        (bytes[0] == 0x41).then_some(Address(bytes))
    }

    pub fn from_hex(text: &str) -> Option<Address> {
        Address::from_slice(&unhex(text)?)
    }

    pub fn from_base58(text: &str) -> Option<Address> {
        let bytes = bs58::decode(text).into_vec().ok()?;
        let (payload, checksum) = bytes.split_at_checked(21)?;
        (checksum == &sha256(&sha256(payload))[..4]).then(|| Address::from_slice(payload))?
    }

    /// Either form.
    pub fn parse(text: &str) -> Option<Address> {
        Address::from_base58(text).or_else(|| Address::from_hex(text))
    }

    /// The 20 bytes without the prefix, as logs and ABI words have them.
    pub fn body(&self) -> &[u8] {
        &self.0[1..]
    }

    /// An ABI word: 12 zero bytes, then the body.
    pub fn word(&self) -> Hash {
        let mut word = [0; 32];
        word[12..].copy_from_slice(self.body());
        word
    }

    /// The address of an ABI word. The token ignores what stands before it.
    pub fn from_word(word: &Hash) -> Address {
        let mut body = [0; 20];
        body.copy_from_slice(&word[12..]);
        Address::of_body(body)
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    pub fn base58(&self) -> String {
        bs58::encode([&self.0[..], &sha256(&sha256(&self.0))[..4]].concat()).into_string()
    }

    pub fn text(&self, visible: bool) -> String {
        if visible { self.base58() } else { self.hex() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base58())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base58())
    }
}
