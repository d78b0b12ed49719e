//! LUCID is paid where the service says that it pays it, when somebody asks.

use std::sync::Arc;

use lucid::clock::{Clock, Driver};
use lucid::domain::time::{BootMs, Timestamp, TrustPolicy};
use lucid::gateways::payment::service::{Options, Service};
use lucid::live::Job;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{PLAIN, options};
use crate::support::payment_service::{FakeService, Wire};
use crate::support::site::{START, Site};

const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

#[tokio::test]
async fn lucid_is_paid_where_the_service_pays_it_and_refused_elsewhere() {
    for pays_lucid in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let driver = Driver::new(START, BootMs(60_000));
        driver.set_synchronised(true);
        let fake = FakeService::new(&driver, PLAIN);
        let clock = Clock::driven(&driver, TrustPolicy::Always, Timestamp(0));
        let chosen = Options { pays_lucid, ..options(PLAIN) };
        let service = Service::new(chosen, Arc::new(Wire(Arc::clone(&fake))), None, Arc::new(move || clock.now())).unwrap();
        let settings = vec![("payout.address_cooldown_hours", "0".to_owned())];
        let mut site = Site::open_with(dir.path().join("data"), driver, settings, Arc::new(service)).await;
        site.set_up().await;
        site.first_epoch().await;
        site.app.context.run(Job::Wallet).await.unwrap();
        site.client.post("/money/live", json!({ "owed": "everything" })).await;
        let node = site.payee("worker-1", "worker", json!({ "address": ADDRESS, "currency": "LUCID" })).await;
        site.owe(&node, ("2.00000001", "LUCID"), "live").await;
        let batch = json!({ "payout_requests": [{ "node_id": node, "amount": "1.50000001", "currency": "LUCID" }] });
        let (status, answer) = site.client.call(Method::POST, "/nodes/payouts/batch", Some(batch)).await;
        if !pays_lucid {
            assert_eq!((status.as_u16(), &answer["error"]["details"]["name"]), (422, &json!("CurrencyNotPayable")), "{answer}");
            continue;
        }
        assert_eq!(status.as_u16(), 202, "{answer}");
        for _ in 0..3 {
            site.app.context.run(Job::Payouts).await.unwrap();
            site.driver.advance_ms(60_000);
            fake.tick();
        }
        let payout = site.client.get("/nodes/payouts/history").await["payouts"][0].clone();
        assert_eq!(
            (&payout["status"], &payout["amount"], &payout["currency"]),
            (&json!("completed"), &json!("1.50000001"), &json!("LUCID"))
        );
        let entries = site.client.get(&format!("/audit?subject={}", payout["payout_id"].as_str().unwrap())).await["entries"].clone();
        let mut steps: Vec<&str> = entries.as_array().unwrap().iter().map(|entry| entry["operation"].as_str().unwrap()).collect();
        steps.reverse();
        assert_eq!(steps, ["payout.sign", "payout.send", "payout.named", "payout.end"], "each step has its entry");
        let asked: Value = serde_json::from_str(&fake.posts()[0].body).unwrap();
        assert_eq!((&asked["currency"], &asked["recipient_address"]), (&json!("LUCID"), &json!(ADDRESS)));
        let paid: Vec<_> = fake.paid().into_values().flatten().map(|(to, amount)| (to, amount.to_string())).collect();
        assert_eq!(paid, [(ADDRESS.to_owned(), "1.50000001".to_owned())]);
    }
}
