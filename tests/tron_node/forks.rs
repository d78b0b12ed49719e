//! Branches, finality, and nodes that see another chain.

use serde_json::{Value, json};

use super::{USDT, network, network_of, payee, receipt, send, solid_receipt};
use crate::support::tron::address::hex;
use crate::support::tron::chain::{NILE_GENESIS, SOLID_DISTANCE};
use crate::support::tron::transaction::Raw;
use crate::support::tron::{Network, Replay};

fn head(network: &mut Network, node: usize, path: &str) -> Value {
    network.post(node, path, &json!({})).value()
}

fn number(block: &Value) -> u64 {
    block["block_header"]["raw_data"]["number"].as_u64().unwrap()
}

#[test]
fn blocks_follow_each_other() {
    let (mut network, _) = network();
    network.chain.produce(5);
    let top = network.chain.head().number;
    let list = network.post(0, "/wallet/getblockbylimitnext", &json!({ "startNum": top - 10, "endNum": top + 1 })).value();
    let blocks = list["block"].as_array().unwrap();
    assert_eq!(blocks.len(), 11);
    for pair in blocks.windows(2) {
        let raw = &pair[1]["block_header"]["raw_data"];
        assert_eq!(raw["parentHash"], pair[0]["blockID"]);
        assert_eq!(number(&pair[1]), number(&pair[0]) + 1);
        assert_eq!(raw["timestamp"].as_i64().unwrap() - pair[0]["block_header"]["raw_data"]["timestamp"].as_i64().unwrap(), 3_000);
        assert_eq!(pair[1]["blockID"].as_str().unwrap()[..16], format!("{:016x}", number(&pair[1])));
    }
    assert_eq!(head(&mut network, 0, "/wallet/getnowblock"), blocks[10]);
    let by_number = network.post(0, "/wallet/getblockbynum", &json!({ "num": top })).value();
    let by_id = network.post(0, "/wallet/getblockbyid", &json!({ "value": blocks[10]["blockID"] })).value();
    assert_eq!((&by_number, &by_id), (&blocks[10], &blocks[10]));
    assert_eq!(number(&head(&mut network, 0, "/walletsolidity/getnowblock")), top - SOLID_DISTANCE);
    let unknown = json!({ "num": top - SOLID_DISTANCE + 1 });
    assert_eq!(network.post(0, "/walletsolidity/getblockbynum", &unknown).value(), json!({}));
}

#[test]
fn a_reorganisation_takes_back_what_its_blocks_did() {
    let (mut network, wallet) = network();
    network.chain.produce(2);
    let before = (network.chain.trx(&wallet.address), network.chain.usdt(&wallet.address));
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(3);
    let old = network.chain.head().id;
    assert_eq!(network.chain.usdt(&payee()), 1_000_000);

    assert_eq!(network.chain.reorg(3, |_| Replay::Dropped), 3);
    assert_ne!(network.chain.head().id, old);
    assert_eq!((network.chain.trx(&wallet.address), network.chain.usdt(&wallet.address)), before);
    assert_eq!(network.chain.usdt(&payee()), 0);
    assert_eq!(receipt(&mut network, 0, &transaction), json!({}));
    assert_eq!(network.chain.audit(), []);
    network.chain.produce(40);
    assert_eq!(network.chain.audit(), [], "nobody holds it");
    // The same bytes may be sent again while they live.
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
    network.chain.produce_block();
    assert_eq!(network.chain.payments()[&(payee(), USDT)], 1);
}

#[test]
fn what_is_taken_out_may_come_back_at_once_or_later() {
    let (mut network, wallet) = network();
    let at_once = wallet.pay(&network.chain, payee(), USDT);
    let later = wallet.pay(&network.chain, payee(), 2 * USDT);
    send(&mut network, 0, &at_once);
    send(&mut network, 0, &later);
    network.chain.produce(2);
    let old = receipt(&mut network, 0, &at_once);
    let again = at_once.txid;
    network.chain.reorg(2, |txid| if *txid == again { Replay::Included } else { Replay::After(30_000) });
    assert_eq!(receipt(&mut network, 0, &at_once)["blockNumber"], old["blockNumber"], "in the same place, of another branch");
    assert_eq!(receipt(&mut network, 0, &later), json!({}));
    network.chain.advance(33_000);
    assert!(receipt(&mut network, 0, &later)["blockNumber"].as_u64() > old["blockNumber"].as_u64());
    network.chain.produce(SOLID_DISTANCE);
    assert_eq!(network.chain.audit().iter().filter(|paid| paid.solid).count(), 2);
}

#[test]
fn solid_blocks_stay_unless_a_test_lies() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(SOLID_DISTANCE + 1);
    let solid = network.chain.solid();
    let id = network.chain.block(solid).unwrap().id;
    assert_eq!(network.chain.reorg(1_000, |_| Replay::Dropped), SOLID_DISTANCE);
    assert_eq!(network.chain.block(solid).unwrap().id, id);
    assert_eq!(solid_receipt(&mut network, 0, &transaction)["receipt"]["result"], "SUCCESS");
    network.chain.reorg_solid(SOLID_DISTANCE + 3, |_| Replay::Dropped);
    assert_ne!(network.chain.block(solid).unwrap().id, id);
    assert_eq!(solid_receipt(&mut network, 0, &transaction), json!({}));
    assert_eq!(network.chain.solid(), solid);
}

#[test]
fn a_transaction_dies_with_the_block_it_refers_to() {
    let (mut network, wallet) = network();
    let tip = network.chain.head().id;
    let raw = wallet.raw(&network.chain, payee(), USDT);
    let bound = wallet.sign(Raw { ref_block_bytes: tip[6..8].to_vec(), ref_block_hash: tip[8..16].to_vec(), ..raw });
    assert_eq!(send(&mut network, 0, &bound)["code"], "SUCCESS");
    network.chain.reorg(1, |_| Replay::Included);
    network.chain.produce(2);
    assert_eq!(network.chain.audit(), []);
    assert_eq!(send(&mut network, 0, &bound)["code"], "TAPOS_ERROR");
}

#[test]
fn a_solid_head_can_stand_still() {
    let (mut network, _) = network();
    network.chain.freeze_solid(true);
    let (solid, top) = (network.chain.solid(), network.chain.head().number);
    network.chain.produce(100);
    assert_eq!(number(&head(&mut network, 0, "/walletsolidity/getnowblock")), solid);
    assert_eq!(number(&head(&mut network, 0, "/wallet/getnowblock")), top + 100);
    network.chain.freeze_solid(false);
    assert_eq!(network.chain.solid(), top + 100 - SOLID_DISTANCE);
    // Missed slots leave the head, and with it everything, where it is.
    network.chain.miss(60_000);
    assert_eq!(network.chain.head().number, top + 100);
    network.chain.produce_block();
    assert_eq!(network.chain.head().timestamp_ms, network.chain.now_ms);
}

#[test]
fn a_second_node_may_be_late() {
    let (mut network, wallet) = network_of(2);
    network.nodes[1].lag = 4;
    let raw = wallet.raw(&network.chain, payee(), USDT);
    let tip = network.chain.head().id;
    let fresh = wallet.sign(Raw { ref_block_bytes: tip[6..8].to_vec(), ref_block_hash: tip[8..16].to_vec(), ..raw.clone() });
    assert_eq!(send(&mut network, 1, &fresh)["code"], "TAPOS_ERROR", "it has not seen that block");
    let transaction = wallet.sign(raw);
    send(&mut network, 0, &transaction);
    network.chain.produce_block();
    let seen = receipt(&mut network, 0, &transaction);
    assert_eq!(receipt(&mut network, 1, &transaction), json!({}));
    assert_eq!(network.nodes[1].view(&network.chain, 0).top, network.chain.head().number - 4);
    let asked = json!({
        "owner_address": wallet.address.hex(),
        "contract_address": network.chain.token.address.hex(),
        "function_selector": "balanceOf(address)",
        "parameter": hex(&payee().word()),
    });
    let balances = [0, 1].map(|node| network.post(node, "/wallet/triggerconstantcontract", &asked).value()["constant_result"][0].clone());
    assert_eq!(balances, [format!("{USDT:064x}"), format!("{:064x}", 0)]);
    // It takes what is in a block already, and nothing comes of it.
    assert_eq!(send(&mut network, 1, &transaction)["code"], "SUCCESS");
    network.chain.produce(4);
    assert_eq!(receipt(&mut network, 1, &transaction), seen);
    assert_eq!(network.chain.payments()[&(payee(), USDT)], 1);
}

#[test]
fn a_second_node_may_follow_a_branch_of_its_own() {
    let (mut network, wallet) = network_of(2);
    network.nodes[1].fork_off(&network.chain, 2);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(SOLID_DISTANCE + 5);
    let (own, other) = (head(&mut network, 1, "/wallet/getnowblock"), head(&mut network, 0, "/wallet/getnowblock"));
    assert_eq!(number(&own), number(&other));
    assert_ne!(own["blockID"], other["blockID"]);
    assert_eq!(solid_receipt(&mut network, 1, &transaction), json!({}), "its solid head denies what was paid");
    assert_eq!(solid_receipt(&mut network, 0, &transaction)["receipt"]["result"], "SUCCESS");
    let parent = network.post(1, "/wallet/getblockbynum", &json!({ "num": number(&own) - 1 })).value();
    assert_eq!(own["block_header"]["raw_data"]["parentHash"], parent["blockID"], "and its blocks follow each other");
    network.nodes[1].rejoin();
    assert_eq!(head(&mut network, 1, "/wallet/getnowblock"), other);
}

#[test]
fn a_node_may_be_of_another_network() {
    let (mut network, _) = network_of(2);
    network.nodes[1].genesis = crate::support::tron::address::hash_of(NILE_GENESIS);
    let ids = [0, 1].map(|node| network.post(node, "/wallet/getblockbynum", &json!({ "num": 0 })).value()["blockID"].clone());
    assert!(ids[0].as_str().unwrap().ends_with("2b6653dc"));
    assert!(ids[1].as_str().unwrap().ends_with("cd8690dc"));
}

#[test]
fn a_stuck_node_stays_where_it_is() {
    let (mut network, _) = network();
    let top = network.chain.head().number;
    network.nodes[0].stuck_at = Some(top);
    network.chain.produce(50);
    assert_eq!(number(&head(&mut network, 0, "/wallet/getnowblock")), top);
    network.nodes[0].stuck_at = None;
    network.nodes[0].solid_stuck_at = Some(top);
    assert_eq!(number(&head(&mut network, 0, "/walletsolidity/getnowblock")), top);
    assert_eq!(number(&head(&mut network, 0, "/wallet/getnowblock")), top + 50);
}

#[test]
fn a_history_is_paged_and_filtered() {
    let (mut network, wallet) = network();
    let start = network.chain.now_ms;
    for amount in 1..=5 {
        let transaction = wallet.pay(&network.chain, payee(), amount * USDT);
        send(&mut network, 0, &transaction);
        network.chain.produce_block();
    }
    let of = |address: String, query: &str| format!("/v1/accounts/{address}/transactions/trc20?{query}");
    let mut get = |path: String| network.answer(0, "GET", &path, &[], b"");
    let values = |answer: &Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|each| each["value"].as_str().unwrap().to_owned()).collect()
    };
    let payer = wallet.address.base58();
    let first = get(of(payer.clone(), "only_from=true&limit=2")).value();
    assert_eq!(values(&first), ["5000000", "4000000"], "the newest first");
    assert_eq!(first["data"][0]["from"], payer);
    assert_eq!(first["data"][0]["token_info"]["address"], "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
    let next = first["meta"]["fingerprint"].as_str().unwrap();
    let second = get(of(payer.clone(), &format!("only_from=true&limit=2&fingerprint={next}"))).value();
    assert_eq!(values(&second), ["3000000", "2000000"]);
    let next = second["meta"]["fingerprint"].as_str().unwrap();
    let last = get(of(payer.clone(), &format!("only_from=true&limit=2&fingerprint={next}"))).value();
    assert_eq!((values(&last), last["meta"].get("fingerprint")), (vec!["1000000".to_owned()], None));
    assert_eq!(values(&get(of(payer.clone(), "only_to=true")).value()), [""; 0]);
    assert_eq!(values(&get(of(payee().hex(), &format!("only_to=true&min_timestamp={}", start + 12_000))).value()), ["5000000", "4000000"]);
    assert_eq!(values(&get(of(payer.clone(), "only_confirmed=true")).value()), [""; 0]);
    assert_eq!(values(&get(of(payer.clone(), &format!("contract_address={}", payee().base58()))).value()), [""; 0]);
    assert_eq!(get(of("nobody".to_owned(), "")).status, 400);
    network.chain.produce(SOLID_DISTANCE);
    assert_eq!(values(&network.answer(0, "GET", &of(payer.clone(), "only_confirmed=true"), &[], b"").value()).len(), 5);
    network.nodes[0].grid = false;
    assert_eq!(network.answer(0, "GET", &of(payer, ""), &[], b"").status, 404);
}
