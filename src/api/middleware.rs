//! Around every request: its id, the rendering of errors, headers that browsers obey, one line of log, and panics.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth;
use super::buckets::Standing;
use super::error::ApiError;
use super::metrics;
use super::rates;
use super::server::Link;
use super::state::AppState;
use crate::clock::Stopwatch;
use crate::crypto::Entropy;
use crate::domain::audit::{Act, Actor, Draft, Seed};
use crate::domain::device::Device;
use crate::domain::security::is_failed_proof;
use crate::domain::time::{Now, Timestamp};
use crate::live::network;
use crate::storage::core::audit;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a caller.
const REQUEST_ID_LEN: usize = 64;

/// Where a connection comes from; the accept loop puts it into each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What is known of a request before anyone is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    pub request_id: String,
    /// Loopback where no connection is known (requests made inside the process).
    pub address: IpAddr,
    /// The person's end speaks TLS: cookies get `Secure` and the `__Host-` name.
    pub secure: bool,
    /// The browser is one that somebody has signed in with.
    pub device: Option<Device>,
    /// What the caller's program calls itself, cut to `USER_AGENT_LEN`.
    pub user_agent: Option<String>,
    /// Filled when somebody turns out to be signed in, so that a refusal is recorded with who was refused.
    actor: Arc<OnceLock<Actor>>,
    /// Filled when the caller has a name that no account here has.
    name: Arc<OnceLock<String>>,
    /// Filled when the request is charged to somebody's rate, so that every answer says how that stands.
    standing: Arc<OnceLock<Standing>>,
}

impl Default for RequestInfo {
    fn default() -> RequestInfo {
        RequestInfo {
            request_id: String::new(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: false,
            device: None,
            user_agent: None,
            actor: Arc::default(),
            name: Arc::default(),
            standing: Arc::default(),
        }
    }
}

impl RequestInfo {
    pub(super) fn signed_in(&self, actor: Actor) {
        // A second extraction finds the same caller.
        let _ = self.actor.set(actor);
    }

    /// Who came is somebody that only the API gateway knows, by this name.
    pub(super) fn vouched_as(&self, name: String) {
        let _ = self.name.set(name);
    }

    pub(super) fn charged(&self, standing: Standing) {
        // The first charge decides: nothing is charged twice.
        let _ = self.standing.set(standing);
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        self.standing.get().copied()
    }

    /// What a verb of the store dates and signs its audit entry with.
    pub fn act(&self, now: Now, actor: Actor) -> Act {
        let (address, request_id) = (Some(self.address.to_string()), Some(self.request_id.clone()));
        let name = self.name.get().cloned();
        Act { now, actor, name, address, user_agent: self.user_agent.clone(), request_id, seed: Seed(Some(Entropy::new().bytes())) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<RequestInfo, Self::Rejection> {
        Ok(parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default())
    }
}

/// The outermost layer.
pub async fn observe(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let (request_id, user_agent) = (request_id(&state, request.headers()), user_agent(request.headers()));
    let (address, secure) = (address(&request), is_secure(&request));
    let device = auth::device(&state, request.headers(), secure);
    let info = RequestInfo { request_id, user_agent, address, secure, device, ..RequestInfo::default() };
    let hsts = wants_hsts(&state, &request);
    request.extensions_mut().insert(info.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();

    let mut response = match catch_panic(next.run(request)).await {
        Some(response) => response,
        None => {
            tracing::error!(request_id = info.request_id, %method, route, "a handler panicked");
            ApiError::panicked().into_response()
        }
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        record_refusal(&state, &error, &info, &route).await;
        response = error.render(&info.request_id, state.now().wall);
    }
    set_headers(response.headers_mut(), hsts);
    if let Some(standing) = info.standing() {
        rates::tell(response.headers_mut(), standing);
    }
    if let Ok(id) = HeaderValue::from_str(&info.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(date) = date(state.now().wall) {
        response.headers_mut().insert(header::DATE, date);
    }
    let elapsed = watch.elapsed();
    metrics::record(&state.metrics, &method, &route, response.status(), elapsed);
    log(response.status(), &info, &method, &route, elapsed.as_secs_f64() * 1_000.0);
    response
}

/// The manager's own time, which pages count from: the clock that this process goes by, not the machine's.
fn date(wall: Timestamp) -> Option<HeaderValue> {
    let since_epoch = Duration::from_millis(u64::try_from(wall.0).ok()?);
    HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)).ok()
}

/// Writes a refused access to the audit log, or counts it.
async fn record_refusal(state: &AppState, error: &ApiError, info: &RequestInfo, route: &str) {
    if !error.is_access_refusal() {
        return;
    }
    let actor = error.actor.as_deref().or(info.actor.get()).cloned().unwrap_or(Actor::Anonymous);
    let subject = error.subject.as_deref().unwrap_or(route);
    let draft = info.act(state.now(), actor).draft("request.refuse", subject).refused(error.name);
    note_refusal(state, draft).await;
}

/// Writes a refusal to the audit log when it is the first of its kind; else counts it. For the alarm all failed proofs are counted.
pub(super) async fn note_refusal(state: &AppState, draft: Draft) {
    if is_failed_proof(draft.reason.as_deref().unwrap_or_default(), &draft.subject) {
        let network = draft.personal.address.as_deref().and_then(|address| address.parse().ok()).map(network);
        let account = Some(draft.subject.as_str()).filter(|subject| subject.starts_with("user_"));
        state.failures.note(account, network, state.now().boot);
    }
    if let Some(draft) = state.refusals.note(draft)
        && let Err(error) = state.store.write(move |tx| audit::append(tx, draft.clone())).await
    {
        tracing::warn!(%error, "a refusal could not be recorded");
    }
}

fn log(status: StatusCode, info: &RequestInfo, method: &axum::http::Method, route: &str, elapsed_ms: f64) {
    let (status, request_id) = (status.as_u16(), &info.request_id);
    if status >= 500 && status != 501 {
        tracing::warn!(status, %method, route, elapsed_ms, request_id, "request");
    } else {
        tracing::debug!(status, %method, route, elapsed_ms, request_id, "request");
    }
}

/// None when the future panicked.
pub(super) async fn catch_panic<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// The caller's id when it is short and plain, else a new one.
fn request_id(state: &AppState, headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        (1..=REQUEST_ID_LEN).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.')
    };
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain);
    given.map_or_else(|| format!("req_{}", state.entropy.uuid(state.now().wall.0).simple()), str::to_owned)
}

/// What is kept of a program's name for itself, in characters.
pub const USER_AGENT_LEN: usize = 256;

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(USER_AGENT_LEN).collect())
}

/// Where the request comes from. A proxy on this machine names its client last in `X-Forwarded-For`; from anywhere else the header is hearsay.
fn address(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0.ip().to_canonical());
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back().and_then(|v| v.to_str().ok());
    let client = forwarded.and_then(|list| list.rsplit(',').next()).and_then(|last| client_address(last.trim()));
    client.filter(|_| peer.is_loopback()).map_or(peer, |client| client.to_canonical())
}

/// Some proxies name the client's port, too.
fn client_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()
}

/// Over TLS, ours or that of a proxy on this machine.
fn is_secure(request: &Request) -> bool {
    let tls = request.extensions().get::<Link>().is_some_and(|link| link.tls);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let forwarded = request.headers().get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    tls || (forwarded && peer.is_some_and(|peer| peer.is_loopback()))
}

/// Only for the owner's certificate: a browser that was told so never again lets a person past a certificate it does not know, so a generated one that was
/// lost or made anew would lock everybody out. A proxy says so itself.
fn wants_hsts(state: &AppState, request: &Request) -> bool {
    let tls = request.extensions().get::<Link>().is_some_and(|link| link.tls);
    tls && state.settings().transport.tls.as_ref().is_some_and(|tls| tls.is_own())
}

/// Nothing inline, nothing from elsewhere, no frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

fn set_headers(headers: &mut HeaderMap, hsts: bool) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    // Answers are about the present; assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let from = |peer: &str, forwarded: &str| {
            let mut request = Request::builder().header("x-forwarded-for", forwarded).body(Body::empty()).unwrap();
            request.extensions_mut().insert(Peer(peer.parse().unwrap()));
            address(&request).to_string()
        };
        assert_eq!(from("127.0.0.1:9", "1.2.3.4, 10.0.0.7"), "10.0.0.7");
        assert_eq!(from("[::ffff:127.0.0.1]:9", "10.0.0.7"), "10.0.0.7");
        assert_eq!(from("127.0.0.1:9", "10.0.0.7:1000"), "10.0.0.7");
        assert_eq!(from("127.0.0.1:9", "[2001:db8::1]:1000"), "2001:db8::1");
        assert_eq!(from("127.0.0.1:9", "nonsense"), "127.0.0.1");
        assert_eq!(from("10.0.0.9:9", "10.0.0.7"), "10.0.0.9");
    }
}
