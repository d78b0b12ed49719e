//! The fleet through the router, over a cluster that is made up.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::fleet::{FleetReader, FleetReads, QUEUE};
use super::testing::{Site, T};
use super::wallet::Pending;
use crate::domain::refusal::Refusal;
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::fleet::{Count, ManagerSeen, NodeFilter, NodeSeen, Part, Slice, Summary, Whose};
use crate::domain::time::Timestamp;

/// What becomes of a question.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    Away,
    Refused,
    Silent,
}

/// Keeps what it was asked.
struct Made {
    fate: Fate,
    own: Mutex<String>,
    asked: Mutex<Vec<String>>,
}

impl Made {
    fn new(fate: Fate) -> Arc<Made> {
        Arc::new(Made { fate, own: Mutex::default(), asked: Mutex::default() })
    }

    fn answer<T: Send + 'static>(&self, asked: String, answer: T) -> Pending<'_, Result<T, Trouble>> {
        self.asked.lock().unwrap().push(asked);
        let fate = self.fate;
        Box::pin(async move {
            match fate {
                Fate::Fine => Ok(answer),
                Fate::Away => Err(Trouble::Away("no route to mongodb://ada:secret@10.0.0.7".into())),
                Fate::Refused => Err(Trouble::Refused("ada may not read".into())),
                Fate::Silent => pending().await,
            }
        })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn count(name: Option<&str>, count: u64) -> Count {
    Count { name: name.map(str::to_owned), count }
}

fn other() -> ManagerSeen {
    ManagerSeen { id: "manager_zz".into(), region: None, version: None, seen_at: None, has_ended: None, whole_at: None, nodes: 0 }
}

impl FleetReader for Made {
    fn managers<'a>(&'a self, region: Option<&'a str>, slice: &'a Slice) -> Pending<'a, Result<Part<ManagerSeen>, Trouble>> {
        let own = ManagerSeen {
            id: self.own.lock().unwrap().clone(),
            region: Some("attic".into()),
            version: Some("0.1.0".into()),
            seen_at: Some(T),
            has_ended: Some(false),
            whole_at: Some(Timestamp(T.0 - 1_000)),
            nodes: 2,
        };
        self.answer(format!("managers {region:?} {slice:?}"), Part { rows: vec![own, other()], next: Some("manager_zz".into()) })
    }

    fn nodes<'a>(&'a self, filter: &'a NodeFilter, slice: &'a Slice) -> Pending<'a, Result<Part<NodeSeen>, Trouble>> {
        let unknown = NodeSeen {
            id: "manager_zz/nodes/00".into(),
            manager: Some("manager_zz".into()),
            region: None,
            node_id: None,
            name: None,
            node_type: None,
            pool: None,
            status: None,
            detailed_status: None,
            score: None,
            last_heartbeat: None,
            seen_at: None,
        };
        let own = NodeSeen {
            manager: Some(self.own.lock().unwrap().clone()),
            node_id: Some("node_1".into()),
            status: Some("active".into()),
            score: Some(93.5),
            last_heartbeat: Some(T),
            seen_at: Some(T),
            ..unknown.clone()
        };
        self.answer(format!("{filter:?} {slice:?}"), Part { rows: vec![own, unknown], next: None })
    }

    fn summary<'a>(&'a self, whose: &'a Whose) -> Pending<'a, Result<Summary, Trouble>> {
        let summary = Summary {
            managers_by_region: vec![count(Some("attic"), 2), count(Some("empty"), 1)],
            nodes_by_region: vec![count(Some("attic"), 5), count(None, 1)],
            nodes_by_status: vec![count(Some("active"), 4), count(None, 2)],
        };
        self.answer(format!("{whose:?}"), summary)
    }
}

const PATHS: [&str; 3] = ["managers", "nodes", "summary"];

async fn get(site: &Site, token: &str, path: &str) -> (StatusCode, Value) {
    site.as_bearer(token, Method::GET, &format!("/api/v1/fleet/{path}"), None).await
}

fn name(body: &Value) -> &str {
    body["error"]["details"]["name"].as_str().unwrap_or_default()
}

async fn beside(made: &Arc<Made>) -> (Site, String) {
    let site = Site::beside(Arc::clone(made) as Arc<dyn FleetReader>);
    *made.own.lock().unwrap() = site.state.store.manager_id.as_str().to_owned();
    let root = site.set_up().await;
    let viewer = site.person(&root, "vera", "viewer").await;
    (site, viewer)
}

#[tokio::test]
async fn without_a_cluster_there_is_no_fleet() {
    let site = Site::new();
    let root = site.set_up().await;
    for path in PATHS {
        let (status, body) = get(&site, &root, path).await;
        assert_eq!((status, name(&body)), (StatusCode::CONFLICT, "ReplicationNotConfigured"), "{path}");
        assert_eq!(site.get(&format!("/api/v1/fleet/{path}")).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn it_is_told_as_the_cluster_has_it_and_what_that_does_not_say_is_null() {
    let made = Made::new(Fate::Fine);
    let (site, viewer) = beside(&made).await;
    let own = site.state.store.manager_id.as_str();
    let (status, body) = get(&site, &viewer, "managers").await;
    assert_eq!(
        (status, &body["next_cursor"], &body["as_of"]),
        (StatusCode::OK, &json!("manager_zz"), &json!(site.state.now().wall.rfc3339()))
    );
    let expected = json!([
        { "manager_id": own, "is_this": true, "region": "attic", "version": "0.1.0", "seen_at": T.rfc3339(), "has_ended": false,
          "whole_at": Timestamp(T.0 - 1_000).rfc3339(), "nodes": 2 },
        { "manager_id": "manager_zz", "is_this": false, "region": null, "version": null, "seen_at": null, "has_ended": null, "whole_at": null, "nodes": 0 },
    ]);
    assert_eq!(body["managers"], expected);

    let (_, body) = get(&site, &viewer, "nodes").await;
    let nodes = body["nodes"].as_array().unwrap();
    let told = |at: usize, field: &str| nodes[at][field].clone();
    assert_eq!((told(0, "is_own"), told(0, "node_id"), told(0, "poot_score")), (json!(true), json!("node_1"), json!(93.5)));
    assert_eq!(
        (told(1, "is_own"), told(1, "name"), told(1, "poot_score"), told(1, "seen_at")),
        (json!(false), Value::Null, Value::Null, Value::Null)
    );
    assert_eq!((nodes.len(), &body["next_cursor"]), (2, &Value::Null));

    let (_, body) = get(&site, &viewer, "summary").await;
    assert_eq!((&body["managers"], &body["nodes"]), (&json!(3), &json!(6)));
    assert_eq!(body["by_status"], json!([{ "name": "active", "nodes": 4 }, { "name": null, "nodes": 2 }]));
    let regions = json!([
        { "name": null, "managers": 0, "nodes": 1 },
        { "name": "attic", "managers": 2, "nodes": 5 },
        { "name": "empty", "managers": 1, "nodes": 0 },
    ]);
    assert_eq!(body["by_region"], regions);
}

#[tokio::test]
async fn filters_and_pages_reach_the_cluster_checked() {
    let made = Made::new(Fate::Fine);
    let (site, viewer) = beside(&made).await;
    get(&site, &viewer, "managers?region=attic&limit=2&cursor=manager_a").await;
    get(&site, &viewer, "nodes?manager_id=m&region=&status=active&node_type=worker&pool_id=pool_other").await;
    get(&site, &viewer, "summary?manager_id=m&region=r").await;
    let slice = |after: Option<&str>, limit| Slice { after: after.map(str::to_owned), limit };
    let some = |text: &str| Some(text.to_owned());
    let filter = NodeFilter {
        whose: Whose { manager: some("m"), region: None },
        status: some("active"),
        node_type: some("worker"),
        pool: some("pool_other"),
    };
    let expected = [
        format!("managers {:?} {:?}", Some("attic"), slice(Some("manager_a"), 2)),
        format!("{filter:?} {:?}", slice(None, 20)),
        format!("{:?}", Whose { manager: some("m"), region: some("r") }),
    ];
    assert_eq!(made.asked(), expected);

    let long = "x".repeat(201);
    for (query, fields) in [
        ("managers?limit=0", &["limit"][..]),
        (&format!("managers?cursor={long}"), &["cursor"]),
        ("nodes?status=starting&node_type=x&pool_id=none&limit=101", &["limit", "node_type", "pool_id", "status"]),
        (&format!("nodes?manager_id={long}&region=a%0Ab"), &["manager_id", "region"]),
        ("summary?region=%00", &["region"]),
    ] {
        let (status, body) = get(&site, &viewer, query).await;
        let mut wrong: Vec<&str> =
            body["error"]["details"]["fields"].as_array().unwrap().iter().filter_map(|of| of["field"].as_str()).collect();
        wrong.sort_unstable();
        assert_eq!((status, wrong.as_slice()), (StatusCode::BAD_REQUEST, fields), "{query}: {body}");
    }
    assert_eq!(made.asked(), Vec::<String>::new(), "nothing of it got there");
}

#[tokio::test]
async fn a_cluster_that_is_away_or_refuses_is_said_without_what_it_is_called() {
    for fate in [Fate::Away, Fate::Refused] {
        let (site, viewer) = beside(&Made::new(fate)).await;
        for path in PATHS {
            let (status, body) = get(&site, &viewer, path).await;
            assert_eq!((status, name(&body)), (StatusCode::SERVICE_UNAVAILABLE, "FleetUnreachable"), "{path}");
            assert!(body["error"]["details"]["retry_after"].is_u64() && !body.to_string().contains("ada"), "{body}");
        }
    }
}

/// One that says nothing is given up in time, and those who wait for their turn with it; who finds the queue full is told so at once.
#[tokio::test]
async fn a_cluster_that_is_silent_is_asked_once_at_a_time_and_not_for_long() {
    let made = Made::new(Fate::Silent);
    let reads = FleetReads::new(Some(Arc::clone(&made) as Arc<dyn FleetReader>), Duration::from_millis(200));
    let whose = Whose::default();
    let ask = || reads.read(|cluster| cluster.summary(&whose));
    // All of them are under way before any of them ends.
    let mut asking: Vec<_> = (0..QUEUE + 2).map(|_| Box::pin(ask())).collect();
    let mut now = std::task::Context::from_waker(std::task::Waker::noop());
    let answers: Vec<Poll<Result<Summary, Refusal>>> = asking.iter_mut().map(|asked| asked.as_mut().poll(&mut now)).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ready()).count(), 1);
    assert_eq!(answers.last(), Some(&Poll::Ready(Err(Refusal::FleetBusy))));
    asking.pop();
    for asked in asking {
        assert_eq!(asked.await, Err(Refusal::FleetUnreachable));
    }
    assert!(!made.asked().is_empty());
    assert_eq!(ask().await, Err(Refusal::FleetUnreachable), "the queue is empty again");
}
