//! Listeners for nodes and for operations.

use lucid::api::capacity::Limits;
use lucid::crypto::SigningKey;
use lucid::domain::ids::Incarnation;
use lucid::wire::{Envelope, Purpose};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{SHORT, Served, exchange, serve, status};
use crate::support::client::Client;
use crate::support::fleet::Machine;

async fn set_up(manager: &Served) -> Client {
    let mut person = Client::new(format!("http://{}", manager.main));
    person.set_up(&manager.setup_code, None).await;
    person
}

#[tokio::test]
async fn each_plane_answers_its_own_routes_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let separate = [("server.node_listen", "127.0.0.1:0"), ("server.ops_listen", "127.0.0.1:0")];
    let manager = serve(dir.path(), &separate, SHORT, Limits::default()).await;
    let person = set_up(&manager).await;
    let [main, node, ops] =
        [Some(manager.main), manager.node, manager.ops].map(|address| person.at(format!("http://{}", address.unwrap())));
    let answered = async |client: &Client, method: Method, path: &str| client.call(method, path, Some(json!({}))).await.0;
    let missing = StatusCode::NOT_FOUND;
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let at = async |client| answered(client, Method::GET, path).await;
        assert_eq!((at(&main).await, at(&node).await), (missing, missing), "{path}");
        assert_eq!(at(&ops).await, StatusCode::OK, "{path}");
    }
    for path in ["/agent/report", "/agent/late", "/agent/commands", "/agent/enrol", "/auth/node/challenge", "/auth/node/token"] {
        let at = async |client| answered(client, Method::POST, path).await;
        assert_eq!((at(&main).await, at(&ops).await), (missing, missing), "{path}");
        let looked_at = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
        assert!(looked_at.contains(&at(&node).await), "{path}");
    }
    for path in ["/nodes", "/setup", "/about"] {
        let at = async |client| answered(client, Method::GET, path).await;
        assert_eq!((at(&node).await, at(&ops).await), (missing, missing), "{path}");
        assert_eq!(at(&main).await, StatusCode::OK, "{path}");
    }
    let page = async |address: Option<_>| status(&exchange(address.unwrap(), "GET / HTTP/1.0\r\n\r\n").await);
    assert_eq!([page(Some(manager.main)).await, page(manager.node).await, page(manager.ops).await], [200, 404, 404]);

    // A node with its token asks where nodes are served, and there only.
    let token = main.post("/enrolment-tokens", json!({ "uses": 1 })).await;
    let token = token["token"].as_str().unwrap();
    let enrolled = Machine::new("planes").enrol(&node.base, token).await.unwrap();
    let node = node.with_token(node_token(&node, &enrolled.machine.key, &enrolled).await);
    let own = format!("/nodes/{}", enrolled.id);
    assert_eq!(node.get(&own).await["node_id"], enrolled.id.to_string());
    let elsewhere = main.with_token(node.token());
    assert_eq!(answered(&elsewhere, Method::GET, &own).await, missing);
}

async fn node_token(client: &Client, key: &SigningKey, node: &crate::support::fleet::Node) -> String {
    let asked = client.anonymous().post("/auth/node/challenge", json!({ "node_id": node.id.to_string() })).await;
    let challenge = asked["challenge"].as_str().unwrap();
    let manager = node.manager_id.as_str();
    let envelope = Envelope { purpose: Purpose::Challenge, manager, node: node.id.as_str(), incarnation: Incarnation(0), seq: 0 };
    let body = json!({ "node_id": node.id.to_string(), "challenge": challenge, "signature": envelope.sign(key, challenge.as_bytes()) });
    client.anonymous().post("/auth/node/token", body).await["access_token"].as_str().unwrap().to_owned()
}
