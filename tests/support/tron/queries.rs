//! The calls that change nothing: what a view of the chain answers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::account::{FREE_BANDWIDTH, Permission};
use super::address::{Address, hex, unhex};
use super::block::{Block, VmResult};
use super::json::{self, Object, put};
use super::node::View;
use super::token::selector;
use super::transaction::{Call, Raw, Transaction};

const MAX_BLOCKS: u64 = 100;

/// How the node is set up.
pub struct Settings {
    pub history: bool,
    pub estimates_energy: bool,
    pub index: usize,
}

/// None for a call that there is not.
pub fn answer(view: &View<'_>, solidity: bool, call: &str, request: &Value, settings: &Settings, now_ms: i64) -> Option<Value> {
    let visible = json::boolean(request, "visible");
    Some(match call {
        "getnowblock" => json::block(view, view.head(), true, visible),
        "getblock" => get_block(view, request, visible),
        "getblockbynum" => {
            let number = json::integer(request, "num").unwrap_or(0);
            block_or_nothing(view, u64::try_from(number).ok().and_then(|number| view.block(number)), visible)
        }
        "getblockbyid" => block_or_nothing(view, json::hash(request, "value").and_then(|id| view.by_id(&id)), visible),
        "getblockbylimitnext" => {
            let (from, to) = (json::integer(request, "startNum"), json::integer(request, "endNum"));
            let (from, to) = (u64::try_from(from?).ok()?, u64::try_from(to?).ok()?);
            if to <= from || to - from > MAX_BLOCKS { json!({}) } else { blocks(view, from..to, visible) }
        }
        "getblockbylatestnum" => {
            let count = u64::try_from(json::integer(request, "num").unwrap_or(0)).unwrap_or(0);
            if count == 0 || count >= MAX_BLOCKS { json!({}) } else { blocks(view, view.top + 1 - count..view.top + 1, visible) }
        }
        "gettransactionbyid" => transaction_by_id(view, solidity, request, settings, visible),
        "gettransactioninfobyid" => {
            let found = json::hash(request, "value").filter(|_| settings.history).and_then(|txid| view.find(&txid));
            found.map_or_else(|| json!({}), |(block, executed)| json::receipt(block, executed, visible))
        }
        "gettransactioninfobyblocknum" => {
            let number = json::integer(request, "num").and_then(|number| u64::try_from(number).ok());
            let block = number.filter(|_| settings.history).and_then(|number| view.block(number));
            let all = block.into_iter().flat_map(|block| block.transactions.iter().map(move |each| json::receipt(block, each, visible)));
            Value::Array(all.collect())
        }
        "triggerconstantcontract" => constant_call(view, request, visible, now_ms),
        "estimateenergy" => estimate(view, request, settings, visible),
        "triggersmartcontract" if !solidity => trigger(view, request, visible, now_ms),
        "getaccount" => account(view, request, visible)?,
        "getaccountresource" if !solidity => resources(view, request, visible, now_ms)?,
        "getaccountnet" if !solidity => resources(view, request, visible, now_ms)?,
        "getchainparameters" if !solidity => parameters(view),
        "getcontract" if !solidity => contract(view, request, visible),
        "getnodeinfo" => node_info(view, settings),
        "getsignweight" if !solidity => sign_weight(view, request),
        "getpendingsize" if !solidity => json!({ "pendingSize": view.chain.pool().len() }),
        "gettransactionlistfrompending" if !solidity => {
            let ids: Vec<String> = view.chain.pool().iter().map(|pending| hex(&pending.transaction.txid)).collect();
            json!({ "txId": ids })
        }
        _ => return None,
    })
}

fn block_or_nothing(view: &View<'_>, block: Option<&Block>, visible: bool) -> Value {
    block.map_or_else(|| json!({}), |block| json::block(view, block, true, visible))
}

fn get_block(view: &View<'_>, request: &Value, visible: bool) -> Value {
    let detail = json::boolean(request, "detail");
    let wanted = match request.get("id_or_num") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let block = if wanted.is_empty() {
        Some(view.head())
    } else if let Ok(number) = wanted.parse() {
        view.block(number)
    } else {
        match super::address::hash_of(&wanted) {
            Some(id) => view.by_id(&id),
            None => return json!({ "Error": "id must be legal block hash." }),
        }
    };
    block.map_or_else(|| json!({}), |block| json::block(view, block, detail, visible))
}

fn blocks(view: &View<'_>, numbers: std::ops::Range<u64>, visible: bool) -> Value {
    let found = numbers.filter_map(|number| view.block(number)).map(|block| json::block(view, block, true, visible));
    json!({ "block": Value::Array(found.collect()) })
}

/// On a full node also what is only in its pool; such an answer has no result.
fn transaction_by_id(view: &View<'_>, solidity: bool, request: &Value, settings: &Settings, visible: bool) -> Value {
    let Some(txid) = json::hash(request, "value") else { return json!({}) };
    if let Some((_, executed)) = view.find(&txid) {
        return Value::Object(json::transaction(&executed.transaction, Some(&executed.receipt), visible));
    }
    let heard = |pending: &&super::chain::Pending| pending.inclusion != super::chain::Inclusion::Never || pending.node == settings.index;
    match view.chain.pending(&txid).filter(|_| !solidity).filter(heard) {
        Some(pending) => Value::Object(json::transaction(&pending.transaction, None, visible)),
        None => json!({}),
    }
}

/// The caller, the contract and the bytes of a call.
fn read_call(request: &Value, visible: bool) -> Result<(Address, Option<Address>, Vec<u8>), &'static str> {
    let owner = json::address(request, "owner_address", visible).ok_or("class java.lang.IllegalArgumentException : owner_address")?;
    let contract = json::address(request, "contract_address", visible);
    let data = match json::text(request, "function_selector") {
        Some(signature) if !signature.is_empty() => {
            let mut data = selector(signature).to_vec();
            data.extend(unhex(json::text(request, "parameter").unwrap_or("")).ok_or("class java.lang.Exception : parameter")?);
            data
        }
        _ => unhex(json::text(request, "data").unwrap_or("")).ok_or("class java.lang.Exception : data")?,
    };
    Ok((owner, contract, data))
}

fn refused_call(code: &str, message: &str, visible: bool) -> Value {
    json!({ "result": { "code": code, "message": json::words(message, visible) } })
}

fn constant_call(view: &View<'_>, request: &Value, visible: bool, now_ms: i64) -> Value {
    let (owner, contract, data) = match read_call(request, visible) {
        Ok(call) => call,
        Err(reason) => return refused_call("OTHER_ERROR", reason, visible),
    };
    if contract != Some(view.chain.token.address) {
        return refused_call("CONTRACT_VALIDATE_ERROR", "Smart contract is not exist.", visible);
    }
    let outcome = view.chain.simulate(owner, &data, view.state());
    let mut transaction = json::transaction(&built(view, owner, view.chain.token.address, data, 0, now_ms), None, visible);
    let mut result = Object::new();
    result.insert("result".to_owned(), true.into());
    if outcome.result == VmResult::Success {
        transaction.insert("ret".to_owned(), json!([{}]));
    } else {
        transaction.insert("ret".to_owned(), json!([{ "ret": "FAILED" }]));
        result.insert("message".to_owned(), json::words(outcome.result.message(), visible).into());
    }
    json!({
        "result": result,
        "energy_used": outcome.energy,
        "constant_result": [hex(&outcome.returned)],
        "transaction": transaction,
    })
}

fn estimate(view: &View<'_>, request: &Value, settings: &Settings, visible: bool) -> Value {
    if !settings.estimates_energy {
        return refused_call("CONTRACT_VALIDATE_ERROR", "this node does not support estimate energy", visible);
    }
    match read_call(request, visible) {
        Ok((owner, contract, data)) if contract == Some(view.chain.token.address) => {
            let outcome = view.chain.simulate(owner, &data, view.state());
            if outcome.result == VmResult::Success {
                json!({ "result": { "result": true }, "energy_required": outcome.energy })
            } else {
                json!({ "result": { "code": "OTHER_ERROR", "message": json::words(outcome.result.message(), visible) } })
            }
        }
        Ok(_) => refused_call("CONTRACT_VALIDATE_ERROR", "Smart contract is not exist.", visible),
        Err(reason) => refused_call("OTHER_ERROR", reason, visible),
    }
}

/// The transaction that a node would have somebody sign.
fn built(view: &View<'_>, owner: Address, contract: Address, data: Vec<u8>, fee_limit: i64, now_ms: i64) -> Transaction {
    let reference = view.block(view.solid).unwrap_or(&view.chain.genesis);
    let raw = Raw {
        ref_block_bytes: reference.id[6..8].to_vec(),
        ref_block_hash: reference.id[8..16].to_vec(),
        expiration_ms: view.head().timestamp_ms + 60_000,
        data: Vec::new(),
        call: Call::TriggerSmartContract { owner, contract, call_value: 0, data },
        permission_id: 0,
        timestamp_ms: now_ms,
        fee_limit,
    };
    Transaction::of(raw, Vec::new())
}

fn trigger(view: &View<'_>, request: &Value, visible: bool, now_ms: i64) -> Value {
    match read_call(request, visible) {
        Ok((owner, Some(contract), data)) if contract == view.chain.token.address => {
            let fee_limit = json::integer(request, "fee_limit").unwrap_or(0);
            let mut transaction = built(view, owner, contract, data, fee_limit, now_ms);
            let mut raw = transaction.raw.clone();
            raw.permission_id = json::integer(request, "Permission_id").unwrap_or(0);
            if let Call::TriggerSmartContract { call_value, .. } = &mut raw.call {
                *call_value = json::integer(request, "call_value").unwrap_or(0);
            }
            transaction = Transaction::of(raw, Vec::new());
            let mut shown = json::transaction(&transaction, None, visible);
            shown.insert("visible".to_owned(), visible.into());
            json!({ "result": { "result": true }, "transaction": shown })
        }
        Ok(_) => refused_call("CONTRACT_VALIDATE_ERROR", "No contract or not a valid smart contract", visible),
        Err(reason) => refused_call("OTHER_ERROR", reason, visible),
    }
}

/// None when the address is not one; an empty object when it was never activated.
fn account(view: &View<'_>, request: &Value, visible: bool) -> Option<Value> {
    let Some(address) = json::address(request, "address", visible) else {
        return Some(json!({ "Error": "class java.lang.IllegalArgumentException : Invalid address" }));
    };
    let Some(balance) = view.chain.trx_at(&address, view.state()) else { return Some(json!({})) };
    let mut object = Object::new();
    object.insert("address".to_owned(), address.text(visible).into());
    put(&mut object, "balance", balance);
    object.insert("create_time".to_owned(), view.chain.config.start_ms.into());
    let mut actives = Vec::new();
    let ids = view.chain.permissions.get(&address).map_or_else(|| vec![0, 2], |list| list.iter().map(|each| each.id).collect());
    for permission in ids.iter().filter_map(|id| view.chain.permission(&address, *id)) {
        let shown = permission_json(&permission, visible);
        if permission.id == 0 {
            object.insert("owner_permission".to_owned(), shown);
        } else {
            actives.push(shown);
        }
    }
    object.insert("active_permission".to_owned(), Value::Array(actives));
    Some(Value::Object(object))
}

fn permission_json(permission: &Permission, visible: bool) -> Value {
    let keys: Vec<Value> = permission.keys.iter().map(|(key, weight)| json!({ "address": key.text(visible), "weight": weight })).collect();
    let mut object = Object::new();
    if permission.id != 0 {
        object.insert("type".to_owned(), "Active".into());
        object.insert("id".to_owned(), permission.id.into());
        object.insert("operations".to_owned(), hex(&permission.operations).into());
    }
    object.insert("permission_name".to_owned(), permission.name.clone().into());
    object.insert("threshold".to_owned(), permission.threshold.into());
    object.insert("keys".to_owned(), Value::Array(keys));
    Value::Object(object)
}

fn resources(view: &View<'_>, request: &Value, visible: bool, now_ms: i64) -> Option<Value> {
    let Some(address) = json::address(request, "address", visible) else {
        return Some(json!({ "Error": "class java.lang.IllegalArgumentException : Invalid address" }));
    };
    if view.chain.trx_at(&address, view.state()).is_none() {
        return Some(json!({}));
    }
    let usage = view.chain.usage.get(&address).copied().unwrap_or_default();
    let staked = view.chain.staked.get(&address).copied().unwrap_or_default();
    let mut object = Object::new();
    put(&mut object, "freeNetUsed", usage.free_bandwidth.at(now_ms));
    put(&mut object, "freeNetLimit", FREE_BANDWIDTH);
    put(&mut object, "NetUsed", usage.bandwidth.at(now_ms));
    put(&mut object, "NetLimit", staked.bandwidth);
    put(&mut object, "TotalNetLimit", 43_200_000_000);
    put(&mut object, "TotalNetWeight", 26_982_826_755);
    put(&mut object, "EnergyUsed", usage.energy.at(now_ms));
    put(&mut object, "EnergyLimit", staked.energy);
    put(&mut object, "TotalEnergyLimit", 180_000_000_000);
    put(&mut object, "TotalEnergyWeight", 19_274_384_171);
    Some(Value::Object(object))
}

fn parameters(view: &View<'_>) -> Value {
    let config = &view.chain.config;
    let all = [
        ("getMaintenanceTimeInterval", 21_600_000),
        ("getCreateAccountFee", 100_000),
        ("getTransactionFee", config.bandwidth_price),
        ("getCreateNewAccountFeeInSystemContract", 1_000_000),
        ("getEnergyFee", config.energy_price),
        ("getMultiSignFee", 1_000_000),
        ("getFreeNetLimit", FREE_BANDWIDTH),
        ("getMaxFeeLimit", config.max_fee_limit),
        ("getMemoFee", config.memo_fee),
        // A parameter that is zero has a key and no value.
        ("getAllowProtoFilterNum", 0),
    ];
    let all = all.iter().map(|(key, value)| {
        let mut object = Object::new();
        object.insert("key".to_owned(), (*key).into());
        put(&mut object, "value", *value);
        Value::Object(object)
    });
    json!({ "chainParameter": Value::Array(all.collect()) })
}

fn contract(view: &View<'_>, request: &Value, visible: bool) -> Value {
    let token = &view.chain.token;
    let wanted = json::text(request, "value").and_then(|text| if visible { Address::from_base58(text) } else { Address::from_hex(text) });
    if wanted != Some(token.address) {
        return json!({});
    }
    let entry = |name: &str, mutability: &str, inputs: &[(&str, &str)], output: &str| {
        let inputs: Vec<Value> = inputs.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
        json!({ "name": name, "type": "Function", "stateMutability": mutability, "inputs": inputs, "outputs": [{ "type": output }] })
    };
    let mut entries = vec![
        entry("name", "View", &[], "string"),
        entry("symbol", "View", &[], "string"),
        entry("decimals", "View", &[], "uint8"),
        entry("paused", "View", &[], "bool"),
        entry("balanceOf", "View", &[("who", "address")], "uint256"),
        entry("transfer", "Nonpayable", &[("_to", "address"), ("_value", "uint256")], "bool"),
    ];
    let input = |name: &str, kind: &str, indexed: bool| {
        if indexed { json!({ "indexed": true, "name": name, "type": kind }) } else { json!({ "name": name, "type": kind }) }
    };
    entries.push(json!({
        "name": "Transfer",
        "type": "Event",
        "inputs": [input("from", "address", true), input("to", "address", true), input("value", "uint256", false)],
    }));
    json!({
        "bytecode": "60806040",
        "consume_user_resource_percent": 100,
        "name": "TetherToken",
        "origin_address": token.owner.text(visible),
        "contract_address": token.address.text(visible),
        "origin_energy_limit": 10_000_000,
        "code_hash": "00".repeat(32),
        "abi": { "entrys": entries },
    })
}

fn node_info(view: &View<'_>, settings: &Settings) -> Value {
    let head = view.head();
    let solid = view.block(view.solid).unwrap_or(head);
    json!({
        "beginSyncNum": head.number,
        "block": format!("Num:{},ID:{}", head.number, hex(&head.id)),
        "solidityBlock": format!("Num:{},ID:{}", solid.number, hex(&solid.id)),
        "currentConnectCount": 30,
        "activeConnectCount": 12,
        "passiveConnectCount": 18,
        "totalFlow": 0,
        "peerList": [],
        "configNodeInfo": { "codeVersion": "4.8.2", "p2pVersion": "11111", "supportConstant": true },
        "machineInfo": { "threadCount": 1 + settings.index },
    })
}

fn sign_weight(view: &View<'_>, request: &Value) -> Value {
    let Some(transaction) = json::read_transaction(request) else {
        return json!({ "Error": "class java.lang.NullPointerException : null" });
    };
    let visible = json::boolean(request, "visible");
    let transaction = Arc::new(transaction);
    let shown = json!({
        "result": { "result": true },
        "txid": hex(&transaction.txid),
        "transaction": json::transaction(&transaction, None, visible),
    });
    let owner = transaction.raw.call.owner();
    let failed = |code: &str, message: &str| json!({ "result": { "code": code, "message": message }, "transaction": shown });
    if view.chain.trx_at(&owner, view.state()).is_none() {
        return failed("PERMISSION_ERROR", "Account does not exist!");
    }
    let Some(permission) = view.chain.permission(&owner, transaction.raw.permission_id) else {
        return failed("PERMISSION_ERROR", "Permission for this, does not exist!");
    };
    let (mut weight, mut approved) = (0, Vec::new());
    for signature in &transaction.signatures {
        let Some(signer) = super::transaction::signer(&transaction.txid, signature) else {
            return failed("SIGNATURE_FORMAT_ERROR", &format!("Signature size is {}", signature.len()));
        };
        let Some(own) = permission.weight(&signer) else {
            return failed("PERMISSION_ERROR", "Signature is not contained of permission.");
        };
        weight += own;
        approved.push(signer.text(visible));
    }
    let mut object = Object::new();
    let mut result = Object::new();
    if weight < permission.threshold {
        result.insert("code".to_owned(), "NOT_ENOUGH_PERMISSION".into());
    }
    object.insert("result".to_owned(), Value::Object(result));
    if !approved.is_empty() {
        object.insert("approved_list".to_owned(), approved.into());
        object.insert("current_weight".to_owned(), weight.into());
    }
    object.insert("permission".to_owned(), permission_json(&permission, visible));
    object.insert("transaction".to_owned(), shown);
    Value::Object(object)
}
