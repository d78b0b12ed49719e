//! Commands to nodes: asked for over HTTP, delivered with the answer to a report or to a request that waits, and how they end. On a driven clock,
//! with agents that only say what a supervisor would.

use lucid::domain::metrics::Sample;
use lucid::domain::node::Wanted;
use lucid::domain::workload::{WorkloadReport, WorkloadState};
use lucid::live::Job;
use lucid::wire::ReportAnswer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::error_name;
use crate::support::fleet::Node;
use crate::support::site::Site;

async fn site(dir: &tempfile::TempDir) -> Site {
    Site::new(dir.path().join("data"), &[]).await
}

/// A node with a workload that runs, heard in two slots.
async fn at_work(site: &Site, name: &str) -> Node {
    let mut node = site.enrol(name).await;
    node.workload = Some(WorkloadReport { configured: true, state: WorkloadState::Running, ..WorkloadReport::default() });
    report(site, &mut node).await;
    report(site, &mut node).await;
    node
}

async fn report(site: &Site, node: &mut Node) -> ReportAnswer {
    site.next_slot(5_000);
    node.report(site.now_ms(), Sample::default()).await.expect("the report is answered")
}

async fn ask(site: &Site, node: &Node, action: &str) -> (StatusCode, Value) {
    site.client.call(Method::POST, &format!("/nodes/{}/{action}", node.id), None).await
}

async fn commands(site: &Site, node: &Node) -> Vec<(String, String)> {
    let body = site.client.get(&format!("/nodes/{}/commands", node.id)).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["commands"].as_array().unwrap().iter().map(|c| (text(&c["action"]), text(&c["state"]))).collect()
}

async fn status(site: &Site, node: &Node) -> String {
    site.client.get(&format!("/nodes/{}", node.id)).await["status"].as_str().unwrap().to_owned()
}

/// The letters of the newest slots, the present one last.
async fn letters(site: &Site, node: &Node, count: usize) -> String {
    let uptime = site.client.get(&format!("/nodes/{}/poot/uptime", node.id)).await;
    let states = uptime["slots"]["states"].as_str().unwrap();
    states[states.len() - count..].to_owned()
}

#[tokio::test]
async fn a_stop_is_delivered_carried_out_and_proves_no_slot_until_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "worker").await;
    assert_eq!((status(&site, &node).await.as_str(), letters(&site, &node, 1).await.as_str()), ("active", "p"));
    let (code, started) = ask(&site, &node, "start").await;
    assert_eq!((code, &started["command"]), (StatusCode::OK, &Value::Null), "it runs already");
    assert!(started["started_at"].is_string());

    let (code, stopped) = ask(&site, &node, "stop").await;
    assert_eq!((code, stopped["command"]["state"].as_str()), (StatusCode::ACCEPTED, Some("pending")), "{stopped}");
    assert_eq!((stopped["status"].as_str(), stopped["command"]["wanted"].as_str()), (Some("stopping"), Some("stopped")));
    assert!(stopped["stopped_at"].is_string());
    let (again, same) = ask(&site, &node, "stop").await;
    assert_eq!((again, &same["command"]["id"]), (StatusCode::ACCEPTED, &stopped["command"]["id"]), "the one under way");

    let answer = report(&site, &mut node).await;
    let order = answer.command.expect("the order comes with the answer");
    assert_eq!((order.wanted, order.revision, order.restart_count, answer.pending), (Wanted::Stopped, 1, 0, true));
    assert!(order.deadline_ms.is_some_and(|ms| (500_000..=600_000).contains(&ms)));
    assert_eq!(commands(&site, &node).await, [("stop".into(), "delivered".into())]);
    assert_eq!(letters(&site, &node, 1).await, "a", "it was heard, and is not wanted at work: not proven");

    // It takes it over, and says so at once.
    node.follow(&order, WorkloadState::Stopping);
    let under_way = node.ask(0).await.unwrap();
    assert_eq!((under_way.command, under_way.pending), (None, true));
    node.follow(&order, WorkloadState::Stopped);
    let done = node.ask(55_000).await.unwrap();
    assert!(!done.pending, "nothing to wait for any more");
    assert_eq!(commands(&site, &node).await, [("stop".into(), "done".into())]);
    assert_eq!(status(&site, &node).await, "inactive");
    let (code, nothing) = ask(&site, &node, "stop").await;
    assert_eq!((code, &nothing["command"]), (StatusCode::OK, &Value::Null));

    assert_eq!(report(&site, &mut node).await.command, None, "it has the order");
    assert_eq!(letters(&site, &node, 1).await, "a");
    let (code, _) = ask(&site, &node, "start").await;
    assert_eq!(code, StatusCode::ACCEPTED);
    let order = report(&site, &mut node).await.command.unwrap();
    assert_eq!(letters(&site, &node, 1).await, "a", "wanted, and not running yet");
    node.follow(&order, WorkloadState::Running);
    assert!(!report(&site, &mut node).await.pending);
    assert_eq!((letters(&site, &node, 1).await.as_str(), status(&site, &node).await.as_str()), ("p", "active"));
    let workload = &site.client.get(&format!("/nodes/{}", node.id)).await["workload"];
    assert_eq!((workload["state"].as_str(), workload["revision"].as_u64()), (Some("running"), Some(2)), "{workload}");
}

#[tokio::test]
async fn an_order_reaches_a_node_that_waits_at_once_and_a_failure_has_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "worker").await;
    let (_, restart) = ask(&site, &node, "restart").await;
    assert_eq!((restart["command"]["action"].as_str(), restart["command"]["wanted"].as_str()), (Some("restart"), Some("running")));
    let order = report(&site, &mut node).await.command.unwrap();
    assert_eq!((order.wanted, order.restart_count), (Wanted::Running, 1));
    node.follow(&order, WorkloadState::Stopping);
    // While it restarts, somebody asks for a stop: the request that waits is answered with it.
    let id = node.id.clone();
    let (waited, stopped) = tokio::join!(node.ask(55_000), async {
        let mut open = false;
        while !open {
            tokio::task::yield_now().await;
            open = site.app.store.intake.workload(lucid::domain::ids::NodeIndex(0)).is_some_and(|w| w.report.revision == 1);
        }
        site.client.post(&format!("/nodes/{id}/stop"), Value::Null).await
    });
    let order = waited.unwrap().command.expect("the stop");
    assert_eq!((order.wanted, order.revision), (Wanted::Stopped, 2));
    assert_eq!(stopped["command"]["wanted_revision"].as_u64(), Some(2));
    assert_eq!(commands(&site, &node).await, [("stop".into(), "delivered".into()), ("restart".into(), "expired".into())]);

    node.follow(&order, WorkloadState::Stopped);
    node.ask(0).await.unwrap();
    ask(&site, &node, "start").await;
    let order = node.ask(0).await.unwrap().command.unwrap();
    node.follow(&order, WorkloadState::Failed);
    node.workload.as_mut().unwrap().reason = Some("it could not be started: no such file".into());
    assert!(!node.ask(0).await.unwrap().pending);
    let newest = &site.client.get(&format!("/nodes/{}/commands?limit=1", node.id)).await["commands"][0];
    assert_eq!((newest["state"].as_str(), newest["outcome"].as_str()), (Some("failed"), Some("it could not be started: no such file")));
    assert_eq!(status(&site, &node).await, "error");
    // What failed can be asked for again although it is wanted already.
    let (code, again) = ask(&site, &node, "start").await;
    assert_eq!((code, again["command"]["wanted_revision"].as_u64()), (StatusCode::ACCEPTED, Some(4)));
}

#[tokio::test]
async fn a_node_that_is_away_keeps_what_is_wanted_when_its_command_expires() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "away").await;
    ask(&site, &node, "stop").await;
    site.driver.advance_ms(599_000);
    site.app.context.run(Job::Silence).await.unwrap();
    assert_eq!(commands(&site, &node).await, [("stop".into(), "pending".into())]);
    site.driver.advance_ms(2_000);
    site.app.context.run(Job::Silence).await.unwrap();
    assert_eq!(commands(&site, &node).await, [("stop".into(), "expired".into())]);
    let node_view = site.client.get(&format!("/nodes/{}", node.id)).await;
    assert_eq!(node_view["wanted"].as_str(), Some("stopped"), "what is wanted stands");
    // It survives a crash of the manager too.
    let site = site.crash().await;
    node.rebase(&site.client.base);
    let order = report(&site, &mut node).await.command.expect("it is told when it comes");
    assert_eq!((order.wanted, order.deadline_ms), (Wanted::Stopped, None));
    node.follow(&order, WorkloadState::Stopped);
    report(&site, &mut node).await;
    assert_eq!(commands(&site, &node).await, [("stop".into(), "expired".into())], "what ended stays ended");
    // A node that no agent has claimed waits for one.
    let made = site.client.post("/nodes", json!({ "name": "made", "node_type": "worker" })).await;
    let path = format!("/nodes/{}/stop", made["node_id"].as_str().unwrap());
    assert_eq!(site.client.call(Method::POST, &path, None).await.0, StatusCode::ACCEPTED);
    let (code, nobody) = site.client.call(Method::POST, "/nodes/node_nobody_at_all/restart", None).await;
    assert_eq!((code, error_name(&nobody)), (StatusCode::NOT_FOUND, "NodeNotFound"));
}

#[tokio::test]
async fn bulk_actions_and_the_status_go_through_the_same_commands() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let (mut one, mut old) = (at_work(&site, "one").await, site.enrol("old").await);
    report(&site, &mut old).await;
    let body = json!({ "action": "stop", "node_ids": [one.id.as_str(), old.id.as_str()] });
    site.client.post("/nodes/actions", body).await;
    let order = report(&site, &mut one).await.command.unwrap();
    one.follow(&order, WorkloadState::Stopped);
    one.ask(0).await.unwrap();
    // An agent without a supervisor says nothing of it; what is wanted binds all the same.
    old.report(site.now_ms(), Sample::default()).await.unwrap();
    assert_eq!(commands(&site, &old).await, [("stop".into(), "failed".into())]);
    report(&site, &mut old).await;
    assert_eq!(letters(&site, &old, 1).await, "a");
    site.client.put(&format!("/nodes/{}", one.id), json!({ "status": "active" })).await;
    assert_eq!(commands(&site, &one).await, [("start".into(), "pending".into()), ("stop".into(), "done".into())]);
    site.client.put(&format!("/nodes/{}", one.id), json!({ "status": "active", "name": "uno" })).await;
    assert_eq!(commands(&site, &one).await.len(), 2, "nothing new is wanted");
}

#[tokio::test]
async fn limits_are_ordered_and_what_is_said_of_them_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "limited").await;
    let limits = json!({ "configuration": { "resource_limits": { "cpu_percent": 25, "memory_bytes": 1_000_000 } } });
    site.client.put(&format!("/nodes/{}", node.id), limits).await;
    let answer = report(&site, &mut node).await;
    let order = answer.command.expect("new limits are an order too");
    assert_eq!((order.revision, order.limits.cpu_hundredths, answer.pending), (0, Some(2_500), false));
    node.follow(&order, WorkloadState::Running);
    node.workload.as_mut().unwrap().limits = serde_json::from_value(json!([
        { "resource": "cpu", "limit": 2_500, "enforcement": "cgroup" },
        { "resource": "memory", "limit": 1_000_000, "enforcement": "none", "reason": "cgroup_disable=memory" },
    ]))
    .unwrap();
    assert_eq!(report(&site, &mut node).await.command, None);
    let shown = site.client.get(&format!("/nodes/{}", node.id)).await;
    assert_eq!(
        shown["workload"]["limits"][0],
        json!({ "resource": "cpu", "limit": 25.0, "unit": "percent", "enforcement": "cgroup", "reason": null })
    );
    assert_eq!(shown["workload"]["limits"][1]["reason"].as_str(), Some("cgroup_disable=memory"));
    assert_eq!(shown["capabilities"], json!(["cores:4", "memory_gb:4", "supervisor"]), "its hardware's and its agent's");
    site.client.post("/nodes", json!({ "name": "made", "node_type": "worker" })).await;
    for capability in ["cores:4", "Supervisor"] {
        let found = site.client.get(&format!("/nodes?capability={capability}")).await;
        assert_eq!((found["nodes"].as_array().unwrap().len(), &found["nodes"][0]["name"]), (1, &json!("limited")), "{capability}");
    }
    assert_eq!(site.client.get("/nodes?capability=cgroup2").await["nodes"], json!([]));
}

#[tokio::test]
async fn what_is_allocated_is_what_the_supervisor_is_told_to_hold_the_workload_to() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "shared").await;
    let limits = json!({ "configuration": { "resource_limits": { "cpu_percent": 60, "disk_bytes": 9_000_000_000_u64 } } });
    site.client.put(&format!("/nodes/{}", node.id), limits).await;
    let path = format!("/nodes/{}/resources", node.id);
    let told = async |site: &Site, node: &mut Node| {
        let order = report(site, node).await.command.expect("other limits are an order");
        node.follow(&order, WorkloadState::Running);
        assert_eq!(report(site, node).await.command, None, "it has them");
        let limits = order.limits;
        (limits.cpu_hundredths, limits.memory_bytes, limits.disk_bytes, limits.network_kbps)
    };
    assert_eq!(told(&site, &mut node).await, (Some(6_000), None, Some(9_000_000_000), None), "as configured");
    let first = json!({ "name": "first", "cpu_percent": 12.5, "memory_bytes": 1_000_000_000, "network_mbps": 10 });
    let first = site.client.post(&format!("{path}/allocate"), first).await;
    assert_eq!(told(&site, &mut node).await, (Some(1_250), Some(1_000_000_000), Some(9_000_000_000), Some(10_000)));
    site.client.post(&format!("{path}/allocate"), json!({ "name": "second", "cpu_percent": 30, "memory_bytes": 5_000 })).await;
    let sum = (Some(4_250), Some(1_000_005_000), Some(9_000_000_000), Some(10_000));
    assert_eq!(told(&site, &mut node).await, sum);
    // A change of the node's record forgets none of it, nor does a restart of the manager.
    site.client.put(&format!("/nodes/{}", node.id), json!({ "name": "renamed" })).await;
    assert_eq!(report(&site, &mut node).await.command, None);
    let site = site.crash().await;
    node.rebase(&site.client.base);
    assert_eq!(report(&site, &mut node).await.command, None, "the same after a crash");
    let tighter = json!({ "configuration": { "resource_limits": { "cpu_percent": 20 } } });
    site.client.put(&format!("/nodes/{}", node.id), tighter).await;
    assert_eq!(told(&site, &mut node).await, (Some(2_000), Some(1_000_005_000), None, Some(10_000)), "the tighter of both");
    let gone = site.client.call(Method::DELETE, &format!("{path}/allocations/{}", first["id"].as_str().unwrap()), None).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert_eq!(told(&site, &mut node).await, (Some(2_000), Some(5_000), None, None), "given back");
}

#[tokio::test]
async fn the_history_tells_what_was_asked_by_whom_and_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "worker").await;
    ask(&site, &node, "restart").await;
    let order = report(&site, &mut node).await.command.unwrap();
    node.follow(&order, WorkloadState::Running);
    report(&site, &mut node).await;
    ask(&site, &node, "stop").await;
    ask(&site, &node, "start").await;
    let order = report(&site, &mut node).await.command.unwrap();
    node.follow(&order, WorkloadState::Failed);
    node.workload.as_mut().unwrap().reason = Some("no such file".into());
    report(&site, &mut node).await;
    ask(&site, &node, "start").await;
    site.driver.advance_ms(601_000);
    site.app.context.run(Job::Silence).await.unwrap();
    let history = site.client.get(&format!("/nodes/{}/history?category=command&order=asc", node.id)).await;
    let told: Vec<(&str, &str)> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["by"]["name"], json!(crate::support::client::USERNAME), "{entry}");
            (entry["kind"].as_str().unwrap(), entry["detail"].as_str().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("commanded", "restart"),
        ("command_done", "restart: the workload runs"),
        ("stopped", ""),
        ("started", ""),
        ("command_expired", "stop: a newer command took its place: 3"),
        ("command_failed", "start: no such file"),
        ("commanded", "start"),
    ];
    assert_eq!(told[..7], expected, "{told:?}");
    assert_eq!((told.len(), told[7].0), (8, "command_expired"));
    let newest = &site.client.get(&format!("/nodes/{}/commands?limit=1", node.id)).await["commands"][0];
    assert_eq!(newest["by_name"], json!(crate::support::client::USERNAME));
}

async fn alerts(site: &Site) -> Vec<(String, String)> {
    site.app.context.run(Job::Silence).await.unwrap();
    let body = site.client.get("/alerts?kind=workload_failed").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["alerts"].as_array().unwrap().iter().map(|alert| (text(&alert["state"]), text(&alert["message"]))).collect()
}

/// Reports in which the workload is in `state`, for that long.
async fn says(site: &Site, node: &mut Node, state: WorkloadState, seconds: u64) {
    let workload = node.workload.as_mut().unwrap();
    (workload.state, workload.since_ms) = (state, seconds * 1_000);
    report(site, node).await;
}

#[tokio::test]
async fn a_workload_that_fails_for_long_is_alerted_about_until_it_runs_in_peace() {
    use WorkloadState::{BackingOff, Failed, Running, Starting};
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "attic").await;
    let (none, commits) = ([] as [(String, String); 0], site.app.store.core.commits());
    // It runs for seconds between its ends, and that is no peace.
    for _ in 0..3 {
        says(&site, &mut node, BackingOff, 1).await;
        says(&site, &mut node, Running, 20).await;
        says(&site, &mut node, Starting, 0).await;
        assert_eq!(alerts(&site).await, none);
    }
    node.workload.as_mut().unwrap().reason = Some("it ended with status 3".into());
    says(&site, &mut node, BackingOff, 1).await;
    assert_eq!((alerts(&site).await, site.app.store.core.commits()), (none.to_vec(), commits), "nothing is written meanwhile");
    says(&site, &mut node, BackingOff, 31).await;
    let told = |state: &str, what: &str| vec![(state.to_owned(), format!("attic: {what}: it ended with status 3"))];
    let again = "its workload ends again and again";
    assert_eq!(alerts(&site).await, told("open", again));
    // It survives a restart, in which nobody knows how long it lasts, and the silence of its node.
    let site = site.crash().await;
    node.rebase(&site.client.base);
    assert_eq!(alerts(&site).await, told("open", again));
    says(&site, &mut node, Running, 20).await;
    assert_eq!(alerts(&site).await, told("open", again));
    let commits = site.app.store.core.commits();
    assert_eq!((alerts(&site).await, site.app.store.core.commits()), (told("open", again), commits));
    for _ in 0..12 {
        site.next_slot(5_000);
    }
    assert_eq!(alerts(&site).await, told("unknown", again));
    says(&site, &mut node, BackingOff, 1).await;
    assert_eq!(alerts(&site).await, told("open", again));
    says(&site, &mut node, Running, 60).await;
    assert_eq!(alerts(&site).await, told("resolved", again));

    // What is not tried again by itself is alerted about at once, until nobody wants it to run.
    says(&site, &mut node, Failed, 0).await;
    let failed = "its workload failed and is not tried again by itself";
    assert_eq!(alerts(&site).await[..1], told("open", failed));
    assert_eq!(site.client.get(&format!("/nodes/{}", node.id)).await["open_alerts"], 1);
    ask(&site, &node, "stop").await;
    assert_eq!(alerts(&site).await[..1], told("resolved", failed));
    // Whoever works at a node in maintenance knows.
    site.client.put(&format!("/nodes/{}", node.id), json!({ "status": "active" })).await;
    site.client.put(&format!("/nodes/{}", node.id), json!({ "status": "maintenance" })).await;
    says(&site, &mut node, Failed, 0).await;
    assert_eq!(alerts(&site).await.len(), 2);
    site.client.put(&format!("/nodes/{}", node.id), json!({ "status": "active" })).await;
    says(&site, &mut node, Failed, 30).await;
    assert_eq!(alerts(&site).await.len(), 3);
    assert_eq!(alerts(&site).await[0].0, "open");
    // One that never worked is owed nothing, and takes its alert with it.
    let mut other = site.enrol("other").await;
    other.workload = Some(WorkloadReport { configured: true, state: Failed, ..WorkloadReport::default() });
    report(&site, &mut other).await;
    assert_eq!(alerts(&site).await[0], ("open".into(), format!("other: {failed}")));
    let (gone, body) = site.client.call(Method::DELETE, &format!("/nodes/{}", other.id), None).await;
    assert!(gone.is_success(), "{body}");
    assert_eq!(alerts(&site).await[0], ("resolved".into(), format!("other: {failed}")));
}

#[tokio::test]
async fn a_workload_that_ended_well_is_inactive_and_not_starting() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "once").await;
    ask(&site, &node, "restart").await;
    let order = report(&site, &mut node).await.command.unwrap();
    // Policy `never` or `on_failure`: it ran, and ended with status 0.
    node.follow(&order, WorkloadState::Stopped);
    report(&site, &mut node).await;
    assert_eq!(commands(&site, &node).await[0].1, "done");
    assert_eq!(status(&site, &node).await, "inactive");
    assert_eq!(site.client.get("/nodes?status=inactive").await["pagination"]["total"], 1);
    assert_eq!(alerts(&site).await, []);
    // Asked to start, it is starting from the moment on, and not only when the node has heard of it.
    let (code, started) = ask(&site, &node, "start").await;
    assert_eq!((code, started["status"].as_str()), (StatusCode::ACCEPTED, Some("starting")));
    let order = report(&site, &mut node).await.command.unwrap();
    node.follow(&order, WorkloadState::Running);
    report(&site, &mut node).await;
    assert_eq!(status(&site, &node).await, "active");
}

#[tokio::test]
async fn what_a_supervisor_says_is_believed_once_and_only_from_the_present_agent() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "worker").await;
    node.ask(0).await.unwrap();
    node.number -= 1;
    let (code, replayed) = node.ask(0).await.unwrap_err();
    assert_eq!((code, error_name(&replayed)), (StatusCode::CONFLICT, "ReportReplayed"));
    node.incarnation.0 += 1_000_000;
    assert_eq!(error_name(&node.ask(0).await.unwrap_err().1), "ReportReplayed", "an agent whose report was not accepted");
    node.incarnation.0 -= 1_000_000;
    let (status, _, body) = node
        .raw(
            lucid::wire::PATH_COMMANDS,
            &serde_json::to_vec(&json!({ "protocol": 1, "incarnation": node.incarnation, "number": 99, "workload": {} })).unwrap(),
            "00",
        )
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, error_name(&body)), (StatusCode::UNAUTHORIZED, "SignatureForged"));
    assert!(node.ask(0).await.is_ok(), "the right one is taken as before");
}

#[tokio::test]
async fn after_a_crash_only_slots_in_which_it_worked_are_proven_again() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(&dir).await;
    let mut node = at_work(&site, "worker").await;
    site.run_cycles().await;
    node.report(site.now_ms(), Sample::default()).await.unwrap();
    report(&site, &mut node).await;
    node.held.last_mut().unwrap().0.running = Some(true);
    node.workload.as_mut().unwrap().state = WorkloadState::BackingOff;
    report(&site, &mut node).await;
    node.held.last_mut().unwrap().0.running = Some(false);
    assert_eq!(letters(&site, &node, 2).await, "pa");
    let site = site.crash().await;
    node.rebase(&site.client.base);
    node.workload.as_mut().unwrap().state = WorkloadState::Running;
    report(&site, &mut node).await;
    assert_eq!(letters(&site, &node, 3).await, "pap");
}
