//! JSON in and out: bodies are bounded in size and time, and a refused one is told the path of the field.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::shape::Shape;
use super::unchecked::Unchecked;
use super::words;

/// Largest body (requirements: `MAX_REQUEST_SIZE`).
pub const BODY_LIMIT_BYTES: usize = 10 * 1024 * 1024;
/// What an answer gets room for at first: most need no more, and a list grows from there in few steps.
const FIRST_BYTES: usize = 4 * 1024;
/// Objects and arrays within each other: far more than any request has.
pub const MAX_DEPTH: usize = 64;
/// A body that trickles in slower is not waited for.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Extracts a request body that no rule has anything to say about (`Unchecked` is for the others), answers a response body. Request structs carry `#[serde(deny_unknown_fields)]`.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Into plain memory: a list is thousands of small writes, and a buffer behind an interface makes each of them dear.
        let mut body = Vec::with_capacity(FIRST_BYTES);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer does not serialize");
                ApiError::panicked().into_response()
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, ApiError> {
        read(request).await?.parsed().map(Json)
    }
}

/// The bytes of a body that has to be JSON, and what the document says of it.
pub async fn read_bytes(request: Request, limit_bytes: usize) -> Result<(Shape, Bytes), ApiError> {
    check_type(request.headers())?;
    check_plain(request.headers())?;
    let shape = request.extensions().get::<Shape>().cloned().unwrap_or_default();
    Ok((shape, read_body(request.into_body(), limit_bytes).await?))
}

/// The body of a request, with what was found wrong with it when it is refused.
pub async fn read<T: DeserializeOwned>(request: Request) -> Result<Unchecked<T>, ApiError> {
    let (shape, body) = read_bytes(request, BODY_LIMIT_BYTES).await?;
    Ok(Unchecked::of(shape, body))
}

/// The whole body, when it is no larger than `limit_bytes` and arrives in time.
pub async fn read_body(body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit_bytes)).await {
        Err(_) => Err(ApiError::body_too_slow()),
        Ok(Err(error)) if is_length_error(&error) => Err(ApiError::too_large(limit_bytes)),
        Ok(Err(_)) => Err(ApiError::malformed("", "the body broke off")),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

/// axum hides the type of the error of a body beyond its limit.
fn is_length_error(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("length limit"))
}

/// `application/json` or a kind of it, in UTF-8.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        return Err(ApiError::not_json());
    }
    let charset = parts.find_map(|parameter| parameter.strip_prefix("charset=")).map(|value| value.trim_matches('"'));
    // ASCII is UTF-8 too.
    charset.filter(|charset| !["utf-8", "utf8", "us-ascii"].contains(charset)).map_or(Ok(()), |charset| Err(ApiError::not_utf8(charset)))
}

/// The body is what was meant, not something that it has yet to be made from: nothing is unpacked here.
pub fn check_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = codings.flat_map(|value| value.to_str().unwrap_or("something unreadable").split(',')).map(str::trim);
    let mut others = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    others.next().map_or(Ok(()), |coding| Err(ApiError::encoded(coding)))
}

/// Parses JSON; an error names the field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if !is_shallow(bytes) {
        return Err(ApiError::malformed("", format!("the body is nested deeper than {MAX_DEPTH} levels")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        match inner.classify() {
            Category::Data => {
                let message = inner.to_string();
                let place = message.rfind(" at line ").unwrap_or(message.len());
                field_error(&error.path().to_string(), &message[..place])
            }
            // Of a number where one of several words belongs, the parser says that it is no JSON.
            Category::Syntax if is_json() => field_error(&error.path().to_string(), "is not a value that this field takes"),
            Category::Eof => ApiError::malformed("", "the body is no JSON: it ends too early"),
            _ => ApiError::malformed("", format!("the body is no JSON: line {}, column {}", inner.line(), inner.column())),
        }
    })?;
    deserializer.end().map_err(|_| ApiError::malformed("", "the body goes on after its JSON value"))?;
    Ok(value)
}

/// The same JSON with its fields sorted and without spaces; scalars stay as they were written. None: it is no JSON, or too deep.
pub fn canonical(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| is_shallow(text.as_bytes()))?;
    let mut out = Vec::with_capacity(bytes.len());
    write_canonical(text, &mut out).ok()?;
    Some(out)
}

fn write_canonical(text: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            for (n, (name, value)) in fields.iter().enumerate() {
                out.push(if n == 0 { b'{' } else { b',' });
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write_canonical(value.get(), out)?;
            }
            out.extend(if fields.is_empty() { &b"{}"[..] } else { b"}" });
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            for (n, item) in items.iter().enumerate() {
                out.push(if n == 0 { b'[' } else { b',' });
                write_canonical(item.get(), out)?;
            }
            out.extend(if items.is_empty() { &b"[]"[..] } else { b"]" });
        }
        _ => out.extend(serde_json::from_str::<&RawValue>(text)?.get().trim().bytes()),
    }
    Ok(())
}

/// No value lies deeper than `MAX_DEPTH`. Looks at brackets outside of strings only: what is no JSON is the parser's to refuse.
pub fn is_shallow(bytes: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => (),
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// serde names an unknown or a missing field in its message only, as `Strict` does with a wrong one; the path then ends at the object that holds it, or at the field.
fn field_error(path: &str, message: &str) -> ApiError {
    let path = if path == "." { "" } else { path };
    let quoted = |rest: &str| rest.split_once('`').map(|(name, _)| name.to_owned());
    let named = |prefix: &str| message.strip_prefix(prefix).and_then(quoted);
    let join = |name: &str| match path {
        "" => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    if let Some(name) = named("unknown field `") {
        return ApiError::malformed(join(&name), "is not a field of this request");
    }
    if let Some(name) = named("missing field `") {
        return ApiError::malformed(join(&name), "is missing");
    }
    if let Some(name) = named("duplicate field `") {
        return ApiError::malformed(join(&name), "comes twice");
    }
    if let Some((name, rest)) = message.strip_prefix("invalid field `").and_then(|rest| rest.split_once("`: ")) {
        return ApiError::malformed(join(name), words::plain(rest));
    }
    ApiError::malformed(path, words::plain(message))
}

/// A query string as `T`. Parameters that `T` does not know are another extractor's (`page` and `limit`); what is nobody's, `parameters` refuses.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, ApiError> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(error) => {
                let text = error.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let (path, message) = text.split_once(": ").filter(|(path, _)| !path.contains(' ')).unwrap_or(("", text));
                Err(field_error(path, message))
            }
        }
    }
}

/// Path parameters as `T`; one that does not parse means that there is no such thing.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(_) => Err(ApiError::malformed("", "a part of the path is not what this route takes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        cores: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        cpu: Inner,
    }

    fn refused(text: &str) -> (String, String) {
        let error = parse::<Outer>(text.as_bytes()).unwrap_err();
        assert_eq!(error.status, axum::http::StatusCode::BAD_REQUEST);
        error.fields.first().map(|f| (f.field.clone(), f.message.clone())).unwrap_or(("-".into(), error.message))
    }

    #[test]
    fn a_refused_body_names_the_field() {
        assert_eq!(refused(r#"{"name":"a","cpu":{"cores":1,"bad":2}}"#), ("cpu.bad".into(), "is not a field of this request".into()));
        assert_eq!(refused(r#"{"nme":"a"}"#), ("nme".into(), "is not a field of this request".into()));
        assert_eq!(refused(r#"{"name":"a","cpu":{}}"#), ("cpu.cores".into(), "is missing".into()));
        assert_eq!(refused(r#"{"cpu":{"cores":1}}"#), ("name".into(), "is missing".into()));
        assert_eq!(refused(r#"{"name":"a","cpu":{"cores":-1}}"#).0, "cpu.cores");
        assert_eq!(refused(r#"{"name":"a","cpu":{"cores":1}} x"#).0, "-");
        assert_eq!(refused("").0, "-");
        let fine: Outer = parse(br#"{"name":"a","cpu":{"cores":4}}"#).unwrap();
        assert_eq!((fine.name.as_str(), fine.cpu.cores), ("a", 4));
    }

    #[test]
    fn a_deep_body_is_refused_by_its_depth() {
        let deep = |levels: usize| [r#"{"a":"#.repeat(levels / 2), "[".repeat(levels - levels / 2)].concat();
        for levels in [MAX_DEPTH + 1, 200, 1_000_000] {
            let (_, message) = refused(&deep(levels));
            assert_eq!(message, "the body is nested deeper than 64 levels", "{levels}");
        }
        let whole = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse::<serde_json::Value>(whole(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse::<serde_json::Value>(whole(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(parse::<serde_json::Value>(format!("[\"{}\\\"{{\"]", "[".repeat(100)).as_bytes()).is_ok(), "brackets in a text are none");
        assert!(parse::<serde_json::Value>(format!("[{}]", ["[]"; 100].join(",")).as_bytes()).is_ok(), "beside each other is not within");
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        assert_eq!(refused(r#"{"name":"a","name":"b","cpu":{"cores":1}}"#), ("name".into(), "comes twice".into()));
        assert_eq!(refused(r#"{"name":"a","cpu":{"cores":1,"cores":2}}"#), ("cpu.cores".into(), "comes twice".into()));
    }

    #[test]
    fn canonical_json_has_one_form_and_keeps_numbers_as_they_were_written() {
        let of = |text: &str| canonical(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        let one = of(r#"{"b":[1, {"y":null,"x":"\u0041\n"}],"a":{},"c":[]}"#);
        assert_eq!(one.as_deref(), Some(r#"{"a":{},"b":[1,{"x":"\u0041\n","y":null}],"c":[]}"#));
        assert_eq!(of(" { \"a\" : { } , \"c\":[ ] , \"b\":[1,{\"x\":\"\\u0041\\n\",\"y\": null}] }\n"), one);
        assert_ne!(of("[1.000000000000000001]"), of("[1]"));
        assert_eq!(of(one.as_deref().unwrap()), one);
        assert_eq!((of("{"), of(""), of("\u{1}"), of(&"[".repeat(65))), (None, None, None, None));
    }

    #[tokio::test]
    async fn a_body_beyond_its_limit_is_refused_as_such() {
        let error = read_body(Body::from(vec![b' '; 11]), 10).await.unwrap_err();
        assert_eq!(error.name, "BodyTooLarge");
        assert_eq!(read_body(Body::from("0123456789"), 10).await.unwrap().len(), 10);
    }

    #[test]
    fn only_utf8_and_only_what_is_not_packed_is_read() {
        let told = |name: header::HeaderName, value: &str| {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())]);
            let checked = if name == header::CONTENT_TYPE { check_type(&headers) } else { check_plain(&headers) };
            checked.map_or_else(|error| (error.status.as_u16(), error.name), |()| (200, ""))
        };
        for fine in
            ["application/json", "Application/JSON; charset=UTF-8", "application/problem+json;charset=\"utf-8\"", "application/json; v=1"]
        {
            assert_eq!(told(header::CONTENT_TYPE, fine), (200, ""), "{fine}");
        }
        for other in ["application/json; charset=utf-16", "application/json;v=1; Charset=\"latin1\""] {
            assert_eq!(told(header::CONTENT_TYPE, other), (415, "NotUtf8"), "{other}");
        }
        assert_eq!(told(header::CONTENT_TYPE, "text/plain; charset=utf-16"), (415, "NotJson"));
        for fine in ["identity", "Identity, identity", ""] {
            assert_eq!(told(header::CONTENT_ENCODING, fine), (200, ""), "{fine}");
        }
        for packed in ["gzip", "identity, br", "x"] {
            assert_eq!(told(header::CONTENT_ENCODING, packed), (415, "BodyEncoded"), "{packed}");
        }
    }

    #[tokio::test]
    async fn a_query_names_the_parameter() {
        #[derive(Debug, Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only parsed")]
            size: u32,
        }
        let request = Request::get("/x?size=big").body(Body::empty()).unwrap();
        let error = Query::<Wanted>::from_request_parts(&mut request.into_parts().0, &()).await.unwrap_err();
        assert_eq!(error.message, "size: must be a whole number");
        assert_eq!(error.fields.first().map(|f| f.field.as_str()), Some("size"));
    }
}
