//! The blockchain service that votes go to: which block is the newest, and one vote. Knows nothing of rounds, of waiting and of what is written down.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

use crate::domain::vote::{MAX_BLOCK_ID, Verdict, judge, short};
use crate::http::{self, Patience, Unread};

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A block may come with all that is in it.
const MAX_BLOCK: usize = 1 << 20;
/// Of the answer to a vote, so much is read.
const MAX_ANSWER: usize = 16 << 10;
/// A connection is kept for the next vote of the same round.
const IDLE: Duration = Duration::from_secs(10);

/// Nothing came that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    pub why: String,
    /// The service asked to be left alone for so long.
    pub wait_seconds: Option<u32>,
}

pub trait Chain: fmt::Debug + Send + Sync {
    /// The id of the newest block.
    fn newest_block(&self) -> Boxed<'_, Result<String, NoAnswer>>;
    /// Sends one vote, once. `body` is JSON.
    fn vote(&self, body: String) -> Boxed<'_, Verdict>;
}

/// Where the service answers, and how its answers are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Base URL.
    pub url: String,
    pub vote_path: String,
    pub block_path: String,
    /// Fields of a block, of which the first that is there is its id; a dot leads into an object.
    pub block_id_fields: Vec<String>,
    pub timeout: Duration,
}

/// The service over HTTP.
pub struct HttpChain {
    client: reqwest::Client,
    vote_url: String,
    block_url: String,
    block_id_fields: Vec<String>,
}

impl fmt::Debug for HttpChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpChain")
    }
}

impl HttpChain {
    /// Err: what of the options cannot work.
    pub fn new(options: Options) -> Result<HttpChain, String> {
        let Options { url, vote_path, block_path, block_id_fields, timeout } = options;
        let patience = Patience { connect: timeout, total: timeout, idle: Some(IDLE) };
        let client = http::builder(http::believing(http::authorities())?, patience).build().map_err(|error| causes(&error))?;
        let base = url.trim_end_matches('/');
        Ok(HttpChain { client, vote_url: format!("{base}{vote_path}"), block_url: format!("{base}{block_path}"), block_id_fields })
    }

    async fn ask_block(&self) -> Result<String, NoAnswer> {
        let no = |why: String| NoAnswer { why, wait_seconds: None };
        let response = self.client.get(&self.block_url).send().await.map_err(|error| no(causes(&error)))?;
        let (status, wait_seconds) = (response.status(), wait(&response));
        if !status.is_success() {
            return Err(NoAnswer { why: format!("asked for the newest block, it answered {}", status.as_u16()), wait_seconds });
        }
        let body = http::body(response, MAX_BLOCK).await.map_err(|unread| no(lost(unread)))?;
        block_id(&body, &self.block_id_fields).ok_or_else(|| no("what it says of the newest block has no id".into()))
    }

    async fn send(&self, body: String) -> Verdict {
        let away = |why: String| Verdict::Away { why, wait_seconds: None };
        let request = self.client.post(&self.vote_url).header(CONTENT_TYPE, "application/json").body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return away(causes(&error)),
        };
        let (status, wait_seconds) = (response.status().as_u16(), wait(&response));
        match http::body(response, MAX_ANSWER).await {
            Ok(body) => judge(status, short(&String::from_utf8_lossy(&body)), wait_seconds),
            // The status was heard, and it is what counts.
            Err(_) => judge(status, String::new(), wait_seconds),
        }
    }
}

impl Chain for HttpChain {
    fn newest_block(&self) -> Boxed<'_, Result<String, NoAnswer>> {
        Box::pin(self.ask_block())
    }

    fn vote(&self, body: String) -> Boxed<'_, Verdict> {
        Box::pin(self.send(body))
    }
}

/// The first of the fields that holds a text or a number.
fn block_id(body: &[u8], fields: &[String]) -> Option<String> {
    let block: Value = serde_json::from_slice(body).ok()?;
    let id = fields.iter().find_map(|field| {
        let value = field.split('.').try_fold(&block, |value, name| value.get(name))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    })?;
    let is_plain = (1..=MAX_BLOCK_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    is_plain.then_some(id)
}

fn wait(response: &reqwest::Response) -> Option<u32> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn lost(unread: Unread) -> String {
    match unread {
        Unread::Lost(error) => causes(&error),
        Unread::TooLong => "its answer is too long".into(),
    }
}

fn causes(error: &reqwest::Error) -> String {
    http::causes(if error.is_timeout() { "no answer in time" } else { "the request failed" }, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_block_is_the_first_field_that_is_there() {
        let fields: Vec<String> = ["block_id", "data.hash", "height"].map(str::to_owned).to_vec();
        let id = |body: &str| block_id(body.as_bytes(), &fields);
        assert_eq!(id(r#"{"height":7,"data":{"hash":"0xab"},"block_id":"b1"}"#).as_deref(), Some("b1"));
        assert_eq!(id(r#"{"height":7,"data":{"hash":"0xab"},"block_id":null}"#).as_deref(), Some("0xab"));
        assert_eq!(id(r#"{"height":7,"data":[]}"#).as_deref(), Some("7"));
        let long = format!(r#"{{"block_id":"{}"}}"#, "x".repeat(MAX_BLOCK_ID + 1));
        for wrong in ["", "[]", "{}", r#"{"block_id":""}"#, r#"{"block_id":"a b"}"#, r#"{"block_id":{}}"#, "<html>", &long] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
