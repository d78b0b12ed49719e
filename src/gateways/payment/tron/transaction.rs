//! A TRC-20 transfer as a value, its bytes, and the strict reader of them.
//!
//! `Transaction{raw=1, signature=2}`; `raw{ref_block_bytes=1, ref_block_hash=4, expiration=8, contract=11, timestamp=14,
//! fee_limit=18}`; `Contract{type=1, parameter=2 (Any), Permission_id=5}`; `TriggerSmartContract{owner_address=1,
//! contract_address=2, data=4}`. Memos (10) and plain TRX transfers are never built.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::hex_text;
use super::key::{Signature, WalletKey};
use super::protobuf::{Reader, Writer};
use crate::crypto;
use crate::domain::address::TronAddress;

/// First byte of every address.
const ADDRESS_VERSION: u8 = 0x41;
/// `ContractType.TriggerSmartContract`.
const TRIGGER_SMART_CONTRACT: u64 = 31;
const TYPE_URL: &[u8] = b"type.googleapis.com/protocol.TriggerSmartContract";
/// First four bytes of the Keccak-256 of `transfer(address,uint256)`.
const TRANSFER_SELECTOR: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
/// Selector, address and amount, the last two in 32 bytes each.
const CALL_LEN: usize = 68;

/// Id of a transaction: SHA-256 of its raw bytes. The signature is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Txid(#[serde(with = "hex_text")] pub [u8; 32]);

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crypto::hex(&self.0))
    }
}

/// The block that a transaction builds on: it counts only in chains that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceBlock {
    /// The lowest 16 bits of the block's number.
    #[serde(with = "hex_text")]
    pub bytes: [u8; 2],
    /// Bytes 8 to 16 of the block's id.
    #[serde(with = "hex_text")]
    pub hash: [u8; 8],
}

impl ReferenceBlock {
    /// The id of a block begins with its number in 8 bytes.
    pub fn from_block_id(id: &[u8; 32]) -> ReferenceBlock {
        let [_, _, _, _, _, _, a, b, hash @ ..] = id;
        let [c, d, e, f, g, h, i, j, ..] = hash;
        ReferenceBlock { bytes: [*a, *b], hash: [*c, *d, *e, *f, *g, *h, *i, *j] }
    }

    pub fn is_of_number(&self, number: u64) -> bool {
        let [.., a, b] = number.to_be_bytes();
        self.bytes == [a, b]
    }
}

/// `amount` of the token `contract` from `owner` to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferTransaction {
    pub owner: TronAddress,
    pub contract: TronAddress,
    pub to: TronAddress,
    /// Smallest units of the token (micro-USDT).
    pub amount: u64,
    pub reference: ReferenceBlock,
    /// Unix milliseconds of the chain's time; it is in no block whose parent is as late as this.
    pub expires_at_ms: i64,
    /// Unix milliseconds. The chain does not look at it; it makes ids differ.
    pub timestamp_ms: i64,
    /// The most that the call may burn for energy.
    pub fee_limit_sun: u64,
    /// The permission of `owner` that signs; `None` is the owner's own.
    pub permission_id: Option<NonZeroU32>,
}

impl TransferTransaction {
    /// The protobuf bytes that are hashed and signed.
    pub fn raw(&self) -> Vec<u8> {
        let trigger = Writer::default().bytes(1, &versioned(&self.owner)).bytes(2, &versioned(&self.contract)).bytes(4, &self.call()).0;
        let parameter = Writer::default().bytes(1, TYPE_URL).bytes(2, &trigger).0;
        let permission = self.permission_id.map_or(0, |id| u64::from(id.get()));
        let contract = Writer::default().integer(1, TRIGGER_SMART_CONTRACT).bytes(2, &parameter).integer(5, permission).0;
        let head = Writer::default().bytes(1, &self.reference.bytes).bytes(4, &self.reference.hash);
        let dated = head.integer(8, self.expires_at_ms.cast_unsigned()).bytes(11, &contract);
        dated.integer(14, self.timestamp_ms.cast_unsigned()).integer(18, self.fee_limit_sun).0
    }

    pub fn txid(&self) -> Txid {
        Txid(crypto::sha256(&self.raw()))
    }

    pub fn sign(self, key: &WalletKey) -> SignedTransfer {
        let signature = key.sign(&self.txid().0);
        SignedTransfer { transfer: self, signature }
    }

    fn call(&self) -> [u8; CALL_LEN] {
        let mut call = [0; CALL_LEN];
        call[..4].copy_from_slice(&TRANSFER_SELECTOR);
        call[16..36].copy_from_slice(self.to.bytes());
        call[60..].copy_from_slice(&self.amount.to_be_bytes());
        call
    }

    /// Reads raw bytes that are exactly those which `raw` makes.
    pub fn read_raw(raw: &[u8]) -> Result<TransferTransaction, NotOurs> {
        read(raw).filter(|transfer| transfer.raw() == raw).ok_or(NotOurs)
    }
}

/// Bytes that are no transfer as this module writes it, whatever a node would make of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOurs;

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these bytes are no transfer of ours")
    }
}

/// A transfer with the one signature that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransfer {
    pub transfer: TransferTransaction,
    pub signature: Signature,
}

impl SignedTransfer {
    /// The bytes that are broadcast.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::default().bytes(1, &self.transfer.raw()).bytes(2, &self.signature.0).0
    }

    /// Reads bytes that are exactly those which `to_bytes` makes. Whose signature it is, `signer` tells.
    pub fn read(bytes: &[u8]) -> Result<SignedTransfer, NotOurs> {
        let mut reader = Reader(bytes);
        let raw = reader.bytes(1).ok_or(NotOurs)?;
        let signature = reader.bytes(2).and_then(|s| s.try_into().ok()).map(Signature).ok_or(NotOurs)?;
        let signed = SignedTransfer { transfer: TransferTransaction::read_raw(raw)?, signature };
        if signed.to_bytes() == bytes { Ok(signed) } else { Err(NotOurs) }
    }

    /// The transfer of such bytes, also where the signature was taken from them.
    pub fn read_transfer(bytes: &[u8]) -> Result<TransferTransaction, NotOurs> {
        if let Ok(signed) = SignedTransfer::read(bytes) {
            return Ok(signed.transfer);
        }
        let transfer = TransferTransaction::read_raw(Reader(bytes).bytes(1).ok_or(NotOurs)?)?;
        if Writer::default().bytes(1, &transfer.raw()).0 == bytes { Ok(transfer) } else { Err(NotOurs) }
    }

    /// The account whose key signed; `None` when no key did.
    pub fn signer(&self) -> Option<TronAddress> {
        self.signature.signer(&self.transfer.txid().0)
    }
}

fn versioned(address: &TronAddress) -> [u8; 21] {
    let mut out = [ADDRESS_VERSION; 21];
    out[1..].copy_from_slice(address.bytes());
    out
}

fn address(bytes: &[u8]) -> Option<TronAddress> {
    let (version, rest) = bytes.split_first()?;
    rest.try_into().ok().filter(|_| *version == ADDRESS_VERSION).map(TronAddress::from_bytes)
}

/// The fields of raw bytes, loosely: the caller writes them again and compares.
fn read(raw: &[u8]) -> Option<TransferTransaction> {
    let mut reader = Reader(raw);
    let reference = ReferenceBlock { bytes: reader.bytes(1)?.try_into().ok()?, hash: reader.bytes(4)?.try_into().ok()? };
    let expires_at_ms = reader.integer(8)?.cast_signed();
    let mut contract = Reader(reader.bytes(11)?);
    let timestamp_ms = reader.integer(14)?.cast_signed();
    let fee_limit_sun = reader.integer(18)?;
    let _type = contract.integer(1)?;
    let mut parameter = Reader(contract.bytes(2)?);
    let permission_id = NonZeroU32::new(u32::try_from(contract.integer(5)?).ok()?);
    let _type_url = parameter.bytes(1)?;
    let mut trigger = Reader(parameter.bytes(2)?);
    let (owner, contract) = (address(trigger.bytes(1)?)?, address(trigger.bytes(2)?)?);
    let call: &[u8; CALL_LEN] = trigger.bytes(4)?.try_into().ok()?;
    let to = TronAddress::from_bytes(call.get(16..36)?.try_into().ok()?);
    let amount = u64::from_be_bytes(call.get(60..)?.try_into().ok()?);
    Some(TransferTransaction { owner, contract, to, amount, reference, expires_at_ms, timestamp_ms, fee_limit_sun, permission_id })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::crypto::{SecretKey, unhex};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../../tests/fixtures/tron_vectors.json")).unwrap()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        unhex(value.as_str().unwrap()).unwrap()
    }

    fn fixed<const N: usize>(value: &Value) -> [u8; N] {
        bytes(value).try_into().unwrap()
    }

    fn hex_address(value: &Value) -> TronAddress {
        address(&bytes(value)).unwrap()
    }

    fn transfer_of(vector: &Value) -> TransferTransaction {
        TransferTransaction {
            owner: hex_address(&vector["owner_hex"]),
            contract: hex_address(&vector["contract_hex"]),
            to: hex_address(&vector["to_hex"]),
            amount: vector["amount_units"].as_u64().unwrap(),
            reference: ReferenceBlock::from_block_id(&fixed(&vector["ref_block_id"])),
            expires_at_ms: vector["expiration_ms"].as_i64().unwrap(),
            timestamp_ms: vector["timestamp_ms"].as_i64().unwrap(),
            fee_limit_sun: vector["fee_limit_sun"].as_u64().unwrap(),
            permission_id: None,
        }
    }

    /// The five transfers; the sixth of the kind has a memo, which is never built.
    fn transfers() -> Vec<Value> {
        let vectors = vectors();
        let all = vectors["transactions"].as_array().unwrap().iter();
        let found: Vec<_> = all.filter(|v| v["kind"] == "trc20_transfer" && v.get("memo_utf8").is_none()).cloned().collect();
        assert_eq!(found.len(), 5);
        found
    }

    #[test]
    fn transfers_agree_with_other_clients_byte_by_byte() {
        for vector in transfers() {
            let transfer = transfer_of(&vector);
            let name = &vector["name"];
            for (role, found) in [("owner", transfer.owner), ("to", transfer.to), ("contract", transfer.contract)] {
                assert_eq!(vector[role].as_str(), Some(found.to_string().as_str()));
            }
            assert_eq!(transfer.reference.bytes, fixed::<2>(&vector["ref_block_bytes"]), "{name}");
            assert_eq!(transfer.reference.hash, fixed::<8>(&vector["ref_block_hash"]), "{name}");
            let number = u64::from_be_bytes(bytes(&vector["ref_block_id"])[..8].try_into().unwrap());
            assert!(transfer.reference.is_of_number(number) && !transfer.reference.is_of_number(number + 1));
            assert_eq!(transfer.call().to_vec(), bytes(&vector["abi_data"]), "{name}");
            assert_eq!(transfer.raw(), bytes(&vector["raw_data_hex"]), "{name}");
            assert_eq!(Some(transfer.txid().to_string().as_str()), vector["txid"].as_str(), "{name}");
            let key = WalletKey::from_secret(&SecretKey(fixed(&vector["private_key"]))).unwrap();
            let signed = transfer.clone().sign(&key);
            assert_eq!(signed.signature.0, fixed::<65>(&vector["signature_tronweb_v27"]), "{name}");
            assert_eq!(signed.signature.0[..64], bytes(&vector["signature_r_s"]), "{name}");
            assert_eq!(signed.to_bytes(), bytes(&vector["signed_tx_hex_v27"]), "{name}");
            assert_eq!(Some(signed.to_bytes().len() as u64), vector["signed_tx_bytes"].as_u64());
            assert_eq!(SignedTransfer::read(&signed.to_bytes()).as_ref(), Ok(&signed), "{name}");
            assert_eq!((signed.signer(), &signed.transfer), (Some(transfer.owner), &transfer), "{name}");
        }
    }

    #[test]
    fn the_same_payout_with_another_timestamp_is_another_transaction() {
        let [first, .., last] = &transfers()[..] else { panic!("five transfers") };
        let (first, last) = (transfer_of(first), transfer_of(last));
        assert_eq!(TransferTransaction { timestamp_ms: last.timestamp_ms, ..first.clone() }, last);
        assert_ne!(first.txid(), last.txid());
    }

    #[test]
    fn what_a_real_node_built_is_built_the_same() {
        let capture = &vectors()["node_capture"];
        let call: [u8; CALL_LEN] = fixed(&capture["abi_data"]);
        let transfer = TransferTransaction {
            owner: hex_address(&capture["owner_hex"]),
            contract: hex_address(&capture["contract_hex"]),
            to: TronAddress::from_bytes(call[16..36].try_into().unwrap()),
            amount: 100,
            reference: ReferenceBlock { bytes: fixed(&capture["ref_block_bytes"]), hash: fixed(&capture["ref_block_hash"]) },
            expires_at_ms: capture["expiration_ms"].as_i64().unwrap(),
            timestamp_ms: capture["timestamp_ms"].as_i64().unwrap(),
            fee_limit_sun: capture["fee_limit_sun"].as_u64().unwrap(),
            permission_id: None,
        };
        assert_eq!(transfer.call(), call);
        assert_eq!(transfer.raw(), bytes(&capture["raw_data_hex"]));
        assert_eq!(Some(transfer.txid().to_string().as_str()), capture["txid"].as_str());
        assert_eq!(TransferTransaction::read_raw(&transfer.raw()), Ok(transfer));
    }

    #[test]
    fn memos_and_plain_transfers_are_nothing_of_ours() {
        let vectors = vectors();
        let others =
            vectors["transactions"].as_array().unwrap().iter().filter(|v| v.get("memo_utf8").is_some() || v["kind"] == "trx_transfer");
        let others: Vec<_> = others.map(|v| bytes(&v["raw_data_hex"])).collect();
        assert_eq!(others.len(), 2);
        for raw in others {
            assert_eq!(TransferTransaction::read_raw(&raw), Err(NotOurs));
        }
    }

    #[test]
    fn a_permission_id_is_field_five_of_the_contract() {
        let vector = &transfers()[0];
        let plain = transfer_of(vector);
        let active = TransferTransaction { permission_id: NonZeroU32::new(2), ..plain.clone() };
        let (plain, active_raw) = (plain.raw(), active.raw());
        // Two bytes more: 28 02 after the parameter, and the length of the contract counts them.
        let at = plain.len() - 13;
        assert_eq!((&active_raw[at..at + 2], active_raw.len()), (&[0x28, 0x02][..], plain.len() + 2));
        assert_eq!(active_raw[at + 2..], plain[at..]);
        assert_eq!(TransferTransaction::read_raw(&active_raw), Ok(active));
    }

    fn any_transfer() -> impl Strategy<Value = TransferTransaction> {
        let address = || any::<[u8; 20]>().prop_map(TronAddress::from_bytes);
        let numbers = (any::<u64>(), any::<i64>(), any::<i64>(), prop_oneof![Just(0), any::<u64>()], any::<u32>());
        (address(), address(), address(), any::<[u8; 2]>(), any::<[u8; 8]>(), numbers).prop_map(
            |(owner, contract, to, bytes, hash, (amount, expires_at_ms, timestamp_ms, fee_limit_sun, permission))| TransferTransaction {
                owner,
                contract,
                to,
                amount,
                reference: ReferenceBlock { bytes, hash },
                expires_at_ms,
                timestamp_ms,
                fee_limit_sun,
                permission_id: NonZeroU32::new(permission),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_written_is_read_and_nothing_else(transfer in any_transfer(), secret in any::<[u8; 32]>()) {
            let Some(key) = WalletKey::from_secret(&SecretKey(secret)) else { return Ok(()) };
            let signed = transfer.clone().sign(&key);
            let bytes = signed.to_bytes();
            prop_assert_eq!(SignedTransfer::read(&bytes), Ok(signed.clone()));
            prop_assert_eq!(signed.signer(), Some(key.address()));
            let unsigned = Writer::default().bytes(1, &transfer.raw()).0;
            prop_assert_eq!(&SignedTransfer::read_transfer(&bytes), &Ok(transfer.clone()));
            prop_assert_eq!(&SignedTransfer::read_transfer(&unsigned), &Ok(transfer.clone()));
            for cut in 0..unsigned.len() {
                prop_assert_eq!(SignedTransfer::read_transfer(&unsigned[..cut]), Err(NotOurs));
            }
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = SignedTransfer::read(&other) {
                    // What still reads is another transaction, or nobody's signature; recovering takes long, so only where it decides.
                    let same = read.transfer.txid() == transfer.txid();
                    prop_assert!(!same || read.signature != signed.signature, "bit {}", bit);
                    if same && bit % 37 == 0 {
                        prop_assert_ne!(read.signer(), Some(key.address()), "bit {}", bit);
                    }
                }
            }
            for cut in 0..bytes.len() {
                prop_assert_eq!(SignedTransfer::read(&bytes[..cut]), Err(NotOurs));
            }
        }
    }
}
