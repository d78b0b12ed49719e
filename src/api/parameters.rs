//! Query strings: a parameter that the route does not have, or that comes twice, is refused by name. Which ones a route has, its
//! documentation says; so a misspelt filter cannot pass for an empty one. And bodies of routes that read none: nobody's wish is lost without a word.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;

use super::document::Document;
use super::error::ApiError;
use super::json::read_body;
use super::shape::{MAX_NAMED, NAME_LEN, Shape};
use crate::domain::refusal::{FieldErrors, Refusal};

/// Of a body where none is read: enough to say what of it nobody reads.
const NO_BODY_LIMIT_BYTES: usize = 64 << 10;

/// What every route reads.
#[derive(Debug, Default)]
pub struct Known(HashMap<String, Vec<(Method, Shape)>>);

impl Known {
    pub fn of(document: &Document<'_>) -> Known {
        let mut known = Known::default();
        for (path, method, operation) in document.operations() {
            known.0.entry(path.to_owned()).or_default().push((method, Shape::of(&operation)));
        }
        let shapes = || known.0.values().flatten().map(|(_, shape)| shape);
        let schemas = Arc::new(document.schemas_of(shapes().flat_map(Shape::read)));
        for (_, shape) in known.0.values_mut().flatten() {
            shape.refer_to(&schemas);
        }
        known
    }

    /// None: the path does not answer this method, and is refused as such.
    fn find(&self, method: &Method, path: &str) -> Option<&Shape> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.get(path)?.iter().find(|(of, _)| of == method).map(|(_, shape)| shape)
    }
}

/// Names that the route does not have, or that come twice.
fn strangers(shape: &Shape, given: &[(String, String)]) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    let mut seen = HashSet::new();
    for (name, _) in given {
        let wrong = match shape.has_parameter(name) {
            false => "is not a parameter of this route",
            true if !seen.insert(name) => "comes twice",
            true => continue,
        };
        errors.add(name.chars().take(NAME_LEN).collect::<String>(), wrong);
        if errors.0.len() == MAX_NAMED {
            break;
        }
    }
    errors.finish()
}

/// What is no pair at all has no name.
fn parse(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// A route that changes something and reads no body takes an empty object or null for none, as some clients send; fields are strangers.
async fn without_body(request: Request) -> Result<Request, ApiError> {
    if request.method().is_safe() || request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, NO_BODY_LIMIT_BYTES).await?;
    if !bytes.iter().all(u8::is_ascii_whitespace) {
        let none = |_| ApiError::malformed("", "this route reads no body");
        let fields = serde_json::from_slice::<Option<BTreeMap<String, IgnoredAny>>>(&bytes).map_err(none)?.unwrap_or_default();
        let mut errors = FieldErrors::default();
        for name in fields.keys().take(MAX_NAMED) {
            errors.add(name.chars().take(NAME_LEN).collect::<String>(), "is not a field of this request: it has no body");
        }
        errors.finish()?;
    }
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Around every documented route. A handler stops at the first extractor that refuses; its refusal leaves with all wrong parameters.
pub async fn check(State(known): State<Arc<Known>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(shape) = known.find(request.method(), path).cloned() else { return next.run(request).await };
    let given = request.uri().query().map(|_| parse(request.uri())).unwrap_or_default();
    if let Err(refusal) = strangers(&shape, &given) {
        return shape.complete_query(refusal.into(), &given).into_response();
    }
    if shape.is_bodiless() {
        request = match without_body(request).await {
            Ok(request) => request,
            Err(error) => return error.into_response(),
        };
    }
    request.extensions_mut().insert(shape.clone());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().get_mut::<ApiError>()
        && error.status == StatusCode::BAD_REQUEST
        && !given.is_empty()
    {
        *error = shape.complete_query(error.clone(), &given);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::document::Contract;
    use super::*;

    #[test]
    fn what_the_document_does_not_name_is_refused_by_name() {
        let known = &Contract::committed().known;
        let check = |method: Method, query: &str| match strangers(
            known.find(&method, "/api/v1/nodes").unwrap(),
            &parse(&format!("/?{query}").parse().unwrap()),
        ) {
            Ok(()) => Vec::new(),
            Err(Refusal::Invalid(fields)) => fields.into_iter().map(|field| (field.field, field.message)).collect(),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(check(Method::GET, "page=1&limit=10&status=active"), []);
        assert_eq!(check(Method::HEAD, "page=1"), []);
        let unknown = |name: &str| (name.to_owned(), "is not a parameter of this route".to_owned());
        assert_eq!(check(Method::GET, "pag%65=1&stats=active&&limit=1"), [unknown("stats")]);
        assert_eq!(check(Method::GET, "page=1&page=2&x=1"), [("page".into(), "comes twice".into()), unknown("x")]);
        assert_eq!(check(Method::POST, "page=1"), [unknown("page")]);
        assert_eq!(check(Method::GET, &"a&".repeat(10_000)).len(), MAX_NAMED);
    }
}
