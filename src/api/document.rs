//! The OpenAPI document as it is committed (`data/openapi.json`), and what the layers around the handlers read from it: what is published is
//! what is enforced. `openapi` makes it from the routes, and a test compares both; the program carries the text alone, because the code that
//! makes it would be an eighth of the binary.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::http::{Method, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

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

    fn of(document: &Document<'_>) -> Contract {
        Contract { rules: Arc::new(Rules::of(document)), known: Arc::new(Known::of(document)) }
    }
}

/// Nothing of it is parsed before it is asked for: as a tree it takes twenty times the text.
#[derive(Debug, Default, Deserialize)]
pub struct Document<'a> {
    #[serde(borrow)]
    paths: HashMap<&'a str, HashMap<&'a str, &'a RawValue>>,
    #[serde(borrow)]
    components: Components<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Components<'a> {
    #[serde(borrow)]
    schemas: HashMap<&'a str, &'a RawValue>,
}

impl Document<'_> {
    /// Path, method and what is said of it.
    pub fn operations(&self) -> impl Iterator<Item = (&str, Method, Value)> {
        self.paths.iter().flat_map(|(path, item)| {
            item.iter().filter_map(|(method, operation)| {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
                Some((*path, method, serde_json::from_str(operation.get()).ok()?))
            })
        })
    }

    /// The named schemas that these refer to, and those that they refer to in turn.
    pub fn schemas_of<'v>(&self, values: impl IntoIterator<Item = &'v Value>) -> HashMap<String, Value> {
        let (mut found, mut wanted) = (HashMap::new(), Vec::new());
        values.into_iter().for_each(|value| collect_references(value, &mut wanted));
        while let Some(name) = wanted.pop() {
            let raw = self.schemas().get(name.as_str()).filter(|_| !found.contains_key(&name));
            if let Some(schema) = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
                collect_references(&schema, &mut wanted);
                found.insert(name, schema);
            }
        }
        found
    }

    fn schemas(&self) -> &HashMap<&str, &RawValue> {
        &self.components.schemas
    }
}

/// The name at the end of `#/components/schemas/Name`.
pub fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn collect_references(value: &Value, names: &mut Vec<String>) {
    names.extend(referred(value).map(str::to_owned));
    match value {
        Value::Object(fields) => fields.values().for_each(|value| collect_references(value, names)),
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, names)),
        _ => (),
    }
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
