//! A node that goes silent: its status, its alert, its history and what watchers are told, over restarts and with a fleet that vanishes.

use lucid::domain::metrics::Sample;
use lucid::live::Job;
use serde_json::{Value, json};

use crate::support::fleet::Node;
use crate::support::site::Site;

/// Slots after which silence is certain, and known to be.
const GONE: u32 = 12;

async fn slots(site: &Site, count: u32, nodes: &mut [&mut Node]) {
    for _ in 0..count {
        site.next_slot(5_000);
        for node in nodes.iter_mut() {
            node.report(site.now_ms(), Sample::default()).await.expect("the report is answered");
        }
        site.app.context.run(Job::Silence).await.unwrap();
    }
}

async fn kinds(site: &Site, node: &Node) -> Vec<String> {
    let body = site.client.get(&format!("/nodes/{}/events", node.id)).await;
    body["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

async fn open(site: &Site) -> Vec<(String, String)> {
    let body = site.client.get("/alerts?state=open").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["alerts"].as_array().unwrap().iter().map(|a| (text(&a["kind"]), text(&a["subject"]))).collect()
}

#[tokio::test]
async fn the_manager_says_how_many_of_its_nodes_it_hears() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[("blockchain.url", "http://127.0.0.1:9/")]).await;
    let health = async |site: &Site| {
        let body = site.client.anonymous().get("/health").await;
        assert_eq!(
            body["checks"]["external_services"],
            json!({ "payment_service": "not_configured", "blockchain": "unknown", "mongodb": "not_configured" })
        );
        assert!(!body.to_string().contains("node_") && !body.to_string().contains("127.0.0.1"), "it is public: {body}");
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let nodes = &body["checks"]["nodes"];
        (word(&nodes["status"]), nodes["heard"].as_u64().unwrap(), nodes["expected"].as_u64().unwrap(), word(&body["status"]))
    };
    let mut nodes = Vec::new();
    for n in 0..5 {
        nodes.push(site.enrol(&format!("node-{n}")).await);
    }
    assert_eq!(health(&site).await.2, 0, "who was never heard is not missed");
    slots(&site, GONE, &mut nodes.iter_mut().collect::<Vec<_>>()).await;
    for (heard, status) in [(5, "healthy"), (4, "healthy"), (3, "degraded"), (2, "unhealthy")] {
        slots(&site, GONE, &mut nodes[..heard].iter_mut().collect::<Vec<_>>()).await;
        let (found, count, expected, overall) = health(&site).await;
        assert_eq!((found.as_str(), count, expected), (status, heard as u64, 5));
        assert!(status == "healthy" || overall == "degraded", "never worse: {overall}");
    }
    // Who is to be silent is not missed.
    let resting = nodes[4].id.to_string();
    site.client.put(&format!("/nodes/{resting}"), json!({ "status": "inactive" })).await;
    assert_eq!((health(&site).await.0.as_str(), health(&site).await.2), ("degraded", 4));

    // A manager that was away has heard nobody: nobody had a chance.
    site.app.context.run(Job::Flush).await.unwrap();
    site.driver.advance_ms(3_600_000);
    site = site.crash().await;
    site.next_slot(5_000);
    assert_eq!(health(&site).await.0, "healthy");
    slots(&site, GONE, &mut []).await;
    let (found, heard, expected, _) = health(&site).await;
    assert_eq!((found.as_str(), heard, expected), ("unhealthy", 0, 4), "now they had");
}

#[tokio::test]
async fn a_silent_node_turns_unreachable_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    slots(&site, GONE, &mut [&mut one, &mut two]).await;
    assert_eq!(open(&site).await, []);
    let before = site.app.store.core.commits();
    slots(&site, 10, &mut [&mut one]).await;
    assert_eq!(site.app.store.core.commits(), before, "300 s are not over, and nothing is written");

    let mut live = site.app.context.events.watch(None).live;
    slots(&site, 2, &mut [&mut one]).await;
    let alert = ("node_unreachable".to_owned(), two.id.to_string());
    assert_eq!(open(&site).await, std::slice::from_ref(&alert));
    assert_eq!(site.client.get(&format!("/nodes/{}", two.id)).await["status"], "unreachable");
    assert_eq!(kinds(&site, &two).await[0], "unreachable");
    let mut told = Vec::new();
    while let Ok(event) = live.try_recv() {
        told.push((event.name, serde_json::from_str::<Value>(&event.json).unwrap()));
    }
    assert!(told.contains(&("node", json!({"node_id": two.id, "change": "status"}))), "{told:?}");
    let raised = told.iter().find(|(name, _)| *name == "alert").map(|(_, body)| body.clone()).unwrap();
    assert_eq!((&raised["kind"], &raised["subject"], &raised["change"]), (&json!(alert.0), &json!(alert.1), &json!("raised")));

    let before = site.app.store.core.commits();
    slots(&site, 5, &mut [&mut one]).await;
    assert_eq!(site.app.store.core.commits(), before, "said once");

    // A restart forgets nothing and says nothing twice.
    site.app.context.run(Job::Flush).await.unwrap();
    site = site.crash().await;
    one.rebase(&site.client.base);
    two.rebase(&site.client.base);
    let status = async |node: &Node| site.client.get(&format!("/nodes/{}", node.id)).await["status"].clone();
    assert_eq!(status(&two).await, "unreachable", "a restart does not make it heard");
    assert_eq!(site.client.get("/overview").await["nodes"]["unreachable"], 1);
    assert_eq!(status(&one).await, "active", "of the others silence is not known yet");
    slots(&site, 15, &mut [&mut one]).await;
    assert_eq!(open(&site).await, [alert]);
    assert_eq!(kinds(&site, &two).await.iter().filter(|kind| *kind == "unreachable").count(), 1);

    slots(&site, 1, &mut [&mut one, &mut two]).await;
    assert_eq!(open(&site).await, []);
    assert_eq!(kinds(&site, &two).await, ["back", "unreachable", "enrolled", "created"]);
    assert_eq!(site.client.get("/alerts?state=resolved&severity=warning").await["pagination"]["total"], 1);
    for query in ["state=ajar", "severity=bad"] {
        let (status, body) = site.client.call(reqwest::Method::GET, &format!("/alerts?{query}"), None).await;
        let field = query.split('=').next().unwrap();
        assert_eq!((status.as_u16(), body["error"]["details"]["fields"][0]["field"].as_str()), (400, Some(field)), "{body}");
    }
}

#[tokio::test]
async fn a_stop_excuses_silence() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let (mut one, mut two) = (site.enrol("one").await, site.enrol("two").await);
    slots(&site, GONE, &mut [&mut one, &mut two]).await;
    slots(&site, GONE, &mut [&mut one]).await;
    assert_eq!(open(&site).await.len(), 1);
    site.client.put(&format!("/nodes/{}", two.id), json!({ "status": "inactive" })).await;
    slots(&site, 1, &mut [&mut one]).await;
    assert_eq!(open(&site).await, []);
    assert_eq!(kinds(&site, &two).await[..2], ["stopped", "unreachable"], "stopped is not back");
}

#[tokio::test]
async fn a_fleet_that_vanishes_is_one_alert() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = Vec::new();
    for name in ["one", "two", "three", "four"] {
        nodes.push(site.enrol(name).await);
    }
    let [one, two, three, four] = &mut nodes[..] else { panic!("four nodes") };
    slots(&site, GONE, &mut [one, two, three, four]).await;
    slots(&site, 1, &mut [one, two]).await;
    slots(&site, GONE + 3, &mut []).await;
    assert_eq!(open(&site).await, [("fleet_silent".to_owned(), String::new())]);
    for node in [&*one, two, three, four] {
        assert_eq!(kinds(&site, node).await[0], "unreachable");
    }
    // Two come back; the others get alerts of their own in the slot after.
    slots(&site, 1, &mut [one, two]).await;
    assert_eq!(open(&site).await, []);
    slots(&site, 1, &mut [one, two, three]).await;
    assert_eq!(open(&site).await, [("node_unreachable".to_owned(), four.id.to_string())]);
    assert_eq!(kinds(&site, three).await[0], "back");
}
