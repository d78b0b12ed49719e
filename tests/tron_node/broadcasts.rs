//! What a node says to a transaction, in java-tron's order, and what becomes of it.

use serde_json::{Value, json};

use super::{USDT, network, network_of, payee, receipt, send, solid_receipt};
use crate::support::tron::account::Permission;
use crate::support::tron::address::hex;
use crate::support::tron::chain::{SLOT_MS, SOLID_DISTANCE};
use crate::support::tron::transaction::{Raw, Transaction};
use crate::support::tron::{Fault, Wallet, When};

#[test]
fn a_transfer_is_pooled_included_and_solid() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), 10 * USDT);
    let by_id = json!({ "value": hex(&transaction.txid) });

    let answer = send(&mut network, 0, &transaction);
    assert_eq!(answer["result"], true);
    assert_eq!(answer["txid"], hex(&transaction.txid));
    let inner: Value = answer["transaction"].as_str().unwrap().parse().unwrap();
    assert_eq!(inner["txID"], hex(&transaction.txid));
    // The pool is seen by id, and proves nothing: there is no result, no receipt, and nothing on the solid side.
    let pooled = network.post(0, "/wallet/gettransactionbyid", &by_id).value();
    assert_eq!((&pooled["txID"], &pooled["ret"]), (&Value::from(hex(&transaction.txid)), &Value::Null));
    assert_eq!(network.post(0, "/walletsolidity/gettransactionbyid", &by_id).value(), json!({}));
    assert_eq!(receipt(&mut network, 0, &transaction), json!({}));

    network.chain.produce_block();
    let seen = receipt(&mut network, 0, &transaction);
    assert_eq!(seen["blockNumber"], network.chain.head().number);
    assert_eq!(seen["receipt"]["result"], "SUCCESS");
    assert_eq!(seen.get("result"), None, "java-tron leaves out what is a default");
    assert_eq!(seen["contractResult"], json!(["00".repeat(32)]), "the token says false, and has paid");
    assert_eq!(seen["log"][0]["address"], hex(network.chain.token.address.body()));
    assert_eq!(seen["log"][0]["topics"][2], hex(&payee().word()));
    assert_eq!(seen["log"][0]["data"], format!("{:064x}", 10 * USDT));
    assert_eq!(solid_receipt(&mut network, 0, &transaction), json!({}));

    network.chain.produce(SOLID_DISTANCE - 1);
    assert_eq!(solid_receipt(&mut network, 0, &transaction), json!({}));
    network.chain.produce_block();
    assert_eq!(solid_receipt(&mut network, 0, &transaction), seen);
    let number = json!({ "num": seen["blockNumber"] });
    assert_eq!(network.post(0, "/walletsolidity/gettransactioninfobyblocknum", &number).value(), json!([seen]));

    let paid = network.chain.audit();
    assert_eq!(paid.len(), 1);
    assert!(paid[0].solid && paid[0].arrived == 10 * USDT && paid[0].to == payee());
    assert_eq!(network.chain.payments()[&(payee(), 10 * USDT)], 1);
    assert_eq!(network.chain.trx(&wallet.address).unwrap(), 1_000_000_000 - network.chain.fees(&wallet.address));
}

#[test]
fn what_is_known_is_a_duplicate_in_the_pool_and_in_a_block() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
    let again = send(&mut network, 0, &transaction);
    assert_eq!((&again["code"], &again["message"]), (&json!("DUP_TRANSACTION_ERROR"), &json!("Dup transaction.")));
    network.chain.produce_block();
    assert_eq!(send(&mut network, 0, &transaction)["code"], "DUP_TRANSACTION_ERROR");
    network.chain.produce(30);
    assert_eq!(network.chain.payments()[&(payee(), USDT)], 1);
}

#[test]
fn a_cache_calls_duplicate_what_it_refused() {
    let (mut network, wallet) = network();
    network.nodes[0].transaction_cache = true;
    let good = wallet.pay(&network.chain, payee(), USDT);
    let stranger = Wallet::labelled("stranger").sign(good.raw.clone());
    assert_eq!(stranger.txid, good.txid, "a signature is not part of the id");
    assert_eq!(send(&mut network, 0, &stranger)["code"], "SIGERROR");
    let second = send(&mut network, 0, &good);
    assert_eq!((&second["code"], &second["message"]), (&json!("DUP_TRANSACTION_ERROR"), &json!("Transaction already exists.")));
    network.chain.produce(30);
    assert_eq!(network.chain.audit(), [], "it was never taken");
    // An hour later the node has forgotten.
    network.chain.advance(3_600_000);
    let fresh = wallet.sign(Raw { timestamp_ms: good.raw.timestamp_ms, ..wallet.raw(&network.chain, payee(), USDT) });
    assert_eq!(send(&mut network, 0, &fresh)["code"], "SUCCESS");
}

#[test]
fn refusals_have_their_codes() {
    let (mut network, wallet) = network();
    let chain = &network.chain;
    let raw = wallet.raw(chain, payee(), USDT);
    let expiring = |expiration_ms| wallet.sign(Raw { expiration_ms, ..raw.clone() });
    let day = 86_400_000;
    let unreferenced = wallet.sign(Raw { ref_block_hash: vec![7; 8], ..raw.clone() });
    let nonsense = wallet.sign(Raw { fee_limit: 15_000_000_001, ..raw.clone() });
    let mut unsigned = wallet.sign(raw.clone());
    unsigned.signatures.clear();
    let mut short = wallet.sign(raw.clone());
    short.signatures[0].truncate(64);
    let head_ms = chain.head().timestamp_ms;
    let cases = [
        ("TRANSACTION_EXPIRATION_ERROR", expiring(chain.next_slot() - 1)),
        ("TRANSACTION_EXPIRATION_ERROR", expiring(head_ms + day + 1)),
        ("SIGERROR", Wallet::labelled("stranger").sign(raw.clone())),
        ("SIGERROR", unsigned),
        ("SIGERROR", short),
        ("TAPOS_ERROR", unreferenced),
        ("CONTRACT_VALIDATE_ERROR", nonsense),
        ("SUCCESS", expiring(head_ms + day)),
        ("SUCCESS", expiring(chain.next_slot())),
    ];
    for (code, transaction) in cases {
        let answer = send(&mut network, 0, &transaction);
        assert_eq!(answer["code"], code, "{answer}");
    }
}

#[test]
fn of_several_faults_the_first_check_names_its_own() {
    let (mut network, wallet) = network();
    let raw = wallet.raw(&network.chain, payee(), USDT);
    let stranger = Wallet::labelled("stranger");
    let (past, far) = (network.chain.now_ms, network.chain.now_ms + 90_000_000);
    let unreferenced = Raw { ref_block_hash: vec![7; 8], ..raw.clone() };
    let known = wallet.sign(raw.clone());
    assert_eq!(send(&mut network, 0, &known)["code"], "SUCCESS");
    network.chain.set_trx(wallet.address, 0);
    network.chain.produce_block();
    let cases = [
        ("TRANSACTION_EXPIRATION_ERROR", stranger.sign(Raw { expiration_ms: past, ..raw.clone() })),
        ("SIGERROR", stranger.sign(unreferenced.clone())),
        ("TAPOS_ERROR", wallet.sign(Raw { expiration_ms: far, ..unreferenced })),
        ("TRANSACTION_EXPIRATION_ERROR", wallet.sign(Raw { expiration_ms: far, ..raw.clone() })),
        ("DUP_TRANSACTION_ERROR", known),
        ("BANDWITH_ERROR", wallet.sign(Raw { fee_limit: -1, timestamp_ms: 1, ..raw })),
    ];
    for (code, transaction) in cases {
        assert_eq!(send(&mut network, 0, &transaction)["code"], code);
    }
}

#[test]
fn who_has_neither_bandwidth_nor_trx_is_refused() {
    let (mut network, wallet) = network();
    network.chain.set_trx(wallet.address, 344_999);
    let first = wallet.pay(&network.chain, payee(), USDT);
    assert_eq!(send(&mut network, 0, &first)["code"], "SUCCESS", "free bandwidth");
    network.chain.produce_block();
    let second = wallet.pay(&network.chain, payee(), USDT);
    let answer = send(&mut network, 0, &second);
    assert_eq!(answer["code"], "BANDWITH_ERROR");
    network.chain.give_trx(wallet.address, 20_000_000);
    assert_eq!(send(&mut network, 0, &second)["code"], "SUCCESS");
}

#[test]
fn a_pool_forgets_after_a_minute() {
    let (mut network, wallet) = network();
    network.chain.capacity = 0;
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    network.chain.advance(59_999);
    assert_eq!(network.chain.pool().len(), 1);
    network.chain.advance(1);
    assert_eq!(network.chain.pool().len(), 0);
    network.chain.capacity = 1;
    network.chain.produce(3);
    assert_eq!(network.chain.audit(), []);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS", "the same bytes may come again");
    network.chain.produce_block();
    assert_eq!(network.chain.audit().len(), 1);
}

#[test]
fn accepted_is_not_included() {
    let (mut network, wallet) = network_of(2);
    network.nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::NeverIncluded);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
    let by_id = json!({ "value": hex(&transaction.txid) });
    assert_eq!(network.post(0, "/wallet/gettransactionbyid", &by_id).value()["txID"], hex(&transaction.txid));
    assert_eq!(network.post(1, "/wallet/gettransactionbyid", &by_id).value(), json!({}), "nobody else heard of it");
    network.chain.produce(10);
    assert_eq!(receipt(&mut network, 0, &transaction), json!({}));
    assert_eq!(network.chain.audit(), []);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "DUP_TRANSACTION_ERROR", "the node that keeps it to itself");
    assert_eq!(send(&mut network, 1, &transaction)["code"], "SUCCESS");
    network.chain.produce_block();
    assert_eq!(network.chain.audit().len(), 1, "another node's neighbours hear of it");
}

#[test]
fn a_late_inclusion_outlives_the_pool_but_not_the_expiry() {
    let (mut network, wallet) = network();
    network.nodes[0].faults.add("broadcasthex", When::Always, Fault::IncludedAfter(90_000));
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    send(&mut network, 0, &transaction);
    let mut short = wallet.raw(&network.chain, payee(), 2 * USDT);
    short.expiration_ms = network.chain.now_ms + 80_000;
    let dead = wallet.sign(short);
    send(&mut network, 0, &dead);
    network.chain.advance(89_000);
    assert_eq!(receipt(&mut network, 0, &transaction), json!({}));
    network.chain.advance(2 * SLOT_MS);
    assert_eq!(receipt(&mut network, 0, &transaction)["receipt"]["result"], "SUCCESS");
    network.chain.produce(40);
    assert_eq!(receipt(&mut network, 0, &dead), json!({}));
}

#[test]
fn inclusion_needs_an_expiry_after_the_parent() {
    let (mut network, wallet) = network();
    network.chain.producing = false;
    let mut raw = wallet.raw(&network.chain, payee(), USDT);
    raw.expiration_ms = network.chain.next_slot();
    let transaction = wallet.sign(raw);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
    // The slot is missed; the next block's parent is still older than the expiry.
    network.chain.miss(2 * SLOT_MS);
    network.chain.produce_block();
    assert_eq!(network.chain.audit().len(), 1);
}

#[test]
fn nodes_refuse_before_the_pool() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    for code in ["SERVER_BUSY", "NO_CONNECTION", "BLOCK_UNSOLIDIFIED"] {
        network.nodes[0].faults.clear();
        network.nodes[0].faults.add("broadcasthex", When::Always, Fault::Refused(code));
        assert_eq!(send(&mut network, 0, &transaction)["code"], code);
        assert_eq!(network.chain.pool().len(), 0);
    }
    network.nodes[0].faults.clear();
    network.nodes[0].unsolidified_limit = Some(30);
    network.chain.freeze_solid(true);
    network.chain.produce(20);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "BLOCK_UNSOLIDIFIED", "the node's own rule says so too");
    network.chain.freeze_solid(false);
    assert_eq!(send(&mut network, 0, &transaction)["code"], "SUCCESS");
}

#[test]
fn a_failed_p2p_broadcast_is_included_all_the_same() {
    let (mut network, wallet) = network();
    network.nodes[0].faults.add("broadcasthex", When::Always, Fault::P2pFailed);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    let answer = send(&mut network, 0, &transaction);
    assert_eq!((&answer["code"], &answer["message"]), (&json!("NOT_ENOUGH_EFFECTIVE_CONNECTION"), &json!("P2P broadcast failed.")));
    network.chain.produce_block();
    assert_eq!(network.chain.payments()[&(payee(), USDT)], 1);
}

#[test]
fn permissions_decide_who_signs() {
    let (mut network, wallet) = network();
    let (hot, other) = (Wallet::labelled("hot"), Wallet::labelled("other"));
    let active = Permission::active(3, 2, vec![(hot.address, 1), (other.address, 1)]).only(31);
    network.chain.permissions.insert(wallet.address, vec![Permission::owner(wallet.address), active]);
    let mut raw = wallet.raw(&network.chain, payee(), USDT);
    raw.permission_id = 3;
    let one = hot.sign(raw.clone());
    assert_eq!(send(&mut network, 0, &one)["code"], "SIGERROR", "one of two");
    let twice = Transaction::of(raw.clone(), vec![one.signatures[0].clone(), one.signatures[0].clone()]);
    assert_eq!(send(&mut network, 0, &twice)["code"], "SIGERROR", "the same one twice");
    let both = Transaction::of(raw.clone(), vec![one.signatures[0].clone(), other.sign(raw.clone()).signatures[0].clone()]);
    assert_eq!(send(&mut network, 0, &both)["code"], "SUCCESS");
    raw.permission_id = 4;
    assert_eq!(send(&mut network, 0, &hot.sign(raw))["code"], "SIGERROR", "no such permission");
}

#[test]
fn fields_are_encoded_again_and_their_hexadecimal_is_ignored() {
    let (mut network, wallet) = network();
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    for visible in [false, true] {
        let mut object = crate::support::tron::json::transaction(&transaction, None, visible);
        object.insert("raw_data_hex".to_owned(), "00".into());
        let answer = network.post(0, "/wallet/broadcasttransaction", &Value::Object(object)).value();
        assert_eq!(answer["txid"], hex(&transaction.txid), "{answer}");
        if visible {
            assert_eq!(answer["message"], "Dup transaction.");
        } else {
            assert_eq!(answer, json!({ "result": true, "txid": hex(&transaction.txid) }), "defaults are left out");
        }
    }
}
