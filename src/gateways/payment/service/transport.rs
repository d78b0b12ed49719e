//! How a request reaches the service: one request, one bounded answer. Knows nothing of what is asked.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

use crate::gateways::payment::Boxed;
use crate::http::{self, Patience, Unread};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte of the request to the last one of the answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
pub const MAX_ANSWER: usize = 256 << 10;
/// Characters of what the service said that are kept for people.
const MAX_SAID: usize = 200;
const KEY: &str = "Idempotency-Key";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: Method,
    pub url: &'a str,
    /// The idempotency key.
    pub key: Option<&'a str>,
    /// JSON.
    pub body: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub retry_after_seconds: Option<u32>,
    pub body: Vec<u8>,
}

impl Answered {
    /// One short line, for people.
    pub fn said(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..MAX_SAID * 4).unwrap_or(&self.body)).into_owned();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
    }
}

/// No whole answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// False: no connection came about, so nothing of the request has left.
    pub was_sent: bool,
    pub why: String,
}

pub trait Transport: fmt::Debug + Send + Sync {
    fn call<'a>(&'a self, request: Request<'a>) -> Boxed<'a, Result<Answered, NoAnswer>>;
}

/// Over HTTP, believing authorities as browsers do; with a connection of its own for each request, so that one that was not opened is one that carried nothing.
pub struct Http {
    client: reqwest::Client,
    token: Option<String>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// `token` goes with every request.
    pub fn new(token: Option<&str>) -> Result<Http, String> {
        Http::within(token, CONNECT_TIMEOUT, TOTAL_TIMEOUT)
    }

    pub fn within(token: Option<&str>, connect: Duration, total: Duration) -> Result<Http, String> {
        let patience = Patience { connect, total, idle: None };
        let client = http::builder(http::believing(http::authorities())?, patience).build().map_err(|error| causes(&error))?;
        Ok(Http { client, token: token.map(|token| format!("Bearer {token}")) })
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Answered, NoAnswer> {
        let mut asked = match request.method {
            Method::Get => self.client.get(request.url),
            Method::Post => self.client.post(request.url),
        };
        if let Some(token) = &self.token {
            asked = asked.header(AUTHORIZATION, token);
        }
        if let Some(key) = request.key {
            asked = asked.header(KEY, key);
        }
        if let Some(body) = request.body {
            asked = asked.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        }
        let silent = |error: &reqwest::Error| NoAnswer { was_sent: !error.is_connect() && !error.is_builder(), why: causes(error) };
        let response = asked.send().await.map_err(|e| silent(&e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after_seconds = retry_after.and_then(|text| text.trim().parse().ok());
        let body = http::body(response, MAX_ANSWER).await.map_err(|unread| {
            let why = match unread {
                Unread::Lost(error) => causes(&error),
                Unread::TooLong => format!("the answer has more than {MAX_ANSWER} bytes"),
            };
            NoAnswer { was_sent: true, why }
        })?;
        Ok(Answered { status, retry_after_seconds, body })
    }
}

impl Transport for Http {
    fn call<'a>(&'a self, request: Request<'a>) -> Boxed<'a, Result<Answered, NoAnswer>> {
        Box::pin(self.exchange(request))
    }
}

fn causes(error: &reqwest::Error) -> String {
    http::causes(if error.is_timeout() { "no answer in time" } else { "the request failed" }, error)
}
