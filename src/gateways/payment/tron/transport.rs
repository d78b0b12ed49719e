//! How a request reaches a node: one POST of JSON (or a GET, for what TronGrid adds), one bounded answer. Knows nothing of what is asked.

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;

use super::super::Boxed;
use crate::http::{self, Patience, Unread};

const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(5), total: Duration::from_secs(15), idle: Some(Duration::from_secs(60)) };
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

/// Over HTTP, believing authorities as browsers do.
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
        let client = http::builder(http::believing(http::authorities())?, PATIENCE).build().map_err(|error| causes(&error))?;
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
            let response = request.send().await.map_err(|error| NoAnswer(causes(&error)))?;
            let status = response.status().as_u16();
            let body = http::body(response, MAX_ANSWER).await.map_err(|unread| {
                NoAnswer(match unread {
                    Unread::Lost(error) => causes(&error),
                    Unread::TooLong => format!("the answer has more than {MAX_ANSWER} bytes"),
                })
            })?;
            Ok(Answered { status, body })
        })
    }
}

/// A base URL as nodes are known by.
pub fn base(url: &str) -> &str {
    url.trim_end_matches('/')
}

fn causes(error: &reqwest::Error) -> String {
    http::causes(if error.is_timeout() { "no answer in time" } else { "the request failed" }, error)
}
