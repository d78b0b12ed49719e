//! The real binary in processes of its own. Every process is ended by its id when its handle is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub const BINARY: &str = env!("CARGO_BIN_EXE_lucid-node-management");
/// Longest wait for something that takes seconds at most; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Process(pub Child);

impl Process {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct Manager {
    pub process: Process,
    pub base: String,
}

/// Starts `command`, which announces `listening on http://...` on its standard output.
pub fn start_manager(mut command: Command) -> Manager {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (found, base) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("listening on ") {
                let _ = found.send(url.trim().to_owned());
            }
        }
    });
    let process = Process(child);
    let base = base.recv_timeout(PATIENCE).expect("the manager says where it listens");
    Manager { process, base }
}

pub fn serve(data_dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    command
}

/// An agent that reads its token from standard input.
pub fn start_agent(manager: &str, state_dir: &Path, name: &str, token: &str) -> Process {
    let mut child = Command::new(BINARY)
        .args(["agent", "--manager", manager, "--token-file", "-", "--name", name, "--state-dir"])
        .arg(state_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    Process(child)
}

/// Asks until the answer is there. The pause only spares the processor; the result does not depend on it.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    deadline.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
