//! The supervisor with real processes, started by the real binary. Waits end when what is waited for is there; only a hang reaches their bound.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lucid::agent::{Clock, Observation, Setting, State, Supervisor};
use lucid::clock::Stopwatch;
use lucid::domain::node::Wanted;
use lucid::domain::workload::{Enforcement, Limits, RestartPolicy, WorkloadConfig, WorkloadOrder, WorkloadReport, WorkloadState};
use serde_json::json;
use tokio::sync::watch;

use crate::support::binary::{BINARY, PATIENCE, Process, eventually, serve, start_manager};
use crate::support::client::Client;

fn workload(script: &str) -> WorkloadConfig {
    WorkloadConfig {
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        working_dir: None,
        env: [("GREETING".to_owned(), "hello".to_owned())].into(),
        stop_grace_seconds: 30,
        restart: RestartPolicy::Always,
        user: None,
        stop_with_agent: false,
    }
}

const SLEEP: &str = "exec sleep 1000";

/// A supervisor with its folder. Dropping it leaves the workload; `Folder` ends it.
struct Agent {
    supervisor: Supervisor,
    seen: watch::Receiver<Observation>,
    orders: watch::Sender<Option<WorkloadOrder>>,
    order: WorkloadOrder,
}

impl Agent {
    fn start(folder: &Path, config: Option<WorkloadConfig>) -> Agent {
        let (orders, ordered) = watch::channel(None);
        let (supervisor, seen) = Supervisor::new(Setting {
            clock: Clock::System,
            state: Arc::new(State::open(folder).unwrap()),
            config,
            launcher: PathBuf::from(BINARY),
            boot_id: "this boot".into(),
            cores: cores(),
            orders: ordered,
        });
        let order = WorkloadOrder {
            generation: 1,
            revision: 0,
            wanted: Wanted::Running,
            restart_count: 0,
            limits: Limits::default(),
            deadline_ms: None,
        };
        Agent { supervisor, seen, orders, order }
    }

    /// A new order, above the last.
    fn order(&mut self, change: impl FnOnce(&mut WorkloadOrder)) {
        self.order.revision += 1;
        change(&mut self.order);
        self.orders.send_replace(Some(self.order.clone()));
        self.supervisor.step();
    }

    fn report(&self) -> WorkloadReport {
        self.seen.borrow().report.clone()
    }

    /// Works until the report fits.
    fn until(&mut self, what: &str, fits: impl Fn(&WorkloadReport) -> bool) -> WorkloadReport {
        let watch = Stopwatch::start();
        loop {
            self.supervisor.step();
            let report = self.report();
            if fits(&report) {
                return report;
            }
            assert!(watch.elapsed() < PATIENCE, "waited in vain for {what}: {report:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn until_state(&mut self, state: WorkloadState) -> WorkloadReport {
        self.until(&format!("{state:?}"), |report| report.state == state)
    }

    /// Stops the workload, so that no test leaves one behind.
    fn end(mut self) {
        self.order(|order| order.wanted = Wanted::Stopped);
        self.until_state(WorkloadState::Stopped);
    }
}

fn cores() -> u32 {
    u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap()
}

/// What the workload has printed so far.
fn printed(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("workload.log")).unwrap_or_default()
}

fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_workload_is_started_stopped_and_restarted_as_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), Some(workload("echo $GREETING $CARGO_PKG_NAME.; exec sleep 1000")));
    let first = agent.until_state(WorkloadState::Running);
    assert_eq!((first.configured, first.revision, first.restarts), (true, 0, 0));
    assert_eq!(printed(dir.path()), "hello .\n", "its own environment, and not the agent's");
    agent.order(|order| order.restart_count += 1);
    assert_eq!((agent.report().state, agent.report().revision), (WorkloadState::Stopping, 1), "taken over and begun in one report");
    let second = agent.until_state(WorkloadState::Running);
    assert_ne!(second.pid, first.pid);
    assert_eq!((second.restarts, is_there(first.pid.unwrap())), (0, false));
    // The same order again, and an older one, change nothing.
    agent.orders.send_replace(Some(agent.order.clone()));
    agent.supervisor.step();
    agent.orders.send_replace(Some(WorkloadOrder { revision: 0, wanted: Wanted::Stopped, ..agent.order.clone() }));
    agent.supervisor.step();
    assert_eq!((agent.report().pid, agent.report().revision), (second.pid, 1));
    agent.order(|order| order.wanted = Wanted::Stopped);
    let stopped = agent.until_state(WorkloadState::Stopped);
    assert_eq!((stopped.pid, stopped.last_exit.unwrap().signal), (None, Some(15)));
    assert!(!is_there(second.pid.unwrap()));
    agent.order(|order| order.wanted = Wanted::Running);
    agent.until_state(WorkloadState::Running);
    agent.end();
}

#[test]
fn who_does_not_go_in_time_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done";
    let mut agent = Agent::start(dir.path(), Some(WorkloadConfig { stop_grace_seconds: 1, ..workload(script) }));
    agent.until("the child's number", |_| printed(dir.path()).ends_with('\n'));
    agent.until_state(WorkloadState::Running);
    let child: u32 = printed(dir.path()).trim().parse().unwrap();
    assert!(is_there(child));
    agent.order(|order| order.wanted = Wanted::Stopped);
    let stopped = agent.until_state(WorkloadState::Stopped);
    assert_eq!(stopped.last_exit.unwrap().signal, Some(9));
    agent.until("the child's end", |_| !is_there(child));
}

#[test]
fn a_workload_that_fails_is_started_again_after_a_pause_or_not_by_its_policy() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), Some(workload("exit 3")));
    let failed = agent.until_state(WorkloadState::BackingOff);
    assert_eq!((failed.last_exit.unwrap().code, failed.reason.as_deref()), (Some(3), Some("it ended with status 3")));
    agent.until("a second start", |report| report.restarts == 1);
    agent.end();
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), Some(WorkloadConfig { restart: RestartPolicy::Never, ..workload("exit 3") }));
    agent.until_state(WorkloadState::Failed);
    drop(agent);
    let mut agent = Agent::start(dir.path(), Some(WorkloadConfig { restart: RestartPolicy::Never, ..workload("exit 3") }));
    agent.supervisor.step();
    assert_eq!(agent.report().state, WorkloadState::Failed, "a new agent does not try again either");
    let dir = tempfile::tempdir().unwrap();
    let missing = WorkloadConfig { command: vec!["/nonexistent/program".into()], ..workload("") };
    let mut agent = Agent::start(dir.path(), Some(missing));
    agent.until_state(WorkloadState::BackingOff);
    assert!(printed(dir.path()).contains("/nonexistent/program"), "{}", printed(dir.path()));
    agent.end();
}

#[test]
fn the_next_agent_takes_the_process_over_and_keeps_the_last_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), Some(workload(SLEEP)));
    agent.order(|order| order.restart_count = 4);
    let first = agent.until_state(WorkloadState::Running);
    drop(agent);
    let mut agent = Agent::start(dir.path(), Some(workload(SLEEP)));
    agent.supervisor.step();
    let adopted = agent.report();
    assert_eq!((adopted.state, adopted.pid, adopted.revision), (WorkloadState::Running, first.pid, 1));
    agent.order.revision = 1;
    agent.order(|order| order.restart_count = 5);
    let restarted = agent.until("another process", |r| r.state == WorkloadState::Running && r.pid != first.pid);
    assert!(!is_there(first.pid.unwrap()));
    drop(agent);
    // Its process is gone when the next agent comes: nobody knows how it ended, and it is started again.
    let pid = rustix::process::Pid::from_raw(i32::try_from(restarted.pid.unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut agent = Agent::start(dir.path(), Some(workload(SLEEP)));
    let third = agent.until_state(WorkloadState::Running);
    assert_eq!((third.restarts, third.pid == restarted.pid), (1, false));
    agent.order.revision = 2;
    agent.end();
    let mut agent = Agent::start(dir.path(), Some(workload(SLEEP)));
    agent.supervisor.step();
    assert_eq!(agent.report().state, WorkloadState::Stopped, "a stop outlives the agent, and needs no manager");
    drop(agent);
    let mut none = Agent::start(dir.path(), None);
    none.supervisor.step();
    assert_eq!((none.report().configured, none.report().state), (false, WorkloadState::Stopped));
}

/// Dies again and again while it restarts a workload that does not heed SIGTERM: the order is on the disk, and the process is the old one.
#[test]
fn a_restart_that_its_agent_did_not_live_to_see_is_done_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let stubborn =
        |grace| WorkloadConfig { stop_grace_seconds: grace, ..workload("trap '' TERM; echo started; while :; do sleep 1; done") };
    let mut agent = Agent::start(dir.path(), Some(stubborn(60)));
    let first = agent.until_state(WorkloadState::Running);
    agent.until("its trap", |_| printed(dir.path()).ends_with('\n'));
    agent.order(|order| order.restart_count = 7);
    assert_eq!((agent.report().state, agent.report().pid), (WorkloadState::Stopping, first.pid));
    for _ in 0..2 {
        drop(agent);
        agent = Agent::start(dir.path(), Some(stubborn(60)));
        agent.supervisor.step();
        assert_eq!((agent.report().state, agent.report().pid, agent.report().revision), (WorkloadState::Stopping, first.pid, 1));
    }
    drop(agent);
    let mut agent = Agent::start(dir.path(), Some(stubborn(0)));
    let second = agent.until("another process", |r| r.state == WorkloadState::Running && r.pid != first.pid);
    assert_eq!((second.restarts, is_there(first.pid.unwrap())), (0, false), "an ordered restart is none of its own");
    drop(agent);
    // Once is enough.
    let mut agent = Agent::start(dir.path(), Some(stubborn(0)));
    agent.supervisor.step();
    assert_eq!((agent.report().state, agent.report().pid), (WorkloadState::Running, second.pid));
    drop(agent);
    // What an earlier release recorded says nothing of restarts: nobody ordered one meanwhile.
    let file = dir.path().join("workload.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["process"].as_object_mut().unwrap().remove("restarted_for"), Some(json!(7)));
    std::fs::write(&file, kept.to_string()).unwrap();
    let mut agent = Agent::start(dir.path(), Some(stubborn(0)));
    agent.supervisor.step();
    assert_eq!((agent.report().state, agent.report().pid, agent.report().revision), (WorkloadState::Running, second.pid, 1));
    agent.order.revision = 1;
    agent.end();
}

#[tokio::test]
async fn a_workload_that_belongs_to_its_agent_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = WorkloadConfig { stop_with_agent: true, ..workload(SLEEP) };
    let mut agent = Agent::start(dir.path(), Some(config.clone()));
    let pid = agent.until_state(WorkloadState::Running).pid.unwrap();
    agent.supervisor.stop().await;
    assert!(!is_there(pid));
    drop(agent);
    let mut agent = Agent::start(dir.path(), Some(config));
    agent.until_state(WorkloadState::Running);
    agent.end();
}

/// Says why when this machine cannot limit by control groups; the test then has nothing to test.
fn lacks(agent: &Agent, capability: &str) -> bool {
    let lacks = !agent.supervisor.capabilities().iter().any(|found| found == capability);
    if lacks {
        println!("skipped: no {capability} here: {:?}", agent.report().limits);
    }
    lacks
}

#[test]
fn a_memory_limit_kills_a_workload_that_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo once; a=0123456789abcdef; while :; do a=$a$a; done";
    let config = WorkloadConfig { restart: RestartPolicy::Never, ..workload(script) };
    let mut agent = Agent::start(dir.path(), Some(config));
    agent.order(|order| {
        order.wanted = Wanted::Stopped;
        order.limits.memory_bytes = Some(48 << 20);
    });
    agent.until_state(WorkloadState::Stopped);
    agent.order(|order| order.wanted = Wanted::Running);
    let limit = agent.report().limits[0].clone();
    if lacks(&agent, "cgroup2:memory") {
        // Then each process is limited, and says so.
        assert_eq!(limit.enforcement, Enforcement::Rlimit);
        let failed = agent.until_state(WorkloadState::Failed);
        println!("with a limit of each process: {failed:?}, it printed {:?}", printed(dir.path()));
        return;
    }
    assert_eq!((limit.enforcement, limit.reason), (Enforcement::Cgroup, None));
    let killed = agent.until_state(WorkloadState::Failed);
    println!("killed by its memory limit: {killed:?}");
    assert_eq!(killed.last_exit.unwrap().signal, Some(9));
    assert!(killed.reason.unwrap().contains("memory"));
}

#[test]
fn a_cpu_limit_slows_a_workload_down() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), Some(workload("while :; do :; done")));
    let share_of_one_core = 0.2;
    let hundredths = 2_000 / cores();
    agent.order(|order| order.limits.cpu_hundredths = Some(hundredths));
    if lacks(&agent, "cgroup2:cpu") {
        assert_eq!(agent.report().limits[0].enforcement, Enforcement::None);
        return agent.end();
    }
    let pid = agent.until_state(WorkloadState::Running).pid.unwrap();
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2).map(|f| f.parse().unwrap()).collect();
        fields.iter().sum::<u64>()
    };
    let (watch, before) = (Stopwatch::start(), used());
    agent.until("three seconds", |_| watch.elapsed() >= Duration::from_secs(3));
    // Ticks of 10 ms.
    let share = f64::from(u32::try_from(used() - before).unwrap()) / 100.0 / watch.elapsed().as_secs_f64();
    println!("a loop limited to {share_of_one_core} of a core used {share:.2}");
    assert!(share < share_of_one_core * 1.5, "{share}");
    agent.order(|order| order.limits.cpu_hundredths = None);
    let (watch, before) = (Stopwatch::start(), used());
    agent.until("a second", |_| watch.elapsed() >= Duration::from_secs(1));
    let free = f64::from(u32::try_from(used() - before).unwrap()) / 100.0 / watch.elapsed().as_secs_f64();
    println!("without the limit it used {free:.2}");
    assert!(free > share, "lifted while it runs");
    agent.end();
}

/// A manager and an agent with a workload, both real: what a person asks for happens, and is seen, in seconds.
#[tokio::test]
async fn a_person_stops_and_starts_the_workload_of_a_real_agent() {
    let dir = tempfile::tempdir().unwrap();
    let (data, state, file) = (dir.path().join("data"), dir.path().join("agent"), dir.path().join("agent.toml"));
    std::fs::write(&file, "[workload]\ncommand = [\"/bin/sleep\", \"1000\"]\nstop_with_agent = true\n").unwrap();
    let manager = start_manager(serve(&data));
    let mut client = Client::new(&manager.base);
    let code = std::fs::read_to_string(data.join("setup-code")).unwrap();
    client.set_up(code.trim(), None).await;
    let token = client.post("/enrolment-tokens", json!({ "uses": 1 })).await["token"].as_str().unwrap().to_owned();
    let mut child = Command::new(BINARY)
        .args(["agent", "--manager", &manager.base, "--token-file", "-", "--name", "worker", "--config"])
        .arg(&file)
        .arg("--state-dir")
        .arg(&state)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let mut agent = Process(child);
    let node = eventually("a running workload", async || {
        let nodes = client.get("/nodes").await;
        nodes["nodes"].as_array().unwrap().first().filter(|node| node["workload"]["state"] == "running").cloned()
    })
    .await;
    assert_eq!((node["status"].as_str(), node["workload"]["configured"].as_bool()), (Some("active"), Some(true)), "{node}");
    let id = node["node_id"].as_str().unwrap();
    let pid = |node: &serde_json::Value| u32::try_from(node["workload"]["pid"].as_u64().unwrap()).unwrap();
    let ended = async |action: &str| {
        let asked = client.post(&format!("/nodes/{id}/{action}"), serde_json::Value::Null).await;
        let revision = asked["command"]["wanted_revision"].clone();
        let mut delivered = None;
        eventually("the end of the command", async || {
            let newest = client.get(&format!("/nodes/{id}/commands?limit=1")).await["commands"][0].clone();
            assert_eq!(newest["wanted_revision"], revision);
            if newest["state"] == "delivered" {
                delivered.get_or_insert_with(Stopwatch::start);
            }
            (newest["state"] == "done").then_some(())
        })
        .await;
        println!("{action}: done {:?} after its delivery was seen", delivered.map(|watch| watch.elapsed()));
        client.get(&format!("/nodes/{id}")).await
    };
    let stopped = ended("stop").await;
    assert_eq!((stopped["status"].as_str(), stopped["workload"]["state"].as_str()), (Some("inactive"), Some("stopped")));
    assert!(!is_there(pid(&node)));
    let started = ended("restart").await;
    assert_eq!((started["status"].as_str(), pid(&started) == pid(&node)), (Some("active"), false));
    assert!(agent.terminate().success());
    assert!(!is_there(pid(&started)), "it was to end with its agent");
}
