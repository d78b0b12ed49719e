//! What is kept of a node's view is what would be made anew, after every kind of change.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::read_tests::World;
use crate::domain::alert::Severity;
use crate::domain::audit::Act;
use crate::domain::credits::Epoch;
use crate::domain::ids::Incarnation;
use crate::domain::metrics::Sample;
use crate::domain::money::Pico;
use crate::domain::node::Node;
use crate::domain::poot::Window;
use crate::domain::refusal::Refusal;
use crate::domain::workload::{WorkloadReport, WorkloadState};
use crate::storage::core::tables::NODES;
use crate::storage::core::{alerts, ledger, nodes};
use crate::storage::table::WriteTx;
use crate::wire::{Item, PROTOCOL, Report};

struct Watched {
    world: World,
    shown: Value,
}

impl Watched {
    /// The node as list and detail show it: the same, twice from what is kept and once made anew. It differs from what was shown before.
    async fn changed(&mut self, what: &str) {
        let path = format!("/nodes/{}", self.world.node.id);
        let look = async || {
            let (status, detail) = self.world.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{what}: {detail}");
            let list = self.world.get("/nodes?limit=100").await.1;
            let row = list["nodes"].as_array().unwrap().iter().find(|row| row["node_id"] == detail["node_id"]).unwrap().clone();
            assert_eq!(row, detail, "{what}");
            detail
        };
        let kept = look().await;
        assert_eq!(look().await, kept, "{what}");
        self.world.site.state.node_rows.forget();
        assert_eq!(look().await, kept, "{what}");
        assert_ne!(kept, self.shown, "{what}");
        self.shown = kept;
    }

    async fn asks(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("/api/v1{path}").replace("{id}", self.world.node.id.as_str());
        let (status, answer) = self.world.site.as_bearer(&self.world.root, method, &path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    fn reports(&self, seq: u64, capabilities: &[&str], workload: Option<WorkloadReport>) {
        let (store, node, now) = (&self.world.site.state.store, &self.world.node, self.world.site.state.now());
        let mut sample = Sample::default();
        sample.cpu.usage_percent = Some(50.0);
        let report = Report {
            protocol: PROTOCOL,
            incarnation: Incarnation(1),
            seq,
            run: Some(store.intake.run),
            items: vec![Item { seq, age_ms: 0, witness: None, running: None, sample }],
            fingerprint: Default::default(),
            agent_version: String::new(),
            dropped: 0,
            workload,
            head: None,
            contradicts: None,
            capabilities: capabilities.iter().map(|text| (*text).to_owned()).collect(),
        };
        store.intake.accept(node.index, &node.id, &report, &[0; 32], &|_| true, now).unwrap();
    }
}

#[tokio::test]
async fn what_is_kept_of_a_node_is_what_would_be_made_anew() {
    let mut node = Watched { world: World::new().await, shown: Value::Null };
    node.changed("nothing").await;
    let attic = node.asks(Method::POST, "/nodes/pools", json!({"name": "attic"})).await["pool_id"].clone();
    let changes = [
        json!({"name": "renamed"}),
        json!({"node_type": "storage"}),
        json!({"location": {"region": "eu", "country": "NZ"}}),
        json!({"configuration": {"max_sessions": 7}}),
        json!({"status": "maintenance"}),
        json!({"status": "active"}),
        json!({"status": "inactive"}),
        json!({"pool_id": attic}),
    ];
    for change in changes {
        // Also of a change that is undone: the time of it differs.
        node.world.site.driver.advance_ms(1_000);
        let answer = node.asks(Method::PUT, "/nodes/{id}", change.clone()).await;
        node.changed(&change.to_string()).await;
        assert_eq!(answer, node.shown, "who wrote it is shown the same: {change}");
    }
    let pool = format!("/nodes/pools/{}", attic.as_str().unwrap());
    node.asks(Method::PUT, &pool, json!({"name": "loft"})).await;
    node.changed("the pool's name").await;
    node.asks(Method::PUT, "/nodes/{id}", json!({"status": "active"})).await;
    node.changed("active again").await;

    node.reports(1, &[], None);
    node.changed("a report").await;
    node.reports(2, &["supervisor"], Some(WorkloadReport::default()));
    node.changed("what the agent can do").await;
    let starting = WorkloadReport { configured: true, state: WorkloadState::Starting, ..WorkloadReport::default() };
    node.reports(3, &["supervisor", "cgroup2"], Some(starting));
    node.changed("a workload").await;
    node.asks(Method::POST, "/nodes/{id}/stop", json!({})).await;
    node.changed("a command").await;
    node.world.site.driver.advance_ms(600_000);
    node.changed("silence").await;

    let store = node.world.site.state.store.clone();
    let index = node.world.node.index;
    let told = move |tx: &mut WriteTx<'_>| {
        let hardware = crate::storage::core::testing::hardware();
        let record = nodes::by_index(tx, index)?.ok_or(Refusal::NodeNotFound)?;
        tx.put(NODES, &index.0, &Node { hardware: Some(hardware), ..record })
    };
    store.write(told).await.unwrap();
    node.changed("what the machine is").await;
    let share = node.asks(Method::POST, "/nodes/{id}/resources/allocate", json!({"name": "one", "memory_bytes": 1_000_000})).await;
    node.changed("an allocation").await;
    let share = format!("/nodes/{{id}}/resources/allocations/{}", share["allocation_id"].as_str().or(share["id"].as_str()).unwrap());
    node.asks(Method::DELETE, &share, Value::Null).await;
    node.changed("no allocation").await;

    let now = node.world.site.state.now();
    let subject = node.world.node.id.to_string();
    store.write(move |tx| alerts::raise(tx, "test", &subject, Severity::Warning, "a test", now.wall)).await.unwrap();
    node.changed("an alert").await;
    let epoch = Epoch(node.world.node.created_at.slot().0);
    node.world.close_epoch(epoch, Window { proven: 120, observed: 120, interruptions: 0 }, Pico(1_500_000)).await;
    node.changed("an epoch").await;
    let posted = ledger::Accrued { through: epoch, ..ledger::Accrued::default() };
    store.write(move |tx| ledger::put_accrued(tx, index, &posted)).await.unwrap();
    node.changed("its accruals are posted").await;
    let owed = node.world.node.clone();
    node.world.owe(&owed, 7_000).await;
    node.changed("something is owed").await;
    node.world.owe(&owed, -7_000).await;
    node.changed("nothing is owed").await;

    let (act, directory, id) = (Act::system(now), store.directory.clone(), node.world.node.id.clone());
    store.write(move |tx| nodes::delete(tx, &directory, &act, &id, false)).await.unwrap();
    let (status, _) = node.world.get(&format!("/nodes/{}", node.world.node.id)).await;
    assert_eq!((status, node.world.get("/nodes").await.1["pagination"]["total"].clone()), (StatusCode::NOT_FOUND, json!(1)));
}
