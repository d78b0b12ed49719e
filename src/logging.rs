//! Log lines to the console and to a few files of bounded size. Neither a slow card nor a stopped terminal may hold up
//! the program: lines wait in bounded queues, and are dropped and counted when those are full.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{self, LogFormat};

/// Lines waiting for the console or the files, at most.
const QUEUE_LINES: usize = 2_048;
const FILE_STEM: &str = "lucid";
/// Files beyond this number are not ours to remove.
const MOST_FILES: u32 = 100;

/// Writes out what is queued when it is dropped: keep it until the end of the program.
#[must_use = "log lines are lost when it is dropped early"]
pub struct Guard {
    _workers: Vec<WorkerGuard>,
    counters: Vec<ErrorCounter>,
}

impl Guard {
    /// Lines that were dropped because a queue was full.
    pub fn dropped_lines(&self) -> usize {
        self.counters.iter().map(ErrorCounter::dropped_lines).sum()
    }
}

/// Logs of the manager: to the console, and into `log.dir` or `DATA_DIR/logs` unless `log.max_files` is 0.
pub fn start(log: &config::Log, data_dir: &Path) -> io::Result<Guard> {
    let files = if log.max_files == 0 {
        None
    } else {
        let dir = log.dir.clone().unwrap_or_else(|| data_dir.join("logs"));
        Some(RotatedFile::open(dir, log.max_files, u64::from(log.max_file_mb) * 1_000_000)?)
    };
    install(log.level.0.clone(), log.format, files)
}

/// Logs of the agent and of the tools: the console only.
pub fn start_console(targets: Targets, format: LogFormat) -> io::Result<Guard> {
    install(targets, format, None)
}

/// The filter of the process's one subscriber, which is global too.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// From now on, these lines are wanted. Without effect in a process that has not started its log.
pub fn set_targets(targets: Targets) {
    if let Some(filter) = FILTER.get()
        && let Err(error) = filter.reload(without_chatter(targets))
    {
        tracing::warn!(%error, "the log level could not be changed");
    }
}

fn install(targets: Targets, format: LogFormat, files: Option<RotatedFile>) -> io::Result<Guard> {
    let (filter, handle) = reload::Layer::new(without_chatter(targets));
    let (subscriber, guard) = subscriber(filter, format, io::stderr(), io::stderr().is_terminal(), files);
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    let _ = FILTER.set(handle);
    Ok(guard)
}

fn subscriber(
    filter: impl Layer<Registry> + Send + Sync,
    format: LogFormat,
    console: impl Write + Send + 'static,
    colours: bool,
    files: Option<RotatedFile>,
) -> (impl Subscriber + Send + Sync, Guard) {
    let mut guard = Guard { _workers: Vec::new(), counters: Vec::new() };
    let console = guard.queue(console, "log-console");
    let console = match format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(console).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(console).boxed(),
    };
    let files = files.map(|files| fmt::layer().json().flatten_event(true).with_writer(guard.queue(files, "log-files")));
    (Registry::default().with(filter).with(console).with(files), guard)
}

/// The scheduler library tells its life story at `info`; whoever wants to hear it names it.
fn without_chatter(targets: Targets) -> Targets {
    const CHATTY: &str = "tokio_cron_scheduler";
    let named = targets.iter().any(|(target, _)| target == CHATTY);
    let level = targets.default_level().unwrap_or(LevelFilter::OFF).min(LevelFilter::WARN);
    if named { targets } else { targets.with_target(CHATTY, level) }
}

impl Guard {
    fn queue(&mut self, writer: impl Write + Send + 'static, thread: &str) -> NonBlocking {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(QUEUE_LINES).lossy(true).thread_name(thread);
        let (queue, worker) = builder.finish(writer);
        self.counters.push(queue.error_counter());
        self._workers.push(worker);
        queue
    }
}

/// `lucid.log`, and before it `lucid.1.log`, `lucid.2.log`, ...: at most `max_files` of at most `max_bytes` each.
struct RotatedFile {
    dir: PathBuf,
    max_files: u32,
    max_bytes: u64,
    /// `None` after an error; the next line tries again.
    file: Option<File>,
    bytes: u64,
}

impl RotatedFile {
    fn open(dir: PathBuf, max_files: u32, max_bytes: u64) -> io::Result<RotatedFile> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut rotated = RotatedFile { dir, max_files: max_files.clamp(1, MOST_FILES), max_bytes, file: None, bytes: 0 };
        for surplus in rotated.max_files..MOST_FILES {
            remove_if_there(&rotated.path(surplus))?;
        }
        rotated.reopen()?;
        Ok(rotated)
    }

    fn path(&self, age: u32) -> PathBuf {
        self.dir.join(if age == 0 { format!("{FILE_STEM}.log") } else { format!("{FILE_STEM}.{age}.log") })
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.path(0))?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        remove_if_there(&self.path(self.max_files - 1))?;
        for age in (0..self.max_files - 1).rev() {
            match std::fs::rename(self.path(age), self.path(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.reopen()
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One call is one line.
impl Write for RotatedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line longer than a whole file is cut, so that the bound holds.
        let kept = &line[..line.len().min(usize::try_from(self.max_bytes).unwrap_or(usize::MAX))];
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.bytes > 0 && self.bytes.saturating_add(kept.len() as u64) > self.max_bytes {
            self.rotate()?;
        }
        if let Some(file) = &mut self.file {
            if let Err(error) = file.write_all(kept) {
                self.file = None;
                return Err(error);
            }
            self.bytes = self.bytes.saturating_add(kept.len() as u64);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn logs(&self) -> PathBuf {
            self.0.path().join("logs")
        }

        fn files(&self) -> Vec<(String, u64)> {
            let entries = std::fs::read_dir(self.logs()).unwrap().map(Result::unwrap);
            let mut files: Vec<_> = entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len())).collect();
            files.sort();
            files
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.logs().join(name)).unwrap()
        }
    }

    #[derive(Clone, Default)]
    struct Console(Arc<Mutex<Vec<u8>>>);

    impl Console {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Console {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn files_rotate_by_size_and_the_newest_lines_stay() {
        let folder = Folder::new();
        let mut log = RotatedFile::open(folder.logs(), 3, 100).unwrap();
        for n in 0..40 {
            log.write_all(format!("line {n:04}\n").as_bytes()).unwrap();
            assert!(folder.files().iter().all(|(_, bytes)| *bytes <= 100));
            assert!(folder.files().len() <= 3);
        }
        assert_eq!(folder.files(), [("lucid.1.log".into(), 100), ("lucid.2.log".into(), 100), ("lucid.log".into(), 100)]);
        assert!(folder.read("lucid.2.log").starts_with("line 0010\n"));
        assert!(folder.read("lucid.1.log").starts_with("line 0020\n"));
        assert!(folder.read("lucid.log").ends_with("line 0039\n"));
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file_and_drops_surplus_ones() {
        let folder = Folder::new();
        for n in 0..6 {
            RotatedFile::open(folder.logs(), 4, 20).unwrap().write_all(format!("{n:09}\n").as_bytes()).unwrap();
        }
        assert_eq!(folder.files().len(), 3);
        assert_eq!(folder.read("lucid.log"), "000000004\n000000005\n");
        let _log = RotatedFile::open(folder.logs(), 1, 20).unwrap();
        assert_eq!(folder.files(), [("lucid.log".to_owned(), 20)]);
    }

    #[test]
    fn a_single_file_and_a_monstrous_line_stay_within_the_bound() {
        let folder = Folder::new();
        let mut log = RotatedFile::open(folder.logs(), 1, 50).unwrap();
        log.write_all(&[b'x'; 500]).unwrap();
        log.write_all(b"after\n").unwrap();
        assert_eq!(folder.files(), [("lucid.log".to_owned(), 6)]);
    }

    #[test]
    fn a_vanished_folder_costs_lines_and_not_the_log() {
        let folder = Folder::new();
        let mut log = RotatedFile::open(folder.logs(), 2, 10).unwrap();
        log.write_all(b"12345678\n").unwrap();
        std::fs::remove_dir_all(folder.logs()).unwrap();
        assert!(log.write_all(b"12345678\n").is_err());
        std::fs::create_dir_all(folder.logs()).unwrap();
        log.write_all(b"back\n").unwrap();
        assert_eq!(folder.read("lucid.log"), "back\n");
    }

    #[test]
    fn levels_are_filtered_by_target_and_files_are_json() {
        let folder = Folder::new();
        let console = Console::default();
        let targets: Targets = "warn,lucid::storage=debug".parse().unwrap();
        let files = RotatedFile::open(folder.logs(), 2, 10_000).unwrap();
        let (subscriber, guard) = subscriber(without_chatter(targets), LogFormat::Text, console.clone(), false, Some(files));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not wanted");
            tracing::warn!(node = 7, "wanted");
            tracing::debug!(target: "lucid::storage", "wanted too");
        });
        assert_eq!(guard.dropped_lines(), 0);
        drop(guard);
        let text = console.text();
        assert!(text.contains("WARN") && text.contains("wanted node=7") && text.contains("wanted too"), "{text}");
        assert!(!text.contains("not wanted") && !text.contains('\u{1b}'), "{text}");
        let lines: Vec<serde_json::Value> = folder.read("lucid.log").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0]["message"].as_str(), lines[0]["node"].as_u64()), (Some("wanted"), Some(7)));
    }

    #[test]
    fn a_chatty_library_is_quiet_unless_it_is_named() {
        for (wanted, lines) in [("info", 1), ("error", 0), ("info,tokio_cron_scheduler=info", 2)] {
            let console = Console::default();
            let (subscriber, guard) = subscriber(without_chatter(wanted.parse().unwrap()), LogFormat::Text, console.clone(), false, None);
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(target: "tokio_cron_scheduler::job", "created");
                tracing::warn!(target: "tokio_cron_scheduler::job", "stuck");
            });
            drop(guard);
            assert_eq!(console.text().lines().count(), lines, "{wanted}");
        }
    }

    #[test]
    fn a_stopped_console_drops_lines_and_holds_up_nobody() {
        struct Stopped(std::sync::mpsc::Receiver<()>);
        impl Write for Stopped {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go_on, stopped) = std::sync::mpsc::channel();
        let (subscriber, guard) = subscriber(without_chatter("info".parse().unwrap()), LogFormat::Json, Stopped(stopped), false, None);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..QUEUE_LINES * 2 {
                tracing::info!("line");
            }
        });
        assert!(guard.dropped_lines() >= QUEUE_LINES - 1, "{}", guard.dropped_lines());
        drop(go_on);
    }
}
