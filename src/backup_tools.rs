//! `backup` and `restore` on the command line.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lucid::app::control::{Done, Line, ask_backup};
use lucid::app::rebuild::{self, Metrics, Wanted};
use lucid::clock::{Clock, Stopwatch, boot_id};
use lucid::config::Config;
use lucid::domain::audit::{Act, Actor};
use lucid::domain::backup::Daily;
use lucid::domain::time::Timestamp;
use lucid::gateways::replica::{self, Mongo};
use lucid::storage::backup::{Options, Phase, Progress, make};
use lucid::storage::core::{backups, settings};
use lucid::storage::device;
use lucid::storage::recovery::{self, Contents};
use lucid::storage::restore::{self, Order, Restored};

use crate::{DataDir, Failure, ask_hidden, failed, load, misused, open_store, print, read_kit, read_small, store_config};

#[derive(Args)]
pub struct BackupArgs {
    #[command(flatten)]
    store: DataDir,
    /// Folder for this backup [default: that of the settings: backup.dir, or `backups` in the data folder]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// How far it is, on one line of a terminal.
#[derive(Default)]
struct Teller {
    said: Option<(Phase, u64)>,
}

impl Teller {
    fn hear(&mut self, phase: Phase, bytes: u64, total: u64) {
        if !io::stderr().is_terminal() {
            return;
        }
        let percent = (bytes.min(total) * 100).checked_div(total).unwrap_or(0);
        if self.said == Some((phase, percent)) {
            return;
        }
        self.said = Some((phase, percent));
        let what = match phase {
            Phase::Copying => "copying",
            Phase::Reading => "reading back",
            Phase::Verifying => "verifying",
        };
        let _ = write!(io::stderr(), "\r{what:<12} {percent:>3} %").and_then(|()| io::stderr().flush());
    }

    fn end(&self) {
        if self.said.is_some() {
            eprintln!();
        }
    }
}

pub fn backup(args: BackupArgs) -> Result<(), Failure> {
    let config = store_config(args.store)?;
    let to = args.to.map(|to| std::path::absolute(&to).map_err(misused)).transpose()?;
    let mut teller = Teller::default();
    let mut hear = |line: &Line| {
        if let Line::Progress { phase, bytes, total } = line {
            teller.hear(*phase, *bytes, *total);
        }
    };
    let asked = ask_backup(&config.storage.data_dir, to.clone(), &mut hear);
    let answer = asked.map_err(|error| failed(format!("the manager that runs there does not answer: {error}")))?;
    let done = match answer {
        Some(Line::Done(done)) => Ok(done),
        Some(Line::Error(why)) => Err(Failure::Runtime(why)),
        Some(_) => Err(Failure::Runtime("the manager went away".into())),
        None => of_files(&config, to, &mut teller),
    };
    teller.end();
    let Done { folder, files, bytes, linked_bytes, left_out, removed } = done?;
    let mut text =
        format!("{}\n{files} files, {bytes} bytes, {linked_bytes} of them shared with earlier backups; verified\n", folder.display());
    for why in left_out {
        text += &format!("left out: {why}\n");
    }
    for name in removed {
        text += &format!("taken away: {name}\n");
    }
    print(&text)
}

/// Of a store whose manager is not running.
fn of_files(config: &Config, to: Option<PathBuf>, teller: &mut Teller) -> Result<Done, Failure> {
    let (store, clock) = open_store(config)?;
    let read = store.read().map_err(failed)?;
    let stored = settings::all(&read, &store.secrets).map_err(failed)?;
    let config = config.with_stored(&stored).unwrap_or_else(|_| config.clone());
    let daily =
        Daily { enabled: config.backup.enabled, at_minutes: config.backup.at, dir: config.backup.dir.clone(), keep: config.backup.keep };
    let is_daily = to.is_none();
    let folder = to.unwrap_or_else(|| daily.folder(store.dir()));
    let now = clock.now();
    drop(read);
    let mut hear = |progress: Progress| {
        teller.hear(progress.phase, progress.bytes, progress.total);
        true
    };
    let made = make(&store, &Options::new(folder, daily.keep), now.wall, &mut hear).map_err(failed)?;
    let done = Done::of(&made);
    let draft = Act { actor: Actor::Console, ..Act::system(now) }.draft("backup.make", "");
    store.core.write_now(move |tx| backups::made(tx, &made, is_daily, now.wall, draft.clone())).map_err(failed)?;
    store.close();
    Ok(done)
}

#[derive(Args)]
pub struct RestoreArgs {
    /// Folder of the backup
    #[arg(long, value_name = "BACKUP", required_unless_present = "from_mongodb", conflicts_with = "from_mongodb")]
    from: Option<PathBuf>,
    /// Connection string of the cluster that the manager replicated to, or - for that of MONGODB_URI, which no list of processes shows
    #[arg(long, value_name = "URI|-", requires_all = ["manager", "kit"])]
    from_mongodb: Option<String>,
    /// Id of the manager that the cluster is to bring back
    #[arg(long, value_name = "ID", requires = "from_mongodb")]
    manager: Option<String>,
    /// Measurements that come along from the cluster
    #[arg(long, value_name = "WHICH", requires = "from_mongodb", default_value = "hourly")]
    metrics: Metrics,
    /// The day before which no measurements are wanted (2026-01-31)
    #[arg(long, value_name = "DATE", requires = "from_mongodb", value_parser = day)]
    metrics_since: Option<Timestamp>,
    /// Folder of the store that takes its place; it may be empty, or not be there
    #[arg(long, value_name = "DIR")]
    data_dir: String,
    /// Recovery kit, where secret.key is lost
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// File with the passphrase of the kit, or - for standard input; asked for on a terminal otherwise
    #[arg(long, value_name = "FILE|-", requires = "kit")]
    passphrase_file: Option<PathBuf>,
}

fn day(text: &str) -> Result<Timestamp, String> {
    let start = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).filter(|_| text.len() == 10);
    start.ok_or_else(|| "must be a day: 2026-01-31".to_owned())
}

/// What to do when a restore is done.
const AFTERWARDS: &str = "Payouts are frozen: what left the wallet since then is unknown to it. Start the manager, look at the page Wallet, and unfreeze there, or before the \
                          start by `money unfreeze`. People, tokens and settings are as they were then.\n";

/// The same of one that came from the cluster.
const OF_CLUSTER: &str = "It came from the cluster, which has no passwords, second factors, sessions and tokens: give people new passwords by `users reset-password NAME`; and \
                          no signatures: a transfer that was under way is not sent again, but looked for until it has landed or cannot any more. The manager that it was must not start \
                          again: its card is out of date.\n";

/// What came from the cluster; it goes when it has been restored, or was not.
struct Fetched {
    folder: PathBuf,
    /// Archives of which the cluster did not have every part.
    lacking: Vec<String>,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// For an answer, over any link.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where nobody sees a line change.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Fetches a store from the cluster into a folder beside the one that it will be in.
fn fetch(uri: String, manager: &str, kit: &Contents, dir: &Path, wanted: Wanted) -> Result<Fetched, Failure> {
    let of_environment = |text: String| if text == "-" { std::env::var("MONGODB_URI").ok() } else { Some(text) };
    let uri = of_environment(uri).ok_or_else(|| misused("--from-mongodb -: MONGODB_URI is not set"))?;
    std::fs::create_dir_all(dir).map_err(failed)?;
    let folder = dir.join(restore::FETCHED);
    // What one that was cut left.
    let _ = std::fs::remove_dir_all(&folder);
    let mut fetched = Fetched { folder, lacking: Vec::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    let (mut line, mut told) = (0, Stopwatch::start());
    let is_terminal = io::stderr().is_terminal();
    let mut tell = |at: rebuild::Progress| {
        let mut text = format!("fetching     {} of {}: {}, {} rows", at.step, at.steps, at.collection, at.rows);
        if at.failures > 0 {
            text += &format!("; no answer, tried again ({})", at.failures);
        }
        if is_terminal {
            let _ = write!(io::stderr(), "\r{text:line$}").and_then(|()| io::stderr().flush());
            line = text.len();
        } else if at.failures > 0 || told.elapsed() >= TOLD_EVERY {
            eprintln!("{text}");
            told = Stopwatch::start();
        }
    };
    let fetching = async {
        replica::check_uri(&uri).await?;
        let options =
            replica::Options { uri, manager: manager.to_owned(), region: String::new(), version: String::new(), patience: PATIENCE };
        rebuild::fetch(&Mongo::new(options), manager, kit, &fetched.folder, wanted, &mut tell).await.map_err(|why| why.0)
    };
    let outcome = runtime.block_on(fetching);
    if line > 0 {
        eprintln!();
    }
    fetched.lacking = outcome.map_err(Failure::Runtime)?.lacking;
    Ok(fetched)
}

pub fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let config = load(None, Some(args.data_dir), None)?.config;
    let kit = args.kit.map(|kit| opened_kit(&kit, args.passphrase_file.as_deref())).transpose()?;
    let now = Clock::system(config.clock.trust, Timestamp(0)).now();
    let dir = &config.storage.data_dir;
    let fetched = match (args.from_mongodb, &args.manager, &kit) {
        // One that was cut is finished, whatever is asked for.
        (Some(_), ..) if restore::is_pending(dir) => None,
        (Some(uri), Some(manager), Some(kit)) => {
            let wanted = Wanted { metrics: args.metrics, since: args.metrics_since.unwrap_or(Timestamp(0)) };
            Some(fetch(uri, manager, kit, dir, wanted)?)
        }
        _ => None,
    };
    let is_of_cluster = fetched.is_some();
    let from = fetched.as_ref().map(|fetched| fetched.folder.clone()).or(args.from).unwrap_or_default();
    let order = Order { from: &from, dir, kit: kit.as_ref(), boot_id: boot_id(), now, device: device::real() };
    let mut teller = Teller::default();
    let restored = restore::restore(&order, &mut |bytes, total| teller.hear(Phase::Copying, bytes, total));
    teller.end();
    let Some(Restored { manifest, generation, aside, erased, not_erased, former_unread }) = restored.map_err(failed)? else {
        return print(&format!(
            "A restore that was cut before its end is finished now. To restore another backup, give the command again.\n{AFTERWARDS}"
        ));
    };
    let what = if is_of_cluster { "what the cluster had as of" } else { "the backup of" };
    let mut text = format!("restored {what} {} into {}, as generation {generation}; verified\n", manifest.made_at, dir.display());
    if let Some(aside) = aside {
        text += &format!("the former files are in {}; delete them when you do not need them any more\n", aside.display());
    }
    if !erased.is_empty() {
        text += &format!("erased again: {}\n", erased.join(", "));
    }
    for (subject, why) in not_erased {
        text += &format!("NOT ERASED AGAIN: {subject}: {why}. Erase it by hand.\n");
    }
    if let Some(why) = former_unread {
        text += &format!(
            "The former store does not read ({why}): whoever was erased since the backup was made has to be erased again by hand.\n"
        );
    }
    if let Some(Fetched { lacking, .. }) = &fetched {
        if !lacking.is_empty() {
            text += &format!(
                "The cluster did not have all of these archives: {}. If there are copies of their files (NAME.jsonl.gz and NAME.manifest.json), put them into {}; what of them came back as rows stays in the store until then.\n",
                lacking.join(", "),
                dir.join("archive").display()
            );
        }
        text += OF_CLUSTER;
    }
    print(&(text + AFTERWARDS))
}

fn opened_kit(path: &Path, passphrase_file: Option<&Path>) -> Result<Contents, Failure> {
    let kit = read_kit(path)?;
    let passphrase = match passphrase_file {
        Some(file) => {
            let text =
                read_small(file).map_err(|error| misused(format!("the passphrase cannot be read from {}: {error}", file.display())))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => ask_hidden("Passphrase of the kit").map_err(failed)?,
    };
    let passphrase = passphrase
        .ok_or_else(|| misused("the passphrase is asked for on a terminal, and none was given; --passphrase-file reads it from a file"))?;
    recovery::open(&kit, &passphrase).map_err(failed)
}
