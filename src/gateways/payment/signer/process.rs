//! What the signer asks of its own process.

use std::io::{self, Read};

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};

/// No memory image of this process, no debugger of the same user, and no file that others may read.
pub fn harden() -> io::Result<()> {
    umask(Mode::from_raw_mode(0o077));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Ends this process when standard input is closed, which the kernel does when the parent is gone, however it went. Any moment is a
/// good one to end: what was not answered was not given away.
pub fn end_with_parent() -> io::Result<()> {
    let watch = || {
        let mut stdin = io::stdin().lock();
        let mut byte = [0];
        loop {
            match stdin.read(&mut byte) {
                Ok(0) => std::process::exit(0),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => std::process::exit(1),
                _ => {}
            }
        }
    };
    std::thread::Builder::new().name("parent".into()).spawn(watch).map(drop)
}
