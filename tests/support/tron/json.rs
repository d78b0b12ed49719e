//! Transactions, blocks and receipts as JSON: java-tron's names, hexadecimal unless `visible`, and no defaults.

use serde_json::{Map, Value, json};

use super::address::{Address, Hash, hex, unhex};
use super::block::{Block, Executed, Receipt};
use super::node::View;
use super::transaction::{Call, Raw, Transaction};

pub type Object = Map<String, Value>;

/// Leaves out what is zero, as java-tron does.
pub fn put(object: &mut Object, key: &str, value: i64) {
    if value != 0 {
        object.insert(key.to_owned(), Value::from(value));
    }
}

pub fn put_text(object: &mut Object, key: &str, value: String) {
    if !value.is_empty() {
        object.insert(key.to_owned(), Value::from(value));
    }
}

/// Text as it is when visible, else the hexadecimal of its bytes.
pub fn words(text: &str, visible: bool) -> String {
    if visible { text.to_owned() } else { hex(text.as_bytes()) }
}

pub fn raw_data(raw: &Raw, visible: bool) -> Value {
    let mut value = Object::new();
    value.insert("owner_address".to_owned(), raw.call.owner().text(visible).into());
    match &raw.call {
        Call::Transfer { to, amount, .. } => {
            value.insert("to_address".to_owned(), to.text(visible).into());
            put(&mut value, "amount", *amount);
        }
        Call::TriggerSmartContract { contract, call_value, data, .. } => {
            value.insert("contract_address".to_owned(), contract.text(visible).into());
            put(&mut value, "call_value", *call_value);
            put_text(&mut value, "data", hex(data));
        }
    }
    let mut contract = Object::new();
    contract.insert("parameter".to_owned(), json!({ "value": value, "type_url": raw.call.type_url() }));
    contract.insert("type".to_owned(), raw.call.name().into());
    put(&mut contract, "Permission_id", raw.permission_id);
    let mut object = Object::new();
    if !raw.data.is_empty() {
        let data = if visible { String::from_utf8_lossy(&raw.data).into_owned() } else { hex(&raw.data) };
        object.insert("data".to_owned(), data.into());
    }
    object.insert("contract".to_owned(), Value::Array(vec![Value::Object(contract)]));
    put_text(&mut object, "ref_block_bytes", hex(&raw.ref_block_bytes));
    put_text(&mut object, "ref_block_hash", hex(&raw.ref_block_hash));
    put(&mut object, "expiration", raw.expiration_ms);
    put(&mut object, "fee_limit", raw.fee_limit);
    put(&mut object, "timestamp", raw.timestamp_ms);
    Value::Object(object)
}

/// A transaction, with its result when it is in a block.
pub fn transaction(transaction: &Transaction, receipt: Option<&Receipt>, visible: bool) -> Object {
    let mut object = Object::new();
    if let Some(receipt) = receipt {
        let result = receipt.result.map_or("SUCCESS", |result| result.name());
        object.insert("ret".to_owned(), json!([{ "contractRet": result }]));
    }
    if !transaction.signatures.is_empty() {
        object.insert("signature".to_owned(), transaction.signatures.iter().map(|bytes| hex(bytes)).collect());
    }
    object.insert("txID".to_owned(), hex(&transaction.txid).into());
    object.insert("raw_data".to_owned(), raw_data(&transaction.raw, visible));
    object.insert("raw_data_hex".to_owned(), hex(&transaction.raw_bytes).into());
    if visible {
        object.insert("visible".to_owned(), true.into());
    }
    object
}

pub fn block(view: &View<'_>, block: &Block, detail: bool, visible: bool) -> Value {
    let mut raw = Object::new();
    put(&mut raw, "number", i64::try_from(block.number).unwrap_or(i64::MAX));
    raw.insert("txTrieRoot".to_owned(), hex(&block.transaction_root).into());
    raw.insert("witness_address".to_owned(), block.witness.text(visible).into());
    raw.insert("parentHash".to_owned(), hex(&block.parent).into());
    put(&mut raw, "timestamp", block.timestamp_ms);
    let mut header = Object::new();
    if block.number > 0 {
        put(&mut raw, "version", 34);
        header.insert("witness_signature".to_owned(), block.witness_signature().into());
    }
    header.insert("raw_data".to_owned(), Value::Object(raw));
    let mut object = Object::new();
    object.insert("blockID".to_owned(), hex(&view.id(block)).into());
    object.insert("block_header".to_owned(), Value::Object(header));
    if detail && !block.transactions.is_empty() {
        let all =
            block.transactions.iter().map(|executed| Value::Object(transaction(&executed.transaction, Some(&executed.receipt), visible)));
        object.insert("transactions".to_owned(), all.collect());
    }
    Value::Object(object)
}

/// The receipt of a transaction in a block.
pub fn receipt(block: &Block, executed: &Executed, visible: bool) -> Value {
    let receipt = &executed.receipt;
    let mut cost = Object::new();
    put(&mut cost, "energy_usage", receipt.energy_usage);
    put(&mut cost, "energy_fee", receipt.energy_fee);
    put(&mut cost, "energy_usage_total", receipt.energy_total);
    put(&mut cost, "net_usage", receipt.bandwidth_usage);
    put(&mut cost, "net_fee", receipt.bandwidth_fee);
    if let Some(result) = receipt.result {
        cost.insert("result".to_owned(), result.name().into());
    }
    let mut object = Object::new();
    object.insert("id".to_owned(), hex(&executed.transaction.txid).into());
    put(&mut object, "fee", receipt.fee);
    put(&mut object, "blockNumber", i64::try_from(block.number).unwrap_or(i64::MAX));
    put(&mut object, "blockTimeStamp", block.timestamp_ms);
    object.insert("contractResult".to_owned(), json!([hex(&receipt.returned)]));
    if let Call::TriggerSmartContract { contract, .. } = &executed.transaction.raw.call {
        object.insert("contract_address".to_owned(), contract.text(visible).into());
    }
    object.insert("receipt".to_owned(), Value::Object(cost));
    if !receipt.logs.is_empty() {
        let logs = receipt.logs.iter().map(|log| {
            let address = if visible { log.contract.base58() } else { hex(log.contract.body()) };
            let topics: Vec<String> = log.topics.iter().map(|topic| hex(topic)).collect();
            json!({ "address": address, "topics": topics, "data": hex(&log.data) })
        });
        object.insert("log".to_owned(), logs.collect());
    }
    if let Some(result) = receipt.result.filter(|_| !receipt.succeeded()) {
        object.insert("result".to_owned(), "FAILED".into());
        object.insert("resMessage".to_owned(), words(result.message(), visible).into());
    }
    Value::Object(object)
}

// What requests say.

pub fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

/// A number, or the text of one.
pub fn integer(object: &Value, key: &str) -> Option<i64> {
    let value = object.get(key)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

pub fn boolean(object: &Value, key: &str) -> bool {
    object.get(key).is_some_and(|value| value.as_bool().unwrap_or(value.as_str() == Some("true")))
}

/// In the form that `visible` says, and in no other.
pub fn address(object: &Value, key: &str, visible: bool) -> Option<Address> {
    let text = text(object, key)?;
    if visible { Address::from_base58(text) } else { Address::from_hex(text.strip_prefix("0x").unwrap_or(text)) }
}

pub fn hash(object: &Value, key: &str) -> Option<Hash> {
    super::address::hash_of(text(object, key)?)
}

/// What `broadcasttransaction` and `getsignweight` are given; `raw_data_hex` is not looked at.
pub fn read_transaction(object: &Value) -> Option<Transaction> {
    let raw = object.get("raw_data")?;
    let contract = raw.get("contract")?.as_array()?.first()?;
    let value = contract.get("parameter")?.get("value")?;
    let visible = boolean(object, "visible");
    // Clients mix the forms: tronpy sends addresses in hexadecimal whatever it asks to see.
    let either = |key: &str| address(value, key, visible).or_else(|| address(value, key, !visible));
    let owner = either("owner_address")?;
    let bytes = |from: &Value, key: &str| text(from, key).map_or(Some(Vec::new()), unhex);
    let call = match text(contract, "type")? {
        "TransferContract" => Call::Transfer { owner, to: either("to_address")?, amount: integer(value, "amount").unwrap_or(0) },
        "TriggerSmartContract" => Call::TriggerSmartContract {
            owner,
            contract: either("contract_address")?,
            call_value: integer(value, "call_value").unwrap_or(0),
            data: bytes(value, "data")?,
        },
        _ => return None,
    };
    let data = match text(raw, "data") {
        Some(text) if visible => text.as_bytes().to_vec(),
        _ => bytes(raw, "data")?,
    };
    let raw = Raw {
        ref_block_bytes: bytes(raw, "ref_block_bytes")?,
        ref_block_hash: bytes(raw, "ref_block_hash")?,
        expiration_ms: integer(raw, "expiration").unwrap_or(0),
        data,
        call,
        permission_id: integer(contract, "Permission_id").unwrap_or(0),
        timestamp_ms: integer(raw, "timestamp").unwrap_or(0),
        fee_limit: integer(raw, "fee_limit").unwrap_or(0),
    };
    let signatures = match object.get("signature").and_then(Value::as_array) {
        Some(list) => list.iter().map(|signature| unhex(signature.as_str()?)).collect::<Option<_>>()?,
        None => Vec::new(),
    };
    Some(Transaction::of(raw, signatures))
}
