//! A query parameter that a route does not know is a mistake: a misspelt filter must not answer with everything. What each route knows is in the
//! OpenAPI document, and nowhere else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr};

use crate::domain::refusal::{FieldErrors, Refusal};

use super::error::ApiError;

/// Unknown names that one answer lists, at most.
const MAX_NAMED: usize = 20;

/// Method and path of a route, to the query parameters of its document.
#[derive(Clone)]
pub struct Known(Arc<HashMap<(Method, String), HashSet<String>>>);

impl Known {
    pub fn of(document: &OpenApi) -> Known {
        let mut known = HashMap::new();
        for (path, item) in &document.paths.paths {
            let operations = [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::DELETE, &item.delete),
                (Method::PATCH, &item.patch),
            ];
            for (method, operation) in operations {
                let Some(operation) = operation else { continue };
                let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(parameter) => Some(parameter),
                    RefOr::Ref(_) => None,
                });
                let names = parameters.filter(|p| matches!(p.parameter_in, ParameterIn::Query)).map(|p| p.name.clone()).collect();
                known.insert((method, path.clone()), names);
            }
        }
        Known(Arc::new(known))
    }

    /// What is wrong with `query` on this route; a route that is not in the document takes what it likes.
    fn check(&self, method: &Method, path: &str, query: &str) -> Result<(), Refusal> {
        // HEAD is answered by the handler of GET.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(known) = self.0.get(&(method, path.to_owned())) else { return Ok(()) };
        let mut errors = FieldErrors::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or(pair);
            if !known.contains(name) && errors.0.len() < MAX_NAMED {
                errors.add(name.chars().take(64).collect::<String>(), "is not a parameter of this route");
            }
        }
        errors.finish()
    }
}

/// The layer next to the handlers, so that who may not ask is told that first.
pub async fn refuse_unknown(State(known): State<Known>, request: Request, next: Next) -> Response {
    if let (Some(query), Some(route)) = (request.uri().query(), request.extensions().get::<MatchedPath>())
        && let Err(refusal) = known.check(request.method(), route.as_str(), query)
    {
        return ApiError::from(refusal).into_response();
    }
    next.run(request).await
}
