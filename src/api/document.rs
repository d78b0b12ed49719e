//! The OpenAPI document as it is committed (`data/openapi.json`), and what the layers around the handlers read from it: what is published is
//! what is enforced. `openapi` makes it from the routes, and a test compares both; the program carries the text alone, because the code that
//! makes it would be an eighth of the binary.

use std::sync::{Arc, LazyLock};

use axum::http::{Method, header};
use axum::response::IntoResponse;
use serde_json::Value;

use super::access::Rules;
use super::parameters::Known;

/// Without the white space of the committed one.
pub const TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// What the document says about requests.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    pub rules: Arc<Rules>,
    pub known: Arc<Known>,
}

impl Contract {
    /// A document that does not read has no rules, and then nothing is answered.
    pub fn committed() -> &'static Contract {
        static CONTRACT: LazyLock<Contract> = LazyLock::new(|| Contract::of(&serde_json::from_str(TEXT).unwrap_or_default()));
        &CONTRACT
    }

    fn of(document: &Value) -> Contract {
        Contract { rules: Arc::new(Rules::of(document)), known: Arc::new(Known::of(document)) }
    }
}

/// The operations of the document: path, method and what is said of it.
pub fn operations(document: &Value) -> impl Iterator<Item = (&str, Method, &Value)> {
    let items = document["paths"].as_object().into_iter().flatten();
    items.flat_map(|(path, item)| {
        let operations = item.as_object().into_iter().flatten();
        operations.filter_map(|(method, operation)| {
            Some((path.as_str(), Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?, operation))
        })
    })
}

/// The committed document, as people read it.
pub fn pretty() -> String {
    let document: Value = serde_json::from_str(TEXT).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, body = Object)), security(()))]
pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT)
}

#[cfg(test)]
mod tests {
    use super::super::openapi_json;
    use super::*;

    #[test]
    fn the_embedded_text_is_the_document() {
        let generated: Value = serde_json::from_str(&openapi_json()).unwrap();
        assert!(serde_json::from_str::<Value>(TEXT).unwrap() == generated, "the API changed: run `make openapi`");
        assert!(pretty() == openapi_json());
        assert!(TEXT.len() < openapi_json().len() * 2 / 3, "{} bytes", TEXT.len());
    }
}
