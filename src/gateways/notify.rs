//! Sends a message to a URL that somebody named. That makes this manager call machines for others, so it calls none that is not public: the name is resolved here,
//! every address of it is looked at, and exactly one that was looked at is connected to. It follows no redirect and believes nothing of the answer but its status.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Url;

use crate::domain::webhook::check_public;
use crate::http::{self, Patience};

/// For everything, the answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
const PATIENCE: Patience = Patience { connect: TIMEOUT, total: TIMEOUT, idle: None };
/// Of an answer, so much is taken before the connection ends.
const MAX_ANSWER: usize = 1 << 10;

/// One try.
#[derive(Debug, Clone)]
pub struct Message {
    pub url: String,
    /// Counts up; what is missing between two went to others, or is lost.
    pub number: u64,
    pub event: String,
    pub delivery: String,
    /// Unix seconds; signed too.
    pub timestamp: i64,
    pub signature: String,
    /// JSON.
    pub body: String,
}

/// Delivers, or says why not: an error, or an answer that is not 2xx. `allow_private`: to any address.
pub async fn post(message: Message, allow_private: bool) -> Result<(), String> {
    tokio::time::timeout(TIMEOUT, attempt(message, allow_private)).await.map_err(|_| "no answer within 10 s".to_owned())?
}

async fn attempt(message: Message, allow_private: bool) -> Result<(), String> {
    let url = Url::parse(&message.url).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("neither http nor https".into());
    }
    let host = url.host_str().ok_or("the URL has no host")?.to_owned();
    let port = url.port_or_known_default().ok_or("the URL has no port")?;
    let address = resolved(&host, port, allow_private).await?;
    // The name is not looked up again: what it says a moment later may be another address.
    let client =
        http::builder(http::believing(http::authorities())?, PATIENCE).resolve(&host, address).build().map_err(|error| causes(&error))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("user-agent", concat!("lucid-node-management/", env!("CARGO_PKG_VERSION")))
        .header("x-lucid-event", &message.event)
        .header("x-lucid-number", message.number.to_string())
        .header("x-lucid-delivery", &message.delivery)
        .header("x-lucid-timestamp", message.timestamp.to_string())
        .header("x-lucid-signature", &message.signature);
    let response = request.body(message.body).send().await.map_err(|error| causes(&error))?;
    let status = response.status();
    // A short answer is read, so that the other side sees a clean end; the rest of a long one is not.
    let _ = http::body(response, MAX_ANSWER).await;
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
}

/// An address of this host, after all of them were looked at.
async fn resolved(host: &str, port: u16, allow_private: bool) -> Result<SocketAddr, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((bare, port)).await.map_err(|error| format!("the name is not found: {error}"))?.collect(),
    };
    if !allow_private {
        // One that is not public among public ones is a trap.
        found.iter().try_for_each(|address| check_public(address.ip())).map_err(|why| why.to_string())?;
    }
    found.first().copied().ok_or_else(|| "the name has no address".to_owned())
}

fn causes(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "not connected"
    } else {
        "not sent"
    };
    http::causes(what, error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn message(url: String) -> Message {
        let text = |text: &str| text.to_owned();
        Message { url, number: 1, event: text("e"), delivery: text("d"), timestamp: 7, signature: text("v1=s"), body: text("{}") }
    }

    /// Answers one request with `answer`; what was asked.
    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?secret=1", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"{}") {
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the request ended early");
                text.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(text).unwrap().to_lowercase()
        });
        (url, asked)
    }

    #[tokio::test]
    async fn a_message_carries_its_headers_and_is_delivered_by_a_success_alone() {
        let (url, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(post(message(url), true).await, Ok(()));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("post /hook?secret=1 http/1.1\r\n"), "{asked}");
        for header in
            ["x-lucid-event: e", "x-lucid-delivery: d", "x-lucid-timestamp: 7", "x-lucid-signature: v1=s", "content-type: application/json"]
        {
            assert!(asked.contains(&format!("{header}\r\n")), "{header}");
        }
        for answer in [
            "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        ] {
            let (url, asked) = server(answer).await;
            let why = post(message(url), true).await.unwrap_err();
            assert!(why.starts_with("answered "), "{why}");
            asked.await.unwrap();
        }
    }

    #[tokio::test]
    async fn nothing_that_is_not_public_is_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in
            ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "2130706433", "0x7f.1", "10.1.1.1"]
        {
            let why = post(message(format!("http://{host}:{port}/")), false).await.unwrap_err();
            assert!(why.contains("is not an address of the public internet"), "{host}: {why}");
        }
        let called = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(called.is_err(), "nobody connected");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_without_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let why = post(message(format!("http://127.0.0.1:{port}/hook?secret=1")), true).await.unwrap_err();
        assert!(why.starts_with("not connected") && !why.contains("secret"), "{why}");
        assert!(post(message("ftp://a.example/".into()), true).await.is_err());
    }
}
