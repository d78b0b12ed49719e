//! Requests that are sent again, through the router.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::testing::{Site, json as body_of, request};
use crate::crypto::sha256;
use crate::domain::idempotency::{Outcome, Remembered};
use crate::storage::core::tables::IDEMPOTENCY_KEYS;
use crate::storage::core::{idempotency, people};
use crate::storage::table::Read;

struct Sender<'a> {
    site: &'a Site,
    authorization: String,
}

impl Sender<'_> {
    fn request(&self, method: Method, path: &str, body: Option<Value>, key: &str) -> Request<Body> {
        let headers = [("authorization", self.authorization.as_str()), ("idempotency-key", key)];
        request(method, &format!("/api/v1{path}"), body, &headers)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>, key: &str) -> (StatusCode, HeaderMap, Value) {
        let response = self.site.send(self.request(method, path, body, key)).await;
        (response.status(), response.headers().clone(), body_of(response).await)
    }

    async fn post(&self, path: &str, body: Value, key: &str) -> (StatusCode, HeaderMap, Value) {
        self.send(Method::POST, path, Some(body), key).await
    }

    async fn nodes(&self) -> usize {
        let response = self.site.send(self.request(Method::GET, "/nodes", None, "same")).await;
        body_of(response).await["nodes"].as_array().unwrap().len()
    }
}

fn sender<'a>(site: &'a Site, token: &str) -> Sender<'a> {
    Sender { site, authorization: format!("Bearer {token}") }
}

fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or("-")
}

#[tokio::test]
async fn a_request_under_a_key_is_done_once_and_answered_alike() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let body = || json!({"name": "attic", "node_type": "worker"});
    let (first, _, made) = root.post("/nodes", body(), "k1").await;
    let (second, headers, again) = root.post("/nodes", body(), "k1").await;
    assert_eq!(
        (first, second, headers.get("idempotency-replayed").unwrap()),
        (StatusCode::CREATED, StatusCode::CREATED, &"true".parse().unwrap())
    );
    assert_eq!((again, root.nodes().await), (made.clone(), 1));
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/json"));

    let (status, _, refused) = root.post("/nodes", json!({"name": "other", "node_type": "worker"}), "k1").await;
    assert_eq!((status, name(&refused)), (StatusCode::CONFLICT, "IdempotencyKeyReused"));
    let (status, _, _) = root.post("/nodes/pools", json!({"name": "attic"}), "k1").await;
    assert_eq!(status, StatusCode::CREATED, "another path is another request");
    let anna = site.person(&token, "anna", "operator").await;
    let (_, _, refused) = sender(&site, &anna).post("/nodes", body(), "k1").await;
    assert_eq!(name(&refused), "NodeNameTaken", "another person's request is looked at for itself");

    let path = format!("/nodes/{}", made["node_id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(root.send(Method::DELETE, &path, None, "k2").await.0, StatusCode::NO_CONTENT);
    }
    assert_eq!(root.send(Method::DELETE, &path, None, "k3").await.0, StatusCode::NOT_FOUND);
    let (status, _, refused) = root.post("/nodes", body(), "").await;
    assert_eq!((status, refused["error"]["details"]["fields"][0]["field"].as_str()), (StatusCode::BAD_REQUEST, Some("idempotency-key")));
}

#[tokio::test]
async fn a_refused_request_frees_its_key() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    assert_eq!(root.post("/nodes", json!({"name": "x", "node_type": "worker"}), "k").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(root.post("/nodes", json!({"name": "better", "node_type": "worker"}), "k").await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn secrets_are_not_kept() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let (status, _, made) = root.post("/enrolment-tokens", json!({}), "k").await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _, refused) = root.post("/enrolment-tokens", json!({}), "k").await;
    assert_eq!((status, name(&refused)), (StatusCode::CONFLICT, "IdempotencyAnswerNotKept"));
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains(made["id"].as_str().unwrap()) && !refused.to_string().contains(made["token"].as_str().unwrap()), "{message}");
}

#[tokio::test]
async fn the_same_values_written_otherwise_are_the_same_request() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let send = async |body: &str| {
        let mut request = root.request(Method::POST, "/nodes", None, "k");
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        *request.body_mut() = Body::from(body.to_owned());
        let response = site.send(request).await;
        (response.status(), body_of(response).await)
    };
    let first = send(r#"{"name":"attic","node_type":"worker"}"#).await;
    assert_eq!(first.0, StatusCode::CREATED);
    assert_eq!(send("{ \"node_type\": \"worker\",\n \"name\": \"attic\" }").await, first);
    assert_eq!(name(&send(r#"{"name":"attic2","node_type":"worker"}"#).await.1), "IdempotencyKeyReused");
}

#[tokio::test]
async fn another_query_under_the_same_key_is_another_request() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let (_, _, made) = root.post("/nodes", json!({"name": "attic", "node_type": "worker"}), "k1").await;
    let path = |query: &str| format!("/nodes/{}{query}", made["node_id"].as_str().unwrap());
    let delete = async |query: &str| root.send(Method::DELETE, &path(query), None, "k2").await;
    assert_eq!(delete("?final_payout=true").await.0, StatusCode::ACCEPTED);
    let (status, _, refused) = delete("?forfeit=true&reason=nobody+wants+it").await;
    assert_eq!((status, name(&refused), root.nodes().await), (StatusCode::CONFLICT, "IdempotencyKeyReused", 1));
    assert_eq!(name(&delete("").await.2), "IdempotencyKeyReused");
    assert_eq!(delete("?final_payout=true").await.1.get("idempotency-replayed").unwrap(), "true");
}

#[tokio::test]
async fn a_key_is_visible_ascii_and_one() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let status = async |key: &str| root.post("/nodes/pools", json!({"name": "attic"}), key).await.0;
    let longest = "k".repeat(255);
    for bad in ["", "a b", "\t", &"k".repeat(256)] {
        assert_eq!(status(bad).await, StatusCode::BAD_REQUEST, "{bad:?}");
    }
    let mut two = root.request(Method::POST, "/nodes/pools", Some(json!({"name": "attic"})), "a");
    two.headers_mut().append("idempotency-key", "b".parse().unwrap());
    assert_eq!(site.send(two).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!((status(&longest).await, status(&longest).await), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(status("!~").await, StatusCode::CONFLICT, "another request for the same name");
}

#[tokio::test]
async fn answers_outlive_the_process_and_a_crash_before_the_answer_leaves_the_fact() {
    let mut site = Site::new();
    let token = site.set_up().await;
    let body = || json!({"name": "attic", "node_type": "worker"});
    let first = sender(&site, &token).post("/nodes", body(), "k").await;
    assert_eq!(first.0, StatusCode::CREATED);
    // As a crash leaves it between the commit of the change and that of the answer.
    let lost = sender(&site, &token).post("/nodes/pools", json!({"name": "attic"}), "lost").await;
    assert_eq!(lost.0, StatusCode::CREATED);
    forget_answer(&site, "/api/v1/nodes/pools", "lost").await;

    site = site.reopened();
    let root = sender(&site, &token);
    let again = root.post("/nodes", body(), "k").await;
    assert_eq!((again.0, &again.2, again.1.contains_key("idempotency-replayed")), (first.0, &first.2, true));
    let (status, _, refused) = root.post("/nodes/pools", json!({"name": "attic"}), "lost").await;
    assert_eq!((status, name(&refused)), (StatusCode::CONFLICT, "IdempotencyAnswerNotKept"));
    assert!(refused["error"]["message"].as_str().unwrap().contains("was committed"), "{refused}");
    assert_eq!(name(&root.post("/nodes/pools", json!({"name": "cellar"}), "lost").await.2), "IdempotencyKeyReused");
}

/// Leaves of a key what the transaction of the change left.
async fn forget_answer(site: &Site, path: &str, key: &str) {
    let user = people::users(&site.state.store.read().unwrap()).unwrap()[0].id.to_string();
    let scope = sha256(["user", user.as_str(), "POST", path, key].join("\0").as_bytes());
    let write = site.state.store.write(move |tx| {
        let remembered = idempotency::get(tx, &scope)?.unwrap();
        tx.put(IDEMPOTENCY_KEYS, &scope, &Remembered { outcome: Outcome::Committed, ..remembered })
    });
    write.await.unwrap();
}

#[tokio::test]
async fn a_failure_before_any_change_frees_the_key() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let refused = root.post("/nodes/node_nobody_at_all/start", json!({}), "k").await;
    assert_eq!(refused.0, StatusCode::NOT_FOUND);
    assert_eq!(site.state.store.read().unwrap().count(IDEMPOTENCY_KEYS), Ok(0));
}

#[tokio::test]
async fn the_second_of_two_at_once_is_told_to_wait_and_a_client_that_leaves_stops_nothing() {
    let site = Site::new();
    let token = site.set_up().await;
    let root = sender(&site, &token);
    let body = json!({"name": "attic", "node_type": "worker"});
    // The writer is held up, so that the first request is under way while the second comes.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let store = site.state.store.clone();
    let holder = tokio::spawn(async move {
        store
            .write(move |_| {
                let _ = held.lock().unwrap().recv();
                Ok(())
            })
            .await
    });
    let mut first = Box::pin(site.send(root.request(Method::POST, "/nodes", Some(body.clone()), "k")));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
    assert!(begun);
    let (status, headers, answer) = root.post("/nodes", body.clone(), "k").await;
    assert_eq!((status, name(&answer)), (StatusCode::CONFLICT, "IdempotencyInProgress"));
    assert!(headers.contains_key("retry-after"));
    drop(first);
    hold.send(()).unwrap();
    holder.await.unwrap().unwrap();
    while root.post("/nodes", body.clone(), "k").await.0 != StatusCode::CREATED {
        tokio::task::yield_now().await;
    }
    assert_eq!(root.nodes().await, 1);
}
