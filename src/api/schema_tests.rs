//! What the document promises is what the code does: its examples are accepted, and a value beyond any of its bounds is refused by the field's name.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::openapi_json;
use super::testing::Site;

fn document() -> Value {
    serde_json::from_str(&openapi_json()).unwrap()
}

fn body_of<'a>(document: &'a Value, path: &str) -> &'a Value {
    &document["paths"][format!("/api/v1{path}")]["post"]["requestBody"]["content"]["application/json"]
}

/// A place in a body: names of fields, and 0 for the first of a list.
type Place = Vec<String>;

/// As refusals write it: `network[0].interface`.
fn written(place: &Place) -> String {
    let parts = place.iter().map(|part| if part == "0" { "[0]".to_owned() } else { format!(".{part}") });
    parts.collect::<String>().trim_start_matches('.').to_owned()
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    match schema["oneOf"].as_array().map(|choices| choices.iter().filter(|choice| choice["type"] != "null").collect::<Vec<_>>()) {
        Some(choices) if choices.len() == 1 => resolved(document, choices[0]),
        _ => schema,
    }
}

/// Every field of a schema with its place, objects and lists included.
fn places<'a>(document: &'a Value, schema: &'a Value, at: Place, out: &mut Vec<(Place, &'a Value)>) {
    let schema = resolved(document, schema);
    if !at.is_empty() {
        out.push((at.clone(), schema));
    }
    let within = |name: &str| at.iter().cloned().chain([name.to_owned()]).collect::<Place>();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        places(document, field, within(name), out);
    }
    if schema.get("items").is_some() {
        places(document, &schema["items"], within("0"), out);
    }
}

fn with(body: &Value, place: &Place, value: Value) -> Value {
    let mut changed = body.clone();
    *changed.pointer_mut(&format!("/{}", place.join("/"))).unwrap_or_else(|| panic!("the example has no {place:?}")) = value;
    changed
}

/// Values at the bounds of a schema, and beyond them.
fn cases(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let (mut at, mut beyond) = (Vec::new(), Vec::new());
    let whole = schema["type"] == "integer" || schema["type"][0] == "integer";
    let step = if whole { 1.0 } else { 0.001 };
    let number = |value: f64| if whole { serde_json::from_str(&format!("{value:.0}")).unwrap() } else { json!(value) };
    if let Some(min) = schema["minimum"].as_f64() {
        at.push(number(min));
        beyond.push(number(min - step));
    }
    if let Some(max) = schema["maximum"].as_f64() {
        at.push(number(max));
        beyond.push(number(max + step));
    }
    let is_id = schema["pattern"].as_str().filter(|pattern| pattern.contains("_[")).map(|pattern| pattern[1..6].to_owned());
    let text = |length: u64| {
        json!(format!(
            "{}{}",
            is_id.clone().unwrap_or_default(),
            "x".repeat(usize::try_from(length).unwrap() - is_id.as_ref().map_or(0, |_| 5))
        ))
    };
    if let Some(min) = schema["minLength"].as_u64() {
        at.push(text(min));
        beyond.push(text(min - 1));
    }
    if let Some(max) = schema["maxLength"].as_u64() {
        at.push(text(max));
        beyond.push(text(max + 1));
    }
    if schema.get("pattern").is_some() {
        beyond.extend([json!("no spaces"), json!("ünïcode")]);
    }
    if schema.get("enum").is_some() {
        at.extend(schema["enum"].as_array().unwrap().iter().cloned());
        beyond.extend([json!("toaster"), json!(7)]);
    }
    // Of no type that a field has, or of all but one.
    let wrong = match schema["type"].as_str().or(schema["type"][0].as_str()) {
        // Amounts may be numbers too.
        Some("string") => json!(true),
        Some("integer" | "number" | "boolean") => json!("seven"),
        Some("object") => json!("seven"),
        Some("array") => json!({}),
        _ => Value::Null,
    };
    if !wrong.is_null() && schema.get("enum").is_none() {
        beyond.push(wrong);
    }
    (at, beyond)
}

/// Fields that bind each other: what is at the bound of one may be beyond the other. Their rules have tests of their own.
const BOUND_TO_OTHERS: &[&str] = &[
    "scaling_policy.",
    "resource_limits.",
    "hardware_info.memory",
    "hardware_info.storage",
    "pricing.",
    "initial_pool_id",
    "max_nodes",
    "name",
];

async fn held(path: &str) {
    let (document, site) = (document(), Site::new());
    let token = site.set_up().await;
    let (schema, example) = (&body_of(&document, path)["schema"], &body_of(&document, path)["example"]);
    let send = async |body: &Value| {
        let (status, answer) = site.as_bearer(&token, Method::POST, &format!("/api/v1{path}"), Some(body.clone())).await;
        let fields = answer["error"]["details"]["fields"].as_array().into_iter().flatten();
        (status, fields.map(|field| field["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), answer)
    };
    let (status, _, answer) = send(example).await;
    assert_eq!(status, StatusCode::CREATED, "the example of {path}: {answer}");

    let mut all = Vec::new();
    places(&document, schema, Vec::new(), &mut all);
    let mut refused = 0;
    for (place, schema) in &all {
        let field = written(place);
        let (at, beyond) = cases(schema);
        for value in beyond {
            let (status, fields, answer) = send(&with(example, place, value.clone())).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{field} = {value}: {answer}");
            // What hangs on it may be named with it.
            assert!(fields.contains(&field), "{field} = {value}: {answer}");
            refused += 1;
        }
        let free = !BOUND_TO_OTHERS.iter().any(|bound| field.contains(bound));
        for value in at.into_iter().filter(|_| free) {
            let body =
                with(&with(example, place, value.clone()), &vec!["name".to_owned()], json!(format!("fine-{refused}-{}", field.len())));
            let (status, _, answer) = send(&body).await;
            assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&status), "{field} = {value}: {answer}");
        }
        if schema["additionalProperties"] == false {
            let mut body = example.clone();
            body.pointer_mut(&format!("/{}", place.join("/"))).unwrap()["colour"] = json!("red");
            let (status, fields, answer) = send(&body).await;
            assert_eq!((status, fields), (StatusCode::BAD_REQUEST, vec![format!("{field}.colour")]), "{answer}");
        }
        for needed in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut body = example.clone();
            body.pointer_mut(&format!("/{}", place.join("/"))).unwrap().as_object_mut().unwrap().remove(needed);
            let (status, fields, answer) = send(&body).await;
            assert_eq!((status, fields), (StatusCode::BAD_REQUEST, vec![format!("{field}.{needed}")]), "{answer}");
        }
    }
    assert!(refused > 30, "{refused} values were tried");
}

#[tokio::test]
async fn nodes_are_held_to_the_documents_bounds() {
    held("/nodes").await;
}

#[tokio::test]
async fn pools_are_held_to_the_documents_bounds() {
    held("/nodes/pools").await;
}

#[test]
fn every_request_and_every_answer_has_an_example() {
    let document = document();
    let (mut requests, mut answers) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has = |content: &Value| content["application/json"].is_null() || content["application/json"].get("example").is_some();
            if let Some(body) = operation.get("requestBody") {
                assert!(has(&body["content"]), "{method} {path}");
                requests += 1;
            }
            for (status, answer) in operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2')) {
                assert!(has(&answer["content"]), "{method} {path} {status}");
                answers += 1;
            }
        }
    }
    assert!(requests > 15 && answers > 50, "{requests} requests, {answers} answers");
}

/// A value has no field that the schema does not name.
fn documented(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    for (name, inner) in value.as_object().into_iter().flatten() {
        assert!(schema["properties"].get(name).is_some(), "{at}.{name} is not in the document");
        documented(document, &schema["properties"][name], inner, &format!("{at}.{name}"));
    }
    for inner in value.as_array().into_iter().flatten() {
        documented(document, &schema["items"], inner, at);
    }
}

#[test]
fn the_wire_of_nodes_is_what_the_document_says() {
    use crate::wire::{CommandsAnswer, CommandsRequest, EnrolRequest, LateAnswer, LateBatch, Report, ReportAnswer};
    let document = document();
    /// The example is read, and what it is written as is documented.
    fn round<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value, path: &str, content: &Value) {
        let read: T = serde_json::from_value(content["example"].clone()).unwrap_or_else(|error| panic!("{path}: {error}"));
        documented(document, &content["schema"], &serde_json::to_value(read).unwrap(), path);
    }
    let answer = |path: &str| &document["paths"][format!("/api/v1{path}")]["post"]["responses"]["200"]["content"]["application/json"];
    round::<Report>(&document, "/agent/report", body_of(&document, "/agent/report"));
    round::<LateBatch>(&document, "/agent/late", body_of(&document, "/agent/late"));
    round::<CommandsRequest>(&document, "/agent/commands", body_of(&document, "/agent/commands"));
    round::<EnrolRequest>(&document, "/agent/enrol", body_of(&document, "/agent/enrol"));
    round::<ReportAnswer>(&document, "/agent/report", answer("/agent/report"));
    round::<LateAnswer>(&document, "/agent/late", answer("/agent/late"));
    round::<CommandsAnswer>(&document, "/agent/commands", answer("/agent/commands"));
    for path in ["/agent/report", "/agent/late", "/agent/commands"] {
        let operation = &document["paths"][format!("/api/v1{path}")]["post"];
        assert_eq!((&operation["security"], &operation["x-node-access"]), (&json!([{ "signer": [], "signature": [] }]), &json!("signed")));
        assert!(operation["responses"]["200"]["headers"]["x-lucid-signature"].is_object(), "{path}");
    }
}

/// A node of a later version sends more than this one knows.
#[test]
fn the_wire_of_nodes_takes_fields_that_it_does_not_know() {
    let document = document();
    let mut body = body_of(&document, "/agent/report")["example"].clone();
    for place in ["", "/fingerprint", "/items/0", "/items/0/sample", "/items/0/sample/cpu", "/workload", "/workload/asked"] {
        body.pointer_mut(place).expect(place)["of_tomorrow"] = json!(1);
    }
    let read: crate::wire::Report = super::json::parse(body.to_string().as_bytes()).unwrap();
    assert_eq!(read.items.len(), 1);
}
