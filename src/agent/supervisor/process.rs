//! The workload's process: started through the launcher, known by its number and the time of its start, so that another agent finds it again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::{Deserialize, Serialize};

use super::super::socket::SOCKET_VARIABLE;
use crate::domain::workload::{WorkloadConfig, WorkloadExit};

/// Variables of the agent that its workload gets too; the others are none of its business.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];
/// Processes looked at in search of a group's members, at most.
const MAX_PROCESSES: usize = 65_536;

/// What tells a process from every other of this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// In ticks since the boot: a number that is used again has another start.
    pub start_ticks: u64,
}

#[derive(Debug)]
pub struct Process {
    pub identity: Identity,
    pid: Pid,
    /// Absent when an earlier agent started it.
    child: Option<Child>,
}

/// How to start it: limits and group are set by the launcher before the program begins.
#[derive(Debug)]
pub struct Launch<'a> {
    /// This program itself.
    pub launcher: &'a Path,
    pub config: &'a WorkloadConfig,
    pub cgroup: Option<&'a Path>,
    pub memory_bytes: Option<u64>,
    pub output: File,
    /// Where the workload asks for challenges and hands in outputs.
    pub socket: &'a Path,
}

impl Launch<'_> {
    /// Starts the launcher, which waits until `record` has put its identity on the disk: so that no process is ever lost, whenever the agent dies.
    pub fn start(self, record: impl FnOnce(Identity)) -> io::Result<Process> {
        let mut command = Command::new(self.launcher);
        command.arg("exec-workload");
        let mut option = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        };
        option("--cgroup", self.cgroup.map(|path| path.join("cgroup.procs").into()));
        option("--memory-bytes", self.memory_bytes.map(|bytes| bytes.to_string().into()));
        option("--user", self.config.user.as_ref().map(OsString::from));
        command.arg("--").args(&self.config.command);
        command.env_clear().envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)))).envs(&self.config.env);
        command.env(SOCKET_VARIABLE, self.socket);
        command.current_dir(self.config.working_dir.as_deref().unwrap_or(Path::new("/")));
        command.stdin(Stdio::piped()).stdout(self.output.try_clone()?).stderr(self.output).process_group(0);
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let found = identity(pid.as_raw_pid()).ok_or_else(|| io::Error::other("the process is gone at once"));
        let told = found.and_then(|identity| {
            record(identity);
            let go = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"\n"));
            go.map(|()| identity)
        });
        match told {
            Ok(identity) => Ok(Process { identity, pid, child: Some(child) }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

impl Process {
    /// The process of an earlier agent, if it is still there.
    pub fn adopt(known: Identity) -> Option<Process> {
        let pid = Pid::from_raw(known.pid)?;
        is_alive(known).then_some(Process { identity: known, pid, child: None })
    }

    /// How it ended, once it has. What it left behind of its group is killed first, while the group's number cannot be anybody else's.
    pub fn ended(&mut self) -> Option<WorkloadExit> {
        let Some(child) = &mut self.child else {
            if is_alive(self.identity) {
                return None;
            }
            if has_members(self.identity.pid) {
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            return Some(WorkloadExit::default());
        };
        // It stays a zombie, and its number taken, until it is waited for below.
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(self.pid), peek), Ok(Some(_)) | Err(_)) {
            return None;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let status = child.wait().ok();
        Some(status.map_or(WorkloadExit::default(), |status| WorkloadExit { code: status.code(), signal: status.signal() }))
    }

    /// To every process of its group.
    pub fn signal(&self, signal: Signal) {
        if (self.child.is_some() || is_alive(self.identity))
            && let Err(error) = kill_process_group(self.pid, signal)
        {
            tracing::warn!(pid = self.identity.pid, %error, "the workload is not signalled");
        }
    }

    pub fn pid(&self) -> u32 {
        self.identity.pid.unsigned_abs()
    }
}

/// State letter, process group and start of a process.
fn stat(pid: &str) -> Option<(u8, i32, u64)> {
    let text = fs::read_to_string(PathBuf::from("/proc").join(pid).join("stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let group = fields.nth(1)?.parse().ok()?;
    // Field 22 of the file; the state was the third.
    let start = fields.nth(16)?.parse().ok()?;
    Some((state, group, start))
}

pub fn identity(pid: i32) -> Option<Identity> {
    stat(&pid.to_string()).map(|(_, _, start_ticks)| Identity { pid, start_ticks })
}

/// A zombie has ended.
fn is_alive(known: Identity) -> bool {
    stat(&known.pid.to_string()).is_some_and(|(state, _, start)| start == known.start_ticks && !matches!(state, b'Z' | b'X'))
}

fn has_members(group: i32) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let names = entries.flatten().take(MAX_PROCESSES).filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter_map(|pid| stat(&pid)).any(|(_, of, _)| of == group)
}
