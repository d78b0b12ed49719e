//! The OpenAPI 3.1 document, made from the routes themselves.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::error::ErrorBody;
use super::fleet_scores::HistoryRange;
use super::resources::{MetricType, TimeRange};
use crate::domain::overlay::Metric;

#[derive(OpenApi)]
#[openapi(
    info(title = "Lucid Node Management", description = "Nodes, proof of operational time, work credits and payouts. Errors have the body `ErrorBody`. Routes marked `x-planned` answer 501."),
    // Schemas of query parameters are not found through their routes.
    components(schemas(ErrorBody, HistoryRange, Metric, MetricType, TimeRange)),
    security(("session" = []), ("bearer" = []))
)]
struct Head;

/// The document's head; the routers add paths and schemas.
pub fn head() -> utoipa::openapi::OpenApi {
    let mut document = Head::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-lucid_session"))));
    components.add_security_scheme("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    document
}

/// The whole document, pretty, with a newline at its end.
pub fn openapi_json() -> String {
    let mut document = super::declared();
    for (path, item) in &mut document.paths.paths {
        let operations = [("get", &mut item.get), ("post", &mut item.post), ("put", &mut item.put), ("delete", &mut item.delete)];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
            }
        }
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// `get_nodes_id_resources`: names of handlers are unique in their file only, and these have to be in the document.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, body = Object)), security(()))]
pub async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json())
}
