//! The same over HTTP, where lost answers are connections that end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{USDT, network_of, payee};
use crate::support::tron::address::hex;
use crate::support::tron::server::Server;
use crate::support::tron::transaction::Transaction;
use crate::support::tron::{Fault, When};

/// All that comes back on a connection of its own, until it ends.
async fn exchange(server: &Server, node: usize, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.addresses[node]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has still brought what it brought.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn broadcast(transaction: &Transaction) -> String {
    post("/wallet/broadcasthex", &json!({ "transaction": hex(&transaction.encode()) }))
}

/// The body as JSON, when all of it came.
fn whole(answer: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())?;
    (body.len() == length).then(|| body.parse().ok())?
}

#[tokio::test]
async fn two_nodes_serve_one_chain() {
    let (mut network, wallet) = network_of(2);
    network.nodes[1].lag = 3;
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    let server = Server::start(network).await.unwrap();
    let answer = whole(&exchange(&server, 1, &broadcast(&transaction)).await).unwrap();
    assert_eq!(answer["result"], true);
    server.network().chain.produce_block();
    let asked = post("/wallet/gettransactioninfobyid", &json!({ "value": hex(&transaction.txid) }));
    assert_eq!(whole(&exchange(&server, 0, &asked).await).unwrap()["receipt"]["result"], "SUCCESS");
    assert_eq!(whole(&exchange(&server, 1, &asked).await).unwrap(), json!({}));
    let by_get =
        format!("GET /wallet/gettransactioninfobyid?value={} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n", hex(&transaction.txid));
    assert_eq!(whole(&exchange(&server, 0, &by_get).await).unwrap()["receipt"]["result"], "SUCCESS");
    let missing = exchange(&server, 0, &post("/nothing", &json!({}))).await;
    assert!(missing.starts_with(b"HTTP/1.1 404"));
}

#[tokio::test]
async fn an_answer_is_lost_after_the_deed() {
    let (mut network, wallet) = network_of(1);
    network.nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::LostResponse);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    let server = Server::start(network).await.unwrap();
    assert_eq!(exchange(&server, 0, &broadcast(&transaction)).await, b"");
    server.network().chain.produce_block();
    assert_eq!(server.network().chain.payments()[&(payee(), USDT)], 1);
}

#[tokio::test]
async fn a_body_is_cut_in_the_middle() {
    let (mut network, _) = network_of(1);
    network.nodes[0].faults.add("getnowblock", When::Nth(1), Fault::CutBody(20));
    let server = Server::start(network).await.unwrap();
    let request = post("/wallet/getnowblock", &json!({}));
    let cut = exchange(&server, 0, &request).await;
    let body = std::str::from_utf8(&cut).unwrap().split_once("\r\n\r\n").unwrap().1;
    assert_eq!((body.len(), whole(&cut)), (20, None));
    assert!(whole(&exchange(&server, 0, &request).await).is_some());
}

#[tokio::test]
async fn a_node_is_silent() {
    let (mut network, wallet) = network_of(1);
    network.nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::TimeoutAfter);
    let transaction = wallet.pay(&network.chain, payee(), USDT);
    let server = Server::start(network).await.unwrap();
    let request = broadcast(&transaction);
    let silent = timeout(Duration::from_millis(200), exchange(&server, 0, &request)).await;
    assert!(silent.is_err(), "{silent:?}");
    assert_eq!(server.network().chain.pool().len(), 1);
    let address = server.addresses[0];
    server.stop();
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(address).await.is_err(), "a stopped node takes no connection");
}
