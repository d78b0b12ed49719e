//! The accept loop: bounded connections, TLS and plain HTTP on one port, a timeout for whatever a client may be slow with, and a shutdown that drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tower::ServiceExt;

use super::capacity::{Capacity, Limits, Place};
use super::middleware::Peer;
use super::patience::{Patience, Timely};
use super::planes::Plane;
use super::tls::Tls;

/// Requests in flight get this long after the process was told to stop.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Pause after a failed accept (out of file descriptors): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head, at most, and what is read of a body at once. hyper's own bound is six times as much.
const READ_BUFFER: usize = 64 << 10;
/// First byte of a TLS record that opens a handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For its first byte.
    pub first_byte: Duration,
    /// For the whole TLS handshake.
    pub handshake: Duration,
    /// For the head of a request; an idle connection ends after it too.
    pub header: Duration,
    /// For the whole body of a request; longer than `json` waits, which has an answer for who is slow.
    pub body: Duration,
    /// For taking anything of an answer.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts { first_byte: seconds(10), handshake: seconds(10), header: seconds(10), body: seconds(30), write: seconds(30) }
    }
}

/// From where plain HTTP is served; from elsewhere it is sent to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    Everywhere,
    /// On connections that never leave this machine.
    Loopback,
    Nowhere,
}

/// What a listener answers, and how.
#[derive(Clone)]
pub struct Door {
    pub plane: Plane,
    pub tls: Option<Arc<Tls>>,
    pub plain: Plain,
    pub timeouts: Timeouts,
    /// Of this listener alone: what comes in at another one takes none of its places.
    pub limits: Limits,
}

impl Default for Door {
    /// Plain HTTP for all planes.
    fn default() -> Door {
        Door { plane: Plane::All, tls: None, plain: Plain::Everywhere, timeouts: Timeouts::default(), limits: Limits::default() }
    }
}

/// How a request came in; the accept loop puts it into each. Requests made inside the process have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// This machine's end.
    pub local: SocketAddr,
    pub tls: bool,
    /// Plain HTTP is served here; to be looked at when `tls` is false.
    pub plain: bool,
    pub plane: Plane,
}

/// Serves until `stopping` turns true, then drains. Streams end by themselves when `stopping` turns true.
pub async fn serve(listener: TcpListener, router: Router, door: Door, mut stopping: watch::Receiver<bool>) {
    let (mut connections, capacity) = (JoinSet::new(), Capacity::new(door.limits));
    loop {
        let mut accepting = std::pin::pin!(accept(&listener, &capacity));
        let accepted = loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break None,
                Some(_) = connections.join_next() => {}
                accepted = accepting.as_mut() => break Some(accepted),
            }
        };
        let Some(accepted) = accepted else { break };
        match accepted {
            Ok(Some((stream, peer, place))) => {
                connections.spawn(connection(stream, peer, router.clone(), door.clone(), stopping.clone(), place));
            }
            // Closed at once: whoever holds so many already is not owed an answer.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut after the drain");
        connections.shutdown().await;
    }
}

/// Returns once the process was told to stop, or its teller is gone.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener, capacity: &Arc<Capacity>) -> io::Result<Option<(TcpStream, Peer, Place)>> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(capacity.take(address.ip()).await.map(|place| (stream, Peer(address), place)))
}

/// Whatever is read and written in the end: one kind, so that the HTTP code is in the binary once.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

async fn connection(stream: TcpStream, peer: Peer, router: Router, door: Door, mut stopping: watch::Receiver<bool>, place: Place) {
    let opened = tokio::select! {
        biased;
        // Nobody has asked for anything yet.
        () = stopped(&mut stopping) => return,
        () = place.ended() => return,
        opened = open(stream, &door) => opened,
    };
    match opened {
        Ok((stream, link)) => converse(stream, link, peer, router, &door, stopping, Arc::new(place)).await,
        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
    }
}

/// Finds out what the client speaks, and shakes hands.
async fn open(stream: TcpStream, door: &Door) -> io::Result<(Box<dyn Duplex>, Link)> {
    let local = stream.local_addr()?;
    let mut first = [0];
    if timeout(door.timeouts.first_byte, stream.peek(&mut first)).await?? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let plain = match door.plain {
        Plain::Everywhere => true,
        // A connection to a loopback address comes from one.
        Plain::Loopback => local.ip().to_canonical().is_loopback(),
        Plain::Nowhere => false,
    };
    let link = Link { local, tls: false, plain, plane: door.plane };
    let stream = Patience::new(stream, door.timeouts.write);
    match &door.tls {
        Some(tls) if first == [HANDSHAKE] => {
            let stream = timeout(door.timeouts.handshake, shake_hands(stream, tls)).await??;
            Ok((Box::new(stream), Link { tls: true, ..link }))
        }
        _ => Ok((Box::new(stream), link)),
    }
}

async fn shake_hands<S: Duplex>(stream: S, tls: &Tls) -> io::Result<impl Duplex + use<S>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = tls.config_for(&start.client_hello());
    start.into_stream(config).await
}

async fn converse(
    stream: Box<dyn Duplex>,
    link: Link,
    peer: Peer,
    router: Router,
    door: &Door,
    mut stopping: watch::Receiver<bool>,
    place: Arc<Place>,
) {
    let (body_timeout, its_place) = (door.timeouts.body, Arc::clone(&place));
    let service = router.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        its_place.asked();
        let mut request: Request = request.map(|body| axum::body::Body::new(Timely::new(body, body_timeout)));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(link);
        request
    });
    let mut crowded = place.crowded();
    let keep_alive = !*crowded.borrow_and_update();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(door.timeouts.header)
        .max_buf_size(READ_BUFFER)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let scarce = async {
        // While places are scarce, a connection serves the request that it is at; an idle one ends.
        if !keep_alive || crowded.wait_for(|crowded| *crowded).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        // First, so that a request which has arrived is seen before the connection counts as idle.
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = scarce => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.ended() => {
            if !place.has_asked() {
                return;
            }
            // Its head came at the very moment: it is answered.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_stop_lets_the_request_in_flight_finish_and_refuses_new_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
            move || async move {
                entered.notify_one();
                leave.notified().await;
                "done"
            }
        };
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(handler)), Door::default(), stopping));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        stop.send(true).unwrap();
        leave.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
