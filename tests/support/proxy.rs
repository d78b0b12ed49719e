//! What lies between a manager and a server: it cuts, holds up, or turns away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
pub struct Faults {
    /// Bytes of the server's answers that still pass; then each connection ends. Negative: all of them.
    pub pass: AtomicI64,
    /// New connections end at once.
    pub away: AtomicBool,
    /// No answer passes, and nothing ends.
    pub stalls: AtomicBool,
    /// Bytes of requests that still reach the server; then none does, and nothing ends. Negative: all of them.
    pub reach: AtomicI64,
}

pub struct Proxy {
    pub address: SocketAddr,
    pub faults: Arc<Faults>,
}

impl Proxy {
    pub async fn before(server: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults { pass: AtomicI64::new(-1), reach: AtomicI64::new(-1), ..Faults::default() });
        let shared = Arc::clone(&faults);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (faults, server) = (Arc::clone(&shared), server.clone());
                tokio::spawn(async move { carry(client, &server, &faults).await });
            }
        });
        Proxy { address, faults }
    }
}

/// How many of so many bytes still may.
fn within(left: &AtomicI64, count: usize) -> usize {
    let count = i64::try_from(count).unwrap();
    let of = |left: i64| if left < 0 { None } else { Some(left - left.min(count)) };
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, of);
    usize::try_from(before.map_or(count, |before| before.min(count))).unwrap()
}

async fn carry(mut client: TcpStream, server: &str, faults: &Faults) {
    if faults.away.load(Ordering::SeqCst) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut asked, mut answered) = ([0; 16 << 10], [0; 16 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 => if server.write_all(&asked[..within(&faults.reach, count)]).await.is_err() { return },
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 => {
                    let count = within(&faults.pass, count);
                    while faults.stalls.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    if count == 0 || client.write_all(&answered[..count]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
