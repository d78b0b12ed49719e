//! A wallet, its caps and requests, for the tests beside this file.

use super::protocol::{Caps, Resolution, SignRequest, Signed, Wallet};
use crate::crypto::{SecretKey, unhex};
use crate::domain::address::TronAddress;
use crate::domain::ids::PayoutId;
use crate::gateways::payment::tron::{ReferenceBlock, WalletKey};

pub const PRIVATE_KEY: &str = "cf9fac0fde6c5d4dc0833a6c47f163c921000921118ae669d9d4b218d05dd4ab";
pub const USDT: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
pub const PAYEE: &str = "TSBJwRsyWccxj5tcS8tHGqAm79xQMLjA79";
/// Milliseconds between blocks, and from a request to its expiry.
pub const BLOCK_MS: i64 = 3_000;
pub const EXPIRY_MS: i64 = 600_000;
pub const START_MS: i64 = 1_790_000_000_000;

pub fn secret() -> SecretKey {
    SecretKey(unhex(PRIVATE_KEY).unwrap().try_into().unwrap())
}

pub fn key() -> WalletKey {
    WalletKey::from_secret(&secret()).unwrap()
}

pub fn tron(text: &str) -> TronAddress {
    TronAddress::parse(text).unwrap()
}

pub fn wallet() -> Wallet {
    let key = key().address();
    Wallet { account: key, key, permission_id: None }
}

pub fn caps() -> Caps {
    Caps { max_payout: 100, max_24h: 250, max_fee_sun: 30_000_000, contracts: vec![tron(USDT)] }
}

/// What a manager asks at `now_ms`, with that as the timestamp.
pub fn request(payout: &str, attempt: u32, amount: u64, now_ms: i64) -> SignRequest {
    let reference_number = block_at(now_ms);
    let mut id = [7; 32];
    id[..8].copy_from_slice(&reference_number.to_be_bytes());
    SignRequest {
        payout_id: PayoutId::parse(payout).unwrap(),
        attempt,
        to: tron(PAYEE),
        amount,
        contract: tron(USDT),
        reference: ReferenceBlock::from_block_id(&id),
        reference_number,
        expires_at_ms: now_ms + EXPIRY_MS,
        timestamp_ms: now_ms,
        known_ms: i64::MAX,
        fee_limit_sun: 10_000_000,
        previous: Vec::new(),
    }
}

pub fn block_at(ms: i64) -> u64 {
    (ms / BLOCK_MS) as u64
}

/// A proof that holds from ten minutes past the expiry on.
pub fn dead(signed: &Signed) -> Resolution {
    let solid_timestamp_ms = signed.transfer.expires_at_ms + BLOCK_MS;
    let solid_block = block_at(solid_timestamp_ms);
    let scanned_from = signed.reference_number;
    Resolution::Dead {
        txid: signed.txid,
        solid_block,
        solid_timestamp_ms,
        scanned_from,
        scanned_to: solid_block,
        witnesses: vec!["https://witness.example".into()],
    }
}

pub fn failed(signed: &Signed) -> Resolution {
    Resolution::FailedOnChain { txid: signed.txid, block: signed.reference_number + 5, result: "OUT_OF_ENERGY".into() }
}
