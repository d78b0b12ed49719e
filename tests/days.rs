//! Days in seconds: the manager on a driven clock, from enrolment to a simulated payout, with outages, a crash and clocks that lie.

use lucid::domain::metrics::{Cpu, Sample};
use lucid::domain::time::{BootMs, Timestamp};
use serde_json::json;

use crate::support::fleet::Node;
use crate::support::site::{START, Site};

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
const SLOTS_PER_HOUR: u32 = 120;

fn sample(cpu: f64) -> Sample {
    Sample { cpu: Cpu { usage_percent: Some(cpu), ..Cpu::default() }, ..Sample::default() }
}

/// One slot: the clock moves on, the nodes that are up report; the cycles run once per epoch.
async fn slot(site: &Site, nodes: &mut [(&mut Node, bool)]) {
    site.next_slot(5_000);
    for (node, up) in nodes {
        if *up {
            node.report(site.now_ms(), sample(12.5)).await.expect("the report is answered");
        }
    }
    if (site.now_ms() / 30_000) % 10 == 3 {
        site.run_cycles().await;
    }
}

async fn score(site: &Site, node: &Node) -> serde_json::Value {
    site.client.get(&format!("/nodes/{}/poot/score", node.id)).await
}

#[tokio::test]
async fn from_enrolment_to_a_simulated_payout() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("payout.threshold_usdt", "0.4"), ("payout.address_cooldown_hours", "2")];
    let mut site = Site::new(dir.path().join("data"), &settings).await;
    let (mut steady, mut flaky) = (site.enrol("steady").await, site.enrol("flaky").await);
    site.client.put(&format!("/nodes/{}/payout-address", steady.id), json!({ "address": ADDRESS })).await;

    // The first hour is pending: shown with its countdown, accrued, not owed.
    for i in 0..SLOTS_PER_HOUR - 20 {
        slot(&site, &mut [(&mut steady, true), (&mut flaky, i % 4 != 0)]).await;
    }
    let pending = score(&site, &steady).await;
    assert_eq!((pending["state"].as_str(), pending["required_seconds"].as_u64()), (Some("pending"), Some(3_600)));
    assert!(pending["observed_seconds"].as_u64().unwrap() < 3_600, "{pending}");

    // Eleven more hours; the flaky one misses every fourth slot, and everything for one hour.
    for i in 0..SLOTS_PER_HOUR * 11 {
        let hour_down = (SLOTS_PER_HOUR * 3..SLOTS_PER_HOUR * 4).contains(&i);
        slot(&site, &mut [(&mut steady, true), (&mut flaky, i % 4 != 0 && !hour_down)]).await;
    }
    let steady_score = score(&site, &steady).await;
    assert_eq!((steady_score["state"].as_str(), steady_score["score"].as_f64()), (Some("valid"), Some(100.0)), "{steady_score}");
    let flaky_score = score(&site, &flaky).await;
    let (proven, observed) = (flaky_score["proven_slots"].as_f64().unwrap(), flaky_score["observed_slots"].as_f64().unwrap());
    let expected = proven / observed * 100.0;
    assert!((flaky_score["score"].as_f64().unwrap() - expected).abs() < 0.006, "{flaky_score}");
    assert!((60.0..75.0).contains(&expected), "{expected}");

    // 0.05 USDT an hour: the threshold of 0.4 is crossed after some eight hours, and the address has waited its two.
    let payouts = site.client.get(&format!("/nodes/{}/payouts", steady.id)).await;
    let payout = &payouts["payouts"][0];
    assert_eq!((payout["status"].as_str(), payout["settlement"].as_str()), (Some("completed"), Some("simulated")), "{payouts}");
    assert_eq!(payout["wallet_address"].as_str(), Some(ADDRESS));
    assert_eq!(payout["transaction_hash"].as_str().map(str::len), Some(64));
    assert_eq!(payouts["pagination"]["total"].as_u64(), Some(1), "at most one payout in 24 hours");
    let amount: f64 = payout["amount"].as_str().unwrap().parse().unwrap();
    assert!((0.4..0.45).contains(&amount), "{amount}");
    let unpaid = site.client.get(&format!("/nodes/{}/payouts", flaky.id)).await;
    assert_eq!(unpaid["pagination"]["total"].as_u64(), Some(0), "no address, no payout");
    assert_books(&site).await;

    // A power cut: nothing was flushed since the last cycle. The agents send what was not durable again, with its beacons.
    let before = score(&site, &steady).await;
    site.next_slot(5_000);
    steady.report(site.now_ms(), sample(1.0)).await.unwrap();
    site = site.crash().await;
    steady.rebase(&site.client.base);
    flaky.rebase(&site.client.base);
    site.driver.advance_ms(40_000);
    site.app.context.tick();
    steady.report(site.now_ms(), sample(2.0)).await.expect("the new manager answers");
    for _ in 0..20 {
        slot(&site, &mut [(&mut steady, true), (&mut flaky, true)]).await;
    }
    let after = score(&site, &steady).await;
    assert_eq!(after["score"].as_f64(), Some(100.0), "the crash cost nothing: {before} -> {after}");

    // Two days without power. One gap, no storm, and nobody loses anything by it.
    site.driver.advance_ms(2 * 86_400_000);
    site = site.crash().await;
    steady.rebase(&site.client.base);
    flaky.rebase(&site.client.base);
    for _ in 0..30 {
        slot(&site, &mut [(&mut steady, true), (&mut flaky, true)]).await;
    }
    let epochs = site.client.get("/poot/epochs?limit=100").await;
    let gaps: Vec<_> = epochs["epochs"].as_array().unwrap().iter().filter(|e| e["gap"] == true).collect();
    assert_eq!(gaps.len(), 1, "{epochs}");
    assert_eq!(score(&site, &steady).await["score"].as_f64(), Some(100.0));
    assert_books(&site).await;
    let audit = site.client.get("/audit").await;
    assert_eq!(audit["chain"]["ok"], true, "{}", audit["chain"]);
}

/// Every book sums to zero, and the replay of all postings agrees with the balances.
async fn assert_books(site: &Site) {
    let balances = site.client.get("/ledger/balances").await;
    let books = balances["books"].as_array().unwrap();
    assert!(!books.is_empty());
    for book in books {
        assert_eq!(book["sum"].as_str(), Some("0"), "{book}");
    }
    for finding in lucid::storage::verify::verify(&site.app.store) {
        assert_eq!(finding.wrong, None, "{}", finding.part);
    }
}

#[tokio::test]
async fn without_a_trusted_clock_reports_are_kept_and_nothing_closes_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let driver = lucid::clock::Driver::new(Timestamp::from_seconds(100), BootMs(100_000));
    driver.set_synchronised(false);
    let mut site = Site::open(dir.path().join("data"), driver, Vec::new()).await;
    let code = site.app.setup_code.clone().unwrap();
    site.client.set_up(&code, None).await;
    assert_eq!(site.client.get("/clock").await["trusted"], false, "it starts in 1970");
    let mut node = site.enrol("early").await;
    for _ in 0..40 {
        site.next_slot(5_000);
        let answer = node.report(site.now_ms(), sample(3.0)).await.unwrap();
        assert_eq!(answer.slot, None, "an untrusted clock names no slot");
    }
    site.run_cycles().await;
    assert_eq!(site.client.get("/poot/epochs").await["pagination"]["total"].as_u64(), Some(0));

    // NTP answers: the wall jumps from 1970 to today, and what was accepted gets the slots it was accepted in.
    let boot_ms = site.driver.reading().boot.0;
    site.driver.set_wall(Timestamp(START.0 + boot_ms));
    site.driver.set_synchronised(true);
    assert_eq!(site.client.get("/clock").await["trusted"], true);
    site.app.context.tick();
    site.run_cycles().await;
    for _ in 0..30 {
        site.next_slot(5_000);
        node.report(site.now_ms(), sample(3.0)).await.unwrap();
    }
    site.run_cycles().await;
    let early = score(&site, &node).await;
    assert!(early["proven_slots"].as_u64().unwrap() >= 60, "{early}");
    assert_eq!(early["proven_slots"], early["observed_slots"], "{early}");

    // Weeks without synchronisation keep trust; a step loses it; a clock behind the store is not believed even when synchronised.
    site.driver.set_synchronised(false);
    site.next_slot(5_000);
    assert_eq!(site.client.get("/clock").await["trusted"], true);
    let wall = site.driver.reading().wall;
    site.driver.set_wall(wall.plus_seconds(3_600));
    assert_eq!(site.client.get("/clock").await["trusted"], false);
    site.driver.set_wall(wall.plus_seconds(-86_400));
    site.driver.set_synchronised(true);
    let clock = site.client.get("/clock").await;
    assert_eq!(clock["trusted"], false, "{clock}");
    site.driver.set_wall(wall);
    assert_eq!(site.client.get("/clock").await["trusted"], true);
}

#[tokio::test]
async fn a_pool_that_is_deleted_before_the_epoch_closes_still_pays_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("mover").await;
    let body = json!({ "name": "short-lived", "pricing": { "cost_per_hour": "10", "currency": "USDT" } });
    let pool = site.client.post("/nodes/pools", body).await["pool_id"].as_str().unwrap().to_owned();
    let members = format!("/nodes/pools/{pool}/nodes");
    site.client.post(&members, json!({ "node_id": node.id.as_str() })).await;
    for _ in 0..15 {
        site.next_slot(5_000);
        node.report(site.now_ms(), sample(1.0)).await.unwrap();
    }
    for path in [format!("{members}/{}", node.id), format!("/nodes/pools/{pool}")] {
        let (status, answer) = site.client.call(reqwest::Method::DELETE, &path, None).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        site.next_slot(5_000);
    }
    for _ in 0..15 {
        site.next_slot(5_000);
        node.report(site.now_ms(), sample(1.0)).await.unwrap();
    }
    site.run_cycles().await;
    let history = site.client.get(&format!("/nodes/{}/poot/history", node.id)).await;
    let accrued: Vec<f64> = history["epochs"].as_array().unwrap().iter().map(|e| e["accrued"].as_str().unwrap().parse().unwrap()).collect();
    let dearest = accrued.iter().copied().fold(0.0, f64::max);
    assert!((0.5..1.0).contains(&dearest), "five minutes at 10 USDT an hour: {history}");
}
