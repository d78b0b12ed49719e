//! A blockchain service of the tests: it hands out a newest block, takes votes, and behaves as the test says. It checks every signature by itself.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lucid::crypto::{PublicKey, unhex};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it behaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Mood {
    #[default]
    Fine,
    /// Connections end without an answer.
    Away,
    /// It takes so many votes, and answers nothing more.
    SlowAfter(usize),
    /// What it says of its newest block is of no use.
    NoBlock(&'static str),
    /// Every vote is answered so.
    Answers(u16, &'static str),
    /// Votes on this node are answered so.
    Refuses(String, u16, &'static str),
    /// Votes on these nodes are answered with 500.
    Stumbles(Vec<String>),
}

#[derive(Debug, Default)]
struct Inner {
    mood: Mood,
    height: u64,
    /// Every body that came, in order.
    bodies: Vec<String>,
    /// (node, epoch) that are there.
    taken: Vec<(String, u64)>,
    asked_blocks: usize,
    under_way: usize,
    most_under_way: usize,
}

#[derive(Debug, Clone, Default)]
pub struct ChainStub(Arc<Mutex<Inner>>);

impl ChainStub {
    /// Serves on a port of its own; its base URL.
    pub async fn serve() -> (ChainStub, String) {
        let stub = ChainStub::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(served.clone(), stream));
            }
        });
        (stub, url)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn set(&self, mood: Mood) {
        self.inner().mood = mood;
    }

    /// Another block is the newest.
    pub fn grow(&self) {
        self.inner().height += 1;
    }

    /// Every vote that came, as it was sent, and forgets them.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().bodies)
    }

    /// Votes that are there.
    pub fn taken(&self) -> usize {
        self.inner().taken.len()
    }

    pub fn asked_blocks(&self) -> usize {
        self.inner().asked_blocks
    }

    pub fn most_under_way(&self) -> usize {
        self.inner().most_under_way
    }

    /// None: the connection ends. Err: it hangs.
    fn handle(&self, method: &str, path: &str, body: &str) -> Result<Option<(u16, String)>, ()> {
        let mut inner = self.inner();
        let mood = inner.mood.clone();
        if mood == Mood::Away {
            return Ok(None);
        }
        if (method, path) == ("GET", "/api/v1/blocks/latest") {
            inner.asked_blocks += 1;
            return match mood {
                Mood::NoBlock(text) => Ok(Some((200, text.to_owned()))),
                _ => Ok(Some((200, json!({ "block": { "id": format!("block-{}", inner.height), "size": 3 } }).to_string()))),
            };
        }
        assert_eq!((method, path), ("POST", "/api/v1/consensus/vote"));
        inner.bodies.push(body.to_owned());
        let vote: Value = serde_json::from_str(body).unwrap();
        let name = (vote["node_id"].as_str().unwrap().to_owned(), vote["epoch"].as_u64().unwrap());
        match mood {
            Mood::SlowAfter(0) => return Err(()),
            Mood::SlowAfter(left) => inner.mood = Mood::SlowAfter(left - 1),
            Mood::Answers(status, text) => return Ok(Some((status, text.to_owned()))),
            Mood::Refuses(node, status, text) if node == name.0 => return Ok(Some((status, text.to_owned()))),
            Mood::Stumbles(nodes) if nodes.contains(&name.0) => return Ok(Some((500, "a fault of its own".into()))),
            _ => (),
        }
        if inner.taken.contains(&name) {
            return Ok(Some((409, "{\"detail\":\"duplicate\"}".into())));
        }
        inner.taken.push(name);
        Ok(Some((202, "{}".into())))
    }
}

/// The signature holds over what README says of it; written from there alone.
pub fn is_signed(body: &str, manager_key: &str) -> bool {
    let vote: Value = serde_json::from_str(body).unwrap();
    let (node, block) = (vote["node_id"].as_str().unwrap(), vote["block_id"].as_str().unwrap());
    let (whole, rest) = score_text(&vote["score"]);
    let hundredths = whole * 100 + rest;
    let epoch = u32::try_from(vote["epoch"].as_u64().unwrap()).unwrap();
    let mut bytes = b"lucid/vote/v1\0".to_vec();
    bytes.extend(u16::try_from(node.len()).unwrap().to_be_bytes());
    bytes.extend(node.as_bytes());
    bytes.extend(hundredths.to_be_bytes());
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block.as_bytes());
    bytes.extend(epoch.to_be_bytes());
    PublicKey::from_hex(manager_key).unwrap().verifies(&bytes, &unhex(vote["signature"].as_str().unwrap()).unwrap())
}

/// Before and after the point, as a reader without floats takes it: 98.5 is (98, 50).
fn score_text(score: &Value) -> (u16, u16) {
    let text = score.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
    (whole.parse().unwrap(), format!("{rest:0<2}").parse().unwrap())
}

async fn answer(stub: ChainStub, mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let (head, end) = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8(read[..end].to_vec()).unwrap(), end + 4);
            }
            let mut some = [0u8; 4096];
            let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
            read.extend_from_slice(&some[..n]);
        };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap()));
        let length: usize = length.unwrap_or(0);
        while read.len() < end + length {
            let mut some = [0u8; 4096];
            let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
            read.extend_from_slice(&some[..n]);
        }
        let rest = read.split_off(end + length);
        let body = String::from_utf8(read.split_off(end)).unwrap();
        read = rest;
        let mut words = head.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        {
            let mut inner = stub.inner();
            inner.under_way += 1;
            inner.most_under_way = inner.most_under_way.max(inner.under_way);
        }
        let outcome = stub.handle(&method, &path, &body);
        if outcome.is_ok() {
            tokio::task::yield_now().await;
        }
        stub.inner().under_way -= 1;
        let (status, text) = match outcome {
            Ok(Some(answer)) => answer,
            Ok(None) => return None,
            Err(()) => {
                // Until the other side has had enough.
                let _ = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0u8; 1])).await;
                return None;
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).await.ok()?;
    }
}
