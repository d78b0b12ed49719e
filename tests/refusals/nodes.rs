//! Point 7: nodes, pools and membership.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Guarded, request};
use crate::support::fleet::Machine;
use crate::support::site::Site;

fn hardware() -> Value {
    json!({
        "cpu": { "cores": 4 },
        "memory": { "total_bytes": 4_000_000_000_u64 },
        "storage": { "total_bytes": 32_000_000_000_u64 },
        "network": [{ "interface": "eth0" }],
    })
}

/// `body` with the value at `place` ("a/b/c") replaced.
fn with(mut body: Value, place: &str, value: Value) -> Value {
    let mut at = &mut body;
    for part in place.split('/') {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
    body
}

fn node(place: &str, value: Value) -> Value {
    with(json!({ "name": "fine", "node_type": "worker", "hardware_info": hardware() }), place, value)
}

fn bad_names() -> [String; 7] {
    [String::new(), "ab".into(), "a".repeat(101), "a b".into(), "a.b".into(), "näme".into(), "a/b".into()]
}

#[tokio::test]
async fn what_a_node_must_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let made = site.client.post("/nodes", node("name", json!("taken"))).await;
    let path = format!("/nodes/{}", made["node_id"].as_str().unwrap());
    let guarded = Guarded::new(&site).await;
    let (post, put) = (Method::POST, Method::PUT);

    for name in bad_names() {
        guarded.invalid(post.clone(), "/nodes", node("name", json!(name)), &["name"]).await;
        guarded.invalid(put.clone(), &path, json!({ "name": name }), &["name"]).await;
    }
    let ranges = [
        ("cpu/cores", json!(0)),
        ("cpu/cores", json!(129)),
        ("cpu/frequency_mhz", json!(-1)),
        ("memory/total_bytes", json!(799_999_999)),
        ("memory/total_bytes", json!(1_000_000_000_001_u64)),
        ("storage/total_bytes", json!(9_999_999_999_u64)),
        ("storage/total_bytes", json!(100_000_000_000_001_u64)),
        ("network", json!([])),
        ("storage/type", json!("x".repeat(201))),
    ];
    for (place, value) in ranges {
        let field = format!("hardware_info.{}", place.replace('/', "."));
        guarded.invalid(post.clone(), "/nodes", node(&format!("hardware_info/{place}"), value), &[&field]).await;
    }
    let configurations = [
        (json!({ "max_sessions": 0 }), "max_sessions"),
        (json!({ "max_sessions": 10_001 }), "max_sessions"),
        (json!({ "resource_limits": { "cpu_percent": 100.5 } }), "resource_limits.cpu_percent"),
        (json!({ "resource_limits": { "memory_bytes": 4_000_000_001_u64 } }), "resource_limits.memory_bytes"),
        (json!({ "resource_limits": { "disk_bytes": 0 } }), "resource_limits.disk_bytes"),
        (json!({ "maintenance_window": { "start_hour": 24, "duration_hours": 1 } }), "maintenance_window.start_hour"),
        (json!({ "maintenance_window": { "start_hour": 0, "duration_hours": 9 } }), "maintenance_window.duration_hours"),
    ];
    for (configuration, field) in configurations {
        let field = format!("configuration.{field}");
        guarded.invalid(post.clone(), "/nodes", node("configuration", configuration.clone()), &[&field]).await;
        guarded.invalid(put.clone(), &path, json!({ "configuration": configuration }), &[&field]).await;
    }
    let nowhere = json!({ "coordinates": { "latitude": 90.1, "longitude": -180.1 } });
    let fields = ["location.coordinates.latitude", "location.coordinates.longitude"];
    guarded.invalid(post.clone(), "/nodes", node("location", nowhere), &fields).await;
    guarded.invalid(post.clone(), "/nodes", node("initial_pool_id", json!("default")), &["initial_pool_id"]).await;

    let all_wrong = json!({
        "name": "x",
        "node_type": "worker",
        "hardware_info": with(with(hardware(), "cpu/cores", json!(0)), "network", json!([])),
        "initial_pool_id": "x",
        "configuration": { "max_sessions": 0 },
    });
    let fields = ["configuration.max_sessions", "hardware_info.cpu.cores", "hardware_info.network", "initial_pool_id", "name"];
    guarded.invalid(post.clone(), "/nodes", all_wrong, &fields).await;

    let shapes = [
        (node("colour", json!("red")), "colour"),
        (node("hardware_info/cpu/colour", json!("red")), "hardware_info.cpu.colour"),
        (node("name", json!(7)), "name"),
        (node("node_type", json!("toaster")), "node_type"),
        (node("hardware_info/cpu/cores", json!("four")), "hardware_info.cpu.cores"),
        (node("hardware_info/cpu/cores", json!(-1)), "hardware_info.cpu.cores"),
        (json!({ "node_type": "worker" }), "name"),
    ];
    for (body, field) in shapes {
        guarded.malformed(post.clone(), "/nodes", body, field).await;
    }
    let status = async |word: &str| site.client.call(Method::PUT, &path, Some(json!({ "status": word }))).await;
    for word in ["error", "unreachable", "asleep"] {
        guarded.refused(word, status(word).await, (422, "5003", "InvalidNodeStatus")).await;
    }
    for (method, path) in [(Method::GET, "/nodes?status=asleep"), (Method::GET, "/nodes?limit=101"), (Method::GET, "/nodes?sort=colour")] {
        guarded.call(path, method, path, None, (400, "1002", "Invalid")).await;
    }
}

#[tokio::test]
async fn what_a_pool_must_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let made = site.client.post("/nodes/pools", json!({ "name": "taken", "max_nodes": 2 })).await;
    let path = format!("/nodes/pools/{}", made["pool_id"].as_str().unwrap());
    for name in ["one", "two"] {
        site.client.post("/nodes", json!({ "name": name, "node_type": "worker", "initial_pool_id": made["pool_id"] })).await;
    }
    let guarded = Guarded::new(&site).await;
    for name in bad_names() {
        guarded.invalid(Method::POST, "/nodes/pools", json!({ "name": name }), &["name"]).await;
        guarded.invalid(Method::PUT, &path, json!({ "name": name }), &["name"]).await;
    }
    let policy = |place: &str, value: Value| {
        let fine = json!({ "scale_up_threshold": 80, "scale_down_threshold": 20, "min_nodes": 1, "max_nodes": 2, "cooldown_minutes": 5 });
        json!({ "max_nodes": 2, "scaling_policy": with(fine, place, value) })
    };
    let cases = [
        (json!({ "max_nodes": 0 }), vec!["max_nodes"]),
        (json!({ "max_nodes": 1_001 }), vec!["max_nodes"]),
        (json!({ "description": "x".repeat(501) }), vec!["description"]),
        (json!({ "auto_scaling": true }), vec!["scaling_policy"]),
        (json!({ "resource_limits": { "network_mbps": 0 } }), vec!["resource_limits.network_mbps"]),
        (policy("scale_up_threshold", json!(100.1)), vec!["scaling_policy.scale_up_threshold"]),
        (policy("scale_down_threshold", json!(80)), vec!["scaling_policy.scale_down_threshold"]),
        (policy("max_nodes", json!(3)), vec!["scaling_policy.max_nodes"]),
        (policy("min_nodes", json!(3)), vec!["scaling_policy.min_nodes"]),
        (policy("cooldown_minutes", json!(0)), vec!["scaling_policy.cooldown_minutes"]),
        (json!({ "pricing": { "cost_per_hour": "-1", "reward_per_hour": "1" } }), vec!["pricing.cost_per_hour"]),
        (json!({ "pricing": { "reward_per_hour": "1000.000001" } }), vec!["pricing.reward_per_hour"]),
        (json!({ "pricing": { "cost_per_hour": "0.0000001", "reward_per_hour": "1" } }), vec!["pricing.cost_per_hour"]),
        (json!({ "max_nodes": 0, "description": "x".repeat(501) }), vec!["description", "max_nodes"]),
    ];
    for (mut body, fields) in cases {
        guarded.invalid(Method::PUT, &path, body.clone(), &fields).await;
        body["name"] = json!("fine");
        guarded.invalid(Method::POST, "/nodes/pools", body, &fields).await;
    }
    guarded.invalid(Method::PUT, &path, json!({ "max_nodes": 1 }), &["max_nodes"]).await;
    guarded.invalid(Method::PUT, &path, json!({ "pricing": { "currency": "LUCID" } }), &["pricing.currency"]).await;
    guarded.malformed(Method::POST, "/nodes/pools", json!({ "name": "fine", "colour": "red" }), "colour").await;
    guarded.malformed(Method::POST, "/nodes/pools", json!({ "name": "fine", "max_nodes": "many" }), "max_nodes").await;
    guarded.malformed(Method::POST, "/nodes/pools", json!({ "name": "fine", "pricing": { "currency": "EUR" } }), "pricing.currency").await;
    guarded.malformed(Method::PUT, &path, json!({ "pool_id": "pool_other" }), "pool_id").await;
}

#[tokio::test]
async fn places_and_names_are_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[("limits.max_nodes", "4")]).await;
    let pool = async |name: &str, max: u32| {
        let made = site.client.post("/nodes/pools", json!({ "name": name, "max_nodes": max })).await;
        made["pool_id"].as_str().unwrap().to_owned()
    };
    let (small, empty) = (pool("small", 1).await, pool("empty", 5).await);
    let in_pool = |name: &str, pool: &str| json!({ "name": name, "node_type": "worker", "initial_pool_id": pool });
    let member = site.client.post("/nodes", in_pool("member", &small)).await["node_id"].as_str().unwrap().to_owned();
    let free = site.client.post("/nodes", json!({ "name": "free", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    let namesake =
        site.client.post("/nodes", json!({ "name": "member", "node_type": "worker" })).await["node_id"].as_str().unwrap().to_owned();
    let into_small = site.client.post("/enrolment-tokens", json!({ "pool_id": small })).await["token"].as_str().unwrap().to_owned();

    let guarded = Guarded::new(&site).await;
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let taken = (409, "5007", "NodeNameTaken");
    guarded.call("a name again", post.clone(), "/nodes", Some(json!({ "name": "free", "node_type": "worker" })), taken).await;
    guarded.call("a name again", put.clone(), &format!("/nodes/{namesake}"), Some(json!({ "name": "free" })), taken).await;
    let pool_taken = (409, "5008", "PoolExists");
    guarded.call("a pool again", post.clone(), "/nodes/pools", Some(json!({ "name": "small" })), pool_taken).await;
    guarded.call("a pool again", put.clone(), &format!("/nodes/pools/{empty}"), Some(json!({ "name": "small" })), pool_taken).await;

    let full = (422, "5004", "PoolFull");
    let join = |node: &str| Some(json!({ "node_id": node }));
    guarded.call("a full pool", post.clone(), "/nodes", Some(in_pool("more", &small)), full).await;
    guarded.call("a full pool", put.clone(), &format!("/nodes/{free}"), Some(json!({ "pool_id": small })), full).await;
    guarded.call("a full pool", post.clone(), &format!("/nodes/pools/{small}/nodes"), join(&free), full).await;
    guarded.call("a full pool", post.clone(), &format!("/pools/{small}/join"), join(&free), full).await;
    let enrolling = Machine::new("more").try_enrol(&site.client.base, &into_small, None).await.expect_err("refused");
    guarded.refused("a full pool", enrolling, full).await;

    guarded
        .call("a member again", post.clone(), &format!("/nodes/pools/{small}/nodes"), join(&member), (409, "4091", "AlreadyMember"))
        .await;
    guarded.call("no member", delete.clone(), &format!("/nodes/pools/{empty}/nodes/{member}"), None, (404, "4041", "NotAMember")).await;
    guarded.call("a pool in use", delete.clone(), &format!("/nodes/pools/{small}"), None, (409, "4091", "PoolNotEmpty")).await;
    guarded.call("the default pool", delete.clone(), "/nodes/pools/pool_default", None, (409, "4091", "PoolProtected")).await;
    let priority = json!({ "node_id": "x", "priority": 101 });
    guarded.invalid(post.clone(), &format!("/nodes/pools/{empty}/nodes"), priority, &["node_id", "priority"]).await;

    let (no_node, no_pool) = ((404, "5001", "NodeNotFound"), (404, "5002", "PoolNotFound"));
    for id in ["node_nobody_at_all", "pool_default", "x", "..%2Fusers"] {
        let path = format!("/nodes/{id}");
        guarded.call(id, get.clone(), &path, None, no_node).await;
        guarded.call(id, put.clone(), &path, Some(json!({ "name": "fine" })), no_node).await;
        guarded.call(id, delete.clone(), &path, None, no_node).await;
    }
    for id in ["pool_nowhere", "node_12345", "x"] {
        let path = format!("/nodes/pools/{id}");
        guarded.call(id, get.clone(), &path, None, no_pool).await;
        guarded.call(id, put.clone(), &path, Some(json!({ "name": "fine" })), no_pool).await;
        guarded.call(id, delete.clone(), &path, None, no_pool).await;
        guarded.call(id, post.clone(), &format!("{path}/nodes"), join(&free), no_pool).await;
    }
    guarded.call("an unknown node", post.clone(), &format!("/nodes/pools/{empty}/nodes"), join("node_nobody_at_all"), no_node).await;
    guarded.call("an unknown pool", post.clone(), "/nodes", Some(in_pool("more", "pool_nowhere")), no_pool).await;
    guarded.call("an unknown pool", post.clone(), "/enrolment-tokens", Some(json!({ "pool_id": "pool_nowhere" })), no_pool).await;
    let tokens = "/enrolment-tokens";
    guarded.call("an unknown node", post.clone(), tokens, Some(json!({ "node_id": "node_nobody_at_all" })), no_node).await;
    guarded.invalid(post.clone(), tokens, json!({ "uses": 0, "expires_in_seconds": 59 }), &["expires_in_seconds", "uses"]).await;
    guarded.invalid(post.clone(), tokens, json!({ "uses": 1_001, "expires_in_seconds": 2_592_001 }), &["expires_in_seconds", "uses"]).await;
    guarded.invalid(post.clone(), tokens, json!({ "node_id": free, "uses": 2 }), &["uses"]).await;
    guarded.invalid(post.clone(), tokens, json!({ "node_id": free, "pool_id": small }), &["node_id"]).await;
    guarded.call("an unknown token", delete.clone(), "/enrolment-tokens/enrol_0123456789", None, (404, "4041", "TokenUnknown")).await;

    let fourth = site.enrol("fourth").await;
    let guarded = Guarded::new(&site).await;
    let fleet_full = (422, "5004", "FleetFull");
    guarded.call("a full fleet", post, "/nodes", Some(json!({ "name": "fifth", "node_type": "worker" })), fleet_full).await;
    let address = format!("/nodes/{}/payout-address", fourth.id);
    for wrong in ["", "T", "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv4", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"] {
        guarded.invalid(put.clone(), &address, json!({ "address": wrong }), &["address"]).await;
    }
    guarded.call("no address", get, &address, None, (404, "5006", "AddressNotFound")).await;
}

#[tokio::test]
async fn requests_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let guarded = Guarded::new(&site).await;
    let bearer = format!("Bearer {}", site.client.token());
    let auth = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        request(&site.client, method, path, headers, Some(body)).await.1
    };
    let nodes = "/api/v1/nodes";
    let fine = r#"{"name":"fine","node_type":"worker"}"#;
    let not_json = (415, "1004", "NotJson");
    guarded.refused("plain text", ask(Method::POST, nodes, &[auth, ("content-type", "text/plain")], fine).await, not_json).await;
    guarded
        .refused("a form", ask(Method::POST, nodes, &[auth, ("content-type", "application/x-www-form-urlencoded")], fine).await, not_json)
        .await;
    let packed = ask(Method::POST, nodes, &[auth, json, ("content-encoding", "gzip")], fine).await;
    guarded.refused("a packed body", packed, (415, "1009", "BodyEncoded")).await;
    let utf16 = ask(Method::POST, nodes, &[auth, ("content-type", "application/json; charset=utf-16")], fine).await;
    guarded.refused("another charset", utf16, (415, "1010", "NotUtf8")).await;
    for broken in [
        "",
        "{",
        "[]",
        "null",
        r#"{"name":"fine","node_type":"worker"} and more"#,
        r#"{"name":"fine","name":"twice","node_type":"worker"}"#,
    ] {
        guarded.refused(broken, ask(Method::POST, nodes, &[auth, json], broken).await, (400, "1001", "Malformed")).await;
    }
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(11 << 20));
    guarded.refused("11 MB", ask(Method::POST, nodes, &[auth, json], &huge).await, (413, "1003", "BodyTooLarge")).await;
    guarded.refused("a wrong method", ask(Method::PATCH, nodes, &[auth, json], fine).await, (405, "1005", "MethodNotAllowed")).await;
    guarded.refused("a wrong path", ask(Method::POST, "/api/v1/nowhere", &[auth, json], fine).await, (404, "1006", "RouteNotFound")).await;
}
