//! How many requests a minute: by principal where somebody proved to be one, by address where nobody did. The one table of which
//! request counts as what is `Class::of`.
//!
//! A request that proves itself is never charged to its address, so a thousand agents behind one address do not stand in each other's
//! way, and neither does somebody there who only tries. What comes with credentials is therefore judged first, and charged to the address
//! when they turn out to be none; what comes without is charged before anything is done for it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU32;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Principal;
use super::buckets::{Buckets, Standing};
use super::error::ApiError;
use super::middleware::RequestInfo;
use super::state::AppState;
use crate::clock::Clock;
use crate::domain::device::Device;
use crate::domain::session::Network;
use crate::domain::user::Role;

/// Requests per minute that are settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub public: NonZeroU32,
    pub node: NonZeroU32,
    pub person: NonZeroU32,
    pub admin: NonZeroU32,
    pub poot: NonZeroU32,
    pub payout: NonZeroU32,
}

const fn per_minute(limit: u32) -> NonZeroU32 {
    match NonZeroU32::new(limit) {
        Some(limit) => limit,
        None => NonZeroU32::MIN,
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            public: per_minute(100),
            node: per_minute(1_000),
            person: per_minute(1_000),
            admin: per_minute(10_000),
            poot: per_minute(100),
            payout: per_minute(50),
        }
    }
}

/// Files of the UI and probes of health, per address: a page is some dozens of files, and a probe must not end because somebody behind the
/// same address fails to sign in.
const LIGHT: NonZeroU32 = per_minute(2_000);
/// Challenges for nodes, per address: a fleet behind one address that lost its power comes back at once.
const CHALLENGE: NonZeroU32 = per_minute(2_000);
/// Late batches of one node: each forces a flush. A batch holds 512 slots, so a week away takes two minutes.
const LATE: NonZeroU32 = per_minute(20);
/// Machines that enrol with one token: as many as a token has uses.
const ENROLMENT: NonZeroU32 = per_minute(1_000);

/// What a request counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Anything of the API.
    General,
    Light,
    /// Signing in, and what its page asks first: whatever else is tried behind the same address must not keep people out. Guesses are slowed down by
    /// `domain::session::Throttle`, not by this.
    SignIn,
    Challenge,
    /// The handler checks a signature, and says then who is charged.
    Signed,
    Poot,
    Payout,
}

impl Class {
    /// `path` is the route's, or the address where no route fits.
    pub fn of(method: &Method, path: &str) -> Class {
        let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let Some(path) = path.strip_prefix("/api/v1") else {
            return if path == "/metrics" { Class::General } else { Class::Light };
        };
        match path {
            "/agent/enrol" | "/agent/report" | "/agent/late" | "/agent/commands" | "/agent/output" | "/auth/node/token" => Class::Signed,
            "/auth/node/challenge" => Class::Challenge,
            "/auth/login" | "/auth/me" | "/setup" => Class::SignIn,
            // Pages read scores and payouts many at a time; what makes work or moves money is what the tighter limits are for.
            _ if safe => Class::General,
            path if path.contains("/payouts") || path.contains("/payout-address") => Class::Payout,
            path if path.contains("/poot") => Class::Poot,
            _ => Class::General,
        }
    }
}

/// Who a request is charged to.
#[derive(Debug, Clone, Copy)]
pub enum Payer<'a> {
    Address(Network),
    /// A browser that somebody has signed in with: what others behind the same address do does not keep it from signing in again. All browsers of a
    /// person pay together, so that nobody gets more by signing in with another one.
    Device(&'a Device),
    Node(&'a str),
    Late(&'a str),
    Output(&'a str),
    EnrolmentToken(&'a str),
    Principal(&'a Principal),
}

/// Who pays for what nobody proved to have sent.
fn visitor(info: &RequestInfo) -> Payer<'_> {
    info.device.as_ref().map_or(Payer::Address(Network::of(info.address)), Payer::Device)
}

/// All buckets.
pub struct Rates {
    /// Keys are hashed with a secret of this process: places are small, and nobody can aim at another's.
    hasher: RandomState,
    public: Buckets,
    light: Buckets,
    sign_in: Buckets,
    challenge: Buckets,
    node: Buckets,
    late: Buckets,
    enrolment: Buckets,
    device: Buckets,
    person: Buckets,
    admin: Buckets,
    poot: Buckets,
    payout: Buckets,
}

impl Rates {
    pub fn new(limits: &Limits, clock: &Clock) -> Rates {
        let buckets = |limit| Buckets::new(limit, clock.clone());
        Rates {
            hasher: RandomState::new(),
            public: buckets(limits.public),
            light: buckets(LIGHT),
            sign_in: buckets(limits.public),
            challenge: buckets(CHALLENGE),
            node: buckets(limits.node),
            late: buckets(LATE),
            enrolment: buckets(ENROLMENT),
            device: buckets(limits.person),
            person: buckets(limits.person),
            admin: buckets(limits.admin),
            poot: buckets(limits.poot),
            payout: buckets(limits.payout),
        }
    }

    /// Counts the request that `info` is of; the first charge of a request is the one its answer tells of.
    pub fn charge(&self, info: &RequestInfo, class: Class, payer: Payer<'_>) -> Result<(), ApiError> {
        let standing = self.take(class, payer);
        info.charged(standing);
        match standing.retry_after_seconds {
            None => Ok(()),
            Some(seconds) => Err(ApiError::rate_limited(standing.limit, seconds)),
        }
    }

    fn take(&self, class: Class, payer: Payer<'_>) -> Standing {
        match payer {
            Payer::Address(network) => {
                let buckets = match class {
                    Class::Light => &self.light,
                    Class::SignIn => &self.sign_in,
                    Class::Challenge => &self.challenge,
                    _ => &self.public,
                };
                buckets.take(self.hasher.hash_one(network))
            }
            Payer::Device(device) => self.device.take(self.hasher.hash_one(device.user.as_str())),
            Payer::Node(id) => self.node.take(self.hasher.hash_one(("node", id))),
            Payer::Late(id) => self.late.take(self.hasher.hash_one(("node", id))),
            Payer::Output(id) => self.poot.take(self.hasher.hash_one(("node", id))),
            Payer::EnrolmentToken(id) => self.enrolment.take(self.hasher.hash_one(id)),
            Payer::Principal(principal) => {
                let buckets = match (class, principal) {
                    (Class::Poot, _) => &self.poot,
                    (Class::Payout, _) => &self.payout,
                    (_, Principal::User { role, .. } | Principal::Token { role, .. } | Principal::Gateway { role, .. }) => {
                        self.of_role(*role)
                    }
                    (_, Principal::Node { .. }) => &self.node,
                    (_, Principal::Anonymous) => &self.public,
                };
                buckets.take(self.hasher.hash_one(principal.key()))
            }
        }
    }

    fn of_role(&self, role: Role) -> &Buckets {
        if role >= Role::Admin { &self.admin } else { &self.person }
    }
}

fn class_of(parts: &Parts) -> Class {
    let route = parts.extensions.get::<MatchedPath>().map_or(parts.uri.path(), MatchedPath::as_str);
    Class::of(&parts.method, route)
}

/// Around the layer that says who calls.
pub async fn by_address(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let class = class_of(&parts);
    let info = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
    let may_prove_itself = class == Class::Signed || (class != Class::Light && has_credentials(&parts.headers));
    if !may_prove_itself && let Err(error) = state.rates.charge(&info, class, visitor(&info)) {
        return error.into_response();
    }
    let response = next.run(Request::from_parts(parts, body)).await;
    if info.standing().is_some() {
        return response;
    }
    // Nobody proved anything, so nothing was done: a refusal gives way to "wait".
    match state.rates.charge(&info, class, visitor(&info)) {
        Err(error) if response.status().is_client_error() => error.into_response(),
        _ => response,
    }
}

fn has_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE)
}

/// Charges who is signed in, once that is known and before anything is done; a visitor's address, where it was not charged yet.
pub fn by_principal(state: &AppState, parts: &Parts, principal: &Principal) -> Result<(), ApiError> {
    let info = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_default();
    let class = class_of(parts);
    if class == Class::Signed || info.standing().is_some() {
        return Ok(());
    }
    let payer = match principal {
        Principal::Anonymous => visitor(&info),
        principal => Payer::Principal(principal),
    };
    state.rates.charge(&info, class, payer)
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Tells how the bucket stands that a request was charged to.
pub(super) fn tell(headers: &mut HeaderMap, standing: Standing) {
    let values = [(LIMIT, standing.limit), (REMAINING, standing.remaining), (RESET, standing.reset_seconds)];
    for (name, value) in values {
        headers.insert(name, HeaderValue::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_says_what_a_request_counts_as() {
        let classes = [
            ("GET", "/api/v1/nodes", Class::General),
            ("POST", "/api/v1/nodes", Class::General),
            ("GET", "/metrics", Class::General),
            ("GET", "/", Class::Light),
            ("GET", "/assets/index.js", Class::Light),
            ("GET", "/health/live", Class::Light),
            ("POST", "/api/v1/auth/login", Class::SignIn),
            ("GET", "/api/v1/auth/me", Class::SignIn),
            ("GET", "/api/v1/setup", Class::SignIn),
            ("POST", "/api/v1/setup", Class::SignIn),
            ("POST", "/api/v1/auth/logout", Class::General),
            ("POST", "/api/v1/agent/report", Class::Signed),
            ("POST", "/api/v1/agent/output", Class::Signed),
            ("POST", "/api/v1/auth/node/token", Class::Signed),
            ("POST", "/api/v1/auth/node/challenge", Class::Challenge),
            ("GET", "/api/v1/nodes/{node_id}/poot/score", Class::General),
            ("POST", "/api/v1/nodes/{node_id}/poot/validate", Class::Poot),
            ("POST", "/api/v1/nodes/poot/batch-validate", Class::Poot),
            ("POST", "/api/v1/poot/calculate", Class::Poot),
            ("GET", "/api/v1/nodes/payouts/history", Class::General),
            ("POST", "/api/v1/payouts/process", Class::Payout),
            ("PUT", "/api/v1/nodes/{node_id}/payout-address", Class::Payout),
        ];
        for (method, path, class) in classes {
            assert_eq!(Class::of(&method.parse().unwrap(), path), class, "{method} {path}");
        }
    }
}
