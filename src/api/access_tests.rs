//! Who gets in, and as what, through the router.

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site, json as body_of, request};
use crate::domain::enrolment::NodeClaims;
use crate::domain::ids::NodeId;
use crate::domain::node::NodeType;
use crate::storage::core::{audit, people};
use crate::storage::{recovery, setup_code};

fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or("-")
}

/// What the audit log holds, newest first: operation, reason, times.
fn audited(site: &Site) -> Vec<(String, String)> {
    let entries = audit::page(&site.state.store.read().unwrap(), 0, 100).unwrap();
    entries.into_iter().map(|e| (e.draft.operation, e.draft.reason.unwrap_or_default())).collect()
}

fn has(site: &Site, operation: &str, reason: &str) -> bool {
    audited(site).iter().any(|(o, r)| o == operation && r == reason)
}

async fn login(site: &Site, username: &str, password: &str) -> (StatusCode, Value) {
    let body = json!({"username": username, "password": password});
    site.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await
}

#[tokio::test]
async fn setup_takes_the_code_once_and_confirms_the_clock() {
    let site = Site::new();
    assert_eq!(site.get("/api/v1/setup").await.1, json!({"needed": true}));
    let code = setup_code::ensure(&site.state.store).unwrap().unwrap();
    let post = async |body: Value| site.call(Method::POST, "/api/v1/setup", Some(body), &[]).await;
    let (status, body) = post(json!({"code": "AAAA-AAAA-AAAA-AAAA", "username": "root", "password": PASSWORD})).await;
    assert_eq!((status, name(&body)), (StatusCode::UNAUTHORIZED, "SetupCodeWrong"));
    let (status, body) = post(json!({"code": code, "username": "r", "password": "short", "client_time": "now"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"]["details"]["fields"].as_array().unwrap().len(), 3);

    site.driver.set_synchronised(false);
    site.driver.advance_ms(1_000);
    site.driver.set_wall(site.state.now().wall.plus_seconds(100));
    assert!(!site.state.now().trusted);
    let theirs = site.state.now().wall.plus_seconds(30).rfc3339();
    let body = json!({"code": code.to_lowercase(), "username": "root", "password": PASSWORD, "client_time": theirs});
    let response = site.send(request(Method::POST, "/api/v1/setup", Some(body.clone()), &[])).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let answer = body_of(response).await;
    assert_eq!((answer["user"]["role"].as_str(), answer["clock_confirmed"].as_bool()), (Some("super_admin"), Some(true)));
    assert!(site.state.now().trusted);
    let (status, me) = site.call(Method::GET, "/api/v1/auth/me", None, &[("cookie", &cookie)]).await;
    assert_eq!((status, me["user"]["username"].as_str()), (StatusCode::OK, Some("root")));

    let (status, again) = post(body).await;
    assert_eq!((status, name(&again)), (StatusCode::CONFLICT, "SetupDone"));
    assert!(!site.state.store.dir().join(setup_code::FILE).exists());
    assert_eq!(setup_code::ensure(&site.state.store).unwrap(), None);
    assert!(has(&site, "setup.complete", "") && has(&site, "request.refuse", "SetupCodeWrong"));
}

#[tokio::test]
async fn guessing_the_setup_code_is_throttled() {
    let site = Site::new();
    setup_code::ensure(&site.state.store).unwrap();
    let mut last = StatusCode::OK;
    for _ in 0..6 {
        let body = json!({"code": "x", "username": "root", "password": PASSWORD});
        last = site.call(Method::POST, "/api/v1/setup", Some(body), &[]).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn wrong_names_and_passwords_are_alike_slowed_down_and_recorded() {
    let site = Site::new();
    site.set_up().await;
    let (_, wrong) = login(&site, "root", "wrong password!").await;
    let (_, unknown) = login(&site, "nobody", "wrong password!").await;
    assert_eq!((name(&wrong), &wrong["error"]["message"]), ("WrongCredentials", &unknown["error"]["message"]));
    for _ in 0..4 {
        assert_eq!(login(&site, "root", &"x".repeat(300)).await.0, StatusCode::UNAUTHORIZED);
    }
    for n in 0..15 {
        login(&site, &format!("guess{n}"), "wrong password!").await;
    }
    let mut last = login(&site, "guess", PASSWORD).await;
    for _ in 0..5 {
        last = login(&site, "guess", PASSWORD).await;
    }
    assert_eq!((last.0, name(&last.1)), (StatusCode::TOO_MANY_REQUESTS, "Throttled"));
    let body = json!({"username": "guess", "password": PASSWORD});
    let response = site.send(request(Method::POST, "/api/v1/auth/login", Some(body), &[])).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(
        login(&site, "ROOT", PASSWORD).await.0,
        StatusCode::OK,
        "who has signed in from here is not locked out; case does not matter"
    );
    let refused = audited(&site).iter().filter(|(_, reason)| reason == "WrongCredentials").count();
    assert_eq!(refused, 4, "the first and the fifth for the person and for all unknown names; the others are counted");
    site.state.flush_refusals(false).await.unwrap();
    let counted = audit::page(&site.state.store.read().unwrap(), 0, 100).unwrap();
    let times = |reason: &str| counted.iter().filter(|e| e.draft.reason.as_deref() == Some(reason)).map(|e| e.draft.times).sum::<u32>();
    assert!(times("WrongCredentials") >= 20 && times("Throttled") >= 2, "{counted:?}");
}

/// Signs in as root from an address.
async fn login_from(site: &Site, address: std::net::IpAddr, password: &str) -> (StatusCode, u64) {
    let body = json!({"username": "root", "password": password});
    let mut request = request(Method::POST, "/api/v1/auth/login", Some(body), &[]);
    request.extensions_mut().insert(super::middleware::Peer(std::net::SocketAddr::new(address, 9)));
    let response = site.send(request).await;
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
    (response.status(), wait.unwrap_or(0))
}

#[tokio::test]
async fn an_admin_gets_in_while_others_guess_from_many_addresses() {
    let site = Site::new();
    site.set_up().await;
    let home = "198.51.100.7".parse().unwrap();
    assert_eq!(login_from(&site, home, PASSWORD).await.0, StatusCode::OK);
    let site = site.reopened();
    let (mut judged, mut comes_back, mut in_after) = (0u32, 300u64, None);
    for second in 0..600u64 {
        for attacker in 0..4u8 {
            let address = std::net::IpAddr::from([10, attacker, 0, u8::try_from(second % 250).unwrap()]);
            judged += u32::from(login_from(&site, address, "a wrong password").await.0 == StatusCode::UNAUTHORIZED);
        }
        if second == 300 {
            assert_eq!(login_from(&site, home, PASSWORD).await.0, StatusCode::OK, "from where they signed in, after a restart too");
        }
        if second == comes_back && in_after.is_none() {
            let (status, wait) = login_from(&site, "203.0.113.9".parse().unwrap(), PASSWORD).await;
            comes_back += wait;
            in_after = (status == StatusCode::OK).then_some(second - 300);
        }
        site.driver.advance_ms(1_000);
    }
    assert!(in_after.is_some_and(|seconds| seconds <= 26), "five blocks, five seconds each: {in_after:?}");
    assert!((100..=131).contains(&judged), "{judged} guesses in ten minutes");
}

#[tokio::test]
async fn roles_bound_what_people_may_do() {
    let site = Site::new();
    let root = site.set_up().await;
    let admin = site.person(&root, "anna", "admin").await;
    let viewer = site.person(&root, "vera", "viewer").await;
    assert_eq!(site.get("/api/v1/users").await.0, StatusCode::UNAUTHORIZED);
    let (status, body) = site.as_bearer(&viewer, Method::GET, "/api/v1/users", None).await;
    assert_eq!((status, name(&body)), (StatusCode::FORBIDDEN, "NotAllowed"));
    let (_, users) = site.as_bearer(&admin, Method::GET, "/api/v1/users?limit=2", None).await;
    assert_eq!((users["users"].as_array().unwrap().len(), users["pagination"]["total"].as_u64()), (2, Some(3)));
    assert!(!users.to_string().contains("hash"));
    let id_of = |name: &str| people::user_by_name(&site.state.store.read().unwrap(), name).unwrap().unwrap().id.to_string();

    let above = json!({"username": "eve", "password": PASSWORD, "role": "super_admin"});
    assert_eq!(site.as_bearer(&admin, Method::POST, "/api/v1/users", Some(above)).await.0, StatusCode::FORBIDDEN);
    let path = format!("/api/v1/users/{}", id_of("root"));
    assert_eq!(site.as_bearer(&admin, Method::PUT, &path, Some(json!({"disabled": true}))).await.0, StatusCode::FORBIDDEN);
    assert_eq!(site.as_bearer(&admin, Method::DELETE, &path, None).await.0, StatusCode::FORBIDDEN);
    let (status, body) = site.as_bearer(&root, Method::DELETE, &path, None).await;
    assert_eq!((status, name(&body)), (StatusCode::CONFLICT, "LastSuperAdmin"));
    assert_eq!(site.as_bearer(&root, Method::DELETE, "/api/v1/users/user_nobody", None).await.0, StatusCode::NOT_FOUND);
    assert!(has(&site, "user.create", "viewer") && has(&site, "request.refuse", "NotAllowed"));
    let read = site.state.store.read().unwrap();
    let refused = audit::page(&read, 0, 100).unwrap().into_iter().find(|e| e.draft.reason.as_deref() == Some("NotAllowed")).unwrap();
    assert_eq!(refused.draft.actor.to_string(), id_of("anna"), "the log knows who was refused inside a transaction");

    let anna = format!("/api/v1/users/{}", id_of("anna"));
    assert_eq!(site.as_bearer(&root, Method::PUT, &anna, Some(json!({"disabled": true}))).await.0, StatusCode::OK);
    assert_eq!(site.as_bearer(&admin, Method::GET, "/api/v1/users", None).await.0, StatusCode::UNAUTHORIZED, "her session ended");
    assert_eq!(login(&site, "anna", PASSWORD).await.0, StatusCode::UNAUTHORIZED);
    assert!(audit::verify(&site.state.store.read().unwrap()).unwrap().is_ok());
}

#[tokio::test]
async fn people_change_their_own_password_with_the_old_one() {
    let site = Site::new();
    let root = site.set_up().await;
    let viewer = site.person(&root, "vera", "viewer").await;
    let id = site.as_bearer(&viewer, Method::GET, "/api/v1/auth/me", None).await.1["user"]["id"].as_str().unwrap().to_owned();
    let put = async |body: Value| site.as_bearer(&viewer, Method::PUT, &format!("/api/v1/users/{id}"), Some(body)).await;
    let fresh = "another password";
    assert_eq!(put(json!({"password": fresh})).await.0, StatusCode::FORBIDDEN);
    assert_eq!(name(&put(json!({"password": fresh, "current_password": "wrong"})).await.1), "FreshFactorNeeded");
    assert_eq!(put(json!({"role": "admin", "password": fresh, "current_password": PASSWORD})).await.0, StatusCode::FORBIDDEN);
    assert_eq!(put(json!({"password": fresh, "current_password": PASSWORD})).await.0, StatusCode::OK);
    assert_eq!(login(&site, "vera", fresh).await.0, StatusCode::OK);
    assert_eq!(login(&site, "vera", PASSWORD).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn cookies_need_our_origin_slide_and_end() {
    let site = Site::new();
    site.set_up().await;
    let sign_in = json!({"username": "root", "password": PASSWORD});
    let response = site.send(request(Method::POST, "/api/v1/auth/login", Some(sign_in.clone()), &[])).await;
    let header = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(header.contains("HttpOnly") && header.contains("SameSite=Strict") && !header.contains("Secure"), "{header}");
    let cookie = header.split(';').next().unwrap().to_owned();
    let bearer = body_of(response).await["access_token"].as_str().unwrap().to_owned();
    let me = async |cookie: &str| site.call(Method::GET, "/api/v1/auth/me", None, &[("cookie", cookie)]).await;
    assert_eq!(me(&format!("lucid_session={bearer}")).await.0, StatusCode::UNAUTHORIZED, "a bearer token is no cookie");

    let cross = [("cookie", cookie.as_str()), ("origin", "http://evil.example"), ("host", "pi:8095")];
    let (status, body) = site.call(Method::POST, "/api/v1/auth/logout", None, &cross).await;
    assert_eq!((status, name(&body)), (StatusCode::FORBIDDEN, "WrongOrigin"));
    let cross_login = site.call(Method::POST, "/api/v1/auth/login", Some(sign_in), &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(cross_login.0, StatusCode::FORBIDDEN);

    let first_end = me(&cookie).await.1["expires_at"].as_str().unwrap().to_owned();
    site.driver.advance_ms(11 * 3_600_000);
    assert_eq!(me(&cookie).await.0, StatusCode::OK);
    assert_eq!(site.as_bearer(&bearer, Method::GET, "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED);
    assert_ne!(me(&cookie).await.1["expires_at"].as_str().unwrap(), first_end);
    site.driver.advance_ms(11 * 3_600_000);
    assert_eq!(me(&cookie).await.0, StatusCode::OK, "used within twelve hours");
    let own = [("cookie", cookie.as_str()), ("origin", "http://pi:8095"), ("host", "pi:8095")];
    assert_eq!(site.call(Method::POST, "/api/v1/auth/logout", None, &own).await.0, StatusCode::NO_CONTENT);
    let (status, body) = me(&cookie).await;
    assert_eq!((status, name(&body)), (StatusCode::UNAUTHORIZED, "SessionUnknown"));
    assert!(has(&site, "auth.login", "") && has(&site, "auth.logout", "") && has(&site, "request.refuse", "WrongOrigin"));
}

#[tokio::test]
async fn an_idle_cookie_ends() {
    let site = Site::new();
    site.set_up().await;
    let response =
        site.send(request(Method::POST, "/api/v1/auth/login", Some(json!({"username": "root", "password": PASSWORD})), &[])).await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    site.driver.advance_ms(12 * 3_600_000);
    assert_eq!(site.call(Method::GET, "/api/v1/auth/me", None, &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_node_is_known_by_its_token_and_is_no_person() {
    let site = Site::new();
    let root = site.set_up().await;
    let made = site.as_bearer(&root, Method::POST, "/api/v1/nodes", Some(json!({"name": "machine", "node_type": "worker"}))).await.1;
    let node = NodeId::parse(made["node_id"].as_str().unwrap()).unwrap();
    let path = format!("/api/v1/nodes/{node}");
    let claims = NodeClaims::new(node, NodeType::Worker, site.state.now().wall, "j".into());
    let sign = |claims| crate::crypto::jwt_encode(&site.state.store.secrets.node_tokens, claims).unwrap();
    let token = sign(&claims);
    let (status, body) = site.as_bearer(&token, Method::GET, "/api/v1/users", None).await;
    assert_eq!((status, name(&body)), (StatusCode::FORBIDDEN, "NotAllowed"));
    assert_eq!(site.as_bearer(&token, Method::GET, "/api/v1/auth/me", None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(site.as_bearer(&token, Method::GET, &path, None).await.0, StatusCode::OK);
    let unknown = sign(&NodeClaims::new(NodeId::parse("node_abc").unwrap(), NodeType::Worker, site.state.now().wall, "j".into()));
    let forged = crate::crypto::jwt_encode(&crate::crypto::SecretKey([0; 32]), &claims).unwrap();
    for bad in [&unknown, &forged] {
        let (status, body) = site.as_bearer(bad, Method::GET, &path, None).await;
        assert_eq!((status, name(&body)), (StatusCode::UNAUTHORIZED, "SessionUnknown"));
    }
    assert_eq!(site.as_bearer(&root, Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(&token, Method::GET, &path, None).await.0, StatusCode::UNAUTHORIZED, "a deleted node's token ends with it");
}

#[tokio::test]
async fn the_recovery_kit_needs_a_super_admin_with_a_fresh_password_and_opens() {
    let site = Site::new();
    let root = site.set_up().await;
    let admin = site.person(&root, "anna", "admin").await;
    let ask = |password: &str| Some(json!({"passphrase": "a long passphrase", "password": password}));
    assert_eq!(site.as_bearer(&admin, Method::POST, "/api/v1/recovery-kit", ask(PASSWORD)).await.0, StatusCode::FORBIDDEN);
    let (status, body) = site.as_bearer(&root, Method::POST, "/api/v1/recovery-kit", ask("wrong")).await;
    assert_eq!((status, name(&body)), (StatusCode::FORBIDDEN, "FreshFactorNeeded"));
    let (status, body) = site.as_bearer(&root, Method::POST, "/api/v1/recovery-kit", ask(PASSWORD)).await;
    assert_eq!(status, StatusCode::OK);
    let kit: recovery::Kit = serde_json::from_value(body).unwrap();
    let contents = recovery::open(&kit, "a long passphrase").unwrap();
    assert_eq!(contents.manager_id, site.state.store.manager_id);
    assert_eq!(contents.data_key.0, site.state.store.secrets.root().0);
    assert!(recovery::open(&kit, "another passphrase").is_err());
    assert!(has(&site, "recovery_kit.make", ""));
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name() {
    let site = Site::new();
    let body = json!({"username": "root", "password": PASSWORD, "remember": true});
    let (status, body) = site.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"]["details"]["fields"][0]["field"], "remember");
    let response = site.send(request(Method::POST, "/api/v1/auth/login", None, &[])).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_audit_log_is_for_admins_and_says_that_its_chain_holds() {
    let site = Site::new();
    let root = site.set_up().await;
    let viewer = site.person(&root, "vera", "viewer").await;
    assert_eq!(site.as_bearer(&viewer, Method::GET, "/api/v1/audit", None).await.0, StatusCode::FORBIDDEN);
    let (status, log) = site.as_bearer(&root, Method::GET, "/api/v1/audit?limit=2", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(log["chain"], json!({"ok": true, "head": log["entries"][0]["hash"]}));
    assert_eq!((&log["entries"][0]["operation"], &log["entries"][0]["reason"]), (&json!("request.refuse"), &json!("NotAllowed")));
    assert_eq!(log["entries"][0]["subject"], "/api/v1/audit");
    assert_eq!(log["pagination"]["total"], log["entries"][0]["seq"]);
    let (_, alerts) = site.as_bearer(&viewer, Method::GET, "/api/v1/alerts", None).await;
    assert_eq!(alerts["alerts"], json!([]));
}

#[tokio::test]
async fn the_clock_is_confirmed_within_a_minute_and_accepted_by_the_highest() {
    let site = Site::new();
    let root = site.set_up().await;
    site.driver.set_synchronised(false);
    site.driver.set_wall(site.state.now().wall.plus_seconds(600));
    let (_, clock) = site.as_bearer(&root, Method::GET, "/api/v1/clock", None).await;
    assert_eq!(clock["trusted"], false);
    assert!(clock["why"].as_str().unwrap().contains("stepped"));
    let confirm = async |seconds: i64| {
        let body = json!({"client_time": site.state.now().wall.plus_seconds(seconds).rfc3339()});
        let (status, answer) = site.as_bearer(&root, Method::POST, "/api/v1/clock/confirm", Some(body)).await;
        (status, answer["trusted"].clone())
    };
    let disagrees = (StatusCode::UNPROCESSABLE_ENTITY, json!(null));
    assert_eq!((confirm(61).await, confirm(-60).await), (disagrees.clone(), (StatusCode::OK, json!(true))));
    assert_eq!(confirm(3_600).await, disagrees, "a clock that is trusted already is not confirmed by another time either");
    assert!(has(&site, "clock.confirm", "ClocksDisagree") && has(&site, "clock.confirm", ""));

    let admin = site.person(&site.token("root").await, "anna", "admin").await;
    site.state.clock.committed(site.state.now().wall.plus_seconds(86_400));
    assert_eq!(confirm(0).await, disagrees, "behind the store");
    assert_eq!(site.as_bearer(&admin, Method::POST, "/api/v1/clock/accept", None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(site.as_bearer(&root, Method::POST, "/api/v1/clock/accept", None).await.1["trusted"], true);
    assert_eq!(crate::storage::high_water(&site.state.store).unwrap(), site.state.now().wall);
}
