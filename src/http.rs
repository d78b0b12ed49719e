//! The one way in which this program asks others over HTTP: no redirect, which would carry what is sent to somebody else; no proxy; nothing sent twice by the
//! library; a limit on time and on what is taken of an answer. Knows nothing of what is asked.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response};
use rustls::{ClientConfig, RootCertStore};

/// How long the other side is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// From the first byte of the request to the last one of the answer.
    pub total: Duration,
    /// A connection that nobody uses is kept for so long; None: each request has one of its own.
    pub idle: Option<Duration>,
}

/// A client in the making, for those that have more to say.
pub fn builder(tls: ClientConfig, patience: Patience) -> ClientBuilder {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(patience.connect)
        .timeout(patience.total);
    match patience.idle {
        Some(idle) => builder.pool_idle_timeout(idle).pool_max_idle_per_host(1),
        None => builder.pool_max_idle_per_host(0),
    }
}

/// The authorities that browsers believe.
pub fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}

/// Believes these, names and dates included.
pub fn believing(roots: RootCertStore) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Why an answer was not read to its end.
#[derive(Debug)]
pub enum Unread {
    Lost(reqwest::Error),
    TooLong,
}

/// The body of an answer, of at most `limit` bytes.
pub async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Lost)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `what` happened and the whole chain of causes, without the URL: a part of it may be a secret.
pub fn causes(what: &str, error: &reqwest::Error) -> String {
    let mut text = what.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), total: Duration::from_secs(5), idle: None };

    /// Answers one request.
    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path?secret=1", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn redirects_are_answers_and_what_is_taken_of_one_has_a_limit() {
        let client = builder(believing(authorities()).unwrap(), PATIENCE).build().unwrap();
        let redirect = "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(client.post(server(redirect).await).send().await.unwrap().status(), 307);
        for (limit, fits) in [(5, true), (4, false)] {
            let answer = client.get(server("HTTP/1.1 200 Yes\r\ncontent-length: 5\r\n\r\nhello").await).send().await.unwrap();
            match body(answer, limit).await {
                Ok(body) => assert_eq!((body.as_slice(), fits), (b"hello".as_slice(), true)),
                Err(unread) => assert!(matches!(unread, Unread::TooLong) && !fits, "{unread:?}"),
            }
        }
        let cut = client.get(server("HTTP/1.1 200 Yes\r\ncontent-length: 9\r\n\r\nhello").await).send().await.unwrap();
        let Err(Unread::Lost(error)) = body(cut, 100).await else { panic!("it was cut short") };
        let why = causes("it broke", &error);
        assert!(why.starts_with("it broke: ") && !why.contains("secret"), "{why}");
    }
}
