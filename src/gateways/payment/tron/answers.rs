//! What nodes say, read strictly where money depends on it. java-tron leaves out whatever is zero, false or empty, so every field may be missing; a field
//! that is there has to be what it claims to be. Errors are words for people.

use serde_json::Value;

use super::Txid;
use super::network::BlockId;
use crate::crypto;
use crate::domain::address::TronAddress;

/// Keccak-256 of `Transfer(address,address,uint256)`.
const TRANSFER_TOPIC: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Longest name of a result.
const MAX_NAME: usize = 40;

pub type Read<T> = Result<T, String>;

/// A block without its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    pub id: BlockId,
    pub parent: BlockId,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub head: Head,
    pub txids: Vec<Txid>,
    /// Of those, what the block says did not succeed.
    pub failed: Vec<Txid>,
}

/// A `Transfer` that a contract logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLog {
    pub contract: TronAddress,
    pub from: TronAddress,
    pub to: TronAddress,
    /// Smallest units; what does not fit is the highest number.
    pub amount: u128,
}

/// What became of a transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub txid: Txid,
    pub block: u64,
    pub at_ms: i64,
    pub fee_sun: u64,
    /// `SUCCESS`, `REVERT`, …; empty for what called no contract.
    pub result: String,
    /// The transaction as a whole is said to have failed.
    pub failed: bool,
    pub transfers: Vec<TransferLog>,
}

/// How a call would end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulated {
    Done { energy: u64, value: Option<u128> },
    Reverted { why: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    pub energy_sun: u64,
    pub bandwidth_sun: u64,
    pub max_fee_limit_sun: u64,
}

/// What an account may still use today without paying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    pub energy: u64,
    /// What is staked, and what everybody has for nothing. A transaction takes its bytes from one of them.
    pub bandwidth: u64,
    pub bandwidth_free: u64,
}

/// An answer to a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `SUCCESS`, or the name of a refusal.
    pub code: String,
    pub message: String,
}

/// A page of TronGrid's list of transfers: ids of transactions, each with its block's time, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub txids: Vec<(Txid, i64)>,
    pub next: Option<String>,
}

fn number(value: &Value, field: &str) -> Read<u64> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(found) => found.as_u64().ok_or_else(|| format!("`{field}` is no number")),
    }
}

fn time(value: &Value, field: &str) -> Read<i64> {
    i64::try_from(number(value, field)?).map_err(|_| format!("`{field}` is no time"))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> Read<&'a [Value]> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(found) => found.as_array().map(Vec::as_slice).ok_or_else(|| format!("`{field}` is no list")),
    }
}

fn object(value: &Value) -> Read<&Value> {
    if value.is_object() { Ok(value) } else { Err("the answer is no object".into()) }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    crypto::unhex(text)?.try_into().ok()
}

fn txid(text: &str, field: &str) -> Read<Txid> {
    hash(text).map(Txid).ok_or_else(|| format!("`{field}` is no transaction id"))
}

/// A result's name; words that are none are replaced, so that nothing a node says gets anywhere as it is.
fn name(text: &str) -> String {
    let is_name = text.len() <= MAX_NAME && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if is_name { text.to_owned() } else { "UNREADABLE".to_owned() }
}

/// Text that was hex, as words of java-tron are when nothing else was asked for.
fn words(text: &str) -> String {
    let bytes = crypto::unhex(text).filter(|_| !text.is_empty());
    super::link::readable(&bytes.map_or_else(|| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// None for `{}`: there is no such block.
pub fn head(value: &Value) -> Read<Option<Head>> {
    let Some(id) = object(value)?.get("blockID") else { return Ok(None) };
    let id = id.as_str().and_then(hash).ok_or("`blockID` is no id")?;
    let raw = value.get("block_header").and_then(|header| header.get("raw_data")).ok_or("a block without a header")?;
    let (number, at_ms) = (number(raw, "number")?, time(raw, "timestamp")?);
    let parent = hash(text(raw, "parentHash")).ok_or("`parentHash` is no id")?;
    if !id.starts_with(&number.to_be_bytes()) {
        return Err(format!("the id of block {number} does not begin with its number"));
    }
    Ok(Some(Head { number, id, parent, at_ms }))
}

pub fn block(value: &Value) -> Read<Option<Block>> {
    let Some(head) = head(value)? else { return Ok(None) };
    let (mut txids, mut failed) = (Vec::new(), Vec::new());
    for transaction in list(value, "transactions")? {
        let id = txid(text(transaction, "txID"), "txID")?;
        let ret = transaction.pointer("/ret/0/contractRet").and_then(Value::as_str);
        if ret.is_some_and(|ret| !matches!(ret, "SUCCESS" | "DEFAULT")) {
            failed.push(id);
        }
        txids.push(id);
    }
    Ok(Some(Block { head, txids, failed }))
}

/// None for `{}`: the node knows of none.
pub fn receipt(value: &Value) -> Read<Option<Receipt>> {
    if object(value)?.as_object().is_some_and(|fields| fields.is_empty()) {
        return Ok(None);
    }
    let cost = value.get("receipt").unwrap_or(&Value::Null);
    let block = number(value, "blockNumber")?;
    if block == 0 {
        return Err("a receipt without a block".into());
    }
    let transfers = list(value, "log")?.iter().filter_map(transfer_log).collect();
    Ok(Some(Receipt {
        txid: txid(text(value, "id"), "id")?,
        block,
        at_ms: time(value, "blockTimeStamp")?,
        fee_sun: number(value, "fee")?,
        result: name(text(cost, "result")),
        failed: !text(value, "result").is_empty(),
        transfers,
    }))
}

pub fn receipts(value: &Value) -> Read<Vec<Receipt>> {
    // A block without transactions has an empty list; some releases say `{}`.
    if value.as_object().is_some_and(|fields| fields.is_empty()) {
        return Ok(Vec::new());
    }
    let all = value.as_array().ok_or("the answer is no list")?;
    all.iter().map(|one| receipt(one)?.ok_or_else(|| "an empty receipt".to_owned())).collect()
}

/// None for every other event, and for what is none of an ERC-20 token.
fn transfer_log(log: &Value) -> Option<TransferLog> {
    let [topic, from, to] = log.get("topics")?.as_array()?.as_slice() else { return None };
    if topic.as_str()? != TRANSFER_TOPIC {
        return None;
    }
    let data: [u8; 32] = hash(text(log, "data"))?;
    let amount = if data[..16] == [0; 16] { u128::from_be_bytes(data[16..].try_into().ok()?) } else { u128::MAX };
    Some(TransferLog { contract: account(text(log, "address"))?, from: from_word(from)?, to: from_word(to)?, amount })
}

/// 20 bytes, as in logs, or 21 with the version, as elsewhere.
fn account(text: &str) -> Option<TronAddress> {
    let bytes = crypto::unhex(text)?;
    let body = match bytes.as_slice() {
        [0x41, body @ ..] if body.len() == 20 => body,
        body => body,
    };
    body.try_into().ok().map(TronAddress::from_bytes)
}

fn from_word(word: &Value) -> Option<TronAddress> {
    let word = hash(word.as_str()?)?;
    let (zeros, body) = word.split_at(12);
    if zeros == [0; 12] { body.try_into().ok().map(TronAddress::from_bytes) } else { None }
}

/// A revert still says `result.result: true`: what counts is the result of the transaction.
pub fn simulated(value: &Value) -> Read<Simulated> {
    let result = object(value)?.get("result").ok_or("no result")?;
    let returned = list(value, "constant_result")?.first().and_then(Value::as_str).unwrap_or_default();
    let failed = value.pointer("/transaction/ret/0/ret").and_then(Value::as_str).is_some_and(|ret| ret != "SUCESS" && ret != "SUCCESS");
    if failed {
        let why = [reason(returned), words(text(result, "message"))].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        return Ok(Simulated::Reverted { why: why.join("; ") });
    }
    if result.get("result").and_then(Value::as_bool) != Some(true) {
        return Err(format!("{} {}", name(text(result, "code")), words(text(result, "message"))));
    }
    let value_of = hash(returned).map(|word| match word.split_at(16) {
        (high, low) if high == [0; 16] => low.try_into().map_or(u128::MAX, u128::from_be_bytes),
        _ => u128::MAX,
    });
    Ok(Simulated::Done { energy: number(value, "energy_used")?, value: value_of })
}

/// The words of a revert: `Error(string)`.
fn reason(returned: &str) -> String {
    let Some(bytes) = crypto::unhex(returned) else { return String::new() };
    let length = bytes.get(64..68).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).and_then(|n| usize::try_from(n).ok());
    let text =
        bytes.strip_prefix(&[0x08, 0xc3, 0x79, 0xa0]).zip(length).and_then(|(rest, length)| rest.get(64..64usize.checked_add(length)?));
    text.map_or_else(String::new, |text| super::link::readable(&String::from_utf8_lossy(text)))
}

/// Sun; an account that nobody activated has none.
pub fn balance(value: &Value) -> Read<u64> {
    number(object(value)?, "balance")
}

pub fn resources(value: &Value) -> Read<Resources> {
    let left = |limit: &str, used: &str| Ok::<_, String>(number(value, limit)?.saturating_sub(number(value, used)?));
    object(value)?;
    Ok(Resources {
        energy: left("EnergyLimit", "EnergyUsed")?,
        bandwidth: left("NetLimit", "NetUsed")?,
        bandwidth_free: left("freeNetLimit", "freeNetUsed")?,
    })
}

pub fn prices(value: &Value) -> Read<Prices> {
    let all = list(object(value)?, "chainParameter")?;
    let of = |key: &str| match all.iter().find(|entry| text(entry, "key") == key) {
        Some(entry) => number(entry, "value"),
        None => Err(format!("no `{key}`")),
    };
    Ok(Prices { energy_sun: of("getEnergyFee")?, bandwidth_sun: of("getTransactionFee")?, max_fee_limit_sun: of("getMaxFeeLimit")? })
}

pub fn told(value: &Value) -> Read<Told> {
    let accepted = object(value)?.get("result").and_then(Value::as_bool) == Some(true);
    let code = match (accepted, text(value, "code")) {
        (true, "" | "SUCCESS") => "SUCCESS".to_owned(),
        (false, code) if !code.is_empty() && code != "SUCCESS" => name(code),
        _ => return Err("an answer that says neither yes nor no".into()),
    };
    Ok(Told { code, message: super::link::readable(text(value, "message")) })
}

/// Only what says that `wallet` sent `contract`: the list is a hint, and what counts is the receipt of each.
pub fn listed(value: &Value, wallet: &TronAddress, contract: &TronAddress) -> Read<Listed> {
    if value.get("success").and_then(Value::as_bool) != Some(true) {
        return Err("the list is none".into());
    }
    let mut txids = Vec::new();
    for entry in list(value, "data")? {
        let token = entry.get("token_info").map_or("", |token| text(token, "address"));
        if token == contract.to_string() && text(entry, "from") == wallet.to_string() {
            txids.push((txid(text(entry, "transaction_id"), "transaction_id")?, time(entry, "block_timestamp")?));
        }
    }
    let next = value.get("meta").map_or("", |meta| text(meta, "fingerprint"));
    let plain = next.len() <= 512 && next.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
    match next {
        "" => Ok(Listed { txids, next: None }),
        next if plain => Ok(Listed { txids, next: Some(next.to_owned()) }),
        _ => Err("the mark of the next page makes no sense".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(number: u64) -> String {
        format!("{number:016x}{}", "ab".repeat(24))
    }

    fn block_of(number: u64, id: &str) -> Value {
        json!({ "blockID": id, "block_header": { "raw_data": { "number": number, "timestamp": 5, "parentHash": "cd".repeat(32) } } })
    }

    #[test]
    fn a_block_is_called_by_its_number_and_what_is_left_out_is_nothing() {
        assert_eq!(block(&json!({})), Ok(None));
        let read = block(&block_of(7, &id(7))).unwrap().unwrap();
        assert_eq!((read.head.number, read.head.at_ms, read.txids.len()), (7, 5, 0));
        let mut held = block_of(7, &id(7));
        let held_of = |at: u8, ret: &str| json!({ "txID": format!("{at:02x}").repeat(32), "ret": [{ "contractRet": ret }] });
        held["transactions"] = json!([held_of(1, "SUCCESS"), held_of(2, "REVERT"), { "txID": "03".repeat(32) }]);
        let held = block(&held).unwrap().unwrap();
        assert_eq!((held.txids.len(), held.failed), (3, vec![Txid([2; 32])]));
        assert!(block(&block_of(8, &id(7))).is_err(), "the id is another block's");
        for broken in [json!([]), json!({"blockID": 7}), json!({"blockID": "ab"}), json!({"blockID": id(7)})] {
            assert!(block(&broken).is_err(), "{broken}");
        }
        let mut with = block_of(7, &id(7));
        with["transactions"] = json!([{ "txID": "zz" }]);
        assert!(block(&with).is_err());
    }

    #[test]
    fn a_receipt_without_a_block_or_with_another_shape_is_none() {
        assert_eq!(receipt(&json!({})), Ok(None));
        let good = json!({ "id": "ab".repeat(32), "blockNumber": 9, "fee": 345_000, "receipt": { "result": "SUCCESS" } });
        assert_eq!(receipt(&good).unwrap().unwrap().result, "SUCCESS");
        for (field, value) in
            [("id", json!("ab")), ("blockNumber", json!(0)), ("blockNumber", json!("9")), ("fee", json!(-1)), ("log", json!(7))]
        {
            let mut broken = good.clone();
            broken[field] = value;
            assert!(receipt(&broken).is_err(), "{broken}");
        }
        let mut odd = good;
        odd["receipt"]["result"] = json!("SUCCESS; drop");
        assert_eq!(receipt(&odd).unwrap().unwrap().result, "UNREADABLE");
    }

    #[test]
    fn an_answer_to_a_broadcast_says_yes_or_no() {
        let told = |value: Value| told(&value).map(|told| told.code);
        assert_eq!(told(json!({ "result": true })), Ok("SUCCESS".into()));
        assert_eq!(told(json!({ "result": true, "code": "SUCCESS" })), Ok("SUCCESS".into()));
        assert_eq!(told(json!({ "code": "SIGERROR" })), Ok("SIGERROR".into()));
        for neither in
            [json!({}), json!({ "result": true, "code": "SIGERROR" }), json!({ "result": false, "code": "SUCCESS" }), json!(null)]
        {
            assert!(told(neither.clone()).is_err(), "{neither}");
        }
    }
}
