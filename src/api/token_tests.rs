//! API tokens, and the sessions of others, through the router.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site};
use crate::storage::core::{audit, people};

fn name(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["error"]["details"]["name"].as_str().unwrap_or("-"))
}

impl Site {
    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.as_bearer(token, method, &format!("/api/v1{path}"), body).await
    }

    /// An API token: its id and its text.
    async fn program(&self, token: &str, body: Value) -> (String, String) {
        let (status, made) = self.ask(token, Method::POST, "/tokens", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    fn user(&self, name: &str) -> String {
        people::user_by_name(&self.state.store.read().unwrap(), name).unwrap().unwrap().id.to_string()
    }
}

fn new(role: &str) -> Value {
    json!({"name": "backup", "role": role, "expires_in_days": 30})
}

#[tokio::test]
async fn a_program_does_what_its_token_says_until_it_ends() {
    let site = Site::new();
    let root = site.set_up().await;
    let (id, operator) = site.program(&root, new("operator")).await;
    assert!(operator.starts_with("lucid_token_"));
    let node = json!({"name": "made", "node_type": "worker"});
    let (status, made) = site.ask(&operator, Method::POST, "/nodes", Some(node)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let newest = audit::page(&site.state.store.read().unwrap(), 0, 1).unwrap().remove(0);
    assert_eq!((newest.draft.operation.as_str(), newest.draft.actor.to_string()), ("node.create", id.clone()));
    for (method, path) in [(Method::GET, "/users"), (Method::GET, "/auth/me"), (Method::GET, "/sessions"), (Method::GET, "/audit")] {
        let answer = site.ask(&operator, method, path, None).await;
        assert_eq!(name(&answer), (403, "NotAllowed"), "{path}");
    }
    let address = format!("/nodes/{}/payout-address", made["node_id"].as_str().unwrap());
    let put = site.ask(&operator, Method::PUT, &address, Some(json!({"address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3"}))).await;
    assert_eq!(name(&put), (403, "PersonNeeded"), "no program is ever there");

    let (_, listed) = site.ask(&root, Method::GET, "/tokens", None).await;
    let row = &listed["tokens"][0];
    let used = site.state.now().wall.rfc3339();
    assert_eq!((row["id"].as_str(), row["last_used_at"].as_str()), (Some(id.as_str()), Some(used.as_str())));
    assert_eq!((row["created_by_name"].as_str(), row["scopes"].is_null()), (Some("root"), true));
    assert!(!listed.to_string().contains(operator.rsplit('_').next().unwrap()), "shown once");
    site.driver.advance_ms(599_000);
    site.ask(&operator, Method::GET, "/nodes", None).await;
    let (_, listed) = site.ask(&root, Method::GET, "/tokens", None).await;
    assert_eq!(listed["tokens"][0]["last_used_at"].as_str(), Some(used.as_str()), "not a write for each request");

    let forged = format!("{}{}", &operator[..operator.len() - 1], if operator.ends_with('0') { '1' } else { '0' });
    for wrong in [forged.as_str(), "lucid_token_0123456789_00", &operator[..operator.len() - 1]] {
        assert_eq!(name(&site.ask(wrong, Method::GET, "/nodes", None).await), (401, "SessionUnknown"));
    }
    assert_eq!(site.ask(&root, Method::DELETE, &format!("/tokens/{id}"), None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(name(&site.ask(&operator, Method::GET, "/nodes", None).await), (401, "SessionUnknown"));
    assert_eq!(name(&site.ask(&root, Method::DELETE, &format!("/tokens/{id}"), None).await), (404, "ApiTokenNotFound"));

    let (_, short) = site.program(&root, json!({"name": "short", "role": "viewer", "expires_in_days": 1})).await;
    site.driver.advance_ms(86_399_000 - 599_000 + 599_000);
    assert_eq!(site.ask(&short, Method::GET, "/nodes", None).await.0, StatusCode::OK, "it outlives the session it was made in");
    site.driver.advance_ms(1_000);
    assert_eq!(name(&site.ask(&short, Method::GET, "/nodes", None).await), (401, "SessionUnknown"));
}

#[tokio::test]
async fn a_token_is_bounded_by_its_scopes_and_by_its_maker() {
    let site = Site::new();
    let root = site.set_up().await;
    let anna = site.person(&root, "anna", "admin").await;
    let ask = |body: Value| Some(body);
    let refused = site.ask(&anna, Method::POST, "/tokens", ask(new("super_admin"))).await;
    assert_eq!(name(&refused), (403, "NotAllowed"), "above her");
    let odd = json!({"name": " ", "role": "viewer", "expires_in_days": 0, "scopes": ["node:read", "node:read", "user:write", "node:fly"]});
    let (status, answer) = site.ask(&anna, Method::POST, "/tokens", ask(odd)).await;
    let fields: Vec<&str> = answer["error"]["details"]["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (StatusCode::BAD_REQUEST, vec!["scopes[1]", "scopes[3]", "name", "expires_in_days", "scopes"]));

    let few = json!({"name": "watch", "role": "operator", "expires_in_days": 1, "scopes": ["node:read"]});
    let (_, watch) = site.program(&anna, few).await;
    assert_eq!(site.ask(&watch, Method::GET, "/nodes", None).await.0, StatusCode::OK);
    assert_eq!(name(&site.ask(&watch, Method::GET, "/alerts", None).await), (403, "NotAllowed"));
    assert_eq!(
        name(&site.ask(&watch, Method::POST, "/nodes", Some(json!({"name": "made", "node_type": "worker"}))).await),
        (403, "NotAllowed")
    );

    let (admin_id, admin) = site.program(&anna, new("admin")).await;
    assert_eq!(site.ask(&admin, Method::GET, "/users", None).await.0, StatusCode::OK);
    let person = json!({"username": "mole", "password": PASSWORD, "role": "viewer"});
    assert_eq!(name(&site.ask(&admin, Method::POST, "/users", Some(person)).await), (403, "NotAllowed"), "programs make nobody");
    assert_eq!(name(&site.ask(&admin, Method::POST, "/tokens", Some(new("viewer"))).await), (403, "NotAllowed"));
    site.driver.advance_ms(300_000);
    assert_eq!(name(&site.ask(&anna, Method::POST, "/tokens", Some(new("admin"))).await), (403, "FreshFactorNeeded"));
    assert_eq!(site.ask(&anna, Method::POST, "/tokens", Some(new("operator"))).await.0, StatusCode::CREATED);

    assert_eq!(site.ask(&root, Method::POST, "/auth/confirm", Some(json!({"password": PASSWORD}))).await.0, StatusCode::OK);
    let change = async |body: Value| site.ask(&root, Method::PUT, &format!("/users/{}", site.user("anna")), Some(body)).await.0;
    assert_eq!(change(json!({"role": "viewer"})).await, StatusCode::OK);
    assert_eq!(name(&site.ask(&admin, Method::GET, "/users", None).await), (403, "NotAllowed"), "no more than its maker now");
    assert_eq!(site.ask(&admin, Method::GET, "/nodes", None).await.0, StatusCode::OK);
    assert_eq!(change(json!({"disabled": true})).await, StatusCode::OK);
    assert_eq!(name(&site.ask(&admin, Method::GET, "/nodes", None).await), (401, "SessionUnknown"));
    assert_eq!(change(json!({"disabled": false})).await, StatusCode::OK);
    assert_eq!(name(&site.ask(&admin, Method::GET, "/nodes", None).await), (401, "SessionUnknown"), "it ended");
    let entries = audit::page(&site.state.store.read().unwrap(), 0, 100).unwrap();
    assert!(entries.iter().any(|e| e.draft.operation == "token.revoke" && e.draft.subject == admin_id));
}

#[tokio::test]
async fn admins_see_and_end_the_sessions_of_others_up_to_their_own_role() {
    let site = Site::new();
    let root = site.set_up().await;
    let anna = site.person(&root, "anna", "admin").await;
    let vera = site.person(&root, "vera", "viewer").await;
    let path = |who: &str| format!("/users/{}/sessions", site.user(who));
    let (status, list) = site.ask(&anna, Method::GET, &path("vera"), None).await;
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!((status, sessions.len()), (StatusCode::OK, 2));
    assert!(sessions.iter().all(|s| s["current"] == false));
    assert_eq!(name(&site.ask(&vera, Method::GET, &path("vera"), None).await), (403, "NotAllowed"), "her own are at /sessions");
    assert_eq!(name(&site.ask(&anna, Method::GET, &path("root"), None).await), (403, "NotAllowed"));
    assert_eq!(name(&site.ask(&anna, Method::GET, "/users/user_nobody/sessions", None).await), (404, "UserNotFound"));
    let program = sessions.iter().find(|s| s["carrier"] == "program").unwrap()["id"].as_str().unwrap();
    let end = |who: &str, id: &str| format!("{}/{id}", path(who));
    assert_eq!(name(&site.ask(&anna, Method::DELETE, &end("anna", program), None).await), (404, "SessionNotFound"), "of nobody else");
    assert_eq!(site.ask(&anna, Method::DELETE, &end("vera", program), None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(name(&site.ask(&vera, Method::GET, "/auth/me", None).await), (401, "SessionUnknown"));
    let (_, own) = site.ask(&root, Method::GET, "/sessions", None).await;
    let of_root = own["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(name(&site.ask(&anna, Method::DELETE, &end("root", &of_root), None).await), (403, "NotAllowed"));
}

#[tokio::test]
async fn an_erased_person_takes_their_tokens_and_what_these_did_along() {
    let site = Site::new();
    let root = site.set_up().await;
    let anna = site.person(&root, "anna", "admin").await;
    let (_, revoked) =
        site.ask(&anna, Method::POST, "/tokens", Some(json!({"name": "old", "role": "operator", "expires_in_days": 9}))).await;
    let (_, made) =
        site.ask(&anna, Method::POST, "/tokens", Some(json!({"name": "backup", "role": "operator", "expires_in_days": 9}))).await;
    let text = |made: &Value| made["token"].as_str().unwrap().to_owned();
    for (token, name) in [(text(&revoked), "one"), (text(&made), "two")] {
        let body = json!({"name": format!("node-{name}"), "node_type": "worker"});
        assert_eq!(site.ask(&token, Method::POST, "/nodes", Some(body)).await.0, StatusCode::CREATED);
    }
    let revoke = format!("/tokens/{}", revoked["id"].as_str().unwrap());
    assert_eq!(site.ask(&anna, Method::DELETE, &revoke, None).await.0, StatusCode::NO_CONTENT);
    let id = site.user("anna");
    let (_, export) = site.ask(&root, Method::GET, &format!("/privacy/export/{id}"), None).await;
    assert_eq!((export["api_tokens"].as_array().unwrap().len(), &export["api_tokens"][0]["name"]), (1, &json!("backup")), "{export}");
    assert_eq!(
        (&export["acts_of_tokens"][0]["operation"], &export["acts_of_tokens"][0]["actor_name"]),
        (&json!("node.create"), &json!("backup"))
    );
    assert!(!export.to_string().contains(&text(&made)));
    let addresses = async || {
        let (_, found) = site.ask(&root, Method::GET, "/audit?operation=node.create", None).await;
        found["entries"].as_array().unwrap().iter().map(|entry| entry["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(addresses().await, ["127.0.0.1", "127.0.0.1"]);
    let erased = site.ask(&root, Method::POST, &format!("/privacy/erase/{id}"), Some(json!({"reason": "asked for it"}))).await;
    assert_eq!(erased.0, StatusCode::OK, "{}", erased.1);
    assert_eq!(name(&site.ask(&text(&made), Method::GET, "/nodes", None).await), (401, "SessionUnknown"));
    assert_eq!(site.ask(&root, Method::GET, "/tokens", None).await.1["tokens"], json!([]));
    assert!(addresses().await.iter().all(|address| address != "127.0.0.1"), "of the revoked token too");
}

mod gateway {
    use data_encoding::BASE64URL_NOPAD;
    use ring::hmac;

    use super::*;
    use crate::api::gateway_jwt::Gateway;
    use crate::api::{ApiSettings, testing::T};
    use crate::crypto::JwtSecret;
    use crate::domain::enrolment::NodeClaims;
    use crate::domain::gateway::Expected;
    use crate::domain::ids::NodeId;
    use crate::domain::node::NodeType;

    const SECRET: &str = "a secret of thirty-two characters";

    fn sign(head: &Value, claims: &Value, secret: &str) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(head), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    fn hs256() -> Value {
        json!({"alg": "HS256", "typ": "JWT"})
    }

    fn claims(role: &str) -> Value {
        json!({"sub": "u-1", "role": role, "exp": T.seconds() + 900, "iat": T.seconds(), "jti": "j-1"})
    }

    fn site() -> Site {
        let gateway = Gateway { secret: JwtSecret::new(SECRET), expected: Expected::default() };
        Site::with(ApiSettings { gateway: Some(gateway), ..ApiSettings::default() })
    }

    #[tokio::test]
    async fn the_gateway_vouches_for_operators_at_most() {
        let site = site();
        let root = site.set_up().await;
        let admin = sign(&hs256(), &claims("ADMIN"), SECRET);
        assert_eq!(site.ask(&admin, Method::GET, "/nodes", None).await.0, StatusCode::OK);
        let (status, made) = site.ask(&admin, Method::POST, "/nodes", Some(json!({"name": "made", "node_type": "worker"}))).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let newest = audit::page(&site.state.store.read().unwrap(), 0, 1).unwrap().remove(0);
        let id = newest.draft.actor.to_string();
        assert!(id.starts_with("gateway:") && !id.contains("u-1"), "what the gateway calls them is nowhere in clear: {id}");
        // By id or by what the gateway calls them: found, handed out, erased.
        for asked in ["gateway:u-1", &id] {
            let (_, found) = site.ask(&root, Method::GET, &format!("/audit?operation=node.create&actor={asked}"), None).await;
            assert_eq!((found["entries"].as_array().unwrap().len(), &found["entries"][0]["actor_name"]), (1, &json!("u-1")), "{asked}");
            let (status, export) = site.ask(&root, Method::GET, &format!("/privacy/export/{asked}"), None).await;
            assert_eq!((status, &export["user_id"], &export["acts"][0]["actor_name"]), (StatusCode::OK, &json!(id), &json!("u-1")));
        }
        let erase = async || site.ask(&root, Method::POST, "/privacy/erase/gateway:u-1", Some(json!({"reason": "asked for it"}))).await;
        assert_eq!(erase().await.0, StatusCode::OK);
        assert_eq!(name(&erase().await), (409, "AlreadyErased"));
        let unknown = site.ask(&root, Method::POST, "/privacy/erase/gateway:u-2", Some(json!({"reason": "asked for it"}))).await;
        assert_eq!(name(&unknown), (404, "UserNotFound"));
        let (_, left) = site.ask(&root, Method::GET, &format!("/audit?operation=node.create&actor={id}"), None).await;
        assert_eq!((left["entries"].as_array().unwrap().len(), left.to_string().contains("u-1")), (1, false), "{left}");
        for path in ["/users", "/audit", "/auth/me", "/tokens"] {
            assert_eq!(name(&site.ask(&admin, Method::GET, path, None).await), (403, "NotAllowed"), "{path}");
        }
        let address = format!("/nodes/{}/payout-address", made["node_id"].as_str().unwrap());
        let put = site.ask(&admin, Method::PUT, &address, Some(json!({"address": "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3"}))).await;
        assert_eq!(name(&put), (403, "PersonNeeded"));
        let viewer = sign(&hs256(), &claims("viewer"), SECRET);
        let post = site.ask(&viewer, Method::POST, "/nodes", Some(json!({"name": "other", "node_type": "worker"}))).await;
        assert_eq!(name(&post), (403, "NotAllowed"));
        assert_eq!(site.ask(&root, Method::GET, "/users", None).await.0, StatusCode::OK, "people go on as before");
    }

    #[tokio::test]
    async fn what_is_not_the_gateways_word_is_refused() {
        let site = site();
        let good = sign(&hs256(), &claims("operator"), SECRET);
        let (head_and_body, _) = good.rsplit_once('.').unwrap();
        let with = |changes: Value| {
            let mut claims = claims("operator");
            for (key, value) in changes.as_object().unwrap() {
                claims[key] = value.clone();
            }
            sign(&hs256(), &claims, SECRET)
        };
        let mut endless = claims("operator");
        endless.as_object_mut().unwrap().remove("exp");
        let at = T.seconds();
        // A token of a node, made with the gateway's secret: the node's key is another one.
        let node = NodeClaims::new(NodeId::parse("node_abcdef").unwrap(), NodeType::Worker, T, "j".into());
        let mut node = serde_json::to_value(node).unwrap();
        node["role"] = "operator".into();
        node["sub"] = "u-1".into();
        let bad = [
            ("alg none", sign(&json!({"alg": "none"}), &claims("operator"), SECRET)),
            ("no signature", format!("{head_and_body}.")),
            ("another algorithm", sign(&json!({"alg": "HS512"}), &claims("operator"), SECRET)),
            ("an extension", sign(&json!({"alg": "HS256", "crit": ["exp"]}), &claims("operator"), SECRET)),
            ("another key", sign(&hs256(), &claims("operator"), "another secret of thirty-two chars")),
            ("no key", sign(&hs256(), &claims("operator"), "")),
            ("a node's token", sign(&hs256(), &node, SECRET)),
            ("a refresh token", with(json!({"type": "refresh"}))),
            ("expired", with(json!({"exp": at}))),
            ("not yet", with(json!({"nbf": at + 61}))),
            ("of the future", with(json!({"iat": at + 61}))),
            ("without end", sign(&hs256(), &endless, SECRET)),
            ("an unknown role", with(json!({"role": "owner"}))),
            ("nobody", with(json!({"sub": ""}))),
        ];
        for (what, token) in bad {
            assert_eq!(name(&site.ask(&token, Method::GET, "/nodes", None).await), (401, "SessionUnknown"), "{what}");
        }
        assert_eq!(site.ask(&good, Method::GET, "/nodes", None).await.0, StatusCode::OK);
        let without = Site::new();
        assert_eq!(name(&without.ask(&good, Method::GET, "/nodes", None).await), (401, "SessionUnknown"), "no gateway is configured");
    }
}
