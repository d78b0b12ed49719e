//! Measurements beyond their thresholds: alerts that get worse, are seen, go unknown with a silent node, survive a restart, and end; and shares of a node.

use lucid::domain::metrics::Sample;
use lucid::live::Job;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::USERNAME;
use crate::support::fleet::Node;
use crate::support::site::Site;

fn busy(cpu_percent: f64) -> Sample {
    let mut sample = Sample::default();
    sample.cpu.usage_percent = Some(cpu_percent);
    sample
}

async fn judge(site: &Site) {
    site.app.context.run(Job::Silence).await.unwrap();
    site.app.context.run(Job::Thresholds).await.unwrap();
}

/// Slots in which the node measures `cpu_percent`, or is silent.
async fn slots(site: &Site, count: u32, node: &mut Node, cpu_percent: Option<f64>) {
    for _ in 0..count {
        site.next_slot(5_000);
        if let Some(percent) = cpu_percent {
            node.report(site.now_ms(), busy(percent)).await.expect("the report is answered");
        }
        judge(site).await;
    }
}

async fn alert(site: &Site) -> Value {
    let body = site.client.get("/alerts?kind=resource_threshold&sort=updated_at").await;
    body["alerts"][0].clone()
}

fn shown(alert: &Value) -> (&str, &str) {
    (alert["state"].as_str().unwrap(), alert["severity"].as_str().unwrap())
}

#[tokio::test]
async fn an_alert_lives_from_its_first_warning_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("attic").await;
    slots(&site, 12, &mut node, Some(10.0)).await;
    let quiet = site.app.store.core.commits();
    slots(&site, 9, &mut node, Some(90.0)).await;
    assert_eq!((alert(&site).await, site.app.store.core.commits()), (Value::Null, quiet), "300 s are not over, and nothing is written");

    // A restart in the middle of it: the stored samples go on counting.
    site.app.context.run(Job::Flush).await.unwrap();
    site = site.crash().await;
    node.rebase(&site.client.base);
    let mut live = site.app.context.events.watch(None).live;
    slots(&site, 1, &mut node, Some(90.0)).await;
    let raised = alert(&site).await;
    assert_eq!((shown(&raised), &raised["topic"]), (("open", "warning"), &json!("cpu_percent")));
    assert_eq!(raised["message"], "attic: CPU use 90 % for 5 minutes or more, a warning from 85 %");
    assert_eq!((&raised["subject"], &raised["subject_name"]), (&json!(node.id), &json!("attic")));
    site.app.context.run(Job::Flush).await.unwrap();
    let written = site.app.store.core.commits();
    slots(&site, 3, &mut node, Some(88.0)).await;
    assert_eq!(site.app.store.core.commits(), written, "said once");
    assert_eq!(site.client.get(&format!("/nodes/{}", node.id)).await["open_alerts"], 1);

    let path = format!("/alerts/{}", raised["id"].as_str().unwrap());
    let seen = site.client.post(&format!("{path}/acknowledge"), json!({ "note": " on it " })).await;
    assert_eq!((shown(&seen).0, &seen["acknowledged_note"]), ("acknowledged", &json!("on it")));
    let name = &json!(USERNAME);
    assert_eq!(&seen["acknowledged_by"]["name"], name);
    let again = site.client.post(&format!("{path}/acknowledge"), json!({})).await;
    assert_eq!(again, seen, "the first acknowledgement stands");

    // Worse: the same alert asks again. Then the node dies, and comes back fine.
    slots(&site, 10, &mut node, Some(99.0)).await;
    let worse = alert(&site).await;
    assert_eq!((shown(&worse), &worse["id"]), (("open", "critical"), &raised["id"]));
    slots(&site, 13, &mut node, None).await;
    assert_eq!(shown(&alert(&site).await), ("unknown", "critical"));
    site.app.context.run(Job::Flush).await.unwrap();
    let written = site.app.store.core.commits();
    slots(&site, 20, &mut node, None).await;
    assert_eq!((shown(&alert(&site).await), site.app.store.core.commits()), (("unknown", "critical"), written), "silence ends nothing");
    slots(&site, 1, &mut node, Some(91.0)).await;
    assert_eq!(shown(&alert(&site).await), ("open", "critical"), "heard again, and not five points below");
    slots(&site, 1, &mut node, Some(90.0)).await;
    assert_eq!(shown(&alert(&site).await), ("open", "warning"));
    slots(&site, 1, &mut node, Some(80.0)).await;
    assert_eq!(shown(&alert(&site).await), ("resolved", "warning"));

    let detail = site.client.get(&path).await;
    let turns = ["raised", "acknowledged", "escalated", "unknown", "known", "eased", "resolved"];
    let history: Vec<&str> = detail["history"].as_array().unwrap().iter().map(|step| step["change"].as_str().unwrap()).collect();
    assert_eq!(history, turns);
    let mut told = Vec::new();
    while let Ok(event) = live.try_recv() {
        let body: Value = serde_json::from_str(&event.json).unwrap();
        if event.name == "alert" && body["kind"] == "resource_threshold" {
            told.push(body["change"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(told, turns, "who watches hears of every turn");
    let (status, body) = site.client.call(Method::POST, &format!("{path}/acknowledge"), Some(json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["details"]["name"]), (409, &json!("AlertResolved")));
    let (status, _) = site.client.call(Method::POST, "/alerts/alert_0000009999/acknowledge", Some(json!({}))).await;
    assert_eq!(status.as_u16(), 404);

    let of_alerts = site.client.get(&format!("/nodes/{}/history?category=alert&order=asc", node.id)).await;
    let kinds: Vec<&str> = of_alerts["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["alert_raised", "alert_acknowledged", "alert_changed", "alert_changed", "alert_resolved"]);
    assert_eq!(&of_alerts["entries"][1]["by"]["name"], name);
    let all = site.client.get(&format!("/nodes/{}/history", node.id)).await;
    assert_eq!((&all["entries"][0]["kind"], &all["pagination"]["total"]), (&json!("alert_resolved"), &json!(9)));
}

#[tokio::test]
async fn alerts_are_found_by_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("attic").await;
    slots(&site, 12, &mut node, Some(99.0)).await;
    slots(&site, 13, &mut node, None).await;
    let raised_for = alert(&site).await;
    assert_eq!((&raised_for["security"], shown(&raised_for).1), (&json!(true), "critical"), "CPU over 95 % by default: {raised_for}");
    let count = async |query: &str| site.client.get(&format!("/alerts?{query}")).await["pagination"]["total"].as_u64().unwrap();
    let raised = alert(&site).await["raised_at"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("", 2),
        ("state=active", 2),
        ("state=open", 1),
        ("state=unknown", 1),
        ("state=resolved", 0),
        ("severity=critical", 1),
        ("security=true", 1),
        ("security=false", 1),
        ("kind=node_unreachable", 1),
        (&format!("subject={}", node.id), 2),
        ("subject=node_other_one", 0),
        ("pool_id=pool_default", 2),
        ("pool_id=pool_default&severity=critical", 1),
        (&format!("from={raised}"), 2),
        (&format!("to={raised}"), 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let health = site.client.get("/nodes/pools/pool_default").await["health"]["open_alerts"].clone();
    assert_eq!(health, json!({ "critical": 1, "warning": 1, "info": 0 }), "the pool counts what its filter lists");
    let (status, attic) = site.client.call(Method::POST, "/nodes/pools", Some(json!({ "name": "Attic" }))).await;
    assert_eq!(status.as_u16(), 201, "{attic}");
    let of_attic = format!("pool_id={}", attic["pool_id"].as_str().unwrap());
    assert_eq!(count(&of_attic).await, 0);
    site.client.call(Method::PUT, &format!("/nodes/{}", node.id), Some(json!({ "pool_id": attic["pool_id"] }))).await;
    assert_eq!((count(&of_attic).await, count("pool_id=pool_default").await), (2, 0), "alerts go where their node goes");
    let (status, body) = site.client.call(Method::GET, "/alerts?pool_id=pool_of_nobody", None).await;
    assert_eq!((status.as_u16(), &body["error"]["details"]["name"]), (404, &json!("PoolNotFound")));
    let order = async |query: &str| site.client.get(&format!("/alerts?{query}")).await["alerts"][0]["kind"].clone();
    assert_eq!(order("").await, "node_unreachable");
    assert_eq!(order("order=asc").await, "resource_threshold");
    assert_eq!(order("sort=severity").await, "resource_threshold");
    let (status, body) =
        site.client.call(Method::GET, "/alerts?state=x&severity=x&security=x&pool_id=x&sort=x&order=x&from=x&to=x", None).await;
    let fields = body["error"]["details"]["fields"].as_array().unwrap().len();
    assert_eq!((status.as_u16(), fields), (400, 8), "{body}");
    let gone = format!("/nodes/{}", node.id);
    let (status, body) = site.client.call(Method::DELETE, &gone, None).await;
    if status.as_u16() == 409 {
        // Proven slots are owed until their epoch is closed and posted; the alert stays for as long.
        assert_eq!(body["error"]["details"]["name"], "NodeHasMoney");
    }
}

#[tokio::test]
async fn cpu_or_memory_over_95_percent_is_a_security_alert_and_less_or_a_full_disk_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = [site.enrol("cpu").await, site.enrol("memory").await, site.enrol("disk").await, site.enrol("busy").await];
    for _ in 0..12 {
        site.next_slot(5_000);
        let mut samples = [busy(95.0), Sample::default(), Sample::default(), busy(94.9)];
        (samples[1].memory.used_bytes, samples[1].memory.total_bytes) = (Some(3_840_000_000), Some(4_000_000_000));
        (samples[2].disk.used_bytes, samples[2].disk.total_bytes) = (Some(31_900_000_000), Some(32_000_000_000));
        for (node, sample) in nodes.iter_mut().zip(samples) {
            node.report(site.now_ms(), sample).await.expect("the report is answered");
        }
        judge(&site).await;
    }
    let alerts = site.client.get("/alerts").await;
    let mut told: Vec<(&str, &str, bool)> = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| (alert["subject_name"].as_str().unwrap(), shown(alert).1, alert["security"].as_bool().unwrap()))
        .collect();
    told.sort_unstable();
    let expected = [("busy", "warning", false), ("cpu", "critical", true), ("disk", "critical", false), ("memory", "critical", true)];
    assert_eq!(told, expected);
    let detail = site.client.get(&format!("/alerts/{}", alerts["alerts"][0]["id"].as_str().unwrap())).await;
    assert!(detail["security"].is_boolean());
}

#[tokio::test]
async fn thresholds_are_set_checked_and_inherited() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("attic").await;
    let path = format!("/nodes/{}/resources/thresholds", node.id);
    let defaults = site.client.get(&path).await;
    assert_eq!(defaults["temperature_celsius"], json!({ "warning": 75.0, "critical": 85.0, "from": "default" }));
    assert_eq!(defaults["duration"], json!({ "seconds": 300, "from": "default" }));

    let pool = site.client.post("/nodes/pools", json!({ "name": "attic-pool" })).await["pool_id"].as_str().unwrap().to_owned();
    site.client.post(&format!("/nodes/pools/{pool}/nodes"), json!({ "node_id": node.id })).await;
    let of_pool = json!({ "disk_percent": { "warning": 50, "critical": 60.5 }, "duration_seconds": 60 });
    let set = site.client.put(&format!("/nodes/pools/{pool}/thresholds"), of_pool).await;
    assert_eq!(set["disk_percent"], json!({ "warning": 50.0, "critical": 60.5, "from": "pool" }));
    let own = json!({ "cpu_percent": { "warning": 20, "critical": 30 }, "hysteresis": 2.5 });
    let in_force = site.client.put(&path, own).await;
    assert_eq!(in_force["cpu_percent"]["from"], "node");
    assert_eq!((&in_force["disk_percent"]["from"], &in_force["duration"]), (&json!("pool"), &json!({ "seconds": 60, "from": "pool" })));
    assert_eq!(in_force["hysteresis"], json!({ "points": 2.5, "from": "node" }));
    assert_eq!(site.client.get(&path).await, in_force);

    slots(&site, 2, &mut node, Some(25.0)).await;
    assert_eq!(shown(&alert(&site).await), ("open", "warning"), "60 s are two slots");

    let refused = async |body: Value| {
        let (status, answer) = site.client.call(Method::PUT, &path, Some(body)).await;
        assert_eq!(status.as_u16(), 400, "{answer}");
        let fields = answer["error"]["details"]["fields"].as_array().unwrap().clone();
        fields.iter().map(|f| f["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let bad = json!({
        "cpu_percent": { "warning": 0, "critical": 101 }, "memory_percent": { "warning": 90, "critical": 90 },
        "temperature_celsius": { "warning": 70.25, "critical": 151 }, "duration_seconds": 3601, "hysteresis": 50.5,
    });
    let all = [
        "cpu_percent.warning",
        "cpu_percent.critical",
        "temperature_celsius.warning",
        "temperature_celsius.critical",
        "duration_seconds",
        "hysteresis",
        "memory_percent.warning",
    ];
    assert_eq!(refused(bad).await, all);
    assert_eq!(refused(json!({ "fan_percent": { "warning": 1, "critical": 2 } })).await, ["fan_percent"], "no such metric");
    assert_eq!(refused(json!({ "cpu_percent": { "warning": 1 } })).await, ["cpu_percent.critical"]);
    assert_eq!(site.client.get(&path).await, in_force, "what was refused changed nothing");
    site.client.put(&path, json!({})).await;
    assert_eq!(site.client.get(&path).await["cpu_percent"]["from"], "default");
}

#[tokio::test]
async fn shares_of_a_node_are_bounded_by_its_machine() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let node = site.enrol("attic").await;
    let path = |rest: &str| format!("/nodes/{}/resources/{rest}", node.id);
    let first =
        site.client.post(&path("allocate"), json!({ "name": "render", "cpu_percent": 60.5, "memory_bytes": 3_000_000_000u64 })).await;
    assert_eq!((&first["name"], &first["cpu_percent"], &first["disk_bytes"]), (&json!("render"), &json!(60.5), &Value::Null));
    let refused = async |body: Value| {
        let (status, answer) = site.client.call(Method::POST, &path("allocate"), Some(body)).await;
        let error = &answer["error"];
        let fields = error["details"]["fields"].as_array().unwrap().clone();
        (status.as_u16(), error["code"].as_str().unwrap().to_owned(), fields)
    };
    let (status, code, fields) = refused(json!({ "cpu_percent": 39.51, "memory_bytes": 1_000_000_001u64 })).await;
    assert_eq!((status, code.as_str(), fields.len()), (422, "LUCID_ERR_5004", 2));
    assert_eq!(fields[0], json!({ "field": "cpu_percent", "message": "must be at most 39.5, which is what is left" }));
    let (status, code, fields) = refused(json!({ "name": "x", "cpu_percent": 0, "disk_bytes": 0 })).await;
    assert_eq!((status, code.as_str(), fields.len()), (400, "LUCID_ERR_1002", 3));
    assert_eq!(refused(json!({ "name": "render", "cpu_percent": 1 })).await.1, "LUCID_ERR_5009", "the name is taken");
    assert_eq!(refused(json!({})).await.1, "LUCID_ERR_1002", "nothing is asked for");
    assert_eq!(refused(json!({ "gpu_percent": 1 })).await.0, 400);

    let all = site.client.get(&path("allocations")).await;
    assert_eq!(
        all["left"],
        json!({ "cpu_percent": 39.5, "memory_bytes": 1_000_000_000u64, "disk_bytes": 32_000_000_000u64, "network_mbps": 1_000_000.0 })
    );
    assert_eq!((&all["exceeded"], &all["allocated"]["memory_bytes"]), (&json!([]), &json!(3_000_000_000u64)));
    // Its limits shrink below what is promised: flagged, and nothing is taken away.
    let limits = json!({ "configuration": { "resource_limits": { "memory_bytes": 1_000_000_000u64 } } });
    site.client.put(&format!("/nodes/{}", node.id), limits).await;
    let all = site.client.get(&path("allocations")).await;
    assert_eq!((&all["exceeded"], &all["left"]["memory_bytes"]), (&json!(["memory_bytes"]), &json!(0)));
    assert_eq!(site.client.get(&format!("/nodes/{}", node.id)).await["allocated"]["cpu_percent"], 60.5);
    let id = first["id"].as_str().unwrap();
    let gone = async || site.client.call(Method::DELETE, &path(&format!("allocations/{id}")), None).await.0.as_u16();
    assert_eq!((gone().await, gone().await), (204, 404));
    assert_eq!(site.client.get(&path("allocations")).await["allocations"], json!([]));
    let kinds = site.client.get(&format!("/nodes/{}/history?category=configuration&order=asc", node.id)).await;
    let kinds: Vec<&str> = kinds["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["allocated", "configured", "released"]);
}

#[tokio::test]
async fn a_pool_is_as_healthy_as_its_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let pool = site.client.post("/nodes/pools", json!({ "name": "attic-pool" })).await["pool_id"].as_str().unwrap().to_owned();
    let health = async || site.client.get(&format!("/nodes/pools/{pool}")).await["health"].clone();
    assert_eq!(health().await["state"], "empty");
    let mut nodes = Vec::new();
    for n in 0..5 {
        let node = site.enrol(&format!("node-{n}")).await;
        site.client.post(&format!("/nodes/pools/{pool}/nodes"), json!({ "node_id": node.id })).await;
        nodes.push(node);
    }
    let report = async |count: usize, slots: u32, nodes: &mut Vec<Node>| {
        for _ in 0..slots {
            site.next_slot(5_000);
            for node in &mut nodes[..count] {
                node.report(site.now_ms(), busy(97.0)).await.expect("the report is answered");
            }
            judge(&site).await;
        }
    };
    for (heard, state) in [(5, "healthy"), (4, "healthy"), (3, "degraded"), (2, "unhealthy")] {
        report(heard, 11, &mut nodes).await;
        let found = health().await;
        assert_eq!((&found["state"], &found["healthy_nodes"], &found["total"]), (&json!(state), &json!(heard), &json!(5)));
    }
    let found = health().await;
    assert_eq!((&found["ratio"], &found["open_alerts"]["critical"], &found["open_alerts"]["warning"]), (&json!(0.4), &json!(5), &json!(3)));
    let listed = site.client.get("/nodes/pools").await;
    assert!(listed["pools"].as_array().unwrap().iter().any(|pool| pool["health"] == found));
    let capable = async |what: &str| site.client.get(&format!("/nodes?capability={what}")).await["pagination"]["total"].clone();
    assert_eq!((capable("cores:4").await, capable("gpu").await), (json!(5), json!(0)));
}

#[tokio::test]
async fn the_share_of_samples_within_thresholds_is_counted_and_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut node = site.enrol("attic").await;
    for (count, percent) in [(60, 10.0), (20, 85.0), (60, 84.9)] {
        slots(&site, count, &mut node, Some(percent)).await;
    }
    slots(&site, 14, &mut node, Some(1.0)).await;
    site.run_cycles().await;
    let score = site.client.get(&format!("/nodes/{}/poot/score", node.id)).await;
    let inputs = &score["inputs"];
    let count = |field: &str| inputs[field].as_u64().unwrap();
    assert_eq!((count("samples"), count("samples") - count("samples_within")), (count("proven"), 20), "{inputs}");
    assert_eq!((&score["thresholds"]["weights"]["resources"], &score["score"]), (&json!(0.0), &json!(100.0)));
    assert_eq!(score["thresholds"]["resources"]["cpu_percent"]["warning"], 85.0);
    let share = 1.0 - 20.0 / inputs["samples"].as_f64().unwrap();
    assert!((score["factors"]["resources"].as_f64().unwrap() - share).abs() < 0.0001);
}

#[tokio::test]
async fn while_metrics_are_thinned_what_holds_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("storage.max_mb", "1")]).await;
    let mut node = site.enrol("attic").await;
    site.client.put(&format!("/nodes/{}/resources/thresholds", node.id), json!({ "duration_seconds": 900 })).await;
    // The reserve, which the first look makes, is more than the store may take.
    for _ in 0..2 {
        site.app.context.run(Job::Space).await.unwrap();
    }
    assert!(site.app.store.space.is_thinned());
    for _ in 0..12 {
        slots(&site, 4, &mut node, Some(99.0)).await;
        site.app.context.run(Job::Flush).await.unwrap();
    }
    let raised = alert(&site).await;
    assert_eq!((shown(&raised), &raised["topic"]), (("open", "critical"), &json!("cpu_percent")));
}
