//! Lists: their filters, orders and pages, and what they refuse.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::testing::Site;

struct Lists {
    site: Site,
    token: String,
}

impl Lists {
    async fn new() -> Lists {
        let site = Site::new();
        let token = site.set_up().await;
        Lists { site, token }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.site.as_bearer(&self.token, Method::POST, &format!("/api/v1{path}"), Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        // So that no two rows are made or changed at the same time.
        self.site.driver.advance_ms(1_000);
        answer
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.site.as_bearer(&self.token, Method::GET, &format!("/api/v1{path}"), None).await
    }

    /// One field of each row, in the order of the list.
    async fn of(&self, path: &str, list: &str, field: &str) -> Vec<String> {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        let rows = answer[list].as_array().unwrap();
        assert_eq!(answer["pagination"]["total"], rows.len(), "{path}");
        rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
    }

    /// The parameters that are named in a refusal of `path`.
    async fn refused(&self, path: &str) -> Vec<String> {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        let fields = answer["error"]["details"]["fields"].as_array().unwrap().iter();
        fields.map(|field| field["field"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn nodes_are_found_and_ordered() {
    let lists = Lists::new().await;
    let pool = lists.post("/nodes/pools", json!({"name": "attic"})).await["pool_id"].as_str().unwrap().to_owned();
    for (name, kind) in [("bravo", "worker"), ("Alpha", "validator"), ("charlie", "worker")] {
        lists.post("/nodes", json!({"name": name, "node_type": kind, "initial_pool_id": pool})).await;
    }
    lists.post("/nodes", json!({"name": "delta", "node_type": "storage"})).await;
    let bravo = lists.get("/nodes?search=bravo").await.1["nodes"][0]["node_id"].as_str().unwrap().to_owned();
    let change = Some(json!({"status": "inactive"}));
    lists.site.as_bearer(&lists.token, Method::PUT, &format!("/api/v1/nodes/{bravo}"), change).await;

    let names = async |query: &str| lists.of(&format!("/nodes?{query}"), "nodes", "name").await;
    assert_eq!(names("").await, ["bravo", "Alpha", "charlie", "delta"]);
    assert_eq!(names("order=desc").await, ["delta", "charlie", "Alpha", "bravo"]);
    assert_eq!(names("sort=name").await, ["Alpha", "bravo", "charlie", "delta"]);
    assert_eq!(names("sort=updated_at&order=desc").await[0], "bravo");
    assert_eq!(names("sort=status").await[0], "bravo", "inactive comes before starting");
    assert_eq!(names("sort=poot_score").await.len(), 4);
    assert_eq!(names("node_type=worker&sort=name").await, ["bravo", "charlie"]);
    assert_eq!(names(&format!("pool_id={pool}&order=desc")).await, ["charlie", "Alpha", "bravo"]);
    assert_eq!(names("status=inactive").await, ["bravo"]);
    assert_eq!(names("search=ALPHA").await, ["Alpha"]);
    assert_eq!(names(&format!("search={bravo}")).await, ["bravo"]);
    assert_eq!(names("search=nowhere").await, Vec::<String>::new());

    let (_, page) = lists.get("/nodes?sort=name&limit=2&page=2").await;
    assert_eq!((page["nodes"][0]["name"].as_str(), page["pagination"]["pages"].as_u64()), (Some("charlie"), Some(2)));
    let (_, beyond) = lists.get("/nodes?page=100000&limit=100").await;
    assert_eq!((beyond["nodes"].as_array().unwrap().len(), beyond["pagination"]["total"].as_u64()), (0, Some(4)));
    assert_eq!(lists.get("/nodes?pool_id=pool_nowhere").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pools_people_and_tokens_are_found_and_ordered() {
    let lists = Lists::new().await;
    let attic = lists.post("/nodes/pools", json!({"name": "attic", "description": "Under the roof"})).await;
    lists.post("/nodes/pools", json!({"name": "cellar"})).await;
    lists.post("/nodes", json!({"name": "one", "node_type": "worker", "initial_pool_id": attic["pool_id"]})).await;
    for path in ["/nodes/pools", "/pools"] {
        let names = async |query: &str| lists.of(&format!("{path}?{query}"), "pools", "name").await;
        assert_eq!(names("").await, ["default", "attic", "cellar"]);
        assert_eq!(names("sort=name&order=desc").await, ["default", "cellar", "attic"]);
        assert_eq!(names("sort=node_count&order=desc").await[0], "attic");
        assert_eq!(names("search=roof").await, ["attic"]);
        assert_eq!(names("auto_scaling=true").await, Vec::<String>::new());
        assert_eq!(names("auto_scaling=false").await.len(), 3);
    }
    for (name, role) in [("zoe", "viewer"), ("Ben", "operator")] {
        lists.site.person(&lists.token, name, role).await;
        lists.site.driver.advance_ms(1_000);
    }
    let names = async |query: &str| lists.of(&format!("/users?{query}"), "users", "username").await;
    assert_eq!(names("").await, ["root", "zoe", "Ben"]);
    assert_eq!(names("sort=name").await, ["Ben", "root", "zoe"]);
    assert_eq!(names("role=viewer").await, ["zoe"]);
    assert_eq!(names("status=disabled").await, Vec::<String>::new());
    assert_eq!(names("search=BE").await, ["Ben"]);

    let mut ids = Vec::new();
    for seconds in [7_200, 60, 3_600] {
        ids.push(lists.post("/enrolment-tokens", json!({"expires_in_seconds": seconds})).await["id"].as_str().unwrap().to_owned());
    }
    let (first, second, third) = (ids[0].clone(), ids[1].clone(), ids[2].clone());
    lists.site.as_bearer(&lists.token, Method::DELETE, &format!("/api/v1/enrolment-tokens/{third}"), None).await;
    lists.site.driver.advance_ms(60_000);
    let of = async |query: &str| lists.of(&format!("/enrolment-tokens?{query}"), "enrolment_tokens", "id").await;
    assert_eq!(of("").await, [third.clone(), second.clone(), first.clone()], "newest first");
    assert_eq!(of("order=asc").await[0], first);
    assert_eq!(of("sort=expires_at&order=asc").await, [second.clone(), third.clone(), first.clone()]);
    assert_eq!(of("status=open").await, std::slice::from_ref(&first));
    assert_eq!(of("status=expired").await, [second]);
    assert_eq!(of("status=revoked").await, [third]);
    assert_eq!(of("status=used").await, Vec::<String>::new());
    assert_eq!(of("pool_id=pool_default").await.len(), 3);
    assert_eq!(of(&format!("search={first}")).await, [first]);
}

#[tokio::test]
async fn every_wrong_parameter_of_a_list_is_named() {
    let lists = Lists::new().await;
    let long = "x".repeat(101);
    let cases = [
        ("/nodes", "status=asleep&node_type=toaster&pool_id=x&sort=colour&order=up", "status node_type pool_id sort order"),
        ("/nodes/pools", "auto_scaling=maybe&sort=colour&order=up", "sort order auto_scaling"),
        ("/users", "role=king&status=asleep&sort=colour&order=up", "role status sort order"),
        ("/enrolment-tokens", "status=asleep&pool_id=x&sort=colour&order=up", "status pool_id sort order"),
        ("/nodes/payouts/history", "status=asleep&settlement=x&currency=EUR&order=up&sort=amount", "status settlement currency order sort"),
    ];
    for (path, query, fields) in cases {
        assert_eq!(lists.refused(&format!("{path}?{query}")).await, fields.split(' ').collect::<Vec<_>>());
        assert_eq!(lists.refused(&format!("{path}?page=0&limit=101")).await, ["page", "limit"], "{path}");
        assert_eq!(lists.refused(&format!("{path}?colour=red&pages=2&page=1")).await, ["colour", "pages"], "{path}");
        if path != "/nodes/payouts/history" {
            assert_eq!(lists.refused(&format!("{path}?search={long}")).await, ["search"], "{path}");
        }
    }
    // A route that takes no parameters, and one that is not there.
    assert_eq!(lists.refused("/about?verbose=1").await, ["verbose"]);
    assert_eq!(lists.get("/nowhere?x=1").await.0, StatusCode::NOT_FOUND);
    let names: Vec<String> = (0..30).map(|n| format!("p{n}=1")).collect();
    assert_eq!(lists.refused(&format!("/nodes?{}", names.join("&"))).await.len(), 30);
}
