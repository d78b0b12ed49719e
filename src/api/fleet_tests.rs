//! Nodes, pools and enrolment, through the router.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site, json as body_of, request};
use crate::crypto::{PublicKey, SecretKey, SigningKey};
use crate::domain::enrolment::{Fingerprint, TokenText, manager_key_hash};
use crate::domain::ids::{Incarnation, NodeId};
use crate::domain::node::{CpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, StorageInfo};
use crate::storage::core::{audit, nodes};
use crate::wire::{EnrolAnswer, EnrolRequest, Envelope, HEADER_SIGNATURE, PATH_ENROL, PROTOCOL, Purpose};

/// A site with its first person.
struct Fleet {
    site: Site,
    root: String,
}

type Answer = (StatusCode, Value);

impl Fleet {
    async fn new() -> Fleet {
        let site = Site::new();
        let root = site.set_up().await;
        Fleet { site, root }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.site.as_bearer(&self.root, method, &format!("/api/v1{path}"), body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn made(&self, path: &str, body: Value, id: &str) -> String {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer[id].as_str().unwrap().to_owned()
    }

    async fn node(&self, name: &str) -> String {
        self.made("/nodes", json!({"name": name, "node_type": "worker"}), "node_id").await
    }

    async fn token(&self, body: Value) -> TokenText {
        TokenText::parse(&self.made("/enrolment-tokens", body, "token").await).unwrap()
    }

    async fn enrol(&self, machine: &Machine, token: &TokenText) -> Answer {
        let (body, signature) = machine.asks(token);
        let response = self.site.send(request(Method::POST, PATH_ENROL, Some(body), &[(HEADER_SIGNATURE, &signature)])).await;
        let status = response.status();
        (status, body_of(response).await)
    }
}

fn refusal(answer: &Answer) -> (u16, String, String) {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    (answer.0.as_u16(), text(&answer.1["error"]["code"]), text(&answer.1["error"]["details"]["name"]))
}

fn refused(status: u16, code: &str, name: &str) -> (u16, String, String) {
    (status, format!("LUCID_ERR_{code}"), name.to_owned())
}

fn fields(answer: &Answer) -> Vec<&str> {
    answer.1["error"]["details"]["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect()
}

/// A machine with key and fingerprint of a number.
pub(super) struct Machine {
    pub key: SigningKey,
    pub request: EnrolRequest,
}

impl Machine {
    pub fn new(key: u8, hardware: u8, name: &str) -> Machine {
        let part = |part: &str| Some(Fingerprint::part("m", part, &hardware.to_string()));
        let key = SigningKey::from_seed(SecretKey([key; 32]));
        let request = EnrolRequest {
            protocol: PROTOCOL,
            token: String::new(),
            public_key: key.public().to_hex(),
            fingerprint: Fingerprint {
                machine_id: part("machine"),
                board_serial: part("board"),
                cpu: part("cpu"),
                memory: part("memory"),
                disk_id: part("disk"),
                macs: part("macs"),
            },
            hardware: HardwareInfo {
                cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
                memory: MemoryInfo { total_bytes: 4_000_000_000, kind: None },
                storage: StorageInfo { total_bytes: 32_000_000_000, ..StorageInfo::default() },
                gpu: None,
                network: vec![NetworkInfo { interface: "eth0".into(), ..NetworkInfo::default() }],
            },
            name: name.into(),
            agent_version: "1".into(),
        };
        Machine { key, request }
    }

    /// The body with a field this manager does not know, as a newer agent may send, and the signature.
    pub fn asks(&self, token: &TokenText) -> (Value, String) {
        let mut body = serde_json::to_value(EnrolRequest { token: token.to_text(), ..self.request.clone() }).unwrap();
        body["mood"] = json!("good");
        let envelope = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };
        let signature = envelope.sign(&self.key, body.to_string().as_bytes());
        (body, signature)
    }
}

#[tokio::test]
async fn a_node_is_made_shown_changed_and_deleted() {
    let f = Fleet::new().await;
    let body = json!({
        "name": "pi-1", "node_type": "storage", "initial_pool_id": "pool_default",
        "hardware_info": {"cpu": {"cores": 4, "frequency_mhz": 1800.5}, "memory": {"total_bytes": 4_000_000_000u64, "type": "LPDDR4"},
            "storage": {"total_bytes": 32_000_000_000u64}, "network": [{"interface": "eth0"}]},
        "location": {"country": "NZ", "coordinates": {"latitude": -41.3, "longitude": 174.8}},
        "configuration": {"max_sessions": 3}
    });
    let (status, node) = f.post("/nodes", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{node}");
    let path = format!("/nodes/{}", node["node_id"].as_str().unwrap());
    assert_eq!(f.get(&path).await, (StatusCode::OK, node.clone()));
    let expected = json!({"status": "starting", "observed": "starting", "wanted": "running", "eligible": "in_service", "pool_name": "default",
        "enrolled": false, "fingerprint_drift": false, "last_heartbeat": null, "accrued": "0", "payable": "0", "currency": "USDT",
        "poot": {"state": "pending", "score": null, "confidence": 0.0, "observed_seconds": 0, "required_seconds": 3600}});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&node[name], value, "{name}");
    }
    assert_eq!((&node["hardware_info"]["memory"]["type"], &node["location"]["country"]), (&json!("LPDDR4"), &json!("NZ")));
    assert_eq!(refusal(&f.post("/nodes", body).await), refused(409, "5007", "NodeNameTaken"));

    let (status, node) = f.put(&path, json!({"name": "pi-one", "status": "inactive", "configuration": {"max_sessions": 5}})).await;
    assert_eq!((status, &node["name"], &node["status"]), (StatusCode::OK, &json!("pi-one"), &json!("inactive")));
    assert_eq!(node["configuration"]["max_sessions"], 5);
    assert_eq!(f.get("/pools/pool_default").await.1["node_count"], 1);
    assert_eq!(f.delete(&path).await.0, StatusCode::NO_CONTENT);
    for answer in [f.get(&path).await, f.delete(&path).await, f.put(&path, json!({})).await, f.get("/nodes/nonsense").await] {
        assert_eq!(refusal(&answer), refused(404, "5001", "NodeNotFound"));
    }
}

#[tokio::test]
async fn all_offending_fields_are_named_at_once() {
    let f = Fleet::new().await;
    let body = json!({
        "name": "a b", "node_type": "worker", "initial_pool_id": "pool_test_1",
        "hardware_info": {"cpu": {"cores": 129}, "memory": {"total_bytes": 1}, "storage": {"total_bytes": 1}},
        "configuration": {"maintenance_window": {"start_hour": 24, "duration_hours": 9}}
    });
    let answer = f.post("/nodes", body).await;
    assert_eq!(refusal(&answer), refused(400, "1002", "Invalid"));
    let expected = [
        "initial_pool_id",
        "name",
        "hardware_info.cpu.cores",
        "hardware_info.memory.total_bytes",
        "hardware_info.storage.total_bytes",
        "hardware_info.network",
        "configuration.maintenance_window.start_hour",
        "configuration.maintenance_window.duration_hours",
    ];
    assert_eq!(fields(&answer), expected);
    let answer = f.post("/nodes/pools", json!({"name": "x", "max_nodes": 1001, "auto_scaling": true, "pricing": {"cost_per_hour": "0.0000001", "reward_per_hour": "-1"}})).await;
    assert_eq!(fields(&answer), ["pricing.cost_per_hour", "name", "max_nodes", "scaling_policy", "pricing.reward_per_hour"]);
    let answer = f.post("/enrolment-tokens", json!({"pool_id": "x", "node_id": "y", "uses": 0, "expires_in_seconds": 1})).await;
    assert_eq!(fields(&answer), ["pool_id", "node_id", "node_id", "uses", "expires_in_seconds"]);
    let answer = f.get("/nodes?status=fine&pool_id=x&sort=size&order=up").await;
    assert_eq!(fields(&answer), ["status", "pool_id", "sort", "order"]);
    let unknown = f.post("/nodes", json!({"name": "abc", "node_type": "worker", "colour": "red"})).await;
    assert_eq!((unknown.0, fields(&unknown)), (StatusCode::BAD_REQUEST, vec!["colour"]));
    let nested = json!({"name": "abc", "node_type": "worker", "location": {"planet": "Earth"}});
    assert_eq!(fields(&f.post("/nodes", nested).await), ["location.planet"]);
}

#[tokio::test]
async fn status_follows_the_rules_of_who_may_set_it() {
    let f = Fleet::new().await;
    let path = format!("/nodes/{}", f.node("pi-1").await);
    for wrong in ["error", "unreachable", "fine"] {
        assert_eq!(refusal(&f.put(&path, json!({"status": wrong})).await), refused(422, "5003", "InvalidNodeStatus"));
    }
    let operator = f.site.person(&f.root, "olga", "operator").await;
    let full = format!("/api/v1{path}");
    let ahead = f.site.as_bearer(&operator, Method::PUT, &full, Some(json!({"status": "maintenance"}))).await;
    assert_eq!((ahead.0, &ahead.1["eligible"]), (StatusCode::OK, &json!("in_service")));
    assert!(ahead.1["maintenance"]["from"].is_string() && ahead.1["maintenance"]["until"].is_string());
    let (_, at_once) = f.put(&path, json!({"status": "maintenance"})).await;
    assert_eq!((&at_once["status"], &at_once["maintenance"]["from"]), (&json!("maintenance"), &Value::Null));
    let (_, back) = f.put(&path, json!({"status": "active"})).await;
    assert_eq!((&back["status"], &back["eligible"], back.get("maintenance")), (&json!("starting"), &json!("in_service"), None));
    let viewer = f.site.person(&f.root, "vera", "viewer").await;
    assert_eq!(f.site.as_bearer(&viewer, Method::GET, &full, None).await.0, StatusCode::OK);
    assert_eq!(f.site.as_bearer(&viewer, Method::PUT, &full, Some(json!({}))).await.0, StatusCode::FORBIDDEN);
    assert_eq!(f.site.get(&full).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let f = Fleet::new().await;
    let mut ids = Vec::new();
    for name in ["delta", "alpha", "charlie", "bravo"] {
        ids.push(f.node(name).await);
    }
    assert_eq!(f.post("/nodes/pools/pool_default/nodes", json!({"node_id": ids[0], "priority": 50})).await.0, StatusCode::OK);
    f.put(&format!("/nodes/{}", ids[1]), json!({"status": "inactive"})).await;
    let names = async |query: &str| {
        let (status, list) = f.get(&format!("/nodes{query}")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list["nodes"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["delta", "alpha", "charlie", "bravo"]);
    assert_eq!(names("?sort=name").await, ["alpha", "bravo", "charlie", "delta"]);
    assert_eq!(names("?sort=name&order=desc&limit=2&page=2").await, ["bravo", "alpha"]);
    assert_eq!(names("?pool_id=pool_default").await, ["delta"]);
    assert_eq!(names("?status=inactive").await, ["alpha"]);
    assert_eq!(names("?search=HA").await, ["alpha", "charlie"]);
    assert_eq!(names(&format!("?search={}", ids[3])).await, ["bravo"]);
    let (_, list) = f.get("/nodes?limit=3").await;
    assert_eq!(list["pagination"], json!({"page": 1, "limit": 3, "total": 4, "pages": 2, "has_next": true, "has_prev": false}));
    assert_eq!(refusal(&f.get("/nodes?pool_id=pool_gone").await), refused(404, "5002", "PoolNotFound"));
}

#[tokio::test]
async fn a_member_has_a_priority_that_goes_with_its_pool() {
    let f = Fleet::new().await;
    let (id, other) = (f.node("pi-1").await, f.node("pi-2").await);
    let priority = async |id: &str| f.get(&format!("/nodes/{id}")).await.1["pool_priority"].clone();
    assert_eq!(priority(&id).await, Value::Null, "in no pool");
    let members = "/nodes/pools/pool_default/nodes";
    for wrong in [json!(0), json!(101), json!(-1), json!(1.5), json!("5")] {
        let (status, answer) = f.post(members, json!({"node_id": id, "priority": wrong})).await;
        assert_eq!((status, &answer["error"]["details"]["fields"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("priority")), "{wrong}");
    }
    let (status, joined) = f.post(members, json!({"node_id": id, "priority": 100})).await;
    assert_eq!((status, &joined["pool_priority"]), (StatusCode::OK, &json!(100)));
    assert_eq!(f.post(members, json!({"node_id": other})).await.1["pool_priority"], 50, "unless it is said");
    let already = refused(409, "4091", "AlreadyMember");
    assert_eq!(refusal(&f.post(members, json!({"node_id": id})).await), already);
    assert_eq!(refusal(&f.post("/pools/pool_default/join", json!({"node_id": id, "priority": 100})).await), already);
    let (status, changed) = f.post("/pools/pool_default/join", json!({"node_id": id, "priority": 1})).await;
    assert_eq!((status, &changed["pool_priority"], &changed["pool_id"]), (StatusCode::OK, &json!(1), &json!("pool_default")));
    let (_, list) = f.get("/nodes?sort=name").await;
    assert_eq!([&list["nodes"][0]["pool_priority"], &list["nodes"][1]["pool_priority"]], [&json!(1), &json!(50)]);

    let (_, pool) = f.post("/nodes/pools", json!({"name": "edge"})).await;
    let moved = f.put(&format!("/nodes/{id}"), json!({"pool_id": pool["pool_id"]})).await.1;
    assert_eq!(moved["pool_priority"], 50, "the other pool was told nothing");
    let back = f.put(&format!("/nodes/{id}"), json!({"pool_id": "pool_default"})).await.1;
    assert_eq!(back["pool_priority"], 50, "and what the first one was told is over");
    let (_, log) = f.get("/audit?operation=pool.join&text=priority").await;
    assert_eq!(log["pagination"]["total"], 2);
}

#[tokio::test]
async fn a_body_where_none_is_read_is_no_wish_that_gets_lost() {
    let f = Fleet::new().await;
    let path = format!("/nodes/{}", f.node("pi-1").await);
    let start = format!("{path}/start");
    let (status, answer) = f.post(&start, json!({"force": true, "wait": 1})).await;
    let fields = &answer["error"]["details"]["fields"];
    assert_eq!((status, &fields[0]["field"], &fields[1]["field"]), (StatusCode::BAD_REQUEST, &json!("force"), &json!("wait")), "{answer}");
    for no_object in [json!([1]), json!("now"), json!(1)] {
        assert_eq!(f.post(&start, no_object).await.0, StatusCode::BAD_REQUEST);
    }
    let gone = f.site.as_bearer(&f.root, Method::DELETE, &format!("/api/v1{path}"), Some(json!({"reason": "scrapped"}))).await;
    assert_eq!(
        (gone.0, &gone.1["error"]["details"]["fields"][0]["field"]),
        (StatusCode::BAD_REQUEST, &json!("reason")),
        "it is a parameter"
    );
    for nothing in [json!({}), Value::Null] {
        assert!(f.post(&start, nothing).await.0.is_success());
    }
    assert!(f.site.as_bearer(&f.root, Method::POST, &format!("/api/v1{start}"), None).await.0.is_success());
    assert_eq!(f.post("/backup", json!({})).await.0, StatusCode::ACCEPTED);
}

/// What only the store knows is said of its field, too.
#[tokio::test]
async fn refusals_of_the_store_name_the_field_they_are_about() {
    let f = Fleet::new().await;
    let (one, two) = (f.node("pi-1").await, f.node("pi-2").await);
    let (_, pool) = f.post("/nodes/pools", json!({"name": "edge", "max_nodes": 1})).await;
    let pool_id = &pool["pool_id"];
    let members = format!("/nodes/pools/{}/nodes", pool_id.as_str().unwrap());
    f.post(&members, json!({"node_id": one})).await;
    let new = |name: &str, pool: &Value| json!({"name": name, "node_type": "worker", "initial_pool_id": pool});
    let named = |(status, body): (StatusCode, Value)| {
        let error = &body["error"];
        let fields: Vec<&str> = error["details"]["fields"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
        (status.as_u16(), error["details"]["name"].as_str().unwrap().to_owned(), fields.join(","))
    };
    let about = |status: u16, name: &str, field: &str| (status, name.to_owned(), field.to_owned());
    let two = format!("/nodes/{two}");
    for (answer, expected) in [
        (f.post("/nodes", new("pi-2", &Value::Null)).await, about(409, "NodeNameTaken", "name")),
        (f.post("/nodes", new("pi-3", &json!("pool_gone"))).await, about(404, "PoolNotFound", "initial_pool_id")),
        (f.post("/nodes", new("pi-3", pool_id)).await, about(422, "PoolFull", "initial_pool_id")),
        (f.put(&two, json!({"pool_id": "pool_gone"})).await, about(404, "PoolNotFound", "pool_id")),
        (f.put(&two, json!({"pool_id": pool_id})).await, about(422, "PoolFull", "pool_id")),
        (f.put(&two, json!({"status": "error"})).await, about(422, "InvalidNodeStatus", "status")),
        (f.put("/nodes/node_gone", json!({"name": "pi-9"})).await, about(404, "NodeNotFound", "")),
        (f.post("/nodes/pools", json!({"name": "edge"})).await, about(409, "PoolExists", "name")),
        (f.post(&members, json!({"node_id": "node_gone"})).await, about(404, "NodeNotFound", "node_id")),
        (f.post(&members, json!({"node_id": one})).await, about(409, "AlreadyMember", "node_id")),
        (f.post("/users", json!({"username": "root", "password": PASSWORD, "role": "viewer"})).await, about(409, "UserExists", "username")),
        (f.post(&format!("{two}/maintenance"), json!({"from": "2020-01-01T00:00:00Z"})).await, about(422, "MaintenanceTooSoon", "from")),
    ] {
        assert_eq!(named(answer), expected);
    }
}

#[tokio::test]
async fn a_pool_is_made_priced_filled_and_emptied() {
    let f = Fleet::new().await;
    let body = json!({"name": "edge", "description": "at the edge", "max_nodes": 1, "pricing": {"cost_per_hour": 0.07, "reward_per_hour": "0.069999"}});
    let (status, pool) = f.post("/nodes/pools", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{pool}");
    assert_eq!(pool["pricing"], json!({"cost_per_hour": "0.07", "reward_per_hour": "0.069999", "currency": "USDT"}));
    assert_eq!(refusal(&f.post("/nodes/pools", body).await), refused(409, "5008", "PoolExists"));
    let id = pool["pool_id"].as_str().unwrap().to_owned();
    let path = format!("/nodes/pools/{id}");
    assert_eq!(f.get(&path).await.1, pool);
    assert_eq!(f.get(&format!("/pools/{id}")).await.1, pool);
    assert_eq!(f.get("/pools").await.1, f.get("/nodes/pools").await.1);

    let (status, priced) = f.put(&path, json!({"pricing": {"reward_per_hour": 1e-6}})).await;
    assert_eq!((status, &priced["pricing"]["reward_per_hour"]), (StatusCode::OK, &json!("0.000001")));
    let from = crate::domain::time::Timestamp::parse_rfc3339(priced["pricing"]["in_force_from"].as_str().unwrap()).unwrap();
    let now = f.site.state.now().wall;
    assert!(from > now && from.seconds() % 300 == 0 && from.since(now) <= 300_000);
    assert_eq!(fields(&f.put(&path, json!({"pricing": {"currency": "LUCID"}, "max_nodes": 0})).await), ["pricing.currency", "max_nodes"]);

    let (one, two) = (f.node("one").await, f.node("two").await);
    let (status, node) = f.post(&format!("/pools/{id}/join"), json!({"node_id": one})).await;
    assert_eq!((status, &node["pool_name"]), (StatusCode::OK, &json!("edge")));
    let add = async |node: &str| refusal(&f.post(&format!("{path}/nodes"), json!({"node_id": node})).await);
    assert_eq!(add(&one).await, refused(409, "4091", "AlreadyMember"));
    assert_eq!(add(&two).await, refused(422, "5004", "PoolFull"));
    assert_eq!(add("node_gone").await, refused(404, "5001", "NodeNotFound"));
    assert_eq!(refusal(&f.delete(&path).await), refused(409, "4091", "PoolNotEmpty"));
    assert_eq!(refusal(&f.delete("/nodes/pools/pool_default").await), refused(409, "4091", "PoolProtected"));
    assert_eq!(f.delete(&format!("{path}/nodes/{one}")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(refusal(&f.delete(&format!("{path}/nodes/{one}")).await), refused(404, "4041", "NotAMember"));
    assert_eq!(f.delete(&path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(refusal(&f.get(&path).await), refused(404, "5002", "PoolNotFound"));
}

#[tokio::test]
async fn a_machine_enrols_with_a_token_and_pins_the_manager() {
    let f = Fleet::new().await;
    let (status, made) = f.post("/enrolment-tokens", json!({})).await;
    assert_eq!(status, StatusCode::CREATED);
    let text = made["token"].as_str().unwrap();
    let command = made["command"].as_str().unwrap();
    assert!(command.starts_with("lucid-node-management agent --manager http") && !command.contains(text));
    let token = TokenText::parse(text).unwrap();
    assert_eq!(token.manager_key_hash, manager_key_hash(&f.site.state.store.manager_key()));
    let machine = Machine::new(1, 1, "pi.local");
    let (body, signature) = machine.asks(&token);
    let response = f.site.send(request(Method::POST, PATH_ENROL, Some(body), &[(HEADER_SIGNATURE, &signature)])).await;
    assert_eq!(response.status(), StatusCode::OK);
    let theirs = response.headers()[HEADER_SIGNATURE].to_str().unwrap().to_owned();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let answer: EnrolAnswer = serde_json::from_slice(&bytes).unwrap();
    let (manager, node) = (answer.manager_id.as_str(), answer.node_id.as_str());
    let envelope = Envelope { purpose: Purpose::EnrolAnswer, manager, node, incarnation: Incarnation(0), seq: 0 };
    assert!(envelope.verify(&PublicKey::from_hex(&answer.manager_key).unwrap(), &bytes, &theirs));
    assert_eq!(f.enrol(&machine, &token).await.1["node_id"], json!(node), "a lost answer is no loss");
    let (_, shown) = f.get(&format!("/nodes/{node}")).await;
    assert_eq!((&shown["name"], &shown["enrolled"], &shown["pool_id"]), (&json!("pi-local"), &json!(true), &json!("pool_default")));
    let (_, list) = f.get("/enrolment-tokens").await;
    assert_eq!((&list["enrolment_tokens"][0]["used"], &list["pagination"]["total"]), (&json!(1), &json!(1)));
    assert!(!list.to_string().contains(&token.secret));
}

#[tokio::test]
async fn refused_enrolments_say_why_and_are_audited() {
    let f = Fleet::new().await;
    let token = f.token(json!({})).await;
    let machine = Machine::new(1, 1, "one");
    let (body, signature) = machine.asks(&token);
    let mut forged = body.clone();
    forged["name"] = json!("two");
    let send = async |body: Value, signature: &str| {
        let response = f.site.send(request(Method::POST, PATH_ENROL, Some(body), &[(HEADER_SIGNATURE, signature)])).await;
        refusal(&(response.status(), body_of(response).await))
    };
    assert_eq!(send(forged, &signature).await, refused(401, "2007", "SignatureForged"));
    assert_eq!(send(body, "").await, refused(401, "2007", "SignatureForged"));
    let mut newer = Machine::new(1, 1, "one");
    newer.request.protocol = PROTOCOL + 1;
    assert_eq!(refusal(&f.enrol(&newer, &token).await), refused(422, "4221", "ProtocolTooNew"));
    let wrong = TokenText { secret: "guess".into(), ..token.clone() };
    assert_eq!(refusal(&f.enrol(&machine, &wrong).await), refused(401, "2006", "TokenWrongSecret"));
    assert_eq!(f.enrol(&machine, &token).await.0, StatusCode::OK);
    assert_eq!(refusal(&f.enrol(&Machine::new(2, 2, "two"), &token).await), refused(401, "2006", "TokenUsed"));
    let fresh = f.token(json!({})).await;
    assert_eq!(refusal(&f.enrol(&Machine::new(1, 9, "one"), &fresh).await), refused(403, "2008", "KeyOnOtherHardware"));
    assert_eq!(f.get("/alerts").await.1["alerts"][0]["kind"], "key_on_other_hardware");
    let prepared = f.node("prepared").await;
    let bound = f.token(json!({"node_id": prepared})).await;
    let also_bound = f.token(json!({"node_id": prepared})).await;
    assert_eq!(f.enrol(&Machine::new(3, 3, "x"), &bound).await.1["node_id"], json!(prepared));
    assert_eq!(refusal(&f.enrol(&Machine::new(4, 4, "x"), &also_bound).await), refused(409, "4091", "NodeClaimed"));
    assert_eq!(f.delete(&format!("/enrolment-tokens/{}", fresh.id)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(refusal(&f.enrol(&Machine::new(5, 5, "x"), &fresh).await), refused(401, "2006", "TokenRevoked"));
    assert_eq!(f.delete("/enrolment-tokens/enrol_gone").await.0, StatusCode::NOT_FOUND);
    let entries = audit::page(&f.site.state.store.read().unwrap(), 0, 100).unwrap();
    for name in ["SignatureForged", "TokenWrongSecret", "TokenUsed", "KeyOnOtherHardware", "NodeClaimed", "TokenRevoked"] {
        assert!(entries.iter().any(|e| e.draft.reason.as_deref() == Some(name)), "{name} is not in the audit log");
    }
}

#[tokio::test]
async fn a_node_gets_a_token_for_itself_by_answering_a_challenge_once() {
    let f = Fleet::new().await;
    let machine = Machine::new(1, 1, "one");
    let node = f.enrol(&machine, &f.token(json!({})).await).await.1["node_id"].as_str().unwrap().to_owned();
    let other = f.node("other").await;
    let ask = async |node: &str| f.post("/auth/node/challenge", json!({"node_id": node})).await.1["challenge"].as_str().unwrap().to_owned();
    let answer = async |node: &str, challenge: &str, key: &SigningKey| {
        let manager = f.site.state.store.manager_id.clone();
        let envelope = Envelope { purpose: Purpose::Challenge, manager: manager.as_str(), node, incarnation: Incarnation(0), seq: 0 };
        let body = json!({"node_id": node, "challenge": challenge, "signature": envelope.sign(key, challenge.as_bytes())});
        f.post("/auth/node/token", body).await
    };
    let challenge = ask(&node).await;
    let (status, token) = answer(&node, &challenge, &machine.key).await;
    assert_eq!((status, &token["token_type"], &token["expires_in"]), (StatusCode::OK, &json!("Bearer"), &json!(3600)));
    assert_eq!(refusal(&answer(&node, &challenge, &machine.key).await), refused(401, "2007", "ChallengeUnknown"));
    let challenge = ask(&node).await;
    let foreign = SigningKey::from_seed(SecretKey([9; 32]));
    assert_eq!(refusal(&answer(&node, &challenge, &foreign).await), refused(401, "2007", "SignatureForged"));
    let challenge = ask(&node).await;
    f.site.driver.advance_ms(60_000);
    assert_eq!(refusal(&answer(&node, &challenge, &machine.key).await), refused(401, "2007", "ChallengeExpired"));
    let unclaimed = ask(&other).await;
    assert_eq!(refusal(&answer(&other, &unclaimed, &machine.key).await), refused(401, "2007", "ChallengeUnknown"));
    let bearer = token["access_token"].as_str().unwrap();
    let as_node = async |path: String| f.site.as_bearer(bearer, Method::GET, &path, None).await;
    assert_eq!(as_node(format!("/api/v1/nodes/{node}")).await.0, StatusCode::OK);
    assert_eq!(refusal(&as_node(format!("/api/v1/nodes/{other}")).await), refused(403, "2003", "NotYours"));
    assert_eq!(as_node("/api/v1/nodes".into()).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_changed_machine_is_accepted_by_an_admin_and_tokens_of_many_uses_want_one() {
    let f = Fleet::new().await;
    let operator = f.site.person(&f.root, "olga", "operator").await;
    let made = f.site.as_bearer(&operator, Method::POST, "/api/v1/enrolment-tokens", Some(json!({"uses": 2}))).await.1;
    let token = TokenText::parse(made["token"].as_str().unwrap()).unwrap();
    let machine = Machine::new(1, 1, "one");
    assert_eq!(refusal(&f.enrol(&machine, &token).await), refused(202, "2012", "ApprovalPending"));
    let waiting = f.site.as_bearer(&operator, Method::GET, "/api/v1/enrolment-requests", None).await.1;
    let approve = format!("/api/v1/enrolment-requests/{}/approve", waiting["enrolment_requests"][0]["id"].as_str().unwrap());
    assert_eq!(f.site.as_bearer(&operator, Method::POST, &approve, None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(f.site.as_bearer(&f.root, Method::POST, &approve, None).await.0, StatusCode::OK);
    let node = f.enrol(&machine, &token).await.1["node_id"].as_str().unwrap().to_owned();
    let path = format!("/nodes/{node}");
    assert_eq!(f.get(&path).await.1["eligible"], "in_service");

    let id = NodeId::parse(&node).unwrap();
    let act = crate::domain::audit::Act::system(f.site.state.now());
    let (directory, reported) = (f.site.state.store.directory.clone(), Machine::new(1, 2, "").request.fingerprint);
    f.site.state.store.write(move |tx| nodes::report_drift(tx, &directory, &act, &id, &reported)).await.unwrap();
    assert_eq!(f.get(&path).await.1["fingerprint_drift"], true);
    let accept = format!("/api/v1{path}/fingerprint/accept");
    assert_eq!(f.site.as_bearer(&operator, Method::POST, &accept, None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(f.site.as_bearer(&f.root, Method::POST, &accept, None).await.1["fingerprint_drift"], false);
}
