//! Faults by script: each of them once, and how requests are chosen.

use serde_json::{Value, json};

use super::{USDT, network, payee, receipt, send, solid_receipt};
use crate::support::tron::address::hex;
use crate::support::tron::block::VmResult;
use crate::support::tron::chain::SOLID_DISTANCE;
use crate::support::tron::token::number;
use crate::support::tron::{Address, Answer, Config, Delivery, Fault, Lie, Network, When};

const HEAD: &str = "/wallet/getnowblock";

fn with(network: &mut Network, path: &str, fault: Fault) {
    network.nodes[0].faults.clear();
    network.nodes[0].faults.add(path, When::Always, fault);
}

fn ask(network: &mut Network, path: &str) -> Answer {
    network.post(0, path, &json!({}))
}

#[test]
fn a_request_is_chosen_by_path_and_by_count() {
    let (mut network, _) = network();
    let faults = &mut network.nodes[0].faults;
    faults.add("getnowblock", When::Nth(2), Fault::Status(503));
    faults.add("walletsolidity", When::After(1), Fault::Status(429));
    faults.add("/wallet/getnodeinfo", When::First(1), Fault::Limiter);
    let statuses = |network: &mut Network, path: &str| [(); 3].map(|()| ask(network, path).status);
    assert_eq!(statuses(&mut network, HEAD), [200, 503, 200]);
    assert_eq!(statuses(&mut network, "/walletsolidity/getnowblock"), [200, 429, 429]);
    assert!(ask(&mut network, "/wallet/getnodeinfo").value()["Error"].as_str().unwrap().contains("lack of computing resources"));
    assert!(ask(&mut network, "/wallet/getnodeinfo").value()["block"].is_string());
    assert_eq!(ask(&mut network, "/wallet/getnowblockx").status, 404);
    assert_eq!(network.nodes[0].requests["/walletsolidity/getnowblock"], 3);
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let play = |seed| {
        let mut network = Network::new(Config::default(), 1, seed);
        network.nodes[0].faults.add("", When::Chance(300), Fault::Status(503));
        (0..200).map(|_| ask(&mut network, HEAD).status == 503).collect::<Vec<_>>()
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
    let share = play(7).iter().filter(|failed| **failed).count();
    assert!((30..90).contains(&share), "{share} of 200");
}

#[test]
fn gateways_refuse_in_their_ways() {
    let (mut network, _) = network();
    for code in [401, 403, 429] {
        with(&mut network, "", Fault::Status(code));
        let answer = ask(&mut network, HEAD);
        assert_eq!((answer.status, answer.value()["Error"].is_string()), (code, true));
    }
    with(&mut network, "", Fault::Status(503));
    assert_eq!((ask(&mut network, HEAD).status, ask(&mut network, HEAD).value()), (503, Value::Null));
    with(&mut network, "", Fault::ErrorBody("class org.tron.core.exception.BadItemException : null"));
    assert!(ask(&mut network, HEAD).value()["Error"].as_str().unwrap().starts_with("class"));
    network.nodes[0].faults.clear();
    network.nodes[0].api_key = Some("secret".to_owned());
    assert_eq!(ask(&mut network, HEAD).status, 401);
    assert_eq!(network.answer(0, "POST", HEAD, &[("Tron-Pro-Api-Key", "secret")], b"{}").status, 200);
    network.nodes[0].api_key = None;
    network.nodes[0].requests_per_second = Some(2);
    assert_eq!([(); 3].map(|()| ask(&mut network, HEAD).status), [200, 200, 429]);
    network.chain.advance(1_000);
    assert_eq!(ask(&mut network, HEAD).status, 200);
    network.nodes[0].max_body = 100;
    assert_eq!(network.answer(0, "POST", HEAD, &[], &[b' '; 101]).status, 413);
}

#[test]
fn bodies_are_cut_swollen_and_not_json() {
    let (mut network, _) = network();
    let whole = ask(&mut network, HEAD);
    with(&mut network, "", Fault::CutBody(10));
    assert_eq!(ask(&mut network, HEAD).delivery, Delivery::Cut(10));
    with(&mut network, "", Fault::Truncated);
    let truncated = ask(&mut network, HEAD);
    assert_eq!((truncated.body.len(), truncated.value()), (whole.body.len() / 2, Value::Null));
    with(&mut network, "", Fault::Huge(20_000_000));
    let huge = ask(&mut network, HEAD);
    assert_eq!((huge.body.len(), huge.value()), (whole.body.len() + 20_000_000, whole.value()));
    with(&mut network, "", Fault::NotJson);
    assert!(ask(&mut network, HEAD).body.starts_with(b"<!DOCTYPE"));
    with(&mut network, "", Fault::EmptyBody);
    assert_eq!(ask(&mut network, HEAD).body, b"");
    with(&mut network, "", Fault::WrongShape);
    assert!(ask(&mut network, HEAD).value().is_array());
}

#[test]
fn answers_are_lost_before_and_after_the_deed() {
    let (mut network, wallet) = network();
    let cases = [
        (Fault::LostResponse, Delivery::Lost, true),
        (Fault::TimeoutAfter, Delivery::Silence, true),
        (Fault::TimeoutBefore, Delivery::Silence, false),
        (Fault::NotReached, Delivery::Unreachable, false),
    ];
    for (fault, delivery, done) in cases {
        with(&mut network, "broadcasthex", fault);
        let transaction = wallet.pay(&network.chain, payee(), USDT);
        let body = json!({ "transaction": hex(&transaction.encode()) });
        assert_eq!(network.post(0, "/wallet/broadcasthex", &body).delivery, delivery);
        assert_eq!(network.chain.pending(&transaction.txid).is_some(), done);
        network.chain.produce_block();
    }
    with(&mut network, "broadcasthex", Fault::StatusAfter(503));
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    assert_eq!(network.post(0, "/wallet/broadcasthex", &json!({ "transaction": hex(&transaction.encode()) })).status, 503);
    network.chain.produce_block();
    assert_eq!(network.chain.payments()[&(payee(), USDT)], 3);
}

#[test]
fn a_timeout_and_a_late_inclusion_go_together() {
    let (mut network, wallet) = network();
    network.nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::TimeoutAfter);
    network.nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::IncludedAfter(30_000));
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    assert_eq!(send(&mut network, 0, &transaction), Value::Null);
    network.chain.advance(27_000);
    assert_eq!(receipt(&mut network, 0, &transaction), json!({}));
    network.chain.advance(6_000);
    assert_eq!(receipt(&mut network, 0, &transaction)["receipt"]["result"], "SUCCESS");
}

#[test]
fn nodes_without_history_say_nothing_for_ever() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(SOLID_DISTANCE + 1);
    assert_ne!(solid_receipt(&mut network, 0, &transaction), json!({}));
    with(&mut network, "gettransactioninfobyid", Fault::HistoryOff);
    assert_eq!(solid_receipt(&mut network, 0, &transaction), json!({}));
    network.nodes[0].faults.clear();
    network.nodes[0].history = false;
    assert_eq!(solid_receipt(&mut network, 0, &transaction), json!({}));
    network.nodes[0].lite = true;
    for (path, body) in [("gettransactioninfobyid", json!({ "value": hex(&transaction.txid) })), ("getblockbynum", json!({ "num": 0 }))] {
        let answer = network.post(0, &format!("/wallet/{path}"), &body);
        assert_eq!(answer.body, b"this API is closed because this node is a lite fullnode");
    }
    assert_eq!(ask(&mut network, HEAD).status, 200);
    with(&mut network, "getnowblock", Fault::LiteText);
    assert_eq!(ask(&mut network, HEAD).value(), Value::Null);
}

#[test]
fn one_answer_may_be_older_than_the_one_before() {
    let (mut network, _) = network();
    network.nodes[0].faults.add("getnowblock", When::Nth(2), Fault::Stale(7));
    let mut top = || ask(&mut network, "/walletsolidity/getnowblock").value()["block_header"]["raw_data"]["number"].as_u64().unwrap();
    let (first, second, third) = (top(), top(), top());
    assert!(second < first, "{second} after {first}");
    assert_eq!(third, first);
}

#[test]
fn receipts_lie() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(SOLID_DISTANCE + 1);
    let truth = solid_receipt(&mut network, 0, &transaction);
    let other = Address::labelled("other");
    let word = |address: &Address| json!(hex(&address.word()));
    let mut lie = |lie: Lie| {
        with(&mut network, "gettransactioninfobyid", Fault::Lie(lie));
        let told = solid_receipt(&mut network, 0, &transaction);
        assert_ne!(told, truth);
        told
    };
    assert_eq!(lie(Lie::Amount(7))["log"][0]["data"], hex(&number(7)));
    assert_eq!(lie(Lie::LogContract(other))["log"][0]["address"], hex(other.body()));
    assert_eq!(lie(Lie::Sender(other))["log"][0]["topics"][1], word(&other));
    assert_eq!(lie(Lie::Recipient(other))["log"][0]["topics"][2], word(&other));
    assert_eq!(lie(Lie::NoLog).get("log"), None);
    assert_ne!(lie(Lie::Id)["id"], truth["id"]);
    assert_eq!(lie(Lie::BlockNumber(5))["blockNumber"], 5);
    assert_eq!(lie(Lie::NoReceipt), json!({}));
    let failed = lie(Lie::Result(VmResult::Revert));
    assert_eq!((&failed["result"], &failed["receipt"]["result"]), (&json!("FAILED"), &json!("REVERT")));

    // And what was never paid is said to be paid.
    let never = wallet.pay(&network.chain, payee(), 5 * USDT);
    let paid = Lie::Paid { from: wallet.address, to: payee(), amount: 5 * USDT };
    with(&mut network, "gettransactioninfobyid", Fault::Lie(paid));
    let told = solid_receipt(&mut network, 0, &never);
    assert_eq!((&told["id"], &told["receipt"]["result"]), (&json!(hex(&never.txid)), &json!("SUCCESS")));
    assert_eq!(told["log"][0]["data"], hex(&number(5 * USDT)));
}

#[test]
fn a_failed_call_may_be_said_to_have_succeeded() {
    let (mut network, wallet) = network();
    network.chain.token.paused = true;
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce_block();
    with(&mut network, "gettransactioninfobyid", Fault::Lie(Lie::Result(VmResult::Success)));
    let told = receipt(&mut network, 0, &transaction);
    assert_eq!((told.get("result"), &told["receipt"]["result"]), (None, &json!("SUCCESS")));
    assert_eq!(network.chain.payments().len(), 0);
}

#[test]
fn blocks_balances_broadcasts_and_histories_lie() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    with(&mut network, "broadcasthex", Fault::Lie(Lie::Accepted));
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
    assert_eq!(network.chain.pool().len(), 0);
    network.nodes[0].faults.clear();
    send(&mut network, 0, &transaction);
    network.chain.produce_block();
    let truth = ask(&mut network, HEAD).value();
    assert_eq!(truth["transactions"][0]["txID"], hex(&transaction.txid));

    with(&mut network, "getnowblock", Fault::Lie(Lie::Ahead(100)));
    let (told, raw) = (ask(&mut network, HEAD).value(), truth["block_header"]["raw_data"].clone());
    assert_eq!(told["block_header"]["raw_data"]["number"], raw["number"].as_u64().unwrap() + 100);
    assert_eq!(told["block_header"]["raw_data"]["timestamp"], raw["timestamp"].as_u64().unwrap() + 300_000);
    with(&mut network, "getblockbynum", Fault::Lie(Lie::EmptyBlocks));
    let by_number = json!({ "num": raw["number"] });
    assert_eq!(network.post(0, "/wallet/getblockbynum", &by_number).value().get("transactions"), None);
    with(&mut network, "getblockbynum", Fault::Lie(Lie::Unlinked));
    assert_ne!(network.post(0, "/wallet/getblockbynum", &by_number).value()["block_header"]["raw_data"]["parentHash"], raw["parentHash"]);
    with(&mut network, "getaccount", Fault::Lie(Lie::Value(3)));
    assert_eq!(network.post(0, "/wallet/getaccount", &json!({ "address": wallet.address.hex() })).value()["balance"], 3);

    let path = format!("/v1/accounts/{}/transactions/trc20", wallet.address);
    let mut count = |lie: Option<Lie>| {
        network.nodes[0].faults.clear();
        if let Some(lie) = lie {
            network.nodes[0].faults.add("v1", When::Always, Fault::Lie(lie));
        }
        network.answer(0, "GET", &path, &[], b"").value()["data"].as_array().unwrap().len()
    };
    let junk = Lie::JunkHistory { contract: Address::labelled("a copy of the token"), to: payee(), amount: 1 };
    assert_eq!([count(None), count(Some(Lie::ShortHistory)), count(Some(junk))], [1, 0, 2]);
}

/// What 10,000 runs of payouts have to live with. The limit is far below what is expected (20,000), for slow and busy machines.
#[test]
fn requests_in_this_process_are_fast() {
    let (mut network, wallet) = network();
    network.chain.give_trx(wallet.address, 10_000_000_000);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.produce(SOLID_DISTANCE + 1);
    let path = "/walletsolidity/gettransactioninfobyid";
    let body = json!({ "value": hex(&transaction.txid) }).to_string();
    let mut rate = |name: &str, count: u32, work: &mut dyn FnMut(&mut Network)| {
        let watch = lucid::clock::Stopwatch::start();
        for _ in 0..count {
            work(&mut network);
        }
        let rate = f64::from(count) / watch.elapsed().as_secs_f64();
        println!("{name}: {rate:.0}/s");
        rate
    };
    let receipts = rate("receipts", 5_000, &mut |network| drop(network.answer(0, "POST", path, &[], body.as_bytes())));
    let heads = rate("heads", 5_000, &mut |network| drop(network.answer(0, "POST", "/walletsolidity/getnowblock", &[], b"{}")));
    rate("blocks", 5_000, &mut |network| network.chain.produce_block());
    rate("transfers signed, sent and included", 200, &mut |network| {
        let transaction = wallet.pay(&network.chain, payee(), USDT);
        assert_eq!(send(network, 0, &transaction)["code"], "SUCCESS");
        network.chain.produce_block();
    });
    assert!(receipts > 2_000.0 && heads > 2_000.0, "{receipts:.0} receipts and {heads:.0} heads a second");
}
