//! What this program is, and what it is made of.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::json::Json;
use super::state::AppState;
use crate::crypto;
use crate::storage::core::meta;
use crate::wire;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StoreAbout {
    /// Schema of the files; a release reads its own and says so of others.
    schema: u32,
    /// Raised by every restore.
    generation: u32,
    /// RFC 3339, UTC.
    created_at: String,
}

/// The certificate that browsers are shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CertificateAbout {
    /// In pairs of hex digits, as browsers show it: to be compared before a generated certificate is accepted.
    sha256: String,
    /// Made by this manager, and therefore vouched for by nobody else.
    generated: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct About {
    version: &'static str,
    /// Git commit; null when the build did not name it.
    commit: Option<&'static str>,
    /// What it was built for, such as `aarch64-unknown-linux-musl`.
    target: &'static str,
    /// The compiler.
    rustc: Option<&'static str>,
    manager_id: String,
    /// Newest protocol of agents that is spoken.
    protocol: u32,
    store: StoreAbout,
    /// Null while TLS is off.
    certificate: Option<CertificateAbout>,
}

/// What this program is
#[utoipa::path(get, path = "/about", tag = "operations", security(("access" = ["fleet:read"])), responses((status = 200, body = About)))]
pub async fn show(State(state): State<AppState>) -> Result<Json<About>, ApiError> {
    let store = meta::store(&state.store.read()?)?;
    let settings = state.settings();
    let tls = settings.transport.tls.as_ref();
    let certificate = tls.map(|tls| CertificateAbout { sha256: tls.fingerprint(), generated: !tls.is_own() });
    Ok(Json(About {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("LUCID_COMMIT").filter(|commit| !commit.is_empty()),
        target: env!("LUCID_TARGET"),
        rustc: Some(env!("LUCID_RUSTC")).filter(|rustc| !rustc.is_empty()),
        manager_id: state.store.manager_id.to_string(),
        protocol: wire::PROTOCOL,
        store: StoreAbout { schema: store.schema, generation: store.generation, created_at: store.created_at.rfc3339() },
        certificate,
    }))
}

/// Made by `packaging/licences.py`.
static LICENCES: &[u8] = include_bytes!("../../data/licences.json.gz");

/// The licences of what the binary is made of.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape of the file, for the document")]
pub struct Licences {
    packages: Vec<LicensedPackage>,
    texts: Vec<String>,
    /// Locked packages whose code is in no binary: tools of the build, tests, other systems.
    not_in_binary: Vec<String>,
}

#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape of the file, for the document")]
pub struct LicensedPackage {
    /// `npm:` is in front of those of the UI.
    name: String,
    version: String,
    /// SPDX.
    licence: String,
    /// Place in `texts`.
    text_id: u32,
}

/// Licences of what this program is made of
///
/// Always sent with `Content-Encoding: gzip`.
#[utoipa::path(get, path = "/licences", tag = "operations", security(()), responses((status = 200, body = Licences)))]
pub async fn licences(headers: HeaderMap) -> Response {
    let etag = format!("\"{}\"", crypto::hex(&crypto::sha256_parts(&[LICENCES])[..16]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut response = if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { LICENCES.into_response() };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    response
}
