//! What else is wrong with a refused request. A parser stops at the first field that it cannot read; the document says what the route takes, so
//! the rest is found there. Only requests that are refused anyway come here: what is accepted, the parsers and the rules of the domain decide. Lists where
//! objects belong are the one thing that parsers take and the document does not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::document::referred;
use super::error::ApiError;
use super::json::is_shallow;
use crate::domain::refusal::{FieldError, FieldErrors};
use crate::domain::time::Timestamp;
use crate::domain::time_zone;

/// Fields that one answer names, at most.
pub const MAX_NAMED: usize = 64;
/// What is shown of a name.
pub const NAME_LEN: usize = 64;
/// Longer bodies are refused by their first field alone: as a tree in memory they are many times as large.
const MAX_CHECKED_BYTES: usize = 256 * 1024;
/// References and objects within each other; no schema of a request is as deep.
pub const MAX_SCHEMA_DEPTH: usize = 32;

/// What one route reads, as the document has it.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// What is referred to, by name.
    schemas: Arc<HashMap<String, Value>>,
    body: Option<Arc<Value>>,
    /// It is documented to read no body at all.
    bodiless: bool,
    /// An agent's: it may have fields that the document does not know, and what is beyond its bounds is the handler's to judge.
    open: bool,
    parameters: Arc<HashMap<String, Value>>,
}

impl Shape {
    pub fn of(operation: &Value) -> Shape {
        let query = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query");
        let named = query.filter_map(|parameter| Some((parameter["name"].as_str()?.to_owned(), parameter["schema"].clone())));
        Shape {
            schemas: Arc::default(),
            body: operation.pointer("/requestBody/content/application~1json/schema").cloned().map(Arc::new),
            bodiless: operation["requestBody"].is_null(),
            open: false,
            parameters: Arc::new(named.collect()),
        }
    }

    /// The schemas of its body and its parameters.
    pub fn read(&self) -> impl Iterator<Item = &Value> {
        self.body.as_deref().into_iter().chain(self.parameters.values())
    }

    pub fn refer_to(&mut self, schemas: &Arc<HashMap<String, Value>>) {
        self.schemas = Arc::clone(schemas);
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// The same for the body of an agent, of which words and types alone are looked at.
    pub fn opened(&self) -> Shape {
        Shape { open: true, ..self.clone() }
    }

    pub fn is_bodiless(&self) -> bool {
        self.bodiless
    }

    pub fn body(&self) -> Option<&Value> {
        self.body.as_deref()
    }

    /// It has something to say about this body.
    pub fn reads(&self, body: &[u8]) -> bool {
        self.body.is_some() && body.len() <= MAX_CHECKED_BYTES && is_shallow(body)
    }

    /// The refusal of a body with every other field that is against the document.
    pub fn complete(&self, error: ApiError, body: &[u8]) -> ApiError {
        let Some(schema) = self.body().filter(|_| self.reads(body)) else { return error };
        let Ok(value) = serde_json::from_slice(body) else { return error };
        let mut found = FieldErrors::default();
        self.check(schema, &value, "", 0, &mut found);
        with(error, found)
    }

    /// The refusal of a query with every other parameter that is against the document.
    pub fn complete_query(&self, error: ApiError, given: &[(String, String)]) -> ApiError {
        let mut found = FieldErrors::default();
        for (name, text) in given {
            if let Some(schema) = self.parameters.get(name) {
                self.check(schema, &as_value(self.resolved(schema), text), name, 0, &mut found);
            }
        }
        with(error, found)
    }

    /// Refuses a body that has a list in the place of an object: a derived parser would take it, field by field in the order of their declaration.
    pub fn refuse_lists(&self, body: &[u8]) -> Result<(), ApiError> {
        self.list_for_object(body).map_or(Ok(()), |at| Err(ApiError::malformed(at, "must be an object")))
    }

    fn list_for_object(&self, body: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(body).ok().filter(|text| text.contains('['))?;
        list_in(self, self.body.as_ref()?, text, "", 0)
    }

    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        referred(schema).map_or(schema, |name| self.schemas.get(name).unwrap_or(&Value::Null))
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, depth: usize, errors: &mut FieldErrors) {
        let schema = self.resolved(schema);
        if depth > MAX_SCHEMA_DEPTH || errors.0.len() >= MAX_NAMED {
            return;
        }
        // Something, or null.
        if let Some(choices) = schema["oneOf"].as_array() {
            let nullable = choices.iter().any(|choice| choice["type"] == "null");
            if let Some(choice) = real_choice(schema)
                && !(nullable && value.is_null())
            {
                self.check(choice, value, at, depth + 1, errors);
            }
            return;
        }
        if let Some(words) = schema["enum"].as_array() {
            let allowed: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            errors.require(words.contains(value), at, format!("must be one of {}", allowed.join(", ")));
            return;
        }
        if let Some(wanted) = wrong_type(schema, value) {
            errors.add(at, format!("must be {wanted}"));
            return;
        }
        match value {
            Value::Object(fields) => {
                let inner = |name: &str| inner(at, name);
                let known = schema["properties"].as_object();
                for (name, value) in fields {
                    match known.and_then(|known| known.get(name)) {
                        Some(schema) => self.check(schema, value, &inner(name), depth + 1, errors),
                        // Requests are closed, also where a record is open to agents (`input::Strict`).
                        None if known.is_some() && !self.open => {
                            errors.add(inner(&name.chars().take(NAME_LEN).collect::<String>()), "is not a field of this request");
                        }
                        None => (),
                    }
                    if errors.0.len() >= MAX_NAMED {
                        return;
                    }
                }
                let required = schema["required"].as_array().filter(|_| !self.open);
                for name in required.into_iter().flatten().filter_map(Value::as_str) {
                    errors.require(fields.contains_key(name), &inner(name), "is missing");
                }
            }
            Value::Array(items) => {
                let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
                if !self.open {
                    check_length(schema, ["minItems", "maxItems"], count, "entries", at, errors);
                }
                for (n, item) in items.iter().enumerate() {
                    if errors.0.len() >= MAX_NAMED {
                        return;
                    }
                    self.check(&schema["items"], item, &format!("{at}[{n}]"), depth + 1, errors);
                }
            }
            _ if self.open => (),
            Value::String(text) => check_text(schema, text, at, errors),
            Value::Number(number) => check_bounds(schema, number.as_f64().unwrap_or(f64::INFINITY), at, errors),
            Value::Null | Value::Bool(_) => (),
        }
    }
}

/// Of JSON that was parsed before. Without a tree of it in memory: lists may be as long as a body.
fn list_in(shape: &Shape, schema: &Value, text: &str, at: &str, depth: usize) -> Option<String> {
    let schema = shape.resolved(schema);
    if depth > MAX_SCHEMA_DEPTH {
        return None;
    }
    if !schema["oneOf"].is_null() {
        return list_in(shape, real_choice(schema)?, text, at, depth + 1);
    }
    let properties = schema["properties"].as_object();
    match text.trim_start().as_bytes().first()? {
        b'[' if properties.is_some() => Some(at.to_owned()),
        b'[' if !schema["items"].is_null() => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let item = |(n, item): (usize, &&RawValue)| list_in(shape, &schema["items"], item.get(), &format!("{at}[{n}]"), depth + 1);
            items.iter().enumerate().find_map(item)
        }
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            properties?.iter().find_map(|(name, schema)| list_in(shape, schema, fields.get(name)?.get(), &inner(at, name), depth + 1))
        }
        _ => None,
    }
}

/// The path of a field of what is at `at`.
pub fn inner(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Of something or null, the something.
pub fn real_choice(schema: &Value) -> Option<&Value> {
    let mut real = schema["oneOf"].as_array()?.iter().filter(|choice| choice["type"] != "null");
    real.next().filter(|_| real.next().is_none())
}

/// What was found first comes first; each field is named once. What is wrong with the body as a whole has no name.
pub fn with(mut error: ApiError, found: FieldErrors) -> ApiError {
    for FieldError { field, message } in found.0 {
        if !field.is_empty() && error.fields.len() < MAX_NAMED && error.fields.iter().all(|known| known.field != field) {
            error.message.push_str(&format!("; {field}: {message}"));
            error.fields.push(FieldError { field, message });
        }
    }
    error
}

/// A parameter as the schema would have it; what does not read so stays a text.
fn as_value(schema: &Value, text: &str) -> Value {
    let plain = || Value::from(text);
    match schema["type"].as_str() {
        Some("integer" | "number" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| plain()),
        _ => plain(),
    }
}

/// The types that are wanted, when `value` has none of them.
fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let fits = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        // Exact amounts are texts that may also be written as numbers.
        "string" => value.is_string() || (schema["format"] == "decimal" && value.is_number()),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if types.iter().any(fits) {
        return None;
    }
    let named = types.iter().filter(|name| **name != "null").map(|name| match *name {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    });
    Some(named.collect::<Vec<_>>().join(" or "))
}

fn check_bounds(schema: &Value, value: f64, at: &str, errors: &mut FieldErrors) {
    let bound = |name: &str| schema[name].as_f64();
    let out_of_type = || (schema["format"] == "uint32").then_some(f64::from(u32::MAX));
    if let Some(min) = bound("minimum").filter(|min| value < *min) {
        errors.add(at, format!("must be at least {min}"));
    } else if let Some(min) = bound("exclusiveMinimum").filter(|min| value <= *min) {
        errors.add(at, format!("must be more than {min}"));
    } else if let Some(max) = bound("maximum").or_else(out_of_type).filter(|max| value > *max) {
        errors.add(at, format!("must be at most {max}"));
    }
}

fn check_length(schema: &Value, [min, max]: [&str; 2], length: u64, of: &str, at: &str, errors: &mut FieldErrors) {
    if let Some(min) = schema[min].as_u64().filter(|min| length < *min) {
        errors.add(at, format!("must have at least {min} {of}"));
    } else if let Some(max) = schema[max].as_u64().filter(|max| length > *max) {
        errors.add(at, format!("must have at most {max} {of}"));
    }
}

fn check_text(schema: &Value, text: &str, at: &str, errors: &mut FieldErrors) {
    let (before, length) = (errors.0.len(), u64::try_from(text.chars().count()).unwrap_or(u64::MAX));
    check_length(schema, ["minLength", "maxLength"], length, "characters", at, errors);
    if errors.0.len() > before {
        return;
    }
    if let Some(prefix) = schema["pattern"].as_str().and_then(word_pattern) {
        let word = text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        let plain = word.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        let start = if prefix.is_empty() { String::new() } else { format!("{prefix} and ") };
        errors.require(plain, at, format!("must be {start}letters, digits, _ and -"));
    }
    if schema["format"] == "decimal" {
        errors.require(text.parse::<rust_decimal::Decimal>().is_ok(), at, "must be a decimal number");
    }
    if schema["format"] == "date-time" {
        errors.require(Timestamp::parse_rfc3339(text).is_some(), at, "must be a time as in RFC 3339: 2026-01-31T12:00:00Z");
    }
    if schema["format"] == "iana-timezone" {
        errors.require(time_zone::is_known(text), at, "must be a name of the IANA time zone database, such as Europe/Zurich");
    }
}

/// What comes before the word, in the one form of pattern that ids and names have; others are left to the rules of the domain.
fn word_pattern(pattern: &str) -> Option<&str> {
    let prefix = pattern.strip_prefix('^')?.strip_suffix("[a-zA-Z0-9_-]+$")?;
    prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(prefix)
}
