//! `verify` on the command line: a store whose manager runs or does not, or a backup.

use std::io::{self, IsTerminal};

use clap::Args;
use lucid::app;
use lucid::app::control::{Line, ask_verify};
use lucid::clock::Clock;
use lucid::domain::backup::MANIFEST;
use lucid::domain::time::Timestamp;
use lucid::storage::backup::check::check;
use lucid::storage::core::ledger_check::Depth;
use lucid::storage::verify::Finding;

use crate::{DataDir, Failure, failed, print, store_config};

#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: DataDir,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Replay every posting of the ledger and every epoch whose leaves are kept, instead of those since the last checkpoint
    #[arg(long)]
    full: bool,
}

/// Exit status 1 when anything is wrong.
pub fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let findings = findings(&args)?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&findings).map_err(failed)?))?;
    } else {
        for Finding { part, records, wrong, left_out } in &findings {
            let found = wrong.as_ref().map_or_else(|| format!("{records} records, good"), |why| format!("WRONG: {why}"));
            let left_out = left_out.as_ref().map_or_else(String::new, |what| format!(" (without {what})"));
            print(&format!("{part}: {found}{left_out}\n"))?;
        }
    }
    if findings.iter().any(|finding| finding.wrong.is_some()) { Err(failed("it is damaged")) } else { Ok(()) }
}

fn findings(args: &VerifyArgs) -> Result<Vec<Finding>, Failure> {
    let config = store_config(args.store.clone())?;
    let depth = if args.full { Depth::Full } else { Depth::SinceCheckpoint };
    let folder = &config.storage.data_dir;
    if folder.join(MANIFEST).is_file() {
        let unsound = |why: String| vec![Finding { part: "files".to_owned(), records: 0, wrong: Some(why), left_out: None }];
        return Ok(check(folder, depth, &mut |_, _| {}).map_or_else(|why| unsound(why.to_string()), |(_, findings)| findings));
    }
    let asked = ask_verify(folder, args.full, &mut || {
        if io::stderr().is_terminal() {
            eprintln!("the manager that runs there looks at its store");
        }
    });
    match asked.map_err(|error| failed(format!("the manager that runs there does not answer: {error}")))? {
        Some(Line::Verified(findings)) => return Ok(findings),
        Some(Line::Error(why)) => return Err(Failure::Runtime(why)),
        Some(_) => return Err(Failure::Runtime("the manager went away".into())),
        None => (),
    }
    let now = Clock::system(config.clock.trust, Timestamp(0)).now();
    app::verify(&config, now, depth).map_err(failed)
}
