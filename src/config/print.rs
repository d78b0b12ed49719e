//! The configuration for people: as commented TOML, and as the table of the README.

use std::fmt::Write;

use super::rules::{Key, MASK};
use super::settings;
use super::sources::{Sources, Values};
use super::{ConfigErrors, Origin};

/// Every setting with its value and its origin; secrets that are set are masked.
pub(super) fn to_toml(keys: &[Key], values: &Values) -> String {
    let mut out = String::new();
    let mut section = "";
    for key in keys {
        if key.section != section {
            section = key.section;
            let _ = writeln!(out, "{}[{section}]", if out.is_empty() { "" } else { "\n" });
        }
        let text = values.text(&key.name).unwrap_or_default();
        let shown = if key.secret && !text.is_empty() { MASK } else { text };
        let origin = values.origin(&key.name).unwrap_or(&Origin::Default);
        let _ = writeln!(out, "{} = {}  # from {origin}", key.field, toml_value(shown, key.bare));
    }
    out
}

fn toml_value(text: &str, bare: bool) -> String {
    let plain_number = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if bare && (plain_number || text == "true" || text == "false") {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}

/// A setting as people see it. Of a secret nothing but whether it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub value: String,
    pub default: String,
    pub origin: Origin,
    pub allowed: String,
    pub meaning: String,
    pub secret: bool,
}

/// Every setting in force, in the order in which they are documented.
pub(super) fn listed(keys: &[Key], values: &Values) -> Vec<Listed> {
    let (defaults, _) = Values::collect(&Sources::default(), keys, &mut ConfigErrors::default());
    let shown = |key: &Key, values: &Values| match (key.secret, values.text(&key.name).unwrap_or_default()) {
        (true, "") => "not set".to_owned(),
        (true, _) => "set".to_owned(),
        (false, text) => text.to_owned(),
    };
    let one = |key: &Key| Listed {
        key: key.name.clone(),
        value: shown(key, values),
        default: shown(key, &defaults),
        origin: values.origin(&key.name).cloned().unwrap_or(Origin::Default),
        allowed: key.allowed.clone(),
        meaning: key.doc.clone(),
        secret: key.secret,
    };
    keys.iter().map(one).collect()
}

/// The settings as a Markdown table: key, default, allowed values, environment names, meaning.
pub fn markdown_table() -> String {
    let keys = settings::keys();
    let (defaults, _) = Values::collect(&Sources::default(), &keys, &mut ConfigErrors::default());
    let mut out =
        String::from("| key | default | allowed | environment, besides `LUCID__SECTION__KEY` | meaning |\n|---|---|---|---|---|\n");
    for key in &keys {
        let default = defaults.text(&key.name).filter(|text| !text.is_empty()).map_or("(empty)".to_owned(), |text| format!("`{text}`"));
        let mut names: Vec<String> = key.env.iter().map(|name| format!("`{name}`")).collect();
        if key.name == "server.listen" {
            names.push(format!("`{}` (the port)", settings::PORT_ENV));
        }
        if key.secret {
            names.extend(key.env.iter().map(|name| format!("`{name}_FILE`")));
        }
        let _ = writeln!(out, "| `{}` | {default} | {} | {} | {} |", key.name, key.allowed, names.join(", "), key.doc);
    }
    out
}
