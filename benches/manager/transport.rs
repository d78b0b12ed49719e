//! What TLS costs: requests over connections that stay, handshakes, and memory of those who only listen.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid::clock::Stopwatch;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

const CONNECTIONS: usize = 64;
const SPAN: Duration = Duration::from_secs(6);

pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// How to reach the manager.
#[derive(Clone)]
pub struct Way {
    address: String,
    tls: Option<TlsConnector>,
}

impl Way {
    pub fn plain(address: &str) -> Way {
        Way { address: address.to_owned(), tls: None }
    }

    /// As a browser that trusts the generated certificate. Every handshake is a whole one.
    pub fn encrypted(address: &str, data_dir: &Path) -> Way {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(data_dir.join("tls/certificate.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Way { address: address.to_owned(), tls: Some(TlsConnector::from(Arc::new(config))) }
    }

    pub async fn open(&self) -> Box<dyn Duplex> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()),
        }
    }
}

fn request(path: &str, token: &str) -> Arc<[u8]> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes().into()
}

/// One small request after the other over connections that stay: requests per second.
pub async fn requests(way: &Way, token: &str) -> f64 {
    let request = request("/api/v1/about", token);
    let watch = Stopwatch::start();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (way, request) = (way.clone(), Arc::clone(&request));
        clients.spawn(async move {
            let mut stream = way.open().await;
            let (mut buffer, mut answered) = (vec![0; 4_096], 0_u32);
            while watch.elapsed() < SPAN {
                stream.write_all(&request).await.unwrap();
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
                answered += 1;
            }
            answered
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum();
    f64::from(answered) / watch.elapsed().as_secs_f64()
}

/// New connections, each with one handshake, a few at a time: connections per second.
pub async fn handshakes(way: &Way) -> f64 {
    let watch = Stopwatch::start();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let way = way.clone();
        clients.spawn(async move {
            let mut made = 0_u32;
            while watch.elapsed() < SPAN {
                drop(way.open().await);
                made += 1;
            }
            made
        });
    }
    let made: u32 = clients.join_all().await.into_iter().sum();
    f64::from(made) / watch.elapsed().as_secs_f64()
}

/// Streams that one program may have open.
pub const STREAMS_EACH: usize = 16;

/// Clients of the event stream that hear nothing but that the line is alive, `STREAMS_EACH` of each program.
pub async fn listeners(way: &Way, tokens: &[String], count: usize) -> Vec<Box<dyn Duplex>> {
    let mut open = Vec::new();
    for token in tokens.iter().flat_map(|token| std::iter::repeat_n(token, STREAMS_EACH)).take(count) {
        let mut stream = way.open().await;
        stream.write_all(&request("/api/v1/events", token)).await.unwrap();
        let mut buffer = vec![0; 4_096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
        open.push(stream);
    }
    open
}
