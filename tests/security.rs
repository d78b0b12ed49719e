//! What looks like an attack or a mistake with money raises one alert, which is over when the thing is.

use lucid::domain::address::PayoutAddress;
use lucid::domain::ids::PayoutId;
use lucid::domain::ledger::{Book, Settlement};
use lucid::domain::money::{Currency, Units};
use lucid::domain::payout::{Payout, Priority, Source, State};
use lucid::live::Job;
use lucid::storage::core::{nodes, payouts};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::site::Site;

async fn open(site: &Site) -> Vec<(String, String)> {
    site.app.context.run(Job::Security).await.unwrap();
    let body = site.client.get("/alerts?state=open").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found: Vec<_> = body["alerts"].as_array().unwrap().iter().map(|a| (text(&a["kind"]), text(&a["subject"]))).collect();
    found.sort();
    found
}

fn alert(kind: &str, subject: &str) -> (String, String) {
    (kind.to_owned(), subject.to_owned())
}

#[tokio::test]
async fn five_refused_sign_ins_raise_one_alert_that_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let me = site.client.get("/auth/me").await["user"]["id"].as_str().unwrap().to_owned();
    let name = site.client.get("/auth/me").await["user"]["username"].as_str().unwrap().to_owned();
    let guess = async || {
        let body = json!({ "username": name, "password": "a wrong password" });
        site.client.anonymous().call(Method::POST, "/auth/login", Some(body)).await
    };
    for _ in 0..4 {
        guess().await;
    }
    assert_eq!(open(&site).await, []);
    for _ in 0..4 {
        guess().await;
    }
    let both = [alert("authentication_failures", "127.0.0.0/24"), alert("authentication_failures", &me)];
    assert_eq!(open(&site).await, both, "the fifth is written at once");
    let before = site.app.store.core.commits();
    assert_eq!(open(&site).await, both);
    assert_eq!(site.app.store.core.commits(), before, "what stands is not written again");
    let site = site.crash().await;
    assert_eq!(open(&site).await, both, "a restart says nothing twice");
    site.driver.advance_ms(15 * 60_000 + 1);
    assert_eq!(open(&site).await, []);
}

#[tokio::test]
async fn junk_refusals_hide_no_attack() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let me = site.client.get("/auth/me").await["user"].clone();
    let junk = site.client.with_token("a-junk-token");
    for route in [
        "/nodes",
        "/nodes/pools",
        "/users",
        "/alerts",
        "/audit",
        "/settings",
        "/payouts",
        "/epochs",
        "/auth/me",
        "/overview",
        "/storage",
        "/rates",
        "/sessions",
    ] {
        assert_ne!(junk.call(Method::GET, route, None).await.0, 200, "{route}");
    }
    for _ in 0..7 {
        let body = json!({ "username": me["username"], "password": "a wrong password" });
        site.client.anonymous().call(Method::POST, "/auth/login", Some(body)).await;
    }
    let found = open(&site).await;
    assert!(found.contains(&alert("authentication_failures", me["id"].as_str().unwrap())), "{found:?}");
    let logged = site.client.get("/audit?operation=request.refuse&text=WrongCredentials").await;
    assert_ne!(logged["pagination"]["total"], 0, "{logged}");
}

#[tokio::test]
async fn unusual_and_frequent_payouts_are_told_for_as_long_as_they_are_recent() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("machine").await.id.to_string();
    let pay = async |seq: u64, amount: i64| {
        let id = PayoutId::parse(&format!("payout_{seq:08}")).unwrap();
        let index = nodes::all(&site.app.store.read().unwrap()).unwrap()[0].index;
        let now = site.app.clock.now();
        let payout = Payout {
            id: id.clone(),
            seq,
            node: index,
            book: Book { settlement: Settlement::Simulated, currency: Currency::Usdt },
            amount: Units(amount),
            address: PayoutAddress::parse("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", Currency::Usdt).unwrap(),
            source: Source::Automatic,
            priority: Priority::Normal,
            state: State::Paid { at: now.wall },
            review: None,
            extra_attempts: 0,
            attempts: Vec::new(),
            created_at: now.wall,
            updated_at: now.wall,
        };
        site.app.store.write(move |tx| payouts::step(tx, None, &payout, None, now)).await.unwrap();
        id.to_string()
    };
    pay(1, 1_000_000).await;
    pay(2, 1_000_000).await;
    assert_eq!(open(&site).await, []);
    let large = pay(3, 10_000_001).await;
    let (unusual, frequent) = (alert("payout_unusual_amount", &large), alert("payouts_frequent", &node));
    assert_eq!(open(&site).await, [unusual.clone(), frequent]);
    site.driver.advance_ms(3_600_000);
    assert_eq!(open(&site).await, std::slice::from_ref(&unusual));
    site.driver.advance_ms(23 * 3_600_000);
    assert_eq!(open(&site).await, []);
}

#[tokio::test]
async fn where_strangers_came_from_is_forgotten_after_a_year() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let body = json!({ "username": "nobody-here", "password": "a wrong password" });
    site.client.anonymous().call(Method::POST, "/auth/login", Some(body)).await;
    let address = async || {
        site.app.context.run(Job::Housekeeping).await.unwrap();
        site.client.get("/audit?operation=request.refuse&text=WrongCredentials").await["entries"][0]["address"].clone()
    };
    assert_eq!(address().await, "127.0.0.1");
    site.driver.advance_ms(335 * 86_400_000);
    assert_eq!(address().await, "127.0.0.1");
    site.driver.advance_ms(62 * 86_400_000);
    assert_eq!(address().await, "erased");
    assert_eq!(site.client.get("/audit?operation=privacy.expire").await["pagination"]["total"], 1);
    assert_eq!(address().await, "erased");
    assert_eq!(site.client.get("/audit?operation=privacy.expire").await["pagination"]["total"], 1, "once");
    assert_eq!(site.client.get("/audit/verify").await["ok"], true);
}
