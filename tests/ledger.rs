//! A month ends: what it earned stands on its statement, whatever was posted first, and the ledger is closed behind it once.

use lucid::clock::Driver;
use lucid::domain::metrics::Sample;
use lucid::domain::time::{BootMs, Timestamp};
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
