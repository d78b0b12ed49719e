//! Who calls. The layer of `access` finds out, and routes extract the `Caller` it let in.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use data_encoding::BASE64URL_NOPAD;

use super::error::ApiError;
use super::gateway_jwt::Gateway;
use super::middleware::RequestInfo;
use super::state::AppState;
use crate::crypto::{self, Entropy};
use crate::domain::api_token::ApiTokenText;
use crate::domain::audit::{Act, Actor};
use crate::domain::device::{self, Device};
use crate::domain::enrolment::NodeClaims;
use crate::domain::ids::{ApiTokenId, NodeId, UserId};
use crate::domain::node::NodeType;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::session::{COOKIE_MAX_SECONDS, Carrier, token_hash};
use crate::domain::time::{Now, Timestamp};
use crate::domain::user::{Role, User};
use crate::storage::core::{api_tokens, people};

/// Who proved to be what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    User {
        id: UserId,
        username: String,
        role: Role,
    },
    Node {
        node_id: NodeId,
        node_type: NodeType,
    },
    /// A program with an API token: what it may is bounded by the scopes, and by what its maker may now.
    Token {
        id: ApiTokenId,
        name: String,
        role: Role,
        scopes: Vec<Scope>,
    },
    /// Somebody whom the API gateway vouches for; the id is `Secrets::vouched_id`.
    Gateway {
        id: String,
        role: Role,
    },
    Anonymous,
}

impl Principal {
    /// Kind and name: what is counted and remembered for one is not for another.
    pub fn key(&self) -> (&'static str, &str) {
        match self {
            Principal::User { id, .. } => ("user", id.as_str()),
            Principal::Token { id, .. } => ("token", id.as_str()),
            Principal::Gateway { id, .. } => ("gateway", id.as_str()),
            Principal::Node { node_id, .. } => ("node", node_id.as_str()),
            Principal::Anonymous => ("anonymous", ""),
        }
    }
}

/// The session a person came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    pub token_hash: [u8; 32],
    pub carrier: Carrier,
    pub expires_at: Timestamp,
    /// Until when the person counts as just confirmed; None when that is over.
    pub confirmed_until: Option<Timestamp>,
}

/// The caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub principal: Principal,
    pub session: Option<SessionKey>,
    pub request: RequestInfo,
}

impl Caller {
    /// A signed-in person of at least this role, or a program.
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        match &self.principal {
            Principal::User { role: own, .. } | Principal::Token { role: own, .. } | Principal::Gateway { role: own, .. }
                if *own >= role =>
            {
                Ok(())
            }
            Principal::Anonymous => Err(Refusal::NotSignedIn.into()),
            _ => Err(Refusal::NotAllowed.into()),
        }
    }

    /// What a node asks about is itself; of people this asks nothing. For routes whose ids are in the body.
    pub fn own(&self, asked: &NodeId) -> Result<(), Refusal> {
        match &self.principal {
            Principal::Node { node_id, .. } if node_id != asked => Err(Refusal::NotYours),
            _ => Ok(()),
        }
    }

    /// A person of at least this role: who, and which role exactly.
    pub fn person(&self, role: Role) -> Result<(UserId, Role), ApiError> {
        self.require(role)?;
        match &self.principal {
            Principal::User { id, role, .. } => Ok((id.clone(), *role)),
            Principal::Anonymous => Err(Refusal::NotSignedIn.into()),
            Principal::Node { .. } | Principal::Token { .. } | Principal::Gateway { .. } => Err(Refusal::NotAllowed.into()),
        }
    }

    /// A person who proved to be who they are a moment ago, with all factors of the account. Neither a node nor a program ever is, and none is told to enter a
    /// password that it does not have.
    pub fn require_fresh(&self) -> Result<(), ApiError> {
        if !matches!(self.principal, Principal::User { .. }) {
            return Err(Refusal::PersonNeeded.into());
        }
        let confirmed = self.session.and_then(|session| session.confirmed_until);
        confirmed.map(drop).ok_or_else(|| Refusal::FreshFactorNeeded.into())
    }

    pub fn actor(&self) -> Actor {
        match &self.principal {
            Principal::User { id, .. } => Actor::User(id.to_string()),
            Principal::Node { node_id, .. } => Actor::Node(node_id.to_string()),
            Principal::Token { id, .. } => Actor::Program(id.to_string()),
            Principal::Gateway { id, .. } => Actor::Program(id.clone()),
            Principal::Anonymous => Actor::Anonymous,
        }
    }

    /// What a verb of the store dates and signs its audit entry with.
    pub fn act(&self, now: Now) -> Act {
        self.request.act(now, self.actor())
    }

    /// What waits for an admin's word is a person's to say.
    pub fn may_approve(&self) -> bool {
        self.may(Scope::EnrolmentApprove)
    }

    pub fn is_admin(&self) -> bool {
        self.require(Role::Admin).is_ok()
    }

    /// The session or API token this caller came with has not ended since. A node's token lives an hour at most, and like the gateway's cannot
    /// be ended before.
    pub fn still_signed_in(&self, state: &AppState) -> bool {
        if let Principal::Token { id, .. } = &self.principal {
            return matches!(state.store.read().and_then(|read| api_tokens::is_live(&read, id, state.now().wall)), Ok(true));
        }
        let Some(key) = &self.session else { return true };
        let found = state.store.read().and_then(|read| people::session(&read, &key.token_hash, state.now().wall));
        matches!(found, Ok(Some(_)))
    }
}

/// Who sends this request: from a bearer token, a node's JWT, or the session cookie. Credentials that do not hold are refused; without any it
/// is `Anonymous`.
pub async fn authenticate(state: &AppState, parts: &Parts) -> Result<Caller, ApiError> {
    let request = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or(Refusal::SessionUnknown)?;
        // A JWT has three parts; tokens of sessions have no dots.
        if token.contains('.') {
            return match &state.settings().gateway {
                Some(gateway) => vouched(state, gateway, token, request),
                None => node(state, token, request),
            };
        }
        if ApiTokenText::looks_like(token) {
            return program(state, token, request).await;
        }
        return person(state, token, Carrier::Bearer, request);
    }
    let Some(token) = cookie(&parts.headers, cookie_name(request.secure)) else {
        return Ok(Caller { principal: Principal::Anonymous, session: None, request });
    };
    let caller = person(state, token, Carrier::Cookie, request)?;
    check_origin(&parts.method, &parts.headers)?;
    keep_alive(state, &caller).await;
    Ok(caller)
}

/// The caller that the layer of `access` let in.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| Refusal::NotSignedIn.into())
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a request comes with the token of a node.
pub(super) fn is_node(state: &AppState, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    token.is_some_and(|token| token.contains('.') && node_claims(state, token).is_some())
}

fn node_claims(state: &AppState, token: &str) -> Option<NodeClaims> {
    let claims: Option<NodeClaims> = crypto::jwt_decode(&state.store.secrets.node_tokens, token);
    claims.filter(|claims| claims.is_valid(state.now().wall))
}

fn node(state: &AppState, token: &str, request: RequestInfo) -> Result<Caller, ApiError> {
    let claims = node_claims(state, token).ok_or(Refusal::SessionUnknown)?;
    // A deleted node's token does not outlive it.
    let node_type = state.store.directory.by_id(&claims.node_id).ok_or(Refusal::SessionUnknown)?.node_type;
    let caller = Caller { principal: Principal::Node { node_id: claims.node_id, node_type }, session: None, request };
    caller.request.signed_in(caller.actor());
    Ok(caller)
}

/// A JWT is a node's or the gateway's: each is signed with a key of its own.
fn vouched(state: &AppState, gateway: &Gateway, token: &str, request: RequestInfo) -> Result<Caller, ApiError> {
    let Some((subject, role)) = gateway.vouches_for(token, state.now().wall) else { return node(state, token, request) };
    let principal = Principal::Gateway { id: state.store.secrets.vouched_id(&subject), role };
    let caller = Caller { principal, session: None, request };
    caller.request.signed_in(caller.actor());
    caller.request.vouched_as(subject);
    Ok(caller)
}

/// A program with an API token; its last use is noted now and then.
async fn program(state: &AppState, token: &str, request: RequestInfo) -> Result<Caller, ApiError> {
    let text = ApiTokenText::parse(token).ok_or(Refusal::SessionUnknown)?;
    let now = state.now().wall;
    let (token, grant) = api_tokens::present(&state.store.read()?, &text, now)?.ok_or(Refusal::SessionUnknown)?;
    if token.wants_touch(now) {
        let id = token.id.clone();
        if let Err(error) = state.store.write(move |tx| api_tokens::touch(tx, &id, now)).await {
            tracing::warn!(%error, "the use of an API token could not be noted");
        }
    }
    let principal = Principal::Token { id: token.id, name: token.name, role: grant.role, scopes: grant.scopes };
    let caller = Caller { principal, session: None, request };
    caller.request.signed_in(caller.actor());
    Ok(caller)
}

fn person(state: &AppState, token: &str, carrier: Carrier, request: RequestInfo) -> Result<Caller, ApiError> {
    let token_hash = token_hash(token);
    let now = state.now().wall;
    let found = people::session(&state.store.read()?, &token_hash, now)?;
    let (session, User { id, username, role, .. }) = found.filter(|(s, _)| s.carrier == carrier).ok_or(Refusal::SessionUnknown)?;
    let key = SessionKey { token_hash, carrier, expires_at: session.expires_at(), confirmed_until: session.confirmed_until(now) };
    let caller = Caller { principal: Principal::User { id, username, role }, session: Some(key), request };
    caller.request.signed_in(caller.actor());
    Ok(caller)
}

/// Slides the end of a browser's session. A failure costs the person a sign-in later, nothing now.
async fn keep_alive(state: &AppState, caller: &Caller) {
    let Some(SessionKey { token_hash, .. }) = caller.session else { return };
    let now = state.now().wall;
    let wants = state.store.read().and_then(|read| people::session(&read, &token_hash, now));
    if matches!(wants, Ok(Some((session, _))) if session.wants_touch(now))
        && let Err(error) = state.store.write(move |tx| people::touch(tx, &token_hash, now)).await
    {
        tracing::warn!(%error, "a session could not be refreshed");
    }
}

/// Refuses what a page of another origin makes a browser send. SameSite=Strict is the first wall; this is the second. Programs send neither
/// header.
pub fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let own = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
        (None, None) => true,
    };
    if own { Ok(()) } else { Err(Refusal::WrongOrigin.into()) }
}

/// A fresh opaque token of 256 bits.
pub fn new_token(entropy: &Entropy) -> String {
    BASE64URL_NOPAD.encode(&entropy.bytes::<32>())
}

/// Browsers accept the `__Host-` prefix over TLS only.
fn cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-lucid_session" } else { "lucid_session" }
}

fn device_cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-lucid_device" } else { "lucid_device" }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// The browser this comes from, when somebody who still may sign in has signed in with it.
pub(super) fn device(state: &AppState, headers: &HeaderMap, tls: bool) -> Option<Device> {
    let text = cookie(headers, device_cookie_name(tls))?;
    let device = Device::parse(&state.store.secrets.devices, text, state.now().wall)?;
    let user = state.store.read().and_then(|read| people::user(&read, &device.user)).ok()??;
    (!user.disabled).then_some(device)
}

/// The header that hands a session to a browser, or takes it back when `token` is empty.
pub fn set_cookie(token: &str, tls: bool) -> Option<HeaderValue> {
    let max_age = if token.is_empty() { 0 } else { COOKIE_MAX_SECONDS };
    cookie_header(cookie_name(tls), token, max_age, tls)
}

/// The header that has a browser remember that `user` signed in with it, or remember it for longer.
pub fn set_device(state: &AppState, user: &UserId, request: &RequestInfo) -> Option<HeaderValue> {
    let known = request.device.as_ref().filter(|device| device.user == *user);
    let id = known.map_or_else(|| state.entropy.bytes(), |device| device.id);
    let device = Device { user: user.clone(), id, seen_at: state.now().wall };
    let text = device.text(&state.store.secrets.devices);
    cookie_header(device_cookie_name(request.secure), &text, device::MAX_SECONDS, request.secure)
}

fn cookie_header(name: &str, value: &str, max_age: i64, tls: bool) -> Option<HeaderValue> {
    let secure = if tls { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_pages_of_our_own_origin_may_change_things() {
        let fine = |pairs: &[(&'static str, &str)]| check_origin(&Method::POST, &headers(pairs)).is_ok();
        assert!(fine(&[]));
        assert!(fine(&[("sec-fetch-site", "same-origin"), ("origin", "http://proxied")]));
        assert!(fine(&[("origin", "http://pi:8095"), ("host", "pi:8095")]));
        assert!(!fine(&[("origin", "http://evil"), ("host", "pi:8095")]));
        assert!(!fine(&[("origin", "null"), ("host", "pi:8095")]));
        assert!(!fine(&[("origin", "http://pi:8095")]));
        assert!(!fine(&[("sec-fetch-site", "same-site"), ("origin", "http://pi:8095"), ("host", "pi:8095")]));
        assert!(!fine(&[("sec-fetch-site", "cross-site")]));
        assert!(check_origin(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")])).is_ok());
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let jar = headers(&[("cookie", "a=1; xlucid_session=2; lucid_session=3")]);
        assert_eq!(cookie(&jar, "lucid_session"), Some("3"));
        assert_eq!(cookie(&jar, "__Host-lucid_session"), None);
        let secure = set_cookie("t", true).unwrap();
        assert_eq!(secure, "__Host-lucid_session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800; Secure");
        assert!(set_cookie("", false).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn bearer_is_read_without_regard_to_case() {
        assert_eq!((bearer("bearer x"), bearer("Bearer  x "), bearer("Basic x"), bearer("x")), (Some("x"), Some("x"), None, None));
    }
}
