//! What was measured: one markdown table for people, one JSON file for programs.

use std::path::Path;

use serde_json::{Value, json};

#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    key: &'static str,
    what: String,
    measured: String,
    target: &'static str,
    value: f64,
    /// Further numbers of it, for programs.
    more: Vec<(&'static str, f64)>,
}

impl Table {
    /// `value` is for programs, in the unit that the end of `key` names.
    pub fn add(&mut self, key: &'static str, what: impl Into<String>, measured: impl Into<String>, target: &'static str, value: f64) {
        let row = Row { key, what: what.into(), measured: measured.into(), target, value, more: Vec::new() };
        eprintln!("   {}: {}", row.what, row.measured);
        self.0.push(row);
    }

    /// Another number of what was added last.
    pub fn with(&mut self, name: &'static str, value: f64) {
        self.0.last_mut().unwrap().more.push((name, value));
    }

    pub fn value(&self, key: &str) -> f64 {
        self.0.iter().find(|row| row.key == key).map_or(f64::NAN, |row| row.value)
    }

    pub fn markdown(&self) -> String {
        let rows = self.0.iter().map(|row| format!("| {} | {} | {} |\n", row.what, row.measured, row.target));
        format!("| what | measured | target |\n|---|---|---|\n{}", rows.collect::<String>())
    }

    pub fn write_json(&self, path: &Path) {
        let rows = self.0.iter().map(|row| {
            let mut of_row = json!({ "what": row.what, "measured": row.measured, "value": row.value });
            row.more.iter().for_each(|(name, value)| of_row[*name] = json!(value));
            (row.key.to_owned(), of_row)
        });
        let object = Value::Object(rows.collect());
        std::fs::write(path, format!("{object:#}\n")).unwrap();
    }
}

/// The value below which `share` of all lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((sorted.len() as f64 * share) as usize).min(last)).copied().unwrap_or(f64::NAN)
}

pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// 1234567 as 1,234,567.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
