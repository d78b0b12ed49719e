//! A manager whose clock runs N times as fast: days of epochs, postings and payouts while one watches. The time goes on where it
//! was when the process is started again on the same folder (until the machine reboots).
//!
//! `cargo run --example timelapse -- --data-dir DIR --rate 60`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use lucid::app::{self, App};
use lucid::clock::{self, Clock};
use lucid::config::{Config, Sources};
use lucid::domain::time::{BootMs, ClockReading, Timestamp};
use lucid::live::Job;
use lucid::logging;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Args {
    /// Folder of everything this manager keeps
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// How many times as fast the clock runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: u32,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let data_dir = args.data_dir.to_str().ok_or("the path is not UTF-8")?.to_owned();
    let flags = vec![("storage.data_dir", "--data-dir", data_dir), ("server.listen", "--listen", args.listen)];
    let config = Config::load(&Sources::from_environment(None, flags))?.config;
    let _logs = logging::start(&config.log, &config.storage.data_dir)?;
    let start = beginning(&config.storage.data_dir)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    app::serve(&config, &|_, high_water| Clock::fast(start, args.rate, high_water), shutdown, |server, setup_code, app: &App| {
        println!("listening on {}://{}", server.scheme(server.listen), server.listen);
        if let Some(code) = setup_code {
            println!("setup code   {code}");
        }
        let nudges = app.context.nudges.clone();
        tokio::spawn(async move {
            // The cron expressions are of real time; everything else follows the fast clock by itself.
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                for job in [Job::Epochs, Job::Postings, Job::Housekeeping] {
                    nudges.nudge(job);
                }
            }
        });
    })
    .await?;
    Ok(())
}

/// When this folder's time began to run faster: wall and boot time in milliseconds, in a file beside the folder.
fn beginning(data_dir: &Path) -> Result<ClockReading, Box<dyn Error>> {
    let file = data_dir.with_extension("timelapse");
    if let Ok(text) = std::fs::read_to_string(&file) {
        let (wall, boot) = text.trim().split_once(' ').ok_or("the file of the beginning is damaged")?;
        return Ok(ClockReading { wall: Timestamp(wall.parse()?), boot: BootMs(boot.parse()?), synchronised: true });
    }
    let ClockReading { wall, boot, .. } = clock::read_system();
    std::fs::create_dir_all(file.parent().ok_or("the data folder has no parent")?)?;
    std::fs::write(&file, format!("{} {}\n", wall.0, boot.0))?;
    Ok(ClockReading { wall, boot, synchronised: true })
}
