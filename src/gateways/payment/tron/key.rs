//! Keys and signatures of accounts: ECDSA over secp256k1, deterministic (RFC 6979), low s, recoverable.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};
use zeroize::ZeroizeOnDrop;

use super::hex_text;
use crate::crypto::SecretKey;
use crate::domain::address::TronAddress;

/// What wallets add to the recovery id in the last byte of a signature.
const RECOVERY_OFFSET: u8 = 27;

/// The private key of an account; wiped when dropped and never printed.
pub struct WalletKey(SigningKey);

/// The signing key wipes itself.
impl ZeroizeOnDrop for WalletKey {}

const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<SigningKey>();
};

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletKey({})", self.address())
    }
}

impl WalletKey {
    /// `None` for zero and for what is not below the order of the curve.
    pub fn from_secret(secret: &SecretKey) -> Option<WalletKey> {
        SigningKey::from_slice(&secret.0).ok().map(WalletKey)
    }

    pub fn address(&self) -> TronAddress {
        address_of(self.0.verifying_key())
    }

    /// Signs the id of a transaction; the same id gives the same signature.
    pub(super) fn sign(&self, txid: &[u8; 32]) -> Signature {
        let (signature, recovery) = self.0.sign_prehash_recoverable(txid);
        let mut out = [0; 65];
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = recovery.to_byte() + RECOVERY_OFFSET;
        Signature(out)
    }
}

/// The last 20 bytes of the Keccak-256 of the public point.
fn address_of(key: &VerifyingKey) -> TronAddress {
    let point = key.to_sec1_point(false);
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&hash[12..]);
    TronAddress::from_bytes(bytes)
}

/// r, s and 27 or 28.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "hex_text")] pub [u8; 65]);

impl Signature {
    /// The account whose key signed `txid`; `None` for a malformed signature, one with a high s, and another last byte.
    pub fn signer(&self, txid: &[u8; 32]) -> Option<TronAddress> {
        let (rs, v) = self.0.split_at(64);
        let recovery = RecoveryId::from_byte(v.first()?.checked_sub(RECOVERY_OFFSET)?).filter(|id| !id.is_x_reduced())?;
        let signature = EcdsaSignature::from_slice(rs).ok().filter(|s| s.normalize_s() == *s)?;
        VerifyingKey::recover_from_prehash(txid, &signature, recovery).ok().as_ref().map(address_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;
    use crate::domain::address::LucidAddress;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../../tests/fixtures/tron_vectors.json")).unwrap()
    }

    fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        unhex(value.as_str().unwrap()).unwrap().try_into().unwrap()
    }

    #[test]
    fn keys_addresses_and_public_points_agree_with_other_clients() {
        let vectors = vectors();
        let accounts = vectors["accounts"].as_array().unwrap();
        assert_eq!(accounts.len(), 5);
        for account in accounts {
            let key = WalletKey::from_secret(&SecretKey(bytes(&account["private_key"]))).unwrap();
            assert_eq!(key.address().to_string(), account["address"].as_str().unwrap());
            let point = key.0.verifying_key().to_sec1_point(false);
            assert_eq!(&point.as_bytes()[1..], bytes::<64>(&account["public_key_uncompressed_xy"]));
            assert_eq!(format!("{key:?}"), format!("WalletKey({})", key.address()), "no secret is printed");
        }
        assert!(WalletKey::from_secret(&SecretKey([0; 32])).is_none());
        assert!(WalletKey::from_secret(&SecretKey([255; 32])).is_none(), "beyond the order");
    }

    #[test]
    fn every_transaction_of_the_vectors_is_signed_the_same_and_recovers_to_its_owner() {
        let vectors = vectors();
        let default_key = &vectors["accounts"][0]["private_key"];
        for transaction in vectors["transactions"].as_array().unwrap() {
            // The two without a key are made from the fields of the first one. What they move, a memo and TRX, is never built here.
            let key = transaction.get("private_key").unwrap_or(default_key);
            let key = WalletKey::from_secret(&SecretKey(bytes(key))).unwrap();
            let txid: [u8; 32] = bytes(&transaction["txid"]);
            let signature = key.sign(&txid);
            assert_eq!(signature.0, bytes::<65>(&transaction["signature_tronweb_v27"]), "{}", transaction["name"]);
            assert_eq!(signature.signer(&txid), Some(key.address()));
            assert_eq!(crate::crypto::sha256(&unhex(transaction["raw_data_hex"].as_str().unwrap()).unwrap()), txid);
            if let Some(recovery) = transaction["recid"].as_u64() {
                let mut counted_from_zero = signature.0;
                counted_from_zero[64] -= RECOVERY_OFFSET;
                assert_eq!(u64::from(counted_from_zero[64]), recovery);
                assert_eq!(counted_from_zero, bytes::<65>(&transaction["signature_tronpy_v01"]));
            }
        }
    }

    #[test]
    fn addresses_of_both_kinds_are_judged_as_other_clients_do() {
        let vectors = vectors();
        let texts = |list: &Value| list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        for case in vectors["addresses"].as_array().unwrap() {
            assert_eq!(TronAddress::parse(case["input"].as_str().unwrap()).is_ok(), case["valid"] == true, "{case}");
        }
        for account in vectors["accounts"].as_array().unwrap() {
            let (tron, evm) = (account["address"].as_str().unwrap(), account["evm_hex_eip55"].as_str().unwrap());
            assert_eq!(TronAddress::parse(tron).unwrap().bytes(), LucidAddress::parse(evm).unwrap().bytes());
            assert_eq!(bytes::<21>(&account["address_hex"])[1..], *TronAddress::parse(tron).unwrap().bytes());
        }
        for network in ["mainnet", "nile", "shasta"] {
            let network = &vectors["networks"][network];
            assert_eq!(bytes::<21>(&network["usdt_hex"])[1..], *TronAddress::parse(network["usdt"].as_str().unwrap()).unwrap().bytes());
        }
        assert!(texts(&vectors["eip55"]["valid"]).iter().all(|text| LucidAddress::parse(text).is_ok()));
        assert!(texts(&vectors["eip55"]["invalid"]).iter().all(|text| LucidAddress::parse(text).is_err()));
    }

    #[test]
    fn signatures_seen_in_the_wild_recover_to_their_owners() {
        for capture in vectors()["documentation_signed_captures"].as_array().unwrap() {
            let mut signature: [u8; 65] = bytes(&capture["signature"]);
            assert_eq!(Signature(signature).signer(&bytes(&capture["txid"])), None, "written with 0 and 1: not our form");
            signature[64] += RECOVERY_OFFSET;
            let [version, address @ ..]: [u8; 21] = bytes(&capture["recovers_to_hex"]);
            assert_eq!(version, 0x41);
            assert_eq!(Signature(signature).signer(&bytes(&capture["txid"])), Some(TronAddress::from_bytes(address)));
            assert_eq!(crate::crypto::sha256(&unhex(capture["raw_data_hex"].as_str().unwrap()).unwrap()), bytes::<32>(&capture["txid"]));
        }
    }
}
