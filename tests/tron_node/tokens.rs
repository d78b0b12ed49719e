//! The token's rules, and what calling it costs.

use serde_json::{Value, json};

use super::{USDT, network, payee, receipt, send};
use crate::support::tron::account::Staked;
use crate::support::tron::address::{hex, unhex};
use crate::support::tron::block::VmResult;
use crate::support::tron::token::{ENERGY_TO_HOLDER, ENERGY_TO_NEW, number};
use crate::support::tron::transaction::Raw;
use crate::support::tron::{Address, Network, Wallet};

const ENERGY_PRICE: i64 = 100;

/// Sends a transfer and returns its receipt in the next block.
fn pay(network: &mut Network, wallet: &Wallet, to: Address, amount: u128) -> Value {
    let transaction = wallet.pay(&network.chain, to, amount);
    assert_eq!(send(network, 0, &transaction)["code"], "SUCCESS");
    network.chain.produce_block();
    receipt(network, 0, &transaction)
}

fn call(network: &mut Network, path: &str, fields: Value) -> Value {
    let token = network.chain.token.address.hex();
    let mut body = json!({ "owner_address": Wallet::labelled("payer").address.hex(), "contract_address": token });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    network.post(0, path, &body).value()
}

/// The text in a revert's data.
fn reason(data: &str) -> String {
    let bytes = unhex(data).unwrap();
    assert_eq!(bytes[..4], [0x08, 0xc3, 0x79, 0xa0]);
    let length = usize::from(bytes[67]);
    String::from_utf8(bytes[68..68 + length].to_vec()).unwrap()
}

#[test]
fn a_new_holder_costs_twice_the_energy() {
    let (mut network, wallet) = network();
    let first = pay(&mut network, &wallet, payee(), USDT);
    assert_eq!(first["receipt"]["energy_usage_total"], ENERGY_TO_NEW);
    assert_eq!(first["receipt"]["energy_fee"], ENERGY_TO_NEW * ENERGY_PRICE);
    assert_eq!(first["receipt"]["net_usage"], 345, "the free bandwidth of the day");
    assert_eq!(first["fee"], ENERGY_TO_NEW * ENERGY_PRICE);
    let second = pay(&mut network, &wallet, payee(), USDT);
    assert_eq!(second["receipt"]["energy_usage_total"], ENERGY_TO_HOLDER);
    assert_eq!(second["receipt"]["net_fee"], 345_000);
    assert_eq!(second["fee"], ENERGY_TO_HOLDER * ENERGY_PRICE + 345_000);
}

#[test]
fn stake_pays_instead_of_fees_and_comes_back() {
    let (mut network, wallet) = network();
    network.chain.staked.insert(wallet.address, Staked { bandwidth: 1_000, energy: 150_000 });
    let first = pay(&mut network, &wallet, payee(), USDT);
    assert_eq!((first.get("fee"), first["receipt"]["energy_usage"].as_i64()), (None, Some(ENERGY_TO_NEW)));
    let second = pay(&mut network, &wallet, payee(), USDT);
    let left = 150_000 - ENERGY_TO_NEW;
    let used = second["receipt"]["energy_usage"].as_i64().unwrap();
    assert!((left..left + 10).contains(&used), "{used}: three seconds give a little back");
    let request = json!({ "address": wallet.address.hex() });
    let now = network.post(0, "/wallet/getaccountresource", &request).value();
    assert_eq!((now["EnergyLimit"].as_i64(), now["NetLimit"].as_i64()), (Some(150_000), Some(1_000)));
    assert_eq!((now["NetUsed"].as_i64(), now["freeNetLimit"].as_i64()), (Some(689), Some(600)));
    network.chain.advance(86_400_000);
    let later = network.post(0, "/wallet/getaccountresource", &request).value();
    assert_eq!((later.get("EnergyUsed"), later.get("NetUsed")), (None, None));
}

#[test]
fn a_revert_moves_nothing_and_costs_what_it_used() {
    let (mut network, wallet) = network();
    let cases: [(&str, fn(&mut Network, &Wallet), u128); 4] = [
        ("SafeMath: subtraction overflow", |_, _| {}, 1_001 * USDT),
        ("The receiver is blacklisted", |network, _| network.chain.token.blacklisted = [payee()].into(), USDT),
        ("The sender is blacklisted", |network, wallet| network.chain.token.blacklisted = [wallet.address].into(), USDT),
        ("Pausable: paused", |network, _| network.chain.token.paused = true, USDT),
    ];
    for (words, prepare, amount) in cases {
        prepare(&mut network, &wallet);
        let before = network.chain.trx(&wallet.address).unwrap();
        let failed = pay(&mut network, &wallet, payee(), amount);
        assert_eq!((&failed["result"], &failed["receipt"]["result"]), (&json!("FAILED"), &json!("REVERT")), "{failed}");
        assert_eq!(failed["resMessage"], hex(b"REVERT opcode executed"));
        assert_eq!(reason(failed["contractResult"][0].as_str().unwrap()), words);
        assert_eq!(failed.get("log"), None);
        let fee = failed["fee"].as_i64().unwrap();
        assert!((1..5_000_000).contains(&fee), "{fee}");
        assert_eq!(network.chain.trx(&wallet.address).unwrap(), before - fee);
        assert_eq!(network.chain.usdt(&wallet.address), 1_000_000_000);

        // A call that costs nothing knows it before.
        let parameter = hex(&[&payee().word()[..], &number(amount)].concat());
        let asked = json!({ "function_selector": "transfer(address,uint256)", "parameter": parameter });
        let answer = call(&mut network, "/wallet/triggerconstantcontract", asked);
        assert_eq!(answer["result"], json!({ "result": true, "message": hex(b"REVERT opcode executed") }));
        assert_eq!(answer["transaction"]["ret"], json!([{ "ret": "FAILED" }]));
        assert_eq!(reason(answer["constant_result"][0].as_str().unwrap()), words);
    }
    assert_eq!(network.chain.payments().len(), 0);
}

#[test]
fn too_little_energy_takes_the_whole_limit() {
    let (mut network, wallet) = network();
    let raw = wallet.raw(&network.chain, payee(), USDT);
    let limit = ENERGY_TO_NEW * ENERGY_PRICE;
    let short = wallet.sign(Raw { fee_limit: limit - 1, ..raw.clone() });
    send(&mut network, 0, &short);
    network.chain.produce_block();
    let failed = receipt(&mut network, 0, &short);
    assert_eq!((&failed["result"], &failed["receipt"]["result"]), (&json!("FAILED"), &json!("OUT_OF_ENERGY")));
    assert_eq!(failed["receipt"]["energy_fee"], (ENERGY_TO_NEW - 1) * ENERGY_PRICE);
    assert_eq!(network.chain.usdt(&payee()), 0);
    let enough = wallet.sign(Raw { fee_limit: limit, ..raw.clone() });
    send(&mut network, 0, &enough);
    network.chain.produce_block();
    assert_eq!(receipt(&mut network, 0, &enough)["receipt"]["result"], "SUCCESS");

    // The balance bounds it too.
    network.chain.set_trx(wallet.address, 2_000_000);
    let failed = pay(&mut network, &wallet, payee(), USDT);
    assert_eq!(failed["receipt"]["result"], "OUT_OF_ENERGY");
    assert!(network.chain.trx(&wallet.address).unwrap() < ENERGY_PRICE, "all of it is gone");
}

#[test]
fn other_failures_of_the_machine_can_be_had() {
    let (mut network, wallet) = network();
    for result in [VmResult::OutOfTime, VmResult::BadJumpDestination, VmResult::Unknown] {
        network.chain.forced_results.push_back(result);
        let failed = pay(&mut network, &wallet, payee(), USDT);
        assert_eq!((&failed["result"], &failed["receipt"]["result"]), (&json!("FAILED"), &json!(result.name())));
        assert_eq!(failed["receipt"]["energy_fee"], 30_000_000, "the fee limit");
    }
    assert_eq!(network.chain.usdt(&payee()), 0);
}

#[test]
fn a_fee_on_transfers_shows_in_the_log() {
    let (mut network, wallet) = network();
    network.chain.token.fee_basis_points = 10;
    let seen = pay(&mut network, &wallet, payee(), 10 * USDT);
    assert_eq!(seen["log"][0]["data"], hex(&number(9_990_000)));
    assert_eq!(seen["log"][1]["data"], hex(&number(10_000)));
    assert_eq!(network.chain.usdt(&payee()), 9_990_000);
    let paid = network.chain.audit();
    assert_eq!((paid[0].amount, paid[0].arrived), (10 * USDT, 9_990_000));
}

#[test]
fn the_token_is_asked_by_signature_or_by_data() {
    let (mut network, wallet) = network();
    let word = |answer: &Value| answer["constant_result"][0].as_str().unwrap().to_owned();
    let holder = hex(&wallet.address.word());
    let by_signature = json!({ "function_selector": "balanceOf(address)", "parameter": holder });
    let balance = call(&mut network, "/wallet/triggerconstantcontract", by_signature);
    assert_eq!(word(&balance), hex(&number(1_000 * USDT)));
    assert_eq!((&balance["result"], &balance["transaction"]["ret"]), (&json!({ "result": true }), &json!([{}])));
    assert!(balance["energy_used"].as_i64().unwrap() > 0);
    let by_data = json!({ "data": format!("70a08231{holder}") });
    assert_eq!(word(&call(&mut network, "/walletsolidity/triggerconstantcontract", by_data)), word(&balance));
    let decimals = call(&mut network, "/wallet/triggerconstantcontract", json!({ "function_selector": "decimals()" }));
    assert_eq!(word(&decimals), hex(&number(6)));
    let symbol = call(&mut network, "/wallet/triggerconstantcontract", json!({ "function_selector": "symbol()" }));
    assert_eq!(word(&symbol), format!("{}{}{}", hex(&number(32)), hex(&number(4)), hex(b"USDT") + &"00".repeat(28)));
    let stranger = json!({ "contract_address": payee().hex(), "function_selector": "decimals()" });
    let answer = call(&mut network, "/wallet/triggerconstantcontract", stranger);
    assert_eq!(answer["result"]["code"], "CONTRACT_VALIDATE_ERROR");
    assert_eq!(answer.get("constant_result"), None);
}

#[test]
fn energy_is_estimated_by_nodes_that_do() {
    let (mut network, _) = network();
    let parameter = hex(&[&payee().word()[..], &number(USDT)].concat());
    let asked = json!({ "function_selector": "transfer(address,uint256)", "parameter": parameter });
    let off = call(&mut network, "/wallet/estimateenergy", asked.clone());
    assert_eq!(off["result"]["code"], "CONTRACT_VALIDATE_ERROR");
    assert_eq!(off["result"]["message"], hex(b"this node does not support estimate energy"));
    network.nodes[0].estimates_energy = true;
    assert_eq!(call(&mut network, "/wallet/estimateenergy", asked.clone())["energy_required"], ENERGY_TO_NEW);
    assert_eq!(call(&mut network, "/wallet/triggerconstantcontract", asked)["energy_used"], ENERGY_TO_NEW);
}

#[test]
fn an_account_that_was_never_activated_is_an_empty_object() {
    let (mut network, wallet) = network();
    for path in ["/wallet/getaccount", "/walletsolidity/getaccount", "/wallet/getaccountresource"] {
        assert_eq!(network.post(0, path, &json!({ "address": payee().hex() })).value(), json!({}), "{path}");
    }
    let asked = json!({ "address": wallet.address.base58(), "visible": true });
    let account = network.post(0, "/wallet/getaccount", &asked).value();
    assert_eq!((&account["address"], &account["balance"]), (&json!(wallet.address.base58()), &json!(1_000_000_000)));
    let unreadable = network.post(0, "/wallet/getaccount", &json!({ "address": wallet.address.base58() })).value();
    assert!(unreadable["Error"].is_string(), "base58 without `visible`");
}
