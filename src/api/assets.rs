//! The admin UI, embedded from `web/dist`. Files that exist as `.br` or `.gz` are sent compressed to clients that take them; to others the `.gz` is unpacked
//! where the file itself is not embedded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::ApiError;
use crate::crypto;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

const INDEX: &str = "index.html";
/// What shows the OpenAPI document, and what checks proofs: they stand apart from the UI.
const DOCS: &str = "docs/index.html";
const VERIFY: &str = "verify/index.html";
/// Files under this folder carry a hash of their content in the name.
const HASHED: &str = "assets/";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Lucid Node Management</title>\
    <h1>Lucid Node Management</h1><p>The UI was not built into this binary. The API is at <a href=\"/api/v1/openapi.json\">/api/v1</a>.</p></html>";

/// Answers what no route answers: files of the UI, and its start page for the UI's own paths.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if !is_of_the_ui(path) || !(method == Method::GET || method == Method::HEAD) {
        return ApiError::no_such_route().into_response();
    }
    let path = match path {
        "docs" | "docs/" => DOCS,
        "verify" | "verify/" => VERIFY,
        path => path,
    };
    if let Some(response) = file(path, &headers) {
        return response;
    }
    // A missing file is missing; a path of the UI is the UI's to resolve.
    if path.starts_with(HASHED) || path.rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return ApiError::no_such_route().into_response();
    }
    file(INDEX, &headers).unwrap_or_else(|| ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT).into_response())
}

/// First parts of what programs ask for.
const OF_PROGRAMS: [&str; 3] = ["api", "health", "metrics"];

/// A program that misspells a path of the API is told so, and not given a page: in any case of letters, and escaped, which no path of the UI begins with.
/// A probe of `/health/` would find every manager healthy.
fn is_of_the_ui(path: &str) -> bool {
    let first = path.split('/').find(|part| !matches!(*part, "" | "." | "..")).unwrap_or_default();
    !OF_PROGRAMS.iter().any(|part| first.eq_ignore_ascii_case(part)) && !first.contains('%')
}

/// A file in one of its encodings.
struct Content {
    data: Cow<'static, [u8]>,
    sha256: [u8; 32],
}

impl From<EmbeddedFile> for Content {
    fn from(file: EmbeddedFile) -> Content {
        Content { sha256: file.metadata.sha256_hash(), data: file.data }
    }
}

/// What is embedded as `.gz`, unpacked. Made for the first client that takes nothing compressed and kept: however many of them are slow to take what they
/// asked for, it is in memory once.
static UNPACKED: LazyLock<HashMap<String, (Vec<u8>, [u8; 32])>> = LazyLock::new(|| {
    let compressed = Dist::iter().filter(|name| name.ends_with(".gz"));
    compressed.filter_map(|name| Some((name.strip_suffix(".gz")?.to_owned(), unpacked(&Dist::get(&name)?.data)?))).collect()
});

fn unpacked(gzip: &[u8]) -> Option<(Vec<u8>, [u8; 32])> {
    let mut data = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut data).ok()?;
    let sha256 = crypto::sha256_parts(&[&data]);
    Some((data, sha256))
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    let (encoding, content) = compressed(path, headers).or_else(|| Some((None, plain(path)?)))?;
    Some(answer(path, encoding, content, headers))
}

fn compressed(path: &str, headers: &HeaderMap) -> Option<(Option<&'static str>, Content)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .filter(|(name, _)| accepts(accepted, name))
        .find_map(|(name, suffix)| Some((Some(name), Dist::get(&format!("{path}{suffix}"))?.into())))
}

fn plain(path: &str) -> Option<Content> {
    let kept = || UNPACKED.get(path).map(|(data, sha256)| Content { data: Cow::Borrowed(data), sha256: *sha256 });
    Dist::get(path).map(Content::from).or_else(kept)
}

/// `name` is listed in an Accept-Encoding header and not refused by `q=0`.
fn accepts(header: &str, name: &str) -> bool {
    header.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let listed = parts.next() == Some(name);
        let refused = parts.any(|p| p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0));
        listed && !refused
    })
}

fn answer(path: &str, encoding: Option<&'static str>, content: Content, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", crypto::hex(&content.sha256[..16]));
    let cache = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut response = if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(content.data).into_response() };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    if let Some(encoding) = encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str) -> Response {
        serve(Method::GET, path.parse().unwrap(), HeaderMap::new()).await
    }

    #[tokio::test]
    async fn paths_of_the_ui_get_a_page_and_missing_files_do_not() {
        for path in ["/", "/nodes/node_abc", "/login"] {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        }
        for path in ["/api/v1/nothing", "/api", "/assets/none-1234.js", "/none.png"] {
            assert_eq!(get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let of_the_api = [
            "/API/v1/nodes",
            "/Api",
            "/aPI/",
            "/api/v2/nodes",
            "/api/v1/nodes/../x",
            "//api/v1",
            "/./api/v1",
            "/../API/v1",
            "/api%2Fv1",
            "/%61pi/v1/nodes",
            "/health/",
            "/Health",
            "/health/life",
            "/metrics/",
        ];
        for path in of_the_api {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(response.extensions().get::<ApiError>().unwrap().name, "RouteNotFound", "{path}");
        }
        assert_eq!(get("/apiary").await.status(), StatusCode::OK, "only the whole word");
        let posted = serve(Method::POST, "/login".parse().unwrap(), HeaderMap::new()).await;
        assert_eq!(posted.status(), StatusCode::NOT_FOUND);
    }

    /// A checkout without a UI has nothing to look at. Each is a page of its own, with and without the slash at its end, and brings no script of the UI.
    #[tokio::test]
    async fn pages_beside_the_ui_are_served_by_their_names() {
        for (name, built) in [("docs", DOCS), ("verify", VERIFY)].into_iter().filter(|_| Dist::get(INDEX).is_some()) {
            let page = Dist::get(built).unwrap();
            for path in [format!("/{name}"), format!("/{name}/")] {
                let response = get(&path).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
                assert_eq!(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap(), *page.data, "{path}");
            }
            let text = String::from_utf8(page.data.into_owned()).unwrap();
            assert!(text.contains(&format!("src=\"/{name}/assets/")) && !text.contains("\"/assets/"), "{name}");
        }
        assert_eq!(get("/verify/none.js").await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn encodings_are_read_with_their_quality() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("br;q=0.5", "br"));
        assert!(!accepts("gzip, br;q=0", "br"));
        assert!(!accepts("brotli", "br"));
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let file = || Content { data: b"x".as_slice().into(), sha256: [7; 32] };
        let first = answer("assets/a-1.js", None, file(), &HeaderMap::new());
        let etag = first.headers()[header::ETAG].clone();
        assert!(first.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, etag);
        assert_eq!(answer("assets/a-1.js", None, file(), &headers).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let (data, sha256) = unpacked(include_bytes!("../../data/licences.json.gz")).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&data).unwrap();
        assert!(read["packages"].is_array());
        assert_eq!(sha256, crypto::sha256_parts(&[&data]));
        let damaged = include_bytes!("../../data/licences.json.gz").iter().rev().skip(9).rev().copied().collect::<Vec<_>>();
        assert!(unpacked(&damaged).is_none() && unpacked(b"plain").is_none() && unpacked(b"").is_none());
    }

    /// Of everything that was built; a checkout without a UI has nothing to look at.
    #[tokio::test]
    async fn every_file_comes_in_every_encoding_with_a_tag_and_a_length_of_its_own() {
        let router = Router::new().fallback(serve);
        for name in Dist::iter().filter_map(|name| Some(name.strip_suffix(".gz")?.to_owned())) {
            let mut seen = Vec::new();
            for encoding in ["identity", "gzip", "br"] {
                let ask = async |method: Method, known: &str| {
                    let asked = Request::builder().method(method).uri(format!("/{name}")).header(header::ACCEPT_ENCODING, encoding);
                    let response =
                        router.clone().oneshot(asked.header(header::IF_NONE_MATCH, known).body(Body::empty()).unwrap()).await.unwrap();
                    let (head, body) = response.into_parts();
                    (head, axum::body::to_bytes(body, 1 << 24).await.unwrap())
                };
                let (head, body) = ask(Method::GET, "").await;
                assert_eq!(head.status, StatusCode::OK, "{name}");
                let told = |name| head.headers.get(name).map(|value| value.to_str().unwrap());
                assert_eq!(told(header::CONTENT_ENCODING), Some(encoding).filter(|encoding| *encoding != "identity"));
                assert_eq!(told(header::VARY), Some("Accept-Encoding"));
                assert_eq!(told(header::CONTENT_LENGTH), Some(body.len().to_string().as_str()));
                let tag = format!("\"{}\"", crypto::hex(&crypto::sha256_parts(&[&body])[..16]));
                assert_eq!(told(header::ETAG), Some(tag.as_str()));
                let (of_head, nothing) = ask(Method::HEAD, "").await;
                assert_eq!((of_head.headers, nothing), (head.headers.clone(), Bytes::new()), "{name}");
                assert_eq!(ask(Method::GET, &tag).await.0.status, StatusCode::NOT_MODIFIED, "{name}");
                seen.push((tag, body));
            }
            assert_eq!(seen[0].1, unpacked(&seen[1].1).unwrap().0, "{name}");
            assert!(seen[0].0 != seen[1].0 && seen[1].0 != seen[2].0 && seen[0].0 != seen[2].0, "{name}");
        }
    }
}
