//! The launcher: this program, started again as the workload's first moment. It joins the group, takes the limits and the user, and becomes the
//! program. So everything holds before the program's first instruction, and no code runs between fork and exec.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

/// What the agent tells its launcher.
#[derive(Debug)]
pub struct LaunchOrder {
    /// The file that takes the number of a process into the group.
    pub cgroup: Option<PathBuf>,
    /// Of address space, for each process.
    pub memory_bytes: Option<u64>,
    pub user: Option<String>,
    pub command: Vec<OsString>,
}

/// Waits for the agent's word, then becomes the workload; comes back only with what went wrong.
pub fn exec_workload(order: &LaunchOrder) -> String {
    let mut word = [0];
    if !matches!(io::stdin().read(&mut word), Ok(1)) {
        return "the agent is gone".into();
    }
    match prepared(order) {
        Ok(mut command) => {
            let error = command.exec();
            format!("{}: {error}", command.get_program().display())
        }
        Err(why) => why,
    }
}

fn prepared(order: &LaunchOrder) -> Result<Command, String> {
    if let Some(procs) = &order.cgroup {
        fs::write(procs, "0").map_err(|error| format!("{}: {error}", procs.display()))?;
    }
    if let Some(bytes) = order.memory_bytes {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::As, limit).map_err(|error| format!("the memory limit is not taken: {error}"))?;
    }
    let Some((program, arguments)) = order.command.split_first() else { return Err("no program is named".into()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(user) = &order.user {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = user_ids(&passwd, user).ok_or_else(|| format!("there is no user {user}"))?;
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// User and group of a name, or of a number that `passwd` knows.
fn user_ids(passwd: &str, user: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if name == user || uid == user { Some((uid.parse().ok()?, gid.parse().ok()?)) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nlucid:x:998:997::/:/bin/false\n";
        assert_eq!(user_ids(passwd, "lucid"), Some((998, 997)));
        assert_eq!(user_ids(passwd, "998"), Some((998, 997)));
        assert_eq!(user_ids(passwd, "nobody"), None);
    }
}
