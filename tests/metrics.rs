//! What Prometheus is told is what the API says.

use std::collections::BTreeMap;

use lucid::domain::metrics::{Cpu, Memory, Sample};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::site::Site;

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";

/// Series with labels, as they are written -> value.
async fn scrape(client: &Client) -> BTreeMap<String, f64> {
    let (status, text) = client.anonymous().text(Method::GET, "/metrics", None).await;
    assert!(status.is_success());
    let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.strip_prefix("lucid_node_management_").expect("every name has the prefix");
        (name.to_owned(), value.parse().expect("a number"))
    });
    let all: Vec<(String, f64)> = series.collect();
    let unique: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(unique.len(), all.len(), "no series twice");
    unique
}

/// Series of one family, by what stands between the braces.
fn family<'a>(scraped: &'a BTreeMap<String, f64>, name: &str) -> BTreeMap<&'a str, f64> {
    let labelled = |series: &'a String| series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}');
    scraped.iter().filter_map(|(series, value)| Some((labelled(series)?, *value))).collect()
}

fn is(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

#[tokio::test]
async fn the_numbers_for_prometheus_are_those_of_the_api() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("poot.min_observation_seconds", "600"),
        ("default_pool.cost_per_hour", "6"),
        ("payout.threshold_usdt", "1"),
        ("payout.address_cooldown_hours", "0"),
    ];
    let site = Site::new(dir.path().join("data"), &settings).await;
    let (mut steady, mut flaky, mut gone) = (site.enrol("steady").await, site.enrol("flaky").await, site.enrol("gone").await);
    site.enrol("silent").await;
    for node in [&steady, &flaky] {
        site.client.put(&format!("/nodes/{}/payout-address", node.id), json!({ "address": ADDRESS })).await;
    }
    let sample = |cpu: f64| Sample {
        cpu: Cpu { usage_percent: Some(cpu), temperature_celsius: Some(41.5), ..Cpu::default() },
        memory: Memory { used_bytes: Some(1 << 30), ..Memory::default() },
        ..Sample::default()
    };
    for slot in 0..100 {
        site.next_slot(5_000);
        steady.report(site.now_ms(), sample(12.5)).await.unwrap();
        if slot % 4 != 0 {
            flaky.report(site.now_ms(), sample(80.0)).await.unwrap();
        }
        if slot < 10 {
            gone.report(site.now_ms(), sample(1.0)).await.unwrap();
        }
        if slot % 10 == 9 {
            site.run_cycles().await;
        }
    }
    let scraped = scrape(&site.client).await;
    let nodes = site.client.get("/nodes?limit=100").await;
    let nodes = nodes["nodes"].as_array().unwrap();

    let active = nodes.iter().filter(|node| node["observed"] == "active").count();
    assert!(active == 2 && is(scraped["active_nodes_total"], 2.0), "{scraped:?}");

    let scores = family(&scraped, "poot_scores");
    let mut shown = 0;
    for node in nodes {
        let id = node["node_id"].as_str().unwrap();
        let score = site.client.get(&format!("/nodes/{id}/poot/score")).await;
        let scraped = scores.get(format!("node_id=\"{id}\"").as_str());
        assert_eq!(scraped.is_some(), score["score"].is_number(), "{score}");
        if let Some(scraped) = scraped {
            assert!(is(*scraped, score["score"].as_f64().unwrap()), "{scraped} is not {score}");
            shown += 1;
        }
    }
    assert!(shown >= 2 && scores.len() == shown, "{scores:?}");

    let payouts = site.client.get("/nodes/payouts/history?limit=100").await;
    let payouts = payouts["payouts"].as_array().unwrap();
    let completed: Vec<&Value> = payouts.iter().filter(|payout| payout["status"] == "completed").collect();
    assert!(!completed.is_empty());
    let book = "settlement=\"simulated\",currency=\"USDT\"";
    let counts = family(&scraped, "payouts_total");
    assert!(is(counts[format!("{book},status=\"completed\"").as_str()], completed.len() as f64), "{counts:?}");
    assert!(is(counts.values().sum(), payouts.len() as f64), "{counts:?}");
    let amounts = completed.iter().map(|payout| payout["amount"].as_str().unwrap().parse::<f64>().unwrap());
    assert!((family(&scraped, "payout_amounts")[book] - amounts.sum::<f64>()).abs() < 1e-6);

    let resources = site.client.get(&format!("/nodes/{}/resources", steady.id)).await;
    let usage = family(&scraped, "resource_usage");
    let of = |kind: &str, unit: &str| usage[format!("node_id=\"{}\",resource_type=\"{kind}\",unit=\"{unit}\"", steady.id).as_str()];
    let current = &resources["current"];
    assert!(is(of("cpu", "percent"), current["cpu"]["usage_percent"].as_f64().unwrap()));
    assert!(is(of("memory", "bytes"), current["memory"]["used_bytes"].as_f64().unwrap()));
    assert!(is(of("temperature", "celsius"), current["cpu"]["temperature_celsius"].as_f64().unwrap()));

    let judged = family(&scraped, "poot_validations_total");
    assert!(is(judged["result=\"proven\""], f64::from(100 + 75 + 10)), "{judged:?}");
    assert!(is(scraped["poot_validation_duration_seconds_count"], judged.values().sum()), "{scraped:?}");
    assert!(is(family(&scraped, "node_operations_total")["operation=\"enrol\",status=\"success\""], 4.0));
}

#[tokio::test]
async fn every_request_and_every_commit_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let before = scrape(&site.client).await;
    for _ in 0..7 {
        site.client.get("/clock").await;
    }
    let body = json!({ "name": "x", "node_type": "worker" });
    assert_eq!(site.client.call(Method::POST, "/nodes", Some(body)).await.0.as_u16(), 400);
    let made = site.client.post("/nodes", json!({ "name": "made", "node_type": "worker" })).await;
    for command in ["start", "stop", "restart"] {
        site.client.call(Method::POST, &format!("/nodes/{}/{command}", made["node_id"].as_str().unwrap()), None).await;
    }
    let after = scrape(&site.client).await;
    let grown = |series: &str| after.get(series).copied().unwrap_or_default() - before.get(series).copied().unwrap_or_default();
    let clock = "method=\"GET\",endpoint=\"/api/v1/clock\"";
    assert!(is(grown(&format!("http_requests_total{{{clock},status_code=\"200\"}}")), 7.0));
    assert!(is(grown(&format!("http_request_duration_seconds_count{{{clock}}}")), 7.0));
    assert!(is(grown(&format!("http_request_duration_seconds_bucket{{{clock},le=\"+Inf\"}}")), 7.0));
    for command in ["start", "stop", "restart"] {
        assert!(is(grown(&format!("node_operations_total{{operation=\"{command}\",status=\"success\"}}")), 1.0), "{command}");
    }
    for (outcome, code) in [("success", 201), ("failure", 400)] {
        assert!(is(grown(&format!("node_operations_total{{operation=\"create\",status=\"{outcome}\"}}")), 1.0), "{outcome}");
        let route = format!("method=\"POST\",endpoint=\"/api/v1/nodes\",status_code=\"{code}\"");
        assert!(is(grown(&format!("http_requests_total{{{route}}}")), 1.0), "{route}");
    }
    assert!(grown("database_operations_total{file=\"core\",operation=\"commit\"}") >= 1.0, "a node was stored");
    assert!(!after.keys().any(|series| series.contains("/api/v1/nodes/node_")), "routes, not paths");
}
