//! The audit log through HTTP: found by filters, taken away as a file, checked against anchors, and without those who were erased.

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site, request};
use crate::domain::audit::{Actor, Draft};
use crate::storage::core::audit;
use crate::storage::core::tables::AUDIT;
use crate::storage::table::Read;

const AGENT: &str = "MarkerBrowser/7";
const ADDRESS: &str = "198.51.100.77";

impl Site {
    async fn log(&self, token: &str, query: &str) -> Value {
        let (status, answer) = self.as_bearer(token, Method::GET, &format!("/api/v1/audit{query}"), None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// A file as text.
    async fn file(&self, token: &str, query: &str) -> (String, String) {
        let bearer = format!("Bearer {token}");
        let path = format!("/api/v1/audit/export{query}");
        let response = self.send(request(Method::GET, &path, None, &[("authorization", &bearer)])).await;
        assert_eq!(response.status(), StatusCode::OK);
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 26).await.unwrap();
        (kind, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn append(&self, count: u32, text: &'static str) {
        let now = self.state.now();
        let drafts: Vec<Draft> = (0..count).map(|n| Draft::new(now, Actor::Console, "test.entry", format!("{n}")).because(text)).collect();
        self.state.store.write(move |tx| audit::append_all(tx, &drafts)).await.unwrap();
    }

    /// Signs in from somewhere with a browser of a name.
    async fn signs_in(&self, username: &str) -> String {
        let body = json!({"username": username, "password": PASSWORD});
        let headers = [("user-agent", AGENT), ("x-forwarded-for", ADDRESS)];
        let (status, answer) = self.call(Method::POST, "/api/v1/auth/login", Some(body), &headers).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn user_id(&self, token: &str, username: &str) -> String {
        let (_, people) = self.as_bearer(token, Method::GET, "/api/v1/users?limit=100", None).await;
        let found = people["users"].as_array().unwrap().iter().find(|user| user["username"] == username).unwrap();
        found["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn entries_are_found_by_what_they_say_and_say_who_in_words() {
    let site = Site::new();
    let root = site.set_up().await;
    site.person(&root, "robert", "viewer").await;
    site.signs_in("robert").await;
    let logins = site.log(&root, "?operation=auth.login&actor=Robert").await;
    assert_eq!((&logins["pagination"]["total"], &logins["scan"]["complete"]), (&json!(2), &json!(true)));
    let newest = &logins["entries"][0];
    let shown = ["actor_name", "address", "user_agent", "resource_type", "subject_name"].map(|field| newest[field].clone());
    assert_eq!(json!(shown), json!(["robert", ADDRESS, AGENT, "user", "robert"]));
    assert_eq!((&newest["erased"], &newest["compliance_required"]), (&json!(false), &json!(false)));
    let id = site.user_id(&root, "robert").await;
    let about = site.log(&root, &format!("?subject={id}&order=asc&limit=1")).await;
    assert_eq!((&about["entries"][0]["operation"], &about["entries"][0]["actor_name"]), (&json!("user.create"), &json!("root")));
    let refused = site.log(&root, "?success=false").await;
    assert_eq!(refused["pagination"]["total"], 0);
    let after = site.state.now().wall.plus_seconds(1).rfc3339();
    assert_eq!(site.log(&root, &format!("?from={after}")).await["pagination"]["total"], 0);
    let until = site.log(&root, &format!("?to={after}")).await;
    assert!(until["pagination"]["total"].as_u64().unwrap() >= 5, "{until}");
    let wrong = "?success=maybe&from=yesterday&sort=name&order=up&cursor=x&text=";
    let (status, body) = site.as_bearer(&root, Method::GET, &format!("/api/v1/audit{wrong}"), None).await;
    assert_eq!((status, body["error"]["details"]["fields"].as_array().unwrap().len()), (StatusCode::BAD_REQUEST, 6));
}

#[tokio::test]
async fn a_file_holds_every_entry_once_and_its_making_is_recorded() {
    let site = Site::new();
    let root = site.set_up().await;
    site.append(4_500, "=HYPERLINK(\"http://evil\"), \"quoted\"").await;
    let total = site.log(&root, "").await["pagination"]["total"].as_u64().unwrap();
    let (kind, lines) = site.file(&root, "").await;
    assert_eq!(kind, "application/x-ndjson");
    let seqs: Vec<u64> = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=total).collect::<Vec<u64>>(), "as of the moment of asking");
    let (kind, table) = site.file(&root, "?format=csv&operation=test.").await;
    assert_eq!(kind, "text/csv; charset=utf-8");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let reason = reader.headers().unwrap().iter().position(|column| column == "reason").unwrap();
    let reasons: Vec<String> = reader.records().map(|row| row.unwrap()[reason].to_owned()).collect();
    assert_eq!(reasons.len(), 4_500);
    assert!(reasons.iter().all(|text| text == "'=HYPERLINK(\"http://evil\"), \"quoted\""));
    let log = site.log(&root, "?operation=audit.export").await;
    let remarks: Vec<&str> = log["entries"].as_array().unwrap().iter().map(|e| e["reason"].as_str().unwrap()).collect();
    assert_eq!(remarks, [format!("csv entries 1 to {} operation=test.", total + 1), format!("jsonl entries 1 to {total}")]);
    let (status, _) = site.as_bearer(&root, Method::GET, "/api/v1/audit/export?format=xml", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let admin = site.person(&root, "anna", "admin").await;
    let operator = site.person(&root, "oscar", "operator").await;
    site.file(&admin, "").await;
    assert_eq!(site.as_bearer(&operator, Method::GET, "/api/v1/audit/export", None).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_anchor_tells_a_cut_and_a_rewritten_log_from_the_one_it_was_made_of() {
    let site = Site::new();
    let root = site.set_up().await;
    site.append(10, "x").await;
    let (_, anchor) = site.as_bearer(&root, Method::GET, "/api/v1/audit/anchor", None).await;
    let verdict = async |anchor: &Value| {
        let (status, body) = site.as_bearer(&root, Method::POST, "/api/v1/audit/anchor/check", Some(anchor.clone())).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        (body["ok"].as_bool().unwrap(), body["verdict"].as_str().unwrap().to_owned())
    };
    site.append(5, "y").await;
    assert_eq!(verdict(&anchor).await, (true, "present".to_owned()));
    let changed = |field: &str, value: Value| {
        let mut changed = anchor.clone();
        changed[field] = value;
        changed
    };
    let seq = anchor["seq"].as_u64().unwrap();
    assert_eq!(verdict(&changed("seq", json!(seq - 1))).await, (false, "not_signed".to_owned()));
    assert_eq!(verdict(&changed("manager_id", json!("manager_0123456789abcdef"))).await.1, "other_manager");
    let (status, check) = site.as_bearer(&root, Method::GET, "/api/v1/audit/verify", None).await;
    assert_eq!((status, &check["ok"], &check["first_broken"]), (StatusCode::OK, &json!(true), &Value::Null));

    let rewrite = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        let mut entry = tx.get(AUDIT, &seq)?.unwrap();
        entry.draft.subject = "another".into();
        tx.put(AUDIT, &seq, &entry)
    };
    site.state.store.write(rewrite).await.unwrap();
    assert_eq!(verdict(&anchor).await.1, "altered");
    let (_, check) = site.as_bearer(&root, Method::GET, "/api/v1/audit/verify", None).await;
    assert_eq!((&check["ok"], &check["first_broken"], &check["entries"]), (&json!(false), &json!(seq), &json!(seq - 1)));
    let cut = move |tx: &mut crate::storage::table::WriteTx<'_>| (seq..seq + 6).try_for_each(|seq| tx.delete(AUDIT, &seq).map(|_| ()));
    site.state.store.write(cut).await.unwrap();
    assert_eq!(verdict(&anchor).await.1, "truncated");
    let (_, check) = site.as_bearer(&root, Method::GET, "/api/v1/audit/verify", None).await;
    assert_eq!(check["ok"], true, "a cut end shows to an anchor only: that is what it is for");
}

#[tokio::test]
async fn one_check_of_the_whole_log_runs_at_a_time() {
    let site = Site::new();
    let root = site.set_up().await;
    let turn = site.state.audit_verification.clone().try_acquire_owned().unwrap();
    let (status, body) = site.as_bearer(&root, Method::GET, "/api/v1/audit/verify", None).await;
    assert_eq!((status, &body["error"]["details"]["name"]), (StatusCode::CONFLICT, &json!("AuditCheckRunning")));
    drop(turn);
    assert_eq!(site.as_bearer(&root, Method::GET, "/api/v1/audit/verify", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_is_erased_is_nowhere_in_the_answers_and_the_chain_holds() {
    let site = Site::new();
    let root = site.set_up().await;
    site.person(&root, "marker-person", "operator").await;
    let token = site.signs_in("marker-person").await;
    let id = site.user_id(&root, "marker-person").await;
    let head = site.log(&root, "?limit=1").await["entries"][0].clone();
    let (status, export) = site.as_bearer(&root, Method::GET, &format!("/api/v1/privacy/export/{id}"), None).await;
    assert_eq!((status, &export["account"]["user"]["username"]), (StatusCode::OK, &json!("marker-person")));
    assert_eq!(export["sessions"].as_array().unwrap().len(), 4);
    let acts = export["acts"].as_array().unwrap();
    assert!(acts.iter().any(|entry| entry["user_agent"] == AGENT && entry["address"] == ADDRESS), "{export}");
    assert_eq!(export["acts_of_others"][0]["operation"], "user.create");

    let erase = async |token: &str, id: &str, reason: &str| {
        let path = format!("/api/v1/privacy/erase/{id}");
        let (status, body) = site.as_bearer(token, Method::POST, &path, Some(json!({"reason": reason}))).await;
        (status, body["error"]["details"]["name"].as_str().unwrap_or_default().to_owned())
    };
    let own = site.user_id(&root, "root").await;
    assert_eq!(erase(&root, &own, "asked for it").await, (StatusCode::UNPROCESSABLE_ENTITY, "NotOneself".to_owned()));
    assert_eq!(erase(&root, &id, "x").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(erase(&root, "user_nobody", "asked for it").await.1, "UserNotFound");
    let admin = site.person(&root, "anna", "admin").await;
    assert_eq!(erase(&admin, &id, "asked for it").await.1, "NotAllowed");
    assert_eq!(erase(&root, &id, "asked for it").await.0, StatusCode::OK);
    assert_eq!(erase(&root, &id, "asked for it").await, (StatusCode::CONFLICT, "AlreadyErased".to_owned()));

    assert_eq!(site.as_bearer(&token, Method::GET, "/api/v1/auth/me", None).await.0, StatusCode::UNAUTHORIZED);
    let body = json!({"username": "marker-person", "password": PASSWORD});
    assert_eq!(site.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await.0, StatusCode::UNAUTHORIZED);
    let (status, _) = site.as_bearer(&root, Method::PUT, &format!("/api/v1/users/{id}"), Some(json!({"disabled": false}))).await;
    assert_eq!(status, StatusCode::CONFLICT, "a tombstone does not come to life");
    let erased = site.log(&root, &format!("?actor={id}")).await;
    for entry in erased["entries"].as_array().unwrap() {
        let shown = ["actor_name", "address", "user_agent"].map(|field| entry[field].clone());
        assert_eq!((json!(shown), &entry["erased"]), (json!(["erased", "erased", "erased"]), &json!(true)), "{entry}");
    }
    let mut everything = site.log(&root, "?limit=100").await.to_string();
    everything.push_str(&site.file(&root, "").await.1);
    for path in ["users", "alerts", "enrolment-tokens", &format!("privacy/export/{id}")] {
        everything.push_str(&site.as_bearer(&root, Method::GET, &format!("/api/v1/{path}"), None).await.1.to_string());
    }
    for mark in ["marker-person", AGENT, ADDRESS] {
        assert!(!everything.contains(mark), "{mark} is left");
    }
    assert!(everything.contains("asked for it"), "the reason is kept as what the caller said");
    let seq = head["seq"].as_u64().unwrap();
    let kept = audit::entry(&site.state.store.read().unwrap(), seq).unwrap().unwrap();
    assert_eq!(json!(crate::crypto::hex(&kept.hash)), head["hash"], "no entry changed");
    assert!(crate::storage::verify::verify(&site.state.store).iter().all(|finding| finding.wrong.is_none()));
}

#[tokio::test]
async fn an_erasure_wants_a_fresh_factor_and_leaves_a_super_admin() {
    let site = Site::new();
    let root = site.set_up().await;
    site.person(&root, "second", "super_admin").await;
    let second = site.user_id(&root, "second").await;
    let path = format!("/api/v1/privacy/erase/{second}");
    let body = json!({"reason": "left the company"});
    site.driver.advance_ms(10 * 60 * 1_000);
    let (status, refused) = site.as_bearer(&root, Method::POST, &path, Some(body.clone())).await;
    assert_eq!((status, &refused["error"]["details"]["name"]), (StatusCode::FORBIDDEN, &json!("FreshFactorNeeded")));
    let root = site.token("root").await;
    assert_eq!(site.as_bearer(&root, Method::POST, &path, Some(body)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_compliance_report_counts_what_people_did_in_its_range() {
    let site = Site::new();
    let root = site.set_up().await;
    let begun = site.state.now().wall;
    site.person(&root, "anna", "admin").await;
    let anna = site.user_id(&root, "anna").await;
    for _ in 0..6 {
        let body = json!({"username": "anna", "password": "not the password"});
        site.call(Method::POST, "/api/v1/auth/login", Some(body), &[]).await;
    }
    site.state.flush_refusals(true).await.unwrap();
    let (status, _) = site.as_bearer(&root, Method::PUT, &format!("/api/v1/users/{anna}"), Some(json!({"role": "operator"}))).await;
    assert_eq!(status, StatusCode::OK);
    site.driver.advance_ms(1_000);
    let report = async |query: &str| site.as_bearer(&root, Method::GET, &format!("/api/v1/compliance/report{query}"), None).await;
    let (status, body) = report("").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let of = |name: &str| body["people"].as_array().unwrap().iter().find(|person| person["name"] == name).unwrap().clone();
    assert_eq!((&of("anna")["sign_ins"], &of("anna")["refused_sign_ins"]), (&json!(1), &json!(6)));
    assert_eq!(of("root")["role_changes"], 3, "root and anna were made, anna was changed");
    let changes = body["role_changes"]["entries"].as_array().unwrap();
    assert_eq!(changes.last().unwrap()["reason"], "role operator");
    assert_eq!((&body["chain"]["ok"], &body["payouts"]), (&json!(true), &json!([])));
    let (_, again) = report("").await;
    assert_eq!(again["exports"]["count"], 0, "the range ends now");
    site.driver.advance_ms(1_000);
    assert_eq!(report("").await.1["exports"]["count"], 2, "a report is an export");
    let before = format!("?to={}", begun.rfc3339());
    assert_eq!(report(&before).await.1["entries"], 0);
    for wrong in ["?format=xml", "?from=yesterday", "?from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "?from=2020-01-01T00:00:00Z"] {
        assert_eq!(report(wrong).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let bearer = format!("Bearer {root}");
    let response = site.send(request(Method::GET, "/api/v1/compliance/report?format=csv", None, &[("authorization", &bearer)])).await;
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(&format!("people,{anna},anna,refused_sign_ins,6,")), "{text}");
    let viewer = site.person(&root, "vera", "viewer").await;
    assert_eq!(site.as_bearer(&viewer, Method::GET, "/api/v1/compliance/report", None).await.0, StatusCode::FORBIDDEN);
}
