//! Requests to the manager over HTTP: signed on the way out, and believed only when the pinned key signed the answer. That holds over TLS as well,
//! whoever ends it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::AgentError;
use super::history::SignedAnswer;
use super::keys::Keys;
use super::state::Enrolled;
use super::tls;
use crate::crypto::{PublicKey, SigningKey, sha256};
use crate::domain::enrolment::{TokenText, manager_key_hash};
use crate::domain::ids::Incarnation;
use crate::domain::proof::succession::{self, Succession};
use crate::http::{self, Patience, Unread};
use crate::wire::{
    self, CommandsAnswer, CommandsRequest, EnrolAnswer, EnrolRequest, Envelope, LateAnswer, LateBatch, OutputRequest, OutputVerdict,
    Purpose, Report, ReportAnswer,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is kept over two slots.
const IDLE_TIMEOUT: Duration = Duration::from_secs(70);
/// Bytes of an answer, at most.
const MAX_ANSWER: usize = 64 << 10;
/// When a busy manager does not say when to come back.
const DEFAULT_RETRY_AFTER_SECONDS: i64 = 30;

/// Why a request brought no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// The manager says no; `name` is its refusal's. Not signed: it is believed as far as slowing down.
    Refused {
        code: String,
        name: String,
        message: String,
    },
    /// No connection, no answer in time, or a server error.
    Unreachable(String),
    /// An answer that is too long, does not parse, or was not signed by the pinned key.
    BadAnswer(&'static str),
    Busy {
        retry_after_seconds: i64,
    },
    /// A person has to say yes first.
    ApprovalPending {
        retry_after_seconds: i64,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Refused { code, name, message } => write!(f, "the manager refuses: {message} ({name}, {code})"),
            ClientError::Unreachable(why) => write!(f, "the manager cannot be reached: {why}"),
            ClientError::BadAnswer(why) => write!(f, "the manager's answer is not usable: {why}"),
            ClientError::ApprovalPending { .. } => f.write_str("an admin has to approve this machine"),
            ClientError::Busy { retry_after_seconds } => write!(f, "the manager is busy for {retry_after_seconds} s"),
        }
    }
}

/// The body of every refusal; fields that are missing stay empty.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    error: ErrorFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorFields {
    code: String,
    message: String,
    details: Option<ErrorDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetails {
    name: String,
}

/// Where the manager is, and whom to believe there besides itself; checked.
#[derive(Debug, Clone)]
pub struct Address {
    url: Url,
    given: String,
    ca_file: Option<PathBuf>,
}

impl Address {
    /// An http or https URL, with or without a slash at its end, and certificates (PEM).
    pub fn parse(manager: &str, ca_file: Option<&Path>) -> Result<Address, AgentError> {
        let bad = |why: String| AgentError::Manager(manager.to_owned(), why);
        let url = Url::parse(manager).map_err(|e| bad(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("it must be an http or https URL".into()));
        }
        if ca_file.is_some() {
            tls::authorities(ca_file).map_err(bad)?;
        }
        Ok(Address { url, given: manager.trim_end_matches('/').to_owned(), ca_file: ca_file.map(Path::to_owned) })
    }

    fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The same place over TLS.
    fn over_tls(&self) -> String {
        self.given.replacen("http://", "https://", 1)
    }
}

/// Whom a connection believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Pinned,
    Authorities,
}

impl Trust {
    fn other(self) -> Trust {
        match self {
            Trust::Pinned => Trust::Authorities,
            Trust::Authorities => Trust::Pinned,
        }
    }
}

/// How the manager is asked.
#[derive(Debug)]
struct Way {
    base: String,
    trust: Trust,
    http: reqwest::Client,
}

impl Way {
    fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }
}

#[derive(Debug)]
pub struct Client {
    address: Address,
    keys: Arc<Keys>,
    /// What has worked, or is to be tried first.
    way: Mutex<Arc<Way>>,
}

/// Why a request brought no answer.
enum Unsent {
    /// Nobody was told anything: TLS did not come about.
    Tls(String),
    Other(ClientError),
}

/// What came of a report.
#[derive(Debug)]
pub struct Reported {
    pub answer: ReportAnswer,
    pub signed: SignedAnswer,
    /// SHA-256 of the report's body, as it was sent.
    pub report_hash: [u8; 32],
}

impl Client {
    /// The manager itself proves by its key that it is the one of `keys`. A proxy in front of it cannot; it is believed when an authority vouches for it,
    /// built in or of `ca_file` (PEM).
    pub fn new(address: Address, keys: Arc<Keys>) -> Result<Client, AgentError> {
        let trust = if address.ca_file.is_some() { Trust::Authorities } else { Trust::Pinned };
        let way = way(address.given.clone(), trust, address.ca_file.as_deref(), &keys);
        let way = way.map_err(|why| AgentError::Manager(address.given.clone(), why))?;
        Ok(Client { address, keys, way: Mutex::new(Arc::new(way)) })
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Enrols with a token. The answer must be signed by a key that fits the hash in the token, or by one that took over from it. Repeating is safe.
    pub async fn enrol(&self, key: &SigningKey, token: &TokenText, request: &EnrolRequest) -> Result<Enrolled, ClientError> {
        let body = encode(request)?;
        let ours = Envelope { purpose: Purpose::Enrol, manager: "", node: "", incarnation: Incarnation(0), seq: 0 };
        self.leave_plain().await;
        let answered = self.post(wire::PATH_ENROL, None, ours.sign(key, &body), body).await?;
        let answer: EnrolAnswer = answered.parse()?;
        let enrolled = Enrolled::from_answer(&answer, Some(token.salt()), answered.successions());
        let mut enrolled = enrolled.ok_or(ClientError::BadAnswer("the manager's key is none"))?;
        let (present, named) = (enrolled.manager_key, token.manager_key_hash.to_ascii_lowercase());
        let is_named = |key: &[u8; 32]| manager_key_hash(&PublicKey(*key)) == named;
        if succession::led_to(&enrolled.successions, Some(enrolled.manager_id.as_str()), is_named) != Some(present.0) {
            if !is_named(&present.0) {
                return Err(ClientError::BadAnswer("it has another key than the token names"));
            }
            enrolled.successions.clear();
        }
        let theirs = envelope(Purpose::EnrolAnswer, &enrolled, Incarnation(0), 0);
        let is_signed = theirs.verify(&present, &answered.body, &answered.signature);
        if is_signed { Ok(enrolled) } else { Err(ClientError::BadAnswer("the signature is not the manager's")) }
    }

    pub async fn report(&self, key: &SigningKey, enrolled: &Enrolled, report: &Report) -> Result<Reported, ClientError> {
        let body = encode(report)?;
        let report_hash = sha256(&body);
        let ours = envelope(Purpose::Report, enrolled, report.incarnation, report.seq);
        let answered = self.post(wire::PATH_REPORT, Some(enrolled), ours.sign(key, &body), body).await?;
        answered.check(&self.keys, &envelope(Purpose::ReportAnswer, enrolled, report.incarnation, report.seq))?;
        let answer: ReportAnswer = answered.parse()?;
        let body = String::from_utf8_lossy(&answered.body).into_owned();
        let signed = SignedAnswer { incarnation: report.incarnation.0, seq: report.seq, body, signature: answered.signature };
        Ok(Reported { answer, signed, report_hash })
    }

    pub async fn late(&self, key: &SigningKey, enrolled: &Enrolled, batch: &LateBatch) -> Result<LateAnswer, ClientError> {
        let body = encode(batch)?;
        let ours = envelope(Purpose::Late, enrolled, batch.incarnation, 0);
        let answered = self.post(wire::PATH_LATE, Some(enrolled), ours.sign(key, &body), body).await?;
        answered.check(&self.keys, &envelope(Purpose::LateAnswer, enrolled, batch.incarnation, 0))?;
        answered.parse()
    }

    /// Tells what the supervisor did, and waits for an order as long as the request says.
    pub async fn commands(&self, key: &SigningKey, enrolled: &Enrolled, request: &CommandsRequest) -> Result<CommandsAnswer, ClientError> {
        let body = encode(request)?;
        let ours = envelope(Purpose::Commands, enrolled, request.incarnation, request.number);
        let patience = TOTAL_TIMEOUT + Duration::from_millis(request.wait_ms);
        let answered = self.post_within(patience, wire::PATH_COMMANDS, Some(enrolled), ours.sign(key, &body), body).await?;
        answered.check(&self.keys, &envelope(Purpose::CommandsAnswer, enrolled, request.incarnation, request.number))?;
        answered.parse()
    }

    /// Hands in an output. Repeating is safe: the same nonce gets the first verdict.
    pub async fn output(&self, key: &SigningKey, enrolled: &Enrolled, request: &OutputRequest) -> Result<OutputVerdict, ClientError> {
        let body = encode(request)?;
        let ours = envelope(Purpose::Output, enrolled, Incarnation(0), 0);
        let answered = self.post(wire::PATH_OUTPUT, Some(enrolled), ours.sign(key, &body), body).await?;
        answered.check(&self.keys, &envelope(Purpose::OutputAnswer, enrolled, Incarnation(0), 0))?;
        answered.parse()
    }

    fn way(&self) -> Arc<Way> {
        Arc::clone(&self.way.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, way: Arc<Way>) {
        if way.base != self.way().base {
            tracing::info!(manager = way.base, "the manager is asked over TLS from now on");
        }
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn another(&self, base: String, trust: Trust) -> Result<Arc<Way>, ClientError> {
        way(base, trust, self.address.ca_file.as_deref(), &self.keys).map(Arc::new).map_err(ClientError::Unreachable)
    }

    /// A token in clear is anybody's. Where a manager would not take one, it says so to a question that holds nothing.
    async fn leave_plain(&self) {
        let way = self.way();
        if !way.is_plain() {
            return;
        }
        let asked = way.http.head(format!("{}/", way.base)).send().await;
        if asked.is_ok_and(|answer| answer.status() == StatusCode::PERMANENT_REDIRECT)
            && let Ok(way) = self.another(self.address.over_tls(), way.trust)
        {
            self.keep(way);
        }
    }

    async fn post(&self, path: &str, node: Option<&Enrolled>, signature: String, body: Vec<u8>) -> Result<Answered, ClientError> {
        self.post_within(TOTAL_TIMEOUT, path, node, signature, body).await
    }

    /// Asks as it has worked; else over TLS where plain HTTP is refused, and with the other trust where TLS does not come about.
    async fn post_within(
        &self,
        patience: Duration,
        path: &str,
        node: Option<&Enrolled>,
        signature: String,
        body: Vec<u8>,
    ) -> Result<Answered, ClientError> {
        let mut headers = HeaderMap::new();
        let named = node.map(|enrolled| (wire::HEADER_NODE, enrolled.node_id.as_str()));
        let pinned = self.keys.named();
        let ours = [(wire::HEADER_SIGNATURE, signature.as_str()), (wire::HEADER_MANAGER_KEY, pinned.as_str())];
        for (name, value) in named.into_iter().chain(ours) {
            headers.insert(name, value.parse().map_err(|_| ClientError::BadAnswer("the request does not encode"))?);
        }
        let mut way = self.way();
        let mut sent = way.send(patience, path, &headers, &body).await;
        if way.is_plain()
            && self.address.is_plain()
            && matches!(&sent, Err(Unsent::Other(ClientError::Refused { name, .. })) if name == PLAIN_REFUSED)
        {
            way = self.another(self.address.over_tls(), way.trust)?;
            sent = way.send(patience, path, &headers, &body).await;
        }
        if let Err(Unsent::Tls(first)) = &sent {
            let other = self.another(way.base.clone(), way.trust.other())?;
            match other.send(patience, path, &headers, &body).await {
                Err(Unsent::Tls(second)) => {
                    let why = if way.trust == Trust::Pinned { [first, &second] } else { [&second, first] };
                    let [pinned, authority] = why;
                    let base = &way.base;
                    return Err(ClientError::Unreachable(format!(
                        "{base} does not show the key of this agent's manager ({pinned}), and no authority vouches for it ({authority})"
                    )));
                }
                answered => (way, sent) = (other, answered),
            }
        }
        match sent {
            Ok(answered) => {
                self.keep(way);
                Ok(answered)
            }
            Err(Unsent::Other(error)) => Err(error),
            Err(Unsent::Tls(why)) => Err(ClientError::Unreachable(why)),
        }
    }
}

/// Name of the refusal of a manager that takes requests over TLS only.
const PLAIN_REFUSED: &str = "PlainHttpRefused";

fn way(base: String, trust: Trust, ca_file: Option<&Path>, keys: &Arc<Keys>) -> Result<Way, String> {
    let tls = match trust {
        Trust::Pinned => tls::pinned(Arc::clone(keys))?,
        Trust::Authorities => tls::authorities(ca_file)?,
    };
    let patience = Patience { connect: CONNECT_TIMEOUT, total: TOTAL_TIMEOUT, idle: Some(IDLE_TIMEOUT) };
    let http = http::builder(tls, patience).build().map_err(|e| causes(&e))?;
    Ok(Way { base, trust, http })
}

impl Way {
    async fn send(&self, patience: Duration, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Answered, Unsent> {
        let request = self.http.post(format!("{}{path}", self.base)).timeout(patience).headers(headers.clone());
        match request.header(CONTENT_TYPE, "application/json").body(body.to_vec()).send().await {
            Ok(response) => read(response).await.map_err(Unsent::Other),
            Err(error) if error.is_connect() && tls::is_tls_error(&error) => Err(Unsent::Tls(causes(&error))),
            Err(error) => Err(Unsent::Other(ClientError::Unreachable(causes(&error)))),
        }
    }
}

async fn read(response: Response) -> Result<Answered, ClientError> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|v| v.parse().ok()).unwrap_or(DEFAULT_RETRY_AFTER_SECONDS);
    let signature = header(wire::HEADER_SIGNATURE).unwrap_or_default();
    let successions = header(wire::HEADER_SUCCESSIONS);
    let body = bounded(response).await?;
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Err(ClientError::Busy { retry_after_seconds: retry_after }),
        StatusCode::ACCEPTED => Err(ClientError::ApprovalPending { retry_after_seconds: retry_after }),
        status if status.is_success() => Ok(Answered { body, signature, successions }),
        status if status.is_client_error() => {
            let ErrorFields { code, message, details } = serde_json::from_slice::<ErrorBody>(&body).unwrap_or_default().error;
            let code = if code.is_empty() { status.as_u16().to_string() } else { code };
            Err(ClientError::Refused { code, name: details.unwrap_or_default().name, message })
        }
        status => Err(ClientError::Unreachable(format!("it answered {status}"))),
    }
}

/// A successful answer whose signature has not been looked at yet.
struct Answered {
    body: Vec<u8>,
    signature: String,
    /// What the manager says of its keys, to who named another one.
    successions: Option<String>,
}

impl Answered {
    /// None where they are not there or do not read: then nothing is followed.
    fn successions(&self) -> Vec<Succession> {
        self.successions.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    fn check(&self, keys: &Keys, envelope: &Envelope<'_>) -> Result<(), ClientError> {
        keys.check(&self.successions(), |key| envelope.verify(key, &self.body, &self.signature))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|_| ClientError::BadAnswer("it does not parse"))
    }
}

fn envelope(purpose: Purpose, enrolled: &Enrolled, incarnation: Incarnation, seq: u64) -> Envelope<'_> {
    Envelope { purpose, manager: enrolled.manager_id.as_str(), node: enrolled.node_id.as_str(), incarnation, seq }
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(value).map_err(|_| ClientError::BadAnswer("the request does not encode"))
}

async fn bounded(response: Response) -> Result<Vec<u8>, ClientError> {
    http::body(response, MAX_ANSWER).await.map_err(|unread| match unread {
        Unread::Lost(error) => ClientError::Unreachable(causes(&error)),
        Unread::TooLong => ClientError::BadAnswer("it is too long"),
    })
}

fn causes(error: &reqwest::Error) -> String {
    let has_cause = std::error::Error::source(error).is_some();
    let what = match (error.is_timeout(), has_cause) {
        (true, _) => "timeout",
        (false, true) => "",
        (false, false) => "the request failed",
    };
    http::causes(what, error)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::PathBuf;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::crypto::SecretKey;
    use crate::domain::enrolment::Fingerprint;
    use crate::domain::ids::{ManagerId, NodeId};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent").join(name)
    }

    /// Answers `count` connections over TLS with 503.
    fn busy_server(count: usize) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let certificate = CertificateDer::from_pem_file(fixture("tls-cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(fixture("tls-key.pem")).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(count) {
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
                // A client that does not trust the certificate hangs up in the handshake.
                if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    stream.write_all(b"HTTP/1.1 503 busy\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
                    stream.flush().unwrap();
                }
            }
        });
        (url, thread)
    }

    async fn report(url: &str, ca_file: Option<&Path>) -> ClientError {
        let key = SigningKey::from_seed(SecretKey([1; 32]));
        let manager_id = ManagerId::parse("manager_0001").unwrap();
        let node_id = NodeId::parse("node_0001").unwrap();
        let salt = manager_key_hash(&key.public());
        let enrolled = Enrolled { manager_id, manager_key: key.public(), node_id, node_name: "pi".into(), salt, successions: Vec::new() };
        let report = Report {
            protocol: wire::PROTOCOL,
            incarnation: Incarnation(1),
            seq: 1,
            items: vec![],
            run: None,
            fingerprint: Fingerprint::default(),
            agent_version: String::new(),
            dropped: 0,
            workload: None,
            head: None,
            contradicts: None,
            capabilities: Vec::new(),
        };
        Client::new(Address::parse(url, ca_file).unwrap(), Arc::new(Keys::of(enrolled.clone(), None)))
            .unwrap()
            .report(&key, &enrolled, &report)
            .await
            .unwrap_err()
    }

    #[test]
    fn https_trusts_the_given_certificates_and_no_others() {
        // One that believes at once, and one that tries both ways in vain.
        let (url, server) = busy_server(3);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let trusted = runtime.block_on(report(&url, Some(&fixture("tls-cert.pem"))));
        assert_eq!(trusted, ClientError::Busy { retry_after_seconds: 7 });
        let unknown = runtime.block_on(report(&url, None));
        assert!(matches!(&unknown, ClientError::Unreachable(why) if why.contains("certificate")), "{unknown}");
        server.join().unwrap();
    }
}
