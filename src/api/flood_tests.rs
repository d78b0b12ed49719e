//! What floods of refused requests cost: memory, and bytes written to the card.

use std::process::Command;

use axum::http::{Method, StatusCode};

use super::middleware::Peer;
use super::testing::{Site, request};
use crate::live::REFUSALS_FLUSH;

/// Bytes this process has written to files.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

async fn refused(site: &Site, network: u32, name: &str) -> StatusCode {
    let mut request = request(Method::DELETE, &format!("/api/v1/nodes/{name}"), None, &[("authorization", "Bearer forged")]);
    let address = std::net::Ipv4Addr::from(0x0b00_0000 | (network << 8));
    request.extensions_mut().insert(Peer(format!("{address}:9").parse().unwrap()));
    site.send(request).await.status()
}

async fn login(site: &Site, number: u32) -> StatusCode {
    let body = serde_json::json!({"username": format!("guess{number}"), "password": "wrong"});
    let mut request = request(Method::POST, "/api/v1/auth/login", Some(body), &[]);
    request.extensions_mut().insert(Peer(format!("12.0.{}.1:9", number % 250).parse().unwrap()));
    site.send(request).await.status()
}

/// Ten thousand addresses, each of which sends a little: all are counted in a table of fixed size.
#[tokio::test]
async fn ten_thousand_addresses_at_once_take_little_memory() {
    let site = Site::new();
    let token = site.set_up().await;
    let before = resident_bytes();
    for number in 0..30_000 {
        refused(&site, number, "node_x").await;
    }
    let taken = resident_bytes().saturating_sub(before);
    println!("30,000 addresses took {taken} bytes");
    // The table of addresses has 16,384 places of some 35 bytes; the rest is what any thousands of requests leave.
    assert!(taken < 16 << 20, "{taken} bytes");
    let headers = [("authorization", format!("Bearer {token}"))];
    let mut mine = request(Method::GET, "/api/v1/nodes", None, &[(headers[0].0, &headers[0].1)]);
    mine.extensions_mut().insert(Peer("99.0.0.1:9".parse().unwrap()));
    assert_eq!(site.send(mine).await.status(), StatusCode::OK, "who is known is served");
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test]
#[ignore = "measured in a process of its own by the test below"]
async fn day_of_refusals() {
    let site = Site::new();
    site.set_up().await;
    let (before, commits) = (written_bytes(), site.state.store.core.commits());
    let mut number = 0;
    for second in (0..86_400).step_by(20) {
        for _ in 0..2 {
            number += 1;
            let status = refused(&site, number % 60_000, &format!("node_{number}")).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
        if second % 300 == 0 {
            assert_eq!(login(&site, number).await, StatusCode::UNAUTHORIZED);
        }
        site.driver.advance_ms(20_000);
        if second % REFUSALS_FLUSH.as_secs() == 0 {
            site.state.flush_refusals(false).await.unwrap();
        }
    }
    site.state.flush_refusals(true).await.unwrap();
    let commits = site.state.store.core.commits() - commits;
    println!("written: {} in {commits} commits", written_bytes() - before);
}

#[test]
fn a_day_of_refused_requests_writes_less_than_a_megabyte() {
    let test = "api::flood_tests::day_of_refusals";
    let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let written = text.lines().find_map(|line| line.strip_prefix("written: ")?.split(' ').next()?.parse::<u64>().ok());
    println!("{}", text.lines().find(|line| line.starts_with("written: ")).unwrap_or_default());
    assert!(child.status.success() && written.is_some_and(|bytes| bytes < 1_000_000), "{text}");
}
