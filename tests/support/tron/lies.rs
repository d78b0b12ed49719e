//! Answers that are not so.

use serde_json::{Value, json};

use super::address::hex;
use super::chain::SLOT_MS;
use super::faults::Lie;
use super::node::View;
use super::token::number;

/// Changes the answer to `call` as the lie has it; lies about other calls change nothing.
pub fn tell(lie: &Lie, view: &View<'_>, call: &str, request: &Value, value: &mut Value) {
    match call {
        "gettransactioninfobyid" => {
            about_receipt(lie, value);
            about_absence(lie, view, request, value);
        }
        "gettransactioninfobyblocknum" => {
            if *lie == Lie::NoReceipt {
                *value = json!([]);
            }
            value.as_array_mut().into_iter().flatten().for_each(|receipt| about_receipt(lie, receipt));
        }
        "triggerconstantcontract" => {
            if let Lie::Value(amount) = lie {
                value["constant_result"] = json!([hex(&number(*amount))]);
            }
        }
        "getaccount" => {
            if let Lie::Value(amount) = lie {
                value["balance"] = u64::try_from(*amount).unwrap_or(u64::MAX).into();
            }
        }
        "getnowblock" | "getblock" | "getblockbynum" | "getblockbyid" => about_block(lie, call == "getnowblock", value),
        "getblockbylimitnext" | "getblockbylatestnum" => {
            value["block"].as_array_mut().into_iter().flatten().for_each(|block| about_block(lie, false, block));
        }
        "trc20" => about_history(lie, view, value),
        _ => {}
    }
}

fn about_receipt(lie: &Lie, receipt: &mut Value) {
    if !receipt.is_object() || receipt.as_object().is_some_and(|object| object.is_empty()) {
        return;
    }
    let with_logs = |receipt: &mut Value, change: &dyn Fn(&mut Value)| {
        receipt.get_mut("log").and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
    };
    match lie {
        Lie::Amount(amount) => with_logs(receipt, &|log| log["data"] = hex(&number(*amount)).into()),
        Lie::LogContract(contract) => with_logs(receipt, &|log| log["address"] = hex(contract.body()).into()),
        Lie::Sender(from) => with_logs(receipt, &|log| log["topics"][1] = hex(&from.word()).into()),
        Lie::Recipient(to) => with_logs(receipt, &|log| log["topics"][2] = hex(&to.word()).into()),
        Lie::NoLog => drop(receipt.as_object_mut().and_then(|object| object.remove("log"))),
        Lie::Result(result) => {
            receipt["receipt"]["result"] = result.name().into();
            if result.message().is_empty() {
                receipt.as_object_mut().and_then(|object| object.remove("result"));
                receipt.as_object_mut().and_then(|object| object.remove("resMessage"));
            } else {
                receipt["result"] = "FAILED".into();
                receipt["resMessage"] = hex(result.message().as_bytes()).into();
            }
        }
        Lie::Id => receipt["id"] = "ab".repeat(32).into(),
        Lie::BlockNumber(block) => receipt["blockNumber"] = (*block).into(),
        Lie::NoReceipt => *receipt = json!({}),
        _ => {}
    }
}

fn about_absence(lie: &Lie, view: &View<'_>, request: &Value, value: &mut Value) {
    let Lie::Paid { from, to, amount } = lie else { return };
    if value.as_object().is_some_and(|object| object.is_empty()) {
        let log = view.chain.token.transferred(*from, *to, i128::try_from(*amount).unwrap_or(i128::MAX));
        let topics: Vec<String> = log.topics.iter().map(|topic| hex(topic)).collect();
        *value = json!({
            "id": request["value"],
            "blockNumber": view.solid,
            "blockTimeStamp": view.block(view.solid).map_or(0, |block| block.timestamp_ms),
            "contractResult": ["00".repeat(32)],
            "contract_address": log.contract.hex(),
            "receipt": { "energy_usage_total": 64_285, "result": "SUCCESS" },
            "log": [{ "address": hex(log.contract.body()), "topics": topics, "data": hex(&log.data) }],
        });
    }
}

fn about_block(lie: &Lie, head: bool, block: &mut Value) {
    match lie {
        Lie::Ahead(blocks) if head => {
            let raw = &mut block["block_header"]["raw_data"];
            let (number, time) = (raw["number"].as_u64().unwrap_or(0) + blocks, raw["timestamp"].as_i64().unwrap_or(0));
            raw["number"] = number.into();
            raw["timestamp"] = (time + SLOT_MS * i64::try_from(*blocks).unwrap_or(0)).into();
            let tail = block["blockID"].as_str().map_or(String::new(), |id| id[16..].to_owned());
            block["blockID"] = format!("{number:016x}{tail}").into();
        }
        Lie::Unlinked => block["block_header"]["raw_data"]["parentHash"] = "cd".repeat(32).into(),
        Lie::EmptyBlocks => drop(block.as_object_mut().and_then(|object| object.remove("transactions"))),
        _ => {}
    }
}

fn about_history(lie: &Lie, view: &View<'_>, value: &mut Value) {
    let Some(list) = value.get_mut("data").and_then(Value::as_array_mut) else { return };
    match lie {
        Lie::ShortHistory if !list.is_empty() => drop(list.remove(0)),
        Lie::JunkHistory { contract, to, amount } => {
            let from = list.first().map_or(Value::from(view.chain.token.owner.base58()), |first| first["from"].clone());
            list.insert(
                0,
                json!({
                    "transaction_id": "ef".repeat(32),
                    "token_info": { "symbol": "USDT", "address": contract.base58(), "decimals": 6, "name": "Tether USD" },
                    "block_timestamp": view.head().timestamp_ms,
                    "from": from,
                    "to": to.base58(),
                    "type": "Transfer",
                    "value": amount.to_string(),
                }),
            );
        }
        _ => {}
    }
}
