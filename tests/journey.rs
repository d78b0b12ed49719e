//! The whole path with the real binary: setup, sign-in, enrolment, real measurements of this machine, durable evidence, a graceful stop.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::binary::{eventually, serve, start_agent, start_manager};
use crate::support::client::Client;

#[tokio::test]
async fn a_real_agent_reports_this_machine_to_a_real_manager() {
    let dir = tempfile::tempdir().unwrap();
    let (data, state) = (dir.path().join("data"), dir.path().join("agent"));
    let mut manager = start_manager({
        let mut command = serve(&data);
        command.env("LUCID__STORAGE__FLUSH_SECONDS", "5");
        command
    });
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data.join("setup-code")).unwrap();
    let now: lucid::domain::time::Timestamp =
        lucid::clock::Clock::system(lucid::domain::time::TrustPolicy::Always, Default::default()).now().wall;
    client.set_up(code.trim(), Some(now.rfc3339())).await;
    assert!(!data.join("setup-code").exists(), "the code is gone once it is used");
    assert_eq!(client.get("/clock").await["trusted"], true, "the browser's clock vouched for ours");

    let token = client.post("/enrolment-tokens", json!({ "uses": 1 })).await;
    let mut agent = start_agent(&manager.base, &state, "this-machine", token["token"].as_str().unwrap());
    let node = eventually("the node", async || {
        let nodes = client.get("/nodes").await;
        nodes["nodes"].as_array().unwrap().first().filter(|node| node["latest"].is_object()).cloned()
    })
    .await;
    assert_eq!(node["name"].as_str(), Some("this-machine"));
    assert_eq!(node["status"].as_str(), Some("active"), "{node}");
    let id = node["node_id"].as_str().unwrap();

    let resources = eventually("two samples", async || {
        let resources = client.get(&format!("/nodes/{id}/resources")).await;
        resources["current"]["cpu"]["usage_percent"].is_number().then_some(resources)
    })
    .await;
    let current = &resources["current"];
    let memory: u64 = std::fs::read_to_string("/proc/meminfo").unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let reported = current["memory"]["total_bytes"].as_u64().unwrap();
    assert!(reported.abs_diff(memory * 1024) <= 1024, "{reported} is this machine's {memory} KiB");
    assert!(current["disk"]["total_bytes"].as_u64().unwrap() > 0 && current["cpu"]["cores"].as_u64().unwrap() > 0, "{current}");

    let proven = eventually("a proven slot", async || {
        let score = client.get(&format!("/nodes/{id}/poot/score")).await;
        (score["proven_slots"].as_u64() >= Some(1)).then_some(score)
    })
    .await;
    assert_eq!(proven["state"].as_str(), Some("pending"));

    // The manager is killed and comes back on another port; the agent is told where by a restart, and keeps its identity.
    manager.process.kill();
    agent.terminate();
    let mut manager = start_manager(serve(&data));
    let mut client = Client::new(&manager.base);
    client.sign_in(crate::support::client::USERNAME, crate::support::client::PASSWORD).await;
    let agent = start_agent(&manager.base, &state, "this-machine", "");
    eventually("a report after the restart", async || {
        let (status, node) = client.call(Method::GET, &format!("/nodes/{id}"), None).await;
        assert!(status.is_success());
        node["latest"].is_object().then_some(())
    })
    .await;
    assert_eq!(client.get("/nodes").await["pagination"]["total"].as_u64(), Some(1), "the same machine is the same node");
    drop(agent);

    let stopped = tokio::time::timeout(Duration::from_secs(10), tokio::task::spawn_blocking(move || manager.process.terminate())).await;
    assert!(stopped.expect("within 10 s").unwrap().success());
    let verified = std::process::Command::new(crate::support::binary::BINARY).args(["verify", "--data-dir"]).arg(&data).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_second_manager_on_the_same_folder_is_told_why_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let manager = start_manager(serve(dir.path()));
    let second = serve(dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("in use by another process"), "{text}");
    // Who wants to stop the money must not be sent away.
    for verb in [&["status"][..], &["freeze", "--reason", "now"], &["reconcile"], &["unfreeze", "--reason", "now"]] {
        let told = std::process::Command::new(crate::support::binary::BINARY)
            .arg("money")
            .args(verb)
            .arg("--data-dir")
            .arg(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(1), "{text}");
        assert!(text.contains("in use by another process") && text.contains("POST /api/v1/money/freeze"), "{verb:?}: {text}");
    }
    drop(manager);
}
