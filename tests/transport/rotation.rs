//! The real agent and a manager whose key is replaced by the real command: it follows, over TLS and over plain HTTP, and is the same node.

use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::{browser, certificate};
use crate::support::binary::{self, BINARY, eventually};
use crate::support::client::Client;

fn rotate(data_dir: &Path) {
    let output = Command::new(BINARY).args(["keys", "rotate", "--data-dir"]).arg(data_dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// With `server.tls` as named, always at the same address.
fn manager(data_dir: &Path, tls: &str, listen: &str) -> binary::Manager {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(data_dir);
    command.env("LUCID__SERVER__TLS", tls).env("LUCID__CLOCK__TRUST", "always");
    binary::start_manager(command)
}

/// What `node.json` of the agent says.
fn pinned(state_dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(state_dir.join("node.json")).ok()?).ok()
}

async fn an_agent_follows(tls: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, state_dir) = (dir.path().join("manager"), dir.path().join("agent"));
    let mut running = manager(&data_dir, tls, "127.0.0.1:0");
    let base = running.base.clone();
    let listen = base.split("//").nth(1).unwrap().to_owned();
    let person = |base: &str| match tls {
        "required" => Client::over(base, browser(certificate(&data_dir))),
        _ => Client::new(base),
    };
    let mut admin = person(&base);
    let code = fs::read_to_string(data_dir.join("setup-code")).unwrap();
    admin.set_up(code.trim(), None).await;
    let token = admin.post("/enrolment-tokens", json!({ "uses": 1 })).await["token"].as_str().unwrap().to_owned();
    let mut agent = binary::start_agent(&base, &state_dir, "follower", &token);
    eventually("the node", async || (admin.get("/nodes").await["pagination"]["total"] == 1).then_some(())).await;
    let before = pinned(&state_dir).unwrap();

    // Once while it runs, then twice while it is away.
    for (rotations, restarts) in [(1, false), (2, true)] {
        assert!(running.process.terminate().success());
        if restarts {
            assert!(agent.terminate().success());
        }
        (0..rotations).for_each(|_| rotate(&data_dir));
        running = manager(&data_dir, tls, &listen);
        if restarts {
            agent = binary::start_agent(&base, &state_dir, "follower", "");
        }
        // The connection of before ends with the first question.
        let asked = async || admin.attempt(Method::GET, "/poot/manager-key", None).await.map(|(_, present)| present);
        let present = eventually("the manager's keys", asked).await;
        eventually("the agent to follow", async || {
            pinned(&state_dir).filter(|kept| kept["manager_key"] == present["public_key"] && kept["successions"] == present["successions"])
        })
        .await;
    }
    let after = pinned(&state_dir).unwrap();
    assert_eq!(after["successions"].as_array().unwrap().len(), 3);
    assert_eq!((&after["node_id"], &after["fingerprint_salt"]), (&before["node_id"], &before["fingerprint_salt"]));
    // It is heard, and looks like the machine that it was.
    let id = before["node_id"].as_str().unwrap();
    eventually("a report under the new key", async || (admin.get(&format!("/nodes/{id}")).await["status"] == "active").then_some(())).await;
    let alerts = admin.get("/alerts?limit=100").await;
    assert!(alerts["alerts"].as_array().unwrap().iter().all(|alert| alert["kind"] != "key_on_other_hardware"), "{alerts}");
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn an_agent_follows_replaced_keys_over_tls() {
    an_agent_follows("required").await;
}

#[tokio::test]
async fn an_agent_follows_replaced_keys_over_plain_http() {
    an_agent_follows("off").await;
}
