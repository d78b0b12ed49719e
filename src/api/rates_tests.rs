//! Rates, through the router.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::middleware::Peer;
use super::testing::{PASSWORD, Site, json as body_of, request};

/// A request that comes from `address`.
fn from(address: &str, method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = request(method, path, body, headers);
    request.extensions_mut().insert(Peer(format!("{address}:9").parse().unwrap()));
    request
}

async fn get(site: &Site, address: &str, path: &str, token: Option<&str>) -> (StatusCode, HeaderMap, Value) {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let response = site.send(from(address, Method::GET, path, None, &headers)).await;
    (response.status(), response.headers().clone(), body_of(response).await)
}

fn header(headers: &HeaderMap, name: &str) -> u32 {
    headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap().parse().unwrap()
}

fn standing(headers: &HeaderMap) -> (u32, u32, u32) {
    (header(headers, "x-ratelimit-limit"), header(headers, "x-ratelimit-remaining"), header(headers, "x-ratelimit-reset"))
}

#[tokio::test]
async fn every_answer_says_how_the_rate_stands() {
    let site = Site::new();
    let token = site.set_up().await;
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/nodes", Some(&token)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::OK, (10_000, 9_999, 1)));
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/nodes/node_unknown0", Some(&token)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::NOT_FOUND, (10_000, 9_998, 1)));
    let viewer = site.person(&token, "vera", "viewer").await;
    let (status, headers, _) = get(&site, "10.0.0.1", "/api/v1/users", Some(&viewer)).await;
    assert_eq!((status, standing(&headers)), (StatusCode::FORBIDDEN, (1_000, 999, 1)), "who is refused is still known");
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nodes", None).await;
    assert_eq!((status, standing(&headers)), (StatusCode::UNAUTHORIZED, (100, 99, 1)));
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nodes", Some("forged")).await;
    assert_eq!((status, standing(&headers)), (StatusCode::UNAUTHORIZED, (100, 98, 2)), "what proves nothing is the address's");
    let (status, headers, _) = get(&site, "10.0.0.2", "/api/v1/nothing", Some(&token)).await;
    assert_eq!((status, standing(&headers).0), (StatusCode::NOT_FOUND, 100));
    let (status, headers, _) = get(&site, "10.0.0.2", "/health/live", None).await;
    assert_eq!((status, standing(&headers).0), (StatusCode::OK, 2_000));
}

#[tokio::test]
async fn a_visitor_waits_after_a_hundred_requests_and_those_signed_in_beside_them_do_not() {
    let site = Site::new();
    let token = site.set_up().await;
    for n in 0..150 {
        let credentials = (n % 2 == 0).then_some("forged");
        let (status, headers, body) = get(&site, "10.0.0.9", "/api/v1/nodes", credentials).await;
        if n < 100 {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        } else {
            assert_eq!((status, standing(&headers)), (StatusCode::TOO_MANY_REQUESTS, (100, 0, 60)));
            assert_eq!(header(&headers, "retry-after"), 1);
            assert_eq!(
                (body["error"]["details"]["retry_after"].as_u64(), body["error"]["code"].as_str()),
                (Some(1), Some("LUCID_ERR_4291"))
            );
        }
    }
    let login = json!({"username": "root", "password": PASSWORD});
    let login = site.send(from("10.0.0.9", Method::POST, "/api/v1/auth/login", Some(login), &[("cookie", "lucid_session=stale")])).await;
    assert_eq!(login.status(), StatusCode::TOO_MANY_REQUESTS, "a cookie is no way around it");
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/nodes", Some(&token)).await.0, StatusCode::OK);
    assert_eq!(get(&site, "10.0.0.9", "/", None).await.0, get(&site, "10.0.0.8", "/", None).await.0, "the UI still loads");
    assert_eq!(get(&site, "10.0.0.10", "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED, "another address");
    site.driver.advance_ms(1_000);
    assert_eq!(get(&site, "10.0.0.9", "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    for host in 0..150 {
        let status = get(&site, &format!("[2001:db8::{host:x}]"), "/api/v1/nodes", None).await.0;
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, host >= 100, "one host owns all of a /64");
    }
}

#[tokio::test]
async fn what_makes_work_or_moves_money_has_tighter_limits_and_reading_it_has_not() {
    let site = Site::new();
    let token = site.set_up().await;
    let call = async |method: &Method, path: &str| {
        let authorization = format!("Bearer {token}");
        let body = (*method == Method::POST).then(|| json!({}));
        let response = site.send(from("10.0.0.1", method.clone(), path, body, &[("authorization", &authorization)])).await;
        (response.status(), standing(response.headers()).0)
    };
    for n in 0..60 {
        let (status, limit) = call(&Method::POST, "/api/v1/payouts/process").await;
        assert_eq!((status == StatusCode::TOO_MANY_REQUESTS, limit), (n >= 50, 50));
    }
    for n in 0..110 {
        let (status, limit) = call(&Method::POST, "/api/v1/poot/calculate").await;
        assert_eq!((status == StatusCode::TOO_MANY_REQUESTS, limit), (n >= 100, 100));
    }
    assert_eq!(call(&Method::GET, "/api/v1/nodes/payouts/history").await, (StatusCode::OK, 10_000));
}
