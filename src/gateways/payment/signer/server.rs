//! The signer behind its Unix socket: one connection at a time, one request on each. Who may connect is the kernel's word.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use super::protocol::{Answer, Refusal, Request, read_frame, write_frame};
use super::service::Signer;
use crate::domain::time::Now;

/// What a peer may keep the signer waiting: for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that only some users may use; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    allowed: Vec<u32>,
}

impl Socket {
    /// Takes the place of a socket that nobody listens on any more. Open to this process's user, and to `others` of its group.
    pub fn bind(path: &Path, others: &[u32]) -> io::Result<Socket> {
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something that is no socket"));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there"));
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let own = rustix::process::geteuid().as_raw();
        let mode = if others.iter().any(|uid| *uid != own) { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let allowed = others.iter().copied().chain([own]).collect();
        Ok(Socket { listener, path: path.to_owned(), allowed })
    }

    /// Serves until the disk fails, and says why.
    pub fn serve(&self, mut signer: Signer, now: &dyn Fn() -> Now) -> io::Error {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => return error,
            };
            match self.exchange(stream, &mut signer, now) {
                Ok(Some(Refusal::DiskError)) => return io::Error::other("the log of signed transactions cannot be written or read"),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a connection ended early"),
            }
        }
    }

    /// The name of the refusal, if it was one.
    fn exchange(&self, mut stream: UnixStream, signer: &mut Signer, now: &dyn Fn() -> Now) -> io::Result<Option<Refusal>> {
        let uid = socket_peercred(&stream)?.uid.as_raw();
        if !self.allowed.contains(&uid) {
            tracing::warn!(uid, "refused a connection of a user who may not sign");
            return Ok(None);
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = match read_frame(&mut stream) {
            Ok(text) => serde_json::from_slice::<Request>(&text).ok(),
            Err(error) if error.kind() == ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        let answer = match request {
            Some(request) => signer.answer(request, now()),
            None => Answer::Refused(Box::new(Refusal::Malformed.because("this is no request"))),
        };
        let name = told(&answer);
        write_frame(&mut stream, &answer)?;
        Ok(name)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn told(answer: &Answer) -> Option<Refusal> {
    match answer {
        Answer::Signed(signed) => {
            tracing::info!(payout = %signed.payout_id, attempt = signed.attempt, txid = %signed.txid, amount = signed.transfer.amount, "signed");
            None
        }
        Answer::Refused(refused) => {
            tracing::warn!(name = %refused.name, why = refused.message, "refused");
            Some(refused.name)
        }
        Answer::Status(_) | Answer::Done => None,
    }
}
