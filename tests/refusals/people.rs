//! Point 9: setup, passwords, sessions and where requests come from.

use lucid::clock::Driver;
use lucid::domain::time::BootMs;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Guarded, request};
use crate::support::client::{PASSWORD, USERNAME, error_name};
use crate::support::site::{START, Site};

#[tokio::test]
async fn setup_needs_the_code_and_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::open(dir.path().join("data"), Driver::new(START, BootMs(60_000)), Vec::new()).await;
    let code = site.app.setup_code.clone().unwrap();
    let setup = async |body: Value| site.client.call(Method::POST, "/setup", Some(body)).await;
    let (status, body) = setup(json!({ "code": "AAAA-BBBB-CCCC-DDDD", "username": USERNAME, "password": PASSWORD })).await;
    assert_eq!((status, error_name(&body)), (StatusCode::UNAUTHORIZED, "SetupCodeWrong"));
    let (status, body) = setup(json!({ "code": code, "username": "x y", "password": "short", "client_time": "noon" })).await;
    assert_eq!((status, super::fields_of(&body)), (StatusCode::BAD_REQUEST, vec!["username", "password", "client_time"]));
    let own = [("content-type", "application/json"), ("origin", "http://elsewhere.example")];
    let fine = json!({ "code": code, "username": USERNAME, "password": PASSWORD }).to_string();
    let (_, (status, body)) = request(&site.client, Method::POST, "/api/v1/setup", &own, Some(&fine)).await;
    assert_eq!((status, error_name(&body)), (StatusCode::FORBIDDEN, "WrongOrigin"));
    assert_eq!(site.client.get("/setup").await, json!({ "needed": true }), "none of these set anything up");

    // Nobody else gets in before.
    for path in ["/nodes", "/users", "/audit", "/ledger"] {
        let (status, body) = site.client.call(Method::GET, path, None).await;
        assert_eq!((status, error_name(&body)), (StatusCode::UNAUTHORIZED, "NotSignedIn"), "{path}");
    }
    site.client.set_up(&code, None).await;
    let guarded = Guarded::new(&site).await;
    guarded.recorded("a wrong code", "SetupCodeWrong").await;
    guarded.recorded("another page", "WrongOrigin").await;
    let again = json!({ "code": code, "username": "second", "password": PASSWORD });
    guarded.call("setup again", Method::POST, "/setup", Some(again), (409, "4091", "SetupDone")).await;
}

#[tokio::test]
async fn guessing_a_setup_code_gets_slow() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::open(dir.path().join("data"), Driver::new(START, BootMs(60_000)), Vec::new()).await;
    let guess = json!({ "code": "AAAA-BBBB-CCCC-DDDD", "username": USERNAME, "password": PASSWORD }).to_string();
    let json = [("content-type", "application/json")];
    for _ in 0..5 {
        let (_, (status, _)) = request(&site.client, Method::POST, "/api/v1/setup", &json, Some(&guess)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let (headers, (status, body)) = request(&site.client, Method::POST, "/api/v1/setup", &json, Some(&guess)).await;
    assert_eq!(
        (status, error_name(&body), body["error"]["code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "Throttled", Some("LUCID_ERR_4291"))
    );
    let wait_seconds: i64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait_seconds), "{wait_seconds}");
    site.driver.advance_ms(wait_seconds * 1_000);
    let code = site.app.setup_code.clone().unwrap();
    let (status, _) =
        site.client.call(Method::POST, "/setup", Some(json!({ "code": code, "username": USERNAME, "password": PASSWORD }))).await;
    assert_eq!(status, StatusCode::CREATED, "who waits gets in");
}

#[tokio::test]
async fn passwords_are_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    site.client.post("/users", json!({ "username": "vera", "password": PASSWORD, "role": "viewer" })).await;
    let guarded = Guarded::new(&site).await;
    let login = async |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password });
        site.client.anonymous().call(Method::POST, "/auth/login", Some(body)).await
    };
    let wrong = (401, "2002", "WrongCredentials");
    for n in 0..5 {
        guarded.refused("a wrong password", login("vera", &format!("wrong password {n}")).await, wrong).await;
    }
    guarded.refused("an unknown name", login("nobody", PASSWORD).await, wrong).await;
    let throttled = (429, "4291", "Throttled");
    guarded.refused("too many tries", login("vera", PASSWORD).await, throttled).await;
    let body = json!({ "username": "vera", "password": PASSWORD }).to_string();
    let headers = [("content-type", "application/json")];
    let (headers, _) = request(&site.client, Method::POST, "/api/v1/auth/login", &headers, Some(&body)).await;
    let wait_seconds: i64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(login(USERNAME, PASSWORD).await.0.is_success(), "others are not held up");
    site.driver.advance_ms(wait_seconds * 1_000);
    assert!(login("vera", PASSWORD).await.0.is_success(), "who waits gets in");
}

#[tokio::test]
async fn sessions_end_and_cookies_stay_on_their_page() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let login = json!({ "username": USERNAME, "password": PASSWORD }).to_string();
    let (headers, (_, signed_in)) =
        request(&site.client, Method::POST, "/api/v1/auth/login", &[("content-type", "application/json")], Some(&login)).await;
    let cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let guarded = Guarded::new(&site).await;
    let host = site.client.base.strip_prefix("http://").unwrap().to_owned();
    let pool = json!({ "name": "by-cookie" }).to_string();
    let make = async |extra: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str()), ("content-type", "application/json")], extra].concat();
        request(&site.client, Method::POST, "/api/v1/nodes/pools", &headers, Some(&pool)).await.1
    };
    let foreign = (403, "2004", "WrongOrigin");
    for origin in ["http://elsewhere.example", "null", "https://127.0.0.1", &format!("http://{host}.elsewhere.example")] {
        guarded.refused(origin, make(&[("origin", origin)]).await, foreign).await;
    }
    for site in ["cross-site", "same-site"] {
        guarded.refused(site, make(&[("sec-fetch-site", site)]).await, foreign).await;
    }
    let token = signed_in["access_token"].as_str().unwrap();
    let as_cookie = format!("lucid_session={token}");
    let (_, answer) = request(&site.client, Method::GET, "/api/v1/nodes", &[("cookie", &as_cookie)], None).await;
    guarded.refused("a bearer token as a cookie", answer, (401, "2001", "SessionUnknown")).await;
    let as_bearer = format!("Bearer {}", cookie.split_once('=').unwrap().1);
    let (_, answer) = request(&site.client, Method::GET, "/api/v1/nodes", &[("authorization", &as_bearer)], None).await;
    guarded.refused("a cookie as a bearer token", answer, (401, "2001", "SessionUnknown")).await;
    assert_eq!(make(&[("origin", &format!("http://{host}"))]).await.0, StatusCode::CREATED, "its own page may");

    let guarded = Guarded::new(&site).await;
    let program = site.client.with_token(token);
    assert!(program.call(Method::POST, "/auth/logout", None).await.0.is_success());
    guarded.refused("after signing out", program.call(Method::GET, "/nodes", None).await, (401, "2001", "SessionUnknown")).await;
    site.driver.advance_ms(12 * 3_600_000 + 1_000);
    let (_, answer) = request(&site.client, Method::GET, "/api/v1/nodes", &[("cookie", &cookie)], None).await;
    guarded.refused("after 12 idle hours", answer, (401, "2001", "SessionUnknown")).await;
}

#[tokio::test]
async fn people_are_added_changed_and_removed_by_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let me = site.client.get("/auth/me").await["user"]["id"].as_str().unwrap().to_owned();
    let admin = site.client.post("/users", json!({ "username": "anna", "password": PASSWORD, "role": "admin" })).await;
    let mut anna = site.client.anonymous();
    anna.sign_in("anna", PASSWORD).await;

    let guarded = Guarded::new(&site).await;
    let user = |username: &str, password: &str, role: &str| json!({ "username": username, "password": password, "role": role });
    let users = "/users";
    guarded.call("a name again", Method::POST, users, Some(user("ANNA", PASSWORD, "viewer")), (409, "4091", "UserExists")).await;
    guarded.invalid(Method::POST, users, user("ab", "short", "viewer"), &["password", "username"]).await;
    guarded.invalid(Method::POST, users, user("with space", &"x".repeat(257), "viewer"), &["password", "username"]).await;
    guarded.malformed(Method::POST, users, user("fine", PASSWORD, "owner"), "role").await;
    guarded
        .malformed(Method::POST, users, json!({ "username": "fine", "password": PASSWORD, "role": "viewer", "admin": true }), "admin")
        .await;
    let not_allowed = (403, "2003", "NotAllowed");
    let (mine, hers) = (format!("/users/{me}"), format!("/users/{}", admin["id"].as_str().unwrap()));
    let by_anna = async |method: Method, path: &str, body: Option<Value>| anna.call(method, path, body).await;
    let promoted = by_anna(Method::POST, users, Some(user("fine", PASSWORD, "super_admin"))).await;
    guarded.refused("an admin makes a super_admin", promoted, not_allowed).await;
    guarded
        .refused("an admin promotes herself", by_anna(Method::PUT, &hers, Some(json!({ "role": "super_admin" }))).await, not_allowed)
        .await;
    guarded
        .refused("an admin demotes a super_admin", by_anna(Method::PUT, &mine, Some(json!({ "role": "viewer" }))).await, not_allowed)
        .await;
    guarded.refused("an admin removes a super_admin", by_anna(Method::DELETE, &mine, None).await, not_allowed).await;
    let last = (409, "4091", "LastSuperAdmin");
    guarded.call("the last one demotes itself", Method::PUT, &mine, Some(json!({ "role": "admin" })), last).await;
    guarded.call("the last one disables itself", Method::PUT, &mine, Some(json!({ "disabled": true })), last).await;
    guarded.call("the last one leaves", Method::DELETE, &mine, None, last).await;
    let nobody = (404, "4041", "UserNotFound");
    guarded.call("nobody", Method::PUT, "/users/user_0123456789", Some(json!({ "role": "viewer" })), nobody).await;
    guarded.call("nobody", Method::DELETE, "/users/x", None, nobody).await;
    let fresh = (403, "2009", "FreshFactorNeeded");
    let own = json!({ "password": "another good one", "current_password": "not this one" });
    guarded.call("a password without the old one", Method::PUT, &mine, Some(own), fresh).await;
    let kit = json!({ "passphrase": "a long enough one", "password": "not this one" });
    guarded.call("a kit without the password", Method::POST, "/recovery-kit", Some(kit), fresh).await;
}
