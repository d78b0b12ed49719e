//! A refused body with something else in the place of each field that is wrong, so that the parser takes it and the rules of the domain can be
//! asked about the rest. What stands in such a place is nobody's wish: it is never more than looked at (`unchecked`).

use serde_json::Value;
use serde_json::value::RawValue;

use super::input::Fields;
use super::shape::{MAX_SCHEMA_DEPTH, Shape, inner, real_choice};
use crate::domain::refusal::FieldError;

/// What takes the place of a wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Nothing where the field may be absent, else the lowest.
    Absent,
    /// The lowest value, the first word, nothing in a list.
    Lowest,
    Highest,
}

impl Filling {
    pub const ALL: [Filling; 3] = [Filling::Absent, Filling::Lowest, Filling::Highest];
}

/// Where a number has no bound of its own. A million is within the range of nearly everything that has one in the rules alone.
const HIGH_NUMBER: u32 = 1_000_000;

/// `body` as a text, with every place of `wrong` filled and unknown fields left out. What is right stays as it was written. None: it is no JSON.
pub fn mended(shape: &Shape, body: &[u8], wrong: &[FieldError], filling: Filling) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let text = std::str::from_utf8(body).ok()?;
    Mending { shape, wrong, filling }.write(shape.body()?, text.trim(), "", 0, &mut out)?;
    Some(out)
}

struct Mending<'a> {
    shape: &'a Shape,
    wrong: &'a [FieldError],
    filling: Filling,
}

impl Mending<'_> {
    fn write(&self, schema: &Value, text: &str, at: &str, depth: usize, out: &mut String) -> Option<()> {
        let schema = self.shape.resolved(schema);
        if depth > MAX_SCHEMA_DEPTH {
            return None;
        }
        if self.is_wrong(at) {
            out.push_str(&self.filled(schema, depth).to_string());
            return Some(());
        }
        if let Some(choice) = real_choice(schema) {
            return self.write(choice, text, at, depth + 1, out);
        }
        match (text.as_bytes().first()?, schema["properties"].as_object()) {
            (b'{', Some(properties)) => {
                let Fields(given) = serde_json::from_str(text).ok()?;
                let mut kept = Vec::with_capacity(given.len());
                for (name, property) in properties {
                    let at = inner(at, name);
                    if self.is_wrong(&at) {
                        let is_required = schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
                        let stays = is_required || self.filling != Filling::Absent;
                        kept.extend(stays.then(|| (name, self.filled(property, depth + 1).to_string())));
                        continue;
                    }
                    // One that comes twice stays twice, for the parser to find.
                    for (_, value) in given.iter().filter(|(given, _)| given == name) {
                        let mut written = String::new();
                        self.write(property, value.get(), &at, depth + 1, &mut written)?;
                        kept.push((name, written));
                    }
                }
                let fields: Vec<String> = kept.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
                out.push_str(&format!("{{{}}}", fields.join(",")));
            }
            (b'[', _) if !schema["items"].is_null() => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    self.write(&schema["items"], item.get(), &format!("{at}[{n}]"), depth + 1, out)?;
                }
                out.push(']');
            }
            _ => out.push_str(text),
        }
        Some(())
    }

    fn is_wrong(&self, at: &str) -> bool {
        !at.is_empty() && self.wrong.iter().any(|wrong| wrong.field == at)
    }

    /// A value of the schema's type at one end of what the schema allows.
    fn filled(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.shape.resolved(schema);
        let high = self.filling == Filling::Highest;
        if depth > MAX_SCHEMA_DEPTH {
            return Value::Null;
        }
        if let Some(choice) = real_choice(schema) {
            return self.filled(choice, depth + 1);
        }
        if let Some(words) = schema["enum"].as_array() {
            return if high { words.last() } else { words.first() }.cloned().unwrap_or_default();
        }
        let kind = match &schema["type"] {
            Value::Array(several) => several.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            one => one.as_str(),
        };
        let bound = |names: [&str; 2], default: u32| {
            let bounds = names.iter().map(|name| &schema[*name]);
            bounds.into_iter().find(|bound| bound.is_number()).cloned().unwrap_or_else(|| default.into())
        };
        match (kind.unwrap_or_default(), schema["format"].as_str()) {
            ("boolean", _) => high.into(),
            ("integer" | "number", _) if high => bound(["maximum", "exclusiveMaximum"], HIGH_NUMBER),
            ("integer" | "number", _) => bound(["minimum", "exclusiveMinimum"], 0),
            ("string", Some("decimal")) => if high { "1000000" } else { "0" }.into(),
            ("string", Some("date-time")) => if high { "9999-12-31T00:00:00Z" } else { "1970-01-01T00:00:00Z" }.into(),
            // Neither is a part of a text that someone would send.
            ("string", _) => if high { "\u{1}" } else { "" }.into(),
            ("array", _) => (0..u8::from(high)).map(|_| self.filled(&schema["items"], depth + 1)).collect(),
            ("object", _) => {
                let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                required.map(|name| (name.to_owned(), self.filled(&schema["properties"][name], depth + 1))).collect()
            }
            _ => Value::Null,
        }
    }
}
