//! What manager and signer say to each other: a request, an answer, each one JSON text behind its length in four bytes.

use std::fmt;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::tron::{ReferenceBlock, Signature, SignedTransfer, TransferTransaction, Txid, hex_text};
use super::keystore::Passphrase;
use crate::domain::address::TronAddress;
use crate::domain::ids::PayoutId;

/// Longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 65_536;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    Unlock { passphrase: Passphrase },
    Lock,
    Sign(Box<SignRequest>),
}

/// One transfer to sign, by its fields: the signer builds the bytes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    pub payout_id: PayoutId,
    /// Rises with every attempt of the payout; counts from 1.
    pub attempt: u32,
    pub to: TronAddress,
    /// Smallest units of the token (micro-USDT).
    pub amount: u64,
    pub contract: TronAddress,
    pub reference: ReferenceBlock,
    /// Number of the reference block: a proof of death has to cover everything from there.
    pub reference_number: u64,
    pub expires_at_ms: i64,
    pub timestamp_ms: i64,
    /// Whoever asks knows of everything that was signed through this timestamp. Nothing is signed while there is more: somebody else uses the wallet.
    pub known_ms: i64,
    pub fee_limit_sun: u64,
    /// What became of the earlier transactions of this payout.
    #[serde(default)]
    pub previous: Vec<Resolution>,
}

/// Why an earlier transaction moves no money, now or ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case", deny_unknown_fields)]
pub enum Resolution {
    /// A final block is as late as its expiry, and none up to there holds it.
    Dead {
        txid: Txid,
        solid_block: u64,
        solid_timestamp_ms: i64,
        /// First and last block that were looked through, both included.
        scanned_from: u64,
        scanned_to: u64,
        /// Who else was asked besides the node: URLs or names.
        witnesses: Vec<String>,
    },
    /// It is in a final block and its call failed.
    FailedOnChain { txid: Txid, block: u64, result: String },
}

impl Resolution {
    pub fn txid(&self) -> Txid {
        match self {
            Resolution::Dead { txid, .. } | Resolution::FailedOnChain { txid, .. } => *txid,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status(Box<Status>),
    Done,
    Signed(Box<Signed>),
    Refused(Box<Refused>),
}

/// Who signs, for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// The account that pays.
    pub account: TronAddress,
    /// The address of the key that signs: the account itself, unless a permission of it was given to another key.
    pub key: TronAddress,
    pub permission_id: Option<NonZeroU32>,
}

/// What the signer may sign at all. Amounts in smallest units of the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    pub max_payout: u64,
    pub max_24h: u64,
    pub max_fee_sun: u64,
    pub contracts: Vec<TronAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub wallet: Wallet,
    pub unlocked: bool,
    pub caps: Caps,
    /// Signed in the last 24 h and not known to be dead or failed, in smallest units.
    pub spent_24h: u64,
    /// Of everything that was ever signed; higher than the last before the first.
    pub first_timestamp_ms: i64,
    pub last_timestamp_ms: i64,
    pub payouts: u64,
}

impl Status {
    /// Lowest and highest timestamp of anything that was signed.
    pub fn timestamps_ms(&self) -> Option<(i64, i64)> {
        (self.first_timestamp_ms <= self.last_timestamp_ms).then_some((self.first_timestamp_ms, self.last_timestamp_ms))
    }
}

/// A transaction that the signer signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    pub payout_id: PayoutId,
    pub attempt: u32,
    pub reference_number: u64,
    pub signed_at_ms: i64,
    pub transfer: TransferTransaction,
    #[serde(with = "hex_text")]
    pub raw: Vec<u8>,
    pub txid: Txid,
    pub signature: Signature,
}

impl Signed {
    pub fn of(request: &SignRequest, transfer: SignedTransfer, signed_at_ms: i64) -> Signed {
        let SignedTransfer { transfer, signature } = transfer;
        Signed {
            payout_id: request.payout_id.clone(),
            attempt: request.attempt,
            reference_number: request.reference_number,
            signed_at_ms,
            raw: transfer.raw(),
            txid: transfer.txid(),
            transfer,
            signature,
        }
    }

    /// The bytes that are broadcast.
    pub fn to_bytes(&self) -> Vec<u8> {
        SignedTransfer { transfer: self.transfer.clone(), signature: self.signature }.to_bytes()
    }

    /// Whether bytes, id and signature are those of the fields, and of this key.
    pub fn is_sound(&self, key: TronAddress) -> bool {
        self.raw == self.transfer.raw() && self.txid == self.transfer.txid() && self.signature.signer(&self.txid.0) == Some(key)
    }
}

/// Nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub name: Refusal,
    /// For a person.
    pub message: String,
    /// The transaction that exists: whoever lost it can take it over.
    pub existing: Option<Box<Signed>>,
    /// For `throttled`: how long to wait.
    pub retry_after_ms: Option<u64>,
}

/// The names of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not a request, or longer than one may be.
    Malformed,
    Locked,
    WrongPassphrase,
    /// Too many wrong passphrases.
    Throttled,
    /// The keystore cannot be read.
    Keystore,
    CapPerPayout,
    #[serde(rename = "cap_24h")]
    Cap24h,
    CapFee,
    ContractNotAllowed,
    OwnWallet,
    ZeroAddress,
    TokenAddress,
    AmountZero,
    /// Further than 24 h from the signer's own clock.
    ExpiresTooLate,
    /// Further than 24 h from the signer's own clock.
    TimestampOutOfRange,
    /// Not above everything that was ever signed.
    TimestampNotIncreasing,
    /// Something was signed that whoever asks does not know of.
    Unaccounted,
    /// The low bits of the number are not those of the reference.
    ReferenceInconsistent,
    /// The payout has a transaction that nothing is known of; it comes with the refusal.
    AlreadySigned,
    ResolutionInconsistent,
    AttemptNotIncreasing,
    TooManyAttempts,
    /// The log has no room, or the disk none.
    LogFull,
    /// The disk failed; the signer ends.
    DiskError,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Locked => "locked",
            Refusal::WrongPassphrase => "wrong_passphrase",
            Refusal::Throttled => "throttled",
            Refusal::Keystore => "keystore",
            Refusal::CapPerPayout => "cap_per_payout",
            Refusal::Cap24h => "cap_24h",
            Refusal::CapFee => "cap_fee",
            Refusal::ContractNotAllowed => "contract_not_allowed",
            Refusal::OwnWallet => "own_wallet",
            Refusal::ZeroAddress => "zero_address",
            Refusal::TokenAddress => "token_address",
            Refusal::AmountZero => "amount_zero",
            Refusal::ExpiresTooLate => "expires_too_late",
            Refusal::TimestampOutOfRange => "timestamp_out_of_range",
            Refusal::TimestampNotIncreasing => "timestamp_not_increasing",
            Refusal::Unaccounted => "unaccounted",
            Refusal::ReferenceInconsistent => "reference_inconsistent",
            Refusal::AlreadySigned => "already_signed",
            Refusal::ResolutionInconsistent => "resolution_inconsistent",
            Refusal::AttemptNotIncreasing => "attempt_not_increasing",
            Refusal::TooManyAttempts => "too_many_attempts",
            Refusal::LogFull => "log_full",
            Refusal::DiskError => "disk_error",
        }
    }

    pub fn because(self, message: impl Into<String>) -> Refused {
        Refused { name: self, message: message.into(), existing: None, retry_after_ms: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message behind its length, in one piece. Wiped when dropped: it may hold a passphrase.
pub fn frame(message: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(2_048));
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *out, message)?;
    let length = u32::try_from(out.len() - 4).ok().filter(|&length| fits(length)).ok_or(io::ErrorKind::InvalidData)?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

pub fn fits(length: u32) -> bool {
    usize::try_from(length).is_ok_and(|length| length <= MAX_MESSAGE_BYTES)
}

/// The text of the next message; `InvalidData` for one that is too long.
pub fn read_frame(from: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if !fits(length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    from.read_exact(&mut text)?;
    Ok(text)
}

pub fn write_frame(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_and_whole() {
        let framed = frame(&Request::Unlock { passphrase: Passphrase::new("correct horse") }).unwrap();
        let read = |bytes: &[u8]| read_frame(&mut &bytes[..]);
        assert_eq!(read(&framed).unwrap().as_slice(), &framed[4..]);
        assert!(matches!(serde_json::from_slice(&framed[4..]).unwrap(), Request::Unlock { .. }));
        for cut in 0..framed.len() {
            assert!(read(&framed[..cut]).is_err());
        }
        assert_eq!(read(&65_537u32.to_be_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(frame(&"x".repeat(MAX_MESSAGE_BYTES)).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"request":"sign_bytes"}"#).is_err());
    }

    #[test]
    fn refusals_are_written_by_their_names() {
        for name in [Refusal::Cap24h, Refusal::AlreadySigned, Refusal::TimestampNotIncreasing, Refusal::CapPerPayout] {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
