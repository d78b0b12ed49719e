//! The real agent and the workload of `examples/answering` answer a challenge of a real manager, whose clock stands where this test puts it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lucid::domain::evidence::Beacons;
use lucid::domain::ids::NodeId;
use lucid::domain::time::{SLOT_MS, Slot, Timestamp};
use lucid::storage::Secrets;
use serde_json::{Value, json};

use crate::support::binary::{BINARY, Process, eventually, start_manager};
use crate::support::client::Client;

const START: Timestamp = Timestamp(1_790_000_000_000 / 86_400_000 * 86_400_000);

/// target/debug/deps/integration-... -> target/debug/examples/NAME
fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let binary = deps.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(binary.exists(), "{} is built by `cargo test`", binary.display());
    binary
}

fn set_clock(file: &Path, at: Timestamp) {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{} {}\n", at.0, at.0 - START.0 + 60_000)).unwrap();
    std::fs::rename(next, file).unwrap();
}

fn agent(config: &Path) -> Process {
    Process(Command::new(BINARY).args(["agent", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

#[tokio::test]
async fn a_workload_answers_its_challenge_through_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let (data, clock, state) = (dir.path().join("data"), dir.path().join("clock"), dir.path().join("state"));
    set_clock(&clock, START);
    let mut command = Command::new(example("timelapse"));
    command.arg("--data-dir").arg(&data).arg("--clock").arg(&clock);
    command.envs([("LUCID__LOG__LEVEL", "error"), ("LUCID__LOG__MAX_FILES", "0")]);
    let manager = start_manager(command);
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data.join("setup-code")).unwrap();
    client.set_up(code.trim(), None).await;
    client.put("/nodes/pools/pool_default", json!({ "outputs_expected": true })).await;

    let token = client.post("/enrolment-tokens", json!({ "uses": 1, "expires_in_seconds": 3600 })).await;
    let (token_file, config) = (dir.path().join("token"), dir.path().join("agent.toml"));
    std::fs::write(&token_file, token["token"].as_str().unwrap()).unwrap();
    let text = format!(
        "manager = {:?}\ntoken_file = {token_file:?}\nstate_dir = {state:?}\n[workload]\ncommand = [{:?}]\nstop_with_agent = true\n",
        manager.base,
        example("answering")
    );
    std::fs::write(&config, text).unwrap();
    let mut first = agent(&config);
    let id = eventually("the node", async || {
        let nodes = client.get("/nodes").await;
        let node = nodes["nodes"].as_array().unwrap().first().filter(|node| node["latest"].is_object())?;
        Some(node["node_id"].as_str().unwrap().to_owned())
    })
    .await;
    assert_eq!(std::fs::metadata(state.join("agent.sock")).unwrap().permissions().mode() & 0o777, 0o600);
    first.terminate();

    // The next epoch: the manager's clock goes to the slot in which this node is challenged, and its agent reports with its start.
    let beacons = Beacons::new(Secrets::load(&data).unwrap().unwrap().beacon);
    let node = NodeId::parse(&id).unwrap();
    let first_slot = Slot(u32::try_from(START.0 / SLOT_MS).unwrap()).plus(20);
    let slot = (0..10).map(|n| first_slot.plus(n)).find(|slot| beacons.challenges(&node, *slot)).unwrap();
    set_clock(&clock, slot.start().plus_ms(5_000));
    let mut second = agent(&config);
    let answered: Value = eventually("an answer that counts", async || {
        let list = client.get(&format!("/nodes/{id}/poot/validations")).await;
        list["validations"].as_array().unwrap().iter().find(|row| row["counted"] == true).cloned()
    })
    .await;
    assert_eq!((answered["challenge_slot"].as_u64(), answered["is_valid"].as_bool()), (Some(u64::from(slot.0)), Some(true)), "{answered}");
    let printed = eventually("what the workload was told", async || {
        let log = std::fs::read_to_string(state.join("workload.log")).unwrap_or_default();
        log.contains("\"counted\":true").then_some(log)
    })
    .await;
    assert!(printed.contains(answered["validation_id"].as_str().unwrap()), "{printed}");
    second.terminate();
}
