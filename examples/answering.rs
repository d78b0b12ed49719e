//! A workload that proves that it works: it waits for the challenges that its agent hands on, makes an output for each, and hands it in.
//!
//! `[workload]` with `command = ["/path/to/answering"]` in the agent's configuration starts it; the agent says by `LUCID_AGENT_SOCKET` where to ask.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::var("LUCID_AGENT_SOCKET").map_err(|_| "an agent starts this, and says where its socket is")?;
    loop {
        // The agent may be away for a while: it is being updated, or has not begun to listen.
        if let Err(error) = serve(&path) {
            println!("{error}; trying again");
        }
        sleep(Duration::from_secs(1));
    }
}

fn serve(path: &str) -> Result<(), Box<dyn Error>> {
    let mut agent = BufReader::new(UnixStream::connect(path)?);
    let mut done = 0_u64;
    loop {
        let answer = ask(&mut agent, &json!({ "ask": "challenge", "wait_ms": 60_000 }))?;
        let Some(challenge) = answer.get("challenge").filter(|challenge| !challenge.is_null()) else { continue };
        // Where real work would be done. The challenge in it makes the output this node's own: equal ones of two nodes are taken for copies.
        done += 1;
        let output = format!("work item {done}, for challenge {}", challenge["challenge"].as_str().unwrap_or_default());
        let submit = json!({ "ask": "submit", "output_data": BASE64.encode(output.as_bytes()), "challenge_slot": challenge["slot"] });
        let answer = ask(&mut agent, &submit)?;
        println!("slot {}: {answer}", challenge["slot"]);
        if answer["verdict"]["is_valid"] != true {
            sleep(Duration::from_secs(1));
        }
    }
}

/// One line there, one line back.
fn ask(agent: &mut BufReader<UnixStream>, question: &Value) -> Result<Value, Box<dyn Error>> {
    writeln!(agent.get_mut(), "{question}")?;
    let mut line = String::new();
    if agent.read_line(&mut line)? == 0 {
        return Err("the agent has gone".into());
    }
    Ok(serde_json::from_str(&line)?)
}
