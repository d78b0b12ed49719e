//! Before anything looks at a request: is it meant for this manager, is it plain HTTP where that is refused, does it ask for another protocol.
//!
//! A page of another site can make a browser believe that the site's name belongs to this machine's address, and then speak to us as to itself, with no
//! wall of the same origin in between (DNS rebinding). The browser still says which name it asked for; only names that are ours are answered.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::json::BODY_LIMIT_BYTES;
use super::server::Link;
use super::state::AppState;
use crate::domain::refusal::Refusal;

/// What agents say is signed in both directions and carries no cookie, so a browser can neither forge nor use it; and they are told whatever name reaches
/// this machine. These routes answer under every name.
pub(super) const WIRE: &str = "/api/v1/agent/";

/// Names and addresses that are this manager's, besides those of loopback.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Hosts {
    /// Without ports; letters in any case.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Hosts {
        let mut all = Hosts::default();
        for host in hosts {
            match address(&host) {
                Some(address) => all.addresses.insert(address),
                None => all.names.insert(plain(&host)),
            };
        }
        all
    }

    /// `local` is this machine's end of the connection: who reached it by that address means us, whatever the interfaces had at the start.
    fn has(&self, host: &str, local: IpAddr) -> bool {
        match address(host) {
            Some(address) => address.is_loopback() || address == local.to_canonical() || self.addresses.contains(&address),
            None => {
                let name = plain(host);
                name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
            }
        }
    }
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// For every request, before anybody is asked who they are.
pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(link) = request.extensions().get::<Link>().copied() else {
        return Ok(next.run(request).await);
    };
    refuse_other_protocols(request.headers())?;
    refuse_long_bodies(request.headers())?;
    let host = authority(&request)?;
    let known = host.as_ref().is_none_or(|host| state.settings().transport.hosts.has(host.host(), link.local.ip()));
    if !known && !request.uri().path().starts_with(WIRE) {
        return Err(Refusal::HostNotAllowed.into());
    }
    if !link.tls && !link.plain {
        return to_tls(&request, host.as_ref());
    }
    Ok(next.run(request).await)
}

/// HTTP/2 over plain TCP is spoken by no browser, and has carried requests past proxies. It would never be agreed to; saying so is clearer than an
/// answer in HTTP/1.1.
fn refuse_other_protocols(headers: &HeaderMap) -> Result<(), ApiError> {
    let h2c = |value: &HeaderValue| value.to_str().is_ok_and(|list| list.split(',').any(|p| p.trim().eq_ignore_ascii_case("h2c")));
    if headers.contains_key("http2-settings") || headers.get_all(header::UPGRADE).iter().any(h2c) {
        return Err(ApiError::upgrade_refused());
    }
    Ok(())
}

/// Said before the first byte of it is read. Bodies that do not say how long they are get counted.
fn refuse_long_bodies(headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    let limit = u64::try_from(BODY_LIMIT_BYTES).unwrap_or(u64::MAX);
    if length.is_some_and(|length| length > limit) { Err(ApiError::too_large(BODY_LIMIT_BYTES)) } else { Ok(()) }
}

/// The host that was asked for: of the request line where it has one, which comes before the header (RFC 9112, section 3.2.2). None for old programs
/// that name none; no browser is that old.
fn authority(request: &Request) -> Result<Option<Authority>, ApiError> {
    let unclear = || ApiError::malformed("host", "must name this manager once");
    let mut headers = request.headers().get_all(header::HOST).iter();
    let named = match (headers.next(), headers.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (Some(value), None) => Some(Authority::try_from(value.as_bytes()).map_err(|_| unclear())?),
        _ => return Err(unclear()),
    };
    let authority = request.uri().authority().cloned().or(named);
    if authority.as_ref().is_some_and(|authority| authority.as_str().contains('@')) { Err(unclear()) } else { Ok(authority) }
}

/// Links and bookmarks are led to TLS. What would change something is refused: its body has already travelled in clear, and a redirect would hide that.
fn to_tls(request: &Request, host: Option<&Authority>) -> Result<Response, ApiError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = host.and_then(|host| HeaderValue::from_str(&format!("https://{host}{path}")).ok());
    match location {
        Some(location) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            Ok((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response())
        }
        _ => {
            let error = ApiError::from(Refusal::PlainHttpRefused);
            let message = host.map(|host| format!("{}: https://{host}", error.message));
            Err(ApiError { message: message.unwrap_or_else(|| error.message.clone()), ..error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn only_our_own_names_and_addresses_are_answered() {
        let hosts = Hosts::new(["Pi".into(), "pi.local".into(), "192.0.2.7".into(), "2001:db8::7".into()]);
        let local: IpAddr = "::ffff:198.51.100.4".parse().unwrap();
        for host in [
            "localhost",
            "app.localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "pi",
            "PI.local",
            "192.0.2.7",
            "[2001:db8::7]",
            "198.51.100.4",
        ] {
            assert!(hosts.has(host, local), "{host}");
        }
        for host in ["evil.example", "pi.evil.example", "localhost.evil.example", "0.0.0.0", "192.0.2.8", "[::]", "127.0.0.1.nip.io", ""] {
            assert!(!hosts.has(host, local), "{host}");
        }
    }

    fn request(line: &str, headers: &[(&str, &str)]) -> Request {
        let request = headers.iter().fold(Request::builder().uri(line), |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn the_host_is_the_one_that_was_asked_for_and_only_one() {
        let named = |line: &str, headers: &[(&str, &str)]| authority(&request(line, headers)).map(|host| host.map(|host| host.to_string()));
        assert_eq!(named("/", &[("host", "pi:8095")]), Ok(Some("pi:8095".into())));
        assert_eq!(named("http://evil.example/", &[("host", "pi:8095")]), Ok(Some("evil.example".into())));
        for headers in [&[][..], &[("host", "a"), ("host", "b")], &[("host", "a b")], &[("host", "a@b")], &[("host", "a/b")]] {
            assert_eq!(named("/", headers).unwrap_err().status, StatusCode::BAD_REQUEST, "{headers:?}");
        }
        let mut old = request("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(authority(&old), Ok(None));
    }

    #[test]
    fn what_is_read_only_is_led_to_tls_and_the_rest_is_refused() {
        let host = Authority::from_static("pi.local:8095");
        let response = to_tls(&request("/nodes?page=2", &[]), Some(&host)).unwrap();
        assert_eq!(response.headers()[header::LOCATION], "https://pi.local:8095/nodes?page=2");
        let mut post = request("/", &[]);
        *post.method_mut() = Method::POST;
        let error = to_tls(&post, Some(&host)).unwrap_err();
        assert_eq!((error.status, error.name), (StatusCode::FORBIDDEN, "PlainHttpRefused"));
        assert!(error.message.ends_with("https://pi.local:8095"), "{}", error.message);
        assert!(to_tls(&request("/", &[]), None).is_err(), "nowhere to lead to");
    }

    #[test]
    fn other_protocols_and_endless_bodies_are_refused_before_anything_is_read() {
        let protocols = |pairs: &[(&str, &str)]| refuse_other_protocols(request("/", pairs).headers()).is_ok();
        assert!(protocols(&[("upgrade", "websocket"), ("connection", "upgrade")]));
        assert!(!protocols(&[("upgrade", "websocket, H2C")]) && !protocols(&[("http2-settings", "AAMAAABkAAQAAP__")]));
        let length = |text: &str| refuse_long_bodies(request("/", &[("content-length", text)]).headers()).is_ok();
        assert!(length("10485760") && !length("10485761") && !length("18446744073709551615"));
    }
}
