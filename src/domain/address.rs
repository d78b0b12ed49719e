//! Where money may go: TRON addresses for USDT, EIP-55 addresses for LUCID, and the wait after a change.
//!
//! The form of an address is checked strictly: what re-encodes differently, or carries no checksum, is refused.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use super::money::Currency;
use super::time::{Now, Timestamp};
use crate::crypto;

/// Version byte of TRON addresses.
const TRON_VERSION: u8 = 0x41;
const TRON_CHARS: usize = 34;
/// USDT contracts by network: tokens sent to them are lost.
const USDT_CONTRACTS: [&str; 3] = [
    "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", // mainnet
    "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf", // Nile
    "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs", // Shasta
];

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// Not the length or the first characters of this currency's addresses.
    Form(Currency),
    Alphabet,
    Checksum,
    Version,
    Zero,
    TokenContract,
    OwnWallet,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Form(Currency::Usdt) => "must be a TRON address: T and 33 more characters",
            AddressError::Form(Currency::Lucid) => "must be 0x and 40 hex digits with mixed-case checksum",
            AddressError::Alphabet => "has a character that addresses do not have",
            AddressError::Checksum => "has a wrong checksum; copy it again",
            AddressError::Version => "is an address of another network",
            AddressError::Zero => "is the zero address: what is sent there is lost",
            AddressError::TokenContract => "is a token contract: what is sent there is lost",
            AddressError::OwnWallet => "is the wallet that pays",
        })
    }
}

/// A TRON account, by its 20 bytes; its text form in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TronAddress([u8; 20]);

impl TronAddress {
    pub const fn from_bytes(bytes: [u8; 20]) -> TronAddress {
        TronAddress(bytes)
    }

    /// Strict base58check: 34 characters, T, 21 bytes, version 0x41, checksum, and it re-encodes to itself.
    pub fn parse(text: &str) -> Result<TronAddress, AddressError> {
        if text.len() != TRON_CHARS || !text.starts_with('T') {
            return Err(AddressError::Form(Currency::Usdt));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| AddressError::Alphabet)?;
        let (payload, checksum) = bytes.split_at_checked(21).ok_or(AddressError::Form(Currency::Usdt))?;
        if checksum != base58_checksum(payload) {
            return Err(AddressError::Checksum);
        }
        let (version, body) = payload.split_at(1);
        if version != [TRON_VERSION] {
            return Err(AddressError::Version);
        }
        let address = TronAddress(body.try_into().map_err(|_| AddressError::Form(Currency::Usdt))?);
        if address.to_string() == text { Ok(address) } else { Err(AddressError::Form(Currency::Usdt)) }
    }

    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl TryFrom<String> for TronAddress {
    type Error = String;
    fn try_from(text: String) -> Result<TronAddress, String> {
        TronAddress::parse(&text).map_err(|e| format!("the address {e}"))
    }
}

impl From<TronAddress> for String {
    fn from(address: TronAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for TronAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![TRON_VERSION];
        bytes.extend_from_slice(&self.0);
        let checksum = base58_checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

/// First four bytes of a double SHA-256.
fn base58_checksum(payload: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = crypto::sha256(&crypto::sha256(payload));
    [a, b, c, d]
}

/// A LUCID account, by its 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LucidAddress([u8; 20]);

impl LucidAddress {
    /// `0x` and 40 hex digits in the mixed case of EIP-55; one case alone carries no checksum and is refused.
    pub fn parse(text: &str) -> Result<LucidAddress, AddressError> {
        let form = AddressError::Form(Currency::Lucid);
        let digits = text.strip_prefix("0x").filter(|d| d.len() == 40).ok_or(form)?;
        let bytes = crypto::unhex(digits).ok_or(AddressError::Alphabet)?;
        let address = LucidAddress(bytes.try_into().map_err(|_| form)?);
        if address.0 == [0; 20] {
            return Err(AddressError::Zero);
        }
        let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
        if !mixed {
            return Err(form);
        }
        if address.to_string() == text { Ok(address) } else { Err(AddressError::Checksum) }
    }

    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for LucidAddress {
    /// EIP-55: a letter is upper case where the Keccak-256 of the lower-case digits has a nibble of 8 or more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = crypto::hex(&self.0);
        let hash = crypto::hex(&Keccak256::digest(digits.as_bytes()));
        f.write_str("0x")?;
        for (digit, nibble) in digits.chars().zip(hash.bytes()) {
            let face = if nibble >= b'8' { digit.to_ascii_uppercase() } else { digit };
            write!(f, "{face}")?;
        }
        Ok(())
    }
}

/// Its last four characters, of whatever names an account.
pub fn masked(text: &str) -> String {
    let shown = text.char_indices().rev().nth(3).map_or("", |(at, _)| &text[at..]);
    format!("…{shown}")
}

/// An address that is well formed for its currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(Currency, String)", into = "(Currency, String)")]
pub struct PayoutAddress {
    currency: Currency,
    text: String,
}

impl PayoutAddress {
    pub fn parse(text: &str, currency: Currency) -> Result<PayoutAddress, AddressError> {
        match currency {
            Currency::Usdt => TronAddress::parse(text).map(drop)?,
            Currency::Lucid => LucidAddress::parse(text).map(drop)?,
        }
        Ok(PayoutAddress { currency, text: text.to_owned() })
    }

    /// Refuses what must never be paid: the zero address, token contracts, that of the token which is paid (`contract`) among them, the wallets that pay.
    pub fn check_payable(&self, own_wallets: &[TronAddress], contract: &str) -> Result<(), AddressError> {
        let bytes = match self.currency {
            Currency::Usdt => TronAddress::parse(&self.text)?.0,
            Currency::Lucid => LucidAddress::parse(&self.text)?.0,
        };
        if bytes == [0; 20] {
            return Err(AddressError::Zero);
        }
        if self.text == contract || USDT_CONTRACTS.contains(&self.text.as_str()) {
            return Err(AddressError::TokenContract);
        }
        if own_wallets.iter().any(|own| own.0 == bytes) {
            return Err(AddressError::OwnWallet);
        }
        Ok(())
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Enough to recognise an address that one knows: its last four characters.
    pub fn masked(&self) -> String {
        masked(&self.text)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PayoutAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<(Currency, String)> for PayoutAddress {
    type Error = String;
    fn try_from((currency, text): (Currency, String)) -> Result<PayoutAddress, String> {
        PayoutAddress::parse(&text, currency).map_err(|e| format!("the address {e}"))
    }
}

impl From<PayoutAddress> for (Currency, String) {
    fn from(address: PayoutAddress) -> (Currency, String) {
        (address.currency, address.text)
    }
}

/// Default and longest wait after a change, in hours.
pub const DEFAULT_COOLDOWN_HOURS: u32 = 24;
pub const MAX_COOLDOWN_HOURS: u32 = 30 * 24;

/// The address of a node, with its wait: a thief of a session gains a day's notice, not a payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    pub address: PayoutAddress,
    pub changed_at: Timestamp,
    pub active_from: Timestamp,
}

impl AddressRecord {
    /// The record after somebody registered `address`. The same address again keeps its record; the first address of a node
    /// waits as a changed one does.
    pub fn register(previous: Option<&AddressRecord>, address: PayoutAddress, now: Now, cooldown_hours: u32) -> AddressRecord {
        match previous {
            Some(same) if same.address == address => same.clone(),
            _ => {
                let wait_seconds = i64::from(cooldown_hours.min(MAX_COOLDOWN_HOURS)) * 3_600;
                AddressRecord { address, changed_at: now.wall, active_from: now.wall.plus_seconds(wait_seconds) }
            }
        }
    }

    pub fn is_active(&self, now: Timestamp) -> bool {
        now >= self.active_from
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::time::BootMs;

    /// Facts: published vectors and cases that two independent TRON libraries agree on.
    #[derive(Deserialize)]
    struct Fixture {
        tron: Vec<Case>,
        eip55_valid: Vec<String>,
        eip55_invalid: Vec<String>,
        same_account: Vec<(String, String, String)>,
    }

    #[derive(Deserialize)]
    struct Case {
        input: String,
        valid: bool,
        why: String,
    }

    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../tests/fixtures/tron_addresses.json")).unwrap()
    }

    const GOOD: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
    /// A token of somebody's own network.
    const OF_OURS: &str = "TJ36JAfgcokzhLaxKgfTEd9RhgSiQRTDt1";

    #[test]
    fn tron_addresses_agree_with_the_published_cases() {
        for case in fixture().tron {
            assert_eq!(TronAddress::parse(&case.input).is_ok(), case.valid, "{:?}: {}", case.input, case.why);
        }
    }

    #[test]
    fn eip55_agrees_with_the_published_cases() {
        let f = fixture();
        for text in &f.eip55_valid {
            assert_eq!(LucidAddress::parse(text).map(|a| a.to_string()).as_ref(), Ok(text));
            assert!(LucidAddress::parse(&text.to_lowercase()).is_err(), "one case carries no checksum");
        }
        for text in &f.eip55_invalid {
            assert!(LucidAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_forms_name_the_same_twenty_bytes() {
        for (tron, hex, eip55) in fixture().same_account {
            let (a, b) = (TronAddress::parse(&tron).unwrap(), LucidAddress::parse(&eip55).unwrap());
            assert_eq!(a.bytes(), b.bytes());
            assert_eq!(hex, format!("41{}", crypto::hex(a.bytes())));
        }
    }

    #[test]
    fn every_single_character_mistake_is_caught() {
        for i in 0..GOOD.len() {
            for c in ['1', 'z', 'T', 'k', '0', 'é'] {
                let typo: String = GOOD.chars().enumerate().map(|(at, old)| if at == i { c } else { old }).collect();
                assert_eq!(TronAddress::parse(&typo).is_ok(), typo == GOOD, "{typo}");
            }
        }
    }

    #[test]
    fn errors_name_the_cause() {
        let tron = |t: &str| TronAddress::parse(t).unwrap_err();
        assert_eq!(tron(&GOOD[1..]), AddressError::Form(Currency::Usdt));
        assert_eq!(tron("TRRnbVkcAd0FDmqUJWRht41RneEvv7rqv3"), AddressError::Alphabet);
        assert_eq!(tron("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv4"), AddressError::Checksum);
        assert_eq!(tron("TpmPac3tsoy83CyZKvm2NBHDR9VsbmAwvY"), AddressError::Version);
        assert_eq!(LucidAddress::parse(&format!("0x{}", "0".repeat(40))), Err(AddressError::Zero));
    }

    #[test]
    fn what_must_never_be_paid() {
        let own = TronAddress::parse(GOOD).unwrap();
        let check = |text: &str, currency| PayoutAddress::parse(text, currency).unwrap().check_payable(&[own], OF_OURS);
        assert_eq!(check("T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb", Currency::Usdt), Err(AddressError::Zero));
        for contract in USDT_CONTRACTS.into_iter().chain([OF_OURS]) {
            assert_eq!(check(contract, Currency::Usdt), Err(AddressError::TokenContract));
        }
        assert_eq!(check(GOOD, Currency::Usdt), Err(AddressError::OwnWallet));
        assert_eq!(check("0xa990bE91eAd5ec2aB7C2816fFF5380C432315B0c", Currency::Lucid), Err(AddressError::OwnWallet));
        assert_eq!(check("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Currency::Lucid), Ok(()));
    }

    #[test]
    fn a_masked_address_shows_four_characters() {
        let address = PayoutAddress::parse(GOOD, Currency::Usdt).unwrap();
        assert_eq!(address.masked(), format!("…{}", &GOOD[GOOD.len() - 4..]));
    }

    #[test]
    fn stored_addresses_are_checked_when_read() {
        let a = PayoutAddress::parse(GOOD, Currency::Usdt).unwrap();
        let stored = postcard::to_stdvec(&a).unwrap();
        assert_eq!(postcard::from_bytes::<PayoutAddress>(&stored).unwrap(), a);
        let other = postcard::to_stdvec(&(Currency::Lucid, GOOD.to_owned())).unwrap();
        assert!(postcard::from_bytes::<PayoutAddress>(&other).is_err());
    }

    #[test]
    fn a_changed_address_waits_and_the_same_one_does_not_wait_again() {
        let at = |s: i64| Now { wall: Timestamp::from_seconds(s), boot: BootMs(0), trusted: true };
        let first = AddressRecord::register(None, PayoutAddress::parse(GOOD, Currency::Usdt).unwrap(), at(0), 24);
        assert!(!first.is_active(Timestamp::from_seconds(86_399)));
        assert!(first.is_active(Timestamp::from_seconds(86_400)));
        assert_eq!(AddressRecord::register(Some(&first), first.address.clone(), at(100), 24), first);
        let lucid = PayoutAddress::parse("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Currency::Lucid).unwrap();
        assert_eq!(AddressRecord::register(Some(&first), lucid, at(100), 0).active_from, Timestamp::from_seconds(100));
    }
}
