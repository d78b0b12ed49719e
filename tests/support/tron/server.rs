//! The network over HTTP on loopback, a port for each node. Lost answers and cut bodies are real: the connection ends.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::{Request, Response, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::network::{Answer, Delivery, Network};

/// A body that promises more than it brings.
struct Sent {
    bytes: Option<Bytes>,
    promised: u64,
    cut: bool,
    flushed: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // hyper writes what it has when there is nothing more for now; an error at once would take the first bytes with it.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

/// Serves until it is dropped.
pub struct Server {
    pub network: Arc<Mutex<Network>>,
    /// Of each node.
    pub addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Every node on a port of its own that the system chooses.
    pub async fn start(network: Network) -> std::io::Result<Server> {
        let nodes = network.nodes.len();
        Server::start_at(network, &vec![SocketAddr::from(([127, 0, 0, 1], 0)); nodes]).await
    }

    pub async fn start_at(network: Network, at: &[SocketAddr]) -> std::io::Result<Server> {
        let network = Arc::new(Mutex::new(network));
        let (mut addresses, mut tasks) = (Vec::new(), JoinSet::new());
        for (node, address) in at.iter().enumerate() {
            let listener = TcpListener::bind(address).await?;
            addresses.push(listener.local_addr()?);
            tasks.spawn(accept(listener, Arc::clone(&network), node));
        }
        Ok(Server { network, addresses, tasks })
    }

    /// The network, for as long as the guard lives; no node answers meanwhile.
    pub fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    pub fn url(&self, node: usize) -> String {
        format!("http://{}", self.addresses[node])
    }

    /// Ends every connection, as when the program ends.
    pub fn stop(mut self) {
        self.tasks.abort_all();
    }
}

fn lock(network: &Mutex<Network>) -> MutexGuard<'_, Network> {
    network.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn accept(listener: TcpListener, network: Arc<Mutex<Network>>, node: usize) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, Arc::clone(&network), node));
    }
}

async fn serve(stream: TcpStream, network: Arc<Mutex<Network>>, node: usize) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, Arc::clone(&network), node));
    // Its error is what a fault made of the connection, or a client that left.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error ends the connection without an answer.
async fn respond(request: Request<Incoming>, network: Arc<Mutex<Network>>, node: usize) -> std::io::Result<Response<Sent>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let body = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await.map_err(std::io::Error::other)?;
    let headers: Vec<(&str, &str)> = parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let answer = lock(&network).answer(node, parts.method.as_str(), &path, &headers, &body);
    send(answer).await
}

async fn send(answer: Answer) -> std::io::Result<Response<Sent>> {
    let promised = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
    let (bytes, cut) = match answer.delivery {
        Delivery::Whole => (answer.body, false),
        Delivery::Cut(bytes) => (answer.body[..bytes.min(answer.body.len())].to_vec(), true),
        Delivery::Lost | Delivery::Unreachable => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Delivery::Silence => match pending::<Infallible>().await {},
    };
    Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, answer.content_type)
        .body(Sent { bytes: Some(Bytes::from(bytes)), promised, cut, flushed: false })
        .map_err(std::io::Error::other)
}
