//! A manager with a past: fills a store with a month of two dozen machines, then serves it, with agents that go on reporting.
//!
//! `cargo run --example demo -- [--days N] [--nodes N] [--seed N] [--listen ADDR:PORT] [--data-dir DIR] [--fill-only | --resume]`
//!
//! Nothing is written into the store but by the code that writes it in production: the clock is driven, people act through HTTP,
//! machines report, the cycles run. The past ends at the present of this machine. Without `--data-dir` the store is a temporary
//! folder, which goes with the program.
//!
//! It prints `listening on http://...` and the logins. While it serves it takes commands, one a line, on its standard input,
//! and answers each with a line `done ...` or `error ...`:
//!
//! * `silence NAME`: the agent of this node reports no more.
//! * `wake NAME`: it reports again, at once.
//! * `network away` and `network back`: the network of the wallet cannot be asked meanwhile.
//! * `steal USDT`: so much leaves the wallet to a stranger, and nothing here planned it.
//! * `advance SECONDS`: the manager's clock jumps; every slot in between gets the reports of whoever is not silent.
//!
//! `--fill-only` ends once the store is filled. `--resume` serves a store that was filled before (or a copy of it), also after `kill -9`:
//! the clock keeps its lead over the machine's, who was silent stays so. Time that passed meanwhile is told like the rest of the past, so
//! that a kept store is as alive as a fresh one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a demo that cannot go on has failed")]

mod cast;
mod gateway;
mod live;
mod load;
mod past;
mod stamp;
mod story;
mod support;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use lucid::app::App;
use lucid::clock::{Clock, Stopwatch};
use lucid::config::{Config, Sources};
use lucid::domain::time::Timestamp;
use lucid::logging;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use live::Present;
use past::{LISTENS_MS, PEOPLE, Past, driver};
use stamp::Stamp;
use support::client::{PASSWORD, USERNAME};

#[derive(Parser)]
struct Args {
    /// Days of history
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=60))]
    days: u32,
    /// Machines, at least 20
    #[arg(long, value_name = "N", default_value_t = 24)]
    nodes: usize,
    /// What the machines do follows from it
    #[arg(long, value_name = "N", default_value_t = 20_260_801)]
    seed: u64,
    /// Folder of the store; a temporary one when absent
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// What is logged while serving
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    log: String,
    /// Fill the store and end
    #[arg(long, requires = "data_dir", conflicts_with = "resume")]
    fill_only: bool,
    /// Serve a store that was filled before
    #[arg(long, requires = "data_dir")]
    resume: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let temporary = if args.data_dir.is_none() { Some(tempfile::Builder::new().prefix("lucid-demo-").tempdir()?) } else { None };
    let dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().join("data"),
        (None, None) => return Err("no data folder".into()),
    };
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    tokio::pin!(shutdown);
    tokio::select! {
        filled = fill(&args, &dir) => filled?,
        () = &mut shutdown => return Ok(()),
    }
    if args.fill_only { Ok(()) } else { serve(&args, &dir, shutdown).await }
}

/// Brings the store to the present.
async fn fill(args: &Args, dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut stamp = if args.resume {
        Stamp::read(dir)?
    } else if Stamp::exists(dir) {
        return Err(format!("{} holds a demo: serve it with --resume, or remove it", dir.display()).into());
    } else if args.nodes < cast::MIN_NODES {
        return Err(format!("the story needs {} machines", cast::MIN_NODES).into());
    } else {
        Stamp::new(args.seed, args.days, args.nodes)
    };
    println!("seed {}", stamp.seed);
    let watch = Stopwatch::start();
    let past = if !args.resume {
        println!("filling {} with {} days of {} machines", dir.display(), stamp.days, stamp.nodes);
        let past = Past::begin(dir, &stamp).await;
        stamp.write(dir)?;
        past
    } else if !stamp.filled {
        return Err("the store was not filled to its end: remove it".into());
    } else {
        let known = known_until(dir)?;
        if stamp.present().since(known) <= LISTENS_MS {
            return Ok(());
        }
        println!("going on from {known}");
        Past::go_on(dir, &stamp, known).await
    };
    let until = past.tell(|day| eprintln!("  {day} after {:.1} s", watch.elapsed().as_secs_f64())).await;
    stamp.filled = true;
    stamp.write(dir)?;
    println!("filled until {until} in {:.1} s", watch.elapsed().as_secs_f64());
    Ok(())
}

fn config(dir: &Path, args: &Args, stamp: &Stamp) -> Result<Config, Box<dyn Error>> {
    let data_dir = dir.to_str().ok_or("the path is not UTF-8")?.to_owned();
    let (_, story) = stamp.story();
    let mut flags = vec![
        ("storage.data_dir", "--data-dir", data_dir),
        ("server.listen", "--listen", args.listen.clone()),
        // A manager that is killed loses little.
        ("storage.flush_seconds", "demo", "10".to_owned()),
        ("log.level", "--log", args.log.clone()),
    ];
    flags.extend(stamp.settings(&story.span).into_iter().map(|(key, value)| (key, "demo", value)));
    Ok(Config::load(&Sources { flags, ..Sources::default() })?.config)
}

/// The time up to which the store knows everything.
fn known_until(dir: &Path) -> Result<Timestamp, Box<dyn Error>> {
    let flags = vec![("storage.data_dir", "--data-dir", dir.to_str().ok_or("the path is not UTF-8")?.to_owned())];
    let config = Config::load(&Sources { flags, ..Sources::default() })?.config;
    let store = lucid::app::open_store(&config, Clock::system(config.clock.trust, Timestamp(0)).now())?;
    let known = lucid::storage::high_water(&store).map_err(|fault| fault.to_string())?;
    store.close();
    Ok(known)
}

async fn serve(args: &Args, dir: &Path, shutdown: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    let stamp = Stamp::read(dir)?;
    let (_, story) = stamp.story();
    let mut config = config(dir, args, &stamp)?;
    let listener = TcpListener::bind(config.server.listen).await?;
    config.server.listen = listener.local_addr()?;
    let base = format!("http://{}", config.server.listen);
    let _logs = logging::start(&config.log, &config.storage.data_dir)?;
    let driver = driver(story.span.start, known_until(dir)?.max(stamp.present().plus_ms(-LISTENS_MS)));
    let clock_driver = driver.clone();
    let clock_of = move |config: &Config, high_water| Clock::driven(&clock_driver, config.clock.trust, high_water);
    let gateway = stamp.gateway(&story, &driver);
    let app = App::open_signed(&config, &clock_of, gateway.clone(), gateway.clone()).await?;
    let mut present = Present::new(dir.to_owned(), stamp, &app, driver, gateway, &base);
    present.catch_up();
    println!("listening on {base}");
    println!("sign in as {USERNAME} (super_admin), or as {}", PEOPLE.map(|(name, role)| format!("{name} ({role})")).join(", "));
    println!("password   {PASSWORD}");
    println!("commands   silence NAME, wake NAME, network away|back, steal USDT, advance SECONDS");
    let present = tokio::spawn(present.run());
    let served = app.serve(listener, shutdown).await;
    present.abort();
    Ok(served?)
}
