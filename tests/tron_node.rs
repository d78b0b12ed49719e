//! The fake TRON node itself: each behaviour that others rely on, once.

mod broadcasts;
mod faults;
mod forks;
mod http;
mod model;
mod tokens;
mod vectors;

use serde_json::{Value, json};

use crate::support::tron::address::hex;
use crate::support::tron::transaction::Transaction;
use crate::support::tron::{Address, Config, Network, Wallet};

const USDT: u128 = 1_000_000;

/// A network of one node, and a wallet with 1,000 USDT and 1,000 TRX.
fn network() -> (Network, Wallet) {
    network_of(1)
}

fn network_of(nodes: usize) -> (Network, Wallet) {
    let mut network = Network::new(Config::default(), nodes, 1);
    let wallet = Wallet::labelled("payer");
    network.chain.give_trx(wallet.address, 1_000_000_000);
    network.chain.give_usdt(wallet.address, 1_000_000_000);
    (network, wallet)
}

fn payee() -> Address {
    Address::labelled("payee")
}

fn send(network: &mut Network, node: usize, transaction: &Transaction) -> Value {
    network.post(node, "/wallet/broadcasthex", &json!({ "transaction": hex(&transaction.encode()) })).value()
}

fn receipt(network: &mut Network, node: usize, transaction: &Transaction) -> Value {
    network.post(node, "/wallet/gettransactioninfobyid", &json!({ "value": hex(&transaction.txid) })).value()
}

fn solid_receipt(network: &mut Network, node: usize, transaction: &Transaction) -> Value {
    network.post(node, "/walletsolidity/gettransactioninfobyid", &json!({ "value": hex(&transaction.txid) })).value()
}

#[test]
fn it_shares_no_code_with_the_product() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tron");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 15, "the files were read");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let foreign = ["lucid", "crate::"].iter().find(|name| text.contains(**name));
        assert_eq!(foreign, None, "{}", file.display());
    }
}
