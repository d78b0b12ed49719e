//! The real binary on a small file system that somebody else fills to the last byte.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lucid::clock::Clock;
use lucid::domain::time::{Slot, Timestamp, TrustPolicy};
use lucid::wire::LateItem;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::sample;
use crate::support::binary::{BINARY, Process, eventually, start_manager};
use crate::support::client::Client;
use crate::support::fleet::{Machine, Node};

const MEGABYTES: u64 = 64;

/// A file system in memory, in a name space of its own; it is gone with the process that holds it.
struct Small {
    holder: Process,
    folder: PathBuf,
}

impl Small {
    /// None where this machine does not let us, with the reason on standard error.
    fn mount(folder: &Path) -> Option<Small> {
        let script = format!("mount -t tmpfs -o size={MEGABYTES}m,mode=0700 none \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child: Child = spawned.inspect_err(|error| eprintln!("skipped: unshare: {error}")).ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let small = Small { holder: Process(child), folder: folder.to_owned() };
        if line.trim() != "mounted" {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        Some(small)
    }

    /// A command inside.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.0.id().to_string(), "--user", "--mount", "--preserve-credentials", BINARY]);
        command.env("LUCID__LOG__MAX_FILES", "0").env("LUCID__CLOCK__TRUST", "always").env("LUCID__BACKUP__ENABLED", "false");
        command.env("LUCID__LIMITS__ADMIN_REQUESTS", "10000").env("LUCID__LIMITS__PAYOUT_REQUESTS", "10000");
        command.env("LUCID__STORAGE__FLUSH_SECONDS", "5").env("LUCID__LIMITS__NODE_REQUESTS", "100000");
        command
    }

    fn serve(&self, data: &Path) -> Command {
        let mut command = self.enter();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        command
    }

    /// The folder as this process sees it.
    fn seen(&self) -> PathBuf {
        let inside = self.folder.strip_prefix("/").unwrap().to_owned();
        PathBuf::from(format!("/proc/{}/root", self.holder.0.id())).join(inside)
    }
}

/// Takes all that is left, to the last byte.
fn fill(path: &Path) {
    let file = File::options().create(true).append(true).open(path).unwrap();
    for step in [1 << 20, 4_096, 1] {
        let block = vec![7; step];
        loop {
            match (&file).write(&block) {
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

struct Books {
    client: Client,
    node: String,
    asked: u32,
    done: u64,
}

impl Books {
    /// One more is owed; whether it was done. What is refused is refused for one reason alone.
    async fn adjust(&mut self) -> bool {
        self.asked += 1;
        let reason = format!("number {}", self.asked);
        let body = json!({ "node_id": self.node, "amount": "1", "currency": "USDT", "settlement": "simulated", "reason": reason });
        let (status, answer): (StatusCode, Value) = self.client.call(Method::POST, "/ledger/adjustments", Some(body)).await;
        if status == StatusCode::CREATED {
            self.done += 1;
            return true;
        }
        assert_eq!((status, &answer["error"]["details"]["name"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("StorageFull")), "{answer}");
        false
    }

    async fn hold(&self) {
        let postings = self.client.get("/ledger?limit=1").await;
        assert_eq!(postings["pagination"]["total"].as_u64().unwrap(), self.done, "{postings}");
    }
}

/// Reports until what was reported before is durable.
async fn until_durable(node: &mut Node) {
    let before = node.seq;
    eventually("a flush", async || (node.report(now_ms(), sample()).await?.durable_seq >= before).then_some(())).await;
}

fn now_ms() -> i64 {
    Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall.0
}

#[tokio::test]
async fn a_disk_that_is_filled_to_the_last_byte_and_freed_again_costs_no_money_and_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(dir.path()) else { return };
    let data = dir.path().join("data");
    let mut manager = start_manager(small.serve(&data));
    let mut client = Client::new(manager.base.clone());
    client.set_up(&fs::read_to_string(small.seen().join("data/setup-code")).unwrap(), None).await;
    let token = client.post("/enrolment-tokens", json!({ "uses": 1, "expires_in_seconds": 3600 })).await;
    let mut node = Machine::new("one").enrol(&manager.base, token["token"].as_str().unwrap()).await.unwrap();
    let space = async |client: &Client| client.get("/storage").await["space"].take();
    eventually("the reserve", async || (space(&client).await["reserve_bytes"].as_u64()? > 0).then_some(())).await;
    assert_eq!(space(&client).await["total_bytes"], MEGABYTES << 20);
    let mut books = Books { client: client.clone(), node: node.id.to_string(), asked: 0, done: 0 };
    assert!(books.adjust().await);
    node.report(now_ms(), sample()).await.unwrap();
    until_durable(&mut node).await;

    let filler = small.seen().join("filler");
    fill(&filler);
    // Money goes on out of the reserve, reads go on, reports are taken and kept by their agents.
    for _ in 0..10 {
        assert!(books.adjust().await);
    }
    assert_eq!(space(&client).await["reserve_bytes"], 0);
    for _ in 0..3 {
        node.report(now_ms(), sample()).await.unwrap();
    }
    // What is told late is answered after a flush, and there is no room for one.
    let slot = Slot(u32::try_from(now_ms() / 30_000).unwrap()).minus(100);
    let (status, answer) = node.late(vec![LateItem { slot, sample: sample() }]).await.unwrap_err();
    assert_eq!((status, &answer["error"]["details"]["name"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("StorageFull")), "{answer}");
    let before = node.held.len();
    node.report(now_ms(), sample()).await.unwrap();
    assert_eq!(node.held.len(), before + 1, "none of them is durable, and the agent is not told so");
    let kept = node.seq;

    // What the reserve was is taken too: now nothing can be written at all.
    let mut refused = 0;
    for _ in 0..2_000 {
        fill(&filler);
        refused += u32::from(!books.adjust().await);
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "a disk without a free byte takes no adjustment");
    assert_eq!(client.get("/nodes").await["pagination"]["total"], 1);
    books.hold().await;

    fs::remove_file(&filler).unwrap();
    eventually("money again", async || books.adjust().await.then_some(())).await;
    until_durable(&mut node).await;
    assert!(node.held.iter().all(|(item, _)| item.seq > kept), "all that was told while the disk was full is durable");
    assert_eq!(node.late(vec![LateItem { slot, sample: sample() }]).await.unwrap().stored, 1, "it is not there yet");
    books.hold().await;
    assert!(manager.process.terminate().success());

    // The next process has the same books, and sets room aside again.
    let mut manager = start_manager(small.serve(&data));
    books.client = client.at(manager.base.clone());
    books.hold().await;
    eventually("the reserve again", async || (space(&books.client).await["reserve_bytes"].as_u64()? > 0).then_some(())).await;
    assert!(books.adjust().await);
    assert!(manager.process.terminate().success());
    let verified = small.enter().args(["verify", "--full", "--data-dir"]).arg(&data).output().unwrap();
    assert!(verified.status.success(), "{}{}", String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
}
