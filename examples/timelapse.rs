//! A manager, or a signer, whose clock is not the machine's: it runs N times as fast, days of epochs, postings and payouts while one watches, or stands where
//! a test has put it. The time goes on where it was when the process is started again on the same folder (until the machine reboots).
//!
//! `cargo run --example timelapse -- --data-dir DIR --rate 60`
//! `cargo run --example timelapse -- --data-dir DIR --clock FILE`
//! `cargo run --example timelapse -- signer --keystore FILE --passphrase-file FILE --socket PATH --state-dir DIR --max-usdt N --contract T... --clock FILE`
//!
//! The file of a clock has wall and boot time in milliseconds; who writes it puts a whole one in its place.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use lucid::app::{self, App};
use lucid::clock::{self, Clock, Driver};
use lucid::config::{Config, Sources};
use lucid::domain::address::TronAddress;
use lucid::domain::time::{BootMs, ClockReading, Timestamp, TrustPolicy};
use lucid::gateways::payment::signer::{Caps, Keystore, Passphrase, Signer, Socket, Wallet};
use lucid::live::{Job, Nudges};
use lucid::logging;
use tokio::signal::unix::{SignalKind, signal};

/// How often the file of a clock is read.
const READ_EVERY: Duration = Duration::from_millis(3);
/// How often the clock is looked at for what is due by it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a cycle of payouts may come late by such a clock: what time alone brings within half a minute.
const NUDGE_EVERY_MS: i64 = 30_000;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    manager: Option<ManagerArgs>,
}

#[derive(Subcommand)]
enum Role {
    /// A signer by the same clock, unlocked
    Signer(SignerArgs),
}

#[derive(clap::Args)]
struct ManagerArgs {
    /// Folder of everything this manager keeps
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// How many times as fast the clock runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: u32,
    /// The clock stands where this file says
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    clock: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: String,
}

#[derive(clap::Args)]
struct SignerArgs {
    #[arg(long, value_name = "FILE")]
    keystore: PathBuf,
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Whole USDT of one payout, and of 24 hours
    #[arg(long, value_name = "USDT")]
    max_usdt: u32,
    #[arg(long, value_name = "T...")]
    contract: String,
    /// The clock stands where this file says
    #[arg(long, value_name = "FILE")]
    clock: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    match (args.role, args.manager) {
        (Some(Role::Signer(args)), _) => sign(&args),
        (None, Some(args)) => manage(args).await,
        (None, None) => Err("neither a manager nor a signer".into()),
    }
}

async fn manage(args: ManagerArgs) -> Result<(), Box<dyn Error>> {
    let data_dir = args.data_dir.to_str().ok_or("the path is not UTF-8")?.to_owned();
    let flags = vec![("storage.data_dir", "--data-dir", data_dir), ("server.listen", "--listen", args.listen)];
    let config = Config::load(&Sources::from_environment(None, flags))?.config;
    let _logs = logging::start(&config.log, &config.storage.data_dir)?;
    let driver = args.clock.as_deref().map(follow).transpose()?;
    let clock_of: Box<dyn Fn(&Config, Timestamp) -> Clock> = match driver.clone() {
        Some(driver) => Box::new(move |config, high_water| Clock::driven(&driver, config.clock.trust, high_water)),
        None => {
            let (start, rate) = (beginning(&config.storage.data_dir)?, args.rate);
            Box::new(move |_, high_water| Clock::fast(start, rate, high_water))
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    app::serve(&config, &clock_of, shutdown, |server, setup_code, app: &App| {
        println!("listening on {}://{}", server.scheme(server.listen), server.listen);
        if let Some(code) = setup_code {
            println!("setup code   {code}");
        }
        let nudges = app.context.nudges.clone();
        match &driver {
            Some(driver) => tokio::spawn(nudge_by(driver.clone(), nudges)),
            None => tokio::spawn(nudge(nudges)),
        };
    })
    .await?;
    Ok(())
}

/// The cron expressions are of real time; everything else follows the fast clock by itself.
async fn nudge(nudges: Nudges) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for job in [Job::Epochs, Job::Postings, Job::Housekeeping] {
            nudges.nudge(job);
        }
    }
}

/// What waits in real time sleeps through most of a clock that somebody moves.
async fn nudge_by(driver: Driver, nudges: Nudges) {
    let mut last = driver.reading().wall;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = driver.reading().wall;
        if now.since(last) >= NUDGE_EVERY_MS {
            last = now;
            for job in [Job::Epochs, Job::Postings, Job::Wallet, Job::Payouts, Job::Housekeeping] {
                nudges.nudge(job);
            }
        }
    }
}

/// When this folder's time began to run faster: wall and boot time in milliseconds, in a file beside the folder.
fn beginning(data_dir: &Path) -> Result<ClockReading, Box<dyn Error>> {
    let file = data_dir.with_extension("timelapse");
    if file.exists() {
        return read(&file);
    }
    let ClockReading { wall, boot, .. } = clock::read_system();
    std::fs::create_dir_all(file.parent().ok_or("the data folder has no parent")?)?;
    std::fs::write(&file, format!("{} {}\n", wall.0, boot.0))?;
    Ok(ClockReading { wall, boot, synchronised: true })
}

fn read(file: &Path) -> Result<ClockReading, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    let (wall, boot) = text.trim().split_once(' ').ok_or("the file of the time is damaged")?;
    Ok(ClockReading { wall: Timestamp(wall.parse()?), boot: BootMs(boot.parse()?), synchronised: true })
}

/// A clock that goes where the file goes; both its times move together.
fn follow(file: &Path) -> Result<Driver, Box<dyn Error>> {
    let ClockReading { wall, boot, .. } = read(file)?;
    let (driver, file) = (Driver::new(wall, boot), file.to_owned());
    let moved = driver.clone();
    // By its name it can be told from those that have work to do.
    std::thread::Builder::new().name("clock".into()).spawn(move || {
        loop {
            std::thread::sleep(READ_EVERY);
            if let Ok(told) = read(&file) {
                moved.advance_ms(told.wall.since(moved.reading().wall));
            }
        }
    })?;
    Ok(driver)
}

fn sign(args: &SignerArgs) -> Result<(), Box<dyn Error>> {
    let driver = follow(&args.clock)?;
    let clock = Clock::driven(&driver, TrustPolicy::Earned, Timestamp(0));
    let micro = u64::from(args.max_usdt) * 1_000_000;
    let contract = TronAddress::parse(&args.contract).map_err(|error| error.to_string())?;
    let caps = Caps { max_payout: micro, max_24h: micro, max_fee_sun: 1_000_000_000, contracts: vec![contract] };
    let own = |keystore: &Keystore| Wallet { account: keystore.address(), key: keystore.address(), permission_id: None };
    let mut signer = Signer::open(&args.keystore, &args.state_dir, own, caps).map_err(|error| error.to_string())?;
    let passphrase = Passphrase::new(&std::fs::read_to_string(&args.passphrase_file)?);
    signer.unlock(&passphrase, clock.now()).map_err(|refused| refused.message)?;
    let socket = Socket::bind(&args.socket, &[])?;
    println!("listening on {}", args.socket.display());
    Err(socket.serve(signer, &|| clock.now()).into())
}
