//! Credentials that are not what they say: sessions fixed, stolen, expired and replayed, and tokens of nodes that are forged.

use lucid::crypto::{SecretKey, jwt_encode};
use lucid::domain::enrolment::NodeClaims;
use lucid::domain::node::NodeType;
use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

use super::{Answer, Expected, Guarded, request};
use crate::support::client::{PASSWORD, USERNAME};
use crate::support::site::Site;

const UNKNOWN: Expected = (401, "2001", "SessionUnknown");
const COOKIE: &str = "lucid_session";

/// Signs in as a browser does, with `cookies` in its jar; answers the session's cookie and the bearer token.
async fn sign_in(site: &Site, cookies: &str) -> (String, String) {
    let login = json!({ "username": USERNAME, "password": PASSWORD }).to_string();
    let headers = [("content-type", "application/json"), ("cookie", cookies)];
    let (headers, (status, answer)) = request(&site.client, Method::POST, "/api/v1/auth/login", &headers, Some(&login)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    (cookie_of(&headers), answer["access_token"].as_str().unwrap().to_owned())
}

fn cookie_of(headers: &HeaderMap) -> String {
    let header = headers[SET_COOKIE].to_str().unwrap();
    header.split(';').next().unwrap().strip_prefix(&format!("{COOKIE}=")).unwrap().to_owned()
}

async fn with_cookie(site: &Site, value: &str) -> Answer {
    request(&site.client, Method::GET, "/api/v1/auth/me", &[("cookie", &format!("{COOKIE}={value}"))], None).await.1
}

async fn with_bearer(site: &Site, token: &str) -> Answer {
    request(&site.client, Method::GET, "/api/v1/auth/me", &[("authorization", &format!("Bearer {token}"))], None).await.1
}

#[tokio::test]
async fn a_session_that_was_chosen_by_another_is_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let guarded = Guarded::new(&site).await;
    let chosen = "A".repeat(43);
    let (first, _) = sign_in(&site, &format!("{COOKIE}={chosen}")).await;
    assert_ne!(first, chosen);
    guarded.refused("a chosen session", with_cookie(&site, &chosen).await, UNKNOWN).await;
    // A live session in the jar is not the new one either: who planted it gains nothing, and each ends by itself.
    let (second, _) = sign_in(&site, &format!("{COOKIE}={first}")).await;
    assert_ne!(second, first);
    let end = request(&site.client, Method::POST, "/api/v1/auth/logout", &[("cookie", &format!("{COOKIE}={first}"))], None).await;
    assert_eq!((end.1.0, cookie_of(&end.0).as_str()), (StatusCode::NO_CONTENT, ""));
    guarded.refused("the session before", with_cookie(&site, &first).await, UNKNOWN).await;
    assert_eq!(with_cookie(&site, &second).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_stolen_elsewhere_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (cookie, token) = sign_in(&site, "").await;
    let guarded = Guarded::new(&site).await;
    guarded.refused("a cookie as a token", with_bearer(&site, &cookie).await, UNKNOWN).await;
    guarded.refused("a token as a cookie", with_cookie(&site, &token).await, UNKNOWN).await;
    // What lists and the store's file show of a session.
    for session in site.client.get("/sessions").await["sessions"].as_array().unwrap() {
        let id = session["id"].as_str().unwrap();
        guarded.refused("an id as a token", with_bearer(&site, id).await, UNKNOWN).await;
        guarded.refused("an id as a cookie", with_cookie(&site, id).await, UNKNOWN).await;
    }
    let hash = lucid::crypto::hex(&lucid::domain::session::token_hash(&token));
    guarded.refused("a hash as a token", with_bearer(&site, &hash).await, UNKNOWN).await;
    for (scheme, what) in [("Basic", token.as_str()), ("Bearer", ""), ("", token.as_str()), ("Bearer", &token[..42])] {
        let header = format!("{scheme} {what}");
        let answer = request(&site.client, Method::GET, "/api/v1/auth/me", &[("authorization", &header)], None).await.1;
        guarded.refused(&header, answer, UNKNOWN).await;
    }
    // A header that does not hold is not made good by a cookie that does.
    let both = [("authorization", "Bearer nobody"), ("cookie", &format!("{COOKIE}={cookie}"))];
    guarded.refused("one of two", request(&site.client, Method::GET, "/api/v1/auth/me", &both, None).await.1, UNKNOWN).await;
    assert_eq!((with_cookie(&site, &cookie).await.0, with_bearer(&site, &token).await.0), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn sessions_end_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (cookie, token) = sign_in(&site, "").await;
    let guarded = Guarded::new(&site).await;
    site.driver.advance_ms(3_600_000 - 1_000);
    assert_eq!(with_bearer(&site, &token).await.0, StatusCode::OK);
    site.driver.advance_ms(1_000);
    guarded.refused("a token after an hour", with_bearer(&site, &token).await, UNKNOWN).await;
    // A cookie that is used every eleven hours lives a week, and no longer.
    for _ in 0..15 {
        assert_eq!(with_cookie(&site, &cookie).await.0, StatusCode::OK);
        site.driver.advance_ms(11 * 3_600_000);
    }
    assert_eq!(with_cookie(&site, &cookie).await.0, StatusCode::OK);
    site.driver.advance_ms(3 * 3_600_000);
    guarded.refused("a cookie after a week", with_cookie(&site, &cookie).await, UNKNOWN).await;
}

#[tokio::test]
async fn a_session_that_ended_is_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (cookie, token) = sign_in(&site, "").await;
    let (other_cookie, other_token) = sign_in(&site, "").await;
    let guarded = Guarded::new(&site).await;
    let by = |token: &str| site.client.with_token(token);
    assert_eq!(by(&token).call(Method::POST, "/auth/logout", None).await.0, StatusCode::NO_CONTENT);
    guarded.refused("a token after its end", with_bearer(&site, &token).await, UNKNOWN).await;
    guarded.refused("its end again", by(&token).call(Method::POST, "/auth/logout", None).await, UNKNOWN).await;
    assert_eq!(with_cookie(&site, &cookie).await.0, StatusCode::OK, "the browser's is another one");
    assert_eq!(site.client.call(Method::POST, "/sessions/end-others", None).await.0, StatusCode::NO_CONTENT);
    for (what, answer) in [("cookie", with_cookie(&site, &cookie).await), ("other", with_cookie(&site, &other_cookie).await)] {
        guarded.refused(what, answer, UNKNOWN).await;
    }
    guarded.refused("the other token", with_bearer(&site, &other_token).await, UNKNOWN).await;
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

/// A JWT with this header, signed with HMAC and the key.
fn signed(header: &Value, claims: &Value, algorithm: hmac::Algorithm, key: &[u8]) -> String {
    let text = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), text.as_bytes());
    format!("{text}.{}", base64(tag.as_ref()))
}

#[tokio::test]
async fn tokens_of_nodes_are_not_forged() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (node, other) = (site.enrol("machine").await.id, site.enrol("neighbour").await.id);
    let key = &site.app.store.secrets.node_tokens;
    let claims = NodeClaims::new(node.clone(), NodeType::Worker, site.app.state.now().wall, "jti".into());
    let good = jwt_encode(key, &claims).unwrap();
    let guarded = Guarded::new(&site).await;
    let ask = async |token: &str, of: &str| site.client.with_token(token).call(Method::GET, &format!("/nodes/{of}"), None).await;
    assert_eq!(ask(&good, node.as_str()).await.0, StatusCode::OK);
    guarded.refused("another node's id", ask(&good, other.as_str()).await, (403, "2003", "NotYours")).await;
    guarded.refused("an encoded id", ask(&good, &format!("{other}%2F..%2F{node}")).await, (403, "2003", "NotYours")).await;

    let plain = serde_json::to_value(&claims).unwrap();
    let (hs256, hs512) = (hmac::HMAC_SHA256, hmac::HMAC_SHA512);
    let header = |alg: &str| json!({ "alg": alg, "typ": "JWT" });
    let (head, rest) = good.split_once('.').unwrap();
    let (body, tag) = rest.split_once('.').unwrap();
    let foreign_body = base64(
        json!({ "node_id": other, "iss": plain["iss"], "token_type": plain["token_type"], "exp": plain["exp"] }).to_string().as_bytes(),
    );
    let changed = |field: &str, value: Value| {
        let mut claims = plain.clone();
        claims[field] = value;
        jwt_encode(key, &claims).unwrap()
    };
    let forged = [
        ("no algorithm, no signature", format!("{}.{body}.", base64(header("none").to_string().as_bytes()))),
        ("no algorithm, the old signature", format!("{}.{body}.{tag}", base64(header("none").to_string().as_bytes()))),
        ("no algorithm, signed", signed(&header("none"), &plain, hs256, &key.0)),
        ("none in other letters", signed(&header("nOnE"), &plain, hs256, &key.0)),
        ("another algorithm", signed(&header("HS512"), &plain, hs512, &key.0)),
        ("another algorithm's name", signed(&header("RS256"), &plain, hs256, &key.0)),
        ("no header", format!(".{body}.{tag}")),
        ("no signature", format!("{head}.{body}.")),
        ("another's claims under this signature", format!("{head}.{foreign_body}.{tag}")),
        ("another key", jwt_encode(&SecretKey([0; 32]), &claims).unwrap()),
        ("an empty key", signed(&header("HS256"), &plain, hs256, &[])),
        ("the manager's public key", signed(&header("HS256"), &plain, hs256, &site.app.store.manager_key().0)),
        ("another type", changed("token_type", json!("access"))),
        ("another issuer", changed("iss", json!("somebody"))),
        ("no end", changed("exp", Value::Null)),
        ("an end in words", changed("exp", json!("never"))),
        ("the end is now", changed("exp", json!(site.app.state.now().wall.seconds()))),
        ("no node", changed("node_id", json!("node_nobody_at_all"))),
        ("a fourth part", format!("{good}.{tag}")),
        ("dots", "..".to_owned()),
    ];
    for (what, token) in &forged {
        guarded.refused(what, ask(token, node.as_str()).await, UNKNOWN).await;
    }
    // A node's token is no session, and where it stands does not matter.
    guarded.refused("a node's token as a cookie", with_cookie(&site, &good).await, UNKNOWN).await;
    site.driver.advance_ms(3_600_000 - 1_000);
    assert_eq!(ask(&good, node.as_str()).await.0, StatusCode::OK);
    site.driver.advance_ms(1_000);
    guarded.refused("after an hour", ask(&good, node.as_str()).await, UNKNOWN).await;
}
