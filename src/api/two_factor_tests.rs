//! The second factor and the fresh factor, through the router.

use axum::http::{Method, StatusCode};
use data_encoding::BASE32;
use serde_json::{Value, json};

use super::testing::{Logged, PASSWORD, Site};
use crate::domain::totp::{RECOVERY_CODES, STEP_SECONDS, code_at};
use crate::storage::core::{audit, people};
use crate::storage::table::encode;

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";

fn name(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["error"]["details"]["name"].as_str().unwrap_or("-"))
}

/// What the authenticator app of a person shows, `steps` from now.
struct App(Vec<u8>);

impl App {
    fn code(&self, site: &Site, steps: i64) -> String {
        let step = site.state.now().wall.seconds() / STEP_SECONDS + steps;
        format!("{:06}", code_at(&self.0, u64::try_from(step).unwrap()))
    }
}

impl Site {
    async fn post(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.as_bearer(token, Method::POST, &format!("/api/v1{path}"), Some(body)).await
    }

    async fn login(&self, username: &str, password: &str, totp: Option<&str>) -> (StatusCode, Value) {
        let mut body = json!({"username": username, "password": password});
        if let Some(totp) = totp {
            body["totp"] = totp.into();
        }
        self.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await
    }

    /// Enables a second factor; answers the app and the recovery codes.
    async fn enable(&self, token: &str) -> (App, Vec<String>) {
        let (status, begun) = self.post(token, "/auth/totp/begin", json!({"password": PASSWORD})).await;
        assert_eq!(status, StatusCode::OK, "{begun}");
        let app = App(BASE32.decode(begun["secret"].as_str().unwrap().as_bytes()).unwrap());
        assert!(begun["otpauth_uri"].as_str().unwrap().contains(begun["secret"].as_str().unwrap()));
        let (status, answer) = self.post(token, "/auth/totp/enable", json!({"code": app.code(self, 0)})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let codes = answer["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned());
        (app, codes.collect())
    }

    fn next_step(&self) {
        self.driver.advance_ms(STEP_SECONDS * 1_000);
    }

    fn audited(&self, operation: &str, reason: &str) -> u32 {
        let entries = audit::page(&self.state.store.read().unwrap(), 0, 200).unwrap();
        let alike = entries.iter().filter(|e| e.draft.operation == operation && e.draft.reason.as_deref().unwrap_or_default() == reason);
        alike.map(|e| e.draft.times).sum()
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_enabled_and_each_code_is_taken_once() {
    let site = Site::new();
    let root = site.set_up().await;
    let elsewhere = site.token("root").await;
    assert_eq!(name(&site.post(&root, "/auth/totp/enable", json!({"code": "123456"})).await), (409, "TotpNotBegun"));
    assert_eq!(name(&site.post(&root, "/auth/totp/begin", json!({"password": "wrong"})).await), (403, "FreshFactorNeeded"));
    let (_, begun) = site.post(&root, "/auth/totp/begin", json!({"password": PASSWORD})).await;
    assert_eq!(site.login("root", PASSWORD, None).await.0, StatusCode::OK, "a begun one is not asked for");
    assert_eq!(name(&site.post(&root, "/auth/totp/enable", json!({"code": "000000"})).await), (403, "TotpWrong"));

    let (app, recovery) = site.enable(&root).await;
    assert_ne!(begun["secret"].as_str().unwrap(), BASE32.encode(&app.0), "begun anew, with a new secret");
    assert_eq!(recovery.len(), RECOVERY_CODES);
    assert_eq!(site.as_bearer(&elsewhere, Method::GET, "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED, "begun without it");
    let (_, me) = site.as_bearer(&root, Method::GET, "/api/v1/auth/me", None).await;
    assert_eq!((me["user"]["totp_enabled"].as_bool(), me["recovery_codes_left"].as_u64()), (Some(true), Some(10)));
    assert_eq!(name(&site.post(&root, "/auth/totp/begin", json!({"password": PASSWORD})).await), (409, "TotpEnabled"));

    assert_eq!(name(&site.login("root", PASSWORD, None).await), (401, "TotpNeeded"));
    assert_eq!(name(&site.login("root", "wrong password", None).await), (401, "WrongCredentials"), "the password comes first");
    assert_eq!(name(&site.login("root", PASSWORD, Some(&app.code(&site, 0))).await), (401, "TotpWrong"), "spent when it was enabled");
    assert_eq!(site.login("root", PASSWORD, Some(&app.code(&site, 1))).await.0, StatusCode::OK, "a phone one step ahead");
    assert_eq!(name(&site.login("root", PASSWORD, Some(&app.code(&site, 1))).await), (401, "TotpWrong"), "replayed");
    assert_eq!(name(&site.login("root", PASSWORD, Some(&app.code(&site, 2))).await), (401, "TotpWrong"), "two steps ahead");
    site.next_step();
    site.next_step();
    let spaced = format!(" {} ", app.code(&site, 0));
    assert_eq!(site.login("root", PASSWORD, Some(&spaced)).await.0, StatusCode::OK);
    assert!(site.audited("request.refuse", "TotpWrong") > 0 && site.audited("request.refuse", "TotpNeeded") == 0);
    assert_eq!((site.audited("totp.enable", ""), site.audited("totp.begin", "")), (1, 2));

    let user = people::user_by_name(&site.state.store.read().unwrap(), "root").unwrap().unwrap();
    let stored = encode(&user).unwrap();
    assert!(!stored.windows(app.0.len()).any(|window| window == app.0), "the secret is sealed");
    let shown = site
        .as_bearer(
            site.login("root", PASSWORD, Some(&recovery[0])).await.1["access_token"].as_str().unwrap(),
            Method::GET,
            "/api/v1/users",
            None,
        )
        .await
        .1;
    assert!(shown["users"][0]["totp_enabled"].as_bool().unwrap() && !shown.to_string().contains("secret"));
}

#[tokio::test]
async fn recovery_codes_work_once_each_whatever_the_clock_says() {
    let site = Site::new();
    let root = site.set_up().await;
    let (app, recovery) = site.enable(&root).await;
    // A board without a battery wakes in the past.
    site.driver.set_synchronised(false);
    site.driver.set_wall(site.state.now().wall.plus_seconds(-3 * 86_400));
    assert!(!site.state.now().trusted);
    let right = {
        let step = (site.state.now().wall.seconds() + 3 * 86_400) / STEP_SECONDS + 1;
        format!("{:06}", code_at(&app.0, u64::try_from(step).unwrap()))
    };
    let refused = site.login("root", PASSWORD, Some(&right)).await;
    assert_eq!(name(&refused), (401, "TotpWrong"));
    assert!(refused.1["error"]["message"].as_str().unwrap().contains("clock is not trusted"), "{}", refused.1);
    let plain = recovery[3].to_lowercase().replace('-', " ");
    let (status, answer) = site.login("root", PASSWORD, Some(&plain)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(name(&site.login("root", PASSWORD, Some(&recovery[3])).await), (401, "TotpWrong"));
    let token = answer["access_token"].as_str().unwrap();
    let (_, me) = site.as_bearer(token, Method::GET, "/api/v1/auth/me", None).await;
    assert_eq!(me["recovery_codes_left"].as_u64(), Some(9));
    assert_eq!(site.audited("recovery_code.use", "9 left"), 1);
    let (status, renewed) = site.post(token, "/auth/recovery-codes", json!({"totp": recovery[4]})).await;
    assert_eq!((status, renewed["recovery_codes"].as_array().unwrap().len()), (StatusCode::OK, 10));
    assert_eq!(name(&site.login("root", PASSWORD, Some(&recovery[5])).await), (401, "TotpWrong"), "the old ones are worth nothing");
    let fresh = renewed["recovery_codes"][9].as_str().unwrap();
    assert_eq!(site.login("root", PASSWORD, Some(fresh)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn codes_are_guessed_ten_times_and_recovery_codes_still_work() {
    let site = Site::new();
    let root = site.set_up().await;
    let (app, recovery) = site.enable(&root).await;
    site.next_step();
    let right = app.code(&site, 0);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let mut judged = 0;
    // From home the throttle of passwords alone would let one through every ten seconds.
    let throttled = loop {
        let answer = site.login("root", PASSWORD, Some(wrong)).await;
        match name(&answer) {
            (401, "TotpWrong") => judged += 1,
            (429, "Throttled") if answer.1["error"]["message"].as_str().unwrap().contains("recovery code") => break answer,
            (429, "Throttled") => (),
            other => panic!("{other:?}"),
        }
        site.driver.advance_ms(10_000);
        assert!(judged < 30);
    };
    assert!((10..=11).contains(&judged), "{judged} in {throttled:?}");
    site.driver.advance_ms(10_000);
    let right = app.code(&site, 0);
    assert_eq!(name(&site.login("root", PASSWORD, Some(&right)).await), (429, "Throttled"), "not even a right one");
    site.driver.advance_ms(10_000);
    assert_eq!(site.login("root", PASSWORD, Some(&recovery[0])).await.0, StatusCode::OK, "never locked out");
    site.next_step();
    let right = app.code(&site, 0);
    assert_eq!(site.login("root", PASSWORD, Some(&right)).await.0, StatusCode::OK, "a success starts the count anew");
}

/// An account that somebody makes, or whose password they set, has a fresh factor; so it takes one to make it.
#[tokio::test]
async fn a_session_without_a_fresh_factor_opens_no_other_door() {
    let site = Site::new();
    let root = site.set_up().await;
    site.person(&root, "vera", "viewer").await;
    let all = async || site.as_bearer(&root, Method::GET, "/api/v1/users", None).await.1;
    let before = all().await;
    let vera = before["users"].as_array().unwrap().iter().find(|user| user["username"] == "vera").unwrap()["id"].clone();
    let vera = format!("/users/{}", vera.as_str().unwrap());
    site.driver.advance_ms(300_000);
    let new = json!({"username": "mole", "password": PASSWORD, "role": "admin"});
    let doors = [
        (Method::POST, "/users", Some(new)),
        (Method::PUT, vera.as_str(), Some(json!({"password": "shelf cloud paper window"}))),
        (Method::PUT, vera.as_str(), Some(json!({"role": "admin"}))),
        (Method::PUT, vera.as_str(), Some(json!({"disabled": false}))),
        (Method::DELETE, vera.as_str(), None),
        (Method::POST, "/tokens", Some(json!({"name": "door", "role": "admin", "expires_in_days": 1}))),
        (Method::PUT, "/settings", Some(json!({"payout.address_cooldown_hours": 0}))),
        (Method::DELETE, "/settings/payout.address_cooldown_hours", None),
    ];
    for (method, path, body) in doors {
        let answer = site.as_bearer(&root, method.clone(), &format!("/api/v1{path}"), body).await;
        assert_eq!(name(&answer), (403, "FreshFactorNeeded"), "{method} {path}");
    }
    assert_eq!(all().await, before);
}

#[tokio::test]
async fn a_fresh_factor_is_wanted_where_money_moves() {
    let site = Site::new();
    let root = site.set_up().await;
    let (_, node) = site.post(&root, "/nodes", json!({"name": "made", "node_type": "worker"})).await;
    let path = format!("/api/v1/nodes/{}/payout-address", node["node_id"].as_str().unwrap());
    let put = async |token: &str| site.as_bearer(token, Method::PUT, &path, Some(json!({"address": ADDRESS}))).await;
    assert_eq!(put(&root).await.0, StatusCode::OK, "signing in is a confirmation");
    site.driver.advance_ms(300_000);
    assert_eq!(name(&put(&root).await), (403, "FreshFactorNeeded"));
    let confirm = async |token: &str, body: Value| site.post(token, "/auth/confirm", body).await;
    assert_eq!(name(&confirm(&root, json!({})).await), (403, "FreshFactorNeeded"));
    let wrong = confirm(&root, json!({"password": "wrong"})).await;
    assert_eq!((name(&wrong), wrong.1["error"]["message"].as_str()), ((403, "FreshFactorNeeded"), Some("the password is wrong")));
    assert_eq!(name(&put(&root).await), (403, "FreshFactorNeeded"));
    let (status, confirmed) = confirm(&root, json!({"password": PASSWORD})).await;
    let until = site.state.now().wall.plus_seconds(300).rfc3339();
    assert_eq!((status, confirmed["confirmed_until"].as_str()), (StatusCode::OK, Some(until.as_str())));
    assert_eq!(put(&root).await.0, StatusCode::OK);
    let (_, me) = site.as_bearer(&root, Method::GET, "/api/v1/auth/me", None).await;
    assert_eq!(me["confirmed_until"].as_str(), Some(until.as_str()));

    let (app, _) = site.enable(&root).await;
    site.driver.advance_ms(300_000);
    assert_eq!(name(&confirm(&root, json!({"password": PASSWORD})).await), (403, "TotpNeeded"), "the password alone is not all factors");
    assert_eq!(name(&put(&root).await), (403, "FreshFactorNeeded"));
    let kit = async |body: Value| site.post(&root, "/recovery-kit", body).await;
    let with_password = json!({"passphrase": "a long passphrase", "password": PASSWORD});
    assert_eq!(name(&kit(with_password.clone()).await), (403, "TotpNeeded"));
    assert_eq!(name(&kit(json!({"passphrase": "a long passphrase"})).await), (403, "FreshFactorNeeded"));
    assert_eq!(confirm(&root, json!({"totp": app.code(&site, 0)})).await.0, StatusCode::OK);
    assert_eq!(name(&confirm(&root, json!({"totp": app.code(&site, 0)})).await), (403, "TotpWrong"), "once");
    assert_eq!(put(&root).await.0, StatusCode::OK);
    assert_eq!(kit(with_password).await.0, StatusCode::OK);
    assert_eq!(kit(json!({"passphrase": "a long passphrase"})).await.0, StatusCode::OK);
    assert_eq!(site.audited("auth.confirm", ""), 2);

    site.next_step();
    let disable = async |body: Value| site.post(&root, "/auth/totp/disable", body).await;
    assert_eq!(name(&disable(json!({"password": PASSWORD, "totp": "12345"})).await), (403, "TotpWrong"));
    assert_eq!(name(&disable(json!({"password": "wrong", "totp": app.code(&site, 0)})).await), (403, "FreshFactorNeeded"));
    assert_eq!(disable(json!({"password": PASSWORD, "totp": app.code(&site, 0)})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.login("root", PASSWORD, None).await.0, StatusCode::OK);
    assert_eq!(name(&disable(json!({"password": PASSWORD, "totp": "123456"})).await), (409, "TotpNotEnabled"));
}

#[tokio::test]
async fn an_admin_resets_the_factor_of_others_up_to_their_own_role() {
    let site = Site::new();
    let root = site.set_up().await;
    let anna = site.person(&root, "anna", "admin").await;
    let vera = site.person(&root, "vera", "viewer").await;
    let _root_app = site.enable(&root).await;
    let _vera_app = site.enable(&vera).await;
    let id = |name: &str| people::user_by_name(&site.state.store.read().unwrap(), name).unwrap().unwrap().id.to_string();
    let reset = async |token: &str, who: &str| site.as_bearer(token, Method::POST, &format!("/api/v1/users/{who}/totp/reset"), None).await;
    assert_eq!(name(&reset(&vera, &id("root")).await), (403, "NotAllowed"));
    assert_eq!(name(&reset(&anna, &id("root")).await), (403, "NotAllowed"), "above her");
    assert_eq!(name(&reset(&anna, &id("anna")).await), (422, "OwnSecondFactor"));
    assert_eq!(name(&reset(&anna, "user_nobody").await), (404, "UserNotFound"));
    site.driver.advance_ms(300_000);
    assert_eq!(name(&reset(&anna, &id("vera")).await), (403, "FreshFactorNeeded"));
    assert_eq!(site.post(&anna, "/auth/confirm", json!({"password": PASSWORD})).await.0, StatusCode::OK);
    assert_eq!(reset(&anna, &id("vera")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(&vera, Method::GET, "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED, "her sessions ended");
    assert_eq!(site.login("vera", PASSWORD, None).await.0, StatusCode::OK);
    assert_eq!(name(&reset(&anna, &id("vera")).await), (409, "TotpNotEnabled"));
    assert_eq!(site.audited("totp.reset", ""), 1);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_of_its_person_only() {
    let site = Site::new();
    let root = site.set_up().await;
    let vera = site.person(&root, "vera", "viewer").await;
    let elsewhere = site.token("vera").await;
    let put = async |body: Value| site.as_bearer(&vera, Method::PUT, "/api/v1/auth/password", Some(body)).await;
    assert_eq!(name(&put(json!({"current_password": "wrong", "password": "another password"})).await), (403, "FreshFactorNeeded"));
    assert_eq!(name(&put(json!({"current_password": PASSWORD, "password": "short"})).await), (400, "Invalid"));
    assert_eq!(put(json!({"current_password": PASSWORD, "password": "another password"})).await.0, StatusCode::NO_CONTENT);
    let me = async |token: &str| site.as_bearer(token, Method::GET, "/api/v1/auth/me", None).await.0;
    assert_eq!((me(&vera).await, me(&elsewhere).await, me(&root).await), (StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::OK));
    assert_eq!(site.login("vera", "another password", None).await.0, StatusCode::OK);
    assert_eq!(site.audited("user.update", "new password"), 1);
}

#[tokio::test]
async fn a_browser_gets_a_cookie_and_a_program_a_token() {
    let site = Site::new();
    let root = site.set_up().await;
    let browser = [("origin", "http://pi:8095"), ("host", "pi:8095"), ("sec-fetch-site", "same-origin")];
    let body = json!({"username": "root", "password": PASSWORD});
    let (status, answer) = site.call(Method::POST, "/api/v1/auth/login", Some(body), &browser).await;
    assert_eq!(status, StatusCode::OK);
    assert!(answer.get("access_token").is_none() && answer["user"]["username"] == "root", "{answer}");
    assert!(answer.get("token_type").is_none(), "there is no token to have a type: {answer}");
    let (_, sessions) = site.as_bearer(&root, Method::GET, "/api/v1/sessions", None).await;
    let carriers: Vec<&str> = sessions["sessions"].as_array().unwrap().iter().map(|s| s["carrier"].as_str().unwrap()).collect();
    assert_eq!(carriers.iter().filter(|c| **c == "program").count(), 1, "setup and the browser made none: {carriers:?}");
}

#[tokio::test]
async fn nobody_is_locked_out_by_the_failures_of_others() {
    let site = Site::new();
    site.set_up().await;
    let from = async |address: &str, password: &str| {
        let body = json!({"username": "root", "password": password});
        site.call(Method::POST, "/api/v1/auth/login", Some(body), &[("x-forwarded-for", address)]).await.0
    };
    let mut slowed_down = 0;
    for n in 0..60 {
        let status = from(&format!("198.51.100.{n}"), "wrong password").await;
        slowed_down += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(slowed_down, 50);
    assert_eq!(from("203.0.113.9", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS, "a stranger's right password waits, too");
    assert_eq!(site.login("root", PASSWORD, None).await.0, StatusCode::OK, "from home");
    site.driver.advance_ms(5 * 60_000);
    assert_eq!(from("203.0.113.9", PASSWORD).await, StatusCode::OK, "and the wait has an end elsewhere");
}

#[tokio::test]
async fn no_password_code_or_token_is_logged_or_audited() {
    let (logged, _guard) = Logged::start();
    let site = Site::new();
    let root = site.set_up().await;
    let (_, made) = site.post(&root, "/tokens", json!({"name": "n", "role": "admin", "expires_in_days": 1})).await;
    let program = made["token"].as_str().unwrap().to_owned();
    site.as_bearer(&program, Method::GET, "/api/v1/nodes", None).await;
    let (_, enrolment) = site.post(&root, "/enrolment-tokens", json!({})).await;
    let (app, recovery) = site.enable(&root).await;
    site.next_step();
    let code = app.code(&site, 0);
    site.login("root", "a wrong password!", Some(&code)).await;
    site.login("root", PASSWORD, Some("AAAA-BBBB-CCCC-DDDD")).await;
    let (_, signed_in) = site.login("root", PASSWORD, Some(&code)).await;
    let token = signed_in["access_token"].as_str().unwrap().to_owned();
    site.post(&token, "/auth/confirm", json!({"totp": recovery[0]})).await;
    site.as_bearer("a-stolen-token", Method::GET, "/api/v1/nodes", None).await;
    let (status, audited) = site.as_bearer(&token, Method::GET, "/api/v1/audit?limit=100", None).await;
    assert_eq!(status, StatusCode::OK);
    let log = logged.text();
    assert!(log.contains("/auth/login"), "requests are logged: {log}");
    let enrolment = enrolment["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let secrets = [PASSWORD, "a wrong password!", "AAAA-BBBB-CCCC-DDDD", "a-stolen-token", root.as_str(), token.as_str(), program.as_str()];
    let more = [
        program.rsplit('_').next().unwrap().to_owned(),
        enrolment.to_owned(),
        BASE32.encode(&app.0),
        recovery[0].clone(),
        recovery[1].clone(),
    ];
    for secret in secrets.into_iter().map(str::to_owned).chain(more) {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!audited.to_string().contains(&secret), "{secret} is in the audit log");
    }
}
