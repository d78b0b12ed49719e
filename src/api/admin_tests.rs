//! What admins do with a manager itself, through the router.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site, request};

fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or("-")
}

fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()
}

#[tokio::test]
async fn first_steps_are_marked_and_seen() {
    let site = Site::new();
    let root = site.set_up().await;
    let list = async || site.as_bearer(&root, Method::GET, "/api/v1/setup/steps", None).await.1;
    let set = async |step: &str, state: &str| {
        site.as_bearer(&root, Method::PUT, &format!("/api/v1/setup/steps/{step}"), Some(json!({"state": state}))).await
    };
    let fresh = list().await;
    assert_eq!((step(&fresh, "account")["state"].as_str(), step(&fresh, "account")["by"].as_str()), (Some("done"), Some("root")));
    assert_eq!(
        (step(&fresh, "pool")["state"].as_str(), &step(&fresh, "pool")["at"], &fresh["finished"]),
        (Some("open"), &Value::Null, &json!(false))
    );

    assert_eq!(set("kitchen", "done").await.1["error"]["details"]["fields"][0]["field"], "step");
    assert_eq!(set("account", "open").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    site.driver.set_synchronised(false);
    site.driver.advance_ms(1_000);
    site.driver.set_wall(site.state.now().wall.plus_seconds(100));
    let (status, body) = set("clock", "done").await;
    assert_eq!((status, name(&body)), (StatusCode::UNPROCESSABLE_ENTITY, "ClockNotTrusted"));
    let (status, body) = set("recovery_kit", "done").await;
    assert_eq!((status, name(&body)), (StatusCode::UNPROCESSABLE_ENTITY, "RecoveryKitNotMade"));

    let kit = json!({"passphrase": "a long enough passphrase", "password": PASSWORD});
    assert_eq!(site.as_bearer(&root, Method::POST, "/api/v1/recovery-kit", Some(kit)).await.0, StatusCode::OK);
    assert_eq!(step(&list().await, "recovery_kit")["state"], "done");
    for name in ["clock", "storage", "network", "pool"] {
        assert_eq!(set(name, "skipped").await.1["finished"], false);
    }
    let last = set("enrol", "done").await.1;
    assert_eq!((step(&last, "enrol")["by"].as_str(), last["finished"].as_bool()), (Some("root"), Some(true)));
    assert_eq!(set("enrol", "open").await.1["finished"], false);
}

async fn made(site: &Site, token: &str, name: &str) -> String {
    let body = json!({"name": name, "node_type": "worker"});
    let (status, answer) = site.as_bearer(token, Method::POST, "/api/v1/nodes", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["node_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_action_on_many_nodes_says_what_became_of_each() {
    let site = Site::new();
    let root = site.set_up().await;
    let (a, b) = (made(&site, &root, "node-a").await, made(&site, &root, "node-b").await);
    let act = async |action: &str, ids: Value| {
        site.as_bearer(&root, Method::POST, "/api/v1/nodes/actions", Some(json!({"action": action, "node_ids": ids}))).await
    };
    let (status, answer) = act("stop", json!([a, "no node", b, "node_nobody_at_all", a])).await;
    assert_eq!(status, StatusCode::OK);
    let results = answer["results"].as_array().unwrap();
    let found: Vec<_> = results.iter().map(|r| (r["node_id"].as_str().unwrap(), r["ok"].as_bool().unwrap())).collect();
    assert_eq!(found, [(a.as_str(), true), ("no node", false), (b.as_str(), true), ("node_nobody_at_all", false)]);
    assert_eq!((results[0]["status"].as_str(), &results[0]["error"]), (Some("inactive"), &Value::Null));
    assert_eq!(
        (results[3]["error"]["name"].as_str(), results[3]["error"]["code"].as_str()),
        (Some("NodeNotFound"), Some("LUCID_ERR_5001"))
    );

    assert_eq!(act("explode", json!([a])).await.1["error"]["details"]["fields"][0]["field"], "action");
    for ids in [json!([]), json!(vec!["node_x"; 1_001])] {
        assert_eq!(act("stop", ids).await.1["error"]["details"]["fields"][0]["field"], "node_ids");
    }
    let (_, answer) = act("end_maintenance", json!([a])).await;
    assert_eq!(answer["results"][0]["error"]["name"], "NotInMaintenance");
}

async fn sessions(site: &Site, token: &str) -> Vec<Value> {
    let (status, body) = site.as_bearer(token, Method::GET, "/api/v1/sessions", None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_only() {
    let site = Site::new();
    let root = site.set_up().await;
    let anna = site.person(&root, "anna", "viewer").await;
    let body = json!({"username": "anna", "password": PASSWORD});
    let elsewhere = [("user-agent", "Firefox"), ("x-forwarded-for", "192.0.2.7")];
    let (_, other) = site.call(Method::POST, "/api/v1/auth/login", Some(body), &elsewhere).await;
    let other = other["access_token"].as_str().unwrap();

    let listed = sessions(&site, &anna).await;
    assert_eq!(listed.len(), 4, "each sign-in begins one for a browser and one for a program");
    assert_eq!((&listed[0]["current"], &listed[0]["carrier"]), (&json!(true), &json!("program")));
    assert_eq!(listed.iter().filter(|s| s["current"] == true).count(), 1);
    let known: Vec<_> = listed.iter().filter(|s| s["user_agent"] == "Firefox" && s["address"] == "192.0.2.7").collect();
    assert_eq!(known.len(), 2);
    assert!(!json!(listed).to_string().contains(&anna));

    let remove = async |token: &str, id: &str| site.as_bearer(token, Method::DELETE, &format!("/api/v1/sessions/{id}"), None).await;
    let of_root = sessions(&site, &root).await[0]["id"].as_str().unwrap().to_owned();
    let (status, body) = remove(&anna, &of_root).await;
    assert_eq!((status, name(&body)), (StatusCode::NOT_FOUND, "SessionNotFound"));
    let of_other = sessions(&site, other).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(remove(&anna, &of_other).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(other, Method::GET, "/api/v1/sessions", None).await.0, StatusCode::UNAUTHORIZED);

    let again = site.token("anna").await;
    assert_eq!(site.as_bearer(&anna, Method::POST, "/api/v1/sessions/end-others", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(&again, Method::GET, "/api/v1/sessions", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(sessions(&site, &anna).await.len(), 1);
    assert_eq!(remove(&anna, "current").await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.as_bearer(&anna, Method::GET, "/api/v1/sessions", None).await.0, StatusCode::UNAUTHORIZED);
    assert!(!sessions(&site, &root).await.is_empty());
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let site = Site::new();
    let root = site.set_up().await;
    let other = site.token("root").await;
    let (_, me) = site.as_bearer(&root, Method::GET, "/api/v1/auth/me", None).await;
    let path = format!("/api/v1/users/{}", me["user"]["id"].as_str().unwrap());
    let change = json!({"password": "another long password", "current_password": PASSWORD});
    assert_eq!(site.as_bearer(&root, Method::PUT, &path, Some(change)).await.0, StatusCode::OK);
    assert_eq!(site.as_bearer(&other, Method::GET, "/api/v1/sessions", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(sessions(&site, &root).await.len(), 1);
}

#[tokio::test]
async fn storage_is_shown_and_checked_one_at_a_time() {
    let site = Site::new();
    let root = site.set_up().await;
    let viewer = site.person(&root, "vera", "viewer").await;
    let (status, seen) = site.as_bearer(&viewer, Method::GET, "/api/v1/storage", None).await;
    assert_eq!((status, &seen["data_dir"]), (StatusCode::OK, &Value::Null));
    let (_, seen) = site.as_bearer(&root, Method::GET, "/api/v1/storage", None).await;
    assert_eq!(seen["data_dir"], site.state.store.dir().display().to_string());
    assert!(seen["total_bytes"].as_u64().unwrap() >= seen["free_bytes"].as_u64().unwrap(), "{seen}");
    let sizes: Vec<u64> = seen["files"].as_array().unwrap().iter().map(|file| file["bytes"].as_u64().unwrap()).collect();
    assert!(sizes.len() >= 3 && sizes.is_sorted_by(|a, b| a >= b), "{seen}");

    let check = async || site.as_bearer(&root, Method::POST, "/api/v1/storage/check", None).await;
    let turn = site.state.storage_check.clone().acquire_owned().await.unwrap();
    let (status, body) = check().await;
    assert_eq!((status, name(&body)), (StatusCode::CONFLICT, "StorageCheckRunning"));
    drop(turn);
    let (status, body) = check().await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body["written_bytes"].as_u64().unwrap() <= 32 << 20 && body["advice"].is_string(), "{body}");
    let (_, after) = site.as_bearer(&root, Method::GET, "/api/v1/storage", None).await;
    assert_eq!(after["files"].as_array().unwrap().len(), sizes.len(), "nothing stays behind");
}

#[tokio::test]
async fn the_program_says_what_it_is() {
    let site = Site::new();
    let root = site.set_up().await;
    let (status, about) = site.as_bearer(&root, Method::GET, "/api/v1/about", None).await;
    assert_eq!((status, about["version"].as_str()), (StatusCode::OK, Some(env!("CARGO_PKG_VERSION"))));
    assert!(about["target"].as_str().unwrap().contains("linux") && about["rustc"].as_str().unwrap().starts_with("rustc "), "{about}");
    assert_eq!(about["store"]["schema"], 1);

    let get = async |headers: &[(&str, &str)]| site.send(request(Method::GET, "/api/v1/licences", None, headers)).await;
    let response = get(&[]).await;
    assert_eq!((response.status(), response.headers()["content-encoding"].as_bytes()), (StatusCode::OK, b"gzip".as_slice()));
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(get(&[("if-none-match", &etag)]).await.status(), StatusCode::NOT_MODIFIED);
}
