//! The schemas of the owner's data models against the document that the code makes: every field is there with its type, bounds, pattern, words and
//! default, or the deviation is listed with its reason. `seed_schemas.json` transcribes the models.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

struct Comparison {
    document: Value,
    models: Map<String, Value>,
    found: BTreeSet<String>,
}

impl Comparison {
    /// The schema behind references, and behind `null` as the other choice.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.resolved(self.document.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere"));
        }
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        match choices.clone().filter(|choice| choice["type"] != "null").collect::<Vec<_>>()[..] {
            [only] => self.resolved(only),
            _ => schema,
        }
    }

    fn ours(&self, model: &str) -> Option<Value> {
        let name = self.models[model]["ours"].as_str()?;
        Some(self.document["components"]["schemas"][name].clone())
    }

    fn differs(&mut self, at: String) {
        self.found.insert(at);
    }

    fn compare_model(&mut self, model: &str, ours: &Value) {
        let properties = self.models[model]["properties"].as_object().unwrap().clone();
        for (name, wanted) in properties {
            let at = format!("{model}.{name}");
            match ours["properties"].get(&name).cloned() {
                None => self.differs(at),
                Some(present) => self.compare_field(&at, &wanted, &present),
            }
        }
    }

    fn compare_field(&mut self, at: &str, wanted: &Value, present: &Value) {
        let schema = self.resolved(present).clone();
        if let Some(model) = wanted["ref"].as_str() {
            // Compared by itself; here, the field must be of that schema.
            if self.ours(model).is_some_and(|ours| ours != schema) {
                self.differs(format!("{at}.ref"));
            }
            return;
        }
        for (key, value) in wanted.as_object().unwrap() {
            let here = match key.as_str() {
                "type" => type_of(&schema),
                "default" => {
                    if present.get("default").is_some() {
                        present["default"].clone()
                    } else {
                        schema["default"].clone()
                    }
                }
                _ => schema[key.as_str()].clone(),
            };
            let same = match key.as_str() {
                "enum" => words(&here) == words(value),
                "items" => self.same_items(value, &here),
                "minimum" | "maximum" => here.as_f64() == value.as_f64(),
                _ => here == *value,
            };
            if !same {
                self.differs(format!("{at}.{key}"));
            }
        }
    }

    fn same_items(&mut self, wanted: &Value, present: &Value) -> bool {
        let mut inner = Comparison { document: self.document.clone(), models: self.models.clone(), found: BTreeSet::new() };
        inner.compare_field("items", wanted, present);
        inner.found.is_empty()
    }
}

/// The one type besides null.
fn type_of(schema: &Value) -> Value {
    match &schema["type"] {
        Value::Array(types) => types.iter().find(|one| *one != "null").cloned().unwrap_or_default(),
        one => one.clone(),
    }
}

fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_document_has_every_field_of_the_models() {
    let document: Value = serde_json::from_str(&lucid::api::openapi_json()).unwrap();
    let models: Value = serde_json::from_str(include_str!("seed_schemas.json")).unwrap();
    let schemas = models["schemas"].as_object().unwrap().clone();
    let mut comparison = Comparison { document, models: schemas.clone(), found: BTreeSet::new() };
    for model in schemas.keys() {
        let ours = comparison.ours(model).unwrap();
        assert_eq!(type_of(&ours), "object", "{model}");
        comparison.compare_model(model, &ours);
    }
    let listed: BTreeSet<String> = models["deviations"].as_object().unwrap().keys().cloned().collect();
    let found = comparison.found;
    assert_eq!(found, listed, "left: what differs; right: what is listed as a deviation, with its reason");
    let reasons = models["deviations"].as_object().unwrap().values();
    assert!(reasons.clone().count() > 0 && reasons.into_iter().all(|why| why.as_str().is_some_and(|why| why.len() > 10)));
}
