//! Clients that are slow, greedy or broken, on purpose or not. Time limits are short here, so that nobody waits for the real ones.

use std::net::SocketAddr;
use std::time::Duration;

use lucid::api::capacity::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{SHORT, exchange, read_all, serve, status};
use crate::support::binary::{self, PATIENCE};

const ALIVE: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
const ALIVE_ONCE: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Until the manager hangs up.
async fn ended(stream: &mut TcpStream) -> String {
    timeout(PATIENCE, read_all(stream)).await.expect("the manager ends it")
}

/// Sends a request over a connection that stays open, and reads the head of the answer.
async fn kept(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await.expect("served");
    stream
}

async fn ask(stream: &mut TcpStream) -> Option<u16> {
    stream.write_all(ALIVE.as_bytes()).await.ok()?;
    let mut answer = vec![0; 4_096];
    let read = stream.read(&mut answer).await.ok().filter(|read| *read > 0)?;
    Some(status(&String::from_utf8_lossy(&answer[..read])))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_dribble_in_end_and_others_are_served_meanwhile() {
    const DRIBBLERS: usize = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], SHORT, Limits { of_loopback: 4_096, connections: 4_096, of_address: 1 }).await;
    let address = manager.main;
    let mut dribblers = JoinSet::new();
    for number in 0..DRIBBLERS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        dribblers.spawn(async move {
            // Every fourth says nothing at all.
            if number % 4 > 0 {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ").await;
                while stream.write_all(b"y").await.is_ok() {
                    let mut end = [0];
                    if timeout(Duration::from_millis(150), stream.read(&mut end)).await.is_ok() {
                        return;
                    }
                }
            }
            ended(&mut stream).await;
        });
        // Connections are accepted in their order, so that none of those before waits in the kernel any more.
        if number % 250 == 249 {
            assert_eq!(status(&exchange(address, ALIVE_ONCE).await), 200, "among {number} others");
        }
    }
    timeout(PATIENCE, async { while dribblers.join_next().await.is_some_and(|ended| ended.is_ok()) {} }).await.unwrap();
    assert!(dribblers.is_empty(), "all of them were ended");
}

/// As many connections with half a head, or half a handshake, as `from` may have; the manager has accepted them all.
async fn half_open(address: SocketAddr, from: &str, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let half = [&b"GET / HTTP/1.1\r\nhost: loc"[..], &[0x16, 3, 1, 2, 0, 1], b""][number % 3];
        stream.write_all(half).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn half_open_heads_give_way_to_whoever_asks_for_something() {
    const PLACES: usize = 32;
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: PLACES, of_address: PLACES, of_loopback: PLACES };
    // With the real time limits: nobody here is ended by theirs.
    let manager = serve(dir.path(), &[], super::Timeouts::default(), limits).await;
    let mut at_work = kept(manager.main).await;
    let mut halves = half_open(manager.main, "127.0.0.1", 2 * PLACES).await;
    for number in 0..4 {
        let answer = timeout(Duration::from_secs(5), exchange(manager.main, ALIVE_ONCE)).await;
        assert_eq!(status(&answer.expect("served at once")), 200, "{number}");
    }
    assert_eq!(ask(&mut at_work).await, Some(200), "who has asked before keeps the place");
    for stream in halves.iter_mut().take(PLACES) {
        assert_eq!(ended(stream).await, "", "the oldest were ended");
    }
    let mut last = halves.pop().unwrap();
    assert!(timeout(Duration::from_millis(50), last.read(&mut [0])).await.is_err(), "the newest waits");
}

#[tokio::test]
async fn each_listener_has_places_of_its_own() {
    // Just not enough to make one listener scarce of places; all together they are more than one has.
    const HELD: usize = 13;
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 16, of_address: 16, of_loopback: 16 };
    let separate = [("server.node_listen", "127.0.0.1:0"), ("server.ops_listen", "127.0.0.1:0")];
    let manager = serve(dir.path(), &separate, super::Timeouts::default(), limits).await;
    let mut held = Vec::new();
    for address in [manager.main, manager.node.unwrap(), manager.ops.unwrap()] {
        for _ in 0..HELD {
            held.push(kept(address).await);
        }
    }
    for stream in &mut held {
        assert!(ask(stream).await.is_some(), "none was ended for another");
    }
}

#[tokio::test]
async fn half_open_heads_of_an_address_give_way_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 64, of_address: 1, of_loopback: 8 };
    let manager = serve(dir.path(), &[], super::Timeouts::default(), limits).await;
    let mut patient = half_open(manager.main, "127.0.0.2", 1).await;
    let mut halves = half_open(manager.main, "127.0.0.1", 8).await;
    assert_eq!(status(&timeout(Duration::from_secs(5), exchange(manager.main, ALIVE_ONCE)).await.expect("served at once")), 200);
    assert_eq!(ended(&mut halves[0]).await, "");
    patient[0].write_all(b"alhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(status(&ended(&mut patient[0]).await), 200, "who came first, from elsewhere, was left in peace");
}

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], super::Timeouts::default(), Limits { connections: 64, of_address: 1, of_loopback: 8 }).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(kept(manager.main).await);
    }
    let mut ninth = TcpStream::connect(manager.main).await.unwrap();
    assert_eq!(ask(&mut ninth).await, None);
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut neighbour = elsewhere.connect(manager.main).await.unwrap();
    assert_eq!(ask(&mut neighbour).await, Some(200));
    drop(held.pop());
    let again = async || ask(&mut TcpStream::connect(manager.main).await.unwrap()).await;
    binary::eventually("the place that was given back", again).await;
}

#[tokio::test]
async fn idle_connections_make_room_when_places_are_scarce() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 16, of_address: 16, of_loopback: 16 };
    let manager = serve(dir.path(), &[], super::Timeouts::default(), limits).await;
    let mut idle = Vec::new();
    for _ in 0..13 {
        idle.push(kept(manager.main).await);
    }
    // The fourteenth makes it crowded; it is served, and the idle ones go long before their time.
    assert_eq!(status(&exchange(manager.main, ALIVE_ONCE).await), 200);
    for stream in &mut idle {
        assert_eq!(ended(stream).await, "");
    }
    assert_eq!(ask(&mut kept(manager.main).await).await, Some(200), "and afterwards all is as before");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], SHORT, Limits::default()).await;
    // The head of a TLS record that promises a ClientHello of 512 bytes, and one that is none.
    for bytes in [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x16], &[0x16; 64]] {
        let mut stream = TcpStream::connect(manager.main).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let answer = ended(&mut stream).await;
        assert!(!answer.contains("HTTP"), "{answer}");
    }
    assert_eq!(status(&exchange(manager.main, ALIVE_ONCE).await), 200);
}

#[tokio::test]
async fn who_never_reads_answers_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], SHORT, Limits::default()).await;
    let mut stream = TcpStream::connect(manager.main).await.unwrap();
    let asked = async { while stream.write_all(b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok() {} };
    timeout(PATIENCE, asked).await.expect("the manager stops waiting for the reader");
}

#[tokio::test]
async fn connections_that_are_closed_on_one_side_do_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    // With the real time limits only noticing the end can end them in time.
    let manager = serve(dir.path(), &[], super::Timeouts::default(), Limits::default()).await;
    for sent in ["", "GET / HTTP/1.1\r\nho", ALIVE, "POST /api/v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"] {
        let mut stream = TcpStream::connect(manager.main).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let noticed = timeout(Duration::from_secs(5), read_all(&mut stream)).await;
        assert!(noticed.is_ok(), "{sent:?}");
    }
}

#[tokio::test]
async fn bodies_that_dribble_in_end_on_every_route() {
    let dir = tempfile::tempdir().unwrap();
    let manager = serve(dir.path(), &[], SHORT, Limits::default()).await;
    for path in ["/api/v1/agent/report", "/api/v1/agent/enrol", "/api/v1/auth/login", "/api/v1/setup"] {
        let mut stream = TcpStream::connect(manager.main).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nx-lucid-node: node_0001\r\ncontent-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: 900\r\n\r\n").as_bytes()).await.unwrap();
        let dribbled = async {
            let mut end = vec![0; 4_096];
            // Each byte is in time; all of them are not.
            while stream.write_all(b" ").await.is_ok() {
                if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(100), stream.read(&mut end)).await {
                    return;
                }
            }
        };
        timeout(PATIENCE, dribbled).await.expect(path);
    }
}

/// Bytes of a line of /proc/PID/status.
pub fn status_bytes(process: &binary::Process, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("the kernel tells");
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_gigabyte_is_refused_early_and_never_held() {
    const GIGABYTE: usize = 1 << 30;
    const CHUNK: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let manager = binary::start_manager(binary::serve(dir.path()));
    let address: SocketAddr = manager.base.trim_start_matches("http://").parse().unwrap();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let before = status_bytes(&manager.process, "VmHWM");

    let told = exchange(address, &format!("{head}content-length: {GIGABYTE}\r\n\r\n")).await;
    assert_eq!(status(&told), 413, "before the first byte of it: {told}");

    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    writer.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let chunk = [format!("{CHUNK:x}\r\n").into_bytes(), vec![b' '; CHUNK], b"\r\n".to_vec()].concat();
        let mut sent = 0;
        while sent < GIGABYTE && writer.write_all(&chunk).await.is_ok() {
            sent += CHUNK;
        }
        sent
    });
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("an answer");
    assert_eq!(status(&String::from_utf8_lossy(&answer)), 413, "{}", String::from_utf8_lossy(&answer));
    let sent = timeout(PATIENCE, sending).await.unwrap().unwrap();
    let grown = status_bytes(&manager.process, "VmHWM") - before;
    println!("sent {} MiB of 1024, memory grew by {} KiB", sent >> 20, grown >> 10);
    assert!(sent < 64 << 20, "it was refused early, not after {sent} bytes");
    assert!(grown < 48 << 20, "memory grew by {grown} bytes");
}
