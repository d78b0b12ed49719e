//! Rates, through the router.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::fleet_tests::Machine;
use super::middleware::Peer;
use super::testing::{PASSWORD, Site, json as body_of, request};
use crate::crypto::{SecretKey, SigningKey, sha256};
use crate::domain::enrolment::{Fingerprint, TokenText};
use crate::domain::ids::Incarnation;
use crate::domain::metrics::Sample;
use crate::wire::{
    Envelope, HEADER_NODE, HEADER_SIGNATURE, Item, LateBatch, LateItem, PATH_ENROL, PATH_LATE, PATH_REPORT, PROTOCOL, Purpose, Report,
};

/// A request that comes from `address`.
fn from(address: &str, method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = request(method, path, body, headers);
    request.extensions_mut().insert(Peer(format!("{address}:9").parse().unwrap()));
    request
}

async fn get(site: &Site, address: &str, path: &str, token: Option<&str>) -> (StatusCode, HeaderMap, Value) {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let response = site.send(from(address, Method::GET, path, None, &headers)).await;
    (response.status(), response.headers().clone(), body_of(response).await)
}

fn header(headers: &HeaderMap, name: &str) -> u32 {
    headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap().parse().unwrap()
}

fn standing(headers: &HeaderMap) -> (u32, u32, u32) {
    (header(headers, "x-ratelimit-limit"), header(headers, "x-ratelimit-remaining"), header(headers, "x-ratelimit-reset"))
}

#[tokio::test]
async fn every_answer_says_how_the_rate_stands() {
    let site = Site::new();
    let token = site.set_up().await;
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/nodes", Some(&token)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::OK, (10_000, 9_999, 1)));
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/nodes/node_unknown0", Some(&token)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::NOT_FOUND, (10_000, 9_998, 1)));
    let viewer = site.person(&token, "vera", "viewer").await;
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/users", Some(&viewer)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::FORBIDDEN, (1_000, 999, 1)), "who is refused is still known");
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nodes", None).await;
    assert_eq!((status, standing(&headers)), (StatusCode::UNAUTHORIZED, (100, 99, 1)));
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nodes", Some("forged")).await;
    assert_eq!((status, standing(&headers)), (StatusCode::UNAUTHORIZED, (100, 98, 2)), "what proves nothing is the address's");
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nothing", Some(&token)).await;
    assert_eq!((status, standing(&headers).0), (StatusCode::NOT_FOUND, 100));
    let (status, headers, _) = get(&site, "10.0.0.2", "/health/live", None).await;
    assert_eq!((status, standing(&headers).0), (StatusCode::OK, 2_000));
}

#[tokio::test]
async fn a_visitor_waits_after_a_hundred_requests_and_those_signed_in_beside_them_do_not() {
    let site = Site::new();
    let token = site.set_up().await;
    for n in 0..150 {
        let credentials = (n % 2 == 0).then_some("forged");
        let (status, headers, body) = get(&site, "10.0.0.9", "/api/v1/nodes", credentials).await;
        if n < 100 {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        } else {
            assert_eq!((status, standing(&headers)), (StatusCode::TOO_MANY_REQUESTS, (100, 0, 60)));
            assert_eq!(header(&headers, "retry-after"), 1);
            assert_eq!(
                (body["error"]["details"]["retry_after"].as_u64(), body["error"]["code"].as_str()),
                (Some(1), Some("LUCID_ERR_4291"))
            );
        }
    }
    let stale = site.send(from("10.0.0.9", Method::GET, "/api/v1/nodes", None, &[("cookie", "lucid_session=stale")])).await;
    assert_eq!(stale.status(), StatusCode::TOO_MANY_REQUESTS, "a cookie is no way around it");
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/nodes", Some(&token)).await.0, StatusCode::OK);
    assert_eq!(get(&site, "10.0.0.9", "/", None).await.0, get(&site, "10.0.0.8", "/", None).await.0, "the UI still loads");
    assert_eq!(get(&site, "10.0.0.10", "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED, "another address");
    site.driver.advance_ms(1_000);
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    for host in 0..150 {
        let status = get(&site, &format!("[2001:db8::{host:x}]"), "/api/v1/nodes", None).await.0;
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, host >= 100, "one host owns all of a /64");
    }
}

#[tokio::test]
async fn who_signs_in_does_not_wait_for_what_else_is_tried_behind_the_address() {
    let site = Site::new();
    site.set_up().await;
    for _ in 0..150 {
        get(&site, "10.0.0.9", "/api/v1/nodes", Some("forged")).await;
    }
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/nodes", None).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/setup", None).await.0, StatusCode::OK);
    let login = async |headers: &[(&str, &str)]| {
        let body = json!({"username": "root", "password": PASSWORD});
        site.send(from("10.0.0.9", Method::POST, "/api/v1/auth/login", Some(body), headers)).await
    };
    let signed_in = login(&[]).await;
    assert_eq!((signed_in.status(), standing(signed_in.headers())), (StatusCode::OK, (100, 97, 2)));
    for _ in 0..97 {
        assert_eq!(get(&site, "10.0.0.9", "/api/v1/auth/me", Some("forged")).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/auth/me", Some("forged")).await.0, StatusCode::TOO_MANY_REQUESTS, "it has an end too");
    assert_eq!(login(&[]).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&site, "10.0.0.8", "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED, "another address");
}

/// Somebody behind the administrator's own address, who knows the name and tries without end.
#[tokio::test]
async fn a_browser_that_has_signed_in_gets_in_again_whatever_its_neighbours_do() {
    let site = Site::new();
    let root = site.set_up().await;
    site.person(&root, "mallory", "viewer").await;
    let login = async |username: &str, password: &str, cookie: &str| {
        let body = json!({"username": username, "password": password});
        site.send(from("10.0.0.9", Method::POST, "/api/v1/auth/login", Some(body), &[("cookie", cookie)])).await
    };
    let browser = async |username: &str| {
        let answer = login(username, PASSWORD, "").await;
        assert_eq!(answer.status(), StatusCode::OK);
        let cookies: Vec<&str> = answer.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
        let device = cookies.iter().find(|cookie| cookie.starts_with("lucid_device=")).unwrap();
        assert!(device.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=34560000"), "{device}");
        device.split(';').next().unwrap().to_owned()
    };
    let (ours, theirs) = (browser("root").await, browser("mallory").await);
    let flood = async || {
        for n in 0..120 {
            let cookie = if n % 2 == 0 { "" } else { &theirs };
            assert_ne!(login("root", "a wrong guess", cookie).await.status(), StatusCode::OK);
        }
        assert_eq!(login("root", PASSWORD, "").await.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(login("root", PASSWORD, &theirs).await.status(), StatusCode::TOO_MANY_REQUESTS, "a browser of somebody else");
        assert_eq!(login("root", PASSWORD, &format!("{ours}0")).await.status(), StatusCode::TOO_MANY_REQUESTS, "a proof that was made up");
    };
    for _ in 0..3 {
        flood().await;
        for (path, status) in
            [("/api/v1/setup", StatusCode::OK), ("/api/v1/auth/me", StatusCode::UNAUTHORIZED), ("/health/live", StatusCode::OK)]
        {
            assert_eq!(site.send(from("10.0.0.9", Method::GET, path, None, &[("cookie", &ours)])).await.status(), status, "{path}");
        }
        let answer = login("root", PASSWORD, &ours).await;
        assert_eq!((answer.status(), standing(answer.headers()).0), (StatusCode::OK, 1_000), "the browser's own rate");
        site.driver.advance_ms(1_000);
    }
    // However often somebody signs in, there is one rate for all of it; and none for who may not sign in any more.
    let again = browser("mallory").await;
    let remaining = async |cookie: &str| standing(login("nobody", "a guess", cookie).await.headers());
    let first = remaining(&theirs).await;
    assert_eq!((first.0, remaining(&again).await.1), (1_000, first.1 - 1));
    let people = site.as_bearer(&root, Method::GET, "/api/v1/users", None).await.1;
    let mallory = people["users"].as_array().unwrap().iter().find(|user| user["username"] == "mallory").unwrap()["id"].clone();
    let path = format!("/api/v1/users/{}", mallory.as_str().unwrap());
    assert_eq!(site.as_bearer(&root, Method::PUT, &path, Some(json!({"disabled": true}))).await.0, StatusCode::OK);
    assert_eq!(remaining(&again).await.0, 100, "the address pays");

    // The browser itself is slowed down like a home: whoever took it guesses one password in ten seconds.
    let guesses = async |seconds: i64| {
        let mut judged = 0;
        for _ in 0..seconds {
            judged += usize::from(login("root", "a wrong guess", &ours).await.status() == StatusCode::UNAUTHORIZED);
            site.driver.advance_ms(1_000);
        }
        judged
    };
    guesses(60).await;
    assert!((5..=7).contains(&guesses(60).await));
}

#[tokio::test]
async fn what_makes_work_or_moves_money_has_tighter_limits_and_reading_it_has_not() {
    let site = Site::new();
    let token = site.set_up().await;
    let call = async |method: &Method, path: &str| {
        let authorization = format!("Bearer {token}");
        let body = (*method == Method::POST).then(|| json!({}));
        let response = site.send(from("10.0.0.1", method.clone(), path, body, &[("authorization", &authorization)])).await;
        (response.status(), standing(response.headers()).0)
    };
    for n in 0..60 {
        let (status, limit) = call(&Method::POST, "/api/v1/payouts/process").await;
        assert_eq!((status == StatusCode::TOO_MANY_REQUESTS, limit), (n >= 50, 50));
    }
    for n in 0..110 {
        let (status, limit) = call(&Method::POST, "/api/v1/poot/calculate").await;
        assert_eq!((status == StatusCode::TOO_MANY_REQUESTS, limit), (n >= 100, 100));
    }
    assert_eq!(call(&Method::GET, "/api/v1/nodes/payouts/history").await, (StatusCode::OK, 10_000));
}

const GATE: &str = "10.0.0.77";

/// An enrolled agent behind `GATE`.
struct Agent {
    id: String,
    manager: String,
    machine: Machine,
}

impl Agent {
    async fn enrol(site: &Site, number: u32, token: &TokenText) -> Result<Agent, StatusCode> {
        let mut machine = Machine::new(1, 1, &format!("node-{number}"));
        machine.key = SigningKey::from_seed(SecretKey(sha256(&number.to_be_bytes())));
        machine.request.public_key = machine.key.public().to_hex();
        machine.request.fingerprint.machine_id = Some(Fingerprint::part("m", "machine", &number.to_string()));
        machine.request.fingerprint.board_serial = Some(Fingerprint::part("m", "board", &number.to_string()));
        let (body, signature) = machine.asks(token);
        let response = site.send(from(GATE, Method::POST, PATH_ENROL, Some(body), &[(HEADER_SIGNATURE, &signature)])).await;
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        assert_eq!(standing(response.headers()).0, 1_000, "the token's");
        let answer = body_of(response).await;
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        Ok(Agent { id: text("node_id"), manager: text("manager_id"), machine })
    }

    fn envelope(&self, purpose: Purpose) -> Envelope<'_> {
        Envelope { purpose, manager: &self.manager, node: &self.id, incarnation: Incarnation(0), seq: 0 }
    }

    async fn sign_in(&self, site: &Site) -> StatusCode {
        let asked = from(GATE, Method::POST, "/api/v1/auth/node/challenge", Some(json!({"node_id": self.id})), &[]);
        let challenge = body_of(site.send(asked).await).await["challenge"].as_str().unwrap_or("").to_owned();
        let signature = self.envelope(Purpose::Challenge).sign(&self.machine.key, challenge.as_bytes());
        let body = json!({"node_id": self.id, "challenge": challenge, "signature": signature});
        site.send(from(GATE, Method::POST, "/api/v1/auth/node/token", Some(body), &[])).await.status()
    }

    async fn send(&self, site: &Site, path: &str, purpose: Purpose, seq: u64, body: Value) -> (StatusCode, u32) {
        let envelope = Envelope { incarnation: Incarnation(7), seq, ..self.envelope(purpose) };
        let signature = envelope.sign(&self.machine.key, body.to_string().as_bytes());
        let headers = [(HEADER_SIGNATURE, signature.as_str()), (HEADER_NODE, self.id.as_str())];
        let response = site.send(from(GATE, Method::POST, path, Some(body), &headers)).await;
        (response.status(), standing(response.headers()).0)
    }

    async fn report(&self, site: &Site, seq: u64) -> (StatusCode, u32) {
        let report = Report {
            protocol: PROTOCOL,
            incarnation: Incarnation(7),
            seq,
            run: None,
            items: vec![Item { seq, age_ms: 0, witness: None, running: None, sample: Sample::default() }],
            fingerprint: self.machine.request.fingerprint.clone(),
            agent_version: "1".into(),
            dropped: 0,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        };
        self.send(site, PATH_REPORT, Purpose::Report, seq, serde_json::to_value(report).unwrap()).await
    }

    async fn late(&self, site: &Site) -> (StatusCode, u32) {
        let items = vec![LateItem { slot: site.state.now().wall.slot(), sample: Sample::default() }];
        let batch = LateBatch { protocol: PROTOCOL, incarnation: Incarnation(7), items };
        self.send(site, PATH_LATE, Purpose::Late, 0, serde_json::to_value(batch).unwrap()).await
    }
}

async fn enrolment_token(site: &Site, token: &str, uses: u32) -> TokenText {
    let pool = json!({"name": format!("pool-{uses}"), "max_nodes": 1_000});
    let (_, pool) = site.as_bearer(token, Method::POST, "/api/v1/nodes/pools", Some(pool)).await;
    let body = json!({"uses": uses, "pool_id": pool["pool_id"]});
    let (status, made) = site.as_bearer(token, Method::POST, "/api/v1/enrolment-tokens", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    TokenText::parse(made["token"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_thousand_agents_behind_one_address_enrol_sign_in_and_report_while_somebody_there_only_tries() {
    let site = Site::new();
    let root = site.set_up().await;
    let token = enrolment_token(&site, &root, 1_000).await;
    for _ in 0..101 {
        get(&site, GATE, "/api/v1/nodes", Some("forged")).await;
    }
    assert_eq!(get(&site, GATE, "/api/v1/nodes", Some("forged")).await.0, StatusCode::TOO_MANY_REQUESTS);
    let mut agents = Vec::new();
    for number in 0..1_000 {
        agents.push(Agent::enrol(&site, number, &token).await.unwrap());
    }
    for agent in &agents {
        assert_eq!(agent.sign_in(&site).await, StatusCode::OK);
        assert_eq!(agent.report(&site, 1).await, (StatusCode::OK, 1_000));
    }
    let unknown = TokenText { secret: "9".repeat(token.secret.len()), ..token };
    assert_eq!(
        Agent::enrol(&site, 2_000, &unknown).await.err(),
        Some(StatusCode::TOO_MANY_REQUESTS),
        "a token that does not hold pays nothing"
    );
}

#[tokio::test]
async fn one_node_that_reports_too_much_waits_and_the_others_do_not() {
    let site = Site::new();
    let root = site.set_up().await;
    let token = enrolment_token(&site, &root, 2).await;
    let (one, other) = (Agent::enrol(&site, 1, &token).await.unwrap(), Agent::enrol(&site, 2, &token).await.unwrap());
    for seq in 1..=1_010 {
        let (status, limit) = one.report(&site, seq).await;
        assert_eq!((status == StatusCode::TOO_MANY_REQUESTS, limit), (seq > 1_000, 1_000), "{seq}");
    }
    let flushes = site.state.store.hot.commits();
    for n in 0..100 {
        let (status, limit) = one.late(&site).await;
        assert_eq!((status, limit), (if n < 20 { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS }, 20), "{n}");
    }
    assert!(site.state.store.hot.commits() - flushes <= 40, "a batch is a flush and a commit of its own");
    assert_eq!((other.report(&site, 1).await, other.late(&site).await), ((StatusCode::OK, 1_000), (StatusCode::OK, 20)));
    // Forged reports in the name of a node cost the forger.
    let forger = Agent { machine: Machine::new(9, 9, "x"), id: other.id.clone(), manager: other.manager.clone() };
    for n in 0..101 {
        let (status, limit) = forger.report(&site, 2).await;
        assert_eq!((status, limit), (if n < 100 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS }, 100));
    }
    assert_eq!(other.report(&site, 3).await.0, StatusCode::OK);
}
