//! Transactions as they come over the wire: decoded from the field numbers of TRON's protocol, hashed, and their signers recovered.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

use super::address::{Address, Hash, sha256};
use super::protobuf::{Malformed, Reader, Value, Writer};

/// What a node adds to the size of a transaction when it counts bandwidth.
pub const RESULT_BYTES: i64 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// TRX from one account to another, in sun.
    Transfer {
        owner: Address,
        to: Address,
        amount: i64,
    },
    TriggerSmartContract {
        owner: Address,
        contract: Address,
        call_value: i64,
        data: Vec<u8>,
    },
}

impl Call {
    pub fn owner(&self) -> Address {
        match self {
            Call::Transfer { owner, .. } | Call::TriggerSmartContract { owner, .. } => *owner,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Call::Transfer { .. } => "TransferContract",
            Call::TriggerSmartContract { .. } => "TriggerSmartContract",
        }
    }

    /// The number of the contract's type: 1 and 31.
    fn kind(&self) -> u64 {
        match self {
            Call::Transfer { .. } => 1,
            Call::TriggerSmartContract { .. } => 31,
        }
    }

    pub fn type_url(&self) -> String {
        format!("type.googleapis.com/protocol.{}", self.name())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Call::Transfer { owner, to, amount } => {
                out.bytes(1, &owner.0);
                out.bytes(2, &to.0);
                out.int(3, *amount);
            }
            Call::TriggerSmartContract { owner, contract, call_value, data } => {
                out.bytes(1, &owner.0);
                out.bytes(2, &contract.0);
                out.int(3, *call_value);
                out.bytes(4, data);
            }
        }
        out.0
    }
}

/// The part that is hashed and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub ref_block_bytes: Vec<u8>,
    pub ref_block_hash: Vec<u8>,
    pub expiration_ms: i64,
    pub data: Vec<u8>,
    pub call: Call,
    pub permission_id: i64,
    pub timestamp_ms: i64,
    pub fee_limit: i64,
}

impl Raw {
    /// In the order of the field numbers, as every client writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut any = Writer::default();
        any.bytes(1, self.call.type_url().as_bytes());
        any.bytes(2, &self.call.encode());
        let mut contract = Writer::default();
        contract.varint(1, self.call.kind());
        contract.message(2, &any.0);
        contract.int(5, self.permission_id);
        let mut raw = Writer::default();
        raw.bytes(1, &self.ref_block_bytes);
        raw.bytes(4, &self.ref_block_hash);
        raw.int(8, self.expiration_ms);
        raw.bytes(10, &self.data);
        raw.message(11, &contract.0);
        raw.int(14, self.timestamp_ms);
        raw.int(18, self.fee_limit);
        raw.0
    }

    fn decode(bytes: &[u8]) -> Result<Raw, Malformed> {
        let (mut ref_block_bytes, mut ref_block_hash, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let (mut expiration_ms, mut timestamp_ms, mut fee_limit) = (0, 0, 0);
        let mut contract = None;
        let mut reader = Reader(bytes);
        while let Some(field) = reader.field()? {
            match field {
                (1, Value::Bytes(bytes)) => ref_block_bytes = bytes.to_vec(),
                (4, Value::Bytes(bytes)) => ref_block_hash = bytes.to_vec(),
                (8, Value::Varint(value)) => expiration_ms = value.cast_signed(),
                (10, Value::Bytes(bytes)) => data = bytes.to_vec(),
                // java-tron refuses a second contract.
                (11, Value::Bytes(_)) if contract.is_some() => return Err(Malformed),
                (11, Value::Bytes(bytes)) => contract = Some(decode_contract(bytes)?),
                (14, Value::Varint(value)) => timestamp_ms = value.cast_signed(),
                (18, Value::Varint(value)) => fee_limit = value.cast_signed(),
                _ => {}
            }
        }
        let (call, permission_id) = contract.ok_or(Malformed)?;
        Ok(Raw { ref_block_bytes, ref_block_hash, expiration_ms, data, call, permission_id, timestamp_ms, fee_limit })
    }
}

fn decode_contract(bytes: &[u8]) -> Result<(Call, i64), Malformed> {
    let (mut kind, mut permission_id, mut value) = (0, 0, &[][..]);
    let mut reader = Reader(bytes);
    while let Some(field) = reader.field()? {
        match field {
            (1, Value::Varint(number)) => kind = number,
            (2, Value::Bytes(any)) => {
                let mut any = Reader(any);
                while let Some(field) = any.field()? {
                    if let (2, Value::Bytes(bytes)) = field {
                        value = bytes;
                    }
                }
            }
            (5, Value::Varint(id)) => permission_id = id.cast_signed(),
            _ => {}
        }
    }
    let (mut owner, mut other, mut amount, mut data) = (None, None, 0, Vec::new());
    let mut reader = Reader(value);
    while let Some(field) = reader.field()? {
        match field {
            (1, Value::Bytes(bytes)) => owner = Address::from_slice(bytes),
            (2, Value::Bytes(bytes)) => other = Address::from_slice(bytes),
            (3, Value::Varint(value)) => amount = value.cast_signed(),
            (4, Value::Bytes(bytes)) => data = bytes.to_vec(),
            _ => {}
        }
    }
    let (owner, other) = (owner.ok_or(Malformed)?, other.ok_or(Malformed)?);
    let call = match kind {
        1 => Call::Transfer { owner, to: other, amount },
        31 => Call::TriggerSmartContract { owner, contract: other, call_value: amount, data },
        _ => return Err(Malformed),
    };
    Ok((call, permission_id))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub raw: Raw,
    /// The bytes that were hashed and signed.
    pub raw_bytes: Vec<u8>,
    pub signatures: Vec<Vec<u8>>,
    pub txid: Hash,
    /// Bytes of the whole transaction.
    pub size: usize,
}

impl Transaction {
    /// From the bytes that `broadcasthex` takes.
    pub fn decode(bytes: &[u8]) -> Result<Transaction, Malformed> {
        let (mut raw_bytes, mut signatures) = (None, Vec::new());
        let mut reader = Reader(bytes);
        while let Some(field) = reader.field()? {
            match field {
                (1, Value::Bytes(raw)) => raw_bytes = Some(raw.to_vec()),
                (2, Value::Bytes(signature)) => signatures.push(signature.to_vec()),
                _ => {}
            }
        }
        let raw_bytes = raw_bytes.ok_or(Malformed)?;
        let raw = Raw::decode(&raw_bytes)?;
        Ok(Transaction { raw, txid: sha256(&raw_bytes), raw_bytes, signatures, size: bytes.len() })
    }

    /// From fields, as `broadcasttransaction` gives them: the bytes are made anew.
    pub fn of(raw: Raw, signatures: Vec<Vec<u8>>) -> Transaction {
        let raw_bytes = raw.encode();
        let mut transaction = Transaction { raw, txid: sha256(&raw_bytes), raw_bytes, signatures, size: 0 };
        transaction.size = transaction.encode().len();
        transaction
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.message(1, &self.raw_bytes);
        for signature in &self.signatures {
            out.message(2, signature);
        }
        out.0
    }

    /// What it costs of bandwidth, in bytes.
    pub fn bandwidth(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX / 2) + RESULT_BYTES
    }
}

/// Who made `signature` over `txid`: r, s and v, where v is 0, 1, 27 or 28. High values of s are taken too.
pub fn signer(txid: &Hash, signature: &[u8]) -> Option<Address> {
    if !(65..=68).contains(&signature.len()) {
        return None;
    }
    let v = signature[64];
    let mut id = RecoveryId::from_byte(if v >= 27 { v - 27 } else { v })?;
    let given = Signature::from_slice(&signature[..64]).ok()?;
    let low = given.normalize_s();
    if low != given {
        id = RecoveryId::new(!id.is_y_odd(), id.is_x_reduced());
    }
    let key = VerifyingKey::recover_from_prehash(txid, &low, id).ok()?;
    Some(Address::of_public_key(&key.to_sec1_point(false).as_bytes()[1..]))
}

/// Signs as a wallet does (v is 27 or 28), for tests that act as one.
pub fn sign(txid: &Hash, private_key: &Hash) -> Option<Vec<u8>> {
    let key = k256::ecdsa::SigningKey::from_slice(private_key).ok()?;
    let (signature, id) = key.sign_prehash_recoverable(txid);
    let mut bytes = signature.to_bytes().to_vec();
    bytes.push(27 + id.to_byte());
    Some(bytes)
}
