//! More clients of the event stream than there are places for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::attacks::status_bytes;
use super::{exchange, status};
use crate::support::binary::{self, PATIENCE};
use crate::support::client::Client;

const CLIENTS: usize = 10_000;
/// As `events::CLIENTS`.
const PLACES: usize = 256;
/// Programs that they belong to: each may have 16 places.
const PROGRAMS: usize = 20;
/// Open files that the rest of the test run may need.
const SPARE_FILES: u64 = 2_000;

/// As many as this process may have files for.
fn clients() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.or(current).unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(SPARE_FILES)).unwrap_or(usize::MAX).min(CLIENTS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_event_clients_get_256_places_and_a_word_when_to_come_back() {
    let clients = clients();
    let dir = tempfile::tempdir().unwrap();
    let mut command = binary::serve(dir.path());
    command.env("LUCID__LIMITS__PERSON_REQUESTS", "1000000");
    let manager = binary::start_manager(command);
    let address: SocketAddr = manager.base.trim_start_matches("http://").parse().unwrap();
    let mut person = Client::new(&manager.base);
    let code = std::fs::read_to_string(dir.path().join("setup-code")).unwrap();
    person.set_up(code.trim(), None).await;
    let mut requests: Vec<Arc<str>> = Vec::new();
    for number in 0..PROGRAMS {
        let asked = serde_json::json!({ "name": format!("watcher-{number}"), "role": "viewer", "expires_in_days": 1 });
        let made = person.post("/tokens", asked).await;
        let token = made["token"].as_str().unwrap();
        requests.push(format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into());
    }
    let before = status_bytes(&manager.process, "VmRSS");

    let (admitted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let leave = Arc::new(Notify::new());
    // So many knock at once, fewer than the eighth of the places that is left to those who have not asked yet; all of them stay.
    let knocking = Arc::new(Semaphore::new(192));
    let answered = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let (request, knocking, answered) = (Arc::clone(&requests[number % PROGRAMS]), Arc::clone(&knocking), Arc::clone(&answered));
        let (admitted, refused, leave) = (Arc::clone(&admitted), Arc::clone(&refused), Arc::clone(&leave));
        tasks.spawn(async move {
            let knock = knocking.acquire().await.unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            drop(knock);
            match status(&head) {
                200 => admitted.fetch_add(1, Ordering::Relaxed),
                429 | 503 if head.contains("\r\nretry-after: ") => refused.fetch_add(1, Ordering::Relaxed),
                _ => panic!("{head}"),
            };
            answered.add_permits(1);
            leave.notified().await;
        });
    }
    let all = u32::try_from(clients).unwrap();
    let _ = timeout(PATIENCE, answered.acquire_many(all)).await.expect("everybody is answered").unwrap();
    let alive = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&timeout(PATIENCE, exchange(address, alive)).await.unwrap()), 200, "others are served");
    person.get("/nodes").await;
    let grown = status_bytes(&manager.process, "VmRSS").saturating_sub(before);
    let (admitted, refused) = (admitted.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!("{clients} event clients: {admitted} admitted, {refused} refused, memory grew by {} KiB", grown >> 10);
    assert_eq!((admitted, refused), (PLACES, clients - PLACES));
    assert!(grown < 128 << 20, "memory grew by {grown} bytes");
    leave.notify_waiters();
    tasks.shutdown().await;
}
