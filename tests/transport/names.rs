//! The names under which a manager answers, and what is no HTTP/1.1.

use lucid::api::capacity::Limits;
use serde_json::Value;

use super::{SHORT, Served, exchange, serve, status};

async fn manager(dir: &std::path::Path) -> Served {
    serve(dir, &[("server.allowed_hosts", "nodes.example"), ("server.public_url", "https://pi.example")], SHORT, Limits::default()).await
}

fn refusal(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    body["error"]["details"]["name"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_page_that_had_its_name_point_to_us_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let get = async |path: &str, host: &str| {
        exchange(manager.main, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await
    };
    let port = manager.main.port();
    for host in ["localhost", &format!("127.0.0.1:{port}"), "[::1]:8095", "nodes.example", "PI.example:443", "a.localhost"] {
        assert_eq!(status(&get("/health/live", host).await), 200, "{host}");
    }
    for path in ["/", "/health/live", "/metrics", "/api/v1/setup", "/nowhere"] {
        let answer = get(path, &format!("evil.example:{port}")).await;
        assert_eq!((status(&answer), refusal(&answer).as_str()), (421, "HostNotAllowed"), "{path}");
    }
    // The page's origin and the host agree: the wall of the origin alone would let this through.
    let body = r#"{"username":"ada","password":"x"}"#;
    let rebound = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(refusal(&exchange(manager.main, &rebound).await), "HostNotAllowed");
    let foreign = rebound.replace("host: evil.example", "host: localhost");
    assert_eq!(refusal(&exchange(manager.main, &foreign).await), "WrongOrigin");
    // What stands in the request line counts before the header.
    let absolute = "GET http://evil.example/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(manager.main, absolute).await), 421);
}

#[tokio::test]
async fn agents_reach_their_manager_under_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let report = "POST /api/v1/agent/report HTTP/1.1\r\nhost: whatever.lan\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let answer = exchange(manager.main, report).await;
    assert_eq!((status(&answer), refusal(&answer).as_str()), (401, "NotSignedIn"), "it was looked at: {answer}");
}

#[tokio::test]
async fn a_request_names_its_host_once_or_is_older_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let answer = async |head: &str| status(&exchange(manager.main, &format!("{head}connection: close\r\n\r\n")).await);
    assert_eq!(answer("GET /health/live HTTP/1.1\r\n").await, 400);
    assert_eq!(answer("GET /health/live HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n").await, 400);
    assert_eq!(answer("GET /health/live HTTP/1.0\r\n").await, 200);
}

#[tokio::test]
async fn another_protocol_is_never_agreed_to() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let upgrade = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
                   http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = exchange(manager.main, upgrade).await;
    assert_eq!((status(&answer), refusal(&answer).as_str()), (400, "UpgradeRefused"), "{answer}");
    let preface = exchange(manager.main, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(preface.is_empty() || status(&preface) == 400, "{preface}");
}

#[tokio::test]
async fn a_body_with_two_lengths_is_not_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let smuggled = "GET /api/v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for lengths in [
        "content-length: 4\r\ncontent-length: 5\r\n".to_owned(),
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", smuggled.len() + 5),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
    ] {
        let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let answer = exchange(manager.main, &format!("{head}{lengths}\r\n0\r\n\r\n{smuggled}")).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && !answer.contains("RouteNotFound"), "{lengths}: {answer}");
        assert!(answer.is_empty() || status(&answer) / 100 == 4, "{lengths}: {answer}");
    }
}
