//! A month ends: what it earned stands on its statement, whatever was posted first, and the ledger is closed behind it once.

use lucid::clock::Driver;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{BootMs, Timestamp};
use lucid::live::Job;
use lucid::storage::core::checkpoints;
use lucid::storage::core::ledger_check::Depth;
use lucid::storage::verify::verify_to;
use serde_json::json;

use crate::support::site::Site;

#[tokio::test]
async fn a_month_that_ends_is_stated_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let driver = Driver::new(Timestamp::parse_rfc3339("2026-09-30T22:00:00Z").unwrap(), BootMs(60_000));
    driver.set_synchronised(true);
    let mut site = Site::open(dir.path().join("data"), driver, Vec::new()).await;
    site.set_up().await;
    let mut node = site.enrol("late").await;
    let mut adjusted = false;
    // Until 01:00: an hour and more of September is valid, and posted in October.
    while site.now_ms() < Timestamp::parse_rfc3339("2026-10-01T01:00:00Z").unwrap().0 {
        site.next_slot(5_000);
        node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
        // Posted before what September earned is.
        if !adjusted && site.now_ms() > Timestamp::parse_rfc3339("2026-10-01T00:00:10Z").unwrap().0 {
            let order = json!({"node_id": node.id, "amount": "0.5", "currency": "USDT", "reason": "for a test"});
            assert_eq!(site.client.post("/ledger/adjustments", order).await["seq"], 1);
            adjusted = true;
        }
        if (site.now_ms() / 30_000) % 10 == 3 {
            site.run_cycles().await;
        }
    }
    let month = async |month: &str| site.client.get(&format!("/ledger/statements?month={month}")).await["statements"][0].clone();
    let (september, october) = (month("2026-09").await, month("2026-10").await);
    let amount = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
    // Nearly two hours at 0.05 USDT, at a score near 100.
    assert!((0.08..0.11).contains(&amount(&september["earned"])), "{september}");
    assert_eq!(
        (september["adjustments"].as_str(), &september["closing"], &october["opening"]),
        (Some("0"), &september["earned"], &september["earned"])
    );
    assert_eq!((october["adjustments"].as_str(), october["earned"].as_str()), (Some("0.5"), Some("0")));

    let (closed, checkpoint) = checkpoints::last(&site.app.store.read().unwrap()).unwrap().unwrap();
    assert_eq!((closed.to_string(), checkpoint.through), ("2026-09".into(), 3), "the adjustment, and what September earned in both books");
    site.run_cycles().await;
    assert_eq!(checkpoints::last(&site.app.store.read().unwrap()).unwrap().unwrap().1, checkpoint, "once");
    let order = json!({"node_id": node.id, "amount": "-0.1", "currency": "USDT", "reason": "for a test"});
    site.client.post("/ledger/adjustments", order).await;
    for (depth, replayed) in [(Depth::Full, 4), (Depth::SinceCheckpoint, 1)] {
        let ledger = verify_to(&site.app.store, depth).into_iter().find(|finding| finding.part == "ledger").unwrap();
        assert_eq!((ledger.wrong, ledger.records), (None, replayed));
    }
}

#[tokio::test]
async fn what_was_posted_and_paid_two_years_ago_is_archived_and_every_statement_stays() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("payout.threshold_usdt", "10"), ("payout.address_cooldown_hours", "0"), ("payout.max_fee_percent", "0")];
    let site = Site::new(dir.path().join("data"), &settings).await;
    let mut node = site.enrol("first-one").await;
    node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
    site.first_epoch().await;
    let payee = site.payee("payee", "worker", json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3" })).await;
    site.owe(&payee, ("25", "USDT"), "simulated").await;
    site.app.context.run(Job::Payouts).await.unwrap();
    for _ in 0..5 {
        site.pass_slots(2).await;
        site.app.context.run(Job::Tracking).await.unwrap();
    }
    let paid = site.client.get("/nodes/payouts/history").await["payouts"].clone();
    assert_eq!((paid.as_array().unwrap().len(), &paid[0]["status"]), (1, &json!("completed")), "{paid}");
    let later = async |days: i64| {
        site.driver.advance_ms(days * 86_400_000);
        site.app.context.tick();
        for job in [Job::Flush, Job::Epochs] {
            site.app.context.run(job).await.unwrap();
        }
        site.run_cycles().await;
        site.app.context.run(Job::Housekeeping).await.unwrap();
    };
    later(20).await;
    let statement = async || site.client.get("/ledger/statements?month=2026-09&settlement=simulated").await["statements"].clone();
    let (stated, all) = (statement().await, site.client.get("/ledger?limit=100").await);
    let total = all["pagination"]["total"].as_u64().unwrap();
    assert_eq!((all["archived_through"].as_u64(), total), (Some(0), 3), "adjusted, reserved, paid: {all}");
    assert!(checkpoints::last(&site.app.store.read().unwrap()).unwrap().is_some_and(|(month, _)| month.to_string() == "2026-09"));
    later(700).await;
    site.owe(&payee, ("1", "USDT"), "simulated").await;
    assert_eq!(site.client.get("/ledger").await["archived_through"], 0, "two years are not over");
    later(31).await;
    let archives = site.client.get("/archives").await["archives"].clone();
    let of_kind = |kind: &str| archives.as_array().unwrap().iter().find(|archive| archive["kind"] == kind).cloned().expect("an archive");
    let (ledger, payouts) = (of_kind("ledger"), of_kind("payouts"));
    assert_eq!((ledger["period"].as_str(), ledger["count"].as_u64()), (Some("2026-09"), Some(total + 2)), "postings, balances, checkpoint");
    assert_eq!((payouts["period"].as_str(), payouts["count"].as_u64()), (Some("2026-09"), Some(1)));
    let listed = site.client.get("/ledger").await;
    assert_eq!((listed["archived_through"].as_u64(), listed["pagination"]["total"].as_u64()), (Some(total), Some(1)), "{listed}");
    assert_eq!(listed["postings"][0]["seq"], total + 1);
    assert_eq!(site.client.get(&format!("/nodes/{payee}/ledger")).await["archived_through"].as_u64(), Some(total));
    assert_eq!(statement().await, stated);
    assert_eq!(site.client.get("/nodes/payouts/history").await["payouts"], paid, "payouts stay");
    for (depth, replayed) in [(Depth::Full, total + 1), (Depth::SinceCheckpoint, 0)] {
        let findings = verify_to(&site.app.store, depth);
        assert!(findings.iter().all(|finding| finding.wrong.is_none()), "{findings:?}");
        let ledger = findings.into_iter().find(|finding| finding.part == "ledger").unwrap();
        assert!(ledger.records >= replayed && ledger.left_out.is_none(), "{ledger:?}");
    }
    let checked = site.client.post("/ledger/check", json!({})).await;
    assert_eq!((checked["wrong"].clone(), checked["postings"].as_u64()), (serde_json::Value::Null, Some(total + 1)));
    // An archive shows nobody more than the lists that it continues.
    for (scopes, shown) in [(vec!["audit:export"], [403, 403]), (vec!["audit:export", "ledger:read", "payout:read"], [200, 403])] {
        let asked = json!({ "name": scopes.join(" "), "role": "admin", "scopes": scopes, "expires_in_days": 1 });
        let token = site.client.post("/tokens", asked).await["token"].as_str().unwrap().to_owned();
        let narrow = site.client.with_token(token);
        for (archive, shown) in [&ledger, &payouts].into_iter().zip(shown) {
            let path = format!("/archives/{}", archive["manifest"].as_str().unwrap());
            assert_eq!(narrow.call(reqwest::Method::GET, &path, None).await.0, shown, "{path} with {scopes:?}");
        }
    }
    // Without its files the replay begins behind them, and says so.
    let file = dir.path().join("data/archive").join(ledger["file"].as_str().unwrap());
    std::fs::remove_file(file).unwrap();
    let findings = verify_to(&site.app.store, Depth::Full);
    let of = |part: &str| findings.iter().find(|finding| finding.part == part).unwrap();
    assert_eq!((&of("ledger").wrong, of("ledger").records), (&None, 1));
    assert!(of("ledger").left_out.as_ref().unwrap().contains(&format!("postings through {total}")));
    assert!(of("archives").wrong.as_ref().unwrap().contains("is missing"));
}
