//! The skeleton, through the router.

use axum::http::{Method, StatusCode};
use axum::routing::get;

use super::testing::{Logged, Site, json, request};
use super::*;

#[tokio::test]
async fn a_healthy_manager_says_so_and_a_stopping_one_is_not_ready() {
    let site = Site::new();
    let (status, body) = site.get("/health").await;
    // The machine of the tests may be busy.
    let expected = if body["checks"]["system"]["status"] == "healthy" { "healthy" } else { "degraded" };
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some(expected)));
    assert_eq!(body["checks"]["nodes"], serde_json::json!({ "status": "healthy", "heard": 0, "expected": 0 }), "no nodes yet");
    let external = serde_json::json!({ "payment_service": "not_configured", "blockchain": "not_configured", "mongodb": "not_configured" });
    assert_eq!(body["checks"]["external_services"], external);
    assert_eq!(site.get("/health/ready").await.0, StatusCode::OK);
    site.driver.set_synchronised(false);
    site.driver.set_wall(crate::domain::time::Timestamp(0));
    let (status, body) = site.get("/health").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("degraded")));
    site.stop.send(true).unwrap();
    assert_eq!(site.get("/health/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(site.get("/health/live").await.0, StatusCode::OK);
}

#[tokio::test]
async fn errors_have_the_body_of_the_contract() {
    let site = Site::new();
    let response = site.send(request(Method::GET, "/api/v1/nothing", None, &[("x-request-id", "abc-1")])).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.headers()["x-request-id"], "abc-1");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let error = json(response).await["error"].clone();
    assert_eq!(error["code"], "LUCID_ERR_1006");
    assert_eq!(error["details"]["name"], "RouteNotFound");
    assert_eq!(error["request_id"], "abc-1");
    assert_eq!(error["timestamp"], super::testing::T.rfc3339());
    let (status, body) = site.call(Method::DELETE, "/health", None, &[]).await;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::METHOD_NOT_ALLOWED, Some("LUCID_ERR_1005")));
}

#[tokio::test]
async fn a_foreign_request_id_must_be_plain() {
    let site = Site::new();
    let long = "x".repeat(65);
    for bad in ["a b", "a\"b", long.as_str()] {
        let response = site.send(request(Method::GET, "/health/live", None, &[("x-request-id", bad)])).await;
        assert!(response.headers()["x-request-id"].to_str().unwrap().starts_with("req_"), "{bad}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_with_its_request_id() {
    let site = Site::new();
    async fn boom() -> &'static str {
        panic!("on purpose")
    }
    let router: Router = Router::new()
        .route("/boom", get(boom))
        .layer(axum::middleware::from_fn_with_state(site.state.clone(), rates::by_address))
        .layer(axum::middleware::from_fn_with_state(site.state.clone(), middleware::observe))
        .with_state(site.state.clone());
    let (logged, guard) = Logged::start();
    let asked = request(Method::GET, "/boom", None, &[("x-request-id", "req-42")]);
    let response = tower::ServiceExt::oneshot(router, asked).await.unwrap();
    drop(guard);
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-request-id"], "req-42");
    assert_eq!(response.headers()["x-ratelimit-limit"], "2000", "a panic says how the rate stands, too");
    let body = json(response).await;
    assert_eq!(body["error"]["request_id"], "req-42");
    let lines = logged.text();
    assert!(lines.lines().any(|line| line.contains("a handler panicked") && line.contains("req-42") && line.contains("/boom")), "{lines}");
    assert_eq!(body["error"]["code"], "LUCID_ERR_5000");
    assert!(!body.to_string().contains("on purpose"));
}

#[test]
fn the_document_lists_routes() {
    let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/health"]["get"].is_object());
    assert!(document["paths"]["/api/v1/events"]["get"].is_object());
    assert!(document["components"]["schemas"]["ErrorBody"].is_object());
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let site = Site::new();
    for path in ["/health/live", "/api/v1/nodes/node_abc", "/api/v1/nodes/node_def", "/nothing.png", "/nothing2.png"] {
        site.get(path).await;
    }
    let response = site.send(request(Method::GET, "/metrics", None, &[])).await;
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let counted = |endpoint: &str, status: u16, n: u32| {
        let line = format!("http_requests_total{{method=\"GET\",endpoint=\"{endpoint}\",status_code=\"{status}\"}} {n}\n");
        assert!(text.contains(&line), "{line} in\n{text}");
    };
    counted("/health/live", 200, 1);
    counted("/api/v1/nodes/{id}", 401, 2);
    counted("unmatched", 404, 2);
    assert!(text.contains("active_nodes_total 0\n") && text.contains("database_operations_total{file=\"core\",operation=\"commit\"}"));
}

#[tokio::test]
async fn a_watcher_gets_what_it_missed_then_what_happens_and_ends_with_the_process() {
    use crate::live::Event;
    let site = Site::new();
    let token = site.set_up().await;
    assert_eq!(site.get("/api/v1/events").await.0, StatusCode::UNAUTHORIZED);
    let authorization = format!("Bearer {token}");
    for epoch in 0..3 {
        site.state.events.publish(&Event::Epoch { epoch });
    }
    let last = site.state.events.id_text(2);
    let headers = [("authorization", authorization.as_str()), ("last-event-id", last.as_str())];
    let response = site.send(request(Method::GET, "/api/v1/events", None, &headers)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    site.state.events.publish(&Event::Epoch { epoch: 7 });
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("{\"epoch\":7}") {
        let frame = std::future::poll_fn(|cx| axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut body), cx)).await;
        text.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
    }
    assert!(text.starts_with("retry: 3000\n\n"), "{text}");
    assert_eq!(text.matches("event: epoch").count(), 2, "{text}");
    let id = site.state.events.id_text(4);
    assert!(text.ends_with(&format!("event: epoch\nid: {id}\ndata: {{\"epoch\":7}}\n\n")), "{text}");
    // An EventSource that is opened anew cannot set the header.
    let path = format!("/api/v1/events?last_event_id={}", site.state.events.id_text(3));
    let response = site.send(request(Method::GET, &path, None, &headers[..1])).await;
    let mut again = response.into_body();
    let frame = std::future::poll_fn(|cx| axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut again), cx)).await;
    let first = String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap();
    assert!(first.contains("{\"epoch\":7}") && !first.contains("reset"), "{first}");

    site.stop.send(true).unwrap();
    let end = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    assert!(end.is_empty());
}

#[tokio::test]
async fn one_person_cannot_take_every_place_of_the_event_stream() {
    use super::events::CLIENTS_EACH;
    let site = Site::new();
    let root = site.set_up().await;
    let vera = site.person(&root, "vera", "viewer").await;
    let watch = async |token: &str| {
        let authorization = format!("Bearer {token}");
        site.send(request(Method::GET, "/api/v1/events", None, &[("authorization", &authorization)])).await
    };
    let mut open = Vec::new();
    for number in 0..CLIENTS_EACH {
        // Another session is the same person.
        let session = if number % 2 == 0 { vera.clone() } else { site.token("vera").await };
        open.push(watch(&session).await);
        assert_eq!(open[number].status(), StatusCode::OK);
    }
    let refused = watch(&vera).await;
    assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"2".parse().unwrap()));
    assert_eq!(super::testing::json(refused).await["error"]["details"]["name"], "TooManyStreams");
    assert_eq!(watch(&root).await.status(), StatusCode::OK, "somebody else");
    drop(open.pop());
    let watched = crate::clock::Stopwatch::start();
    while watch(&vera).await.status() != StatusCode::OK {
        assert!(watched.elapsed() < std::time::Duration::from_secs(20), "the place that was given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_watcher_whose_session_ends_hears_no_more_however_much_happens() {
    use crate::live::Event;
    let site = Site::new();
    let token = site.set_up().await;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let response = site.send(request(Method::GET, "/api/v1/events", None, &headers)).await;
    let mut body = response.into_body();
    let mut next = async || std::future::poll_fn(|cx| axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut body), cx)).await;
    assert!(next().await.is_some());
    assert_eq!(site.as_bearer(&token, Method::POST, "/api/v1/auth/logout", None).await.0, StatusCode::NO_CONTENT);
    let watch = crate::clock::Stopwatch::start();
    let mut heard = 0;
    loop {
        site.state.events.publish(&Event::Epoch { epoch: heard });
        if next().await.is_none() {
            break;
        }
        heard += 1;
        assert!(watch.elapsed() < std::time::Duration::from_secs(20), "{heard} events after the session ended");
    }
}
