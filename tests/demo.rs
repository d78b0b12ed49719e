//! The demo tells a day and serves it: every state that the pages have to show is there, and the store is sound.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;

use lucid::domain::time::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::binary::{BINARY, PATIENCE, Process, eventually};
use crate::support::client::{Client, PASSWORD, USERNAME};

fn demo(data_dir: &Path, args: &[&str]) -> Command {
    // target/debug/deps/integration-... -> target/debug/examples/demo
    let deps = std::env::current_exe().unwrap();
    let binary = deps.ancestors().nth(2).unwrap().join("examples/demo");
    assert!(binary.exists(), "{} is built by `cargo test`", binary.display());
    let mut command = Command::new(binary);
    command.arg("--data-dir").arg(data_dir).args(args);
    command
}

/// A demo that serves, and the lines it prints.
struct Serving {
    process: Process,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    client: Client,
}

impl Serving {
    async fn start(data_dir: &Path, listen: &str) -> Serving {
        let mut command = demo(data_dir, &["--resume", "--listen", listen]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let (process, client) = (Process(child), Client::new(""));
        let mut serving = Serving { process, input, lines, client };
        serving.client = Client::new(serving.until("listening on "));
        serving.client.sign_in(USERNAME, PASSWORD).await;
        serving
    }

    /// What follows `prefix` in the first line that begins with it.
    fn until(&self, prefix: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waited in vain for {prefix:?}"));
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.trim().to_owned();
            }
        }
    }

    fn say(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        self.until(&format!("done {command}"));
    }

    async fn now(&self) -> Timestamp {
        Timestamp::parse_rfc3339(self.client.get("/clock").await["wall"].as_str().unwrap()).unwrap()
    }

    /// Node by name.
    async fn node(&self, name: &str) -> Value {
        let nodes = self.client.get(&format!("/nodes?search={name}")).await;
        nodes["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("{name}: {nodes}")).clone()
    }

    async fn status(&self, name: &str) -> String {
        self.node(name).await["status"].as_str().unwrap().to_owned()
    }

    /// All rows of a list.
    async fn all(&self, path: &str, rows: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for page in 1.. {
            let answer = self.client.get(&format!("{path}?limit=100&page={page}")).await;
            all.extend(answer[rows].as_array().unwrap().iter().cloned());
            if answer["pagination"]["has_next"] != true {
                break;
            }
        }
        all
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

fn text_or_none<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_day_has_every_state_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let filled = demo(&data, &["--days", "1", "--nodes", "20", "--fill-only"]).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    assert!(String::from_utf8_lossy(&filled.stdout).starts_with("seed "), "the seed is printed");
    let again = demo(&data, &["--fill-only"]).output().unwrap();
    assert!(!again.status.success(), "a store is not filled twice");
    let verified = Command::new(BINARY).args(["verify", "--data-dir"]).arg(&data).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let mut serving = Serving::start(&data, "127.0.0.1:0").await;
    look_at_states(&serving).await;
    look_at_money(&serving).await;
    look_at_measurements(&serving).await;

    // A node goes silent, and only this one.
    assert_eq!(serving.status("rack-01").await, "active");
    serving.say("silence rack-01");
    serving.say("advance 420");
    assert_eq!((serving.status("rack-01").await, serving.status("rack-02").await), ("unreachable".into(), "active".into()));

    // Killed and started again, the clock keeps its lead and the silent node its silence.
    let before = serving.now().await;
    let (base, process) = (serving.client.base.clone(), &mut serving.process);
    process.kill();
    let mut serving = Serving::start(&data, base.trim_start_matches("http://")).await;
    assert!(serving.now().await >= before, "{before}");
    eventually("the others' reports", async || serving.node("rack-02").await["latest"].is_object().then_some(())).await;
    assert!(serving.node("rack-01").await["latest"].is_null());
    serving.say("wake rack-01");
    eventually("a report of the woken node", async || serving.node("rack-01").await["latest"].is_object().then_some(())).await;
    assert!(serving.process.terminate().success());
}

async fn look_at_states(serving: &Serving) {
    let status = [
        ("pi5-kitchen", "active"),
        ("pi4-balcony", "inactive"),
        ("pi4-garage", "maintenance"),
        ("pi4-summerhouse", "unreachable"),
        ("pi4-spare", "starting"),
    ];
    for (name, expected) in status {
        assert_eq!(serving.status(name).await, expected, "{name}");
    }
    for (name, expected) in [("pi5-kitchen", "valid"), ("pi5-new", "pending"), ("pi4-shed", "invalid")] {
        let node = serving.node(name).await;
        let score = serving.client.get(&format!("/nodes/{}/poot/score", text(&node, "node_id"))).await;
        assert_eq!(score["state"], expected, "{name}: {score}");
    }
    let alerts = serving.all("/alerts", "alerts").await;
    let of = |open: bool| {
        let kinds = alerts.iter().filter(|alert| alert["resolved_at"].is_null() == open).map(|alert| text(alert, "kind"));
        kinds.collect::<BTreeSet<_>>()
    };
    assert!(of(true).is_superset(&["fingerprint_drift", "key_on_other_hardware", "node_unreachable"].into()), "{:?}", of(true));
    assert!(of(false).is_superset(&["fingerprint_drift", "fleet_silent"].into()), "{:?}", of(false));
    assert_eq!(serving.client.get("/setup/steps").await["finished"], true);
    for (username, role) in [("alan", "admin"), ("grace", "operator"), ("vera", "viewer")] {
        let mut person = serving.client.anonymous();
        person.sign_in(username, PASSWORD).await;
        assert_eq!(person.get("/auth/me").await["user"]["role"], role, "{username}");
    }
}

async fn look_at_money(serving: &Serving) {
    let payouts = serving.all("/nodes/payouts/history", "payouts").await;
    let states: BTreeSet<(&str, bool)> = payouts.iter().map(|p| (text(p, "status"), p["review_reason"].is_string())).collect();
    let every =
        [("pending", false), ("processing", false), ("processing", true), ("completed", false), ("failed", false), ("cancelled", false)];
    assert_eq!(states, every.into(), "{payouts:#?}");
    assert!(payouts.iter().all(|payout| payout["settlement"] == "simulated"));
    assert!(payouts.iter().any(|payout| text_or_none(payout, "review_reason").contains("contradict")), "{payouts:#?}");
    eventually("a payout that waits for a second admin", async || {
        let approval = serving.client.get("/payouts/approvals").await;
        approval["digest"].is_string().then_some(())
    })
    .await;
    let wallet = eventually("a look at the wallet", async || {
        let wallet = serving.client.get("/wallet").await;
        wallet["reading"].is_object().then_some(wallet)
    })
    .await;
    assert_eq!((&wallet["reading"]["usdt"], &wallet["signer"]["unlocked"]), (&json!("4200"), &json!(true)), "{wallet}");
    let batches = serving.all("/nodes/payouts/batches", "batches").await;
    assert!(batches.iter().any(|batch| batch["schedule_id"].is_string()), "{batches:#?}");
    assert!(batches.iter().any(|batch| batch["status"] == "processing" && batch["completed"] != 0), "{batches:#?}");
    let schedules = serving.all("/nodes/payouts/schedule", "schedules").await;
    let ahead = |of: &Value| of["next_runs"].as_array().map_or(0, Vec::len);
    assert_eq!((schedules.len(), schedules.iter().filter(|of| ahead(of) > 0).count()), (3, 1), "{schedules:#?}");
    assert!(schedules.iter().any(|of| of["runs"][0]["left_out"][0]["node_name"].is_string()), "{schedules:#?}");
    let address = serving.client.get(&format!("/nodes/{}/payout-address", text(&serving.node("pi5-desk").await, "node_id"))).await;
    assert_eq!(address["cooling_down"], true, "{address}");
    let none = format!("/nodes/{}/payout-address", text(&serving.node("pi4-cellar").await, "node_id"));
    assert_eq!(serving.client.call(reqwest::Method::GET, &none, None).await.0, StatusCode::NOT_FOUND);
    let balances = serving.client.get("/ledger/balances").await;
    assert!(balances["books"].as_array().unwrap().iter().all(|book| book["sum"] == "0"), "{balances}");
}

async fn look_at_measurements(serving: &Serving) {
    let epochs = serving.all("/poot/epochs", "epochs").await;
    assert_eq!(epochs.iter().filter(|epoch| epoch["gap"] == true).count(), 1, "the manager was away once");
    let series = async |name: &str| {
        let id = text(&serving.node(name).await, "node_id").to_owned();
        serving.client.get(&format!("/nodes/{id}/resources?time_range=24h")).await["series"].as_array().unwrap().clone()
    };
    // The rack kept what it measured while the manager had no power; the house was dark.
    let (rack, house) = (series("rack-01").await, series("pi5-kitchen").await);
    let late = |points: &[Value]| points.iter().filter(|point| point["late"] == true).count();
    assert!(late(&rack) > late(&house) && late(&house) > 0, "{} and {}", late(&rack), late(&house));
    assert!(rack.len() > house.len() + 12, "{} and {} five-minute means", rack.len(), house.len());
    let busy: Vec<f64> = rack.iter().filter_map(|point| point["cpu"]["usage_percent"].as_f64()).collect();
    let (low, high) = busy.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    assert!(high - low > 20.0, "a day has a rhythm: {low} to {high}");
    let full = series("pi4-camera").await;
    let disk = &full.last().unwrap()["disk"];
    assert!(disk["used_bytes"].as_f64().unwrap() / disk["total_bytes"].as_f64().unwrap() > 0.98, "{disk}");
}
