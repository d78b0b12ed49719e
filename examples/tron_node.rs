//! The tests' fake TRON node, on a port and in real time: for wallets tried by hand, and for the clients that prove it faithful.
//!
//! `cargo run --example tron_node -- --fund ADDRESS:USDT:TRX [--fund …] [--listen ADDR:PORT] [--solid-distance N]`
//!
//! It prints `listening on http://…`, has blocks every three seconds, and forgets everything when it ends. No money of any chain is in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "an example that cannot go on has failed")]

#[path = "../tests/support/tron/mod.rs"]
mod tron;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use tron::chain::{SLOT_MS, SOLID_DISTANCE};
use tron::server::Server;
use tron::{Address, Config, Network};

const TICK: Duration = Duration::from_millis(50);

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// An account, with whole USDT and TRX
    #[arg(long, value_name = "ADDRESS:USDT:TRX", value_parser = funded)]
    fund: Vec<Funded>,
    /// Blocks until one is final; 18 on the real chain
    #[arg(long, value_name = "N", default_value_t = SOLID_DISTANCE)]
    solid_distance: u64,
}

#[derive(Clone)]
struct Funded {
    address: Address,
    usdt: u32,
    trx: u32,
}

fn funded(text: &str) -> Result<Funded, String> {
    let mut parts = text.split(':');
    let (Some(address), Some(usdt), Some(trx), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("not ADDRESS:USDT:TRX".to_owned());
    };
    let address = Address::parse(address).ok_or("not an address")?;
    let whole = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    Ok(Funded { address, usdt: whole(usdt)?, trx: whole(trx)? })
}

#[expect(clippy::disallowed_methods, reason = "the chain's clock is the machine's, as for a real node")]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let config = Config { solid_distance: args.solid_distance, ..Config::at(now_ms() / SLOT_MS * SLOT_MS) };
    let mut network = Network::new(config, 1, 1);
    for each in &args.fund {
        network.chain.give_usdt(each.address, i128::from(each.usdt) * 1_000_000);
        network.chain.give_trx(each.address, i64::from(each.trx) * 1_000_000);
    }
    let server = Server::start_at(network, &[args.listen]).await?;
    println!("listening on {}", server.url(0));
    std::io::stdout().flush()?;
    loop {
        {
            let mut network = server.network();
            // A clock that is set back stops the chain until it is late enough again.
            let passed = now_ms() - network.chain.now_ms;
            network.chain.advance(passed.max(0));
        }
        tokio::time::sleep(TICK).await;
    }
}
