//! An example for every request and every answer of the document, made of the examples, words, defaults and bounds that its schemas have, so that a
//! route without a line about it has one too. What a handler declares itself stays.

use serde_json::{Map, Value, json};

/// Schemas within schemas; a schema that holds itself ends here.
const DEEPEST: usize = 16;

/// Adds what is missing.
pub fn fill(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let operations = document["paths"].as_object_mut().into_iter().flatten().flat_map(|(_, item)| item.as_object_mut()).flatten();
    for (_, operation) in operations {
        fill_content(&schemas, operation.pointer_mut("/requestBody/content"));
        for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
            if status.starts_with('2') {
                fill_content(&schemas, answer.pointer_mut("/content"));
            }
        }
    }
}

fn fill_content(schemas: &Value, content: Option<&mut Value>) {
    let Some(json) = content.and_then(|content| content.get_mut("application/json")) else { return };
    if json.get("example").is_none() && json.get("examples").is_none() {
        json["example"] = sample(schemas, &json["schema"], "", 0);
    }
}

fn sample(schemas: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(schemas, &schemas[reference.rsplit('/').next().unwrap_or_default()], name, depth + 1);
    }
    let of = |key: &str| schema[key].as_array().into_iter().flatten().filter(|choice| choice["type"] != "null");
    if let Some(choice) = of("oneOf").chain(of("anyOf")).next() {
        return sample(schemas, choice, name, depth);
    }
    if schema.get("allOf").is_some() {
        let parts = of("allOf").filter_map(|part| sample(schemas, part, name, depth).as_object().cloned());
        return Value::Object(parts.flatten().collect());
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        return default.clone();
    }
    if let Some(word) = of("enum").next().or(schema.get("const")) {
        return word.clone();
    }
    match type_of(schema) {
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), sample(schemas, field, name, depth + 1))).collect::<Map<_, _>>())
        }
        "array" => {
            let least = usize::try_from(schema["minItems"].as_u64().unwrap_or(1)).unwrap_or(1).max(1);
            Value::Array(vec![sample(schemas, &schema["items"], name.trim_end_matches('s'), depth + 1); least])
        }
        "integer" => json!(schema["minimum"].as_u64().unwrap_or(1).max(1).min(schema["maximum"].as_u64().unwrap_or(u64::MAX))),
        "number" => schema.get("minimum").cloned().unwrap_or(json!(1.5)),
        "boolean" => json!(false),
        "string" if schema["format"] == "date-time" => json!(TIME),
        "string" => json!(hex_of(schema).unwrap_or_else(|| text(name).to_owned())),
        _ => Value::Null,
    }
}

fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|one| *one != "null").unwrap_or_default(),
        one => one.as_str().unwrap_or_default(),
    }
}

/// Bytes of a length that the pattern says.
fn hex_of(schema: &Value) -> Option<String> {
    let digits = schema["pattern"].as_str()?.strip_prefix("^[0-9a-f]{")?.strip_suffix("}$")?.parse().ok()?;
    Some(HASH.chars().cycle().take(digits).collect())
}

const TIME: &str = "2026-09-21T14:13:20Z";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What a text of this name looks like.
fn text(name: &str) -> &'static str {
    match name {
        "node_id" => "node_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f",
        "pool_id" | "subject" => "pool_default",
        "payout_id" => "payout_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f",
        "manager_id" => "manager_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f",
        "id" | "request_id" | "salt" => "0192f0c8a1b27c3d8e4f5a6b7c8d9e0f",
        "name" | "node_name" => "attic-pi",
        "pool_name" => "default",
        "username" | "actor" | "by" | "changed_by" => "ada",
        "password" | "current_password" | "passphrase" => "correct horse battery",
        "totp" => "492039",
        "code" => "LUCID_ERR_1002",
        "address" | "wallet_address" => "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3",
        "currency" => "USDT",
        "amount" | "accrued" | "accrual" | "payable" | "paid" | "balance" | "reserved" | "sum" | "cost_per_hour" | "reward_per_hour" => {
            "0.05"
        }
        "score" => "98.75",
        "confidence" => "0.82",
        "version" => env!("CARGO_PKG_VERSION"),
        "service" => super::error::SERVICE,
        "region" => "Basel",
        "model" => "VideoCore VI",
        "compute_capability" => "8.7",
        "hash" | "head" | "previous" | "leaves_hash" | "public_key" | "transaction_hash" | "challenge" | "output_hash" => HASH,
        "user_agent" => "Mozilla/5.0",
        "token_type" => "Bearer",
        "date" => "2026-09-21",
        "at" | "start" | "end" | "from" | "until" | "timestamp" | "client_time" | "start_time" | "end_time" | "last_end" => TIME,
        _ if name.ends_with("_at") || name.ends_with("_from") || name.ends_with("_since") => TIME,
        _ => "text",
    }
}
