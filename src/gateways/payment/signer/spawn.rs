//! The signer as a child of the manager, where no other unit starts it. Both hold the ends of a pipe, so that the signer ends with the
//! manager however that ends.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::protocol::Caps;
use crate::domain::address::TronAddress;

/// Wait before a signer that ended is started again; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Everything that a signer is told when it starts. No secret is among it.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This very program.
    pub program: PathBuf,
    pub keystore: PathBuf,
    /// Where it is unlocked from; otherwise it waits for somebody.
    pub passphrase_file: Option<PathBuf>,
    pub socket: PathBuf,
    pub state_dir: PathBuf,
    pub caps: Caps,
    /// The account that pays, where it is not the key's own.
    pub account: Option<TronAddress>,
    pub permission_id: Option<NonZeroU32>,
}

impl Launch {
    /// Below the data folder of the manager: the socket and the signer's own folder.
    pub fn below(data_dir: &Path) -> (PathBuf, PathBuf) {
        let state_dir = data_dir.join("signer");
        (state_dir.join("socket"), state_dir)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["signer", "--with-parent"]);
        let mut option = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            command.arg(name).arg(value);
        };
        option("--keystore", &self.keystore);
        option("--socket", &self.socket);
        option("--state-dir", &self.state_dir);
        option("--max-payout-usdt", &micro(self.caps.max_payout));
        option("--max-24h-usdt", &micro(self.caps.max_24h));
        option("--max-fee-sun", &self.caps.max_fee_sun.to_string());
        for contract in &self.caps.contracts {
            option("--contract", &contract.to_string());
        }
        if let Some(path) = &self.passphrase_file {
            option("--passphrase-file", path);
        }
        if let Some(account) = self.account {
            option("--account", &account.to_string());
        }
        if let Some(id) = self.permission_id {
            option("--permission-id", &id.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }
}

/// As the command line takes it: whole USDT and six places.
fn micro(units: u64) -> String {
    format!("{}.{:06}", units / 1_000_000, units % 1_000_000)
}

/// A signer that is kept running until this is dropped.
#[derive(Debug)]
pub struct SignerChild {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Our end of the pipe that the child watches.
    pipe: Option<ChildStdin>,
    pid: Option<u32>,
}

impl Shared {
    /// Every state is a valid one, whoever panicked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is time to stop.
    fn wait(&self, at_most: Duration) -> bool {
        let waiting = self.stopped.wait_timeout_while(self.state(), at_most, |state| !state.stopping);
        waiting.unwrap_or_else(PoisonError::into_inner).0.stopping
    }
}

impl SignerChild {
    /// Starts it, and starts it again whenever it ends. Fails when the first one cannot be started at all.
    pub fn start(launch: Launch) -> io::Result<SignerChild> {
        let shared = Arc::new(Shared::default());
        let first = launch.command().spawn()?;
        let kept = shared.clone();
        let keeper = std::thread::Builder::new().name("signer".into()).spawn(move || keep(&kept, &launch, first))?;
        Ok(SignerChild { shared, keeper: Some(keeper) })
    }

    /// Of the process that runs now.
    pub fn pid(&self) -> Option<u32> {
        self.shared.state().pid
    }
}

impl Drop for SignerChild {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.stopping = true;
            state.pipe = None;
        }
        self.shared.stopped.notify_all();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Waits for the child's end and starts the next one, until told to stop.
fn keep(shared: &Shared, launch: &Launch, first: Child) {
    let mut wait = FIRST_WAIT;
    let mut next = Some(first);
    loop {
        if let Some(mut child) = next.take() {
            let pipe = child.stdin.take();
            {
                let mut state = shared.state();
                state.pid = Some(child.id());
                state.pipe = pipe.filter(|_| !state.stopping);
            }
            let ended = child.wait();
            shared.state().pid = None;
            match ended {
                Ok(status) => tracing::warn!(%status, "the signer ended"),
                Err(error) => tracing::error!(%error, "the signer cannot be waited for"),
            }
        }
        if shared.wait(wait) {
            return;
        }
        wait = (wait * 2).min(MAX_WAIT);
        match launch.command().spawn() {
            Ok(child) => next = Some(child),
            Err(error) => tracing::error!(%error, "the signer cannot be started"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_with_all_their_places() {
        assert_eq!((micro(1), micro(250_000_000), micro(1_500_000)), ("0.000001".into(), "250.000000".into(), "1.500000".into()));
    }
}
