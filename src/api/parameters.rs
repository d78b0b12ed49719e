//! Query strings: a parameter that the route does not have, or that comes twice, is refused by name. Which ones a route has, its
//! documentation says; so a misspelt filter cannot pass for an empty one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr};

use super::access::operations;
use super::error::ApiError;
use crate::domain::refusal::{FieldErrors, Refusal};

/// Parameters that one answer names, at most.
const MAX_NAMED: usize = 20;
/// What is shown of a name.
const NAME_LEN: usize = 64;

/// The query parameters of every route.
#[derive(Debug, Default)]
pub struct Known(HashMap<String, Vec<(Method, HashSet<String>)>>);

impl Known {
    pub fn of(document: &OpenApi) -> Known {
        let mut known = Known::default();
        for (path, item) in &document.paths.paths {
            let routes = operations(item).map(|(method, operation)| {
                let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
                    _ => None,
                });
                (method, parameters.collect())
            });
            known.0.insert(path.clone(), routes.collect());
        }
        known
    }

    fn check(&self, method: &Method, path: &str, given: &[(String, String)]) -> Result<(), Refusal> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let mut errors = FieldErrors::default();
        // A path that does not answer this method is refused as such.
        let routes = self.0.get(path);
        let Some((_, known)) = routes.and_then(|routes| routes.iter().find(|(of, _)| of == method)) else { return Ok(()) };
        let mut seen = HashSet::new();
        for (name, _) in given {
            let wrong = match known.contains(name) {
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
}

/// What is no pair at all has no name.
fn parse(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// Around every documented route.
pub async fn check(State(known): State<Arc<Known>>, request: Request, next: Next) -> Response {
    if request.uri().query().is_some()
        && let Some(path) = request.extensions().get::<MatchedPath>()
        && let Err(refusal) = known.check(request.method(), path.as_str(), &parse(request.uri()))
    {
        return ApiError::from(refusal).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_document_does_not_name_is_refused_by_name() {
        let known = Known::of(&super::super::declared());
        let check =
            |method: Method, query: &str| match known.check(&method, "/api/v1/nodes", &parse(&format!("/?{query}").parse().unwrap())) {
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
