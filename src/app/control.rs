//! How commands reach a manager that runs: `control.sock` in the data folder, for the user of the manager and root alone. One JSON object a line: a request, then lines of
//! progress, then how it ended. A command that goes away stops nothing.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::clock::Clock;
use crate::domain::audit::{Act, Actor};
use crate::live::{Job, Nudges};
use crate::storage::Store;
use crate::storage::backup::{Made, Phase};
use crate::storage::core::audit;
use crate::storage::core::ledger_check::Depth;
use crate::storage::verify::{Finding, verify_while};

pub const SOCKET_FILE: &str = "control.sock";
/// Commands at one time.
const MAX_CLIENTS: usize = 4;
/// Bytes of a line.
const MAX_LINE: u64 = 16 << 10;
/// What a command may take for its request, and for taking a line.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two lines of progress.
const BETWEEN: Duration = Duration::from_millis(200);
/// Characters that the kernel takes for the name of a socket.
const MAX_PATH: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Backup {
        /// Another folder than that of the settings; absolute.
        to: Option<PathBuf>,
    },
    Verify {
        full: bool,
    },
}

/// A line of the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Progress { phase: Phase, bytes: u64, total: u64 },
    Done(Done),
    Verified(Vec<Finding>),
    Error(String),
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub folder: PathBuf,
    pub files: usize,
    pub bytes: u64,
    /// Of these, what an earlier backup has too.
    pub linked_bytes: u64,
    pub left_out: Vec<String>,
    pub removed: Vec<String>,
}

impl Done {
    pub fn of(made: &Made) -> Done {
        Done {
            folder: made.folder.join(&made.name),
            files: made.manifest.files.len(),
            bytes: made.manifest.bytes(),
            linked_bytes: made.linked_bytes,
            left_out: made.left_out.clone(),
            removed: made.removed.clone(),
        }
    }
}

/// A name for the socket that the kernel takes: of a long folder, through an open handle, which has to live as long as the name is used.
fn name_of(data_dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data_dir.join(SOCKET_FILE);
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path, None));
    }
    let folder = File::open(data_dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(SOCKET_FILE), Some(folder)))
}

/// What answers commands.
pub struct Desk {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub nudges: Nudges,
    /// Held while the store is verified: once at a time, because all of it is read.
    pub verifying: Arc<Mutex<()>>,
}

/// The socket, in place of one that nobody listens on any more.
pub fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET_FILE);
    let (name, _folder) = name_of(data_dir)?;
    if let Ok(found) = fs::symlink_metadata(&path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something that is no socket"));
        }
        if Connection::connect(&name).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there"));
        }
        fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&name)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Desk {
    /// Answers until `stopping`. A manager that cannot listen does everything else.
    pub async fn work(self, mut stopping: watch::Receiver<bool>) {
        let path = self.store.dir().join(SOCKET_FILE);
        let listener = match listen(self.store.dir()) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "commands cannot reach this manager while it runs");
                return;
            }
        };
        let desk = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(BETWEEN).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (desk, stopping) = (Arc::clone(&desk), stopping.clone());
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = desk.serve(stream, stopping).await {
                    tracing::debug!(%error, "a command went away");
                }
            });
        }
        let _ = fs::remove_file(path);
    }

    async fn serve(&self, stream: UnixStream, stopping: watch::Receiver<bool>) -> io::Result<()> {
        let (uid, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
        if uid != own && uid != 0 {
            tracing::warn!(uid, "refused a command of another user");
            return Ok(());
        }
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        let mut read = AsyncReader::new(read.take(MAX_LINE));
        tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
        let number = match serde_json::from_str::<Request>(&line) {
            Ok(Request::Backup { to }) if to.as_ref().is_none_or(|to| to.is_absolute()) => self.ask(to).await,
            Ok(Request::Backup { .. }) => Err("the folder must be named by an absolute path".into()),
            Ok(Request::Verify { full }) => return say(&mut write, &self.verify(full, stopping).await).await,
            Err(error) => Err(format!("this is no request: {error}")),
        };
        match number {
            Ok(number) => self.follow(number, &mut write).await,
            Err(why) => say(&mut write, &Line::Error(why)).await,
        }
    }

    async fn ask(&self, to: Option<PathBuf>) -> Result<u64, String> {
        let remark = to.as_ref().map(|to| to.display().to_string());
        let number = self.store.backups.ask(to).map_err(|refused| refused.to_string())?;
        let act = Act { actor: Actor::Console, ..Act::system(self.clock.now()) };
        let draft = act.draft("backup.ask", remark.unwrap_or_default());
        let written = self.store.write(move |tx| audit::append(tx, draft.clone())).await;
        self.nudges.nudge(Job::Backup);
        written.map(|()| number).map_err(|error| error.to_string())
    }

    /// All that the store has by now, read beside everything else.
    async fn verify(&self, full: bool, stopping: watch::Receiver<bool>) -> Line {
        let Ok(alone) = Arc::clone(&self.verifying).try_lock_owned() else {
            return Line::Error("the store is being verified already".into());
        };
        let store = Arc::clone(&self.store);
        let depth = if full { Depth::Full } else { Depth::SinceCheckpoint };
        let looking = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            verify_while(&store, depth, &|| !*stopping.borrow())
        });
        looking.await.map_or_else(|error| Line::Error(error.to_string()), Line::Verified)
    }

    async fn follow(&self, number: u64, write: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
        let mut runs = self.store.backups.watch();
        let mut told = None;
        loop {
            let state = runs.borrow_and_update().clone();
            if let Some(ended) = state.ended.filter(|ended| ended.number >= number) {
                let line = match &ended.outcome {
                    Ok(made) if ended.number == number => Line::Done(Done::of(made)),
                    Ok(_) => Line::Error("another backup was made since; see GET /api/v1/backup".into()),
                    Err(why) => Line::Error(why.clone()),
                };
                return say(write, &line).await;
            }
            let progress = state.running.filter(|running| running.number == number).and_then(|running| running.progress);
            if let Some(progress) = progress.filter(|progress| told != Some(*progress)) {
                told = Some(progress);
                say(write, &Line::Progress { phase: progress.phase, bytes: progress.bytes, total: progress.total }).await?;
            }
            tokio::time::sleep(BETWEEN).await;
            if runs.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    tokio::time::timeout(PATIENCE, write.write_all(&text)).await?
}

/// Asks the manager that runs on this store for a backup; `hear` gets its lines as they come. None: no manager listens there.
pub fn ask_backup(data_dir: &Path, to: Option<PathBuf>, hear: &mut dyn FnMut(&Line)) -> io::Result<Option<Line>> {
    let Some(connection) = ask(data_dir, &Request::Backup { to })? else { return Ok(None) };
    for line in BufReader::new(connection).lines() {
        let line: Line = serde_json::from_str(&line?)?;
        match line {
            Line::Progress { .. } => hear(&line),
            last => return Ok(Some(last)),
        }
    }
    Err(gone())
}

/// Asks it to look at its store from end to end; `begun` is called once it does. None: no manager listens there.
pub fn ask_verify(data_dir: &Path, full: bool, begun: &mut dyn FnMut()) -> io::Result<Option<Line>> {
    let Some(connection) = ask(data_dir, &Request::Verify { full })? else { return Ok(None) };
    begun();
    let line = BufReader::new(connection).lines().next().ok_or_else(gone)??;
    Ok(Some(serde_json::from_str(&line)?))
}

fn ask(data_dir: &Path, request: &Request) -> io::Result<Option<Connection>> {
    let (name, _folder) = name_of(data_dir)?;
    let mut connection = match Connection::connect(name) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        connected => connected?,
    };
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    connection.write_all(&text)?;
    Ok(Some(connection))
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the manager went away, or has no place for another command")
}
