//! Every route that takes a body names all fields that are wrong in one answer, those that its parser refuses and those that its rules refuse
//! together, and nothing that is right.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use proptest::prelude::Strategy;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::ApiSettings;
use super::rates::Limits;
use super::testing::{PASSWORD, Site, json as json_of};

/// In the place of a mistake: the field is not there at all.
const GONE: &str = "<gone>";
/// Subsets of the mistakes of one route that are tried, besides all of them and each alone.
const SUBSETS: usize = 40;

struct Asked {
    site: Site,
    token: String,
    node: String,
    pool: String,
    user: String,
}

impl Asked {
    async fn new() -> Asked {
        // So many payouts are asked for here that a manager would make one wait.
        let many = NonZeroU32::new(1_000_000).unwrap();
        let site = Site::with(ApiSettings { rates: Limits { payout: many, ..Limits::default() }, ..ApiSettings::default() });
        let token = site.set_up().await;
        let made = async |path: &str, body: Value, id: &str| {
            let (status, answer) = site.as_bearer(&token, Method::POST, &format!("/api/v1{path}"), Some(body)).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
            answer[id].as_str().unwrap().to_owned()
        };
        let mut node = good_node();
        node.as_object_mut().unwrap().remove("initial_pool_id");
        let node = made("/nodes", node, "node_id").await;
        let pool = made("/nodes/pools", json!({ "name": "basement" }), "pool_id").await;
        let user = made("/users", json!({ "username": "anna", "password": PASSWORD, "role": "viewer" }), "id").await;
        Asked { site, token, node, pool, user }
    }

    /// Names of the wrong fields, sorted, each once.
    async fn refused(&self, method: &Method, path: &str, body: &Value) -> Vec<String> {
        let (node, pool, user) = (self.node.as_str(), self.pool.as_str(), self.user.as_str());
        let path = format!("/api/v1{}", path.replace("{node}", node).replace("{pool}", pool).replace("{user}", user));
        let (status, answer) = self.site.as_bearer(&self.token, method.clone(), &path, Some(body.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {answer}");
        let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
        let mut fields: Vec<String> = fields.map(|field| field["field"].as_str().unwrap().to_owned()).collect();
        fields.sort();
        fields.dedup();
        fields
    }
}

fn good_node() -> Value {
    json!({
        "name": "attic", "node_type": "worker", "initial_pool_id": "pool_default",
        "hardware_info": {
            "cpu": { "cores": 4, "architecture": "aarch64" }, "memory": { "total_bytes": 4_000_000_000_u64 },
            "storage": { "total_bytes": 32_000_000_000_u64, "type": "ssd" }, "network": [{ "interface": "eth0", "speed_mbps": 1000 }]
        },
        "location": { "country": "CH", "city": "Bern", "timezone": "Europe/Zurich", "coordinates": { "latitude": 46.9, "longitude": 7.4 } },
        "configuration": {
            "auto_scaling": false, "max_sessions": 10, "maintenance_window": { "start_hour": 3, "duration_hours": 2 },
            "resource_limits": { "cpu_percent": 80, "memory_bytes": 2_000_000_000_u64, "disk_bytes": 16_000_000_000_u64, "network_mbps": 100 }
        }
    })
}

fn good_payout() -> Value {
    json!({ "node_id": "node_0123", "amount": "12.5", "currency": "USDT", "wallet_address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "priority": "low" })
}

fn good_pool() -> Value {
    let policy = json!({ "scale_up_threshold": 80, "scale_down_threshold": 20, "min_nodes": 1, "max_nodes": 10, "cooldown_minutes": 15 });
    json!({
        "name": "cellar", "description": "", "max_nodes": 20, "auto_scaling": true, "scaling_policy": policy,
        "resource_limits": { "cpu_percent": 80, "disk_bytes": 1_000_000 }, "pricing": { "cost_per_hour": "0.05", "reward_per_hour": 0.05, "currency": "USDT" }
    })
}

type Route = (Method, &'static str, Value, Vec<(&'static str, Value)>);

/// A good body of each route, and what can be wrong with it: of the kind that a parser refuses, and of the kind that only a rule does.
fn routes() -> Vec<Route> {
    let long = || json!("x".repeat(600));
    let pool_mistakes = || {
        vec![
            ("name", json!("x")),
            ("description", long()),
            ("auto_scaling", json!("on")),
            ("max_nodes", json!("many")),
            ("scaling_policy.scale_down_threshold", json!(90)),
            ("scaling_policy.cooldown_minutes", json!(0.5)),
            ("scaling_policy.min_nodes", json!(11)),
            ("scaling_policy.colour", json!("red")),
            ("resource_limits.cpu_percent", json!(0.5)),
            ("resource_limits.disk_bytes", json!(0)),
            ("pricing.cost_per_hour", json!("0.000000001")),
            ("pricing.reward_per_hour", json!("-1")),
        ]
    };
    let node_limits = "configuration.resource_limits.memory_bytes";
    let thresholds = || {
        let limits = || json!({ "warning": 70, "critical": 80 });
        let good = json!({ "cpu_percent": limits(), "memory_percent": limits(), "disk_percent": limits(), "swap_percent": limits(),
            "temperature_celsius": limits(), "duration_seconds": 60, "hysteresis": 2 });
        let mistakes = vec![
            ("cpu_percent.warning", json!(70.55)),
            ("memory_percent.warning", json!("x")),
            ("disk_percent.critical", json!(GONE)),
            ("swap_percent.colour", json!("red")),
            ("temperature_celsius.warning", json!(80)),
            ("duration_seconds", json!(3_601)),
            ("hysteresis", json!(0.55)),
        ];
        (good, mistakes)
    };
    vec![
        (
            Method::POST,
            "/nodes",
            good_node(),
            vec![
                ("name", json!("a b")),
                ("node_type", json!("toaster")),
                ("initial_pool_id", json!("pool_test_one")),
                ("zz", json!(1)),
                ("hardware_info.cpu.cores", json!("four")),
                ("hardware_info.cpu.turbo", json!(true)),
                ("hardware_info.memory", json!(GONE)),
                ("hardware_info.network", json!([])),
                ("hardware_info.storage.type", long()),
                ("location.country", json!("\u{202e}")),
                ("location.city", json!(7)),
                ("location.timezone", json!("Mars/Olympus")),
                ("location.coordinates.latitude", json!(91)),
                ("configuration.auto_scaling", json!("yes")),
                ("configuration.max_sessions", json!(0)),
                ("configuration.resource_limits.cpu_percent", json!(0.5)),
                ("configuration.resource_limits.disk_bytes", json!(32_000_000_001_u64)),
                ("configuration.maintenance_window.duration_hours", json!(9)),
            ],
        ),
        (
            Method::PUT,
            "/nodes/{node}",
            {
                let mut body = good_node();
                let fields = body.as_object_mut().unwrap();
                fields.retain(|name, _| !["hardware_info", "initial_pool_id"].contains(&name.as_str()));
                fields.insert("pool_id".into(), json!("pool_default"));
                body
            },
            vec![
                ("name", json!("a b")),
                ("node_type", json!(7)),
                ("pool_id", json!("pool_admin_one")),
                ("location.city", json!("\u{1b}[2J")),
                ("location.coordinates.longitude", json!(GONE)),
                (node_limits, json!(4_000_000_001_u64)),
                ("configuration.maintenance_window", json!([3, 2])),
                // Alone it has a refusal of its own.
                ("status", json!("error")),
            ],
        ),
        (Method::POST, "/nodes/pools", good_pool(), pool_mistakes()),
        (
            Method::PUT,
            "/nodes/pools/{pool}",
            good_pool(),
            pool_mistakes().into_iter().chain([("pricing.currency", json!("LUCID"))]).collect(),
        ),
        (
            Method::POST,
            "/nodes/pools/{pool}/nodes",
            json!({ "node_id": "node_0123", "priority": 5 }),
            vec![("node_id", json!("node_system_1")), ("priority", json!("high")), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/pools/{pool}/join",
            json!({ "node_id": "node_0123" }),
            vec![("node_id", json!("node_system_1")), ("priority", json!(101)), ("zz", json!(1))],
        ),
        (Method::PUT, "/nodes/{node}/resources/thresholds", thresholds().0, thresholds().1),
        (Method::PUT, "/nodes/pools/{pool}/thresholds", thresholds().0, thresholds().1),
        (
            Method::POST,
            "/nodes/{node}/resources/allocate",
            json!({ "name": "share", "cpu_percent": 10, "memory_bytes": 1, "disk_bytes": 1, "network_mbps": 1 }),
            vec![
                ("name", json!("a b")),
                ("cpu_percent", json!(12.345)),
                ("memory_bytes", json!("x")),
                ("disk_bytes", json!(0)),
                ("network_mbps", json!(0.000_1)),
                ("zz", json!(1)),
            ],
        ),
        (
            Method::POST,
            "/nodes/{node}/maintenance",
            json!({ "from": "2026-09-22T02:00:00Z", "duration_minutes": 60 }),
            vec![("from", json!("tomorrow")), ("duration_minutes", json!(481)), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/nodes/actions",
            json!({ "action": "start", "node_ids": ["node_0123"] }),
            vec![("action", json!("dance")), ("node_ids", json!([])), ("zz", json!(1))],
        ),
        (
            Method::PUT,
            "/nodes/{node}/payout-address",
            json!({ "address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3", "currency": "USDT" }),
            vec![("address", json!("somewhere")), ("currency", json!("EUR")), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/enrolment-tokens",
            json!({ "pool_id": "pool_default", "uses": 1, "expires_in_seconds": 60 }),
            vec![
                ("pool_id", json!("pool_test_one")),
                ("uses", json!("many")),
                ("expires_in_seconds", json!(59)),
                ("needs_approval", json!(7)),
                ("zz", json!(1)),
            ],
        ),
        (
            Method::POST,
            "/users",
            json!({ "username": "berta", "password": PASSWORD, "role": "viewer" }),
            vec![("username", json!("a b")), ("password", json!("short")), ("role", json!("king")), ("zz", json!(1))],
        ),
        (
            Method::PUT,
            "/users/{user}",
            json!({ "password": PASSWORD, "role": "viewer", "disabled": false }),
            vec![("password", json!("anna anna anna")), ("role", json!("king")), ("disabled", json!("yes")), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/tokens",
            json!({ "name": "backup", "role": "viewer", "scopes": ["node:read", "pool:read"], "expires_in_days": 1 }),
            vec![
                ("name", json!(" x")),
                ("role", json!("king")),
                ("scopes[0]", json!("node:fly")),
                ("scopes[1]", json!(7)),
                ("expires_in_days", json!(0)),
                ("zz", json!(1)),
            ],
        ),
        (
            Method::PUT,
            "/auth/password",
            json!({ "current_password": PASSWORD, "password": "quite another one 8" }),
            vec![("current_password", json!(7)), ("password", json!("root root root"))],
        ),
        (
            Method::POST,
            "/recovery-kit",
            json!({ "passphrase": PASSWORD, "password": PASSWORD }),
            vec![("passphrase", json!("short")), ("password", json!(7)), ("totp", json!(7)), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/audit/anchor/check",
            json!({ "manager_id": "", "seq": 1, "hash": "", "at": "", "signature": "" }),
            vec![("manager_id", json!("x")), ("seq", json!("x")), ("hash", json!("x")), ("at", json!("x")), ("signature", json!(GONE))],
        ),
        (Method::POST, "/clock/confirm", json!({ "client_time": "" }), vec![("client_time", json!("now")), ("zz", json!(1))]),
        (Method::POST, "/alerts/alert_0123/acknowledge", json!({ "note": "seen" }), vec![("note", long()), ("zz", json!(1))]),
        (Method::POST, "/privacy/erase/{user}", json!({ "reason": "asked for" }), vec![("reason", json!("  x  ")), ("zz", json!(1))]),
        (
            Method::POST,
            "/nodes/payouts/batch",
            json!({ "batch_id": "batch_0001", "priority": "high", "scheduled_at": "2027-01-01T00:00:00Z", "notification_url": "https://example.org/x",
                "payout_requests": [good_payout(), good_payout()] }),
            vec![
                ("batch_id", json!("lot_0001")),
                ("priority", json!("highest")),
                ("notification_url", json!("https://user:word@example.org")),
                ("payout_requests[0].node_id", json!("node_system_1")),
                ("payout_requests[0].amount", json!("0.0000001")),
                ("payout_requests[0].currency", json!("BTC")),
                ("payout_requests[1].node_id", json!(GONE)),
                ("payout_requests[1].amount", json!(1_000_000.5)),
                ("payout_requests[1].wallet_address", json!("TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv4")),
                ("payout_requests[1].priority", json!(7)),
                ("payout_requests[1].zz", json!(1)),
            ],
        ),
        (
            Method::POST,
            "/payouts/preview",
            json!({ "payout_requests": [good_payout()] }),
            vec![("payout_requests[0].amount", json!(0)), ("payout_requests[0].node_id", json!("x")), ("zz", json!(1))],
        ),
        (
            Method::POST,
            "/nodes/payouts/schedule",
            json!({ "name": "monthly", "cron": "0 6 1 * *", "timezone": "Europe/Zurich", "what": "all_due", "min_amount": "10", "priority": "low", "enabled": false }),
            vec![
                ("name", json!("")),
                ("cron", json!("0 6 1 * * *")),
                ("timezone", json!("Mars/Olympus")),
                ("min_amount", json!("-1")),
                ("priority", json!("no")),
                ("enabled", json!("yes")),
            ],
        ),
        (Method::POST, "/privacy/erase/nodes/{node}", json!({ "reason": "asked" }), vec![("reason", json!("x")), ("zz", json!(1))]),
    ]
}

/// `good` with these mistakes in it.
fn broken(good: &Value, mistakes: &[(&'static str, Value)]) -> Value {
    let mut body = good.clone();
    for (field, value) in mistakes {
        let place = format!("/{}", field.replace('[', ".").replace(']', "").replace('.', "/"));
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent} in {good}"));
        match (parent, name.parse::<usize>()) {
            (Value::Array(items), Ok(n)) => items[n] = value.clone(),
            (parent, _) if value == GONE => drop(parent.as_object_mut().unwrap().remove(name)),
            (parent, _) => parent[name] = value.clone(),
        }
    }
    body
}

#[tokio::test]
async fn whatever_is_wrong_together_is_named_together_and_nothing_else_is() {
    let asked = Asked::new().await;
    let mut runner = TestRunner::default();
    for (method, path, good, mistakes) in routes() {
        let alone = mistakes.iter().map(|mistake| vec![mistake.clone()]);
        let mut subsets: Vec<_> = alone.chain([mistakes.clone()]).collect();
        let some = subsequence(mistakes.clone(), 1..=mistakes.len());
        subsets.extend((0..SUBSETS.min(1 << mistakes.len())).map(|_| some.new_tree(&mut runner).unwrap().current()));
        for chosen in subsets {
            if matches!(&chosen[..], [("status", _)]) {
                continue;
            }
            let body = broken(&good, &chosen);
            // These two good bodies have fields that nobody could know beforehand.
            let ever = if ["/audit/anchor/check", "/clock/confirm"].contains(&path) { known_wrong(&good, &chosen) } else { Vec::new() };
            let mut wanted: Vec<String> = chosen.iter().map(|(field, _)| (*field).to_owned()).chain(ever).collect();
            wanted.sort();
            wanted.dedup();
            let named = asked.refused(&method, path, &body).await;
            assert_eq!(named, wanted, "{method} {path} {body}");
        }
    }
    // Nothing of all that was done.
    let (_, nodes) = asked.site.as_bearer(&asked.token, Method::GET, "/api/v1/nodes", None).await;
    let (_, users) = asked.site.as_bearer(&asked.token, Method::GET, "/api/v1/users", None).await;
    assert_eq!((nodes["pagination"]["total"].as_u64(), users["pagination"]["total"].as_u64()), (Some(1), Some(2)));
}

/// Empty texts of the good body, which the rules refuse however the rest of it is.
fn known_wrong(good: &Value, chosen: &[(&'static str, Value)]) -> Vec<String> {
    let empty = good.as_object().unwrap().iter().filter(|(_, value)| **value == "").map(|(name, _)| name.clone());
    // A signature of no digits is one that does not fit.
    empty.filter(|name| name != "signature" && !chosen.iter().any(|(field, _)| field == name)).collect()
}

#[tokio::test]
async fn what_depends_on_a_wrong_field_is_not_named() {
    let asked = Asked::new().await;
    let policy = |up: Value, down: Value| json!({ "scale_up_threshold": up, "scale_down_threshold": down, "min_nodes": 5, "max_nodes": 500, "cooldown_minutes": 1 });
    let hardware = |memory: Value, speed: Value| {
        json!({ "cpu": { "cores": 4 }, "memory": { "total_bytes": memory }, "storage": { "total_bytes": 32_000_000_000_u64 },
            "network": [{ "interface": "eth0", "speed_mbps": speed }] })
    };
    let limited = |hardware: Value| {
        json!({ "name": "attic", "node_type": "worker", "hardware_info": hardware,
            "configuration": { "resource_limits": { "memory_bytes": 9_000_000_000_u64, "network_mbps": 5_000 } } })
    };
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("/nodes/pools", json!({ "name": "attic", "auto_scaling": 7 }), &["auto_scaling"]),
        ("/nodes/pools", json!({ "name": "attic", "auto_scaling": true, "scaling_policy": 5 }), &["scaling_policy"]),
        ("/nodes/pools", json!({ "name": "attic", "auto_scaling": true, "zz": 5 }), &["scaling_policy", "zz"]),
        (
            "/nodes/pools",
            json!({ "name": "attic", "scaling_policy": policy(json!("x"), json!(50)) }),
            &["scaling_policy.scale_up_threshold", "scaling_policy.max_nodes"],
        ),
        ("/nodes/pools", json!({ "name": "attic", "max_nodes": "x", "scaling_policy": policy(json!(80), json!(50)) }), &["max_nodes"]),
        ("/nodes/pools", json!({ "name": "attic", "pricing": { "cost_per_hour": "0.0000001", "currency": "EUR" } }), &["pricing.currency"]),
        ("/nodes/pools", json!({ "name": "attic", "pricing": { "currency": "EUR" } }), &["pricing.currency"]),
        ("/nodes/pools", json!({ "name": 5, "pricing": { "cost_per_hour": 12_345_678.123_456_7 } }), &["name", "pricing.cost_per_hour"]),
        ("/nodes", limited(hardware(json!("x"), json!(10_000))), &["hardware_info.memory.total_bytes"]),
        ("/nodes", limited(hardware(json!(10_000_000_000_u64), json!("x"))), &["hardware_info.network[0].speed_mbps"]),
        ("/nodes", limited(json!("x")), &["hardware_info"]),
        ("/nodes", limited(json!({})), &["hardware_info.cpu", "hardware_info.memory", "hardware_info.network", "hardware_info.storage"]),
        ("/nodes/{node}/resources/allocate", json!({ "memory_bytes": "x" }), &["memory_bytes"]),
        ("/nodes/{node}/resources/allocate", json!({ "name": "share", "zz": 1 }), &["cpu_percent", "zz"]),
        ("/enrolment-tokens", json!({ "pool_id": 5, "node_id": "node_0123" }), &["pool_id"]),
        ("/users", json!({ "password": PASSWORD, "role": "viewer" }), &["username"]),
        ("/users", json!({ "username": 7, "password": "short", "role": "viewer" }), &["password", "username"]),
        ("/tokens", json!({ "name": "x", "role": "king", "scopes": ["node:write"], "expires_in_days": 1 }), &["role"]),
        ("/tokens", json!({ "name": "x", "role": "viewer", "scopes": [7], "expires_in_days": 0 }), &["expires_in_days", "scopes[0]"]),
        ("/tokens", json!({ "name": "x", "role": "viewer", "scopes": ["x"], "expires_in_days": 1 }), &["scopes[0]"]),
    ];
    for (path, body, wanted) in cases {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(asked.refused(&Method::POST, path, &body).await, wanted, "{path} {body}");
    }
    // A part of the path that is read like a field.
    let step = asked.refused(&Method::PUT, "/setup/steps/dance", &json!({ "state": "perhaps", "zz": 1 })).await;
    assert_eq!(step, ["state", "step", "zz"]);
    let limits = |warning: Value, critical: Value| json!({ "cpu_percent": { "warning": warning, "critical": critical }, "hysteresis": 40 });
    for (body, wanted) in [(limits(json!("x"), json!(1)), "cpu_percent.warning"), (limits(json!(99), json!(true)), "cpu_percent.critical")]
    {
        assert_eq!(asked.refused(&Method::PUT, "/nodes/{node}/resources/thresholds", &body).await, ["hysteresis", wanted][1..], "{body}");
    }
}

#[tokio::test]
async fn fields_that_come_twice_are_named_with_all_others() {
    let site = Site::new();
    let token = site.set_up().await;
    let text = r#"{"name":"a b","node_type":"worker","node_type":"worker","name":"a b","zz":1,"configuration":{"max_sessions":1,"max_sessions":2},
        "initial_pool_id":"pool_test_one","location":{"city":"\u0000"},"hardware_info":{"cpu":{"cores":1,"cores":2},
        "memory":{"total_bytes":1,"total_bytes":1},"storage":{"total_bytes":32000000000},"network":[{"interface":"a"}]}}"#;
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
    let request = headers.iter().fold(Request::post("/api/v1/nodes"), |request, (name, value)| request.header(*name, *value));
    let response = site.send(request.body(Body::from(text)).unwrap()).await;
    let (status, answer) = (response.status(), json_of(response).await);
    let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
    let mut fields: Vec<&str> = fields.map(|field| field["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    let wanted = [
        "configuration.max_sessions",
        "hardware_info.cpu.cores",
        "hardware_info.memory.total_bytes",
        "initial_pool_id",
        "location.city",
        "name",
        "node_type",
        "zz",
    ];
    assert_eq!((status, fields), (StatusCode::BAD_REQUEST, wanted.to_vec()), "{answer}");
}

#[tokio::test]
async fn a_setting_that_is_told_twice_is_not_chosen_from() {
    let site = Site::new();
    let token = site.set_up().await;
    for (text, wanted) in [
        (r#"[{"key":"log.level","value":"info","value":"debug"}]"#, "[0].value"),
        (r#"[{"key":"log.level","key":"log.level","value":"info"}]"#, "[0].key"),
        (r#"{"log.level":"info","log.level":"debug"}"#, "log.level"),
    ] {
        let request = Request::put("/api/v1/settings").header("authorization", format!("Bearer {token}"));
        let response = site.send(request.header("content-type", "application/json").body(Body::from(text)).unwrap()).await;
        let (status, answer) = (response.status(), json_of(response).await);
        assert_eq!((status, &answer["error"]["details"]["fields"][0]["field"]), (StatusCode::BAD_REQUEST, &json!(wanted)), "{answer}");
    }
}

#[tokio::test]
async fn the_first_person_is_told_all_that_is_wrong() {
    let site = Site::new();
    let body = json!({ "code": 7, "username": "a b", "password": "short", "client_time": "now", "zz": 1 });
    let (status, answer) = site.call(Method::POST, "/api/v1/setup", Some(body), &[]).await;
    let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
    let mut fields: Vec<&str> = fields.map(|field| field["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    fields.dedup();
    assert_eq!((status, fields), (StatusCode::BAD_REQUEST, vec!["client_time", "code", "password", "username", "zz"]));
}

#[tokio::test]
async fn an_allocation_is_refused_by_its_fields_or_by_what_is_left() {
    let asked = Asked::new().await;
    let told = async |body: Value| {
        let path = format!("/api/v1/nodes/{}/resources/allocate", asked.node);
        let (status, answer) = asked.site.as_bearer(&asked.token, Method::POST, &path, Some(body)).await;
        (status.as_u16(), answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(told(json!({ "name": "a b", "cpu_percent": 1 })).await, (400, "LUCID_ERR_1002".to_owned()));
    assert_eq!(told(json!({ "name": "share", "cpu_percent": 0.001 })).await, (400, "LUCID_ERR_1002".to_owned()));
    assert_eq!(told(json!({ "name": "share" })).await, (400, "LUCID_ERR_1002".to_owned()));
    assert_eq!(told(json!({ "name": "share", "memory_bytes": 2_000_000_001_u64 })).await, (422, "LUCID_ERR_5004".to_owned()));
    assert_eq!(told(json!({ "name": "share", "memory_bytes": 1 })).await, (201, String::new()));
    assert_eq!(told(json!({ "name": "share", "memory_bytes": 1 })).await, (422, "LUCID_ERR_5009".to_owned()));
}
