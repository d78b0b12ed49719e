//! `backup` and `restore` on the command line.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use lucid::app::control::{Done, Line, ask_backup};
use lucid::config::Config;
use lucid::domain::audit::{Act, Actor};
use lucid::domain::backup::Daily;
use lucid::storage::backup::{Options, Phase, Progress, make};
use lucid::storage::core::{backups, settings};

use crate::{DataDir, Failure, failed, misused, open_store, print, store_config};

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
        Some(Line::Progress { .. }) => Err(Failure::Runtime("the manager went away".into())),
        None => of_files(&config, to, &mut teller),
    };
    teller.end();
    let Done { folder, files, bytes, linked_bytes, left_out, removed } = done?;
    let mut text =
        format!("{}\n{files} files, {bytes} bytes, {linked_bytes} of them shared with earlier backups; verified\n", folder.display());
    for why in left_out {
        text += &format!("left out: archive {why}\n");
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
