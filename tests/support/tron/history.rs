//! TronGrid's list of an account's token transfers.

use serde_json::{Value, json};

use super::address::{Address, Hash, hex};
use super::api::query_fields;
use super::json::Object;
use super::node::View;
use super::token::transfer_topic;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 200;

struct Filter {
    only_confirmed: bool,
    only_unconfirmed: bool,
    only_from: bool,
    only_to: bool,
    contract: Option<Address>,
    min_ms: i64,
    max_ms: i64,
    oldest_first: bool,
    limit: usize,
    /// How many transfers the earlier pages had.
    skip: usize,
}

impl Filter {
    fn read(query: &str) -> Result<Filter, String> {
        let mut filter = Filter {
            only_confirmed: false,
            only_unconfirmed: false,
            only_from: false,
            only_to: false,
            contract: None,
            min_ms: i64::MIN,
            max_ms: i64::MAX,
            oldest_first: false,
            limit: DEFAULT_LIMIT,
            skip: 0,
        };
        for (key, value) in query_fields(query) {
            let invalid = || format!("Invalid {key} provided");
            match key {
                "only_confirmed" => filter.only_confirmed = value == "true",
                "only_unconfirmed" => filter.only_unconfirmed = value == "true",
                "only_from" => filter.only_from = value == "true",
                "only_to" => filter.only_to = value == "true",
                "contract_address" => filter.contract = Some(Address::parse(value).ok_or_else(invalid)?),
                "min_timestamp" => filter.min_ms = value.parse().map_err(|_| invalid())?,
                "max_timestamp" => filter.max_ms = value.parse().map_err(|_| invalid())?,
                "order_by" => filter.oldest_first = value.replace("%2C", ",") == "block_timestamp,asc",
                "limit" => filter.limit = value.parse::<usize>().map_err(|_| invalid())?.clamp(1, MAX_LIMIT),
                "fingerprint" => filter.skip = value.strip_prefix("page").and_then(|skip| skip.parse().ok()).ok_or_else(invalid)?,
                _ => {}
            }
        }
        Ok(filter)
    }
}

/// One Transfer log.
struct Transfer {
    txid: Hash,
    time_ms: i64,
    from: Address,
    to: Address,
    amount: u128,
}

/// The status and the body; none for a path that there is not.
pub fn answer(view: &View<'_>, path: &str, query: &str, now_ms: i64) -> Option<(u16, Value)> {
    let address = path.strip_prefix("/v1/accounts/")?.strip_suffix("/transactions/trc20")?;
    let refused = |error: String| (400, json!({ "success": false, "error": error, "statusCode": 400 }));
    let Some(address) = Address::parse(address) else {
        return Some(refused("A valid account address is required.".to_owned()));
    };
    let filter = match Filter::read(query) {
        Ok(filter) => filter,
        Err(error) => return Some(refused(error)),
    };
    let mut found: Vec<Transfer> = transfers(view, &address, &filter);
    if filter.oldest_first {
        found.reverse();
    }
    let token = &view.chain.token;
    let info = json!({ "symbol": token.symbol, "address": token.address.base58(), "decimals": token.decimals, "name": token.name });
    let page: Vec<Value> = found
        .iter()
        .skip(filter.skip)
        .take(filter.limit)
        .map(|transfer| {
            json!({
                "transaction_id": hex(&transfer.txid),
                "token_info": info,
                "block_timestamp": transfer.time_ms,
                "from": transfer.from.base58(),
                "to": transfer.to.base58(),
                "type": "Transfer",
                "value": transfer.amount.to_string(),
            })
        })
        .collect();
    let mut meta = Object::new();
    meta.insert("at".to_owned(), now_ms.into());
    meta.insert("page_size".to_owned(), page.len().into());
    let next = filter.skip + page.len();
    if next < found.len() {
        meta.insert("fingerprint".to_owned(), format!("page{next}").into());
        let link = format!("https://api.trongrid.io{path}?{query}&fingerprint=page{next}");
        meta.insert("links".to_owned(), json!({ "next": link }));
    }
    Some((200, json!({ "data": page, "success": true, "meta": meta })))
}

/// The newest first.
fn transfers(view: &View<'_>, of: &Address, filter: &Filter) -> Vec<Transfer> {
    let mut found = Vec::new();
    if filter.contract.is_some_and(|contract| contract != view.chain.token.address) {
        return found;
    }
    for block in view.busy() {
        let confirmed = block.number <= view.solid;
        if filter.only_confirmed && !confirmed || filter.only_unconfirmed && confirmed {
            continue;
        }
        if !(filter.min_ms..=filter.max_ms).contains(&block.timestamp_ms) {
            continue;
        }
        for executed in block.transactions.iter().rev() {
            for log in executed.receipt.logs.iter().rev().filter(|log| log.topics.first() == Some(&transfer_topic())) {
                let (from, to) = (Address::from_word(&log.topics[1]), Address::from_word(&log.topics[2]));
                let wanted = (from == *of && !filter.only_to) || (to == *of && !filter.only_from);
                if wanted {
                    let amount = log.data[16..].try_into().map(u128::from_be_bytes).unwrap_or(0);
                    found.push(Transfer { txid: executed.transaction.txid, time_ms: block.timestamp_ms, from, to, amount });
                }
            }
        }
    }
    found
}
