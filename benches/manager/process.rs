//! The real binary in processes of its own, and what the kernel tells of them.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lucid::clock::Stopwatch;

/// The binary that is measured: the one cargo built for this bench, or `LUCID_BENCH_BIN`.
pub fn binary() -> PathBuf {
    std::env::var_os("LUCID_BENCH_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lucid-node-management")), PathBuf::from)
}

/// Ended by its id when dropped.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that ends, with what it started, when its standard input does.
pub struct Cluster(Child);

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn start(command: &mut Command) -> std::io::Result<Process> {
        command.spawn().map(Process)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// kill -9.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }

    /// A line of /proc/PID/status, in bytes.
    pub fn status_bytes(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or("0");
        line.split_whitespace().next().unwrap_or("0").parse::<u64>().unwrap() * 1024
    }

    pub fn memory(&self) -> Memory {
        Memory {
            rss: self.status_bytes("VmRSS"),
            anon: self.status_bytes("RssAnon"),
            file: self.status_bytes("RssFile"),
            peak: self.status_bytes("VmHWM"),
            pss: pss(self.pid()),
        }
    }

    /// Bytes it has sent to the disk.
    pub fn written_bytes(&self) -> u64 {
        written_bytes(&self.pid().to_string())
    }

    /// Seconds of processor time, user and kernel.
    pub fn cpu_seconds(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        ticks as f64 / 100.0
    }
}

/// Bytes. `anon` is what the process itself holds; `file` is mostly the binary's own pages, which the kernel may drop and
/// other processes of the same binary share.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub rss: u64,
    pub anon: u64,
    pub file: u64,
    pub peak: u64,
    pub pss: u64,
}

fn pss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

pub struct Manager {
    pub process: Process,
    pub base: String,
    pub setup_code: Option<String>,
    /// Milliseconds from the start of the process to the first 200 of /health.
    pub first_answer_ms: f64,
}

impl Manager {
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }
}

/// Starts a manager on `data_dir`; its log goes to a file beside it.
pub fn start_manager(data_dir: &Path, flush_seconds: u32) -> Manager {
    start_manager_with(data_dir, flush_seconds, &[])
}

/// With settings as the environment gives them.
pub fn start_manager_with(data_dir: &Path, flush_seconds: u32, settings: &[(&str, String)]) -> Manager {
    let log = OpenOptions::new().create(true).append(true).open(data_dir.with_extension("log")).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let watch = Stopwatch::start();
    let mut child = Command::new(binary())
        .args(["serve", "--listen", &listen, "--data-dir"])
        .arg(data_dir)
        .env("LUCID__CLOCK__TRUST", "always")
        .env("LUCID__STORAGE__FLUSH_SECONDS", flush_seconds.to_string())
        // One person asks for all of it.
        .env("LUCID__LIMITS__ADMIN_REQUESTS", "1000000")
        .env("MAX_NODES_PER_POOL", "1000")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let process = Process(child);
    while !is_healthy(&listen) {
        assert!(watch.elapsed() < Duration::from_secs(120), "the manager does not answer");
        std::thread::sleep(Duration::from_micros(500));
    }
    let first_answer_ms = watch.elapsed().as_secs_f64() * 1e3;
    let setup_code = announced_code(stdout, data_dir);
    Manager { process, base: format!("http://{listen}"), setup_code, first_answer_ms }
}

/// The code is in a file of the data folder until somebody has been set up; the rest of the output is read away.
fn announced_code(mut stdout: BufReader<std::process::ChildStdout>, data_dir: &Path) -> Option<String> {
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
        }
    });
    fs::read_to_string(data_dir.join("setup-code")).ok().map(|code| code.trim().to_owned())
}

fn is_healthy(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that speaks MongoDB's protocol, with its databases in memory, and where it listens; ends with what is returned.
pub fn start_cluster() -> (Cluster, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replication/server.sh");
    let port = address.rsplit(':').next().unwrap();
    let child = Command::new(script).arg(port).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let cluster = Cluster(child);
    while TcpStream::connect(&address).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    (cluster, address)
}

/// An agent; a token is passed on its standard input.
pub fn start_agent(base: &str, state_dir: &Path, token: Option<&str>) -> Process {
    let log = OpenOptions::new().create(true).append(true).open(state_dir.with_extension("log")).unwrap();
    let mut command = Command::new(binary());
    command.args(["agent", "--manager", base, "--name", "bench-agent", "--state-dir"]).arg(state_dir);
    if token.is_some() {
        command.args(["--token-file", "-"]);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    if let (Some(mut stdin), Some(token)) = (child.stdin.take(), token) {
        stdin.write_all(token.as_bytes()).unwrap();
    }
    Process(child)
}

/// A signer, which is ready when this returns.
pub fn start_signer(arguments: impl FnOnce(&mut Command)) -> Process {
    let mut command = Command::new(binary());
    command.arg("signer");
    arguments(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    Process(child)
}

/// Bytes this process has sent to the disk.
pub fn own_written_bytes() -> u64 {
    written_bytes("self")
}

fn written_bytes(pid: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().trim().parse().unwrap()
}

/// Watches the thread that writes the hot file: it sleeps on a futex unless it flushes.
pub struct FlushWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, f64)>>,
}

impl FlushWatch {
    /// Times are seconds of `since`.
    pub fn start(pid: u32, since: Stopwatch) -> FlushWatch {
        let task = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(|entry| entry.path());
        let task =
            task.into_iter().find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "write-hot")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch_flushes(&task, since, &stopped));
        FlushWatch { stop, thread }
    }

    /// (begin, end) of every flush, in seconds.
    pub fn finish(self) -> Vec<(f64, f64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Steps of the watch; flushes are known as exactly as that.
const WATCH_STEP: Duration = Duration::from_millis(1);
/// Busy moments closer together than this are one flush: between them the thread waits for the disk.
const SAME_FLUSH_SECONDS: f64 = 0.05;

fn watch_flushes(task: &Path, since: Stopwatch, stopped: &AtomicBool) -> Vec<(f64, f64)> {
    let mut flushes: Vec<(f64, f64)> = Vec::new();
    let (mut ran_before, mut looked) = (None, since.elapsed().as_secs_f64());
    while !stopped.load(Ordering::Relaxed) {
        let ran = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let waits_for_disk = fs::read_to_string(task.join("stat")).is_ok_and(|stat| stat.contains(") D "));
        let now = since.elapsed().as_secs_f64();
        if waits_for_disk || ran_before.as_ref().is_some_and(|before| *before != ran) {
            match flushes.last_mut() {
                Some(last) if looked - last.1 < SAME_FLUSH_SECONDS => last.1 = now,
                _ => flushes.push((looked, now)),
            }
        }
        (ran_before, looked) = (Some(ran), now);
        std::thread::sleep(WATCH_STEP);
    }
    flushes
}
