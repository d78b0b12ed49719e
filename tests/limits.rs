//! Bounds of requests, and keys that outlive a kill, through the real binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::binary::{self, Manager};
use crate::support::client::{Client, error_name};

const PASSWORD: &str = "correct horse battery";

fn start(dir: &std::path::Path) -> Manager {
    let mut command = binary::serve(dir);
    command.env("LUCID__CLOCK__TRUST", "always");
    binary::start_manager(command)
}

async fn set_up(dir: &std::path::Path) -> (Manager, Client) {
    let manager = start(dir);
    let code = std::fs::read_to_string(dir.join("setup-code")).unwrap();
    let mut client = Client::new(&manager.base);
    client.set_up(code.trim(), None).await;
    (manager, client)
}

/// One POST under a key: status, whether it was a replay, and body. None when nobody answered.
async fn keyed(client: &Client, base: &str, path: &str, key: &str, body: &Value) -> Option<(u16, bool, Value)> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{base}/api/v1{path}")).bearer_auth(client.token()).header("idempotency-key", key);
    let answer = request.header("content-type", "application/json").body(body.to_string()).send().await.ok()?;
    let (status, replayed) = (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
    let text = answer.text().await.ok()?;
    Some((status, replayed, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Each round a request is under way when the process is killed, at another moment of its handling. Whatever was on its way, the same
/// request afterwards ends with exactly one pool of that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_kill_cut_off_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let (mut manager, client) = set_up(&dir).await;
    let (mut done_before, mut cut_off) = (0, 0);
    for round in 0..16_u64 {
        let (name, key) = (format!("pool-{round}"), format!("key-{round}"));
        let body = json!({ "name": name });
        let first = {
            let (client, base, key, body) = (client.with_token(client.token()), manager.base.clone(), key.clone(), body.clone());
            tokio::spawn(async move { keyed(&client, &base, "/nodes/pools", &key, &body).await })
        };
        // From before the request arrives to after it was answered: which moment it is does not matter for what must hold.
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        manager.process.kill();
        let heard = first.await.unwrap();
        manager = start(&dir);
        let (status, replayed, answer) = keyed(&client, &manager.base, "/nodes/pools", &key, &body).await.unwrap();
        match (heard, status) {
            (Some((201, _, before)), _) => {
                assert_eq!((status, replayed, &answer), (201, true, &before), "an answer that was heard is heard again");
                done_before += 1;
            }
            (None, 201) => cut_off += 1,
            (None, 409) => {
                assert_eq!(error_name(&answer), "IdempotencyAnswerNotKept");
                cut_off += 1;
            }
            other => panic!("{other:?} {answer}"),
        }
        let client = Client::new(&manager.base).with_token(client.token());
        let pools = client.get("/nodes/pools?limit=100").await;
        let named = pools["pools"].as_array().unwrap().iter().filter(|pool| pool["name"] == name.as_str()).count();
        assert_eq!(named, 1, "round {round}");
    }
    println!("{done_before} answered before the kill, {cut_off} cut off");
}

/// Sends bytes as they are and reads until the other side closes.
fn raw(base: &str, parts: &[&[u8]], pause: Duration) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for part in parts {
        if stream.write_all(part).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_are_bounded_in_size_depth_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, client) = set_up(&folder.path().join("data")).await;
    let base = manager.base.clone();
    let before = resident_bytes(&manager);
    let token = client.token();
    let head = |extra: &str| {
        format!(
            "POST /api/v1/nodes HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\nconnection: close\r\n{extra}\r\n"
        )
    };

    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(raw(&base, &[head(&many).as_bytes()], Duration::ZERO).starts_with("HTTP/1.1 431"), "200 headers");
    let long = format!("GET /api/v1/nodes?status={} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&base, &[long.as_bytes()], Duration::ZERO);
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "a URI of 1 MiB: {answer:.60}");

    let deep = "[".repeat(100_000);
    let answer = raw(&base, &[head(&format!("content-length: {}\r\n", deep.len())).as_bytes(), deep.as_bytes()], Duration::ZERO);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("nested deeper than 64 levels"), "{answer:.300}");

    let chunk = vec![b' '; 1 << 20];
    let gigabyte: Vec<&[u8]> = std::iter::repeat_n(chunk.as_slice(), 1_024).collect();
    let head_of_gigabyte = head(&format!("content-length: {}\r\n", 1_u64 << 30));
    let parts: Vec<&[u8]> = std::iter::once(head_of_gigabyte.as_bytes()).chain(gigabyte).collect();
    let refused = tokio::task::spawn_blocking({
        let (base, parts) = (base.clone(), parts.iter().map(|part| part.to_vec()).take(64).collect::<Vec<_>>());
        move || raw(&base, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), Duration::ZERO)
    });
    let answer = refused.await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer:.60}");

    // A body that trickles is not waited for; meanwhile others are served.
    let slow = tokio::task::spawn_blocking({
        let (base, head) = (base.clone(), head("content-length: 1000\r\n"));
        move || raw(&base, &[head.as_bytes(), b"{"], Duration::ZERO)
    });
    assert_eq!(client.call(Method::GET, "/nodes", None).await.0, 200);
    let answer = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BodyTooSlow"), "{answer:.200}");
    let grown = resident_bytes(&manager).saturating_sub(before);
    println!("{grown} bytes more than before");
    assert!(grown < 48 << 20, "{grown} bytes");
}

fn resident_bytes(manager: &Manager) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", manager.process.0.id())).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named_over_http_and_a_visitor_is_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, client) = set_up(&folder.path().join("data")).await;
    let (status, answer) = client.call(Method::GET, "/nodes?page=1&page=2&colour=red", None).await;
    let fields: Vec<&str> = answer["error"]["details"]["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!((status.as_u16(), fields), (400, vec!["page", "colour"]));

    let visitor = Client::new(&manager.base).anonymous();
    let mut waited = None;
    for _ in 0..130 {
        let (status, answer) = visitor.call(Method::GET, "/nodes", None).await;
        if status == 429 {
            waited = answer["error"]["details"]["retry_after"].as_u64();
            break;
        }
    }
    assert_eq!(waited, Some(1));
    let (status, _) = client.call(Method::POST, "/auth/login", Some(json!({"username": "x", "password": PASSWORD}))).await;
    assert!(status == 429 || status == 401, "{status}: the address is shared with the visitor");
    assert_eq!(client.call(Method::GET, "/nodes", None).await.0, 200, "and who is signed in does not notice");
}
