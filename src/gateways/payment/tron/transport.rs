//! How a request reaches a node: one POST of JSON (or a GET, for what TronGrid adds), one bounded answer. Knows nothing of what is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use rustls::{ClientConfig, RootCertStore};

use super::super::Boxed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte of the request to the last one of the answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A block of the mainnet is some hundreds of kilobytes as JSON.
pub const MAX_ANSWER: usize = 4 << 20;
const API_KEY: &str = "TRON-PRO-API-KEY";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

/// No whole answer came. Whether the request arrived is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer(pub String);

pub trait Transport: fmt::Debug + Send + Sync {
    /// `url` is a node's base URL without a slash at its end; `path` begins with one. A POST of `body`, or a GET without one.
    fn call<'a>(&'a self, url: &'a str, path: &'a str, body: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>>;
}

/// Over HTTP, believing authorities as browsers do. No redirects: they would carry a transaction to somebody else.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    key: Option<ApiKey>,
}

/// Told to these nodes and to nobody else.
struct ApiKey {
    key: String,
    urls: Vec<String>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey(*** for {:?})", self.urls)
    }
}

impl Http {
    /// `api_key` is sent to `urls` alone: attempts of earlier configurations name other nodes.
    pub fn new(api_key: Option<&str>, urls: &[String]) -> Result<Http, String> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?.with_root_certificates(roots);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.with_no_client_auth())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|e| causes(&e))?;
        let urls = urls.iter().map(|url| base(url).to_owned()).collect();
        Ok(Http { client, key: api_key.map(|key| ApiKey { key: key.to_owned(), urls }) })
    }
}

impl Transport for Http {
    fn call<'a>(&'a self, url: &'a str, path: &'a str, body: Option<String>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(async move {
            let address = format!("{url}{path}");
            let mut request = match body {
                Some(body) => self.client.post(address).header(CONTENT_TYPE, "application/json").body(body),
                None => self.client.get(address),
            };
            if let Some(key) = self.key.as_ref().filter(|key| key.urls.iter().any(|known| known == url)) {
                request = request.header(API_KEY, &key.key);
            }
            let mut response = request.send().await.map_err(|e| NoAnswer(causes(&e)))?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| NoAnswer(causes(&e)))? {
                if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                    return Err(NoAnswer(format!("the answer has more than {MAX_ANSWER} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answered { status, body })
        })
    }
}

/// A base URL as nodes are known by.
pub fn base(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// The error with its causes but without the URL, which may hold a key.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::from(if error.is_timeout() { "no answer in time" } else { "the request failed" });
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
