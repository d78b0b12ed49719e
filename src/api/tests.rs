//! The skeleton, through the router.

use axum::http::{Method, StatusCode};
use axum::routing::get;

use super::testing::{Site, json, request};
use super::*;

#[tokio::test]
async fn a_healthy_manager_says_so_and_a_stopping_one_is_not_ready() {
    let site = Site::new();
    let (status, body) = site.get("/health").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("healthy")));
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
    let (status, body) = site.call(Method::POST, "/api/v1/backup", None, &[]).await;
    assert_eq!((status, body["error"]["details"]["name"].as_str()), (StatusCode::NOT_IMPLEMENTED, Some("NotBuilt")));
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
        .layer(axum::middleware::from_fn_with_state(site.state.clone(), middleware::observe))
        .with_state(site.state.clone());
    let response = tower::ServiceExt::oneshot(router, request(Method::GET, "/boom", None, &[])).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = json(response).await;
    assert_eq!(body["error"]["code"], "LUCID_ERR_5000");
    assert!(!body.to_string().contains("on purpose"));
}

#[test]
fn the_document_lists_routes_and_marks_the_planned() {
    let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["paths"]["/api/v1/backup"]["post"]["x-planned"], true);
    assert!(document["paths"]["/health"]["get"].is_object());
    assert!(document["paths"]["/api/v1/events"]["get"]["x-planned"].is_null());
    assert!(document["components"]["schemas"]["ErrorBody"].is_object());
}
