//! Who sets what an hour costs and earns, through the router.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::testing::{PASSWORD, Site};
use crate::storage::core::{audit, pools};

type Answer = (StatusCode, Value);

fn name(answer: &Answer) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["error"]["details"]["name"].as_str().unwrap_or("-"))
}

const EDGE: &str = "/nodes/pools";
const NOT_ALLOWED: (u16, &str) = (403, "PriceNotAllowed");
const NOT_FRESH: (u16, &str) = (403, "FreshFactorNeeded");

struct Priced {
    site: Site,
    root: String,
    operator: String,
    /// Of the pool `edge` and of the default pool.
    paths: [String; 2],
}

impl Priced {
    async fn new() -> Priced {
        let site = Site::new();
        let root = site.set_up().await;
        let operator = site.person(&root, "olga", "operator").await;
        let made = site.as_bearer(&root, Method::POST, "/api/v1/nodes/pools", Some(json!({"name": "edge"}))).await;
        let paths = [made.1["pool_id"].as_str().unwrap(), "pool_default"].map(|id| format!("/nodes/pools/{id}"));
        Priced { site, root, operator, paths }
    }

    async fn send(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        self.site.as_bearer(token, method, &format!("/api/v1{path}"), Some(body)).await
    }

    async fn program(&self, role: &str) -> String {
        let body = json!({"name": role, "role": role, "expires_in_days": 30});
        self.send(&self.root, Method::POST, "/tokens", body).await.1["token"].as_str().unwrap().to_owned()
    }

    /// What must stay as it is: the pools, and that no change is in the audit log.
    fn state(&self) -> (Vec<crate::domain::pool::Pool>, usize) {
        let read = self.site.state.store.read().unwrap();
        let log = audit::page(&read, 0, 100).unwrap();
        (pools::list(&read).unwrap(), log.iter().filter(|entry| entry.draft.operation.starts_with("pool.")).count())
    }
}

/// Every way to ask for another price.
fn prices() -> [Value; 4] {
    [
        json!({"reward_per_hour": "1000"}),
        json!({"cost_per_hour": "0.050001"}),
        json!({"reward_per_hour": 0}),
        json!({"cost_per_hour": "0.05", "reward_per_hour": "0.06", "currency": "USDT"}),
    ]
}

#[tokio::test]
async fn neither_an_operator_nor_a_program_sets_a_price() {
    let p = Priced::new().await;
    let before = p.state();
    for token in [p.operator.clone(), p.program("operator").await, p.program("admin").await] {
        for pricing in prices() {
            for path in &p.paths {
                let answer = p.send(&token, Method::PUT, path, json!({"description": "dear", "pricing": pricing})).await;
                assert_eq!(name(&answer), NOT_ALLOWED, "{path} {pricing}");
                assert!(answer.1["error"]["message"].as_str().unwrap().contains("pool:price"), "{}", answer.1);
            }
            let answer = p.send(&token, Method::POST, EDGE, json!({"name": "dear", "pricing": pricing})).await;
            assert_eq!(name(&answer), NOT_ALLOWED, "{pricing}");
        }
        let lucid = json!({"name": "dear", "pricing": {"cost_per_hour": "0.05", "currency": "LUCID"}});
        assert_eq!(name(&p.send(&token, Method::POST, EDGE, lucid).await), NOT_ALLOWED);
    }
    assert_eq!(p.state(), before);
    let asked = json!({"name": "pricer", "role": "admin", "expires_in_days": 1, "scopes": ["pool:price"]});
    assert_eq!(p.send(&p.root, Method::POST, "/tokens", asked).await.0, StatusCode::BAD_REQUEST, "for people only");
}

#[tokio::test]
async fn an_operator_changes_the_rest_of_a_pool_and_may_send_the_price_it_has() {
    let p = Priced::new().await;
    let (pools_before, _) = p.state();
    let same = json!({"cost_per_hour": "0.050000", "reward_per_hour": 0.05, "currency": "USDT"});
    for (n, path) in p.paths.iter().enumerate() {
        let (status, shown) = p.send(&p.operator, Method::PUT, path, json!({"max_nodes": 7 + n, "pricing": same})).await;
        assert_eq!((status, &shown["max_nodes"]), (StatusCode::OK, &json!(7 + n)), "{shown}");
        assert_eq!(shown["pricing"], json!({"cost_per_hour": "0.05", "reward_per_hour": "0.05", "currency": "USDT"}), "no new price");
        assert_eq!(p.send(&p.operator, Method::PUT, path, json!({"description": "theirs"})).await.0, StatusCode::OK);
    }
    for (pool, before) in p.state().0.iter().zip(&pools_before) {
        assert_eq!(pool.pricing, before.pricing);
    }
    for body in [
        json!({"name": "plain"}),
        json!({"name": "said", "pricing": same}),
        json!({"name": "half", "pricing": {"reward_per_hour": "0.05"}}),
    ] {
        assert_eq!(p.send(&p.operator, Method::POST, EDGE, body.clone()).await.0, StatusCode::CREATED, "{body}");
    }
}

#[tokio::test]
async fn an_admin_sets_a_price_with_a_fresh_factor() {
    let p = Priced::new().await;
    let admin = p.site.person(&p.root, "anna", "admin").await;
    p.site.driver.advance_ms(300_000);
    let before = p.state();
    for pricing in prices() {
        for path in &p.paths {
            assert_eq!(name(&p.send(&admin, Method::PUT, path, json!({"pricing": pricing})).await), NOT_FRESH, "{pricing}");
        }
        assert_eq!(name(&p.send(&admin, Method::POST, EDGE, json!({"name": "dear", "pricing": pricing})).await), NOT_FRESH, "{pricing}");
    }
    assert_eq!(p.state(), before);
    assert_eq!(p.send(&admin, Method::PUT, &p.paths[0], json!({"description": "no price"})).await.0, StatusCode::OK);

    assert_eq!(p.send(&admin, Method::POST, "/auth/confirm", json!({"password": PASSWORD})).await.0, StatusCode::OK);
    for path in &p.paths {
        let (status, shown) = p.send(&admin, Method::PUT, path, json!({"pricing": {"reward_per_hour": "0.06"}})).await;
        assert_eq!((status, &shown["pricing"]["reward_per_hour"]), (StatusCode::OK, &json!("0.06")), "{shown}");
        assert!(shown["pricing"]["in_force_from"].is_string(), "{shown}");
        // The price before is another one now.
        let back = p.send(&p.operator, Method::PUT, path, json!({"pricing": {"reward_per_hour": "0.05"}})).await;
        assert_eq!(name(&back), NOT_ALLOWED);
    }
    let dear = json!({"name": "dear", "pricing": {"cost_per_hour": "2", "currency": "LUCID"}});
    assert_eq!(p.send(&admin, Method::POST, EDGE, dear).await.0, StatusCode::CREATED);
    let setting = json!([{"key": "default_pool.reward_per_hour", "value": "9"}]);
    let answer = p.send(&admin, Method::PUT, "/settings", setting).await;
    assert!(answer.0.is_client_error(), "the settings' price is for new stores only: {answer:?}");
}
