//! One answer names every wrong field, whatever each of them is wrong by: its type, its word, its bounds, its name, its absence.

use axum::http::{Method, StatusCode};
use proptest::prelude::{Strategy, any};
use proptest::sample::subsequence;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::openapi_json;
use super::testing::Site;

struct Asked {
    site: Site,
    token: String,
}

impl Asked {
    async fn new() -> Asked {
        let site = Site::new();
        let token = site.set_up().await;
        Asked { site, token }
    }

    /// The code and the named fields of a refusal, in the order of the answer.
    async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> (String, Vec<String>) {
        let (status, answer) = self.site.as_bearer(&self.token, method, &format!("/api/v1{path}"), body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body:?}: {answer}");
        let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
        let fields = fields.map(|field| field["field"].as_str().unwrap().to_owned()).collect();
        (answer["error"]["code"].as_str().unwrap().to_owned(), fields)
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn a_list_is_no_object_even_where_its_entries_fit() {
    let asked = Asked::new().await;
    let fits = json!(["attic", "worker", null, null, null, null]);
    assert_eq!(asked.refused(Method::POST, "/nodes", Some(fits)).await, ("LUCID_ERR_1001".to_owned(), vec![]));
    let window = json!({ "name": "attic", "node_type": "worker", "configuration": { "maintenance_window": [3, 2] } });
    assert_eq!(asked.refused(Method::POST, "/nodes", Some(window)).await.1, ["configuration.maintenance_window"]);
    let network = json!([{ "interface": "eth0" }, ["eth1", null, null]]);
    let hardware = json!({ "cpu": { "cores": 4, "frequency_mhz": 1500.0, "architecture": "aarch64" }, "memory": { "total_bytes": 4_000_000_000_u64 },
        "storage": { "total_bytes": 32_000_000_000_u64 }, "network": network });
    let body = json!({ "name": "attic", "node_type": "worker", "hardware_info": hardware });
    assert_eq!(asked.refused(Method::POST, "/nodes", Some(body)).await.1, ["hardware_info.network[1]"]);
    let body = json!({ "protocol": 1, "token": "t", "public_key": "k", "fingerprint": [null, null, null, null, null, null], "name": "attic",
        "hardware": { "cpu": { "cores": 4 }, "memory": { "total_bytes": 1 }, "storage": { "total_bytes": 1 } }, "agent_version": "1" });
    assert_eq!(asked.refused(Method::POST, "/agent/enrol", Some(body)).await.1, ["fingerprint"]);
    let login = json!(["root", "correct horse battery"]);
    assert!(asked.refused(Method::POST, "/auth/login", Some(login)).await.1.is_empty());
}

#[tokio::test]
async fn a_body_is_told_all_that_is_wrong_with_it() {
    let asked = Asked::new().await;
    let body = json!({ "node_type": "zzz", "zz": 1, "name": 5, "location": { "timezone": "Mars/Olympus" } });
    let (code, fields) = asked.refused(Method::POST, "/nodes", Some(body)).await;
    assert_eq!(code, "LUCID_ERR_1001");
    assert_eq!(sorted(fields), ["location.timezone", "name", "node_type", "zz"]);
    let (_, fields) = asked.refused(Method::POST, "/nodes", Some(json!({}))).await;
    assert_eq!(sorted(fields), ["name", "node_type"]);
    let (_, fields) = asked.refused(Method::POST, "/users", Some(json!({ "role": "king", "password": null }))).await;
    assert_eq!(sorted(fields), ["password", "role", "username"]);
    let exact = json!({ "name": "fine", "zz": 1, "pricing": { "cost_per_hour": 0.05, "reward_per_hour": "0.05", "currency": null } });
    assert_eq!(asked.refused(Method::POST, "/nodes/pools", Some(exact)).await.1, ["zz"], "an amount may be a number");
    // A body of another kind has no fields, and what hides behind the bounds is refused by its first field.
    assert!(asked.refused(Method::POST, "/nodes", Some(json!([]))).await.1.is_empty());
    let many: Value = (0..1_000).map(|n| (format!("field_{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(asked.refused(Method::POST, "/nodes", Some(many)).await.1.len(), super::shape::MAX_NAMED);
    let long = json!({ "zz": "x".repeat(300 * 1024), "name": 5 });
    assert_eq!(asked.refused(Method::POST, "/nodes", Some(long)).await.1.len(), 1);
}

#[tokio::test]
async fn a_query_is_told_all_that_is_wrong_with_it() {
    let asked = Asked::new().await;
    let named = async |query: &str| sorted(asked.refused(Method::GET, query, None).await.1);
    assert_eq!(named("/nodes?sort=zz&node_type=q&limit=0&status=zz").await, ["limit", "node_type", "sort", "status"]);
    assert_eq!(named("/nodes?sort=zz&pool_id=x&colour=red&page=0").await, ["colour", "page", "pool_id", "sort"]);
    assert_eq!(named("/nodes/pools?auto_scaling=maybe&limit=101").await, ["auto_scaling", "limit"]);
    for (list, wrong) in [
        ("/alerts", "state=x&severity=x&kind=KIND&subject=KIND&pool_id=x&security=x&from=x&to=x&sort=x&order=x"),
        ("/audit", "operation=&subject=&resource_type=&actor=&success=x&from=x&to=x&text=&sort=x&order=x&cursor=x"),
        ("/audit/export", "format=x&operation=&success=x&from=x&to=x&text="),
        ("/compliance/report", "from=x&to=x&format=x"),
        ("/enrolment-tokens", "status=x&pool_id=x&sort=x&order=x&search=KIND"),
        ("/users", "role=x&status=x&sort=x&order=x&search=KIND"),
        ("/nodes/payouts/history", "status=x&settlement=x&currency=x&sort=x&order=x"),
        ("/nodes", "capability=KIND&search=KIND&status=x&pool_id=x"),
        ("/nodes/node_0123/history", "category=x&kind=x&from=x&to=x&order=x"),
        ("/nodes/node_0123/resources/metrics", "metric_type=x&granularity=x&start_time=x&end_time=x"),
        ("/nodes/pools/pool_default/resources/metrics", "metric=x&range=x"),
    ] {
        let wrong = wrong.replace("KIND", &"x".repeat(101));
        let mut names: Vec<String> = wrong.split('&').map(|pair| pair.split('=').next().unwrap().to_owned()).collect();
        // With one that the route does not have and a page that cannot be, too.
        assert_eq!(named(&format!("{list}?{wrong}&colour=red")).await, sorted([names.clone(), vec!["colour".into()]].concat()), "{list}");
        if !["metrics", "export", "report"].iter().any(|word| list.ends_with(word)) {
            names.push("limit".into());
            assert_eq!(named(&format!("{list}?{wrong}&limit=0")).await, sorted(names), "{list}");
        }
    }
    let (code, fields) = asked.refused(Method::GET, "/nodes?sort=zz&limit=0&order=asc&search=", None).await;
    assert_eq!((code.as_str(), fields), ("LUCID_ERR_1002", vec!["limit".to_owned(), "sort".to_owned()]));
}

/// The example of a route with any of its fields broken, in any number: all of them are named, and nothing else.
async fn all_named(path: &str, breaks: &[(&'static str, Value)]) {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let good = &document["paths"][format!("/api/v1{path}")]["post"]["requestBody"]["content"]["application/json"]["example"];
    let asked = Asked::new().await;
    let mut runner = TestRunner::default();
    for _ in 0..60 {
        let (mut chosen, gone) = (subsequence(breaks.to_vec(), 1..=breaks.len()), any::<bool>()).new_tree(&mut runner).unwrap().current();
        let mut body = good.clone();
        for (field, value) in &chosen {
            let place = format!("/{}", field.replace("[0]", ".0").replace('.', "/"));
            let (parent, name) = place.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap_or_else(|| panic!("the example has no {parent}"))[name] = value.clone();
        }
        if gone {
            body.as_object_mut().unwrap().remove("name");
            chosen.retain(|(field, _)| *field != "name");
            chosen.push(("name", Value::Null));
        }
        let wanted = sorted(chosen.iter().map(|(field, _)| (*field).to_owned()).collect());
        assert_eq!(sorted(asked.refused(Method::POST, path, Some(body.clone())).await.1), wanted, "{body}");
    }
}

#[tokio::test]
async fn every_broken_field_of_a_node_is_named() {
    let breaks = [
        ("name", json!("a b")),
        ("node_type", json!("toaster")),
        ("zz", json!(1)),
        ("initial_pool_id", json!("cellar-one")),
        ("hardware_info.cpu.cores", json!("four")),
        ("hardware_info.cpu.turbo", json!(true)),
        ("hardware_info.memory.total_bytes", json!(2_000_000_000_000_u64)),
        ("hardware_info.network[0].interface", json!(7)),
        ("hardware_info.network[0].colour", json!("red")),
        ("location.timezone", json!("Mars/Olympus")),
        ("location.city", json!("x".repeat(201))),
        ("location.coordinates.latitude", json!(91)),
        ("configuration.max_sessions", json!(0)),
        ("configuration.auto_scaling", json!("yes")),
        ("configuration.maintenance_window.start_hour", json!(24)),
    ];
    all_named("/nodes", &breaks).await;
}

#[tokio::test]
async fn every_broken_field_of_a_pool_is_named() {
    let breaks = [
        ("name", json!("x")),
        ("zz", json!({ "deep": [1] })),
        ("description", json!("x".repeat(501))),
        ("auto_scaling", json!(7)),
        ("max_nodes", json!("many")),
        ("resource_limits.cpu_percent", json!(101)),
        ("resource_limits.disk_bytes", json!(-1)),
        ("scaling_policy.cooldown_minutes", json!(0.5)),
        ("scaling_policy.colour", json!("red")),
        ("pricing.cost_per_hour", json!("cheap")),
        ("pricing.currency", json!("EUR")),
    ];
    all_named("/nodes/pools", &breaks).await;
}
