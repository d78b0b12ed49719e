//! How this manager is reached: TLS and plain HTTP, names, listeners, and what clients do that mean no good.

mod attacks;
mod encrypted;
mod events;
mod names;
mod planes;
mod rotation;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid::api::capacity::Limits;
use lucid::api::server::Timeouts;
use lucid::app::{self, App, Listeners};
use lucid::config::{Config, Sources};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Short enough to be waited for, long enough for a busy machine.
pub const SHORT: Timeouts = Timeouts {
    first_byte: Duration::from_millis(700),
    handshake: Duration::from_millis(700),
    header: Duration::from_millis(700),
    body: Duration::from_millis(700),
    write: Duration::from_millis(700),
};

/// A manager in this process, on the machine's clock, through the same `serve` as the real one.
pub struct Served {
    pub main: SocketAddr,
    pub node: Option<SocketAddr>,
    pub ops: Option<SocketAddr>,
    pub setup_code: String,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn config(dir: &Path, settings: &[(&'static str, &str)]) -> Config {
    let mut flags = vec![("storage.data_dir", "--data-dir", dir.to_str().unwrap().to_owned())];
    flags.extend(settings.iter().map(|(key, value)| (*key, *key, (*value).to_owned())));
    Config::load(&Sources { flags, ..Sources::default() }).unwrap().config
}

/// Separate listeners are made for those planes that `settings` give an address.
pub async fn serve(dir: &Path, settings: &[(&'static str, &str)], timeouts: Timeouts, limits: Limits) -> Served {
    let config = config(dir, settings);
    let mut app = App::open(&config, &app::system_clock).await.unwrap();
    (app.door.timeouts, app.door.limits) = (timeouts, limits);
    let setup_code = app.setup_code.clone().unwrap_or_default();
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut listeners = Listeners::from(main);
    if config.server.node_listen.is_some() {
        listeners.node = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    if config.server.ops_listen.is_some() {
        listeners.ops = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (main, node, ops) = (address(&listeners.main), listeners.node.as_ref().map(address), listeners.ops.as_ref().map(address));
    let server = tokio::spawn(async move { app.serve(listeners, std::future::pending()).await.unwrap() });
    Served { main, node, ops, setup_code, server }
}

/// Sends bytes as they are and reads until the other side ends.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever refuses early may hang up before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    read_all(&mut stream).await
}

pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut part).await {
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The certificate that was generated in this data folder.
pub fn certificate(data_dir: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(data_dir.join("tls/certificate.pem")).unwrap()
}

/// A browser of somebody who trusts this certificate and no other. It follows no redirects, to be seen.
pub fn browser(trusted: CertificateDer<'static>) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let browser = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy();
    browser.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
